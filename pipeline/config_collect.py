"""Settings of stage one, first half: who answers, what is asked, and the page people answer on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config_base import (
    Fraction,
    Probability,
    Question,
    Section,
    expand_path,
)
from pipeline.hosts import AcceptedHost, ListenAddress


class SimulatedConfig(Section):
    """The simulated teacher (METHOD 6, after B-Pref). A name sets the parameters; a parameter given wins."""

    name: Literal["oracle", "mistake", "noisy", "skip", "equal", "custom"] = "oracle"
    beta: float | None = Field(None, ge=-1, le=1e6, description="rationality; -1 is perfectly rational")
    eps_mistake: Probability | None = None
    eps_skip: float | None = Field(None, ge=0, le=1e6)
    eps_equal: float | None = Field(None, ge=0, le=1e6)

    @field_validator("beta")
    @classmethod
    def _beta(cls, beta: float | None) -> float | None:
        if beta is not None and beta != -1 and beta < 0:
            raise ValueError("needs -1 (perfectly rational) or a number not below 0")
        return beta


class ReplayConfig(Section):
    """Recorded human judgments: a CSV whose columns name image, label and, if known, annotator."""

    csv: Path | None = None
    root: Path | None = Field(None, description="folder the image column is relative to; default: images.root")
    image_column: str = "image"
    label_column: str = "label"
    annotator_column: str | None = None
    votes_per_image: int | None = Field(
        None, ge=1, le=1_000_000, description="use the first so many labels of each image"
    )

    _paths = field_validator("csv", "root", mode="before")(expand_path)


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


class ServerConfig(Section):
    """Where the page is served. Over SSH: `ssh -L 8765:127.0.0.1:8765 host`, then open the printed link here."""

    host: ListenAddress = Field("127.0.0.1", description="address to listen on; 0.0.0.0 is the whole network")
    port: Annotated[int, Field(ge=0, lt=65536)] = Field(8765, description="0: any free one")
    open_browser: bool = Field(True, description="open the page when it is ready, where there is a screen")
    allowed_hosts: list[AcceptedHost] = Field(
        [], description="names besides localhost that the page may be reached by; `*` is any"
    )
    tls_certificate: Path | None = Field(None, description="PEM file; serves https together with tls_key")
    tls_key: Path | None = None
    connections: int = Field(
        1024, ge=1, le=1_000_000, description="held at once; beyond it the slowest to send is closed"
    )
    read_seconds: float = Field(
        20.0,
        gt=0,
        le=86_400,
        description="within which a request's headers must have come in, and its body within as long again",
    )

    _paths = field_validator("tls_certificate", "tls_key", mode="before")(expand_path)

    @model_validator(mode="after")
    def _both(self) -> ServerConfig:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together: give both or none")
        return self


class CollectConfig(Section):
    folder: Path | None = Field(None, description="where judgments are kept; default: runs/<name>/feedback")
    question: Question = Field(
        "comparison", description="which of two labels, which of two images, class, verdict, 1 to 5"
    )
    teacher: Literal["people", "simulated", "replay"] = Field(
        "simulated", description="who answers in `make demo`; `make collect` asks people unless TEACHER names another"
    )
    count: int | None = Field(
        1000, ge=1, le=1_000_000, description="judgments to have in all; null: all that a replay holds"
    )
    simulated: SimulatedConfig = SimulatedConfig()
    replay: ReplayConfig = ReplayConfig()
    ui: Literal["web", "tk"] = Field("web", description="a page in the browser, or a window")
    annotators: list[str] = Field(
        [], max_length=1000, description="who judges, one link each; default: the name you are logged in by"
    )
    judgments_per_item: int = Field(1, ge=1, le=1000, description="different people who answer each question")
    repeat_fraction: Fraction = Field(
        0.05, description="share of questions asked the same person twice, for consistency"
    )
    gold_fraction: Fraction = Field(0.0, description="share of questions whose answer the reference's labels tell")
    lease_minutes: float = Field(
        15, gt=0, le=525_600, description="how long a question stays with the person it was given to"
    )
    rating_levels: Annotated[int, Field(ge=2, le=9)] = Field(5, description="a rating is 1 to this")
    show_others: bool = Field(False, description="show what other people answered; biases judgments")
    show_model: bool = Field(False, description="show the reference's opinion; biases judgments")
    keys: KeysConfig = KeysConfig()
    server: ServerConfig = ServerConfig()

    _paths = field_validator("folder", mode="before")(expand_path)

    @field_validator("annotators")
    @classmethod
    def _names(cls, names: list[str]) -> list[str]:
        for name in names:
            if not re.fullmatch(r"[^\W_][\w .@-]{0,63}", name):
                raise ValueError(
                    f"{name!r}: a name has 1 to 64 letters, digits, spaces, . _ @ or -, and starts with a letter"
                )
        if len(set(names)) != len(names):
            raise ValueError("the same name stands twice")
        return names
