"""Config of the progressive GAN: its two networks, its loss, and when it grows."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, NonNegativeFloat, PositiveInt

from forgeline_architectures.adversarial.resolutions import check_resolutions
from forgeline_architectures.descriptor import ArchitectureConfig
from forgeline_architectures.signature import Signature


class Growth(NamedTuple):
    """How far the networks have grown.

    Attributes:
        stage: from 0; pictures have 4 x 2^stage pixels a side.
        share: of the newest layers in what is made and judged, above 0 and at most 1.
    """

    stage: int
    share: float


class ProgressiveGANConfig(ArchitectureConfig):
    """Size of the networks, loss, and length of the stages; the size of the pictures comes from the data."""

    name: Literal["progressive_gan"] = Field(default="progressive_gan", description="The model's name.")
    latent: PositiveInt = Field(default=512, description="Numbers of the noise that a sample is made of.")
    widths: tuple[PositiveInt, ...] = Field(
        default=(512, 512, 512, 512),
        min_length=2,
        description="Channels at 4x4 pixels, 8x8, and so on up to the size of the pictures; of both networks.",
    )
    loss: Literal["wgan_gp", "non_saturating"] = Field(
        default="wgan_gp", description="Wasserstein's loss with gradient penalty, or the non-saturating one with R1."
    )
    penalty: NonNegativeFloat = Field(
        default=10.0, description="Weight of the gradient penalty or of R1; 0 goes without it."
    )
    stage_steps: PositiveInt = Field(
        default=1000, description="Steps at each resolution; those that are left over are the last one's."
    )
    fade: float = Field(
        default=0.5, ge=0, le=1, description="Share of a stage's steps over which its new layers are faded in."
    )

    @property
    def stages(self) -> int:
        """Resolutions that the networks go through."""
        return len(self.widths)

    @property
    def grown_at(self) -> int:
        """Steps after which all layers are there in full."""
        return (self.stages - 1) * self.stage_steps + round(self.fade * self.stage_steps)

    def growth(self, step: int) -> Growth:
        """How far the networks have grown in a step, counted from 0."""
        stage = min(step // self.stage_steps, self.stages - 1)
        fading = round(self.fade * self.stage_steps) if stage else 0
        within = step - stage * self.stage_steps
        return Growth(stage, min(1.0, (within + 1) / fading) if fading else 1.0)

    def check(self, signature: Signature) -> None:
        """Compare model and data.

        Raises:
            ValueError: the pictures are not square, or not of the size that the stages lead to.
        """
        check_resolutions(self.widths, signature)

    def check_run(self, *, total_steps: int, pretrained: bool) -> None:
        """Refuse a run that ends before the networks are grown; a trained model may be grown already.

        Raises:
            ValueError: it does.
        """
        if not pretrained and total_steps < self.grown_at:
            raise ValueError(
                f"{total_steps} steps end before the networks are grown: the last of the {self.stages} stages is faded "
                f"in after {self.grown_at}; change trainer.steps or architecture.stage_steps"
            )
