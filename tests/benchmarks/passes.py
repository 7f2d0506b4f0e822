"""What each pass is worth: a step as it is compiled against the same step without the pass, in turn in one process.

A pass is taken away from outside, for the time in which one trainer is made, so that the product needs no switches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any
from unittest import mock

import numpy as np

from . import harness, works
from .contestants import graphgrad_trainer, looped
from .harness import BLOCK, BLOCKS
from .works import Work

Say = Callable[[str], None]

ON = ("row 1", "row 3", "row 4", "seven numbers")
PROCESSES = 5

#: Where values wait for the backward pass, with the trainer's memory.
LATE_ON = (
    (Work("relu", (13, 64, 64, 1), "relu", "mse", 4096), "fast"),
    (Work("relu", (64, 128, 64, 10), "relu", "cross_entropy", 1024), "low"),
    (Work("mish", (64, 128, 128, 128, 10), "mish", "cross_entropy", 1024), "low"),
    (Work("mish", (64,) * 51, "mish", "mse", 64), "low"),
    (Work("tanh", (64,) * 51, "tanh", "mse", 64), "low"),
)


@contextmanager
def no_blocks() -> Iterator[None]:
    from graphgrad.codegen import compiler

    with mock.patch.object(compiler, "block_bytes", return_value=0):
        yield


@contextmanager
def no_own_units() -> Iterator[None]:
    from graphgrad.codegen import compiler

    with mock.patch.object(compiler, "lowered", partial(compiler.lowered, scaled=False)):
        yield


@contextmanager
def relu_by_a_number() -> Iterator[None]:
    from graphgrad.codegen.numpy_target import _Printer

    def zero(printer: Any, node: Any) -> str:
        return str(printer._once("zero_number", f"np.zeros((), np.{node.dtype})"))

    with mock.patch.object(_Printer, "_zeros", zero):
        yield


@contextmanager
def plain_sums() -> Iterator[None]:
    from graphgrad.codegen.numpy_target import _Printer

    before = _Printer._template
    plain = "np.add.reduce({x}, axis={axis}, keepdims={keepdims}, out={out})"

    def template(printer: Any, node: Any) -> tuple[str, ...]:
        return (plain,) if node.operator.name == "sum" else before(printer, node)

    with mock.patch.object(_Printer, "_template", template):
        yield


@contextmanager
def an_array_for_each_name() -> Iterator[None]:
    from graphgrad.codegen.workspace import Workspace

    before = Workspace.__init__

    def made(workspace: Any, function: Any, sizes: Any) -> None:
        before(workspace, function, sizes)
        space = workspace.names
        for name, _ in function._printed.buffers:
            space[name] = space[name].view()

    with mock.patch.object(Workspace, "__init__", made):
        yield


@contextmanager
def beside_the_line() -> Iterator[None]:
    from graphgrad.codegen import loader

    def shifted(array: Any) -> Any:
        """Where NumPy's own arrays often begin: 16 bytes behind a line of the cache."""
        longer = loader.aligned(np.empty, (array.nbytes + 16,), np.uint8)
        copy = longer[16:].view(array.dtype).reshape(array.shape)
        copy[...] = array
        return copy

    before = loader.Function._hold

    def hold(function: Any, name: str, node: Any, sizes: Any) -> Any:
        array = before(function, name, node, sizes)
        if array.nbytes and array.ctypes.data % 64 == 0 and array.shape:
            function._values[name] = shifted(array)
        return function._values[name]

    with mock.patch.object(loader.Function, "_hold", hold):
        yield


@contextmanager
def layers_as_written() -> Iterator[None]:
    from graphgrad.codegen import prepare
    from graphgrad.codegen.layout import WRITTEN

    with mock.patch.object(prepare, "best_layout", return_value=WRITTEN), matrices_as_they_are():
        yield


@contextmanager
def units_that_stay() -> Iterator[None]:
    from graphgrad.codegen import prepare

    with mock.patch.object(prepare, "growth", return_value=None):
        yield


@contextmanager
def small_pages() -> Iterator[None]:
    from graphgrad.codegen import pages

    with mock.patch.object(pages, "SHARED", range(1 << 62, 1 << 62)):
        yield


@contextmanager
def by_the_c_library() -> Iterator[None]:
    from graphgrad.codegen import pages

    with mock.patch.object(pages.mmap, "mmap", side_effect=OSError):
        yield


@contextmanager
def a_block_for_each_value() -> Iterator[None]:
    from graphgrad.codegen import memory

    with mock.patch.object(memory, "_spent", lambda program, id, *_: id):
        yield


@contextmanager
def biases_apart() -> Iterator[None]:
    from graphgrad import theta
    from graphgrad.codegen import costs, layout
    from graphgrad.codegen.biases import Biases

    none = Biases({}, {})
    with (
        mock.patch.object(layout, "find_biases", return_value=none),
        mock.patch.object(costs, "joins_bias", return_value=False),
        mock.patch.object(theta, "layer_cost", costs.layer_cost.__wrapped__),  # what is remembered is with biases
    ):
        yield


@contextmanager
def matrices_as_they_are() -> Iterator[None]:
    from graphgrad import trainer

    def plain(*arguments: Any, **options: Any) -> Any:
        return training_graph(*arguments, **{**options, "laid_for": None})

    training_graph = trainer.training_graph
    with mock.patch.object(trainer, "training_graph", plain):
        yield


@contextmanager
def numbers_of_numpy() -> Iterator[None]:
    from graphgrad.codegen import loader

    print_numpy = loader.print_numpy
    with mock.patch.object(loader, "print_numpy", lambda program, counting: print_numpy(program, counting=False)):
        yield


@contextmanager
def nothing_late() -> Iterator[None]:
    from graphgrad.codegen import compiler

    def same(program: Any, *, again: bool) -> Any:
        return program, {id: program.graph.tensor(id) for id in program.roles}

    with mock.patch.object(compiler, "compute_late", same):
        yield


@contextmanager
def subnormal_numbers() -> Iterator[None]:
    from graphgrad.codegen import workspace

    with mock.patch.object(workspace, "flush", return_value=None):
        yield


@contextmanager
def masks_as_they_are() -> Iterator[None]:
    from graphgrad.codegen import layout

    with mock.patch.object(layout, "masked", return_value=()):
        yield


@contextmanager
def numbers_over_operands() -> Iterator[None]:
    from graphgrad.codegen.program import Program

    with mock.patch.object(Program, "is_single", return_value=False):
        yield


@contextmanager
def nothing() -> Iterator[None]:
    yield


#: What is taken away: how, and the options of a trainer.
WITHOUT: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "nothing (the same twice)": (nothing, {}),
    "all rewrites that move rounding (exact=True)": (nothing, {"exact": True}),
    "linear states in their own units": (no_own_units, {}),
    "blocks (block=0)": (no_blocks, {}),
    "layers that lie transposed, matrices that fit, and biases in products": (layers_as_written, {}),
    "biases in products alone": (biases_apart, {}),
    "held values that begin on a line of the cache": (beside_the_line, {}),
    "vectors on huge pages": (small_pages, {}),
    "huge pages fresh from the system": (by_the_c_library, {}),
    "averages in units that shrink": (units_that_stay, {}),
    "values of a block in place of a vector that is done with": (a_block_for_each_value, {}),
    "numbers by Python's own arithmetic": (numbers_of_numpy, {}),
    "relu against an array of zeros": (relu_by_a_number, {}),
    "masks as numbers": (masks_as_they_are, {}),
    "sums as products with ones": (plain_sums, {}),
    "zeros for subnormal numbers": (subnormal_numbers, {}),
    "one array object for each place": (an_array_for_each_name, {}),
    "memory of its own for a single number": (numbers_over_operands, {}),
}


def compared(what: str, fields: dict[str, Any]) -> dict[str, Any]:
    """In a child: the time without a pass, of the time with it."""
    work = Work(**{**fields, "widths": tuple(fields["widths"])})
    take_away, options = WITHOUT[what]
    whole = looped(graphgrad_trainer(work).step, work)
    whole(1)
    with take_away():
        less = looped(graphgrad_trainer(work, **options).step, work)
        less(1)  # the workspace is made at the first step
    return {**harness.compare([less, whole], BLOCKS, BLOCK), "first": [0.0]}


def passes(say: Say) -> dict[str, Any]:
    chosen = {w.name: w for w in (*works.listed(), *works.others())}
    result: dict[str, Any] = {}
    for what in WITHOUT:
        result[what] = {}
        for row in ON:
            measure = partial(harness.child, "passes:compared", what, asdict(chosen[row]))
            found = harness.over_processes(measure, PROCESSES, lambda ratio: True)
            result[what][row] = {name: found[name] for name in ("ratio", "least", "most")}
        say(f"without {what}: " + ", ".join(f"{found['ratio']:.3f}x on {row}" for row, found in result[what].items()))
    return result


def compared_late(fields: dict[str, Any], memory: str) -> dict[str, Any]:
    """In a child: the time with values computed late, of the time without, and the bytes of both workspaces."""
    work = Work(**{**fields, "widths": tuple(fields["widths"])})
    late = graphgrad_trainer(work, memory=memory)
    with nothing_late():
        early = graphgrad_trainer(work, memory=memory)
        looped(early.step, work)(1)  # of these sizes the layout is made at the first step
    runs = [looped(late.step, work), looped(early.step, work)]
    runs[0](1)
    planned = [t.function.workspace_bytes(N=work.batch) for t in (late, early)]
    again = len(late.function.program.again)
    return {**harness.compare(runs, BLOCKS, BLOCK), "first": [0.0], "bytes": planned, "again": again}


def late(say: Say) -> list[dict[str, Any]]:
    result = []
    for work, memory in LATE_ON:
        measure = partial(harness.child, "passes:compared_late", asdict(work), memory)
        found = harness.over_processes(measure, PROCESSES, lambda ratio: True)
        kept = {name: found[name] for name in ("ratio", "least", "most", "bytes", "again")}
        result.append({"work": work.title, "memory": memory, **kept})
        say(f"{work.title}, {memory}: {kept['bytes'][0]:,} of {kept['bytes'][1]:,} bytes in {kept['ratio']:.3f}x")
    return result
