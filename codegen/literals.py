"""How values and attributes are written in Python's source."""

from __future__ import annotations

import re
from typing import Any

from graphgrad.types import Dim


def positional(template: str) -> str:
    """add(x, y, out=z) as add(x, y, z), which NumPy calls faster; of maximum and minimum it wants the keyword."""
    return re.sub(r"^(?!maximum|minimum)(\w+\((?:\{\w+\}, )+)out=(\{out\}\))$", r"\1\2", template)


def code(value: Any) -> str:
    """An attribute as Python source: dimensions by their names, floats exactly."""
    if isinstance(value, Dim):
        return str(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(code, value))}{',' if len(value) == 1 else ''})"
    return literal(value)


def literal(value: Any) -> str:
    """A Python number as source."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"nan": "np.nan", "inf": "np.inf", "-inf": "-np.inf"}[repr(value)]
    return repr(value)


def np_dtype(dtype: str) -> str:
    return "bool_" if dtype == "bool" else dtype


def number_name(value: Any) -> str:
    """one, half, c_0_25: what a constant is called."""
    words = {0: "zero", 1: "one", 2: "two", 0.5: "half", -1: "minus_one"}
    if not isinstance(value, bool) and value in words:
        return words[value]
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "c_" + text.replace("-", "minus_").replace(".", "_").replace("+", "")
