"""From a written graph to a program: simplified, lowered; its arguments and held values settled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.operator import OPERATORS
from graphgrad.rewrite import Visit, compose, rebuild
from graphgrad.simplify import Simpler, simplify
from graphgrad.tensor import Tensor
from graphgrad.types import Sizes, size_names

from .growing import growth, keep_in_units
from .labels import take_off_at_labels
from .layout import WRITTEN, LaidOut, Layout, best_layout, lay_out
from .linear_state import linear_states, scale_quotients, scale_states
from .masks import masks_as_numbers
from .program import InUnits, Program, Unit, build
from .sides import from_other_side

Prepared: TypeAlias = "tuple[Program, Mapping[int, Tensor]]"


@dataclass(frozen=True, slots=True)
class Lowered:
    """A graph on its way to one that a target can spell, with what is wanted of it."""

    outputs: list[Tensor]
    values: dict[Tensor, Tensor]  # what each held leaf becomes
    arguments: list[Tensor]
    where: Mapping[int, Tensor] | None  # each node of the written graph; None: where it was written
    units: Mapping[int, Unit]  # of held leaves that are kept in others than their own

    @property
    def results(self) -> list[Tensor]:
        return [*self.outputs, *self.values.values()]

    @property
    def leaves(self) -> list[Tensor]:
        return [*self.values, *self.arguments]

    @property
    def graph(self) -> Graph:
        return (self.results or self.leaves)[0].graph

    def best_layout(self, sizes: Sizes) -> Layout:
        """How the nodes had better lie in calls with such sizes."""
        return best_layout(self.results, sizes, {t.id for t in (*self.results, *self.leaves)})

    def moved(self, by: Mapping[int, Tensor]) -> Lowered:
        """After a pass: where all nodes are now."""
        return self.in_units(InUnits(by, {}, {}, {}))

    def in_units(self, done: InUnits) -> Lowered:
        """After a pass that keeps states in other units: as a leaf, such a state is what is kept of it."""
        leaf_at = {**done.moved, **done.own}
        units = {**self.units, **done.units}
        return Lowered(
            [done.moved[t.id] for t in self.outputs],
            {leaf_at[leaf.id]: done.kept.get(leaf.id, done.moved[value.id]) for leaf, value in self.values.items()},
            [leaf_at[t.id] for t in self.arguments],
            compose(self.where, leaf_at) if self.where is not None else leaf_at,
            {leaf_at[leaf].id: unit.on(self.units.get(leaf)) for leaf, unit in units.items()},
        )

    def needed(self) -> list[Node]:
        nodes, results = self.graph.nodes, self.results
        return [nodes[i] for i in self.graph.ancestors([t.id for t in results])]

    def simpler(self, then: Simpler) -> Lowered:
        return self.moved(simplify(self.results, keep=self.leaves, then=then)[1])


def prepare(
    outputs: Sequence[Tensor], updates: Mapping[Tensor, Tensor], *, exact: bool, scaled: bool = True
) -> Prepared:
    """Graph to graph (simplified and lowered), then to an unscheduled program.

    With `scaled`, linear states are kept in units of their own where that saves work, unless it is to be `exact`.
    """
    return finished(lowered(outputs, updates, exact=exact, scaled=scaled))


def lowered(
    outputs: Sequence[Tensor], updates: Mapping[Tensor, Tensor], *, exact: bool, scaled: bool = True
) -> Lowered:
    """The first part of `prepare`, from graph to graph."""
    written = _written(outputs, updates)
    if exact or not scaled:
        low = written.simpler(Simpler(exact=exact))
    else:
        low = _grown(written) or _in_own_units(written)
    if any(n.operator.definition is not None and not _spelled(n) for n in low.needed()):
        low = low.simpler(_lowering(exact=exact))
    if updates and not exact:
        low = low.moved(scale_quotients(low.outputs, low.values, low.leaves, _lowering()))
    return replace(low, outputs=[_in_dtype(t, of.dtype) for t, of in zip(low.outputs, outputs, strict=True)])


def _written(outputs: Sequence[Tensor], updates: Mapping[Tensor, Tensor]) -> Lowered:
    arguments = _arguments([*outputs, *updates.values(), *updates])
    return Lowered(list(outputs), dict(updates), arguments, None, {})


def _grown(written: Lowered) -> Lowered | None:
    """With averages of the gradient in units that shrink, and another seed of the derivation; None if they cannot."""
    found = growth(written.outputs, written.values)
    if found is None:
        return None
    low = _in_own_units(written, found.seed)
    done = keep_in_units(found, low.where or {}, low.outputs, low.values, low.leaves, _lowering())
    return low.in_units(done) if done is not None else None


def _in_own_units(low: Lowered, beside: Visit | None = None) -> Lowered:
    """Simplified, with linear states in their own units: those that are written so, and those that then are."""
    found, then = linear_states(low.values), Simpler()
    if not found:
        low = low.moved(rebuild(low.results, beside, low.leaves, then)[1])
    else:
        low = low.in_units(scale_states(found, low.outputs, low.values, low.leaves, then, beside))
    if more := linear_states(low.values):
        low = low.in_units(scale_states(more, low.outputs, low.values, low.leaves, Simpler(again=True)))
    return low


def _in_dtype(output: Tensor, dtype: str) -> Tensor:
    """Of weak float32 a definition makes float64 by its own numbers, which are weak too."""
    return output if output.dtype == dtype else OPERATORS["cast"](output, dtype=dtype)


def _lowering(*, exact: bool = False) -> Simpler:
    """What makes a simplified graph one that the target can spell."""
    return Simpler(exact=exact, again=True, spelled=_spelled)


def _spelled(node: Node) -> bool:
    return node.operator.numpy is not None


def finished(low: Lowered, layout: Layout | None = None) -> Prepared:
    """The second part of `prepare`: the program, whose values lie so, or as they are written."""
    laid, free, layout = LaidOut({}, [], []), layout is not None, layout or WRITTEN
    if layout.turned or layout.with_ones:
        laid = lay_out(low.results, low.leaves, layout)
        low = low.moved(laid.moved)
    indexed, masked = [
        {laid.moved[id].id if laid.moved else id for id in chosen} for chosen in (layout.indexed, layout.masked)
    ]
    if indexed:
        moved = take_off_at_labels(low.results, low.leaves, indexed)
        low, laid, masked = low.moved(moved), laid.after(moved), {moved[id].id for id in masked}
    if masked:
        moved = masks_as_numbers(low.results, low.leaves, masked)
        low, laid = low.moved(moved), laid.after(moved)
    if free and (sides := from_other_side(low.results, low.leaves)) is not None:
        low, laid = low.moved(sides), laid.after(sides)
    lying = frozenset(laid.moved[id].id for id in layout.turned if id in laid.moved)
    held = {leaf.id for leaf in low.values}
    final = {leaf: _own_value(leaf, value) for leaf, value in low.values.items()}
    results = [_old_value(t, held) for t in low.outputs]
    program = build(results[0].graph if results else next(iter(final)).graph, results, final, low.arguments)
    origins: dict[int, int] = {}
    where = low.where or {}
    for id, tensor in where.items():
        origins.setdefault(tensor.id, id)
    known = replace(program, origins=origins, turned=lying, units=low.units)
    with_biases, lasting = tuple(t.id for t in laid.matrices), frozenset(t.id for t in laid.copied)
    return replace(known, with_biases=with_biases, lasting=lasting, single=layout.single), where


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
