"""Who may do what: every guard has a request that it alone refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.collect_site import ORIGIN, Site, answer, take
from support.coroutines import run_coroutine

from pipeline.ui.web.guard import HEADERS, Guard, Rules
from stages.collect.web.page_context import PageContext
from stages.collect.web.personal_links import OWNER
from stages.collect.web.request_bodies import MAX_BODY


def test_a_link_becomes_a_cookie_that_scripts_and_other_sites_cannot_use(site: Site) -> None:
    link = site.link("ann")
    entered = site.browser().get(link.enter)
    assert (entered.status_code, entered.headers["location"]) == (303, link.home)
    cookie = entered.headers["set-cookie"].lower()
    for part in ("httponly", "samesite=lax", f"path={link.home}"):
        assert part in cookie
    assert site.browser("ann").get(link.home).status_code == 200


def test_no_token_and_a_wrong_one_open_nothing(site: Site) -> None:
    home = site.home("ann")
    for path in ("", "session", "static/judge.js", "images/0-00"):
        assert site.browser().get(home + path).status_code == 401, path
    for path in ("next", "answers", "skip", "release"):
        assert site.browser().post(home + path, json={}, headers=ORIGIN).status_code == 401, path
    assert site.browser().get("/enter/" + "x" * 32).status_code == 401
    assert site.browser().get("/enter/é").status_code == 401
    client = site.browser()
    client.cookies.set("link", "wrong", path=home)
    assert client.get(home + "session").status_code == 401


def test_a_link_opens_its_own_annotators_work_alone(site: Site) -> None:
    task = take(site, "ann")[0]
    bob = site.browser("bob")
    bob.cookies.set("link", site.link("bob").token, path="/")
    home = site.home("ann")
    for path in ("", "session", "static/judge.js", task["images"][0]):
        assert bob.get(home + path).status_code == 403, path
    assert bob.post(home + "answers", json=answer(task["key"]), headers=ORIGIN).status_code == 403
    own = bob.post(site.home("bob") + "answers", json=answer(task["key"]), headers=ORIGIN)
    assert own.json()["stored"] == [], "ann's question under bob's own address"
    assert bob.get(site.home("bob") + task["images"][0]).status_code == 404, "ann's image under bob's own address"
    assert site.desk.assignments.store.is_empty()


def test_the_owners_page_is_the_owners(site: Site) -> None:
    ann, owner = site.browser("ann"), site.browser(OWNER)
    ann.cookies.set("link", site.link("ann").token, path="/")
    assert ann.get(site.home(OWNER) + "status").status_code == 403
    assert owner.get(site.home(OWNER) + "status").json()["total"] == 20
    owner.cookies.set("link", site.link(OWNER).token, path="/")
    slug = site.link(OWNER).slug
    assert owner.post(f"/judge/{slug}/next", json={}, headers=ORIGIN).status_code == 403
    ann_slug = site.link("ann").slug
    assert ann.get(f"/owner/{ann_slug}/status").status_code == 403


def test_a_foreign_host_is_refused(site: Site) -> None:
    """DNS rebinding: a foreign name that has come to mean this machine."""
    client = site.browser("ann")
    for host in ("evil.example", "evil.example:8765", "127.0.0.1.evil.example"):
        assert client.get(site.home("ann") + "session", headers={"Host": host}).status_code == 421, host
    for host in ("localhost:9999", "127.0.0.1", "LOCALHOST"):
        assert client.get(site.home("ann") + "session", headers={"Host": host}).status_code == 200, host


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:8765", "http://127.0.0.1:1", None]
)
def test_a_foreign_origin_changes_nothing(site: Site, origin: str | None) -> None:
    task = take(site)[0]
    headers = {"Origin": origin} if origin else {}
    for path, body in (("answers", answer(task["key"])), ("next", {}), ("skip", {"items": [task["key"]]})):
        refused = site.browser("ann").post(site.home("ann") + path, json=body, headers=headers)
        assert refused.status_code == 403, path
    assert site.desk.assignments.store.is_empty()


def test_a_large_body_is_refused_before_it_is_read(site: Site) -> None:
    client, address = site.browser("ann"), site.home("ann") + "answers"
    assert client.post(address, content=b" " * (MAX_BODY + 1), headers=ORIGIN).status_code == 413

    def pieces():  # type: ignore[no-untyped-def]
        for _ in range(40):
            yield b" " * 4096

    assert client.post(address, content=pieces(), headers=ORIGIN).status_code == 413, "without a length, too"
    for length in (str(10**9), "9" * 5000):
        announced = client.post(address, content=b"{}", headers={**ORIGIN, "Content-Length": length})
        assert announced.status_code == 413, "by its announced length alone"


def test_reading_a_body_without_a_length_stops_at_the_limit() -> None:
    taken, sent = [], []

    async def receive() -> dict:  # type: ignore[type-arg]
        taken.append(4096)
        return {"type": "http.request", "body": b" " * 4096, "more_body": len(taken) < 1000}

    async def send(message: dict) -> None:  # type: ignore[type-arg]
        sent.append(message)

    async def greedy(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        while (await receive())["more_body"]:
            pass

    headers = [(b"host", b"localhost"), (b"origin", b"http://localhost")]
    scope = {"type": "http", "method": "POST", "scheme": "http", "headers": headers}
    rules = Rules(frozenset({"localhost"}), "collect.server.allowed_hosts", MAX_BODY)
    run_coroutine(Guard(greedy, rules)(scope, receive, send))
    assert sum(taken) <= MAX_BODY + 4096
    assert sent[0]["status"] == 413


@pytest.mark.parametrize(
    "path",
    [
        "images/../../../links.json",
        "images/..%2f..%2flinks.json",
        "images/%2fetc%2fpasswd",
        "static/../app.py",
        "static/..%2f..%2fapp.py",
        "static/judge.html%00",
        "images/0",
        "images/ffffffff-0",
        "images/zz-0",
    ],
)
def test_no_path_leads_to_a_file(site: Site, path: str) -> None:
    reply = site.browser("ann").get(site.home("ann") + path)
    assert reply.status_code in (401, 403, 404)
    assert b"token" not in reply.content
    assert b"import" not in reply.content


def test_images_go_by_opaque_names(site: Site) -> None:
    client = site.browser("ann")
    for task in take(site):
        for name in task["images"]:
            assert re.fullmatch(r"images/[0-9a-f]+-[0-9a-f]{32}", name)
            found = client.get(site.home("ann") + name)
            assert found.status_code == 200
            assert found.headers["content-type"] == "image/png"
        assert "img-" not in str(task)
        assert ".png" not in str(task)


def test_every_answer_carries_the_headers(site: Site) -> None:
    client = site.browser("ann")
    answers = [client.get(site.home("ann")), client.get("/nowhere"), client.get("/", headers={"Host": "evil"})]
    for reply in answers:
        for name, value in HEADERS.items():
            assert reply.headers[name.lower()] == value
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_nothing_is_loaded_from_elsewhere() -> None:
    static = Path(__file__).resolve().parents[3] / "stages" / "collect" / "web" / "static"
    for path in static.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//[a-z]+\.[a-z]", text), path
        assert "innerHTML" not in text, path
        if path.suffix == ".html":
            assert not re.search(r"<script(?![^>]*src=)|style=| on[a-z]+=", text), path


def test_the_cookie_is_secure_over_tls(place: Callable[..., object], desk_maker: Callable[..., PageContext]) -> None:
    desk = desk_maker(place(count=5), ["ann"])
    desk.secure = True
    assert "secure" in Site(desk).browser().get(desk.links.annotators[0].enter).headers["set-cookie"].lower()
