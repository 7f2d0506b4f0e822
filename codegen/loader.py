"""The function that `gg.compile` returns: its code is loaded, and called with arrays."""

from __future__ import annotations

import linecache
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import count
from threading import get_ident
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphgrad.collector import paused_gc
from graphgrad.errors import CallError, GraphgradError
from graphgrad.evaluate import check_sizes, convert
from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.tensor import Tensor
from graphgrad.types import Array, Dimension, Sizes, size_names, size_of, solve_sizes, whole

from .layout import Layout
from .lines import Lines, SourceLines
from .memory import plan
from .numpy_target import print_numpy
from .pages import aligned, aligned_copy
from .pieces import compiled
from .plain_numbers import counters
from .prepare import Prepared
from .printed import Printed
from .program import Program, flops
from .source import comment, frame
from .state import State
from .turn import Turn
from .workspace import Workspace

if TYPE_CHECKING:
    from .profile import Profile

WORKSPACES = 8  # how many sets of sizes keep a workspace; the least recently used goes

_numbers = count(1)  # of the generated files, so that each has a name of its own in tracebacks


def _none(values: Sequence[Any]) -> None:
    """Of values that are like none before."""


class Suited(NamedTuple):
    """How a function is made that suits its sizes, which are known when it is called first."""

    layout: Layout  # how values lie so far,
    sizes: Sizes  # which is how they should with these
    wanted: Callable[[Sizes], Layout]  # how they should, with these sizes
    made: Callable[[Layout], Prepared]


class Function:
    """A compiled function. Call it with arrays by name; it returns a list of arrays, one for each output.

    Several threads may call it. `source` is the generated code, `program` the statements behind it, `state` what it
    keeps between calls.
    """

    def __init__(
        self,
        program: Program,
        where: Mapping[int, Tensor],
        *,
        written: Graph,  # the graph that was compiled; it is not kept
        copy: bool,
        leaves: frozenset[str] = frozenset(),  # names that a call may give although the function has no use for them
        suited: Suited | None = None,
    ) -> None:
        self._copy = copy
        self.written = weakref.ref(written)
        self._leaves = leaves
        self._suited = suited
        self._counters = {program.node(id)["name"] for id in counters(program)}
        self._take(program, where)
        self._names = tuple(n["name"] for n in self._inputs)
        self._dtypes = tuple(np.dtype(n.dtype) for n in self._inputs)
        self._values: dict[str, Array] = {}
        self.lock = Turn()
        self._idle: OrderedDict[Any, list[Workspace]] = OrderedDict()
        self._latest: Workspace | None = None  # of a function with state: the one last used,
        #: and a call there with the lock held: its results, in the function's own memory, if the values in a list are
        #: arrays like its latest ones; else None. What a training loop tries first: all tests are one expression.
        self.repeated: Callable[[Sequence[Any]], Sequence[Array] | None] = _none
        self._given: set[str] = set()

    def _take(self, program: Program, where: Mapping[int, Tensor]) -> None:
        self.program, self._where = program, where
        self._inputs = program.inputs
        self._held = {n["name"]: n for n in program.held}
        self._load(print_numpy(program, counting=bool(self._counters)))

    def _load(self, printed: Printed) -> None:
        self.__dict__.pop("source", None)
        self._printed = printed
        self._text, self._line_nodes, self._comments = frame(printed)
        self._file = f"<graphgrad {next(_numbers)}>"
        self._code = compiled(self._text, self._file)
        linecache.cache[self._file] = (len(self._text), None, SourceLines(self), self._file)  # type: ignore[assignment]
        weakref.finalize(self, linecache.cache.pop, self._file, None)

    def _set_back(self) -> None:
        """A counter was made negative: from now on the code takes it for any number."""
        self._counters = set()
        self._take(self.program, self._where)
        self._forget()

    def _suit(self, sizes: Sizes) -> None:
        """Before the first workspace is made, for its sizes: how values lie is settled by them, for good."""
        suited, self._suited = self._suited, None
        if suited is None or suited.sizes == sizes:
            return
        with paused_gc():
            if (layout := suited.wanted(sizes)) != suited.layout:
                self._take(*suited.made(layout))

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What the function keeps between calls, by name: `f.state["W"]` is a copy, assigning to it sets the value."""
        return State(self)  # made when asked for: no cycle keeps a function, and its memory, alive

    @cached_property
    def source(self) -> str:
        """The generated code, with the formula of each statement above it."""
        lines = list(self._text)
        for number, node in self._comments.items():
            lines[number - 1] = lines[number - 1].replace("#", comment(self._printed, node), 1)
        return "\n".join(lines) + "\n"

    @property
    def lines(self) -> Lines:
        """The lines of `source` (from 1) that compute a tensor: `f.lines[W]`; empty where none was needed."""
        return Lines(self)

    @property
    def memory(self) -> dict[str, Dimension]:
        """Planned bytes of the workspace, by the buffer that each storage was made for; named sizes stay symbolic."""
        return {self._printed.names[owner]: s.size for owner, s in self.program.storages.items()}

    def workspace_bytes(self, **sizes: int) -> int:
        """The size of the arena for given sizes, after packing."""
        names = self._printed.sizes
        if sizes.keys() != set(names):
            asked = ", ".join(f"{name}=..." for name in names) or "none"
            raise CallError(f"the sizes are {asked}, but {', '.join(sizes) or 'none'} was given")
        return plan(self.program, {name: whole(name, size, 0) for name, size in sizes.items()}).size

    @property
    def flops(self) -> Dimension:
        """Floating-point operations of one call; named sizes stay symbolic."""
        return flops(self.program)

    def profile(self, /, **arrays: Any) -> Profile:
        """Time each statement of a call with these arrays: a table, and `gg.draw(..., color=profile)` draws it.

        What the function keeps between calls is left as it is: the statements run on copies.
        """
        if any(name not in arrays for name in self._names):
            raise self._missing(arrays)
        values = self.as_arrays([arrays[name] for name in self._names], None)
        with self.lock, self._as_it_was():
            self._set_held(arrays)
            return self.profiled(values)

    def profiled(self, values: Sequence[Array]) -> Profile:
        """The same with the inputs in order, of the right dtypes."""
        from .profile import profile

        with self.lock, self._as_it_was():
            sizes = self.sizes([v.shape for v in values])
            self._suit(sizes)
            self._hold_all(sizes)
            held = {name: aligned_copy(value) for name, value in self._values.items()}
        workspace = Workspace(self, sizes, held)
        with np.errstate(all="ignore"):
            self._run(workspace, values)  # which tells what is wrong as a call does
            arguments = self, workspace.arguments(values), sizes, workspace.names
            return profile(*arguments) if workspace.flush is None else workspace.flush.call(profile, *arguments)

    @contextmanager
    def _as_it_was(self) -> Iterator[None]:
        """What is kept between calls, after this, is what it was before."""
        values, given = {name: value.copy() for name, value in self._values.items()}, set(self._given)
        try:
            yield
        finally:
            if any(name not in values or values[name].shape != now.shape for name, now in self._values.items()):
                self._values = {name: aligned_copy(value) for name, value in values.items()}
                self._forget()
            self.state.restore(values)
            self._given = given

    def _forget(self) -> None:
        """Workspaces, whose views show arrays that are kept no more."""
        self._idle.clear()
        self._latest, self.repeated = None, _none

    def __repr__(self) -> str:
        return f"<compiled function of {', '.join(self._names) or 'nothing'}: {len(self.program.step)} statements>"

    def __reduce__(self) -> Any:
        raise GraphgradError(
            "a compiled function cannot be pickled or copied; gg.compile makes it again from its graph"
        )

    # -- calls --------------------------------------------------------------------------------------------------------

    def __call__(self, /, **arrays: Any) -> list[Array]:
        names = self._names
        try:
            values = [arrays[name] for name in names]
        except KeyError:
            raise self._missing(arrays) from None
        if len(arrays) != len(names):
            values = list(self.as_arrays(values, None))  # before anything is set: a wrong one changes nothing
            self._set_held(arrays)
        return self.call(values)

    def call(self, values: Sequence[Any], convert: Callable[[Sequence[Any]], list[Array]] | None = None) -> list[Array]:
        """The same with the inputs in order: what a training loop calls.

        `convert` makes arrays of the right dtypes of values that are none; by default what loses nothing is taken.
        """
        if not self._held:
            values = self.as_arrays(values, convert)
            shapes = tuple([v.shape for v in values])
            workspace = self._take_idle(shapes) or self._workspace(shapes)
            try:
                return self._run(workspace, values)
            finally:
                self._idle.setdefault(shapes, []).append(workspace)
        lock = self.lock
        if lock.owner == get_ident() and not lock.busy:  # see Turn
            lock.busy = True
            try:
                if lock.owner and (results := self._again(values)) is not None:
                    return results
            finally:
                lock.busy = False
        with lock:  # so no other thread uses a workspace, and the latest one can stay at hand
            if (results := self._again(values)) is not None:
                return results
            values = self.as_arrays(values, convert)
            shapes = tuple([v.shape for v in values])
            latest = self._take_idle(shapes) or self._workspace(shapes)
            self._idle.setdefault(shapes, []).append(latest)
            self._latest, self.repeated = latest, latest.quick
            return self._run(latest, values)

    def _again(self, values: Sequence[Any]) -> list[Array] | None:
        """What `repeated` gives, as the caller gets it."""
        try:
            results = self.repeated(values)
        except Exception as error:
            raise self.told(error) from error
        return results if results is None else [np.array(r) for r in results] if self._copy else list(results)

    def as_arrays(self, values: Sequence[Any], convert: Callable[[Sequence[Any]], list[Array]] | None) -> Sequence[Any]:
        """The values as they are, if all are arrays of the right dtypes, else converted."""
        if len(values) != len(self._dtypes):
            return (convert or self._converted)(values)
        for value, dtype in zip(values, self._dtypes, strict=True):
            if type(value) is not np.ndarray or value.dtype is not dtype:
                return (convert or self._converted)(values)
        return values

    def _run(self, workspace: Workspace, values: Sequence[Array]) -> list[Array]:
        try:
            results = workspace.step(*(values if workspace.plain else workspace.arguments(values)))
        except Exception as error:
            if (told := self.told(error)) is error:
                raise
            raise told from error
        return [np.array(r) for r in results] if self._copy else list(results)

    def _take_idle(self, shapes: tuple[tuple[int, ...], ...]) -> Workspace | None:
        """A workspace that no other thread uses, its sizes marked as the latest met."""
        try:
            idle = self._idle[shapes]
            self._idle.move_to_end(shapes)
            return idle.pop()
        except (KeyError, IndexError):  # not met yet, just put out by another thread, or all in use
            return None

    def _workspace(self, shapes: tuple[tuple[int, ...], ...]) -> Workspace:
        """A workspace for sizes that were not met yet, or that other threads are using. Checks the shapes."""
        sizes = self.sizes(shapes)
        self._suit(sizes)
        self._hold_all(sizes)
        while len(self._idle) >= WORKSPACES and shapes not in self._idle:
            self._idle.popitem(last=False)
        self._idle[shapes] = self._idle.pop(shapes, [])  # the latest met, also where another thread has put it out
        return Workspace(self, sizes)

    def _hold_all(self, sizes: Sizes) -> None:
        """Zeros for states that have no value yet."""
        if missing := [
            name for name, node in self._held.items() if name not in self._given and node.operator.name == "parameter"
        ]:
            raise CallError(
                f"no value was given yet for {', '.join(missing)}: "
                f"pass {missing[0]}=... once, or set state[{missing[0]!r}]"
            )
        for name, node in self._held.items():
            self._hold(name, node, sizes)

    def settle(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Settle how values lie by inputs of these shapes, in order: as a first call with such arrays does."""
        with self.lock:
            self._suit(self.sizes(shapes))

    def sizes(self, shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
        """The named sizes, by the shapes of the inputs in order. Raises CallError where they do not fit."""
        leaves = [(n["name"], n.shape, shape) for n, shape in zip(self._inputs, shapes, strict=True)]
        held = [
            (name, node.shape, self._values[name].shape) for name, node in self._held.items() if name in self._values
        ]
        sizes = solve_sizes(leaves + held)
        program = self.program
        if unknown := [name for name in self._printed.sizes if name not in sizes]:
            whose = next(
                node["name"] for node in self._held.values() if any(unknown[0] in size_names(d) for d in node.shape)
            )
            raise CallError(
                f"the size {unknown[0]} is not known: no argument has it; set state[{whose!r}] to an array once"
            )
        check_sizes(program.graph, [*program.prologue, *program.step], sizes)
        return sizes

    def _hold(self, name: str, node: Node, sizes: Sizes) -> Array:
        if name not in self._values:
            self._values[name] = aligned(np.zeros, tuple(size_of(d, sizes) for d in node.shape), node.dtype)
        return self._values[name]

    def _scale(self, name: str) -> float:
        """What a kept value is multiplied by to be the state: other than 1 where the step keeps it in its own units."""
        unit = self.program.units.get(self._held[name].id)
        if unit is None:
            return 1.0
        return unit.at(int(self._values[unit.counter]) if unit.counter in self._values else 0)

    def _counted_by(self, name: str) -> list[str]:
        """The values whose units depend on this one."""
        units = self.program.units
        found = [n for n, node in self._held.items() if node.id in units and units[node.id].counter == name]
        return [n for n in found if n in self._values]

    def _converted(self, values: Sequence[Any]) -> list[Array]:
        converted = [convert(n["name"], v, n.dtype) for n, v in zip(self._inputs, values, strict=True)]
        # Equal dtypes may be two objects, which a view mends.
        return [c.view(d) for c, d in zip(converted, self._dtypes, strict=True)]

    def _missing(self, arrays: Mapping[str, Any]) -> CallError:
        unknown = sorted(arrays.keys() - set(self._names) - self._held.keys() - self._leaves)
        missing = [n for n in self._names if n not in arrays]
        told = f"; {', '.join(unknown)} is not one of its arguments" if unknown else ""
        return CallError(
            f"no value was given for {', '.join(missing)}; the function takes {', '.join(self._names)}{told}"
        )

    def _set_held(self, arrays: Mapping[str, Any]) -> None:
        extra = sorted(arrays.keys() - set(self._names) - (self._leaves - self._held.keys()))
        if unknown := [name for name in extra if name not in self._held]:
            takes = ", ".join((*self._names, *self._held)) or "no arguments"
            raise CallError(f"{unknown[0]} is not an argument of the function; it takes {takes}")
        for name in extra:
            self.state[name] = arrays[name]

    def told(self, error: Exception) -> Exception:
        """An error inside generated code, with the node that it came from and the user's line."""
        trace, line = error.__traceback__, None
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self._file:
                line = trace.tb_lineno
            trace = trace.tb_next
        node = self._line_nodes.get(line) if line is not None else None
        if node is None:
            return error
        graph = self.program.graph
        lines = graph.lines.get(node, ())
        return CallError(f"{graph.label(node)} = {graph.nodes[node].operator.name}: {error}").at(
            lines[0] if lines else None
        )


__all__ = ["Function", "compile"]
