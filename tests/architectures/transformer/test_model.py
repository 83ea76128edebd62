"""The Transformer: torch's outputs with the same weights, the published size, padding, causality, search."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from forgeline_architectures.beam_search import END, PADDING, START
from forgeline_architectures.transformer import ARCHITECTURE

SOURCE, TARGET, VOCABULARY, WIDTH = 6, 5, 9, 8
SMALL = {"name": "transformer", "layers": 2, "heads": 2, "width": WIDTH, "feed_forward": 12}
EVERY_KIND = pytest.mark.parametrize(
    "config",
    [{}, {"norm": "before", "positions": "learned"}, {"shared": False}],
    ids=["published", "learned places, norm before", "tables of their own"],
)


def signature(vocabulary: int = VOCABULARY, source: int = SOURCE, target: int = TARGET) -> dict[str, Any]:
    return {
        "task": "translation",
        "inputs": {
            "source": {"shape": [source], "dtype": "int64"},
            "length": {"shape": [], "dtype": "int64"},
            "previous": {"shape": [target], "dtype": "int64"},
        },
        "outputs": [vocabulary],
    }


def build(**config: Any) -> Any:
    torch.manual_seed(0)
    return ARCHITECTURE.build_model(SMALL | config, signature()).eval()


def batch_of(lengths: list[int]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(3, VOCABULARY, (len(lengths), SOURCE), generator=generator)
    length = torch.tensor(lengths)
    source[torch.arange(SOURCE) >= length[:, None]] = PADDING
    previous = torch.randint(3, VOCABULARY, (len(lengths), TARGET), generator=generator)
    previous[:, 0] = START
    return {"source": source, "length": length, "previous": previous}


def copy_from_torch(model: Any, theirs: nn.Transformer) -> None:
    """torch keeps query, key and value of an attention in one matrix."""

    def attention(ours: Any, their: Any) -> None:
        for kind in ("weight", "bias"):
            query, key_value = getattr(their, f"in_proj_{kind}").split([WIDTH, 2 * WIDTH])
            getattr(ours.query, kind).copy_(query)
            getattr(ours.key_value, kind).copy_(key_value)
        ours.out.load_state_dict(their.out_proj.state_dict())

    def rest(ours: Any, their: Any, norms: list[str]) -> None:
        ours.feed_forward[0].load_state_dict(their.linear1.state_dict())
        ours.feed_forward[3].load_state_dict(their.linear2.state_dict())
        for number, name in enumerate(norms, start=1):
            getattr(ours, name).norm.load_state_dict(getattr(their, f"norm{number}").state_dict())

    with torch.no_grad():
        for ours, their in zip(model.encoder, theirs.encoder.layers, strict=True):
            attention(ours.attention, their.self_attn)
            rest(ours, their, ["around_attention", "around_feed_forward"])
        for ours, their in zip(model.decoder, theirs.decoder.layers, strict=True):
            attention(ours.attention, their.self_attn)
            attention(ours.source_attention, their.multihead_attn)
            rest(ours, their, ["around_attention", "around_source_attention", "around_feed_forward"])
        model.encoder_norm.load_state_dict(theirs.encoder.norm.state_dict())
        model.decoder_norm.load_state_dict(theirs.decoder.norm.state_dict())


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors", "ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("norm", ["after", "before"])
def test_it_equals_torchs_transformer(norm: str) -> None:
    torch.manual_seed(2)
    theirs = nn.Transformer(WIDTH, 2, 2, 2, 12, norm_first=norm == "before", batch_first=True).eval()
    with torch.no_grad():  # norms and biases are not to be told from their first values else
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model = build(norm=norm)
    copy_from_torch(model, theirs)
    batch = batch_of([6, 2, 4])
    table = model.source.weight
    padding = torch.arange(SOURCE) >= batch["length"][:, None]
    causal = nn.Transformer.generate_square_subsequent_mask(TARGET, dtype=torch.bool)
    with torch.no_grad():
        wanted = theirs(
            math.sqrt(WIDTH) * table[batch["source"]] + model.waves[:SOURCE],
            math.sqrt(WIDTH) * table[batch["previous"]] + model.waves[:TARGET],
            tgt_mask=causal,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        torch.testing.assert_close(model(batch), wanted @ table.T, rtol=0, atol=1e-4)
    assert wanted.std() > 0.1


def test_the_base_model_has_the_published_size() -> None:
    with torch.device("meta"):
        model = ARCHITECTURE.build_model({"name": "transformer"}, signature(vocabulary=37_000))
    table = 37_000 * 512
    assert sum(parameter.numel() for parameter in model.parameters()) == 44_140_544 + table


def test_waves_are_the_papers() -> None:
    waves = build().waves
    for place in (0, 1, 5):
        for index in (0, 1, 3):
            angle = place / 10_000 ** (2 * index / WIDTH)
            assert waves[place, 2 * index].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert waves[place, 2 * index + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


@EVERY_KIND
def test_a_padded_source_answers_like_itself_alone(config: dict[str, Any]) -> None:
    model = build(**config)
    batch = batch_of([6, 2, 4])
    together = model(batch)
    for row, length in enumerate(batch["length"].tolist()):
        alone = {name: part[row : row + 1] for name, part in batch.items()} | {
            "source": batch["source"][row : row + 1, :length]
        }
        torch.testing.assert_close(together[row], model(alone)[0], rtol=1e-5, atol=1e-5)


@EVERY_KIND
def test_token_by_token_gives_the_logits_of_teacher_forcing(config: dict[str, Any]) -> None:
    model = build(**config)
    batch = batch_of([6, 2, 4])
    state = model.begin(batch)
    for place, tokens in enumerate(batch["previous"].unbind(1)):
        logits, state = model.step(tokens, state)
        torch.testing.assert_close(logits, model(batch)[:, place], rtol=1e-5, atol=1e-5)


@EVERY_KIND
def test_a_token_of_the_target_sees_none_after_it(config: dict[str, Any]) -> None:
    model = build(**config)
    batch = batch_of([6, 2])
    changed = batch["previous"].clone()
    changed[:, 3] = 3 + (changed[:, 3] - 2) % (VOCABULARY - 3)
    before, after = model(batch), model({**batch, "previous": changed})
    torch.testing.assert_close(before[:, :3], after[:, :3], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(before[:, 3], after[:, 3])


@EVERY_KIND
def test_chosen_rows_go_on_as_they_would_alone(config: dict[str, Any]) -> None:
    model = build(**config)
    batch = batch_of([6, 2, 4])
    _, state = model.step(batch["previous"][:, 0], model.begin(batch))
    rows = torch.tensor([2, 0, 2])
    chosen, _ = model.step(batch["previous"][rows, 1], model.select(state, rows))
    every, _ = model.step(batch["previous"][:, 1], state)
    torch.testing.assert_close(chosen, every[rows], rtol=1e-5, atol=1e-6)


def test_shared_tables_are_stored_once() -> None:
    shared, own = build(), build(shared=False)
    tables = [name for name in shared.state_dict() if name.split(".")[0] in ("source", "target", "head")]
    assert tables == ["source.weight"]
    assert {"source.weight", "target.weight", "head.weight"} <= set(own.state_dict())


@pytest.mark.parametrize(("heads", "width"), [(3, 8), (2, 9)])
def test_a_width_that_does_not_fit_is_refused(heads: int, width: int) -> None:
    with pytest.raises(ValueError, match="heads must divide width|multiple of 2"):
        build(heads=heads, width=width)


def test_it_learns_to_copy() -> None:
    torch.manual_seed(0)
    config = {**SMALL, "width": 32, "feed_forward": 64, "dropout": 0.0, "norm": "before", "beams": 2}
    options = {"total_steps": 150, "label_smoothing": 0.1}
    optimizer_options = {"lr": 5e-3, "schedule": "inverse_sqrt", "warmup": "20step"}
    module = ARCHITECTURE.build_module(config, signature(), options | {"optimizer": optimizer_options})
    configured = module.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    generator = torch.Generator().manual_seed(2)

    def drawn(rows: int) -> dict[str, Tensor]:
        source = torch.randint(3, VOCABULARY, (rows, TARGET - 1), generator=generator)
        target = torch.cat([source, torch.full((rows, 1), END)], dim=1)
        previous = torch.cat([torch.full((rows, 1), START), target[:, :-1]], dim=1)
        return {"source": source, "length": torch.full((rows,), TARGET - 1), "previous": previous, "target": target}

    for _ in range(150):
        optimizer.zero_grad()
        module.training_step(drawn(64), 0).backward()
        optimizer.step()
        scheduler.step()
    module.eval()
    batch = drawn(200)
    assert (module.model.translate(batch) == batch["target"]).all(1).float().mean() > 0.9
