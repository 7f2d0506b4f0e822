r"""Scenes as TikZ: shapes at their places, formulas set by LaTeX itself, so that they match the paper around them.

Several scenes become one picture whose parts appear by \onslide, for beamer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from graphgrad.render.scene import Circle, Curve, Glyphs, Group, Item, Paint, Polygon, Rect, Scene, number

PACKAGES = ("amsmath", "amssymb", "adjustbox", "tikz")


def tikz(scenes: Sequence[Scene], colours: Callable[[str], str], *, standalone: bool = False) -> str:
    r"""A `tikzpicture`. It needs the packages tikz, amsmath, amssymb and adjustbox, which a standalone document loads.

    Of several scenes, the k-th is shown on slide k: \onslide is beamer's.
    """
    writer = _Writer(colours)
    if len(scenes) == 1:
        writer.scene(scenes[0])
    else:
        for k, scene in enumerate(scenes, 1):
            writer.lines.append(rf"\onslide<{k}>{{%")
            writer.scene(scene)
            writer.lines.append("}%")
    names = [rf"\definecolor{{{name}}}{{HTML}}{{{colour[1:]}}}" for colour, name in writer.names.items()]
    w, h = number(scenes[0].width), number(scenes[0].height)
    picture = "\n".join([
        *names,
        r"\begin{tikzpicture}[x=1pt, y=-1pt, line cap=round, line join=round, baseline=(current bounding box.center)]",
        rf"\useasboundingbox (0,0) rectangle ({w},{h});", *writer.lines, r"\end{tikzpicture}", "",
    ])  # fmt: skip
    if not standalone:
        return picture
    packages = "\n".join(rf"\usepackage{{{p}}}" for p in PACKAGES)
    if len(scenes) == 1:
        return (
            rf"\documentclass[border=2pt]{{standalone}}"
            f"\n{packages}\n\\begin{{document}}\n{picture}\\end{{document}}\n"
        )
    fitted = r"\adjustbox{max width=\textwidth, max height=0.98\textheight}{%"
    return "\n".join([
        r"\documentclass[aspectratio=169]{beamer}", packages, r"\setbeamertemplate{navigation symbols}{}",
        r"\begin{document}", r"\begin{frame}[plain]\centering", fitted, picture + "}", r"\end{frame}",
        r"\end{document}", "",
    ])  # fmt: skip


class _Writer:
    def __init__(self, colours: Callable[[str], str]) -> None:
        self.colours = colours
        self.names: dict[str, str] = {}
        self.lines: list[str] = []

    def scene(self, scene: Scene) -> None:
        for item in scene.items:
            self.item(item)

    def item(self, item: Item) -> None:
        if isinstance(item, Group):
            faded = rf"\begin{{scope}}[opacity={number(item.opacity)}, text opacity={number(item.opacity)}]"
            self.lines += [faded] if item.opacity != 1 else []
            for inner in item.items:
                self.item(inner)
            self.lines += [r"\end{scope}"] if item.opacity != 1 else []
        elif isinstance(item, Glyphs):
            self.lines.append(self.label(item))
        else:
            self.lines.append(rf"\path[{self.paint(item.paint, item)}] {_path(item)};")

    def colour(self, role: str) -> str:
        colour = self.colours(role)
        return self.names.setdefault(colour, f"gg{_letters(len(self.names))}")

    def paint(self, paint: Paint, item: Item) -> str:
        parts = [f"fill={self.colour(paint.fill)}"] if paint.fill else []
        if paint.stroke:
            parts += [f"draw={self.colour(paint.stroke)}", f"line width={number(paint.width)}pt"]
        if paint.dash:
            on_off = " ".join(f"{'off' if k % 2 else 'on'} {number(d)}pt" for k, d in enumerate(paint.dash))
            parts += [f"dash pattern={on_off}", "line cap=butt"]
        if isinstance(item, Rect) and item.radius:
            parts.append(f"rounded corners={number(item.radius)}pt")
        return ", ".join(parts)

    def label(self, item: Glyphs) -> str:
        text = f"$\\displaystyle {_ascii(item.tex)}$" if item.tex else _text(item.text)
        middle = number(item.x + item.width / 2)
        # Measured in STIX at 15 pt: Computer Modern at 12 is about as large.
        size = number(item.size * (0.8 if item.tex else 0.88))
        options = f"anchor=base, inner sep=0pt, text={self.colour(item.paint.fill)}"
        # LaTeX's own font may be wider than the one that the label was measured in.
        fitted = rf"\adjustbox{{max width={number(item.width)}pt}}{{\fontsize{{{size}}}{{{size}}}\selectfont {text}}}"
        return rf"\node[{options}] at ({middle},{number(item.y)}) {{{fitted}}};"


def _letters(number: int) -> str:
    return chr(97 + number // 26) + chr(97 + number % 26)


def _path(item: Rect | Circle | Curve | Polygon | Glyphs | Group) -> str:
    if isinstance(item, Rect):
        a, b = (item.x, item.y), (item.x + item.w, item.y + item.h)
        return f"({number(a[0])},{number(a[1])}) rectangle ({number(b[0])},{number(b[1])})"
    if isinstance(item, Circle):
        return f"({number(item.x)},{number(item.y)}) circle[radius={number(item.r)}pt]"
    if isinstance(item, Polygon):
        return " -- ".join(f"({number(x)},{number(y)})" for x, y in item.points) + " -- cycle"
    assert isinstance(item, Curve)
    text = f"({number(item.points[0][0])},{number(item.points[0][1])})"
    for k in range(1, len(item.points) - 2, 3):
        first, second, end = (f"({number(x)},{number(y)})" for x, y in item.points[k : k + 3])
        text += f" .. controls {first} and {second} .. {end}"
    return text


SYMBOLS = {
    "×": r"$\times$", "→": r"$\to$", "∂": r"$\partial$", "·": r"$\cdot$", "…": r"\ldots{}", "−": r"$-$", "—": "---",
    "–": "--", "←": r"$\gets$", "∞": r"$\infty$", "σ": r"$\sigma$", "θ": r"$\theta$", "ᵀ": r"$^\top$",
    "²": r"$^2$", "⊙": r"$\odot$", "Σ": r"$\Sigma$", "α": r"$\alpha$", "β": r"$\beta$", "ε": r"$\varepsilon$",
    "δ": r"$\delta$", "\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"$<$", ">": r"$>$", "|": r"$|$", "‖": r"$\|$", "µ": r"$\mu$",
}  # fmt: skip

ACCENTS = set("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327\u0328")


def _text(text: str) -> str:
    """Plain text for LaTeX: its special characters escaped, mathematics in math mode, x̄ as an accent."""
    out: list[str] = []
    for c in text:
        if c == "\u0304" and out:  # the macron that follows the letter that it stands on
            out[-1] = rf"$\bar{{\mathrm{{{out[-1]}}}}}$"
        elif c in SYMBOLS:
            out.append(SYMBOLS[c])
        else:
            out.append("\\" + c if c in "#$%&_{}" else _letter(c))
    return "".join(out)


def _ascii(tex: str) -> str:
    """A formula whose letters every LaTeX knows in math mode."""
    return "".join(c if c.isascii() else rf"\text{{{SYMBOLS.get(c) or _letter(c)}}}" for c in tex)


def _letter(c: str) -> str:
    """A letter as it is, where LaTeX's own fonts have it: in ASCII or with an accent; else its number."""
    base, *accents = list(unicodedata.normalize("NFD", c))
    if base.isascii() and base.isprintable() and set(accents) <= ACCENTS:
        return c
    return f"U+{ord(c):04X}"
