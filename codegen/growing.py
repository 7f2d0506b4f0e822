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
from collections.abc import Collection, Mapping, Sequence
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
LEAST = 1 << 10  # numbers of all averages: with fewer, what else this takes is some percent of a step


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


class Growth(NamedTuple):
    """How r grows, and what of a written graph it enters."""

    seeds: Collection[int]
    degrees: Mapping[int, int]  # of the nodes that depend on the seeds, in them
    averages: Mapping[int, Average]  # by the states that take in the gradient
    counter: Node  # of the steps
    shrink: float  # what 1/r is multiplied by in each of them,
    period: int  # until it begins again after so many

    def seed(self, node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        """A pass over the written graph: the seed is r, and what is added to a gradient comes in the same units."""
        if node.id in self.seeds:
            return op("cast", self.in_units(new.constant(1.0), 1), dtype=node.dtype)
        degree = self.degrees.get(node.id)
        if not degree or node.operator.name not in ("add", "subtract"):
            return None
        terms = zip(node.inputs, inputs, strict=True)
        return op(node.operator.name, *[t if self.degrees.get(i) else self.in_units(t, degree) for i, t in terms])

    def exponent(self, graph: Graph, *, after: bool) -> Tensor:
        """Of r before this step, or after it."""
        count = graph.adopt(self.counter, ())
        return op("remainder", op("add", count, 1) if after else count, self.period)

    def unit(self, graph: Graph, degree: int, *, after: bool) -> Tensor:
        return op("power", self.shrink**degree, self.exponent(graph, after=after))

    def in_units(self, tensor: Tensor, degree: int) -> Tensor:
        return op("divide", tensor, self.unit(tensor.graph, degree, after=True))


def growth(outputs: Sequence[Tensor], updates: Mapping[Tensor, Tensor]) -> Growth | None:
    """How the seed of the derivation may grow; None where not all that depends on it can do with that, or where the
    averages are so small that it would save nothing."""
    counter = next((leaf for leaf, value in updates.items() if _counts(leaf, value)), None)
    forms = {value.id: (leaf, *form) for leaf, value in updates.items() if (form := _decay_and_share(leaf, value))}
    if counter is None or sum(usual(count(leaf.shape)) for leaf, *_ in forms.values()) < LEAST:
        return None
    seeds = {id for id, record in counter.graph.records.items() if record.rule == "seed"}
    averages, degrees = _averages(seeds, outputs, updates, forms)
    even = [a.shrink for a in averages if _period(a.shrink) in PERIODS]
    if not even:
        return None
    shrink = min(even)
    return Growth(seeds, degrees, {a.leaf: a for a in averages}, counter.node, shrink, _period(shrink))


def keep_in_units(
    growth: Growth,
    where: Mapping[int, Tensor],
    outputs: Sequence[Tensor],
    updates: Mapping[Tensor, Tensor],
    keep: Sequence[Tensor],
    then: Simpler,
) -> InUnits | None:
    """The averages in their units, once the seed is r and the nodes of the written graph are there; None where one is
    written otherwise now. Moves rounding."""
    written = {where[leaf].id: average for leaf, average in growth.averages.items()}
    degree_of = {leaf: average.degree for leaf, average in written.items()}
    averages: dict[int, Average] = {}  # by their new values
    for leaf, value in updates.items():
        if leaf.id in written:
            form = _decay_and_share(leaf, value)
            if form is None or form[0] is not where.get(written[leaf.id].decay.id):
                return None
            averages[value.id] = Average(leaf.id, *form, degree_of[leaf.id])
    old = next(iter(updates)).graph
    own: dict[int, Tensor] = {}
    kept: dict[int, Tensor] = {}
    at: dict[int, Tensor] = {}

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        if (degree := degree_of.get(node.id)) is not None:
            own[node.id] = new.adopt(node, ())
            for name in old.names.get(node.id, ()):  # the leaf keeps its names: the product has none
                new.set_name(own[node.id].id, name)
            return op("multiply", growth.unit(new, degree, after=False), own[node.id])
        if (average := averages.get(node.id)) is not None:
            begins = op("equal", growth.exponent(new, after=True), 0)
            known = average.decay.value
            stays = (1.0 if known is None else known) / growth.shrink**average.degree
            if average.shrink == growth.shrink:
                stays = 1.0  # which rounding might miss
            decay = op("where", begins, stays * growth.shrink ** (average.degree * growth.period), stays)
            if known is None:
                decay = op("multiply", at[average.decay.id], decay)
            kept[average.leaf] = op("add", op("multiply", decay, own[average.leaf]), at[average.share])
            return op("multiply", growth.unit(new, average.degree, after=True), kept[average.leaf])
        return None

    start = then.settled(old, min(degree_of))
    rebuild([*outputs, *updates.values()], visit, keep, then, at, start)
    kept = {leaf: then(value) for leaf, value in kept.items()}
    units = {
        a.leaf: Unit(1.0, growth.shrink**a.degree, growth.period, growth.counter["name"]) for a in averages.values()
    }
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
    seeds: Collection[int],
    outputs: Sequence[Tensor],
    updates: Mapping[Tensor, Tensor],
    forms: Mapping[int, tuple[Tensor, Tensor, int]],
) -> tuple[list[Average], dict[int, int]]:
    """The averages that take in the gradient, of states whose new values have such forms, and the degree of each other
    node in the seeds; nothing where the gradient is used otherwise."""
    ends = [t.id for t in (*outputs, *updates.values())]
    graph = next(iter(updates)).graph
    averages: list[Average] = []
    degrees = dict.fromkeys(seeds, 1)
    for id in graph.ancestors(ends):
        node = graph.nodes[id]
        of = [degrees.get(i, 0) for i in node.inputs]
        if not any(of):
            continue
        if id in forms:
            leaf, decay, share = forms[id]
            if degrees.get(decay.id):
                return [], {}
            averages.append(Average(leaf.id, decay, share, degrees[share]))
            continue
        degree = _degree(graph, node, of)
        if degree is None:
            return [], {}
        degrees[id] = degree
    return ([], {}) if any(degrees.get(id) for id in ends) else (averages, degrees)


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
    if name == "power" and graph.tensor(node.inputs[1]).value == 2:
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
