"""A scene as SVG: rectangles, paths, polygons and circles only, which every viewer draws alike; no font, no script."""

from __future__ import annotations

from collections.abc import Callable
from xml.sax.saxutils import escape, quoteattr

from graphgrad.render.scene import Circle, Curve, Glyphs, Group, Item, Paint, Polygon, Rect, Scene, number

Colours = Callable[[str], str]  # from a role of the theme to what stands in the file


def svg(scene: Scene, colours: Colours, *, scale: float = 1.0, prefix: str = "", background: bool = True) -> str:
    """The scene as an SVG document. `prefix` keeps ids apart where several pictures stand in one page."""
    w, h = number(scene.width), number(scene.height)
    size = f'width="{number(scene.width * scale)}pt" height="{number(scene.height * scale)}pt"'
    title = escape(_printable(scene.title))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {w} {h}" role="img" lang="{scene.lang}">',
        f"<title>{title}</title>" if title else "",
        f'<rect width="{w}" height="{h}" fill="{colours("paper")}"/>' if background else "",
    ]
    writer = _Writer(colours, prefix)
    for item in scene.items:
        writer.write(item)
    return "\n".join([line for line in lines if line] + writer.lines + ["</svg>", ""])


class _Writer:
    def __init__(self, colours: Colours, prefix: str) -> None:
        self.colours, self.prefix = colours, prefix
        self.lines: list[str] = []

    def write(self, item: Item) -> None:
        if isinstance(item, Group):
            faded = f' opacity="{number(item.opacity)}"' if item.opacity != 1 else ""
            id = quoteattr(_printable(self.prefix + item.id))
            ends = f" data-ends={quoteattr(_printable(' '.join(item.ends)))}" if item.ends else ""
            self.lines.append(f"<g id={id} class={quoteattr(item.kind)}{ends}{faded}>")
            if item.title:
                self.lines.append(f"<title>{escape(_printable(item.title))}</title>")
            for inner in item.items:
                self.write(inner)
            self.lines.append("</g>")
        else:
            self.lines.append(self.shape(item))

    def shape(self, item: Rect | Circle | Curve | Polygon | Glyphs) -> str:
        paint = self.paint(item.paint)
        if isinstance(item, Rect):
            round_ = f' rx="{number(item.radius)}"' if item.radius else ""
            box = f'x="{number(item.x)}" y="{number(item.y)}" width="{number(item.w)}" height="{number(item.h)}"'
            return f"<rect {box}{round_}{paint}/>"
        if isinstance(item, Circle):
            return f'<circle cx="{number(item.x)}" cy="{number(item.y)}" r="{number(item.r)}"{paint}/>'
        if isinstance(item, Polygon):
            points = " ".join(f"{number(x)},{number(y)}" for x, y in item.points)
            return f'<polygon points="{points}"{paint}/>'
        if isinstance(item, Curve):
            return f'<path d="{curve_data(item.points)}"{paint}/>'
        if item.outline:
            move = f'transform="translate({number(item.x)} {number(item.y)})"'
            return f'<path {move} d="{item.outline}"{paint}/>'
        place = f'x="{number(item.x)}" y="{number(item.y)}" font-size="{number(item.size)}"'
        fit = f'textLength="{number(item.width)}" lengthAdjust="spacingAndGlyphs"'
        family = "serif" if item.tex else "sans-serif"
        return f'<text {place} {fit} font-family="{family}"{paint}>{escape(_printable(item.text))}</text>'

    def paint(self, paint: Paint) -> str:
        text = f' fill="{self.colours(paint.fill)}"' if paint.fill else ' fill="none"'
        if paint.stroke:
            text += f' stroke="{self.colours(paint.stroke)}" stroke-width="{number(paint.width)}"'
        if paint.dash:
            text += f' stroke-dasharray="{" ".join(map(number, paint.dash))}"'
        return text + (f' opacity="{number(paint.opacity)}"' if paint.opacity != 1 else "")


def curve_data(points: tuple[tuple[float, float], ...]) -> str:
    """A curve as path data."""
    (x, y), rest = points[0], points[1:]
    text = f"M{number(x)} {number(y)}"
    for k in range(0, len(rest) - 2, 3):
        text += "C" + " ".join(f"{number(a)} {number(b)}" for a, b in rest[k : k + 3])
    return text


def _printable(text: str) -> str:
    """XML takes no control characters."""
    return "".join(c if c.isprintable() else " " for c in text)
