"""The cost model: lines through measured jobs, and plans worked out by hand."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from benchmarks.cost_model.__main__ import main
from benchmarks.cost_model.plan import Job, Prices, plan, storage_price
from benchmarks.cost_model.stage_costs import STAGES, job
from benchmarks.cost_model.unit_costs import Line, UnitCosts
from pipeline.learning.response_times import TimeModel

COSTS = UnitCosts(
    seconds={name: Line(10.0, 0.01) for name in STAGES}, bytes={name: Line(0.0, 100.0) for name in STAGES}, cores=2
)


def test_a_line_through_its_points() -> None:
    line = Line.fitted([500, 1000, 2000], [6.0, 11.0, 21.0])
    assert (line.fixed, line.each) == pytest.approx((1.0, 0.01))
    assert line.at(20_000) == pytest.approx(201.0)


def test_no_part_is_negative() -> None:
    line = Line.fitted([100, 200], [1.0, 4.0])
    assert line.fixed == 0.0
    assert line.each > 0


def test_a_job_on_cores_by_hand() -> None:
    """1,000,000 images on 64 cores: 10,010 s on two cores are 5.56 core hours, divided by 64 or, on one machine, by 2."""
    job = Job(images=1e6, judgments=1e5, annotators=1000, classes=10, cores=64, image_bytes=3000)
    items = {item.name: item for item in plan(job, COSTS, Prices())}
    people = 1e5 * TimeModel(10).seconds("label") / 3600
    assert items["people"].hours == pytest.approx(people / 1000)
    assert items["people"].money == pytest.approx(people * 15)
    core_hours = 10_010 * 2 / 3600
    assert items["infer"].hours == pytest.approx(core_hours / 64)
    assert items["infer"].money == pytest.approx(core_hours * 0.05)
    assert items["ppo"].hours == pytest.approx(core_hours / 2)
    assert items["train-reward"].hours == pytest.approx(
        core_hours / 2
    )  # 100,000 judgments are those of 1,000,000 images
    assert items["images"].bytes == 3e9
    assert items["score tables in memory"].bytes == 8 * 1e7
    assert storage_price(list(items.values()), Prices()) == pytest.approx((3e9 + 6 * 1e8) / 1e9 * 0.02)


def test_a_job_on_gpus_by_hand() -> None:
    """Two GPUs of 1,000 images per second each classify 1,000,000 images in 500 s."""
    job = Job(1e6, 1e5, 1000, 10, cores=64, gpus=2, gpu_images_per_second=1000)
    items = {item.name: item for item in plan(job, COSTS, Prices())}
    assert items["infer"].hours == pytest.approx(500 / 3600)
    assert items["infer"].money == pytest.approx(1000 / 3600 * 2.5)
    assert items["open"].hours == pytest.approx(10_010 * 2 / 3600 / 64)  # decoding stays on cores


def test_gpus_of_unknown_speed() -> None:
    with pytest.raises(ValueError, match="gpu-images-per-second"):
        list(plan(Job(1e6, 1e5, 1000, 10, cores=64, gpus=1), COSTS, Prices()))


def test_costs_that_nobody_measured(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["plan", "--images", "1e6", "--judgments", "1e5"])
    assert result.exit_code == 2
    assert "cost_model measure" in result.output


def test_the_job_is_a_valid_configuration(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert job(tmp_path, 1000).collect.count == 100
