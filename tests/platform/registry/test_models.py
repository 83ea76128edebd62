from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from forgeline.errors import BundleError, BundleTampered, LedgerError, NotFound, TrackingError, UsageError
from forgeline.ledger.ledger import Ledger
from forgeline.registry import catalogue, fetching
from forgeline.registry.gates import GateResult
from forgeline.registry.models import Lineage, Registry
from forgeline.tracking.tracker import Tracker

LINEAGE = Lineage(data_fingerprint="d1", spec="kind: train\n")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def tracker(home: Path) -> Tracker:
    return Tracker(f"sqlite:///{home / 'mlflow.db'}", (home / "artifacts").as_uri())


@pytest.fixture(scope="module")
def registry(home: Path, tracker: Tracker) -> Registry:
    return Registry(tracker, f"sqlite:///{home / 'ledger.db'}", home=home)


@pytest.fixture(scope="module")
def model_folder(home: Path) -> Path:
    folder = home / "model"
    (folder / "bundle").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "bundle" / "bundle.json").write_text('{"format": 1}')
    return folder


@pytest.fixture
def register(registry: Registry, tracker: Tracker, model_folder: Path) -> Callable[..., int]:
    def make(name: str, **metrics: float) -> int:
        run_id = tracker.create_run("tests", name)
        return registry.register(
            name=name, mlflow_model_folder=model_folder, run_id=run_id, metrics=metrics, lineage=LINEAGE
        )

    return make


Register = Callable[..., int]


def test_a_version_says_what_it_was_made_from(registry: Registry, register: Register, model_folder: Path) -> None:
    assert register("lineage", accuracy=0.9, odd=math.nan) == 1
    (version,) = registry.show("lineage")
    assert version.metrics["accuracy"] == 0.9 and math.isnan(version.metrics["odd"])
    assert version.aliases == ()
    bundle = (model_folder / "bundle" / "bundle.json").read_bytes()
    assert version.tags == {
        "forgeline.run_id": version.run_id,
        "forgeline.data_fingerprint": "d1",
        "forgeline.spec_digest": hashlib.sha256(b"kind: train\n").hexdigest(),
        "forgeline.bundle_digest": hashlib.sha256(bundle).hexdigest(),
    }


def test_a_folder_without_a_bundle_is_not_registered(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle.json in it"):
        registry.register(name="n", mlflow_model_folder=tmp_path, run_id="r", metrics={}, lineage=LINEAGE)


def test_a_run_that_registers_again_leaves_its_earlier_version_as_it_was(
    registry: Registry, tracker: Tracker, tmp_path: Path
) -> None:
    run_id = tracker.create_run("tests", "resumed")
    for number in (1, 2):
        (tmp_path / "bundle").mkdir(exist_ok=True)
        (tmp_path / "bundle" / "bundle.json").write_text(f'{{"weights": {number}}}')
        made = registry.register(
            name="resumed", mlflow_model_folder=tmp_path, run_id=run_id, metrics={}, lineage=LINEAGE
        )
        assert made == number
    for number in (1, 2):
        content = (registry.resolve(f"models:/resumed/{number}") / "bundle.json").read_text()
        assert content == f'{{"weights": {number}}}'
    assert registry.resolve(f"runs:/{run_id}") == registry.resolve("models:/resumed/2")


@pytest.mark.parametrize("remote", [False, True])
def test_a_bundle_that_is_not_the_registered_one_is_refused(
    remote: bool, registry: Registry, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"overwritten-{remote}"
    number = register(name, salt=float(remote))
    (registry.resolve(f"models:/{name}/{number}") / "bundle.json").write_text(f'{{"other": "{name}"}}')
    if remote:
        monkeypatch.setattr(fetching, "local_path", lambda source: None)
        monkeypatch.setattr(registry, "_home", registry._home / "elsewhere")
    for _ in range(2):
        with pytest.raises(BundleTampered, match="not the one that was registered"):
            registry.resolve(f"models:/{name}/{number}")


def test_metrics_of_a_thousand_classes_are_in_the_bundle_only(
    registry: Registry, tracker: Tracker, tmp_path: Path
) -> None:
    metrics = {"val/accuracy": 0.5} | {f"val/recall[class number {number}]": 0.5 for number in range(3000)}
    (tmp_path / "bundle.json").write_text(json.dumps({"metrics": metrics}))
    run_id = tracker.create_run("tests", "many")
    registry.register(name="many", mlflow_model_folder=tmp_path, run_id=run_id, metrics=metrics, lineage=LINEAGE)
    registry.promote("many", 1)
    assert registry.version("many").metrics == {"val/accuracy": 0.5}
    assert registry.metrics_of("many", of_classes=True) == metrics


@pytest.mark.parametrize("alias", ["latest", "Latest", "v2", "V10", "2nd", "a b", ""])
def test_an_alias_that_mlflow_would_refuse_is_a_usage_error(alias: str, registry: Registry) -> None:
    with pytest.raises(UsageError, match="an alias is a letter"):
        registry.promote("digits", 1, alias)


def test_a_verdict_counts_when_the_alias_moves_and_not_before(registry: Registry, register: Register) -> None:
    for accuracy in (0.7, 0.9, 0.8):
        register("race", accuracy=accuracy)
    registry.promote("race", 1)
    judging, judged = threading.Event(), threading.Event()

    def slow() -> GateResult:
        judging.set()
        assert not judged.wait(0.3), "another verdict was given between this one and its move"
        return beats(0.9)

    def beats(accuracy: float) -> GateResult:
        champion = (registry.metrics_of("race") or {})["accuracy"]
        return GateResult(passed=accuracy > champion, reasons=(f"{accuracy} against {champion}",))

    def fast() -> GateResult:
        judged.set()
        return beats(0.8)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(registry.promote_if, "race", 2, "champion", slow)
        judging.wait()
        assert not registry.promote_if("race", 3, "champion", fast).passed
        assert first.result().passed
    assert registry.version("race", alias="champion").version == 2
    assert [move.why for move in registry.history("race")][-1] == "0.9 against 0.7"


def test_a_move_that_fails_is_not_in_the_history(
    registry: Registry, register: Register, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("failing")
    monkeypatch.setattr(tracker.client, "set_registered_model_alias", lambda *_: 1 / 0)
    with pytest.raises(TrackingError):
        registry.promote("failing", 1)
    assert registry.history("failing") == []


def test_a_move_that_cannot_be_written_down_is_not_made(
    registry: Registry, register: Register, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("unwritten")
    monkeypatch.setattr("forgeline.registry.alias_turn._who", lambda: None)
    with pytest.raises(LedgerError):
        registry.promote("unwritten", 1)
    assert registry.version("unwritten").aliases == ()


def test_a_rollback_undoes_a_promotion_backwards(registry: Registry, register: Register) -> None:
    for version in (1, 2, 3):
        register("backwards")
        registry.promote("backwards", version)
    registry.promote("backwards", 2, why="3 is slow")
    assert [registry.rollback("backwards").to_version for _ in range(3)] == [3, 2, 1]
    registry.promote("backwards", 3)
    assert registry.rollback("backwards").to_version == 1
    assert [move.rollback for move in registry.history("backwards")] == [False] * 4 + [True] * 3 + [False, True]


def test_aliases_move_and_history_remembers(registry: Registry, register: Register) -> None:
    assert registry.metrics_of("moves") is None
    for accuracy in (0.7, 0.8, 0.9):
        register("moves", accuracy=accuracy)
    for version in (1, 2, 3):
        registry.promote("moves", version, why=f"gate passed by {version}")
    assert registry.metrics_of("moves") == {"accuracy": 0.9}
    with pytest.raises(UsageError, match="is version 3 already"):
        registry.promote("moves", 3)
    assert registry.rollback("moves", why="it drifted").to_version == 2
    assert registry.rollback("moves").to_version == 1
    with pytest.raises(UsageError, match="is version 1 and was no other before"):
        registry.rollback("moves")
    registry.promote("moves", 2, "shadow")
    history = registry.history("moves", "champion")
    assert [(move.from_version, move.to_version) for move in history] == [(None, 1), (1, 2), (2, 3), (3, 2), (2, 1)]
    assert [move.why for move in history[2:4]] == ["gate passed by 3", "it drifted"]
    assert all("@" in move.who and move.moved.tzinfo for move in history)
    assert len(registry.history("moves")) == 6
    assert [version.aliases for version in registry.show("moves")] == [("champion",), ("shadow",), ()]


def test_a_rollback_passes_over_versions_that_were_deleted(
    registry: Registry, register: Register, tracker: Tracker
) -> None:
    for version in (1, 2, 3):
        register("deleted")
        registry.promote("deleted", version)
    tracker.client.delete_model_version("deleted", "2")
    assert [version.version for version in registry.show("deleted")] == [1, 3]
    assert registry.rollback("deleted").to_version == 1


def test_an_alias_that_was_moved_in_mlflow_rolls_back_to_where_it_was(
    registry: Registry, register: Register, tracker: Tracker
) -> None:
    for _ in range(3):
        register("elsewhere")
    registry.promote("elsewhere", 1)
    tracker.client.set_registered_model_alias("elsewhere", "champion", "2")
    assert registry.rollback("elsewhere").to_version == 1


def test_references_lead_to_the_bundle(registry: Registry, register: Register, home: Path, model_folder: Path) -> None:
    register("found")
    register("found")
    registry.promote("found", 1)
    first, second = registry.show("found")
    assert str(first.run_id) in str(registry.resolve("models:/found@champion"))
    assert str(second.run_id) in str(registry.resolve("models:/found/2"))
    assert registry.resolve("models:/found/latest") == registry.resolve(f"runs:/{second.run_id}")
    assert registry.resolve(model_folder) == registry.resolve(str(model_folder / "bundle")) == model_folder / "bundle"
    own = home / "runs" / str(first.run_id) / "bundle"
    own.mkdir(parents=True)
    (own / "bundle.json").write_text("{}")
    assert registry.resolve(f"runs:/{first.run_id}") == own


def test_a_run_is_named_as_in_every_other_command(
    registry: Registry, register: Register, tracker: Tracker, home: Path
) -> None:
    register("named")
    run_id = str(registry.version("named").run_id)
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    ledger.create_run(id=run_id, name="named-run", kind="train", spec="")
    whole = registry.resolve(f"runs:/{run_id}")
    assert registry.resolve(f"runs:/{run_id[:8]}") == registry.resolve("runs:/named-run") == whole
    ledger.create_run(id=f"{run_id[:8]}-another", name="another", kind="train", spec="")
    with pytest.raises(UsageError, match="is ambiguous"):
        registry.resolve(f"runs:/{run_id[:8]}")
    with pytest.raises(NotFound, match="registered no model"):
        registry.resolve("runs:/another")


def test_what_is_not_there_is_not_found(registry: Registry, register: Register, tmp_path: Path) -> None:
    register("known")
    registry.promote("known", 1)
    for reference, message in (
        ("models:/knwon@champion", "no model 'knwon'; did you mean `known`"),
        ("models:/known@champoin", "no alias 'champoin'; did you mean `champion`"),
        ("models:/known/9", "no version 9; known: 1"),
        ("runs:/nothing", "nothing"),
        ("known@champion", "no such folder; did you mean `models:/known@champion`"),
    ):
        with pytest.raises(NotFound, match=message) as caught:
            registry.resolve(reference)
        assert caught.value.exit_code == 102
    with pytest.raises(BundleError, match="no bundle.json in it"):
        registry.resolve(tmp_path)


def test_the_tables_tell_the_same_as_the_client(registry: Registry, register: Register, tracker: Tracker) -> None:
    register("same", accuracy=0.5)
    registry.promote("same", 1)
    for name in ("same", None, "none"):
        by_tables = catalogue._from_tables(tracker.uri, name)
        assert by_tables is not None
        assert sorted(map(repr, by_tables)) == sorted(map(repr, catalogue._from_client(tracker, name)))


def test_other_stores_are_read_by_the_client(
    registry: Registry, register: Register, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("slow")
    assert catalogue._from_tables("http://127.0.0.1:9", None) is None
    monkeypatch.setattr(catalogue, "_TABLES", {"model_versions": "name, no_such_column"})
    assert [version.version for version in registry.show("slow")] == [1]


def test_a_remote_bundle_is_copied_once(
    registry: Registry, register: Register, tracker: Tracker, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("remote")
    monkeypatch.setattr(fetching, "local_path", lambda source: None)
    folder = registry.resolve("models:/remote/1")
    assert folder.is_relative_to(home / "cache" / "models")
    assert (folder / "bundle.json").read_text() == '{"format": 1}'
    monkeypatch.setattr(fetching, "_download", lambda *_: pytest.fail("it was copied before"))
    assert registry.resolve("models:/remote/1") == folder
    assert [path.name for path in folder.parents[1].iterdir()] == [folder.parent.name]


def test_listing_imports_little(registry: Registry, register: Register, home: Path, tracker: Tracker) -> None:
    register("listed")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from forgeline.registry.models import Registry\n"
        "from forgeline.tracking.tracker import Tracker\n"
        "home = Path(sys.argv[1])\n"
        "registry = Registry(Tracker(f'sqlite:///{home}/mlflow.db'), f'sqlite:///{home}/ledger.db', home=home)\n"
        "assert 'listed' in registry.list_models()\n"
        "registry.show('listed'), registry.history('listed'), registry.resolve('models:/listed/1')\n"
        "heavy = {'alembic', 'sqlalchemy', 'mlflow', 'psutil', 'torch', 'ray', 'pandas'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(home)], check=True)


def test_a_fresh_home_has_no_models(tmp_path: Path) -> None:
    registry = Registry(Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}"), f"sqlite:///{tmp_path / 'l.db'}", home=tmp_path)
    assert registry.list_models() == {}
    assert not (tmp_path / "mlflow.db").exists()
    with pytest.raises(NotFound, match="none is known"):
        registry.show("digits")
