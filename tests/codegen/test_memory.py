"""Which buffers share memory: run without numbers, byte by byte, and held against a brute-force look at lifetimes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

import graphgrad as gg
from graphgrad.codegen.memory import Plan, by_size, by_time, plan
from graphgrad.codegen.program import ALIGNMENT, ITEM_SIZE, Program, nbytes
from graphgrad.operator import OPERATORS
from graphgrad.types import size_of
from tests.codegen.simulate import positions, program_of, simulate
from tests.random_graphs import Case, cases, gradients

few = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)


def calls(program: Program) -> list[int]:
    return [i for i in program.step if program.roles[i] == "call"]


def live_bytes(program: Program, **sizes: int) -> int:
    """The largest sum of storages that are alive at once."""
    spans = program.storages.values()
    return max(
        (sum(size_of(s.size, sizes) for s in spans if s.born <= t <= s.dies) for t in range(len(program.step) + 1)),
        default=0,
    )


def check_plan(program: Program, found: Plan, **sizes: int) -> None:
    """No two storages that live at the same time overlap; all are aligned and inside of the arena."""
    spans = [(found.offsets[o], found.offsets[o] + size_of(s.size, sizes), s) for o, s in program.storages.items()]
    for k, (start, stop, s) in enumerate(spans):
        assert start % ALIGNMENT == 0
        assert 0 <= start <= stop <= found.size
        for other_start, other_stop, other in spans[:k]:
            if max(s.born, other.born) <= min(s.dies, other.dies):
                assert stop <= other_start or other_stop <= start or start == stop or other_start == other_stop
    assert live_bytes(program, **sizes) <= found.size


@given(cases())
@few
def test_random_programs_read_only_what_is_still_there(case: Case) -> None:
    for exact in (True, False):
        program = program_of(case.outputs, case.updates, exact=exact)
        for probe in case.probes:
            simulation = simulate(program, **probe.sizes)
            check_plan(program, simulation.plan, **probe.sizes)


@given(cases(max_nodes=40, updates=False))
@few
def test_random_gradients_read_only_what_is_still_there(case: Case) -> None:
    derived = gradients(case)
    if derived is None or case.scalar is None:
        return
    steps = {t: t - 0.1 * g for t, g in zip(case.wrt, derived, strict=True) if t.node.operator.name == "parameter"}
    program = program_of([case.scalar], steps, exact=False)
    for probe in case.probes:
        check_plan(program, simulate(program, **probe.sizes).plan, **probe.sizes)


def network() -> tuple[gg.Tensor, dict[gg.Tensor, gg.Tensor]]:
    g = gg.Graph()
    x, y = g.input("x", ("N", 5)), g.input("y", ("N", 2))
    layers = [
        (g.parameter("W1", (4, 5)), g.parameter("b1", (4,))),
        (g.parameter("W2", (2, 4)), g.parameter("b2", (2,))),
    ]
    for W, b in layers:
        x = gg.tanh(x @ W.T + b)
    loss = gg.mean((x - y) ** 2)
    d = gg.derive(loss)
    return loss, {p: p - 0.1 * d[p] for layer in layers for p in layer}


def test_a_training_step_updates_in_place() -> None:
    loss, updates = network()
    program = program_of([loss], updates)
    simulate(program, N=7)
    assert program.copies == ()
    assert {program.storage_of[value] for _, value in program.updates} == {leaf for leaf, _ in program.updates}


def corruptions(program: Program) -> dict[str, Program]:
    """Programs that would give wrong numbers."""
    order = list(program.step)
    longest = max(program.storages, key=lambda o: program.storages[o].dies - program.storages[o].born)
    born, dies = program.storages[longest].born, program.storages[longest].dies
    inner = next(i for i in order[born + 1 : dies] if program.storage_of.get(i, longest) != longest)
    shared = {**program.storage_of, inner: longest}
    leaf, value = program.updates[-1]
    first = next(k for k, i in enumerate(order) if leaf in program.reads[i])
    early = [i for i in order if i != value]
    early.insert(first, value)
    cut = program.storages[longest]._replace(dies=born)
    return {
        "two values in one storage": replace(program, storage_of=shared),
        "reversed": replace(program, step=tuple(reversed(order))),
        "an update before the last reader": replace(program, step=tuple(early)),
        "a life cut short": replace(program, storages={**program.storages, longest: cut}),
    }


@pytest.mark.parametrize(
    "what", ["two values in one storage", "reversed", "an update before the last reader", "a life cut short"]
)
def test_the_simulation_finds_a_corrupted_program(what: str) -> None:
    loss, updates = network()
    with pytest.raises(AssertionError, match=r"reads v|writes over"):
        simulate(corruptions(program_of([loss], updates))[what], N=7)


def test_an_elementwise_chain_needs_one_buffer() -> None:
    g = gg.Graph()
    y = x = g.input("x", ("N", 100))
    for _ in range(10):
        y = gg.exp(gg.tanh(y))
    program = program_of([y])
    assert len(program.storages) == 1
    assert plan(program, {"N": 8}).size == 8 * 100 * 8
    assert x.id not in program.storage_of


def test_a_chain_of_products_needs_two_buffers() -> None:
    g = gg.Graph()
    y = g.input("x", ("N", 8))
    for k in range(6):
        y = y @ g.parameter(f"W{k}", (8, 8))
    program = program_of([y])
    simulate(program, N=8)
    assert plan(program, {"N": 8}).size == 2 * 8 * 8 * 8 == live_bytes(program, N=8)


@pytest.mark.parametrize(
    ("build", "buffers"),
    [
        (lambda t, u: gg.exp(t), 1),
        (lambda t, u: t + u, 1),
        (lambda t, u: u - t, 1),
        (lambda t, u: t * t, 1),
        (lambda t, u: t + t.T, 2),  # the transpose would be read after it was overwritten
        (lambda t, u: t < u, 2),  # another dtype
        (lambda t, u: gg.where(t > 0.0, t, u), 3),  # two statements: the first destroys what the second reads
        (lambda t, u: t @ t, 2),
        (lambda t, u: gg.sum(t, 0), 2),
        (lambda t, u: gg.cast(t, "float32"), 2),
    ],
)
def test_a_result_takes_the_place_of_an_operand_that_dies(build: Any, buffers: int) -> None:
    g = gg.Graph()
    x, u = g.input("x", (3, 3)), g.input("u", (3, 3))
    y = build(gg.tanh(x), u)
    program = program_of([y])
    simulate(program)
    assert len(program.storages) == buffers
    a = np.random.default_rng(0).normal(size=(2, 3, 3))
    np.testing.assert_allclose(gg.compile([y])(x=a[0], u=a[1])[0], gg.evaluate(y, x=a[0], u=a[1]), rtol=1e-14)


def over_operands(program: Program) -> list[int]:
    """The statements that write over what they read."""
    where = program.storage_of
    return [i for i in calls(program) if where[i] in [where.get(o, o) for o in program.reads[i]]]


@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_one_number_is_never_computed_over_its_operand(shape: tuple[int, ...]) -> None:
    """NumPy copies an operand of one element that is its result's memory, as if it were read afterwards."""
    g = gg.Graph()
    x, w = g.input("x", shape), g.parameter("w", shape)
    y = gg.exp(gg.tanh(gg.sin(x) * w))
    program = program_of([y], {w: (w - y) * 0.5})
    assert not over_operands(program)
    simulate(program)
    f = gg.compile([y], {w: (w - y) * 0.5})
    f.state["w"] = np.full(shape, 2.0)
    (found,) = f(x=np.full(shape, 0.3))
    expected = np.exp(np.tanh(np.sin(0.3) * 2.0))
    np.testing.assert_allclose(found, np.full(shape, expected), rtol=1e-15)
    np.testing.assert_allclose(f.state["w"], np.full(shape, (2.0 - expected) * 0.5), rtol=1e-15)


def test_a_number_of_rank_0_is_updated_in_its_place() -> None:
    """That is no call of NumPy's functions: `w[()] = w[()] - 0.1 * v`."""
    g = gg.Graph()
    w = g.parameter("w")
    loss = (w - 3.0) ** 2
    program = program_of([loss], {w: w - 0.1 * gg.derive(loss)[w]})
    simulate(program)
    assert program.copies == ()
    assert over_operands(program)


def test_one_sample_makes_columns_of_one_number() -> None:
    net = gg.feedforward([2, 3, 1], "relu")
    steps = {}
    for samples in (1, 2):
        trainer = gg.Trainer(net, gg.Adam(), seed=0)
        trainer.step(np.ones((samples, 2)), np.ones((samples, 1)))
        steps[samples] = trainer.function.program
        simulate(steps[samples], N=1)
        simulate(steps[samples], N=5)  # any other batch may follow
    columns = {n: [i for i in over_operands(p) if str(p.node(i).shape) == "(N, 1)"] for n, p in steps.items()}
    assert (len(columns[1]), len(columns[2])) == (0, 2)
    assert (steps[1].single, steps[2].single) == ({"N"}, set())


def test_what_is_one_number_follows_from_all_extents() -> None:
    g = gg.Graph()
    x, y = g.input("x", ("N", "M")), g.input("y", ("M", 2))
    wanted = {"N": x[:, 0], "N + 1": gg.concatenate([x[:, 0], g.constant([1.0])]), "N·M": gg.reshape(x, (-1,)), "2": y}
    program = replace(program_of(list(wanted.values())), single=frozenset({"N"}))
    ids = dict(zip(wanted, program.outputs, strict=True))
    assert {what for what, id in ids.items() if program.is_single(id)} == {"N"}
    program = replace(program, single=frozenset({"N", "M"}))
    assert {what for what, id in ids.items() if program.is_single(id)} == {"N", "N·M"}


def test_a_value_that_is_returned_is_not_overwritten() -> None:
    g = gg.Graph()
    x = g.input("x", (3,))
    t = gg.tanh(x)
    y = gg.exp(t)
    program = program_of([t, y, t[::-1]])
    simulate(program)
    assert len(program.storages) == 2


def test_operands_of_a_pack_are_computed_in_their_place() -> None:
    g = gg.Graph()
    x = g.input("x", ("N", 3))
    a, b = gg.tanh(x), gg.sum(x, 0)
    theta = OPERATORS["pack"]([a, b, gg.reshape(gg.exp(b), (3, 1))])
    program = program_of([theta])
    simulate(program, N=4)
    pack = program.outputs[0]
    assert {str(place) for owner, place in program.placed.values() if owner == pack} == {"0", "3*N", "3*N + 3"}
    assert len(program.storages) == 1
    f = gg.compile([theta])
    assert "[...] = " not in f.source
    values = np.arange(12.0).reshape(4, 3) / 10
    np.testing.assert_allclose(f(x=values)[0], gg.evaluate(theta, x=values), rtol=1e-14)


def test_what_a_pack_cannot_compute_in_place_is_copied() -> None:
    """A leaf, a transpose, the second of the same, a number, a value of another pack, a constant, another dtype."""
    g = gg.Graph()
    x, n = g.input("x", ("N", 3)), g.input("n", ("N",), "int64")
    pack = OPERATORS["pack"]
    a = gg.tanh(x)
    inner = pack([a, x])
    theta = pack([x, a.T, a, a, g.constant(2.5), inner, g.constant(np.arange(3.0)), n + 1, gg.size(x)])
    program = program_of([theta, inner])
    simulate(program, N=2)
    values = {"x": np.arange(6.0).reshape(2, 3) / 10, "n": np.array([3, 5])}
    found = gg.compile([theta, inner])(**values)
    for one, wanted in zip(found, gg.evaluate([theta, inner], **values), strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-14)


def test_a_pack_lives_as_long_as_its_operands_are_read() -> None:
    g = gg.Graph()
    x = g.input("x", ("N",))
    a = gg.tanh(x)
    theta = OPERATORS["pack"]([a, gg.exp(x)])
    moved = theta * 2.0  # would overwrite theta, and a in it
    y = gg.sum(moved) + gg.sum(gg.cos(a) * a)
    program = program_of([y])
    simulate(program, N=5)
    values = np.linspace(0, 1, 5)
    np.testing.assert_allclose(gg.compile([y])(x=values)[0], gg.evaluate(y, x=values), rtol=1e-14)


@pytest.mark.parametrize("pack_of", [by_time, by_size])
def test_offsets_of_random_lifetimes(pack_of: Any) -> None:
    generator = np.random.default_rng(0)
    for _ in range(40):
        spans = []
        for owner in range(int(generator.integers(1, 40))):
            born = int(generator.integers(0, 30))
            spans.append(
                (owner, int(generator.integers(0, 6)) * ALIGNMENT, born, born + int(generator.integers(0, 12)))
            )
        found = pack_of(spans)
        for owner, size, born, dies in spans:
            start = found.offsets[owner]
            assert start + size <= found.size
            for other, other_size, other_born, other_dies in spans:
                if other < owner and size and other_size and max(born, other_born) <= min(dies, other_dies):
                    other_start = found.offsets[other]
                    assert start + size <= other_start or other_start + other_size <= start, (spans, found)
        top = max(sum(size for _, size, born, dies in spans if born <= t <= dies) for t in range(45))
        assert top <= found.size <= 2 * top


def test_memory_tells_the_planned_bytes_by_buffer() -> None:
    g = gg.Graph()
    x = g.input("x", ("N", 3), "float32")
    h = gg.tanh(x).named("h")
    f = gg.compile([h, gg.sum(h, 0).named("total")])
    assert {name: str(size) for name, size in f.memory.items()} == {"h": "12*N", "total": "12"}
    assert f.workspace_bytes(N=100) == 1216 + 64


def test_bytes_of_a_node() -> None:
    g = gg.Graph()
    found = [nbytes(g.input(f"x{k}", ("N", 3), dtype).node) for k, dtype in enumerate(ITEM_SIZE)]
    assert [str(b) for b in found] == ["3*N", "24*N", "12*N", "24*N"]


def test_positions_are_those_of_the_step() -> None:
    loss, updates = network()
    program = program_of([loss], updates)
    where = positions(program)
    for storage, owner in ((program.storages[o], o) for o in program.storages):
        assert storage.born <= where[owner] <= storage.dies
