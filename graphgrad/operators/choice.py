"""Comparison, logic and choice: bools, what is chosen by them, and functions with kinks and jumps."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from graphgrad.operator import Operator
from graphgrad.operators.rows import Tensor, elementwise
from graphgrad.types import FLOATS

# ---------------------------------------------------------------------------------------------------------------------
# Comparison and logic: bools have no derivative
# ---------------------------------------------------------------------------------------------------------------------


def _comparison(name: str, symbol: str, latex: str, ufunc: Any) -> Any:
    return elementwise(
        name,
        operands="x y",
        formula={"==": "Eq(x, y)", "!=": "Ne(x, y)"}.get(symbol, f"x {symbol} y"),
        reference=ufunc,
        pullback=(None, None),
        dtype="bool",
        text=f"{{x:>}} {symbol} {{y:>}}",
        latex=f"{{x:>}} {latex} {{y:>}}",
        binding=5,
        numpy=f"np.{name}({{x}}, {{y}}, out={{out}})",
        scalar=f"{{x:>}} {symbol} {{y:>}}",
        doc=f"Whether x {symbol} y, for each element: a bool. No derivative passes through it.",
    )


equal = _comparison("equal", "==", "=", np.equal)
not_equal = _comparison("not_equal", "!=", r"\neq", np.not_equal)
less = _comparison("less", "<", "<", np.less)
less_equal = _comparison("less_equal", "<=", r"\leq", np.less_equal)
greater = _comparison("greater", ">", ">", np.greater)
greater_equal = _comparison("greater_equal", ">=", r"\geq", np.greater_equal)


def _logical(name: str, formula: str, symbol: str, latex: str, binding: int, ufunc: Any) -> Any:
    return elementwise(
        name,
        operands="x y",
        formula=formula,
        reference=ufunc,
        pullback=(None, None),
        dtype="bool",
        text=f"{{x}} {symbol} {{y}}",
        latex=f"{{x}} {latex} {{y}}",
        binding=binding,
        numpy=f"np.{name}({{x}}, {{y}}, out={{out}})",
        doc=f"{name.removeprefix('logical_')} of truth values, for each element; a number is true where it is not 0.",
    )


logical_and = _logical("logical_and", "And(x, y)", "&", r"\land", 4, np.logical_and)
logical_xor = _logical("logical_xor", "Xor(x, y)", "^", r"\oplus", 3, np.logical_xor)
logical_or = _logical("logical_or", "Or(x, y)", "|", r"\lor", 2, np.logical_or)

logical_not = elementwise(
    "logical_not",
    formula="Not(x)",
    reference=np.logical_not,
    pullback=(None,),
    dtype="bool",
    text="~{x:>}",
    latex=r"\lnot {x:>}",
    binding=15,
    numpy="np.logical_not({x}, out={out})",
    doc="not x, for each element; a number is true where it is not 0.",
)

# ---------------------------------------------------------------------------------------------------------------------
# Choice
# ---------------------------------------------------------------------------------------------------------------------

where: Operator = elementwise(
    "where",
    operands="condition x y",
    formula="Piecewise((x, condition), (y, True))",
    reference=np.where,
    pullback=(None, lambda g, c, x, y, z: where(c, g, 0.0), lambda g, c, x, y, z: where(c, 0.0, g)),
    dtype="same",
    latex=r"\operatorname{{where}}({condition:0}, {x:0}, {y:0})",
    numpy=("{out}[...] = {y}", "np.copyto({out}, {x}, where={condition})"),
    scalar="{x:0} if {condition:0} else {y:0}",
    doc="where(condition, x, y): x where the condition is true, else y. No derivative passes through the condition; "
    "the branch not taken gets 0. A branch that is inf or NaN where it is not taken still makes 0·inf = NaN further "
    "up: choose a safe argument inside too, as in where(x > 0, log(where(x > 0, x, 1)), 0).",
)


def only(g: Any, condition: Any) -> Any:
    """g where the condition holds, else 0: the product with a bool, in NumPy several times as fast as a choice.

    The price: where the condition is false and g is inf or NaN, the product is NaN. For symbols it stays a choice.
    """
    return g * condition if isinstance(condition, Tensor) else where(condition, g, 0)


abs = elementwise(
    "abs",
    formula="Abs(x)",
    reference=np.abs,
    pullback=lambda g, x, y: g * sign(x),
    dtype="same",
    text="|{x:0}|",
    latex=r"\left|{x:0}\right|",
    numpy="np.abs({x}, out={out})",
    kinks=(0.0,),
    doc="The absolute value. Its derivative at 0 is 0.",
)


def _step(
    name: str, formula: str, latex: str, kinks: tuple[float, ...], ufunc: Any, doc: str, dtype: str = "float"
) -> Any:
    """A function that is constant between its jumps. Its derivative is 0 everywhere, whatever comes from above: a rule
    and not None, since the result depends on x, and a warning that it does not would be wrong."""
    return elementwise(
        name,
        formula=formula,
        reference=ufunc,
        pullback=lambda g, x, y: 0.0,
        dtype=dtype,
        latex=latex,
        numpy=f"np.{ufunc.__name__}({{x}}, out={{out}})",
        kinks=kinks,
        doc=f"{doc} Its derivative is 0, at the jumps too.",
    )


WHOLE_KINKS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
sign: Operator = _step(
    "sign", "sign(x)", r"\operatorname{{sign}}({x:0})", (0.0,), np.sign, "-1, 0 or 1 by the sign of x.", "number"
)
floor = _step(
    "floor", "floor(x)", r"\left\lfloor {x:0} \right\rfloor", WHOLE_KINKS, np.floor, "The largest whole number up to x."
)
ceil = _step(
    "ceil", "ceiling(x)", r"\left\lceil {x:0} \right\rceil", WHOLE_KINKS, np.ceil, "The smallest whole number from x."
)
round = _step(
    "round",
    "floor(x + 1/2) - Piecewise((1, Eq(Mod(x, 2), 1/2)), (0, True))",
    r"\operatorname{{round}}({x:0})",
    tuple(k + 0.5 for k in range(-3, 3)),
    np.rint,
    "The nearest whole number, halves to the even one.",
)


maximum = elementwise(
    "maximum",
    operands="x y",
    formula="Max(x, y)",
    reference=np.maximum,
    pullback=(lambda g, x, y, z: _share_of_greater(g, x, y), lambda g, x, y, z: _share_of_greater(g, y, x)),
    dtype="same",
    latex=r"\max({x:0}, {y:0})",
    numpy="np.maximum({x:wide}, {y:wide}, out={out})",
    doc="The greater of x and y, NaN if one is NaN. Where they are equal, each gets half of the derivative.",
)

minimum = elementwise(
    "minimum",
    operands="x y",
    formula="Min(x, y)",
    reference=np.minimum,
    pullback=(lambda g, x, y, z: _share_of_greater(g, y, x), lambda g, x, y, z: _share_of_greater(g, x, y)),
    dtype="same",
    latex=r"\min({x:0}, {y:0})",
    numpy="np.minimum({x:wide}, {y:wide}, out={out})",
    doc="The less of x and y, NaN if one is NaN. Where they are equal, each gets half of the derivative.",
)


def _share_of_greater(g: Any, a: Any, b: Any) -> Any:
    """All of g where a > b, half of it where they are equal, else 0."""
    return (only(g, a >= b) + only(g, a > b)) / 2


def _clip_definition(x: Any, min: float, max: float) -> Any:
    """Its bounds are wide then, with which NumPy is faster than its own clip."""
    x = x if min == -inf else maximum(x, min)
    return x if max == inf else minimum(x, max)


clip_row = elementwise(
    "clip",
    formula="Min(Max(x, min), max)",
    reference=lambda x, min, max: np.clip(x, min, max),
    pullback=lambda g, x, y, min, max: only(g, equal(x, y)),  # also at the bounds
    attributes={"min": -inf, "max": inf},
    text="clip({x:0}, {min}, {max})",
    latex=r"\operatorname{{clip}}({x:0}, {min}, {max})",
    definition=_clip_definition,
    kinks=(-1.0, 1.0),
    doc="x, but at least `min` and at most `max`. The derivative at the bounds is 1.",
)


def clip(x: Any, min: Any = None, max: Any = None) -> Any:
    """x, but at least `min` and at most `max`, as numpy.clip: None is no bound, and where min > max the result is max.

    Bounds that are numbers are part of the operator, and the derivative at them is 1. A Tensor as a bound is an operand
    of `maximum` or `minimum`, which share the derivative where it is met; so are the bounds of integers.

    >>> import graphgrad as gg
    >>> x = gg.Graph().input("x", ("N",))
    >>> gg.clip(x, 0, 1)
    <v1: clip (N,) float64>
    """
    if _is_number(min) and _is_number(max) and getattr(x, "dtype", "float64") in FLOATS:
        return (
            x if min is max is None else clip_row(x, min=-inf if min is None else min, max=inf if max is None else max)
        )
    if min is not None:
        x = maximum(x, min)
    return x if max is None else minimum(x, max)


def _is_number(bound: Any) -> bool:
    return bound is None or (isinstance(bound, (int, float, np.integer, np.floating)) and not isinstance(bound, bool))


__all__ = [
    "abs",
    "ceil",
    "clip",
    "equal",
    "floor",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "not_equal",
    "round",
    "sign",
    "where",
]
