"""The command line as a whole: errors, exit codes, suggestions, plug-in commands, and what it must not import."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

HEAVY = ("torch", "ray", "mlflow", "pandas", "sklearn", "lightning", "matplotlib", "timm")


def test_the_version(forgeline: Any) -> None:
    import forgeline as package

    assert forgeline("--version").stdout.strip() == f"forgeline {package.__version__}"


def test_help_lists_our_commands_and_those_of_plug_ins(forgeline: Any) -> None:
    done = forgeline("--help")
    assert done.returncode == 0
    for name in (
        "run",
        "validate",
        "plan",
        "runs",
        "models",
        "audit",
        "predict",
        "architectures",
        "data",
        "schema",
        "doctor",
        "ui",
    ):
        assert re.search(rf"\b{name}\b", done.stdout)
    assert re.search(r"hello\s+Say hello", done.stdout)


def test_a_plug_ins_command_runs(forgeline: Any) -> None:
    assert forgeline("hello").stdout == "hello from a plug-in\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rnu"], "did you mean `forgeline run`?"),
        (["helo"], "did you mean `forgeline hello`?"),
        (["runs", "lst"], "did you mean `forgeline runs list`?"),
        (["runs", "list", "--format", "xml"], "xml"),
        (["runs", "list", "--state", "sleeping"], "known: "),
        (["run"], "SPEC"),
        (["run", "nothing.yaml"], "nothing.yaml"),
        (["runs", "compare", "one"], "two runs or more"),
        (["predict", "models:/digits@champion"], "--prompt"),
        (["predict", "x", "nothing.csv"], "nothing.csv"),
        (["schema", "trane"], "did you mean `train`?"),
        (["architectures", "show", "resnet81"], "resnet"),
        (["architectures", "show", "zzzzzz"], "autoencoder, "),
        (["ui", "--port", "0"], "--port"),
        (["models", "promote", "digits", "1", "--alias", "latest"], "an alias is a letter"),
    ],
)
def test_usage_errors_are_one_error_line_and_exit_2(arguments: list[str], said: str, forgeline: Any) -> None:
    done = forgeline(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert all(line.startswith("error: ") for line in done.stderr.splitlines())
    assert said in done.stderr


@pytest.mark.parametrize(
    "arguments", [["runs", "show", "nothing"], ["runs", "wait", "nothing"], ["runs", "cancel", "nothing"]]
)
def test_a_run_that_is_not_there_is_exit_102(arguments: list[str], forgeline: Any) -> None:
    done = forgeline(*arguments)
    assert done.returncode == 102
    assert done.stderr.startswith("error: no run 'nothing'")


@pytest.mark.parametrize(("arguments", "code"), [(["architectures", "list"], 0), (["run", "spec.yaml"], 101)])
def test_a_reader_that_has_enough_is_no_error(arguments: list[str], code: int, toy_environment: dict[str, str]) -> None:
    script = (
        "import forgeline.api\n"
        "from forgeline.cli.app import main\n"
        "forgeline.api.run = lambda *_, progress, **__: [progress({'event': 'message', 'text': 'hi'})] * 2\n"
        f"main({arguments!r})"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, env=toy_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert (process.wait(), process.stderr.read()) == (code, b"")


def test_debug_shows_the_traceback(forgeline: Any) -> None:
    assert "Traceback" in forgeline("run", "nothing.yaml", "--debug").stderr


def test_a_port_that_is_taken(forgeline: Any) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = forgeline("ui", "--port", taken.getsockname()[1])
    assert done.returncode == 2
    assert "--port" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["runs", "list"],
        ["models", "list"],
        ["audit", "verify"],
        ["data", "list"],
        ["architectures", "list"],
        ["doctor"],
    ],
)
def test_listings_import_nothing_heavy(arguments: list[str], toy_environment: dict[str, str]) -> None:
    code = (
        "import sys, json, contextlib, io\n"
        "from forgeline.cli.app import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    main({arguments!r})\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=toy_environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [], done.stderr


def test_help_reads_no_settings(toy_environment: dict[str, str]) -> None:
    code = "import sys, forgeline.cli.app; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=toy_environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("group", ["runs", "models", "data", "architectures"])
def test_every_listing_speaks_json(group: str, forgeline: Any) -> None:
    assert isinstance(json.loads(forgeline(group, "list", "--format", "json").stdout), list)


def test_validate_writes_nothing(forgeline: Any, toy_spec: Any, tmp_path: Any) -> None:
    done = forgeline("validate", toy_spec())
    assert (done.returncode, done.stderr) == (0, "")
    assert "a valid toy specification" in done.stdout
    assert done.stdout.splitlines()[1:] == [
        "samples           train=3, val=2",
        "columns, numeric  a, b",
        "missing           none",
    ]
    told = json.loads(forgeline("validate", toy_spec(), "--format", "json").stdout)
    assert (told["valid"], told["kind"], told["found"]["samples"]) == (True, "toy", {"train": 3, "val": 2})
    assert not (tmp_path / "home").exists()
    assert forgeline("validate", toy_spec(wrong="true")).returncode == 2


def test_a_broken_home_is_told_once(forgeline: Any, tmp_path: Any) -> None:
    (tmp_path / "home").touch()
    done = forgeline("doctor", "--format", "json")
    assert done.returncode == 1
    told = {check["check"]: check["detail"] for check in json.loads(done.stdout)["checks"]}
    assert "FORGELINE_HOME" in told["home"]
    assert told["ledger"] == told["tracking"] == "not checked: it is in home"
    assert done.stdout.count("FORGELINE_HOME: ") == 1


def test_the_doctor_tells_its_own_version(forgeline: Any, home: Any) -> None:
    import forgeline as package

    done = forgeline("doctor")
    assert done.returncode == 0, done.stdout
    assert re.search(rf"^forgeline +ok +{package.__version__}$", done.stdout, re.MULTILINE)
    assert re.search(r"^tracking +ok +answers$", done.stdout, re.MULTILINE)


def test_the_schema_of_a_kind(forgeline: Any) -> None:
    assert "properties" in json.loads(forgeline("schema", "toy").stdout)


@pytest.mark.parametrize(
    ("tracking", "ledger", "answers"),
    [
        ("http://me:hunter2@127.0.0.1:9/", "", "ok"),
        ("http://127.0.0.1:9/?token=hunter2", "postgresql://me:hunter2@[broken/x", "failed"),
    ],
)
def test_the_doctor_masks_secrets(tracking: str, ledger: str, answers: str, forgeline: Any) -> None:
    done = forgeline("doctor", "--format", "json", FORGELINE_TRACKING_URI=tracking, FORGELINE_LEDGER_URL=ledger)
    assert "hunter2" not in done.stdout + done.stderr
    found = {check["check"]: check["status"] for check in json.loads(done.stdout)["checks"]}
    assert (found["python"], found["home"], found["ledger"]) == ("ok", "ok", answers)
    assert found["tracking"] == "failed"
    assert done.returncode == 1
