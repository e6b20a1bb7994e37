"""Model files that were damaged, changed or made by something else: each is refused with a sentence that says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.fuzzing import bounded
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.errors import UserError
from pipeline.models.backbone import build_network
from pipeline.models.policy import final_linear
from pipeline.models.predictor import Predictor
from pipeline.models.reward_model import RewardModel
from pipeline.models.serialization import ModelHeader, load_model, save_model

BACKBONE = "shufflenet_v2_x0_5"  # the smallest
HEADER: dict[str, Any] = {"kind": "policy", "backbone": BACKBONE, "classes": ["a", "b", "c"], "size": 16, "resize": 16}


@pytest.fixture(scope="module")
def whole() -> nn.Module:
    network = build_network(ModelConfig(backbone=BACKBONE, weights="none"), 3, seed=0)
    nn.init.normal_(final_linear(network).weight)
    return network


@pytest.fixture
def model(whole: nn.Module, tmp_path: Path) -> Path:
    """A policy that lies beside no manifest."""
    path = tmp_path / "alone" / "model.safetensors"
    save_model(path, whole, ModelHeader("policy", BACKBONE, ("a", "b", "c"), 16, 16))
    return path


def rewritten(
    path: Path, header: object = None, change: Callable[[dict[str, Tensor]], object] = lambda _: None
) -> None:
    """The file with another header, or with changed tensors."""
    tensors = load_file(path)
    change(tensors)
    text = json.dumps(HEADER) if header is None else header if isinstance(header, str) else json.dumps(header)
    save_file(tensors, path, {"image_rlhf": text})


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("{", "its header is not JSON"),
        ("[" * 100_000, "its header is not JSON"),
        ("[]", "its header is not a JSON object"),
        ({name: HEADER[name] for name in HEADER if name != "size"}, "its header has no 'size'"),
        (HEADER | {"size": "16"}, "'size' in its header is not of type int"),
        (HEADER | {"size": True}, "'size' in its header is not of type int"),
        (HEADER | {"classes": "abc"}, "'classes' in its header is not of type list"),
        (HEADER | {"more": 1}, "unknown field 'more'"),
        (HEADER | {"kind": "other"}, "its kind is 'other'"),
        (HEADER | {"backbone": "resnet19"}, "no classification network 'resnet19'"),
        (HEADER | {"classes": ["a", "b", "a"]}, "the class 'a' twice"),
        (HEADER | {"classes": ["a", "b", 3]}, "a class name is empty or not a string"),
        (HEADER | {"classes": ["a", "b", ""]}, "a class name is empty or not a string"),
        (HEADER | {"classes": ["a"]}, "it has 1 classes"),
        (HEADER | {"classes": [str(n) for n in range(50_001)]}, "it has 50001 classes"),
        (HEADER | {"classes": ["a", "b"]}, "'fc.weight' has shape [3, 1024], not [2, 1024]"),
        (HEADER | {"size": 0, "resize": 0}, "its image size is 0"),
        (HEADER | {"size": 20_000, "resize": 20_000}, "its image size is 20000"),
        (HEADER | {"size": 16, "resize": 8}, "its image size is 16 after resizing to 8"),
        (HEADER | {"backbone": "squeezenet1_1"}, "'features.0.weight' is missing"),
        (HEADER | {"backbone": "vit_b_16"}, "is missing"),
    ],
)
def test_headers(model: Path, header: object, part: str) -> None:
    rewritten(model, header)
    with pytest.raises(UserError) as refused:
        Predictor.load(model)
    assert str(refused.value).startswith(f"{model}: damaged model file: ")
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_header_takes_no_memory(model: Path) -> None:
    """Shapes are compared before memory is taken; vgg16 with 50,000 classes would need 1.3 GB."""
    rewritten(model, HEADER | {"backbone": "vgg16", "classes": [str(n) for n in range(50_000)]})
    with bounded(memory=200 * 2**20), pytest.raises(UserError, match="is missing"):
        load_model(model, "policy")


def as_integers(tensors: dict[str, Tensor]) -> None:
    tensors["fc.weight"] = tensors["fc.weight"].int()


def with_nan(tensors: dict[str, Tensor]) -> None:
    tensors["conv1.0.weight"][0, 0, 0, 0] = float("nan")


def with_inf(tensors: dict[str, Tensor]) -> None:
    tensors["conv1.1.running_var"][0] = float("inf")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda t: t.pop("fc.weight"), "'fc.weight' is missing, for a shufflenet_v2_x0_5 of 3 classes"),
        (lambda t: t.update({"fc.bias": torch.zeros(4)}), "'fc.bias' has shape [4], not [3]"),
        (lambda t: t.update({"fc.weight": torch.zeros(3)}), "'fc.weight' has shape [3], not [3, 1024]"),
        (as_integers, "'fc.weight' has type torch.int32, not torch.float32"),
        (with_nan, "'conv1.0.weight' has NaN or Inf"),
        (with_inf, "'conv1.1.running_var' has NaN or Inf"),
    ],
)
def test_tensors(model: Path, change: Callable[[dict[str, Tensor]], object], part: str) -> None:
    rewritten(model, change=change)
    with pytest.raises(UserError) as refused:
        Predictor.load(model.parent)
    assert f"{model}: damaged model file: {part}" in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\xff" * 8, b"\xff\xff\xff\xff\0\0\0\0{}", b"hello"])
def test_files_of_another_kind(model: Path, data: bytes) -> None:
    model.write_bytes(data)
    with pytest.raises(UserError, match="damaged model file"):
        Predictor.load(model)


def test_a_whole_file_is_read_as_it_was(model: Path) -> None:
    before = Predictor.load(model).weights
    rewritten(model)
    assert Predictor.load(model).weights == before


@pytest.fixture
def reward(whole: nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "alone" / "reward.safetensors"
    path.parent.mkdir()
    RewardModel([whole, whole], [1.0, 2.0], 1.0).save(path, ModelHeader("reward", BACKBONE, ("a", "b", "c"), 16, 16))
    return path


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda t: t.pop("reward.tie"), "'reward.tie' is missing"),
        (lambda t: t.pop("reward.scales"), "'reward.scales' is missing"),
        (lambda t: t.update({"reward.scales": torch.zeros(2, 2)}), "the wrong shape"),
        (lambda t: t.update({"reward.scales": torch.zeros(0)}), "the wrong shape"),
        (lambda t: t.update({"reward.scales": torch.ones(1000)}), "the wrong shape"),
        (lambda t: t.update({"reward.scale": torch.zeros(1)}), "not positive"),
        (lambda t: t.update({"reward.scale": torch.tensor(float("nan"))}), "'reward.scale' has NaN or Inf"),
        (lambda t: t.update({"member.1.fc.bias": torch.zeros(4)}), "member 1: 'fc.bias' has shape [4], not [3]"),
        (lambda t: t.update({"member.1.none": torch.zeros(4)}), "member 1: unexpected 'none'"),
    ],
)
def test_reward_models(reward: Path, change: Callable[[dict[str, Tensor]], object], part: str) -> None:
    RewardModel.load(reward)
    rewritten(reward, HEADER | {"kind": "reward"}, change)
    with pytest.raises(UserError) as refused:
        RewardModel.load(reward)
    assert part in str(refused.value)


def test_diverged_weights_are_not_saved(model: Path) -> None:
    network, header, _ = load_model(model, "policy")
    before = model.read_bytes()
    next(network.parameters()).data[0] = float("inf")
    with pytest.raises(UserError, match=r"training diverged: 'conv1\.0\.weight' has NaN or Inf"):
        save_model(model, network, header)
    assert model.read_bytes() == before
