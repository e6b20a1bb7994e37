"""A finished small run, made once, and a real browser that notices whatever a page should not do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.report_runs import CLASSES, FILE, small_config, stripes

from pipeline.config import Config


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run of every stage, images with gold labels, and a comparison's files laid beside them."""
    from stages.collect import run as collect
    from stages.ppo import run as ppo
    from stages.reference.run import run as reference_run
    from stages.reward import run as reward

    folder, random = tmp_path_factory.mktemp("report"), np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 15)):
        for number, name in enumerate(CLASSES):
            (folder / "images" / split / name).mkdir(parents=True)
            for n in range(count):
                stripes(bool(number), random).save(folder / "images" / split / name / FILE.format(number=n))
    (folder / "images" / "train" / "notes.txt").write_text("no image")
    config = small_config(folder / "runs", folder / "images")
    reference_run(config)
    collect.run(config)
    reward.run(config)
    ppo.run(config, force=True)
    return config


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """Opens a file in a real Chromium at a width; fails on any request, script error or dialog."""
    contexts: list[Any] = []
    problems: list[str] = []

    def load(path: Path, width: int = 1280) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on("request", lambda request: _note(problems, request.url))
        page.goto(path.as_uri())
        return page

    yield load
    for context in contexts:
        context.close()
    assert problems == []


def _note(problems: list[str], url: str) -> None:
    if not url.startswith("data:") and not re.fullmatch(r"file://.*\.html", url):
        problems.append(url)
