"""The graph rows of the zoo: test accuracy on Cora's published split, mean of ten seeds."""

from __future__ import annotations

from benchmarks.bars import Bar

BARS = (
    Bar(name="cora GCN", spec="zoo/gcn.yaml", metric="accuracy", values=range(10), at_least=0.805),
    Bar(name="cora GAT", spec="zoo/gat.yaml", metric="accuracy", values=range(10), at_least=0.815),
)
