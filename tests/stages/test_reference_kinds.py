"""What the terminal says of a reference of each kind, and which settings go together."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config import parse_config
from pipeline.errors import UserError
from stages.reference.run import describe

RESULT = {"accuracy": 0.9, "labelled_images": 0, "given": False}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"kind": "zero_shot"}, "zero-shot accuracy 90.0%, 0 labelled images"),
        ({"kind": "uniform"}, "uniform: every class is equally likely"),
        ({}, "uniform: every class is equally likely"),  # a run of an earlier version
        ({"labelled_images": 20}, "accuracy 90.0%, 20 labelled images"),
        ({"kind": "checkpoint", "given": True}, "accuracy 90.0%, 0 labelled images"),
    ],
)
def test_describe(more: dict[str, Any], said: str) -> None:
    assert said in describe({"reference": RESULT | more})


def kind_of(**settings: Any) -> tuple[str, int]:
    config = parse_config({"images": {"source": "digits"}, "reference": settings}, "test").reference
    return config.resolved, config.labels


def test_auto_is_what_the_other_settings_say() -> None:
    assert kind_of() == ("trained", 10)
    assert kind_of(labelled_per_class=0) == ("uniform", 0)
    assert kind_of(checkpoint="x.safetensors") == ("checkpoint", 0)
    assert kind_of(kind="uniform") == ("uniform", 0)
    assert kind_of(kind="zero_shot") == ("zero_shot", 0)
    assert kind_of(kind="zero_shot", labelled_per_class=5) == ("zero_shot", 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "checkpoint"}, "none is given"),
        ({"kind": "trained", "labelled_per_class": 0}, "labelled_per_class is 0"),
        ({"kind": "uniform", "checkpoint": "x"}, "a checkpoint is given"),
        ({"names": {"a": ["b"]}}, "names are for kind zero_shot"),
        ({"kind": "zero_shot", "names": {"a": []}}, "at least 1 item"),
        ({"kind": "zero_shot", "templates": ["a photo"]}, "the template 'a photo' has no {}"),
    ],
)
def test_what_does_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        kind_of(**settings)
