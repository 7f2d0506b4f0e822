"""Initial values of parameters: the rules by which they are drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from graphgrad.errors import GraphgradError
from graphgrad.types import Array, show

Rule: TypeAlias = "str | Callable[[np.random.Generator, tuple[int, ...]], Any]"

#: The variance that a rule gives the entries of W, from the numbers of W's inputs and outputs.
VARIANCES: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda inputs, outputs: 2 / (inputs + outputs),  # Glorot and Bengio, 2010
    "he": lambda inputs, outputs: 2 / inputs,  # He et al., 2015: for activations that cut one half off, such as relu
    "lecun": lambda inputs, outputs: 1 / inputs,  # LeCun et al., 1998
}

RULES = (*[f"{name}{law}" for name in VARIANCES for law in ("", "_normal", "_uniform")], "orthogonal", "zeros", "auto")

#: Rules that tell their number themselves, by what they draw from.
STATED = re.compile(r"(normal|uniform)\((\d+(?:\.\d*)?(?:e[+-]?\d+)?)\)")


def is_rule(rule: str) -> bool:
    """Whether there is such a rule."""
    stated = STATED.fullmatch(rule)
    return rule in RULES or (stated is not None and math.isfinite(float(stated[2])))


def initial_law(rule: str, shape: tuple[int, ...]) -> tuple[str, float]:
    """What a rule draws a parameter's entries from: "normal" and σ, "uniform" and its bound, "orthogonal", "zeros".

    A parameter of shape (outputs, inputs), as in x @ W.T. "he" alone is "he_normal". "auto" is "glorot" for matrices
    and zeros for biases and numbers. "normal(0.02)" and "uniform(0.1)" tell σ and the bound themselves.

    >>> initial_law("he_normal", (3, 50)), initial_law("uniform(0.1)", (3,))
    (('normal', 0.2), ('uniform', 0.1))
    """
    if stated := STATED.fullmatch(rule):
        return stated[1], float(stated[2])
    if rule == "auto":
        rule = "glorot" if len(shape) > 1 else "zeros"
    if rule in ("orthogonal", "zeros"):
        return rule, 1.0 if rule == "orthogonal" else 0.0
    name, _, law = rule.partition("_")
    rest = math.prod(shape[2:])
    inputs, outputs = (shape[1] * rest, shape[0] * rest) if len(shape) > 1 else (math.prod(shape), 1)
    variance = VARIANCES[name](max(inputs, 1), max(outputs, 1))
    return ("uniform", math.sqrt(3 * variance)) if law == "uniform" else ("normal", math.sqrt(variance))


def draw(rule: Rule, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Initial values of one parameter, in float64."""
    if not isinstance(rule, str):
        drawn = np.asarray(rule(generator, shape), np.float64)
        if drawn.shape != shape:
            raise GraphgradError(
                f"the initial value rule {rule!r} gave shape {show(drawn.shape)} where {show(shape)} is wanted"
            )
        return drawn
    law, scale = initial_law(rule, shape)
    if law == "zeros":
        return np.zeros(shape)
    if law == "uniform":
        return generator.uniform(-scale, scale, shape)
    if law == "normal":
        return generator.normal(0.0, scale, shape)
    rows, columns = (shape[0], math.prod(shape[1:])) if shape else (1, 1)
    q, r = np.linalg.qr(generator.normal(size=(max(rows, columns), min(rows, columns))))
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # then q is distributed evenly over all orthogonal matrices
    return np.ascontiguousarray((q if rows >= columns else q.T).reshape(shape))
