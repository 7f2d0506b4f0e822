"""Simplification: a table of rewrites, graph to graph.

A rewrite looks at one node and the nodes that it reads, and says what stands there instead. No rewrite changes which
inputs give NaN or inf unless its line says so, and why that is wanted. Those that move rounding are marked
(`exact=False`) and left out on request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias

from graphgrad.graph import Graph, Node
from graphgrad.operator import OPERATORS, Operator
from graphgrad.operators.linear import swap
from graphgrad.rewrite import rebuild
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
    exact: bool = True  # False: it moves rounding
    nan: str = ""  # where it changes which inputs give NaN or inf: which, and why that is wanted


def simplify(
    outputs: Sequence[Tensor],
    *,
    keep: Sequence[Tensor] = (),
    exact: bool = False,
    counts: Counter[str] | None = None,
    rules: Sequence[Rewrite] | None = None,
    lowered: bool = False,
) -> tuple[Graph, dict[int, Tensor]]:
    """A simpler graph of the same values, and where each old node went. `counts` is told how often each applied.

    `keep` are leaves that come along although nothing may need them; `exact` leaves out what moves rounding;
    `lowered` leaves out what would make a composite again.
    """
    table: dict[str, list[Rewrite]] = {}
    for rule in RULES if rules is None else rules:
        if rule.exact or not exact:
            table.setdefault(rule.operator, []).append(rule)
    chosen: dict[Operator, list[Rewrite]] = {}

    def rules_of(operator: Operator) -> list[Rewrite]:
        if operator not in chosen:
            chosen[operator] = [*table.get(operator.name, ()), *table.get(operator.kind, ())]
        return chosen[operator]

    def once(node: Node, operands: tuple[Tensor, ...]) -> Tensor | None:
        for rule in rules_of(node.operator):
            found = rule.rewrite(node, operands)
            if found is None or found.id == node.id or (lowered and found.node.operator.definition is not None):
                continue
            if counts is not None:
                counts[rule.name] += 1
            return found
        return None

    settled: set[int] = set()  # nodes of the new graph to which nothing applies

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        if node.operator.kind == "leaf":
            return None
        result = new.adopt(node, tuple([t.id for t in inputs]))  # no rewrite changes a type, so inputs are alike
        start = result.id
        for _ in range(20):  # no rule undoes another, so this ends long before; a cycle would be a mistake in the table
            if result.id in settled:
                break
            here = new.nodes[result.id]
            found = once(here, tuple([new.tensor(i) for i in here.inputs]))
            if found is None:
                settled.add(result.id)
                break
            result = found
        if result.id != start and types(result.node) != types(new.nodes[start]):
            raise AssertionError(f"a rewrite of {node.operator.name} changed shape or dtype")
        return result

    return rebuild(outputs, visit, keep)


def types(node: Node) -> tuple[Any, ...]:
    return node.shape, node.dtype, node.weak


def op(name: str, *operands: Any, **attributes: Any) -> Tensor:
    return OPERATORS[name](*operands, **attributes)


def same(node: Node, x: Tensor) -> Tensor | None:
    """x, if it is of the node's shape and dtype: what `x + 0` may become."""
    return x if x.shape == node.shape and x.dtype == node.dtype and x.node.weak == node.weak else None


def is_op(x: Tensor, *names: str) -> bool:
    return x.graph.nodes[x.id].operator.name in names


def source(x: Tensor, position: int = 0) -> Tensor:
    return x.graph.tensor(x.node.inputs[position])


# ---------------------------------------------------------------------------------------------------------------------
# Neutral elements and signs
# ---------------------------------------------------------------------------------------------------------------------


def _neutral(value: float, position: int) -> Rewriting:
    """The other operand, where this one is the neutral element."""
    return lambda n, i: same(n, i[1 - position]) if bare(i[position]).value == value else None


def _power(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    if i[1].value == 1:
        return same(n, i[0])
    return same(n, op("square", i[0])) if i[1].value == 2 and i[0].dtype != "bool" else None


def _add_negative(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    if is_op(i[1], "negative"):
        return op("subtract", i[0], source(i[1]))
    return op("subtract", i[1], source(i[0])) if is_op(i[0], "negative") else None


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
    while is_op(x, "broadcast_to") or (is_op(x, "reshape") and not source(x).shape):
        x = source(x)
    if is_op(x, "constant") and x.shape and all(d == 1 for d in x.shape):  # [1.0], which such a reshape has folded to
        return x.graph.constant(x.node["value"].array.reshape(()))
    return x


def _broadcast_out(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """f(broadcast(x), y) = broadcast(f(x, y)): NumPy broadcasts operands itself, and less is computed."""
    if not any(is_op(x, "broadcast_to", "reshape") for x in i):
        return None
    inner = [bare(x) for x in i]
    if all(a.id == b.id for a, b in zip(inner, i, strict=True)):
        return None
    shape = broadcast(*[x.shape for x in inner])
    # A rank below the result's stands for leading 1s, so operands that lose rank still line up on the right.
    made = op_of(n, inner)
    if made.dtype != n.dtype or made.node.weak != n.weak:
        return None
    return made if shape == n.shape else op("broadcast_to", made, shape=n.shape)


def op_of(n: Node, operands: Sequence[Tensor]) -> Tensor:
    return operands[0].graph.apply(n.operator, operands, dict(n.attributes))


def _sum_to(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    if i[0].shape == n.shape:
        return i[0]
    return op("sum_to", source(i[0]), shape=n.shape) if is_op(i[0], "sum_to") else None


def _sum_of_ones(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """A sum over axes of extent 1 (or none) moves no number."""
    if n.dtype == i[0].dtype and all(i[0].shape[a] == 1 for a in n["axis"]):
        return op("reshape", i[0], shape=n.shape)
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Numbers of rank 0
# ---------------------------------------------------------------------------------------------------------------------


def weak_form(x: Tensor) -> Tensor | None:
    """The weak value behind a number of rank 0: a cast of one, or a constant."""
    if x.shape or x.node.weak:
        return x if x.node.weak else None
    if is_op(x, "cast") and source(x).node.weak and source(x).dtype != "bool":  # True is no 1 to every operator
        return source(x) if x.dtype in FLOATS or x.dtype == source(x).dtype else None  # int64(6.6) is 6, no 6.6
    return x.graph.constant(x.value) if is_op(x, "constant") and x.dtype in FLOATS else None


def _weak_inside(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """A number that was cast to the others' dtype may enter as it is; what takes numbers only is one itself.

    So 1/N of a mean is computed in Python, once for each workspace, and no array of rank 0 is written for it.
    """
    nodes = i[0].graph.nodes
    if n.weak or all([nodes[k].shape or nodes[k].weak for k in n.inputs]):
        return None
    if n.operator.name == "cast" or n.dtype not in FLOATS:
        return None
    forms = [weak_form(x) for x in i]
    if not n.shape and all(f is not None for f in forms):
        made = op_of(n, [f for f in forms if f is not None])
        return op("cast", made, dtype=n.dtype) if made.node.weak else None
    inner = [f if f is not None else x for f, x in zip(forms, i, strict=True)]
    if all(a.id == b.id for a, b in zip(inner, i, strict=True)):
        return None
    made = op_of(n, inner)
    return made if (made.shape, made.dtype, made.node.weak) == (n.shape, n.dtype, n.weak) else None


def _factor(x: Tensor) -> tuple[Tensor, Tensor] | None:
    """(number, array) where x is their product or quotient."""
    if is_op(x, "multiply"):
        a, b = source(x), source(x, 1)
        if not a.shape and b.shape == x.shape and b.dtype == x.dtype:
            return a, b
        if not b.shape and a.shape == x.shape and a.dtype == x.dtype:
            return b, a
    if is_op(x, "negative") and x.shape:
        return x.graph.constant(-1.0), source(x)
    return None


def _numbers_first(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """s·(c·X) = (s·c)·X: numbers are multiplied with each other, and the array is passed over once."""
    if (
        not n.shape
        or n.dtype not in FLOATS
        or not (is_op(i[0], "multiply", "negative") or is_op(i[1], "multiply", "negative"))
    ):
        return None
    numbers: list[Tensor] = []
    arrays: list[Tensor] = []
    for x in i:
        while x.shape == n.shape and (parts := _factor(x)) is not None:
            numbers.append(parts[0])
            x = parts[1]
        (arrays if x.shape else numbers).append(x)
    direct = sum(not x.shape for x in i)
    if len(numbers) < 2 or len(numbers) == direct or not arrays:
        return None
    number = reduce(lambda a, b: op("multiply", a, b), sorted(numbers, key=lambda x: not x.node.weak))
    return op("multiply", number, reduce(lambda a, b: op("multiply", a, b), arrays))


def _divide_by_number(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """X / c = X · (1/c): NumPy multiplies faster than it divides, and the product merges with others."""
    if n.shape and not i[1].shape and i[1].node.weak and i[0].dtype == n.dtype and i[0].shape == n.shape:
        return op("multiply", op("divide", 1.0, i[1]), i[0])
    return None


def _reciprocal(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    if is_op(i[1], "reciprocal") and i[1].dtype == n.dtype:
        return op("divide", i[0], source(i[1]))
    return op("divide", i[1], source(i[0])) if is_op(i[0], "reciprocal") and i[0].dtype == n.dtype else None


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

RULES: list[Rewrite] = [
    Rewrite("x + 0", "add", _neutral(0, 1)),
    Rewrite("0 + x", "add", _neutral(0, 0)),
    Rewrite("x - 0", "subtract", _neutral(0, 1)),
    Rewrite("x * 1", "multiply", _neutral(1, 1)),
    Rewrite("1 * x", "multiply", _neutral(1, 0)),
    Rewrite("x / 1", "divide", _neutral(1, 1)),
    Rewrite("x ** 1, x ** 2", "power", _power),
    Rewrite("-(-x)", "negative", lambda n, i: source(i[0]) if is_op(i[0], "negative") else None),
    Rewrite(
        "-(x - y)",
        "negative",
        lambda n, i: op("subtract", source(i[0], 1), source(i[0])) if is_op(i[0], "subtract") else None,
    ),
    Rewrite("x + (-y)", "add", _add_negative),
    Rewrite("x - (-y)", "subtract", lambda n, i: op("add", i[0], source(i[1])) if is_op(i[1], "negative") else None),
    Rewrite("x + x", "add", lambda n, i: op("multiply", 2, i[0]) if i[0].id == i[1].id and n.dtype != "bool" else None),
    Rewrite("cast to the same dtype", "cast", lambda n, i: same(n, i[0])),
    Rewrite("double transpose", "transpose", _transpose),
    Rewrite("transpose into matmul", "transpose", _transposed_product, exact=False),
    Rewrite("stack of matrices times a matrix", "matmul", _stacked_product, exact=False),
    Rewrite("reshape of reshape", "reshape", _reshape),
    Rewrite("broadcast of broadcast", "broadcast_to", lambda n, i: _rebroadcast(n, i)),
    Rewrite("broadcast out of elementwise", "elementwise", _broadcast_out),
    Rewrite("sum_to of what needs none", "sum_to", _sum_to, exact=False),
    Rewrite("sum over axes of 1", "sum", _sum_of_ones),
    Rewrite("numbers of rank 0 in Python", "elementwise", _weak_inside, exact=False),
    Rewrite("x / c", "divide", _divide_by_number, exact=False, nan="c below 1e-308 (float32: 1e-39): 1/c overflows"),
    Rewrite(
        "s * (c * x)", "multiply", _numbers_first, exact=False, nan="products of numbers that overflow on their own"
    ),
    Rewrite(
        "x * (1 / y)", "multiply", _reciprocal, exact=False, nan="finite where 1/y overflows: the value that is meant"
    ),
    Rewrite("log of softmax, sigmoid, sum(exp)", "log", _log, exact=False, nan=FINITE),
    Rewrite("log(1 + x)", "log", _log_of_one_plus, exact=False, nan=FINITE),
    Rewrite(
        "log1p(exp(x))",
        "log1p",
        lambda n, i: (
            op("softplus", source(i[0]))
            if is_op(i[0], "exp") and not n.weak and source(i[0]).dtype == n.dtype
            else None
        ),
        exact=False,
        nan=FINITE,
    ),
    Rewrite("exp(x) - 1", "subtract", _exp_minus_one, exact=False),
    Rewrite("1 / (1 + exp(-x))", "divide", _logistic, exact=False, nan="none: inf in the denominator gave 0 as well"),
]


def _rebroadcast(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    if i[0].shape == n.shape:
        return i[0]
    inner = bare(i[0])
    return op("broadcast_to", inner, shape=n.shape) if inner.id != i[0].id and count(inner.shape) is not None else None
