"""An exported model in use: opened from its folder, with the bundle's preprocessing, by torch or by onnxruntime.

Everything in the folder is held against `export.json` after it was opened. That tells damage, and tells whether the
folder is the one whose digest a caller knows; it does not tell who wrote it, so that nothing in it is trusted: a pt2
archive goes through `pt2_archive`, and an ONNX model may name no file beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from forgeline.bundle.inference import batches
from forgeline.errors import BundleError, BundleTampered, NotFound, UsageError
from forgeline.export.formats import BUNDLE, FILES, ExportFormat
from forgeline.export.forward import fitted
from forgeline.export.manifest import (
    LARGEST_PREPROCESSING_BYTES,
    MANIFEST,
    PREPROCESSING,
    ExportManifest,
    read_export_manifest,
    read_sealed,
)

if TYPE_CHECKING:
    import pandas as pd

    from forgeline.bundle import Bundle
    from forgeline.preprocessing import Preprocessing

Arrays = Mapping[str, NDArray[Any]]
Run = Callable[[Arrays], NDArray[Any]]

# Tasks whose exported numbers are what `Bundle.outputs` gives, so that the bundle's preprocessing can read them.
_DECODED = frozenset({"classification", "token_classification", "regression", "forecasting", "reconstruction"})


class ExportedModel:
    """A model that was exported, in one of its forms.

    >>> model = load_exported("digits-onnx/")  # doctest: +SKIP
    >>> model.predict("scans/")                # doctest: +SKIP

    Attributes:
        folder: where it lies.
        manifest: the content of `export.json`.
        digest: sha256 of `export.json`, and through the digests in it of the whole export.
        form: the form that is used.
    """

    def __init__(self, folder: Path, manifest: ExportManifest, digest: str, form: ExportFormat, threads: int) -> None:
        self.folder = folder
        self.manifest = manifest
        self.digest = digest
        self.form = form
        self._threads = threads

    def __repr__(self) -> str:
        return f"<ExportedModel {self.manifest.architecture}: {self.manifest.task}, {self.form} from {self.folder}>"

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """From raw rows, images, texts or series to the model's inputs, and back from its outputs."""
        from pydantic import ValidationError

        from forgeline.preprocessing import load_preprocessing

        content = read_sealed(self.folder, self.manifest, PREPROCESSING, largest=LARGEST_PREPROCESSING_BYTES)
        try:
            return load_preprocessing(content.decode())
        except (ValidationError, UnicodeDecodeError) as error:
            raise BundleError(f"{self.folder / PREPROCESSING} is no preprocessing: {error}") from error

    @cached_property
    def _run(self) -> Run:
        content = read_sealed(self.folder, self.manifest, self.manifest.files[self.form])
        names = tuple(record.name for record in self.manifest.inputs)
        if self.form is ExportFormat.PT2:
            return pt2_run(content, names)
        return onnx_run(content, names, threads=self._threads)

    def run(self, arrays: Arrays, *, batch_size: int = 256) -> NDArray[Any]:
        """The exported numbers of encoded samples, as `manifest.output` describes them.

        Args:
            arrays: by name, as `preprocessing.encode` gives them.
            batch_size: samples that go through the model together; a graph does so whole.

        Raises:
            DataError: an input is missing or has another shape.
        """
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}; allowed: 1 or more")
        inputs = {record.name: {"shape": record.shape[1:], "dtype": record.dtype} for record in self.manifest.inputs}
        chosen = fitted(arrays, inputs, task=self.manifest.task)
        return np.concatenate([self._run(batch) for batch in batches(chosen, batch_size)])

    def predict(self, raw: Any, *, batch_size: int = 256) -> pd.DataFrame:
        """Predictions, one row per sample, as `Bundle.predict` gives them.

        Raises:
            DataError: the data are not what the model takes.
            UsageError: the exported numbers are logits or embeddings, which `run` gives.
        """
        import pandas as pd

        from forgeline.bundle.prediction import pieces_of

        if self.manifest.task not in _DECODED:
            gives = self.manifest.output.name if self.manifest.output else "nothing"
            raise UsageError(
                f"an exported model for {self.manifest.task} gives {gives}; what follows is the caller's: use run()"
            )
        tables = []
        # Only the preprocessing of the bundle is asked for.
        for piece in pieces_of(cast("Bundle", self), raw):
            table = self.preprocessing.decode(self.run(self.preprocessing.encode(piece), batch_size=batch_size))
            labels = self.preprocessing.row_labels(piece)
            tables.append(pd.concat([labels.reset_index(drop=True), table], axis=1) if len(labels.columns) else table)
        return tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)


def load_exported(
    folder: str | Path,
    form: ExportFormat | str | None = None,
    *,
    digest: str | None = None,
    threads: int | None = None,
) -> ExportedModel:
    """An exported model by its folder.

    Args:
        folder: that `forgeline export` wrote.
        form: which of its forms; not needed where there is one.
        digest: sha256 that `export.json` must have, where the caller knows it.
        threads: of onnxruntime for one model; the cores of this process when None.

    Raises:
        NotFound: there is no such folder, or it has not the form.
        BundleError: it is no export, or holds what Forgeline does not write.
        BundleTampered: a file is not the one that was sealed, or the export not the one of the digest.
        UsageError: it has several forms and none is named, or is a bundle.
    """
    place = Path(folder).expanduser()
    if not (place / MANIFEST).is_file():
        raise NotFound(f"{place} holds no {MANIFEST}: it is not the folder of an export")
    manifest, found = read_export_manifest(place)
    if digest is not None and digest != found:
        raise BundleTampered(f"{place / MANIFEST} has sha256 {found[:12]}…, wanted {digest[:12]}…")
    chosen = _chosen(place, manifest, form)
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads < 1:
        raise UsageError(f"threads is {threads}; allowed: 1 or more")
    model = ExportedModel(place, manifest, found, chosen, threads)
    model._run  # noqa: B018  (opened now, so that what is wrong with it is told here)
    return model


def _chosen(folder: Path, manifest: ExportManifest, form: ExportFormat | str | None) -> ExportFormat:
    there = [known for known in FILES if known in manifest.files]
    listed = ", ".join(there) or "none"
    if form is None:
        if len(there) == 1:
            return there[0]
        if not there:
            raise UsageError(f"{folder} holds a bundle alone; load it by Bundle.load({str(folder / BUNDLE)!r})")
        raise UsageError(f"{folder} holds several forms ({listed}); name one")
    if form not in there:
        raise NotFound(f"{folder} holds no {form!s}; it holds {listed}")
    return ExportFormat(form)


def pt2_run(content: bytes, names: tuple[str, ...]) -> Run:
    """A pt2 archive as a function of its inputs, on the CPU.

    Raises:
        BundleError: it holds what could run code, or cannot be read.
    """
    import torch

    from forgeline.export.pt2_archive import checked_archive
    from forgeline.export.tracing import quietly

    archive = checked_archive(content)
    try:
        with quietly():
            # Nothing in it is pickled, evaluated or looked up but what `checked_archive` allows.
            program = torch.export.load(archive)
            module: Any = program.module(check_guards=False)
    except Exception as error:  # torch has no common root for what it cannot read
        raise BundleError(f"the pt2 archive cannot be read: {str(error).splitlines()[0][:300]}") from error

    def run(arrays: Arrays) -> NDArray[Any]:
        inputs = [torch.from_numpy(arrays[name]) for name in names]
        with torch.no_grad():
            outputs: NDArray[Any] = module(*inputs).numpy()
        return outputs

    return run


def onnx_run(content: bytes, names: tuple[str, ...], *, threads: int) -> Run:
    """An ONNX model as a function of its inputs, run by onnxruntime on the CPU.

    Raises:
        BundleError: it names files beside it, or cannot be read.
    """
    import onnxruntime

    check_onnx(content)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common root for what it cannot read
        raise BundleError(f"the ONNX model cannot be read: {str(error).splitlines()[0][:300]}") from error
    # An input that nothing depends on has no place in the graph.
    used = {given.name for given in session.get_inputs()}
    if not used <= set(names):
        raise BundleError(f"the ONNX model takes {', '.join(sorted(used))}; {MANIFEST} says {', '.join(names)}")

    def run(arrays: Arrays) -> NDArray[Any]:
        outputs: NDArray[Any] = session.run(None, {name: arrays[name] for name in names if name in used})[0]
        return outputs

    return run


def check_onnx(content: bytes) -> None:
    """Refuse an ONNX model whose numbers lie in files of their own.

    Raises:
        BundleError: they do, or it is no ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    try:
        graph = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise BundleError(f"the ONNX model cannot be read: {error}") from error
    if any(uses_external_data(tensor) for tensor in _get_all_tensors(graph)):
        raise BundleError("the ONNX model names files beside it; a model exported by Forgeline is one file")
