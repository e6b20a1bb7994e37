"""Registries: names, unknown names, taken names, and objects of other packages."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from feedback_store.errors import FeedbackError
from feedback_store.registry import Registry, UnknownNameError


def point(name: str, load: object) -> SimpleNamespace:
    return SimpleNamespace(name=name, value=f"their.module:{name}", load=load)


def test_an_unknown_name_lists_the_valid_ones() -> None:
    colours: Registry[int] = Registry("colour", "image_rlhf.test")
    colours.register("red", 1)
    colours.register("green", 2)
    assert (colours.get("red"), colours.names(), list(colours), "red" in colours) == (1, ("red", "green"), [1, 2], True)
    with pytest.raises(
        UnknownNameError, match=r"unknown colour 'gren'; valid names: red, green; did you mean 'green'\?"
    ):
        colours.get("gren")


def test_a_taken_name_is_refused_and_the_same_object_is_not() -> None:
    shapes: Registry[str] = Registry("shape", "image_rlhf.test")
    shapes.register("square", "one")
    shapes.register("square", "one")
    with pytest.raises(ValueError, match="shape 'square' is registered already"):
        shapes.register("square", "another")
    shapes.unregister("square")
    assert "square" not in shapes


def test_other_packages_add_objects_by_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def points(group: str) -> list[SimpleNamespace]:
        asked.append(group)
        return [point("theirs", lambda: 7), point("ours", lambda: pytest.fail("the project's own name wins"))]

    monkeypatch.setattr("feedback_store.registry.entry_points", points)
    numbers: Registry[int] = Registry("number", "image_rlhf.numbers")
    numbers.register("ours", 1)
    assert (numbers.get("theirs"), numbers.get("ours")) == (7, 1)
    assert asked == ["image_rlhf.numbers"], "entry points are read once"


def test_a_package_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ImportError("no module named nothing")

    monkeypatch.setattr("feedback_store.registry.entry_points", lambda group: [point("theirs", broken)])
    numbers: Registry[int] = Registry("number", "image_rlhf.numbers")
    with pytest.raises(FeedbackError, match="cannot be loaded from their"):
        numbers.names()
