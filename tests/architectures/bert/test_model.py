"""BERT: published sizes, transformers' outputs, checkpoints in both directions, gaps, and heads that are new."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from forgeline_architectures.bert import ARCHITECTURE
from forgeline_architectures.bert.model import load_bert, save_bert

VOCABULARY, CONTEXT, CLASSES = 37, 9, 3
SMALL = {"name": "bert", "layers": 2, "heads": 2, "width": 16}
THEIRS = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": CONTEXT,
    "num_labels": CLASSES,
}
MASKED, CLASSIFIED, TAGGED = "masked_language_modelling", "classification", "token_classification"
NAMES = {
    MASKED: "BertForMaskedLM",
    CLASSIFIED: "BertForSequenceClassification",
    TAGGED: "BertForTokenClassification",
}
ALL = pytest.mark.parametrize("task", NAMES)


def signature(task: str, *, vocabulary: int = VOCABULARY, context: int = CONTEXT, classes: int = CLASSES) -> Any:
    inputs: dict[str, Any] = {"tokens": {"shape": [context], "dtype": "int64"}}
    if task == MASKED:
        return {"task": task, "inputs": inputs, "outputs": [vocabulary]}
    inputs["length"] = {"shape": [], "dtype": "int64"}
    return {"task": task, "inputs": inputs, "outputs": [classes], "vocabulary": vocabulary}


def build(task: str, **config: Any) -> Any:
    torch.manual_seed(0)
    return ARCHITECTURE.build_model(SMALL | config, signature(task)).eval()


def batch_of(lengths: list[int]) -> dict[str, Tensor]:
    tokens = torch.randint(VOCABULARY - 2, (len(lengths), CONTEXT), generator=torch.Generator().manual_seed(1))
    return {"tokens": tokens, "length": torch.tensor(lengths)}


def reference(task: str) -> Any:
    import transformers

    torch.manual_seed(1)
    return stirred(getattr(transformers, NAMES[task])(transformers.BertConfig(**THEIRS)).eval())


def stirred(model: Any) -> Any:
    """Norms, biases and the table of second segments are not to be told from their first values else."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def said(bert: Any, batch: dict[str, Tensor]) -> Tensor:
    visible = torch.arange(CONTEXT) < batch["length"][:, None]
    with torch.no_grad():
        out: Tensor = bert(input_ids=batch["tokens"], attention_mask=visible.long()).logits
    assert out.std() > 0.05
    return out


def pretrained(task: str, place: Path, **changes: Any) -> Any:
    config = {**SMALL, **changes, "pretrained": str(place)}
    return ARCHITECTURE.build_module(config, signature(task), {"total_steps": 1}).model.eval()


@pytest.mark.parametrize(
    ("size", "parameters"),
    [({}, 109_482_240), ({"layers": 24, "heads": 16, "width": 1024}, 335_141_888)],
    ids=["base", "large"],
)
def test_parameter_counts(size: dict[str, Any], parameters: int) -> None:
    promise = signature(CLASSIFIED, vocabulary=30_522, context=512)
    with torch.device("meta"):
        model: Any = ARCHITECTURE.build_model({"name": "bert", **size}, promise)
    assert sum(parameter.numel() for parameter in model.bert.parameters()) == parameters


@ALL
def test_outputs_equal_transformers(task: str) -> None:
    bert, model = reference(task), build(task)
    load_bert(model, bert.state_dict())
    batch = batch_of([9, 2, 5])
    ours, theirs = model(batch), said(bert, batch)
    if task != CLASSIFIED:  # behind a text's end there is nothing to compare
        visible = torch.arange(CONTEXT) < batch["length"][:, None]
        ours, theirs = ours[visible], theirs[visible]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@ALL
def test_a_checkpoint_folder_is_read(task: str, tmp_path: Path) -> None:
    bert = reference(task)
    bert.save_pretrained(tmp_path)
    batch = batch_of([9, 9, 9])
    for place in (tmp_path, tmp_path / "model.safetensors"):
        torch.testing.assert_close(pretrained(task, place)(batch), said(bert, batch), rtol=0, atol=1e-4)


@ALL
def test_a_written_checkpoint_is_read_by_transformers(task: str, tmp_path: Path) -> None:
    import transformers

    model = stirred(build(task))
    save_bert(model, tmp_path)
    bert = getattr(transformers, NAMES[task]).from_pretrained(tmp_path).eval()
    batch = batch_of([9, 9, 9])
    torch.testing.assert_close(model(batch), said(bert, batch), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("task", "fresh"), [(CLASSIFIED, {"pooler"}), (TAGGED, set())])
def test_classification_starts_from_the_encoder_of_the_pretraining(task: str, fresh: set[str], tmp_path: Path) -> None:
    before = stirred(build(MASKED))
    save_bert(before, tmp_path)
    after = pretrained(task, tmp_path / "model.safetensors")
    old = before.bert.state_dict()
    assert all(torch.equal(tensor, old[name]) for name, tensor in after.bert.state_dict().items() if name in old)
    assert {name.split(".")[0] for name in set(after.bert.state_dict()) - set(old)} == fresh


def test_a_head_for_other_classes_is_new(tmp_path: Path) -> None:
    save_bert(stirred(build(CLASSIFIED)), tmp_path)
    config = {**SMALL, "pretrained": str(tmp_path)}
    module = ARCHITECTURE.build_module(config, signature(CLASSIFIED, classes=5), {"total_steps": 1})
    assert module.model(batch_of([9])).shape == (1, 5)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    reference(MASKED).save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"num_attention_heads is 2, wanted 4; change architecture\.heads"):
        pretrained(MASKED, tmp_path, heads=4)
    with pytest.raises(ValueError, match="know 37 tokens, the data have a vocabulary of 38"):
        load_bert(ARCHITECTURE.build_model(SMALL, signature(MASKED, vocabulary=38)), state)
    with pytest.raises(ValueError, match="no place for; change layers"):
        load_bert(build(MASKED, layers=1), state)
    with pytest.raises(ValueError, match="is missing, the model needs"):
        load_bert(build(MASKED, layers=3), state)


@ALL
def test_what_stands_behind_the_end_changes_nothing(task: str) -> None:
    model = build(task)
    batch = batch_of([4])
    changed = {**batch, "tokens": batch["tokens"].clone()}
    changed["tokens"][:, 4:] = 1
    ours, theirs = (model(given) if task == CLASSIFIED else model(given)[:, :4] for given in (batch, changed))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_gaps_are_filled_by_the_likeliest_token_and_the_rest_stays() -> None:
    model = stirred(build(MASKED))
    batch = batch_of([9, 5])
    batch["tokens"][0, 3] = batch["tokens"][1, 1] = VOCABULARY - 2
    filled, likeliest = model.fill(batch), model(batch)[..., : VOCABULARY - 2].argmax(-1)
    gaps = batch["tokens"] == VOCABULARY - 2
    inside = torch.arange(CONTEXT) < batch["length"][:, None]
    assert torch.equal(filled[gaps], likeliest[gaps])
    assert torch.equal(filled[inside & ~gaps], batch["tokens"][inside & ~gaps])
    assert set(filled[~inside].tolist()) == {VOCABULARY - 1}


def test_the_loss_is_of_the_hidden_tokens_alone() -> None:
    module = ARCHITECTURE.build_module(SMALL, signature(MASKED), {"total_steps": 1}).eval()
    tokens = batch_of([9, 9])["tokens"]
    target = torch.full_like(tokens, -100)
    target[0, 2], target[1, 5] = 7, 8
    with torch.no_grad():
        found = module.validation_step({"tokens": tokens, "target": target}, 0)
        log_probs = module.model({"tokens": tokens}).log_softmax(-1)
    wanted = -(log_probs[0, 2, 7] + log_probs[1, 5, 8])
    torch.testing.assert_close(found["loss_sum"], wanted)
    assert int(found["count"]) == 2 and found["outputs"] is None


def test_tokens_without_a_target_do_not_count() -> None:
    module = ARCHITECTURE.build_module(SMALL, signature(TAGGED), {"total_steps": 1}).eval()
    batch = batch_of([9, 4])
    target = torch.full_like(batch["tokens"], -100)
    target[0, 1], target[0, 8], target[1, 3] = 0, 2, 1
    with torch.no_grad():
        found = module.validation_step({**batch, "target": target}, 0)
        log_probs = module.model(batch).log_softmax(-1)
    wanted = -(log_probs[0, 1, 0] + log_probs[0, 8, 2] + log_probs[1, 3, 1])
    torch.testing.assert_close(found["loss_sum"], wanted)
    torch.testing.assert_close(module.loss({**batch, "target": target}), wanted / 3)
    assert int(found["count"]) == 3 and found["target"].tolist() == [0, 2, 1]
    torch.testing.assert_close(found["outputs"], log_probs[[0, 0, 1], [1, 8, 3]].exp())


def test_tags_are_of_the_tokens_between_beginning_and_end() -> None:
    model = build(TAGGED)
    batch = batch_of([9, 4])
    batch["tokens"][:, 0] = VOCABULARY - 1
    with torch.no_grad():
        tags = model.tag(batch)
    sums = tags.sum(-1)
    assert tags.shape == (2, CONTEXT, CLASSES)
    torch.testing.assert_close(sums, torch.tensor([[0.0] + [1.0] * 8, [0.0] + [1.0] * 3 + [0.0] * 5]))


def test_texts_longer_than_the_context_are_refused() -> None:
    with pytest.raises(ValueError, match=r"context is 4 and the data's texts have up to 9 tokens"):
        build(MASKED, context=4)
