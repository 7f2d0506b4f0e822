"""The opponent: a training step in straight-line NumPy as one writes it by hand, as fast as its author knows how.

All parameters lie in one vector and all gradients in another, buffers are made once, results go into place, numbers are
arrays of rank 0, and the optimizer runs over pieces that stay in the cache. Nothing of graphgrad is in it.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from .harness import MissingError, Run
from .works import ALPHA, BETA1, BETA2, EPS, Work, batches, parameters

PIECE = 1 << 16  # numbers of each vector that the optimizer works on at a time

#: h holds z and then φ(z); s, t and w are scratch of its shape, of which s is still there on the way back.
FORWARD = {
    "tanh": "tanh(h, h)",
    "relu": "maximum(h, zeros, out=h)",
    "sigmoid": "negative(h, h); exp(h, h); add(h, one, h); divide(one, h, h)",
    "softplus": "absolute(h, t); negative(t, t); exp(t, t); log1p(t, t); maximum(h, zeros, out=h); add(h, t, h)",
    "silu": "negative(h, s); exp(s, s); add(s, one, s); divide(one, s, s); multiply(h, s, h)",
    "elu": "minimum(h, zeros, out=s); exp(s, s); maximum(h, zeros, out=h); subtract(s, one, t); add(h, t, h)",
    # erfc(u) = (a1 q + ... + a5 q⁵) exp(-u²), q = 1/(1 + p u), to 1.5e-7 (Abramowitz and Stegun, 7.1.26); s is φ'(z).
    "gelu": "absolute(h, t); multiply(t, root_half, t); multiply(t, p, s); add(s, one, s); divide(one, s, s); "
    "square(t, t); negative(t, t); exp(t, t); multiply(s, a5, w); "
    + "; ".join(f"add(w, a{k}, w); multiply(w, s, w)" for k in (4, 3, 2, 1))
    + "; multiply(w, t, w); multiply(w, half, w); subtract(half, w, w); copysign(w, h, w); add(w, half, w); "
    "multiply(t, density, t); multiply(t, h, t); add(t, w, s); multiply(h, w, h)",
}

#: d holds the gradient by φ(z) and then by z; h holds φ(z), which nobody needs any more.
BACKWARD = {
    "tanh": "multiply(h, h, h); subtract(one, h, h); multiply(d, h, d)",
    "relu": "greater(h, zero, k); multiply(d, k, d)",
    "sigmoid": "subtract(one, h, t); multiply(t, h, t); multiply(d, t, d)",
    "softplus": "negative(h, h); exp(h, h); subtract(one, h, h); multiply(d, h, d)",
    "silu": "subtract(one, s, t); multiply(t, h, t); add(t, s, t); multiply(d, t, d)",
    "elu": "multiply(d, s, d)",
    "gelu": "multiply(d, s, d)",
}

#: z is the last layer's; d becomes the gradient by it.
LOSS = {
    "mse": ["subtract(z, y, d)", "loss = dot(d_flat, d_flat) * share", "multiply(d, two_shares, d)"],
    "huber": [
        "subtract(z, y, z)",
        "minimum(z, ones_z, out=d); maximum(d, minus_ones_z, out=d)",
        "multiply(d, half, t); subtract(z, t, t)",
        "loss = dot(d_flat, t_flat) * share",
        "multiply(d, one_share, d)",
    ],
    "bce": [
        "negative(z, d); exp(d, d); add(d, one, d); divide(one, d, d)",  # σ(z)
        "absolute(z, t); negative(t, t); exp(t, t); log1p(t, t)",
        "loss = (dot(t_flat, ones_flat) + dot(maximum(z, zeros_z, out=t).reshape(-1), ones_flat)",
        "        - dot(z_flat, y.reshape(-1))) * share",
        "subtract(d, y, d); multiply(d, one_share, d)",
    ],
    "cross_entropy": [
        "{largest}",
        "subtract(z, column, z); exp(z, d); dot(d, ones_c, column); divide(d, column, d)",
        "add(firsts, y, places); log(d_flat.take(places, 0, chosen, 'clip'), logs)",
        "loss = -dot(logs, ones) * share",
        "subtract(d, eye.take(y, 0, hot, 'clip'), d); multiply(d, one_share, d)",
    ],
}
LARGEST = {
    "narrow": "turned[...] = z.T; maximum_reduce(turned, 0, None, flat_column)",  # few long loops for many short ones
    "wide": "maximum_reduce(z, 1, None, column, True)",
}

OPTIMIZERS = {
    "adam": "multiply(m, beta1, m); add(m, g, m); multiply(v, beta2, v); square(g, a); add(v, a, v); "
    "sqrt(v, a); add(a, eps, a); divide(m, a, a); multiply(a, alpha, a); subtract(theta, a, theta)",
    "momentum": "multiply(m, beta1, m); add(m, g, m); multiply(m, alpha, a); subtract(theta, a, theta)",
    "sgd": "multiply(g, alpha, a); subtract(theta, a, theta)",
}

ERFC = {
    "p": 0.3275911, "a1": 0.254829592, "a2": -0.284496736, "a3": 1.421413741, "a4": -1.453152027, "a5": 1.061405429,
}  # fmt: skip

FUNCTIONS = """add subtract multiply divide maximum minimum negative absolute exp log log1p tanh square sqrt greater dot
copysign""".split()


def hand_numpy(work: Work) -> Run:
    """A run of the straight-line step for a work."""
    text, space = step_text(work)
    exec(text, space)  # the lines are those above
    step, optimize, t = space["step"], space["optimize"], 0
    alpha, eps = space["alpha"], space["eps"]
    x, y = map(list, batches(work))

    def run(n: int) -> Any:
        nonlocal t
        for i in range(n):
            loss = step(x[i % len(x)], y[i % len(y)])
            t += 1
            if work.optimizer == "adam":  # m is kept as m/(1-β1) and v as v/(1-β2): both move into these two numbers
                root = ((1 - BETA2**t) / (1 - BETA2)) ** 0.5
                alpha[()], eps[()] = ALPHA * root * (1 - BETA1) / (1 - BETA1**t), EPS * root
            optimize()
        return loss

    return run


def step_text(work: Work) -> tuple[str, dict[str, Any]]:
    """The program of a step, and the names that it uses."""
    if work.activation not in FORWARD or (work.activation == "gelu" and work.dtype == "float64"):
        raise MissingError(f"no {work.activation} by hand in {work.dtype}")
    dtype, batch, depth = np.dtype(work.dtype), work.batch, len(work.layers)
    space: dict[str, Any] = {name: getattr(np, name) for name in FUNCTIONS}
    space |= {"maximum_reduce": np.maximum.reduce, "x": None}
    numbers = {"zero": 0.0, "one": 1.0, "half": 0.5, "beta1": BETA1, "beta2": BETA2, "alpha": ALPHA, "eps": EPS}
    if work.optimizer == "momentum":
        numbers["alpha"] = ALPHA * (1 - BETA1)
    numbers |= {"root_half": 0.5**0.5, "density": (2 * np.pi) ** -0.5, **ERFC}
    space |= {name: np.array(value, dtype) for name, value in numbers.items()}
    space["ones"] = np.ones(batch, dtype)
    _lay_out(work, space)
    lines = ["def step(x, y):"]
    for i in range(depth):
        lines.append(f"    dot({f'h{i - 1}' if i else 'x'}, W{i}_T, h{i}); add(h{i}, b{i}, h{i})")
        if i < depth - 1:
            lines.append(f"    {_of_layer(FORWARD[work.activation], i)}")
    lines += [f"    {line}" for line in _loss(work, space)]
    for i in reversed(range(depth)):
        lines.append(f"    dot(d{i}_T, {f'h{i - 1}' if i else 'x'}, gW{i}); dot(ones, d{i}, gb{i})")
        if i:
            lines.append(f"    dot(d{i}, W{i}, d{i - 1})")
            lines.append(f"    {_of_layer(BACKWARD[work.activation], i - 1)}")
    lines += ["    return loss", *_optimizer(work, space)]
    return "\n".join(lines), space


def _of_layer(text: str, i: int) -> str:
    """The line of one layer: h, d, k, s, t, w and zeros are that layer's own."""
    return re.sub(r"\b(h|d|k|s|t|w|zeros)\b", rf"\g<1>{i}", text)


def _lay_out(work: Work, space: dict[str, Any]) -> None:
    """theta and g with their views, and the buffers of each layer."""
    given = parameters(work)
    space["theta"] = np.concatenate([a.ravel() for pair in given for a in pair])
    space["g"] = np.zeros_like(space["theta"])
    start, shared = 0, dict[Any, np.ndarray]()

    def buffer(kind: str, width: int, dtype: Any = work.dtype) -> np.ndarray:
        """One for all layers that have the same kind of need."""
        return shared.setdefault((kind, width), np.zeros((work.batch, width), dtype))

    for i, (W, b) in enumerate(given):
        for name, a in ((f"W{i}", W), (f"b{i}", b)):
            for vector, prefix in (("theta", ""), ("g", "g")):
                space[prefix + name] = space[vector][start : start + a.size].reshape(a.shape)
            start += a.size
        n = len(b)
        space |= {f"h{i}": np.zeros((work.batch, n), work.dtype), f"s{i}": np.zeros((work.batch, n), work.dtype)}
        space |= {f"d{i}": buffer(f"d{i % 2}", n), f"t{i}": buffer("t", n), f"w{i}": buffer("w", n)}
        space |= {f"zeros{i}": buffer("zeros", n), f"k{i}": buffer("k", n, bool)}
        space |= {f"W{i}_T": space[f"W{i}"].T, f"d{i}_T": space[f"d{i}"].T}


def _loss(work: Work, space: dict[str, Any]) -> list[str]:
    last, classes, batch = len(work.layers) - 1, work.widths[-1], work.batch
    z, d, t = (space[f"{name}{last}"] for name in "hdt")
    share = 1 / (batch if work.labels else z.size)
    space |= {"z": z, "d": d, "t": t, "z_flat": z.reshape(-1), "d_flat": d.reshape(-1), "t_flat": t.reshape(-1)}
    space |= {"share": z.dtype.type(share), "one_share": np.array(share, z.dtype)}
    space |= {"two_shares": np.array(2 * share, z.dtype), "ones_flat": np.ones(z.size, z.dtype)}
    space |= {"zeros_z": np.zeros_like(z), "ones_z": np.ones_like(z), "minus_ones_z": -np.ones_like(z)}
    if work.labels:
        column = np.zeros((batch, 1), z.dtype)
        space |= {"column": column, "flat_column": column.reshape(-1), "turned": np.zeros((classes, batch), z.dtype)}
        space |= {
            "ones_c": np.ones((classes, 1), z.dtype),
            "hot": np.zeros_like(z),
            "eye": np.eye(classes, dtype=z.dtype),
        }
        space |= {"firsts": np.arange(batch) * classes, "places": np.zeros(batch, np.int64), "hot": np.zeros_like(z)}
        space |= {"chosen": np.zeros(batch, z.dtype), "logs": np.zeros(batch, z.dtype)}
    largest = LARGEST["narrow" if classes <= 32 else "wide"]
    return [line.replace("{largest}", largest) for line in LOSS[work.loss]]


def _optimizer(work: Work, space: dict[str, Any]) -> list[str]:
    """Over pieces of the vectors; a short vector is one piece."""
    names = {"adam": "theta g m v", "momentum": "theta g m", "sgd": "theta g"}[work.optimizer].split()
    theta = space["theta"]
    space |= {name: np.zeros_like(theta) for name in names if name in "mv"}
    space["a"] = np.zeros(min(PIECE, theta.size), theta.dtype)
    if theta.size <= PIECE:
        return ["def optimize():", f"    {OPTIMIZERS[work.optimizer]}"]
    parts = [slice(k, k + PIECE) for k in range(0, theta.size, PIECE)]
    space["pieces"] = [(*[space[name][part] for name in names], space["a"][: theta[part].size]) for part in parts]
    return [
        "def optimize():",
        f"    for {', '.join(names)}, a in pieces:",
        f"        {OPTIMIZERS[work.optimizer]}",
    ]
