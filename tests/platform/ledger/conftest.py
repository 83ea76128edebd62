from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from forgeline.ledger.ledger import Ledger
from forgeline.ledger.records import RunRecord
from tests.databases import ledger_url


@pytest.fixture
def url(tmp_path: Path) -> str:
    return ledger_url(tmp_path)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = Ledger(url)
    yield opened
    opened.close()


@pytest.fixture
def new_run(ledger: Ledger) -> Callable[..., RunRecord]:
    """Writes down a run; what is not given has a value that does not matter."""

    def create(id: str, **fields: Any) -> RunRecord:
        return ledger.create_run(id=id, **{"name": "digits", "kind": "train", "spec": "kind: train\n", **fields})

    return create
