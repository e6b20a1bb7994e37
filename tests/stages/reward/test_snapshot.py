"""Training reads a snapshot of a database: what people answer meanwhile changes nothing, and the manifest says what was read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.postgres import migrated_postgres

from benchmarks.postgres_process import PostgresProcess
from feedback_store.records import Comparison
from pipeline.config import parse_config
from pipeline.run.run_folder import RunFolder
from stages.collect.run import run as collect
from stages.reference.run import run as reference
from stages.reward import run as reward


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresProcess]:
    yield from migrated_postgres()


@pytest.mark.long
def test_answers_that_come_while_it_trains_are_for_the_next_time(
    postgres: PostgresProcess, image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = {
        "name": "one",
        "runs": str(tmp_path / "runs"),
        "images": {"root": str(image_folder(train=12, test=4)), "size": 16},
        "model": {"backbone": "tiny", "weights": "none", "trainable": "head"},
        "reference": {"labelled_per_class": 2, "epochs": 1, "calibration_folds": 0},
        "collect": {"count": 40, "store": postgres.address()},
        "reward": {"epochs": 2, "curve": []},
    }
    config = parse_config(tree, "test")
    reference(config)
    assert collect(config)
    store, read = RunFolder(config).open_store(), reward.read_judgments
    rows = store.comparisons().to_dict("records")

    def read_while_somebody_answers(*arguments: Any) -> Any:
        for number, row in enumerate(rows):
            cells = {name: row[name] for name in ("image_a", "label_a", "image_b", "label_b")}
            store.append([Comparison(id=f"new-{number}", annotator="ann", source="web", choice="a", **cells)])
        return read(*arguments)

    folder = tmp_path / "runs" / "one" / "reward"
    reward.run(config)
    alone = (folder / "model.safetensors").read_bytes()
    (folder / "manifest.json").unlink()
    monkeypatch.setattr(reward, "read_judgments", read_while_somebody_answers)
    assert reward.run(config)
    assert (folder / "model.safetensors").read_bytes() == alone
    inputs = json.loads((folder / "manifest.json").read_text())["inputs"]
    assert [name for name in inputs if "rows" in name] == [f"pairwise, first {len(rows)} rows"]
    monkeypatch.undo()
    assert reward.run(config), "it is not up to date any more"
    assert (folder / "model.safetensors").read_bytes() != alone
