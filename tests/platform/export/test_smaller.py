"""Models in 8 bits and pruned: smaller where they say so, close to what they were, else refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from forgeline.bundle import Bundle
from forgeline.errors import UsageError
from forgeline.export import NotExportable, Pruning, export_model, load_exported


def state_of(bundle: Bundle) -> dict[str, Any]:
    return dict(bundle.model.state_dict())


@pytest.fixture(scope="module")
def quantised(image: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quantised") / "out"
    forms = ["onnx", "int8-dynamic", "int8-static"]
    export_model(image.bundle, folder, forms, samples=image.samples, calibration=image.samples)
    return folder


@pytest.mark.parametrize("form", ["int8-dynamic", "int8-static"])
def test_eight_bits_are_close(image: Any, quantised: Path, form: str) -> None:
    wanted = image.bundle.outputs(image.samples, device="cpu")
    found = load_exported(quantised, form).run(image.samples)
    assert 0 < np.abs(found - wanted).max() < 0.05
    graph = onnx.load(quantised / f"model-{form}.onnx").graph
    kinds = {tensor.data_type for tensor in graph.initializer if len(tensor.dims) > 1}
    assert onnx.TensorProto.INT8 in kinds
    size = {path.name: path.stat().st_size for path in quantised.iterdir()}
    assert size[f"model-{form}.onnx"] < size["model.onnx"]


def test_static_needs_calibration(image: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="calibration is missing"):
        export_model(image.bundle, tmp_path / "out", ["int8-static"], samples=image.samples)


def test_refusals_are_collected_and_the_rest_is_written(generator: Bundle, tmp_path: Path) -> None:
    refused: dict[str, str] = {}
    forms = ["safetensors", "onnx", "pt2"]
    manifest = export_model(generator, tmp_path / "out", forms, refused=refused)
    assert list(manifest.files) == ["safetensors"]
    assert set(refused) == {"onnx", "pt2"} and all("vae" in reason for reason in refused.values())


def test_single_weights_become_zero(text: Any, tmp_path: Path) -> None:
    export_model(text.bundle, tmp_path / "out", ["safetensors"], pruning=Pruning(share=0.75))
    pruned = Bundle.load(tmp_path / "out" / "bundle")
    before, after = state_of(text.bundle), state_of(pruned)
    assert {name: tensor.shape for name, tensor in before.items()} == {n: t.shape for n, t in after.items()}
    name = next(name for name in before if name.endswith("intermediate.dense.weight"))
    zero = after[name] == 0
    assert zero.float().mean() == 0.75
    assert before[name][zero].abs().max() <= before[name][~zero].abs().min()
    looked_up = next(name for name in before if name.endswith("word_embeddings.weight"))
    assert (after[looked_up] == before[looked_up]).all()
    assert pruned.manifest.metrics == {}  # they were those of another model


def test_channels_of_a_perceptron_are_removed(table: Any, tmp_path: Path) -> None:
    forms = ["safetensors", "onnx"]
    pruning = Pruning(share=0.5, channels=True)
    manifest = export_model(table.bundle, tmp_path / "out", forms, samples=table.samples, pruning=pruning)
    assert manifest.bundle == table.bundle.digest
    assert manifest.pruned is not None and manifest.pruned.channels
    narrow = Bundle.load(tmp_path / "out" / "bundle")
    assert narrow.manifest.architecture["hidden"] == [8, 4]
    assert state_of(narrow)["hidden.1.linear.weight"].shape == (4, 8)
    # The pruned bundle and its exported graph are one model.
    np.testing.assert_allclose(
        load_exported(tmp_path / "out").run(table.samples), narrow.outputs(table.samples, device="cpu"), atol=1e-5
    )


def test_a_channel_without_weights_is_the_first_to_go_and_changes_nothing(table: Any, tmp_path: Path) -> None:
    state = state_of(table.bundle)
    dead = [1, 4, 5, 12]
    state["hidden.0.linear.weight"][dead] = 0
    state["hidden.1.linear.weight"][:, dead] = 0
    manifest = table.bundle.manifest
    idle = Bundle.save(
        tmp_path / "idle",
        model_state=state,
        architecture={**manifest.architecture, "hidden": [16, 8]},
        signature=manifest.signature,
        preprocessing=table.bundle.preprocessing,
    )
    from forgeline_architectures.mlp import ARCHITECTURE

    config, narrowed = ARCHITECTURE.narrow(idle.model, manifest.architecture, 0.25)
    assert config["hidden"] == [12, 6]
    staying = [unit for unit in range(16) if unit not in dead]
    assert (narrowed["hidden.0.linear.weight"] == state["hidden.0.linear.weight"][staying]).all()


def test_channels_of_an_encoder_are_removed(text: Any, tmp_path: Path) -> None:
    export_model(text.bundle, tmp_path / "out", ["safetensors"], pruning=Pruning(share=0.5, channels=True))
    narrow = Bundle.load(tmp_path / "out" / "bundle")
    name = next(name for name in state_of(narrow) if name.endswith("intermediate.dense.weight"))
    assert len(state_of(narrow)[name]) * 2 == len(state_of(text.bundle)[name])
    moved = narrow.outputs(text.samples, device="cpu") - text.bundle.outputs(text.samples, device="cpu")
    assert 0 < np.abs(moved).max() < 1


def test_other_channels_are_refused_by_name(image: Any, tmp_path: Path) -> None:
    with pytest.raises(NotExportable, match=r"channels of lenet cannot be removed; allowed: bert, mlp, transformer"):
        export_model(image.bundle, tmp_path / "out", ["safetensors"], pruning=Pruning(share=0.5, channels=True))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("share", [0, 1, -0.5, float("nan")])
def test_a_share_is_between_0_and_1(share: float) -> None:
    with pytest.raises(UsageError, match="allowed: between 0 and 1"):
        Pruning(share=share)
