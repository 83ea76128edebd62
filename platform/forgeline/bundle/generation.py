"""Text from a language model: each prompt goes through it alone, with random numbers of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from forgeline.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import nn

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
