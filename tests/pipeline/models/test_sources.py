"""Backbone sources from outside: networks with a size, normalisation and cut of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from pipeline.config import Config, ModelConfig, parse_config
from pipeline.data.resize import Transform
from pipeline.data.transforms import IMAGENET, Normalisation, normalise
from pipeline.errors import UserError
from pipeline.models.backbone import build_network, split
from pipeline.models.model_file_header import KEY
from pipeline.models.network_shape import require_size
from pipeline.models.policy import final_linear
from pipeline.models.predictor import Predictor
from pipeline.models.serialization import ModelHeader, load_model, save_model, weights_hash
from pipeline.models.sources import BACKBONE_SOURCES, BackboneSource, DataConfiguration, find_backbone, fit_weights
from pipeline.run.workspace import open_workspace

UNITS = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


class TinySource(BackboneSource):
    """Two layers; the second network can be cut nowhere but before its head."""

    def names(self) -> tuple[str, ...]:
        return ("two-layers",)

    def build(self, name: str, classes: int, weights: str, seed: int) -> nn.Module:
        head = nn.Linear(4, classes)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
        return network if weights == "none" else fit_weights(network, weights, name)

    def data_configuration(self, name: str) -> DataConfiguration:
        return DataConfiguration(UNITS, size=16, interpolation="bicubic")

    def cut(self, network: nn.Module, trainable: str, size: int) -> tuple[nn.Module | None, nn.Module]:  # type: ignore[override]
        if trainable == "last_block":
            raise UserError("model.trainable: two-layers has no blocks; use head or all")
        assert isinstance(network, nn.Sequential)
        return (None, network) if trainable == "all" else (network[:-1], network[-1])


@pytest.fixture
def tiny() -> Iterator[None]:
    BACKBONE_SOURCES.register("tiny", TinySource())
    yield
    BACKBONE_SOURCES.unregister("tiny")


@pytest.fixture
def config(tiny: None, image_folder: Callable[..., Path], tmp_path: Path) -> Config:
    tree = {
        "runs": str(tmp_path / "runs"),
        "images": {"root": str(image_folder()), "size": 16},
        "model": {"backbone": "tiny:two-layers", "weights": "none", "trainable": "head"},
        "runtime": {"device": "cpu"},
    }
    return parse_config(tree, "test")


def header_of(path: Path) -> dict[str, object]:
    with safe_open(path, framework="pt") as file:
        fields: dict[str, object] = json.loads(file.metadata()[KEY])
    return fields


def test_a_network_from_outside_is_cut_saved_and_loaded(config: Config, tmp_path: Path) -> None:
    ws = open_workspace(config)
    network = build_network(config.model, 2, seed=1)
    nn.init.normal_(final_linear(network).weight)
    pieces, features = ws.cut(network)
    rows = torch.arange(len(ws.table))
    pixels = ws.pixels.batch(rows)
    with torch.no_grad():
        expected = network(normalise(pixels, UNITS))
        assert torch.allclose(pieces.suffix(features.batch(rows)), expected, atol=1e-6)
        assert not torch.allclose(network(normalise(pixels)), expected, atol=1e-3), "ImageNet's units are others"
    path = tmp_path / "model.safetensors"
    save_model(path, network, ws.header("policy"))
    fields = header_of(path)
    assert (fields["source"], fields["backbone"]) == ("tiny", "two-layers")
    assert (fields["mean"], fields["std"], fields["interpolation"]) == ([0.5] * 3, [0.25] * 3, "bicubic")
    predictor = Predictor.load(path, config.runtime)
    assert weights_hash(predictor.network) == weights_hash(network)
    assert torch.allclose(predictor.log_probs(pixels), torch.log_softmax(expected, -1), atol=1e-6)
    assert weights_hash(ws.load_policy(path)) == weights_hash(network)


def test_weights_of_a_file(tiny: None, tmp_path: Path) -> None:
    network = build_network(ModelConfig(backbone="tiny:two-layers", weights="none"), 3, seed=5)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, tmp_path / "own.safetensors")
    given = ModelConfig(backbone="tiny:two-layers", weights=str(tmp_path / "own.safetensors"))
    assert weights_hash(build_network(given, 3, seed=0)) == weights_hash(network)
    with pytest.raises(UserError, match=r"model.weights: .* does not fit two-layers: '4.weight' has shape"):
        build_network(given, 2, seed=0)


def test_what_a_source_refuses(tiny: None) -> None:
    with pytest.raises(UserError, match="takes only 16 pixels"):
        require_size("tiny:two-layers", 32)
    with pytest.raises(UserError, match="tiny has no classification network 'three'; did you mean 'two-layers'"):
        find_backbone("tiny:three")
    with pytest.raises(
        UserError, match="unknown backbone source 'other'; valid names: torchvision, timm, hf, open_clip, tiny"
    ):
        find_backbone("other:vit")
    network = build_network(ModelConfig(backbone="tiny:two-layers", weights="none"), 2, seed=0)
    with pytest.raises(UserError, match="has no blocks"):
        split(network, "last_block", TinySource())


def test_a_policy_of_another_network_is_refused(config: Config, tmp_path: Path) -> None:
    network = build_network(ModelConfig(weights="none"), 2, seed=0)
    save_model(tmp_path / "m.safetensors", network, ModelHeader("policy", "resnet18", ("a", "b"), 16, 16))
    with pytest.raises(UserError, match=r"made with the network resnet18; set model\.backbone to it"):
        open_workspace(config).load_policy(tmp_path / "m.safetensors")


def test_without_the_package_the_source_is_named(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    network = build_network(config.model, 2, seed=0)
    save_model(path, network, open_workspace(config).header("policy"))
    BACKBONE_SOURCES.unregister("tiny")
    try:
        with pytest.raises(UserError, match=r"unknown backbone source 'tiny'.*install the package"):
            load_model(path, "policy")
    finally:
        BACKBONE_SOURCES.register("tiny", TinySource())


def test_torchvision_is_the_source_where_none_is_named() -> None:
    one, other = (build_network(ModelConfig(backbone=b, weights="none"), 2, seed=3) for b in NAMES)
    assert weights_hash(one) == weights_hash(other)
    source, name = find_backbone("torchvision:resnet18")
    assert source.data_configuration(name).normalisation == IMAGENET
    categories = source.categories(name)
    assert categories is not None
    assert (len(categories), categories[0]) == (1000, "tench")


NAMES = ("resnet18", "torchvision:resnet18")


def test_headers_of_the_version_before(tmp_path: Path) -> None:
    """They have no source, mean, std and interpolation: torchvision's networks in ImageNet's units, bilinear."""
    fields = {"kind": "policy", "backbone": "resnet18", "classes": ["a", "b"], "size": 16, "resize": 20}
    header = ModelHeader.of({KEY: json.dumps(fields)})
    assert (header.network, header.normalisation, header.transform) == ("resnet18", IMAGENET, Transform(16, 20))


@pytest.mark.parametrize("aspect", [1, 1.7, 40])
def test_bicubic_is_pillows(aspect: float) -> None:
    """Also of a long image, which is cropped before it is scaled."""
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 255, (30, round(30 * aspect), 3), np.uint8))
    made = Transform(16, 20, "bicubic")(image)
    width = max(16, round(image.width * 20 / 30))
    whole = image.resize((width, 20), Image.Resampling.BICUBIC)
    left = (width - 16) // 2
    expected = np.asarray(whole.crop((left, 2, left + 16, 18)))
    assert np.abs(made.astype(int) - expected.astype(int)).max() <= 1
    assert (made != Transform(16, 20)(image)).any()
