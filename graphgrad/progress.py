"""How far a run came, in memory and as a file tells of it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from graphgrad.errors import GraphgradError
from graphgrad.model_file import ModelError
from graphgrad.run import columns, line
from graphgrad.types import Array


@dataclass
class Progress:
    """How far a run came: plain numbers, so that a file holds them."""

    epoch: int = 0  # epochs that are over
    batch: int = 0  # batches of the next one that are done
    total: float = 0.0  # the sum over these of their losses times their weights
    weight: float = 0.0
    best: float | None = None
    best_epoch: int = 0
    stopped: str = ""
    history: dict[str, list[float | None]] = field(default_factory=dict)


class Moment(NamedTuple):
    """What a run was between two updates; `values` are None where nothing has changed them since."""

    values: Mapping[str, Array] | None
    progress: Progress
    best: dict[str, Array] | None


@dataclass(frozen=True)
class Log:
    """The file that gets a line of JSON for each epoch. Raises GraphgradError where it cannot be written."""

    path: str | os.PathLike[str]

    def begin(self, history: Mapping[str, list[float | None]]) -> None:
        """Anew, with the epochs that are over."""
        rows = [dict(zip(history, row, strict=True)) for row in zip(*history.values(), strict=True)]
        self._write("w", [{n: math.nan if v is None else v for n, v in row.items()} for row in rows])

    def add(self, record: Mapping[str, float]) -> None:
        """An epoch more."""
        self._write("a", [record])

    def _write(self, mode: str, records: Iterable[Mapping[str, float]]) -> None:
        try:
            with open(self.path, mode, encoding="utf-8") as file:
                file.writelines(map(line, records))
        except OSError as error:
            raise GraphgradError(f"log: {os.fspath(self.path)} cannot be written: {error.strerror}") from None


def read_progress(told: Mapping[str, Any]) -> Progress:
    """The progress that a file tells of. Raises ModelError for what is none."""
    try:
        found = Progress(**told)
        columns(found.history)
        counts = (found.epoch, found.batch, found.best_epoch)
        known = found.best is None or type(found.best) in (int, float)
        if all(type(n) is int and 0 <= n < 2**63 for n in counts) and isinstance(found.stopped, str) and known:
            found.total, found.weight = float(found.total), float(found.weight)
            return found
    except (TypeError, ValueError):
        pass
    raise ModelError("what it tells of its progress is broken")
