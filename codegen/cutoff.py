"""Probabilities that no float can tell from 0 beside 1 are 0 in the gradient by labels: no subnormal numbers in a step.

A network that has learned its samples gives the other classes probabilities of 1e-20 and less. Their gradients go
through the products with the weights, and Adam squares them: numbers of float32 below 1e-38 are subnormal, and with a
few of them a product of matrices, or a pass over the parameters, takes many times as long.

In p - onehot(y) with p = e / sum(e) and e = exp(z - max z), the largest e of a row is 1. 1e-16 is taken off from each,
and what was below is 0. That moves the difference by up to 1e-16, where rounding moves it by 6e-8 at the label. It is
done where nothing else sees e or p: a logarithm of p, or a quotient by it, has use for 1e-20. And it is done where z
has products of trained values in it, such as W2 @ relu(W1 @ x): there gains multiply, and a few steps may lead far;
where z is linear in what is trained, distances grow slowly. There, and where little is trained, it would cost more than
it gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.rewrite import is_op, op, rebuild, source
from graphgrad.tensor import Tensor
from graphgrad.types import count

from .program import usual

#: What an exponential has to be above, where the largest is 1. That 1 + 1e-16 is 1 holds for float64, too.
CUTOFF = 1e-16
LEAST = 1 << 10  # numbers that a step updates: with fewer, what this takes is some percent of it


def cut_off(results: Sequence[Tensor], trained: Iterable[Tensor], keep: Sequence[Tensor]) -> dict[int, Tensor] | None:
    """exp(z - max z) as maximum(exp(z - max z) - CUTOFF, 0), in float32, for gradients by labels. Where each node
    went; None where there is no such exponential."""
    leaves = {leaf.id: usual(count(leaf.shape)) for leaf in trained}
    found = set(_exponentials(results, leaves)) if sum(leaves.values()) >= LEAST else set()

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        if node.id not in found:
            return None
        return op("maximum", op("subtract", op("exp", *inputs), new.constant(CUTOFF)), new.constant(0.0))

    return rebuild(results, visit, keep)[1] if found else None


def has_cutoff(graph: Graph, ids: Sequence[int]) -> bool:
    """Whether any of these nodes is an exponential less CUTOFF."""
    less = [graph.tensor(id) for id in ids if graph.nodes[id].operator.name == "subtract"]
    bounds = [source(t, 1).node for t in less if is_op(source(t), "exp")]
    return any(b.operator.name == "constant" and b.weak and b["value"].array.item() == CUTOFF for b in bounds)


def _exponentials(results: Sequence[Tensor], trained: Collection[int]) -> Iterator[int]:
    graph = results[0].graph
    ids = graph.ancestors([t.id for t in results])
    used = Counter([i for id in ids for i in {*graph.nodes[id].inputs}])
    used.update([t.id for t in results])
    for id in ids:
        if graph.nodes[id].operator.name != "subtract" or graph.nodes[id].dtype != "float32":
            continue
        p, rows = source(graph.tensor(id)), source(graph.tensor(id), 1)
        if not is_op(rows, "unit_rows") or not is_op(p, "divide") or used[p.id] > 1:
            continue
        e, total = source(p), source(p, 1)
        alone = is_op(total, "sum") and source(total).id == e.id and used[e.id] == 2
        if alone and _is_below_the_largest(e, total.node["axis"]) and _multiplies(graph, source(e).id, trained):
            yield e.id


def _is_below_the_largest(x: Tensor, axis: object) -> bool:
    """Whether it is exp(z - max z), of the same rows."""
    if not is_op(x, "exp") or not is_op(source(x), "subtract"):
        return False
    z, largest = source(source(x)), source(source(x), 1)
    return is_op(largest, "max") and source(largest).id == z.id and largest.node["axis"] == axis


def _multiplies(graph: Graph, z: int, trained: Collection[int]) -> bool:
    """Whether a product of two values that both depend on what is trained is in it."""
    depends = set(trained)
    for id in graph.ancestors([z]):
        node = graph.nodes[id]
        if depends.isdisjoint(node.inputs):
            continue
        if node.operator.name in ("matmul", "multiply") and depends.issuperset(node.inputs):
            return True
        depends.add(id)
    return False
