"""Constants moved out of linear state: what an optimizer remembers is kept in units that save a pass over it.

    m ← β·m + c·g, and m read elsewhere,        becomes        m' ← β·m' + g, and c·m' read there, where m = c·m'

The constant c then merges with others, such as the step size. Whoever looks at the state from outside sees m: the
loader multiplies what is kept by c, and divides what is set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.rewrite import Visit, is_op, op, rebuild, source
from graphgrad.simplify import Simpler
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS

from .program import InUnits, Unit


@dataclass(frozen=True, slots=True)
class Linear:
    """A state whose new value is decay·state + c·share; decay and share do not read it."""

    c: float
    decay: int
    share: int


def linear_states(updates: Mapping[Tensor, Tensor]) -> dict[int, Linear]:
    """How the new values of linear states depend on them, by the states; a value is that of one state alone."""
    found: dict[int, Linear] = {}
    taken: set[int] = set()
    for leaf, value in updates.items():
        linear = linear_state(leaf, value) if value.id not in taken else None
        if linear is not None:
            found[leaf.id] = linear
            taken.add(value.id)
    return found


def scale_states(
    found: Mapping[int, Linear],
    outputs: Sequence[Tensor],
    updates: Mapping[Tensor, Tensor],
    keep: Sequence[Tensor],
    then: Simpler,
    beside: Visit | None = None,
) -> InUnits:
    """A graph in which these states are kept in their own units. Moves rounding. `beside` is done on the way."""
    graph = next(iter((*outputs, *updates))).graph
    value_of = {value.id: leaf.id for leaf, value in updates.items() if leaf.id in found}
    own: dict[int, Tensor] = {}  # each state in its own units
    kept: dict[int, Tensor] = {}
    at: dict[int, Tensor] = {}

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        if node.id in found:
            own[node.id] = new.adopt(node, ())
            for name in graph.names.get(node.id, ()):  # the leaf keeps its names: the product has none
                new.set_name(own[node.id].id, name)
            return op("multiply", found[node.id].c, own[node.id])
        if node.id in value_of:
            leaf = value_of[node.id]
            linear = found[leaf]
            kept[leaf] = op("add", op("multiply", at[linear.decay], own[leaf]), at[linear.share])
            return op("multiply", linear.c, kept[leaf])
        return beside(node, inputs, new) if beside is not None else None

    rebuild([*outputs, *updates.values()], visit, keep, then, at, then.settled(graph, min(found)))
    kept = {leaf: then(value) for leaf, value in kept.items()}
    return InUnits(at, own, kept, {leaf: Unit(linear.c) for leaf, linear in found.items()})


def scale_quotients(
    outputs: Sequence[Tensor], updates: Mapping[Tensor, Tensor], keep: Sequence[Tensor], then: Simpler
) -> dict[int, Tensor]:
    """(s·m) / Y = s·(m / Y) for what a state becomes: since m stays, s·m would need a place beside Y's.

    Moves rounding. Returns where each node went.
    """
    states = {value.id for leaf, value in updates.items() if leaf.shape}
    results = [*outputs, *updates.values()]
    graph = results[0].graph
    ids = graph.ancestors([t.id for t in results])
    used = Counter(i for id in ids for i in graph.nodes[id].inputs)
    used.update(t.id for t in results)

    def is_scaled(node: Node) -> bool:
        if node.operator.name != "divide" or used[node.inputs[0]] != 1:
            return False
        numerator = graph.nodes[node.inputs[0]]
        return numerator.operator.name == "multiply" and not states.isdisjoint(numerator.inputs)

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        if node.id not in changing or not is_op(inputs[0], "multiply"):
            return None
        product, denominator = inputs
        factors = source(product), source(product, 1)
        for number, array in (factors, factors[::-1]):
            if number.node.weak and array.shape == denominator.shape == node.shape and array.dtype == node.dtype:
                return op("multiply", number, op("divide", array, denominator))
        return None

    changing = {id for id in ids if is_scaled(graph.nodes[id])}
    if not changing:
        return dict(enumerate(graph.tensors(range(len(graph.nodes)))))
    return rebuild(results, visit, keep, then, start=then.settled(graph, min(changing)))[1]


def linear_state(leaf: Tensor, value: Tensor) -> Linear | None:
    """How a state's new value depends on it, if that is decay·state + c·share with a constant c above 0."""
    if leaf.node.operator.name != "state" or not leaf.shape or leaf.dtype not in FLOATS or not is_op(value, "add"):
        return None
    for a, b in ((source(value), source(value, 1)), (source(value, 1), source(value))):
        decay, share = _other(a, leaf), _constant_times(b)
        if decay is None or share is None or decay.shape:
            continue
        c, rest = share
        apart = leaf.id not in leaf.graph.ancestors([rest.id, decay.id])
        if apart and rest.shape == leaf.shape and rest.dtype == leaf.dtype:
            return Linear(c, decay.id, rest.id)
    return None


def _other(product: Tensor, factor: Tensor) -> Tensor | None:
    """The other factor of a product."""
    if not is_op(product, "multiply"):
        return None
    a, b = source(product), source(product, 1)
    return b if a.id == factor.id else a if b.id == factor.id else None


def _constant_times(product: Tensor) -> tuple[float, Tensor] | None:
    """(c, X) where the product is c·X with a constant c above 0."""
    if not is_op(product, "multiply"):
        return None
    for c, x in ((source(product), source(product, 1)), (source(product, 1), source(product))):
        if c.value is not None and c.node.weak and c.value > 0:
            return float(c.value), x
    return None
