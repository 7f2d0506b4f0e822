"""Products of matrices and tensors, diagonals and triangles."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad.errors import DTypeError, GraphgradError, ShapeError
from graphgrad.operators.choice import greater_equal, less_equal, where
from graphgrad.operators.index import arange_in
from graphgrad.operators.reduce import sum
from graphgrad.operators.rows import Inferred, Node, axis_of, operator
from graphgrad.operators.shape import Telling, reshape, transpose
from graphgrad.tensor import Operand, Tensor
from graphgrad.types import Dim, Dimension, Shape, broadcast, count, promote, show

# ---------------------------------------------------------------------------------------------------------------------
# The matrix product
# ---------------------------------------------------------------------------------------------------------------------


def swap(x: Any) -> Any:
    """The last two axes exchanged; of such an exchange, what it was made of, so that Wᵀᵀ reads W."""
    node = x.node
    rank = len(node.shape)
    axes = (1, 0) if rank == 2 else (*range(rank - 2), rank - 1, rank - 2)
    attributes = (("axes", axes),)
    if node.operator is transpose and node.attributes == attributes:
        return x.graph.tensor(node.inputs[0])
    shape = (*node.shape[:-2], *node.shape[:-3:-1])
    return x.graph.place(transpose, (x.id,), attributes, shape, node.dtype)


def rows(x: Any) -> Any:
    """All axes but the last made one: a stack of matrices as one tall matrix, for one product instead of many."""
    return x if len(x.shape) == 2 else reshape(x, (count(x.shape[:-1]), x.shape[-1]))


def columns(x: Any) -> Any:
    """All axes but the last but one made one: a stack of matrices side by side."""
    if len(x.shape) == 2:
        return x
    rank = len(x.shape)
    front = transpose(x, (rank - 2, *range(rank - 2), rank - 1))
    return reshape(front, (x.shape[-2], count((*x.shape[:-2], x.shape[-1]))))


def _left(g: Any, x: Any, y: Any, z: Any) -> Any:
    """x̄ = z̄ yᵀ; a vector takes part as a row on the left and as a column on the right."""
    if len(y.shape) == 1:
        return (g if not g.shape else reshape(g, (*g.shape, 1))) * y
    if len(x.shape) == 1:
        return columns(y) @ reshape(g, (count(g.shape),)) if len(y.shape) > 2 else y @ g
    if len(x.shape) == 2 and len(y.shape) > 2:
        return columns(g) @ swap(columns(y))
    return g @ swap(y)


def _right(g: Any, x: Any, y: Any, z: Any) -> Any:
    """ȳ = xᵀ z̄, likewise."""
    if len(x.shape) == 1:
        return g * x if len(y.shape) == 1 else reshape(x, (*x.shape, 1)) * reshape(g, (*g.shape[:-1], 1, g.shape[-1]))
    if len(y.shape) == 1:
        return swap(rows(x)) @ reshape(g, (count(g.shape),)) if len(x.shape) > 2 else swap(x) @ g
    if len(y.shape) == 2 and len(x.shape) > 2:
        return swap(rows(x)) @ rows(g)
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
    """The matrix product, as numpy.matmul: batches broadcast; a vector is a row on the left, a column on the right."""
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
        batches = f"the batches {show(a[:-2])} and {show(b[:-2])} do not broadcast"
        raise ShapeError(f"matmul of shapes {show(a)} and {show(b)}: {batches}")
    dtype = promote([(x.dtype, x.weak), (y.dtype, y.weak)])[0]
    if dtype == "bool":
        raise DTypeError("matmul of bools: numbers are wanted; gg.cast(x, 'float64') makes them")
    return Inferred((*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ())), dtype)


def as_tensors(name: str, *operands: Operand) -> list[Tensor]:
    """Operands of any kind as tensors of the graph that one of them is of."""
    graph = next((x.graph for x in operands if isinstance(x, Tensor)), None)
    if graph is None:
        given = " and ".join(type(x).__name__ for x in operands)
        raise GraphgradError(f"{name} builds nodes of a graph, so one operand at least is a Tensor; {given} was given")
    return [x if isinstance(x, Tensor) else graph.constant(x) for x in operands]


def dot(x: Operand, y: Operand) -> Tensor:
    """The product of numbers, vectors and matrices, as numpy.dot."""
    a, b = as_tensors("dot", x, y)
    with Telling(a):
        if len(a.shape) > 2 or len(b.shape) > 2:
            raise ShapeError(
                f"dot of shapes {show(a.shape)} and {show(b.shape)}: at most 2 axes are taken; "
                "gg.matmul multiplies stacks, and gg.einsum('...ij,kjl->...ikl', x, y) is what numpy.dot does"
            )
        return a @ b if a.shape and b.shape else a * b


def outer(x: Operand, y: Operand) -> Tensor:
    """Each element of x times each of y, as numpy.outer: x_i · y_j. What has more axes is taken as a vector."""
    a, b = as_tensors("outer", x, y)
    column = reshape(a, (count(a.shape), 1)) if a.shape else a
    row = reshape(b, (1, count(b.shape))) if b.shape else b
    product = column * row
    return product if product.shape else reshape(product, (1, 1))


# ---------------------------------------------------------------------------------------------------------------------
# Diagonals and triangles
# ---------------------------------------------------------------------------------------------------------------------


def difference(a: Dimension, b: Dimension) -> Dimension:
    return a + b * -1


def diagonal_length(name: str, shape: Shape, high: Dimension, wide: Dimension, offset: int) -> Dimension:
    """The number of elements of a diagonal: the lesser of the rows and columns that are left, if it is known which."""
    down, across = (high, difference(wide, offset)) if offset >= 0 else (difference(high, -offset), wide)
    apart = difference(down, across)
    if not isinstance(apart, int):
        raise ShapeError(
            f"{name} of shape {show(shape)}: which of {high} rows and {wide} columns end first is not known "
            "before the call; equal dimensions would fit"
        )
    length = down if apart <= 0 else across
    return length if isinstance(length, Dim) or length > 0 else 0


def _integer(name: str, what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise GraphgradError(f"{name}: {what} is an integer, but {value!r} was given")
    return int(value)


def _two_axes(name: str, x: Node, axis1: Any, axis2: Any) -> tuple[int, int]:
    if len(x.shape) < 2:
        raise ShapeError(f"{name} of shape {show(x.shape)}: two axes at least are wanted")
    a, b = axis_of(name, x, axis1), axis_of(name, x, axis2)
    if a == b:
        raise ShapeError(f"{name} of shape {show(x.shape)}: axis1 and axis2 are both {a}")
    return a, b


def _spread_diagonal(g: Any, x: Any, y: Any, offset: int, axis1: int, axis2: int) -> Any:
    """The adjoint lies on the diagonal of zeros, whose last two axes then go where x has them."""
    spread = embed_diagonal(g, x.shape[axis1], x.shape[axis2], offset)
    rest = [i for i in range(len(x.shape)) if i not in (axis1, axis2)]
    order = [*rest, axis1, axis2]
    return spread if order == sorted(order) else transpose(spread, tuple(order.index(i) for i in range(len(order))))


def _in_bounds(node: Node, x: Node) -> list[tuple[Dim, int, str]]:
    """A named size is as large as the offset, at least."""
    length = node.shape[-1]
    least = -dict(length.terms).get((), 0) if isinstance(length, Dim) else 0
    whole = length + least
    if least <= 0 or not isinstance(whole, Dim):
        return []
    return [(whole, least, f"diagonal {node['offset']} of shape {show(x.shape)}")]


@operator(
    reference=lambda x, offset, axis1, axis2: np.diagonal(x, offset, axis1, axis2),
    pullback=_spread_diagonal,
    kind="view",
    numpy="{x}.diagonal({offset}, {axis1}, {axis2})",
    text="diagonal({x:0}, {offset}, {axis1}, {axis2})",
    latex=r"\operatorname{{diag}}({x:0})",
    requires=_in_bounds,
    analytic=True,
)
def diagonal(x: Node, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Inferred:
    """The elements x[i, i + offset] of the matrices along two axes, as a last axis, as numpy.diagonal."""
    a, b = _two_axes("diagonal", x, axis1, axis2)
    k = _integer("diagonal", "offset", offset)
    length = diagonal_length("diagonal", x.shape, x.shape[a], x.shape[b], k)
    rest = tuple(d for i, d in enumerate(x.shape) if i not in (a, b))
    return Inferred((*rest, length), x.dtype, {"offset": k, "axis1": a, "axis2": b})


def _embed_diagonal(x: Any, rows: int, columns: int, offset: int) -> Any:
    out = np.zeros((*np.shape(x)[:-1], rows, columns), np.asarray(x).dtype)
    i = np.arange(np.shape(x)[-1])
    out[..., i + max(-offset, 0), i + max(offset, 0)] = x
    return out


def _embed_diagonal_numpy(s: Any) -> tuple[str, str]:
    """In a matrix whose rows lie one after the other, the diagonal is every (columns + 1)-th element."""
    *batch, high, wide = s.shape
    offset = s.attributes["offset"]
    start = offset if offset >= 0 else wide * -offset
    stop = start + s.shapes[0][-1] * (wide + 1)
    flat = f".reshape({show((*batch, high * wide))})"
    return "{out}.fill(0)", f"{{out}}{flat}[..., {start}:{stop}:{wide + 1}] = {{x}}"


@operator(
    reference=_embed_diagonal,
    pullback=lambda g, x, y, rows, columns, offset: diagonal(g, offset, -2, -1),
    kind="linear",
    numpy=_embed_diagonal_numpy,
    latex=r"\operatorname{{diag}}({x:0})",
    analytic=True,
)
def embed_diagonal(x: Node, rows: Dimension, columns: Dimension, offset: int = 0) -> Inferred:
    """Zeros of shape (..., rows, columns) with the last axis of x on a diagonal: the adjoint of `diagonal`."""
    shape = (*x.shape[:-1], rows, columns)
    length = diagonal_length("embed_diagonal", shape, rows, columns, offset)
    if x.shape[-1] != length:
        found = f"that diagonal has {length} elements"
        raise ShapeError(f"embed_diagonal of shape {show(x.shape)} into {show(shape)}: {found}")
    return Inferred(shape, x.dtype, {"rows": rows, "columns": columns, "offset": offset})


@operator(
    reference=lambda x, offset, axis1, axis2: np.trace(x, offset, axis1, axis2),
    definition=lambda x, offset, axis1, axis2: sum(diagonal(x, offset, axis1, axis2), axis=-1),
    kind="linear",
    text="trace({x:0}, {offset}, {axis1}, {axis2})",
    latex=r"\operatorname{{tr}}({x:0})",
    analytic=True,
)
def trace(x: Node, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Inferred:
    """The sum of a diagonal of the matrices along two axes, as numpy.trace."""
    a, b = _two_axes("trace", x, axis1, axis2)
    k = _integer("trace", "offset", offset)
    diagonal_length("trace", x.shape, x.shape[a], x.shape[b], k)
    rest = tuple(d for i, d in enumerate(x.shape) if i not in (a, b))
    return Inferred(rest, "int64" if x.dtype == "bool" else x.dtype, {"offset": k, "axis1": a, "axis2": b})


def _triangle(compare: Any) -> Any:
    """The definition of a triangular part. What is compared depends on no data, so it is computed once a workspace."""

    def definition(x: Any, k: int) -> Any:
        i = reshape(arange_in(x.graph, x.shape[-2]), (x.shape[-2], 1))
        inside = compare(arange_in(x.graph, x.shape[-1]), i + k if k else i)
        return where(inside, x, x.dtype != "bool" and 0)

    return definition


def _tril_rule(g: Any, x: Any, y: Any, k: int) -> Any:
    return tril(g, k)


def _triu_rule(g: Any, x: Any, y: Any, k: int) -> Any:
    return triu(g, k)


def _of_matrices(name: str, x: Node, k: Any) -> Inferred:
    if len(x.shape) < 2:
        raise ShapeError(f"{name} of shape {show(x.shape)}: a matrix, or a stack of them, is wanted")
    return Inferred(x.shape, x.dtype, {"k": _integer(name, "k", k)})


@operator(
    reference=lambda x, k: np.tril(x, k),
    pullback=_tril_rule,
    definition=_triangle(less_equal),
    kind="linear",
    text="tril({x:0}, {k})",
    latex=r"\operatorname{{tril}}_{{{k}}} {x}",
    analytic=True,
)
def tril(x: Node, k: int = 0) -> Inferred:
    """The lower triangular part of the matrices in the last two axes, as numpy.tril: 0 above the k-th diagonal."""
    return _of_matrices("tril", x, k)


@operator(
    reference=lambda x, k: np.triu(x, k),
    pullback=_triu_rule,
    definition=_triangle(greater_equal),
    kind="linear",
    text="triu({x:0}, {k})",
    latex=r"\operatorname{{triu}}_{{{k}}} {x}",
    analytic=True,
)
def triu(x: Node, k: int = 0) -> Inferred:
    """The upper triangular part of the matrices in the last two axes, as numpy.triu: 0 below the k-th diagonal."""
    return _of_matrices("triu", x, k)


__all__ = ["diagonal", "dot", "matmul", "outer", "trace", "tril", "triu"]
