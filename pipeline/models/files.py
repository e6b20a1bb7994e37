"""Models on disk: one safetensors file that says in its header what it is, and needs no configuration to be loaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.errors import UserError
from pipeline.files import write_atomically
from pipeline.images.resize import Transform
from pipeline.models.backbone import build_network


@dataclass(frozen=True)
class ModelHeader:
    """What must be known to use a model: written into the file itself."""

    kind: Literal["policy", "reward"]
    backbone: str
    classes: tuple[str, ...]
    size: int
    resize: int

    @property
    def transform(self) -> Transform:
        return Transform(self.size, self.resize)


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over every parameter and buffer, names included: equal if and only if the weights are, bit for bit."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_model(path: Path, network: nn.Module, header: ModelHeader, extra: dict[str, Tensor] | None = None) -> None:
    """Write weights under torchvision's names, plus `extra` tensors such as the reward model's scale, atomically."""
    tensors = {**network.state_dict(), **(extra or {})}
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    write_atomically(path, save(plain, metadata={"image_rlhf": json.dumps(asdict(header))}))


def load_model(path: Path, kind: str) -> tuple[nn.Module, ModelHeader, dict[str, Tensor]]:
    """Read a file of `save_model`: the network in eval mode, its header, and the tensors beside the network's own.

    Raises:
        UserError: missing, damaged, or a file of another kind.
    """
    if not path.is_file():
        raise UserError(f"there is no model file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged model file ({error}); make it again") from error
    if "image_rlhf" not in metadata:
        raise UserError(f"{path}: not a model of image-rlhf (its header is missing); use it as model.weights instead")
    fields = json.loads(metadata["image_rlhf"])
    header = ModelHeader(**{**fields, "classes": tuple(fields["classes"])})
    if header.kind != kind:
        raise UserError(f"{path}: this is a {header.kind} model; a {kind} model is needed")
    network = build_network(ModelConfig(backbone=header.backbone, weights="none"), len(header.classes), seed=0)
    extra = {name: tensors.pop(name) for name in list(tensors) if name not in network.state_dict()}
    network.load_state_dict(tensors)
    return network, header, extra
