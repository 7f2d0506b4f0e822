"""Arithmetic, comparison and choice: the elementwise operators that all others are written with."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad.errors import DTypeError
from graphgrad.operators.rows import Inferred, Node, elementwise, operator
from graphgrad.types import FLOATS, dtype_name

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


def _power_base(g: Any, x: Any, y: Any, z: Any) -> Any:
    """g·y·x^(y-1); exactly 0 where y is 0, also at x = 0."""
    if getattr(y, "value", None) == 0:
        return g * y
    rule = g * (y * power(x, y - 1))
    return rule if getattr(y, "value", None) is not None else where(equal(y, 0), 0.0, rule)


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
    analytic=True,
    domain={"x": (0.2, 3.0), "y": (-2.0, 3.0)},
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

log = elementwise(
    "log",
    formula="log(x)",
    reference=np.log,
    pullback=lambda g, x, y: g / x,
    latex=r"\log {x}",
    numpy="np.log({x}, out={out})",
    analytic=True,
    domain={"x": (0.2, 5.0)},
)

square = elementwise(
    "square",
    formula="x ** 2",
    reference=np.square,
    pullback=lambda g, x, y: g * (2 * x),
    dtype="same",
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
    analytic=True,
    domain={"x": (0.2, 5.0)},
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
)

sign = elementwise(
    "sign",
    formula="sign(x)",
    reference=np.sign,
    pullback=lambda g, x, y: g * 0,
    dtype="number",
    latex=r"\operatorname{{sign}}({x:0})",
    numpy="np.sign({x}, out={out})",
    kinks=(0.0,),
)


def _tie(g: Any, here: Any, there: Any, extreme: Any) -> Any:
    """All of g where this operand alone is the extreme one, half of it where both are."""
    return g * where(equal(here, there), 0.5, where(equal(here, extreme), 1.0, 0.0))


maximum = elementwise(
    "maximum",
    operands="x y",
    formula="Max(x, y)",
    reference=np.maximum,
    pullback=(lambda g, x, y, z: _tie(g, x, y, z), lambda g, x, y, z: _tie(g, y, x, z)),
    dtype="same",
    latex=r"\max({x:0}, {y:0})",
    numpy="np.maximum({x}, {y}, out={out})",
)

# ---------------------------------------------------------------------------------------------------------------------
# Comparison, logic and choice: bools have no derivative, and none passes through a condition
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
    )


equal = _comparison("equal", "==", "=", np.equal)
not_equal = _comparison("not_equal", "!=", r"\neq", np.not_equal)
less = _comparison("less", "<", "<", np.less)
less_equal = _comparison("less_equal", "<=", r"\leq", np.less_equal)
greater = _comparison("greater", ">", ">", np.greater)
greater_equal = _comparison("greater_equal", ">=", r"\geq", np.greater_equal)

logical_and = elementwise(
    "logical_and",
    operands="x y",
    formula="And(x, y)",
    reference=np.logical_and,
    pullback=(None, None),
    dtype="bool",
    text="{x} & {y}",
    latex=r"{x} \land {y}",
    binding=4,
    numpy="np.logical_and({x}, {y}, out={out})",
)

where = elementwise(
    "where",
    operands="condition x y",
    formula="Piecewise((x, condition), (y, True))",
    reference=np.where,
    pullback=(None, lambda g, c, x, y, z: where(c, g, 0.0), lambda g, c, x, y, z: where(c, 0.0, g)),
    dtype="same",
    latex=r"\operatorname{{where}}({condition:0}, {x:0}, {y:0})",
    numpy=("np.copyto({out}, {y})", "np.copyto({out}, {x}, where={condition})"),
    doc="where(condition, x, y): x where the condition is true, else y. No derivative passes through the condition, and "
    "the branch not taken gets 0. A branch that is inf or NaN where it is not taken still makes 0·inf = NaN further up: "
    "choose a safe argument inside too, as in where(x > 0, log(where(x > 0, x, 1)), 0).",
)


@operator(
    reference=lambda x, dtype: np.asarray(x).astype(dtype),
    pullback=lambda g, x, y, dtype: cast(g, x.dtype) if x.dtype in FLOATS else None,
    numpy="np.copyto({out}, {x}, casting='unsafe')",
    kind="elementwise",
    text="{dtype}({x:0})",
    latex=r"\operatorname{{{dtype}}}({x:0})",
)
def cast(x: Node, dtype: str) -> Inferred:
    """The same values in another dtype, as NumPy's astype. Floats that become integers lose their fraction."""
    target = dtype_name(dtype)
    return Inferred(x.shape, target, {"dtype": target}, weak=False)


__all__ = [name for name, value in list(globals().items()) if type(value).__name__ == "Operator"]
assert DTypeError
