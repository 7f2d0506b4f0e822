"""The pictures of a graph and of a derivation, as diagrams."""

from __future__ import annotations

from collections.abc import Sequence

from graphgrad.derivation import Derivation
from graphgrad.render.backward import backward_boxes, backward_edges
from graphgrad.render.diagram import Diagram, Lane
from graphgrad.render.forward import Drawn, forward_boxes, forward_edges
from graphgrad.render.words import words


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
