"""The forward pass in a picture: what has a box, what it says, and what leads where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.notation import is_matrix_transpose
from graphgrad.render.diagram import Box, Edge, Line, Strip, formula_line, small_line
from graphgrad.render.folding import View, in_scope
from graphgrad.render.naming import Naming
from graphgrad.render.values import Values
from graphgrad.render.words import words
from graphgrad.types import count, show

WIDEST = 300.0  # points; a wider formula is cut to its operator
LONGEST = 200  # characters; a longer formula is wider than that, fractions and all
LINES = 4  # formulas in a folded box at most


@dataclass(frozen=True)
class Drawn:
    """What all boxes of one picture are made with."""

    view: View
    naming: Naming
    values: Values | None
    lang: str
    hidden: frozenset[int]
    path: frozenset[int] | None = None  # the nodes whose adjoints are shown; None: all

    @property
    def graph(self) -> Graph:
        return self.view.graph

    @cached_property
    def named(self) -> frozenset[int]:
        """Nodes that formulas call by name: those with a box, and those that folded scopes hold under a name."""
        view = self.view
        return view.shown if not view.groups else frozenset(i for i in view.ids if view.formula[i] == i)

    def key(self, id: int) -> str:
        """The id of the box that a node stands in."""
        host = self.view.host[id]
        return f"n{host}" if isinstance(host, int) else f"g{self.view.groups[host]}"


def forward_boxes(drawn: Drawn, heads: Iterable[int], lane: str) -> list[Box]:
    """A box for each node that is shown and for each folded scope."""
    ends, made = set(heads), []
    done: set[str] = set()
    for id in drawn.view.ids:
        key, host = drawn.key(id), drawn.view.host[id]
        if key in done or host in drawn.hidden:
            continue
        done.add(key)
        if isinstance(host, str):
            made.append(_scope_box(drawn, host, key, lane))
        elif host == id:
            made.append(_node_box(drawn, drawn.graph.nodes[id], id in ends, lane))
        else:
            done.discard(key)
    return made


def _kind(drawn: Drawn, node: Node, is_end: bool) -> str:
    if node.operator.kind == "leaf":
        return {"input": "input", "parameter": "parameter"}.get(node.operator.name, "state")
    if drawn.graph.records.get(node.id) is not None and node.id not in drawn.graph.names:
        return "gradient" if is_end else "adjoint"
    return "loss" if is_end else "operation"


def _node_box(drawn: Drawn, node: Node, is_end: bool, lane: str) -> Box:
    naming, graph = drawn.naming, drawn.graph
    inside = drawn.view.members[node.id]
    if node.operator.kind == "leaf":
        lines = [formula_line(naming.node(node.id, latex=True), naming.node(node.id))]
        lines.append(small_line(show(node.shape)))
    else:
        lines = [node_formula(drawn, node)]
        rules = " · ".join(dict.fromkeys(rule_name(graph.nodes[i]) for i in reversed(inside) if _has_rule(drawn, i)))
        lines.append(small_line(f"{rules}  {show(node.shape)}"))
    lines, strip = with_values(drawn, node.id, lines)
    title = f"{naming.node(node.id)}: {node.operator.name} {show(node.shape)} {node.dtype}"
    return Box(
        f"n{node.id}",
        _kind(drawn, node, is_end),
        tuple(lines),
        title,
        lane,
        f"n{node.id}",
        strip,
        tuple(inside),
        name=naming.node(node.id),
    )


def with_values(drawn: Drawn, id: int, lines: list[Line]) -> tuple[list[Line], Strip | None]:
    if drawn.values is None:
        return lines, None
    line, strip = drawn.values.look(id, drawn.lang)
    return ([*lines, line] if line is not None else lines), strip


def _has_rule(drawn: Drawn, id: int) -> bool:
    """Bare transposes inside a box are notation."""
    return drawn.view.host[id] == id or not is_matrix_transpose(drawn.graph.nodes[id])


def rule_name(node: Node) -> str:
    return node.operator.name.replace("_", " ")


def node_formula(drawn: Drawn, node: Node) -> Line:
    """z = x Wᵀ + b, in the names of the boxes that it reads."""
    naming = drawn.naming
    shown = drawn.named
    left = naming.node(node.id, latex=True), naming.node(node.id)
    line = fitting(
        f"{left[0]} = {naming.formula(node.id, shown, latex=True)}", f"{left[1]} = {naming.formula(node.id, shown)}"
    )
    if line is not None:
        return line
    rule = rule_name(node)
    return formula_line(rf"{left[0]} = \text{{{rule}}}(\ldots)", f"{left[1]} = {rule}(…)")


def fitting(tex: str, text: str) -> Line | None:
    """A formula that a box can hold, else None; what is far too long is not even set."""
    if len(text) > LONGEST:
        return None
    line = formula_line(tex, text)
    return line if line.run.width <= WIDEST else None


def _scope_box(drawn: Drawn, scope: str, key: str, lane: str) -> Box:
    """A folded scope: the formulas inside it, what goes in and out, and how many parameters it holds."""
    view, graph, naming = drawn.view, drawn.graph, drawn.naming
    repeats = view.repeats.get(scope, (scope,))
    members = view.members[scope]
    first = [i for i in members if in_scope(graph, i, scope)]
    inside, parameters = set(members), [i for i in members if graph.nodes[i].operator.name == "parameter"]
    computed = [i for i in first if graph.nodes[i].operator.kind != "leaf"]
    named = [i for i in computed if i in graph.names] or computed[-1:]
    lines = []
    for i in named[:LINES]:
        tex = f"{naming.node(i, latex=True)} = {naming.formula(i, drawn.named, latex=True)}"
        lines.append(formula_line(tex, f"{naming.node(i)} = {naming.formula(i, drawn.named)}"))
    if len(named) > LINES:
        lines.append(small_line(words(drawn.lang)["more"].format(n=len(named) - LINES)))
    total = sum(_numbers(graph.nodes[i]) for i in parameters)
    reads = [s for i in members for s in graph.nodes[i].inputs if s in view.host and s not in inside]
    data = [s for s in dict.fromkeys(reads) if graph.nodes[s].operator.name != "parameter"] or reads[:1]
    out = computed[-1] if computed else members[-1]
    ways = f"{', '.join(show(graph.nodes[s].shape) for s in data[:2])} → {show(graph.nodes[out].shape)}"
    what = repeats[0] if len(repeats) == 1 else f"{repeats[0]} … {repeats[-1]}  × {len(repeats)}"
    lines.append(small_line(f"{what}  {ways}"))
    lines.append(small_line(words(drawn.lang)["parameters"].format(n=f"{total:,}")))
    title = f"{what}: {words(drawn.lang)['parameters'].format(n=f'{total:,}')}"
    return Box(key, "operation", tuple(lines), title, lane, key, None, tuple(members), name=what)


def _numbers(node: Node) -> int:
    total = count(node.shape)
    return total if isinstance(total, int) else 0


def forward_edges(drawn: Drawn) -> list[Edge]:
    """An edge for each operand: x * x has two."""
    edges: list[Edge] = []
    seen: dict[tuple[str, str], int] = {}
    for id in drawn.view.ids:
        for source in drawn.graph.nodes[id].inputs:
            if source not in drawn.view.host:
                continue
            if drawn.view.host[source] in drawn.hidden or drawn.view.host[id] in drawn.hidden:
                continue
            ends = drawn.key(source), drawn.key(id)
            if ends[0] == ends[1] or (ends in seen and (ends[0][0] == "g" or ends[1][0] == "g")):
                continue
            seen[ends] = seen.get(ends, 0) + 1
            suffix = "" if seen[ends] == 1 else f"-{seen[ends]}"
            edges.append(Edge(f"{ends[0]}-{ends[1]}{suffix}", *ends, "data"))
    return edges
