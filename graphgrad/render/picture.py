"""Picture: what `gg.draw` returns. It is laid out once and written in any format, theme or frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, overload

import graphviz

from graphgrad.errors import GraphgradError
from graphgrad.files import write_atomically
from graphgrad.render.compose import Look, caption_lines, compose
from graphgrad.render.diagram import Diagram, Placed
from graphgrad.render.graphviz_layout import digraph
from graphgrad.render.pdf import pdf
from graphgrad.render.scene import Scene
from graphgrad.render.svg import svg
from graphgrad.render.theme import theme
from graphgrad.render.tikz import tikz

LARGEST_PNG = 32_767  # pixels a side: what common viewers take

FORMATS = (".svg", ".png", ".pdf", ".tex", ".dot", ".html", ".json")


@dataclass(frozen=True)
class Picture:
    """A picture that does not change. It has a layout, and is written as SVG, PNG, PDF, TikZ, DOT or HTML from it.

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> w = g.parameter("w")
    >>> picture = gg.draw(gg.derive(gg.tanh(w)), engine="layered")
    >>> picture.svg().startswith("<svg")
    True
    """

    diagram: Diagram | None  # boxes and edges; None for pictures that are none, such as a chart of memory
    placed: Placed | None
    drawing: Callable[[Look | None, bool], Scene] = field(repr=False)
    theme: str = "light"
    legend: bool = True
    looks: tuple[Look, ...] = field(default=(), repr=False)  # a frame each
    look: Look | None = field(default=None, repr=False)

    @property
    def scene(self) -> Scene:
        """The display list that every format is written from."""
        return self.drawing(self.look, self.legend)

    def with_(self, *, theme: str | None = None, legend: bool | None = None) -> Picture:
        """The same picture in another theme ("light", "dark") or without its legend; nothing moves."""
        _theme(theme or self.theme)
        return replace(self, theme=theme or self.theme, legend=self.legend if legend is None else legend)

    # -- formats ------------------------------------------------------------------------------------------------------

    def svg(self, *, scale: float = 1.0) -> str:
        """The picture as SVG, its text as outlines: it looks the same everywhere and needs no font."""
        return svg(self.scene, _theme(self.theme), scale=scale)

    def png(self, scale: float = 2.0) -> bytes:
        """The picture as PNG, `scale` pixels to a CSS pixel (1/96 inch). Needs graphgrad[viz]."""
        if not (isinstance(scale, (int, float)) and scale > 0):
            raise GraphgradError(f"png: scale is a number above 0, but {scale!r} was given")
        scene = self.scene
        widest = max(scene.width, scene.height) * 96 / 72 * scale
        if widest > LARGEST_PNG:
            raise GraphgradError(
                f"png: the picture would be {widest:.0f} pixels wide or high, over {LARGEST_PNG:,}; "
                f"take PDF or SVG, or a scale below {scale * LARGEST_PNG / widest:.2g}"
            )
        try:
            import resvg_py
        except ImportError:
            raise GraphgradError('png needs resvg-py: pip install "graphgrad[viz]" brings it') from None
        paper = _theme(self.theme)("paper")  # for pixels of the last row and column, which the sheet covers in part
        return bytes(resvg_py.svg_to_bytes(svg_string=self.svg(), dpi=96, zoom=float(scale), background=paper))

    def pdf(self) -> bytes:
        """The picture as a PDF of one page, of vector outlines."""
        return pdf([self.scene], _theme(self.theme))

    def tikz(self, *, standalone: bool = False) -> str:
        r"""The picture as a tikzpicture, its formulas set by LaTeX; `standalone` makes it a whole document."""
        return tikz([self.scene], _theme(self.theme), standalone=standalone)

    def dot(self) -> str:
        """The picture as DOT text, for Graphviz."""
        return str(self.graphviz().source)

    def graphviz(self) -> graphviz.Digraph:
        """The picture as an object of the graphviz package, for who wants to go on with it."""
        if self.diagram is None:
            raise GraphgradError(
                "this picture has no boxes and edges, so it has no DOT; svg, png, pdf and tikz are there"
            )
        return digraph(self.diagram, labels=True)

    def html(self) -> str:
        """A page that shows the picture alone, light or dark as its reader's system is."""
        scene = self.scene
        light, dark = (svg(scene, _theme(name), prefix=f"{name}-") for name in ("light", "dark"))
        return (
            f'<!doctype html>\n<html lang="{scene.lang}">\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width">\n'
            f"<title>{_plain(scene.title) or 'graphgrad'}</title>\n"
            f"<style>{_PAGE_STYLE}</style>\n"
            f'<main class="light">{light}</main>\n<main class="dark">{dark}</main>\n</html>\n'
        )

    def frames(self) -> Frames:
        """The derivation, a rule a frame: all of one size, with nothing moved."""
        if not self.looks:
            raise GraphgradError("frames are of a derivation: draw(gg.derive(loss)).frames()")
        width = self.placed.width if self.placed is not None else self.scene.width
        lines = caption_lines([look.caption for look in self.looks], width)
        return Frames(tuple(replace(self, look=replace(look, caption_lines=lines), looks=()) for look in self.looks))

    def save(self, path: str | PathLike[str], **options: Any) -> None:
        """Write the picture in the format that the file's name ends with, whole or not at all."""
        write_atomically(path, self.bytes(Path(path).suffix, **options))

    def bytes(self, suffix: str, **options: Any) -> str | bytes:
        """The file's content by its suffix: .svg, .png, .pdf, .tex, .dot, .html or .json (the display list)."""
        if suffix == ".tex":
            return self.tikz(**{"standalone": True, **options})
        writers: dict[str, Callable[..., str | bytes]] = {
            ".svg": self.svg,
            ".png": self.png,
            ".pdf": self.pdf,
            ".dot": self.dot,
            ".html": self.html,
            ".json": lambda: self.scene.to_json(),
        }
        if suffix not in writers:
            raise GraphgradError(f"a picture is saved as {', '.join(FORMATS)}, but {suffix or 'no suffix'!r} was given")
        return writers[suffix](**options)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"image/svg+xml": self.svg(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        scene, boxes = self.scene, len(self.diagram.boxes) if self.diagram is not None else 0
        what = f"{boxes} boxes" if boxes else scene.title
        return f"<picture of {what}, {scene.width:.0f} x {scene.height:.0f} pt>"


class Frames(Sequence[Picture]):
    """The frames of a derivation, for slides: as PDF a page each, as TikZ one picture with a slide each."""

    def __init__(self, pictures: tuple[Picture, ...]) -> None:
        self._pictures = pictures

    @overload
    def __getitem__(self, key: int) -> Picture: ...
    @overload
    def __getitem__(self, key: slice) -> Frames: ...
    def __getitem__(self, key: int | slice) -> Picture | Frames:
        return Frames(self._pictures[key]) if isinstance(key, slice) else self._pictures[key]

    def __len__(self) -> int:
        return len(self._pictures)

    def __iter__(self) -> Iterator[Picture]:
        return iter(self._pictures)

    def with_(self, *, theme: str | None = None, legend: bool | None = None) -> Frames:
        """All frames in another theme or without legend."""
        return Frames(tuple(p.with_(theme=theme, legend=legend) for p in self._pictures))

    def pdf(self) -> bytes:
        r"""A PDF with a page for each frame: \includegraphics[page=3]{frames.pdf}."""
        return pdf([p.scene for p in self._pictures], _theme(self._pictures[0].theme))

    def tikz(self, *, standalone: bool = False) -> str:
        r"""One tikzpicture whose parts appear slide by slide, by beamer's \onslide."""
        return tikz([p.scene for p in self._pictures], _theme(self._pictures[0].theme), standalone=standalone)

    def save(self, path: str | PathLike[str]) -> None:
        """Write all frames: frames.pdf and frames.tex hold all of them, frames.svg becomes frames-01.svg, ..."""
        place = Path(path)
        if place.suffix == ".pdf":
            write_atomically(place, self.pdf())
        elif place.suffix == ".tex":
            write_atomically(place, self.tikz(standalone=True))
        else:
            digits = len(str(len(self)))
            for k, p in enumerate(self._pictures, 1):
                p.save(place.with_name(f"{place.stem}-{k:0{digits}}{place.suffix}"))

    def __repr__(self) -> str:
        return f"<{len(self)} frames>"


def picture(diagram: Diagram, placed: Placed, *, theme: str, legend: bool, looks: Sequence[Look] = ()) -> Picture:
    """The picture of a diagram that has its layout."""

    def drawing(look: Look | None, legend: bool) -> Scene:
        return compose(diagram, placed, legend=legend, look=look)

    _theme(theme)
    return Picture(diagram, placed, drawing, theme, legend, tuple(looks))


def sheet(scene: Callable[[bool], Scene], *, theme: str, legend: bool) -> Picture:
    """A picture that is drawn straight away, and what is wrong told: neurons, a chart of memory."""
    _theme(theme)
    drawn = cache(scene)
    drawn(legend)
    return Picture(None, None, lambda look, legend: drawn(legend), theme, legend)


_theme = theme  # a field of Picture has its name

_PAGE_STYLE = (
    "body{margin:0}main{display:flex;justify-content:center;padding:1rem}svg{max-width:100%;height:auto}"
    ".dark{display:none}@media(prefers-color-scheme:dark){body{background:#16191D}.light{display:none}"
    ".dark{display:flex}}@media print{.light{display:flex}.dark{display:none}}"
)


def _plain(text: str) -> str:
    from xml.sax.saxutils import escape

    return escape("".join(c if c.isprintable() else " " for c in text))
