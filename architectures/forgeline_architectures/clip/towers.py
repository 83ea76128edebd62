"""The two transformers of CLIP, with the parameter names of transformers' CLIPModel.

Blocks have their norms first, as GPT-2's and the vision transformer's; attention of the text looks back only.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.beam_search import END

NORM_EPSILON = 1e-5  # of the authors' code


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x): Hendrycks & Gimpel 2016 (arXiv:1606.08415), section 2."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"quick_gelu": quick_gelu, "gelu": F.gelu}


class Attention(nn.Module):
    """Multi-head self-attention: Vaswani et al. 2017 (arXiv:1706.03762), section 3.2.2."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q_proj, self.k_proj, self.v_proj)
        )  # [batch, heads, tokens, width of a head]
        looked = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        out: Tensor = self.out_proj(looked.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """Two linear layers, the inner one four times as wide."""

    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        out: Tensor = self.fc2(self.activation(self.fc1(x)))
        return out


class Block(nn.Module):
    """Attention and feed-forward layer, each after a norm and beside a residual path."""

    def __init__(self, width: int, heads: int, activation: str, *, causal: bool) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(width, NORM_EPSILON)
        self.self_attn = Attention(width, heads, causal=causal)
        self.layer_norm2 = nn.LayerNorm(width, NORM_EPSILON)
        self.mlp = FeedForward(width, activation)

    def forward(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        x = x + self.self_attn(self.layer_norm1(x))
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out


class Encoder(nn.Module):
    """Blocks on top of each other."""

    def __init__(self, width: int, layers: int, heads: int, activation: str, *, causal: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(width, heads, activation, causal=causal) for _ in range(layers))
        # The authors' code (`initialize_parameters`): the residual path keeps its scale over depth.
        deep = width**-0.5 * (2 * layers) ** -0.5
        for block in self.layers:
            assert isinstance(block, Block)
            attention, mlp = block.self_attn, block.mlp
            for part in (attention.q_proj, attention.k_proj, attention.v_proj):
                nn.init.normal_(part.weight, std=width**-0.5)
            nn.init.normal_(attention.out_proj.weight, std=deep)
            nn.init.normal_(mlp.fc1.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(mlp.fc2.weight, std=deep)
            for linear in (*attention.children(), mlp.fc1, mlp.fc2):
                nn.init.zeros_(linear.bias)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        for block in self.layers:
            x = block(x)
        return x


class VisionEmbeddings(nn.Module):
    """Patches as vectors, with the class's before them and a learned one added for each place."""

    def __init__(self, channels: int, size: tuple[int, int], patch: int, width: int) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.patch_embedding = nn.Conv2d(channels, width, patch, stride=patch, bias=False)
        self.position_embedding = nn.Embedding(1 + size[0] // patch * (size[1] // patch), width)
        nn.init.normal_(self.class_embedding, std=width**-0.5)
        nn.init.normal_(self.position_embedding.weight, std=width**-0.5)

    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch tokens features"]:
        patches = self.patch_embedding(image).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(image.shape[0], 1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embedding.weight


class VisionTower(nn.Module):
    """The vision transformer: Dosovitskiy et al. 2021 (arXiv:2010.11929), with one more norm before its blocks."""

    def __init__(
        self, channels: int, size: tuple[int, int], *, patch: int, width: int, layers: int, heads: int, activation: str
    ) -> None:
        super().__init__()
        self.embeddings = VisionEmbeddings(channels, size, patch, width)
        self.pre_layrnorm = nn.LayerNorm(width, NORM_EPSILON)  # misspelt in the published weights
        self.encoder = Encoder(width, layers, heads, activation, causal=False)
        self.post_layernorm = nn.LayerNorm(width, NORM_EPSILON)

    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        states = self.encoder(self.pre_layrnorm(self.embeddings(image)))
        out: Tensor = self.post_layernorm(states[:, 0])
        return out


class TextEmbeddings(nn.Module):
    """Tokens as vectors, with a learned one added for each place."""

    def __init__(self, vocabulary: int, context: int, width: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.position_embedding = nn.Embedding(context, width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding.weight, std=0.01)

    def forward(self, tokens: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens features"]:
        out: Tensor = self.token_embedding(tokens) + self.position_embedding.weight[: tokens.shape[1]]
        return out


class TextTower(nn.Module):
    """A transformer that looks back only; a text is what is seen from its end token."""

    def __init__(self, vocabulary: int, context: int, *, width: int, layers: int, heads: int, activation: str) -> None:
        super().__init__()
        self.embeddings = TextEmbeddings(vocabulary, context, width)
        self.encoder = Encoder(width, layers, heads, activation, causal=True)
        self.final_layer_norm = nn.LayerNorm(width, NORM_EPSILON)

    def states(self, tokens: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens features"]:
        """What is seen from every token."""
        out: Tensor = self.final_layer_norm(self.encoder(self.embeddings(tokens)))
        return out

    def forward(self, tokens: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch features"]:
        states = self.states(tokens)
        # Nothing looks ahead, so padding behind the end changes nothing.
        ends = (tokens == END).int().argmax(dim=1)
        out: Tensor = states[torch.arange(tokens.shape[0], device=tokens.device), ends]
        return out
