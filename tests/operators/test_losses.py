"""Losses against their formulas in NumPy: values, weights, gradients of both orders, extremes, kinks and refusals."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import graphgrad as gg
from graphgrad.operators.losses import LOSSES, REDUCTIONS
from tests.operators.harness import check_gradient, check_result, check_target, shapes, values

few = settings(max_examples=6, deadline=None)


def log_sigmoid(z: Any) -> Any:
    return -np.logaddexp(0, -z)


def log_softmax(z: Any) -> Any:
    return z - np.logaddexp.reduce(z, axis=-1, keepdims=True)


#: The values before reduction, in other words than the operators' own.
VALUES: dict[str, Callable[..., Any]] = {
    "mean_squared_error": lambda p, t: (p - t) ** 2,
    "mean_absolute_error": lambda p, t: np.abs(p - t),
    "huber": lambda p, t, delta=1.0: np.where(
        np.abs(p - t) <= delta, (p - t) ** 2 / 2, delta * np.abs(p - t) - delta**2 / 2
    ),
    "binary_cross_entropy": lambda z, t: -t * log_sigmoid(z) - (1 - t) * log_sigmoid(-z),
    "hinge": lambda p, t: np.where(p * t < 1, 1 - p * t, 0.0),
}
ELEMENTWISE = tuple(VALUES)
#: Where the second derivative has no kink: distances between prediction and target are drawn off these.
DIFFERENCES = {
    "mean_squared_error": (),
    "mean_absolute_error": (0.0,),
    "huber": (-1.0, 1.0),
    "binary_cross_entropy": (),
}


def reduced(losses: Any, reduction: str, weights: Any = None) -> Any:
    if weights is None:
        return {"mean": np.mean, "sum": np.sum, "none": lambda x: x}[reduction](losses)
    w = np.broadcast_to(
        np.reshape(weights, np.shape(weights) + (1,) * (np.ndim(losses) - np.ndim(weights))), np.shape(losses)
    )
    if reduction == "mean":
        return np.average(losses, weights=w)
    return np.sum(w * losses) if reduction == "sum" else w * losses


def draw_pair(data: st.DataObject, name: str, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """A prediction and a target at a distance from the loss's kinks."""
    if name == "hinge":
        t = np.where(data.draw(values(shape)) > 0, 1.0, -1.0)
        return t * data.draw(values(shape, avoid=(1.0,))), t
    t = data.draw(values(shape, 0.0, 1.0))
    return t + data.draw(values(shape, -3.0, 3.0, avoid=DIFFERENCES[name])), t


def told(build: Any) -> str:
    with pytest.raises(gg.GraphgradError) as caught:
        build()
    text, _, line = str(caught.value).partition("\n  at test_losses.py:")
    assert line, "the error names no line"
    return text


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ELEMENTWISE)
@few
@given(st.data())
def test_elementwise_losses(name: str, reduction: str, data: st.DataObject) -> None:
    p, t = draw_pair(data, name, data.draw(shapes(max_rank=2)))
    loss = LOSSES[name]
    wanted = VALUES[name](p, t)

    def build(p: Any, t: Any) -> gg.Tensor:
        return loss(p, t, reduction=reduction)

    (found,) = check_result(build, p, t)
    np.testing.assert_allclose(found, reduced(wanted, reduction), rtol=1e-12, atol=1e-14)
    check_target(build, p, t, bound=lambda b: 1e-13 * (1 + np.abs(b)))
    check_gradient(build, p, t)

    w = data.draw(values(p.shape[: data.draw(st.integers(min(1, p.ndim), p.ndim))], 0.2, 2.0))

    def weighted(p: Any, t: Any, w: Any) -> gg.Tensor:
        return loss(p, t, w, reduction)

    (found,) = check_result(weighted, p, t, w)
    np.testing.assert_allclose(found, reduced(wanted, reduction, w), rtol=1e-12, atol=1e-14)
    check_target(weighted, p, t, w, bound=lambda b: 1e-13 * (1 + np.abs(b)))
    check_gradient(weighted, p, t, w)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", ["labels", "probabilities"])
@few
@given(st.data())
def test_cross_entropy(kind: str, reduction: str, data: st.DataObject) -> None:
    z = data.draw(values(data.draw(shapes(min_rank=1, max_rank=3))))
    log_p = log_softmax(z)
    if kind == "labels":
        t = np.asarray(data.draw(st.integers(0, 100)) + np.arange(z[..., 0].size).reshape(z.shape[:-1])) % z.shape[-1]
        wanted = -np.take_along_axis(log_p, t[..., None], -1)[..., 0]
    else:  # they need not add up to one
        t = data.draw(values(z.shape, 0.1, 1.0))
        wanted = -np.sum(t * log_p, -1)

    def build(z: Any, t: Any, *w: Any) -> gg.Tensor:
        return gg.cross_entropy(z, t, *w, reduction=reduction)

    (found,) = check_result(build, z, t)
    np.testing.assert_allclose(found, reduced(wanted, reduction), rtol=1e-12, atol=1e-13)
    check_target(build, z, t, bound=lambda b: 1e-13 * (1 + np.abs(b)))
    check_gradient(build, z, t)
    w = data.draw(values(wanted.shape[: data.draw(st.integers(min(1, wanted.ndim), wanted.ndim))], 0.2, 2.0))
    (found,) = check_result(build, z, t, w)
    np.testing.assert_allclose(found, reduced(wanted, reduction, w), rtol=1e-12, atol=1e-13)
    check_target(build, z, t, w, bound=lambda b: 1e-13 * (1 + np.abs(b)))
    check_gradient(build, z, t, w)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_named_sizes(reduction: str) -> None:
    generator = np.random.default_rng(0)
    z, w = generator.normal(size=(4, 3)), generator.uniform(0.5, 2, 4)
    y = np.array([0, 2, 1, 2])
    check_gradient(lambda z, y: gg.cross_entropy(z, y, reduction=reduction), z, y, shapes=[("N", 3), ("N",)])
    check_gradient(lambda z, y, w: gg.cross_entropy(z, y, w, reduction), z, y, w, shapes=[("N", "C"), ("N",), ("N",)])
    check_gradient(
        lambda p, t, w: gg.mean_squared_error(p, t, w, reduction), z, z + 1, w, shapes=[("N", 3), ("N", 3), ("N",)]
    )
    check_target(
        lambda z, y, w: gg.cross_entropy(z, y, w, reduction), z, y, w, shapes=[("N", "C"), ("N",), ("N",)],
        bound=lambda b: 1e-13 * (1 + np.abs(b)),
    )  # fmt: skip


def test_weights_of_one_change_nothing_and_zeros_leave_out() -> None:
    g = gg.Graph()
    z, y, w = g.input("z", ("N", 3)), g.input("y", ("N",), "int64"), g.input("w", ("N",))
    call = {"z": np.random.default_rng(0).normal(size=(4, 3)), "y": [0, 1, 2, 0]}
    plain, weighted = gg.cross_entropy(z, y), gg.cross_entropy(z, y, w)
    np.testing.assert_allclose(gg.evaluate(weighted, **call, w=np.ones(4)), gg.evaluate(plain, **call))
    first = {"z": call["z"][:2], "y": call["y"][:2]}
    np.testing.assert_allclose(gg.evaluate(weighted, **call, w=[1.0, 1.0, 0.0, 0.0]), gg.evaluate(plain, **first))


def test_a_loss_is_one_node() -> None:
    g = gg.Graph()
    p, t, w = (g.input(n, ("N", 2)) for n in "ptw")
    for name in ELEMENTWISE:
        before = len(g.nodes)
        assert [g.label(i) for i in LOSSES[name](p, t).node.inputs] == ["p", "t"]
        assert [g.label(i) for i in LOSSES[name](p, t, w).node.inputs] == ["p", "t", "w"]
        assert len(g.nodes) == before + 2


def test_names() -> None:
    short = {
        "mse": "mean_squared_error",
        "mae": "mean_absolute_error",
        "ce": "cross_entropy",
        "bce": "binary_cross_entropy",
    }
    for name, full in short.items():
        assert LOSSES[name] is LOSSES[full] is getattr(gg, full)
    assert set(LOSSES) == {*short, *short.values(), "huber", "hinge"}
    for loss in LOSSES.values():
        assert loss.__doc__


def test_huber_is_quadratic_up_to_delta() -> None:
    g = gg.Graph()
    p, t = g.parameter("p", (3,)), g.input("t", (3,))
    loss = gg.huber(p, t, reduction="none", delta=2.0)
    call = {"p": [1.0, 2.0, -5.0], "t": np.zeros(3)}
    np.testing.assert_array_equal(gg.evaluate(loss, **call), [0.5, 2.0, 8.0])
    np.testing.assert_array_equal(gg.evaluate(gg.derive(gg.sum(loss))[p], **call), [1.0, 2.0, -2.0])
    check_gradient(lambda p, t: gg.huber(p, t, delta=0.3), np.array([0.1, 2.0]), np.array([0.0, 0.5]))


# ---------------------------------------------------------------------------------------------------------------------
# Extremes and kinks
# ---------------------------------------------------------------------------------------------------------------------


def both(tensors: list[gg.Tensor], **call: Any) -> list[Any]:
    """The values by `evaluate`, after the generated code was held against them. A warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wanted = gg.evaluate(tensors, **call)
        found = gg.compile(tensors)(**call)
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=4 * np.finfo(b.dtype).eps, atol=0)
    return wanted


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_extreme_logits(dtype: str, size: float) -> None:
    g = gg.Graph()
    z, y = g.parameter("z", ("N", 3), dtype), g.input("y", ("N",), "int64")
    logits = np.array([[size, -size, 0.0]] * 3, dtype)
    for target in (y, gg.one_hot(y, 3, dtype)):
        loss = gg.cross_entropy(z, target, reduction="none")
        found, gradient = both([loss, gg.derive(gg.sum(loss), [z])[z]], z=logits, y=[0, 1, 2])
        np.testing.assert_array_equal(found, np.array([0.0, 2 * size, size], dtype))
        np.testing.assert_allclose(gradient, [[0, 0, 0], [1, -1, 0], [1, 0, -1]], atol=1e-40)

    s, t = g.parameter("s", (4,), dtype), g.input("t", (4,), dtype)
    loss = gg.binary_cross_entropy(s, t, reduction="none")
    call = {"s": np.array([size, size, -size, -size], dtype), "t": np.array([0, 1, 0, 1], dtype)}
    found, gradient = both([loss, gg.derive(gg.sum(loss), [s])[s]], **call)
    np.testing.assert_allclose(found, np.array([size, 0, 0, size], dtype), atol=1e-40)
    np.testing.assert_allclose(gradient, np.array([1, 0, 0, -1], dtype), atol=1e-40)

    p = g.parameter("p", (4,), dtype)
    for name in ("mean_squared_error", "mean_absolute_error", "huber", "hinge"):
        loss = LOSSES[name](p, t)
        found, gradient = both([loss, gg.derive(loss, [p])[p]], p=call["s"], t=2 * call["t"] - 1)
        assert np.isfinite(found)
        assert np.isfinite(gradient).all()


def test_small_probabilities_are_not_lost() -> None:
    """At z = 30 the loss of the right class is e^-30: it must not drown in 30 - 30."""
    g = gg.Graph()
    loss = gg.binary_cross_entropy(g.input("z", (2,)), g.input("t", (2,)), reduction="none")
    (found,) = both([loss], z=[30.0, -30.0], t=[1.0, 0.0])
    np.testing.assert_allclose(found, np.exp(-30.0), rtol=1e-12)


def test_excluded_classes() -> None:
    """A logit of -inf is a class that cannot be: the others are not harmed."""
    g = gg.Graph()
    z, y = g.parameter("z", (1, 3)), g.input("y", (1,), "int64")
    loss = gg.cross_entropy(z, y)
    found, gradient = both([loss, gg.derive(loss)[z]], z=[[0.0, -np.inf, 0.0]], y=[2])
    np.testing.assert_allclose(found, np.log(2))
    np.testing.assert_allclose(gradient, [[0.5, 0.0, -0.5]])


@pytest.mark.parametrize(
    ("name", "p", "t", "slope"),
    [
        ("mean_absolute_error", 1.0, 1.0, 0.0),
        ("huber", 2.0, 1.0, 1.0),
        ("huber", 0.0, 1.0, -1.0),
        ("hinge", 1.0, 1.0, 0.0),
        ("hinge", -1.0, -1.0, 0.0),
        ("hinge", 0.5, 1.0, -1.0),
        ("binary_cross_entropy", 0.0, 1.0, -0.5),
        ("binary_cross_entropy", 0.0, 0.0, 0.5),
    ],
)
def test_derivatives_at_kinks(name: str, p: float, t: float, slope: float) -> None:
    g = gg.Graph()
    q, y = g.parameter("q", (1,)), g.input("y", (1,))
    own = LOSSES[name](q, y)
    defined = own.node.operator.definition
    assert defined is not None
    for loss in (own, defined(q, y, reduction="mean", **{k: v for k, v in own.node.attributes if k != "reduction"})):
        (found,) = both([gg.derive(loss)[q]], q=[p], y=[t])
        assert found[0] == slope


@pytest.mark.parametrize("name", [*ELEMENTWISE, "cross_entropy"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_own_rules_are_the_derivative_of_the_definition(name: str, reduction: str) -> None:
    generator = np.random.default_rng(1)
    arrays = {n: generator.uniform(0.1, 0.9, s) for n, s in (("p", (4, 3)), ("t", (4, 3)), ("w", (4,)))}
    g = gg.Graph()
    leaves = [g.parameter(n, a.shape) for n, a in arrays.items()]
    for operands in (leaves[:2], leaves):
        node = LOSSES[name](*operands, reduction=reduction)
        defined = node.node.operator.definition
        assert defined is not None
        written = defined(*operands, **dict(node.node.attributes))
        own, other = (gg.derive(gg.sum(t * t), operands) for t in (node, written))
        for leaf in operands:
            a, b = gg.evaluate([own[leaf], other[leaf]], **{x.name: arrays[x.name] for x in operands})
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


# ---------------------------------------------------------------------------------------------------------------------
# Dtypes and refusals
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("other", ["bool", "int64", "float32"])
def test_integers_and_bools_do_not_widen(dtype: str, other: str) -> None:
    p = np.array([0.5, -1.0, 2.0], dtype)
    t, w = np.array([1, 0, 1], other), np.array([1, 1, 0], other)
    for name in ELEMENTWISE:
        for reduction in REDUCTIONS:
            (found,) = check_result(lambda p, t: LOSSES[name](p, t, reduction=reduction), p, t)  # noqa: B023
            assert found.dtype == dtype
            (found,) = check_result(lambda p, t, w: LOSSES[name](p, t, w, reduction), p, t, w)  # noqa: B023
            assert found.dtype == dtype
            check_target(lambda p, t, w: LOSSES[name](p, t, w, reduction), p, t, w, bound=8)  # noqa: B023


def test_integer_predictions_are_taken_as_floats() -> None:
    p, t = np.array([1, 2, 4]), np.array([1, 0, 1])
    (found,) = check_result(gg.mean_squared_error, p, t)
    assert (found, found.dtype) == (13 / 3, "float64")
    check_target(gg.mean_squared_error, p, t)


def test_numbers() -> None:
    g = gg.Graph()
    q = g.parameter("q")
    loss = gg.mean_squared_error(q, 3)
    found, slope = both([loss, gg.derive(loss)[q]], q=1.0)
    assert (found, slope) == (4.0, -4.0)
    assert gg.mean_squared_error(g.parameter("r", (), "float32"), 3.5).dtype == "float32"


def test_no_gradient_by_labels() -> None:
    g = gg.Graph()
    z, y = g.parameter("z", ("N", 3)), g.input("y", ("N",), "int64")
    d = gg.derive(gg.cross_entropy(z, y))
    assert [s.rule for s in d.steps] == ["seed", "cross_entropy"]
    np.testing.assert_allclose(
        gg.evaluate(d[z], z=np.zeros((2, 3)), y=[0, 2]), (1 / 3 - np.eye(3)[[0, 2]]) / 2, rtol=1e-14
    )


def test_softmax_is_computed_once() -> None:
    """Loss and gradient share x - max, exp and their sum in generated code."""
    g = gg.Graph()
    z, y = g.parameter("z", ("N", 3)), g.input("y", ("N",), "int64")
    loss = gg.cross_entropy(z, y)
    source = gg.compile([loss, gg.derive(loss)[z]]).source
    for function in ("exp", "maximum_reduce", "subtract"):
        calls = [line for line in source.splitlines() if line.startswith(f"    {function}(")]
        assert len(calls) == (3 if function == "subtract" else 1), source
    assert source.count("raise IndexError") == 1


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_outside_is_an_error_of_the_call(label: int) -> None:
    g = gg.Graph()
    z, y = g.parameter("z", ("N", 3)), g.input("y", ("N",), "int64")
    loss = gg.cross_entropy(z, y)
    call = {"z": np.zeros((2, 3)), "y": [1, label]}
    low, high = sorted([1, label])
    for tensor in (loss, gg.derive(loss)[z]):
        for run in (lambda: gg.evaluate(tensor, **call), lambda: gg.compile([tensor])(**call)):  # noqa: B023
            assert told(run).endswith(f"indices from {low} to {high} into an axis that is 3 long")


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            lambda p, v, y: gg.mean_squared_error(p, v),
            "mean_squared_error of prediction (N, 1) and target (N,): the shapes are to be equal; "
            "gg.reshape(target, (N, 1)) would fit",
        ),
        (
            lambda p, v, y: gg.hinge(v, p),
            "hinge of prediction (N,) and target (N, 1): the shapes are to be equal; "
            "gg.reshape(target, (N,)) would fit",
        ),
        (
            lambda p, v, y: gg.huber(p, 1.0),
            "huber of prediction (N, 1) and target (): the shapes are to be equal; a target of shape (N, 1) would fit",
        ),
        (
            lambda p, v, y: gg.binary_cross_entropy(p, y),
            "binary_cross_entropy of prediction (N, 1) and target (N,): the shapes are to be equal; "
            "gg.reshape(target, (N, 1)) would fit",
        ),
        (
            lambda p, v, y: gg.cross_entropy(p, v),
            "cross_entropy: labels are integers, but the target is float64; gg.cast(target, 'int64') would fit",
        ),
        (
            lambda p, v, y: gg.cross_entropy(p, y[:, None]),
            "cross_entropy: probabilities are floats, but the target is int64; gg.cast(target, 'float64') would fit",
        ),
        (
            lambda p, v, y: gg.cross_entropy(p, y[1:]),
            "cross_entropy of logits (N, 1) and target (N - 1,): "
            "integer labels of shape (N,) or probabilities of shape (N, 1) would fit",
        ),
        (
            lambda p, v, y: gg.cross_entropy(gg.sum(v), 1),
            "cross_entropy of a number: logits of shape (..., C) are wanted, with the classes along the last axis",
        ),
        (
            lambda p, v, y: gg.mean_squared_error(p, p, weights=p.T),
            "mean_squared_error: weights of shape (1, N) for values of shape (N, 1); "
            "one weight a sample has shape (N,)",
        ),
        (
            lambda p, v, y: gg.mean_squared_error(p, p, 2.0),
            "mean_squared_error: weights of shape () for values of shape (N, 1); one weight a sample has shape (N,)",
        ),
        (
            lambda p, v, y: gg.mean_squared_error(gg.sum(p), 1.0, v),
            "mean_squared_error: weights of shape (N,) for values of shape (); "
            "a single sample has a weight of shape ()",
        ),
        (
            lambda p, v, y: gg.mean_absolute_error(p, p, reduction="average"),
            "mean_absolute_error: reduction 'average' is not one of mean, sum, none",
        ),
        (lambda p, v, y: gg.huber(p, p, delta=0.0), "huber: delta is positive, but 0.0 was given"),
        (lambda p, v, y: gg.huber(p, p, delta=None), "huber: delta is a number, but NoneType was given"),
    ],
)
def test_refusals(build: Any, text: str) -> None:
    g = gg.Graph()
    assert told(lambda: build(g.input("p", ("N", 1)), g.input("v", ("N",)), g.input("y", ("N",), "int64"))) == text


def test_unknown_arguments() -> None:
    p = gg.Graph().input("p", ("N",))
    with pytest.raises(
        gg.GraphgradError, match=r"mean_squared_error\(prediction, target, reduction='mean'\) takes no delta"
    ):
        gg.mean_squared_error(p, p, delta=2.0)
