"""Writes images/one-neuron.svg beside this file; needs Graphviz: python docs/make_picture.py."""

from pathlib import Path

import graphgrad as gg
from graphgrad.render.dot import derivation_dot, svg


def one_neuron() -> gg.Derivation:
    """One neuron with a quadratic loss, as in the lecture, for a single sample."""
    g = gg.Graph()
    x, y = g.input("x", (2,)), g.input("y")
    w, b = g.parameter("w", (2,)), g.parameter("b")
    z = (x @ w + b).named("z")
    a = gg.sigmoid(z).named("a")
    e = (a - y).named("e")
    return gg.derive((e**2).named("L"))


if __name__ == "__main__":
    text = svg(derivation_dot(one_neuron()))
    if text is None:
        raise SystemExit("Graphviz's program dot was not found")
    images = Path(__file__).with_name("images")
    images.mkdir(exist_ok=True)
    (images / "one-neuron.svg").write_text(text, encoding="utf-8", newline="\n")
