"""What an exported model costs and gives, beside the module that was trained: size, latency, difference, metric."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgeline.bundle.inference import batches
from forgeline.errors import DataError, UsageError
from forgeline.export.formats import FILES, ExportFormat, Pruning
from forgeline.export.forward import Arrays, answering, model_inputs

if TYPE_CHECKING:
    from forgeline.bundle import Bundle
    from forgeline.export.loading import ExportedModel

ORIGINAL = "original"
BATCH = 32
WARM_UP = 5
_LONGEST_S = 20.0  # of one series of repetitions; a slow model is measured by fewer

_MAIN = {
    "classification": "accuracy",
    "token_classification": "accuracy",
    "regression": "rmse",
    "forecasting": "rmse",
    "reconstruction": "psnr",
    "retrieval": "recall_at_1",
}
"""The metric that a model of each task is known by; logits have none without the caller's loop."""
_IGNORED = -100  # class of a token that is not asked about


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportFigures:
    """What was measured of a model in one form, on this machine.

    Attributes:
        format: the form, or `original` for the module that was trained, run by torch.
        size_bytes: of the file; of the weights of the original.
        p50_ms: median latency of one sample, in milliseconds.
        p99_ms: 99th percentile of the same.
        batch: samples of the larger batch; None for a graph, which is always whole.
        batch_p50_ms: median latency of that batch.
        batch_p99_ms: 99th percentile of the same.
        threads: that computed.
        repetitions: calls of each latency, the smaller number of the two.
        samples: on which parity and metric were measured.
        parity: largest absolute difference of an output from the trained module's, on those samples.
        metric: name of the task's main metric; None without targets, or where the task has none for single outputs.
        value: of the metric.
    """

    format: str
    size_bytes: int
    p50_ms: float
    p99_ms: float
    batch: int | None
    batch_p50_ms: float | None
    batch_p99_ms: float | None
    threads: int
    repetitions: int
    samples: int
    parity: float
    metric: str | None = None
    value: float | None = None

    def row(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def measure_export(
    bundle: Bundle,
    format: ExportFormat | str,
    samples: Arrays,
    targets: NDArray[Any] | None = None,
    *,
    repetitions: int = 100,
    threads: int = 1,
    calibration: Arrays | None = None,
    pruning: Pruning | None = None,
) -> ExportFigures:
    """Export a model to a folder of its own, measure it, and remove it.

    Args:
        bundle: the model.
        format: the form, or `original` for the module as it was trained.
        samples: encoded held-out samples by name, as `preprocessing.encode` or the split of a data set gives them.
        targets: of the samples, encoded as the data set has them, for the task's main metric.
        repetitions: calls for each latency, at least 1; fewer where they would take longer than 20 s.
        threads: to compute with, at least 1.
        calibration: encoded samples of the training data, for int8-static.
        pruning: what is taken out first; parity is to the model as it was trained.

    Raises:
        NotExportable: the model cannot be exported to this form; the message names family and reason.
        DataError: the samples are not what the model takes.
        UsageError: a setting is out of range.
    """
    from forgeline.export.loading import load_exported
    from forgeline.export.writing import export_model

    if format == ORIGINAL:
        return measure_original(bundle, samples, targets, repetitions=repetitions, threads=threads)
    form = ExportFormat(format)
    if form is ExportFormat.SAFETENSORS:
        raise UsageError("a safetensors bundle is the trained module itself; measure `original`")
    with tempfile.TemporaryDirectory(prefix="forgeline-") as folder:
        place = Path(folder) / "export"
        export_model(bundle, place, [form], samples=samples, calibration=calibration, pruning=pruning)
        exported = load_exported(place, form, threads=threads)
        return measure_exported(exported, bundle, samples, targets, repetitions=repetitions, threads=threads)


def measure_exported(
    exported: ExportedModel,
    bundle: Bundle,
    samples: Arrays,
    targets: NDArray[Any] | None = None,
    *,
    repetitions: int = 100,
    threads: int = 1,
) -> ExportFigures:
    """Measure a model that was exported, beside the bundle that it came from; see `measure_export`."""
    size = (exported.folder / FILES[exported.form]).stat().st_size
    return _measured(
        bundle, str(exported.form), size, exported.run, samples, targets, repetitions=repetitions, threads=threads
    )


def measure_original(
    bundle: Bundle,
    samples: Arrays,
    targets: NDArray[Any] | None = None,
    *,
    repetitions: int = 100,
    threads: int = 1,
) -> ExportFigures:
    """Measure the module as it was trained, run by torch on the CPU; see `measure_export`."""
    from forgeline.bundle.manifest import WEIGHTS

    size = (bundle.folder / WEIGHTS).stat().st_size
    run = trained_run(bundle)
    return _measured(bundle, ORIGINAL, size, run, samples, targets, repetitions=repetitions, threads=threads)


def trained_run(bundle: Bundle) -> Callable[[Arrays], NDArray[Any]]:
    """The trained module as a function of encoded samples, on the CPU, giving what its exports give."""
    import copy

    import torch

    model = copy.deepcopy(bundle.model).cpu().eval()

    def run(arrays: Arrays) -> NDArray[Any]:
        inputs = model_inputs(bundle, arrays)
        module = answering(model, bundle.task, tuple(inputs))
        parts = []
        with torch.no_grad():
            for batch in batches(inputs, 256):
                parts.append(module(*(torch.from_numpy(array) for array in batch.values())).numpy())
        return np.concatenate(parts)

    return run


def main_metric(bundle: Bundle, outputs: NDArray[Any], targets: NDArray[Any]) -> tuple[str, float] | None:
    """The task's main metric of what an exported model gave; None where the task has none for single outputs."""
    from forgeline import metrics

    name = _MAIN.get(bundle.task)
    if name is None:
        return None
    if bundle.task == "token_classification":
        asked = targets != _IGNORED
        outputs, targets = outputs[asked], targets[asked]
    return name, metrics.from_outputs(bundle.task, outputs, targets, bundle.preprocessing)[name]


def _measured(
    bundle: Bundle,
    form: str,
    size: int,
    run: Callable[[Arrays], NDArray[Any]],
    samples: Arrays,
    targets: NDArray[Any] | None,
    *,
    repetitions: int,
    threads: int,
) -> ExportFigures:
    if repetitions < 1 or threads < 1:
        raise UsageError(f"repetitions are {repetitions} and threads {threads}; allowed: 1 or more")
    inputs = model_inputs(bundle, samples)
    with torch_threads(threads):
        outputs = run(inputs)
        wanted = outputs if form == ORIGINAL else trained_run(bundle)(inputs)
        whole = "seeds" in inputs
        one = latencies_ms(lambda: run(_rows(inputs, 1)), repetitions)
        many = None if whole else latencies_ms(lambda: run(_rows(inputs, BATCH)), repetitions)
    if targets is not None and len(targets) != len(outputs):
        raise DataError(f"there are {len(targets)} targets for {len(outputs)} outputs")
    metric = main_metric(bundle, outputs, targets) if targets is not None else None
    return ExportFigures(
        format=form,
        size_bytes=size,
        p50_ms=float(np.percentile(one, 50)),
        p99_ms=float(np.percentile(one, 99)),
        batch=None if many is None else BATCH,
        batch_p50_ms=None if many is None else float(np.percentile(many, 50)),
        batch_p99_ms=None if many is None else float(np.percentile(many, 99)),
        threads=threads,
        repetitions=min(len(one), len(one) if many is None else len(many)),
        samples=len(outputs),
        parity=float(np.abs(outputs.astype(np.float64) - wanted).max()),
        metric=metric[0] if metric else None,
        value=metric[1] if metric else None,
    )


def _rows(inputs: Mapping[str, NDArray[Any]], count: int) -> Mapping[str, NDArray[Any]]:
    """So many real samples, repeated where there are fewer; a graph whole."""
    if "seeds" in inputs:
        return inputs
    chosen = np.arange(count) % len(next(iter(inputs.values())))
    return {name: array[chosen] for name, array in inputs.items()}


def latencies_ms(call: Callable[[], object], repetitions: int) -> NDArray[np.float64]:
    """How long each of some calls took, after calls that do not count."""
    started = time.perf_counter()
    for _ in range(WARM_UP):
        call()
    took = []
    for _ in range(repetitions):
        before = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - before))
        if time.perf_counter() - started > _LONGEST_S:
            break
    return np.asarray(took)


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch compute with so many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
