"""All parameters in one vector theta, of which every W and b is a view, in the order in which the network names them.

Some matrices may lie there transposed, which leaves `graphgrad.codegen.layout` free to give products their operands as
the BLAS takes them fastest, and makes one matrix of a small W and the bias behind it.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from itertools import pairwise

from graphgrad.codegen.layout import joins_bias
from graphgrad.graph import Graph, Node
from graphgrad.networks import Network
from graphgrad.operators.shape import reshape, transpose
from graphgrad.rewrite import rebuild
from graphgrad.tensor import Tensor


def transposed_matrices(net: Network) -> frozenset[str]:
    """The parameters W that had better lie in theta as their transposes.

    They are only used as h @ W.T. Where h depends on no parameter, W has no third product, and its two are fastest so.
    Small ones with a bias behind them lie so, which makes one matrix of both for h that lies transposed. Of the others
    it is those whose z lies transposed: every second one, counted from the loss or from a small one.
    """
    graph = net.graph
    found = {p.id: p.name for p in net.parameters if len(p.shape) == 2}
    transposes: dict[int, int] = {}
    products: dict[int, int] = {}  # h @ W.T -> W
    ids = graph.ancestors([net.loss.id])
    depending = {p.id for p in net.parameters}
    for id in ids:
        node = graph.nodes[id]
        if depending.intersection(node.inputs):
            depending.add(id)
        for place, i in enumerate(node.inputs):
            if i in found and node.operator.name == "transpose" and node.shape == graph.nodes[i].shape[::-1]:
                transposes[id] = i
            elif i in found:
                del found[i]
            elif i in transposes and (node.operator.name != "matmul" or place == 0):
                found.pop(transposes[i], None)
            elif i in transposes:
                products[id] = transposes[i]
    behind = {w.id: b.id for w, b in pairwise(net.parameters)}
    small = {
        id
        for node in (graph.nodes[i] for i in ids)
        if node.operator.name == "add"
        for id in node.inputs
        if id in products
        and behind.get(products[id]) in node.inputs
        and joins_bias(numbers(graph.tensor(products[id])))
    }
    lies_turned: dict[int, bool] = {}  # each value, as what follows it would have it
    turned: set[int] = set()
    for id in reversed(ids):
        node = graph.nodes[id]
        z_turned = lies_turned.setdefault(id, False)
        if id in products and (node.inputs[0] not in depending or id in small or z_turned):
            turned.add(products[id])
        for i in node.inputs:
            lies_turned.setdefault(i, (id in small or not z_turned) if id in products else z_turned)
    return frozenset(name for id, name in found.items() if id in turned)


def on_one_vector(
    outputs: Sequence[Tensor], parameters: Sequence[Tensor], transposed: Container[str]
) -> tuple[Graph, Tensor, dict[str, int], dict[int, Tensor], dict[str, Tensor]]:
    """The graph with each parameter replaced by a view of one vector, which carries the parameter's name.

    Also the first element of each in the vector, where each old node went, and the transposes that lie there.
    """
    starts: dict[str, int] = {}
    size = 0
    for p in parameters:
        starts[p.name] = size
        size += math.prod(numbers(p))
    vector, dtype = free_name(parameters[0].graph, "theta"), parameters[0].dtype
    found: list[Tensor] = []
    kept: dict[str, Tensor] = {}
    turned = {p.id: p.name for p in parameters if p.name in transposed}

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        if node.inputs and node.inputs[0] in turned:
            return kept[turned[node.inputs[0]]]
        if node.operator.name != "parameter":
            return None
        if not found:
            found.append(new.parameter(vector, (size,), dtype))
        name = node["name"]
        start = starts[name]
        shape = tuple(d for d in node.shape if isinstance(d, int))
        part = found[0][start : start + math.prod(shape)]
        if name not in transposed:
            return reshape(part, shape)
        kept[name] = reshape(part, shape[::-1]).named(free_name(new, f"{name}ᵀ"))
        return transpose(kept[name])

    graph, moved = rebuild(outputs, visit)
    return graph, found[0], starts, moved, kept


def numbers(tensor: Tensor) -> tuple[int, ...]:
    return tuple(d for d in tensor.shape if isinstance(d, int))


def free_name(graph: Graph, wish: str) -> str:
    """The name, or the name with a number, that nothing in the graph carries."""
    name, number = wish, 2
    while name in graph:
        name, number = f"{wish}_{number}", number + 1
    return name
