"""The people of `make load-test`: HTTP clients that answer until every answer is acknowledged, at any of the servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import httpx
import numpy as np

RETRY_SECONDS = 0.25
WAIT_STATUSES = (503, 507)  # overloaded; answers cannot be stored now: the page sends them again


class Place(Protocol):
    """A server: its port, and the personal link of each annotator."""

    port: int
    links: dict[str, str]


@dataclass
class Outcome:
    """Results of all clients: ids of acknowledged answers, latencies in seconds, failed attempts and refusals."""

    acknowledged: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    bare_seconds: list[float] = field(default_factory=list)
    failed: int = 0
    refused: list[str] = field(default_factory=list)


class Client:
    """One person's browser. It goes to the next server when one does not answer, as a proxy in front of them does.

    Args:
        places: the servers.
        first: number of the server to begin with.
    """

    def __init__(
        self, places: Sequence[Place], first: int, outcome: Outcome, transport: httpx.AsyncBaseTransport
    ) -> None:
        self.places, self.number, self.outcome = places, first % len(places), outcome
        self.http = httpx.AsyncClient(transport=transport, timeout=10)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.places[self.number].port}"

    async def enter(self, name: str) -> str:
        """Open the personal link; returns the path of the person's pages."""
        link = self.places[self.number].links[name]
        return (await self.send("GET", "/enter/" + link.rpartition("/")[2])).headers["location"]

    async def send(self, method: str, path: str, *, body: object = None, timed: bool = False) -> httpx.Response:
        """Send a request until a server replies; an answer that is sent again has the same id."""
        while True:
            started = time.perf_counter()
            headers = {"Content-Type": "application/json", "Origin": self.base}
            content = json.dumps(body) if body is not None else None
            try:
                reply = await self.http.request(method, self.base + path, content=content, headers=headers)
            except httpx.TransportError:
                reply = None
            if reply is None or reply.status_code in WAIT_STATUSES:
                self.outcome.failed += 1
                self.number = (self.number + 1) % len(self.places)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if reply.status_code >= 400:
                raise SystemExit(f"{method} {path}: {reply.status_code} {reply.text}")
            if timed:
                self.outcome.seconds.append(time.perf_counter() - started)
            return reply


async def annotate(client: Client, name: str, *, target: int, think: float) -> None:
    """Open the link, take a few questions at a time, and send each answer until it is acknowledged."""
    outcome = client.outcome
    home = await client.enter(name)
    tasks: list[dict[str, object]] = []
    while len(outcome.acknowledged) < target:
        if not tasks:
            reply = await client.send("POST", home + "next", body={"wanted": 4})
            tasks = reply.json()["tasks"]
            if not tasks:
                if reply.json()["wait_seconds"] is None:
                    return
                await asyncio.sleep(0.5)
                continue
        task = tasks.pop(0)
        await asyncio.sleep(random.expovariate(1 / think))
        answer = {"id": uuid.uuid4().hex, "item": task["key"], "answer": random.choice("ab"), "response_ms": 700}
        reply = await client.send("POST", home + "answers", body={"answers": [answer]}, timed=True)
        outcome.acknowledged += reply.json()["stored"]
        outcome.refused += [refused["reason"] for refused in reply.json()["refused"]]


async def send_bare_requests(client: Client, name: str, think: float) -> None:
    """Send bare requests (the page's settings, nothing stored) until cancelled; those that fail do not count."""
    home = await client.enter(name)
    while True:
        await asyncio.sleep(random.expovariate(1 / think))
        client.number = (client.number + 1) % len(client.places)
        started = time.perf_counter()
        with contextlib.suppress(httpx.TransportError):
            (await client.http.get(client.base + home + "session")).raise_for_status()
            client.outcome.bare_seconds.append(time.perf_counter() - started)


def latency(outcome: Outcome) -> str:
    """Latencies of acknowledgements in milliseconds, and relative to bare requests."""
    median, p95, most = np.quantile(np.array(outcome.seconds) * 1000, [0.5, 0.95, 1.0])
    text = f"acknowledgement: median {median:.1f} ms, 95th percentile {p95:.1f} ms, maximum {most:.0f} ms"
    if not outcome.bare_seconds:
        return f"{text}; no bare request succeeded, so there is no ratio"
    bare_median, bare_p95 = np.quantile(np.array(outcome.bare_seconds) * 1000, [0.5, 0.95])
    return (
        f"{text}; bare request: median {bare_median:.1f} ms, 95th percentile {bare_p95:.1f} ms; ratio {median / bare_median:.1f} "
        f"and {p95 / bare_p95:.1f}"
    )
