"""Where the time of a compiled function goes: each statement of its code, timed in its place."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphgrad.graph import Graph
from graphgrad.types import Array, Sizes, size_of

from .program import Program, nbytes, statement_flops

if TYPE_CHECKING:
    from .loader import Function

SECONDS = 0.3  # that a profile takes, about
LEAST = 5  # rounds at least


@dataclass(frozen=True, slots=True)
class Row:
    """A statement: the node of the written graph that it works for, its node in the program, the bytes that it writes,
    its text, and the median of its times in microseconds."""

    node: int
    statement_node: int
    bytes: int
    name: str
    statement: str
    line: int
    us: float
    flops: int
    product: bool  # whether it is a matrix product

    @property
    def gflops(self) -> float:
        return self.flops / self.us / 1e3 if self.us > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Cost:
    """A number for each node of a graph, with its unit and what it is."""

    by_node: dict[int, float]
    unit: str
    title: str
    graph: Graph | None  # None: it is gone


@dataclass(frozen=True, repr=False)
class Profile:
    """What each statement of one call takes. Prints as a table; `gg.draw(..., color=profile)` shows it on a picture."""

    rows: tuple[Row, ...]
    written: weakref.ref[Graph] = field(repr=False)  # the graph that was compiled,
    program: weakref.ref[Graph] = field(repr=False)  # and the one that it became
    unit: str = "µs"
    title: str = "time"

    @property
    def total(self) -> float:
        """Microseconds of all statements together."""
        return sum(row.us for row in self.rows)

    @property
    def products(self) -> float:
        """Microseconds of the matrix products alone: the floor under any code that calls the same BLAS."""
        return sum(row.us for row in self.rows if row.product)

    @property
    def by_node(self) -> dict[int, float]:
        """Microseconds by the id of the node, in the graph that was compiled, that a statement works for."""
        return self.cost("time").by_node

    def cost(self, what: str, *, program: bool = False) -> Cost:
        """Time or memory by node: of the graph that was compiled, or of the program that it became."""
        found: dict[int, float] = {}
        for row in self.rows:
            id = row.statement_node if program else row.node
            if id >= 0:
                found[id] = found.get(id, 0.0) + (row.us if what == "time" else row.bytes / 1024)
        unit, title = ("µs", "time") if what == "time" else ("KiB", "memory")
        return Cost(found, unit, title, self.program() if program else self.written())

    def __str__(self) -> str:
        total = self.total or 1.0
        lines = [f"{'µs':>9}  {'share':>6}  {'GFlop/s':>7}  {'line':>4}  statement"]
        for row in sorted(self.rows, key=lambda r: -r.us):
            rate = f"{row.gflops:7.2f}" if row.flops else " " * 7
            text = row.statement if len(row.statement) <= 70 else row.statement[:69] + "…"
            lines.append(f"{row.us:9.2f}  {row.us / total:6.1%}  {rate}  {row.line:>4}  {text}")
        lines.append(f"{self.total:9.2f}  in all, {self.products:.2f} ({self.products / total:.0%}) in matrix products")
        return "\n".join(lines)

    __repr__ = __str__


@dataclass(frozen=True, slots=True)
class _Unit:
    """Lines of the source that are timed together: a statement, or a loop over blocks."""

    nodes: tuple[int, ...]
    line: int
    text: tuple[str, ...]


def profile(function: Function, values: Sequence[Array], sizes: Sizes, space: dict[str, Any]) -> Profile:
    """Time every statement of a function's step, in order, round after round. `space` holds a workspace's names, and
    gets those of the inputs."""
    printed = function._printed
    space |= dict(zip(printed.inputs, values, strict=True))
    units = _units(function)
    assigned = [name for name in printed.locals if name.isidentifier()]
    calls = [_callable(unit, assigned, space) for unit in units]
    idle = _callable(_Unit((), 0, ("pass",)), [], space)
    clock = time.perf_counter
    times: list[list[float]] = [[] for _ in units]
    nothing: list[float] = []
    end = clock() + SECONDS
    while len(nothing) < LEAST or clock() < end:
        for own, call in zip(times, calls, strict=True):
            start = clock()
            call()
            own.append(clock() - start)
        start = clock()
        idle()
        nothing.append(clock() - start)
    floor = _median(nothing)
    program = function.program
    owner = _owners(program)
    rows = []
    for unit, own in zip(units, times, strict=True):
        last = unit.nodes[-1]
        product = program.node(last).operator.name == "matmul"
        work = sum(size_of(statement_flops(program, id), sizes) for id in unit.nodes)
        size = sum(size_of(nbytes(program.node(id)), sizes) for id in unit.nodes)
        name, text = printed.names.get(last, ""), "; ".join(t.strip() for t in unit.text)
        us = max(_median(own) - floor, 0.0) * 1e6
        rows.append(Row(owner.get(last, -1), last, size, name, text, unit.line, us, work, product))
    return Profile(tuple(rows), function.written, weakref.ref(program.graph))


def _owners(program: Program) -> dict[int, int]:
    """The node of the written graph that each statement works for: its own, or that of its first reader, since a
    composite becomes several."""
    owner: dict[int, int] = {}
    readers: dict[int, int] = {}
    for id in sorted((*program.prologue, *program.step), reverse=True):  # also views that are made once, of its values
        written = program.origins.get(id, owner.get(readers.get(id, -1), -1))
        owner[id] = written
        readers.update(dict.fromkeys(program.node(id).inputs, id))
    return owner


def _units(function: Function) -> list[_Unit]:
    """The statements of the step with the lines that they stand in; a loop is one."""
    text, nodes = function._text, function._line_nodes
    numbers = sorted(nodes)
    start = next(k for k, line in enumerate(text, 1) if line.startswith("def step"))
    units: list[_Unit] = []
    loop: list[int] = []
    for number in [
        n for n in range(start + 1, len(text) + 1) if n in numbers or text[n - 1].lstrip().startswith("for ")
    ]:
        line = text[number - 1]
        if line.lstrip().startswith("for "):
            units += _closed(loop, text, nodes)
            loop = [number]
        elif loop and line.startswith("        "):
            loop.append(number)
        else:
            units += _closed(loop, text, nodes)
            loop = []
            if units and units[-1].nodes == (nodes[number],) and units[-1].line + len(units[-1].text) == number:
                last = units.pop()
                units.append(_Unit(last.nodes, last.line, (*last.text, line.strip())))
            else:
                units.append(_Unit((nodes[number],), number, (line.strip(),)))
    return units + _closed(loop, text, nodes)


def _closed(loop: Sequence[int], text: Sequence[str], nodes: Mapping[int, int]) -> list[_Unit]:
    if not loop:
        return []
    lines = (text[loop[0] - 1].strip(), *("    " + text[n - 1].strip() for n in loop[1:]))
    return [_Unit(tuple(dict.fromkeys(nodes[n] for n in loop[1:])), loop[0], lines)]


def _callable(unit: _Unit, assigned: Sequence[str], space: dict[str, Any]) -> Callable[[], None]:
    """A function that runs the lines where they see the workspace's names."""
    own = [n for n in assigned if any(t.startswith(f"{n} = ") for t in unit.text)]
    lines = [f"    global {', '.join(own)}"] if own else []
    lines += [f"    {line}" for line in unit.text]
    exec("\n".join(["def _timed():", *lines]), space)  # lines of this project's own print; no name in it begins so
    made: Callable[[], None] = space.pop("_timed")
    return made


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
