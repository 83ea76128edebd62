"""`forgeline reap`: close the runs whose every process died, wherever that was."""

from __future__ import annotations

from forgeline.cli.render import Format, FormatOption, show_rows


def reap(form: FormatOption = Format.TABLE) -> None:
    """Write down as failed every run whose driver is gone. Whatever looks at runs does the same by itself."""
    from forgeline.errors import ForgelineError
    from forgeline.ledger.ledger import open_ledger
    from forgeline.settings import settings
    from forgeline.tracking.tracker import Tracker

    ledger, environment = open_ledger(), settings()
    closed = [ledger.get(run_id) for run_id in ledger.reap_dead(elsewhere=True)]
    tracker = Tracker(environment.resolved_tracking_uri, environment.artifact_root) if closed else None
    rows = []
    for record in closed:
        assert tracker is not None
        try:
            tracker.finish(record.id, record.state, reason=record.reason)
            tracked = "told"
        except ForgelineError as error:
            # The next run that starts tells it.
            tracked = f"not told: {error}"
        rows.append(
            {
                "id": record.id,
                "name": record.name,
                "state": str(record.state),
                "reason": None if record.reason is None else str(record.reason),
                "tracking_store": tracked,
            }
        )
    show_rows(rows, ["id", "name", "state", "reason", "tracking_store"], form=form, empty="no run was dead")
