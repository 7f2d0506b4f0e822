"""What a picture shows before it has coordinates: boxes with their measured labels, edges, and lanes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from graphgrad.render.typeset import SMALL, Run, formula, label

GAP = 4.0  # between the lines of a label
MARGIN = 8.0  # around a label
CELL = 9.0  # the side of a cell of a heat strip


@dataclass(frozen=True, slots=True)
class Strip:
    """A small table of colours: values block by block, each from -1 to 1 of the scale; None where it is not finite."""

    rows: tuple[tuple[float | None, ...], ...]
    text: str  # the values in words, for those who cannot see it

    @property
    def width(self) -> float:
        return CELL * max((len(r) for r in self.rows), default=0)

    @property
    def height(self) -> float:
        return CELL * len(self.rows)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a box's label and the role that gives its colour; `kind` is "number" for a value."""

    run: Run
    role: str = "ink"
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """A box of a picture. It stands for `nodes` of the graph and `steps` of a derivation."""

    id: str
    kind: str  # of theme.SHAPES
    lines: tuple[Line, ...]
    title: str
    lane: str = ""
    column: str = ""  # boxes of one column stand in one rank
    strip: Strip | None = None
    nodes: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    tint: float | None = None  # 0 to 1 of a scale, for time or memory
    name: str = ""  # what the titles of its edges call it

    @property
    def width(self) -> float:
        widths = [line.run.width for line in self.lines] + ([self.strip.width] if self.strip else [])
        return max(widths, default=0.0) + 2 * MARGIN

    @property
    def height(self) -> float:
        heights = [line.run.height for line in self.lines] + ([self.strip.height + 2] if self.strip else [])
        return sum(heights) + GAP * max(len(heights) - 1, 0) + 2 * MARGIN * 0.75


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow from one box to another. `kind`: data, adjoint, saved (a value that is used again), update."""

    id: str
    source: str
    target: str
    kind: str = "data"


@dataclass(frozen=True, slots=True)
class Lane:
    """A frame around boxes: the forward pass, the backward pass, the update."""

    name: str
    title: str


@dataclass(frozen=True, slots=True)
class Diagram:
    """Boxes, edges and lanes, in an order that is the same on every run."""

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    lanes: tuple[Lane, ...] = ()
    title: str = ""
    lang: str = "en"
    note: str = ""  # what was folded, told in the legend
    scale: str = ""  # what colours of cells mean, told in the legend
    by_id: dict[str, Box] = field(init=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.by_id.update({box.id: box for box in self.boxes})


Point: TypeAlias = "tuple[float, float]"


@dataclass(frozen=True, slots=True)
class Placed:
    """Coordinates: the centre of each box, the curve of each edge (a start, then Bézier triples), each lane's frame."""

    width: float
    height: float
    centres: dict[str, Point]
    curves: dict[str, tuple[Point, ...]]
    lanes: dict[str, tuple[float, float, float, float]]  # x, y, width, height
    engine: str = ""


def formula_line(tex: str, text: str, role: str = "ink") -> Line:
    return Line(formula(tex, text), role)


def small_line(text: str, role: str = "grey") -> Line:
    return Line(label(text, SMALL), role)


def rectangle(placed: Placed, box: Box) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a placed box."""
    x, y = placed.centres[box.id]
    return x - box.width / 2, y - box.height / 2, x + box.width / 2, y + box.height / 2


def overlaps(placed: Placed, boxes: Sequence[Box], slack: float = 0.5) -> list[tuple[str, str]]:
    """Pairs of boxes that cover each other: none, if the layout is good."""
    found, rectangles = [], [(box.id, *rectangle(placed, box)) for box in boxes]
    rectangles.sort(key=lambda r: r[1])
    for i, (a, _, top, right, bottom) in enumerate(rectangles):
        for b, left, above, _, below in rectangles[i + 1 :]:
            if left >= right - slack:
                break
            if above < bottom - slack and top < below - slack:
                found.append((a, b))
    return found
