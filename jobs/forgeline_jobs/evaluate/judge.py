"""The judge of generators: a classifier of a fixed recipe, trained on the train split of the generator's own data.

- Its recipe and seed are constants, so that no figure can be tuned by it; a change of either raises `RECIPE`.
- Of samples with several attributes it has a head for each.
- It is trained once, on the CPU, and kept by a digest of all that it learnt from; another machine may round otherwise.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline.bundle.weights import read_weights, write_weights
from forgeline_jobs.data.base import as_int64
from forgeline_jobs.data.fingerprint import Fingerprint

if TYPE_CHECKING:
    from forgeline_jobs.data.generation import JudgedSplit

RECIPE = 1
SEED = 0
FILTERS, KERNEL, UNITS, DROPOUT = (24, 48), 3, 64, 0.3
SMALLEST_SIDE = 4  # more layers, of the last number of filters, until the maps are no larger
STEPS, BATCH, LEARNING_RATE = 600, 64, 2e-3
SHIFT_OF_SIDE = 28  # pictures are shifted by a pixel for so many of their side: none of a small one
MOST_SAMPLES = 10_000  # of the train split, evenly taken
_BLACK = -1.0
_READ = 256


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the judge makes of pictures.

    Attributes:
        features: [n, units] what its last layers read.
        probabilities: of each attribute's values, [n, values] each.
    """

    features: NDArray[np.float64]
    probabilities: tuple[NDArray[np.float64], ...]

    @property
    def attributes(self) -> NDArray[np.int64]:
        """The likeliest value of each attribute, [n, attributes]."""
        return np.stack([each.argmax(axis=1) for each in self.probabilities], axis=1)

    def share_read(self, attributes: NDArray[np.int64]) -> float:
        """Share of the pictures in which every attribute [n, attributes] is read as it is given."""
        return float((self.attributes == attributes).all(axis=1).mean())


class Judge(nn.Module):
    """LeNet's layout (LeCun et al. 1998, section II.B) with batch normalisation and a head for each attribute.

    Args:
        shape: channels, height and width of a picture.
        cardinalities: values of each attribute.
    """

    def __init__(self, shape: tuple[int, int, int], cardinalities: tuple[int, ...]) -> None:
        super().__init__()
        channels, height, width = shape
        maps: list[nn.Module] = []
        layer = 0
        while layer < len(FILTERS) or max(height, width) > SMALLEST_SIDE:
            filters = FILTERS[min(layer, len(FILTERS) - 1)]
            # Pooling rounds up, so that the smallest picture still has a map.
            maps += [
                nn.Conv2d(channels, filters, KERNEL, padding=KERNEL // 2, bias=False),
                nn.BatchNorm2d(filters),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True),
            ]
            channels, height, width, layer = filters, -(-height // 2), -(-width // 2), layer + 1
        self.maps = nn.Sequential(*maps)
        self.dense = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(channels * height * width, UNITS), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(UNITS, values) for values in cardinalities)

    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch units"]:
        """The features of pictures."""
        out: Tensor = self.dense(self.maps(image).flatten(1))
        return out

    def loss(
        self, image: Float[Tensor, "batch channels height width"], attributes: Int[Tensor, "batch attributes"]
    ) -> Float[Tensor, ""]:
        """Cross-entropy in nats, summed over the attributes."""
        features = self(image)
        losses = [
            F.cross_entropy(head(features), wanted) for head, wanted in zip(self.heads, attributes.T, strict=True)
        ]
        return torch.stack(losses).sum()

    @torch.inference_mode()
    def read(self, pictures_NCHW: NDArray[np.float32], *, device: str = "cpu") -> Reading:
        """Features and probabilities of pictures in the range of the data."""
        self.eval().to(device)
        features: list[NDArray[np.float64]] = []
        found: list[list[NDArray[np.float64]]] = [[] for _ in self.heads]
        for start in range(0, len(pictures_NCHW), _READ):
            units = self(torch.from_numpy(pictures_NCHW[start : start + _READ]).to(device))
            features.append(units.double().cpu().numpy())
            for kept, head in zip(found, self.heads, strict=True):
                kept.append(head(units).double().softmax(1).cpu().numpy())
        return Reading(features=np.concatenate(features), probabilities=tuple(np.concatenate(parts) for parts in found))


def judge_of(train: JudgedSplit, learnt: str, home: Path) -> Judge:
    """The judge of data, trained or found below `home`.

    Args:
        train: the train split.
        learnt: name of the pictures in a batch.
        home: folder of everything local; judges are kept in `judges`.

    Raises:
        BundleError: the file of a judge cannot be read or written.
    """
    count = min(len(train), MOST_SAMPLES)
    taken = as_int64(np.linspace(0, len(train) - 1, count))
    parts = [train.batch(taken[start : start + _READ])[learnt] for start in range(0, count, _READ)]
    pictures, attributes = np.concatenate(parts), train.attributes(taken)
    path = home / "judges" / f"{_digest(pictures, attributes, train.attribute_cardinalities)}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        judge = Judge(cast(Any, pictures.shape[1:]), train.attribute_cardinalities)
        if path.exists():
            judge.load_state_dict(read_weights(path))
            return judge.eval()
        _train(judge, torch.from_numpy(pictures), torch.from_numpy(attributes))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    write_weights(temporary, judge.state_dict())
    temporary.replace(path)
    return judge.eval()


def _digest(pictures: NDArray[Any], attributes: NDArray[np.int64], cardinalities: tuple[int, ...]) -> str:
    """Of the recipe and of all that is learnt from, for two settings of the same data may show other pictures."""
    digest = Fingerprint().add("recipe", str(RECIPE).encode()).add("cardinalities", str(cardinalities).encode())
    return digest.add_array("pictures", pictures).add_array("attributes", attributes).hex()


def _train(judge: Judge, pictures: Tensor, attributes: Tensor) -> None:
    """Adam with a cosine from the first step to 0, batches drawn with replacement, pictures shifted."""
    judge.train()
    optimizer = torch.optim.Adam(judge.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    generator = torch.Generator().manual_seed(SEED)
    reach = min(pictures.shape[2:]) // SHIFT_OF_SIDE
    for _ in range(STEPS):
        chosen = torch.randint(len(pictures), (min(BATCH, len(pictures)),), generator=generator)
        loss = judge.loss(_shifted(pictures[chosen], reach, generator), attributes[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _shifted(
    pictures: Float[Tensor, "batch channels height width"], reach: int, generator: torch.Generator
) -> Float[Tensor, "batch channels height width"]:
    """Each batch moved by up to `reach` pixels either way, black where nothing was."""
    if not reach:
        return pictures
    down, right = torch.randint(2 * reach + 1, (2,), generator=generator).tolist()
    height, width = pictures.shape[2:]
    padded = F.pad(pictures, (reach, reach, reach, reach), value=_BLACK)
    return padded[:, :, down : down + height, right : right + width]
