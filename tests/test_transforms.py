"""Forward mode, second order and Jacobians, each against the reverse mode or differences."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.derive import UnusedParameterWarning
from graphgrad.errors import DerivativeError
from graphgrad.operator import OPERATORS, Operator

rng = np.random.default_rng(0)


def away(*shape: int) -> Any:
    """Distinct numbers between 0.3 and 0.9: in every operator's domain, on no kink."""
    n = int(np.prod(shape))
    return (0.3 + 0.6 * rng.permutation(n) / max(n, 1)).reshape(shape)


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "broadcasting": (lambda x, y: x * y + x / y, (away(3, 1), away(4))),
    "matmul": (lambda x, y: x @ y, (away(2, 3), away(3, 2))),
    "matmul twice the same": (lambda x: x @ x, (away(3, 3),)),
    "matmul of a vector": (lambda x, y: x @ y, (away(3), away(2, 3, 2))),
    "views": (lambda x: gg.reshape(gg.transpose(x), (2, 3))[:, ::-1][0], (away(3, 2),)),
    "sums": (lambda x: gg.sum(x, axis=0) + gg.mean(x, axis=(0, 1)), (away(3, 2),)),
    "concatenate": (lambda x, y: gg.concatenate([x, y, x * y], axis=0), (away(2), away(2))),
    "concatenate with a constant": (lambda x: gg.concatenate([x, np.ones(2)], axis=0), (away(2),)),
    "pad": (lambda x: gg.pad(x, 1, 7.0), (away(2),)),
    "take": (lambda x: gg.take(x, np.array([2, 0, 2])), (away(3),)),
    "where": (lambda x, y: gg.where(x > 0.5, x, y), (away(4), away(4))),
    "maximum": (lambda x, y: gg.maximum(x, y), (away(2, 2), away(2, 1))),
    "power": (lambda x, y: x**y + x**3, (away(3), away(3))),
    "mish by definition": (lambda x: gg.mish(x), (away(3),)),
    "own operator": (lambda x, y: own("gate", "x/(1 + exp(-x*y))")(x, y), (away(3), away())),
    "cast": (lambda x: gg.cast(gg.cast(x, "float32") * 2, "float64"), (away(3),)),
    "pack": (lambda x, y: OPERATORS["pack"]([x, y]), (away(2, 2), away(3))),
    "softmax": (lambda x: gg.softmax(x, axis=1), (away(2, 3),)),
    "logsumexp": (lambda x: gg.logsumexp(x, axis=0), (away(2, 3),)),
    "max": (lambda x: gg.max(x, axis=0), (away(3, 2),)),
    "prod": (lambda x: gg.prod(x, axis=1), (away(2, 3),)),
    "norm": (lambda x: gg.norm(x), (away(4),)),
    "cumsum": (lambda x: gg.cumsum(x, axis=0), (away(3, 2),)),
    "einsum": (lambda x, y: gg.einsum("ij,jk->ik", x, y), (away(2, 3), away(3, 2))),
    "cross_entropy": (lambda x: gg.cross_entropy(x, np.array([0, 2])), (away(2, 3),)),
    "loss": (lambda x: gg.mean((gg.tanh(x @ np.eye(2)) - 0.1) ** 2), (away(3, 2),)),
}


def own(name: str, expr: str) -> Operator:
    import sympy as sp

    return gg.elementwise(name, sp.sympify(expr))


@pytest.mark.parametrize("name", CASES)
def test_forward_mode_is_the_transpose_of_reverse_mode(name: str) -> None:
    """⟨ū, J t⟩ = ⟨Jᵀ ū, t⟩, and J t is the difference quotient."""
    build, arrays = CASES[name]
    g = gg.Graph()
    leaves = [g.parameter(f"x{k}", np.shape(a)) for k, a in enumerate(arrays)]
    tangents = [g.input(f"t{k}", np.shape(a)) for k, a in enumerate(arrays)]
    y = build(*leaves)
    moved = gg.jvp(y, dict(zip(leaves, tangents, strict=True)))
    assert (moved.shape, moved.dtype) == (y.shape, y.dtype)
    u = g.input("u", y.shape)
    point = {f"x{k}": a for k, a in enumerate(arrays)}
    direction = {f"t{k}": rng.normal(size=np.shape(a)) for k, a in enumerate(arrays)}
    weights = {"u": rng.normal(size=y.shape)}
    d = gg.derive(gg.sum(y * u))
    forward, *gradients = gg.evaluate([moved, *[d[x] for x in leaves]], **point, **direction, **weights)
    backward = sum(np.sum(a * b) for a, b in zip(gradients, direction.values(), strict=True))
    assert np.sum(weights["u"] * forward) == pytest.approx(backward, rel=1e-6 if name == "cast" else 1e-12)
    if name != "cast":
        h = 1e-6
        ends = [gg.evaluate(y, **{k: a + s * h * direction[f"t{k[1:]}"] for k, a in point.items()}) for s in (1, -1)]
        np.testing.assert_allclose(forward, (ends[0] - ends[1]) / (2 * h), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["softmax", "prod", "norm", "logsumexp"])
def test_forward_mode_can_be_derived(name: str) -> None:
    build, (array,) = CASES[name]
    g = gg.Graph()
    x = g.parameter("x", np.shape(array))
    t = rng.normal(size=np.shape(array))
    moved = gg.sum(gg.square(gg.jvp(build(x), {x: t})))
    report = gg.check(moved, values={"x": array})
    assert report.ok, str(report)


def test_an_operator_without_definition_goes_by_its_own_pullback() -> None:
    """The transposition alone: a row whose kind tells nothing."""
    g = gg.Graph()
    x, t = g.input("x", ("N", 3)), g.input("t", ("N", 3))
    before = {n.id for n in g.nodes if n.operator.kind == "leaf"}
    y = gg.prod(x, axis=1)
    moved = gg.jvp(y, {x: t})
    assert {n.id for n in g.nodes if n.operator.name == "input"} == before
    at = {"x": np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 5.0]]), "t": np.ones((2, 3))}
    np.testing.assert_array_equal(gg.evaluate(moved, **at), [2.0, 0.0])


def test_named_sizes_and_several_outputs() -> None:
    g = gg.Graph()
    x, w, b = g.input("x", ("N", 2)), g.parameter("w", (2,)), g.parameter("b")
    z = x @ w + b
    one, two = gg.jvp([z, gg.sum(z * z)], {w: np.ones(2), b: 1})
    assert (one.shape, two.shape) == (z.shape, ())
    at = {"x": np.array([[1.0, 2.0]]), "w": np.array([1.0, -1.0]), "b": 0.5}
    np.testing.assert_array_equal(gg.evaluate(one, **at), [4.0])
    np.testing.assert_array_equal(gg.evaluate(two, **at), -4.0)


def test_a_tangent_of_a_node_on_the_way_stands_for_it() -> None:
    g = gg.Graph()
    x = g.input("x")
    h = x * x
    assert gg.evaluate(gg.jvp(h * 3, {h: 1.0}), x=2.0) == 3.0
    assert gg.evaluate(gg.jvp(h * x, {h: 1.0, x: 10.0}), x=2.0) == 2.0 + 40.0


def test_what_does_not_change_has_the_tangent_zero() -> None:
    g = gg.Graph()
    x, y = g.input("x", ("N",)), g.input("y", ("N",), "float32")
    zero = gg.jvp(y, {x: 1.0})
    assert (zero.shape, zero.dtype) == (y.shape, "float32")
    np.testing.assert_array_equal(gg.evaluate(gg.jvp(gg.floor(x), {x: 1.0}), x=[0.5]), [0.0])
    np.testing.assert_array_equal(gg.evaluate(gg.jvp(x > 0, {x: 1.0}), x=[0.5]), [0.0])
    rounded = gg.cast(gg.cast(x * 3, "int64"), "float64")
    np.testing.assert_array_equal(gg.evaluate(gg.jvp(rounded * x, {x: 1.0}), x=[0.5]), [1.0])


def test_forward_mode_is_linear_and_knows_no_recursion_limit() -> None:
    sizes = []
    for n in (10_000, 20_000):
        g = gg.Graph()
        y = x = g.input("x")
        for _ in range(n):
            y = gg.tanh(y) + 0.5
        gg.jvp(y, {x: 1.0})
        sizes.append(len(g.nodes))
    assert sizes[1] <= 2.001 * sizes[0]


def test_float32_stays_float32() -> None:
    g = gg.Graph()
    x = g.parameter("x", (3,), "float32")
    for y in (gg.sigmoid(x) * 2, gg.mean(x), gg.mish(x), gg.prod(x)):
        assert gg.jvp(y, {x: np.ones(3)}).dtype == "float32"
        assert gg.hvp(gg.sum(y), x, np.ones(3)).dtype == "float32"


@pytest.mark.parametrize(
    ("tangents", "message"),
    [
        (lambda g: {g["x"]: np.ones(3)}, r"the tangent of x has shape \(3,\), but \(2,\) is wanted\n  at .*"),
        (lambda g: {g["i"]: np.ones(2)}, r"i is int64: it has no tangent\n  at .*"),
        (lambda g: {g["x"]: gg.Graph().input("x", (2,))}, r"the tangent of x is of another graph\n  at .*"),
        (lambda g: {gg.Graph().input("x", (2,)): 1.0}, r"jvp was given tensors of two graphs\n  at .*"),
        (lambda g: {"x": 1.0}, r"jvp takes Tensors, but str was given"),
    ],
)
def test_wrong_tangents(tangents: Any, message: str) -> None:
    g = gg.Graph()
    x = g.input("x", (2,))
    g.input("i", (2,), "int64")
    with pytest.raises(DerivativeError, match=f"^{message}$"):
        gg.jvp(x * 2, tangents(g))


# -- second order -----------------------------------------------------------------------------------------------------


def network() -> tuple[gg.Graph, gg.Tensor, list[gg.Tensor], dict[str, Any]]:
    g = gg.Graph()
    x, y = g.input("x", ("N", 2)), g.input("y", ("N",))
    W, v = g.parameter("W", (3, 2)), g.parameter("v", (3,))
    loss = gg.mean((gg.tanh(x @ W.T) @ v - y) ** 2)
    at = {"x": rng.normal(size=(4, 2)), "y": rng.normal(size=4), "W": rng.normal(size=(3, 2)), "v": rng.normal(size=3)}
    return g, loss, [W, v], at


def test_hessian_vector_products_are_those_of_the_hessian() -> None:
    _, loss, (W, v), at = network()
    a, b = rng.normal(size=(3, 2)), rng.normal(size=3)
    products = gg.evaluate(gg.hvp(loss, [W, v], [a, b]), **at)
    (ww, wv), (vw, vv) = [gg.evaluate(row, **at) for row in gg.hessian(loss, [W, v])]
    assert (ww.shape, wv.shape, vw.shape, vv.shape) == ((3, 2, 3, 2), (3, 2, 3), (3, 3, 2), (3, 3))
    np.testing.assert_allclose(products[0], np.tensordot(ww, a, 2) + wv @ b, rtol=1e-12)
    np.testing.assert_allclose(products[1], np.tensordot(vw, a, 2) + vv @ b, rtol=1e-12)
    np.testing.assert_allclose(wv, np.moveaxis(vw, 0, 2), rtol=1e-12)
    np.testing.assert_allclose(gg.evaluate(gg.hvp(loss, v, b), **at), vv @ b, rtol=1e-12)


def test_a_block_of_zeros_is_no_mistake() -> None:
    g = gg.Graph()
    a, b = g.parameter("a", (2,)), g.parameter("b", (2,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        blocks = gg.hessian(gg.sum(a * a) + gg.sum(b**3), [a, b])
    np.testing.assert_array_equal(gg.evaluate(blocks[0][1]), np.zeros((2, 2)))
    np.testing.assert_array_equal(gg.evaluate(blocks[1][1], b=[1.0, 2.0]), [[6.0, 0.0], [0.0, 12.0]])
    assert blocks[0][1].shape == (2, 2)


@pytest.mark.parametrize(("rows", "columns"), [((2,), (3, 2)), ((2, 3), (2,)), ((), (3,)), ((4,), ())])
def test_jacobians_by_rows_and_by_columns(rows: tuple[int, ...], columns: tuple[int, ...]) -> None:
    g = gg.Graph()
    x = g.parameter("x", columns)
    m, n = int(np.prod(rows)), int(np.prod(columns))
    A = rng.normal(size=(m, n))
    y = gg.reshape(gg.tanh(A @ gg.reshape(x, (n,))), rows)
    at = rng.normal(size=columns)
    wanted = ((1 - np.tanh(A @ at.reshape(-1)) ** 2)[:, None] * A).reshape(*rows, *columns)
    jacobian = gg.jacobian(y, x)
    assert jacobian.shape == (*rows, *columns)
    np.testing.assert_allclose(gg.evaluate(jacobian, x=at), wanted, rtol=1e-13)


def test_one_side_of_a_jacobian_may_have_named_sizes() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N", 2)), g.parameter("w", (2,))
    at = {"x": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), "w": np.array([0.5, -0.5])}
    np.testing.assert_allclose(gg.evaluate(gg.jacobian(x @ w, w), **at), at["x"], rtol=1e-15)
    by_x = gg.evaluate(gg.jacobian(gg.sum(x, axis=0), x), x=at["x"])
    np.testing.assert_array_equal(by_x, np.broadcast_to(np.eye(2)[:, None, :], (2, 3, 2)))
    message = (
        r"^jacobian of v\d+ \(N, 2\) by x \(N, 2\): each entry is derived on its own, so one of the two "
        r"must have a shape of numbers only; .*"
    )
    with pytest.raises(DerivativeError, match=message):
        gg.jacobian(x * x, x)


def test_a_jacobian_by_what_does_not_matter_is_zero_with_a_warning() -> None:
    g = gg.Graph()
    x, y = g.parameter("x", (2,)), g.parameter("y", (3,))
    with pytest.warns(UnusedParameterWarning, match=r"^v\d+ does not depend on y: its Jacobian is zero$"):
        zero = gg.jacobian(x * x, y)
    assert zero.shape == (2, 3)
    with pytest.raises(DerivativeError, match=r"^jacobian: i is int64; a derivative is of floats by floats\n  at "):
        gg.jacobian(x, g.input("i", dtype="int64"))


def test_hvp_wants_a_vector_for_each_tensor() -> None:
    _, loss, wrt, _ = network()
    with pytest.raises(DerivativeError, match=r"^hvp by 2 tensors was given 1 vectors; one for each is wanted\n  at "):
        gg.hvp(loss, wrt, [np.ones((3, 2))])


def test_gradients_of_each_sample() -> None:
    g = gg.Graph()
    x, W, b = g.input("x", (4, 2)), g.parameter("W", (2,)), g.parameter("b")
    losses = gg.square(gg.tanh(x @ W + b))
    at = {"x": rng.normal(size=(4, 2)), "W": rng.normal(size=2), "b": 0.3}
    by_w, by_b = gg.evaluate(gg.per_sample_gradients(losses, [W, b]), **at)
    t = np.tanh(at["x"] @ at["W"] + 0.3)
    outer = 2 * t * (1 - t * t)
    np.testing.assert_allclose(by_w, outer[:, None] * at["x"], rtol=1e-13)
    np.testing.assert_allclose(by_b, outer, rtol=1e-13)
    total = gg.evaluate(gg.derive(gg.sum(losses))[W], **at)
    np.testing.assert_allclose(by_w.sum(0), total, rtol=1e-12)
    assert gg.per_sample_gradients(losses, W).shape == (4, 2)


def test_the_number_of_samples_must_be_known() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N", 2)), g.parameter("w", (2,))
    with pytest.raises(DerivativeError) as error:
        gg.per_sample_gradients((x @ w).named("losses"), w)
    assert str(error.value).split("\n")[0] == (
        "per_sample_gradients of losses (N,): each sample is derived on its own, so their number must be known, "
        "but it is N; "
        "build the graph with a batch of numbers, or for one sample and call it for each"
    )
    message = (
        r"^per_sample_gradients wants a vector of losses, one for each sample, but L has shape \(\); "
        r"reduction='none' gives one$"
    )
    with pytest.raises(DerivativeError, match=message):
        gg.per_sample_gradients(gg.sum(x @ w).named("L"), w)
