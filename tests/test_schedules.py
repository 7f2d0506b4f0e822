"""Schedules: formulas of k, as numbers and as graph."""

import math
import re
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import schedules
from graphgrad.schedules import Schedule, at, number_at

SCHEDULES: list[tuple[Schedule, dict[int, float]]] = [
    (schedules.constant(0.3), {0: 0.3, 1000: 0.3}),
    (schedules.inverse(0.5, decay=0.1), {0: 0.5, 10: 0.25, 40: 0.1}),
    (schedules.inverse(0.5, decay=3.0, power=0.5), {0: 0.5, 1: 0.25, 5: 0.125}),
    (schedules.exponential(0.1, 0.9), {0: 0.1, 1: 0.09, 2: 0.081}),
    (schedules.exponential(8.0, 0.5, every=10), {0: 8.0, 5: 8.0 * math.sqrt(0.5), 10: 4.0}),
    (schedules.exponential(8.0, 0.5, every=10, stairs=True), {0: 8.0, 9: 8.0, 10: 4.0, 19: 4.0, 30: 1.0}),
    (schedules.cosine(1.0, 100), {0: 1.0, 25: (1 + math.sqrt(0.5)) / 2, 50: 0.5, 100: 0.0, 500: 0.0}),
    (schedules.cosine(1.0, 10, final=0.2), {0: 1.0, 5: 0.6, 10: 0.2, 11: 0.2}),
    (schedules.warm_up(0.4, 4), {0: 0.0, 1: 0.1, 3: 0.3, 4: 0.4, 100: 0.4}),
    (schedules.warm_up(schedules.inverse(0.4, decay=1.0), 4, start=0.2), {0: 0.2, 2: 0.3, 4: 0.4, 5: 0.2, 7: 0.1}),
    (schedules.piecewise([1.0, 0.1, 0.01], [5, 8]), {0: 1.0, 4: 1.0, 5: 0.1, 7: 0.1, 8: 0.01, 99: 0.01}),
    (
        schedules.piecewise([schedules.exponential(1.0, 0.5), schedules.inverse(3.0)], [2]),
        {0: 1.0, 1: 0.5, 2: 3.0, 4: 1.0},
    ),
]


@pytest.mark.parametrize(("schedule", "values"), SCHEDULES, ids=lambda v: repr(v) if isinstance(v, Schedule) else "")
def test_a_schedule_is_its_formula(schedule: Schedule, values: dict[int, float]) -> None:
    for k, value in values.items():
        number = schedule(k)
        assert type(number) is float
        assert number == pytest.approx(value, rel=1e-14, abs=1e-16)


@pytest.mark.parametrize("schedule", [s for s, _ in SCHEDULES], ids=repr)
def test_a_schedule_in_a_graph_is_the_same_number_in_evaluation_and_in_generated_code(schedule: Schedule) -> None:
    g = gg.Graph()
    k = g.state("k", (), dtype="int64", weak=True)
    alpha = schedule(k)
    assert alpha.node.weak
    assert alpha.shape == ()
    f = gg.compile([alpha], updates={k: k + 1})
    for number in range(120):
        (found,) = f()
        assert found == pytest.approx(schedule(number), rel=1e-14, abs=1e-16)
        assert gg.evaluate(alpha + 0 * k, k=number) == pytest.approx(schedule(number), rel=1e-14, abs=1e-16)


def test_schedules_are_compared_and_shown_by_their_text() -> None:
    assert schedules.cosine(0.1, 50) == schedules.cosine(0.1, 50)
    assert schedules.cosine(0.1, 50) != schedules.cosine(0.1, 51)
    assert repr(schedules.warm_up(schedules.cosine(0.1, 50), 5)) == "warm_up(cosine(0.1, 50, final=0.0), 5, start=0.0)"


def test_a_function_written_with_operators_is_a_schedule() -> None:
    assert number_at(lambda k: 0.1 * gg.exp(-0.5 * k), 4) == pytest.approx(0.1 * math.exp(-2), rel=1e-14)
    assert number_at(lambda k: 0.25, 4) == 0.25
    assert number_at(0.5, 7) == 0.5
    assert number_at(schedules.inverse(1.0), 1) == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.constant(-0.1), "constant: alpha is a number that is not negative, but -0.1 was given"),
        (lambda: schedules.constant(True), "constant: alpha is a number that is not negative, but True was given"),
        (
            lambda: schedules.inverse(0.1, decay=np.nan),
            "inverse: decay is a number that is not negative, but nan was given",
        ),
        (lambda: schedules.cosine(0.1, 0), "cosine: steps counts steps, from 1 on, but 0 was given"),
        (
            lambda: schedules.exponential(0.1, 0.9, every=2.5),
            "exponential: every counts steps, from 1 on, but 2.5 was given",
        ),  # type: ignore[arg-type]
        (
            lambda: schedules.warm_up("fast", 3),
            "warm_up: then is a number that is not negative or a schedule, but 'fast' was given",
        ),  # type: ignore[arg-type]
        (lambda: schedules.piecewise([1, 2], [3, 4]), "piecewise: 2 boundaries part 3 values, but 2 were given"),
        (lambda: schedules.piecewise([3, 2, 1], [4, 4]), "piecewise: boundaries rise, but (4, 4) were given"),
    ],
)
def test_what_is_no_schedule_is_told(make: Any, message: str) -> None:
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message)}$"):
        make()


def test_a_formula_of_something_else_is_told() -> None:
    g = gg.Graph()
    k, x = g.state("k", (), dtype="int64", weak=True), g.input("x", ("N",))
    with pytest.raises(
        gg.GraphgradError, match=r"^a schedule is a formula of k and numbers, but .* gave <x: input \(N,\) float64>$"
    ):
        at(lambda _: x, k)
    with pytest.raises(gg.GraphgradError, match=r"^a schedule gives a number or a Tensor, but .* gave str$"):
        at(lambda _: "fast", k)
