"""The order of statements: operands first, nothing overwritten before its last reader, a small peak."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

import graphgrad as gg
from graphgrad.codegen.memory import plan
from graphgrad.codegen.prepare import prepare
from graphgrad.codegen.program import Program
from graphgrad.codegen.schedule import dependencies, greedy, peak, schedule
from tests.codegen.simulate import positions, program_of, simulate
from tests.random_graphs import Case, cases

few = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)


def check_order(program: Program) -> None:
    """Every statement once, after the statements and numbers that it needs; views of computed buffers stand first."""
    unordered, where = sorted(program.step), positions(program)
    assert len(where) == len(program.step)
    assert unordered == sorted(
        i for i, s in program.stages.items() if s == 1 and program.roles[i] in ("call", "view", "scalar")
    )
    for id, position in where.items():
        if program.roles[id] != "view":
            for i in program.node(id).inputs:
                assert where.get(program.base(i), -1) < position


@given(cases())
@few
def test_random_programs_are_in_order(case: Case) -> None:
    program = program_of(case.outputs, case.updates)
    check_order(program)
    assert program_of(case.outputs, case.updates).step == program.step
    assert gg.compile(case.outputs, case.updates).source == gg.compile(case.outputs, case.updates).source


@given(case=cases())
@few
def test_the_peak_that_the_greedy_order_counts_is_its_peak(case: Case) -> None:
    program, _ = prepare(case.outputs, case.updates, exact=True)
    units = [i for i in program.step if program.roles[i] != "view"]
    weights = [64 * (n.id % 5) for n in program.graph.nodes]  # of what is computed
    weights = [w if program.roles.get(id) == "call" and id in units else 0 for id, w in enumerate(weights)]
    order, top = greedy(program, units, dependencies(program, units), weights, program.reads)
    assert sorted(order) == sorted(units)
    assert top == peak(program, order, weights, program.reads)


def readers(program: Program, leaf: int) -> list[int]:
    return [i for i in program.step if program.roles[i] == "call" and leaf in program.reads[i]]


def test_a_parameter_is_replaced_after_its_last_reader() -> None:
    """x̄ = ȳ W reads the old W, though W's gradient is known before."""
    g = gg.Graph()
    x, y = g.input("x", ("N", 5)), g.input("y", ("N", 2))
    W1, W2 = g.parameter("W1", (4, 5)), g.parameter("W2", (2, 4))
    p = gg.tanh(x @ W1.T) @ W2.T
    loss = gg.mean((p - y) ** 2)
    d = gg.derive(loss)
    program = program_of([loss], {W1: W1 - 0.1 * d[W1], W2: W2 - 0.1 * d[W2]})
    simulate(program, N=3)
    where = positions(program)
    assert program.copies == ()
    for leaf, value in program.updates:
        assert len(readers(program, leaf)) >= 2 if program.graph.label(leaf) == "W2" else True
        assert all(where[r] <= where[value] for r in readers(program, leaf))

    f = gg.compile([loss], updates={W1: W1 - 0.1 * d[W1], W2: W2 - 0.1 * d[W2]})
    rng = np.random.default_rng(0)
    now = {"W1": rng.normal(size=(4, 5)), "W2": rng.normal(size=(2, 4))}
    data = {"x": rng.normal(size=(3, 5)), "y": rng.normal(size=(3, 2))}
    f.state["W1"], f.state["W2"] = now["W1"], now["W2"]
    for _ in range(3):
        f(**data)
        h = np.tanh(data["x"] @ now["W1"].T)
        e = 2 * (h @ now["W2"].T - data["y"]) / 6
        now = {"W1": now["W1"] - 0.1 * ((e @ now["W2"]) * (1 - h * h)).T @ data["x"], "W2": now["W2"] - 0.1 * e.T @ h}
        for name, wanted in now.items():
            np.testing.assert_allclose(f.state[name], wanted, rtol=1e-13)


def test_a_reader_that_comes_after_the_new_value_gets_the_old_one() -> None:
    """w is read again by a formula of its own new value: no order can write it in place."""
    g = gg.Graph()
    w = g.parameter("w", (3,))
    new = gg.tanh(w)
    change = gg.sum(new * w)
    program = program_of([change], {w: new})
    simulate(program)
    assert [leaf for leaf, _ in program.copies] == [w.id]
    f = gg.compile([change], updates={w: new})
    start = np.array([0.1, 0.2, 0.3])
    np.testing.assert_allclose(f(w=start)[0], np.sum(np.tanh(start) * start))
    np.testing.assert_allclose(f.state["w"], np.tanh(start))


def test_exchanged_values() -> None:
    g = gg.Graph()
    a, b, c = (g.parameter(n, (2, 2)) for n in "abc")
    f = gg.compile([a, b, c.T], updates={a: b, b: gg.transpose(c), c: a + b})
    values = [np.array([[1.0, 2], [3, 4]]) * k for k in (1, 10, 100)]
    found = f(a=values[0], b=values[1], c=values[2])
    for _ in range(3):
        for one, wanted in zip(found, (values[0], values[1], values[2].T), strict=True):
            np.testing.assert_array_equal(one, wanted)
        values = [values[1], values[2].T, values[0] + values[1]]
        found = f()


def test_the_order_with_the_smaller_peak() -> None:
    """Ten large products, each summed to a row: as written they would all be alive together."""
    g = gg.Graph()
    x = g.input("x", ("N", 50))
    large = [gg.tanh(x * float(k)) for k in range(2, 12)]
    total = sum((gg.sum(t, 0) for t in large), start=g.constant(0.0))
    unordered, _ = prepare([total], {}, exact=True)
    program = program_of([total])
    check_order(program)
    assert sorted(schedule(unordered).step) == sorted(program.step)
    assert plan(program, {"N": 100}).size <= 100 * 50 * 8 + 20 * 448
    values = np.linspace(0, 1, 100).reshape(2, 50)
    np.testing.assert_allclose(gg.compile([total])(x=values)[0], gg.evaluate(total, x=values), rtol=1e-14)


def test_the_written_order_stays_where_it_is_as_good() -> None:
    g = gg.Graph()
    x = g.input("x", ("N",))
    y = gg.exp(gg.tanh(gg.sin(x)))
    program = program_of([y])
    assert list(program.step) == sorted(program.step)


def test_a_long_chain_and_a_wide_fan() -> None:
    g = gg.Graph()
    x = g.input("x", (2,))
    y = x
    for _ in range(3000):
        y = gg.tanh(y)
    wide = [x * (1.0 + k / 7) for k in range(1000)]
    for t in wide:
        y = y + t
    program = program_of([y])
    check_order(program)
    assert plan(program, {}).size <= 3 * 64
