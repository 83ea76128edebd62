"""How many workers a job has: a number, or a range such as `2..4`, of which it takes as many as there is room for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PlainSerializer, WithJsonSchema, WrapValidator
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

_RANGE = re.compile(r"\s*(\d{1,9})\s*\.\.\s*(\d{1,9})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class WorkerRange:
    """From so many workers to so many, both included.

    >>> str(WorkerRange(2, 4))
    '2..4'
    """

    fewest: int
    most: int

    def __str__(self) -> str:
        return f"{self.fewest}..{self.most}"

    @classmethod
    def parse(cls, text: str) -> WorkerRange | int:
        """What a text says; a range of one number is the number.

        Raises:
            ValueError: it is no range, or a reversed one.
        """
        found = _RANGE.fullmatch(text)
        if found is None:
            raise ValueError(f"got {text[:60]!r}; expected a number of workers, or a range such as `2..4`")
        fewest, most = int(found[1]), int(found[2])
        if fewest > most:
            raise ValueError(f"got {text!r}, which is reversed; the lower number comes first: `{most}..{fewest}`")
        if fewest < 1:
            raise ValueError(f"got {text!r}; a range begins at 1 or more: `1..{max(most, 1)}`")
        return fewest if fewest == most else cls(fewest, most)


def _read(value: Any, as_number: ValidatorFunctionWrapHandler) -> WorkerRange | int:
    if isinstance(value, WorkerRange):
        return value
    if isinstance(value, str) and ".." in value:
        return WorkerRange.parse(value)
    return int(as_number(value))


def _written(value: WorkerRange | int) -> str | int:
    return str(value) if isinstance(value, WorkerRange) else value


if TYPE_CHECKING:
    Workers = WorkerRange | int
else:
    # A union would tell a wrong number what is expected of a range as well.
    Workers = Annotated[
        int,
        Field(ge=1),
        WrapValidator(_read),
        PlainSerializer(_written),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "integer", "minimum": 1},
                    {"type": "string", "pattern": r"^\s*\d{1,9}\s*\.\.\s*\d{1,9}\s*$"},
                ],
                "examples": [2, "2..4"],
            }
        ),
    ]
