"""The edges of a layered layout: curves from box to box that lead through no other one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from graphgrad.render.diagram import Box, Diagram, Edge, Point
from graphgrad.render.scene import spots


@dataclass(frozen=True)
class Sheet:
    """What edges find their way by: where the boxes are, and the columns and gaps between them, which are free."""

    diagram: Diagram
    centres: dict[str, Point]
    ranks: dict[str, int]
    middles: Sequence[float]
    widths: Sequence[float]

    def crossed(self, edge: Edge, curve: Sequence[Point]) -> list[Box]:
        """The boxes that a curve leads through, beside the two that it joins."""
        xs, ys = [x for x, _ in curve], [y for _, y in curve]  # a Bézier stays within its points
        low, high, above, below = min(xs), max(xs), min(ys), max(ys)
        traced, found = list(spots(curve)), []
        for box, left, top, right, bottom in self._rectangles:
            near = left < high and low < right and top < below and above < bottom
            if near and box.id not in (edge.source, edge.target):
                if any(left < x < right and top < y < bottom for x, y in traced):
                    found.append(box)
        return found

    @cached_property
    def _rectangles(self) -> list[tuple[Box, float, float, float, float]]:
        """The boxes with some room around each."""
        found = []
        for box in self.diagram.boxes:
            (x, y), w, h = self.centres[box.id], box.width / 2 + 2.0, box.height / 2 + 2.0
            found.append((box, x - w, y - h, x + w, y + h))
        return found

    def side(self, box: Box, way: float) -> float:
        """The left (-1) or right (1) edge of a box's column: beyond it no box stands up to the next one."""
        rank = self.ranks[box.id]
        return self.middles[rank] + way * self.widths[rank] / 2


def route(edge: Edge, sheet: Sheet, passes: Sequence[tuple[int, float]]) -> tuple[Point, ...]:
    """A curve from side to side, level where it leaves and arrives, through the points of the ranks between: each a
    rank and a height."""
    a, b = sheet.diagram.by_id[edge.source], sheet.diagram.by_id[edge.target]
    (ax, ay), (bx, by) = sheet.centres[a.id], sheet.centres[b.id]
    if abs(ax - bx) < 1.0:  # one above the other
        return _vertical(edge, a, b, sheet)
    way = 1.0 if bx > ax else -1.0
    shift = _offset(edge, sheet.diagram) * 5.0
    start, end = (ax + way * a.width / 2, ay + shift), (bx - way * b.width / 2, by + shift)
    between: list[Point] = []
    for rank, y in passes if way > 0 else reversed(passes):
        middle, half = sheet.middles[rank], sheet.widths[rank] / 2
        between += [(middle - way * half, y), (middle + way * half, y)]
    curve = _waves([start, *between, end])
    if sheet.crossed(edge, curve):  # straight out of the column and into the other, past boxes that are wider
        curve = _waves([start, (sheet.side(a, way), start[1]), *between, (sheet.side(b, -way), end[1]), end])
    return curve


def _waves(stops: Sequence[Point]) -> tuple[Point, ...]:
    curve = [stops[0]]
    for (px, py), (qx, qy) in pairwise(stops):
        reach = (qx - px) * 0.45
        curve += [(px + reach, py), (qx - reach, qy), (qx, qy)]
    return tuple((round(x, 3), round(y, 3)) for x, y in curve)


def _offset(edge: Edge, diagram: Diagram) -> float:
    """x * x: two edges between the same boxes lie side by side."""
    same = [e.id for e in diagram.edges if (e.source, e.target) == (edge.source, edge.target)]
    return same.index(edge.id) - (len(same) - 1) / 2


def _vertical(edge: Edge, a: Box, b: Box, sheet: Sheet) -> tuple[Point, ...]:
    """From a box to one above or below it: straight, or in a bow around those between."""
    (ax, ay), (bx, by) = sheet.centres[a.id], sheet.centres[b.id]
    way = 1.0 if by > ay else -1.0
    start, end = (ax, ay + way * a.height / 2), (bx, by - way * b.height / 2)
    reach = (end[1] - start[1]) / 3
    curve = (start, (start[0], start[1] + reach), (end[0], end[1] - reach), end)
    if not sheet.crossed(edge, curve):
        return curve
    x = sheet.side(a, -1.0) - 10.0
    return _rounded([(ax - a.width / 2, ay), (x, ay), (x, by), (bx - b.width / 2, by)])


def between_lanes(edge: Edge, sheet: Sheet, gap: float, nth: int) -> tuple[Point, ...]:
    """From the bottom of a box to the top of one in a lane below; where boxes stand in the way, beside their columns
    and through the gap between the lanes. `nth` keeps edges apart there."""
    a, b = sheet.diagram.by_id[edge.source], sheet.diagram.by_id[edge.target]
    (ax, ay), (bx, by) = sheet.centres[a.id], sheet.centres[b.id]
    way = 1.0 if by > ay else -1.0
    reach = min(a.width, b.width) * 0.3
    lean = max(-reach, min(reach, (bx - ax) * 0.25))
    start, end = (ax + lean, ay + way * a.height / 2), (bx - lean, by - way * b.height / 2)
    bend = (end[1] - start[1]) * 0.45
    direct = (start, (start[0], start[1] + bend), (end[0], end[1] - bend), end)
    if not sheet.crossed(edge, direct):
        return direct
    apart = nth % 4 * 4.0
    gap += apart - 6.0
    side = 1.0 if bx > ax + 1.0 else -1.0
    over = end[0] + side * min(12.0, b.width / 4)  # apart from what comes from straight above
    down, up = [start, (start[0], gap)], [(over, gap), (over, end[1])]
    if sheet.crossed(edge, _rounded(down)):
        x = sheet.side(a, side) + side * (7.0 + apart)
        y = ay + way * a.height / 4  # apart from the edges that leave in the middle
        down = [(ax + side * a.width / 2, y), (x, y), (x, gap)]
    if sheet.crossed(edge, _rounded(up)):
        side = -side if abs(bx - ax) >= 1.0 else side
        x = sheet.side(b, side) + side * (7.0 + apart)
        y = by - way * b.height / 4
        up = [(x, gap), (x, y), (bx + side * b.width / 2, y)]
    return _rounded([*down, *up])


def _rounded(stops: Sequence[Point], radius: float = 10.0) -> tuple[Point, ...]:
    """Straight lines with round corners."""
    line = [p for k, p in enumerate(stops) if not k or abs(p[0] - stops[k - 1][0]) + abs(p[1] - stops[k - 1][1]) > 0.1]
    curve: list[Point] = [line[0]]
    for k, corner in enumerate(line[1:-1], 1):
        before, after = _towards(corner, line[k - 1], radius), _towards(corner, line[k + 1], radius)
        curve += [curve[-1], before, before, corner, corner, after]
    curve += [curve[-1], line[-1], line[-1]]
    return tuple((round(x, 3), round(y, 3)) for x, y in curve)


def _towards(corner: Point, other: Point, radius: float) -> Point:
    """The point of a line at which its corner begins to be round: half way, where the line is short."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = (dx * dx + dy * dy) ** 0.5
    t = min(radius, length / 2) / length
    return corner[0] + dx * t, corner[1] + dy * t
