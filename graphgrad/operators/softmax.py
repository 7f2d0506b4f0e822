"""Softmax and its logarithm: stable, since the largest entry is taken off first."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad.operators.elementwise import abs, equal, exp, log, where
from graphgrad.operators.reduce import max, reduced, spread, sum
from graphgrad.operators.rows import Inferred, Node, axes_of, operator
from graphgrad.operators.shape import reshape
from graphgrad.types import as_float


def shifted(x: Any, axis: tuple[int, ...]) -> Any:
    """x less its largest entry along `axis`. The shift cancels in what follows, so no derivative goes through it."""
    return x - max(x, axis=axis, keepdims=True)


def _shifted(x: Any, axis: tuple[int, ...]) -> Any:
    return x - np.max(x.real, axis=axis, keepdims=True)


def _softmax(x: Any, axis: tuple[int, ...]) -> Any:
    e = np.exp(_shifted(np.asarray(x), axis))
    return e / np.sum(e, axis=axis, keepdims=True)


def _log_softmax(x: Any, axis: tuple[int, ...]) -> Any:
    z = _shifted(np.asarray(x), axis)
    return z - np.log(np.sum(np.exp(z), axis=axis, keepdims=True))


def _defined(x: Any, axis: tuple[int, ...]) -> Any:
    e = exp(shifted(x, axis))
    return e / sum(e, axis=axis, keepdims=True)


def _log_defined(x: Any, axis: tuple[int, ...]) -> Any:
    z = shifted(x, axis)
    return z - log(sum(exp(z), axis=axis, keepdims=True))


@operator(
    reference=_softmax,
    pullback=lambda g, x, y, axis: y * (g - sum(g * y, axis=axis, keepdims=True)),
    definition=_defined,
    text="softmax({x:0}, {axis})",
    latex=r"\operatorname{{softmax}}({x:0})",
    analytic=True,
)
def softmax(x: Node, axis: Any = -1) -> Inferred:
    """exp(x) / sum(exp(x)) along an axis, as torch.nn.functional.softmax: positive, with sum 1."""
    return Inferred(x.shape, as_float(x.dtype), {"axis": axes_of("softmax", x, axis)})


@operator(
    reference=_log_softmax,
    pullback=lambda g, x, y, axis: g - softmax(x, axis) * sum(g, axis=axis, keepdims=True),
    definition=_log_defined,
    text="log_softmax({x:0}, {axis})",
    latex=r"\operatorname{{log\,softmax}}({x:0})",
    analytic=True,
)
def log_softmax(x: Node, axis: Any = -1) -> Inferred:
    """The logarithm of softmax, finite where softmax underflows to zero."""
    return Inferred(x.shape, as_float(x.dtype), {"axis": axes_of("log_softmax", x, axis)})


def _logsumexp(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    top = np.max(np.asarray(x).real, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0).astype(top.dtype)
    result = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return result if keepdims else np.squeeze(result, axis=axis)


def _logsumexp_defined(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    top = max(x, axis=axis, keepdims=True)
    top = where(equal(abs(top), float("inf")), 0.0, top)  # inf - inf would be NaN
    result = log(sum(exp(x - top), axis=axis, keepdims=True)) + top
    return result if keepdims else reshape(result, reduced(x.shape, axis, keepdims))


@operator(
    reference=_logsumexp,
    pullback=lambda g, x, y, axis, keepdims: spread(g, x, axis) * softmax(x, axis),
    definition=_logsumexp_defined,
    text="logsumexp({x:0}, {axis})",
    latex=r"\operatorname{{logsumexp}}({x:0})",
    analytic=True,
)
def logsumexp(x: Node, axis: Any = None, keepdims: bool = False) -> Inferred:
    """log(sum(exp(x))) over `axis` (None: over all) without overflow, as torch.logsumexp."""
    axes = axes_of("logsumexp", x, axis)
    return Inferred(reduced(x.shape, axes, keepdims), as_float(x.dtype), {"axis": axes, "keepdims": bool(keepdims)})


__all__ = ["log_softmax", "logsumexp", "softmax"]
