"""A person in a real Chromium who answers label choices by keyboard, and the times that the page measures."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# Before the page's own scripts: times of key presses, ids of the answers sent, and when requests with answers ended.
WATCH = """
window.watched = { keys: [], sent: [], acknowledged: [] };
addEventListener("keydown", (event) => watched.keys.push(event.timeStamp), true);
const original = window.fetch;
window.fetch = async (path, options) => {
  const answers = String(path).endsWith("answers");
  if (answers) watched.sent.push(...JSON.parse(options.body).answers.map((answer) => answer.id));
  const asked = watched.keys.at(-1);
  const response = await original(path, options);
  if (answers && response.ok) watched.acknowledged.push(performance.now() - asked);
  return response;
};
"""
IMAGE = "() => document.querySelector('#stage img')?.getAttribute('src') ?? ''"
UNSENT = "() => Object.keys(localStorage).filter((key) => key.startsWith('outbox')).some((key) => localStorage[key] !== '[]')"


class Annotator:
    """Args:
    classes: [N] class number of each image, which is the key that answers.
    """

    def __init__(self, page: Any, classes: Sequence[int]) -> None:
        self.page, self.classes, self.given = page, classes, 0

    def answer(self, count: int, think: float) -> None:
        """Answer questions, a key press each; waits while there is none."""
        for _ in range(count):
            shown = self._wait_for(lambda src: src != "")
            self.page.wait_for_timeout(1000 * think)
            row = int(shown.rpartition("/")[2].partition("-")[0], 16)
            self.page.keyboard.press(str(self.classes[row]))
            self.given += 1
            self._wait_for(lambda src, before=shown: src != before)

    def _wait_for(self, true: Any, seconds: float = 120.0) -> str:
        give_up = time.monotonic() + seconds
        while not true(src := self.page.evaluate(IMAGE)):
            if time.monotonic() > give_up:
                raise SystemExit(f"no other question within {seconds:g} s: {self.page.inner_text('body')[:500]}")
            self.page.wait_for_timeout(5)
        return str(src)

    def forget_times(self) -> None:
        self.page.evaluate("() => { performance.clearMeasures(); watched.acknowledged = []; }")

    def times(self) -> dict[str, list[float]]:
        """Milliseconds by what was measured, since `forget_times`."""
        next_question = "() => performance.getEntriesByName('key to next question').map((entry) => entry.duration)"
        return {
            "key press to next question": self.page.evaluate(next_question),
            "key press to acknowledgement": self.page.evaluate("() => watched.acknowledged"),
        }

    def take_screenshots(self, folder: Path) -> None:
        """The page and what it says of the answers: wide, on a phone, and in the dark."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, width, scheme in (("wide", 1280, "light"), ("phone", 390, "light"), ("dark", 1280, "dark")):
            self.page.set_viewport_size({"width": width, "height": 844})
            self.page.emulate_media(color_scheme=scheme)
            self.page.screenshot(path=folder / f"{name}.png")
            self.page.click("#live-strip")
            self.page.screenshot(path=folder / f"{name}-details.png")
            self.page.click("#live-dialog .plain")
        self.page.set_viewport_size({"width": 1280, "height": 800})
        self.page.emulate_media(color_scheme="light")

    def finish(self) -> set[str]:
        """Wait until every answer is acknowledged; returns their ids."""
        give_up = time.monotonic() + 120
        while self.page.evaluate(UNSENT):
            if time.monotonic() > give_up:
                raise SystemExit("answers still wait in the browser after two minutes")
            self.page.wait_for_timeout(100)
        sent = set(self.page.evaluate("() => watched.sent"))
        if len(sent) != self.given:
            raise SystemExit(f"{self.given} keys were pressed, and {len(sent)} answers were sent")
        return sent


@contextmanager
def opened(link: str, classes: Sequence[int]) -> Iterator[Annotator]:
    """The judging page behind a personal link."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        raise SystemExit("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(WATCH)
        page.goto(link)
        yield Annotator(page, classes)
        browser.close()
