"""Products that are vectors, from the side on which nothing of a call is transposed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphgrad as gg


def transposes(source: str) -> list[str]:
    return [line.strip() for line in source.partition("def step")[2].splitlines() if line.rstrip().endswith(".T")]


def test_a_step_transposes_nothing_that_it_is_given() -> None:
    net = gg.feedforward([3, 1], loss="mse")
    free, exact = (gg.Trainer(net, gg.Adam(0.01), dtype="float64", exact=exact) for exact in (False, True))
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(500, 3)), generator.normal(size=(500, 1))
    for _ in range(20):
        assert free.step(x, y) == pytest.approx(exact.step(x, y), rel=1e-12)
    for name, value in exact.parameters.items():
        np.testing.assert_allclose(free.parameters[name], value, rtol=1e-10)
    assert "# W1_bar = z1_bar_T @ x\n" in free.source
    assert not transposes(free.source)
    assert transposes(exact.source) == ["x_T = x.T"], "the test is of something"


@pytest.mark.parametrize(
    ("made", "same"),
    [
        (lambda x, d, w: x.T @ d, False),  # a matrix
        (lambda x, d, w: x.T @ d[:, :1], True),
        (lambda x, d, w: w.T @ d, True),
        (lambda x, d, w: x.T @ w, False),  # of what is given, too, and would be transposed then
        (lambda x, d, w: gg.tanh(x).T @ d[:, :1], False),  # a buffer's transpose is made once
        (lambda x, d, w: x @ (x.T @ d[:, :1]), True),
    ],
    ids=["matrix", "column", "row", "given", "computed", "used"],
)
def test_only_products_of_an_input_that_are_vectors(made: Callable[..., gg.Tensor], same: bool) -> None:
    g = gg.Graph()
    x, w, s = g.input("x", ("N", 3)), g.input("w", ("N", 1)), g.parameter("s", ())
    product = made(x, gg.exp(x), w)
    f, exact = gg.compile([product], {s: s + 1}), gg.compile([product], {s: s + 1}, exact=True)
    f.state["s"] = exact.state["s"] = 0.0
    generator = np.random.default_rng(0)
    values = {"x": generator.normal(size=(7, 3)), "w": generator.normal(size=(7, 1))}
    np.testing.assert_allclose(f(**values)[0], exact(**values)[0], rtol=1e-13)
    assert (transposes(f.source) == []) >= same
    assert (f.source != exact.source) == same


def test_it_keeps_its_name_and_its_node() -> None:
    trainer = gg.Trainer(gg.feedforward([3, 1], loss="mse"), gg.SGD())
    trainer.step(np.ones((500, 3)), np.ones((500, 1)))
    graph, function = trainer.graph.loss.graph, trainer.function
    (step,) = [record for record in graph.records.values() if record.symbol == "W̄1ᵀ"]
    assert step.formula.startswith("xᵀ @ ")
    assert "W1_T_bar = W1_bar.reshape((3, 1))" in function.source
