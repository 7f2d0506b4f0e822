"""`gg.compile`: from tensors, through all passes, to a function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from graphgrad.collector import paused_gc
from graphgrad.errors import GraphgradError
from graphgrad.rewrite import compose
from graphgrad.tensor import Tensor
from graphgrad.types import show, whole

from .blocks import block_bytes, find_blocks
from .flush import trained_products
from .late import compute_late
from .layout import Layout
from .loader import Function, Suited
from .memory import assign
from .prepare import Lowered, Prepared, finished, lowered, prepare
from .program import ITEM_SIZE, Program, usual_sizes
from .schedule import schedule

MEMORY = ("fast", "low")


def compile(
    outputs: Tensor | Sequence[Tensor],
    updates: Mapping[Tensor, Tensor] | None = None,
    *,
    target: str = "numpy",
    exact: bool = False,
    copy: bool = True,
    block: int | None = None,
    memory: str = "fast",
) -> Function:
    """Compile tensors of one graph into a function of its inputs, and of the parameters that `updates` does not hold.

    `updates` maps parameters and states to what they become after each call; the function keeps their values (see
    `Function.state`). All new values are computed from the old ones. `exact=True` leaves out rewrites that move
    rounding. With `copy=False` the returned arrays are the function's own memory: the next call overwrites them, so
    they are not to be its arguments. Long chains over vectors run in blocks of `block` bytes (by default an eighth of
    the L2 cache; 0: no blocks). With `memory="low"` cheap values are computed twice where that makes the workspace
    smaller.

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> x, w = g.input("x", ("N",)), g.parameter("w")
    >>> f = gg.compile([gg.sum(w * x)])
    >>> f(x=[1.0, 2.0], w=10.0)
    [array(30.)]
    """
    if target != "numpy":
        raise GraphgradError(f"target {target!r} does not exist; there is: numpy")
    if not isinstance(outputs, (Tensor, list, tuple)):
        raise GraphgradError(f"compile takes a Tensor or a list of them, but {type(outputs).__name__} was given")
    if updates is not None and not isinstance(updates, Mapping):
        raise GraphgradError(f"updates is a mapping such as {{W: W - d[W]}}, but {type(updates).__name__} was given")
    if memory not in MEMORY:
        raise GraphgradError(f"memory {memory!r} does not exist; there are: {', '.join(MEMORY)}")
    wanted = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    replaced = dict(updates or {})
    _check(wanted, replaced)
    with paused_gc():
        graph = next(iter([*wanted, *replaced])).graph
        leaves = frozenset(
            n["name"] for n in graph.nodes if n.operator.kind == "leaf" and n.operator.name != "constant"
        )
        block = block_bytes() if block is None else _checked_block(block)
        if exact or not replaced:  # nothing is kept of the graphs on the way, which may be large
            made = _in_memory(*prepare(wanted, replaced, exact=exact), block, memory)
            return Function(*made, written=graph, copy=copy, leaves=leaves)
        low = lowered(wanted, replaced, exact=exact)
        sizes = usual_sizes(node.shape for node in low.graph.nodes)
        layout = low.best_layout(sizes)
        suited = Suited(layout, sizes, low.best_layout, lambda chosen: _laid_out(low, chosen, block, memory))
        made = suited.made(layout)
        return Function(*made, written=graph, copy=copy, leaves=leaves, suited=suited if sizes else None)


def _laid_out(low: Lowered, layout: Layout, block: int, memory: str) -> Prepared:
    as_derived = layout.little and memory == "fast"
    program, where = _in_memory(*finished(low, layout), block, memory, as_derived=as_derived)
    return replace(program, trained=trained_products(program)), where


def _in_memory(
    program: Program, where: Mapping[int, Tensor], block: int, memory: str, *, as_derived: bool = False
) -> Prepared:
    """Statements in order, and buffers in storages."""
    program = find_blocks(schedule(program, as_derived=as_derived), block)
    program, moved = compute_late(assign(program), again=memory == "low")
    return program, compose(where, moved)


def _checked_block(block: int) -> int:
    least = max(ITEM_SIZE.values())
    if 0 < whole("block", block, 0) < least:
        raise GraphgradError(f"a block holds at least a number, of {least} bytes, but block={block} was given")
    return block


def _check(outputs: list[Tensor], updates: dict[Tensor, Tensor]) -> None:
    tensors = [*outputs, *updates, *updates.values()]
    if not tensors:
        raise GraphgradError("compile was given nothing to compute: no outputs and no updates")
    for t in tensors:
        if not isinstance(t, Tensor):
            raise GraphgradError(f"compile takes tensors, but {type(t).__name__} was given")
        if t.graph is not tensors[0].graph:
            raise GraphgradError("compile was given tensors of two graphs; outputs and updates are of one")
    for leaf, value in updates.items():
        if leaf.node.operator.name not in ("parameter", "state"):
            raise GraphgradError(f"updates replace parameters and states, but {leaf.name} is {leaf.node.operator.name}")
        if leaf.shape != value.shape:
            raise GraphgradError(
                f"the update of {leaf.name} of shape {show(leaf.shape)} has shape {show(value.shape)}"
            ).at(leaf.graph._line())
        if not np.can_cast(value.dtype, leaf.dtype, "same_kind"):
            raise GraphgradError(
                f"the update of {leaf.name} of dtype {leaf.dtype} has dtype {value.dtype}; "
                f"gg.cast(..., {leaf.dtype!r}) says that a loss is meant"
            ).at(leaf.graph._line())
