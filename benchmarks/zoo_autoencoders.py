"""The autoencoders of the zoo, on the test digits of mnist5k.

The VAE's bar is on its negative evidence lower bound in nats per picture, with one draw of the latent numbers; the
likelihood is Bernoulli with grey values in the place of outcomes, so that binarised pictures' bounds do not compare.
The beta-VAE and the conditional VAE are reported beside it; the picture is the walk along each latent number.

Anomalies: the model learns one digit, all others of test are anomalies; four digits were named before anything was
measured. Beside it stand principal components, fitted to the same images and as many as are best on val, where they may
see the other digits.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.bars import Bar, whole_splits
from benchmarks.generator_bars import Bound, GeneratorBar

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.decomposition import PCA

    from forgeline_jobs.data.base import Batch

COMPONENTS = (8, 16, 24, 32, 64)  # numbers of them, of which the best is chosen on val

_ELBO = ("negative_elbo", "reconstruction", "kl")
_WALK = "latent-walk"

VARIATIONAL = (
    GeneratorBar(
        name="mnist5k VAE",
        spec="zoo/vae.yaml",
        metrics=_ELBO,
        bounds={"negative_elbo": Bound(at_most=116)},
        picture=_WALK,
    ),
    GeneratorBar(name="mnist5k beta-VAE", spec="zoo/beta_vae.yaml", metrics=_ELBO, picture=_WALK),
    GeneratorBar(
        name="mnist5k conditional VAE",
        spec="zoo/conditional_vae.yaml",
        metrics=(*_ELBO, "judge_accuracy", "judge_own_accuracy"),
        picture=_WALK,
    ),
)


def pca_auroc(spec: Path, change: dict[str, Any]) -> float:
    """Area under the ROC curve on test by the squared error of as many principal components as are best on val."""
    from sklearn.decomposition import PCA

    train, test = whole_splits(spec, change, "train", "test")
    val = _val_with_anomalies(spec, change)
    fitted = [PCA(number, random_state=0).fit(_rows(train)) for number in COMPONENTS]
    return _auroc(max(fitted, key=lambda components: _auroc(components, val)), test)


def _val_with_anomalies(spec: Path, change: dict[str, Any]) -> Batch:
    """Val with the digits that the model is never shown, from which the reference alone may learn."""
    every = change | {"data.normal": None}
    (shown,) = whole_splits(spec, every, "val")
    (named,) = whole_splits(spec, every | {"data.task": "classification"}, "val")
    return {"image": shown["image"], "target": ~np.isin(named["target"], change["data.normal"])}


def _auroc(components: PCA, batch: Batch) -> float:
    from sklearn.metrics import roc_auc_score

    rows = _rows(batch)
    errors = (components.inverse_transform(components.transform(rows)) - rows) ** 2
    return float(roc_auc_score(batch["target"], errors.mean(axis=1)))


def _rows(batch: Batch) -> NDArray[Any]:
    """Pictures [n, pixels]."""
    return batch["image"].reshape(len(batch["image"]), -1)


BARS = (
    Bar(
        name="mnist5k anomalies",
        spec="zoo/autoencoder.yaml",
        metric="anomaly_auroc",
        key="data.normal",
        values=([2], [4], [6], [8]),
        reference=pca_auroc,
    ),
    Bar(
        name="mnist5k denoising autoencoder",
        spec="zoo/denoising_autoencoder.yaml",
        metric="psnr_gain",
        values=(0,),
        at_least=8,
    ),
    Bar(name="mnist5k sparse autoencoder", spec="zoo/sparse_autoencoder.yaml", metric="psnr", values=(0,)),
)
