"""Pictures with captions as samples: to write the caption, to make the picture, or to find one by the other."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forgeline.preprocessing import CaptionPreprocessing
from forgeline.preprocessing.pairs import PADDING, START, Ids
from forgeline_architectures.signature import Signature, TensorSpec
from forgeline_jobs.data.base import Batch, Indices, Keys
from forgeline_jobs.data.pairs import IGNORED

CaptionTask = Literal["translation", "retrieval", "generation"]


class CaptionSplit:
    """Pictures as bytes, standardised when a batch needs them, and their captions.

    Attributes:
        attribute_cardinalities: number of values of each attribute.

    Args:
        task: what a batch is for.
        pixels: [n, H, W, C].
        captions: [n, L] tokens, each row closed by the end token and filled up with padding.
        meanings: [n] a number for what a caption says, the same for all that say it.
        attributes: [n, k] what is in each picture, as numbers.
        attribute_cardinalities: number of values of each attribute.
        preprocessing: standardises the pictures.
    """

    def __init__(
        self,
        task: CaptionTask,
        pixels: NDArray[np.uint8],
        captions: Ids,
        *,
        meanings: NDArray[np.int64],
        attributes: NDArray[np.int64],
        attribute_cardinalities: tuple[int, ...],
        preprocessing: CaptionPreprocessing,
    ) -> None:
        self._task = task
        self._pixels = pixels
        self._captions = captions
        self._meanings = meanings
        self._attributes = attributes
        self.attribute_cardinalities = attribute_cardinalities
        self._preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self._pixels)

    def attributes(self, indices: Indices) -> NDArray[np.int64]:
        """[n, k] what is in the pictures at `indices`."""
        return self._attributes[indices]

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """`image` [n, C, H, W] and, to retrieve, `caption` [n, L] with its meaning as `target` [n]; to translate,
        `previous` and `target` [n, L]; to generate, `caption` alone beside the picture. Nothing is augmented.
        """
        caption = self._captions[indices]
        image = self._preprocessing.image.standardise(self._pixels[indices])
        if self._task == "retrieval":
            return {"image": image, "caption": caption, "target": self._meanings[indices]}
        if self._task == "generation":
            return {"image": image, "caption": caption}
        start = np.full((len(caption), 1), START, dtype=np.int64)
        return {
            "image": image,
            "previous": np.concatenate([start, caption[:, :-1]], axis=1),
            "target": np.where(caption == PADDING, IGNORED, caption),
        }


def caption_signature(task: CaptionTask, preprocessing: CaptionPreprocessing) -> Signature:
    """What a batch of a `CaptionSplit` has."""
    image = preprocessing.image
    text = "previous" if task == "translation" else "caption"
    shape = (image.channels, image.height, image.width)
    return Signature(
        task=task,
        inputs={
            "image": TensorSpec(shape=shape, dtype="float32"),
            text: TensorSpec(shape=(preprocessing.length,), dtype="int64"),
        },
        outputs=shape if task == "generation" else (preprocessing.vocabulary_size,),
        conditions={"caption": preprocessing.vocabulary_size} if task == "generation" else {},
    )
