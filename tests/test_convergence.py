"""Convergence: what each optimizer reaches on a quadratic, on Rosenbrock's function and on digits, and closed forms.

The losses that are stated were reached in float64, and are held to a thousandth of themselves: rounding moves them by
less than a millionth, while a factor that is wrong, an m that is old or a step that is counted twice moves them more.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import schedules
from graphgrad.data import batches, load_digits_split
from graphgrad.schedules import Scheduled, number_at

Array = np.ndarray[Any, Any]
CLOSE = 1e-3


def trained(net: gg.Network, optimizer: gg.Optimizer, steps: int, start: Array) -> gg.Trainer:
    trainer = gg.Trainer(net, optimizer, dtype="float64", parameters={"theta": start})
    for _ in range(steps):
        trainer.step()
    return trainer


# ---------------------------------------------------------------------------------------------------------------------
# A quadratic
# ---------------------------------------------------------------------------------------------------------------------

L, MU, SIZE = 1.0, 0.01, 10  # the largest and the smallest eigenvalue
EIGENVALUES = np.geomspace(MU, L, SIZE)
GRID = np.arange(1, SIZE + 1)
EIGENVECTORS = math.sqrt(2 / (SIZE + 1)) * np.sin(math.pi * np.outer(GRID, GRID) / (SIZE + 1))  # none along an axis
START = EIGENVECTORS.sum(axis=1)  # 1 along each eigenvector
START_LOSS = EIGENVALUES.sum() / 2


def quadratic() -> gg.Network:
    """θᵀAθ/2, of condition 100."""
    g = gg.Graph()
    theta = g.parameter("theta", (SIZE,))
    A = EIGENVECTORS * EIGENVALUES @ EIGENVECTORS.T
    return gg.Network(loss=theta @ A @ theta / 2, inputs=[])


# Polyak (1964): the best α and β of the heavy ball for eigenvalues in [μ, L]. Here α / (1 - β) is 10.
HEAVY_ALPHA = 4 / (math.sqrt(L) + math.sqrt(MU)) ** 2
HEAVY_BETA = ((math.sqrt(L) - math.sqrt(MU)) / (math.sqrt(L) + math.sqrt(MU))) ** 2
# Lessard, Recht and Packard (2016): Nesterov's best.
ROOT = math.sqrt(3 * L / MU + 1)
NESTEROV_ALPHA, NESTEROV_BETA = 4 / (3 * L + MU), (ROOT - 2) / (ROOT + 2)

WARM = schedules.warm_up(schedules.cosine(1.3, 290), 10)
RISING = schedules.piecewise([0.5, 0.8], [50])

ON_QUADRATIC: list[tuple[gg.Optimizer, int, float]] = [
    (gg.SGD(2 / (L + MU)), 400, 5.68e-08),
    (gg.SGD(schedules.inverse(1.99, decay=1e-3, power=0.5)), 400, 2.02e-09),
    (gg.SGD(WARM), 300, 0.0001114),
    (gg.Momentum(HEAVY_ALPHA / (1 - HEAVY_BETA), HEAVY_BETA), 60, 2.111e-07),
    (gg.Momentum(WARM, RISING), 300, 9.678e-05),
    (gg.Momentum(0.9, 0.6, form="lecture"), 400, 3.246e-06),
    (gg.Momentum(schedules.cosine(1.0, 400, final=0.5), RISING, form="lecture"), 400, 1.021e-05),
    (gg.Momentum(HEAVY_ALPHA, HEAVY_BETA, form="polyak"), 60, 2.111e-07),
    (gg.Momentum(schedules.exponential(2.0, 0.5, every=40, stairs=True), 0.7, form="polyak"), 100, 1.976e-07),
    (gg.Momentum(NESTEROV_ALPHA, NESTEROV_BETA, form="nesterov"), 100, 3.813e-11),
    (gg.Momentum(WARM, RISING, form="nesterov"), 100, 2.889e-07),
    (gg.Adam(0.2, beta1=0.5), 300, 1.698e-13),
    (gg.Adam(schedules.cosine(0.3, 300), 0.7), 300, 4.915e-10),
    (gg.Adam(schedules.cosine(0.3, 300), RISING, schedules.piecewise([0.9, 0.999], [50])), 300, 4.231e-14),
    (gg.Adam(0.1, weight_decay=0.1), 300, 5.525e-12),
    (gg.Adam(schedules.cosine(0.1, 300), RISING, weight_decay=0.1), 300, 1.788e-05),
]


@pytest.mark.parametrize(("optimizer", "steps", "stated"), ON_QUADRATIC, ids=[repr(o) for o, *_ in ON_QUADRATIC])
def test_on_a_quadratic(optimizer: gg.Optimizer, steps: int, stated: float) -> None:
    assert stated < 1e-4 * START_LOSS
    assert trained(quadratic(), optimizer, steps, START).loss(()) == pytest.approx(stated, rel=CLOSE, abs=0)


def test_the_best_constant_step_size_is_as_fast_as_theory_says() -> None:
    """α = 2 / (L + μ): each component shrinks at least by (L - μ) / (L + μ) a step, the outer two by just that."""
    loss = trained(quadratic(), gg.SGD(2 / (L + MU)), 400, START).loss(())
    shrunk = ((L - MU) / (L + MU)) ** 800
    assert (L + MU) / 2 * shrunk * (1 - 1e-9) <= loss <= START_LOSS * shrunk


def test_chebyshev_s_step_sizes_are_as_fast_as_theory_says() -> None:
    """Young (1953): α_k = 1 / λ_k, with the roots λ_k of Chebyshev's polynomial T_n on [μ, L].

    The n steps make Π(1 - α_k A) of θ, the smallest such polynomial on [μ, L]: no step may be another one.
    """
    steps = 30

    def alpha(k: Any) -> Any:
        return 2 / (L + MU + (L - MU) * gg.cos(math.pi * (2 * k + 1) / (2 * steps)))

    loss = trained(quadratic(), gg.SGD(alpha), steps, START).loss(())
    assert loss <= START_LOSS / math.cosh(steps * math.acosh((L + MU) / (L - MU))) ** 2


# ---------------------------------------------------------------------------------------------------------------------
# Closed forms
# ---------------------------------------------------------------------------------------------------------------------

#: What a step makes of (θ, m) along an eigenvector with eigenvalue e, where the gradient is e·θ.
BLOCKS: dict[str, Callable[[float, float, float], list[list[float]]]] = {
    "average": lambda a, b, e: [[1 - a * (1 - b) * e, -a * b], [(1 - b) * e, b]],
    "lecture": lambda a, b, e: [[1, -a], [(1 - b) * e, b]],
    "polyak": lambda a, b, e: [[1 - a * e, -a * b], [e, b]],
    "nesterov": lambda a, b, e: [[1 - a * e * (1 + b), -a * b * b], [e, b]],
}


@pytest.mark.parametrize("decay", [0.0, 0.003])
@pytest.mark.parametrize("form", BLOCKS)
def test_momentum_on_a_quadratic_is_a_power_of_a_block(form: str, decay: float) -> None:
    alpha, beta = (0.5, 0.8) if form in ("polyak", "nesterov") else (1.0, 0.6)
    trainer = trained(quadratic(), gg.Momentum(alpha, beta, form, decay), 100, START)
    blocks = np.array([BLOCKS[form](alpha, beta, e) for e in EIGENVALUES])
    blocks[:, 0, 0] -= alpha * decay
    powers = np.linalg.matrix_power(blocks, 100)
    along_theta, along_m = (powers @ [1.0, 0.0]).T
    assert np.abs(along_theta).max() > 0.05
    np.testing.assert_allclose(EIGENVECTORS.T @ trainer.parameters["theta"], along_theta, rtol=0, atol=1e-10)
    np.testing.assert_allclose(EIGENVECTORS.T @ trainer.state["m.theta"], along_m, rtol=0, atol=1e-10)


@pytest.mark.parametrize("form", BLOCKS)
def test_momentum_with_schedules_on_a_quadratic_is_a_product_of_blocks(form: str) -> None:
    alpha, beta = schedules.cosine(0.5, 150, final=0.1), schedules.piecewise([0.3, 0.8], [20])
    trainer = trained(quadratic(), gg.Momentum(alpha, beta, form=form), 100, START)
    states = np.tile([1.0, 0.0], (SIZE, 1))
    for k in range(100):
        blocks = np.array([BLOCKS[form](alpha(k), beta(k), e) for e in EIGENVALUES])
        states = np.einsum("nij,nj->ni", blocks, states)
    np.testing.assert_allclose(EIGENVECTORS.T @ trainer.parameters["theta"], states[:, 0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(EIGENVECTORS.T @ trainer.state["m.theta"], states[:, 1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.9])
@pytest.mark.parametrize(
    ("form", "limit"),
    [
        ("average", lambda b: 2 * (1 + b) / (1 - b)),
        ("lecture", lambda b: 1.0),
        ("polyak", lambda b: 2 * (1 + b)),
        ("nesterov", lambda b: 2 * (1 + b) / (1 + 2 * b)),
    ],
)
def test_the_largest_step_size_on_a_quadratic(form: str, limit: Callable[[float], float], beta: float) -> None:
    """Below it all eigenvalues of a step are less than 1 in size, above it one of the steepest direction is not."""

    def radius(share: float, eigenvalue: float) -> float:
        block = BLOCKS[form](share * limit(beta), beta, eigenvalue)
        return float(np.abs(np.linalg.eigvals(block)).max())

    assert max(radius(0.999, e) for e in EIGENVALUES / L) < 1
    assert radius(1.001, 1.0) > 1


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("alpha", [0.5, WARM, lambda k: 1 / (1 + 0.1 * k)], ids=["constant", "warm", "function"])
def test_sgd_on_a_quadratic_is_a_product(alpha: Scheduled, decay: float) -> None:
    trainer = trained(quadratic(), gg.SGD(alpha, decay), 100, START)
    along = math.prod(1 - number_at(alpha, k) * (EIGENVALUES + decay) for k in range(100))
    np.testing.assert_allclose(EIGENVECTORS.T @ trainer.parameters["theta"], along, rtol=0, atol=1e-10)


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize(
    ("alpha", "beta1", "beta2"),
    [(0.01, 0.9, 0.999), (0.01, 0.5, 0.9), (WARM, 0.9, 0.999), (0.01, RISING, 0.99), (WARM, RISING, RISING)],
    ids=repr,
)
def test_adam_on_a_plane_goes_straight(alpha: Scheduled, beta1: Scheduled, beta2: Scheduled, decay: float) -> None:
    """With one gradient c at all steps m̂ = c and v̂ = c², whatever the β: θ moves by α_k u, u = c / (|c| + ε).

    With decay λ, θ + u/λ shrinks by 1 - α_k λ a step.
    """
    c, start, eps = np.array([1e-3, 1.0, -0.2, 50.0]), np.array([1.0, -2.0, 0.5, 0.0]), 0.01
    g = gg.Graph()
    net = gg.Network(loss=g.parameter("theta", (4,)) @ c, inputs=[])
    theta = trained(net, gg.Adam(alpha, beta1, beta2, eps, decay), 100, start).parameters["theta"]
    u, alphas = c / (np.abs(c) + eps), [number_at(alpha, k) for k in range(100)]
    if decay:
        wanted = math.prod(1 - a * decay for a in alphas) * (start + u / decay) - u / decay
    else:
        wanted = start - math.fsum(alphas) * u
    np.testing.assert_allclose(theta, wanted, rtol=0, atol=1e-10)


# ---------------------------------------------------------------------------------------------------------------------
# Rosenbrock's function
# ---------------------------------------------------------------------------------------------------------------------

VALLEY = np.array([-1.2, 1.0])  # where Rosenbrock begins (1960); there the loss is 24.2


def rosenbrock() -> gg.Network:
    """(1 - x)² + 100 (y - x²)²: a bent valley to (1, 1), where the eigenvalues are 0.4 and 1001.6."""
    g = gg.Graph()
    theta = g.parameter("theta", (2,))
    x, y = theta[0], theta[1]
    return gg.Network(loss=(1 - x) ** 2 + 100 * (y - x**2) ** 2, inputs=[])


LATE = schedules.piecewise([0.9, 0.95], [100])
ON_ROSENBROCK: list[tuple[gg.Optimizer, int, float]] = [
    (gg.SGD(0.0018), 10_000, 9.291e-08),
    (gg.SGD(schedules.warm_up(schedules.cosine(0.0019, 9900, final=0.001), 100)), 10_000, 1.643e-06),
    (gg.Momentum(0.03, 0.95), 1000, 4.875e-17),
    (gg.Momentum(schedules.cosine(0.02, 1000, final=0.01), LATE), 1000, 7.689e-07),
    (gg.Momentum(0.001, 0.6, form="lecture"), 10_000, 5.12e-05),
    (gg.Momentum(schedules.exponential(0.001, 0.5, every=20_000), 0.6, form="lecture"), 10_000, 0.0001806),
    (gg.Momentum(0.0015, 0.95, form="polyak"), 1000, 4.875e-17),
    (gg.Momentum(schedules.inverse(0.002, decay=1e-3), 0.95, form="polyak"), 1000, 3.017e-13),
    (gg.Momentum(0.001, 0.95, form="nesterov"), 1000, 3.297e-11),
    (gg.Momentum(schedules.warm_up(0.001, 100), LATE, form="nesterov"), 1000, 3.546e-10),
    (gg.Adam(0.3, beta1=0.95), 1000, 1.256e-12),
    (gg.Adam(schedules.cosine(0.2, 1000), 0.95, 0.99), 1000, 5.919e-15),
    (gg.Adam(schedules.cosine(0.2, 1000), LATE, 0.99), 1000, 3.366e-16),
    (gg.Adam(0.3, 0.95, weight_decay=0.001), 1000, 0.0001863),
    (gg.Adam(schedules.cosine(0.01, 5000), 0.95, 0.99, weight_decay=0.1), 5000, 3.367e-09),
]


@pytest.mark.parametrize(("optimizer", "steps", "stated"), ON_ROSENBROCK, ids=[repr(o) for o, *_ in ON_ROSENBROCK])
def test_on_rosenbrock_s_function(optimizer: gg.Optimizer, steps: int, stated: float) -> None:
    trainer = trained(rosenbrock(), optimizer, steps, VALLEY)
    assert stated < 1e-3
    assert trainer.loss(()) == pytest.approx(stated, rel=CLOSE, abs=0)
    np.testing.assert_allclose(trainer.parameters["theta"], 1, rtol=0, atol=0.1)


def test_weight_decay_keeps_the_parameters_in_a_box() -> None:
    """What AdamW converges to is the minimum where no |θ_i| is above 1/λ (Xie and Li, 2024): (1/2, 1/4) for λ = 2."""
    optimizer = gg.Adam(schedules.cosine(0.01, 20_000), 0.95, 0.99, weight_decay=2.0)
    theta = trained(rosenbrock(), optimizer, 20_000, VALLEY).parameters["theta"]
    np.testing.assert_allclose(theta, [0.5, 0.25], rtol=0, atol=1e-4)


# ---------------------------------------------------------------------------------------------------------------------
# Digits
# ---------------------------------------------------------------------------------------------------------------------

EPOCHS, BATCH = 10, 64
STEPS = 230  # 23 batches of 1,437 images, ten times
ON_DIGITS: list[tuple[gg.Optimizer, float]] = [
    (gg.SGD(0.5), 0.09563),
    (gg.SGD(schedules.warm_up(schedules.cosine(0.8, STEPS - 20), 20)), 0.1072),
    (gg.Momentum(1.0, 0.9), 0.05503),
    (gg.Momentum(schedules.cosine(1.0, STEPS), schedules.piecewise([0.5, 0.9], [50])), 0.08521),
    (gg.Momentum(0.5, 0.6, form="lecture"), 0.09769),
    (gg.Momentum(schedules.inverse(1.0, decay=0.01), 0.6, form="lecture"), 0.09775),
    (gg.Momentum(0.1, 0.9, form="polyak"), 0.05503),
    (gg.Momentum(schedules.exponential(0.2, 0.5, every=50, stairs=True), 0.9, form="polyak"), 0.05634),
    (gg.Momentum(0.1, 0.9, form="nesterov"), 0.05173),
    (gg.Momentum(schedules.warm_up(0.1, 50), schedules.piecewise([0.8, 0.95], [100]), form="nesterov"), 0.04204),
    (gg.Adam(0.02), 0.01982),
    (gg.Adam(schedules.cosine(0.03, STEPS), schedules.piecewise([0.8, 0.95], [100]), 0.99), 0.02718),
    (gg.Adam(0.02, weight_decay=0.1), 0.04227),
    (gg.Adam(schedules.cosine(0.03, STEPS), weight_decay=0.1), 0.04574),
]


@pytest.mark.parametrize(("optimizer", "stated"), ON_DIGITS, ids=[repr(o) for o, _ in ON_DIGITS])
def test_on_digits(optimizer: gg.Optimizer, stated: float) -> None:
    """The loss over the training data, which is log 10 = 2.3 for a guess."""
    X, Y, X_test, Y_test = load_digits_split()
    trainer = gg.Trainer(gg.feedforward([64, 32, 10], "tanh", loss="cross_entropy"), optimizer, dtype="float64")
    for epoch in range(EPOCHS):
        for batch in batches(len(X), BATCH, np.random.default_rng(epoch)):
            trainer.step(X[batch], Y[batch])
    assert trainer.k == STEPS
    assert trainer.loss(X, Y) == pytest.approx(stated, rel=CLOSE, abs=0)
    assert trainer.evaluate(X_test, Y_test)["accuracy"] > 0.9
