"""What other packages add, each in a single file: it goes through the real page by keyboard, train-reward, ppo and report.

Every package is installed as metadata on PYTHONPATH says, so that the project finds it by its entry point alone.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from safetensors import safe_open
from support.browser import CHROMIUM, shot, until
from support.collect_process import ROOT, environment
from support.command_process import PIPE, start_command
from support.judging_page import NEXT_IMAGE, asked, wait_stored
from support.other_package import install

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the page was not tested")
COUNT = 12
SMALL: dict[str, Any] = {
    "name": "extended",
    "images": {"source": "digits", "size": 16},
    "model": {"backbone": "tiny", "weights": "none", "trainable": "head"},
    "reference": {"labelled_per_class": 1, "epochs": 2, "calibration_folds": 0},
    "collect": {
        "teacher": "people",
        "count": COUNT,
        "annotators": ["ann"],
        "repeat_fraction": 0,
        "server": {"port": 0, "open_browser": False},
    },
    "reward": {"objective": "supervised", "epochs": 2, "curve": []},
    "ppo": {"iterations": 2, "batch_size": 128},
    "runtime": {"device": "cpu", "threads": 1},
}


@contextmanager
def every_stage(folder: Path, **sections: dict[str, Any]) -> Iterator[str]:
    """Run every stage, with the packages in `folder`/site installed; the link to the page, which ends with the context."""
    tree = {name: value | sections.get(name, {}) if isinstance(value, dict) else value for name, value in SMALL.items()}
    (folder / "extended.yaml").write_text(yaml.safe_dump(tree))
    variables = environment(PYTHONPATH=f"{ROOT}:{ROOT / 'tests'}:{folder / 'site'}")
    command = ["-m", "support.all_stages", "extended.yaml"]
    with (folder / "errors").open("w") as errors:
        process = start_command(command, cwd=folder, env=variables, stdout=PIPE, stderr=errors)
    assert process.stdout
    try:
        links = (re.search(r"http\S+/enter/\S+", line) for line in process.stdout if line.split()[:1] == ["ann"])
        link = next(links, None)
        assert link, (folder / "errors").read_text()
        yield link[0]
        process.send_signal(signal.SIGTERM)  # the page ends, the program goes on to the next stage
        process.communicate(timeout=240)
        assert process.returncode == 0, (folder / "errors").read_text()
    finally:
        process.kill()
        process.wait()


def press_through(page: Any, link: str, *keys: str) -> None:
    """Answer every question with these keys."""
    page.goto(link)
    for number in range(COUNT):
        until(page, "(n) => document.getElementById('counts').textContent.startsWith(`${n} answered`)", number)
        until(page, "() => [...document.querySelectorAll('#stage img')].some((image) => image.naturalWidth > 0)")
        shown = asked(page)["images"][0]
        for key in keys:
            page.keyboard.press(key)
        # The counts change before the picture does; a key that is pressed in between answers nothing.
        until(page, f"(src) => !document.getElementById('finished').hidden || ({NEXT_IMAGE})(src)", shown)
    until(page, "() => !document.getElementById('finished').hidden")
    wait_stored(page)


def read(folder: Path, name: str) -> str:
    return (folder / "runs" / "extended" / name).read_text(encoding="utf-8")


@pytest.mark.long
def test_a_judgment_kind_and_a_query_strategy(tmp_path: Path, page: Any) -> None:
    """Which two of four labels fit best, asked about the images the reference is least certain of; the page is the kind's own."""
    install(tmp_path / "site", "best_two", "judgment_kinds", "best_two", "KIND")
    install(tmp_path / "site", "most_uncertain", "query_strategies", "most_uncertain", "STRATEGY")
    with every_stage(tmp_path, collect={"question": "best_two", "strategy": "most_uncertain"}) as link:
        page.goto(link)
        until(page, "() => document.querySelectorAll('#choices button').length === 4")
        assert asked(page)["text"] == "Which two labels fit this image best?"
        shot(page, "kind-of-another-package")
        press_through(page, link, "1", "2", "2", "4", "Enter")
    rows = pd.read_csv(tmp_path / "runs" / "extended" / "feedback" / "per_image.csv")
    assert set(rows["question"]) == {"best_two"}
    marked = [[labels[0], labels[3]] for labels in map(json.loads, rows["label"])]
    assert [answer.split(" + ") for answer in rows["answer"]] == marked, "2 was marked and taken back"
    assert rows["image"].nunique() == COUNT
    assert json.loads(read(tmp_path, "reward/card.json"))["judgments"]["kinds"] == {"best_two": COUNT}
    assert "which two of four labels fit the image best?" in read(tmp_path, "report/report.html")


@pytest.mark.long
def test_an_image_source(tmp_path: Path, page: Any) -> None:
    """Images that are no files are judged on the page, learned from and shown in the report."""
    install(tmp_path / "site", "drawn_images", "image_sources", "drawn", "DrawnImages")
    labels = {"question": "label"}
    uniform = {"labelled_per_class": 0}  # then the report shows the policy's predictions
    with every_stage(tmp_path, images={"source": "drawn"}, collect=labels, reference=uniform) as link:
        press_through(page, link, "1")
    listed = pd.read_csv(tmp_path / "runs" / "extended" / "images.csv")
    assert listed["used"].all()
    assert sorted(listed["path"])[0] == "test/chequered#41"
    rows = pd.read_csv(tmp_path / "runs" / "extended" / "feedback" / "per_image.csv")
    assert (len(rows), set(rows["answer"])) == (COUNT, {"lying"}), "keys count classes from 0"
    assert "data:image/png;base64," in read(tmp_path, "report/report.html")


@pytest.mark.long
@pytest.mark.parametrize("trainable", ["head", "all"])
def test_a_backbone_source(tmp_path: Path, page: Any, trainable: str) -> None:
    """A network of two layers is trained, cut, saved and loaded again by every stage after."""
    install(tmp_path / "site", "tiny_networks", "backbone_sources", "tiny", "TINY")
    model = {"backbone": "tiny:conv", "trainable": trainable}
    with every_stage(tmp_path, model=model, collect={"question": "label"}) as link:
        press_through(page, link, "1")
    with safe_open(tmp_path / "runs" / "extended" / "ppo" / "model.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()["image_rlhf"])
    assert (header["source"], header["backbone"], header["mean"]) == ("tiny", "conv", [0.5, 0.5, 0.5])
    assert "tiny:conv" in read(tmp_path, "report/report.html")


@pytest.mark.long
def test_a_store_without_files(tmp_path: Path, page: Any) -> None:
    """Judgments are kept in memory: no stage looks for a file of theirs."""
    install(tmp_path / "site", "memory_store", "stores", "memory", "open_memory")
    sections = {"collect": {"store": "memory"}, "reward": {"objective": "bradley_terry"}}
    with every_stage(tmp_path, **sections) as link:
        press_through(page, link, "1")
    assert not (tmp_path / "runs" / "extended" / "feedback").exists()
    assert json.loads(read(tmp_path, "collect/result.json"))["judgments"] == COUNT
    assert list(json.loads(read(tmp_path, "reward/manifest.json"))["inputs"])[-1] == "judgments"
    report = json.loads(read(tmp_path, "report/report.json"))
    assert report["judged"]["judgments"] == COUNT
    assert report["lineage"]["up_to_date"], report["lineage"]["stages"]
