"""The real command and images that are built to take its memory or its time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from support.fuzzing import peak_bytes

from benchmarks.adversarial_images import huge_tile, many_scans, thin
from pipeline.config import Config
from pipeline.data.decode_limits import MAX_SCANS

FORM = "files"


def post(server: Any, *images: bytes) -> httpx.Response:
    """One image as it is, several as a form; without certificates, which take longer to read than the reply takes."""
    address = f"{server.address}/predict"
    if len(images) == 1:
        return httpx.post(address, content=images[0], headers={"Content-Type": "image/png"}, timeout=120, verify=False)
    return httpx.post(address, files=[(FORM, data) for data in images], timeout=120, verify=False)


def peak_of_all(server: Any) -> int:
    """Most resident memory of the server and the processes that decode for it, each at its own worst moment."""
    parent = psutil.Process(server.process.pid)
    return sum(peak_bytes(process.pid) for process in (parent, *parent.children()))


def test_memory_of_images_that_are_small_as_files(
    served: Callable[..., Config], process: Callable[..., Any], picture: Callable[..., bytes], tmp_path: Path
) -> None:
    """Four at a time took 5.0 to 7.1 GB, and one 500 for a whole form."""
    served()
    server = process(tmp_path / "served.yaml")
    before = peak_of_all(server)
    for hostile in (huge_tile(), thin(600_000), thin(60_000), thin(25_000_000)):
        reply = post(server, hostile, hostile, hostile, hostile, picture())
        assert reply.status_code == 200
        outcomes = reply.json()["predictions"]
        assert len(outcomes) == 5
        assert "label" in outcomes[-1], "the good image of the form is answered"
        if hostile != thin(60_000):  # within the limits of size: it is classified
            assert all("too large" in outcome["error"] for outcome in outcomes[:4])
    if before:
        assert peak_of_all(server) < before + 200 * 2**20
    server.signal(signal.SIGTERM)
    assert server.wait()[0] == 0


def test_absurd_scans_are_refused(served: Callable[..., Config], process: Callable[..., Any], tmp_path: Path) -> None:
    served()
    server = process(tmp_path / "served.yaml")
    reply = post(server, many_scans(4992, 2000))
    assert reply.status_code == 422
    assert f"2000 JPEG scans, more than {MAX_SCANS}" in reply.json()["detail"]


@pytest.mark.long
def test_others_are_answered_beside_slow_images_and_it_ends_within_its_grace(
    served: Callable[..., Config], process: Callable[..., Any], picture: Callable[..., bytes], tmp_path: Path
) -> None:
    """Ten images that take two seconds each are under way: an innocent one is answered before nine of them, and
    SIGTERM ends the server although they would go on."""
    served(grace_seconds=2)
    server = process(tmp_path / "served.yaml")
    slow = many_scans(4992, MAX_SCANS)
    with ThreadPoolExecutor(10) as pool:
        replies = [pool.submit(post, server, slow) for _ in range(10)]
        deadline = time.monotonic() + 60
        while figure(server, "image_rlhf_queue_images") < 10 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert post(server, picture()).status_code == 200
        assert sum(reply.done() for reply in replies) <= 2
        server.signal(signal.SIGTERM)
        code, rest = server.wait()
        assert (code, rest) == (0, "")
        statuses = {reply.result().status_code for reply in replies if reply.exception() is None}
        assert statuses <= {200, 503}
    assert 503 in statuses, "those that were given up were told"


def figure(server: Any, name: str) -> float:
    lines = httpx.get(f"{server.address}/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(name + " ")).split()[1])


def test_a_limit_of_time(served: Callable[..., Config], process: Callable[..., Any], tmp_path: Path) -> None:
    served(decode_seconds=0.2)
    server = process(tmp_path / "served.yaml")
    reply = post(server, many_scans(4992, MAX_SCANS))
    assert reply.status_code == 422
    detail = reply.json()["detail"]
    assert "takes more than 0.2 s of processor time to decode (serve.decode_seconds)" in detail


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(
    served: Callable[..., Config], process: Callable[..., Any], tmp_path: Path, number: int
) -> None:
    served(grace_seconds=600)
    server = process(tmp_path / "served.yaml")
    slow = many_scans(4992, MAX_SCANS)
    with ThreadPoolExecutor(12) as pool:
        replies = [pool.submit(post, server, slow) for _ in range(12)]
        while figure(server, "image_rlhf_queue_images") < 12:
            time.sleep(0.05)
        server.signal(number)
        time.sleep(0.5)
        server.signal(number)
        assert server.wait()[0] == 0
    answered = [reply.result().status_code for reply in replies if reply.exception() is None]
    assert answered.count(200) < 12, "it did not wait for all"
