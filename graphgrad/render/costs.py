"""Boxes in the colour of a number each, such as the time or the memory that they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graphgrad.codegen.profile import Cost
from graphgrad.derivation import Derivation
from graphgrad.errors import GraphgradError
from graphgrad.graph import Graph
from graphgrad.render.diagram import Box, Diagram, Line
from graphgrad.render.typeset import SMALL, label
from graphgrad.render.values import number_text
from graphgrad.tensor import Tensor


def coloured(diagram: Diagram, graph: Graph, derivation: Derivation | None, color: Any) -> Diagram:
    """The diagram with a tint and a number on each box that costs something: the sum over all nodes that stand in it.

    `color` is the Cost of a profile, or a mapping from tensors or node ids of the graph to numbers.
    """
    known = _numbers(graph, color)
    totals: dict[str, float] = {}
    spent: set[int] = set()  # a node that several boxes stand for counts where it stands first
    for box in diagram.boxes:
        ids = {i for i in _nodes(box, derivation) if i in known} - spent
        spent |= ids
        if ids:
            totals[box.id] = sum(known[i] for i in sorted(ids))
    largest = max(totals.values(), default=0.0)
    if largest <= 0:
        return diagram
    unit, title = (color.unit, color.title) if isinstance(color, Cost) else ("", "color")
    scale = f"{title}: 0 … {largest:.4g} {unit}".rstrip()

    def tinted(box: Box) -> Box:
        line = Line(label(f"{number_text(totals[box.id])} {unit}".rstrip(), SMALL), "ink", "number")
        return replace(box, tint=totals[box.id] / largest, lines=(*box.lines, line))

    boxes = tuple(tinted(b) if b.id in totals else b for b in diagram.boxes)
    return replace(diagram, boxes=boxes, scale="; ".join(t for t in (diagram.scale, scale) if t))


def _numbers(graph: Graph, color: Any) -> dict[int, float]:
    """The numbers by node, which are of the graph that is drawn."""
    if isinstance(color, Cost):
        if color.graph is not graph:
            raise GraphgradError(
                "the profile is of another graph than the one that is drawn; f.profile() goes with the graph that f was"
                " compiled from, run.profile() with run.trainer.graph.derivation"
            )
        return color.by_node
    if not isinstance(color, Mapping):
        raise GraphgradError(
            'color is "time" or "memory" with a profile, or a mapping from tensors to numbers, '
            f"but {type(color).__name__} was given"
        )
    for tensor in color:
        if isinstance(tensor, Tensor) and tensor.graph is not graph:
            raise GraphgradError(f"color has a number for {tensor.name}, which is of another graph than what is drawn")
    return {k.id if isinstance(k, Tensor) else int(k): float(v) for k, v in color.items()}


def _nodes(box: Box, derivation: Derivation | None) -> set[int]:
    """All nodes that a box stands for: of a step, all that it made."""
    ids = set(box.nodes)
    if derivation is not None and box.steps:
        steps = {s.number: s for s in derivation.steps}
        for number in box.steps:
            ids |= {steps[number].contribution.id, *steps[number].new}
    return ids
