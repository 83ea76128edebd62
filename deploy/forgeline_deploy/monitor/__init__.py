"""Watching a deployment: counts by windows of event time, judged, stored and shown."""

from __future__ import annotations

from forgeline_deploy.monitor.batches import Batch as Batch
from forgeline_deploy.monitor.collector import Collector as Collector
from forgeline_deploy.monitor.decision import Decision as Decision
from forgeline_deploy.monitor.decision import Finding as Finding
from forgeline_deploy.monitor.monitor import Monitor as Monitor
from forgeline_deploy.monitor.pane import Delivery as Delivery
from forgeline_deploy.monitor.pane import Receipt as Receipt
from forgeline_deploy.monitor.pane import Stream as Stream
from forgeline_deploy.monitor.recorder import PaneRecorder as PaneRecorder
from forgeline_deploy.monitor.spec import MonitorConfig as MonitorConfig
from forgeline_deploy.monitor.store import StoredWindow as StoredWindow
from forgeline_deploy.monitor.store import WindowStore as WindowStore

__all__ = [
    "Batch",
    "Collector",
    "Decision",
    "Delivery",
    "Finding",
    "Monitor",
    "MonitorConfig",
    "PaneRecorder",
    "Receipt",
    "StoredWindow",
    "Stream",
    "WindowStore",
]
