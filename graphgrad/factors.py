"""Numbers in formulas of arrays: they are brought together, so that each array is passed over once.

s·(c·X) = (s·c)·X        X / c = X·(1/c)        sqrt(s·X) = sqrt(s)·sqrt(X)        N / (s·X + e) = (N/s) / (X + e/s)
"""

from __future__ import annotations

import math
from functools import reduce

from graphgrad.node import Node
from graphgrad.rewrite import is_op, op, op_of, source
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS


def weak_form(x: Tensor) -> Tensor | None:
    """The weak value behind a number of rank 0: a cast of one, or a constant."""
    if x.shape or x.node.weak:
        return x if x.node.weak else None
    if is_op(x, "cast") and source(x).node.weak and source(x).dtype != "bool":  # True is no 1 to every operator
        return source(x) if x.dtype in FLOATS or x.dtype == source(x).dtype else None  # int64(6.6) is 6, no 6.6
    return x.graph.constant(x.value) if is_op(x, "constant") and x.dtype in FLOATS else None


def weak_inside(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """A number that was cast to the others' dtype may enter as it is; what takes numbers only is one itself.

    So 1/N of a mean is computed in Python, once for each workspace, and no array of rank 0 is written for it.
    """
    if n.weak or n.operator.name == "cast" or n.dtype not in FLOATS:
        return None
    nodes = i[0].graph.nodes
    for k in n.inputs:
        x = nodes[k]
        if not x.shape and not x.weak and x.operator.name in ("cast", "constant"):
            break
    else:
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
    nodes = x.graph.nodes
    node = nodes[x.id]
    if node.operator.name == "multiply":
        a, b = nodes[node.inputs[0]], nodes[node.inputs[1]]
        if not a.shape and b.shape == node.shape and b.dtype == node.dtype:
            return source(x), source(x, 1)
        if not b.shape and a.shape == node.shape and a.dtype == node.dtype:
            return source(x, 1), source(x)
    if node.operator.name == "negative" and node.shape:
        return x.graph.constant(-1.0), source(x)
    return None


def numbers_first(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """s·(c·X) = (s·c)·X: numbers are multiplied with each other, and the array is passed over once."""
    if not n.shape or n.dtype not in FLOATS:
        return None
    if all([_factor(x) is None for x in i]):  # mostly
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


def divide_by_number(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """X / c = X · (1/c): NumPy multiplies faster than it divides, and the product merges with others."""
    if n.shape and not i[1].shape and i[1].node.weak and i[0].dtype == n.dtype and i[0].shape == n.shape:
        return op("multiply", op("divide", 1.0, i[1]), i[0])
    return None


def reciprocal(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """x · (1/y) = x / y, where y is a float as they are: the reciprocal of a bool is float64, x / y need not be."""
    for x, y in (i, i[::-1]):
        if is_op(y, "reciprocal") and y.dtype == source(y).dtype == n.dtype:
            return op("divide", x, source(y))
    return None


def _scaled(x: Tensor) -> tuple[Tensor, Tensor] | None:
    """(s, X) where x is s·X with a number s that is weak and not known to be 0 or below."""
    parts = _factor(x) if is_op(x, "multiply") else None
    if parts is None or not parts[0].node.weak or not parts[1].shape:
        return None
    return parts if parts[0].value is None or parts[0].value > 0 else None


def root_of_product(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """sqrt(s·X) = sqrt(s)·sqrt(X): the factor then merges with others."""
    parts = _scaled(i[0]) if n.shape and i[0].dtype == n.dtype else None
    return op("multiply", op("sqrt", parts[0]), op("sqrt", parts[1])) if parts is not None else None


def common_factor(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """N / (s·X + e) = (N/s) / (X + e/s), where N is a multiple of an array already: one pass less over the arrays."""
    if not n.shape or not is_op(i[1], "add") or _factor(i[0]) is None or n.dtype not in FLOATS:
        return None
    for product, number in ((source(i[1]), source(i[1], 1)), (source(i[1], 1), source(i[1]))):
        parts = _scaled(product) if product.shape == i[1].shape and product.dtype == n.dtype else None
        if parts is not None and number.node.weak:
            s, x = parts
            return op("divide", op("multiply", op("divide", 1.0, s), i[0]), op("add", x, op("divide", number, s)))
    return None


def numbers_gathered(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """A product and quotient of numbers with one constant in place of several: 2·(3/(4/k)) = 1.5·k."""
    if not n.weak or n.dtype not in FLOATS:
        return None
    graph = i[0].graph
    constant, over, under, steps = 1.0, list[Tensor](), list[Tensor](), 0
    stack = [(graph.insert(n.operator, tuple(x.id for x in i), dict(n.attributes)), False)]
    while stack:
        x, below = stack.pop()
        if is_op(x, "multiply", "divide") and x.dtype in FLOATS and steps < 8:
            steps += 1
            stack += [(source(x), below), (source(x, 1), below != is_op(x, "divide"))]
        elif (value := x.value) is not None and value != 0:
            constant = constant / value if below else constant * value
        else:
            (under if below else over).append(x)
    both = {x.id for x in over} & {x.id for x in under if _is_above_zero(x)}
    for id in both:
        for side in (over, under):
            del side[[x.id for x in side].index(id)]
    if len(over) + len(under) + (constant != 1.0) - 1 >= steps or not 0 < abs(constant) < float("inf"):
        return None
    made: Tensor | None = graph.constant(constant) if constant != 1.0 or not over else None
    for of_sizes in (True, False):  # what sizes alone tell is computed once
        for x in [x for x in over if _of_sizes(x) == of_sizes]:
            made = op("multiply", made, x) if made is not None else x
        for x in [x for x in under if _of_sizes(x) == of_sizes]:
            made = op("divide", made if made is not None else 1.0, x)
    assert made is not None
    return made if made.dtype == n.dtype and made.node.weak else None


def _of_sizes(x: Tensor, depth: int = 4) -> bool:
    """Whether a number depends on nothing but sizes, as far as a short look tells."""
    node = x.node
    if node.operator.kind == "elementwise":
        return depth > 0 and all(_of_sizes(source(x, k), depth - 1) for k in range(len(node.inputs)))
    return node.operator.kind == "size" or node.operator.name == "constant"


def _is_above_zero(x: Tensor) -> bool:
    """Of numbers, a power of one that is: what it may be divided by itself."""
    return is_op(x, "power") and (source(x).value or 0) > 0


def root_of_power(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """sqrt(c ** e) = sqrt(c) ** e for numbers, which is there already where c is a square."""
    if n.weak and is_op(i[0], "power") and (c := source(i[0]).value) is not None and c > 0:
        return op("power", c**0.5, source(i[0], 1))
    return None


def root_of_quotient(n: Node, i: tuple[Tensor, ...]) -> Tensor | None:
    """sqrt(c/k) = sqrt(c)/sqrt(k) for numbers and a constant c above 0: the inverse of sqrt(k) is then often wanted."""
    c = source(i[0]).value if n.weak and is_op(i[0], "divide") else None
    return op("divide", math.sqrt(c), op("sqrt", source(i[0], 1))) if c is not None and c > 0 else None
