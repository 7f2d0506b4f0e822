"""One thread at a time, whoever comes first, and a signal's handler in between."""

from __future__ import annotations

import sys
import threading
import time
from threading import get_ident

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.codegen import turn as turns
from graphgrad.codegen.turn import Turn


def go_ahead(turn: Turn, work: object) -> bool:
    """The hot path as its users have it; whether it was this thread's turn."""
    if turn.owner == get_ident() and not turn.busy:
        turn.busy = True
        try:
            if turn.owner:
                work()  # type: ignore[operator]
                return True
        finally:
            turn.busy = False
    return False


class Counted:
    """What two threads at once would spoil."""

    def __init__(self) -> None:
        self.inside = self.most = self.times = 0

    def __call__(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(1e-4)  # the others may run here
        self.times += 1
        self.inside -= 1


@pytest.fixture(autouse=True)
def _eager_switches() -> object:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_the_first_thread_needs_no_lock_until_another_one_comes() -> None:
    turn, done = Turn(), Counted()
    assert go_ahead(turn, done)
    assert not turn.busy
    thread = threading.Thread(target=turn.__enter__)
    thread.start()
    thread.join()
    assert not go_ahead(turn, done)
    assert turn.owner == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_no_two_threads_are_in_at_once(threads: int) -> None:
    turn, work = Turn(), Counted()

    def one(rounds: int) -> None:
        for _ in range(rounds):
            if not go_ahead(turn, work):
                with turn:
                    work()

    others = [threading.Thread(target=one, args=(60,)) for _ in range(threads)]
    one(5)
    for thread in others:
        thread.start()
    one(60)
    for thread in others:
        thread.join()
    assert (work.most, work.times) == (1, 65 + 60 * threads)


def test_another_thread_waits_for_what_the_first_is_at() -> None:
    turn, seen = Turn(), []

    def look() -> None:
        with turn:
            seen.append("other")

    thread = threading.Thread(target=look)

    def at_work() -> None:
        thread.start()
        while turn.owner:  # it came,
            time.sleep(1e-4)
        time.sleep(0.01)  # and waits
        seen.append("first")

    assert go_ahead(turn, at_work)
    thread.join()
    assert seen == ["first", "other"]


def test_a_handler_is_not_held_up_by_its_own_thread() -> None:
    """Not even while another thread waits for the end of what it interrupts."""
    turn, seen = Turn(), []

    def at_work() -> None:
        thread.start()
        while turn.owner:
            time.sleep(1e-4)
        with turn, turn:
            seen.append("handler")

    thread = threading.Thread(target=lambda: turn.__enter__() or turn.__exit__())
    assert go_ahead(turn, at_work)
    thread.join()
    assert seen == ["handler"]
    assert not go_ahead(turn, at_work)


def test_what_raises_gives_its_turn_back() -> None:
    turn = Turn()
    with pytest.raises(ZeroDivisionError):
        go_ahead(turn, lambda: 1 // 0)
    assert go_ahead(turn, lambda: None)


def test_without_a_global_lock_nobody_goes_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_IN_ORDER", False)
    turn = Turn()
    assert not go_ahead(turn, lambda: None)
    with turn:
        assert turn.owner == 0


def test_a_thread_that_joins_a_trainers_own_takes_steps_between_its_steps() -> None:
    trainer, alone = (gg.Trainer(gg.feedforward([40, 30, 1]), gg.Adam(0.01), seed=2) for _ in range(2))
    x = np.random.default_rng(0).normal(size=(64, 40)).astype("float32")
    batch = x, x[:, :1]
    losses = [trainer.step(*batch) for _ in range(5)]
    other = threading.Thread(target=lambda: losses.extend([trainer.step(*batch) for _ in range(300)]))
    other.start()
    losses += [trainer.step(*batch) for _ in range(300)]
    other.join()
    assert sorted(losses) == sorted(alone.step(*batch) for _ in range(605))
    assert trainer.function.lock.owner == 0
