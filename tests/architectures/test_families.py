"""What every family brings: the same files, documents, a spec, measurements; one without a case fails the suite."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

import pytest

from forgeline_architectures import Architecture
from tests.architectures.cases import CASES, FAMILIES, TOKENS, signature_of

ROOT = Path(__file__).parents[2]
FILES = ("README.md", "__init__.py", "config.py", "model.py", "module.py")


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
class TestFamily:
    def test_has_a_case(self, family: Architecture) -> None:
        cases = [case for case in CASES if case[0] == family.name]
        assert {task for _, _, task, _, _ in cases} == set(family.tasks)

    def test_has_the_same_files(self, family: Architecture) -> None:
        folder = files("forgeline_architectures") / family.name
        assert set(FILES) <= {file.name for file in folder.iterdir()}

    def test_readme_answers_the_four_questions(self, family: Architecture) -> None:
        text = (files("forgeline_architectures") / family.name / "README.md").read_text(encoding="utf-8")
        assert all(f"**{word}" in text for word in ("Paper.", "What it is.", "When to use it.", "When not.", "Cost."))
        year = re.search(r"\b(19|20)\d\d\b", family.paper)
        assert year is not None and year[0] in text

    def test_every_config_field_is_described(self, family: Architecture) -> None:
        fields = family.config_model().model_fields
        assert {name for name, field in fields.items() if not field.description} == set()

    def test_config_is_frozen_and_strict(self, family: Architecture) -> None:
        config = next(config for name, config, *_ in CASES if name == family.name)
        with pytest.raises(ValueError, match="Extra inputs"):
            family.config_model().model_validate({**config, "hiden": 3})
        with pytest.raises(ValueError, match="frozen"):
            family.config_model().model_validate(config).name = "x"

    def test_wrong_task_names_the_keys(self, family: Architecture) -> None:
        name, config, *_ = next(case for case in CASES if case[0] == family.name)
        wrong = "language_modelling" if "language_modelling" not in family.tasks else "classification"
        with pytest.raises(ValueError, match=r"learns .* the data are for .*architecture\.name or data\.name"):
            family.check(config, signature_of(wrong, TOKENS, [3]))

    def test_wrong_input_names_the_keys(self, family: Architecture) -> None:
        name, config, task, _, outputs = next(case for case in CASES if case[0] == family.name)
        alike = task in {"generation", "reconstruction"}
        inputs = {"spectrum": {"shape": outputs if alike else [3], "dtype": "float32"}}
        with pytest.raises(ValueError, match=r"takes .*; the data give spectrum: change architecture\.name"):
            family.check(config, signature_of(task, inputs, outputs))

    def test_a_spec_trains_it(self, family: Architecture) -> None:
        specs = [path.read_text(encoding="utf-8") for path in (ROOT / "jobs" / "specs").rglob("*.yaml")]
        trained = {
            name for text in specs for name in re.findall(r"^architecture:\s*\{?\s*name: ([\w.-]+)", text, re.MULTILINE)
        }
        assert trained & set(family.model_names())

    def test_it_has_its_row_in_the_documents(self, family: Architecture) -> None:
        page = (ROOT / "docs" / "architectures.md").read_text(encoding="utf-8")
        assert f"[{family.name}](../architectures/forgeline_architectures/{family.name}/README.md)" in page
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        assert any(f"`{name}`" in readme for name in (family.name, *family.model_names())) or family.name == "cnn"

    def test_what_it_costs_is_measured(self, family: Architecture) -> None:
        assert family.measurements()

    def test_is_registered(self, family: Architecture) -> None:
        registered = {entry.name: entry.value for entry in entry_points(group="forgeline.architectures")}
        if "mlp" not in registered:
            pytest.skip("the package is not installed, so it has no entry points")
        assert registered[family.name] == f"forgeline_architectures.{family.name}:ARCHITECTURE"


def test_every_registered_family_is_held_to_this_contract() -> None:
    registered = {
        entry.name
        for entry in entry_points(group="forgeline.architectures")
        if entry.value.startswith("forgeline_architectures.")
    }
    if not registered:
        pytest.skip("the package is not installed, so it has no entry points")
    assert registered == set(FAMILIES)


def test_all_is_sorted_and_importable() -> None:
    import forgeline_architectures as package

    assert list(package.__all__) == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


def test_descriptors_and_configs_import_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys\n"
        f"for name in {tuple(FAMILIES)}:\n"
        "    family = __import__(f'forgeline_architectures.{name}', fromlist=['x']).ARCHITECTURE\n"
        "    family.config_model(), family.model_names()\n"
        "import forgeline_architectures.tasks\n"
        "assert not {'torch', 'timm', 'diffusers', 'transformers', 'lightning'} & set(sys.modules)\n"
    )
    sources = str(Path(str(files("forgeline_architectures"))).parent)
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": sources})
