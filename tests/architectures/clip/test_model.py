"""CLIP against transformers' CLIPModel: parameters, embeddings, logits, loss, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from forgeline_architectures.beam_search import END
from forgeline_architectures.clip import ARCHITECTURE
from forgeline_architectures.clip.model import PLACES, TOKENS, Clip, load_clip, save_clip

VOCABULARY, CONTEXT = 20, 8
SMALL: dict[str, Any] = {
    "name": "clip",
    "vision_layers": 2, "vision_heads": 2, "vision_width": 16, "patch": 8,
    "text_layers": 2, "text_heads": 4, "text_width": 24,
    "projection": 12,
}  # fmt: skip


def signature(size: int = 16, vocabulary: int = VOCABULARY, context: int = CONTEXT) -> dict[str, Any]:
    return {
        "task": "retrieval",
        "inputs": {
            "image": {"shape": [3, size, size], "dtype": "float32"},
            "caption": {"shape": [context], "dtype": "int64"},
        },
        "outputs": [vocabulary],
    }


def build(**config: Any) -> Clip:
    torch.manual_seed(0)
    model = ARCHITECTURE.build_model({**SMALL, **config}, signature()).eval()
    assert isinstance(model, Clip)
    return model


def batch_of(rows: int = 5) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    caption = torch.randint(3, VOCABULARY - 1, (rows, CONTEXT), generator=generator)
    for row, end in enumerate(torch.randint(1, CONTEXT, (rows,), generator=generator).tolist()):
        caption[row, end], caption[row, end + 1 :] = END, 0
    return {"image": torch.randn(rows, 3, 16, 16, generator=generator), "caption": caption}


def reference(activation: str) -> Any:
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(2)
    text = {
        "hidden_size": 24, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "vocab_size": VOCABULARY, "max_position_embeddings": CONTEXT, "eos_token_id": VOCABULARY - 1,
        "bos_token_id": 1, "pad_token_id": 0, "hidden_act": activation,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": 16, "patch_size": 8, "hidden_act": activation,
    }  # fmt: skip
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).eval()


def swapped(numbers: Tensor) -> Tensor:
    """Our end token as theirs and the other way round: transformers pools elsewhere where the end token is 2."""
    return torch.where(numbers == END, VOCABULARY - 1, torch.where(numbers == VOCABULARY - 1, END, numbers))


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_equals_transformers_with_its_weights(activation: str) -> None:
    theirs, ours = reference(activation), build(activation=activation)
    state = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    state[TOKENS][END] = state[TOKENS][VOCABULARY - 1]
    load_clip(ours, state)
    batch = batch_of()
    with torch.no_grad():
        wanted = theirs(input_ids=swapped(batch["caption"]), pixel_values=batch["image"], return_loss=True)
        close = {"rtol": 1e-4, "atol": 1e-4}
        torch.testing.assert_close(ours.embed_images(batch["image"]), wanted.image_embeds, **close)
        torch.testing.assert_close(ours.embed_texts(batch["caption"]), wanted.text_embeds, **close)
        torch.testing.assert_close(ours(batch), wanted.logits_per_image, **close)
    module = ARCHITECTURE.build_module({**SMALL, "activation": activation}, signature(), {"total_steps": 1})
    load_clip(module.model, state)  # type: ignore[arg-type]
    loss = module.training_step({**batch, "target": torch.arange(5)}, 0)
    torch.testing.assert_close(loss, wanted.loss, **close)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_transformers_reads_what_we_write(activation: str, tmp_path: Path) -> None:
    from transformers import CLIPModel

    ours, batch = build(activation=activation), batch_of()
    batch["caption"][:, 0] = VOCABULARY - 1
    with torch.no_grad():
        ours.logit_scale.fill_(9.0)  # beyond the limit, which transformers does not have
        for name, parameter in ours.named_parameters():
            if name != "logit_scale":
                parameter.add_(0.1 * torch.randn_like(parameter))
    save_clip(ours, tmp_path)
    theirs, report = CLIPModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        wanted = theirs.eval()(input_ids=swapped(batch["caption"]), pixel_values=batch["image"])
        torch.testing.assert_close(ours.embed_images(batch["image"]), wanted.image_embeds, rtol=0, atol=1e-4)
        torch.testing.assert_close(ours.embed_texts(batch["caption"]), wanted.text_embeds, rtol=0, atol=1e-4)
        torch.testing.assert_close(ours(batch), wanted.logits_per_image, rtol=0, atol=1e-4)
    config = {**SMALL, "activation": activation, "pretrained": str(tmp_path)}
    again = ARCHITECTURE.build_module(config, signature(), {"total_steps": 1}).model.state_dict()
    state = ours.state_dict() | {"logit_scale": torch.tensor(100.0).log()}
    assert all(torch.equal(tensor, again[name]) for name, tensor in state.items())


def test_pictures_that_are_not_square_cannot_be_written(tmp_path: Path) -> None:
    wide = signature()
    wide["inputs"]["image"]["shape"] = [3, 16, 24]
    model = ARCHITECTURE.build_model(SMALL, wide)
    assert isinstance(model, Clip)
    with pytest.raises(ValueError, match=r"16x24 .*square; change architecture\.image_size"):
        save_clip(model, tmp_path)


def test_vit_b_32_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = ARCHITECTURE.build_model({"name": "clip"}, signature(224, 49_408, 77))
    assert sum(parameter.numel() for parameter in model.parameters()) == 151_277_313


def test_a_checkpoint_folder_is_read(tmp_path: Path) -> None:
    theirs = reference("quick_gelu")
    theirs.save_pretrained(tmp_path)
    config = {**SMALL, "pretrained": str(tmp_path)}
    module = ARCHITECTURE.build_module(config, signature(context=6), {"total_steps": 1})
    state, own = theirs.state_dict(), module.model.state_dict()
    assert set(own) == set(state) and torch.equal(own[PLACES], state[PLACES][:6])
    assert all(torch.equal(own[name], state[name]) for name in own if name not in (PLACES, TOKENS))
    assert torch.equal(own[TOKENS], state[TOKENS][swapped(torch.arange(VOCABULARY))]), (
        "each has its end in its own place"
    )
    other = ARCHITECTURE.build_module(config, signature(vocabulary=30), {"total_steps": 1}).model
    assert len(other.state_dict()[TOKENS]) == 30, "other words have a table of their own"
    assert torch.equal(other.get_parameter("logit_scale"), state["logit_scale"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_heads": 2}, r"text_heads is 2, the checkpoint's is 4; change architecture\.text_heads"),
        ({"activation": "gelu"}, r"activation is gelu, the checkpoint's is quick_gelu"),
    ],
)
def test_a_checkpoint_of_another_size_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    reference("quick_gelu").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        ARCHITECTURE.build_module({**SMALL, **change, "pretrained": str(tmp_path)}, signature(), {"total_steps": 1})


def test_weights_that_the_model_has_no_place_for_are_refused(tmp_path: Path) -> None:
    state = {name: tensor.clone() for name, tensor in reference("quick_gelu").state_dict().items()}
    file = tmp_path / "clip.safetensors"
    save_file(state | {"text_model.embeddings.position_ids": torch.arange(CONTEXT)[None]}, file)
    config = {**SMALL, "pretrained": str(file)}
    ARCHITECTURE.build_module(config, signature(), {"total_steps": 1})
    message = r"hold vision_model\.encoder\.layers\.1\.\S+ and 15 more .*change vision_layers or text_layers"
    with pytest.raises(ValueError, match=message):
        ARCHITECTURE.build_module({**config, "vision_layers": 1}, signature(), {"total_steps": 1})


def test_the_config_beside_a_file_is_compared(tmp_path: Path) -> None:
    reference("quick_gelu").save_pretrained(tmp_path)
    config = {**SMALL, "vision_heads": 4, "pretrained": str(tmp_path / "model.safetensors")}
    with pytest.raises(
        ValueError, match=r"vision_heads is 4, the checkpoint's is 2; change architecture\.vision_heads"
    ):
        ARCHITECTURE.build_module(config, signature(), {"total_steps": 1})


def test_pictures_of_another_size_are_refused_with_the_keys(tmp_path: Path) -> None:
    reference("quick_gelu").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"position_embedding.*change vision_layers, vision_width, patch"):
        ARCHITECTURE.build_module({**SMALL, "pretrained": str(tmp_path)}, signature(24), {"total_steps": 1})
    resized = {**SMALL, "pretrained": str(tmp_path), "image_size": 16}
    model = ARCHITECTURE.build_module(resized, signature(24), {"total_steps": 1}).model
    assert model.embed_images(torch.randn(2, 3, 24, 24)).shape == (2, 12)  # type: ignore[operator]


def test_what_stands_behind_the_end_changes_nothing() -> None:
    model, caption = build(), batch_of()["caption"]
    behind = (caption == END).cumsum(1) - (caption == END).long() > 0
    changed = torch.where(behind, 5, caption)
    assert not torch.equal(changed, caption)
    torch.testing.assert_close(model.embed_texts(changed), model.embed_texts(caption), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.embed_texts(caption).norm(dim=1), torch.ones(5))


def test_the_scale_has_a_limit() -> None:
    model = build()
    assert model.scale.item() == pytest.approx(1 / 0.07, rel=1e-5)
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    assert model.scale.item() == pytest.approx(100.0, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": 7}, r"patches of 7 pixels do not fill pictures of 16x16; change architecture\.patch"),
        ({"vision_heads": 3}, r"vision_heads 3 does not divide vision_width 16"),
        ({"text_heads": 5}, r"change architecture\.text_heads"),
    ],
)
def test_sizes_that_do_not_fit_name_the_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ARCHITECTURE.check({**SMALL, **change}, signature())
