"""`tokenizer: file`: the numbers of a published model's tokenizer, whatever the text is, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from forgeline.errors import SpecError
from forgeline.preprocessing import load_preprocessing
from forgeline.spec.loading import load
from forgeline_jobs.train.kind import TrainKind
from forgeline_jobs.train.preparation import prepare

TEXT = "the cat sat on the mat, and the dog sat by the cat. " * 40
END = "<|endoftext|>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tokenizer.json as GPT-2 has it, but with a token that its library puts before every text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>", END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["the other cat sat"] * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    (tmp_path / "model").mkdir()
    tokenizer.save(str(tmp_path / "model" / "tokenizer.json"))
    (tmp_path / "book.txt").write_text(TEXT)
    return tmp_path / "model"


def spec(folder: Path, **changes: Any) -> Any:
    data = {
        "name": "text",
        "path": str(folder.parent / "book.txt"),
        "tokenizer": "file",
        "tokenizer_file": str(folder),
        "context": 8,
        "batch_size": 4,
    }
    architecture = {"name": "gpt", "layers": 1, "heads": 2, "width": 16}
    return load({"kind": "train", "name": "t", "architecture": architecture, "data": data}, set=changes).spec


def refusal(folder: Path, **changes: Any) -> tuple[str | None, str]:
    with pytest.raises(SpecError) as caught:
        prepare(spec(folder, **changes).data)
    assert caught.value.exit_code == 2
    return caught.value.key, caught.value.message


def test_tokens_have_the_numbers_of_the_file(folder: Path) -> None:
    published = Tokenizer.from_file(str(folder / "tokenizer.json"))
    size = published.get_vocab_size()
    for place in (folder, folder / "tokenizer.json"):
        data = prepare(spec(folder, **{"data.tokenizer_file": str(place)}).data)
        assert data.signature.outputs == (size,)
        restored: Any = load_preprocessing(data.preprocessing.model_dump_json())
        for text in ("the cat", "überall 🐈", "a lone \ud800"):
            clean = text.encode("utf-8", "replace").decode()
            wanted = published.encode(clean, add_special_tokens=False).ids
            np.testing.assert_array_equal(restored.encode_text(text), wanted)
            assert restored.decode_text(wanted) == clean
    assert published.token_to_id(END) not in restored.encode_text(f"the {END} cat"), "its name is only text"
    assert restored.decode_text([published.token_to_id(END), *published.encode("cat").ids]) == "cat"


def test_documents_are_closed_by_its_own_token(folder: Path) -> None:
    documents = folder.parent / "many.jsonl"
    documents.write_text("".join(json.dumps({"text": TEXT[:60]}) + "\n" for _ in range(12)))
    data = prepare(spec(folder, **{"data.path": str(documents)}).data)
    assert getattr(data.preprocessing, "end", None) == 1
    stored = json.loads((folder / "tokenizer.json").read_text())
    stored["added_tokens"] = [token for token in stored["added_tokens"] if token["content"] != END]
    (folder / "tokenizer.json").write_text(json.dumps(stored))
    key, said = refusal(folder, **{"data.path": str(documents)})
    assert key == "data.tokenizer_file" and "no token that closes a document" in said


def test_the_table_may_have_more_rows_than_tokens(folder: Path) -> None:
    data = prepare(spec(folder, **{"data.vocabulary": 512}).data)
    assert data.signature.outputs == (512,)
    assert getattr(data.preprocessing, "decode_text")([511, 65]) != ""  # noqa: B009  (not in every preprocessing)
    key, said = refusal(folder, **{"data.vocabulary": 257})
    assert key == "data.vocabulary" and "leave it out" in said


def test_what_is_no_tokenizer_is_named(folder: Path) -> None:
    assert refusal(folder, **{"data.tokenizer_file": str(folder / "none.json")})[0] == "data.tokenizer_file"
    (folder / "tokenizer.json").write_text("{}")
    key, said = refusal(folder)
    assert key == "data.tokenizer_file" and "is not a readable tokenizer.json" in said


@pytest.mark.parametrize(
    "change",
    [{"data.tokenizer": "bpe"}, {"data.tokenizer_file": None}, {"data.objective": "masked"}],
)
def test_the_settings_go_together(folder: Path, change: dict[str, Any]) -> None:
    assert "tokenizer" in refusal(folder, **change)[1]


def test_a_tokenizer_of_the_hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    key, said = refusal(folder, **{"data.tokenizer_file": "hub:lab/tiny"})
    assert key == "data.tokenizer_file" and "'hub:lab/tiny' is neither in the cache" in said
    snapshot = tmp_path / "hub" / "models--lab--tiny" / "snapshots" / ("0" * 40)
    (snapshot.parent.parent / "refs").mkdir(parents=True)
    (snapshot.parent.parent / "refs" / "main").write_text("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    data = prepare(spec(folder, **{"data.tokenizer_file": "hub:lab/tiny"}).data)
    assert data.preprocessing == prepare(spec(folder).data).preprocessing


def test_other_numbers_than_the_weights_have_are_warned_of(folder: Path, tmp_path: Path) -> None:
    from forgeline_architectures.gpt import ARCHITECTURE
    from forgeline_architectures.gpt.model import save_gpt2

    def weights(of: Any) -> str:
        model: Any = ARCHITECTURE.build_model(
            of.architecture.model_dump(), prepare(of.data).signature.model_dump(mode="json")
        )
        save_gpt2(model, tmp_path / "weights")
        return str(tmp_path / "weights")

    same = spec(folder)
    assert "warning" not in TrainKind().check(spec(folder, **{"architecture.pretrained": weights(same)}))
    fitted = {"data.tokenizer": "bpe", "data.tokenizer_file": None, "data.vocabulary": 280}
    other = spec(folder, **fitted)
    assert "warning" not in TrainKind().check(other)
    begun = spec(folder, **fitted, **{"architecture.pretrained": weights(other)})
    assert "embeddings mean other tokens: data.tokenizer: file" in TrainKind().check(begun)["warning"]
    bytewise = {"data.tokenizer": "byte", "data.tokenizer_file": None}
    place = weights(spec(folder, **bytewise))
    assert "warning" not in TrainKind().check(spec(folder, **bytewise, **{"architecture.pretrained": place}))
