"""Settings of the network: backbone, weights, and the part that is trained."""

from __future__ import annotations

from pydantic import Field, field_validator

from pipeline.config.base import Section, Trainable, expand_path


class ModelConfig(Section):
    backbone: str = Field(
        "resnet18",
        description="network by name: one of torchvision (resnet18), or source:name with timm, hf, open_clip or a source that a "
        "package adds",
    )
    weights: str = Field(
        "imagenet", description="imagenet, none, or a .safetensors or .pth file with the network's own names of weights"
    )
    trainable: Trainable = Field(
        "all",
        description="the part that is trained; everything before it is frozen and computed once; lora: low-rank adapters of all "
        "layers, and the head",
    )
    lora_rank: int = Field(8, ge=1, le=1024, description="rank of the adapters of trainable: lora")
    cache_limit_mb: float = Field(
        4096,
        ge=0,
        le=1e8,
        description="limit in MiB of each cache, of decoded images and of prefix outputs; what does not fit is computed again for each batch",
    )

    _paths = field_validator("weights", mode="before")(expand_path)
