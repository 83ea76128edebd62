"""The page: whole, without outside addresses or scripts, and with all text escaped."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from forgeline.bundle.reference import Reference
from forgeline.ledger.journal import Journal
from forgeline_deploy.monitor.page import MOST_SHOWN, page_state, render
from forgeline_deploy.monitor.spec import MonitorConfig
from forgeline_deploy.monitor.standing import monitored
from tests.deploy.monitor.test_monitor import CONFIG, Watching

_VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """Reads a page, and minds that its tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def state_of(
    journal: Journal, folder: Path, reference: Reference, *, config: MonitorConfig = CONFIG, **more: Any
) -> dict[str, Any]:
    watching = Watching(journal, folder, reference)
    for number in range(4):
        watching.window(number, rows=40 if number == 1 else 200, shift=0.9 if number == 3 else 0.0)
    found = monitored(watching.monitor.store.windows, [], policy=config.model_dump(mode="json"), timeline=100)
    return page_state(found, deployment="digits", model="digits version 1", now=50.0, **more)


def test_the_page_shows_what_the_monitor_has(journal: Journal, tmp_path: Path, reference: Reference) -> None:
    traffic = [{"stream": "champion 1", "share": 0.95}, {"stream": "challenger 2", "share": 0.05}]
    state = state_of(journal, tmp_path, reference, traffic=traffic, comparison={"pairs": 1200, "upper bound": 0.013})
    page = Page(render(state))
    bars = [attributes for tag, attributes in page.tags if tag == "rect"]
    assert [bar["class"] for bar in bars] == ["quiet", "thin", "quiet", "ticket"]
    for text in ("the input usage drifted", "95 %", "upper bound", "0.013", "1970-01-01 00:00:50 UTC", "1 per 1h"):
        assert text in page.text
    places = [attributes for _, attributes in page.tags if {"src", "href", "action"} & attributes.keys()]
    assert places == [] and not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}


def test_what_is_wrong_is_told_once_and_pages_come_first(
    journal: Journal, tmp_path: Path, reference: Reference
) -> None:
    alerts = [
        {"severity": "ticket", "about": "drift", "subject": f"champion 1: x{n}", "text": f"x{n} moved", "since": 9.0}
        for n in range(MOST_SHOWN)
    ]
    alerts.append(alerts[0] | {"subject": "champion 1: usage", "text": "the usage as it was"})
    alerts.append(
        alerts[0]
        | {"severity": "page", "about": "performance", "subject": "champion 1: accuracy", "text": "70 % right"}
    )
    state = state_of(journal, tmp_path, reference, alerts=alerts)
    [finding] = state["findings"]
    text = Page(render(state)).text
    assert text.index("70 % right") < text.index(finding["text"]) < text.index("x0 moved")
    assert "the usage as it was" not in text and text.count(f"champion 1: usage: {finding['text']}") == 1
    assert text.index("2 more") < text.index(f"x{MOST_SHOWN - 1} moved")


def test_accuracy_by_labels_is_drawn_over_the_bound(journal: Journal, tmp_path: Path, reference: Reference) -> None:
    bounded = MonitorConfig.model_validate(CONFIG.model_dump(mode="json") | {"bounds": {"accuracy": "90%"}})
    state = state_of(journal, tmp_path, reference, config=bounded)
    assert "By window, from" not in Page(render(state)).text
    for number, correct in ((0, 95), (2, 91), (3, 62)):
        state["timeline"][number]["labelled"] = {"champion 1": {"rows": 100, "correct": correct, "error": None}}
    page = Page(render(state))
    [line] = [
        attributes for tag, attributes in page.tags if tag == "polyline" and attributes.get("class") == "champion"
    ]
    places = [tuple(map(float, point.split(","))) for point in str(line["points"]).split()]
    [bound] = [float(str(attributes["y1"])) for tag, attributes in page.tags if tag == "line"]
    assert [x for x, _ in places] == [120.0, 600.0, 840.0]
    assert [y < bound for _, y in places] == [True, True, False]
    assert "By window, from 60 % to 100 %" in page.text and "allowed, 90 %" in page.text


def test_text_from_data_is_never_markup(journal: Journal, tmp_path: Path, reference: Reference) -> None:
    evil = "<script>alert(1)</script>\"'&"
    state = state_of(journal, tmp_path, reference, notes=[evil], comparison={evil: evil}, alerts=[])
    state["deployment"] = state["model"] = evil
    state["features"][0]["feature"] = evil
    state["timeline"][3]["findings"][0]["text"] = evil
    text = render(state)
    assert "<script" not in text and Page(text).text.count(evil) >= 6


def test_the_page_of_a_deployment_that_just_began_is_a_page(reference: Reference) -> None:
    empty = monitored([], [], policy=CONFIG.model_dump(mode="json"), timeline=10)
    text = render(page_state(empty, deployment="digits", model="digits version 1", now=0.0))
    assert "No window is closed yet." in Page(text).text
