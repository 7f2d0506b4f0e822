"""Trigonometric and hyperbolic functions, the error function, and the normal distribution's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphgrad.operator import Operator
from graphgrad.operators.choice import abs, clip_row, equal, where
from graphgrad.operators.elementwise import cast, exp, sqrt, square
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


# Φ(-a) is E·Q with E = exp(-a²/2), and Q = erfcx(a/√2)/2 is smooth and between 0.5 and 0.4/(a + 1): this fraction is
# within 8.6e-8·(1 + a²/4) of it, relatively, for all a of which E is not 0 in float32. It is the minimax fit of these
# degrees with that weight, beyond which the rounding of a²/2 says more. With no negative coefficient nothing cancels.
_ABOVE = (13.45745038, 9.29611055, 2.96211921, 0.39883138)
_BELOW = (26.91490308, 40.06706803, 24.43700845, 7.41541498, 1.0)
FAR = 40.0  # exp(-FAR²/2) is 0 in float64 too


def near(x: Any) -> Any:
    """x as far as it matters, so that no power of it overflows."""
    return clip_row(x, min=-FAR, max=FAR)


def density(x: Any) -> Any:
    """φ(x) = exp(-x²/2)/√(2π)."""
    return _unscaled_density(x) * (1 / math.sqrt(2 * math.pi))


def _unscaled_density(x: Any) -> Any:
    return exp(square(near(x)) * -0.5)


def tail(x: Any) -> Any:
    """Φ(-|x|) in float32, to some ulps for small x and to the rounding of x²/2 for large ones, and min(|x|, FAR)."""
    a = abs(near(x))
    return _horner(_ABOVE, a) * _unscaled_density(x) / _horner(_BELOW, a), a


def _horner(coefficients: Sequence[float], a: Any) -> Any:
    *rest, value = coefficients
    for c in reversed(rest):
        value = value * a + c
    return value


def _ndtr_definition(x: Any) -> Any:
    """By erfc, since 1 + erf would cancel for negative x; in float32 by a fraction that takes a third of its time."""
    if getattr(x, "dtype", "") != "float32":
        return 0.5 * erfc(x * -math.sqrt(0.5))
    return abs(cast(near(x) >= 0, "float32") - tail(x)[0])  # NumPy subtracts from bools in twice the time


ndtr = elementwise(
    "ndtr",
    formula="(1 + erf(x / sqrt(2))) / 2",
    reference=lambda x: 0.5 * erfc.reference(x * -math.sqrt(0.5)),
    pullback=lambda g, x, y: g * density(x),
    definition=_ndtr_definition,
    text="Φ({x:0})",
    latex=r"\Phi({x:0})",
    doc="The normal distribution's function Φ: how likely a standard normal number is below x.",
)

__all__ = ["arccos", "arcsin", "arctan", "arctan2", "cos", "cosh", "erf", "erfc", "ndtr", "sin", "sinh", "tan", "tanh"]
