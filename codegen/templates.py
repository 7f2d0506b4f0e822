"""How statements over arrays are printed: by the templates of their operators, with operands and results in them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from graphgrad.node import Node
from graphgrad.notation import fill_plain, template_parts
from graphgrad.operator import Operator
from graphgrad.types import FLOATS, Shape, np_dtype

from .literals import code, positional
from .number_printer import NumberPrinter
from .printed import Call
from .program import Program, operand_dtype


@dataclass(slots=True)
class Spelling:
    """What is known of a template."""

    fields: frozenset[str]
    wide: bool  # some operand is to be of the result's shape
    bare: str = ""  # with NumPy's functions as bare names; they get theirs when it is first filled
    form: str = ""  # the same for `str.format`, if nothing but the operands and the result is in it


class TemplatePrinter(NumberPrinter):
    """The part of a printer that knows templates."""

    def __init__(self, program: Program, *, keywords: bool, counting: bool) -> None:
        super().__init__(program, counting=counting)
        self.keywords = keywords
        self.spelled: dict[tuple[Operator, str], Spelling] = {}  # by operator and template
        self.forms: dict[Operator, str] = {}  # of statements by elements, met before, whose spelling is one for all

    def _template(self, node: Node) -> tuple[str, ...]:
        spelling = node.operator.numpy
        if callable(spelling):
            inputs = [self.graph.nodes[i] for i in node.inputs]
            storage = self.program.storage_of.get(node.id, -1)  # none before the step
            over = node.operator.over and storage == self.program.storage_of.get(inputs[0].id)
            spelling = spelling(Call(node, inputs, self._is_plain, self._once, self.out.names.get(node.id, ""), over))
        if node.operator.name == "reshape" and self.program.roles[node.id] == "call":
            spelling = "{out}.reshape(" + code(self.graph.nodes[node.inputs[0]].shape) + ")[...] = {x}"
        elif (
            node.operator.kind == "view" and self.program.roles[node.id] == "call"
        ):  # of a number: there is no memory to show
            *checks, shown = (spelling,) if isinstance(spelling, str) else spelling
            spelling = (*checks, "{out}[...] = " + shown)
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
            spelled = self.spelled[node.operator, template] = Spelling(fields, ":wide}" in template)
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
                return [names[i] if nodes[i].shape == shape else self._smaller(i, shape) for i in node.inputs]
            return [names[i] for i in node.inputs]
        dtype = operand_dtype(self.graph, node)
        op = node.operator
        # Conditions and indices are not promoted with the others.
        if op.kind not in ("elementwise", "pack") and not op.variadic and dtype in FLOATS:
            floats = node.dtype if node.dtype in FLOATS else dtype
            return [self._operand(i, floats if nodes[i].dtype in FLOATS else nodes[i].dtype) for i in node.inputs]
        conditions = op.operands[:1] == ("condition",)
        return [self._operand(i, nodes[i].dtype if conditions and k == 0 else dtype) for k, i in enumerate(node.inputs)]

    def _smaller(self, id: int, shape: Shape) -> str:
        """An operand that is spread over a result of this shape, so that NumPy does not broadcast it row by row: one
        element as an array of rank 0, and a row, where the result has one, as a matrix."""
        name, own = self.out.names[id], self.graph.nodes[id].shape
        if not own or not self._is_made_once(id):
            return name
        if own.count(1) == len(own):
            return self._once(f"{name}_0d", f"{name}.reshape(())")
        if len(shape) == 2 and own == shape[1:] and self.program.is_one(shape[0]):
            return self._once(f"{name}_row", f"{name}[None]")
        return name

    def _is_made_once(self, id: int) -> bool:
        """Whether a value is an array of the workspace's, so that the prologue can make views of it."""
        is_given = self.program.roles[self.program.base(id)] == "input"
        return not is_given and not self.keywords and self.out.names[id].isidentifier()
