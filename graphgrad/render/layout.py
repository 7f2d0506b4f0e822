"""Which layout engine a picture gets: Graphviz in one of its forms, or our own, which is always there."""

from __future__ import annotations

import os
import warnings
from functools import cache

from graphgrad.errors import GraphgradError
from graphgrad.render import graphviz_layout, layered
from graphgrad.render.diagram import Diagram, Placed
from graphgrad.render.typeset import DrawingWarning

NAMES = ("pygraphviz", "dot", "graphviz-pure", "layered")
VARIABLE = "GRAPHGRAD_LAYOUT"


def place(diagram: Diagram, engine: str | None = None) -> Placed:
    """Coordinates, by the engine that was asked for (by argument, else by GRAPHGRAD_LAYOUT), else the best at hand.

    Where Graphviz gets lanes out of their order, as it may with three, our own layout takes its place.

    Raises GraphgradError only for an engine that was asked for by name and is not there.
    """
    asked = engine or os.environ.get(VARIABLE) or ""
    if asked and asked not in NAMES:
        raise GraphgradError(f"layout engine {asked!r} does not exist; there are: {', '.join(NAMES)}")
    if asked == "layered" or not diagram.boxes:
        return layered.place(diagram)
    found = graphviz_layout.engines()
    if asked and asked not in found:
        there = ", ".join([*found, "layered"])
        hint = '; pip install "graphgrad[viz]" brings pygraphviz' if asked == "pygraphviz" else ""
        raise GraphgradError(f"layout engine {asked!r} is not installed; at hand: {there}{hint}")
    if not found:
        _told_once()
        return layered.place(diagram)
    name = asked or next(iter(found))
    placed = graphviz_layout.place(diagram, found[name], name)
    return placed if graphviz_layout.in_order(diagram, placed) else layered.place(diagram)


@cache
def _told_once() -> None:
    told = 'Graphviz is not installed, so graphgrad lays pictures out itself: pip install "graphgrad[viz]" brings it'
    warnings.warn(told, DrawingWarning, stacklevel=4)
