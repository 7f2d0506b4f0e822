"""Layout by Graphviz: fixed-size boxes go in, coordinates come out.

Graphviz runs inside pygraphviz, whose wheels bring it along; else as a program `dot` or `graphviz-pure` of the PATH. It
sees no text: all labels were measured before, so no font is looked for and the coordinates are the same everywhere.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import graphviz

from graphgrad.errors import GraphgradError
from graphgrad.render.diagram import Diagram, Placed, Point

POINTS = 72.0  # to an inch, in which Graphviz takes sizes of nodes
LANE_MARGIN = 24  # points around the boxes of a lane; its title stands in it

_lock = threading.Lock()  # Graphviz is not thread-safe


def digraph(diagram: Diagram, *, labels: bool = False) -> graphviz.Digraph:
    """The diagram as DOT: boxes of their measured sizes. With `labels` their text too, for those who go on from it."""
    dot = graphviz.Digraph(
        "picture",
        graph_attr={"rankdir": "LR", "ranksep": "0.42", "nodesep": "0.22", "newrank": "true"},
        node_attr={"shape": "box", "fixedsize": "true", "label": ""},
        edge_attr={"arrowsize": "0.7"},
    )
    for lane in diagram.lanes or ():
        with dot.subgraph(name=f"cluster_{lane.name}", graph_attr={"margin": str(LANE_MARGIN)}) as inner:
            if labels:
                inner.attr(label=_escaped(lane.title), labeljust="l")
            for box in diagram.boxes:
                if box.lane == lane.name:
                    _node(inner, box, labels)
    names = {lane.name for lane in diagram.lanes}
    for box in diagram.boxes:
        if box.lane not in names:
            _node(dot, box, labels)
    columns: dict[str, list[str]] = {}
    for box in diagram.boxes:
        if box.column:
            columns.setdefault(box.column, []).append(box.id)
    for boxes in columns.values():
        if len(boxes) > 1:
            with dot.subgraph(graph_attr={"rank": "same"}) as column:
                for id in boxes:
                    column.node(id)
    for edge in diagram.edges:
        attributes = {"id": edge.id}
        if labels:
            attributes |= {"color": {"adjoint": "#D55E00", "saved": "#7A7A7A"}.get(edge.kind, "#444444")}
        if edge.kind == "adjoint":  # written the other way round, so that each adjoint keeps its variable's column
            dot.edge(edge.target, edge.source, dir="back", **attributes)
        elif edge.kind == "saved":
            dot.edge(edge.source, edge.target, style="dashed", constraint="false", **attributes)
        else:
            dot.edge(edge.source, edge.target, **attributes)
    return dot


def _node(dot: Any, box: Any, labels: bool) -> None:
    size = {"width": f"{box.width / POINTS:.4f}", "height": f"{box.height / POINTS:.4f}"}
    if labels:
        text = "\n".join(line.run.text for line in box.lines)
        dot.node(box.id, _escaped(text), fontsize="11", fontname="Helvetica", **size)
    else:
        dot.node(box.id, **size)


def _escaped(text: str) -> str:
    r"""Text as a label: a backslash is a backslash, and lines are as they are."""
    return str(graphviz.escape(text)).replace("\n", "\\n")


def in_process(dot: str) -> str:
    """Graphviz's JSON by pygraphviz."""
    import pygraphviz

    with _lock:
        found = pygraphviz.AGraph(string=dot).draw(format="json", prog="dot")
    return found.decode() if isinstance(found, bytes) else str(found)


def by_program(name: str) -> Callable[[str], str]:
    """Graphviz's JSON by a program of the PATH."""

    def run(dot: str) -> str:
        done = subprocess.run([name, "-Tjson"], input=dot, capture_output=True, text=True, check=False)
        if done.returncode:
            told = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[0]
            raise GraphgradError(f"{name} could not lay the picture out: {told}")
        return done.stdout

    return run


def engines() -> dict[str, Callable[[str], str]]:
    """What can be run here, by name, the best first."""
    found: dict[str, Callable[[str], str]] = {}
    if importlib.util.find_spec("pygraphviz") is not None:
        found["pygraphviz"] = in_process
    for name in ("dot", "graphviz-pure"):
        if shutil.which(name):
            found[name] = by_program(name)
    return found


def place(diagram: Diagram, run: Callable[[str], str], engine: str) -> Placed:
    """The coordinates that Graphviz gives a diagram. Points, y downwards."""
    answer = json.loads(run(digraph(diagram).source))
    left, bottom, right, top = (float(v) for v in answer["bb"].split(","))
    height = top - bottom

    def point(text: str) -> Point:
        x, y = text.split(",")[-2:]
        return round(float(x) - left, 3), round(height - (float(y) - bottom), 3)

    centres: dict[str, Point] = {}
    lanes: dict[str, tuple[float, float, float, float]] = {}
    for thing in answer.get("objects", ()):
        name = thing.get("name", "")
        if "pos" in thing:
            centres[name] = point(thing["pos"])
        elif name.startswith("cluster_") and "bb" in thing:
            a, b, c, d = (float(v) for v in thing["bb"].split(","))
            lanes[name.removeprefix("cluster_")] = (a - left, height - (d - bottom), c - a, d - b)
    curves: dict[str, tuple[Point, ...]] = {}
    for edge in answer.get("edges", ()):
        if "pos" in edge:
            curves[edge["id"]] = _curve(edge["pos"], point)
    reversed_ends = {e.id for e in diagram.edges if e.kind == "adjoint"}
    curves = {id: tuple(reversed(c)) if id in reversed_ends else c for id, c in curves.items()}
    placed = Placed(right - left, height, centres, curves, lanes, engine)
    return _turned_over(placed) if len(lanes) > 1 and in_order(diagram, _turned_over(placed)) else placed


def in_order(diagram: Diagram, placed: Placed) -> bool:
    """Whether the lanes lie from the top in their own order: Graphviz knows none among them."""
    tops = [placed.lanes[lane.name][1] for lane in diagram.lanes if lane.name in placed.lanes]
    return tops == sorted(tops)


def _turned_over(placed: Placed) -> Placed:
    """The same layout with what was above below."""
    height = placed.height

    def over(p: Point) -> Point:
        return p[0], round(height - p[1], 3)

    return replace(
        placed,
        centres={id: over(p) for id, p in placed.centres.items()},
        curves={id: tuple(map(over, points)) for id, points in placed.curves.items()},
        lanes={name: (x, height - y - h, w, h) for name, (x, y, w, h) in placed.lanes.items()},
    )


def _curve(text: str, point: Callable[[str], Point]) -> tuple[Point, ...]:
    """ "s,x,y e,x,y p0 p1 p2 p3 ...": Béziers, with the points that arrow heads reach."""
    start = end = None
    points: list[Point] = []
    for part in text.split():
        if part.startswith("s,"):
            start = point(part)
        elif part.startswith("e,"):
            end = point(part)
        else:
            points.append(point(part))
    if start is not None:  # the stub up to a box, as a straight Bézier
        points = [start, start, points[0], *points]
    if end is not None:
        points = [*points, points[-1], end, end]
    return tuple(points)
