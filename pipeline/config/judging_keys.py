"""Settings of the keys on the judging page and in the window."""

from __future__ import annotations

from pydantic import Field, model_validator

from pipeline.config.base import Section


class KeysConfig(Section):
    """Keys of the page and the window, as browsers name them. 0 to 9 choose a class, 1 to 9 a rating."""

    first: list[str] = Field(["1", "ArrowLeft"], description="the left side of a comparison is better")
    second: list[str] = Field(["2", "ArrowRight"], description="the right side of a comparison is better")
    tie: list[str] = Field(["t"], description="both sides are equally good")
    yes: list[str] = Field(["y"], description="the label is right")
    no: list[str] = Field(["n"], description="the label is wrong")
    skip: list[str] = Field(["s"], description="skip: ask again later; no answer is stored")
    cant_tell: list[str] = Field(["c"], description="no answer: cannot tell")
    bad_image: list[str] = Field(["b"], description="no answer: the image is broken, empty or unsuitable")
    undo: list[str] = Field(["u", "Backspace"], description="take the last answer back; can be repeated")
    zoom: list[str] = Field(["z"], description="show the image enlarged")
    help: list[str] = Field(["?"], description="show the keys")

    @model_validator(mode="after")
    def _distinct(self) -> KeysConfig:
        seen: dict[str, str] = {}
        for action, keys in self.model_dump().items():
            if not keys:
                raise ValueError(f"{action} needs at least one key")
            for key in keys:
                if key in seen:
                    raise ValueError(f"{key!r} is a key of both {seen[key]} and {action}; remove one")
                if not key or (key.isdecimal() and action not in ("first", "second")):
                    raise ValueError(f"{action}: {key!r} cannot be used; digits choose classes and ratings")
                seen[key] = action
        return self
