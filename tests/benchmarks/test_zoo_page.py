"""docs/zoo.md is what the result files say, no more and no less."""

from __future__ import annotations

from benchmarks import zoo_page


def test_the_page_is_written_from_the_results() -> None:
    assert zoo_page.PAGE.read_text(encoding="utf-8") == zoo_page.text(), "run: python -m benchmarks.zoo_page"


def test_a_missed_bar_says_so() -> None:
    row = {"metric": "test/accuracy", "mean": 0.5, "scores": [0.5], "at_least": 0.9, "at_most": None, "met": False}
    *_, line = zoo_page._table({"a bar": row})
    assert "**no**" in line and "≥ 0.9" in line
