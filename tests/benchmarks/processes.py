"""What several processes cost: steps by 1, 2 and 4 of them, all-reduces, and a model that tells where they stop paying.

    T(R) = T_compute(batch / R) + T_update + T_allreduce(R, bytes)
    T_allreduce(R, bytes) = 2 log2(R) · latency + 2 (R - 1) / R · bytes / bandwidth

The first two are timed in processes that send no messages, latency and bandwidth are fitted to all-reduces of two
processes. Every time is the least of some blocks: what disturbs a block only makes it longer.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from . import harness, works
from .contestants import graphgrad_trainer
from .harness import Verdict
from .markdown import rows, time_of
from .works import Work

Say = Callable[[str], None]

PAGE = harness.ROOT / "docs" / "processes.md"
BEGIN, END = (
    "<!-- measured: python -m tests.benchmarks --only processes --write -->",
    "<!-- end of what was measured -->",
)

RANKS = (1, 2, 4)
PINGS = tuple(8 * 8**k for k in range(8))  # bytes: 8 to 16 Mi
PARTS = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4)  # of a work's batch, for T_compute
BLOCKS, BLOCK = 25, 0.02  # how many, and seconds of each
EFFICIENCY = 0.75  # a speedup of so much of the number of processes is worth them

#: Networks by their data sheets and by what programs see of them: latency in seconds, bandwidth in bytes a second.
NETWORKS = {
    "1 Gb Ethernet": (50e-6, 0.117e9),
    "10 Gb Ethernet": (15e-6, 1.17e9),
    "100 Gb InfiniBand": (1.5e-6, 12e9),
}


def timed() -> list[Work]:
    """Those that are run by 1, 2 and 4 processes."""
    rows = [w for w in works.listed() if w.name in ("row 1", "row 3", "row 4")]
    return [*rows, replace(rows[-1], name="row 4, large batch", batch=1024)]


def predicted_for() -> list[Work]:
    """Those that the model is asked about."""
    return [*timed(), next(w for w in works.listed() if w.name == "row 5")]


# ---------------------------------------------------------------------------------------------------------------------
# The model
# ---------------------------------------------------------------------------------------------------------------------


def allreduce(ranks: int, size: int, latency: float, bandwidth: float) -> float:
    """Seconds to sum `size` bytes over all processes: there and back through a tree of messages, each byte twice."""
    return 2 * math.log2(ranks) * latency + 2 * (ranks - 1) / ranks * size / bandwidth


def fit_network(pings: Mapping[int, float], ranks: int) -> tuple[float, float]:
    """Latency and bandwidth from seconds by bytes; all sizes count alike, however long they take."""
    size, seconds = np.array(list(pings)), np.array(list(pings.values()))
    terms = np.stack([np.full(len(size), 2 * math.log2(ranks)), 2 * (ranks - 1) / ranks * size], 1)
    latency, each = np.linalg.lstsq(terms / seconds[:, None], np.ones(len(size)), rcond=None)[0]
    return float(latency), float(1 / each)


def fit_line(times: Mapping[int, float]) -> tuple[float, float]:
    """a and c of seconds = a + c · samples."""
    samples, seconds = np.array(list(times)), np.array(list(times.values()))
    terms = np.stack([np.ones(len(samples)), samples], 1)
    a, c = np.linalg.lstsq(terms / seconds[:, None], np.ones(len(samples)), rcond=None)[0]
    return float(a), float(c)


def step_seconds(line: Sequence[float], batch: int, size: int, ranks: int, network: Sequence[float]) -> float:
    """T(R) with T_compute and T_update from their line, on machines of their own."""
    a, c = line
    return a + c * batch / ranks + (allreduce(ranks, size, *network) if ranks > 1 else 0.0)


def paying_batch(line: Sequence[float], size: int, ranks: int, network: Sequence[float]) -> float:
    """The smallest batch for which `ranks` processes are EFFICIENCY · ranks times as fast as one."""
    a, c = line
    wanted = EFFICIENCY * ranks
    return ((wanted - 1) * a + wanted * allreduce(ranks, size, *network)) / (c * (1 - EFFICIENCY))


# ---------------------------------------------------------------------------------------------------------------------
# What is measured
# ---------------------------------------------------------------------------------------------------------------------


def least(comm: Any, act: Callable[[], object]) -> float:
    """Seconds of an act that all processes do at once, until the last has done it: the least mean over a block."""

    def block(count: int) -> float:
        comm.Barrier()
        start = time.perf_counter()
        for _ in range(count):
            act()
        comm.Barrier()
        return time.perf_counter() - start

    block(3)
    once = min(block(1) for _ in range(5))
    count = comm.bcast(max(1, round(BLOCK / max(once, 1e-7))))
    return min(block(count) for _ in range(BLOCKS)) / count


def on_ranks() -> dict[str, Any]:
    """In each of several processes: seconds of all-reduces by bytes, of steps by work, and of these without sums."""
    from mpi4py import MPI

    from graphgrad.parallel import Processes

    comm = MPI.COMM_WORLD
    processes = Processes(comm)
    found: dict[str, Any] = {"pings": {}, "steps": {}, "apart": {}}
    for size in PINGS if comm.size > 1 else ():
        own = np.zeros(size // 4, np.float32)
        out = np.zeros_like(own)
        found["pings"][size] = least(comm, partial(comm.Allreduce, own, out))
    for work in timed():
        x, y = (np.ascontiguousarray(a[0]) for a in works.batches(work))
        if comm.size == 1:
            step = partial(graphgrad_trainer(work).step, x, y)
        else:
            mine = processes.share(np.arange(work.batch))
            step, apart = (
                partial(graphgrad_trainer(work, processes=p).summed, (x[mine], y[mine]), len(mine) / work.batch)
                for p in (processes, Processes(MPI.COMM_SELF))
            )
            found["apart"][work.name] = least(comm, apart)
        found["steps"][work.name] = least(comm, step)
    return found


def in_one() -> dict[str, Any]:
    """In one process that works as one of several would: seconds of a step by samples, of which the update."""
    from mpi4py import MPI

    from graphgrad.parallel import Processes

    alone, found = MPI.COMM_SELF, {}
    for work in predicted_for():
        summed = graphgrad_trainer(work, processes=Processes(alone)).summed
        x, y = (a.reshape(-1, *a.shape[2:]) for a in works.batches(work))
        counts = [round(part * work.batch) for part in PARTS]
        times = {n: least(alone, partial(summed, (x[:n], y[:n]), 0.5)) for n in counts}
        update = least(alone, partial(summed._update.call, summed._arguments))
        found[work.name] = {"bytes": summed._own.nbytes, "times": times, "update": update}
    return found


def by_mpiexec(function: str, ranks: int) -> Any:
    """What a function of this file returns in the first of several processes, by way of JSON."""
    launcher = Path(sys.executable).parent / "mpiexec"
    if not launcher.exists():
        raise harness.MissingError("mpiexec of the extra mpi is not installed")
    command = [str(launcher), "-n", str(ranks), sys.executable, "-m", "tests.benchmarks.processes", function]
    done = subprocess.run(
        command, cwd=harness.ROOT, env=harness.environment(1), capture_output=True, text=True, timeout=900
    )
    if done.returncode:
        raise harness.FailedError(f"{function} by {ranks}: {(done.stderr.strip().splitlines() or [''])[-1][:200]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def processes(say: Say) -> dict[str, Any]:
    """A step by 1, 2 and 4 ranks, all-reduces by 2 and 4, and a step's parts in one process."""
    found: dict[str, Any] = {"cores": harness.machine()["cores"], "one": by_mpiexec("in_one", 1), "ranks": {}}
    for ranks in RANKS:
        found["ranks"][str(ranks)] = by_mpiexec("on_ranks", ranks)
        times = ", ".join(f"{name} {t * 1e6:.0f} µs" for name, t in found["ranks"][str(ranks)]["steps"].items())
        say(f"{ranks} rank{'s' * (ranks > 1)}: {times}")
    for verdict in verdicts(found):
        say(verdict.text)
    return found


def network_here(found: dict[str, Any]) -> tuple[float, float]:
    """Latency and bandwidth between two processes of this machine."""
    return fit_network({int(size): t for size, t in found["ranks"]["2"]["pings"].items()}, 2)


# ---------------------------------------------------------------------------------------------------------------------
# The page
# ---------------------------------------------------------------------------------------------------------------------


def compared(found: dict[str, Any], work: Work, ranks: int) -> tuple[float, float, float]:
    """Seconds of a step: as measured, without sums, and of the all-reduce by the model."""
    of_ranks, size = found["ranks"][str(ranks)], found["one"][work.name]["bytes"]
    summing = allreduce(ranks, size, *network_here(found))
    return of_ranks["steps"][work.name], of_ranks["apart"][work.name], summing


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    result = []
    for work in timed():
        seconds, computing, summing = compared(found, work, 2)
        result.append(Verdict(f"{work.name} by 2 ranks against the model", seconds / (computing + summing), 1.5, "x"))
    return result


def write_page(found: dict[str, Any], machine: dict[str, Any]) -> None:
    """Put what was measured into docs/processes.md, between its two marks."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_part(text, part(found, machine)), encoding="utf-8")


def with_part(text: str, measured: str) -> str:
    """The page with another measured part."""
    return f"{text.split(BEGIN)[0]}{BEGIN}\n\n{measured}\n\n{END}{text.split(END)[1]}"


def us(seconds: float) -> str:
    return time_of(seconds * 1e6)


def part(found: dict[str, Any], machine: dict[str, Any]) -> str:
    """The measured part of the page."""
    latency, bandwidth = network_here(found)
    networks = "\n".join(f"- {n}: {a * 1e6:g} µs, {b / 1e9:g} GB/s" for n, (a, b) in NETWORKS.items())
    return f"""### Measured

{machine["cpu"]}, {found["cores"]} cores; one thread a process, Adam in float32, the samples at hand.
Each time is the least of {BLOCKS} blocks of about {BLOCK * 1e3:g} ms. The speedup is against a step of one process,
which needs no sum. "By themselves" is T_compute + T_update: as many processes at once, each with its part of the batch,
without messages. The all-reduce is the model's, with latency and bandwidth as fitted below, and the prediction is the
sum of both.

{of_steps(found)}

Two processes of one machine share its memory and what else its cores have in common, so by themselves they may be
slower than one that has the machine to itself. On two machines they are not.

**Four ranks share two cores here.** Each core computes for two ranks in turn, so there is nothing to win over two
ranks. What is measured beyond the prediction is waiting: a rank that has nothing to do asks for its messages again and
again, until the system gives its core to the other one. These rows tell what becomes of more ranks than cores. They
tell nothing of four cores.

All-reduces alone, and the model fitted to those of two ranks: a latency of {latency * 1e6:.2f} µs and a bandwidth of
{bandwidth / 1e9:.2f} GB/s, through memory that both processes see.

{of_pings(found)}

### Where it stops paying

What a process does by itself, T_compute + T_update, is nearly a line over the samples of its part, from
{PARTS[0]:g} to {PARTS[-1]:g} times the batch:

{of_lines(found)}

With a core of this kind on each machine, one rank a machine, and these networks between the machines (latency and
bandwidth as programs see them; they are given, not measured):

{networks}

Predicted speedups over one process, and the number of ranks that is the fastest, of the powers of two up to the batch.
Where it is 1, a second machine makes training slower.

{of_speedups(found)}

In a larger batch the sum weighs less. The smallest batch for which R ranks are {EFFICIENCY:g} R times as fast as one:

{of_batches(found)}"""


def of_steps(found: dict[str, Any]) -> str:
    lines = []
    for work in timed():
        alone = found["ranks"]["1"]["steps"][work.name]
        lines.append([f"{work.title}: 1 rank", us(alone), "", "", "", ""])
        for ranks in RANKS[1:]:
            seconds, computing, summing = compared(found, work, ranks)
            told = [us(seconds), f"{alone / seconds:.2f}", us(computing + summing), us(computing), us(summing)]
            lines.append([f"{ranks} ranks", *told])
    return rows(["a step", "measured", "speedup", "predicted", "by themselves", "all-reduce"], lines)


def of_pings(found: dict[str, Any]) -> str:
    here, lines = network_here(found), []
    for size in PINGS:
        cells = [f"{size:,}"]
        for ranks in RANKS[1:]:
            cells += [us(found["ranks"][str(ranks)]["pings"][str(size)]), us(allreduce(ranks, size, *here))]
        lines.append(cells)
    return rows(["bytes", "2 ranks", "predicted", "4 ranks, on two cores", "predicted for four cores"], lines)


def line_of(found: dict[str, Any], work: Work) -> tuple[float, float]:
    return fit_line({int(n): t for n, t in found["one"][work.name]["times"].items()})


def of_lines(found: dict[str, Any]) -> str:
    lines = []
    for work in predicted_for():
        own, (a, c) = found["one"][work.name], line_of(found, work)
        lines.append([work.title, f"{own['bytes'] / 1e3:,.1f} kB", us(own["update"]), us(a), f"{c * 1e6:.2f} µs"])
    return rows(["step", "all-reduced", "T_update", "in all, each step", "and each sample"], lines)


def of_speedups(found: dict[str, Any]) -> str:
    lines = []
    for work in predicted_for():
        line, size = line_of(found, work), found["one"][work.name]["bytes"]
        for name, network in NETWORKS.items():
            counts = [2**k for k in range(1 + int(math.log2(work.batch)))]
            seconds = {r: step_seconds(line, work.batch, size, r, network) for r in counts}
            gains = [f"{seconds[1] / seconds[r]:.2f}" for r in (2, 4, 8, 16)]
            lines.append([f"{work.title}; {name}", *gains, str(min(seconds, key=lambda r: seconds[r]))])
    return rows(["step; network", "2 ranks", "4", "8", "16", "fastest"], lines)


def of_batches(found: dict[str, Any]) -> str:
    lines = []
    for work in predicted_for():
        if work.name.endswith("large batch"):  # the network is there already
            continue
        line, size = line_of(found, work), found["one"][work.name]["bytes"]
        for name, network in NETWORKS.items():
            least_of = [f"{math.ceil(paying_batch(line, size, r, network)):,}" for r in (2, 4, 8, 16)]
            lines.append([f"{work.title.rpartition(', ')[0]}; {name}", *least_of])
    return rows(["network; network between machines", "2 ranks", "4", "8", "16"], lines)


def main() -> None:
    """The other side of `by_mpiexec`."""
    from mpi4py import MPI

    found = {"on_ranks": on_ranks, "in_one": in_one}[sys.argv[1]]()
    if MPI.COMM_WORLD.rank == 0:
        print("\n" + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
