"""The installed versions that decide whether a stage would give the same result, and what no stage imports for them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torchvision

from pipeline.run import versions

STAGES = ("reference", "collect", "reward", "ppo", "infer", "serve", "report", "rounds")
SLOW = ("torchvision", "torch._dynamo", "sklearn", "scipy.optimize", "scipy.stats", "matplotlib")

CHECK = f"""
import importlib, sys
for stage in {STAGES}:
    importlib.import_module(f"stages.{{stage}}.run")
from pipeline.run import versions
print(versions.installed()["torchvision"], *(name for name in {SLOW} if name in sys.modules))
"""


@pytest.mark.long
def test_the_stages_start_without_slow_libraries() -> None:
    """And know torchvision's version from its file."""
    said = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=True).stdout
    assert said.split() == [torchvision.__version__]


def test_versions_are_as_the_packages_say(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    versions._torchvision.cache_clear()
    assert versions.installed() == expected
    versions._torchvision.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # its file tells nothing
    assert versions.installed() == expected
