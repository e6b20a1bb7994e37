"""Names of the annotators of a collection."""

from __future__ import annotations

import getpass
import re

from pipeline.config.collect import CollectConfig


def annotators_of(settings: CollectConfig) -> list[str]:
    """The configured annotators, or else the login name."""
    if settings.annotators:
        return list(settings.annotators)
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in some containers
        name = ""
    return [re.sub(r"[^\w .@-]", "-", name).lstrip("-_ .@")[:64] or "me"]
