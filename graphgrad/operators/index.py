"""Picking by integers: take, and an index for each element. Adjoints add up where indices repeat."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad.errors import CallError, DTypeError, ShapeError
from graphgrad.graph import Graph
from graphgrad.operators.choice import equal
from graphgrad.operators.elementwise import cast
from graphgrad.operators.rows import Inferred, Node, Tensor, axis_of, operator
from graphgrad.operators.shape import expand_dims, extent_of, reshape
from graphgrad.types import Dimension, Shape, broadcast, count, dimension, dtype_name, np_dtype, show

_OUTSIDE = "indices from {} to {} into an axis that is {} long"


def check_indices(indices: Any, extent: int, negative: bool = True) -> Any:
    """Indices counted from the start. Raises CallError for one outside of the axis."""
    i = np.asarray(indices)
    if i.size and not (-extent if negative else 0) <= i.min() <= i.max() < extent:
        raise CallError(_OUTSIDE.format(i.min(), i.max(), extent))
    return np.where(i < 0, i + extent, i)


def _outside(s: Any, name: str, operand: str, limit: str) -> str:
    """The check as a statement. Seen as unsigned, a negative number is a huge one: one maximum finds both ends."""
    words = _OUTSIDE.format(f"{{{{{{{operand}}}.min()}}}}", f"{{{{{{{operand}}}.max()}}}}", "{{{extent}}}")
    # The methods argmax and item take half the time that one call of np.maximum.reduce takes.
    unsigned = s.once("uint64", "np.dtype(np.uint64)")
    largest = f"{{{name}}}.item({{{name}}}.view({unsigned}).argmax())"
    return f'if {{{name}}}.size and not 0 <= {largest} < {limit}: raise IndexError(f"{words}")'


@operator(
    reference=check_indices,
    pullback=(None,),
    numpy=lambda s: (
        "np.add({indices}, {extent}, out={out})",
        _outside(s, "out", "indices", "2 * ({extent})"),
        "np.remainder({out}, {extent}, out={out})",
    ),
    refuses=True,
    name="checked_index",
)
def checked_index(indices: Node, extent: Any) -> Inferred:
    """Indices into an axis, counted from the start: -1 is the last. An error for one outside."""
    return Inferred(indices.shape, "int64", {"extent": extent}, weak=False)


@operator(
    reference=lambda labels, extent: check_indices(labels, extent, False),
    pullback=(None,),
    kind="view",
    numpy=lambda s: (_outside(s, "labels", "labels", "{extent}"), "{labels}"),
    refuses=True,
    name="checked_label",
)
def checked_label(labels: Node, extent: Any) -> Inferred:
    """Labels 0 ... extent - 1 as they are; an error for one outside."""
    return Inferred(labels.shape, "int64", {"extent": extent}, weak=False)


def check_index_dtype(name: str, indices: Node) -> None:
    if indices.dtype == "bool":
        raise DTypeError(
            f"{name} by a mask of bools: how many it picks only the call knows; gg.where(mask, x, 0) keeps the shape"
        )
    if indices.dtype != "int64":
        raise DTypeError(f"{name} by indices of dtype {indices.dtype}: int64 is wanted; gg.cast(i, 'int64') makes it")


def check_known_indices(name: str, indices: Node, extent: Dimension) -> None:
    """Indices that are constants are checked where they are written."""
    if indices.operator.name == "constant" and isinstance(extent, int):
        try:
            check_indices(indices["value"].array, extent)
        except CallError as error:
            raise ShapeError(f"{name}: {error}") from None


def inside(indices: Any, extent: Dimension) -> Any:
    """Indices as an array that is known to lie inside of an axis, counted from its start."""
    return checked_index(cast(indices, "int64") if indices.node.weak else indices, extent)


def _picked(x: Shape, indices: Shape, axis: int) -> Shape:
    return (*x[:axis], *indices, *x[axis + 1 :])


def _gather_rule(g: Any, x: Any, i: Any, y: Any, axis: int) -> Any:
    return scatter(g, i, x.shape, axis)


@operator(
    reference=lambda x, indices, axis: np.take(x, indices, axis=axis),
    pullback=(_gather_rule, None),
    kind="linear",
    # The method takes a quarter of np.take's time for few indices. The mode "raise" would buffer the whole result.
    numpy="{x}.take({indices}, {axis}, {out}, 'clip')",
    analytic=True,
)
def gather(x: Node, indices: Node, axis: int) -> Inferred:
    """`take` by indices that are known to be inside."""
    return Inferred(_picked(x.shape, indices.shape, axis), x.dtype, {"axis": axis}, weak=False)


def _scatter(x: Any, indices: Any, shape: tuple[int, ...], axis: int) -> Any:
    out = np.zeros(shape, np.asarray(x).dtype)
    np.add.at(out, (slice(None),) * axis + (indices,), x)
    return out


def _scattered(s: Any) -> tuple[str, str]:
    axis = s.attributes["axis"]
    where = "(" + "slice(None), " * axis + "{indices})" if axis else "{indices}"
    return "{out}.fill(0)", f"np.add.at({{out}}, {where}, {{x}})"


@operator(
    reference=_scatter,
    pullback=(lambda g, x, i, y, shape, axis: gather(g, i, axis), None),
    kind="linear",
    numpy=_scattered,
    analytic=True,
)
def scatter(x: Node, indices: Node, shape: Shape, axis: int) -> Inferred:
    """`scatter_add` by indices that are known to be inside."""
    return Inferred(tuple(shape), x.dtype, {"shape": tuple(shape), "axis": axis}, weak=False)


def _take_rule(g: Any, x: Any, i: Any, y: Any, axis: int) -> Any:
    return scatter_add(g, i, x.shape, axis)


@operator(
    reference=lambda x, indices, axis: np.take(x, check_indices(indices, x.shape[axis]), axis=axis),
    pullback=(_take_rule, None),
    definition=lambda x, i, axis: gather(x, inside(i, x.shape[axis]), axis),
    kind="linear",
    text="{x:100}[{indices:0}]",
    latex="{x:>}_{{{indices:0}}}",
    analytic=True,
)
def take(x: Node, indices: Node, axis: int = 0) -> Inferred:
    """The elements of x at integer indices along an axis, as numpy.take; its axis is replaced by the axes of `indices`.

    Negative indices count from the end. An index outside is an error of the call.
    """
    check_index_dtype("take", indices)
    if not x.shape:
        raise ShapeError("take of a number: it has no axis to take from")
    at = axis_of("take", x, axis)
    check_known_indices(f"take of shape {show(x.shape)} along axis {at}", indices, x.shape[at])
    return Inferred(_picked(x.shape, indices.shape, at), x.dtype, {"axis": at}, weak=False)


@operator(
    reference=lambda x, indices, shape, axis: _scatter(x, check_indices(indices, shape[axis]), shape, axis),
    pullback=(lambda g, x, i, y, shape, axis: take(g, i, axis), None),
    definition=lambda x, i, shape, axis: scatter(x, inside(i, shape[axis]), shape, axis),
    kind="linear",
    analytic=True,
)
def scatter_add(x: Node, indices: Node, shape: Shape, axis: int = 0) -> Inferred:
    """Zeros of a shape, to which the elements of x are added at integer indices along an axis: the adjoint of take.

    What falls on one index adds up.
    """
    check_index_dtype("scatter_add", indices)
    whole = tuple(dimension(d) for d in shape)
    if not isinstance(axis, int) or not -len(whole) <= axis < len(whole):
        raise ShapeError(
            f"scatter_add: axis {axis!r} of shape {show(whole)}; axes run from {-len(whole)} to {len(whole) - 1}"
        )
    at = axis % len(whole)
    if x.shape != (wanted := _picked(whole, indices.shape, at)):
        raise ShapeError(
            f"scatter_add of shape {show(x.shape)} by indices {show(indices.shape)} into {show(whole)} along axis {at}"
            f": {show(wanted)} would fit"
        )
    check_known_indices(f"scatter_add into shape {show(whole)} along axis {at}", indices, whole[at])
    return Inferred(whole, x.dtype, {"shape": whole, "axis": at}, weak=False)


def _along(name: str, x: Shape, indices: Shape, axis: Any) -> tuple[int, Shape]:
    """The axis, not negative, and the result's shape."""
    rank = len(x)
    if len(indices) != rank or not rank:
        raise ShapeError(
            f"{name} of shape {show(x)} by indices {show(indices)}: both have the same number of axes, one at least"
        )
    if not isinstance(axis, int) or not -rank <= axis < rank:
        raise ShapeError(f"{name}: axis {axis!r} of shape {show(x)}; axes run from {-rank} to {rank - 1}")
    at = axis % rank
    shape = broadcast((*x[:at], 1, *x[at + 1 :]), (*indices[:at], 1, *indices[at + 1 :]))
    if shape is None:
        raise ShapeError(
            f"{name} of shape {show(x)} by indices {show(indices)} along axis {at}: the other dimensions do not fit"
        )
    return at, (*shape[:at], indices[at], *shape[at + 1 :])


def pick_along(x: Any, indices: Any, axis: int) -> Any:
    """`take_along_axis` by indices that are known to be inside."""
    return gather(reshape(x, (-1,)), _positions(indices, x.shape, axis), 0)


def pick_label(x: Any, labels: Any) -> Any:
    """From each row along the last axis the element that a label names. Labels are known to be inside."""
    return gather(reshape(x, (-1,)), label_places(labels, x.shape[-1]) if labels.shape else labels, 0)


def label_places(labels: Any, columns: Dimension) -> Any:
    """Where in a matrix as a vector each row has the element that a label names."""
    rows = arange_in(labels.graph, count(labels.shape))
    return scaled(rows if len(labels.shape) == 1 else reshape(rows, labels.shape), columns) + labels


def _positions(indices: Any, shape: Shape, axis: int) -> Any:
    """Where the picked elements lie in the flat vector: the sum over the axes of index times stride."""
    graph: Graph = indices.graph
    offsets: Any = None
    for k, extent in enumerate(shape):
        if k != axis and extent != 1:
            along = reshape(arange_in(graph, extent), tuple(extent if k == j else 1 for j in range(len(shape))))
            along = scaled(along, count(shape[k + 1 :]))
            offsets = along if offsets is None else offsets + along
    picked = scaled(indices, count(shape[axis + 1 :]))
    return picked if offsets is None else offsets + picked


def scaled(x: Any, factor: Dimension) -> Any:
    return x if factor == 1 else x * as_value(x.graph, factor)


def as_value(graph: Graph, value: Dimension) -> Tensor:
    return graph.constant(value) if isinstance(value, int) else extent_of(graph, value)


def _grid(indices: Any, shape: tuple[int, ...], axis: int) -> tuple[Any, ...]:
    """The index arrays by which NumPy reads along an axis."""
    spread = [np.arange(d).reshape([-1 if k == j else 1 for j in range(len(shape))]) for k, d in enumerate(shape)]
    spread[axis] = check_indices(indices, shape[axis])
    return tuple(spread)


def _scatter_along(x: Any, indices: Any, shape: tuple[int, ...], axis: int) -> Any:
    out = np.zeros(shape, np.asarray(x).dtype)
    np.add.at(out, _grid(indices, shape, axis), x)
    return out


def _take_along_axis_rule(g: Any, x: Any, i: Any, y: Any, axis: int) -> Any:
    return scatter_add_along_axis(g, i, x.shape, axis)


@operator(
    reference=lambda x, indices, axis: x[_grid(indices, x.shape, axis)],
    pullback=(_take_along_axis_rule, None),
    definition=lambda x, i, axis: pick_along(x, inside(i, x.shape[axis]), axis),
    kind="linear",
    analytic=True,
)
def take_along_axis(x: Node, indices: Node, axis: int = -1) -> Inferred:
    """One index for each element of the result: y[i, j] = x[i, indices[i, j]] for axis 1, as numpy.take_along_axis."""
    check_index_dtype("take_along_axis", indices)
    at, shape = _along("take_along_axis", x.shape, indices.shape, axis)
    check_known_indices(f"take_along_axis of shape {show(x.shape)} along axis {at}", indices, x.shape[at])
    return Inferred(shape, x.dtype, {"axis": at})


@operator(
    reference=_scatter_along,
    pullback=(lambda g, x, i, y, shape, axis: take_along_axis(g, i, axis), None),
    definition=lambda x, i, shape, axis: reshape(
        scatter(reshape(x, (-1,)), reshape(_positions(inside(i, shape[axis]), shape, axis), (-1,)), (count(shape),), 0),
        shape,
    ),
    kind="linear",
    analytic=True,
)
def scatter_add_along_axis(x: Node, indices: Node, shape: Shape, axis: int = -1) -> Inferred:
    """Zeros of a shape, to which each element of x is added at its own index: the adjoint of take_along_axis."""
    check_index_dtype("scatter_add_along_axis", indices)
    whole = tuple(dimension(d) for d in shape)
    at, wanted = _along("scatter_add_along_axis", whole, indices.shape, axis)
    if x.shape != wanted:
        raise ShapeError(
            f"scatter_add_along_axis of shape {show(x.shape)} by indices {show(indices.shape)} into {show(whole)}: "
            f"{show(wanted)} would fit"
        )
    return Inferred(whole, x.dtype, {"shape": whole, "axis": at})


@operator(reference=lambda extent: np.arange(extent), numpy="{out}[...] = np.arange({extent})")
def arange(extent: Any) -> Inferred:
    """0, 1, ..., extent - 1, where the extent is a named size."""
    return Inferred((extent,), "int64", {"extent": extent})


def arange_in(graph: Graph, extent: Dimension) -> Tensor:
    """0, 1, ..., extent - 1 as a tensor of a graph."""
    return (
        graph.constant(np.arange(extent)) if isinstance(extent, int) else graph.insert(arange, (), {"extent": extent})
    )


def _one_hot(labels: Any, classes: int, dtype: str) -> Any:
    return (check_indices(labels, classes, False)[..., None] == np.arange(classes)).astype(dtype)


FEW = 512  # classes; up to there rows of a unit matrix are picked, which takes less time than to fill in the ones


def _unit_rows_definition(labels: Any, classes: Dimension, dtype: str, axis: int) -> Any:
    numbers = arange_in(labels.graph, classes)
    if axis < len(labels.shape):
        numbers = expand_dims(numbers, -1)
    return cast(equal(expand_dims(labels, axis), numbers), dtype)


def _unit_rows_numpy(s: Any) -> Any:
    classes, axis = s.attributes["classes"], s.attributes["axis"]
    if isinstance(classes, int) and classes <= FEW:
        unit = s.once("unit", f"np.eye({classes}, dtype=np.{np_dtype(s.dtype)})")
        return f"{unit}.take({{labels}}, {0 if axis else 1}, {{out}}, 'clip')"
    number = count(s.shapes[0])
    rows = s.once("rows", f"np.arange({number})")
    long = number if not axis else classes
    step = str(long) if isinstance(long, int) or str(long).isidentifier() else f"({long})"
    places = f"{{labels}} * {step} + {rows}" if not axis else f"{rows} * {step} + {{labels}}.reshape(-1)"
    flat = s.once(f"{s.out}_flat", f"{s.out}.reshape(-1)")
    return "{out}.fill(0)", f"{flat}[{places}] = 1"


@operator(
    reference=lambda labels, classes, dtype, axis: np.moveaxis(np.eye(classes, dtype=dtype)[labels], -1, axis),
    pullback=(None,),
    definition=_unit_rows_definition,
    numpy=_unit_rows_numpy,
    text="one_hot({labels:0})",
)
def unit_rows(labels: Node, classes: Any, dtype: str, axis: int) -> Inferred:
    """`one_hot` of labels that are known to be inside. Classes go along the last axis; of a matrix along any."""
    shape = (classes, *labels.shape) if axis == 0 and labels.shape else (*labels.shape, classes)
    return Inferred(shape, dtype, {"classes": classes, "dtype": dtype, "axis": axis}, weak=False)


def _take_off(x: Any, places: Any, amount: Any) -> Any:
    out = np.array(x, order="C")
    out.reshape(-1)[places] -= amount
    return out


def _take_off_numpy(s: Any) -> Any:
    flat = s.once(f"{s.out}_flat", f"{s.out}.reshape(-1)")
    index = f"{flat}[{{places}}] -= {{amount}}"
    return index if s.over else ("{out}[...] = {x}", index)


@operator(
    reference=_take_off,
    pullback=(None, None, None),
    over=True,
    numpy=_take_off_numpy,
    text="{x:10}, less {amount:20} at {places:0}",
)
def take_off(x: Node, places: Node, amount: Node) -> Inferred:
    """x without a number at places of it as a vector, each of which is named once."""
    return Inferred(x.shape, x.dtype)


@operator(
    reference=_one_hot,
    pullback=(None,),
    definition=lambda labels, classes, dtype: unit_rows(
        checked_label(labels, classes), classes, dtype, len(labels.shape)
    ),
    text="one_hot({labels:0})",
    latex=r"\operatorname{{onehot}}({labels:0})",
)
def one_hot(labels: Node, classes: int, dtype: str = "float64") -> Inferred:
    """Labels 0 ... classes - 1 as unit vectors along a new last axis. A label outside is an error of the call."""
    check_index_dtype("one_hot", labels)
    extent = dimension(classes)
    return Inferred(
        (*labels.shape, extent), dtype_name(dtype), {"classes": extent, "dtype": dtype_name(dtype)}, weak=False
    )


__all__ = ["one_hot", "scatter_add", "scatter_add_along_axis", "take", "take_along_axis"]
