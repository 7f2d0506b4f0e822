"""How the cost of building, deriving, scheduling and compiling grows: chains, and nets of single neurons.

A chain is elementwise nodes over a vector, one after the other. A net is three layers of neurons with a node for each
product and each sum, written by the same lines for everyone.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from . import harness
from .harness import Verdict, child

Say = Callable[[str], None]

SIZES = (1_000, 10_000, 100_000)
PATIENCE = 60  # seconds
KINDS = ("chain", "net")
TAKING_PART = ("graphgrad", "JAX", "PyTensor")


class Watch:
    """Seconds of each stage, told as they are known, with the memory that all took above the imports."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.before, self.stages, self.now = harness.peak_memory(), dict[str, float](), now
        self.start = now()

    def __call__(self, stage: str) -> None:
        self.stages[stage] = self.now() - self.start
        harness.so_far(self.result())
        self.start = self.now()

    def result(self) -> dict[str, float]:
        return {**self.stages, "MiB": harness.peak_memory() - self.before}


def width_of(nodes: int) -> int:
    """Of three layers with about so many nodes: w neurons of w products, w sums and a tanh."""
    return max(2, round((nodes / 6) ** 0.5))


def chain_of(n: int, h: Any, tanh: Callable[[Any], Any]) -> Any:
    for i in range(n):
        h = tanh(h) if i % 2 else h * 1.5
    return h


def net_of(width: int, leaf: Callable[[str], Any], tanh: Callable[[Any], Any]) -> Any:
    """The sum of squares of the last layer."""
    signal = [leaf(f"x_{i}") for i in range(width)]
    for l in range(3):
        signal = [neuron(signal, f"{l}_{j}", leaf, tanh) for j in range(width)]
    total = signal[0] * signal[0]
    for h in signal[1:]:
        total = total + h * h
    return total


def neuron(signal: list[Any], name: str, leaf: Callable[[str], Any], tanh: Callable[[Any], Any]) -> Any:
    z = leaf(f"b_{name}")
    for i, h in enumerate(signal):
        z = z + leaf(f"W_{name}_{i}") * h
    return tanh(z)


# ---------------------------------------------------------------------------------------------------------------------
# In children
# ---------------------------------------------------------------------------------------------------------------------


def graphgrad(kind: str, n: int, compiles: bool = True) -> dict[str, float]:
    import graphgrad as gg
    from graphgrad.codegen import compiler
    from graphgrad.collector import paused_gc

    watch = Watch(time.process_time)
    g = gg.Graph()
    leaves: list[Any] = []

    def leaf(name: str) -> Any:
        leaves.append(g.parameter(name))
        return leaves[-1]

    with paused_gc():
        if kind == "chain":
            leaves.append(g.parameter("x", ("N",)))
            loss = gg.sum(chain_of(n, leaves[0], gg.tanh))
        else:
            loss = net_of(width_of(n), leaf, gg.tanh)
    watch("build")
    d = gg.derive(loss)
    gradients = [d[t] for t in leaves]
    watch("derive")
    if compiles:
        spent = timed(compiler, "prepare", "schedule")
        start = time.process_time()
        gg.compile([loss, *gradients])
        watch("compile")
        watch.stages |= {"simplify": spent["prepare"], "schedule": spent["schedule"]}
        watch.stages["compile"] = time.process_time() - start - sum(spent.values())
    return watch.result()


def timed(module: Any, *names: str) -> dict[str, float]:
    """Functions of a module from now on add the seconds that they take."""
    spent = dict.fromkeys(names, 0.0)

    def wrapped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                spent[name] += time.process_time() - start

        return call

    for name in names:
        setattr(module, name, wrapped(name, getattr(module, name)))
    return spent


def jax(kind: str, n: int) -> dict[str, float]:
    """Traced, derived as it is traced, lowered and compiled by XLA."""
    try:
        import jax as library
        import jax.numpy as jnp
    except ImportError:
        raise harness.MissingError("jax is not installed") from None

    if kind == "chain":
        arguments: Any = jnp.ones(8)

        def f(x: Any) -> Any:
            return jnp.sum(chain_of(n, x, jnp.tanh))
    else:
        names: list[str] = []
        net_of(width_of(n), lambda name: names.append(name) or 0.0, float)  # type: ignore[func-returns-value]
        arguments = dict.fromkeys(names, 0.1)

        def f(x: Any) -> Any:
            return net_of(width_of(n), x.__getitem__, jnp.tanh)

    watch = Watch()
    library.make_jaxpr(f)(arguments)
    watch("build")
    library.make_jaxpr(library.value_and_grad(f))(arguments)
    watch("derive")
    lowered = library.jit(library.value_and_grad(f)).lower(arguments)
    watch("schedule")
    lowered.compile()
    watch("compile")
    return watch.result()


def pytensor(kind: str, n: int) -> dict[str, float]:
    try:
        import pytensor as library
        import pytensor.tensor as pt
    except ImportError:
        raise harness.MissingError("pytensor is not installed") from None

    sys.setrecursionlimit(10**6)  # it walks along chains by recursion
    watch = Watch()
    leaves: list[Any] = []

    def leaf(name: str) -> Any:
        leaves.append(pt.dscalar(name))
        return leaves[-1]

    if kind == "chain":
        leaves.append(pt.dvector("x"))
        loss = pt.sum(chain_of(n, leaves[0], pt.tanh))
    else:
        loss = net_of(width_of(n), leaf, pt.tanh)
    watch("build")
    gradients = library.grad(loss, leaves)
    watch("derive")
    library.function(leaves, [loss, *gradients])
    watch("compile")
    return watch.result()


# ---------------------------------------------------------------------------------------------------------------------
# Sections
# ---------------------------------------------------------------------------------------------------------------------


def growth(say: Say, sizes: tuple[int, ...] = SIZES) -> dict[str, Any]:
    """Every kind at every size. Who was given up at a size is not asked for more."""
    result: dict[str, Any] = {}
    for kind in KINDS:
        result[kind] = {name: {} for name in TAKING_PART}
        for name in TAKING_PART:
            for n in sizes:
                found: dict[str, Any]
                try:
                    found = child(f"growth:{name.lower()}", kind, n, timeout=PATIENCE)
                except harness.GivenUpError as late:
                    found = {**late.known, "skipped": str(late)}
                except (harness.MissingError, harness.FailedError) as missing:
                    found = {"skipped": str(missing)}
                result[kind][name][str(n)] = found
                numbers = ", ".join(
                    f"{k} {v:.0f} MiB" if k == "MiB" else f"{k} {v:.2f} s" for k, v in found.items() if k != "skipped"
                )
                say(f"{kind} of {n:,} nodes, {name}: {numbers}{' ' * bool(numbers)}{found.get('skipped', '')}")
                if "skipped" in found:
                    break
    return result


def chain(say: Say) -> dict[str, Any]:
    """A chain of elementwise nodes, derived and compiled."""
    stages = ("derive", "simplify", "schedule", "compile")

    def seconds(n: int) -> float:
        found = child("growth:graphgrad", "chain", n)
        return sum(found[stage] for stage in stages)

    pairs = [(seconds(10_000), seconds(20_000)) for _ in range(5)]
    result = {
        "seconds": statistics.median(a for a, _ in pairs),
        "ratio": statistics.median(b / a for a, b in pairs),
    }
    for verdict in chain_verdicts(result):
        say(verdict.text)
    return result


def chain_verdicts(found: dict[str, Any]) -> list[Verdict]:
    return [
        Verdict("10,000 nodes derived and compiled", found["seconds"], 2.0, " s"),
        Verdict("20,000 nodes against 10,000", found["ratio"], 2.3, "x"),
    ]


def large(say: Say) -> dict[str, Any]:
    """100,000 forward nodes: built and derived."""
    found: dict[str, Any] = child("growth:graphgrad", "chain", 100_000, False)
    for verdict in large_verdicts(found):
        say(verdict.text)
    return found


def large_verdicts(found: dict[str, Any]) -> list[Verdict]:
    return [
        Verdict("100,000 nodes built and derived", found["build"] + found["derive"], 10.0, " s"),
        Verdict("100,000 nodes, memory above the imports", found["MiB"], 1000, " MB"),
    ]


def growth_verdicts(found: dict[str, Any]) -> list[Verdict]:
    """Of graphgrad alone, where the two largest sizes were measured."""
    verdicts = []
    for kind, of in found.items():
        small, big = [of["graphgrad"].get(str(n), {}) for n in (10_000, 100_000)]
        if "compile" in small and "compile" in big:
            seconds = [sum(value for stage, value in one.items() if stage != "MiB") for one in (small, big)]
            verdicts += [
                Verdict(f"{kind} of 100,000 nodes, from building to compiled", seconds[1], 20.0, " s"),
                Verdict(f"{kind} of 100,000 nodes against 10,000", seconds[1] / seconds[0], 12.0, "x"),
                Verdict(f"{kind} of 100,000 nodes, memory", big["MiB"], 1500, " MiB"),
            ]
    return verdicts
