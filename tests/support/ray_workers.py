"""Workers for tests of the engine ray, in a module that its processes can import."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.engines import Site
from pipeline.errors import UserError


@dataclass(frozen=True)
class BuildTrace:
    """Builds a worker that notes in a folder what it does.

    Attributes:
        kill_at: the batch at which its process is killed, before a result; the first time only, unless `always`.
        problem: of building it.
    """

    folder: Path
    kill_at: int = -1
    always: bool = False
    problem: str = ""

    def __call__(self, site: Site) -> Trace:
        if self.problem:
            raise UserError(self.problem)
        note(self.folder / "built", os.getpid())
        return Trace(self)


class Trace:
    def __init__(self, settings: BuildTrace) -> None:
        self.settings = settings

    def __call__(self, batches: Iterator[int]) -> Iterator[int]:
        for batch in batches:
            if batch == self.settings.kill_at and (self.settings.always or not notes(self.settings.folder / "killed")):
                note(self.settings.folder / "killed", os.getpid())
                os.kill(os.getpid(), signal.SIGKILL)
            note(self.settings.folder / "computed", batch)
            yield 10 * batch

    def close(self) -> None:
        pass


def note(path: Path, number: int) -> None:
    with path.open("a") as file:
        file.write(f"{number}\n")


def notes(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []
