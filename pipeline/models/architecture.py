"""torchvision's classification networks by name: construction, this task's head, and which image sizes they take."""

from __future__ import annotations

import difflib
import functools
from typing import Any

import torch
import torchvision
from torch import nn

from pipeline.errors import UserError

IMAGENET_CLASSES = 1000


def backbone_names() -> list[str]:
    return sorted(torchvision.models.list_models(module=torchvision.models))


def construct(name: str, weights: str | None) -> nn.Module:
    """torchvision's network with 1,000 outputs.

    Args:
        weights: `DEFAULT` for ImageNet's; None for random ones.

    Raises:
        UserError: unknown backbone.
        OSError: the weights cannot be downloaded.
    """
    if name not in backbone_names():
        close = difflib.get_close_matches(name, backbone_names(), n=1, cutoff=0.0)
        raise UserError(
            f"model.backbone: torchvision has no classification network '{name}'; did you mean '{close[0]}'?"
        )
    options = (
        {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") and not weights else {}
    )
    network: nn.Module = torchvision.models.get_model(name, weights=weights, **options)
    if weights and hasattr(network, "aux_logits"):  # the auxiliary classifiers serve training from scratch only
        setattr(network, "aux_logits", False)  # noqa: B010  a module's attributes are typed as modules
        for part in ("aux1", "aux2", "AuxLogits"):
            if hasattr(network, part):
                setattr(network, part, None)
    if hasattr(network, "transform_input"):  # torchvision sets it with ImageNet's weights only, and no file records it
        setattr(network, "transform_input", True)  # noqa: B010
    return network


def _head_path(network: nn.Module) -> str:
    """Dotted name of the layer that yields the class scores: the last one with ImageNet's number of outputs."""
    outputs = [
        name
        for name, module in network.named_modules()
        if IMAGENET_CLASSES in (getattr(module, "out_features", None), getattr(module, "out_channels", None))
    ]
    if not outputs:
        raise UserError(
            "model.backbone: found no final linear layer to put this task's classes on; choose another network"
        )
    return outputs[-1]


def replace_head(network: nn.Module, classes: int) -> None:
    """Put a linear layer of `classes` outputs, all zero, where ImageNet's stood.

    A zero head says nothing about any class: training starts from the uniform distribution, and a network that is
    never trained is the uniform policy. SqueezeNet's head (a 1 x 1 convolution and ReLU before the pooling, which
    cannot output a negative score) becomes pooling and a linear layer, like every other network's.
    """
    path = _head_path(network)
    old: Any = network.get_submodule(path)
    if isinstance(network, torchvision.models.SqueezeNet):
        head = nn.Linear(old.in_channels, classes)
        network.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    else:
        parent, _, leaf = path.rpartition(".")
        head = nn.Linear(old.in_features, classes)
        setattr(network.get_submodule(parent), leaf, head)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)


@functools.lru_cache(maxsize=4)
def network_shape(backbone: str, classes: int) -> nn.Module:
    """A network without memory for its weights (torch's meta device), to compare shapes with.

    Raises:
        UserError: unknown backbone.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                network = construct(backbone, None)
                replace_head(network, classes)
        except NotImplementedError:  # RegNet's constructor computes with the numbers of a tensor
            network = construct(backbone, None)
            replace_head(network, classes)
    return network.to("meta").eval()


@functools.lru_cache(maxsize=16)
def refused_size(backbone: str, size: int) -> str:
    """Why a backbone cannot take images of `size` pixels; nothing if it can.

    Raises:
        UserError: unknown backbone.
    """
    network = network_shape(backbone, 2)
    expected = getattr(network, "image_size", None)  # vision transformers are made for one size
    if isinstance(expected, int) and expected != size:
        return f"it takes {expected} pixels only"
    try:
        with torch.no_grad():
            network(torch.empty(1, 3, size, size, device="meta"))
    except (RuntimeError, AssertionError, ValueError, IndexError, ZeroDivisionError) as error:
        return (str(error) or type(error).__name__).splitlines()[0]
    return ""


def require_size(backbone: str, size: int) -> None:
    """Raise UserError if the backbone cannot take images of `images.size` pixels."""
    if reason := refused_size(backbone, size):
        raise UserError(
            f"images.size: {backbone} cannot take images of {size} pixels ({reason}); choose another size, or another "
            "network as model.backbone"
        )
