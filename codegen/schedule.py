"""The order of statements: one with a small peak of memory, in which nothing is overwritten before its last reader."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from functools import lru_cache

from graphgrad.types import Shape, count

from .program import ALIGNMENT, ITEM_SIZE, Program, per_call_views, refusing, scheduled, usual, whole_base


def schedule(program: Program, *, as_derived: bool = False) -> Program:
    """The program with its step in the better of two orders: as derived, or greedy by memory."""
    nodes, roles = program.graph.nodes, program.roles
    units = [i for i in program.step if roles[i] != "view"]
    before = dependencies(program, units)
    units = by_id(units, before) if program.updates else units
    # New values take the place of the old ones, as a rule, and what lasts is there all the time.
    weightless = {*[value for _, value in program.updates], *program.lasting}
    # A vector whose other parts are constants is the memory of the one that is computed in it.
    packs = [i for i in units if nodes[i].operator.kind == "pack"]
    made_of = {i: made for i in packs if (made := _computed_part(program, i)) is not None}
    weights = [0] * len(nodes)  # bytes, by id
    for i in units:
        if roles[i] == "call" and i not in weightless and i not in made_of:
            weights[i] = _usual_bytes(nodes[i].shape, nodes[i].dtype)
    reads = program.reads
    if made_of:
        reads = {i: tuple(dict.fromkeys([made_of.get(b, b) for b in reads[i]])) for i in units}
    best = units
    if not as_derived:
        other, top = greedy(program, units, before, weights, reads)
        best = other if top < peak(program, units, weights, reads) else units
    views = per_call_views(program)
    made_once = [i for i in program.step if roles[i] == "view" and i not in views]
    return scheduled(program, [*made_once, *[i for i in program.step if i in views], *best])


def _computed_part(program: Program, id: int) -> int | None:
    """Of a pack of one value that is computed in its place, and of constants, the value."""
    inputs = program.node(id).inputs
    made = [whole_base(program, i) for i in inputs if program.stages[i]]
    alone = len(made) == 1 < len(inputs)
    return made[0] if alone and made[0] is not None and program.roles[made[0]] == "call" else None


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
        inputs = nodes[id].inputs
        before[id] = {b for i in inputs if (b := bases.get(i, i)) in known}
        if readers:
            for s in readers.keys() & {bases.get(i, i) for i in inputs}:
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
    weights: Sequence[int],
    reads: Mapping[int, Sequence[int]],
) -> tuple[list[int], int]:
    """Of the statements that can run, always the one that leaves the least memory live; the lowest id among equals. And
    the `peak` of this order.
    """
    uses, waiting = [0] * len(weights), [0] * len(weights)  # by id: lists are faster here than a dict of integers
    readers = [0] * len(weights)  # the sum of their ids: what is left of it is the last one's
    after: dict[int, list[int]] = {i: [] for i in units}
    for id in units:
        waiting[id] = len(before[id])
        for b in before[id]:
            after[b].append(id)
        for s in reads[id]:
            uses[s] += 1
            readers[s] += id
    frees = list(weights)  # what the last reader of each frees
    for id in (*map(program.base, program.outputs), *[value for _, value in program.updates]):
        frees[id] = 0

    def cost(id: int) -> int:
        change = weights[id]
        for s in reads[id]:
            if uses[s] == 1:
                change -= frees[s]
        return change

    ready = [(cost(i), i) for i in units if not waiting[i]]
    heapq.heapify(ready)
    order: list[int] = []
    live = top = 0
    while ready:
        _, id = heapq.heappop(ready)
        if waiting[id] < 0:
            continue
        waiting[id] = -1  # it is done
        order.append(id)
        live += weights[id]
        if live > top:
            top = live
        for s in reads[id]:
            left = uses[s] = uses[s] - 1
            readers[s] -= id
            if not left:
                live -= frees[s]
            elif left == 1 and frees[s] and not waiting[readers[s]]:  # its last reader now frees it
                heapq.heappush(ready, (cost(readers[s]), readers[s]))
        for i in after[id]:
            waiting[i] -= 1
            if not waiting[i]:
                heapq.heappush(ready, (cost(i), i))
    return order, top


def peak(program: Program, order: Sequence[int], weights: Sequence[int], reads: Mapping[int, Sequence[int]]) -> int:
    """The largest sum of live bytes over an order, without reuse in place."""
    left = [0] * len(weights)  # readers to come
    for id in order:
        for s in reads[id]:
            left[s] += 1
    for i in (*program.outputs, *(value for _, value in program.updates)):
        left[program.base(i)] += 1
    live = top = 0
    for id in order:
        live += weights[id]
        if live > top:
            top = live
        for s in reads[id]:
            left[s] -= 1
            if not left[s]:
                live -= weights[s]
    return top
