"""Writes programs as one Python file that imports numpy and nothing else. What goes into it was decided before.

The file has, for each function that a user calls, a maker of workspaces: memory for one set of sizes, and the
statements over it, each under its formula. Workspaces are kept by size and lent to one call at a time.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from graphgrad.errors import GraphgradError
from graphgrad.node import Node
from graphgrad.notation import formula
from graphgrad.types import Array, Dim, Dimension, count, divide_exactly, show, size_names

from .literals import code, literal
from .numpy_target import print_numpy
from .printed import Printed
from .program import Program
from .source import comment

WIDTH = 120

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
    blocks = [_docstring(module.doc) + "\n\nimport numpy as np"]
    blocks += [_parameters(module)]
    if any(part.held for part in parts):
        blocks += [_state(module.parameters, next(part for part in parts if part.held))]
    blocks += [part.public() for part in parts]
    blocks += [text.rstrip() for text in support.values()]
    blocks += [part.workspace() for part in parts]
    blocks += [_HELPERS + (_HELD if any(part.held for part in parts) else "")]
    blocks += [_ORTHOGONAL] if any("_orthogonal(" in p.initial for p in module.parameters) else []
    text = "\n\n\n".join(block.rstrip() for block in blocks)
    return "\n".join(part for line in text.split("\n") for part in _short(line)) + "\n"


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
        return [line for part in parts for line in _wrap(part, indent)]

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
        head = _wrap(f"def _run({', '.join(arguments)}):", 4)
        pieces = [p for p in printed.pieces if p] or [[]]
        if len(pieces) == 1:
            text += ["", *head, *self.lines([*per_call, *pieces[0]], 8)]
        else:
            text += self._in_pieces(pieces, arguments, per_call)
        text += [*_wrap(f"return {self.text(printed.result)}", 8), "", "    return _run"]
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
        text += ["", *_wrap(f"def _run({', '.join(a + '_' for a in arguments)}):", 4)]
        text += [f"        nonlocal {name}" for name in (*arguments, *views)]
        text += [f"        {name} = {name}_" for name in arguments]
        return text + self.lines(per_call, 8) + [f"        _run_{k}()" for k in range(1, len(pieces) + 1)]

    def memory(self) -> list[str]:
        """A line for each buffer: fresh memory, a part of another buffer, or the memory of one that is done with."""
        program, printed = self.program, self.printed
        text: list[str] = []
        again: list[str] = []
        for name, array in printed.constants:
            text += _wrap(f"{name} = {array_text(array)}", 4)
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
        body += [("    " + line).rstrip() for line in _docstring(doc).split("\n")]
        known: set[str] = set()
        for node in self.inputs:
            body += self._check(node, names[node.id], known)
        if self.parameters:
            body += ["    _check_names(parameters)"]
        for node in self.parameters:
            body += self._check(node, f"parameters[{quoted(node['name'])}]", known)
        for node in self.held:
            what = f"{quoted(node['name'])}, np.{_dtype(node.dtype)}, {code(tuple(node.shape))}"
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
            body += _wrap(f"_loss, *_gradients = _run({arguments})", 8)
            body += ["        return float(_loss), {name: g.copy() for name, g in zip(PARAMETERS, _gradients)}"]
        elif self.part.kind == "step":
            body += _wrap(f"return float(_run({arguments})[0])", 8)
        else:
            body += _wrap(f"return _run({arguments})[0].copy()", 8)
        body += ["    finally:", f"        _put_back(_run, {take})"]
        return "\n".join(body)

    def _check(self, node: Node, value: str, known: set[str]) -> list[str]:
        """Lines that check one array, and find the sizes that it tells."""
        name = self.printed.names[node.id]
        start = f"    {name} = _array({quoted(node['name'])}, "
        end = f", np.{_dtype(node.dtype)}, "
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
    return f"np.empty({code(node.shape)}, np.{_dtype(node.dtype)})"


def quoted(text: str) -> str:
    """A string as source, in double quotes."""
    return '"' + repr('"' + text)[2:-1].replace('"', '\\"').replace("\\'", "'") + '"'


def _dtype(name: str) -> str:
    return "bool_" if name == "bool" else name


def array_text(array: Array) -> str:
    """An array as an expression that gives the same bytes."""
    dtype = f"np.{_dtype(array.dtype.name)}"
    if array.size > 2000:
        return f'np.frombuffer(bytes.fromhex("{array.tobytes().hex()}"), {dtype}).reshape({code(array.shape)})'
    if array.size and array.ndim and (array == array.flat[0]).all() and not np.signbit(array.flat[0]):
        return f"np.full({code(array.shape)}, {literal(array.flat[0].item())}, {dtype})"
    return f"np.array({_nested(array.tolist())}, {dtype})"


def _nested(value: object) -> str:
    return f"[{', '.join(map(_nested, value))}]" if isinstance(value, list) else literal(value)


# ---------------------------------------------------------------------------------------------------------------------
# Parameters and state
# ---------------------------------------------------------------------------------------------------------------------


def _parameters(module: Module) -> str:
    """The names and shapes of the parameters, and their initial values."""
    text = ["# The parameters: name, shape, dtype.", "PARAMETERS = {"]
    text += [f"    {quoted(p.name)}: ({code(p.shape)}, np.{_dtype(p.dtype)})," for p in module.parameters]
    text += ["}", "", "", f"def initial_parameters(seed={module.seed}):"]
    if module.draws:
        text += ['    """Parameters drawn at random from a seed: a dict of arrays."""']
        text += ["    rng = np.random.default_rng(seed)"]
    else:
        text += ['    """The parameters to begin with: a dict of arrays. Nothing is drawn, whatever the seed."""']
    text += ["    return {"]
    for p in module.parameters:
        text += _wrap(f"{quoted(p.name)}: {p.initial},", 8)
    return "\n".join([*text, "    }"])


def _state(parameters: Sequence[Parameter], part: _Part) -> str:
    """What training holds, and the parameters as parts of it."""
    text = ["def initial_state(parameters=None):"]
    text += ['    """What training changes: the parameters and what the optimizer keeps. `step` writes it in place."""']
    text += ["    parameters = initial_parameters() if parameters is None else parameters"]
    text += ["    _check_names(parameters)", "    state = {"]
    for node in part.held:
        text.append(f"        {quoted(node['name'])}: np.zeros({code(node.shape)}, np.{_dtype(node.dtype)}),")
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


# ---------------------------------------------------------------------------------------------------------------------
# Layout of text
# ---------------------------------------------------------------------------------------------------------------------


def _docstring(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"').strip()
    lines = escaped.split("\n")
    escaped = "\n".join("\n".join(textwrap.wrap(line, WIDTH - 4, subsequent_indent=" " * 8) or [""]) for line in lines)
    return f'"""{escaped}"""' if "\n" not in escaped else f'"""{escaped}\n"""'


def _wrap(line: str, indent: int) -> list[str]:
    """A line in as many as it takes: comments between words, code after the commas inside brackets."""
    space = " " * indent
    if len(line) + indent <= WIDTH:
        return [space + line]
    if line.startswith("#"):
        return textwrap.wrap(line[2:], WIDTH, initial_indent=f"{space}# ", subsequent_indent=f"{space}#     ")
    cuts, depth, inside = [], 0, False
    for position, c in enumerate(line):
        inside ^= c == '"'
        depth += 0 if inside else (c in "([{") - (c in ")]}")
        if c == "," and depth and not inside and line[position + 1 : position + 2] == " ":
            cuts.append(position + 1)
    lines, start, inner = [], 0, space
    while len(line) - start + len(inner) > WIDTH:
        fitting = [c for c in cuts if start < c <= start + WIDTH - len(inner)] or [c for c in cuts if c > start][:1]
        if not fitting:
            break
        lines.append(inner + line[start : fitting[-1]])
        start, inner = fitting[-1] + 1, space + "    "
    return [part if len(part) <= WIDTH else f"{part}  # noqa: E501" for part in (*lines, inner + line[start:])]


def _short(line: str) -> list[str]:
    """A line of the file, in several where it is too long."""
    if len(line) <= WIDTH or line.endswith("# noqa: E501"):
        return [line]
    return _wrap(line.lstrip(), len(line) - len(line.lstrip()))


_HELPERS = '''\
_workspaces = {}  # for the sizes met last: the workspaces that no call is using


def _take(make, *sizes):
    """A workspace for these sizes, for one call; those of the eight sets of sizes used last are kept."""
    free = _workspaces.pop((make, sizes), [])
    _workspaces[make, sizes] = free  # the sizes used last stand at the end
    for key in list(_workspaces)[:-8]:
        _workspaces.pop(key, None)
    try:
        return free.pop()
    except IndexError:
        return make(*sizes)


def _put_back(run, make, *sizes):
    _workspaces.setdefault((make, sizes), []).append(run)


def _check_names(parameters):
    missing = [name for name in PARAMETERS if name not in parameters]
    unknown = [name for name in parameters if name not in PARAMETERS]
    if missing or unknown:
        told = f"lack {', '.join(missing)}" if missing else f"hold {', '.join(unknown)}, which is none of them"
        raise ValueError(f"the parameters {told}; they are {', '.join(PARAMETERS)}")


def _array(name, value, dtype, shape):
    """A value as an array of this dtype and shape, where that loses nothing; None in the shape is any length."""
    array = np.asarray(value)
    if array.dtype != dtype:
        listed = not isinstance(value, (np.ndarray, np.generic)) and array.dtype.kind in "bif"
        if not (listed and array.dtype.kind <= np.dtype(dtype).kind or np.can_cast(array.dtype, dtype, "safe")):
            fit = f"{name}.astype({np.dtype(dtype).name!r}) would fit"
            raise TypeError(f"{name} is {array.dtype.name}, but {np.dtype(dtype).name} is wanted; {fit}")
        array = array.astype(dtype)
    if array.ndim != len(shape) or any(m not in (None, n) for n, m in zip(array.shape, shape)):
        wanted = str(tuple("any" if m is None else int(m) for m in shape)).replace("'", "")
        raise ValueError(f"{name} has shape {array.shape}, but {wanted} is wanted")
    if 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}: there is nothing to compute with")
    return array
'''

_HELD = '''

def _held(state, name, dtype, shape):
    """An array of the state, which is written in place: so it has to be just as `initial_state` made it."""
    array = state.get(name)
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape or not array.flags.carray:
        raise ValueError(f"state[{name!r}] is not the {np.dtype(dtype).name} array of shape {shape} of initial_state")
    return array
'''

_ORTHOGONAL = '''\
def _orthogonal(rng, shape):
    """A matrix with orthogonal rows or columns, distributed evenly over all of them."""
    rows, columns = (shape[0], int(np.prod(shape[1:]))) if shape else (1, 1)
    q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    return np.ascontiguousarray((q if rows >= columns else q.T).reshape(shape))
'''

__all__ = ["Module", "Parameter", "Part", "array_text", "module_source"]
