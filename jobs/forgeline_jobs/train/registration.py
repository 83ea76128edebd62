"""From a finished training to a registered model version, with the alias where the gate passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forgeline import metrics
from forgeline.bundle.mlflow_model import save_mlflow_model
from forgeline.registry.gates import Gate, GateResult, evaluate_gate
from forgeline.registry.models import Lineage, Registry
from forgeline_jobs.train.preparation import prepare
from forgeline_jobs.train.spec import RegisterConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forgeline.launching.context import RunContext


def register(context: RunContext, config: RegisterConfig, result: Mapping[str, Any], spec_text: str) -> dict[str, Any]:
    """Make the run's bundle the next version of `config.model`; a passing gate moves the alias to it.

    Returns:
        Model, version, alias (None for a candidate), and a sentence for each condition of the gate.
    """
    registry = Registry(context.tracker, context.settings.resolved_ledger_url, home=context.settings.home_folder)
    # A gate that cannot be judged must not leave a version behind.
    _judge(registry, config, result)
    folder = context.paths.root / "model"
    save_mlflow_model(context.paths.bundle, folder, prepare(context.spec.data, verify=False).input_example)
    version = registry.register(
        name=config.model,
        mlflow_model_folder=folder,
        run_id=context.run_id,
        metrics=result["metrics"],
        lineage=Lineage(data_fingerprint=result["fingerprint"], spec=spec_text),
    )
    # Another training may have moved the alias since: what counts is the verdict now.
    verdict = registry.promote_if(config.model, version, config.alias, lambda: _judge(registry, config, result))
    registered = {
        "model": config.model,
        "version": version,
        "alias": config.alias if verdict.passed else None,
        "gate": list(verdict.reasons),
    }
    context.emit("registered", **registered)
    return registered


def _judge(registry: Registry, config: RegisterConfig, result: Mapping[str, Any]) -> GateResult:
    """Hold the new model against the gate, and against the model that it must beat."""
    gate: Gate | None = config.gate
    if gate is None:
        return GateResult(passed=True, reasons=())
    champion = None
    if gate.beats is not None:
        champion = registry.metrics_of(config.model, gate.beats, of_classes="[" in gate.metric)
    info = metrics.metric_info(result["task"], gate.metric, key="register.gate.metric")
    return evaluate_gate(gate, result["metrics"], champion, higher_is_better=info.higher_is_better)
