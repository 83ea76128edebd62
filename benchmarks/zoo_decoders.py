"""The decoders of the zoo: test loss no higher than GPT's at equal parameters, data, steps and seed; sample-and-rank.

GPT is trained and measured in the same session, once for each seed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

import forgeline as fl
from benchmarks.bars import SPECS, Bar, evaluate

PROMPTS = 20
PROMPT_TOKENS = 32
ANSWER_TOKENS = 64


@cache
def _gpt_loss(seed: int) -> float:
    run = fl.run(SPECS / "tinyshakespeare.yaml", set={"trainer.seed": seed})
    if run.state != "succeeded":
        raise RuntimeError(f"tinyshakespeare, trainer.seed={seed}: {run.state}, {run.message}")
    return evaluate(run, "loss")


def gpt_loss(spec: Path, change: dict[str, Any]) -> float:
    """Test loss of jobs/specs/tinyshakespeare.yaml with the same seed."""
    return _gpt_loss(change["trainer.seed"])


BARS = tuple(
    Bar(
        name=f"tinyshakespeare {family}",
        spec=f"zoo/{family.lower()}.yaml",
        metric="loss",
        values=(0,),
        reference=gpt_loss,
        reference_is="at_most",
    )
    for family in ("LLaMA", "PaLM", "LaMDA")
)


def sample_and_rank(say: Callable[[str], None]) -> dict[str, Any]:
    """Log-likelihood per token of LaMDA's answers to the beginnings of test rows, ranked against plain sampling.

    Both are scored by the model itself; plain sampling's answer is the first of the candidates.
    """
    from forgeline_architectures.generation import Sampling, generate_scored
    from forgeline_architectures.lamda.model import TOP_K, Lamda
    from forgeline_jobs.data.base import as_int64
    from forgeline_jobs.train.preparation import prepare
    from forgeline_jobs.train.spec import TrainSpec

    spec = SPECS / "zoo" / "lamda.yaml"
    run = fl.run(spec)
    if run.state != "succeeded":
        raise RuntimeError(f"{spec.name}: {run.state}, {run.message}")
    model = cast(Lamda, run.bundle.model)
    rows = prepare(cast(TrainSpec, fl.load(spec).spec).data).splits["test"].batch(as_int64(range(PROMPTS)))["tokens"]
    plain: list[float] = []
    ranked: list[float] = []
    for seed, prompt in enumerate(rows[:, :PROMPT_TOKENS].tolist()):
        sampling = Sampling(top_k=TOP_K, seed=seed)
        (first,) = generate_scored(model, [prompt], max_tokens=ANSWER_TOKENS, sampling=sampling)
        plain.append(first.log_likelihood)
        ranked.append(model.ranked(prompt, max_tokens=ANSWER_TOKENS, sampling=sampling)[0].log_likelihood)
    mean, bound = statistics.fmean(ranked), statistics.fmean(plain)
    say(f"sample-and-rank: {mean:.4f} for the best of {model.candidates}, {bound:.4f} for plain sampling")
    return {
        "metric": "log-likelihood, nats per token",
        "candidates": model.candidates,
        "prompts": PROMPTS,
        "mean": mean,
        "at_least": bound,
        "met": mean > bound,
    }
