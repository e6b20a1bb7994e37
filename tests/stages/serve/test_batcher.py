"""Items are gathered into batches; nothing here depends on how fast the machine is."""

from __future__ import annotations

import threading

import pytest

from stages.serve.batcher import Batcher

LONG = 3600.0  # seconds nobody waits in a test: what ends a wait is always something else


class Recorder:
    """Computes squares; while `hold` is set a batch waits, and `entered` says that one has begun."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered, self.go = threading.Event(), threading.Event()
        self.go.set()

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.entered.set()
        assert self.go.wait(60)
        if -1 in items:
            raise ValueError("minus one")
        return [item * item for item in items]


def test_each_gets_its_own_result() -> None:
    batcher = Batcher(Recorder(), 4, 0.0)
    futures = [batcher.put(item) for item in range(50)]
    assert [future.result(60) for future in futures] == [item * item for item in range(50)]
    batcher.close()


def test_a_full_batch_does_not_wait() -> None:
    compute = Recorder()
    batcher = Batcher(compute, 3, LONG)
    futures = [batcher.put(item) for item in range(6)]
    assert [future.result(60) for future in futures] == [0, 1, 4, 9, 16, 25]
    assert compute.batches == [[0, 1, 2], [3, 4, 5]]
    batcher.close()


def test_a_batch_that_is_not_full_goes_when_its_time_is_up() -> None:
    compute = Recorder()
    batcher = Batcher(compute, 100, 0.001)
    assert batcher.put(7).result(60) == 49
    batcher.close()


def test_what_arrives_meanwhile_is_computed_together() -> None:
    compute = Recorder()
    compute.go.clear()
    batcher = Batcher(compute, 8, 0.0)
    first = batcher.put(0)
    assert compute.entered.wait(60)
    others = [batcher.put(item) for item in range(1, 8)]
    compute.go.set()
    assert [future.result(60) for future in (first, *others)] == [item * item for item in range(8)]
    assert compute.batches == [[0], [1, 2, 3, 4, 5, 6, 7]]
    batcher.close()


def test_closing_finishes_what_was_put() -> None:
    compute = Recorder()
    batcher = Batcher(compute, 100, LONG)
    futures = [batcher.put(item) for item in range(5)]
    batcher.close()
    assert [future.result(0) for future in futures] == [0, 1, 4, 9, 16]
    assert not batcher.alive
    with pytest.raises(RuntimeError, match="closed"):
        batcher.put(1)


def test_a_batch_that_fails_fails_alone() -> None:
    batcher = Batcher(Recorder(), 1, 0.0)
    bad, good = batcher.put(-1), batcher.put(3)
    with pytest.raises(ValueError, match="minus one"):
        bad.result(60)
    assert good.result(60) == 9
    assert batcher.alive
    batcher.close()


def test_a_sender_that_gave_up_does_not_stop_the_others() -> None:
    compute = Recorder()
    compute.go.clear()
    batcher = Batcher(compute, 8, 0.0)
    batcher.put(0)
    assert compute.entered.wait(60)
    gone, stays = batcher.put(1), batcher.put(2)
    assert gone.cancel()
    compute.go.set()
    assert stays.result(60) == 4
    assert batcher.put(3).result(60) == 9
    batcher.close()


def test_the_time_to_come_again_follows_the_pace() -> None:
    batcher = Batcher(Recorder(), 4, 0.0)
    assert batcher.seconds_for(100) == 1, "nothing is known yet"
    batcher._seconds_per_item = 0.5
    assert batcher.seconds_for(7) == 4
    assert batcher.seconds_for(0) == 1
    batcher.close()
