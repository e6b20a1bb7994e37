"""Rounds while people answer: when they are trained, on which rows, and that they are the same when trained again."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from feedback_store.audit import audit_source
from feedback_store.records import PerImage, label_choice
from pipeline.config import Config, dump_config
from pipeline.errors import UserError
from pipeline.run.atomic_files import read_json, sha256_of
from pipeline.run.run_folder import RunFolder
from pipeline.run.workspace import Workspace, open_workspace
from stages.cli import main
from stages.collect.live_queue import read_queue, write_queue
from stages.rounds import live
from stages.rounds.live import LiveRounds
from stages.rounds.replay import replay


@pytest.fixture
def config(image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]) -> Config:
    made = stripes_config(
        image_folder(classes=3, train=20, test=4),
        tmp_path / "runs",
        model={"trainable": "head"},
        reference={"labelled_per_class": 0},
        collect={"question": "label", "count": 50, "strategy": "margin", "teacher": "people", "audit_fraction": 0.2},
        reward={"objective": "supervised", "curve": []},
        ppo={"iterations": 2, "batch_size": 30},
        live={"first_answers": 6, "answers_per_round": 3, "growth": 0.0},
    )
    importlib.import_module("stages.reference.run").run(made)
    return made


class Person:
    """Answers about images in the order of the pool, rightly, as the page would store them."""

    def __init__(self, config: Config) -> None:
        ws = open_workspace(config)
        self.store, self.rows = ws.run.open_store(), iter(ws.table.rows("train").tolist())
        self.of = lambda row: (str(ws.table.ids[row]), str(ws.table.source.label(ws.table.paths[row])))

    def answers(self, count: int, *, audit: bool = False, **more: Any) -> list[PerImage]:
        source = audit_source("web") if audit else "web"
        made = [
            label_choice(*self.of(next(self.rows)), annotator="ann", source=source, response_ms=2000, **more)
            for _ in range(count)
        ]
        self.store.append(made)
        return made


def archives(config: Config) -> list[str]:
    folder = config.runs / config.name / "rounds"
    return sorted(path.name for path in folder.iterdir() if path.name.isdigit())


def weights(config: Config, number: int) -> list[str]:
    archive = config.runs / config.name / "rounds" / str(number)
    return [sha256_of(archive / stage / "model.safetensors") for stage in ("reward", "ppo")]


@pytest.mark.long
def test_rounds_are_trained_when_enough_answers_are_new(config: Config) -> None:
    person, rounds = Person(config), LiveRounds(config, write_queue)
    person.answers(5)
    person.answers(4, audit=True)
    assert not rounds.step(), "audit answers are not counted"
    folder = config.runs / config.name / "rounds"
    assert read_json(folder / "progress.json")["state"]["waiting_for"] == 1
    person.answers(1)
    assert rounds.step()
    assert not rounds.step()
    first = read_queue(folder / "0" / "queue.json")
    assert first is not None
    assert first.round == 1
    assert {item.audit for item in first.items} == {True, False}
    person.answers(3, round=1)
    assert rounds.step()
    assert archives(config) == ["0", "1"]
    assert [read_json(folder / name / "round.json")["trained_on"]["rows"]["per_image"] for name in "01"] == [10, 13]
    table = pd.read_csv(folder / "rounds.csv")
    assert table["answers"].tolist() == [10, 13]
    assert table["seconds"].tolist() == [20, 26]
    assert table["simulated_seconds"].isna().all()
    progress = read_json(folder / "progress.json")
    assert [point["answers"] for point in progress["rounds"]] == [10, 13]
    assert progress["estimate"]["answers"] == 4
    assert sum(one["audited"] for one in progress["classes"]) == 4
    assert sum(one["predicted"] for one in progress["classes"]) == pytest.approx(1)
    person.answers(2, audit=True)
    assert not rounds.step()
    assert read_json(folder / "progress.json")["estimate"]["answers"] == 6, "audit answers renew the estimate at once"


def test_a_later_training_process_goes_on_with_what_is_there(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it trains, then between archive and queue."""
    person = Person(config)
    person.answers(7)
    original = live.train

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        LiveRounds(config, write_queue).step()
    monkeypatch.setattr(live, "train", original)
    person.answers(2)

    def not_ranked(ws: Workspace, archive: Path, number: int, count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LiveRounds(config, not_ranked).step()
    folder = config.runs / config.name / "rounds"
    assert read_json(folder / "0" / "round.json")["trained_on"]["rows"]["per_image"] == 7, (
        "the rows of the first attempt"
    )
    kept = weights(config, 0)
    third = LiveRounds(config, write_queue)
    assert not third.step(), "two answers are new, three are needed"
    assert read_queue(folder / "0" / "queue.json") is not None
    assert weights(config, 0) == kept


def test_a_round_that_a_stage_refuses_waits_for_more_answers(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    person, rounds = Person(config), LiveRounds(config, write_queue)
    person.answers(6)

    def refused(*_: object) -> None:
        raise UserError("the reward model is no better than chance; see the card")

    with monkeypatch.context() as patched:
        patched.setattr(live, "train", refused)
        assert not rounds.step()
        assert not rounds.step()
    state = read_json(config.runs / config.name / "rounds" / "progress.json")["state"]
    assert (state["waiting_for"], state["message"]) == (6, "the reward model is no better than chance")
    assert archives(config) == []
    person.answers(6)
    assert rounds.step()


@pytest.mark.long
def test_rounds_that_are_trained_again_are_the_same_and_differences_are_found(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, rounds = Person(config), LiveRounds(config, write_queue)
    made = person.answers(7)
    assert rounds.step()
    back = made[0]
    person.store.append([label_choice(back.image, back.answer, retracts=back.id, annotator="ann", source="web")])
    person.answers(5, round=1)
    assert rounds.step()
    person.answers(1)
    before = RunFolder(config).open_store().fingerprint()
    said: list[str] = []
    assert replay(config, said.append) == []
    assert said[1] == "round 1 (live, the first 13 stored rows): all weights are bit for bit the same"
    folder = config.runs / config.name / "rounds"
    assert RunFolder(config).open_store().fingerprint() == before
    assert not list(folder.glob(".replay-*"))

    path = folder / "1" / "ppo" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    entries = read_json(folder / "0" / "round.json")
    entries["trained_on"]["sha256"] = "0" * 64
    (folder / "0" / "round.json").write_text(str(entries).replace("'", '"').replace("True", "true"))
    file = tmp_path / "live.yaml"
    file.write_text(dump_config(config))
    result = CliRunner().invoke(main, ["rounds", "--config", str(file), "--replay"])
    assert result.exit_code == 1
    assert "round 0 (live, the first 7 stored rows): " in result.output
    assert "are not those that the round was trained on" in result.output
    assert "the weights in ppo/model.safetensors are different" in result.output
    assert "could not be made again bit for bit: 0, 1;" in result.output
    assert path.read_bytes() == bytes(content), "nothing stored was changed"


def test_what_cannot_be_done_is_said_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "asked.yaml"
    file.write_text(f"runs: {tmp_path / 'runs'}\nimages: {{source: digits, size: 16}}\nmodel: {{backbone: tiny}}\n")

    def refused(*arguments: str) -> str:
        result = CliRunner().invoke(main, [*arguments, "--config", str(file)])
        assert result.exit_code == 2
        return result.output

    assert "LIVE=1 (--live) needs people on the page" in refused("collect", "--live", "--teacher", "simulated")
    assert "LIVE=1 (--live) needs people on the page" in refused("collect", "--live", "--ui", "tk")
    assert "collect.first_rows: it is for training" in refused("collect", "--set", "collect.first_rows=[0,1]")
    assert "no finished round to train again" in refused("rounds", "--replay")
