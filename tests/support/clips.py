"""Clips for tests, and their page: drawn frames whose every number can be read back, on a server in this process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from feedback_store.csv_store.store import CsvFeedbackStore
from pipeline.config.base import Section
from pipeline.config.collect import CollectConfig
from pipeline.config.runtime import RuntimeConfig
from pipeline.config.tracking import TrackingConfig
from pipeline.control.clip import save_clip
from pipeline.control.clip_comparison import clip_item
from pipeline.kinds.items import distinct
from stages.collect.assignments import Assignments
from stages.collect.leases import Leases
from stages.collect.web.owner_overview import Overview
from stages.collect.web.page_context import PageContext
from stages.collect.web.personal_links import Links
from stages.collect.web.task_json import Presenter
from stages.control.ask_page import CLIPS, clip_items
from support.collect_server import Clock

FPS = 20.0


class ClipsConfig(Section):
    """What `ask_people` needs of a configuration."""

    stage_sections: ClassVar = {"rounds": ("collect",)}

    name: str = "clips"
    seed: int = 0
    runs: Path = Path("runs")
    collect: CollectConfig = CollectConfig()
    tracking: TrackingConfig = TrackingConfig()
    runtime: RuntimeConfig = RuntimeConfig()


def drawn_frames(number: int, count: int = 12, width: int = 120, height: int = 80) -> np.ndarray:
    """Frames of a bar that moves to the right: which frame it is can be seen, and which clip from its colour."""
    frames = np.full((count, height, width, 3), 255, np.uint8)
    for place in range(count):
        at = place * (width - 10) // max(1, count - 1)
        frames[place, 20:60, at : at + 10] = (40 + 5 * number % 200, 90, 200 - 3 * number % 150)
    return frames


def draw_clips(folder: Path, count: int, **sizes: int) -> list[str]:
    """Ids of `count` clips, whose files are in `folder`."""
    return [save_clip(drawn_frames(number, **sizes), folder, FPS) for number in range(count)]


def pairs_of(clips: list[str]) -> list[tuple[str, str]]:
    """Neighbours."""
    return list(zip(clips[::2], clips[1::2], strict=True))


@dataclass
class ClipPlace:
    """A run with clips and questions; `desk` opens the same files as a restarted process would."""

    config: ClipsConfig
    pairs: list[tuple[str, str]]
    clock: Clock = field(default_factory=Clock)
    opened: list[Leases] = field(default_factory=list)

    @property
    def run(self) -> Path:
        return self.config.runs / self.config.name

    @property
    def store(self) -> CsvFeedbackStore:
        return CsvFeedbackStore(self.run / "feedback")

    def desk(self, annotators: list[str]) -> PageContext:
        store = self.store
        items = clip_items(self.config, distinct([clip_item(*pair) for pair in self.pairs]), store, round=0)
        leases = Leases(self.run / "collect" / "leases.sqlite")
        self.opened.append(leases)
        assignments = Assignments(
            items.plan, store, leases, items.settings, seed=items.seed, source="web", clock=self.clock
        )
        links = Links(self.run / "collect" / "links.json", annotators)
        hosts = frozenset({"127.0.0.1", "localhost"})
        return PageContext(
            assignments, links, Presenter(assignments, links, items), items.renditions, Overview(store, {}), hosts
        )

    def close(self) -> None:
        for leases in self.opened:
            leases.close()


def clip_place(folder: Path, count: int, **settings: object) -> ClipPlace:
    """A run below `folder` with `count` questions about drawn clips; settings are those of `collect`."""
    collect = CollectConfig.model_validate({"repeat_fraction": 0, **settings})
    place = ClipPlace(ClipsConfig(runs=folder / "runs", collect=collect), [])
    place.pairs = pairs_of(draw_clips(place.run / CLIPS, 2 * count))
    return place
