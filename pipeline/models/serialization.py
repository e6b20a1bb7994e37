"""Models on disk: a safetensors file with a header that describes the model, so that loading needs no configuration."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from feedback_store.registry import UnknownNameError
from pipeline.config import ModelConfig
from pipeline.errors import UserError
from pipeline.models.backbone import build_network
from pipeline.models.known_classes import KnownClasses
from pipeline.models.model_file_header import KEY, ModelHeader
from pipeline.models.network_shape import network_shape, refused_size
from pipeline.models.weight_checks import first_non_finite, mismatch
from pipeline.run import manifest
from pipeline.run.atomic_files import Damaged, write_atomically

__all__ = ["ModelHeader", "damaged", "load_model", "save_model", "weights_hash"]


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over every parameter and buffer, names included; equal for bit-identical weights only."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_model(path: Path, network: nn.Module, header: ModelHeader, extra: dict[str, Tensor] | None = None) -> None:
    """Write a network's weights under its own names, plus `extra` tensors such as the reward model's scale, atomically.

    Raises:
        UserError: a weight is NaN or Inf.
    """
    tensors = {**network.state_dict(), **(extra or {})}
    if name := first_non_finite(tensors):
        raise UserError(f"{path}: training diverged: '{name}' has NaN or Inf; lower the learning rate of the stage")
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    write_atomically(path, save(plain, metadata=header.metadata()))


def damaged(path: Path, reason: str) -> UserError:
    """The error of a model file that cannot be used; the message has the target of the stage that writes it."""
    return UserError(f"{path}: damaged model file: {reason}; {manifest.how_to_remake(path.parent.name)}")


def load_model(path: Path, kind: str) -> tuple[nn.Module, ModelHeader, dict[str, Tensor]]:
    """Read a file of `save_model`: the network in eval mode, its header, and the `extra` tensors.

    A file in a finished stage's folder must have the hash in the stage's manifest. Without a manifest (an export, a copy)
    no hash is compared. NaN and Inf are always refused.

    Raises:
        UserError: missing, changed, damaged, or another kind of file.
    """
    if not path.is_file():
        raise UserError(f"no such model file: {path}")
    manifest.verify_model_file(path)
    metadata, tensors = _read(path)
    if KEY not in metadata:
        raise UserError(f"{path}: not a model of image-rlhf (its header is missing); use it as model.weights instead")
    try:
        header = ModelHeader.of(metadata)
        if header.kind != kind:
            raise UserError(f"{path}: a {header.kind} model; use a {kind} model")
        return _restored(header, tensors), header, tensors
    except Damaged as error:
        raise damaged(path, str(error)) from None
    except UnknownNameError as error:
        raise UserError(f"{path}: {error}; install the package that adds it") from None


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    path.open("rb").close()  # raises an OSError with the file's name if it cannot be read, as opposed to a damaged file
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise damaged(path, (str(error) or type(error).__name__).splitlines()[0]) from error


def _restored(header: ModelHeader, tensors: dict[str, Tensor]) -> nn.Module:
    """The network that a header describes, with its weights; they are removed from `tensors`.

    Shapes are compared before memory for the network is allocated: a damaged header may describe one of any size.

    Raises:
        Damaged: header and weights do not match, or a weight is NaN or Inf.
    """
    shape = network_shape(header.network, len(header.classes), header.architecture)
    own = {name: tensors.pop(name) for name in shape.state_dict() if name in tensors}
    if reason := mismatch(shape, own):
        raise Damaged(f"{reason}, for a {header.network} of {len(header.classes)} classes")
    if reason := refused_size(header.network, header.size, header.architecture):
        raise Damaged(f"{header.network} does not take images of {header.size} pixels ({reason})")
    if name := first_non_finite(own) or first_non_finite(tensors):
        raise Damaged(f"'{name}' has NaN or Inf")
    config = ModelConfig(backbone=header.network, weights="none")
    network = build_network(config, len(header.classes), 0, header.architecture)
    network.load_state_dict(own, strict=False)  # old files lack BatchNorm's counters
    if isinstance(network, KnownClasses) and (reason := network.problem()):
        raise Damaged(reason)
    return network
