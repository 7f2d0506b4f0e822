"""What a node becomes: an input, something held, a number, a view, a statement; and what is computed once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.codegen.program import flops, operand_dtype, per_call_views
from graphgrad.errors import GraphgradError
from graphgrad.operator import OPERATORS, Inferred, Operator
from tests.codegen.simulate import program_of


def roles(program: Any) -> dict[str, str]:
    return {program.graph.label(i): role for i, role in program.roles.items() if i in program.graph.names}


def test_roles_and_stages() -> None:
    g = gg.Graph()
    x, W, m = g.input("x", ("N", 3)), g.parameter("W", (3,)), g.state("m", (3,))
    k = g.input("k", (), weak=True)
    ones = gg.broadcast_to(g.constant(np.ones(1)), (3,)).named("ones")
    grown = (gg.size(x) * g.constant(np.arange(3.0))).named("grown")
    half = (1 / gg.size(x)).named("half")
    rate = (0.5**k).named("rate")
    y = ((x * W + m) * rate).named("y")
    program = program_of([y, gg.transpose(y).named("t"), gg.transpose(x).named("s"), ones, half, grown], {m: m + W})
    assert roles(program) == {
        "x": "input", "W": "input", "m": "held", "k": "input", "half": "scalar", "rate": "scalar",
        "ones": "view", "t": "view", "s": "view", "grown": "call", "y": "call",
    }  # fmt: skip
    stage = {program.graph.label(i): s for i, s in program.stages.items()}
    assert [stage[n] for n in ("ones", "half", "grown", "rate", "y", "t", "s")] == [0, 0, 0, 1, 1, 1, 1]
    assert {program.graph.label(i) for i in per_call_views(program)} == {"s"}
    assert {program.graph.label(i) for i in program.prologue} >= {"ones", "half", "grown"}
    assert [n["name"] for n in program.inputs] == ["x", "W", "k"]
    assert [n["name"] for n in program.held] == ["m"]


@pytest.mark.parametrize(
    ("made", "role"),
    [
        (lambda a, b, s: a * b, "scalar"),
        (lambda a, b, s: gg.tanh(a), "scalar"),
        (lambda a, b, s: gg.cast(s, "float64") + a, "scalar"),
        (lambda a, b, s: gg.cast(s * 2.0, "float64"), "call"),  # of Python's numbers alone
        (lambda a, b, s: gg.where(s > 1.0, a, 0.0), "call"),  # which may be Python's 0.0
        (lambda a, b, s: gg.maximum(a, 0.0), "call"),
        (lambda a, b, s: gg.erf(a), "call"),
    ],
)
def test_a_number_that_only_numbers_read_needs_no_memory(made: Any, role: str) -> None:
    g = gg.Graph()
    a, b, s = g.input("a"), g.parameter("b"), g.input("s", (), weak=True)
    v = made(a, b, s).named("v")
    assert roles(program_of([gg.exp(v) * b]))["v"] == role
    x = g.input("x", ("N",))
    for others in ([v], [v * x], [gg.stack([v, b])]):  # it is wanted, or read by what takes arrays
        assert roles(program_of([gg.exp(v) * b, *others]))["v"] == "call"


@pytest.mark.parametrize(
    ("build", "role"),
    [
        (lambda t: gg.reshape(t, (-1,)), "view"),
        (lambda t: gg.reshape(gg.reshape(t, (-1,)), (3, "N")), "view"),
        (lambda t: gg.reshape(gg.transpose(t), (-1,)), "call"),
        (lambda t: gg.reshape(t[::-1], (-1,)), "call"),
        (lambda t: gg.reshape(gg.broadcast_to(t, (2, "N", 3)), (-1,)), "call"),
        (lambda t: gg.transpose(gg.reshape(t, (3, "N"))), "view"),
    ],
)
@pytest.mark.parametrize("computed", [True, False])
def test_a_reshape_is_a_view_where_memory_shows_it(build: Any, role: str, computed: bool) -> None:
    """Of an argument too: a step allocates nothing, so what NumPy would copy goes into planned memory."""
    g = gg.Graph()
    x = g.input("x", ("N", 3))
    y = build(gg.tanh(x) if computed else x)
    program = program_of([y])
    assert program.roles[program.outputs[0]] == role
    values = np.arange(6.0).reshape(2, 3) / 7
    for given in (values, np.asfortranarray(values), np.repeat(values, 2, 1)[:, ::2]):
        np.testing.assert_allclose(gg.compile([y])(x=given)[0], gg.evaluate(y, x=values), rtol=1e-15)


def test_numbers_are_no_memory() -> None:
    """Views of Python numbers have nothing to show: they are written out."""
    g = gg.Graph()
    k, x = g.input("k", (), weak=True), g.input("x", (3,))
    spread = gg.broadcast_to(gg.exp(k), (3,))
    outputs = [spread, spread * x, gg.reshape(k, (1, 1)), gg.broadcast_to(gg.size(gg.reshape(x, (1, 3))), (2, 2))]
    f = gg.compile(outputs)
    for value in (0.5, 1.5):
        for a, b in zip(f(k=value, x=np.arange(3.0)), gg.evaluate(outputs, k=value, x=np.arange(3.0)), strict=True):
            np.testing.assert_array_equal(a, b)


def test_flops() -> None:
    g = gg.Graph()
    x, W = g.input("x", ("N", 4)), g.parameter("W", (3, 4))
    product = x @ W.T
    assert str(flops(program_of([product]))) == "24*N"
    assert str(flops(program_of([gg.tanh(product)]))) == "27*N"
    assert str(flops(program_of([gg.sum(gg.tanh(product))]))) == "30*N"
    assert flops(program_of([x.T, gg.reshape(x, (-1,))])) == 0
    assert str(gg.compile([product]).flops) == "24*N"


def test_operand_dtype_is_what_the_operands_are_promoted_to() -> None:
    g = gg.Graph()
    x, i, b = g.input("x", (2,), "float32"), g.input("i", (2,), "int64"), g.input("b", (2,), "bool")
    for tensor, wanted in [
        (x + 1, "float32"),
        (i + 1, "int64"),
        (i * 0.5, "float64"),
        (gg.where(b, x, 2.0), "float32"),
        (x + i, "float64"),
    ]:
        assert operand_dtype(g, tensor.node) == wanted


def test_an_operator_without_a_spelling_is_told_with_its_line() -> None:
    g = gg.Graph()
    x = g.input("x", (2,))
    row = Operator("riddle", ("x",), lambda x: Inferred(x.shape, x.dtype), reference=np.sin)
    y = row(x)
    with pytest.raises(GraphgradError) as told:
        gg.compile([y])
    line = "test_program.py:" + str(
        test_an_operator_without_a_spelling_is_told_with_its_line.__code__.co_firstlineno + 4
    )
    assert str(told.value) == f"the numpy target has no spelling of v1 = riddle (made at {line}: y = row(x))"


def test_leaves_that_are_only_replaced_come_along() -> None:
    g = gg.Graph()
    w, x = g.parameter("w", (2,)), g.input("x", (2,))
    f = gg.compile([], updates={w: x * 2})
    assert f(x=[1.0, 2.0], w=[0.0, 0.0]) == []
    np.testing.assert_array_equal(f.state["w"], [2, 4])
    assert OPERATORS["cast"] is not None
