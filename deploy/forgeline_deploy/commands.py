"""The commands that come with deployments, described without importing what they need."""

from __future__ import annotations

from forgeline.cli.commands import CommandDescriptor

DRIFT = CommandDescriptor(
    name="drift",
    help="Hold new rows against what a model was trained on.",
    command="forgeline_deploy.drift.command:app",
)

ALERTS = CommandDescriptor(
    name="alerts",
    help="What a deployment raised, and whom it reached.",
    command="forgeline_deploy.alerts.command:app",
)

DEPLOYMENTS = CommandDescriptor(
    name="deployments",
    help="List, show and stop deployments, and read their logs.",
    command="forgeline_deploy.deployment.command:app",
)

MONITOR = CommandDescriptor(
    name="monitor",
    help="What a deployment's monitor saw and decided, and what another policy would have.",
    command="forgeline_deploy.monitor.command:app",
)

RETRAINING = CommandDescriptor(
    name="retraining",
    help="What a deployment wants to train again, and a person's consent.",
    command="forgeline_deploy.retraining.command:app",
)

EXPORT = CommandDescriptor(
    name="export",
    help="Write a model in other forms: torch.export, ONNX, 8 bits, pruned; and measure them.",
    command="forgeline_deploy.export.command:export",
)
