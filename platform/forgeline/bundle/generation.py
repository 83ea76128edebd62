"""Text from a language model: each prompt goes through it alone, with random numbers of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from forgeline.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import nn

    from forgeline.bundle.bundle import Bundle
    from forgeline.preprocessing import TextPreprocessing


def check_sampling(*, max_tokens: int, temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Check the settings of a generation.

    Raises:
        UsageError: one is out of range.
    """
    for name, value, fine, allowed in (
        ("max_tokens", max_tokens, max_tokens >= 1, "1 or more"),
        ("temperature", temperature, 0 <= temperature < float("inf"), "0 (always the likeliest token) or more"),
        ("top_k", top_k, top_k is None or top_k >= 1, "1 or more, or nothing"),
        ("top_p", top_p, top_p is None or 0 < top_p <= 1, "above 0 and at most 1, or nothing"),
    ):
        if not fine:
            raise UsageError(f"{name} is {value}; allowed: {allowed}")


def continue_texts(
    model: nn.Module,
    preprocessing: TextPreprocessing,
    prompts: Sequence[str],
    *,
    max_tokens: int,
    **sampling: Any,
) -> list[str]:
    """Each prompt with its continuation.

    Args:
        model: has `generate([[token, …], …], max_tokens=…, sampling={temperature, top_k, top_p, seed, stop})`, for
            the new tokens of each prompt.
        preprocessing: its tokenizer.
        prompts: texts of at least one token.
        max_tokens: tokens to add to each.
        sampling: temperature, top_k, top_p, seed; a prompt's own text does not depend on which others are beside it.

    Raises:
        UsageError: the model cannot generate.
        DataError: a prompt is empty.
    """
    if not hasattr(model, "generate"):
        raise UsageError(f"{type(model).__name__} cannot generate text; allowed: language models with `generate`")
    texts = []
    for number, prompt in enumerate(prompts):
        ids = preprocessing.encode_text(prompt)
        if not len(ids):
            raise DataError(f"prompt {number} is empty; a language model needs at least one token to follow")
        settings = {**sampling, "stop": preprocessing.end}
        (added,) = cast("Any", model).generate([ids.tolist()], max_tokens=max_tokens, sampling=settings)
        # The prompt is kept as it was written: a tokenizer may not give every character back.
        texts.append(prompt + preprocessing.decode_text(added))
    return texts


def streamed(bundle: Bundle, prompt: str, device: str, settings: Mapping[str, Any]) -> Iterator[str]:
    """`Bundle.stream`."""
    from forgeline.bundle.inference import pick_device

    if bundle.task != "language_modelling":
        raise UsageError(f"this model is for {bundle.task}; only language models generate text")
    sampling = {"max_tokens": 200, "temperature": 0.8, "top_k": None, "top_p": None, "seed": 0, **settings}
    check_sampling(**{name: value for name, value in sampling.items() if name != "seed"})
    preprocessing = cast("TextPreprocessing", bundle.preprocessing)
    yield from stream_text(bundle.model.to(pick_device(device)), preprocessing, prompt, **sampling)


def stream_text(
    model: nn.Module, preprocessing: TextPreprocessing, prompt: str, *, max_tokens: int, **sampling: Any
) -> Iterator[str]:
    """What `continue_texts` adds to one prompt, in pieces that are given as soon as they are made.

    Tokens that together make a character are given together: until then what they stand for is not known.

    Raises:
        UsageError: the model cannot generate; when the first piece is asked for, as is every other error.
        DataError: the prompt is empty.
    """
    if not hasattr(model, "stream"):
        raise UsageError(f"{type(model).__name__} cannot stream text; allowed: language models with `stream`")
    ids = preprocessing.encode_text(prompt)
    if not len(ids):
        raise DataError("the prompt is empty; a language model needs at least one token to follow")
    settings = {**sampling, "stop": preprocessing.end}
    tokens: list[int] = []
    given = ""
    for token in cast("Any", model).stream(ids.tolist(), max_tokens=max_tokens, sampling=settings):
        tokens.append(token)
        text = preprocessing.decode_text(tokens)
        if len(text) > len(given) and not text.endswith(_UNFINISHED) and text.startswith(given):
            yield text[len(given) :]
            given = text
    rest = preprocessing.decode_text(tokens)[len(given) :]
    if rest:
        yield rest


_UNFINISHED = "\ufffd"
"""What stands for bytes that are no character, or not yet one."""
