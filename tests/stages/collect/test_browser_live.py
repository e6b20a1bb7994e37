"""What the pages show of live collection, in a real Chromium: wide, on a phone and in the dark."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import support.collect_server
from support.browser import CHROMIUM, shot, until
from support.judging_page import wait_stored

from pipeline.config import parse_config
from stages.collect.web.live_routes import LiveStatus
from stages.collect.web.training_process import TrainingProcess
from stages.rounds.advice import advice

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: the page was not tested in a browser"
)
CONFIG = parse_config({"images": {"source": "digits"}}, "test")
CURVE = [(17, 47, 0.34), (42, 119, 0.52), (74, 204, 0.63), (106, 290, 0.72), (140, 395, 0.76), (180, 500, 0.79)]


def progress(simulated: float = 0.0, **state: Any) -> dict[str, Any]:
    """progress.json after six rounds; `simulated` is the share of the seconds that are simulated."""
    rounds = [
        {
            "round": number,
            "answers": answers,
            "seconds": seconds,
            "simulated": simulated * seconds,
            "accuracy": accuracy,
            "low": accuracy - 0.19 + number / 60,
            "high": min(1.0, accuracy + 0.16 - number / 60),
        }
        for number, (answers, seconds, accuracy) in enumerate(CURVE)
    ]
    estimate = {"accuracy": 0.79, "low": 0.68, "high": 0.87, "answers": 61, "verdict": "enough"}
    found: dict[str, Any] = {
        "rounds": rounds,
        "reference": {"accuracy": 0.17, "low": 0.06, "high": 0.32},
        "estimate": estimate,
        "forecast": {"minute": {"gain": 0.008, "low": 0.001, "high": 0.02}},
        "audit_fraction": 0.1,
        "classes": [
            {"name": "ant", "predicted": 0.4, "named": 0.35, "audited": 20, "accuracy": 0.8, "low": 0.6, "high": 0.92},
            {"name": "bee", "predicted": 0.35, "named": 0.3, "audited": 17, "accuracy": 0.7, "low": 0.45, "high": 0.9},
            {"name": "wasp", "predicted": 0.25, "named": 0.35, "audited": 0},
        ],
        "state": {"training": None, "waiting_for": 12, "message": ""} | state,
    }
    return found | advice(found, 0.001)


@pytest.fixture
def live_server(
    tmp_path: Path, place: Any, live: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[str, Any] | None], Any]:
    """A page's server with live collection, whose training process has written this."""
    path = tmp_path / "progress.json"
    original = support.collect_server.desk_for
    status = LiveStatus(path, TrainingProcess([], CONFIG))
    monkeypatch.setattr(support.collect_server, "desk_for", lambda *given: replace(original(*given), live=status))

    def start(content: dict[str, Any] | None) -> Any:
        if content is not None:
            path.write_text(json.dumps(content))
        return live(place("label", count=30))

    return start


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme"),
    [
        ("wide", 1280, 800, "light"),
        pytest.param("phone", 390, 844, "light", marks=pytest.mark.long),
        pytest.param("dark", 1280, 800, "dark", marks=pytest.mark.long),
    ],
)
def test_what_the_answers_have_achieved(
    live_server: Any, page: Any, name: str, width: int, height: int, scheme: str
) -> None:
    server = live_server(progress())
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage img")
    page.wait_for_selector("#live-strip strong:not(:empty)")
    shot(page, f"live-{name}")
    strip = page.inner_text("#live-strip")
    assert "79 %" in strip
    assert "estimated accuracy (68 to 87 %)" in strip
    assert "another minute: about 0.8 points" in strip
    assert page.is_visible(".live-doing") == (width > 640)
    assert page.text_content(".live-doing") == "next training after 12 more answers"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("#live-strip")
    shot(page, f"live-{name}-details")
    details = page.inner_text("#live-dialog")
    assert "Go on: another minute is expected to bring 0.8 points (95 % interval 0.1 to 2.0)." in details
    assert "minutes of people's time" in page.text_content("#live-dialog .chart")
    assert page.locator("#live-dialog .chart circle").count() == 7, "the reference and six rounds"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("#live-dialog .plain")
    page.keyboard.press("0")
    wait_stored(page)
    assert len(server.desk.assignments.store.per_image_judgments()) == 1, "keys answer again"


def test_before_the_first_training(live_server: Any, page: Any) -> None:
    server = live_server(None)
    page.goto(server.link("ann"))
    page.wait_for_selector("#live-strip")
    until(page, "() => document.querySelector('.live-text').textContent.startsWith('Learning starts')")
    page.click("#live-strip")
    assert "Nothing was trained yet" in page.inner_text("#live-dialog")


def test_simulated_time_is_called_simulated(live_server: Any, page: Any) -> None:
    page.goto(live_server(progress(simulated=1.0)).link("ann"))
    page.wait_for_selector("#live-strip strong:not(:empty)")
    page.click("#live-strip")
    assert "simulated minutes" in page.text_content("#live-dialog .chart")
    assert "of simulated time" in page.inner_text("#live-dialog")
    assert "people" not in page.inner_text("#live-dialog")


def test_the_owner_sees_every_class(live_server: Any, page: Any) -> None:
    server = live_server(progress())
    for name, width, scheme in (("wide", 1280, "light"), ("phone", 390, "light"), ("dark", 1280, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        page.goto(server.link(""))
        page.wait_for_selector("#live-classes td")
        shot(page, f"live-owner-{name}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    table = page.inner_text("#live-classes")
    assert "80 % (60 % to 92 %)" in table
    assert "no audit question yet" in table
    assert "Estimated accuracy 79 %" in page.inner_text("#live-details")


def test_without_live_collection_the_page_is_as_before(page: Any, place: Any, live: Any) -> None:
    server = live(place("label", count=5))
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage img")
    assert page.locator("#live-strip").count() == 0
    page.goto(server.link(""))
    page.wait_for_selector("#people td")
    assert not page.is_visible("#live")
