"""What every stage opens first: the run's folder, the runtime, the images and the class names. No gold labels."""

from __future__ import annotations

import logging
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
from pipeline.models.backbone import Split, split
from pipeline.models.network_shape import require_size
from pipeline.models.policy import log_policy
from pipeline.models.serialization import ModelHeader, load_model
from pipeline.models.sources import DataConfiguration, find_backbone, parse_backbone
from pipeline.run.atomic_files import printable, sha256_of
from pipeline.run.run_folder import RunFolder
from pipeline.run.runtime import Runtime, start

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Workspace:
    """Attributes as named; `classes` are in the order of the models' outputs."""

    config: Config
    run: RunFolder
    runtime: Runtime
    table: ImageTable
    pixels: Pixels
    classes: tuple[str, ...]

    @property
    def transform(self) -> Transform:
        return network_transform(self.config)

    def header(self, kind: Literal["policy", "reward"]) -> ModelHeader:
        """What a model file of this run says about itself."""
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
        )

    def rows(self, name: str) -> Tensor:
        """Row numbers of a split, as a tensor."""
        return torch.from_numpy(self.table.rows(name))

    def cut(self, network: nn.Module, trainable: Trainable | None = None) -> tuple[Split, Features]:
        """Split a network and have its prefix's outputs for every image at hand."""
        source, _ = find_backbone(self.config.model.backbone)
        pieces = split(network.to(self.runtime.device), trainable or self.config.model.trainable, source)
        features = load_features(
            pieces,
            self.pixels,
            self.table.ids,
            self.transform,
            self.run.cache,
            self.config.model.cache_limit_mb,
            self.runtime.device,
            _data_configuration(self.config).normalisation,
        )
        return pieces, features

    def scores(self, pieces: Split, features: Features) -> Tensor:
        """Outputs [N, C] of a network on every image, from the cache if they were computed before."""
        return cached_scores(pieces.network, pieces.suffix, features, self.table.ids, self.transform, self.run.cache)

    def load_policy(self, path: Path) -> nn.Module:
        """A saved policy, checked to have this run's network, classes and image size."""
        network, header, _ = load_model(path, "policy")
        self._check(path, header)
        return network

    def _check(self, path: Path, header: ModelHeader) -> None:
        if header.classes != self.classes:
            raise UserError(f"{path}: made for the classes {', '.join(header.classes)}, not {', '.join(self.classes)}")
        if header.network != self.header("policy").network:
            raise UserError(f"{path}: made with the network {header.network}; set model.backbone to that")
        if header.transform != self.transform:
            raise UserError(
                f"{path}: made for images of {header.size} pixels (resize {header.resize}); set images.size to that"
            )

    @cached_property
    def log_reference(self) -> Tensor:
        """log pi_ref [N, C] of every image, from the frozen reference policy of this run."""
        network = self.load_policy(self.run.require("reference", "model.safetensors"))
        return log_policy(self.scores(*self.cut(network)))

    def weights_input(self) -> dict[str, str]:
        """The hash of the weights file the configuration names, if it names one."""
        path = Path(self.config.model.weights)
        return {"weights": sha256_of(path)} if path.is_file() else {}


def _data_configuration(config: Config) -> DataConfiguration:
    source, name = find_backbone(config.model.backbone)
    return source.data_configuration(name)


def network_transform(config: Config) -> Transform:
    """From an image to what the configured network sees."""
    return Transform.of(config.images, _data_configuration(config).interpolation)


def open_workspace(config: Config) -> Workspace:
    """Read the images (from the cache, mostly), write images.csv, and say what was left out.

    Raises:
        UserError: the images cannot be used, the network does not take their size, or the run's folder cannot be made.
    """
    runtime = start(config.runtime)
    run = RunFolder(config)
    run.prepare()
    require_size(config.model.backbone, config.images.size)
    table, pixels = read_images(
        config.images,
        run.cache,
        config.model.cache_limit_mb,
        config.runtime.decode_seconds,
        network_transform(config),
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
    return Workspace(config, run, runtime, table, pixels, classes)
