"""Which numbers of a step Python's own arithmetic computes just as NumPy's would, in a third of the time.

Python's floats and ints are the same numbers, but where NumPy's give inf, NaN or a wrapped integer, Python's raise,
turn complex or grow. So each number's range is found, from states that count up from zero, and Python's arithmetic is
taken where the range shows that none of this can happen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

from graphgrad.node import Node

from .program import Program

Range: TypeAlias = "tuple[float, float]"

LONGEST = 128  # steps of a period for which it is worth while to keep numbers at hand


def counters(program: Program) -> frozenset[int]:
    """The whole numbers that a function keeps and that each call makes larger: never negative, if they begin so."""
    found = set()
    for leaf, value in program.updates:
        node, new = program.node(leaf), program.node(value)
        if node.weak and node.dtype == "int64" and new.operator.name == "add" and leaf in new.inputs:
            (other,) = {*new.inputs} - {leaf} or {leaf}
            step = program.node(other)
            if step.operator.name == "constant" and step["value"].array.item() >= 0:
                found.add(leaf)
    return frozenset(found)


def plain_numbers(program: Program) -> dict[int, Range]:
    """The counters, and the numbers made of them for which Python's arithmetic does, with their ranges.

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> k, w = g.state("k", (), "int64", weak=True), g.parameter("w")
    >>> f = gg.compile([], updates={k: k + 1, w: w / (1 - 0.9 ** (k + 1))})
    >>> sorted(f.program.node(id).operator.name for id in plain_numbers(f.program))
    ['add', 'power', 'state', 'subtract']
    """
    ranges: dict[int, Range] = dict.fromkeys(counters(program), (0.0, math.inf))
    for id in program.step:
        node = program.node(id)
        if program.roles[id] != "scalar" or node.operator.name not in RULES:
            continue
        known = [ranges.get(i) or _literal(program.node(i)) for i in node.inputs]
        made = RULES[node.operator.name](*known) if all(known) else None
        # Whole numbers may be wrapped by NumPy, and True + True is True there, but 2 in Python.
        of_its_kind = {"int64": ("add", "remainder"), "bool": ("equal",)}.get(node.dtype)
        if made is None or (of_its_kind is not None and node.operator.name not in of_its_kind):
            continue
        ranges[id] = made
    return ranges


def periodic_numbers(program: Program, plain: Mapping[int, Range]) -> dict[int, int]:
    """Numbers that in each step depend only on the remainder of a counter by a small number, with that remainder.

    Only such as are computed without a warning, so that they may be computed before their time: by Python's arithmetic,
    or as multiples of what is positive.

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> k, w = g.state("k", (), "int64", weak=True), g.parameter("w")
    >>> f = gg.compile([], updates={k: k + 1, w: w * 0.9 ** (k % 5)})
    >>> found = periodic_numbers(f.program, plain_numbers(f.program))
    >>> sorted(f.program.node(id).operator.name for id in found)
    ['power', 'remainder']
    """
    found: dict[int, int] = {}
    for id in program.step:
        node = program.node(id)
        if program.roles[id] != "scalar" or not node.weak:
            continue
        remainders = {found.get(i) for i in node.inputs if program.stages[i]}  # None: it changes otherwise
        remainder = remainders.pop() if len(remainders) == 1 else None
        if remainder is not None:
            factors = [plain.get(i, (0.0, 0.0)) for i in node.inputs if program.stages[i]]
            if id in plain or (node.operator.name in ("multiply", "divide") and min(factors)[0] > 0):
                found[id] = remainder
        elif node.operator.name == "remainder" and id in plain and node.dtype == "int64":
            by = program.node(node.inputs[1])
            if by.operator.name == "constant" and by["value"].array.item() <= LONGEST:
                found[id] = id
    return found


def _literal(node: Node) -> Range | None:
    if node.operator.name != "constant" or not node.weak or node.dtype == "bool":
        return None
    value = float(node["value"].array)
    return (value, value) if math.isfinite(value) else None


def _hull(*ends: float) -> Range | None:
    """From the least to the largest; None where an end is no number."""
    return None if any(map(math.isnan, ends)) else (min(ends), max(ends))


def _product(a: Range, b: Range) -> Range | None:
    return _hull(*[x * y for x in a for y in b])


def _quotient(a: Range, b: Range) -> Range | None:
    """No division by zero."""
    return None if b[0] <= 0 <= b[1] else _hull(*[x / y for x in a for y in b])


def _remainder(a: Range, b: Range) -> Range | None:
    """Of whole numbers and floats that are not negative, by one number."""
    return (0.0, b[1]) if a[0] >= 0 and b[0] == b[1] > 0 else None


def _power(a: Range, b: Range) -> Range | None:
    """No root of a negative number, no negative power of zero, and nothing that grows without bound."""
    if 0 < a[0] <= a[1] <= 1 and b[0] >= 0:
        return a[0] ** b[1], a[1] ** b[0]
    if a[0] >= 0 and 0 < b[0] == b[1] <= 1:
        return a[0] ** b[0], a[1] ** b[0]
    return None


#: The range of a result from those of its operands; None where Python's arithmetic might differ from NumPy's.
RULES: dict[str, Callable[..., Range | None]] = {
    "add": lambda a, b: _hull(a[0] + b[0], a[1] + b[1]),
    "subtract": lambda a, b: _hull(a[0] - b[1], a[1] - b[0]),
    "multiply": _product,
    "divide": _quotient,
    "reciprocal": lambda a: _quotient((1.0, 1.0), a),
    "negative": lambda a: (-a[1], -a[0]),
    "power": _power,
    "sqrt": lambda a: _power(a, (0.5, 0.5)),
    "remainder": _remainder,
    "equal": lambda a, b: (0.0, 1.0),
    "where": lambda condition, a, b: _hull(*a, *b),
}
