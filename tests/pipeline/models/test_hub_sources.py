"""timm, transformers and open_clip: tiny models that the libraries saved, compared with the libraries' own results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.hub_models import LABELS, MEAN, STD, clip_folder, hf_classifier, hf_clip, hf_tower, timm_folder
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.errors import UserError
from pipeline.models.backbone import Architecture, build_network, split
from pipeline.models.known_classes import Categories, KnownClasses
from pipeline.models.model_file_header import ModelHeader
from pipeline.models.network_shape import refused_size
from pipeline.models.policy import final_linear
from pipeline.models.serialization import load_model, save_model, weights_hash
from pipeline.models.sources import find_backbone

pytest.importorskip("timm", reason="the extras timm, hf and open_clip are not installed")
pytest.importorskip("transformers", reason="the extras timm, hf and open_clip are not installed")
pytest.importorskip("open_clip", reason="the extras timm, hf and open_clip are not installed")

MAKERS = {
    "timm": (timm_folder, "timm", 160),
    "classifier": (hf_classifier, "hf", 32),
    "tower": (hf_tower, "hf", 28),
    "hf_clip": (hf_clip, "hf", 32),
    "open_clip": (clip_folder, "open_clip", 32),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[str, Path, int]]:
    """`model.backbone`, folder and image size of a saved model, each made once."""
    done: dict[str, tuple[str, Path, int]] = {}

    def make(kind: str) -> tuple[str, Path, int]:
        if kind not in done:
            maker, source, size = MAKERS[kind]
            folder = maker(tmp_path_factory.mktemp(kind) / "model")
            done[kind] = (f"{source}:{folder}", folder, size)
        return done[kind]

    return make


def images(size: int, count: int = 3) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def randomise_head(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in final_linear(network).parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def test_timm_logits_and_data_configuration(made: Any) -> None:
    import timm

    backbone, folder, size = made("timm")
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    source, name = find_backbone(backbone)
    own = source.own_head(name, "imagenet")
    x = images(size)
    assert torch.allclose(own.head(own.body.eval()(x)), theirs(x), atol=1e-5)
    data = source.data_configuration(name)
    assert (data.normalisation.mean, data.normalisation.std) == (MEAN, STD)
    assert (data.interpolation, data.usual_size, data.crop) == ("bicubic", size, 0.875)
    assert source.categories(name) == LABELS


@torch.no_grad()
def test_transformers_logits_and_data_configuration(made: Any) -> None:
    from transformers import AutoModelForImageClassification

    backbone, folder, size = made("classifier")
    theirs = AutoModelForImageClassification.from_pretrained(folder).eval()
    source, name = find_backbone(backbone)
    own = source.own_head(name, "imagenet")
    x = images(size)
    assert torch.allclose(own.head(own.body.eval()(x)), theirs(pixel_values=x).logits, atol=1e-5)
    data = source.data_configuration(name)
    assert (data.normalisation.mean, data.normalisation.std) == (MEAN, STD)
    assert (data.interpolation, data.usual_size, data.crop) == ("bicubic", 32, 1.0)
    assert source.categories(name) == LABELS


@torch.no_grad()
def test_a_vision_tower_gives_its_pooled_output(made: Any) -> None:
    from transformers import AutoModel

    backbone, folder, size = made("tower")
    network = build_network(ModelConfig(backbone=backbone), 3, seed=0)
    x = images(size)
    pieces = split(network, "head", find_backbone(backbone)[0], size)
    assert pieces.prefix is not None
    theirs = AutoModel.from_pretrained(folder).eval()(pixel_values=x).pooler_output
    assert torch.allclose(pieces.prefix(x), theirs, atol=1e-5)
    data = find_backbone(backbone)[0].data_configuration(str(folder))
    assert (data.usual_size, data.crop) == (28, 28 / 32)


PROMPTS = [["a photo of an ant.", "an ant"], ["a photo of a bee.", "a bee"], ["a photo of a cat.", "a cat"]]


@torch.no_grad()
def test_clip_zero_shot_is_open_clips_own(made: Any) -> None:
    """Two templates, averaged as open_clip does; the text half is read once, and not part of the network."""
    import open_clip

    backbone, folder, size = made("open_clip")
    source, name = find_backbone(backbone)
    network = build_network(ModelConfig(backbone=backbone), 3, seed=0)
    weight = source.text_head(name, "imagenet", PROMPTS)
    assert weight is not None
    final_linear(network).weight.copy_(weight)
    theirs = open_clip.create_model(f"local-dir:{folder}").eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    names = ["ant", "bee", "cat"]
    templates = ["a photo of a{}.", "a{}"]
    filled = [[t.format(f"{'n' if n == 'ant' else ''} {n}") for t in templates] for n in names]
    assert filled == PROMPTS
    classifier = open_clip.build_zero_shot_classifier(
        theirs, tokenizer, [f"{'n' if n == 'ant' else ''} {n}" for n in names], templates
    )
    x = images(size)
    features = theirs.encode_image(x, normalize=True)
    expected = (theirs.logit_scale.exp() * features @ classifier).softmax(-1)
    assert torch.allclose(network(x).softmax(-1), expected, atol=1e-5)
    assert not any("transformer.resblocks" in key and key.startswith("transformer") for key in network.state_dict())


@torch.no_grad()
def test_clip_of_transformers(made: Any) -> None:
    from transformers import AutoModel, AutoTokenizer

    backbone, folder, size = made("hf_clip")
    source, name = find_backbone(backbone)
    network = build_network(ModelConfig(backbone=backbone), 2, seed=0)
    texts = ["a photo of an ant.", "a photo of a bee."]
    weight = source.text_head(name, "imagenet", [[text] for text in texts])
    assert weight is not None
    final_linear(network).weight.copy_(weight)
    theirs = AutoModel.from_pretrained(folder).eval()
    tokens = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    x = images(size)
    expected = theirs(pixel_values=x, **tokens).logits_per_image
    assert torch.allclose(network(x), expected, atol=1e-4)


@pytest.mark.parametrize("trainable", ["head", "last_block", "all"])
@pytest.mark.parametrize("kind", list(MAKERS))
def test_cuts_are_exact_and_share_parameters(made: Any, kind: str, trainable: Any) -> None:
    """suffix(prefix(x)) is network(x), bit for bit and for any batch; a step on the suffix changes the network, not the prefix."""
    backbone, _, size = made(kind)
    network = build_network(ModelConfig(backbone=backbone), 3, seed=0)
    randomise_head(network)
    pieces = split(network, trainable, find_backbone(backbone)[0], size)
    x = images(size)
    with torch.no_grad():
        features = x if pieces.prefix is None else pieces.prefix(x)
        assert torch.equal(pieces.suffix(features), network(x))
        assert torch.equal(pieces.suffix(features[:2]), network(x[:2]))
    trained = {id(p) for p in pieces.suffix.parameters()}
    own = {id(p) for p in network.parameters()}
    assert trained <= own
    assert {id(p) for p in network.parameters() if p.requires_grad} == trained
    assert (trained == own) == (trainable == "all")
    pieces.suffix(features).sum().backward()
    assert all(p.grad is not None for p in final_linear(network).parameters())


@pytest.mark.parametrize("kind", list(MAKERS))
def test_model_files_need_no_folder(made: Any, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
    x = images(size)
    with torch.no_grad():
        assert torch.equal(again(x), network(x))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["timm", "classifier"])
def test_settings_do_not_replace_the_weights(made: Any, kind: str) -> None:
    """A run passes them along with published weights."""
    backbone, _, size = made(kind)
    source, name = find_backbone(backbone)
    groups = ((0,), (1, 2))
    one, other = (
        build_network(ModelConfig(backbone=backbone), 2, 0, Architecture(groups, settings))
        for settings in ("", source.settings(name))
    )
    assert weights_hash(one) == weights_hash(other)


@torch.no_grad()
def test_known_classes_of_a_classifier(made: Any) -> None:
    """Two categories of one class are summed; the network then is the published one."""
    from transformers import AutoModelForImageClassification

    backbone, folder, size = made("classifier")
    groups = Categories("it", LABELS).groups(["insect", "cat"], {"insect": ["ant", "bee"], "cat": ["tabby"]})
    network = build_network(ModelConfig(backbone=backbone), 2, 0, Architecture(groups))
    assert isinstance(network, KnownClasses)
    network.use_own_head()
    x = images(size)
    theirs = AutoModelForImageClassification.from_pretrained(folder).eval()(pixel_values=x).logits.softmax(-1)
    expected = torch.stack([theirs[:, 0] + theirs[:, 1], theirs[:, 3]], 1)
    assert torch.allclose(network(x).softmax(-1), expected / expected.sum(-1, keepdim=True), atol=1e-5)


@pytest.mark.parametrize("source", ["timm", "hf", "open_clip"])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    from pipeline.models.sources import extras

    def missing(module: str) -> Any:
        raise ModuleNotFoundError(f"No module named '{module}'", name=module)

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(UserError, match=rf"'{source}:' needs the package .*pip install 'image-rlhf\[{source}\]'"):
        find_backbone(f"{source}:hf-hub:a/b")[0].settings(f"hf-hub:a/{source}")


@pytest.mark.parametrize("backbone", ["hf:/nowhere/at-all", "open_clip:hf-hub:", "timm:hf-hub:nobody/nothing"])
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


def test_sizes_that_a_network_does_not_take(made: Any) -> None:
    backbone, _, _ = made("classifier")
    assert not refused_size(backbone, 32)
    assert refused_size(backbone, 40)
