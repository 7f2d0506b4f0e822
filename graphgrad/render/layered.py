"""A layered layout of our own: columns from the graph's ranks, few crossings, lanes one above the other.

Sugiyama's scheme. Ranks are known from the order of the computation; long edges pass through points of their own in
each rank between; the order in each rank is found by medians; heights by pulling boxes towards their neighbours. How
edges then run is in `routes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from graphgrad.render.diagram import Box, Diagram, Edge, Placed, Point
from graphgrad.render.routes import Sheet, between_lanes, route

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
    sheet = Sheet(diagram, centres, ranks, middles, widths)
    routed: list[tuple[Edge, list[tuple[int, float]]]] = []
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
        routed += [(edge, [(point.rank, point.y) for point in passes.get(edge.id, ())]) for edge in edges]
        if diagram.lanes:
            used = [i for c in columns for i in c if i.box is not None]
            left = min((middles[i.rank] - i.box.width / 2 for i in used if i.box), default=margin) - PAD
            right = max((middles[i.rank] + i.box.width / 2 for i in used if i.box), default=margin) + PAD
            lanes[name] = (left, top, right - left, high - low + 2 * margin)
        top += high - low + 2 * margin + LANE_GAP
    curves = {edge.id: route(edge, sheet, passes) for edge, passes in routed}
    for nth, edge in enumerate(e for e in diagram.edges if e.id not in curves):
        below = max(lanes[diagram.by_id[i].lane][1] for i in (edge.source, edge.target))
        curves[edge.id] = between_lanes(edge, sheet, below - LANE_GAP / 2, nth)
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
