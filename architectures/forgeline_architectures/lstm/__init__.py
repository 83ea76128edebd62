"""Recurrent networks: LSTM and GRU over a series."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="lstm",
    family="Recurrent networks",
    help="LSTM or GRU over a series, for its class, a number, or its next values.",
    tasks=("classification", "regression", "forecasting"),
    inputs=("series",),
    paper="Hochreiter & Schmidhuber 1997, Long Short-Term Memory, Neural Computation 9(8); "
    "GRU: Cho et al. 2014, arXiv:1406.1078",
    when="Series of up to some hundred steps, of varying length too; streams, since a step needs only the last state.",
    cost="4 (LSTM) or 3 (GRU) x hidden x (hidden + inputs) multiplications per step and layer; steps run one by one.",
    config="forgeline_architectures.lstm.config:LSTMConfig",
    model="forgeline_architectures.lstm.model:build_model",
    module="forgeline_architectures.lstm.module:build_module",
)
