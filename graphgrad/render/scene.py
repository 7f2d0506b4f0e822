"""The display list that all formats are drawn from: rectangles, paths, polygons, text, and groups of them.

Coordinates are points (1/72 inch), y downwards. Paint is named by its role ("parameter.fill"), and a theme gives the
colour: so one layout serves light and dark. Nothing here knows what is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Paint:
    """How a shape is painted: roles of fill and stroke ("" for none), the line's width, dashes, and the opacity."""

    fill: str = ""
    stroke: str = ""
    width: float = 1.0
    dash: tuple[float, ...] = ()
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle, its corners rounded by `radius`."""

    x: float
    y: float
    w: float
    h: float
    paint: Paint
    radius: float = 0.0


@dataclass(frozen=True, slots=True)
class Circle:
    x: float
    y: float
    r: float
    paint: Paint


#: Cubic Béziers after a start: (x, y), then groups of three points.
Points: TypeAlias = "tuple[tuple[float, float], ...]"


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through cubic Béziers: a start, then two control points and an end for each."""

    points: Points
    paint: Paint


@dataclass(frozen=True, slots=True)
class Polygon:
    points: Points
    paint: Paint


@dataclass(frozen=True, slots=True)
class Glyphs:
    """A run of glyphs as outlines: SVG path data around a baseline origin, moved to (x, y).

    `tex` and `text` say what it reads. Where `outline` is "" no font was at hand, and a viewer writes `text` itself,
    stretched to `width`.
    """

    x: float
    y: float
    width: float
    size: float
    outline: str
    text: str
    tex: str
    paint: Paint


@dataclass(frozen=True, slots=True)
class Group:
    """Items that belong together: a box with its label, an edge with its head. `title` is read out by screen readers;
    `ends` are the boxes that an edge joins."""

    id: str
    kind: str
    items: tuple[Item, ...]
    title: str = ""
    opacity: float = 1.0
    ends: tuple[str, ...] = ()


Item: TypeAlias = "Rect | Circle | Curve | Polygon | Glyphs | Group"


@dataclass(frozen=True, slots=True)
class Scene:
    """What is drawn on a sheet of a width and a height."""

    width: float
    height: float
    items: tuple[Item, ...]
    title: str = ""
    lang: str = "en"

    def walk(self) -> Iterator[Item]:
        """All items, groups before what is in them."""
        stack: list[Item] = list(reversed(self.items))
        while stack:
            item = stack.pop()
            yield item
            if isinstance(item, Group):
                stack.extend(reversed(item.items))

    def groups(self) -> dict[str, Group]:
        """The groups by id."""
        return {item.id: item for item in self.walk() if isinstance(item, Group)}

    def to_json(self) -> str:
        """The scene as JSON; equal pictures give equal text."""
        return json.dumps(_plain(self), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _plain(item: Any) -> Any:
    if isinstance(item, (Scene, Group)):
        made = {name: getattr(item, name) for name in item.__slots__ if name != "items"}
        return {"type": type(item).__name__, **made, "items": [_plain(i) for i in item.items]}
    made = {"type": type(item).__name__, **asdict(item)}
    if isinstance(item, Glyphs):
        made.pop("outline")  # long, and given by tex or text
    return _rounded(made)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 2) + 0.0
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, (list, tuple)) else value


def number(value: float) -> str:
    """A coordinate as all formats write it: two decimals at most, no trailing zeros."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def polyline(points: Sequence[tuple[float, float]]) -> Points:
    """Straight lines as Béziers."""
    curve = [points[0]]
    for (ax, ay), (bx, by) in pairwise(points):
        curve += [(ax + (bx - ax) / 3, ay + (by - ay) / 3), (bx - (bx - ax) / 3, by - (by - ay) / 3), (bx, by)]
    return tuple(curve)


def spots(curve: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Points along Béziers, near enough to each other to find every box."""
    for k in range(0, len(curve) - 3, 3):
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = curve[k : k + 4]
        steps = max(4, int((abs(dx - ax) + abs(dy - ay)) / 6))
        for n in range(steps + 1):
            t = n / steps
            p, q, r, s = (1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3
            yield p * ax + q * bx + r * cx + s * dx, p * ay + q * by + r * cy + s * dy


def arrow_head(tip: tuple[float, float], back: tuple[float, float], size: float, paint: Paint) -> Polygon:
    """A head whose tip is `tip`, pointing away from `back`."""
    dx, dy = tip[0] - back[0], tip[1] - back[1]
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    dx, dy = dx / length, dy / length
    base = (tip[0] - dx * size, tip[1] - dy * size)
    half = size * 0.38
    return Polygon((tip, (base[0] - dy * half, base[1] + dx * half), (base[0] + dy * half, base[1] - dx * half)), paint)


__all__ = ["Circle", "Curve", "Glyphs", "Group", "Item", "Paint", "Polygon", "Rect", "Scene"]
