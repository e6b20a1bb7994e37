"""Personal links: a secret token for each annotator and one for the owner, kept so that a restarted server knows them."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OWNER = ""  # no annotator has an empty name


@dataclass(frozen=True)
class Link:
    """Who it is for (`OWNER` for the owner's page), the secret, and the folder of addresses the cookie is bound to."""

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
    """The links of a run, in a file that only its owner can read."""

    def __init__(self, path: Path, annotators: list[str]) -> None:
        stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        self._key = bytes.fromhex(stored.get("key") or secrets.token_hex(32))
        tokens = stored.get("tokens", {})
        tokens |= {name: secrets.token_urlsafe(24) for name in (OWNER, *annotators) if name not in tokens}
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"key": self._key.hex(), "tokens": tokens}, indent=2, ensure_ascii=False)
        temporary = path.with_suffix(".partial")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
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
        """The link with this token. Every token is compared, each in constant time: the answer's time tells nothing."""
        found = None
        for link in self._links:
            if hmac.compare_digest(link.token.encode(), token.encode()):
                found = link
        return found

    def image_name(self, annotator: str, row: int, image: str) -> str:
        """The name an image has for one annotator: it tells nothing, and another's link does not open it."""
        seal = hmac.new(self._key, f"image\x1f{annotator}\x1f{image}".encode(), hashlib.sha256).hexdigest()[:32]
        return f"{row:x}-{seal}"
