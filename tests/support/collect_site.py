"""The judging application without a server between, and a browser for each person."""

from __future__ import annotations

from fastapi.testclient import TestClient

from stages.collect.web.app import make_app
from stages.collect.web.page_context import PageContext

HOST = "http://127.0.0.1:8765"


ORIGIN = {"Origin": HOST}


class Site:
    """The application, and a browser for each person."""

    def __init__(self, desk: PageContext) -> None:
        self.desk, self.app = desk, make_app(desk)

    def browser(self, who: str | None = None) -> TestClient:
        client = TestClient(self.app, base_url=HOST, follow_redirects=False)
        if who is not None:
            entered = client.get(self.link(who).enter)
            assert entered.status_code == 303
        return client

    def link(self, who: str):  # type: ignore[no-untyped-def]
        return next(link for link in self.desk.links if link.name == who)

    def home(self, who: str) -> str:
        return self.link(who).home


def take(site: Site, who: str = "ann", wanted: int = 2) -> list[dict]:  # type: ignore[type-arg]
    reply = site.browser(who).post(site.home(who) + "next", json={"wanted": wanted}, headers=ORIGIN)
    assert reply.status_code == 200, reply.text
    return reply.json()["tasks"]


def answer(item: str, judgment: str = "answer-1", what: str = "a") -> dict:  # type: ignore[type-arg]
    return {"answers": [{"id": judgment, "item": item, "answer": what, "response_ms": 5, "age_ms": 0}]}
