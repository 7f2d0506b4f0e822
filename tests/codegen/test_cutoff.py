"""Probabilities that count for nothing: no subnormal numbers in a step, and nothing else is changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.codegen import cutoff
from graphgrad.codegen.cutoff import CUTOFF

HEADLINE = "Beside 1, an exponential below 1e-16 counts for nothing"


@pytest.fixture(autouse=True)
def also_in_small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutoff, "LEAST", 0)


def trainer(dtype: str = "float32", widths: tuple[int, ...] = (2, 2, 3), **options: Any) -> gg.Trainer:
    net = gg.feedforward([*widths], loss="cross_entropy")
    return gg.Trainer(net, gg.SGD(1.0), dtype=dtype, **options)


def step(made: gg.Trainer, gap: float, label: int, x: float = 1.0) -> tuple[float, np.ndarray]:
    """Loss, and gradient in z, of a sample of which the classes are behind the first one by 0, the gap, and twice that.

    The gradient is what SGD takes off a bias of 0.
    """
    made.parameters = {
        "W1": np.eye(2), "b1": np.zeros(2), "W2": np.array([[gap, 0], [0, 0], [-gap, 0]]), "b2": np.zeros(3)
    }  # fmt: skip
    loss = made.step(np.array([[x, 0.5]], made.dtype), np.array([label]))
    return loss, -made.parameters["b2"]


def made_of(graph: gg.Graph, loss: gg.Tensor, *more: gg.Tensor) -> gg.Function:
    gradients = gg.derive(loss)
    return gg.compile([loss, *more], {w: w - 0.5 * gradients[w] for w in graph.leaves("parameter")})


def test_only_steps_in_float32_cut_off() -> None:
    plain = gg.compile([trainer().net.loss])
    for source, there in (
        (trainer().source, True),
        (trainer("float64").source, False),
        (trainer(exact=True).source, False),
        (plain.source, False),
    ):
        assert (f"- {CUTOFF:g}\n" in source) == there
        assert (HEADLINE in source) == there


@pytest.mark.parametrize(
    ("widths", "there"), [((2, 3), False), ((2, 2, 3), True)], ids=["linear in what is trained", "of a product"]
)
def test_only_where_gains_multiply(widths: tuple[int, ...], there: bool) -> None:
    assert (HEADLINE in trainer(widths=widths).source) == there


def test_only_where_enough_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert [HEADLINE in trainer(widths=(8, n, 50)).source for n in (8, 24)] == [False, True]


def test_a_product_of_trained_values_that_is_no_layer() -> None:
    g = gg.Graph()
    x, y = g.input("x", ("N", 2), "float32"), g.input("y", ("N",), "int64")
    w, scale = g.parameter("w", (2, 3), "float32"), g.parameter("scale", (3,), "float32")
    assert HEADLINE in made_of(g, gg.mean(gg.cross_entropy((x @ w) * scale, y))).source


@pytest.mark.parametrize("gap", [30.0, 36.0, 37.0, 45.0, 90.0, 95.0, 200.0])
def test_no_gradient_is_close_to_the_subnormal_numbers(gap: float) -> None:
    made, exact = trainer(), trainer(exact=True)
    loss, gradient = step(made, gap, 0)
    wanted_loss, wanted = step(exact, gap, 0)
    assert loss == wanted_loss
    np.testing.assert_allclose(gradient, wanted, rtol=1e-6, atol=1.01 * CUTOFF)
    nonzero = np.abs(gradient[gradient != 0])
    assert nonzero.size == (gap < -np.log(CUTOFF)), "the class that is behind by one gap"
    assert (nonzero > 1e-19).all(), "whose square float32 keeps"
    smallest = wanted[1]
    assert (gap != 90) | (0 < smallest < np.finfo(np.float32).tiny), "the test is of something"


@pytest.mark.parametrize("gap", [0.0, 1.0, 5.0, 12.0])
def test_what_is_above_keeps_its_digits(gap: float) -> None:
    for label in range(3):
        loss, gradient = step(trainer(), gap, label)
        wanted_loss, wanted = step(trainer(exact=True), gap, label)
        np.testing.assert_allclose(loss, wanted_loss, rtol=1e-6)
        np.testing.assert_allclose(gradient, wanted, rtol=1e-5)


def test_the_loss_of_a_label_that_is_far_behind_is_not_cut_off() -> None:
    loss, gradient = step(trainer(), 150.0, 2)
    assert loss == 300.0
    np.testing.assert_array_equal(gradient, [1, 0, -1])


def test_what_is_infinitely_far_behind_weighs_nothing() -> None:
    g = gg.Graph()
    mask, y = g.input("mask", ("N", 3), "float32"), g.input("y", ("N",), "int64")
    w, scale = g.parameter("w", (3,), "float32"), g.parameter("scale", (), "float32")
    made = made_of(g, gg.mean(gg.cross_entropy(scale * w + mask, y)))
    assert HEADLINE in made.source
    made.state["w"], made.state["scale"] = np.array([0.0, 1.0, 2.0], np.float32), np.float32(1)
    (value,) = made(mask=np.array([[0, 0, -np.inf]], np.float32), y=np.array([0]))
    p = 1 / (1 + np.e)
    np.testing.assert_allclose(value, -np.log(p), rtol=1e-6)
    np.testing.assert_allclose(made.state["w"], [0.5 * (1 - p), 1 - 0.5 * (1 - p), 2.0], rtol=1e-6)


def test_numbers_that_are_none_stay_none() -> None:
    loss, gradient = step(trainer(), 50.0, 0, x=np.nan)
    assert np.isnan([loss, *gradient]).all()


@pytest.mark.parametrize(
    ("kind", "gap"),
    [("logarithm", 50), ("quotient", 30), ("output", 80), ("columns", 80), ("exponential", 80), ("numbers", 50)],
)
def test_where_something_else_sees_them_they_are_as_written(kind: str, gap: int) -> None:
    """Of 1e-20, a logarithm or a quotient makes a number that is not like that of 0."""
    g = gg.Graph()
    x, y = g.input("x", ("N", 2), "float32"), g.input("y", ("N",), "int64")
    w, v = g.parameter("w", (2, 2), "float32"), g.parameter("v", (2, 3), "float32")
    z = gg.relu(x @ w) @ v
    e = gg.exp(z - gg.max(z, axis=1, keepdims=True))
    p = e / gg.sum(e, axis=0 if kind == "columns" else 1, keepdims=True)
    rows = gg.one_hot(y, 3, dtype="float32")
    outputs = {
        "logarithm": lambda: [-gg.mean(gg.log(gg.mean(p, axis=0)))],
        "quotient": lambda: [gg.mean(gg.sum((p - rows) ** 2 / p, axis=1))],
        "output": lambda: [gg.mean(gg.cross_entropy(z, y)), gg.softmax(z)],
        "columns": lambda: [p - rows],
        "exponential": lambda: [p - rows, e],
        "numbers": lambda: [(p - 1e-25) / 1e-25],
    }[kind]()
    gradients = gg.derive(outputs[0]) if not outputs[0].shape else {w: 1.0, v: 1.0}
    updates = {w: w - 0.5 * gradients[w], v: v - 0.5 * gradients[v]}
    made, exact = gg.compile(outputs, updates), gg.compile([*outputs, *updates.values()], exact=True)
    assert HEADLINE not in made.source
    values = {"w": np.eye(2, dtype=np.float32), "v": np.array([[gap, 0, -gap / 8], [0, 0, 0]], np.float32)}
    batch = {"x": np.array([[1, 0.5], [1, 0.25]], np.float32), "y": np.array([0, 1])}
    for name, value in values.items():
        made.state[name] = value
    found = [*made(**batch), *(made.state[name] for name in values)]
    for a, b in zip(found, exact(**batch, **values), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6)
