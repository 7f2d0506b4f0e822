"""Measuring in processes of their own: threads are set before NumPy loads, and contestants take turns in short blocks.

The speed of a machine drifts, and one process may be slower than the next by a tenth for as long as it lives. So only
ratios are trusted: both contestants work in the same process, in blocks of some milliseconds, in turn; each process
gives the median of its ratios, and the median over several processes is the figure. On one thread the clock is the
time that the process has worked: turns of the system's scheduler are as long as the blocks, and would be measured.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
TUNING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # a BLAS that was told of another machine
ONE_THREAD_XLA = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

PROCESSES = 9
BLOCKS = 25
BLOCK = 0.015  # seconds
#: Steps of a block at least, of contestants that take less than so many seconds: the first step after another one's
#: finds a cold cache, and two that differ in the number of their steps would not bear the same share of that.
LEAST, SLOW = 8, 0.05

#: Takes n steps and returns the last loss, if it knows it. One that has an attribute `unit` takes multiples of that.
Run = Callable[[int], Any]


@dataclass(frozen=True)
class Verdict:
    """A figure, and the limit that it is held to."""

    name: str
    value: float
    limit: float
    unit: str
    spread: str = ""

    @property
    def ok(self) -> bool:
        return self.value <= self.limit

    @property
    def text(self) -> str:
        word = "ok  " if self.ok else "OVER"
        digits = 3 if self.unit == "x" else 2
        held = f"{self.value:.{digits}f}{self.unit} (at most {self.limit:g}{self.unit})"
        return f"{word}  {self.name}: {held}{self.spread}"


class MissingError(Exception):
    """A contestant that cannot take part, with the word that says why."""


class FailedError(Exception):
    """A process that ended without a result."""


class GivenUpError(Exception):
    """A process that took too long, with what it had told by then."""

    def __init__(self, seconds: float, known: Any) -> None:
        super().__init__(f"given up after {seconds:g} s")
        self.known = known


def so_far(result: Any) -> None:
    """In a child: what is known now, should the process be given up."""
    print("\n" + json.dumps({"so far": result}), flush=True)


def interpreter() -> str:
    """That of the contestants: BENCH_PYTHON, where all peers may be installed, or this one."""
    return os.environ.get("BENCH_PYTHON") or sys.executable


def environment(threads: int) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if k not in TUNING}
    env |= dict.fromkeys(THREADS, str(threads))
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])
    env.pop("XLA_FLAGS", None)
    if threads == 1:
        env["XLA_FLAGS"] = ONE_THREAD_XLA
    return env


def child(
    function: str, *arguments: Any, threads: int = 1, timeout: float | None = None, python: str | None = None
) -> Any:
    """What `module:function` of this package returns in a process of its own, by way of JSON.

    Raises MissingError where it does, GivenUpError after `timeout` seconds, and FailedError with the last line of
    its complaint.
    """
    command = [python or interpreter(), "-m", "tests.benchmarks.harness", function, json.dumps(arguments)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment(threads), capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired as late:
        known = [line for line in (late.stdout or b"").decode().splitlines() if line.startswith('{"so far"')]
        raise GivenUpError(timeout or 0, json.loads(known[-1])["so far"] if known else {}) from None
    answer = done.stdout.strip().splitlines()[-1:] or [""]
    if done.returncode or not answer[0].startswith("{"):
        complaint = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise FailedError(f"{function}: {complaint[-1][:200]}")
    found = json.loads(answer[0])
    if "missing" in found:
        raise MissingError(found["missing"])
    return found["result"]


def clock() -> Callable[[], float]:
    """Where all is on one thread, the time that the process has worked: others on the same core do not count."""
    return time.process_time if os.environ.get("OMP_NUM_THREADS") == "1" else time.perf_counter


def race(runs: Sequence[Run], blocks: int = BLOCKS, block: float = BLOCK) -> list[list[float]]:
    """Seconds of a step for each contestant in each of `blocks` rounds. The order turns round each time."""
    now, steps = clock(), []
    for run in runs:
        unit = getattr(run, "unit", 1)
        run(2 * unit)
        start, done = now(), 0
        while not done or (now() - start < block / 3 and done < 10_000):
            more = max(unit, done)
            run(more)  # 1, 1, 2, 4, ... units
            done += more
        took = (now() - start) / done
        least = 1 if took > SLOW else LEAST
        steps.append(unit * max(1, round(max(block / took, least) / unit)))
    times: list[list[float]] = [[] for _ in runs]
    for k in range(blocks):
        order = range(len(runs)) if k % 2 else reversed(range(len(runs)))
        for i in order:
            start = now()
            runs[i](steps[i])
            times[i].append((now() - start) / steps[i])
    return times


def compare(runs: Sequence[Run], blocks: int = BLOCKS, block: float = BLOCK) -> dict[str, Any]:
    """Median microseconds of each contestant, and the median ratios of the first one's time to each other's."""
    times = race(runs, blocks, block)
    return {
        "us": [statistics.median(t) * 1e6 for t in times],
        "ratios": [statistics.median(a / b for a, b in zip(times[0], other, strict=True)) for other in times[1:]],
    }


def over_processes(measure: Callable[[], dict[str, Any]], processes: int, near: Callable[[float], bool]) -> Any:
    """The median of `compare`'s first ratio over processes, with its spread.

    Three processes are enough where none of their ratios is near the limit that it is held to, and one where a
    contestant takes over ten seconds to begin.
    """
    found = [measure()]
    few = 1 if max(found[0]["first"]) > 10 else 3
    while len(found) < min(processes, few) or (len(found) < processes and any(near(one["ratios"][0]) for one in found)):
        found.append(measure())
    ratios = [one["ratios"][0] for one in found]
    result = {**found[0]}
    result |= {
        "us": [statistics.median(one["us"][i] for one in found) for i in range(len(found[0]["us"]))],
        "ratio": statistics.median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "processes": len(found),
    }
    del result["ratios"]
    return result


def load() -> float:
    """How many processes ran on average over the last minute."""
    return os.getloadavg()[0]


def machine() -> dict[str, Any]:
    """The CPU's model and the number of cores, and no more."""
    model = "unknown"
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return {"cpu": model, "cores": os.cpu_count() or 1}


def versions(names: Sequence[str]) -> dict[str, str]:
    """The installed versions of libraries, where they are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def peak_memory() -> float:
    """The most memory that this process has had, in MiB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """The other side of `child`."""
    from tests.benchmarks import harness  # this file is __main__ here, whose MissingError is another class

    module, _, name = sys.argv[1].partition(":")
    if os.environ["OMP_NUM_THREADS"] == "1" and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})  # libraries that count cores see one
    try:
        result = getattr(import_module(f"tests.benchmarks.{module}"), name)(*json.loads(sys.argv[2]))
        print("\n" + json.dumps({"result": result}))
    except harness.MissingError as missing:
        print("\n" + json.dumps({"missing": str(missing)}))


if __name__ == "__main__":
    main()
