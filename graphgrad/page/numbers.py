"""The numbers of the page: what a run recorded, evaluated box by box and record by record."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphgrad.derivation import Derivation
from graphgrad.errors import GraphgradError
from graphgrad.evaluate import evaluate_nodes
from graphgrad.render.diagram import Box
from graphgrad.render.draw import Prepared
from graphgrad.render.values import Values, cells
from graphgrad.types import Array

MOST_RECORDS = 400  # of a run; a longer one is thinned
BUDGET = 500_000  # bytes of recorded numbers


@dataclass(frozen=True)
class Recorded:
    """A run as arrays: the parameters of each record, and its number."""

    parameters: dict[str, Array]
    loss: Array | None
    k: Array


def recorded_run(derivation: Derivation, run: Any) -> Recorded:
    if not isinstance(run, Mapping) and hasattr(run, "records"):  # what training returns
        if run.records is None:
            raise GraphgradError("this run kept no records; gg.train(..., record=True) keeps those of each step")
        run = run.records
    if not isinstance(run, Mapping) or not isinstance(run.get("parameters"), Mapping) or not run["parameters"]:
        raise GraphgradError(
            'run is a mapping {"parameters": {name: array of shape (steps, *shape)}, "loss": ..., "k": ...}, '
            f"but {'one without parameters' if isinstance(run, Mapping) else type(run).__name__} was given"
        )
    if unknown := sorted(map(str, run.keys() - {"parameters", "loss", "k"})):
        raise GraphgradError(f"run: {', '.join(unknown)} is unknown; there are: parameters, loss, k")
    graph = derivation.graph
    arrays = {str(name): np.asarray(a) for name, a in run["parameters"].items()}
    length = {len(a) if a.ndim else 0 for a in arrays.values()}
    if len(length) != 1 or 0 in length:
        raise GraphgradError("run: the arrays of all parameters hold the same number of steps, at least one")
    (steps,) = length
    for name, a in arrays.items():
        if name not in graph or graph[name].node.operator.kind != "leaf":
            raise GraphgradError(f"run: {name} is no leaf of the graph of {derivation.scalar.name}")
        if a.shape[1:] != tuple(graph[name].shape):
            wanted = ", ".join(("steps", *map(str, graph[name].shape))) + ("," if not graph[name].shape else "")
            raise GraphgradError(f"run: {name} has shape {a.shape}, but ({wanted}) is wanted")
    extra = {}
    for name in ("loss", "k"):
        if run.get(name) is not None:
            extra[name] = np.asarray(run[name])
            if extra[name].dtype.kind not in "iuf":
                raise GraphgradError(f"run: {name} is {extra[name].dtype.name}, but numbers are wanted")
            if extra[name].shape != (steps,):
                raise GraphgradError(f"run: {name} has shape {extra[name].shape}, but ({steps},) is wanted")
    return Recorded(arrays, extra.get("loss"), extra.get("k", np.arange(steps)))


def numbers_of(
    made: Prepared, derivation: Derivation, first: Mapping[str, Any], recorded: Recorded | None
) -> tuple[dict[str, Any], str]:
    """Values and adjoints of every box at every record, as floats in base64, and their scale in words.

    Cells are those of the strips; their colours mean the same at every record.
    """
    shown = {box.id: shown_nodes(derivation, box) for box in made.diagram.boxes}
    loss = derivation.scalar.id
    ids = sorted({i for pair in shown.values() for i in pair if i is not None} | {loss})

    def record(t: int) -> dict[int, Array]:
        at = {name: a[t] for name, a in recorded.parameters.items()} if recorded is not None else {}
        return {i: np.asarray(v) for i, v in evaluate_nodes(made.drawn.graph, ids, {**first, **at}).items()}

    start = record(0)
    values = made.drawn.values
    assert values is not None
    numbers = sum(cells(start[i]).size for pair in shown.values() for i in pair if i is not None)
    k = recorded.k if recorded is not None else np.arange(1)
    chosen = _thinned(len(k), min(MOST_RECORDS, BUDGET // max(4 * numbers, 1)))
    frames = []
    for t in chosen:
        now = record(t)
        frames.append({i: cells(v) for i, v in now.items()})
        here = Values.collect(now, now, values.gradients)
        values = replace(
            values,
            largest=max(values.largest, here.largest),
            largest_gradient=max(values.largest_gradient, here.largest_gradient),
        )
    stacked = {i: np.stack([f[i] for f in frames]) for i in ids}
    wide = any(_needs_double(s) for s in stacked.values())
    kept = _thinned(len(chosen), BUDGET // max(8 * numbers, 1)) if wide else np.arange(len(chosen))
    series: dict[str, dict[str, Any]] = {}
    for box, pair in shown.items():
        for name, i in zip(("value", "gradient"), pair, strict=True):
            if i is None:
                continue
            series.setdefault(box, {})[name] = {
                "shape": list(start[i].shape),
                "cells": list(stacked[i].shape[1:]),
                "scale": values.scale(i),
                "data": base64.b64encode(stacked[i][kept].astype("<f8" if wide else "<f4").tobytes()).decode(),
            }
    given = recorded.loss[chosen] if recorded is not None and recorded.loss is not None else stacked[loss][:, 0, 0]
    losses = [float(f"{v:.6g}") for v in given[kept]]
    run = {
        "k": [int(v) for v in k[chosen][kept]],
        "loss": [v if math.isfinite(v) else str(v).replace("inf", "Infinity") for v in losses],  # JSON has no NaN
        "wide": wide,
        "series": series,
    }
    return run, values.told(made.drawn.lang)


def _thinned(steps: int, most: int) -> Array:
    """At most so many of the steps, evenly, with the first and the last."""
    return np.unique(np.linspace(0, steps - 1, min(steps, max(2, most))).round().astype(int))


def _needs_double(array: Array) -> bool:
    """Whether float32 would make a 0 of a number that is none, or an infinity."""
    size = np.abs(array[np.isfinite(array) & (array != 0)])
    bounds = np.finfo(np.float32)
    return bool(size.size) and bool(size.min() < bounds.tiny or size.max() > bounds.max)


def shown_nodes(derivation: Derivation, box: Box) -> tuple[int | None, int | None]:
    """The node whose value a box shows, and its adjoint; of a step what it gave."""
    if box.lane == "backward":
        return (box.nodes[0] if box.id[0] == "s" and box.nodes else None), None
    if box.id[0] != "n":
        return None, None
    id = int(box.id[1:])
    adjoint = derivation.adjoints.get(id)
    return id, (adjoint.id if adjoint is not None else None)
