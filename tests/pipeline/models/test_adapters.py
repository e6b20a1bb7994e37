"""Low-rank adapters: they start without effect, are the only part that is trained, and are merged when saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.hub_models import made, random_images
from support.installed import needs_packages
from torch import nn

from pipeline.config import ModelConfig
from pipeline.errors import UserError
from pipeline.models.adapters import adapter_weights, add_adapters, merged, save_trained
from pipeline.models.backbone import Architecture, build_network
from pipeline.models.model_file_header import ModelHeader
from pipeline.models.policy import final_linear
from pipeline.models.serialization import load_model
from pipeline.models.sources import find_backbone

pytestmark = needs_packages("peft", "transformers")

KINDS = ["classifier", "open_clip", "tiny"]


def network_of(kind: str) -> tuple[nn.Module, int, ModelHeader]:
    """A network, its image size, and the header of a file of it."""
    classes = ("a", "b", "c")
    if kind == "tiny":
        return (
            build_network(ModelConfig(backbone="tiny", weights="none"), 3, 0),
            16,
            ModelHeader("policy", kind, classes, 16, 16),
        )
    backbone, _, size = made(kind)
    source, _, name = backbone.partition(":")
    settings = find_backbone(backbone)[0].settings(name)
    network = build_network(ModelConfig(backbone=backbone), 3, 0, Architecture(settings=settings))
    return network, size, ModelHeader("policy", name, classes, size, size, source=source, settings=settings)


def train(network: nn.Module, size: int) -> None:
    """Some steps that change adapters and head."""
    trained = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.5)
    for _ in range(3):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(random_images(size)), torch.arange(3)).backward()
        optimiser.step()


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_are_trained_and_merged(kind: str, tmp_path: Path) -> None:
    network, size, header = network_of(kind)
    with torch.no_grad():
        final_linear(network).weight.normal_(generator=torch.Generator().manual_seed(0))
    x = random_images(size)
    plain = {name: value.clone() for name, value in network.state_dict().items()}
    before = network(x).detach()
    add_adapters(network, 4)
    assert torch.allclose(network(x), before, atol=1e-5), "they start without effect; fused attention rounds otherwise"
    assert adapter_weights(network)
    train(network, size)
    after = network(x).detach()
    assert float((after - before).abs().max()) > 0.1
    whole = merged(network)
    assert list(whole.state_dict()) == list(plain), "the names are those of the network without adapters"
    assert torch.allclose(whole(x), after, atol=1e-4)
    assert adapter_weights(network), "the copy was merged, not the network"
    head = {parameter.data_ptr() for parameter in final_linear(network).parameters()}
    for name, value in network.state_dict().items():
        if "lora_" not in name and not name.endswith("num_batches_tracked") and value.data_ptr() not in head:
            assert torch.equal(value, plain[name.replace(".base_layer", "")]), name
    files = save_trained(tmp_path, network, header)
    assert files == ["model.safetensors", "adapters.safetensors"]
    again, _, _ = load_model(tmp_path / "model.safetensors", "policy")
    assert torch.allclose(again(x), whole(x), atol=1e-5)
    assert set(load_file(tmp_path / "adapters.safetensors")) == set(adapter_weights(network))


def test_a_network_without_adapters_is_itself(tmp_path: Path) -> None:
    network, _, header = network_of("tiny")
    assert merged(network) is network
    assert save_trained(tmp_path, network, header) == ["model.safetensors"]


def test_the_same_start_every_time() -> None:
    one, other = (network_of("tiny")[0] for _ in range(2))
    torch.manual_seed(5)
    add_adapters(one, 4)
    torch.manual_seed(6)
    add_adapters(other, 4)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_missing_peft_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.models.sources import extras

    def missing(module: str) -> Any:
        raise ModuleNotFoundError(f"No module named '{module}'", name=module)

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(UserError, match=r"'lora' needs the package peft; run `pip install 'image-rlhf\[lora\]'`"):
        add_adapters(network_of("tiny")[0], 4)
