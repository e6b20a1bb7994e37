"""Functions that several processes run together, joined by gloo as torchrun's are.

A fork server imports torch once, so that a group starts in a fraction of a second.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.queues import Queue
from typing import Any

from pipeline.config import RuntimeConfig

TIMEOUT = 60


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def environment(world: int, rank: int, port: int) -> dict[str, str]:
    """What torchrun sets for one of the processes."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return place | {"WORLD_SIZE": str(world), "RANK": str(rank), "LOCAL_RANK": str(rank)}


def in_processes(world: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `function(runtime, *arguments)` returns in each of `world` processes; it is a function of a module in support."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch.distributed", "pytest", "support.process_jobs"])
    results: Queue[tuple[int, Any]] = context.Queue()
    port = free_port()
    started = [
        context.Process(target=_work, args=(results, environment(world, rank, port), rank, function, arguments))
        for rank in range(world)
    ]
    for process in started:
        process.start()
    returned = dict(results.get(timeout=TIMEOUT) for _ in started)
    for process in started:
        process.join(TIMEOUT)
        process.close()
    results.close()
    results.join_thread()
    for value in returned.values():
        if isinstance(value, BaseException):
            raise value
    return [returned[rank] for rank in range(world)]


def _work(
    results: Queue[tuple[int, Any]],
    variables: dict[str, str],
    rank: int,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    import torch

    from pipeline.run.runtime import start

    os.environ.update(variables)
    torch.set_num_threads(1)
    try:
        results.put((rank, function(start(RuntimeConfig(device="cpu", process_timeout=TIMEOUT)), *arguments)))
    except Exception as error:
        results.put((rank, error))
    torch.distributed.destroy_process_group()
