"""Rounds: how many questions each asks, what the next one knows, and what is left after an interruption."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest
from click.testing import CliRunner

from pipeline.config import Config, dump_config, parse_config
from pipeline.errors import UserError
from pipeline.learning.round_schedule import questions_of_rounds
from pipeline.models.predictor import Predictor
from pipeline.run.run_folder import RunFolder
from pipeline.run.workspace import open_workspace
from stages.cli import main
from stages.collect.next_round import ask
from stages.rounds import run as stage
from stages.rounds.schedule import questions_of


@pytest.mark.parametrize(
    ("total", "rounds", "shape", "initial", "expected"),
    [
        (12, 3, "constant", None, [4, 4, 4]),
        (110, 3, "hyperbolic", None, [60, 30, 20]),
        (49, 3, "inverse_quadratic", None, [36, 9, 4]),
        (100, 3, "constant", 0.5, [50, 25, 25]),
        (3, 3, "inverse_quadratic", None, [1, 1, 1]),
        (7, 1, "constant", 0.2, [7]),
    ],
)
def test_schedules(total: int, rounds: int, shape: str, initial: float | None, expected: list[int]) -> None:
    assert questions_of_rounds(total, rounds, shape, initial) == expected


def test_fewer_questions_than_rounds() -> None:
    with pytest.raises(UserError, match=r"collect\.count is 2, fewer than 3 rounds; raise it"):
        questions_of_rounds(2, 3, "constant", None)


def test_batches_of_given_sizes() -> None:
    tree = {"images": {"source": "digits"}, "collect": {"count": None}, "rounds": {"batches": [7, 2, 5]}}
    assert questions_of(parse_config(tree, "test"), None) == [7, 2, 5]
    assert questions_of(parse_config(tree, "test"), 3) == [7, 2, 5]
    with pytest.raises(UserError, match=r"rounds\.batches has 3 rounds, not 4"):
        questions_of(parse_config(tree, "test"), 4)
    tree["collect"] = {"count": 20}
    with pytest.raises(UserError, match=r"rounds\.batches adds up to 14 questions, and collect\.count is 20"):
        questions_of(parse_config(tree, "test"), None)


def test_the_number_of_rounds() -> None:
    tree = {"images": {"source": "digits"}, "collect": {"count": 12}, "rounds": {"count": 4}}
    assert questions_of(parse_config(tree, "test"), None) == [3, 3, 3, 3]
    assert questions_of(parse_config(tree, "test"), 2) == [6, 6]
    assert questions_of(parse_config(tree | {"rounds": {}}, "test"), None) == [4, 4, 4]


@pytest.fixture
def config(image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]) -> Config:
    return stripes_config(
        image_folder(classes=3, train=20, test=10),
        tmp_path / "runs",
        model={"trainable": "head"},
        reference={"labelled_per_class": 0},
        collect={"question": "label", "count": 24, "strategy": "margin", "simulated": {"name": "oracle"}},
        reward={"objective": "supervised", "start": "backbone", "curve": []},
        ppo={"iterations": 2, "batch_size": 30},
    )


def rows(config: Config) -> pd.DataFrame:
    return RunFolder(config).open_store().per_image_judgments()


@pytest.mark.long
def test_rounds_ask_about_new_images_and_stay_readable(config: Config) -> None:
    said: list[str] = []
    table = stage.run(config, 3, said.append, ask)
    assert table["answers"].tolist() == [8, 16, 24]
    assert table["simulated_seconds"].is_monotonic_increasing
    assert len(said) == 3
    stored = rows(config)
    assert stored["round"].astype(int).tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert stored["image"].is_unique, "no image is asked about twice while others are left"
    folder = config.runs / config.name
    for number in range(3):
        assert Predictor.load(folder / "rounds" / str(number) / "ppo" / "model.safetensors", config.runtime).classes
    assert pd.read_csv(folder / "rounds" / "rounds.csv")["round"].tolist() == [0, 1, 2]


@pytest.mark.long
def test_an_interrupted_round_goes_on_with_the_same_result(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stage.run(config, 2, lambda _: None, ask)
    other = parse_config(config.model_dump(mode="json") | {"runs": str(tmp_path / "other")}, "test")
    original, calls = stage.stage, []

    def interrupted(name: str, one: Config) -> None:
        calls.append(name)
        if calls.count("ppo") == 2 and name == "ppo":
            raise KeyboardInterrupt
        original(name, one)

    monkeypatch.setattr(stage, "stage", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage.run(other, 2, lambda _: None, ask)
    monkeypatch.setattr(stage, "stage", original)
    again = stage.run(other, 2, lambda _: None, ask)
    pd.testing.assert_frame_equal(again, whole)
    assert len(rows(other)) == 24
    never = lambda *_: pytest.fail("asked again")  # noqa: E731
    pd.testing.assert_frame_equal(stage.run(other, 2, lambda _: None, never), whole)


@pytest.mark.long
def test_other_settings_need_another_run(config: Config) -> None:
    stage.run(config, 2, lambda _: None, ask)
    tree = config.model_dump(mode="json")
    tree["collect"]["strategy"] = "entropy"
    with pytest.raises(UserError, match="this round was made with other settings; set another name"):
        stage.run(parse_config(tree, "test"), 2, lambda _: None, ask)


@pytest.mark.long
def test_pages_count_by_their_images(config: Config) -> None:
    tree = config.model_dump(mode="json")
    tree["collect"] |= {"question": "grid", "grid_tiles": 6, "strategy": "uniform"}
    assert stage.run(parse_config(tree, "test"), 2, lambda _: None, ask)["answers"].tolist() == [12, 24]


@pytest.mark.long
def test_recorded_labels_answer_the_questions_of_rounds(config: Config, tmp_path: Path) -> None:
    """Images are asked about in the strategy's order, each answered by its own recorded label and person."""
    ws = open_workspace(config)
    train = ws.table.rows("train")
    recorded = pd.DataFrame({"image": ws.table.ids[train], "label": "a"})
    recorded["label"] = [ws.classes[number % 3] for number in range(len(train))]
    recorded["who"] = [f"person {number % 2}" for number in range(len(train))]
    recorded.to_csv(tmp_path / "labels.csv", index=False)
    tree = config.model_dump(mode="json")
    replay = {"csv": str(tmp_path / "labels.csv"), "annotator_column": "who"}
    tree["collect"] |= {"teacher": "replay", "strategy": "expected_gain", "replay": replay, "count": 12}
    other = parse_config(tree, "test")
    assert stage.run(other, 2, lambda _: None, ask)["answers"].tolist() == [6, 12]
    stored = rows(other).merge(recorded.rename(columns={"label": "recorded"}), on="image")
    assert len(stored) == 12
    assert stored["image"].is_unique
    assert (stored["answer"] == stored["recorded"]).all()
    assert (stored["annotator"] == stored["who"]).all()
    assert set(stored["source"]) == {"replay"}


@pytest.mark.long
def test_the_demo_in_rounds_shows_the_estimate_beside_the_accuracy(config: Config, tmp_path: Path) -> None:
    tree = config.model_dump(mode="json")
    tree["collect"] |= {"audit_fraction": 0.25, "strategy": "expected_gain"}
    tree["rounds"]["count"] = 2
    path = tmp_path / "demo.yaml"
    path.write_text(dump_config(parse_config(tree, "test")))
    result = CliRunner().invoke(main, ["run", "--config", str(path)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    first, second = result.output.splitlines()[:2]
    assert first.startswith("round 0    12 answers, ")
    assert re.search(
        r"24 answers, \d+ simulated seconds, accuracy [\d.]+%, estimated [\d.]+% \[[\d.]+%, [\d.]+%\], J ", second
    )
    assert "accuracy on test images" in result.output
    assert "audit" in result.output.splitlines()[-1]
    table = pd.read_csv(parse_config(tree, "test").runs / config.name / "rounds" / "rounds.csv")
    assert (table["estimated_low"] < table["estimated_accuracy"]).all()


def test_rounds_need_a_number_of_questions(config: Config) -> None:
    tree = config.model_dump(mode="json")
    tree["collect"]["count"] = None
    with pytest.raises(UserError, match=r"collect\.count is null; set the number"):
        stage.run(parse_config(tree, "test"), 2, lambda _: None, ask)


def test_people_are_not_asked_in_rounds(config: Config) -> None:
    tree = config.model_dump(mode="json")
    tree["collect"]["teacher"] = "people"
    with pytest.raises(UserError, match=r"collect\.teacher: rounds ask a simulated or replay teacher"):
        stage.run(parse_config(tree, "test"), 2, lambda _: None, ask)


@pytest.mark.long
def test_a_reward_model_at_chance_does_not_end_the_rounds(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its card refuses `make ppo`; the next round may know more."""
    refused = Mock(side_effect=UserError("the reward model is no better than chance"))
    monkeypatch.setattr("stages.ppo.run.refuse_chance", refused)
    assert len(stage.run(config, 2, lambda _: None, ask)) == 2
    refused.assert_not_called()
