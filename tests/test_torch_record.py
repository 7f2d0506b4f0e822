"""graphgrad against what PyTorch said: tests/data/torch.json, which tests/record_torch.py writes and explains."""

from __future__ import annotations

import ast
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.derive import UnusedParameterWarning
from graphgrad.operator import OPERATORS
from graphgrad.operators import FAMILIES

RECORD = json.loads((Path(__file__).parent / "data" / "torch.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in RECORD["cases"]}
RUNS = {run["name"]: run for run in RECORD["runs"]}
TOLERANCE = 1e-12  # of the largest entry
RUN_TOLERANCE = 1e-10  # of the largest parameter

NAMES = {**vars(gg), "__builtins__": {"float": float}}  # what an expression of the record may use

Case = dict[str, Any]
Values = dict[str, np.ndarray[Any, Any]]

# ---------------------------------------------------------------------------------------------------------------------
# Operators
# ---------------------------------------------------------------------------------------------------------------------


def build(case: Case) -> tuple[list[gg.Tensor], Values]:
    """The outputs of a case, built from its expression, and its inputs. What has a gradient is a parameter."""
    graph = gg.Graph()
    arrays = {name: np.asarray(value) for name, value in case["inputs"].items()}
    tensors = {
        name: (graph.parameter if name in case["gradients"] else graph.input)(name, array.shape, array.dtype.name)
        for name, array in arrays.items()
    }
    built = eval(case["gg"], NAMES, tensors)
    return list(built) if isinstance(built, (list, tuple)) else [built], arrays


def build_gradients(case: Case, outputs: list[gg.Tensor], arrays: Values) -> list[gg.Tensor]:
    """The gradients of the outputs' sum, weighted by the recorded adjoints, which become inputs."""
    graph, scalar = outputs[0].graph, None
    for k, (tensor, adjoint) in enumerate(zip(outputs, case["adjoints"], strict=True)):
        if adjoint is not None:
            weights = graph.input(f"adjoint{k}", tensor.shape, tensor.dtype)
            arrays[f"adjoint{k}"] = np.asarray(adjoint, tensor.dtype)
            part = gg.sum(weights * tensor)
            scalar = part if scalar is None else scalar + part
    if scalar is None:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedParameterWarning)  # comparisons: the record holds zeros
        derivation = gg.derive(scalar, [graph[name] for name in case["gradients"]])
    return [derivation[graph[name]] for name in case["gradients"]]


def agree(what: str, found: Any, wanted: Any, tolerance: float = TOLERANCE) -> None:
    """Equal forms, equal infinities and NaNs, and all else within `tolerance` of the largest finite entry."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, f"{what}: shape {found.shape} where PyTorch has {wanted.shape}"
    assert found.dtype.kind == wanted.dtype.kind, f"{what}: {found.dtype} where PyTorch has {wanted.dtype}"
    numbers = wanted.astype(np.float64)
    same = (found == wanted) | (np.isnan(found.astype(np.float64)) & np.isnan(numbers))
    largest = np.max(np.abs(numbers), where=np.isfinite(numbers), initial=0.0)
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(found.astype(np.float64) - numbers))
    said = f"{what}: {np.max(apart, initial=0.0):.3g} apart\ngraphgrad {found}\nPyTorch   {wanted}"
    assert np.all(apart <= tolerance * largest), said


@pytest.mark.parametrize("way", ["evaluated", "compiled"])
@pytest.mark.parametrize("name", CASES)
def test_operator(name: str, way: str) -> None:
    case = CASES[name]
    outputs, arrays = build(case)
    gradients = build_gradients(case, outputs, arrays)
    tensors = [*outputs, *gradients]
    with np.errstate(all="ignore"):  # poles are among the cases
        found = gg.evaluate(tensors, **arrays) if way == "evaluated" else gg.compile(tensors)(**arrays)
    for value, wanted in zip(found, case["outputs"], strict=False):
        agree("value", value, wanted)
    if gradients:
        for value, (leaf, wanted) in zip(found[len(outputs) :], case["gradients"].items(), strict=True):
            agree(f"gradient by {leaf}", value, wanted)


#: What no case names: graphgrad has it and PyTorch has not.
NOT_IN_TORCH = {
    "arange": "counts along a named size, and sizes in the record are numbers",
    "checked_label": "what labels become when a loss is compiled",
    "dimension_size": "a named size as a value, and sizes in the record are numbers",
    "embed_diagonal": "the adjoint of diagonal; it stands in the gradients of diagonal",
    "exp_shares": "the derivative of logsumexp; it stands in the gradients of logsumexp",
    "linear_recurrence": "the adjoint of products_before; it stands in second derivatives of prod",
    "products_before": "a part of the derivative of prod; it stands in the gradients of prod",
    "scatter": "what scatter_add becomes when it is compiled",
    "take_off": "what p - one_hot(y) becomes when a step is compiled",
    "unit_rows": "what one_hot becomes when it is compiled",
}


def test_every_operator_that_torch_has_is_recorded() -> None:
    recorded = set()
    for case in CASES.values():
        recorded |= {node.id for node in ast.walk(ast.parse(case["gg"], mode="eval")) if isinstance(node, ast.Name)}
        outputs, _ = build(case)
        recorded |= {node.operator.name for node in outputs[0].graph.nodes}
    public = {name for family in FAMILIES for name in family.__all__}
    wanted = public | {name for name, row in OPERATORS.items() if row.kind != "leaf"}
    unrecorded = wanted - recorded
    missing = sorted(unrecorded - NOT_IN_TORCH.keys())
    assert not missing, f"a case in tests/torch_cases.py, or a reason here, is wanted for {', '.join(missing)}"
    needless = sorted(NOT_IN_TORCH.keys() - unrecorded)
    assert not needless, f"reasons are given for what is recorded, or is no operator: {', '.join(needless)}"


# ---------------------------------------------------------------------------------------------------------------------
# Optimizers
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_training_steps(name: str) -> None:
    run, training = RUNS[name], RECORD["training"]
    net = gg.feedforward(training["widths"], activation="tanh", loss=run["loss"])
    initial = {p.name: np.asarray(training[p.name]) for p in net.parameters}
    given = {"net": net, "initial": initial}
    trainer = eval(f"Trainer(net, {run['gg']}, dtype='float64', parameters=initial)", NAMES, given)
    x = np.asarray(training["x"])
    y = np.asarray(training["labels" if run["loss"] == "cross_entropy" else "y"])
    losses = []
    for step in range(1, max(map(int, run["parameters"])) + 1):
        start = (step - 1) * training["batch"] % len(x)
        loss = trainer.step(x[start : start + training["batch"]], y[start : start + training["batch"]])
        if wanted := run["parameters"].get(str(step)):
            losses.append(loss)
            assert list(trainer.parameters) == list(wanted)
            agree(f"parameters after {step} steps", flat(trainer.parameters), flat(wanted), RUN_TOLERANCE)
    agree("losses", losses, run["losses"], RUN_TOLERANCE)


def flat(parameters: Values) -> np.ndarray[Any, Any]:
    return np.concatenate([np.ravel(value) for value in parameters.values()])
