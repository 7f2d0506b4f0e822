"""Losses: each is one node, with its reduction inside, with weights or without.

A loss has a value ℓ for each element of the prediction (cross-entropy: for each row of logits), and `reduction` says
what becomes of these:

    "mean"   Σ ℓ / n               with weights   Σ w·ℓ / Σ w
    "sum"    Σ ℓ                   with weights   Σ w·ℓ
    "none"   ℓ                     with weights   w·ℓ

Weights are one a sample, of shape (N,); where ℓ has more axes, a weight counts for all values of its sample, and
weights may follow more of the leading axes. Integers and bools in target and weights take the prediction's dtype.
Prediction and target have one shape: (N, 1) beside (N,) would silently broadcast to (N, N), and is an error here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from graphgrad.errors import DTypeError, GraphgradError, ShapeError
from graphgrad.operator import Operator, register
from graphgrad.operators.activations import relu, sigmoid
from graphgrad.operators.choice import abs, clip, less, maximum, minimum, only, sign, where
from graphgrad.operators.elementwise import cast, exp, log, log1p, square
from graphgrad.operators.index import as_value, check_indices, checked_label, one_hot, pick_label
from graphgrad.operators.reduce import mean, sum
from graphgrad.operators.rows import Inferred, Node, number
from graphgrad.operators.shape import expand_dims, reshape
from graphgrad.operators.softmax import log_softmax, lowered, softmax
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS, Shape, as_float, count, promote, show

REDUCTIONS = ("mean", "sum", "none")
OPERANDS = ("prediction", "target", "weights")
Build: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Loss:
    """One loss: its values before reduction, from which its two rows are made, with weights and without.

    `reference` and `definition` give the values, from (prediction, target); `pullbacks` are the rules of prediction and
    target, from (g, prediction, target), where g is the adjoint of the values (of rank 0 where it is one for all). Both
    operands arrive as floats, integer labels excepted.
    """

    name: str
    short: str
    shape: Callable[..., Shape]  # checks the operands; the shape of the values
    defaults: Mapping[str, float]
    reference: Build
    definition: Build
    pullbacks: tuple[Build, Build]
    labels: bool = False  # integers in the target are classes, not numbers
    analytic: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "__name__", self.name)
        object.__setattr__(self, "__doc__", inspect.cleandoc(self.shape.__doc__ or ""))
        object.__setattr__(self, "plain", self._row(self.name, 2))
        object.__setattr__(self, "weighted", self._row(f"weighted_{self.name}", 3))

    def __call__(
        self, prediction: Any, target: Any, weights: Any = None, reduction: str = "mean", **attributes: float
    ) -> Tensor:
        operands = (prediction, target) if weights is None else (prediction, target, weights)
        row: Operator = getattr(self, "plain" if weights is None else "weighted")
        return row(*operands, reduction=reduction, **attributes)

    def __reduce__(self) -> Any:
        return registered_loss, (self.name,)

    def __repr__(self) -> str:
        own = "".join(f", {name}={value}" for name, value in self.defaults.items())
        return f"<loss {self.name}(prediction, target, weights=None, reduction='mean'{own})>"

    def _row(self, name: str, number: int) -> Operator:
        inner = ", ".join(f"{{{operand}:0}}" for operand in OPERANDS[:number])
        return register(
            Operator(
                name=name,
                operands=OPERANDS[:number],
                infer=self.infer,
                reference=self.evaluate,
                defaults={"reduction": "mean", **self.defaults},
                pullback=(self._rule(0), self._rule(1), self._weights_rule)[:number],
                definition=self.define,
                text=f"{self.name}({inner})",
                latex=rf"\operatorname{{{{{self.short}}}}}({inner})",
                analytic=self.analytic,
                doc=self.__doc__ or "",
            )
        )

    def infer(self, prediction: Node, target: Node, *weights: Node, reduction: str, **attributes: float) -> Inferred:
        """The shape rule."""
        if reduction not in REDUCTIONS:
            raise GraphgradError(f"{self.name}: reduction {reduction!r} is not one of {', '.join(REDUCTIONS)}")
        shape = self.shape(prediction, target, **attributes)
        for w in weights:
            if w.shape != shape[: max(len(w.shape), 1)]:
                wanted = (
                    f"one weight a sample has shape {show(shape[:1])}"
                    if shape
                    else "a single sample has a weight of shape ()"
                )
                raise ShapeError(
                    f"{self.name}: weights of shape {show(w.shape)} for values of shape {show(shape)}; {wanted}"
                )
        floats = [n for n in (target, *weights) if n.dtype in FLOATS]
        dtype = promote([(as_float(prediction.dtype), prediction.weak), *[(n.dtype, n.weak) for n in floats]])[0]
        numbers = {name: float(value) for name, value in attributes.items()}
        return Inferred(shape if reduction == "none" else (), dtype, {"reduction": reduction, **numbers})

    def evaluate(self, prediction: Any, target: Any, *weights: Any, reduction: str, **attributes: float) -> Any:
        """The oracle."""
        p = prediction if np.asarray(prediction).dtype.kind in "fc" else np.asarray(prediction, np.float64)
        dtype = np.asarray(p).dtype
        as_is = "fci" if self.labels else "fc"
        t = target if np.asarray(target).dtype.kind in as_is else np.asarray(target, dtype)
        values = self.reference(p, t, **attributes)
        if not weights:
            return values if reduction == "none" else np.sum(values) if reduction == "sum" else np.mean(values)
        w = weights[0] if np.asarray(weights[0]).dtype.kind in "fc" else np.asarray(weights[0], dtype)
        below = np.shape(values)[np.ndim(w) :]
        weighted = np.reshape(w, np.shape(w) + (1,) * len(below)) * values if below else w * values
        if reduction == "none":
            return weighted
        return np.sum(weighted) if reduction == "sum" else np.sum(weighted) / (np.sum(w) * int(np.prod(below)))

    def define(self, prediction: Tensor, target: Tensor, *weights: Tensor, reduction: str, **attributes: float) -> Any:
        """The composite written out."""
        p, t, *w = self._as_floats(prediction, target, *weights)
        values = self.definition(p, t, **attributes)
        if not w:
            return values if reduction == "none" else sum(values) if reduction == "sum" else mean(values)
        weighted = _wide(w[0], values.shape) * values
        if reduction == "none":
            return weighted
        return sum(weighted) if reduction == "sum" else sum(weighted) / _weight(w[0], values.shape)

    def _as_floats(self, prediction: Tensor, target: Tensor, *weights: Tensor) -> list[Tensor]:
        p = prediction if prediction.dtype in FLOATS else cast(prediction, "float64")
        labels = self.labels and target.dtype == "int64"
        rest = [t if t.dtype in FLOATS or (labels and t is target) else cast(t, p.dtype) for t in (target, *weights)]
        return [p, *rest]

    def _rule(self, position: int) -> Build:
        def rule(g: Tensor, *operands: Tensor, reduction: str, **attributes: float) -> Any:
            p, t, *w = self._as_floats(*operands[:-1])
            shape = self.shape(p.node, t.node, **attributes)
            if reduction == "mean":
                g = g / (_weight(w[0], shape) if w else as_value(g.graph, count(shape)))
            if w:
                g = g * _wide(w[0], shape)
            return self.pullbacks[position](g, p, t, **attributes)

        return rule

    def _weights_rule(self, g: Tensor, *operands: Tensor, reduction: str, **attributes: float) -> Any:
        """Of the mean, Σ w·ℓ / Σ w: the derivative by a weight is (its ℓ - the mean) / Σ w."""
        p, t, w = self._as_floats(*operands[:-1])
        values = self.definition(p, t, **attributes)
        below = tuple(range(len(w.shape), len(values.shape)))
        if reduction == "mean":
            return g / sum(w) * (mean(values, axis=below) - operands[-1])
        return g * sum(values, axis=below) if reduction == "sum" else sum(g * values, axis=below)


def _wide(w: Tensor, shape: Shape) -> Tensor:
    """Weights against all values of their samples."""
    return reshape(w, w.shape + (1,) * (len(shape) - len(w.shape)))


def _weight(w: Tensor, shape: Shape) -> Tensor:
    """The weight of all values together."""
    below = count(shape[len(w.shape) :])
    return sum(w) if below == 1 else sum(w) * as_value(w.graph, below)


#: Every loss by its name, and by its short one.
LOSSES: dict[str, Loss] = {}


def registered_loss(name: str) -> Loss:
    """The loss of a name: by it a loss is pickled, and deeply copied."""
    return LOSSES[name]


def loss(short: str, **parts: Any) -> Callable[[Callable[..., Shape]], Loss]:
    """The loss whose shape rule is the decorated function: parameters after prediction and target are attributes."""

    def decorate(shape: Callable[..., Shape]) -> Loss:
        name, parameters = shape.__name__, list(inspect.signature(shape).parameters.values())[2:]
        made = Loss(name, short, shape, {p.name: p.default for p in parameters}, **parts)
        LOSSES.update({name: made, short: made})
        return made

    return decorate


def _of_one_shape(name: str, prediction: Node, target: Node) -> Shape:
    if prediction.shape != target.shape:
        fits = count(prediction.shape) == count(target.shape)
        would = (
            f"gg.reshape(target, {show(prediction.shape)})" if fits else f"a target of shape {show(prediction.shape)}"
        )
        raise ShapeError(
            f"{name} of prediction {show(prediction.shape)} and target {show(target.shape)}: "
            f"the shapes are to be equal; {would} would fit"
        )
    return prediction.shape


# ---------------------------------------------------------------------------------------------------------------------
# Regression
# ---------------------------------------------------------------------------------------------------------------------


@loss(
    "mse",
    reference=lambda p, t: np.square(p - t),
    definition=lambda p, t: square(p - t),
    pullbacks=(lambda g, p, t: (2 * g) * (p - t), lambda g, p, t: (2 * g) * (t - p)),
    analytic=True,
)
def mean_squared_error(prediction: Node, target: Node) -> Shape:
    """The quadratic loss: (prediction - target)² for each element, and the mean of all of them."""
    return _of_one_shape("mean_squared_error", prediction, target)


@loss(
    "mae",
    reference=lambda p, t: np.abs(p - t),
    definition=lambda p, t: abs(p - t),
    pullbacks=(lambda g, p, t: g * sign(p - t), lambda g, p, t: g * sign(t - p)),
)
def mean_absolute_error(prediction: Node, target: Node) -> Shape:
    """|prediction - target| for each element. Its derivative at 0 is 0."""
    return _of_one_shape("mean_absolute_error", prediction, target)


def _huber(p: Any, t: Any, delta: float) -> Any:
    d = np.abs(p - t)
    return np.where(d <= delta, 0.5 * np.minimum(d, delta) ** 2, delta * (d - 0.5 * delta))


def _huber_definition(p: Any, t: Any, delta: float) -> Any:
    """With c = min(|d|, δ), both pieces are c·(|d| - c/2)."""
    d = abs(p - t)
    c = minimum(d, delta)
    return c * (d - 0.5 * c)


@loss(
    "huber",
    reference=_huber,
    definition=_huber_definition,
    pullbacks=(
        lambda g, p, t, delta: g * clip(p - t, -delta, delta),
        lambda g, p, t, delta: g * clip(t - p, -delta, delta),
    ),
)
def huber(prediction: Node, target: Node, delta: float = 1.0) -> Shape:
    """d²/2 up to |d| = delta, from there delta·(|d| - delta/2), with d = prediction - target: outliers pull less."""
    number("huber", "delta", delta, positive=True)
    return _of_one_shape("huber", prediction, target)


# ---------------------------------------------------------------------------------------------------------------------
# Classification, from logits
# ---------------------------------------------------------------------------------------------------------------------


def _cross_entropy(z: Any, t: Any) -> Any:
    shifted = z - np.max(z, axis=-1, keepdims=True)
    log_p = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    if t.dtype.kind == "i":
        return -np.take_along_axis(log_p, check_indices(t, z.shape[-1], False)[..., None], axis=-1)[..., 0]
    return -np.sum(t * log_p, axis=-1)


def _cross_entropy_definition(z: Any, t: Any) -> Any:
    """log Σ exp(z) - z[label], in the parts that softmax is computed by: those of the gradient."""
    if t.dtype != "int64":
        return -sum(t * log_softmax(z, axis=-1), axis=-1)
    last = len(z.shape) - 1
    z = lowered(z, (last,))
    total = reshape(sum(exp(z), axis=-1, keepdims=True), t.shape)
    return log(total) - pick_label(z, checked_label(t, z.shape[-1]))


def _logits_adjoint(g: Any, z: Any, t: Any) -> Any:
    """softmax(z) - the target as probabilities."""
    p = softmax(z, axis=-1)
    if t.dtype == "int64":
        return _each_row(g) * (p - one_hot(t, z.shape[-1], z.dtype))
    return _each_row(g) * (p * sum(t, axis=-1, keepdims=True) - t)


def _each_row(g: Any) -> Any:
    return expand_dims(g, -1) if g.shape else g


@loss(
    "ce",
    reference=_cross_entropy,
    definition=_cross_entropy_definition,
    pullbacks=(_logits_adjoint, lambda g, z, t: -_each_row(g) * log_softmax(z, axis=-1)),
    labels=True,
)
def cross_entropy(prediction: Node, target: Node) -> Shape:
    """-log of the probability that softmax of the logits gives the target class, for each row of logits.

    `prediction` holds logits of shape (..., C); `target` integer labels 0 ... C - 1 of shape (...), or probabilities of
    shape (..., C), for which it is -Σ target·log softmax(prediction). A label outside is an error of the call.
    """
    z, t = prediction.shape, target.shape
    if not z:
        raise ShapeError(
            "cross_entropy of a number: logits of shape (..., C) are wanted, with the classes along the last axis"
        )
    if t != (z[:-1] if target.dtype == "int64" else z):
        if t == z[:-1]:
            raise DTypeError(
                f"cross_entropy: labels are integers, but the target is {target.dtype}; "
                "gg.cast(target, 'int64') would fit"
            )
        if t == z:
            raise DTypeError(
                "cross_entropy: probabilities are floats, but the target is int64; "
                f"gg.cast(target, '{prediction.dtype}') would fit"
            )
        raise ShapeError(
            f"cross_entropy of logits {show(z)} and target {show(t)}: "
            f"integer labels of shape {show(z[:-1])} or probabilities of shape {show(z)} would fit"
        )
    return z[:-1]


@loss(
    "bce",
    reference=lambda z, t: np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z))),
    definition=lambda z, t: maximum(z, 0.0) - z * t + log1p(exp(-abs(z))),  # softplus(z) - z·t would cancel
    pullbacks=(lambda g, z, t: g * (sigmoid(z) - t), lambda g, z, t: -g * z),
)
def binary_cross_entropy(prediction: Node, target: Node) -> Shape:
    """-target·log σ(z) - (1 - target)·log(1 - σ(z)) of logits z = prediction; the target is 0, 1 or a probability."""
    return _of_one_shape("binary_cross_entropy", prediction, target)


@loss(
    "hinge",
    reference=lambda p, t: np.maximum(0, 1 - t * p),
    definition=lambda p, t: relu(1 - t * p),
    pullbacks=(
        lambda g, p, t: only(-g * t, less(t * p, 1.0)),
        lambda g, p, t: where(less(t * p, 1.0), -g * p, 0.0),
    ),
)
def hinge(prediction: Node, target: Node) -> Shape:
    """max(0, 1 - target·prediction) for targets -1 and 1, not 0 and 1. Its derivative at the edge is 0."""
    return _of_one_shape("hinge", prediction, target)


__all__ = ["binary_cross_entropy", "cross_entropy", "hinge", "huber", "mean_absolute_error", "mean_squared_error"]
