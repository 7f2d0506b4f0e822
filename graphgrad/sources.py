"""Samples that lie elsewhere than in memory, in a file or behind an object of the user's own, and how they are read."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from graphgrad.errors import CallError
from graphgrad.evaluate import plain_array
from graphgrad.types import Array, is_masked, show

MOST = 1024  # rows that are asked for at once
NEAR = 1 << 14  # bytes; rows that lie closer together than this are read with what is between them

#: What an object raises that does not take an index. A GraphgradError is a ValueError.
REFUSALS = (TypeError, ValueError, LookupError, AttributeError, NotImplementedError, AssertionError)


class Source:
    """Rows of an object that has a `shape` and is read by slices, such as `h5py.Dataset`; never read as a whole.

    Rows in any order are asked for in increasing order, by an array of integers; if the object does not take one, by
    slices from then on. It is never asked for more than `MOST` rows at once.

    >>> class Squares:
    ...     shape, dtype = (1_000_000, 1), "int64"
    ...     def __getitem__(self, rows: slice) -> Array:
    ...         return np.arange(rows.start, rows.stop)[:, None] ** 2
    >>> Source("X", Squares(), (1_000_000, 1))[np.array([900_000, 3, 3])].tolist()
    [[810000000000], [9], [9]]
    """

    def __init__(self, name: str, value: Any, shape: tuple[int, ...]) -> None:
        self.name, self.shape, self._value = name, shape, value
        self._by_index = True  # until an array of integers is refused
        first = self._asked(slice(0, 1), min(shape[0], 1))
        self.dtype = _dtype(value) or first.dtype
        self._check_dtype(slice(0, 1), first)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Array) -> Array:
        """The rows of a slice, or with these indices, of the source's dtype."""
        return taken(self, rows, self.dtype)

    def read(self, rows: Array, out: Array) -> None:
        """Put the rows with these indices into an array, which may be of another dtype of the kind."""
        order = np.argsort(rows, kind="stable")
        for start in range(0, len(order), MOST):
            places = order[start : start + MOST]
            wanted, which = np.unique(rows[places], return_inverse=True)
            out[places] = unwrapped(self.name, self._rows(wanted), out.dtype)[which]

    def parts(self) -> Iterator[Array]:
        """All rows, some at a time."""
        for start in range(0, len(self), MOST):
            yield self[start : start + MOST]

    def _rows(self, wanted: Array) -> Array:
        """Rows whose indices increase, no more than are asked for at once."""
        if wanted[-1] - wanted[0] < len(wanted):
            return self._checked(slice(int(wanted[0]), int(wanted[-1]) + 1))
        if self._by_index:
            try:
                return self._checked(wanted)
            except REFUSALS:
                self._by_index = False
        return np.concatenate([self._checked(run)[inside] for run, inside in _runs(wanted, self._together())])

    def _together(self) -> int:
        """The number of rows of which it is faster to read all than to ask for some of them."""
        row = self.dtype.itemsize * math.prod(self.shape[1:])
        return min(max(NEAR // max(row, 1), 1), MOST)

    def _checked(self, key: slice | Array) -> Array:
        part = self._asked(key, key.stop - key.start if isinstance(key, slice) else len(key))
        self._check_dtype(key, part)
        return part

    def _asked(self, key: slice | Array, count: int) -> Array:
        """What the object gives for a key, as an array of so many rows."""
        got = self._value[key]
        if is_masked(got):
            raise CallError(f"{self._at(key)} is a masked array, whose mask would be lost")
        try:
            part = np.asarray(got)
        except ValueError:
            raise CallError(f"{self._at(key)} is no array: its rows have different lengths") from None
        if part.shape != (count, *self.shape[1:]):
            what = f"shape {show(part.shape)}" if part.ndim else f"type {type(got).__name__}"
            raise CallError(
                f"{self.name} has shape {show(self.shape)}, so {self._at(key)} has {show((count, *self.shape[1:]))}, "
                f"but it gave what has {what}"
            )
        return part

    def _check_dtype(self, key: slice | Array, part: Array) -> None:
        if not np.can_cast(part.dtype, self.dtype, "same_kind"):
            raise CallError(f"{self._at(key)} is {part.dtype.name}, but {self.name} is {self.dtype.name}")

    def _at(self, key: slice | Array) -> str:
        return f"{self.name}[{key.start}:{key.stop}]" if isinstance(key, slice) else f"{self.name}[array of integers]"


Samples: TypeAlias = Array | Source


def opened(name: str, value: Any) -> Samples:
    """Data as an array; as a Source what has a shape and is read by slices, but cannot be computed with.

    That one can compute with it, which `__add__` tells, is what sets an array in memory (of PyTorch, JAX, pandas)
    apart from one that lies in a file: both may have a shape, slices, and an `__array__` that reads all of it.
    Raises CallError for what has a mask, for what is no array, and for what has a shape, but cannot be read.
    """
    shape = _shape(value)
    if not shape or isinstance(value, (np.ndarray, memoryview)) or hasattr(type(value), "__add__"):
        return plain_array(name, value)
    try:
        return Source(name, value, shape)
    except REFUSALS as error:
        if hasattr(type(value), "__array__"):
            return plain_array(name, value)
        told = str(error) if isinstance(error, CallError) else f"{name}[0:1] raises {type(error).__name__}: {error}"
        raise CallError(f"{told}; what has a shape and is no array is read by slices of rows") from None


def in_memory(data: Samples) -> Array:
    """The data as one array; all rows of a Source are read."""
    return data[:] if isinstance(data, Source) else data


def parts(data: Samples) -> Iterator[Array]:
    """Data that is in memory as it is, that of a Source some rows at a time."""
    return data.parts() if isinstance(data, Source) else iter([data])


def taken(data: Samples, rows: slice | Array | None, dtype: str | np.dtype[Any]) -> Array:
    """The rows of a slice, with these indices, or all, in a dtype."""
    if isinstance(data, Source):
        rows = slice(None) if rows is None else rows
        rows = np.arange(*rows.indices(len(data))) if isinstance(rows, slice) else rows
        found = np.empty((len(rows), *data.shape[1:]), dtype)
        data.read(rows, found)
        return found
    found = data if rows is None else data[rows]
    return found if found.dtype == dtype else unwrapped("a sample", found, dtype).astype(dtype)


def unwrapped(name: str, array: Array, dtype: str | np.dtype[Any]) -> Array:
    """The array. Raises CallError where it holds a uint64 that would become another number in int64."""
    unsigned = array.dtype.kind == "u" and array.dtype.itemsize == 8
    if unsigned and dtype == "int64" and array.size and (largest := array.max()) > np.iinfo(np.int64).max:
        raise CallError(f"{name} holds {largest}, which is too large for int64")
    return array


def _shape(value: Any) -> tuple[int, ...]:
    """The shape of what has one and can be indexed, else ()."""
    if not hasattr(type(value), "__getitem__"):
        return ()
    try:
        return tuple(map(operator.index, getattr(value, "shape", ())))
    except TypeError:  # a shape of another meaning, or with unknown sizes
        return ()


def _dtype(value: Any) -> np.dtype[Any] | None:
    """The dtype that an object says it has, if it is one of NumPy's."""
    told = getattr(value, "dtype", None)
    try:
        return None if told is None else np.dtype(told)
    except TypeError:
        return None


def _runs(wanted: Array, together: int) -> Iterator[tuple[slice, Array]]:
    """Slices that hold increasing rows, with the places of these in each: rows that adjoin, or that lie close."""
    ends = np.append(np.flatnonzero(np.diff(wanted) > 1) + 1, len(wanted))
    start = 0
    while start < len(wanted):
        adjoining = ends[np.searchsorted(ends, start, "right")]
        stop = max(adjoining, np.searchsorted(wanted, wanted[start] + together))
        inside = wanted[start:stop] - wanted[start]
        yield slice(int(wanted[start]), int(wanted[stop - 1]) + 1), inside
        start = int(stop)
