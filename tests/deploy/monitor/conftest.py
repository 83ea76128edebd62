"""A reference, and a ledger with the run of a deployment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from forgeline.bundle.reference import Reference
from forgeline.ledger.journal import Journal
from forgeline.ledger.ledger import Ledger
from tests.deploy.monitor.traffic import reference_of


@pytest.fixture(scope="session")
def reference() -> Reference:
    return reference_of()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    opened.create_run(id="deployment1", name="digits", kind="deployment", spec="kind: deployment\n")
    yield opened
    opened.close()


@pytest.fixture
def journal(ledger: Ledger) -> Journal:
    return Journal(ledger, ledger.get("deployment1"))
