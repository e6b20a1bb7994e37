"""Parsing that all formats share: names of images and classes, text, numbers, times and files."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from feedback_store.errors import FeedbackError, shown
from feedback_store.limits import MAX_DIGITS, MAX_NUMBER, WHOLE_NUMBER

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # Label Studio puts this before the name of an uploaded file


class Names:
    """Resolves names of images in imported files, and checks class names.

    Args:
        images: id of each image by its path relative to the folder of images.
        classes: valid names; None accepts any.
    """

    def __init__(self, images: Mapping[str, str], classes: Iterable[str] | None = None) -> None:
        self._ids = set(images.values())
        self._by_path = dict(images)
        self.classes = None if classes is None else tuple(classes)
        self._depth = max((path.count("/") + 1 for path in images), default=1)
        base = Counter(PurePosixPath(path).name for path in images)
        self._by_name = {
            PurePosixPath(path).name: image for path, image in images.items() if base[PurePosixPath(path).name] == 1
        }

    def image(self, value: object) -> str:
        """The id of an image named by id, path, URL or unique file name.

        Raises:
            FeedbackError: no image has this name, or several have it.
        """
        name = text_of("the image's name", value).strip()
        if not name:
            raise FeedbackError("the image's name is empty")
        if name in self._ids:
            return name
        parts = [part for part in _path_in(name).split("/") if part not in ("", ".", "..")]
        for start in range(max(0, len(parts) - self._depth), len(parts)):
            if found := self._by_path.get("/".join(parts[start:])):
                return found
        last = parts[-1] if parts else ""
        found = self._by_name.get(last) or self._by_name.get(_UPLOADED.sub("", last))
        if not found:
            raise FeedbackError(f"there is no image {shown(name)}, or several of that name")
        return found

    def label(self, value: object) -> str:
        """The class with this name.

        Raises:
            FeedbackError: unknown class.
        """
        name = text_of("the label", value).strip()
        if not name or (self.classes is not None and name not in self.classes):
            among = f"; the classes are {', '.join(self.classes)}" if self.classes else ""
            raise FeedbackError(f"unknown label {shown(name)}{among}")
        return name


def _path_in(name: str) -> str:
    """The path in a URL, or in the parameter `d` of a Label Studio URL; the name itself if it is not a URL."""
    try:
        url = urlsplit(name)
        path = (parse_qs(url.query, max_num_fields=100).get("d") or [url.path])[0]
    except ValueError:  # `http://[::1`, or a query of thousands of fields
        path = name
    return unquote(path).replace("\\", "/")


def derived_id(*parts: object) -> str:
    """An id for a record without one: equal for equal records, so that importing a record twice stores it once."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:32]


def text_of(name: str, value: object) -> str:
    """A JSON value that is text or a whole number, as text; empty for null.

    Raises:
        FeedbackError: a value of another type.
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise FeedbackError(f"{name} is {shown(value)}; it must be text")
    return str(value)


def whole_number(name: str, value: object) -> int | None:
    """A whole number that can be stored, from a number or its digits; None for null or empty text.

    Raises:
        FeedbackError: another value.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str) and re.fullmatch(f"0*[0-9]{{1,{MAX_DIGITS}}}", value.strip()):
        return int(value)
    whole = not isinstance(value, bool) and (
        isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    )
    if not whole or not 0 <= value <= MAX_NUMBER:  # type: ignore[operator]
        raise FeedbackError(f"{name} is {shown(value)}; {WHOLE_NUMBER}")
    return int(value)  # type: ignore[call-overload]


def milliseconds(name: str, seconds: object) -> int | None:
    """A number of seconds in whole milliseconds; None for None.

    Raises:
        FeedbackError: not a number, or out of range.
    """
    if seconds is None:
        return None
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not math.isfinite(seconds) or not 0 <= seconds <= MAX_NUMBER // 1000:  # type: ignore[arg-type,operator]
        raise FeedbackError(f"{name} is {shown(seconds)}; it must be seconds, from 0 to {MAX_NUMBER // 1000}")
    return round(seconds * 1000)  # type: ignore[operator]


def utc_time(value: object) -> dict[str, str]:
    """`created_at` of a record in the store's form; empty if the record has no time, which means the time of import.

    Raises:
        FeedbackError: not an ISO 8601 time, or out of range.
    """
    text = text_of("the time", value)
    if not text:
        return {}
    try:
        time = datetime.fromisoformat(text)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except ValueError:
        raise FeedbackError(f"the time {shown(text)} is not ISO 8601") from None
    except OverflowError:  # before year 1 or after year 9999 in UTC
        raise FeedbackError(f"the time {shown(text)} is out of range") from None
    whole = "milliseconds" if time.microsecond % 1000 == 0 else "microseconds"
    return {"created_at": time.isoformat(timespec=whole).replace("+00:00", "Z")}


def utf8_text(path: Path) -> str:
    """The contents of a text file, without a byte order mark.

    Raises:
        FeedbackError: not UTF-8, or the file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FeedbackError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8 and import it again") from error
    except OSError as error:
        raise FeedbackError(f"{path}: cannot be read ({error.strerror}); fix that, or import another file") from error
