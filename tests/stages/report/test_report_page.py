"""The page of a small real run: every figure on it, what has changed since, hostile names, many classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from support.browser import CHROMIUM, shot
from support.report_runs import CLASSES, copied, figures_of, invoke, outside, page_of

from pipeline.config import Config, RuntimeConfig, dump_config, parse_config
from pipeline.data.gold_labels import GoldLabels
from pipeline.models.predictor import Predictor
from pipeline.run.atomic_files import read_json, write_json
from pipeline.run.workspace import open_workspace
from stages.report import run as report
from stages.report.predictions import compare_predictions

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


@pytest.mark.draws
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
            assert one["now"] == "unchanged"
            assert one["hash"] in text
    assert outside(text) == []
    again = parse_config(yaml.safe_load((finished.runs / "small" / "report" / "config.yaml").read_text()), "test")
    assert again == finished


def test_nothing_is_scored_twice(finished: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reference and policy were scored by their stages: the report reads the tables."""

    def never(*arguments: Any) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr("pipeline.data.score_tables.score", never)
    assert report.run(finished) == [page_of(finished)]


@pytest.mark.draws
@needs_browser
@pytest.mark.parametrize("width", [1280, pytest.param(390, marks=pytest.mark.long)])
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
    report.run(parse_config(tree, "test"))
    stages = {stage["stage"]: stage["reasons"] for stage in figures_of(other)["lineage"]["stages"]}
    assert stages["reference"] == stages["collect"] == []
    assert stages["reward"] == ["model.safetensors has changed"]
    assert stages["ppo"] == ["reward has changed", "ppo.lr was 0.003, now it is 0.5"]
    assert "Not up to date: reward, ppo" in page_of(other).read_text()


def test_what_make_collect_chooses_does_not_make_judgments_stale(finished: Config) -> None:
    """The file says people judge; `make collect TEACHER=simulated` overrode it for that stage alone."""
    tree = finished.model_dump(mode="json")
    tree["collect"] |= {"teacher": "people", "annotators": ["ann"]}
    report.run(parse_config(tree, "test"))
    assert figures_of(finished)["lineage"]["up_to_date"]


def test_judgments_of_people_never_go_out_of_date(finished: Config) -> None:
    """Images were moved since, or the question is another now: what was answered stays."""
    other = copied(finished, "asked")
    kept = other.runs / "asked" / "collect" / "config.yaml"
    tree = yaml.safe_load(kept.read_text())
    tree["collect"] |= {"teacher": "people", "question": "label"}
    kept.write_text(yaml.safe_dump(tree))
    manifest = other.runs / "asked" / "collect" / "manifest.json"
    write_json(manifest, read_json(manifest) | {"settings": "another", "inputs": {"images": "another"}})
    report.run(other)
    made, text = figures_of(other), page_of(other).read_text()
    (stage,) = [one for one in made["lineage"]["stages"] if one["stage"] == "collect"]
    assert stage["reasons"] == []
    assert stage["notes"][0] == "the images or their splits have changed"
    assert made["lineage"]["up_to_date"]
    assert "nothing has to be judged again" in text
    assert "TEACHER" not in " ".join(made["commands"])
    assert "People would be asked again" in text


def test_new_answers_make_what_depends_on_them_stale(finished: Config) -> None:
    other = copied(finished, "more")
    file = other.runs / "more" / "feedback" / "pairwise.csv"
    manifest = other.runs / "more" / "reward" / "manifest.json"
    made = read_json(manifest)
    assert file.name in made["inputs"]
    write_json(manifest, made | {"inputs": made["inputs"] | {file.name: "another"}})
    report.run(other)
    stages = {stage["stage"]: stage["reasons"] for stage in figures_of(other)["lineage"]["stages"]}
    assert stages["reward"] == ["pairwise.csv has changed"]
    assert stages["ppo"] == ["its input reward is not up to date"]
    assert "Not up to date: reward, ppo" in page_of(other).read_text()


def test_weights_have_the_name_they_have_elsewhere(finished: Config) -> None:
    report.run(finished)
    stages = {stage["stage"]: stage["weights"] for stage in figures_of(finished)["lineage"]["stages"]}
    run, cpu = finished.runs / "small", RuntimeConfig(device="cpu")
    assert stages == {
        "reference": Predictor.load(run / "reference" / "model.safetensors", cpu).weights,
        "collect": None,
        "reward": None,
        "ppo": Predictor.load(run, cpu).weights,
    }
    assert f"weights <code>{stages['ppo']}</code>" in page_of(finished).read_text()


@pytest.mark.draws
@needs_browser
@pytest.mark.long
def test_of_many_classes_the_most_confused_pairs_are_listed(finished: Config, opened: Any, tmp_path: Path) -> None:
    """40 classes: no matrix that nobody can read, at most 20 classes one by one, and the page says so."""
    report.run(finished)
    ws, found = open_workspace(finished), figures_of(finished)
    names = tuple(f"class {n}" for n in range(40))
    rows = ws.table.rows("evaluation")
    gold = GoldLabels(names, np.arange(len(ws.table)) % 40)
    random = np.random.default_rng(0)
    before, after = (torch.from_numpy(random.normal(size=(len(ws.table), 40))).log_softmax(-1) for _ in range(2))
    found["predictions"] = compare_predictions(ws.table, gold, before, after, rows=rows)
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
