"""The judging window in a process of its own, driven by real key events and clicks."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from feedback_store.csv_store.store import CsvFeedbackStore
from support.command_process import start_command


class Driven:
    """The window in a process of its own, as a person has it, and a keyboard before it."""

    def __init__(self, display: str, where: Any) -> None:
        tests = Path(__file__).parents[1]
        self.environment = os.environ | {"DISPLAY": display, "PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}"}
        self.store = CsvFeedbackStore(where.folder / "feedback")
        script = tests / "stages" / "collect" / "window_program.py"
        arguments = [
            str(where.folder),
            str(where.table.root),
            where.settings.model_dump_json(),
            ",".join(where.plan.classes),
        ]
        arguments += [str(len(where.plan.items))]
        self.process = start_command([str(script), *arguments], env=self.environment)
        self.window = self._find()
        self._xdotool("windowfocus", "--sync", self.window)

    def _find(self) -> str:
        """The window; a search fails if some other window goes while it looks at all of them."""
        give_up = time.monotonic() + 60
        while True:
            try:
                return self._xdotool("search", "--sync", "--onlyvisible", "--name", "image-rlhf: judge").split()[0]
            except subprocess.CalledProcessError:
                if time.monotonic() > give_up or self.process.poll() is not None:
                    self.process.kill()  # its window would take the keys of the tests after
                    raise

    def _xdotool(self, *arguments: str) -> str:
        done = subprocess.run(
            ["xdotool", *arguments], env=self.environment, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    def press(self, *keys: str) -> None:
        """Real key events, to whatever has the focus."""
        for key in keys:
            self._xdotool("key", "--clearmodifiers", key)

    def wait_rows(self, count: int) -> Any:
        """All rows, once there are so many."""
        give_up = time.monotonic() + 30
        while True:
            pairs, singles = self.store.all_rows("pairwise"), self.store.all_rows("per_image")
            if len(pairs) + len(singles) >= count:
                return pairs if len(pairs) else singles
            assert time.monotonic() < give_up, f"{len(pairs) + len(singles)} of {count} rows"
            assert self.process.poll() is None
            time.sleep(0.02)

    def picture(self, name: str) -> None:
        if folder := os.environ.get("IMAGE_RLHF_SCREENSHOTS"):
            subprocess.run(
                ["import", "-window", self.window, f"{folder}/window-{name}.png"], env=self.environment, check=False
            )

    def close(self) -> None:
        self._xdotool("windowclose", self.window)
        self.process.wait(30)
