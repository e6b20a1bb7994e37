"""Requests that the guard of both servers refuses by their headers alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError
from support.coroutines import run_coroutine

from pipeline.config.serve import ServeConfig
from pipeline.config.server import ServerConfig
from pipeline.ui.web.guard import ANY, Guard, Rules, accepted_hosts

LOCALHOST = (b"host", b"localhost")


def answered(
    *headers: tuple[bytes, bytes], method: str = "GET", hosts: frozenset[str] | None = None
) -> tuple[int, Any]:
    """Status and JSON of the guard's answer; 200 where the application was asked."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b'{"detail": "asked"}'})

    scope = {"type": "http", "method": method, "scheme": "http", "headers": list(headers)}
    rules = Rules(hosts or accepted_hosts("127.0.0.1", []), "serve.allowed_hosts", 1000, origin_needed=False)
    run_coroutine(Guard(app, rules)(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


MALFORMED = [
    b"",
    b" ",
    b"evil@localhost",
    b"evil:x@localhost",
    b"localhost:",
    b"localhost:port",
    b"localhost:99999",
    b"localhost:-1",
    b"localhost/x",
    b"localhost?",
    b"localhost#",
    b"localhost,evil",
    b"[::1",
    b"::1",
    b"[::1]x",
    b"[localhost]",
    b"[::g]",
    b"localhost localhost",
    b"localhost\xa0",
    b"\xb2",
    b"http://localhost",
    b"a" * 300,
    b".localhost",
    b"[fe80::1%25lo]",
]


@pytest.mark.parametrize("host", MALFORMED)
@pytest.mark.parametrize("hosts", [None, frozenset({ANY})])
def test_a_malformed_host_is_refused_whatever_names_are_accepted(host: bytes, hosts: frozenset[str] | None) -> None:
    status, said = answered((b"host", host), hosts=hosts)
    assert status == 400, host
    assert said["detail"].startswith("the Host header is missing or malformed")


@pytest.mark.parametrize("headers", [(), (LOCALHOST, LOCALHOST), (LOCALHOST, (b"Host", b"evil.example"))])
def test_a_host_is_sent_once(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    assert answered(*headers)[0] == 400
    assert answered(*headers, hosts=frozenset({ANY}))[0] == 400


def test_an_empty_host_is_nobodys_even_if_a_setting_names_it() -> None:
    assert answered((b"host", b""), hosts=accepted_hosts("", [""]))[0] == 400


@pytest.mark.parametrize(
    "host", [b"localhost", b"LOCALHOST:65535", b"127.0.0.1:1", b"[::1]", b"[0:0:0:0:0:0:0:1]:80", b"my_machine.lan."]
)
def test_ones_own_names_are_accepted_in_every_spelling(host: bytes) -> None:
    assert answered((b"host", host), hosts=accepted_hosts("127.0.0.1", ["my_machine.lan."]))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")],
        [(b"content-length", b"5")] * 2,
        [(b"content-length", b"5"), (b"Content-Length", b"6")],
        [(b"content-length", b"many")],
        [(b"content-length", b"-1")],
        [(b"content-length", b"+1")],
        [(b"content-length", b"")],
        [(b"content-length", "٣".encode())],
    ],
)
def test_a_length_is_said_once(headers: list[tuple[bytes, bytes]]) -> None:
    status, said = answered(LOCALHOST, *headers, method="POST")
    assert (status, said["detail"].partition(";")[0]) == (400, "the body's length is malformed")


def test_a_length_of_thousands_of_digits_is_too_large() -> None:
    for length in (b"1001", b"9" * 5000):
        assert answered(LOCALHOST, (b"content-length", length), method="POST")[0] == 413, length[:9]


def test_two_origins_are_foreign() -> None:
    own = (b"origin", b"http://localhost")
    assert answered(LOCALHOST, own, method="POST")[0] == 200
    assert answered(LOCALHOST, own, (b"origin", b"http://evil.example"), method="POST")[0] == 403
    assert answered(LOCALHOST, (b"origin", b"http://evil.example"), own, method="POST")[0] == 403


@pytest.mark.parametrize("settings", [ServeConfig, ServerConfig])
def test_a_server_listens_where_it_is_told_to(settings: type[ServeConfig] | type[ServerConfig]) -> None:
    for host in ("", " ", "\t"):
        with pytest.raises(
            ValidationError,
            match=r"is empty, which would listen on every address; use 127\.0\.0\.1|has the character U\+0009",
        ):
            settings(host=host)
    for host in ("0", "127.1", "http://x", "x:80", "[::1]", "a b", "*", "é", "x/", "a" * 300):
        with pytest.raises(ValidationError, match="is no host name or IP address; write it without scheme, port"):
            settings(host=host)
    for host in ("127.0.0.1", "0.0.0.0", "::", "localhost", "my-machine.lan"):
        assert settings(host=host).host == host
    assert settings(host="0:0:0:0:0:0:0:0").host == "::", "so that it is known to be every address"


@pytest.mark.parametrize("settings", [ServeConfig, ServerConfig])
def test_names_that_no_request_could_have_are_refused(settings: type[ServeConfig] | type[ServerConfig]) -> None:
    for name in ("", "https://photos.example", "photos.example:8080", "a,b"):
        with pytest.raises(ValidationError, match="is no host name or IP address"):
            settings(allowed_hosts=[name])
    assert settings(allowed_hosts=["*", "photos.example", "::1"]).allowed_hosts == ["*", "photos.example", "::1"]
