"""Rounds of a simulated teacher and live rounds behind them, all trained again from the stored rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from feedback_store.records import label_choice
from pipeline.config import Config
from pipeline.run.atomic_files import read_json, write_json
from pipeline.run.run_folder import RunFolder
from pipeline.run.workspace import open_workspace
from stages.collect.live_queue import write_queue
from stages.collect.next_round import ask
from stages.rounds import run as stage
from stages.rounds.live import LiveRounds
from stages.rounds.replay import replay

pytestmark = pytest.mark.long
SAME = "all weights are bit for bit the same"


@pytest.fixture
def config(image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]) -> Config:
    return stripes_config(
        image_folder(classes=3, train=20, test=4),
        tmp_path / "runs",
        model={"trainable": "head"},
        reference={"labelled_per_class": 0},
        collect={"question": "label", "count": 16, "strategy": "margin", "audit_fraction": 0.2},
        reward={"objective": "supervised", "curve": []},
        ppo={"iterations": 2, "batch_size": 30},
        live={"answers_per_round": 3, "growth": 0.0},
    )


def test_simulated_rounds_with_live_ones_behind_them(config: Config) -> None:
    stage.run(config, 2, lambda _: None, ask)
    folder = config.runs / config.name / "rounds"
    entries = read_json(folder / "0" / "round.json")
    assert entries["trained_on"]["rows"] == {"pairwise": 0, "per_image": 8}
    assert not entries["live"]
    write_json(
        folder / "0" / "round.json", {name: entries[name] for name in ("questions", "collect")}
    )  # earlier versions

    ws = open_workspace(config)
    image, label = str(ws.table.ids[0]), str(ws.table.source.label(ws.table.paths[0]))
    people = [
        label_choice(image, label, annotator=name, source="web", round=2, response_ms=1500) for name in ("a", "b", "c")
    ]
    RunFolder(config).open_store().append(people)
    assert LiveRounds(config, write_queue).step()
    newest = read_json(folder / "progress.json")["rounds"][-1]
    assert newest["round"] == 2
    assert newest["seconds"] == pytest.approx(newest["simulated"] + 4.5)
    said: list[str] = []
    assert replay(config, said.append) == []
    assert [line.split(" rows): ")[1] for line in said] == [SAME] * 3
    assert [line.partition(",")[0] for line in said] == [
        "round 0 (simulated teacher",
        "round 1 (simulated teacher",
        "round 2 (live",
    ]
