"""Rounds: how many questions each asks, what the next one knows, and what is left after an interruption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pipeline.config import Config, parse_config
from pipeline.errors import UserError
from pipeline.models.predictor import Predictor
from pipeline.run.run_folder import RunFolder
from stages.collect.next_round import ask
from stages.rounds import run as stage
from stages.rounds.schedule import questions_of_rounds


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


def test_other_settings_need_another_run(config: Config) -> None:
    stage.run(config, 2, lambda _: None, ask)
    tree = config.model_dump(mode="json")
    tree["collect"]["strategy"] = "entropy"
    with pytest.raises(UserError, match="this round was made with other settings; set another name"):
        stage.run(parse_config(tree, "test"), 2, lambda _: None, ask)


def test_pages_count_by_their_images(config: Config) -> None:
    tree = config.model_dump(mode="json")
    tree["collect"] |= {"question": "grid", "grid_tiles": 6, "strategy": "uniform"}
    assert stage.run(parse_config(tree, "test"), 2, lambda _: None, ask)["answers"].tolist() == [12, 24]


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
