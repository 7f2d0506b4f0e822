"""Timings with verdicts: what a training step costs against others, what comes before it, and what it all takes.

usage: python -m tests.benchmarks [--only NAME,...] [--write]

Every figure is measured in processes of their own. The interpreter of BENCH_PYTHON runs the contestants, where that is
set: an environment that has all peers. Without --only, docs/benchmarks.md and docs/benchmarks.json are written anew;
with it they are left alone, unless --write says to put what is measured in place of what they hold of it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from . import harness
from .contestants import CONTESTANTS
from .report import DATA, SECTIONS, verdicts, write

LIBRARIES = ("numpy", "torch", "jax", "pytensor", "autograd", "scikit-learn", "mpi4py", "mpich")


def library_versions() -> dict[str, str]:
    """In a child, whose interpreter has them."""
    return harness.versions(LIBRARIES)


def missing_libraries() -> dict[str, str]:
    """In a child: which contestants cannot take part, and why."""
    from importlib.util import find_spec

    wanted = {name: libraries[0].partition(".")[0] for name, (_, libraries) in CONTESTANTS.items() if libraries}
    return {name: library for name, library in wanted.items() if find_spec(library) is None}


def measured(names: list[str]) -> dict[str, Any]:
    """The chosen sections, printed as they are measured."""
    found: dict[str, dict[str, Any]] = {"measured": {}, "sections": {}}
    machine, versions = harness.machine(), harness.child("__main__:library_versions")
    for name in names:
        print(name, flush=True)
        start, before = time.perf_counter(), harness.load()
        found["sections"][name] = SECTIONS[name](lambda line: print(f"  {line}", flush=True))
        load = sorted((before, harness.load()))
        found["measured"][name] = {"machine": machine, "versions": versions, "load": load}
        print(f"  ({time.perf_counter() - start:.0f} s, load {load[1]:.1f})", flush=True)
    return found


def merged(new: dict[str, Any]) -> dict[str, Any]:
    """With the sections of the file that were not measured now; each tells where it was."""
    old = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else new
    both = {kind: {**old[kind], **new[kind]} for kind in ("measured", "sections")}
    return {kind: {name: of[name] for name in SECTIONS if name in of} for kind, of in both.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"a comma-separated choice of {', '.join(SECTIONS)}")
    parser.add_argument("--write", action="store_true", help="put what --only measures into docs/benchmarks.*")
    arguments = parser.parse_args()
    names = arguments.only.split(",") if arguments.only else list(SECTIONS)
    if unknown := [name for name in names if name not in SECTIONS]:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are: {', '.join(SECTIONS)}")
    for name, library in harness.child("__main__:missing_libraries").items():
        print(f"{name} is left out: {library} is not installed (BENCH_PYTHON=... is an interpreter that has it)")
    data = measured(names)
    found = verdicts(data)
    over = [v for v in found if not v.ok]
    print(f"{len(found) - len(over)} of {len(found)} verdicts hold", *[f"  {v.text}" for v in over], sep="\n")
    if not arguments.only or arguments.write:
        write(merged(data) if arguments.only else data)
    sys.exit(0)


if __name__ == "__main__":
    main()
