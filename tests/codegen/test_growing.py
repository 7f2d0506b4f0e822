"""Averages in units that shrink: the same steps without the pass by β, also where the exponent begins again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import graphgrad as gg
from graphgrad.codegen import growing
from graphgrad.codegen.program import Unit

ADAM = gg.Adam(0.01)
LEAST = growing.LEAST
GENERATOR = np.random.default_rng(0)
X, Y = GENERATOR.normal(size=(16, 5)), GENERATOR.integers(0, 3, 16)


@pytest.fixture(autouse=True)
def short_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 7 steps for m of Adam, and of 1,579 for v, for states of any size."""
    monkeypatch.setattr(growing, "LARGEST", 0.9**-7.5)
    monkeypatch.setattr(growing, "PERIODS", range(2, 1 << 16))
    monkeypatch.setattr(growing, "LEAST", 0)


def trainer(optimizer: Any = ADAM, **options: Any) -> gg.Trainer:
    return gg.Trainer(gg.feedforward([5, 8, 3], "tanh", "cross_entropy"), optimizer, dtype="float64", **options)


def grown(t: gg.Trainer) -> dict[str, Unit]:
    program = t.function.program
    return {program.node(id)["name"]: unit for id, unit in program.units.items() if unit.base != 1}


def logistic(g: gg.Graph, inputs: int) -> tuple[gg.Tensor, tuple[gg.Tensor, ...]]:
    """The loss of a small network by hand, and its parameters."""
    x, y = g.input("x", ("N", inputs)), g.input("y", ("N",))
    parameters = g.parameter("W", (3, inputs)), g.parameter("u", (3,)), g.parameter("c", (1,))
    W, u, c = parameters
    return gg.mean(gg.softplus(-y * (gg.tanh(x @ W.T) @ u + c))), parameters


VARYING = gg.schedules.piecewise([0.5, 0.9], [6])
OPTIMIZERS = [
    ADAM,
    gg.Adam(0.01, beta2=VARYING),
    gg.Adam(0.01, weight_decay=0.1),
    gg.Adam(0.01, beta1=VARYING),
    gg.Adam(0.01, beta1=0.0),
    gg.Groups({"W*": gg.Adam(0.01), "b*": gg.Adam(0.02, beta2=0.99)}),
    gg.Groups({"W1": None, "*": gg.Adam(0.01)}),
]


@pytest.mark.parametrize("options", [{}, {"l2": 0.01}, {"memory": "low"}, {"weighted": True}], ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_the_steps_are_those_of_the_formula(optimizer: Any, options: dict[str, Any]) -> None:
    quick, exact = trainer(optimizer, **options), trainer(optimizer, exact=True, **options)
    assert {unit.period for unit in grown(quick).values()} == {7 if getattr(optimizer, "beta1", 0.9) == 0.9 else 1579}
    assert not grown(exact)
    batch = (X, Y, np.linspace(0.5, 2.0, 16)) if options.get("weighted") else (X, Y)
    for _ in range(25):
        assert quick.step(*batch) == pytest.approx(exact.step(*batch), rel=1e-10)
    for name, value in exact.parameters.items():
        np.testing.assert_allclose(quick.parameters[name], value, rtol=1e-9, atol=1e-12)
    for name, value in exact.state.items():
        np.testing.assert_allclose(quick.state[name], value, rtol=1e-9, atol=1e-14)


def test_momentum_s_average_shrinks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "LARGEST", 64.0)
    quick, exact = (trainer(gg.Momentum(0.1, 0.9, form="lecture"), exact=exact) for exact in (False, True))
    (unit,) = grown(quick).values()
    assert (unit.period, unit.base) == (39, pytest.approx(0.9))
    for _ in range(100):
        assert quick.step(X, Y) == pytest.approx(exact.step(X, Y), rel=1e-10)


@pytest.mark.parametrize("loss", ["mean_squared_error", "cross_entropy", "hinge", "huber"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu", "softplus", "silu"])
def test_whatever_the_network(activation: str, loss: str) -> None:
    net = gg.feedforward([5, 8, 4, 1], activation, loss if loss != "cross_entropy" else "binary_cross_entropy")
    target = np.where(Y[:, None] > 0, 1.0, 0.0 if loss != "hinge" else -1.0)
    quick, exact = (gg.Trainer(net, ADAM, dtype="float64", exact=exact) for exact in (False, True))
    assert grown(quick)
    for _ in range(16):
        assert quick.step(X, target) == pytest.approx(exact.step(X, target), rel=1e-9)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (gg.SGD(0.1), {}),
        (gg.Momentum(0.1, 0.9, form="nesterov"), {}),  # the gradient is used beside its average
        (ADAM, {"clip_norm": 1.0}),
        (ADAM, {"clip_value": 0.1}),
        (gg.Adam(0.01, beta1=VARYING, beta2=VARYING), {}),
    ],
    ids=str,
)
def test_what_is_not_linear_in_the_gradient_stays(optimizer: Any, options: dict[str, Any]) -> None:
    quick, exact = (trainer(optimizer, exact=exact, **options) for exact in (False, True))
    assert not grown(quick)
    for _ in range(10):
        assert quick.step(X, Y) == pytest.approx(exact.step(X, Y), rel=1e-10)


def test_a_gradient_that_is_given_away_is_the_gradient() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N", 5)), g.parameter("w", (5,))
    v, k = g.state("v", (5,)), g.state("k", (), "int64", weak=True)
    d = gg.derive(gg.mean(gg.square(x @ w)))
    new_v = 0.99 * v + gg.square(d[w])
    f = gg.compile([d[w]], {w: w - 0.1 * d[w] / (gg.sqrt(new_v) + 1e-8), v: new_v, k: k + 1})
    f.state["w"] = np.ones(5)
    for _ in range(20):
        w_now, v_now = f.state["w"], f.state["v"]
        (given,) = f(x=X)
        np.testing.assert_allclose(given, 2 / 16 * X.T @ (X @ w_now), rtol=1e-12)
        np.testing.assert_allclose(f.state["v"], 0.99 * v_now + given**2, rtol=1e-12)


@pytest.mark.parametrize("counted", [False, True], ids=["in units of 0.1", "in units that shrink"])
def test_a_state_that_is_given_away_is_the_state(counted: bool) -> None:
    """Itself, a view of it, its sum, its new value, and as the new value of another."""
    g = gg.Graph()
    x, w, k = g.input("x", ("N", 5)), g.parameter("w", (5,)), g.state("k", (), "int64", weak=True)
    m, before = g.state("m", (5,)), g.state("before", (5,))
    new_m = 0.9 * m + 0.1 * gg.derive(gg.mean(gg.tanh(x @ w)))[w]
    updates = {w: w - 0.1 * new_m, m: new_m, before: m} | ({k: k + 1} if counted else {})
    outputs = [m, m[1:3], gg.sum(m), new_m]
    quick, exact = (gg.compile(outputs, updates, exact=exact) for exact in (False, True))
    assert [unit.base != 1 for unit in quick.program.units.values()] == [counted]
    for f in (quick, exact):
        f.state["w"] = np.ones(5)
    for _ in range(20):
        for a, b in zip(quick(x=X), exact(x=X), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10)
        np.testing.assert_allclose(quick.state["before"], exact.state["before"], rtol=1e-10)


def test_two_states_that_become_one_value_are_that_value() -> None:
    """Each could be kept in units of its own, by the other's factor; the value is in those of one."""
    g = gg.Graph()
    a, b = g.state("a", (3,)), g.state("b", (3,))
    value = 0.9 * a + 0.1 * b
    f, exact = (gg.compile([gg.sum(a), gg.sum(b)], {a: value, b: value}, exact=e) for e in (False, True))
    for of in (f, exact):
        of.state["a"], of.state["b"] = np.array([1.0, 2.0, 3.0]), np.array([5.0, 7.0, 11.0])
    for _ in range(3):
        np.testing.assert_allclose(f(), exact(), rtol=1e-14)
        for name in "ab":
            np.testing.assert_allclose(f.state[name], exact.state[name], rtol=1e-14)


def test_state_is_told_and_set_at_any_count_and_in_any_order() -> None:
    """Its units depend on k: setting k leaves what the others are."""
    exact = trainer(exact=True)
    for _ in range(10):
        exact.step(X, Y)
    state = exact.state
    for names in (["k", "m", "v"], ["v", "m", "k"], ["m", "k", "v"]):
        quick = trainer()
        for _ in range(5):
            quick.step(X, Y)
        quick.parameters = exact.parameters
        of_vectors = {s: np.concatenate([state[f"{s}.{p}"].ravel() for p in quick.parameters]) for s in "mv"}
        lying = quick.graph.transposed
        for s in "mv":
            parts = [state[f"{s}.{p}"].T if p in lying else state[f"{s}.{p}"] for p in quick.parameters]
            of_vectors[s] = np.concatenate([part.ravel() for part in parts])
        for name in names:
            quick.function.state[name] = {"k": 10, **of_vectors}[name]
        for name, value in state.items():
            np.testing.assert_allclose(quick.state[name], value, rtol=1e-14)
    before = quick.state
    quick.function.state["k"] = 3
    for name, value in before.items():
        assert name == "k" or quick.state[name] == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("steps", [1, 6, 7, 8, 13, 14])
def test_a_run_from_a_file_is_the_run(steps: int, tmp_path: Path) -> None:
    """Bit for bit, wherever in the period it was written."""
    whole, first, second = (trainer() for _ in range(3))
    for _ in range(steps):
        whole.step(X, Y)
        first.step(X, Y)
    kept = first.kept()
    second.step(X, Y)
    second.parameters = first.parameters
    second.keep({n: v for n, (v, _) in kept.items()}, {n: s for n, (_, s) in kept.items() if s != 1.0})
    for _ in range(9):
        assert second.step(X, Y) == whole.step(X, Y)
    for name, value in whole.state.items():
        assert value.tobytes() == second.state[name].tobytes()


def test_the_pass_is_gone_and_the_source_says_why() -> None:
    source = trainer().source
    assert sum(line.strip().startswith("if ") and line.endswith(", m)") for line in source.splitlines()) == 1
    assert sum("# m = " in line for line in source.splitlines()) == 2
    assert "# m is kept as m / (0.1 · 0.9^e), which saves a pass over it; `state` gives m itself." in source
    assert "# v is kept as v / (0.001 · 0.81^e), which saves a pass over it; `state` gives v itself." in source
    assert "e is k % 7" in source


@pytest.mark.parametrize("optimizer", [ADAM, gg.Momentum(0.1, 0.9)], ids=repr)
def test_what_no_gradient_reaches_any_more_ends_at_zero(optimizer: Any) -> None:
    """Without it, m stays forever among the numbers with which CPUs are slow."""
    net = gg.feedforward([5, 8, 3], "tanh", "cross_entropy")
    ends = []
    for exact in (False, True):
        t = gg.Trainer(net, optimizer, exact=exact)
        for k in range(1500):
            t.step(X * (k < 5), Y)
        ends.append(np.abs(t.state["m.W1"]).max())
    assert ends[0] == 0 < ends[1] < np.finfo(np.float32).tiny


def test_units_shut_for_good_do_not_slow_a_small_network_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thousand parameters too, whose every product would else be many times slower from some step on."""
    for name, value in (("LARGEST", 64.0), ("PERIODS", range(32, 1 << 16)), ("LEAST", LEAST)):
        monkeypatch.setattr(growing, name, value)
    t = gg.Trainer(gg.feedforward([5, 30, 30, 1], "relu"), gg.Adam(0.01))
    for _ in range(3):
        t.step(X, X[:, :1])
    t.parameters = t.parameters | {"b2": np.full(30, -1e9)}
    for _ in range(1000):
        t.step(X, X[:, :1])
    assert not t.state["m.W1"].any()
    assert not t.state["m.W2"].any()
    assert t.state["v.W2"].any()


def test_small_averages_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "LEAST", 2 * (5 * 8 + 8 + 8 * 3 + 3))
    assert grown(trainer())
    assert grown(trainer(memory="low"))
    monkeypatch.setattr(growing, "LEAST", 2 * (5 * 8 + 8 + 8 * 3 + 3) + 1)
    assert not grown(trainer())


@pytest.mark.parametrize("given", ["nothing", "output", "update"])
def test_a_number_that_is_seldom_other_than_1_is_a_condition_unless_it_is_wanted_itself(given: str) -> None:
    g = gg.Graph()
    w, k, s = g.state("w", (5,)), g.state("k", (), "int64", weak=True), g.state("s", weak=True)
    number = gg.where(gg.equal(k % 3, 2), 0.5, 1.0)
    updates = {w: w * number, k: k + 1} | ({s: number} if given == "update" else {})
    f = gg.compile([number] if given == "output" else [], updates)
    assert any(line.strip().startswith("if ") for line in f.source.splitlines()) == (given == "nothing")
    f.state["w"] = np.ones(5)
    for k_now in range(7):
        outputs = f()
        factor = 0.5 if k_now % 3 == 2 else 1.0
        assert given != "output" or outputs[0] == factor
        assert given != "update" or f.state["s"] == factor
    np.testing.assert_array_equal(f.state["w"], np.full(5, 0.25))


def test_memory_low_has_no_pass_by_beta_either() -> None:
    source = trainer(memory="low").source
    assert sum(line.strip().startswith("if ") and "multiply(m_" in line for line in source.splitlines()) == 4


def test_a_count_below_zero_counts_on() -> None:
    quick, exact = (trainer(gg.Momentum(0.1, 0.999, form="lecture"), exact=exact) for exact in (False, True))
    assert grown(quick)
    for t in (quick, exact):
        for _ in range(4):
            t.step(X, Y)
        t.function.state["k"] = -3
    for _ in range(9):
        assert quick.step(X, Y) == pytest.approx(exact.step(X, Y), rel=1e-9)


def test_float32_stays_within_its_range_for_many_periods() -> None:
    quick = gg.Trainer(gg.feedforward([5, 8, 3], "tanh", "cross_entropy"), ADAM)
    double = trainer()
    for _ in range(200):
        assert quick.step(X, Y) == pytest.approx(double.step(X, Y), rel=2e-3)


@pytest.mark.parametrize("shrinks", [False, True])
@pytest.mark.parametrize(("down", "up"), [(2, 2), (10, 10), (4, 0.25), (0.1, 8)])
def test_momentum_by_hand_with_factors_that_cancel(down: float, up: float, shrinks: bool) -> None:
    """Numbers that are brought together leave constants behind, which no later product is taken for."""
    g = gg.Graph()
    loss, parameters = logistic(g, 4)
    d = gg.derive(loss)
    updates: dict[gg.Tensor, gg.Tensor] = {}
    states = {p: g.state(f"m_{p.name}", p.shape) for p in parameters}
    for p, m in states.items():
        updates[m] = 0.8 * m + d[p] / down
        updates[p] = p - 0.5 * (up * updates[m])
    if shrinks:
        k = g.state("k", (), "int64", weak=True)
        updates[k] = k + 1
    quick, exact = (gg.compile([loss], updates, exact=exact) for exact in (False, True))
    for f in (quick, exact):
        f.state["W"], f.state["u"], f.state["c"] = np.full((3, 4), 0.1), np.ones(3), np.ones(1)
        for _ in range(5):
            f(x=X[:, :4], y=np.where(Y > 0, 1.0, -1.0))
    for name in quick.state:
        np.testing.assert_allclose(quick.state[name], exact.state[name], rtol=1e-10)


@pytest.mark.parametrize("gradient_first", [True, False])
def test_a_gradient_that_the_state_is_multiplied_by_is_no_decay(gradient_first: bool) -> None:
    g = gg.Graph()
    s, c, m = g.input("s", weak=True), g.parameter("c"), g.state("m", (5,))
    k = g.state("k", (), "int64", weak=True)
    terms = gg.derive(c * s)[c] * m, 0.9 * m
    new_m = terms[0] + terms[1] if gradient_first else terms[1] + terms[0]
    updates = {m: new_m, k: k + 1, c: c - 0.1 * gg.mean(new_m)}
    quick, exact = (gg.compile([], updates, exact=exact) for exact in (False, True))
    for f in (quick, exact):
        f.state["c"], f.state["m"] = 1.0, np.ones(5)
        for _ in range(9):
            f(s=0.05)
    for name in "cm":
        np.testing.assert_allclose(quick.state[name], exact.state[name], rtol=1e-12)
    np.testing.assert_allclose(exact.state["m"], np.full(5, 0.95**9))


SQUARES = [gg.square, lambda d: d * d, lambda d: d**2, lambda d: gg.power(d, 2.0)]


@pytest.mark.parametrize("square", SQUARES, ids=range(4))
def test_a_square_is_one_however_it_is_written(square: Any) -> None:
    g = gg.Graph()
    x, w, v = g.input("x", ("N", 5)), g.parameter("w", (5,)), g.state("v", (5,))
    k = g.state("k", (), "int64", weak=True)
    d = gg.derive(gg.mean(gg.tanh(x @ w)))
    new_v = 0.99 * v + 0.01 * square(d[w])
    f = gg.compile([], {w: w - 0.1 * gg.sqrt(new_v), v: new_v, k: k + 1})
    assert any(unit.base != 1 for unit in f.program.units.values())


@pytest.mark.parametrize("name", ["k\nprint(1) #", "lambda", "a b"])
def test_the_counter_is_told_by_its_name_in_the_code(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    g = gg.Graph()
    x, w, m = g.input("x", ("N", 5)), g.parameter("w", (5,)), g.state("m", (5,))
    k = g.state(name, (), "int64", weak=True)
    new_m = 0.9 * m + 0.1 * gg.derive(gg.mean(gg.tanh(x @ w)))[w]
    f = gg.compile([], {w: w - new_m, m: new_m, k: k + 1})
    f.state["w"] = np.zeros(5)
    f(x=X)
    assert not capsys.readouterr().out
    found = re.search(r"There e is (\w+) % 7;", f.source)
    assert found is not None
    assert f"    {found[1]}[()] = " in f.source


NUMBERS = st.sampled_from([0.1, 0.25, 0.5, 0.8, 1, 2.0, 4, 10])


@st.composite
def optimizers(draw: st.DrawFn) -> tuple[gg.Tensor, dict[gg.Tensor, gg.Tensor]]:
    """A loss, and updates by averages that are written in all manners."""
    g = gg.Graph()
    loss, parameters = logistic(g, 5)
    d = gg.derive(loss)
    updates: dict[gg.Tensor, gg.Tensor] = {}
    if draw(st.booleans()):
        k = g.state("k", (), "int64", weak=True)
        updates[k] = k + 1

    numbers = draw(st.lists(NUMBERS, min_size=1, max_size=2))  # so few that they cancel now and then

    def scaled(t: gg.Tensor) -> gg.Tensor:
        for _ in range(draw(st.integers(0, 2))):
            n = draw(st.sampled_from(numbers))
            t = [t * n, n * t, t / n, -t][draw(st.integers(0, 3))]
        return t

    def total(a: gg.Tensor, b: gg.Tensor) -> gg.Tensor:
        return [a + b, b + a, a - (-b)][draw(st.integers(0, 2))]

    states = {p: (g.state(f"m_{p.name}", p.shape), g.state(f"v_{p.name}", p.shape)) for p in parameters}
    for p, (m, v) in states.items():
        gradient = total(d[p], 0.01 * p) if draw(st.booleans()) else d[p]
        updates[m] = total(draw(st.sampled_from([0.5, 0.9])) * m, scaled(gradient))
        change = scaled(updates[m])
        if draw(st.booleans()):
            updates[v] = total(0.99 * v, draw(NUMBERS) * gg.square(scaled(gradient)))
            change = change / (gg.sqrt(updates[v]) + 0.1)
        updates[p] = p - 0.01 * change
    return loss, updates


@given(optimizers(), st.sampled_from(["fast", "low"]))
@settings(max_examples=150, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_averages_written_in_any_manner(asked: tuple[gg.Tensor, dict[gg.Tensor, gg.Tensor]], memory: str) -> None:
    loss, updates = asked
    quick, exact = (gg.compile([loss], updates, exact=exact, memory=memory) for exact in (False, True))
    for f in (quick, exact):
        f.state["W"], f.state["u"], f.state["c"] = np.full((3, 5), 0.1), np.ones(3), np.ones(1)
    for _ in range(9):
        losses = [f(x=X, y=np.where(Y > 0, 1.0, -1.0))[0] for f in (quick, exact)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-7)
    for name in quick.state:
        np.testing.assert_allclose(quick.state[name], exact.state[name], rtol=1e-6, atol=1e-9, err_msg=name)
