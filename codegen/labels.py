"""The gradient by labels, p - onehot(y), computed in place of p: 1 is taken off at one place of each row.

A matrix of unit rows is as large as p, and nearly all of it is zeros. To pick its rows and to subtract them takes two
passes over all elements; an index goes over the rows alone. Where c times the difference is wanted, c is taken off from
c·p; and since p is a quotient of exponentials and their sums, c enters by the sums, of which there is one for each row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.operators.index import arange_in, label_places
from graphgrad.operators.shape import size
from graphgrad.rewrite import is_op, op, rebuild, source
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS

from .costs import ASTRAY, INDEX, INDEXED, UNIT, UNIT_ROW


def differences(graph: Graph, ids: Sequence[int]) -> dict[int, int]:
    """The unit rows of labels that one difference alone reads, which takes them off a matrix: each with that."""
    used = _uses(graph, ids)
    found = {}
    for id in ids:
        node = graph.nodes[id]
        if node.operator.name != "subtract" or len(node.shape) != 2 or node.dtype not in FLOATS:
            continue
        p, rows = [graph.nodes[i] for i in node.inputs]
        alike = (p.shape, p.dtype, rows.shape) == (node.shape, node.dtype, node.shape)
        if rows.operator.name == "unit_rows" and alike and used[rows.id] == 1:
            found[rows.id] = id
    return found


def picked_cost(rows: int, columns: int, turned: bool) -> float:
    """Of picking unit rows and subtracting them."""
    return rows * (UNIT_ROW + (ASTRAY if turned else UNIT) * columns)


def index_cost(rows: int) -> float:
    return INDEX + INDEXED * rows


def take_off_at_labels(results: Sequence[Tensor], keep: Sequence[Tensor], chosen: Collection[int]) -> dict[int, Tensor]:
    """These differences by an index, together with numbers by which they are multiplied. Moves rounding. Returns where
    each node went."""
    graph = results[0].graph
    used = _uses(graph, graph.ancestors([t.id for t in results]))
    used.update([t.id for t in results])

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        if node.id in chosen:
            return op("take_off", inputs[0], _places(inputs[1]), new.constant(1.0))
        if node.operator.name != "multiply":
            return None
        for number, difference in ((0, 1), (1, 0)):
            of, c = node.inputs[difference], inputs[number]
            if of in chosen and used[of] == 1 and c.node.weak:
                p, places = source(inputs[difference]), source(inputs[difference], 1)
                alone = used[graph.nodes[of].inputs[0]] == 1
                return op("take_off", _times(c, p) if alone else op("multiply", c, p), places, c)
        return None

    return rebuild(results, visit, keep)[1]


def _times(c: Tensor, p: Tensor) -> Tensor:
    """c·p; of a quotient by one number for each row, by way of these."""
    if is_op(p, "divide") and source(p).shape == p.shape != source(p, 1).shape:
        return op("divide", source(p), op("divide", source(p, 1), c))
    return op("multiply", c, p)


def _places(unit_rows: Tensor) -> Tensor:
    """Where their ones are."""
    labels = source(unit_rows)
    if unit_rows.node["axis"] == 0:
        return op("add", op("multiply", labels, size(unit_rows, 1)), arange_in(labels.graph, unit_rows.shape[1]))
    places: Tensor = label_places(labels, unit_rows.shape[1])
    return places


def _uses(graph: Graph, ids: Sequence[int]) -> Counter[int]:
    return Counter([i for id in ids for i in graph.nodes[id].inputs])
