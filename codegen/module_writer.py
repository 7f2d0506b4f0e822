"""Writes programs as one Python file that imports numpy and nothing else. What goes into it was decided before.

The file has, for each function that a user calls, a maker of workspaces: memory for one set of sizes, and the
statements over it, each under its formula. Workspaces are kept by size and lent to one call at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from graphgrad.errors import GraphgradError
from graphgrad.node import Node
from graphgrad.notation import formula
from graphgrad.types import Dim, Dimension, count, divide_exactly, np_dtype, show, size_names

from .literals import array_text, code, quoted
from .module_lines import HELD, HELPERS, ORTHOGONAL, docstring, shortened, wrapped
from .numpy_target import print_numpy
from .printed import Printed
from .program import Program
from .source import comment

Line = tuple[str, "int | None"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the module: where it lies in what training holds, and a Python expression for its first value."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    initial: str  # an expression; `rng` is numpy's Generator of the seed
    held: str = ""  # the held vector that it is a part of; "" where it is held itself
    start: int = 0  # its first element there
    transposed: bool = False  # whether it lies there as its transpose


@dataclass(frozen=True, slots=True)
class Part:
    """One public function of the module: "gradient" gives (loss, gradients), "step" the loss, "predict" an array."""

    name: str
    kind: str
    program: Program
    doc: str


@dataclass(frozen=True, slots=True)
class Module:
    """All that a module says."""

    doc: str
    parameters: tuple[Parameter, ...]
    parts: tuple[Part, ...]
    draws: bool  # whether initial values are drawn at random
    seed: int = 0  # the default seed of the initial values


def module_source(module: Module) -> str:
    """The text of the file."""
    parts = [_Part(part, module.parameters) for part in module.parts]
    support = {name: text for part in parts for name, text in part.printed.support.items()}
    blocks = [docstring(module.doc) + "\n\nimport numpy as np"]
    blocks += [_parameters(module)]
    if any(part.held for part in parts):
        blocks += [_state(module.parameters, next(part for part in parts if part.held))]
    blocks += [part.public() for part in parts]
    blocks += [text.rstrip() for text in support.values()]
    blocks += [part.workspace() for part in parts]
    blocks += [HELPERS + (HELD if any(part.held for part in parts) else "")]
    blocks += [ORTHOGONAL] if any("_orthogonal(" in p.initial for p in module.parameters) else []
    text = "\n\n\n".join(block.rstrip() for block in blocks)
    return "\n".join(part for line in text.split("\n") for part in shortened(line)) + "\n"


class _Part:
    """One function of the module in the making."""

    def __init__(self, part: Part, parameters: Sequence[Parameter]) -> None:
        self.part = part
        self.program = program = part.program
        self.printed: Printed = print_numpy(program, keywords=True, counting=False)
        names = self.printed.names
        known = {p.name for p in parameters}
        self.inputs: list[Node] = [n for n in program.inputs if n["name"] not in known]
        self.parameters: list[Node] = [n for n in program.inputs if n["name"] in known]
        self.held: list[Node] = program.held
        held = {n.id for n in self.held}
        # A new value in the old one's memory goes by the old one's name.
        self.renamed = {names[id]: names[o] for id, o in program.storage_of.items() if o in held}
        views = [i for i in program.step if program.roles[i] == "view"]
        self.of_held = {i for i in views if program.storage_of.get(b := program.base(i), b) in held}
        self.paths = dict(self.printed.functions)
        for node in (*self.inputs, *self.parameters, *self.held):
            if names[node.id] in ("parameters", "state", "np"):
                raise GraphgradError(f"no leaf of a module may be named {node['name']!r}, a name of its own")

    # -- text ---------------------------------------------------------------------------------------------------------

    def text(self, line: str) -> str:
        """A printed statement, with NumPy's functions under their own names."""
        line = re.sub(r"(?<![\w.])(\w+)\(", lambda m: f"{self.paths[m[1]]}(" if m[1] in self.paths else m[0], line)
        if self.renamed:
            line = re.sub(r"(?<![\w.])([A-Za-z]\w*)\b(?!\()", lambda m: self.renamed.get(m[1], m[1]), line)
        return line

    def lines(self, lines: Iterable[Line], indent: int) -> list[str]:
        texts = [self.comment(id) if line == "#" and id is not None else self.text(line) for line, id in lines]
        # A check is printed as one line; here it has two.
        parts = [part for t in texts for part in re.sub(r"^(if [^\n]*?:) (raise )", r"\1\n    \2", t).split("\n")]
        return [line for part in parts for line in wrapped(part, indent)]

    def comment(self, id: int) -> str:
        """The formula of a statement, in names that the file has. A new value in an old place: W ← W - 0.1 * g."""
        graph, names = self.program.graph, self.printed.names
        text = comment(self.printed, id)
        head, _, rest = text[2:].partition(" = ")
        if re.search(r"\bv\u0304?\d", rest):  # nodes of the derivation that the rewritten graph does without
            rest = formula(graph, id, {i: names[i] for i in graph.nodes[id].inputs if i in names})
        return f"# {self.renamed[head]} \u2190 {rest}" if head in self.renamed else f"# {head} = {rest}"

    # -- the maker of workspaces --------------------------------------------------------------------------------------

    @property
    def sizes(self) -> list[str]:
        """The named sizes that the part's leaves determine."""
        used = {s for n in (*self.inputs, *self.parameters, *self.held) for d in n.shape for s in size_names(d)}
        return [s for s in self.printed.sizes if s in used]

    def workspace(self) -> str:
        printed = self.printed
        fixed = [line for line in printed.prologue if line[1] not in self.of_held]
        per_call = [line for line in printed.prologue if line[1] in self.of_held]
        arguments = [printed.names[n.id] for n in self.program.inputs] + [printed.names[n.id] for n in self.held]
        of = f" for {' and '.join(f'one {s}' for s in self.sizes)}" if self.sizes else ""
        text = [f"def _{self.part.name}({', '.join(self.sizes)}):"]
        text += [f'    """Memory{of}, and the statements over it."""']
        text += self.memory()
        if fixed:
            text += ["    # Constants, and other shapes of the same memory."]
            text += self.lines(fixed, 4)
        head = wrapped(f"def _run({', '.join(arguments)}):", 4)
        pieces = [p for p in printed.pieces if p] or [[]]
        if len(pieces) == 1:
            text += ["", *head, *self.lines([*per_call, *pieces[0]], 8)]
        else:
            text += self._in_pieces(pieces, arguments, per_call)
        text += [*wrapped(f"return {self.text(printed.result)}", 8), "", "    return _run"]
        return "\n".join(text)

    def _in_pieces(self, pieces: Sequence[Sequence[Line]], arguments: list[str], per_call: list[Line]) -> list[str]:
        """A long program as several functions, which share their names."""
        views = [line.split(" = ")[0] for line, _ in per_call]
        shared = [*arguments, *views, *self.printed.locals]
        text = ["    # What the pieces of the program share; set by _run."]
        text += [f"    {name} = None" for name in shared]
        for k, piece in enumerate(pieces, 1):
            assigned = {line.split(" = ", 1)[0] for line, _ in piece if " = " in line and not line.startswith("#")}
            text += ["", f"    def _run_{k}():"]
            text += [f"        nonlocal {name}" for name in shared if name in assigned]
            text += self.lines(piece, 8)
        text += ["", *wrapped(f"def _run({', '.join(a + '_' for a in arguments)}):", 4)]
        text += [f"        nonlocal {name}" for name in (*arguments, *views)]
        text += [f"        {name} = {name}_" for name in arguments]
        return text + self.lines(per_call, 8) + [f"        _run_{k}()" for k in range(1, len(pieces) + 1)]

    def memory(self) -> list[str]:
        """Constants, and for each buffer fresh memory, a part of another, or the memory of one that is done with."""
        program, printed = self.program, self.printed
        constants = [line for name, a in printed.constants for line in wrapped(f"{name} = {array_text(a)}", 4)]
        text: list[str] = []
        again: list[str] = []
        for name, id in printed.kept:
            text.append(f"    {name} = {_empty(program.node(id))}")
        held = {n.id for n in self.held}
        for name, id in printed.buffers:
            owner = program.storage_of[id]
            node = program.node(id)
            if owner in held:
                continue
            if owner == id:
                text.append(f"    {name} = {_empty(node)}")
            elif id in program.placed:
                start = program.placed[id][1]
                part = f"{printed.names[owner]}[{code(start)}:{code(start + count(node.shape))}]"
                again.append(f"    {name} = {part}" + ("" if len(node.shape) == 1 else f".reshape({code(node.shape)})"))
            else:
                again.append(f"    {name} = {printed.names[owner]}")
        if text:
            text = ["    # Memory, written anew by each call.", *text]
        if constants:
            text = ["    # Constants.", *constants, *text]
        if again:
            text += ["    # The same memory by further names: what was in it is done with by then.", *again]
        return text

    # -- the function that a user calls -------------------------------------------------------------------------------

    def public(self) -> str:
        names = self.printed.names
        group = ["state"] if self.held else ["parameters"] if self.parameters else []
        inputs = [names[n.id] for n in self.inputs]
        body = [f"def {self.part.name}({', '.join([*inputs, *group])}):"]
        doc = self.part.doc + "\n\n" + "\n".join(f"{names[n.id]}: {show(n.shape)} {n.dtype}" for n in self.inputs)
        body += [("    " + line).rstrip() for line in docstring(doc).split("\n")]
        known: set[str] = set()
        for node in self.inputs:
            body += self._check(node, names[node.id], known)
        if self.parameters:
            body += ["    _check_names(parameters)"]
        for node in self.parameters:
            body += self._check(node, f"parameters[{quoted(node['name'])}]", known)
        for node in self.held:
            what = f"{quoted(node['name'])}, np.{np_dtype(node.dtype)}, {code(tuple(node.shape))}"
            body.append(f"    {names[node.id]} = _held(state, {what})")
        if missing := sorted(set(self.sizes) - known):
            raise GraphgradError(f"{self.part.name}: no shape of an array tells the size {missing[0]}")
        take = ", ".join([f"_{self.part.name}", *self.sizes])
        body += [f"    _run = _take({take})"]
        order = [names[n.id] for n in self.program.inputs] + [names[n.id] for n in self.held]
        weak = {names[n.id] for n in self.program.inputs if n.weak}
        arguments = ", ".join(f"{a}[()]" if a in weak else a for a in order)
        body += ["    try:"]
        if self.part.kind == "gradient":
            body += wrapped(f"_loss, *_gradients = _run({arguments})", 8)
            body += ["        return float(_loss), {name: g.copy() for name, g in zip(PARAMETERS, _gradients)}"]
        elif self.part.kind == "step":
            body += wrapped(f"return float(_run({arguments})[0])", 8)
        else:
            body += wrapped(f"return _run({arguments})[0].copy()", 8)
        body += ["    finally:", f"        _put_back(_run, {take})"]
        return "\n".join(body)

    def _check(self, node: Node, value: str, known: set[str]) -> list[str]:
        """Lines that check one array, and find the sizes that it tells."""
        name = self.printed.names[node.id]
        start = f"    {name} = _array({quoted(node['name'])}, "
        end = f", np.{np_dtype(node.dtype)}, "
        wanted = tuple(None if size_names(d) - known else d for d in node.shape)
        lines = [f"{start}{value}{end}{code(wanted)})"]
        for axis, d in enumerate(node.shape):
            new = sorted(size_names(d) - known)
            if len(new) == 1 and (solution := _solved(d, new[0], f"{name}.shape[{axis}]")):
                lines.append(f"    {new[0]} = {solution}")
                known.add(new[0])
        if any(size_names(d) - known for d in node.shape):
            raise GraphgradError(f"{node['name']}: its shape {show(node.shape)} does not tell its sizes")
        open_axes = [d for d, w in zip(node.shape, wanted, strict=True) if w is None]
        if len(open_axes) > 1 or any(not str(d).isidentifier() for d in open_axes):
            lines.append(f"{start}{name}{end}{code(node.shape)})")
        return lines


def _solved(d: Dimension, name: str, value: str) -> str | None:
    """The size from an axis's length, where it enters as factor·name + rest with numbers."""
    if not isinstance(d, Dim):
        return None
    rest = dict(d.terms).get((), 0)
    factor = divide_exactly(d - rest, Dim(((((name, 1),), 1),)))
    if not isinstance(factor, int) or factor <= 0:
        return None
    inner = f"{value} - {rest}" if rest > 0 else f"{value} + {-rest}" if rest else value
    return inner if factor == 1 else f"({inner}) // {factor}" if rest else f"{inner} // {factor}"


def _empty(node: Node) -> str:
    return f"np.empty({code(node.shape)}, np.{np_dtype(node.dtype)})"


# ---------------------------------------------------------------------------------------------------------------------
# Parameters and state
# ---------------------------------------------------------------------------------------------------------------------


def _parameters(module: Module) -> str:
    """The names and shapes of the parameters, and their initial values."""
    text = ["# The parameters: name, shape, dtype.", "PARAMETERS = {"]
    text += [f"    {quoted(p.name)}: ({code(p.shape)}, np.{np_dtype(p.dtype)})," for p in module.parameters]
    text += ["}", "", "", f"def initial_parameters(seed={module.seed}):"]
    if module.draws:
        text += ['    """Parameters drawn at random from a seed: a dict of arrays."""']
        text += ["    rng = np.random.default_rng(seed)"]
    else:
        text += ['    """The parameters to begin with: a dict of arrays. Nothing is drawn, whatever the seed."""']
    text += ["    return {"]
    for p in module.parameters:
        text += wrapped(f"{quoted(p.name)}: {p.initial},", 8)
    return "\n".join([*text, "    }"])


def _state(parameters: Sequence[Parameter], part: _Part) -> str:
    """What training holds, and the parameters as parts of it."""
    text = ["def initial_state(parameters=None):"]
    text += ['    """What training changes: the parameters and what the optimizer keeps. `step` writes it in place."""']
    text += ["    parameters = initial_parameters() if parameters is None else parameters"]
    text += ["    _check_names(parameters)", "    state = {"]
    for node in part.held:
        text.append(f"        {quoted(node['name'])}: np.zeros({code(node.shape)}, np.{np_dtype(node.dtype)}),")
    text += ["    }", "    for name, array in parameters_of(state).items():"]
    text += ["        array[...] = _array(name, parameters[name], array.dtype, array.shape)", "    return state"]
    text += ["", "", "def parameters_of(state):"]
    text += ['    """The parameters in a state, by name: views, which later steps change. Copy what has to stay."""']
    text += ["    return {"]
    for p in parameters:
        where = f"state[{quoted(p.held or p.name)}]"
        if p.held:
            where += f"[{p.start}:{p.start + int(np.prod(p.shape))}]"
            if p.transposed:
                where += f".reshape({code(p.shape[::-1])}).T"
            elif len(p.shape) != 1:
                where += f".reshape({code(p.shape)})"
        told = "  # it lies transposed, by which its products with x are faster" if p.transposed else ""
        text.append(f"        {quoted(p.name)}: {where},{told}")
    return "\n".join([*text, "    }"])


__all__ = ["Module", "Parameter", "Part", "module_source"]
