"""Subnormal numbers are zeros while a training step runs: with them CPUs are many times slower.

Units of a hidden layer that the others make superfluous shrink, by products of factors below 1, until their weights and
gradients are so small that a float has no normal form for them (below 1e-38 in float32), and what a network is sure of
leaves gradients of that size. A vector instruction that meets one takes a hundred times as long, and one unit in
sixteen is enough for all of a layer's to meet one. x86 CPUs can take them for zeros, operands and results, as XLA has
them do always; here a step does, from its first statement to its last.

It is done where two values that depend on what a step updates are multiplied as matrices: in networks with a hidden
layer. A step without one, or with a few neurons and samples, takes so few microseconds that setting the mode, twice,
would be felt, and has few numbers to be slow with. And it is done where nothing has use for numbers so small: a
logarithm of one, or a quotient by one, is a number of ordinary size.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.types import Sizes, size_of

from .program import Program, statement_flops

#: Bits of the control word of x86's vector unit: subnormal results are 0, and subnormal operands count as 0.
FLUSH = 1 << 15 | 1 << 6
#: Their product is 0 where the mode is set: a look at it that takes no call.
SMALLEST, ONE = 5e-324, 1.0
#: Floating-point operations of such a product, from which on the mode is worth its price.
LEAST = 1024


class Flush(NamedTuple):
    """How the mode is set: `set(on)`, and back: `set(off)`."""

    set: Callable[[Any], object]
    on: Any
    off: Any

    def call(self, function: Callable[..., Any], *values: Any) -> Any:
        """What the function gives, in this mode. One that is set already is left alone.

        Not by `with`: a signal's handler may raise as soon as a method in Python is entered, or left.
        """
        if not SMALLEST * ONE:
            return function(*values)
        try:
            self.set(self.on)
            return function(*values)
        finally:
            self.set(self.off)


def flush() -> Flush | None:
    """For a thread that rounds, and traps, as this one does; None where it is unknown how to set a mode."""
    library = _library()
    if library is None:
        return None
    off, on = _Mode(), _Mode()
    library.fegetmode(ctypes.byref(off))
    on.x87 = off.x87
    on.vectors, off.vectors = off.vectors | FLUSH, off.vectors & ~FLUSH
    return Flush(library.fesetmode, ctypes.byref(on), ctypes.byref(off))


class _Mode(ctypes.Structure):
    """femode_t of GNU's C library on x86-64: the control words of both units."""

    _fields_ = (("x87", ctypes.c_uint32), ("vectors", ctypes.c_uint32))
    x87: int
    vectors: int


@cache
def _library() -> Any:
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64" or sys.maxsize < 1 << 32:
        return None
    try:
        library = ctypes.PyDLL("libm.so.6")
    except OSError:  # another C library,
        return None
    if not hasattr(library, "fesetmode"):  # or one from before 2016
        return None
    # A call keeps the interpreter's lock, and makes no number of what it returns, which would take longer than itself.
    library.fesetmode.restype = None
    return library


# -- which steps -------------------------------------------------------------------------------------------------------


def trained_products(program: Program) -> tuple[int, ...]:
    """The products of two matrices that both depend on what a step updates; none if it has use for the smallest."""
    graph, depends, found = program.graph, {n.id for n in program.held}, []
    for id in sorted((*program.prologue, *program.step)):
        node = graph.nodes[id]
        if _has_use(graph, node):
            return ()
        if not depends.isdisjoint(node.inputs):
            depends.add(id)
            if node.operator.name == "matmul" and len({*node.inputs}) > 1 and depends.issuperset(node.inputs):
                found.append(id)
    return tuple(found)


def is_worthwhile(program: Program, sizes: Sizes) -> bool:
    """Whether one of those products is large enough in a call with such sizes."""
    return any(size_of(statement_flops(program, id), sizes) >= LEAST for id in program.trained)


def _has_use(graph: Graph, node: Node) -> bool:
    """Whether it makes numbers of ordinary size of the smallest ones."""
    name = node.operator.name
    if name == "power":
        exponent = graph.tensor(node.inputs[1]).value
        if exponent is not None and exponent >= 0:
            return False
    place = {"log": 0, "reciprocal": 0, "power": 0, "divide": 1}.get(name)
    return place is not None and not node.weak and not _is_clear_of_zero(graph, graph.nodes[node.inputs[place]])


def _is_clear_of_zero(graph: Graph, node: Node) -> bool:
    """Whether no product or exponential made its small numbers, as of √v + ε, 1 + e, Σ e, and such times c."""
    name = node.operator.name
    if node.weak or name in ("constant", "sum", "add", "subtract", "maximum"):
        return True
    if name in ("sqrt", "cast", "divide") or node.operator.kind == "view":
        return _is_clear_of_zero(graph, graph.nodes[node.inputs[0]])
    return name == "multiply" and all(_is_clear_of_zero(graph, graph.nodes[i]) for i in node.inputs)
