"""Commands in messages, with the configuration that this process was started with."""

from __future__ import annotations

import shlex
from pathlib import Path

DEFAULT = Path("configs/digits.yaml")  # of the Makefile and the command line

_config: Path | None = None


def set_config(config: Path) -> None:
    """Set the configuration file of the command line."""
    global _config
    _config = config


def make(target: str) -> str:
    """`make target`, with CONFIG unless it is the default."""
    if _config is None or _config == DEFAULT:
        return f"make {target}"
    return f"make {target} CONFIG={shlex.quote(str(_config))}"
