"""The processes of docs/compose, started by hand: a database, migration and roles, two servers, and a proxy."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from support.collect_process import CollectProcess, environment, make_run
from support.command_process import run_command
from support.postgres import running_postgres
from support.tcp_proxy import TcpProxy

from benchmarks.postgres_process import PostgresProcess, postgres_programs
from feedback_store.store_registry import open_store

COMPOSE = Path(__file__).resolve().parents[3] / "docs" / "compose"
SERVICES: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresProcess]:
    yield from running_postgres()


def here(command: list[str], database: PostgresProcess) -> list[str]:
    """A command of the compose file, for the database of this test."""
    return [word.replace("@database/", f"@127.0.0.1:{database.port}/") for word in command]


def test_the_compose_file_names_files_and_commands_that_exist() -> None:
    assert list(SERVICES) == ["database", "migrate", "roles", "reference", "server-1", "server-2", "proxy"]
    mounted = [volume.split(":")[0] for one in SERVICES.values() for volume in one.get("volumes", [])]
    assert {name for name in mounted if name.startswith("./")} == {"./judging.yaml", "./roles.sql", "./Caddyfile"}
    assert all((COMPOSE / name).is_file() for name in mounted if name.startswith("./"))
    assert (COMPOSE.parents[1] / SERVICES["server-1"]["build"]["dockerfile"]).is_file()
    proxied = (COMPOSE / "Caddyfile").read_text()
    assert "reverse_proxy server-1:8765 server-2:8765" in proxied
    config = yaml.safe_load((COMPOSE / "judging.yaml").read_text())
    assert config["collect"]["store"] == "postgresql://judge_server@database/judgments"


@pytest.mark.long
def test_two_servers_behind_a_proxy(database: PostgresProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on two machines: each server has its own copy of the run's folder, and nothing else in common but the database."""
    migrated = run_command(["-m", "stages.cli", *here(SERVICES["migrate"]["command"], database)], env=environment())
    assert migrated.returncode == 0, migrated.stderr
    psql = here(SERVICES["roles"]["command"], database)
    psql[0] = str((postgres_programs() or Path()) / psql[0])
    psql[psql.index("/roles.sql")] = str(COMPOSE / "roles.sql")
    for _ in range(2):  # compose runs it at every start
        subprocess.run(psql, check=True, env=os.environ | {"SERVER_PASSWORD": "of-the-server"}, capture_output=True)
    monkeypatch.setenv("PGPASSWORD", "of-the-server")

    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    make_run(one)
    shutil.copytree(one, two)
    store = database.address() + "?collection=judging"
    servers = {folder: CollectProcess(folder, f"collect.store={store}") for folder in (one, two)}
    ports = [urlsplit(server.address).port or 0 for server in servers.values()]
    proxy = TcpProxy(*ports)
    base = f"http://127.0.0.1:{proxy.port}"
    tokens = [{name: link.rpartition("/")[2] for name, link in server.links.items()} for server in servers.values()]
    assert tokens[0] == tokens[1]
    try:
        with httpx.Client(base_url=base, headers={"Origin": base}, timeout=60) as client:
            home = client.get(f"/enter/{tokens[0]['ann']}").headers["location"]
            first, second, third = client.post(home + "next", json={"wanted": 3}).json()["tasks"]
            assert client.get(home + first["images"][0]).status_code == 200
            assert answer(client, home, first, "answer-1")["progress"]["mine"] == 1
            servers[one].stop(signal.SIGKILL)
        with httpx.Client(base_url=base, headers={"Origin": base}, timeout=60) as client:
            home = client.get(f"/enter/{tokens[0]['ann']}").headers["location"]
            assert answer(client, home, first, "answer-1")["stored"] == ["answer-1"], "stored already"
            assert answer(client, home, second, "answer-2")["progress"]["mine"] == 2
        servers[one] = CollectProcess(one, f"collect.store={store}")
        with httpx.Client(base_url=servers[one].address, headers={"Origin": servers[one].address}) as client:
            home = client.get(f"/enter/{tokens[0]['ann']}").headers["location"]
            assert answer(client, home, third, "answer-3")["progress"]["mine"] == 3
        assert owners_view(servers[one], tokens[0]["(owner)"]) == owners_view(servers[two], tokens[0]["(owner)"])
        assert owners_view(servers[one], tokens[0]["(owner)"])["people"] == [["ann", 3]]
        assert list(open_store(store).comparisons()["id"]) == ["answer-1", "answer-2", "answer-3"]
    finally:
        proxy.close()
        for server in servers.values():
            server.stop()
    assert "postgresql://judge_server@" in (one / "runs" / "asked" / "collect" / "config.yaml").read_text()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"of-the-server" not in path.read_bytes(), path


def answer(client: httpx.Client, home: str, task: dict[str, Any], judgment: str) -> dict[str, Any]:
    sent = {"answers": [{"id": judgment, "item": task["key"], "answer": "a", "response_ms": 5}]}
    reply = client.post(home + "answers", json=sent)
    assert reply.status_code == 200, reply.text
    assert reply.json()["refused"] == []
    return reply.json()


def owners_view(server: CollectProcess, token: str) -> dict[str, Any]:
    """What the owner's page shows of progress and quality."""
    with httpx.Client(base_url=server.address, timeout=60) as client:
        home = client.get(f"/enter/{token}").headers["location"]
        shown = client.get(home + "status").json()
    people = [[one["name"], one["mine"]] for one in shown["people"]]
    return {"done": shown["done"], "total": shown["total"], "people": people, "quality": shown["quality"]}
