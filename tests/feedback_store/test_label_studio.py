"""Exports of Label Studio: what it documents is read, and what is wrong is named by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from feedback_store.errors import FeedbackError
from feedback_store.exchange import label_studio
from feedback_store.exchange.common import Names
from feedback_store.records import Comparison

NAMES = Names({"train/ant/1.png": "img-1", "train/bee/2.png": "img-2"}, ("ant", "bee", "=wasp"))
PAIRWISE_CONFIG = """<View><Header value="Better ant?"/><Pairwise name="pw" toName="right_one, left_one"/>
<Image name="left_one" value="$first"/><Image name="right_one" value="$second"/></View>"""


def export(tmp_path: Path, *tasks: Any) -> Path:
    path = tmp_path / "project.json"
    path.write_text(json.dumps(list(tasks), indent=2))
    return path


def task(data: dict[str, Any], *results: dict[str, Any], **annotation: Any) -> dict[str, Any]:
    made = {"id": 5, "completed_by": 7, "lead_time": 2.5, "created_at": "2026-03-09T22:16:08.728353Z", **annotation}
    return {
        "id": 1,
        "data": data,
        "annotations": [{**made, "was_cancelled": False, "result": list(results), **annotation}],
    }


def pairwise(selected: str) -> dict[str, Any]:
    return {"from_name": "pw", "to_name": "pw", "type": "pairwise", "id": "x", "value": {"selected": selected}}


def test_left_and_right_follow_to_name(tmp_path: Path) -> None:
    data = {"first": "/data/upload/3/0a1b2c3d-1.png", "second": "/data/local-files/?d=train/bee/2.png", "label": "ant"}
    found = label_studio.read(export(tmp_path, task(data, pairwise("left"))), NAMES, PAIRWISE_CONFIG)
    assert not found.rejects
    judged = found.judgments[0]
    assert isinstance(judged, Comparison)
    assert (judged.image_a, judged.image_b, judged.choice) == ("img-2", "img-1", "a"), "toName names the second first"
    assert (judged.annotator, judged.response_ms, judged.created_at) == ("7", 2500, "2026-03-09T22:16:08.728353Z")
    refused = label_studio.read(export(tmp_path, task(data, pairwise("left"))), NAMES)
    assert "--label-config" in refused.rejects[0].reason


def test_choices_ratings_and_cancelled(tmp_path: Path) -> None:
    image = {"image": "https://example.com/train/ant/1.png"}
    choice = {"from_name": "class", "to_name": "img", "type": "choices", "value": {"choices": ["bee"]}}
    stars = {"from_name": "r", "to_name": "img", "type": "rating", "value": {"rating": 3}}
    yes = {"from_name": "ok", "to_name": "img", "type": "choices", "value": {"choices": ["yes"]}}
    path = export(
        tmp_path,
        task(image, choice, completed_by={"id": 3, "email": "ann@example.com"}),
        task({**image, "label": "bee"}, stars, yes),
        task(image, choice, was_cancelled=True),
        {"id": 9, "data": image, "annotations": []},
    )
    found = label_studio.read(path, NAMES)
    assert not found.rejects
    assert [(j.question, j.label, j.answer) for j in found.judgments] == [  # type: ignore[attr-defined]
        ("label", "", "bee"),
        ("rating", "bee", "3"),
        ("verdict", "bee", "yes"),
    ]
    assert found.judgments[0].annotator == "ann@example.com"
    assert dict(found.left_out) == {"cancelled annotations": 1, "tasks nobody annotated": 1}
    assert [j.id for j in label_studio.read(path, NAMES).judgments] == [j.id for j in found.judgments], "twice is once"


def test_what_is_wrong_in_an_export_is_named_by_line(tmp_path: Path) -> None:
    choice = {"from_name": "class", "to_name": "img", "type": "choices", "value": {"choices": ["elk"]}}
    path = export(
        tmp_path,
        task({"image": "1.png"}, choice),
        task({"image": "gone.png"}, {**choice, "value": {"choices": ["ant"]}}),
        {"id": 3},
        task({"image": "1.png"}, {"type": "choices"}),
    )
    found = label_studio.read(path, NAMES)
    lines = path.read_text().splitlines()
    assert [lines[reject.line - 1].strip() for reject in found.rejects] == ["{"] * 4
    assert [r.line for r in found.rejects] == sorted(r.line for r in found.rejects)
    assert "unknown label 'elk'; the classes are ant, bee" in found.rejects[0].reason
    assert "no image 'gone.png'" in found.rejects[1].reason
    assert not found.judgments
    path.write_text('{"a": 1}')
    with pytest.raises(FeedbackError, match="not a list of tasks"):
        label_studio.read(path, NAMES)
    path.write_text('[\n{"a": 1},\n{"b": ]')
    with pytest.raises(FeedbackError, match="line 3: not JSON"):
        label_studio.read(path, NAMES)


def test_a_path_of_many_folders_takes_no_time() -> None:
    with pytest.raises(FeedbackError, match="there is no image"):
        NAMES.image("a/" * 500_000)
    assert NAMES.image("a/" * 500_000 + "train/ant/1.png") == "img-1"
    assert NAMES.image("http://[::1/train/ant/1.png") == "img-1"
