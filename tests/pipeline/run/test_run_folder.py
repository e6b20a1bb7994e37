from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.run.atomic_files import read_json, write_atomically
from pipeline.run.run_folder import RunFolder


def folder(tmp_path: Path, **changes: object) -> RunFolder:
    return RunFolder(Config.model_validate({"images": {"source": "digits"}, "runs": tmp_path, **changes}))


def finish(run: RunFolder, inputs: dict[str, str]) -> None:
    stage = run.stage("ppo")
    stage.begin()
    write_atomically(stage.path / "model.safetensors", b"weights")
    stage.finish(inputs, ["model.safetensors"], {"policy": {"accuracy": 0.5}})


def test_current_until_anything_it_depends_on_changes(tmp_path: Path) -> None:
    run = folder(tmp_path)
    assert not run.stage("ppo").is_current({"a": "1"})
    finish(run, {"a": "1"})
    assert run.stage("ppo").is_current({"a": "1"})
    assert not run.stage("ppo").is_current({"a": "2"}), "another input"
    assert not folder(tmp_path, seed=1).stage("ppo").is_current({"a": "1"}), "another seed"
    assert not folder(tmp_path, ppo={"lr": 1e-5}).stage("ppo").is_current({"a": "1"}), "another setting of its own"
    assert folder(tmp_path, reward={"lr": 1e-5}).stage("ppo").is_current({"a": "1"}), "a setting of another stage"
    (run.path / "ppo" / "model.safetensors").write_bytes(b"touched")
    assert not run.stage("ppo").is_current({"a": "1"}), "an output that was changed by hand"


def test_an_unfinished_stage_does_not_count(tmp_path: Path) -> None:
    run = folder(tmp_path)
    finish(run, {})
    run.stage("ppo").begin()
    with pytest.raises(UserError, match="make ppo"):
        run.require("ppo", "model.safetensors")


def test_stale_input_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    finish(folder(tmp_path), {})
    folder(tmp_path).require("ppo", "model.safetensors")
    assert not caplog.text
    folder(tmp_path, seed=5).require("ppo", "model.safetensors")
    assert "made with other settings" in caplog.text


def test_summary_is_nested_by_stage(tmp_path: Path) -> None:
    run = folder(tmp_path, name="x")
    finish(run, {})
    summary = read_json(tmp_path / "x" / "summary.json")
    assert summary["policy"]["accuracy"] == 0.5
    assert summary["seconds"]["ppo"] >= 0
    assert summary["peak_rss_mb"] > 0


def test_atomic_write_leaves_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
