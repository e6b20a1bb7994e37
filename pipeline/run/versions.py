"""Versions of torch and torchvision, which decide whether a stage gives the same result again."""

from __future__ import annotations

import functools
import importlib.util
import re
import sys
from pathlib import Path

import torch


def installed() -> dict[str, str]:
    """By name, with the build, such as `+cpu`."""
    return {"torch": torch.__version__, "torchvision": _torchvision()}


@functools.cache
def _torchvision() -> str:
    """As `torchvision.__version__`, without the two seconds that importing it takes, where its file tells."""
    spec = importlib.util.find_spec("torchvision")
    if "torchvision" not in sys.modules and spec and spec.origin:
        try:
            text = (Path(spec.origin).parent / "version.py").read_text()
        except OSError:
            text = ""
        if found := re.search(r"^__version__ = ['\"]([^'\"]+)['\"]", text, re.MULTILINE):
            return found[1]
    import torchvision

    return str(torchvision.__version__)
