"""Products that are vectors are computed from the side that needs no transpose of what a call gives.

x.T @ d, of one row or column, is the same memory as d.T @ x. d is a buffer, of which a view is made once for all calls;
x is another array in each, and a view of it is a statement more, which a step of a few microseconds feels.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.operators.linear import swap
from graphgrad.rewrite import name_of, op, rebuild, source
from graphgrad.tensor import Tensor


def from_other_side(tensors: Sequence[Tensor], keep: Sequence[Tensor]) -> dict[int, Tensor] | None:
    """Where each node went; None where there is no such product."""
    graph = tensors[0].graph
    products: dict[int, Tensor] = {}
    found = {id for id in graph.ancestors([t.id for t in tensors]) if _transposes_input(graph, graph.nodes[id])}

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        if node.id not in found:
            return None
        x, d = inputs
        products[node.id] = op("matmul", swap(d), source(x))
        return op("reshape", products[node.id], shape=node.shape)

    if not found:
        return None
    new, moved = rebuild(tensors, visit, keep)
    for id, product in products.items():
        if name := name_of(graph, id):
            other = name.removesuffix("ᵀ") if name.endswith("ᵀ") else f"{name}ᵀ"
            if other not in new:
                new.set_name(product.id, other)
    return moved


def _transposes_input(graph: Graph, node: Node) -> bool:
    if node.operator.name != "matmul" or len(node.shape) != 2 or 1 not in node.shape:
        return False
    x, d = [graph.nodes[i] for i in node.inputs]
    if x.operator.name != "transpose" or len(d.shape) != 2 or d.operator.kind == "leaf":
        return False
    return graph.nodes[x.inputs[0]].operator.name == "input"
