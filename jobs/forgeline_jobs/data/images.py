"""Images: the user's own in a folder per class or an .npz file, and what every built-in set is prepared by.

Files are decoded when a batch first needs them and kept as bytes while all of them fit into `_KEEP_BYTES`. Up to
`_VERIFY_FILES` files are decoded in the check before a run starts, so that a corrupt one is found in seconds and not in
the third hour. A folder that has `train` and `val` or `test` inside is taken as split already.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from forgeline.errors import DataError
from forgeline.preprocessing import AnomalyTarget, ClassTarget, ImagePreprocessing
from forgeline.preprocessing.image import IMAGE_SUFFIXES, image_files, resize_pixels
from forgeline.preprocessing.reading import existing, read_arrays
from forgeline_architectures.signature import Signature, TensorSpec
from forgeline_jobs.data.arrays import ArraySplit
from forgeline_jobs.data.augmentation import ImageAugmentation, ImageAugmenter
from forgeline_jobs.data.base import SPLITS, ClassWeights, DataConfig, PreparedData, Split, SplitConfig, as_int64
from forgeline_jobs.data.checks import balanced_weights, class_counts, class_target, finite
from forgeline_jobs.data.fingerprint import Fingerprint, fingerprint_arrays
from forgeline_jobs.data.generation import LABEL, Condition, LabelledSplit, generation_signature
from forgeline_jobs.data.image_files import ImageFiles, ImageFilesSplit, verify_files
from forgeline_jobs.data.recent import RecentConfig, with_recent_images
from forgeline_jobs.data.reconstruction import ReconstructionSplit, class_numbers, keep_normal
from forgeline_jobs.data.splits import SplitIndices, fixed_split, keep_labels, stratified_split
from forgeline_jobs.data.unpaired import SOURCE, UnpairedSplit

_VERIFY_FILES = 10_000
_STATISTICS_FILES = 1_000


class ImageConfig(DataConfig):
    """Settings of every image set."""

    task: Literal["classification", "generation", "reconstruction"] = Field(
        default="classification",
        description="Tell the classes apart, learn to make such images, or to give them back as they are.",
    )
    condition: Condition | Literal["domain"] = Field(
        default="none",
        description="What a generator is told: the `label` of what to make, the class as a `domain` to translate an "
        "image of another class into, or nothing (`none`).",
    )
    normal: tuple[str | int, ...] | None = Field(
        default=None,
        min_length=1,
        description="Classes that are normal: the only ones in train and val, while all others are anomalies in test; "
        "all when not given. For reconstruction.",
    )
    noise: float = Field(
        default=0.0,
        ge=0,
        description="Deviation of the noise that reconstruction is to take off, as a share of the brightest value.",
    )
    quantile: float = Field(
        default=0.95, gt=0, lt=1, description="Share of val whose reconstruction's error is no anomaly's."
    )
    augment: ImageAugmentation = Field(default=ImageAugmentation(), description="Random changes of training images.")
    class_weights: ClassWeights = Field(default=None, description="`balanced` weighs rare classes up in the loss.")
    labels: int | None = Field(
        default=None,
        ge=1,
        description="Images of train to learn from, as many of each class; all when not given.",
    )
    label_seed: int = Field(default=0, ge=0, description="Seed of the draw of `labels`.")
    recent: RecentConfig | None = Field(
        default=None, description="Labelled images of a deployment, to learn from besides."
    )

    @model_validator(mode="after")
    def _settings_of_the_task(self) -> Self:
        if self.task != "generation" and self.condition != "none":
            raise ValueError("condition is for task generation; set task to generation, or remove condition")
        if self.task != "classification" and self.class_weights is not None:
            raise ValueError("class_weights are for task classification; remove them")
        if self.task != "classification" and self.recent is not None:
            raise ValueError("recent is for task classification; remove it")
        for name in ("normal", "noise", "quantile"):
            if self.task != "reconstruction" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name} is for task reconstruction; set task to reconstruction, or remove {name} "
                    f"{getattr(self, name)}"
                )
        return self


class ImagesConfig(ImageConfig):
    """Images of the user's own."""

    path: str = Field(description="Folder with a folder per class, or an .npz file with `images` and `labels`.")
    size: int | tuple[int, int] | None = Field(
        default=None, description="Side in pixels, or [height, width], to resize to; when not given, all must be alike."
    )
    channels: Literal[1, 3] | None = Field(default=None, description="1 for grey, 3 for colour; told from the data.")
    split: SplitConfig = Field(default=SplitConfig(), description="How images are held out.")

    @property
    def needs_no_labels(self) -> bool:
        """Whether images without a class will do."""
        told = self.condition != "none" or self.normal is not None
        return self.task != "classification" and not told

    @property
    def height_width(self) -> tuple[int, int] | None:
        """The size to resize to."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


def prepare_images(config: ImagesConfig, verify: bool = True) -> PreparedData:
    """Read and prepare a user's images.

    Raises:
        DataError: the path, an image or a label is not what the config promises.
    """
    if config.height_width is not None and min(config.height_width) < 1:
        raise DataError(f"size {config.size} is not allowed; wanted at least 1 pixel", key="data.size")
    place = existing(config.path, key="data.path")
    if place.is_dir():
        if config.recent is not None:
            raise DataError("images in a folder cannot be added to; bring them as an .npz file", key="data.recent")
        return _prepare_folder(place, config, verify)
    if place.suffix.lower() == ".npz":
        return _prepare_npz(place, config)
    raise DataError(f"`{place}` is neither a folder nor an .npz file", key="data.path")


def prepare_arrays(
    pixels_NHWC: NDArray[Any],
    classes: NDArray[np.int64],
    *,
    target: ClassTarget,
    indices: SplitIndices,
    config: ImageConfig,
    pixel_max: float,
    resize: bool = False,
) -> PreparedData:
    """Split and encode images that are in memory already, with recent images of a deployment behind them."""
    indices = _kept(indices, classes, target, config)
    if config.recent is not None:
        pixels_NHWC, labels, sides = with_recent_images(pixels_NHWC, config.recent)
        classes = np.concatenate([classes, target.encode(labels)])
        indices = sides.joined(indices)
    train = indices["train"]
    preprocessing = _preprocessing(pixels_NHWC[train], target, config, pixel_max=pixel_max, resize=resize)
    augment = ImageAugmenter(config.augment, preprocessing.black) if config.augment.active else None
    splits: dict[str, Split] = {
        name: ArraySplit(
            {"image": preprocessing.standardise(pixels_NHWC[indices[name]]), "target": classes[indices[name]]},
            augment=augment if name == "train" else None,
        )
        for name in SPLITS
    }
    content = {"images": pixels_NHWC, "labels": classes, "classes": np.asarray(target.classes)}
    if config.recent is not None:
        content |= {name: indices[name] for name in SPLITS}
    digest = fingerprint_arrays(content)
    return _prepared(preprocessing, target, classes, indices, splits, digest, pixels_NHWC[train[:2]], config)


def _preprocessing(
    pixels_NHWC: NDArray[Any], target: ClassTarget, config: ImageConfig, *, pixel_max: float = 255.0, resize: bool
) -> ImagePreprocessing:
    """Fitted on train images; pixels that are made or given back are from -1 to 1 whatever they show."""
    if config.task == "classification":
        return ImagePreprocessing.fit(pixels_NHWC, target=target, pixel_max=pixel_max, resize=resize)
    _, height, width, channels = pixels_NHWC.shape
    told: ClassTarget | AnomalyTarget | None = None if config.condition == "none" else target
    if config.task == "reconstruction":
        told = AnomalyTarget(quantile=config.quantile)
    return ImagePreprocessing.symmetric(
        height, width, 1 if channels == 1 else 3, target=told, pixel_max=pixel_max, resize=resize
    )


def _kept(indices: SplitIndices, classes: NDArray[np.int64], target: ClassTarget, config: ImageConfig) -> SplitIndices:
    """What is left of the splits by `normal`, and of train by `labels`."""
    if config.normal is not None:
        indices = keep_normal(indices, classes, class_numbers(config.normal, target))
    return keep_labels(indices, classes, config.labels, config.label_seed)


def _prepared(
    preprocessing: ImagePreprocessing,
    target: ClassTarget,
    classes: NDArray[np.int64],
    indices: SplitIndices,
    splits: dict[str, Split],
    digest: str,
    example: Any,
    config: ImageConfig,
) -> PreparedData:
    shape = (preprocessing.channels, preprocessing.height, preprocessing.width)
    summary: dict[str, Any] = {
        "samples": indices.sizes(),
        "task": config.task,
        "image": {"channels": shape[0], "height": shape[1], "width": shape[2]},
        "classes": class_counts(target, classes),
    }
    if config.task == "generation":
        told = {} if config.condition == "none" else {LABEL: len(target.classes)}
        source = SOURCE if config.condition == "domain" else None
        return PreparedData(
            signature=generation_signature("image", shape, told, source=source),
            preprocessing=preprocessing,
            splits={
                name: _generated(splits[name], classes[indices[name]], len(target.classes), config.condition)
                for name in SPLITS
            },
            fingerprint=digest,
            summary=summary | {"conditions": list(told)},
            input_example=None,
        )
    known = config.normal
    if config.task == "reconstruction":
        strange = np.zeros(len(classes), np.int64) if known is None else ~np.isin(classes, class_numbers(known, target))
        splits = {
            name: ReconstructionSplit(splits[name], strange[indices[name]].astype(np.int64), noise=config.noise)
            for name in SPLITS
        }
        summary |= {"normal": list(map(str, target.classes if known is None else known)), "noise": config.noise}
    return PreparedData(
        signature=Signature(
            task=config.task,
            inputs={"image": TensorSpec(shape=shape, dtype="float32")},
            outputs=shape if config.task == "reconstruction" else (len(target.classes),),
        ),
        preprocessing=preprocessing,
        splits=splits,
        fingerprint=digest,
        summary=summary,
        class_weights=balanced_weights(config.class_weights, classes[indices["train"]], len(target.classes)),
        input_example=example,
    )


def _generated(
    split: Split, classes: NDArray[np.int64], cardinality: int, condition: Condition | Literal["domain"]
) -> Split:
    if condition == "domain":
        return UnpairedSplit(split, classes)
    return LabelledSplit(split, classes, cardinality=cardinality, condition=condition)


def _prepare_npz(place: Path, config: ImagesConfig) -> PreparedData:
    arrays = read_arrays(place, key="data.path")
    labels = arrays.get("labels", arrays.get("label"))
    if labels is None and config.needs_no_labels and "images" in arrays:
        labels = np.zeros(len(arrays["images"]), dtype=np.int64)
    if "images" not in arrays or labels is None:
        has = ", ".join(sorted(arrays)) or "nothing"
        raise DataError(f"`{place}` has {has}; wanted the arrays `images` and `labels`", key="data.path")
    pixels, labels = arrays["images"], labels.reshape(-1)
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3) or pixels.dtype.kind not in "buif":
        raise DataError(
            f"`images` is {pixels.dtype} {list(pixels.shape)}; allowed: numbers [n, h, w] or [n, h, w, 1 or 3]",
            key="data.path",
        )
    if len(labels) != len(pixels):
        raise DataError(f"`{place}` has {len(pixels)} images and {len(labels)} labels", key="data.path")
    if pixels.dtype.kind == "f":
        finite(pixels, "images", key="data.path")
    pixel_max = _pixel_max(pixels)
    if config.channels == 3 and pixels.shape[3] == 1:
        pixels = np.repeat(pixels, 3, axis=3)
    elif config.channels == 1 and pixels.shape[3] == 3:
        pixels = pixels.mean(axis=3, keepdims=True)
    size = config.height_width
    if size is not None and pixels.shape[1:3] != size:
        pixels = resize_pixels(pixels, size)
    target = _target("labels", labels.tolist(), config)
    classes = target.encode(labels.tolist())
    indices = stratified_split(classes, config.split)
    return prepare_arrays(
        pixels, classes, target=target, indices=indices, config=config, pixel_max=pixel_max, resize=size is not None
    )


def _pixel_max(pixels: NDArray[Any]) -> float:
    """The brightest value that the type, or else the values, speak of."""
    if pixels.dtype.kind in "ui" and pixels.dtype.itemsize <= 2:
        return float(np.iinfo(pixels.dtype).max)
    brightest = float(pixels.max(initial=0))
    if brightest <= 1.0:
        return 1.0
    return max(255.0, brightest)


def _prepare_folder(place: Path, config: ImagesConfig, verify: bool) -> PreparedData:
    files, labels, given = _labelled_files(place, loose=config.needs_no_labels)
    target = _target("class folder", labels, config)
    classes = target.encode(labels)
    indices = _kept(_folder_split(given, classes, config.split), classes, target, config)
    images = ImageFiles.detect(files, size=config.height_width, channels=config.channels)
    # Every file beyond the checked ones is still checked when it is first read.
    checked = np.linspace(0, len(files) - 1, min(len(files), _VERIFY_FILES if verify else 1)).astype(np.int64)
    verify_files(images, as_int64(np.unique(checked)))
    train = indices["train"]
    sampled = train[np.linspace(0, len(train) - 1, min(len(train), _STATISTICS_FILES)).astype(np.int64)]
    preprocessing = _preprocessing(images.pixels(sampled), target, config, resize=config.size is not None)
    augment = ImageAugmenter(config.augment, preprocessing.black) if config.augment.active else None
    splits: dict[str, Split] = {
        name: ImageFilesSplit(
            images, indices[name], classes[indices[name]], preprocessing, augment if name == "train" else None
        )
        for name in SPLITS
    }
    digest = Fingerprint()
    for file, label in zip(files, labels, strict=True):
        digest.add_file(label, file)
    example = images.pixels(train[:2])
    return _prepared(preprocessing, target, classes, indices, splits, digest.hex(), example, config)


def _target(name: str, labels: list[Any], config: ImagesConfig) -> ClassTarget:
    """The classes; where nothing is learnt about them, there may be one only."""
    if config.needs_no_labels:
        return ClassTarget.fit(name, labels)
    return class_target(name, labels, key="data.path", where="image")


def _labelled_files(place: Path, *, loose: bool = False) -> tuple[list[Path], list[str], list[str | None]]:
    """Files, the class of each, and the split that its folder names; `loose` takes files without class folders."""
    inside = sorted(folder for folder in place.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    names = {folder.name for folder in inside}
    parts = inside if names <= set(SPLITS) and {"train"} < names else [place]
    files: list[Path] = []
    labels: list[str] = []
    given: list[str | None] = []
    if loose and not inside and image_files(place):
        files = image_files(place)
        return files, [place.name] * len(files), [None] * len(files)
    for part in parts:
        for folder in sorted(f for f in part.iterdir() if f.is_dir() and not f.name.startswith(".")):
            found = image_files(folder)
            if not found:
                raise DataError(
                    f"class folder `{folder}` holds no images; allowed: {', '.join(IMAGE_SUFFIXES)}", key="data.path"
                )
            files += found
            labels += [folder.name] * len(found)
            given += [part.name if part is not place else None] * len(found)
    if not files:
        unsorted = " (there are images, but in no class folder)" if image_files(place) else ""
        raise DataError(f"`{place}` has no class folders{unsorted}; wanted a folder per class", key="data.path")
    return files, labels, given


def _folder_split(given: list[str | None], classes: NDArray[np.int64], config: SplitConfig) -> SplitIndices:
    """The split that the folders name; what they do not name (val, say) is drawn from train."""
    if None in given:
        return stratified_split(classes, config)
    names = np.asarray(given, dtype=object)
    if set(given) != set(SPLITS):
        own = np.flatnonzero(names == "train")
        drawn = stratified_split(classes[own], config)
        missing = "val" if "val" not in given else "test"
        names[own[drawn[cast(Any, missing)]]] = missing
    return fixed_split(list(names), key="data.path")
