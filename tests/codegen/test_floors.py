"""Exponentials far below the largest: no subnormal numbers in a step, and nothing else is changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.codegen.floors import FLOOR


def trainer(dtype: str = "float32", **options: Any) -> gg.Trainer:
    return gg.Trainer(gg.feedforward([2, 3], loss="cross_entropy"), gg.SGD(0.1), dtype=dtype, **options)


def sure_of(made: gg.Trainer, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Parameters for which the first class is ahead of the others by the gap and twice the gap, and a batch."""
    W = np.array([[gap, 0], [0, 0], [-gap, 0]])
    made.parameters = {"W1": W, "b1": np.zeros(3)}
    return np.array([[1, 0.5], [1, -0.5]], made.dtype), np.array([0, 0])


def test_only_steps_in_float32_have_a_floor() -> None:
    plain = gg.compile([trainer().net.loss])
    for source, there in (
        (trainer().source, True),
        (trainer("float64").source, False),
        (trainer(exact=True).source, False),
        (plain.source, False),
    ):
        assert (f"{FLOOR:g})" in source) == there
        assert ("Exponents end at -64" in source) == there


@pytest.mark.parametrize("gap", [45.0, 90.0, 95.0, 200.0])
def test_no_number_of_a_step_is_subnormal(gap: float) -> None:
    made, exact = trainer(), trainer(exact=True)
    x, y = sure_of(made, gap)
    sure_of(exact, gap)
    assert made.step(x, y) == exact.step(x, y)
    after = made.parameters
    for name, value in exact.parameters.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-6, atol=1e-28)
    names = made.function._latest.names  # type: ignore[union-attr]
    gradient = next(v for k, v in names.items() if k.startswith("z1") and "bar" in k)
    size = np.abs(gradient[gradient != 0])
    assert size.size
    assert size.min() > 1e-30
    tiny = np.abs(exact.function._latest.names["z1_bar"])  # type: ignore[union-attr]
    assert (gap != 90) | ((tiny > 0) & (tiny < np.finfo(np.float32).tiny)).any(), "the test is of something"


def test_the_loss_of_a_label_that_is_far_behind_is_not_cut_off() -> None:
    made = trainer()
    x, y = sure_of(made, 150.0)
    assert made.step(x, y + 2) == 300.0
    np.testing.assert_allclose(made.parameters["W1"][:, 0], [149.9, 0, -149.9], rtol=1e-6, atol=1e-20)


def test_what_is_infinitely_far_behind_weighs_nothing() -> None:
    g = gg.Graph()
    mask, w, y = g.input("mask", ("N", 3), "float32"), g.parameter("w", (3,), "float32"), g.input("y", ("N",), "int64")
    loss = gg.mean(gg.cross_entropy(w + mask, y))
    made = gg.compile([loss], {w: w - 0.5 * gg.derive(loss)[w]})
    made.state["w"] = np.array([0.0, 1.0, 2.0], np.float32)
    (value,) = made(mask=np.array([[0, 0, -np.inf]], np.float32), y=np.array([0]))
    p = 1 / (1 + np.e)
    np.testing.assert_allclose(value, -np.log(p), rtol=1e-6)
    np.testing.assert_allclose(made.state["w"], [0.5 * (1 - p), 1 - 0.5 * (1 - p), 2.0], rtol=1e-6)
