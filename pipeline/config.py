"""The typed configuration: one frozen section a stage, unknown keys refused by name.

A configuration is a YAML file plus overrides of the form `section.key=value`. Every value is validated by pydantic;
the resolved configuration is saved with every run.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from pipeline.config_base import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, Section, Trainable, expand_path
from pipeline.config_collect import CollectConfig
from pipeline.config_ppo import PPOConfig
from pipeline.config_use import InferConfig, ServeConfig, TrackingConfig
from pipeline.errors import UserError


class AugmentConfig(Section):
    """Random views of training images, with `trainable: all`; what is measured or predicted is never augmented."""

    shift: Annotated[int, Field(ge=0)] = Field(0, description="largest translation, in pixels, each way")
    flip: bool = Field(False, description="mirror left to right with probability 1/2")


class ImagesConfig(Section):
    source: Literal["digits", "folder"] = Field("folder", description="embedded digits, or a folder of images")
    root: Path | None = Field(None, description="the folder; for digits, where to write them (runs/.cache/digits)")
    classes: list[str] | None = Field(None, description="class names, for a folder whose sub-folders do not name them")
    exclude: list[str] = Field([], description="globs, relative to the root, of files to leave out")
    size: PositiveInt = Field(224, description="side in pixels of the square the network sees")
    resize: PositiveInt | None = Field(None, description="shorter side before the centre crop; default: size")
    heldout_fraction: Fraction = Field(0.2, description="held out by content hash when there is no val/ or test/")
    max_pixels: Annotated[int, Field(gt=0, le=178_956_970)] = Field(  # above that Pillow refuses, too
        100_000_000, description="a larger image is left out unread"
    )
    max_megabytes: PositiveInt = Field(100, description="a larger file is left out unread")
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
        return self


class ModelConfig(Section):
    backbone: str = Field("resnet18", description="any torchvision classification network, by name")
    weights: str = Field("imagenet", description="imagenet, none, or a .safetensors or .pth file of torchvision's keys")
    trainable: Trainable = Field("all", description="which part learns; what lies before it is frozen, computed once")
    cache_limit_mb: NonNegativeFloat = Field(4096, description="largest prefix cache; above it outputs are recomputed")

    _paths = field_validator("weights", mode="before")(expand_path)


class TrainingConfig(Section):
    """What reference and reward training share."""

    epochs: PositiveInt = 30
    batch_size: PositiveInt = Field(64, description="images a step")
    lr: PositiveFloat = Field(1e-3, description="AdamW's peak learning rate; warm-up, then a cosine to zero")
    weight_decay: NonNegativeFloat = 0.01
    warmup_fraction: Fraction = Field(0.05, description="share of all steps in which the learning rate rises")


class ReferenceConfig(TrainingConfig):
    checkpoint: Path | None = Field(None, description="use this policy instead of training one")
    labelled_per_class: Annotated[int, Field(ge=0)] = Field(10, description="labelled images a class; 0: no opinion")
    calibration_folds: Annotated[int, Field(ge=0)] = Field(
        5, description="folds of the labelled images that fit the policy's temperature; 0 leaves it at 1"
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
    patience: PositiveInt = Field(5, description="epochs without a better held-out likelihood before it stops")
    label_smoothing: Fraction = Field(0.0, description="label smoothing of label choices")
    rating: Literal["binned", "scalar"] = Field("binned", description="ratings as ordered bins, or as numbers")
    reliability: bool = Field(True, description="learn how reliable each annotator is, where there are several")
    members: PositiveInt = Field(1, description="networks in the ensemble, each trained on a bootstrap of the images")
    pessimism: NonNegativeFloat = Field(0.0, description="reward is the members' mean minus this times their deviation")
    curve: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [0.25, 0.5],
        description="shares of the judgments that the card's learning curve trains on besides all; [] for none",
    )


class RuntimeConfig(Section):
    device: str = Field("auto", description="auto, cpu, cuda or mps")
    decode_seconds: PositiveFloat = Field(
        30.0, description="processor time that decoding one image may take; one that needs more is left out"
    )
    threads: PositiveInt | None = Field(None, description="CPU threads; default: as many as torch finds")
    checkpoint_seconds: NonNegativeFloat = Field(
        20.0, description="least time between two checkpoints; a stopped stage saves at once whatever this says"
    )


class Config(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "default"
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


def known_keys(section: type[BaseModel] = Config, prefix: str = "") -> list[str]:
    """Every dotted key a configuration may hold, in order."""
    keys = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            keys += known_keys(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def nearest_key(key: str) -> str:
    """The valid key a misspelt one most likely means: the same last word, or nearly so, else whatever looks most alike."""
    keys = known_keys()
    sections = {k.rsplit(".", 1)[0] for k in keys if "." in k}
    leaf = key.rsplit(".", 1)[-1]
    leaves = difflib.get_close_matches(leaf, [k.rsplit(".", 1)[-1] for k in keys], n=1, cutoff=0.8)
    by_leaf = [k for k in keys if k.rsplit(".", 1)[-1] in leaves]
    same_section = difflib.get_close_matches(key, by_leaf, n=1, cutoff=0.0)
    close = difflib.get_close_matches(key, [*keys, *sections], n=1, cutoff=0.5)
    return (same_section or close or difflib.get_close_matches(key, keys, n=1, cutoff=0.0))[0]


def _problem(error: Any, where: str) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "the configuration"
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key '{key}'; did you mean '{nearest_key(key)}'?"
    got = "" if error["type"] == "missing" else f" (got {error['input']!r})"
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {key}: {message[0].lower()}{message[1:]}{got if not isinstance(error['input'], dict) else ''}"


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, leaf = key.split(".")
    for parent in parents:
        child = tree.setdefault(parent, {})
        if not isinstance(child, dict):
            raise UserError(f"SET {key}: '{parent}' is a value, not a section; did you mean '{nearest_key(key)}'?")
        tree = child
    tree[leaf] = value


def load_config(path: Path, overrides: list[str] | None = None) -> Config:
    """Read a YAML file and apply `key=value` overrides; `ppo.lr=1e-5` and `seed=3` are examples.

    Raises UserError naming the file or override, the key, what is wrong and, for an unknown key, the nearest valid one.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such configuration; the ones that come with the project are in configs/")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a configuration is a mapping of keys to values, not a {type(tree).__name__}")
    for override in overrides or []:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise UserError(f"SET {override!r}: write it as key=value, for example ppo.lr=1e-5")
        try:
            _set(tree, key, yaml.safe_load(value) if value else "")
        except yaml.YAMLError as error:
            raise UserError(f"SET {override!r}: the value is not valid YAML") from error
    return parse_config(tree, str(path))


def parse_config(tree: dict[str, Any], where: str) -> Config:
    """Validate a nested mapping; `where` is named in every complaint."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise UserError("\n".join(_problem(e, where) for e in error.errors())) from None


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML that `load_config` reads back to the same value."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def settings_table() -> str:
    """Every key with its default and what it means, as Markdown: docs/settings.md."""
    lines = ["| setting | default | |", "| --- | --- | --- |"]
    for key in known_keys():
        section: type[BaseModel] = Config
        *parents, leaf = key.split(".")
        for parent in parents:
            section = section.model_fields[parent].annotation  # type: ignore[assignment]
        field = section.model_fields[leaf]
        default = field.get_default(call_default_factory=True)
        shown = "needed" if field.is_required() else json.dumps(default, default=str, ensure_ascii=False)
        choices = " or ".join(get_args(field.annotation)) if get_origin(field.annotation) is Literal else ""
        words = "; ".join(part for part in (choices, field.description or "") if part)
        lines.append(f"| `{key}` | `{shown}` | {words} |")
    return "\n".join(lines) + "\n"
