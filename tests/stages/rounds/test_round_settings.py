"""How long a round trains, when rounds stop, and gold questions in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from feedback_store.pages import page_row
from pipeline.config import Config, parse_config
from pipeline.errors import UserError
from pipeline.run.atomic_files import read_json, write_json
from pipeline.run.run_folder import RunFolder
from pipeline.run.workspace import open_workspace
from stages.collect import next_round
from stages.collect.audit_plan import AuditSplit
from stages.collect.next_round import ask, round_audits
from stages.collect.question_plan import labelled_rows
from stages.reference import run as reference
from stages.rounds import run as stage
from stages.rounds.reward_updates import config_of_round
from stages.rounds.stopping import reason_to_stop


def configured(**reward: Any) -> Config:
    tree = {"images": {"source": "digits"}, "rounds": {"reward_updates": "steps"}, "model": {"trainable": "all"}}
    return parse_config(tree | {"reward": {"epochs": 8, "patience": 3} | reward}, "test")


def test_fewer_answers_are_passed_over_more_often() -> None:
    of_round = config_of_round(configured(), 30, 120)
    assert (of_round.reward.epochs, of_round.reward.patience) == (32, 12)
    assert config_of_round(configured(), 120, 120) == configured(), "the last round trains as `make train-reward` does"
    spread = configured(unlabelled="propagate")
    assert config_of_round(spread, 30, 120) == spread, "each pass goes over all training images"
    plain = parse_config({"images": {"source": "digits"}}, "test")
    assert config_of_round(plain, 30, 120) is plain


def test_exact_fits_have_no_steps() -> None:
    tree = configured().model_dump(mode="json")
    tree["model"]["trainable"] = "head"
    with pytest.raises(UserError, match=r"rounds\.reward_updates: linear heads are fitted exactly"):
        config_of_round(parse_config(tree, "test"), 30, 120)
    tree["reward"]["optimiser"] = "adamw"
    assert config_of_round(parse_config(tree, "test"), 30, 120).reward.epochs == 32


def test_the_lower_end_of_the_interval_ends_the_rounds(tmp_path: Path) -> None:
    reward = {"heldout_accuracy": 0.96, "heldout_interval": [0.92, 0.98], "heldout_judgments": 200}
    (tmp_path / "reward").mkdir()
    write_json(tmp_path / "reward" / "result.json", {"reward": reward})
    assert reason_to_stop(tmp_path, 0.93) is None
    assert reason_to_stop(tmp_path, None) is None
    said = reason_to_stop(tmp_path, 0.92)
    assert said is not None
    assert "agrees with 96.0% [92.0%, 98.0%] of 200 held-out judgments, at least rounds.stop_accuracy (92.0%)" in said


@pytest.fixture
def config(image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]) -> Config:
    return stripes_config(
        image_folder(classes=3, train=20, test=10),
        tmp_path / "runs",
        model={"trainable": "head"},
        reference={"labelled_per_class": 2, "epochs": 1},
        collect={"question": "label", "count": 24, "strategy": "margin", "simulated": {"name": "oracle"}},
        reward={"objective": "supervised", "start": "backbone", "curve": []},
        ppo={"iterations": 2, "batch_size": 30},
    )


def changed(config: Config, **sections: dict[str, Any]) -> Config:
    tree = config.model_dump(mode="json")
    for name, values in sections.items():
        tree[name] |= values
    return parse_config(tree, "test")


def stored(config: Config) -> pd.DataFrame:
    return RunFolder(config).open_store().per_image_judgments()


@pytest.mark.long
def test_rounds_stop_and_can_be_continued(config: Config) -> None:
    said: list[str] = []
    stopping = changed(config, rounds={"stop_accuracy": 0.01})
    first = stage.run(stopping, 3, said.append, ask)["answers"].tolist()
    assert first in ([8], [8, 16]), "as soon as the interval is above zero"
    assert said[-1].startswith("no further round: ")
    summary = read_json(config.runs / config.name / "summary.json")
    assert [row["answers"] for row in summary["rounds"]] == first
    assert summary["seconds_simulated"] == summary["rounds"][-1]["simulated_seconds"] > 0
    assert stage.run(stopping, 3, said.append, ask)["answers"].tolist() == first
    assert len(stored(config)) == first[-1], "nothing is asked again"
    assert stage.run(config, 3, said.append, ask)["answers"].tolist() == [8, 16, 24]
    assert stage.run(stopping, 3, said.append, ask)["answers"].tolist() == [8, 16, 24], "finished rounds stay"


@pytest.fixture
def asked(config: Config, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pd.DataFrame]:
    """Asks in rounds that the reference chooses, as if every round left its policy; returns the stored rows."""
    monkeypatch.setattr(next_round, "log_of_policy", lambda ws, _: ws.log_reference)
    monkeypatch.setattr(next_round, "what_was_learned", lambda *_: {})

    def in_rounds(config: Config, *counts: int) -> pd.DataFrame:
        reference.run(config)
        for number, count in enumerate(counts):
            ask(open_workspace(config), number, count, Path())
        return stored(config)

    return in_rounds


def known_images(config: Config) -> set[str]:
    ws = open_workspace(config)
    return {str(ws.table.ids[row]) for row in labelled_rows(ws)}


def test_a_share_of_each_round_is_gold(config: Config, asked: Callable[..., pd.DataFrame]) -> None:
    config = changed(config, collect={"gold_fraction": 0.25})
    rows = asked(config, 8, 8, 8)
    gold = rows[rows["image"].isin(known_images(config))]
    assert gold["round"].tolist() == ["0"] * 2 + ["1"] * 2 + ["2"] * 2
    assert gold["image"].nunique() == 6, "each round asks about others, as long as there are some"
    assert len(rows) == 24
    assert np.flatnonzero(rows["image"].isin(known_images(config))).tolist() == [2, 6, 10, 14, 18, 22], (
        "at equal distances among the others"
    )


def test_gold_comparisons_are_answered_by_the_known_classes(config: Config, asked: Callable[..., pd.DataFrame]) -> None:
    config = changed(config, collect={"question": "comparison", "gold_fraction": 0.5})
    asked(config, 12)
    pairs, known = RunFolder(config).open_store().comparisons(), known_images(config)
    assert (pairs["image_a"].isin(known) & pairs["image_b"].isin(known)).sum() == 6


def test_pages_of_rounds_have_gold_tiles(config: Config, asked: Callable[..., pd.DataFrame]) -> None:
    pages = {"question": "grid", "grid_tiles": 6, "strategy": "uniform", "gold_fraction": 0.3}
    config = changed(config, collect=pages)
    rows = asked(config, 12, 12)
    page = rows["id"].map(lambda one: page_row(one).page)
    assert rows["image"].isin(known_images(config)).groupby(page).sum().tolist() == [2] * 4


def test_gold_needs_labels(config: Config, asked: Callable[..., pd.DataFrame]) -> None:
    config = changed(config, collect={"gold_fraction": 0.25}, reference={"labelled_per_class": 0})
    with pytest.raises(UserError, match=r"collect\.gold_fraction: gold items need labelled images"):
        asked(config, 8)


def test_recorded_labels_answer_gold_questions_where_they_can(
    config: Config, asked: Callable[..., pd.DataFrame], tmp_path: Path
) -> None:
    """First no labelled image has a recorded label, then one has: it is the one that gold questions are about."""
    reference.run(config)
    ws, known = open_workspace(config), known_images(config)
    recorded = [f"{image},{ws.classes[0]}" for image in ws.table.ids[ws.table.rows("train")] if image not in known]
    (tmp_path / "labels.csv").write_text("\n".join(["image,label", *recorded]))
    replay = {"csv": str(tmp_path / "labels.csv")}
    config = changed(config, collect={"gold_fraction": 0.25, "teacher": "replay", "replay": replay})
    with pytest.raises(UserError, match=r"collect\.gold_fraction: the teacher has no answer about any image"):
        asked(config, 8)
    (tmp_path / "labels.csv").write_text("\n".join(["image,label", *recorded, f"{min(known)},{ws.classes[1]}"]))
    rows = asked(config, 8)
    assert set(rows["image"]) & known == {min(known)}
    assert len(rows) == 8


def test_audit_questions_are_a_share_of_the_images_on_pages(config: Config, asked: Callable[..., pd.DataFrame]) -> None:
    pages = {"question": "grid", "grid_tiles": 6, "strategy": "uniform", "audit_fraction": 0.25}
    rows = asked(changed(config, collect=pages), 12, 12)
    audits = rows[rows["source"] == "simulated:audit"]
    # The first round asked 15 instead of 12 answers, since pages are whole: a quarter of 15 + 12 are 7 audits.
    assert audits["round"].tolist() == ["0"] * 3 + ["1"] * 4
    assert (rows["question"] == "grid").sum() == 24, "two pages of six in each round"


def test_small_rounds_keep_the_share_of_audit_questions() -> None:
    """A tenth of 12 rounds of five answers: six audits in all, not one in each round and not none."""
    split = AuditSplit(np.arange(100), np.arange(100, 120))
    columns = {"round": "0", "source": "simulated"}
    asked = pd.DataFrame(columns=list(columns))
    audits = []
    for number in range(12):
        store = Mock()
        store.comparisons.return_value = asked.iloc[:0]
        store.per_image_judgments.return_value = asked
        chosen = round_audits(store, split, number, 5, 0.1)
        audits += chosen
        sources = ["simulated:audit"] * len(chosen) + ["simulated"] * (5 - len(chosen))
        asked = pd.concat([asked, pd.DataFrame({"round": str(number), "source": sources})])
    assert audits == list(range(100, 106))
