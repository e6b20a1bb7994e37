"""timm, transformers and open_clip: tiny models that the libraries saved, compared with the libraries' own results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.hub_models import LABELS, MAKERS, MEAN, STD, made, random_images
from support.installed import needs_packages
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.errors import UserError
from pipeline.models.backbone import Architecture, build_network, split
from pipeline.models.model_file_header import KEY, ModelHeader
from pipeline.models.module_cut import module_cut
from pipeline.models.network_shape import refused_size
from pipeline.models.policy import final_linear
from pipeline.models.serialization import load_model, save_model, weights_hash
from pipeline.models.sources import find_backbone
from pipeline.run.atomic_files import Damaged

pytestmark = needs_packages("timm", "transformers", "open_clip")


def randomise_head(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in final_linear(network).parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def test_timm_logits_and_data_configuration() -> None:
    import timm

    backbone, folder, size = made("timm")
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    source, name = find_backbone(backbone)
    own = source.own_head(name, "imagenet")
    x = random_images(size)
    assert torch.allclose(own.head(own.body.eval()(x)), theirs(x), atol=1e-5)
    data = source.data_configuration(name)
    assert (data.normalisation.mean, data.normalisation.std) == (MEAN, STD)
    assert (data.interpolation, data.usual_size, data.crop) == ("bicubic", size, 0.875)
    assert source.categories(name) == LABELS


@torch.no_grad()
def test_transformers_logits_and_data_configuration() -> None:
    from transformers import AutoModelForImageClassification

    backbone, folder, size = made("classifier")
    theirs = AutoModelForImageClassification.from_pretrained(folder).eval()
    source, name = find_backbone(backbone)
    own = source.own_head(name, "imagenet")
    x = random_images(size)
    assert torch.allclose(own.head(own.body.eval()(x)), theirs(pixel_values=x).logits, atol=1e-5)
    data = source.data_configuration(name)
    assert (data.normalisation.mean, data.normalisation.std) == (MEAN, STD)
    assert (data.interpolation, data.usual_size, data.crop) == ("bicubic", 32, 1.0)
    assert source.categories(name) == LABELS


@torch.no_grad()
def test_a_vision_tower_gives_its_pooled_output() -> None:
    from transformers import AutoModel

    backbone, folder, size = made("tower")
    network = build_network(ModelConfig(backbone=backbone), 3, seed=0)
    x = random_images(size)
    pieces = split(network, "head", find_backbone(backbone)[0], size)
    assert pieces.prefix is not None
    theirs = AutoModel.from_pretrained(folder).eval()(pixel_values=x).pooler_output
    assert torch.allclose(pieces.prefix(x), theirs, atol=1e-5)
    data = find_backbone(backbone)[0].data_configuration(str(folder))
    assert (data.usual_size, data.crop) == (28, 28 / 32)


@pytest.mark.parametrize("trainable", ["head", "last_block", "all"])
@pytest.mark.parametrize("kind", list(MAKERS))
def test_cuts_are_exact_and_share_parameters(kind: str, trainable: Any) -> None:
    """suffix(prefix(x)) is network(x), bit for bit and for any batch; a step on the suffix changes the network, not the prefix."""
    backbone, _, size = made(kind)
    network = build_network(ModelConfig(backbone=backbone), 3, seed=0)
    randomise_head(network)
    pieces = split(network, trainable, find_backbone(backbone)[0], size)
    x = random_images(size)
    with torch.no_grad():
        features, few = (x, x[:2]) if pieces.prefix is None else (pieces.prefix(x), pieces.prefix(x[:2]))
        assert torch.equal(pieces.suffix(features), network(x))
        assert torch.equal(pieces.suffix(few), network(x[:2]))
    trained = {id(p) for p in pieces.suffix.parameters()}
    own = {id(p) for p in network.parameters()}
    assert trained <= own
    assert {id(p) for p in network.parameters() if p.requires_grad} == trained
    assert (trained == own) == (trainable == "all")
    pieces.suffix(features).sum().backward()
    assert all(p.grad is not None for p in final_linear(network).parameters())


@pytest.mark.parametrize("kind", list(MAKERS))
def test_model_files_need_no_folder(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file holds all that builds its network: it loads where the folder is gone."""
    backbone, folder, size = made(kind)
    source, name = find_backbone(backbone)
    architecture = Architecture(settings=source.settings(name))
    network = build_network(ModelConfig(backbone=backbone), 3, 0, architecture)
    randomise_head(network)
    short, _, _ = backbone.partition(":")
    header = ModelHeader(
        "policy", str(folder / "gone"), ("a", "b", "c"), size, size, source=short, settings=architecture.settings
    )
    save_model(tmp_path / "m.safetensors", network, header)
    again, read, _ = load_model(tmp_path / "m.safetensors", "policy")
    assert weights_hash(again) == weights_hash(network)
    assert read == header
    x = random_images(size)
    with torch.no_grad():
        assert torch.equal(again(x), network(x))


@pytest.mark.parametrize("source", ["timm", "hf", "open_clip"])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    from pipeline.models.sources import extras

    def missing(module: str) -> Any:
        raise ModuleNotFoundError(f"No module named '{module}'", name=module)

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(UserError, match=rf"'{source}' needs the package .*pip install 'image-rlhf\[{source}\]'"):
        find_backbone(f"{source}:hf-hub:a/b")[0].settings(f"hf-hub:a/{source}")


@pytest.mark.parametrize("backbone", ["hf:/nowhere/at-all", "open_clip:hf-hub:"])
def test_what_cannot_be_read_is_one_sentence(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    source, name = find_backbone(backbone)
    with pytest.raises(UserError, match=r"model\.backbone: .* cannot be read: .*; check the name, the folder") as error:
        source.settings(name)
    assert "\n" not in str(error.value)


def test_a_wrong_name_gets_the_closest() -> None:
    with pytest.raises(UserError, match=r"timm has no classification network 'resnet1'; did you mean 'resnet1"):
        find_backbone("timm:resnet1")
    with pytest.raises(UserError, match=r"open_clip has no classification network 'ViT-B-3'"):
        find_backbone("open_clip:ViT-B-3")


def test_sizes_that_a_network_does_not_take() -> None:
    backbone, _, _ = made("classifier")
    assert not refused_size(backbone, 32)
    assert refused_size(backbone, 40)


class Around(nn.Module):
    """Two blocks, with a connection around the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.blocks = nn.ModuleList([nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)])
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to logits [B, 2]."""
        start = hidden = self.first(images)
        for block in self.blocks:
            hidden = block(hidden)
        return self.head((hidden + start).mean((2, 3)))


def test_a_connection_around_the_last_block_is_refused() -> None:
    with pytest.raises(UserError, match="Around has connections around its last block; use head, lora or all"):
        module_cut(Around().eval(), "last_block", 8)


def test_without_blocks_there_is_no_last_one() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    with pytest.raises(UserError, match="has no list of blocks"):
        module_cut(network, "last_block", 2)


@pytest.mark.parametrize("source", ["timm", "hf", "open_clip"])
@pytest.mark.parametrize("settings", ["{", "[]", '{"architecture": "no", "model_type": "no"}'])
def test_damaged_settings_in_a_model_file_are_one_sentence(source: str, settings: str) -> None:
    with pytest.raises(UserError, match=f"model.backbone: {source}:gone cannot be read"):
        build_network(ModelConfig(backbone=f"{source}:gone", weights="none"), 2, 0, Architecture(settings=settings))


@pytest.mark.parametrize("known", [[[], [1]], [[1]], [[1], ["a"]], [[1], 2], [[-1], [2]]])
def test_damaged_known_classes_in_a_header(known: object) -> None:
    fields = {"kind": "policy", "backbone": "resnet18", "classes": ["a", "b"], "size": 32, "resize": 32, "known": known}
    with pytest.raises(Damaged, match="'known' in its header is not a list of category numbers for each class"):
        ModelHeader.of({KEY: json.dumps(fields)})
