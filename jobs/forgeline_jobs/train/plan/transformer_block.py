"""Bytes that a transformer's block keeps for its backward pass, in closed form (Korthikanti et al. 2022).

arXiv:2205.05198, section 4.1: at 16 bits, attention and a feed-forward layer of four times the width keep
s b h (34 + 5 a s / h), equation 1; with fused attention s b h 34: s tokens, b rows, width h, a heads. Departures:

- Where nothing is dropped there are no masks, of one byte a number (1 + 1 of the 34, 1 of the 5), and no output of
  attention's dropout beside the softmax (2 of the 5): 32 and 2 are left.
- 8 of the 34 are the input of GELU, 8 its output: another width or a gated activation keeps other numbers.
- Norms keep their statistics besides, and fused attention the logarithm of each softmax's sum.
"""

from __future__ import annotations


def eager_bytes(*, tokens: int, rows: int, width: int, heads: int, dropout: bool = True) -> int:
    """Equation 1, attention by separate operations, at 16 bits.

    Args:
        tokens: s, of a row.
        rows: b, the micro-batch.
        width: h.
        heads: a.
        dropout: whether anything is dropped, which keeps masks of one byte.
    """
    linear, quadratic = (34, 5) if dropout else (32, 2)
    return tokens * rows * (linear * width + quadratic * heads * tokens)


def fused_bytes(*, tokens: int, rows: int, width: int, dropout: bool = True) -> int:
    """Equation 1 without what attention computes in between, at 16 bits; arguments as in `eager_bytes`."""
    return (34 if dropout else 32) * tokens * rows * width
