"""Build the network that `model.backbone` names, and cut it into a frozen prefix and a trainable suffix.

`trainable` determines the cut: before the last linear layer (`head`), before the last block of layers that holds
weights (`last_block`), or before everything (`all`: the prefix is empty). Networks come from the sources in
pipeline/models/sources; each keeps its names of weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pipeline.config import ModelConfig
from pipeline.config.base import Trainable
from pipeline.models.known_classes import Groups, KnownClasses
from pipeline.models.sources import BackboneSource, find_backbone
from pipeline.models.sources.torchvision_source import TorchvisionSource


@dataclass(frozen=True)
class Architecture:
    """What determines a network's layers, besides its name and the number of classes.

    Attributes:
        known: for each class, the numbers of the categories that mean it; empty if the published head is not used.
        settings: of the source (`BackboneSource.settings`).
    """

    known: Groups = ()
    settings: str = ""


PLAIN = Architecture()


def build_network(config: ModelConfig, classes: int, seed: int, architecture: Architecture = PLAIN) -> nn.Module:
    """A network with `classes` outputs, in the channels-last layout, in eval mode.

    Args:
        config: backbone and weights: `none` (random from `seed`), a file, or a name that the source knows (`imagenet`).

    Raises:
        UserError: unknown backbone; weights that cannot be downloaded, read or loaded.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = construct(config.backbone, classes, config.weights, seed, architecture)
    return network.to(memory_format=torch.channels_last).eval()


def construct(backbone: str, classes: int, weights: str, seed: int, architecture: Architecture) -> nn.Module:
    """A network as its source builds it.

    Raises:
        UserError: as `build_network`.
    """
    source, name = find_backbone(backbone, check=not architecture.settings)
    more = {"settings": architecture.settings} if architecture.settings else {}  # not all sources have any
    if not architecture.known:
        return source.build(name, classes, weights, seed, **more)
    own = source.own_head(name, weights, **more)
    return KnownClasses(own.body, own.head, own.features, own.is_map, architecture.known)


@dataclass(frozen=True, eq=False)
class Split:
    """A network in two pieces that share its parameters: suffix(prefix(x)) is network(x).

    Attributes:
        prefix: frozen; None if it is empty, so that its output is the image.
        suffix: trained; maps the prefix's output to [B, C].
    """

    network: nn.Module
    prefix: nn.Module | None
    suffix: nn.Module

    def trained(self) -> list[nn.Parameter]:
        """The parameters that are trained."""
        return [p for p in self.suffix.parameters() if p.requires_grad]


def split(network: nn.Module, trainable: Trainable, source: BackboneSource | None = None, size: int = 224) -> Split:
    """Cut a network made by `build_network`; the prefix is frozen and in eval mode, the suffix's gradients are on.

    Args:
        source: of the network; None for torchvision.
        size: side of the images in pixels.

    Raises:
        UserError: the network cannot be cut there.
    """
    network.requires_grad_(True)
    prefix, suffix = (source or TorchvisionSource()).cut(network, trainable, size)
    if prefix is None:
        return Split(network, None, suffix)
    network.requires_grad_(False)
    for parameter in suffix.parameters():
        parameter.requires_grad_(True)
    return Split(network, prefix.eval(), suffix.eval())
