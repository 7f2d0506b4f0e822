"""The NumPy target: a Program printed as straight-line code that a person can read.

Two blocks: what is made once for each workspace (views, constants, numbers that only sizes enter), and the step.
Buffers are bare names; every function of NumPy is bound to a bare name too, so that the step looks nothing up.
"""

from __future__ import annotations

from graphgrad.errors import GraphgradError
from graphgrad.node import Node
from graphgrad.notation import Piece
from graphgrad.types import Dimension, count, np_dtype, size_names

from .blocks import inner_values
from .literals import code
from .number_printer import SHORT
from .pieces import Line, in_pieces
from .printed import Printed
from .program import (
    ITEM_SIZE,
    Program,
    is_of_numbers,
    passing_views,
    per_call_views,
    whole_base,
)
from .shortcuts import seldom_products, spread_numbers
from .templates import TemplatePrinter


def print_numpy(program: Program, *, keywords: bool = False, counting: bool = True) -> Printed:
    """The text of a program in Python with NumPy. With `keywords` all results are named: add(x, y, out=z).

    With `counting` the states that count up are taken to be never negative (see `plain_numbers`).
    """
    return _Printer(program, keywords=keywords, counting=counting).run()


class _Printer(TemplatePrinter):
    """All statements in their order: calls, views, numbers, chains in blocks, parts that are put together."""

    def __init__(self, program: Program, *, keywords: bool, counting: bool) -> None:
        super().__init__(program, keywords=keywords, counting=counting)
        self.passing = passing_views(program)
        self.spread = spread_numbers(program)
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
        if id in self.passing and len(text) < SHORT:  # Python's own parser has a limit to views of views
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
                copied = f"{part}.fill({self.spread[i]})" if i in self.spread else ""  # sooner than by an assignment
                line = copied or f"{part}[...] = {self._operand(i, node.dtype)}"
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
                self._emit(f"{name}[...] = {self.out.names[value]}", value)
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
