"""Subnormal numbers are zeros in a step that multiplies trained matrices, and nowhere else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.codegen import workspace
from graphgrad.codegen.flush import flush

pytestmark = pytest.mark.skipif(flush() is None, reason="this system's C library has no such mode of x86-64")

X, Y = np.zeros((4, 2), np.float32), np.zeros((4, 1), np.float32)
STEPS = 45  # in which m, kept as ten times itself, shrinks to a hundredth


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
        return made.function.program.flushes

    assert flushes(trainer())
    assert flushes(trainer(memory="low"))
    assert not flushes(trainer((2, 1))), "a linear network"
    assert not flushes(trainer(exact=True))
    assert not gg.compile([trainer().net.loss]).program.flushes, "nothing is updated"
    g = gg.Graph()
    x, v, w = g.input("x", ("N", 2)), g.parameter("v", (2, 3)), g.parameter("w", (3, 2))
    for loss, there in ((gg.sum(x @ v @ w), True), (gg.sum((x @ v) ** 2) + gg.sum(w), False)):
        gradients = gg.derive(loss)
        assert gg.compile([loss], {t: t - gradients[t] for t in (v, w)}).program.flushes == there


def test_the_mode_ends_with_an_error() -> None:
    made = gg.Trainer(gg.feedforward([2, 3, 2], loss="cross_entropy"), gg.Adam(), seed=0)
    assert made.function.program.flushes
    for labels in ([5, 5, 5, 5], [0, 0, 0, 0], [5, 5, 5, 5]):  # in a new workspace, and by the shortest way
        batch = X, np.array(labels)
        if max(labels) > 1:
            with pytest.raises(gg.GraphgradError, match="indices from 5 to 5"):
                made.step(*batch)
        else:
            made.step(*batch)
        assert is_as_usual()


@pytest.mark.parametrize("way", [0, 1], ids=["in a new workspace", "by the shortest way"])
def test_the_mode_ends_with_what_breaks_a_step_off(way: int, monkeypatch: pytest.MonkeyPatch) -> None:
    met = []

    def broken(*values: Any) -> None:
        met.append(is_as_usual())
        raise KeyboardInterrupt

    made: Callable[..., Any] = workspace.flushed
    on = flush()
    assert on is not None
    shapes, dtypes = [(1,)], [np.dtype("float32")]
    steps = (made(broken, on), workspace.quick(broken, shapes, dtypes, [False], on))
    with pytest.raises(KeyboardInterrupt):
        steps[way]([np.zeros(1, np.float32)])
    assert met == [False]
    assert is_as_usual()


def test_a_profile_runs_in_the_same_mode_and_ends_it() -> None:
    made = trainer()
    assert made.profile(X, Y).total > 0
    assert is_as_usual()


def test_another_thread_computes_as_it_did() -> None:
    found, mode, entered = [], flush(), threading.Event()
    assert mode is not None

    def other() -> None:
        entered.wait()
        found.append(is_as_usual())

    thread = threading.Thread(target=other)
    thread.start()
    with mode:
        assert not is_as_usual()
        entered.set()
        thread.join()
    assert found == [True]


def test_a_mode_ends_with_what_was_before_it() -> None:
    """Who has set it for all that his thread computes finds it set after a step."""
    outer = flush()
    assert outer is not None
    with outer:
        made = trainer()
        for _ in range(3):
            made.step(X, Y)
            assert not is_as_usual()
    assert is_as_usual()


def test_where_the_mode_is_unknown_steps_are_the_same_but_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "flush", lambda: None)
    made = trainer()
    for _ in range(STEPS):
        made.step(X, Y)
    assert kept_subnormal(made)
