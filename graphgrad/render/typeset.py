"""Formulas and labels as outlines, measured here: so no font is needed where a picture is looked at.

ziamath sets formulas in STIX Two Math, ziafont labels in DejaVu Sans; both carry their fonts. Without them a label is
given as plain text of an estimated width, which viewers stretch to fit.
"""

from __future__ import annotations

import importlib.util
import re
import threading
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any
from xml.etree import ElementTree

from graphgrad.render.scene import Glyphs, Paint, number

FORMULA = 15.0  # points
SMALL = 9.0  # the smallest text of a picture

_lock = threading.Lock()  # ziamath's settings are its module's


class DrawingWarning(UserWarning):
    """A picture is drawn with less than graphgrad[viz] would give."""


@dataclass(frozen=True, slots=True)
class Run:
    """Text that was measured: outlines around a baseline origin, or "" without a font."""

    text: str
    tex: str
    size: float
    width: float
    ascent: float
    descent: float
    outline: str

    @property
    def height(self) -> float:
        return self.ascent + self.descent

    def at(self, x: float, baseline: float, role: str = "ink") -> Glyphs:
        """The run with its left end and its baseline there."""
        return Glyphs(x, baseline, self.width, self.size, self.outline, self.text, self.tex, Paint(fill=role))


@cache
def available() -> bool:
    """Whether formulas can be set. Says once what is missing."""
    found = all(importlib.util.find_spec(name) for name in ("ziamath", "ziafont"))
    if not found:
        warnings.warn(
            'formulas are drawn as plain text: pip install "graphgrad[viz]" brings what sets them',
            DrawingWarning,
            stacklevel=2,
        )
    return found


@lru_cache(maxsize=8192)
def formula(tex: str, text: str, size: float = FORMULA) -> Run:
    """A formula in LaTeX; `text` is the same in plain characters, for where it cannot be set."""
    if not available():
        return _estimated(text, tex, size)
    try:
        with _one_outline_each() as ziamath:
            made = ziamath.Latex(tex, size=size)
            root, width = made.svgxml(), made.getsize()[0]
    except Exception:  # whatever a parser says of LaTeX that it does not know: the text is right too
        return replace(label(text, size), tex=tex)
    outline, top, bottom = _outline(root)
    return Run(text, tex, size, float(width), max(-top, 0.0), max(bottom, 0.0), outline)


@lru_cache(maxsize=8192)
def label(text: str, size: float = SMALL) -> Run:
    """A line of plain text."""
    if not text or not available():
        return _estimated(text, "", size)
    with _one_outline_each():
        made = _sans().text(text, size=size)
        root, width = made.svgxml(), made.getsize()[0]
    outline, _, _ = _outline(root)
    return Run(text, "", size, float(width), 0.76 * size, 0.24 * size, outline)


@contextmanager
def _one_outline_each() -> Iterator[Any]:
    """ziamath and ziafont without references between glyphs, whose ids would clash where several formulas meet."""
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of theirs: they read their fonts in an old way
        import ziafont
        import ziamath

        before = ziamath.config.svg2, ziafont.config.svg2
        ziamath.config.svg2 = ziafont.config.svg2 = False
        try:
            yield ziamath
        finally:
            ziamath.config.svg2, ziafont.config.svg2 = before


@cache
def _sans() -> Any:
    """DejaVu Sans from ziafont's own files; a Text without a Font would search the system's."""
    import ziafont

    return ziafont.Font()


def _estimated(text: str, tex: str, size: float) -> Run:
    width = sum(0.62 for c in text if not unicodedata.combining(c)) * size
    return Run(text, tex, size, width, 0.8 * size, 0.25 * size, "")


_NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


def _outline(root: ElementTree.Element) -> tuple[str, float, float]:
    """All shapes of an SVG as one path, with its upper and lower end; the origin is the start of the baseline."""
    parts: list[str] = []
    top = bottom = 0.0
    for element in root.iter():
        name = element.tag.rpartition("}")[2]
        if name == "path":
            data = element.get("d", "")
        elif name == "rect":
            x, y, w, h = (float(element.get(k, 0)) for k in ("x", "y", "width", "height"))
            data = f"M{x} {y}L{x + w} {y}L{x + w} {y + h}L{x} {y + h}Z"
        else:
            continue
        heights = [float(v) for k, v in enumerate(_NUMBER.findall(data)) if k % 2]
        top, bottom = min([top, *heights]), max([bottom, *heights])
        parts.append(_shorter(data))
    return "".join(parts), top, bottom


def _shorter(data: str) -> str:
    """Path data with two decimals and no blanks that are not needed."""
    pieces = []
    for command, arguments in re.findall(r"([A-Za-z])([^A-Za-z]*)", data):
        numbers = [number(float(v)) for v in _NUMBER.findall(arguments)]
        pieces.append(command + " ".join(numbers))
    text = "".join(pieces).replace(" -", "-")
    return re.sub(r"M([^A-Za-z]+)L\1(?=[A-Za-z])", r"M\1", text)  # a start that is drawn to once more
