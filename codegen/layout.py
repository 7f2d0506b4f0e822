"""Which matrices lie transposed in memory, and which beside ones, so that a layer's products and sums cost least.

A product of small matrices is up to twice as slow where the second operand alone is the transpose of what lies there; a
large one has more to copy where the second is. A layer z = h @ W.T has three products: of W, of its gradient and of
h's. Where z lies transposed and h does not, or the other way round, and W lies so that it fits, all three have two
transposed operands or none. So small layers lie in turn as they are written and transposed.

All values that are computed from each other element by element lie alike: a layer's z, φ(z), and their gradients.

What makes a step with small layers slow is not its products but the number of its statements. There one product out of
order costs less than is won where h lies transposed: the bias then enters the product (see `codegen.biases`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.operators.linear import matmul, swap
from graphgrad.operators.shape import size
from graphgrad.rewrite import compose, op, rebuild, source
from graphgrad.tensor import Tensor
from graphgrad.types import Sizes, count, size_of

from .biases import Joining, find_biases
from .costs import (
    ASTRAY,
    ROW,
    STATEMENT,
    Cost,
    adding_cost,
    cheapest,
    joins_bias,
    ones_cost,
    product_cost,
    summing_cost,
)
from .labels import differences, index_cost, picked_cost
from .masks import masked
from .program import nbytes

#: Bytes of all values that a step computes, most of which live but shortly.
LITTLE = 128 * 1024
REDUCTIONS = ("sum", "max", "min", "prod")


class Layout(NamedTuple):
    """What lies otherwise than as it is written, and what else a step depends on in its sizes."""

    turned: frozenset[int] = frozenset()  # the nodes that lie transposed
    with_ones: frozenset[int] = frozenset()  # inputs, and nodes that lie transposed, beside ones for biases
    little: bool = False  # all of it together is little enough for the first caches, in whatever order it is computed
    indexed: frozenset[int] = frozenset()  # differences that take off the ones of unit rows by an index
    masked: frozenset[int] = frozenset()  # products whose masks become numbers before
    single: frozenset[str] = frozenset()  # named sizes that are 1, if all of it is little


WRITTEN = Layout()


def best_layout(tensors: Sequence[Tensor], sizes: Sizes, keep: Collection[int]) -> Layout:
    """How the nodes had better lie, if named sizes are these. Those of `keep` stay as they are."""
    graph = tensors[0].graph
    ids = graph.ancestors([t.id for t in tensors])
    joins = _joins(graph, ids, keep, sizes)
    group = groups(graph, ids, keep, joins.values())
    copied = {h: _is_input(graph, h) for h in joins.values()}
    taken_off = differences(graph, ids)
    costs: list[tuple[Cost, set[int]]] = []
    for id in ids:
        node = graph.nodes[id]
        read = [_base(graph, i)[0] for i in node.inputs]
        met = {group[b] for b in (id, joins.get(id), *read) if b in group}
        cost = _cost(graph, node, group, sizes, joins, copied, taken_off) if met else None
        if cost is not None:
            costs.append((cost, met))
    turned = cheapest(costs)
    lying = frozenset(id for id, g in group.items() if g in turned)
    apart = {h for id, h in joins.items() if not _joins_bias(graph, id, h, sizes, group.get(_z(graph, id)) in turned)}
    with_ones = frozenset(h for h in joins.values() if h not in apart and (h in lying or _is_input(graph, h)))
    computed = [n for n in (graph.nodes[id] for id in ids) if n.operator.kind not in ("leaf", "view")]
    little = sum(size_of(nbytes(n), sizes) for n in computed) <= LITTLE
    indexed = frozenset(d for r, d in taken_off.items() if _is_indexed(graph.nodes[r], sizes, group.get(r) in turned))
    single = frozenset(name for name, size in sizes.items() if little and size == 1)
    return Layout(lying, with_ones, little, indexed, frozenset(masked(graph, ids, sizes)), single)


def _is_indexed(unit_rows: Node, sizes: Sizes, turned: bool) -> bool:
    rows, columns = [size_of(d, sizes) for d in unit_rows.shape]
    return index_cost(rows) < picked_cost(rows, columns, turned)


def _joins(graph: Graph, ids: Sequence[int], keep: Collection[int], sizes: Sizes) -> dict[int, int]:
    """The sums of biases, and of their gradients, that a row of ones below an h makes part of products; which h."""
    biases = find_biases(graph, ids, keep)
    found = {id: joined.h for kind in (biases.affine, biases.gradients) for id, joined in kind.items()}
    large = {h for id, h in found.items() if not any(_joins_bias(graph, id, h, sizes, t) for t in (False, True))}
    return {id: h for id, h in found.items() if h not in large}


def _joins_bias(graph: Graph, id: int, h: int, sizes: Sizes, turned: bool) -> bool:
    samples, inputs = [size_of(d, sizes) for d in graph.nodes[h].shape]
    outputs = size_of(graph.nodes[id].shape[-1], sizes)
    return joins_bias(samples, inputs, outputs, copied=_is_input(graph, h), turned=turned)


def _z(graph: Graph, id: int) -> int:
    """What a bias is added to, or the gradient that is summed up to that of one."""
    return graph.nodes[id].inputs[0] if graph.nodes[id].operator.name == "sum" else id


def groups(graph: Graph, ids: Sequence[int], keep: Collection[int], joined: Collection[int]) -> dict[int, int]:
    """The values that can lie transposed, each with the first of those that lie as it does.

    A single column lies the same either way; it is among them only for the row of ones below one that is `joined`.
    """
    first: dict[int, int] = {}

    def find(id: int) -> int:
        while first[id] != id:
            first[id] = id = first[first[id]]
        return id

    for id in ids:
        node = graph.nodes[id]
        if len(node.shape) != 2 or node.shape[0] == 1 or node.weak:
            continue
        if node.operator.kind == "elementwise":
            first[id] = id
            for i in node.inputs:
                if i in first and graph.nodes[i].shape == node.shape:
                    a, b = sorted((find(i), find(id)))
                    first[b] = a
        elif _is_product(graph, node) or node.operator.name == "unit_rows":
            first[id] = id
    if not first:
        return {}
    stay = {find(id) for id in first if graph.nodes[id].shape[1] == 1} - {find(h) for h in joined if h in first}
    stay |= {find(id) for id in keep if id in first}
    picks = {id for id in ids if _pick(graph, graph.nodes[id])}
    picked_from = {graph.nodes[id].inputs[0] for id in picks}
    picked_from -= {i for id in ids if id not in picks for i in graph.nodes[id].inputs}
    for id in ids:
        node = graph.nodes[id]
        fits = id in first or id in picked_from or node.operator.name in REDUCTIONS or _is_transpose(node)
        if not fits and not _is_product(graph, node):
            stay |= {find(i) for i in node.inputs if i in first}
    return {id: g for id in first if (g := find(id)) not in stay}


class Pick(NamedTuple):
    """One element of each row of a matrix: a gather from the matrix as a vector, at row·columns + column."""

    matrix: int
    row: int  # 0, 1, 2, ...
    column: int


def _pick(graph: Graph, node: Node) -> Pick | None:
    if node.operator.name != "gather" or node["axis"] != 0:
        return None
    flat, places = [graph.nodes[i] for i in node.inputs]
    matrix = graph.nodes[flat.inputs[0]] if flat.operator.name == "reshape" and len(flat.shape) == 1 else None
    if matrix is None or len(matrix.shape) != 2 or places.operator.name != "add":
        return None
    for starts, column in (places.inputs, places.inputs[::-1]):
        factors = graph.nodes[starts].inputs if graph.nodes[starts].operator.name == "multiply" else ()
        for row, by in (factors, factors[::-1]) if factors else ():
            columns = graph.nodes[by]
            counts = graph.nodes[row].operator.name == "arange" and columns.operator.name == "constant"
            if (
                counts
                and columns["value"].array.ndim == 0
                and columns["value"].array.item() == matrix.shape[1]
                and graph.nodes[column].shape == node.shape
            ):
                return Pick(matrix.id, row, column)
    return None


def _is_transpose(node: Node) -> bool:
    return node.operator.name == "transpose" and node["axes"] == (1, 0)


def _is_product(graph: Graph, node: Node) -> bool:
    return node.operator.name == "matmul" and all(len(graph.nodes[i].shape) == 2 for i in node.inputs)


def _is_input(graph: Graph, id: int) -> bool:
    return graph.nodes[id].operator.name == "input"


def _base(graph: Graph, id: int) -> tuple[int, bool]:
    """What an operand is, or is the transpose of."""
    turned = False
    while _is_transpose(graph.nodes[id]):
        id, turned = graph.nodes[id].inputs[0], not turned
    return id, turned


# -- what a statement costs more than it must --------------------------------------------------------------------------


def _cost(
    graph: Graph,
    node: Node,
    group: Mapping[int, int],
    sizes: Sizes,
    joins: Mapping[int, int],
    copied: Mapping[int, bool],  # what may lie beside ones: whether it is copied there
    taken_off: Collection[int],
) -> Cost | None:
    joined = joins.get(node.id)
    if joined is not None and (copied[joined] or joined in group):
        return _bias_cost(graph, node, group, sizes, joined, copied[joined])
    if _is_product(graph, node):
        (a, a_turned), (b, b_turned) = [_base(graph, i) for i in node.inputs]
        (m, n), k = [size_of(d, sizes) for d in node.shape], size_of(graph.nodes[node.inputs[1]].shape[0], sizes)
        first, second, result = group.get(a), group.get(b), group.get(node.id)

        def product(turned: Collection[int]) -> float:
            lying = a_turned ^ (first in turned), b_turned ^ (second in turned), result in turned
            one_a, one_b = [x in copied and (copied[x] or group.get(x) in turned) for x in (a, b)]  # more: of ones
            one_k = one_b if b_turned else one_a and not a_turned
            return product_cost(m + (one_a and a_turned), k + one_k, n + (one_b and not b_turned), *lying, node.dtype)

        return product
    if (pick := _pick(graph, node)) and pick.matrix in group:
        return lambda turned: STATEMENT if group[pick.matrix] in turned else 0.0
    if node.operator.name in ("max", "min") and node.inputs[0] in group:  # along rows: by way of a transposed copy
        extreme = group[node.inputs[0]]
        return lambda turned: STATEMENT * ((node["axis"] == (1,)) ^ (extreme in turned))
    if node.operator.name == "unit_rows" and node.id in group:
        rows, columns = [size_of(d, sizes) for d in node.shape]
        most = index_cost(rows) if node.id in taken_off else float("inf")
        return lambda turned: min(most, picked_cost(rows, columns, group[node.id] in turned))
    return _lying_cost(graph, node, group, sizes)


def _bias_cost(
    graph: Graph, node: Node, group: Mapping[int, int], sizes: Sizes, joined: int, copied: bool
) -> Cost | None:
    """Of adding a bias, or of its gradient, which may both be parts of products by ones beside `joined`."""
    samples, inputs = [size_of(d, sizes) for d in graph.nodes[joined].shape]
    outputs, h, z = size_of(node.shape[-1], sizes), group.get(joined), group.get(node.id)
    summing, ones = summing_cost(samples, outputs), ones_cost(samples, inputs, outputs)
    if node.operator.name == "sum":  # of copied inputs it is told with what is added
        return None if copied else lambda turned: 0.0 if h in turned else summing
    if copied:
        return lambda turned: min(ones, adding_cost(samples, outputs, z in turned) + summing)
    return lambda turned: 0.0 if h in turned else adding_cost(samples, outputs, z in turned)


def _lying_cost(graph: Graph, node: Node, group: Mapping[int, int], sizes: Sizes) -> Cost | None:
    """Of rows that are spread, and elements read astray."""
    if node.id not in group:
        return None
    g = group[node.id]
    rows, columns = [size_of(d, sizes) for d in node.shape]
    shapes = [(i in group, graph.nodes[i].shape) for i in node.inputs if graph.nodes[i].shape]
    spread = len([1 for _, shape in shapes if shape != node.shape])
    astray = len([1 for inside, shape in shapes if shape == node.shape and not inside])
    as_written, as_turned = spread * rows * ROW, spread * columns * ROW + astray * rows * columns * ASTRAY
    return lambda turned: as_turned if g in turned else as_written


# -- the graph in which they do ----------------------------------------------------------------------------------------


class LaidOut(NamedTuple):
    moved: dict[int, Tensor]  # where each old node went: of one that lies transposed, to its transpose
    matrices: list[Tensor]  # that end with a bias
    copied: list[Tensor]  # inputs, beside ones

    def after(self, moved: Mapping[int, Tensor]) -> LaidOut:
        """The same after a pass."""
        matrices, copied = [[moved[t.id] for t in tensors if t.id in moved] for tensors in (self.matrices, self.copied)]
        return LaidOut(compose(self.moved, moved), matrices, copied)


def lay_out(tensors: Sequence[Tensor], keep: Sequence[Tensor], layout: Layout) -> LaidOut:
    """The same values, these nodes computed as their transposes, and these biases in products."""
    old, turned = tensors[0].graph, layout.turned
    made: dict[int, Tensor] = {}
    at: dict[int, Tensor] = {}
    joining = Joining(tensors, keep, layout.with_ones, at) if layout.with_ones else None

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        factors = joining.factors(node) if joining is not None else None
        if node.id in turned:
            made[node.id] = _transposed(node, inputs, new) if factors is None else _transposed_product(node, *factors)
            upright: Tensor = swap(made[node.id])
            return upright
        if factors is not None:
            return op("matmul", *factors)
        if joining is not None and (joined := joining.visit(node, inputs)) is not None:
            return joined
        if node.operator.name in REDUCTIONS and node.inputs[0] in turned:
            axes = tuple(sorted(1 - axis for axis in node["axis"]))
            reduced = op(node.operator.name, swap(inputs[0]), axis=axes, keepdims=node["keepdims"])
            return _upright(reduced, node.shape)
        if _is_transpose(node) and node.inputs[0] in turned:
            return made[node.inputs[0]]
        if (pick := _pick(old, node)) and pick.matrix in turned:
            matrix = made[pick.matrix]
            places = op("add", op("multiply", at[pick.column], size(matrix, 1)), at[pick.row])
            return op("gather", op("reshape", matrix, shape=(count(matrix.shape),)), places, axis=0)
        return None

    new, moved = rebuild(tensors, visit, keep, moved=at)
    for id, tensor in made.items():
        record = old.records.get(id)
        for name in old.names.get(id) or ([record.symbol] if record is not None and record.symbol else []):
            if f"{name}ᵀ" not in new:
                new.set_name(tensor.id, f"{name}ᵀ")
    if joining is None:
        return LaidOut(moved | made, [], [])
    return LaidOut(joining.where([t.id for t in tensors]) | made, joining.matrices, joining.copied)


def _transposed_product(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return a.graph.place(matmul, (swap(b).id, swap(a).id), (), node.shape[::-1], node.dtype)


def _transposed(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor:
    if node.operator.name == "matmul":
        return _transposed_product(node, *inputs)
    if node.operator.name == "unit_rows":
        return op("unit_rows", *inputs, **dict(node.attributes) | {"axis": 0})
    operands = []
    for t in inputs:
        if t.shape == node.shape:
            t = swap(t)
        elif len(t.shape) == 2:  # one row or one column, which is spread
            t = _upright(t, t.shape[::-1])
        elif len(t.shape) == 1:
            t = _upright(t, (*t.shape, 1))
        operands.append(t)
    return new.place(node.operator, tuple([t.id for t in operands]), node.attributes, node.shape[::-1], node.dtype)


def _upright(tensor: Tensor, shape: tuple[object, ...]) -> Tensor:
    """One row or column in that shape; of what is only in another shape, the thing itself."""
    if tensor.shape != shape and tensor.node.operator.name in ("reshape", "transpose"):
        tensor = source(tensor)
    return tensor if tensor.shape == shape else op("reshape", tensor, shape=shape)
