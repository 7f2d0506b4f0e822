"""The training step as one graph: forward pass, loss, backward pass and the optimizer's formula.

All parameters lie in one vector (see `graphgrad.theta`), and all gradients in one vector g, so that the formula is
computed once for all of them. An optimizer that says `elementwise = False` gets it once for each parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphgrad.codegen.compiler import MEMORY
from graphgrad.derivation import Derivation
from graphgrad.derive import derive
from graphgrad.errors import GraphgradError
from graphgrad.graph import Graph
from graphgrad.networks import Network
from graphgrad.objective import Gradients, weight_shape, weighted_loss
from graphgrad.operators.slices import pack
from graphgrad.optimizers import SGD, Adam, Groups, Momentum, Optimizer
from graphgrad.rewrite import with_dtype
from graphgrad.tensor import Tensor
from graphgrad.theta import free_name, on_one_vector, transposed_matrices
from graphgrad.types import FLOATS, Sizes, show


@dataclass(frozen=True, slots=True)
class Slot:
    """One state of an optimizer: of one parameter, of all in one vector (`of` is ""), or a number (`weak`)."""

    name: str
    of: str
    leaf: Tensor
    weak: bool


@dataclass(frozen=True, slots=True)
class TrainingGraph:
    """A network with its derivative and an optimizer's formula in one graph."""

    graph: Graph
    derivation: Derivation
    loss: Tensor  # with weights, if samples have any
    inputs: tuple[Tensor, ...]  # then the target, if there is one, then the weights of samples
    parameters: dict[str, Tensor]  # leaves, or views of theta
    starts: dict[str, int]  # each parameter's first element in theta; empty without theta
    transposed: frozenset[str]  # the parameters that lie in theta as their transposes
    theta: Tensor | None
    k: Tensor
    slots: tuple[Slot, ...]
    updates: dict[Tensor, Tensor]
    sent: tuple[Tensor, ...] = ()  # gradients that leave the step, and
    received: tuple[Tensor, ...] = ()  # the leaves by which their sums over all processes come back


def training_graph(
    net: Network,
    optimizer: Optimizer,
    dtype: str = "float32",
    memory: str = "fast",
    *,
    gradients: Gradients | None = None,
    weighted: bool = False,
    parted: bool = False,
    laid_for: Sizes | None = None,
) -> TrainingGraph:
    """Forward pass, loss, backward pass and update of a network, in a graph of their own and in one float dtype.

    With `memory="low"` each parameter is updated on its own as soon as its gradient is there, which then needs no place
    beside the others. `weighted` makes the loss a weighted mean, by a further input with a weight for each sample.
    `parted` is for several processes: the gradients leave the step, and their sums come back by leaves. `laid_for` lets
    some matrices lie in theta as their transposes, where that is faster for batches of these sizes.
    """
    if memory not in MEMORY:
        raise GraphgradError(f"memory {memory!r} does not exist; there are: {', '.join(MEMORY)}")
    if isinstance(optimizer, type):
        raise GraphgradError(f"{optimizer.__name__} is a class; {optimizer.__name__}() is an optimizer")
    if not callable(getattr(optimizer, "update", None)):
        named = [kind.__name__ for kind in (SGD, Momentum, Adam) if kind.__name__.lower() == str(optimizer).lower()]
        hint = f"; gg.{named[0]}() is one" if named else ""
        raise GraphgradError(f"an optimizer has a method update(theta, g, k, state), but {optimizer!r} has none{hint}")
    if dtype not in FLOATS:
        raise GraphgradError(f"a network is trained in {' or '.join(FLOATS)}, but {dtype!r} was given")
    if isinstance(optimizer, Groups):
        optimizer.check(net.shapes)
    gradients = gradients or Gradients()
    by_name = isinstance(gradients.l2, Mapping)
    packed = bool(getattr(optimizer, "elementwise", True)) and memory == "fast" and not by_name
    leaves = [*net.inputs, *([net.target] if net.target is not None else [])]
    outputs = [net.loss, *leaves, *net.parameters]
    theta: Tensor | None = None
    starts: dict[str, int] = {}
    turned = transposed_matrices(net, dtype, laid_for) if packed and laid_for is not None else frozenset()
    kept: dict[str, Tensor] = {}
    if packed:
        graph, theta, starts, where, kept = on_one_vector(outputs, net.parameters, turned, dtype)
    else:
        graph, where = with_dtype(outputs, dtype)
    parameters = {p.name: where[p.id] for p in net.parameters}
    inputs = [where[t.id] for t in leaves]
    loss = where[net.loss.id]
    if weighted:
        inputs.append(graph.input(free_name(graph, "sample_weight"), weight_shape(net), dtype))
        loss = weighted_loss(loss, inputs[-1]).named(free_name(graph, "weighted_loss"))
    by = {name: optimizer.of(name) if isinstance(optimizer, Groups) else optimizer for name in parameters}
    trained = {name: kept.get(name, p) for name, p in parameters.items() if by[name] is not None}
    d = derive(loss, wrt=list(trained.values()))
    k = graph.state(free_name(graph, "k"), (), "int64", weak=True)
    states = _States(graph)
    updates: dict[Tensor, Tensor] = {p: p for name, p in parameters.items() if name not in trained}
    g = [d[p] for p in trained.values()]
    values = list(trained.values())
    if theta is not None:
        g, values = [pack(g).named(free_name(graph, "g"))], [theta]
    sent, received = (tuple(g), tuple(_arriving(graph, g))) if parted else ((), ())
    names = list(trained) if theta is None else ["theta"]
    for name, value, dx in zip(names, values, gradients.adjusted(received or g, values, names), strict=True):
        own = optimizer
        if theta is None:
            own, states.of = by[name] or optimizer, name
            states.group = optimizer.pattern(name) if isinstance(optimizer, Groups) else ""
        updates |= _checked_updates(own, value, dx, k, states)
    return TrainingGraph(
        graph=graph,
        derivation=d,
        loss=loss,
        inputs=tuple(inputs),
        parameters=parameters,
        starts=starts,
        transposed=turned,
        theta=theta,
        k=k,
        slots=tuple(states.slots.values()),
        updates={**updates, k: k + 1},
        sent=sent,
        received=received,
    )


def _arriving(graph: Graph, gradients: Sequence[Tensor]) -> list[Tensor]:
    return [graph.input(free_name(graph, "g_sum"), g.shape, g.dtype) for g in gradients]


class _States:
    """The `state` that an optimizer's formula asks."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.of = ""  # the parameter whose formula is being built; "" for all in one vector
        self.group = ""  # the pattern of its group: a number is shared by a group
        self.theta: Tensor | None = None
        self.slots: dict[tuple[str, str], Slot] = {}

    def __call__(self, name: str, *, weak: bool = False) -> Tensor:
        assert self.theta is not None
        of = "" if weak else self.of
        name = f"{name}[{self.group}]" if weak and self.group else name
        slot = self.slots.get((name, of))
        if slot is None:
            wish = free_name(self.graph, f"{name}_{of}" if of else name)
            leaf = self.graph.state(
                wish, () if weak else self.theta.shape, "float64" if weak else self.theta.dtype, weak=weak
            )
            slot = self.slots[name, of] = Slot(name, of, leaf, weak)
        if slot.weak != weak:
            raise GraphgradError(f"the optimizer asks for its state {name} as a number and as a tensor")
        return slot.leaf


def _checked_updates(
    optimizer: Optimizer, theta: Tensor, g: Tensor, k: Tensor, states: _States
) -> dict[Tensor, Tensor]:
    """What the optimizer's formula makes of one tensor of parameters."""
    states.theta = theta
    own = type(optimizer).__name__
    updates = optimizer.update(theta, g, k, states)
    if not isinstance(updates, Mapping) or theta not in updates:
        raise GraphgradError(
            f"{own}.update returns a mapping from theta and its states to their new values, but returned {updates!r}"
        )
    allowed = {theta, *(slot.leaf for slot in states.slots.values())}
    for leaf, value in updates.items():
        if not isinstance(leaf, Tensor) or leaf not in allowed:
            raise GraphgradError(
                f"{own}.update gives a new value to {leaf!r}, which is neither theta nor one of its states"
            )
        if not isinstance(value, Tensor) or value.shape != leaf.shape:
            given = f"shape {show(value.shape)}" if isinstance(value, Tensor) else repr(value)
            raise GraphgradError(f"{own}.update gives {leaf.name} of shape {show(leaf.shape)} a new value of {given}")
    return dict(updates)
