"""Recurrent networks: plain, LSTM and GRU cells over a series."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="recurrent",
    family="Recurrent networks",
    help="Plain RNN, LSTM or GRU over a series, for its class, a number, or its next values.",
    tasks=("classification", "regression", "forecasting"),
    inputs=("series",),
    paper="RNN: Elman 1990, Finding Structure in Time, Cognitive Science 14(2); LSTM: Hochreiter & Schmidhuber 1997, "
    "Long Short-Term Memory, Neural Computation 9(8); GRU: Cho et al. 2014, arXiv:1406.1078",
    when="Series of up to some hundred steps, of varying length too; streams, since a step needs only the last state.",
    cost="1 (RNN), 4 (LSTM) or 3 (GRU) x hidden x (hidden + inputs) multiplications per step and layer; steps run one "
    "by one.",
    config="forgeline_architectures.recurrent.config:RecurrentConfig",
    model="forgeline_architectures.recurrent.model:build_model",
    module="forgeline_architectures.recurrent.module:build_module",
    names="forgeline_architectures.recurrent.config:names",
)
