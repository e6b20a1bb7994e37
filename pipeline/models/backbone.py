"""Any torchvision classification network with C outputs, cut into a frozen prefix and a trainable suffix.

`trainable` says where the cut lies: before the last linear layer (`head`), before the last block of layers that holds
weights (`last_block`), or before everything (`all`: the prefix is empty). The cut is found in the network's traced
graph (torch.fx), so it needs no list of architectures. Weights keep torchvision's names throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import fx, nn

from pipeline.config import ModelConfig
from pipeline.config.base import Trainable
from pipeline.errors import UserError
from pipeline.models.architecture import construct, replace_head
from pipeline.models.weight_checks import difference, read_weights

# Sub-modules that only hold the blocks of a network; the block is what lies one level below.
CONTAINERS = ("features", "layers", "blocks", "stages", "trunk_output", "encoder", "encoder.layers")


def build_network(config: ModelConfig, classes: int, seed: int) -> nn.Module:
    """A torchvision network with `classes` outputs, in the channels-last layout, in eval mode.

    Args:
        config: backbone and weights: `imagenet` (torchvision's download), `none` (random from `seed`), or a file.

    Raises:
        UserError: unknown backbone; weights that cannot be had, read or fitted.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if config.weights == "imagenet":
            network = _download(config.backbone)
            replace_head(network, classes)
        elif config.weights == "none":
            network = construct(config.backbone, None)
            replace_head(network, classes)
        else:
            network = _from_file(config.backbone, Path(config.weights), classes)
    return network.to(memory_format=torch.channels_last).eval()


def _download(backbone: str) -> nn.Module:
    try:
        return construct(backbone, "DEFAULT")
    except OSError as error:  # URLError is one
        raise UserError(
            f"model.weights: the ImageNet weights of {backbone} are not in torchvision's cache and cannot be downloaded "
            f"({getattr(error, 'reason', error)}). Two ways out: put a file of torchvision's keys on this machine and set "
            "model.weights=/path/to/weights.pth, or start from random weights with model.weights=none"
        ) from error


def _from_file(backbone: str, path: Path, classes: int) -> nn.Module:
    """ImageNet weights (the head is then replaced), or weights of a network with this task's own head."""
    state = read_weights(path)
    network = construct(backbone, None)
    imagenet = difference(network, state)
    if not imagenet:
        network.load_state_dict(state, strict=False)
    replace_head(network, classes)
    if imagenet:
        if own := difference(network, state):
            raise UserError(
                f"model.weights: {path} does not fit {backbone}: as ImageNet weights, {imagenet}; as weights of a "
                f"{classes}-class network, {own}"
            )
        network.load_state_dict(state, strict=False)
    return network


@dataclass(frozen=True, eq=False)
class Split:
    """A network in two pieces that share its parameters: suffix(prefix(x)) is network(x).

    Attributes:
        prefix: frozen; None when it is empty and its output the image itself.
        suffix: what learns; maps the prefix's output to [B, C].
    """

    network: nn.Module
    prefix: nn.Module | None
    suffix: nn.Module


def split(network: nn.Module, trainable: Trainable) -> Split:
    """Cut a network made by `build_network`; the prefix is frozen and in eval mode, the suffix's gradients are on."""
    network.requires_grad_(True)
    if trainable == "all":
        return Split(network, None, network)
    graph = fx.symbolic_trace(network.eval()).graph
    cut = _head_cut(network, graph) if trainable == "head" else _last_block_cut(network, graph)
    prefix, suffix = _subgraph_before(network, graph, cut), _subgraph_after(network, graph, cut)
    network.requires_grad_(False)
    for parameter in suffix.parameters():
        parameter.requires_grad_(True)
    return Split(network, prefix.eval(), suffix.eval())


def _path(node: fx.Node) -> str:
    """Dotted name of the module a node belongs to."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(node.target) if node.op == "call_module" else (list(stack.values())[-1][0] if stack else "")


def _block(path: str) -> str:
    parts = path.split(".")
    depth = 1
    while ".".join(parts[:depth]) in CONTAINERS and depth < len(parts):
        depth += 1
    return ".".join(parts[:depth])


def _final_linear(network: nn.Module, graph: fx.Graph) -> fx.Node:
    linear = [
        n for n in graph.nodes if n.op == "call_module" and isinstance(network.get_submodule(str(n.target)), nn.Linear)
    ]
    return linear[-1]


def _head_cut(network: nn.Module, graph: fx.Graph) -> fx.Node:
    return _final_linear(network, graph).all_input_nodes[0]


def _last_block_cut(network: nn.Module, graph: fx.Graph) -> fx.Node:
    head = _block(_path(_final_linear(network, graph)))
    members: dict[str, list[fx.Node]] = {}
    for node in graph.nodes:
        members.setdefault(_block(_path(node)), []).append(node)
    modules = dict(network.named_modules())
    with_weights = [
        block
        for block in members
        if block and block != head and block in modules and any(p.dim() > 1 for p in modules[block].parameters())
    ]
    inside = set(members[with_weights[-1]])
    entries = {
        source for node in inside for source in node.all_input_nodes if source not in inside and source.op != "get_attr"
    }
    if len(entries) != 1:
        raise UserError(f"model.trainable: cannot cut {type(network).__name__} before its last block; use head or all")
    return entries.pop()


def _subgraph_before(network: nn.Module, graph: fx.Graph, cut: fx.Node) -> fx.GraphModule:
    needed: set[fx.Node] = set()
    todo = [cut]
    while todo:
        node = todo.pop()
        if node not in needed:
            needed.add(node)
            todo += node.all_input_nodes
    piece = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node in needed:
            copies[node] = piece.node_copy(node, copies.__getitem__)
    piece.output(copies[cut])
    return fx.GraphModule(network, piece)


def _subgraph_after(network: nn.Module, graph: fx.Graph, cut: fx.Node) -> fx.GraphModule:
    piece = fx.Graph()
    copies = {cut: piece.placeholder("features")}
    following = list(graph.nodes)[list(graph.nodes).index(cut) + 1 :]
    try:
        for node in following:
            copies[node] = piece.node_copy(node, copies.__getitem__)
    except KeyError:
        raise UserError(f"model.trainable: {type(network).__name__} has connections across the cut; use all") from None
    return fx.GraphModule(network, piece)
