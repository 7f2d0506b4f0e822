"""Joining, cutting and picking against NumPy, in `evaluate` and generated code, with first and second derivatives."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import graphgrad as gg
from graphgrad.operators.slices import embed
from tests.operators.harness import agrees, check_gradient, check_result, check_target, ramp, shapes, values

few = settings(max_examples=25, deadline=None)


def told(build: Any) -> str:
    """The whole text of the error."""
    with pytest.raises(gg.GraphgradError) as caught:
        build()
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------------------------
# Slices
# ---------------------------------------------------------------------------------------------------------------------


@few
@given(st.data())
def test_basic_indices_are_numpys(data: st.DataObject) -> None:
    x = ramp(*data.draw(shapes(max_rank=3, max_side=4)))
    key = data.draw(hnp.basic_indices(x.shape, max_dims=6, allow_newaxis=True, allow_ellipsis=True))
    agrees(lambda x: x[key], x[key], x)


@few
@given(st.data())
def test_arrays_among_slices_are_numpys(data: st.DataObject) -> None:
    """Integers, lists, slices, None and an ellipsis in any order: also one that covers no axis parts the arrays."""
    x = ramp(3, 4, 3)
    lists = st.lists(st.integers(-3, 2), min_size=2, max_size=2)
    entries = data.draw(st.lists(st.one_of(lists, st.integers(-3, 2), st.just(slice(1, None))), max_size=3))
    key: list[Any] = list(entries)
    if data.draw(st.booleans()):
        key.insert(data.draw(st.integers(0, len(key))), ...)
    if data.draw(st.booleans()):
        key.insert(data.draw(st.integers(0, len(key))), None)
    agrees(lambda x: x[tuple(key)], x[tuple(key)], x)


@pytest.mark.parametrize(
    "key", [np.s_[:, [0, 2], ..., [1, 1]], np.s_[:, 0, ..., [0, 1]], np.s_[None, 0, [0, 2], ..., 0]]
)
def test_an_ellipsis_that_covers_no_axis_parts_arrays(key: Any) -> None:
    x = ramp(3, 4, 3)
    agrees(lambda x: x[key], x[key], x)


@few
@given(st.data())
def test_slices_of_named_sizes(data: st.DataObject) -> None:
    x = ramp(7, 2)
    edge = st.none() | st.integers(-7, 7)
    key = slice(data.draw(edge), data.draw(edge), data.draw(st.sampled_from([None, 1, -1])))
    wanted = x[key]
    length = len(range(7)[key])

    def build(x: gg.Tensor) -> gg.Tensor:
        return x[key]

    graph = gg.Graph()
    tensor = graph.input("x0", ("N", 2))[key]
    try:
        found = gg.evaluate(tensor, x0=x)
    except gg.GraphgradError:
        found = None
    if found is None:  # bounds in the wrong order: empty to NumPy, refused where only the call can know the order
        assert length == 0
        return
    np.testing.assert_array_equal(found, wanted)
    check_target(build, x, shapes=[("N", 2)])
    check_gradient(build, x, shapes=[("N", 2)])


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        (np.s_[1:], "N - 1"),
        (np.s_[:-1], "N - 1"),
        (np.s_[2:-2], "N - 4"),
        (np.s_[::-1], "N"),
        (np.s_[:5], "5"),
        (np.s_[-3:], "3"),
        (np.s_[-3:-3], "0"),
        (np.s_[5:2], "0"),
        (np.s_[:7:3], "3"),
        (np.s_[6:0:-4], "2"),
    ],
)
def test_length_of_a_slice_of_a_named_size(key: slice, shape: str) -> None:
    x = ramp(9)
    tensor = gg.Graph().input("x", ("N",))[key]
    assert str(tensor.shape[0]) == shape
    np.testing.assert_array_equal(gg.evaluate(tensor, x=x), x[key])
    np.testing.assert_array_equal(gg.compile([tensor])(x=x)[0], x[key])


def test_steps_divide_a_named_size() -> None:
    x = ramp(8)
    agrees(lambda x: x[::2], x[::2], x, shapes=[("2*N",)])
    agrees(lambda x: x[::-2], x[::-2], x, shapes=[("2*N",)])


def test_sizes_serve_as_bounds() -> None:
    x = gg.Graph().input("x", ("N", "M"))
    n, m = x.shape
    tensor = x[: n - m, n - n :]
    assert tensor.shape == (n - m, m)
    np.testing.assert_array_equal(gg.evaluate(tensor, x=ramp(5, 2)), ramp(5, 2)[:3])
    assert "needs -M + N >= 0, but M = 3, N = 2" in told(lambda: gg.evaluate(tensor, x=ramp(2, 3)))


@pytest.mark.parametrize(
    ("key", "needs"),
    [
        (np.s_[:5], "x[:5] of shape (N,) needs N >= 5, but N = 1"),
        (np.s_[3], "x[3:4] of shape (N,) needs N >= 4, but N = 1"),
        (np.s_[-2], "x[N - 2:N - 1] of shape (N,) needs N >= 2, but N = 1"),
        (np.s_[2:], "x[2:] of shape (N,) needs N >= 2, but N = 1"),
        (np.s_[:-2], "x[:N - 2] of shape (N,) needs N >= 2, but N = 1"),
    ],
)
def test_slices_that_a_size_does_not_hold(key: Any, needs: str) -> None:
    x = gg.Graph().input("x", ("N",))
    tensor = x[key]
    compiled = gg.compile([tensor])
    line = "\n  at test_index.py:"
    for call in (lambda: gg.evaluate(tensor, x=[1.0]), lambda: compiled(x=[1.0])):
        text = told(call)
        assert text.startswith(needs + line)
        assert text.endswith(": tensor = x[key]")


def test_a_gradient_alone_needs_the_size_too() -> None:
    g = gg.Graph()
    w = g.parameter("w", ("N",))
    gradient = gg.derive(gg.sum(w[:5]))[w]
    assert "(5,) inside of (N,) needs N >= 5, but N = 3" in told(lambda: gg.compile([gradient])(w=[1.0, 2.0, 3.0]))
    assert "(5,) inside of (N,) needs N >= 5, but N = 3" in told(lambda: gg.evaluate(gradient, w=[1.0, 2.0, 3.0]))


def test_equal_slices_are_one_node() -> None:
    x = gg.Graph().input("x", (6,))
    assert x[1:4].id == x[-5:-2].id == x[1:4:1].id
    assert x[0:6].id == x.id == x[:].id == x[...].id == x[0:100].id
    assert x[2:3].id == x[2:3:-1][::1].id or x[2:3:-1].shape == (0,)
    assert x[2:1:-1].id == x[2:3:5].id


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (
            np.s_[::2],
            "the slice ::2 of axis 0 of shape (N, 3): N elements by steps of 2 is no dimension; "
            "an axis of 2*N would fit",
        ),
        (np.s_[::0], "the slice ::0 goes by steps of 0; a step is a number that is not zero"),
        (np.s_[1.5:], "a slice goes by integers, but 1.5 was given"),
        (np.s_[:, 3], "index 3 of axis 1 of shape (N, 3): indices run from -3 to 2"),
        (np.s_[:, -4], "index -4 of axis 1 of shape (N, 3): indices run from -3 to 2"),
        (np.s_[:, [0, 3]], "take of shape (N, 3) along axis 1: indices from 0 to 3 into an axis that is 3 long"),
        (np.s_[0, 0, 0], "x of shape (N, 3) has 2 axes, but 3 indices were given"),
        (np.s_[..., 0, ...], "x[...]: an index has one ellipsis, but 2 were given"),
        (np.s_["a"], "x[...] takes integers, slices, None, ... and arrays of integers, but str was given"),
        (np.s_[1.0], "x[...] takes integers, slices, None, ... and arrays of integers, but float was given"),
        (np.s_[[0.5]], "x[...] takes integers, slices, None, ... and arrays of integers, but float64 was given"),
        (np.s_[:, [0, 1], [0]], "x of shape (N, 3) has 2 axes, but 3 indices were given"),
        (np.s_[[[0], [1, 1]]], "x[...] by a list whose rows have different lengths: it is no array"),
        (np.s_[[0, 1], [0, 1, 2]], "index arrays of shapes (2,) and (3,) do not broadcast together"),
    ]
    + [
        (
            mask,
            "x[...] by a mask of bools: how many it picks only the call knows; gg.where(mask, x, 0) keeps the shape",
        )
        for mask in (True, np.True_, [True, False], np.array([True]), (slice(None), [True, False, True]))
    ],
)
def test_wrong_indices(key: Any, text: str) -> None:
    x = gg.Graph().input("x", ("N", 3))
    found = told(lambda: x[key])
    assert found.split("\n  at test_index.py:")[0] == text
    assert found.endswith("found = told(lambda: x[key])")


def test_a_tensor_of_bools_or_floats_is_no_index() -> None:
    x = gg.Graph().input("x", ("N", 3))
    assert "gg.where(mask, x, 0) keeps the shape" in told(lambda: x[x > 0])
    assert told(lambda: x[x]).startswith(
        "x[...] by indices of dtype float64: int64 is wanted; gg.cast(i, 'int64') makes it"
    )


def test_iteration_and_views_of_constants() -> None:
    g = gg.Graph()
    rows = list(g.input("x", (3, "N")))
    np.testing.assert_array_equal(gg.evaluate(rows[2], x=ramp(3, 2)), [5, 6])
    assert g.constant(ramp(4))[1].value == 2.0


@few
@given(st.data())
def test_flip(data: st.DataObject) -> None:
    x = ramp(*data.draw(shapes(max_rank=3)))
    axis = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1) if x.ndim else st.none())
    agrees(lambda x: gg.flip(x, axis), np.flip(x, axis), x)


@few
@given(st.data())
def test_embed_is_the_adjoint_of_a_slice(data: st.DataObject) -> None:
    x = ramp(*data.draw(shapes(min_rank=1, max_rank=2)))
    start = tuple(data.draw(st.integers(0, 2)) for _ in x.shape)
    step = tuple(data.draw(st.integers(1, 3)) for _ in x.shape)
    shape = tuple(
        a + (n - 1) * s + 1 + data.draw(st.integers(0, 2)) for a, n, s in zip(start, x.shape, step, strict=True)
    )
    wanted = np.zeros(shape)
    wanted[tuple(slice(a, a + n * s, s) for a, n, s in zip(start, x.shape, step, strict=True))] = x
    agrees(lambda x: embed(x, shape, start, step), wanted, x)


@few
@given(st.data())
def test_pad(data: st.DataObject) -> None:
    x = ramp(*data.draw(shapes(max_rank=3)))
    width = st.integers(0, 2)
    pair = st.tuples(width, width)
    widths = data.draw(width | pair | st.tuples(*[pair] * x.ndim)) if x.ndim else 1
    value = data.draw(st.sampled_from([0.0, 1.5, -np.inf]))
    gradient = np.isfinite(value)
    agrees(lambda x: gg.pad(x, widths, value), np.pad(x, widths, constant_values=value), x, gradient=bool(gradient))


def test_pad_of_named_sizes_and_integers() -> None:
    x = ramp(3, 2)
    agrees(lambda x: gg.pad(x, ((1, 2), (0, 1))), np.pad(x, ((1, 2), (0, 1))), x, shapes=[("N", 2)])
    agrees(lambda x: gg.pad(x, 1, 7), np.pad(x, 1, constant_values=7), x, shapes=[("N", 2)])
    i = ramp(3, dtype="int64")
    agrees(lambda i: gg.pad(i, 1, 7), np.pad(i, 1, constant_values=7), i, gradient=False)


def test_wrong_pads() -> None:
    x = gg.Graph().input("x", ("N", 3))
    i = gg.Graph().input("i", (2,), "int64")
    wanted = "n, (before, after) or such a pair for each axis is wanted, whole and not negative"
    assert told(lambda: gg.pad(x, -1)).startswith(f"pad of shape (N, 3) by -1: {wanted}\n  at test_index.py:")
    assert told(lambda: gg.pad(x, ((1, 2),) * 3)).startswith(
        f"pad of shape (N, 3) by ((1, 2), (1, 2), (1, 2)): {wanted}\n"
    )
    assert told(lambda: gg.pad(x, 0.5)).startswith(f"pad of shape (N, 3) by 0.5: {wanted}\n")
    assert told(lambda: gg.pad(i, 1, 0.5)).startswith("pad of int64 with 0.5: a whole number is wanted\n")


# ---------------------------------------------------------------------------------------------------------------------
# Joining
# ---------------------------------------------------------------------------------------------------------------------


@few
@given(st.data())
def test_concatenate_and_split(data: st.DataObject) -> None:
    shape = data.draw(shapes(min_rank=1, max_rank=3))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    sides = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    parts = []
    for k, side in enumerate(sides):
        own = list(shape)
        own[axis] = side
        parts.append(ramp(*own) + 10 * k)
    whole = np.concatenate(parts, axis)
    agrees(lambda *xs: gg.concatenate(list(xs), axis), whole, *parts)
    edges = [int(e) for e in np.cumsum(sides)[:-1]]
    for found, wanted in zip(
        check_result(lambda x: gg.split(x, edges, axis), whole), np.split(whole, edges, axis), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)
    check_gradient(lambda x: tuple(gg.split(x, edges, axis)), whole)


def test_concatenate_of_named_sizes() -> None:
    a, b = ramp(3, 2), ramp(4, 2)
    agrees(lambda a, b: gg.concatenate([a, b, a]), np.concatenate([a, b, a]), a, b, shapes=[("N", 2), ("M", 2)])
    g = gg.Graph()
    x = g.input("x", ("N", 2))
    assert str(gg.concatenate([x, x, np.zeros((1, 2))]).shape[0]) == "2*N + 1"


def test_concatenate_promotes_as_numpy() -> None:
    for left in ("bool", "int64", "float32", "float64"):
        for right in ("bool", "int64", "float32", "float64"):
            a, b = np.ones(2, left), np.ones(2, right)
            agrees(lambda a, b: gg.concatenate([a, b]), np.concatenate([a, b]), a, b, gradient=False)
            agrees(lambda a, b: gg.stack([a, b]), np.stack([a, b]), a, b, gradient=False)
            agrees(lambda a, b: gg.pack([a, b]), np.concatenate([a, b]), a, b, gradient=False)


@few
@given(st.data())
def test_stack(data: st.DataObject) -> None:
    shape = data.draw(shapes(max_rank=2))
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    parts = [ramp(*shape) * k for k in range(1, 1 + data.draw(st.integers(1, 3)))]
    agrees(lambda *xs: gg.stack(list(xs), axis), np.stack(parts, axis), *parts)


def test_stack_of_numbers_keeps_float32() -> None:
    x = np.float32(3.0)
    agrees(lambda x: gg.stack([x, 0.5, 2]), np.array([3.0, 0.5, 2.0], np.float32), x, gradient=False)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            lambda x, y: gg.concatenate([x, y]),
            "concatenate of shapes (N, 3) and (N, 2) along axis 0: all other dimensions are to be equal, "
            "so (any, 3) would fit beside (N, 3)",
        ),
        (lambda x, y: gg.concatenate([x, y], axis=2), "concatenate: axis 2 of shape (N, 3); axes run from -2 to 1"),
        (
            lambda x, y: gg.concatenate([gg.sum(x), 1.0]),
            "concatenate of numbers: tensors with at least one axis are wanted; gg.stack([a, b]) joins numbers",
        ),
        (lambda x, y: gg.stack([x, y]), "stack of shapes (N, 3) and (N, 2): they are to be equal"),
        (lambda x, y: gg.stack([x, x], axis=3), "expand_dims: axis 3 of shape (N, 3); axes run from -3 to 2"),
        (lambda x, y: gg.split(x, 2), "split of shape (N, 3) along axis 0: N is no 2 equal sections"),
        (lambda x, y: gg.split(x, 2, axis=1), "split of shape (N, 3) along axis 1: 3 is no 2 equal sections"),
        (lambda x, y: gg.split(x, 0, axis=1), "split of shape (N, 3) along axis 1: 3 is no 0 equal sections"),
        (lambda x, y: gg.flip(x, 2), "flip: axis 2 of shape (N, 3); axes run from -2 to 1"),
    ],
)
def test_wrong_joins(build: Any, text: str) -> None:
    g = gg.Graph()
    x, y = g.input("x", ("N", 3)), g.input("y", ("N", 2))
    found = told(lambda: build(x, y))
    assert found.split("\n  at test_index.py:")[0] == text


def test_split_into_equal_sections() -> None:
    x = ramp(4, 6)
    parts = check_result(lambda x: gg.split(x, 3, axis=-1), x)
    for found, wanted in zip(parts, np.split(x, 3, axis=-1), strict=True):
        np.testing.assert_array_equal(found, wanted)
    g = gg.Graph()
    left, right = gg.split(g.input("x", ("2*N", 3)), 2)
    assert str(right.shape[0]) == str(left.shape[0]) == "N"
    np.testing.assert_array_equal(gg.evaluate(right, x=ramp(4, 3)), ramp(4, 3)[2:])


def test_pack_holds_all_elements_in_order() -> None:
    w, b, c = ramp(2, 3), ramp(2), np.float64(5.0)
    wanted = np.concatenate([w.ravel(), b, [5.0]])
    agrees(lambda w, b, c: gg.pack([w, b, c]), wanted, w, b, c)
    agrees(lambda w, b: gg.pack([w.T * 2, b]), np.concatenate([w.T.ravel() * 2, b]), w, b, shapes=[("N", 3), ("N",)])


def test_pack_of_the_same_tensor_twice() -> None:
    agrees(lambda w: gg.pack([w * 2, w, w * 2]), np.tile(ramp(2), 3) * [2, 2, 1, 1, 2, 2], ramp(2))


# ---------------------------------------------------------------------------------------------------------------------
# Index arrays
# ---------------------------------------------------------------------------------------------------------------------


@few
@given(st.data())
def test_take(data: st.DataObject) -> None:
    x = data.draw(values(data.draw(shapes(min_rank=1, max_rank=3))))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    n = x.shape[axis]
    i = data.draw(hnp.arrays(np.int64, data.draw(shapes(max_rank=2)), elements=st.integers(-n, n - 1)))
    agrees(lambda x, i: gg.take(x, i, axis), np.take(x, i, axis), x, i)
    agrees(lambda x: gg.take(x, i, axis), np.take(x, i, axis), x)


@few
@given(st.data())
def test_scatter_add(data: st.DataObject) -> None:
    shape = data.draw(shapes(min_rank=1, max_rank=3))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    n, at = shape[axis], axis % len(shape)
    i = data.draw(hnp.arrays(np.int64, data.draw(shapes(max_rank=2)), elements=st.integers(-n, n - 1)))
    x = ramp(*shape[:at], *i.shape, *shape[at + 1 :])
    wanted = np.zeros(shape)
    np.add.at(wanted, (slice(None),) * at + (i,), x)
    agrees(lambda x, i: gg.scatter_add(x, i, shape, axis), wanted, x, i)


@few
@given(st.data())
def test_take_along_axis(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 3))
    axis = data.draw(st.integers(-rank, rank - 1))
    sides = [data.draw(st.sampled_from([(1, 1), (2, 2), (1, 3), (3, 1)])) for _ in range(rank)]
    left, right = ([s[k] for s in sides] for k in (0, 1))
    left[axis], right[axis] = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 3))
    n = left[axis]
    x = ramp(*left)
    i = data.draw(hnp.arrays(np.int64, tuple(right), elements=st.integers(-n, n - 1)))
    wanted = np.take_along_axis(x, i, axis)
    agrees(lambda x, i: gg.take_along_axis(x, i, axis), wanted, x, i)
    added = np.zeros(x.shape)
    for place in np.ndindex(i.shape and wanted.shape):
        source = [min(p, s - 1) for p, s in zip(place, x.shape, strict=True)]
        index = [min(p, s - 1) for p, s in zip(place, i.shape, strict=True)]
        source[axis] = i[tuple(index)]
        added[tuple(source)] += wanted[place]
    agrees(lambda y, i: gg.scatter_add_along_axis(y, i, x.shape, axis), added, wanted, i)


def test_picks_by_named_sizes() -> None:
    x, i = ramp(4, 3), np.array([2, -4, 2])
    agrees(lambda x, i: gg.take(x, i), x[i], x, i, shapes=[("N", "M"), ("K",)])
    agrees(lambda x, i: x[i], x[i], x, i, shapes=[("N", "M"), ("K",)])
    j = np.array([[0], [2], [1], [1]])
    agrees(lambda x, j: gg.take_along_axis(x, j, 1), np.take_along_axis(x, j, 1), x, j, shapes=[("N", "M"), ("N", 1)])
    k = np.array([0, 2, 2])
    agrees(lambda x, k: x[k, k], x[k, k], x, k, shapes=[("N", "M"), ("K",)])
    agrees(lambda x, k: x[-1, k], x[-1, k], x, k, shapes=[("N", "M"), ("K",)])
    agrees(lambda x, k: x[1:][k, ::-1], x[1:][k, ::-1], x, k, shapes=[("N", "M"), ("K",)])


@st.composite
def advanced_keys(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """One entry for each axis, integer arrays that broadcast among them, with None in between."""
    index_shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=len(shape), max_dims=2, max_side=3)).input_shapes
    key: list[Any] = []
    for n, index_shape in zip(shape, index_shapes, strict=True):
        if draw(st.integers(0, 4)) == 0:
            key.append(None)
        kind = draw(st.sampled_from(["array", "array", "slice", "int"]))
        if kind == "array":
            key.append(draw(hnp.arrays(np.int64, index_shape, elements=st.integers(-n, n - 1))))
        else:
            key.append(draw(st.slices(n)) if kind == "slice" else draw(st.integers(-n, n - 1)))
    return tuple(key)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_advanced_indices_are_numpys(data: st.DataObject) -> None:
    x = ramp(*data.draw(shapes(min_rank=1, max_rank=4)))
    key = data.draw(advanced_keys(x.shape))
    wanted = x[key]
    agrees(lambda x: x[key], wanted, x, gradient=wanted.size < 30)
    at = [k for k, e in enumerate(key) if isinstance(e, np.ndarray)]

    def by_tensors(x: gg.Tensor, *indices: gg.Tensor) -> gg.Tensor:
        mixed = list(key)
        for k, i in zip(at, indices, strict=True):
            mixed[k] = i
        return x[tuple(mixed)]

    agrees(by_tensors, wanted, x, *[key[k] for k in at], gradient=False)


def test_gradients_of_repeated_indices_add_up() -> None:
    g = gg.Graph()
    w, i = g.parameter("w", (3,)), g.input("i", ("N",), "int64")
    gradient = gg.derive(gg.sum(w[i]))[w]
    call = {"w": np.zeros(3), "i": [2, 0, 2, -1]}
    np.testing.assert_array_equal(gg.evaluate(gradient, **call), [1, 0, 3])
    np.testing.assert_array_equal(gg.compile([gradient])(**call)[0], [1, 0, 3])


@pytest.mark.parametrize("bad", [[0, 3], [-4, 1], [2**62, 0], [-(2**62), 0]])
def test_an_index_outside_is_an_error_of_the_call(bad: list[int]) -> None:
    g = gg.Graph()
    x, i = g.input("x", (3, "M")), g.input("i", (2,), "int64")
    built = [
        gg.take(x, i),
        x[:, None][i, 0],
        x[i, i],
        gg.take_along_axis(x, i[:, None], 0),
        gg.scatter_add(x[:2], i, (3, *x.shape[1:])),
        gg.one_hot(i, 3),
    ]
    for tensor in built:
        inputs = {n.name for n in gg_leaves(tensor)}
        call = {k: v for k, v in {"x": ramp(3, 3), "i": bad}.items() if k in inputs}
        for run in (lambda: gg.evaluate(tensor, **call), lambda: gg.compile([tensor])(**call)):  # noqa: B023
            text = told(run)
            assert f"indices from {min(bad)} to {max(bad)} into an axis that is 3 long\n  at test_index.py:" in text


def gg_leaves(tensor: gg.Tensor) -> list[gg.Tensor]:
    graph = tensor.graph
    return [graph.tensor(i) for i in graph.ancestors([tensor.id]) if graph.nodes[i].operator.name == "input"]


def test_negative_labels_are_no_classes() -> None:
    tensor = gg.one_hot(gg.Graph().input("y", ("N",), "int64"), 3)
    for run in (lambda: gg.evaluate(tensor, y=[0, -1]), lambda: gg.compile([tensor])(y=[0, -1])):
        assert "indices from -1 to 0 into an axis that is 3 long" in told(run)


def test_one_hot() -> None:
    y = np.array([[0, 2], [1, 1]])
    for dtype in ("float32", "float64", "int64", "bool"):
        agrees(lambda y: gg.one_hot(y, 3, dtype), np.eye(3, dtype=dtype)[y], y, gradient=False)  # noqa: B023
    agrees(lambda y: gg.one_hot(y, 3), np.eye(3)[y[0]], y[0], shapes=[("N",)], gradient=False)
    np.testing.assert_array_equal(
        gg.evaluate(gg.one_hot(gg.Graph().input("y", ("N",), "int64"), "N"), y=[1, 0]), [[0, 1], [1, 0]]
    )


def test_weak_and_constant_indices() -> None:
    g = gg.Graph()
    x, k = g.input("x", ("N", 3)), g.input("k", (), "int64", weak=True)
    for tensor in (gg.take(x, k), x[k], gg.take(x, 1), x[g.constant(1)]):
        call = {"x": ramp(4, 3), "k": 1} if k.id in g.ancestors([tensor.id]) else {"x": ramp(4, 3)}
        np.testing.assert_array_equal(gg.evaluate(tensor, **call), [4, 5, 6])
        np.testing.assert_array_equal(gg.compile([tensor])(**call)[0], [4, 5, 6])


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda x, i: gg.take(gg.sum(x), i), "take of a number: it has no axis to take from"),
        (lambda x, i: gg.take(x, i, axis=2), "take: axis 2 of shape (N, 3); axes run from -2 to 1"),
        (lambda x, i: gg.take(x, x), "take by indices of dtype float64: int64 is wanted; gg.cast(i, 'int64') makes it"),
        (
            lambda x, i: gg.take(x, x > 0),
            "take by a mask of bools: how many it picks only the call knows; gg.where(mask, x, 0) keeps the shape",
        ),
        (
            lambda x, i: gg.scatter_add(x, i, (4, 2)),
            "scatter_add of shape (N, 3) by indices (K,) into (4, 2) along axis 0: (K, 2) would fit",
        ),
        (lambda x, i: gg.scatter_add(x, i, (4,), axis=1), "scatter_add: axis 1 of shape (4,); axes run from -1 to 0"),
        (
            lambda x, i: gg.take_along_axis(x, i),
            "take_along_axis of shape (N, 3) by indices (K,): both have the same number of axes, one at least",
        ),
        (
            lambda x, i: gg.take_along_axis(x, i[:, None], 1),
            "take_along_axis of shape (N, 3) by indices (K, 1) along axis 1: the other dimensions do not fit",
        ),
        (
            lambda x, i: gg.take_along_axis(x, np.array([[3], [0]]), 1),
            "take_along_axis of shape (N, 3) by indices (2, 1) along axis 1: the other dimensions do not fit",
        ),
        (
            lambda x, i: gg.scatter_add_along_axis(x, i[:, None], ("K", 3), 1),
            "scatter_add_along_axis of shape (N, 3) by indices (K, 1) into (K, 3): (K, 1) would fit",
        ),
        (
            lambda x, i: gg.one_hot(x, 3),
            "one_hot by indices of dtype float64: int64 is wanted; gg.cast(i, 'int64') makes it",
        ),
    ],
)
def test_wrong_picks(build: Any, text: str) -> None:
    g = gg.Graph()
    x, i = g.input("x", ("N", 3)), g.input("i", ("K",), "int64")
    found = told(lambda: build(x, i))
    assert found.split("\n  at test_index.py:")[0] == text
