"""Where networks come from: the sources that `model.backbone` names. CONTRIBUTING.md shows how to add one."""

from __future__ import annotations

from feedback_store.errors import FeedbackError
from feedback_store.registry import Registry
from pipeline.errors import UserError
from pipeline.models.sources.base import BackboneSource, DataConfiguration, fit_weights
from pipeline.models.sources.hf_source import HuggingFaceSource
from pipeline.models.sources.open_clip_source import OpenClipSource
from pipeline.models.sources.timm_source import TimmSource
from pipeline.models.sources.torchvision_source import TorchvisionSource

__all__ = ["BACKBONE_SOURCES", "BackboneSource", "DataConfiguration", "find_backbone", "fit_weights", "parse_backbone"]

DEFAULT_SOURCE = "torchvision"
BACKBONE_SOURCES: Registry[BackboneSource] = Registry("backbone source", "image_rlhf.backbone_sources")
BACKBONE_SOURCES.register(DEFAULT_SOURCE, TorchvisionSource())
BACKBONE_SOURCES.register("timm", TimmSource())
BACKBONE_SOURCES.register("hf", HuggingFaceSource())
BACKBONE_SOURCES.register("open_clip", OpenClipSource())


def parse_backbone(backbone: str) -> tuple[str, str]:
    """Source and name of a network as `model.backbone` names it: `torchvision:resnet18`, or `resnet18` for short."""
    source, colon, name = backbone.partition(":")
    return (source, name) if colon else (DEFAULT_SOURCE, backbone)


def full_name(source: str, name: str) -> str:
    """The inverse of `parse_backbone`, without the default source."""
    return name if source == DEFAULT_SOURCE else f"{source}:{name}"


def find_backbone(backbone: str, *, check: bool = True) -> tuple[BackboneSource, str]:
    """The source of a network and the network's name there.

    Args:
        check: that there is such a network; a model file with the source's settings does not need it.

    Raises:
        UserError: unknown source or network; the message lists the sources or the closest name.
    """
    source_name, name = parse_backbone(backbone)
    try:
        source = BACKBONE_SOURCES.get(source_name)
    except FeedbackError as error:
        raise UserError(f"model.backbone: {error}") from None
    try:
        if check:
            source.check(name)
    except ValueError as error:
        raise UserError(f"model.backbone: {source_name} {error}") from None
    return source, name
