"""Activations. All but relu are composites; at finite arguments none overflows, in value or derivative.

Arguments and conventions at kinks are PyTorch's. Pullbacks multiply by bools instead of choosing: in NumPy, a product
with a mask takes a fifth of the time of a choice by it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphgrad.errors import GraphgradError
from graphgrad.operators.choice import abs, clip_row, logical_and, maximum, minimum, only
from graphgrad.operators.elementwise import cast, exp, expm1, log1p, square
from graphgrad.operators.functions import FAR, density, ndtr, near, tail, tanh
from graphgrad.operators.rows import elementwise, number
from graphgrad.types import FLOATS

# ---------------------------------------------------------------------------------------------------------------------
# Smooth at the base: sigmoid and softplus
# ---------------------------------------------------------------------------------------------------------------------


LARGE = 80.0  # exp of it is finite in float32, and so large that 1 more makes no difference in float64


def _falling(x: Any) -> Any:
    """-|x|, by the sign of the real part, so that references stay analytic."""
    return np.where(np.real(x) >= 0, -x, x)


def _sigmoid(x: Any) -> Any:
    e = np.exp(_falling(x))
    return np.where(np.real(x) >= 0, 1 / (1 + e), e / (1 + e))


def _softplus(x: Any) -> Any:
    return np.where(np.real(x) >= 0, x, 0) + np.log1p(np.exp(_falling(x)))


def _sigmoid_definition(x: Any) -> Any:
    """e/(1+e) with e = exp(x), which is 1 long before e overflows. For x far below 0 it is e, to the last digit."""
    e = _rising(x)
    return e / (1 + e)


def _rising(x: Any) -> Any:
    """exp(x) up to where it overflows: there 1 + exp(x) is exp(x), and its logarithm x."""
    return exp(minimum(x, LARGE))


sigmoid = elementwise(
    "sigmoid",
    formula="1 / (1 + exp(-x))",
    reference=_sigmoid,
    pullback=lambda g, x, y: g * y * (1 - y),
    definition=_sigmoid_definition,
    text="σ({x:0})",
    latex=r"\sigma({x:0})",
    analytic=True,
    doc="The logistic function 1 / (1 + exp(-x)).",
)

logsigmoid = elementwise(
    "logsigmoid",
    formula="-log(1 + exp(-x))",
    reference=lambda x: -_softplus(-x),
    pullback=lambda g, x, y: g * sigmoid(-x),
    definition=lambda x: minimum(x, -log1p(_rising(-x))),
    latex=r"\log\sigma({x:0})",
    analytic=True,
    doc="log(sigmoid(x)), which is about x for very negative x.",
)

softplus_row = elementwise(
    "softplus",
    formula="log(1 + exp(x))",
    reference=_softplus,
    pullback=lambda g, x, y: g * sigmoid(x),
    definition=lambda x: maximum(x, log1p(_rising(x))),
    latex=r"\operatorname{{softplus}}({x:0})",
    analytic=True,
    doc="log(1 + exp(x)), which is about x for large x.",
)


def softplus(x: Any, beta: float = 1.0) -> Any:
    """log(1 + exp(beta·x)) / beta, a smooth relu; the larger the positive beta is, the closer."""
    beta = number("softplus", "beta", beta, positive=True)
    return softplus_row(x) if beta == 1 else softplus_row(beta * x) / beta


# ---------------------------------------------------------------------------------------------------------------------
# Smooth, with a dip: x times a gate
# ---------------------------------------------------------------------------------------------------------------------


def _silu_pullback(g: Any, x: Any, y: Any) -> Any:
    """x·σ(x) has the derivative σ + x·σ·(1 - σ) = σ + y·(1 - σ)."""
    s = sigmoid(x)
    return g * (s + y * (1 - s))


silu = elementwise(
    "silu",
    formula="x / (1 + exp(-x))",
    reference=lambda x: x * _sigmoid(x),
    pullback=_silu_pullback,
    definition=lambda x: x * sigmoid(x),
    latex=r"\operatorname{{SiLU}}({x:0})",
    analytic=True,
    doc="x·sigmoid(x), also called swish.",
)

mish = elementwise(
    "mish",
    formula="x * tanh(log(1 + exp(x)))",
    reference=lambda x: x * np.tanh(_softplus(x)),
    definition=lambda x: x * tanh(softplus_row(x)),
    latex=r"\operatorname{{Mish}}({x:0})",
    analytic=True,
    doc="x·tanh(softplus(x)).",
)


def _gelu_pullback(g: Any, x: Any, y: Any) -> Any:
    """x·Φ(x) has the derivative Φ(x) + x·φ(x), with the normal distribution Φ and its density φ.

    Where x is not near 0, φ(x) is 0: at infinity x itself would make NaN of it.
    """
    return g * (ndtr(x) + near(x) * density(x))


def _gelu_definition(x: Any) -> Any:
    """x·Φ(x), which is max(x, 0) - |x|·Φ(-|x|) too, and needs no choice by the sign so. At -inf, both are 0."""
    if getattr(x, "dtype", "") != "float32":
        return maximum(x, -FAR) * ndtr(x)
    below, distance = tail(x)
    return maximum(x, 0) - distance * below


gelu_row = elementwise(
    "gelu",
    formula="x * (1 + erf(x / sqrt(2))) / 2",
    reference=lambda x: np.maximum(x, -FAR) * ndtr.reference(x),
    pullback=_gelu_pullback,
    definition=_gelu_definition,
    latex=r"\operatorname{{GELU}}({x:0})",
    doc="x·Φ(x) with the normal distribution Φ.",
)

_C, _A = 2 * math.sqrt(2 / math.pi), 0.044715


def _gate(x: Any) -> tuple[Any, Any, Any]:
    """What gelu_tanh's gate is the sigmoid of, over x; x where the gate still moves (beyond, x² may overflow); x²."""
    near = clip_row(x, min=-30.0, max=30.0)
    squared = square(near)
    return _C + (_C * _A) * squared, near, squared


def _gelu_tanh(x: Any) -> Any:
    near = np.clip(x, -30, 30)
    return x * _sigmoid(near * (_C + (_C * _A) * np.square(near)))


def _gelu_tanh_definition(x: Any) -> Any:
    slope, near, _ = _gate(x)
    return x * sigmoid(near * slope)


def _gelu_tanh_pullback(g: Any, x: Any, y: Any) -> Any:
    """x·σ(u) has the derivative σ + y·(1 - σ)·u', with u = C·(x + A·x³)."""
    slope, near, squared = _gate(x)
    s = sigmoid(near * slope)
    return g * (s + y * (1 - s) * (_C + (3 * _C * _A) * squared))


gelu_tanh = elementwise(
    "gelu_tanh",
    formula="x * (1 + tanh(sqrt(2 / pi) * (x + Rational(44715, 10**6) * x**3))) / 2",
    reference=_gelu_tanh,
    pullback=_gelu_tanh_pullback,
    definition=_gelu_tanh_definition,
    latex=r"\operatorname{{GELU}}_{{\tanh}}({x:0})",
    analytic=True,
    doc="The approximation of gelu by tanh: x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2.",
)


def gelu(x: Any, approximate: str = "none") -> Any:
    """x·Φ(x) with the normal distribution Φ, or its approximation by tanh with approximate="tanh"."""
    if approximate not in ("none", "tanh"):
        raise GraphgradError(f"gelu: approximate is 'none' or 'tanh', but {approximate!r} was given")
    return gelu_tanh(x) if approximate == "tanh" else gelu_row(x)


# ---------------------------------------------------------------------------------------------------------------------
# In pieces
# ---------------------------------------------------------------------------------------------------------------------

relu = elementwise(
    "relu",
    formula="Max(x, 0)",
    reference=lambda x: np.maximum(x, 0),
    pullback=lambda g, x, y: only(g, y > 0),  # by y, so that y may stand where x stood
    latex=r"\operatorname{{ReLU}}({x:0})",
    numpy="np.maximum({x}, {zeros}, out={out})",  # against a number it takes 3 times as long as against an array
    scalar="np.maximum({x:0}, 0)",
    kinks=(0.0,),
    doc="x where it is positive, else 0. Its derivative at 0 is 0.",
)


def _leaky_relu_definition(x: Any, negative_slope: float) -> Any:
    if 0 < negative_slope <= 1:
        return maximum(x, negative_slope * x)
    return maximum(x, 0) + negative_slope * minimum(x, 0)


def _leaky_relu_pullback(g: Any, x: Any, y: Any, negative_slope: float) -> Any:
    """A float that is 1 or 0 or the slope, where it fits between them: one product by it for two by bools."""
    if 0 <= negative_slope <= 1 and getattr(x, "dtype", "") in FLOATS:
        return g * maximum(cast(y > 0, x.dtype), negative_slope)
    return only(g, x > 0) + only(negative_slope * g, x <= 0)


leaky_relu = elementwise(
    "leaky_relu",
    formula="Piecewise((x, x > 0), (negative_slope * x, True))",
    reference=lambda x, negative_slope: np.maximum(x, 0) + negative_slope * np.minimum(x, 0),
    pullback=_leaky_relu_pullback,
    definition=_leaky_relu_definition,
    attributes={"negative_slope": 0.01},
    text="leaky_relu({x:0}, {negative_slope})",
    latex=r"\operatorname{{LeakyReLU}}({x:0})",
    kinks=(0.0,),
    doc="x where it is positive, else negative_slope·x. Its derivative at 0 is negative_slope.",
)


def _elu_pullback(g: Any, x: Any, y: Any, alpha: float) -> Any:
    falling = g * exp(minimum(x, 0))
    return falling if alpha == 1 else only(g, x > 0) + only(alpha * falling, x <= 0)


elu = elementwise(
    "elu",
    formula="Piecewise((x, x > 0), (alpha * (exp(x) - 1), True))",
    reference=lambda x, alpha: np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0)),
    pullback=_elu_pullback,
    definition=lambda x, alpha: maximum(x, 0) + alpha * expm1(minimum(x, 0)),
    attributes={"alpha": 1.0},
    text="elu({x:0}, {alpha})",
    latex=r"\operatorname{{ELU}}({x:0})",
    kinks=(0.0,),
    doc="x where it is positive, else alpha·(exp(x) - 1). Its derivative at 0 is alpha.",
)

# Klambauer et al., Self-Normalizing Neural Networks, 2017
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def _selu_pullback(g: Any, x: Any, y: Any) -> Any:
    """λα·exp(x) below 0, and λα - (λα - λ) above it, where the exponential is held at 1."""
    falling = SELU_SCALE * SELU_ALPHA * exp(minimum(x, 0))
    positive = cast(x > 0, x.dtype) if getattr(x, "dtype", "") in FLOATS else only(1, x > 0)
    return g * (falling - (SELU_SCALE * SELU_ALPHA - SELU_SCALE) * positive)


selu = elementwise(
    "selu",
    formula=f"{SELU_SCALE} * Piecewise((x, x > 0), ({SELU_ALPHA} * (exp(x) - 1), True))",
    reference=lambda x: SELU_SCALE * np.maximum(x, 0) + (SELU_SCALE * SELU_ALPHA) * np.expm1(np.minimum(x, 0)),
    pullback=_selu_pullback,
    definition=lambda x: SELU_SCALE * maximum(x, 0) + (SELU_SCALE * SELU_ALPHA) * expm1(minimum(x, 0)),
    latex=r"\operatorname{{SELU}}({x:0})",
    kinks=(0.0,),
    doc="λ·elu(x, α) with the λ = 1.0507... and α = 1.6732... under which layers keep mean 0 and variance 1.",
)

celu = elementwise(
    "celu",
    formula="Max(x, 0) + Min(0, alpha * (exp(x / alpha) - 1))",
    reference=lambda x, alpha: np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) / alpha),
    pullback=lambda g, x, y, alpha: g * exp(minimum(x, 0) / alpha),
    definition=lambda x, alpha: maximum(x, 0) + alpha * expm1(minimum(x, 0) / alpha),
    attributes={"alpha": 1.0},
    positive=("alpha",),
    text="celu({x:0}, {alpha})",
    latex=r"\operatorname{{CELU}}({x:0})",
    kinks=(0.0,),
    doc="x where it is positive, else alpha·(exp(x/alpha) - 1), for a positive alpha: smooth at 0.",
)

softsign = elementwise(
    "softsign",
    formula="x / (1 + Abs(x))",
    reference=lambda x: x / (1 + np.abs(x)),
    pullback=lambda g, x, y: g / (1 + abs(x)) / (1 + abs(x)),
    definition=lambda x: x / (1 + abs(x)),
    latex=r"\operatorname{{softsign}}({x:0})",
    kinks=(0.0,),
    doc="x / (1 + |x|).",
)

hard_tanh = elementwise(
    "hard_tanh",
    formula="Min(Max(x, min_val), max_val)",
    reference=lambda x, min_val, max_val: np.clip(x, min_val, max_val),
    pullback=lambda g, x, y, min_val, max_val: only(g, logical_and(x > min_val, x < max_val)),
    definition=lambda x, min_val, max_val: clip_row(x, min=min_val, max=max_val),
    attributes={"min_val": -1.0, "max_val": 1.0},
    text="hard_tanh({x:0}, {min_val}, {max_val})",
    latex=r"\operatorname{{hardtanh}}({x:0})",
    kinks=(-1.0, 1.0),
    doc="x, but at least min_val and at most max_val. Unlike clip's, its derivative at these is 0.",
)

hard_sigmoid = elementwise(
    "hard_sigmoid",
    formula="Min(Max(x + 3, 0), 6) / 6",
    reference=lambda x: np.clip(x + 3, 0, 6) / 6,
    pullback=lambda g, x, y: only(g, logical_and(x > -3, x < 3)) / 6,
    definition=lambda x: clip_row(x + 3, min=0.0, max=6.0) / 6,
    latex=r"\operatorname{{hardsigmoid}}({x:0})",
    kinks=(-3.0, 3.0),
    domain={"x": (-4.0, 4.0)},
    doc="x/6 + 1/2, but at least 0 and at most 1. Its derivative at ±3 is 0.",
)

__all__ = [
    "celu",
    "elu",
    "gelu",
    "gelu_tanh",
    "hard_sigmoid",
    "hard_tanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
]
