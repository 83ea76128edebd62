"""An export's folder: written whole or not at all, each form in its file, all of it sealed by `export.json`."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from forgeline import __version__
from forgeline.bundle.bundle import Bundle
from forgeline.bundle.location import put
from forgeline.bundle.manifest import MANIFEST as BUNDLE_MANIFEST
from forgeline.bundle.manifest import sha256_of, verify
from forgeline.errors import BundleError, UsageError
from forgeline.export.formats import BUNDLE, FILES, ONNX_FORMATS, ExportFormat, Pruning
from forgeline.export.forward import model_inputs, output_of
from forgeline.export.manifest import (
    MANIFEST,
    PREPROCESSING,
    ExportManifest,
    InputRecord,
    PruningRecord,
    shape_of,
)

if TYPE_CHECKING:
    from torch.export import ExportedProgram

Arrays = Mapping[str, NDArray[Any]]


def export_model(
    bundle: Bundle,
    folder: str | Path,
    forms: Collection[ExportFormat | str],
    *,
    samples: Arrays | None = None,
    calibration: Arrays | None = None,
    pruning: Pruning | None = None,
) -> ExportManifest:
    """Write a model in some forms to a folder, which is made anew.

    Args:
        bundle: the model.
        folder: where; an export that is there is replaced.
        forms: one or more.
        samples: encoded samples to trace the model with; for a safetensors bundle alone there is no need of them.
        calibration: encoded samples, of the training data, that the ranges of int8-static are taken from.
        pruning: what is taken out first.

    Raises:
        NotExportable: the model cannot be exported to one of the forms; nothing is written.
        DataError: the samples are not what the model takes.
        UsageError: something is missing for a form, or the folder holds what is no export.
        BundleError: the folder cannot be written.
    """
    chosen = tuple(form for form in ExportFormat if form in {ExportFormat(given) for given in forms})
    target = Path(folder)
    _check(bundle, target, chosen, samples=samples, calibration=calibration)
    with pruned(bundle, pruning) as model:
        return _written(bundle, model, target, chosen, samples=samples, calibration=calibration, pruning=pruning)


@contextlib.contextmanager
def pruned(bundle: Bundle, pruning: Pruning | None) -> Iterator[Bundle]:
    """The bundle, or one of the pruned model that is there for as long as it is used."""
    if pruning is None:
        yield bundle
        return
    from forgeline.export.pruning import prune

    with tempfile.TemporaryDirectory(prefix="forgeline-") as folder:
        yield prune(bundle, pruning, Path(folder) / BUNDLE)


def _written(
    source: Bundle,
    bundle: Bundle,
    target: Path,
    chosen: tuple[ExportFormat, ...],
    *,
    samples: Arrays | None,
    calibration: Arrays | None,
    pruning: Pruning | None,
) -> ExportManifest:
    contents, inputs = _graphs(bundle, chosen, samples=samples, calibration=calibration)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        for name, content in contents.items():
            (fresh / name).write_bytes(content)
        if ExportFormat.SAFETENSORS in chosen:
            _copy(bundle, fresh / BUNDLE)
        manifest = _manifest(source, bundle, chosen, inputs, pruning, fresh)
        (fresh / MANIFEST).write_text(manifest.text(), encoding="utf-8")
        put(fresh, target)
    except OSError as error:
        raise BundleError(f"cannot write an export to {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return manifest


def _check(
    bundle: Bundle,
    target: Path,
    forms: tuple[ExportFormat, ...],
    *,
    samples: Arrays | None,
    calibration: Arrays | None,
) -> None:
    if not forms:
        raise UsageError(f"no form to export to; allowed: {', '.join(ExportFormat)}")
    if target.exists() and not (target / MANIFEST).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is there and is no export; give the name of a folder that can be made")
    if forms != (ExportFormat.SAFETENSORS,):
        output_of(bundle)
        if samples is None:
            raise UsageError("samples are missing: a model is traced with some, of its training data or like them")
    if ExportFormat.INT8_STATIC in forms and calibration is None:
        raise UsageError("calibration is missing: int8-static takes the ranges of its numbers from training data")


def _graphs(
    bundle: Bundle, forms: tuple[ExportFormat, ...], *, samples: Arrays | None, calibration: Arrays | None
) -> tuple[dict[str, bytes], dict[str, NDArray[Any]]]:
    """The content of each file, and the inputs that the graphs take."""
    contents = {PREPROCESSING: (bundle.preprocessing.model_dump_json(indent=1) + "\n").encode()}
    if forms == (ExportFormat.SAFETENSORS,) or samples is None:
        return contents, {}
    from forgeline.export.tracing import onnx_model, pt2_archive, trace

    inputs = model_inputs(bundle, samples)
    program: ExportedProgram = trace(bundle, bundle.model, inputs)
    if ONNX_FORMATS & set(forms):
        from forgeline.export import quantisation

        written = onnx_model(bundle, program, tuple(inputs))
        if ExportFormat.ONNX in forms:
            contents[FILES[ExportFormat.ONNX]] = written
        if ExportFormat.INT8_DYNAMIC in forms:
            contents[FILES[ExportFormat.INT8_DYNAMIC]] = quantisation.dynamic(bundle, written)
        if ExportFormat.INT8_STATIC in forms and calibration is not None:
            ranges = model_inputs(bundle, calibration)
            contents[FILES[ExportFormat.INT8_STATIC]] = quantisation.static(bundle, written, ranges)
    # Last, since it takes from the program what the exporter to ONNX may want.
    if ExportFormat.PT2 in forms:
        contents[FILES[ExportFormat.PT2]] = pt2_archive(program)
    return contents, inputs


def _copy(bundle: Bundle, folder: Path) -> None:
    """The bundle's files, and no others, held against their digests where they arrive."""
    folder.mkdir(exist_ok=True)
    for name in (BUNDLE_MANIFEST, *bundle.manifest.digests):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.folder / name, folder / name)
    verify(folder, bundle.manifest.digests)


def _manifest(
    source: Bundle,
    bundle: Bundle,
    forms: tuple[ExportFormat, ...],
    inputs: Mapping[str, NDArray[Any]],
    pruning: Pruning | None,
    folder: Path,
) -> ExportManifest:
    files = {form: f"{BUNDLE}/{BUNDLE_MANIFEST}" if form is ExportFormat.SAFETENSORS else FILES[form] for form in forms}
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    return ExportManifest(
        forgeline=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        bundle=source.digest,
        run_id=source.manifest.run_id,
        architecture=bundle.name,
        task=bundle.task,
        classes=bundle.classes,
        inputs=tuple(
            InputRecord(name=name, shape=shape_of(array.shape), dtype=str(array.dtype))
            for name, array in inputs.items()
        ),
        output=output_of(bundle) if inputs else None,
        pruned=PruningRecord(share=pruning.share, channels=pruning.channels) if pruning is not None else None,
        files=files,
        digests={path.relative_to(folder).as_posix(): sha256_of(path) for path in written},
    )
