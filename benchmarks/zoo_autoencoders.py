"""The autoencoders of the zoo, on the test digits of mnist5k.

The VAE's bar is on its negative evidence lower bound in nats per picture, with one draw of the latent numbers; the
likelihood is Bernoulli with grey values in the place of outcomes, so that binarised pictures' bounds do not compare.
The beta-VAE and the conditional VAE are reported beside it; the picture is the walk along each latent number.
"""

from __future__ import annotations

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
