"""Exponentials of what is far below the largest number stay above the subnormal numbers.

A network that has learned its samples gives some classes probabilities below 1e-38. Numbers of float32 that small are
subnormal, and a product of matrices with a few of them takes many times as long as one without. Where exp(z - max z) is
below 1e-28, nothing that it is added to knows it from 0; so it is computed as 1e-28, which a gradient may multiply by
1e-9 before it is subnormal.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.rewrite import is_op, op, rebuild, source
from graphgrad.tensor import Tensor

#: Below which no exponent goes: exp(-64) is 1.6e-28.
FLOOR = -64.0


def floored(results: Sequence[Tensor], keep: Sequence[Tensor]) -> dict[int, Tensor] | None:
    """exp(z - max z) as exp(max(z - max z, FLOOR)), in float32. Where each node went; None where there is none."""
    graph = results[0].graph
    found = {id for id in graph.ancestors([t.id for t in results]) if _is_below_the_largest(graph.tensor(id))}

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        if node.id not in found:
            return None
        return op("exp", op("maximum", inputs[0], new.constant(FLOOR)))

    return rebuild(results, visit, keep)[1] if found else None


def has_floor(graph: Graph, ids: Sequence[int]) -> bool:
    """Whether any of these nodes is such an exponential."""
    exponents = [source(graph.tensor(id)) for id in ids if graph.nodes[id].operator.name == "exp"]
    bounds = [source(x, 1).node for x in exponents if is_op(x, "maximum")]
    return any(b.operator.name == "constant" and b.weak and b["value"].array.item() == FLOOR for b in bounds)


def _is_below_the_largest(x: Tensor) -> bool:
    if not is_op(x, "exp") or x.dtype != "float32" or not x.shape or not is_op(source(x), "subtract"):
        return False
    z, largest = source(source(x)), source(source(x), 1)
    return is_op(largest, "max") and source(largest).id == z.id
