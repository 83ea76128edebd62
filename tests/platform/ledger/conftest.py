from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forgeline.ledger.ledger import Ledger
from forgeline.ledger.records import RunRecord


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(url: str) -> Ledger:
    return Ledger(url)


@pytest.fixture
def new_run(ledger: Ledger) -> Callable[..., RunRecord]:
    """Writes down a run; what is not given has a value that does not matter."""

    def create(id: str, **fields: Any) -> RunRecord:
        return ledger.create_run(id=id, **{"name": "digits", "kind": "train", "spec": "kind: train\n", **fields})

    return create
