"""Dimensions as polynomials, their text, sizes from arrays, promotion and constant values."""

from __future__ import annotations

import copy
import pickle
from itertools import product
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from graphgrad.errors import CallError, DTypeError, ShapeError
from graphgrad.types import (
    DTYPES,
    Dim,
    Dimension,
    Value,
    bind,
    broadcast,
    count,
    dimension,
    divide_exactly,
    dtype_name,
    promote,
    show,
    size_names,
    size_of,
    solve_sizes,
)

N, M, k = (dimension(name) for name in ("N", "M", "k"))
some = settings(max_examples=60, deadline=None)
POINTS = [dict(zip(("N", "M", "k"), p, strict=True)) for p in product((0, 1, 2, 5), (1, 3), (2, 7))]


@st.composite
def dims(draw: st.DrawFn, terms: int = 3) -> Dimension:
    """A polynomial in N, M and k."""
    total: Dimension = draw(st.integers(-3, 3))
    for _ in range(draw(st.integers(0, terms))):
        term: Dimension = draw(st.integers(-4, 4))
        for name in draw(st.lists(st.sampled_from([N, M, k]), max_size=3)):
            term = term * name
        total = term + total
    return total


def values(d: Dimension) -> list[int]:
    return [size_of(d, point) for point in POINTS]


# -- algebra ----------------------------------------------------------------------------------------------------------


@some
@given(dims(), dims())
def test_sums_differences_and_products_are_those_of_the_values(a: Dimension, b: Dimension) -> None:
    at = list(zip(values(a), values(b), strict=True))
    assert values(a + b) == [x + y for x, y in at]
    assert values(a - b) == [x - y for x, y in at]
    assert values(a * b) == [x * y for x, y in at]
    assert values(-a) == [-x for x, _ in at]


@some
@given(dims(), dims(), dims())
def test_equal_polynomials_are_equal_and_hash_alike(a: Dimension, b: Dimension, c: Dimension) -> None:
    left, right = a * (b + c), b * a + c * a
    assert left == right
    assert hash(left) == hash(right)
    assert (a - b == 0) == (a == b)


@some
@given(dims())
def test_a_dimension_is_one_object_that_never_changes(a: Dimension) -> None:
    if isinstance(a, Dim):
        assert Dim(a.terms) is a
        assert pickle.loads(pickle.dumps(a)) is copy.deepcopy(a) is a
        with pytest.raises(AttributeError, match="a dimension never changes"):
            a.terms = ()


@some
@given(dims())
def test_a_polynomial_without_names_is_an_int(a: Dimension) -> None:
    assert isinstance(a, int) == (not size_names(a))
    assert isinstance(a - a, int)
    if isinstance(a, Dim):
        assert all(factor for _, factor in a.terms)


@some
@given(dims(), dims())
def test_exact_division_is_the_inverse_of_the_product(a: Dimension, b: Dimension) -> None:
    if b != 0:
        assert divide_exactly(a * b, b) == a
    quotient = divide_exactly(a, b)
    assert quotient is None or quotient * b == a


@pytest.mark.parametrize(
    ("a", "b", "quotient"),
    [
        (N * 6, 3, N * 2),
        (N * N - 1, N + 1, N - 1),
        (N + 1, N, None),
        (N * 3, 2, None),
        (N, 0, None),
        (N * M, M, N),
        (0, N, 0),
        (7, 2, None),
    ],
)
def test_division_without_a_rest(a: Dimension, b: Dimension, quotient: Dimension | None) -> None:
    assert divide_exactly(a, b) == quotient


def test_floor_division_says_what_leaves_a_rest() -> None:
    assert (N * 4) // 2 == N * 2
    with pytest.raises(ShapeError, match=r"^N \+ 1 cannot be divided by 2 without a rest$"):
        (N + 1) // 2


# -- text -------------------------------------------------------------------------------------------------------------


@some
@given(dims())
def test_text_is_read_back(a: Dimension) -> None:
    if isinstance(a, Dim):
        assert dimension(str(a)) == a


@some
@given(dims())
def test_text_is_python(a: Dimension) -> None:
    assert [eval(str(a), {}, dict(p)) for p in POINTS] == values(a)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("N", N),
        (" 2 * N+1", N * 2 + 1),
        ("N*N", N * N),
        ("N**2", N * N),
        ("-N + 2*N", N),
        ("3", 3),
        ("batch_size", dimension("batch_size")),
        ("N - N", 0),
    ],
)
def test_text_that_is_a_dimension(text: str, value: Dimension) -> None:
    assert dimension(text) == value


@pytest.mark.parametrize(
    "bad", ["", "N +", "+", "2N", "N**", "N**M", "N/2", "(N)", "N..", "1.5", "N +* 2", -1, 1.5, True, None, "N 2"]
)
def test_what_is_no_dimension(bad: Any) -> None:
    message = (
        "a dimension is not negative, but -1 was given"
        if bad == -1
        else (f"a dimension is an int or a name such as 'N' or '2*N + 1', but {bad!r} was given")
    )
    with pytest.raises(ShapeError) as error:
        dimension(bad)
    assert str(error.value) == message


def test_how_polynomials_and_shapes_read() -> None:
    assert str(N * 2 + 1) == "2*N + 1"
    assert str(1 - N) == "-N + 1"
    assert str(N * N * M - 3) == "M*N**2 - 3"
    assert show(()) == "()"
    assert show((N, 2)) == "(N, 2)"
    assert show((N * 2,)) == "(2*N,)"


# -- shapes -----------------------------------------------------------------------------------------------------------


@some
@given(st.lists(st.lists(st.sampled_from([1, 2, 3]), max_size=3), min_size=1, max_size=3))
def test_broadcasting_is_numpys(shapes: list[list[int]]) -> None:
    try:
        wanted: tuple[int, ...] | None = np.broadcast_shapes(*map(tuple, shapes))
    except ValueError:
        wanted = None
    assert broadcast(*map(tuple, shapes)) == wanted


def test_broadcasting_of_names() -> None:
    assert broadcast((N, 1), (3,)) == (N, 3)
    assert broadcast((N,), (M,)) is None
    assert broadcast((N,), (32,)) is None
    assert count((N, 2, N)) == N * N * 2
    assert count(()) == 1
    assert bind((N, (M + 1, 2), "N"), {"N": 4, "M": 5}) == (4, (6, 2), "N")


# -- sizes from arrays ------------------------------------------------------------------------------------------------


@some
@given(st.lists(dims(2), min_size=1, max_size=3), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.randoms())
def test_sizes_are_found_and_checked(shape: list[Dimension], n: int, m: int, l: int, random: Any) -> None:
    true = {"N": n, "M": m, "k": l}
    leaves = [("x", (N,), (n,)), ("y", (M, k), (m, l)), ("z", tuple(shape), tuple(size_of(d, true) for d in shape))]
    random.shuffle(leaves)
    assert solve_sizes(leaves) == true
    wrong = [(name, s, (*a[:-1], a[-1] + 1) if name == "z" else a) for name, s, a in leaves]
    with pytest.raises(CallError):
        solve_sizes(wrong)


def test_sizes_from_polynomials() -> None:
    assert solve_sizes([("x", (N * 2 + 1,), (7,))]) == {"N": 3}
    assert solve_sizes([("x", (N * M,), (6,)), ("y", (M + N,), (5,)), ("z", (N,), (2,))]) == {"N": 2, "M": 3}
    assert solve_sizes([("x", (3,), (3,))]) == {}


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        ([("x", (N, 2), (4,))], "x has shape (4,), but 2 dimensions were declared: (N, 2)"),
        ([("x", (2,), ())], "x has shape (), but 1 dimension were declared: (2,)"),
        ([("x", (3,), (4,))], "x has shape (4,), but (3,) was declared: axis 0 is 4 where 3 is wanted"),
        (
            [("x", (N,), (4,)), ("y", (2, N), (2, 5))],
            "y has shape (2, 5), but (2, N) was declared: axis 1 is 5 where N with N = 4 is wanted",
        ),
        ([("x", (N * 2,), (5,))], "x: axis 0 is 5, from which 2*N cannot be solved for a size"),
        ([("x", (N + 3,), (2,))], "x: axis 0 is 2, from which N + 3 cannot be solved for a size"),
        ([("x", (N * M,), (6,))], "x: axis 0 is 6, from which M*N cannot be solved for a size"),
        ([("x", (N * N,), (9,))], "x: axis 0 is 9, from which N**2 cannot be solved for a size"),
    ],
)
def test_arrays_from_which_no_sizes_follow(leaves: Any, message: str) -> None:
    with pytest.raises(CallError) as error:
        solve_sizes(leaves)
    assert str(error.value) == message


# -- dtypes -----------------------------------------------------------------------------------------------------------

PYTHON = {"bool": True, "int64": 1, "float64": 1.0}  # what a weak value of each dtype is


@pytest.mark.parametrize(("a", "b"), list(product(DTYPES, DTYPES)))
def test_promotion_is_numpys(a: str, b: str) -> None:
    x, y = np.ones(2, a), np.ones(2, b)
    assert promote([(a, False), (b, False)]) == (np.result_type(x, y).name, False)
    if a in PYTHON:
        result = np.result_type(PYTHON[a], y) if a != "bool" else np.result_type(np.bool_, y)
        assert promote([(a, True), (b, False)]) == (result.name, False)
        assert promote([(b, False), (a, True)]) == (result.name, False)
    if a in PYTHON and b in PYTHON:
        assert promote([(a, True), (b, True)]) == (np.asarray(PYTHON[a] + PYTHON[b]).dtype.name if a != b else a, True)


@some
@given(
    st.lists(
        st.tuples(st.sampled_from(DTYPES), st.booleans()).filter(lambda p: p != ("float32", True)),
        min_size=2,
        max_size=4,
    )
)
def test_promotion_does_not_depend_on_order(kinds: list[tuple[str, bool]]) -> None:
    assert promote(kinds) == promote(kinds[::-1])


def test_dtypes_by_name() -> None:
    assert [dtype_name(d) for d in (float, "f4", np.int64, bool, np.dtype("float64"))] == [
        "float64",
        "float32",
        "int64",
        "bool",
        "float64",
    ]
    for bad, name in (("float16", "float16"), (complex, "complex128"), ("banana", "banana"), (np.int32, "int32")):
        with pytest.raises(DTypeError) as error:
            dtype_name(bad)
        assert str(error.value) == f"dtype {name!r} is not one of bool, int64, float32, float64"


# -- constants --------------------------------------------------------------------------------------------------------


def test_constants_are_equal_by_dtype_shape_and_bytes() -> None:
    assert Value.of(1.0) == Value.of(np.float64(1.0))
    assert Value.of(float("nan")) == Value.of(float("nan"))
    assert Value.of(0.0) != Value.of(-0.0)
    assert Value.of(1.0) != Value.of(1)
    assert Value.of(np.float32(1)) != Value.of(1.0)
    assert Value.of([1.0]) != Value.of([[1.0]])
    assert len({Value.of([1, 2]), Value.of(np.array([1, 2], np.int8)), Value.of(np.array([[1, 9], [2, 9]])[:, 0])}) == 1


def test_a_constant_is_a_copy_that_cannot_change() -> None:
    array = np.ones(2)
    value = Value.of(array)
    array[0] = 7
    assert value.array[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        value.array[0] = 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (1j, "a constant of dtype 'complex128' was given; its dtype may be bool, int64, float32, float64"),
        (np.float16(1), "a constant of dtype 'float16' was given; its dtype may be bool, int64, float32, float64"),
        ("a", "a constant of dtype 'str32' was given; its dtype may be bool, int64, float32, float64"),
        (np.array([2**63], np.uint64), "a constant of dtype uint64 was given with values that int64 cannot hold"),
    ],
)
def test_what_is_no_constant(bad: Any, message: str) -> None:
    with pytest.raises(DTypeError) as error:
        Value.of(bad)
    assert str(error.value) == message
