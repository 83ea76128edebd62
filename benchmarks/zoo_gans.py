"""The adversarial rows of the zoo, on test data.

Points: a sample is of high quality within 3 deviations of its nearest mode, a mode is found by one such sample; 10,000
samples are drawn. Digits: the judge is a classifier trained on the same digits.
"""

from __future__ import annotations

from benchmarks.generator_bars import Bound, GeneratorBar

DISTANCES = ("frechet_distance", "frechet_distance_untrained", "judge_score")
JUDGED = ("judge_accuracy", "frechet_distance", "judge_score", "judge_own_accuracy")
POINTS = ("modes", "high_quality")

DIGITS = GeneratorBar(name="digits GAN, conditional", spec="zoo/gan.yaml", metrics=JUDGED)

BARS = (
    DIGITS,
    GeneratorBar(
        name="25 Gaussians GAN",
        spec="zoo/gan.yaml",
        metrics=POINTS,
        # The points and the steps of the WGAN-GP beside it.
        change={
            "architecture": {"name": "gan", "latent": 2},
            "data": {"name": "gaussians25", "batch_size": 256},
            "optimizer.lr": 1e-3,
            "optimizer.schedule": "linear",
            "trainer.steps": 10_000,
        },
    ),
    # What is kept is the digit, by a judge that must find the style that was asked for, too.
    GeneratorBar(
        name="digits and their outlines CycleGAN",
        spec="zoo/cyclegan.yaml",
        metrics=("judge_accuracy", "frechet_distance", "judge_own_accuracy"),
        bounds={"judge_accuracy": Bound(at_least=0.90)},
    ),
    GeneratorBar(
        name="digits and their negatives CycleGAN",
        spec="zoo/cyclegan.yaml",
        metrics=("judge_accuracy", "frechet_distance", "judge_own_accuracy"),
        bounds={"judge_accuracy": Bound(at_least=0.90)},
        change={"data.style": "inverted"},
    ),
    GeneratorBar(
        name="25 Gaussians WGAN-GP",
        spec="zoo/wgan_gp.yaml",
        metrics=POINTS,
        bounds={"modes": Bound(at_least=25), "high_quality": Bound(at_least=0.90)},
        seeds=(0, 1, 2),
    ),
    GeneratorBar(
        name="mnist5k DCGAN",
        spec="zoo/dcgan.yaml",
        metrics=DISTANCES,
        bounds={"frechet_distance": Bound(at_most=0.5, of="frechet_distance_untrained")},
        evaluation={"untrained": True},
    ),
    GeneratorBar(
        name="digits BigGAN, conditional",
        spec="zoo/biggan.yaml",
        metrics=JUDGED,
        bounds={"judge_accuracy": Bound(at_least=0.95)},
        again={"truncated": {"truncation": 0.5}},
    ),
)
