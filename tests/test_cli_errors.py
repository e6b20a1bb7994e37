"""How a command ends that cannot do its work: one sentence, an exit code, and for errors of the program itself a log."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from support.command_process import run_command
from support.untrained_runs import noise_images, untrained_run

from pipeline.config import dump_config
from stages.cli import main
from stages.cli.error_log import set_run, write_log

ROOT = Path(__file__).resolve().parent.parent


def infer(folder: Path, *arguments: str) -> Result:
    (folder / "c.yaml").write_text(dump_config(untrained_run(folder)))
    return CliRunner().invoke(main, ["infer", "--config", str(folder / "c.yaml"), *arguments])


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    images = noise_images(tmp_path / "some", 2)
    (tmp_path / "taken").write_text("keep me")
    result = infer(tmp_path, str(images), "--output", str(tmp_path / "taken" / "x.csv"))
    assert result.exit_code == 2
    assert f"error: {tmp_path / 'taken'}: a file is in the place of a folder" in result.output
    assert "Traceback" not in result.output
    assert (tmp_path / "taken").read_text() == "keep me"


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "/full/x: No space left on device; free some space and run the same command again"),
        (errno.EACCES, "/full/x: Permission denied; fix that, or name another place"),
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


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """`infer` raises this error once it has begun."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("stages.infer.run.Journal", fail)


def test_an_error_of_ours_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 70, one sentence, and all that a developer needs in a log file of the run that only its owner can read."""
    images = noise_images(tmp_path / "some", 2)
    failing(monkeypatch, FileNotFoundError(errno.ENOENT, "No such thing\nand more", "/no such file"))
    result = infer(tmp_path, str(images))
    assert result.exit_code == 70
    (log,) = (tmp_path / "runs" / "bugs" / "logs").iterdir()
    sentence = (
        f"unexpected error: FileNotFoundError: [Errno 2] No such thing; the details are in {log}; please report them"
    )
    assert result.stderr.splitlines() == [f"error: {sentence}"]
    text = log.read_text()
    assert "Traceback (most recent call last)" in text
    assert "stages/infer/run.py" in text
    for name in (
        "time: 20",
        "python: 3.",
        "torch: ",
        "torchvision: ",
        "numpy: ",
        "pillow: ",
        "image-rlhf: ",
        "command: ",
    ):
        assert f"\n{name}" in f"\n{text}"
    assert log.stat().st_mode & 0o077 == 0


def test_debug_shows_the_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise_images(tmp_path / "some", 2)
    failing(monkeypatch, ZeroDivisionError("here"))
    (tmp_path / "c.yaml").write_text(dump_config(untrained_run(tmp_path)))
    result = CliRunner().invoke(main, ["--debug", "infer", "--config", str(tmp_path / "c.yaml"), str(images)])
    assert result.exit_code == 70
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.splitlines()[-1].startswith(
        "error: unexpected error: ZeroDivisionError: here; the details are in"
    )


def test_the_log_has_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "IMAGE_RLHF_TOKEN": "a-token-of-the-server",
        "WANDB_API_KEY": "0123456789abcdef",
        "PLAIN_VARIABLE": "not shown either",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    message = f"http://h/enter/abcDEF_1 Authorization: Bearer xyz.1 http://u:pw@h/ {secrets['IMAGE_RLHF_TOKEN']}"
    try:
        raise ValueError(message)
    except ValueError as error:
        said = write_log(error, ["image-rlhf", "--set", f"x.token=hush y={secrets['WANDB_API_KEY']}"])
    text = Path(said.removeprefix("the details are in ")).read_text()
    for secret in ("abcDEF_1", "xyz.1", "u:pw", "hush", *secrets.values(), *secrets):
        assert secret not in text
    assert "ValueError" in text


def test_where_no_folder_can_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_run(Path("/proc/x"), "name")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert write_log(ValueError("x"), []).startswith(f"the details are in {tmp_path}/error-")
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/proc/y")
    assert "--debug" in write_log(ValueError("x"), [])


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 286. GiB for an array with shape (1000000, 224, 224, 3)"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 34 bytes."),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    ],
    ids=["NumPy", "system", "torch on Linux", "torch on Windows", "CUDA"],
)
def test_memory_names_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    images = noise_images(tmp_path / "some", 2)
    failing(monkeypatch, error)
    result = infer(tmp_path, str(images))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: not enough memory: infer needs more than is available (")
    assert "lower infer.batch_size, infer.workers or images.max_pixels" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_threads_and_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise_images(tmp_path / "some", 2)
    for error, part in (
        (RuntimeError("can't start new thread"), "infer.workers"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
    ):
        failing(monkeypatch, error)
        result = infer(tmp_path, str(images))
        assert result.exit_code == 2
        assert part in result.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """`image-rlhf settings | head -1`."""
    program = f"{sys.executable} -m stages.cli settings | head -1"
    made = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert made.stdout.startswith("| setting |")
    assert made.stderr == ""


def test_a_run_where_no_folder_can_be_made(tmp_path: Path) -> None:
    """From the first stage on, and in the real command line."""
    command = ["-m", "stages.cli", "reference", "--config", str(ROOT / "configs" / "digits.yaml")]
    made = run_command([*command, "--set", "runs=/proc/x"])
    assert made.returncode == 2
    assert made.stderr.startswith("error: runs: the folder /proc/x/digits cannot be created (")


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
