"""How large a count may be: what is read from a bundle is untrusted, and sums of counts must stay inside 64 bits."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

LARGEST_COUNT = 2**52
"""More rows than this are no count of anything; as many of them as there are bins still fit into int64."""

Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT, strict=True)]
