"""Metrics: what is told of predictions beside the loss, and what training may be stopped by."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from graphgrad.errors import GraphgradError
from graphgrad.networks import Network
from graphgrad.schedules import is_number
from graphgrad.types import Array, show, size_names, whole

#: A metric of one's own: a number from the predictions for all samples and their targets.
Measure: TypeAlias = "Callable[[Array, Array], float]"


@dataclass(frozen=True)
class Metric:
    """A metric by name: its function, whether more is better, and whether it compares decisions or numbers."""

    name: str
    measure: Measure
    higher: bool
    decisions: bool = False  # of classes: then it takes what was decided and what is true


def _error(p: Array, t: Array) -> Array:
    return p.astype(np.float64) - t


def _r2(p: Array, t: Array) -> float:
    """1 - Σ(p - t)² / Σ(t - t̄)², the mean over columns; as ever, a constant target is 1 when hit and 0 when not."""
    t = t.astype(np.float64)  # in float32 the squares of large numbers overflow, and a column's sum loses digits
    varies = np.max(t, axis=0) > np.min(t, axis=0)  # of equal numbers, the mean may differ by rounding
    rest, spread = np.sum(_error(p, t) ** 2, axis=0), np.sum((t - np.mean(t, axis=0)) ** 2, axis=0)
    return float(np.mean(np.where(varies, 1 - rest / np.where(varies, spread, 1), rest == 0)))


def _f1(decided: Array, true: Array) -> float:
    """The mean over the classes that occur of 2·hits / (decided + true)."""
    labels = np.union1d(decided, true)
    both = [np.sum((decided == c) & (true == c)) for c in labels]
    either = [np.sum(decided == c) + np.sum(true == c) for c in labels]
    return float(np.mean([2 * b / e for b, e in zip(both, either, strict=True)]))


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("accuracy", lambda d, t: float(np.mean(d == t)), higher=True, decisions=True),
        Metric(
            "balanced_accuracy",
            lambda d, t: float(np.mean([np.mean(d[t == c] == c) for c in np.unique(t)])),
            higher=True,
            decisions=True,
        ),
        Metric("f1", _f1, higher=True, decisions=True),
        Metric("mean_squared_error", lambda p, t: float(np.mean(_error(p, t) ** 2)), higher=False),
        Metric("root_mean_squared_error", lambda p, t: float(np.sqrt(np.mean(_error(p, t) ** 2))), higher=False),
        Metric("mean_absolute_error", lambda p, t: float(np.mean(np.abs(_error(p, t)))), higher=False),
        Metric("max_error", lambda p, t: float(np.max(np.abs(_error(p, t)))), higher=False),
        Metric("r2", _r2, higher=True),
    )
}
SHORT = {"mse": "mean_squared_error", "rmse": "root_mean_squared_error", "mae": "mean_absolute_error"}


def classifies(net: Network) -> bool:
    """Whether predictions are right or wrong: labels of classes, or a threshold between two."""
    return net.prediction is not None and (net.classes is not None or net.threshold is not None)


def beside(prediction: Array, target: Array) -> Array:
    """A prediction in the shape of its target, from which it may differ by axes of length 1.

    Of (N, 1) and (N,) NumPy would compare each with each. Raises GraphgradError where the shapes do not fit.
    """
    if [d for d in prediction.shape if d != 1] != [d for d in target.shape if d != 1]:
        raise GraphgradError(
            f"a metric compares predictions of shape {show(prediction.shape)} with targets of shape "
            f"{show(target.shape)}; a function of both of your own would fit"
        )
    return prediction.reshape(target.shape)


def measured_columns(net: Network, metrics: Iterable[str], apart: bool) -> list[str]:
    """The columns of a history that are measured after each epoch; `apart`: of validation data."""
    if not apart:
        return list(metrics)
    names = ["loss", *(["accuracy"] if classifies(net) else []), *metrics]
    return [f"validation_{name}" for name in dict.fromkeys(names)]


def decided(net: Network, prediction: Array, target: Array) -> tuple[Array, Array]:
    """The classes that predictions decide for, and those that are true. Labels, or whether above the threshold."""
    if net.threshold is None:
        return np.argmax(prediction, axis=-1), target
    prediction = beside(prediction, target)
    return prediction > net.threshold, target > net.threshold


def check_of_samples(net: Network) -> None:
    """Raises GraphgradError where a prediction is not of each sample, so that parts of it cannot be put together."""
    p, size = net.prediction, net.batch
    if p is not None and size and size not in size_names(p.shape[0] if p.shape else 1):
        raise GraphgradError(
            f"the prediction {p.name} has shape {show(p.shape)}, but a prediction of each sample has the first "
            f"dimension {size}; gg.evaluate({p.name}, ...) computes it for all samples at once"
        )


def named(net: Network, metrics: str | Measure | Iterable[str | Measure]) -> tuple[Metric, ...]:
    """Metrics by name and as functions. Raises GraphgradError for a name that is none, or does not fit the network."""
    several = isinstance(metrics, Iterable) and not isinstance(metrics, str)
    given = list(metrics) if several else [metrics]  # type: ignore[arg-type]
    found: list[Metric] = []
    for one in given:
        if isinstance(one, str):
            metric = METRICS.get(SHORT.get(one, one))
            if metric is None:
                near = difflib.get_close_matches(one, [*METRICS, *SHORT], 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(METRICS)}"
                raise GraphgradError(f"no metric is called {one!r}{hint}")
            if metric.decisions and not classifies(net):
                raise GraphgradError(
                    f"{metric.name} compares classes, but the network's target is numbers; r2 or mae would fit"
                )
            if not metric.decisions and net.classes is not None:
                raise GraphgradError(f"{metric.name} compares numbers, but the target is classes; accuracy would fit")
        elif callable(one):
            metric = Metric(str(getattr(one, "__name__", type(one).__name__)), one, higher=False)
        else:
            raise GraphgradError(f"a metric is a name or a function of predictions and targets, but {one!r} was given")
        if net.prediction is None or net.target is None:
            raise GraphgradError(
                f"{metric.name} compares a prediction with a target, but the network lacks one; "
                "gg.Network(..., target=y, prediction=p) names them"
            )
        check_of_samples(net)
        if metric.name in ("loss", "epoch", "rate", *(m.name for m in found)):
            raise GraphgradError(f"two columns of the history would be called {metric.name}; rename the function")
        found.append(metric)
    return tuple(found)


def measured(net: Network, metric: Metric, prediction: Array, target: Array) -> float:
    """A metric's number. Raises GraphgradError where a function of the user's own gives none."""
    own = METRICS.get(metric.name) is not metric  # a function that might change its arguments, so it gets copies
    if metric.decisions:
        pair = decided(net, prediction, target)
    else:
        pair = (prediction if own else beside(prediction, target)), target
    value: Any = metric.measure(*[a.copy() if own else a for a in pair])
    try:
        return float(value)
    except (TypeError, ValueError):
        told = f"an array of shape {show(value.shape)}" if isinstance(value, np.ndarray) else repr(value)
        raise GraphgradError(f"the metric {metric.name} is a number, but it gave {told}") from None


@dataclass(frozen=True)
class EarlyStopping:
    """When to stop: the column of the history that is watched has not got better for `patience` epochs.

    Better is lower, or higher for the library's metrics that are known to be so, by more than `min_delta`; `higher`
    says which for one of your own, whatever its name. What is kept in the end are the parameters of the best epoch:
    those after its last update, though its "loss" was measured on the way, each batch before its update, as it is in
    scikit-learn. Other columns, those of the validation data above all, are measured with the parameters that are kept.
    """

    column: str = "validation_loss"
    patience: int = 10
    min_delta: float = 0.0
    higher: bool | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "patience", whole("EarlyStopping: patience", self.patience, 1))
        if not is_number(self.min_delta) or self.min_delta < 0:
            raise GraphgradError(f"EarlyStopping: min_delta is a number from 0 on, but {self.min_delta!r} was given")
        object.__setattr__(self, "min_delta", float(self.min_delta))

    @property
    def better_is_higher(self) -> bool:
        name = self.column.removeprefix("validation_")
        metric = METRICS.get(SHORT.get(name, name))
        return self.higher if self.higher is not None else metric is not None and metric.higher

    def better(self, value: float, best: float | None) -> bool:
        """Whether a value beats the best so far; what is not a number never does."""
        if not np.isfinite(value):
            return False
        if best is None:
            return True
        return value > best + self.min_delta if self.better_is_higher else value < best - self.min_delta
