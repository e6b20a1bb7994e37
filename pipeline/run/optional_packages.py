"""Find missing optional packages without importing them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable


def missing(packages: Iterable[str]) -> list[str]:
    """Those of the packages that are not installed.

    A plain folder with a package's name in the current directory (W&B writes `wandb/`) is not counted as the package.
    """
    specs = {name: importlib.util.find_spec(name) for name in packages}
    return [name for name, spec in specs.items() if spec is None or spec.origin is None]
