"""Tables of numbers from CSV files. Every error names the file, and the line and column at fault."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from graphgrad.errors import GraphgradError
from graphgrad.types import Array


class TableError(GraphgradError):
    """A table that cannot be read, or that does not hold what was asked for."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of numbers with names, and the line of the file that each row came from."""

    path: str
    columns: tuple[str, ...]
    values: Array  # (rows, columns), float64
    lines: tuple[int, ...]

    def position(self, column: str) -> int:
        """Where a column stands. Raises TableError with the columns that there are."""
        if column not in self.columns:
            near = get_close_matches(column, self.columns, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {listed(self.columns)}"
            raise TableError(f"{self.path} has no column {column!r}{hint}")
        return self.columns.index(column)

    def split(self, targets: Sequence[str]) -> tuple[Array, Array, tuple[str, ...]]:
        """Features, targets and the names of the features."""
        if len(set(targets)) != len(targets):
            raise TableError(f"the target {next(t for t in targets if list(targets).count(t) > 1)!r} was given twice")
        chosen = [self.position(t) for t in targets]
        rest = [k for k in range(len(self.columns)) if k not in chosen]
        if not rest:
            raise TableError(f"{self.path} has no columns besides {listed(targets)}: nothing is left to predict from")
        return self.values[:, rest], self.values[:, chosen], tuple(self.columns[k] for k in rest)


def listed(names: Sequence[str], limit: int = 8) -> str:
    """Names for a message: the first few of many."""
    shown = ", ".join(names[:limit])
    return f"{shown}, and {len(names) - limit} more" if len(names) > limit else shown


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a table of numbers: a line of column names, then a line a row; commas, semicolons or tabs between cells."""
    name = os.fspath(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise TableError(f"{name} does not exist") from None
    except IsADirectoryError:
        raise TableError(f"{name} is a directory; a CSV file is wanted") from None
    except UnicodeDecodeError as error:
        raise TableError(f"{name} is no text file: byte {error.start} is not UTF-8") from None
    except OSError as error:
        raise TableError(f"{name} cannot be read: {error.strerror}") from None
    rows = _rows(name, text)
    if not rows:
        raise TableError(f"{name} is empty")
    (line, header), rows = rows[0], rows[1:]
    columns = tuple(cell.strip() for cell in header)
    _check_header(name, line, columns)
    if not rows:
        raise TableError(f"{name} has a line of column names, but no rows")
    values = np.empty((len(rows), len(columns)))
    for k, (line, cells) in enumerate(rows):
        if len(cells) != len(columns):
            raise TableError(f"{name}, line {line}: {len(cells)} cells; the first line names {len(columns)} columns")
        for j, cell in enumerate(cells):
            values[k, j] = _number(cell, f"{name}, line {line}, column {columns[j]!r}")
    return Table(name, columns, values, tuple(line for line, _ in rows))


def _rows(name: str, text: str) -> list[tuple[int, list[str]]]:
    """The rows that are not blank, with their line numbers."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise TableError(f"{name}, line {reader.line_num}: {error}") from None
    return [(line, cells) for line, cells in rows if any(cell.strip() for cell in cells)]


def _check_header(name: str, line: int, columns: tuple[str, ...]) -> None:
    for k, column in enumerate(columns, 1):
        if not column:
            raise TableError(f"{name}, line {line}: column {k} has no name")
        if column in columns[: k - 1]:
            raise TableError(f"{name}, line {line}: two columns are named {column!r}")
    if all(_is_number(column) for column in columns):
        raise TableError(f"{name}, line {line}: the first line names the columns, but here it holds only numbers")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_000


def _number(cell: str, where: str) -> float:
    if not cell.strip():
        raise TableError(f"{where}: the cell is empty; a number is wanted")
    if not _is_number(cell):
        raise TableError(f"{where}: {cell.strip()[:40]!r} is no number")
    value = float(cell)
    if not math.isfinite(value):
        raise TableError(f"{where}: {cell.strip()} is not a finite number")
    return value


def classes(table: Table, target: str, count: int) -> Array:
    """A column of class labels as int64: whole numbers from 0 to count - 1."""
    column = table.values[:, table.position(target)]
    for value, line in zip(column, table.lines, strict=True):
        if value != int(value) or not 0 <= value < count:
            raise TableError(
                f"{table.path}, line {line}, column {target!r}: {value:g} is no class; "
                f"the network has {count} outputs, so classes are the whole numbers 0 to {count - 1}"
            )
    return column.astype(np.int64)


__all__ = ["Table", "TableError", "classes", "listed", "read_table"]
