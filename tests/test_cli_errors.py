"""What the system refuses in the middle of a command: one sentence and exit code 2; what is a bug keeps its traceback."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from policies import noise_images, untrained_run

from pipeline.config import dump_config
from stages.cli import main


def infer(folder: Path, *arguments: str) -> Result:
    (folder / "c.yaml").write_text(dump_config(untrained_run(folder)))
    return CliRunner().invoke(main, ["infer", "--config", str(folder / "c.yaml"), *arguments])


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    images = noise_images(tmp_path / "some", 2)
    (tmp_path / "taken").write_text("keep me")
    result = infer(tmp_path, str(images), "--output", str(tmp_path / "taken" / "x.csv"))
    assert result.exit_code == 2
    assert f"error: {tmp_path / 'taken'}: a file stands where a folder is needed" in result.output
    assert "Traceback" not in result.output
    assert (tmp_path / "taken").read_text() == "keep me"


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "/full/x: No space left on device; make room and run the same command again"),
        (errno.EACCES, "/full/x: Permission denied; put that right, or name another place"),
    ],
)
def test_no_room_and_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str) -> None:
    images = noise_images(tmp_path / "some", 2)

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number), "/full/x")

    monkeypatch.setattr("stages.infer.run.Journal", refuse)
    result = infer(tmp_path, str(images))
    assert result.exit_code == 2
    assert f"error: {message}" in result.output


def test_an_error_of_ours_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise_images(tmp_path / "some", 2)
    monkeypatch.setattr("stages.infer.run.Journal", lambda *_: Path("/no such file").read_text())
    assert isinstance(infer(tmp_path, str(images)).exception, FileNotFoundError)


def test_several_images_and_none(tmp_path: Path) -> None:
    images = noise_images(tmp_path / "some", 3)
    some = [str(images / name) for name in ("0002.png", "0000.png")]
    result = infer(tmp_path, *some, "--output", str(tmp_path / "o.csv"))
    assert result.exit_code == 0
    rows = (tmp_path / "o.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == some
    for nothing in ([], [""]):
        result = infer(tmp_path, *nothing)
        assert result.exit_code == 2
        assert "IMAGES is missing" in result.output
