"""A small run for the report and what its tests ask of a page: two kinds of stripes whose class and file names are hostile, a tiny network at 16 pixels."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner
from PIL import Image

from pipeline.config import Config, parse_config
from stages.cli import main

CLASSES = ("<b onclick=alert(1)>", "b & $c$ {{ 7*7 }}")
FILE = "\"><img src=x onerror=alert('{number}')>.png"


def stripes(upright: bool, random: np.random.Generator) -> Image.Image:
    rows, columns = np.mgrid[:16, :16]
    pattern = ((columns if upright else rows) + random.integers(0, 4)) // 2 % 2
    grey = 128 + (pattern - 0.5) * random.uniform(60, 200) + random.normal(0, 20, (16, 16))
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")


def small_config(runs: Path, root: Path, **changes: dict[str, Any]) -> Config:
    tree: dict[str, Any] = {
        "name": "small",
        "runs": str(runs),
        "images": {"root": str(root), "size": 16},
        "model": {"backbone": "tiny", "weights": "none", "trainable": "all"},
        "reference": {"labelled_per_class": 2, "epochs": 2, "calibration_folds": 0, "lr": 1e-4},
        "collect": {"count": 60, "simulated": {"name": "oracle"}},
        "reward": {"epochs": 8, "batch_size": 16, "start": "backbone", "curve": [0.5], "lr": 3e-3},
        "ppo": {"beta": 0.2, "iterations": 6, "batch_size": 60, "minibatch_size": 30, "lr": 3e-3},
    }
    for section, values in changes.items():
        tree[section] = tree[section] | values
    return parse_config(tree, "test")


def figures_of(config: Config) -> dict[str, Any]:
    """report.json."""
    made: dict[str, Any] = json.loads((config.runs / config.name / "report" / "report.json").read_text())
    return made


def page_of(config: Config) -> Path:
    return config.runs / config.name / "report" / "report.html"


def copied(config: Config, name: str, *without: str) -> Config:
    """A copy of a run under another name, without some stages."""
    target = config.runs / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(config.runs / config.name, target, ignore=shutil.ignore_patterns("report"))
    for stage in without:
        shutil.rmtree(target / stage)
    return parse_config(config.model_dump(mode="json") | {"name": name}, "test")


def invoke(*arguments: str) -> tuple[int, str]:
    """The command line in this process: exit code, and what was printed to either stream."""
    result = CliRunner().invoke(main, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


class Addresses(HTMLParser):
    """Every address that a page's elements would load or link to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = re.findall(r"url\(([^)]*)\)", "".join(re.findall(r"<style>.*?</style>", text, re.S)))
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = ("src", "srcset", "href", "xlink:href", "action", "data", "poster")
        self.found += [value or "" for name, value in attributes if name in named]


def outside(text: str) -> list[str]:
    """The addresses that are neither inside the page nor a place in it."""
    assert "@import" not in text
    return [address for address in Addresses(text).found if not address.startswith(("data:", "#"))]
