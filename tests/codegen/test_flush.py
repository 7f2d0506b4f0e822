"""Subnormal numbers are zeros in a step that multiplies trained matrices, and nowhere else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.codegen import flush as module
from graphgrad.codegen import workspace
from graphgrad.codegen.flush import Flush, flush

pytestmark = pytest.mark.skipif(flush() is None, reason="this system's C library has no such mode of x86-64")


def mode() -> Flush:
    found = flush()
    assert found is not None
    return found


X, Y = np.zeros((4, 2), np.float32), np.zeros((4, 1), np.float32)
STEPS = 45  # in which m, kept as ten times itself, shrinks to a hundredth


@pytest.fixture(autouse=True)
def also_in_small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST", 0)


def is_as_usual() -> bool:
    """Whether this thread computes with subnormal numbers."""
    return np.float32(1e-39) * np.float32(0.5) > 0 and 1e-310 * 0.5 > 0  # by NumPy, and by Python


def trainer(widths: tuple[int, ...] = (2, 3, 1), **options: Any) -> gg.Trainer:
    """All parameters are 0, which no batch of zeros changes, and m is close to the end of float32's normal numbers."""
    made = gg.Trainer(gg.feedforward([*widths], "tanh", initial="zeros"), gg.Adam(1e-3), **options)
    smallest = 2 * np.finfo(made.dtype).tiny
    made.state = {name: value if name == "k" else value + smallest for name, value in made.state.items()}
    return made


def kept_subnormal(made: gg.Trainer) -> bool:
    """Whether m, which shrinks by a tenth in each step, has come among the subnormal numbers."""
    m = made.state["m.W1"]
    assert (np.abs(m) < np.finfo(m.dtype).tiny).all()
    return bool((m != 0).all())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_would_be_subnormal_is_zero(dtype: str) -> None:
    made, exact = trainer(dtype=dtype), trainer(dtype=dtype, exact=True)
    for t in (made, exact):
        for _ in range(STEPS):  # the first one in a workspace that is new, all others by the shortest way
            t.step(X.astype(dtype), Y.astype(dtype))
            assert is_as_usual()
    assert made.function._latest is not None
    assert made.function._latest.flush is not None
    assert not kept_subnormal(made)
    assert kept_subnormal(exact), "the test is of something"


def test_the_first_call_and_those_after_it_alike() -> None:
    """So a run that goes on in a new process takes the very steps that it would have taken."""
    one, other = trainer(), trainer()
    for k in range(1, STEPS):
        one.step(X, Y)
        other.function._forget()
        other.step(X, Y)
        for name, value in one.state.items():
            np.testing.assert_array_equal(value, other.state[name], err_msg=f"{name} after {k} steps")


def test_only_where_trained_matrices_are_multiplied() -> None:
    def flushes(made: gg.Trainer) -> bool:
        return bool(made.function.program.trained)

    assert flushes(trainer())
    assert flushes(trainer(memory="low"))
    assert not flushes(trainer((2, 1))), "a linear network"
    assert not flushes(trainer(exact=True))
    assert not gg.compile([trainer().net.loss]).program.trained, "nothing is updated"
    g = gg.Graph()
    x, v, w = g.input("x", ("N", 2)), g.parameter("v", (2, 3)), g.parameter("w", (3, 2))
    for loss, there in ((gg.sum(x @ v @ w), True), (gg.sum((x @ v) ** 2) + gg.sum(w), False)):
        gradients = gg.derive(loss)
        assert bool(gg.compile([loss], {t: t - gradients[t] for t in (v, w)}).program.trained) == there


def test_the_mode_ends_with_an_error() -> None:
    made = gg.Trainer(gg.feedforward([2, 3, 2], loss="cross_entropy"), gg.Adam(), seed=0)
    assert made.function.program.trained
    for labels in ([5, 5, 5, 5], [0, 0, 0, 0], [5, 5, 5, 5]):  # in a new workspace, and by the shortest way
        batch = X, np.array(labels)
        if max(labels) > 1:
            with pytest.raises(gg.GraphgradError, match="indices from 5 to 5"):
                made.step(*batch)
        else:
            made.step(*batch)
        assert is_as_usual()


@pytest.mark.parametrize("way", [0, 1], ids=["in a new workspace", "by the shortest way"])
def test_the_mode_ends_with_what_breaks_a_step_off(way: int) -> None:
    met = []

    def broken(*values: Any) -> None:
        met.append(is_as_usual())
        raise KeyboardInterrupt

    own = mode()
    steps: list[Callable[..., Any]] = [
        partial(own.call, broken),
        workspace.quick(broken, [(1,)], [np.dtype("float32")], [False], own),
    ]
    with pytest.raises(KeyboardInterrupt):
        steps[way]([np.zeros(1, np.float32)])
    assert met == [False]
    assert is_as_usual()


def test_a_profile_runs_in_the_same_mode_and_ends_it() -> None:
    made = trainer()
    assert made.profile(X, Y).total > 0
    assert is_as_usual()


def test_another_thread_computes_as_it_did() -> None:
    found, entered = [], threading.Event()

    def other() -> None:
        entered.wait()
        found.append(is_as_usual())

    def enter() -> None:
        assert not is_as_usual()
        entered.set()
        thread.join()

    thread = threading.Thread(target=other)
    thread.start()
    mode().call(enter)
    assert found == [True]


def test_a_mode_that_was_set_before_stays_until_its_own_end() -> None:
    """So does a step within a step, by a handler of NumPy's warnings, and who has set it for all that he computes."""
    kept = trainer()

    def steps() -> None:
        for _ in range(3):
            kept.step(X, Y)
            assert not is_as_usual()

    mode().call(steps)  # in which its workspace is new
    for _ in range(3):
        assert is_as_usual()
        kept.step(X, Y)
    mode().call(steps)
    assert is_as_usual()


@pytest.mark.parametrize(
    ("loss", "there"),
    [
        (lambda z, y: -gg.mean(gg.log(gg.softmax(z)) * y), False),
        (lambda z, y: gg.mean(1 / gg.sigmoid(z)), False),
        (lambda z, y: gg.mean(gg.exp(z) ** -2.0), False),
        (lambda z, y: gg.mean(y / gg.exp(z)), False),
        (lambda z, y: -gg.mean(gg.log_softmax(z) * y), True),
        (lambda z, y: gg.mean(gg.softplus(z)), True),
        (lambda z, y: gg.mean(gg.log(1 + gg.sum(gg.exp(z), axis=1))), True),
        (lambda z, y: gg.mean(gg.silu(z) / (2 * gg.sqrt(gg.mean(z**2) + 1e-5))), True),
        (lambda z, y: gg.mean(gg.exp(z) ** 2.0), True),
    ],
)
def test_only_where_nothing_has_use_for_them(loss: Callable[..., gg.Tensor], there: bool) -> None:
    g = gg.Graph()
    x, y = g.input("x", ("N", 2), "float32"), g.input("y", ("N", 2), "float32")
    v, w = g.parameter("v", (2, 3), "float32"), g.parameter("w", (3, 2), "float32")
    value = loss(gg.tanh(x @ v) @ w, y)
    gradients = gg.derive(value)
    f = gg.compile([value], {t: t - 0.1 * gradients[t] for t in (v, w)})
    assert bool(f.program.trained) == there


def test_a_logarithm_of_what_is_subnormal_is_what_it_was() -> None:
    """Of a probability of 6e-39, that of 0 would be infinite, and all parameters none."""
    g = gg.Graph()
    x, v, w = g.input("x", ("N", 1), "float32"), *(g.parameter(n, (2, 2), "float32") for n in "vw")
    z = gg.concatenate([x, 0 * x], axis=1) @ v @ w
    e = gg.exp(z - gg.max(z, axis=1, keepdims=True))
    loss = -gg.mean(gg.log((e / gg.sum(e, axis=1, keepdims=True))[:, 1:]))
    gradients = gg.derive(loss)
    f = gg.compile([loss], {t: t - 1e-6 * gradients[t] for t in (v, w)})
    f.state["v"] = f.state["w"] = np.eye(2, dtype=np.float32)
    for _ in range(2):
        (value,) = f(x=np.array([[88.0]], np.float32))
        assert value == pytest.approx(88, abs=0.1)
    assert np.isfinite(f.state["v"]).all()


def test_only_where_a_product_is_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    net = gg.feedforward([1, 64, 1], "tanh")
    for n, there in ((1, False), (7, False), (8, True), (100, True)):
        made = gg.Trainer(net)
        made.step(np.ones((n, 1), np.float32), np.ones((n, 1), np.float32))
        assert made.function._latest is not None
        assert (made.function._latest.flush is not None) == there, n


@pytest.mark.parametrize("optimizer", [gg.SGD(), gg.Momentum(), gg.Adam(), gg.Adam(weight_decay=0.1)])
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "elu", "gelu", "silu", "mish", "softplus"])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "huber"])
def test_networks_as_people_write_them(activation: str, loss: str, optimizer: Any) -> None:
    net = gg.feedforward([2, 3, 2], activation, loss)
    assert gg.Trainer(net, optimizer, clip_norm=1.0, l2=0.1).function.program.trained


def test_where_the_mode_is_unknown_steps_are_the_same_but_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "flush", lambda: None)
    made = trainer()
    for _ in range(STEPS):
        made.step(X, Y)
    assert kept_subnormal(made)
