"""Masks become numbers by a statement of their own, where they are small, and products stay what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.codegen.masks import SMALL


def conversions(f: Any) -> int:
    program = f.program
    made = [program.node(id) for id in program.step if program.node(id).operator.name == "cast"]
    return len([n for n in made if program.node(n.inputs[0]).dtype == "bool"])


def step(outputs: list[gg.Tensor]) -> Any:
    """A function with an update: of others all is as it is written."""
    calls = outputs[0].graph.state("calls", weak=True)
    return gg.compile(outputs, updates={calls: calls + 1})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_with_masks_have_the_same_bits(dtype: str) -> None:
    g = gg.Graph()
    x, y = g.input("x", ("N", 5), dtype), g.input("y", ("N", 5), dtype)
    outputs = [y * (x > 0), (x > 0) * (y + 1), (x < y) * gg.exp(x)]
    f = step(outputs)
    assert conversions(f) == 2  # of two masks; the first is in two products
    values = np.random.default_rng(1).normal(size=(2, 4, 5)).astype(dtype)
    values[0, 0] = [np.nan, np.inf, -np.inf, 0.0, -0.0]
    values[1, 0] = [np.inf, np.nan, np.inf, np.inf, -1.0]
    values[1, 1] = [np.inf, np.nan, -np.inf, -0.0, 0.0]
    with np.errstate(invalid="ignore"):
        found, wanted = f(x=values[0], y=values[1]), gg.evaluate(outputs, x=values[0], y=values[1])
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a.view(f"i{a.itemsize}")[~np.isnan(a)], b.view(f"i{b.itemsize}")[~np.isnan(b)])
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))


def test_large_masks_and_spread_ones_stay() -> None:
    g = gg.Graph()
    x, row = g.input("x", ("N", 8)), g.input("row", (8,))
    assert conversions(step([x * (row > 0), row[0] * (x > 0)])) == 0
    f = step([x * (x > 0)])
    for n, made in ((SMALL // 8, 1), (SMALL // 8 + 1, 0), (3, 0)):  # later calls keep what suited the first
        f = f if n == 3 else step([x * (x > 0)])
        value = np.random.default_rng(n).normal(size=(n, 8))
        np.testing.assert_array_equal(f(x=value)[0], np.where(value > 0, value, value * 0))
        assert conversions(f) == made


def test_an_exact_step_is_as_it_is_written() -> None:
    net = gg.feedforward([3, 4, 2], activation="relu", loss="mse")
    x, y = np.ones((5, 3)), np.ones((5, 2))
    trainers = [gg.Trainer(net, gg.SGD(0.1), exact=exact) for exact in (False, True)]
    for t in trainers:
        t.step(x, y)
    assert [conversions(t.function) for t in trainers] == [1, 0]
    owners = [row.node for row in trainers[0].profile(x, y).rows]
    assert -1 not in owners  # the conversion's time is that of the product which it is made for
