"""What of a model is exported: from named arrays to the numbers that a caller wants, without loops or random draws.

For most tasks that is what `Bundle.outputs` gives, so that the bundle's own decoding follows. A model that writes texts
does so in a loop that keeps what it has read; of it the logits of the next token are exported, and the loop is the
caller's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgeline.errors import DataError
from forgeline.export.errors import NotExportable
from forgeline.export.manifest import OutputRecord

if TYPE_CHECKING:
    from torch import Tensor, nn

    from forgeline.bundle import Bundle

Arrays = Mapping[str, NDArray[Any]]

LOGITS = "logits"
_OF_TEXTS = frozenset({"language_modelling", "masked_language_modelling"})
_START = 1  # of every vocabulary of pairs and captions

OUTPUTS: Mapping[str, OutputRecord] = MappingProxyType(
    {
        task: OutputRecord(name=name, meaning=meaning)
        for task, name, meaning in (
            ("classification", "probabilities", "of the classes [n, classes]"),
            ("token_classification", "probabilities", "of the classes of each token [n, length, classes]"),
            ("regression", "predictions", "standardised [n, targets]"),
            ("forecasting", "predictions", "standardised [n, horizon, targets]"),
            ("reconstruction", "errors", "mean squared, of reconstructions and of what was shown [n, 2]"),
            ("retrieval", "embeddings", "of pictures and captions, whose products are logits [n, 2, width]"),
            ("language_modelling", LOGITS, "of the token after each text [n, vocabulary]"),
            ("masked_language_modelling", LOGITS, "of the token in each place [n, length, vocabulary]"),
            ("translation", LOGITS, "of each token after the true ones before it [n, length, vocabulary]"),
        )
    }
)
"""What the exported model of each task gives."""


def output_of(bundle: Bundle) -> OutputRecord:
    """What the exported model will give.

    Raises:
        NotExportable: it is a generator.
    """
    if bundle.task not in OUTPUTS:
        raise NotExportable(
            f"{bundle.name} makes samples from random numbers, drawn anew in each of its steps, and such a loop is no "
            "graph; its safetensors bundle can be exported: --to safetensors"
        )
    return OUTPUTS[bundle.task]


def answering(model: nn.Module, task: str, names: Sequence[str]) -> nn.Module:
    """The model as a function of its inputs in order, with the step from its answer to the exported numbers."""
    from torch import nn

    from forgeline.bundle.inference import next_token_logits, pair_embeddings

    class Answer(nn.Module):
        """A model that takes its inputs one by one."""

        def __init__(self) -> None:
            super().__init__()
            self.model: Any = model

        def forward(self, *inputs: Tensor) -> Tensor:
            batch = dict(zip(names, inputs, strict=True))
            answer: Tensor
            match task:
                case "classification":
                    answer = self.model(batch).float().softmax(-1)
                case "token_classification":
                    answer = self.model.tag(batch)
                case "language_modelling":
                    answer = next_token_logits(self.model, batch)
                case "retrieval":
                    answer = pair_embeddings(self.model, batch)
                case "reconstruction":
                    answer = self.model.errors(batch)
                case _:
                    answer = self.model(batch)
            return answer.float()

    return Answer().eval()


def model_inputs(bundle: Bundle, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Encoded samples as an exported model takes them: its inputs alone, texts filled up to the longest it can read.

    Args:
        bundle: the model.
        arrays: by name, as `preprocessing.encode` or the split of a data set gives them.

    Raises:
        DataError: an input is missing or has another shape.
    """
    return fitted(arrays, bundle.manifest.signature["inputs"], task=bundle.task)


def fitted(arrays: Arrays, inputs: Mapping[str, Any], *, task: str) -> dict[str, NDArray[Any]]:
    """`model_inputs` for the inputs of a signature: name -> `shape` of a sample and `dtype`."""
    chosen = {}
    for name, spec in inputs.items():
        if name == "length" and name not in arrays and task in _OF_TEXTS:
            continue
        if name == "previous" and name not in arrays:
            chosen[name] = _only_started(len(next(iter(arrays.values()))), int(spec["shape"][0]))
            continue
        if name not in arrays:
            raise DataError(f"the model takes {name!r}, and the samples have none; they have {', '.join(arrays)}")
        chosen[name] = _filled(name, np.asarray(arrays[name]), tuple(spec["shape"]), spec["dtype"])
    # True lengths only qualify another input, so that a signature need not have them.
    if "length" in arrays and "length" not in chosen:
        chosen["length"] = np.asarray(arrays["length"], dtype=np.int64)
    elif task in _OF_TEXTS and "length" not in chosen:
        tokens = arrays["tokens"]  # of a split: every text fills its row
        chosen["length"] = np.full(len(tokens), tokens.shape[1], dtype=np.int64)
    return chosen


def _filled(name: str, array: NDArray[Any], shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    wanted = (len(array), *shape)
    shorter = bool(shape) and (dtype == "int64" or array.ndim == 3)  # texts, and series of different lengths
    if shorter and array.ndim == len(wanted) and array.shape[1] < wanted[1] and array.shape[2:] == wanted[2:]:
        room = [(0, 0)] * array.ndim
        room[1] = (0, wanted[1] - array.shape[1])
        array = np.pad(array, room)
    if array.shape != wanted:
        raise DataError(f"{name} has the shape {array.shape}; the model takes (n, {', '.join(map(str, shape))})")
    return np.require(array, dtype=dtype, requirements=("C", "W"))


def _only_started(rows: int, length: int) -> NDArray[np.int64]:
    """The beginning of a target of which nothing is written yet."""
    previous = np.zeros((rows, length), dtype=np.int64)
    previous[:, 0] = _START
    return previous
