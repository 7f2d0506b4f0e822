"""Training: the trainer, the loop, what it leaves, and what it cannot take."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import graphgrad as gg
from graphgrad import schedules
from graphgrad.dataset import dataset
from graphgrad.errors import CallError, GraphgradError
from graphgrad.evaluation import PART
from graphgrad.loop import TrainingWarning
from graphgrad.table import Table

ROOT = Path(__file__).resolve().parent.parent


def blobs(samples: int = 150, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds of points and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, samples)
    return np.array([[0, 2], [2, -1], [-2, -1]])[labels] + 0.5 * rng.normal(size=(samples, 2)), labels


def classifier() -> gg.Network:
    return gg.feedforward([2, 8, 3], "tanh", "cross_entropy")


# ---------------------------------------------------------------------------------------------------------------------
# The loop
# ---------------------------------------------------------------------------------------------------------------------


def test_training_learns_and_tells_how() -> None:
    X, Y = blobs()
    Xv, Yv = blobs(90, seed=1)
    rate = schedules.exponential(0.02, 0.99)
    run = gg.train(classifier(), X, Y, optimizer=gg.Adam(rate), batch_size=32, epochs=25, validation=(Xv, Yv))
    assert list(run.history) == ["epoch", "loss", "rate", "validation_loss", "validation_accuracy"]
    assert run.history["epoch"].tolist() == list(range(1, 26))
    assert run.history["rate"].tolist() == [rate(5 * epoch - 1) for epoch in range(1, 26)]
    assert run.history["loss"][-1] < 0.2 * run.history["loss"][0]
    assert run.history["validation_accuracy"][-1] > 0.95
    p = run.predict(Xv)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    assert np.mean(p.argmax(1) == Yv) == pytest.approx(run.history["validation_accuracy"][-1])
    assert run.history["validation_loss"][-1] == pytest.approx(-np.mean(np.log(p[np.arange(90), Yv])), rel=1e-4)
    assert not run.interrupted


def test_an_epoch_goes_through_a_random_partition_the_last_batch_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    step = gg.Trainer.step

    def spy(trainer: gg.Trainer, *batch: Any) -> float:
        x, y = batch
        assert np.array_equal(x[:, 0], y[:, 0])  # a sample keeps its target
        seen.append(x[:, 0].copy())
        return step(trainer, *batch)

    monkeypatch.setattr(gg.Trainer, "step", spy)
    X = np.arange(23.0).reshape(23, 1)
    run = gg.train(gg.feedforward([1, 1]), X, X, optimizer=gg.SGD(1e-5), batch_size=5, epochs=2)
    assert [len(batch) for batch in seen] == [5, 5, 5, 5, 3] * 2
    first, second = np.concatenate(seen[:5]), np.concatenate(seen[5:])
    for epoch in (first, second):
        assert sorted(epoch) == list(range(23))
        assert list(epoch) != list(range(23))
    assert list(first) != list(second)
    assert run.trainer.k == 10


@pytest.mark.parametrize("batch_size", [None, 23, 100])
def test_a_batch_of_all_samples_is_the_samples_in_their_order(batch_size: int | None, monkeypatch: Any) -> None:
    seen: list[tuple[np.ndarray, ...]] = []
    monkeypatch.setattr(gg.Trainer, "step", lambda trainer, *batch: seen.append(batch) or 0.0)
    X, w = np.arange(23.0, dtype="f4").reshape(23, 1), np.arange(23.0)
    gg.train(gg.feedforward([1, 1]), X, X, batch_size=batch_size, epochs=2, sample_weight=w)
    assert [batch[0][:, 0].tolist() for batch in seen] == [list(range(1, 23))] * 2  # the first one weighs nothing
    assert [batch[2].tolist() for batch in seen] == [list(range(1, 23))] * 2
    seen.clear()
    gg.train(gg.feedforward([1, 1]), X, X, batch_size=batch_size, epochs=1)
    assert np.shares_memory(seen[0][0], X)


def test_the_loss_of_an_epoch_is_the_mean_over_its_samples() -> None:
    X, Y = np.arange(5.0)[:, None], np.zeros((5, 1))
    run = gg.train(gg.feedforward([1, 1]), X, Y, optimizer=gg.SGD(0.0), batch_size=2, epochs=1, dtype="float64")
    w = run.parameters["W1"].item()
    assert run.history["loss"].tolist() == [
        pytest.approx(w**2 * 6.0)
    ]  # the last batch of one counts once, not as a third


def test_full_batch_is_gradient_descent() -> None:
    X, Y = np.array([[1.0], [2.0], [4.0]]), np.array([[2.0], [3.0], [9.0]])
    net = gg.feedforward([1, 1])
    run = gg.train(net, X, Y, optimizer=gg.SGD(0.05), batch_size=None, epochs=50, dtype="float64")
    w, b, losses = net.initialize(0)["W1"].item(), 0.0, []
    for _ in range(50):
        r = w * X + b - Y
        losses.append(np.mean(r**2))
        w, b = w - 0.05 * np.mean(2 * r * X), b - 0.05 * np.mean(2 * r)
    np.testing.assert_allclose(run.history["loss"], losses, rtol=1e-12)
    assert run.parameters["W1"].item() == pytest.approx(w, rel=1e-12)
    assert run.parameters["b1"].item() == pytest.approx(b, rel=1e-12)


BYTES = """
import hashlib, sys
import numpy as np, graphgrad as gg
rng = np.random.default_rng(3)
X, Y = rng.normal(size=(70, 4)), rng.integers(0, 3, 70)
net = gg.feedforward([4, 16, 3], loss="cross_entropy")
run = gg.train(net, X, Y, optimizer=gg.Adam(0.01), batch_size=16, epochs=3, seed=int(sys.argv[1]), validation=(X, Y))
whole = b"".join(a.tobytes() for a in run.parameters.values()) + (run.trainer.source + repr(run.history)).encode()
print(hashlib.sha256(whole).hexdigest())
"""


def test_the_same_seed_gives_the_same_bytes_in_every_process() -> None:
    def run(seed: int, hash_seed: int) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
        done = subprocess.run(
            [sys.executable, "-c", BYTES, str(seed)],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env=environment,
        )
        return done.stdout

    first = run(1, 1)
    assert first == run(1, 2)
    assert first != run(2, 1)


def test_what_was_learned_outlives_an_interrupt() -> None:
    X, Y = blobs()
    handler = signal.getsignal(signal.SIGINT)

    def press(trainer: gg.Trainer, record: Any) -> None:
        if record["epoch"] == 2:
            signal.raise_signal(signal.SIGINT)

    run = gg.train(classifier(), X, Y, epochs=50, callbacks=press)
    assert run.interrupted
    assert run.history["epoch"].tolist() == [1, 2]
    assert not np.array_equal(run.parameters["W1"], run.network.initialize(0)["W1"])
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_interrupt_within_an_epoch_waits_for_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    step, done = gg.Trainer.step, list[float]()

    def pressed(trainer: gg.Trainer, *batch: Any) -> float:
        if len(done) == 3:
            signal.raise_signal(signal.SIGINT)
        loss = step(trainer, *batch)
        done.append(loss)
        return loss

    monkeypatch.setattr(gg.Trainer, "step", pressed)
    run = gg.train(classifier(), *blobs(), batch_size=10, epochs=2)
    assert (run.interrupted, len(done), run.trainer.k) == (True, 4, 4)
    assert {name: column.tolist() for name, column in run.history.items()} == {"epoch": [], "loss": [], "rate": []}


def test_a_second_interrupt_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    step = gg.Trainer.step

    def pressed_twice(trainer: gg.Trainer, *batch: Any) -> float:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return step(trainer, *batch)

    monkeypatch.setattr(gg.Trainer, "step", pressed_twice)
    run = gg.train(classifier(), *blobs(), epochs=2)
    assert (run.interrupted, run.trainer.k) == (True, 0)


def test_training_beside_the_main_thread() -> None:
    runs: list[gg.Run] = []
    thread = threading.Thread(target=lambda: runs.append(gg.train(classifier(), *blobs(), epochs=2)))
    thread.start()
    thread.join()
    here = gg.train(classifier(), *blobs(), epochs=2)
    assert all(np.array_equal(column, here.history[name]) for name, column in runs[0].history.items())


@pytest.mark.parametrize("true", [True, np.True_])
def test_a_callback_ends_training(true: Any) -> None:
    run = gg.train(classifier(), *blobs(), epochs=50, callbacks=lambda trainer, record: true & (record["epoch"] == 3))
    assert run.history["epoch"].tolist() == [1, 2, 3]
    assert not run.interrupted


def test_a_loss_that_is_not_finite_ends_training_with_words() -> None:
    X, Y = np.ones((8, 1)), np.ones((8, 1))
    message = (
        r"^training stopped in epoch (\d+), update \1: the first value that is not finite is inf in "
        r"loss = mean_squared_error\(z1, y\) \(made at test_training\.py:\d+: .*\); a smaller step size may help\. "
        r"The parameters before update (\d+), the last ones whose loss was finite, are kept\.$"
    )
    with pytest.warns(TrainingWarning, match=message) as told:
        run = gg.train(gg.feedforward([1, 1]), X, Y, optimizer=gg.SGD(1e3), epochs=100)
    assert told[0].filename == __file__
    assert all(np.isfinite(a).all() for a in run.parameters.values())
    assert run.stopped.startswith(f"epoch {len(run.history['loss']) + 1}, update {run.trainer.k + 2}: ")
    assert np.isfinite(run.evaluate(X, Y)["loss"])


def test_the_users_way_with_numpy_s_errors_ends_no_training() -> None:
    X, Y = blobs()
    X *= 300  # of which a softmax underflows
    X[0] = 1e-300
    net = gg.feedforward([2, 8, 3], "relu", "cross_entropy")
    wanted = gg.train(net, X, Y, epochs=2, validation=(X, Y))
    with np.errstate(all="raise"):
        found = gg.train(net, X, Y, epochs=2, validation=(X, Y))
    assert all(np.array_equal(column, wanted.history[name]) for name, column in found.history.items())


def test_what_is_not_finite_is_told_as_it_is() -> None:
    """A smaller step helps where a step was too large: not before the first one."""
    X, Y = np.ones((8, 1)), np.full((8, 1), 2.0)
    with pytest.warns(TrainingWarning):
        run = gg.train(gg.feedforward([1, 1]), X, Y, optimizer=gg.SGD(1e39), epochs=3)
    assert run.stopped == (
        "epoch 1, update 1: loss and gradient are finite, but the update makes numbers that are not; "
        "a smaller step size may help"
    )
    assert np.isfinite(run.evaluate(X, Y)["loss"])
    with pytest.warns(TrainingWarning, match=r"inf in loss = .*\)\. The parameters before it are kept\.$"):
        gg.train(gg.feedforward([1, 1]), X, 1e30 * Y, epochs=3)


def exploding(batch_size: int | None, alpha: float = 10.0, **options: Any) -> gg.Run:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    net = gg.feedforward([2, 16, 1], "relu")
    with pytest.warns(TrainingWarning):
        return gg.train(net, X, X[:, :1] * X[:, 1:], optimizer=gg.SGD(alpha), batch_size=batch_size, **options)


@pytest.mark.parametrize("alpha", [3.0, 10.0, 1e3, 1e30])
@pytest.mark.parametrize("batch_size", [7, 20, 59, None])
@pytest.mark.parametrize("early_stopping", [None, "loss"])
def test_the_parameters_kept_are_the_last_ones_whose_own_loss_was_finite(
    batch_size: int | None, alpha: float, early_stopping: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of a step is that of the parameters before it, so the update that made it inf lies one step back."""
    seen: list[tuple[float, dict[str, np.ndarray]]] = []
    step = gg.Trainer.step

    def watched(trainer: gg.Trainer, *batch: Any) -> float:
        before = trainer.parameters
        loss = step(trainer, *batch)
        if len(seen) == trainer.k - 1:  # not when the epoch is gone through once more
            seen.append((loss, before))
        return loss

    monkeypatch.setattr(gg.Trainer, "step", watched)
    run = exploding(batch_size, alpha, early_stopping=early_stopping)
    good = [parameters for loss, parameters in seen if np.isfinite(loss)]
    if early_stopping is None:
        assert all(np.array_equal(a, good[-1][name]) for name, a in run.parameters.items())
        assert run.trainer.k == len(good) - 1
    bad = [parameters for loss, parameters in seen if not np.isfinite(loss)]
    assert not any(all(np.array_equal(a, p[name]) for name, a in run.parameters.items()) for p in bad)


def test_a_run_whose_first_loss_is_not_finite_keeps_what_it_began_with() -> None:
    net = gg.feedforward([1, 1])
    with pytest.warns(TrainingWarning, match=r"update 1: .* The parameters before it are kept\.$"):
        run = gg.train(net, np.ones((8, 1)), np.full((8, 1), 1e30), epochs=3)
    assert (run.trainer.k, run.parameters["W1"].tolist()) == (0, net.initialize(0)["W1"].astype("float32").tolist())


@pytest.mark.parametrize("batch_size", [20, None])
def test_a_checkpoint_on_the_way_to_a_loss_that_is_not_finite_ends_with_the_good_parameters(
    batch_size: int | None, tmp_path: Path
) -> None:
    run = exploding(batch_size, checkpoint=tmp_path / "c", checkpoint_every=1)
    again = gg.load(tmp_path / "c")
    assert again.stopped == run.stopped
    assert all(np.array_equal(a, again.parameters[name]) for name, a in run.parameters.items())
    assert again.trainer.k == run.trainer.k


@pytest.mark.parametrize("batch_size", [20, None])
def test_a_run_that_went_on_goes_back_as_one_that_was_never_stopped(batch_size: int | None, tmp_path: Path) -> None:
    whole = exploding(batch_size, checkpoint=tmp_path / "d")
    failed = int(whole.stopped.split("update ")[1].split(":")[0])
    for k in range(1, failed):

        def press(trainer: gg.Trainer, *batch: Any, k: int = k, step: Any = gg.Trainer.step) -> float:
            if trainer.k == k - 1:
                signal.raise_signal(signal.SIGINT)
            return float(step(trainer, *batch))

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(gg.Trainer, "step", press)
            options: dict[str, Any] = {"optimizer": gg.SGD(10.0), "batch_size": batch_size}
            X = np.random.default_rng(0).normal(size=(60, 2))
            gg.train(whole.network, X, X[:, :1] * X[:, 1:], checkpoint=tmp_path / "c", **options)
        again = exploding(batch_size, checkpoint=tmp_path / "c", resume=tmp_path / "c")
        assert again.stopped == whole.stopped
        if k < failed - 1:
            assert (tmp_path / "c").read_bytes() == (tmp_path / "d").read_bytes()
        else:  # what was before the file's own parameters is not known: they stay
            assert again.trainer.k == k


def test_a_progress_bar_is_shown_on_request_alone(capsys: pytest.CaptureFixture[str]) -> None:
    gg.train(classifier(), *blobs(), epochs=2)
    assert capsys.readouterr().err == ""
    gg.train(classifier(), *blobs(), epochs=2, progress=True)
    assert "6/6" in capsys.readouterr().err


def test_parameters_are_saved_as_safetensors(tmp_path: Path) -> None:
    run = gg.train(classifier(), *blobs(), epochs=1)
    run.save(tmp_path / "a.safetensors")
    run.save(tmp_path / "b.safetensors")
    loaded = load_file(tmp_path / "a.safetensors")
    assert {name for name in loaded if "/" not in name} == run.parameters.keys()
    for name, expected in run.parameters.items():
        array = loaded[name]
        assert (array.dtype, array.shape) == ("float32", expected.shape)
        assert np.array_equal(array, expected)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


# ---------------------------------------------------------------------------------------------------------------------
# The trainer
# ---------------------------------------------------------------------------------------------------------------------


class Apart(gg.Adam):
    elementwise = False


@pytest.mark.parametrize("kind", [gg.Adam, Apart])
@pytest.mark.parametrize("beta", [0.9, schedules.piecewise([0.5, 0.9], [3])])
def test_parameters_and_state_go_out_and_in(kind: Any, beta: Any) -> None:
    X, Y = blobs()
    first, second = (gg.Trainer(classifier(), kind(0.01, beta), seed=seed, exact=True) for seed in (1, 2))
    for _ in range(5):
        first.step(X, Y)
    second.step(X, Y)
    second.parameters, second.state = first.parameters, first.state
    assert first.state["k"] == 5
    names = {
        "k",
        *(f"{s}.{p}" for s in "mv" for p in ("W1", "b1", "W2", "b2")),
        *([] if beta == 0.9 else ["correction1"]),
    }
    assert first.state.keys() == names
    for _ in range(5):
        assert first.step(X, Y) == second.step(X, Y)
    for name, array in first.parameters.items():
        assert array.tobytes() == second.parameters[name].tobytes()
    for name, array in first.state.items():
        assert array.tobytes() == second.state[name].tobytes()


def test_state_that_is_kept_in_other_units_goes_out_and_in_as_written() -> None:
    X, Y = blobs()
    exact, quick = (gg.Trainer(classifier(), gg.Adam(0.01), dtype="float64", exact=exact) for exact in (True, False))
    assert quick.function.program.units
    assert not exact.function.program.units
    for _ in range(3):
        exact.step(X, Y)
    quick.parameters, quick.state = exact.parameters, exact.state
    for name, array in exact.state.items():
        np.testing.assert_allclose(quick.state[name], array, rtol=4e-16)
    for _ in range(5):
        assert quick.step(X, Y) == pytest.approx(exact.step(X, Y), rel=1e-12)


def test_packed_and_apart_keep_the_same_names() -> None:
    X, Y = blobs()
    packed, apart = (
        gg.Trainer(classifier(), gg.Adam(), dtype="float64"),
        gg.Trainer(classifier(), Apart(), dtype="float64"),
    )
    packed.step(X, Y)
    apart.parameters, apart.state = packed.parameters, packed.state
    for _ in range(20):
        assert packed.step(X, Y) == pytest.approx(apart.step(X, Y), rel=1e-12)


def test_a_trainer_says_what_it_is() -> None:
    trainer = gg.Trainer(classifier(), gg.SGD(0.1))
    assert repr(trainer) == "<trainer of <network 2-8-3: 51 parameters> by SGD(alpha=0.1, weight_decay=0.0) in float32>"


def test_what_a_trainer_gives_out_is_a_copy() -> None:
    X, Y = blobs()
    trainer = gg.Trainer(classifier())
    trainer.step(X, Y)
    loss = trainer.loss(X, Y)
    for array in (*trainer.parameters.values(), *trainer.state.values()):
        array[...] = 7
    assert trainer.loss(X, Y) == loss


def test_a_trainer_begins_with_the_parameters_it_is_given() -> None:
    net = classifier()
    values = {name: np.full(a.shape, 0.5) for name, a in net.initialize().items()}
    trainer = gg.Trainer(net, parameters=values)
    for name, array in trainer.parameters.items():
        assert array.dtype == "float32"
        assert np.array_equal(array, values[name])


def test_names_of_a_graph_of_one_s_own_may_be_the_optimizer_s() -> None:
    g = gg.Graph()
    theta, k, m, y = g.input("theta", ("N", 2)), g.parameter("k", (2,)), g.parameter("m"), g.input("g", ("N",))
    p = theta @ k + m
    net = gg.Network(loss=gg.mean((p - y) ** 2), inputs=[theta], target=y, prediction=p)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2))
    run = gg.train(net, X, X @ [1.0, -2.0] + 0.5, optimizer=gg.Momentum(0.1), epochs=50)
    assert run.parameters.keys() == {"k", "m"}
    assert run.trainer.state.keys() == {"k", "m.k", "m.m"}
    np.testing.assert_allclose(run.parameters["k"], [1, -2], atol=1e-2)
    np.testing.assert_allclose(run.parameters["m"], 0.5, atol=1e-2)


def test_several_inputs_and_no_target() -> None:
    g = gg.Graph()
    a, b, w = g.input("a", ("N", 2)), g.input("b", ("N",)), g.parameter("w", (2,))
    net = gg.Network(loss=gg.mean((a @ w - b) ** 2), inputs=[a, b], prediction=a @ w + 0 * b)
    A = np.random.default_rng(0).normal(size=(64, 2))
    B = A @ [3.0, 4.0]
    for data in ({"b": B, "a": A}, (A, B), [A, B]):
        run = gg.train(net, data, optimizer=gg.SGD(0.1), batch_size=16, epochs=50)
        np.testing.assert_allclose(run.parameters["w"], [3, 4], atol=1e-3)
        np.testing.assert_allclose(run.predict(data), B, atol=1e-2)
        assert run.trainer.loss(data) < 1e-5


def test_data_that_does_not_fit_the_inputs_is_told() -> None:
    g = gg.Graph()
    a, b, w = g.input("a", ("N", 2)), g.input("b", ("N",)), g.parameter("w", (2,))
    net = gg.Network(loss=gg.mean((a @ w - b) ** 2), inputs=[a, b])
    message = r"^X is one array for each input, \(a, b\), or a mapping by name$"
    for data in (np.zeros((3, 2)), [np.zeros((3, 2))]):
        with pytest.raises(gg.GraphgradError, match=message):
            gg.train(net, data)
    with pytest.raises(gg.GraphgradError, match=r"^X\[0\] has 3 samples, but X\[1\] has 4$"):
        gg.train(net, (np.zeros((3, 2)), np.zeros(4)))
    with pytest.raises(gg.GraphgradError, match=r"^Y was given, but the network has no target$"):
        gg.train(net, (np.zeros((3, 2)), np.zeros(3)), np.zeros(3))


def test_a_graph_without_a_batch_size_is_trained_whole() -> None:
    g = gg.Graph()
    x, w = g.input("x", (3,)), g.parameter("w", (3,))
    net = gg.Network(loss=gg.sum((w - x) ** 2), inputs=[x], prediction=w + 0 * x)
    with pytest.raises(
        gg.GraphgradError, match=r"^the inputs and the target share no named size .*: batch_size=None would fit$"
    ):
        gg.train(net, [1.0, 2.0, 3.0])
    run = gg.train(net, [1.0, 2.0, 3.0], optimizer=gg.SGD(0.1), batch_size=None, epochs=100)
    np.testing.assert_allclose(run.predict([0.0, 0.0, 0.0]), [1, 2, 3], atol=1e-5)
    assert run.trainer.loss([1.0, 2.0, 3.0]) == pytest.approx(0, abs=1e-9)


def test_evaluation_in_parts_is_evaluation_of_all() -> None:
    X, Y = blobs(2 * PART + 77)
    trainer = gg.Trainer(classifier(), dtype="float64")
    net = trainer.net
    loss, p = gg.evaluate([net.loss, net.prediction], x=X, y=Y, **trainer.parameters)  # type: ignore[list-item]
    assert trainer.loss(X, Y) == pytest.approx(loss, rel=1e-12)
    assert trainer.evaluate(X, Y)["accuracy"] == pytest.approx(np.mean(p.argmax(1) == Y), rel=1e-12)
    np.testing.assert_allclose(trainer.predict(X), p, rtol=1e-12)


def test_accuracy_between_two_classes() -> None:
    X = np.random.default_rng(0).normal(size=(200, 2))
    Y = (X[:, :1] > 0).astype(float)
    run = gg.train(gg.feedforward([2, 1], loss="bce"), X, Y, optimizer=gg.Adam(0.1), validation=(X, Y))
    assert run.history["validation_accuracy"][-1] > 0.95
    run = gg.train(
        gg.feedforward([2, 1], loss="hinge"), X, 2 * Y - 1, optimizer=gg.Adam(0.1), validation=(X, 2 * Y - 1)
    )
    assert run.history["validation_accuracy"][-1] > 0.95
    assert "validation_accuracy" not in gg.train(gg.feedforward([2, 1]), X, Y, epochs=1, validation=(X, Y)).history


def test_the_generated_step_reads_like_the_network() -> None:
    source = gg.Trainer(classifier(), gg.SGD(0.1)).source
    assert re.search(r"^W1_T_b1 = .*reshape\(\(3, 8\)\)$", source, re.MULTILINE)
    assert re.search(r"^W2_T_b2 = .*reshape\(\(9, 3\)\)$", source, re.MULTILINE)
    body = source[source.index("def step(x, y):") :]
    for name in ("z1_T", "x1_T", "z2_T", "z1_T_bar", "W1_T_b1_bar", "W2_T_b2_bar"):
        assert f", {name})" in body or f"out={name})" in body
    assert not re.search(r"^ *g\w*\[", body, re.MULTILINE)  # gradients are computed in their place
    assert not re.search(r"^ *W\d\w*\[", body, re.MULTILINE)  # and every W is a view of theta


def test_an_input_that_the_loss_does_not_use_is_part_of_a_batch_all_the_same() -> None:
    g = gg.Graph()
    x, unused, y = g.input("x", ("N", 3)), g.input("unused", ("N", 2)), g.input("y", ("N", 1))
    net = gg.Network(loss=gg.mean(gg.square(x @ g.parameter("W", (1, 3)).T - y)), inputs=[x, unused], target=y)
    arrays = np.ones((4, 3)), np.ones((4, 2)), np.ones((4, 1))
    trainer = gg.Trainer(net, gg.SGD(0.1), seed=1)
    losses = [trainer.step(*arrays) for _ in range(3)]
    assert losses[0] > losses[1] > losses[2]
    assert len(trainer.profile(*arrays).rows) > 3
    with pytest.raises(CallError, match=r"a batch is \(x, unused, y\), but 2 arrays were given"):
        trainer.step(arrays[0], arrays[2])
    run = gg.train(net, arrays[:2], arrays[2], optimizer=gg.SGD(0.1), epochs=3, batch_size=None, seed=1)
    assert run.history["loss"] == pytest.approx(losses, rel=1e-6)


def own_network(loss_of: Callable[[Any, Any, Any], Any]) -> gg.Network:
    g = gg.Graph()
    x, W, V = g.input("x", ("N", 8)), g.parameter("W", (8, 8)), g.parameter("V", (8, 8))
    return gg.Network(loss=loss_of(x, W, V), inputs=[x])


@pytest.mark.parametrize(
    ("loss_of", "transposed"),
    [
        (lambda x, W, V: gg.mean(gg.tanh(x @ W.T) @ V.T), {"W"}),
        (lambda x, W, V: gg.mean(gg.tanh(x @ W.T) + gg.sqrt(x * x) @ V.T), {"W", "V"}),
        (lambda x, W, V: gg.mean(gg.tanh(x @ W) @ V.T), set()),  # as good either way
        (lambda x, W, V: gg.mean(gg.tanh(x @ W.T) @ W.T @ V), {"W"}),
        (lambda x, W, V: gg.mean(gg.tanh(gg.tanh(x @ W) @ V.T) @ V), set()),
        (lambda x, W, V: gg.mean(x @ W.T @ V) + gg.sum(W * W), set()),
        (lambda x, W, V: gg.mean(x @ W.T @ V) + gg.sum(W.T * V), set()),
        (lambda x, W, V: gg.mean(W.T @ x.T) + gg.sum(V), set()),
    ],
)
def test_a_matrix_lies_transposed_where_all_its_products_gain(loss_of: Any, transposed: set[str]) -> None:
    """And nobody sees it: parameters and state are those of a trainer that keeps each parameter on its own."""
    net = own_network(loss_of)
    one, apart = (gg.Trainer(net, gg.Adam(0.1), dtype="float64", seed=3, memory=m) for m in ("fast", "low"))
    assert one.graph.transposed == transposed
    for name, value in net.initialize(3).items():
        np.testing.assert_array_equal(one.parameters[name], value)
    x = np.random.default_rng(0).normal(size=(7, 8))
    for _ in range(5):
        assert one.step(x) == pytest.approx(apart.step(x), rel=1e-12)
    for have, want in ((one.parameters, apart.parameters), (one.state, apart.state)):
        assert have.keys() == want.keys()
        for name, value in want.items():
            assert have[name].flags.c_contiguous
            np.testing.assert_allclose(have[name], value, rtol=1e-9, atol=1e-13)
    again = gg.Trainer(net, gg.Adam(0.1), dtype="float64", parameters=apart.parameters)
    again.state = apart.state
    assert again.step(x) == pytest.approx(apart.step(x), rel=1e-12)
    np.testing.assert_allclose(again.state["m.W"], apart.state["m.W"], rtol=1e-9, atol=1e-13)


def layered(dtype: str = "float32", **options: Any) -> gg.Trainer:
    """Of a network whose first matrix lies otherwise in theta for large batches than for those of the usual size."""
    net = gg.feedforward([300, 40, 10], "relu", "cross_entropy")
    return gg.Trainer(net, gg.Adam(0.01), dtype=dtype, seed=3, **options)


def many(n: int, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(n)
    return generator.normal(size=(n, 300)).astype(dtype), generator.integers(0, 10, n)


@pytest.mark.parametrize("first", ["step", "settle", "profile"])
def test_the_first_batch_settles_how_parameters_lie(first: str) -> None:
    """And what was set before stays."""
    trainer, apart = layered(), layered(memory="low")
    x, y = many(1024)
    generator = np.random.default_rng(0)
    set_before = {n: generator.uniform(0.1, 1, v.shape) for n, v in trainer.state.items()} | {"k": 7}
    other = gg.feedforward([300, 40, 10]).initialize(8)
    for t in (trainer, apart):
        t.parameters, t.state = other, set_before
    before, held, state = trainer.graph.transposed, trainer.parameters, trainer.state
    if first == "settle":
        trainer.settle(x.shape, y.shape)
    elif first == "profile":
        trainer.profile(x, y)
    if first != "step":
        assert trainer.graph.transposed != before
        for name, value in held.items():
            assert trainer.parameters[name].tobytes() == value.tobytes()
        for name, value in state.items():
            assert trainer.state[name].tobytes() == value.tobytes()
    for n in (1024, 3, 64):
        assert trainer.step(*many(n)) == pytest.approx(apart.step(*many(n)), rel=1e-5)
        assert trainer.graph.transposed == {"W2"} != before, "settled for good"
    for name, value in apart.parameters.items():
        np.testing.assert_allclose(trainer.parameters[name], value, rtol=1e-4, atol=1e-6)
    assert trainer.k == 10


def test_a_batch_that_does_not_fit_settles_nothing() -> None:
    trainer = layered()
    before = trainer.function
    x, y = many(1024)
    with pytest.raises(GraphgradError):
        trainer.step(x, y[:7])
    with pytest.raises(GraphgradError):
        trainer.step(x)
    assert trainer.function is before
    trainer.step(x, y)
    assert trainer.function is not before


def test_a_step_that_is_made_anew_is_whole_or_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever Ctrl-C meets."""
    trainer = layered()
    function, parameters = trainer.function, trainer.parameters

    def pressed(self: gg.Trainer, *given: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(gg.Trainer, "keep", pressed)
        with pytest.raises(KeyboardInterrupt):
            trainer.step(*many(1024))
    assert trainer.function is function
    for name, value in parameters.items():
        assert trainer.parameters[name].tobytes() == value.tobytes()
    trainer.step(*many(1024))
    assert (trainer.k, trainer.function is function) == (1, False)


def test_two_threads_take_the_first_steps() -> None:
    """One makes the step anew, and the other, which waits for the old one, takes the new one too."""
    trainer, one_by_one = layered(), layered()
    batch = many(1024)
    with ThreadPoolExecutor(4) as pool:
        losses = sorted(pool.map(lambda _: trainer.step(*batch), range(12)))
    assert losses == sorted(one_by_one.step(*batch) for _ in range(12))
    assert trainer.k == 12


# ---------------------------------------------------------------------------------------------------------------------
# Memory and threads
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    [gg.SGD(0.01), gg.Momentum(0.01), gg.Adam(schedules.cosine(0.01, 100), weight_decay=0.1), Apart()],
    ids=repr,
)
def test_a_step_after_the_first_allocates_no_array(optimizer: Any) -> None:
    net = gg.feedforward([64, 512, 512, 10], "tanh", "cross_entropy")
    trainer = gg.Trainer(net, optimizer)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1024, 64)).astype("float32"), rng.integers(0, 10, 1024)
    assert 1024 * 512 * 4 > 2**20  # each activation
    trainer.step(x, y)
    tracemalloc.start()
    try:
        trainer.step(x, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 256 * 2**10


def test_eight_threads_on_one_compiled_function() -> None:
    net = gg.feedforward([3, 16, 2], "tanh")
    d = gg.derive(net.loss)
    f = gg.compile([net.loss, *d.values()])
    p = net.initialize()
    rng = np.random.default_rng(0)
    inputs = [{"x": rng.normal(size=(n, 3)), "y": rng.normal(size=(n, 2))} for n in (5, 6, 7, 8, 5, 6, 7, 8)]
    wanted = [f(**i, **p) for i in inputs]
    for expected, i in zip(wanted, inputs, strict=True):
        for a, b in zip(expected, gg.evaluate([net.loss, *d.values()], **i, **p), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9)
    wrong: list[int] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for _ in range(300):
            found = f(**inputs[number], **p)
            if not all(np.array_equal(a, b) for a, b in zip(found, wanted[number], strict=True)):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


# ---------------------------------------------------------------------------------------------------------------------
# What cannot be taken
# ---------------------------------------------------------------------------------------------------------------------

X, Y = blobs(12)
NAN = np.where(np.arange(24).reshape(12, 2) == 7, np.nan, X)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": X[:, :1]}, "X has shape (12, 1), but x is (N, 2)"),
        ({"X": X[:, 0]}, "X has shape (12,), but x is (N, 2)"),
        ({"Y": Y[:-1]}, "X has 12 samples, but Y has 11"),
        ({"X": X[:0], "Y": Y[:0]}, "X has no samples"),
        ({"X": NAN}, "X is nan at (3, 1) in float32; every number must be finite"),
        ({"X": X * 1e300}, "X is "),
        ({"X": X + 1j}, "X is complex128, but x is float32"),
        ({"X": [[1.0, 2.0], [3.0]]}, "X is no array: its rows have different lengths"),
        ({"X": np.full((12, 2), "a")}, "X is str32, but x is float32"),
        ({"Y": Y + 1}, "Y holds labels from 1 to 3, but the network's 3 classes are 0 to 2"),
        ({"Y": Y - 1}, "Y holds labels from -1 to 1, but the network's 3 classes are 0 to 2"),
        ({"Y": Y.astype(float)}, "Y is float64, but y is int64; integer labels are wanted, Y.astype(int) makes them"),
        (
            {"Y": np.array(list("aabb") * 3)},
            "Y is str32, but y is int64; integer labels are wanted, "
            "np.unique(Y, return_inverse=True)[1] makes them of text",
        ),
        ({"Y": Y[:, None]}, "Y has shape (12, 1), but y is (N,)"),
        ({"Y": None}, "the network has a target, y, but Y was not given"),
        ({"X": {"x": X, "z": X}}, "X maps x to arrays, but x, z was given"),
        (
            {"validation": X},
            "validation is a pair (Xv, Yv) of samples and targets, or the fraction of samples to set aside, "
            "but ndarray was given",
        ),
        ({"validation": 1.5}, "validation as a fraction is between 0 and 1, but 1.5 was given"),
        ({"sampling": "all"}, "sampling 'all' does not exist; there are: shuffle, lecture"),
        ({"validation": (X, Y[:3])}, "Xv has 12 samples, but Yv has 3"),
        ({"validation": (NAN, Y)}, "Xv is nan at (3, 1) in float32; every number must be finite"),
        ({"batch_size": 0}, "batch_size is a whole number from 1 on, but 0 was given"),
        ({"epochs": 1.5}, "epochs is a whole number from 0 on, but 1.5 was given"),
        ({"seed": -1}, "seed is a whole number from 0 on, but -1 was given"),
        ({"dtype": "int64"}, "a network is trained in float32 or float64, but 'int64' was given"),
        ({"net": "2-3"}, "a Trainer trains a Network, but str was given; gg.Network(loss=...) makes one"),
    ],
)
def test_mistakes_are_told(arguments: dict[str, Any], message: str) -> None:
    whole = message.endswith("is ")
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message)}{'' if whole else '$'}"):
        gg.train(**{"net": classifier(), "X": X, "Y": Y, **arguments})


@pytest.mark.parametrize("whole", [True, False])
def test_a_table_is_told_what_makes_arrays_of_it(whole: bool) -> None:
    table = Table("t.csv", {"x": np.array([1.0, 3.0]), "y": np.array([2.0, 5.0])}, lines=np.array([2, 3]))
    message = (
        "{} is a table, but a network takes arrays: known = Preprocessing.fit(table, targets) of "
        "graphgrad.preprocessing makes them, as known.encode(table) and known.encode_target(table)"
    )
    X, Y, name = (table, table["y"], "X") if whole else (table["x"][:, None], table, "Y")
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message.format(name))}$"):
        gg.train(gg.feedforward([1, 1]), X, Y)


def test_a_column_that_is_a_vector_is_told_what_fits() -> None:
    with pytest.raises(gg.GraphgradError, match=r"^Y has shape \(12,\), but y is \(N, 1\); Y\[:, None\] would fit$"):
        gg.train(gg.feedforward([2, 1]), X, Y.astype(float))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda t: t.step(X), "a batch is (x, y), but 1 arrays were given"),
        (lambda t: t.step(X[:, 0], Y), "x has shape (12,), but x is (N, 2)"),
        (lambda t: t.predict(NAN), "X is nan at (3, 1) in float32; every number must be finite"),
        (
            lambda t: setattr(t, "parameters", {}),
            "parameters: W1, b1, W2, b2 are wanted by name, but nothing was given",
        ),
        (
            lambda t: setattr(t, "parameters", {**t.parameters, "b1": np.zeros(9)}),
            "parameters: b1 is float32 of shape (8,), but float64 of shape (9,) was given",
        ),
        (
            lambda t: setattr(t, "state", {**t.state, "k": 1.5}),
            "state: k is int64 of shape (), but float64 of shape () was given",
        ),
        (
            lambda t: setattr(t, "state", {**t.state, "k": np.uint64(2**63 + 5)}),
            "state: k is int64 of shape (), but uint64 of shape () was given",
        ),
        (
            lambda t: setattr(t, "parameters", {**t.parameters, "b1": np.ma.masked_array(np.ones(8), [1] + [0] * 7)}),
            "b1 is a masked array, whose mask would be lost; b1.filled(0.0) would fit",
        ),
        (
            lambda t: setattr(t, "parameters", {**t.parameters, "b1": [1e300] * 8}),
            "b1 holds 1e+300, which is too large for float32",
        ),
        (
            lambda t: setattr(t, "parameters", {**t.parameters, "b1": [[1], [1, 2]]}),
            "b1 is no array: its rows have different lengths",
        ),
        (lambda t: gg.Trainer(t.net, target="fortran"), "target 'fortran' does not exist; there is: numpy"),
    ],
)
def test_a_trainer_tells_of_mistakes(act: Callable[[gg.Trainer], Any], message: str) -> None:
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message)}$"):
        act(gg.Trainer(classifier(), gg.SGD(0.1)))


def test_a_network_without_a_prediction_predicts_nothing() -> None:
    net = classifier()
    bare = gg.Network(loss=net.loss, inputs=net.inputs, target=net.target)
    run = gg.train(bare, X, Y, epochs=1, validation=(X, Y))
    assert list(run.history) == ["epoch", "loss", "rate", "validation_loss"]
    with pytest.raises(
        gg.GraphgradError, match=r"^the network has no prediction; gg\.Network\(\.\.\., prediction=p\) names it$"
    ):
        run.predict(X)


def test_sources_are_the_same_text_each_time() -> None:
    sources = {hashlib.sha256(gg.Trainer(classifier(), gg.Adam()).source.encode()).hexdigest() for _ in range(2)}
    assert len(sources) == 1


def test_a_target_that_the_loss_has_no_meaning_for_is_told() -> None:
    X = np.zeros((4, 2))
    for loss, target, fault in (
        ("bce", [0.0, 1.0, 0.5, 2.0], "Y holds 2, but binary_cross_entropy takes targets from 0 to 1"),
        ("bce", [0.0, -1.0, 1.0, 1.0], "Y holds -1, but binary_cross_entropy takes targets from 0 to 1"),
        ("hinge", [1.0, -1.0, 0.0, 1.0], "Y holds 0, but hinge takes the targets -1 and 1"),
    ):
        with pytest.raises(gg.GraphgradError, match=f"^{fault}$"):
            gg.train(gg.feedforward([2, 1], loss=loss), X, np.array(target)[:, None])
    gg.train(gg.feedforward([2, 1], loss="bce"), X, np.array([[0.0], [0.25], [0.5], [1.0]]), epochs=1)
    gg.train(gg.feedforward([2, 1], loss="hinge"), X, np.array([[1.0], [-1.0], [1.0], [1.0]]), epochs=1)


def test_wrong_arguments_are_told() -> None:
    net, X, Y = gg.feedforward([2, 1]), np.zeros((4, 2)), np.zeros((4, 1))
    with pytest.raises(
        gg.GraphgradError, match=r"^callbacks are functions of the trainer and the epoch's record, but 3 "
    ):
        gg.train(net, X, Y, callbacks=3)  # type: ignore[arg-type]
    with pytest.raises(gg.GraphgradError, match=r"^X has no samples$"):
        gg.train(net, X, Y, epochs=0).predict(X[:0])
    with pytest.raises(gg.GraphgradError, match=r"^a network computes in float32 or float64, but 'int64' was given$"):
        gg.feedforward([2, 1], dtype="int64")
    for seed in ("a", -1, None):
        with pytest.raises(gg.GraphgradError, match=f"^seed is a whole number from 0 on, but {seed!r} was given$"):
            gg.check(net.loss, seed=seed)  # type: ignore[arg-type]
        with pytest.raises(gg.GraphgradError, match=f"^seed is a whole number from 0 on, but {seed!r} was given$"):
            gg.write_module(net, "never.py", seed=seed)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------------------
# Data that lies in a file, threads, memory
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_file_that_is_mapped_into_memory_trains_as_an_array_does(dtype: str, tmp_path: Path) -> None:
    X, Y = blobs()
    mapped = np.memmap(tmp_path / "X", dtype, "w+", shape=X.shape)
    mapped[:] = X
    runs = [
        gg.train(classifier(), x, Y, epochs=3, seed=0, batch_size=7, validation=(x, Y), progress=False)
        for x in (mapped, np.array(mapped))
    ]
    assert all(np.array_equal(column, runs[1].history[name]) for name, column in runs[0].history.items())
    assert runs[0].predict(mapped).tobytes() == runs[1].predict(np.array(mapped)).tobytes()
    steps = [run.trainer.step(x, Y) for run, x in zip(runs, (mapped, np.array(mapped)), strict=True)]
    assert steps[0] == steps[1]
    mapped[5, 1] = np.nan
    with pytest.raises(gg.GraphgradError, match=r"^x is nan at \(5, 1\) in float32; every number must be finite$"):
        runs[0].trainer.step(mapped, Y)


def test_the_fingerprint_of_a_mapped_file_reads_its_ends_alone(tmp_path: Path) -> None:
    net = gg.feedforward([1, 1])
    mapped = np.memmap(tmp_path / "X", "float32", "w+", shape=(5000, 1))
    mapped[:] = np.arange(5000)[:, None]

    def fingerprint(x: Any) -> int:
        return dataset([*net.inputs, net.target], net, x, np.zeros((5000, 1))).fingerprint()

    there, whole = fingerprint(mapped), fingerprint(np.array(mapped))
    for row, seen in ((0, True), (999, True), (2500, False), (4000, True), (4999, True)):
        mapped[row] += 1
        assert (fingerprint(mapped) != there) == seen, row
        assert fingerprint(np.array(mapped)) != whole, row
        mapped[row] -= 1


def test_a_run_tells_where_its_time_goes() -> None:
    X, Y = blobs()
    run = gg.train(classifier(), X, Y, epochs=1, seed=0, progress=False)
    assert run.profile().products > 0
    assert [len(a) for a in run.sample] == [min(64, len(X))] * 2


def test_threads_of_the_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="the extra threads is not installed")
    X, Y = blobs()
    seen: list[int] = []

    def look(trainer: gg.Trainer, record: Any) -> None:
        seen.extend(p["num_threads"] for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas")

    gg.train(classifier(), X, Y, epochs=1, seed=0, progress=False, threads=1, callbacks=look)
    assert set(seen) == {1}
    with pytest.raises(GraphgradError, match="threads is a whole number from 1 on, but 0 was given"):
        gg.train(classifier(), X, Y, epochs=1, progress=False, threads=0)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with pytest.raises(GraphgradError, match=r'threads= needs threadpoolctl: pip install "graphgrad\[threads\]"'):
        gg.train(classifier(), X, Y, epochs=1, progress=False, threads=1)


def test_low_memory_holds_one_gradient_at_a_time() -> None:
    net = gg.feedforward([64] * 12, "tanh")
    fast, low = (gg.Trainer(net, gg.SGD(0.1), memory=m).function.workspace_bytes(N=1) for m in ("fast", "low"))
    assert low < fast / 4
    with pytest.raises(GraphgradError, match="memory 'none' does not exist; there are: fast, low"):
        gg.Trainer(net, memory="none")


def test_the_first_step_waits_for_no_import() -> None:
    code = (
        "import sys, numpy as np, graphgrad as gg\n"
        "trainer = gg.Trainer(gg.feedforward([3, 4, 2], 'relu', 'cross_entropy'))\n"
        "trainer.step(np.zeros((5, 3), np.float32), np.zeros(5, np.int64))\n"
        "print([name for name in ('numpy.ma', 'sympy', 'networkx', 'graphviz', 'tqdm') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
