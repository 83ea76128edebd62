"""Features whose true distribution is known, and windows of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from forgeline.bundle.observation import Observation
from forgeline.bundle.reference import Reference
from forgeline.distributions import CategoricalReference, NumericReference

Window = Callable[..., Observation]


@pytest.fixture(scope="session")
def reference() -> Reference:
    """Of two columns of numbers, one of categories, and a model's probability: 4,000 rows, one in ten without a value
    in the second column."""
    rng = np.random.default_rng(0)
    gaps = np.where(rng.random(4_000) < 0.1, np.nan, rng.standard_normal(4_000))
    counts = rng.multinomial(4_000, [0.6, 0.3, 0.1])
    return Reference(
        samples=4_000,
        inputs={
            "age": NumericReference.of(rng.standard_normal(4_000)),
            "income": NumericReference.of(gaps),
            "plan": CategoricalReference.of(["basic", "pro", "team"], counts),
        },
        outputs={"probability": NumericReference.of(rng.random(4_000), resolution=1e-4)},
    )


@pytest.fixture(scope="session")
def window(reference: Reference) -> Window:
    """Draws a window: generator, rows, and what of it has moved."""

    def draw(
        rng: np.random.Generator,
        rows: int = 200,
        *,
        shift: float = 0.0,
        stretch: float = 1.0,
        nulls: float = 0.1,
        plans: tuple[float, ...] = (0.6, 0.3, 0.1),
        new: int = 0,
    ) -> Observation:
        known = reference.inputs
        income = np.where(rng.random(rows) < nulls, np.nan, rng.standard_normal(rows))
        counts = dict(zip(("basic", "pro", "team"), map(int, rng.multinomial(rows - new, plans)), strict=True))
        plan = known["plan"]
        assert isinstance(plan, CategoricalReference)
        return Observation(
            rows=rows,
            inputs={
                "age": _number(known["age"]).count(rng.standard_normal(rows) * stretch + shift),
                "income": _number(known["income"]).count(income),
                "plan": plan.count(counts | ({"gold": new} if new else {})),
            },
            outputs={"probability": _number(reference.outputs["probability"]).count(rng.random(rows))},
        )

    return draw


def _number(distribution: object) -> NumericReference:
    assert isinstance(distribution, NumericReference)
    return distribution
