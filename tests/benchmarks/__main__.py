"""What building, deriving and compiling cost, what the import costs, and a training step against plain NumPy.

usage: python -m tests.benchmarks [--only NAME,...]

Every figure is measured in a process of its own with one BLAS thread; ratios are medians over processes or over
alternating blocks, so that a machine whose speed drifts does not decide them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable

CHAIN = """
import json, resource, time
import graphgrad as gg
from graphgrad.graph import paused_gc
n, compiles = {n}, {compiles}
g = gg.Graph()
x = h = g.parameter("x", ("N",))
t0 = time.perf_counter()
with paused_gc():
    for i in range(n):
        h = gg.tanh(h) if i % 2 else h * 1.5
    loss = gg.sum(h)
t1 = time.perf_counter()
d = gg.derive(loss)
t2 = time.perf_counter()
if compiles:
    gg.compile([loss, d[x]])
t3 = time.perf_counter()
print(json.dumps([t1 - t0, t2 - t1, t3 - t2, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""

STEP = """
import json, statistics, time
import numpy as np
import graphgrad as gg
rng = np.random.default_rng(0)
x, y = rng.normal(size=(64, 64)).astype("float32"), rng.integers(0, 10, 64)
net = gg.feedforward([64, 128, 64, 10], activation="relu", loss="cross_entropy")
trainer = gg.Trainer(net, optimizer=gg.Adam(alpha=1e-3), dtype="float32")
sizes = ((64, 128), (128, 64), (64, 10))
P = [[rng.normal(0, i ** -0.5, (o, i)).astype("float32"), np.zeros(o, "float32")] for i, o in sizes]
M = [[np.zeros_like(a) for a in p] for p in P]
V = [[np.zeros_like(a) for a in p] for p in P]
k = 0

def plain():
    global k
    k += 1
    h = [x]
    for i, (W, b) in enumerate(P):
        z = h[-1] @ W.T + b
        h.append(z if i == len(P) - 1 else np.maximum(z, 0))
    e = np.exp(h[-1] - h[-1].max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    loss = -np.log(p[np.arange(64), y]).mean()
    g = p
    g[np.arange(64), y] -= 1
    g /= 64
    for i in reversed(range(len(P))):
        if i != len(P) - 1:
            g = g * (h[i + 1] > 0)
        G = [g.T @ h[i], g.sum(0)]
        if i:
            g = g @ P[i][0]
        for j in range(2):
            M[i][j] = 0.9 * M[i][j] + 0.1 * G[j]
            V[i][j] = 0.999 * V[i][j] + 0.001 * G[j] ** 2
            P[i][j] = P[i][j] - 1e-3 * (M[i][j] / (1 - 0.9**k)) / (np.sqrt(V[i][j] / (1 - 0.999**k)) + 1e-8)
    return loss

def took(f, n=60):
    t = time.perf_counter()
    for _ in range(n):
        f()
    return (time.perf_counter() - t) / n

ours = lambda: trainer.step(x, y)
took(ours), took(plain)
pairs = [(took(ours), took(plain)) for _ in range(25)]
print(json.dumps([statistics.median(a for a, b in pairs), statistics.median(b for a, b in pairs),
                  statistics.median(a / b for a, b in pairs)]))
"""


def child(code: str) -> list[float]:
    """The numbers that a process of its own prints."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        env.pop(name, None)
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    return [float(v) for v in json.loads(out.splitlines()[-1])]


def verdict(name: str, value: float, limit: float, unit: str) -> None:
    print(f"  {'ok  ' if value <= limit else 'OVER'}  {name}: {value:.2f}{unit} (at most {limit:g}{unit})")


def chain() -> None:
    """A chain of elementwise nodes: derived and compiled."""
    times = {n: [child(CHAIN.format(n=n, compiles=True)) for _ in range(5)] for n in (10_000, 20_000)}
    cost = {n: statistics.median(t[1] + t[2] for t in runs) for n, runs in times.items()}
    verdict("10,000 nodes derived and compiled", cost[10_000], 2.0, " s")
    ratio = statistics.median(b[1] + b[2] for b in times[20_000]) / cost[10_000]
    verdict("20,000 nodes against 10,000", ratio, 2.3, "x")


def large() -> None:
    """100,000 forward nodes: built and derived."""
    build, derive, _, memory = child(CHAIN.format(n=100_000, compiles=False))
    verdict("100,000 nodes built and derived", build + derive, 10.0, " s")
    verdict("100,000 nodes, peak memory", memory, 1000, " MB")


def imports() -> None:
    """`import graphgrad` against `import numpy, networkx`, in turn."""
    timed = "import time; t = time.perf_counter(); import {}; print([time.perf_counter() - t])"
    pairs = [(child(timed.format("graphgrad")), child(timed.format("numpy, networkx"))) for _ in range(9)]
    verdict("import graphgrad against numpy, networkx", statistics.median(a[0] / b[0] for a, b in pairs), 1.4, "x")


def step() -> None:
    """An Adam step of 64-128-64-10 (batch 64, float32) against NumPy as a teacher writes it."""
    runs = [child(STEP) for _ in range(3)]
    ours, plain, ratio = (statistics.median(r[i] for r in runs) for i in range(3))
    print(f"  step of 64-128-64-10: {ours * 1e6:.0f} µs, plain NumPy {plain * 1e6:.0f} µs, ratio {ratio:.2f}")


BENCHMARKS: dict[str, Callable[[], None]] = {"import": imports, "chain": chain, "large": large, "step": step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"a comma-separated choice of {', '.join(BENCHMARKS)}")
    chosen = parser.parse_args().only
    for name in chosen.split(",") if chosen else BENCHMARKS:
        print(name, flush=True)
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
