"""Offsets against slow models of both packings, and the symbolic choices one by one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

import graphgrad as gg
from graphgrad.codegen.memory import Plan, Span, assign, by_size, by_time, plan
from graphgrad.codegen.program import ALIGNMENT, Program, Storage, build
from graphgrad.codegen.schedule import schedule
from graphgrad.operator import OPERATORS
from graphgrad.types import size_of
from tests.codegen.simulate import program_of, simulate
from tests.random_graphs import Case, cases

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


few = settings(
    max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)


@given(cases())
@few
def test_plans_of_random_programs_are_close_to_what_lives_at_once(case: Case) -> None:
    program = program_of(case.outputs, case.updates, exact=False)
    for n in (1, 3, 1000):
        sizes = {"N": n}
        rounded = {owner: -(-size_of(s.size, sizes) // UNIT) * UNIT for owner, s in program.storages.items()}
        wanted = [(owner, rounded[owner], s.born, s.dies) for owner, s in program.storages.items()]
        found = plan(program, sizes)
        check(found, wanted)
        assert found.size <= 1.25 * most_alive(wanted)


# -- new values in place of old ones ----------------------------------------------------------------------------------


def three() -> tuple[gg.Tensor, gg.Tensor, gg.Tensor]:
    g = gg.Graph()
    return g.parameter("w", (3, 3)), g.state("s", (3, 3)), g.input("x", (3, 3))


@pytest.mark.parametrize(
    ("updated", "in_place"),
    [
        (lambda w, s, x: {s: gg.tanh(x)}, True),  # never read
        (lambda w, s, x: {w: gg.tanh(w @ x)}, True),  # read before, by another statement
        (lambda w, s, x: {w: x @ gg.tanh(x)}, True),
        (lambda w, s, x: {w: w - 0.1 * x}, True),  # read by the statement itself, element by element
        (lambda w, s, x: {w: w @ x}, False),  # not element by element
        (lambda w, s, x: {w: w + w.T}, False),
        (lambda w, s, x: {w: gg.tanh(w.T)}, False),
        (lambda w, s, x: {w: gg.where(w > 0.0, w, x)}, False),  # two statements
        (lambda w, s, x: {w: gg.cast(gg.sign(x) > 0.0, "float64")}, True),
    ],
)
def test_a_new_value_takes_the_place_of_the_old_one(updated: Any, in_place: bool) -> None:
    w, s, x = three()
    updates = updated(w, s, x)
    program = program_of([gg.sum(x)], updates)
    simulate(program)
    ((leaf, value),) = program.updates
    assert (program.copies == ()) is in_place
    assert (program.storage_of.get(value) == leaf) is in_place
    assert (value in program.storages) is not in_place
    calls_agree([gg.sum(x)], updates, [{"x": v} for v in np.random.default_rng(0).normal(size=(3, 3, 3))])


def calls_agree(outputs: list[gg.Tensor], updates: dict[gg.Tensor, gg.Tensor], feeds: list[dict[str, Any]]) -> None:
    """Calls in sequence against the evaluator, with new values put in place by hand."""
    f = gg.compile(outputs, updates=updates)
    shapes = {t.name: tuple(size_of(d, {}) for d in t.shape) for t in updates}
    held: dict[str, Any] = {name: np.linspace(-1, 1, math.prod(shape)).reshape(shape) for name, shape in shapes.items()}
    for name, value in held.items():
        f.state[name] = value
    for feed in feeds:
        wanted = gg.evaluate([*outputs, *updates.values()], **feed, **held)
        for one, other in zip(f(**feed), wanted, strict=False):
            np.testing.assert_allclose(one, other, rtol=1e-13)
        held = dict(zip(held, wanted[len(outputs) :], strict=True))
        for name, value in held.items():
            np.testing.assert_allclose(f.state[name], value, rtol=1e-13)


def test_one_value_for_two_leaves_is_written_over_one_and_copied_to_the_other() -> None:
    w, s, x = three()
    value = w - x
    program = program_of([gg.sum(x)], {w: value, s: value})
    simulate(program)
    assert len(program.copies) == 1
    calls_agree([gg.sum(x)], {w: value, s: value}, [{"x": np.eye(3)}] * 3)


def test_two_leaves_change_places() -> None:
    w, s, x = three()
    for updates in ({w: s, s: w}, {w: s, s: 2.0 * s}, {w: s.T, s: s + x}, {w: s, s: s + w}):
        simulate(program_of([gg.sum(x)], updates))
        calls_agree([gg.sum(x)], updates, [{"x": np.eye(3)}] * 3)


def test_a_value_that_is_read_later_is_not_written_over() -> None:
    """The statement's other reader comes after it, since it reads the new value too."""
    w, _, x = three()
    new = w - 0.1 * x
    outputs = [gg.sum(new * w), w]
    program = program_of(outputs, {w: new})
    simulate(program)
    assert [leaf for leaf, _ in program.copies] == [program.held[0].id]
    calls_agree(outputs[:1], {w: new}, [{"x": np.eye(3)}] * 3)


def test_a_new_value_that_needs_sizes_alone() -> None:
    """It is computed once for each workspace, and put in place in every call."""
    g = gg.Graph()
    x, w = g.input("x", ("N", 2)), g.state("w", (3,))
    updates = {w: g.constant([1.0, 2.0, 3.0]) * gg.size(x)}
    for outputs in ([gg.sum(x), gg.sum(w)], [gg.sum(x)]):
        program = program_of(outputs, updates)
        assert program.step.count(program.updates[0][1]) == 0
        assert len(program.copies) == 1
        calls_agree(outputs, updates, [{"x": np.ones((n, 2))} for n in (2, 5, 2, 2, 5, 3)])


@pytest.mark.parametrize("value", [lambda x: x.T, lambda x: gg.cast(x, "float32"), lambda x: x])
def test_what_no_statement_of_the_dtype_computes_is_copied(value: Any) -> None:
    """`prepare` puts a cast there; a program made otherwise is right all the same."""
    w, _, x = three()
    program = assign(schedule(build(w.graph, [x], {w: value(x)})))
    assert program.copies == program.updates


# -- packs ------------------------------------------------------------------------------------------------------------

pack = OPERATORS["pack"]


def held_against_values(outputs: list[gg.Tensor], updates: dict[gg.Tensor, gg.Tensor] | None = None) -> Program:
    program = program_of(outputs, updates)
    simulate(program, N=4)
    calls_agree(outputs, updates or {}, [{"x": v} for v in np.random.default_rng(0).normal(size=(3, 4, 3))])
    return program


def test_a_new_value_is_written_in_place_and_copied_into_a_pack() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N", 3)), g.parameter("w", (3,))
    new = w - gg.sum(x, 0)
    program = held_against_values([pack([gg.exp(x), new])], {w: new})
    assert [program.node(i).operator.name for i in program.placed] == ["exp"]
    assert program.copies == ()


def test_a_pack_is_never_built_over_an_old_value() -> None:
    """Its operands lie in a storage of its own."""
    g = gg.Graph()
    x, theta = g.input("x", ("N", 3)), g.state("theta", (6,))
    program = held_against_values([gg.sum(x)], {theta: pack([gg.sum(x, 0), gg.sum(gg.exp(x), 0)])})
    assert len(program.placed) == 2
    assert len(program.copies) == 1


def test_what_lies_in_a_pack_is_not_written_over_though_the_pack_is_done_with() -> None:
    """The result would start where the pack starts."""
    g = gg.Graph()
    x = g.input("x", ("N", 3))
    a = gg.exp(x)
    total = gg.sum(pack([gg.sum(x, 0), a]))
    held_against_values([gg.sin(a * total)])


def test_a_pack_is_not_written_over_while_its_part_is_read() -> None:
    g = gg.Graph()
    x = g.input("x", ("N", 3))
    a = gg.reshape(gg.sum(gg.exp(x)), (1,))
    program = held_against_values([pack([gg.sum(x, 0), a]) * a])
    assert len(program.placed) == 2
    assert program.outputs[0] in program.storages


def test_the_second_operand_is_written_over_where_the_first_is_read_later() -> None:
    g = gg.Graph()
    x = g.input("x", ("N", 3))
    a, b = gg.exp(x), gg.sin(x)
    program = held_against_values([a - b, a])
    assert len(program.storages) == 2


def test_the_second_operand_is_written_over_where_the_first_is_of_another_shape() -> None:
    g = gg.Graph()
    x = g.input("x", ("N", 3))
    y = gg.sum(gg.exp(x), 0) + gg.sin(x)
    program = held_against_values([y])
    owner = program.storage_of[program.outputs[0]]
    assert program.node(owner).operator.name == "sin"
