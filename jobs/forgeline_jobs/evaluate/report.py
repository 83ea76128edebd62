"""`metrics.json` for machines and `report.md` for people, beside the pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forgeline.metrics import METRICS

_ALT = {
    "confusion-matrix": "Confusion matrix",
    "roc": "ROC curves",
    "calibration": "Reliability diagram",
    "predicted-against-true": "Predicted against true, with residuals",
    "forecast-against-truth": "Forecast against truth",
    "samples": "Samples",
    "latent-walk": "Walks along the first latent numbers",
}


def write(folder: Path, result: Mapping[str, Any], pictures: Sequence[Path], *, sample: str | None = None) -> None:
    """Write both files.

    Args:
        folder: made where missing.
        result: as `measure` returns it.
        pictures: files in `folder`.
        sample: text that a language model wrote; kept as `sample.txt` as well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if sample is not None:
        (folder / "sample.txt").write_text(sample + "\n", encoding="utf-8")
    (folder / "report.md").write_text(markdown(result, pictures, sample), encoding="utf-8")


def markdown(result: Mapping[str, Any], pictures: Sequence[Path], sample: str | None = None) -> str:
    """The report as a page that says by itself what was measured on what."""
    run = f"run `{result['run_id']}`, " if result["run_id"] else ""
    lines = [
        f"# {result['model']} on {result['data']}, {result['split']} split",
        "",
        f"{result['samples']:,} samples. Model: {run}bundle `{result['digest'][:12]}`. "
        f"Data: fingerprint `{result['fingerprint'][:12]}`.",
        "",
        *_overall(result),
        *[f"- {said}" for said in (*result["notes"], *result["remarks"])],
        *([""] if result["notes"] or result["remarks"] else []),
        *_by_class(result),
    ]
    for picture in pictures:
        lines += [f"## {_ALT.get(picture.stem, picture.stem)}", "", f"![{picture.stem}]({picture.name})", ""]
    if sample is not None:
        fence = "`" * max(3, _longest_run(sample) + 1)
        lines += ["## A text that the model wrote", "", fence + "text", sample, fence, ""]
    return "\n".join(lines)


def _overall(result: Mapping[str, Any]) -> list[str]:
    known = METRICS[result["task"]]
    rows = ["| metric | value | better | meaning |", "|---|---:|---|---|"]
    for name, value in result["metrics"].items():
        info = known.get(name.partition("/")[2])
        if info is not None:
            rows.append(f"| {name} | {value:.6g} | {'higher' if info.higher_is_better else 'lower'} | {info.help} |")
    return [*rows, ""]


def _by_class(result: Mapping[str, Any]) -> list[str]:
    """One row per class that has samples; nothing for tasks without classes."""
    families = [name for name, info in METRICS[result["task"]].items() if info.per_class]
    values: dict[str, dict[str, float]] = {}
    for name, value in result["metrics"].items():
        family, bracket, rest = name.partition("/")[2].partition("[")
        if bracket and family in families:
            values.setdefault(rest.removesuffix("]"), {})[family] = value
    if not values:
        return []
    rows = [f"| class | {' | '.join(families)} |", "|---|" + "---:|" * len(families)]
    for name, row in values.items():
        shown = name.replace("|", "\\|").replace("\n", " ")
        rows.append(f"| {shown} | " + " | ".join(f"{row[family]:.4f}" for family in families) + " |")
    return ["## By class", "", *rows, ""]


def _longest_run(text: str) -> int:
    """Back-ticks in a row, which must not end the block that they stand in."""
    longest = current = 0
    for letter in text:
        current = current + 1 if letter == "`" else 0
        longest = max(longest, current)
    return longest
