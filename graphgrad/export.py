"""A network as one Python file that stands alone: derived, optimised and scheduled here, written by `module_writer`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphgrad.codegen.literals import array_text
from graphgrad.codegen.memory import assign
from graphgrad.codegen.module_writer import Module, Parameter, Part, module_source
from graphgrad.codegen.prepare import prepare
from graphgrad.codegen.program import Program
from graphgrad.codegen.schedule import schedule
from graphgrad.collector import paused_gc
from graphgrad.derivation import Derivation
from graphgrad.derive import derive
from graphgrad.errors import GraphgradError
from graphgrad.files import write_atomically
from graphgrad.initial import initial_law
from graphgrad.networks import Network
from graphgrad.notation import formula
from graphgrad.optimizers import Optimizer
from graphgrad.step import training_graph
from graphgrad.tensor import Tensor
from graphgrad.types import show, whole


def write_module(
    net: Network | Tensor, path: str | os.PathLike[str], optimizer: Optimizer | None = None, seed: int = 0
) -> None:
    """Write a network, or a scalar Tensor, as one readable Python file that imports numpy and nothing else.

    The file has `loss_and_gradient(x, y, parameters)`, `initial_parameters(seed)` and, where the network has a
    prediction, `predict(x, parameters)`; with an optimizer also `step(x, y, state)` and `initial_state(parameters)`.
    `initial_parameters(seed)` gives what `net.initialize(seed)` gives; `seed` is its default there.

    >>> import graphgrad as gg
    >>> gg.write_module(gg.feedforward([4, 8, 3]), "/tmp/net.py", optimizer=gg.Adam())  # doctest: +SKIP
    """
    write_atomically(path, module_text(net, optimizer, seed))


def module_text(net: Network | Tensor, optimizer: Optimizer | None = None, seed: int = 0) -> str:
    """The text of that file."""
    net, seed = as_network(net), whole("seed", seed, 0)
    with paused_gc():
        derivation = derive(net.loss, wrt=net.parameters)
        outputs = [net.loss, *(derivation[p] for p in net.parameters)]
        doc = f"The {net.loss.name}, and its gradient by each parameter: a float, and a dict of arrays."
        parts = [Part("loss_and_gradient", "gradient", finished(outputs), doc)]
        if net.prediction is not None:
            parts.append(Part("predict", "predict", finished([net.prediction]), "What the network answers."))
        parameters, draws = initial_values(net, seed)
        if optimizer is not None:
            training = training_graph(net, optimizer, net.parameters[0].dtype, laid_for={})
            doc = f"One step on a batch, which changes `state` in place. Gives the {net.loss.name} before it: a float."
            parts.append(Part("step", "step", finished([training.loss], training.updates), doc))
            if training.theta is not None:
                held, starts, turned = training.theta.name, training.starts, training.transposed
                parameters = [
                    replace(p, held=held, start=starts[p.name], transposed=p.name in turned) for p in parameters
                ]
        doc = description(net, derivation, optimizer)
        return module_source(Module(doc, tuple(parameters), tuple(parts), draws, seed))


def as_network(net: Network | Tensor) -> Network:
    """A scalar Tensor as a network without a prediction: all inputs that it depends on are the network's."""
    if isinstance(net, Network):
        return net
    if not isinstance(net, Tensor):
        raise GraphgradError(f"a Network or a scalar Tensor is wanted, but {type(net).__name__} was given")
    graph = net.graph
    needed = [graph.tensor(i) for i in graph.ancestors([net.id])]
    return Network(loss=net, inputs=[t for t in needed if t.node.operator.name == "input"])


def finished(outputs: Sequence[Tensor], updates: Mapping[Tensor, Tensor] | None = None) -> Program:
    """A program with an order and memory."""
    program, _ = prepare(outputs, updates or {}, exact=False, scaled=False)
    return assign(schedule(program))


def initial_values(net: Network, seed: int) -> tuple[list[Parameter], bool]:
    """Each parameter with an expression for its first value, and whether these draw from a generator.

    The expressions draw as `net.initialize` does, in the same order. Where a rule is a function of the user's own, its
    values for the seed are written out.
    """
    rules, shapes = net.rules(), net.shapes
    if any(callable(rule) for rule in rules.values()):
        values = net.initialize(seed)
        return [Parameter(n, a.shape, a.dtype.name, array_text(a)) for n, a in values.items()], False
    parameters = []
    for p in net.parameters:
        rule, shape = rules[p.name], shapes[p.name]
        law, scale = initial_law(str(rule), shape)
        dims = show(shape)
        text = {
            "zeros": f"np.zeros({dims}, np.{p.dtype})",
            "uniform": f"rng.uniform({-scale!r}, {scale!r}, {dims})",
            "normal": f"rng.normal(0.0, {scale!r}, {dims})",
            "orthogonal": f"_orthogonal(rng, {dims})",
        }[law]
        if law != "zeros" and p.dtype != "float64":
            text += f".astype(np.{p.dtype})"
        parameters.append(Parameter(p.name, shape, p.dtype, text))
    return parameters, any("rng" in p.initial for p in parameters)


def description(net: Network, derivation: Derivation, optimizer: Optimizer | None) -> str:
    """What the file is: the network's formulas, and how to use it."""
    graph = net.graph
    inputs = ", ".join(t.name for t in (*net.inputs, *([net.target] if net.target is not None else [])))
    what = "-".join(map(str, net.widths))
    title = f"The network {what}" if what else f"The loss {net.loss.name}"
    lines = [title + (", its gradient and a training step." if optimizer is not None else " and its gradient.")]
    lines += ["", "Written by graphgrad; it needs numpy and nothing else."]
    named = [i for i in graph.ancestors([net.loss.id]) if graph.nodes[i].operator.kind != "leaf" and i in graph.names]
    names = {i: graph.label(i) for i in graph.ancestors([net.loss.id]) if i in graph.names}
    if 0 < len(named) <= 40:
        lines += ["", *(f"    {graph.label(i)} = {formula(graph, i, names)}" for i in named)]
    lines += ["", "Use:", ""]
    if optimizer is None:
        lines += [
            "    parameters = initial_parameters(seed=0)",
            f"    loss, gradient = loss_and_gradient({inputs}, parameters)",
            "    for name in parameters:",
            "        parameters[name] -= 0.1 * gradient[name]",
        ]
    else:
        lines += [
            "    state = initial_state(initial_parameters(seed=0))",
            f"    loss = step({inputs}, state)  # once for each batch",
            "    parameters = parameters_of(state)",
        ]
    return "\n".join(lines)


__all__ = ["module_text", "write_module"]
