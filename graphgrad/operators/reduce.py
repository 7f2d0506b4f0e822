"""Reductions over axes, and the positions of extremes."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad.errors import GraphgradError, ShapeError
from graphgrad.operators.choice import abs, equal, maximum, not_equal, sign, where
from graphgrad.operators.elementwise import cast, power, sqrt, square
from graphgrad.operators.rows import Inferred, Node, axes_of, axis_of, operator
from graphgrad.operators.running import products_of_others
from graphgrad.operators.shape import broadcast_to, reshape, size
from graphgrad.types import FLOATS, Dim, Shape, as_float, count, np_dtype, show


def kept(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """The shape with reduced axes as 1."""
    return tuple(1 if i in axes else d for i, d in enumerate(shape))


def reduced(shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Shape:
    return kept(shape, axes) if keepdims else tuple(d for i, d in enumerate(shape) if i not in axes)


def upright(g: Any, x: Any, axis: tuple[int, ...]) -> Any:
    """A reduced value with its lost axes as 1, so that it broadcasts against what was reduced."""
    shape = kept(x.shape, axis)
    return g if g.shape in ((), shape) else reshape(g, shape)


def spread(g: Any, x: Any, axis: tuple[int, ...]) -> Any:
    """A reduced value broadcast back over the axes that it was reduced by."""
    return broadcast_to(reshape(g, kept(x.shape, axis)), x.shape)


def floats(x: Any) -> Any:
    """Integers and bools as float64."""
    return x if x.dtype in FLOATS else cast(x, "float64")


def float_array(x: Any) -> Any:
    """The same of arrays."""
    array = np.asarray(x)
    return array if array.dtype.kind in "fc" else array.astype(np.float64)


# ---------------------------------------------------------------------------------------------------------------------
# Sum and mean
# ---------------------------------------------------------------------------------------------------------------------


def _sum_numpy(s: Any) -> str:
    """One axis of a matrix or vector of floats as a product with ones, which BLAS does in a third of the time."""
    axis, keepdims, shape = s.attributes["axis"], s.attributes["keepdims"], s.shapes[0]
    one = len(axis) == 1 and len(shape) in (1, 2) and not (keepdims and len(shape) == 1)
    line = len(axis) == len(shape) > 1 and not keepdims and len([d for d in shape if d != 1]) == 1  # a row, or a column
    if not ((one or line) and s.plain[0] and s.dtype in FLOATS and s.dtypes[0] == s.dtype):
        return "np.add.reduce({x}, axis={axis}, keepdims={keepdims}, out={out})"
    if line:
        ones = s.once("ones", f"np.ones(({count(shape)},), np.{s.dtype})")
        return f"np.dot({{x}}.reshape(-1), {ones}, {{out}})"
    (axis,) = axis
    length = shape[axis]
    form = f"({length},)" if not keepdims else f"(1, {length})" if axis == 0 else f"({length}, 1)"
    ones = s.once("ones", f"np.ones({form}, np.{s.dtype})")
    left = len(shape) == 2 and axis == 0
    return f"np.dot({ones}, {{x}}, {{out}})" if left else f"np.dot({{x}}, {ones}, {{out}})"


@operator(
    reference=lambda x, axis, keepdims: np.sum(x, axis=axis, keepdims=keepdims),
    pullback=lambda g, x, y, axis, keepdims: spread(g, x, axis),
    kind="linear",
    numpy=_sum_numpy,
    scalar="+{x:100}",
    text="sum({x:0}, {axis})",
    latex=r"\textstyle\sum_{{{axis}}} {x}",
    binding=12,
    analytic=True,
)
def sum(x: Node, axis: Any = None, keepdims: bool = False) -> Inferred:
    """The sum over `axis` (None: over all), as numpy.sum. Bools are counted as integers."""
    axes = axes_of("sum", x, axis)
    dtype = "int64" if x.dtype == "bool" else x.dtype
    return Inferred(reduced(x.shape, axes, keepdims), dtype, {"axis": axes, "keepdims": bool(keepdims)})


@operator(
    reference=lambda x, axis, keepdims: np.mean(x, axis=axis, keepdims=keepdims),
    pullback=lambda g, x, y, axis, keepdims: spread(g / size(x, axis), x, axis),
    definition=lambda x, axis, keepdims: sum(x, axis, keepdims) / size(x, axis),
    kind="linear",
    text="mean({x:0}, {axis})",
    latex=r"\operatorname{{mean}}({x:0})",
    analytic=True,
)
def mean(x: Node, axis: Any = None, keepdims: bool = False) -> Inferred:
    """The mean over `axis` (None: over all), as numpy.mean."""
    axes = axes_of("mean", x, axis)
    return Inferred(reduced(x.shape, axes, keepdims), as_float(x.dtype), {"axis": axes, "keepdims": bool(keepdims)})


# ---------------------------------------------------------------------------------------------------------------------
# Extremes
# ---------------------------------------------------------------------------------------------------------------------


def not_empty(name: str, x: Node, axes: tuple[int, ...]) -> None:
    """What has no value for no numbers. Raises ShapeError where there are none; named sizes are checked at the call."""
    for a in axes:
        if x.shape[a] == 0:
            raise ShapeError(f"{name} of shape {show(x.shape)} over axis {a}: {name} of no numbers has no value")


def one_at_least(node: Node, x: Node) -> list[tuple[Dim, int, str]]:
    """The same at the call."""
    axis = node["axis"]
    axes = axis if isinstance(axis, tuple) else tuple(range(len(x.shape))) if axis is None else (axis,)
    whose = f"{node.operator.name} of shape {show(x.shape)}"
    return [(d, 1, whose) for a in axes if isinstance(d := x.shape[a], Dim)]


def _equal_shares(g: Any, x: Any, y: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Those that are the extreme one share g equally: 1/n each where there are n of them."""
    extreme = cast(equal(x, upright(y, x, axis)), g.dtype)
    return extreme * (upright(g, x, axis) / sum(extreme, axis, keepdims=True))


NARROW = 32  # columns; up to there NumPy goes over a transposed copy faster than along each row


def _extreme_numpy(function: str) -> Any:
    """Along the rows of a narrow matrix NumPy takes many short loops: over its transpose it takes a few long ones."""

    def spelling(s: Any) -> Any:
        shape, axes = s.shapes[0], s.attributes["axis"]
        if len(shape) != 2 or len(axes) != 1:
            return f"{function}({{x}}, axis={{axis}}, keepdims={{keepdims}}, out={{out}})"
        rows, columns = shape
        flat = "{out}"
        if s.attributes["keepdims"]:
            flat = s.once(f"{s.out}_flat", f"{s.out}.reshape({shape[1 - axes[0]]})")
        if axes == (0,) and rows == 2:  # of two: as a function of both, in two thirds of the time
            return f"{function.removesuffix('.reduce')}({{x}}[0], {{x}}[1], out={flat})"
        if axes == (0,) or not (isinstance(columns, int) and columns <= NARROW):
            return f"{function}({{x}}, axis={axes[0]}, out={flat})"
        turned = s.once("turned", f"np.empty(({columns}, {rows}), np.{np_dtype(s.dtype)})")
        return f"{turned}[...] = {{x}}.T", f"{function}({turned}, axis=0, out={flat})"

    return spelling


@operator(
    reference=lambda x, axis, keepdims: np.max(x, axis=axis, keepdims=keepdims),
    pullback=_equal_shares,
    numpy=_extreme_numpy("np.maximum.reduce"),
    scalar="{x:0}",
    text="max({x:0}, {axis})",
    latex=r"\textstyle\max_{{{axis}}} {x}",
    binding=12,
    requires=one_at_least,
)
def max(x: Node, axis: Any = None, keepdims: bool = False) -> Inferred:
    """The largest element over `axis` (None: of all), as numpy.max. Several share the derivative equally."""
    axes = axes_of("max", x, axis)
    not_empty("max", x, axes)
    return Inferred(reduced(x.shape, axes, keepdims), x.dtype, {"axis": axes, "keepdims": bool(keepdims)})


@operator(
    reference=lambda x, axis, keepdims: np.min(x, axis=axis, keepdims=keepdims),
    pullback=_equal_shares,
    numpy=_extreme_numpy("np.minimum.reduce"),
    scalar="{x:0}",
    text="min({x:0}, {axis})",
    latex=r"\textstyle\min_{{{axis}}} {x}",
    binding=12,
    requires=one_at_least,
)
def min(x: Node, axis: Any = None, keepdims: bool = False) -> Inferred:
    """The smallest element over `axis` (None: of all), as numpy.min. Several share the derivative equally."""
    axes = axes_of("min", x, axis)
    not_empty("min", x, axes)
    return Inferred(reduced(x.shape, axes, keepdims), x.dtype, {"axis": axes, "keepdims": bool(keepdims)})


def _position(name: str, x: Node, axis: Any, keepdims: bool) -> Inferred:
    at = axis if axis is None else axis_of(name, x, axis)
    axes = tuple(range(len(x.shape))) if at is None else (at,)
    not_empty(name, x, axes)
    return Inferred(reduced(x.shape, axes, keepdims), "int64", {"axis": at, "keepdims": bool(keepdims)})


@operator(
    reference=lambda x, axis, keepdims: np.argmax(x, axis=axis, keepdims=keepdims),
    numpy="np.argmax({x}, axis={axis}, keepdims={keepdims}, out={out})",
    text="argmax({x:0}, {axis})",
    latex=r"\operatorname{{argmax}}({x:0})",
    requires=one_at_least,
)
def argmax(x: Node, axis: Any = None, keepdims: bool = False) -> Inferred:
    """The index of the largest element along one axis (None: of all in row-major order), as numpy.argmax; of several,
    the first. It has no derivative."""
    return _position("argmax", x, axis, keepdims)


@operator(
    reference=lambda x, axis, keepdims: np.argmin(x, axis=axis, keepdims=keepdims),
    numpy="np.argmin({x}, axis={axis}, keepdims={keepdims}, out={out})",
    text="argmin({x:0}, {axis})",
    latex=r"\operatorname{{argmin}}({x:0})",
    requires=one_at_least,
)
def argmin(x: Node, axis: Any = None, keepdims: bool = False) -> Inferred:
    """The index of the smallest element along one axis (None: of all in row-major order), as numpy.argmin; of several,
    the first. It has no derivative."""
    return _position("argmin", x, axis, keepdims)


# ---------------------------------------------------------------------------------------------------------------------
# Spread and length
# ---------------------------------------------------------------------------------------------------------------------


def freedom(x: Any, axis: tuple[int, ...], ddof: float) -> Any:
    """The number that a variance divides by: never below 0, as in NumPy."""
    return maximum(size(x, axis) - ddof, 0) if ddof else size(x, axis)


def _var(x: Any, axis: Any, ddof: float, keepdims: bool) -> Any:
    x = float_array(x)
    squares = np.square(x - np.mean(x, axis=axis, keepdims=True))
    n = int(np.prod([np.shape(x)[a] for a in axis], dtype=np.int64))
    return np.sum(squares, axis=axis, keepdims=keepdims) / np.maximum(n - ddof, 0).astype(squares.real.dtype)


@operator(
    reference=_var,
    pullback=lambda g, x, y, axis, ddof, keepdims: (
        upright(2 * g / freedom(x, axis, ddof), x, axis) * (x - mean(x, axis, keepdims=True))
    ),
    definition=lambda x, axis, ddof, keepdims: (
        sum(square(x - mean(x, axis, keepdims=True)), axis, keepdims) / freedom(x, axis, ddof)
    ),
    text="var({x:0}, {axis})",
    latex=r"\operatorname{{var}}({x:0})",
    analytic=True,
)
def var(x: Node, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Inferred:
    """The variance over `axis` (None: over all), as numpy.var: squared deviations from the mean, over n - `ddof`."""
    axes = axes_of("var", x, axis)
    if isinstance(ddof, bool) or not isinstance(ddof, (int, float, np.integer, np.floating)):
        raise GraphgradError(f"var: ddof is a number, but {ddof!r} was given")
    attributes = {"axis": axes, "ddof": int(ddof) if ddof == int(ddof) else float(ddof), "keepdims": bool(keepdims)}
    return Inferred(reduced(x.shape, axes, keepdims), as_float(x.dtype), attributes)


def _norm(x: Any, ord: float, axis: Any, keepdims: bool) -> Any:
    a = np.abs(float_array(x))
    if np.isinf(ord):
        return (np.max if ord > 0 else np.min)(a, axis=axis, keepdims=keepdims)
    if ord == 0:
        return np.sum(a != 0, axis=axis, keepdims=keepdims).astype(a.dtype)
    return np.sum(a**ord, axis=axis, keepdims=keepdims) ** (1 / ord)


def _norm_definition(x: Any, ord: float, axis: tuple[int, ...], keepdims: bool) -> Any:
    x = floats(x)
    if np.isinf(ord):
        return (max if ord > 0 else min)(abs(x), axis, keepdims)
    if ord == 0:
        return sum(cast(not_equal(x, 0), x.dtype), axis, keepdims)
    if ord == 1:
        return sum(abs(x), axis, keepdims)
    if ord == 2:
        return sqrt(sum(square(x), axis, keepdims))
    return power(sum(power(abs(x), ord), axis, keepdims), 1 / ord)


def _norm_rule(g: Any, x: Any, y: Any, ord: float, axis: tuple[int, ...], keepdims: bool) -> Any:
    """x / |x| for the Euclidean norm, in general sign(x) (|x| / norm)^(p-1); 0 where the norm is 0.

    A ratio is not raised where it is 0: for p < 2 that is a pole, of the rule or of its derivative.
    """
    if ord == 0:
        return upright(g, x, axis) * 0
    if ord == 1:
        return upright(g, x, axis) * sign(x)
    zero = equal(y, 0)
    if ord == 2:
        return upright(where(zero, 0.0, g / where(zero, 1.0, y)), x, axis) * x
    if np.isinf(ord):
        return _equal_shares(g, abs(x), y, axis, keepdims) * sign(x)
    ratio = abs(x) / upright(where(zero, 1.0, y), x, axis)
    safe = power(where(equal(x, 0), 1.0, ratio), ord - 1)
    return upright(where(zero, 0.0, g), x, axis) * (sign(x) * safe)


@operator(
    reference=_norm,
    pullback=_norm_rule,
    definition=_norm_definition,
    text="norm({x:0}, {ord}, {axis})",
    latex=r"\left\|{x:0}\right\|_{{{ord}}}",
    requires=lambda node, x: one_at_least(node, x) if np.isinf(node["ord"]) else [],
)
def norm(x: Node, ord: float = 2, axis: Any = None, keepdims: bool = False) -> Inferred:
    """The length of a vector: (Σ |x|^ord)^(1/ord) over `axis` (None: over all elements, whatever the rank).

    `ord` is 2 (the Euclidean norm), 1, inf and -inf (the largest and the smallest |x|), 0 (the number of elements that
    are not 0) or any other number. Norms of matrices (numpy.linalg.norm of two axes) are not among them. The
    derivative where the norm is 0 is 0.
    """
    if isinstance(ord, bool) or not isinstance(ord, (int, float, np.integer, np.floating)) or ord != ord:
        raise GraphgradError(f"norm: ord is a number, inf or -inf, but {ord!r} was given")
    axes = axes_of("norm", x, axis)
    if np.isinf(ord):
        not_empty("norm", x, axes)
    attributes = {"ord": float(ord), "axis": axes, "keepdims": bool(keepdims)}
    return Inferred(reduced(x.shape, axes, keepdims), as_float(x.dtype), attributes)


# ---------------------------------------------------------------------------------------------------------------------
# Product
# ---------------------------------------------------------------------------------------------------------------------


@operator(
    reference=lambda x, axis, keepdims: np.prod(x, axis=axis, keepdims=keepdims),
    pullback=lambda g, x, y, axis, keepdims: upright(g, x, axis) * products_of_others(x, axis) if axis else g,
    numpy="np.multiply.reduce({x}, axis={axis}, keepdims={keepdims}, out={out})",
    text="prod({x:0}, {axis})",
    latex=r"\textstyle\prod_{{{axis}}} {x}",
    binding=20,
    analytic=True,
)
def prod(x: Node, axis: Any = None, keepdims: bool = False) -> Inferred:
    """The product over `axis` (None: over all), as numpy.prod. Its derivative is right where elements are 0, too."""
    axes = axes_of("prod", x, axis)
    dtype = "int64" if x.dtype == "bool" else x.dtype
    return Inferred(reduced(x.shape, axes, keepdims), dtype, {"axis": axes, "keepdims": bool(keepdims)})


__all__ = ["argmax", "argmin", "max", "mean", "min", "norm", "prod", "sum", "var"]
