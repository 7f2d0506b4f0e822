"""Data: tables from files, parting them into training and test samples, batches, and the demonstration's digits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from graphgrad.errors import GraphgradError
from graphgrad.evaluate import plain_array
from graphgrad.table import Table, read_table
from graphgrad.types import Array, show, whole


class Split(NamedTuple):
    """Samples to train on and samples to test with."""

    X: Array
    Y: Array
    X_test: Array
    Y_test: Array


def split(X: Array, Y: Array, test: float = 0.2, seed: int = 0, stratify: bool = False) -> Split:
    """Part samples at random: a fraction `test` of them is set aside. With `stratify`, of each label in Y alike.

    >>> import numpy as np
    >>> parts = split(np.arange(10), np.arange(10) % 2, test=0.4, stratify=True)
    >>> len(parts.X), sorted(parts.Y_test.tolist())
    (6, [0, 0, 1, 1])
    """
    X, Y = _samples("X", X), _samples("Y", Y)
    if len(X) != len(Y):
        raise GraphgradError(f"X has {len(X)} samples, but Y has {len(Y)}")
    if not isinstance(test, (float, np.floating)) or not 0 < test < 1:
        raise GraphgradError(f"test is the fraction of samples to set aside, between 0 and 1, but {test!r} was given")
    labels = _labels(Y) if stratify else None
    trained, tested = split_rows(len(X), test, np.random.default_rng(whole("seed", seed, 0)), labels)
    if not len(tested) or not len(trained):
        raise GraphgradError(f"{len(X)} samples cannot be split with test={test}: one side would be empty")
    return Split(X[trained], Y[trained], X[tested], Y[tested])


def _samples(name: str, value: Any) -> Array:
    array = plain_array(name, value)
    if not array.ndim:
        raise GraphgradError(f"{name} is an array of samples, but {array.item()!r} was given")
    return array


def _labels(Y: Array) -> Array:
    """One label for each sample. Raises GraphgradError for others, and for what cannot be sorted."""
    if Y.size != len(Y):
        raise GraphgradError(
            f"stratify=True wants one label for each sample, but Y has shape {show(Y.shape)}; "
            "Y.argmax(axis=1) would make labels of columns"
        )
    labels = Y.reshape(len(Y))
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise GraphgradError(f"Y is NaN at {int(np.isnan(labels).argmax())}, which is the label of no sample")
    try:
        np.unique(labels)
    except TypeError:
        kinds = ", ".join(sorted({type(label).__name__ for label in labels}))
        raise GraphgradError(f"stratify=True wants labels of one kind, text or numbers, but Y holds {kinds}") from None
    return labels


def set_aside(
    X: Array, part: float, seed: int, labels: Array | None = None, weights: Array | None = None, least: int = 1
) -> Array:
    """Which rows of X to set aside, by about `part` of their weight: at random, but by what is in them.

    So equal rows stay on one side, a row of weight 2 counts as two of them, and the order of rows does not matter. With
    labels it is about that part of each label. `least` different rows are set aside in any case.

    >>> X = np.array([[1.0], [2.0], [2.0], [3.0], [4.0], [5.0]])
    >>> set_aside(X, 0.4, seed=0).tolist()
    [True, False, False, False, True, False]
    """
    key, weights = int(seed).to_bytes(8, "little"), np.ones(len(X)) if weights is None else weights
    drawn = np.array([blake2b(row, digest_size=8, key=key).hexdigest() for row in np.ascontiguousarray(X)])
    _, which = np.unique(drawn, return_inverse=True)  # equal rows are one, and in an order that is drawn
    aside = np.zeros(len(X), bool)
    for group in [np.arange(len(X))] if labels is None else [np.flatnonzero(labels == c) for c in np.unique(labels)]:
        own = np.bincount(which[group], weights[group])
        aside[group] = (np.cumsum(own) - own / 2 <= part * own.sum())[which[group]]
    return aside if len(np.unique(which[aside])) >= least else which < least


def split_rows(
    samples: int, part: float, generator: np.random.Generator, labels: Array | None = None
) -> tuple[Array, Array]:
    """The indices of samples to keep and of a fraction to set aside, of each label alike where there are any.

    Of each label at least one sample is kept.
    """
    groups = (
        [np.arange(samples)] if labels is None else [np.flatnonzero(label == labels) for label in np.unique(labels)]
    )
    shuffled = [generator.permutation(group) for group in groups]
    aside: Sequence[int] = [round(part * len(group)) for group in groups]
    used_up = any(n == len(group) for n, group in zip(aside, groups, strict=True))
    if labels is not None and (used_up or sum(aside) != round(part * samples)):
        aside = _shares(np.array([len(group) for group in groups]), part, generator)
    tested = np.sort(np.concatenate([group[:n] for group, n in zip(shuffled, aside, strict=True)]))
    trained = np.sort(np.concatenate([group[n:] for group, n in zip(shuffled, aside, strict=True)]))
    return trained, tested


def _shares(sizes: Array, part: float, generator: np.random.Generator) -> Sequence[int]:
    """How many of each group to set aside, `part` of all together: by largest remainder, equal ones at random.

    No group is used up: what one cannot give is shared among the others by their sizes.
    """
    limit, quota, full = sizes - 1, part * sizes, np.zeros(len(sizes), bool)
    total = min(round(part * sizes.sum()), limit.sum())
    while (over := ~full & (quota > limit)).any():
        full |= over
        quota[full] = limit[full]
        rest = sizes[~full]
        quota[~full] = rest * (total - limit[full].sum()) / max(rest.sum(), 1)
    aside = np.floor(quota).astype(int)
    order = np.lexsort((generator.permutation(len(sizes)), aside - quota, aside == limit))
    aside[order[: total - aside.sum()]] += 1
    return list(aside)


def standardize(X: Array, *others: Array) -> tuple[Array, ...]:
    """X and others, less the mean of X's columns and divided by their standard deviation.

    A column that is constant in X loses that constant and is divided by 1. All is computed in float64; what is
    float32 stays so.
    """
    X = _numbers("X", _samples("X", X))
    parts = [X, *[_numbers(f"others[{i}]", part) for i, part in enumerate(others)]]
    if not len(X):
        raise GraphgradError("standardize: X has no samples, so no mean")
    for i, part in enumerate(parts[1:]):
        if part.shape[1:] != X.shape[1:]:
            raise GraphgradError(
                f"others[{i}] has shape {show(part.shape)}, whose columns are not those of X {show(X.shape)}"
            )
    wide = np.result_type(X.dtype, np.float64)
    own = X.dtype if X.dtype.kind in "fc" else wide
    constant = np.max(X, axis=0) == np.min(X, axis=0)  # of equal numbers, mean and deviation may differ by rounding
    mean = np.where(constant, X[0], np.mean(X, axis=0, dtype=wide))
    deviation = np.where(constant, 1, np.std(X, axis=0, dtype=wide))
    return tuple(((part - mean) / deviation).astype(np.result_type(part, own), copy=False) for part in parts)


def _numbers(name: str, value: Any) -> Array:
    array = plain_array(name, value)
    if array.dtype.kind not in "biufc":
        raise GraphgradError(f"{name} is {array.dtype.name}; floats or integers are wanted")
    return array


def batches(samples: int, size: int, generator: np.random.Generator) -> Iterator[Array]:
    """A random partition of {0, ..., samples - 1} into batches of indices, the last one smaller where it must be."""
    samples, size = whole("samples", samples, 0), whole("size", size, 1)
    order = generator.permutation(samples)
    return (order[start : start + size] for start in range(0, samples, size))


def load_digits_split(seed: int = 0, test: float = 0.2) -> Split:
    """The digits that scikit-learn ships: 1,797 images of 8 x 8 as rows of 64 numbers from 0 to 1, and labels.

    As large a part of each digit is set aside. Raises GraphgradError without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise GraphgradError(
            "the digits come with scikit-learn, which is not installed: pip install 'graphgrad[demo]'"
        ) from None
    digits = load_digits()
    return split(digits.data / 16.0, digits.target.astype(np.int64), test, seed, stratify=True)


__all__ = ["Split", "Table", "batches", "load_digits_split", "read_table", "split", "standardize"]
