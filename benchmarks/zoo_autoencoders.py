"""The autoencoders of the zoo, on the test digits of mnist5k.

The VAE's bar is on its negative evidence lower bound in nats per picture, with one draw of the latent numbers; the
likelihood is Bernoulli with grey values in the place of outcomes, so that binarised pictures' bounds do not compare.
"""

from __future__ import annotations

from benchmarks.bars import Bar

BARS = (Bar(name="mnist5k VAE", spec="zoo/vae.yaml", metric="negative_elbo", values=(0,), at_most=116),)
