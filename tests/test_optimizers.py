"""Optimizers: generated steps against loops in plain NumPy, written out by hand."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import schedules

Numbers = dict[str, np.ndarray]
STEPS = 100


@pytest.mark.parametrize(
    ("numpys", "pythons"),
    [
        (gg.SGD(np.float64(0.5), np.float64(0.25)), gg.SGD(0.5, 0.25)),
        (
            gg.Momentum(np.float32(0.5), np.float64(0.75), weight_decay=np.float64(0.25)),
            gg.Momentum(0.5, 0.75, "average", 0.25),
        ),
        (gg.Adam(np.int64(1), np.float32(0.5), np.float64(0.75), np.float64(0.125)), gg.Adam(1, 0.5, 0.75, 0.125)),
        (gg.Adam(weight_decay=np.float64(0.25)), gg.Adam(weight_decay=0.25)),
    ],
    ids=str,
)
def test_numpy_s_numbers_make_the_same_step(numpys: Any, pythons: Any) -> None:
    net = gg.feedforward([4, 8, 3], "tanh")
    assert gg.Trainer(net, numpys).source == gg.Trainer(net, pythons).source


def gradients(p: Numbers, x: np.ndarray, y: np.ndarray) -> Numbers:
    """The gradients of the mean squared error of a 4-8-3 tanh network, by hand."""
    a = np.tanh(x @ p["W1"].T + p["b1"])
    z_bar = 2 * (a @ p["W2"].T + p["b2"] - y) / y.size
    u_bar = (z_bar @ p["W2"]) * (1 - a * a)
    return {"W1": u_bar.T @ x, "b1": u_bar.sum(0), "W2": z_bar.T @ a, "b2": z_bar.sum(0)}


def sgd(alpha: Callable[[int], float], decay: float = 0.0) -> Callable[..., Any]:
    def update(theta: Any, g: Any, k: int, s: Numbers) -> Any:
        return theta * (1 - alpha(k) * decay) - alpha(k) * g

    return update


def momentum(
    alpha: Callable[[int], float], beta: Callable[[int], float], form: str, decay: float = 0.0
) -> Callable[..., Any]:
    def update(theta: Any, g: Any, k: int, s: Numbers) -> Any:
        m, theta = s.get("m", 0.0), theta * (1 - alpha(k) * decay)
        if form in ("average", "lecture"):
            s["m"] = beta(k) * m + (1 - beta(k)) * g
            return theta - alpha(k) * (m if form == "lecture" else s["m"])
        s["m"] = beta(k) * m + g
        return theta - alpha(k) * (s["m"] if form == "polyak" else g + beta(k) * s["m"])

    return update


def adam(
    alpha: Callable[[int], float],
    beta1: Callable[[int], float],
    beta2: Callable[[int], float],
    eps: float = 1e-8,
    decay: float = 0.0,
) -> Callable[..., Any]:
    def update(theta: Any, g: Any, k: int, s: Numbers) -> Any:
        s["m"] = beta1(k) * s.get("m", 0.0) + (1 - beta1(k)) * g
        s["v"] = beta2(k) * s.get("v", 0.0) + (1 - beta2(k)) * g**2
        m_hat = s["m"] / (1 - math.prod(beta1(j) for j in range(k + 1)))
        v_hat = s["v"] / (1 - math.prod(beta2(j) for j in range(k + 1)))
        theta = theta * (1 - alpha(k) * decay)
        return theta - alpha(k) * m_hat / (np.sqrt(v_hat) + eps)

    return update


def still(value: float) -> Callable[[int], float]:
    return lambda k: value


WARM = schedules.warm_up(schedules.cosine(0.05, 60), 10)
RISING = schedules.piecewise([0.5, 0.9], [30])
OPTIMIZERS: list[tuple[Any, Callable[..., Any]]] = [
    (gg.SGD(alpha=0.1), sgd(still(0.1))),
    (gg.SGD(alpha=WARM), sgd(WARM)),
    (gg.SGD(alpha=lambda k: 0.5 / (1 + 0.1 * k)), sgd(lambda k: 0.5 / (1 + 0.1 * k))),
    (gg.Momentum(alpha=0.1), momentum(still(0.1), still(0.9), "average")),
    (gg.Momentum(alpha=WARM, beta=RISING), momentum(WARM, RISING, "average")),
    (gg.Momentum(0.1, 0.8, form="lecture"), momentum(still(0.1), still(0.8), "lecture")),
    (gg.Momentum(WARM, RISING, form="lecture"), momentum(WARM, RISING, "lecture")),
    (gg.Momentum(0.02, 0.9, form="polyak"), momentum(still(0.02), still(0.9), "polyak")),
    (gg.Momentum(0.02, RISING, form="nesterov"), momentum(still(0.02), RISING, "nesterov")),
    (gg.SGD(WARM, weight_decay=0.1), sgd(WARM, 0.1)),
    (gg.Momentum(WARM, RISING, weight_decay=0.1), momentum(WARM, RISING, "average", 0.1)),
    (gg.Momentum(0.1, 0.8, "lecture", weight_decay=0.1), momentum(still(0.1), still(0.8), "lecture", 0.1)),
    (gg.Momentum(0.02, 0.9, "polyak", weight_decay=0.1), momentum(still(0.02), still(0.9), "polyak", 0.1)),
    (gg.Momentum(0.02, RISING, "nesterov", weight_decay=0.1), momentum(still(0.02), RISING, "nesterov", 0.1)),
    (gg.Adam(alpha=0.01), adam(still(0.01), still(0.9), still(0.999))),
    (gg.Adam(0.01, 0.8, 0.95, eps=1e-3), adam(still(0.01), still(0.8), still(0.95), 1e-3)),
    (gg.Adam(0.01, weight_decay=0.1), adam(still(0.01), still(0.9), still(0.999), decay=0.1)),
    (gg.Adam(WARM, RISING, 0.99, weight_decay=0.02), adam(WARM, RISING, still(0.99), decay=0.02)),
    (gg.Adam(0.01, 0.0, RISING), adam(still(0.01), still(0.0), RISING)),
]


def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(5)
    return [(rng.normal(size=(16, 4)), rng.normal(size=(16, 3))) for _ in range(STEPS)]


def whole_tensors(optimizer: Any) -> Any:
    """The same formula, once for each parameter."""

    class Apart:
        elementwise = False

        def update(self, theta: Any, g: Any, k: Any, state: Any) -> Any:
            return optimizer.update(theta, g, k, state)

    return Apart()


def named(optimizer: object) -> str:
    """The name of a case: without addresses, which are others in each process of a run."""
    return re.sub(r" at 0x\w+", "", repr(optimizer))


@pytest.mark.parametrize("packed", [True, False], ids=["one vector", "each tensor"])
@pytest.mark.parametrize(("optimizer", "update"), OPTIMIZERS, ids=lambda o: named(o) if hasattr(o, "update") else "")
def test_a_generated_step_is_the_formula(optimizer: Any, update: Callable[..., Any], packed: bool) -> None:
    net = gg.feedforward([4, 8, 3], "tanh")
    trainer = gg.Trainer(net, optimizer if packed else whole_tensors(optimizer), dtype="float64", seed=3)
    p = net.initialize(seed=3)
    states: dict[str, Numbers] = {name: {} for name in p}
    for k, (x, y) in enumerate(batches()):
        g = gradients(p, x, y)
        p = {name: update(p[name], g[name], k, states[name]) for name in p}
        trainer.step(x, y)
    largest = max(np.abs(a).max() for a in p.values())
    for name, array in trainer.parameters.items():
        np.testing.assert_allclose(array, p[name], rtol=0, atol=1e-11 * largest)
    remembered = {name: a for name, a in trainer.state.items() if "." in name}
    assert remembered.keys() == {f"{m}.{name}" for name in p for m in states[name]}
    for name, array in remembered.items():
        m, of = name.split(".")
        np.testing.assert_allclose(array, states[of][m], rtol=1e-9, atol=1e-12)
    assert trainer.k == STEPS


def test_the_lecture_s_first_step_moves_nothing() -> None:
    net = gg.feedforward([4, 8, 3], "tanh")
    trainer = gg.Trainer(net, gg.Momentum(0.5, form="lecture"), dtype="float64")
    trainer.step(*batches()[0])
    for name, array in trainer.parameters.items():
        assert np.array_equal(array, net.initialize(0)[name])


def test_the_first_step_of_adam_goes_alpha_far_in_every_direction() -> None:
    net = gg.feedforward([4, 8, 3], "tanh")
    x, y = batches()[0]
    g = gradients(net.initialize(0), x, y)
    for optimizer in (
        gg.Adam(0.01, eps=0.0),
        gg.Adam(0.01, schedules.constant(0.9), schedules.constant(0.999), eps=0.0),
    ):
        trainer = gg.Trainer(net, optimizer, dtype="float64")
        trainer.step(x, y)
        for name, array in trainer.parameters.items():
            np.testing.assert_allclose(array - net.initialize(0)[name], -0.01 * np.sign(g[name]), rtol=1e-9)


class SignDescent:
    def update(self, theta: Any, g: Any, k: Any, state: Any) -> Any:
        m = state("m")
        new_m = 0.9 * m + 0.1 * g
        return {theta: theta - 1e-2 * gg.sign(new_m), m: new_m}


def test_an_optimizer_of_one_s_own() -> None:
    net = gg.feedforward([4, 8, 3], "tanh")
    trainer = gg.Trainer(net, SignDescent(), dtype="float64")
    p, m = net.initialize(0), dict.fromkeys(("W1", "b1", "W2", "b2"), 0.0)
    for x, y in batches()[:10]:
        g = gradients(p, x, y)
        m = {name: 0.9 * m[name] + 0.1 * g[name] for name in p}
        p = {name: p[name] - 1e-2 * np.sign(m[name]) for name in p}
        trainer.step(x, y)
    for name, array in trainer.parameters.items():
        np.testing.assert_allclose(array, p[name], atol=1e-13)


def test_a_group_has_its_own_optimizer_and_a_frozen_one_none() -> None:
    net = gg.feedforward([4, 8, 3], "tanh")
    rules = {"W1": None, "b*": gg.Momentum(0.1, 0.8), "*": gg.Adam(WARM, RISING, weight_decay=0.1)}
    trainer = gg.Trainer(net, gg.Groups(rules), dtype="float64", seed=3)
    plain, decayed = momentum(still(0.1), still(0.8), "average"), adam(WARM, RISING, still(0.999), decay=0.1)
    by = {"b1": plain, "b2": plain, "W2": decayed}
    p = net.initialize(seed=3)
    states: dict[str, Numbers] = {name: {} for name in p}
    for k, (x, y) in enumerate(batches()):
        g = gradients(p, x, y)
        p = {name: by[name](p[name], g[name], k, states[name]) if name in by else p[name] for name in p}
        trainer.step(x, y)
    for name, array in trainer.parameters.items():
        np.testing.assert_allclose(array, p[name], rtol=0, atol=1e-11)
    assert np.array_equal(trainer.parameters["W1"], net.initialize(seed=3)["W1"])


class UnitSteps:
    """Each tensor moves by a step of length alpha: it must see whole tensors."""

    elementwise = False

    def update(self, theta: Any, g: Any, k: Any, state: Any) -> Any:
        return {theta: theta - 0.1 * g / gg.sqrt(gg.sum(g * g))}


def test_an_optimizer_that_is_not_elementwise_sees_each_tensor() -> None:
    net = gg.feedforward([4, 8, 3], "tanh")
    trainer = gg.Trainer(net, UnitSteps(), dtype="float64")
    before = trainer.parameters
    trainer.step(*batches()[0])
    for name, array in trainer.parameters.items():
        assert np.linalg.norm(array - before[name]) == pytest.approx(0.1)


def returning(make: Callable[..., Any]) -> Any:
    class Own:
        def update(self, theta: Any, g: Any, k: Any, state: Any) -> Any:
            return make(theta, g, k, state)

    return Own()


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (returning(lambda t, g, k, s: {g: t}), "Own.update returns a mapping from theta and its states"),
        (returning(lambda t, g, k, s: t), "Own.update returns a mapping from theta and its states to their new"),
        (returning(lambda t, g, k, s: {t: t, g: g}), "Own.update gives a new value to <g: pack (67,) float32>,"),
        (returning(lambda t, g, k, s: {t: 0.0}), "Own.update gives theta of shape (67,) a new value of 0.0"),
        (returning(lambda t, g, k, s: {t: gg.sum(t)}), "Own.update gives theta of shape (67,) a new value of shape ()"),
        (returning(lambda t, g, k, s: {t: s("c") * s("c", weak=True)}), "the optimizer asks for its state c as a"),
        (gg.SGD, "SGD is a class; SGD() is an optimizer"),
        ("adam", "an optimizer has a method update(theta, g, k, state), but 'adam' has none; gg.Adam() is one"),
        ("rmsprop", "an optimizer has a method update(theta, g, k, state), but 'rmsprop' has none"),
    ],
)  # fmt: skip
def test_what_is_no_optimizer_is_told(optimizer: Any, message: str) -> None:
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message)}"):
        gg.Trainer(gg.feedforward([4, 8, 3], "tanh"), optimizer)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gg.SGD(-1.0), "SGD: alpha is a number that is not negative or a schedule, but -1.0 was given"),
        (lambda: gg.SGD(weight_decay=-0.1), "SGD: weight_decay is a number that is not negative, but -0.1 was given"),
        (lambda: gg.SGD(math.inf), "SGD: alpha is a number that is not negative or a schedule, but inf was given"),
        (
            lambda: gg.Momentum(0.1, 1.0),
            "Momentum: beta is a number from 0 to below 1 or a schedule, but 1.0 was given",
        ),
        (
            lambda: gg.Momentum(0.1, form="heavy"),
            "Momentum: form 'heavy' is not one of average, lecture, polyak, nesterov",
        ),
        (lambda: gg.Adam(beta2=-0.1), "Adam: beta2 is a number from 0 to below 1 or a schedule, but -0.1 was given"),
        (lambda: gg.Adam(eps="small"), "Adam: eps is a number that is not negative, but 'small' was given"),  # type: ignore[arg-type]
        (lambda: gg.Adam(weight_decay=-0.1), "Adam: weight_decay is a number that is not negative, but -0.1 was given"),
    ],
)
def test_hyperparameters_are_checked(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message)}$"):
        make()
