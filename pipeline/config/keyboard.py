"""Keys of the page and the window on which people answer."""

from __future__ import annotations

from pydantic import Field, model_validator

from pipeline.config.base import Section


class KeysConfig(Section):
    """Keys of the page and the window, as browsers name them. 0 to 9 always pick a class, 1 to 9 a rating."""

    first: list[str] = Field(["1", "ArrowLeft"], description="the left side of a comparison is better")
    second: list[str] = Field(["2", "ArrowRight"], description="the right side of a comparison is better")
    tie: list[str] = Field(["t"], description="both sides are equally good")
    yes: list[str] = Field(["y"], description="the label is right")
    no: list[str] = Field(["n"], description="the label is wrong")
    skip: list[str] = Field(["s"], description="ask me again later; no answer is stored")
    cant_tell: list[str] = Field(["c"], description="I have looked and cannot tell")
    bad_image: list[str] = Field(["b"], description="the image is broken, empty or not what it should be")
    undo: list[str] = Field(["u", "Backspace"], description="take the last answer back; again for the one before")
    zoom: list[str] = Field(["z"], description="show the image large")
    help: list[str] = Field(["?"], description="explain the keys")

    @model_validator(mode="after")
    def _distinct(self) -> KeysConfig:
        seen: dict[str, str] = {}
        for action, keys in self.model_dump().items():
            if not keys:
                raise ValueError(f"{action} needs at least one key")
            for key in keys:
                if key in seen:
                    raise ValueError(f"{key!r} is the key of both {seen[key]} and {action}")
                if not key or (key.isdecimal() and action not in ("first", "second")):
                    raise ValueError(f"{action}: {key!r} cannot be used; digits pick classes and ratings")
                seen[key] = action
        return self
