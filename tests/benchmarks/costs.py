"""What comes before the first step and what it takes: imports, chains, large graphs, the first step, memory."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from . import harness, works
from .contestants import CONTESTANTS, graphgrad_trainer
from .harness import Verdict, child
from .works import Work

Say = Callable[[str], None]

RANDOM_GRAPHS = 400
LARGE = 4096  # what named sizes are taken times: that storages begin at multiples of 64 bytes is not to count

# ---------------------------------------------------------------------------------------------------------------------
# In children
# ---------------------------------------------------------------------------------------------------------------------


def first_step(fields: dict[str, Any]) -> float:
    """From Python objects to the end of the first step, everything imported."""
    import graphgrad  # noqa: F401

    work = Work(**{**fields, "widths": tuple(fields["widths"])})
    x, y = works.batches(work)
    now = harness.clock()
    start = now()
    graphgrad_trainer(work).step(x[0], y[0])
    return now() - start


def planned(fields: dict[str, Any]) -> tuple[int, int, int]:
    """The planned bytes of a step's workspace, the most that live at once, and the same where a pack grows by parts."""
    work = Work(**{**fields, "widths": tuple(fields["widths"])})
    function = graphgrad_trainer(work).function
    sizes = {"N": work.batch}
    return function.workspace_bytes(**sizes), *(most_alive(function.program, sizes, parts) for parts in (False, True))


def most_alive(program: Any, sizes: dict[str, int], parts: bool = False) -> int:
    """The largest sum of bytes of live values over the statements of a schedule: no plan for it can be smaller.

    A value lives from its statement to the last that reads it. Where a statement goes by elements and an operand of the
    same size dies with it, the result needs no memory of its own. A new value lives in what it replaces. A pack lives
    from its first operand on, which are in it; with `parts` it grows with each of them. A chain that runs in blocks
    reads its operands until its last statement; what only it reads takes a block.
    """
    from graphgrad.codegen.blocks import inner_values
    from graphgrad.codegen.program import nbytes
    from graphgrad.types import size_of

    order = {id: position for position, id in enumerate(program.step)}
    made = [id for id in program.step if program.roles[id] == "call" and program.storage_of.get(id, id) in order]
    size = {id: size_of(nbytes(program.node(id)), sizes) for id in made}
    dies = dict.fromkeys(made, 0) | {id: order[id] for id in made}
    for id, position in order.items():
        for source in program.reads[id]:
            if source in dies:
                dies[source] = position
    for id in inner_values(program) & size.keys():
        size[id] = min(size[id], program.block)
    for chain in program.chains:
        for source in {i for id in chain for i in program.reads[id]} & dies.keys():
            if source not in chain:
                dies[source] = max(dies[source], order[chain[-1]])
    end = len(program.step)
    for id in (*program.outputs, *(value for _, value in program.copies)):
        if program.base(id) in dies:
            dies[program.base(id)] = end
    born = {id: order[id] for id in made}
    for id, (pack, _) in program.placed.items():
        if id not in dies or pack not in dies or order[id] > order[pack]:  # what is computed over a part, after all
            continue
        dies[id] = dies[pack]
        if parts:
            size[pack] -= size[id]
        else:
            size[id] = 0
            born[pack] = min(born[pack], order[id])
    change = [0] * (end + 2)
    for id in made:
        change[born[id]] += size[id]
        change[dies[id] + 1] -= size[id]
    most = alive = 0
    for position in range(end + 1):
        alive += change[position]
        saved = 0
        if position < end and program.step[position] in size:
            id = program.step[position]
            node = program.node(id)
            dying = [i for i in program.reads[id] if dies.get(i) == position and size[i] == size[id]]
            saved = size[id] if dying and node.operator.kind == "elementwise" else 0
        most = max(most, alive - saved)
    return most


def random_plans(count: int) -> list[list[int]]:
    """The same of random graphs, from the tests: [planned, most alive] for each that needs memory at all."""
    try:
        from hypothesis import HealthCheck, Phase, given, settings
    except ImportError:
        raise harness.MissingError("hypothesis is not installed") from None
    import graphgrad as gg
    from tests.random_graphs import Case, cases

    found: list[list[int]] = []

    @settings(
        max_examples=count, database=None, deadline=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(cases())
    def collect(case: Case) -> None:
        function = gg.compile(case.outputs, updates=case.updates)
        sizes = {name: LARGE * size for name, size in case.probes[-1].sizes.items()}
        alive = most_alive(function.program, sizes)
        if alive >= LARGE:
            found.append([function.workspace_bytes(**sizes), alive])

    collect()
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Sections
# ---------------------------------------------------------------------------------------------------------------------


def imports(say: Say) -> dict[str, Any]:
    """`import graphgrad` against `import numpy, networkx`, in turn."""
    timed = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"

    def seconds(names: str) -> float:
        """In a process that has imported nothing yet."""
        command = [sys.executable, "-c", timed.format(names)]
        return float(subprocess.check_output(command, cwd=harness.ROOT, env=environment))

    environment = harness.environment(1)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # modules lie there compiled, as after an installation

    pairs = [(seconds("graphgrad"), seconds("numpy, networkx")) for _ in range(harness.PROCESSES)]
    result = {
        "ratio": statistics.median(a / b for a, b in pairs),
        "seconds": statistics.median(a for a, _ in pairs),
    }
    return told(say, result, import_verdicts)


def import_verdicts(found: dict[str, Any]) -> list[Verdict]:
    return [Verdict("import graphgrad against numpy, networkx", found["ratio"], 1.4, "x")]


def first_steps(say: Say) -> dict[str, Any]:
    chosen = {w.name: w for w in works.listed()}
    result = {
        row: [child("costs:first_step", asdict(chosen[row])) for _ in range(harness.PROCESSES)]
        for row in ("row 3", "row 6")
    }
    return told(say, {row: statistics.median(times) * 1e3 for row, times in result.items()}, first_verdicts)


def first_verdicts(found: dict[str, Any]) -> list[Verdict]:
    return [
        Verdict("first step of the digits, from Python objects", found["row 3"], 60, " ms"),
        Verdict("first step of the 50 layers, from Python objects", found["row 6"], 150, " ms"),
    ]


def workspaces(say: Say) -> dict[str, Any]:
    rows = {w.name: child("costs:planned", asdict(w)) for w in works.listed()}
    result: dict[str, Any] = {"rows": rows, "random": None}
    try:
        result["random"] = child("costs:random_plans", RANDOM_GRAPHS, python=sys.executable)
    except (harness.MissingError, harness.FailedError) as missing:
        say(f"random graphs: skipped: {missing}")
    return told(say, result, workspace_verdicts)


def workspace_verdicts(found: dict[str, Any]) -> list[Verdict]:
    result = [
        Verdict(f"{row}, planned workspace against the most that lives at once", size / alive, 1.1, "x")
        for row, (size, alive, _) in found["rows"].items()
    ]
    if found["random"]:
        ratios = [size / alive for size, alive in found["random"]]
        result.append(Verdict(f"{len(ratios)} random graphs, the worst of them", max(ratios), 1.25, "x"))
    return result


def memory(say: Say) -> dict[str, Any]:
    """The most memory of processes that train, on the two works where it matters."""
    result: dict[str, Any] = {}
    for work in works.listed():
        if work.name not in ("row 4", "row 5"):
            continue
        result[work.name] = {}
        for name in CONTESTANTS:
            if name == "matrix products":
                continue
            try:
                result[work.name][name] = child("contestants:trained", name, asdict(work), timeout=300)
            except (harness.MissingError, harness.FailedError, harness.GivenUpError) as missing:
                result[work.name][name] = {"skipped": str(missing)}
                say(f"memory of {work.name}, {name}: skipped: {missing}")
    return told(say, result, memory_verdicts)


def memory_verdicts(found: dict[str, Any]) -> list[Verdict]:
    result = []
    for row, one in found.items():
        if "total" in one.get("PyTorch", {}) and "total" in one["graphgrad"]:
            ours, theirs = one["graphgrad"], one["PyTorch"]
            result.append(Verdict(f"{row}, memory of training", ours["total"], theirs["total"], " MiB"))
    return result


def told(say: Say, found: dict[str, Any], verdicts: Callable[[dict[str, Any]], list[Verdict]]) -> dict[str, Any]:
    for verdict in verdicts(found):
        say(verdict.text)
    return found
