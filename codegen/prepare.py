"""From a written graph to a program: simplified, lowered, simplified again; its arguments and held values settled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from graphgrad.graph import Node
from graphgrad.operator import OPERATORS
from graphgrad.rewrite import compose, lower
from graphgrad.simplify import simplify
from graphgrad.tensor import Tensor
from graphgrad.types import size_names

from .program import Program, build

Prepared: TypeAlias = "tuple[Program, dict[int, Tensor]]"


def prepare(outputs: Sequence[Tensor], updates: Mapping[Tensor, Tensor], *, exact: bool) -> Prepared:
    """Graph to graph (simplified, lowered, simplified again), then to an unscheduled program."""
    tensors = [*outputs, *updates.values()]
    arguments = _arguments([*tensors, *updates])
    leaves = [*updates, *arguments]

    def spelled(node: Node) -> bool:
        return node.operator.numpy is not None

    simple, where = simplify(tensors, keep=leaves, exact=exact)

    def now(ts: Sequence[Tensor]) -> list[Tensor]:
        return [where[t.id] for t in ts]

    if any(n.operator.definition is not None and not spelled(n) for n in simple.nodes):
        _, lowered = lower(now(tensors), spelled, now(leaves))
        where = compose(where, lowered)
        _, simplified = simplify(now(tensors), keep=now(leaves), exact=exact, lowered=True)
        where = compose(where, simplified)
    held = {where[leaf.id].id for leaf in updates}
    final = {where[leaf.id]: _own_value(where[leaf.id], where[value.id]) for leaf, value in updates.items()}
    results = [_old_value(t, held) for t in now(outputs)]
    program = build(results[0].graph if results else next(iter(final)).graph, results, final, now(arguments))
    origins: dict[int, int] = {}
    for written, tensor in where.items():
        origins.setdefault(tensor.id, written)
    return replace(program, origins=origins), where


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
    """A new value that is computed by a statement of its own: a leaf or a view of one is copied first."""
    node = value.node
    if value.node.weak and leaf.node.weak:
        return value if node.operator.kind != "leaf" or node.operator.name == "constant" else value + 0
    if node.operator.kind in ("leaf", "view") or node.weak or node.dtype != leaf.dtype:
        return OPERATORS["cast"](value, dtype=leaf.dtype)
    return value
