"""Segments: which windows exist, what is in them, their ids and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.control.segments import (
    CUT,
    GOES_ON,
    TERMINATED,
    Pool,
    Recorder,
    Segments,
    TrueRewards,
    load_segments,
    save_segments,
)
from pipeline.errors import UserError

# Environment 0 terminates after step 2 and then goes on to the end; environment 1 is cut (time limit) after step 3.
ENDS = np.array([[0, 0], [0, 0], [1, 0], [0, 2], [0, 0], [0, 0]], dtype=np.int8)


def make_pool(ends: np.ndarray = ENDS) -> Pool:
    steps, envs = ends.shape
    obs = np.arange(steps * envs, dtype=np.float32).reshape(steps, envs, 1)
    return Pool(obs, obs * 10, ends, obs.astype(np.float64) * 100)


def test_windows_end_early_only_where_an_episode_terminates() -> None:
    assert make_pool().lengths(3).T.tolist() == [[3, 2, 1, 3, 0, 0], [3, 3, 0, 0, 0, 0]]
    assert make_pool().lengths(2).T.tolist() == [[2, 2, 1, 2, 2, 0], [2, 2, 2, 0, 2, 0]]


def test_a_window_holds_its_steps_and_zeros_after_the_end() -> None:
    starts = np.array([0, 2, 7])  # flat: step 0 of environment 0; step 1 of environment 0; step 3 of environment 1
    starts[2] = 3 * 2 + 0  # step 3 of environment 0
    segments, states = make_pool().windows(starts, 3)
    assert segments.steps.tolist() == [3, 2, 3]
    assert segments.obs[:, :, 0].tolist() == [[0, 2, 4], [2, 4, 0], [6, 8, 10]]
    assert segments.actions[1, :, 0].tolist() == [20, 40, 0]
    assert segments.mask.tolist() == [[1, 1, 1], [1, 1, 0], [1, 1, 1]]
    assert states[1, :, 0].tolist() == [200, 400, 400], "a clip that ends early stays at its last picture"


def test_true_rewards_stop_where_the_episode_does() -> None:
    true = TrueRewards(np.ones((6, 2)))
    starts = np.array([0, 2])
    assert true.windows(starts, np.array([3, 2]), 3).tolist() == [[1, 1, 1], [1, 1, 0]]


def test_an_id_depends_on_what_happens_alone() -> None:
    segments, _ = make_pool().windows(np.array([0, 2, 2]), 3)
    first, second, again = segments.ids()
    assert first != second
    assert second == again
    changed = Segments(segments.obs.copy(), segments.actions, segments.steps)
    changed.obs[1, 2] = 99.0  # behind the end: no part of the segment
    assert changed.ids()[1] == second
    changed.obs[1, 1] = 99.0
    assert changed.ids()[1] != second


def test_files_hold_segments(tmp_path: Path) -> None:
    segments, _ = make_pool().windows(np.array([0, 2]), 3)
    save_segments(segments, segments.ids(), tmp_path)
    loaded = load_segments(segments.ids()[::-1], tmp_path)
    assert loaded.ids() == segments.ids()[::-1]
    assert loaded.steps.tolist() == [2, 3]


@pytest.mark.parametrize(("content", "reason"), [(None, "missing"), (b"PK no zip", "damaged")])
def test_a_bad_file_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "clip-1.npz").write_bytes(content)
    with pytest.raises(UserError, match=rf"clip-1\.npz: {reason}.*; judgments are about this clip, restore it"):
        load_segments(["clip-1"], tmp_path)


def test_a_recorder_keeps_the_newest_steps_and_marks_cuts() -> None:
    recorder = Recorder(limit=3)
    for step in range(10):
        row = np.full((2, 1), step, dtype=np.float32)
        ends = np.array([TERMINATED if step == 9 else GOES_ON, GOES_ON])
        recorder.add(row, row, rewards=row[:, 0], ends=ends, states=np.zeros((2, 0)))
    recorder.cut()
    pool, true = recorder.pool()
    assert pool.obs[:, 0, 0].tolist() == [7, 8, 9]
    assert true.values[:, 1].tolist() == [7, 8, 9]
    assert pool.ends[-1].tolist() == [TERMINATED, CUT]
    other = Recorder(limit=3)
    other.restore(recorder.state())
    assert other.pool()[0].ends.tolist() == pool.ends.tolist()
