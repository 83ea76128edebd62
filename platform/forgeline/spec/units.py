"""Quantities with a unit, as pydantic types: `10ep`, `1h30m`, `16GiB`, `5%`.

Each is a frozen value that prints as it is written and reads back equal. Numbers are kept as integers (milliseconds,
bytes) or scaled in decimal, so that no round trip moves a bit. Quantities of different units refuse to be added or
compared: `10ep < 500step` has no answer before the data are known.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Literal, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_NUMBER = r"(?:\d+(?:\.\d+)?|\.\d+)"


class Quantity:
    """Base of the units: parsing in a spec, printing, JSON Schema."""

    __slots__ = ()

    is_spec_unit: ClassVar[bool] = True
    expected: ClassVar[str]
    pattern: ClassVar[str]
    number: ClassVar[dict[str, Any] | None]
    examples: ClassVar[list[str | int | float]]

    @classmethod
    @abstractmethod
    def _parse(cls, value: str | int | float) -> Self | None: ...

    @classmethod
    def parse(cls, value: object) -> Self:
        """The quantity that a text, a number, or a quantity of the same type stands for.

        Raises:
            ValueError: what was got and what is allowed.
        """
        if isinstance(value, cls):
            return value
        found = None
        if isinstance(value, str):
            found = cls._parse(value.strip())
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = cls._parse(value)
        if found is None:
            shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
            raise ValueError(f"got {shown}; expected {cls.expected}")
        return found

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema(when_used="json")
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        text = {"type": "string", "pattern": cls.pattern}
        if cls.number is None:
            return text | {"examples": cls.examples}
        return {"anyOf": [text, cls.number], "examples": cls.examples}


@dataclass(frozen=True, slots=True)
class Length(Quantity):
    """A length of training: whole epochs or optimizer steps; a plain number is steps.

    >>> Length.parse("10ep"), str(Length.parse(500))
    (Length(value=10, unit='ep'), '500step')
    """

    value: int
    unit: Literal["ep", "step"]

    expected: ClassVar[str] = "whole epochs such as `10ep` or steps such as `500step`, at least 1"
    pattern: ClassVar[str] = r"^\s*0*[1-9]\d*\s*(ep|epochs?|steps?)?\s*$"
    number: ClassVar[dict[str, Any] | None] = {"type": "integer", "minimum": 1}
    examples: ClassVar[list[str | int | float]] = ["10ep", "500step"]

    @classmethod
    def _parse(cls, value: str | int | float) -> Self | None:
        found = re.fullmatch(r"(\d{1,18})\s*(ep|epochs?|steps?)?", str(value), re.ASCII)
        if found is None or int(found[1]) < 1:
            return None
        return cls(int(found[1]), "ep" if (found[2] or "").startswith("ep") else "step")

    def _same(self, other: Length, what: str) -> int:
        if self.unit != other.unit:
            raise TypeError(f"cannot {what} {self} and {other}: epochs and steps do not mix")
        return other.value

    def __add__(self, other: Length) -> Length:
        return Length(self.value + self._same(other, "add"), self.unit) if isinstance(other, Length) else NotImplemented

    def __lt__(self, other: Length) -> bool:
        return self.value < self._same(other, "compare") if isinstance(other, Length) else NotImplemented

    def __le__(self, other: Length) -> bool:
        return self.value <= self._same(other, "compare") if isinstance(other, Length) else NotImplemented

    def __str__(self) -> str:
        return f"{self.value}{self.unit}"


@dataclass(frozen=True, slots=True, order=True)
class TimeSpan(Quantity):
    """A length of time, to the millisecond; a plain number is seconds.

    >>> str(TimeSpan.parse("90m")), TimeSpan.parse("1h30m").total_seconds()
    ('1h30m', 5400.0)
    """

    milliseconds: int

    expected: ClassVar[str] = "a time such as `30m`, `2h`, `1h30m`, `45s`, `20ms`, or a number of seconds, more than 0"
    pattern: ClassVar[str] = rf"^\s*(?=.*[1-9])((\d+d)?(\d+h)?(\d+m)?({_NUMBER}s)?(\d+ms)?|{_NUMBER})\s*$"
    number: ClassVar[dict[str, Any] | None] = {"type": "number", "exclusiveMinimum": 0}
    examples: ClassVar[list[str | int | float]] = ["30m", "2h", "1h30m", 90]

    @classmethod
    def _parse(cls, value: str | int | float) -> Self | None:
        form = rf"(?:(\d{{1,9}})d)?(?:(\d{{1,9}})h)?(?:(\d{{1,9}})m)?(?:({_NUMBER})s)?(?:(\d{{1,9}})ms)?"
        text = format(Decimal(repr(value)), "f") if isinstance(value, float) and value == value else str(value)
        if re.fullmatch(_NUMBER, text, re.ASCII):
            text += "s"
        found = re.fullmatch(form, text, re.ASCII)
        if found is None or not text or len(text) > 40:
            return None
        days, hours, minutes = (int(part or 0) for part in found.groups()[:3])
        exact = ((days * 24 + hours) * 60 + minutes) * 60_000 + Decimal(found[4] or 0) * 1000 + int(found[5] or 0)
        whole = int(exact)
        return cls(whole) if whole == exact and whole > 0 else None

    def total_seconds(self) -> float:
        """The time in seconds."""
        return self.milliseconds / 1000

    def __str__(self) -> str:
        minutes, rest = divmod(self.milliseconds, 60_000)
        hours, minutes = divmod(minutes, 60)
        seconds = format((Decimal(rest) / 1000).normalize(), "f")
        return "".join(f"{n}{unit}" for n, unit in ((hours, "h"), (minutes, "m"), (seconds, "s")) if n not in (0, "0"))


_BYTES = {
    "TiB": 2**40, "TB": 10**12, "GiB": 2**30, "GB": 10**9, "MiB": 2**20, "MB": 10**6, "KiB": 2**10, "kB": 10**3, "B": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Size(Quantity):
    """An amount of memory; a plain number is bytes.

    >>> Size.parse("16GiB").bytes, str(Size.parse(500_000_000))
    (17179869184, '500MB')
    """

    bytes: int

    expected: ClassVar[str] = "a size such as `16GiB` or `500MB` (B, kB, KiB, MB, MiB, GB, GiB, TB, TiB), more than 0"
    pattern: ClassVar[str] = rf"^\s*(?=.*[1-9]){_NUMBER}\s*([kKMGT]i?B|B)?\s*$"
    number: ClassVar[dict[str, Any] | None] = {"type": "integer", "minimum": 1}
    examples: ClassVar[list[str | int | float]] = ["16GiB", "500MB"]

    @classmethod
    def _parse(cls, value: str | int | float) -> Self | None:
        found = re.fullmatch(rf"({_NUMBER})\s*([a-zA-Z]*)", str(value), re.ASCII)
        if found is None or len(found[0]) > 40:
            return None
        unit = "kB" if found[2] == "KB" else (found[2] or "B")
        if unit not in _BYTES:
            return None
        exact = Decimal(found[1]) * _BYTES[unit]
        whole = int(exact)
        return cls(whole) if whole == exact and whole > 0 else None

    def __str__(self) -> str:
        fits = (unit for unit, size in _BYTES.items() if self.bytes % size == 0)
        unit = min(fits, key=lambda name: self.bytes // _BYTES[name])
        return f"{self.bytes // _BYTES[unit]}{unit}"


@dataclass(frozen=True, slots=True, order=True)
class Share(Quantity):
    """A part of a whole, between 0 and 1.

    >>> Share.parse("5%").value, str(Share.parse(0.05))
    (0.05, '5%')
    """

    value: float

    expected: ClassVar[str] = "a share such as `5%` or 0.05, from 0 to 1 (100%)"
    pattern: ClassVar[str] = rf"^\s*{_NUMBER}(e-?\d+)?\s*%\s*$"
    number: ClassVar[dict[str, Any] | None] = {"type": "number", "minimum": 0, "maximum": 1}
    examples: ClassVar[list[str | int | float]] = ["5%", 0.05]

    @classmethod
    def _parse(cls, value: str | int | float) -> Self | None:
        if isinstance(value, str):
            found = re.fullmatch(rf"({_NUMBER}(?:e-?\d{{1,3}})?)\s*%", value, re.ASCII)
            if found is None:
                return None
            value = float(Decimal(found[1]).scaleb(-2))
        return cls(float(value)) if 0 <= value <= 1 else None

    def __str__(self) -> str:
        digits = Decimal(repr(self.value)).scaleb(2).normalize()
        return f"{digits:f}%" if digits.adjusted() > -7 else f"{digits:e}%"


@dataclass(frozen=True, slots=True)
class ShareOrSteps(Quantity):
    """A part of the run, as a share of it or in optimizer steps; 0 is none of it.

    >>> ShareOrSteps.parse("5%").in_steps(2000), ShareOrSteps.parse("100step").in_steps(2000)
    (100, 100)
    """

    amount: Share | Length | None

    expected: ClassVar[str] = "a share of the run such as `5%`, steps such as `100step`, or 0"
    pattern: ClassVar[str] = rf"^\s*(0|{_NUMBER}(e-?\d+)?\s*%|\d+\s*steps?)\s*$"
    number: ClassVar[dict[str, Any] | None] = {"const": 0}
    examples: ClassVar[list[str | int | float]] = ["5%", "100step", 0]

    @classmethod
    def _parse(cls, value: str | int | float) -> Self | None:
        if value == 0 or (isinstance(value, str) and re.fullmatch(r"0+\s*(steps?)?", value, re.ASCII)):
            return cls(None)
        if not isinstance(value, str):
            return None
        share = Share._parse(value)
        steps = Length._parse(value) if "step" in value else None
        return cls(share if share is not None else steps) if share is not None or steps is not None else None

    def in_steps(self, total_steps: int) -> int:
        """The amount in steps of a run of `total_steps`."""
        if self.amount is None:
            return 0
        return round(self.amount.value * total_steps) if isinstance(self.amount, Share) else self.amount.value

    def __str__(self) -> str:
        return "0" if self.amount is None else str(self.amount)
