"""Read files of weights without running code in them, and check weights against a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.errors import UserError


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of a .pth file that contains only tensors.

    Raises:
        UserError: it is missing, damaged, something else, or has a weight that is NaN or Inf.
    """
    if not path.is_file():
        raise UserError(f"model.weights: no such file: {path}")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler's exceptions for other files are not documented
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"model.weights: {path} is not a safetensors or weights-only .pth file: {reason}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"model.weights: {path} is not a state dict (names to tensors)")
    if bad := first_non_finite(state):
        raise UserError(f"model.weights: '{bad}' in {path} has NaN or Inf; use another file of weights")
    return state


def mismatch(network: nn.Module, state: Mapping[str, Tensor]) -> str:
    """The first mismatch between a state dict and a network; empty if it fits."""
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
    return f"unexpected '{extra[0]}'" if extra else ""


def first_non_finite(tensors: Mapping[str, Tensor]) -> str:
    """Name of the first tensor that has NaN or Inf; empty if all are finite."""
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value.float()).all()):
            return name
    return ""
