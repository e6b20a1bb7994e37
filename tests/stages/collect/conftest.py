"""A collection without networks: images, a plan, and assignments on a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from feedback_store.store import FeedbackStore
from pipeline.config import parse_config
from pipeline.config_collect import CollectConfig
from pipeline.images.table import ImageTable, read_images
from stages.collect.assignments import Assignments
from stages.collect.items import distinct, items_of
from stages.collect.leases import Leases
from stages.collect.plan import Plan
from stages.collect.queries import draw

CLASSES = ("ant", "bee", "wasp")


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Place:
    """What a test collects with; `again` opens the same files as a restarted process would."""

    folder: Path
    table: ImageTable
    plan: Plan
    settings: CollectConfig
    clock: Clock
    source: str = "web"

    def again(self) -> Assignments:
        leases = Leases(self.folder / "leases.sqlite")
        store = FeedbackStore(self.folder / "feedback")
        return Assignments(self.plan, store, leases, self.settings, 0, self.source, self.clock)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Sixty pictures of 96 x 72 pixels, each another colour and with a mark."""
    root = tmp_path / "pictures" / "train"
    random = np.random.default_rng(0)
    for number in range(60):
        pixels = np.full((72, 96, 3), random.integers(30, 220, 3), np.uint8)
        pixels[10 + number % 40 : 30 + number % 40, 20:60] = random.integers(0, 255, 3)
        folder = root / CLASSES[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return root.parent


@pytest.fixture
def place(tmp_path: Path, pictures: Path) -> Callable[..., Place]:
    def make(
        question: str = "comparison",
        count: int = 50,
        gold: int = 0,
        classes: tuple[str, ...] = CLASSES,
        **settings: object,
    ) -> Place:
        # heldout_fraction 0 is refused, so a few of the sixty are held out.
        tree = {
            "images": {"root": str(pictures), "size": 16, "heldout_fraction": 0.01},
            "collect": {"question": question, "repeat_fraction": 0, **settings},
        }
        config = parse_config(tree, "test")
        table, _ = read_images(config.images, tmp_path / "cache")
        opinion = torch.zeros(len(table), len(classes)).log_softmax(-1)
        pool = torch.from_numpy(table.rows("train"))
        random = torch.Generator().manual_seed(0)
        drawn = draw(config.collect.question, pool, 4 * (count + gold), opinion, random)
        items = distinct(items_of(drawn, table.ids.tolist(), classes))
        marked = [replace(item, gold=True) for item in items[count : count + gold]]
        return Place(tmp_path, table, Plan(items[:count], marked, classes), config.collect, Clock())

    return make
