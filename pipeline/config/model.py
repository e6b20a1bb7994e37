"""Settings of the network: backbone, weights, and the part that is trained."""

from __future__ import annotations

from pydantic import Field, field_validator

from pipeline.config.base import Section, Trainable, expand_path


class ModelConfig(Section):
    backbone: str = Field(
        "resnet18",
        description="network by name: one of torchvision (resnet18), or source:name of a source that a package adds",
    )
    weights: str = Field(
        "imagenet", description="imagenet, none, or a .safetensors or .pth file with the network's own names of weights"
    )
    trainable: Trainable = Field("all", description="which part learns; what lies before it is frozen, computed once")
    cache_limit_mb: float = Field(
        4096, ge=0, le=1e8, description="largest prefix cache; above it outputs are recomputed"
    )

    _paths = field_validator("weights", mode="before")(expand_path)
