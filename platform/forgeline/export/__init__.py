"""Trained models in other forms: as a graph for torch or onnxruntime, in 8 bits, or pruned; measured before and after.

>>> from forgeline.export import load_exported, measure_export
>>> measure_export(bundle, "onnx", samples, targets).parity  # doctest: +SKIP
4.8e-07
"""

from __future__ import annotations

from forgeline.export.errors import NotExportable as NotExportable
from forgeline.export.formats import ExportFormat as ExportFormat
from forgeline.export.formats import Pruning as Pruning
from forgeline.export.loading import ExportedModel as ExportedModel
from forgeline.export.loading import load_exported as load_exported
from forgeline.export.manifest import ExportManifest as ExportManifest
from forgeline.export.measurement import ExportFigures as ExportFigures
from forgeline.export.measurement import measure_export as measure_export
from forgeline.export.measurement import measure_exported as measure_exported
from forgeline.export.measurement import measure_original as measure_original
from forgeline.export.samples import Samples as Samples
from forgeline.export.samples import TrainingData as TrainingData
from forgeline.export.samples import samples_of_file as samples_of_file
from forgeline.export.writing import export_model as export_model

__all__ = [
    "ExportFigures",
    "ExportFormat",
    "ExportManifest",
    "ExportedModel",
    "NotExportable",
    "Pruning",
    "Samples",
    "TrainingData",
    "export_model",
    "load_exported",
    "measure_export",
    "measure_exported",
    "measure_original",
    "samples_of_file",
]
