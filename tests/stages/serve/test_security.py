"""Who may ask what, from where: every guard has a request that it alone refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pipeline.config.serve import ServeConfig
from pipeline.errors import UserError
from stages.serve.app import FILES
from stages.serve.run import TOKEN_VARIABLE, read_token

HOST = "http://127.0.0.1:8080"
SECRET = "a-token-of-enough-letters"
RAW = {"Content-Type": "application/octet-stream"}
Client = Callable[..., TestClient]


def test_a_token_is_asked_for(client: Client, picture: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, SECRET)
    one = client()
    for path in ("/", "/static/serve.js", "/healthz", "/openapi.json"):
        assert one.get(path).status_code == 200, path
    wrong = [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": SECRET},
        {"Authorization": f"Bearer {SECRET}x"},
        {"Authorization": f"Bearer {SECRET[:-1]}"},
        {"Authorization": b"Bearer \xff\xfe"},
    ]
    for headers in wrong:
        for method, path in (("POST", "/predict"), ("GET", "/model"), ("GET", "/metrics")):
            reply = one.request(method, path, headers=headers)
            assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer"), (path, headers)
    right = {"Authorization": f"Bearer {SECRET}"}
    assert one.post("/predict", content=picture(), headers=RAW | right).status_code == 200
    assert one.get("/model", headers=right).status_code == 200
    assert one.get("/metrics", headers=right).status_code == 200


def test_tokens_are_compared_in_constant_time(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    compared, true = [], hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or true(a, b))
    client(token=SECRET).get("/model", headers={"Authorization": "Bearer wrong"})
    assert compared == [(b"wrong", SECRET.encode())]


def test_where_the_token_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment alone: a configuration is saved with every run and shown in reports."""
    assert "token" not in ServeConfig.model_fields
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert read_token() is None
    monkeypatch.setenv(TOKEN_VARIABLE, SECRET)
    assert read_token() == SECRET
    for bad in ("short", "with spaces in it, long enough", "ünprintable-letters"):
        monkeypatch.setenv(TOKEN_VARIABLE, bad)
        with pytest.raises(UserError, match="at least 16"):
            read_token()


def test_a_foreign_host_is_refused(client: Client, picture: Callable[..., bytes]) -> None:
    one = client(allowed_hosts=["Photos.Example"])
    for host in ("evil.example", "127.0.0.1.evil.example"):
        reply = one.post("/predict", content=picture(), headers={**RAW, "Host": host})
        assert reply.status_code == 421, host
        assert "serve.allowed_hosts" in reply.json()["detail"]
    for host in ("localhost:1", "127.0.0.1", "[::1]:9", "photos.example"):
        assert one.get("/healthz", headers={"Host": host}).status_code == 200, host
    assert client(allowed_hosts=["*"]).get("/healthz", headers={"Host": "evil.example"}).status_code == 200


def test_a_foreign_origin_is_refused_and_none_is_not(client: Client, picture: Callable[..., bytes]) -> None:
    one = client()
    for origin in ("http://evil.example", "null", "https://127.0.0.1:8080", "http://127.0.0.1:1"):
        reply = one.post("/predict", content=picture(), headers={**RAW, "Origin": origin})
        assert reply.status_code == 403, origin
    for headers in (RAW, {**RAW, "Origin": HOST}):
        assert one.post("/predict", content=picture(), headers=headers).status_code == 200


def test_every_answer_carries_the_headers(client: Client) -> None:
    one = client()
    for reply in (one.get("/"), one.get("/nowhere"), one.get("/", headers={"Host": "evil"}), one.post("/predict")):
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
    assert "img-src 'self' blob:;" in one.get("/").headers["content-security-policy"]


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/..%2fapp.py", "/static/serve.html", "/static/%2fetc", "/docs"]
)
def test_no_path_leads_to_another_file(client: Client, path: str) -> None:
    assert client().get(path).status_code == 404


def test_nothing_is_loaded_from_elsewhere() -> None:
    for path in (*FILES.values(), FILES["serve.js"].with_name("serve.html")):
        text = Path(path).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//[a-z]+\.[a-z]", text), path
        assert "innerHTML" not in text, path
        if path.suffix == ".html":
            assert not re.search(r"<script(?![^>]*src=)|style=| on[a-z]+=", text), path
