"""docs/zoo.md: every model of the zoo with what it reached, from the result files and the measured costs.

python -m benchmarks.zoo_page      # `make acceptance` writes it as well
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.results_file import RESULTS, read
from forgeline_architectures.measurements import Measurement, measurements

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "zoo.md"
SPECS = ROOT / "jobs" / "specs" / "zoo"
PICTURES = PAGE.with_suffix("")
TITLES: Mapping[str, str] = {
    "autoencoders": "Autoencoders",
    "bars": "Shipped specs",
    "decoders": "Decoders",
    "diffusion": "Diffusion",
    "families": "Two workers and torch.compile",
    "generator-families": "Generators: two workers and torch.compile",
    "gan": "Adversarial networks",
    "graphs": "Graphs",
    "images": "Image networks",
    "recurrent": "Recurrent networks",
    "stacks": "Deep stacks",
    "style": "Growing and style-based networks",
    "text": "Text",
    "text-to-image": "Pictures by caption",
    "transfer": "Transfer learning",
    "vision-language": "Pictures and words",
}
HEAD = """# The zoo

Every model with the spec that trains it, what it reached on the test split, and what it costs. Settings and checkpoint
are chosen on the validation split, and the test split is read by `evaluate` alone; where a bar was missed, its recipe
was changed by what val showed and the bar measured again. This page is written by `make acceptance` from
[benchmarks/results](../benchmarks/results); figures are of the machine that each file names. A bar that is missed says
so. What a judge says of a generator's samples comes from a classifier trained on the same data, not from Inception
([specs.md](specs.md#generators)).
"""


def text() -> str:
    """The whole page."""
    parts = [HEAD]
    for path in sorted(RESULTS.glob("*.json")):
        rows = read(path.stem).get("rows", {})
        if path.stem in TITLES and rows:
            parts.append("\n".join([f"## {TITLES[path.stem]}", "", *_table(rows), "", *_pictures(rows)]))
    parts.append("\n".join(["## Not measured yet", "", *_unmeasured()]))
    parts.append("\n".join(["## What they cost", "", *_costs()]))
    return "\n".join(parts).rstrip() + "\n"


def write() -> Path:
    """Write the page."""
    PAGE.write_text(text(), encoding="utf-8")
    return PAGE


def _table(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "| bar | spec | measured | asked for | met | seconds a training |"
    yield "|---|---|---|---|---|---|"
    for name, row in rows.items():
        spec = row.get("spec")
        linked = f"[{Path(spec).stem}](../jobs/specs/{spec})" if spec else ""
        seconds = row.get("seconds") or []
        spent = f"{sum(seconds) / len(seconds):.0f}" if isinstance(seconds, list) and seconds else ""
        yield f"| {name} | {linked} | {_found(row)} | {_asked(row)} | {'yes' if row['met'] else '**no**'} | {spent} |"


def _found(row: Mapping[str, Any]) -> str:
    if "found" in row:
        return str(row["found"])
    if "measured" in row:
        return "; ".join(f"{name} {', '.join(map(_number, values))}" for name, values in row["measured"].items())
    if "mean" not in row:
        plain = {key: value for key, value in row.items() if isinstance(value, int | float) and key != "met"}
        return "; ".join(f"{key.replace('_', ' ')} {_number(value)}" for key, value in plain.items())
    of = len(row.get("scores", []))
    return f"{row['metric']} {_number(row['mean'])}" + (f", mean of {of}" if of > 1 else "")


def _asked(row: Mapping[str, Any]) -> str:
    if "asked" in row:
        return "; ".join(f"{name} {_bounds(bound)}" for name, bound in row["asked"].items())
    return _bounds(row)


def _bounds(row: Mapping[str, Any]) -> str:
    bounds = [("≥", row.get("at_least")), ("≤", row.get("at_most"))]
    return ", ".join(f"{sign} {_number(bound)}" for sign, bound in bounds if bound is not None)


def _pictures(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Samples of the generators under the name of their spec, each followed by what its family shows besides."""
    for spec in dict.fromkeys(str(row["spec"]) for row in rows.values() if row.get("spec")):
        stem = Path(spec).stem
        for picture in (PICTURES / f"{stem}.png", *sorted(PICTURES.glob(f"{stem}.*.png"))):
            if picture.exists():
                shown = picture.stem.removeprefix(stem).lstrip(".").replace("-", " ") or "samples"
                yield f"![{shown.capitalize()} of {stem}]({PICTURES.name}/{picture.name})"
                yield ""


def _unmeasured() -> Iterator[str]:
    """Specs of the zoo that no row of a result file is about."""
    groups = [read(name).get("rows", {}) for name in TITLES if not name.endswith("families")]
    measured = {row.get("spec") for rows in groups for row in rows.values()}
    missing = [path for path in sorted(SPECS.glob("*.yaml")) if f"zoo/{path.name}" not in measured]
    yield "Specs that no measured bar is about so far; what they reach is not known:"
    yield ", ".join(f"[{path.stem}](../jobs/specs/zoo/{path.name})" for path in missing) or "none."
    yield ""


def _costs() -> Iterator[str]:
    yield "| model | trained by | inputs | parameters | multiply-adds | training step, MB | samples/s |"
    yield "|---|---|---|---:|---:|---:|---:|"
    for row in measurements():
        yield "| " + " | ".join(_cost(row)) + " |"
    yield ""
    yield "Multiply-adds are of one prediction (of a generator: one sample; of a graph: the whole graph). A training"
    yield "step's memory is weights, gradients, optimiser state and what is kept for the backward pass. Samples per"
    yield "second are of training, per second of one core; a row without a spec is a published configuration."


def _cost(row: Measurement) -> list[str]:
    spec = f"[{Path(row.spec).stem}](../jobs/specs/zoo/{row.spec})" if row.spec else ""
    return [
        row.model,
        spec,
        row.inputs,
        f"{row.parameters:,}",
        "" if row.multiply_adds is None else f"{row.multiply_adds:,}",
        "" if row.memory_bytes is None else f"{row.memory_bytes / 1e6:.1f}",
        "" if row.samples_per_s is None else f"{row.samples_per_s:g}",
    ]


def _number(value: float) -> str:
    return f"{value:.4g}"


if __name__ == "__main__":
    print(f"wrote {write()}")
