"""The last passes from graph to graph: (s·m) / Y as s·(m / Y), and what they look at."""

from __future__ import annotations

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.codegen import prepare
from graphgrad.codegen.linear_state import scale_quotients
from graphgrad.simplify import Simpler


def adam_like() -> tuple[gg.Graph, dict[gg.Tensor, gg.Tensor]]:
    g = gg.Graph()
    x, s = g.input("x", (5,)), g.input("s", (), "float64", weak=True)
    m, theta = g.state("m", (5,)), g.state("theta", (5,))
    new = (0.5 * m + x).named("m_new")
    change = ((s * new) / (1 + x * x)).named("change")
    return g, {m: new, theta: (theta - change).named("theta_new")}


def test_the_quotient_is_of_the_state_alone_and_keeps_its_name() -> None:
    g, updates = adam_like()
    moved = scale_quotients([], updates, [], Simpler(again=True))
    (_, value) = updates.values()
    new = moved[value.id].graph
    change, theta = new["change"], new["theta_new"]
    assert [new.nodes[i].operator.name for i in change.node.inputs] == ["input", "divide"]
    quotient = new.nodes[change.node.inputs[1]]
    assert quotient.inputs[0] == new["m_new"].id == g["m_new"].id
    assert theta.node.inputs == (new["theta"].id, change.id)
    assert moved[value.id] is theta
    assert all(new.lines.get(t.id) for t in (change, theta))


def test_a_product_that_is_wanted_elsewhere_stays() -> None:
    g, updates = adam_like()
    (_, value) = updates.values()
    product = g.tensor(g.tensor(value.node.inputs[1]).node.inputs[0])
    before = len(g.nodes)
    assert all(t.id == id for id, t in scale_quotients([product], updates, [], Simpler(again=True)).items())
    assert len(g.nodes) == before


def test_the_numbers_are_those_of_the_written_order() -> None:
    _, updates = adam_like()
    by_rounding, exact = (gg.compile([], updates, exact=exact) for exact in (False, True))
    generator = np.random.default_rng(0)
    for _ in range(3):
        x = generator.normal(size=5)
        for f in (by_rounding, exact):
            f(x=x, s=0.1)
    for name in ("m", "theta"):
        np.testing.assert_allclose(by_rounding.state[name], exact.state[name], rtol=1e-13)
    assert "divide(m, " in by_rounding.source
    assert "divide(m, " not in exact.source


def test_updates_of_several_parameters_stay_in_the_order_in_which_they_are_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else all quotients would come last, and with memory="low" all that they are of would wait for that."""
    monkeypatch.setattr("graphgrad.codegen.compiler.block_bytes", lambda: 256 * 1024)  # on every machine
    net = gg.feedforward([300, 400, 300], activation="tanh", loss="mse")
    trainer = gg.Trainer(net, gg.Adam(), memory="low", clip_norm=1.0)
    g = gg.Graph()
    x, theta, phi = g.input("x", (5,)), g.state("theta", (5,)), g.state("phi", (5,))
    m, n = g.state("m", (5,)), g.state("n", (5,))
    updates = {m: 0.5 * m + x}
    updates[theta] = theta - (0.1 * updates[m]) / (1 + x * x)
    updates[n] = 0.25 * n + x
    updates[phi] = phi - (0.3 * updates[n]) / (2 + x * x)
    moved = scale_quotients([], updates, [], Simpler(again=True))
    assert moved[updates[theta].id].id < moved[updates[n].id].id < moved[updates[phi].id].id
    assert moved[updates[phi].id].graph is not g
    assert trainer.function.workspace_bytes(N=64) == 1225024


def test_what_is_wanted_is_listed_a_few_times_however_large_the_graph_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of all gradients for each node would take a time quadratic in their number."""
    calls = 0
    results = prepare.Lowered.results.fget

    def counted(low: prepare.Lowered) -> list[gg.Tensor]:
        nonlocal calls
        calls += 1
        return results(low)

    monkeypatch.setattr(prepare.Lowered, "results", property(counted))
    counts = []
    for n in (3, 40):
        g = gg.Graph()
        loss = sum((gg.sigmoid(g.parameter(f"w{k}", ())) for k in range(n)), start=g.constant(0.0))
        calls = 0
        gg.compile([loss, *gg.derive(loss).values()])
        counts.append(calls)
    assert counts[0] == counts[1] < 30


def test_a_sum_over_a_denominator_is_left_alone() -> None:
    g = gg.Graph()
    x, m, theta = g.input("x", (5,)), g.state("m", (5,)), g.state("theta", (5,))
    new = 0.5 * m + x
    updates = {m: new, theta: gg.exp((new + x) / (1 + x * x)) * x}
    before = len(g.nodes)
    moved = scale_quotients([], updates, [], Simpler(again=True))
    assert len(g.nodes) == before
    assert all(moved[t.id] is t for t in updates.values())
