"""Matrices that lie transposed: the same numbers, fewer products whose second operand alone is a transpose."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.codegen.costs import product_cost
from graphgrad.codegen.program import Program
from graphgrad.errors import CallError
from graphgrad.types import count, size_of

LOSSES = {"mean_squared_error": 3, "cross_entropy": 3, "huber": 3}


def trained(net: gg.Network, n: int, loss: str, **options: Any) -> gg.Trainer:
    generator = np.random.default_rng(0)
    trainer = gg.Trainer(net, gg.Adam(0.01), dtype="float64", **options)
    width = trainer.graph.inputs[0].shape[1]
    for size in (n, n, 5, 1, n):
        x = generator.normal(size=(size, width))
        y = generator.integers(0, 3, size) if loss == "cross_entropy" else generator.normal(size=(size, 3))
        trainer.step(x, y)
    return trainer


def second_alone_transposed(program: Program) -> int:
    """Products x @ y.T, with x as it lies."""

    def turned(id: int) -> bool:
        node = program.node(id)
        return node.operator.name == "transpose"

    products = [program.node(id) for id in program.step if program.node(id).operator.name == "matmul"]
    matrices = [n for n in products if all(len(program.node(i).shape) == 2 for i in n.inputs)]
    return sum(not turned(n.inputs[0]) and turned(n.inputs[1]) for n in matrices)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", "softplus"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_same_parameters_come_out(depth: int, activation: str, loss: str) -> None:
    net = gg.feedforward([6, *[20, 24, 28][: depth - 1], 3], activation=activation, loss=loss)
    turned, written = trained(net, 64, loss), trained(net, 64, loss, exact=True)
    lying = [any(f"z{k}ᵀ" in t.function.program.graph for k in range(1, depth + 1)) for t in (turned, written)]
    assert lying == [depth > 1 or loss == "cross_entropy", False]
    for name, value in written.parameters.items():
        np.testing.assert_allclose(turned.parameters[name], value, rtol=1e-9, atol=1e-12)
    for name, value in written.state.items():
        np.testing.assert_allclose(turned.state[name], value, rtol=1e-8, atol=1e-12)


def test_layers_lie_in_turn_as_written_and_transposed() -> None:
    net = gg.feedforward([96] * 9, activation="tanh", loss="mean_squared_error")
    program = gg.Trainer(net, gg.Adam()).function.program
    lying = [f"z{k}ᵀ" in program.graph for k in range(1, 9)]
    alike = sum(a == b for a, b in pairwise(lying))
    assert alike <= 1  # where one product out of order costs as much as the bias that it takes in
    assert second_alone_transposed(program) == alike == len(program.with_biases) - 1


def test_smaller_layers_take_in_their_biases() -> None:
    """There one product out of order costs less than the two statements that fall away."""
    net = gg.feedforward([64] * 9, activation="tanh", loss="mean_squared_error")
    program = gg.Trainer(net, gg.Adam()).function.program
    assert [f"z{k}ᵀ" in program.graph for k in range(1, 9)] == [False, *[True] * 6, False]
    assert (second_alone_transposed(program), len(program.with_biases)) == (5, 6)


def test_large_products_have_fewer_elements_to_copy() -> None:
    """The BLAS copies them, and one after the other those of a second operand that is a transpose."""

    def copied(program: Program) -> int:
        products = [program.node(id) for id in program.step if program.node(id).operator.name == "matmul"]
        second = [program.node(n.inputs[1]) for n in products if len(n.shape) == 2]
        return sum(size_of(count(n.shape), {"N": 64}) for n in second if n.operator.name == "transpose")

    net = gg.feedforward([784, 512, 512, 512, 512, 10], activation="relu", loss="mean_squared_error")
    turned, written = [copied(gg.Trainer(net, gg.SGD(), exact=e).function.program) for e in (False, True)]
    assert turned < written


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("widths", [[1000, 10], [784, 10], [500, 2]], ids=str)
def test_a_matrix_of_a_few_rows_lies_as_it_is_written(widths: list[int], dtype: str) -> None:
    """Its gradient is then a product with long rows, and z one of long inner products, whatever the batch."""
    assert not gg.Trainer(gg.feedforward(widths, loss="cross_entropy"), dtype=dtype).graph.transposed


def test_a_large_product_of_float64_is_better_wide_and_one_of_float32_tall() -> None:
    tall, wide = (1024, 256, 96), (96, 256, 1024)
    for first in (False, True):
        assert product_cost(*tall, first, False, dtype="float64") > product_cost(*wide, first, False, dtype="float64")
    assert product_cost(*tall, False, False) < product_cost(*wide, False, False)


def test_the_first_batch_decides() -> None:
    """For 64 samples the products are small, for 4,096 large; whoever comes later finds what is there."""
    generator = np.random.default_rng(0)

    def first(n: int) -> gg.Trainer:
        trainer = gg.Trainer(gg.feedforward([64, 64, 64, 2], loss="mean_squared_error"), gg.Adam(), dtype="float64")
        trainer.state = {name: value + (name != "k") for name, value in trainer.state.items()}
        trainer.step(generator.normal(size=(n, 64)), generator.normal(size=(n, 2)))
        return trainer

    small, large = first(64), first(4096)
    assert [second_alone_transposed(t.function.program) for t in (small, large)] == [1, 3]
    assert [len(t.function.program.with_biases) for t in (small, large)] == [2, 1]  # of two outputs, a small product
    source = large.source
    x, y = generator.normal(size=(8, 64)), generator.normal(size=(8, 2))
    large.parameters, large.state = small.parameters, small.state
    assert large.step(x, y) == pytest.approx(small.step(x, y), rel=1e-12)
    assert large.source == source
    for name, value in small.state.items():
        np.testing.assert_allclose(large.state[name], value, rtol=1e-9)


def test_what_the_step_gives_away_lies_as_it_is_written() -> None:
    g = gg.Graph()
    x, W, V = g.input("x", ("N", 32)), g.parameter("W", (32, 32)), g.parameter("V", (32, 32))
    h = gg.tanh(x @ W.T)
    d = gg.derive(gg.mean(gg.tanh(h @ V.T)))
    f = gg.compile([h, d[W]], {V: V - d[V]})
    X = np.random.default_rng(0).normal(size=(16, 32))
    w, v = np.eye(32) * 0.5, np.eye(32)
    f.state["V"] = v
    got, gradient = f(x=X, W=w)
    np.testing.assert_allclose(got, np.tanh(X @ w.T))
    assert got.flags.c_contiguous
    assert gradient.flags.c_contiguous
    want = gg.compile([d[W]], exact=True)(x=X, W=w, V=v)[0]
    np.testing.assert_allclose(gradient, want, rtol=1e-12, atol=1e-15)


def test_lines_and_profiles_know_what_lies_transposed() -> None:
    net = gg.feedforward([32, 32, 32, 3], activation="tanh", loss="cross_entropy")
    trainer = gg.Trainer(net, gg.Adam())
    x, y = np.zeros((16, 32), np.float32), np.zeros(16, np.int64)
    (line,) = trainer.function.lines[trainer.graph.graph["x2"]]
    assert trainer.source.splitlines()[line - 1].strip() in ("tanh(z2_T, x2_T)", "tanh(z2, x2)")
    assert len(trainer.profile(x, y).rows) > 30


def test_a_wrong_label_is_told_in_either_layout() -> None:
    net = gg.feedforward([8, 8, 4], loss="cross_entropy")
    trainer = gg.Trainer(net)
    for label in (-1, 4):
        with pytest.raises(CallError, match="into an axis that is 4 long"):
            trainer.step(np.zeros((3, 8)), [0, label, 1])


def test_steps_of_the_derivation_read_as_they_are_written() -> None:
    """x1 lies transposed: the product that reads its memory the other way round is still one with x1."""
    net = gg.feedforward([96, 96, 96, 96, 10], activation="relu", loss="cross_entropy")
    lines = [line.strip() for line in gg.Trainer(net).source.splitlines()]
    at = lines.index("# W̄2ᵀ = x1_T @ z̄2")
    assert lines[at + 1] == "dot(x1_T, z2_bar, W2_T_bar)"
    assert any(re.fullmatch(r"# v\d+ = W2 @ x1_T", line) for line in lines)

    g = gg.Graph()
    x, U, W = g.input("x", ("N", 32)), g.parameter("U", (32, 32)), g.parameter("W", (32, 32))
    h = gg.tanh(gg.tanh(x @ U.T) @ W.T)
    plain = gg.Trainer(gg.Network(loss=gg.mean(gg.tanh(h @ g.parameter("V", (96, 32)).T)), inputs=[x]))
    program = plain.function.program
    (hidden,) = [n for n in program.turned if program.node(n).operator.name == "tanh"]
    name = plain.function._printed.names[hidden]
    assert re.search(rf"# V̄ = \S+ @ {name}ᵀ$", plain.source, re.MULTILINE)
