"""The table of rewrites by which graphs are simplified.

A rewrite looks at one node and the nodes that it reads, and says what stands there instead. No rewrite changes which
inputs give NaN or inf unless its line says so, and why that is wanted. Those that move rounding are marked
(`exact=False`) and left out on request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from graphgrad.factors import (
    common_factor,
    divide_by_number,
    numbers_first,
    numbers_gathered,
    reciprocal,
    root_of_power,
    root_of_product,
    root_of_quotient,
    weak_inside,
)
from graphgrad.node import Node
from graphgrad.operators.linear import swap
from graphgrad.rewrite import is_op, op, op_of, same, source
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS, broadcast, count

#: From a node and its inputs in the new graph to what stands there instead; None where the rewrite does not apply.
Rewriting: TypeAlias = "Callable[[Node, tuple[Tensor, ...]], Tensor | None]"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One line of the table."""

    name: str
    operator: str  # the operator, or the kind of operator, of the node that it looks at
    rewrite: Rewriting
    reads: tuple[str, ...] = ()  # operators one of which some operand has to be; (): they may be any
    exact: bool = True  # False: it moves rounding
    nan: str = ""  # where it changes which inputs give NaN or inf: which, and why that is wanted


# ---------------------------------------------------------------------------------------------------------------------
# Neutral elements and signs
# ---------------------------------------------------------------------------------------------------------------------


def _neutral(value: float, position: int) -> Rewriting:
    """The other operand, where this one is the neutral element."""

    def rewrite(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
        x = i[position]
        is_it = x.node.operator.name in NUMBER and bare(x).value == value
        return same(n, i[1 - position]) if is_it else None

    return rewrite


def _power(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    if i[1].value == 1:
        return same(n, i[0])
    return same(n, op("square", i[0])) if i[1].value == 2 and i[0].dtype != "bool" else None


def _add_negative(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    if is_op(i[1], "negative"):
        return op("subtract", i[0], source(i[1]))
    return op("subtract", i[1], source(i[0])) if is_op(i[0], "negative") else None


def _subtract_negative(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    return op("add", i[0], source(i[1])) if is_op(i[1], "negative") else None


# ---------------------------------------------------------------------------------------------------------------------
# Views
# ---------------------------------------------------------------------------------------------------------------------


def _transpose(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    axes = n["axes"]
    if axes == tuple(range(len(axes))):
        return i[0]
    if is_op(i[0], "transpose"):
        inner = i[0].node["axes"]
        return op("transpose", source(i[0]), axes=tuple(inner[a] for a in axes))
    return None


def _transposed_product(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """(A B)ᵀ = Bᵀ Aᵀ: the product is then written where its transpose is wanted."""
    if len(n.shape) != 2 or n["axes"] != (1, 0) or not is_op(i[0], "matmul"):
        return None
    a, b = source(i[0]), source(i[0], 1)
    return op("matmul", swap(b), swap(a)) if len(a.shape) == len(b.shape) == 2 else None


def _stacked_product(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """A stack of matrices times one matrix, as one tall matrix times it: one call of the BLAS in place of many."""
    a, b = i
    if len(a.shape) < 3 or len(b.shape) != 2 or (a.node.operator.kind == "view" and not is_op(a, "reshape")):
        return None  # what is no block of memory would be copied first
    tall = op("reshape", a, shape=(count(a.shape[:-1]), a.shape[-1]))
    return op("reshape", op("matmul", tall, b), shape=n.shape)


def _reshape(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    if i[0].shape == n.shape:
        return i[0]
    if not is_op(i[0], "reshape") or (source(i[0]).node.weak and not n.shape):  # (1,) on the way made it no number
        return None
    return op("reshape", source(i[0]), shape=n.shape)


def bare(x: Tensor) -> Tensor:
    """What broadcasting, and dimensions of 1 around a number, were put around."""
    while (name := x.node.operator.name) == "broadcast_to" or (name == "reshape" and not source(x).shape):
        x = source(x)
    if name == "constant" and x.shape and all(d == 1 for d in x.shape):  # [1.0], which such a reshape has folded to
        return x.graph.constant(x.node["value"].array.reshape(()))
    return x


def _broadcast_out(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """f(broadcast(x), y) = broadcast(f(x, y)): NumPy broadcasts operands itself, and less is computed."""
    inner = [bare(x) for x in i]
    if all(a.id == b.id for a, b in zip(inner, i, strict=True)):
        return None
    shape = broadcast(*[x.shape for x in inner])
    # A rank below the result's stands for leading 1s, so operands that lose rank still line up on the right.
    made = op_of(n, inner)
    if made.dtype != n.dtype or made.node.weak != n.weak:
        return None
    return made if shape == n.shape else op("broadcast_to", made, shape=n.shape)


def _rebroadcast(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    if i[0].shape == n.shape:
        return i[0]
    inner = bare(i[0])
    return op("broadcast_to", inner, shape=n.shape) if inner.id != i[0].id and count(inner.shape) is not None else None


def _sum_to(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    if i[0].shape == n.shape:
        return i[0] if i[0].dtype == n.dtype else op("sum", i[0], axis=())  # of bools: how many
    return op("sum_to", source(i[0]), shape=n.shape) if is_op(i[0], "sum_to") else None


def _sum_of_products(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """Σ x² and Σ x·y over all elements as the product of two vectors: one pass, and no array of squares."""
    x = i[0]
    if not x.shape or len(n["axis"]) != len(x.shape) or x.dtype not in FLOATS or x.node.operator.kind != "elementwise":
        return None
    factors = (
        [source(x), source(x)] if is_op(x, "square") else [source(x), source(x, 1)] if is_op(x, "multiply") else []
    )
    plain = [
        f.shape == x.shape and f.dtype == x.dtype and (f.node.operator.kind != "view" or is_op(f, "reshape"))
        for f in factors
    ]
    if not factors or not all(plain):
        return None
    a, b = (op("reshape", f, shape=(count(f.shape),)) for f in factors)
    product = op("matmul", a, b)
    return op("reshape", product, shape=n.shape) if n.shape else product


def _sum_of_ones(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """A sum over axes of extent 1 (or none) moves no number."""
    if n.dtype == i[0].dtype and all(i[0].shape[a] == 1 for a in n["axis"]):
        return op("reshape", i[0], shape=n.shape)
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Forms that are more stable
# ---------------------------------------------------------------------------------------------------------------------


def _log(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    x = i[0]
    if is_op(x, "softmax"):
        return op("log_softmax", source(x), **dict(x.node.attributes))
    if is_op(x, "sigmoid"):
        return op("logsigmoid", source(x))
    if is_op(x, "sum") and is_op(source(x), "exp") and 0 not in source(x).shape:
        return op("logsumexp", source(source(x)), **dict(x.node.attributes))
    return None


def _log_of_one_plus(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    if not is_op(i[0], "add") or i[0].dtype != n.dtype:
        return None
    for number, rest in ((source(i[0]), source(i[0], 1)), (source(i[0], 1), source(i[0]))):
        if number.value == 1 and number.node.weak and not rest.node.weak and rest.shape == n.shape:
            return (
                op("softplus", source(rest))
                if is_op(rest, "exp") and source(rest).dtype in FLOATS
                else op("log1p", rest)
            )
    return None


def _log1p_of_exp(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    fits = not n.weak and is_op(i[0], "exp") and source(i[0]).dtype == n.dtype
    return op("softplus", source(i[0])) if fits else None


def _exp_minus_one(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    ok = i[1].value == 1 and is_op(i[0], "exp") and not n.weak and i[0].shape == n.shape
    return op("expm1", source(i[0])) if ok else None


def _logistic(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """1 / (1 + exp(-x))"""
    if i[0].value != 1 or n.weak or not is_op(i[1], "add"):
        return None
    for number, rest in ((source(i[1]), source(i[1], 1)), (source(i[1], 1), source(i[1]))):
        if number.value == 1 and is_op(rest, "exp") and is_op(source(rest), "negative"):
            x = source(source(rest))
            return op("sigmoid", x) if x.dtype == n.dtype and x.shape == n.shape else None
    return None


FINITE = "finite where the written form overflows or underflows to inf, -inf or NaN: the value that is meant"

#: What a number may hide in.
NUMBER = ("constant", "broadcast_to", "reshape")

RULES: list[Rewrite] = [
    Rewrite("x + 0", "add", _neutral(0, 1), NUMBER),
    Rewrite("0 + x", "add", _neutral(0, 0), NUMBER),
    Rewrite("x - 0", "subtract", _neutral(0, 1), NUMBER),
    Rewrite("x * 1", "multiply", _neutral(1, 1), NUMBER),
    Rewrite("1 * x", "multiply", _neutral(1, 0), NUMBER),
    Rewrite("x / 1", "divide", _neutral(1, 1), NUMBER),
    Rewrite("x ** 1, x ** 2", "power", _power, ("constant",)),
    Rewrite("-(-x)", "negative", lambda n, i: source(i[0]), ("negative",)),
    Rewrite("-(x - y)", "negative", lambda n, i: op("subtract", source(i[0], 1), source(i[0])), ("subtract",)),
    Rewrite("x + (-y)", "add", _add_negative, ("negative",)),
    Rewrite("x - (-y)", "subtract", _subtract_negative, ("negative",)),
    Rewrite("x + x", "add", lambda n, i: op("multiply", 2, i[0]) if i[0].id == i[1].id and n.dtype != "bool" else None),
    Rewrite("cast to the same dtype", "cast", lambda n, i: same(n, i[0])),
    Rewrite("double transpose", "transpose", _transpose),
    Rewrite("transpose into matmul", "transpose", _transposed_product, ("matmul",), exact=False),
    Rewrite("stack of matrices times a matrix", "matmul", _stacked_product, exact=False),
    Rewrite("reshape of reshape", "reshape", _reshape),
    Rewrite("broadcast of broadcast", "broadcast_to", _rebroadcast),
    Rewrite("broadcast out of elementwise", "elementwise", _broadcast_out, ("broadcast_to", "reshape")),
    Rewrite("sum_to of what needs none", "sum_to", _sum_to, exact=False),
    Rewrite("sum over axes of 1", "sum", _sum_of_ones),
    Rewrite("sum of products", "sum", _sum_of_products, ("multiply", "square"), exact=False),
    Rewrite("numbers of rank 0 in Python", "elementwise", weak_inside, ("cast", "constant"), exact=False),
    Rewrite("x / c", "divide", divide_by_number, exact=False, nan="c below 1e-308 (float32: 1e-39): 1/c overflows"),
    Rewrite(
        "s * (c * x)",
        "multiply",
        numbers_first,
        ("multiply", "negative"),
        exact=False,
        nan="products of numbers that overflow on their own",
    ),
    Rewrite(
        "x * (1 / y)",
        "multiply",
        reciprocal,
        ("reciprocal",),
        exact=False,
        nan="finite where 1/y overflows: the value that is meant",
    ),
    Rewrite(
        "constants among numbers",
        "multiply",
        numbers_gathered,
        exact=False,
        nan="products of numbers that overflow on their own",
    ),
    Rewrite(
        "constants among quotients",
        "divide",
        numbers_gathered,
        exact=False,
        nan="quotients of numbers that overflow on their own",
    ),
    Rewrite("sqrt(c / k)", "sqrt", root_of_quotient, ("divide",), exact=False, nan="none: c/0 is inf on both ways"),
    Rewrite("sqrt(c ** e)", "sqrt", root_of_power, ("power",), exact=False, nan="none: both are above 0"),
    Rewrite(
        "sqrt(s * x)",
        "sqrt",
        root_of_product,
        ("multiply",),
        exact=False,
        nan="a number s that comes out below 0: all is NaN",
    ),
    Rewrite(
        "n / (s * x + e)",
        "divide",
        common_factor,
        ("add",),
        exact=False,
        nan="a number s that comes out 0, or so small that e/s overflows",
    ),
    Rewrite("log of softmax, sigmoid, sum(exp)", "log", _log, ("softmax", "sigmoid", "sum"), exact=False, nan=FINITE),
    Rewrite("log(1 + x)", "log", _log_of_one_plus, ("add",), exact=False, nan=FINITE),
    Rewrite("log1p(exp(x))", "log1p", _log1p_of_exp, ("exp",), exact=False, nan=FINITE),
    Rewrite("exp(x) - 1", "subtract", _exp_minus_one, ("exp",), exact=False),
    Rewrite(
        "1 / (1 + exp(-x))",
        "divide",
        _logistic,
        ("add",),
        exact=False,
        nan="none: inf in the denominator gave 0 as well",
    ),
]
