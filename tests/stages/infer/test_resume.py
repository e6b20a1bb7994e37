"""Stopped at any moment and called again, `infer` ends with the same file and does nothing twice."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from support.command_process import PIPE, run_command, start_command
from support.untrained_runs import noise_images, untrained_run

from pipeline.config import Config, dump_config
from pipeline.errors import Stopped, UserError
from pipeline.models.predictor import Predictor
from stages.infer.run import run

COUNT, BATCH = 22, 4
KILLS = int(os.environ.get("IMAGE_RLHF_KILLS", "3"))


@pytest.fixture
def place(tmp_path: Path) -> tuple[Config, Path]:
    images = noise_images(tmp_path / "some", COUNT)
    (images / "0005.png").write_bytes(b"no image")
    return untrained_run(tmp_path, batch_size=BATCH), images


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that were computed."""
    sizes: list[int] = []
    real = Predictor.log_probs

    def counted(self: Predictor, pixels: np.ndarray) -> Any:
        sizes.append(len(pixels))
        return real(self, pixels)

    monkeypatch.setattr(Predictor, "log_probs", counted)
    return sizes


def stopped_after(batches: int, config: Config, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C once so many batches are done."""
    real, seen = Predictor.log_probs, []

    def stops(self: Predictor, pixels: np.ndarray) -> Any:
        seen.append(len(pixels))
        if len(seen) > batches:
            raise KeyboardInterrupt
        return real(self, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "log_probs", stops)
        with pytest.raises(Stopped, match="resumes from there") as stop:
            run(config, str(images))
    assert stop.value.code == 130


def defer_signals(config: Config, images: Path, tmp_path: Path) -> bytes:
    return run(config, str(images), tmp_path / "whole.csv").path.read_bytes()


def journal_of(config: Config) -> Path:
    return config.runs / config.name / "infer" / ".predictions.csv.partial"


def test_goes_on_where_it_was(
    place: tuple[Config, Path],
    computed: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config, images = place
    expected = defer_signals(config, images, tmp_path)
    computed.clear()
    stopped_after(2, config, images, monkeypatch)
    assert not (config.runs / config.name / "infer" / "predictions.csv").exists(), "whole or not at all"
    assert computed == [4, 3]
    caplog.set_level(logging.INFO, "stages")
    made = run(config, str(images))
    assert computed == [4, 3, 4, 4, 4, 2], "nothing twice, nothing left out"
    assert "resuming after 8 images" in caplog.text
    assert made.path.read_bytes() == expected
    assert made.bad == 1
    assert not journal_of(config).exists()


def changed_file(images: Path, journal: Path) -> None:
    noise_images(images, 3, seed=9)


def torn_line(images: Path, journal: Path) -> None:
    journal.write_bytes(journal.read_bytes()[:-7])


def zeros_after_power_cut(images: Path, journal: Path) -> None:
    journal.write_bytes(journal.read_bytes() + b"\0" * 100)


def damaged_in_the_middle(images: Path, journal: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[7] = lines[7].replace(b'"p":[', b'"p":[[')
    journal.write_bytes(b"".join(lines))


def another_file_before(images: Path, journal: Path) -> None:
    noise_images(images / "0000.a", 1, seed=5)


def other_weights(images: Path, journal: Path) -> None:
    header, *lines = journal.read_bytes().splitlines(keepends=True)
    old = json.loads(header)
    old["key"]["policy"] = "0" * 64
    journal.write_bytes(json.dumps(old).encode() + b"\n" + b"".join(lines))


@pytest.mark.parametrize(
    ("happens", "batches"),
    [
        (changed_file, 6),
        (torn_line, 4),
        (zeros_after_power_cut, 3),
        (damaged_in_the_middle, 5),
        (another_file_before, 6),
        (other_weights, 6),
    ],
)
def test_what_changed_meanwhile_is_done_again(
    happens: Callable[[Path, Path], None],
    batches: int,
    place: tuple[Config, Path],
    computed: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, images = place
    stopped_after(3, config, images, monkeypatch)
    happens(images, journal_of(config))
    computed.clear()
    made = run(config, str(images)).path.read_bytes()
    assert len(computed) == batches
    assert made == defer_signals(config, images, tmp_path)


def test_settings_of_the_output_may_change_meanwhile(
    place: tuple[Config, Path], computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, images = place
    stopped_after(3, config, images, monkeypatch)
    computed.clear()
    top = config.model_copy(update={"infer": config.infer.model_copy(update={"top_k": 1})})
    assert "label_1" in run(top, str(images)).path.read_text().splitlines()[0]
    assert len(computed) == 3


def test_two_at_once_are_refused(place: tuple[Config, Path], tmp_path: Path) -> None:
    config, images = place
    (tmp_path / "runs/bugs/infer").mkdir()
    with (
        FileLock(tmp_path / "runs/bugs/infer/.predictions.csv.lock"),
        pytest.raises(UserError, match="another process"),
    ):
        run(config, str(images))


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_at_random_moments(how: signal.Signals, place: tuple[Config, Path], tmp_path: Path) -> None:
    """The real command, ended as soon as the journal has grown by some batches; the last call is let be."""
    config, images = place
    expected = defer_signals(config, images, tmp_path)
    (tmp_path / "c.yaml").write_text(dump_config(config))
    arguments = ["infer", "--config", str(tmp_path / "c.yaml"), str(images)]
    slow = (
        "import time; from pipeline.models.predictor import Predictor; real = Predictor.log_probs\n"
        "Predictor.log_probs = lambda *a: (time.sleep(0.15), real(*a))[1]\n"
        f"import sys; sys.argv = ['image-rlhf', *{arguments}]; from stages.cli import main; main()"
    )
    chance = random.Random(how)
    journal = journal_of(config)
    for _ in range(KILLS):
        process = start_command(["-c", slow], stderr=PIPE, stdout=PIPE)
        size, wanted = -1, (journal.stat().st_size if journal.exists() else 0) + chance.randrange(100, 900)
        while size < wanted and process.poll() is None:
            size = journal.stat().st_size if journal.exists() else 0
            time.sleep(0.002)
        process.send_signal(how)
        _, said = process.communicate()
        if process.returncode == 143:
            assert "the same command resumes from there" in said
    done = run_command(["-c", slow])
    assert done.returncode == 0, done.stderr
    assert (config.runs / config.name / "infer" / "predictions.csv").read_bytes() == expected
