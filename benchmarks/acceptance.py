"""Hold every long bar, in named groups of at most an hour each, row by row, so that it can be taken up again.

    python -m benchmarks.acceptance            # every group
    python -m benchmarks.acceptance bars       # one group
    python -m benchmarks.acceptance bars --again

A row that is in the result file already, of the same spec, is not measured again unless `--again` says so. The exit
code is 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks import (
    bars,
    deployment_faults,
    drift_alarms,
    exactness,
    exports,
    families,
    faults,
    generator_bars,
    hourly_alarms,
    label_free,
    loop,
    merges,
    promotions,
    results_file,
    rollout,
    sweep_cluster,
    sweep_functions,
    sweep_kill,
    sweep_search,
    tests_on_postgresql,
    zoo_autoencoders,
    zoo_decoders,
    zoo_diffusion,
    zoo_gans,
    zoo_graphs,
    zoo_images,
    zoo_page,
    zoo_recurrent,
    zoo_stacks,
    zoo_style,
    zoo_text,
    zoo_text_to_image,
    zoo_transfer,
    zoo_vision_language,
)

Row = Callable[[], dict[str, Any]]


def _say(text: str) -> None:
    print(text, flush=True)


GROUPS: Mapping[str, Mapping[str, Row]] = {
    "autoencoders": {
        **{bar.name: partial(generator_bars.measure, bar, _say) for bar in zoo_autoencoders.VARIATIONAL},
        **{bar.name: partial(bars.measure, bar, _say) for bar in zoo_autoencoders.BARS},
    },
    "bars": {bar.name: partial(bars.measure, bar, _say) for bar in bars.BARS},
    "decoders": {
        **{bar.name: partial(bars.measure, bar, _say) for bar in zoo_decoders.BARS},
        "sample-and-rank LaMDA": partial(zoo_decoders.sample_and_rank, _say),
    },
    "deployment-faults": deployment_faults.rows(_say),
    "diffusion": {zoo_diffusion.DDPM.name: partial(zoo_diffusion.against_the_gan, _say)},
    **drift_alarms.groups(_say),
    "drift-hours": hourly_alarms.rows(_say),
    "exactness": {
        "same spec and seed twice": partial(exactness.repeated, _say),
        "killed in epoch 3 and resumed": partial(exactness.resumed, _say),
    },
    "export": exports.rows(_say),
    "families": families.rows(_say, generators=False),
    "faults": faults.rows(_say),
    "gan": {bar.name: partial(generator_bars.measure, bar, _say) for bar in zoo_gans.BARS},
    "generator-families": families.rows(_say, generators=True),
    "graphs": {bar.name: partial(bars.measure, bar, _say) for bar in zoo_graphs.BARS},
    "images": {bar.name: partial(bars.measure, bar, _say) for bar in zoo_images.BARS},
    "label-free": label_free.rows(_say),
    "loop": loop.rows(_say),
    "merge": merges.rows(_say),
    "postgresql": tests_on_postgresql.rows(_say),
    "promotion": promotions.rows(_say),
    "recurrent": {bar.name: partial(bars.measure, bar, _say) for bar in zoo_recurrent.BARS},
    "rollout": rollout.rows(_say),
    "stacks": {
        "mnist5k DSN": partial(zoo_stacks.stacked_errors, _say),
        "mnist5k DBN, 1,000 labels": partial(zoo_stacks.few_labels, _say),
        **{bar.name: partial(generator_bars.measure, bar, _say) for bar in zoo_stacks.GENERATORS},
    },
    "sweep-cluster": sweep_cluster.rows(_say),
    "sweep-functions": sweep_functions.rows(_say),
    "sweep-kill": sweep_kill.rows(_say),
    "sweep-search-images": sweep_search.rows(sweep_search.IMAGES, _say),
    "sweep-search-tables": sweep_search.rows(sweep_search.TABLES, _say),
    "text-to-image": {bar.name: partial(generator_bars.measure, bar, _say) for bar in zoo_text_to_image.BARS},
    "style": {
        "mnist5k progressive GAN": partial(zoo_style.stage_by_stage, _say),
        zoo_style.STYLEGAN2.name: partial(zoo_style.against_dcgan, _say),
    },
    "transfer": {name: partial(zoo_transfer.transferred, _say, **row) for name, row in zoo_transfer.ROWS.items()},
    "vision-language": {bar.name: partial(bars.measure, bar, _say) for bar in zoo_vision_language.BARS},
    "text": {
        **{bar.name: partial(bars.measure, bar, _say) for bar in zoo_text.BARS},
        "sentences BERT, pretrained or not": partial(zoo_text.fine_tuning, _say, spec="zoo/bert-sentences.yaml"),
        "marks BERT, pretrained or not": partial(zoo_text.fine_tuning, _say, spec="zoo/bert-marks.yaml"),
    },
}

# Groups that are measured together when their first part is asked for.
FAMILIES = {"drift": [group for group in GROUPS if group.startswith("drift-")]}


def main() -> int:
    """Measure what is asked for; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("group", nargs="?", choices=sorted([*GROUPS, *FAMILIES]), help="one group instead of all")
    parser.add_argument("--again", action="store_true", help="measure rows again that have a result")
    arguments = parser.parse_args()
    missed = []
    asked = FAMILIES.get(arguments.group, [arguments.group]) if arguments.group else sorted(GROUPS)
    for group in asked:
        rows = {} if arguments.again else dict(results_file.read(group).get("rows", {}))
        for name, measure in GROUPS[group].items():
            if not results_file.is_current(rows.get(name)):
                rows[name] = results_file.stamped(measure())
                results_file.write(group, rows)
            _say(f"{'met   ' if rows[name]['met'] else 'MISSED'}  {group}: {name}: {_figures(rows[name])}")
            missed += [] if rows[name]["met"] else [name]
    _say(f"wrote {zoo_page.write()}, {faults.write()} and {exports.write()}")
    return 1 if missed else 0


def _figures(row: Mapping[str, Any]) -> str:
    shown = (
        "metric",
        "mean",
        "measured",
        "asked",
        "at_least",
        "at_most",
        "seconds",
        "limit_s",
        "compared",
        "differences",
    )
    return ", ".join(f"{key} {row[key]}" for key in shown if row.get(key) is not None)


if __name__ == "__main__":
    sys.exit(main())
