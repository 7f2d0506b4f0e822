"""The picture of a rewrite: two graphs as one, with what was kept, added and removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphgrad.errors import GraphgradError
from graphgrad.graph import Graph
from graphgrad.render.derivations import graph_diagram
from graphgrad.render.diagram import Diagram
from graphgrad.render.folding import view
from graphgrad.render.forward import Drawn
from graphgrad.render.naming import Naming
from graphgrad.render.words import words
from graphgrad.rewrite import copy_node
from graphgrad.tensor import Tensor


def rewrite_diagram(before: Sequence[Tensor], after: Sequence[Tensor], lang: str) -> Diagram:
    """Both graphs in one, where equal nodes are one node; each box says in which of the two it is."""
    union = Graph()
    old, new = _into(union, before), _into(union, after)
    heads = [old[t.id].id for t in before] + [new[t.id].id for t in after]
    was, stays = ({t.id for t in moved.values()} for moved in (old, new))
    chosen = view(union, sorted(was | stays), heads, "operations")
    drawn = Drawn(chosen, Naming(union), None, lang, frozenset())
    diagram = graph_diagram(drawn, heads, words(lang)["rewrite"])
    boxes = []
    for box in diagram.boxes:
        (id,) = (i for i in box.nodes if f"n{i}" == box.id)
        kind = "kept" if id in was and id in stays else "added" if id in stays else "removed"
        boxes.append(replace(box, kind=kind, title=f"{words(lang)[kind]}: {box.title}"))
    return replace(diagram, boxes=tuple(boxes))


def _into(union: Graph, tensors: Sequence[Tensor]) -> dict[int, Tensor]:
    """The nodes that tensors need, in the graph that holds both; the first to name a node names it."""
    source = tensors[0].graph
    if any(t.graph is not source for t in tensors):
        raise GraphgradError("draw(before, after): the tensors of each are of one graph")
    moved: dict[int, Tensor] = {}
    for id in source.ancestors([t.id for t in tensors]):
        node = source.nodes[id]
        moved[id] = copy_node(node, [moved[i] for i in node.inputs], union)
        for name in source.names.get(id, ()):
            if name not in union:
                union.set_name(moved[id].id, name)
    return moved
