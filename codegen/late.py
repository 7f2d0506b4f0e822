"""Values computed late: what would only wait for its reader is computed just before it, or there once more.

A mask that the backward pass needs, computed in the forward pass from something that stays alive, lies in memory for
nothing. It moves to where it is read. A value that both passes read is computed a second time where it is cheap and its
operands are alive there anyway: gelu's x·Φ(x) from x and Φ(x), or the x·r of a layer norm from x and r. That costs a
pass over the memory, so it is done only where memory is asked to be low (`again`); a move costs nothing.

    x1 = z1 * gate                     x1 = z1 * gate
    z2 = x1 @ W2 + b2                  z2 = x1 @ W2 + b2
    ...                     becomes    ...                      # without x1 beside z1 and gate
    W̄2 = x1ᵀ @ z̄2                      x1_again = z1 * gate
                                       W̄2 = x1_againᵀ @ z̄2

Each statement computes what it computed before from the same operands, so all results are the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from graphgrad.graph import Graph, Node
from graphgrad.rewrite import compose, rebuild
from graphgrad.tensor import Tensor
from graphgrad.types import size_names, size_of

from .memory import assign, last_uses, plan
from .program import Program, build
from .schedule import NOMINAL

#: What costs about one pass over its operands and its result: no functions, no choices by a condition.
CHEAP = frozenset(
    "add subtract multiply negative abs square maximum minimum relu cast equal not_equal greater greater_equal less "
    "less_equal logical_and logical_or logical_not".split()
)
#: What named sizes are taken for: the parameters weigh most with a small batch, the activations with a large one.
SAMPLES = (64 * NOMINAL, NOMINAL, 1)


@dataclass(frozen=True, slots=True)
class Gap:
    """Positions in the step, `begin` to `end` - 1, at which a value waits for the statements from `end` on alone."""

    id: int
    begin: int
    end: int
    again: bool  # it is read before, too: closing the gap means to compute it twice


def compute_late(program: Program, *, again: bool = False) -> tuple[Program, dict[int, Tensor]]:
    """A program with memory in which values are computed later, where its planned workspace gets smaller by that and
    for no size larger; and where old nodes went, if any did. With `again` cheap ones are computed twice."""
    moved: dict[int, Tensor] = {i: program.graph.tensor(i) for i in program.roles}
    while chosen := chosen_gaps(program, again):
        for attempt in (chosen, [gap for gap in chosen if not gap.again]):
            other, by = closed(program, attempt)
            other = assign(other)
            if is_smaller(other, program):
                break
        else:
            break
        program, moved = other, compose(moved, by)
    return program, moved


def is_smaller(program: Program, before: Program) -> bool:
    """Whether the workspace is planned smaller for some sizes and larger for none, and nothing more is copied."""
    pairs = [(plan(program, s).size, plan(before, s).size) for s in samples(before)]
    smaller = all(new <= old for new, old in pairs) and any(new < old for new, old in pairs)
    return smaller and len(program.copies) <= len(before.copies)


def samples(program: Program) -> list[dict[str, int]]:
    names = sorted({name for s in program.storages.values() for name in size_names(s.size)})
    return [dict.fromkeys(names, n) for n in SAMPLES] if names else [{}]


# ---------------------------------------------------------------------------------------------------------------------
# Where values wait
# ---------------------------------------------------------------------------------------------------------------------


def gaps(program: Program, again: bool) -> list[Gap]:
    """All gaps that could be closed: the operands are there, unchanged, up to the gap's end."""
    step = program.step
    order = {id: position for position, id in enumerate(step)}
    last = last_uses(program, order, len(step))
    readers: dict[int, list[int]] = {}
    for position, id in enumerate(step):
        for source in dict.fromkeys(program.reads(id) if program.roles[id] != "view" else ()):
            readers.setdefault(source, []).append(position)
    outputs = {program.base(i) for i in program.outputs}
    fixed = {i for pair in program.updates for i in pair} | set(program.placed)
    fixed |= {id for chain in program.chains for id in chain}
    start = {order[id]: order[chain[0]] for chain in program.chains for id in chain}  # nothing comes inside of a loop
    written: dict[int, int] = {}  # of held leaves: where the first new value is written over the old one
    for id in reversed(step):
        written[program.storage_of.get(id, id)] = order[id]

    def there_until(id: int) -> int:
        """The last position before which a statement could read what this one reads."""
        limit = len(step)
        for source in map(program.base, program.node(id).inputs):
            role = program.roles[source]
            if role == "held" and not program.node(source).weak:
                limit = min(limit, written.get(source, limit))
            elif role == "call" and program.stages[source] == 1:
                limit = min(limit, last[source])
        return limit

    found: list[Gap] = []
    for position, id in enumerate(step):
        node = program.node(id)
        alone = id in program.storage_of and program.storage_of[id] in program.storages
        if program.roles[id] != "call" or node.operator.kind == "pack" or id in fixed or not alone:
            continue
        limit = there_until(id)
        uses = [*readers.get(id, ()), *([len(step)] if id in outputs else ())]
        for before, use in zip([position, *uses], uses, strict=False):
            first = before == position
            begin = position if first else before + 1
            end = min(use, limit)
            end = start.get(end, end)
            if first:
                possible = end > position + 1  # before the next statement it is computed as it is
            else:
                possible = again and node.operator.name in CHEAP and id not in outputs
            if possible and begin < end:
                found.append(Gap(id, begin, end, not first))
    return found


def chosen_gaps(program: Program, again: bool) -> list[Gap]:
    """The gaps whose closing lowers the peak of live bytes, no more of them than that takes."""
    found = gaps(program, again)
    chosen: list[Gap] = []
    for sizes in samples(program)[:2] if found else ():
        chosen += lowering(program, found, sizes, chosen)
    return sorted(chosen, key=lambda gap: (gap.end, gap.id))


def lowering(program: Program, found: Sequence[Gap], sizes: Mapping[str, int], closed: Sequence[Gap]) -> list[Gap]:
    """The same for one set of sizes: always at the first peak the largest, and of those first what costs nothing.

    None of them reads another, or one of those that are `closed` already: the next round may take it.
    """
    live = [0] * (len(program.step) + 1)
    for storage in program.storages.values():
        change(live, storage.born, storage.dies + 1, size_of(storage.size, sizes))
    size = {gap.id: size_of(program.storages[program.storage_of[gap.id]].size, sizes) for gap in found}
    for gap in closed:
        change(live, gap.begin, gap.end, -size[gap.id])
    beside = {gap.id: {gap.id, *program.reads(gap.id)} for gap in found}
    barred = {i for gap in closed for i in beside[gap.id]}
    taken: list[Gap] = []
    while True:
        peak = live.index(max(live))
        met = {gap.id for gap in (*closed, *taken)}
        fitting = [
            g for g in found if g.begin <= peak < g.end and g.id not in barred and not beside[g.id] & met and size[g.id]
        ]
        if not fitting:
            break
        best = max(fitting, key=lambda g: (not g.again, size[g.id], -g.id))
        change(live, best.begin, best.end, -size[best.id])
        barred |= beside[best.id]
        taken.append(best)
    lowest = max(live)
    for gap in reversed(taken[:]):  # what is not needed for it stays as it was
        if max(live[gap.begin : gap.end]) + size[gap.id] <= lowest:
            change(live, gap.begin, gap.end, size[gap.id])
            taken.remove(gap)
    return taken


def change(live: list[int], begin: int, end: int, by: int) -> None:
    for position in range(begin, end):
        live[position] += by


# ---------------------------------------------------------------------------------------------------------------------
# The program with gaps closed
# ---------------------------------------------------------------------------------------------------------------------


def closed(program: Program, chosen: Sequence[Gap]) -> tuple[Program, dict[int, Tensor]]:
    """The program in which each of the gaps is closed, without memory, and where its nodes went."""
    twice = {gap.id: gap.end for gap in chosen if gap.again}
    graph, moved, twins = with_twins(program, twice)
    at: dict[int, list[int]] = {}  # what comes before the statement at a position
    for gap in chosen:
        at.setdefault(gap.end, []).append(twins[gap.id] if gap.again else moved[gap.id].id)
    away = {gap.id for gap in chosen if not gap.again}
    order: list[int] = []
    for position, id in enumerate(program.step):
        order += [*at.get(position, ()), *([moved[id].id] if id not in away else ())]
    order += at.get(len(program.step), ())
    tensors = {id: moved[id] for id in program.roles}
    updates = {tensors[leaf.id]: tensors[leaf.id] for leaf in program.held}  # what is held as it is
    updates |= {tensors[leaf]: tensors[value] for leaf, value in program.updates}
    arguments = [tensors[leaf.id] for leaf in program.inputs]
    new = build(graph, [tensors[i] for i in program.outputs], updates, arguments)
    views = sorted(set(new.step) - set(order))  # of what is computed twice
    again = {moved[i].id: moved[of].id for i, of in program.again.items()}
    made = replace(
        new,
        step=(*views, *order),
        chains=tuple(tuple(moved[i].id for i in chain) for chain in program.chains),
        block=program.block,
        origins={moved[i].id: written for i, written in program.origins.items() if i in moved},
        scales={moved[i].id: c for i, c in program.scales.items()},
        again=again | {twin: moved[of].id for of, twin in twins.items()},
    )
    return made, moved


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
            if late and program.roles[node.id] == "call":
                ids[k] = twin(i, new)
        make = new.again if node.id in program.again else new.adopt
        moved[node.id] = make(node, tuple(ids))
        return moved[node.id]

    ends = [*program.outputs, *[value for _, value in program.updates]]
    leaves = [*program.inputs, *program.held]
    graph, _ = rebuild([old.tensor(i) for i in ends], visit, [old.tensor(leaf.id) for leaf in leaves])
    return graph, moved, twins
