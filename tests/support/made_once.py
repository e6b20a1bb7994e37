"""Folders that cost seconds to make and that several workers of one test run want."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills, made by whichever worker comes first; nobody may change it: copy it.

    Args:
        factory: pytest's own of this worker; under pytest-xdist the folder lies beside those of all workers.
        name: of the folder; one for each `make`.
    """
    base = factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()
    folder, done = base / name, base / f"{name}.done"
    with FileLock(base / f"{name}.lock"):
        if not done.exists():
            folder.mkdir()
            make(folder)
            done.touch()
    return folder
