"""Parquet files: they read as the CSV files of the same tables, and every mistake names its place."""

import sys
from pathlib import Path

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.errors import TableError


def test_a_parquet_file_reads_as_the_csv_file_of_the_same_table(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet files are read by pyarrow: graphgrad[tables]")
    from pyarrow import parquet

    data = {
        "whole": pyarrow.array([1, None, 3]),
        "real": pyarrow.array([0.5, float("nan"), None], pyarrow.float32()),
        "town": pyarrow.array(["Bern", None, "NA"]),
        "kind": pyarrow.array(["u", "v", "u"]).dictionary_encode(),
        "open": pyarrow.array([True, False, None]),
        "code": pyarrow.array([2**60 + 1, 7, None]),
        "none": pyarrow.nulls(3),
    }
    parquet.write_table(pyarrow.table(data), tmp_path / "t.parquet")
    text = "whole,real,town,kind,open,code,none\n1,0.5,Bern,u,True,1152921504606846977,\n,,,v,False,7,\n3,,NA,u,,,\n"
    (tmp_path / "t.csv").write_text(text)
    stored, written = (gg.data.read_table(tmp_path / f"t.{kind}", text=["code"]) for kind in ("parquet", "csv"))
    assert stored.names == written.names
    for name in stored.names:
        np.testing.assert_array_equal(stored[name], written[name])
        assert stored[name].dtype == written[name].dtype
    assert stored.where(1, "town") == f"{tmp_path}/t.parquet, row 2, column 'town'"


def test_ignored_columns_of_a_parquet_file_may_be_of_any_type(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet files are read by pyarrow: graphgrad[tables]")
    from pyarrow import parquet

    data = {"when": pyarrow.array([1, 2], pyarrow.timestamp("ms")), "": [7, 8], "a": [1.0, 2.0], "inf": [1e999, 1.0]}
    parquet.write_table(pyarrow.table(data), tmp_path / "t.parquet")
    with pytest.raises(TableError, match=r"column 'when': timestamp\[ms\] is neither numbers nor text$"):
        gg.data.read_table(tmp_path / "t.parquet", ignore=["inf"])
    table = gg.data.read_table(tmp_path / "t.parquet", ignore=["when", "inf"])
    assert {name: table[name].tolist() for name in table.names} == {"column 2": [7, 8], "a": [1, 2]}
    assert table.notes == ("a column without a name is called 'column 2'",)


def test_a_parquet_file_that_is_no_table(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet files are read by pyarrow: graphgrad[tables]")
    from pyarrow import parquet

    path = tmp_path / "t.parquet"

    def told(table: object) -> str:
        if isinstance(table, bytes):
            path.write_bytes(table)
        else:
            parquet.write_table(table, path)
        with pytest.raises(TableError) as caught:
            gg.data.read_table(path)
        assert "\n" not in str(caught.value)
        return str(caught.value).removeprefix(str(path))

    assert told(b"PAR1").startswith(" is no Parquet file that can be read: ")
    parquet.write_table(pyarrow.table({"a": [1.0] * 1000}), path)
    assert told(path.read_bytes()[:-20]).startswith(" is no Parquet file that can be read: ")
    assert told(pyarrow.table({"a": [1.0, float("inf")]})) == ", row 2, column 'a': inf is not a finite number"
    assert told(pyarrow.table({"a": [[1], [2]]})) == ", column 'a': list<element: int64> is neither numbers nor text"
    assert told(pyarrow.table({"a": pyarrow.array([], pyarrow.int64())})) == " has no rows"
    assert told(pyarrow.Table.from_arrays([[1], [2]], names=["a", "a"])) == ": two columns are named 'a'"
    path.unlink()
    path.mkdir()
    with pytest.raises(TableError, match=r"is a directory; a Parquet file is wanted$"):
        gg.data.read_table(path)


def test_without_pyarrow_a_parquet_file_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = r"Parquet files are read by pyarrow, which is not installed: pip install 'graphgrad\[tables\]'$"
    with pytest.raises(TableError, match=message):
        gg.data.read_table(tmp_path / "t.parquet")
