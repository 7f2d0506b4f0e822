"""Optimizers: each is a formula from parameters θ, gradient g and step k to new parameters.

The same tensors as the network's: the formula becomes part of the graph, is drawn and compiled like it. An optimizer of
your own is a class with one method:

    class SignDescent:
        def update(self, theta, g, k, state):
            m = state("m")                       # of theta's shape, zero at first
            new_m = 0.9 * m + 0.1 * g
            return {theta: theta - 1e-3 * gg.sign(new_m), m: new_m}

θ is all parameters in one vector and g all gradients. An optimizer that looks at whole tensors, such as a norm for
each layer, says `elementwise = False`: then θ is one parameter after the other, in its own shape.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from graphgrad.errors import GraphgradError
from graphgrad.operators.elementwise import sqrt, square
from graphgrad.schedules import Scheduled, at, checked
from graphgrad.tensor import Tensor


class State(Protocol):
    """What an optimizer asks for what it remembers between steps."""

    def __call__(self, name: str, *, weak: bool = False) -> Tensor:
        """The state of a name: of θ's shape, or with `weak` a number that all parameters share. It starts at zero."""
        ...


class Optimizer(Protocol):
    """Anything with this method is an optimizer."""

    def update(self, theta: Tensor, g: Tensor, k: Tensor, state: State) -> Mapping[Tensor, Tensor]:
        """The new values of theta and of states, from the old ones, the gradient g and the number k of updates."""
        ...


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent: θ ← θ - α_k g. With the whole data as one batch, gradient descent.

    With `weight_decay` λ, in every optimizer here, θ is first multiplied by 1 - α_k λ: decoupled from g, as in AdamW.
    """

    alpha: Scheduled = 0.01
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        checked("SGD", alpha=self.alpha)
        checked("SGD", scheduled=False, weight_decay=self.weight_decay)

    def update(self, theta: Tensor, g: Tensor, k: Tensor, state: State) -> dict[Tensor, Tensor]:
        alpha = at(self.alpha, k)
        return {theta: _decayed(theta, alpha, self.weight_decay) - alpha * g}


def _decayed(theta: Tensor, alpha: Tensor, weight_decay: float) -> Tensor:
    return theta if weight_decay == 0 else (1 - alpha * weight_decay) * theta


FORMS = ("average", "lecture", "polyak", "nesterov")


@dataclass(frozen=True)
class Momentum:
    """Gradient descent with momentum m, which starts at 0, in one of four forms.

    "average": m ← β_k m + (1 - β_k) g, then θ ← θ - α_k m with the new m.
    "lecture": the same m, but θ ← θ - α_k m with the old one: the first step moves nothing.
    "polyak": m ← β_k m + g, then θ ← θ - α_k m: the heavy ball, with steps 1/(1 - β) times as long.
    "nesterov": the same m, then θ ← θ - α_k (g + β_k m).
    """

    alpha: Scheduled = 0.01
    beta: Scheduled = 0.9
    form: str = "average"
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        checked("Momentum", alpha=self.alpha)
        checked("Momentum", beta=self.beta, below=1.0)
        checked("Momentum", scheduled=False, weight_decay=self.weight_decay)
        if self.form not in FORMS:
            raise GraphgradError(f"Momentum: form {self.form!r} is not one of {', '.join(FORMS)}")

    def update(self, theta: Tensor, g: Tensor, k: Tensor, state: State) -> dict[Tensor, Tensor]:
        alpha, beta, m = at(self.alpha, k), at(self.beta, k), state("m")
        new_m = beta * m + (1 - beta) * g if self.form in ("average", "lecture") else beta * m + g
        direction = {"average": new_m, "lecture": m, "polyak": new_m}.get(self.form)
        if direction is None:
            direction = g + beta * new_m
        return {theta: _decayed(theta, alpha, self.weight_decay) - alpha * direction, m: new_m}


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015), and with `weight_decay` AdamW (Loshchilov and Hutter, 2019).

    m ← β1 m + (1 - β1) g and v ← β2 v + (1 - β2) g²; m̂ = m / (1 - β1^k) and v̂ = v / (1 - β2^k), where k counts this
    update too; θ ← (1 - α_k λ) θ - α_k m̂ / (√v̂ + ε), λ the weight decay. Where a β is a schedule, the product of all
    its values stands for the power.
    """

    alpha: Scheduled = 1e-3
    beta1: Scheduled = 0.9
    beta2: Scheduled = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        checked("Adam", alpha=self.alpha)
        checked("Adam", beta1=self.beta1, beta2=self.beta2, below=1.0)
        checked("Adam", scheduled=False, eps=self.eps, weight_decay=self.weight_decay)

    def update(self, theta: Tensor, g: Tensor, k: Tensor, state: State) -> dict[Tensor, Tensor]:
        alpha, beta1, beta2 = at(self.alpha, k), at(self.beta1, k), at(self.beta2, k)
        m, v = state("m"), state("v")
        new_m = beta1 * m + (1 - beta1) * g
        new_v = beta2 * v + (1 - beta2) * square(g)
        correction1, kept1 = _correction("correction1", self.beta1, k, state)
        correction2, kept2 = _correction("correction2", self.beta2, k, state)
        m_hat, v_hat = new_m / correction1, new_v / correction2
        decayed = _decayed(theta, alpha, self.weight_decay)
        return {theta: decayed - alpha * m_hat / (sqrt(v_hat) + float(self.eps)), m: new_m, v: new_v, **kept1, **kept2}


def _correction(name: str, beta: Scheduled, k: Tensor, state: State) -> tuple[Tensor, dict[Tensor, Tensor]]:
    """1 - Π β_j over all updates up to this one, and what is kept for the next.

    It is what an average of ones, c ← β c + (1 - β), would have reached: a fraction of 1, as m is of the gradient.
    """
    if not callable(beta):
        return 1 - float(beta) ** (k + 1), {}
    c, beta_k = state(name, weak=True), at(beta, k)
    new_c = beta_k * c + (1 - beta_k)
    return new_c, {c: new_c}


@dataclass(frozen=True)
class Groups:
    """An optimizer for each group of parameters: the first pattern that fits a parameter's name decides.

    Patterns are those of file names: "b*", "W[12]", "*". None freezes a group: no gradient is computed for it. The
    formula is computed for each parameter on its own, so `Groups` costs small networks some time.

    >>> Groups({"W1": None, "b*": SGD(0.1), "*": Adam(1e-3)}).of("b2")
    SGD(alpha=0.1, weight_decay=0.0)
    """

    rules: Mapping[str, Optimizer | None]
    elementwise = False

    def __post_init__(self) -> None:
        if not isinstance(self.rules, Mapping) or not self.rules:
            raise GraphgradError(
                f'Groups takes a mapping such as {{"b*": SGD(0.1), "*": Adam()}}, but {self.rules!r} was given'
            )
        for pattern, optimizer in self.rules.items():
            known = optimizer is None or callable(getattr(optimizer, "update", None))
            if not isinstance(pattern, str) or not known or isinstance(optimizer, (type, Groups)):
                raise GraphgradError(
                    f"Groups maps patterns of names to optimizers or None, but {pattern!r}: {optimizer!r} was given"
                )

    def pattern(self, name: str) -> str:
        """The pattern that decides for a parameter. Raises GraphgradError where none fits."""
        for pattern in self.rules:
            if fnmatchcase(name, pattern):
                return pattern
        raise GraphgradError(
            f'no pattern of Groups fits the parameter {name}: {", ".join(self.rules)} were given; "*" fits all'
        )

    def of(self, name: str) -> Optimizer | None:
        """The optimizer of a parameter; None where it is frozen."""
        return self.rules[self.pattern(name)]

    def check(self, names: Collection[str]) -> None:
        """Raises GraphgradError where a parameter has no pattern, a pattern no parameter, and where all are frozen."""
        met = {self.pattern(name) for name in names}
        if unused := [p for p in self.rules if p not in met]:
            there = ", ".join(names)
            raise GraphgradError(f"no parameter is left for {', '.join(unused)} of Groups; there are: {there}")
        if all(self.rules[p] is None for p in met):
            raise GraphgradError("Groups freezes all parameters: nothing is left to train")

    def update(self, theta: Tensor, g: Tensor, k: Tensor, state: State) -> dict[Tensor, Tensor]:
        raise GraphgradError("Groups has no formula of its own: a step asks it for the optimizer of each parameter")
