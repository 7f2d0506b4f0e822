"""The trainer: a network's training step, compiled, with the parameters and the state that it works on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from graphgrad.codegen.loader import Function, compile
from graphgrad.codegen.profile import Profile
from graphgrad.errors import CallError, GraphgradError
from graphgrad.networks import Network
from graphgrad.optimizers import Adam, Optimizer
from graphgrad.step import TrainingGraph, numbers, training_graph
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS, Array, show, solve_sizes

Data: TypeAlias = Any  # an array, or for several inputs a sequence of them or a mapping by name

EVALUATION_BATCH = 1024  # samples that are evaluated in one call


class Trainer:
    """A network's training step, compiled: forward, backward and update in one call.

    With `exact=True` the step computes in the formulas' own order, without rewrites that move rounding; then what
    `state` gives and takes is the kept state bit for bit. `memory="low"` updates each parameter right after its gradient,
    whose memory the next one then uses, instead of all in one pass.

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
        return [_array(t.name, a, t) for t, a in zip(self._leaves, values, strict=True)]

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
            _array(name, a, t)
            for (name, a), t in zip(_several("X", X, self.graph.inputs[:n]), self.graph.inputs[:n], strict=True)
        ]
        if self.net.batch and not len(arrays[0]):
            raise CallError("X has no samples")
        _check_sizes(self.graph.inputs[:n], arrays)
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
            values = {**held, **{t.name: a for t, a in zip(self.graph.inputs, part, strict=False)}}
            yield function.call([values[name] for name in order]), part

    def __repr__(self) -> str:
        return f"<trainer of {self.net!r} by {self.optimizer!r} in {self.dtype}>"


# ---------------------------------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------------------------------


#: What the target of a loss may hold, and how an error tells it.
TARGETS: dict[str, tuple[Callable[[Array], Array], str]] = {
    "binary_cross_entropy": (lambda t: (t >= 0) & (t <= 1), "targets from 0 to 1"),
    "hinge": (lambda t: np.abs(t) == 1, "the targets -1 and 1"),
}


def as_data(graph: TrainingGraph, net: Network, X: Data, Y: Data, names: tuple[str, str]) -> list[Array]:
    """X and Y as contiguous arrays of the network's dtypes, in the order of `graph.inputs`, checked."""
    n = len(net.inputs)
    pairs = _several(names[0], X, graph.inputs[:n])
    if net.target is None:
        if Y is not None:
            raise CallError(f"{names[1]} was given, but the network has no target")
    elif Y is None:
        raise CallError(f"the network has a target, {net.target.name}, but {names[1]} was not given")
    else:
        pairs.append((names[1], Y))
    arrays = [_array(name, value, t) for (name, value), t in zip(pairs, graph.inputs, strict=True)]
    given = [name for name, _ in pairs]
    if net.batch:
        first = len(arrays[0])
        for name, a in zip(given, arrays, strict=True):
            if len(a) != first:
                raise CallError(f"{given[0]} has {first} samples, but {name} has {len(a)}")
        if not first:
            raise CallError(f"{given[0]} has no samples")
    _check_sizes(graph.inputs, arrays, given)
    if net.classes is not None and net.target is not None:
        labels = arrays[-1]
        if labels.min() < 0 or labels.max() >= net.classes:
            raise CallError(
                f"{names[1]} holds labels from {labels.min()} to {labels.max()}, "
                f"but the network's {net.classes} classes are 0 to {net.classes - 1}"
            )
    if net.target is not None:
        check_target(net, arrays[-1], names[1])
    return arrays


def check_target(net: Network, target: Array, name: str) -> None:
    """Raises CallError for numbers that the network's loss has no meaning for, though it would compute with them."""
    node = net.loss.node
    if net.target is None or node.operator.name not in TARGETS or node.inputs[1] != net.target.id:
        return
    meant, told = TARGETS[node.operator.name]
    if not (fits := meant(target)).all():
        raise CallError(f"{name} holds {target[~fits].flat[0]:g}, but {node.operator.name} takes {told}")


def _several(name: str, data: Data, leaves: Sequence[Tensor]) -> list[tuple[str, Any]]:
    """One array for each input, with the name by which an error tells of it."""
    if len(leaves) == 1 and not isinstance(data, Mapping):
        return [(name, data)]
    wanted = [t.name for t in leaves]
    if isinstance(data, Mapping):
        if data.keys() != set(wanted):
            raise CallError(
                f"{name} maps {', '.join(wanted)} to arrays, but {', '.join(map(str, data)) or 'nothing'} was given"
            )
        return [(f"{name}[{n!r}]", data[n]) for n in wanted]
    if not isinstance(data, (tuple, list)) or len(data) != len(wanted):
        raise CallError(f"{name} is one array for each input, ({', '.join(wanted)}), or a mapping by name")
    return [(f"{name}[{i}]", a) for i, a in enumerate(data)]


def _array(name: str, value: Any, leaf: Tensor) -> Array:
    """Data as a contiguous array of a leaf's dtype and rank, every number finite."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise CallError(f"{name} is no array: its rows have different lengths") from None
    kind, floats = array.dtype.kind, leaf.dtype in FLOATS
    if kind not in "biuf" or (kind == "f" and not floats) or (leaf.dtype == "bool" and kind != "b"):
        hint = (
            "; integer labels are wanted, X.astype(int) makes them".replace("X", name)
            if kind == "f" and leaf.dtype == "int64"
            else ""
        )
        raise CallError(f"{name} is {array.dtype.name}, but {leaf.name} is {leaf.dtype}{hint}")
    if len(array.shape) != len(leaf.shape) or any(
        isinstance(d, int) and d != n for d, n in zip(leaf.shape, array.shape, strict=True)
    ):
        missing = leaf.shape[len(array.shape) :]
        hint = f"; {name}[:, None] would fit" if array.ndim == 1 and missing == (1,) else ""
        raise CallError(f"{name} has shape {show(array.shape)}, but {leaf.name} is {show(leaf.shape)}{hint}")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, leaf.dtype)
    if floats and not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise CallError(f"{name} is {array[where]} at {where} in {leaf.dtype}; every number must be finite")
    return array


def _check_sizes(leaves: Sequence[Tensor], arrays: Sequence[Array], names: Sequence[str] = ()) -> None:
    solve_sizes(
        (name, t.shape, a.shape) for name, t, a in zip(names or [t.name for t in leaves], leaves, arrays, strict=True)
    )
