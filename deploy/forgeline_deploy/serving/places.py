"""By which name a refused request is counted: a name of the model's own or a fixed one, never a client's word."""

from __future__ import annotations

import re
from collections.abc import Collection

from forgeline_deploy.serving.generation import SETTINGS
from forgeline_deploy.serving.intake import INSTANCES
from forgeline_deploy.serving.refusal import UNKNOWN_KEY
from forgeline_deploy.serving.tensors import HEADER_LENGTH

_FIXED = frozenset({"body", INSTANCES, "inputs", "outputs", "request", "id", HEADER_LENGTH, *SETTINGS})
_SAMPLE = re.compile(rf"^{INSTANCES}\[\d+\]\.")
_LAST_PART = re.compile(r"(\.[^.\[]*|\[\d+\])$")


def place_of(field: str, inputs: Collection[str]) -> str:
    """What a field of a refusal is counted by.

    Args:
        field: such as `instances[3].age`, `age.datatype` or `instances[0][7][2]`.
        inputs: names of the model's inputs.

    Returns:
        An input, or a fixed place such as `instances`, without numbers of samples; `unknown key` for any other name.
    """
    for whole in (_SAMPLE.sub("", field), field):
        place, shortened = whole, 1
        # From the whole to its beginning, since a column may have dots in its name.
        while shortened:
            if place in inputs or place in _FIXED:
                return place
            place, shortened = _LAST_PART.subn("", place)
    return UNKNOWN_KEY
