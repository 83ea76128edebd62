"""The autoencoders of the zoo, on the test digits of mnist5k.

The VAE's bar is on its negative evidence lower bound in nats per picture, with one draw of the latent numbers; the
likelihood is Bernoulli with grey values in the place of outcomes, so that binarised pictures' bounds do not compare.
The beta-VAE and the conditional VAE are reported beside it; the picture is the walk along each latent number.

Anomalies: the model learns one digit, all others of test are anomalies; four digits were named before anything was
measured. Beside it stand principal components, as many as the code has numbers, fitted to the same images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.bars import Bar, train_and_test
from benchmarks.generator_bars import Bound, GeneratorBar

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
    """Area under the ROC curve on test by the squared error of principal components, as wide as the model's code."""
    from sklearn.decomposition import PCA
    from sklearn.metrics import roc_auc_score

    settings, train, test = train_and_test(spec, change)
    shown, asked = (batch["image"].reshape(len(batch["image"]), -1) for batch in (train, test))
    components = PCA(settings.architecture.model_dump()["latent"], random_state=0).fit(shown)
    errors = (components.inverse_transform(components.transform(asked)) - asked) ** 2
    return float(roc_auc_score(test["target"], errors.mean(axis=1)))


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
