"""Commands that messages tell the user to type: with the configuration this process was started with."""

from __future__ import annotations

import shlex
from pathlib import Path

DEFAULT = Path("configs/digits.yaml")  # of the Makefile and the command line

_config: Path | None = None


def set_config(config: Path) -> None:
    """Remember which configuration file the command line named."""
    global _config
    _config = config


def make(target: str) -> str:
    """`make target`, with CONFIG if it is needed to mean the same run."""
    if _config is None or _config == DEFAULT:
        return f"make {target}"
    return f"make {target} CONFIG={shlex.quote(str(_config))}"
