"""Personal links: a secret token for each annotator and the owner, stored so that they stay valid after a restart."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UserError

OWNER = ""  # no annotator has an empty name


@dataclass(frozen=True)
class Link:
    """A personal link.

    Attributes:
        name: the annotator, or `OWNER`.
        token: the secret.
        slug: the part of the path that the cookie is bound to.
    """

    name: str
    token: str
    slug: str

    @property
    def home(self) -> str:
        return f"/{'owner' if self.name == OWNER else 'judge'}/{self.slug}/"

    @property
    def enter(self) -> str:
        return f"/enter/{self.token}"


class Links:
    """The links of a run, stored in a file that only its owner can read."""

    def __init__(self, path: Path, annotators: list[str]) -> None:
        """
        Raises:
            UserError: the file is damaged; it is not replaced, because new links would invalidate all current ones.
        """
        key, tokens = _read(path) if os.path.lexists(path) else (secrets.token_hex(32), {})
        self._key = bytes.fromhex(key)
        tokens |= {name: secrets.token_urlsafe(24) for name in (OWNER, *annotators) if name not in tokens}
        _write(path, json.dumps({"key": key, "tokens": tokens}, indent=2, ensure_ascii=False))
        self._links = [Link(name, tokens[name], self._slug(name)) for name in (OWNER, *annotators)]

    def _slug(self, name: str) -> str:
        return hmac.new(self._key, f"slug\x1f{name}".encode(), hashlib.sha256).hexdigest()[:12]

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links)

    @property
    def annotators(self) -> list[Link]:
        return [link for link in self._links if link.name != OWNER]

    @property
    def owner(self) -> Link:
        return self._links[0]

    def find(self, token: str) -> Link | None:
        """The link with this token, or None. All tokens are compared in constant time, so that the duration reveals nothing."""
        found = None
        for link in self._links:
            if hmac.compare_digest(link.token.encode(), token.encode()):
                found = link
        return found

    def image_name(self, annotator: str, row: int, image: str) -> str:
        """The name of an image for one annotator; it reveals nothing and is invalid with another annotator's link."""
        seal = hmac.new(self._key, f"image\x1f{annotator}\x1f{image}".encode(), hashlib.sha256).hexdigest()[:32]
        return f"{row:x}-{seal}"


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
