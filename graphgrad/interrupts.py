"""Ctrl-C while a run runs: noted, so that nothing is cut in half that has to stay whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Interrupts:
    """How many there were. From the second one on they are raised too: in a `with` of this, or `always`.

    That stands around what may be broken off, since its caller knows a way back to before it.
    """

    noted: int = 0
    always: bool = False
    raising: bool = False

    def __call__(self, number: int, frame: object) -> None:
        self.noted += 1
        if self.noted > 1 and self.raising:
            self.raising = False  # one is enough: another could strike what brings the run to an end
            raise KeyboardInterrupt

    def __enter__(self) -> None:
        self.raising = True

    def __exit__(self, *error: object) -> None:
        self.raising = self.always


@contextmanager
def held_back(interrupts: Interrupts) -> Iterator[None]:
    """Ctrl-C is noted there instead of raised. Not beside the main thread, nor where the program handles it itself."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    signal.signal(signal.SIGINT, interrupts)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
