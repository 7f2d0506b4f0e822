"""Who takes part without a compiler or a framework of their own, and how contestants are chosen and checked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from . import harness, peers
from .hand import hand_numpy
from .harness import MissingError, Run
from .works import ALPHA, BETA1, BETA2, EPS, Work, batches, parameters


def optimizer_of(work: Work) -> Any:
    import graphgrad as gg

    return {
        "adam": gg.Adam(alpha=ALPHA, beta1=BETA1, beta2=BETA2, eps=EPS),
        "momentum": gg.Momentum(alpha=ALPHA, beta=BETA1),
        "sgd": gg.SGD(alpha=ALPHA),
    }[work.optimizer]


def graphgrad_trainer(work: Work, **options: Any) -> Any:
    """A trainer from nothing but Python objects."""
    import graphgrad as gg

    loss = {"mse": "mean_squared_error", "bce": "binary_cross_entropy"}.get(work.loss, work.loss)
    net = gg.feedforward(work.widths, activation=work.activation, loss=loss)
    given = {f"{name}{l}": a for l, pair in enumerate(parameters(work), 1) for name, a in zip("Wb", pair, strict=True)}
    return gg.Trainer(net, optimizer_of(work), dtype=work.dtype, parameters=given, **options)


def graphgrad(work: Work) -> Run:
    return looped(graphgrad_trainer(work).step, work)


def looped(step: Callable[[Any, Any], Any], work: Work, convert: Callable[[Any], Any] = list) -> Run:
    """A run of a step that takes one batch after the other."""
    x, y = map(convert, batches(work))

    def run(n: int) -> Any:
        loss = None
        for i in range(n):
            loss = step(x[i % len(x)], y[i % len(y)])
        return loss

    return run


def matrix_products(work: Work) -> Run:
    """The products of a step alone, into place: no step that calls this BLAS is faster."""
    made = {}

    def array(*shape: int) -> Any:
        return made.setdefault((shape, len(made)), np.ones(shape, work.dtype))

    calls = []
    for l, (inputs, outputs) in enumerate(work.layers):
        x, W, d = array(work.batch, inputs), array(outputs, inputs), array(work.batch, outputs)
        calls += [(x, W.T, array(work.batch, outputs)), (d.T, x, array(outputs, inputs))]
        calls += [(d, W, array(work.batch, inputs))] * (l > 0)

    def run(n: int) -> None:
        for _ in range(n):
            for a, b, out in calls:
                np.dot(a, b, out)

    return run


def naive_numpy(work: Work) -> Run:
    """As a teacher writes it: each formula once, a new array for each result."""
    P = [list(pair) for pair in parameters(work)]
    M = [[np.zeros_like(a) for a in pair] for pair in P]
    V = [[np.zeros_like(a) for a in pair] for pair in P]
    phi, slope = NAIVE_ACTIVATIONS[work.activation]
    k = 0

    def step(x: Any, y: Any) -> Any:
        nonlocal k
        k += 1
        h, zs = [x], []
        for i, (W, b) in enumerate(P):
            zs.append(h[-1] @ W.T + b)
            h.append(phi(zs[-1]) if i < len(P) - 1 else zs[-1])
        loss, g = NAIVE_LOSSES[work.loss](h[-1], y)
        for i in reversed(range(len(P))):
            if i < len(P) - 1:
                g = g * slope(zs[i], h[i + 1])
            gradients = [g.T @ h[i], g.sum(axis=0)]
            if i:
                g = g @ P[i][0]
            for j, grad in enumerate(gradients):
                if work.optimizer == "sgd":
                    P[i][j] = P[i][j] - ALPHA * grad
                    continue
                M[i][j] = BETA1 * M[i][j] + (1 - BETA1) * grad
                if work.optimizer == "momentum":
                    P[i][j] = P[i][j] - ALPHA * M[i][j]
                    continue
                V[i][j] = BETA2 * V[i][j] + (1 - BETA2) * grad**2
                m_hat, v_hat = M[i][j] / (1 - BETA1**k), V[i][j] / (1 - BETA2**k)
                P[i][j] = P[i][j] - ALPHA * m_hat / (np.sqrt(v_hat) + EPS)
        return loss

    return looped(step, work)


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


#: φ(z), and φ'(z) from z and φ(z).
NAIVE_ACTIVATIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "tanh": (np.tanh, lambda z, h: 1 - h**2),
    "relu": (lambda z: np.maximum(z, 0), lambda z, h: z > 0),
    "sigmoid": (_sigmoid, lambda z, h: h * (1 - h)),
    "softplus": (lambda z: np.logaddexp(0, z), lambda z, h: _sigmoid(z)),
    "silu": (lambda z: z * _sigmoid(z), lambda z, h: _sigmoid(z) + h * (1 - _sigmoid(z))),
    "elu": (lambda z: np.where(z > 0, z, np.exp(z) - 1), lambda z, h: np.where(z > 0, 1, h + 1).astype(h.dtype)),
}


def _cross_entropy(z: Any, y: Any) -> tuple[Any, Any]:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    loss = -np.log(p[rows, y]).mean()
    p[rows, y] -= 1
    return loss, p / len(y)


def _huber(z: Any, y: Any) -> tuple[Any, Any]:
    d, c = np.abs(z - y), np.clip(z - y, -1, 1)
    return np.where(d <= 1, d**2 / 2, d - 0.5).mean(), c / z.size


#: The loss, and its gradient by z.
NAIVE_LOSSES: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "mse": lambda z, y: (((z - y) ** 2).mean(), 2 * (z - y) / z.size),
    "huber": _huber,
    "bce": lambda z, y: ((np.logaddexp(0, z) - z * y).mean(), (_sigmoid(z) - y) / z.size),
    "cross_entropy": _cross_entropy,
}


#: name -> (the function, the libraries it needs)
CONTESTANTS: dict[str, tuple[Callable[[Work], Run], tuple[str, ...]]] = {
    "graphgrad": (graphgrad, ("graphgrad",)),
    "hand NumPy": (hand_numpy, ()),
    "naive NumPy": (naive_numpy, ()),
    "matrix products": (matrix_products, ()),
    **peers.PEERS,
}


def load_libraries(name: str) -> None:
    """Imports what a contestant needs. Raises MissingError with the word that says what is not there."""
    for library in CONTESTANTS[name][1]:
        try:
            import_module(library)
        except ImportError:
            raise MissingError(f"{library} is not installed") from None


def started(name: str, work: Work) -> tuple[Run, float, Any]:
    """A contestant, the seconds from its objects to the end of its first step, and that step's loss."""
    load_libraries(name)
    batches(work)  # the data is there before anyone begins
    start = time.perf_counter()
    run = CONTESTANTS[name][0](work)
    loss = run(1)
    loss = None if loss is None else float(loss)
    return run, time.perf_counter() - start, loss


def against(names: Sequence[str], fields: dict[str, Any], blocks: int, block: float) -> dict[str, Any]:
    """In a child: the first contestant against the others, in turn on one work.

    Those that cannot take part are under "skipped" with a word. "wrong" names those whose first three losses are not
    the first one's: what does not compute the same has no time to compare.
    """
    work = Work(**{**fields, "widths": tuple(fields["widths"])})
    skipped: dict[str, str] = {}
    runs: dict[str, Run] = {}
    firsts, losses = [], {}
    for name in names:
        try:
            runs[name], first, loss = started(name, work)
        except MissingError as missing:
            if name == names[0] or len(names) == 2:
                raise
            skipped[name] = str(missing)
            continue
        firsts.append(first)
        losses[name] = [loss, *[None if (v := runs[name](1)) is None else float(v) for _ in range(2)]]  # same batch
    slow = max(seconds_of(run) for run in runs.values()) > 0.05
    wrong = [name for name in runs if differ(losses[name], losses[names[0]], work.dtype)]
    result = harness.compare(list(runs.values()), min(blocks, 7) if slow else blocks, block)
    return {**result, "names": list(runs), "first": firsts, "skipped": skipped, "wrong": wrong}


def differ(found: Sequence[float | None], wanted: Sequence[float | None], dtype: str) -> bool:
    """Whether two rows of losses are further apart than rounding takes them."""
    if None in found or None in wanted:
        return False
    return not np.allclose(
        np.array(found, float), np.array(wanted, float), rtol=2e-3 if dtype == "float32" else 1e-8, atol=0
    )


def seconds_of(run: Run) -> float:
    """Of a step, or of what a run takes at least."""
    now = harness.clock()
    start = now()
    run(1)
    return (now() - start) / getattr(run, "unit", 1)


def trained(name: str, fields: dict[str, Any]) -> dict[str, float]:
    """In a child: the most memory of a process that trains with one contestant, and what it had before it began."""
    work = Work(**{**fields, "widths": tuple(fields["widths"])})
    load_libraries(name)
    before = harness.peak_memory()
    run = CONTESTANTS[name][0](work)
    start, steps = time.perf_counter(), 0
    while steps < 10 or (time.perf_counter() - start < 1 and steps < 200):
        run(1)
        steps += 1
    return {"total": harness.peak_memory(), "imports": before}
