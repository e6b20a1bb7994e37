"""Which optional packages there are, found without importing them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable


def missing(packages: Iterable[str]) -> list[str]:
    """Those of the packages that are not installed.

    A plain folder of a package's name in the current directory (W&B writes one: `wandb/`) can be imported as an empty
    package; it is none.
    """
    found = {name: importlib.util.find_spec(name) for name in packages}
    return [name for name, spec in found.items() if spec is None or spec.origin is None]
