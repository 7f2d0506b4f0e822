"""Shape operators: views, joining and picking. None of them computes; each pullback is its adjoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphgrad.errors import GraphgradError, ShapeError
from graphgrad.graph import Graph
from graphgrad.operator import OPERATORS, SYNTAX
from graphgrad.operators.rows import Inferred, Node, Tensor, axes_of, axis_of, operator
from graphgrad.types import Dim, Shape, broadcast, count, dimension, divide_exactly, show


class Telling:
    """`with Telling(x):` errors raised inside tell the line that asked, as those of a node's insertion do."""

    def __init__(self, x: Tensor) -> None:
        self.graph = x.graph

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, GraphgradError) and error.line is None:
            raise error.at(self.graph._line()) from None


def _dims(shape: Any, free: bool = False) -> tuple[Any, ...]:
    """A shape as a tuple of dimensions; with `free`, one that is left to be found may stand in it as -1."""
    given = tuple(shape) if isinstance(shape, (tuple, list, np.ndarray)) else (shape,)
    return tuple(-1 if free and isinstance(d, (int, np.integer)) and d == -1 else dimension(d) for d in given)


def _reshape_rule(g: Any, x: Any, y: Any, shape: Shape) -> Any:
    return reshape(g, x.shape)


@operator(
    reference=lambda x, shape: np.reshape(x, shape),
    pullback=_reshape_rule,
    kind="view",
    numpy="{x}.reshape({shape})",
    latex=r"\operatorname{{reshape}}({x:0}, {shape})",
    analytic=True,
)
def reshape(x: Node, shape: Shape) -> Inferred:
    """The same elements in row-major order under another shape. One dimension may be -1: it takes what is left.

    `shape` holds ints and dimensions such as "N" or "2*N".
    """
    wanted, total = _dims(shape, free=True), count(x.shape)
    if wanted.count(-1) > 1:
        raise ShapeError(f"reshape to {show(wanted)}: only one dimension can be -1")
    if -1 in wanted:
        known = count(tuple(d for d in wanted if d != -1))
        rest = divide_exactly(total, known)
        if rest is None:
            raise ShapeError(
                f"reshape of {show(x.shape)} to {show(wanted)}: "
                f"{total} elements cannot be divided by {known} without a rest"
            )
        wanted = tuple(rest if d == -1 else d for d in wanted)
    if count(wanted) != total:
        raise ShapeError(f"reshape of {show(x.shape)} to {show(wanted)}: {total} elements are not {count(wanted)}")
    return Inferred(wanted, x.dtype, {"shape": wanted})


def _transpose_rule(g: Any, x: Any, y: Any, axes: tuple[int, ...]) -> Any:
    return transpose(g, tuple(int(i) for i in np.argsort(axes)))


def _transposed(call: Any) -> str:
    """Of a matrix the attribute T, which takes a third of the method's time: an input's view is made at each call."""
    return "{x}.T" if call.attributes["axes"] == (1, 0) else "{x}.transpose({axes})"


@operator(
    reference=lambda x, axes: np.transpose(x, axes),
    pullback=_transpose_rule,
    kind="view",
    numpy=_transposed,
    text="{x:>}ᵀ",
    latex="{x:>}^\\top",
    binding=90,
    analytic=True,
)
def transpose(x: Node, axes: Sequence[int] | None = None) -> Inferred:
    """The axes in another order; without `axes`, reversed."""
    rank = len(x.shape)
    given = (axes,) if isinstance(axes, int) else axes
    order = tuple(reversed(range(rank))) if given is None else tuple(axis_of("transpose", x, a) for a in given)
    if sorted(order) != list(range(rank)):
        raise ShapeError(f"transpose of {show(x.shape)} by axes {axes!r}: each of its {rank} axes is wanted once")
    return Inferred(tuple(x.shape[a] for a in order), x.dtype, {"axes": order})


def _broadcast_rule(g: Any, x: Any, y: Any, shape: Shape) -> Any:
    return sum_to(g, x.shape)


@operator(
    reference=lambda x, shape: np.broadcast_to(x, shape),
    pullback=_broadcast_rule,
    kind="view",
    numpy="np.broadcast_to({x}, {shape})",
    latex=r"\operatorname{{broadcast}}({x:0}, {shape})",
    analytic=True,
)
def broadcast_to(x: Node, shape: Shape) -> Inferred:
    """x repeated along new and unit dimensions until it has `shape`."""
    wanted = _dims(shape)
    if broadcast(x.shape, wanted) != wanted:
        raise ShapeError(
            f"broadcast_to of {show(x.shape)} to {show(wanted)}: dimensions fit where they are equal or 1 becomes more"
        )
    return Inferred(wanted, x.dtype, {"shape": wanted})


def _sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    extra = np.ndim(x) - len(shape)
    axes = tuple(range(extra)) + tuple(i + extra for i, d in enumerate(shape) if d == 1 and np.shape(x)[i + extra] != 1)
    return np.reshape(np.sum(x, axis=axes), shape)


def sum_to_axes(x: Shape, shape: Shape) -> tuple[int, ...]:
    """The axes that undoing a broadcast sums over."""
    extra = len(x) - len(shape)
    return tuple(range(extra)) + tuple(i + extra for i, d in enumerate(shape) if d == 1 and x[i + extra] != 1)


@operator(
    reference=_sum_to,
    pullback=lambda g, x, y, shape: broadcast_to(g, x.shape),
    definition=lambda x, shape: reshape(OPERATORS["sum"](x, axis=sum_to_axes(x.shape, shape)), shape),
    kind="linear",
    text="sum({x:0}, {lost})",
    latex=r"\textstyle\sum_{{{lost}}} {x}",
    binding=12,
    analytic=True,
)
def sum_to(x: Node, shape: Shape) -> Inferred:
    """The sum over the axes along which `shape` was broadcast to x's: the adjoint of broadcast_to."""
    wanted = _dims(shape)
    if broadcast(x.shape, wanted) != x.shape:
        raise ShapeError(
            f"sum_to of {show(x.shape)} to {show(wanted)}: {show(wanted)} does not broadcast to {show(x.shape)}"
        )
    return Inferred(wanted, "int64" if x.dtype == "bool" else x.dtype, {"shape": wanted})


def expand_dims(x: Tensor, axis: int | Sequence[int]) -> Tensor:
    """x with a new axis of length 1 at `axis` of the result (or several), as numpy.expand_dims."""
    with Telling(x):
        given = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
        new = [axis_of("expand_dims", x.node, a, room=len(given)) for a in given]
        if len(set(new)) < len(new):
            raise ShapeError(f"expand_dims: axis {axis!r} names an axis of the result twice")
        old = iter(x.shape)
        return reshape(x, tuple(1 if i in new else next(old) for i in range(len(x.shape) + len(new))))


def squeeze(x: Tensor, axis: int | Sequence[int] | None = None) -> Tensor:
    """x without its axes of length 1, or without those in `axis`, as numpy.squeeze. A named size is no 1."""
    with Telling(x):
        axes = [i for i, d in enumerate(x.shape) if d == 1] if axis is None else axes_of("squeeze", x.node, axis)
        for a in axes:
            if x.shape[a] != 1:
                raise ShapeError(
                    f"squeeze of shape {show(x.shape)}: axis {a} is {x.shape[a]}, and only axes of length 1 can go"
                )
        return reshape(x, tuple(d for i, d in enumerate(x.shape) if i not in axes)) if axes else x


def swapaxes(x: Tensor, axis1: int, axis2: int) -> Tensor:
    """x with two axes exchanged, as numpy.swapaxes."""
    with Telling(x):
        order = list(range(len(x.shape)))
        a, b = axis_of("swapaxes", x.node, axis1), axis_of("swapaxes", x.node, axis2)
        order[a], order[b] = b, a
        return transpose(x, tuple(order))


@operator(
    reference=lambda dim: np.int64(dim), kind="size", name="dimension_size", text="{dim}", latex="{dim}", numpy="{dim}"
)
def dimension_size(dim: Any) -> Inferred:
    """A dimension as a value: rank 0, int64. `gg.size` makes it."""
    return Inferred((), "int64", {"dim": dim}, weak=True)


def size(x: Tensor, axis: int | Sequence[int] | None = None) -> Tensor:
    """The number of elements of x, or its extent along an axis (or several), as a value: rank 0, int64.

    >>> import graphgrad as gg
    >>> x = gg.Graph().input("x", ("N", 3))
    >>> gg.size(x), gg.size(x, axis=1)
    (<v1: dimension_size () int64>, <3: constant () int64>)
    """
    with Telling(x):
        extent = count(tuple(x.shape[a] for a in axes_of("size", x.node, axis)))
    return x.graph.constant(extent) if isinstance(extent, int) else extent_of(x.graph, extent)


def extent_of(graph: Graph, dim: Dim) -> Tensor:
    return graph.insert(dimension_size, (), {"dim": dim})


SYNTAX["T"] = transpose

__all__ = [
    "broadcast_to",
    "dimension_size",
    "expand_dims",
    "reshape",
    "size",
    "squeeze",
    "sum_to",
    "swapaxes",
    "transpose",
]
