"""Networks: what feedforward builds, initial values, and what is no network."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.initial import RULES, draw, initial_law
from graphgrad.operators.losses import LOSSES


def test_feedforward_computes_the_layers() -> None:
    net = gg.feedforward([5, 7, 4, 3], ["tanh", gg.sigmoid])
    rng = np.random.default_rng(1)
    p = {name: rng.normal(size=a.shape) for name, a in net.initialize().items()}
    x, y = rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    x1 = np.tanh(x @ p["W1"].T + p["b1"])
    x2 = 1 / (1 + np.exp(-(x1 @ p["W2"].T + p["b2"])))
    x3 = x2 @ p["W3"].T + p["b3"]
    found = gg.evaluate([net.graph["x1"], net.graph["x2"], net.prediction, net.loss], x=x, y=y, **p)  # type: ignore[list-item]
    for a, b in zip(found, [x1, x2, x3, np.mean((x3 - y) ** 2)], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_feedforward_s_nodes_have_the_lecture_s_names_and_scopes() -> None:
    net = gg.feedforward([5, 7, 3], loss="cross_entropy")
    g = net.graph
    named = {name for names in g.names.values() for name in names}
    assert named == {"x", "y", "W1", "b1", "z1", "x1", "W2", "b2", "z2", "x2", "prediction", "loss"}
    assert [p.name for p in net.parameters] == ["W1", "b1", "W2", "b2"]
    assert (g["x"].shape, g["y"].shape, g["y"].dtype) == (
        g.input("x", ("N", 5)).shape,
        g.input("y", ("N",), "int64").shape,
        "int64",
    )
    assert {g.scopes[g[name].id] for name in ("W1", "b1", "z1", "x1")} == {"layer1"}
    assert {g.scopes[g[name].id] for name in ("W2", "z2")} == {"layer2"}
    assert g["loss"].id not in g.scopes
    assert (net.size, net.widths, net.batch, net.classes) == (7 * 5 + 7 + 3 * 7 + 3, (5, 7, 3), "N", 3)


@pytest.mark.parametrize(
    ("loss", "squashed"), [("cross_entropy", True), ("bce", True), ("mse", False), ("hinge", False), ("huber", False)]
)
def test_losses_from_logits_predict_probabilities(loss: str, squashed: bool) -> None:
    net = gg.feedforward([3, 4], loss=loss)
    values = net.initialize(0)
    x = np.random.default_rng(0).normal(size=(9, 3)) * 10
    z, p = gg.evaluate([net.graph["z1"], net.prediction], x=x, **values)  # type: ignore[list-item]
    if not squashed:
        assert np.array_equal(z, p)
    elif loss == "bce":
        np.testing.assert_allclose(p, 1 / (1 + np.exp(-z)), rtol=1e-12)
    else:
        np.testing.assert_allclose(p, np.exp(z) / np.exp(z).sum(1, keepdims=True), rtol=1e-12)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_trains_a_network(loss: str) -> None:
    net = gg.feedforward([3, 8, 4], "tanh", loss)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3)).astype("float32")
    y = rng.integers(0, 4, 50) if net.classes else np.sign(x @ rng.normal(size=(3, 4)))
    y = np.maximum(y, 0) if loss in ("bce", "binary_cross_entropy") else y
    trainer = gg.Trainer(net, gg.Adam(0.01))
    losses = [trainer.step(x, y) for _ in range(200)]
    assert losses[-1] < 0.8 * losses[0]


def test_output_activation_and_a_loss_of_one_s_own() -> None:
    net = gg.feedforward(
        [3, 4, 2], "relu", lambda p, y: gg.sum((p - y) ** 4), output_activation="sigmoid", dtype="float32"
    )
    x, y = np.ones((2, 3), "float32"), np.zeros((2, 2), "float32")
    loss, p = gg.evaluate([net.loss, net.prediction], x=x, y=y, **net.initialize())  # type: ignore[list-item]
    assert loss == pytest.approx(np.sum(p**4))
    assert (loss.dtype, p.min() > 0, p.max() < 1) == ("float32", True, True)


# ---------------------------------------------------------------------------------------------------------------------
# Initial values
# ---------------------------------------------------------------------------------------------------------------------

SHAPE = (300, 500)  # outputs, inputs
DEVIATIONS = {
    "glorot": (2 / 800) ** 0.5,
    "glorot_normal": (2 / 800) ** 0.5,
    "glorot_uniform": (2 / 800) ** 0.5,
    "he": (2 / 500) ** 0.5,
    "he_normal": (2 / 500) ** 0.5,
    "he_uniform": (2 / 500) ** 0.5,
    "lecun": (1 / 500) ** 0.5,
    "lecun_normal": (1 / 500) ** 0.5,
    "lecun_uniform": (1 / 500) ** 0.5,
    "orthogonal": (1 / 500) ** 0.5,
    "zeros": 0.0,
    "auto": (2 / 800) ** 0.5,
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_draws_numbers_of_its_deviation(rule: str) -> None:
    values = draw(rule, SHAPE, np.random.default_rng(0))
    assert values.shape == SHAPE
    assert np.std(values) == pytest.approx(DEVIATIONS[rule], rel=0.01)
    assert abs(np.mean(values)) <= 4 * DEVIATIONS[rule] / np.sqrt(values.size)
    if rule.endswith("uniform"):
        bound = 3**0.5 * DEVIATIONS[rule]
        assert 0.999 * bound < np.abs(values).max() <= bound
    elif rule not in ("zeros", "orthogonal"):
        assert np.abs(values).max() > 3.5 * DEVIATIONS[rule]


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (4, 4), (6, 2, 3), (3,), ()])
def test_orthogonal_values_are_orthogonal(shape: tuple[int, ...]) -> None:
    values = draw("orthogonal", shape, np.random.default_rng(2)).reshape(shape[0] if shape else 1, -1)
    rows, columns = values.shape
    product = values @ values.T if rows <= columns else values.T @ values
    np.testing.assert_allclose(product, np.eye(min(rows, columns)), atol=1e-12)


def test_a_vector_s_inputs_are_its_elements() -> None:
    assert initial_law("he", (50,)) == ("normal", pytest.approx(0.2))
    assert initial_law("auto", (50,)) == ("zeros", 0.0)


def test_a_rule_that_tells_its_number() -> None:
    assert initial_law("normal(0.02)", SHAPE) == ("normal", 0.02)
    assert initial_law("uniform(1e-05)", ()) == ("uniform", 1e-5)
    values = draw("uniform(0.25)", SHAPE, np.random.default_rng(0))
    assert 0.2499 < np.abs(values).max() <= 0.25
    assert draw("normal(3)", SHAPE, np.random.default_rng(0)).std() == pytest.approx(3, rel=0.01)


@pytest.mark.parametrize("rule", ["uniform", "uniform()", "uniform(-1)", "normal(1e999)", "normal(nan)", "zeros(1)", 3])
def test_what_tells_no_number_is_no_rule(rule: Any) -> None:
    with pytest.raises(gg.GraphgradError, match=r"^no initial value rule is called .*normal\(σ\), uniform\(bound\)$"):
        gg.feedforward([2, 1], initial={"b1": rule})


def test_rules_by_name_leave_the_others_as_they_are() -> None:
    net = gg.feedforward([9, 8, 7], "relu", initial={"W2": "auto", "b1": "uniform(0.1)"})
    assert net.rules() == {"W1": "he", "b1": "uniform(0.1)", "W2": "glorot", "b2": "auto"}
    assert 0 < np.abs(net.initialize()["b1"]).max() <= 0.1
    assert not net.initialize()["b2"].any()


def test_auto_follows_the_activation_of_each_layer() -> None:
    net = gg.feedforward([9, 9, 9, 9, 9], ["relu", "selu", "tanh"])
    rules = net.rules()
    assert [rules[f"W{l}"] for l in (1, 2, 3, 4)] == ["he", "lecun", "glorot", "glorot"]
    assert {rules[f"b{l}"] for l in (1, 2, 3, 4)} == {"auto"}
    assert gg.feedforward([2, 3, 1], [gg.gelu]).rules()["W1"] == "he"
    assert gg.feedforward([2, 3, 1], initial=["zeros", "orthogonal"]).rules()["W2"] == "orthogonal"


def test_initial_values_come_from_the_seed_alone() -> None:
    net = gg.feedforward([4, 6, 2], dtype="float32")
    first, again, other = net.initialize(7), net.initialize(7), net.initialize(8)
    assert list(first) == ["W1", "b1", "W2", "b2"]
    for name, array in first.items():
        assert array.dtype == "float32"
        assert array.tobytes() == again[name].tobytes()
    assert not np.array_equal(first["W1"], other["W1"])
    assert not np.array_equal(first["W1"].ravel()[:12], first["W2"].ravel())
    assert not first["b1"].any()


def test_a_rule_of_one_s_own_for_one_parameter() -> None:
    g = gg.Graph()
    x, w, c = g.input("x", ("N", 3)), g.parameter("w", (3,)), g.parameter("c")
    net = gg.Network(
        loss=gg.mean((x @ w + c) ** 2),
        inputs=[x],
        initial={"w": lambda rng, shape: rng.integers(1, 9, shape), "c": "zeros"},
    )
    drawn = net.initialize(0)["w"]
    assert drawn.dtype == "float64"
    assert set(drawn) <= set(range(1, 9))
    wrong = gg.Network(loss=net.loss, inputs=[x], initial={"w": lambda rng, shape: rng.normal(size=2)})
    with pytest.raises(gg.GraphgradError, match=r"gave shape \(2,\) where \(3,\) is wanted$"):
        wrong.initialize()


# ---------------------------------------------------------------------------------------------------------------------
# A network from a graph of one's own
# ---------------------------------------------------------------------------------------------------------------------


def parts() -> dict[str, Any]:
    g = gg.Graph()
    x, y, w, s = g.input("x", ("N", 2)), g.input("y", ("N",)), g.parameter("w", (2,)), g.state("s")
    other = gg.Graph().input("z", ("N",))
    p = (x @ w).named("p")
    return {"g": g, "x": x, "y": y, "w": w, "s": s, "p": p, "other": other, "loss": gg.mean((p - y) ** 2).named("L")}


def test_a_network_of_one_s_own() -> None:
    t = parts()
    t["g"].parameter("unused", (5,))
    net = gg.Network(loss=t["loss"], inputs=t["x"], target=t["y"], prediction=t["p"])
    assert net.parameters == (t["w"],)
    assert net.inputs == (t["x"],)
    assert (net.size, net.batch, net.classes) == (2, "N", None)
    assert repr(net) == "<network of w (2,): 2 parameters>"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda t: {"loss": 3.0}, "the loss of a network is a Tensor, but float was given"),
        (
            lambda t: {"loss": t["p"]},
            "the loss of a network is a scalar, but p has shape (N,); gg.mean or gg.sum makes it one",
        ),
        (
            lambda t: {"loss": gg.cast(t["loss"], "int64").named("i")},
            "the loss of a network is a float, but i is int64",
        ),
        (
            lambda t: {"inputs": [t["other"]]},
            "an input of a network is a Tensor of the graph of its loss, but <z: input (N,) float64> was given",
        ),
        (lambda t: {"inputs": [t["p"]]}, "an input of a network is an input of its graph, but p is a matmul"),
        (lambda t: {"target": t["w"]}, "the target of a network is an input of its graph, but w is a parameter"),
        (
            lambda t: {"target": t["x"]},
            "x, x: the inputs and the target of a network are different inputs of its graph",
        ),
        (lambda t: {"target": None}, "the loss depends on y, which is neither among the inputs nor the target"),
        (lambda t: {"loss": t["loss"] * t["s"]}, "the loss depends on s, a state, which nothing would update"),
        (
            lambda t: {"loss": gg.mean(t["y"]).named("c")},
            "the loss c depends on no parameter, so there is nothing to train; g.parameter(name, shape) makes one",
        ),
        (
            lambda t: {"loss": gg.sum(t["g"].parameter("q", ("N",)) * t["y"])},
            "the parameter q has shape (N,); to train it, its dimensions are to be numbers",
        ),
        (
            lambda t: {"prediction": t["other"]},
            "the prediction of a network is a Tensor of the graph of its loss, but <z: input (N,) float64> was given",
        ),
        (lambda t: {"prediction": (t["p"] - t["y"]).named("r")}, "the prediction r depends on the target"),
        (
            lambda t: {"prediction": (t["p"] * t["g"].parameter("q")).named("r")},
            "the prediction r depends on the parameter q, which the loss knows nothing of",
        ),
        (
            lambda t: {"initial": "xavier"},
            f"no initial value rule is called 'xavier'; there are: {', '.join(RULES)}, normal(σ), uniform(bound)",
        ),
        (lambda t: {"initial": {"v": "he"}}, "initial names v, but the parameters are w"),
    ],
)
def test_what_is_no_network_is_told(build: Callable[[Any], Any], message: str) -> None:
    t = parts()
    given = {"loss": t["loss"], "inputs": [t["x"]], "target": t["y"], "prediction": t["p"]}
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message)}$"):
        gg.Network(**{**given, **build(t)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: gg.feedforward([3]),
            "a network has at least two widths, of its input and its output, but [3] was given",
        ),
        (lambda: gg.feedforward([3, 0, 1]), "a width is a whole number from 1 on, but 0 was given"),
        (lambda: gg.feedforward("3-2"), "widths is a list, but '3-2' was given"),  # type: ignore[arg-type]
        (
            lambda: gg.feedforward([3, 2, 1], ["relu", "relu"]),
            "activation is one for all or one for each hidden layer: there are 1, but 2 were given",
        ),
        (
            lambda: gg.feedforward([3, 2, 1], initial=["he"]),
            "initial is one for all or one for each layer: there are 2, but 1 were given",
        ),
        (
            lambda: gg.feedforward([3, 1], loss="cross_entropy"),
            "cross_entropy needs a last width of at least 2, one for each class; binary_cross_entropy needs 1",
        ),
        (
            lambda: gg.feedforward([3, 2], loss="ce", output_activation="tanh"),
            "cross_entropy works on the last layer's values before any activation; leave output_activation out",
        ),
        (
            lambda: gg.feedforward([3, 2], dtype="float16"),
            "dtype 'float16' is not one of bool, int64, float32, float64",
        ),
    ],
)
def test_what_feedforward_cannot_build_is_told(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message)}$"):
        make()


def test_a_misspelt_name_is_told_with_the_nearest() -> None:
    with pytest.raises(
        gg.GraphgradError,
        match=r"^no activation is called 'rellu'; there are: identity, tanh, .*; did you mean relu\?$",
    ):
        gg.feedforward([3, 2, 1], "rellu")
    with pytest.raises(
        gg.GraphgradError,
        match=r"^no loss is called 'mean_square_error'; there are: .*; did you mean mean_squared_error\?$",
    ):
        gg.feedforward([3, 2, 1], loss="mean_square_error")


def test_an_activation_that_changes_the_shape_is_told() -> None:
    with pytest.raises(
        gg.GraphgradError,
        match=r"^an activation keeps shape and dtype of <z1: add \(N, 2\) float64>, but .* gave <v\d+: sum \(N,\) ",
    ):
        gg.feedforward([3, 2, 1], lambda z: gg.sum(z, axis=1))
