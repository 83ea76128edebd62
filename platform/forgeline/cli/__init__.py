"""The command `forgeline`. No module here imports torch, Ray, MLflow or pandas at its top: `--help` is quick."""

from __future__ import annotations
