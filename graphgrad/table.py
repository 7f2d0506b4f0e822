"""Tables: columns of numbers and of text, from CSV and Parquet files.

Every error names the file, and the line and column at fault.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np

from graphgrad.delimited import Cells, read_bytes, read_cells
from graphgrad.errors import TableError
from graphgrad.types import Array

#: What a missing cell holds, unless a caller knows better.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NAN", "NULL", "null", "None", "?")

#: What reads as a number, by the decimal mark. Python's float would also take 1_000, and digits of other scripts.
NUMBERS = {
    ".": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII),
    ",": re.compile(r"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?", re.ASCII),
}
INFINITE = re.compile(r"[+-]?inf(inity)?", re.ASCII | re.IGNORECASE)
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)

#: Digits in groups of three, as people read them, and what stands behind them.
GROUPED = re.compile(r"([+-]?\d{1,3}(?:(?:,\d{3})+|(?:\.\d{3})+|(?:['’ \xa0\u202f]\d{3})+))([.,]\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Columns by name, all of one length.

    A column of numbers is float64, and NaN only where a cell is missing. A column of text is an array of str, and None
    where a cell is missing. Errors tell a row by its line in the file, or where there are no lines, by its number.
    """

    path: str
    columns: Mapping[str, Array]
    lines: Array  # (rows,), int64
    unit: str = "line"  # what `lines` counts: "line" or "row"
    notes: tuple[str, ...] = ()  # what was recognised in the file and is not the usual
    missing_cells: tuple[str, ...] = MISSING
    ignored: tuple[str, ...] = ()  # columns that the file has and that were not read
    like_numbers: Mapping[str, str] = field(default_factory=dict)  # a note on each column of text that looks like them

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.columns)

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, column: str) -> Array:
        """A column. Raises TableError with the columns that there are."""
        if column in self.ignored:
            raise TableError(f"{self.path}: column {column!r} is ignored, so it cannot be used")
        if column not in self.columns:
            there = [*self.columns, *self.ignored]
            near = get_close_matches(column, there, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {listed(there)}"
            raise TableError(f"{self.path} has no column {column!r}{hint}")
        return self.columns[column]

    def is_text(self, column: str) -> bool:
        return self[column].dtype == object

    def missing(self, column: str) -> Array:
        """Which cells of a column are missing."""
        values = self[column]
        return np.array([cell is None for cell in values]) if values.dtype == object else np.isnan(values)

    def where(self, row: int, column: str) -> str:
        """The place of a cell, for a message."""
        return _where(self.path, self.unit, int(self.lines[row]), column)


def read_table(
    path: str | os.PathLike[str],
    *,
    separator: str | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    missing: Collection[str] = MISSING,
    text: Collection[str] = (),
    ignore: Collection[str] = (),
) -> Table:
    """Read a table from a CSV file, whose first line names the columns, or from a .parquet file.

    What is not given is recognised, and told in `notes`: `separator`, a comma, semicolon, tab or vertical bar;
    `encoding`, UTF-8 with or without a byte order mark, UTF-16 with one, else Latin-1; and `decimal`, the mark in
    numbers, which may be a comma where another separator stands between the cells.

    A cell is missing where it is empty, or one of NA, N/A, n/a, #N/A, NaN, nan, NAN, NULL, null, None and ?; `missing`
    gives other words. A column is of numbers where all other cells are numbers, else of text, and the columns in `text`
    are read as text whatever they hold. Those in `ignore` are not in the table, so what they hold does not matter. A
    column without a name, such as pandas writes for an index, is called by its place: "column 1". A first line such as
    sep=; states the separator. Raises TableError, which names the line and the column, for rows of unequal length, for
    infinite numbers, and for text in a column where at least half of the cells are numbers; text that looks like
    numbers, such as 1,000 and 12 %, is told in `notes`.

    >>> import graphgrad as gg, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "towns.csv"
    >>> _ = path.write_text("town;height\\nBern;540,5\\nUster;?\\n", encoding="utf-8")
    >>> table = gg.data.read_table(path)
    >>> table["town"], table["height"]
    (array(['Bern', 'Uster'], dtype=object), array([540.5,   nan]))
    >>> table.notes
    ('semicolons between cells', "decimal commas, as in line 2, column 'height'")
    """
    table = read_columns(
        path, separator=separator, encoding=encoding, decimal=decimal, missing=missing, text=text, ignore=ignore
    )
    for name in text:
        table[name]
    for name in ignore:
        if name not in table.ignored:
            table[name]
    return table


def read_columns(
    path: str | os.PathLike[str],
    *,
    separator: str | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    missing: Collection[str] = MISSING,
    text: Collection[str] = (),
    ignore: Collection[str] = (),
    only: Collection[str] | None = None,
) -> Table:
    """`read_table`, where `text` and `ignore` may name columns that the file does not have.

    Columns that are not in `only` are ignored too.
    """
    file = os.fspath(path)
    if decimal not in (None, ".", ","):
        raise TableError(f"{file}: the decimal mark is '.' or ',', but {decimal!r} was given")
    words = tuple(dict.fromkeys(missing))
    ignored = _Ignored(frozenset(ignore), None if only is None else frozenset(only))
    if file.lower().endswith(".parquet"):
        return _read_parquet(path, words, frozenset(text), ignored)
    cells = read_cells(path, separator, encoding)
    place = f"{file}, line {cells.header_line}"
    _check_names(place, cells.header)
    names, told = _named(place, cells.header, ignored)
    if not cells.lines:
        raise TableError(f"{file} has a line of column names, but no rows")
    read = {name: column for name, column in zip(names, cells.columns, strict=True) if name not in ignored}
    notes = cells.notes + told
    if decimal is None:
        numbers = {name: column for name, column in read.items() if name not in text}
        decimal, note = _likely_decimal(file, cells, numbers, frozenset(words))
        notes += note
    columns = {
        name: _column(file, name, cells.lines, column, frozenset(words), decimal, name in text)
        for name, column in read.items()
    }
    like = _like_numbers(columns, text, decimal, lambda row: f"line {cells.lines[row]}")
    notes += tuple(like.values())
    return Table(file, columns, np.array(cells.lines), "line", notes, words, ignored.of(names), like)


def listed(names: Sequence[str], limit: int = 8) -> str:
    """Names for a message of one line: the first few of many."""
    shown = ", ".join(name if name.isprintable() else repr(name) for name in names[:limit])
    return f"{shown}, and {len(names) - limit} more" if len(names) > limit else shown


def shown(cell: str, limit: int = 40) -> str:
    """A cell for a message, of one line."""
    return repr(cell if len(cell) <= limit else cell[: limit - 3] + "...")


def number_text(value: float) -> str:
    """A number as a cell would hold it: a whole one without a point."""
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


# ---------------------------------------------------------------------------------------------------------------------
# From cells to columns
# ---------------------------------------------------------------------------------------------------------------------


def _where(file: str, unit: str, line: int, column: str) -> str:
    return f"{file}, {unit} {line}, column {column!r}"


@dataclass(frozen=True, slots=True)
class _Ignored:
    """Which columns are not to be read."""

    names: frozenset[str]
    others_than: frozenset[str] | None

    def __contains__(self, name: str) -> bool:
        return name in self.names or (self.others_than is not None and name not in self.others_than)

    def of(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name in self)


def _check_names(place: str, header: Sequence[str]) -> None:
    """Raises TableError for a first line that is a row."""
    named = [name for name in header if name]
    if all(any(pattern.fullmatch(name) for pattern in NUMBERS.values()) for name in named):
        told = "only numbers" if named else "no name"
        raise TableError(f"{place}: the first line names the columns, but here it holds {told}")


def _named(place: str, header: Sequence[str], ignored: _Ignored) -> tuple[list[str], tuple[str, ...]]:
    """The names of the columns, where one without is called by its place, and what is to be told of that."""
    names, notes = [name or f"column {k}" for k, name in enumerate(header, 1)], []
    for k, name in enumerate(names):
        if name not in header and name not in ignored:
            notes.append(f"a column without a name is called {name!r}")
        elif not header[k] and name in header:
            raise TableError(f"{place}: column {k + 1} has no name, and another is called {name!r}")
        elif name in names[:k] and name not in ignored:
            raise TableError(f"{place}: two columns are named {name!r}")
    return names, tuple(notes)


def _column(
    file: str, name: str, lines: Sequence[int], cells: list[str], missing: frozenset[str], decimal: str, is_text: bool
) -> Array:
    """A column of numbers, or of text where it is asked for or where fewer than half of the cells are numbers."""
    if not is_text:
        values = _all_numbers([cell for cell in cells if cell not in missing], decimal)
        if values is not None:
            numbers = np.full(len(cells), np.nan)
            numbers[[cell not in missing for cell in cells]] = values
            return numbers
        present = [(line, cell) for line, cell in zip(lines, cells, strict=True) if cell not in missing]
        fits = [bool(NUMBERS[decimal].fullmatch(cell) or INFINITE.fullmatch(cell)) for _, cell in present]
        if 2 * sum(fits) >= len(present):
            for (line, cell), fit in zip(present, fits, strict=True):
                if not fit:
                    raise TableError(
                        f"{_where(file, 'line', line, name)}: {shown(cell)} is no number, though {sum(fits)} of the "
                        f"column's {len(present)} cells are; read as text, the column would be of categories"
                    )
                if not np.isfinite(float(cell.replace(",", "."))):
                    raise TableError(f"{_where(file, 'line', line, name)}: {cell} is not a finite number")
    return _texts(cells, missing)


def _texts(cells: Sequence[str | None], missing: frozenset[str]) -> Array:
    column = np.empty(len(cells), object)
    column[:] = [None if cell in missing else cell for cell in cells]
    return column


def _all_numbers(cells: list[str], decimal: str) -> Array | None:
    """The cells as numbers, where all are finite ones."""
    text = "".join(cells)
    if not text.isascii() or "_" in text or (decimal == "," and "." in text):
        return None
    try:
        values = np.array(list(map(float, cells if decimal == "." else [cell.replace(",", ".") for cell in cells])))
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


def _like_numbers(
    columns: Mapping[str, Array], text: Collection[str], decimal: str, place: Callable[[int], str]
) -> dict[str, str]:
    """A sentence on each column that became text, though at least half of its cells look like numbers."""
    told = {}
    for name, column in columns.items():
        if column.dtype != object or name in text:
            continue
        present = [(row, cell) for row, cell in enumerate(column) if cell is not None]
        looks = [(row, cell, number) for row, cell in present if (number := _plain_number(cell, decimal))]
        odd = next((found for found in looks if not NUMBERS[decimal].fullmatch(found[1])), None)
        if odd and 2 * len(looks) >= len(present):
            row, cell, number = odd
            told[name] = (
                f"column {name!r} is of text, though {len(looks)} of its {len(present)} cells look like numbers, as "
                f"{shown(cell)} does in {place(row)}; {number} would be read as one"
            )
    return told


def _plain_number(cell: str, decimal: str) -> str | None:
    """The number that a cell looks like, as it would be read: 1000 of 1,000, and 12 of 12 %."""
    if NUMBERS[decimal].fullmatch(cell):
        return cell
    bare = cell.removesuffix("%").rstrip()
    if found := GROUPED.fullmatch(bare):
        bare = re.sub(r"[^\d+-]", "", found[1]) + (found[2] or "")
    bare = bare.replace(",", ".")
    return bare.replace(".", decimal) if NUMBERS["."].fullmatch(bare) else None


def _likely_decimal(
    file: str, cells: Cells, columns: Mapping[str, list[str]], missing: frozenset[str]
) -> tuple[str, tuple[str, ...]]:
    """The decimal mark in some columns, and what is to be told of it. Raises TableError where it can be either."""
    if cells.separator == ",":
        return ".", ()
    places: dict[str, tuple[str, str]] = {}  # where a number has this mark, and the number
    doubtful = True
    for name, column in columns.items():
        for mark in ".,":
            marked = [k for k, cell in enumerate(column) if mark in cell and NUMBERS[mark].fullmatch(cell)]
            if not marked:
                continue
            numbers = sum(bool(NUMBERS[mark].fullmatch(cell)) for cell in column)
            if 2 * numbers < sum(cell not in missing for cell in column):
                continue
            places.setdefault(mark, (_where(file, "line", cells.lines[marked[0]], name), column[marked[0]]))
            if mark == "," and not all(THOUSANDS.fullmatch(column[k]) for k in marked):
                doubtful = False
    if "," not in places:
        return ".", ()
    where, number = places[","]
    if "." in places:
        raise TableError(
            f"{where}: {number!r} has a decimal comma, but {places['.'][1]!r} a decimal point "
            f"({places['.'][0].removeprefix(f'{file}, ')}); decimal=',' or decimal='.' says which of them is a number"
        )
    if doubtful:
        raise TableError(
            f"{where}: {number!r} may be {number.replace(',', '.')} or {number.replace(',', '')}; "
            "decimal=',' makes it the former, and commas for thousands are not read"
        )
    return ",", (f"decimal commas, as in {where.removeprefix(f'{file}, ')}",)


# ---------------------------------------------------------------------------------------------------------------------
# Parquet
# ---------------------------------------------------------------------------------------------------------------------


def _read_parquet(
    path: str | os.PathLike[str], missing: tuple[str, ...], text: Collection[str], ignored: _Ignored
) -> Table:
    """Columns of a Parquet file as a CSV file of the same table would give them: booleans are the texts True, False."""
    file = os.fspath(path)
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise TableError(
            f"{file}: Parquet files are read by pyarrow, which is not installed: pip install 'graphgrad[tables]'"
        ) from None
    try:
        data = parquet.ParquetFile(pyarrow.BufferReader(read_bytes(path, "a Parquet file"))).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise TableError(f"{file} is no Parquet file that can be read: {str(error).splitlines()[0]}") from None
    names, notes = _named(file, [str(name) for name in data.column_names], ignored)
    if not data.num_rows or not names:
        raise TableError(f"{file} has no {'rows' if names else 'columns'}")
    columns = {
        name: _arrow_column(file, name, data.column(k), frozenset(missing), name in text)
        for k, name in enumerate(names)
        if name not in ignored
    }
    like = _like_numbers(columns, text, ".", lambda row: f"row {row + 1}")
    notes += tuple(like.values())
    return Table(file, columns, np.arange(1, data.num_rows + 1), "row", notes, missing, ignored.of(names), like)


def _arrow_column(file: str, name: str, column: Any, missing: frozenset[str], is_text: bool) -> Array:
    from pyarrow import types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    values = column.to_pylist()
    if types.is_string(kind) or types.is_large_string(kind) or types.is_boolean(kind):
        return _texts([None if value is None else str(value).strip() for value in values], missing)
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind)):
        raise TableError(f"{file}, column {name!r}: {column.type} is neither numbers nor text")
    numbers = np.array([np.nan if value is None else float(value) for value in values])
    if np.isinf(numbers).any():
        row = int(np.flatnonzero(np.isinf(numbers))[0])
        raise TableError(f"{_where(file, 'row', row + 1, name)}: {numbers[row]} is not a finite number")
    if not is_text:
        return numbers
    if types.is_integer(kind):  # not every int64 is a float64
        return _texts([None if value is None else str(value) for value in values], missing)
    return _texts([None if np.isnan(number) else number_text(float(number)) for number in numbers], missing)


__all__ = ["MISSING", "Table", "TableError", "listed", "number_text", "read_columns", "read_table", "shown"]
