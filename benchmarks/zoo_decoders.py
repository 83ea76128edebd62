"""The decoders of the zoo: test loss no higher than GPT's at equal parameters, data, steps and seed; sample-and-rank.

GPT is trained and measured in the same session, once for each seed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import forgeline as fl
from benchmarks.bars import SPECS, Bar, evaluate

if TYPE_CHECKING:
    from forgeline_architectures.lamda.model import Lamda

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
    """Log-likelihood per token of LaMDA's answers to the beginnings of test rows, ranked against plain sampling."""
    from forgeline_architectures.lamda.model import Lamda
    from forgeline_jobs.data.base import as_int64
    from forgeline_jobs.train.preparation import prepare
    from forgeline_jobs.train.spec import TrainSpec

    spec = SPECS / "zoo" / "lamda.yaml"
    run = fl.run(spec)
    if run.state != "succeeded":
        raise RuntimeError(f"{spec.name}: {run.state}, {run.message}")
    rows = prepare(cast(TrainSpec, fl.load(spec).spec).data).splits["test"].batch(as_int64(range(PROMPTS)))["tokens"]
    row = compared(cast(Lamda, run.bundle.model), rows[:, :PROMPT_TOKENS].tolist(), max_tokens=ANSWER_TOKENS)
    say(
        f"sample-and-rank: {row['mean']:.4f} for the best of {row['candidates']}, {row['at_least']:.4f} for plain "
        f"sampling, {row['margin']:+.4f}"
    )
    return {"spec": f"zoo/{spec.name}", **row}


def compared(model: Lamda, prompts: Sequence[Sequence[int]], *, max_tokens: int) -> dict[str, Any]:
    """Mean log-likelihood per token of the ranked answers and of plain ones, both as the model itself scores them.

    A plain answer has a seed of its own. Among the candidates it could not be better than the best of them.
    """
    from forgeline_architectures.generation import Sampling, generate_scored
    from forgeline_architectures.lamda.model import TOP_K

    plain: list[float] = []
    ranked: list[float] = []
    for seed, prompt in enumerate(prompts):
        best = model.ranked(prompt, max_tokens=max_tokens, sampling=Sampling(top_k=TOP_K, seed=seed))[0]
        ranked.append(best.log_likelihood)
        another = Sampling(top_k=TOP_K, seed=len(prompts) + seed)
        (answer,) = generate_scored(model, [prompt], max_tokens=max_tokens, sampling=another)
        plain.append(answer.log_likelihood)
    mean, bound = statistics.fmean(ranked), statistics.fmean(plain)
    return {
        "metric": "log-likelihood, nats per token",
        "candidates": model.candidates,
        "prompts": len(prompts),
        "mean": mean,
        "at_least": bound,
        "margin": mean - bound,
        "met": mean > bound,
    }
