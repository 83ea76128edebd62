"""Recurrent encoder-decoder with attention: one sequence into another."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="seq2seq",
    family="Recurrent encoder-decoder",
    help="LSTM or GRU that reads a sequence and writes another, looking back at the source by attention.",
    tasks=("translation",),
    inputs=("source", "previous"),
    paper="Bahdanau, Cho & Bengio 2015, Neural Machine Translation by Jointly Learning to Align and Translate, "
    "arXiv:1409.0473; dot attention: Luong, Pham & Manning 2015, arXiv:1508.04025",
    when="Short sequences into short ones (spelling to sounds, dates, names) with thousands of pairs, on a CPU too.",
    cost="3 (GRU) or 4 (LSTM) x hidden x (hidden + inputs) multiplications per token and layer, and source x target x "
    "hidden for the attention; tokens are read and written one by one.",
    config="forgeline_architectures.seq2seq.config:Seq2SeqConfig",
    model="forgeline_architectures.seq2seq.model:build_model",
    module="forgeline_architectures.seq2seq.module:build_module",
)
