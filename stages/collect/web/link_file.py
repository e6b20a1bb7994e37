"""The secrets of personal links in a file of the run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import UserError
from stages.collect.web.link_secrets import new_key, new_token


class FileSecrets:
    """Args:
    path: of the file, which only its owner can read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, names: Sequence[str]) -> tuple[str, dict[str, str]]:
        """The key and the token of each name; those that are missing are made.

        Raises:
            UserError: the file is damaged; it is not replaced, because new links would invalidate all current ones.
        """
        key, tokens = _read(self.path) if os.path.lexists(self.path) else (new_key(), {})
        tokens |= {name: new_token() for name in names if name not in tokens}
        _write(self.path, json.dumps({"key": key, "tokens": tokens}, indent=2, ensure_ascii=False))
        return key, tokens


def _read(path: Path) -> tuple[str, dict[str, str]]:
    """The key and the token of each name from a file of links."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"the personal links cannot be read ({error.strerror}): {path}; make the file readable"
        ) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"it is not JSON: {error}") from error
    if not isinstance(stored, dict) or not {"key", "tokens"} <= stored.keys() or not isinstance(stored["tokens"], dict):
        raise _damaged(path, "it needs a key and tokens")
    key, tokens = stored["key"], stored["tokens"]
    if not isinstance(key, str) or not re.fullmatch(r"[0-9a-f]{64}", key):
        raise _damaged(path, "its key is not 64 hexadecimal digits")
    for name, token in tokens.items():
        if not isinstance(token, str) or not re.fullmatch(r"[A-Za-z0-9_-]{20,200}", token):
            raise _damaged(path, f"the token of {name or 'the owner'!r} is malformed")
    if len(set(tokens.values())) < len(tokens):
        raise _damaged(path, "two people have the same token")
    return key, tokens


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"damaged file of personal links ({why}): {path}; put a backup in its place, or move it away to get new links "
        "(which invalidates the old ones)"
    )


def _write(path: Path, text: str) -> None:
    """Replace the file durably, so that a power cut does not damage it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
