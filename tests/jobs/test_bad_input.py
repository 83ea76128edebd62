"""Bad input through `forgeline run`: one clear message, exit code 2, no traceback, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forgeline.cli.app import main

Folder = Path
TABLE = "age,city,left\n" + "".join(f"{20 + n},{'abc'[n % 3]},{'yes' if n % 2 else 'no'}\n" for n in range(40))


def job(data: str, *, architecture: str = "name: mlp", rest: str = "") -> str:
    return f"""kind: train
name: bad
architecture: {{{architecture}}}
data: {{{data}, batch_size: 4}}
trainer: {{epochs: 1}}
{rest}
"""


def csv(text: str) -> Callable[[Folder], str]:
    def make(folder: Folder) -> str:
        (folder / "rows.csv").write_text(text, encoding="utf-8")
        return job("name: tabular, path: rows.csv, target: left")

    return make


def pictures(spoil: Callable[[Folder], None], architecture: str = "name: lenet") -> Callable[[Folder], str]:
    def make(folder: Folder) -> str:
        generator = np.random.default_rng(0)
        for label in ("cat", "dog"):
            (folder / "pictures" / label).mkdir(parents=True)
            for number in range(12):
                pixels = generator.integers(0, 255, (16, 16), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "pictures" / label / f"{number}.png")
        spoil(folder / "pictures")
        return job("name: images, path: pictures", architecture=architecture)

    return make


def text(content: bytes, context: int = 16) -> Callable[[Folder], str]:
    def make(folder: Folder) -> str:
        (folder / "book.txt").write_bytes(content)
        return job(
            f"name: text, path: book.txt, context: {context}",
            architecture=f"name: gpt, layers: 1, heads: 1, width: 8, context: {context}",
        )

    return make


def plain(spec: str) -> Callable[[Folder], str]:
    return lambda folder: spec


def captioned(architecture: str, length: str) -> str:
    """A generator by captions, of which there are six batches."""
    data = "name: captioned-shapes, task: generation, size: 16"
    spec = job(data, architecture=architecture).replace("batch_size: 4", "batch_size: 1000")
    return spec.replace("epochs: 1", length)


WINE = job("name: wine")
CASES: dict[str, tuple[Callable[[Folder], str], tuple[str, ...]]] = {
    "unknown key": (plain(WINE.replace("epochs", "epohcs")), ("trainer.epohcs", "bad.yaml:5", "epochs")),
    "wrong type": (plain(WINE.replace("epochs: 1", "epochs: many")), ("trainer.epochs", "many")),
    "missing file": (plain(job("name: tabular, path: no.csv, target: left")), ("no.csv", "data.path")),
    "empty file": (csv(""), ("rows.csv", "empty")),
    "header without rows": (csv("age,city,left\n"), ("rows.csv",)),
    "column that is not there": (csv(TABLE.replace("left", "gone")), ("'left'", "data.target")),
    "class with one sample": (csv(TABLE + "33,a,maybe\n"), ("maybe", "1")),
    "NaN in a target": (csv(TABLE + "33,a,\n"), ("left", "data")),
    "image of another size": (
        pictures(lambda folder: Image.new("L", (9, 9)).save(folder / "cat" / "odd.png")),
        ("odd.png", "9"),
    ),
    "corrupt image": (
        pictures(lambda folder: (folder / "cat" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\ntorn") and None),
        ("torn.png",),
    ),
    "non-UTF-8 text": (text(b"caf\xe9 " * 200), ("book.txt", "UTF-8")),
    "text shorter than the context": (text(b"too short", context=64), ("64", "context")),
    "more CPUs than there are": (
        plain(WINE + "resources: {workers: 4, cpus_per_worker: 1000}\n"),
        ("4000", "resources.cpus_per_worker", "FORGELINE_LOCAL_CPUS"),
    ),
    "a GPU where there is none": (plain(WINE + "resources: {gpus_per_worker: 1}\n"), ("gpus_per_worker", "GPU")),
    "unknown architecture": (plain(WINE.replace("name: mlp", "name: mpl")), ("mpl", "mlp", "architecture.name")),
    "unknown data": (plain(WINE.replace("wine", "whine")), ("whine", "wine", "data.name")),
    "unknown optimiser": (plain(WINE + "optimizer: {name: adamx}\n"), ("adamx", "adamw", "optimizer.name")),
    "gate on a metric of another task": (
        plain(WINE + "register: {model: m, gate: {metric: val/rmse, at_least: 1}}\n"),
        ("val/rmse", "register.gate.metric"),
    ),
    "YAML bomb": (plain("a: &a [x, x]\n" + "".join(f"k{n}: &k{n} [*a, *a]\n" for n in range(50))), ("bad.yaml",)),
    "batch larger than the data": (
        plain(WINE.replace("batch_size: 4", "batch_size: 4000")),
        ("4000", "data.batch_size"),
    ),
    "network too deep for the pictures": (
        pictures(lambda folder: None, architecture="name: lenet, filters: [4, 4, 4, 4, 4]"),
        ("architecture",),
    ),
    "a pattern that freezes nothing": (plain(WINE + "fine_tune: {freeze: [hiden.*]}\n"), ("hiden", "fine_tune.freeze")),
    "a discriminator that is frozen": (
        plain(
            job("name: digits, task: generation", architecture="name: gan, latent: 4, hidden: [4]")
            + "fine_tune: {freeze: ['discriminator.*']}\n"
        ),
        ("discriminator", "fine_tune.freeze"),
    ),
    "no step for the second stage": (
        plain(captioned("name: latent_diffusion, widths: [32, 32], autoencoder_steps: 12", "epochs: 2")),
        ("autoencoder_steps 12", "12 steps", "architecture.autoencoder_steps", "trainer.steps"),
    ),
    "the same of DALL-E": (
        plain(captioned("name: dalle, autoencoder_steps: 9", "steps: 9")),
        ("9 steps", "architecture.autoencoder_steps", "trainer.steps"),
    ),
    "a first stage that nobody trains": (
        plain(captioned("name: latent_diffusion, widths: [32, 32], autoencoder_steps: 0", "steps: 9")),
        ("architecture.autoencoder_steps", "fine_tune.pretrained"),
    ),
    "a run that ends before the networks are grown": (
        plain(
            job(
                "name: digits, task: generation",
                architecture="name: progressive_gan, latent: 4, widths: [4, 4], stage_steps: 900",
            )
        ),
        ("1350", "trainer.steps", "architecture.stage_steps"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_with_the_key_to_change_and_nothing_is_written(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    make, words = CASES[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "bad.yaml").write_text(make(tmp_path), encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main(["run", "bad.yaml"])
    said = capfd.readouterr()
    assert ended.value.code == 2, said.err
    assert said.out == ""
    assert all(line.startswith("error: ") for line in said.err.splitlines()), said.err
    flat = " ".join(said.err.split())
    assert [word for word in words if word not in flat] == [], flat
    assert sorted(tmp_path.rglob("*")) == before


def test_a_home_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").touch()  # root may write anywhere, so a file stands where the folder would be
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path / "home" / "inside"))
    (tmp_path / "good.yaml").write_text(WINE, encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["run", str(tmp_path / "good.yaml")])
    said = capfd.readouterr().err
    assert ended.value.code == 2 and "FORGELINE_HOME" in said and "Traceback" not in said
