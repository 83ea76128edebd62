"""Runs that start from a model of ours: what is taken over, adapters in the bundle, and what is refused before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from forgeline import plugins
from forgeline.bundle import Bundle
from forgeline.errors import SpecError
from forgeline.spec.loading import load
from forgeline_jobs.train.fitting import Fitting
from forgeline_jobs.train.kind import TrainKind
from forgeline_jobs.train.preparation import prepare
from forgeline_jobs.train.worker import Job

HIDDEN = "hidden.0.linear.weight"


def spec(pretrained: str | Path, **changes: Any) -> Any:
    settings = {
        "kind": "train",
        "name": "wine",
        "architecture": {"name": "mlp", "hidden": [16]},
        "data": {"name": "wine", "batch_size": 16},
        "optimizer": {"lr": 1e-3},
        "trainer": {"epochs": 1},
        "fine_tune": {"pretrained": str(pretrained)},
    }
    return load(settings, set=changes)


def fit(home: Path, run_id: str, pretrained: Path, **changes: Any) -> Bundle:
    text = spec(pretrained, **changes).text
    job = Job(spec=text, run_id=run_id, home=str(home), attempt=1, checkpoint=None, pretrained=str(pretrained))
    job.paths.attempt(1).mkdir(parents=True)
    Fitting(job).run()
    return Bundle.load(job.paths.bundle)


def refusal(pretrained: str | Path, **changes: Any) -> tuple[str | None, str]:
    with pytest.raises(SpecError) as caught:
        TrainKind().check(spec(pretrained, **changes).spec)
    assert caught.value.exit_code == 2
    return caught.value.key, caught.value.message


def test_training_starts_from_the_weights_of_a_bundle(home: Path, wine_bundle: Path) -> None:
    source = Bundle.load(wine_bundle)
    tuned = fit(home, "tuned", wine_bundle, **{"optimizer.lr": 1e-6})
    for name, tensor in source.model.state_dict().items():
        torch.testing.assert_close(tuned.model.state_dict()[name], tensor, atol=1e-4, rtol=0)
    assert tuned.metrics["val/loss"] == pytest.approx(source.metrics["val/loss"], abs=1e-3)
    fresh = fit(home, "fresh", wine_bundle, **{"optimizer.lr": 1e-6, "fine_tune.replace_head": True})
    torch.testing.assert_close(fresh.model.state_dict()[HIDDEN], source.model.state_dict()[HIDDEN], atol=1e-4, rtol=0)
    assert (fresh.model.state_dict()["head.weight"] - source.model.state_dict()["head.weight"]).abs().max() > 0.01


def test_what_adapters_learnt_is_in_the_bundle(home: Path, wine_bundle: Path) -> None:
    source = Bundle.load(wine_bundle)
    changes = {"fine_tune.adapter": {"layers": ["hidden.*"], "rank": 2}, "optimizer.lr": 0.05, "trainer.ema": 0.9}
    tuned = fit(home, "adapted", wine_bundle, **changes)
    change = tuned.model.state_dict()[HIDDEN] - source.model.state_dict()[HIDDEN]
    assert change.abs().max() > 1e-3 and torch.linalg.matrix_rank(change, rtol=1e-4) == 2
    bias = "hidden.0.linear.bias"
    assert torch.equal(tuned.model.state_dict()[bias], source.model.state_dict()[bias]), "frozen"
    assert not torch.equal(tuned.model.state_dict()["head.bias"], source.model.state_dict()["head.bias"])
    columns = tuned.schema["inputs"]
    table = tuned.predict([{column["name"]: 1.0 for column in columns}])
    assert list(table["prediction"])[0] in (tuned.classes or ())


def test_what_fits_passes_the_check(wine_bundle: Path) -> None:
    adapter = {"fine_tune.adapter": {"layers": ["hidden.*"]}}
    assert TrainKind().check(spec(wine_bundle, **adapter).spec)["task"] == "classification"


@pytest.mark.parametrize(
    ("changes", "key", "message"),
    [
        ({"architecture": {"name": "mlp", "hidden": [8]}}, "fine_tune.pretrained", "is 16 there and 8 here"),
        ({"data": {"name": "breast-cancer"}}, "fine_tune.pretrained", "its model reads the columns alcohol"),
        (
            {"data": {"name": "digits"}, "architecture": {"name": "mlp", "hidden": [16]}},
            "fine_tune.pretrained",
            "its model reads table data, and data.name gives image",
        ),
        (
            {"data": {"name": "digits"}, "architecture": {"name": "resnet18"}},
            "fine_tune.pretrained",
            "is a mlp; set architecture.name to mlp, or name a trained resnet18",
        ),
        (
            {"fine_tune.adapter": {"layers": ["hiden.*"]}},
            "fine_tune.adapter",
            "pattern 'hiden.*' matches none",
        ),
        (
            {"fine_tune.adapter": {"layers": ["hidden.*"], "train": ["head.bias"]}, "fine_tune.replace_head": True},
            "fine_tune.adapter.train",
            "head.weight cannot be taken over",
        ),
    ],
    ids=["width", "columns", "kind", "architecture", "layers", "head"],
)
def test_what_does_not_fit_is_refused_before_the_run(
    wine_bundle: Path, changes: dict[str, Any], key: str, message: str
) -> None:
    found, text = refusal(wine_bundle, **changes)
    assert found == key and message in text


DIGITS = {"name": "digits", "batch_size": 16}
MODELS_OF_DIGITS = [
    ({"name": "autoencoder", "hidden": [8], "latent": 4}, DIGITS | {"task": "reconstruction"}),
    ({"name": "dcgan", "latent": 4, "widths": [4]}, DIGITS | {"task": "generation"}),
    (
        {"name": "ddpm", "widths": [8], "blocks": 1, "attention": [], "groups": 4},
        DIGITS | {"task": "generation", "condition": "label"},
    ),
]


def untrained(folder: Path, architecture: dict[str, Any], data: dict[str, Any]) -> Bundle:
    """A bundle as a run of these settings writes it, with weights as they are at the start."""
    settings = spec("nowhere", architecture=architecture, data=data).spec
    prepared = prepare(settings.data)
    config, signature = settings.architecture.model_dump(mode="json"), prepared.signature.model_dump(mode="json")
    family: Any = plugins.find(plugins.ARCHITECTURES, settings.architecture.name, key="architecture.name")
    return Bundle.save(
        folder,
        model_state=family.build_model(config, signature).state_dict(),
        architecture=config,
        signature=signature,
        preprocessing=prepared.preprocessing,
    )


@pytest.mark.parametrize(
    ("architecture", "data"), MODELS_OF_DIGITS, ids=[str(config["name"]) for config, _ in MODELS_OF_DIGITS]
)
def test_autoencoders_and_generators_are_started_from(
    home: Path, tmp_path: Path, architecture: dict[str, Any], data: dict[str, Any]
) -> None:
    source = untrained(tmp_path / "bundle", architecture, data)
    changes = {"architecture": architecture, "data": data}
    assert TrainKind().check(spec(source.folder, **changes).spec)["task"] == data["task"]
    tuned = fit(
        home,
        f"tuned-{architecture['name']}",
        source.folder,
        **changes,
        **{"optimizer.lr": 1e-7, "trainer": {"steps": 1}, "checkpoint": {"select": "last"}},
    )
    trained = dict(source.model.named_parameters())
    for name, tensor in tuned.model.named_parameters():
        torch.testing.assert_close(tensor, trained[name], atol=1e-5, rtol=0)
    key, text = refusal(source.folder, **changes, **{"fine_tune.replace_head": True})
    assert key == "fine_tune.replace_head" and f"{architecture['name']} learns {data['task']}" in text


@pytest.mark.parametrize("reference", ["models:/nobody@champion", "runs:/nothing", "no/such/folder"])
def test_a_model_that_is_not_there_is_refused(home: Path, reference: str) -> None:
    key, text = refusal(reference)
    assert key == "fine_tune.pretrained" and reference.rpartition("/")[2].partition("@")[0] in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fine_tune": {"adapter": {"layers": ["hidden.*"]}}}, "fine_tune.adapter adds to trained weights"),
        ({"fine_tune": {"replace_head": True}}, "replace_head is about the last layer of pretrained"),
        (
            {"fine_tune.freeze": ["hidden.*"], "fine_tune.adapter": {"layers": ["hidden.*"]}},
            "an adapter freezes every other weight by itself",
        ),
        (
            {"architecture": {"name": "resnet18", "pretrained": True}, "data": {"name": "digits"}},
            "not from both; remove one",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec("somewhere", **changes)
