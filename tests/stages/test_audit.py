"""Audit answers through every stage: never trained on, and what the run says of its own accuracy."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from feedback_store.records import label_choice
from feedback_store.store import FeedbackStore
from pipeline.config import Config
from pipeline.run.atomic_files import read_json, sha256_of
from pipeline.run.run_folder import RunFolder
from stages.summary_table import comparison_table

COUNT, AUDITS, IMAGES = 76, 19, 15  # the pool has 76 images; four of the audit questions are repetitions


def run(config: Config, *stages: str) -> dict[str, Any]:
    for stage in stages or ("reference", "collect", "reward", "ppo"):
        importlib.import_module(f"stages.{stage}.run").run(config)
    summary: dict[str, Any] = read_json(config.runs / config.name / "summary.json")
    return summary


@pytest.fixture(params=[pytest.param("comparison", marks=pytest.mark.long), "label"])
def config(
    image_folder: Callable[..., Path],
    tmp_path: Path,
    stripes_config: Callable[..., Config],
    request: pytest.FixtureRequest,
) -> Config:
    """With label choices, an audit answer would be as good as any other to train on."""
    root = image_folder(classes=2, train=40, test=4)
    return stripes_config(
        root,
        tmp_path / "runs",
        collect={
            "question": request.param,
            "count": COUNT,
            "audit_fraction": 0.25,
            "repeat_fraction": 0.2,
            "gold_fraction": 0,
        },
        reward={"objective": "joint", "epochs": 2, "curve": []},
        ppo={"iterations": 2},
    )


def models(config: Config) -> list[str]:
    return [sha256_of(config.runs / config.name / stage / "model.safetensors") for stage in ("reward", "ppo")]


def test_through_every_stage(config: Config) -> None:
    summary = run(config)
    store = RunFolder(config).open_store()
    everything = pd.concat([store.comparisons(), store.per_image_judgments()])
    audits, others = (everything[everything["source"] == source] for source in ("simulated:audit", "simulated"))
    assert (len(audits), len(others), summary["judgments"]) == (AUDITS, COUNT - AUDITS, COUNT)
    assert set(audits["question"]) == {"label"}
    assert audits["image"].nunique() == IMAGES
    assert not {*others["image_a"], *others["image_b"], *others["image"]} & {*audits["image"]}

    estimate = summary["policy"]["estimate"]
    assert 0 <= estimate["low"] < estimate["accuracy"] < estimate["high"] <= 1
    assert (estimate["images"], estimate["answers"]) == (IMAGES, AUDITS)
    assert estimate["verdict"] == "more needed"
    assert estimate["gold_accuracy"] is not None
    assert f"{estimate['accuracy']:.1%}" in comparison_table(summary)
    assert "More needed: the 95 % interval" in comparison_table(summary)
    card = read_json(config.runs / config.name / "reward" / "card.json")
    assert card["judgments"]["used"] == len(others)
    assert card["audit"]["answers"] == AUDITS

    before, asked_again = models(config), run(config)["policy"]
    assert asked_again == summary["policy"]
    wrong_answers(store, audits)
    after = run(config)
    assert models(config) == before, "no audit answer is trained on"
    changed = after["policy"]["estimate"]
    assert changed["answers"] == AUDITS
    assert changed["accuracy"] != estimate["accuracy"]
    assert {**after["policy"], "estimate": None} == {**summary["policy"], "estimate": None}, "PPO was not run again"

    importlib.import_module("stages.report.run").write_report(config)
    page = (config.runs / config.name / "report" / "report.html").read_text()
    assert "Accuracy estimated without gold labels" in page
    assert f"{changed['gold_accuracy']:.1%} of the audited images" in page.replace("\u00a0", " ").replace(" %", "%")


def wrong_answers(store: FeedbackStore, audits: pd.DataFrame) -> None:
    """Take every audit answer back, and answer the other class."""
    names = sorted(audits["answer"].unique())
    assert len(names) == 2
    given = {"annotator": "simulated-oracle", "source": "simulated:audit"}
    for row in audits.to_dict("records"):
        other = names[row["answer"] == names[0]]
        store.append([label_choice(row["image"], row["answer"], retracts=row["id"], **given)])
        store.append([label_choice(row["image"], other, **given)])


def test_without_audit_questions_nothing_is_estimated(config: Config) -> None:
    collect = config.collect.model_copy(update={"audit_fraction": 0.0})
    plain = config.model_copy(update={"collect": collect})
    summary = run(plain)
    assert "estimate" not in summary["policy"]
    assert "estimated" not in comparison_table(summary)
    assert summary["judgments"] == COUNT
    assert RunFolder(plain).stage("collect").settings != RunFolder(config).stage("collect").settings
