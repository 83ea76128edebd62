"""The body of a request for generated text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forgeline.bundle.generation import check_sampling
from forgeline.errors import UsageError
from forgeline_deploy.serving.intake import check_text, kind_of, parse_json
from forgeline_deploy.serving.refusal import Refused, UnknownKey

MOST_TOKENS = 4096
_NUMBERS: Mapping[str, tuple[type, Any, Any]] = {
    "max_tokens": (int, 200, MOST_TOKENS),
    "temperature": (float, 0.8, 100.0),
    "top_k": (int, None, 10**6),
    "top_p": (float, None, 1.0),
    "seed": (int, 0, 2**31 - 1),
}
"""Setting -> type, default, largest value."""
SETTINGS = ("prompt", "stream", *_NUMBERS)
"""Keys of a body."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationOrder:
    """What is to be continued, and how.

    Attributes:
        stream: whether pieces are sent as they are made.
    """

    prompt: str
    settings: Mapping[str, Any]
    stream: bool


def read_generation(body: bytes) -> GenerationOrder:
    """The order in a body.

    Raises:
        Refused: 400, it is no JSON; 422, a key or a value is wrong.
    """
    data = parse_json(body)
    if not isinstance(data, dict):
        raise Refused(422, f"got {kind_of(data)}; allowed: an object with `prompt`", field="body")
    for key in data:
        if key not in SETTINGS:
            raise UnknownKey(key, SETTINGS)
    prompt = data.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise Refused(422, f"got {kind_of(prompt)}; allowed: a text of at least one character", field="prompt")
    check_text(prompt, "prompt")
    stream = data.get("stream", False)
    if not isinstance(stream, bool):
        raise Refused(422, f"got {kind_of(stream)}; allowed: true or false", field="stream")
    settings = {name: _number(name, data.get(name, default)) for name, (_, default, _) in _NUMBERS.items()}
    try:
        check_sampling(**{name: value for name, value in settings.items() if name != "seed"})
    except UsageError as error:
        raise Refused(422, str(error), field=str(error).partition(" ")[0]) from error
    return GenerationOrder(prompt=prompt, settings=settings, stream=stream)


def _number(name: str, value: Any) -> Any:
    kind, default, largest = _NUMBERS[name]
    if value is None and default is None:
        return None
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not isinstance(value, int | float) or (kind is int and not whole):
        wanted = "a whole number" if kind is int else "a number"
        raise Refused(422, f"got {kind_of(value)}; allowed: {wanted}", field=name)
    if not 0 <= value <= largest:
        raise Refused(422, f"got {kind_of(value)}; allowed: 0 to {largest:g}", field=name)
    return kind(value)
