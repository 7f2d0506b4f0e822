"""Where the time goes: every statement of the step is timed, once, in its place, and nothing that is kept changes."""

from __future__ import annotations

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.errors import CallError
from graphgrad.types import size_of


def trainer() -> tuple[gg.Trainer, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    net = gg.feedforward([5, 7, 3], "relu", "cross_entropy")
    return gg.Trainer(net, gg.Adam(), dtype="float64"), generator.normal(size=(8, 5)), generator.integers(0, 3, 8)


def test_every_statement_of_the_step_has_a_row() -> None:
    made, X, Y = trainer()
    profile = made.profile(X, Y)
    source = made.source.splitlines()
    step = source[source.index("def step(x, y):") + 1 : -1]
    wanted = [line.strip() for line in step if not line.strip().startswith("#")]
    assert "; ".join(row.statement for row in profile.rows).split("; ") == "; ".join(wanted).split("; ")
    for row in profile.rows:
        assert source[row.line - 1].strip() == row.statement.split("; ")[0]
    products = [row for row in profile.rows if row.product]
    assert len(products) == 5  # two forward, two for weights, one for what lies between
    # Biases are in four of them.
    assert {row.flops for row in products} == {2 * 8 * 6 * 7, 2 * 8 * 8 * 3, 2 * 8 * 7 * 3}
    assert sum(row.flops for row in profile.rows) == size_of(made.function.flops, {"N": len(X)})
    assert 0 < profile.products < profile.total


def test_what_is_kept_stays_as_it_is() -> None:
    made, X, Y = trainer()
    made.step(X, Y)
    before, state = made.parameters, made.state
    made.profile(X, Y)
    for name, array in before.items():
        assert array.tobytes() == made.parameters[name].tobytes()
    for name, array in state.items():
        assert array.tobytes() == made.state[name].tobytes()


def test_the_table_goes_from_the_slowest_to_the_fastest() -> None:
    made, X, Y = trainer()
    lines = str(made.profile(X, Y)).splitlines()
    times = [float(line.split()[0]) for line in lines[1:-1]]
    assert times == sorted(times, reverse=True)
    assert lines[0].split() == ["µs", "share", "GFlop/s", "line", "statement"]
    assert lines[-1].endswith("in matrix products")


def test_times_belong_to_nodes_of_the_graph_that_was_compiled() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N", 4)), g.parameter("w", (4, 2))
    h = (x @ w).named("h")
    y = gg.sum(gg.tanh(h))
    profile = gg.compile([y]).profile(x=np.ones((3, 4)), w=np.ones((4, 2)))
    assert profile.by_node.keys() == {h.id, h.id + 1, y.id}
    with pytest.raises(CallError, match="no value was given for w; the function takes x, w"):
        gg.compile([y]).profile(x=np.ones((3, 4)))


def test_a_chain_in_blocks_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphgrad.codegen.blocks.LEAST", 0)
    monkeypatch.setattr("graphgrad.codegen.compiler.block_bytes", lambda: 64)
    made, X, Y = trainer()
    loops = [row for row in made.profile(X, Y).rows if row.statement.startswith("for ")]
    assert len(loops) == 1
    assert "subtract(theta_part" in loops[0].statement


def test_two_chains_in_a_row_are_two_rows_with_the_work_of_all_their_statements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("graphgrad.codegen.blocks.LEAST", 0)
    g = gg.Graph()
    a, b = g.parameter("a", (4000,)), g.parameter("b", (5000,))
    f = gg.compile([], {a: gg.tanh(a) * 0.5 - gg.sqrt(a * a + 1), b: gg.exp(-b * b) * b}, block=8000)
    f.state["a"], f.state["b"] = np.ones(4000), np.ones(5000)
    rows = f.profile().rows
    assert [row.statement.count(";") for row in rows] == [6, 4]
    assert [row.flops for row in rows] == [6 * 4000, 4 * 5000]


def test_what_is_wrong_is_told_as_a_call_tells_it() -> None:
    g = gg.Graph()
    f = gg.compile([gg.one_hot(g.input("timed", ("N",), "int64"), 3)])
    assert f.profile(timed=[0, 2]).rows
    messages = []
    for asked in (f, f.profile):
        with pytest.raises(CallError) as caught:
            asked(timed=[0, 5])
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "test_profile.py" in messages[0]


def test_a_profile_gives_no_value_to_what_has_none_and_fixes_no_size() -> None:
    g = gg.Graph()
    x, s, w = g.input("x", ("N",)), g.state("s", ("N",)), g.parameter("w")
    f = gg.compile([gg.sum(s * x * w)], {s: s + x, w: w * 0.5})
    with pytest.raises(CallError, match="no value was given yet for w"):
        f.profile(x=np.ones(5))
    f.profile(x=np.ones(5), w=3.0)
    with pytest.raises(CallError, match="w has no value yet"):
        f.state["w"]
    assert f(x=np.ones(7), w=2.0) == [0.0]
    f.profile(x=np.ones(7), w=100.0)
    assert f.state["w"] == 1.0
    np.testing.assert_array_equal(f.state["s"], np.ones(7))
