"""Random graphs for tests: all operators of the registry that fit, views, reuse, several outputs, updates, two batches.

`cases()` draws a `Case`. While it grows, each new node is evaluated for every feed, and left out again where its values
leave the range in which two orders of rounding can be compared: magnitudes over 1e3, NaN, and points where a tiny
change of the operands changes the result by much (a comparison of equal numbers, a step of `floor`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import hypothesis.strategies as st
import numpy as np

import graphgrad as gg
from graphgrad.derive import UnusedParameterWarning
from graphgrad.errors import DerivativeError
from graphgrad.evaluate import apply_reference, check_sizes
from graphgrad.operator import OPERATORS, REQUIRED, Operator
from graphgrad.types import FLOATS, Array, broadcast, show, size_of, solve_sizes

LARGEST = 1e3
#: Made by others (indexing, sizes, take): their own arguments are promises that a random choice would break.
INNER = {"dimension_size", "checked_index", "checked_label", "gather", "scatter", "embed", "slice", "arange"}
INNER |= {"unit_rows", "take_off"}
#: Operands that are no numbers to compute with, and the dtype that they want.
SPECIAL = {"condition": "bool", "indices": "int64", "labels": "int64", "index": "int64"}

# ---------------------------------------------------------------------------------------------------------------------
# Values as the graph grows
# ---------------------------------------------------------------------------------------------------------------------


class Probe:
    """The values of a graph's nodes for one feed, with shadows: the same under rounding errors that are made larger."""

    def __init__(self, graph: gg.Graph, feed: dict[str, Array]) -> None:
        self.graph = graph
        self.feed = feed
        self.sizes = solve_sizes((n, graph[n].shape, a.shape) for n, a in feed.items() if n in graph)
        self.values: dict[int, Any] = {}
        self.shadows: dict[int, Any] = {}
        self.rough: set[int] = set()  # nodes that float32 had a part in
        self.noise = np.random.default_rng(0)

    def fits(self, id: int) -> bool:
        """Whether a node, its operands given, has values that can be compared; if so they are kept."""
        node = self.graph.nodes[id]
        if id in self.values:
            return True
        if node.operator.kind == "leaf":
            if node.operator.name == "constant":
                value = node["value"].array
                if not np.all(np.abs(value) <= LARGEST):  # folded from others
                    return False
            else:
                value = self.feed.get(
                    node["name"], np.zeros(tuple(size_of(d, self.sizes) for d in node.shape), node.dtype)
                )
            rough = node.dtype == "float32"
            self.values[id], self.shadows[id] = (
                value,
                value if node.operator.name == "constant" else self.shaken(value, rough),
            )
            self.rough |= {id} if rough else set()
            return True
        if any(i not in self.values for i in node.inputs):
            return False
        rough = node.dtype == "float32" or any(i in self.rough for i in node.inputs)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing
            try:
                check_sizes(self.graph, [id], self.sizes)
                value = self.apply(node, [self.values[i] for i in node.inputs])
                shadow = self.apply(node, [self.shadows[i] for i in node.inputs])
                if not (np.all(np.isfinite(value)) and np.max(np.abs(value), initial=0) <= LARGEST):
                    return False
                smooth = node.operator.analytic or node.operator.kind == "view"
                size = 1e-3 if rough else 1e-7
                around = [] if smooth else [self.nearby(node, step) for step in (size, -size)]
            except (gg.GraphgradError, IndexError, ValueError, ZeroDivisionError, OverflowError):
                return False
        largest = max(1.0, float(np.max(np.abs(value), initial=0)))
        if not close(shadow, value, (1e-3 if rough else 1e-10) * largest):
            return False
        if not all(close(a, value, (0.3 if rough else 1e-4) * largest) for a in around):
            return False
        self.values[id], self.shadows[id] = value, self.shaken(shadow, rough)
        self.rough |= {id} if rough else set()
        return True

    def fits_all(self, ids: Sequence[int]) -> bool:
        """The same for several, in topological order."""
        return all(map(self.fits, ids))

    def apply(self, node: gg.Node, operands: Sequence[Any]) -> Any:
        return apply_reference(node, operands, self.graph, self.sizes)

    def nearby(self, node: gg.Node, step: float) -> Any:
        generator = np.random.default_rng(1)
        operands = []
        for i in node.inputs:
            value = np.asarray(self.values[i])
            move = step * generator.uniform(0.5, 1, value.shape) * generator.choice([-1, 1], value.shape)
            constant = self.graph.nodes[i].operator.name == "constant"  # what is written cannot be moved
            operands.append((value + move).astype(value.dtype) if value.dtype.kind == "f" and not constant else value)
        return self.apply(node, operands)

    def shaken(self, value: Any, rough: bool) -> Any:
        array = np.asarray(value)
        if array.dtype.kind != "f":
            return value
        size = 1e-6 if rough else 1e-14
        return (
            array + size * max(1.0, float(np.max(np.abs(array), initial=0))) * self.noise.uniform(-1, 1, array.shape)
        ).astype(array.dtype)

    def largest(self) -> float:
        return max([1.0] + [float(np.max(np.abs(v), initial=0)) for v in self.values.values()])


def close(found: Any, wanted: Any, tolerance: float) -> bool:
    """Whether two arrays of the same shape and dtype are nowhere further apart than that; bools and ints not at all."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        return False
    if found.dtype.kind != "f":
        return bool(np.array_equal(found, wanted))
    return bool(np.max(np.abs(found.astype(np.float64) - wanted.astype(np.float64)), initial=0.0) <= tolerance)


# ---------------------------------------------------------------------------------------------------------------------
# A case
# ---------------------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """A graph with what is asked of it and two feeds of different batch size."""

    graph: gg.Graph
    outputs: list[gg.Tensor]
    updates: dict[gg.Tensor, gg.Tensor]
    feeds: list[dict[str, Array]]  # inputs and parameters, by name
    probes: list[Probe]
    scalar: gg.Tensor | None = None  # a float64 scalar to derive
    wrt: list[gg.Tensor] = field(default_factory=list)

    def __repr__(self) -> str:
        lines = []
        for n in self.graph.nodes:
            attributes = "".join(f", {k}={v!r}" for k, v in n.attributes)
            lines.append(
                f"v{n.id} = {n.operator.name}({', '.join(f'v{i}' for i in n.inputs)}{attributes})"
                f"  # {show(n.shape)} {n.dtype}{' weak' * n.weak}"
            )
        lines.append(
            f"outputs {[t.id for t in self.outputs]}, updates { ({a.id: b.id for a, b in self.updates.items()}) }"
        )
        return "\n".join([*lines, f"sizes {[p.sizes for p in self.probes]}"])


@dataclass
class Builder:
    """A graph in the making: only nodes that fit every feed are built on."""

    draw: Callable[[st.SearchStrategy[Any]], Any]
    graph: gg.Graph
    probes: list[Probe]
    generator: np.random.Generator
    pool: list[gg.Tensor] = field(default_factory=list)

    def leaf(self, kind: str, shape: tuple[Any, ...], dtype: str = "float64", *, weak: bool = False) -> gg.Tensor:
        """A new leaf, with values for each feed."""
        name = f"{kind[0]}{len(self.graph.nodes)}"
        make = getattr(self.graph, kind)
        made: gg.Tensor = make(name, shape, dtype) if kind == "parameter" else make(name, shape, dtype, weak=weak)
        shared = None
        for probe in self.probes:
            extents = tuple(size_of(d, probe.sizes) for d in made.shape)
            if kind == "input" or shared is None:
                shared = random_array(self.generator, extents, dtype)
            if kind != "state":
                probe.feed[name] = shared
        return self.keep(made)

    def keep(self, tensor: gg.Tensor) -> gg.Tensor:
        """The tensor joins the pool if it, and all that came with it, fits every feed."""
        known = {t.id for t in self.pool}
        needed = self.graph.ancestors([tensor.id])
        if tensor.id not in known and all(probe.fits_all(needed) for probe in self.probes):
            self.pool.append(tensor)
        return tensor

    def pick(self, wanted: Callable[[gg.Tensor], bool] = lambda t: True) -> gg.Tensor | None:
        """One of the pool, the latest more often."""
        found = [t for t in self.pool if wanted(t)]
        if not found:
            return None
        reach = len(found) if self.draw(st.integers(0, 3)) == 3 else min(len(found), 6)
        return found[-1 - self.draw(st.integers(0, reach - 1))]

    def unread(self) -> list[gg.Tensor]:
        """Those of the pool that nothing else is computed from."""
        read = {i for n in self.graph.nodes for i in n.inputs}
        return [t for t in self.pool if t.id not in read]

    # -- steps --------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One more node, or a few; none where what was drawn does not fit."""
        steps = (
            [self.elementwise] * 6
            + [self.other] * 4
            + [self.view] * 3
            + [self.product] * 2
            + [self.index, self.weak, self.retype, self.joined]
        )
        with np.errstate(all="ignore"):
            try:
                made = self.draw(st.sampled_from(steps))()
            except (gg.GraphgradError, ZeroDivisionError):
                return
        if isinstance(made, gg.Tensor) and made.dtype in (*FLOATS, "int64", "bool"):
            self.keep(made)

    def elementwise(self) -> gg.Tensor | None:
        rows = [r for r in OPERATORS.values() if r.kind == "elementwise" and r.name != "cast"]
        row = self.draw(st.sampled_from(rows))
        first: gg.Tensor | None = None
        operands = []
        for name in row.operands:
            t = self.pick(partial(beside, first, SPECIAL.get(name)))
            if t is None:
                return None
            first = t if first is None or len(t.shape) > len(first.shape) else first
            operands.append(self.inside(t, *row.domain[name]) if name in row.domain else t)
        return built(
            row, operands, {k: self.draw(st.sampled_from([0.5, 1.5])) for k, v in row.defaults.items() if v is REQUIRED}
        )

    def inside(self, t: gg.Tensor, low: float, high: float) -> gg.Tensor:
        """The tensor itself where its values lie in the domain, else a smooth map of it into it."""
        if all(t.id in p.values and np.all((p.values[t.id] >= low) & (p.values[t.id] <= high)) for p in self.probes):
            return t
        return low + (high - low) * (0.5 + 0.45 * gg.tanh(t))

    def other(self) -> gg.Tensor | None:
        """Any other row of the registry whose attributes are of a known kind, or have defaults."""
        kinds = ("leaf", "elementwise", "view", "size")
        row = self.draw(st.sampled_from([r for r in OPERATORS.values() if r.kind not in kinds and r.name not in INNER]))
        first = self.pick(lambda t: t.dtype in FLOATS or row.operands[0] in SPECIAL)
        if row.variadic or first is None:
            return self.joined()
        operands = [first if row.operands[0] not in SPECIAL else self.integers(3)]
        for name in row.operands[1:]:
            t = (
                self.integers(3)
                if SPECIAL.get(name) == "int64"
                else self.pick(lambda t: t.dtype in FLOATS and t.shape == first.shape)
            )
            if t is None:
                return None
            operands.append(t)
        return built(row, operands, self.attributes(row, operands[0]))

    def attributes(self, row: Operator, first: gg.Tensor) -> dict[str, Any]:
        rank = len(first.shape)
        axes = st.none() | st.integers(-rank, rank - 1) if rank else st.none()
        known: dict[str, st.SearchStrategy[Any]] = {
            "axis": axes if row.defaults.get("axis", 0) is None else st.integers(-rank, max(rank - 1, -rank)),
            "keepdims": st.booleans(),
            "classes": st.just(4),
            "shape": st.just(first.shape[1:]) | st.just(tuple(1 if i == 0 else d for i, d in enumerate(first.shape))),
            "dtype": st.sampled_from(["float64", "float32"]),
            "reduction": st.sampled_from(["mean", "sum", "none"]),
        }
        wanted = {k for k, v in row.defaults.items() if k in known and (v is REQUIRED or self.draw(st.booleans()))}
        return {k: self.draw(known[k]) for k in sorted(wanted)}

    def integers(self, below: int) -> gg.Tensor:
        shape = self.draw(st.sampled_from([(), (2,), (2, 2), ("N",)]))
        return (
            self.leaf("input", shape, "int64") % below
            if hasattr(gg.Tensor, "__mod__")
            else self.leaf("input", shape, "int64")
        )

    def view(self) -> gg.Tensor | None:
        t = self.pick()
        assert t is not None
        rank = len(t.shape)
        choice = self.draw(st.sampled_from(["transpose", "reshape", "flat", "broadcast", "flip"]))
        if choice == "transpose":
            return gg.transpose(t, self.draw(st.permutations(range(rank))))
        if choice == "reshape":
            return gg.reshape(t, (*t.shape[:1], 1, *t.shape[1:]) if self.draw(st.booleans()) else t.shape[::-1])
        if choice == "flat":
            return gg.reshape(t, (-1,))
        if choice == "flip" and "flip" in OPERATORS and rank:
            return OPERATORS["flip"](t, axis=self.draw(st.integers(0, rank - 1)))
        return gg.broadcast_to(t, (self.draw(st.sampled_from([2, "N"])), *t.shape)) if rank < 3 else None

    def index(self) -> gg.Tensor | None:
        t = self.pick(lambda t: len(t.shape) > 0)
        if t is None:
            return None
        one = st.sampled_from(
            [0, -1, slice(None), slice(1, None), slice(None, -1), slice(None, None, -1), slice(0, None, 2), None, ...]
        )
        key = tuple(self.draw(st.lists(one, min_size=1, max_size=len(t.shape))))
        return t[key] if key.count(Ellipsis) < 2 else None

    def product(self) -> gg.Tensor | None:
        a = self.pick(lambda t: len(t.shape) in (1, 2, 3) and t.dtype in (*FLOATS, "int64"))
        if a is None:
            return None
        b = self.pick(
            lambda t: t.dtype in FLOATS and len(t.shape) > 0 and t.shape[max(len(t.shape) - 2, 0)] == a.shape[-1]
        )
        if b is None or self.draw(st.booleans()):
            if not isinstance(a.shape[-1], int):
                return gg.transpose(a) @ a if len(a.shape) < 3 else None
            b = self.leaf("parameter", (a.shape[-1], self.draw(st.integers(1, 3))))
        return a @ b

    def weak(self) -> gg.Tensor | None:
        """A number that depends on no data: sizes, weak leaves, formulas of them."""
        t, k = self.pick(), self.pick(lambda t: t.node.weak)
        choice = self.draw(st.integers(0, 4))
        if choice == 0 and t is not None:
            return gg.size(t)
        if choice == 1:
            return self.leaf("input", (), self.draw(st.sampled_from(["float64", "int64"])), weak=True)
        if choice == 2 or k is None or k.dtype == "bool":
            return self.leaf("state", (), self.draw(st.sampled_from(["float64", "int64", "bool"])), weak=True)
        return self.draw(
            st.sampled_from(
                [k + 1, 0.5 * k, 1 / (1.5 + k * k), 1 - 0.9 ** (abs(k) + 1), gg.where(k > 1.5, 0.25, k), k < 2]
            )
        )

    def retype(self) -> gg.Tensor | None:
        t = self.pick()
        assert t is not None
        return OPERATORS["cast"](
            t, dtype=self.draw(st.sampled_from(["float32", "float64", "float64", "int64", "bool"]))
        )

    def joined(self) -> gg.Tensor | None:
        """A pack, a concatenation: rows that take a list."""
        row = self.draw(st.sampled_from([r for r in OPERATORS.values() if r.variadic and r.name not in INNER]))
        first = self.pick(lambda t: t.dtype in FLOATS)
        if first is None:
            return None
        anything = row.kind == "pack"
        others = [
            self.pick(lambda t: t.dtype == first.dtype and (anything or t.shape == first.shape))
            for _ in range(self.draw(st.integers(0, 3)))
        ]
        return built(row, [[first, *[t for t in others if t is not None]]], self.attributes(row, first))


def beside(first: gg.Tensor | None, dtype: str | None, t: gg.Tensor) -> bool:
    """Whether t is of the dtype, and of a shape that broadcasts with the first operand's."""
    fits = first is None or broadcast(first.shape, t.shape) is not None
    return fits and (dtype is None or t.dtype == dtype)


def built(row: Operator, operands: Sequence[Any], attributes: dict[str, Any]) -> gg.Tensor | None:
    """The row's node if at least one operand is a tensor of a graph."""
    made = row(*operands, **attributes)
    return made if isinstance(made, gg.Tensor) else None


def random_array(generator: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    if dtype == "bool":
        return np.asarray(generator.random(shape) < 0.5)
    if dtype == "int64":
        return np.asarray(generator.integers(0, 2, shape))  # indices into axes of any length from 2 on
    return np.asarray(generator.uniform(0.3, 2.0, shape) * generator.choice([-1, 1], shape), dtype)


# ---------------------------------------------------------------------------------------------------------------------
# Strategies
# ---------------------------------------------------------------------------------------------------------------------


@st.composite
def cases(draw: Callable[[st.SearchStrategy[Any]], Any], max_nodes: int = 60, updates: bool = True) -> Case:
    """A random graph with outputs, updates and two feeds."""
    graph = gg.Graph()
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = draw(st.lists(st.integers(0, 5), min_size=2, max_size=2, unique=True))
    # The first leaf tells N, so that a probe knows it for all that come after.
    graph.input("x", ("N", 3))
    probes = [Probe(graph, {"x": random_array(generator, (n, 3), "float64")}) for n in sizes]
    b = Builder(draw, graph, probes, generator)
    b.keep(graph["x"])
    shapes: list[tuple[Any, ...]] = [(3,), (2, 3), (), ("N",), (3, 3), (1, 3), (2, 1, 3)]
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["parameter", "parameter", "state", "input"]))
        shape = draw(st.sampled_from(shapes))
        fixed = shape if kind == "input" or "N" not in shape else (3,)
        b.leaf(
            kind,
            fixed,
            draw(st.sampled_from(["float64"] * 6 + ["float32", "int64", "bool"])) if kind == "input" else "float64",
        )
    if draw(st.booleans()):
        b.pool.append(graph.constant(random_array(generator, (3,), "float64")))
        b.keep(b.pool.pop())
    count = draw(st.sampled_from([6, max_nodes // 4, max_nodes // 2, max_nodes, max_nodes]))
    for _ in range(2 * max_nodes):
        if len(graph.nodes) >= count - 4:
            break
        b.step()
    outputs = draw(st.permutations(b.unread()))[: draw(st.sampled_from([1, 4, 12, max_nodes]))]
    outputs += [t for t in (b.pick() for _ in range(draw(st.integers(0, 2)))) if t is not None]
    replaced = draw_updates(b) if updates else {}
    if not outputs and not replaced:  # every node is read by another
        outputs = [graph.tensor(len(graph.nodes) - 1)]
    case = Case(graph, outputs, replaced, [p.feed for p in probes], probes)
    smooth = [
        t for t in b.pool if t.dtype == "float64" and not t.node.weak and not any(t.id in p.rough for p in probes)
    ]
    if smooth:
        top = smooth[-4:]
        case.scalar = gg.sum(top[0] * top[0]) + sum(gg.mean(gg.tanh(t)) for t in top[1:])
        needed = set(graph.ancestors([case.scalar.id]))
        case.wrt = [
            t
            for k in ("parameter", "input")
            for t in graph.leaves(k)
            if t.dtype == "float64" and not t.node.weak and t.id in needed
        ]
    return case


def draw_updates(b: Builder) -> dict[gg.Tensor, gg.Tensor]:
    """New values for some of the parameters and states: any node of the shape, leaves, views and numbers among them."""
    updates: dict[gg.Tensor, gg.Tensor] = {}
    held = [t for kind in ("parameter", "state") for t in b.graph.leaves(kind)]
    for leaf in held:
        if not b.draw(st.booleans()):
            continue
        fitting = [t for t in b.pool if t.shape == leaf.shape and np.can_cast(t.dtype, leaf.dtype, "same_kind")]
        if leaf.node.weak:
            fitting = [t for t in fitting if t.node.weak]
        value = b.draw(st.sampled_from(fitting))
        if leaf.dtype in FLOATS and not value.node.weak and b.draw(st.booleans()):
            value = leaf - 0.1 * gg.tanh(value)
        updates[leaf] = value
    return updates


def gradients(case: Case) -> list[gg.Tensor] | None:
    """The case's scalar derived by all that it depends on; None where there is nothing, or no derivative."""
    if case.scalar is None or not case.wrt:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedParameterWarning)  # `sign` has a gradient: zero
        try:
            derivation = gg.derive(case.scalar, case.wrt)
        except DerivativeError:
            return None
    return [derivation[t] for t in case.wrt]
