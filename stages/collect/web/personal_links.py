"""Personal links: a secret token for each annotator and the owner, kept so that they stay valid after a restart."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stages.collect.web.link_file import FileSecrets

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


class LinkSecrets(Protocol):
    """What keeps the secrets: a file of the run, or the database that its servers share."""

    def load(self, names: Sequence[str]) -> tuple[str, dict[str, str]]:
        """The key, 64 hexadecimal digits, and the token of each name; those that are missing are made and kept.

        Raises:
            UserError: they cannot be read or kept.
        """
        ...


class Links:
    """The links of a run.

    Args:
        secrets: what keeps them; a path means a file that only its owner can read.
    """

    def __init__(self, secrets: LinkSecrets | Path, annotators: list[str]) -> None:
        """
        Raises:
            UserError: the secrets cannot be read; they are not replaced, because new links would invalidate all current ones.
        """
        source = FileSecrets(secrets) if isinstance(secrets, Path) else secrets
        key, tokens = source.load((OWNER, *annotators))
        self._key = bytes.fromhex(key)
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
