"""The recurrent encoder-decoder: attention by its formulas, padding, teacher forcing, search."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from forgeline_architectures.beam_search import END, PADDING, START
from forgeline_architectures.seq2seq import ARCHITECTURE

SOURCE, TARGET, VOCABULARY = 6, 5, 9
SIGNATURE = {
    "task": "translation",
    "inputs": {
        "source": {"shape": [SOURCE], "dtype": "int64"},
        "length": {"shape": [], "dtype": "int64"},
        "previous": {"shape": [TARGET], "dtype": "int64"},
    },
    "outputs": [VOCABULARY],
}
EVERY_KIND = pytest.mark.parametrize(
    "config",
    [
        {"attention": "additive"},
        {"attention": "dot", "cell": "lstm", "layers": 2},
        {"attention": "none"},
    ],
    ids=["additive", "dot", "none"],
)


def build(**config: Any) -> Any:
    torch.manual_seed(0)
    return ARCHITECTURE.build_model({"name": "seq2seq", "embedding": 5, "hidden": 8, **config}, SIGNATURE).eval()


def batch_of(lengths: list[int]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(3, VOCABULARY, (len(lengths), SOURCE), generator=generator)
    length = torch.tensor(lengths)
    source[torch.arange(SOURCE) >= length[:, None]] = PADDING
    previous = torch.randint(3, VOCABULARY, (len(lengths), TARGET), generator=generator)
    previous[:, 0] = START
    return {"source": source, "length": length, "previous": previous}


def test_additive_attention_is_bahdanaus_score() -> None:
    model = build(attention="additive")
    memory = model.begin(batch_of([6, 3])).memory
    states = torch.randn(2, TARGET, 8)
    weights = model.weights(states, memory)
    attention = model.attention
    for row, length in enumerate([6, 3]):
        for step in range(TARGET):
            query = attention.query.weight @ states[row, step] + attention.query.bias
            scores = torch.stack(
                [
                    attention.score.weight[0] @ torch.tanh(query + attention.key.weight @ memory.states[row, place])
                    for place in range(length)
                ]
            )
            torch.testing.assert_close(weights[row, step, :length], scores.softmax(0), rtol=1e-5, atol=1e-6)
    assert weights[1, :, 3:].sum() == 0


def test_dot_attention_is_torchs() -> None:
    model = build(attention="dot")
    memory = model.begin(batch_of([6, 3])).memory
    states = torch.randn(2, TARGET, 8)
    expected = F.scaled_dot_product_attention(
        states, memory.states, memory.states, attn_mask=~memory.padding[:, None], scale=1.0
    )
    torch.testing.assert_close(model.weights(states, memory) @ memory.states, expected, rtol=1e-5, atol=1e-6)


def test_without_attention_there_are_no_weights() -> None:
    model = build(attention="none")
    with pytest.raises(ValueError, match=r"set architecture\.attention to additive or dot"):
        model.weights(torch.randn(1, TARGET, 8), model.begin(batch_of([6])).memory)


@EVERY_KIND
def test_a_padded_source_answers_like_itself_alone(config: dict[str, Any]) -> None:
    model = build(**config)
    batch = batch_of([6, 2, 4])
    together = model(batch)
    for row, length in enumerate(batch["length"].tolist()):
        alone = {name: part[row : row + 1] for name, part in batch.items()} | {
            "source": batch["source"][row : row + 1, :length]
        }
        torch.testing.assert_close(together[row], model(alone)[0], rtol=1e-5, atol=1e-6)


@EVERY_KIND
def test_token_by_token_gives_the_logits_of_teacher_forcing(config: dict[str, Any]) -> None:
    model = build(**config)
    batch = batch_of([6, 2, 4])
    state = model.begin(batch)
    for place, tokens in enumerate(batch["previous"].unbind(1)):
        logits, state = model.step(tokens, state)
        torch.testing.assert_close(logits, model(batch)[:, place], rtol=1e-5, atol=1e-6)


@EVERY_KIND
def test_a_token_of_the_target_sees_none_after_it(config: dict[str, Any]) -> None:
    model = build(**config)
    batch = batch_of([6, 2])
    changed = batch["previous"].clone()
    changed[:, 3] = 3 + (changed[:, 3] - 2) % (VOCABULARY - 3)
    before, after = model(batch), model({**batch, "previous": changed})
    assert torch.equal(before[:, :3], after[:, :3]) and not torch.allclose(before[:, 3], after[:, 3])


@EVERY_KIND
def test_greedy_translation_is_what_the_model_says_of_it(config: dict[str, Any]) -> None:
    model = build(beams=1, **config)
    batch = batch_of([6, 2, 4])
    written = model.translate(batch)
    assert written.shape == (3, TARGET)
    previous = torch.cat([torch.full((3, 1), START), written[:, :-1]], dim=1)
    said = model({**batch, "previous": previous})[..., END:].argmax(-1) + END  # neither padding nor start
    ended = (written == END).cumsum(1) - (written == END).long() > 0
    assert torch.equal(written[~ended], said[~ended]) and bool((written[ended] == PADDING).all())


def test_translation_does_not_read_the_target() -> None:
    model = build(beams=3)
    batch = batch_of([6, 2])
    sources = {name: batch[name] for name in ("source", "length")}
    assert torch.equal(model.translate(batch), model.translate(sources))


def test_an_odd_width_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 2"):
        build(hidden=7)


@pytest.mark.parametrize("attention", ["additive", "dot"])
def test_it_learns_to_reverse(attention: str) -> None:
    torch.manual_seed(0)
    config = {"name": "seq2seq", "embedding": 16, "hidden": 48, "attention": attention, "beams": 2}
    module = ARCHITECTURE.build_module(config, SIGNATURE, {"total_steps": 200, "optimizer": {"lr": 1e-2}})
    optimizer = module.configure_optimizers()["optimizer"]
    generator = torch.Generator().manual_seed(2)

    def drawn(rows: int) -> dict[str, Tensor]:
        source = torch.randint(3, VOCABULARY, (rows, TARGET - 1), generator=generator)
        target = torch.cat([source.flip(1), torch.full((rows, 1), END)], dim=1)
        previous = torch.cat([torch.full((rows, 1), START), target[:, :-1]], dim=1)
        return {"source": source, "length": torch.full((rows,), TARGET - 1), "previous": previous, "target": target}

    for _ in range(200):
        optimizer.zero_grad()
        module.training_step(drawn(64), 0).backward()
        optimizer.step()
    module.eval()
    batch = drawn(200)
    assert (module.model.translate(batch) == batch["target"]).all(1).float().mean() > 0.9
