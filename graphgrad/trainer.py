"""The trainer: a network's training step, compiled, with the parameters and the state that it works on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgrad.codegen.compiler import compile
from graphgrad.collector import paused_gc
from graphgrad.errors import CallError, GraphgradError
from graphgrad.evaluate import plain_array, within
from graphgrad.evaluation import Evaluation
from graphgrad.networks import Network
from graphgrad.objective import Gradients
from graphgrad.optimizers import Adam, Optimizer
from graphgrad.parallel import Processes, SummedStep
from graphgrad.samples import Data, as_array
from graphgrad.step import training_graph
from graphgrad.theta import numbers, transposed_matrices
from graphgrad.types import FLOATS, Array, Sizes, show

if TYPE_CHECKING:
    from graphgrad.codegen.profile import Profile


class Trainer:
    """A network's training step, compiled: forward, backward and update in one call.

    With `exact=True` the step computes in the formulas' own order, without rewrites that move rounding; then what
    `state` gives and takes is the kept state bit for bit. `memory="low"` updates each parameter right after its
    gradient, whose memory the next one then uses, instead of all in one pass, and computes cheap values twice where
    that saves memory. `l2`, `clip_value` and `clip_norm` adjust gradients as `graphgrad.objective.Gradients` tells;
    `weighted` makes the loss a weighted mean: then a batch is (xb, yb, wb), with a weight for each sample. With
    `processes` it is one of several, and `summed` is its step.

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
        l2: float | Mapping[str, float] = 0.0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        weighted: bool = False,
        processes: Processes | None = None,
    ) -> None:
        if not isinstance(net, Network):
            raise GraphgradError(
                f"a Trainer trains a Network, but {type(net).__name__} was given; gg.Network(loss=...) makes one"
            )
        self.net = net
        self.optimizer = optimizer if optimizer is not None else Adam()
        self.dtype = dtype
        self._target = target
        self._graph = partial(
            training_graph,
            net,
            self.optimizer,
            dtype,
            memory,
            gradients=Gradients(l2, clip_value, clip_norm),
            weighted=weighted,
            parted=processes is not None,
        )
        self._compile = partial(compile, target=target, exact=exact, copy=False, memory=memory)
        self._settled = processes is not None  # whether how values lie is settled, which the first batch does
        self._make({})
        self.parameters = net.initialize(seed) if parameters is None else parameters
        self.summed = None if processes is None else SummedStep(self, processes)

    def _make(self, sizes: Sizes) -> None:
        """The step's graph and function, suited to batches of these sizes; its states are zeros."""
        with paused_gc():
            graph = self._graph(laid_for=sizes)
            function = self._compile([] if graph.sent else [graph.loss], graph.updates)
        for leaf in (graph.k, *[slot.leaf for slot in graph.slots]):
            function.state[leaf.name] = np.zeros(numbers(leaf), leaf.dtype)
        given = graph.received or graph.inputs
        named = {t.name: position for position, t in enumerate(given)}
        order = [named[node["name"]] for node in function.program.inputs]
        self._given = len(given)  # arrays of a batch, of which the step may have no use for some
        self._order = None if order == list(range(len(given))) else order  # None: that of a batch
        self._leaves = [given[i] for i in order]
        self.graph, self.function = graph, function

    @property
    def source(self) -> str:
        """The generated code of a step."""
        return self.function.source

    def step(self, *batch: Data) -> float:
        """One update from a batch (xb, yb). The loss before it.

        Arrays of the step's very dtypes are taken as they are: nobody looks at each of their numbers, as `gg.train`
        does once before it begins. Others are converted, and have to be finite.
        """
        if self._order is not None:
            batch = self._taken(batch)
        function = self.function
        lock = function.lock
        if lock.owner == get_ident() and not lock.busy:  # see Turn
            lock.busy = True
            try:
                if lock.owner and (results := function.repeated(batch)) is not None:
                    return results[0].item()  # type: ignore[no-any-return]
            except Exception as error:
                raise function.told(error) from error
            finally:
                lock.busy = False
        with lock:
            values: Sequence[Any] = batch
            if not self._settled:
                values = self.function.as_arrays(batch, self._converted)
                self._settle([a.shape for a in values])
            return self.function.call(values, self._converted)[0].item()  # type: ignore[no-any-return]

    def settle(self, *shapes: tuple[int, ...]) -> None:
        """Settle by the shapes of a batch how values lie in a step, which else its first batch does, for good.

        So that a run that goes on with the rest of an epoch takes the steps that it would have taken.
        """
        with self.function.lock:
            self._settle(shapes if self._order is None else [shapes[i] for i in self._order])

    def _settle(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """If parameters had better lie otherwise in theta, the step is made anew, and takes over what it holds."""
        if self._settled:
            return
        sizes, now = self.function.sizes(shapes), self.graph.transposed
        if self.graph.theta is not None and transposed_matrices(self.net, self.dtype, sizes, now) != now:
            anew, kept = object.__new__(type(self)), self.kept()
            vars(anew).update(vars(self))
            anew._make(sizes)
            anew.parameters = self.parameters
            anew.keep({name: v for name, (v, _) in kept.items()}, {name: s for name, (_, s) in kept.items()})
            anew.function.lock = self.function.lock  # which a thread may be waiting for
            vars(self).update(vars(anew))  # at once, for a signal's handler may look, or Ctrl-C may come
        self.function.settle(shapes)
        self._settled = True

    def _converted(self, values: Sequence[Any]) -> list[Array]:
        """The arrays of a batch in the order in which the function takes them; floats may be of either dtype."""
        if self.summed is not None:
            raise CallError(
                "this trainer is one of several processes, whose steps gg.train takes; a run's own trainer is of one"
            )
        if len(values) != len(self._leaves):
            raise self._miscounted(values)
        return [as_array(t.name, a, t) for t, a in zip(self._leaves, values, strict=True)]

    def profile(self, *batch: Data) -> Profile:
        """Time each statement of a step on a batch (xb, yb); parameters and state are left as they are."""
        values = batch if self._order is None or self.summed is not None else self._taken(batch)
        with self.function.lock:
            arrays = self._converted(values)
            self._settle([a.shape for a in arrays])
            return self.function.profiled(arrays)

    def _taken(self, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        """What the step's function takes of a batch, in its order."""
        if len(batch) != self._given:
            raise self._miscounted(batch)
        return tuple([batch[i] for i in self._order or ()])

    def _miscounted(self, batch: Sequence[Any]) -> CallError:
        names = ", ".join(t.name for t in self.graph.inputs)
        return CallError(f"a batch is ({names}), but {len(batch)} arrays were given")

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
        return {
            name: np.asarray(value * np.asarray(scale, value.dtype)) for name, (value, scale) in self.kept().items()
        }

    @state.setter
    def state(self, values: Mapping[str, Any]) -> None:
        self.keep(values, {})

    def kept(self) -> dict[str, tuple[Array, float]]:
        """The same in the units in which the step keeps it, and what these are multiplied by to be the state."""
        state = {"k": self.function.state.kept(self.graph.k.name)}
        for slot in self.graph.slots:
            value, scale = self.function.state.kept(slot.leaf.name)
            if slot.weak:
                state[slot.name] = value, scale
            elif slot.of:
                state[f"{slot.name}.{slot.of}"] = value, scale
            else:
                state |= {f"{slot.name}.{name}": (part, scale) for name, part in self._parts(value).items()}
        return state

    def keep(self, values: Mapping[str, Any], scales: Mapping[str, float]) -> None:
        """Take what `kept` gave: arrays, and scales other than 1. Bit for bit where the step has the same units."""
        arrays = self._named("state", values, {name: (a.shape, a.dtype.name) for name, a in self.state.items()})
        held = self.function.state
        held[self.graph.k.name] = arrays["k"]
        for slot in self.graph.slots:
            if slot.weak:
                name, array = slot.name, arrays[slot.name]
            elif slot.of:
                name = f"{slot.name}.{slot.of}"
                array = arrays[name]
            else:
                name = f"{slot.name}.{next(iter(self.graph.parameters))}"
                array = self._vector({p: arrays[f"{slot.name}.{p}"] for p in self.graph.parameters})
            held.keep(slot.leaf.name, array, scales.get(name, 1.0))

    def _parts(self, vector: Array) -> dict[str, Array]:
        parts = {}
        for name, p in self.graph.parameters.items():
            start, shape = self.graph.starts[name], numbers(p)
            part = vector[start : start + math.prod(shape)]
            turned = name in self.graph.transposed
            parts[name] = np.ascontiguousarray(part.reshape(shape[::-1]).T) if turned else part.reshape(shape)
        return parts

    def _vector(self, arrays: Mapping[str, Array]) -> Array:
        turned = self.graph.transposed
        return np.concatenate(
            [(arrays[name].T if name in turned else arrays[name]).ravel() for name in self.graph.parameters]
        )

    def _named(
        self, what: str, values: Mapping[str, Any], wanted: Mapping[str, tuple[tuple[int, ...], str]]
    ) -> dict[str, Array]:
        """Arrays for exactly the names that are wanted, each of its shape and dtype."""
        if not isinstance(values, Mapping) or values.keys() != wanted.keys():
            given = ", ".join(map(str, values)) if isinstance(values, Mapping) else repr(values)
            raise CallError(f"{what}: {', '.join(wanted)} are wanted by name, but {given or 'nothing'} was given")
        arrays = {}
        for name, (shape, dtype) in wanted.items():
            array = plain_array(name, values[name])
            fits = array.dtype.kind in "iuf" if dtype in FLOATS else np.can_cast(array.dtype, dtype)
            if array.shape != shape or not fits:
                raise CallError(
                    f"{what}: {name} is {dtype} of shape {show(shape)}, "
                    f"but {array.dtype.name} of shape {show(array.shape)} was given"
                )
            arrays[name] = within(name, array, dtype)
        return arrays

    # -- evaluation ---------------------------------------------------------------------------------------------------

    @cached_property
    def evaluation(self) -> Evaluation:
        """The network's forward pass in the trainer's dtype."""
        return Evaluation(self.net, self.dtype, self._target)

    def predict(self, X: Data) -> Array:
        """The prediction for samples X, in the trainer's dtype."""
        return self.evaluation.predict(self.parameters, X)

    def loss(self, X: Data, Y: Data = None) -> float:
        """The mean loss over samples, with the parameters as they are. Batches count by their number of samples."""
        return self.evaluate(X, Y)["loss"]

    def evaluate(self, X: Data, Y: Data = None) -> dict[str, float]:
        """The loss over samples, and the accuracy where the network classifies."""
        return self.evaluation.evaluate(self.parameters, X, Y)

    def __repr__(self) -> str:
        return f"<trainer of {self.net!r} by {self.optimizer!r} in {self.dtype}>"
