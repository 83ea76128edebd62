"""From a checked specification to a process that owns the run: local or on a cluster, followed by its events."""

from __future__ import annotations
