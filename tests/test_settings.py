"""Settings of training: NumPy's numbers are numbers, and what does not fit is told before any work is done."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import schedules
from graphgrad.errors import GraphgradError

X = np.random.default_rng(2).normal(size=(40, 2))
LABELS = np.arange(40) % 3


def classifier() -> gg.Network:
    return gg.feedforward([2, 8, 3], "tanh", "cross_entropy")


def test_numpy_s_numbers_are_settings_of_data_and_stopping_too(tmp_path: Path) -> None:
    def trained(number: Any, whole: Any) -> gg.Run:
        rule = gg.EarlyStopping("validation_loss", whole(5), number(0.25))
        options: dict[str, Any] = {"class_weight": {0: whole(2), 1: number(0.5)}, "validation": number(0.25)}
        return gg.train(classifier(), X, LABELS, epochs=3, early_stopping=rule, **options)

    plain = trained(float, int)
    for number in (np.float32, np.float64):
        run = trained(number, np.int64)
        assert run.settings == plain.settings
        assert run.history["validation_loss"].tolist() == plain.history["validation_loss"].tolist()
        run.save(tmp_path / "run")
        assert gg.load(tmp_path / "run").settings == plain.settings


@pytest.mark.parametrize("threshold", [np.float32(0.5), np.float64(0.5), np.int64(1), 0.5])
def test_a_network_s_threshold_is_any_number(threshold: Any, tmp_path: Path) -> None:
    net = replace(gg.feedforward([2, 1], loss="bce"), threshold=threshold)
    gg.train(net, X, LABELS[:, None] > 0, epochs=1).save(tmp_path / "run")
    assert gg.load(tmp_path / "run").network.threshold == float(threshold)


@pytest.mark.parametrize("threshold", ["high", True, np.nan, [0.5]])
def test_a_threshold_that_is_no_number_is_told(threshold: Any) -> None:
    with pytest.raises(GraphgradError, match=r"^the threshold of a network is a number, but .* was given$"):
        replace(gg.feedforward([2, 1], loss="bce"), threshold=threshold)


@pytest.mark.parametrize("path", [True, 5, b"name", ["name"]])
@pytest.mark.parametrize("name", ["checkpoint", "resume", "log"])
def test_what_is_no_path_is_told_before_any_work(name: str, path: Any) -> None:
    told = f"{name} is the path of a file, as text or a pathlib.Path, but {path!r} was given"
    with pytest.raises(GraphgradError, match=f"^{re.escape(told)}$"):
        gg.train(classifier(), X, LABELS, callbacks=lambda *_: pytest.fail("trained"), **{name: path})


def test_what_is_no_path_is_told_where_files_are_written_and_read() -> None:
    run = gg.train(classifier(), X, LABELS, epochs=0)
    told = r"^path is the path of a file, as text or a pathlib\.Path, but (None|3) was given$"
    for use in (
        lambda: run.save(None),  # type: ignore[arg-type]
        lambda: run.save_history(None),  # type: ignore[arg-type]
        lambda: gg.load(3),  # type: ignore[arg-type]
        lambda: gg.save_graph(gg.Graph(), 3),  # type: ignore[arg-type]
        lambda: gg.load_graph(3),  # type: ignore[arg-type]
    ):
        with pytest.raises(GraphgradError, match=told):
            use()


@pytest.mark.parametrize("other", ["checkpoint", "resume"])
def test_a_log_is_a_file_of_its_own(other: str, tmp_path: Path) -> None:
    gg.train(classifier(), X, LABELS, epochs=1).save(tmp_path / "run")
    before = (tmp_path / "run").read_bytes()
    log = os.path.relpath(tmp_path / "run")
    message = f"log and {other} are both {log}; each is a file of its own"
    with pytest.raises(GraphgradError, match=f"^{re.escape(message)}$"):
        gg.train(classifier(), X, LABELS, epochs=2, log=log, **{other: tmp_path / "run"})  # type: ignore[arg-type]
    assert (tmp_path / "run").read_bytes() == before


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"record": "yes"}, "record is a whole number from 1 on, but 'yes' was given"),
        ({"record": 2.5}, "record is a whole number from 1 on, but 2.5 was given"),
        ({"record": None}, "record is a whole number from 1 on, but None was given"),
        ({"record": 0}, "record is a whole number from 1 on, but 0 was given"),
        ({"l2": {1: 2}}, "l2 maps patterns of names to numbers, but 1: 2 was given"),
        ({"l2": {"W*": "much"}}, "l2 of W*: l2 is a number that is not negative, but 'much' was given"),
    ],
)
def test_what_is_no_setting_is_told(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphgradError, match=f"^{re.escape(message)}$"):
        gg.train(classifier(), X, LABELS, callbacks=lambda *_: pytest.fail("trained"), **setting)


def test_every_step_or_each_nth_is_recorded() -> None:
    for record, steps in ((True, [0, 1, 2]), (np.int64(2), [0, 2]), (1, [0, 1, 2])):
        run = gg.train(classifier(), X, LABELS, batch_size=16, epochs=1, record=record)  # type: ignore[arg-type]
        assert run.records is not None
        assert run.records["k"].tolist() == steps


class Own:
    """Gradient descent, with something else by the name of `alpha`."""

    def __init__(self, alpha: Any) -> None:
        self.alpha = alpha

    def update(self, theta: gg.Tensor, g: gg.Tensor, k: gg.Tensor, state: Any) -> dict[gg.Tensor, gg.Tensor]:
        return {theta: theta - 0.5 * g}


@pytest.mark.parametrize(
    "alpha",
    [np.ones(3), "fast", [0.1], None, True, lambda: 0.1, lambda k: "fast", lambda k, j: 0.1, gg.Graph()],
)
def test_what_is_no_number_and_no_schedule_is_no_rate(alpha: Any) -> None:
    assert list(gg.train(classifier(), X, LABELS, optimizer=Own(alpha), epochs=1).history) == ["epoch", "loss"]


@pytest.mark.parametrize("alpha", [0.5, np.float32(0.5), schedules.constant(0.5), lambda k: 0.5 + 0 * k])
def test_a_number_or_a_schedule_of_an_optimizer_of_one_s_own_is_its_rate(alpha: Any) -> None:
    run = gg.train(classifier(), X, LABELS, optimizer=Own(alpha), epochs=2)
    assert run.history["rate"].tolist() == [0.5, 0.5]


def predicts(prediction: Callable[[gg.Tensor, gg.Tensor], gg.Tensor], batch: str | int = "N") -> gg.Network:
    """A linear network, with something else as its prediction."""
    g = gg.Graph()
    x, y, w = g.input("x", (batch, 2)), g.input("y", (batch,)), g.parameter("w", (2,))
    return gg.Network(loss=gg.mean((x @ w - y) ** 2), inputs=[x], target=y, prediction=prediction(x, w).named("p"))


@pytest.mark.parametrize(
    ("prediction", "shape"), [(lambda x, w: gg.sum(x @ w), "()"), (lambda x, w: x.T @ (x @ w), "(2,)")]
)
def test_a_prediction_that_is_not_of_each_sample_is_told(prediction: Any, shape: str) -> None:
    message = f"the prediction p has shape {shape}, but a prediction of each sample has the first dimension N"
    net = predicts(prediction)
    run = gg.train(net, X, LABELS * 1.0, epochs=1, validation=0.2)  # its loss is of each sample
    with pytest.raises(GraphgradError, match=f"^{re.escape(message)}"):
        run.predict(X)
    with pytest.raises(GraphgradError, match=f"^{re.escape(message)}"):
        gg.train(net, X, LABELS * 1.0, metrics="mse", callbacks=lambda *_: pytest.fail("trained"))


def test_without_batches_a_prediction_has_any_shape() -> None:
    run = gg.train(
        predicts(lambda x, w: gg.sum(x @ w), 40), X, LABELS * 1.0, batch_size=None, epochs=1, dtype="float64"
    )
    assert run.predict(X) == pytest.approx(np.sum(X @ run.parameters["w"]))
    assert run.predict(X).shape == ()
    measured = gg.train(run.network, X, LABELS * 1.0, batch_size=None, epochs=1, metrics=lambda p, t: float(p))
    assert np.isfinite(measured.history["<lambda>"][0])
