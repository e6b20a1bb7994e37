"""A real Chromium for tests; IMAGE_RLHF_SCREENSHOTS names a folder to put pictures of every page into."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

# The headless shell is the same engine in a browser without windows: a page takes a third of the processor time.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)


def shot(page: Any, name: str) -> None:
    if folder := os.environ.get("IMAGE_RLHF_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png")


def until(page: Any, true: str, arg: Any = None, timeout: float = 30.0) -> None:
    """Wait for a function of the page; playwright's own waiting evaluates strings, which the page's policy forbids."""
    give_up = time.monotonic() + timeout
    while not page.evaluate(true, arg):
        assert time.monotonic() < give_up, f"waited {timeout} s for {true}"
        page.wait_for_timeout(5)
