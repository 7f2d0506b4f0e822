"""Boxes in the colour of a number each, such as the time or the memory that they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graphgrad.derivation import Derivation
from graphgrad.errors import GraphgradError
from graphgrad.render.diagram import Box, Diagram, Line
from graphgrad.render.typeset import SMALL, label
from graphgrad.render.values import number_text
from graphgrad.tensor import Tensor


def coloured(diagram: Diagram, derivation: Derivation | None, color: Any) -> Diagram:
    """The diagram with a tint and a number on each box that costs something: the sum over all nodes that stand in it.

    `color` is a profile, which has `by_node`, `unit` and `title`, or a mapping from tensors or node ids to numbers.
    """
    numbers = getattr(color, "by_node", color)
    if not isinstance(numbers, Mapping):
        raise GraphgradError(
            'color is "time" or "memory" with a profile, or a mapping from tensors to numbers, '
            f"but {type(color).__name__} was given"
        )
    known = {k.id if isinstance(k, Tensor) else int(k): float(v) for k, v in numbers.items()}
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
    unit = getattr(color, "unit", "")
    scale = f"{getattr(color, 'title', 'color')}: 0 … {largest:.4g} {unit}".rstrip()

    def tinted(box: Box) -> Box:
        line = Line(label(f"{number_text(totals[box.id])} {unit}".rstrip(), SMALL), "ink", "number")
        return replace(box, tint=totals[box.id] / largest, lines=(*box.lines, line))

    boxes = tuple(tinted(b) if b.id in totals else b for b in diagram.boxes)
    return replace(diagram, boxes=boxes, scale="; ".join(t for t in (diagram.scale, scale) if t))


def _nodes(box: Box, derivation: Derivation | None) -> set[int]:
    """All nodes that a box stands for: of a step, all that it made."""
    ids = set(box.nodes)
    if derivation is not None and box.steps:
        steps = {s.number: s for s in derivation.steps}
        for number in box.steps:
            ids |= {steps[number].contribution.id, *steps[number].new}
    return ids
