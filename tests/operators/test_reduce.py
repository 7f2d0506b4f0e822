"""Reductions against NumPy over all forms of axis, with named sizes; ties, zeros, emptiness, dtypes and messages."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import graphgrad as gg
from graphgrad.errors import CallError, DerivativeError, ShapeError
from tests.operators.harness import axes, check_gradient, check_result, check_target, shapes, values

few = settings(max_examples=15, deadline=None)

#: Each with NumPy's own function of (x, axis, keepdims).
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
    "prod": np.prod,
    "var": np.var,
    "norm": lambda x, axis, keepdims: np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims, dtype=floating(x))),
}
LETTERS = ("N", "M", "K", "L")


def floating(x: Any) -> Any:
    return x.dtype if x.dtype.kind == "f" else np.float64


def named(x: Any) -> list[tuple[str, ...]]:
    """The shape of an array with a name for each axis."""
    return [LETTERS[: x.ndim]]


def closely(wanted: Any) -> Any:
    """The bound that sums and products of few terms keep in any order of summation."""
    return np.max(np.abs(wanted), initial=0.0) * 64 * np.finfo(wanted.dtype).eps


def agrees(build: Any, wanted: Any, x: Any) -> None:
    """Value, inferred shape and dtype, target, first and second derivative; shapes of numbers, and of named sizes."""
    (found,) = check_result(build, x)
    assert (found.shape, found.dtype) == (np.shape(wanted), np.asarray(wanted).dtype)
    np.testing.assert_allclose(found, wanted, rtol=1e-6 if found.dtype == np.float32 else 1e-13, atol=1e-12)
    for declared in (None, named(x)):
        check_target(build, x, shapes=declared, bound=closely if found.dtype.kind == "f" else 0)
        if x.dtype == np.float64:  # of a square too, whose second derivative is zero for none of them
            check_gradient(build, x, shapes=declared)
            check_gradient(lambda t: gg.square(build(t)), x, shapes=declared)


def told(error: type[Exception], build: Callable[[], Any]) -> str:
    """The whole text of the error."""
    with pytest.raises(error) as caught:
        build()
    return str(caught.value)


def tensor(*shape: Any, dtype: str = "float64") -> gg.Tensor:
    return gg.Graph().parameter("x", shape, dtype)


def gradient(build: Callable[[gg.Tensor], gg.Tensor], x: Any) -> Any:
    """The gradient of the sum of what is built, by both ways of computing it."""
    p = gg.Graph().parameter("x", np.shape(x), np.asarray(x).dtype.name)
    derived = gg.derive(gg.sum(build(p)))[p]
    found = gg.evaluate(derived, x=x)
    np.testing.assert_allclose(gg.compile([derived])(x=x)[0], found, rtol=1e-6)
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Against NumPy
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REDUCTIONS)
@few
@given(st.data())
def test_every_form_of_axis_is_numpys(name: str, data: st.DataObject) -> None:
    shape = data.draw(shapes(max_rank=3))
    x = data.draw(values(shape, distinct=True, avoid=[0.0], dtype=data.draw(st.sampled_from(["float64", "float32"]))))
    axis, keepdims = data.draw(axes(len(shape))), data.draw(st.booleans())
    build = lambda t: getattr(gg, name)(t, axis=axis, keepdims=keepdims)  # noqa: E731
    agrees(build, REDUCTIONS[name](x, axis=axis, keepdims=keepdims), x)


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("dtype", ["int64", "bool"])
def test_integers_and_bools_are_numpys(name: str, dtype: str) -> None:
    x = np.array([[3, 0, 2], [1, 4, 0]]).astype(dtype)
    for axis in (None, 1, (0, 1)):
        agrees(lambda t, a=axis: getattr(gg, name)(t, axis=a), REDUCTIONS[name](x, axis=axis, keepdims=False), x)


@few
@given(st.data())
def test_variance_with_degrees_of_freedom(data: st.DataObject) -> None:
    x = data.draw(values((3, 4)))
    axis, ddof = data.draw(axes(2).filter(lambda a: a != ())), data.draw(st.sampled_from([1, 2, 0.5]))
    agrees(lambda t: gg.var(t, axis=axis, ddof=ddof), np.var(x, axis=axis, ddof=ddof), x)


def test_variance_without_freedom_is_nan_as_in_numpy() -> None:
    x = gg.Graph().input("x", ("N",))
    for ddof in (1, 3):
        spread = gg.var(x, ddof=ddof)
        with np.errstate(all="ignore"):
            assert np.isnan(gg.evaluate(spread, x=[2.0]))
            assert np.isnan(gg.compile(spread)(x=[2.0])[0])


@few
@given(st.data())
def test_norms_of_every_order(data: st.DataObject) -> None:
    shape = data.draw(shapes(min_rank=1, max_rank=3))
    ord = data.draw(st.sampled_from([0, 0.5, 1, 1.5, 2, 2.5, 3, 4, -1, -2.5, np.inf, -np.inf]))
    axis = data.draw(axes(len(shape)).filter(lambda a: a != ()))
    x = data.draw(values(shape, distinct=True, avoid=[0.0]))
    if np.isinf(ord):  # no ties between x and -x
        x = np.where(x < 0, x - 0.01 * x, x)
    lost = tuple(range(x.ndim)) if axis is None else np.atleast_1d(axis) % x.ndim
    lines = np.moveaxis(x, lost, range(x.ndim - len(lost), x.ndim)).reshape(*np.delete(shape, lost), -1)
    agrees(lambda t: gg.norm(t, ord, axis), np.asarray(np.linalg.norm(lines, ord, axis=-1)), x)


@few
@given(st.data())
def test_running_sums(data: st.DataObject) -> None:
    shape = data.draw(shapes(min_rank=1, max_rank=3))
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    x = data.draw(values(shape))
    agrees(lambda t: gg.cumsum(t, axis), np.cumsum(x, axis), x)


def test_running_sum_of_bools_and_of_a_number() -> None:
    agrees(lambda t: gg.cumsum(t, 0), np.array([1, 1, 2]), np.array([True, False, True]))
    agrees(gg.cumsum, np.array([1.5]), np.array(1.5))


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@few
@given(st.data())
def test_positions_of_extremes(name: str, data: st.DataObject) -> None:
    shape = data.draw(shapes(max_rank=3))
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1)) if shape else None
    x = data.draw(values(shape)).round()  # ties: the first is taken
    keepdims, kind = data.draw(st.booleans()), data.draw(st.sampled_from(["float64", "int64", "bool"]))
    x = x.astype(kind)
    wanted = getattr(np, name)(x, axis=axis, keepdims=keepdims)
    for declared in (None, named(x)):
        build = lambda t: getattr(gg, name)(t, axis, keepdims)  # noqa: E731
        (found,) = check_result(build, x, shapes=declared)
        np.testing.assert_array_equal(found, wanted)
        check_target(build, x, shapes=declared, bound=0)


def test_positions_pick_by_take_but_have_no_derivative() -> None:
    x = tensor(4)
    picked = gg.derive(gg.take(x, gg.argmax(x)))[x]
    np.testing.assert_array_equal(gg.evaluate(picked, x=[1.0, 5.0, 2.0, 5.0]), [0, 1, 0, 0])
    for build in (gg.argmax, gg.argmin):
        x = tensor(4)
        with pytest.raises(DerivativeError, match="has no derivative, but the derived scalar depends on"):
            gg.derive(gg.sum(gg.cast(build(x), "float64") * x))


# ---------------------------------------------------------------------------------------------------------------------
# Ties, zeros, far values
# ---------------------------------------------------------------------------------------------------------------------


def test_extremes_share_equally() -> None:
    x = np.array([[2.0, 5.0, 5.0], [5.0, 1.0, 1.0]])
    np.testing.assert_array_equal(gradient(gg.max, x), np.array([[0, 1, 1], [1, 0, 0]]) / 3)
    np.testing.assert_array_equal(gradient(lambda t: gg.max(t, axis=1), x), [[0, 0.5, 0.5], [1, 0, 0]])
    np.testing.assert_array_equal(gradient(lambda t: gg.min(t, axis=1, keepdims=True), x), [[1, 0, 0], [0, 0.5, 0.5]])
    np.testing.assert_array_equal(gradient(lambda t: gg.norm(t, np.inf), [3.0, -3.0, 1.0, 0.0]), [0.5, -0.5, 0, 0])
    np.testing.assert_array_equal(gradient(gg.max, [-np.inf, -np.inf]), [0.5, 0.5])


def test_nan_is_an_extreme() -> None:
    x = gg.Graph().input("x", (2,))
    for build in (gg.max, gg.min):
        assert np.isnan(gg.evaluate(build(x), x=[np.nan, 1.0]))
        assert np.isnan(gg.compile(build(x))(x=[np.nan, 1.0])[0])


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_the_extreme_of_two_rows_is_that_of_two_arrays(name: str, dtype: str, keepdims: bool) -> None:
    x = gg.Graph().input("x", (2, "N"), dtype)
    f = gg.compile(getattr(gg, name)(x, axis=0, keepdims=keepdims))
    assert f"{name}imum(x[0], x[1], out=" in f.source
    value = np.array([[3, 0, 2], [1, 4, 0]]).astype(dtype)
    if dtype.startswith("float"):
        value[1, 2] = np.nan
    for given_x in (value, value[:, :0]):
        (result,) = f(x=given_x)
        wanted = REDUCTIONS[name](given_x, axis=0, keepdims=keepdims)
        np.testing.assert_array_equal(result, wanted)
        assert (result.shape, result.dtype) == (wanted.shape, wanted.dtype)


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2), (1, 2), (2, 0, 1)])
@pytest.mark.parametrize("zeros", [0, 1, 2, 5])
def test_product_is_derived_right_at_zeros(axis: Any, zeros: int) -> None:
    x = np.random.default_rng(zeros).uniform(0.5, 1.5, (2, 3, 2)) * [1.0, -1.0]
    x.flat[[3, 4, 0, 1, 11][:zeros]] = 0.0

    def first(t: gg.Tensor) -> gg.Tensor:
        return gg.derive(gg.sum(gg.square(gg.prod(t, axis)) + 3 * gg.prod(t, axis)), [t])[t]

    check_gradient(lambda t: gg.prod(t, axis), x)
    check_gradient(first, x)  # up to the third derivative
    for declared in (None, named(x)):
        second = lambda t: gg.derive(gg.sum(gg.square(first(t))), [t])[t]  # noqa: E731
        check_target(first, x, shapes=declared, bound=closely)
        check_target(second, x, shapes=declared, bound=lambda wanted: 1e-13 * (1 + np.max(np.abs(wanted))))


def test_product_of_few() -> None:
    for x in ([], [2.0], [0.0, 3.0]):
        others = [np.prod(x[:k] + x[k + 1 :]) for k in range(len(x))]
        p = gg.Graph().parameter("x", ("N",))
        derived = gg.derive(gg.prod(p))[p]
        np.testing.assert_array_equal(gg.evaluate(derived, x=np.array(x)), others)
        np.testing.assert_array_equal(gg.compile(derived)(x=np.array(x))[0], others)


@pytest.mark.parametrize("ord", [0, 0.5, 1, 1.5, 2, 3, -1, np.inf, -np.inf])
def test_norm_is_flat_at_zero(ord: float) -> None:
    with warnings.catch_warnings():
        if ord < 0:  # 0 to a negative power is inf, of which NumPy warns
            warnings.simplefilter("ignore", RuntimeWarning)
        np.testing.assert_array_equal(gradient(lambda t: gg.norm(t, ord), [0.0, 0.0]), [0, 0])
        x = gg.Graph().parameter("x", (2,))
        slope = gg.derive(gg.norm(x, ord))[x]
        again = gg.derive(gg.sum(slope), [x])[x] if ord not in (0, 1) and np.isfinite(ord) else slope
        np.testing.assert_array_equal(gg.evaluate(again, x=np.zeros(2)), [0, 0])


def test_norm_beside_zeros() -> None:
    x = np.array([[0.0, 3.0, -4.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(gradient(lambda t: gg.norm(t, axis=1), x), [[0, 0.6, -0.8], [0, 0, 0]], rtol=1e-15)
    for ord in (0.5, 1.5, 3):
        found = gradient(lambda t, p=ord: gg.norm(t, p, axis=1), x)
        ratio = np.array([3.0, -4.0]) / np.linalg.norm(x[0], ord)
        np.testing.assert_allclose(found[0, 1:], np.sign(ratio) * np.abs(ratio) ** (ord - 1), rtol=1e-14)
        np.testing.assert_array_equal(found[[0, 1, 1, 1], [0, 0, 1, 2]], 0)


def test_variance_keeps_its_digits_far_from_zero() -> None:
    x = gg.Graph().parameter("x", (3,))
    values = np.array([1e8 + 1, 1e8 + 2, 1e8 + 4])
    spread = gg.var(x)
    both = [spread, gg.derive(spread)[x]]
    for found in (gg.evaluate(both, x=values), gg.compile(both)(x=values)):
        assert found[0] == pytest.approx(14 / 9, rel=1e-7)
        np.testing.assert_allclose(found[1], np.array([-8, -2, 10]) / 9, rtol=1e-7)


# ---------------------------------------------------------------------------------------------------------------------
# Nothing to reduce, and what does not fit
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_an_extreme_of_nothing(name: str) -> None:
    build = getattr(gg, name)
    message = told(ShapeError, lambda: build(tensor(3, 0), 1))
    assert message.splitlines()[0] == f"{name} of shape (3, 0) over axis 1: {name} of no numbers has no value"
    assert message.splitlines()[1].startswith("  at test_reduce.py:")
    x = tensor("N", 3)
    y = build(x, 0)
    for call in (lambda: gg.evaluate(y, x=np.ones((0, 3))), lambda: gg.compile(y)(x=np.ones((0, 3)))):
        assert told(CallError, call).splitlines()[0] == f"{name} of shape (N, 3) needs N >= 1, but N = 0"
    rows = build(x, 1)  # no rows have no extremes, which is no error
    assert gg.evaluate(rows, x=np.ones((0, 3))).shape == gg.compile(rows)(x=np.ones((0, 3)))[0].shape == (0,)


def test_a_norm_of_nothing() -> None:
    assert gg.evaluate(gg.norm(tensor(0)), x=np.ones(0)) == 0
    message = told(ShapeError, lambda: gg.norm(tensor(0), np.inf)).splitlines()[0]
    assert message == "norm of shape (0,) over axis 0: norm of no numbers has no value"


@pytest.mark.parametrize("name", ["sum", "mean", "max", "prod", "var", "norm", "cumsum", "argmax", "softmax"])
def test_an_axis_that_is_none(name: str) -> None:
    message = told(ShapeError, lambda: getattr(gg, name)(tensor("N", 3), axis=2))
    line = 'message = told(ShapeError, lambda: getattr(gg, name)(tensor("N", 3), axis=2))'
    assert message.splitlines()[0] == f"{name}: axis 2 of shape (N, 3); axes run from -2 to 1"
    assert message.splitlines()[1].endswith(line)


def test_messages() -> None:
    first = lambda build: told(gg.GraphgradError, build).splitlines()[0]  # noqa: E731
    assert first(lambda: gg.sum(tensor(2, 3), (0, -2))) == "sum: axis (0, -2) names an axis of shape (2, 3) twice"
    assert first(lambda: gg.argmax(tensor(3), (0,))) == "argmax: axis (0,) of shape (3,); axes run from -1 to 0"
    assert first(lambda: gg.norm(tensor(2), "fro")) == "norm: ord is a number, inf or -inf, but 'fro' was given"
    assert first(lambda: gg.norm(tensor(2), np.nan)) == "norm: ord is a number, inf or -inf, but nan was given"
    assert first(lambda: gg.var(tensor(2), ddof=None)) == "var: ddof is a number, but None was given"


def test_equal_calls_are_one_node() -> None:
    x = tensor("N", 3)
    assert gg.sum(x, -1) is gg.sum(x, (1,))
    assert gg.max(x) is gg.max(x, (1, 0), keepdims=False)
    assert gg.norm(x, 2) is gg.norm(x, 2.0)
    assert gg.var(x, ddof=1) is gg.var(x, ddof=1.0)
    assert gg.argmax(x, -1) is gg.argmax(x, 1)


def test_weak_numbers_stay_weak() -> None:
    g = gg.Graph()
    k, x = g.input("k", weak=True), g.input("x", (2,), "float32")
    for name in ("sum", "mean", "max", "min", "prod", "norm", "logsumexp"):
        scaled = getattr(gg, name)(k) * x
        assert scaled.dtype == "float32"
        for found in (gg.evaluate(scaled, k=2.5, x=np.ones(2, "f4")), gg.compile(scaled)(k=2.5, x=np.ones(2, "f4"))[0]):
            np.testing.assert_array_equal(found, np.full(2, 2.5, "f4"))
