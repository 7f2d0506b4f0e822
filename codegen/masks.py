"""Masks as numbers: z̄ = x̄·(z > 0), in which the truth values become 0.0 and 1.0 by a statement of their own.

Where two operands are of two dtypes, NumPy converts one in pieces on the way, and to begin with that takes longer than
all else in the product of a small array. An assignment converts all at once. Of a large array the pieces stay in the
first cache, and the numbers would not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.rewrite import op, rebuild
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS, Sizes, count, size_of

#: Elements of a mask, at most.
SMALL = 2**14


def masked(graph: Graph, ids: Sequence[int], sizes: Sizes) -> Iterator[int]:
    """The products of a float array and a small mask of its shape."""
    for id in ids:
        node = graph.nodes[id]
        if node.operator.name != "multiply" or node.dtype not in FLOATS or not node.shape:
            continue
        x, y = [graph.nodes[i] for i in node.inputs]
        if (
            x.shape == y.shape
            and {x.dtype, y.dtype} == {"bool", node.dtype}
            and size_of(count(x.shape), sizes) <= SMALL
        ):
            yield id


def masks_as_numbers(results: Sequence[Tensor], keep: Sequence[Tensor], products: Collection[int]) -> dict[int, Tensor]:
    """The same with the masks of these products as numbers. Returns where each node went."""
    made: dict[int, Tensor] = {}  # by mask

    def numbers(mask: Tensor, dtype: str) -> Tensor:
        if mask.id not in made:
            made[mask.id] = op("cast", mask, dtype=dtype)
        return made[mask.id]

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        if node.id not in products:
            return None
        return op("multiply", *[numbers(t, node.dtype) if t.dtype == "bool" else t for t in inputs])

    return rebuild(results, visit, keep)[1]
