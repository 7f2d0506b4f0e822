"""A network without its derivative: predictions, loss and metrics of samples, for parameters that are given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from graphgrad.codegen.compiler import compile
from graphgrad.codegen.loader import Function
from graphgrad.errors import CallError, GraphgradError
from graphgrad.metrics import Metric, check_of_samples, classifies, decided, measured
from graphgrad.networks import Network
from graphgrad.rewrite import with_dtype
from graphgrad.samples import Data, as_data, as_samples, check_batch_sizes, several
from graphgrad.sources import Samples, taken
from graphgrad.types import Array

PART = 1024  # samples that are evaluated in one call


@dataclass
class Sums:
    """Of some samples: the sum of losses, how many were right, and of how many; and what metrics want, if any do."""

    loss: float = 0.0
    right: float = 0.0
    count: float = 0.0
    predictions: list[Array] = field(default_factory=list)
    targets: list[Array] = field(default_factory=list)


def joined(parts: Sequence[Array]) -> Array:
    """The parts of samples as one array; where there are no batches, it is one of any shape."""
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


class Evaluation:
    """A network's forward pass in one float dtype, compiled when it is first asked for.

    >>> import graphgrad as gg
    >>> net = gg.feedforward([2, 3, 1])
    >>> Evaluation(net, "float64").predict(net.initialize(0), np.ones((5, 2))).shape
    (5, 1)
    """

    def __init__(self, net: Network, dtype: str, target: str = "numpy") -> None:
        self.net, self._target = net, target
        leaves = [*net.inputs, *([net.target] if net.target is not None else [])]
        heads = [net.loss, *([net.prediction] if net.prediction is not None else [])]
        _, where = with_dtype([*heads, *leaves, *net.parameters], dtype)
        self.leaves = tuple(where[t.id] for t in leaves)
        self._loss = where[net.loss.id]
        self._prediction = None if net.prediction is None else where[net.prediction.id]

    def predict(self, parameters: Mapping[str, Array], X: Data) -> Array:
        """The prediction for samples X."""
        if self._prediction is None:
            raise GraphgradError("the network has no prediction; gg.Network(..., prediction=p) names it")
        check_of_samples(self.net)
        leaves = self.leaves[: len(self.net.inputs)]
        arrays = as_samples(self.net, several("X", X, leaves), leaves)
        if self.net.batch and not len(arrays[0]):
            raise CallError("X has no samples")
        check_batch_sizes(leaves, arrays)
        parts = self._parts(self._predictor, parameters, arrays, None)
        return joined([results[0] for results, _ in parts])

    def evaluate(self, parameters: Mapping[str, Array], X: Data, Y: Data) -> dict[str, float]:
        """The mean loss over samples, and the accuracy where the network classifies."""
        return self.measure(parameters, as_data(self.leaves, self.net, X, Y, ("X", "Y")))

    def measure(
        self,
        parameters: Mapping[str, Array],
        arrays: Sequence[Samples],
        metrics: Sequence[Metric] = (),
        rows: Array | None = None,
    ) -> dict[str, float]:
        """The same and metrics, of data that `as_data` has converted: all samples, or those with these indices."""
        return self.measures([self.sums(parameters, arrays, rows, keep=bool(metrics))], metrics)

    def sums(
        self, parameters: Mapping[str, Array], arrays: Sequence[Samples], rows: Array | None, keep: bool = False
    ) -> Sums:
        """What the measures of samples are made of; `keep` keeps their predictions, which metrics want."""
        found = Sums()
        known = classifies(self.net)
        for (loss, *prediction), part in self._parts(self._evaluator, parameters, arrays, rows):
            samples = len(part[0]) if self.net.batch else 1
            found.loss, found.count = found.loss + float(loss) * samples, found.count + samples
            if known:
                found.right += float(np.mean(np.equal(*decided(self.net, prediction[0], part[-1])))) * samples
            if keep:
                found.predictions.append(prediction[0])
                found.targets.append(part[-1])
        return found

    def measures(self, parts: Sequence[Sums], metrics: Sequence[Metric] = ()) -> dict[str, float]:
        """Loss, accuracy and metrics of samples from the sums over their parts."""
        count = sum(part.count for part in parts)
        found = {"loss": sum(part.loss for part in parts) / count}
        if classifies(self.net):
            found["accuracy"] = sum(part.right for part in parts) / count
        if metrics:
            p = joined([a for part in parts for a in part.predictions])
            t = joined([a for part in parts for a in part.targets])
            found |= {m.name: measured(self.net, m, p, t) for m in metrics}
        return found

    @cached_property
    def _evaluator(self) -> Function:
        return compile([self._loss, *([self._prediction] if self._prediction is not None else [])], target=self._target)

    @cached_property
    def _predictor(self) -> Function:
        assert self._prediction is not None
        return compile([self._prediction], target=self._target)

    def _parts(
        self, function: Function, parameters: Mapping[str, Array], arrays: Sequence[Samples], rows: Array | None
    ) -> Iterator[tuple[list[Array], list[Array]]]:
        """The results of a function over parts of the samples, with these parts."""
        order = [node["name"] for node in function.program.inputs]
        samples = 1 if not self.net.batch else len(arrays[0]) if rows is None else len(rows)
        size = PART if self.net.batch else 1
        for start in range(0, samples, size):
            chosen = slice(start, start + size) if rows is None else rows[start : start + size]
            some = chosen if self.net.batch else None
            part = [taken(a, some, t.dtype) for a, t in zip(arrays, self.leaves, strict=False)]
            values = {**parameters, **{t.name: a for t, a in zip(self.leaves, part, strict=False)}}
            yield function.call([values[name] for name in order]), part
