"""Values computed late: what would only wait for its reader is computed just before it, or there once more.

A mask that the backward pass needs, computed in the forward pass from what stays alive anyway, lies in memory for
nothing: it moves to where it is read, which costs nothing. A value that both passes read is computed a second time, if
it is cheap and its operands are there: the x·r of mish or of a layer norm from x and r, 1 - r from r. That costs a pass
over memory each, so it is done only where memory is to be low (`again`).

    x1 = z1 * gate                  x1 = z1 * gate
    z2 = x1 @ W2 + b2               z2 = x1 @ W2 + b2
    ...                 becomes     ...                          here z1 and gate alone are kept
                                    x1_again = z1 * gate
    W̄2 = z̄2ᵀ @ x1                   W̄2 = z̄2ᵀ @ x1_again

The same operations run on the same operands, so results are the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.rewrite import compose, rebuild
from graphgrad.tensor import Tensor
from graphgrad.types import Array, size_names, size_of

from .memory import assign, last_uses, plan
from .program import USUAL, Program, build, refusing, scheduled

#: What costs about one pass over its operands and its result: no functions, no choices by a condition.
CHEAP = frozenset(
    "add subtract multiply negative abs square maximum minimum relu cast equal not_equal greater greater_equal less "
    "less_equal logical_and logical_or logical_not".split()
)
#: What stays where it is: a check raises before anything is updated, and a pack is a layout.
EARLY = frozenset({"checked_index", "pack"})
#: The share of the peak that has to be saved: for less no order is changed.
LEAST = 0.01
#: What named sizes are taken for: the parameters weigh most with a small batch, the activations with a large one.
SAMPLES = (64 * USUAL, USUAL, 1)


class Gap(NamedTuple):
    """Positions in the step, `begin` to `end` - 1, at which a value waits for the statements from `end` on alone."""

    id: int
    begin: int
    end: int
    again: bool  # it is read before, too: closing the gap means to compute it twice


def compute_late(program: Program, *, again: bool = False) -> tuple[Program, dict[int, Tensor]]:
    """The program, with memory, in which values are computed late where that makes its workspace smaller, and where its
    nodes went. With `again` cheap ones are computed twice for it.

    The workspace is planned smaller for one of `SAMPLES` and larger for none of them. For other sizes no more bytes are
    alive at once than before, but how they are packed may differ by some.

    >>> import graphgrad as gg
    >>> net = gg.feedforward([8, 32, 32, 2], activation="mish", loss="cross_entropy")
    >>> fast, low = (gg.compile([net.loss, *gg.derive(net.loss).values()], memory=m) for m in ("fast", "low"))
    >>> fast.workspace_bytes(N=1000), low.workspace_bytes(N=1000)
    (2096000, 1808640)
    >>> for line in low.source.splitlines():
    ...     if "x1_again" in line:
    ...         print(line.strip())
    # x1_again = z1 * v50, computed again: x1 is not kept until here, to save memory
    multiply(z1, v50, x1_again)
    dot(z2_bar_T, x1_again, W2_bar)
    """
    moved = dict(zip(program.roles, program.graph.tensors(program.roles), strict=True))
    while chosen := chosen_gaps(program, again):
        other, by = closed(program, chosen)
        if not is_smaller(other, program):
            break
        program, moved = other, compose(moved, by)
    return program, moved


def is_smaller(program: Program, before: Program) -> bool:
    """Whether the workspace is planned smaller for some samples and larger for none, and nothing more is copied."""
    pairs = [(plan(program, s).size, plan(before, s).size) for s in samples(before)]
    smaller = all(new <= old for new, old in pairs) and any(new < old for new, old in pairs)
    return smaller and len(program.copies) <= len(before.copies)


def samples(program: Program) -> list[dict[str, int]]:
    """Sizes to look at, without those for which a dimension such as N - 100 would be none."""
    storages = program.storages.values()
    names = sorted({name for s in storages for name in size_names(s.size)})
    wanted = [dict.fromkeys(names, n) for n in SAMPLES] if names else [{}]
    return [sizes for sizes in wanted if all(size_of(s.size, sizes) >= 0 for s in storages)]


# ---------------------------------------------------------------------------------------------------------------------
# Where values wait
# ---------------------------------------------------------------------------------------------------------------------


def gaps(program: Program, again: bool) -> list[Gap]:
    """All gaps that could be closed, each up to where its operands are last sure to be there."""
    step, roles, reads, nodes = program.step, program.roles, program.reads, program.graph.nodes
    order = {id: position for position, id in enumerate(step)}
    outputs = {program.base(i) for i in program.outputs}
    fixed = {i for pair in program.updates for i in pair} | set(program.placed) | program.lasting
    fixed |= {id for chain in program.chains for id in chain} | refusing(program)
    before_loop = {order[id]: order[chain[0]] for chain in program.chains for id in chain}
    uses: dict[int, list[int]] = {}  # all of them, or only the first
    for position, id in enumerate(step):
        for source in reads[id] if roles[id] != "view" else ():
            if source not in uses:
                uses[source] = [position]
            elif again:
                uses[source].append(position)
    for id in outputs:
        uses.setdefault(id, []).append(len(step))
    last_chance: Callable[[int], int] | None = None  # found once a value waits at all
    found: list[Gap] = []
    for position, id in enumerate(step):
        if roles[id] != "call" or id in fixed:
            continue
        operator = nodes[id].operator
        if operator.name in EARLY:
            continue
        twice = again and operator.name in CHEAP and id not in outputs
        ends = uses.get(id, ())
        if not twice:
            ends = ends[:1]
        for before, use in zip((position, *ends), ends, strict=False):
            first = before == position
            if use <= before + 1:
                continue
            last_chance = last_chance or last_chances(program, order)
            end = min(use, last_chance(id))
            end = before_loop.get(end, end)
            if first and end > position + 1:
                found.append(Gap(id, position, end, again=False))
            elif not first and end > before + 1:
                found.append(Gap(id, before + 1, end, again=True))
    return found


def last_chances(program: Program, order: Mapping[int, int]) -> Callable[[int], int]:
    """Of a statement: the last position before which its operands are all still there, and hold what they held."""
    last = last_uses(program, order, len(order))
    overwritten: dict[int, int] = {}  # of held leaves: where the first statement writes in their place
    for id in reversed(program.step):
        overwritten[program.storage_of.get(id, id)] = order[id]

    def end_of(source: int) -> int:
        if program.roles[source] == "held":
            return overwritten.get(source, len(order))
        return last[source] if program.roles[source] == "call" and program.stages[source] == 1 else len(order)

    return lambda id: min(map(end_of, program.reads[id]), default=len(order))


def chosen_gaps(program: Program, again: bool) -> list[Gap]:
    """The gaps whose closing lowers the peak of live bytes, no more of them than that takes."""
    found = gaps(program, again)
    chosen: list[Gap] = []
    for sizes in samples(program)[:2] if found else ():
        chosen += lowering(program, found, sizes, chosen)
    return sorted(chosen, key=lambda gap: (gap.end, gap.id))


def lowering(program: Program, found: Sequence[Gap], sizes: Mapping[str, int], others: Sequence[Gap]) -> list[Gap]:
    """Those that lower the peak for one set of sizes, beside `others`: at the first peak, again and again, the largest,
    and first of all what costs nothing. What a chosen one reads, or what reads it, is left to the next round."""
    live = live_bytes(program, sizes)
    size = {gap.id: size_of(program.storages[program.storage_of[gap.id]].size, sizes) for gap in found}
    ordered = sorted((gap for gap in found if size[gap.id]), key=lambda gap: (gap.again, -size[gap.id], gap.id))
    begins, ends = (np.array([getattr(gap, side) for gap in ordered], int) for side in ("begin", "end"))
    is_free = np.ones(len(ordered), bool)
    of, beside = dict[int, list[int]](), dict[int, list[int]]()  # gaps of a value; gaps of what reads it
    for k, gap in enumerate(ordered):
        of.setdefault(gap.id, []).append(k)
        for i in program.reads[gap.id]:
            beside.setdefault(i, []).append(k)

    def take(gap: Gap) -> None:
        live[gap.begin : gap.end] -= size[gap.id]
        for near in (of.get(gap.id), beside.get(gap.id), *map(of.get, program.reads[gap.id])):
            is_free[near or []] = False

    for gap in others:
        take(gap)
    taken: list[Gap] = []
    before = live.max()
    while True:
        peak = live.argmax()
        fitting = np.flatnonzero(is_free & (begins <= peak) & (peak < ends))
        if not fitting.size:
            break
        taken.append(ordered[fitting[0]])
        take(taken[-1])
    lowest = live.max()
    if before - lowest < LEAST * before:
        return []
    for gap in reversed(taken[:]):  # what is not needed for it stays as it was
        waiting = live[gap.begin : gap.end]
        if waiting.max() + size[gap.id] <= lowest:
            waiting += size[gap.id]
            taken.remove(gap)
    return taken


def live_bytes(program: Program, sizes: Mapping[str, int]) -> Array:
    """The sum of the storages that are alive at each position of the step, and at its end."""
    changes = np.zeros(len(program.step) + 2, np.int64)
    for storage in program.storages.values():
        size = size_of(storage.size, sizes)
        changes[storage.born] += size
        changes[storage.dies + 1] -= size
    return np.cumsum(changes)[:-1]


# ---------------------------------------------------------------------------------------------------------------------
# The program with gaps closed
# ---------------------------------------------------------------------------------------------------------------------


def closed(program: Program, chosen: Sequence[Gap]) -> tuple[Program, dict[int, Tensor]]:
    """The program in which each of the gaps is closed, with memory, and where its nodes went."""
    twice = {gap.id: gap.end for gap in chosen if gap.again}
    twins: dict[int, int] = {}
    moved = {id: program.graph.tensor(id) for id in program.roles}
    if twice:
        graph, moved, twins = with_twins(program, twice)
    at: dict[int, list[int]] = {}  # what comes before the statement at a position
    for gap in chosen:
        at.setdefault(gap.end, []).append(twins[gap.id] if gap.again else moved[gap.id].id)
    away = {gap.id for gap in chosen if not gap.again}
    order: list[int] = []
    for position, id in enumerate(program.step):
        order += [*at.get(position, ()), *([moved[id].id] if id not in away else ())]
    order += at.get(len(program.step), ())
    made = on_graph(program, graph, moved, twins, order) if twice else scheduled(program, order)
    return assign(made), moved


def on_graph(
    program: Program, graph: Graph, moved: Mapping[int, Tensor], twins: Mapping[int, int], order: Sequence[int]
) -> Program:
    """The program on a graph with second nodes, its step in an order."""
    updates = {moved[leaf.id]: moved[leaf.id] for leaf in program.held}  # what is held as it is
    updates |= {moved[leaf]: moved[value] for leaf, value in program.updates}
    outputs, arguments = ([moved[i] for i in ids] for ids in (program.outputs, [n.id for n in program.inputs]))
    new = build(graph, outputs, updates, arguments)
    order = [id for id in order if id in new.roles]  # all but views that nothing reads any longer
    views = sorted(set(new.step) - set(order))  # of what is computed twice
    again = {moved[i].id: moved[of].id for i, of in program.again.items()}
    return replace(
        new,
        step=(*views, *order),
        chains=tuple(tuple(moved[i].id for i in chain) for chain in program.chains),
        block=program.block,
        origins={moved[i].id: written for i, written in program.origins.items() if i in moved},
        turned=frozenset(moved[i].id for i in program.turned if i in moved),
        with_biases=tuple(moved[i].id for i in program.with_biases),
        lasting=frozenset(moved[i].id for i in program.lasting),
        units={moved[i].id: unit for i, unit in program.units.items()},
        again=again | {twin: moved[program.again.get(of, of)].id for of, twin in twins.items()},
    )


def with_twins(program: Program, twice: Mapping[int, int]) -> tuple[Graph, dict[int, Tensor], dict[int, int]]:
    """A graph in which statements from a position on read a second node of each of these values; where old nodes went,
    and the second nodes."""
    order = {id: position for position, id in enumerate(program.step)}
    twins: dict[int, int] = {}
    moved: dict[int, Tensor] = {}
    old = program.graph

    def twin(id: int, new: Graph) -> int:
        """The second node of a value or of a view of it."""
        node = old.nodes[id]
        if id not in twice:
            return new.adopt(node, (twin(node.inputs[0], new),)).id
        if id not in twins:
            twins[id] = new.again(node, tuple([moved[i].id for i in node.inputs])).id
            new.lines[twins[id]] = old.lines.get(id, ())
        return twins[id]

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor:
        ids = [t.id for t in inputs]
        for k, i in enumerate(node.inputs):
            late = order.get(node.id, -1) >= twice.get(program.base(i), len(order))
            if late and program.roles[node.id] != "view":
                ids[k] = twin(i, new)
        make = new.again if node.id in program.again else new.adopt
        moved[node.id] = make(node, tuple(ids))
        return moved[node.id]

    ends = [*program.outputs, *[value for _, value in program.updates]]
    leaves = [*program.inputs, *program.held]
    graph, _ = rebuild([old.tensor(i) for i in ends], visit, [old.tensor(leaf.id) for leaf in leaves])
    return graph, moved, twins
