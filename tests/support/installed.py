"""Skips tests of extras that are not installed, without importing the others: that takes seconds in every worker."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def needs_packages(*names: str) -> pytest.MarkDecorator:
    """A mark for a module's `pytestmark`; names are those of Python packages."""
    missing = [name for name in names if find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")
