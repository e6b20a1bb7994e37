"""What a judging page asks about, whatever its items are: images, clips of a control task, or texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from pipeline.config.collect import CollectConfig
from pipeline.kinds.items import Item


@dataclass(frozen=True)
class Plan:
    """Distinct items in the order they are asked, gold items to mix in, and the class names."""

    items: list[Item]
    gold: list[Item]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Rendition:
    """Bytes of an image that a browser can show."""

    data: bytes
    media_type: str


class Renditions(Protocol):
    """Makes the images of items; its methods are called from several threads."""

    def get(self, item: str, side: int) -> Rendition:
        """The image of the item with this id, its longer side about `side` pixels.

        Raises:
            BadImage: its file is missing, changed or cannot be decoded.
        """
        ...

    def close(self) -> None:
        """End what is running."""
        ...


class ItemNumbers(Protocol):
    """Numbers of the items that a page may show, which URLs contain; they stay the same when the page is served again."""

    def number(self, item: str) -> int:
        """The number of an id."""
        ...

    def item(self, number: int) -> str | None:
        """The id of a number; None if there is no such item."""
        ...


class HashNumbers:
    """Of ids that end in `-` and up to 16 hexadecimal digits: the number that these digits write."""

    def __init__(self, items: Iterable[str]) -> None:
        self._items = {self.number(item): item for item in items}

    def number(self, item: str) -> int:
        return int(item.rpartition("-")[2], 16)

    def item(self, number: int) -> str | None:
        return self._items.get(number)


@dataclass(frozen=True, eq=False)
class PageItems:
    """Everything that a page needs besides the store of its judgments.

    Attributes:
        settings: of the collection.
        seed: of the run; it decides which side is shown first.
        run: the run's folder; links and leases are kept in its folder `collect`.
        plan: the questions.
        numbers: of all items that may be shown.
        renditions: the items' images; None: the kind's own script shows `describe` alone.
        describe: what the kind's script needs of an item, as JSON.
        gold: true class of each item whose class is known.
        log_reference: [N, C] log-probabilities of the reference by number, which `collect.show_model` shows.
        round: number of the round that answers belong to.
        resume: target of `make` that serves this page again.
        next_step: target of `make` that follows when all questions are answered.
        continues: whether that target asks further questions on the same page by itself; the server then ends when all
            questions are answered.
    """

    settings: CollectConfig
    seed: int
    run: Path
    plan: Plan
    numbers: ItemNumbers
    renditions: Renditions | None = None
    describe: Callable[[str], Mapping[str, Any]] | None = None
    gold: Mapping[str, str] = field(default_factory=dict)
    log_reference: Tensor | None = None
    round: int = 0
    resume: str = "collect"
    next_step: str = "train-reward"
    continues: bool = False

    @property
    def folder(self) -> Path:
        """Where links and leases are kept."""
        return self.run / "collect"
