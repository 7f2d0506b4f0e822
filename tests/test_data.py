"""Data: parts of a table, batches, the digits."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.data import batches, load_digits_split, split, standardize

ROOT = Path(__file__).resolve().parent.parent


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
