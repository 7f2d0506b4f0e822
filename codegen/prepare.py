"""From a written graph to a program: simplified, lowered, simplified again; its arguments and held values settled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from graphgrad.graph import Graph, Node
from graphgrad.operator import OPERATORS
from graphgrad.rewrite import compose, lower
from graphgrad.simplify import simplify
from graphgrad.tensor import Tensor
from graphgrad.types import Sizes, size_names

from .biases import join_biases
from .layout import WRITTEN, Layout, best_layout, turn
from .linear_state import scale_states
from .program import Program, build

Prepared: TypeAlias = "tuple[Program, Mapping[int, Tensor]]"


@dataclass(frozen=True, slots=True)
class Lowered:
    """A graph that a target can spell, with what is wanted of it."""

    outputs: list[Tensor]
    values: dict[Tensor, Tensor]  # what each held leaf becomes
    arguments: list[Tensor]
    where: Mapping[int, Tensor]  # each node of the written graph
    scales: Mapping[int, float]  # of held leaves that are kept in units of their own

    @property
    def tensors(self) -> list[Tensor]:
        return [*self.outputs, *self.values.values(), *self.values, *self.arguments]

    @property
    def graph(self) -> Graph:
        return self.tensors[0].graph

    def best_layout(self, sizes: Sizes) -> Layout:
        """How the nodes had better lie in calls with such sizes."""
        kept = {t.id for t in self.tensors}
        return best_layout([*self.outputs, *self.values.values()], sizes, kept)

    def moved(self, by: Mapping[int, Tensor]) -> Lowered:
        """After a pass: where all nodes are now."""
        return Lowered(
            [by[t.id] for t in self.outputs],
            {by[leaf.id]: by[value.id] for leaf, value in self.values.items()},
            [by[t.id] for t in self.arguments],
            compose(self.where, by),
            {by[leaf].id: c for leaf, c in self.scales.items()},
        )


def prepare(
    outputs: Sequence[Tensor], updates: Mapping[Tensor, Tensor], *, exact: bool, scaled: bool = True
) -> Prepared:
    """Graph to graph (simplified, lowered, simplified again), then to an unscheduled program.

    With `scaled`, linear states are kept in units of their own where that saves work, unless it is to be `exact`.
    """
    return finished(lowered(outputs, updates, exact=exact, scaled=scaled))


def lowered(
    outputs: Sequence[Tensor], updates: Mapping[Tensor, Tensor], *, exact: bool, scaled: bool = True
) -> Lowered:
    """The first part of `prepare`, from graph to graph."""
    arguments = _arguments([*outputs, *updates.values(), *updates])
    leaves = [*updates, *arguments]

    def spelled(node: Node) -> bool:
        return node.operator.numpy is not None

    simple, where = simplify([*outputs, *updates.values()], keep=leaves, exact=exact)
    new = {leaf.id: where[value.id] for leaf, value in updates.items()}  # what each held leaf becomes

    def now(ts: Iterable[Tensor]) -> list[Tensor]:
        return [where[t.id] for t in ts]

    def moved(by: Mapping[int, Tensor]) -> None:
        """After a pass: where all nodes are now."""
        nonlocal where
        where = compose(where, by)
        for leaf, value in new.items():
            new[leaf] = by[value.id]

    scales: dict[int, float] = {}
    if scaled and not exact:
        pairs = {where[leaf.id]: new[leaf.id] for leaf in updates}
        by, kept, found = scale_states(now(outputs), pairs, now(leaves))
        if found:
            written = {where[leaf.id].id: leaf.id for leaf in updates}
            moved(by)
            new |= {written[leaf]: value for leaf, value in kept.items()}
            scales = {written[leaf]: c for leaf, c in found.items()}
            for _ in range(2):  # what a first pass makes of numbers, a second gathers
                moved(simplify([*now(outputs), *new.values()], keep=now(leaves))[1])
    if any(n.operator.definition is not None and not spelled(n) for n in simple.nodes):
        moved(lower([*now(outputs), *new.values()], spelled, now(leaves))[1])
        moved(simplify([*now(outputs), *new.values()], keep=now(leaves), exact=exact, lowered=True)[1])
    values = {where[leaf.id]: new[leaf.id] for leaf in updates}
    of_held = {where[leaf].id: c for leaf, c in scales.items()}
    return Lowered(now(outputs), values, now(arguments), where, of_held)


def finished(low: Lowered, layout: Layout = WRITTEN) -> Prepared:
    """The second part of `prepare`: the program, whose values lie so."""
    turned = layout.turned
    matrices: list[Tensor] = []
    lasting: list[Tensor] = []
    if layout.with_ones:
        tensors, keep = [*low.outputs, *low.values.values()], [*low.values, *low.arguments]
        by, matrices, lasting = join_biases(tensors, keep, layout.with_ones)
        low, turned = low.moved(by), frozenset(by[id].id for id in turned)
    lying: frozenset[int] = frozenset()
    if turned:
        by = turn([*low.outputs, *low.values.values()], [*low.values, *low.arguments], turned)
        low, lying = low.moved(by), frozenset(by[id].id for id in turned if id in by)
        matrices, lasting = ([by[t.id] for t in ts] for ts in (matrices, lasting))
    held = {leaf.id for leaf in low.values}
    final = {leaf: _own_value(leaf, value) for leaf, value in low.values.items()}
    results = [_old_value(t, held) for t in low.outputs]
    program = build(results[0].graph if results else next(iter(final)).graph, results, final, low.arguments)
    origins: dict[int, int] = {}
    for id, tensor in low.where.items():
        origins.setdefault(tensor.id, id)
    known = replace(program, origins=origins, turned=lying, scales=low.scales)
    with_biases, lasts = tuple(t.id for t in matrices), frozenset(t.id for t in lasting)
    return replace(known, with_biases=with_biases, lasting=lasts), low.where


def _arguments(tensors: Sequence[Tensor]) -> list[Tensor]:
    """What a call gives: the leaves that the written graph needs, whatever simplification makes of it, and where a
    named size would not be known from those, the first leaves that have it in their shape."""
    graph = tensors[0].graph
    needed = [graph.nodes[i] for i in graph.ancestors([t.id for t in tensors])]
    leaves = {n.id for n in needed if n.operator.name in ("input", "parameter", "state")}

    def names(nodes: Iterable[Node]) -> set[str]:
        nodes = list(nodes)
        dims = {d for shape in {n.shape for n in nodes} for d in shape}
        dims |= {n["dim"] for n in nodes if n.operator.kind == "size"}
        return {name for d in dims for name in size_names(d)}

    unknown = names(needed) - names(graph.nodes[i] for i in leaves)
    for leaf in (*graph.leaves("input"), *graph.leaves("parameter")) if unknown else ():
        if found := names([leaf.node]) & unknown:
            unknown -= found
            leaves.add(leaf.id)
    return [graph.tensor(i) for i in sorted(leaves)]


def _old_value(output: Tensor, held: set[int]) -> Tensor:
    """An output that shows the memory of something held is copied: it is told as it was before the update."""
    base = output
    while base.node.operator.kind == "view":
        base = base.graph.tensor(base.node.inputs[0])
    return OPERATORS["cast"](output, dtype=output.dtype) if base.id in held and not output.node.weak else output


def _own_value(leaf: Tensor, value: Tensor) -> Tensor:
    """A new value that is computed by a statement of its own: a leaf or a view of one is copied first.

    What becomes itself is held, and no statement touches it.
    """
    node = value.node
    if value.id == leaf.id:
        return value
    if value.node.weak and leaf.node.weak:
        return value if node.operator.kind != "leaf" or node.operator.name == "constant" else value + 0
    if node.operator.kind in ("leaf", "view") or node.weak or node.dtype != leaf.dtype:
        return OPERATORS["cast"](value, dtype=leaf.dtype)
    return value
