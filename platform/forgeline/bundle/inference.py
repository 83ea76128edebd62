"""From encoded arrays to a model's outputs: batches, device, and the step from logits to probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from forgeline.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Arrays = Mapping[str, NDArray[Any]]


def pick_device(device: str) -> torch.device:
    """`auto` is the first GPU where there is one, else the CPU.

    Raises:
        UsageError: the device does not exist here.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device {device!r} cannot be used ({reason}); allowed: auto, cpu, cuda, cuda:N") from error
    return chosen


_Forward = Callable[["nn.Module", Mapping[str, "Tensor"]], "Tensor"]


def _raw(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    outputs: Tensor = model(batch)
    return outputs.float()


def _tagged(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    probabilities: Tensor = cast("Any", model).tag(batch)
    return probabilities


def _written(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    tokens: Tensor = cast("Any", model).translate(batch)
    return tokens


def _filled(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    tokens: Tensor = cast("Any", model).fill(batch)
    return tokens


def _errors(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    errors: Tensor = cast("Any", model).errors(batch)
    return errors


# From a batch to what a model of a task answers.
_ANSWERS: Mapping[str, _Forward] = {
    "classification": lambda model, batch: _raw(model, batch).softmax(-1),
    "token_classification": _tagged,
    "regression": _raw,
    "forecasting": _raw,
    "language_modelling": lambda model, batch: next_token_logits(model, batch).float().softmax(-1),
    "masked_language_modelling": _filled,
    "translation": _written,
    "reconstruction": _errors,
    "retrieval": lambda model, batch: pair_embeddings(model, batch),
}


def model_outputs(
    model: nn.Module, task: str, arrays: Arrays, *, batch_size: int, device: torch.device
) -> NDArray[Any]:
    """Outputs of all samples, as validation sees them.

    Returns:
        Probabilities [n, classes] or, of tokens, [n, length, classes], standardised predictions [n, targets] or
        [n, horizon, targets], for language
        models the probabilities [n, vocabulary] of the token after each text, tokens [n, length] of the targets that a
        model wrote or of the texts whose gaps it filled, the embeddings [n, 2, width] of pictures and captions, whose
        products are logits, or the errors [n, 2] of reconstructions and of what the model was shown.

    Raises:
        UsageError: models of the task have no outputs for samples.
    """
    import torch

    if task not in _ANSWERS:
        raise UsageError(f"this model is for {task}; it answers no samples: a generator makes them, by `sample`")
    answer, parts = _ANSWERS[task], []
    with torch.inference_mode():
        for batch in batches(arrays, batch_size):
            tensors = {name: torch.from_numpy(array).to(device) for name, array in batch.items()}
            parts.append(answer(model, tensors).cpu().numpy())
    return np.concatenate(parts)


def pair_embeddings(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Embeddings [B, 2, width] of pictures and captions, each times the root of the model's scale."""
    import torch

    towers = cast("Any", model)
    both = torch.stack([towers.embed_images(batch["image"]), towers.embed_texts(batch["caption"])], dim=1)
    scaled: Tensor = both.float() * towers.scale.sqrt()
    return scaled


def sample_count(arrays: Arrays) -> int:
    """Samples of encoded arrays: entries along the first axis; of a graph, the nodes that are asked about."""
    return len(arrays["seeds"] if "seeds" in arrays else next(iter(arrays.values())))


def batches(arrays: Arrays, batch_size: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Consecutive slices of at most `batch_size` samples, as arrays that torch can take without a copy.

    A graph stays whole: to pass through it costs the same for one of its nodes as for all.
    """
    if "members" in arrays:
        for start in range(0, sample_count(arrays), batch_size):
            yield _some_graphs(arrays, start, min(start + batch_size, sample_count(arrays)))
        return
    if "seeds" in arrays:
        yield {name: np.require(array, requirements=("C", "W")) for name, array in arrays.items()}
        return
    for start in range(0, sample_count(arrays), batch_size):
        yield {
            name: np.require(array[start : start + batch_size], requirements=("C", "W"))
            for name, array in arrays.items()
        }


def _some_graphs(arrays: Arrays, first: int, end: int) -> dict[str, NDArray[Any]]:
    """The graphs from `first` to before `end`, numbered from 0 again, as are their nodes."""
    members, edges = arrays["members"], arrays["edges"]
    begin, stop = np.searchsorted(members, (first, end)).tolist()
    inside = (edges[:, 0] >= begin) & (edges[:, 0] < stop)
    part = {
        "features": arrays["features"][begin:stop],
        "edges": edges[inside] - begin,
        "members": members[begin:stop] - first,
        "seeds": arrays["seeds"][: end - first],
    }
    if "edge_features" in arrays:
        part["edge_features"] = arrays["edge_features"][inside]
    return {name: np.require(array, requirements=("C", "W")) for name, array in part.items()}


def next_token_logits(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Logits [B, V] after the last token of each text; texts are filled up on the right, behind `length`."""
    import torch

    tokens_BT = batch["tokens"]
    rows = torch.arange(tokens_BT.shape[0], device=tokens_BT.device)  # `len` would fix it in a graph
    lengths = batch.get("length")
    last = lengths - 1 if lengths is not None else torch.full_like(rows, tokens_BT.shape[1] - 1)
    # Only the last places go through the head: all of them would be T times the memory of the answer.
    if hasattr(model, "hidden") and hasattr(model, "logits"):
        decoder: Any = model
        chosen: Tensor = decoder.logits(decoder.hidden(batch)[rows, last])
        return chosen
    logits: Tensor = model(batch)[rows, last]
    return logits
