"""Engines without a running Ray: the registry, the local engine, how Ray's workers are counted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import count, islice
from types import SimpleNamespace

import pytest
import torch

from pipeline.config import RuntimeConfig, parse_config
from pipeline.engines import ENGINES, Site
from pipeline.engines.ray_engine import _batches_per_block
from pipeline.engines.ray_session import RaySession, _session
from pipeline.engines.ray_worker import Attempts
from pipeline.errors import UserError

CPU = torch.device("cpu")


class Doubler:
    """Takes a batch ahead, as a reader does that decodes while the network computes."""

    def __init__(self, site: Site) -> None:
        self.site, self.closed = site, False

    def __call__(self, batches: Iterator[int]) -> Iterator[int]:
        ahead: list[int] = []
        for batch in batches:
            ahead.append(batch)
            if len(ahead) > 1:
                yield 2 * ahead.pop(0)
        yield from (2 * batch for batch in ahead)

    def close(self) -> None:
        self.closed = True


def test_the_local_engine_builds_one_worker_streams_and_closes_it() -> None:
    built: list[Doubler] = []

    def build(site: Site) -> Doubler:
        built.append(Doubler(site))
        return built[-1]

    results = ENGINES.get("local").map_batches(build, count(), count=None, runtime=RuntimeConfig(), device=CPU)
    assert list(islice(results, 5)) == [0, 2, 4, 6, 8], "of batches without end"
    results.close()
    assert [(one.site, one.closed) for one in built] == [(Site(CPU, ""), True)]


def test_an_unknown_engine_is_refused_with_the_valid_names() -> None:
    for key in ("infer", "runtime"):
        with pytest.raises(UserError, match=rf"{key}\.engine: unknown engine 'rey'; valid names: local, ray"):
            parse_config({"images": {"source": "digits"}, key: {"engine": "rey"}}, "test")


def test_without_ray_the_message_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.engines.ray_engine.missing", lambda names: list(names))
    results = ENGINES.get("ray").map_batches(Doubler, iter([1]), count=1, runtime=RuntimeConfig(), device=CPU)
    with pytest.raises(UserError, match=r"needs the package ray: run `pip install 'image-rlhf\[ray\]'`"):
        next(results)


def test_blocks_are_small_where_there_are_few_batches() -> None:
    """Two workers get at least four blocks each, as long as there are eight batches."""
    assert [_batches_per_block(n, 2, 8) for n in (1, 8, 15, 16, 40, 1000)] == [1, 1, 1, 2, 5, 8]
    assert _batches_per_block(None, 2, 8) == 8
    assert _batches_per_block(1000, 2, 1) == 1


@pytest.mark.parametrize(
    ("settings", "resources", "expected"),
    [
        ({}, {"CPU": 8.0}, RaySession(8, 8, 1, "cpu")),
        ({"threads": 3}, {"CPU": 8.0}, RaySession(2, 2, 3, "cpu")),
        ({"threads": 16}, {"CPU": 8.0}, RaySession(1, 1, 16, "cpu")),
        ({}, {"CPU": 8.0, "GPU": 2.0}, RaySession(2, 2, 1, "cuda")),
        ({"device": "cpu"}, {"CPU": 8.0, "GPU": 2.0}, RaySession(8, 8, 1, "cpu")),
        ({"ray_workers": 3}, {"CPU": 8.0}, RaySession(3, 3, 1, "cpu")),
        ({"ray_workers": 12}, {"CPU": 8.0}, RaySession(12, 8, 1, "cpu")),
    ],
)
def test_workers_by_settings_and_by_what_the_cluster_has(
    settings: dict[str, object], resources: dict[str, float], expected: RaySession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert _session(RuntimeConfig(**settings), resources) == expected
    assert ("room for 8" in caplog.text) == (expected.workers > expected.initial_workers)
    assert expected.gpus_per_worker == (expected.device == "cuda")


def test_a_cluster_without_gpus_refuses_cuda() -> None:
    with pytest.raises(UserError, match="the Ray cluster has no GPU; use auto or cpu"):
        _session(RuntimeConfig(device="cuda"), {"CPU": 8.0})


def test_attempts_are_counted_per_block() -> None:
    attempts = Attempts()
    assert [attempts.begin(number) for number in (0, 1, 0, 0)] == [1, 1, 2, 3]


def test_a_failure_in_a_worker_names_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an actor returns, with Ray's few functions in its place."""
    pytest.importorskip("ray", reason="needs the extra ray")
    from pipeline.engines.ray_worker import MAX_ATTEMPTS, BlockWorker, Failure

    class Broken(Doubler):
        def __call__(self, batches: Iterator[int]) -> Iterator[int]:
            raise UserError("/data/a.jpg: no such file")

    monkeypatch.setattr("ray.get", lambda value: value)
    monkeypatch.setattr("pipeline.engines.ray_worker.node_name", lambda: "n7 (10.0.0.7)")
    attempts = Attempts()
    handle = SimpleNamespace(begin=SimpleNamespace(remote=attempts.begin))
    worker = BlockWorker(b"", handle, RuntimeConfig(), "/no such folder")
    monkeypatch.setattr(worker, "_built", lambda: Broken(Site(CPU)))
    assert worker._results(0, [1, 2]) == Failure("node n7 (10.0.0.7): /data/a.jpg: no such file")
    monkeypatch.setattr(worker, "_worker", Doubler(Site(CPU)))
    assert worker._results(1, [1, 2, 3]) == [2, 4, 6]
    for _ in range(MAX_ATTEMPTS - 1):
        assert worker._results(1, [1]) == [2]
    last = worker._results(1, [1])
    assert isinstance(last, Failure)
    assert "3 workers in turn died at the same block" in last.message
