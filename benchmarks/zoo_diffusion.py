"""The diffusion row of the zoo, on the test digits: what a judge trained on the same digits reads, and the distance.

The distance is held against that of the conditional GAN, which is trained beside it on the same data.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks import zoo_gans
from benchmarks.generator_bars import Bound, GeneratorBar, Say, measure

DDPM = GeneratorBar(
    name="digits DDPM, conditional",
    spec="zoo/ddpm.yaml",
    metrics=zoo_gans.JUDGED,
    bounds={"judge_accuracy": Bound(at_least=0.95)},
    again={"DDIM-20": {"steps": 20, "eta": 0.0}},
)


def against_the_gan(say: Say) -> dict[str, Any]:
    """The DDPM's row, its distance bounded by the GAN's."""
    (distance,) = measure(zoo_gans.DIGITS, say)["measured"]["frechet_distance"]
    bounds = {**DDPM.bounds, "frechet_distance": Bound(at_most=distance)}
    return measure(replace(DDPM, bounds=bounds), say)
