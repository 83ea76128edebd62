"""The text models of the zoo, on the test split: phonemes of cmudict, strings backwards, hidden words, sentences.

The phoneme error is the metric `token_error_rate`: edits from what beam search writes to how the word is said, over
the phonemes of all words. Reverse-copy without attention has its bar the other way round: one state cannot hold 20
letters. BERT fills gaps in Shakespeare at least a nat below the entropy of single words, and started from that it tells
kinds of sentences, and the marks behind words, better than from random weights, with the same labels, steps and seeds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

import forgeline as fl
from benchmarks.bars import SPECS, Bar, evaluate


def unigram_entropy(spec: Path, change: dict[str, Any]) -> float:
    """Entropy in nats of the words of the train split that the vocabulary has, each by how often it occurs."""
    import numpy as np

    from forgeline.preprocessing import TextPreprocessing
    from forgeline_jobs.data.base import as_int64
    from forgeline_jobs.train.preparation import prepare
    from forgeline_jobs.train.spec import TrainSpec

    data = prepare(cast(TrainSpec, fl.load(spec, set=change).spec).data)
    split, preprocessing = data.splits["train"], cast(TextPreprocessing, data.preprocessing)
    batch = split.batch(as_int64(range(len(split))))
    words = np.where(batch["target"] < 0, batch["tokens"], batch["target"])[:, 1:]
    counts = np.bincount(words[words > 0], minlength=preprocessing.tokenizer.size)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


@cache
def _pretrained_weights() -> str:
    run = fl.run(SPECS / "zoo" / "bert.yaml")
    if run.state != "succeeded":
        raise RuntimeError(f"bert: {run.state}, {run.message}")
    return str(run.bundle.folder / "weights.safetensors")


def fine_tuning(say: Callable[[str], None], *, spec: str) -> dict[str, Any]:
    """Macro F1 of a spec of `bert`, from zoo/bert.yaml's weights against random ones; mean of three seeds."""
    weights = _pretrained_weights()
    scores: dict[str, list[float]] = {"pretrained": [], "scratch": []}
    for seed in SEEDS:
        for start, found in scores.items():
            change: dict[str, Any] = {"trainer.seed": seed}
            change |= {"architecture.pretrained": weights} if start == "pretrained" else {}
            run = fl.run(SPECS / spec, set=change)
            if run.state != "succeeded":
                raise RuntimeError(f"{spec}, {start}, seed {seed}: {run.state}, {run.message}")
            found.append(evaluate(run, "f1"))
            say(f"{spec}: {start}, seed {seed}: test/f1 {found[-1]:.4f}")
    mean, bound = statistics.fmean(scores["pretrained"]), statistics.fmean(scores["scratch"])
    return {
        "spec": spec,
        "metric": "test/f1",
        "values": list(SEEDS),
        "scores": scores["pretrained"],
        "references": scores["scratch"],
        "mean": mean,
        "at_least": bound,
        "met": mean > bound,
    }


SEEDS = (0, 1, 2)

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
    Bar(name="cmudict T5", spec="zoo/t5.yaml", metric="token_error_rate", values=(0,), at_most=0.15),
    Bar(
        name="tinyshakespeare BERT",
        spec="zoo/bert.yaml",
        metric="loss",
        values=(0,),
        reference=unigram_entropy,
        reference_is="at_most",
        margin=-1.0,
    ),
)
