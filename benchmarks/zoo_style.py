"""The networks of Karras et al. in the zoo, on MNIST digits of 32x32 pixels, before a judge trained on the same digits.

A progressive GAN leaves a checkpoint at the end of each stage. `evaluate` measures each of them like a model of its
own: it samples at the resolution that it has grown to, each pixel as a square of the full picture's. StyleGAN2 is held
against the distance of the DCGAN of the same data.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import forgeline as fl
from benchmarks import results_file, zoo_gans
from benchmarks.bars import SPECS
from benchmarks.generator_bars import Bound, GeneratorBar, evaluate, keep_picture, measure
from forgeline.bundle import Bundle
from forgeline_architectures.adversarial.resolutions import FIRST_SIDE

PROGRESSIVE = "zoo/progressive_gan.yaml"
STYLEGAN2 = GeneratorBar(
    name="mnist5k StyleGAN2",
    spec="zoo/stylegan2.yaml",
    metrics=zoo_gans.DISTANCES,
    evaluation={"untrained": True},
)


def stage_by_stage(say: Callable[[str], None]) -> dict[str, Any]:
    """The distance at each stage's end, which must fall from every stage to the next."""
    started = time.perf_counter()
    run = fl.run(SPECS / PROGRESSIVE)
    seconds = time.perf_counter() - started
    if run.state != "succeeded":
        raise RuntimeError(f"{PROGRESSIVE}: {run.state}, {run.message}")
    distances: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for stage, bundle in enumerate(_stages(run, Path(folder))):
            report, metrics = evaluate(str(bundle), {})
            distances.append(metrics["frechet_distance"])
            side = FIRST_SIDE * 2**stage
            say(f"mnist5k progressive GAN: frechet_distance {distances[-1]:.4g} at {side}x{side}")
    keep_picture(report, PROGRESSIVE)
    rises = [after - before for before, after in pairwise(distances)]
    stages = run.bundle.manifest.architecture["widths"]
    return {
        "name": "mnist5k progressive GAN",
        "spec": PROGRESSIVE,
        "measured": {"frechet_distance by stage": distances, "least fall": [-max(rises)]},
        "asked": {"least fall": {"at_least": 0.0}},
        "seconds": [round(seconds, 1)],
        "met": len(distances) == len(stages) and max(rises) < 0,
    }


def against_dcgan(say: Callable[[str], None]) -> dict[str, Any]:
    """StyleGAN2's row, its distance bounded by the DCGAN's, which is trained here where the group `gan` has no row."""
    (dcgan,) = (bar for bar in zoo_gans.BARS if bar.spec == "zoo/dcgan.yaml")
    row = results_file.read("gan").get("rows", {}).get(dcgan.name) or measure(dcgan, say)
    distance = min(row["measured"]["frechet_distance"])
    return measure(replace(STYLEGAN2, bounds={"frechet_distance": Bound(at_most=distance)}), say)


def _stages(run: fl.Run, folder: Path) -> Iterator[Path]:
    """A bundle of each stage's last weights, from the smallest pictures on."""
    import torch

    from forgeline_architectures.tasks.base import deployed_weights
    from forgeline_jobs.train import checkpoint

    final = run.bundle
    architecture = final.manifest.architecture
    ends = [stage * architecture["stage_steps"] for stage in range(1, len(architecture["widths"]))]
    *before, last = checkpoint.folders(run.paths.checkpoints)
    for found in [*(each for each in before if checkpoint.Manifest.read(each).step in ends), last]:
        state = torch.load(found / checkpoint.STATE, map_location="cpu", weights_only=True)
        target = folder / found.name
        Bundle.save(
            target,
            model_state=deployed_weights(state),
            architecture=architecture,
            signature=final.manifest.signature,
            preprocessing=final.preprocessing,
            data=final.data,
        )
        yield target
