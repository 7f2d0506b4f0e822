"""Gradients against central differences: is the derivative of a scalar right, here, at these numbers?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphgrad.derivation import Derivation
from graphgrad.derive import derive
from graphgrad.errors import CallError, DerivativeError
from graphgrad.evaluate import evaluate_nodes
from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.rewrite import with_dtype
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS, Array, Dim, show, size_names, size_of

BOUND = 1e-6  # of the gradient's largest entry
ENTRIES = 200  # of a parameter, chosen by the seed: each costs two evaluations of the graph
SIZE = 3  # what a named size is where no value tells


@dataclass(frozen=True, slots=True)
class Row:
    """One parameter's gradient against central differences."""

    name: str
    shape: tuple[int, ...]
    largest: float  # of the gradient's entries, in magnitude
    difference: float  # the largest
    verdict: str  # "ok", "differs", "not finite", "not used"


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """What `check` found. Prints as a table; `ok` says whether all is well."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]  # nodes whose value or adjoint is NaN or inf, and where they came from

    @property
    def ok(self) -> bool:
        return not self.notes and all(row.verdict in ("ok", "not used") for row in self.rows)

    def __str__(self) -> str:
        head = ("parameter", "shape", "largest entry", "largest difference", "verdict")
        cells = [
            head,
            *((r.name, show(r.shape), f"{r.largest:.6g}", f"{r.difference:.1e}", r.verdict) for r in self.rows),
        ]
        widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
        left = (True, True, False, False, True)
        lines = [
            "  ".join(f"{c:<{w}}" if l else f"{c:>{w}}" for c, w, l in zip(row, widths, left, strict=True)).rstrip()
            for row in cells
        ]
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__


def check(
    scalar: Tensor, wrt: Sequence[Tensor] | None = None, values: Mapping[str, Any] | None = None, seed: int = 0
) -> Report:
    """The gradient of a scalar against central differences, in float64.

    By every parameter, or by the leaves in `wrt`. A leaf that has no value in `values` gets random numbers from
    `seed`; integers that are labels or indices get such as are in range. Of a large parameter 200 entries are looked
    at. Where a value or an adjoint is NaN or inf, the node is named at which that begins.

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> x, w = g.input("x", ("N", 2)), g.parameter("w", (2,))
    >>> gg.check(gg.mean((x @ w) ** 2), values={"x": [[1.0, 2.0]], "w": [1.0, 1.0]})  # doctest: +ELLIPSIS
    parameter  shape  largest entry  largest difference  verdict
    w          (2,)              12             ...e-11  ok
    """
    if not isinstance(scalar, Tensor):
        raise DerivativeError(f"check takes a Tensor, but {type(scalar).__name__} was given")
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise CallError(f"seed is a whole number from 0 on, but {seed!r} was given")
    old = scalar.graph
    targets = list(old.leaves("parameter") if wrt is None else ([wrt] if isinstance(wrt, Tensor) else wrt))
    for t in targets:
        if (
            not isinstance(t, Tensor)
            or t.graph is not old
            or t.node.operator.name not in ("input", "parameter", "state")
        ):
            raise DerivativeError(f"check moves leaves of the graph of {scalar.name} by a little; {t!r} is none").at(
                old._line()
            )
        if t.dtype not in FLOATS:
            raise DerivativeError(f"a derivative by {t.name} does not exist: its dtype is {t.dtype}").at(old._line())
    if not targets:
        raise DerivativeError(f"check: the graph of {scalar.name} has no parameters; wrt=[...] names other leaves").at(
            old._line()
        )
    graph, moved = with_dtype([scalar], "float64")
    used = [t for t in targets if t.id in moved]
    result = moved[scalar.id]
    arrays = _values(
        graph, values or {}, seed, {t.name for t in old.leaves("input") + old.leaves("parameter") + old.leaves("state")}
    )
    derivation = derive(result, [moved[t.id] for t in used]) if used else None
    rows = (
        {t: _row(t.name, result, derivation[moved[t.id]], arrays, seed) for t in used} if derivation is not None else {}
    )
    return Report(tuple(rows.get(t) or _unused(t) for t in targets), tuple(not_finite(result, derivation, arrays)))


def _unused(t: Tensor) -> Row:
    return Row(t.name, tuple(d if isinstance(d, int) else SIZE for d in t.shape), 0.0, 0.0, "not used")


# ---------------------------------------------------------------------------------------------------------------------
# Values
# ---------------------------------------------------------------------------------------------------------------------


def _values(graph: Graph, given: Mapping[str, Any], seed: int, known: set[str]) -> dict[str, Array]:
    """An array for every leaf: what was given, else random numbers."""
    if unknown := sorted(given.keys() - known):
        raise CallError(f"no leaf is named {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    leaves = [graph.nodes[t.id] for kind in ("input", "parameter", "state") for t in graph.leaves(kind)]
    arrays = {n["name"]: np.array(given[n["name"]], dtype=n.dtype) for n in leaves if n["name"] in given}
    sizes = {name: SIZE for node in graph.nodes for d in node.shape for name in size_names(d)}
    sizes |= _sizes([(n, arrays[n["name"]].shape) for n in leaves if n["name"] in arrays])
    rng = np.random.default_rng(seed)
    for node in leaves:
        if node["name"] in arrays:
            continue
        shape = tuple(size_of(d, sizes) for d in node.shape)
        if node.dtype == "float64":
            arrays[node["name"]] = rng.standard_normal(shape)
        elif node.dtype == "bool":
            arrays[node["name"]] = rng.random(shape) < 0.5
        else:
            arrays[node["name"]] = rng.integers(0, _classes(graph, node, sizes), shape)
    return arrays


def _sizes(given: list[tuple[Node, tuple[int, ...]]]) -> dict[str, int]:
    """The sizes that given arrays tell by themselves; evaluation checks all of them."""
    return {
        str(d): extent
        for node, shape in given
        for d, extent in zip(node.shape, shape, strict=False)
        if isinstance(d, Dim) and str(d).isidentifier()
    }


def _classes(graph: Graph, leaf: Node, sizes: Mapping[str, int]) -> int:
    """How many values an integer leaf may take: what its consumers have room for, 2 where none says."""
    from_leaf, room = {leaf.id}, []
    for node in graph.nodes:
        if not from_leaf & set(node.inputs):
            continue
        if node.operator.kind == "view" or node.operator.name in ("cast", "concatenate", "stack"):
            from_leaf.add(node.id)
        attributes = dict(node.attributes)
        counts = [attributes[k] for k in ("classes", "num_classes", "depth") if k in attributes]
        floats = [graph.nodes[i].shape for i in node.inputs if graph.nodes[i].dtype in FLOATS and graph.nodes[i].shape]
        axis = attributes.get("axis", -1)
        if not counts and floats and node.operator.kind != "elementwise" and isinstance(axis, int):
            counts = [floats[0][axis]]
        room += [size_of(c, sizes) for c in counts if isinstance(c, (int, Dim))]
    return max(1, min(room)) if room else 2


# ---------------------------------------------------------------------------------------------------------------------
# Comparison
# ---------------------------------------------------------------------------------------------------------------------


def _row(name: str, scalar: Tensor, gradient: Tensor, arrays: dict[str, Array], seed: int) -> Row:
    graph = scalar.graph
    with np.errstate(all="ignore"):
        found = evaluate_nodes(graph, [gradient.id, scalar.id], _known(graph, arrays))
    exact, value = np.asarray(found[gradient.id]), abs(float(found[scalar.id]))
    point = arrays[name]
    chosen = np.arange(point.size)
    if point.size > ENTRIES:
        chosen = np.sort(np.random.default_rng(seed).choice(point.size, ENTRIES, replace=False))
    largest = float(np.max(np.abs(exact), initial=0.0))
    difference = 0.0
    for k in chosen:
        difference = max(
            difference,
            abs(float(exact.flat[k]) - _central(scalar, name, int(k), arrays)),
            key=lambda d: (math.isnan(d), d),
        )
    if not (math.isfinite(largest) and math.isfinite(difference)):
        return Row(name, point.shape, largest, difference, "not finite")
    # Rounding of the value itself, over the step, is all that differences can show of a gradient that is nearly zero.
    fine = difference <= BOUND * largest + 1e-10 * max(1.0, value)
    return Row(name, point.shape, largest, difference, "ok" if fine else "differs")


def _central(scalar: Tensor, name: str, k: int, arrays: dict[str, Array]) -> float:
    """With the step at which the error of the formula, of order h², and rounding over h are about equal."""
    point = arrays[name]
    h = 6e-6 * max(1.0, abs(float(point.flat[k])))

    def value(step: float) -> float:
        other = point.copy()
        other.flat[k] += step
        changed = {**arrays, name: other}
        with np.errstate(all="ignore"):
            return float(evaluate_nodes(scalar.graph, [scalar.id], _known(scalar.graph, changed))[scalar.id])

    return (value(h) - value(-h)) / (2 * h)


def _known(graph: Graph, arrays: dict[str, Array]) -> dict[str, Array]:
    """The arrays of leaves that the scalar depends on: evaluation takes no others."""
    names = {n["name"] for n in graph.nodes if n.operator.kind == "leaf" and n.operator.name != "constant"}
    return {name: array for name, array in arrays.items() if name in names}


def not_finite(scalar: Tensor, derivation: Derivation | None, arrays: dict[str, Array]) -> Iterator[str]:
    """The nodes at which NaN or inf begins: forward first, then in the order of the derivation."""
    graph = scalar.graph
    ids = [scalar.id, *([a.id for a in derivation.adjoints.values()] if derivation else [])]
    with np.errstate(all="ignore"):
        found = evaluate_nodes(graph, ids, _known(graph, arrays))
    bad = {id: word for id, value in found.items() if (word := _word(value))}
    forward = graph.ancestors([scalar.id])
    for id in forward:
        if id in bad and not any(i in bad for i in graph.nodes[id].inputs):
            yield f"{bad[id]} in the value of {graph.where(id)}"
    if derivation is None:
        return
    told: set[int] = set()
    for step in derivation.steps:
        adjoint = step.contribution.id
        known = (
            {derivation.adjoints[step.forward.id].id, *step.forward.inputs, step.forward.id}
            if step.operand is not None
            else set(step.parts)
        )
        if adjoint in bad and adjoint not in told and not any(i in bad for i in known):
            told.add(adjoint)
            yield f"{bad[adjoint]} in the adjoint {step}, by the rule of {graph.where(step.forward.id)}"


def _word(value: Any) -> str:
    array = np.asarray(value)
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return ""
    return "NaN" if np.isnan(array).any() else "inf"
