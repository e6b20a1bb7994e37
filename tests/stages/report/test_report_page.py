"""The page of small real runs: whole, unfinished, without gold, several side by side; in a real browser."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from browsing import CHROMIUM, shot
from click.testing import CliRunner
from reporting import CLASSES, figures_of, small_config, stripes

from feedback_store.judgments import label_choice
from feedback_store.store import FeedbackStore
from pipeline.config import Config, dump_config, parse_config
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.gold import GoldLabels
from pipeline.workspace import open_workspace
from stages.cli import main
from stages.report import run as report
from stages.report.predictions import compared

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


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


def test_a_finished_run_from_the_command_line(finished: Config, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(dump_config(finished))
    code, output = invoke("report", "--config", str(tmp_path / "small.yaml"))
    assert (code, output.splitlines()[-1]) == (0, f"report in {page_of(finished)}")
    made, text = figures_of(finished), page_of(finished).read_text()
    end = read_json(finished.runs / "small" / "ppo" / "result.json")["policy"]
    card = read_json(finished.runs / "small" / "reward" / "card.json")
    assert made["predictions"]["after"]["accuracy"] == pytest.approx(end["accuracy"])
    assert made["predictions"]["known"] == 30
    assert made["predictions"]["changed"]["all"] > 0
    assert np.sum(made["predictions"]["confusion"]["after"]) == 30
    assert made["ppo"]["result"]["J_star"] == end["J_star"]
    assert len(made["ppo"]["rows"]) == 7
    assert made["card"]["heldout"] == card["heldout"]
    assert made["judged"]["judgments"] == 60
    assert made["lineage"]["up_to_date"]
    assert made["lineage"]["images"]["left_out"] == 1
    assert [stage["stage"] for stage in made["lineage"]["stages"]] == ["reference", "collect", "reward", "ppo"]
    for stage in made["lineage"]["stages"]:
        for one in (*stage["inputs"], *stage["outputs"]):
            assert one["now"] == "as it is now"
            assert one["hash"] in text
    assert outside(text) == []
    assert "a-secret" not in text
    assert "a-secret" not in (finished.runs / "small" / "report" / "report.json").read_text()
    again = parse_config(yaml.safe_load((finished.runs / "small" / "report" / "config.yaml").read_text()), "test")
    assert again.model_copy(update={"serve": finished.serve}) == finished


def test_nothing_is_scored_twice(finished: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reference and policy were scored by their stages: the report reads the tables."""

    def never(*arguments: Any) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr("pipeline.scores.score", never)
    assert report.run(finished) == [page_of(finished)]


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_hostile_names_are_text_and_nothing_is_loaded(finished: Config, opened: Any, width: int) -> None:
    report.run(finished)
    page = opened(page_of(finished), width)
    shot(page, f"report-{width}")
    assert page.evaluate("document.querySelectorAll('b[onclick], img[src=x], [onerror]').length") == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing scrolls sideways"
    text = page.inner_text("body")
    assert CLASSES[0] in text
    assert CLASSES[1] in text, "templates and mathematics are text as well"
    assert page.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
    assert page.evaluate("[...document.querySelectorAll('svg')].every(one => one.getAttribute('aria-label'))")
    assert page.evaluate("[...document.images].length") > 0


def test_settings_and_inputs_that_changed_are_named(finished: Config) -> None:
    other = copied(finished, "stale")
    tree = other.model_dump(mode="json")
    tree["ppo"]["lr"] = 0.5
    model = other.runs / "stale" / "reward" / "model.safetensors"
    model.write_bytes(model.read_bytes() + b" ")
    (other.runs / "stale" / "feedback" / "pairwise.csv").write_bytes(
        (finished.runs / "small" / "feedback" / "pairwise.csv").read_bytes() + b""
    )
    report.run(parse_config(tree, "test"))
    stages = {stage["stage"]: stage["reasons"] for stage in figures_of(other)["lineage"]["stages"]}
    assert stages["reference"] == stages["collect"] == []
    assert stages["reward"] == ["model.safetensors is another now"]
    assert stages["ppo"] == ["reward is another now", "ppo.lr was 0.0003, now it is 0.5"]
    assert "Not up to date: reward, ppo" in page_of(other).read_text()


def test_what_make_collect_chooses_does_not_make_judgments_stale(finished: Config) -> None:
    """The file says people judge; `make collect TEACHER=simulated` overrode it for that stage alone."""
    tree = finished.model_dump(mode="json")
    tree["collect"] |= {"teacher": "people", "annotators": ["ann"]}
    report.run(parse_config(tree, "test"))
    assert figures_of(finished)["lineage"]["up_to_date"]


@pytest.mark.parametrize(
    ("without", "missing", "says"),
    [
        (("ppo",), ["ppo"], "There is no aligned policy yet"),
        (("ppo", "reward"), ["reward", "ppo"], "There is no reward model yet"),
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


@needs_browser
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


@needs_browser
def test_of_many_classes_the_most_confused_pairs_are_listed(finished: Config, opened: Any, tmp_path: Path) -> None:
    """40 classes: no matrix that nobody can read, at most 20 classes one by one, and the page says so."""
    report.run(finished)
    ws, found = open_workspace(finished), figures_of(finished)
    names = tuple(f"class {n}" for n in range(40))
    rows = ws.table.rows("evaluation")
    gold = GoldLabels(names, np.arange(len(ws.table)) % 40)
    random = np.random.default_rng(0)
    before, after = (torch.from_numpy(random.normal(size=(len(ws.table), 40))).log_softmax(-1) for _ in range(2))
    found["predictions"] = compared(ws.table, gold, before, after, rows)
    text = report.page(dataclasses.replace(ws, classes=names), found | {"classes": list(names)})
    (tmp_path / "many.html").write_text(text)
    page = opened(tmp_path / "many.html", 390)
    shot(page, "report-many-classes")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelectorAll('.matrix').length") == 0
    words = page.inner_text("body")
    assert "The most confused pairs" in words
    shown = len(found["predictions"]["classes"])
    assert shown > 20
    assert f"The 20 of {shown} classes whose accuracy changed most" in words


def test_names_too_long_for_a_file_name_are_hashed(finished: Config) -> None:
    report.run(finished)
    found = figures_of(finished)
    made = report.side_by_side(finished.runs, [found | {"name": f"run-with-a-long-name-{n}"} for n in range(6)])
    assert re.fullmatch(r"report-6-runs-[0-9a-f]{16}\.html", made.name)


@pytest.fixture
def unlabelled(tmp_path: Path) -> Config:
    """A flat folder of images, class names in the configuration, judgments of people: no gold anywhere."""
    from stages.ppo import run as ppo
    from stages.reference import run as reference_run
    from stages.reward import run as reward

    random, upright = np.random.default_rng(1), {}
    (tmp_path / "flat").mkdir()
    for n in range(60):
        stripes(bool(n % 2), random).save(tmp_path / "flat" / f"{n}.png")
        upright[f"{n}.png"] = bool(n % 2)
    config = small_config(
        tmp_path / "runs", tmp_path / "flat",
        images={"classes": ["lying", "upright"]}, reference={"labelled_per_class": 0},
        collect={"question": "label", "teacher": "people"}, reward={"objective": "supervised"},
    )  # fmt: skip
    reference_run(config)
    ws = open_workspace(config)
    train = ws.table.rows("train")
    FeedbackStore(ws.run.feedback).append(
        [
            label_choice(
                ws.table.ids[row], "upright" if upright[ws.table.paths[row]] else "lying",
                annotator="ann", source="web", response_ms=900,
            )
            for row in train
        ]
    )  # fmt: skip
    reward.run(config)
    ppo.run(config, force=True)
    return config


@needs_browser
def test_a_user_without_a_single_label(unlabelled: Config, opened: Any) -> None:
    """No accuracy, no right or wrong; everything else, and sentences where gold is needed."""
    report.run(unlabelled)
    made, text = figures_of(unlabelled), page_of(unlabelled).read_text()
    found = made["predictions"]
    assert (found["known"], found["before"], found["after"], found["paired"]) == (0, None, None, None)
    assert made["lineage"]["missing"] == [], "imported judgments need no stage that collects them"
    assert found["no_opinion"]
    assert found["changed"]["counts"]["true class not known"] == found["changed"]["all"] > 0
    page = opened(page_of(unlabelled), 390)
    shot(page, "report-no-gold")
    words = page.inner_text("body")
    assert "no accuracy can be measured" in words
    assert "need images whose class is known" in words
    assert "right to wrong" not in words
    assert "wrong to right" not in words
    assert page.evaluate("document.querySelectorAll('#changed + section figure').length") == found["changed"]["all"]
    assert "NaN" not in text
    assert json.loads(json.dumps(made), parse_constant=lambda name: pytest.fail(name)) == made


def test_in_several_processes_it_says_so(finished: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="without torchrun"):
        report.run(finished)
