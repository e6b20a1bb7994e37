"""What tests of windows need: a virtual screen and a way to press keys."""

from __future__ import annotations

import shutil

import pytest

NEEDED = ("Xvfb", "xdotool")
missing = [name for name in NEEDED if shutil.which(name) is None]
try:
    import tkinter  # noqa: F401
except ImportError:
    missing.append("tkinter")
needs_display = pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)}: the window was not tested")
