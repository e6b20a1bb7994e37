"""Networks without memory for their weights, to check a backbone's shapes and image sizes."""

from __future__ import annotations

import functools

import torch
from torch import nn

from pipeline.errors import UserError
from pipeline.models.backbone import PLAIN, Architecture, construct
from pipeline.models.sources import find_backbone


@functools.lru_cache(maxsize=4)
def network_shape(backbone: str, classes: int, architecture: Architecture = PLAIN) -> nn.Module:
    """A network of `classes` outputs without memory for its weights (torch's meta device), to compare shapes with.

    Raises:
        UserError: unknown backbone.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                network = construct(backbone, classes, "none", 0, architecture)
        except NotImplementedError:  # RegNet's constructor reads values of a tensor
            network = construct(backbone, classes, "none", 0, architecture)
    return network.to("meta").eval()


@functools.lru_cache(maxsize=16)
def refused_size(backbone: str, size: int, architecture: Architecture = PLAIN) -> str:
    """Why a backbone does not take images of `size` pixels; empty if it does.

    Raises:
        UserError: unknown backbone.
    """
    network = network_shape(backbone, len(architecture.known) or 2, architecture)
    expected = getattr(network, "image_size", None)  # torchvision's transformers
    if not architecture.settings:
        source, name = find_backbone(backbone)
        expected = source.data_configuration(name).size or expected
    if isinstance(expected, int) and expected != size:
        return f"it takes only {expected} pixels"
    try:
        with torch.no_grad():
            network(torch.empty(1, 3, size, size, device="meta"))
    except (RuntimeError, AssertionError, ValueError, IndexError, ZeroDivisionError) as error:
        return (str(error) or type(error).__name__).splitlines()[0]
    return ""


def require_size(backbone: str, size: int, architecture: Architecture = PLAIN) -> None:
    """Raise UserError if the backbone does not take images of `images.size` pixels."""
    if reason := refused_size(backbone, size, architecture):
        raise UserError(
            f"images.size: {backbone} does not take images of {size} pixels ({reason}); set another size, or another "
            "model.backbone"
        )
