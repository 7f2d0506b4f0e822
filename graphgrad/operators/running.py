"""Running sums, and the running products that the derivative of a product is made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad.errors import ShapeError
from graphgrad.operators.rows import Inferred, Node, axis_of, operator
from graphgrad.operators.shape import reshape, transpose
from graphgrad.operators.slices import flip
from graphgrad.types import count, show


def _reversed_cumsum(g: Any, x: Any, y: Any, axis: int | None) -> Any:
    """What is added into y_k and all that follow receives the sum of their adjoints."""
    at = 0 if axis is None else axis
    back = flip(cumsum(flip(g, at), at), at)
    return back if axis is not None else reshape(back, x.shape)


@operator(
    reference=lambda x, axis: np.cumsum(x, axis=axis),
    pullback=_reversed_cumsum,
    kind="linear",
    numpy=lambda s: (
        "np.cumsum({x}, axis=None, out={out})"
        if s.attributes["axis"] is None
        else "np.add.accumulate({x}, axis={axis}, out={out})"
    ),
    analytic=True,
)
def cumsum(x: Node, axis: int | None = None) -> Inferred:
    """The running sum along one axis (None: over all elements in row-major order), as numpy.cumsum."""
    at = axis if axis is None else axis_of("cumsum", x, axis)
    dtype = "int64" if x.dtype == "bool" else x.dtype
    return Inferred((count(x.shape),) if at is None else x.shape, dtype, {"axis": at}, weak=False)


# ---------------------------------------------------------------------------------------------------------------------
# Product. Its derivative needs the product of all others, x_1 ⋯ x_{i-1} x_{i+1} ⋯ x_n. Division finds it only where no
# x_i is 0, so it is computed as what stands before times what stands after; and the derivative of these running
# products is a linear recurrence, whose own derivative is two more of them: no order of derivative ever divides.
# ---------------------------------------------------------------------------------------------------------------------


def _products_before(x: Any, axis: int, reverse: bool) -> Any:
    lines = np.moveaxis(np.asarray(x), axis, 0)[:: -1 if reverse else 1]
    found = np.cumprod(np.concatenate([np.ones_like(lines[:1]), lines[:-1]]), axis=0)
    return np.moveaxis(found[:: -1 if reverse else 1], 0, axis)


def _products_before_numpy(s: Any) -> tuple[str, str]:
    before = ":, " * s.attributes["axis"]
    turned = f"[{before}::-1]" if s.attributes["reverse"] else ""
    return (
        f"{{out}}{turned}[{before}:1].fill(1)",
        f"np.multiply.accumulate({{x}}{turned}[{before}:-1], axis={{axis}}, out={{out}}{turned}[{before}1:])",
    )


def _products_before_rule(g: Any, x: Any, y: Any, axis: int, reverse: bool) -> Any:
    return y * linear_recurrence(x, g, axis, not reverse)


@operator(
    reference=_products_before,
    pullback=_products_before_rule,
    numpy=_products_before_numpy,
    text="products_before({x:0}, {axis}, {reverse})",
    latex=r"\textstyle\prod_{{j<i}} {x}",
    binding=12,
    analytic=True,
)
def products_before(x: Node, axis: int, reverse: bool = False) -> Inferred:
    """y_i = x_1 ⋯ x_{i-1} along an axis; with `reverse`, x_{i+1} ⋯ x_n. An empty product is 1."""
    return Inferred(x.shape, x.dtype, {"axis": axis_of("products_before", x, axis), "reverse": bool(reverse)})


def _linear_recurrence(factors: Any, terms: Any, axis: int, reverse: bool) -> Any:
    a, b = (np.moveaxis(np.asarray(v), axis, 0)[:: -1 if reverse else 1] for v in (factors, terms))
    found = np.zeros(a.shape, np.result_type(a, b))
    for k in range(1, len(a)):
        found[k] = a[k - 1] * found[k - 1] + b[k - 1]
    return np.moveaxis(found[:: -1 if reverse else 1], 0, axis)


def _factors_rule(g: Any, a: Any, b: Any, r: Any, axis: int, reverse: bool) -> Any:
    return r * linear_recurrence(a, g, axis, not reverse)


def _terms_rule(g: Any, a: Any, b: Any, r: Any, axis: int, reverse: bool) -> Any:
    """r_i passes its adjoint on by factors_i, so the adjoints are the same recurrence from the other end."""
    return linear_recurrence(a, g, axis, not reverse)


@operator(
    reference=_linear_recurrence,
    pullback=(_factors_rule, _terms_rule),
    numpy="recurrence({factors}, {terms}, axis={axis}, reverse={reverse}, out={out})",
    text="linear_recurrence({factors:0}, {terms:0}, {axis}, {reverse})",
    analytic=True,
)
def linear_recurrence(factors: Node, terms: Node, axis: int, reverse: bool = False) -> Inferred:
    """r_1 = 0, r_{i+1} = factors_i · r_i + terms_i along an axis; with `reverse`, from its end."""
    if factors.shape != terms.shape or factors.dtype != terms.dtype:
        raise ShapeError(f"linear_recurrence of {show(factors.shape)} and {show(terms.shape)}: they are to be alike")
    attributes = {"axis": axis_of("linear_recurrence", factors, axis), "reverse": bool(reverse)}
    return Inferred(factors.shape, factors.dtype, attributes)


def products_of_others(x: Any, axis: tuple[int, ...]) -> Any:
    """The product of all other elements over the axes, for each element. Several axes are made one."""
    if len(axis) == 1:
        return products_before(x, axis[0]) * products_before(x, axis[0], reverse=True)
    rest = tuple(i for i in range(len(x.shape)) if i not in axis)
    order = (*rest, *axis)
    moved = x if order == tuple(range(len(order))) else transpose(x, order)
    lines = reshape(moved, (*[x.shape[i] for i in rest], count(tuple(x.shape[i] for i in axis))))
    others = reshape(products_of_others(lines, (len(rest),)), moved.shape)
    return others if moved is x else transpose(others, tuple(order.index(i) for i in range(len(order))))


__all__ = ["cumsum"]
