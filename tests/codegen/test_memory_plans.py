"""Offsets against slow models of both packings, and the symbolic choices one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import graphgrad as gg
from graphgrad.codegen.memory import ALIGNMENT, Plan, Span, by_size, by_time, plan
from graphgrad.codegen.program import Program, Storage
from tests.codegen.simulate import program_of

UNIT = ALIGNMENT


@st.composite
def spans(draw: Callable[[st.SearchStrategy[Any]], Any]) -> list[Span]:
    """Storages of random sizes and lifetimes, few positions apart, so that much dies and is born at once."""
    one = st.tuples(st.integers(0, 6), st.integers(0, 12), st.integers(0, 6))
    drawn = draw(st.lists(one, max_size=25))
    owners = draw(st.permutations(range(len(drawn))))
    return [(owner, size * UNIT, born, born + life) for owner, (size, born, life) in zip(owners, drawn, strict=True)]


def program_with(found: list[Span]) -> Program:
    storages = {owner: Storage(size, born, dies) for owner, size, born, dies in found}
    return Program(gg.Graph(), {}, (), (), (), (), {}, {}, storages)


def meet(a: Span, b: Span) -> bool:
    return max(a[2], b[2]) <= min(a[3], b[3])


def most_alive(found: list[Span]) -> int:
    """The largest sum of bytes that live at once: no plan can be smaller."""
    return max((sum(s[1] for s in found if s[2] <= t <= s[3]) for t in {s[2] for s in found}), default=0)


def check(found: Plan, wanted: list[Span]) -> None:
    assert set(found.offsets) == {s[0] for s in wanted}
    for k, a in enumerate(wanted):
        start = found.offsets[a[0]]
        assert start >= 0
        assert start % UNIT == 0
        assert start + a[1] <= found.size
        for b in wanted[:k]:
            other = found.offsets[b[0]]
            if a[1] and b[1] and meet(a, b):
                assert start + a[1] <= other or other + b[1] <= start
    assert most_alive(wanted) <= found.size <= sum(s[1] for s in wanted)


# -- the two packings -------------------------------------------------------------------------------------------------


def free_runs(taken: list[tuple[int, int]], top: int) -> list[tuple[int, int]]:
    """(size, start) of the gaps below the top."""
    runs, start = [], 0
    for begin, end in [*sorted(taken), (top, top)]:
        if begin > start:
            runs.append((begin - start, start))
        start = max(start, end)
    return runs


def slow_by_time(wanted: list[Span]) -> dict[int, int]:
    """Best fit without a list of gaps: they are found anew at each birth."""
    offsets: dict[int, int] = {}
    top = 0
    for owner, size, born, _ in sorted(wanted, key=lambda s: (s[2], s[0])):
        taken = [(offsets[o], offsets[o] + n) for o, n, _, dies in wanted if o in offsets and n and dies >= born]
        fitting = sorted(run for run in free_runs(taken, top) if run[0] >= size)
        if not size:
            offsets[owner] = 0
            continue
        offsets[owner] = fitting[0][1] if fitting else max((end for _, end in taken), default=0)
        top = max(top, offsets[owner] + size)
    return offsets


def slow_by_size(wanted: list[Span]) -> dict[int, int]:
    """First fit by trial of every place that touches another."""
    laid: list[Span] = []
    offsets: dict[int, int] = {}
    for a in sorted(wanted, key=lambda s: (-s[1], s[2], s[0])):
        others = [(offsets[b[0]], offsets[b[0]] + b[1]) for b in laid if meet(a, b)]
        places = sorted({0, *(end for _, end in others)})
        offsets[a[0]] = next(p for p in places if all(p + a[1] <= begin or end <= p for begin, end in others))
        laid.append(a)
    return offsets


@given(spans())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_packings_are_those_of_the_slow_models(wanted: list[Span]) -> None:
    for pack, slow in ((by_time, slow_by_time), (by_size, slow_by_size)):
        found = pack(wanted)
        check(found, wanted)
        assert found.offsets == slow(wanted)
        assert found.size == max((found.offsets[s[0]] + s[1] for s in wanted), default=0)


@pytest.mark.parametrize(
    ("dying", "size", "start"),
    [
        ((1,), 1, 1),
        ((1,), 2, 6),
        ((0, 1), 2, 0),  # the gap on the left grows
        ((1, 0), 2, 0),  # the gap on the right grows
        ((0, 2, 1), 3, 0),  # two gaps become one
        ((4, 5), 2, 4),
        ((5,), 4, 5),  # the gap at the top is too small: the arena grows from its start
        ((0, 4, 5), 3, 4),
        ((0, 1, 3), 1, 3),  # the smaller of two that fit
        ((0, 2), 1, 0),  # the lower of two equal ones
        ((0, 1, 2, 3, 4, 5), 6, 0),
        ((0, 1, 2, 3, 4, 5), 7, 0),
    ],
)
def test_a_new_storage_takes_the_best_gap(dying: tuple[int, ...], size: int, start: int) -> None:
    """Six units live in a row; some die, one after the other."""
    wanted = [(k, UNIT, 0, 1 + dying.index(k) if k in dying else 99) for k in range(6)]
    found = by_time([*wanted, (6, size * UNIT, 10, 99)])
    assert found.offsets == {**{k: k * UNIT for k in range(6)}, 6: start * UNIT}
    assert found.size == max(6, start + size) * UNIT


def test_what_is_left_of_a_gap_is_a_gap() -> None:
    wanted = [(0, 3 * UNIT, 0, 1), (1, UNIT, 0, 9), (2, UNIT, 2, 4), (3, UNIT, 2, 9), (4, UNIT, 3, 9), (5, UNIT, 5, 9)]
    assert by_time(wanted).offsets == {k: n * UNIT for k, n in enumerate([0, 3, 0, 1, 2, 0])}


def test_what_dies_while_another_is_born_keeps_its_place() -> None:
    """The statement reads the one while it writes the other."""
    for pack in (by_time, by_size):
        assert pack([(0, UNIT, 0, 1), (1, UNIT, 1, 2)]).size == 2 * UNIT
        assert pack([(0, UNIT, 0, 1), (1, UNIT, 2, 2)]).size == UNIT


def test_the_better_of_both_packings_is_the_plan() -> None:
    generator = np.random.default_rng(0)
    better = {by_time: 0, by_size: 0}
    for _ in range(60):
        born = generator.integers(0, 12, 20)
        wanted = [
            (k, int(generator.integers(1, 9)) * UNIT, int(b), int(b + generator.integers(0, 5)))
            for k, b in enumerate(born)
        ]
        sizes = {pack: pack(wanted).size for pack in better}
        found = plan(program_with(wanted), {})
        check(found, wanted)
        assert found.size == min(sizes.values())
        best = min(sizes, key=lambda pack: sizes[pack])
        better[best] += len(set(sizes.values())) > 1
    assert min(better.values()) > 0


def test_sizes_are_rounded_up_to_the_alignment() -> None:
    storages = [(0, 1, 0, 9), (1, UNIT, 0, 9), (2, UNIT + 1, 0, 9), (3, 0, 0, 9)]
    found = plan(program_with(storages), {})
    check(found, [(0, UNIT, 0, 9), (1, UNIT, 0, 9), (2, 2 * UNIT, 0, 9), (3, 0, 0, 9)])
    assert found.size == 4 * UNIT
    assert plan(program_with([]), {}) == Plan({}, 0)


def test_sizes_of_a_plan_are_those_of_the_call() -> None:
    g = gg.Graph()
    program = program_of([gg.tanh(g.input("x", ("N", 3)))])
    assert [plan(program, {"N": n}).size for n in (0, 1, 3, 100)] == [0, 64, 128, 2432]
