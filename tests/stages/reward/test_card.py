"""The card of whole runs: its verdict, its page, and what it makes PPO do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.records import Comparison, Judgment, label_choice
from pipeline.config import Config, parse_config
from pipeline.errors import UserError
from pipeline.run.atomic_files import read_json
from stages.ppo import run as ppo
from stages.reference.run import run as reference_run
from stages.reward import run as reward
from stages.reward.card_verdict import CHANCE


@pytest.fixture
def config(image_folder: Callable[..., Path], tmp_path: Path) -> Config:
    """Stripes in three classes, a reference without an opinion, small networks."""
    tree = {
        "runs": str(tmp_path / "runs"),
        "images": {"root": str(image_folder(classes=3, train=60, test=10)), "size": 16},
        "model": {"backbone": "tiny", "weights": "none", "trainable": "all"},
        "reference": {"labelled_per_class": 0},
        "collect": {"question": "label"},
        "reward": {"epochs": 5, "batch_size": 16, "start": "backbone", "lr": 3e-3, "objective": "joint", "curve": []},
        "ppo": {"iterations": 2, "batch_size": 64},
    }
    made = parse_config(tree, "test")
    reference_run(made)
    return made


def answers(config: Config, answer: Callable[[str, int], str | list[str]], times: int = 1) -> CsvFeedbackStore:
    """A label choice (or several) of every training image, by what `answer` makes of its true class and its number."""
    from pipeline.data.gold_labels import read_gold_labels
    from pipeline.run.workspace import open_workspace

    ws = open_workspace(config)
    gold, store = read_gold_labels(ws.table, ws.classes), CsvFeedbackStore(ws.run.feedback)
    made: list[Judgment] = []
    for number, row in enumerate(ws.table.rows("train")):
        given = answer(ws.classes[gold.labels[row]], number)
        for who, one in enumerate([given] if isinstance(given, str) else given):
            made += [label_choice(ws.table.ids[row], one, annotator=f"p{who}", source="web") for _ in range(times)]
    store.append(made)
    return store


def card(config: Config) -> dict[str, Any]:
    return read_json(config.runs / config.name / "reward" / "card.json")  # type: ignore[no-any-return]


def test_shuffled_answers_are_no_better_than_chance_and_stop_ppo(config: Config) -> None:
    """Every image judged by several people at random: the verdict, and PPO only when forced."""
    random = np.random.default_rng(0)
    answers(config, lambda true, number: [str(c) for c in random.choice(["a", "b", "c"], 6)])
    reward.run(config)
    assert card(config)["verdict"]["short"] == CHANCE
    assert "no better than chance" in reward.describe(read_json(config.runs / config.name / "summary.json"))
    with pytest.raises(UserError, match=r"no better than chance.*FORCE=1"):
        ppo.run(config)
    assert ppo.run(config, force=True)


@pytest.mark.draws
def test_a_good_reward_model_its_ensemble_and_its_page(config: Config) -> None:
    """Right answers, a careless person beside two careful ones: ready, the careless one flagged, all of it on the page."""
    random = np.random.default_rng(1)
    answers(config, lambda true, number: [true, true, str(random.choice(["a", "b", "c"]))])
    tree = config.model_dump(mode="json")
    tree["reward"] |= {"epochs": 15, "members": 2, "pessimism": 0.5, "curve": [0.3]}
    config = parse_config(tree, "test")
    reward.run(config)
    made = card(config)
    assert made["heldout"]["accuracy"] > made["heldout"]["chance"]
    assert [one["flagged"] for one in made["annotators"]] == [False, False, True]
    assert len(made["curve"]["points"]) == 2
    assert made["curve"]["points"][0]["judgments"] < made["curve"]["points"][1]["judgments"]
    assert len(made["learned"]["epochs"]) == 2
    assert made["ceiling"]["judgments"] == made["judgments"]["used"] == 3 * 180
    page = (config.runs / config.name / "reward" / "card.html").read_text()
    assert made["verdict"]["short"].capitalize() in page
    assert page.count("<svg") == 3
    assert "data:image/" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert "careless or contrary" in page
    assert "By annotator" in page
    trained = made["curve"]["points"][-1]["judgments"]
    assert trained + made["heldout"]["judgments"] == 540
    assert f"<dd>{trained}<small>of 540 judgments" in page
    assert f"{made['heldout']['judgments']} were held out" in page
    weight = made["kl_weight"]
    assert (weight["judgments"], weight["folds"]) == (made["heldout"]["judgments"], 0), "an ensemble has its split"
    assert len(weight["table"]) == 21
    assert weight["gain"] > 0, "the uniform reference knows nothing"
    assert f"{weight['sentence'][1:]}." in page
    assert page.count("<strong>chosen</strong>") == 1
    assert ppo.run(config)
    assert read_json(config.runs / config.name / "ppo" / "result.json")["policy"]["beta"] == weight["beta"]
    assert made["gold"]["argmax_accuracy"] > 0.8


def test_in_unit_scale_no_beta_is_chosen(config: Config) -> None:
    """There is none by nature: `auto` says what to do, and a number works as in earlier versions."""
    answers(config, lambda true, number: true)
    tree = config.model_dump(mode="json")
    tree["reward"]["scale"] = "unit"
    unit = parse_config(tree, "test")
    reward.run(unit)
    assert card(unit)["kl_weight"] is None
    assert "weigh against the reference" not in (unit.runs / unit.name / "reward" / "card.html").read_text()
    with pytest.raises(
        UserError, match=r"ppo\.beta: auto: no beta was chosen in .*reward\.scale=nats, or set a number"
    ):
        ppo.run(unit)
    tree["ppo"] |= {"beta": 0.3, "start": "reference"}
    assert ppo.run(parse_config(tree, "test"))


@pytest.mark.long
@pytest.mark.parametrize("members", [1, 3])
def test_a_head_is_judged_in_folds(config: Config, members: int) -> None:
    """Every judgment is predicted by heads that were fitted without it, and all of them train the final one."""
    answers(config, lambda true, number: true)
    tree = config.model_dump(mode="json")
    tree["model"]["trainable"] = "head"
    tree["reward"] |= {"members": members, "curve": [0.25, 0.5]}
    head = parse_config(tree, "test")
    reference_run(head)
    reward.run(head)
    made = card(head)
    assert (made["kl_weight"]["judgments"], made["kl_weight"]["folds"]) == (180, 5)
    assert made["heldout"]["judgments"] == made["heldout"]["images"] == 180
    metrics = pd.read_csv(head.runs / head.name / "reward" / "metrics.csv")
    best = metrics.loc[metrics["score"].idxmin()]
    assert best["prior_sd"] == made["settings"]["prior_sd"]
    page = (head.runs / head.name / "reward" / "card.html").read_text()
    assert "<dd>180<small>judgments of 180 images (180 label)" in " ".join(page.split())
    assert "each was predicted by a model trained without its image (5 folds)" in page
    points = [point["judgments"] for point in made["curve"]["points"]]
    assert points == [36, 72, 144], "a quarter and a half of the 144 that each fold trains on, and all of them"


def test_a_fixed_prior_sd_is_used(config: Config) -> None:
    """No candidates are tried; and a whole network cannot be fitted this way."""
    answers(config, lambda true, number: true)
    tree = config.model_dump(mode="json")
    tree["model"]["trainable"] = "head"
    tree["reward"] |= {"prior_sd": 2.5, "optimiser": "lbfgs"}
    head = parse_config(tree, "test")
    reference_run(head)
    reward.run(head)
    assert card(head)["settings"]["prior_sd"] == 2.5
    assert pd.read_csv(head.runs / head.name / "reward" / "metrics.csv")["prior_sd"].tolist() == [2.5]
    tree["model"]["trainable"] = "all"
    with pytest.raises(UserError, match=r"reward\.optimiser: lbfgs fits linear heads, and model\.trainable is 'all'"):
        reward.run(parse_config(tree, "test"))


def test_one_person_who_is_always_right(config: Config) -> None:
    """No card of annotators with a single row; surprises are those it disagrees with, and none is said to be none."""
    answers(config, lambda true, number: true)
    reward.run(config)
    made = card(config)
    page = (config.runs / config.name / "reward" / "card.html").read_text()
    assert "By annotator" not in page
    assert "One person judged (p0)" in page
    wrong = round(made["heldout"]["judgments"] * (1 - made["heldout"]["accuracy"]))
    assert len(made["surprising"]) == min(12, wrong)
    assert ("None: the model predicts all" in page) == (wrong == 0)
    assert "no item was judged more than once" in page


@pytest.mark.draws
@pytest.mark.parametrize(
    "kind", ["one way", "a class never asked about", "contradictions and duplicates", "two judgments", "one judgment"]
)
def test_odd_judgments_train_or_say_why_not(config: Config, kind: str) -> None:
    """Never NaN, never a silent constant."""
    from pipeline.run.workspace import open_workspace

    store, ids = CsvFeedbackStore(config.runs / config.name / "feedback"), open_workspace(config).table.ids
    train = [str(ids[row]) for row in open_workspace(config).table.rows("train")]

    def pair(image: str, a: str, b: str, choice: str) -> Comparison:
        return Comparison(
            annotator="x", source="web", image_a=image, label_a=a, image_b=image, label_b=b, choice=choice
        )

    made = {
        "one way": [pair(image, "a", "b", "a") for image in train],
        "a class never asked about": [pair(image, "a", "b", "ab"[n % 2]) for n, image in enumerate(train)],
        "contradictions and duplicates": [pair(image, "a", "c", choice) for image in train[:9] for choice in "abab"],
        "two judgments": [pair(image, "a", "b", "a") for image in train[:2]],
        "one judgment": [pair(train[0], "a", "b", "a")],
    }[kind]
    store.append(made)
    refused = {"one judgment": "two images are needed", "contradictions and duplicates": "do not distinguish classes"}
    if kind in refused:  # contradictions cancel: the utilities stay equal
        with pytest.raises(UserError, match=refused[kind]):
            reward.run(config)
        return
    assert reward.run(config)
    assert np.isfinite(card(config)["heldout"]["log_loss"])
    assert card(config)["learned"]["scale"] > 0
