"""What a sweep showed, as a page of its own (`sweep.html`, with its pictures in it) and as pictures beside it.

The page loads nothing from anywhere: it may be mailed, and read without a network.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from forgeline.cli.render import duration, text_of
from forgeline.plots.figure import DPI, save
from forgeline_jobs.sweep.figures import figures
from forgeline_jobs.sweep.importance import FEWEST, Importance, importance_row, importances, title
from forgeline_jobs.sweep.standing import PAGE, Standing, best_title, search_in_words, train_again

_TITLES = {
    "history": "How it went",
    "pareto-front": "Pareto front",
    "importances": "Importances",
    "slice": "Each key by itself",
    "parallel-coordinates": "Parallel coordinates",
    "contour": "Two keys together",
}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1f24; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; font-size: 13px; } .wide { overflow-x: auto; }
th, td { text-align: left; padding: .25em .9em .25em 0; border-bottom: 1px solid #e4e6ea; white-space: nowrap; }
th { font-weight: 600; } tr.best td { font-weight: 600; } td.number { font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; } pre { background: #f4f5f7; padding: .8em; overflow-x: auto; }
p.small { color: #5a6068; font-size: 13px; }
"""


def write(folder: Path, found: Standing) -> Path:
    """Write the page and the pictures; returns the page.

    Args:
        folder: made where missing.
        found: the sweep.
    """
    each = [importances(found.spec, found.trials, objective=at) for at in range(len(found.metrics))]
    pictures = figures(found, each[0])
    save(pictures, folder)
    path = folder / PAGE
    path.write_text(page(found, each, pictures), encoding="utf-8")
    return path


def page(found: Standing, important: Sequence[Sequence[Importance] | None], pictures: Mapping[str, Figure]) -> str:
    """The page.

    Args:
        found: the sweep.
        important: for each objective, what each key does to it.
        pictures: by name.
    """
    name = html.escape(found.spec.name)
    parts = [
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{name}</title>',
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>Sweep {name}</h1>",
        _pairs(summary(found)),
        *_best(found),
        *_important(found, important),
    ]
    for stem, figure in pictures.items():
        title = _TITLES[stem]
        parts.append(f'<h2>{title}</h2>\n<img alt="{title}" src="data:image/png;base64,{_png(figure)}">')
    parts += ["<h2>Trials</h2>", _trials(found), "</body>\n</html>\n"]
    return "\n".join(parts)


def summary(found: Standing) -> list[tuple[str, Any]]:
    """The whole of a sweep in a few pairs."""
    counts = [f"{count} {outcome}" for outcome, count in found.counts.items() if count]
    ways = ("up" if up else "down" for up in found.maximise)
    return [
        ("run", found.record.id),
        ("objective", ", ".join(f"{metric} ({way})" for metric, way in zip(found.metrics, ways, strict=True))),
        ("search", search_in_words(found.spec)),
        ("trials", f"{len(found.trials)} of {found.spec.search.trials}: {', '.join(counts) or 'none yet'}"),
        ("worked", duration(found.took_s)),
        ("trials worked", duration(sum(found.seconds.values()))),
    ]


def _best(found: Standing) -> list[str]:
    front = found.front
    if not front:
        return ["<h2>Best trial</h2>", "<p>No trial has succeeded.</p>"]
    title = best_title(found)
    winner = front[0]
    objectives = zip(found.metrics, winner.objectives or (), strict=True)
    commands = html.escape("\n".join(train_again(found)))
    return [
        f"<h2>{title[0].upper()}{title[1:]}</h2>",
        _pairs([("trial", winner.number), *objectives, *winner.values.items()]),
        f"<p>Trained again by</p>\n<pre>{commands}</pre>",
    ]


def _important(found: Standing, important: Sequence[Sequence[Importance] | None]) -> list[str]:
    parts = ["<h2>What the keys explain, in numbers</h2>"]
    for metric, each in zip(found.metrics, important, strict=True):
        said = title(metric, each, found.spec)
        heading = html.escape(said[0].upper() + said[1:])
        if each is None:
            parts.append(f"<p>{heading}: fewer than {FEWEST} trials can be compared; nothing is said.</p>")
            continue
        rows = [importance_row(one) for one in each]
        parts.append(f"<p>{heading}</p>{_table(list(rows[0]), [list(row.values()) for row in rows])}")
    parts.append(
        '<p class="small">The share of the variance of an objective that a key explains by itself (functional ANOVA), '
        "over trials of the same length; a key that only a choice brings, over the trials with that choice.</p>"
    )
    return parts


def _trials(found: Standing) -> str:
    rows = found.rows()
    if not rows:
        return "<p>There is none yet.</p>"
    titles = [column for column in rows[0] if column != "best"]
    cells = [[row[column] for column in titles] for row in rows]
    return _table(titles, cells, best=[bool(row["best"]) for row in rows])


def _table(titles: Sequence[str], rows: Sequence[Sequence[Any]], *, best: Sequence[bool] | None = None) -> str:
    marked = best or [False] * len(rows)
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    lines = [
        f"<tr{' class=best' if mark else ''}>{''.join(map(_cell, row))}</tr>"
        for row, mark in zip(rows, marked, strict=True)
    ]
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n' + "\n".join(lines) + "\n</table></div>"


def _pairs(pairs: Iterable[tuple[str, Any]]) -> str:
    lines = [f"<tr><th>{html.escape(name)}</th>{_cell(value)}</tr>" for name, value in pairs]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _cell(value: Any) -> str:
    kind = " class=number" if isinstance(value, int | float) and not isinstance(value, bool) else ""
    return f"<td{kind}>{html.escape(text_of(value))}</td>"


def _png(figure: Figure) -> str:
    with io.BytesIO() as buffer:
        figure.savefig(buffer, format="png", dpi=DPI)
        return base64.b64encode(buffer.getvalue()).decode("ascii")
