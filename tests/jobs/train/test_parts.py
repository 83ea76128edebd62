"""Modules that start from a module of another trained model: what is taken over, and what is refused before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any, cast

import hypothesis
import pytest
import torch
from hypothesis import strategies as st

from forgeline import plugins
from forgeline.bundle import Bundle
from forgeline.errors import SpecError
from forgeline.spec.loading import load
from forgeline_jobs.data.base import PreparedData
from forgeline_jobs.train.fine_tuning import FineTuneConfig
from forgeline_jobs.train.fitting import Fitting
from forgeline_jobs.train.kind import TrainKind
from forgeline_jobs.train.preparation import prepare
from forgeline_jobs.train.transfer import fresh_names
from forgeline_jobs.train.worker import Job

TEXT = {"text_layers": 1, "text_heads": 2, "text_width": 16}
CLIP: dict[str, Any] = {
    "kind": "train",
    "name": "clip",
    "architecture": {
        "name": "clip",
        "vision_layers": 1,
        "vision_heads": 2,
        "vision_width": 16,
        "patch": 8,
        "projection": 16,
        **TEXT,
    },
    "data": {"name": "captioned-shapes", "task": "retrieval", "batch_size": 16},
    "trainer": {"steps": 3},
}
UNET = {"widths": [8, 16], "blocks": 1, "attention": [], "heads": 2, "groups": 4, "timesteps": 4, **TEXT}
IMAGEN: dict[str, Any] = {
    "kind": "train",
    "name": "imagen",
    "architecture": {
        "name": "imagen",
        "factor": 2,
        "upsampler_widths": [8, 16],
        "upsampler_blocks": 1,
        **UNET,
    },
    "data": {"name": "captioned-shapes", "task": "generation", "size": 16, "batch_size": 8},
    "optimizer": {"lr": 1e-2},
    "trainer": {"steps": 3, "ema": 0.9},
    "checkpoint": {"select": "last"},
}
LATENT = {
    **IMAGEN,
    "name": "latent",
    "architecture": {
        "name": "latent_diffusion",
        "autoencoder_widths": [8, 16],
        "autoencoder_blocks": 1,
        "autoencoder_steps": 1,
        "schedule": "cosine",
        "prediction": "v",
        **UNET,
    },
}


@pytest.fixture(scope="module", autouse=True)
def prepared_once() -> Any:
    """The pictures of a data set are drawn once for all tests of this file."""
    found: dict[str, PreparedData] = {}

    def prepared(config: Any, *, verify: bool = True) -> PreparedData:
        key = config.model_dump_json(exclude={"batch_size"})
        if key not in found:
            found[key] = prepare(config, verify=verify)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        for module in ("kind", "fitting"):
            patch.setattr(f"forgeline_jobs.train.{module}.prepare", prepared)
        yield


def fit(home: Path, run_id: str, settings: dict[str, Any], **told: Any) -> Bundle:
    job = Job(spec=load(settings).text, run_id=run_id, home=str(home), attempt=1, checkpoint=None, **told)
    job.paths.attempt(1).mkdir(parents=True)
    Fitting(job).run()
    return Bundle.load(job.paths.bundle)


def untrained(folder: Path, settings: dict[str, Any]) -> Bundle:
    """A bundle as a run of these settings writes it, with weights as they are at the start."""
    spec: Any = load(settings).spec
    data = prepare(spec.data)
    config, signature = spec.architecture.model_dump(mode="json"), data.signature.model_dump(mode="json")
    family: Any = plugins.find(plugins.ARCHITECTURES, spec.architecture.name, key="architecture.name")
    return Bundle.save(
        folder,
        model_state=family.build_model(config, signature).state_dict(),
        architecture=config,
        signature=signature,
        preprocessing=data.preprocessing,
    )


@pytest.fixture(scope="module")
def clip(home: Path) -> Bundle:
    return fit(home, "clip", CLIP)


def started(clip: Bundle, settings: dict[str, Any] = IMAGEN, **changes: Any) -> Any:
    parts = {"text": {"model": str(clip.folder), "part": "text_model"}}
    return load(settings, set={"fine_tune.parts": parts, **changes}).spec


def refusal(spec: Any) -> tuple[str | None, str]:
    with pytest.raises(SpecError) as caught:
        TrainKind().check(spec)
    assert caught.value.exit_code == 2
    return caught.value.key, caught.value.message


def tower(bundle: Bundle, name: str) -> dict[str, torch.Tensor]:
    return bundle.model.get_submodule(name).state_dict()


@pytest.mark.parametrize("settings", [IMAGEN, LATENT], ids=["imagen", "latent_diffusion"])
def test_a_frozen_text_encoder_stays_what_another_model_learnt(
    home: Path, clip: Bundle, settings: dict[str, Any]
) -> None:
    parts = {"text": {"model": str(clip.folder), "part": "text_model"}}
    settings = {**settings, "fine_tune": {"parts": parts, "freeze": ["text.*"]}}
    assert TrainKind().check(load(settings).spec)["task"] == "generation"  # type: ignore[arg-type]
    made = fit(home, f"frozen-{settings['name']}", settings, parts={"text": str(clip.folder)})
    learnt = tower(clip, "text_model")
    for name, tensor in tower(made, "text").items():
        assert torch.equal(tensor, learnt[name]), name


@pytest.mark.parametrize("settings", [IMAGEN, LATENT], ids=["imagen", "latent_diffusion"])
def test_a_text_encoder_begins_where_another_model_ended(home: Path, clip: Bundle, settings: dict[str, Any]) -> None:
    """The averaged weights, which become the model, begin there too."""
    parts = {"text": {"model": str(clip.folder), "part": "text_model"}}
    settings = {**settings, "fine_tune": {"parts": parts}, "optimizer": {"lr": 1e-6}}
    made = fit(home, f"begun-{settings['name']}", settings, parts={"text": str(clip.folder)})
    learnt, found = tower(clip, "text_model"), tower(made, "text")
    assert any(not torch.equal(found[name], learnt[name]) for name in learnt), "what is not frozen is trained"
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, learnt[name], atol=1e-4, rtol=0)


def test_a_part_is_taken_over_whatever_the_rest_starts_from(home: Path, clip: Bundle, tmp_path: Path) -> None:
    whole = untrained(tmp_path / "whole", IMAGEN)
    parts = {"text.encoder": {"model": str(clip.folder), "part": "text_model.encoder"}}
    tuning = {"pretrained": str(whole.folder), "parts": parts}
    settings = {**IMAGEN, "fine_tune": tuning, "optimizer": {"lr": 1e-7}}
    assert TrainKind().check(load(settings).spec)  # type: ignore[arg-type]
    made = fit(home, "both", settings, pretrained=str(whole.folder), parts={"text.encoder": str(clip.folder)})
    for name, tensor in made.model.state_dict().items():
        ahead, _, inside = name.partition("text.encoder.")
        source = tower(clip, "text_model.encoder")[inside] if inside and not ahead else whole.model.state_dict()[name]
        torch.testing.assert_close(tensor, source, atol=1e-5, rtol=0)


def test_a_run_goes_on_after_the_models_of_its_parts_are_gone(clip: Bundle, tmp_path: Path) -> None:
    copytree(clip.folder, tmp_path / "bundle")
    parts = {"text": {"model": str(tmp_path / "bundle"), "part": "text_model"}}
    spec: Any = load(IMAGEN, set={"fine_tune.parts": parts}).spec
    rmtree(tmp_path / "bundle")
    assert refusal(spec)[0] == "fine_tune.parts.text.model"
    assert TrainKind().check_resumed(spec)["task"] == "generation"


def part(**changes: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {"text": {"model": str(folder), "part": "text_model", **changes}}


@pytest.mark.parametrize(
    ("parts", "changes", "key", "message"),
    [
        (part(model="models:/nobody@champion"), {}, "fine_tune.parts.text.model", "nobody"),
        (part(part="text_modle"), {}, "fine_tune.parts.text.part", "did you mean `text_model`?"),
        (part(part=None), {}, "fine_tune.parts.text.part", "is a clip, which has no module 'text'"),
        (part(part="vision_model"), {}, "fine_tune.parts.text.model", "vision_model of"),
        (part(), {"architecture.text_width": 8}, "fine_tune.parts.text.model", "is 16 there and 8 here"),
        (part(), {"architecture.text_layers": 2}, "fine_tune.parts.text.model", "missing there and"),
        (part(), {"architecture.text_heads": 4}, "fine_tune.parts.text.model", "self_attn.heads is 2 there and 4 here"),
        (part(), {"data.wordings": "several"}, "fine_tune.parts.text.model", "(box, disc, in, lower, … here alone)"),
        (
            lambda folder: {"txet": {"model": str(folder), "part": "text_model"}},
            {},
            "fine_tune.parts.txet",
            "imagen has no module 'txet' that has weights; did you mean `text`?",
        ),
        (
            lambda folder: {"text.encodr": {"model": str(folder)}},
            {},
            'fine_tune.parts."text.encodr"',
            "did you mean `text.encoder`?",
        ),
    ],
    ids=["model", "part", "default", "module", "width", "layers", "heads", "words", "name", "dotted"],
)
def test_what_does_not_fit_is_refused_before_the_run(
    clip: Bundle, parts: Callable[[Path], dict[str, Any]], changes: dict[str, Any], key: str, message: str
) -> None:
    spec = started(clip, **changes, **{"fine_tune.parts": parts(clip.folder)})
    found, text = refusal(spec)
    assert found == key and message in text


def of_other_words(clip: Bundle, folder: Path) -> Bundle:
    """The same model as if it had learnt other words, of the same number."""
    words = tuple(f"{word}s" for word in clip.manifest.preprocessing["words"])
    return Bundle.save(
        folder / "other",
        model_state=clip.model.state_dict(),
        architecture=clip.manifest.architecture,
        signature=clip.manifest.signature,
        preprocessing=cast(Any, clip.preprocessing).model_copy(update={"words": words}),
    )


def test_the_same_number_of_other_words_is_refused_where_tokens_have_weights(clip: Bundle, tmp_path: Path) -> None:
    other = of_other_words(clip, tmp_path)
    key, text = refusal(started(other))
    assert key == "fine_tune.parts.text.model" and "the data have other ones" in text
    blocks = {"text.encoder": {"model": str(other.folder), "part": "text_model.encoder"}}
    assert TrainKind().check(started(other, **{"fine_tune.parts": blocks})), "no word has a weight there"


def test_a_whole_model_of_other_words_keeps_none_of_their_weights(clip: Bundle, tmp_path: Path) -> None:
    spec: Any = load(CLIP, set={"fine_tune.pretrained": str(clip.folder)}).spec
    data = prepare(spec.data)
    assert fresh_names(spec, data, clip) == frozenset()
    assert fresh_names(spec, data, of_other_words(clip, tmp_path)) == {"text_model.embeddings.token_embedding.weight"}


def test_adapters_of_a_part_need_the_rest_trained_whole(clip: Bundle) -> None:
    adapter: dict[str, Any] = {"layers": ["text.encoder.*"], "rank": 2}
    key, text = refusal(started(clip, **{"fine_tune.adapter": adapter}))
    assert key == "fine_tune.adapter.train" and "base." in text and "would stay untrained" in text
    fits = {**adapter, "train": ["base.*", "upsampler.*"]}
    assert TrainKind().check(started(clip, **{"fine_tune.adapter": fits}))


def test_a_module_of_a_wrapped_network_has_the_librarys_name(home: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "kind": "train",
        "name": "pictures",
        "architecture": {"name": "test_resnet"},
        "data": {"name": "digits", "batch_size": 64},
        "optimizer": {"lr": 1e-7},
        "trainer": {"steps": 1},
        "fine_tune": {"parts": {"layer1": {"model": str(tmp_path / "bundle")}}, "freeze": ["layer1.*"]},
    }
    source = untrained(tmp_path / "bundle", settings)
    assert TrainKind().check(load(settings).spec)["task"] == "classification"  # type: ignore[arg-type]
    made = fit(home, "wrapped", settings, parts={"layer1": str(source.folder)})
    weight = "network.layer1.0.conv1.weight"
    assert torch.equal(made.model.state_dict()[weight], source.model.state_dict()[weight])


NAMES = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=3).map(".".join)


@hypothesis.settings(deadline=None)
@hypothesis.given(st.dictionaries(NAMES, st.just({"model": "runs:/one"}), max_size=4))
def test_modules_within_each_other_are_refused(parts: dict[str, dict[str, str]]) -> None:
    within = any(a != b and a.split(".")[: b.count(".") + 1] == b.split(".") for a in parts for b in parts)
    if within:
        with pytest.raises(ValueError, match="lies within"):
            FineTuneConfig.model_validate({"parts": parts})
    else:
        assert set(FineTuneConfig.model_validate({"parts": parts}).parts) == set(parts)


def test_a_folder_is_the_same_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tuning = FineTuneConfig.model_validate({"pretrained": "a", "parts": {"text": {"model": "b"}}})
    assert tuning.pretrained == str(tmp_path / "a") and tuning.parts["text"].model == str(tmp_path / "b")
