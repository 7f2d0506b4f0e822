"""Numbers by Python's own arithmetic: where that is taken, and that it gives what NumPy's does."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.codegen.loader import Function
from graphgrad.codegen.plain_numbers import counters, plain_numbers

Build = Callable[[Any], Any]


def counting(build: Build, step: Any = 1) -> tuple[Function, Any]:
    """A function that gives a number made of k and then counts k up, and that number."""
    g = gg.Graph()
    k = g.state("k", (), "int64", weak=True)
    value = build(k)
    return gg.compile([value], updates={k: k + step}), value


CASES: list[tuple[Build, str]] = [
    (lambda k: 1 - 0.9 ** (k + 1), "add power subtract"),
    (lambda k: 0.3 / (1 - 0.9 ** (k + 1)), "add divide power subtract"),
    (lambda k: gg.sqrt(1 - 0.999 ** (k + 1)), "add power sqrt subtract"),
    (lambda k: -0.1 / (1 + 0.5 * k), "add divide multiply"),
    (lambda k: (k + 1.0) ** 0.5, "add power"),
    (lambda k: 0.1 / k, ""),  # 0.1 / 0 raises
    (lambda k: 0.1 / (3.5 - k - k), "subtract"),
    (lambda k: gg.sqrt(0.5 - 0.999 ** (k + 1)), "add power subtract"),  # the root of a negative number is complex
    (lambda k: 1.1 ** (1000.0 * k), "multiply"),  # overflows
    (lambda k: 0.5 ** (5.0 - 900.0 * k), "multiply subtract"),  # overflows
    (lambda k: (0.5 * k) ** -2.0, "multiply"),  # 0.0 ** -2.0 raises
    (lambda k: gg.exp(0.5 * k), "multiply"),
    (lambda k: 1.0 * (k * k), ""),  # whole numbers wrap
    (lambda k: 1.0 / -gg.where(gg.equal(k, 1), 0.9, k % 3), "equal negative remainder where"),  # 1 / -0.0 is -inf
]


@pytest.mark.parametrize(("build", "taken"), CASES)
@pytest.mark.parametrize("start", [0, 7, -3])
def test_a_number_is_that_of_numpy(build: Build, taken: str, start: int) -> None:
    function, value = counting(build)
    own = {function.program.node(i).operator.name for i in plain_numbers(function.program)} - {"state"}
    assert own - {"add"} == {*taken.split()} - {"add"}
    function.state["k"] = start
    with np.errstate(all="ignore"):
        for k in range(start, start + 6):
            (found,) = function()
            (wanted,) = gg.evaluate([value], k=k)
            np.testing.assert_allclose(found, wanted, rtol=1e-15)
    assert function.state["k"] == start + 6


def test_a_counter_that_is_made_negative_is_a_number_like_any_other() -> None:
    function, _ = counting(lambda k: gg.sqrt(1.0 * k))
    assert "k.item()" in function.source
    function.state["k"] = -4
    assert "k.item()" not in function.source
    with np.errstate(invalid="ignore"):
        assert np.isnan(function()[0])
    function.state["k"] = 4
    assert function()[0] == 2.0
    assert function.source.count("def step") == 1


@pytest.mark.parametrize(
    ("step", "counts"), [(1, True), (0, False), (-1, False), (lambda k: k, False), (lambda k: 2 - k, False)]
)
def test_what_counts_up(step: Any, counts: bool) -> None:
    g = gg.Graph()
    k = g.state("k", (), "int64", weak=True)
    new = step(k) if callable(step) else k + step
    function = gg.compile([k * 1.0], updates={k: new})
    assert bool(counters(function.program)) == counts


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_random_numbers_are_those_of_numpy(seed: int, periodic: bool) -> None:
    """Whatever the expression, no call raises, and none gives what NumPy would not.

    Where quotients of remainders may be infinite, no number is taken to the power 0.5: of -inf, NumPy's power gives
    inf for a number, as C's does, and for an array NaN, as a root.
    """
    draw = random.Random(seed)

    def expression(k: Any, depth: int) -> Any:
        if depth == 0:
            constant = k.graph.constant(draw.choice([0.5, 0.9, 2.0, 1.0, 3.0, -1.5]))
            return draw.choice([k, k + 1, constant, *([k % 3, (k + 1) % 4] if periodic else [])])
        x, y = expression(k, depth - 1), expression(k, draw.randrange(depth))
        kinds: list[Build] = [
            lambda _: x + y,
            lambda _: x - y,
            lambda _: x * y,
            lambda _: x / y,
            lambda _: abs(draw.choice([0.3, 0.9, 1.0])) ** y,
            lambda _: x ** draw.choice([0.75 if periodic else 0.5, 0.25, 1.0]),
            lambda _: gg.sqrt(x),
            lambda _: -x,
            lambda _: gg.where(gg.equal(x, y), x, y),
        ]
        return draw.choice(kinds)(None)

    function, value = counting(lambda k: expression(k, 4) * 1.0)
    with np.errstate(all="ignore"):
        for start in (0, 100_000, -2):
            function.state["k"] = start
            for k in range(start, start + 4):
                np.testing.assert_allclose(function()[0], gg.evaluate([value], k=k)[0], rtol=1e-9, equal_nan=True)


def test_a_sum_of_comparisons_is_a_bool() -> None:
    """True + True is 2 to Python, and True to NumPy."""
    g = gg.Graph()
    k, a = g.state("k", (), "int64", weak=True), g.input("a", (2,))
    both = gg.equal(k, 2) + gg.equal(k + 1, 3)
    outputs = [
        a * (both * 1.5),
        a + both,
        gg.where(both, a, 2.0 * a),
        a * (k % 3),
        a * gg.where(gg.equal(k, 2), 0.5, 2),
    ]
    f = gg.compile(outputs, {k: k + 1})
    for count in range(5):
        for got, want in zip(f(a=[1.0, 2.0]), gg.evaluate(outputs, a=[1.0, 2.0], k=count), strict=True):
            np.testing.assert_allclose(got, want)


N = 3  # rows of the first call


@pytest.mark.parametrize(
    ("build", "periods"),
    [
        (lambda k, n: 0.9 ** (k % 5), 1),
        (lambda k, n: (1.0 / n) / 0.9 ** (k % 5), 1),
        (lambda k, n: gg.where(gg.equal(k % 7, 0), 0.25, 2.0), 1),
        (lambda k, n: 2.0 / (1 + k % 7) * gg.where(gg.equal(k % 7, 3), 0.25, 2.0), 1),
        (lambda k, n: gg.where(gg.equal(gg.where(gg.equal(k % 4, 3), 1.5, k % 4), 2.0), 0.25, 2.0), 1),  # in each other
        (lambda k, n: 0.9 ** (k % 5) * 0.8 ** ((k + 1) % 3), 2),  # of two periods: two factors
        (lambda k, n: 0.9 ** (k % 5) / (k + 1), 1),
        (lambda k, n: 0.9 ** (k % 500), 0),  # too long
        (lambda k, n: 1.0 / (k % 5), 0),  # warns where it is infinite, and then
        (lambda k, n: n / (k % 5), 0),
        (lambda k, n: 1.0 * (k % n), 0),
        (lambda k, n: k % 5, 0),
    ],
)
def test_numbers_that_come_again_are_looked_up(build: Any, periods: int) -> None:
    """As an operand of arrays, of other numbers, and as a result; for several sizes, and after the counter was set."""
    g = gg.Graph()
    k, a, w = g.state("k", (), "int64", weak=True), g.input("a", ("N",), "float32"), g.state("w", (4,))
    number = build(k, gg.cast(gg.size(a, 0), "float64"))
    outputs = [a * number, number, number - gg.sqrt(k + 1.0), number * gg.sum(a)]
    f = gg.compile(outputs, {k: k + 1, w: 0.5 * w + number})
    assert len(set(re.findall(r"_of\[(\w+)\]", f.source))) == periods
    held = np.zeros(4)
    with np.errstate(divide="ignore"):
        for start in (0, 1001):
            f.state["k"] = start
            for count in range(start, start + 9):
                values = np.arange(1.0, N + count % 2 + 1).astype("float32")
                wanted = gg.evaluate([*outputs, 0.5 * w + number], a=values, k=count, w=held)
                for got, want in zip(f(a=values), wanted, strict=False):
                    np.testing.assert_allclose(got, want, rtol=1e-6)
                held = wanted[-1]
                np.testing.assert_allclose(f.state["w"], held, rtol=1e-12)


def test_what_comes_again_is_infinite_when_numpy_warns_of_it() -> None:
    g = gg.Graph()
    k, a = g.state("k", (), "int64", weak=True), g.input("a", (2,))
    f = gg.compile([a * (1.0 / (k % 3))], {k: k + 1})
    for count in range(7):
        if count % 3:
            np.testing.assert_allclose(f(a=[1.0, 2.0])[0], np.array([1.0, 2.0]) / (count % 3))
        else:
            with pytest.warns(RuntimeWarning, match="divide by zero"):
                assert np.isinf(f(a=[1.0, 2.0])[0]).all()


def test_formulas_of_what_comes_again_stay_short() -> None:
    def twice(k: Any) -> Any:
        x = k % 5 + 0.5
        for _ in range(40):
            x = 0.5 * (x + 1.0 / x)
        return x

    f, value = counting(twice)
    assert len(f.source) < 20_000
    for k in range(7):
        np.testing.assert_allclose(f()[0], gg.evaluate([value], k=k)[0], rtol=1e-12)
