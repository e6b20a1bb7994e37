"""Low-rank adapters (LoRA, Hu et al. 2021) by peft: `model.trainable: lora`.

Every linear layer and convolution but the head gets a trainable product of two thin matrices beside its frozen weights.
The head is trained as it is. A saved network has the adapters merged into its weights.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from pipeline.models.model_file_header import ModelHeader
from pipeline.models.policy import final_linear
from pipeline.models.serialization import save_model
from pipeline.models.sources.extras import require
from pipeline.run.atomic_files import write_atomically

ADAPTER = "lora_"  # in the names of an adapter's weights


def add_adapters(network: nn.Module, rank: int) -> None:
    """Give a network adapters, in place; only they and the head have gradients. Its outputs stay the same.

    Raises:
        UserError: peft is not installed.
    """
    peft = require("peft", "lora", "model.trainable")
    head = final_linear(network)
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=_targets(network, head), bias="none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # one half of each product is random; the other is zero
        peft.inject_adapter_in_model(config, network)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(ADAPTER in name)
    for parameter in head.parameters():
        parameter.requires_grad_(True)


def _targets(network: nn.Module, head: nn.Module) -> list[str]:
    """Dotted paths of the layers that get adapters: not those of fused attention, which reads weights without calling layers."""
    fused = [name for name, module in network.named_modules() if isinstance(module, nn.MultiheadAttention)]
    return [
        name
        for name, module in network.named_modules()
        if (isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1))
        and module is not head
        and not any(name.startswith(f"{one}.") for one in fused)
    ]


def merged(network: nn.Module) -> nn.Module:
    """The network itself if it has no adapters; otherwise a copy whose weights contain them."""
    if not any(ADAPTER in name for name, _ in network.named_parameters()):
        return network
    from peft.tuners.lora import LoraLayer

    network = copy.deepcopy(network)
    for path, module in list(network.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, leaf = path.rpartition(".")
            setattr(network.get_submodule(parent), leaf, module.get_base_layer())
    return network


def adapter_weights(network: nn.Module) -> dict[str, Tensor]:
    """The adapters alone, by peft's names."""
    return {name: value for name, value in network.state_dict().items() if ADAPTER in name}


def save_trained(folder: Path, network: nn.Module, header: ModelHeader) -> list[str]:
    """Write model.safetensors with the adapters merged, and adapters.safetensors if there are any; returns the files' names."""
    save_model(folder / "model.safetensors", merged(network), header)
    if not (weights := adapter_weights(network)):
        return ["model.safetensors"]
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}
    write_atomically(folder / "adapters.safetensors", save(plain))
    return ["model.safetensors", "adapters.safetensors"]
