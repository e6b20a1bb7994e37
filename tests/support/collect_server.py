"""The judging page's server on pictures and a plan without networks, for tests; its clock moves only when told to."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import uvicorn
from PIL import Image

from feedback_store.csv_store.store import CsvFeedbackStore
from pipeline.config import parse_config
from pipeline.config.collect import CollectConfig
from pipeline.data.decode_limits import Limits
from pipeline.data.image_table import ImageTable, read_images
from pipeline.kinds import kinds
from pipeline.kinds.items import distinct, items_of
from pipeline.kinds.page_items import PageItems, Plan
from pipeline.ui.web.connections import ConnectionLimits
from stages.collect.assignments import Assignments
from stages.collect.image_items import RowNumbers
from stages.collect.image_renditions import Renditions
from stages.collect.leases import Leases
from stages.collect.web.app import make_app
from stages.collect.web.owner_overview import Overview
from stages.collect.web.page_context import PageContext
from stages.collect.web.personal_links import Links
from stages.collect.web.task_json import Presenter

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
    opened: list[Leases] = field(default_factory=list)

    def again(self) -> Assignments:
        leases = Leases(self.folder / "leases.sqlite")
        self.opened.append(leases)
        store = CsvFeedbackStore(self.folder / "feedback")
        return Assignments(self.plan, store, leases, self.settings, seed=0, source=self.source, clock=self.clock)

    def desk(self, annotators: list[str]) -> PageContext:
        """What the application works with."""
        return desk_for(self, annotators)

    def close(self) -> None:
        """Close the leases of all that were opened."""
        for leases in self.opened:
            leases.close()


def draw_pictures(folder: Path) -> Path:
    """Sixty pictures of 96 x 72 pixels below `folder`, each another colour and with a mark; returns their root."""
    root = folder / "pictures" / "train"
    random = np.random.default_rng(0)
    for number in range(60):
        pixels = np.full((72, 96, 3), random.integers(30, 220, 3), np.uint8)
        pixels[10 + number % 40 : 30 + number % 40, 20:60] = random.integers(0, 255, 3)
        kept = root / CLASSES[number % 3]
        kept.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(kept / f"{number}.png")
    return root.parent


def planned(
    folder: Path, pictures: Path, settings: CollectConfig, count: int, gold: int, classes: tuple[str, ...]
) -> tuple[ImageTable, Plan]:
    """The table of the pictures, and a plan of distinct questions about them."""
    # heldout_fraction 0 is refused, so a few of the sixty are held out.
    config = parse_config({"images": {"root": str(pictures), "size": 16, "heldout_fraction": 0.01}}, "test")
    table, _ = read_images(config.images, folder / "cache")
    uniform = torch.zeros(len(table), len(classes)).log_softmax(-1)
    random = torch.Generator().manual_seed(0)
    pool = torch.from_numpy(table.rows("train"))
    drawn = kinds.get(settings.question).configured(settings).draw(pool, 4 * (count + gold), uniform, random)
    items = distinct(items_of(drawn, table.ids.tolist(), classes))
    marked = [replace(item, gold=True) for item in items[count : count + gold]]
    return table, Plan(items[:count], marked, classes)


def make_place(
    folder: Path,
    pictures: Path,
    question: str = "comparison",
    count: int = 50,
    gold: int = 0,
    classes: tuple[str, ...] = CLASSES,
    **settings: object,
) -> Place:
    """A place in `folder` with `count` questions about the pictures; settings are those of `collect`."""
    config = CollectConfig.model_validate({"question": question, "repeat_fraction": 0, **settings})
    table, plan = planned(folder, pictures, config, count, gold, classes)
    return Place(folder, table, plan, config, Clock())


class Live:
    """The page's server on a free port, in a thread; `restart` is a new process as far as its state goes."""

    def __init__(self, where: Place, annotators: list[str], patience: ConnectionLimits) -> None:
        self.where, self.annotators, self.patience, self.port = where, annotators, patience, 0
        self.start()

    def start(self) -> None:
        self.desk = self.where.desk(self.annotators)
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self.desk.read_seconds = self.patience.seconds
        config = uvicorn.Config(
            make_app(self.desk),
            log_level="error",
            access_log=False,
            ws="none",
            http=self.patience.protocol(),
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listener]})
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
            time.sleep(0.01)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.desk.renditions.close()

    def link(self, name: str) -> str:
        found = next(link for link in self.desk.links if link.name == name)
        return f"http://127.0.0.1:{self.port}{found.enter}"


def desk_for(where: Place, annotators: list[str]) -> PageContext:
    """What the application works with, on a test's place."""
    assignments = where.again()
    links = Links(where.folder / "links.json", annotators)
    uniform = torch.zeros(len(where.table), len(where.plan.classes)).log_softmax(-1)
    renditions = Renditions(where.table, Limits(10**8, 10), 10**8)
    items = PageItems(
        where.settings, 0, where.folder, where.plan, RowNumbers(where.table), renditions, log_reference=uniform
    )
    return PageContext(
        assignments,
        links,
        Presenter(assignments, links, items),
        renditions,
        Overview(assignments.store, {}),
        frozenset({"127.0.0.1", "localhost"}),
    )
