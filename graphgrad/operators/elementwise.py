"""Arithmetic, exponentials and logarithms: with comparison and choice, what all other operators are written with.

How a row is written stands in rows.py, and what each of its fields means in `operator.Operator`. A rule of `pullback`
takes (g, *operands, output), where g is the adjoint of the output; rules run on sympy's symbols too, by which a test
proves them. A new row needs its name in `__all__`; tests and the reference page find it by themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad.operators.choice import equal, greater_equal, logical_and, where
from graphgrad.operators.rows import Inferred, Node, elementwise, operator
from graphgrad.types import dtype_name

# ---------------------------------------------------------------------------------------------------------------------
# Arithmetic
# ---------------------------------------------------------------------------------------------------------------------

add = elementwise(
    "add",
    operands="x y",
    formula="x + y",
    reference=np.add,
    pullback=(lambda g, x, y, z: g, lambda g, x, y, z: g),
    dtype="same",
    text="{x} + {y}",
    latex="{x} + {y}",
    binding=10,
    numpy="np.add({x}, {y}, out={out})",
    scalar="{x} + {y}",
    analytic=True,
)

subtract = elementwise(
    "subtract",
    operands="x y",
    formula="x - y",
    reference=np.subtract,
    pullback=(lambda g, x, y, z: g, lambda g, x, y, z: -g),
    dtype="number",
    text="{x} - {y:>}",
    latex="{x} - {y:>}",
    binding=10,
    numpy="np.subtract({x}, {y}, out={out})",
    scalar="{x} - {y:>}",
    analytic=True,
)

multiply = elementwise(
    "multiply",
    operands="x y",
    formula="x * y",
    reference=np.multiply,
    pullback=(lambda g, x, y, z: g * y, lambda g, x, y, z: g * x),
    dtype="same",
    text="{x} * {y}",
    latex=r"{x} \odot {y}",
    binding=20,
    numpy="np.multiply({x}, {y}, out={out})",
    scalar="{x} * {y}",
    analytic=True,
)

divide = elementwise(
    "divide",
    operands="x y",
    formula="x / y",
    reference=np.divide,
    pullback=(lambda g, x, y, z: g / y, lambda g, x, y, z: -g * z / y),
    text="{x} / {y:>}",
    latex=r"\frac{{{x:0}}}{{{y:0}}}",
    binding=20,
    numpy="np.divide({x}, {y}, out={out})",
    scalar="{x} / {y:>}",
    analytic=True,
    domain={"y": (0.3, 3.0)},
)

reciprocal = elementwise(
    "reciprocal",
    formula="1 / x",
    reference=np.reciprocal,
    pullback=lambda g, x, y: -(g * y * y),
    text="1 / {x:>}",
    latex=r"\frac{{1}}{{{x:0}}}",
    binding=20,
    numpy="np.divide(1, {x}, out={out})",  # np.reciprocal of integers divides integers
    scalar="1 / {x:>}",
    analytic=True,
    domain={"x": (0.3, 3.0)},
)

negative = elementwise(
    "negative",
    formula="-x",
    reference=np.negative,
    pullback=lambda g, x, y: -g,
    dtype="number",
    text="-{x:>}",
    latex="-{x:>}",
    binding=15,
    numpy="np.negative({x}, out={out})",
    scalar="-{x:>}",
    analytic=True,
)


remainder = elementwise(
    "remainder",
    operands="x y",
    formula="Mod(x, y)",
    reference=np.remainder,
    pullback=(lambda g, x, y, z: g, lambda g, x, y, z: g * ((z - x) / y)),
    dtype="number",
    text="{x} % {y:>}",
    latex=r"{x} \;\mathrm{{mod}}\; {y:>}",
    binding=20,
    numpy="np.remainder({x}, {y}, out={out})",
    scalar="{x} % {y:>}",
    domain={"x": (0.2, 0.9), "y": (1.0, 3.0)},
    doc="What is left of x after the largest whole multiple of y that is not above it; it has the sign of y.",
)


def _power_base(g: Any, x: Any, y: Any, z: Any) -> Any:
    """g·y·x^(y-1); exactly 0 where y is 0, also at x = 0, where x^(y-1) is inf."""
    exponent = getattr(y, "value", None)
    if exponent == 0:
        return 0.0
    if exponent is None:
        x = where(logical_and(equal(x, 0), equal(y, 0)), 1.0, x)
    return g * (y * power(x, y - 1))


def _power_exponent(g: Any, x: Any, y: Any, z: Any) -> Any:
    """g·z·log(x); 0 where x is 0 and y is not negative, since 0^y is flat there."""
    flat = logical_and(equal(x, 0), greater_equal(y, 0))
    return g * where(flat, 0.0, z * log(where(flat, 1.0, x)))


power = elementwise(
    "power",
    operands="x y",
    formula="x ** y",
    reference=np.power,
    pullback=(_power_base, _power_exponent),
    dtype="number",
    text="{x:>} ** {y}",
    latex="{x:>}^{{{y:0}}}",
    binding=30,
    numpy="np.power({x}, {y}, out={out})",
    scalar="{x:>} ** {y}",
    analytic=True,
    domain={"x": (0.2, 3.0), "y": (-2.0, 3.0)},
    refuses=True,  # integers to negative powers
)

square = elementwise(
    "square",
    formula="x ** 2",
    reference=np.square,
    pullback=lambda g, x, y: g * (2 * x),
    dtype="number",
    text="{x:>}²",
    latex="{x:>}^2",
    binding=30,
    numpy="np.square({x}, out={out})",
    analytic=True,
)

sqrt = elementwise(
    "sqrt",
    formula="sqrt(x)",
    reference=np.sqrt,
    pullback=lambda g, x, y: g / (2 * y),
    latex=r"\sqrt{{{x:0}}}",
    numpy="np.sqrt({x}, out={out})",
    scalar="np.sqrt({x:0})",
    plain="{x:30} ** 0.5",
    analytic=True,
    domain={"x": (0.2, 5.0)},
    doc="The square root. Its derivative at 0 is inf.",
)

# ---------------------------------------------------------------------------------------------------------------------
# Exponentials and logarithms
# ---------------------------------------------------------------------------------------------------------------------

exp = elementwise(
    "exp",
    formula="exp(x)",
    reference=np.exp,
    pullback=lambda g, x, y: g * y,
    latex="e^{{{x:0}}}",
    numpy="np.exp({x}, out={out})",
    analytic=True,
    domain={"x": (-3.0, 3.0)},
)

expm1 = elementwise(
    "expm1",
    formula="exp(x) - 1",
    reference=np.expm1,
    pullback=lambda g, x, y: g * exp(x),
    latex="e^{{{x:0}}} - 1",
    binding=10,
    text="expm1({x:0})",
    numpy="np.expm1({x}, out={out})",
    analytic=True,
    domain={"x": (-3.0, 3.0)},
    doc="exp(x) - 1, accurate near 0 too.",
)

log = elementwise(
    "log",
    formula="log(x)",
    reference=np.log,
    pullback=lambda g, x, y: g / x,
    latex=r"\log {x}",
    numpy="np.log({x}, out={out})",
    analytic=True,
    domain={"x": (0.2, 5.0)},
    doc="The natural logarithm.",
)

log1p = elementwise(
    "log1p",
    formula="log(1 + x)",
    reference=np.log1p,
    pullback=lambda g, x, y: g / (1 + x),
    latex=r"\log(1 + {x:0})",
    numpy="np.log1p({x}, out={out})",
    analytic=True,
    domain={"x": (-0.7, 3.0)},
    doc="log(1 + x), accurate near 0 too.",
)

# ---------------------------------------------------------------------------------------------------------------------
# Dtypes
# ---------------------------------------------------------------------------------------------------------------------


@operator(
    reference=lambda x, dtype: np.asarray(x).astype(dtype),
    pullback=lambda g, x, y, dtype: g,
    numpy="{out}[...] = {x}",
    kind="elementwise",
    text="{dtype}({x:0})",
    latex=r"\operatorname{{{dtype}}}({x:0})",
)
def cast(x: Node, dtype: str) -> Inferred:
    """The same values in another dtype, as NumPy's astype. Floats that become integers lose their fraction."""
    target = dtype_name(dtype)
    return Inferred(x.shape, target, {"dtype": target}, weak=False)


__all__ = [
    "add",
    "cast",
    "divide",
    "exp",
    "expm1",
    "log",
    "log1p",
    "multiply",
    "negative",
    "power",
    "reciprocal",
    "remainder",
    "sqrt",
    "square",
    "subtract",
]
