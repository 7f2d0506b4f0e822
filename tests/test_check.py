"""The gradient check itself: it passes what is right, fails what is wrong, and names where NaN begins."""

from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.errors import CallError, DerivativeError
from graphgrad.operator import OPERATORS
from graphgrad.operators.rows import elementwise


@pytest.fixture
def wrong() -> Any:
    """An operator whose rule is off by a thousandth of a percent."""
    yield elementwise("wrong", formula="x**2", reference=np.square, pullback=lambda g, x, y: g * (2.00001 * x))
    del OPERATORS["wrong"]


def test_a_right_gradient_passes() -> None:
    g = gg.Graph()
    x, y = g.input("x", ("N", 4)), g.input("y", ("N", 1))
    W, b = g.parameter("W", (1, 4)), g.parameter("b", (1,))
    report = gg.check(gg.mean((gg.sigmoid(x @ W.T + b) - y) ** 2))
    assert report.ok
    assert [(r.name, r.shape, r.verdict) for r in report.rows] == [("W", (1, 4), "ok"), ("b", (1,), "ok")]
    assert all(0 < r.difference < 1e-8 * max(1, r.largest) for r in report.rows)
    assert report.notes == ()


def test_a_wrong_gradient_fails(wrong: Any) -> None:
    g = gg.Graph()
    w, b = g.parameter("w", (3,)), g.parameter("b")
    report = gg.check(gg.sum(wrong(w)) + b**3, values={"w": [1.0, 2.0, 3.0], "b": 1.0})
    assert not report.ok
    assert [r.verdict for r in report.rows] == ["differs", "ok"]
    assert report.rows[0].difference == pytest.approx(3e-5, rel=1e-3)
    assert report.rows[0].largest == pytest.approx(6.00003)


def test_the_report_is_a_table() -> None:
    g = gg.Graph()
    weights, b = g.parameter("weights", (2, 2)), g.parameter("b")
    g.parameter("unused")
    report = gg.check(gg.sum(weights * 3) + b * 0.5)
    lines = str(report).split("\n")
    assert repr(report) == str(report)
    assert lines[0] == "parameter  shape   largest entry  largest difference  verdict"
    assert [line.split()[-1] for line in lines[1:3]] == ["ok", "ok"]
    assert lines[1].startswith("weights    (2, 2)              3  ")
    assert lines[2].startswith("b          ()                0.5  ")
    assert lines[3] == "unused     ()                  0             0.0e+00  not used"
    assert report.ok


def test_values_come_from_the_seed_and_from_the_caller() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N", 2)), g.parameter("w", (2,))
    loss = gg.sum((x @ w) ** 2)
    assert gg.check(loss, seed=1) == gg.check(loss, seed=1)
    assert gg.check(loss, seed=1) != gg.check(loss, seed=2)
    rows = gg.check(loss, values={"x": np.ones((5, 2)), "w": [1, 1]}).rows
    assert rows[0].largest == 20.0
    with pytest.raises(CallError, match=r"^no leaf is named v; there are: w, x$"):
        gg.check(loss, values={"v": 1.0})


def test_float32_graphs_are_checked_in_float64() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N", 2), "float32"), g.parameter("w", (2,), "float32")
    report = gg.check(gg.mean(gg.cast(gg.exp(x @ w), "float32") * np.float32(0.1)))
    assert report.ok
    assert report.rows[0].difference < 1e-8


@pytest.mark.parametrize("classes", [1, 2, 7])
def test_labels_and_indices_are_in_range(classes: int) -> None:
    for seed in range(5):
        g = gg.Graph()
        x, i = g.input("x", ("N", 2)), g.input("i", ("N",), "int64")
        W = g.parameter("W", (classes, 2))
        for loss in (
            gg.mean(gg.one_hot(i, classes) * (x @ W.T)),
            gg.sum(gg.take(W, i, axis=0) ** 2),
            gg.cross_entropy(x @ W.T, i),
        ):
            report = gg.check(loss, [W], seed=seed)
            assert report.ok, str(report)


def test_other_leaves_than_parameters() -> None:
    g = gg.Graph()
    x, s, flag = g.input("x", ("N",)), g.state("s"), g.input("flag", (), "bool")
    report = gg.check(gg.sum(gg.where(flag, x * s, x * x)), [x, s])
    assert [r.name for r in report.rows] == ["x", "s"]
    assert report.ok
    assert report.rows[0].shape == (3,)


def test_a_large_parameter_is_looked_at_in_part() -> None:
    g = gg.Graph()
    w = g.parameter("w", (40, 50))
    assert gg.check(gg.sum(gg.tanh(w))).ok


def test_nan_is_named_where_it_begins() -> None:
    g = gg.Graph()
    w = g.parameter("w", (2,))
    root = gg.sqrt(w).named("root")
    loss = gg.sum(gg.where(w > 0, root, 0.0) * 2)
    report = gg.check(loss, values={"w": [4.0, -1.0]})
    assert not report.ok
    assert report.rows[0].verdict == "not finite"
    assert len(report.notes) == 1
    assert report.notes[0].startswith("NaN in the value of root = sqrt (made at test_check.py:")
    report = gg.check(loss, values={"w": [4.0, 0.0]})
    assert len(report.notes) == 1
    assert report.notes[0].startswith(
        "NaN in the adjoint w\u0304 = r\u0304oot / (2 * root), by the rule of root = sqrt (made at test_check.py:"
    )


def test_an_infinite_adjoint_of_finite_values_is_named() -> None:
    g = gg.Graph()
    w = g.parameter("w")
    report = gg.check(gg.sqrt(w * w).named("r") + w, values={"w": 0.0})
    assert not report.ok
    assert len(report.notes) == 1
    assert report.notes[0].startswith("inf in the adjoint ")
    assert "by the rule of r = sqrt" in report.notes[0]


def test_what_cannot_be_checked() -> None:
    g = gg.Graph()
    x, w = g.input("i", (), "int64"), g.parameter("w", (2,))
    with pytest.raises(
        DerivativeError,
        match=r"^derive wants a scalar, but v2 has shape \(2,\); gg\.sum or gg\.mean makes it one\n  at test_check",
    ):
        gg.check(w * 2)
    with pytest.raises(
        DerivativeError, match=r"^check moves leaves of the graph of L by a little; <v\d+: .*> is none\n  at test_check"
    ):
        gg.check(gg.sum(w).named("L"), [w * 2])
    with pytest.raises(
        DerivativeError, match=r"^a derivative by i does not exist: its dtype is int64\n  at test_check"
    ):
        gg.check(gg.sum(w) * x, [x])
    with pytest.raises(DerivativeError, match=r"^check takes a Tensor, but float was given$"):
        gg.check(1.0)  # type: ignore[arg-type]
    h = gg.Graph()
    with pytest.raises(
        DerivativeError,
        match=r"^check: the graph of x has no parameters; wrt=\[\.\.\.\] names other leaves\n  at test_check",
    ):
        gg.check(h.input("x"))
