"""Stores by name, as in the setting `collect.store`, and how to open one.

A store is registered as a function of its location and a folder that returns a `FeedbackStore`. See
`feedback_store.registry` for how another package adds one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

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


def refuse_password(location: str) -> None:
    """Addresses are saved with every run and shown in messages, so they must hold no secret.

    Raises:
        FeedbackError: there is a password in the address; the message does not repeat it.
    """
    scheme, _, rest = location.partition("://")
    parts = urlsplit(f"//{rest}")
    secret = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)} & {"password", "sslpassword"}
    if ":" in parts.netloc.rpartition("@")[0] or secret:
        raise FeedbackError(
            f"the address {scheme}://... holds a password, which would be saved with every run; remove it and set the "
            "environment variable PGPASSWORD, or use ~/.pgpass (PGPASSFILE) or a service file (PGSERVICEFILE)"
        )


def open_store(location: str | Path, folder: Path | None = None) -> FeedbackStore:
    """Open a store of judgments; nothing is written before the first judgment is stored.

    Args:
        location: a folder of CSV files (a path, or text that has a slash or names a folder that exists); the name of a
            store, e.g. `csv`; or an address that starts with one, e.g. `csv://folder`.
        folder: names the collection; needed where the location has no address.

    Raises:
        FeedbackError: no such store, the folder is missing, or the address holds a password.
    """
    text = str(location)
    is_folder = "://" not in text and text not in stores and ("/" in text or Path(text).is_dir())
    if isinstance(location, Path) or is_folder:
        return stores.get("csv")("csv", Path(location))
    address = text.partition("://")[2]
    refuse_password(text)
    if folder is None and not address:
        raise FeedbackError(f"{text}: the store needs a folder; name one, e.g. open_store({text!r}, Path('feedback'))")
    return stores.get(store_name(text))(text, folder or Path())


def _open_csv(location: str, folder: Path) -> FeedbackStore:
    from feedback_store.csv_store.store import CsvFeedbackStore  # here, so that settings need no pandas

    address = location.partition("://")[2]
    return CsvFeedbackStore(Path(address) if address else folder)


def _open_postgres(location: str, folder: Path) -> FeedbackStore:
    from feedback_store.postgres_store.address import parse_address
    from feedback_store.postgres_store.store import PostgresStore

    return PostgresStore.at(parse_address(location, folder if folder != Path() else None))


stores.register("csv", _open_csv)
stores.register("postgresql", _open_postgres)
