"""The real command against slow strangers, damaged files, lost leases, and whoever looks at the list of processes."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from support.browser import CHROMIUM
from support.collect_process import CollectProcess, make_run, start_over

from feedback_store.csv_store.store import CsvFeedbackStore

STRANGERS = 1200  # connections, with a usual limit of 1,024 open files
Start = Callable[..., CollectProcess]
Person = Callable[[CollectProcess], tuple[httpx.Client, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    make_run(folder)
    return folder


@pytest.fixture
def folder(made: Path) -> Path:
    start_over(made)
    return made


@pytest.fixture
def collect(folder: Path) -> Iterator[Start]:
    started: list[CollectProcess] = []

    def start(*overrides: str, **options: Any) -> CollectProcess:
        started.append(CollectProcess(folder, *overrides, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop(signal.SIGKILL)


@pytest.fixture
def certificate(tmp_path: Path) -> list[str]:
    """Overrides that make `collect` serve https, with a certificate that nobody knows."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make a certificate")
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            openssl,
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-out",
            made,
            "-subj",
            "/CN=localhost",
        ],
        check=True,
        capture_output=True,
    )
    return [f"collect.server.tls_certificate={made}", f"collect.server.tls_key={key}"]


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < STRANGERS + 200:
        pytest.skip(f"this system allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def person() -> Iterator[Person]:
    """Opens ann's link; gives a browser that has done so, and the folder of her addresses."""
    clients: list[httpx.Client] = []

    def enter(server: CollectProcess) -> tuple[httpx.Client, str]:
        headers = {"Origin": server.address}
        clients.append(httpx.Client(base_url=server.address, headers=headers, verify=False, timeout=60))
        return clients[-1], clients[-1].get(server.links["ann"]).headers["location"]

    yield enter
    for client in clients:
        client.close()


HALF_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"  # of TLS


@pytest.mark.long
@pytest.mark.parametrize(
    ("encrypted", "sent"), [(False, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-"), (True, b""), (True, HALF_HELLO)]
)
def test_slow_strangers_keep_nobody_out(
    collect: Start, person: Person, certificate: list[str], many_files: None, encrypted: bool, sent: bytes
) -> None:
    """More unfinished requests than there may be open files, over TLS unfinished handshakes as well."""
    server = collect(*(certificate if encrypted else []), open_files=1024)
    where = urlsplit(server.address)
    with ExitStack() as held:
        for _ in range(STRANGERS):
            stranger = held.enter_context(socket.create_connection((where.hostname, where.port), timeout=60))
            stranger.sendall(sent)
        client, home = person(server)
        tasks = client.post(home + "next", json={"wanted": 2}).json()["tasks"]
        assert client.get(home + tasks[0]["images"][0]).status_code == 200
    said = server.stop()
    assert len(said.splitlines()) < 60, said[:3000]
    assert "Traceback" not in said


def test_answers_go_in_when_everything_but_the_plan_is_lost(collect: Start, person: Person, folder: Path) -> None:
    """A question was taken, the server killed and its leases lost; then the answer that waited in the page comes."""
    server = collect()
    client, home = person(server)
    task, other = client.post(home + "next", json={"wanted": 2}).json()["tasks"]
    server.stop(signal.SIGKILL)
    for path in (folder / "runs" / "asked" / "collect").glob("leases*"):
        path.unlink()
    again = collect()
    client, home = person(again)
    left = other["choices"][0]["answer"]
    sent = [
        {"id": "waited-1", "item": task["key"], "answer": "a"},
        {"id": "waited-2", "item": other["key"], "answer": left},
    ]
    reply = client.post(home + "answers", json={"answers": sent}).json()
    assert (reply["stored"], reply["refused"]) == (["waited-1", "waited-2"], [])
    stored = CsvFeedbackStore(folder / "runs" / "asked" / "feedback").comparisons()
    assert list(stored["id"]) == ["waited-1", "waited-2"]
    assert stored["shown_first"].iloc[1] == left, "the side that was shown first before, too"


def test_damaged_leases_are_set_aside(collect: Start, person: Person, folder: Path) -> None:
    path = folder / "runs" / "asked" / "collect" / "leases.sqlite"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a database" * 100)
    server = collect()
    client, home = person(server)
    assert len(client.post(home + "next", json={"wanted": 2}).json()["tasks"]) == 2
    (aside,) = path.parent.glob("leases.sqlite.damaged-*")
    said = server.stop()
    assert said.startswith("warning: damaged file of leases (file is not a database): ")
    assert f"{path.relative_to(folder)}; it was set aside as {aside.name}" in said
    assert said.count("\n") == 1


def test_damaged_links_are_said_and_left(collect: Start, folder: Path) -> None:
    first = collect()
    links = first.links
    first.stop()
    path = folder / "runs" / "asked" / "collect" / "links.json"
    keep = path.read_bytes()
    for content in (b"{", b'{"key": "%s", "tokens": {"": ""}}' % (b"0" * 64)):
        path.write_bytes(content)
        refused = collect()
        said = refused.stop()
        assert refused.code == 2
        assert said.startswith("error: damaged file of personal links (")
        assert said.count("\n") == 1
        assert "move it away to get new links" in said
        assert path.read_bytes() == content
    path.write_bytes(keep)
    tokens = {name: link.partition("/enter/")[2] for name, link in collect().links.items()}
    assert tokens == {name: link.partition("/enter/")[2] for name, link in links.items()}


@pytest.fixture
def recorder(tmp_path: Path) -> Path:
    """A browser that writes down its arguments and ends."""
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> "{tmp_path}/arguments"\n')
    script.chmod(0o700)
    return script


def test_the_list_of_processes_shows_no_link(
    collect: Start, folder: Path, recorder: Path, request: pytest.FixtureRequest
) -> None:
    left_over = folder / "runs" / "asked" / "collect" / "open-killed"
    left_over.mkdir(parents=True)
    server = collect("collect.server.open_browser=true", DISPLAY=":0", BROWSER=f"{recorder} %s")
    while not (recorded := recorder.with_name("arguments")).is_file() or not recorded.read_text().endswith("\n"):
        assert server.process.poll() is None
        time.sleep(0.05)
    (argument,) = recorded.read_text().splitlines()
    token = server.links["ann"].rpartition("/")[2]
    assert token not in argument
    assert argument.startswith("file:///")
    path = Path(argument.removeprefix("file://"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not left_over.exists(), "a killed server's is removed by the next"
    if CHROMIUM is not None:
        context = request.getfixturevalue("browser").new_context()
        page = context.new_page()
        page.goto(argument)
        page.wait_for_selector("#stage img")
        assert urlsplit(page.url).path.startswith("/judge/")
        context.close()
    server.stop()
    assert not path.parent.exists()


def test_links_belong_to_their_owner_alone(collect: Start, folder: Path) -> None:
    collect()
    path = folder / "runs" / "asked" / "collect" / "links.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_uid == os.getuid()
