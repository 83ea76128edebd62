"""All that is decided about one deployment, in the order in which one thing follows from another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline.errors import ForgelineError, LedgerError
from forgeline.ledger.journal import Journal, Overtaken, Superseded
from forgeline_deploy.alerts import Severity
from forgeline_deploy.alerts.book import AlertBook
from forgeline_deploy.alerts.dispatcher import Dispatcher
from forgeline_deploy.alerts.outbox import Outbox
from forgeline_deploy.control.alarms import ACTED, Alarms, acted
from forgeline_deploy.control.conduct import Conductor, comparison_of
from forgeline_deploy.control.labelled import evidence_of, step_times
from forgeline_deploy.control.orders import IngressReport, Orders
from forgeline_deploy.control.plan import Plan, Plans
from forgeline_deploy.control.watching import Watching
from forgeline_deploy.control.wishes import Wishes
from forgeline_deploy.monitor.page import page_state
from forgeline_deploy.monitor.report_process import Reports, report_command
from forgeline_deploy.serving.ingress import LaneOrder
from forgeline_deploy.serving.stack import application_name

if TYPE_CHECKING:
    from forgeline.registry.models import Registry
    from forgeline_deploy.deployment.spec import DeploymentSpec
    from forgeline_deploy.monitor import Delivery, Receipt
    from forgeline_deploy.retraining.launcher import Launcher

_LAST_DELIVERIES_S = 5.0


class Desk:
    """Decides for one deployment. One thread at a time.

    Args:
        spec: of the deployment.
        run_id: of the deployment.
        journal: of the run, in which a champion is pinned; others write to it as well.
        registry: that has the versions.
        launcher: of retrainings; asked for nothing here.
        folder: of the run.
        id: another one for each start of the process.
        now: unix seconds.
        tell: takes what a person should know, a line each.
    """

    def __init__(
        self,
        spec: DeploymentSpec,
        *,
        run_id: str,
        journal: Journal,
        registry: Registry,
        launcher: Launcher,
        folder: Path,
        id: str,
        now: float,
        tell: Callable[[str], None],
    ) -> None:
        self._spec, self._run_id, self._journal, self._tell = spec, run_id, journal, tell
        self._plans = Plans(journal)
        plan = self.plan
        self._model = plan.champion.model
        destinations = () if spec.monitor is None else spec.monitor.alert
        self._book = AlertBook(journal, destinations)
        self._alarms = Alarms(self._book, deployment=spec.name, run_id=run_id, model=self._model)
        self._dispatcher = Dispatcher.of(Outbox(journal), destinations)
        self._watching: Watching | None = None
        self._wishes: Wishes | None = None
        self._reports: Reports | None = None
        if spec.monitor is not None:
            self._watching = Watching(
                spec.monitor.policy,
                versions=plan.wanted.values(),
                journal=journal,
                folder=folder,
                id=id,
                now=now,
                tell=tell,
            )
            command = report_command(run_id)
            self._reports = Reports(spec.monitor.report, folder=folder, command=command, tell=tell)
            if spec.monitor.retrain is not None:
                self._wishes = Wishes(
                    spec.monitor.retrain,
                    run_id=run_id,
                    model=self._model,
                    journal=journal,
                    folder=folder,
                    launcher=launcher,
                    tell=tell,
                )
        self._conductor: Conductor | None = None
        if spec.rollout is not None:
            self._conductor = Conductor(
                spec.rollout, run_id=run_id, registry=registry, journal=journal, plans=self._plans
            )
        self._acted = acted(journal.entries)
        self._weighed = 0
        self._troubles: dict[str, str] = {}

    @property
    def plan(self) -> Plan:
        """As the journal has it now."""
        plan = self._plans.now()
        if plan is None:
            raise LedgerError("the journal names no version yet")
        return plan

    def receive(self, delivery: Delivery, now: float) -> Receipt | None:
        """Take what a replica counted; None where nothing is monitored."""
        return None if self._watching is None else self._watching.receive(delivery, now)

    def exchange(self, report: IngressReport, now: float) -> Orders:
        """Take what an ingress tells, and say what it has to do."""
        if self._conductor is not None and report.rollout:
            self._conductor.take(report.rollout, report.evidence)
        receipt = None if report.delivery is None else self.receive(report.delivery, now)
        return orders_of(self.plan, self._run_id, receipt)

    def tick(self, now: float) -> None:
        """Decide what is next. What cannot be written down now is decided again at the next tick.

        Raises:
            Superseded: another process decides for this deployment; this one must stop.
        """
        self._try("ledger", self._journal.refresh)
        self._try("monitor", lambda: self._watch(now))
        self._try("alerts", lambda: self._alert(now))
        self._try("rollout", lambda: self._conduct(now))
        self._try("retraining", lambda: self._wish(now))
        self._try("delivery", lambda: self._dispatcher.tick(now))
        self._try("reports", lambda: self._report(now))

    def page(self, now: float) -> dict[str, Any]:
        """What `/monitor.json` answers, and the page shows."""
        plan = self.plan
        if self._watching is None:
            monitored: dict[str, Any] = {
                "policy": {}, "windows": 0, "late_rows": 0, "newest": None, "findings": [], "features": [],
                "labelled": {}, "timeline": [],
            }  # fmt: skip
        else:
            monitored = self._watching.standing()
        trouble = None if self._watching is None else self._watching.trouble
        return page_state(
            monitored,
            deployment=self._spec.name,
            model=f"{self._model} version {plan.champion.version}",
            now=now,
            traffic=traffic_of(plan),
            comparison=comparison_of(plan.rollout),
            alerts=[
                {
                    "severity": str(one.alert.severity),
                    "about": one.alert.kind,
                    "subject": one.alert.subject,
                    "text": one.alert.summary,
                    "since": one.alert.first,
                }
                for one in self._book.open
            ],
            notes=[*([trouble] if trouble else []), *self._troubles.values()],
        )

    def close(self, now: float) -> None:
        """The deployment ends: what was counted is judged and stored, though its window is not over."""
        watching = self._watching
        if watching is not None:
            self._try("monitor", lambda: watching.finish(now))
        self._try("alerts", lambda: self._alert(now))
        self._try("delivery", lambda: self._dispatcher.tick(now))
        self._dispatcher.wait(_LAST_DELIVERIES_S)
        self._try("delivery", lambda: self._dispatcher.tick(now))
        self._dispatcher.close()
        self.ask_no_more()

    def ask_no_more(self) -> None:
        """Begin no further question to the registry, which may move an alias."""
        if self._conductor is not None:
            self._conductor.close()
        if self._reports is not None:
            self._reports.close()

    def _watch(self, now: float) -> None:
        if self._watching is not None:
            self._watching.tick(self.plan.wanted.values(), now)
            trouble = self._watching.trouble
            if trouble is None:
                self._alarms.over("monitor", "windows", now, summary="windows are stored again; none was lost")
            else:
                self._alarms.tell("monitor", Severity.PAGE, "windows", trouble, now)

    def _alert(self, now: float) -> None:
        if self._watching is None:
            return
        windows, labels = self._watching.windows, self._watching.labels
        first_window, first_label = self._acted
        if (len(windows), len(labels)) == self._acted:
            return
        version = self.plan.champion.version
        self._alarms.of_windows(windows, first=first_window, version=version, now=now)
        self._alarms.of_labels(labels, first=first_label, version=version, now=now)
        found = [one for window in windows[first_window:] for one in window.decision.findings]
        found += [one for file in labels[first_label:] for one in file.findings]
        if found:
            self._journal.append({"entry": ACTED, "windows": len(windows), "labels": len(labels), "at": now})
        self._acted = (len(windows), len(labels))

    def _report(self, now: float) -> None:
        if self._reports is not None and self._watching is not None:
            self._reports.tick(self._watching.windows, now)

    def _conduct(self, now: float) -> None:
        if self._conductor is None:
            return
        rollout = self.plan.running
        if rollout is not None and self._watching is not None and len(self._watching.labels) != self._weighed:
            entered = step_times(self._journal.entries, rollout.id)
            store = self._watching.store
            evidence = evidence_of(rollout, entered, self._watching.labels, store.windows, store.folder)
            self._conductor.take(rollout.id, evidence)
            self._weighed = len(self._watching.labels)
        for entry in self._conductor.tick(now):
            event = str(entry.get("event", ""))
            if event == "rollout_started":
                self._weighed = 0
                self._alarms.over_of_kind("rollout", now, summary="another challenger is tried")
            if event not in ("", "rollout_evidence"):
                self._tell(f"rollout {entry['rollout']}: {event.removeprefix('rollout_')}; {entry.get('why', '')}")
            self._tell_of_end(event, entry, now)
        last = self.plan.rollout
        if last is not None and last.status == "rolled_back":
            # Said as long as it stands, and told once: whoever was killed after the entry says it again.
            self._alarms.tell("rollout", Severity.TICKET, last.id, last.why, now)

    def _tell_of_end(self, event: str, entry: Any, now: float) -> None:
        if event == "rollout_cancelled":
            self._alarms.tell("rollout", Severity.TICKET, str(entry["rollout"]), str(entry["why"]), now)
        elif event == "rollout_settled":
            rollout = self.plan.rollout
            assert rollout is not None
            # What is still wrong will be found again, with the new reference.
            self._alarms.over_of_version(str(rollout.champion), now)

    def _wish(self, now: float) -> None:
        if self._wishes is not None:
            self._wishes.tick(self._book.open, self.plan, now)

    def _try(self, what: str, step: Callable[[], object]) -> None:
        try:
            step()
        except Superseded:
            raise
        except Overtaken:
            return
        except Exception as error:
            # One decision that cannot be made must not keep the others from being made.
            text = (
                f"{what}: {error}" if isinstance(error, ForgelineError) else f"{what}: {type(error).__name__}: {error}"
            )
            if self._troubles.get(what) != text:
                self._tell(f"{text}; tried again")
            self._troubles[what] = text
        else:
            if self._troubles.pop(what, None) is not None:
                self._tell(f"{what}: goes on")


def orders_of(plan: Plan, run_id: str, receipt: Receipt | None = None) -> Orders:
    """What an ingress has to do by a plan."""
    lanes = [
        LaneOrder(
            version=pinned.version,
            application=application_name(run_id, pinned.version),
            bundle=pinned.bundle,
            digest=pinned.digest,
        )
        for version, pinned in plan.wanted.items()
        if version in plan.up
    ]
    return Orders(champion=plan.champion.version, lanes=lanes, rollout=plan.running, receipt=receipt)


def traffic_of(plan: Plan) -> list[dict[str, Any]]:
    """Who answers which share of the requests."""
    rollout = plan.running
    if rollout is None:
        return [{"stream": f"champion {plan.champion.version}", "share": 1.0}]
    shares = [
        {"stream": f"champion {rollout.champion}", "share": 1 - rollout.share},
        {"stream": f"challenger {rollout.challenger}", "share": rollout.share},
    ]
    return shares + ([{"stream": f"shadow {rollout.challenger}", "share": 0.0}] if rollout.shadows else [])
