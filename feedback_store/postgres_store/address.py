"""Addresses of PostgreSQL stores: `postgresql://user@host:port/database?collection=name`, without a password."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from feedback_store.errors import FeedbackError, shown
from feedback_store.store_registry import refuse_password

MAX_COLLECTION = 200  # characters; with the longest id it has to fit into an entry of an index
COLLECTION = "collection"


@dataclass(frozen=True)
class Address:
    """Where a database is, and which of its collections is meant.

    Attributes:
        connection: what libpq gets, as an address without the collection.
        collection: name of the collection.
    """

    connection: str
    collection: str

    @property
    def location(self) -> str:
        """The complete address, which `open_store` understands."""
        parts = urlsplit(self.connection)
        query = [*parse_qsl(parts.query, keep_blank_values=True), (COLLECTION, self.collection)]
        path = parts.path or "/"
        return f"postgresql://{parts.netloc}{path}?{urlencode(query, quote_via=quote)}"


def parse_address(location: str, folder: Path | None) -> Address:
    """The parts of an address.

    Args:
        location: as in `collect.store`; everything but the collection is libpq's (PGHOST, PGSERVICE, ... fill what is missing).
        folder: names the collection if the address does not: `runs/<name>/feedback` the run's name, another its own.

    Raises:
        FeedbackError: it has a password, or no collection is named.
    """
    refuse_password(location)
    text = location if "://" in location else f"{location}://"
    parts = urlsplit(text)
    query = parse_qsl(parts.query, keep_blank_values=True)
    named = [value for name, value in query if name == COLLECTION]
    collection = named[-1] if named else collection_of(folder) if folder else ""
    if not collection or len(collection) > MAX_COLLECTION or not collection.isprintable():
        raise FeedbackError(
            f"{location}: the collection is {shown(collection)}; name it in the address, ?collection=NAME, with 1 to "
            f"{MAX_COLLECTION} printable characters"
        )
    rest = urlencode([pair for pair in query if pair[0] != COLLECTION], quote_via=quote)
    return Address(f"postgresql://{parts.netloc}{parts.path or '/'}" + (f"?{rest}" if rest else ""), collection)


def collection_of(folder: Path) -> str:
    """The name of a run's collection: that of the run, or the last part of another folder of judgments."""
    folder = folder.absolute()
    return folder.parent.name if folder.name == "feedback" else folder.name
