"""Write what PyTorch says to tests/data/torch.json: values and gradients of operators, and steps of its optimizers.

    python tests/record_torch.py            # write the record
    python tests/record_torch.py --check    # compute all of it again and compare; status 1 and a table where it differs

Needs torch and numpy and nothing of this project, so that it runs in an environment of its own. Everything is float64.
The cases stand in tests/torch_cases.py. Their expressions and inputs are in the record too: tests/test_torch_record.py
needs the record alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch_cases import BATCH, BATCHES, CASES, LOSSES, OPTIMIZERS, STEPS, WIDTHS, Case, Draw, training_data

RECORD = Path(__file__).parent / "data" / "torch.json"
TOLERANCE = 1e-13  # of the largest entry: vector instructions of other processors may differ in the last bits
RUN_TOLERANCE = 1e-11  # of a run's largest parameter: a hundred steps amplify those bits

# ---------------------------------------------------------------------------------------------------------------------
# Recording
# ---------------------------------------------------------------------------------------------------------------------


def record_case(case: Case) -> dict[str, Any]:
    """A case with its numbers. The gradient is of the sum of all outputs, each weighted by its adjoint."""
    arrays = case.arrays()
    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    wrt = {name: t.requires_grad_() for name, t in tensors.items() if t.is_floating_point() and name not in case.fixed}
    result = eval(case.torch, {"torch": torch, "F": F, **tensors})
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    adjoints = [adjoint_of(t, f"{case.name}: adjoint {k}") for k, t in enumerate(outputs)]
    active = [(t, a) for t, a in zip(outputs, adjoints, strict=True) if t.requires_grad]
    found: Any = [None] * len(wrt)
    if active:
        from_outputs, weights = zip(*active, strict=True)
        found = torch.autograd.grad(from_outputs, list(wrt.values()), weights, allow_unused=True)
    gradients = [torch.zeros_like(t) if g is None else g for t, g in zip(wrt.values(), found, strict=True)]
    return {
        "name": case.name,
        "gg": case.gg,
        "torch": case.torch,
        "inputs": {name: array.tolist() for name, array in arrays.items()},
        "outputs": [t.tolist() for t in outputs],
        "adjoints": [None if a is None else a.tolist() for a in adjoints],
        "gradients": {name: g.tolist() for name, g in zip(wrt, gradients, strict=True)},
    }


def adjoint_of(output: torch.Tensor, seed: str) -> torch.Tensor | None:
    """Where the gradient starts: no zero, no symmetry; none for integers and bools."""
    if not output.is_floating_point():
        return None
    return torch.tensor(Draw(tuple(output.shape), 0.5, 1.5).array(seed), dtype=output.dtype)


def train(optimizer: str, schedule: str, loss: str, data: dict[str, Any]) -> dict[str, Any]:
    """The losses and the parameters after some of the steps."""
    arrays = {name: torch.tensor(value) for name, value in data.items()}
    theta = {name: value.requires_grad_() for name, value in arrays.items() if name[0] in "Wb"}
    update = eval(optimizer, {"torch": torch, "parameters": list(theta.values())})
    scheduler = eval(schedule, {"torch": torch, "optimizer": update}) if schedule else None
    result: dict[str, Any] = {"losses": [], "parameters": {}}
    for step in range(1, max(STEPS) + 1):
        start = (step - 1) % BATCHES * BATCH
        x, y, labels = (arrays[name][start : start + BATCH] for name in ("x", "y", "labels"))
        z = F.linear(torch.tanh(F.linear(x, theta["W1"], theta["b1"])), theta["W2"], theta["b2"])
        value = eval(loss, {"F": F, "z": z, "y": y, "labels": labels})
        update.zero_grad()
        value.backward()
        update.step()
        if scheduler is not None:
            scheduler.step()
        if step in STEPS:
            result["losses"].append(value.item())
            result["parameters"][str(step)] = {name: value.tolist() for name, value in theta.items()}
    return result


def compute() -> dict[str, Any]:
    """The whole record."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    names = [c.name for c in CASES]
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise SystemExit(f"two cases are named {twice}: a note would tell them apart")
    data = training_data()
    runs = [
        {"name": f"{gg}, {loss}", "gg": gg, "torch": optimizer, "schedule": schedule, "loss": loss}
        | train(optimizer, schedule, LOSSES[loss], data)
        for gg, (optimizer, schedule) in OPTIMIZERS.items()
        for loss in LOSSES
    ]
    return {
        "torch": torch.__version__.split("+")[0],
        "cases": [record_case(c) for c in CASES],
        "training": {"widths": list(WIDTHS), "batch": BATCH, **{name: array.tolist() for name, array in data.items()}},
        "runs": runs,
    }


def text(record: dict[str, Any]) -> str:
    """JSON with a field a line. Floats have as many digits as tell them apart; Infinity and NaN are Python's."""
    blocks = [f'"torch": {json.dumps(record["torch"])}', f'"training": {block(record["training"])}']
    blocks += [f'"{part}": [\n' + ",\n".join(map(block, record[part])) + "\n]" for part in ("cases", "runs")]
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def block(entry: dict[str, Any]) -> str:
    fields = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()]
    return "{\n" + ",\n".join(fields) + "\n}"


# ---------------------------------------------------------------------------------------------------------------------
# Comparing
# ---------------------------------------------------------------------------------------------------------------------


def differences(stored: dict[str, Any], found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What differs: (case, field, how much)."""
    result: list[tuple[str, str, str]] = []

    def compare(name: str, was: Any, now: Any, tolerances: dict[str, float]) -> None:
        for key in sorted(was.keys() | now.keys()):
            if key not in was or key not in now:
                result.append((name, key, "only now" if key in now else "only in the record"))
            elif (apart := distance(was[key], now[key])) > tolerances.get(key, 0.0):
                result.append((name, key, f"{apart:.3g}" if np.isfinite(apart) else "another text, shape or infinity"))

    for part, tolerances in {
        "cases": {"outputs": TOLERANCE, "gradients": TOLERANCE},
        "runs": {"losses": RUN_TOLERANCE, "parameters": RUN_TOLERANCE},
    }.items():
        was, now = ({entry["name"]: entry for entry in record[part]} for record in (stored, found))
        for name in dict.fromkeys([*was, *now]):
            if name in was and name in now:
                compare(name, was[name], now[name], tolerances)
            else:
                result.append((name, "the case", "only now" if name in now else "only in the record"))
    compare("training", stored["training"], found["training"], {})
    return result


def distance(a: Any, b: Any) -> float:
    """How far two values of the record are apart, in parts of the largest entry; inf where they are not of one form."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return max([distance(a[k], b[k]) for k in a], default=0.0)
    if isinstance(a, list) and isinstance(b, list) and (nested(a) or nested(b)):
        return max([distance(x, y) for x, y in zip(a, b, strict=True)], default=0.0) if len(a) == len(b) else np.inf
    if a == b or not (numeric(a) and numeric(b)):
        return 0.0 if a == b else np.inf
    x, y = np.asarray(a), np.asarray(b)
    if x.shape != y.shape or x.dtype != y.dtype:
        return np.inf
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    with np.errstate(invalid="ignore"):
        apart = np.max(np.where(same, 0.0, np.abs(x - y)), initial=0.0)
    if apart == 0.0:
        return 0.0
    return float(apart / np.max(np.abs(x), where=np.isfinite(x), initial=0.0)) if np.isfinite(apart) else np.inf


def nested(value: list[Any]) -> bool:
    """A list that is no array of numbers: its entries are compared one by one."""
    try:
        return np.asarray(value).dtype.kind not in "biuf"
    except ValueError:
        return True


def numeric(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, list) and not nested(value))


def main() -> int:
    parser = argparse.ArgumentParser(description="Record what PyTorch says, or check the record.")
    parser.add_argument("--check", action="store_true", help="compare with the record instead of writing it")
    arguments = parser.parse_args()
    found = compute()
    if not arguments.check:
        RECORD.parent.mkdir(exist_ok=True)
        RECORD.write_text(text(found), encoding="utf-8")
        print(f"{RECORD}: {len(found['cases'])} cases and {len(found['runs'])} runs of PyTorch {found['torch']}")
        return 0
    if not RECORD.exists():
        print(f"{RECORD} does not exist; python {sys.argv[0]} writes it", file=sys.stderr)
        return 1
    stored = json.loads(RECORD.read_text(encoding="utf-8"))
    rows = differences(stored, found)
    verdict = f"{len(rows)} differences" if rows else "they agree"
    print(f"the record of PyTorch {stored['torch']} against PyTorch {found['torch']}: {verdict}")
    if not rows:
        return 0
    rows.insert(0, ("case", "field", "of the largest entry"))
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 1


if __name__ == "__main__":
    sys.exit(main())
