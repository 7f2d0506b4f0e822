"""Weak numbers through every operator: those of floats, of truth values and of integers, as the evaluator has them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.errors import GraphgradError
from graphgrad.operator import OPERATORS

ATTRIBUTES: list[dict[str, Any]] = [
    {},
    {"axis": ()},
    {"shape": ()},
    {"shape": (1, 1)},
    {"axes": ()},
    {"dtype": "int64"},
]
INSIDE = ("take_off", "gather", "checked_index", "checked_label")  # what passes make, of arrays alone
NUMBERS = {
    "float": lambda x: gg.sin(x),
    "given": lambda x: x,
    "bool": lambda x: x > 0,
    "int": lambda x: gg.sum(x > 0),
}


def made(name: str, operands: list[gg.Tensor]) -> list[gg.Tensor]:
    """What an operator makes of them, with all of the attributes that it takes."""
    found = []
    for attributes in ATTRIBUTES:
        try:
            found.append(OPERATORS[name](*operands, **attributes))
        except (GraphgradError, TypeError):
            continue
    return found


@pytest.mark.parametrize("way", ["fast", "exact", "updates"])
@pytest.mark.parametrize("kind", NUMBERS)
def test_weak_numbers_agree_with_the_evaluator(kind: str, way: str) -> None:
    seen = set()
    for name, row in OPERATORS.items():
        if name in INSIDE or row.kind in ("leaf", "size"):
            continue
        for count in (1, 2):
            g = gg.Graph()
            x, calls = g.input("x", weak=True), g.state("calls", weak=True)
            outputs = made(name, [NUMBERS[kind](x)] * count)
            if not outputs:
                continue
            seen.add(name)
            f = gg.compile(outputs, exact=way == "exact", updates={calls: calls + 1} if way == "updates" else None)
            for value in (0.7, -1.3):
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    found, wanted = f(x=value), gg.evaluate(outputs, x=value)
                for a, b in zip(found, wanted, strict=True):
                    assert (a.shape, a.dtype) == (np.shape(b), np.asarray(b).dtype), name
                    np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=name)
    assert {"sum", "mean", "sum_to", "flip", "transpose", "reshape"} <= seen
    assert len(seen) > 50
