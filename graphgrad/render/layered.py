"""A layered layout of our own: columns from the graph's ranks, few crossings, lanes one above the other.

Sugiyama's scheme. Ranks are known from the order of the computation; long edges pass through points of their own in
each rank between; the order in each rank is found by medians; heights by pulling boxes towards their neighbours. It
needs nothing but this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from graphgrad.render.diagram import Box, Diagram, Edge, Placed, Point
from graphgrad.render.scene import spots

RANK_GAP = 34.0  # points between columns
NODE_GAP = 16.0  # between boxes of a column
LANE_GAP = 16.0  # between lanes
PAD = 24.0  # inside a lane's frame; its title stands in it
SWEEPS = 24


@dataclass
class _Item:
    """A box, or a point that a long edge passes through, in one rank of one lane."""

    key: str
    rank: int
    height: float
    box: Box | None = None
    y: float = 0.0
    left: list[_Item] = field(default_factory=list)  # neighbours in the rank before
    right: list[_Item] = field(default_factory=list)


def place(diagram: Diagram) -> Placed:
    """Coordinates for a diagram, by lanes from the top, each in the columns that all lanes share."""
    ranks = _ranks(diagram)
    depth = max(ranks.values(), default=-1) + 1
    widths = [0.0] * depth
    for box in diagram.boxes:
        widths[ranks[box.id]] = max(widths[ranks[box.id]], box.width)
    margin = PAD if diagram.lanes else 4.0
    middles, x = [], margin
    for w in widths:
        middles.append(x + w / 2)
        x += w + RANK_GAP
    width = x - RANK_GAP + margin
    names = [lane.name for lane in diagram.lanes] or [""]
    centres: dict[str, Point] = {}
    lanes: dict[str, tuple[float, float, float, float]] = {}
    top = 0.0
    sheet = _Sheet(diagram, centres, ranks, middles, widths)
    routed: list[tuple[Edge, Sequence[_Item]]] = []
    anchors: dict[str, float] = {}  # the height of a column's box in the lane above, relative to that lane
    for name in names:
        boxes = [b for b in diagram.boxes if b.lane == name or not diagram.lanes]
        inside = {b.id for b in boxes}
        edges = [e for e in diagram.edges if e.source in inside and e.target in inside]
        columns, passes = _columns(boxes, edges, ranks, depth)
        _order(columns, anchors)
        _heights(columns)
        low = min((i.y - i.height / 2 for c in columns for i in c), default=0.0)
        high = max((i.y + i.height / 2 for c in columns for i in c), default=0.0)
        shift = top + margin - low
        for column in columns:
            for item in column:
                item.y += shift
                if item.box is not None:
                    centres[item.key] = (round(middles[item.rank], 3), round(item.y, 3))
                    anchors[item.box.column] = item.y
        routed += [(edge, passes.get(edge.id, ())) for edge in edges]
        if diagram.lanes:
            used = [i for c in columns for i in c if i.box is not None]
            left = min((middles[i.rank] - i.box.width / 2 for i in used if i.box), default=margin) - PAD
            right = max((middles[i.rank] + i.box.width / 2 for i in used if i.box), default=margin) + PAD
            lanes[name] = (left, top, right - left, high - low + 2 * margin)
        top += high - low + 2 * margin + LANE_GAP
    curves = {edge.id: _route(edge, sheet, passes) for edge, passes in routed}
    for nth, edge in enumerate(e for e in diagram.edges if e.id not in curves):
        below = max(lanes[diagram.by_id[i].lane][1] for i in (edge.source, edge.target))
        curves[edge.id] = _between_lanes(edge, sheet, below - LANE_GAP / 2, nth)
    return Placed(width, top - LANE_GAP, centres, curves, lanes, "layered")


# ---------------------------------------------------------------------------------------------------------------------
# Ranks
# ---------------------------------------------------------------------------------------------------------------------


def _ranks(diagram: Diagram) -> dict[str, int]:
    """The column of each box: as late as its readers allow for what has no operands, else as early as its operands do.

    Boxes that share a column share a rank. A saved value is no constraint, an adjoint points backwards.
    """
    group = {b.id: b.column or b.id for b in diagram.boxes}
    before: dict[str, set[str]] = {g: set() for g in group.values()}
    after: dict[str, set[str]] = {g: set() for g in group.values()}
    for edge in diagram.edges:
        a, b = group[edge.source], group[edge.target]
        if edge.kind == "saved" or a == b:
            continue
        if edge.kind == "adjoint":
            a, b = b, a
        if not _leads(after, b, a):
            before[b].add(a)
            after[a].add(b)
    order = _topological(list(before), before, after)
    rank: dict[str, int] = {}
    for g in order:
        rank[g] = max((rank[p] + 1 for p in before[g]), default=0)
    for g in reversed(order):
        if not before[g] and after[g]:  # a leaf stands beside its first reader
            rank[g] = min(rank[r] for r in after[g]) - 1
    used = {r: k for k, r in enumerate(sorted(set(rank.values())))}
    return {b.id: used[rank[group[b.id]]] for b in diagram.boxes}


def _leads(after: dict[str, set[str]], start: str, goal: str) -> bool:
    """Whether there is a way already, which an edge the other way round would close to a circle."""
    if not after[start]:
        return False
    stack, seen = [start], {start}
    while stack:
        here = stack.pop()
        if here == goal:
            return True
        for n in after[here]:
            if n not in seen:
                seen.add(n)
                stack.append(n)
    return False


def _topological(groups: Sequence[str], before: dict[str, set[str]], after: dict[str, set[str]]) -> list[str]:
    waiting = {g: len(before[g]) for g in groups}
    place = {g: k for k, g in enumerate(groups)}
    ready = [g for g in groups if not waiting[g]]
    order = []
    while ready:
        ready.sort(key=place.__getitem__, reverse=True)
        here = ready.pop()
        order.append(here)
        for n in after[here]:
            waiting[n] -= 1
            if not waiting[n]:
                ready.append(n)
    return order


# ---------------------------------------------------------------------------------------------------------------------
# Order and heights
# ---------------------------------------------------------------------------------------------------------------------


def _columns(
    boxes: Sequence[Box], edges: Sequence[Edge], ranks: dict[str, int], depth: int
) -> tuple[list[list[_Item]], dict[str, list[_Item]]]:
    """The items of each rank, linked with their neighbours; and the points that each long edge passes through."""
    columns: list[list[_Item]] = [[] for _ in range(depth)]
    items = {b.id: _Item(b.id, ranks[b.id], b.height, b) for b in boxes}
    for item in items.values():
        columns[item.rank].append(item)
    passes: dict[str, list[_Item]] = {}
    for edge in edges:
        a, b = items[edge.source], items[edge.target]
        if a.rank == b.rank:
            continue
        if a.rank > b.rank:
            a, b = b, a
        last = a
        for rank in range(a.rank + 1, b.rank):
            point = _Item(f"{edge.id}@{rank}", rank, 4.0)
            columns[rank].append(point)
            passes.setdefault(edge.id, []).append(point)
            last.right.append(point)
            point.left.append(last)
            last = point
        last.right.append(b)
        b.left.append(last)
    return columns, passes


def _order(columns: list[list[_Item]], anchors: dict[str, float]) -> None:
    """Each rank in the order of the medians of its neighbours; the order with the fewest crossings is kept."""
    for column in columns:
        if any(i.box is not None and i.box.column in anchors for i in column):
            column.sort(key=lambda i: anchors.get(i.box.column, 1e9) if i.box is not None else 1e9)
    best, least = [list(c) for c in columns], _crossings(columns)
    for sweep in range(SWEEPS):
        forwards = sweep % 2 == 0
        for column in columns if forwards else reversed(columns):
            place = {id(n): k for c in columns for k, n in enumerate(c)} if len(columns) < 40 else None
            keys = {}
            for k, item in enumerate(column):
                near = item.left if forwards else item.right
                spots = sorted(place[id(n)] if place else _spot(columns, n) for n in near)
                keys[id(item)] = (spots[(len(spots) - 1) // 2] + spots[len(spots) // 2]) / 2 if spots else float(k)
            column.sort(key=lambda i: keys[id(i)])
        crossings = _crossings(columns)
        if crossings < least:
            best, least = [list(c) for c in columns], crossings
        if not least:
            break
    for column, kept in zip(columns, best, strict=True):
        column[:] = kept


def _spot(columns: list[list[_Item]], item: _Item) -> int:
    return next(k for k, n in enumerate(columns[item.rank]) if n is item)


def _crossings(columns: list[list[_Item]]) -> int:
    """How many pairs of edges cross, rank by rank: inversions of their ends, counted by insertion."""
    total = 0
    for before, after in pairwise(columns):
        place = {id(n): k for k, n in enumerate(after)}
        ends: list[int] = []
        for item in before:
            mine = sorted(place[id(n)] for n in item.right if id(n) in place)
            for e in mine:
                total += sum(1 for other in ends if other > e)
            ends.extend(mine)
    return total


def _heights(columns: list[list[_Item]]) -> None:
    """Boxes are pulled to the mean height of their neighbours, and pushed apart where they would overlap."""
    for column in columns:
        y = 0.0
        for item in column:
            item.y = y + item.height / 2
            y += item.height + NODE_GAP
        middle = (column[0].y + column[-1].y) / 2 if column else 0.0
        for item in column:
            item.y -= middle
    for sweep in range(SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            wanted = []
            for item in column:
                near = [*item.left, *item.right]
                wanted.append(sum(n.y for n in near) / len(near) if near else item.y)
            _apart(column, wanted)


def _apart(column: list[_Item], wanted: list[float]) -> None:
    """The heights nearest to the wanted ones at which nothing overlaps: blocks of touching items at their mean."""
    blocks: list[tuple[float, float, list[_Item]]] = []  # sum of wanted starts, length, items
    for item, y in zip(column, wanted, strict=True):
        start, size, items = y - item.height / 2, item.height + NODE_GAP, [item]
        total = start
        while blocks:
            before_total, before_size, before_items = blocks[-1]
            if before_total / len(before_items) + before_size <= total / len(items):
                break
            blocks.pop()
            total = before_total + total - before_size * len(items)
            size += before_size
            items = before_items + items
        blocks.append((total, size, items))
    for total, _, items in blocks:
        y = total / len(items)
        for item in items:
            item.y = y + item.height / 2
            y += item.height + NODE_GAP


# ---------------------------------------------------------------------------------------------------------------------
# Edges
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sheet:
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


def _route(edge: Edge, sheet: _Sheet, passes: Sequence[_Item]) -> tuple[Point, ...]:
    """A curve from side to side, level where it leaves and arrives, through the points of the ranks between."""
    a, b = sheet.diagram.by_id[edge.source], sheet.diagram.by_id[edge.target]
    (ax, ay), (bx, by) = sheet.centres[a.id], sheet.centres[b.id]
    if abs(ax - bx) < 1.0:  # one above the other
        return _vertical(edge, a, b, sheet)
    way = 1.0 if bx > ax else -1.0
    shift = _offset(edge, sheet.diagram) * 5.0
    start, end = (ax + way * a.width / 2, ay + shift), (bx - way * b.width / 2, by + shift)
    between: list[Point] = []
    for item in passes if way > 0 else reversed(passes):
        middle, half = sheet.middles[item.rank], sheet.widths[item.rank] / 2
        between += [(middle - way * half, item.y), (middle + way * half, item.y)]
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


def _vertical(edge: Edge, a: Box, b: Box, sheet: _Sheet) -> tuple[Point, ...]:
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


def _between_lanes(edge: Edge, sheet: _Sheet, gap: float, nth: int) -> tuple[Point, ...]:
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
