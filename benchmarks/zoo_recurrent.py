"""The bars of the perceptron and the recurrent networks of the zoo, on the test split."""

from __future__ import annotations

from benchmarks.bars import Bar

BARS = (
    Bar(name="mnist1d MLP", spec="zoo/mlp.yaml", metric="accuracy", at_least=0.62),
    Bar(name="mnist1d RNN", spec="zoo/rnn.yaml", metric="accuracy", at_least=0.68),
    Bar(name="mnist1d LSTM", spec="zoo/lstm.yaml", metric="accuracy", at_least=0.84),
    Bar(name="mnist1d GRU", spec="zoo/gru.yaml", metric="accuracy", at_least=0.88),
)
