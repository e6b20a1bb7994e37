"""Random secrets of personal links."""

from __future__ import annotations

import secrets


def new_key() -> str:
    """A key that makes the paths of people's pages and the names of images; 64 hexadecimal digits."""
    return secrets.token_hex(32)


def new_token() -> str:
    """The secret part of a link: 32 characters for URLs."""
    return secrets.token_urlsafe(24)
