"""Writes images/one-neuron.svg beside this file; needs graphgrad[viz]: python docs/make_picture.py."""

from pathlib import Path

import graphgrad as gg


def one_neuron() -> gg.Derivation:
    """One neuron with a quadratic loss, as in the lecture, for a single sample."""
    g = gg.Graph()
    x, y = g.input("x", (2,)), g.input("y")
    w, b = g.parameter("w", (2,)), g.parameter("b")
    z = (x @ w + b).named("z")
    a = gg.sigmoid(z).named("a")
    e = (a - y).named("e")
    return gg.derive((e**2).named("L"))


def picture() -> gg.Picture:
    return gg.draw(one_neuron())


if __name__ == "__main__":
    images = Path(__file__).with_name("images")
    images.mkdir(exist_ok=True)
    picture().save(images / "one-neuron.svg")
