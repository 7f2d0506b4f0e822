"""Data: parts of a table, batches, the digits."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.data import batches, load_digits_split, split, split_rows, standardize

ROOT = Path(__file__).resolve().parent.parent
MASKED = np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False])


def test_a_split_keeps_every_sample_once_with_its_target() -> None:
    X = np.arange(50)
    parts = split(X, X * 10, test=0.3, seed=4)
    assert (len(parts.X), len(parts.X_test)) == (35, 15)
    assert sorted([*parts.X, *parts.X_test]) == list(range(50))
    assert np.array_equal(parts.Y, parts.X * 10)
    assert np.array_equal(parts.Y_test, parts.X_test * 10)
    assert np.array_equal(parts.X_test, split(X, X, test=0.3, seed=4).X_test)
    assert not np.array_equal(parts.X_test, split(X, X, test=0.3, seed=5).X_test)


def test_a_stratified_split_sets_aside_as_much_of_each_label() -> None:
    labels = np.repeat([3, 5, 9], [10, 40, 50])
    parts = split(np.arange(100), labels, test=0.2, stratify=True)
    assert [int(np.sum(parts.Y_test == label)) for label in (3, 5, 9)] == [2, 8, 10]
    column = split(np.arange(100), labels[:, None], test=np.float32(0.2), stratify=True)
    assert np.array_equal(column.Y_test, parts.Y_test[:, None])


@pytest.mark.parametrize(
    ("sizes", "part", "aside"),
    [
        ([10, 40, 50], 0.2, [2, 8, 10]),
        ([3, 6], 0.5, [1, 3]),  # 1.5 and 3, and 4.5 is rounded to 4
        ([2] * 60, 0.2, 24),
        ([4, 4, 4, 4, 4], 0.4, 8),
        ([3, 1], 0.6, [2, 0]),
        ([20, 1, 1], 0.6, [13, 0, 0]),  # what a label of one sample cannot give, the others do
        ([90, 10, *[1] * 20], 0.5, [54, 6, *[0] * 20]),
        ([2, 2], 0.9, [1, 1]),
        ([1, 1, 1], 0.5, [0, 0, 0]),
    ],
)
def test_the_part_set_aside_is_shared_among_labels_and_uses_none_up(
    sizes: list[int], part: float, aside: list[int] | int
) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    kept, taken = split_rows(len(labels), part, np.random.default_rng(0), labels)
    assert sorted([*kept, *taken]) == list(range(len(labels)))
    found = np.bincount(labels[taken], minlength=len(sizes))
    assert (np.bincount(labels[kept], minlength=len(sizes)) > 0).all()
    assert found.tolist() == aside if isinstance(aside, list) else found.sum() == aside
    again = split_rows(len(labels), part, np.random.default_rng(0), labels)
    assert np.array_equal(again[1], taken)


def test_a_seed_splits_as_ever_where_each_labels_share_can_be_rounded() -> None:
    labels = np.arange(30) % 3
    assert split_rows(30, 0.2, np.random.default_rng(7), labels)[1].tolist() == [0, 7, 13, 14, 20, 24]


def test_labels_of_few_samples_are_split_wherever_samples_are_set_aside() -> None:
    X, labels = np.arange(40.0).reshape(20, 2), np.arange(20) % 10
    assert len(split(X, labels, test=0.2, stratify=True).Y_test) == 4
    net = gg.feedforward([2, 10], loss="cross_entropy")
    run = gg.train(net, X, labels, epochs=1, validation=0.2, stratify=True)
    assert np.isfinite(run.history["validation_loss"]).all()
    message = "10 samples cannot be parted with validation=0.2: one side would be empty"
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message)}$"):
        gg.train(net, X[:10], labels[:10], epochs=1, validation=0.2, stratify=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"Y": [1, 2]}, "X has 3 samples, but Y has 2"),
        ({"test": 1.0}, "test is the fraction of samples to set aside, between 0 and 1, but 1.0 was given"),
        ({"test": 0.01}, "3 samples cannot be split with test=0.01: one side would be empty"),
        ({"test": "all"}, "test is the fraction of samples to set aside, between 0 and 1, but 'all' was given"),
        ({"seed": -1}, "seed is a whole number from 0 on, but -1 was given"),
        ({"seed": 0.5}, "seed is a whole number from 0 on, but 0.5 was given"),
        ({"X": 3}, "X is an array of samples, but 3 was given"),
        ({"Y": 3}, "Y is an array of samples, but 3 was given"),
        (
            {"Y": np.eye(3), "stratify": True},
            "stratify=True wants one label for each sample, but Y has shape (3, 3); "
            "Y.argmax(axis=1) would make labels of columns",
        ),
        (
            {"Y": [1, None, "b"], "stratify": True},
            "stratify=True wants labels of one kind, text or numbers, but Y holds NoneType, int, str",
        ),
        ({"X": MASKED}, "X is a masked array, whose mask would be lost; X.filled(0.0) would fit"),
        ({"Y": MASKED}, "Y is a masked array, whose mask would be lost; Y.filled(0.0) would fit"),
        ({"X": [[1], [1, 2], [3]]}, "X is no array: its rows have different lengths"),
        ({"Y": [[1], [1, 2], [3]]}, "Y is no array: its rows have different lengths"),
        ({"Y": "abc"}, "Y is an array of samples, but 'abc' was given"),
    ],
)
def test_what_cannot_be_split_is_told(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message)}$"):
        split(**{"X": [1, 2, 3], "Y": [1, 2, 3], **arguments})  # type: ignore[arg-type]


def test_others_are_standardized_by_the_training_samples() -> None:
    X, other = np.array([[1.0, 7.0], [3.0, 7.0]]), np.array([[5.0, 8.0]])
    first, second = standardize(X, other)
    assert np.array_equal(first, [[-1, 0], [1, 0]])
    assert np.array_equal(second, [[3, 1]])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([MASKED], "X is a masked array, whose mask would be lost; X.filled(0.0) would fit"),
        (
            [[1.0, 2.0], [3.0], MASKED],
            "others[1] is a masked array, whose mask would be lost; others[1].filled(0.0) would fit",
        ),
        ([[[1], [1, 2]]], "X is no array: its rows have different lengths"),
        ([[1.0, 2.0], [[1], [1, 2]]], "others[0] is no array: its rows have different lengths"),
        ([["a", "b"]], "X is str32; floats or integers are wanted"),
        ([[1.0, 2.0], [None]], "others[0] is object; floats or integers are wanted"),
        ([None], "X is an array of samples, but None was given"),
    ],
)
def test_what_cannot_be_standardized_is_told(given: list[Any], message: str) -> None:
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message)}$"):
        standardize(*given)


@pytest.mark.parametrize(
    ("dtype", "scale", "tolerance"), [("float32", 1.0, 1e-4), ("float16", 1.0, 1e-2), ("float32", 1e30, 1e-4)]
)
def test_narrow_floats_are_standardized_in_float64(dtype: str, scale: float, tolerance: float) -> None:
    """In float32 the sum of a million rows near 2000 is off by more than their deviation, and squares overflow."""
    X = (scale * np.random.default_rng(0).normal(2000, 1, (1_000_000, 2))).astype(dtype)
    found, other = standardize(X, X[:2])
    assert found.dtype == other.dtype == dtype
    assert np.array_equal(other, found[:2])
    np.testing.assert_allclose(found.mean(axis=0, dtype="float64"), 0, atol=tolerance)
    np.testing.assert_allclose(found.std(axis=0, dtype="float64"), 1, atol=tolerance)


def test_what_is_standardized_keeps_the_wider_dtype() -> None:
    narrow, wide, whole = (np.array([1, 2, 4], dtype) for dtype in ("float32", "float64", "int64"))
    for X, dtypes in ((narrow, ["float32", "float64", "float64"]), (whole, ["float64"] * 3)):
        assert [part.dtype for part in standardize(X, narrow, wide, whole)[1:]] == dtypes


def test_batches_are_a_random_partition() -> None:
    parts = list(batches(10, 4, np.random.default_rng(0)))
    assert [len(part) for part in parts] == [4, 4, 2]
    assert sorted(np.concatenate(parts)) == list(range(10))
    assert [len(part) for part in batches(3, 8, np.random.default_rng(0))] == [3]


@pytest.mark.parametrize(
    ("samples", "size", "message"),
    [
        (10, 0, "size is a whole number from 1 on, but 0 was given"),
        (10, 2.5, "size is a whole number from 1 on, but 2.5 was given"),
        (-1, 4, "samples is a whole number from 0 on, but -1 was given"),
    ],
)
def test_batches_that_cannot_be_cut_are_told_at_once(samples: int, size: int, message: str) -> None:
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message)}$"):
        batches(samples, size, np.random.default_rng(0))


def test_the_digits() -> None:
    parts = load_digits_split()
    assert (parts.X.shape, parts.X_test.shape) == ((1438, 64), (359, 64))
    assert (parts.X.min(), parts.X.max(), parts.Y.dtype) == (0.0, 1.0, np.int64)
    share = np.bincount(parts.Y_test) / np.bincount(np.concatenate([parts.Y, parts.Y_test]))
    np.testing.assert_allclose(share, 0.2, atol=0.003)


def test_without_scikit_learn_the_digits_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    message = "the digits come with scikit-learn, which is not installed: pip install 'graphgrad[demo]'"
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message)}$"):
        load_digits_split()


def test_tables_are_read_without_another_import() -> None:
    code = "import graphgrad as gg; print(gg.data.read_table.__name__, gg.train.__name__, 'data' in dir(gg))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("read_table train True\n", "")


def test_a_constant_column_is_no_noise() -> None:
    """The deviation of equal numbers is often a rounding error, by which nothing is to be divided."""
    for constant in (0.1, 0.3, 1e9 / 3):
        column, other = standardize(np.full((7, 2), constant), np.array([[constant + 0.5, constant]]))
        assert not column.any()
        np.testing.assert_allclose(other, [[0.5, 0.0]], rtol=1e-6)
    with pytest.raises(gg.GraphgradError, match="X has no samples"):
        standardize(np.empty((0, 2)))


def test_a_label_that_is_no_number_is_told_and_no_sample_is_lost() -> None:
    with pytest.raises(gg.GraphgradError, match="Y is NaN at 3"):
        split(np.arange(8), np.array([0, 1, 0, np.nan, 1, 0, 1, np.nan]), test=0.5, stratify=True)


def test_others_have_the_columns_of_X() -> None:
    with pytest.raises(gg.GraphgradError, match=re.escape("others[0] has shape (2, 4)")):
        standardize(np.ones((5, 3)), np.ones((2, 4)))
