"""What is recorded of PyTorch: a table of cases, each a graphgrad expression beside a PyTorch one of the same meaning.

Both read the same named inputs. `F` is torch.nn.functional. Points where a convention decides are among the inputs.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

# ---------------------------------------------------------------------------------------------------------------------
# Cases
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Draw:
    """An array of random numbers with three decimals; `points` stand in the place of the first ones."""

    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 2.0
    points: tuple[float, ...] = ()

    def array(self, seed: str) -> Array:
        generator = np.random.default_rng(zlib.crc32(seed.encode()))
        flat = np.round(self.low + (self.high - self.low) * generator.random(int(np.prod(self.shape))), 3)
        flat[: len(self.points)] = self.points
        return flat.reshape(self.shape)


def draw(*shape: int, low: float = -2.0, high: float = 2.0) -> Draw:
    return Draw(shape, low, high)


def points(*values: float, low: float = -3.0, high: float = 3.0, more: int = 6) -> Draw:
    """The given points in a row, and some random ones after them."""
    return Draw((len(values) + more,), low, high, values)


@dataclass(frozen=True)
class Case:
    gg: str
    torch: str
    inputs: dict[str, Any]
    note: str = ""  # tells cases of the same expression apart
    fixed: str = ""  # inputs without a gradient, besides integers and bools

    @property
    def name(self) -> str:
        return f"{self.gg}, {self.note}" if self.note else self.gg

    def arrays(self) -> dict[str, Array]:
        """The inputs as arrays. What is drawn depends on the names alone: a new case changes no other."""
        return {
            name: value.array(f"{self.name}: {name}") if isinstance(value, Draw) else np.asarray(value)
            for name, value in self.inputs.items()
        }


CASES: list[Case] = []


def case(gg: str, torch: str = "", note: str = "", fixed: str = "", **inputs: Any) -> None:
    """`torch` may be left out where both expressions have the same text."""
    CASES.append(Case(gg, torch or gg, inputs, note, fixed))


# Elementwise. Zero is among all points: it is the kink of many.

EVERYWHERE = points(0.0, -1.0, 1.0)
POSITIVE = points(1.0, low=0.1, high=4.0)
UNARY: dict[str, tuple[str, Draw]] = {
    "-x": ("-x", EVERYWHERE),
    "negative(x)": ("torch.neg(x)", EVERYWHERE),
    "reciprocal(x)": ("torch.reciprocal(x)", points(0.0, -1.0, low=0.2)),
    "square(x)": ("torch.square(x)", EVERYWHERE),
    "sqrt(x)": ("torch.sqrt(x)", points(0.0, 1.0, 4.0, low=0.1)),
    "exp(x)": ("torch.exp(x)", EVERYWHERE),
    "expm1(x)": ("torch.expm1(x)", points(0.0, 1e-12, -1e-9, low=-0.1, high=0.1)),
    "log(x)": ("torch.log(x)", POSITIVE),
    "log1p(x)": ("torch.log1p(x)", points(0.0, 1e-12, -1e-9, low=-0.5, high=0.5)),
    "abs(x)": ("torch.abs(x)", EVERYWHERE),
    "sign(x)": ("torch.sign(x)", EVERYWHERE),
    "floor(x)": ("torch.floor(x)", points(0.0, -1.0, 1.0, -0.5, 0.5, 1.5, 2.5)),
    "ceil(x)": ("torch.ceil(x)", points(0.0, -1.0, 1.0, -0.5, 0.5, 1.5, 2.5)),
    "round(x)": ("torch.round(x)", points(0.0, -1.0, 1.0, -0.5, 0.5, 1.5, 2.5)),
    "sin(x)": ("torch.sin(x)", EVERYWHERE),
    "cos(x)": ("torch.cos(x)", EVERYWHERE),
    "tan(x)": ("torch.tan(x)", points(0.0, low=-1.4, high=1.4)),
    "arcsin(x)": ("torch.arcsin(x)", points(0.0, low=-0.95, high=0.95)),
    "arccos(x)": ("torch.arccos(x)", points(0.0, low=-0.95, high=0.95)),
    "arctan(x)": ("torch.arctan(x)", EVERYWHERE),
    "sinh(x)": ("torch.sinh(x)", EVERYWHERE),
    "cosh(x)": ("torch.cosh(x)", EVERYWHERE),
    "tanh(x)": ("torch.tanh(x)", EVERYWHERE),
    "erf(x)": ("torch.erf(x)", EVERYWHERE),
    "erfc(x)": ("torch.erfc(x)", EVERYWHERE),
    "ndtr(x)": ("torch.special.ndtr(x)", EVERYWHERE),
    "sigmoid(x)": ("torch.sigmoid(x)", EVERYWHERE),
    "logsigmoid(x)": ("F.logsigmoid(x)", EVERYWHERE),
    "softplus(x)": ("F.softplus(x)", EVERYWHERE),
    "softplus(x, beta=2.0)": ("F.softplus(x, beta=2.0)", EVERYWHERE),
    "relu(x)": ("F.relu(x)", EVERYWHERE),
    "leaky_relu(x)": ("F.leaky_relu(x)", EVERYWHERE),
    "leaky_relu(x, negative_slope=0.2)": ("F.leaky_relu(x, negative_slope=0.2)", EVERYWHERE),
    "elu(x)": ("F.elu(x)", EVERYWHERE),
    "elu(x, alpha=0.7)": ("F.elu(x, alpha=0.7)", EVERYWHERE),
    "selu(x)": ("F.selu(x)", EVERYWHERE),
    "celu(x)": ("F.celu(x)", EVERYWHERE),
    "celu(x, alpha=0.5)": ("F.celu(x, alpha=0.5)", EVERYWHERE),  # 1/alpha is rounded to float32 in PyTorch's gradient
    "gelu(x)": ("F.gelu(x)", EVERYWHERE),
    "gelu(x, approximate='tanh')": ("F.gelu(x, approximate='tanh')", EVERYWHERE),
    "silu(x)": ("F.silu(x)", EVERYWHERE),
    "mish(x)": ("F.mish(x)", EVERYWHERE),
    "softsign(x)": ("F.softsign(x)", EVERYWHERE),
    "hard_tanh(x)": ("F.hardtanh(x)", EVERYWHERE),
    "hard_tanh(x, min_val=-0.5, max_val=2.0)": ("F.hardtanh(x, -0.5, 2.0)", points(-0.5, 0.0, 2.0)),
    # As its definition says: the gradient of F.hardsigmoid has 1/6 rounded to float32.
    "hard_sigmoid(x)": ("F.relu6(x + 3) / 6", points(0.0, -3.0, 3.0, low=-4.0, high=4.0)),
    "clip(x, -1.0, 1.0)": ("torch.clamp(x, -1.0, 1.0)", EVERYWHERE),
    "clip(x, -1.0, None)": ("torch.clamp(x, min=-1.0)", EVERYWHERE),
    "clip(x, None, 1.0)": ("torch.clamp(x, max=1.0)", EVERYWHERE),
    "cast(x, 'float32')": ("x.to(torch.float32)", EVERYWHERE),
    "cast(x, 'int64')": ("x.to(torch.int64)", EVERYWHERE),
}
for _gg, (_torch, _x) in UNARY.items():
    case(_gg, _torch, x=_x)

# Where a careless formula overflows or cancels. PyTorch's softplus is the identity from a threshold on: 20, if not set.
FAR_LEFT, FAR_RIGHT = [-1e4, -1000.0, -750.0, -100.0, -40.0], [40.0, 100.0, 750.0, 1000.0, 1e4]
SATURATING = """tanh erf ndtr sigmoid logsigmoid softplus relu elu selu celu gelu silu mish softsign hard_tanh
hard_sigmoid"""
for _name in SATURATING.split():
    _row = UNARY[f"{_name}(x)"][0]
    case(f"{_name}(x)", _row, "far left", x=FAR_LEFT)
    case(f"{_name}(x)", _row, "far right", x=FAR_RIGHT)
case("erfc(x)", "torch.erfc(x)", "far", x=[-1000.0, -6.0, 6.0, 20.0, 1000.0])
case("softplus(x)", "F.softplus(x, threshold=700)", "between", x=[15.0, 20.0, 25.0, 30.0, 36.0])
case("gelu(x, approximate='tanh')", "F.gelu(x, approximate='tanh')", "far", x=[-1000.0, -30.0, 30.0, 1000.0])
case("arctan(x)", "torch.arctan(x)", "far", x=[-1e200, -1e10, 1e10, 1e200])
case("log(x)", "torch.log(x)", "at zero", x=[0.0, 1.0])
case("log1p(x)", "torch.log1p(x)", "at its pole", x=[-1.0, 0.0])
case("arcsin(x)", "torch.arcsin(x)", "at its ends", x=[-1.0, 1.0, 0.0])
case("arccos(x)", "torch.arccos(x)", "at its ends", x=[-1.0, 1.0, 0.0])

for _symbol in "+-*/":
    case(f"x {_symbol} y", "", x=draw(3, 1, 4), y=draw(2, 1, low=0.3))
    case(f"x {_symbol} y", "", "with a number", x=draw(3), y=draw(low=0.3))
case("add(x, y)", "torch.add(x, y)", x=draw(3), y=draw(3))
case("subtract(x, y)", "torch.subtract(x, y)", x=draw(3), y=draw(3))
case("multiply(x, y)", "torch.multiply(x, y)", x=draw(3), y=draw(3))
case("divide(x, y)", "torch.divide(x, y)", x=[1.0, -2.0, 3.0], y=[1.0, 0.0, -2.0])
case("2.0 - x", "", x=draw(3))
case("2.0 / x", "", x=draw(3, low=0.5))
case("(x + 1.0) / x", "", x=draw(3, low=0.5))
case("x * x * x", "", x=draw(3))
case("x ** y", "", x=draw(3, 1, low=0.2), y=draw(2, 3, 4))
case("power(x, y)", "torch.pow(x, y)", "at zero", x=[0.0, 0.0, 0.0, 0.0, 2.0, -2.0], y=[0.0, 1.0, 2.0, 0.5, 0.0, 3.0])
case("x ** y", "", "at a pole", x=[0.0, 0.0], y=[-1.0, -2.0])
for _power in (0, 1, 2, 3, -1, -2, 0.5, 1.5):
    case(f"x ** {_power}", "", x=draw(4, low=0.2))
for _power in (0, 1, 2, 3, 2.0, -2):
    case(f"x ** {_power}", "", "negative", x=[-2.0, -0.5, 3.0])
for _power in (0, 1, 2, 0.5, 1.5, -1):
    case(f"x ** {_power}", "", "at zero", x=[0.0, 1.0])
case("2.0 ** x", "", x=draw(4))
case("0.0 ** x", "", x=[0.0, 1.0, 2.5])

case("maximum(x, y)", "torch.maximum(x, y)", x=[[1.0, -2.0, 0.0], [3.0, 3.0, -1.0]], y=[1.0, 3.0, 0.0])
case("minimum(x, y)", "torch.minimum(x, y)", x=[[1.0, -2.0, 0.0], [3.0, 3.0, -1.0]], y=[1.0, 3.0, 0.0])
case("maximum(x, x)", "torch.maximum(x, x)", x=draw(3))
case("minimum(x, x)", "torch.minimum(x, x)", x=draw(3))
case("maximum(x, 0.0)", "torch.maximum(x, torch.zeros(()))", x=EVERYWHERE)
case("maximum(x, y)", "torch.maximum(x, y)", "infinite", x=[np.inf, np.inf, -np.inf], y=[1.0, np.inf, 0.0])
case("arctan2(x, y)", "torch.arctan2(x, y)", x=draw(3, 1), y=draw(4))
case("remainder(x, y)", "torch.remainder(x, y)", x=draw(3, 1), y=draw(4))
_SIGNS = {"x": [0.0, 0.0, 0.0, 1.0, -1.0], "y": [0.0, 1.0, -1.0, 0.0, 0.0]}
case("arctan2(x, y)", "torch.arctan2(x, y)", "on the axes", **_SIGNS)
case("where(c, x, y)", "torch.where(c, x, y)", c=[[True], [False]], x=draw(3), y=draw(2, 3))
case("where(x > 0, x, 0.0)", "torch.where(x > 0, x, 0.0)", x=EVERYWHERE)
# The branch that is not taken is inf and its adjoint 0: their product is NaN, unless that branch is given another x.
_SAFE = "where(x > 0, x, 1.0)"
case("where(x > 0, log(x), 0.0)", "torch.where(x > 0, torch.log(x), 0.0)", x=[0.0, 1.0, 2.0])
case(f"where(x > 0, log({_SAFE}), 0.0)", f"torch.where(x > 0, torch.log(torch.{_SAFE}), 0.0)", x=[0.0, 1.0])
COMPARISONS = {"==": "eq equal", "!=": "ne not_equal", "<": "lt less", "<=": "le less_equal"}
COMPARISONS |= {">": "gt greater", ">=": "ge greater_equal"}
for _symbol, _names in COMPARISONS.items():
    _theirs, _ours = _names.split()
    case(f"x {_symbol} y", "", x=[1.0, 2.0, 3.0], y=[2.0])
    case(f"{_ours}(x, y)", f"torch.{_theirs}(x, y)", x=[1.0, 2.0, 3.0], y=[2.0])
_BOOLS = {"x": [True, True, False, False], "y": [True, False, True, False]}
for _name in ("and", "or", "xor"):
    case(f"logical_{_name}(x, y)", f"torch.logical_{_name}(x, y)", **_BOOLS)
case("logical_not(x)", "torch.logical_not(x)", x=[True, False])
case("x & y", "", **_BOOLS)
case("x | y", "", **_BOOLS)
case("~x", "", x=[True, False])

# Reductions.

AXES: dict[str, str] = {
    "": "",
    ", axis=0": ", dim=0",
    ", axis=-1, keepdims=True": ", dim=-1, keepdim=True",
    ", axis=(0, 2)": ", dim=(0, 2)",
}
for _axis, _dim in AXES.items():
    _all = _dim or ", dim=(0, 1, 2)"
    _ties = Draw((2, 3, 2), -1.0, 1.0, (1.5, 0.0, 1.5, 1.5, -1.5, 0.0, 1.5, -1.5, 0.0, -1.5, -1.5, 0.0))
    case(f"sum(x{_axis})", f"torch.sum(x{_dim})", x=draw(2, 3, 2))
    case(f"mean(x{_axis})", f"torch.mean(x{_dim})", x=draw(2, 3, 2))
    case(f"max(x{_axis})", f"torch.amax(x{_dim})", "without ties", x=draw(2, 3, 2))
    case(f"max(x{_axis})", f"torch.amax(x{_dim})", "with ties", x=_ties)
    case(f"min(x{_axis})", f"torch.amin(x{_dim})", "without ties", x=draw(2, 3, 2))
    case(f"min(x{_axis})", f"torch.amin(x{_dim})", "with ties", x=_ties)
    case(f"var(x{_axis})", f"torch.var(x{_all}, correction=0)", x=draw(2, 3, 2))
    case(f"var(x{_axis}, ddof=1)", f"torch.var(x{_all}, correction=1)", x=draw(2, 3, 2))
    case(f"norm(x{_axis})", f"torch.linalg.vector_norm(x{_dim})", x=draw(2, 3, 2))
    case(f"logsumexp(x{_axis})", f"torch.logsumexp(x{_all})", x=draw(2, 3, 2))
for _axis, _dim in {"": "", ", axis=1": ", dim=1", ", axis=0, keepdims=True": ", dim=0, keepdim=True"}.items():
    case(f"prod(x{_axis})", f"torch.prod(x{_dim})", x=draw(3, 3, low=0.5))
    case(f"prod(x{_axis})", f"torch.prod(x{_dim})", "one zero", x=[[2.0, 0.0, 3.0], [-1.5, 0.5, 2.5], [1.0, -2.0, 3.0]])
    case(f"prod(x{_axis})", f"torch.prod(x{_dim})", "many zeros", x=[[2.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
case("prod(x, axis=(1, 2))", "torch.prod(x.flatten(1), dim=1)", x=Draw((2, 2, 3), points=(0.0, 2.0, 0.0)))
case("var(x)", "torch.var(x, correction=0)", "all equal", x=[2.0, 2.0, 2.0])
case("var(x)", "torch.var(x, correction=0)", "far from zero", x=[1001.0, 1002.0, 1004.0])
case("norm(x)", "torch.linalg.vector_norm(x)", "of zeros", x=[0.0, 0.0, 0.0])
_ROWS = [[0.0, 0.0, 0.0], [3.0, 0.0, 4.0], [-2.0, 2.0, 1.0], [-1.0, 1.0, 1.0]]
case("norm(x, axis=1)", "torch.linalg.vector_norm(x, dim=1)", "a row of zeros", x=_ROWS)
for _ord in ("0", "0.5", "1", "1.5", "3", "inf", "-inf"):
    _call = f"float('{_ord}')" if "inf" in _ord else _ord
    case(f"norm(x, ord={_call}, axis=1)", f"torch.linalg.vector_norm(x, ord={_call}, dim=1)", x=_ROWS)
case("logsumexp(x, axis=1)", "torch.logsumexp(x, dim=1)", "far", x=[[1e4, -1e4, 1e4], [-1e4, -1e4, -1e4 + 1]])
_INFINITE = [[-np.inf, 0.0, 1.0], [-np.inf, -np.inf, -np.inf]]
case("logsumexp(x, axis=1)", "torch.logsumexp(x, dim=1)", "minus infinity", x=_INFINITE)
case("logsumexp(x, axis=1)", "torch.logsumexp(x, dim=1)", "infinity", fixed="x", x=[[np.inf, 0.0, 1.0]])
for _name, _function in {"softmax": "F.softmax", "log_softmax": "F.log_softmax"}.items():
    for _axis in (-1, 0):
        case(f"{_name}(x, axis={_axis})", f"{_function}(x, dim={_axis})", x=draw(3, 4))
    case(f"{_name}(x, axis=1)", f"{_function}(x, dim=1)", "rank 3", x=draw(2, 3, 2))
    _far = [[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1.0, 1.0, 1.0]]
    case(f"{_name}(x, axis=-1)", f"{_function}(x, dim=-1)", "far", x=_far)
    case(f"{_name}(x, axis=-1)", f"{_function}(x, dim=-1)", "minus infinity", x=_INFINITE)
case("argmax(x, axis=1)", "torch.argmax(x, dim=1)", x=[[1.0, 3.0, 3.0], [2.0, 0.0, 2.0]])
case("argmax(x)", "torch.argmax(x)", x=draw(3, 4))
case("argmin(x, axis=1)", "torch.argmin(x, dim=1)", x=[[1.0, 3.0, 1.0], [2.0, 0.0, 0.0]])
case("cumsum(x)", "torch.cumsum(x.flatten(), dim=0)", x=draw(2, 3))
for _axis in (0, -1):
    case(f"cumsum(x, axis={_axis})", f"torch.cumsum(x, dim={_axis})", x=draw(3, 4))

# Products.

MATMUL: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "matrices": ((2, 3), (3, 4)),
    "vectors": ((3,), (3,)),
    "matrix and vector": ((2, 3), (3,)),
    "vector and matrix": ((3,), (3, 2)),
    "batches": ((2, 3, 4), (2, 4, 5)),
    "batch and matrix": ((2, 3, 4), (4, 2)),
    "matrix and batch": ((3, 4), (2, 4, 2)),
    "batch and vector": ((2, 3, 4), (4,)),
    "vector and batch": ((4,), (2, 4, 3)),
    "batches that broadcast": ((2, 1, 2, 3), (3, 3, 2)),
    "a batch of one": ((1, 2, 3), (4, 3, 2)),
    "one column": ((3, 1), (1, 2)),
}
for _note, (_a, _b) in MATMUL.items():
    case("x @ y", "", _note, x=draw(*_a), y=draw(*_b))
case("matmul(x, y)", "torch.matmul(x, y)", x=draw(2, 3), y=draw(3, 2))
case("x @ x.T", "", x=draw(2, 3))
case("x @ x", "", x=draw(3, 3))
case("outer(x, y)", "torch.outer(x, y)", x=draw(3), y=draw(2))
case("dot(x, y)", "torch.dot(x, y)", x=draw(3), y=draw(3))
case("outer(x, y)", "torch.outer(x.flatten(), y.flatten())", "matrices", x=draw(2, 2), y=draw(1, 3))
case("dot(x, y)", "torch.mm(x, y)", "matrices", x=draw(2, 3), y=draw(3, 2))
case("trace(x)", "torch.trace(x)", x=draw(3, 3))
case("trace(x)", "torch.trace(x)", "not square", x=draw(2, 4))
for _k in (-1, 0, 1):
    case(f"diagonal(x, {_k})", f"torch.diagonal(x, {_k})", x=draw(3, 4))
    case(f"triu(x, {_k})", f"torch.triu(x, {_k})", x=draw(3, 4))
    case(f"tril(x, {_k})", f"torch.tril(x, {_k})", x=draw(2, 4, 3))
case("diagonal(x, axis1=1, axis2=2)", "torch.diagonal(x, dim1=1, dim2=2)", x=draw(2, 3, 4))
EINSUM: dict[str, tuple[tuple[int, ...], ...]] = {
    "ij,jk->ik": ((2, 3), (3, 4)),
    "ij,kj": ((2, 3), (4, 3)),
    "ij,jk->ki": ((2, 3), (3, 4)),
    "bij,bjk->bik": ((2, 3, 4), (2, 4, 2)),
    "bij,kj->bik": ((2, 3, 4), (5, 4)),
    "i,i->": ((3,), (3,)),
    "i,j->ij": ((3,), (2,)),
    "i,ij->j": ((3,), (3, 2)),
    "ij,ij->": ((2, 3), (2, 3)),
    "ij,ij->ij": ((2, 3), (2, 3)),
    "ij,ij->i": ((2, 3), (2, 3)),
    "ij,k->": ((2, 3), (2,)),
    "ijk,jl->il": ((2, 3, 2), (3, 2)),
    "abc,cbd->da": ((2, 3, 4), (4, 3, 2)),
    "...ij,...jk->...ik": ((2, 1, 2, 3), (3, 3, 2)),
    "...i,i->...": ((2, 3, 4), (4,)),
    "ii,i->i": ((3, 3), (3,)),
    "ij->ji": ((2, 3),),
    "ij->": ((2, 3),),
    "ij->i": ((2, 3),),
    "ii->": ((3, 3),),
    "ii->i": ((3, 3),),
    "iij->j": ((2, 2, 3),),
}
for _subscripts, _shapes in EINSUM.items():
    _names = "xy"[: len(_shapes)]
    _call = f"einsum({_subscripts!r}, {', '.join(_names)})"
    case(_call, f"torch.{_call}", **{n: draw(*s) for n, s in zip(_names, _shapes, strict=True)})

# Shapes.

case("reshape(x, (4, -1))", "torch.reshape(x, (4, -1))", x=draw(2, 6))
case("reshape(x, ())", "torch.reshape(x, ())", x=draw(1, 1))
case("x.T", "", x=draw(2, 3))
case("transpose(x, (2, 0, 1))", "torch.permute(x, (2, 0, 1))", x=draw(2, 3, 2))
case("swapaxes(x, 0, -1)", "torch.swapaxes(x, 0, -1)", x=draw(2, 3, 2))
case("broadcast_to(x, (2, 3, 4))", "torch.broadcast_to(x, (2, 3, 4))", x=draw(3, 1))
case("sum_to(x, (3, 1))", "x.sum_to_size(3, 1)", x=draw(2, 3, 4))
case("squeeze(x)", "torch.squeeze(x)", x=draw(1, 3, 1))
case("squeeze(x, axis=0)", "torch.squeeze(x, dim=0)", x=draw(1, 3, 1))
case("expand_dims(x, 1)", "torch.unsqueeze(x, 1)", x=draw(2, 3))
case("concatenate([x, y, x], axis=1)", "torch.cat([x, y, x], dim=1)", x=draw(2, 3), y=draw(2, 1))
case("stack([x, y], axis=-1)", "torch.stack([x, y], dim=-1)", x=draw(2, 3), y=draw(2, 3))
case("split(x, 2, axis=1)", "torch.tensor_split(x, 2, dim=1)", x=draw(2, 4))
case("split(x, [1, 3], axis=1)", "torch.tensor_split(x, [1, 3], dim=1)", x=draw(2, 4))
case("flip(x, axis=(0, 1))", "torch.flip(x, dims=(0, 1))", x=draw(2, 3))
case("pad(x, ((1, 0), (0, 2)))", "F.pad(x, (0, 2, 1, 0))", x=draw(2, 3))
case("pad(x, 1, 3.0)", "F.pad(x, (1, 1, 1, 1), value=3.0)", x=draw(2, 3))
case("pack([x, y])", "torch.nn.utils.parameters_to_vector([x, y])", x=draw(2, 3), y=draw(4))
case("size(x, axis=1) * x", "x.size(1) * x", x=draw(2, 3))

INDICES: dict[str, tuple[int, ...]] = {
    "x[1]": (3, 4),
    "x[-1, 2]": (3, 4),
    "x[1:]": (3, 4),
    "x[:, 1:3]": (3, 4),
    "x[::2, -3:-1]": (3, 4),
    "x[None, 1, ..., None]": (3, 4),
    "x[..., 0]": (2, 3, 4),
    "x[1:1]": (3,),
}
for _key, _shape in INDICES.items():
    case(_key, "", x=draw(*_shape))
case("x[::-1]", "torch.flip(x, dims=(0,))", x=draw(4))
case("x[i]", "", x=draw(4, 2), i=[2, 0, 2, -1])
case("x[i]", "", "two axes of indices", x=draw(4, 2), i=[[2, 0], [2, 2]])
case("x[:, i]", "", x=draw(2, 4), i=[3, 3])
case("x[i, j]", "", x=draw(3, 4), i=[0, 2, 0], j=[1, 1, 1])
case("x[i, j]", "", "broadcast", x=draw(3, 4), i=[[0], [2]], j=[1, 1, 3])
case("x[i, :, j]", "", x=draw(3, 2, 4), i=[0, 2, 0], j=[1, 1, 1])
case("x[:, i, 0]", "", x=draw(3, 4, 2), i=[1, 1, 2])
case("x[:, i, j]", "", x=draw(2, 3, 4), i=[0, 2, 0], j=[1, 1, 1])
case("take(x, i, axis=1)", "torch.index_select(x, 1, i)", x=draw(2, 4), i=[3, 0, 3])
case("take(x, i)", "F.embedding(i, x)", x=draw(4, 2), i=[[3, 0], [3, 3]])
case("scatter_add(x, i, (4, 2))", "torch.zeros(4, 2).index_add(0, i, x)", x=draw(3, 2), i=[3, 0, 3])
case("scatter_add(x, i, (2, 4), axis=1)", "torch.zeros(2, 4).index_add(1, i, x)", x=draw(2, 3), i=[1, 1, 1])
case("take_along_axis(x, i, axis=1)", "torch.gather(x, 1, i)", x=draw(2, 4), i=[[3, 0, 3], [1, 1, 1]])
case("take_along_axis(x, i, axis=0)", "torch.gather(x, 0, i)", x=draw(3, 2), i=[[2, 0]])
_ALONG = {"x": draw(2, 3), "i": [[3, 0, 3], [1, 1, 1]]}
case("scatter_add_along_axis(x, i, (2, 4), axis=1)", "torch.zeros(2, 4).scatter_add(1, i, x)", **_ALONG)
case("one_hot(i, 4)", "F.one_hot(i, 4).to(torch.float64)", i=[[0, 3], [1, 1]])

# Losses.

REDUCTIONS = ("mean", "sum", "none")
TIES = {"x": [0.0, 1.0, -1.0, 0.3, 2.5, -4.0], "y": [0.0, 0.0, 0.0, 0.3, 0.0, 0.0]}
EDGES = {"x": [1.0, -1.0, 0.3, 2.0, -0.5, 0.0], "y": [1.0, -1.0, 1.0, 1.0, 1.0, -1.0]}
LOGITS = points(0.0, more=3)
TARGETS = [0.0, 1.0, 0.25, 0.5]
FAR = {"x": [1e4, -1e4, 1e4, -1e4], "y": [0.0, 1.0, 1.0, 0.0]}
FAR_LOGITS = [[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0.0, 0.0, -1e4]]
for _r in REDUCTIONS:
    _end = f"reduction='{_r}')"
    case(f"mean_squared_error(x, y, {_end}", f"F.mse_loss(x, y, {_end}", x=draw(3, 2), y=draw(3, 2))
    case(f"mean_absolute_error(x, y, {_end}", f"F.l1_loss(x, y, {_end}", **TIES)
    case(f"huber(x, y, {_end}", f"F.huber_loss(x, y, {_end}", **TIES)
    case(f"huber(x, y, delta=0.7, {_end}", f"F.huber_loss(x, y, delta=0.7, {_end}", x=draw(3, 2), y=draw(3, 2))
    case(f"cross_entropy(x, i, {_end}", f"F.cross_entropy(x, i, {_end}", x=draw(3, 4), i=[0, 3, 3])
    case(f"cross_entropy(x, i, {_end}", f"F.cross_entropy(x, i, {_end}", "far", x=FAR_LOGITS, i=[1, 1, 0])
    _p = draw(3, 4, low=0.0, high=1.0)
    case(f"cross_entropy(x, y, {_end}", f"F.cross_entropy(x, y, {_end}", "probabilities", x=draw(3, 4), y=_p)
    _bce = "F.binary_cross_entropy_with_logits"
    case(f"binary_cross_entropy(x, y, {_end}", f"{_bce}(x, y, {_end}", x=LOGITS, y=TARGETS)
    case(f"binary_cross_entropy(x, y, {_end}", f"{_bce}(x, y, {_end}", "far", **FAR)
    # PyTorch has the hinge without derivative at its edge as a relu; margin_ranking_loss takes the other side there.
    _hinge = {"mean": "F.relu(1 - x * y).mean()", "sum": "F.relu(1 - x * y).sum()", "none": "F.relu(1 - x * y)"}[_r]
    case(f"hinge(x, y, {_end}", _hinge, **EDGES)
    _hinge = f"F.margin_ranking_loss(x, 0 * x, y, margin=1.0, {_end}"
    case(f"hinge(x, y, {_end}", _hinge, "off its edge", fixed="y", x=draw(4), y=[1.0, -1.0, 1.0, -1.0])

# A weight a sample: w for rows of x. The mean is Σ w·ℓ / Σ w. PyTorch's is, but for huber and the binary cross-entropy,
# which it divides by the number of values; its cross-entropy has a weight a class: those of the samples' classes.
SAMPLES = {"x": draw(3, 2), "y": draw(3, 2), "w": draw(3, low=0.2, high=2.0)}
BINARY = {"x": LOGITS, "y": TARGETS, "w": draw(4, low=0.2, high=2.0)}
WIDE = "w[:, None].expand(3, 2)"
for _r in REDUCTIONS:
    case(f"mean_squared_error(x, y, w, '{_r}')", f"F.mse_loss(x, y, weight={WIDE}, reduction='{_r}')", **SAMPLES)
    case(f"mean_absolute_error(x, y, w, '{_r}')", f"F.l1_loss(x, y, weight={WIDE}, reduction='{_r}')", **SAMPLES)
    _ce, _w = f"F.cross_entropy(x, i, weight=w, reduction='{_r}')", draw(4, low=0.2, high=2.0)
    case(f"cross_entropy(x, i, take(w, i), '{_r}')", _ce, fixed="w", x=draw(3, 4), i=[0, 3, 3], w=_w)
_NONE = "reduction='none'"
_VALUES = {
    "cross_entropy": f"F.cross_entropy(x, y, {_NONE}) * w",
    "binary_cross_entropy": f"F.binary_cross_entropy_with_logits(x, y, {_NONE}) * w",
    "hinge": "F.relu(1 - x * y) * w",
    "huber": f"F.huber_loss(x, y, weight={WIDE}, {_NONE})",
}
for _name, _values in _VALUES.items():
    _inputs = BINARY if _name in ("binary_cross_entropy", "hinge") else SAMPLES
    _count = "2 * w.sum()" if _name == "huber" else "w.sum()"
    case(f"{_name}(x, y, w, 'mean')", f"({_values}).sum() / ({_count})", **_inputs)
    case(f"{_name}(x, y, w, 'sum')", f"({_values}).sum()", **_inputs)
    case(f"{_name}(x, y, w, 'none')", _values, **_inputs)

# ---------------------------------------------------------------------------------------------------------------------
# Optimizers: 100 steps of a 4-8-3 tanh network, from the same parameters, over the same batches in turn
# ---------------------------------------------------------------------------------------------------------------------

WIDTHS, BATCH, BATCHES, STEPS = (4, 8, 3), 8, 3, (1, 10, 100)
_SCHEDULE = "torch.optim.lr_scheduler."
#: What graphgrad's trainer takes, PyTorch's optimizer, and PyTorch's schedule if there is one.
OPTIMIZERS: dict[str, tuple[str, str]] = {
    "SGD(0.1)": ("torch.optim.SGD(parameters, lr=0.1)", ""),
    "SGD(schedules.exponential(0.2, 0.97))": (
        "torch.optim.SGD(parameters, lr=0.2)",
        f"{_SCHEDULE}ExponentialLR(optimizer, 0.97)",
    ),
    "SGD(schedules.exponential(0.2, 0.5, every=30, stairs=True))": (
        "torch.optim.SGD(parameters, lr=0.2)",
        f"{_SCHEDULE}StepLR(optimizer, 30, gamma=0.5)",
    ),
    "SGD(schedules.piecewise([0.2, 0.1, 0.05], [20, 60]))": (
        "torch.optim.SGD(parameters, lr=0.2)",
        f"{_SCHEDULE}MultiStepLR(optimizer, [20, 60], gamma=0.5)",
    ),
    "SGD(schedules.inverse(0.2, decay=0.1, power=0.75))": (
        "torch.optim.SGD(parameters, lr=0.2)",
        f"{_SCHEDULE}LambdaLR(optimizer, lambda k: (1 + 0.1 * k) ** -0.75)",
    ),
    "SGD(0.1, weight_decay=0.05)": ("torch.optim.SGD(parameters, lr=0.1, weight_decay=0.05)", ""),
    "Momentum(0.1, 0.9)": ("torch.optim.SGD(parameters, lr=0.1 * (1 - 0.9), momentum=0.9)", ""),
    "Momentum(schedules.warm_up(0.1, 20, start=0.01), 0.9)": (
        "torch.optim.SGD(parameters, lr=0.1 * (1 - 0.9), momentum=0.9)",
        f"{_SCHEDULE}LinearLR(optimizer, 0.1, total_iters=20)",
    ),
    "Momentum(0.02, 0.8, form='polyak')": ("torch.optim.SGD(parameters, lr=0.02, momentum=0.8)", ""),
    "Momentum(0.02, 0.8, form='nesterov')": ("torch.optim.SGD(parameters, lr=0.02, momentum=0.8, nesterov=True)", ""),
    "Momentum(schedules.warm_up(schedules.cosine(0.02, 80), 20, start=0.002), 0.8, form='nesterov')": (
        "torch.optim.SGD(parameters, lr=0.02, momentum=0.8, nesterov=True)",
        f"{_SCHEDULE}SequentialLR(optimizer, [{_SCHEDULE}LinearLR(optimizer, 0.1, total_iters=20), "
        f"{_SCHEDULE}CosineAnnealingLR(optimizer, 80)], milestones=[20])",
    ),
    "Adam(0.01)": ("torch.optim.Adam(parameters, lr=0.01)", ""),
    "Adam(0.02, beta1=0.8, beta2=0.95, eps=1e-6)": (
        "torch.optim.Adam(parameters, lr=0.02, betas=(0.8, 0.95), eps=1e-6)",
        "",
    ),
    "Adam(0.01, weight_decay=0.1)": ("torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1)", ""),
    "Momentum(0.02, 0.8, form='nesterov'), l2=0.05": (
        "torch.optim.SGD(parameters, lr=0.02, momentum=0.8, nesterov=True, weight_decay=0.05)",
        "",
    ),
    "Adam(0.01), l2=0.05": ("torch.optim.Adam(parameters, lr=0.01, weight_decay=0.05)", ""),
    "Adam(schedules.cosine(0.02, 100), weight_decay=0.1)": (
        "torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.1)",
        f"{_SCHEDULE}CosineAnnealingLR(optimizer, 100)",
    ),
    "Adam(schedules.cosine(0.02, 100, final=0.005))": (
        "torch.optim.Adam(parameters, lr=0.02)",
        f"{_SCHEDULE}CosineAnnealingLR(optimizer, 100, eta_min=0.005)",
    ),
}
LOSSES: dict[str, str] = {"mean_squared_error": "F.mse_loss(z, y)", "cross_entropy": "F.cross_entropy(z, labels)"}


def training_data() -> dict[str, Array]:
    """The batches, one after the other, and the initial parameters of the layers."""
    samples = BATCH * BATCHES
    arrays = {"x": draw(samples, WIDTHS[0]), "y": draw(samples, WIDTHS[-1], low=-1.0, high=1.0)}
    for layer, (before, after) in enumerate(pairwise(WIDTHS), 1):
        arrays[f"W{layer}"] = draw(after, before, low=-0.6, high=0.6)
        arrays[f"b{layer}"] = draw(after, low=-0.1, high=0.1)
    drawn = {name: spec.array(f"training: {name}") for name, spec in arrays.items()}
    return drawn | {"labels": np.argmax(drawn["y"], axis=1)}
