"""The workspace of a stage: the run's folder, the runtime, the images and the class names, without gold labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.config import Config
from pipeline.config.base import Trainable
from pipeline.data.feature_cache import Features, load_features
from pipeline.data.gold_labels import class_names
from pipeline.data.image_table import ImageTable, read_images
from pipeline.data.pixel_cache import Pixels
from pipeline.data.resize import Transform
from pipeline.data.score_tables import cached_scores
from pipeline.errors import UserError
from pipeline.models.adapters import add_adapters
from pipeline.models.backbone import Architecture, Split, build_network, split
from pipeline.models.known_classes import Categories
from pipeline.models.network_shape import require_size
from pipeline.models.policy import log_policy
from pipeline.models.precision import choose_bf16
from pipeline.models.serialization import ModelHeader, load_model
from pipeline.models.sources import DataConfiguration, find_backbone, parse_backbone
from pipeline.run.atomic_files import printable, sha256_of
from pipeline.run.run_folder import RunFolder
from pipeline.run.runtime import Runtime, start

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Workspace:
    """The attributes as named; `classes` are in the order of the models' outputs."""

    config: Config
    run: RunFolder
    runtime: Runtime
    table: ImageTable
    pixels: Pixels
    classes: tuple[str, ...]
    architecture: Architecture

    def build(self) -> nn.Module:
        """A network of random or pretrained weights."""
        return build_network(self.config.model, len(self.classes), self.config.seed, self.architecture)

    @property
    def transform(self) -> Transform:
        return network_transform(self.config)

    def header(self, kind: Literal["policy", "reward"]) -> ModelHeader:
        """The header of a model file of this run."""
        source, name = parse_backbone(self.config.model.backbone)
        data, images = _data_configuration(self.config), self.transform
        return ModelHeader(
            kind,
            name,
            self.classes,
            images.size,
            images.resize,
            source=source,
            mean=data.normalisation.mean,
            std=data.normalisation.std,
            interpolation=images.interpolation,
            known=self.architecture.known,
            settings=self.architecture.settings,
        )

    def rows(self, name: str) -> Tensor:
        """Row numbers of a split, as a tensor."""
        return torch.from_numpy(self.table.rows(name))

    def cut(self, network: nn.Module, *, train: bool = False) -> tuple[Split, Features]:
        """Split a network, with the features of every image.

        Args:
            train: to train it: with `trainable: lora` it is given adapters, in place.
        """
        source, _ = find_backbone(self.config.model.backbone)
        trainable: Trainable = self.config.model.trainable
        if lora := trainable == "lora":
            trainable = "all"
        pieces = split(network.to(self.runtime.device), trainable, source, self.transform.size)
        if lora and train:
            add_adapters(network, self.config.model.lora_rank)
        features = load_features(
            pieces,
            self.pixels,
            self.table.ids,
            self.transform,
            cache=self.run.cache,
            limit_mb=self.config.model.cache_limit_mb,
            device=self.runtime.device,
            normalisation=_data_configuration(self.config).normalisation,
            bf16=self.bf16,
            config=self.config.runtime,
            runtime=self.runtime,
        )
        return pieces, features

    @cached_property
    def bf16(self) -> bool:
        """Whether networks compute in bfloat16 under autocast."""
        model = self.config.model.model_copy(update={"weights": "none"})
        return self.runtime.of_main(
            lambda: choose_bf16(
                self.config.runtime,
                lambda: build_network(model, len(self.classes), 0, self.architecture),
                self.transform.size,
                name=model.backbone,
                device=self.runtime.device,
            )
        )

    def scores(self, pieces: Split, features: Features) -> Tensor:
        """Outputs [N, C] of a network on every image, from the cache if possible."""
        return cached_scores(
            pieces.network,
            pieces.suffix,
            features,
            ids=self.table.ids,
            transform=self.transform,
            cache=self.run.cache,
        )

    def load_policy(self, path: Path) -> nn.Module:
        """A saved policy, checked to have this run's network, classes and image size."""
        network, header, _ = load_model(path, "policy")
        self._check(path, header)
        return network

    def _check(self, path: Path, header: ModelHeader) -> None:
        if header.classes != self.classes:
            raise UserError(
                f"{path}: made for the classes {', '.join(header.classes)}, not {', '.join(self.classes)}; fix images.classes, or use "
                "another model"
            )
        if header.network != self.header("policy").network:
            raise UserError(f"{path}: made with the network {header.network}; set model.backbone to it")
        if header.architecture.known != self.architecture.known:
            raise UserError(
                f"{path}: made {'with' if header.architecture.known else 'without'} the classes that its network's own weights "
                "know; set reference.kind and reference.names as it was made"
            )
        if header.transform != self.transform:
            raise UserError(
                f"{path}: made for images of {header.size} pixels (resize {header.resize}); set images.size to {header.size}"
            )

    @cached_property
    def log_reference(self) -> Tensor:
        """log pi_ref [N, C] of every image, from the frozen reference policy of this run."""
        network = self.load_policy(self.run.require("reference", "model.safetensors"))
        return log_policy(self.scores(*self.cut(network)))

    def weights_input(self) -> dict[str, str]:
        """The hash of the weights file in the configuration, if there is one."""
        path = Path(self.config.model.weights)
        return {"weights": sha256_of(path)} if path.is_file() else {}


def _data_configuration(config: Config) -> DataConfiguration:
    source, name = find_backbone(config.model.backbone)
    return source.data_configuration(name)


def network_transform(config: Config) -> Transform:
    """From an image to the input of the configured network."""
    data, images = _data_configuration(config), config.images
    if images.size is not None:
        return Transform(images.size, images.resize or images.size, data.interpolation)
    size = data.size or data.usual_size
    resize = images.resize or max(size, round(size / data.crop))
    if resize < size:
        raise UserError(
            f"images.resize: {resize} is smaller than the {size} pixels that {config.model.backbone} takes, so that the centre "
            "crop would run over the edge; set images.size, or a larger images.resize"
        )
    return Transform(size, resize, data.interpolation)


def _settings(config: Config) -> str:
    source, name = find_backbone(config.model.backbone)
    return source.settings(name)


def network_architecture(config: Config, classes: Sequence[str]) -> Architecture:
    """What determines the network's layers, besides its name.

    Raises:
        UserError: the reference is zero-shot, and the network's weights do not know the classes.
    """
    source, name = find_backbone(config.model.backbone)
    settings = _settings(config)
    if config.reference.resolved != "zero_shot" or source.reads_text(name):
        return Architecture(settings=settings)
    names = source.categories(name)
    if not names:
        raise UserError(
            f"reference.kind: the categories of {config.model.backbone} are not known, and it does not read text; use another "
            "model.backbone, or trained or uniform"
        )
    return Architecture(Categories(config.model.backbone, names).groups(classes, config.reference.names), settings)


def open_workspace(config: Config) -> Workspace:
    """Read the images (mostly from the cache), write images.csv, and log how many files were left out.

    Raises:
        UserError: no usable images, the network does not take their size, or the run's folder cannot be created.
    """
    runtime = start(config.runtime)
    run = RunFolder(config)
    run.prepare()
    require_size(config.model.backbone, network_transform(config).size, Architecture(settings=_settings(config)))
    table, pixels = read_images(
        config.images,
        run.cache,
        limit_mb=config.model.cache_limit_mb,
        decode_seconds=config.runtime.decode_seconds,
        transform=network_transform(config),
    )
    classes = class_names(table, config.images.classes)
    if runtime.is_main:
        table.write(run.path / "images.csv")
        bad = [file for file in table.skipped if not file.reason.startswith("excluded")]
        if bad:
            _log.info(
                f"{len(table)} images used, {len(bad)} files left out (listed in {run.path / 'images.csv'}); "
                f"the first: {printable(bad[0].path)}: {bad[0].reason}"
            )
    architecture = network_architecture(config, classes)
    return Workspace(config, run, runtime, table, pixels, classes, architecture)
