"""The mechanism under all graph-to-graph passes: rebuild what some outputs need, node by node, in a new graph."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from graphgrad.collector import paused_gc
from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.operator import OPERATORS
from graphgrad.tensor import Tensor

#: Given a node and its inputs in the new graph, what stands there instead; None leaves the node, or a copy of it.
Visit: TypeAlias = "Callable[[Node, tuple[Tensor, ...], Graph], Tensor | None]"
#: Given what a visit made, or a copy, and the old node that it is a copy of: what stands there at last.
Then: TypeAlias = "Callable[[Tensor, Node | None], Tensor]"


def rebuild(
    outputs: Sequence[Tensor],
    visit: Visit | None = None,
    keep: Sequence[Tensor] = (),
    then: Then | None = None,
    moved: dict[int, Tensor] | None = None,
    start: int = 0,
) -> tuple[Graph, dict[int, Tensor]]:
    """A new graph of what `outputs` need, and where each old node went. Names, lines, scopes and records move along.

    `keep` are further tensors (leaves whose value is replaced) that come along although nothing may need them. `then`
    has the last word on each node, so that two passes go through the graph once (see `graphgrad.simplify`). `moved` is
    filled in as the nodes go: a visit may look where those before it went. The nodes before `start` are known to stay:
    they come along as they are, also those that nothing needs, and `then` is only shown them.
    """
    moved = {} if moved is None else moved
    if not outputs and not keep:
        return Graph(), moved
    old = (outputs or keep)[0].graph
    new = old.head(start)
    nodes, lines, names, scopes, records = old.nodes, old.lines, old.names, old.scopes, old.records
    retyped: set[int] = set()  # old nodes in whose place something of another type stands
    came = dict(zip(range(start), range(start), strict=True))  # the first old node that went to a new one
    ids = old.ancestors([t.id for t in (*outputs, *keep)])
    first = bisect_left(ids, start)
    with paused_gc():
        moved.update(enumerate(new.tensors(range(start))))
        if then is not None:
            for id in ids[:first]:
                then(moved[id], nodes[id])
        for id in ids[first:]:
            node = nodes[id]
            new._asking = lines.get(id, ())
            made = visit(node, tuple([moved[i] for i in node.inputs]), new) if visit is not None else None
            copy = None
            if made is None and (not retyped or retyped.isdisjoint(node.inputs)):
                made = copy = new.adopt(node, tuple([moved[i].id for i in node.inputs]))
            elif made is None:
                made = copy_node(node, [moved[i] for i in node.inputs], new)
            if then is not None:
                made = then(made, node if copy is not None else None)
            moved[id] = made
            if made is not copy:
                there = new.nodes[made.id]
                if there.dtype != node.dtype or there.shape != node.shape or there.weak != node.weak:
                    retyped.add(id)
            before = came.setdefault(made.id, id)
            if id in names or id in scopes or id in records:
                carry(old, id, made, record=before in records)  # 1 * h is h, which no derivation made
        new._asking = None
    return new, moved


def copy_node(node: Node, inputs: Sequence[Tensor], new: Graph) -> Tensor:
    """The node itself, on other inputs, which may be of other types."""
    return new.insert(node.operator, tuple([t.id for t in inputs]), dict(node.attributes))


class Aside:
    """A graph of its own, in which each tensor that takes part is a leaf: two places of one tensor are two leaves.

    What is built there, moved back, stands for itself in the graph that the tensors came from.
    """

    def __init__(self) -> None:
        self.graph = Graph()
        self._place: dict[int, Tensor] = {}

    def stand_in(self, tensor: Tensor) -> Tensor:
        """A leaf for a tensor. A constant stays one, since rules look at them: a power's exponent."""
        node = tensor.node
        if node.operator.name == "constant":
            return self.graph.insert(node.operator, (), dict(node.attributes))
        leaf = self.graph.input(f"x{len(self._place)}", node.shape, node.dtype, weak=node.weak)
        self._place[leaf.id] = tensor
        return leaf

    def back(self, result: Tensor, graph: Graph) -> Tensor:
        """A tensor of this graph, built on what the leaves stand for."""
        place = dict(self._place)
        for id in self.graph.ancestors([result.id]):
            if id not in place:
                node = self.graph.nodes[id]
                place[id] = graph.insert(node.operator, tuple(place[i].id for i in node.inputs), dict(node.attributes))
        return place[result.id]


def carry(old: Graph, id: int, moved: Tensor, *, record: bool = True) -> None:
    """What is known beside an old node, told of the new one; what the new one has already stays."""
    new = moved.graph
    if id in old.names:
        for name in old.names[id]:
            if name not in new:
                new.set_name(moved.id, name)
    if id in old.scopes:
        new.scopes.setdefault(moved.id, old.scopes[id])
    if record and id in old.records:
        new.records.setdefault(moved.id, old.records[id])


def compose(first: Mapping[int, Tensor], second: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """Where old nodes are after two passes; those that the second found no use for are gone."""
    return {id: second[t.id] for id, t in first.items() if t.id in second}


def with_dtype(outputs: Sequence[Tensor], dtype: str) -> tuple[Graph, dict[int, Tensor]]:
    """The same computation with every float leaf, array constant and cast in another float dtype."""
    return rebuild(outputs, in_dtype(dtype))


def in_dtype(dtype: str) -> Visit:
    """What a pass makes of each node that is to be in another float dtype."""

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        if node.weak or not node.dtype.startswith("float"):
            return None
        if node.operator.name == "constant":
            return new.constant(node["value"].array.astype(dtype))
        attributes: dict[str, Any] = dict(node.attributes)
        if "dtype" in attributes:
            return new.insert(node.operator, tuple(t.id for t in inputs), {**attributes, "dtype": dtype})
        return None

    return visit


def lower(
    outputs: Sequence[Tensor], spelled: Callable[[Node], bool], keep: Sequence[Tensor] = ()
) -> tuple[Graph, dict[int, Tensor]]:
    """Composites that a target cannot spell, written out by their definitions, until none is left."""

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        definition = node.operator.definition
        return None if definition is None or spelled(node) else definition(*inputs, **dict(node.attributes))

    graph, moved = rebuild(outputs, visit, keep)
    while any(n.operator.definition is not None and not spelled(n) for n in graph.nodes):
        graph, again = rebuild([moved[t.id] for t in outputs], visit, [moved[t.id] for t in keep])
        moved = compose(moved, again)
    return graph, moved


# ---------------------------------------------------------------------------------------------------------------------
# What rewrites are written with
# ---------------------------------------------------------------------------------------------------------------------


def types(node: Node) -> tuple[Any, ...]:
    return node.shape, node.dtype, node.weak


def op(name: str, *operands: Any, **attributes: Any) -> Tensor:
    """A call of an operator, on tensors of one graph. Where all of its attributes are given, as by most passes, nothing
    is left to be sorted out but their order.
    """
    operator = OPERATORS[name]
    complete = len(operands) == len(operator.operands) and attributes.keys() == operator.defaults.keys()
    if complete and not operator.variadic and all([type(x) is Tensor for x in operands]):
        return operands[0].graph.insert(operator, tuple([x.id for x in operands]), {**operator.defaults, **attributes})  # type: ignore[no-any-return]
    return operator(*operands, **attributes)


def same(node: Node, x: Tensor) -> Tensor | None:
    """x, if it is of the node's shape and dtype: what `x + 0` may become."""
    return x if x.shape == node.shape and x.dtype == node.dtype and x.node.weak == node.weak else None


def is_op(x: Tensor, *names: str) -> bool:
    return x.graph.nodes[x.id].operator.name in names


def source(x: Tensor, position: int = 0) -> Tensor:
    return x.graph.tensor(x.node.inputs[position])


def name_of(graph: Graph, id: int) -> str | None:
    """A node's name, or what its step of the derivation calls it."""
    record = graph.records.get(id)
    return next(iter(graph.names.get(id, ())), record.symbol if record is not None else None) or None


def op_of(n: Node, operands: Sequence[Tensor]) -> Tensor:
    return operands[0].graph.apply(n.operator, operands, dict(n.attributes))
