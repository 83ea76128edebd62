"""One condition on answers: whether it holds, the figures that say so, and a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgeline import metrics
from forgeline.registry import bounds
from forgeline.registry.answers import Answers
from forgeline.registry.calibration_bound import calibration_figures
from forgeline.registry.conditions import Bounded, CalibrationBound
from forgeline.registry.slices import masks

ALL = "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What became of one condition, or of one part of it.

    Attributes:
        held: whether it holds.
        reason: a sentence.
        figures: what it rests on: estimates, bounds, numbers of samples; JSON values.
    """

    held: bool
    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """What both models of a comparison answered, and the alias of the second.

    Attributes:
        mine: of the version that is judged.
        rival: of the version that has the alias; None where no version has it.
        unanswered: why the rival has no answers to these samples; None where it has.
    """

    mine: Answers
    rival: Answers | None = None
    unanswered: str | None = None


def judge_bounded(condition: Bounded, compared: Compared, columns: Mapping[str, NDArray[Any]]) -> list[Finding]:
    """A condition that holds with a confidence, of all samples and of each slice.

    That all slices must hold needs no correction for their number: if one does not, the chance that all are found to
    is at most that of this one (an intersection-union test; Berger, Technometrics 24, 1982).

    Raises:
        SpecError: there is no such column.
    """
    everyone = np.ones(len(compared.mine), dtype=bool)
    findings = _judge_named(condition, ALL, everyone, compared)
    for text in condition.slices:
        parts = [
            _judge_named(condition, name, mask, compared) for name, mask in masks(text, columns, compared.mine.classes)
        ]
        findings += [finding for part in parts for finding in part]
        if not any(finding.figures.get("judged", True) for part in parts for finding in part):
            reason = f"{condition.metric}: no slice of {text!r} has min_rows {condition.min_rows} samples"
            findings.append(Finding(held=False, reason=reason, figures={"slice": text, "judged": False}))
    return findings


def _judge_named(condition: Bounded, name: str, mask: NDArray[np.bool_], compared: Compared) -> list[Finding]:
    rows = int(mask.sum())
    if rows < condition.min_rows:
        # The whole must be judged; a small slice cannot be, and is told.
        text = f"{_named(condition.metric, name)} has {rows} samples, fewer than min_rows {condition.min_rows}"
        figures = {"slice": name, "n": rows, "judged": False}
        return [Finding(held=name != ALL, reason=f"{text}: not judged", figures=figures)]
    rival = compared.rival.part(mask) if compared.rival is not None else None
    return list(_judge_part(condition, name, compared.mine.part(mask), rival, compared.unanswered))


def _judge_part(
    condition: Bounded, name: str, mine: Answers, rival: Answers | None, unanswered: str | None
) -> Iterator[Finding]:
    metric = condition.metric.partition("/")[2]
    higher = metrics.metric_info(mine.task, condition.metric, key="gate.metric").higher_is_better
    if condition.at_least is not None:
        yield _threshold(condition, metric, name, mine, condition.at_least, lower=True)
    if condition.at_most is not None:
        yield _threshold(condition, metric, name, mine, condition.at_most, lower=False)
    if condition.beats is None:
        return
    if rival is not None:
        yield _comparison(condition, metric, name, mine, rival, higher=higher)
    elif name == ALL:
        yield _without_rival(condition, metric, mine, unanswered)


def _without_rival(condition: Bounded, metric: str, mine: Answers, unanswered: str | None) -> Finding:
    if unanswered is not None:
        reason = f"the {condition.beats} cannot be compared on these samples: {unanswered}"
        return Finding(held=False, reason=reason, figures={"slice": ALL, "n": len(mine)})
    # Not a number never passes, whether there is a rival or not.
    held = not math.isnan(mine.measure(metric))
    reason = f"no version is {condition.beats} yet, so there is none to beat"
    return Finding(held=held, reason=reason, figures={"slice": ALL, "n": len(mine)})


def _threshold(condition: Bounded, metric: str, name: str, mine: Answers, wanted: float, *, lower: bool) -> Finding:
    kind, trials = _trials(metric, mine)
    if kind == "exact" and not len(trials):
        value = bound = float("nan")
        method, n = "none", 0
    elif kind == "exact":
        hits, n = int(trials.sum()), len(trials)
        value, method = hits / n, "Clopper-Pearson"
        bound = (bounds.share_lower if lower else bounds.share_upper)(hits, n, condition.confidence)
    else:
        value, bound, method, n = _resampled(condition, metric, mine, lower=lower)
    # A bound that is not a number holds nothing.
    held = bound >= wanted if lower else bound <= wanted
    asked = f"{'at least' if lower else 'at most'} {wanted:.6g}"
    end = "lower" if lower else "upper"
    reason = (
        f"{_named(condition.metric, name)} {value:.6g} ({_percent(condition.confidence)} {end} bound {bound:.6g}, "
        f"n {n}) is {'' if held else 'not '}{asked}"
    )
    figures = _figures(condition, name, method, n) | {"value": value, end: bound, "wanted": wanted}
    return Finding(held=bool(held), reason=reason, figures=figures)


def _trials(metric: str, answers: Answers) -> tuple[str, NDArray[Any]]:
    """Whether a metric is a share of samples that are right, and then of each whether it is."""
    if answers.task == "classification":
        if metric == "accuracy":
            return "exact", answers.right
        name, bracket, label = metric.removesuffix("]").partition("[")
        if name == "recall" and bracket:
            return "exact", answers.right[answers.of_class(label)]
    return "resampled", np.empty(0)


def _resampled(condition: Bounded, metric: str, mine: Answers, *, lower: bool) -> tuple[float, float, str, int]:
    value, n, sign = mine.measure(metric), len(mine), 1.0 if lower else -1.0
    root = mine.task == "regression" and metric == "rmse"
    losses = mine.losses("mse" if root else metric)
    if losses is None:
        each = mine.measure_of(metric)
        bound = bounds.metric_lower(lambda rows: sign * each(rows), n, condition.confidence, seed=condition.seed)
        return value, sign * bound, "bootstrap of the metric, percentiles", n
    bound = sign * bounds.mean_lower(sign * losses, condition.confidence, seed=condition.seed)
    return value, math.sqrt(max(bound, 0.0)) if root else bound, "bootstrap of losses, studentised", n


def _comparison(condition: Bounded, metric: str, name: str, mine: Answers, rival: Answers, *, higher: bool) -> Finding:
    margin, confidence = condition.not_worse_by, condition.confidence
    kind, mine_right = _trials(metric, mine)
    figures: dict[str, Any]
    if kind == "exact":
        _, rival_right = _trials(metric, rival)
        figures = _paired_shares(mine_right, rival_right, margin or 0.0, confidence)
        held = figures["p"] <= 1 - confidence
    else:
        figures = _paired_figures(condition, metric, mine, rival, higher=higher)
        lower = figures["gain_lower"]
        held = lower > 0 if not margin else lower >= -margin
    n = figures.pop("n")
    gain = figures["gain"]
    figures = _figures(condition, name, figures.pop("method"), n) | figures
    beyond = f"by less than {margin:.6g} worse than" if margin else "better than"
    p = f", p {figures['p']:.3g}" if "p" in figures else ""
    reason = (
        f"{_named(condition.metric, name)} {figures['value']:.6g} against the {condition.beats}'s "
        f"{figures['rival']:.6g} on the same {n} samples (gain {gain:+.4g}, {_percent(confidence)} lower bound "
        f"{figures['gain_lower']:+.4g}{p}) is {'' if held else 'not shown to be '}{beyond} it"
    )
    return Finding(held=bool(held), reason=reason, figures=figures | ({"margin": margin} if margin else {}))


def _paired_shares(
    mine: NDArray[np.bool_], rival: NDArray[np.bool_], margin: float, confidence: float
) -> dict[str, Any]:
    n = len(mine)
    wins, losses = int(np.sum(mine & ~rival)), int(np.sum(rival & ~mine))
    figures = {"wins": wins, "losses": losses, "n": n}
    if not n:
        nothing = float("nan")
        return figures | {"method": "none", "value": nothing, "rival": nothing, "gain": nothing, "p": 1.0,
                          "gain_lower": nothing}  # fmt: skip
    return figures | {
        "method": "exact and unconditional, by Tango's score" if margin else "McNemar, exact",
        "value": float(mine.mean()),
        "rival": float(rival.mean()),
        "gain": (wins - losses) / n,
        "gain_lower": bounds.gain_lower(wins, losses, n, confidence),
        "p": bounds.not_worse_p(wins, losses, n, margin),
    }


def _paired_figures(condition: Bounded, metric: str, mine: Answers, rival: Answers, *, higher: bool) -> dict[str, Any]:
    sign, n = 1.0 if higher else -1.0, len(mine)
    value, other = mine.measure(metric), rival.measure(metric)
    losses, theirs = mine.losses(metric), rival.losses(metric)
    if losses is not None and theirs is not None:
        lower = bounds.mean_lower(sign * (losses - theirs), condition.confidence, seed=condition.seed)
        method = "paired bootstrap of losses, studentised"
    else:
        one, two = mine.measure_of(metric), rival.measure_of(metric)
        lower = bounds.metric_lower(
            lambda rows: sign * (one(rows) - two(rows)), n, condition.confidence, seed=condition.seed
        )
        method = "paired bootstrap of the metric, percentiles"
    gain = sign * (value - other)
    return {"method": method, "n": n, "value": value, "rival": other, "gain": gain, "gain_lower": lower}


def judge_calibration(bound: CalibrationBound, mine: Answers) -> Finding:
    """A bound on the calibration of a classifier."""
    found = calibration_figures(mine.outputs.max(axis=1), mine.right, bins=bound.bins, confidence=bound.confidence)
    judged = found.debiased if found.upper is None else found.upper
    held = judged <= bound.at_most
    if found.upper is None or bound.confidence is None:
        what = f"debiased calibration error {judged:.4g}"
    else:
        what = f"calibration error {found.plug_in:.4g} ({_percent(bound.confidence)} upper bound {judged:.4g})"
    reason = f"{bound.split}: {what}, n {found.n}, is {'' if held else 'not '}at most {bound.at_most:.6g}"
    figures = {
        "plug_in": found.plug_in,
        "debiased": found.debiased,
        "upper": found.upper,
        "bins": found.bins,
        "n": found.n,
        "wanted": bound.at_most,
    }
    return Finding(held=bool(held), reason=reason, figures=figures)


def _figures(condition: Bounded, name: str, method: str, n: int) -> dict[str, Any]:
    seed = {"seed": condition.seed} if "bootstrap" in method else {}
    return {"slice": name, "n": n, "method": method, "confidence": condition.confidence} | seed


def _named(metric: str, part: str) -> str:
    return metric if part == ALL else f"{metric} of {part}"


def _percent(confidence: float) -> str:
    return f"{100 * confidence:g} %"
