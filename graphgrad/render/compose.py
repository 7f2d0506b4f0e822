"""From a diagram with coordinates to the display list: boxes, labels, strips, edges, lanes, legend, caption."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from graphgrad.render.diagram import CELL, GAP, MARGIN, Box, Diagram, Edge, Placed, Strip, rectangle
from graphgrad.render.scene import Curve, Group, Item, Paint, Polygon, Rect, Scene, arrow_head, polyline, spots
from graphgrad.render.theme import SHAPES
from graphgrad.render.typeset import SMALL, label
from graphgrad.render.words import words

BORDER = 12.0  # around the picture
HEAD = 7.0  # length of an arrow's head
FAINT = 0.16
CAPTION = 11.0
SHADES = 8  # from nothing to the largest, in the legend of a scale
CLEAR = 6.0  # between an edge and a frame or its title

#: Colour, width, dashes of edges.
EDGES: dict[str, tuple[str, float, tuple[float, ...]]] = {
    "data": ("line", 1.1, ()),
    "adjoint": ("backward", 1.1, ()),
    "saved": ("saved", 1.1, (4.0, 3.0)),
    "update": ("update.stroke", 1.1, ()),
}


@dataclass(frozen=True)
class Look:
    """What a frame shows: which boxes are current, which one they came from, and what is still to come."""

    current: frozenset[str] = frozenset()
    origin: frozenset[str] = frozenset()
    faint: frozenset[str] = frozenset()
    caption: str = ""
    caption_lines: int = 0  # room below the picture, the same in all frames


def compose(diagram: Diagram, placed: Placed, *, legend: bool = True, look: Look | None = None) -> Scene:
    """The scene of a picture. Every frame of one picture has the same coordinates and the same size."""
    look = look or Look()
    width = max(placed.width, 220.0)  # that the legend and the caption have
    items: list[Item] = []
    lanes = {lane.name: lane for lane in diagram.lanes}
    titles: list[Item] = []
    traces = [list(spots(curve)) for curve in placed.curves.values()]
    frames = _aligned(placed.lanes, [x for trace in traces for x, _ in trace])
    for name, (x, y, w, h) in frames.items():
        frame = Rect(x, y, w, h, Paint(stroke="frame", width=1.0), 8.0)
        items.append(Group(f"lane-{name}", "lane", (frame,), lanes[name].title))
        title = label(lanes[name].title)
        left = _free(x + 8.0, x + w - title.width - 8.0, title.width + 4.0, y + 4.0, traces)
        back = Rect(left, y + 4.0, title.width + 4.0, 12.0, Paint(fill="paper"))  # edges pass behind it
        titles.append(Group(f"title-{name}", "title", (back, title.at(left + 2.0, y + 13.0, "grey"))))
    items += [_edge(edge, diagram, placed, look) for edge in diagram.edges if edge.id in placed.curves]
    items += titles
    items += [_box(box, placed, look) for box in diagram.boxes]
    bottom = placed.height
    if legend:
        rows, bottom = _legend(diagram, width, bottom + 14.0)
        if rows:
            items.append(Group("legend", "legend", tuple(rows)))
    if look.caption_lines:
        items.append(_caption(look, width, bottom + 16.0))
        bottom += 16.0 + look.caption_lines * CAPTION * 1.45
    left = min(0.0, *(x for x, _, _, _ in frames.values())) if frames else 0.0
    right = max(width, *(x + w for x, _, w, _ in frames.values())) if frames else width
    shifted = tuple(moved(item, BORDER - left, BORDER) for item in items)
    return Scene(
        round(right - left + 2 * BORDER, 2), round(bottom + 2 * BORDER, 2), shifted, diagram.title, diagram.lang
    )


def _aligned(
    lanes: Mapping[str, tuple[float, float, float, float]], reached: Sequence[float]
) -> dict[str, tuple[float, float, float, float]]:
    """Lanes that lie one above the other, all from the same left edge to the same right one, with all edges inside."""
    rows = sorted(lanes.values(), key=lambda lane: lane[1])
    if any(a[1] + a[3] > b[1] for a, b in pairwise(rows)):
        return dict(lanes)
    left = min([*(x for x, _, _, _ in rows), *(x - CLEAR for x in reached)], default=0.0)
    right = max([*(x + w for x, _, w, _ in rows), *(x + CLEAR for x in reached)], default=0.0)
    return {name: (left, y, right - left, h) for name, (_, y, _, h) in lanes.items()}


def _free(
    first: float, last: float, width: float, top: float, traces: Sequence[Sequence[tuple[float, float]]]
) -> float:
    """Where a title of a lane begins: as far left as no edge passes behind it."""
    passing = []
    for trace in traces:
        for (ax, ay), (bx, by) in pairwise(trace):
            if max(ay, by) > top - CLEAR / 2 and min(ay, by) < top + 12.0 + CLEAR / 2:
                passing.append((min(ax, bx) - CLEAR, max(ax, bx) + CLEAR))
    left = first
    for begin, end in sorted(passing):
        if begin < left + width and end > left:
            left = end
    return left if left <= last else first


def _box(box: Box, placed: Placed, look: Look) -> Group:
    left, top, right, bottom = rectangle(placed, box)
    radius, width, dash, double = SHAPES[box.kind]
    fill = f"{box.kind}.fill" if box.tint is None else f"cost:{box.tint:.2f}"
    if box.id in look.current:
        width += 2.2
    items: list[Item] = []
    if box.id in look.origin:
        ring = Paint(stroke="ring", width=1.4)
        items.append(Rect(left - 4, top - 4, right - left + 8, bottom - top + 8, ring, radius + 4))
    paint = Paint(fill, f"{box.kind}.stroke", width, dash)
    items.append(Rect(left, top, right - left, bottom - top, paint, radius))
    if double:
        inner = Paint(stroke=f"{box.kind}.stroke", width=0.7)
        items.append(Rect(left + 2.5, top + 2.5, right - left - 5, bottom - top - 5, inner, radius))
    y = top + MARGIN * 0.75
    middle = (left + right) / 2
    for line in box.lines:
        role = line.role if box.tint is None else "ink"  # grey would be lost on the strong colours of a scale
        glyphs = line.run.at(middle - line.run.width / 2, y + line.run.ascent, role)
        items.append(Group(f"{box.id}-{line.kind}", line.kind, (glyphs,)) if line.kind else glyphs)
        y += line.run.height + GAP
    if box.strip is not None:
        cells = tuple(strip_cells(box.strip, middle - box.strip.width / 2, y + 1))
        items.append(Group(f"{box.id}-strip", "strip", cells, box.strip.text))
    opacity = FAINT if box.id in look.faint else 1.0
    return Group(box.id, f"box {box.kind}", tuple(items), box.title, opacity)


def strip_cells(strip: Strip, x: float, y: float) -> list[Item]:
    """A strip's cells; one that is not finite is hatched."""
    cells: list[Item] = []
    for r, row in enumerate(strip.rows):
        for c, value in enumerate(row):
            left, top = x + c * CELL, y + r * CELL
            fill = "paper" if value is None else f"heat:{value:.2f}"
            cells.append(Rect(left, top, CELL - 0.8, CELL - 0.8, Paint(fill, "cell", 0.6)))
            if value is None:
                cells += hatched(left, top, CELL - 0.8)
    return cells


def hatched(x: float, y: float, size: float) -> list[Item]:
    paint = Paint(stroke="ink", width=0.7)
    lines = [((x, y + size), (x + size, y)), ((x, y + size / 2), (x + size / 2, y))]
    lines.append(((x + size / 2, y + size), (x + size, y + size / 2)))
    return [Curve(polyline(line), paint) for line in lines]


def _edge(edge: Edge, diagram: Diagram, placed: Placed, look: Look) -> Group:
    role, width, dash = EDGES[edge.kind]
    faint = edge.source in look.faint or edge.target in look.faint
    strong = edge.target in look.current and edge.kind != "data"
    curve = placed.curves[edge.id]
    tip = curve[-1]
    back = next((p for p in reversed(curve[:-1]) if abs(p[0] - tip[0]) + abs(p[1] - tip[1]) > 0.5), curve[0])
    head = arrow_head(tip, back, HEAD + (1.5 if strong else 0.0), Paint(fill=role))
    base = ((head.points[1][0] + head.points[2][0]) / 2, (head.points[1][1] + head.points[2][1]) / 2)
    line = Curve((*curve[:-1], base), Paint(stroke=role, width=width * (2.2 if strong else 1.0), dash=dash))
    title = " → ".join(diagram.by_id[end].name or diagram.by_id[end].title for end in (edge.source, edge.target))
    return Group(
        f"e-{edge.id}", f"edge {edge.kind}", (line, head), title, FAINT if faint else 1.0, (edge.source, edge.target)
    )


def _legend(diagram: Diagram, width: float, top: float) -> tuple[list[Item], float]:
    """The kinds that occur, with a sample each; then what colours mean and what was folded. Returns the lower end."""
    told, entries = words(diagram.lang), list[tuple[str, str]]()
    kinds = {box.kind for box in diagram.boxes}
    entries += [("box", kind) for kind in SHAPES if kind in kinds]
    if any(e.kind == "saved" for e in diagram.edges):
        entries.append(("edge", "saved"))
    strips = [b.strip for b in diagram.boxes if b.strip is not None]
    if strips:
        entries += [("cell", "positive"), ("cell", "negative")]
        if any(v is None for s in strips for row in s.rows for v in row):
            entries.append(("cell", "bad"))
    items: list[Item] = []
    x, y = 0.0, top
    for what, kind in entries:
        text = label(told[kind])
        if x > 0 and x + 24 + text.width > width:
            x, y = 0.0, y + 16.0
        items += _sample(what, kind, x, y)
        items.append(text.at(x + 23.0, y + 9.0, "grey"))
        x += 24.0 + text.width + 14.0
    bottom = y + 13.0 if entries else top - 14.0
    if any(b.tint is not None for b in diagram.boxes):
        shades = range(SHADES + 1)
        paints = [Paint(f"cost:{k / SHADES:.2f}", "cell", 0.6) for k in shades]
        items += [Rect(k * CELL, bottom + 4.0, CELL, CELL, paint) for k, paint in zip(shades, paints, strict=True)]
        bottom += 14.0
    for line in (diagram.scale, diagram.note):
        if line:
            for piece in wrapped(line, width, SMALL):
                items.append(label(piece).at(0.0, bottom + 12.0, "grey"))
                bottom += 14.0
    return items, bottom


def _sample(what: str, kind: str, x: float, y: float) -> list[Item]:
    if what == "edge":
        role, width, dash = EDGES[kind]
        return [Curve(polyline(((x, y + 6), (x + 18, y + 6))), Paint(stroke=role, width=width, dash=dash))]
    if what == "cell":
        fill = {"positive": "heat:0.80", "negative": "heat:-0.80", "bad": "paper"}[kind]
        cell: list[Item] = [Rect(x + 5, y + 2, CELL - 0.8, CELL - 0.8, Paint(fill, "cell", 0.6))]
        return cell + (hatched(x + 5, y + 2, CELL - 0.8) if kind == "bad" else [])
    radius, width, dash, double = SHAPES[kind]
    paint = Paint(f"{kind}.fill", f"{kind}.stroke", width, dash)
    found: list[Item] = [Rect(x, y + 0.5, 18, 11, paint, min(radius, 4.0))]
    if double:
        found.append(Rect(x + 2, y + 2.5, 14, 7, Paint(stroke=f"{kind}.stroke", width=0.7), min(radius, 4.0)))
    return found


def wrapped(text: str, width: float, size: float) -> list[str]:
    """Text in lines that are no wider than that."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and label(longer, size).width > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line] if line else lines


def _caption(look: Look, width: float, top: float) -> Group:
    lines = wrapped(look.caption, width, CAPTION)
    items: list[Item] = [
        label(line, CAPTION).at(0.0, top + CAPTION + k * CAPTION * 1.45, "ink") for k, line in enumerate(lines)
    ]
    return Group("caption", "caption", tuple(items), look.caption)


def caption_lines(captions: Collection[str], width: float) -> int:
    """The lines that the longest caption takes."""
    return max((len(wrapped(c, max(width, 220.0), CAPTION)) for c in captions), default=0)


def moved(item: Item, dx: float, dy: float) -> Item:
    """The item somewhere else; groups with all that is in them."""
    if isinstance(item, Group):
        return replace(item, items=tuple(moved(i, dx, dy) for i in item.items))
    if isinstance(item, (Curve, Polygon)):
        return replace(item, points=_shifted(item.points, dx, dy))
    return replace(item, x=item.x + dx, y=item.y + dy)


def _shifted(points: Sequence[tuple[float, float]], dx: float, dy: float) -> tuple[tuple[float, float], ...]:
    return tuple((x + dx, y + dy) for x, y in points)
