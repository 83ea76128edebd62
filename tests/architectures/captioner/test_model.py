"""The captioner: what the decoder looks at, teacher forcing, and a caption that depends on the picture alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from forgeline_architectures.beam_search import START
from forgeline_architectures.captioner import ARCHITECTURE

TARGET, VOCABULARY = 5, 9
RESNET: dict[str, Any] = {"name": "resnet10t", "options": {"channels": [8, 8, 16, 16]}}
EVERY_KIND = pytest.mark.parametrize(
    "config",
    [{"attention": "additive"}, {"attention": "dot", "cell": "gru", "layers": 2}, {"attention": "none"}],
    ids=["additive", "dot", "none"],
)


def signature(size: int = 32) -> dict[str, Any]:
    return {
        "task": "translation",
        "inputs": {
            "image": {"shape": [3, size, size], "dtype": "float32"},
            "previous": {"shape": [TARGET], "dtype": "int64"},
        },
        "outputs": [VOCABULARY],
    }


def build(size: int = 32, **config: Any) -> Any:
    torch.manual_seed(0)
    settings = {"name": "captioner", "encoder": RESNET, "embedding": 5, "hidden": 8, **config}
    return ARCHITECTURE.build_model(settings, signature(size)).eval()


def batch_of(rows: int = 3, size: int = 32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    previous = torch.randint(3, VOCABULARY, (rows, TARGET), generator=generator)
    previous[:, 0] = START
    return {"image": torch.randn(rows, 3, size, size, generator=generator), "previous": previous}


def test_the_cells_of_the_map_are_seen_row_by_row() -> None:
    model, batch = build(64), batch_of(size=64)
    features = model.encoder.network.forward_features(batch["image"])
    assert features.shape == (3, 16, 2, 2) and model.places.shape == (4, 8)
    parts = model.parts(batch)
    assert torch.equal(parts[:, 1], features[:, :, 0, 1]) and torch.equal(parts[:, 2], features[:, :, 1, 0])


def test_a_vision_transformer_and_a_network_with_channels_last_are_seen_too() -> None:
    for encoder, parts in (
        ({"name": "vit_tiny_patch16_224", "options": {"depth": 1, "embed_dim": 12, "num_heads": 2}}, 5),
        (
            {
                "name": "swin_tiny_patch4_window7_224",
                "options": {"depths": [1, 1], "embed_dim": 8, "num_heads": [1, 1]},
            },
            16,
        ),
    ):
        model = build(encoder=encoder)
        assert model.places.shape[0] == parts and model(batch_of()).shape == (3, TARGET, VOCABULARY)


def test_building_leaves_no_trace_in_the_statistics() -> None:
    model = build()
    batches = [value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")]
    assert batches and not any(batches)


@EVERY_KIND
def test_token_by_token_gives_the_logits_of_teacher_forcing(config: dict[str, Any]) -> None:
    model, batch = build(**config), batch_of()
    state = model.begin(batch)
    for place, tokens in enumerate(batch["previous"].unbind(1)):
        logits, state = model.step(tokens, state)
        torch.testing.assert_close(logits, model(batch)[:, place], rtol=1e-5, atol=1e-6)


@EVERY_KIND
def test_every_parameter_is_trained(config: dict[str, Any]) -> None:
    settings = {"name": "captioner", "encoder": RESNET, "embedding": 5, "hidden": 8, **config}
    module = ARCHITECTURE.build_module(settings, signature(), {"total_steps": 1})
    module.training_step({**batch_of(), "target": batch_of()["previous"]}, 0).backward()
    unused = [name for name, parameter in module.model.named_parameters() if parameter.grad is None]
    assert unused == [], "DDP would wait for them"


def test_the_caption_is_of_the_picture_alone() -> None:
    model, batch = build(beams=3), batch_of()
    written = model.translate(batch)
    assert written.shape == (3, TARGET)
    alone = [model.translate({"image": batch["image"][row : row + 1]})[0] for row in range(3)]
    assert torch.equal(written, torch.stack(alone))


def test_pretrained_weights_are_the_encoders(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    donor = build()
    weights = {name: tensor.contiguous() for name, tensor in donor.encoder.network.state_dict().items()}
    weights |= {"fc.weight": torch.zeros(1000, 16), "fc.bias": torch.zeros(1000)}  # timm reads a whole network
    save_file(weights, tmp_path / "net.safetensors")
    encoder = {**RESNET, "pretrained": str(tmp_path / "net.safetensors")}
    torch.manual_seed(5)
    config = {"name": "captioner", "encoder": encoder, "embedding": 5, "hidden": 8}
    module = ARCHITECTURE.build_module(config, signature(), {"total_steps": 1})
    own = module.model.state_dict()
    assert all(torch.equal(own[f"encoder.network.{name}"], weights[name]) for name in weights if name[:2] != "fc")


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ({"name": "resnet10x"}, "timm has no model 'resnet10x'"),
        ({"name": "resnet10t", "in_channels": 1}, r"in_channels is 1 and the data's pictures have 3"),
        ({"name": "resnet10t", "dropout": 0.1}, r"set architecture\.encoder\.dropout"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(encoder: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ARCHITECTURE.check({"name": "captioner", "encoder": encoder}, signature())


def test_pairs_of_texts_are_refused() -> None:
    inputs = {"previous": {"shape": [TARGET], "dtype": "int64"}}
    with pytest.raises(ValueError, match=r"reads the input `image`.*change data\.name"):
        ARCHITECTURE.check({"name": "captioner"}, {**signature(), "inputs": inputs})
