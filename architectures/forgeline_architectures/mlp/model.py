"""The perceptron. Every input is flattened and joined to one vector; categories come in through embeddings."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from forgeline_architectures.mlp.config import MLPConfig
from forgeline_architectures.signature import Signature

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
DENSE_INPUTS = ("numeric", "image", "series")


def embedding_width(values: int) -> int:
    """Width of the embedding of a column with so many values.

    fastai's rule, min(600, 1.6 n^0.56) (`emb_sz_rule`), fitted to many tabular tasks; the idea of learnt category
    embeddings is Guo & Berkhahn 2016 (arXiv:1604.06737).
    """
    return min(600, round(1.6 * math.pow(values, 0.56)))


class HiddenLayer(nn.Module):
    """Linear, normalisation, non-linearity, dropout; with the input added where residual (He et al. 2016)."""

    def __init__(self, width_in: int, width: int, config: MLPConfig, *, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.linear = nn.Linear(width_in, width)
        self.norm = NORMS[config.norm](width) if config.norm != "none" else nn.Identity()
        self.activation = ACTIVATIONS[config.activation]()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "batch width_in"]) -> Float[Tensor, "batch width"]:
        out: Tensor = self.dropout(self.activation(self.norm(self.linear(x))))
        return x + out if self.residual else out


class MLP(nn.Module):
    """Multi-layer perceptron over one flat vector per sample."""

    def __init__(self, config: MLPConfig, signature: Signature) -> None:
        super().__init__()
        self.dense_inputs = [name for name in DENSE_INPUTS if name in signature.inputs]
        self.output_shape = signature.outputs
        self.embeddings = nn.ModuleList(
            nn.Embedding(values, config.embedding or embedding_width(values)) for values in signature.cardinalities
        )
        width = sum(math.prod(signature.inputs[name].shape) for name in self.dense_inputs)
        width += sum(table.embedding_dim for table in self.embeddings if isinstance(table, nn.Embedding))
        outputs = math.prod(signature.outputs)
        # The linear path beside the hidden layers: Wide & Deep, Cheng et al. 2016 (arXiv:1606.07792).
        self.wide = nn.Linear(width, outputs, bias=False) if config.wide else None
        layers = []
        for index, hidden in enumerate(config.hidden):
            layers.append(HiddenLayer(width, hidden, config, residual=config.residual and index > 0))
            width = hidden
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(width, outputs)

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, batch * output]:
        x = self.joined(batch)
        out: Tensor = self.head(self.hidden(x))
        if self.wide is not None:
            out = out + self.wide(x)
        return out.view(-1, *self.output_shape) if len(self.output_shape) > 1 else out

    def penultimate(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch width"]:
        """What the last layer reads, without the wide path: an embedding of each sample."""
        out: Tensor = self.hidden(self.joined(batch))
        return out

    def joined(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch width"]:
        """All inputs of a batch as one vector per sample."""
        parts = [batch[name].flatten(1) for name in self.dense_inputs]
        if len(self.embeddings) > 0:
            columns = batch["categorical"].unbind(1)
            parts += [table(column) for table, column in zip(self.embeddings, columns, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def build_model(config: MLPConfig, signature: Signature) -> MLP:
    """The model with fresh weights."""
    return MLP(config, signature)
