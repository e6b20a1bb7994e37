"""Atomic writes of files, JSON files, and hashes of files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Add `path` to an OSError without a file name, as `write` raises it on a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Replace `path` by `data` so that a reader, or a power cut, sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with writing(path), os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # noqa: PTH101  mkstemp's files are private
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def copy_atomically(source: Path, path: Path) -> None:
    """Replace `path` by a copy of a file."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with writing(path):
            shutil.copyfile(source, partial)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, value: Any) -> None:
    """Write JSON as UTF-8; bytes of file names that are not UTF-8 are escaped, so that they can be read back."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def printable(name: object) -> str:
    """A file's name, or any untrusted text, as one printable line of valid UTF-8.

    Bytes that are not UTF-8 and control characters are shown as Python writes them (`\\xe9`, `\\n`).
    """
    text = str(name)
    if text.isprintable():  # then it has no bytes that are not UTF-8 either
        return text
    text = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


class Damaged(ValueError):
    """A file with invalid content; the message says what is wrong, the caller adds what to do."""


def read_object(path: Path, *required: str) -> dict[str, Any]:
    """A JSON object from a file.

    Args:
        required: keys that it must have.

    Raises:
        Damaged: not UTF-8, not JSON, not an object, or a key is missing.
        OSError: it cannot be read.
    """
    try:
        value = read_json(path)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"not JSON: {str(error).splitlines()[0]}") from None
    if not isinstance(value, dict):
        raise Damaged(f"not a JSON object but a {type(value).__name__}")
    if missing := [name for name in required if name not in value]:
        raise Damaged(f"'{missing[0]}' is missing")
    return value


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def short_hash(*parts: str) -> str:
    """A 16-digit hash of the parts."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]
