"""Simulated response times: their size, and that answers and ids do not depend on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from feedback_store.pages import page_answer
from feedback_store.records import Judgment
from pipeline.config import Config
from pipeline.config.teachers import SimulatedConfig
from pipeline.kinds import Queries
from pipeline.run.atomic_files import read_json
from pipeline.run.runtime import Stream
from pipeline.run.workspace import open_workspace
from stages.collect import run as collect
from stages.collect.run import describe
from stages.collect.teacher_judgments import teacher_judgments
from stages.collect.teachers.response_times import simulated_milliseconds
from stages.reference import run as reference


def milliseconds(count: int, kind: str = "label", classes: int = 10, **settings: object) -> np.ndarray:
    queries = Queries(kind, torch.zeros(count, 1, dtype=torch.long), torch.empty(count, 0, dtype=torch.long))
    config = SimulatedConfig(**settings)  # type: ignore[arg-type]
    return np.array(simulated_milliseconds(queries, ["yes"] * count, classes, config, np.random.default_rng(0)))


def test_without_spread_they_are_the_usual_seconds() -> None:
    """10^0.62 = 4.169 s for one of ten classes, and 1.7 s for a verdict."""
    assert milliseconds(2, seconds_spread=0).tolist() == [4169, 4169]
    assert milliseconds(1, seconds_spread=0, speed=2).tolist() == [2084]
    assert milliseconds(1, kind="verdict", classes=100, seconds_spread=0).tolist() == [1700]


def test_marks_on_a_page_take_time() -> None:
    """A page of ten images takes 1.5 + 0.35 x 10 = 5 s, and each mark 0.7 s."""
    queries = Queries("grid", torch.zeros(3, 10, dtype=torch.long), torch.zeros(3, 1, dtype=torch.long))
    config = SimulatedConfig(seconds_spread=0)
    answers = [page_answer("bee", []), page_answer("bee", [2, 7]), "cant_tell"]
    assert simulated_milliseconds(queries, answers, 10, config, np.random.default_rng(0)) == [5000, 6400, 5000]


def test_fatigue_is_growth_per_hundred_answers() -> None:
    tired = milliseconds(301, kind="verdict", seconds_spread=0, fatigue=0.5)
    assert tired[[0, 100, 200, 300]].tolist() == [1700, 2550, 3400, 4250]


def test_they_are_log_normal() -> None:
    log_seconds = np.log(milliseconds(20_000, seconds_spread=0.6) / 1000)
    assert log_seconds.mean() == pytest.approx(0.62 * np.log(10), abs=0.02)
    assert log_seconds.std() == pytest.approx(0.6, abs=0.01)


def test_more_questions_begin_with_the_same_times() -> None:
    assert milliseconds(10).tolist() == milliseconds(1000)[:10].tolist()
    assert len(set(milliseconds(1000).tolist())) > 900


def test_they_can_be_left_out() -> None:
    assert milliseconds(3, seconds=False).tolist() == [None] * 3


def test_extreme_settings_can_be_stored() -> None:
    slow = milliseconds(2000, classes=50_000, speed=0.01, seconds_spread=2, fatigue=10)
    fast = milliseconds(2000, kind="verdict", speed=100, seconds_spread=2)
    assert slow.max() <= 10**15 - 1
    assert fast.min() >= 1


@pytest.fixture
def config(image_folder: Callable[..., Path], stripes_config: Callable[..., Config], tmp_path: Path) -> Config:
    """A run with a uniform reference and no judgments."""
    made = stripes_config(
        image_folder(train=20, val=4),
        tmp_path / "runs",
        reference={"labelled_per_class": 0},
        collect={"count": 50, "question": "verdict", "simulated": {"name": "mistake"}},
    )
    reference.run(made)
    return made


def with_settings(config: Config, **changes: object) -> Config:
    simulated = config.collect.simulated.model_copy(update=changes)
    return config.model_copy(update={"collect": config.collect.model_copy(update={"simulated": simulated})})


def untimed(config: Config) -> list[Judgment]:
    """The teacher's judgments without what may differ."""
    rows = teacher_judgments(open_workspace(config))
    return [replace(row, response_ms=None, created_at="2026-11-21T10:00:00.000Z") for row in rows]


def test_answers_and_ids_do_not_depend_on_response_times(config: Config) -> None:
    times = [row.response_ms for row in teacher_judgments(open_workspace(config))]
    assert times == [row.response_ms for row in teacher_judgments(open_workspace(config))], "deterministic"
    random = np.random.default_rng([config.seed, Stream.SIMULATED_SECONDS])  # shares no numbers with the answers
    seconds = 1.7 * np.exp(0.45 * random.standard_normal(50))
    assert times == np.rint(1000 * seconds).astype(int).tolist()
    expected = untimed(with_settings(config, seconds=False))
    assert untimed(config) == expected
    assert untimed(with_settings(config, speed=3.0, seconds_spread=0.1, fatigue=1.0)) == expected


def test_a_finished_collection_without_times_is_kept(config: Config) -> None:
    """As an earlier version made it: it is up to date, and even if it is forced nothing is stored twice."""
    assert collect.run(with_settings(config, seconds=False))
    store = config.runs / config.name / "feedback" / "per_image.csv"
    before = store.read_bytes()
    assert not collect.run(config)
    assert collect.run(config, force=True)
    assert store.read_bytes() == before
    result = read_json(config.runs / config.name / "collect" / "result.json")
    assert (result["judgments"], result["collect"]["added"]) == (50, 0)
    # Expected seconds of a verdict by somebody unknown: 1.7 exp((0.35^2 + 0.3^2) / 2), but these were simulated answers.
    assert result["seconds_of_people"] == result["seconds_simulated"] == pytest.approx(50 * 1.8907, abs=0.2)


def test_the_result_says_how_many_seconds_were_simulated(config: Config) -> None:
    assert collect.run(with_settings(config, speed=0.01, seconds_spread=0.0))
    result = read_json(config.runs / config.name / "collect" / "result.json")
    assert result["seconds_of_people"] == result["seconds_simulated"] == 50 * 170.0
    assert "50 judgments in" in describe(result)
    assert describe(result).endswith(", about 2 h 22 min of simulated people's time")
    assert "of people's time" not in describe(result)
    assert describe(result | {"seconds_simulated": 0.0}).endswith(", about 2 h 22 min of people's time")
    del result["seconds_of_people"], result["seconds_simulated"]  # as earlier versions wrote it
    assert "time" not in describe(result)
