"""Tables: what is written to a file is read from it, what is recognised is right, and every mistake names its place."""

import doctest
import math
import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphgrad as gg
from graphgrad.errors import TableError
from graphgrad.table import MISSING, Table

Cell = float | str | None

# ---------------------------------------------------------------------------------------------------------------------
# Round trips
# ---------------------------------------------------------------------------------------------------------------------


class Written(NamedTuple):
    """A table and the file that it stands in."""

    names: list[str]
    columns: list[list[Cell]]
    lines: list[int]
    data: bytes
    separator: str
    encoding: str
    decimal: str


def is_plain_text(cell: str) -> bool:
    """Whether a cell reads as nothing but itself."""
    if not cell or cell != cell.strip() or cell in MISSING:
        return False
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return True
    return False


def quoted(cell: str, separator: str, always: bool) -> str:
    if always or any(c in cell for c in f'{separator}"\r\n') or cell.startswith(" "):
        return '"' + cell.replace('"', '""') + '"'
    return cell


@st.composite
def files(draw: st.DrawFn, alphabet: st.SearchStrategy[str], encodings: list[str]) -> Written:
    """A table of two columns or more, in a file whose first number has a decimal mark that cannot be misread."""
    text = st.text(alphabet, min_size=1, max_size=8).filter(is_plain_text)
    number = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6).map(float)
    rows = draw(st.integers(1, 8))
    kinds = draw(st.lists(st.sampled_from([text, number]), min_size=1, max_size=4))
    names = ["cfirst", *draw(st.lists(text.map("c{}".format), min_size=len(kinds), max_size=len(kinds), unique=True))]
    columns: list[list[Cell]] = [[0.5] * rows]
    columns += [draw(st.lists(kind | st.none(), min_size=rows, max_size=rows)) for kind in kinds]
    separator, encoding = draw(st.sampled_from(",;\t|")), draw(st.sampled_from(encodings))
    decimal = draw(st.sampled_from(".,")) if separator != "," else "."
    end, word = draw(st.sampled_from(["\n", "\r\n", "\r"])), draw(st.sampled_from(MISSING))
    always = draw(st.booleans())

    def shown(cell: Cell) -> str:
        if cell is None:
            return word
        return repr(cell).replace(".", decimal) if isinstance(cell, float) else cell

    lines, parts, line = [], [], 1
    for row in [names, *zip(*columns, strict=True)]:
        blank = draw(st.integers(0, 1))
        written = separator.join(quoted(shown(cell), separator, always) for cell in row)
        parts.append(end * blank + written + end)
        lines.append(line + blank)
        line += blank + 1 + len(re.findall("\r\n|\r|\n", written))
    return Written(names, columns, lines[1:], "".join(parts).encode(encoding), separator, encoding, decimal)


def assert_read(table: Table, written: Written) -> None:
    assert list(table.names) == written.names
    assert table.lines.tolist() == written.lines
    for name, column in zip(written.names, written.columns, strict=True):
        values: list[Cell] = table[name].tolist()
        if not table.is_text(name):
            assert table[name].dtype == np.float64
            values = [None if isinstance(v, float) and math.isnan(v) else v for v in values]
        assert values == column
        assert table.missing(name).tolist() == [cell is None for cell in column]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables") / "t.csv"


any_text = st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from(['"', ",", ";", "\n", "\r", "|", " ", "1"])


@given(written=files(any_text, ["utf-8", "utf-16", "utf-32"]))
def test_a_table_is_read_as_it_was_written(path: Path, written: Written) -> None:
    path.write_bytes(written.data)
    options = {"separator": written.separator, "encoding": written.encoding, "decimal": written.decimal}
    assert_read(gg.data.read_table(path, **options), written)


#: Letters whose bytes in Latin-1 and in Windows-1252 are never UTF-8 by chance.
letters = st.sampled_from('abcXYZ "\n')


@given(
    written=files(letters | st.sampled_from("äßéø"), ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
    | files(letters | st.sampled_from("€“"), ["cp1252"])
)
def test_separator_encoding_and_decimal_mark_are_recognised(path: Path, written: Written) -> None:
    path.write_bytes(written.data)
    table = gg.data.read_table(path)
    assert_read(table, written)
    told = {",": None, ";": "semicolons", "\t": "tabs", "|": "vertical bars"}[written.separator]
    assert [note.split()[0] for note in table.notes if "between" in note] == ([told.split()[0]] if told else [])
    assert any(note.startswith("decimal commas") for note in table.notes) == (written.decimal == ",")
    named = {"utf-8": None, "utf-8-sig": "UTF-8 with", "utf-16": "UTF-16", "latin-1": "Latin-1", "cp1252": "Windows"}
    mark = named[written.encoding] if not written.data.isascii() else None
    assert [note for note in table.notes if "UTF" in note or "Latin" in note] == [
        note for note in table.notes[:1] if mark is not None and note.startswith(mark)
    ]


# ---------------------------------------------------------------------------------------------------------------------
# What is recognised
# ---------------------------------------------------------------------------------------------------------------------


def read(path: Path, content: str | bytes, **options: object) -> Table:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return gg.data.read_table(path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "columns", "notes"),
    [
        ("a,b\n1,x\n", {"a": [1.0], "b": ["x"]}, ()),
        ("a;b,c\n1;x\n", {"a": [1.0], "b,c": ["x"]}, ("semicolons between cells",)),
        ('"a;b",c\n1,x;y\n2,z\n', {"a;b": [1.0, 2.0], "c": ["x;y", "z"]}, ()),
        ('a, "b"\n1, "x, y"\n', {"a": [1.0], "b": ["x, y"]}, ()),
        ("a\n1\n2\n", {"a": [1.0, 2.0]}, ()),
        ("a,b\n1.,.5\n+1e3,-2E-1\n", {"a": [1.0, 1000.0], "b": [0.5, -0.2]}, ()),
        # a number in the midst of text is a text; half of them, and it is a mistake (see below)
        ("a,b\n1,7\n2,x\n3,y\n", {"a": [1, 2, 3], "b": ["7", "x", "y"]}, ()),
        ("a,b\n1,\n2,?\n3,N/A\n", {"a": [1, 2, 3], "b": [math.nan] * 3}, ()),
        ("a,b\n1,NAN\n2,NaN\n3,4\n", {"a": [1, 2, 3], "b": [math.nan, math.nan, 4]}, ()),
        # the separator, as Excel reads it
        ("sep=;\na;b,c\n1;x\n", {"a": [1.0], "b,c": ["x"]}, ("semicolons between cells, as line 1 says",)),
        ("SEP=:\r\na:b;c\r\n1:x;y\r\n", {"a": [1.0], "b;c": ["x;y"]}, ("':' between cells, as line 1 says",)),
        ('"sep=,"\na,b\n1,2;3\n', {"a": [1.0], "b": ["2;3"]}, ("commas between cells, as line 1 says",)),
        ("sep=\t\na,b\tc\n1\t2\n", {"a,b": [1.0], "c": [2.0]}, ("tabs between cells, as line 1 says",)),
        ("sep=1,b\n1,2\n", {"sep=1": [1.0], "b": [2.0]}, ()),
        ("a,b\n1,inf\n2,x\n3,y\n", {"a": [1, 2, 3], "b": ["inf", "x", "y"]}, ()),
        ("a,b\n1,\u0661\n", {"a": [1.0], "b": ["\u0661"]}, ()),
        ("a,b\n1,1_0\n", {"a": [1.0], "b": ["1_0"]}, ()),
        # blank lines are none; a line of empty cells is a row
        ("\n a , b \n\n1,2\n   \n,\n", {"a": [1, math.nan], "b": [2, math.nan]}, ()),
        # decimal commas only where they can be nothing else
        ("a;b\n1,5;x\n2;y\n", {"a": [1.5, 2.0], "b": ["x", "y"]}, ("semicolons", "decimal commas, as in line 2")),
        ("a;b\n0,125;x\n", {"a": [0.125], "b": ["x"]}, ("semicolons", "decimal commas, as in line 2, column 'a'")),
        ("a;b\n1,234;2\n1;0,5\n", {"a": [1.234, 1], "b": [2, 0.5]}, ("semicolons", "decimal commas")),
        ("a;b\n1.5;1,2\n2.5;u\n3;v\n", {"a": [1.5, 2.5, 3], "b": ["1,2", "u", "v"]}, ("semicolons",)),
        ('a,b\n"1,5",2\n', {"a": ["1,5"], "b": [2.0]}, ("column 'a' is of text, though 1 of its 1 cells",)),
    ],
)
def test_what_is_read(path: Path, text: str, columns: dict[str, list[Cell]], notes: tuple[str, ...]) -> None:
    table = read(path, text)
    assert list(table.names) == list(columns)
    for name, values in columns.items():
        is_text = isinstance(values[0], str)
        assert table.is_text(name) == is_text
        np.testing.assert_array_equal(table[name], np.array(values, object if is_text else float))
    assert len(table.notes) == len(notes)
    assert all(note.startswith(start) for note, start in zip(table.notes, notes, strict=True))


def test_options_take_the_place_of_what_is_recognised(path: Path) -> None:
    table = read(path, "a,b|c\n1,5|x\n", separator="|", decimal=",")
    assert (table.names, table["a,b"].tolist(), table["c"].tolist()) == (("a,b", "c"), [1.5], ["x"])
    assert read(path, "a;b\n1.5;1,5\n", decimal=".")["b"].tolist() == ["1,5"]
    assert read(path, "a;b\n1.5;1,5\n", decimal=",")["a"].tolist() == ["1.5"]
    assert read(path, 'a,b\n"1,5",2\n', decimal=",")["a"].tolist() == [1.5]
    assert read(path, "sep=;\na|b;c\n1|x\n", separator="|").notes == ("vertical bars between cells",)
    assert read(path, "a,b\n1,né\n".encode("cp437"), encoding="cp437")["b"].tolist() == ["né"]


def test_words_for_missing_cells_and_columns_of_text_are_given(path: Path) -> None:
    table = read(path, "a,b,c\n01,None,-9\n2,x,4\n", text=["a"], missing=["-9"])
    assert (table["a"].tolist(), table["b"].tolist()) == (["01", "2"], ["None", "x"])
    assert table.missing("c").tolist() == [True, False]
    assert table.missing_cells == ("-9",)


def test_what_stands_in_an_ignored_column_does_not_matter(path: Path) -> None:
    text = "note;a;b;b\n1;1,5;1.5;x\ninf;2;1,234;y\n2;3;9;z\n3o;4;8;\n"
    with pytest.raises(TableError, match="two columns are named 'b'"):
        read(path, text, ignore=["note"])
    table = read(path, text, ignore=["b", "note"])
    assert (table.names, table["a"].tolist(), len(table)) == (("a",), [1.5, 2, 3, 4], 4)
    assert table.notes == ("semicolons between cells", "decimal commas, as in line 2, column 'a'")
    with pytest.raises(TableError, match=r"t\.csv: column 'note' is ignored, so it cannot be used$"):
        table["note"]
    with pytest.raises(TableError, match=r"t\.csv has no column 'nots'; did you mean 'note'\?$"):
        table["nots"]
    with pytest.raises(TableError, match=r"t\.csv has no column 'q'; it has a, note, b, b$"):
        read(path, text, ignore=["q", "b", "note"])


def test_a_column_without_a_name_is_called_by_its_place(path: Path) -> None:
    table = read(path, ",a,b,\n0,5,6,u\n1,7,8,v\n")
    assert table.names == ("column 1", "a", "b", "column 4")
    assert table["column 1"].tolist() == [0, 1]
    assert table.notes == (
        "a column without a name is called 'column 1'",
        "a column without a name is called 'column 4'",
    )
    table = read(path, ",a\nx,5\n1,7\n", ignore=["column 1"])
    assert (table.names, table.notes) == (("a",), ())


@pytest.mark.parametrize(
    ("cells", "cell", "line", "number"),
    [
        (["1,000", "12,345,678", "17"], "1,000", 2, "1000"),
        (["12%", "-3.5 %", "x"], "12%", 2, "12"),
        (["x", "17", ".5%"], ".5%", 4, ".5"),
        (["1'000", "1’000.5"], "1'000", 2, "1000"),
        (["-1.234,5", "2"], "-1.234,5", 2, "-1234.5"),
        (["1\u202f000,25", "x", "1,5"], "1\u202f000,25", 2, "1000.25"),
    ],
)
def test_text_that_looks_like_numbers_is_told(path: Path, cells: list[str], cell: str, line: int, number: str) -> None:
    cells = [*cells, "u", "NA"]  # at least half of what is there looks like numbers
    text = "a,b\n" + "".join(f'1,"{c}"\n' for c in cells)
    count = sum(c not in ("u", "x", "NA") for c in cells)
    expected = (
        f"column 'b' is of text, though {count} of its {len(cells) - 1} cells look like numbers, as {cell!r} does in "
        f"line {line}; {number} would be read as one"
    )
    assert read(path, text).notes == (expected,)
    assert read(path, text, text=["b"]).notes == ()
    assert read(path, text + "1,u\n" * 4).notes == ()


def test_text_of_other_digits_does_not_look_like_numbers(path: Path) -> None:
    cells = ["2020.01.02", "12:30", "1-2", "1,2,3", "%", "12,34,567", "1000,000,000", "1.2.3", "5 m", "", "a1"]
    assert read(path, "a,b\n" + "".join(f'1,"{c}"\n' for c in cells)).notes == ()


def test_a_row_is_told_by_the_line_in_which_it_begins(path: Path) -> None:
    table = read(path, 'a,b\r\n\r\n1,"x\r\ny"\r\n2,z\r\n')
    assert table.lines.tolist() == [3, 5]
    assert table.where(1, "b") == f"{path}, line 5, column 'b'"


def test_the_example_runs() -> None:
    assert doctest.testmod(sys.modules[Table.__module__]) == (0, 6)


def test_a_column_that_is_not_there(path: Path) -> None:
    table = read(path, "height,y\n1,2\n")
    with pytest.raises(TableError, match=r"t\.csv has no column 'heigt'; did you mean 'height'\?$"):
        table["heigt"]
    with pytest.raises(TableError, match=r"t\.csv has no column 'q'; it has height, 'y\\n2'$"):
        read(path, 'height,"y\n2"\n1,2\n', text=["q"])


# ---------------------------------------------------------------------------------------------------------------------
# Mistakes
# ---------------------------------------------------------------------------------------------------------------------

#: What a file holds, and what follows its name in the error.
MISTAKES: list[tuple[str | bytes, str]] = [
    ("", " is empty"),
    ("\ufeff\n\n", " is empty"),
    ("a,b\n", " has a line of column names, but no rows"),
    ("a,b\n1,2\n\n3\n", ", line 4: 1 cell, but line 1 names 2 columns"),
    ("sep=;\na;b\n1;2\n3\n", ", line 4: 1 cell, but line 2 names 2 columns"),
    ("sep=;\n", " is empty"),
    ("\na\n1,2\n", ", line 3: 2 cells, but line 2 names 1 column"),
    ('a,b\n"x\ny",2\n3,4,5\n', ", line 4: 3 cells, but line 1 names 2 columns"),
    ("column 2,\n1,2\n", ", line 1: column 2 has no name, and another is called 'column 2'"),
    (",,\n1,2,3\n", ", line 1: the first line names the columns, but here it holds no name"),
    (",1,2\n1,2,3\n", ", line 1: the first line names the columns, but here it holds only numbers"),
    ("a,b,a \n1,2,3\n", ", line 1: two columns are named 'a'"),
    ("1,2.5\n3,4\n", ", line 1: the first line names the columns, but here it holds only numbers"),
    ("1,5;2\n3;4\n", ", line 1: the first line names the columns, but here it holds only numbers"),
    (
        "a,b\n1,2\n3,4o\n",
        ", line 3, column 'b': '4o' is no number, though 1 of the column's 2 cells are; read as text, the column would "
        "be of categories",
    ),
    ('a,b\n1,"1,234"\n2,5\n', ", line 2, column 'b': '1,234' is no number, though 1 of the column's 2 cells are;"),
    ("a,b\n1,inf\n", ", line 2, column 'b': inf is not a finite number"),
    ("a,b\n1,1\n2,1e999\n3,\n", ", line 3, column 'b': 1e999 is not a finite number"),
    ('a,b\n1,2\n3,"4\n5,6\n', ", line 3: a quoted cell begins in this row and never ends"),
    ('a,b\n1,2\n3,"4"5\n', ", line 3: ',' expected after '\"'"),
    (
        "a;b\n1.5;1\n2;0,5\n",
        ", line 3, column 'b': '0,5' has a decimal comma, but '1.5' a decimal point (line 2, column 'a'); decimal=',' "
        "or decimal='.' says which of them is a number",
    ),
    (
        "a;b\n1,234;1\n",
        ", line 2, column 'a': '1,234' may be 1.234 or 1234; decimal=',' makes it the former, and commas for thousands "
        "are not read",
    ),
    (b"a,b\n1,\x00\n", " is no text file: line 2 holds the character 0"),
    (b"\x89PNG\r\n\x1a\n", " is no text file: line 1 is not UTF-8"),
    (b"a,b\n1,\x81\n", " is no text file: line 2 is not UTF-8"),
    (b"PK\x03\x04 a", " is no text file: line 1 holds the character 3; it begins as a ZIP archive does; a spreadsheet"),
    (b"\x1f\x8b\x08\x00", " is no text file: line 1 is not UTF-8; it begins as a gzip archive does; unpack it first"),
    (b"\xff\xfea\x00\n\x00b", ", line 2: this is not UTF-16 (truncated data)"),
]


@pytest.mark.parametrize(("content", "told"), MISTAKES, ids=[told for _, told in MISTAKES])
def test_a_mistake_names_its_place(path: Path, content: str | bytes, told: str) -> None:
    message = "^" + re.escape(f"{path}{told}") + ("" if told.endswith((";", "spreadsheet")) else "$")
    with pytest.raises(TableError, match=message) as caught:
        read(path, content)
    assert "\n" not in str(caught.value)


pieces = st.sampled_from(
    [*map(str.encode, 'a 1 . , ; | \t \n \r " NaN inf 1,5 1,234 \n1,2\n'.split(" ")), b"\0", b"\xff\xfe"]
)


@given(content=st.lists(pieces | st.binary(max_size=3), max_size=20).map(b"".join))
def test_any_bytes_are_a_table_or_an_error_of_one_line(path: Path, content: bytes) -> None:
    path.write_bytes(b"a,b\n" + content)
    try:
        table = gg.data.read_table(path)
    except TableError as error:
        told = str(error)
    else:
        told = ""
        for name in table.names:
            assert len(table[name]) == len(table) > 0
            assert table.is_text(name) or not np.isinf(table[name]).any()
    assert told == "" or (told.startswith(str(path)) and told.isprintable())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"separator": "::"}, ": a separator is one character, but '::' was given"),
        ({"separator": '"'}, ": a separator is one character, but '\"' was given"),
        ({"decimal": ";"}, ": the decimal mark is '.' or ',', but ';' was given"),
        ({"encoding": "latin-0"}, ": no text encoding is called 'latin-0'"),
        ({"encoding": "idna"}, ": no text encoding is called 'idna'"),
        ({"encoding": "Punycode"}, ": no text encoding is called 'Punycode'"),
        ({"encoding": "unicode-escape"}, ": no text encoding is called 'unicode-escape'"),
        ({"encoding": "hex"}, ": no text encoding is called 'hex'"),
        ({"encoding": "ascii"}, ", line 2: this is not ASCII (ordinal not in range(128))"),
    ],
)
def test_a_wrong_option_is_told(path: Path, options: dict[str, str], told: str) -> None:
    with pytest.raises(TableError, match=f"^{re.escape(f'{path}{told}')}$"):
        read(path, "a,b\n1,é\n", **options)


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TableError, match=r"no\.csv does not exist$"):
        gg.data.read_table(tmp_path / "no.csv")
    with pytest.raises(TableError, match=r"is a directory; a CSV file is wanted$"):
        gg.data.read_table(tmp_path)

    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "t.csv").write_text("a\n1\n")
    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(TableError, match=r"t\.csv cannot be read: Permission denied$"):
        gg.data.read_table(tmp_path / "t.csv")
