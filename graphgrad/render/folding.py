"""Which nodes of a graph have a box of their own, and which stand inside another's: the view of a graph.

Levels, from the finest: "operations" (every node but constants and bare transposes), "names" (a node without a name
that only one other reads is written out inside that one), "layers" (a box for each scope).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.notation import is_matrix_transpose

MOST_INSIDE = 4  # operators of one box; a longer formula is one that nobody reads


@dataclass(frozen=True)
class View:
    """For each node that takes part, the key of the box that it stands in: its own id, another's, or a scope's name."""

    graph: Graph
    ids: tuple[int, ...]  # in topological order; no constants without a name, no sizes
    host: dict[int, int | str]
    formula: dict[int, int]  # the node in whose formula each is written out: itself, but for those that stand inside
    level: str
    repeats: dict[str, tuple[str, ...]]  # a folded scope -> the scopes that its box stands for, itself first

    @cached_property
    def shown(self) -> frozenset[int]:
        """Nodes with a box of their own."""
        return frozenset(i for i in self.ids if self.host[i] == i)

    @cached_property
    def groups(self) -> dict[str, int]:
        """Folded scopes, numbered from 1 in the order of their first nodes."""
        names = dict.fromkeys(h for i in self.ids if isinstance(h := self.host[i], str))
        return {name: k for k, name in enumerate(names, 1)}

    @cached_property
    def members(self) -> dict[int | str, list[int]]:
        """What stands in each box."""
        found: dict[int | str, list[int]] = {}
        for i in self.ids:
            found.setdefault(self.host[i], []).append(i)
        return found


def drawn(graph: Graph, node: Node) -> bool:
    """Numbers and sizes stand in the formulas; a constant with a name has a box."""
    if node.operator.kind == "size":
        return False
    return node.operator.name != "constant" or node.id in graph.names


def view(
    graph: Graph,
    ids: Sequence[int],
    keep: Iterable[int],
    level: str,
    *,
    scopes: Collection[str] = (),
    repeat: bool = False,
) -> View:
    """The view of a graph at a level. `keep` always have a box (unless their scope is folded); `scopes` are folded."""
    taken = tuple(i for i in ids if drawn(graph, graph.nodes[i]))
    kept, known = set(keep), set(taken)
    readers: dict[int, list[int]] = {}
    for i in taken:
        for source in graph.nodes[i].inputs:
            if source in known:
                readers.setdefault(source, []).append(i)
    host: dict[int, int | str] = {}
    inside: dict[int, int] = {}
    held: dict[int, int] = {}  # operators in each box
    for i in reversed(taken):
        scope = folded_scope(graph, i, scopes)
        at = level if scope is None else "names"
        absorbed = i not in kept and _stands_inside(graph, graph.nodes[i], readers.get(i, []), at)
        if absorbed and not is_matrix_transpose(graph.nodes[i]):
            whole = inside[readers[i][0]]
            held[whole] = held.get(whole, 1) + 1
            absorbed = held[whole] <= MOST_INSIDE
        inside[i] = inside[readers[i][0]] if absorbed else i
        host[i] = inside[i] if scope is None else scope
    made = View(graph, taken, host, inside, level, {})
    return _repeated(made) if repeat else made


def _stands_inside(graph: Graph, node: Node, readers: Sequence[int], level: str) -> bool:
    if node.operator.kind == "leaf" or node.id in graph.names or len(readers) != 1:
        return False
    if graph.scopes.get(node.id) != graph.scopes.get(readers[0]):
        return False
    return level != "operations" or is_matrix_transpose(node)


def folded_scope(graph: Graph, id: int, scopes: Collection[str]) -> str | None:
    """The outermost of the folded scopes that a node is in."""
    path = graph.scopes.get(id, "")
    parts = path.split("/") if path else []
    for k in range(1, len(parts) + 1):
        if (scope := "/".join(parts[:k])) in scopes:
            return scope
    return None


def in_scope(graph: Graph, id: int, scope: str) -> bool:
    """Whether a node was made in a scope, or in one inside it."""
    return f"{graph.scopes.get(id, '')}/".startswith(f"{scope}/")


def scopes_at(graph: Graph, ids: Iterable[int], depth: int) -> list[str]:
    """The scopes that stand `depth` levels deep: what is folded where that many levels are open."""
    found = []
    for i in ids:
        parts = graph.scopes.get(i, "").split("/")
        if graph.scopes.get(i) and len(parts) > depth:
            found.append("/".join(parts[: depth + 1]))
    return list(dict.fromkeys(found))


def _repeated(view: View) -> View:
    """Folded scopes that follow each other and are alike, as one box that stands for all."""
    groups = list(view.groups)
    signatures = {g: _signature(view, g) for g in groups}
    runs: list[list[str]] = []
    for g in groups:
        if runs and signatures[runs[-1][-1]] == signatures[g] and _follows(view, runs[-1][-1], g):
            runs[-1].append(g)
        else:
            runs.append([g])
    first = {g: run[0] for run in runs for g in run}
    host = {i: first[h] if isinstance(h, str) else h for i, h in view.host.items()}
    return View(
        view.graph, view.ids, host, view.formula, view.level, {run[0]: tuple(run) for run in runs if len(run) > 1}
    )


def _signature(view: View, group: str) -> Any:
    """What a folded scope computes, whatever its leaves are called and wherever its inputs come from."""
    graph, members = view.graph, view.members[group]
    place = {i: k for k, i in enumerate(members)}
    lines = []
    for i in members:
        node = graph.nodes[i]
        attributes = tuple((k, v) for k, v in node.attributes if k != "name")
        inputs = tuple(place.get(s, -1 if drawn(graph, graph.nodes[s]) else graph.label(s)) for s in node.inputs)
        lines.append((node.operator.name, attributes, node.shape, inputs))
    return tuple(lines)


def _follows(view: View, before: str, after: str) -> bool:
    graph, earlier = view.graph, set(view.members[before])
    return any(s in earlier for i in view.members[after] for s in graph.nodes[i].inputs)
