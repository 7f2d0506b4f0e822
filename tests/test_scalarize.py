"""A tensor graph written out in numbers: the same values, the lecture's names, and sympy's derivative."""

from typing import Any

import numpy as np
import pytest
import sympy as sp

import graphgrad as gg
from graphgrad.errors import GraphgradError

rng = np.random.default_rng(0)


def net(activation: Any = gg.tanh) -> tuple[gg.Graph, gg.Tensor]:
    """The lecture's network of widths 2, 3, 1 with the quadratic loss."""
    g = gg.Graph()
    x, y = g.input("x", ("N", 2)), g.input("y", ("N", 1))
    W1, b1 = g.parameter("W1", (3, 2)), g.parameter("b1", (3,))
    W2, b2 = g.parameter("W2", (1, 3)), g.parameter("b2", (1,))
    h = activation((x @ W1.T + b1).named("z")).named("h")
    return g, gg.mean((h @ W2.T + b2 - y) ** 2).named("L")


def test_the_derivation_of_a_net_is_sympys_derivative() -> None:
    g, loss = net()
    s = gg.scalarize(loss)
    scalar = s.scalar(loss)
    forward = gg.to_sympy(scalar)
    symbols = {t.name: gg.to_sympy(t) for t in s.graph.leaves("parameter")}
    assert list(symbols) == [
        "W1_1_1", "W1_1_2", "W1_2_1", "W1_2_2", "W1_3_1", "W1_3_2", "b1_1", "b1_2", "b1_3",
        "W2_1_1", "W2_1_2", "W2_1_3", "b2_1",
    ]  # fmt: skip
    derivation = gg.derive(scalar)
    for tensor in s.graph.leaves("parameter"):
        derived = gg.to_sympy(derivation[tensor])
        assert sp.expand(derived - sp.diff(forward, symbols[tensor.name])) == 0
    del g


def test_it_is_one_node_for_each_neuron_and_product() -> None:
    g, loss = net(gg.sigmoid)
    s = gg.scalarize(loss)
    kinds = [n.operator.name for n in s.graph.nodes]
    assert kinds.count("multiply") == 3 * 2 + 3
    assert kinds.count("sigmoid") == 3
    # one sum less than products for each neuron, and one for its bias
    assert kinds.count("add") == 3 * (1 + 1) + (2 + 1)
    assert all(n.shape == () for n in s.graph.nodes)
    assert gg.to_sympy(s.graph["h_2"]) == 1 / (1 + sp.exp(-gg.to_sympy(s.graph["z_2"])))
    assert str(gg.to_sympy(s.graph["z_3"])) == "W1_3_1*x_1 + W1_3_2*x_2 + b1_3"
    del g


def test_several_samples_have_an_index() -> None:
    g, loss = net()
    s = gg.scalarize(loss, sizes={"N": 2})
    names = [t.name for t in s.graph.leaves("input")]
    assert names == ["x_1_1", "x_1_2", "x_2_1", "x_2_2", "y_1_1", "y_2_1"]
    assert s[g["x"]].shape == (2, 2)
    assert s[g["W1"]][2, 1] is s.graph["W1_3_2"]


CASES: dict[str, Any] = {
    "broadcasting": lambda x: x * np.array([[1.0, 2.0, 3.0]]) + x[:, :1],
    "views": lambda x: gg.transpose(x)[::-1][1:],
    "sums": lambda x: gg.sum(x, axis=0, keepdims=True) + gg.mean(x, axis=1, keepdims=True),
    "matmul": lambda x: x @ gg.transpose(x),
    "vectors": lambda x: x[0] @ x[1] * (gg.transpose(x) @ x[:, 0]),
    "batches": lambda x: gg.reshape(x, ("N", 1, 3)) @ np.ones((3, 2)),
    "concatenate": lambda x: gg.concatenate([x, x * x], axis=1),
    "pad and take": lambda x: gg.take(gg.pad(x, 1), np.array([3, 0]), axis=1),
    "choice": lambda x: gg.where(x > 0, x, gg.exp(x)),
    "own": lambda x: gg.elementwise("cube", sp.Symbol("t") ** 3)(x),
    "gather and scatter": lambda x: gg.derive(gg.sum(gg.square(gg.take(x, np.array([0, 0, 2]), axis=1))), [x])[x],
    "one_hot": lambda x: x * gg.one_hot(x.graph.input("i", ("N",), "int64"), 3),
    "softmax": lambda x: gg.softmax(x, axis=1),
    "logsumexp": lambda x: gg.logsumexp(x, axis=0),
    "max and min": lambda x: gg.max(x, axis=1) - gg.min(x, axis=(0, 1)),
    "prod": lambda x: gg.prod(x, axis=1),
    "cumsum": lambda x: gg.cumsum(x, axis=1),
    "einsum": lambda x: gg.einsum("ij,kj->ik", x, x),
    "cross_entropy": lambda x: gg.cross_entropy(gg.sum(x, axis=0, keepdims=True), np.array([1])),
    "cross_entropy of given labels": lambda x: gg.cross_entropy(x, x.graph.input("i", ("N",), "int64")),
    "a gradient": lambda x: gg.derive(gg.sum(gg.softmax(x, axis=1) ** 2), [x])[x],
}


@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_the_graph(name: str) -> None:
    g = gg.Graph()
    x = g.input("x", ("N", 3))
    y = CASES[name](x)
    n = 2
    array = rng.normal(size=(n, 3))
    at: dict[str, Any] = {"x": array}
    if "i" in g:
        at["i"] = np.array([2, 0])
    wanted = gg.evaluate(y, **at)
    s = gg.scalarize(y, sizes={"N": n})
    assert s[y].shape == wanted.shape
    by_name = {}
    for leaf, entries in s.items():
        if leaf.name in at:
            by_name |= {t.name: at[leaf.name][index] for index, t in np.ndenumerate(entries)}
    needed = {t.name for kind in ("input",) for t in s.graph.leaves(kind)}
    got = gg.evaluate(list(s[y].reshape(-1)), **{k: v for k, v in by_name.items() if k in needed})
    np.testing.assert_allclose(np.reshape(got, wanted.shape), wanted, rtol=1e-13, atol=1e-15)
    assert all(t.dtype == y.dtype for t in s[y].reshape(-1))


def test_a_whole_graph_is_written_out_from_its_ends() -> None:
    g = gg.Graph()
    x = g.parameter("x", (2,), "float32")
    one, two = gg.exp(x), gg.sum(x)
    s = gg.scalarize(g)
    assert list(s) == [x, one, two]
    assert s[one][0].dtype == "float32"
    assert len(s) == 3
    assert repr(s) == "<scalarized: x (2,), v1 (2,), v2 (); 5 nodes>"
    assert s.scalar(two) is s.graph["x_1"] + s.graph["x_2"]


def test_what_cannot_be_written_out() -> None:
    g = gg.Graph()
    i = g.input("i", ("N",), "int64")
    x = g.input("x", (3,))
    with pytest.raises(
        GraphgradError,
        match=r"^scalarize cannot write out v\d+ = \w+ .*: which entry it takes depends on \w+, which is no constant$",
    ):
        gg.scalarize(gg.scatter_add(g.input("v", ("N",)), i, (3,)))
    big = g.input("big", ("K", 1000))
    with pytest.raises(
        GraphgradError, match=r"^big = input \(made at .*\) has 1000000 entries: scalarize is for small graphs$"
    ):
        gg.scalarize(gg.exp(big), sizes={"K": 1000})
    a = g.input("a", (100, 100))
    with pytest.raises(
        GraphgradError, match=r"^v\d+ = matmul \(made at .*\) has over 100000 products: scalarize is for small graphs$"
    ):
        gg.scalarize(a @ a)
    with pytest.raises(GraphgradError, match=r"^scalarize was given nothing to write out$"):
        gg.scalarize([])
    with pytest.raises(GraphgradError, match=r"^scalarize takes tensors of one graph$"):
        gg.scalarize([x, gg.Graph().input("x")])
    with pytest.raises(GraphgradError, match=r"^x has 3 entries; scalar takes a tensor of one$"):
        gg.scalarize(x).scalar(x)
