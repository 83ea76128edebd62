"""The page: whole, without outside addresses or scripts, and with all text escaped."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from forgeline.bundle.reference import Reference
from forgeline.ledger.journal import Journal
from forgeline_deploy.monitor.page import page_state, render
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


def state_of(journal: Journal, folder: Path, reference: Reference, **more: Any) -> dict[str, Any]:
    watching = Watching(journal, folder, reference)
    for number in range(4):
        watching.window(number, rows=40 if number == 1 else 200, shift=0.9 if number == 3 else 0.0)
    found = monitored(watching.monitor.store.windows, [], policy=CONFIG.model_dump(mode="json"), timeline=100)
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
