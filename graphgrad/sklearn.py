"""scikit-learn's interface: `GraphClassifier` and `GraphRegressor`, for pipelines, grid searches and cross-validation.

`import graphgrad` does without it: `from graphgrad.sklearn import GraphClassifier` asks for scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

try:
    from sklearn.base import ClassifierMixin, RegressorMixin
except ImportError:
    message = 'graphgrad.sklearn needs scikit-learn, which is not installed: pip install "graphgrad[sklearn]"'
    raise ImportError(message) from None
from sklearn.metrics import accuracy_score, r2_score
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from graphgrad.errors import GraphgradError
from graphgrad.estimator import GraphEstimator
from graphgrad.networks import Network
from graphgrad.operators.losses import LOSSES, Loss
from graphgrad.types import Array

PROBABLE = ("cross_entropy", "binary_cross_entropy")  # losses of predictions that are probabilities
ONE_FOR_TWO = ("binary_cross_entropy", "hinge")  # losses that tell two classes apart by one output


@dataclass(eq=False, repr=False, kw_only=True)
class GraphClassifier(ClassifierMixin, GraphEstimator):  # type: ignore[misc]
    """A network as a classifier of scikit-learn: two or more classes, whose labels are of any type.

    `class_weight` maps labels to numbers by which `sample_weight` is multiplied, or is "balanced", which counts all
    samples, those that `early_stopping` sets aside included, as in scikit-learn's estimators. All other parameters are
    those of `GraphEstimator`. A `network` has a target of labels, or of a column for each class, or of one column
    for two classes.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = GraphClassifier((16, 16), ["tanh", "relu"], learning_rate=0.01, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    """

    class_weight: Any = None

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One epoch more on these samples, with the optimizer's state as it is. The first call names all classes."""
        if classes is None and not hasattr(self, "run_"):
            raise GraphgradError("the first partial_fit is told all classes: partial_fit(X, y, classes=np.unique(y))")
        return self._one_epoch(X, y, sample_weight, classes=classes)

    def predict(self, X: Any) -> Array:
        """The label of each sample, of shape (n_samples,)."""
        p = self._predicted(X)
        labels: Array = self.classes_[self._decided(self.run_.network, p)]
        return labels

    def _probable(self) -> bool:
        net = self.run_.network if hasattr(self, "run_") else None
        if self.network is None or net is None:
            return self.network is not None or self.loss == "auto" or _name(self.loss) in PROBABLE
        return net.classes is not None or net.threshold == 0.5

    @available_if(_probable)  # type: ignore[untyped-decorator, unused-ignore]
    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, of shape (n_samples, n_classes); columns are in the order of `classes_`."""
        p = self._predicted(X)
        if p.ndim == 1 or p.shape[1] == 1:
            p = np.hstack([1 - p.reshape(-1, 1), p.reshape(-1, 1)])
        total = p.sum(axis=1, keepdims=True)
        alone = self.run_.network.classes is None  # each class has a probability of its own
        if p.min() < 0 or not (alone or np.allclose(total, 1, atol=1e-3)):
            raise GraphgradError(
                "the network's prediction is no probability of each class; "
                "gg.Network(..., prediction=gg.softmax(z)) has one"
            )
        return p / np.maximum(total, np.finfo(p.dtype).tiny) if alone else p

    @available_if(lambda self: not self._probable())  # type: ignore[untyped-decorator, unused-ignore]
    def decision_function(self, X: Any) -> Array:
        """The network's prediction: a column for each class, or for two classes one number, above 0 for the second."""
        p = self._predicted(X)
        if p.ndim == 1 or p.shape[1] == 1:
            return p.reshape(-1) - (self.run_.network.threshold or 0.0)
        return p[:, 1] - p[:, 0] if len(self.classes_) == 2 else p

    # -- labels -------------------------------------------------------------------------------------------------------

    def _outputs(self) -> int:
        return len(self.classes_)

    def _loss(self) -> tuple[Any, int]:
        two = len(self.classes_) == 2
        loss = self.loss if self.loss != "auto" else "binary_cross_entropy" if two else "cross_entropy"
        return loss, 1 if two and _name(loss) in ONE_FOR_TWO else len(self.classes_)

    def _meet(self, y: Array) -> None:
        check_classification_targets(y)
        self._labels = LabelEncoder().fit(y)
        self.classes_ = self._labels.classes_
        if len(self.classes_) < 2:
            raise GraphgradError(f"a classifier tells two classes apart, but y has one class: {self.classes_[0]}")

    def _encoded(self, y: Array, weights: Array | None) -> tuple[Array, Array | None]:
        t = self._labels.transform(y)
        if self.class_weight is None:
            return t, weights
        alike = np.ones(len(t)) if weights is None else weights
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            totals = np.bincount(t, alike, len(self.classes_))
            factors = alike.sum() / (len(self.classes_) * np.where(totals > 0, totals, 1))
        else:
            factors = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        return t, alike * factors[t]

    def _target(self, net: Network, t: Array) -> Array:
        if net.classes is not None:
            if net.classes != len(self.classes_):
                raise GraphgradError(f"the network tells {net.classes} classes apart, but y has {len(self.classes_)}")
            return t
        assert net.target is not None
        shape, off = net.target.shape, -1.0 if net.threshold == 0.0 else 0.0  # hinge takes -1 and 1
        if len(shape) == 1 or shape[1] == 1:
            if len(self.classes_) != 2:
                raise GraphgradError(
                    f"the network's target is one number, which tells two classes apart, but y has {len(self.classes_)}"
                )
            return np.where(t == 1, 1.0, off).reshape(-1, *shape[1:])
        return np.where(t[:, None] == np.arange(len(self.classes_)), 1.0, off)

    def _decided(self, net: Network, prediction: Array) -> Array:
        if prediction.ndim > 1 and prediction.shape[1] > 1:
            return np.asarray(np.argmax(prediction, axis=1))
        return (prediction.reshape(-1) > (0.5 if net.threshold is None else net.threshold)).astype(np.int64)

    def _score(self, net: Network, prediction: Array, t: Array, weights: Array | None) -> float:
        return float(accuracy_score(t, self._decided(net, prediction), sample_weight=weights))


@dataclass(eq=False, repr=False, kw_only=True)
class GraphRegressor(RegressorMixin, GraphEstimator):  # type: ignore[misc]
    """A network as a regressor of scikit-learn: y has one number a sample, or several.

    All parameters are those of `GraphEstimator`. Targets are taken as they are; where their scale is far from 1,
    sklearn.compose.TransformedTargetRegressor with a StandardScaler around this estimator helps.

    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = GraphRegressor((16,), loss="huber", learning_rate=0.01, random_state=0).fit(scale(X), scale(y))
    >>> model.score(scale(X), scale(y)) > 0.5
    True
    """

    _accepted: ClassVar[dict[str, Any]] = {"y_numeric": True, "multi_output": True}

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One epoch more on these samples, with the optimizer's state as it is."""
        return self._one_epoch(X, y, sample_weight)

    def predict(self, X: Any) -> Array:
        """The prediction for each sample, of shape (n_samples,) or (n_samples, n_outputs), as y had it."""
        p = self._predicted(X)
        return p.reshape(len(p), *self._shape)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    # -- numbers ------------------------------------------------------------------------------------------------------

    def _outputs(self) -> int:
        return int(np.prod(self._shape))

    def _loss(self) -> tuple[Any, int]:
        return "mean_squared_error" if self.loss == "auto" else self.loss, self._outputs()

    def _meet(self, y: Array) -> None:
        self._shape = y.shape[1:]

    def _encoded(self, y: Array, weights: Array | None) -> tuple[Array, Array | None]:
        return y.reshape(len(y), -1), weights

    def _target(self, net: Network, t: Array) -> Array:
        assert net.target is not None
        return t[:, 0] if len(net.target.shape) == 1 and t.shape[1] == 1 else t

    def _score(self, net: Network, prediction: Array, t: Array, weights: Array | None) -> float:
        return float(r2_score(t, prediction.reshape(t.shape), sample_weight=weights))


def _name(loss: Any) -> str:
    """The name of one of the losses that there are; of a function of one's own, nothing."""
    found = LOSSES.get(loss) if isinstance(loss, str) else loss
    return found.name if isinstance(found, Loss) else ""
