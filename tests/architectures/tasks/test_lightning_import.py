"""Lightning comes without the libraries that only unused metrics need, and nothing stays changed."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

CODE = """
import sys
import lightning_utilities.core.imports as requirements
before = requirements.find_spec, requirements._version
from forgeline_architectures.tasks.lightning_import import LightningModule, Trainer
assert (requirements.find_spec, requirements._version) == before
assert not {"scipy.signal", "torch_fidelity", "transformers", "torchvision", "matplotlib"} & set(sys.modules)
import torch, torchvision, scipy.signal
from torchmetrics.functional.classification import multiclass_accuracy
assert multiclass_accuracy(torch.tensor([0, 1]), torch.tensor([0, 1]), num_classes=2) == 1
"""


def test_import_is_lean() -> None:
    sources = str(Path(str(files("forgeline_architectures"))).parent)
    subprocess.run([sys.executable, "-W", "ignore", "-c", CODE], check=True, env={"PYTHONPATH": sources})
