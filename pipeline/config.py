"""The typed configuration: one frozen section a stage, unknown keys refused by name.

A configuration is a YAML file plus overrides of the form `section.key=value`. Every value is validated by pydantic;
the resolved configuration is saved with every run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from pipeline import config_keys
from pipeline.config_base import (
    MAX_CLASSES,
    MAX_IMAGE_SIZE,
    MAX_MEMBERS,
    Fraction,
    LearningRate,
    Section,
    Trainable,
    expand_path,
)
from pipeline.config_collect import CollectConfig
from pipeline.config_keys import nearest_key, shown
from pipeline.config_ppo import PPOConfig
from pipeline.config_use import InferConfig, ServeConfig, TrackingConfig
from pipeline.config_yaml import MAX_BYTES, parse_yaml, read_text
from pipeline.errors import UserError

MAX_PARENTS = 3  # sections within sections of any key


class AugmentConfig(Section):
    """Random views of training images, with `trainable: all`; what is measured or predicted is never augmented."""

    shift: int = Field(0, ge=0, le=1024, description="largest translation, in pixels, each way")
    flip: bool = Field(False, description="mirror left to right with probability 1/2")


class ImagesConfig(Section):
    source: Literal["digits", "folder"] = Field("folder", description="embedded digits, or a folder of images")
    root: Path | None = Field(None, description="the folder; for digits, where to write them (runs/.cache/digits)")
    classes: list[str] | None = Field(
        None, max_length=MAX_CLASSES, description="class names, for a folder whose sub-folders do not name them"
    )
    exclude: list[str] = Field([], description="globs, relative to the root, of files to leave out")
    size: int = Field(224, ge=8, le=MAX_IMAGE_SIZE, description="side in pixels of the square the network sees")
    resize: int | None = Field(
        None, ge=8, le=MAX_IMAGE_SIZE, description="shorter side before the centre crop; default: size"
    )
    heldout_fraction: Fraction = Field(0.2, description="held out by content hash when there is no val/ or test/")
    max_pixels: Annotated[int, Field(gt=0, le=178_956_970)] = Field(  # above that Pillow refuses, too
        100_000_000, description="a larger image is left out unread"
    )
    max_megabytes: int = Field(100, ge=1, le=16_384, description="a larger file is left out unread")
    augment: AugmentConfig = AugmentConfig()

    _paths = field_validator("root", mode="before")(expand_path)

    @field_validator("classes")
    @classmethod
    def _classes(cls, names: list[str] | None) -> list[str] | None:
        if names is not None and (len(names) < 2 or len(set(names)) != len(names) or not all(names)):
            raise ValueError("needs at least two distinct, non-empty class names")
        return names

    @model_validator(mode="after")
    def _sizes(self) -> ImagesConfig:
        if self.source == "folder" and self.root is None:
            raise ValueError("images.root is needed: the folder that holds the images")
        if self.resize is not None and self.resize < self.size:
            raise ValueError("resize must not be smaller than size, or the centre crop would run over the edge")
        if self.augment.shift >= self.size:
            raise ValueError("augment.shift must be smaller than size, or nothing of the image would be left")
        return self


class ModelConfig(Section):
    backbone: str = Field("resnet18", description="any torchvision classification network, by name")
    weights: str = Field("imagenet", description="imagenet, none, or a .safetensors or .pth file of torchvision's keys")
    trainable: Trainable = Field("all", description="which part learns; what lies before it is frozen, computed once")
    cache_limit_mb: float = Field(
        4096, ge=0, le=1e8, description="largest prefix cache; above it outputs are recomputed"
    )

    _paths = field_validator("weights", mode="before")(expand_path)


class TrainingConfig(Section):
    """What reference and reward training share."""

    epochs: int = Field(30, ge=1, le=100_000)
    batch_size: int = Field(64, ge=1, le=65_536, description="images a step")
    lr: LearningRate = Field(1e-3, description="AdamW's peak learning rate; warm-up, then a cosine to zero")
    weight_decay: float = Field(0.01, ge=0, le=1e6)
    warmup_fraction: Fraction = Field(0.05, description="share of all steps in which the learning rate rises")


class ReferenceConfig(TrainingConfig):
    checkpoint: Path | None = Field(None, description="use this policy instead of training one")
    labelled_per_class: int = Field(10, ge=0, le=1_000_000, description="labelled images a class; 0: no opinion")
    calibration_folds: int = Field(
        5, ge=0, le=1000, description="folds of the labelled images that fit the policy's temperature; 0 leaves it at 1"
    )

    _paths = field_validator("checkpoint", mode="before")(expand_path)

    @field_validator("calibration_folds")
    @classmethod
    def _folds(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("needs 0 or at least 2 folds: what a fold is tested on must not be trained on")
        return folds


class RewardConfig(TrainingConfig):
    objective: Literal["bradley_terry", "supervised", "joint"] = Field(
        "bradley_terry", description="which judgments it learns from: comparisons, per-image judgments, or all"
    )
    start: Literal["reference", "backbone"] = Field("reference", description="whose weights the reward model starts at")
    heldout_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(0.2, description="share of judged images held out")
    patience: int = Field(
        5, ge=1, le=100_000, description="epochs without a better held-out likelihood before it stops"
    )
    label_smoothing: Fraction = Field(0.0, description="label smoothing of label choices")
    rating: Literal["binned", "scalar"] = Field("binned", description="ratings as ordered bins, or as numbers")
    reliability: bool = Field(True, description="learn how reliable each annotator is, where there are several")
    members: int = Field(
        1, ge=1, le=MAX_MEMBERS, description="networks in the ensemble, each trained on a bootstrap of the images"
    )
    pessimism: float = Field(
        0.0, ge=0, le=1000, description="reward is the members' mean minus this times their deviation"
    )
    curve: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [0.25, 0.5],
        max_length=20,
        description="shares of the judgments that the card's learning curve trains on besides all; [] for none",
    )


class RuntimeConfig(Section):
    device: str = Field("auto", description="auto, cpu, cuda or mps")
    decode_seconds: float = Field(30.0, gt=0, le=86_400, description="processor time to decode one image, at most")
    threads: int | None = Field(None, ge=1, le=1024, description="CPU threads; default: as many as torch finds")
    checkpoint_seconds: float = Field(
        20.0,
        ge=0,
        le=1e9,
        description="least time between two checkpoints; a stopped stage saves at once whatever this says",
    )


class Config(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)] = "default"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    runs: Path = Field(Path("runs"), description="folder of all runs and of the cache they share")
    images: ImagesConfig
    model: ModelConfig = ModelConfig()
    reference: ReferenceConfig = ReferenceConfig()
    collect: CollectConfig = CollectConfig()
    reward: RewardConfig = RewardConfig()
    ppo: PPOConfig = PPOConfig()
    infer: InferConfig = InferConfig()
    serve: ServeConfig = ServeConfig()
    tracking: TrackingConfig = TrackingConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    _paths = field_validator("runs", mode="before")(expand_path)


def known_keys() -> list[str]:
    """Every dotted key a configuration may hold, in order."""
    return [key for key, _ in config_keys.fields_of(Config)]


def settings_table() -> str:
    """Every key with its default, its range and what it means, as Markdown: docs/settings.md."""
    return config_keys.table(Config)


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, leaf = key.split(".")
    if len(parents) > MAX_PARENTS:
        raise UserError(f"SET {shown(key)}: unknown key; did you mean '{nearest_key(key, known_keys())}'?")
    for parent in parents:
        child = tree.setdefault(parent, {})
        if not isinstance(child, dict):
            raise UserError(
                f"SET {shown(key)}: '{parent}' is a value, not a section; did you mean '{nearest_key(key, known_keys())}'?"
            )
        tree = child
    tree[leaf] = value


def load_config(path: Path, overrides: list[str] | None = None) -> Config:
    """Read a YAML file and apply `key=value` overrides; `ppo.lr=1e-5` and `seed=3` are examples.

    Raises UserError naming the file or override, the key, what is wrong and, for an unknown key, the nearest valid one.
    """
    tree = read_tree(path)
    is_text = config_keys.text_keys(Config)
    for override in overrides or []:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise UserError(f"SET {shown(override)}: write it as key=value, for example ppo.lr=1e-5")
        try:
            _set(tree, key, parse_yaml(value, is_text, tuple(key.split("."))) if value else "")
        except ValueError as error:
            raise UserError(f"SET {shown(override)}: the value cannot be used: {error}") from None
    config = parse_config(tree, str(path))
    if len(dump_config(config).encode()) > MAX_BYTES:  # every stage keeps it as a file, which must be readable
        raise UserError(f"{path}: longer than {MAX_BYTES // 1024} KiB when written out; shorten its lists")
    return config


def read_tree(path: Path) -> dict[str, Any]:
    """A configuration file as it is written, nothing checked but its form.

    Raises:
        UserError: it is missing, cannot be read, or is not a mapping.
    """
    text = read_text(path)
    try:
        tree = parse_yaml(text, config_keys.text_keys(Config))
    except ValueError as error:
        raise UserError(f"{path}, {error}; correct the file") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a configuration is a mapping of keys to values, not a {type(tree).__name__}")
    return tree


def parse_config(tree: dict[str, Any], where: str) -> Config:
    """Validate a nested mapping; `where` is named in every complaint."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise UserError(config_keys.problems(error, where, known_keys())) from None


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML that `load_config` reads back to the same value."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
