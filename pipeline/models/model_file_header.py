"""The header of a model file: kind, network, class names and image size."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.config.base import MAX_CLASSES, MAX_IMAGE_SIZE
from pipeline.data.resize import BILINEAR, FILTER_RADIUS, Transform
from pipeline.data.transforms import IMAGENET, Normalisation
from pipeline.models.backbone import Architecture
from pipeline.models.known_classes import Groups
from pipeline.models.sources import BACKBONE_SOURCES, full_name
from pipeline.run.atomic_files import Damaged

OPTIONAL = {"source": str, "mean": list, "std": list, "interpolation": str, "known": list, "settings": str}
KEY = "image_rlhf"  # in the metadata of the safetensors file


@dataclass(frozen=True)
class ModelHeader:
    """The information that is needed to use a model.

    Attributes:
        classes: distinct names, in the order of the network's outputs.
        backbone: the network's name in its source.
        size: side in pixels of the square that the network takes; `resize`, the shorter side before the crop.
        source: of the backbone, one of `BACKBONE_SOURCES`.
        mean, std: of each channel, of pixels between 0 and 1.
        interpolation: of the resizing, `bilinear` or `bicubic`.
        known, settings: of its `Architecture`.
    """

    kind: Literal["policy", "reward"]
    backbone: str
    classes: tuple[str, ...]
    size: int
    resize: int
    source: str = "torchvision"
    mean: tuple[float, float, float] = IMAGENET.mean
    std: tuple[float, float, float] = IMAGENET.std
    interpolation: str = BILINEAR
    known: Groups = ()
    settings: str = ""

    @property
    def architecture(self) -> Architecture:
        return Architecture(self.known, self.settings)

    @property
    def transform(self) -> Transform:
        return Transform(self.size, self.resize, self.interpolation)

    @property
    def normalisation(self) -> Normalisation:
        return Normalisation(self.mean, self.std)

    @property
    def network(self) -> str:
        """Source and name of the network, as `model.backbone` names it."""
        return full_name(self.source, self.backbone)

    def metadata(self) -> dict[str, str]:
        """The header as metadata of a safetensors file."""
        fields = asdict(self)
        for name in ("known", "settings"):
            if not fields[name]:
                del fields[name]  # so that files of plain networks are as before
        return {KEY: json.dumps(fields)}

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> ModelHeader:
        """Read what `metadata` returned.

        Raises:
            Damaged: not JSON, a field is missing, of the wrong type or out of range.
            UnknownNameError: the package that adds the backbone's source is not installed.
        """
        try:
            fields = json.loads(metadata[KEY])
        except (ValueError, RecursionError) as error:
            raise Damaged(f"its header is not JSON: {str(error).splitlines()[0]}") from None
        if not isinstance(fields, dict):
            raise Damaged("its header is not a JSON object")
        wanted = {"kind": str, "backbone": str, "classes": list, "size": int, "resize": int} | {
            name: kind
            for name, kind in OPTIONAL.items()
            if name in fields  # missing in files of version 0.1: torchvision, ImageNet's mean and std, bilinear
        }
        for name, kind in wanted.items():
            if name not in fields:
                raise Damaged(f"its header has no '{name}'")
            if not isinstance(fields[name], kind) or isinstance(fields[name], bool):
                raise Damaged(f"'{name}' in its header is not of type {kind.__name__}")
        if extra := sorted(set(fields) - set(wanted)):
            raise Damaged(f"its header has the unknown field '{extra[0]}'")
        _check_values(fields)
        plain: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in fields.items()}
        plain["known"] = tuple(tuple(group) for group in plain.get("known", ()))
        return cls(**plain)


def _check_values(fields: dict[str, Any]) -> None:
    if fields["kind"] not in ("policy", "reward"):
        raise Damaged(f"its kind is '{fields['kind']:.40}', not policy or reward")
    source = fields.get("source", "torchvision")
    if not fields.get("settings"):
        try:
            BACKBONE_SOURCES.get(source).check(fields["backbone"])
        except ValueError:
            raise Damaged(f"{source:.40} has no classification network '{fields['backbone']:.40}'") from None
    _check_known(fields.get("known", []), len(fields["classes"]))
    for name in ("mean", "std"):
        _check_channels(name, fields.get(name, [1.0, 1.0, 1.0]))
    if fields.get("interpolation", BILINEAR) not in FILTER_RADIUS:
        raise Damaged(f"its interpolation is '{fields['interpolation']:.40}', not {' or '.join(FILTER_RADIUS)}")
    _check_classes(fields["classes"])
    if not 1 <= fields["size"] <= fields["resize"] <= MAX_IMAGE_SIZE:
        raise Damaged(
            f"its image size is {fields['size']} after resizing to {fields['resize']}; both must be 1 to {MAX_IMAGE_SIZE}, and "
            "the second must not be smaller"
        )


def _check_known(groups: Sequence[object], classes: int) -> None:
    numbers = [
        one
        for group in groups
        if isinstance(group, list) and group
        for one in group
        if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < MAX_CLASSES
    ]
    if groups and (
        len(groups) != classes or len(numbers) != sum(len(g) or 1 if isinstance(g, list) else 1 for g in groups)
    ):
        raise Damaged("'known' in its header is not a list of category numbers for each class")


def _check_channels(name: str, values: Sequence[object]) -> None:
    numbers = [value for value in values if isinstance(value, float | int) and math.isfinite(value)]
    if len(values) != 3 or len(numbers) != 3 or (name == "std" and min(numbers) <= 0):
        raise Damaged(f"'{name}' in its header is not three numbers{' above 0' if name == 'std' else ''}")


def _check_classes(names: Sequence[object]) -> None:
    if not 2 <= len(names) <= MAX_CLASSES:
        raise Damaged(f"it has {len(names)} classes; 2 to {MAX_CLASSES} are possible")
    if not all(isinstance(name, str) and name for name in names):
        raise Damaged("a class name is empty or not a string")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Damaged(f"it has the class '{twice}' twice")
