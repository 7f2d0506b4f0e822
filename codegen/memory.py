"""Memory: which buffers share storage, and where each storage lies in one arena.

`assign` works with symbolic sizes, once: lifetimes, results in place of operands that die, new values in place of old
ones, the operands of a pack in place inside it. `plan` works with numbers, once for each workspace: offsets.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from graphgrad.node import Node
from graphgrad.types import Dimension, Sizes, count, size_of

from .blocks import inner_values
from .program import ALIGNMENT, Program, Storage, is_of_numbers, nbytes, refusing, whole_base


def assign(program: Program) -> Program:
    """The program with a storage for every call of the step. Views share their base's; held values keep their own."""
    order = {id: position for position, id in enumerate(program.step)}
    end = len(program.step)
    last = last_uses(program, order, end)
    placed = place_in_packs(program, order)
    certain = last_refusal(program, order)
    in_place, copies = updates_in_place(program, order, last, certain)
    for id in (*program.lasting, *[program.base(value) for _, value in copies]):
        last[id] = end
    inner = inner_values(program)
    chain_of = {id: chain for chain in program.chains for id in chain}
    _place_before(program, order, last, placed, {*in_place, *inner})
    storage_of: dict[int, int] = dict(in_place)
    born: dict[int, int] = {}
    dies: dict[int, int] = {}
    roles = program.roles
    for position, id in enumerate(program.step):
        if roles[id] != "call" or id in in_place:
            continue
        owner = placed[id][0] if id in placed else _overwritten(program, id, position, storage_of, placed, dies)
        if owner in inner and id not in inner:
            owner = id  # a block is too short for a vector
        if in_place and owner == id and position > certain:
            leaf = _over_held(program, id, position, order, last, in_place)
            if leaf is not None:
                storage_of[id] = leaf
                continue
        if owner == id and id in inner:
            owner = _spent(program, id, position, chain_of[id], storage_of, dies, inner)
        storage_of[id] = owner
        born.setdefault(owner, position)
        if dies.get(owner, -1) < last[id]:
            dies[owner] = last[id]
    _whole_chains(program, order, storage_of, inner, born, dies)
    for id in program.lasting:
        born[id] = 0
    sizes = {owner: nbytes(program.graph.nodes[owner]) for owner in born}
    sizes |= {owner: _in_block(program, sizes[owner]) for owner in inner & born.keys()}
    storages = {owner: Storage(sizes[owner], born[owner], dies[owner]) for owner in born}
    return replace(program, storages=storages, storage_of=storage_of, placed=placed, copies=copies)


def _spent(
    program: Program,
    id: int,
    position: int,
    chain: Sequence[int],
    storage_of: Mapping[int, int],
    dies: Mapping[int, int],
    inner: set[int],
) -> int:
    """A vector that the chain has read for the last time, in place of a block of its own: its block is in the cache
    already, and one buffer less goes through it. The gradient's, once m and g² have it."""
    size = nbytes(program.node(id))
    for earlier in chain[: chain.index(id)]:
        for owner in program.reads[earlier]:
            free = storage_of.get(owner) == owner and owner not in inner and dies[owner] < position
            if free and nbytes(program.node(owner)) == size:
                return owner
    return id


def _whole_chains(
    program: Program,
    order: Mapping[int, int],
    storage_of: Mapping[int, int],
    inner: set[int],
    born: dict[int, int],
    dies: dict[int, int],
) -> None:
    """What a chain reads or writes as a whole is alive from its first statement to its last, since the next block comes
    to each of them again. What stays inside a block keeps its own short life."""
    for chain in program.chains:
        first, last = order[chain[0]], order[chain[-1]]
        for id in chain:
            for i in (id, *program.reads[id]):
                owner = storage_of.get(i)
                if owner in born and owner not in inner:
                    born[owner] = min(born[owner], first)
                    dies[owner] = max(dies[owner], last)


def _in_block(program: Program, size: Dimension) -> Dimension:
    """The bytes of a value that stays inside a chain: a block, if it is not less."""
    return min(size, program.block) if isinstance(size, int) else size


def last_uses(program: Program, order: Mapping[int, int], end: int) -> dict[int, int]:
    """The position of the last statement that reads each buffer; outputs are read at the end."""
    last: dict[int, int] = {}
    for id, position in order.items():
        for source in program.reads[id]:
            last[source] = position
    for id in program.outputs:
        last[program.base(id)] = end
    return last


def place_in_packs(program: Program, order: Mapping[int, int]) -> dict[int, tuple[int, Dimension]]:
    """Operands of packs that are computed straight into their place: {id: (pack, first element)}."""
    placed: dict[int, tuple[int, Dimension]] = {}
    for id in [id for id in order if program.graph.nodes[id].operator.kind == "pack"]:
        node = program.node(id)
        start: Dimension = 0
        for operand in node.inputs:
            base = whole_base(program, operand)
            made = base is not None and base in order and program.roles[base] == "call"
            if made and base is not None and base not in placed and _may_be_placed(program, base, node):
                placed[base] = (id, start)
            start = start + count(program.node(operand).shape)
    return placed


def _place_before(
    program: Program,
    order: Mapping[int, int],
    last: Mapping[int, int],
    placed: dict[int, tuple[int, Dimension]],
    elsewhere: Collection[int],
) -> None:
    """An operand that dies where a placed value is computed lies in that place before: z, over which goes φ(z). From
    the last statement to the first, so that what z is computed over lies there, too."""
    for id in reversed(order) if placed else ():
        if id not in placed or id in elsewhere:
            continue
        for i in program.node(id).inputs:
            computed = i in order and program.roles[i] == "call" and program.node(i).operator.kind != "pack"
            free = computed and i not in placed and i not in elsewhere and last[i] == order[id]
            if free and may_overwrite(program, id, i):
                placed[i] = placed[id]
                break


def _may_be_placed(program: Program, id: int, pack: Node) -> bool:
    node = program.node(id)
    is_new_value = any(value == id for _, value in program.updates)
    return node.dtype == pack.dtype and node.operator.kind != "pack" and not is_new_value


def updates_in_place(
    program: Program, order: Mapping[int, int], last: Mapping[int, int], certain: int
) -> tuple[dict[int, int], tuple[tuple[int, int], ...]]:
    """New values that are written over the old ones ({value: held leaf}), and those that are copied at the end. Up to
    the position `certain` a statement may raise."""
    in_place: dict[int, int] = {}
    copies: list[tuple[int, int]] = []
    for leaf, value in program.updates:
        node, position = program.node(value), order.get(value, -1)
        read = last.get(leaf, -1)
        free = may_overwrite(program, value, leaf) if read == position else read < position
        free = free and position > certain
        fits = program.roles.get(value) == "call" and position >= 0 and node.dtype == program.node(leaf).dtype
        if free and fits and value not in in_place and not program.node(leaf).weak and node.operator.kind != "pack":
            in_place[value] = leaf
        else:
            copies.append((leaf, value))
    return in_place, tuple(copies)


def last_refusal(program: Program, order: Mapping[int, int]) -> int:
    """The position of the last statement that may raise for what it is given; -1 where none does."""
    return max([order.get(id, -1) for id in refusing(program)], default=-1) if program.updates else -1


def may_overwrite(program: Program, id: int, operand: int) -> bool:
    """Whether a statement may write its result over an operand: it goes by elements, or its operator allows it of its
    first operand, and nothing else is aliased.

    Of arrays with one element NumPy's functions do not see that this is harmless: they copy, which takes longer than
    all else that they do.
    """
    nodes, bases = program.graph.nodes, program.bases
    node, source = nodes[id], nodes[operand]
    by_elements = node.operator.kind == "elementwise" and isinstance(node.operator.numpy, str)
    if not by_elements and not (node.operator.over and operand == node.inputs[0]):
        return False
    if node.shape != source.shape or node.dtype != source.dtype:
        return False
    if program.is_single(id) and not is_of_numbers(program.graph, node):
        return False
    return not any([i != operand and bases.get(i, i) == operand for i in node.inputs])


def _overwritten(
    program: Program,
    id: int,
    position: int,
    storage_of: Mapping[int, int],
    placed: dict[int, tuple[int, Dimension]],
    dies: Mapping[int, int],
) -> int:
    """The storage of an operand that dies here and fits, else the statement's own id."""
    inputs = program.graph.nodes[id].inputs
    for operand in inputs:
        storage = storage_of.get(operand)  # None: a view, or not computed in the step
        if storage is None or dies.get(storage) != position:
            continue
        if not may_overwrite(program, id, operand):
            continue
        sharing = [i for i in inputs if i != operand and storage_of.get(program.base(i)) == storage]
        if not sharing:
            if operand in placed:  # in a pack that dies here: where it lay in that
                placed[id] = placed[operand]
            return storage
    return id


def _over_held(
    program: Program,
    id: int,
    position: int,
    order: Mapping[int, int],
    last: Mapping[int, int],
    in_place: Mapping[int, int],
) -> int | None:
    """The held leaf whose old value this statement is the last to read, if its result is done with by the time when the
    new value takes that place: m ← β·m, then m ← m + g."""
    for value, leaf in in_place.items():
        if leaf not in program.node(id).inputs or last.get(leaf) != position or value == id:
            continue
        ends = last[id]
        done = ends < order[value] or (ends == order[value] and may_overwrite(program, value, id))
        if done and may_overwrite(program, id, leaf):
            return leaf
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Offsets
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """Where each storage lies in the arena, in bytes, for one set of sizes."""

    offsets: Mapping[int, int]
    size: int


def plan(program: Program, sizes: Sizes) -> Plan:
    """Offsets such that storages whose lifetimes meet do not overlap: the better of two packings, if both are quick."""
    spans = [
        (owner, -(-size_of(s.size, sizes) // ALIGNMENT) * ALIGNMENT, s.born, s.dies)
        for owner, s in program.storages.items()
    ]
    plans = [by_time(spans)]
    if len(spans) <= 400:
        plans.append(by_size(spans))
    return min(plans, key=lambda p: p.size)


Span = tuple[int, int, int, int]  # storage, bytes, born, dies


def by_time(spans: list[Span]) -> Plan:
    """Best fit in the order of births, with a list of free gaps: n log n."""
    offsets: dict[int, int] = {}
    gaps: list[tuple[int, int]] = []  # (size, start), sorted
    starts: dict[int, int] = {}  # start -> size, of the gaps
    ends: dict[int, int] = {}  # end -> start, of the gaps
    top = 0
    events = sorted(
        [(born, 1, owner, size) for owner, size, born, _ in spans]
        + [(dies, 2, owner, size) for owner, size, _, dies in spans]
    )

    def add(start: int, size: int) -> None:
        if start in ends:  # a gap ends where this one begins
            left = ends.pop(start)
            left_size = starts.pop(left)
            gaps.remove((left_size, left))
            start, size = left, left_size + size
        if start + size in starts:
            right_size = starts.pop(start + size)
            gaps.remove((right_size, start + size))
            del ends[start + size + right_size]
            size += right_size
        insort(gaps, (size, start))
        starts[start] = size
        ends[start + size] = start

    for _, kind, owner, size in events:
        if size == 0:
            offsets[owner] = 0
        elif kind == 2:
            add(offsets[owner], size)
        else:
            k = bisect_left(gaps, (size, 0))
            if k < len(gaps):
                gap, start = gaps.pop(k)
                del starts[start], ends[start + gap]
                offsets[owner] = start
                if gap > size:
                    add(start + size, gap - size)
            else:
                start = ends.get(top, top)  # the gap at the end grows, if there is one
                if start < top:
                    gaps.remove((top - start, start))
                    del starts[start], ends[top]
                offsets[owner] = start
                top = start + size
    return Plan(offsets, top)


def by_size(spans: list[Span]) -> Plan:
    """First fit, the largest first: n², close to the optimum."""
    offsets: dict[int, int] = {}
    laid: list[tuple[int, int, int, int]] = []  # (start, end, born, dies)
    for owner, size, born, dies in sorted(spans, key=lambda s: (-s[1], s[2], s[0])):
        start = 0
        for begin, end, b, d in laid:  # sorted by start
            if b <= dies and born <= d:
                if begin - start >= size:
                    break
                start = max(start, end)
        offsets[owner] = start
        insort(laid, (start, start + size, born, dies))
    return Plan(offsets, max((end for _, end, _, _ in laid), default=0))
