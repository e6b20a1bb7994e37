"""Random requests to the judging page's server: a documented answer, a healthy server, and every acknowledged id stored once."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st
from support.collect_server import Live, draw_pictures, make_place
from support.fuzzing import bounded, fuzz
from support.request_strategies import (
    HOSTS,
    METHODS,
    ODD_HEADERS,
    TEXT,
    Sent,
    check_answers,
    exchange,
    json_bodies,
    nothing_logged,
)

from pipeline.ui.web.connections import ConnectionLimits

DOCUMENTED = frozenset({200, 303, 307, 400, 401, 403, 404, 405, 408, 413, 421, 422, 501})
WAIT = 0.5  # seconds for a request that says it is longer than it is
ADDRESSES = ["next", "answers", "skip", "release"]
OTHERS = ["", "session", "static/judge.js", "static/..%2f", "images/0-" + "0" * 32, "images/%00", "nowhere", "status"]
IDS = st.sampled_from([f"answer-{number:02d}" for number in range(40)])


def bodies(keys: list[str]) -> st.SearchStrategy[Any]:
    """Valid bodies about questions of the plan, of all kinds; ids are few, so that they meet again."""
    item = st.sampled_from([*keys, "0" * 24])
    answer = st.fixed_dictionaries(
        {"id": IDS},
        optional={
            "item": item,
            "answer": st.sampled_from(["a", "b", "tie", "cant_tell", "x", ""]),
            "retracts": IDS,
            "response_ms": st.sampled_from([0, 700, 10**11]),
            "age_ms": st.sampled_from([0, 5, 10**11]),
        },
    )
    items = st.lists(item, max_size=4)
    return st.one_of(
        st.fixed_dictionaries({"answers": st.lists(answer, max_size=4)}),
        st.fixed_dictionaries({"answers": st.lists(answer, max_size=4)}),
        st.fixed_dictionaries({"items": items}),
        st.fixed_dictionaries({}, optional={"holding": items, "wanted": st.integers(0, 3)}),
    )


@st.composite
def requests(draw: st.DrawFn, keys: list[str]) -> tuple[str | None, str, Sent]:
    """Who sends it (None: a stranger), the address below their own, and the rest; mostly what a page would send."""
    rare = st.sampled_from([False] * 5 + [True])
    who = None if draw(rare) else draw(st.sampled_from(["ann", "bob"]))
    body = draw(json_bodies(bodies(keys)))
    fitting = "answers" if b'"answers"' in body else "skip" if b'"items"' in body else "next"
    address = draw(st.sampled_from([*ADDRESSES, *OTHERS])) if draw(rare) else fitting
    return (
        who,
        address,
        Sent(
            method=draw(st.sampled_from(METHODS)) if draw(rare) else "GET" if address in OTHERS else "POST",
            path=draw(TEXT).replace(" ", "") if draw(rare) and draw(rare) else "",
            host=draw(st.sampled_from(HOSTS)) if draw(rare) else "",
            headers=draw(st.lists(ODD_HEADERS, min_size=1, max_size=2)) if draw(rare) else [],
            body=body,
            chunk=draw(st.sampled_from([0, 0, 0, 1, 7, 5000])),
            cut=draw(st.integers(1, 40)) if draw(rare) else 0,
            junk=draw(st.binary(min_size=1, max_size=20)) if draw(rare) else b"",
        ),
    )


def test_requests_to_the_judging_page(tmp_path: Path) -> None:
    place = make_place(tmp_path, draw_pictures(tmp_path), count=12, judgments_per_item=2)
    server = Live(place, ["ann", "bob"], ConnectionLimits(WAIT, 1024))
    cookies, homes = {}, {}
    for name in ("ann", "bob"):
        entered = httpx.get(server.link(name))
        homes[name], cookies[name] = entered.headers["location"], entered.headers["set-cookie"].partition(";")[0]
    acknowledged: set[str] = set()
    targets: dict[str, set[str | None]] = defaultdict(set)  # of what was sent under an id
    health = httpx.Client(base_url=server.address, headers={"Cookie": cookies["ann"], "Origin": server.address})
    first = {"id": "answer-00", "item": place.plan.items[0].key, "answer": "a"}
    assert health.post(f"{homes['ann']}answers", json={"answers": [first]}).json()["stored"] == ["answer-00"]

    @fuzz
    @given(requests([item.key for item in server.where.plan.items]))
    def send(request: tuple[str | None, str, Sent]) -> None:
        who, address, sent = request
        own = [f"Cookie: {cookies[who]}", f"Origin: {server.address}"] if who else []
        host = sent.host or f"127.0.0.1:{server.port}"
        path = f"/{sent.path}" if sent.path else homes[who or "ann"] + address
        with bounded():
            answers = exchange(server, replace(sent, path=path, host=host, headers=own + sent.headers))
        check_answers(answers, DOCUMENTED, sent.method)
        for status, headers, body in answers:
            if status == 200 and b'"stored"' in body and headers["content-type"] == "application/json":
                acknowledged.update(json.loads(body)["stored"])
                for answer in json.loads(sent.body)["answers"]:
                    targets[answer["id"]].add(answer.get("retracts"))
        assert health.get(f"{homes['ann']}session").status_code == 200

    try:
        with nothing_logged():
            send()
    finally:
        health.close()
        server.stop()
    rows = server.desk.assignments.store.all_rows("pairwise")
    stored, taken_back = Counter(rows["id"]), Counter(rows["retracts"][rows["retracts"] != ""])
    assert max(stored.values()) == 1
    assert max(taken_back.values(), default=1) == 1
    # Whoever takes back what was taken back already is told that it is done.
    assert {known for known in acknowledged - stored.keys() if not targets[known] & taken_back.keys()} == set()
