"""Networks: a loss with its inputs, target and prediction, built by hand or by `feedforward`.

A network is a description. Its parameters' numbers are a dictionary from name to array, which `initialize` draws.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from graphgrad.errors import DTypeError, GraphgradError
from graphgrad.graph import Graph
from graphgrad.initial import RULES, Rule, draw, is_rule
from graphgrad.operator import OPERATORS, Operator
from graphgrad.operators import activations
from graphgrad.operators.losses import LOSSES, Loss
from graphgrad.operators.softmax import softmax
from graphgrad.schedules import is_number
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS, Array, Dim, dtype_name, show, whole

Activation: TypeAlias = "str | Operator | Callable[[Tensor], Tensor]"


@dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """What is trained: the loss, the inputs and the target that a batch gives, and the prediction.

    `initial` says how parameters begin: a rule for all (see `initial_law`), or one by name, {"W1": "he", "W2": ...},
    where a rule may also be a function from (generator, shape) to numbers. The loss over a batch is taken to be a mean
    over samples wherever the losses of batches are put together.

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> x, y = g.input("x", ("N", 2)), g.input("y", ("N",))
    >>> p = x @ g.parameter("w", (2,)) + g.parameter("b")
    >>> gg.Network(loss=gg.mean((p - y) ** 2), inputs=[x], target=y, prediction=p)
    <network of w (2,), b (): 3 parameters>
    """

    loss: Tensor
    inputs: Sequence[Tensor]
    target: Tensor | None = None
    prediction: Tensor | None = None
    initial: Rule | Mapping[str, Rule] = "auto"
    parameters: tuple[Tensor, ...] = field(
        init=False
    )  # all that the loss depends on, in the order in which they were made
    widths: tuple[int, ...] = ()  # of a feedforward network
    threshold: float | None = None  # of a prediction that decides between two classes: above it, the target is 1

    def __post_init__(self) -> None:
        inputs = (self.inputs,) if isinstance(self.inputs, Tensor) else tuple(self.inputs)
        object.__setattr__(self, "inputs", inputs)
        _check_loss(self.loss)
        parameters = _needed(self.loss, "parameter")
        object.__setattr__(self, "parameters", parameters)
        _check_leaves(self)
        _check_prediction(self)
        if self.threshold is not None:
            if not is_number(self.threshold):
                raise GraphgradError(f"the threshold of a network is a number, but {self.threshold!r} was given")
            object.__setattr__(self, "threshold", float(self.threshold))
        self.rules()

    @property
    def graph(self) -> Graph:
        return self.loss.graph

    @property
    def size(self) -> int:
        """The number of numbers in all parameters."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The parameters' shapes by name."""
        return {p.name: tuple(int(d) for d in p.shape if isinstance(d, int)) for p in self.parameters}

    @cached_property
    def batch(self) -> str | None:
        """The named size that counts samples: the first dimension of all inputs and the target, if they share one."""
        leaves = [*self.inputs, *([self.target] if self.target is not None else [])]
        first = {t.shape[0] if t.shape else 1 for t in leaves}
        (size,) = first if len(first) == 1 else (1,)
        return str(size) if isinstance(size, Dim) and str(size).isidentifier() else None

    @property
    def classes(self) -> int | None:
        """The number of classes, where the target is a label a sample and the prediction a number for each class."""
        t, p = self.target, self.prediction
        if t is None or p is None or t.dtype != "int64" or len(p.shape) != len(t.shape) + 1:
            return None
        return p.shape[-1] if isinstance(p.shape[-1], int) else None

    def rules(self) -> dict[str, Rule]:
        """The initial value rule of each parameter."""
        if not isinstance(self.initial, Mapping):
            many: dict[str, Rule] = {p.name: self.initial if len(p.shape) > 1 else "zeros" for p in self.parameters}
        else:
            names = [p.name for p in self.parameters]
            if unknown := [name for name in self.initial if name not in names]:
                raise GraphgradError(f"initial names {', '.join(unknown)}, but the parameters are {', '.join(names)}")
            many = {name: self.initial.get(name, "auto") for name in names}
        for rule in (*many.values(), *(() if isinstance(self.initial, Mapping) else (self.initial,))):
            if not callable(rule) and not (isinstance(rule, str) and is_rule(rule)):
                there = f"{', '.join(RULES)}, normal(σ), uniform(bound)"
                raise GraphgradError(f"no initial value rule is called {rule!r}; there are: {there}")
        return many

    def initialize(self, seed: int = 0) -> dict[str, Array]:
        """Initial values of all parameters, by name. The same seed gives the same numbers."""
        generator, shapes, rules = np.random.default_rng(whole("seed", seed, 0)), self.shapes, self.rules()
        return {p.name: draw(rules[p.name], shapes[p.name], generator).astype(p.dtype) for p in self.parameters}

    def __repr__(self) -> str:
        what = "-".join(map(str, self.widths)) or "of " + ", ".join(f"{n} {show(s)}" for n, s in self.shapes.items())
        return f"<network {what}: {self.size} parameters>"


def _needed(tensor: Tensor, kind: str) -> tuple[Tensor, ...]:
    """The leaves of one kind that a tensor depends on."""
    graph = tensor.graph
    return tuple(graph.tensor(i) for i in graph.ancestors([tensor.id]) if graph.nodes[i].operator.name == kind)


def _check_loss(loss: Tensor) -> None:
    if not isinstance(loss, Tensor):
        raise GraphgradError(f"the loss of a network is a Tensor, but {type(loss).__name__} was given")
    if loss.shape:
        raise GraphgradError(
            f"the loss of a network is a scalar, but {loss.name} has shape {show(loss.shape)}; "
            "gg.mean or gg.sum makes it one"
        )
    if loss.dtype not in FLOATS:
        raise GraphgradError(f"the loss of a network is a float, but {loss.name} is {loss.dtype}")


def _check_leaves(net: Network) -> None:
    given = [*net.inputs, *([net.target] if net.target is not None else [])]
    for t in given:
        what = "the target" if t is net.target else "an input"
        if not isinstance(t, Tensor) or t.graph is not net.graph:
            raise GraphgradError(f"{what} of a network is a Tensor of the graph of its loss, but {t!r} was given")
        if t.node.operator.name != "input":
            raise GraphgradError(
                f"{what} of a network is an input of its graph, but {t.name} is a {t.node.operator.name}"
            )
    if len({t.id for t in given}) < len(given):
        raise GraphgradError(
            f"{', '.join(t.name for t in given)}: "
            "the inputs and the target of a network are different inputs of its graph"
        )
    known = {t.id for t in given}
    for t in (*_needed(net.loss, "input"), *_needed(net.loss, "state")):
        if t.id not in known:
            told = (
                "which is neither among the inputs nor the target"
                if t.node.operator.name == "input"
                else "a state, which nothing would update"
            )
            raise GraphgradError(f"the loss depends on {t.name}, {told}")
    if not net.parameters:
        raise GraphgradError(
            f"the loss {net.loss.name} depends on no parameter, so there is nothing to train; "
            "g.parameter(name, shape) makes one"
        )
    for p in net.parameters:
        if not all(isinstance(d, int) for d in p.shape):
            raise GraphgradError(
                f"the parameter {p.name} has shape {show(p.shape)}; to train it, its dimensions are to be numbers"
            )
        if p.dtype not in FLOATS:
            raise GraphgradError(f"the parameter {p.name} is {p.dtype}; only floats can be trained")


def _check_prediction(net: Network) -> None:
    p = net.prediction
    if p is None:
        return
    if not isinstance(p, Tensor) or p.graph is not net.graph:
        raise GraphgradError(f"the prediction of a network is a Tensor of the graph of its loss, but {p!r} was given")
    known = {t.id for t in (*net.inputs, *net.parameters)}
    for t in (leaf for kind in ("input", "parameter", "state") for leaf in _needed(p, kind)):
        if t.id not in known:
            told = (
                "the target"
                if t is net.target
                else f"the {t.node.operator.name} {t.name}, which the loss knows nothing of"
            )
            raise GraphgradError(f"the prediction {p.name} depends on {told}")


# ---------------------------------------------------------------------------------------------------------------------
# Feedforward networks
# ---------------------------------------------------------------------------------------------------------------------

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda x: x,
    "tanh": OPERATORS["tanh"],
    **{name: getattr(activations, name) for name in activations.__all__},
}

#: Activations that are near 0 on one half of the line, whose loss of variance "he" makes up for.
HALVING = ("relu", "leaky_relu", "elu", "celu", "gelu", "silu", "mish", "softplus")


def feedforward(
    widths: Sequence[int],
    activation: Activation | Sequence[Activation] = "relu",
    loss: str | Callable[[Tensor, Tensor], Tensor] = "mean_squared_error",
    *,
    output_activation: Activation | None = None,
    initial: Rule | Sequence[Rule] | Mapping[str, Rule] = "auto",
    dtype: str = "float64",
) -> Network:
    """A network Φ of widths d⁽⁰⁾, ..., d⁽ᴸ⁾: x⁽ˡ⁾ = φ⁽ˡ⁾(W⁽ˡ⁾ x⁽ˡ⁻¹⁾ + b⁽ˡ⁾), a sample in each row of x.

    `activation` is one for all hidden layers or one for each: a name, an operator, or any function of a Tensor.
    `loss` is a name ("mean_squared_error", "mse", "cross_entropy", ...) or a function of prediction and target.
    Cross-entropy takes integer labels of shape (N,). It and binary cross-entropy work on the last layer's z (logits),
    whose softmax, or sigmoid, is then the prediction. `initial` is a rule for all W, one for each, or one by name as
    `Network` takes it (`initial_law`): "auto" is "he" for relu and its kin, "lecun" for selu, "glorot" for others.
    Biases start at zero unless they are named.

    >>> import graphgrad as gg
    >>> gg.feedforward([64, 128, 10], activation="relu", loss="cross_entropy")
    <network 64-128-10: 9610 parameters>
    """
    sizes = tuple(whole("a width", d, 1) for d in _sequence("widths", widths))
    if len(sizes) < 2:
        raise GraphgradError(
            f"a network has at least two widths, of its input and its output, but {list(sizes)} was given"
        )
    layers = len(sizes) - 1
    hidden = _one_each("activation", activation, layers - 1, "hidden layer")
    if isinstance(activation, str):
        _activation(activation)  # known, also where there is no hidden layer
    chosen = LOSSES.get(loss) if isinstance(loss, str) else loss
    if chosen is None:
        raise GraphgradError(f"no loss is called {loss!r}; there are: {', '.join(LOSSES)}{_meant(str(loss), LOSSES)}")
    kind = chosen.name if isinstance(chosen, Loss) else ""
    logits = kind in ("cross_entropy", "binary_cross_entropy")
    if logits and output_activation is not None:
        raise GraphgradError(
            f"{kind} works on the last layer's values before any activation; leave output_activation out"
        )
    if kind == "cross_entropy" and sizes[-1] < 2:
        raise GraphgradError(
            "cross_entropy needs a last width of at least 2, one for each class; binary_cross_entropy needs 1"
        )
    phis = [_activation(a) for a in (*hidden, output_activation if output_activation is not None else "identity")]
    if isinstance(initial, Mapping):
        named = dict(initial)
    else:
        named = {f"W{l}": rule for l, rule in enumerate(_one_each("initial", initial, layers, "layer"), 1)}
    rules = named | {f"W{l}": _rule(named.get(f"W{l}", "auto"), phi) for l, phi in enumerate(phis, 1)}

    if dtype_name(dtype) not in FLOATS:
        raise DTypeError(f"a network computes in {' or '.join(FLOATS)}, but {dtype!r} was given")
    g = Graph()
    x = g.input("x", ("N", sizes[0]), dtype_name(dtype))
    y = g.input("y", ("N",), "int64") if kind == "cross_entropy" else g.input("y", ("N", sizes[-1]), x.dtype)
    z = signal = x
    for l, (inputs, outputs) in enumerate(pairwise(sizes), 1):
        with g.scope(f"layer{l}"):
            W = g.parameter(f"W{l}", (outputs, inputs), x.dtype)
            b = g.parameter(f"b{l}", (outputs,), x.dtype)
            z = (signal @ W.T + b).named(f"z{l}")
            signal = _applied(phis[l - 1], z).named(f"x{l}")
    if kind == "cross_entropy":
        signal = softmax(z, axis=-1)
    elif kind == "binary_cross_entropy":
        signal = activations.sigmoid(z)
    p = signal.named("prediction")
    L = chosen(z if logits else p, y).named("loss")
    return Network(
        loss=L,
        inputs=[x],
        target=y,
        prediction=p,
        initial=rules,
        widths=sizes,
        threshold={"binary_cross_entropy": 0.5, "hinge": 0.0}.get(kind),
    )


def _sequence(name: str, values: Any) -> tuple[Any, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise GraphgradError(f"{name} is a list, but {values!r} was given")
    return tuple(values)


def _one_each(name: str, given: Any, number: int, what: str) -> tuple[Any, ...]:
    """The same for all, or one for each."""
    if isinstance(given, str) or callable(given):
        return (given,) * number
    each = _sequence(name, given)
    if len(each) != number:
        raise GraphgradError(
            f"{name} is one for all or one for each {what}: there are {number}, but {len(each)} were given"
        )
    return each


def _activation(given: Activation) -> Callable[[Tensor], Any]:
    if not isinstance(given, str):
        return given
    if given not in ACTIVATIONS:
        names = ", ".join(ACTIVATIONS)
        raise GraphgradError(f"no activation is called {given!r}; there are: {names}{_meant(str(given), ACTIVATIONS)}")
    return ACTIVATIONS[given]


def _meant(word: str, words: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(words), 1)
    return f"; did you mean {close[0]}?" if close else ""


def _rule(rule: Any, activation: Callable[..., Any]) -> Rule:
    if rule != "auto":
        return rule  # type: ignore[no-any-return]
    name = getattr(activation, "__name__", "")
    return "he" if name in HALVING else "lecun" if name == "selu" else "glorot"


def _applied(activation: Callable[[Tensor], Any], z: Tensor) -> Tensor:
    x = activation(z)
    if not isinstance(x, Tensor) or x.shape != z.shape or x.dtype != z.dtype:
        raise GraphgradError(f"an activation keeps shape and dtype of {z!r}, but {activation!r} gave {x!r}")
    return x
