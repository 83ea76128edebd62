"""Text from a tiny GPT in a bundle, by Python and by the command line."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from forgeline import plugins
from forgeline.bundle import Bundle
from forgeline.cli.app import app
from forgeline.errors import DataError, UsageError
from forgeline.plugins import ARCHITECTURES
from forgeline.preprocessing import TextPreprocessing
from forgeline.preprocessing.tokenization import CharacterTokenizer

ARCHITECTURE = {"name": "gpt", "layers": 1, "heads": 2, "width": 16, "pretrained": "gone/since.safetensors"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    tokenizer = CharacterTokenizer.fit(["abcdefgh "], documents=False)
    signature = {
        "task": "language_modelling",
        "inputs": {"tokens": {"shape": [8], "dtype": "int64"}},
        "outputs": [tokenizer.size],
    }
    torch.manual_seed(0)
    model = plugins.find(ARCHITECTURES, "gpt", key="architecture.name").build_model(  # type: ignore[attr-defined]
        ARCHITECTURE, signature
    )
    return Bundle.save(
        tmp_path_factory.mktemp("gpt") / "bundle",
        model_state=model.state_dict(),
        architecture=ARCHITECTURE,
        signature=signature,
        preprocessing=TextPreprocessing(tokenizer=tokenizer, context=8),
    )


def test_a_seed_gives_the_same_text_whatever_else_is_asked(bundle: Bundle) -> None:
    first = bundle.generate(["abc", "h"], max_tokens=20, seed=1, device="cpu")
    assert [len(text) for text in first] == [23, 21] and first[0].startswith("abc")
    assert first == Bundle.load(bundle.folder).generate(["abc", "h"], max_tokens=20, seed=1, device="cpu")
    assert bundle.generate("h", max_tokens=20, seed=1, device="cpu") == first[1:]
    assert bundle.generate("h", max_tokens=20, seed=2, device="cpu") != first[1:]


def test_one_candidate_is_greedy(bundle: Bundle) -> None:
    greedy = bundle.generate("abc", max_tokens=20, temperature=0, device="cpu")
    assert bundle.generate("abc", max_tokens=20, top_k=1, device="cpu") == greedy
    assert bundle.generate("abc", max_tokens=20, top_p=1e-6, device="cpu") == greedy


def test_refusals(bundle: Bundle) -> None:
    with pytest.raises(DataError, match="prompt 1 is empty"):
        bundle.generate(["a", ""], device="cpu")
    with pytest.raises(UsageError, match="top_k is 0"):
        bundle.generate("a", top_k=0, device="cpu")


def test_the_command_line_continues_a_prompt(bundle: Bundle) -> None:
    arguments = ["predict", str(bundle.folder), "--prompt", "abc", "--max-tokens", "9", "--top-k", "3", "--seed", "5"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert done.stdout == bundle.generate("abc", max_tokens=9, top_k=3, seed=5)[0] + "\n"


@pytest.mark.parametrize("settings", [{"seed": 3}, {"temperature": 0}, {"top_k": 2, "max_tokens": 30}])
def test_a_streamed_text_is_the_generated_one(bundle: Bundle, settings: dict[str, float]) -> None:
    pieces = list(bundle.stream("abc", device="cpu", **settings))
    assert len(pieces) > 10
    assert "abc" + "".join(pieces) == bundle.generate("abc", device="cpu", **settings)[0]  # type: ignore[arg-type]


def test_a_stream_refuses_what_generate_refuses(bundle: Bundle) -> None:
    with pytest.raises(DataError, match="the prompt is empty"):
        next(bundle.stream("", device="cpu"))
    with pytest.raises(UsageError, match="top_k is 0"):
        next(bundle.stream("a", device="cpu", top_k=0))
