"""Exponentials beside their sum: softmax, its logarithm, and log-sum-exp. None of them overflows.

Each subtracts the largest element first, which changes no value and so has no part in any derivative: every operator
here states its own rule. Their definitions share what they have in common.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad.operators.choice import maximum, minimum
from graphgrad.operators.elementwise import exp, log
from graphgrad.operators.reduce import float_array, floats, max, not_empty, one_at_least, reduced, sum, upright
from graphgrad.operators.rows import Inferred, Node, axes_of, operator
from graphgrad.operators.shape import reshape
from graphgrad.types import as_float


def lowered(x: Any, axis: tuple[int, ...]) -> Any:
    """x less its largest element: nothing is over 0, and one is 0."""
    x = floats(x)
    return x - max(x, axis, keepdims=True)


def _lowered(x: Any, axis: Any) -> Any:
    x = float_array(x)
    return x - np.max(np.real(x), axis=axis, keepdims=True)


def _softmax(x: Any, axis: Any) -> Any:
    e = np.exp(_lowered(x, axis))
    return e / np.sum(e, axis=axis, keepdims=True)


def _softmax_definition(x: Any, axis: tuple[int, ...]) -> Any:
    e = exp(lowered(x, axis))
    return e / sum(e, axis, keepdims=True)


def _softmax_rule(g: Any, x: Any, y: Any, axis: tuple[int, ...]) -> Any:
    return y * (g - sum(g * y, axis, keepdims=True))


@operator(
    reference=_softmax,
    pullback=_softmax_rule,
    definition=_softmax_definition,
    text="softmax({x:0}, {axis})",
    latex=r"\operatorname{{softmax}}({x:0})",
    requires=one_at_least,
    analytic=True,
)
def softmax(x: Node, axis: Any = -1) -> Inferred:
    """exp(x) / Σ exp(x), the sum over `axis` (or several): positive numbers that sum to 1."""
    axes = axes_of("softmax", x, axis)
    not_empty("softmax", x, axes)
    return Inferred(x.shape, as_float(x.dtype), {"axis": axes})


def _log_softmax(x: Any, axis: Any) -> Any:
    z = _lowered(x, axis)
    return z - np.log(np.sum(np.exp(z), axis=axis, keepdims=True))


def _log_softmax_definition(x: Any, axis: tuple[int, ...]) -> Any:
    z = lowered(x, axis)
    return z - log(sum(exp(z), axis, keepdims=True))


@operator(
    reference=_log_softmax,
    pullback=lambda g, x, y, axis: g - softmax(x, axis) * sum(g, axis, keepdims=True),
    definition=_log_softmax_definition,
    text="log_softmax({x:0}, {axis})",
    latex=r"\log\operatorname{{softmax}}({x:0})",
    requires=one_at_least,
    analytic=True,
)
def log_softmax(x: Node, axis: Any = -1) -> Inferred:
    """log(softmax(x)) = x - log Σ exp(x), the sum over `axis` (or several). It is finite where softmax rounds to 0."""
    axes = axes_of("log_softmax", x, axis)
    not_empty("log_softmax", x, axes)
    return Inferred(x.shape, as_float(x.dtype), {"axis": axes})


# ---------------------------------------------------------------------------------------------------------------------
# Log-sum-exp: infinities are values like others, so the largest element is subtracted only as far as it is finite
# ---------------------------------------------------------------------------------------------------------------------


def _lowered_exp(x: Any, axis: tuple[int, ...]) -> Any:
    x = floats(x)
    limit = float(np.finfo(x.dtype).max)
    return exp(x - minimum(maximum(max(x, axis, keepdims=True), -limit), limit))


def _exp_sum(x: Any, axis: Any) -> tuple[Any, Any, Any]:
    """The reference's parts: the largest element, exp(x - it), and their sum."""
    x = float_array(x)
    largest = np.max(np.real(x), axis=axis, keepdims=True)
    limit = np.finfo(x.dtype).max
    e = np.exp(x - np.clip(largest, -limit, limit))
    return largest, e, np.sum(e, axis=axis, keepdims=True)


def _logsumexp(x: Any, axis: Any, keepdims: bool) -> Any:
    largest, _, total = _exp_sum(x, axis)
    found = np.where(np.isinf(largest), largest, np.log(np.where(np.isinf(largest), 1, total)) + largest)
    return found if keepdims else np.squeeze(found, axis)


def _logsumexp_rule(g: Any, x: Any, y: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    return upright(g, x, axis) * exp_shares(x, axis)


def _logsumexp_definition(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """log Σ exp(x - m) + m. The sum is 1 at least, as one of its terms is exp(0), or 0 where all x are -inf."""
    total = sum(_lowered_exp(x, axis), axis, keepdims=True)
    found = log(maximum(total, 1.0)) + max(floats(x), axis, keepdims=True)
    return found if keepdims else reshape(found, reduced(x.shape, axis, keepdims))


@operator(
    reference=_logsumexp,
    pullback=_logsumexp_rule,
    definition=_logsumexp_definition,
    text="logsumexp({x:0}, {axis})",
    latex=r"\operatorname{{logsumexp}}({x:0})",
    requires=one_at_least,
    analytic=True,
)
def logsumexp(x: Node, axis: Any = None, keepdims: bool = False) -> Inferred:
    """log Σ exp(x), the sum over `axis` (None: over all)."""
    axes = axes_of("logsumexp", x, axis)
    not_empty("logsumexp", x, axes)
    return Inferred(reduced(x.shape, axes, keepdims), as_float(x.dtype), {"axis": axes, "keepdims": bool(keepdims)})


def _exp_shares(x: Any, axis: Any) -> Any:
    _, e, total = _exp_sum(x, axis)
    return e / total


def _exp_shares_definition(x: Any, axis: tuple[int, ...]) -> Any:
    e = _lowered_exp(x, axis)
    return e / sum(e, axis, keepdims=True)


@operator(
    reference=_exp_shares,
    pullback=_softmax_rule,
    definition=_exp_shares_definition,
    text="softmax({x:0}, {axis})",
    latex=r"\operatorname{{softmax}}({x:0})",
    requires=one_at_least,
    analytic=True,
)
def exp_shares(x: Node, axis: Any) -> Inferred:
    """softmax as the derivative of logsumexp: it shares that one's parts, and 0 stays 0 beside an infinity."""
    return Inferred(x.shape, as_float(x.dtype), {"axis": axes_of("exp_shares", x, axis)})


__all__ = ["log_softmax", "logsumexp", "softmax"]
