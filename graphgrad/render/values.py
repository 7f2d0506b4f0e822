"""Numbers on boxes: a number as text, an array as a small table of colours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphgrad.render.diagram import Line, Strip
from graphgrad.render.typeset import label
from graphgrad.render.words import words
from graphgrad.types import Array

CELLS = 8  # rows and columns of a strip at most; blocks of a larger array are shown by their means


@dataclass(frozen=True)
class Values:
    """What is known of nodes and adjoints, and the largest cell of each kind: the ends of the colour scale."""

    of: Mapping[int, Array]
    largest: float
    largest_gradient: float
    gradients: frozenset[int]

    @staticmethod
    def collect(of: Mapping[int, Any], shown: Iterable[int], gradients: Iterable[int]) -> Values:
        arrays = {i: np.asarray(v) for i, v in of.items()}
        of_gradients = frozenset(gradients)
        plain = set(shown) - of_gradients
        return Values(arrays, _largest(arrays, plain), _largest(arrays, of_gradients), of_gradients)

    def scale(self, id: int) -> float:
        return self.largest_gradient if id in self.gradients else self.largest

    def look(self, id: int, lang: str) -> tuple[Line | None, Strip | None]:
        """A line of text for a number, a strip for an array; a dash where the value is not known."""
        if id not in self.of:
            return Line(label("—"), "grey", "number"), None
        array = self.of[id]
        if array.size == 1 and array.ndim == 0:
            return Line(label(number_text(float(array))), "ink", "number"), None
        return None, strip(array, self.scale(id), lang)

    def told(self, lang: str) -> str:
        """The scale, for the legend."""
        parts = []
        for name, largest in (("values", self.largest), ("gradients", self.largest_gradient)):
            if largest > 0:
                parts.append(f"{words(lang)[name]} −{number_text(largest)} … {number_text(largest)}")
        return "; ".join(parts)


def _largest(arrays: Mapping[int, Array], ids: Iterable[int]) -> float:
    known = [arrays[i] for i in ids if i in arrays and arrays[i].ndim]
    found = [np.abs(cells(a)) for a in known if a.dtype.kind == "f"]  # labels are no sizes
    finite = [float(np.max(a[np.isfinite(a)], initial=0.0)) for a in found]
    return max(finite, default=0.0)


def number_text(value: float) -> str:
    """A number in four digits; only a true zero reads 0."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.4g}".replace("-", "−") if value else "0"


def cells(array: Array) -> Array:
    """The numbers of a strip's cells, up to 8 x 8: elements, or of a larger array the means of blocks."""
    if not array.size:
        return np.zeros((0, 0))
    table = array.astype(np.float64).reshape(-1, array.shape[-1] if array.ndim else 1)
    rows = np.array_split(table, min(CELLS, len(table)))
    columns = min(CELLS, table.shape[1])
    return np.array([[float(np.mean(p)) for p in np.array_split(r, columns, axis=1)] for r in rows])


def strip(array: Array, scale: float, lang: str) -> Strip:
    """An array's cells as shares of the scale, and its ends in words."""
    rows = [tuple([_share(m, scale) if math.isfinite(m) else None for m in row]) for row in cells(array).tolist()]
    finite = array[np.isfinite(array)]
    bad = array.size - finite.size
    told = words(lang)
    text = ""
    if finite.size:
        low, high = number_text(float(finite.min())), number_text(float(finite.max()))
        text = told["range"].format(shape=array.shape, low=low, high=high)
    return Strip(tuple(rows), text + (f", {bad} {told['bad']}" if bad else ""))


def _share(value: float, scale: float) -> float:
    return round(max(-1.0, min(1.0, value / scale)), 2) if scale > 0 else 0.0
