"""Products of matrices and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad.errors import DTypeError, ShapeError
from graphgrad.operators.rows import Inferred, Node, operator
from graphgrad.operators.shape import reshape, transpose
from graphgrad.types import broadcast, promote, show


def swap(x: Any) -> Any:
    """The last two axes exchanged."""
    return transpose(x, (*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2))


def _left(g: Any, x: Any, y: Any, z: Any) -> Any:
    """x̄ = z̄ yᵀ; a vector takes part as a row on the left and as a column on the right."""
    if len(x.shape) == 1 and len(y.shape) == 1:
        return g * y
    if len(y.shape) == 1:
        return reshape(g, (*g.shape, 1)) * y
    if len(x.shape) == 1:
        return y @ g if len(y.shape) == 2 else reshape(y @ reshape(g, (*g.shape, 1)), y.shape[:-1])
    return g @ swap(y)


def _right(g: Any, x: Any, y: Any, z: Any) -> Any:
    """ȳ = xᵀ z̄, likewise."""
    if len(x.shape) == 1 and len(y.shape) == 1:
        return g * x
    if len(x.shape) == 1:
        return reshape(x, (*x.shape, 1)) * reshape(g, (*g.shape[:-1], 1, g.shape[-1]))
    if len(y.shape) == 1:
        column = swap(x) @ reshape(g, (*g.shape, 1))
        return reshape(column, column.shape[:-1])
    return swap(x) @ g


@operator(
    reference=np.matmul,
    pullback=(_left, _right),
    kind="multilinear",
    numpy=lambda s: "np.dot({x}, {y}, out={out})" if max(s.ranks) <= 2 else "np.matmul({x}, {y}, out={out})",
    text="{x} @ {y:>}",
    latex="{x} {y:>}",
    binding=20,
    analytic=True,
)
def matmul(x: Node, y: Node) -> Inferred:
    """The matrix product, as numpy.matmul: batches broadcast, a vector is a row on the left and a column on the right."""
    a, b = x.shape, y.shape
    if not a or not b:
        raise ShapeError(f"matmul of shapes {show(a)} and {show(b)}: a number has no rows; x * y multiplies by it")
    inner, other = a[-1], b[-2] if len(b) > 1 else b[0]
    if inner != other:
        raise ShapeError(
            f"matmul of shapes {show(a)} and {show(b)}: the inner dimensions are {inner} and {other}; "
            f"a right side of shape {show((*b[:-2], inner, b[-1]) if len(b) > 1 else (inner,))} would fit"
        )
    batch = broadcast(a[:-2], b[:-2])
    if batch is None:
        raise ShapeError(f"matmul of shapes {show(a)} and {show(b)}: the batches {show(a[:-2])} and {show(b[:-2])} do not broadcast")
    dtype = promote([(x.dtype, x.weak), (y.dtype, y.weak)])[0]
    if dtype == "bool":
        raise DTypeError("matmul of bools: numbers are wanted; gg.cast(x, 'float64') makes them")
    return Inferred((*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ())), dtype)


__all__ = ["matmul"]
