"""How large a count may be: what is read from a bundle is untrusted, and sums of counts must stay inside 64 bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from forgeline.errors import DataError

LARGEST_COUNT = 2**52
"""More rows than this are no count of anything; as many of them as there are bins still fit into int64."""

Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT, strict=True)]

Model = TypeVar("Model", bound=BaseModel)


def read_checked(model: type[Model], value: Mapping[str, Any]) -> Model:
    """Counts that came from elsewhere.

    Raises:
        DataError: they are not of the form; the message has the place of the first fault.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"these are no counts: {f'{where}: ' if where else ''}{first['msg']}") from error
