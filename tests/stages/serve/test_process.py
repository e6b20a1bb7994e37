"""The real command: what it says, how it stops, and what it stays below."""

from __future__ import annotations

import re
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from support.raw_http import read_all, request

from benchmarks.adversarial_images import bomb
from pipeline.config import Config
from pipeline.run.run_folder import RunFolder
from stages.cli import main
from stages.serve.run import load, memory_limit

PNG = {"Content-Type": "image/png"}


def figure(address: str, name: str) -> float:
    families = text_string_to_metric_families(httpx.get(f"{address}/metrics").text)
    return next(sample.value for family in families for sample in family.samples if sample.name == name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_taken_is_finished(
    served: Callable[..., Config],
    process: Callable[..., Any],
    picture: Callable[..., bytes],
    tmp_path: Path,
    number: int,
) -> None:
    """One image waits for company that never comes, one body is half there, one connection is silent."""
    served(batch_wait_ms=3_600_000, read_seconds=3600)
    server = process(tmp_path / "served.yaml")
    replies: list[httpx.Response] = []

    def send() -> None:
        replies.append(httpx.post(f"{server.address}/predict", content=picture(), headers=PNG, timeout=120))

    waiting = threading.Thread(target=send)
    waiting.start()
    where = urlsplit(server.address)
    half = socket.create_connection((where.hostname, where.port), timeout=120)
    silent = socket.create_connection((where.hostname, where.port), timeout=120)
    data = picture(1)
    whole = request(data, more="Expect: 100-continue\r\n")
    half.sendall(whole[: -len(data)])
    assert b"100 Continue" in half.recv(1000), "it was taken"
    while figure(server.address, "image_rlhf_queue_images") < 1:
        assert waiting.is_alive()
    server.signal(number)
    assert read_all(silent) == b""
    half.sendall(data)
    assert read_all(half).startswith(b"HTTP/1.1 200")
    waiting.join()
    assert [reply.status_code for reply in replies] == [200]
    code, rest = server.wait()
    assert (code, rest) == (0, "")
    for connection in (half, silent):
        connection.close()


def test_what_it_says_and_what_memory_it_stays_below(
    served: Callable[..., Config], process: Callable[..., Any], picture: Callable[..., bytes], tmp_path: Path
) -> None:
    served()
    server = process(tmp_path / "served.yaml")
    said = "".join(server.lines)
    assert "served: 3 classes, with the reference" in said
    stated = int(re.search(r"memory stays below (\d+) MiB", said)[1]) << 20  # type: ignore[index]
    assert abs(figure(server.address, "image_rlhf_memory_limit_bytes") - stated) < 2**20
    for content in (bomb(), b"just text", picture(), bytes(19 * 2**20)):
        assert httpx.post(f"{server.address}/predict", content=content, headers=PNG).status_code in (200, 422)
    process_of_it = psutil.Process(server.process.pid)
    processes = [process_of_it, *process_of_it.children()]
    assert len(processes) == 4, "itself, two that decode and the one in reserve"
    assert sum(one.memory_info().rss for one in processes) < stated


def test_open_files_are_allowed(process: Callable[..., Any], served: Callable[..., Config], tmp_path: Path) -> None:
    """A shell's usual limit of 1,024 would be full with a thousand slow connections."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    served()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
        server = process(tmp_path / "served.yaml")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert figure(server.address, "process_max_fds") == hard


def test_the_command_and_the_target_say_what_they_do() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    assert re.search(r"^  serve +Serve a page", shown, re.MULTILINE)
    makefile = (Path(__file__).resolve().parents[3] / "Makefile").read_text()
    assert re.search(r"^serve: .*## ", makefile, re.MULTILINE)
    assert re.search(r"^serve-test: .*## ", makefile, re.MULTILINE)


def test_the_limit_of_memory_grows_with_what_may_be_held(served: Callable[..., Config]) -> None:
    base = served(reference=False)
    policy, _ = load(base)
    least = memory_limit(base.serve, policy)
    for larger in ({"workers": 3}, {"max_pixels": 50_000_000}, {"waiting_megabytes": 256}, {"connections": 9999}):
        settings = base.serve.model_copy(update=larger)
        assert memory_limit(settings, policy) > least + 100 * 2**20, larger


def test_bad_beginnings_are_said(
    served: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = served()
    path = str(tmp_path / "served.yaml")

    def outcome(*overrides: str) -> str:
        result = CliRunner().invoke(
            main, ["serve", "--config", path, *(["--set", " ".join(overrides)] if overrides else [])]
        )
        assert result.exit_code == 2, result.output
        return result.output

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"serve: cannot listen on 127.0.0.1, port {port}" in outcome(f"serve.port={port}")
    assert "would never fit into queue" in outcome("serve.queue=3")
    assert "would never fit into waiting_megabytes" in outcome("serve.max_megabytes=1000")
    assert "make ppo" in outcome("name=nothing")
    monkeypatch.setenv("IMAGE_RLHF_TOKEN", "short")
    assert "at least 16" in outcome()
    monkeypatch.delenv("IMAGE_RLHF_TOKEN")
    (RunFolder(config).path / "ppo" / "model.safetensors").write_bytes(b"rubbish")
    assert "damaged model file" in outcome()


def test_a_reference_of_other_classes_is_refused(served: Callable[..., Config], tmp_path: Path) -> None:
    config = served()
    path = RunFolder(config).path
    other = served(classes=("cat", "dog"))
    keep = (path / "ppo" / "model.safetensors").read_bytes()
    served()
    (path / "ppo" / "model.safetensors").write_bytes(keep)
    result = CliRunner().invoke(main, ["serve", "--config", str(tmp_path / "served.yaml")])
    assert result.exit_code == 2
    assert "other classes" in result.output
    assert other.name in result.output
