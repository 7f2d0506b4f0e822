"""How values, attributes and arrays are written in Python's source."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from graphgrad.types import Array, Dim, np_dtype


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


def quoted(text: str) -> str:
    """A string as source, in double quotes."""
    return '"' + repr('"' + text)[2:-1].replace('"', '\\"').replace("\\'", "'") + '"'


def array_text(array: Array) -> str:
    """An array as an expression that gives the same bytes."""
    dtype = f"np.{np_dtype(array.dtype.name)}"
    if array.ndim == 2 and array.size > 1 and array.tobytes() == np.eye(*array.shape, dtype=array.dtype).tobytes():
        rows, columns = array.shape
        return f"np.eye({rows}{f', {columns}' * (rows != columns)}, dtype={dtype})"
    if array.size > 2000:
        return f'np.frombuffer(bytes.fromhex("{array.tobytes().hex()}"), {dtype}).reshape({code(array.shape)})'
    if not array.size:
        return f"np.zeros({code(array.shape)}, {dtype})"
    if array.ndim and array.tobytes() == array.flat[0].tobytes() * array.size:
        return f"np.full({code(array.shape)}, {literal(array.flat[0].item())}, {dtype})"
    return f"np.array({_nested(array.tolist())}, {dtype})"


def _nested(value: object) -> str:
    return f"[{', '.join(map(_nested, value))}]" if isinstance(value, list) else literal(value)


def number_name(value: Any) -> str:
    """one, half, c_0_25: what a constant is called."""
    words = {0: "zero", 1: "one", 2: "two", 0.5: "half", -1: "minus_one"}
    if not isinstance(value, bool) and value in words:
        return words[value]
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "c_" + text.replace("e-", "e_minus_").replace("-", "minus_").replace(".", "_").replace("+", "")
