"""Views and sizes against NumPy, with named sizes, rank 0 and what does not fit."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import graphgrad as gg
from tests.operators.harness import agrees, ramp, shapes

few = settings(max_examples=25, deadline=None)


def told(build: Any) -> str:
    with pytest.raises(gg.GraphgradError) as caught:
        build()
    text, _, line = str(caught.value).partition("\n  at test_shape.py:")
    assert line, "the error names no line"
    return text


@few
@given(st.data())
def test_reshape(data: st.DataObject) -> None:
    sides = data.draw(st.lists(st.sampled_from([1, 2, 3, 0]), max_size=3))
    x = ramp(*sides)
    wanted = data.draw(st.permutations([*sides, *[1] * data.draw(st.integers(0, 2))]))
    if wanted and int(np.prod(wanted)):
        wanted[data.draw(st.integers(0, len(wanted) - 1))] = -1
    agrees(lambda x: gg.reshape(x, tuple(wanted)), x.reshape(wanted), x)


@pytest.mark.parametrize(
    ("shape", "wanted", "found"),
    [
        (("N", 3), (-1,), "(3*N,)"),
        (("N", 3), -1, "(3*N,)"),
        (("N", 3), (3, -1), "(3, N)"),
        (("N", 6), (-1, 2, 3), "(N, 2, 3)"),
        (("N", 6), ("N", 2, -1), "(N, 2, 3)"),
        (("N", 6), ("2*N", -1), "(2*N, 3)"),
        (("2*N", "M"), (-1, "M"), "(2*N, M)"),
        (("2*N", "M"), (2, -1, "N"), "(2, M, N)"),
        (("N + 1", 2), (-1,), "(2*N + 2,)"),
        ((), (-1,), "(1,)"),
        ((), (1, -1, 1), "(1, 1, 1)"),
        ((1, 1), (), "()"),
        ((0, 3), (-1, 3), "(0, 3)"),
        ((4,), [2, np.int64(-1)], "(2, 2)"),
        ((4,), np.array([2, 2]), "(2, 2)"),
    ],
)
def test_reshape_finds_what_is_left(shape: Any, wanted: Any, found: str) -> None:
    x = gg.Graph().input("x", shape)
    y = gg.reshape(x, wanted)
    assert f"({', '.join(map(str, y.shape))}{',' if len(y.shape) == 1 else ''})" == found


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda x: gg.reshape(x, (-1, -1)), "reshape to (-1, -1): only one dimension can be -1"),
        (
            lambda x: gg.reshape(x, (-1, 2)),
            "reshape of (N, 3) to (-1, 2): 3*N elements cannot be divided by 2 without a rest",
        ),
        (
            lambda x: gg.reshape(x, (-1, 0)),
            "reshape of (N, 3) to (-1, 0): 3*N elements cannot be divided by 0 without a rest",
        ),
        (lambda x: gg.reshape(x, (32, 3)), "reshape of (N, 3) to (32, 3): 3*N elements are not 96"),
        (lambda x: gg.reshape(x, ("M", 3)), "reshape of (N, 3) to (M, 3): 3*N elements are not 3*M"),
        (lambda x: gg.reshape(x, (-2,)), "a dimension is not negative, but -2 was given"),
        (lambda x: gg.reshape(x, 2.5), "a dimension is an int or a name such as 'N' or '2*N + 1', but 2.5 was given"),
        (
            lambda x: gg.reshape(x, (True, -1)),
            "a dimension is an int or a name such as 'N' or '2*N + 1', but True was given",
        ),
        (lambda x: gg.transpose(x, (0, 0)), "transpose of (N, 3) by axes (0, 0): each of its 2 axes is wanted once"),
        (lambda x: gg.transpose(x, 0), "transpose of (N, 3) by axes 0: each of its 2 axes is wanted once"),
        (lambda x: gg.transpose(x, (0, 2)), "transpose: axis 2 of shape (N, 3); axes run from -2 to 1"),
        (
            lambda x: gg.broadcast_to(x, ("M", 3)),
            "broadcast_to of (N, 3) to (M, 3): dimensions fit where they are equal or 1 becomes more",
        ),
        (
            lambda x: gg.broadcast_to(x, (3,)),
            "broadcast_to of (N, 3) to (3,): dimensions fit where they are equal or 1 becomes more",
        ),
        (lambda x: gg.broadcast_to(gg.sum(x), -1), "a dimension is not negative, but -1 was given"),
        (lambda x: gg.sum_to(x, ("M", 1)), "sum_to of (N, 3) to (M, 1): (M, 1) does not broadcast to (N, 3)"),
        (lambda x: gg.squeeze(x, 0), "squeeze of shape (N, 3): axis 0 is N, and only axes of length 1 can go"),
        (lambda x: gg.squeeze(x, 2), "squeeze: axis 2 of shape (N, 3); axes run from -2 to 1"),
        (lambda x: gg.expand_dims(x, 3), "expand_dims: axis 3 of shape (N, 3); axes run from -3 to 2"),
        (lambda x: gg.expand_dims(x, (0, -4)), "expand_dims: axis (0, -4) names an axis of the result twice"),
        (lambda x: gg.swapaxes(x, 0, 2), "swapaxes: axis 2 of shape (N, 3); axes run from -2 to 1"),
        (lambda x: gg.size(x, 2), "size: axis 2 of shape (N, 3); axes run from -2 to 1"),
    ],
)
def test_what_does_not_fit(build: Any, text: str) -> None:
    x = gg.Graph().input("x", ("N", 3))
    assert told(lambda: build(x)) == text


@few
@given(st.data())
def test_transpose_and_swapaxes(data: st.DataObject) -> None:
    x = ramp(*data.draw(shapes(max_rank=4, max_side=3)))
    axes = tuple(a - data.draw(st.sampled_from([0, x.ndim])) for a in data.draw(st.permutations(range(x.ndim))))
    agrees(lambda x: gg.transpose(x, axes), x.transpose(axes), x)
    agrees(lambda x: x.T, x.T, x)
    if x.ndim:
        a, b = (data.draw(st.integers(-x.ndim, x.ndim - 1)) for _ in range(2))
        agrees(lambda x: gg.swapaxes(x, a, b), np.swapaxes(x, a, b), x)


@few
@given(st.data())
def test_squeeze_and_expand_dims(data: st.DataObject) -> None:
    x = ramp(*data.draw(st.lists(st.sampled_from([1, 1, 2]), max_size=3)))
    agrees(gg.squeeze, np.squeeze(x), x)
    ones = [a - data.draw(st.sampled_from([0, x.ndim])) for a, d in enumerate(x.shape) if d == 1]
    chosen = tuple(data.draw(st.permutations(ones)))[: data.draw(st.integers(0, len(ones)))]
    agrees(lambda x: gg.squeeze(x, chosen), np.squeeze(x, chosen), x)
    axis = data.draw(st.integers(-x.ndim - 1, x.ndim))
    agrees(lambda x: gg.expand_dims(x, axis), np.expand_dims(x, axis), x)
    agrees(
        lambda x: gg.expand_dims(x, (0, axis % (x.ndim + 1) + 1)), np.expand_dims(x, (0, axis % (x.ndim + 1) + 1)), x
    )


@few
@given(st.data())
def test_broadcast_to_and_its_adjoint(data: st.DataObject) -> None:
    small = data.draw(st.lists(st.sampled_from([1, 2, 3]), max_size=3))
    wide = [data.draw(st.sampled_from([1, 2, 0])) if d == 1 else d for d in small]
    shape = (*data.draw(st.lists(st.integers(1, 2), max_size=2)), *wide)
    x = ramp(*small)
    agrees(lambda x: gg.broadcast_to(x, shape), np.broadcast_to(x, shape), x)
    y = ramp(*shape)
    wanted = y.sum(axis=tuple(range(len(shape) - len(small))))
    for axis, (d, w) in enumerate(zip(small, wide, strict=True)):
        wanted = wanted.sum(axis=axis, keepdims=True) if d != w else wanted
    agrees(lambda y: gg.sum_to(y, tuple(small)), wanted, y)


def test_named_sizes() -> None:
    x = ramp(4, 3)
    agrees(lambda x: gg.reshape(x, (3, -1)), x.reshape(3, -1), x, shapes=[("N", 3)])
    agrees(lambda x: gg.reshape(x.T, -1), x.T.reshape(-1), x, shapes=[("N", "M")])
    agrees(lambda x: gg.reshape(x[1:], ("N - 1", 3, 1)), x[1:].reshape(3, 3, 1), x, shapes=[("N", 3)])
    agrees(lambda x: gg.broadcast_to(x[:1], ("2*N", 3)), np.broadcast_to(x[:1], (8, 3)), x, shapes=[("N", 3)])
    agrees(lambda x: gg.sum_to(x, (1, "M")), x.sum(0, keepdims=True), x, shapes=[("N", "M")])
    agrees(lambda x: gg.sum_to(x, ()), x.sum(), x, shapes=[("N", "M")])
    agrees(lambda x: gg.squeeze(x[:, None]), x, x, shapes=[("N", "M")])


def test_a_named_size_that_happens_to_be_one() -> None:
    x = ramp(1, 3)
    agrees(lambda x: gg.sum_to(x, (3,)), x[0], x, shapes=[("N", 3)])
    agrees(lambda x: gg.sum_to(x, (1, 3)), x, x, shapes=[("N", 3)])
    agrees(gg.squeeze, x, x, shapes=[("N", 3)])


@pytest.mark.parametrize("dtype", ["bool", "int64", "float32"])
def test_dtypes_stay(dtype: str) -> None:
    x = np.array([[1, 0, 1]], dtype)
    gradient = False
    agrees(lambda x: gg.reshape(x, (3, 1)), x.reshape(3, 1), x, gradient=gradient)
    agrees(lambda x: gg.broadcast_to(x, (2, 3)), np.broadcast_to(x, (2, 3)), x, gradient=gradient)
    agrees(lambda x: gg.sum_to(x, (1, 1)), x.sum(1, keepdims=True), x, gradient=gradient)


def test_size() -> None:
    g = gg.Graph()
    x = g.input("x", ("N", 3, "2*M"))
    call = {"x": np.zeros((4, 3, 10))}
    for axis, wanted in ((None, 120), (0, 4), (1, 3), (-1, 10), ((0, 1), 12), ((), 1)):
        value = gg.size(x, axis)
        assert (value.shape, value.dtype) == ((), "int64")
        arrays = call if "x" in [g.label(i) for i in g.ancestors([value.id])] or value.value is None else {}
        assert gg.evaluate(value + 0 * gg.cast(gg.sum(x), "int64"), **call) == wanted
        assert value.value == wanted or arrays
    assert gg.compile([gg.size(x) * gg.sum(x)])(x=np.ones((4, 3, 10)))[0] == 120 * 120


def test_size_keeps_float32() -> None:
    x = gg.Graph().input("x", ("N",), "float32")
    assert (x / gg.size(x)).dtype == "float32"
