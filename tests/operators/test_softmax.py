"""softmax, log_softmax and logsumexp: values, derivatives, and that nothing overflows."""

from __future__ import annotations

import warnings
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import graphgrad as gg
from graphgrad.errors import CallError, ShapeError
from tests.operators.harness import axes, check_gradient, check_result, check_target, shapes, values

few = settings(max_examples=15, deadline=None)


def exact(name: str, x: Any, axis: Any) -> Any:
    """By the formula, in extended precision, of values that do not overflow there."""
    e = np.exp(np.asarray(x, np.longdouble))
    total = np.sum(e, axis=axis, keepdims=True)
    if name == "logsumexp":
        return np.asarray(np.squeeze(np.log(total), axis), np.float64)
    return np.asarray(e / total if name == "softmax" else np.log(e / total), np.float64)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@few
@given(st.data())
def test_values_and_derivatives(name: str, data: st.DataObject) -> None:
    shape = data.draw(shapes(min_rank=1, max_rank=3))
    axis = data.draw(axes(len(shape)).filter(lambda a: a != ()))
    x = data.draw(values(shape, -3.0, 3.0))
    build = lambda t: getattr(gg, name)(t, axis=axis)  # noqa: E731
    for dtype, tolerance in (("float64", 1e-14), ("float32", 1e-6)):
        (found,) = check_result(build, x.astype(dtype))
        np.testing.assert_allclose(found, exact(name, x.astype(dtype), axis), rtol=tolerance, atol=tolerance)
    for declared in (None, [("N", "M", "K")[: len(shape)]]):
        check_gradient(build, x, shapes=declared)
        for dtype in ("float64", "float32"):
            close = lambda wanted, d=dtype: 32 * np.finfo(d).eps * np.max(1 + np.abs(wanted))  # noqa: E731
            check_target(build, x.astype(dtype), shapes=declared, bound=close)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_integers_and_bools_become_floats(name: str) -> None:
    for x in (np.array([[1, 2, 0], [3, 3, 1]]), np.array([[True, False, True]])):
        (found,) = check_result(lambda t: getattr(gg, name)(t, axis=-1), x)
        np.testing.assert_allclose(found, exact(name, x, -1), rtol=1e-15)
        check_target(lambda t: getattr(gg, name)(t, axis=-1), x)


def slopes(name: str, x: Any) -> tuple[gg.Tensor, gg.Tensor, gg.Tensor]:
    """The value, the gradient of a weighted sum, and the gradient of a weighted sum of that."""
    g = gg.Graph()
    p = g.parameter("x", x.shape, x.dtype.name)
    y = getattr(gg, name)(p, axis=-1)
    weights = g.constant(np.linspace(0.5, 1.5, int(np.prod(y.shape)), dtype=x.dtype).reshape(y.shape))
    first = gg.derive(gg.sum(weights * y))[p]
    again = g.constant(np.linspace(1.0, 2.0, x.size, dtype=x.dtype).reshape(x.shape))
    return y, first, gg.derive(gg.sum(again * first), [p])[p]


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_overflows(name: str, dtype: str) -> None:
    x = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4 + 1], [1e4, 1e4, 1e4]], dtype)
    y, first, second = slopes(name, x)
    with warnings.catch_warnings(), np.errstate(over="raise", divide="raise", invalid="raise"):
        warnings.simplefilter("error")
        results = gg.evaluate([y, first, second], x=x), gg.compile([y, first, second])(x=x)
    third = 1 / (2 + np.exp(1.0)) * np.array([1, 1, np.exp(1.0)])
    wanted = {
        "softmax": [[1, 0, 0], third, [1 / 3, 1 / 3, 1 / 3]],
        "log_softmax": [[0, -2e4, -1e4], np.log(third), np.log([1 / 3, 1 / 3, 1 / 3])],
        "logsumexp": [1e4, -1e4 + np.log(2 + np.exp(1.0)), 1e4 + np.log(3.0)],
    }[name]
    for found in results:
        np.testing.assert_allclose(found[0], np.array(wanted), rtol=1e-6 if dtype == "float32" else 1e-14)
        assert [f.dtype for f in found] == [dtype] * 3
        assert all(np.isfinite(f).all() for f in found)
    # The derivative keeps its digits: those of log Σ exp are softmax, which does not know how far away x lies.
    if name == "logsumexp":
        for found in results:
            shares = np.array([[0.5, 0, 0], third, [0.5, 0.5, 0.5]]) * [[1], [1], [1]]
            np.testing.assert_allclose(found[1][1], shares[1], rtol=1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinities_in_log_sum_exp(dtype: str) -> None:
    """exp(-inf) = 0 takes no part; no warning is given where the value is right."""
    inf = np.inf
    x = np.array([[-inf, 0.0, 1.0], [-inf, -inf, -inf], [inf, 1e4, -inf]], dtype)
    p = gg.Graph().parameter("x", x.shape, dtype)
    y = gg.logsumexp(p, axis=1)
    first = gg.derive(gg.sum(y))[p]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for found in (gg.evaluate(y, x=x), gg.compile(y)(x=x)[0]):
            np.testing.assert_allclose(found, [np.log(1 + np.e), -inf, inf], rtol=1e-6)
    with np.errstate(invalid="ignore"):
        for found in (gg.evaluate(first, x=x), gg.compile(first)(x=x)[0]):
            np.testing.assert_allclose(found[0], [0, 1 / (1 + np.e), np.e / (1 + np.e)], rtol=1e-6)
            np.testing.assert_array_equal(found[2], [np.nan, 0, 0])  # which of several could be infinite is not known


def test_minus_infinity_masks() -> None:
    x = np.array([[0.0, -np.inf, 0.0]])
    for name, wanted in (("softmax", [[0.5, 0, 0.5]]), ("log_softmax", [[-np.log(2), -np.inf, -np.log(2)]])):
        p = gg.Graph().parameter("x", x.shape)
        y = getattr(gg, name)(p)
        for found in (gg.evaluate(y, x=x), gg.compile(y)(x=x)[0]):
            np.testing.assert_allclose(found, wanted, rtol=1e-15)


def test_nothing_but_sums_is_derived() -> None:
    """The largest element is subtracted for the sake of rounding alone: no derivative runs through it."""
    for name in ("softmax", "log_softmax", "logsumexp"):
        x = gg.Graph().parameter("x", (2, 3))
        y = getattr(gg, name)(x, axis=1)
        slope = gg.derive(gg.sum(gg.square(y)))[x]
        gg.derive(gg.sum(gg.square(slope)), [x])
        assert "equal" not in {node.operator.name for node in x.graph.nodes}  # of max, whose rule compares


def test_one_exponential_serves_value_and_derivative() -> None:
    for name in ("softmax", "log_softmax", "logsumexp"):
        x = gg.Graph().parameter("x", ("N", 3))
        y = getattr(gg, name)(x, axis=1)
        source = gg.compile([y, gg.derive(gg.sum(gg.square(y)))[x]]).source
        assert source.count("    exp(") == 1, source
        assert source.count("    maximum_reduce(") == 1, source


def test_messages() -> None:
    x = gg.Graph().parameter("x", ("N", 0))
    for name in ("softmax", "log_softmax", "logsumexp"):
        with pytest.raises(ShapeError) as caught:
            getattr(gg, name)(x, axis=1)
        first = f"{name} of shape (N, 0) over axis 1: {name} of no numbers has no value"
        assert str(caught.value).splitlines()[0] == first
        rows = getattr(gg, name)(gg.Graph().parameter("x", ("N", 2)), axis=0)
        with pytest.raises(CallError) as failed:
            gg.evaluate(rows, x=np.ones((0, 2)))
        assert str(failed.value).splitlines()[0] == f"{name} of shape (N, 2) needs N >= 1, but N = 0"
