"""What training does to a loss and its gradients: weights, L2, clipping, decay, groups; held against plain NumPy."""

import re
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.dataset import dataset
from graphgrad.errors import GraphgradError

rng = np.random.default_rng(1)
X = rng.normal(size=(40, 3))
LABELS = rng.integers(0, 3, 40)
NUMBERS = rng.normal(size=(40, 2))


def network(loss: str, outputs: int = 3) -> gg.Network:
    return gg.feedforward([3, 5, outputs], "tanh", loss)


def gradients(net: gg.Network, X: np.ndarray, Y: np.ndarray, parameters: Any = None) -> dict[str, np.ndarray]:
    """Of the plain loss, by the evaluator."""
    d = gg.derive(net.loss)
    values = net.initialize(0) if parameters is None else parameters
    found = gg.evaluate([d[p] for p in net.parameters], x=X, y=Y, **values)
    return {p.name: np.asarray(g) for p, g in zip(net.parameters, found, strict=True)}


def moved(net: gg.Network, X: np.ndarray, Y: np.ndarray, **arguments: Any) -> dict[str, np.ndarray]:
    """What one step of gradient descent with α = 1 takes from the initial parameters: the gradient that it used."""
    before = net.initialize(0)
    run = gg.train(
        net, X, Y, **{"optimizer": gg.SGD(1.0), "batch_size": None, "epochs": 1, "dtype": "float64", **arguments}
    )
    return {name: before[name] - a for name, a in run.parameters.items()}


def close(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name, array in a.items():
        np.testing.assert_allclose(array, b[name], rtol=1e-9, atol=1e-12, err_msg=name)


# ---------------------------------------------------------------------------------------------------------------------
# Weights
# ---------------------------------------------------------------------------------------------------------------------

LOSSES: list[tuple[str, int, Any]] = [
    ("cross_entropy", 3, LABELS),
    ("mse", 2, NUMBERS),
    ("mae", 2, NUMBERS),
    ("huber", 2, NUMBERS),
    ("bce", 1, (LABELS > 0)[:, None].astype(float)),
    ("hinge", 1, np.where(LABELS > 0, 1.0, -1.0)[:, None]),
]


@pytest.mark.parametrize(("loss", "outputs", "Y"), LOSSES, ids=[name for name, _, _ in LOSSES])
def test_a_whole_weight_is_so_many_samples(loss: str, outputs: int, Y: np.ndarray) -> None:
    """Zero is none: the gradient, and the loss that is told."""
    net, weights = network(loss, outputs), rng.integers(0, 4, 40)
    weights[0] = 0
    many = np.repeat(np.arange(40), weights)
    close(moved(net, X, Y, sample_weight=weights), gradients(net, X[many], Y[many]))
    told = [
        gg.train(net, x, y, sample_weight=w, batch_size=None, epochs=1, dtype="float64").history["loss"][0]
        for x, y, w in ((X, Y, weights), (X[many], Y[many], None))
    ]
    assert told[0] == pytest.approx(told[1], rel=1e-12)


def test_a_loss_of_one_s_own_that_is_a_mean_is_weighted_too() -> None:
    g = gg.Graph()
    x, y, w = g.input("x", ("N", 3)), g.input("y", ("N", 2)), g.parameter("w", (2, 3))
    p = x @ w.T
    weights = rng.integers(1, 4, 40)
    many = np.repeat(np.arange(40), weights)
    for loss in (gg.mean((p - y) ** 2), gg.mean(gg.sum(gg.abs(p - y), axis=1))):
        net = gg.Network(loss=loss, inputs=[x], target=y, prediction=p)
        close(moved(net, X, NUMBERS, sample_weight=weights), gradients(net, X[many], NUMBERS[many]))


def test_batches_count_by_their_weights() -> None:
    """The loss of an epoch is the mean over the epoch's weights, whatever its batches."""
    net, weights = network("mse", 2), rng.uniform(0.1, 2, 40)
    run = gg.train(
        net, X, NUMBERS, sample_weight=weights, optimizer=gg.SGD(0.0), batch_size=7, epochs=1, dtype="float64"
    )
    p = gg.evaluate(net.prediction, x=X, **net.initialize(0))  # type: ignore[arg-type]
    each = np.mean((p - NUMBERS) ** 2, axis=1)
    assert run.history["loss"][0] == pytest.approx(np.average(each, weights=weights), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-50, 1e-300, 1e30, 1e300, 3.0])
def test_the_scale_of_weights_is_nothing_to_training(scale: float) -> None:
    """Though the step computes in float32, in which 1e-50 is 0."""
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(65, 2)), rng.uniform(0.5, 1.0, 65)
    net = gg.feedforward([2, 4, 1], "tanh")
    one, other = (gg.train(net, X, X[:, :1], sample_weight=s * w, epochs=3) for s in (1.0, scale))
    np.testing.assert_allclose(other.history["loss"], one.history["loss"], rtol=1e-6)


def test_a_weight_that_is_nothing_beside_the_others_counts_as_none() -> None:
    """The last batch has one sample: were its weight 0 in float32, the mean over the batch would be 0 / 0."""
    X = np.random.default_rng(0).normal(size=(65, 2))
    run = gg.train(gg.feedforward([2, 4, 1]), X, X[:, :1], sample_weight=np.exp(-300 * X[:, 0] ** 2), epochs=20)
    assert (run.stopped, len(run.history["loss"])) == ("", 20)


def test_soft_labels_have_no_class_s_weight() -> None:
    net = gg.feedforward([2, 1], loss="bce")
    leaves, soft = [*net.inputs, net.target], np.array([[0.9], [0.9], [1.0], [0.0]])
    data = dataset(leaves, net, np.ones((4, 2)), soft, class_weight={0: 0.25})
    assert data.weights is not None
    assert (data.weights / data.weights[0]).tolist() == [1.0, 1.0, 1.0, 0.25]


@pytest.mark.parametrize("weights", [None, np.r_[np.zeros(4), np.linspace(0.1, 2, 36)]])
def test_balanced_counts_the_samples_that_are_trained_on(weights: np.ndarray | None) -> None:
    net = network("cross_entropy")
    options: dict[str, Any] = {"validation": 0.5, "epochs": 3, "batch_size": 5, "dtype": "float64"}
    balanced = gg.train(net, X, LABELS, class_weight="balanced", sample_weight=weights, **options)
    trained = np.setdiff1d(np.arange(40), balanced.validation_rows)
    base = np.ones(40) if weights is None else weights
    totals = np.bincount(LABELS[trained], base[trained])
    assert np.ptp(totals / totals.sum() - np.bincount(LABELS, base) / base.sum()) > 0.02  # so that it shows
    by_hand = gg.train(net, X, LABELS, sample_weight=base / totals[LABELS], **options)
    close(balanced.parameters, by_hand.parameters)


def test_validation_is_not_weighted() -> None:
    options: dict[str, Any] = {"validation": 0.5, "epochs": 2, "class_weight": {0: 9.0}}
    run = gg.train(network("cross_entropy"), X, LABELS, sample_weight=np.linspace(0.1, 2, 40), **options)
    rows = run.validation_rows
    assert run.history["validation_loss"][-1] == pytest.approx(run.evaluate(X[rows], LABELS[rows])["loss"], rel=1e-6)


def test_weights_of_classes() -> None:
    net = network("cross_entropy")
    by_label = {0: 2.0, 2: 0.5}
    of_samples = np.array([by_label.get(int(c), 1.0) for c in LABELS])
    close(moved(net, X, LABELS, class_weight=by_label), moved(net, X, LABELS, sample_weight=of_samples))
    counts = np.bincount(LABELS)
    balanced = (40 / (3 * counts))[LABELS]
    close(moved(net, X, LABELS, class_weight="balanced"), moved(net, X, LABELS, sample_weight=balanced))
    both = rng.uniform(0.5, 1, 40)
    close(
        moved(net, X, LABELS, class_weight=by_label, sample_weight=both),
        moved(net, X, LABELS, sample_weight=both * of_samples),
    )
    two = network("bce", 1)
    Y = (LABELS > 0)[:, None].astype(float)
    close(moved(two, X, Y, class_weight={1: 3.0}), moved(two, X, Y, sample_weight=np.where(LABELS > 0, 3.0, 1.0)))


EACH = "sample_weight is a number for each sample, of shape (40,)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_weight": np.ones(39)}, f"{EACH}, but float64 of shape (39,) was given"),
        ({"sample_weight": [None] * 40}, f"{EACH}, but object of shape (40,) was given"),
        ({"sample_weight": np.r_[np.ones(39), -1]}, "sample_weight[39] is -1.0; weights are finite numbers from 0 on"),
        (
            {"sample_weight": np.r_[np.inf, np.ones(39)]},
            "sample_weight[0] is inf; weights are finite numbers from 0 on",
        ),
        (
            {"sample_weight": np.ma.masked_array(np.ones(40), [True] + [False] * 39)},
            "sample_weight is a masked array, whose mask would be lost; sample_weight.filled(0.0) would fit",
        ),
        ({"sample_weight": [[1], [1, 2]]}, "sample_weight is no array: its rows have different lengths"),
        ({"sample_weight": np.zeros(40)}, "sample_weight is 0 for all samples"),
        (
            {"sample_weight": np.full(40, 1e300), "class_weight": {0: 1e300, 1: 2.0}},
            f"sample_weight[{np.argmax(LABELS == 0)}] is 1e+300 and class_weight of 0 is 1e+300: "
            "their product is too large",
        ),
        ({"class_weight": {7: 1.0}}, "class_weight names 7, which is no label; there are: [0, 1, 2]"),
        ({"class_weight": {1: -1.0}}, "class_weight of 1 is -1.0; weights are finite numbers from 0 on"),
        ({"class_weight": "even"}, "class_weight is a mapping from labels, or \"balanced\", but 'even' was given"),
        ({"class_weight": [1, 2, 3]}, 'class_weight is a mapping from labels, or "balanced", but [1, 2, 3] was given'),
    ],
)
def test_weights_that_are_none_are_told(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphgradError, match=f"^{re.escape(message)}$"):
        gg.train(network("cross_entropy"), X, LABELS, epochs=1, **arguments)


def test_what_cannot_be_weighted_is_told() -> None:
    with pytest.raises(GraphgradError, match=r"^class_weight wants a target with a class for each sample$"):
        gg.train(network("mse", 2), X, NUMBERS, class_weight={0: 1.0})
    g = gg.Graph()
    x, w = g.input("x", ("N", 3)), g.parameter("w", (3,))
    net = gg.Network(loss=gg.sum((x @ w) ** 2).named("L"), inputs=[x])
    message = r"^weights want a loss that is a mean over samples, such as .*, but L = sum \(made at .*\) is none$"
    with pytest.raises(GraphgradError, match=message):
        gg.train(net, X, sample_weight=np.ones(40))


# ---------------------------------------------------------------------------------------------------------------------
# L2 and clipping
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", ["fast", "low"])
def test_l2_adds_its_gradient(memory: str) -> None:
    net = network("mse", 2)
    start, plain = net.initialize(0), gradients(net, X, NUMBERS)
    close(moved(net, X, NUMBERS, l2=0.3, memory=memory), {n: g + 0.3 * start[n] for n, g in plain.items()})
    by_name = {n: g + 0.3 * start[n] * n.startswith("W") for n, g in plain.items()}
    close(moved(net, X, NUMBERS, l2={"W*": 0.3}, memory=memory), by_name)


@pytest.mark.parametrize("memory", ["fast", "low"])
def test_clipping_by_value_and_by_the_norm_of_all(memory: str) -> None:
    net = network("mse", 2)
    plain = gradients(net, X, NUMBERS)
    norm = np.sqrt(sum(np.sum(g**2) for g in plain.values()))
    close(
        moved(net, X, NUMBERS, clip_value=0.05, memory=memory), {n: np.clip(g, -0.05, 0.05) for n, g in plain.items()}
    )
    close(moved(net, X, NUMBERS, clip_norm=norm / 3, memory=memory), {n: g / 3 for n, g in plain.items()})
    close(moved(net, X, NUMBERS, clip_norm=norm * 3, memory=memory), plain)
    assert any(np.abs(g).max() > 0.05 for g in plain.values())


def test_l2_comes_before_clipping_and_values_before_the_norm() -> None:
    net = network("mse", 2)
    start, plain = net.initialize(0), gradients(net, X, NUMBERS)
    clipped = {n: np.clip(g + 0.3 * start[n], -0.05, 0.05) for n, g in plain.items()}
    norm = np.sqrt(sum(np.sum(g**2) for g in clipped.values()))
    close(moved(net, X, NUMBERS, l2=0.3, clip_value=0.05, clip_norm=norm / 2), {n: g / 2 for n, g in clipped.items()})


def test_a_gradient_of_zero_is_clipped_to_zero() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N",)), g.parameter("w")
    net = gg.Network(loss=gg.mean(x * w), inputs=[x])
    run = gg.train(net, np.zeros(4), clip_norm=1.0, optimizer=gg.SGD(1.0), batch_size=None, epochs=1)
    assert run.parameters["w"] == 0.0
    assert not run.stopped


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"l2": -1.0}, "l2: l2 is a number that is not negative, but -1.0 was given"),
        ({"l2": {"V*": 1.0}}, "l2: no parameter fits V*; there are: W1, b1, W2, b2"),
        ({"clip_norm": 0}, "clip_norm is a number above 0, but 0 was given"),
        ({"clip_value": "1"}, "clip_value is a number above 0, but '1' was given"),
    ],
)
def test_numbers_that_are_none_are_told(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphgradError, match=f"^{re.escape(message)}$"):
        gg.train(network("mse", 2), X, NUMBERS, epochs=1, **arguments)


# ---------------------------------------------------------------------------------------------------------------------
# Decay and groups
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [gg.SGD, gg.Momentum, gg.Adam])
def test_decoupled_decay_multiplies_the_parameters(optimizer: Any) -> None:
    """θ ← (1 - α λ) θ - what the optimizer takes without it: in one step, from the same state."""
    net = network("mse", 2)
    start = net.initialize(0)
    without, with_decay = (
        gg.train(net, X, NUMBERS, optimizer=o, batch_size=None, epochs=1, dtype="float64").parameters
        for o in (optimizer(0.1), optimizer(0.1, weight_decay=0.5))
    )
    close(with_decay, {n: a - 0.1 * 0.5 * start[n] for n, a in without.items()})


def test_each_group_moves_by_its_own_optimizer() -> None:
    """As if the other groups were trained beside it: SGD, Adam and nothing, over three steps by hand."""
    net = network("mse", 2)
    groups = gg.Groups({"W1": None, "b*": gg.SGD(0.1), "*": gg.Adam(0.05)})
    run = gg.train(net, X, NUMBERS, optimizer=groups, batch_size=None, epochs=3, dtype="float64")
    theta = net.initialize(0)
    m = v = np.zeros_like(theta["W2"])
    for k in (1, 2, 3):
        g = gradients(net, X, NUMBERS, theta)
        m, v = 0.9 * m + 0.1 * g["W2"], 0.999 * v + 0.001 * g["W2"] ** 2
        step = 0.05 * m / (1 - 0.9**k) / (np.sqrt(v / (1 - 0.999**k)) + 1e-8)
        theta = {
            **theta,
            "W2": theta["W2"] - step,
            "b1": theta["b1"] - 0.1 * g["b1"],
            "b2": theta["b2"] - 0.1 * g["b2"],
        }
    close(run.parameters, theta)
    assert run.trainer.state.keys() == {"k", "m.W2", "v.W2"}


def test_frozen_parameters_cost_no_gradient() -> None:
    net = network("mse", 2)
    source = gg.Trainer(net, gg.Groups({"W1": None, "b1": None, "*": gg.SGD(0.1)})).source
    assert "W2_bar" in source
    assert "W1_bar" not in source
    assert "z1_bar" not in source


def test_groups_with_schedules_of_their_own_keep_their_numbers_apart() -> None:
    """β as a schedule has a number among the states; each group has its own."""
    schedule = gg.schedules.piecewise([0.5, 0.9], [2])
    groups = gg.Groups({"W*": gg.Adam(0.1, beta1=schedule), "*": gg.Adam(0.1, beta1=gg.schedules.constant(0.7))})
    run = gg.train(network("mse", 2), X, NUMBERS, optimizer=groups, batch_size=None, epochs=3, dtype="float64")
    state = run.trainer.state
    assert state["correction1[W*]"] == pytest.approx(1 - 0.5 * 0.5 * 0.9)
    assert state["correction1[*]"] == pytest.approx(1 - 0.7**3)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, 'Groups takes a mapping such as {"b*": SGD(0.1), "*": Adam()}, but {} was given'),
        ({"W*": gg.SGD()}, 'no pattern of Groups fits the parameter b1: W* were given; "*" fits all'),
        ({"*": gg.SGD(), "b1": gg.SGD()}, "no parameter is left for b1 of Groups; there are: W1, b1, W2, b2"),
        ({"*": None}, "Groups freezes all parameters: nothing is left to train"),
        ({"*": gg.SGD}, "Groups maps patterns of names to optimizers or None, but '*': <class"),
        ({"*": 3}, "Groups maps patterns of names to optimizers or None, but '*': 3 was given"),
    ],
)
def test_groups_that_do_not_fit_are_told(rules: Any, message: str) -> None:
    with pytest.raises(GraphgradError, match=f"^{re.escape(message)}"):
        gg.train(network("mse", 2), X, NUMBERS, optimizer=gg.Groups(rules), epochs=1)
