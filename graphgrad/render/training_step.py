"""The picture of a whole training step: forward, backward, and the optimizer's formula as an update of θ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from graphgrad.derivation import Derivation
from graphgrad.graph import Graph
from graphgrad.networks import Network
from graphgrad.notation import formula
from graphgrad.optimizers import Optimizer
from graphgrad.render.backward import backward_boxes, backward_edges
from graphgrad.render.derivations import note
from graphgrad.render.diagram import Box, Diagram, Edge, Lane, Line, formula_line, small_line
from graphgrad.render.folding import View, view
from graphgrad.render.forward import Drawn, forward_boxes, forward_edges
from graphgrad.render.naming import Naming
from graphgrad.render.words import words
from graphgrad.step import TrainingGraph, training_graph
from graphgrad.tensor import Tensor
from graphgrad.types import show


def training_diagram(net: Network, optimizer: Optimizer, *, unfold: bool, notation: str, lang: str) -> Diagram:
    """Three lanes. The update is a box that holds the optimizer's formulas, or with `unfold` a box for each value."""
    step = training_graph(net, optimizer, "float64")
    derivation = step.derivation
    graph = step.graph
    parameters = {t.id for t in step.parameters.values()}
    ids = _forward_ids(graph, step.loss.id, parameters)
    chosen = view(graph, ids, [step.loss.id, *parameters], "names")
    drawn = Drawn(chosen, Naming(graph, derivation, notation), None, lang, frozenset())
    forward = [_as_parameter(drawn, b, parameters) for b in forward_boxes(drawn, [step.loss.id], "forward")]
    backward = backward_boxes(drawn, derivation, "backward")
    edges = [*forward_edges(drawn), *backward_edges(drawn, derivation, backward)]
    update, more = (_unfolded if unfold else _folded)(step, derivation, drawn, optimizer, lang)
    boxes = (*forward, *backward, *update)
    known = {b.id for b in boxes}
    told = words(lang)
    lanes = tuple(Lane(name, told[name]) for name in ("forward", "backward", "update"))
    kept = tuple(e for e in (*edges, *more) if e.source in known and e.target in known)
    return Diagram(boxes, kept, lanes, type(optimizer).__name__, lang, note(drawn))


def _forward_ids(graph: Graph, loss: int, parameters: set[int]) -> list[int]:
    """What the loss needs, down to the parameters: that they are views of one vector is no part of the network."""
    needed, stack = {loss}, [loss]
    while stack:
        i = stack.pop()
        for s in () if i in parameters else graph.nodes[i].inputs:
            if s not in needed:
                needed.add(s)
                stack.append(s)
    return sorted(needed)


def _as_parameter(drawn: Drawn, box: Box, parameters: set[int]) -> Box:
    (id,) = (i for i in box.nodes if f"n{i}" == box.id) if box.id.startswith("n") else (None,)
    if id not in parameters or id is None:
        return box
    node = drawn.graph.nodes[id]
    lines = (formula_line(drawn.naming.node(id, latex=True), drawn.naming.node(id)), small_line(show(node.shape)))
    return replace(box, kind="parameter", lines=lines)


def _gradient_boxes(derivation: Derivation, step: TrainingGraph) -> dict[str, str]:
    """The box in which each parameter's gradient is complete."""
    last = {s.target: s.number for s in derivation.steps}
    return {name: f"s{last[t.id]}" for name, t in step.parameters.items() if t.id in last}


def _new_values(step: TrainingGraph) -> dict[Tensor, Tensor]:
    """The updates of tensors: numbers such as k count on by themselves."""
    return {leaf: value for leaf, value in step.updates.items() if not leaf.node.weak}


def _gradient(step: TrainingGraph) -> tuple[int, Line] | None:
    """The vector of all gradients, where there is one: g = (W̄1, b̄1, ...)."""
    if step.theta is None:
        return None
    graph = step.graph
    g = next(n.id for n in graph.nodes if n.operator.kind == "pack" and "g" in str(graph.names.get(n.id, "")))
    names = list(step.parameters)
    shown = names if len(names) <= 4 else [*names[:2], "…", names[-1]]
    text = ", ".join(n if n == "…" else f"∂{n}" for n in shown)
    naming = Naming(graph)
    adjoints = [r"\ldots" if n == "…" else rf"\bar{{{_base(naming, step, n)}" for n in shown]
    return g, formula_line(rf"g = \left({', '.join(adjoints)}\right)", f"g = ({text})")


def _base(naming: Naming, step: TrainingGraph, name: str) -> str:
    head, mark, rest = naming.node(step.parameters[name].id, latex=True).partition("_")
    return f"{head}}}{mark}{rest}"


def _folded(
    step: TrainingGraph, derivation: Derivation, drawn: Drawn, optimizer: Optimizer, lang: str
) -> tuple[list[Box], list[Edge]]:
    """A box for each group of parameters that is updated together."""
    naming, updates = drawn.naming, _new_values(step)
    gradient = _gradient(step)
    called = {leaf.id for leaf in (*updates, step.k)} | ({gradient[0]} if gradient else set())
    called |= {t.id for t in step.parameters.values()} | {derivation[t].id for t in step.parameters.values()}
    iterate = _iterate(naming, updates)
    groups: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for leaf, value in updates.items():
        slot = next((s for s in step.slots if s.leaf is leaf), None)
        own = "" if step.theta is not None else (slot.of if slot is not None else leaf.name)
        groups.setdefault(own, []).append((leaf, value))
    boxes, edges = [], []
    ends = _gradient_boxes(derivation, step)
    for k, (group, pairs) in enumerate(groups.items(), 1):
        pairs.sort(key=lambda pair: pair[0].node.operator.name == "parameter")
        news = {value.id for _, value in pairs}
        lines = [gradient[1]] if gradient else []
        lines += [_update_line(naming, value.id, (called | news) - {value.id}, iterate) for _, value in pairs]
        lines.append(small_line(type(optimizer).__name__ + (f"  {group}" if group else "")))
        box = Box(f"u{k}", "update", tuple(lines), f"{type(optimizer).__name__} {group}".strip(), "update")
        boxes.append(box)
        for name, source in ends.items():
            if not group or name == group:
                edges.append(Edge(f"{source}-u{k}", source, box.id, "update"))
    return boxes, edges


def _iterate(naming: Naming, updates: Mapping[Tensor, Tensor]) -> Iterate:
    return Iterate(naming, frozenset(t.id for t in updates), {value.id: leaf.id for leaf, value in updates.items()})


def _update_line(naming: Naming, value: int, called: set[int], iterate: Iterate) -> Line:
    """θ_{k+1} = θ_k - α m̂ / (√v̂ + ε): the new value in terms of the old ones and of the other new ones."""
    shown = {i: iterate.name(i, latex=True) for i in called}, {i: iterate.name(i) for i in called}
    sides = [
        f"{iterate.name(value, latex=latex)} = {formula(naming.graph, value, names, latex=latex)}"
        for latex, names in zip((True, False), shown, strict=True)
    ]
    return formula_line(*sides)


@dataclass(frozen=True)
class Iterate:
    """Names with the number of the step: m_k is what the optimizer kept, m_{k+1} what it keeps."""

    naming: Naming
    old: frozenset[int]
    new: Mapping[int, int]  # the new value of each

    def name(self, id: int, *, latex: bool = False) -> str:
        leaf = self.new.get(id, id)
        name = self.naming.node(leaf, latex=latex)
        if id not in self.old and id not in self.new:
            return name
        index = "k" if id in self.old else "k+1"
        if not latex:
            return f"{name}_{index}" if index == "k" else f"{name}_(k+1)"
        return f"{name[:-1]},{index}}}" if name.endswith("}") and "_{" in name else f"{name}_{{{index}}}"


def _unfolded(
    step: TrainingGraph, derivation: Derivation, drawn: Drawn, optimizer: Optimizer, lang: str
) -> tuple[list[Box], list[Edge]]:
    """A box for each value of the optimizer's formula."""
    graph, updates = step.graph, _new_values(step)
    gradient = _gradient(step)
    stop = {t.id for t in step.parameters.values()} | {derivation[t].id for t in step.parameters.values()}
    if gradient:
        stop.add(gradient[0])
    ids, stack = set[int](), [v.id for v in updates.values()]
    while stack:
        i = stack.pop()
        if i in ids:
            continue
        ids.add(i)
        stack.extend(() if i in stop else graph.nodes[i].inputs)
    new_names = {value.id: leaf for leaf, value in updates.items()}
    inner: View = view(graph, sorted(ids), [*new_names, *stop], "operations")
    iterate = _iterate(drawn.naming, updates)
    elsewhere = frozenset(stop - {gradient[0]} if gradient else stop)  # in the lanes above
    own = Drawn(inner, drawn.naming, None, lang, elsewhere)
    boxes: list[Box] = []
    ends = _gradient_boxes(derivation, step)
    for box in forward_boxes(own, list(new_names), "update"):
        id = int(box.id[1:])
        if gradient and id == gradient[0]:
            box = replace(box, kind="gradient", lines=(gradient[1], box.lines[1]))
        elif graph.nodes[id].operator.kind == "leaf":
            kept = formula_line(iterate.name(id, latex=True), iterate.name(id))
            box = replace(box, lines=(kept, *box.lines[1:]))
        else:
            new = _update_line(drawn.naming, id, set(own.named) - {id}, iterate)
            kind = "update" if id in new_names else box.kind
            box = replace(box, kind=kind, lines=(new, *box.lines[1:]))
        boxes.append(replace(box, id=f"u{id}", column="", name=iterate.name(id)))
    edges = [Edge(f"u{e.id}", f"u{e.source[1:]}", f"u{e.target[1:]}", "update") for e in forward_edges(own)]
    if gradient:
        edges += [Edge(f"{s}-u{gradient[0]}", s, f"u{gradient[0]}", "update") for s in ends.values()]
    else:
        for name, t in step.parameters.items():
            readers = [i for i in ids if derivation[t].id in graph.nodes[i].inputs]
            edges += [Edge(f"{ends[name]}-u{i}", ends[name], f"u{i}", "update") for i in readers if name in ends]
    return boxes, edges
