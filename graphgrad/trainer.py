"""The trainer: a network's training step, compiled, with the parameters and the state that it works on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgrad.codegen.loader import Function, compile
from graphgrad.errors import CallError, GraphgradError
from graphgrad.networks import Network
from graphgrad.optimizers import Adam, Optimizer
from graphgrad.samples import Data, as_array, as_data, check_batch_sizes, several
from graphgrad.step import numbers, training_graph
from graphgrad.types import Array, show

if TYPE_CHECKING:
    from graphgrad.codegen.profile import Profile

EVALUATION_BATCH = 1024  # samples that are evaluated in one call


class Trainer:
    """A network's training step, compiled: forward, backward and update in one call.

    With `exact=True` the step computes in the formulas' own order, without rewrites that move rounding; then what
    `state` gives and takes is the kept state bit for bit. `memory="low"` updates each parameter right after its
    gradient, whose memory the next one then uses, instead of all in one pass.

    >>> import graphgrad as gg
    >>> trainer = gg.Trainer(gg.feedforward([2, 8, 1], "tanh"), optimizer=gg.SGD(alpha=0.1), seed=0)
    >>> X = np.random.default_rng(0).normal(size=(64, 2))
    >>> losses = [trainer.step(X, X[:, :1] * X[:, 1:]) for _ in range(200)]
    >>> losses[-1] < losses[0] / 2
    True
    """

    def __init__(
        self,
        net: Network,
        optimizer: Optimizer | None = None,
        *,
        dtype: str = "float32",
        target: str = "numpy",
        seed: int = 0,
        parameters: Mapping[str, Any] | None = None,
        exact: bool = False,
        memory: str = "fast",
    ) -> None:
        if not isinstance(net, Network):
            raise GraphgradError(
                f"a Trainer trains a Network, but {type(net).__name__} was given; gg.Network(loss=...) makes one"
            )
        self.net = net
        self.optimizer = optimizer if optimizer is not None else Adam()
        self.dtype = dtype
        self._target = target
        self.graph = training_graph(net, self.optimizer, dtype, memory)
        self.function = compile([self.graph.loss], updates=self.graph.updates, target=target, copy=False, exact=exact)
        for leaf in (self.graph.k, *[slot.leaf for slot in self.graph.slots]):
            self.function.state[leaf.name] = np.zeros(numbers(leaf), leaf.dtype)
        named = {t.name: position for position, t in enumerate(self.graph.inputs)}
        order = [named[node["name"]] for node in self.function.program.inputs]
        self._order = None if order == sorted(order) else order  # None: that of a batch
        self._leaves = [self.graph.inputs[i] for i in order]
        self.parameters = net.initialize(seed) if parameters is None else parameters

    @property
    def source(self) -> str:
        """The generated code of a step."""
        return self.function.source

    def step(self, *batch: Data) -> float:
        """One update from a batch (xb, yb). The loss before it."""
        if self._order is not None:
            batch = tuple(batch[i] for i in self._order) if len(batch) == len(self._order) else batch
        return float(self.function.call(batch, self._converted)[0])

    def _converted(self, values: Sequence[Any]) -> list[Array]:
        """The arrays of a batch in the order in which the function takes them; floats may be of either dtype."""
        if len(values) != len(self._leaves):
            names = ", ".join(t.name for t in self.graph.inputs)
            raise CallError(f"a batch is ({names}), but {len(values)} arrays were given")
        return [as_array(t.name, a, t) for t, a in zip(self._leaves, values, strict=True)]

    def profile(self, *batch: Data) -> Profile:
        """Time each statement of a step on a batch (xb, yb); parameters and state are left as they are."""
        values = batch if self._order is None or len(batch) != len(self._order) else [batch[i] for i in self._order]
        return self.function.profiled(self._converted(values))

    # -- what it holds ------------------------------------------------------------------------------------------------

    @property
    def k(self) -> int:
        """The number of updates so far."""
        return int(self.function.state[self.graph.k.name])

    @property
    def parameters(self) -> dict[str, Array]:
        """The parameters by name, as copies. Assigning sets all of them."""
        held = self.function.state
        if self.graph.theta is None:
            return {name: held[p.name] for name, p in self.graph.parameters.items()}
        return self._parts(held[self.graph.theta.name])

    @parameters.setter
    def parameters(self, values: Mapping[str, Any]) -> None:
        arrays = self._named(
            "parameters", values, {name: (numbers(p), self.dtype) for name, p in self.graph.parameters.items()}
        )
        held = self.function.state
        if self.graph.theta is not None:
            held[self.graph.theta.name] = self._vector(arrays)
            return
        for name, p in self.graph.parameters.items():
            held[p.name] = arrays[name]

    @property
    def state(self) -> dict[str, Array]:
        """What the optimizer remembers, as copies: {"k": ..., "m.W1": ..., "m.b1": ...}. Assigning sets all of it.

        The names are the same whether parameters lie in one vector or apart.
        """
        held = self.function.state
        state = {"k": held[self.graph.k.name]}
        for slot in self.graph.slots:
            value = held[slot.leaf.name]
            if slot.weak:
                state[slot.name] = value
            elif slot.of:
                state[f"{slot.name}.{slot.of}"] = value
            else:
                state |= {f"{slot.name}.{name}": part for name, part in self._parts(value).items()}
        return state

    @state.setter
    def state(self, values: Mapping[str, Any]) -> None:
        arrays = self._named("state", values, {name: (a.shape, a.dtype.name) for name, a in self.state.items()})
        held = self.function.state
        held[self.graph.k.name] = arrays["k"]
        for slot in self.graph.slots:
            if slot.weak:
                held[slot.leaf.name] = arrays[slot.name]
            elif slot.of:
                held[slot.leaf.name] = arrays[f"{slot.name}.{slot.of}"]
            else:
                held[slot.leaf.name] = self._vector(
                    {name: arrays[f"{slot.name}.{name}"] for name in self.graph.parameters}
                )

    def _parts(self, vector: Array) -> dict[str, Array]:
        parts = {}
        for name, p in self.graph.parameters.items():
            start, shape = self.graph.starts[name], numbers(p)
            parts[name] = vector[start : start + math.prod(shape)].reshape(shape)
        return parts

    def _vector(self, arrays: Mapping[str, Array]) -> Array:
        return np.concatenate([arrays[name].ravel() for name in self.graph.parameters])

    def _named(
        self, what: str, values: Mapping[str, Any], wanted: Mapping[str, tuple[tuple[int, ...], str]]
    ) -> dict[str, Array]:
        """Arrays for exactly the names that are wanted, each of its shape and dtype."""
        if not isinstance(values, Mapping) or values.keys() != wanted.keys():
            given = ", ".join(map(str, values)) if isinstance(values, Mapping) else repr(values)
            raise CallError(f"{what}: {', '.join(wanted)} are wanted by name, but {given or 'nothing'} was given")
        arrays = {}
        for name, (shape, dtype) in wanted.items():
            array = np.asarray(values[name])
            if array.shape != shape or array.dtype.kind not in "iuf" or (dtype == "int64" and array.dtype.kind == "f"):
                raise CallError(
                    f"{what}: {name} is {dtype} of shape {show(shape)}, "
                    f"but {array.dtype.name} of shape {show(array.shape)} was given"
                )
            arrays[name] = array.astype(dtype)
        return arrays

    # -- evaluation ---------------------------------------------------------------------------------------------------

    def predict(self, X: Data) -> Array:
        """The prediction for samples X, in the trainer's dtype."""
        if self.graph.prediction is None:
            raise GraphgradError("the network has no prediction; gg.Network(..., prediction=p) names it")
        n = len(self.net.inputs)
        arrays = [
            as_array(name, a, t)
            for (name, a), t in zip(several("X", X, self.graph.inputs[:n]), self.graph.inputs[:n], strict=True)
        ]
        if self.net.batch and not len(arrays[0]):
            raise CallError("X has no samples")
        check_batch_sizes(self.graph.inputs[:n], arrays)
        return np.concatenate([parts[0] for parts, _ in self._evaluated(self._predictor, arrays)])

    def loss(self, X: Data, Y: Data = None) -> float:
        """The mean loss over samples, with the parameters as they are. Batches count by their number of samples."""
        return self.evaluate(X, Y)["loss"]

    def evaluate(self, X: Data, Y: Data = None) -> dict[str, float]:
        """The loss over samples, and the accuracy where the network classifies."""
        return self.measured(as_data(self.graph, self.net, X, Y, ("X", "Y")))

    def measured(self, arrays: Sequence[Array]) -> dict[str, float]:
        """The same of data that `as_data` has converted."""
        total = right = count = 0.0
        for (loss, *prediction), part in self._evaluated(self._evaluator, arrays):
            samples = len(part[0]) if self.net.batch else 1
            total, count = total + float(loss) * samples, count + samples
            if self.classifies:
                right += float(np.mean(self._correct(prediction[0], part[-1]))) * samples
        return {"loss": total / count, **({"accuracy": right / count} if self.classifies else {})}

    @property
    def classifies(self) -> bool:
        """Whether predictions are right or wrong: labels of classes, or a threshold between two."""
        return self.net.prediction is not None and (self.net.classes is not None or self.net.threshold is not None)

    def _correct(self, prediction: Array, target: Array) -> Array:
        if self.net.threshold is None:
            return np.asarray(np.equal(np.argmax(prediction, axis=-1), target))
        return np.asarray(np.equal(prediction > self.net.threshold, target > self.net.threshold))

    @cached_property
    def _evaluator(self) -> Function:
        outputs = [
            self.graph.loss,
            *([self.graph.prediction] if self.classifies and self.graph.prediction is not None else []),
        ]
        return compile(outputs, target=self._target)

    @cached_property
    def _predictor(self) -> Function:
        assert self.graph.prediction is not None
        return compile([self.graph.prediction], target=self._target)

    def _evaluated(self, function: Function, arrays: Sequence[Array]) -> Iterator[tuple[list[Array], list[Array]]]:
        """The results of a function over parts of the samples, with these parts."""
        held = {} if self.graph.theta is None else {self.graph.theta.name: self.function.state[self.graph.theta.name]}
        held = held or self.parameters
        order = [node["name"] for node in function.program.inputs]
        samples = len(arrays[0]) if self.net.batch else 1
        size = EVALUATION_BATCH if self.net.batch else 1
        for start in range(0, samples, size):
            part = [a[start : start + size] if self.net.batch else a for a in arrays]
            part = [np.asarray(a, t.dtype) for a, t in zip(part, self.graph.inputs, strict=False)]
            values = {**held, **{t.name: a for t, a in zip(self.graph.inputs, part, strict=False)}}
            yield function.call([values[name] for name in order]), part

    def __repr__(self) -> str:
        return f"<trainer of {self.net!r} by {self.optimizer!r} in {self.dtype}>"
