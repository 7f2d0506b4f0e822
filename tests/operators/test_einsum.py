"""einsum against NumPy's, in all forms of one and two operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import graphgrad as gg
from tests.operators.harness import check_gradient, check_result, check_target

EXTENTS = {"a": 3, "b": 2, "c": 4, "i": 2, "j": 3, "k": 4, "l": 2, "m": 3}
NAMES = {1: 1, 2: "N", 3: "M", 4: "K"}

ONE = [
    *("ij->ji", "ij", "ji", "ii", "ii->i", "ii->", "ij->", "ij->j", "->", ""),
    *("iij->j", "iji->ij", "iii->i", "iijj->ij", "iijj", " i j -> j i"),
    *("...", "...->...", "...i->...", "i...", "i...->...i", "...ii->...i", "...ij->...ji", "i...j->j...i", "ij->...ij"),
]
TWO = [
    *("ij,jk->ik", "ij,jk", "ij,kj->ki", "ab,ca->bc", "i,i", "ij,ji->", "ij,ij->", "ijk,jil->kl"),
    *("i,j->ij", "i,j->ji", "i,i->i", "ij,ij", "ij,ij->i", "bi,b->i", "i,->", ",", ",i", "bi,bj->bij"),
    *("bij,bjk->bik", "bij,bkj->kbi", "bij,bj->b", "bi,bi->b", "ijk,k", "i,ijk->kj", "bij,kj->bik"),
    *("ii,i->i", "ii,ii->", "iij,jk->k", "iij,kkj->ik", "ij,kl->", "ij,kl->ik", "ij,k->"),
    *(
        "...ij,...jk->...ik",
        "...i,...i",
        "...i,...i->...",
        "i...,...i->...",
        "...,...",
        "i...j,j->...",
        "...ij,jk->k...",
    ),
]


def shape_of(term: str, dots: list[int]) -> list[int]:
    return [d for c in term.replace(" ", "").replace("...", "*") for d in (dots if c == "*" else [EXTENTS[c]])]


def numbers(shape: list[int], seed: int) -> Any:
    return np.random.default_rng([seed, *shape]).uniform(-2.0, 2.0, shape)


def agrees(subscripts: str, *arrays: Any) -> None:
    """Value, shape, dtype, target and derivatives, by shapes of numbers and of names."""
    build = lambda *tensors: gg.einsum(subscripts, *tensors)  # noqa: E731
    wanted = np.asarray(np.einsum(subscripts, *arrays))
    named = [[NAMES[d] for d in a.shape] for a in arrays]
    for declared in (None, named):
        (found,) = check_result(build, *arrays, shapes=declared)
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-13)
        check_target(build, *arrays, shapes=declared, bound=lambda wanted: 1e-13)
        check_target(build, *[a.astype("f4") for a in arrays], shapes=declared, bound=lambda wanted: 1e-4)
        check_gradient(build, *arrays, shapes=declared)
        check_gradient(lambda *tensors: gg.square(build(*tensors)), *arrays, shapes=declared)


@pytest.mark.parametrize("subscripts", ONE)
def test_one_operand(subscripts: str) -> None:
    agrees(subscripts, numbers(shape_of(subscripts.partition("->")[0], [3, 2]), 0))


@pytest.mark.parametrize("subscripts", TWO)
def test_two_operands(subscripts: str) -> None:
    left, right = subscripts.partition("->")[0].split(",")
    for a, b in (([3, 2], [3, 2]), ([], [2]), ([3, 1], [1, 2])) if "..." in subscripts else (([], []),):
        agrees(subscripts, numbers(shape_of(left, a), 1), numbers(shape_of(right, b), 2))


@pytest.mark.parametrize(
    ("subscripts", "a", "b"),
    [
        ("i,i", [1], [3]),
        ("ij,jk", [2, 1], [3, 4]),
        ("ij,jk->ijk", [2, 1], [3, 4]),
        ("ij,ij->i", [1, 3], [2, 1]),
        ("bij,bjk->bik", [1, 2, 3], [4, 3, 2]),
        ("ii,ij->j", [1, 1], [3, 2]),
        ("ij,ij->ij", [1, 3], [2, 1]),
    ],
)
def test_axes_of_one_name_broadcast_between_operands(subscripts: str, a: list[int], b: list[int]) -> None:
    agrees(subscripts, numbers(a, 3), numbers(b, 4))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_subscripts(data: st.DataObject) -> None:
    letter = st.sampled_from("ijkl")
    terms = data.draw(st.lists(st.lists(letter, max_size=3).map("".join), min_size=1, max_size=2))
    output = "".join(data.draw(st.permutations(sorted({c for t in terms for c in t}))))
    output = output[: data.draw(st.integers(0, len(output)))]
    subscripts = ",".join(terms) + data.draw(st.sampled_from(["", "->" + output]))
    arrays = [numbers(shape_of(t, []), k) for k, t in enumerate(terms)]
    build = lambda *tensors: gg.einsum(subscripts, *tensors)  # noqa: E731
    (found,) = check_result(build, *arrays)
    np.testing.assert_allclose(found, np.einsum(subscripts, *arrays), rtol=1e-13, atol=1e-13)
    check_target(build, *arrays, bound=lambda wanted: 1e-13)
    check_gradient(build, *arrays, second=False)


def test_integers_and_mixed_dtypes() -> None:
    x, y = np.arange(6).reshape(2, 3), np.arange(12).reshape(3, 4)
    for a in ("int64", "float32", "float64", "bool"):
        for b in ("int64", "float32", "float64"):
            given = x.astype(a), y.astype(b)
            for subscripts in ("ij,jk->ik", "ij,jk->j", "ij,kl->il"):
                (found,) = check_result(lambda x, y, s=subscripts: gg.einsum(s, x, y), *given)
                wanted = np.einsum(subscripts, *[v.astype(np.result_type(*given)) for v in given])
                assert found.dtype == wanted.dtype
                np.testing.assert_array_equal(found, wanted)
                check_target(lambda x, y, s=subscripts: gg.einsum(s, x, y), *given, bound=0)


def test_a_number_widens_nothing() -> None:
    x = gg.Graph().parameter("x", (2,), "float32")
    y = gg.einsum(",i->i", 2.0, x)
    assert y.dtype == "float32"
    np.testing.assert_array_equal(gg.evaluate(y, x=np.ones(2, "f4")), np.full(2, 2, "f4"))


def test_a_product_of_matrices_is_their_product() -> None:
    """One node, derived and computed by nothing but the matrix product: no axis is moved that need not be."""
    g = gg.Graph()
    x, y = g.parameter("x", ("N", 3)), g.parameter("y", (3, 4))
    z = gg.einsum("ij,jk", x, y)
    assert z is gg.einsum(" ij, jk -> ik", x, y)
    assert (z.node.operator.name, str(z.shape)) == ("einsum", "(N, 4)")
    d = gg.derive(gg.sum(z))
    assert "einsum: " in str(d)
    assert "einsum('ij,jk->ik', x, y)" in str(d)
    moved = {"reshape", "diagonal", "multiply"} & {n.operator.name for n in g.nodes}
    assert not moved
    batched = gg.einsum("bij,jk->bik", g.parameter("X", ("N", 2, 3)), y)
    assert gg.compile(batched).source.count("dot(") == 1


def whole(build: Callable[[], Any]) -> str:
    """The whole text of the error."""
    with pytest.raises(gg.GraphgradError) as caught:
        build()
    return str(caught.value)


def first(build: Callable[[], Any]) -> str:
    """The same of an error that tells the user's line."""
    told, line = whole(build).splitlines()
    assert line.startswith("  at test_einsum.py:")
    return told


@pytest.mark.parametrize(
    ("subscripts", "message"),
    [
        ("ij,jk->il", "einsum 'ij,jk->il': 'l' of the result names an axis of no operand"),
        ("ij,jk->ii", "einsum 'ij,jk->ii': 'i' stands in the result twice"),
        ("ij->i", "einsum 'ij->i' names 1 operand, but 2 were given"),
        ("ij,jk,k", "einsum 'ij,jk,k' names 3 operands, but 2 were given"),
        ("i,jk", "einsum 'i,jk': 'i' names 1 axes of an operand of shape (N, 3), which has 2"),
        ("ijk...,jk", "einsum 'ijk...,jk': 'ijk...' names 3 axes of an operand of shape (N, 3), which has 2"),
        (
            "ij,ij",
            "einsum 'ij,ij' of shapes (N, 3) and (3, 4): 'i' is N and 3; "
            "dimensions fit where they are equal or one of them is 1",
        ),
        (
            "...,...",
            "einsum '...,...' of shapes (N, 3) and (3, 4): an axis of '...' is N and 3; "
            "dimensions fit where they are equal or one of them is 1",
        ),
        ("ii,jk", "einsum 'ii,jk': 'i' is N and 3 in shape (N, 3); a diagonal has them equal"),
        ("...j,jk->k", "einsum '...j,jk->k': '...' stands for 1 axes, which the result 'k' lacks; '...k' would fit"),
        ("......,jk", "einsum '......,jk': one '...' an operand, but '......' has several"),
        ("ij,jk->......", "einsum 'ij,jk->......': one '...' in the result, but '......' has several"),
        ("i.j,jk", "einsum 'i.j,jk': subscripts are letters, commas, '...' and one '->', as in '...ij,jk->...ik'"),
        (
            "ij,jk->i->k",
            "einsum 'ij,jk->i->k': subscripts are letters, commas, '...' and one '->', as in '...ij,jk->...ik'",
        ),
        (3, "einsum: subscripts are text such as 'ij,jk->ik', but 3 was given"),
    ],
)
def test_messages(subscripts: Any, message: str) -> None:
    g = gg.Graph()
    x, y = g.parameter("x", ("N", 3)), g.parameter("y", (3, 4))
    assert first(lambda: gg.einsum(subscripts, x, y)) == message


def test_messages_of_operands() -> None:
    x = gg.Graph().parameter("x", (2,))
    assert whole(lambda: gg.einsum("i,i,i", x, x, x)) == (
        "einsum takes one or two operands, but 3 were given; more are multiplied two at a time"
    )
    assert whole(lambda: gg.einsum("i", np.ones(2))) == (
        "einsum builds nodes of a graph, so one operand at least is a Tensor; ndarray was given"
    )
    bools = "einsum of bools: numbers are wanted; gg.cast(x, 'float64') makes them"
    assert first(lambda: gg.einsum("i->", x > 0)) == first(lambda: gg.einsum("i,i", x > 0, x > 0)) == bools
    told = "einsum 'ij': 'ij' names 2 axes of an operand of shape (2,), which has 1"
    assert first(lambda: gg.einsum("ij", x)) == told
