"""Trained models as folders: what a run leaves behind, what is registered, served and watched."""

from __future__ import annotations

from forgeline.bundle.bundle import Bundle as Bundle
from forgeline.bundle.manifest import DataRecord as DataRecord
from forgeline.bundle.manifest import Manifest as Manifest
from forgeline.bundle.reference import Reference as Reference

__all__ = ["Bundle", "DataRecord", "Manifest", "Reference"]
