"""Units that shrink with what decays in them: an average of the gradient loses its pass by β.

    m ← β m + g, in step k        becomes        M ← M + r g    with m = M / r and r = β^(-k)

r g is what the derivation gives whose seed is r in place of 1: the gradient is linear in that, and r is one more of
the numbers by which the loss's own gradient is multiplied anyway. What else takes in the gradient is kept in units
that fit: v ← β₂ v + g² becomes V ← (β₂/β²) V + (r g)², with v = V / r². So that r stays small, the exponent is k modulo
a period, and in the step where it begins again at 0, both are multiplied by what r loses.

That also ends what a decay by itself never does: where the gradient stays 0, m shrinks to the last numbers below the
normal ones, where β m is rounded to m again, and which CPUs multiply many times slower. What r loses in a period takes
them to 0.

It is done where every use of the gradient is of that kind: itself, or its square, added to a multiple of a state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.rewrite import is_op, op, rebuild, source
from graphgrad.simplify import Simpler
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS, count

from .program import InUnits, Unit, usual

LARGEST = 64.0  # of r: a gradient that comes so close to the largest float32 is none to go on with
PERIODS = range(32, 1 << 16)  # shorter ones save too little
LEAST = 1 << 16  # numbers of all averages: fewer are multiplied in the time that all else takes here


class Average(NamedTuple):
    """A state whose new value is decay·state + share, and of which degree the share is in the gradient."""

    leaf: int
    decay: Tensor
    share: int
    degree: int

    @property
    def shrink(self) -> float:
        """What 1/r has to be multiplied by in a step for the decay to fall away; 0 where that is no constant."""
        value = self.decay.value
        return value ** (1 / self.degree) if value is not None and 0 < value < 1 else 0.0


def may_grow(updates: Mapping[Tensor, Tensor]) -> bool:
    """Whether there is a count of the steps, and averages of many numbers."""
    averages = [leaf for leaf, value in updates.items() if _decay_and_share(leaf, value)]
    many = sum(usual(count(leaf.shape)) for leaf in averages) >= LEAST
    return many and any(_counts(leaf, value) for leaf, value in updates.items())


class Seed:
    """A pass that puts an unknown number in the place of the seed of a graph's derivation."""

    def __init__(self, graph: Graph) -> None:
        self._of = {id for id, record in graph.records.items() if record.rule == "seed"}
        self._name = "seed"
        while self._name in graph:
            self._name = f"the {self._name}"

    def mark(self, node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        if node.id not in self._of:
            return None
        return op("cast", new.input(self._name, (), "float64", weak=True), dtype=node.dtype)

    def leaf(self, graph: Graph) -> Tensor | None:
        """The number, in a graph after the pass."""
        names = {leaf.name: leaf for leaf in graph.leaves("input")}
        return names.get(self._name)


def grow(
    outputs: Sequence[Tensor], updates: Mapping[Tensor, Tensor], keep: Sequence[Tensor], seed: Tensor, then: Simpler
) -> InUnits | None:
    """The graph with the seed r; None where not all that depends on the seed can do with it. Moves rounding."""
    graph = seed.graph
    counter = next((leaf for leaf, value in updates.items() if _counts(leaf, value)), None)
    averages, degrees = _averages(outputs, updates, seed) if counter is not None else ({}, {})
    even = [a for a in averages.values() if _period(a.shrink) in PERIODS]
    if counter is None or not even:
        return None
    shrink = min(a.shrink for a in even)
    period = _period(shrink)
    of_leaf = {average.leaf: average for average in averages.values()}
    own: dict[int, Tensor] = {}
    kept: dict[int, Tensor] = {}
    at: dict[int, Tensor] = {}

    def exponent(new: Graph, *, after: bool) -> Tensor:
        """Of r before this step, or after it."""
        count = new.adopt(counter.node, ())
        return op("remainder", op("add", count, 1) if after else count, period)

    def unit(new: Graph, degree: int, *, after: bool) -> Tensor:
        return op("power", shrink**degree, exponent(new, after=after))

    def in_units(tensor: Tensor, degree: int) -> Tensor:
        return op("divide", tensor, unit(tensor.graph, degree, after=True))

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        if node.id == seed.id:
            return in_units(new.constant(1.0), 1)
        if (state := of_leaf.get(node.id)) is not None:
            own[node.id] = new.adopt(node, ())
            for name in graph.names.get(node.id, ()):  # the leaf keeps its names: the product has none
                new.set_name(own[node.id].id, name)
            return op("multiply", unit(new, state.degree, after=False), own[node.id])
        if (average := averages.get(node.id)) is not None:
            begins = op("equal", exponent(new, after=True), 0)
            known = average.decay.value
            stays = (1.0 if known is None else known) / shrink**average.degree
            if average.shrink == shrink:
                stays = 1.0  # which rounding might miss
            decay = op("where", begins, stays * shrink ** (average.degree * period), stays)
            if known is None:
                decay = op("multiply", at[average.decay.id], decay)
            kept[average.leaf] = op("add", op("multiply", decay, own[average.leaf]), at[average.share])
            return op("multiply", unit(new, average.degree, after=True), kept[average.leaf])
        if (degree := degrees.get(node.id)) and node.operator.name in ("add", "subtract"):
            operands = [t if degrees.get(i) else in_units(t, degree) for i, t in zip(node.inputs, inputs, strict=True)]
            return op(node.operator.name, *operands)
        return None

    rebuild([*outputs, *updates.values()], visit, keep, then, at)
    kept = {leaf: then(value) for leaf, value in kept.items()}
    name = counter.node["name"]
    units = {a.leaf: Unit(1.0, shrink**a.degree, period, name) for a in averages.values()}
    return InUnits(at, own, kept, units)


def _period(shrink: float) -> int:
    """The number of steps in which r grows to LARGEST."""
    return int(-math.log(LARGEST) / math.log(shrink)) if 0 < shrink < 1 else 0


def _counts(leaf: Tensor, value: Tensor) -> bool:
    """Whether a state is the number of steps."""
    if not is_op(value, "add") or not leaf.node.weak or leaf.dtype != "int64":
        return False
    a, b = source(value), source(value, 1)
    return (a.id == leaf.id and b.value == 1) or (b.id == leaf.id and a.value == 1)


# ---------------------------------------------------------------------------------------------------------------------
# What depends on the seed, and how
# ---------------------------------------------------------------------------------------------------------------------


def _averages(
    outputs: Sequence[Tensor], updates: Mapping[Tensor, Tensor], seed: Tensor
) -> tuple[dict[int, Average], dict[int, int]]:
    """The averages that take in the gradient, by their new values, and the degree of each node in the seed; nothing
    where the gradient is used otherwise."""
    graph = seed.graph
    sums = {value.id: (leaf, *form) for leaf, value in updates.items() if (form := _decay_and_share(leaf, value))}
    averages: dict[int, Average] = {}
    degrees = {seed.id: 1}
    for id in graph.ancestors([t.id for t in (*outputs, *updates.values())]):
        node = graph.nodes[id]
        of = [degrees.get(i, 0) for i in node.inputs]
        if not any(of):
            continue
        if id in sums:
            leaf, decay, share = sums[id]
            if degrees.get(decay.id):
                return {}, {}
            averages[id] = Average(leaf.id, decay, share, degrees[share])
            continue
        degree = _degree(graph, node, of)
        if degree is None:
            return {}, {}
        degrees[id] = degree
    ends = [t.id for t in (*outputs, *updates.values())]
    return ({}, {}) if any(degrees.get(id) for id in ends) else (averages, degrees)


def _decay_and_share(leaf: Tensor, value: Tensor) -> tuple[Tensor, int] | None:
    if leaf.node.operator.name != "state" or not leaf.shape or leaf.dtype not in FLOATS or not is_op(value, "add"):
        return None
    for product, share in ((source(value), source(value, 1)), (source(value, 1), source(value))):
        if is_op(product, "multiply") and share.shape == leaf.shape and share.dtype == leaf.dtype:
            factors = source(product), source(product, 1)
            for decay, state in (factors, factors[::-1]):
                if state.id == leaf.id and decay.node.weak:
                    return decay, share.id
    return None


def _degree(graph: Graph, node: Node, of: Sequence[int]) -> int | None:
    """The degree of a node in the seed, from those of its operands; None where it is no power of it times the rest."""
    name, kind = node.operator.name, node.operator.kind
    if name == "multiply" or kind == "multilinear":
        return sum(of)
    if name == "square":
        return 2 * of[0]
    if name == "negative" or (name == "cast" and node.dtype in FLOATS) or (name == "divide" and not of[1]):
        return of[0]
    if name in ("add", "subtract", "where", "concatenate") or kind == "pack":
        first = 1 if name == "where" else 0
        terms = zip(node.inputs[first:], of[first:], strict=True)
        found = {degree for i, degree in terms if degree or not _is_zero(graph, i)}
        if name in ("add", "subtract"):
            found -= {0}  # a term that is not the gradient's, such as L2's, can be brought to its units
        return found.pop() if len(found) == 1 and not (first and of[0]) else None
    return of[0] if kind in ("view", "linear") and not any(of[1:]) else None


def _is_zero(graph: Graph, id: int) -> bool:
    while graph.nodes[id].operator.name in ("broadcast_to", "cast", "reshape"):
        id = graph.nodes[id].inputs[0]
    return graph.nodes[id].operator.name == "constant" and not graph.nodes[id]["value"].array.any()
