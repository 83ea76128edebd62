"""What the shell offers: asked as bash asks, in a process that imports nothing heavy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forgeline.ledger.ledger import Ledger

HEAVY = ("torch", "ray", "mlflow", "pandas")
ASK = f"""
import contextlib, io, json, sys
from forgeline.cli.app import main
said = io.StringIO()
with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
    main([])
print(json.dumps([said.getvalue().split(), [name for name in {HEAVY!r} if name in sys.modules]]))
"""


def offered(words: str, environment: dict[str, str]) -> list[str]:
    asked = {"_FORGELINE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment | asked, capture_output=True, text=True, check=True
    )
    names, heavy = json.loads(done.stdout)
    assert heavy == []
    return list(names)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("forgeline runs list --state succ", ["succeeded"]),
        ("forgeline schema to", ["toy"]),
        ("forgeline data show tab", ["tabular"]),
        ("forgeline architectures show ml", ["mlp"]),
        ("forgeline runs show dig", ["digits"]),
        ("forgeline runs logs 0123", ["01234567"]),
        ("forgeline runs sync dig", ["digits"]),
        ("forgeline models show dig", []),
        ("forgeline audit ver", ["verify"]),
        ("forgeline audit verify dig", []),
    ],
)
def test_names(words: str, names: list[str], home: Path) -> None:
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    ledger.create_run(id="0123456789ab", name="digits", kind="toy", spec="kind: toy\n")
    ledger.close()
    assert offered(words, dict(os.environ)) == names


def test_a_home_that_is_not_there_offers_nothing(toy_environment: dict[str, str], tmp_path: Path) -> None:
    assert offered("forgeline runs show dig", toy_environment) == []
    assert not (tmp_path / "home").exists()
