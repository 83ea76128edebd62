"""Metrics of language models, from the summed cross-entropy: no output of theirs is ever kept."""

from __future__ import annotations

import math

# exp overflows a double beyond 709.78 nats; a model that bad has a perplexity of "very large".
_LARGEST = 709.0


def language_metrics(loss: float, *, tokens_per_character: float | None = None) -> dict[str, float]:
    """`loss`, `perplexity`, and `bits_per_character` where the length of the text is known.

    Args:
        loss: mean cross-entropy per token, nats.
        tokens_per_character: tokens over characters of the same text; 1 for a character tokenizer.
    """
    values = {"loss": loss, "perplexity": math.exp(min(loss, _LARGEST))}
    if tokens_per_character is not None:
        values["bits_per_character"] = loss / math.log(2.0) * tokens_per_character
    return values
