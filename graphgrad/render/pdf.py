"""Scenes as a PDF, a page each: vector outlines only, so no font is embedded and none is needed."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence

from graphgrad.errors import GraphgradError
from graphgrad.render.scene import Circle, Curve, Glyphs, Group, Item, Paint, Polygon, Rect, Scene, number

ROUND = 0.5523  # a quarter of a circle as a cubic Bézier: the distance of its control points


def pdf(scenes: Sequence[Scene], colours: Callable[[str], str]) -> bytes:
    """One page a scene, each of its own size. The same scenes give the same bytes: there is no clock in them."""
    objects: list[bytes] = [b"", b""]  # catalogue and page tree, written last
    opacities: dict[float, str] = {}
    pages: list[int] = []
    streams = []
    for scene in scenes:
        writer = _Writer(scene, colours, opacities)
        streams.append((scene, zlib.compress(writer.run().encode("ascii"), 9)))
    states = " ".join(f"/{name} << /ca {value:g} /CA {value:g} >>" for value, name in opacities.items())
    for scene, data in streams:
        objects.append(b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(data), data))
        size = f"[0 0 {number(scene.width)} {number(scene.height)}]"
        page = f"<< /Type /Page /Parent 2 0 R /MediaBox {size} /Contents {len(objects)} 0 R "
        objects.append((page + f"/Resources << /ExtGState << {states} >> >> >>").encode())
        pages.append(len(objects))
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
    kids = " ".join(f"{p} 0 R" for p in pages)
    objects[1] = f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode()
    out, places = bytearray(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n"), []
    for k, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (k, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % p for p in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


class _Writer:
    """The content stream of one page. PDF's y runs upwards, so the page is turned over first."""

    def __init__(self, scene: Scene, colours: Callable[[str], str], opacities: dict[float, str]) -> None:
        self.scene, self.colours, self.opacities = scene, colours, opacities
        self.lines: list[str] = []

    def run(self) -> str:
        h = number(self.scene.height)
        paper = Rect(0, 0, self.scene.width, self.scene.height, Paint(fill="paper"))
        self.lines.append(f"1 0 0 -1 0 {h} cm 1 J 1 j")
        for item in (paper, *self.scene.items):
            self.item(item, 1.0)
        return "\n".join(self.lines) + "\n"

    def item(self, item: Item, opacity: float) -> None:
        if isinstance(item, Group):
            for inner in item.items:
                self.item(inner, opacity * item.opacity)
            return
        paint, opacity = item.paint, round(opacity * item.paint.opacity, 3)
        self.lines.append("q")
        if opacity != 1:
            name = self.opacities.setdefault(opacity, f"G{len(self.opacities)}")
            self.lines.append(f"/{name} gs")
        if paint.fill:
            self.lines.append(f"{_rgb(self.colours(paint.fill))} rg")
        if paint.stroke:
            self.lines.append(f"{_rgb(self.colours(paint.stroke))} RG {number(paint.width)} w")
            if paint.dash:
                self.lines.append(f"[{' '.join(map(number, paint.dash))}] 0 d 0 J")
        self.lines.append(self.path(item))
        self.lines.append({(True, True): "B", (True, False): "f", (False, True): "S"}.get(
            (bool(paint.fill), bool(paint.stroke)), "n"))  # fmt: skip
        self.lines.append("Q")

    def path(self, item: Rect | Circle | Curve | Polygon | Glyphs) -> str:
        if isinstance(item, Rect):
            return _rectangle(item)
        if isinstance(item, Circle):
            return _rectangle(Rect(item.x - item.r, item.y - item.r, 2 * item.r, 2 * item.r, item.paint, item.r))
        if isinstance(item, Polygon):
            ends = [f"{number(a)} {number(b)} {'l' if k else 'm'}" for k, (a, b) in enumerate(item.points)]
            return " ".join([*ends, "h"])
        if isinstance(item, Curve):
            (x, y), rest = item.points[0], item.points[1:]
            triples = [rest[k : k + 3] for k in range(0, len(rest) - 2, 3)]
            curves = [" ".join(f"{number(a)} {number(b)}" for a, b in t) + " c" for t in triples]
            return " ".join([f"{number(x)} {number(y)} m", *curves])
        if not item.outline:
            raise GraphgradError(
                'a PDF needs outlines of its text: pip install "graphgrad[viz]" brings what makes them'
            )
        return _outline(item)


def _rectangle(r: Rect) -> str:
    x, y, w, h, q = r.x, r.y, r.w, r.h, min(r.radius, r.w / 2, r.h / 2)
    if not q:
        return f"{number(x)} {number(y)} {number(w)} {number(h)} re"
    k = q * (1 - ROUND)

    def to(*values: float) -> str:
        return " ".join(map(number, values))

    return " ".join([
        to(x + q, y), "m", to(x + w - q, y), "l", to(x + w - k, y, x + w, y + k, x + w, y + q), "c",
        to(x + w, y + h - q), "l", to(x + w, y + h - k, x + w - k, y + h, x + w - q, y + h), "c",
        to(x + q, y + h), "l", to(x + k, y + h, x, y + h - k, x, y + h - q), "c",
        to(x, y + q), "l", to(x, y + k, x + k, y, x + q, y), "c h",
    ])  # fmt: skip


def _outline(item: Glyphs) -> str:
    """SVG path data (M, L, Q, C, Z) as PDF's operators; a quadratic Bézier as the cubic that it is."""
    parts: list[str] = []
    x = y = 0.0

    def to(values: Sequence[float]) -> str:
        moved = [v + (item.y if k % 2 else item.x) for k, v in enumerate(values)]
        return " ".join(map(number, moved))

    for command, text in re.findall(r"([MLQCZ])([^MLQCZ]*)", item.outline):
        v = [float(n) for n in re.findall(r"-?\d*\.?\d+", text)]
        if command == "Z":
            parts.append("h")
            continue
        step = {"M": 2, "L": 2, "Q": 4, "C": 6}[command]
        for k in range(0, len(v), step):
            p = v[k : k + step]
            if command == "Q":
                a = [x + 2 / 3 * (p[0] - x), y + 2 / 3 * (p[1] - y)]
                b = [p[2] + 2 / 3 * (p[0] - p[2]), p[3] + 2 / 3 * (p[1] - p[3])]
                parts.append(to([*a, *b, *p[2:]]) + " c")
            else:
                parts.append(f"{to(p)} {'m' if command == 'M' and k == 0 else 'c' if command == 'C' else 'l'}")
            x, y = p[-2:]
    return " ".join(parts)


def _rgb(colour: str) -> str:
    return " ".join(f"{int(colour[i : i + 2], 16) / 255:.4g}" for i in (1, 3, 5))
