"""Settings of stage 0: the reference policy and its calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.base import expand_path
from pipeline.config.training import TrainingConfig


class ReferenceConfig(TrainingConfig):
    kind: Literal["auto", "trained", "zero_shot", "uniform", "checkpoint"] = Field(
        "auto",
        description="trained on labelled images; zero_shot: what the backbone's weights know already, by text or by their "
        "own classes, without a label; uniform; or a checkpoint; auto: checkpoint if one is given, uniform with 0 labelled "
        "images, otherwise trained",
    )
    names: dict[str, Annotated[list[str | int], Field(min_length=1)]] = Field(
        {},
        description="zero_shot: for each class the categories of the weights, or the words of a text model, that mean it; by "
        "default its own name",
    )
    templates: list[str] = Field(
        ["a photo of a {}."],
        min_length=1,
        max_length=1000,
        description="zero_shot by text: prompts, with {} for a name",
    )
    checkpoint: Path | None = Field(None, description="model file of a policy to use instead of training one")
    labelled_per_class: int = Field(
        10,
        ge=0,
        le=1_000_000,
        description="labelled images per class; 0: the reference is uniform; with zero_shot 0 unless it is set, otherwise "
        "they train the reference further",
    )
    calibration_folds: int = Field(
        5,
        ge=0,
        le=1000,
        description="folds of the labelled images that fit a network's temperature (0: it is 1), or choose a linear head's prior_sd (0: 1.8)",
    )

    _paths = field_validator("checkpoint", mode="before")(expand_path)

    @model_validator(mode="before")
    @classmethod
    def _no_labels(cls, tree: Any) -> Any:
        """Zero-shot needs no labels unless they are asked for."""
        if isinstance(tree, dict) and tree.get("kind") == "zero_shot":
            return {"labelled_per_class": 0} | tree
        return tree

    @model_validator(mode="after")
    def _fits_kind(self) -> ReferenceConfig:
        if self.checkpoint and self.kind not in ("auto", "checkpoint"):
            raise ValueError(f"kind is {self.kind}, but a checkpoint is given; leave one of them out")
        if self.kind == "checkpoint" and not self.checkpoint:
            raise ValueError("kind is checkpoint, but none is given; set reference.checkpoint")
        if self.kind == "trained" and not self.labelled_per_class:
            raise ValueError(
                "kind is trained, but labelled_per_class is 0; set a number, or kind to uniform or zero_shot"
            )
        if self.names and self.kind != "zero_shot":
            raise ValueError("names are for kind zero_shot; set reference.kind to it, or leave names out")
        if bad := next((one for one in self.templates if "{}" not in one), None):
            raise ValueError(f"the template '{bad}' has no {{}} for the name")
        return self

    @property
    def resolved(self) -> Literal["trained", "zero_shot", "uniform", "checkpoint"]:
        """`kind`, with `auto` resolved."""
        if self.kind != "auto":
            return self.kind
        return "checkpoint" if self.checkpoint else "trained" if self.labelled_per_class else "uniform"

    @property
    def labels(self) -> int:
        """Labelled images per class that are used."""
        return 0 if self.resolved in ("checkpoint", "uniform") else self.labelled_per_class

    @field_validator("calibration_folds")
    @classmethod
    def _folds(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("needs 0 or at least 2 folds: a fold must not be tested on the images it was trained on")
        return folds
