"""The generators of captioned shapes: how often a judge reads colour, shape and position of a test caption back.

The judge is a classifier of three heads trained on the pictures of the train split; how many of the test pictures
themselves it reads rightly is `judge_own_accuracy`. The test split has the captions of train, with new pictures.
"""

from __future__ import annotations

from benchmarks import zoo_gans
from benchmarks.generator_bars import Bound, GeneratorBar

BARS = (
    GeneratorBar(
        name="captioned shapes latent diffusion",
        spec="zoo/latent_diffusion.yaml",
        after=("zoo/clip.yaml",),
        metrics=zoo_gans.JUDGED,
        bounds={"judge_accuracy": Bound(at_least=0.85)},
    ),
    GeneratorBar(
        name="captioned shapes DALL-E",
        spec="zoo/dalle.yaml",
        metrics=zoo_gans.JUDGED,
        bounds={"judge_accuracy": Bound(at_least=0.80)},
    ),
    GeneratorBar(
        name="captioned shapes Imagen",
        spec="zoo/imagen.yaml",
        after=("zoo/clip.yaml",),
        metrics=zoo_gans.JUDGED,
        bounds={"judge_accuracy": Bound(at_least=0.85)},
    ),
)
