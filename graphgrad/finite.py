"""Where a training step first left the finite numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphgrad.check import not_finite
from graphgrad.evaluate import evaluate_nodes
from graphgrad.notation import formula
from graphgrad.step import TrainingGraph
from graphgrad.types import Array

SMALLER = "; a smaller step size may help"


def first_not_finite(step: TrainingGraph, values: Mapping[str, Array]) -> str:
    """The first node, in the order of the derivation, whose value is not finite: its formula and the user's line.

    `values` are those of the step's leaves by name: inputs, parameters, states. "" where the reference finds none.
    """
    graph, arrays = step.graph, dict(values)
    hint = SMALLER if int(arrays[step.k.name]) else ""  # before the first update no step was too large
    with np.errstate(all="ignore"):
        found = evaluate_nodes(graph, [step.loss.id], _needed(step, arrays))
    for id in graph.ancestors([step.loss.id]):
        array = np.asarray(found[id])
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            word = "NaN" if np.isnan(array).any() else "inf"
            if graph.nodes[id].operator.name == "input":
                return f"{word} in {graph.label(id)}, which was given"
            names = {i: graph.label(i) for i in graph.names}
            written = formula(graph, id, names) if graph.nodes[id].inputs else graph.nodes[id].operator.name
            told = f"{word} in {graph.label(id)} = {written}{graph.made(id)}"
            return f"the first value that is not finite is {told}{hint}"
    first = next(not_finite(step.loss, step.derivation, arrays), "")
    return f"the loss is finite, and the first number that is not is {first}{hint}" if first else ""


def _needed(step: TrainingGraph, arrays: Mapping[str, Array]) -> dict[str, Array]:
    nodes = [step.graph.nodes[i] for i in step.graph.ancestors([step.loss.id])]
    names = {n["name"] for n in nodes if n.operator.kind == "leaf" and n.operator.name != "constant"}
    return {name: array for name, array in arrays.items() if name in names}
