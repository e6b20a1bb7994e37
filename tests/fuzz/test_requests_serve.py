"""Random requests to the server of predictions: a documented answer, a healthy server, and no byte or image left held."""

from __future__ import annotations

import io
import json
from pathlib import Path

import httpx
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.fuzzing import bounded, fuzz
from support.request_strategies import HOSTS, METHODS, ODD_HEADERS, TEXT, Sent, check_answers, exchange, nothing_logged
from support.serve_server import Live, desk_of, make_served

DOCUMENTED = frozenset({200, 307, 400, 401, 403, 404, 405, 408, 413, 415, 421, 422, 501, 503})
WAIT = 0.5  # seconds for a request that says it is longer than it is
PATHS = [
    "/",
    "/model",
    "/healthz",
    "/metrics",
    "/openapi.json",
    "/static/serve.js",
    "/static/..%2f",
    "/nowhere",
    "//x",
    "/predict/",
]
QUERIES = [
    "",
    "?reference=true",
    "?reference=maybe",
    "?reference=%ED%A0%80",
    "?reference=1&reference=0",
    "?x",
    "?" + "a=b&" * 200,
]
TYPES = [
    "image/png",
    "application/octet-stream",
    "text/plain",
    "",
    "image/",
    "multipart/form-data",
    "é",
    "image/png; charset=idna",
]
CHARSETS = [
    "",
    "; charset=utf-8",
    "; charset=utf-7",
    "; charset=undefined",
    "; charset=idna",
    "; charset=unicode_escape",
    "; charset=x",
]
NAMES = [
    'filename="a.png"',
    'filename="\xff.png"',
    "filename*=utf-8''%ED%A0%80",
    'filename="+2AA-.png"',
    'filename="\\ud800"',
    "",
    'filename=""',
    'filename="' + "n" * 300 + '"',
    "filename=",
    'filename="a\x00b"',
]


def picture(kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 30, 60)).save(file, kind)
    return file.getvalue()


PICTURES = [picture(), picture("JPEG"), picture("GIF"), picture()[:40], b"no picture", b""]


@st.composite
def forms(draw: st.DrawFn) -> tuple[str, bytes]:
    """Content type and body of a form with a few parts, of which any may be odd."""
    parts = b""
    for _ in range(draw(st.integers(0, 4))):
        lines = [f'Content-Disposition: form-data; name="f"; {draw(st.sampled_from(NAMES))}']
        lines += draw(
            st.lists(
                st.sampled_from(["Content-Type: image/png", "Content-Disposition: x", "X", ": y", "A" * 5000]),
                max_size=2,
            )
        )
        head = "\r\n".join(["--edge", *(lines if draw(st.integers(0, 4)) else []), "", ""]).encode("latin-1")
        parts += head + draw(st.sampled_from(PICTURES)) + b"\r\n"
    body = parts + draw(st.sampled_from([b"--edge--\r\n", b"--edge--\r\n", b"", b"--edge", b"--edge--junk"]))
    edge = draw(st.sampled_from(["edge", "edge", "edge", '"edge"', "other", "", "e" * 80]))
    return f"multipart/form-data; boundary={edge}{draw(st.sampled_from(CHARSETS))}", body


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    """Mostly images and forms to `/predict`."""
    rare = st.sampled_from([False] * 5 + [True])
    if draw(st.booleans()):
        kind, body = draw(forms())
    else:
        kind, body = draw(st.sampled_from(TYPES)), draw(st.sampled_from(PICTURES) | st.binary(max_size=60))
    path = draw(st.sampled_from(PATHS)) if draw(rare) else "/predict"
    return Sent(
        method=draw(st.sampled_from(METHODS)) if draw(rare) else "POST" if path == "/predict" else "GET",
        path="/" + draw(TEXT).replace(" ", "") if draw(rare) and draw(rare) else path + draw(st.sampled_from(QUERIES)),
        host=draw(st.sampled_from(HOSTS)) if draw(rare) else "127.0.0.1",
        headers=[f"Content-Type: {kind}", *(draw(st.lists(ODD_HEADERS, min_size=1, max_size=2)) if draw(rare) else [])],
        body=body,
        chunk=draw(st.sampled_from([0, 0, 0, 1, 7, 5000])),
        cut=draw(st.integers(1, 40)) if draw(rare) else 0,
        junk=draw(st.binary(min_size=1, max_size=20)) if draw(rare) else b"",
    )


def test_requests_to_the_server_of_predictions(tmp_path: Path) -> None:
    state = desk_of(make_served(tmp_path, batch_wait_ms=0, max_images=3, max_megabytes=1, read_seconds=WAIT))
    server = Live(state)
    health = httpx.Client(base_url=server.address)

    @fuzz
    @given(requests())
    def send(sent: Sent) -> None:
        with bounded():
            answers = exchange(server, sent)
        check_answers(answers, DOCUMENTED, sent.method)
        for status, _, body in answers:
            if status == 200 and body.startswith(b'{"predictions"'):
                for one in json.loads(body)["predictions"]:
                    one["name"].encode()
                    assert ("label" in one) != ("error" in one)
        assert health.get("/healthz").json() == {"status": "ok"}
        assert (state.engine._images, state.engine._bytes) == (0, 0)

    try:
        with nothing_logged():
            send()
    finally:
        health.close()
        server.stop()
