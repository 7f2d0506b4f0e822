"""The pictures that the tests of graphgrad.render look at: each is made once, and laid out once by each engine."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import sympy

import graphgrad as gg
from graphgrad.derivation import Derivation
from graphgrad.render.picture import Picture

ENGINES = ("layered", "pygraphviz")


@cache
def neuron() -> Derivation:
    """The lecture's one neuron with the quadratic loss, every value under a name."""
    g = gg.Graph()
    x, y, w, b = g.input("x"), g.input("y"), g.parameter("w"), g.parameter("b")
    z = ((w * x).named("u") + b).named("z")
    return gg.derive((((gg.sigmoid(z).named("a") - y).named("e")) ** 2).named("L"))


@cache
def small() -> gg.Network:
    return gg.feedforward([2, 3, 1], "tanh")


@cache
def digits() -> gg.Network:
    return gg.feedforward([64, 128, 64, 10], "relu", "cross_entropy")


@cache
def deep() -> gg.Network:
    return gg.feedforward([16] * 13, "tanh")


@cache
def softstep() -> Derivation:
    """A layer with a function of the user's own."""
    s = sympy.Symbol("s")
    act = gg.elementwise("softstep", s / (1 + sympy.sqrt(1 + 2 * s**2)))
    g = gg.Graph()
    x, y = g.input("x", ("N", 2)), g.input("y", ("N", 1))
    W, b = g.parameter("W", (1, 2)), g.parameter("b", (1,))
    a = act((x @ W.T + b).named("z")).named("a")
    return gg.derive(gg.mean((a - y) ** 2).named("L"))


@cache
def second() -> Derivation:
    """The gradient's squared length, derived once more."""
    g = gg.Graph()
    x, y, W = g.input("x", ("N", 2)), g.input("y", ("N", 1)), g.parameter("W", (1, 2))
    first = gg.derive(gg.mean((gg.tanh(x @ W.T).named("p") - y) ** 2).named("L"))
    return gg.derive(gg.sum(first[W] ** 2).named("P"), [W])


@cache
def broken() -> tuple[Derivation, dict[str, np.ndarray]]:
    """A derivation of which some values are not finite, and one is a true zero."""
    g = gg.Graph()
    x, w, s = g.input("x", ("N", 3)), g.parameter("w", (3,)), g.parameter("s")
    y = gg.log(x * w).named("y")
    loss = (gg.sum(y * y).named("q") * s).named("L")
    x_value = np.array([[1.0, 2.0, -1.0], [0.0, 3.0, 4.0]])
    return gg.derive(loss), {"x": x_value, "w": np.array([1.0, 0.5, 2.0]), "s": np.array(0.0)}


def _with_broken_values(engine: str) -> Picture:
    derivation, values = broken()
    with np.errstate(all="ignore"):
        return gg.draw(derivation, values=values, engine=engine)


def small_values() -> dict[str, np.ndarray]:
    """Numbers for the network 2-3-1."""
    random = np.random.default_rng(3)
    shapes = {"W1": (3, 2), "b1": (3,), "W2": (1, 3), "b2": (1,), "x": (5, 2), "y": (5, 1)}
    return {name: random.normal(size=shape).round(2) for name, shape in shapes.items()}


PICTURES: dict[str, Callable[[str], Picture]] = {
    "neuron": lambda engine: gg.draw(neuron(), engine=engine),
    "small": lambda engine: gg.draw(gg.derive(small().loss), engine=engine),
    "small operations": lambda engine: gg.draw(gg.derive(small().loss), detail="operations", engine=engine),
    "small names": lambda engine: gg.draw(gg.derive(small().loss), detail="names", engine=engine),
    "small layers": lambda engine: gg.draw(gg.derive(small().loss), detail="layers", engine=engine),
    "small values": lambda engine: gg.draw(gg.derive(small().loss), values=small_values(), engine=engine),
    "network": lambda engine: gg.draw(small(), engine=engine),
    "digits": lambda engine: gg.draw(gg.derive(digits().loss), engine=engine),
    "deep": lambda engine: gg.draw(gg.derive(deep().loss), engine=engine),
    "softstep": lambda engine: gg.draw(softstep(), engine=engine),
    "adam": lambda engine: gg.draw(small(), optimizer=gg.Adam(), engine=engine),
    "adam unfolded": lambda engine: gg.draw(small(), optimizer=gg.Adam(), unfold=True, engine=engine),
    "second": lambda engine: gg.draw(second(), engine=engine),
    "not finite": _with_broken_values,
}


@cache
def picture(name: str, engine: str = "layered") -> Picture:
    return PICTURES[name](engine)
