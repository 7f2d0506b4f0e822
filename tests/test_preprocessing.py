"""Preprocessing: learned from the rows trained on, the same for files that come later, and kept exactly as JSON."""

import copy
import doctest
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphgrad as gg
from graphgrad.columns import Categories, Classes, Numbers
from graphgrad.errors import TableError
from graphgrad.preprocessing import Preprocessing, complete_rows
from graphgrad.table import Table

Cell = float | str | None


def table(**columns: Sequence[Cell]) -> Table:
    """A table with a header in line 1: columns of text where a cell is text, else of numbers."""
    arrays = {}
    for name, cells in columns.items():
        is_text = any(isinstance(cell, str) for cell in cells)
        arrays[name] = np.array(
            list(cells) if is_text else [np.nan if c is None else c for c in cells], object if is_text else float
        )
    count = len(next(iter(columns.values())))
    return Table("t.csv", arrays, np.arange(2, count + 2))


def told(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(gg.GraphgradError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


TOWNS = table(
    height=[540.0, 464.0, 408.0, 1560.0],
    kind=["city", "town", "city", "resort"],
    people=[134.0, 36.0, 430.0, 11.0],
    language=["de", "de", "de", "rm"],
)

# ---------------------------------------------------------------------------------------------------------------------
# Encoding
# ---------------------------------------------------------------------------------------------------------------------


def test_numbers_are_standardized_by_the_rows_that_are_trained_on() -> None:
    rng = np.random.default_rng(0)
    data, rows = table(a=rng.normal(50, 7, 30), b=rng.gamma(2, size=30), y=rng.normal(-3, 2, 30)), np.arange(4, 24)
    known = Preprocessing.fit(data, ["y"], rows)
    X = np.stack([data["a"], data["b"]], 1)
    np.testing.assert_allclose(known.encode(data), (X - X[rows].mean(0)) / X[rows].std(0), rtol=1e-12)
    Y = (data["y"] - data["y"][rows].mean()) / data["y"][rows].std()
    np.testing.assert_allclose(known.encode_target(data, np.array([29, 0])), Y[[29, 0], None], rtol=1e-12)
    np.testing.assert_allclose(known.decode(Y[:, None])["predicted_y"], data["y"], rtol=1e-12)
    plain = Preprocessing.fit(data, ["y"], rows, scale_features=False, scale_targets=False)
    assert np.array_equal(plain.encode(data), X)
    assert np.array_equal(plain.encode_target(data)[:, 0], data["y"])
    mixed = Preprocessing.fit(data, ["y"], rows, scale_targets=False)
    assert np.array_equal(mixed.encode(data), known.encode(data))
    assert np.array_equal(mixed.encode_target(data)[:, 0], data["y"])


@pytest.mark.parametrize("value", [0.0, 0.1, -7e200, 3e-320])
def test_a_constant_column_is_no_error(value: float) -> None:
    data = table(a=[value] * 7, y=[1.0, 2, 3, 4, 5, 6, 7])  # of 0.1 the mean is not 0.1, nor the deviation 0
    known = Preprocessing.fit(data, ["y"])
    assert known.encode(data).tolist() == [[0.0]] * 7
    assert known.encode(table(a=[value + 2])).tolist() == [[2.0 if abs(value) < 1 else 0.0]]


@pytest.mark.parametrize("size", [1e-300, 1e-170, 1.0, 1e170, 8e307])
def test_small_and_large_numbers_are_standardized_alike(size: float) -> None:
    encoded = Preprocessing.fit(table(a=[size, -size, 0.5 * size], y=[1, 2, 3]), ["y"]).encode(table(a=[size, 0.0]))
    expected = np.array([1.0, 0.0]) - 1 / 6
    np.testing.assert_allclose(encoded[:, 0], expected / np.std([1, -1, 0.5]), rtol=1e-12)


def test_numbers_that_a_dtype_does_not_hold_name_their_place() -> None:
    data = table(kind=["u", "v", "u"], a=[1.0, 1e39, -2.0], y=[1.0, 2.0, -1e200])
    known = Preprocessing.fit(data, ["y"], scale_features=False, scale_targets=False)
    assert known.encode(data)[1].tolist() == [0, 1, 1e39]
    assert known.encode(data, np.array([2, 0]), dtype="float32").dtype == np.float64
    for call, place in (
        (known.encode, "line 3, column 'a': 1e+39"),
        (known.encode_target, "line 4, column 'y': -1e+200"),
    ):
        assert told(call, data, np.array([2, 1]), dtype="float32") == (
            f"t.csv, {place} is too large for float32, in which the network computes"
        )
    assert Preprocessing.fit(data, ["y"]).encode(data, dtype="float32").shape == (3, 3)


def test_text_is_one_hot_in_sorted_order() -> None:
    known = Preprocessing.fit(TOWNS, ["people"])
    assert known.inputs == ("height", "kind=city", "kind=resort", "kind=town", "language=de", "language=rm")
    expected = [[1, 0, 0, 1, 0], [0, 0, 1, 1, 0], [1, 0, 0, 1, 0], [0, 1, 0, 0, 1]]
    assert known.encode(TOWNS)[:, 1:].tolist() == expected
    assert known.encode(TOWNS, np.array([3, 3]))[:, 1:].tolist() == [expected[3]] * 2
    assert (known.outputs, known.targets, known.labels) == (1, ("people",), None)


def test_columns_are_left_out_on_request() -> None:
    known = Preprocessing.fit(TOWNS, ["people"], ignore=["kind", "language"])
    assert known.inputs == ("height",)


def test_columns_of_another_table_are_found_by_name() -> None:
    known = Preprocessing.fit(TOWNS, ["people"])
    other = table(extra=["u", "v"], language=["rm", "de"], kind=["town", "city"], height=[540.0, 464.0])
    expected = known.encode(TOWNS)
    assert known.encode(other)[:, 0].tolist() == expected[:2, 0].tolist()
    assert known.encode(other)[:, 1:].tolist() == [[0, 0, 1, 0, 1], [1, 0, 0, 1, 0]]
    assert told(known.encode, table(kind=["city"], heights=[1], language=["de"])) == (
        "t.csv has no column 'height'; did you mean 'heights'?"
    )


def test_what_training_did_not_see_is_told() -> None:
    known = Preprocessing.fit(TOWNS, ["people"])
    other = table(height=[1.0, 2.0], kind=["city", "village"], language=["fr", "de"])
    assert told(known.encode, other) == "t.csv, line 3, column 'kind': 'village' is no category seen in training: " + (
        "'city', 'resort', 'town'"
    )
    assert known.encode(other, unknown="zero")[:, 1:].tolist() == [[1, 0, 0, 0, 0], [0, 0, 0, 1, 0]]
    assert known.notes(other) == (
        "column 'kind': 1 cell of a category not seen in training: 'village'",
        "column 'language': 1 cell of a category not seen in training: 'fr'",
    )
    assert told(known.encode, other, unknown="ignore") == "unknown is 'error' or 'zero', but 'ignore' was given"
    many = Preprocessing.fit(table(kind=[c for c in "abcdefghijk" for _ in range(2)], y=range(22)), ["y"])
    assert told(many.encode, table(kind=["z"])).endswith("'f', 'g', 'h', and 3 more")


def test_text_in_place_of_numbers_is_told() -> None:
    known = Preprocessing.fit(TOWNS, ["people"], ignore=["kind", "language"])
    assert told(known.encode, table(height=["low", "high"])) == (
        "t.csv, line 2, column 'height': 'low' is no number, but in training the cells are"
    )
    assert known.encode(table(height=["408", "540"])).tolist() == known.encode(TOWNS, np.array([2, 0])).tolist()


def test_numbers_beyond_those_trained_on_are_told_where_they_overflow() -> None:
    known = Preprocessing.fit(table(a=[1e-9, 2e-9], y=[1, 2]), ["y"])
    assert told(known.encode, table(a=[0.0, 1e308])) == (
        "t.csv, line 3, column 'a': 1e+308 is too large beside the numbers in training"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Missing cells
# ---------------------------------------------------------------------------------------------------------------------

HOLES = table(
    a=[1.0, None, 3.0, 8.0, 100.0],
    c=["u", "v", "v", None, "u"],
    y=[1.0, 2.0, 3.0, 4.0, None],
)


def test_a_missing_cell_is_an_error_that_tells_the_choices() -> None:
    message = (
        "t.csv, line 3, column 'a': the cell is missing, as in 3 of 5 rows; missing='drop' leaves such rows out, "
        "missing='impute' takes a feature's missing cell for the median, or the most frequent text"
    )
    assert told(complete_rows, HOLES, ["y"]) == message
    assert told(Preprocessing.fit, HOLES, ["y"]) == message
    assert told(Preprocessing.fit, HOLES, ["y"], np.array([0, 3]), missing="drop").startswith(
        "t.csv, line 5, column 'c': the cell is missing, as in 1 of 2 rows"
    )
    assert told(Preprocessing.fit, HOLES, ["y"], missing="impute").startswith("t.csv, line 6, column 'y': the cell is")
    assert told(complete_rows, HOLES, ["y"], missing="fill") == (
        "missing is 'error', 'drop' or 'impute', but 'fill' was given"
    )


def test_rows_with_missing_cells_are_dropped_on_request() -> None:
    rows, notes = complete_rows(HOLES, ["y"], missing="drop")
    assert rows.tolist() == [0, 2]
    assert notes == ("3 of 5 rows left out, as cells are missing in 'y' (1), 'a' (1), 'c' (1)",)
    assert complete_rows(HOLES, ["y"], missing="drop", ignore=["c"])[0].tolist() == [0, 2, 3]
    assert complete_rows(TOWNS, ["people"], missing="drop")[1] == ()
    assert complete_rows(TOWNS, ["people"])[0].tolist() == [0, 1, 2, 3]
    empty = table(a=[None, 1.0], y=[1.0, None])
    assert told(complete_rows, empty, ["y"], missing="drop") == (
        "t.csv: every row has a missing cell in y, a, so none is left"
    )
    known = Preprocessing.fit(HOLES, ["y"], rows, missing="drop")
    assert told(known.encode, HOLES) == "t.csv, line 3, column 'a': the cell is missing"
    for unknown in ("error", "zero"):
        hole = table(a=[1.0], c=[None])
        assert told(known.encode, hole, unknown=unknown) == "t.csv, line 2, column 'c': the cell is missing"


def test_missing_features_are_imputed_on_request_and_never_targets() -> None:
    rows, notes = complete_rows(HOLES, ["y"], missing="impute")
    assert rows.tolist() == [0, 1, 2, 3]
    assert notes == ("1 of 5 rows left out, as cells are missing in 'y' (1)",)
    known = Preprocessing.fit(HOLES, ["y"], rows, missing="impute", scale_features=False)
    assert known.encode(HOLES, rows).tolist() == [[1, 1, 0], [3, 0, 1], [3, 0, 1], [8, 0, 1]]
    assert known.notes(HOLES, rows) == (
        "column 'a': 1 missing cell taken for the median, 3",
        "column 'c': 1 missing cell taken for the most frequent, 'v'",
    )
    later = table(a=[None, None], c=[None, "u"])
    assert known.encode(later).tolist() == [[3, 0, 1], [3, 1, 0]]
    assert known.notes(later)[0] == "column 'a': 2 missing cells taken for the median, 3"
    assert [t.fill for t in known.target if isinstance(t, Numbers)] == [None]
    frequent = table(c=["w", "v", "v", "u", None, "u"], y=range(6))  # the first of two that are as frequent
    assert Preprocessing.fit(frequent, ["y"], missing="impute").encode(frequent)[4].tolist() == [1, 0, 0]
    scaled = Preprocessing.fit(HOLES, ["y"], rows, missing="impute")
    assert scaled.encode(later)[0, 0] == scaled.encode(HOLES, np.array([2]))[0, 0]


def test_a_column_without_cells_is_told() -> None:
    data = table(a=[None, None, 1.0], y=[1.0, 2.0, 3.0])
    assert told(Preprocessing.fit, data, ["y"], np.array([0, 1]), missing="impute") == (
        "t.csv, column 'a': every cell is missing, so nothing can be learned from it"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Classes
# ---------------------------------------------------------------------------------------------------------------------


def test_a_target_of_text_is_of_classes() -> None:
    known = Preprocessing.fit(TOWNS, ["kind"])
    assert (known.labels, known.outputs, known.targets) == (("city", "resort", "town"), 3, ("kind",))
    classes = known.encode_target(TOWNS)
    assert (classes.tolist(), classes.dtype) == ([0, 2, 0, 1], np.int64)
    p = [[0.2, 0.5, 0.3], [0.0, 0.0, 1.0]]
    assert known.decode(p) == {
        "predicted_kind": ["resort", "town"],
        "probability_city": [0.2, 0.0],
        "probability_resort": [0.5, 0.0],
        "probability_town": [0.3, 1.0],
    }
    assert known.decode([[3.0, -1.0, 4.0]]) == {"predicted_kind": ["town"]}  # no probabilities


def test_whole_numbers_are_classes_on_request_and_stay_whole() -> None:
    data = table(a=[1, 2, 3, 4], y=[10.0, 2.0, 10.0, -1.0])
    assert Preprocessing.fit(data, ["y"]).labels is None
    known = Preprocessing.fit(data, ["y"], classes=True)
    assert known.labels == (-1, 2, 10)
    assert known.encode_target(data).tolist() == [2, 1, 2, 0]
    decoded = known.decode(np.eye(3)[[2, 0]])
    assert json.dumps(decoded["predicted_y"]) == "[10, -1]"
    assert list(decoded) == ["predicted_y", "probability_-1", "probability_2", "probability_10"]


def test_two_classes_may_have_one_output() -> None:
    known = Preprocessing.fit(table(a=[1, 2], y=["no", "yes"]), ["y"])
    expected = {"predicted_y": ["yes", "no"], "probability_no": [0.25, 0.5], "probability_yes": [0.75, 0.5]}
    assert known.decode([[0.75], [0.5]]) == expected
    assert known.decode([0.75, 0.5], threshold=0.5) == expected
    assert known.decode([[0.75], [0.5]], threshold=0.6) == {"predicted_y": ["yes", "no"]}
    assert known.decode([[0.75], [-0.5]], threshold=0.0) == {"predicted_y": ["yes", "no"]}
    assert told(known.decode, [[1, 2, 3]]) == "predictions are (rows, 2), but (1, 3) was given"


@pytest.mark.parametrize(
    ("columns", "targets", "options", "message"),
    [
        ({"y": [1, 2]}, ["y"], {}, "t.csv has no columns besides y: nothing is left to predict from"),
        ({"a": [1], "y": [1]}, ["z"], {}, "t.csv has no column 'z'; it has a, y"),
        ({"a": [1], "y": [1]}, ["y", "y"], {}, "the target 'y' was given twice"),
        ({"a": [1], "y": [1]}, [], {}, "t.csv: no target was given; it has a, y"),
        ({"a": [1], "y": [1]}, ["y"], {"ignore": ["b"]}, "t.csv has no column 'b'; it has a, y"),
        ({"a": [1], "y": [1]}, ["y"], {"ignore": ["y"]}, "column 'y' is a target, so it cannot be ignored"),
        ({"a": [1], "y": [1]}, ["y"], {"rows": np.array([], int)}, "t.csv: no row is left to train on"),
        (
            {"a": [1, 2], "y": [0.5, 1]},
            ["y"],
            {"classes": True},
            "t.csv, line 2, column 'y': 0.5 is no class; classes are text or whole numbers",
        ),
        (
            {"a": [1, 2], "y": [1, 2.0**53]},
            ["y"],
            {"classes": True},
            "t.csv, line 3, column 'y': 9007199254740992.0 is no class; classes are text or whole numbers",
        ),
        (
            {"a": [1, 2], "y": ["u", "u"]},
            ["y"],
            {},
            "t.csv, column 'y': its 2 rows to train on have one class, 'u'; two are wanted at least",
        ),
        (
            {"a": [1, 2], "y": [3, 4], "z": ["u", "v"]},
            ["y", "z"],
            {},
            "t.csv: 2 targets are learned as numbers, but column 'z' is of classes",
        ),
        (
            {"a": [f"name {k}" for k in range(30)], "y": range(30)},
            ["y"],
            {},
            "t.csv, column 'a': 30 different texts in 30 cells are too many to learn from; "
            "ignore it, or leave it out of the file",
        ),
        (
            {"a": range(30), "y": range(30)},
            ["y"],
            {"classes": True},
            "t.csv, column 'y': 30 different texts in 30 cells are too many to learn from; is it the target?",
        ),
        (
            {"a": [1.5e308, -1.5e308], "y": [1, 2]},
            ["y"],
            {},
            "t.csv, column 'a': its numbers are too large to be standardized",
        ),
    ],
)
def test_what_cannot_be_learned(
    columns: dict[str, Sequence[Cell]], targets: list[str], options: dict[str, Any], message: str
) -> None:
    assert told(Preprocessing.fit, table(**columns), targets, **options) == message


def test_an_unknown_label_is_told() -> None:
    known = Preprocessing.fit(TOWNS, ["kind"], np.array([0, 1]))
    assert told(known.encode_target, TOWNS) == (
        "t.csv, line 5, column 'kind': 'resort' is no class seen in training: 'city', 'town'"
    )
    whole = Preprocessing.fit(table(a=[1, 2], y=[0, 1]), ["y"], classes=True)
    assert told(whole.encode_target, table(y=[1, 2.5])) == (
        "t.csv, line 3, column 'y': 2.5 is no class seen in training: 0, 1"
    )
    assert whole.encode_target(table(y=["1", "0"])).tolist() == [1, 0]
    assert told(whole.encode_target, table(y=[1, None])).startswith("t.csv, line 3, column 'y': the cell is missing")


def test_a_network_may_know_more_whole_numbers_than_the_table() -> None:
    whole = Preprocessing.fit(table(a=[1, 2], y=[0, 3]), ["y"], classes=True)
    assert whole.with_classes(5).labels == (0, 1, 2, 3, 4)
    assert whole.with_classes(2) == whole
    assert told(whole.with_classes, 3) == "the network tells 3 classes apart, but column 'y' has 2: 0, 3"
    assert told(Preprocessing.fit(TOWNS, ["kind"]).with_classes, 4) == (
        "the network tells 4 classes apart, but column 'kind' has 3: 'city', 'resort', 'town'"
    )
    assert told(Preprocessing.fit(TOWNS, ["people"]).with_classes, 4) == (
        "the network tells 4 classes apart, but people is learned as numbers"
    )


def test_a_target_of_text_that_looks_like_numbers_is_of_classes_only_on_request(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,y\n1,"1,000"\n2,"1,250"\n3,"1,000"\n')
    data = gg.data.read_table(path)
    assert told(Preprocessing.fit, data, ["y"]) == (
        f"{path}: column 'y' is of text, though 3 of its 3 cells look like numbers, as '1,000' does in line 2; 1000 "
        "would be read as one; classes=True learns such texts as classes"
    )
    assert Preprocessing.fit(data, ["y"], classes=True).labels == ("1,000", "1,250")
    assert Preprocessing.fit(gg.data.read_table(path, text=["y"]), ["y"]).labels == ("1,000", "1,250")
    assert Preprocessing.fit(data, ["a"]).inputs == ("y=1,000", "y=1,250")


# ---------------------------------------------------------------------------------------------------------------------
# Files that come later
# ---------------------------------------------------------------------------------------------------------------------


def test_text_is_read_as_text_again_whatever_it_looks_like(tmp_path: Path) -> None:
    path, later = tmp_path / "first.csv", tmp_path / "later.csv"
    path.write_text("code,x,y\n01,1,2\nx,2,b\n1,3,b\nz,4,2\nu,5,02\n")
    known = Preprocessing.fit(gg.data.read_table(path, text=["y"], missing=["-"]), ["y"])
    assert known.inputs == ("code=01", "code=1", "code=u", "code=x", "code=z", "x")
    later.write_text("x;code;y\n3,5;1;2\n3;01;02\n")
    other = known.read_table(later)
    assert known.encode(other)[:, :5].tolist() == [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0]]
    assert known.encode_target(other).tolist() == [1, 0]
    later.write_text("x,code\n3,1\n-,u\n")  # the words for missing cells are those of the first file
    assert known.read_table(later).missing("x").tolist() == [False, True]
    as_numbers = gg.data.read_table(later.with_name("first.csv"), text=["code", "y"])
    assert np.array_equal(known.encode(as_numbers), known.encode(known.read_table(path)))
    later.write_text(",x,code,z,z\na,3,1,1,inf\n1,4,u,2,\n2,4,u,3o,\n")  # other columns may hold anything
    assert known.read_table(later).names == ("x", "code")
    assert known.read_table(later).notes == ()
    later.write_text("x,code\n3,1\n3,1.5\n")  # read without its help: a number is taken for its text
    assert told(known.encode, gg.data.read_table(later)).startswith(f"{later}, line 3, column 'code': '1.5' is no cat")


def test_a_trained_network_predicts_the_same_from_a_file_in_another_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [
        (f"{a:.3f}", "nu"[b], "low high".split()[int(a + b > 0.5)])
        for a, b in zip(rng.normal(size=60), [0, 1] * 30, strict=True)
    ]
    path, later = tmp_path / "first.csv", tmp_path / "later.csv"
    path.write_text("a,b,y\n" + "".join(",".join(row) + "\n" for row in rows))
    data = gg.data.read_table(path)
    known = Preprocessing.fit(data, ["y"], np.arange(50))
    net = gg.feedforward([len(known.inputs), 8, known.outputs], "tanh", "cross_entropy")
    X, Y = known.encode(data), known.encode_target(data)
    run = gg.train(net, X[:50], Y[:50], optimizer=gg.Adam(alpha=0.05), epochs=40, progress=False)
    restored = Preprocessing.from_json(json.loads(json.dumps(known.to_json())))
    later.write_text("b;more;a\n" + "".join(f"{b};0;{a.replace('.', ',')}\n" for a, b, _ in reversed(rows)))
    decoded = restored.decode(run.predict(restored.encode(restored.read_table(later))))
    assert decoded == {name: list(reversed(cells)) for name, cells in known.decode(run.predict(X)).items()}
    right = np.mean([p == y for p, (_, _, y) in zip(reversed(decoded["predicted_y"]), rows, strict=True)])
    assert right > 0.9


# ---------------------------------------------------------------------------------------------------------------------
# JSON
# ---------------------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
floats = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.builds(Numbers, texts, floats, st.floats(5e-324, 1e300), st.none() | floats)
categories = st.builds(Categories, texts, st.sets(texts, min_size=1).map(sorted).map(tuple), st.none() | texts)
labels = st.sets(texts, min_size=2) | st.sets(st.integers(-(2**53) + 1, 2**53 - 1), min_size=2)
classes = st.builds(Classes, texts, labels.map(sorted).map(tuple))
preprocessings = st.builds(
    Preprocessing,
    st.lists(numbers | categories, min_size=1, max_size=3).map(tuple),
    classes | st.lists(numbers, min_size=1, max_size=2).map(tuple),
    st.lists(texts, max_size=3).map(tuple),
).filter(lambda p: len({*p.targets, *(f.column for f in p.features)}) == len(p.targets) + len(p.features))


@given(known=preprocessings)
def test_json_keeps_a_preprocessing_exactly(known: Preprocessing) -> None:
    text = json.dumps(known.to_json(), allow_nan=False)
    assert repr(Preprocessing.from_json(json.loads(text))) == repr(known)  # of equal tuples 0.0 and -0.0 could differ


def places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every container and key in JSON data."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield data, key
        yield from places(value)


KNOWN = Preprocessing(
    (Numbers("a", 1.5, 2.0, 1.0), Categories("c", ("u", "v"), "v")), Classes("y", ("no", "yes"))
).to_json()
JUNK: list[Any] = [
    None, True, 0, -1, 1, 3.5, 10**400, math.nan, math.inf, "", "u", "\ud800", [], [1], ["u"], ["v", "u"], ["u", "u"],
    [1, True], [2**53, 2**54], {}, {"kind": "numbers"}, {"kind": ["numbers"]}, "numbers", "classes",
]  # fmt: skip


@pytest.mark.parametrize("junk", JUNK, ids=[repr(j)[:20] for j in JUNK])
def test_a_changed_preprocessing_is_refused_or_read_as_it_is(junk: Any) -> None:
    for n, _ in enumerate(places(KNOWN)):
        data = copy.deepcopy(KNOWN)
        container, key = list(places(data))[n]
        container[key] = junk
        try:
            read = Preprocessing.from_json(data)
        except gg.GraphgradError:
            continue
        assert read.to_json() == data
        json.dumps(data, allow_nan=False).encode()
        for f in read.features:
            assert not isinstance(f, Numbers) or (f.scale > 0 and math.isfinite(f.mean))
        assert read.decode([[0.5, 0.5]])


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((), None, "no preprocessing: a mapping of version, features, targets, missing_cells is wanted"),
        (("version",), 2, "the preprocessing has version 2; version 1 can be read"),
        (("features",), [], "the preprocessing's features are no list of columns"),
        (("features", 0), 7, "features[0] is no column of the kind numbers or categories"),
        (("features", 0, "kind"), "classes", "features[0] is no column of the kind numbers or categories"),
        (("features", 0, "more"), 1, "features[0] has the fields column, fill, kind, mean, more, scale; "),
        (("features", 0, "mean"), math.nan, "features[0].mean is no finite number"),
        (("features", 0, "mean"), 10**400, "features[0].mean is no finite number"),
        (("features", 0, "mean"), True, "features[0].mean is no finite number"),
        (("features", 0, "scale"), 0, "features[0].scale is not above 0"),
        (("features", 0, "column"), 1, "features[0].column is no text"),
        (("features", 1, "categories"), ["v", "u"], "features[1].categories is no list of 1 or more in ascending"),
        (("features", 1, "categories", 1), 3, "features[1].categories[1] is no text"),
        (("features", 1, "column"), "a", "the preprocessing has two columns of one name"),
        (("targets", 0, "labels"), ["a"], "targets[0].labels is no list of 2 or more in ascending order"),
        (("features", 0, "column"), "a\ud800", "features[0].column is no text"),
        (("targets", 0, "labels"), [1, 2**53], "targets[0].labels[0] is no text"),
        (("targets", 0, "labels"), [1, True], "targets[0].labels[0] is no text"),
        (("targets",), [KNOWN["targets"][0]] * 2, "targets[0] is no column of the kind numbers"),
        (("missing_cells",), "NA", "missing_cells is no list of texts"),
    ],
)
def test_what_is_wrong_with_a_preprocessing_is_told(place: tuple[Any, ...], value: Any, message: str) -> None:
    data: Any = {"": copy.deepcopy(KNOWN)}
    container, key = data, ""
    for step in place:
        container, key = container[key], step
    container[key] = value
    assert re.match(re.escape(message), told(Preprocessing.from_json, data[""]))


def test_the_example_runs() -> None:
    assert doctest.testmod(sys.modules[Preprocessing.__module__]) == (0, 5)


def test_errors_of_tables_are_table_errors() -> None:
    with pytest.raises(TableError):
        Preprocessing.fit(TOWNS, ["people"]).encode(table(height=[1]))
