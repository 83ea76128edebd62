"""Pictures of one coloured shape with a caption, drawn by a fixed seed.

What is held out is, as the settings say, new renderings of combinations that train has too, or combinations of colour,
shape and position that train has in no picture.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forgeline.preprocessing import CaptionPreprocessing, ImagePreprocessing
from forgeline_jobs.data.base import SPLITS, DataConfig, PreparedData, Split, SplitName
from forgeline_jobs.data.captions import CaptionSplit, CaptionTask, caption_signature
from forgeline_jobs.data.fingerprint import fingerprint_arrays
from forgeline_jobs.data.shape_captions import all_attributes, meanings, wordings
from forgeline_jobs.data.shape_pictures import CARDINALITIES, Scenes

_SEED = 0
_SIZES: dict[SplitName, int] = {"train": 6048, "val": 648, "test": 1080}
# Of nine residues one each is val and test: every pair of attributes still occurs in train.
_RESIDUES = 9


class CaptionedShapesConfig(DataConfig):
    """Six colours, four shapes, nine positions: 216 combinations, each drawn many times."""

    name: Literal["captioned-shapes"] = "captioned-shapes"
    batch_size: int = Field(default=64, ge=1, description="Pictures per optimiser step, over all workers together.")
    task: CaptionTask = Field(
        default="translation",
        description="Write the caption of a picture, find one by the other, or make pictures by their captions.",
    )
    size: Literal[16, 32] = Field(default=32, description="Side of a picture in pixels; the scenes are the same.")
    wordings: Literal["one", "several"] = Field(
        default="one", description="Whether a meaning is always said in the same words, or in words that are drawn."
    )
    held_out: Literal["renderings", "combinations"] = Field(
        default="renderings",
        description="What val and test have that train has not: pictures of the same combinations of colour, shape "
        "and position, or combinations.",
    )


def prepare_captioned_shapes(config: CaptionedShapesConfig) -> PreparedData:
    """6,048 train, 648 val, 1,080 test: as many pictures of each combination that a split has."""
    combinations = all_attributes()
    pixels: dict[SplitName, NDArray[np.uint8]] = {}
    captions: dict[SplitName, list[str]] = {}
    attributes: dict[SplitName, NDArray[np.int64]] = {}
    for number, name in enumerate(SPLITS):
        generator = np.random.default_rng([_SEED, number])
        own = combinations[_members(combinations, name, config.held_out)]
        attributes[name] = generator.permutation(np.repeat(own, _SIZES[name] // len(own), axis=0))
        pixels[name] = Scenes.draw(attributes[name], generator).render(config.size)
        captions[name] = [_worded(row, config.wordings, generator) for row in attributes[name].tolist()]
    preprocessing = _preprocessing(pixels["train"], config)
    tokens = {name: preprocessing.encode_captions(captions[name]) for name in SPLITS}
    splits: dict[str, Split] = {
        name: CaptionSplit(
            config.task,
            pixels[name],
            tokens[name],
            meanings=meanings(attributes[name]),
            attributes=attributes[name],
            attribute_cardinalities=CARDINALITIES,
            preprocessing=preprocessing,
        )
        for name in SPLITS
    }
    return PreparedData(
        signature=caption_signature(config.task, preprocessing),
        preprocessing=preprocessing,
        splits=splits,
        fingerprint=fingerprint_arrays(
            {f"{name} pixels": pixels[name] for name in SPLITS} | {f"{name} captions": tokens[name] for name in SPLITS}
        ),
        summary={
            "samples": {name: len(splits[name]) for name in SPLITS},
            "task": config.task,
            "image": {"channels": 3, "height": config.size, "width": config.size},
            "vocabulary": preprocessing.vocabulary_size,
            "longest_caption": preprocessing.length - 1,
            "held_out": config.held_out,
        },
        input_example=None if config.task == "generation" else pixels["train"][:2],
    )


def _members(combinations: NDArray[np.int64], split: SplitName, held_out: str) -> NDArray[np.bool_]:
    """Which combinations a split has."""
    if held_out == "renderings":
        return np.ones(len(combinations), dtype=np.bool_)
    residue = combinations.sum(axis=1) % _RESIDUES
    members: NDArray[np.bool_] = {"val": residue == 0, "test": residue == 1, "train": residue > 1}[split]
    return members


def _worded(attributes: list[int], choice: str, generator: np.random.Generator) -> str:
    """The plain caption, or one of all."""
    possible = wordings(attributes)
    return possible[0] if choice == "one" else possible[int(generator.integers(len(possible)))]


def _preprocessing(pixels: NDArray[np.uint8], config: CaptionedShapesConfig) -> CaptionPreprocessing:
    """Words and the longest caption come from the grammar: they belong to what the data are."""
    rows = all_attributes().tolist()
    possible = [wording.split() for row in rows for wording in wordings(row)[: 1 if config.wordings == "one" else None]]
    return CaptionPreprocessing(
        image=(
            ImagePreprocessing.symmetric(config.size, config.size, 3, target=None)
            if config.task == "generation"
            else ImagePreprocessing.fit(pixels, target=None)
        ),
        words=tuple(sorted({word for wording in possible for word in wording})),
        length=1 + max(len(wording) for wording in possible),
        known=tuple(wordings(row)[0] for row in rows) if config.task == "retrieval" else (),
    )
