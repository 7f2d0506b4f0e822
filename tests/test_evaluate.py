"""The reference evaluator: values, dtypes, sizes, complex arguments, and callers' mistakes read whole."""

from __future__ import annotations

import re
from array import array
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.errors import CallError
from graphgrad.evaluate import evaluate_nodes


def test_one_tensor_gives_an_array_and_a_list_a_list() -> None:
    g = gg.Graph()
    x = g.input("x", ("N",))
    one = gg.evaluate(x * 2, x=[1, 2])
    assert isinstance(one, np.ndarray)
    several = gg.evaluate([x * 2, gg.sum(x)], x=[1, 2])
    assert isinstance(several, list)
    np.testing.assert_array_equal(several[0], one)
    assert several[1] == 3
    assert gg.evaluate([]) == []


def test_results_belong_to_the_caller() -> None:
    g = gg.Graph()
    x = g.input("x", (2,))
    given = np.array([1.0, 2.0])
    got = gg.evaluate(x, x=given)
    got[0] = 9
    assert given[0] == 1
    constant = g.constant(np.array([1.0, 2.0])) + 0 * 1
    gg.evaluate(constant)[0] = 9
    assert gg.evaluate(constant)[0] == 1
    view = gg.evaluate(gg.broadcast_to(x, (3, 2)), x=given)
    view[0, 0] = 5
    assert view[1, 0] == 1


def test_only_what_is_needed_is_asked_for() -> None:
    g = gg.Graph()
    x, y = g.input("x"), g.input("y")
    x * y
    assert gg.evaluate(x + 1, x=1) == 2
    assert gg.evaluate(x + 1, x=1, y=5) == 2
    assert gg.evaluate(g.constant(3)) == 3


def test_states_start_at_zero() -> None:
    g = gg.Graph()
    m, x = g.state("m", ("N", 2), "float32"), g.input("x", ("N",))
    np.testing.assert_array_equal(gg.evaluate(m + gg.reshape(x, (-1, 1)), x=[1.0, 2.0, 3.0]), [[1, 1], [2, 2], [3, 3]])
    assert gg.evaluate(m, x=[1.0]).dtype == "float32"
    np.testing.assert_array_equal(gg.evaluate(m, m=np.ones((1, 2), "f4")), [[1, 1]])


def test_sizes_come_from_the_arrays() -> None:
    g = gg.Graph()
    x = g.input("x", ("N", 3))
    assert gg.evaluate(gg.size(x), x=np.zeros((4, 3))) == 12
    assert gg.evaluate(gg.size(x, 0), x=np.zeros((0, 3))) == 0
    assert gg.evaluate(gg.reshape(x, (-1,)), x=np.zeros((2, 3))).shape == (6,)
    y = g.input("y", ("2*M + 1",))
    assert gg.evaluate(gg.size(g.input("z", ("M",))), y=np.zeros(7), z=np.zeros(3)) == 3
    assert gg.evaluate(gg.broadcast_to(gg.sum(y), ("M",)), y=np.zeros(7)).shape == (3,)


def test_dtypes_are_the_inferred_ones() -> None:
    g = gg.Graph()
    x, i, b, k = (
        g.input("x", (2,), "float32"),
        g.input("i", (2,), "int64"),
        g.input("b", (2,), "bool"),
        g.input("k", weak=True),
    )
    at: dict[str, Any] = {"x": np.ones(2, "f4"), "i": np.array([1, 2]), "b": np.array([True, True]), "k": 0.1}
    for tensor, dtype in (
        (x * k, "float32"),
        (x / i, "float64"),
        (i / i, "float64"),
        (b / b, "float64"),
        (gg.sum(b), "int64"),
        (i * k, "float64"),
        (x > i, "bool"),
    ):
        needed = {name: value for name, value in at.items() if name in g}
        assert tensor.dtype == dtype
        assert gg.evaluate(tensor, **needed).dtype == dtype


def test_arguments_are_converted_where_nothing_is_lost() -> None:
    g = gg.Graph()
    x, i = g.input("x", (2,), "float32"), g.input("i", (2,), "int64")
    assert gg.evaluate(x, x=[1, 2]).dtype == "float32"
    assert gg.evaluate(x, x=[0.1, 0.2]).dtype == "float32"
    assert gg.evaluate(x, x=np.array([1, 2], np.int8)).dtype == "float32"
    assert gg.evaluate(i, i=np.array([1, 2], np.uint8)).dtype == "int64"
    assert gg.evaluate(i, i=[True, False]).dtype == "int64"


class Holder:
    """What gives an array, as a column of pandas and a tensor of PyTorch do."""

    def __init__(self, data: Any) -> None:
        self.data = np.asarray(data)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.data if dtype is None else self.data.astype(dtype)


class Interface:
    def __init__(self, data: Any) -> None:
        self.__array_interface__ = np.asarray(data).__array_interface__
        self.data = data


@pytest.mark.parametrize("wrap", [np.asarray, Holder, memoryview, Interface, lambda a: array(a.dtype.char, a.tolist())])
def test_what_has_an_array_behind_it_is_that_array(wrap: Any) -> None:
    g = gg.Graph()
    x, i = g.input("x", ("N",), "float32"), g.input("i", ("N",), "int64")
    f = gg.compile([x * 1])
    for given in (np.array([0.1, 16777217.0]), np.array([1, 16777217])):
        value, dtype = wrap(given), given.dtype.name
        call = "x.astype('float32')" if wrap is np.asarray else "np.asarray(x, 'float32')"
        message = f"^{re.escape(f'x is {dtype}, but float32 was declared; {call} would fit')}$"
        for act in (f, lambda x: gg.evaluate(g["x"], x=x)):
            with pytest.raises(CallError, match=message):
                act(x=value)
        np.testing.assert_array_equal(f(x=np.asarray(value, "float32"))[0], given.astype("float32"))
    assert gg.evaluate(x, x=wrap(np.array([1, 2], np.int16))).tolist() == [1, 2]
    assert gg.evaluate(i, i=wrap(np.array([1, 2], np.int16))).tolist() == [1, 2]
    with pytest.raises(CallError, match=r"^i is float64, but int64 was declared; .* would fit$"):
        gg.evaluate(i, i=wrap(np.array([1.0])))
    for numbers in ([0.1, 1.0], (0.1, 1), [1, True], range(2)):
        np.testing.assert_array_equal(f(x=numbers)[0], np.array(numbers, "float32"))


def test_complex_arguments_for_the_complex_step() -> None:
    g = gg.Graph()
    x = g.parameter("x", (2,))
    y = gg.sum(gg.sin(x) * gg.exp(x))
    point, h = np.array([0.3, -0.8]), 1e-200
    for k in range(2):
        step = point.astype(complex)
        step[k] += 1j * h
        derivative = float(gg.evaluate(y, x=step).imag) / h
        assert derivative == pytest.approx(float(gg.evaluate(gg.derive(y)[x], x=point)[k]), rel=1e-15)


def test_every_node_on_the_way_can_be_asked_for() -> None:
    g = gg.Graph()
    x = g.input("x")
    y = gg.exp(x * 2)
    found = evaluate_nodes(g, [y.id], {"x": 1.0})
    assert sorted(found) == g.ancestors([y.id])
    assert found[(x * 2).id] == 2.0


def test_fifty_thousand_nodes_need_no_recursion() -> None:
    g = gg.Graph()
    y = g.input("x")
    for _ in range(50_000):
        y = y + 1.0
    assert gg.evaluate(y, x=0.5) == 50_000.5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "no value was given for x, w"),
        ({"x": np.ones((2, 3))}, "no value was given for w"),
        ({"x": np.ones((2, 3)), "w": np.ones(3), "v": 1, "a": 2}, "no leaf is named a, v; there are: w, x"),
        ({"x": np.ones(3), "w": np.ones(3, "f4")}, "x has shape (3,), but 2 dimensions were declared: (N, 3)"),
        (
            {"x": np.ones((2, 4)), "w": np.ones(3, "f4")},
            "x has shape (2, 4), but (N, 3) was declared: axis 1 is 4 where 3 is wanted",
        ),
        ({"x": np.ones((2, 3), complex), "w": np.ones(3, "f4")}, None),
        (
            {"x": np.ones((2, 3)), "w": np.ones(3)},
            "w is float64, but float32 was declared; w.astype('float32') would fit",
        ),
        ({"x": "text", "w": np.ones(3)}, "x is str128, but float64 was declared"),
        ({"x": [[1.0, 2.0], [3.0]], "w": np.ones(3)}, "x is no array: its rows have different lengths"),
        ({"x": np.ones((2, 3)), "w": [1, 2, 1e300]}, "w holds 1e+300, which is too large for float32"),
    ],
)
def test_callers_mistakes(values: dict[str, Any], message: str | None) -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N", 3)), g.parameter("w", (3,), "float32")
    if message is None:
        assert np.iscomplexobj(gg.evaluate(x * w, **values))
        return
    with pytest.raises(CallError) as error:
        gg.evaluate(x * w, **values)
    assert str(error.value) == message


def test_integers_to_negative_powers_are_told_with_their_line() -> None:
    i = gg.Graph().input("i", ("N",), "int64")
    y = i**-1
    with pytest.raises(CallError, match=r"^v2 = power.*: Integers to negative integer powers are not allowed"):
        gg.evaluate(y, i=[1, 2])


def test_sizes_that_clash_and_tensors_as_arguments() -> None:
    g = gg.Graph()
    x, y = g.input("x", ("N",)), g.input("y", ("N",))
    with pytest.raises(
        CallError, match=r"^y has shape \(3,\), but \(N,\) was declared: axis 0 is 3 where N with N = 2 is wanted$"
    ):
        gg.evaluate(x + y, x=np.ones(2), y=np.ones(3))
    with pytest.raises(CallError, match=r"^x was given a Tensor; a call takes arrays of numbers$"):
        gg.evaluate(x, x=x)


@pytest.mark.parametrize("outputs", [None, 3, "x", ["x"]])
def test_what_is_no_tensor_is_told(outputs: Any) -> None:
    with pytest.raises(
        CallError, match=r"^evaluate takes a Tensor or a list of them, but (NoneType|int|str) was given$"
    ):
        gg.evaluate(outputs)


def test_a_size_that_no_array_has_is_told() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N", 3)), g.parameter("w", (2,))
    total = gg.sum(gg.broadcast_to(w[:1], (x.shape[0],)))
    with pytest.raises(CallError, match=r"the size N is not known: x of shape \(N, 3\) would tell"):
        gg.evaluate(total, w=[1.0, 2.0])
    assert gg.evaluate(total, w=[1.0, 2.0], x=np.ones((4, 3))) == 4
