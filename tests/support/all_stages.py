"""A program for tests: every stage of a configuration in one process, the judgments given on the page.

Usage: python -m support.all_stages CONFIG, with the project and `tests/` on PYTHONPATH. SIGTERM ends the page, not the
program.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

from pipeline.config import load_config
from stages.collect.run import run as collect
from support import tiny_network  # noqa: F401  registers a network


def main(path: Path) -> None:
    config = load_config(path)
    importlib.import_module("stages.reference.run").run(config)
    collect(config, announce=click.echo)
    for stage in ("reward", "ppo", "report"):
        importlib.import_module(f"stages.{stage}.run").run(config)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
