"""Training steps: graphgrad against everyone on the six networks of the table, and against hand-written NumPy on others
that no table lists; then in float64, on two threads and with other optimizers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from . import harness, works
from .contestants import CONTESTANTS
from .harness import BLOCK, BLOCKS, PROCESSES, Verdict
from .works import Work

Say = Callable[[str], None]

BY_HAND = 1.05  # graphgrad's step, of that of hand-written NumPy
RIVALS = ("PyTorch", "torch.compile", "JAX, a call a step", "PyTensor", "HIPS autograd", "scikit-learn")
FASTER_ON = ("row 1", "row 2", "row 3", "row 6")
CLOSE_ON, CLOSE = "row 4", 1.1
VARIED = ("hand NumPy", "naive NumPy", "PyTorch", "JAX, a call a step", "JAX, scan", "HIPS autograd", "scikit-learn")
VARIANTS: dict[str, tuple[dict[str, Any], int]] = {
    "float64": ({"dtype": "float64"}, 1),
    "two threads": ({}, 2),
    "float64, two threads": ({"dtype": "float64"}, 2),
    "SGD": ({"optimizer": "sgd"}, 1),
    "momentum": ({"optimizer": "momentum"}, 1),
}


def limit_on(row: str, opponent: str) -> float | None:
    """What graphgrad's time may be of an opponent's, if anything was promised."""
    if opponent == "hand NumPy":
        return BY_HAND
    if opponent in RIVALS:
        return 1.0 if row in FASTER_ON else CLOSE if row == CLOSE_ON else None
    return None


def paired(work: Work, opponent: str, limit: float | None, processes: int = PROCESSES) -> dict[str, Any]:
    """graphgrad against one other: the median ratio over processes, or why there is none."""

    def measure() -> dict[str, Any]:
        found: dict[str, Any] = harness.child(
            "contestants:against", ["graphgrad", opponent], asdict(work), BLOCKS, BLOCK, timeout=300
        )
        return found

    def near(ratio: float) -> bool:
        return limit is not None and 0.85 * limit < ratio < 1.2 * limit

    try:
        found = harness.over_processes(measure, processes, near)
    except (harness.MissingError, harness.FailedError, harness.GivenUpError) as missing:
        return {"skipped": str(missing)}
    kept = {name: found[name] for name in ("ratio", "least", "most", "processes")}
    return {**kept, "us": found["us"][1], "ours": found["us"][0], "first": found["first"], "wrong": found["wrong"]}


def measured(say: Say, chosen: Sequence[Work], opponents: Sequence[str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for work in chosen:
        rows: dict[str, Any] = {}
        for opponent in opponents:
            rows[opponent] = paired(work, opponent, limit_on(work.name, opponent) or BY_HAND)
        result[work.name] = {"title": work.title, "against": rows}
        for line in verdicts({work.name: result[work.name]}):
            say(line.text)
        for opponent, found in rows.items():
            if "skipped" in found:
                say(f"{work.name}, {opponent}: skipped: {found['skipped']}")
    return result


def table(say: Say) -> dict[str, Any]:
    """The six networks of the table, float32, one thread, Adam, against everyone."""
    return measured(say, works.listed(), [name for name in CONTESTANTS if name != "graphgrad"])


def others(say: Say) -> dict[str, Any]:
    """Works that no table lists, against hand-written NumPy."""
    return measured(say, works.others(), ["hand NumPy"])


def variants(say: Say) -> dict[str, Any]:
    """The six networks in float64, on two threads, with SGD and momentum: one process for each, all in turn in it."""
    result: dict[str, Any] = {}
    for name, (changed, threads) in VARIANTS.items():
        rows: dict[str, Any] = {}
        for work in works.listed():
            contestants = ["graphgrad", *VARIED]
            varied = replace(work, **changed)
            try:
                found = harness.child(
                    "contestants:against", contestants, asdict(varied), 15, BLOCK, threads=threads, timeout=300
                )
            except (harness.MissingError, harness.FailedError, harness.GivenUpError) as missing:
                say(f"{name}, {work.name}: skipped: {missing}")
                continue
            rows[work.name] = {
                "us": dict(zip(found["names"], found["us"], strict=True)),
                "ratios": dict(zip(found["names"][1:], found["ratios"], strict=True)),
                "wrong": found["wrong"],
            }
            told = ", ".join(f"{n} {us:.0f}" for n, us in rows[work.name]["us"].items())
            say(f"{name}, {work.name} in µs: {told}")
        result[name] = rows
    return result


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    """Those of the table or of the others."""
    result = []
    for row, one in found.items():
        for opponent, against in one["against"].items():
            if "skipped" in against:
                continue
            if against["wrong"]:
                result.append(Verdict(f"{row}, losses of {opponent} and graphgrad apart", 1, 0, ""))
            limit = limit_on(row, opponent)
            if (limit is not None and row != CLOSE_ON) or opponent == "hand NumPy":
                spread = f" ({against['least']:.3f} to {against['most']:.3f} in {against['processes']} processes)"
                result.append(Verdict(f"{row} against {opponent}", against["ratio"], limit or BY_HAND, "x", spread))
        rivals = {n: a["ratio"] for n, a in one["against"].items() if n in RIVALS and "ratio" in a}
        if row == CLOSE_ON and rivals:
            best = max(rivals, key=lambda n: rivals[n])
            result.append(Verdict(f"{row} against the fastest, {best}", rivals[best], CLOSE, "x"))
    return result
