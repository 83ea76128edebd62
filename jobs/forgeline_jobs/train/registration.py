"""From a finished training to a registered model version, with the alias where the gate passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forgeline.bundle.mlflow_model import save_mlflow_model
from forgeline.errors import ApprovalNeeded
from forgeline.registry.conditions import splits_of
from forgeline.registry.gatekeeping import Candidate, Gatekeeper
from forgeline.registry.models import Lineage, Registry
from forgeline.registry.promotion import promote_through
from forgeline_jobs.data.reconstruction import undisturbed
from forgeline_jobs.evaluate.gate_data import PreparedGateData
from forgeline_jobs.train.preparation import prepare
from forgeline_jobs.train.spec import RegisterConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forgeline.launching.context import RunContext
    from forgeline_jobs.data.base import PreparedData


def register(context: RunContext, config: RegisterConfig, result: Mapping[str, Any], spec_text: str) -> dict[str, Any]:
    """Make the run's bundle the next version of `config.model`; a passing gate moves the alias to it.

    Returns:
        Model, version, alias (None for a candidate), and a sentence for each condition of the gate.
    """
    registry = Registry(context.tracker, context.settings.resolved_ledger_url, home=context.settings.home_folder)
    data = prepare(context.spec.data, verify=False)
    keeper = Gatekeeper(registry, config.gate, _candidate(context, config, result, data))
    # A gate that cannot be judged must not leave a version behind.
    keeper.judge()
    folder = context.paths.root / "model"
    save_mlflow_model(context.paths.bundle, folder, data.input_example)
    version = registry.register(
        name=config.model,
        mlflow_model_folder=folder,
        run_id=context.run_id,
        metrics=result["metrics"],
        lineage=Lineage(data_fingerprint=result["fingerprint"], spec=spec_text),
    )
    # Another training may have moved the alias since: what counts is the verdict now.
    proposed: list[str] = []
    try:
        verdict = promote_through(registry, keeper, config.model, version, config.alias)
    except ApprovalNeeded as error:
        verdict, proposed = keeper.result, [str(error)]
    registered = {
        "model": config.model,
        "version": version,
        "alias": config.alias if verdict.passed and not proposed else None,
        "gate": [*verdict.reasons, *proposed],
    }
    context.emit("registered", **registered)
    return registered


def _candidate(context: RunContext, config: RegisterConfig, result: Mapping[str, Any], data: PreparedData) -> Candidate:
    measured = None
    if splits_of(config.gate):
        spec = context.spec.data
        measured = PreparedGateData(spec.name, undisturbed(data), batch_size=spec.batch_size)
    return Candidate(
        model=config.model,
        bundle=context.paths.bundle,
        task=result["task"],
        metrics=result["metrics"],
        data=measured,
    )
