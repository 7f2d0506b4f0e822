"""Trigonometric and hyperbolic functions, and the error function."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphgrad.operator import Operator
from graphgrad.operators.elementwise import clip_row, equal, exp, sqrt, square, where
from graphgrad.operators.rows import elementwise

sin = elementwise(
    "sin",
    formula="sin(x)",
    reference=np.sin,
    pullback=lambda g, x, y: g * cos(x),
    latex=r"\sin {x}",
    numpy="np.sin({x}, out={out})",
    analytic=True,
)

cos: Operator = elementwise(
    "cos",
    formula="cos(x)",
    reference=np.cos,
    pullback=lambda g, x, y: -(g * sin(x)),
    latex=r"\cos {x}",
    numpy="np.cos({x}, out={out})",
    analytic=True,
)

tan = elementwise(
    "tan",
    formula="tan(x)",
    reference=np.tan,
    pullback=lambda g, x, y: g * (1 + y * y),
    latex=r"\tan {x}",
    numpy="np.tan({x}, out={out})",
    analytic=True,
    domain={"x": (-1.2, 1.2)},
)

arcsin = elementwise(
    "arcsin",
    formula="asin(x)",
    reference=np.arcsin,
    pullback=lambda g, x, y: g / _circle(x),
    latex=r"\arcsin {x}",
    numpy="np.arcsin({x}, out={out})",
    analytic=True,
    domain={"x": (-0.9, 0.9)},
)

arccos = elementwise(
    "arccos",
    formula="acos(x)",
    reference=np.arccos,
    pullback=lambda g, x, y: -g / _circle(x),
    latex=r"\arccos {x}",
    numpy="np.arccos({x}, out={out})",
    analytic=True,
    domain={"x": (-0.9, 0.9)},
)


def _circle(x: Any) -> Any:
    """√(1 - x²), without the cancellation of 1 - x·x near ±1."""
    return sqrt((1 - x) * (1 + x))


arctan = elementwise(
    "arctan",
    formula="atan(x)",
    reference=np.arctan,
    pullback=lambda g, x, y: g / (1 + square(x)),
    latex=r"\arctan {x}",
    numpy="np.arctan({x}, out={out})",
    analytic=True,
)


def _squared_radius(y: Any, x: Any) -> Any:
    """x² + y², and 1 at the origin, where the derivative is 0."""
    radius = x * x + y * y  # square takes no bools, which one of them may be
    return where(equal(radius, 0), 1.0, radius)


arctan2 = elementwise(
    "arctan2",
    operands="y x",
    formula="atan2(y, x)",
    reference=np.arctan2,
    pullback=(
        lambda g, y, x, z: g * x / _squared_radius(y, x),
        lambda g, y, x, z: -g * y / _squared_radius(y, x),
    ),
    latex=r"\operatorname{{atan2}}({y:0}, {x:0})",
    numpy="np.arctan2({y}, {x}, out={out})",
    domain={"y": (0.2, 2.0), "x": (-2.0, 2.0)},
    doc="arctan2(y, x): the angle of the point (x, y), from -π to π. Its derivative at the origin is 0.",
)

sinh = elementwise(
    "sinh",
    formula="sinh(x)",
    reference=np.sinh,
    pullback=lambda g, x, y: g * cosh(x),
    latex=r"\sinh {x}",
    numpy="np.sinh({x}, out={out})",
    analytic=True,
)

cosh: Operator = elementwise(
    "cosh",
    formula="cosh(x)",
    reference=np.cosh,
    pullback=lambda g, x, y: g * sinh(x),
    latex=r"\cosh {x}",
    numpy="np.cosh({x}, out={out})",
    analytic=True,
)

tanh = elementwise(
    "tanh",
    formula="tanh(x)",
    reference=np.tanh,
    pullback=lambda g, x, y: g * (1 - y * y),
    latex=r"\tanh {x}",
    numpy="np.tanh({x}, out={out})",
    analytic=True,
)


def _by_element(function: Any) -> Any:
    """A function of Python's math module on arrays; float32 is computed in float64 and rounded once."""
    vectorized = np.vectorize(function, otypes=[np.float64])

    def reference(x: Any) -> Any:
        return vectorized(x).astype(np.asarray(x).dtype)

    return reference


def bell(x: Any) -> Any:
    """exp(-x²), without the overflow of x² at large x: exp(-900) is 0 in float64 already."""
    return exp(-square(clip_row(x, min=-30.0, max=30.0)))


erf = elementwise(
    "erf",
    formula="erf(x)",
    reference=_by_element(math.erf),
    pullback=lambda g, x, y: g * (bell(x) * (2 / math.sqrt(math.pi))),
    latex=r"\operatorname{{erf}}({x:0})",
    numpy="erf({x}, out={out})",
    doc="The error function, 2/√π times the integral of exp(-t²) from 0 to x.",
)

erfc = elementwise(
    "erfc",
    formula="erfc(x)",
    reference=_by_element(math.erfc),
    pullback=lambda g, x, y: g * (bell(x) * (-2 / math.sqrt(math.pi))),
    latex=r"\operatorname{{erfc}}({x:0})",
    numpy="erf({x}, out={out}, complement=True)",
    doc="1 - erf(x), accurate for large x too, where erf(x) is nearly 1.",
)

__all__ = ["arccos", "arcsin", "arctan", "arctan2", "cos", "cosh", "erf", "erfc", "sin", "sinh", "tan", "tanh"]
