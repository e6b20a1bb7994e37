"""Skips a test whose export format needs a package that is not installed."""

from __future__ import annotations

import pytest

from stages.export import run as stage


def needs(*formats: str) -> None:
    for name in formats:
        for package in stage.PACKAGES.get(name, ()):
            pytest.importorskip(package, reason=f"the extra image-rlhf[{name}] is not installed")
