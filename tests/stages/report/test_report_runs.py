"""Runs that are unfinished, absent, several, or without a single label."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support.browser import CHROMIUM, shot
from support.report_runs import copied, figures_of, invoke, outside, page_of, small_config, stripes

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.records import label_choice
from pipeline.config import Config, dump_config
from pipeline.errors import UserError
from pipeline.run.atomic_files import read_json
from pipeline.run.workspace import open_workspace
from stages.report import run as report
from stages.report.headline import BETTER, BY_CHANCE, WORSE
from stages.report.multi_run import comparison_table

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


@pytest.mark.draws
@pytest.mark.parametrize(
    ("without", "missing", "says"),
    [
        (("ppo",), ["ppo"], "There is no aligned policy yet"),
        pytest.param(("ppo", "reward"), ["reward", "ppo"], "There is no reward model yet", marks=pytest.mark.long),
        (("ppo", "reward", "collect", "feedback"), ["collect", "reward", "ppo"], "There are no judgments yet"),
    ],
)
def test_an_unfinished_run_says_what_is_missing(
    finished: Config, without: tuple[str, ...], missing: list[str], says: str
) -> None:
    config = copied(finished, "unfinished", *without)
    report.run(config)
    made, text = figures_of(config), page_of(config).read_text()
    assert [one["stage"] for one in made["lineage"]["missing"]] == missing
    assert made["headline"]["short"] == "Not finished"
    assert says in text
    assert (made["predictions"]["after"], made["predictions"]["changed"]) == (None, None)
    assert made["predictions"]["before"]["images"] == 30


@pytest.mark.draws
@needs_browser
@pytest.mark.long
def test_runs_side_by_side(finished: Config, opened: Any, tmp_path: Path) -> None:
    tree = copied(finished, "other").model_dump(mode="json")
    tree["ppo"]["beta"] = 0.7
    kept = finished.runs / "other" / "ppo" / "config.yaml"
    kept.write_text(yaml.safe_dump(tree))
    copied(finished, "half", "ppo")
    (tmp_path / "small.yaml").write_text(dump_config(finished))
    code, output = invoke("report", "--config", str(tmp_path / "small.yaml"), "--runs", "small other half")
    path = finished.runs / "report-small-other-half.html"
    assert code == 0
    assert output.splitlines()[-1] == f"report in {path}"
    made, text = read_json(path.with_suffix(".json")), path.read_text()
    assert made["settings"] == [{"key": "ppo.beta", "cells": ["0.2", "0.7", "0.2"]}]
    cells = {row["name"]: row["cells"] for row in made["rows"]}
    assert cells["evaluation images with a known class"] == ["30 of 30"] * 3
    assert cells["J"][0] == cells["J"][1] == f"{figures_of(finished)['ppo']['result']['J']:.3f}"
    assert cells["J"][2] == "–"
    assert cells["all up to date"] == ["yes", "no", "no"]
    assert outside(text) == []
    page = opened(path, 390)
    shot(page, "report-side-by-side")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelectorAll('svg').length") == 6


@pytest.mark.parametrize("name", ["nothing", "no_stage"])
def test_a_run_that_is_not_there_is_one_sentence(finished: Config, tmp_path: Path, name: str) -> None:
    (finished.runs / "no_stage").mkdir(exist_ok=True)
    (tmp_path / "small.yaml").write_text(dump_config(finished))
    code, output = invoke("report", "--config", str(tmp_path / "small.yaml"), "--runs", f"small {name}")
    assert code == 2
    assert str(finished.runs / name) in output
    assert "Traceback" not in output
    code, output = invoke("report", "--config", str(tmp_path / "small.yaml"), "--set", f"name={name}")
    assert code == 2
    assert "make reference" in output


def test_names_too_long_for_a_file_name_are_hashed(finished: Config) -> None:
    report.run(finished)
    found = figures_of(finished)
    made = report.write_multi_run_report(
        finished.runs, [found | {"name": f"run-with-a-long-name-{n}"} for n in range(6)]
    )
    assert re.fullmatch(r"report-6-runs-[0-9a-f]{16}\.html", made.name)


@pytest.fixture
def unlabelled(tmp_path: Path) -> Config:
    """A flat folder of images, class names in the configuration, judgments of people: no gold anywhere."""
    from stages.ppo import run as ppo
    from stages.reference.run import run as reference_run
    from stages.reward import run as reward

    random, upright = np.random.default_rng(1), {}
    (tmp_path / "flat").mkdir()
    for n in range(60):
        stripes(bool(n % 2), random).save(tmp_path / "flat" / f"{n}.png")
        upright[f"{n}.png"] = bool(n % 2)
    config = small_config(
        tmp_path / "runs",
        tmp_path / "flat",
        images={"classes": ["lying", "upright"]},
        reference={"labelled_per_class": 0},
        collect={"question": "label", "teacher": "people"},
        reward={"objective": "supervised"},
    )
    reference_run(config)
    ws = open_workspace(config)
    train = ws.table.rows("train")
    CsvFeedbackStore(ws.run.feedback).append(
        [
            label_choice(
                ws.table.ids[row],
                "upright" if upright[ws.table.paths[row]] else "lying",
                annotator="ann",
                source="web",
                response_ms=900,
            )
            for row in train
        ]
    )
    reward.run(config)
    ppo.run(config, force=True)
    return config


@pytest.mark.draws
@needs_browser
def test_a_user_without_a_single_label(unlabelled: Config, opened: Any) -> None:
    """No accuracy, no right or wrong; everything else, and sentences where gold is needed."""
    report.run(unlabelled)
    made, text = figures_of(unlabelled), page_of(unlabelled).read_text()
    found = made["predictions"]
    assert (found["known"], found["before"], found["after"], found["paired"]) == (0, None, None, None)
    assert made["lineage"]["missing"] == [], "imported judgments need no stage that collects them"
    assert found["uniform_reference"]
    assert found["changed"] is None, "nothing to change from"
    assert (
        found["first_predictions"]["counts"]["true class not known"]
        == found["first_predictions"]["all"]
        == found["images"]
        > 0
    )
    page = opened(page_of(unlabelled), 390)
    shot(page, "report-no-gold")
    words = page.inner_text("body")
    assert "so accuracy is unknown" in words
    assert "need labelled images" in words
    assert "right to wrong" not in words
    assert "wrong to right" not in words
    assert (
        page.evaluate("document.querySelectorAll('#changed + section figure').length")
        == found["first_predictions"]["all"]
    )
    assert "put a few labelled images into test/<class>/" in words
    assert "all others into train/: train/*.jpg needs no class folders" in words
    assert "That needs labelled evaluation images" in words, "of make compare"
    assert "was not run" not in words
    assert "make collect CONFIG=small.yaml\n" in words, "people's answers: the target asks people by itself"
    assert "NaN" not in text
    assert json.loads(json.dumps(made), parse_constant=lambda name: pytest.fail(name)) == made


def test_the_advice_to_a_flat_folder_works(unlabelled: Config) -> None:
    """The images moved to train/, some labelled ones in test/: accuracies beside chance, and answers that stay."""
    root = unlabelled.images.root
    assert root
    (root / "train").mkdir()
    for file in sorted(root.glob("*.png")):
        file.rename(root / "train" / file.name)
    random = np.random.default_rng(7)
    for number, name in enumerate(("lying", "upright")):
        (root / "test" / name).mkdir(parents=True)
        for n in range(10):
            stripes(bool(number), random).save(root / "test" / name / f"{n}.png")
    report.run(unlabelled)
    made, text = figures_of(unlabelled), page_of(unlabelled).read_text()
    found = made["predictions"]
    assert (found["known"], found["chance"], found["commonest"]) == (20, 0.5, 0.5)
    assert (found["before"], found["paired"], found["changed"]) == (None, None, None)
    assert list(found["confusion"]) == ["after"]
    assert all("before" not in row for row in found["classes"])
    side = found["after"]
    expected = BETTER if side["low"] > 0.5 else WORSE if side["high"] < 0.5 else BY_CHANCE
    assert made["headline"]["short"] == expected
    assert "chance is 50.0\u00a0%" in text
    assert "right to wrong" not in text
    assert "wrong to right" not in text
    assert "McNemar" not in text
    assert "Confusion, reference" not in text
    cells = {row["name"]: row["cells"] for row in comparison_table([made, made])["rows"]}
    assert cells["reference, accuracy [95 %]"] == ["uniform"] * 2
    assert cells["chance"] == ["50.0\u00a0%"] * 2
    assert cells["paired difference, points [95 %]"] == ["–"] * 2
    reasons = {stage["stage"]: stage["reasons"] for stage in made["lineage"]["stages"]}
    assert reasons["ppo"] == [
        "the images or their splits have changed",
        "its input reference is not up to date",
        "its input reward is not up to date",
    ]


@pytest.mark.parametrize("given", ["{runs}/small {runs}/other", pytest.param("./small other", marks=pytest.mark.long)])
def test_runs_may_be_named_by_path(finished: Config, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    copied(finished, "other")
    monkeypatch.chdir(finished.runs.parent)
    names = given.format(runs=finished.runs.name).split()
    if given.startswith("."):
        monkeypatch.chdir(finished.runs)
    pages = report.run(finished, names)
    assert [page.name for page in pages] == ["report.html", "report.html", "report-small-other.html"]


def test_in_several_processes_it_says_so(finished: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="without torchrun"):
        report.run(finished)
