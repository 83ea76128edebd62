"""Pictures and texts in one space: their embeddings, and which of the known captions a picture is closest to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from forgeline.bundle.inference import Arrays, batches, pick_device
from forgeline.errors import UsageError

if TYPE_CHECKING:
    from forgeline.bundle.bundle import Bundle
    from forgeline.preprocessing import CaptionPreprocessing

BATCH_SIZE = 256


def embed_images(
    bundle: Bundle, raw: Any, *, batch_size: int = BATCH_SIZE, device: str = "auto"
) -> NDArray[np.float32]:
    """Unit vectors [n, width] of pictures, whose products with those of captions tell how close they are.

    Args:
        bundle: a model for retrieval.
        raw: pictures as `Bundle.predict` takes them.
        batch_size: pictures that go through the network together.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        UsageError: the model is for another task.
        DataError: a picture cannot be read.
    """
    preprocessing = _preprocessing(bundle)
    arrays = preprocessing.encode(preprocessing.read(raw) if isinstance(raw, str | Path) else raw)
    return _embedded(bundle, "image", arrays, batch_size, device)


def embed_captions(
    bundle: Bundle, captions: str | list[str], *, batch_size: int = BATCH_SIZE, device: str = "auto"
) -> NDArray[np.float32]:
    """Unit vectors [n, width] of captions.

    Args:
        bundle: a model for retrieval.
        captions: texts of words that the training data have.
        batch_size: captions that go through the network together.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        UsageError: the model is for another task.
        DataError: a caption is empty, too long, or has a word that the model does not know.
    """
    texts = [captions] if isinstance(captions, str) else captions
    arrays = {"caption": _preprocessing(bundle).encode_captions(texts)}
    return _embedded(bundle, "caption", arrays, batch_size, device)


def caption_probabilities(bundle: Bundle, arrays: Arrays, *, batch_size: int, device: str) -> NDArray[np.float32]:
    """[n, known captions] softmax of the logits between encoded pictures and all captions that the data have.

    Naming pictures without having learnt names as classes: Radford et al. 2021 (arXiv:2103.00020), section 3.1.2.
    """
    captions = {"caption": _preprocessing(bundle).encode_captions(_preprocessing(bundle).known)}
    images = _embedded(bundle, "image", arrays, batch_size, device)
    texts = _embedded(bundle, "caption", captions, batch_size, device)
    logits = float(cast("Any", bundle.model).scale.detach()) * images @ texts.T
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = exponents / exponents.sum(axis=1, keepdims=True)
    return probabilities


def _preprocessing(bundle: Bundle) -> CaptionPreprocessing:
    if bundle.task != "retrieval":
        raise UsageError(f"this model is for {bundle.task}; only models for retrieval embed pictures and captions")
    return cast("CaptionPreprocessing", bundle.preprocessing)


def _embedded(
    bundle: Bundle, modality: Literal["image", "caption"], arrays: Arrays, batch_size: int, device: str
) -> NDArray[np.float32]:
    import torch

    place = pick_device(device)
    towers = cast("Any", bundle.model.to(place))
    embed = towers.embed_images if modality == "image" else towers.embed_texts
    with torch.inference_mode():
        parts = [
            embed(torch.from_numpy(batch[modality]).to(place)).float().cpu().numpy()
            for batch in batches({modality: arrays[modality]}, batch_size)
        ]
    return np.concatenate(parts)
