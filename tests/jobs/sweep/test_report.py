"""The report of a sweep: a page that needs nothing from elsewhere, and its pictures as files."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from forgeline_jobs.sweep import report
from forgeline_jobs.sweep.standing import PAGE, standing
from forgeline_jobs.sweep.trials import Outcome
from tests.jobs.sweep.written import SPACE, WrittenSweep

pytestmark = pytest.mark.usefixtures("home")

TWO = [{"metric": "val/loss"}, {"metric": "val/ece"}]


class Page(HTMLParser):
    """Its tags with what they have, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "meta", "!doctype"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def rows(self) -> int:
        return sum(tag == "tr" for tag, _ in self.tags)


def write(sweep: WrittenSweep, folder: Path) -> Page:
    path = report.write(folder, standing(sweep.ledger, sweep.record))
    assert path == folder / PAGE
    page = Page(path)
    assert page.open == []
    return page


def test_a_sweep_of_two_objectives_has_all_pictures_on_the_page_and_beside_it(tmp_path: Path) -> None:
    page = write(WrittenSweep("two", objective=TWO).work(20), tmp_path)
    stems = ["history", "pareto-front", "importances", "slice", "parallel-coordinates", "contour"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([PAGE, *(f"{stem}.png" for stem in stems)])
    pictures = [given["src"] or "" for tag, given in page.tags if tag == "img"]
    assert len(pictures) == len(stems)
    for picture, stem in zip(pictures, stems, strict=True):
        start, _, data = picture.partition(",")
        assert start == "data:image/png;base64" and base64.b64decode(data).startswith(b"\x89PNG")
        with Image.open(tmp_path / f"{stem}.png") as drawn:
            assert drawn.width > 400 and len(set(drawn.convert("L").resize((64, 64)).tobytes())) > 8
    for said in ("Pareto front:", "forgeline sweeps best two > best.yaml", "optimizer.weight_decay", "val/ece"):
        assert said in page.text


def test_the_page_loads_nothing_and_takes_no_name_for_markup(tmp_path: Path) -> None:
    space = {**SPACE, "optimizer.name": {"choice": ["adamw", "<script>alert(1)</script>"]}}
    page = write(WrittenSweep("marked", space=space).work(10), tmp_path)
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object"} == set()
    for _, given in page.tags:
        assert not any(re.match(r"(?i)\s*(https?:)?//", str(given.get(name))) for name in ("src", "href"))
    assert "<script>alert(1)</script>" in page.text


def test_every_trial_is_in_the_table(tmp_path: Path) -> None:
    sweep = WrittenSweep("table").work(9)
    sweep.end(sweep.begin(), Outcome.FAILED, message="the loss is not a number")
    page = write(sweep, tmp_path)
    found = standing(sweep.ledger, sweep.record)
    for row in found.rows():
        assert row["run"] in page.text
    assert "the loss is not a number" in page.text
    assert [given for tag, given in page.tags if tag == "tr" and given.get("class") == "best"] != []


@pytest.mark.parametrize("trials", [0, 1, 2, 3])
def test_a_sweep_that_was_stopped_after_few_trials_has_a_page(trials: int, tmp_path: Path) -> None:
    sweep = WrittenSweep(f"few-{trials}").work(trials)
    sweep.begin()
    page = write(sweep, tmp_path)
    assert "nothing is said" in page.text
    assert (tmp_path / "history.png").exists() is (trials > 0)


def test_a_sweep_in_which_no_trial_succeeded_says_why(tmp_path: Path) -> None:
    sweep = WrittenSweep("failing")
    sweep.end(sweep.begin(), Outcome.FAILED, message="out of memory")
    sweep.study.end(sweep.begin().number, Outcome.FAILED, objectives=[float("nan")], message="not a number")
    page = write(sweep, tmp_path)
    assert "No trial has succeeded." in page.text
    assert "out of memory" in page.text and "not a number" in page.text


def test_keys_without_numbers_and_all_alike_can_be_drawn(tmp_path: Path) -> None:
    space = {
        "optimizer.name": {"choice": ["adamw", "sgd"]},
        "architecture.hidden": {"choice": [[8], [8, 8]]},
        "optimizer.lr": {"uniform": [0.01, 0.0100001]},
        "architecture.dropout": {"choice": [0.0]},
    }
    write(WrittenSweep("choices", space=space).work(12), tmp_path)
    assert (tmp_path / "contour.png").exists() and (tmp_path / "parallel-coordinates.png").exists()
