"""Contestants with a library of their own: PyTorch, JAX, PyTensor, HIPS autograd, scikit-learn. Each on one thread or
more as the environment says, and each as its own documentation writes a training step.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .harness import MissingError, Run
from .works import ALPHA, BATCHES, BETA1, BETA2, EPS, Work, batches, parameters

# The contestants' libraries are imported inside of them: each process has only what it times.


def in_turn(step: Callable[[Any, Any], Any], x: Any, y: Any) -> Run:
    def run(n: int) -> Any:
        loss = None
        for i in range(n):
            loss = step(x[i % len(x)], y[i % len(y)])
        return loss

    return run


def in_units(run: Run, unit: int) -> Run:
    """A run that takes many steps in one call."""
    run.unit = unit  # type: ignore[attr-defined]
    return run


# -- PyTorch ----------------------------------------------------------------------------------------------------------


def torch_eager(work: Work, compiled: bool = False) -> Run:
    """Layers, fused Adam, gradients set to None; `compiled` is torch.compile of network and loss."""
    import torch
    from torch import nn

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    activation = {
        "tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "softplus": nn.Softplus, "silu": nn.SiLU,
        "elu": nn.ELU, "gelu": nn.GELU,
    }[work.activation]  # fmt: skip
    criterion = {
        "mse": nn.MSELoss, "cross_entropy": nn.CrossEntropyLoss, "huber": nn.HuberLoss, "bce": nn.BCEWithLogitsLoss,
    }[work.loss]()  # fmt: skip
    layers: list[nn.Module] = []
    for W, b in parameters(work):
        layer = nn.Linear(W.shape[1], W.shape[0], dtype=getattr(torch, work.dtype))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(W))
            layer.bias.copy_(torch.from_numpy(b))
        layers += [layer, activation()]
    net = nn.Sequential(*layers[:-1])
    optimizer: torch.optim.Optimizer
    if work.optimizer == "adam":
        optimizer = torch.optim.Adam(net.parameters(), lr=ALPHA, betas=(BETA1, BETA2), eps=EPS, fused=True)
    elif work.optimizer == "momentum":  # the same up to the first steps: θ - α(1-β) m with m ← β m + g
        optimizer = torch.optim.SGD(net.parameters(), lr=ALPHA * (1 - BETA1), momentum=BETA1, fused=True)
    else:
        optimizer = torch.optim.SGD(net.parameters(), lr=ALPHA, fused=True)

    def forward(x: Any, y: Any) -> Any:
        return criterion(net(x), y)

    forward = torch.compile(forward) if compiled else forward

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = forward(x, y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return in_turn(step, *[[torch.from_numpy(a) for a in arrays] for arrays in batches(work)])


def torch_compiled(work: Work) -> Run:
    return torch_eager(work, compiled=True)


# -- JAX --------------------------------------------------------------------------------------------------------------


def jax_step(work: Work) -> tuple[Any, Any, Any]:
    """A function from (carry, batch) to (carry, loss), the carry, and the batches as JAX's arrays."""
    import jax
    import jax.numpy as jnp

    if work.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    phi = {"tanh": jnp.tanh, "gelu": lambda z: jax.nn.gelu(z, approximate=False)}.get(work.activation)
    phi = phi or getattr(jax.nn, work.activation)

    def loss_of(P: Any, x: Any, y: Any) -> Any:
        for i, (W, b) in enumerate(P):
            z = x @ W.T + b
            x = phi(z) if i < len(P) - 1 else z
        if work.loss == "mse":
            return jnp.mean((z - y) ** 2)
        if work.loss == "huber":
            d = jnp.abs(z - y)
            return jnp.mean(jnp.where(d <= 1, d * d / 2, d - 0.5))
        if work.loss == "bce":
            return jnp.mean(jax.nn.softplus(z) - z * y)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1))

    def step(carry: Any, batch: Any) -> Any:
        P, M, V, k = carry
        loss, G = jax.value_and_grad(loss_of)(P, *batch)
        k = k + 1
        if work.optimizer == "sgd":
            return (jax.tree.map(lambda p, g: p - ALPHA * g, P, G), M, V, k), loss
        M = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, M, G)
        if work.optimizer == "momentum":
            return (jax.tree.map(lambda p, m: p - ALPHA * m, P, M), M, V, k), loss
        V = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, V, G)
        c1, c2 = 1 - BETA1**k, 1 - BETA2**k
        P = jax.tree.map(lambda p, m, v: p - ALPHA * (m / c1) / (jnp.sqrt(v / c2) + EPS), P, M, V)
        return (P, M, V, k), loss

    def zeros() -> Any:
        return jax.tree.map(jnp.zeros_like, P)

    P = jax.tree.map(jnp.asarray, parameters(work))
    states = {"sgd": (None, None), "momentum": (zeros(), None)}.get(work.optimizer) or (zeros(), zeros())
    return step, (P, *states, jnp.zeros((), work.dtype)), [jnp.asarray(a) for a in batches(work)]


def jax_calls(work: Work) -> Run:
    """One jitted call a step, as a training loop over batches makes it."""
    import jax

    step, carry, (x, y) = jax_step(work)
    jitted, xs, ys = jax.jit(step, donate_argnums=0), list(x), list(y)

    def run(n: int) -> Any:
        nonlocal carry
        loss = None
        for i in range(n):
            carry, loss = jitted(carry, (xs[i % BATCHES], ys[i % BATCHES]))
        jax.block_until_ready(carry)
        return loss

    return run


def jax_scan(work: Work) -> Run:
    """All batches in one call, which no Python stands between."""
    import jax

    step, carry, (x, y) = jax_step(work)
    once = jax.jit(lambda c, xs, ys: jax.lax.scan(step, c, (xs, ys)), donate_argnums=0)

    def run(n: int) -> None:
        nonlocal carry
        for _ in range(-(-n // BATCHES)):
            carry, _ = once(carry, x, y)
        jax.block_until_ready(carry)

    return in_units(run, BATCHES)


# -- PyTensor ---------------------------------------------------------------------------------------------------------


def pytensor_function(work: Work) -> Run:
    """One compiled function with updates of shared variables."""
    import pytensor
    import pytensor.tensor as pt

    pytensor.config.floatX = work.dtype

    def number(value: float) -> Any:
        return np.array(value, work.dtype)

    x = pt.matrix("x", dtype=work.dtype)
    y = pt.lvector("y") if work.labels else pt.matrix("y", dtype=work.dtype)
    phis = {"tanh": pt.tanh, "relu": lambda z: pt.maximum(z, number(0)), "sigmoid": pt.sigmoid, "softplus": pt.softplus}
    if work.activation not in phis:
        raise MissingError(f"no {work.activation} was written for it")
    shared = [(pytensor.shared(W), pytensor.shared(b)) for W, b in parameters(work)]
    h = x
    for i, (W, b) in enumerate(shared):
        z = pt.dot(h, W.T) + b
        h = phis[work.activation](z) if i < len(shared) - 1 else z
    if work.loss == "mse":
        loss = pt.mean((z - y) ** 2)
    elif work.loss == "huber":
        d = pt.abs(z - y)
        loss = pt.mean(pt.switch(d <= 1, d * d / 2, d - 0.5))
    elif work.loss == "bce":
        loss = pt.mean(pt.softplus(z) - z * y)
    else:
        loss = -pt.mean(pt.special.log_softmax(z, axis=1)[pt.arange(y.shape[0]), y])
    flat = [p for pair in shared for p in pair]
    k = pytensor.shared(number(0))
    new_k = k + number(1)
    updates: list[tuple[Any, Any]] = [(k, new_k)]
    for p, g in zip(flat, pytensor.grad(loss, flat), strict=True):
        if work.optimizer == "sgd":
            updates.append((p, p - number(ALPHA) * g))
            continue
        m = pytensor.shared(np.zeros_like(p.get_value()))
        new_m = number(BETA1) * m + number(1 - BETA1) * g
        updates.append((m, new_m))
        if work.optimizer == "momentum":
            updates.append((p, p - number(ALPHA) * new_m))
            continue
        v = pytensor.shared(np.zeros_like(p.get_value()))
        new_v = number(BETA2) * v + number(1 - BETA2) * g * g
        m_hat, v_hat = new_m / (1 - number(BETA1) ** new_k), new_v / (1 - number(BETA2) ** new_k)
        updates += [(v, new_v), (p, p - number(ALPHA) * m_hat / (pt.sqrt(v_hat) + number(EPS)))]
    step = pytensor.function([x, y], loss, updates=updates, trust_input=True)
    return in_turn(step, *map(list, batches(work)))


# -- HIPS autograd ----------------------------------------------------------------------------------------------------


def hips_autograd(work: Work) -> Run:
    """value_and_grad at each step; the optimizer in place, as good as NumPy's user writes it."""
    import autograd.numpy as anp
    from autograd import value_and_grad

    phis = {"tanh": anp.tanh, "relu": lambda z: anp.maximum(z, 0), "sigmoid": lambda z: 1 / (1 + anp.exp(-z))}
    phis["softplus"] = lambda z: anp.logaddexp(0, z)
    if work.activation not in phis or work.loss in ("huber", "bce"):
        raise MissingError(f"no {work.activation} with {work.loss} was written for it")
    phi = phis[work.activation]

    def loss_of(P: Any, x: Any, y: Any) -> Any:
        for i, (W, b) in enumerate(P):
            z = anp.dot(x, W.T) + b
            x = phi(z) if i < len(P) - 1 else z
        if work.loss == "mse":
            return anp.mean((z - y) ** 2)
        z = z - anp.max(z, axis=1, keepdims=True)
        return anp.mean(anp.log(anp.sum(anp.exp(z), axis=1)) - z[np.arange(len(y)), y])

    P = parameters(work)
    flat = [a for pair in P for a in pair]
    M, V, k = [np.zeros_like(a) for a in flat], [np.zeros_like(a) for a in flat], 0
    graded = value_and_grad(loss_of)

    def step(x: Any, y: Any) -> Any:
        nonlocal k
        loss, G = graded(P, x, y)
        k += 1
        for p, m, v, g in zip(flat, M, V, [g for pair in G for g in pair], strict=True):
            if work.optimizer == "sgd":
                p -= ALPHA * g
                continue
            m *= BETA1
            m += (1 - BETA1) * g
            if work.optimizer == "momentum":
                p -= ALPHA * m
                continue
            v *= BETA2
            v += (1 - BETA2) * g * g
            p -= ALPHA * (m / (1 - BETA1**k)) / (np.sqrt(v / (1 - BETA2**k)) + EPS)
        return loss

    return in_turn(step, *map(list, batches(work)))


# -- scikit-learn -----------------------------------------------------------------------------------------------------


def sklearn_mlp(work: Work) -> Run:
    """MLPClassifier or MLPRegressor over many batches a call, so that what a call costs does not count."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    own = {"tanh": "tanh", "relu": "relu", "sigmoid": "logistic"}
    if work.activation not in own or work.loss not in ("mse", "cross_entropy"):
        raise MissingError(f"it has no {work.activation} with {work.loss}")
    if work.optimizer == "momentum":
        raise MissingError("its momentum is another one")
    kind = MLPClassifier if work.labels else MLPRegressor
    net = kind(
        hidden_layer_sizes=work.widths[1:-1],
        activation=own[work.activation],
        solver=work.optimizer,
        alpha=0.0,
        batch_size=work.batch,
        learning_rate_init=ALPHA,
        momentum=0.0,
        shuffle=False,
        random_state=0,
        max_iter=1,
    )
    weights = sum(inputs * outputs for inputs, outputs in work.layers)
    repeats = max(1, min(32, 20_000 // (work.batch * BATCHES), 2_000_000 // weights))
    x, y = (np.concatenate([np.concatenate(list(a))] * repeats) for a in batches(work))
    y = y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y
    more = {"classes": np.arange(work.widths[-1])} if work.labels else {}

    def run(n: int) -> None:
        for _ in range(-(-n // (repeats * BATCHES))):
            net.partial_fit(x, y, **more)

    return in_units(run, repeats * BATCHES)


#: name -> (the function, the libraries it needs)
PEERS: dict[str, tuple[Callable[[Work], Run], tuple[str, ...]]] = {
    "PyTorch": (torch_eager, ("torch",)),
    "torch.compile": (torch_compiled, ("torch", "torch._dynamo")),
    "JAX, a call a step": (jax_calls, ("jax",)),
    "JAX, scan": (jax_scan, ("jax",)),
    "PyTensor": (pytensor_function, ("pytensor",)),
    "HIPS autograd": (hips_autograd, ("autograd",)),
    "scikit-learn": (sklearn_mlp, ("sklearn.neural_network",)),
}
