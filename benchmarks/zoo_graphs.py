"""The graph rows of the zoo: test accuracy on Cora's published split, mean of ten seeds, and its links.

Links: area under the ROC curve over held-out citations and as many pairs that do not cite each other. Kipf & Welling
2016 (arXiv:1611.07308, table 1) have 0.910 for their graph autoencoder, with another draw of the same shares.
"""

from __future__ import annotations

from benchmarks.bars import Bar

BARS = (
    Bar(name="cora GCN", spec="zoo/gcn.yaml", metric="accuracy", values=range(10), at_least=0.805),
    Bar(name="cora GAT", spec="zoo/gat.yaml", metric="accuracy", values=range(10), at_least=0.815),
    Bar(name="digit-graphs MPNN", spec="zoo/mpnn.yaml", metric="accuracy", at_least=0.90),
    Bar(name="cora GCN, links", spec="zoo/gcn-links.yaml", metric="roc_auc", at_least=0.90),
    Bar(name="cora GAT, links", spec="zoo/gat-links.yaml", metric="roc_auc", at_least=0.90),
)
