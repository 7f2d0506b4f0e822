"""Schedules: formulas of k, as numbers and as graph."""

import math
import re
from typing import Any

import numpy as np
import pytest
import sympy

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


#: Each constructor with its formula, and the steps at which another piece of it begins.
FORMULAS: list[tuple[Schedule, str, list[int]]] = [
    (schedules.constant(0.3), "0.3", []),
    (schedules.inverse(0.5, decay=0.1), "0.5 / (1 + 0.1*k)", []),
    (schedules.inverse(0.5, decay=0.3, power=0.75), "0.5 / (1 + 0.3*k)**0.75", []),
    (schedules.inverse(0.5, decay=0.0), "0.5", []),
    (schedules.exponential(0.1, 0.99), "0.1 * 0.99**k", []),
    (schedules.exponential(8.0, 0.5, every=100), "8 * 0.5**(k/100)", []),
    (schedules.exponential(8.0, 0.5, every=100, stairs=True), "8 * 0.5**floor(k/100)", [100, 200, 500, 1000]),
    (schedules.exponential(8.0, 0.9, stairs=True), "8 * 0.9**k", [1, 2]),
    (schedules.cosine(0.2, 300), "Piecewise((0.1 * (1 + cos(pi*k/300)), k < 300), (0, True))", [300]),
    (
        schedules.cosine(0.2, 1000, final=0.05),
        "Piecewise((0.05 + 0.075 * (1 + cos(pi*k/1000)), k < 1000), (0.05, True))",
        [1000],
    ),
    (schedules.cosine(0.2, 1, final=0.3), "Piecewise((0.2, k < 1), (0.3, True))", [1]),
    (schedules.warm_up(0.4, 10), "Piecewise((0.4*k/10, k < 10), (0.4, True))", [10]),
    (schedules.warm_up(0.4, 1000, start=0.5), "Piecewise((0.5 - 0.1*k/1000, k < 1000), (0.4, True))", [1000]),
    (schedules.warm_up(0.4, 1, start=0.1), "Piecewise((0.1, k < 1), (0.4, True))", [1]),
    (
        schedules.warm_up(schedules.cosine(0.4, 90), 10),
        "Piecewise((0.04*k, k < 10), (0.2 * (1 + cos(pi*(k - 10)/90)), k < 100), (0, True))",
        [10, 100],
    ),
    (
        schedules.warm_up(lambda k: 0.4 * gg.exp(-0.01 * k), 10, start=0.1),
        "Piecewise((0.1 + 0.03*k, k < 10), (0.4 * exp(-0.01*(k - 10)), True))",
        [10],
    ),
    (schedules.piecewise([0.3], []), "0.3", []),
    (
        schedules.piecewise([0.3, 0.1, 0.02], [10, 1000]),
        "Piecewise((0.3, k < 10), (0.1, k < 1000), (0.02, True))",
        [10, 1000],
    ),
    (
        schedules.piecewise([schedules.exponential(1.0, 0.9), schedules.inverse(3.0), lambda k: 0.25], [1, 60]),
        "Piecewise((0.9**k, k < 1), (3 / (1 + (k - 1)), k < 60), (0.25, True))",
        [1, 60],
    ),
    (
        schedules.piecewise([schedules.warm_up(0.3, 20), schedules.cosine(0.2, 30, final=0.1)], [50]),
        "Piecewise((0.3*k/20, k < 20), (0.3, k < 50), (0.15 + 0.05*cos(pi*(k - 50)/30), k < 80), (0.1, True))",
        [20, 50, 80],
    ),
]


def wanted(text: str, joints: list[int]) -> dict[int, float]:
    """A formula in exact arithmetic at steps 0, 1, 10 and 1000, and before, at and after each joint."""
    formula = sympy.sympify(text, rational=True)
    steps = {0, 1, 10, 1000} | {joint + side for joint in joints for side in (-1, 0, 1)}
    return {k: float(formula.subs("k", k).evalf(40)) for k in sorted(steps)}


@pytest.mark.parametrize(("schedule", "text", "joints"), FORMULAS, ids=[repr(s) for s, *_ in FORMULAS])
def test_a_schedule_is_its_formula_at_its_joints_too(schedule: Schedule, text: str, joints: list[int]) -> None:
    """As a number, evaluated, compiled, and inside a training step as α_k and β_k."""
    g, h = gg.Graph(), gg.Graph()
    k = g.input("k", (), dtype="int64", weak=True)
    alpha = schedule(k) + 0 * k  # a constant alone does not take k
    compiled = gg.compile([alpha])
    net = gg.Network(loss=gg.sum(h.parameter("theta", (1,))), inputs=[])  # its gradient is 1
    trainer = gg.Trainer(net, gg.Momentum(schedule, schedule, form="polyak"), dtype="float64")
    for step, value in wanted(text, joints).items():
        value = pytest.approx(value, rel=1e-13, abs=1e-16)
        assert schedule(step) == value
        assert gg.evaluate(alpha, k=step) == value
        assert compiled(k=step)[0] == value
        trainer.parameters, trainer.state = {"theta": [0.0]}, {"k": step, "m.theta": [1e4]}
        trainer.step()
        (m,), (theta,) = trainer.state["m.theta"], trainer.parameters["theta"]
        assert (m - 1) / 1e4 == value  # m ← β_k m + 1
        assert -theta / m == value  # θ ← θ - α_k m


GROWING: list[tuple[Schedule, dict[int, float]]] = [
    (schedules.piecewise([schedules.exponential(1e-5, 1.1), 0.01], [72]), {71: 1e-5 * 1.1**71, 72: 0.01, 7600: 0.01}),
    (
        schedules.piecewise([0.1, schedules.exponential(1.0, 2.0), schedules.warm_up(0.5, 10)], [5, 9]),
        {4: 0.1, 5: 1.0, 8: 8.0, 9: 0.0, 14: 0.25, 9000: 0.5},
    ),
    (schedules.inverse(0.1, 10, 200), {0: 0.1, 7600: 0.0}),
    (schedules.exponential(0.1, 1.5, every=2, stairs=True), {0: 0.1, 3: 0.15000000000000002, 7600: math.inf}),
    (schedules.warm_up(schedules.exponential(1.0, 10.0), 5), {4: 0.8, 5: 1.0, 7: 100.0, 7600: math.inf}),
]


@pytest.mark.parametrize(("schedule", "values"), GROWING, ids=[repr(s) for s, _ in GROWING])
def test_a_power_that_grows_too_large_is_inf_and_ends_where_its_piece_does(
    schedule: Schedule, values: dict[int, float]
) -> None:
    g = gg.Graph()
    k = g.input("k", (), dtype="int64", weak=True)
    alpha = schedule(k) + 0 * k
    compiled = gg.compile([alpha])
    for step, value in values.items():
        assert schedule(step) == pytest.approx(value, rel=1e-14)
        with np.errstate(over="raise" if "piecewise" in schedule.text else "ignore"):
            assert compiled(k=step)[0] == schedule(step)
            assert gg.evaluate(alpha, k=step) == schedule(step)


def test_a_run_goes_on_after_a_piece_that_grows() -> None:
    schedule = schedules.piecewise([schedules.exponential(1e-9, 2.0), 0.01], [20])
    net, X = gg.feedforward([2, 1]), np.ones((1, 2))
    run = gg.train(net, X, X[:, :1], optimizer=gg.SGD(schedule), epochs=1100, progress=False)
    assert (run.stopped, run.history["rate"][19], run.history["rate"][-1]) == ("", 1e-9 * 2**19, 0.01)


@pytest.mark.parametrize(
    ("numpys", "pythons"),
    [
        (schedules.cosine(np.float64(0.5), np.int64(10), np.float32(0.25)), schedules.cosine(0.5, 10, 0.25)),
        (schedules.exponential(0.5, np.float32(0.5), np.int32(3)), schedules.exponential(0.5, 0.5, 3)),
        (schedules.warm_up(np.float64(0.5), np.int64(4)), schedules.warm_up(0.5, 4)),
        (
            schedules.piecewise(np.array([0.5, 0.25]), np.array([3])),  # type: ignore[arg-type]
            schedules.piecewise([0.5, 0.25], [3]),
        ),
        (schedules.piecewise([np.float32(0.5), 0.25], [np.int64(3)]), schedules.piecewise([0.5, 0.25], [3])),
        (schedules.piecewise([0.5, 0.25, 0], range(3, 5)), schedules.piecewise([0.5, 0.25, 0], [3, 4])),
        (schedules.constant(np.int64(1)), schedules.constant(1)),
    ],
    ids=str,
)
def test_numpys_numbers_make_the_same_schedule_as_pythons(numpys: Schedule, pythons: Schedule) -> None:
    assert numpys == pythons
    k = gg.Graph().input("k", (), dtype="int64", weak=True)
    assert at(numpys, k) is at(pythons, k)
    assert [numpys(n) for n in range(12)] == [pythons(n) for n in range(12)]


def test_a_function_of_k_and_numpys_numbers_is_a_schedule() -> None:
    rate, steps = np.float64(0.5), np.int64(4)
    net, X = gg.feedforward([2, 1]), np.ones((1, 2))
    for own in (
        lambda k: k * rate,
        lambda k: rate * 0.5**k,
        lambda k: np.float32(0.5) / (1 + k / steps),
        lambda k: gg.where(k < steps, rate, gg.minimum(k, steps) * 0.25),
    ):
        run = gg.train(net, X, X[:, :1], optimizer=gg.SGD(own), epochs=3, progress=False)
        assert run.history["rate"].tolist() == [float(own_at(own, k)) for k in range(3)]


def own_at(own: Any, k: int) -> Any:
    """A function of k at a number, by a graph whose numbers are Python's."""
    step = gg.Graph().input("k", (), dtype="int64", weak=True)
    return gg.evaluate(own(step) + 0 * step, k=k)


def test_schedules_are_compared_and_shown_by_their_text() -> None:
    assert schedules.cosine(0.1, 50) == schedules.cosine(0.1, 50)
    assert schedules.cosine(0.1, 50) != schedules.cosine(0.1, 51)
    assert repr(schedules.warm_up(schedules.cosine(0.1, 50), 5)) == "warm_up(cosine(0.1, 50, final=0.0), 5, start=0.0)"


def test_a_function_written_with_operators_is_a_schedule() -> None:
    assert number_at(lambda k: 0.1 * gg.exp(-0.5 * k), 4) == pytest.approx(0.1 * math.exp(-2), rel=1e-14)
    assert number_at(lambda k: 0.25, 4) == 0.25
    assert number_at(0.5, 7) == 0.5
    assert number_at(schedules.inverse(1.0), 1) == 0.5


def test_a_function_written_with_operators_is_a_part_of_a_schedule() -> None:
    def cooling(k: Any) -> Any:
        return 0.1 * gg.exp(-0.5 * k)

    for schedule in (schedules.warm_up(cooling, 3), schedules.piecewise([0.2, cooling], [3])):
        assert schedule(7) == pytest.approx(0.1 * math.exp(-2), rel=1e-14)
        net, X = gg.feedforward([2, 1], loss="mean_squared_error"), np.ones((8, 2))
        run = gg.train(net, X, X[:, :1], optimizer=gg.SGD(schedule), batch_size=2, epochs=2, progress=False)
        assert run.history["rate"][-1] == schedule(7)


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
        (lambda: schedules.piecewise(0.1, [1]), "piecewise: values is a list, but 0.1 was given"),  # type: ignore[arg-type]
        (lambda: schedules.piecewise([1, 2], np.int64(3)), "piecewise: boundaries is a list, but 3 was given"),  # type: ignore[arg-type]
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


def test_schedules_of_different_functions_are_different_and_read_the_same_in_every_process() -> None:
    first, second = schedules.warm_up(lambda k: 0.1, 5), schedules.warm_up(lambda k: 0.2, 5)
    assert first != second
    assert repr(first) == repr(second)
    assert " at 0x" not in repr(schedules.piecewise([np.sqrt, lambda k: k], [3]))
    assert schedules.cosine(0.1, 50) == schedules.cosine(alpha=0.1, steps=50, final=0.0)
    assert schedules.cosine(0.1, 50) in {schedules.cosine(0.1, 50)}
