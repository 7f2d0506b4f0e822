"""Networks: a loss with its inputs, target and prediction, built by hand or by `feedforward`.

A network is a description. Its parameters' numbers are a dictionary from name to array, which `initialize` draws.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from graphgrad.errors import GraphgradError
from graphgrad.graph import Graph, Tensor
from graphgrad.operator import OPERATORS, Operator
from graphgrad.operators import activations
from graphgrad.operators.losses import LOSSES, Loss
from graphgrad.operators.softmax import softmax
from graphgrad.types import FLOATS, Array, Dim, Shape, count, dtype_name, show

Activation: TypeAlias = "str | Operator | Callable[[Tensor], Tensor]"
Rule: TypeAlias = "str | Callable[[np.random.Generator, tuple[int, ...]], Any]"

# ---------------------------------------------------------------------------------------------------------------------
# Initial values
# ---------------------------------------------------------------------------------------------------------------------

#: The variance that a rule gives the entries of W, from the numbers of W's inputs and outputs.
VARIANCES: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda inputs, outputs: 2 / (inputs + outputs),  # Glorot and Bengio, 2010
    "he": lambda inputs, outputs: 2 / inputs,  # He et al., 2015: for activations that cut one half off, such as relu
    "lecun": lambda inputs, outputs: 1 / inputs,  # LeCun et al., 1998
}

RULES = (*[f"{name}{law}" for name in VARIANCES for law in ("", "_normal", "_uniform")], "orthogonal", "zeros", "auto")


def initial_law(rule: str, shape: tuple[int, ...]) -> tuple[str, float]:
    """What a rule draws the entries of a parameter from: "normal" and σ, "uniform" and its bound, "orthogonal", "zeros".

    A parameter of shape (outputs, inputs), as in x @ W.T. "he" alone is "he_normal". "auto" is "glorot" for matrices
    and zeros for biases and numbers.
    """
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
            raise GraphgradError(f"the initial value rule {rule!r} gave shape {show(drawn.shape)} where {show(shape)} is wanted")
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


# ---------------------------------------------------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """What is trained: the loss, the inputs and the target that a batch gives, and the prediction.

    `initial` says how parameters begin: a rule for all (see `initial_law`), or one by name, {"W1": "he", "W2": ...},
    where a rule may also be a function from (generator, shape) to numbers. The loss over a batch is taken to be a mean
    over samples wherever the losses of batches are put together.

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> x, y = g.input("x", ("N", 2)), g.input("y", ("N",))
    >>> p = x @ g.parameter("w", (2,)) + g.parameter("b")
    >>> gg.Network(loss=gg.mean((p - y) ** 2), inputs=[x], target=y, prediction=p)
    <network of w (2,), b (): 3 parameters>
    """

    loss: Tensor
    inputs: Sequence[Tensor]
    target: Tensor | None = None
    prediction: Tensor | None = None
    initial: Rule | Mapping[str, Rule] = "auto"
    widths: tuple[int, ...] = ()  # of a feedforward network
    threshold: float | None = None  # of a prediction that decides between two classes: above it, the target is 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", (self.inputs,) if isinstance(self.inputs, Tensor) else tuple(self.inputs))
        object.__setattr__(self, "parameters", _validated(self))
        _rules(self)

    @property
    def graph(self) -> Graph:
        return self.loss.graph

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """All parameters that the loss depends on, in the order in which they were made."""
        return self.__dict__["parameters"]  # type: ignore[no-any-return]
