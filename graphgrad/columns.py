"""Columns of a table as a network takes them: what is learned of each kind of column, and how its cells are encoded.

The cells of one column become some columns of numbers. What is learned is plain data, so that it can be saved with the
network; what is read from a file, which may be anybody's, is checked value by value.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from graphgrad.errors import GraphgradError, TableError
from graphgrad.table import NUMBERS, Table, listed, number_text, shown
from graphgrad.types import Array

Labels: TypeAlias = "tuple[str, ...] | tuple[int, ...]"

#: Whole numbers from here on are not all float64.
EXACT = 2**53


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers: x becomes (x - mean) / scale."""

    column: str
    mean: float = 0.0
    scale: float = 1.0
    fill: float | None = None  # what a missing cell is taken for; None: it is an error

    @classmethod
    def fit(cls, table: Table, column: str, rows: Array, *, scale: bool, impute: bool) -> Numbers:
        """Mean, standard deviation (1 where all numbers are equal), and the median where it fills missing cells."""
        values = _present(table, column, rows)
        fill = float(np.median(values)) if impute else None
        if not scale:
            return cls(column, fill=fill)
        low, high = float(values.min()), float(values.max())
        if low == high:
            return cls(column, mean=low, fill=fill)
        if not math.isfinite(high - low):
            raise TableError(f"{table.path}, column {column!r}: its numbers are too large to be standardized")
        z = (values - low) / (high - low)  # from 0 to 1, whose squares neither overflow nor vanish
        return cls(column, low + (high - low) * float(z.mean()), (high - low) * float(z.std()) or 1.0, fill)

    @property
    def names(self) -> list[str]:
        return [self.column]

    def encode(self, table: Table, rows: Array, unknown: str = "error") -> Array:
        """(rows, 1). Raises TableError for a missing cell where none was filled, and for text."""
        values = numbers_of(table, self.column)[rows]
        if self.fill is not None:
            values = np.where(np.isnan(values), self.fill, values)
        with np.errstate(over="ignore"):
            encoded = (values - self.mean) / self.scale
        if not (fits := np.isfinite(encoded)).all():
            k = int(np.flatnonzero(~fits)[0])
            told = _MISSING if np.isnan(values[k]) else f"{values[k]:g} is too large beside the numbers in training"
            raise TableError(f"{table.where(rows[k], self.column)}: {told}")
        return encoded[:, None]

    def decode(self, values: Array) -> Array:
        return np.asarray(values, np.float64) * self.scale + self.mean


@dataclass(frozen=True, slots=True)
class Categories:
    """A column of text: a number for each category, 1 for the cell's own and 0 for the others."""

    column: str
    categories: tuple[str, ...]  # sorted
    fill: str | None = None

    @classmethod
    def fit(cls, table: Table, column: str, rows: Array, *, scale: bool, impute: bool) -> Categories:
        """The categories, and the most frequent one where it fills missing cells: of several the first."""
        cells = _present(table, column, rows).tolist()
        categories = tuple(sorted(set(cells)))
        _check_repeats(table, column, len(categories), len(cells), "ignore it, or leave it out of the file")
        count = Counter(cells)
        return cls(column, categories, max(categories, key=lambda c: count[c]) if impute else None)

    @property
    def names(self) -> list[str]:
        return [f"{self.column}={category}" for category in self.categories]

    def encode(self, table: Table, rows: Array, unknown: str = "error") -> Array:
        """(rows, categories). An unknown category is all 0 with unknown="zero", else TableError."""
        places = {category: k for k, category in enumerate(self.categories)}
        encoded = np.zeros((len(rows), len(places)))
        for k, cell in enumerate(texts_of(table, self.column, rows)):
            cell = self.fill if cell is None else cell
            if cell in places:
                encoded[k, places[cell]] = 1
            elif cell is None or unknown == "error":
                known = f"is no category seen in training: {listed([shown(c) for c in self.categories])}"
                told = _MISSING if cell is None else f"{shown(cell)} {known}"
                raise TableError(f"{table.where(rows[k], self.column)}: {told}")
        return encoded


@dataclass(frozen=True, slots=True)
class Classes:
    """A target column of labels, text or whole numbers: a label is learned as its place among them."""

    column: str
    labels: Labels  # sorted

    @classmethod
    def fit(cls, table: Table, column: str, rows: Array) -> Classes:
        cells = _present(table, column, rows)
        if not table.is_text(column):
            fits = (cells == np.floor(cells)) & (np.abs(cells) < EXACT)
            if not fits.all():
                k = int(np.flatnonzero(~fits)[0])
                raise TableError(
                    f"{table.where(rows[k], column)}: {number_text(float(cells[k]))} is no class; "
                    "classes are text or whole numbers"
                )
            cells = cells.astype(np.int64)
        labels = tuple(sorted(set(cells.tolist())))
        if len(labels) < 2:
            raise TableError(
                f"{table.path}, column {column!r}: its {len(rows)} row{'s' * (len(rows) != 1)} to train on "
                f"{'have' if len(rows) != 1 else 'has'} one class, {labels[0]!r}; two are wanted at least"
            )
        _check_repeats(table, column, len(labels), len(cells), "is it the target?")
        return cls(column, labels)

    def encode(self, table: Table, rows: Array) -> Array:
        """(rows,) of int64, from 0. Raises TableError for a label that is not known."""
        places = {label: k for k, label in enumerate(self.labels)}
        is_text = isinstance(self.labels[0], str)
        cells = texts_of(table, self.column, rows) if is_text else numbers_of(table, self.column)[rows].tolist()
        for row, cell in zip(rows, cells, strict=True):
            if cell not in places:
                told = shown(cell) if isinstance(cell, str) else number_text(cell)
                known = listed([repr(label) for label in self.labels])
                raise TableError(f"{table.where(row, self.column)}: {told} is no class seen in training: {known}")
        return np.array([places[cell] for cell in cells], np.int64)


Kind: TypeAlias = "Numbers | Categories | Classes"

_MISSING = "the cell is missing"


def numbers_of(table: Table, column: str) -> Array:
    """A column as numbers. Raises TableError for the first cell that is none."""
    if not table.is_text(column):
        return table[column]
    values = np.full(len(table), np.nan)
    for row, cell in enumerate(table[column]):
        if cell is None:
            continue
        if not NUMBERS["."].fullmatch(cell):
            raise TableError(f"{table.where(row, column)}: {shown(cell)} is no number, but in training the cells are")
        values[row] = float(cell)
    return values


def texts_of(table: Table, column: str, rows: Array) -> list[str | None]:
    """Cells of a column as text, None where one is missing. Whole numbers have no point."""
    cells: list[Any] = table[column][rows].tolist()
    return cells if table.is_text(column) else [None if math.isnan(c) else number_text(c) for c in cells]


def _present(table: Table, column: str, rows: Array) -> Array:
    """The cells that are not missing: at least one."""
    values = table[column][rows][~table.missing(column)[rows]]
    if not len(values):
        raise TableError(f"{table.path}, column {column!r}: every cell is missing, so nothing can be learned from it")
    return values


def _check_repeats(table: Table, column: str, different: int, cells: int, hint: str) -> None:
    """Names, dates and numbers of rows say nothing of other rows."""
    if different > 20 and 2 * different > cells:
        raise TableError(
            f"{table.path}, column {column!r}: {different} different texts in {cells} cells are too many to learn "
            f"from; {hint}"
        )


# ---------------------------------------------------------------------------------------------------------------------
# As JSON
# ---------------------------------------------------------------------------------------------------------------------

KINDS: dict[str, type[Kind]] = {"numbers": Numbers, "categories": Categories, "classes": Classes}


def to_json(column: Kind) -> dict[str, Any]:
    """A column as plain texts, numbers and lists."""
    kind = next(name for name, cls in KINDS.items() if isinstance(column, cls))
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(column).items()}
    return {"kind": kind, **plain}


def from_json(data: Any, kinds: Sequence[str], where: str) -> Kind:
    """A column read back, of one of some kinds. Raises GraphgradError, which says where."""
    if not isinstance(data, dict) or data.get("kind") not in kinds:
        raise GraphgradError(f"{where} is no column of the kind {' or '.join(kinds)}")
    read = {"column": text, **_READERS[data["kind"]]}
    if data.keys() != {"kind", *read}:
        raise GraphgradError(f"{where} has the fields {listed(sorted(map(str, data)))}; kind, {', '.join(read)} fit")
    fields = {name: reader(data[name], f"{where}.{name}") for name, reader in read.items()}
    return KINDS[data["kind"]](**fields)


def text(value: Any, where: str) -> str:
    """A text that can be written to a file."""
    if not isinstance(value, str) or any("\ud800" <= c <= "\udfff" for c in value):
        raise GraphgradError(f"{where} is no text")
    return value


def texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise GraphgradError(f"{where} is no list of texts")
    return tuple(text(v, f"{where}[{k}]") for k, v in enumerate(value))


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -math.inf < value < math.inf:
        raise GraphgradError(f"{where} is no finite number")
    try:
        return float(value)
    except OverflowError:
        raise GraphgradError(f"{where} is no finite number") from None


def _positive(value: Any, where: str) -> float:
    if _number(value, where) <= 0:
        raise GraphgradError(f"{where} is not above 0")
    return float(value)


def _or_none(reader: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    return lambda value, where: None if value is None else reader(value, where)


def _categories(value: Any, where: str) -> tuple[str, ...]:
    read = texts(value, where)
    _check_ascending(read, 1, where)
    return read


def _labels(value: Any, where: str) -> Labels:
    if isinstance(value, list) and all(type(v) is int and abs(v) < EXACT for v in value):
        _check_ascending(value, 2, where)
        return tuple(value)
    read = texts(value, where)
    _check_ascending(read, 2, where)
    return read


def _check_ascending(values: Sequence[Any], least: int, where: str) -> None:
    if len(values) < least or list(values) != sorted(set(values)):
        raise GraphgradError(f"{where} is no list of {least} or more in ascending order")


_READERS: dict[str, dict[str, Callable[[Any, str], Any]]] = {
    "numbers": {"mean": _number, "scale": _positive, "fill": _or_none(_number)},
    "categories": {"categories": _categories, "fill": _or_none(text)},
    "classes": {"labels": _labels},
}

__all__ = [
    "Categories",
    "Classes",
    "Kind",
    "Numbers",
    "from_json",
    "numbers_of",
    "text",
    "texts",
    "texts_of",
    "to_json",
]
