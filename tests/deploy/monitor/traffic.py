"""Rows that are drawn like a small reference, and what counts them. Imported by the processes that tests kill too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from forgeline.bundle.observation import Observation
from forgeline.bundle.reference import Reference
from forgeline.distributions import CategoricalReference, NumericReference
from forgeline_deploy.monitor import Batch, PaneRecorder, Stream
from forgeline_deploy.monitor.pane import Answer

WINDOW_S = 10.0
CHAMPION = Stream("champion", "1")
PLANS = ("basic", "pro", "team")


def reference_of(seed: int = 0) -> Reference:
    """Of 5,000 rows: a normal number, a plan, and a predicted class."""
    rng = np.random.default_rng(seed)
    plans = Counter(rng.choice(PLANS, 5000, p=[0.6, 0.3, 0.1]).tolist())
    return Reference(
        samples=5000,
        inputs={
            "usage": NumericReference.of(rng.normal(size=5000)),
            "plan": CategoricalReference.of(plans.keys(), plans.values()),
        },
        outputs={"prediction": CategoricalReference.of(["no", "yes"], [600, 400])},
    )


def batch(rows: int, at: float, *, seed: int, shift: float = 0.0, stream: Stream = CHAMPION, name: str = "r") -> Batch:
    """Rows that reached the router at a moment, or in the second after it."""
    rng = np.random.default_rng(seed)
    usage = rng.normal(shift, 1.0, rows)
    plan, answer = rng.choice(3, rows, p=[0.6, 0.3, 0.1]), rng.random(rows) < 0.4
    requests = [f"{name}-{seed}-{number}" for number in range(rows)]
    return Batch(
        stream=stream,
        arrived=(at + rng.random(rows)).tolist(),
        took_s=rng.gamma(2.0, 0.01, rows).tolist(),
        encoded={"usage": usage, "plan": plan},
        beside={"outputs": answer},
        answers=[Answer(request, "yes" if yes else "no", 0.9) for request, yes in zip(requests, answer, strict=True)],
    )


def count_by(reference: Reference) -> Callable[[Batch], Observation]:
    """Counts such batches."""

    def count(one: Batch) -> Observation:
        usage, plan, prediction = reference.inputs["usage"], reference.inputs["plan"], reference.outputs["prediction"]
        assert isinstance(usage, NumericReference) and isinstance(plan, CategoricalReference)
        assert isinstance(prediction, CategoricalReference)
        plans = Counter(PLANS[number] for number in one.encoded["plan"])
        yes = int(one.beside["outputs"].sum())
        return Observation(
            rows=one.rows,
            inputs={"usage": usage.count(one.encoded["usage"]), "plan": plan.count(plans)},
            outputs={"prediction": prediction.count({"yes": yes, "no": one.rows - yes})},
        )

    return count


def recorder(name: str, reference: Reference) -> PaneRecorder:
    """Of a replica whose clock stands still."""
    return PaneRecorder(replica=name, count=count_by(reference), window_s=WINDOW_S, now=lambda: 0.0, keep_answers=True)
