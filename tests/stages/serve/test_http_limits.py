"""Limits of a request: each has a request that it alone refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient
from support.coroutines import run_coroutine

from stages.serve.app import ServerState, make_app

HOST = "http://127.0.0.1:8080"
RAW = {"Content-Type": "application/octet-stream"}
Client = Callable[..., TestClient]
CHUNKED = {
    "type": "http",
    "method": "POST",
    "path": "/predict",
    "raw_path": b"/predict",
    "query_string": b"",
    "scheme": "http",
    "root_path": "",
    "http_version": "1.1",
    "headers": [(b"host", b"localhost"), (b"content-type", b"image/png"), (b"transfer-encoding", b"chunked")],
}


def test_too_many_images_in_a_request(client: Client, picture: Callable[..., bytes]) -> None:
    one = client(max_images=3)
    files = [("f", (f"{n}.png", picture())) for n in range(4)]
    assert one.post("/predict", files=files[:3]).status_code == 200
    reply = one.post("/predict", files=files)
    assert reply.status_code == 413
    assert "may have 3 (serve.max_images)" in reply.json()["detail"]


def test_a_large_body_is_refused_before_it_is_read(client: Client) -> None:
    one, large = client(max_megabytes=1), bytes(2**20 + 1)
    reply = one.post("/predict", content=large, headers=RAW)
    assert (reply.status_code, reply.json()["detail"]) == (413, "the request is too large; send at most 1 MiB")
    reply = one.post("/predict", content=iter([large[: 2**19]] * 3), headers=RAW)
    assert reply.status_code == 413, "without a length, too"
    reply = one.post("/predict", content=b"x", headers={**RAW, "Content-Length": str(10**12)})
    assert reply.status_code == 413, "by its announced length alone"


def test_reading_a_body_without_a_length_stops_at_the_limit(state: Callable[..., ServerState]) -> None:
    one, taken, sent = state(max_megabytes=1), [], []

    async def receive() -> dict[str, Any]:
        taken.append(2**16)
        return {"type": "http.request", "body": bytes(2**16), "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    run_coroutine(make_app(one)(dict(CHUNKED), receive, send))
    assert sum(taken) <= 2**20 + 2**16
    assert sent[0]["status"] == 413
    assert one.engine._bytes == 0


def test_a_full_queue_answers_503(state: Callable[..., ServerState]) -> None:
    one = state(queue=2, max_images=2)
    one.engine._images = 2
    one.engine._batcher._seconds_per_item = 3.5
    reply = TestClient(make_app(one), base_url=HOST).post("/predict", content=b"x", headers=RAW)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "7")
    assert "try again in 7 s" in reply.json()["detail"]
    one.engine._images = 0


def test_a_full_queue_reads_nothing(state: Callable[..., ServerState]) -> None:
    one, sent = state(queue=2, max_images=2), []
    one.engine._images = 2

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    run_coroutine(make_app(one)(dict(CHUNKED), receive, send))
    assert sent[0]["status"] == 503
    one.engine._images = 0


def test_bytes_beyond_the_budget_answer_503(state: Callable[..., ServerState], picture: Callable[..., bytes]) -> None:
    one = state(max_megabytes=1, waiting_megabytes=1)
    site = TestClient(make_app(one), base_url=HOST)
    one.engine.take_bytes(2**20 - 10)
    reply = site.post("/predict", content=picture(), headers=RAW)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
    one.engine.give_back_bytes(2**20 - 10)
    assert site.post("/predict", content=picture(), headers=RAW).status_code == 200
    assert one.engine._bytes == 0, "what was read of the refused one was given back"
