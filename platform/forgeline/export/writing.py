"""An export's folder: written whole or not at all, each form in its file, all of it sealed by `export.json`."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from forgeline import __version__
from forgeline.bundle.bundle import Bundle
from forgeline.bundle.location import put
from forgeline.bundle.manifest import MANIFEST as BUNDLE_MANIFEST
from forgeline.bundle.manifest import sha256_of, verify
from forgeline.errors import BundleError, UsageError
from forgeline.export.errors import NotExportable
from forgeline.export.formats import BUNDLE, FILES, ONNX_FORMATS, ExportFormat, Pruning
from forgeline.export.forward import OUTPUTS, model_inputs, output_of
from forgeline.export.manifest import (
    MANIFEST,
    PREPROCESSING,
    ExportManifest,
    InputRecord,
    PruningRecord,
    shape_of,
)

Arrays = Mapping[str, NDArray[Any]]


def export_model(
    bundle: Bundle,
    folder: str | Path,
    forms: Collection[ExportFormat | str],
    *,
    samples: Arrays | None = None,
    calibration: Arrays | None = None,
    pruning: Pruning | None = None,
    refused: MutableMapping[str, str] | None = None,
) -> ExportManifest:
    """Write a model in some forms to a folder, which is made anew.

    Args:
        bundle: the model.
        folder: where; an export that is there is replaced.
        forms: one or more.
        samples: encoded samples to trace the model with; for a safetensors bundle alone there is no need of them.
        calibration: encoded samples, of the training data, that the ranges of int8-static are taken from.
        pruning: what is taken out first.
        refused: where given, forms that the model cannot be exported to are put here with the reason, and the others
            are written all the same, if there are any.

    Raises:
        NotExportable: the model cannot be exported to one of the forms, or to none of them; nothing is written.
        DataError: the samples are not what the model takes.
        UsageError: something is missing for a form, or the folder holds what is no export.
        BundleError: the folder cannot be written.
    """
    chosen = tuple(form for form in ExportFormat if form in {ExportFormat(given) for given in forms})
    target = Path(folder)
    _check(bundle, target, chosen, samples=samples, calibration=calibration)
    with pruned(bundle, pruning) as model:
        contents, inputs, reasons = _contents(model, chosen, samples=samples, calibration=calibration)
        made = tuple(form for form in chosen if form not in reasons)
        if reasons and (refused is None or not made):
            raise NotExportable("\n".join(dict.fromkeys(reasons.values())))
        if refused is not None:
            refused.update({str(form): reason for form, reason in reasons.items()})
        return _written(bundle, model, target, made, contents, inputs, pruning)


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
    contents: Mapping[str, bytes],
    inputs: Mapping[str, NDArray[Any]],
    pruning: Pruning | None,
) -> ExportManifest:
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
    if forms != (ExportFormat.SAFETENSORS,) and bundle.task in OUTPUTS and samples is None:
        raise UsageError("samples are missing: a model is traced with some, of its training data or like them")
    if ExportFormat.INT8_STATIC in forms and calibration is None:
        raise UsageError("calibration is missing: int8-static takes the ranges of its numbers from training data")


def _contents(
    bundle: Bundle, forms: tuple[ExportFormat, ...], *, samples: Arrays | None, calibration: Arrays | None
) -> tuple[dict[str, bytes], dict[str, NDArray[Any]], dict[ExportFormat, str]]:
    """The content of each file, the inputs that the graphs take, and the forms that cannot be, with the reason."""
    contents = {PREPROCESSING: (bundle.preprocessing.model_dump_json(indent=1) + "\n").encode()}
    graphs = tuple(form for form in forms if form in FILES)
    if not graphs:
        return contents, {}, {}
    from forgeline.export.tracing import onnx_model, pt2_archive, trace

    try:
        output_of(bundle)
        assert samples is not None  # held by `_check`
        inputs = model_inputs(bundle, samples)
        program = trace(bundle, bundle.model, inputs)
    except NotExportable as error:
        return contents, {}, dict.fromkeys(graphs, str(error))
    reasons: dict[ExportFormat, str] = {}

    def keep(form: ExportFormat, make: Callable[[], bytes]) -> bytes | None:
        try:
            made = make()
        except NotExportable as error:
            reasons[form] = str(error)
            return None
        if form in graphs:
            contents[FILES[form]] = made
        return made

    quantised = [form for form in graphs if form in ONNX_FORMATS - {ExportFormat.ONNX}]
    if ONNX_FORMATS & set(graphs):
        onnx = keep(ExportFormat.ONNX, lambda: onnx_model(bundle, program, tuple(inputs)))
        for form in quantised:
            if onnx is None:
                reasons[form] = reasons[ExportFormat.ONNX]
            else:
                keep(form, partial(_quantised, bundle, form, onnx, inputs, calibration))
    # Last, since it takes from the program what the exporter to ONNX may want.
    if ExportFormat.PT2 in graphs:
        keep(ExportFormat.PT2, lambda: pt2_archive(bundle, program))
    return contents, inputs, {form: reason for form, reason in reasons.items() if form in graphs}


def _quantised(bundle: Bundle, form: ExportFormat, onnx: bytes, inputs: Arrays, calibration: Arrays | None) -> bytes:
    from forgeline.export import quantisation

    if form is ExportFormat.INT8_DYNAMIC:
        return quantisation.dynamic(bundle, onnx, inputs)
    assert calibration is not None  # held by `_check`
    return quantisation.static(bundle, onnx, model_inputs(bundle, calibration))


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
