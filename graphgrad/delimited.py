"""Text files of separated cells: from bytes to text, to rows, to columns of cells. What they mean is not known here."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from graphgrad.errors import TableError

#: What may stand between cells, the likelier first, and how a note tells it.
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}

#: How files begin that are often taken for text files, and what to do about them.
BEGINNINGS = {
    b"PK\x03\x04": "it begins as a ZIP archive does; a spreadsheet is to be saved as CSV",
    b"\x1f\x8b": "it begins as a gzip archive does; unpack it first",
    b"PAR1": "it begins as a Parquet file does; such a file's name ends with .parquet",
}

#: A first line that tells spreadsheets the separator.
STATED = re.compile(r'("?)sep=([^"\r\n])\1[ \t]*(?=[\r\n]|$)', re.IGNORECASE)

#: What Python calls text encodings, though no file is written in them.
NOT_OF_FILES = ("idna", "punycode", "unicode-escape", "raw-unicode-escape")

CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")  # of these, no text has any


class Cells(NamedTuple):
    """A file's header and cells, with the lines that they stand in."""

    header: tuple[str, ...]
    header_line: int
    columns: list[list[str]]
    lines: list[int]  # of each row, the first of them where a quoted cell holds line ends
    separator: str
    notes: tuple[str, ...]


def read_cells(path: str | os.PathLike[str], separator: str | None = None, encoding: str | None = None) -> Cells:
    """The cells of a file, stripped of spaces; where separator or encoding are None they are recognised.

    A first line such as sep=; states the separator, as spreadsheets write it.
    """
    name = os.fspath(path)
    text, note = decoded(name, read_bytes(path), encoding)
    notes = [note] if note else []
    stated = STATED.match(text)
    if stated:
        text = text[stated.end() :]  # its line end stays, so that lines are counted from it
    said = separator is None and stated is not None
    if separator is None:
        separator = stated[2] if stated else likely_separator(text)
    elif len(separator) != 1 or separator in '"\r\n':
        raise TableError(f"{name}: a separator is one character, but {separator!r} was given")
    if said or separator != ",":
        notes.append(f"{SEPARATORS.get(separator, repr(separator))} between cells{', as line 1 says' if said else ''}")
    rows = list(_rows(name, text, separator))
    if not rows:
        raise TableError(f"{name} is empty")
    (header_line, first), *rows = rows
    header = tuple(cell.strip() for cell in first)
    for line, cells in rows:
        if len(cells) != len(header):
            raise TableError(
                f"{name}, line {line}: {len(cells)} cell{'s' * (len(cells) != 1)}, "
                f"but line {header_line} names {len(header)} column{'s' * (len(header) != 1)}"
            )
    columns = [[cell.strip() for cell in column] for column in zip(*(cells for _, cells in rows), strict=True)]
    return Cells(header, header_line, columns, [line for line, _ in rows], separator, tuple(notes))


def read_bytes(path: str | os.PathLike[str], wanted: str = "a CSV file") -> bytes:
    """A file's bytes. Raises TableError for what is no readable file."""
    name = os.fspath(path)
    try:
        if Path(path).is_dir():
            raise TableError(f"{name} is a directory; {wanted} is wanted")
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise TableError(f"{name} does not exist") from None
    except OSError as error:
        raise TableError(f"{name} cannot be read: {error.strerror}") from None


def decoded(name: str, data: bytes, encoding: str | None = None) -> tuple[str, str | None]:
    """The text, and what is to be told of its encoding.

    Without `encoding` it is what a byte order mark says, else UTF-8, else Latin-1. Windows-1252 is Latin-1 with letters
    and quotation marks where Latin-1 has control characters, which no table holds.
    """
    hint = next((f"; {told}" for start, told in BEGINNINGS.items() if data.startswith(start)), "")
    if encoding is not None:
        text, note = _as_given(name, data, encoding), None
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text, note = _as_given(name, data, "utf-16"), "UTF-16"
    else:
        try:
            text = data.decode("utf-8-sig")
            note = "UTF-8 with a byte order mark" if data.startswith(codecs.BOM_UTF8) else None
        except UnicodeDecodeError as error:
            line = _line(data, error.start)
            windows = re.search(rb"[\x80-\x9f]", data)
            text = data.decode("cp1252" if windows else "latin-1", errors="replace")
            note = f"{'Windows-1252' if windows else 'Latin-1'}, as line {line} is not UTF-8"
            if "\ufffd" in text or CONTROL.search(text):
                raise TableError(f"{name} is no text file: line {line} is not UTF-8{hint}") from None
    if found := CONTROL.search(text):
        line = 1 + text.count("\n", 0, found.start())
        raise TableError(f"{name} is no text file: line {line} holds the character {ord(found[0])}{hint}")
    return text, note


def _as_given(name: str, data: bytes, encoding: str) -> str:
    try:
        if codecs.lookup(encoding).name.replace("_", "-") in NOT_OF_FILES:
            raise LookupError
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = _line(data, error.start)
        raise TableError(f"{name}, line {line}: this is not {encoding.upper()} ({error.reason})") from None
    except (LookupError, UnicodeError):
        raise TableError(f"{name}: no text encoding is called {encoding!r}") from None


def likely_separator(text: str) -> str:
    """The separator that parts the first rows the most evenly, and of those the one that makes the most columns."""

    start = text[: text.rfind("\n", 0, 1_000_000) + 1 or None]

    def parted(separator: str) -> tuple[float, int]:
        reader = csv.reader(io.StringIO(start, newline=""), delimiter=separator, skipinitialspace=True)
        try:
            counts = [len(cells) for cells in islice(filter(any, reader), 100)]
        except csv.Error:
            return 0.0, 0
        if not counts or counts[0] < 2:
            return 0.0, 0
        return sum(n == counts[0] for n in counts) / len(counts), counts[0]

    return max(SEPARATORS, key=parted)


def _rows(name: str, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line that it begins in."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    line = 1
    try:
        for cells in reader:
            if len(cells) > 1 or any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise TableError(f"{name}, line {line}: a quoted cell begins in this row and never ends") from None
        raise TableError(f"{name}, line {reader.line_num}: {error}") from None


def _line(data: bytes, position: int) -> int:
    return 1 + data.count(b"\n", 0, position)


__all__ = ["SEPARATORS", "Cells", "decoded", "likely_separator", "read_bytes", "read_cells"]
