"""Stores by name, as in the setting `collect.store`, and how to open one.

A store is registered as a function of its location and a folder that returns a `FeedbackStore`. See
`feedback_store.registry` for how another package adds one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from feedback_store.errors import FeedbackError
from feedback_store.registry import Registry

if TYPE_CHECKING:
    from feedback_store.store import FeedbackStore

Opener = Callable[[str, Path], "FeedbackStore"]
"""Opens the store at a location (as written, e.g. `postgresql://host/name` or `csv`) for one collection. The folder names
the collection and is where the store may keep files."""

stores: Registry[Opener] = Registry("store", "image_rlhf.stores")


def store_name(location: str) -> str:
    """The name of the store that a location means: its scheme, or all of it.

    Raises:
        UnknownNameError: no store has this name; the message lists the names.
    """
    name = location.partition("://")[0]
    stores.get(name)
    return name


def open_store(location: str | Path, folder: Path | None = None) -> FeedbackStore:
    """Open a store of judgments; nothing is written before the first judgment is stored.

    Args:
        location: a folder of CSV files (a path, or text that has a slash or names a folder that exists); the name of a
            store, e.g. `csv`; or an address that starts with one, e.g. `csv://folder`.
        folder: names the collection; needed where the location has no address.

    Raises:
        FeedbackError: no such store, or the folder is missing.
    """
    text = str(location)
    is_folder = "://" not in text and text not in stores and ("/" in text or Path(text).is_dir())
    if isinstance(location, Path) or is_folder:
        return stores.get("csv")("csv", Path(location))
    address = text.partition("://")[2]
    if folder is None and not address:
        raise FeedbackError(f"{text}: the store needs a folder; name one, e.g. open_store({text!r}, Path('feedback'))")
    return stores.get(store_name(text))(text, folder or Path())


def _open_csv(location: str, folder: Path) -> FeedbackStore:
    from feedback_store.csv_store.store import CsvFeedbackStore  # here, so that settings need no pandas

    address = location.partition("://")[2]
    return CsvFeedbackStore(Path(address) if address else folder)


stores.register("csv", _open_csv)
