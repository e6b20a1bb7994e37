"""What all formats share: names of images and classes, and the outcome of reading a file."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from feedback_store.errors import FeedbackError
from feedback_store.judgments import Judgment

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # Label Studio puts this before the name of an uploaded file


@dataclass(frozen=True)
class Reject:
    """Something that could not be imported: its line in the file, why, and what stood there."""

    line: int
    reason: str
    record: Any


@dataclass
class Imported:
    """What a file holds.

    Attributes:
        judgments: those that can be stored.
        rejects: what is wrong, by line.
        left_out: what is right but no judgment of ours, counted by what it is (ties, cancelled, ...).
    """

    judgments: list[Judgment] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


class Names:
    """Finds the image a file means, and checks class names.

    Args:
        images: id of each image by its path relative to the folder of images.
        classes: names; None accepts any.
    """

    def __init__(self, images: Mapping[str, str], classes: Iterable[str] | None = None) -> None:
        self._ids = set(images.values())
        self._by_path = dict(images)
        self.classes = None if classes is None else tuple(classes)
        base = Counter(PurePosixPath(path).name for path in images)
        self._by_name = {
            PurePosixPath(path).name: image for path, image in images.items() if base[PurePosixPath(path).name] == 1
        }

    def image(self, text: object) -> str:
        """The id of an image named by id, path, URL or unique file name.

        Raises:
            FeedbackError: there is no such image, or several of that name.
        """
        name = str(text or "").strip()
        if name in self._ids:
            return name
        url = urlsplit(name)
        path = unquote((parse_qs(url.query).get("d") or [url.path])[0]).replace("\\", "/")
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        for start in range(len(parts)):
            if found := self._by_path.get("/".join(parts[start:])):
                return found
        last = parts[-1] if parts else ""
        found = self._by_name.get(last) or self._by_name.get(_UPLOADED.sub("", last))
        if not found:
            raise FeedbackError(f"there is no image {name!r}, or several of that name" if name else "no image is named")
        return found

    def label(self, text: object) -> str:
        """The class of that name.

        Raises:
            FeedbackError: there is none.
        """
        name = str(text if text is not None else "").strip()
        if not name or (self.classes is not None and name not in self.classes):
            among = f"; the classes are {', '.join(self.classes)}" if self.classes else ""
            raise FeedbackError(f"the label {name!r} is none{among}")
        return name


def derived_id(*parts: object) -> str:
    """An id for a record that has none: the same record gets the same one, so that importing it twice stores it once."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).hexdigest()[:32]


def milliseconds(seconds: object) -> int | None:
    """Whole milliseconds of a number of seconds, if it is one."""
    return round(seconds * 1000) if isinstance(seconds, int | float) and seconds >= 0 else None


def utc_time(text: object) -> dict[str, str]:
    """`created_at` of a record, in our form; empty if it has none, so that the time of import stands for it.

    Raises:
        FeedbackError: not a time.
    """
    if not text:
        return {}
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        raise FeedbackError(f"the time {text!r} is not ISO 8601") from None
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    whole = "milliseconds" if time.microsecond % 1000 == 0 else "microseconds"
    return {"created_at": time.isoformat(timespec=whole).replace("+00:00", "Z")}
