"""Cut any network that torch.fx can trace into a prefix and a suffix, without a list of architectures."""

from __future__ import annotations

from torch import fx, nn

from pipeline.config.base import Trainable
from pipeline.errors import UserError

# Sub-modules that contain the blocks of a network; a block is one level below.
CONTAINERS = ("features", "layers", "blocks", "stages", "trunk_output", "encoder", "encoder.layers")


def traced_cut(network: nn.Module, trainable: Trainable) -> tuple[nn.Module, nn.Module]:
    """Prefix and suffix of a network, which share its parameters.

    Args:
        trainable: `head` cuts before the last linear layer, `last_block` before the last block of layers with weights.

    Raises:
        UserError: it cannot be traced, or not be cut at a single node.
    """
    try:
        graph = fx.symbolic_trace(network.eval()).graph
    except Exception as error:  # what a network that cannot be traced raises depends on the network
        raise UserError(
            f"model.trainable: {type(network).__name__} cannot be traced ({str(error) or type(error).__name__}); use all"
        ) from error
    cut = _head_cut(network, graph) if trainable == "head" else _last_block_cut(network, graph)
    return _subgraph_before(network, graph, cut), _subgraph_after(network, graph, cut)


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
