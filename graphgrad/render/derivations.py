"""The pictures of a graph and of a derivation, as diagrams: what has a box, what it says, and what leads where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from graphgrad.derivation import Derivation, Step
from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.notation import is_matrix_transpose, repeated
from graphgrad.render.diagram import Box, Diagram, Edge, Lane, Line, Strip, formula_line, small_line
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


# ---------------------------------------------------------------------------------------------------------------------
# Forward
# ---------------------------------------------------------------------------------------------------------------------


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
    lines, strip = _with_values(drawn, node.id, lines)
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


def _with_values(drawn: Drawn, id: int, lines: list[Line]) -> tuple[list[Line], Strip | None]:
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
    line = _fitting(
        f"{left[0]} = {naming.formula(node.id, shown, latex=True)}", f"{left[1]} = {naming.formula(node.id, shown)}"
    )
    if line is not None:
        return line
    rule = rule_name(node)
    return formula_line(rf"{left[0]} = \text{{{rule}}}(\ldots)", f"{left[1]} = {rule}(…)")


def _fitting(tex: str, text: str) -> Line | None:
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


# ---------------------------------------------------------------------------------------------------------------------
# Backward
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """A box of the backward pass: the last of its steps, those that are written out inside it, and its origin."""

    step: Step
    inner: tuple[Step, ...]  # in the order of the derivation, the last one included
    origin: int  # the forward node, with a box of its own, whose adjoint it starts from

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(s.number for s in self.inner)


def shares(drawn: Drawn, derivation: Derivation) -> list[Share]:
    """The boxes of the backward pass, in the order of the derivation. Steps towards a node that stands inside another's
    box are written out in those that go on from it."""
    inside, contributions = drawn.view.formula, derivation.contributions
    made = []
    for step in derivation.steps:
        target = step.target
        if inside.get(target) != target or (drawn.path is not None and target not in drawn.path):
            continue
        inner, origin = [step], step.forward.id
        while step.operand is not None and inside[origin] != origin:
            (before,) = contributions[origin]  # one reader, so one contribution
            inner.append(before)
            origin = before.forward.id
        made.append(Share(step, tuple(reversed(inner)), origin))
    return made


def share_formula(drawn: Drawn, derivation: Derivation, share: Share, *, latex: bool) -> tuple[str, str]:
    """Left and right side of a step."""
    naming, step = drawn.naming, share.step
    several = len(derivation.contributions.get(step.target, ())) > 1
    if step.operand is None or not several:
        left = naming.adjoint(step.target, latex=latex)
    else:
        left = _contribution(naming, step, latex=latex)
    if step.rule == "seed":
        return left, "1"
    if step.operand is None:
        parts = derivation.contributions[step.target]
        return left, " + ".join(_contribution(naming, s, latex=latex) for s in parts)
    origin = derivation.adjoints[share.origin]
    shown = repeated(drawn.graph, step.contribution.id, drawn.named | {origin.id})
    if shown == origin.id:
        return left, naming.adjoint(share.origin, latex=latex)
    if len(share.inner) == 1 and drawn.graph.nodes[shown].operator.name == "constant":
        written = step.in_words(
            lambda i: naming.node(i, latex=latex), naming.operand(share.origin, latex=latex), latex=latex
        )
        if written:
            return left, written
    adjoints = {} if origin.id in step.forward.inputs else {origin.id: share.origin}
    own = shown not in drawn.named or (shown == step.contribution.id and bool(step.new))
    return left, naming.formula(shown, drawn.named, adjoints, own=own, latex=latex)


def _contribution(naming: Naming, step: Step, *, latex: bool) -> str:
    twice = step.forward.inputs.count(step.target) > 1
    return naming.contribution(step.target, step.forward.id, step.operand if twice else None, latex=latex)


def backward_boxes(drawn: Drawn, derivation: Derivation, lane: str) -> list[Box]:
    """A box for each step that has one; the steps of folded scopes stand together."""
    final = {s.target: s.number for s in derivation.steps}
    gradients = {t.id for t in derivation.gradients}
    made: list[Box] = []
    together: dict[str, list[Share]] = {}
    for share in shares(drawn, derivation):
        scope = drawn.view.host.get(share.step.forward.id)
        if isinstance(scope, str):
            together.setdefault(scope, []).append(share)
            if len(together[scope]) == 1:
                made.append(Box(scope, "adjoint", (), ""))  # its place; filled below
            continue
        whole = final[share.step.target] == share.step.number and share.step.target in gradients
        made.append(_step_box(drawn, derivation, share, "gradient" if whole else "adjoint", lane))
    return [_scope_steps(drawn, derivation, b.id, together[b.id], lane) if b.id in together else b for b in made]


def _step_box(drawn: Drawn, derivation: Derivation, share: Share, kind: str, lane: str) -> Box:
    naming, step = drawn.naming, share.step
    rule = step_rule(share, drawn.lang)
    tex, text = (" = ".join(share_formula(drawn, derivation, share, latex=l)) for l in (True, False))
    line = _fitting(tex, text)
    if line is None:
        left = [share_formula(drawn, derivation, share, latex=l)[0] for l in (True, False)]
        adjoint = [naming.adjoint(share.origin, latex=l) for l in (True, False)]
        line = formula_line(
            rf"{left[0]} = \text{{{rule}}}^{{*}}({adjoint[0]}, \ldots)", f"{left[1]} = {rule}*({adjoint[1]}, …)"
        )
    lines = [line, small_line(f"{step_numbers(share.numbers)}  {rule}")]
    if kind == "gradient":
        scalar, target = naming.node(derivation.scalar.id), naming.node(step.target)
        lines.append(small_line(f"∂{scalar}/∂{target}  {show(drawn.graph.nodes[step.target].shape)}", "gradient.text"))
    lines, strip = _with_values(drawn, step.contribution.id, lines)
    title = f"{step_numbers(share.numbers)}. {line.run.text}: {rule}"
    column = drawn.key(step.target)
    return Box(
        f"s{step.number}",
        kind,
        tuple(lines),
        title,
        lane,
        column,
        strip,
        (step.contribution.id,),
        share.numbers,
        name=share_formula(drawn, derivation, share, latex=False)[0],
    )


def step_rule(share: Share, lang: str) -> str:
    """The rules of a box, those that only exchange axes left out."""
    if share.step.operand is None:
        return words(lang)["seed" if share.step.rule == "seed" else "sum"]
    rules = [s.rule for s in share.inner if s.rule != "transpose"] or ["transpose"]
    return " · ".join(dict.fromkeys(rules)).replace("_", " ")


def step_numbers(numbers: Sequence[int]) -> str:
    """1, 2 or 3, 6, 7: the numbers of the steps in a box."""
    return ", ".join(map(str, numbers))


def _scope_steps(drawn: Drawn, derivation: Derivation, scope: str, together: Sequence[Share], lane: str) -> Box:
    """The backward pass of a folded scope: the formulas of the gradients first, then what it hands on."""
    graph, repeats = drawn.graph, drawn.view.repeats.get(scope, (scope,))
    gradients = {t.id for t in derivation.gradients}
    told = [s for s in together if s.step.target in graph.names]
    if len(repeats) > 1:
        told = [s for s in told if in_scope(graph, s.step.forward.id, scope)]
    told = sorted(told, key=lambda s: s.step.target not in gradients)
    lines = [
        formula_line(*(" = ".join(share_formula(drawn, derivation, s, latex=l)) for l in (True, False)))
        for s in told[:LINES]
    ]
    if len(told) > LINES:
        lines.append(small_line(words(drawn.lang)["more"].format(n=len(told) - LINES)))
    numbers = sorted({n for s in together for n in s.numbers})
    what = repeats[0] if len(repeats) == 1 else f"{repeats[0]} … {repeats[-1]}  × {len(repeats)}"
    lines.append(small_line(f"{numbers[0]} – {numbers[-1]}  {what}"))
    has_gradient = any(s.step.target in gradients for s in together)
    key = drawn.key(next(i for i in drawn.view.ids if drawn.view.host[i] == scope))
    ids = tuple(s.step.contribution.id for s in together)
    kind = "gradient" if has_gradient else "adjoint"
    title = f"{what}, {words(drawn.lang)['backward']}"
    return Box(f"b{key}", kind, tuple(lines), title, lane, key, None, ids, tuple(numbers), name=title)


def backward_edges(drawn: Drawn, derivation: Derivation, boxes: Sequence[Box]) -> list[Edge]:
    """From each adjoint to what is made of it, and, dashed, from the forward values that are used again."""
    box_of = {number: box.id for box in boxes for number in (box.steps[-1:] if box.id[0] == "s" else box.steps)}
    whole = {s.target: s.number for s in derivation.steps}
    edges: dict[tuple[str, str, str], Edge] = {}

    def add(source: str | None, target: str | None, kind: str) -> None:
        if source is None or target is None or source == target:
            return
        edges.setdefault((source, target, kind), Edge(f"{source}-{target}-{kind}", source, target, kind))

    for share in shares(drawn, derivation):
        own = box_of.get(share.step.number)
        if share.step.rule == "seed":
            continue
        if share.step.operand is None:
            for part in derivation.contributions[share.step.target]:
                add(box_of.get(part.number), own, "adjoint")
            continue
        add(box_of.get(whole[share.origin]), own, "adjoint")
        for used in used_values(drawn, derivation, share):
            if drawn.view.host[used] not in drawn.hidden:
                add(drawn.key(used), own, "saved")
    return list(edges.values())


def used_values(drawn: Drawn, derivation: Derivation, share: Share) -> list[int]:
    """The forward nodes whose values a step reads, down to nodes with a box and to the adjoint that it starts from."""
    graph, host = drawn.graph, drawn.view.host
    stop = derivation.adjoints[share.origin].id
    found: list[int] = []
    stack, seen = [share.step.contribution.id], set[int]()
    while stack:
        i = stack.pop()
        if i in seen or (i == stop and i not in host):
            continue
        seen.add(i)
        written_out = isinstance(host.get(i), int) and host[i] != i  # in another's box, and in this formula
        if i in host and not written_out and (i != share.step.contribution.id or not share.step.new):
            found.append(i)
        elif i != stop:
            stack.extend(graph.nodes[i].inputs)
    return sorted(set(found))


def derivation_diagram(drawn: Drawn, derivation: Derivation, title: str) -> Diagram:
    """Forward and backward pass together: the forward row above, each adjoint under its variable."""
    told = words(drawn.lang)
    forward = forward_boxes(drawn, [derivation.scalar.id], "forward")
    backward = backward_boxes(drawn, derivation, "backward")
    edges = [*forward_edges(drawn), *backward_edges(drawn, derivation, backward)]
    ids = {b.id for b in (*forward, *backward)}
    edges = [e for e in edges if e.source in ids and e.target in ids]
    lanes = (Lane("forward", told["forward"]), Lane("backward", told["backward"]))
    scale = drawn.values.told(drawn.lang) if drawn.values else ""
    return Diagram((*forward, *backward), tuple(edges), lanes, title, drawn.lang, note(drawn), scale)


def graph_diagram(drawn: Drawn, heads: Sequence[int], title: str) -> Diagram:
    """Variables and operators with formula, rule and shape."""
    boxes = forward_boxes(drawn, heads, "")
    ids = {b.id for b in boxes}
    edges = [e for e in forward_edges(drawn) if e.source in ids and e.target in ids]
    return Diagram(
        tuple(boxes),
        tuple(edges),
        (),
        title,
        drawn.lang,
        note(drawn),
        drawn.values.told(drawn.lang) if drawn.values else "",
    )


def note(drawn: Drawn) -> str:
    """What was folded, and how the adjoints of an earlier derivation are written."""
    view = drawn.view
    told, naming = words(drawn.lang), drawn.naming
    n = sum(len(view.repeats.get(scope, (scope,))) for scope in view.groups)
    parts = [told["folded"].format(n=n)] if n else []
    for id in sorted(drawn.named):
        step = naming.earlier(id)
        if step is not None:
            of, by = step.derivation.scalar.name, step.graph.label(step.target)
            parts.append(told["earlier"].format(example=naming.node(id), scalar=of, target=by))
            break
    return "; ".join(parts)
