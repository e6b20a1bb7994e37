"""The interface and its limits: every limit has a request that it alone refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.adversarial_images import bomb
from pipeline.models.policy import final_linear
from stages.serve.app import ServerState, make_app

HOST = "http://127.0.0.1:8080"
SECRET = "a-token-of-enough-letters"
RAW = {"Content-Type": "application/octet-stream"}
Client = Callable[..., TestClient]


def test_one_image_as_it_is(client: Client, picture: Callable[..., bytes]) -> None:
    for kind in ("image/png", "image/x-whatever", "application/octet-stream", "IMAGE/PNG; q=1"):
        reply = client().post("/predict", content=picture(), headers={"Content-Type": kind})
        assert reply.status_code == 200, reply.text
        (one,) = reply.json()["predictions"]
        assert one["name"] == "image"
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert one["confidence"] == max(one["probabilities"].values()) == one["probabilities"][one["label"]]
        assert "reference" not in one, "it was not asked for"


def test_many_images_and_a_bad_one_among_them(client: Client, picture: Callable[..., bytes]) -> None:
    files = [("f", ("ä.png", picture(1))), ("f", ("notes.jpg", b"just text")), ("g", ("c.png", picture(2)))]
    reply = client().post("/predict?reference=true", files=files)
    assert reply.status_code == 200
    first, bad, last = reply.json()["predictions"]
    assert [one["name"] for one in (first, bad, last)] == ["ä.png", "notes.jpg", "c.png"]
    assert set(bad) == {"name", "error"}
    assert "not an image" in bad["error"]
    assert set(first["reference"]["probabilities"]) == {"ant", "bee", "wasp"}
    assert first["reference"] != last["reference"]


def test_a_reference_without_an_opinion_names_no_class(
    state: Callable[..., ServerState], picture: Callable[..., bytes]
) -> None:
    one = state()
    final_linear(one.engine.reference.network).requires_grad_(False).weight.zero_()
    final_linear(one.engine.reference.network).bias.zero_()
    reply = TestClient(make_app(one), base_url=HOST).post("/predict?reference=true", content=picture(), headers=RAW)
    (said,) = reply.json()["predictions"]
    assert said["label"] == max(said["probabilities"], key=said["probabilities"].get)
    assert said["reference"]["label"] is None
    assert said["reference"]["confidence"] == pytest.approx(1 / 3, abs=1e-6)


def test_without_a_reference_there_is_none(client: Client, picture: Callable[..., bytes]) -> None:
    one = client(reference=False)
    assert one.get("/model").json()["reference"] is False
    reply = one.post("/predict?reference=true", content=picture(), headers=RAW)
    assert "reference" not in reply.json()["predictions"][0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"just text", "not an image, or a format that is not supported; send a complete JPEG"),
        (bomb(), "send at most 25000000 pixels"),
        (b"", "the body is empty"),
    ],
)
def test_a_single_bad_image_is_an_error(client: Client, content: bytes, says: str) -> None:
    reply = client().post("/predict", content=content, headers={"Content-Type": "image/jpeg"})
    assert reply.status_code == 422
    assert says in reply.json()["detail"]
    if content:
        reply = client().post("/predict", files={"file": ("notes.jpg", content)})
        assert reply.status_code == 422
        assert reply.json()["detail"].startswith("notes.jpg: ")


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/x-www-form-urlencoded", None])
def test_other_content_types_are_refused(client: Client, picture: Callable[..., bytes], kind: str | None) -> None:
    reply = client().post("/predict", content=picture(), headers={"Content-Type": kind} if kind else {})
    assert reply.status_code == 415
    assert "curl" in reply.json()["detail"]


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"Content-Type": "multipart/form-data"}, b"x"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"rubbish"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x\r\n\r\nno name\r\n--x--\r\n"),
        (
            {"Content-Type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nno file\r\n--x--\r\n',
        ),
    ],
)
def test_malformed_forms_are_refused(client: Client, headers: dict[str, str], content: bytes) -> None:
    reply = client().post("/predict", content=content, headers=headers)
    assert reply.status_code == 422, reply.text
    assert "form" in reply.json()["detail"]


def test_the_interface_describes_itself(client: Client, picture: Callable[..., bytes]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    one = client()
    described = one.get("/openapi.json").json()
    post = described["paths"]["/predict"]["post"]
    assert post["requestBody"]["content"]["image/*"]["schema"] == {"type": "string", "format": "binary"}
    assert set(post["requestBody"]["content"]) == {"image/*", "application/octet-stream", "multipart/form-data"}
    assert {"200", "401", "403", "408", "413", "415", "421", "422", "503"} <= set(post["responses"])
    assert "Retry-After" in post["responses"]["503"]["headers"]
    schema = post["responses"]["200"]["content"]["application/json"]["schema"]
    files = [("f", ("a.png", picture())), ("f", ("b.png", b"bad"))]
    jsonschema.validate(one.post("/predict?reference=true", files=files).json(), {**schema, **described})
    problem = post["responses"]["422"]["content"]["application/json"]["schema"]
    for reply in (one.post("/predict", content=b"x", headers=RAW), one.post("/predict?reference=perhaps")):
        assert reply.status_code == 422
        jsonschema.validate(reply.json(), {**problem, **described})


def test_metrics_count_what_happened(client: Client, picture: Callable[..., bytes]) -> None:
    one = client()
    one.post("/predict", files=[("f", ("a.png", picture())), ("f", ("b.png", b"bad"))])
    one.post("/predict", content=b"bad", headers=RAW)
    one.get("/predict", headers={"Host": "evil"})
    for number in range(20):
        one.get(f"/made-up-{number}")
    text = one.get("/metrics").text
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["image_rlhf_requests_total", "/predict", "200"] == 1
    assert found["image_rlhf_requests_total", "/predict", "422"] == 1
    assert found["image_rlhf_requests_total", "/predict", "421"] == 1, "what the guard refuses is counted"
    assert found["image_rlhf_requests_total", "404", "other"] == 20, "whatever strangers ask for is one name"
    assert found["image_rlhf_request_seconds_count", "/predict"] == 3
    assert found["image_rlhf_images_total", "predicted"] == 1
    assert found["image_rlhf_images_total", "refused"] == 2
    assert found["image_rlhf_batch_images_count",] == 1
    assert found["image_rlhf_queue_images",] == found["image_rlhf_waiting_bytes",] == 0
    assert "made-up" not in text
    assert "process_resident_memory_bytes" in text


def test_health_is_over_when_it_stops(state: Callable[..., ServerState]) -> None:
    one = state()
    with TestClient(make_app(one), base_url=HOST) as site:
        assert (site.get("/healthz").status_code, site.get("/healthz").json()) == (200, {"status": "ok"})
        one.engine.stop()
        assert site.get("/healthz").status_code == 503


def test_the_model_says_what_it_is(client: Client) -> None:
    said = client(max_images=5).get("/model").json()
    assert said["name"] == "served"
    assert said["classes"] == ["ant", "bee", "wasp"]
    assert re.fullmatch(r"[0-9a-f]{64}", said["weights"])
    assert said["limits"] == {"images": 5, "bytes": 20 * 2**20, "pixels": 25_000_000}
    assert json.dumps(said)
