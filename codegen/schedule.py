"""The order of statements: one with a small peak of memory, in which nothing is overwritten before its last reader."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from functools import lru_cache

from graphgrad.types import Shape, count

from .program import ALIGNMENT, ITEM_SIZE, Program, per_call_views, refusing, scheduled, usual, whole_base


def schedule(program: Program, *, as_derived: bool = False) -> Program:
    """The program with its step in the better of two orders: as derived, or greedy by memory."""
    views = per_call_views(program)
    first = [i for i in program.step if i in views]
    units = [i for i in program.step if i not in views and program.roles[i] != "view"]
    before = dependencies(program, units)
    units = by_id(units, before) if program.updates else units
    # New values take the place of the old ones, as a rule, and what lasts is there all the time.
    weightless = {*[value for _, value in program.updates], *program.lasting}
    # A vector whose other parts are constants is the memory of the one that is computed in it.
    made_of = {i: made for i in units if (made := _computed_part(program, i)) is not None}
    weights = {i: 0 if i in weightless or i in made_of else _bytes(program, i) for i in units}
    reads = program.reads
    if made_of:
        reads = {i: tuple(dict.fromkeys([made_of.get(b, b) for b in reads[i]])) for i in units}
    orders = [units] if as_derived else [units, greedy(program, units, before, weights, reads)]
    best = min(orders, key=lambda order: peak(program, order, weights, reads))  # the first where they are equal
    made_once = [i for i in program.step if program.roles[i] == "view" and i not in views]
    return scheduled(program, [*made_once, *first, *best])


def _computed_part(program: Program, id: int) -> int | None:
    """Of a pack of one value that is computed in its place, and of constants, the value."""
    node = program.node(id)
    if node.operator.kind != "pack":
        return None
    made = [whole_base(program, i) for i in node.inputs if program.stages[i]]
    alone = len(made) == 1 < len(node.inputs)
    return made[0] if alone and made[0] is not None and program.roles[made[0]] == "call" else None


def _bytes(program: Program, id: int) -> int:
    if program.roles[id] != "call":
        return 0
    node = program.graph.nodes[id]
    return _usual_bytes(node.shape, node.dtype)


@lru_cache(maxsize=1024)  # a graph has few shapes
def _usual_bytes(shape: Shape, dtype: str) -> int:
    return -(-usual(count(shape) * ITEM_SIZE[dtype]) // ALIGNMENT) * ALIGNMENT


def dependencies(program: Program, units: Sequence[int]) -> dict[int, set[int]]:
    """What must come before each statement: the producers of its operands, and for the new value of something held,
    all other readers of the old one, so that it can be written in place.

    Such an edge goes from a lower id to a higher one, like every other, so no cycle can arise; a reader that comes
    later anyway makes the new value go through memory of its own instead. What may raise comes before all new values
    too, unless it is computed from one; no path leads back from these.
    """
    known = set(units)
    before: dict[int, set[int]] = {}
    readers: dict[int, list[int]] = {leaf: [] for leaf, _ in program.updates}
    nodes, bases = program.graph.nodes, program.bases
    for id in units:
        sources = {bases.get(i, i) for i in nodes[id].inputs}
        before[id] = sources & known
        for s in sources & readers.keys() if readers else ():
            readers[s].append(id)
    for leaf, value in program.updates:
        if value in known:
            before[value] |= {r for r in readers[leaf] if r < value}
    if program.updates and (first := refusing(program) & known):
        values = {value for _, value in program.updates} & known
        later = set(values)
        for id in units:
            if not later.isdisjoint(before[id]):
                later.add(id)
        for value in values:
            before[value] |= first - later
    return before


def by_id(units: Sequence[int], before: Mapping[int, set[int]]) -> list[int]:
    """Always the lowest id of those that can run: the order of ids, but for what waits for a higher one."""
    if all([not before[id] or max(before[id]) < id for id in units]):
        return list(units)
    after: dict[int, list[int]] = {id: [] for id in units}
    for id in units:
        for b in before[id]:
            after[b].append(id)
    waiting = {id: len(before[id]) for id in units}
    ready = [id for id in units if not waiting[id]]
    order: list[int] = []
    while ready:
        order.append(heapq.heappop(ready))
        for id in after[order[-1]]:
            waiting[id] -= 1
            if not waiting[id]:
                heapq.heappush(ready, id)
    return order


def greedy(
    program: Program,
    units: Sequence[int],
    before: Mapping[int, set[int]],
    weights: Mapping[int, int],
    reads: Mapping[int, Sequence[int]],
) -> list[int]:
    """Of the statements that can run, always the one that leaves the least memory live; the lowest id among equals."""
    uses = dict.fromkeys(units, 0)
    readers = dict.fromkeys(units, 0)  # the sum of their ids: what is left of it is the last one's
    after: dict[int, list[int]] = {i: [] for i in units}
    for id in units:
        for b in before[id]:
            after[b].append(id)
        for s in reads[id]:
            if s in uses:
                uses[s] += 1
                readers[s] += id
    kept = [*map(program.base, program.outputs), *[value for _, value in program.updates]]
    frees = {**weights, **dict.fromkeys(kept, 0)}  # what the last reader of each frees

    def cost(id: int) -> int:
        change = weights[id]
        for s in reads[id]:
            if uses.get(s) == 1:
                change -= frees[s]
        return change

    waiting = {i: len(before[i]) for i in units}
    ready = [(cost(i), i) for i in units if not waiting[i]]
    heapq.heapify(ready)
    order: list[int] = []
    done: set[int] = set()
    while ready:
        _, id = heapq.heappop(ready)
        if id in done:
            continue
        done.add(id)
        order.append(id)
        for s in reads[id]:
            if s not in uses:
                continue
            uses[s] -= 1
            readers[s] -= id
            if uses[s] == 1 and not waiting[readers[s]]:  # its last reader now frees it
                heapq.heappush(ready, (cost(readers[s]), readers[s]))
        for i in after[id]:
            waiting[i] -= 1
            if not waiting[i]:
                heapq.heappush(ready, (cost(i), i))
    return order


def peak(program: Program, order: Sequence[int], weights: Mapping[int, int], reads: Mapping[int, Sequence[int]]) -> int:
    """The largest sum of live bytes over an order, without reuse in place."""
    last: dict[int, int] = {}
    for position, id in enumerate(order):
        for s in reads[id]:
            last[s] = position
    for i in (*program.outputs, *(value for _, value in program.updates)):
        last[program.base(i)] = len(order)
    freed = [0] * (len(order) + 1)
    for s, position in last.items():
        freed[position] += weights.get(s, 0)
    live = top = 0
    for id, after in zip(order, freed, strict=False):
        live += weights[id]
        if live > top:
            top = live
        live -= after
    return top
