"""Every kind of picture, and the page to step through, of seven derivations.

python examples/06_gallery.py --out DIR writes them to DIR, which is graphgrad-gallery if nothing is said.
"""

import argparse
from pathlib import Path

import numpy as np
import sympy as sp

import graphgrad as gg
from graphgrad.data import load_digits_split
from graphgrad.simplify import simplify

rng = np.random.default_rng(0)


def neuron():
    """The lecture's: one neuron with a squared loss, for one sample."""
    g = gg.Graph()
    x, y, w, b = g.input("x", (2,)), g.input("y"), g.parameter("w", (2,)), g.parameter("b")
    a = gg.sigmoid((x @ w + b).named("z")).named("a")
    return gg.derive(((a - y).named("e") ** 2).named("L"))


def own_activation():
    """A layer with an activation that is a sympy expression, whose derivative follows from it."""
    s = sp.Symbol("s")
    net = gg.feedforward([2, 4, 1], activation=gg.elementwise("softstep", s / (1 + sp.Abs(s))))
    return gg.derive(net.loss)


def second_derivative():
    """The squared length of a gradient, derived by W: the gradient's own graph is the forward pass."""
    g = gg.Graph()
    x, y, W = g.input("x", ("N", 2)), g.input("y", ("N", 1)), g.parameter("W", (1, 2))
    first = gg.derive(gg.mean(((x @ W.T).named("p") - y) ** 2).named("L"))
    return gg.derive(gg.sum(first[W] ** 2).named("P"), W)


def simplified(tensor):
    """What the compiler makes of a tensor's formula."""
    return simplify([tensor])[1][tensor.id]


def digits():
    """Eight images of handwritten digits and what they show; random numbers where scikit-learn is not installed."""
    try:
        X, Y, _, _ = load_digits_split()
    except gg.GraphgradError:
        X, Y = rng.uniform(size=(8, 64)), rng.integers(0, 10, 8)
    return {"x": X[:8], "y": Y[:8]}


one = neuron()
numbers = {"x": [1.0, -2.0], "y": 1.0, "w": [0.5, 0.25], "b": 0.1}

small = gg.feedforward([2, 3, 1], "tanh")
backward = gg.derive(small.loss)
X = rng.choice([-1.0, 1.0], (8, 2)) + 0.1 * rng.normal(size=(8, 2))
batch = {"x": X, "y": X[:, :1] * X[:, 1:]}
known = small.initialize(seed=0) | batch
run = gg.train(
    small, X, batch["y"], optimizer=gg.Adam(alpha=0.05), batch_size=None, epochs=150, dtype="float64", record=True
)

large = gg.feedforward([64, 128, 64, 10], "relu", "cross_entropy")
deep = gg.feedforward([16] * 13, "tanh")
own, second = own_activation(), second_derivative()

# The name of each file, and what is drawn in it. The name's end is the format.
GALLERY = {
    # One neuron: forward and backward pass together, with numbers, a rule a frame, and what the compiler rewrites.
    "neuron.svg": lambda: gg.draw(one),
    "neuron-dark.svg": lambda: gg.draw(one, theme="dark"),
    "neuron-es.svg": lambda: gg.draw(one, lang="es"),
    "neuron-partial.svg": lambda: gg.draw(one, notation="partial"),
    "neuron-delta.svg": lambda: gg.draw(one, notation="delta"),
    "neuron-values.svg": lambda: gg.draw(one, values=numbers),
    "neuron-frames.pdf": lambda: gg.draw(one, values=numbers).frames(),
    "neuron-frames.tex": lambda: gg.draw(one).frames(),
    "neuron-rewrite.svg": lambda: gg.draw(one[one.graph["b"]], simplified(one[one.graph["b"]])),
    "neuron-page.html": lambda: gg.explain(one, values=numbers),
    # A network: its layers, its operations, its neurons, its derivation, and the memory of the generated code.
    "network-layers.svg": lambda: gg.draw(small),
    "network-operations.svg": lambda: gg.draw(small.loss, detail="operations"),
    "network-neurons.svg": lambda: gg.draw(small, level="neuron", values=known),
    "network-derivation.svg": lambda: gg.draw(backward),
    "network-names.svg": lambda: gg.draw(backward, detail="names"),
    "network-values.svg": lambda: gg.draw(backward, values=known),
    "network-only.svg": lambda: gg.draw(backward, only="W1"),
    "network-memory.svg": lambda: gg.draw(gg.compile([small.loss, *backward.values()]), sizes={"N": 32}),
    "network-page.html": lambda: gg.explain(backward, batch, run),
    "network-page-es.html": lambda: gg.explain(backward, batch, run, lang="es"),
    # The optimizer's formula is part of the graph: a box, or value by value.
    "adam.svg": lambda: gg.draw(small, optimizer=gg.Adam()),
    "adam-unfolded.svg": lambda: gg.draw(small, optimizer=gg.Adam(), unfold=True),
    # Handwritten digits, and a deep network, whose equal layers fold.
    "digits.svg": lambda: gg.draw(gg.derive(large.loss), values=large.initialize(seed=0) | digits()),
    "digits-dark.svg": lambda: gg.draw(gg.derive(large.loss), theme="dark"),
    "deep.svg": lambda: gg.draw(deep),
    "deep-derivation.svg": lambda: gg.draw(gg.derive(deep.loss)),
    # An activation of one's own, and a derivative of a derivative.
    "own-activation.svg": lambda: gg.draw(own, detail="names"),
    "second-derivative.svg": lambda: gg.draw(second),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes every kind of picture.")
    parser.add_argument("--out", type=Path, default=Path("graphgrad-gallery"), help="the directory they go to")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, drawn in GALLERY.items():
        made = drawn()
        made.save(out / name)
        print(f"{name:<24} {made}")
