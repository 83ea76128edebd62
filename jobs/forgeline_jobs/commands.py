"""The commands that come with the jobs, described without importing what they need."""

from __future__ import annotations

from forgeline.cli.commands import CommandDescriptor

EMBED = CommandDescriptor(
    name="embed",
    help="Embed samples by a model, or find the nearest among embedded ones.",
    command="forgeline_jobs.embed.command:embed",
)

VERIFY_RESUME = CommandDescriptor(
    name="verify-resume",
    help="Kill a run at a step, let it go on, and compare it with one that nobody killed.",
    command="forgeline_jobs.verify_resume.command:verify_resume",
)

SWEEPS = CommandDescriptor(
    name="sweeps",
    help="List and show sweeps, stop one of their trials, or ask for it again.",
    command="forgeline_jobs.sweep.command:app",
)
