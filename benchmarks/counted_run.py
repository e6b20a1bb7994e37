"""The command line, which writes at its end how many images went through each network: for benchmarks/processes.py."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

VARIABLE = "COUNTED_IMAGES"  # name of the folder; each process writes a file in it


class Counter:
    """Images that went through the first convolution of each network, the networks in the order of their first image."""

    def __init__(self) -> None:
        self.numbers: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
        self.images: list[int] = []

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not (isinstance(module, nn.Conv2d) and module.in_channels == 3):
            return
        if module not in self.numbers:
            self.numbers[module] = len(self.images)
            self.images.append(0)
        self.images[self.numbers[module]] += len(inputs[0])


def main() -> None:
    from stages.cli import main as command_line

    counter = Counter()
    register_module_forward_pre_hook(counter)
    try:
        command_line()
    finally:
        folder = Path(os.environ[VARIABLE])
        (folder / f"{os.environ.get('RANK', '0')}.json").write_text(json.dumps(counter.images))


if __name__ == "__main__":
    sys.exit(main())
