"""Lets a checkpoint be written with one micro-batch and read with another: its loops count whole batches.

Lightning counts what the loader yields, which are pieces of a worker's share of a batch. Between two optimizer steps
the pieces of a batch are all done or all to be done, so that the counts can be divided and multiplied.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from forgeline_architectures.tasks.lightning_import import Callback, LightningModule, Trainer


class Pieces(Callback):
    """Converts the counts.

    Args:
        pieces: that a worker's share of a batch comes in.
    """

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        scale(checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"], Fraction(1, self.pieces))

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        scale(checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"], Fraction(self.pieces))


def scale(progress: dict[str, Any], factor: Fraction) -> None:
    """Scale the counts of a loop's progress in place. One that lags behind `ready`, since its hook has yet to end, lags
    as far behind afterwards.

    >>> counts = {"ready": 8, "started": 8, "processed": 8, "completed": 7}
    >>> scale({"total": counts}, Fraction(1, 4)); counts
    {'ready': 2, 'started': 2, 'processed': 2, 'completed': 1}
    """
    for counts in progress.values():
        if not isinstance(counts, dict):
            continue
        before = counts["ready"]
        after = before * factor
        assert after.denominator == 1, f"a checkpoint within a batch: {before} pieces of which one is {factor}"
        counts.update({name: int(after) - (before - count) for name, count in counts.items()})
