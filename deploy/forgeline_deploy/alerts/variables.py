"""`${NAME}` in a specification: a value that comes from the environment where it is used, and is written nowhere."""

from __future__ import annotations

import os
import re

from forgeline.errors import SpecError

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expand(text: str, *, key: str) -> str:
    """`text` with every `${NAME}` replaced by the variable's value.

    Args:
        key: of the specification, for the message.

    Raises:
        SpecError: a variable is not set, or is empty.
    """

    def value(found: re.Match[str]) -> str:
        if not (known := os.environ.get(found[1])):
            raise SpecError(
                f"the environment variable {found[1]} is not set; set it where the deployment runs, or change {text!r}",
                key=key,
            )
        return known

    return VARIABLE.sub(value, text)
