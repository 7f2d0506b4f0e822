"""Whose turn it is to use what several threads share: a lock that costs next to nothing where only one ever comes."""

from __future__ import annotations

import sys
import threading
import time
from threading import get_ident

#: Without a global interpreter lock, what one thread writes another need not see in that order.
_IN_ORDER: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
PAUSE = 50e-6  # seconds after which another thread looks again whether the first is done


class Turn:
    """A reentrant lock, for `with`, that leans towards the thread that made it.

    To take and to give back a lock of `threading`, a CPU waits until all is in its cache that it has written, which is
    felt where a step takes ten microseconds. So the first thread may, as long as no other one has come, go ahead by two
    attributes, which a hot path does in its own lines:

        if turn.owner == get_ident() and not turn.busy:
            turn.busy = True
            try:
                if turn.owner:
                    ...  # it is this thread's turn
            finally:
                turn.busy = False

    Another thread first takes the ownership away, for good, and then waits until the first is not busy. That one either
    was busy before, and is waited for, or finds no owner after it has said that it is. A signal's handler runs in the
    middle of what its own thread does, and is not held up by it.

    >>> turn = Turn()
    >>> with turn, turn:
    ...     turn.owner == get_ident()
    True
    """

    __slots__ = ("_first", "_lock", "busy", "owner")

    def __init__(self) -> None:
        self._first = get_ident()
        self.owner = self._first if _IN_ORDER else 0  # 0, which no thread is: several have come
        self.busy = False
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        if get_ident() != self._first:
            self.owner = 0
            while self.busy:
                time.sleep(PAUSE)
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()
