"""Inception's features of pictures, by which published Fréchet distances and inception scores are measured.

The network is torch-fidelity's, also torchmetrics': the one of 2015 of the original code, which resizes as that does.
Its weights do not come along; whoever has them names the file:
https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from forgeline.errors import DataError

KEY = "inception"
PUBLISHED = "6726825d"  # how the SHA-256 of the published weights begins, as their name says
# The score's logits are without biases in the original code.
LAYERS = ("2048", "logits_unbiased")
_READ = 32


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What Inception makes of pictures.

    Attributes:
        features: [n, 2048] of its last pooling.
        probabilities: [n, 1008] of its classes.
    """

    features: NDArray[np.float64]
    probabilities: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Inception:
    """The network with weights.

    Attributes:
        network: takes pictures [n, 3, height, width] of bytes, gives the layers of `LAYERS`.
        digest: SHA-256 of the file that the weights came from, in hex.
    """

    network: torch.nn.Module
    digest: str

    @property
    def is_published(self) -> bool:
        """Whether the weights are those that published figures are measured with."""
        return self.digest.startswith(PUBLISHED)

    @torch.inference_mode()
    def see(self, pictures_NHWC: NDArray[np.uint8], *, device: str = "cpu") -> Seen:
        """Features and probabilities of grey or coloured pictures of any size."""
        network = self.network.to(device)
        features, probabilities = [], []
        for start in range(0, len(pictures_NHWC), _READ):
            some = torch.from_numpy(pictures_NHWC[start : start + _READ]).permute(0, 3, 1, 2).to(device)
            pooled, logits = network(some.expand(-1, 3, -1, -1).contiguous())
            features.append(pooled.double().cpu().numpy())
            probabilities.append(logits.double().softmax(1).cpu().numpy())
        return Seen(features=np.concatenate(features), probabilities=np.concatenate(probabilities))


def read_inception(path: Path) -> Inception:
    """Inception with the weights of a file.

    Raises:
        DataError: the file is not there, or does not hold these weights.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror}; name the file of Inception's weights", key=KEY
        ) from None
    try:
        # torch-fidelity unpickles whatever a file holds, so it is first read by what takes tensors alone.
        torch.load(BytesIO(content), weights_only=True)
        network = FeatureExtractorInceptionV3(
            "inception-v3-compat", list(LAYERS), feature_extractor_weights_path=cast(Any, BytesIO(content))
        )
    except Exception:  # whatever a torn pickle makes of itself
        raise DataError(
            f"{path} does not hold Inception's weights; name weights-inception-2015-12-05-{PUBLISHED}.pth of "
            "torch-fidelity",
            key=KEY,
        ) from None
    return Inception(network=network, digest=hashlib.sha256(content).hexdigest())
