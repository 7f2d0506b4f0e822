"""Biases as rows of their matrices: the same numbers by fewer statements, and ones that stay ones."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.codegen.program import Program


def statements(program: Program) -> Counter[str]:
    return Counter(program.node(id).operator.name for id in program.step if program.roles[id] == "call")


def batch(widths: list[int], loss: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(n)
    y = generator.integers(0, widths[-1], n) if loss == "cross_entropy" else generator.normal(size=(n, widths[-1]))
    return generator.normal(size=(n, widths[0])), y


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_small_layers_have_no_sums_of_biases(loss: str) -> None:
    widths = [4, 8, 8, 3]
    net = gg.feedforward(widths, activation="tanh", loss=loss)
    joined, apart = gg.Trainer(net, gg.SGD()), gg.Trainer(net, gg.SGD(), exact=True)
    less = statements(apart.function.program) - statements(joined.function.program)
    assert less["add"] == 3  # h @ W + b
    assert less["sum"] >= 3  # of the rows of z̄
    assert len(joined.function.program.with_biases) == 3
    assert "# The last row of W1_T_b1, W2_T_b2, W3_T_b3 is a bias" in joined.source
    assert "W1_T_b1" not in apart.source


@pytest.mark.parametrize("optimizer", [gg.SGD(0.1), gg.Momentum(0.05), gg.Adam(0.02)])
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", "sigmoid", "elu"])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "huber"])
def test_the_same_training_comes_out(activation: str, loss: str, optimizer: Any) -> None:
    """For batches of sizes that alternate, so that each workspace meets its ones again."""
    widths = [5, 9, 7, 3]
    net = gg.feedforward(widths, activation=activation, loss=loss)
    joined, apart = (gg.Trainer(net, optimizer, dtype="float64", exact=e) for e in (False, True))
    assert joined.function.program.with_biases
    for n in (16, 16, 5, 16, 1, 5, 33, 16):
        x, y = batch(widths, loss, n)
        assert joined.step(x, y) == pytest.approx(apart.step(x, y), rel=1e-9)
    for name, value in apart.parameters.items():
        np.testing.assert_allclose(joined.parameters[name], value, rtol=1e-8, atol=1e-12)
    for name, value in apart.state.items():
        np.testing.assert_allclose(joined.state[name], value, rtol=1e-7, atol=1e-12)


def test_large_products_keep_their_sums() -> None:
    net = gg.feedforward([300, 400, 300, 10], activation="relu", loss="mse")
    made = gg.Trainer(net, gg.SGD(), dtype="float32")
    made.step(*batch([300, 400, 300, 10], "mse", 256))
    assert made.function.program.with_biases == ()
    assert statements(made.function.program)["concatenate"] == 0


def network(loss_of: Any, shapes: dict[str, tuple[int, ...]]) -> gg.Network:
    g = gg.Graph()
    x = g.input("x", ("N", 3))
    return gg.Network(loss=loss_of(g, x, *[g.parameter(name, shape) for name, shape in shapes.items()]), inputs=[x])


LAYER = {"W": (4, 3), "b": (4,)}


@pytest.mark.parametrize(
    ("loss_of", "shapes", "joined"),
    [
        (lambda g, x, W, b: gg.mean(gg.tanh(x @ W.T + b)), LAYER, 1),
        (lambda g, x, W, b: gg.mean(gg.tanh(b + x @ W.T)), LAYER, 1),
        # b does not follow W in theta
        (lambda g, x, b, W: gg.mean(gg.tanh(x @ W.T + b)), {"b": (4,), "W": (4, 3)}, 0),
        (lambda g, x, W, c, b: gg.mean(gg.tanh(x @ W.T + b) + c), {"W": (4, 3), "c": (4,), "b": (4,)}, 0),
        # the product is needed without its bias too
        (lambda g, x, W, b: gg.mean(gg.tanh(x @ W.T + b) + x @ W.T), LAYER, 0),
        # W does not lie so that b is a further row
        (lambda g, x, W, b: gg.mean(gg.tanh(x @ W.T + b)) + gg.sum(W @ W.T), LAYER, 0),
        # a bias for each sample is no row
        (lambda g, x, W, b: gg.mean(gg.tanh((x @ W.T).T + b).T), {"W": (4, 3), "b": (1,)}, 0),
        # what looks like a bias is added twice, or to something else
        (lambda g, x, W, b: gg.mean(gg.tanh(x @ W.T + b) + b), LAYER, 1),
        # the input has a name that the ones would like, and so has the bias
        (lambda g, x, W, b: gg.mean(gg.tanh((x * 2).named("x_1") @ W.T + b)), LAYER, 1),
        (lambda g, x, W, b: gg.mean(gg.tanh(x @ W.T + b).named("x_1")), LAYER, 1),
        (lambda g, x, W, b: gg.mean(gg.tanh(x @ W.T + b).named("column_of_ones")), LAYER, 1),
    ],
)
def test_where_a_bias_enters_a_product(loss_of: Any, shapes: dict[str, tuple[int, ...]], joined: int) -> None:
    net = network(loss_of, shapes)
    made, apart = (gg.Trainer(net, gg.Adam(0.1), dtype="float64", exact=e) for e in (False, True))
    assert len(made.function.program.with_biases) == joined
    for n in (7, 2, 7):
        x = np.random.default_rng(n).normal(size=(n, 3))
        assert made.step(x) == pytest.approx(apart.step(x), rel=1e-10)
    for name, value in apart.parameters.items():
        np.testing.assert_allclose(made.parameters[name], value, rtol=1e-8, atol=1e-12)


def test_two_layers_share_their_ones() -> None:
    def loss_of(g: Any, x: Any, W: Any, b: Any, V: Any, c: Any) -> Any:
        return gg.mean(gg.tanh(x @ W.T + b) * gg.sigmoid(x @ V.T + c))

    net = network(loss_of, {**LAYER, "V": (4, 3), "c": (4,)})
    made, apart = (gg.Trainer(net, gg.SGD(0.5), dtype="float64", exact=e) for e in (False, True))
    assert len(made.function.program.with_biases) == 2
    assert statements(made.function.program)["concatenate"] == 1
    for _ in range(3):
        x = np.random.default_rng(1).normal(size=(6, 3))
        assert made.step(x) == pytest.approx(apart.step(x), rel=1e-12)


def test_values_and_lines_of_what_is_joined_are_found() -> None:
    net = gg.feedforward([4, 8, 3], activation="tanh", loss="mse")
    made = gg.Trainer(net, gg.SGD())
    graph = made.graph.graph
    source = made.source.splitlines()
    d = made.graph.derivation
    for name in ("W2", "b2"):
        gradient = d[made.graph.parameters[name]] if name == "b2" else d[graph["W2ᵀ"]]
        (line,) = made.function.lines[gradient]
        assert source[line - 1].strip().endswith("W2_T_b2_bar)")
    (line,) = made.function.lines[graph["z2"]]
    assert source[line - 1].strip() == "dot(x1_1, W2_T_b2, z2)"
    profile = made.profile(*batch([4, 8, 3], "mse", 6))
    assert graph["z2"].id in profile.by_node


# -- constants in concatenations ---------------------------------------------------------------------------------------


def test_constant_parts_of_a_concatenation_are_written_once() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N", 2)), g.parameter("w", (5,))
    whole = gg.concatenate([g.constant(np.full((3, 2), 7.0)), x], axis=0)
    y = gg.concatenate([whole, gg.broadcast_to(g.constant(np.ones(2)), whole.shape), whole * 2], axis=1)[:, :5]
    f = gg.compile([gg.sum(gg.tanh(y) * w)])
    step = f.source[f.source.index("def step") :]
    assert step.count("copyto") < f.source.count("copyto(")
    for n in (2, 4, 2, 3, 2):
        X = np.random.default_rng(n).normal(size=(n, 2))
        W = np.random.default_rng(n + 1).normal(size=5)
        rows = np.concatenate([np.full((3, 2), 7.0), X])
        want = np.sum(np.tanh(np.concatenate([rows, np.ones_like(rows), rows * 2], axis=1)[:, :5]) * W)
        np.testing.assert_allclose(f(x=X, w=W)[0], want, rtol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3), (4, 3)])
def test_what_is_computed_over_it_does_not_spoil_the_next_call(shape: tuple[int, int]) -> None:
    """tanh would fit into the memory of the concatenation, which dies with it."""
    g = gg.Graph()
    x = g.input("x", ("N", 3))
    f = gg.compile([gg.tanh(gg.concatenate([x, g.constant(np.full((1, 3), 0.5))]))], copy=False)
    for k in range(3):
        X = np.full(shape, float(k))
        (got,) = f(x=X)
        np.testing.assert_allclose(got, np.tanh(np.concatenate([X, np.full((1, 3), 0.5)])))
        got[...] = -1.0  # a caller may write into what is returned


def test_what_a_caller_gets_is_made_anew_each_call() -> None:
    g = gg.Graph()
    x = g.input("x", (2,))
    f = gg.compile([gg.concatenate([x, g.constant(np.array([5.0]))])], copy=False)
    for _ in range(2):
        (got,) = f(x=[1.0, 2.0])
        assert got.tolist() == [1.0, 2.0, 5.0]
        got[...] = 0.0


def test_a_new_value_that_is_a_concatenation_leaves_the_old_one_alone() -> None:
    g = gg.Graph()
    s = g.state("s", (3,))
    f = gg.compile([gg.sum(s)], {s: gg.concatenate([s[1:] * 2, g.constant(np.array([1.0]))])})
    f.state["s"] = [1.0, 2.0, 4.0]
    assert [float(f()[0]) for _ in range(4)] == [7.0, 13.0, 19.0, 7.0]


def test_what_comes_before_it_does_not_take_its_memory() -> None:
    g = gg.Graph()
    x, w, v = g.input("x", ("N", 3)), g.parameter("w", (3, 9)), g.parameter("v", (9, 3))
    c = gg.concatenate([gg.tanh(x @ w) @ v, g.constant(np.full((2, 3), 0.5))])
    f = gg.compile([gg.sum(c * c)])
    X, W, V = (np.random.default_rng(k).normal(size=shape) for k, shape in enumerate([(4, 3), (3, 9), (9, 3)]))
    want = np.sum((np.tanh(X @ W) @ V) ** 2) + 6 * 0.25
    for _ in range(3):
        assert float(f(x=X, w=W, v=V)[0]) == pytest.approx(want, rel=1e-12)


def test_inside_of_a_vector_it_is_written_whole() -> None:
    """The vector's memory is not its own: what was there before goes over its constants."""
    g = gg.Graph()
    x, w, v = g.input("x", ("N", 3)), g.parameter("w", (3, 9)), g.parameter("v", (9, 3))
    whole = gg.pack([gg.concatenate([gg.tanh(x @ w) @ v, g.constant(np.full((2, 3), 0.5))]), x * x])
    f = gg.compile([gg.sum(whole * whole)])
    X, W, V = (np.random.default_rng(k).normal(size=shape) for k, shape in enumerate([(4, 3), (3, 9), (9, 3)]))
    want = np.sum((np.tanh(X @ W) @ V) ** 2) + 6 * 0.25 + np.sum(X**4)
    for _ in range(3):
        assert float(f(x=X, w=W, v=V)[0]) == pytest.approx(want, rel=1e-12)


def test_a_layer_is_computed_where_its_ones_are_waiting() -> None:
    """z lies in the place of φ(z): over it goes the activation, and nothing is copied."""
    net = gg.feedforward([4, 8, 8, 3], activation="tanh", loss="mse")
    program = gg.Trainer(net, gg.SGD()).function.program
    assert {"z1ᵀ", "x1ᵀ", "z2ᵀ", "x2ᵀ"} <= {program.graph.label(id) for id in program.placed}
    gelu = gg.feedforward([4, 8, 8, 3], activation="gelu", loss="mse")
    program = gg.Trainer(gelu, gg.SGD()).function.program
    assert {program.graph.label(id) for id in program.placed}.isdisjoint({"z1ᵀ", "z2ᵀ"})  # which is needed again
