"""What generated code works in: a set of buffers in one arena, and the step bound to them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgrad.node import Node
from graphgrad.types import Array, Sizes, size_of

from . import numpy_support
from .blocks import inner_values
from .flush import ONE, SMALLEST, Flush, flush, is_worthwhile
from .memory import Plan, plan
from .pages import aligned
from .program import Program

if TYPE_CHECKING:
    from .loader import Function


#: `Flush.call`, written out.
QUICK_FLUSHED = """
def quick(v):
    if {tests}:
        if not SMALLEST * ONE:
            return step({values})
        try:
            set(on)
            return step({values})
        finally:
            set(off)
"""


class Workspace:
    """One set of buffers, for one set of sizes and one call at a time."""

    def __init__(self, function: Function, sizes: Sizes, values: Mapping[str, Array] | None = None) -> None:
        program, printed = function.program, function._printed
        kept = function._values if values is None else values
        self.plan: Plan = plan(program, sizes)
        self.inner = inner_values(program)
        arena = aligned(np.empty, (self.plan.size,), np.uint8)
        held = {n.id: kept[n["name"]] for n in program.held}
        space: dict[str, Any] = {"np": np, "__name__": "graphgrad.generated"}
        space |= {name: np.int64(size) for name, size in sizes.items()}
        space |= {name: getattr(numpy_support, name) for name in printed.support}
        space |= dict(printed.constants)
        space |= {printed.names[id]: array for id, array in held.items()}
        for name, id in printed.kept:
            space[name] = aligned(np.empty, _shape(program.node(id), sizes), program.node(id).dtype, shared=False)
        # Values in the same place are one array: NumPy sees at once that such an operand and result may overlap.
        same: dict[Any, Array] = {}
        for name, id in printed.buffers:
            made, where = self._buffer(program, id, arena, held, sizes)
            space[name] = same.setdefault((where, made.shape, made.dtype), made)
        try:
            with np.errstate(all="ignore"):  # 1/N of an empty batch, which multiplies nothing
                for code in function._code:
                    exec(code, space)  # the source is this project's own print; names in it passed codegen.names
        except Exception as error:
            raise function.told(error) from error
        read_only([space[name] for name, _ in printed.kept], space.values())
        self.names = space
        step: Callable[..., Any] = space["step"]
        shapes = {program.node(id).shape for id in (*program.prologue, *program.step)}
        empty = any(0 in [size_of(d, sizes) for d in shape] for shape in shapes)
        step = sparing(step, list(held.values())) if empty else step
        self._weak = [n.weak for n in function._inputs]
        self.plain = True not in self._weak
        self.flush = flush() if is_worthwhile(program, sizes) else None
        self.quick = quick(step, [_shape(n, sizes) for n in function._inputs], function._dtypes, self._weak, self.flush)
        self.step = step if self.flush is None else partial(self.flush.call, step)

    def __del__(self) -> None:
        """Generated functions and their names form a cycle, which would keep the arena until the collector comes by."""
        if "names" in self.__dict__:
            self.names.clear()

    def _buffer(
        self, program: Program, id: int, arena: Array, held: Mapping[int, Array], sizes: Sizes
    ) -> tuple[Array, object]:
        """The array of a call, and where it begins."""
        node = program.node(id)
        owner = program.storage_of[id]
        if owner in held:
            return held[owner], ("held", owner)
        shape = _shape(node, sizes)
        dtype = np.dtype(node.dtype)
        start = self.plan.offsets[owner]
        if owner in self.inner:  # what a chain passes on block by block
            shape = (min(math.prod(shape), program.block // dtype.itemsize),)
        if id in program.placed:
            start += size_of(program.placed[id][1], sizes) * dtype.itemsize
        stop = start + math.prod(shape) * dtype.itemsize
        return arena[start:stop].view(dtype).reshape(shape), start

    def arguments(self, values: Sequence[Array]) -> Sequence[Any]:
        """Weak inputs as NumPy scalars, so that their arithmetic is IEEE's; arrays as they are."""
        return [v[()] if weak else v for v, weak in zip(values, self._weak, strict=True)]


def read_only(kept: Sequence[Array], values: Iterable[object]) -> None:
    """Forbid to write into these arrays and their views: no call computes them again."""
    memory = {id(array.base) for array in kept}
    for value in values if kept else ():
        if isinstance(value, np.ndarray) and id(value.base) in memory:
            value.flags.writeable = False


def sparing(step: Callable[..., Any], held: Sequence[Array]) -> Callable[..., Any]:
    """The step on arrays without elements: NumPy's warnings come only where a result shows what they tell of.

    What is spread over such arrays may be computed before it is spread. The log(0) of a sum of nothing is then in no
    result, and a warning of it would be of nothing that the user wrote.
    """

    def spare(*values: Any) -> Any:
        met: list[str] = []
        told: dict[str, Any] = {kind: "call" for kind, way in np.geterr().items() if way != "ignore"}
        with np.errstate(**told, call=lambda kind, _: met.append(kind)):
            results = step(*values)
        if met and not all(np.isfinite(a).all() for a in (*results, *held)):
            warnings.warn(f"{met[0]} encountered, in a call with arrays without elements", RuntimeWarning, stacklevel=2)
        return results

    return spare


def quick(
    step: Callable[..., Any],
    shapes: Sequence[tuple[int, ...]],
    dtypes: Sequence[np.dtype[Any]],
    weak: Sequence[bool],
    flush: Flush | None,
) -> Callable[[Sequence[Any]], Any]:
    """The step on values that are arrays of just these shapes and dtypes; None for all others.

    The tests are written out, since all of a step may take but microseconds. Nothing but numbers is in their text.
    """
    each = "(v{0} := v[{0}]).__class__ is array and v{0}.shape == shape_{0} and v{0}.dtype is dtype_{0}"
    tests = " and ".join([f"len(v) == {len(shapes)}", *[each.format(k) for k in range(len(shapes))]])
    values = ", ".join(f"v{k}[()]" if w else f"v{k}" for k, w in enumerate(weak))
    space: dict[str, Any] = {"array": np.ndarray, "step": step}
    space |= {f"shape_{k}": shape for k, shape in enumerate(shapes)}
    space |= {f"dtype_{k}": dtype for k, dtype in enumerate(dtypes)}
    if flush is None:
        return eval(f"lambda v: step({values}) if {tests} else None", space)  # type: ignore[no-any-return]
    space |= flush._asdict() | {"SMALLEST": SMALLEST, "ONE": ONE}
    exec(QUICK_FLUSHED.format(tests=tests, values=values), space)
    return space["quick"]  # type: ignore[no-any-return]


def _shape(node: Node, sizes: Sizes) -> tuple[int, ...]:
    return tuple(size_of(d, sizes) for d in node.shape)
