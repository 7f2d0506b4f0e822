"""Biases as rows of their matrices: the same numbers by fewer statements, and ones that stay ones."""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import graphgrad as gg
from graphgrad.codegen import layout
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
    assert "# Of W1_T_b1, W2_T_b2, W3_T_b3 the last row is the bias" in joined.source
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


@pytest.mark.parametrize(
    ("widths", "layers"), [([3, 1, 2], 2), ([2, 4, 1, 3], 3), ([2, 4, 1, 1, 3], 3), ([1, 1, 1], 0), ([3, 1, 1], 1)]
)
@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_a_hidden_layer_of_one_unit(widths: list[int], layers: int, loss: str) -> None:
    """Its column lies the same either way, and nothing of it is copied to have ones below. With one output besides, its
    product makes multiples, and goes without."""
    net = gg.feedforward(widths, activation="tanh", loss=loss)
    joined, apart = (gg.Trainer(net, gg.Adam(0.02), dtype="float64", exact=e) for e in (False, True))
    for n in (2, 7, 2, 1, 2):
        x, y = batch(widths, loss, n)
        assert joined.step(x, y) == pytest.approx(apart.step(x, y), rel=1e-9)
    assert len(joined.function.program.with_biases) == layers
    assert statements(joined.function.program)["reshape"] == 0
    for name, value in apart.parameters.items():
        np.testing.assert_allclose(joined.parameters[name], value, rtol=1e-8, atol=1e-12)


def test_the_bias_of_one_sample_is_a_matrix_as_its_result() -> None:
    """NumPy adds matrices of one shape in a third of the time that it takes to broadcast one."""
    for samples, row in ((1, True), (2, False)):
        net = gg.feedforward([1, 4], loss="mse")
        with mock.patch.object(layout, "joins_bias", return_value=False):
            made, exact = (gg.Trainer(net, gg.SGD(), dtype="float64", exact=e) for e in (False, True))
            for n in (samples, 5, samples):
                assert made.step(*batch([1, 4], "mse", n)) == pytest.approx(exact.step(*batch([1, 4], "mse", n)))
        assert ("b1_row = b1[None]" in made.source) == row
        assert (", b1_row, z1)" in made.source) == row


def test_large_products_keep_their_sums() -> None:
    net = gg.feedforward([300, 400, 300, 300], activation="relu", loss="mse")
    made = gg.Trainer(net, gg.SGD(), dtype="float32")
    made.step(*batch([300, 400, 300, 300], "mse", 256))
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
        # one number is no row, neither at the end of the vector nor before other parameters
        (lambda g, x, W, b: gg.mean(gg.tanh(x @ W.T + b)), {"W": (4, 3), "b": (1,)}, 0),
        (lambda g, x, W, b, c: gg.mean(gg.tanh(x @ W.T + b) * c), {"W": (4, 3), "b": (1,), "c": (4,)}, 0),
        (lambda g, x, W, b, c: gg.mean(gg.tanh(x @ W.T + b) * c), {"W": (1, 3), "b": (1,), "c": (4,)}, 1),
        # the bias is added once more, elsewhere
        (lambda g, x, W, b: gg.mean(gg.tanh(x @ W.T + b) + b), LAYER, 1),
        # the input has a name that the ones would like, and so has the bias
        (lambda g, x, W, b: gg.mean(gg.tanh((x * 2).named("x_ones") @ W.T + b)), LAYER, 1),
        (lambda g, x, W, b: gg.mean(gg.tanh(x @ W.T + b).named("x_ones")), LAYER, 1),
        (lambda g, x, W, b: gg.mean(gg.tanh(x @ W.T + b).named("Wᵀ_b")), LAYER, 1),
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
    for name in ("b1", "b2", "W1ᵀ"):  # W2ᵀ has a line of its own, since the gradient by x1 reads it
        (line,) = made.function.lines[graph[name]]
        assert source[line - 1].startswith("W1_T_b1 = " if "1" in name else "W2_T_b2 = ")
    (line,) = made.function.lines[graph["z2"]]
    assert source[line - 1].strip() == "dot(x1_ones, W2_T_b2, z2)"
    profile = made.profile(*batch([4, 8, 3], "mse", 6))
    assert graph["z2"].id in profile.by_node


ACTIVATIONS = [gg.tanh, gg.relu, gg.sigmoid, gg.softplus, gg.square]


@st.composite
def networks(draw: st.DrawFn) -> gg.Network:
    """Layers, of which some look as if their bias could enter the product: biases of one number or before their matrix,
    products that are read twice, matrices the other way round, shared ones, residuals."""
    g = gg.Graph()
    x = g.input("x", ("N", draw(st.integers(1, 4))))
    values, matrices = [x], []
    for k in range(draw(st.integers(1, 4))):
        h = draw(st.sampled_from(values))
        n, m = draw(st.integers(1, 4)), h.shape[1]
        widths, order = draw(st.sampled_from([(n,), (n,), (n,), (1,), ()])), draw(st.integers(0, 4)) == 0
        b = g.parameter(f"b{k}", widths) if order and widths else None
        upright = draw(st.integers(0, 3)) > 0
        W = g.parameter(f"W{k}", (n, m) if upright else (m, n))
        b = g.parameter(f"b{k}", widths) if widths and b is None else b
        known = [V for V in matrices if V.shape[1] == m]
        if known and draw(st.integers(0, 3)) == 0:
            W, upright = draw(st.sampled_from(known)), True
            b = b if widths == (1,) or b is None or b.shape == W.shape[:1] else None
        if upright:
            matrices.append(W)
        product = h @ (W.T if upright else W)
        z = product if b is None else product + b if draw(st.booleans()) else b + product
        y = draw(st.sampled_from(ACTIVATIONS))(z)
        y = y + product if draw(st.integers(0, 5)) == 0 else y
        y = y + h if y.shape == h.shape and draw(st.booleans()) else y
        values.append(y)
    rest = sum([gg.mean(gg.square(v)) for v in values[1:] if draw(st.booleans())], start=gg.mean(values[-1]))
    return gg.Network(loss=rest, inputs=[x])


@settings(max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(networks(), st.lists(st.integers(1, 9), min_size=2, max_size=4), st.sampled_from([gg.SGD(0.01), gg.Adam(0.01)]))
def test_random_networks_train_as_without(net: gg.Network, sizes: list[int], optimizer: Any) -> None:
    made, apart = (gg.Trainer(net, optimizer, dtype="float64", exact=e, seed=1) for e in (False, True))
    event("joined" if made.function.program.with_biases else "apart")
    for n in (*sizes, *sizes):
        x = np.random.default_rng(n).normal(size=(n, net.inputs[0].shape[1])) / 2  # type: ignore[arg-type]
        assert made.step(x) == pytest.approx(apart.step(x), rel=1e-7, abs=1e-9)
    for name, value in apart.parameters.items():
        np.testing.assert_allclose(made.parameters[name], value, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("widths", "n", "beside_ones"),
    [
        ([31, 4], 512, True),
        ([31, 4], 2000, False),
        ([31, 16], 512, True),
        ([8, 64], 2000, True),  # a product that is no longer small
        ([2, 1], 64, True),
        ([2, 1], 128, False),  # where the bias is a number, and rows are copied one by one
        ([1, 1], 512, False),  # multiples of an array are less than products
        ([1, 1], 1, True),
        ([1, 4], 1, False),
        ([1, 4], 2, True),
        ([300, 4], 512, False),
    ],
)
def test_an_input_goes_beside_ones_where_that_costs_less_than_the_bias(
    widths: list[int], n: int, beside_ones: bool
) -> None:
    net = gg.feedforward(widths, loss="mse")
    made, exact = (
        gg.Trainer(net, gg.SGD(0.1), dtype="float64"),
        gg.Trainer(net, gg.SGD(0.1), dtype="float64", exact=True),
    )
    x, y = batch(widths, "mse", n)
    for t in (made, exact):
        t.step(x, y)
    assert ("x_ones_part[...] = x" in made.source) == beside_ones
    for name, value in exact.parameters.items():
        np.testing.assert_allclose(made.parameters[name], value, rtol=1e-12, atol=1e-14)


def test_an_input_beside_ones_has_memory_of_its_own() -> None:
    """From the first statement of a step to the last, since the ones are not written again. Nothing else has."""
    net = gg.feedforward([4, 8, 8, 3], activation="tanh", loss="mse")
    made = gg.Trainer(net, gg.SGD())
    program = made.function.program
    (beside,) = program.lasting
    whole = [
        program.graph.label(id) for id, s in program.storages.items() if s.born == 0 and s.dies == len(program.step)
    ]
    assert "x_ones" in whole
    assert not {"x1_and_ones", "x2_and_ones"} & {*whole}
    assert program.graph.label(beside) == "x_ones"
    assert made.source.count("x_ones[:, 4:5].fill(1.0)") == 1
    assert "x_ones[:, 4:5].fill(1.0)" not in made.source[made.source.index("def step") :]
    for n in (3, 3, 6, 3):
        made.step(*batch([4, 8, 8, 3], "mse", n))
        memory = made.function._latest.names["x_ones"]  # type: ignore[union-attr]
        np.testing.assert_array_equal(memory[:, 4], 1.0)


def test_other_concatenations_do_not_last() -> None:
    """A row of constants below a large value does not keep its memory."""
    g = gg.Graph()
    h = g.input("h", ("N", 100))
    for k in range(6):
        h = gg.tanh(gg.concatenate([h, g.constant(np.full((1, 100), k + 0.5))])) * 2
    f = gg.compile([gg.sum(h)])
    assert f.workspace_bytes(N=10_000) < 3 * 8 * 100 * 10_006
    X = np.random.default_rng(0).normal(size=(5, 100))
    want = X
    for k in range(6):
        want = np.tanh(np.concatenate([want, np.full((1, 100), k + 0.5)])) * 2
    for _ in range(3):
        np.testing.assert_allclose(f(h=X)[0], np.sum(want), rtol=1e-12)


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
    order = {id: position for position, id in enumerate(program.step)}
    over = [id for id, (pack, _) in program.placed.items() if order[id] > order[pack]]
    assert [program.node(id).operator.name for id in over] == [
        "multiply",
        "subtract",
    ] * 2  # x², and then 1 - x², over x
    mish = gg.feedforward([4, 8, 8, 3], activation="mish", loss="mse")
    program = gg.Trainer(mish, gg.SGD()).function.program
    assert {program.graph.label(id) for id in program.placed}.isdisjoint({"z1ᵀ", "z2ᵀ"})  # which is needed again
