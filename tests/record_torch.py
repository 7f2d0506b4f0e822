"""Write what PyTorch says to tests/data/torch.json: values and gradients of operators, and steps of its optimizers.

    python tests/record_torch.py            # write the record
    python tests/record_torch.py --check    # compute all of it again and compare; status 1 and a table where it differs

Needs torch and numpy and nothing of this project, so that it runs in an environment of its own. Everything is float64.
A case is a graphgrad expression beside a PyTorch expression of the same meaning, in the same named inputs. Both texts
and the inputs are in the record: tests/test_torch_record.py needs the record alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

RECORD = Path(__file__).parent / "data" / "torch.json"
TOLERANCE = 1e-13  # of the largest entry: vector instructions of other processors may differ in the last bits
RUN_TOLERANCE = 1e-11  # of a run's largest parameter: a hundred steps amplify those bits

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

    def array(self, seed: str) -> np.ndarray[Any, Any]:
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

    @property
    def name(self) -> str:
        return f"{self.gg}, {self.note}" if self.note else self.gg


CASES: list[Case] = []


def case(gg: str, torch: str = "", note: str = "", **inputs: Any) -> None:
    """`torch` may be left out where both expressions have the same text."""
    CASES.append(Case(gg, torch or gg, inputs, note))


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
    "sigmoid(x)": ("torch.sigmoid(x)", EVERYWHERE),
    "logsigmoid(x)": ("F.logsigmoid(x)", EVERYWHERE),
    "softplus(x)": ("F.softplus(x)", EVERYWHERE),
    "relu(x)": ("F.relu(x)", EVERYWHERE),
    "leaky_relu(x)": ("F.leaky_relu(x)", EVERYWHERE),
    "leaky_relu(x, negative_slope=0.2)": ("F.leaky_relu(x, negative_slope=0.2)", EVERYWHERE),
    "elu(x)": ("F.elu(x)", EVERYWHERE),
    "elu(x, alpha=0.7)": ("F.elu(x, alpha=0.7)", EVERYWHERE),
    "selu(x)": ("F.selu(x)", EVERYWHERE),
    "celu(x)": ("F.celu(x)", EVERYWHERE),
    "celu(x, alpha=0.7)": ("F.celu(x, alpha=0.7)", EVERYWHERE),
    "gelu(x)": ("F.gelu(x)", EVERYWHERE),
    "gelu(x, approximate='tanh')": ("F.gelu(x, approximate='tanh')", EVERYWHERE),
    "silu(x)": ("F.silu(x)", EVERYWHERE),
    "mish(x)": ("F.mish(x)", EVERYWHERE),
    "softsign(x)": ("F.softsign(x)", EVERYWHERE),
    "hard_tanh(x)": ("F.hardtanh(x)", EVERYWHERE),
    "hard_sigmoid(x)": ("F.hardsigmoid(x)", points(0.0, -3.0, 3.0, low=-4.0, high=4.0)),
    "clip(x, -1.0, 1.0)": ("torch.clamp(x, -1.0, 1.0)", EVERYWHERE),
    "clip(x, -1.0, None)": ("torch.clamp(x, min=-1.0)", EVERYWHERE),
    "clip(x, None, 1.0)": ("torch.clamp(x, max=1.0)", EVERYWHERE),
    "cast(x, 'float32')": ("x.to(torch.float32)", EVERYWHERE),
    "cast(x, 'int64')": ("x.to(torch.int64)", EVERYWHERE),
}
for _gg, (_torch, _x) in UNARY.items():
    case(_gg, _torch, x=_x)

# Where a careless formula overflows or cancels. PyTorch's softplus is the identity from its threshold on: 20, if not set.
FAR_LEFT, FAR_RIGHT = [-1e4, -1000.0, -750.0, -100.0, -40.0, -20.0], [20.0, 40.0, 100.0, 750.0, 1000.0, 1e4]
SATURATING = "tanh sigmoid logsigmoid softplus relu elu selu celu gelu silu mish softsign hard_tanh hard_sigmoid erf".split()
for _name in SATURATING:
    _row = UNARY[f"{_name}(x)"][0]
    case(f"{_name}(x)", _row, "far left", x=FAR_LEFT)
    case(f"{_name}(x)", _row, "far right", x=FAR_RIGHT if _name != "softplus" else [37.0, 100.0, 750.0, 1e4])
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
case("x / x", "", x=draw(3, low=0.5))
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
_SIGNS = {"x": [0.0, 0.0, 0.0, 1.0, -1.0], "y": [0.0, 1.0, -1.0, 0.0, 0.0]}
case("arctan2(x, y)", "torch.arctan2(x, y)", "on the axes", **_SIGNS)
case("where(c, x, y)", "torch.where(c, x, y)", c=[[True], [False]], x=draw(3), y=draw(2, 3))
case("where(x > 0, x, 0.0)", "torch.where(x > 0, x, 0.0)", x=EVERYWHERE)
case("where(x > 0, log(x), 0.0)", "torch.where(x > 0, torch.log(x), 0.0)", "a branch not taken is NaN", x=[0.0, 1.0, 2.0])
case("where(x > 0, log(where(x > 0, x, 1.0)), 0.0)", "torch.where(x > 0, torch.log(torch.where(x > 0, x, 1.0)), 0.0)", x=[0.0, 1.0])
for _symbol, _name in {"==": "equal", "!=": "not_equal", "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal"}.items():
    case(f"x {_symbol} y", "", x=[1.0, 2.0, 3.0], y=[2.0])
    case(f"{_name}(x, y)", {"equal": "torch.eq(x, y)"}.get(_name, f"torch.{_name}(x, y)"), x=[1.0, 2.0, 3.0], y=[2.0])
_BOOLS = {"x": [True, True, False, False], "y": [True, False, True, False]}
for _name in ("and", "or", "xor"):
    case(f"logical_{_name}(x, y)", f"torch.logical_{_name}(x, y)", **_BOOLS)
case("logical_not(x)", "torch.logical_not(x)", x=[True, False])
case("x & y", "", **_BOOLS)
case("x | y", "", **_BOOLS)
case("~x", "", x=[True, False])

# Reductions.

AXES: dict[str, str] = {"": "", ", axis=0": ", dim=0", ", axis=-1, keepdims=True": ", dim=-1, keepdim=True", ", axis=(0, 2)": ", dim=(0, 2)"}
for _axis, _dim in AXES.items():
    _ties = Draw((2, 3, 2), -1.0, 1.0, (1.5, 0.0, 1.5, 1.5, -1.5, 0.0, 1.5, -1.5, 0.0, -1.5, -1.5, 0.0))
    case(f"sum(x{_axis})", f"torch.sum(x{_dim})", x=draw(2, 3, 2))
    case(f"mean(x{_axis})", f"torch.mean(x{_dim})", x=draw(2, 3, 2))
    case(f"max(x{_axis})", f"torch.amax(x{_dim})", "without ties", x=draw(2, 3, 2))
    case(f"max(x{_axis})", f"torch.amax(x{_dim})", "with ties", x=_ties)
    case(f"min(x{_axis})", f"torch.amin(x{_dim})", "without ties", x=draw(2, 3, 2))
    case(f"min(x{_axis})", f"torch.amin(x{_dim})", "with ties", x=_ties)
    case(f"var(x{_axis})", f"torch.var(x{_dim or ', dim=(0, 1, 2)'}, correction=0)", x=draw(2, 3, 2))
    case(f"var(x{_axis}, ddof=1)", f"torch.var(x{_dim or ', dim=(0, 1, 2)'}, correction=1)", x=draw(2, 3, 2))
    case(f"norm(x{_axis})", f"torch.linalg.vector_norm(x{_dim})", x=draw(2, 3, 2))
    case(f"logsumexp(x{_axis})", f"torch.logsumexp(x{_dim or ', dim=(0, 1, 2)'})", x=draw(2, 3, 2))
for _axis, _dim in {"": "", ", axis=1": ", dim=1", ", axis=0, keepdims=True": ", dim=0, keepdim=True"}.items():
    case(f"prod(x{_axis})", f"torch.prod(x{_dim})", x=draw(3, 3, low=0.5))
    case(f"prod(x{_axis})", f"torch.prod(x{_dim})", "one zero", x=[[2.0, 0.0, 3.0], [-1.5, 0.5, 2.5], [1.0, -2.0, 3.0]])
    case(f"prod(x{_axis})", f"torch.prod(x{_dim})", "many zeros", x=[[2.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
case("var(x)", "torch.var(x, correction=0)", "all equal", x=[2.0, 2.0, 2.0])
case("var(x)", "torch.var(x, correction=0)", "far from zero", x=[1e6 + 1, 1e6 + 2, 1e6 + 4])
case("norm(x)", "torch.linalg.vector_norm(x)", "of zeros", x=[0.0, 0.0, 0.0])
case("norm(x, axis=1)", "torch.linalg.vector_norm(x, dim=1)", "a row of zeros", x=[[0.0, 0.0], [3.0, 4.0]])
case("logsumexp(x, axis=1)", "torch.logsumexp(x, dim=1)", "far", x=[[1e4, -1e4, 1e4], [-1e4, -1e4, -1e4 + 1]])
case("logsumexp(x, axis=1)", "torch.logsumexp(x, dim=1)", "infinite", x=[[-np.inf, 0.0, 1.0], [np.inf, 0.0, 1.0]])
for _name, _function in {"softmax": "F.softmax", "log_softmax": "F.log_softmax"}.items():
    for _axis in (-1, 0):
        case(f"{_name}(x, axis={_axis})", f"{_function}(x, dim={_axis})", x=draw(3, 4))
    case(f"{_name}(x, axis=1)", f"{_function}(x, dim=1)", "rank 3", x=draw(2, 3, 2))
    case(f"{_name}(x, axis=-1)", f"{_function}(x, dim=-1)", "far", x=[[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1.0, 1.0, 1.0]])
case("argmax(x, axis=1)", "torch.argmax(x, dim=1)", x=[[1.0, 3.0, 3.0], [2.0, 0.0, 2.0]])
case("argmax(x)", "torch.argmax(x)", x=draw(3, 4))
case("argmin(x, axis=1)", "torch.argmin(x, dim=1)", x=[[1.0, 3.0, 1.0], [2.0, 0.0, 0.0]])
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
case("scatter_add_along_axis(x, i, (2, 4), axis=1)", "torch.zeros(2, 4).scatter_add(1, i, x)", x=draw(2, 3), i=[[3, 0, 3], [1, 1, 1]])
case("one_hot(i, 4)", "F.one_hot(i, 4).to(torch.float64)", i=[[0, 3], [1, 1]])

# Losses.

REDUCTIONS = ("mean", "sum", "none")
for _r in REDUCTIONS:
    case(f"mean_squared_error(x, y, reduction='{_r}')", f"F.mse_loss(x, y, reduction='{_r}')", x=draw(3, 2), y=draw(3, 2))
    case(f"mean_absolute_error(x, y, reduction='{_r}')", f"F.l1_loss(x, y, reduction='{_r}')", x=[1.0, 2.0, 3.0], y=[2.0, 2.0, 0.5])
    _edges = {"x": [0.0, 1.0, -1.0, 0.3, 2.5, -4.0], "y": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]}
    case(f"huber(x, y, reduction='{_r}')", f"F.huber_loss(x, y, reduction='{_r}')", **_edges)
    case(f"cross_entropy(x, i, reduction='{_r}')", f"F.cross_entropy(x, i, reduction='{_r}')", x=draw(3, 4), i=[0, 3, 1])
    case(
        f"binary_cross_entropy(x, y, reduction='{_r}')",
        f"F.binary_cross_entropy_with_logits(x, y, reduction='{_r}')",
        x=points(0.0),
        y=[0.0, 1.0, 1.0, 0.0, 0.25, 0.5, 1.0],
    )

# ---------------------------------------------------------------------------------------------------------------------
# Optimizers: 100 steps of a 4-8-3 tanh network, from the same parameters, over the same batches in turn
# ---------------------------------------------------------------------------------------------------------------------

WIDTHS, BATCH, BATCHES, STEPS = (4, 8, 3), 8, 3, (1, 10, 100)
OPTIMIZERS: dict[str, str] = {
    "SGD(0.1)": "torch.optim.SGD(parameters, lr=0.1)",
    "Momentum(0.1, 0.9)": "torch.optim.SGD(parameters, lr=0.1 * (1 - 0.9), momentum=0.9)",
    "Momentum(0.02, 0.8, form='polyak')": "torch.optim.SGD(parameters, lr=0.02, momentum=0.8)",
    "Momentum(0.02, 0.8, form='nesterov')": "torch.optim.SGD(parameters, lr=0.02, momentum=0.8, nesterov=True)",
    "Adam(0.01)": "torch.optim.Adam(parameters, lr=0.01)",
    "Adam(0.02, beta1=0.8, beta2=0.95, eps=1e-6)": "torch.optim.Adam(parameters, lr=0.02, betas=(0.8, 0.95), eps=1e-6)",
    "Adam(0.01, weight_decay=0.1)": "torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1)",
}
LOSSES: dict[str, str] = {"mean_squared_error": "F.mse_loss(z, y)", "cross_entropy": "F.cross_entropy(z, labels)"}


def training_data() -> dict[str, Any]:
    """The batches, one after the other, and the initial parameters."""
    samples = BATCH * BATCHES
    arrays = {"x": draw(samples, WIDTHS[0]), "y": draw(samples, WIDTHS[-1], low=-1.0, high=1.0)}
    for layer, (before, after) in enumerate(zip(WIDTHS, WIDTHS[1:], strict=False), 1):
        arrays[f"W{layer}"] = draw(after, before, low=-0.6, high=0.6)
        arrays[f"b{layer}"] = draw(after, low=-0.1, high=0.1)
    drawn = {name: spec.array(f"training {name}") for name, spec in arrays.items()}
    return drawn | {"labels": np.argmax(drawn["y"], axis=1)}


def train(optimizer: str, loss: str, data: dict[str, Any]) -> dict[str, Any]:
    """The losses and the parameters after some of the steps."""
    arrays = {name: torch.tensor(value) for name, value in data.items()}
    theta = {name: value.requires_grad_() for name, value in arrays.items() if name[0] in "Wb"}
    update = eval(optimizer, {"torch": torch, "parameters": list(theta.values())})
    result: dict[str, Any] = {"losses": [], "parameters": {}}
    for step in range(1, max(STEPS) + 1):
        start = (step - 1) % BATCHES * BATCH
        x, y, labels = (arrays[name][start : start + BATCH] for name in ("x", "y", "labels"))
        z = F.linear(torch.tanh(F.linear(x, theta["W1"], theta["b1"])), theta["W2"], theta["b2"])
        value = eval(loss, {"F": F, "z": z, "y": y, "labels": labels})
        update.zero_grad()
        value.backward()
        update.step()
        if step in STEPS:
            result["losses"].append(value.item())
            result["parameters"][str(step)] = {name: value.tolist() for name, value in theta.items()}
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Recording
# ---------------------------------------------------------------------------------------------------------------------

F = torch.nn.functional


@dataclass
class Entry:
    """A case with its numbers, as it stands in the record."""

    name: str
    gg: str
    torch: str
    inputs: dict[str, Any]
    outputs: list[Any] = field(default_factory=list)
    adjoints: list[Any] = field(default_factory=list)  # of the outputs: where the gradient starts; null for no float
    gradients: dict[str, Any] = field(default_factory=dict)


def record_case(case: Case) -> Entry:
    arrays = {
        name: value.array(f"{case.name}: {name}") if isinstance(value, Draw) else np.asarray(value)
        for name, value in case.inputs.items()
    }
    tensors = {name: torch.tensor(value) for name, value in arrays.items()}
    wrt = {name: t.requires_grad_() for name, t in tensors.items() if t.is_floating_point()}
    result = eval(case.torch, {"torch": torch, "F": F, **tensors})
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    adjoints = [
        torch.tensor(Draw(tuple(t.shape), 0.5, 1.5).array(f"{case.name}: adjoint {k}"), dtype=t.dtype) if t.is_floating_point() else None
        for k, t in enumerate(outputs)
    ]
    active = [(t, a) for t, a in zip(outputs, adjoints, strict=True) if t.requires_grad]
    found: Any = [None] * len(wrt)
    if active and wrt:
        found = torch.autograd.grad([t for t, _ in active], list(wrt.values()), [a for _, a in active], allow_unused=True)
    gradients = {name: (torch.zeros_like(t) if g is None else g).tolist() for (name, t), g in zip(wrt.items(), found, strict=True)}
    given = [a if a is None else a.tolist() for a in adjoints]
    return Entry(case.name, case.gg, case.torch, {n: a.tolist() for n, a in arrays.items()}, [t.tolist() for t in outputs], given, gradients)


def compute() -> dict[str, Any]:
    """The whole record."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    names = [c.name for c in CASES]
    if len(set(names)) < len(names):
        raise SystemExit(f"two cases are named {next(n for n in names if names.count(n) > 1)}: a note would tell them apart")
    data = training_data()
    runs = [
        {"gg": gg, "torch": optimizer, "loss": loss, **train(optimizer, LOSSES[loss], data)}
        for gg, optimizer in OPTIMIZERS.items()
        for loss in LOSSES
    ]
    return {
        "torch": torch.__version__.split("+")[0],
        "cases": [vars(record_case(c)) for c in CASES],
        "training": {"widths": list(WIDTHS), "batch": BATCH, **{name: array.tolist() for name, array in data.items()}},
        "runs": runs,
    }


def text(record: dict[str, Any]) -> str:
    """JSON with a field a line. Floats have as many digits as tell them apart; Infinity and NaN are Python's."""
    blocks = [f'"torch": {json.dumps(record["torch"])}', f'"training": {block(record["training"])}']
    for part in ("cases", "runs"):
        blocks.append(f'"{part}": [\n' + ",\n".join(block(entry) for entry in record[part]) + "\n]")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def block(entry: dict[str, Any]) -> str:
    return "{\n" + ",\n".join(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()) + "\n}"


# ---------------------------------------------------------------------------------------------------------------------
# Comparing
# ---------------------------------------------------------------------------------------------------------------------


def differences(stored: dict[str, Any], found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What differs: (case, field, how much)."""
    result: list[tuple[str, str, str]] = []

    def compare(name: str, was: Any, now: Any, tolerances: dict[str, float]) -> None:
        for key in sorted(was.keys() | now.keys()):
            if key not in was or key not in now:
                result.append((name, key, "only now" if key in now else "only in the record"))
            elif (apart := distance(was[key], now[key])) > tolerances.get(key, 0.0):
                result.append((name, key, f"{apart:.3g}" if np.isfinite(apart) else "not of one form"))

    for part, tolerances in {
        "cases": {"outputs": TOLERANCE, "gradients": TOLERANCE},
        "runs": {"losses": RUN_TOLERANCE, "parameters": RUN_TOLERANCE},
    }.items():
        was, now = ({e.get("name") or f"{e['gg']}, {e['loss']}": e for e in r[part]} for r in (stored, found))
        for name in dict.fromkeys([*was, *now]):
            if name in was and name in now:
                compare(name, was[name], now[name], tolerances)
            else:
                result.append((name, "the case", "only now" if name in now else "only in the record"))
    compare("training", stored["training"], found["training"], {})
    return result


def distance(a: Any, b: Any) -> float:
    """How far two values of the record are apart, in parts of the largest entry; inf where they are not of one form."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return max([distance(a[k], b[k]) for k in a], default=0.0)
    if isinstance(a, list) and isinstance(b, list) and (nested(a) or nested(b)):
        return max([distance(x, y) for x, y in zip(a, b, strict=True)], default=0.0) if len(a) == len(b) else np.inf
    if a == b or not (numeric(a) and numeric(b)):
        return 0.0 if a == b else np.inf
    x, y = np.asarray(a), np.asarray(b)
    if x.shape != y.shape or x.dtype != y.dtype:
        return np.inf
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    with np.errstate(invalid="ignore"):
        apart = np.max(np.where(same, 0.0, np.abs(x - y)), initial=0.0)
    if apart == 0.0:
        return 0.0
    return float(apart / np.max(np.abs(x), where=np.isfinite(x), initial=0.0)) if np.isfinite(apart) else np.inf


def nested(value: list[Any]) -> bool:
    """A list that is no array of numbers: its entries are compared one by one."""
    try:
        return np.asarray(value).dtype.kind not in "biuf"
    except ValueError:
        return True


def numeric(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, list) and not nested(value))


def main() -> int:
    parser = argparse.ArgumentParser(description="Record what PyTorch says, or check the record.")
    parser.add_argument("--check", action="store_true", help="compare with the record instead of writing it")
    arguments = parser.parse_args()
    found = compute()
    if not arguments.check:
        RECORD.parent.mkdir(exist_ok=True)
        RECORD.write_text(text(found), encoding="utf-8")
        print(f"{RECORD}: {len(found['cases'])} cases and {len(found['runs'])} runs of PyTorch {found['torch']}")
        return 0
    if not RECORD.exists():
        print(f"{RECORD} does not exist; python {sys.argv[0]} writes it", file=sys.stderr)
        return 1
    stored = json.loads(RECORD.read_text(encoding="utf-8"))
    rows = differences(stored, found)
    print(f"{len(stored['cases'])} cases and {len(stored['runs'])} runs of PyTorch {stored['torch']}, against {found['torch']}: ", end="")
    if not rows:
        print("they agree")
        return 0
    print(f"{len(rows)} differences")
    rows.insert(0, ("case", "field", "of the largest entry"))
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 1


if __name__ == "__main__":
    sys.exit(main())
