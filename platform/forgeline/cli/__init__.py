"""The command `forgeline`. Nothing here imports torch, Ray, MLflow or pandas at module level: `--help` must be quick."""

from __future__ import annotations
