"""Reductions over axes, and the running sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad.operators.elementwise import cast, equal
from graphgrad.operators.rows import Inferred, Node, axes_of, operator
from graphgrad.operators.shape import broadcast_to, reshape, size
from graphgrad.types import Shape, as_float


def kept(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """The shape with reduced axes as 1."""
    return tuple(1 if i in axes else d for i, d in enumerate(shape))


def reduced(shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Shape:
    return kept(shape, axes) if keepdims else tuple(d for i, d in enumerate(shape) if i not in axes)


def spread(g: Any, x: Any, axis: tuple[int, ...]) -> Any:
    """A reduced value broadcast back over the axes that it was reduced by."""
    return broadcast_to(reshape(g, kept(x.shape, axis)), x.shape)


@operator(
    reference=lambda x, axis, keepdims: np.sum(x, axis=axis, keepdims=keepdims),
    pullback=lambda g, x, y, axis, keepdims: spread(g, x, axis),
    kind="linear",
    numpy="np.add.reduce({x}, axis={axis}, keepdims={keepdims}, out={out})",
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


def _extreme_rule(g: Any, x: Any, y: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Equal shares for all entries that are the extreme one."""
    hit = cast(equal(x, spread(y, x, axis)), g.dtype)
    return spread(g, x, axis) * (hit / spread(sum(hit, axis, keepdims), x, axis))


def _extreme_shape(name: str, x: Node, axis: Any, keepdims: bool) -> Inferred:
    axes = axes_of(name, x, axis)
    return Inferred(reduced(x.shape, axes, keepdims), x.dtype, {"axis": axes, "keepdims": bool(keepdims)})


@operator(
    reference=lambda x, axis, keepdims: np.max(x, axis=axis, keepdims=keepdims),
    pullback=_extreme_rule,
    numpy="np.maximum.reduce({x}, axis={axis}, keepdims={keepdims}, out={out})",
    latex=r"\max {x}",
    binding=12,
)
def max(x: Node, axis: Any = None, keepdims: bool = False) -> Inferred:
    """The largest entry along `axis` (None: of all), as numpy.max. Entries that tie share the derivative equally."""
    return _extreme_shape("max", x, axis, keepdims)


@operator(
    reference=lambda x, axis, keepdims: np.min(x, axis=axis, keepdims=keepdims),
    pullback=_extreme_rule,
    numpy="np.minimum.reduce({x}, axis={axis}, keepdims={keepdims}, out={out})",
    latex=r"\min {x}",
    binding=12,
)
def min(x: Node, axis: Any = None, keepdims: bool = False) -> Inferred:
    """The smallest entry along `axis` (None: of all), as numpy.min. Entries that tie share the derivative equally."""
    return _extreme_shape("min", x, axis, keepdims)


__all__ = ["max", "mean", "min", "sum"]
