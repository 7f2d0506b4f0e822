"""Errors that say what was asked, what was found and what would fit, at the user's own line."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from typing import TypeAlias

Line: TypeAlias = tuple[str, int]  # file name, line number


class GraphgradError(ValueError):
    """The one family of errors that graphgrad raises for what it was given; `line` is the user's line, once known."""

    line: Line | None = None

    def at(self, line: Line | None) -> GraphgradError:
        """The same error with the user's line below its message (the first line that is told stays)."""
        if line is None or self.line is not None:
            return self
        located = type(self)(f"{self}\n  at {show_line(line)}")
        located.line = line
        return located


class ShapeError(GraphgradError):
    """Shapes that do not fit."""


class DTypeError(GraphgradError):
    """A dtype that an operator does not take."""


class NameClashError(GraphgradError):
    """A name that is taken by something else, or that nothing carries."""


class DerivativeError(GraphgradError):
    """A derivative that does not exist, or is not of a scalar."""


class CallError(GraphgradError):
    """Arrays that a compiled function, or `evaluate`, cannot take."""


class TableError(GraphgradError):
    """A table that cannot be read, or that does not hold what was asked for."""


#: The modules met that may stand between a user's line and ours.
_between: set[str] = set()


def user_line() -> Line | None:
    """The line of the innermost frame outside graphgrad and what may stand between: the one that asked.

    np.mean(x) goes through NumPy, and model.fit(X, y) through scikit-learn.
    """
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module not in _between:
            package = module.partition(".")[0]
            if package == "click":  # the command line asked, which is nobody's code
                return None
            if package not in ("graphgrad", "numpy", "sklearn", "joblib"):
                return frame.f_code.co_filename, frame.f_lineno
            _between.add(module)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def show_line(line: Line) -> str:
    """A line as "file.py:12: its text"."""
    text = linecache.getline(*line).strip()
    return f"{Path(line[0]).name}:{line[1]}" + (f": {text}" if text else "")
