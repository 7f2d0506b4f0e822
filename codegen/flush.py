"""Numbers closest to zero are zero while a training step runs: with subnormal numbers CPUs are many times slower.

Units of a hidden layer that the others make superfluous shrink, by products of factors below 1, until their weights and
gradients are numbers that a float has no normal form for (below 1e-38 in float32), and what a network is sure of leaves
gradients of that size. A vector instruction that meets one takes a hundred times as long, and one unit in sixteen is
enough for all of a layer's to meet one. Nobody has use for them beside a step of 1e-3. So x86 CPUs can treat them as
zeros, operands and results, which XLA has them do always; here a step does, from its first statement to its last, and
what the caller computes before and after is as it was.

It is done where two values that depend on what a step updates are multiplied as matrices: in networks with a hidden
layer. A step without one takes so few microseconds that setting the mode, twice, would be felt.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from .program import Program

#: Bits of the control word of x86's vector unit: subnormal results are 0, and subnormal operands count as 0.
FLUSH = 1 << 15 | 1 << 6


class Flush(NamedTuple):
    """A context in which subnormal numbers are zeros: `set(on)` to enter it, and `set(off)` for what was before."""

    set: Callable[[Any], object]
    on: Any
    off: Any

    def __enter__(self) -> None:
        self.set(self.on)

    def __exit__(self, *error: object) -> None:
        self.set(self.off)


def flush() -> Flush | None:
    """For the mode in which this thread computes now; None where it is unknown how to set that."""
    library = _library()
    if library is None:
        return None
    off, on = _Mode(), _Mode()
    library.fegetmode(ctypes.byref(off))
    on.x87, on.vectors = off.x87, off.vectors | FLUSH
    return Flush(library.fesetmode, ctypes.byref(on), ctypes.byref(off))


class _Mode(ctypes.Structure):
    """femode_t of the C library, on x86-64: how numbers are rounded, and what is trapped."""

    _fields_ = (("x87", ctypes.c_uint32), ("vectors", ctypes.c_uint32))
    x87: int
    vectors: int


@cache
def _library() -> Any:
    """GNU's mathematical library, whose modes are told apart by its ABI."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64" or sys.maxsize < 1 << 32:
        return None
    try:
        library = ctypes.PyDLL("libm.so.6")  # which keeps the interpreter's lock: a call takes less than giving it back
    except OSError:  # another C library,
        return None
    return library if hasattr(library, "fesetmode") else None  # or one from before 2016


def multiplies(program: Program) -> bool:
    """Whether a step has a product of two matrices that both depend on what it updates."""
    nodes, depends = program.graph.nodes, {n.id for n in program.held}
    for node in nodes:
        if depends.isdisjoint(node.inputs):
            continue
        depends.add(node.id)
        if node.operator.name == "matmul" and len({*node.inputs}) > 1 and depends.issuperset(node.inputs):
            return True
    return False
