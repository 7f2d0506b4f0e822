"""The elementwise rows as the tests walk them: a new row is tested the moment it exists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphgrad.operator import OPERATORS, Operator
from graphgrad.operators import activations

ROWS = [row for row in OPERATORS.values() if row.kind == "elementwise" and row.formula]
ACTIVATIONS = [row for row in ROWS if row.name in activations.__all__]

#: Attributes other than the defaults.
ATTRIBUTES: dict[str, list[dict[str, float]]] = {
    "clip": [{"min": -1.0, "max": 1.0}, {"min": -0.5}, {"max": 0.5}, {"min": 0.5, "max": -0.5}],
    "leaky_relu": [
        {},
        {"negative_slope": 0.3},
        {"negative_slope": 0.0},
        {"negative_slope": -0.5},
        {"negative_slope": 2.0},
    ],
    "elu": [{}, {"alpha": 0.4}, {"alpha": 2.0}],
    "celu": [{}, {"alpha": 0.4}, {"alpha": 2.0}],
    "hard_tanh": [{}, {"min_val": -0.5, "max_val": 1.5}],
}


def cases(rows: list[Operator]) -> list[Any]:
    """(row, attributes) for pytest, with readable ids."""
    return [
        pytest.param(row, {**row.defaults, **given}, id=" ".join([row.name, *(f"{k}={v:g}" for k, v in given.items())]))
        for row in rows
        for given in ATTRIBUTES.get(row.name, [{}])
    ]


def bounds(row: Operator, operand: str) -> tuple[float, float]:
    """Where a random operand may be."""
    return row.domain.get(operand, (-2.0, 2.0))


def edges(row: Operator, attributes: dict[str, float]) -> list[float]:
    """The points where the derivative is decided by convention; an attribute may be such a point."""
    return sorted({*row.kinks, *(v for v in attributes.values() if np.isfinite(v))} if row.kinks else set())
