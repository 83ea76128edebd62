"""Pictures of a sweep: what its trials reached, and what the keys of its space did to that.

Trials that succeeded are full dots; of those that were stopped early, or are under way, the last measurement is a
hollow one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.tri import Triangulation
from numpy.typing import NDArray

from forgeline.plots.figure import BLUE, GREEN, GREY, ORANGE, new_figure, plain, styled
from forgeline_jobs.sweep.importance import Importance, compared, shown, title
from forgeline_jobs.sweep.live import keys_of, now_of
from forgeline_jobs.sweep.scales import Scale, scales_of
from forgeline_jobs.sweep.standing import Standing
from forgeline_jobs.sweep.trials import Outcome, Trial

MOST_KEYS = 8
"""Keys that are drawn at most, those that matter most."""

MOST_PAIRS = 6
FEWEST_OF_CONTOUR = 4
_WIDE = 10.0
_COLOURS = matplotlib.colormaps["viridis"]
_WIDE_RATIO = 50.0
_ABSENT = -0.12


def figures(found: Standing, important: Sequence[Importance] | None) -> dict[str, Figure]:
    """Name -> picture, in the order in which they are looked at; none where nothing was measured.

    Args:
        found: the sweep.
        important: of the first objective; None where too few trials succeeded.
    """
    measured = [trial for trial in found.trials if _measured(trial) is not None]
    if not measured:
        return {}
    scales = scales_of(found.spec)
    keys = shown(important, keys_of(found.spec))
    drawn = {"history": history(found, measured)}
    if len(found.metrics) > 1:
        drawn["pareto-front"] = pareto_front(found, measured)
    if important is not None and any(one.share is not None for one in important):
        drawn["importances"] = importance_bars(important, title(found.metrics[0], important, found.spec))
    drawn["slice"] = slices(found, measured, keys[:MOST_KEYS], scales)
    drawn["parallel-coordinates"] = parallel_coordinates(found, measured, keys[:MOST_KEYS], scales)
    if len(keys) > 1:
        # Between choices there is no surface: they are taken where there are no two keys with numbers.
        one, other = sorted(keys, key=lambda key: bool(scales[key].options))[:2]
        drawn["contour"] = contour(found, measured, one, other, scales)
    return drawn


def history(found: Standing, measured: Sequence[Trial]) -> Figure:
    """Each objective over the trials, and the best of those that had succeeded by then."""
    figure = new_figure(_WIDE, 3.2 * len(found.metrics))
    for at, metric in enumerate(found.metrics):
        axes = styled(figure.add_subplot(len(found.metrics), 1, at + 1), x="trial", y=metric)
        _dots(axes, [(trial.number, _objectives(trial)[at], trial) for trial in measured])
        done = [trial for trial in measured if trial.outcome is Outcome.SUCCEEDED]
        if done:
            better = np.maximum if found.maximise[at] else np.minimum
            so_far = better.accumulate([_objectives(trial)[at] for trial in done])
            axes.step([trial.number for trial in done], so_far, where="post", color=ORANGE, label="best so far")
        _wide(axes, [_objectives(trial)[at] for trial in measured])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=8, frameon=False)
    return figure


def pareto_front(found: Standing, measured: Sequence[Trial]) -> Figure:
    """Each two of the objectives against each other, the trials of the front by number."""
    pairs = list(combinations(range(len(found.metrics)), 2))[:MOST_PAIRS]
    columns = min(2, len(pairs))
    rows = math.ceil(len(pairs) / columns)
    figure = new_figure(_WIDE if columns > 1 else 6.5, 4.2 * rows)
    for place, (one, other) in enumerate(pairs):
        axes = styled(figure.add_subplot(rows, columns, place + 1), x=found.metrics[one], y=found.metrics[other])
        _dots(axes, [(_objectives(trial)[one], _objectives(trial)[other], trial) for trial in measured])
        front = sorted(found.front, key=lambda trial: _objectives(trial)[one])
        across = [_objectives(trial)[one] for trial in front]
        up = [_objectives(trial)[other] for trial in front]
        line = "-" if len(found.metrics) == 2 else ""
        axes.plot(across, up, marker="o", linestyle=line, color=ORANGE, linewidth=1.2, label="Pareto front")
        for trial, x, y in zip(front, across, up, strict=True):
            axes.annotate(str(trial.number), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7)
        _wide(axes, [_objectives(trial)[other] for trial in measured])
        _wide(axes, [_objectives(trial)[one] for trial in measured], axis="x")
        axes.legend(fontsize=8, frameon=False)
    return figure


def importance_bars(important: Sequence[Importance], heading: str) -> Figure:
    """The share of each key, those of conditional keys in another colour."""
    known = [(one, one.share) for one in important if one.share is not None][::-1]
    figure = new_figure(_WIDE, 1.2 + 0.34 * len(known))
    axes = styled(figure.add_subplot(), title=heading, x="share of the variance")
    names = [plain(_named(one), 60) for one, _ in known]
    bars = axes.barh(
        range(len(known)), [share for _, share in known], color=[GREEN if one.where else BLUE for one, _ in known]
    )
    axes.bar_label(bars, labels=[f" {share:.2f}, {one.trials} trials" for one, share in known], fontsize=8)
    axes.set_yticks(range(len(known)), names)
    axes.set_xlim(0, 1.25 * max(share for _, share in known) or 1.0)
    return figure


def slices(found: Standing, measured: Sequence[Trial], keys: Sequence[str], scales: Mapping[str, Scale]) -> Figure:
    """The first objective over each key; colours are the order of the trials."""
    columns = min(4, len(keys))
    rows = math.ceil(len(keys) / columns)
    figure = new_figure(max(5.0, 3.0 * columns), 3.0 * rows)
    first: Axes | None = None
    for place, key in enumerate(keys):
        y = found.metrics[0] if place % columns == 0 else ""
        axes = styled(figure.add_subplot(rows, columns, place + 1, sharey=first), x=key, y=y)
        first = first or axes
        having = [trial for trial in measured if key in trial.values]
        spread = _spread(scales[key], len(having))
        where = [scales[key].place(trial.values[key]) + off for trial, off in zip(having, spread, strict=True)]
        _dots(
            axes,
            [(x, _objectives(trial)[0], trial) for x, trial in zip(where, having, strict=True)],
            colours=[_COLOURS(trial.number / max(1, len(found.trials) - 1)) for trial in having],
        )
        scales[key].mark(axes.xaxis)
        _wide(axes, [_objectives(trial)[0] for trial in measured])
    return figure


def parallel_coordinates(
    found: Standing, measured: Sequence[Trial], keys: Sequence[str], scales: Mapping[str, Scale]
) -> Figure:
    """A line a trial through its values to its first objective, the better the darker; at the foot for absent keys."""
    figure = new_figure(max(6.0, 1.6 * (len(keys) + 1)), 4.4)
    axes = styled(figure.add_subplot(), grid=False)
    goal = Scale.of_numbers([_objectives(trial)[0] for trial in measured])
    lines = [*((key, scales[key]) for key in keys), (found.metrics[0], goal)]
    done = sorted(measured, key=lambda trial: (trial.outcome is Outcome.SUCCEEDED, *_cost(trial, found)))
    for trial in done:
        heights = [scales[key].share(trial.values[key]) if key in trial.values else _ABSENT for key in keys]
        height = goal.share(_objectives(trial)[0])
        better = height if found.maximise[0] else 1 - height
        whole = trial.outcome is Outcome.SUCCEEDED
        colour = matplotlib.colormaps["Blues"](0.25 + 0.75 * better) if whole else GREY
        axes.plot(range(len(lines)), [*heights, height], color=colour, alpha=0.9 if whole else 0.25, linewidth=1.1)
    for at, (name, scale) in enumerate(lines):
        axes.plot([at, at], [0, 1], color=GREY, linewidth=0.8)
        absent = at < len(keys) and any(name not in trial.values for trial in measured)
        for share, text in [*scale.marks(), *([(_ABSENT, "none")] if absent else [])]:
            axes.annotate(
                plain(text, 12), (at, share), xytext=(3, 0), textcoords="offset points", fontsize=7, va="center"
            )
    axes.set_xticks(range(len(lines)), [plain(name, 40) for name, _ in lines], rotation=20, ha="right")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.08)
    return figure


def contour(found: Standing, measured: Sequence[Trial], one: str, other: str, scales: Mapping[str, Scale]) -> Figure:
    """The first objective over two keys, filled in between trials of the same length; the dots are all trials."""
    figure = new_figure(7.0, 5.4)
    axes = styled(figure.add_subplot(), x=one, y=other, grid=False)
    having = [trial for trial in measured if one in trial.values and other in trial.values]
    step, alike = compared(found.trials)
    done = [trial for trial in alike if one in trial.values and other in trial.values]
    goals = np.array([_objectives(trial)[0] for trial in done])
    x, y = (np.array([scales[key].place(trial.values[key]) for trial in done]) for key in (one, other))
    if len(done) >= FEWEST_OF_CONTOUR and _is_flat_surface(x, y) and goals.min() < goals.max():
        logarithmic = _is_wide(goals)
        # The triangles are made where both keys count alike, and drawn where they are.
        mesh = Triangulation(x, y, Triangulation(_unit(x), _unit(y)).triangles)
        colours = "viridis" if found.maximise[0] else "viridis_r"
        filled = axes.tricontourf(mesh, np.log10(goals) if logarithmic else goals, levels=12, cmap=colours)
        after = "" if step is None else f" after {step} {found.spec.unit}"
        label = f"{'log10 of ' if logarithmic else ''}{found.metrics[0]}{after}"
        figure.colorbar(filled, ax=axes).set_label(plain(label, 60), fontsize=9)
    else:
        axes.set_title("too few trials can be compared for a surface", fontsize=10, loc="left")
    axes.margins(0.04)
    _dots(
        axes,
        [(scales[one].place(trial.values[one]), scales[other].place(trial.values[other]), trial) for trial in having],
        colours=[ORANGE] * len(having),  # seen on every colour of the surface
    )
    scales[one].mark(axes.xaxis)
    scales[other].mark(axes.yaxis)
    return figure


def _measured(trial: Trial) -> Sequence[float] | None:
    """Numbers that can be drawn."""
    now = now_of(trial)
    return now if now is not None and all(math.isfinite(value) for value in now) else None


def _objectives(trial: Trial) -> Sequence[float]:
    found = _measured(trial)
    assert found is not None
    return found


def _cost(trial: Trial, found: Standing) -> tuple[float, int]:
    """Better trials come later, and are drawn above the others."""
    value = _objectives(trial)[0]
    return (value if found.maximise[0] else -value), trial.number


def _dots(axes: Axes, points: Sequence[tuple[float, float, Trial]], *, colours: Sequence[Any] | None = None) -> None:
    for whole in (False, True):
        chosen = [at for at, point in enumerate(points) if (point[2].outcome is Outcome.SUCCEEDED) is whole]
        if not chosen:
            continue
        given = [colours[at] for at in chosen] if colours is not None else [BLUE] * len(chosen)
        axes.scatter(
            [points[at][0] for at in chosen],
            [points[at][1] for at in chosen],
            s=26 if whole else 18,
            facecolors=given if whole else "none",
            edgecolors="white" if whole else given,
            linewidths=0.5 if whole else 0.9,
            zorder=3,
            label="succeeded" if whole else "not to the end",
        )


def _named(one: Importance) -> str:
    where = ", ".join(f"{key} {value}" for key, value in one.where.items())
    return f"{one.key} ({where})" if where else one.key


def _is_wide(values: Sequence[float] | NDArray[Any]) -> bool:
    """Whether a logarithmic scale shows them better."""
    low, high = float(np.min(values)), float(np.max(values))
    return low > 0 and high / low >= _WIDE_RATIO


def _wide(axes: Axes, values: Sequence[float], *, axis: str = "y") -> None:
    if _is_wide(values):
        (axes.set_yscale if axis == "y" else axes.set_xscale)("log")


def _spread(scale: Scale, count: int) -> NDArray[Any]:
    """Dots of one choice beside each other; numbers stay where they are."""
    return np.linspace(-0.15, 0.15, count) if scale.options else np.zeros(count)


def _unit(values: NDArray[Any]) -> NDArray[Any]:
    unit: NDArray[Any] = (values - values.min()) / (values.max() - values.min())
    return unit


def _is_flat_surface(x: NDArray[Any], y: NDArray[Any]) -> bool:
    """Whether the points span more than a line."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return False
    centred = np.stack([_unit(x), _unit(y)])
    return int(np.linalg.matrix_rank(centred - centred.mean(axis=1, keepdims=True), tol=1e-6)) == 2
