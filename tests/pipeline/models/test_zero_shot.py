"""Zero-shot references: text models and known classes, compared with the libraries' own probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.hub_models import LABELS, made, random_images
from support.installed import needs_packages

from pipeline.config import ModelConfig
from pipeline.errors import UserError
from pipeline.models.backbone import Architecture, build_network
from pipeline.models.known_classes import Categories, KnownClasses
from pipeline.models.policy import final_linear
from pipeline.models.serialization import ModelHeader, load_model, save_model, weights_hash
from pipeline.models.sources import find_backbone

pytestmark = needs_packages("timm", "transformers", "open_clip")

PROMPTS = [["a photo of an ant.", "an ant"], ["a photo of a bee.", "a bee"], ["a photo of a cat.", "a cat"]]


@torch.no_grad()
@pytest.mark.long
def test_clip_zero_shot_is_open_clips_own() -> None:
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
    x = random_images(size)
    features = theirs.encode_image(x, normalize=True)
    expected = (theirs.logit_scale.exp() * features @ classifier).softmax(-1)
    assert torch.allclose(network(x).softmax(-1), expected, atol=1e-5)
    assert not any("transformer.resblocks" in key and key.startswith("transformer") for key in network.state_dict())


@torch.no_grad()
@pytest.mark.parametrize(("kind", "padding"), [("hf_clip", True), ("siglip", "max_length")])
def test_zero_shot_is_transformers_own(kind: str, padding: bool | str) -> None:
    """SigLIP pads its texts to their full length, and its bias is the same for all classes."""
    from transformers import AutoModel, AutoTokenizer

    backbone, folder, size = made(kind)
    source, name = find_backbone(backbone)
    network = build_network(ModelConfig(backbone=backbone), 2, seed=0)
    texts = ["a photo of an ant.", "bee"]
    weight = source.text_head(name, "imagenet", [[text] for text in texts])
    assert weight is not None
    final_linear(network).weight.copy_(weight)
    theirs = AutoModel.from_pretrained(folder).eval()
    tokens = AutoTokenizer.from_pretrained(folder)(texts, padding=padding, return_tensors="pt")
    x = random_images(size)
    expected = theirs(pixel_values=x, **tokens).logits_per_image.softmax(-1)
    assert expected.std(0).min() > 0
    assert torch.allclose(network(x).softmax(-1), expected, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["timm", "classifier"])
def test_settings_do_not_replace_the_weights(kind: str) -> None:
    """A run passes them along with published weights."""
    backbone, _, _size = made(kind)
    source, name = find_backbone(backbone)
    groups = ((0,), (1, 2))
    one, other = (
        build_network(ModelConfig(backbone=backbone), 2, 3, Architecture(groups, settings))
        for settings in ("", source.settings(name))
    )
    assert weights_hash(one) == weights_hash(other)


@torch.no_grad()
def test_known_classes_of_a_classifier() -> None:
    """Two categories of one class are summed; the network then is the published one."""
    from transformers import AutoModelForImageClassification

    backbone, folder, size = made("classifier")
    groups = Categories("it", LABELS).groups(["insect", "cat"], {"insect": ["ant", "bee"], "cat": ["tabby"]})
    network = build_network(ModelConfig(backbone=backbone), 2, 0, Architecture(groups))
    assert isinstance(network, KnownClasses)
    network.use_own_head()
    x = random_images(size)
    theirs = AutoModelForImageClassification.from_pretrained(folder).eval()(pixel_values=x).logits.softmax(-1)
    expected = torch.stack([theirs[:, 0] + theirs[:, 1], theirs[:, 3]], 1)
    assert torch.allclose(network(x).softmax(-1), expected / expected.sum(-1, keepdim=True), atol=1e-5)


NAMES = Categories("it", LABELS)


@pytest.mark.parametrize(
    ("classes", "names", "groups"),
    [
        (["ant", "bee"], {}, ((0,), (1,))),
        (["ants", "BEE"], {"ants": ["Ant"]}, ((0,), (1,))),
        (["cat", "x"], {"cat": ["tabby cat"], "x": [4, 0]}, ((3,), (4, 0))),
        (["cat", "x"], {"cat": ["tabby", 3], "x": [4]}, ((3,), (4,))),
        (["cat", "ant"], {"cat": ["tabby, tabby cat"]}, ((3,), (0,))),
    ],
)
def test_categories_are_found_by_name_synonym_and_number(
    classes: list[str], names: dict[str, Any], groups: tuple[tuple[int, ...], ...]
) -> None:
    assert NAMES.groups(classes, names) == groups


@pytest.mark.parametrize(
    ("classes", "names", "message"),
    [
        (["ants", "bee"], {}, "it knows no category 'ants'; close ones are 'ant'"),
        (
            ["bird", "ant"],
            {"bird": ["crane"]},
            r"'crane' is ambiguous .*: 2 \(crane\), 4 \(crane, machine\); write the number",
        ),
        (["ant", "bee"], {"bee": ["ant"]}, r"'ant' \(number 0\) is listed for 'ant' and for 'bee'"),
        (["ant", "bee"], {"wasp": ["bee"]}, "'wasp' is not one of the classes ant, bee"),
        (["ant", "bee"], {"bee": [5]}, "it has no category 5; its numbers are 0 to 4"),
    ],
)
def test_what_does_not_name_categories_is_refused(classes: list[str], names: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        NAMES.groups(classes, names)


@pytest.mark.parametrize("number", [-1, 1000])
def test_a_model_file_with_categories_that_do_not_exist(tmp_path: Path, number: int) -> None:
    architecture = Architecture(((1,), (2, 3)))
    network = build_network(ModelConfig(backbone="squeezenet1_1", weights="none"), 2, 0, architecture)
    assert isinstance(network, KnownClasses)
    header = ModelHeader("policy", "squeezenet1_1", ("a", "b"), 64, 64, known=architecture.known)
    save_model(tmp_path / "good.safetensors", network, header)
    load_model(tmp_path / "good.safetensors", "policy")
    network.index[1, 1] = number
    save_model(tmp_path / "bad.safetensors", network, header)
    with pytest.raises(
        UserError, match=rf"damaged model file: it names the category {number}, and its numbers are 0 to 999"
    ):
        load_model(tmp_path / "bad.safetensors", "policy")
