"""A recurrent cell over a series, optionally read in windows, with series of varying length packed."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from forgeline_architectures.recurrent.config import Cell, RecurrentConfig
from forgeline_architectures.signature import Signature

CELLS: dict[Cell, type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
GATES: dict[Cell, int] = {"rnn": 1, "lstm": 4, "gru": 3}
FORGET_BIAS = 1.0


class Recurrent(nn.Module):
    """A recurrent network whose pooled state answers through one linear layer."""

    def __init__(self, config: RecurrentConfig, signature: Signature) -> None:
        super().__init__()
        self.window = config.window
        self.stride = config.stride or config.window
        self.pooling = config.pooling
        self.output_shape = signature.outputs
        plain = {"nonlinearity": config.nonlinearity or "tanh"} if config.name == "rnn" else {}
        self.rnn = CELLS[config.name](
            signature.inputs["series"].shape[1] * config.window,
            config.hidden,
            num_layers=config.layers,
            batch_first=True,
            bidirectional=config.bidirectional,
            dropout=config.dropout if config.layers > 1 else 0.0,
            **plain,
        )
        width = config.hidden * (2 if config.bidirectional else 1)
        self.norm = nn.LayerNorm(width) if config.norm else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(width, math.prod(signature.outputs))
        _initialise(self.rnn, config)

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, batch * output]:
        out: Tensor = self.head(self.dropout(self.penultimate(batch)))
        return out.view(-1, *self.output_shape) if len(self.output_shape) > 1 else out

    def penultimate(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch width"]:
        """What the last layer reads, before dropout: an embedding of each series."""
        steps = self.windows(batch["series"])
        length = batch.get("length")
        pooled = self.pooled(steps) if length is None else self.pooled_packed(steps, self.step_count(length))
        out: Tensor = self.norm(pooled)
        return out

    def windows(self, series: Float[Tensor, "batch time channels"]) -> Float[Tensor, "batch steps features"]:
        """The series cut into windows; the last one is filled up with zeros."""
        if self.window == self.stride == 1:
            return series
        missing = (self.window - series.shape[1]) % self.stride if series.shape[1] > self.window else 0
        padded = nn.functional.pad(series, (0, 0, 0, missing))
        return padded.unfold(1, self.window, self.stride).flatten(2)

    def step_count(self, length: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Windows that hold at least one true point, given the points of each series."""
        beyond_first = (length - self.window).clamp(min=0)
        return 1 + (beyond_first + self.stride - 1) // self.stride

    def pooled(self, steps: Float[Tensor, "batch steps features"]) -> Float[Tensor, "batch width"]:
        """One vector per series, all of one length."""
        states: Tensor
        states, last = self.rnn(steps)
        match self.pooling:
            case "last":
                return self._last(last)
            case "mean":
                return states.mean(1)
            case _:
                return states.amax(1)

    def pooled_packed(
        self, steps: Float[Tensor, "batch steps features"], counts: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch width"]:
        """One vector per series, each read to its own end."""
        packed = pack_padded_sequence(steps, counts.cpu(), batch_first=True, enforce_sorted=False)
        outputs, last = self.rnn(packed)
        if self.pooling == "last":
            return self._last(last)
        states, _ = pad_packed_sequence(outputs, batch_first=True)
        position = torch.arange(states.shape[1], device=states.device)
        padding: Bool[Tensor, "batch steps 1"] = (position >= counts[:, None]).unsqueeze(-1)
        if self.pooling == "mean":
            return states.masked_fill(padding, 0.0).sum(1) / counts[:, None]
        return states.masked_fill(padding, -math.inf).amax(1)

    def _last(self, last: Tensor | tuple[Tensor, Tensor]) -> Float[Tensor, "batch width"]:
        """State at the end of the last layer's reading, both directions joined."""
        state = last[0] if isinstance(last, tuple) else last
        return torch.cat([state[-2], state[-1]], dim=1) if self.rnn.bidirectional else state[-1]


def _initialise(rnn: nn.RNNBase, config: RecurrentConfig) -> None:
    """Orthogonal recurrent weights, Glorot input weights, zero biases, and the LSTM's forget gate open.

    Orthogonal: Saxe et al. 2014 (arXiv:1312.6120). Glorot & Bengio 2010. Forget bias of 1: Jozefowicz et al. 2015,
    section 5 (Gers et al. 2000 before them). torch adds two biases per gate, in the order input, forget, cell, output.
    """
    gates = GATES[config.name]
    for name, parameter in rnn.named_parameters():
        if "bias" in name:
            nn.init.zeros_(parameter)
            if config.name == "lstm" and "bias_ih" in name:
                bias = FORGET_BIAS if config.forget_bias is None else config.forget_bias
                nn.init.constant_(parameter.chunk(gates)[1], bias)
        else:
            initialise = nn.init.orthogonal_ if "weight_hh" in name else nn.init.xavier_uniform_
            for gate in parameter.chunk(gates):
                initialise(gate)


def build_model(config: RecurrentConfig, signature: Signature) -> Recurrent:
    """The model with fresh weights."""
    return Recurrent(config, signature)
