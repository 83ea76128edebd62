"""The encoder-decoders of the zoo, on the test split: share of wrong phonemes on cmudict, and strings backwards.

The phoneme error is the metric `token_error_rate`: edits from what beam search writes to how the word is said, over
the phonemes of all words. Reverse-copy without attention has its bar the other way round: one state cannot hold 20
letters.
"""

from __future__ import annotations

from benchmarks.bars import Bar

BARS = (
    Bar(
        name="cmudict Transformer",
        spec="zoo/transformer.yaml",
        metric="token_error_rate",
        values=(0,),
        at_most=0.12,
    ),
    Bar(
        name="cmudict seq2seq",
        spec="zoo/seq2seq-cmudict.yaml",
        metric="token_error_rate",
        values=(0,),
        at_most=0.12,
    ),
    Bar(name="reverse-copy seq2seq", spec="zoo/seq2seq.yaml", metric="exact_match", values=(0,), at_least=0.85),
    Bar(
        name="reverse-copy seq2seq without attention",
        spec="zoo/seq2seq-no-attention.yaml",
        metric="exact_match",
        values=(0,),
        at_most=0.01,
    ),
)
