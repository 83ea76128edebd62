"""Checkpoints of diffusers, both ways: what it writes is loaded, what is written it loads, and the same comes out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DDPMPipeline, UNet2DConditionModel, UNet2DModel

from forgeline_architectures.ddpm import ARCHITECTURE as DDPM
from forgeline_architectures.ddpm.model import save_ddpm
from forgeline_architectures.latent_diffusion import ARCHITECTURE as LATENT
from forgeline_architectures.latent_diffusion.model import save_latent_diffusion

IMAGE = {"image": {"shape": [3, 8, 8], "dtype": "float32"}}
PICTURES = {"task": "generation", "inputs": IMAGE, "outputs": [3, 8, 8]}
CAPTIONED = {
    "task": "generation",
    "inputs": IMAGE | {"caption": {"shape": [6], "dtype": "int64"}},
    "outputs": [3, 8, 8],
    "conditions": {"caption": 11},
}
SMALL_DDPM: dict[str, Any] = {"name": "ddpm", "widths": [8, 16], "blocks": 1, "attention": [], "groups": 4}
SMALL_LATENT: dict[str, Any] = {
    "name": "latent_diffusion", "widths": [8, 16], "blocks": 1, "attention": [], "heads": 2, "groups": 4,
    "autoencoder_widths": [8, 8], "autoencoder_blocks": 1, "autoencoder_steps": 0,
    "text_layers": 1, "text_heads": 2, "text_width": 16,
}  # fmt: skip


def ddpm(**config: Any) -> Any:
    options = {"total_steps": 1}
    return DDPM.build_module({**SMALL_DDPM, **config}, PICTURES, options).model.eval()


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A pipeline as diffusers writes it, with another network than a seed of ours gives."""
    torch.manual_seed(7)
    save_ddpm(ddpm(), tmp_path / "written")
    read = DDPMPipeline.from_pretrained(tmp_path / "written")
    read.save_pretrained(tmp_path / "pipeline")
    return tmp_path / "pipeline"


def test_diffusers_says_the_same_as_the_model_that_was_written(tmp_path: Path) -> None:
    model = ddpm(timesteps=100)
    save_ddpm(model, tmp_path)
    read = DDPMPipeline.from_pretrained(tmp_path)
    noisy, time = torch.randn(2, 3, 8, 8), torch.tensor([3, 90])
    with torch.no_grad():
        theirs = read.unet(noisy, time).sample
        torch.testing.assert_close(model.predict(noisy, time, {}), theirs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.schedule.signal[1:], read.scheduler.alphas_cumprod.sqrt(), rtol=1e-4, atol=1e-6)
    assert read(batch_size=1, num_inference_steps=2, output_type="np").images.shape == (1, 8, 8, 3)


@pytest.mark.parametrize("part", ["", "unet"])
def test_a_network_of_diffusers_is_started_from(pipeline: Path, part: str) -> None:
    model = ddpm(pretrained=str(pipeline / part))
    theirs = UNet2DModel.from_pretrained(pipeline, subfolder="unet")
    noisy, time = torch.randn(2, 3, 8, 8), torch.tensor([3, 900])
    with torch.no_grad():
        torch.testing.assert_close(model.predict(noisy, time, {}), theirs(noisy, time).sample, rtol=1e-4, atol=1e-4)


def test_an_old_pipeline_of_one_network_has_its_files_side_by_side(pipeline: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(pipeline / "unet", old)
    shutil.copy(pipeline / "scheduler" / "scheduler_config.json", old)
    torch.testing.assert_close(ddpm(pretrained=str(old)).state_dict(), ddpm(pretrained=str(pipeline)).state_dict())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"groups": 8}, r"norm_num_groups of the model is 8, the checkpoint's is 4; change architecture\.groups"),
        ({"widths": [8, 24]}, r"has the shape .*the model needs .*change the sizes of the architecture"),
        ({"blocks": 2}, r"is missing, the model needs .*change the sizes"),
        ({"schedule": "cosine"}, r"beta_schedule of the model is squaredcos_cap_v2.*change architecture\.schedule"),
        ({"prediction": "v"}, r"prediction_type .*v_prediction.*epsilon; change architecture\.prediction"),
        ({"timesteps": 100}, r" of the model is .*, the checkpoint's is .*; change architecture\."),
    ],
)
def test_a_checkpoint_of_another_network_or_noise_is_refused(pipeline: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ddpm(pretrained=str(pipeline), **change)


def test_weights_that_have_no_place_are_refused(tmp_path: Path) -> None:
    save_ddpm(ddpm(blocks=2), tmp_path)
    with pytest.raises(ValueError, match="which the model has no place for|has the shape"):
        ddpm(pretrained=str(tmp_path))


def test_pickles_are_not_read(pipeline: Path) -> None:
    weights = pipeline / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ValueError, match=r"is not a readable \.safetensors file"):
        ddpm(pretrained=str(pipeline))


def test_parts_of_stable_diffusion_both_ways(tmp_path: Path) -> None:
    def built(**config: Any) -> Any:
        return LATENT.build_module({**SMALL_LATENT, **config}, CAPTIONED, {"total_steps": 1}).model.eval()

    model = built()
    model.deviation.fill_(4.0)
    save_latent_diffusion(model, tmp_path)
    network = UNet2DConditionModel.from_pretrained(tmp_path, subfolder="unet")
    autoencoder = AutoencoderKL.from_pretrained(tmp_path, subfolder="vae")
    assert autoencoder.config.scaling_factor == pytest.approx(0.25)
    assert DDIMScheduler.from_pretrained(tmp_path, subfolder="scheduler").config.beta_schedule == "scaled_linear"
    pictures, time, text = torch.rand(2, 3, 8, 8), torch.tensor([3, 900]), torch.randn(2, 6, 16)
    with torch.no_grad():
        latents = autoencoder.encode(pictures).latent_dist.mean * 0.25
        torch.testing.assert_close(model.latents(pictures), latents, rtol=1e-4, atol=1e-4)
        said = network(latents, time, encoder_hidden_states=text).sample
        torch.testing.assert_close(model.predict(latents, time, {"text": text}), said, rtol=1e-4, atol=1e-4)

        again = built(pretrained=str(tmp_path))
        torch.testing.assert_close(again.latents(pictures), latents, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(again.predict(latents, time, {"text": text}), said, rtol=1e-4, atol=1e-4)

    config = json.loads((tmp_path / "vae" / "config.json").read_text())
    del config["scaling_factor"]  # Stable Diffusion 1's own config is from before there was one
    (tmp_path / "vae" / "config.json").write_text(json.dumps(config))
    assert built(pretrained=str(tmp_path)).deviation.item() == pytest.approx(1 / 0.18215)
