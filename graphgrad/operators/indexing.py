"""`x[...]` in full: slices and integers are views, arrays of integers pick."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad.errors import DTypeError, ShapeError
from graphgrad.operator import SYNTAX
from graphgrad.operators.index import as_value, check_index_dtype, check_known_indices, gather, inside, scaled, take
from graphgrad.operators.rows import Tensor
from graphgrad.operators.shape import Telling, reshape, transpose
from graphgrad.operators.slices import canonical, flip, slice_, stops_of
from graphgrad.types import Dim, Dimension, Shape, broadcast, count, show


def getitem(x: Tensor, key: Any) -> Tensor:
    """x[key] as NumPy reads it: integers, slices, None, `...`, and integer tensors, arrays or lists, which broadcast.

    Raises ShapeError for an integer outside of a known dimension; bounds within a named size are checked at the call.
    """
    with Telling(x):
        entries = _entries(x, key)
        picks = any(isinstance(e, Tensor) for e in entries)
        sliced, axis = x, 0
        shape: list[Dimension] = []
        arrays: dict[int, Any] = {}
        ranges: list[tuple[Dimension, Dimension, int]] = []
        backwards: list[int] = []
        parted = False  # an ellipsis that covers no axis stands between the arrays: NumPy takes them for apart
        after = False
        for e in entries:
            if e is Ellipsis:
                after = bool(arrays)
                continue
            if e is None:
                shape.append(1)
                continue
            extent = x.shape[axis]
            if isinstance(e, slice):
                start, number, step, back = canonical(e, axis, x.shape)
                backwards += [axis] * back
                shape.append(number)
            elif picks:
                start, number, step = 0, extent, 1
                parted |= after
                arrays[len(shape)] = e if isinstance(e, Tensor) else _within(e, axis, x.shape)
                shape.append(extent)
            else:
                start, number, step = _within(e, axis, x.shape), 1, 1
            ranges.append((start, number, step))
            axis += 1
        starts, numbers, steps = (tuple(column) for column in zip(*ranges, strict=True)) if ranges else ((), (), ())
        if numbers != x.shape:
            sliced = slice_(x, starts, stops_of(numbers, starts, steps), steps)
        if backwards:
            sliced = flip(sliced, tuple(backwards))
        if tuple(shape) != numbers:
            sliced = reshape(sliced, tuple(shape))
        return _pick(sliced, arrays, parted) if arrays else sliced


def _entries(x: Tensor, key: Any) -> list[Any]:
    """One entry for each axis of x, beside any None: slices, integers, and tensors of integers. An ellipsis stays if it
    covers no axis."""
    given = [_entry(x, e) for e in (key if isinstance(key, tuple) else (key,))]
    taken = sum(e is not None and e is not Ellipsis for e in given)
    if taken > len(x.shape):
        raise ShapeError(f"{x.name} of shape {show(x.shape)} has {len(x.shape)} axes, but {taken} indices were given")
    dots = [i for i, e in enumerate(given) if e is Ellipsis]
    if len(dots) > 1:
        raise ShapeError(f"{x.name}[...]: an index has one ellipsis, but {len(dots)} were given")
    at = dots[0] if dots else len(given)
    covered = [slice(None)] * (len(x.shape) - taken)
    return [*given[:at], *(covered or given[at : at + 1]), *given[at + 1 :]]


def _entry(x: Tensor, e: Any) -> Any:
    if e is None or e is Ellipsis or isinstance(e, (slice, Dim)):
        return e
    if isinstance(e, Tensor):
        check_index_dtype(f"{x.name}[...]", e.node)
        return e
    if isinstance(e, (int, np.integer, list, np.ndarray)) and not isinstance(e, (bool, np.bool_)):
        try:
            array = np.asarray(e, np.int64) if isinstance(e, list) and not np.size(e) else np.asarray(e)
        except ValueError:
            raise ShapeError(f"{x.name}[...] by a list whose rows have different lengths: it is no array") from None
        if array.dtype.kind in "iu":
            return x.graph.constant(array) if array.ndim else int(array)
        e = array
    kind = e.dtype.name if isinstance(e, np.ndarray) else type(e).__name__
    if kind == "bool":
        raise DTypeError(
            f"{x.name}[...] by a mask of bools: how many it picks only the call knows; "
            f"gg.where(mask, {x.name}, 0) keeps the shape"
        )
    raise DTypeError(f"{x.name}[...] takes integers, slices, None, ... and arrays of integers, but {kind} was given")


def _within(index: Dimension, axis: int, shape: Shape) -> Dimension:
    """An integer index, counted from the start."""
    extent = shape[axis]
    if isinstance(extent, int) and isinstance(index, int) and not -extent <= index < extent:
        runs = f"indices run from {-extent} to {extent - 1}" if extent else "it has no elements"
        raise ShapeError(f"index {index} of axis {axis} of shape {show(shape)}: {runs}")
    return extent + index if isinstance(index, int) and index < 0 else index


def _pick(x: Tensor, arrays: dict[int, Any], parted: bool) -> Tensor:
    """The elements of x at index arrays along some axes (an integer stands among them as an array of rank 0).

    Several axes become one: their index is the sum of index times stride. Where they are neighbours the result's new
    axes stand in their place, else in front: NumPy's rule.
    """
    axes = tuple(arrays)
    if len(axes) == 1:
        return take(x, arrays[axes[0]], axis=axes[0])
    tensors = [i for i in arrays.values() if isinstance(i, Tensor)]
    if broadcast(*[i.shape for i in tensors]) is None:
        raise ShapeError(
            f"index arrays of shapes {' and '.join(show(i.shape) for i in tensors)} do not broadcast together"
        )
    shape = x.shape
    flat: Any = None
    offset: Dimension = 0
    for k, axis in enumerate(axes):
        stride = count(tuple(shape[a] for a in axes[k + 1 :]))
        index = arrays[axis]
        if isinstance(index, Tensor):
            check_known_indices(f"{x.name}[...] along axis {axis}", index.node, shape[axis])
            along = scaled(inside(index, shape[axis]), stride)
            flat = along if flat is None else flat + along
        else:
            offset = stride * index + offset
    if offset != 0:
        flat = flat + as_value(x.graph, offset)
    merged, rest = count(tuple(shape[a] for a in axes)), [a for a in range(len(shape)) if a not in axes]
    neighbours = axes[-1] - axes[0] == len(axes) - 1 and not parted
    first = axes[0] if neighbours else 0
    if not neighbours:
        x = transpose(x, (*axes, *rest))
    return gather(
        reshape(x, (*[shape[a] for a in rest[:first]], merged, *[shape[a] for a in rest[first:]])), flat, first
    )


SYNTAX["getitem"] = getitem
