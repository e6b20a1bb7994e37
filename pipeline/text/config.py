"""The configuration of a run about texts: `items` in place of `images` (docs/texts.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.base import LearningRate, Section, expand_path
from pipeline.config.collect import CollectConfig
from pipeline.config.reward import RewardConfig
from pipeline.config.root import RunName, Seed
from pipeline.config.runtime import RuntimeConfig
from pipeline.config.tracking import TrackingConfig
from pipeline.text.kind import TEXT_COMPARISON

MAX_TOKENS = 100_000
# Settings that only images have.
ONLY_FOR_IMAGES = {
    "reward": ("objective", "start", "scale", "unlabelled", "rating", "label_smoothing"),
    "collect": ("strategy", "gold_fraction", "audit_fraction", "show_model", "ui"),
}


class ItemsConfig(Section):
    source: Literal["text_pairs"] = Field("text_pairs", description="comparisons of two texts")
    csv: Path | None = Field(
        None, description="a CSV file with two columns of texts and one that says which is better; read before training"
    )
    text_a: str | None = Field(None, description="its column of first texts; default: Title1 or text_a, in any case")
    text_b: str | None = Field(None, description="its column of second texts; default: Title2 or text_b")
    label: str | None = Field(None, description="its column of answers; default: Label or choice")
    choices: dict[str, Literal["a", "b", "tie"]] | None = Field(
        None,
        description="what the values of that column mean, e.g. {left: a, right: b, same: tie}; default: a, first, 1 or the "
        "column's own name mean that side; with 0 and 1 alone, 1 means the first text",
    )
    skip_bad: bool = Field(False, description="leave out invalid rows of the CSV file, and report them")
    texts: Path | None = Field(
        None, description="texts from which pairs are drawn for the judging page: a CSV file, or one text per line"
    )
    column: str | None = Field(None, description="its column of texts; default: text, title, or the only one")

    _paths = field_validator("csv", "texts", mode="before")(expand_path)


class TextModelConfig(Section):
    encoder: str = Field(
        "sentence-transformers/all-MiniLM-L6-v2",
        min_length=1,
        description="a text encoder that transformers can read: a folder, or a name on the Hugging Face Hub",
    )
    pooling: Literal["mean", "cls"] = Field(
        "mean", description="an embedding is the mean over all tokens, or that of the first token"
    )
    max_tokens: int = Field(256, ge=2, le=MAX_TOKENS, description="longer texts are cut")
    trainable: Literal["head", "all"] = Field(
        "head", description="head: embeddings are computed once, seconds; all: the encoder is trained, too"
    )

    _paths = field_validator("encoder", mode="before")(expand_path)


class TextRewardConfig(RewardConfig):
    epochs: int = Field(10, ge=1, le=100_000, description="trainable: all; at most, see patience")
    batch_size: int = Field(32, ge=1, le=65_536, description="trainable: all; texts per step")
    lr: LearningRate = Field(2e-5, description="trainable: all; of the encoder")
    patience: int = Field(
        2, ge=1, le=100_000, description="epochs without a better held-out likelihood before training stops"
    )
    heldout_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="trainable: all; share of texts held out; a head holds out each fifth in turn"
    )


class TextCollectConfig(CollectConfig):
    question: Literal["text_comparison"] = Field("text_comparison", description="the only kind for texts")


class TextConfig(Section):
    """A run that learns which texts people prefer."""

    stage_sections: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "collect": ("items", "collect"),
        "reward": ("model", "reward"),
        "rank": ("model", "reward"),
    }

    name: RunName = "texts"
    seed: Seed = 0
    runs: Path = Field(Path("runs"), description="folder of all runs and of the cache they share")
    items: ItemsConfig = ItemsConfig()
    model: TextModelConfig = TextModelConfig()
    collect: TextCollectConfig = TextCollectConfig()
    reward: TextRewardConfig = TextRewardConfig()
    tracking: TrackingConfig = TrackingConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    _paths = field_validator("runs", mode="before")(expand_path)

    @model_validator(mode="after")
    def _no_settings_of_images(self) -> TextConfig:
        for section, names in ONLY_FOR_IMAGES.items():
            own: Section = getattr(self, section)
            for name in names:
                if getattr(own, name) != type(own).model_fields[name].default:
                    raise ValueError(f"{section}.{name} is for images only; remove it")
        needed = "lbfgs" if self.model.trainable == "head" else "adamw"
        if self.reward.optimiser not in ("auto", needed):
            raise ValueError(
                f"reward.optimiser: model.trainable: {self.model.trainable} is trained by {needed}; set it to auto"
            )
        return self


assert TEXT_COMPARISON.name == TextCollectConfig().question
