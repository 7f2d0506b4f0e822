"""Products, diagonals and triangles against NumPy, with named sizes, mixed dtypes and what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import graphgrad as gg
from graphgrad.errors import CallError, DTypeError, ShapeError
from graphgrad.operators.linear import embed_diagonal
from tests.operators.harness import Build, check_gradient, check_result, check_target, shapes, values

few = settings(max_examples=20, deadline=None)
Shape = tuple[int, ...]


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).uniform(-2.0, 2.0, shape)


def within(wanted: Any) -> Any:
    """What sums of few products of numbers up to 2 may be apart."""
    return 1e-13 if wanted.dtype == np.float64 else 1e-4


def agrees(build: Build, wanted: Any, *arrays: Any, shapes: Any = None) -> None:
    """Value, shape, dtype, target and derivatives; by named sizes too, where `shapes` declares some."""
    (found,) = check_result(build, *arrays)
    assert (found.shape, found.dtype) == (np.shape(wanted), np.asarray(wanted).dtype)
    np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-13)
    for declared in (None, shapes) if shapes else (None,):
        check_target(build, *arrays, shapes=declared, bound=within)
        check_target(build, *[a.astype(np.float32) for a in arrays], shapes=declared, bound=within)
        check_gradient(build, *arrays, shapes=declared)
        check_gradient(lambda *tensors: gg.square(build(*tensors)), *arrays, shapes=declared)


def told(error: type[Exception], build: Callable[[], Any]) -> str:
    """The whole text of the error."""
    with pytest.raises(error) as caught:
        build()
    return str(caught.value)


def first(build: Callable[[], Any]) -> str:
    return told(gg.GraphgradError, build).splitlines()[0]


def tensor(*shape: Any, dtype: str = "float64") -> gg.Tensor:
    return gg.Graph().parameter("x", shape, dtype)


# ---------------------------------------------------------------------------------------------------------------------
# Products
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (("N",), ("N",)),
        (("N",), ("N", 4)),
        (("N", 3), (3,)),
        (("N", 3), (3, "M")),
        ((3,), ("N", 3, 4)),
        ((3,), ("N", "M", 3, 2)),
        (("N", 2, 3), (3,)),
        (("N", "M", 2, 3), (3,)),
        (("N", 2, 3), (3, 4)),
        (("N", "M", 2, 3), (3, 2)),
        ((2, 3), ("N", 3, 4)),
        ((2, 3), ("N", "M", 3, 2)),
        (("N", 2, 3), ("N", 3, 4)),
        ((1, 2, 3), ("N", 3, 4)),
        (("N", 2, 3), (1, 3, 4)),
        (("N", 2, 3), ("M", "N", 3, 2)),
        (("N", 1, 2, 3), ("M", 3, 2)),
    ],
    ids=str,
)
def test_matrix_products_of_all_ranks(a: tuple[Any, ...], b: tuple[Any, ...]) -> None:
    sizes = {"N": 5, "M": 2}
    x, y = (numbers(*[sizes.get(d, d) for d in s], seed=k) for k, s in enumerate((a, b)))
    agrees(gg.matmul, np.matmul(x, y), x, y, shapes=[a, b])


@few
@given(st.data())
def test_batches_broadcast(data: st.DataObject) -> None:
    batch = data.draw(shapes(max_rank=3))
    sides = [
        tuple(data.draw(st.sampled_from([d, 1])) for d in batch[data.draw(st.integers(0, len(batch))) :]) for _ in "xy"
    ]
    m, k, n = (data.draw(st.integers(0 if d else 1, 3)) for d in range(3))
    x, y = data.draw(values((*sides[0], m, k))), data.draw(values((*sides[1], k, n)))
    (found,) = check_result(gg.matmul, x, y)
    np.testing.assert_allclose(found, x @ y, atol=1e-14)
    check_target(gg.matmul, x, y, bound=within)
    check_gradient(gg.matmul, x, y)


@pytest.mark.parametrize(
    "shapes", [((2, 3), (3, 4)), ((3,), (3,)), ((5, 2, 3), (3, 4)), ((2, 3), (3,)), ((4, 2, 3), (4, 3, 1))], ids=str
)
def test_products_of_mixed_dtypes(shapes: tuple[Shape, Shape]) -> None:
    for a in ("bool", "int64", "float32", "float64"):
        for b in ("bool", "int64", "float32", "float64"):
            x, y = (numbers(*s).round().astype(d) for s, d in zip(shapes, (a, b), strict=True))
            if a == b == "bool":
                assert first(lambda x=x, y=y: gg.matmul(tensor(*x.shape, dtype="bool"), y)) == (
                    "matmul of bools: numbers are wanted; gg.cast(x, 'float64') makes them"
                )
                continue
            (found,) = check_result(gg.matmul, x, y)
            wanted = np.matmul(x, y)
            assert found.dtype == wanted.dtype
            np.testing.assert_array_equal(found, wanted)
            check_target(gg.matmul, x, y, bound=0)


def test_an_array_on_either_side() -> None:
    a = numbers(3, 3)
    for build in (lambda x: a @ x, lambda x: x @ a, lambda x: gg.dot(a, x), lambda x: gg.outer(a, x)):
        check_gradient(build, numbers(3, 3, seed=1))


def test_a_stack_times_a_matrix_is_one_product() -> None:
    """In both directions: no stack of products is made, only to be summed."""
    g = gg.Graph()
    for a, b in ((("N", 5, 3), (3, 4)), ((5, 3), ("N", 3, 4)), (("N", 5, 3), (3,)), ((3,), ("N", 3, 4))):
        x, y = g.parameter(f"x{a}{b}", a), g.parameter(f"y{a}{b}", b)
        d = gg.derive(gg.sum(gg.square(x @ y)), [x, y])
        for t, shape in ((x, a), (y, b)):
            if "N" not in shape:
                assert d[t].shape == shape
                assert d[t].node.operator.name == "matmul", d[t]


@pytest.mark.parametrize("a", [(), (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("b", [(), (3,), (3, 2)], ids=str)
def test_dot(a: Shape, b: Shape) -> None:
    x, y = numbers(*a), numbers(*b, seed=1)
    agrees(gg.dot, np.dot(x, y), x, y)


@few
@given(st.data())
def test_outer(data: st.DataObject) -> None:
    x, y = data.draw(values(data.draw(shapes(max_rank=2)))), data.draw(values(data.draw(shapes(max_rank=2))))
    agrees(gg.outer, np.outer(x, y), x, y, shapes=[("N", "M")[: x.ndim], ("K", "L")[: y.ndim]])


def test_numbers_in_outer_and_dot_widen_nothing() -> None:
    x = tensor(2, dtype="float32")
    for y in (gg.outer(2.0, x), gg.outer(x, 2.0), gg.dot(2.0, x)):
        assert y.dtype == "float32"
    assert gg.outer(2.0, x).shape == (1, 2)
    assert gg.outer(x, 2.0).shape == (2, 1)


def test_messages_of_products() -> None:
    x = tensor("N", 3)
    assert first(lambda: gg.matmul(x, 2.0)) == (
        "matmul of shapes (N, 3) and (): a number has no rows; x * y multiplies by it"
    )
    assert first(lambda: x @ np.ones((4, 2))) == (
        "matmul of shapes (N, 3) and (4, 2): the inner dimensions are 3 and 4; a right side of shape (3, 2) would fit"
    )
    assert first(lambda: x @ np.ones(4)) == (
        "matmul of shapes (N, 3) and (4,): the inner dimensions are 3 and 4; a right side of shape (3,) would fit"
    )
    assert first(lambda: tensor("N", 2, 3) @ np.ones((5, 3, 2))) == (
        "matmul of shapes (N, 2, 3) and (5, 3, 2): the batches (N,) and (5,) do not broadcast"
    )
    message = told(ShapeError, lambda: gg.dot(tensor(2, 3, 4), np.ones(4)))
    assert message.splitlines()[0] == (
        "dot of shapes (2, 3, 4) and (4,): at most 2 axes are taken; gg.matmul multiplies stacks, "
        "and gg.einsum('...ij,kjl->...ikl', x, y) is what numpy.dot does"
    )
    assert message.splitlines()[1].startswith("  at test_linear.py:")
    assert first(lambda: gg.dot(np.ones(2), 3)) == (
        "dot builds nodes of a graph, so one operand at least is a Tensor; ndarray and int was given"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Diagonals and triangles
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["diagonal", "trace"])
@few
@given(st.data())
def test_diagonals_along_any_two_axes(name: str, data: st.DataObject) -> None:
    shape = data.draw(shapes(min_rank=2, max_rank=4))
    axis1, axis2 = data.draw(st.permutations(range(len(shape))))[:2]
    axis1 -= data.draw(st.sampled_from([0, len(shape)]))
    offset = data.draw(st.integers(-4, 4))
    x = data.draw(values(shape))
    agrees(lambda t: getattr(gg, name)(t, offset, axis1, axis2), getattr(np, name)(x, offset, axis1, axis2), x)


@pytest.mark.parametrize("offset", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("declared", [("N", "N"), ("N", "N + 1"), ("N + 2", "N")])
def test_diagonals_of_named_sizes(offset: int, declared: tuple[str, str]) -> None:
    x = numbers(*[{"N": 4, "N + 1": 5, "N + 2": 6}[d] for d in declared])
    agrees(lambda t: gg.diagonal(t, offset), np.diagonal(x, offset), x, shapes=[declared])
    agrees(lambda t: gg.trace(t, offset), np.asarray(np.trace(x, offset)), x, shapes=[declared])
    stack = np.stack([x, 2 * x], axis=1)
    shape = (declared[0], 2, declared[1])
    agrees(lambda t: gg.diagonal(t, offset, 2, 0), np.diagonal(stack, offset, 2, 0), stack, shapes=[shape])


def test_trace_of_integers_and_bools() -> None:
    for x in (np.arange(6).reshape(2, 3), np.array([[True, True], [False, True]])):
        (found,) = check_result(gg.trace, x)
        assert (found, found.dtype) == (np.trace(x), np.int64)
        check_target(gg.trace, x, bound=0)


@pytest.mark.parametrize("name", ["tril", "triu"])
@pytest.mark.parametrize("k", [-5, -2, -1, 0, 1, 2, 5])
def test_triangles(name: str, k: int) -> None:
    for shape, declared in (((3, 3), ("N", "N")), ((2, 4, 3), (2, "N", "M")), ((1, 4), ("N", 4))):
        x = numbers(*shape)
        agrees(lambda t: getattr(gg, name)(t, k), getattr(np, name)(x, k), x, shapes=[declared])


@pytest.mark.parametrize("name", ["tril", "triu"])
def test_triangles_of_other_numbers(name: str) -> None:
    """Infinities outside vanish, as nothing is multiplied by 0. Integers and bools stay what they are."""
    for x in (np.full((2, 2), np.inf), np.full((2, 3), np.nan), np.arange(6).reshape(2, 3), np.ones((3, 2), bool)):
        (found,) = check_result(getattr(gg, name), x)
        np.testing.assert_array_equal(found, getattr(np, name)(x))
        assert found.dtype == x.dtype
        check_target(getattr(gg, name), x, bound=0)


def test_messages_of_diagonals() -> None:
    x = tensor("N", 3)
    message = told(ShapeError, lambda: gg.diagonal(x))
    assert message.splitlines()[0] == (
        "diagonal of shape (N, 3): which of N rows and 3 columns end first is not known before the call; "
        "equal dimensions would fit"
    )
    assert message.splitlines()[1].startswith("  at test_linear.py:")
    assert first(lambda: gg.trace(tensor(3))) == "trace of shape (3,): two axes at least are wanted"
    assert first(lambda: gg.diagonal(tensor(3, 3), axis1=1)) == "diagonal of shape (3, 3): axis1 and axis2 are both 1"
    assert first(lambda: gg.diagonal(tensor(3, 3), 0, 2)) == "diagonal: axis 2 of shape (3, 3); axes run from -2 to 1"
    assert first(lambda: gg.diagonal(tensor(3, 3), 0.5)) == "diagonal: offset is an integer, but 0.5 was given"
    assert first(lambda: gg.tril(tensor(3))) == "tril of shape (3,): a matrix, or a stack of them, is wanted"
    assert first(lambda: gg.triu(tensor(3, 3), "1")) == "triu: k is an integer, but '1' was given"
    assert first(lambda: embed_diagonal(tensor(3), 2, 2)) == (
        "embed_diagonal of shape (3,) into (2, 2): that diagonal has 2 elements"
    )


def test_a_diagonal_outside_of_a_named_size() -> None:
    x = tensor("N", "N")
    y = gg.diagonal(x, 2)
    assert gg.evaluate(y, x=np.ones((2, 2))).shape == (0,)
    for call in (lambda: gg.evaluate(y, x=np.ones((1, 1))), lambda: gg.compile(y)(x=np.ones((1, 1)))):
        assert told(CallError, call).splitlines()[0] == "diagonal 2 of shape (N, N) needs N >= 2, but N = 1"


def test_equal_calls_are_one_node() -> None:
    x = tensor("N", "N")
    assert gg.diagonal(x) is gg.diagonal(x, 0, -2, -1)
    assert gg.tril(x) is gg.tril(x, np.int64(0))
    with pytest.raises(DTypeError):
        gg.matmul(x > 0, x > 0)
