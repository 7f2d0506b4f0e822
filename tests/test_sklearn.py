"""scikit-learn's interface: its own checks of estimators, and what they do not ask."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import SkipTest

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.estimator_checks import parametrize_with_checks

import graphgrad as gg
from graphgrad import schedules
from graphgrad.data import set_aside
from graphgrad.errors import GraphgradError
from graphgrad.loop import TrainingWarning
from graphgrad.sklearn import GraphClassifier, GraphRegressor

ROOT = Path(__file__).resolve().parent.parent
Estimator = GraphClassifier | GraphRegressor


def iris() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_iris(return_X_y=True)
    return scale(X), y


def cancer() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X)[:200], y[:200]


def diabetes() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_diabetes(return_X_y=True)
    return scale(X)[:150], scale(y)[:150]


# ---------------------------------------------------------------------------------------------------------------------
# scikit-learn's own checks
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plain:
    """Builds a network of its own, and has a name in which no address stands: it is part of a test's."""

    width: int

    def __call__(self, inputs: int, outputs: int) -> gg.Network:
        return gg.feedforward([inputs, self.width, outputs], "tanh", "cross_entropy")


@dataclass(frozen=True)
class WithShortcut:
    width: int

    def __call__(self, inputs: int, outputs: int) -> gg.Network:
        g = gg.Graph()
        x, y = g.input("x", ("N", inputs)), g.input("y", ("N", outputs))
        h = gg.tanh(x @ g.parameter("A", (inputs, self.width)))
        p = h @ g.parameter("B", (self.width, outputs)) + x @ g.parameter("C", (inputs, outputs))
        return gg.Network(loss=gg.mean_squared_error(p, y), inputs=[x], target=y, prediction=p)


# One batch of all samples, in float64: there a sample of weight 2 is two samples, as one of the checks asks.
CHECKED = [
    GraphClassifier((32, 16), ["tanh", "silu"], optimizer=gg.Adam(schedules.cosine(0.01, 400)), l2=1e-3),
    GraphClassifier(20, "elu", loss="hinge", optimizer="momentum", learning_rate=0.05, clip_norm=1.0),
    GraphClassifier(loss="binary_cross_entropy", learning_rate=0.01, batch_size=None, class_weight="balanced"),
    GraphClassifier(network=Plain(24), learning_rate=schedules.exponential(0.02, 0.999)),
    GraphClassifier(early_stopping=True, learning_rate=0.01, validation_fraction=0.3),
    GraphRegressor((32, 16), ["tanh", "silu"], loss="huber", optimizer=gg.Adam(schedules.cosine(0.01, 400)), l2=1e-3),
    GraphRegressor(20, "gelu", optimizer=gg.Groups({"b*": gg.SGD(0.1), "*": gg.Adam(0.01)}), clip_value=1.0),
    GraphRegressor((), optimizer="sgd", learning_rate=0.1, clip_norm=1.0, n_iter_no_change=None),
    GraphRegressor(network=WithShortcut(16), batch_size=None, learning_rate=0.01),
    GraphRegressor(early_stopping=True),
]


def passes(estimator: Estimator, check: Callable[[Estimator], None]) -> None:
    try:
        check(estimator)
    except SkipTest as skipped:
        pytest.fail(f"skipped: {skipped}")


@parametrize_with_checks([GraphClassifier(), GraphRegressor()])
def test_scikit_learns_checks_pass_and_none_is_skipped(estimator: Estimator, check: Any) -> None:
    passes(estimator, check)


@pytest.mark.slow
@parametrize_with_checks(CHECKED)
def test_scikit_learns_checks_pass_in_many_configurations(estimator: Estimator, check: Any) -> None:
    passes(estimator, check)


# ---------------------------------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------------------------------


def seed_of(random_state: int) -> int:
    return int(np.random.RandomState(random_state).randint(2**31 - 1))


def same(a: Estimator, b: Estimator) -> bool:
    """The same parameters, bit for bit."""
    return all(np.array_equal(p, b.run_.parameters[name]) for name, p in a.run_.parameters.items())


def test_a_fit_is_a_run_of_gg_train() -> None:
    X, y = iris()
    model = GraphClassifier(
        (8, 6),
        ["tanh", "elu"],
        initial=["he", "orthogonal", "glorot"],
        optimizer=gg.Momentum(form="nesterov"),
        learning_rate=schedules.inverse(0.05, 0.01),
        batch_size=32,
        max_iter=7,
        l2=0.01,
        clip_value=0.5,
        clip_norm=2.0,
        n_iter_no_change=None,
        random_state=3,
    ).fit(X, y)
    run = gg.train(
        gg.feedforward([4, 8, 6, 3], ["tanh", "elu"], "cross_entropy", initial=["he", "orthogonal", "glorot"]),
        X,
        y,
        optimizer=gg.Momentum(schedules.inverse(0.05, 0.01), form="nesterov"),
        batch_size=32,
        epochs=7,
        l2=0.01,
        clip_value=0.5,
        clip_norm=2.0,
        dtype="float64",
        seed=seed_of(3),
    )
    for name, values in run.parameters.items():
        np.testing.assert_array_equal(model.run_.parameters[name], values)
    np.testing.assert_array_equal(model.predict_proba(X), run.predict(X))
    assert model.loss_curve_ == run.history["loss"].tolist()
    assert (model.n_iter_, model.loss_, model.validation_scores_) == (7, model.loss_curve_[-1], None)
    assert [c.shape for c in model.coefs_] == [(4, 8), (8, 6), (6, 3)]
    np.testing.assert_array_equal(model.coefs_[1], run.parameters["W2"].T)
    np.testing.assert_array_equal(model.intercepts_[2], run.parameters["b3"])
    assert model.n_features_in_ == 4


def test_the_coefficients_are_those_of_an_mlp_classifier() -> None:
    X, y = iris()
    model = GraphClassifier((7,), max_iter=5, random_state=0).fit(X, y)
    theirs = MLPClassifier((7,), max_iter=1, random_state=0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        theirs.fit(X, y)
    theirs.coefs_, theirs.intercepts_ = model.coefs_, model.intercepts_
    np.testing.assert_allclose(model.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize(("ours", "theirs"), [("relu", "relu"), ("tanh", "tanh"), ("sigmoid", "logistic")])
def test_parameters_begin_as_those_of_an_mlp_classifier(ours: str, theirs: str) -> None:
    """With a step size of nearly nothing, a fit shows what both draw: for weights and biases, how far and how wide."""
    X, y = iris()
    drawn = GraphClassifier((300, 200), ours, learning_rate=0.0, max_iter=1, random_state=0).fit(X, y)
    model = MLPClassifier((300, 200), theirs, learning_rate_init=1e-30, max_iter=1, random_state=0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        model.fit(X, y)
    for mine, other in zip([*drawn.coefs_, *drawn.intercepts_], [*model.coefs_, *model.intercepts_], strict=True):
        assert mine.shape == other.shape
        if mine.size > 100:  # of the last three biases, nothing can be said
            assert np.abs(mine).max() == pytest.approx(np.abs(other).max(), rel=0.03)
            assert mine.std() == pytest.approx(other.std(), rel=0.1)
    assert drawn.intercepts_[2].all()
    rules = drawn.run_.network.rules()
    assert rules["W1"] == rules["b1"] == f"uniform({((2 if ours == 'sigmoid' else 6) / 304) ** 0.5!r})"


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_from_the_same_parameters_each_epoch_is_that_of_an_mlp_classifier(solver: str, classes: int) -> None:
    """Whole batches, so that no order matters; Adam with an epsilon of nearly nothing, which each puts elsewhere."""
    X, y = iris()
    X, y = X[y < classes], y[y < classes]
    theirs = MLPClassifier(
        (9, 7),
        solver=solver,
        learning_rate_init=1e-30,
        alpha=0.0,
        momentum=0.0,
        epsilon=1e-30,
        batch_size=len(X),
        max_iter=1,
        tol=0.0,
        warm_start=True,
        random_state=0,
    )
    net = gg.feedforward([4, 9, 7, 1 if classes == 2 else 3], loss="bce" if classes == 2 else "cross_entropy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged, and is not to
        begun = gg.parameters_from(net, theirs.fit(X, y))
        theirs.set_params(learning_rate_init=0.01, max_iter=40).fit(X, y)
    run = gg.train(
        net,
        X,
        y[:, None].astype(float) if classes == 2 else y,
        optimizer=gg.Adam(0.01, eps=1e-30) if solver == "adam" else gg.SGD(0.01),
        parameters=begun,
        batch_size=None,
        epochs=40,
        dtype="float64",
    )
    np.testing.assert_allclose(run.history["loss"], theirs.loss_curve_[-40:], rtol=1e-9)
    for l, (W, b) in enumerate(zip(theirs.coefs_, theirs.intercepts_, strict=True), 1):
        np.testing.assert_allclose(run.parameters[f"W{l}"], W.T, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(run.parameters[f"b{l}"], b, rtol=1e-7, atol=1e-9)


def test_training_ends_when_the_loss_falls_no_more() -> None:
    X, y = iris()
    model = GraphClassifier((), optimizer="sgd", learning_rate=0.5, max_iter=1000, tol=0.01, n_iter_no_change=5)
    curve = model.fit(X, y).loss_curve_
    assert model.run_.stopped == "early stopping"
    assert 6 < len(curve) < 1000
    assert min(curve[:-5]) - min(curve[-5:]) <= 0.01
    assert GraphClassifier((), max_iter=30, tol=10.0, n_iter_no_change=None).fit(X, y).n_iter_ == 30
    assert GraphClassifier((), max_iter=30, tol=np.float32(10.0), n_iter_no_change=np.int64(3)).fit(X, y).n_iter_ == 4


def test_early_stopping_keeps_the_best_on_samples_set_aside() -> None:
    X, y = cancer()
    weights = np.random.default_rng(0).uniform(0.5, 2, len(X))
    model = GraphClassifier(
        (8,), learning_rate=0.02, early_stopping=True, validation_fraction=0.25, n_iter_no_change=6, random_state=1
    ).fit(X, y, weights)
    aside = set_aside(X, 0.25, seed_of(1), y, weights)
    assert 0.15 < aside.mean() < 0.35
    scores = model.validation_scores_
    assert scores is not None
    assert len(scores) == model.n_iter_ == int(np.argmax(scores)) + 7
    assert model.score(X[aside], y[aside], weights[aside]) == pytest.approx(max(scores))
    alone = GraphClassifier((8,), learning_rate=0.02, max_iter=int(np.argmax(scores)) + 1, random_state=1)
    assert same(model, alone.fit(X[~aside], y[~aside], weights[~aside]))


def test_a_regressor_stops_early_by_r2() -> None:
    X, y = diabetes()
    model = GraphRegressor((20,), learning_rate=0.01, early_stopping=True, validation_fraction=0.3, random_state=0)
    scores = model.fit(X, y).validation_scores_
    assert scores is not None
    aside = set_aside(X, 0.3, seed_of(0))
    assert model.score(X[aside], y[aside]) == pytest.approx(max(scores))
    assert len(scores) < 200


def test_rows_are_set_aside_by_what_is_in_them() -> None:
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(400, 3)), rng.integers(0, 3, 400)
    aside = set_aside(X, 0.2, 5, labels)
    for label in range(3):
        assert abs(np.sum(aside[labels == label]) - 0.2 * np.sum(labels == label)) <= 1
    order, times = rng.permutation(400), rng.integers(1, 4, 400)
    np.testing.assert_array_equal(set_aside(X[order], 0.2, 5, labels[order]), aside[order])
    repeated = np.repeat(np.arange(400), times)
    np.testing.assert_array_equal(
        set_aside(X[repeated], 0.2, 5, labels[repeated]), set_aside(X, 0.2, 5, labels, times)[repeated]
    )
    assert not np.array_equal(set_aside(X, 0.2, 6, labels), aside)
    assert set_aside(X[:5], 0.01, 0, least=2).sum() == 2


def test_weights_are_repetitions() -> None:
    X, y = cancer()
    times = np.random.default_rng(1).integers(0, 4, len(X))
    options: dict[str, Any] = {"class_weight": "balanced", "early_stopping": True, "batch_size": None, "max_iter": 40}
    weighted = GraphClassifier((10,), "tanh", random_state=0, **options).fit(X, y, times)
    repeated = GraphClassifier((10,), "tanh", random_state=0, **options).fit(X.repeat(times, 0), y.repeat(times))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-7)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-9)
    assert weighted.validation_scores_ == pytest.approx(repeated.validation_scores_)


def test_a_class_weight_multiplies_the_weight_of_its_samples() -> None:
    X, y = iris()
    names, weights = np.array(["a", "b", "c"])[y], np.linspace(0.5, 2, len(y))
    by_class = GraphClassifier(max_iter=5, class_weight={"a": 3.0, "c": 0.5}, random_state=0).fit(X, names, weights)
    factors = np.array([3.0, 1.0, 0.5])[y]
    assert same(by_class, GraphClassifier(max_iter=5, random_state=0).fit(X, y, weights * factors))
    balanced = GraphClassifier(max_iter=5, class_weight="balanced", random_state=0).fit(X[20:], y[20:])
    factors = 130 / (3 * np.array([30, 50, 50]))
    assert same(balanced, GraphClassifier(max_iter=5, random_state=0).fit(X[20:], y[20:], factors[y[20:]]))


@pytest.mark.parametrize("weighted", [False, True])
def test_partial_fit_goes_on_epoch_by_epoch(weighted: bool) -> None:
    X, y = iris()
    weights = np.linspace(0.5, 2, len(y)) if weighted else None
    options: dict[str, Any] = {"hidden_layer_sizes": (6,), "batch_size": 32, "random_state": 0}
    whole = GraphClassifier(max_iter=4, n_iter_no_change=None, **options).fit(X, y, weights)
    model = GraphClassifier(**options)
    for epoch in range(4):
        model.partial_fit(X, y, np.unique(y) if epoch == 0 else None, weights)
    assert same(model, whole)
    assert model.loss_curve_ == whole.loss_curve_
    assert (model.n_iter_, model.run_.trainer.k) == (4, 20)
    again = pickle.loads(pickle.dumps(model)).partial_fit(X, y, sample_weight=weights)
    assert same(again, model.partial_fit(X, y, sample_weight=weights))


def test_partial_fit_keeps_the_rate_and_fit_takes_a_new_one() -> None:
    X, y = iris()
    model = GraphClassifier((6,), learning_rate=0.5, max_iter=1).partial_fit(X, y, np.unique(y))
    model.set_params(learning_rate=0.25).partial_fit(X, y)
    assert model.run_.history["rate"].tolist() == [0.5, 0.5]
    assert model.fit(X, y).run_.history["rate"].tolist() == [0.25]


def test_weights_may_come_and_go_between_epochs() -> None:
    X, y = diabetes()
    options: dict[str, Any] = {"hidden_layer_sizes": (6,), "batch_size": None, "random_state": 0, "l2": 0.1}
    plain, weighted = GraphRegressor(**options), GraphRegressor(**options)
    for given in (None, np.full(len(y), 2.0), None):
        plain.partial_fit(X, y)
        weighted.partial_fit(X, y, given)
    np.testing.assert_allclose(weighted.predict(X), plain.predict(X), rtol=1e-9)
    assert weighted.run_.trainer.k == 3


def test_partial_fit_knows_classes_that_are_not_there_yet() -> None:
    X, y = iris()
    model = GraphClassifier((6,), learning_rate=0.05, random_state=0)
    model.partial_fit(X[:50], y[:50], classes=[0, 1, 2])
    assert model.classes_.tolist() == [0, 1, 2]
    for _ in range(60):
        model.partial_fit(X, y)
    assert model.score(X, y) > 0.9
    with pytest.raises(ValueError, match="unseen labels"):
        model.partial_fit(X, y + 1)


def test_a_warm_start_begins_where_the_last_fit_ended() -> None:
    X, y = diabetes()
    options: dict[str, Any] = {"hidden_layer_sizes": (6,), "n_iter_no_change": None, "random_state": 0}
    model = GraphRegressor(max_iter=5, warm_start=True, **options).fit(X, y)
    first, curve = model.run_.parameters, model.loss_curve_
    model.set_params(max_iter=3, learning_rate=0.005).fit(X, y)
    net = gg.feedforward([10, 6, 1])
    run = gg.train(net, X, y[:, None], optimizer=gg.Adam(0.005), parameters=first, epochs=3, dtype="float64",
                   batch_size=None)  # fmt: skip
    np.testing.assert_array_equal(model.predict(X), run.predict(X)[:, 0])
    assert model.loss_curve_ == [*curve, *run.history["loss"]]
    assert model.n_iter_ == 3
    assert same(model.set_params(warm_start=False, max_iter=5, learning_rate=None).fit(X, y),
                GraphRegressor(max_iter=5, **options).fit(X, y))  # fmt: skip


@pytest.mark.parametrize(
    ("given", "dtype", "trained"),
    [
        ("float64", "auto", "float64"),
        ("float32", "auto", "float32"),
        ("int32", "auto", "float64"),
        ("float16", "auto", "float64"),
        ("float64", "float32", "float32"),
        ("float32", "float64", "float64"),
    ],
)
def test_float32_stays_float32_and_all_else_is_float64(given: str, dtype: str, trained: str) -> None:
    X, y = diabetes()
    model = GraphRegressor((5,), max_iter=2, dtype=dtype).fit(X.astype(given), y)
    assert {p.dtype.name for p in model.run_.parameters.values()} == {trained}
    assert model.predict(X.astype(given)).dtype == trained
    model.partial_fit(X, y)
    assert model.predict(X).dtype == trained


def test_random_states() -> None:
    X, y = iris()
    model = GraphClassifier((5,), max_iter=2, random_state=0)
    assert same(clone(model).fit(X, y), clone(model).fit(X, y))
    source = np.random.RandomState(0)
    model.set_params(random_state=source)
    first = model.fit(X, y).run_.parameters["W1"]
    assert not np.array_equal(model.fit(X, y).run_.parameters["W1"], first)
    np.random.seed(0)  # noqa: NPY002  # what random_state=None draws from, as everywhere in scikit-learn
    seeded = GraphClassifier((5,), max_iter=2).fit(X, y)
    np.testing.assert_array_equal(seeded.run_.parameters["W1"], first)


def test_what_was_learned_outlives_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = iris()

    calls = []

    def score(*arguments: Any) -> float:
        calls.append(arguments)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        return float(len(calls))

    model = GraphClassifier(early_stopping=True)
    monkeypatch.setattr(model, "_score", score)
    with pytest.warns(TrainingWarning, match=r"^training was interrupted; what was learned until then is kept$"):
        model.fit(X, y)
    assert model.n_iter_ == 4
    assert model.predict(X).shape == y.shape


def test_a_fit_that_leaves_the_finite_numbers_is_told_with_the_line_that_asked() -> None:
    X, y = diabetes()
    model = GraphRegressor((), optimizer="sgd", learning_rate=1e160, batch_size=50)
    with pytest.warns(TrainingWarning, match=r"model\.fit\(X, y\)  # the line") as told:
        model.fit(X, y)  # the line
    assert len(told) == 1
    assert (model.n_iter_, model.loss_curve_) == (0, [])
    assert np.isnan(model.loss_)
    assert np.isfinite(model.predict(X)).all()
    model.set_params(learning_rate=0.01).fit(X, y)
    assert model.n_iter_ > 1


def test_a_progress_bar_is_shown_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = iris()
    GraphClassifier((5,), max_iter=3).fit(X, y)
    assert capsys.readouterr() == ("", "")
    GraphClassifier((5,), max_iter=3, verbose=True).fit(X, y)
    assert "3/3" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------------------
# Labels, losses, networks
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels", [["no", "yes"], [False, True], [-1, 1], ["a", "b", "c"], [10, 20, 30], [0.0, 1.0, 2.0]], ids=str
)
def test_labels_are_of_any_type(labels: list[Any]) -> None:
    X, y = iris()
    X, y = (X[y < len(labels)], y[y < len(labels)])
    named = np.array(labels)[y]
    model = GraphClassifier((8,), learning_rate=0.02, random_state=0).fit(X, named)
    assert model.classes_.tolist() == labels
    assert model.predict(X).dtype == named.dtype
    p = model.predict_proba(X)
    assert p.shape == (len(X), len(labels))
    assert np.mean(p.argmax(1) == y) > 0.95
    np.testing.assert_array_equal(model.predict(X), model.classes_[p.argmax(1)])
    assert model.loss_ == pytest.approx(log_loss(y, p), rel=0.1)
    if named.dtype.kind == "U":  # of other objects, scikit-learn does not know that they are labels
        as_objects = clone(model).fit(X, named.astype(object))
        np.testing.assert_array_equal(as_objects.predict(X), model.predict(X).astype(object))


def test_two_classes_take_one_output_or_two() -> None:
    X, y = cancer()
    one = GraphClassifier((6,), learning_rate=0.02, random_state=0).fit(X, y)
    two = GraphClassifier((6,), loss="cross_entropy", learning_rate=0.02, random_state=0).fit(X, y)
    assert (one.coefs_[-1].shape, two.coefs_[-1].shape) == ((6, 1), (6, 2))
    for model in (one, two):
        assert model.predict_proba(X).sum(1) == pytest.approx(1)
        assert model.score(X, y) > 0.97


@pytest.mark.parametrize("loss", ["hinge", gg.hinge, "mean_squared_error", lambda p, t: gg.mean(gg.abs(p - t))])
@pytest.mark.parametrize("data", [iris, cancer])
def test_a_loss_without_probabilities_has_a_decision_function(loss: Any, data: Any) -> None:
    X, y = data()
    model = GraphClassifier((10,), loss=loss, learning_rate=0.02, random_state=0)
    assert not hasattr(model, "predict_proba")
    model.fit(X, y)
    assert not hasattr(model, "predict_proba")
    assert model.score(X, y) > 0.9
    decision = model.decision_function(X)
    if len(model.classes_) == 2:
        assert decision.shape == y.shape
        np.testing.assert_array_equal(decision > 0, model.predict(X))
        assert roc_auc_score(y, decision) > 0.97
    else:
        np.testing.assert_array_equal(decision.argmax(1), model.predict(X))


def test_binary_cross_entropy_of_many_classes_is_one_against_the_rest() -> None:
    X, y = iris()
    model = GraphClassifier((10,), loss="bce", learning_rate=0.02, random_state=0).fit(X, y)
    alone = model.run_.predict(X)
    assert not np.allclose(alone.sum(1), 1)
    np.testing.assert_allclose(model.predict_proba(X), alone / alone.sum(1, keepdims=True))
    assert not hasattr(model, "decision_function")
    assert model.score(X, y) > 0.95


def by_hand(outputs: int, kind: str) -> gg.Network:
    """Networks of no library's kind: with a target of labels, a column, or a number a sample."""
    g = gg.Graph()
    x = g.input("x", ("N", 4))
    h = gg.tanh(x @ g.parameter("A", (4, 8)))
    if kind == "labels":
        y, z = g.input("y", ("N",), "int64"), h @ g.parameter("B", (8, outputs))
        return gg.Network(loss=gg.cross_entropy(z, y), inputs=[x], target=y, prediction=gg.softmax(z))
    if kind == "logits":
        y, z = g.input("y", ("N",), "int64"), h @ g.parameter("B", (8, outputs))
        return gg.Network(loss=gg.cross_entropy(z, y), inputs=[x], target=y, prediction=z)
    y, z = g.input("y", ("N",)), h @ g.parameter("B", (8,))
    return gg.Network(loss=gg.mean_squared_error(z, y), inputs=[x], target=y, prediction=z)


def test_a_network_of_ones_own_classifies() -> None:
    X, y = iris()
    options: dict[str, Any] = {"learning_rate": 0.03, "random_state": 0}
    for net in (by_hand(3, "labels"), by_hand(3, "logits"), lambda inputs, outputs: by_hand(outputs, "labels")):
        model = GraphClassifier(network=net, **options).fit(X, y)
        assert model.score(X, y) > 0.95
        assert not hasattr(model, "coefs_")
    with pytest.raises(GraphgradError, match=r"^the network's prediction is no probability of each class; gg\.Network"):
        GraphClassifier(network=by_hand(3, "logits"), **options).fit(X, y).predict_proba(X)
    two, names = X[:100], np.array(["x", "y"])[y[:100]]
    model = GraphClassifier(network=by_hand(1, "number"), **options).fit(two, names)
    assert model.score(two, names) == 1
    assert not hasattr(model, "predict_proba")
    np.testing.assert_array_equal(model.predict(two) == "y", model.run_.predict(two) > 0.5)
    with pytest.raises(GraphgradError, match=r"^the network tells 2 classes apart, but y has 3$"):
        GraphClassifier(network=by_hand(2, "labels")).fit(X, y)
    with pytest.raises(GraphgradError, match=r"^the network's target is one number, .*, but y has 3$"):
        GraphClassifier(network=by_hand(1, "number")).fit(X, y)


def test_a_network_of_ones_own_regresses() -> None:
    X, y = iris()
    y = y - 1.0  # this network has no bias
    model = GraphRegressor(network=by_hand(1, "number"), learning_rate=0.03, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.9
    assert model.predict(X).shape == y.shape
    assert model.set_params(warm_start=True).fit(X, y).loss_ < model.loss_curve_[0] / 5


def test_targets_keep_their_shape() -> None:
    X, y = diabetes()
    several = np.stack([y, -y, np.ones_like(y)], axis=1)
    options: dict[str, Any] = {"hidden_layer_sizes": (20,), "learning_rate": 0.01, "random_state": 0}
    assert GraphRegressor(**options).fit(X, y).predict(X).shape == (150,)
    column = GraphRegressor(**options).fit(X, y[:, None])
    assert column.predict(X).shape == (150, 1)
    assert same(column, GraphRegressor(**options).fit(X, y))
    model = GraphRegressor(**options).fit(X, several)
    p = model.predict(X)
    assert p.shape == (150, 3)
    assert model.score(X, several[:, :]) > 0.5
    assert np.corrcoef(p[:, 0], y)[0, 1] > 0.7
    assert np.corrcoef(p[:, 1], y)[0, 1] < -0.7


# ---------------------------------------------------------------------------------------------------------------------
# Among scikit-learn's other parts
# ---------------------------------------------------------------------------------------------------------------------

#: What is hard to pickle and to copy: schedules, operators, an operator and a network of one's own.
SWISH = gg.elementwise("swish", "X", parameters={}) if False else None


def everything() -> list[Estimator]:
    import sympy as sp

    X, beta = sp.symbols("X beta")
    swish = gg.elementwise("swish", X / (1 + sp.exp(-beta * X)), parameters={"beta": 1.5})
    rate = schedules.warm_up(schedules.cosine(0.02, 50), 5)
    return [
        GraphClassifier((6, 5), [swish, gg.tanh], loss=gg.cross_entropy, optimizer=gg.Adam(rate), max_iter=5),
        GraphClassifier(network=by_hand(3, "labels"), learning_rate=rate, max_iter=5),
        GraphRegressor((6,), swish, loss=gg.huber, optimizer=gg.Groups({"b*": None, "*": gg.SGD(rate)}), max_iter=5),
    ]


@pytest.mark.parametrize("copied", [clone, lambda e: pickle.loads(pickle.dumps(e))], ids=["clone", "pickle"])
def test_a_copy_trains_alike(copied: Callable[[Any], Any]) -> None:
    X, y = iris()
    for estimator in everything():
        estimator.set_params(random_state=0)
        assert same(copied(estimator).fit(X, y), estimator.fit(X, y))


def test_a_fitted_estimator_outlives_its_process(tmp_path: Path) -> None:
    X, y = iris()
    np.save(tmp_path / "X.npy", X)
    for number, estimator in enumerate(everything()):
        estimator.set_params(random_state=0).fit(X, y)
        joblib.dump(estimator, tmp_path / f"{number}.joblib")
        code = (
            "import joblib, numpy as np; X = np.load('X.npy')\n"
            f"m = joblib.load('{number}.joblib'); np.save('p.npy', m.predict(X))\n"
            "m.partial_fit(X, (X[:, 0] > 0).astype(int)); np.save('q.npy', m.predict(X))"
        )
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert (done.stdout, done.stderr) == ("", "")
        np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), estimator.predict(X))
        estimator.partial_fit(X, (X[:, 0] > 0).astype(int))
        np.testing.assert_array_equal(np.load(tmp_path / "q.npy"), estimator.predict(X))


def test_a_pickle_holds_neither_samples_nor_compiled_code() -> None:
    X, y = diabetes()
    model = GraphRegressor((5,), batch_size=None, max_iter=2).fit(X, y)
    assert len(pickle.dumps(model)) < 0.5 * X.nbytes + 4000


def test_in_a_pipeline_under_a_grid_search_on_two_cores() -> None:
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), GraphClassifier((8,), max_iter=30, random_state=0))
    grid = {
        "graphclassifier__learning_rate": [1e-6, schedules.cosine(0.05, 100)],
        "graphclassifier__optimizer": ["adam", gg.Momentum(form="polyak")],
    }
    search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(X, y)
    assert search.best_params_["graphclassifier__learning_rate"] == schedules.cosine(0.05, 100)
    assert search.best_score_ > 0.9
    assert search.score(X, y) > 0.95
    alone = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])


def test_cross_validation_of_a_network_of_ones_own() -> None:
    X, y = iris()
    model = GraphClassifier(network=by_hand(3, "labels"), learning_rate=0.05, random_state=0)
    scores = cross_val_score(model, X, y, cv=3, scoring="neg_log_loss", n_jobs=2)
    assert scores.shape == (3,)
    assert (scores > -0.4).all()


def test_a_table_of_pandas_gives_its_names() -> None:
    pandas = pytest.importorskip("pandas")
    X, y = iris()
    table = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    model = GraphClassifier((5,), max_iter=3, random_state=0).fit(table, pandas.Series(y))
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert same(model, GraphClassifier((5,), max_iter=3, random_state=0).fit(X, y))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table[["b", "a", "c", "d"]])


# ---------------------------------------------------------------------------------------------------------------------
# Callbacks
# ---------------------------------------------------------------------------------------------------------------------


class Recorder:
    """A callback by scikit-learn's protocol, which asks to stop after some epochs."""

    def __init__(self, epochs: int = 1000) -> None:
        self.epochs = epochs
        self.told: list[str] = []
        self.losses: list[float] = []
        self.scores: list[float] = []

    def setup(self, estimator: Any, context: Any) -> None:
        self.told.append("setup")

    def teardown(self, estimator: Any, context: Any) -> None:
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.told.append(f"begin {context.task_name} {context.task_id}")

    def on_fit_task_end(
        self,
        estimator: Any,
        context: Any,
        *,
        X: Any = None,
        y: Any = None,
        metadata: Any = None,
        fitted_estimator: Any = None,
    ) -> bool:
        self.told.append(f"end {context.task_name} {context.task_id}")
        if context.task_name != "epoch" or fitted_estimator is None:
            return False
        self.losses.append(fitted_estimator.loss_)
        self.scores.append(fitted_estimator.score(X, y, **(metadata or {})))
        return len(self.losses) == self.epochs


def test_scikit_learns_callbacks_are_told_of_each_epoch() -> None:
    pytest.importorskip("sklearn.callback")
    X, y = iris()
    weights, recorder = np.linspace(0.1, 3, len(y)), Recorder()
    model = GraphClassifier((5,), learning_rate=0.02, max_iter=3, random_state=0).set_callbacks(recorder)
    model.fit(X, y, weights)
    epochs = [f"{what} epoch {k}" for k in range(3) for what in ("begin", "end")]
    assert recorder.told == ["setup", "begin fit 0", *epochs, "end fit 0", "teardown"]
    assert recorder.losses == model.loss_curve_
    partial = GraphClassifier((5,), learning_rate=0.02, random_state=0)
    expected = [partial.partial_fit(X, y, [0, 1, 2], weights).score(X, y, weights) for _ in range(3)]
    assert recorder.scores == expected
    assert same(model, partial)


def test_a_callback_of_scikit_learn_ends_training() -> None:
    pytest.importorskip("sklearn.callback")
    X, y = iris()
    recorder = Recorder(epochs=4)
    model = GraphClassifier((5,)).set_callbacks(recorder).fit(X, y)
    assert (model.n_iter_, model.run_.stopped) == (4, "callback")
    assert recorder.told[-3:] == ["end epoch 3", "end fit 0", "teardown"]
    stopped = Recorder()
    model = GraphClassifier((5,), tol=100.0, n_iter_no_change=2).set_callbacks(stopped).fit(X, y)
    assert (model.n_iter_, len(stopped.losses)) == (3, 3)
    assert stopped.told.count("begin epoch 3") == stopped.told.count("end epoch 3") == 1  # begun, and ended empty


def test_a_callback_of_a_search_reaches_the_epochs() -> None:
    callback = pytest.importorskip("sklearn.callback")
    X, y = iris()
    monitor = callback.ScoringMonitor(scoring="accuracy")
    model = GraphClassifier((5,), max_iter=4, random_state=0).set_callbacks(monitor)
    search = GridSearchCV(model, {"l2": [0.0, 0.1]}, cv=2, refit=False)
    search.fit(X, y)
    logs = monitor.get_logs(select="all")
    assert sum(row["task_name"] == "epoch" for log in logs for row in log.data) == 2 * 2 * 4


@pytest.fixture
def before_callbacks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module as a scikit-learn without callbacks of its own has it."""
    import graphgrad.estimator
    import graphgrad.sklearn
    import graphgrad.sklearn_callbacks

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "sklearn.callback", None)
        for module in (graphgrad.sklearn_callbacks, graphgrad.estimator, graphgrad.sklearn):
            patch.setattr(graphgrad, module.__name__.rpartition(".")[2], module)  # which the import below replaces
            patch.setitem(sys.modules, module.__name__, module)
            patch.delitem(sys.modules, module.__name__)
        yield importlib.import_module("graphgrad.sklearn")


def test_before_scikit_learn_had_callbacks_they_are_functions(before_callbacks: Any) -> None:
    X, y = iris()
    losses: list[float] = []
    model = before_callbacks.GraphClassifier((5,), max_iter=9, random_state=0)
    assert type(model) is not GraphClassifier
    model.set_callbacks(lambda trainer, record: losses.append(record["loss"]), lambda trainer, record: trainer.k == 4)
    assert clone(model).fit(X, y).loss_curve_ == losses
    assert len(losses) == 4
    assert same(clone(model.set_callbacks()).fit(X, y), GraphClassifier((5,), max_iter=9, random_state=0).fit(X, y))


# ---------------------------------------------------------------------------------------------------------------------
# What they cannot take
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"hidden_layer_sizes": (5, 0)}, "a width is a whole number from 1 on, but 0 was given"),
        ({"activation": "rleu"}, "no activation is called 'rleu'"),
        (
            {"activation": ["tanh", "relu"]},
            "activation is one for all or one for each hidden layer: there are 1, but",
        ),
        ({"loss": "log_loss"}, "no loss is called 'log_loss'"),
        ({"optimizer": "adma"}, "no optimizer is called 'adma'; there are: "),
        ({"optimizer": gg.Adam}, "Adam is a class; Adam() is an optimizer"),
        ({"optimizer": gg.Groups({"*": gg.SGD()}), "learning_rate": 0.1}, "learning_rate stands for the alpha of an"),
        ({"learning_rate": -1.0}, "Adam: alpha is a number that is not negative or a schedule, but -1.0 was given"),
        ({"batch_size": 0}, "batch_size is a whole number from 1 on, but 0 was given"),
        ({"batch_size": "all"}, "batch_size is a whole number from 1 on, but 'all' was given"),
        ({"max_iter": 0}, "max_iter is a whole number from 1 on, but 0 was given"),
        ({"n_iter_no_change": 0}, "EarlyStopping: patience is a whole number from 1 on, but 0 was given"),
        ({"n_iter_no_change": 0, "early_stopping": True}, "EarlyStopping: patience is a whole number from 1 on"),
        ({"tol": -1.0}, "EarlyStopping: min_delta is a number from 0 on, but -1.0 was given"),
        ({"dtype": "float16"}, "dtype is auto, float32 or float64, but 'float16' was given"),
        (
            {"early_stopping": True, "validation_fraction": 1},
            "validation_fraction is a number between 0 and 1, but 1",
        ),
        (
            {"network": gg.Graph()},
            "network is a gg.Network with one input, a target and a prediction, or a function",
        ),
        (
            {"network": lambda inputs, outputs: None},
            "network is a gg.Network with one input, a target and a prediction",
        ),
        ({"l2": -1.0}, "l2: l2 is a number that is not negative, but -1.0 was given"),
    ],
)
def test_parameters_that_mean_nothing(parameters: dict[str, Any], told: str) -> None:
    X, y = iris()
    model = GraphClassifier((5,)).set_params(**parameters)
    with pytest.raises(GraphgradError) as raised:
        model.fit(X, y)
    assert str(raised.value).startswith(told)
    with pytest.raises(NotFittedError):
        model.predict(X)


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        (np.zeros(150), "sample_weight is zero for all samples"),
        (
            np.ones(3),
            "sample_weight is a number from 0 on for each of the 150 samples, but shape (3,) with numbers from 1",
        ),
        (
            -np.ones(150),
            "sample_weight is a number from 0 on for each of the 150 samples, but shape (150,)",
        ),
        (np.repeat([1.0, 0.0], [50, 100]), "a classifier tells two classes apart, but y has one class: 0"),
    ],
)
def test_weights_that_mean_nothing(weights: np.ndarray, told: str) -> None:
    X, y = iris()
    with pytest.raises(GraphgradError) as raised:
        GraphClassifier().fit(X, y, weights)
    assert str(raised.value).startswith(told)


def test_a_first_partial_fit_wants_all_classes() -> None:
    with pytest.raises(GraphgradError, match=r"^the first partial_fit is told all classes: partial_fit\(X, y, cl"):
        GraphClassifier().partial_fit(*iris())


def test_too_few_samples_to_set_some_aside() -> None:
    X, y = diabetes()
    with pytest.raises(GraphgradError, match=r"^validation_fraction=0\.1 of n_samples=2 leaves one side empty$"):
        GraphRegressor(early_stopping=True).fit(X[:2], y[:2])


def test_sparse_samples_are_refused_with_what_would_fit() -> None:
    from scipy.sparse import csr_array

    X, y = iris()
    with pytest.raises(TypeError, match=r"Sparse data was passed for X, but dense data is required"):
        GraphClassifier().fit(csr_array(X), y)


def test_without_scikit_learn_the_import_says_what_brings_it() -> None:
    code = "import sys; sys.modules['sklearn'] = None\nimport graphgrad.sklearn"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        'ImportError: graphgrad.sklearn needs scikit-learn, which is not installed: pip install "graphgrad[sklearn]"'
    )


def test_the_examples_of_the_docstrings_run() -> None:
    import doctest

    import graphgrad.sklearn

    assert doctest.testmod(graphgrad.sklearn) == (0, 9)
