"""Promotions that race for one alias: none is lost, and the history tells them all."""

from __future__ import annotations

from pathlib import Path

from benchmarks import promotions


def test_every_promotion_of_a_race_is_in_the_history_once(tmp_path: Path) -> None:
    said: list[str] = []
    with promotions.sqlite(tmp_path) as stores:
        row = promotions.race(said.append, stores, promotions=60, processes=3)
    told = {key: row[key] for key in ("measured", "acknowledged", "lost", "twice", "nobody_was_told", "gaps")}
    assert told == {"measured": 60, "acknowledged": 60, "lost": 0, "twice": 0, "nobody_was_told": 0, "gaps": 0}
    assert (row["chain"], row["alias_is_last_row"], row["met"]) == ("fits", True, True)
    assert said == [f"60 promotions and {row['refused']} refusals in {row['seconds']} s"]
