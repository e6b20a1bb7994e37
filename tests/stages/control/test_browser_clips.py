"""Clips in a real Chromium: compared by keyboard alone, played again, faster and slower.

IMAGE_RLHF_SCREENSHOTS names a folder to put pictures of the page into.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.browser import CHROMIUM, shot, until
from support.clips import FPS, ClipPlace, clip_place, drawn_frames
from support.collect_server import Live
from support.judging_page import wait_stored

from pipeline.control.clip import clip_path, save_clip
from pipeline.ui.web.connections import ConnectionLimits

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: the page was not tested in a browser"
)
QUESTIONS = 20

# What is on the screen. A clip is drawn if its canvas has a pixel that is not transparent.
SHOWN = """() => ({
    finished: !document.getElementById('finished').hidden,
    question: document.getElementById('question').textContent,
    answers: [...document.querySelectorAll('#stage .clip')].map((clip) => clip.dataset.answer),
    frames: [...document.querySelectorAll('#stage canvas')].map((canvas) => Number(canvas.dataset.frame)),
    plays: [...document.querySelectorAll('#stage canvas')].map((canvas) => Number(canvas.dataset.plays)),
    drawn: [...document.querySelectorAll('#stage canvas')].map(
        (canvas) => canvas.getContext('2d').getImageData(0, 0, 1, 1).data[3] === 255),
    colours: [...document.querySelectorAll('#stage canvas')].map((canvas) => {
        const data = canvas.getContext('2d').getImageData(0, 40, canvas.width, 1).data;
        for (let at = 0; at < data.length; at += 4) if (data[at] !== 255) return [...data.slice(at, at + 3)];
    }),
    speed: document.querySelector('.speeds [aria-pressed="true"]')?.textContent,
})"""
# Counts canvases that are shown without a frame.
COUNT_EMPTY = """addEventListener('DOMContentLoaded', () => {
    window.empty = 0;
    new MutationObserver(() => {
        window.empty += document.querySelectorAll('#stage canvas:not([data-frame])').length;
    }).observe(document.getElementById('stage'), { childList: true });
});"""
NEXT_CLIP = "(colours) => JSON.stringify((" + SHOWN + ")().colours) !== colours"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[..., ClipPlace]]:
    made: list[ClipPlace] = []

    def make(count: int = QUESTIONS, **settings: object) -> ClipPlace:
        made.append(clip_place(tmp_path, count, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def live() -> Iterator[Callable[..., Live]]:
    started: list[Live] = []

    def make(where: ClipPlace, *annotators: str) -> Live:
        started.append(Live(where, list(annotators or ("ann",)), ConnectionLimits(20.0, 1024)))  # type: ignore[arg-type]
        return started[-1]

    yield make
    for server in started:
        server.stop()


def clips(page: Any) -> dict[str, Any]:
    return page.evaluate(SHOWN)


def wait_next(page: Any, before: dict[str, Any]) -> None:
    """Wait until other clips are shown, or none."""
    colours = page.evaluate("(colours) => JSON.stringify(colours)", before["colours"])
    until(page, f"(colours) => !document.getElementById('finished').hidden || ({NEXT_CLIP})(colours)", colours)


def opened(page: Any, server: Live) -> None:
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage canvas")


KEYS: list[tuple[str, Callable[[list[str]], str]]] = [
    ("ArrowLeft", lambda on: on[0]),
    ("ArrowRight", lambda on: on[1]),
    ("t", lambda on: "tie"),
    ("2", lambda on: on[1]),
    ("c", lambda on: "cant_tell"),
    ("1", lambda on: on[0]),
    ("b", lambda on: "bad_image"),
]


@pytest.mark.long
def test_twenty_comparisons_by_keyboard_alone(page: Any, place: Any, live: Any) -> None:
    """Two answers are taken back and the page is reloaded half-way; the store holds exactly what was pressed, once."""
    server = live(place())
    page.add_init_script(COUNT_EMPTY)
    opened(page, server)
    shot(page, "clips-light")
    pressed: list[tuple[list[list[int]], str]] = []
    for number in range(QUESTIONS + 2):
        if number == 8:
            for _ in range(2):
                before = clips(page)
                page.keyboard.press("u")
                wait_next(page, before)
                assert clips(page)["colours"] == pressed.pop()[0], "the clips of the answer that was taken back"
        if number == 12:
            wait_stored(page)
            page.reload()
            page.wait_for_selector("#stage canvas")
        before = clips(page)
        assert before["question"] == "Which clip is better?"
        assert before["drawn"] == [True, True], "the clips are there when the question is"
        page.wait_for_timeout(80)
        key, stands_for = KEYS[number % len(KEYS)]
        page.keyboard.press(key)
        pressed.append((before["colours"], stands_for(before["answers"])))
        wait_next(page, before)
    wait_stored(page)
    page.wait_for_selector("#finished:not([hidden])")
    shot(page, "clips-finished")
    stored = server.where.store.comparisons()
    assert list(stored["choice"]) == [answer for _, answer in pressed]
    assert len({frozenset(pair) for pair in zip(stored["image_a"], stored["image_b"], strict=True)}) == QUESTIONS
    assert len(server.where.store.all_rows("pairwise")) == QUESTIONS + 2 + 2, "answers that were taken back stay stored"
    assert "urther questions appear here" in page.inner_text("#finished")
    assert page.evaluate("window.empty") == 0, "the first frames are drawn before anything else happens"
    times = page.evaluate("performance.getEntriesByName('key to next question').map((entry) => entry.duration)")
    print(
        f"\nkey to the first frames of the next clips: median {statistics.median(times):.0f} ms, most {max(times):.0f} ms"
    )


@pytest.mark.long
def test_replay_speed_and_held_keys(page: Any, place: Any, live: Any) -> None:
    """Space plays from the start, - and + change the speed, and a key that is held down answers one question."""
    server = live(place(count=4))
    opened(page, server)
    assert clips(page)["speed"] == "1×"
    for keys, speed in (
        (["-"], "½×"),
        (["-", "-"], "¼×"),
        (["+", ">", "="], "2×"),
        ([">"], "4×"),
        (["+"], "4×"),
        (["<"], "2×"),
    ):
        for key in keys:
            page.keyboard.press(key)
        assert clips(page)["speed"] == speed, keys
    page.keyboard.press("-")
    page.keyboard.press("-")
    until(page, "() => document.querySelector('#stage canvas').dataset.frame > 2")
    plays = clips(page)["plays"]
    page.keyboard.press(" ")
    after = clips(page)
    assert max(after["frames"]) <= 2, "both start again"
    assert after["plays"] == [one + 1 for one in plays]
    page.keyboard.press("4")
    assert clips(page)["plays"][0] >= after["plays"][0], "a digit does nothing here"
    page.reload()
    page.wait_for_selector("#stage canvas")
    assert clips(page)["speed"] == "½×", "the speed is kept"
    before = clips(page)
    page.keyboard.down("ArrowLeft")
    wait_next(page, before)
    for _ in range(5):
        page.keyboard.down("ArrowLeft")  # repeats
    page.keyboard.up("ArrowLeft")
    wait_stored(page)
    assert list(server.where.store.comparisons()["choice"]) == [before["answers"][0]]
    until(page, "() => Number(document.querySelector('#stage canvas').dataset.plays) > 1")  # a loop


# Plays two clips of 10 and 4 frames at 10 frames per second by a clock that stands in the list: [milliseconds, speed].
PLAY = """async ([script, steps]) => {
    const { ClipPlayer } = await import(script);
    const clips = [10, 4].map((frames) => {
        const bar = document.createElement('span'), canvas = document.createElement('canvas');
        document.createElement('span').append(bar);
        const facts = { frames, fps: 10, width: 4, height: 4, columns: 10, gap: 1 };
        return { facts, bar, canvas, image: Object.assign(document.createElement('canvas'), { width: 50, height: 5 }) };
    });
    const player = new ClipPlayer(clips, 1);
    player.replay();
    const seen = steps.map(([now, speed]) => {
        player.speed = speed;
        player.step(now);
        player.stop();
        return clips.map(({ canvas, bar }) => [Number(canvas.dataset.frame), Number(/[\\d.]+/.exec(bar.style.transform)[0])]);
    });
    return { seen, plays: player.plays, widths: clips.map(({ bar }) => bar.parentElement.style.width) };
}"""


def test_frames_by_the_clock(page: Any, place: Any, live: Any) -> None:
    server = live(place(count=1))
    opened(page, server)
    steps = [(5000, 1), (5250, 1), (5350, 2), (5400, 0.5), (6000, 4), (6600, 1), (6710, 1), (6810, 1)]
    played = page.evaluate(PLAY, [page.url + "static/kinds/clip_comparison/clip_player.js", steps])
    seconds = [0, 0.25, 0.45, 0.475, 1, 1, 0, 0]  # it starts again 700 ms after the end
    longer, shorter = zip(*played["seen"], strict=True)
    assert [frame for frame, _ in longer] == [0, 2, 4, 4, 9, 9, 0, 0]
    assert [frame for frame, _ in shorter] == [0, 2, 3, 3, 3, 3, 0, 0]
    assert [bar for _, bar in longer] == pytest.approx(seconds)
    assert [bar for _, bar in shorter] == pytest.approx([min(1, one / 0.4) for one in seconds])
    assert (played["plays"], played["widths"]) == (2, ["100%", "40%"])


@pytest.mark.long
def test_clips_of_different_lengths_and_broken_ones(page: Any, place: Any, live: Any) -> None:
    """The shorter clip waits at its last frame; a file that is gone leaves the page usable."""
    where = place(count=1)
    folder = where.run / "clips"
    short = save_clip(drawn_frames(30, count=4), folder, FPS)
    where.pairs = [(short, where.pairs[0][0])]
    server = live(where)
    opened(page, server)
    page.keyboard.press("+")
    until(page, "() => Math.max(...[...document.querySelectorAll('#stage canvas')].map((c) => c.dataset.frame)) === 11")
    assert sorted(clips(page)["frames"]) == [3, 11]
    widths = page.eval_on_selector_all(".clip-bar", "(bars) => bars.map((bar) => bar.style.width)")
    assert {round(float(width[:-1])) for width in widths} == {33, 100}
    clip_path(folder, short).unlink()
    page.close()
    fresh = page.context.browser.new_context()  # it has no copy of the clips
    other = fresh.new_page()
    other.goto(server.link("ann"))
    other.wait_for_selector(".no-clip")
    shot(other, "clips-broken")
    other.keyboard.press("b")
    wait_stored(other)
    assert list(where.store.comparisons()["choice"]) == ["bad_image"]
    fresh.close()
