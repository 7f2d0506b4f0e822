"""The NumPy target: a Program printed as straight-line code that a person can read.

Two blocks: what is made once for each workspace (views, constants, numbers that only sizes enter), and the step.
Buffers are bare names; every function of NumPy is bound to a bare name too, so that the step looks nothing up.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphgrad.errors import GraphgradError
from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.notation import Piece, fill_plain, template_parts
from graphgrad.operator import Operator
from graphgrad.types import FLOATS, Dimension, count, np_dtype, size_names

from . import numpy_support
from .blocks import inner_values
from .literals import code, positional
from .names import Names
from .number_printer import NumberPrinter
from .pieces import Line, in_pieces
from .plain_numbers import plain_numbers
from .printed import Call, Printed
from .program import (
    ITEM_SIZE,
    Program,
    is_of_numbers,
    operand_dtype,
    passing_views,
    per_call_views,
    whole_base,
)
from .shortcuts import seldom_products, spread_numbers


def print_numpy(program: Program, *, keywords: bool = False, counting: bool = True) -> Printed:
    """The text of a program in Python with NumPy. With `keywords` all results are named: add(x, y, out=z).

    With `counting` the states that count up are taken to be never negative (see `plain_numbers`).
    """
    return _Printer(program, keywords=keywords, counting=counting).run()


@dataclass(slots=True)
class _Spelling:
    """What is known of a template."""

    fields: frozenset[str]
    wide: bool  # some operand is to be of the result's shape
    bare: str = ""  # with NumPy's functions as bare names; they get theirs when it is first filled
    form: str = ""  # the same for `str.format`, if nothing but the operands and the result is in it


class _Printer(NumberPrinter):
    def __init__(self, program: Program, *, keywords: bool, counting: bool) -> None:
        self.program, self.keywords = program, keywords
        self.graph: Graph = program.graph
        self.out = Printed(program)
        self.taken = Names()
        for name in vars(numpy_support):
            self.taken.take(name)
        self.scalars, self.zero_d, self.of_numbers = {}, {}, {}
        self.made: dict[str, str] = {}  # expression -> the array that it made, once for each workspace
        self.spelled: dict[tuple[Operator, str], _Spelling] = {}  # by operator and template
        self.forms: dict[Operator, str] = {}  # of statements by elements, met before, whose spelling is one for all
        self.lines = self.out.prologue
        self.in_step = False
        self.passing = passing_views(program)
        self.spread = spread_numbers(program)
        self.plain = plain_numbers(program) if counting else frozenset()
        self.seldom = seldom_products(program)
        self.conditions = {*self.seldom.values()}
        self.checks: dict[int, list[tuple[str, int]]] = {}  # of views, by what computes the values that they look at

    def run(self) -> Printed:
        program, out = self.program, self.out
        shapes = {n.shape for n in self.graph.nodes}
        out.sizes = sorted({name for shape in shapes for d in shape for name in size_names(d)})
        for size in out.sizes:
            if self.taken.take(size) != size:
                raise GraphgradError(
                    f"{size!r} cannot name a size: it is not an identifier, or a word that generated code uses"
                )
        self._name_leaves()
        self._name_calls()
        for id in program.prologue:
            self._statement(id)
        views = per_call_views(program)
        for id in program.step:
            if program.roles[id] == "view" and id not in views:
                self._view(id)
        self.in_step = True
        step: list[Line] = []
        self.lines = step
        first = {chain[0]: chain for chain in program.chains}
        unusual = {*self.conditions, *self.seldom, *program.lasting}
        chained = {id for chain in program.chains for id in chain}
        for held in [base for base in self.checks if program.roles[base] != "call"]:
            step += self.checks.pop(held)
        for id in program.step:
            if (program.roles[id] == "view" and id not in views) or (id in chained and id not in first):
                continue
            if id in first:
                self._chain(first[id])
            elif id in unusual or not self._plainly(id):
                self._statement(id)
            for computed in first.get(id, (id,)) if self.checks else ():
                self.lines += self.checks.get(computed, ())
        self._finish()
        out.pieces = in_pieces(step, lambda id: self.graph.nodes[id].operator.name)
        return out

    # -- names --------------------------------------------------------------------------------------------------------

    def _name(self, id: int, wish: str | None = None) -> str:
        name = self.taken.take(wish or self._wish(id))
        self.out.names[id] = name
        return name

    def _wish(self, id: int) -> str:
        if id in self.program.again:
            return f"{self.out.names[self.program.again[id]]}_again"
        if id in self.graph.names:
            return self.graph.names[id][0]
        if id in self.graph.records and (symbol := self.graph.records[id].symbol):
            return symbol
        node = self.graph.nodes[id]
        if node.operator.name == "transpose" and (of := self.out.names.get(node.inputs[0], "")).isidentifier():
            return of.removesuffix("_T") if of.endswith("_T") else of + "_T"
        written = self.program.origins.get(id)  # unnamed nodes are called alike in code, text and pictures
        return f"t{id}" if written is None else f"v{written}"

    def _name_leaves(self) -> None:
        for node in self.graph.nodes:
            role = self.program.roles.get(node.id)
            if role == "input":
                self.out.inputs.append(self._name(node.id))
                if node.weak:
                    self.scalars[node.id] = Piece(self.out.names[node.id], 100)
            elif role == "held":
                name = self._name(node.id)
                if node.weak:
                    self.scalars[node.id] = Piece(f"{name}.item()" if node.id in self.plain else f"{name}[()]", 100)
            elif role == "constant":
                self.out.constants.append((self._name(node.id, self._wish(node.id)), node["value"].array))

    def _name_calls(self) -> None:
        program, names = self.program, self.out.names
        for id in program.prologue:
            if program.roles[id] == "call":
                self.out.kept.append((self._name(id), id))
        for id in program.step:
            if program.roles[id] != "call":
                continue
            owner = program.storage_of.get(id, id)
            if program.roles.get(owner) == "held":  # a new value in place of the old one goes by its name
                names[id] = names[owner]
            else:
                self.out.buffers.append((self._name(id), id))

    # -- statements ---------------------------------------------------------------------------------------------------

    def _emit(self, line: str, id: int | None) -> None:
        self.lines.append((line, id))

    def _statement(self, id: int) -> None:
        role = self.program.roles[id]
        if id in self.conditions:  # it stands in the statements that it multiplies in
            return
        if role == "scalar":
            self._scalar(id)
        elif role == "view":
            self._view(id)
        else:
            self._call(id)

    def _comment(self, id: int) -> None:
        """A line for the formula of the next statement. `comment` writes it when the source is read."""
        self._emit("#", id)

    def _view(self, id: int) -> None:
        if id in self.spread:  # it fills parts of what is put together, and is read by nothing else
            self.out.names[id] = self.spread[id]
            return
        node = self.program.node(id)
        *checks, template = self._template(node)
        lines = [(self._format(node, check), id) for check in checks]
        if self.in_step or not self.program.stages[id]:
            self.lines += lines
        elif lines:  # the view is made once, of values that each step computes
            self.checks.setdefault(self.program.base(id), []).extend(lines)
        text = self._format(node, template)
        if id in self.passing:
            self.out.names[id] = text
            return
        self._emit(f"{self._local(id)} = {text}", id)

    def _plainly(self, id: int) -> bool:
        """Print a statement by elements whose operands are arrays like its result, or numbers met before, as most are:
        what `_call` would. False, and nothing printed, of all others.
        """
        nodes, names = self.graph.nodes, self.out.names
        node = nodes[id]
        form, shape, dtype = self.forms.get(node.operator), node.shape, node.dtype
        if form is None or not shape:
            return False
        operands = []
        for i in node.inputs:
            other = nodes[i]
            if other.shape == shape and other.dtype == dtype:
                operands.append(names[i])
            elif other.weak and (i, dtype) in self.zero_d:
                operands.append(self.zero_d[i, dtype])
            else:
                return False
        self.lines.append(("#", id))
        self.lines.append((form.format(*operands, names[id]), id))
        return True

    def _call(self, id: int) -> None:
        node = self.program.node(id)
        if id in self.seldom:
            condition, factor, name = *self._factor(node), self.out.names[id]
            self._comment(id)
            self._emit(self._bare(f"if {condition}: np.multiply({name}, {factor}, {name})"), id)
            return
        if node.operator.kind == "pack" or id in self.program.lasting:
            self._join(id)
            return
        lines = [self._number_line(node)] if is_of_numbers(self.graph, node) else []
        lines = lines or [self._format(node, t) for t in self._template(node)]
        self._comment(id)
        self.lines += [(line, id) for line in lines]

    def _chain(self, chain: tuple[int, ...]) -> None:
        """A loop over blocks of the vectors that a chain reads and writes; each is sliced once for each workspace."""
        program, names = self.program, self.out.names
        inner = inner_values(program)
        ids = list(dict.fromkeys(i for id in chain for i in (*self.graph.nodes[id].inputs, id)))
        arrays = [i for i in ids if self.graph.nodes[i].shape]
        shape = program.node(chain[0]).shape
        length, dtypes = count(shape), {program.node(i).dtype for i in arrays}
        number = program.block // max(ITEM_SIZE[d] for d in dtypes)
        short = {names[i] for i in arrays if program.storage_of.get(i) in inner}
        parts = {name: self.taken.take(f"{name}_part") for name in dict.fromkeys(names[i] for i in arrays)}
        flat = "" if len(shape) == 1 else ".reshape(-1)"
        slices = [f"{n}[:min({number}, {length} - i)]" if n in short else f"{n}{flat}[i:i + {number}]" for n in parts]
        blocks = self._once("blocks", f"[({', '.join(slices)}) for i in range(0, {length}, {number})]")
        for id in chain:  # numbers are written to their arrays before the loop
            (self._factor if id in self.seldom else self._operands)(self.graph.nodes[id])
        self._emit(f"for {', '.join(parts.values())} in {blocks}:", None)
        whole = {i: names[i] for i in arrays}
        names.update({i: parts[name] for i, name in whole.items()})
        outside, self.lines = self.lines, []
        for id in chain:
            self._statement(id)
        names.update(whole)
        outside += [(f"    {text}", id) for text, id in self.lines]
        self.lines = outside

    def _factor(self, node: Node) -> tuple[str, str]:
        """Of a product that is seldom needed: when, and by what."""
        condition, factor, _ = self.graph.nodes[self.seldom[node.id]].inputs
        return self._as_scalar(condition).text, self._operand(factor, node.dtype)

    def _template(self, node: Node) -> tuple[str, ...]:
        spelling = node.operator.numpy
        if callable(spelling):
            inputs = [self.graph.nodes[i] for i in node.inputs]
            spelling = spelling(Call(node, inputs, self._is_plain, self._once, self.out.names.get(node.id, "")))
        if node.operator.name == "reshape" and self.program.roles[node.id] == "call":
            spelling = "np.copyto({out}.reshape(" + code(self.graph.nodes[node.inputs[0]].shape) + "), {x})"
        elif (
            node.operator.kind == "view" and self.program.roles[node.id] == "call"
        ):  # of a number: there is no memory to show
            *checks, shown = (spelling,) if isinstance(spelling, str) else spelling
            spelling = (*checks, "np.copyto({out}, " + shown + ")")
        templates = (spelling,) if isinstance(spelling, str) else tuple(spelling)
        if node.operator.kind == "elementwise" and self._of_bools(node) and node.dtype in FLOATS:
            # NumPy alone would compute exp(True) in float16.
            templates = tuple(re.sub(r"^(np\..*out=\{out\})\)$", r"\1, dtype=np.float64)", t) for t in templates)
        return templates

    def _is_plain(self, id: int) -> bool:
        """Whether a value lies as one run of memory in row-major order, so that BLAS and reshapes take it as it is."""
        while self.program.roles[id] == "view" and self.graph.nodes[id].operator.name == "reshape":
            id = self.graph.nodes[id].inputs[0]
        return self.program.roles[id] != "view" and not self.graph.nodes[id].weak

    def _once(self, wish: str, expression: str) -> str:
        """The name of an array that the prologue makes of an expression; equal ones are one."""
        if expression not in self.made:
            name = self.made[expression] = self.taken.take(wish)
            self.out.prologue.append((f"{name} = {expression}", None))
        return self.made[expression]

    def _zeros(self, node: Node) -> str:
        return self._once("zeros", f"np.zeros({code(node.shape)}, np.{np_dtype(node.dtype)})")

    def _wide(self, node: Node, position: int, name: str) -> str:
        """A number as an array of the result's shape: maximum and minimum of two arrays are the fast ones."""
        id = node.inputs[position]
        if not self.graph.nodes[id].weak or self.program.stages[id] or not node.shape or node.dtype not in FLOATS:
            return name
        return self._once(f"{name}_wide", f"np.full({code(node.shape)}, {name}, np.{np_dtype(node.dtype)})")

    def _format(self, node: Node, template: str) -> str:
        """A spelling with names and attributes in it, every function of NumPy's a bare name."""
        spelled = self.spelled.get((node.operator, template))
        if spelled is None:
            fields = frozenset([name for _, name, _ in template_parts(template) if name is not None])
            spelled = self.spelled[node.operator, template] = _Spelling(fields, ":wide}" in template)
        operands = self._operands(node)
        if spelled.form:
            return spelled.form.format(*operands, self.out.names.get(node.id, ""))
        values = {k: code(v) for k, v in node.attributes if k in spelled.fields}
        if spelled.wide:
            operands = [self._wide(node, k, name) for k, name in enumerate(operands)]
        if "zeros" in spelled.fields:
            values["zeros"] = self._zeros(node)
        if node.operator.variadic:
            values[node.operator.operands[0][1:]] = f"({', '.join(operands)},)"
        else:
            values |= dict(zip(node.operator.operands, operands, strict=True))
        values["out"] = self.out.names.get(node.id, "")
        if not spelled.bare:
            bare = self._bare(template)
            spelled.bare = bare if self.keywords else positional(bare)
            places = {name: f"{{{k}}}" for k, name in enumerate((*node.operator.operands, "out"))}
            if spelled.fields <= places.keys() and not spelled.wide and not node.operator.variadic:
                spelled.form = fill_plain(spelled.bare.replace("{{", "{{{{").replace("}}", "}}}}"), places)
                if node.operator.kind == "elementwise" and node.operator.numpy == template:
                    self.forms[node.operator] = spelled.form
        return fill_plain(spelled.bare, values)

    def _of_bools(self, node: Node) -> bool:
        nodes = self.graph.nodes
        return nodes[node.inputs[-1]].dtype == "bool" and all([nodes[i].dtype == "bool" for i in node.inputs])

    def _operands(self, node: Node) -> list[str]:
        """The operands' names. Weak ones enter as numbers of the dtype that all are promoted to."""
        nodes, names, shape = self.graph.nodes, self.out.names, node.shape
        if not any([nodes[i].weak for i in node.inputs]):
            if node.operator.kind == "elementwise" and shape.count(1) < len(shape):
                return [names[i] if nodes[i].shape == shape else self._single(i) for i in node.inputs]
            return [names[i] for i in node.inputs]
        dtype = operand_dtype(self.graph, node)
        op = node.operator
        # Conditions and indices are not promoted with the others.
        own = op.kind not in ("elementwise", "pack") and not op.variadic and dtype in FLOATS
        conditions = op.operands[:1] == ("condition",)
        return [
            self._operand(i, nodes[i].dtype if own or (conditions and k == 0) else dtype)
            for k, i in enumerate(node.inputs)
        ]

    def _single(self, id: int) -> str:
        """An operand; one element alone as an array of rank 0, which NumPy does not have to broadcast row by row."""
        name, shape = self.out.names[id], self.graph.nodes[id].shape
        if not shape or shape.count(1) < len(shape) or self.keywords or not name.isidentifier():
            return name
        if self.program.roles[self.program.base(id)] == "input":
            return name
        return self._once(f"{name}_0d", f"{name}.reshape(())")

    def _join(self, id: int) -> None:
        """Copy the parts into the whole: those that last before the first step, all others in each. What was computed
        in its place is there."""
        node = self.program.node(id)
        lines: list[str] = []
        start: Dimension = 0
        for i in node.inputs:
            shape = self.graph.nodes[i].shape
            if node.operator.kind == "pack":
                stop = start + count(shape)
                where = f"[{code(start)}:{code(stop)}].reshape({code(shape)})"
            else:
                stop = start + shape[node["axis"]]
                where = f"[{':, ' * node['axis']}{code(start)}:{code(stop)}]"
            base = whole_base(self.program, i)
            if base is None or self.program.placed.get(base) != (id, start):
                lasts = id in self.program.lasting and self.program.stages[i] == 0
                part = self.out.names[id] + where
                part = part if lasts else self._once(f"{self.out.names[id]}_part", part)
                copied = f"{part}.fill({self.spread[i]})" if i in self.spread else ""  # in half of copyto's time
                line = self._bare(copied or f"np.copyto({part}, {self._operand(i, node.dtype)})")
                if lasts:
                    self.out.prologue.append((line, None))
                else:
                    lines.append(line)
            start = stop
        if lines:
            self._comment(id)
        for line in lines:
            self._emit(line, id)

    def _finish(self) -> None:
        program = self.program
        outputs = [self._output(i) for i in program.outputs]
        for leaf, value in program.copies:
            name = self.out.names[leaf]
            if self.graph.nodes[value].weak:
                self._emit(f"{name}[()] = {self._as_scalar(value).text}", value)
            else:
                self._emit(self._bare(f"np.copyto({name}, {self.out.names[value]})"), value)
        self.out.result = f"({', '.join(outputs)}{',' if len(outputs) == 1 else ''})"

    def _output(self, id: int) -> str:
        node = self.graph.nodes[id]
        if node.weak:
            made = f"np.array({self._as_scalar(id).text}, np.{np_dtype(node.dtype)})"
            if self.program.roles[id] != "held":
                return made
            name = self.taken.take(f"old_{self.out.names[id]}")  # before the copies that follow
            self.out.locals.append(name)
            self._emit(f"{name} = {made}", id)
            return name
        return self.out.names[id]

    # -- functions ----------------------------------------------------------------------------------------------------

    def _bare(self, text: str) -> str:
        """np.add.reduce(...) as add_reduce(...), bound once; support functions are noted."""
        if "(" not in text:  # a slice, of which there is one for each parameter
            return text

        def bind(match: re.Match[str]) -> str:
            path = match.group(1)
            for bare, known in self.out.functions.items():
                if known == f"np.{path}":
                    return bare + "("
            bare = self.taken.take(path.replace(".", "_"))
            self.out.functions[bare] = f"np.{path}"
            return bare + "("

        for name in re.findall(r"(?<![\w.])([a-z_]\w*)\(", text):
            function: Callable[..., Any] | None = getattr(numpy_support, name, None)
            if function is not None and name not in self.out.support:
                self.out.support[name] = inspect.getsource(function)
        return re.sub(r"(?<![\w.])np\.([a-z_][\w.]*)\(", bind, text)
