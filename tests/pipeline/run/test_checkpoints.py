"""Checkpoints: whole or not used, the newest first, random streams included."""

from __future__ import annotations

import os
import random
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import Stopped
from pipeline.run.checkpoints import Checkpoints


def test_newest_two_are_kept_and_the_newest_is_used(tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path / "c", "key")
    assert saved.latest() is None
    for position in (1, 2, 3):
        saved.offer(position, partial(dict, {"w": torch.full((3,), float(position)), "note": [position, None, "x"]}))
    assert len(list((tmp_path / "c").iterdir())) == 2
    again = Checkpoints(tmp_path / "c", "key").latest()
    assert again is not None
    assert again["w"].tolist() == [3.0] * 3
    assert again["note"] == [3, None, "x"]
    saved.clear()
    assert Checkpoints(tmp_path / "c", "key").latest() is None


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_a_damaged_one_is_named_and_the_one_before_used(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    saved = Checkpoints(tmp_path / "c", "key")
    for position in (1, 2):
        saved.offer(position, partial(dict, {"position": position, "w": torch.arange(1000.0)}))
    newest = sorted((tmp_path / "c").iterdir())[-1]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes({"flip": bytes(data), "cut": bytes(data[:-9]), "empty": b"", "text": b"no checkpoint"}[damage])
    again = Checkpoints(tmp_path / "c", "key").latest()
    assert again is not None
    assert again["position"] == 1
    assert newest.name in caplog.text


def test_all_damaged_is_a_start_from_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved = Checkpoints(tmp_path / "c", "key")
    saved.offer(1, partial(dict, {}))
    for path in (tmp_path / "c").iterdir():
        path.write_bytes(b"")
    assert Checkpoints(tmp_path / "c", "key").latest() is None
    assert "damaged (" in caplog.text
    assert [path.suffix for path in (tmp_path / "c").iterdir()] == [".damaged"], "set aside, not deleted"


def test_a_damaged_one_does_not_take_the_place_of_a_good_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved = Checkpoints(tmp_path / "c", "key")
    for position in (20, 40):
        saved.offer(position, partial(dict, position=position))
    max((tmp_path / "c").iterdir()).write_bytes(b"broken")
    again = Checkpoints(tmp_path / "c", "key")
    assert again.latest() == {"position": 20}
    for position in (21, 22, 23):
        again.offer(position, partial(dict, position=position))
    assert [path.name[:8] for path in sorted((tmp_path / "c").glob("*.pt"))] == ["00000022", "00000023"]
    caplog.clear()
    assert Checkpoints(tmp_path / "c", "key").latest() == {"position": 23}
    assert not caplog.text


def test_of_several_loops_each_keeps_what_it_ended_with(tmp_path: Path) -> None:
    """A stage of two fits is stopped in the second: the first is not trained again, and the message is right."""
    whole = Checkpoints(tmp_path / "c", "key", seconds=3600, what="epoch")

    def stage() -> None:
        with whole.of("member-0") as first:
            first.offer(4, partial(dict, done=True))
        with whole.of("member-1"):
            raise KeyboardInterrupt

    with pytest.raises(Stopped, match="in the first member-1 epoch"):
        stage()
    assert whole.of("member-0").latest() == {"done": True}
    assert whole.of("member-1").latest() is None


def test_those_of_other_settings_are_not_used(tmp_path: Path) -> None:
    Checkpoints(tmp_path / "c", "one").offer(7, partial(dict, {}))
    assert Checkpoints(tmp_path / "c", "other").latest() is None


def test_random_streams_go_on(tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path / "c", "key")
    saved.offer(1, partial(dict, {}))
    wanted = (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random())  # noqa: NPY002
    assert Checkpoints(tmp_path / "c", "key").latest() == {}
    assert (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()) == wanted  # noqa: NPY002


def test_seldom_writes_but_saves_when_stopped(tmp_path: Path) -> None:
    """The last state offered is written when Ctrl-C comes, and not before if the last write is recent."""
    saved = Checkpoints(tmp_path / "c", "key", seconds=3600, what="iteration")

    def loop() -> None:
        with saved:
            for position in (1, 2, 3):
                saved.offer(position, partial(dict, {"position": position}))
            assert not (tmp_path / "c").exists()
            raise KeyboardInterrupt

    with pytest.raises(Stopped, match="after iteration 3") as stopped:
        loop()
    assert stopped.value.code == 130
    again = Checkpoints(tmp_path / "c", "key").latest()
    assert again == {"position": 3}


def test_a_clock_that_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest state is that of the largest position, whatever the clock and the times of the files say."""
    saved = Checkpoints(tmp_path / "c", "key")
    saved.offer(9, partial(dict, {"position": 9}))
    monkeypatch.setattr("time.time", lambda: 1.5e9)
    saved.offer(10, partial(dict, {"position": 10}))
    for path in (tmp_path / "c").iterdir():
        year = 365 * 86400 if path.name.startswith("00000010") else 0
        os.utime(path, (1.8e9 - year, 1.8e9 - year))
    assert Checkpoints(tmp_path / "c", "key").latest() == {"position": 10}
    saved.offer(11, partial(dict, {"position": 11}))
    assert [path.name[:8] for path in sorted((tmp_path / "c").iterdir())] == ["00000010", "00000011"]


def test_sigterm(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def loop() -> None:
        with Checkpoints(tmp_path / "c", "key", seconds=3600, what="epoch") as saved:
            saved.offer(5, partial(dict, {"position": 5}))
            os.kill(os.getpid(), signal.SIGTERM)
            while True:
                pass

    with pytest.raises(Stopped, match="after epoch 5") as stopped:
        loop()
    assert stopped.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    saved = Checkpoints(None, "key")
    with saved:
        saved.offer(1, partial(dict, {}))
    assert saved.latest() is None
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_and_the_last_state_kept(tmp_path: Path) -> None:
    """What torch makes of a write that is cut off is a RuntimeError about positions; the user is told of the disk."""
    resource = pytest.importorskip("resource", reason="only POSIX can limit the size of files")
    saved = Checkpoints(tmp_path / "c", "key")
    state = {"w": torch.zeros(100_000), "v": torch.zeros(100_000)}
    saved.offer(1, partial(dict, state))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, before[1]))  # the second tensor does not fit
    try:
        with pytest.raises(OSError, match=r"File too large: .*writing"):
            saved.offer(2, partial(dict, state))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name.split("-")[0] for path in (tmp_path / "c").iterdir()] == ["00000001"]
    saved.offer(3, partial(dict, state))
    assert len(list((tmp_path / "c").iterdir())) == 2
