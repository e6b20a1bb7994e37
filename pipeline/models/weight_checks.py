"""Files of weights under torchvision's names, read without running any code they may hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.errors import UserError


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of a .pth file of tensors alone.

    Raises:
        UserError: it is missing, damaged, something else, or has a weight that is NaN or Inf.
    """
    if not path.is_file():
        raise UserError(f"model.weights: there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a file that is no checkpoint makes the unpickler raise is not documented
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"model.weights: {path} is not a safetensors or weights-only .pth file: {reason}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"model.weights: {path} does not hold a state dict (names to tensors)")
    if bad := first_not_finite(state):
        raise UserError(f"model.weights: '{bad}' in {path} has NaN or Inf; use another file of weights")
    return state


def difference(network: nn.Module, state: Mapping[str, Tensor]) -> str:
    """The first way in which a state dict does not fit a network, or nothing."""
    own = network.state_dict()
    for name, value in own.items():
        if name not in state and not name.endswith("num_batches_tracked"):
            return f"'{name}' is missing"
        if name not in state:
            continue
        if state[name].shape != value.shape:
            return f"'{name}' has shape {list(state[name].shape)}, not {list(value.shape)}"
        if state[name].is_floating_point() != value.is_floating_point():
            return f"'{name}' has type {state[name].dtype}, not {value.dtype}"
    extra = sorted(set(state) - set(own))
    return f"'{extra[0]}' has no place in it" if extra else ""


def first_not_finite(tensors: Mapping[str, Tensor]) -> str:
    """Name of the first tensor that has NaN or Inf; nothing if all are finite."""
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value.float()).all()):
            return name
    return ""
