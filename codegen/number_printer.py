"""How numbers are printed: a weak value as an expression of Python's, and as the 0-d array that a ufunc takes."""

from __future__ import annotations

from graphgrad.errors import GraphgradError
from graphgrad.node import Node
from graphgrad.notation import Piece, fill, fill_plain
from graphgrad.operator import Operator
from graphgrad.types import FLOATS, np_dtype

from .listing import Listing
from .literals import code, literal, number_name
from .plain_numbers import periodic_numbers, plain_numbers
from .program import Program, number_template

SHORT = 80  # characters of what stands in other formulas; what is longer has a name


class NumberPrinter(Listing):
    """The part of a printer that knows numbers.

    With `counting` the states that count up are taken to be never negative (see `plain_numbers`).
    """

    def __init__(self, program: Program, *, counting: bool) -> None:
        super().__init__(program)
        self.plain = plain_numbers(program) if counting else {}  # that Python's own arithmetic computes
        self.periodic = periodic_numbers(program, self.plain)
        self.formulas: dict[int, str] = {}  # of these, by the remainder that they depend on
        self.scalars: dict[int, Piece] = {}  # weak nodes as expressions
        self.zero_d: dict[tuple[int, str], str] = {}  # (weak node, dtype) -> the 0-d array that ufuncs take
        self.of_numbers: dict[Operator, str] = {}  # of statements that compute one number, for `str.format`

    def _number_line(self, node: Node) -> str:
        """A number by NumPy's scalars: a third of the time that a ufunc takes on arrays of rank 0."""
        op, nodes, names, roles = node.operator, self.graph.nodes, self.out.names, self.program.roles
        numbers = []  # one of NumPy's scalars, or its place in an array of rank 0
        for i in (node.id, *node.inputs):
            if nodes[i].weak:
                numbers.append(self._as_float(i))
            else:
                numbers.append(names[i] if roles[i] == "scalar" else f"{names[i]}[()]")
        if op not in self.of_numbers:
            places = {name: Piece(f"{{{k}}}", 100) for k, name in enumerate(op.operands, 1)}
            self.of_numbers[op] = self._bare("{0} = " + fill(number_template(op), places, op.binding))
        return self.of_numbers[op].format(*numbers)

    def _as_float(self, id: int) -> str:
        """A weak number as Python's float, which computes with float32 as it is."""
        text = self._as_scalar(id).text
        if self.graph.nodes[id].operator.name == "constant":
            return f"({text})" if text.startswith("-") else text
        return f"float({text})" if self.program.stages[id] else self._once(f"{text}_number", f"float({text})")

    def _operand(self, id: int, dtype: str) -> str:
        node = self.graph.nodes[id]
        if not node.weak:
            return self.out.names[id]
        own = "bool" if node.dtype == "bool" and dtype == "bool" else dtype
        key = (id, own)
        if key not in self.zero_d:
            value = node["value"].array.item() if node.operator.name == "constant" else None
            name = self.taken.take(number_name(value) if value is not None else self._scalar_name(id))
            self.zero_d[key] = name
            if id in self.formulas:
                made = f"np.array({self.formulas[id]}, np.{np_dtype(own)})"
                self._emit(f"{name} = {self._from_table(id, made)}", id)
                self.out.locals.append(name)
                return name
            text = self.scalars[id].text if id in self.scalars else literal(value)
            if self.program.stages[id] == 0:
                self.out.prologue.append((f"{name} = np.array({text}, np.{np_dtype(own)})", id))
            else:
                self.out.prologue.append((f"{name} = np.zeros((), np.{np_dtype(own)})", id))
                self._emit(f"{name}[()] = {text}", id)
        return self.zero_d[key]

    def _from_table(self, id: int, formula: str) -> str:
        """A number of each step in the period, made once: all that a step does is to look it up."""
        remainder = self.periodic[id]
        period = self.graph.nodes[self.graph.nodes[remainder].inputs[1]]["value"].array.item()
        k = self.scalars[remainder].text
        return f"{self._once(f'{self.out.names[id]}_of', f'[{formula} for {k} in range({period})]')}[{k}]"

    def _scalar_name(self, id: int) -> str:
        text = self.out.names[id] if id in self.formulas else self.scalars[id].text
        return f"{text}_0d" if text.isidentifier() else f"c{id}"

    def _scalar(self, id: int) -> None:
        """A weak value as a Python expression, named if it is more than a name or a number; another, as NumPy's."""
        node = self.program.node(id)
        if not node.weak:
            self._local(id)
            self._comment(id)
            self._emit(self._number_line(node), id)
            return
        if node.operator.name == "constant":
            value = node["value"].array.item()
            self.scalars[id] = Piece(literal(value), 100 if not isinstance(value, (int, float)) or value >= 0 else 15)
            return
        if node.operator.kind == "size":
            dim = node["dim"]
            is_atom = code(dim).isalnum() or code(dim).isidentifier()  # M*N + 1 is none
            self.scalars[id] = Piece(code(dim), 100 if is_atom else 10)
            return
        if node.operator.kind == "view":  # of a number: itself
            self.scalars[id] = self._number(node.inputs[0], id in self.plain, id)
            return
        op = node.operator
        # One of NumPy's numbers makes the whole NumPy's arithmetic.
        numpys = [i for i in node.inputs if i not in self.plain and self.graph.nodes[i].operator.name != "constant"]
        as_it_is = id in self.plain or bool(numpys)
        pieces = {n: self._number(i, as_it_is, id) for n, i in zip(op.operands, node.inputs, strict=True)}
        if node.dtype != "bool" and all(self.graph.nodes[i].dtype == "bool" for i in node.inputs):
            # NumPy alone would use float16, and has no sum of one; Python's own numbers raise where it divides by zero.
            python = "float" if node.dtype in FLOATS else "int"
            made = python if id in self.plain else f"np.{np_dtype(node.dtype)}"
            pieces = {n: Piece(f"{made}({p.text})", 100) for n, p in pieces.items()}
        if op.name == "where" and node.dtype in FLOATS:  # 0 has no sign where 0.0 has one
            for n, i in zip(op.operands[1:], node.inputs[1:], strict=True):
                if self.graph.nodes[i].dtype == "int64":
                    pieces[n] = Piece(f"float({pieces[n].text})", 100)
        if op.name == "power" and id not in self.plain:  # of Python's numbers it could raise, or be complex
            base = pieces["x"]
            number = self.graph.nodes[node.inputs[0]].operator.name == "constant"
            pieces["x"] = Piece(self._once("base", f"np.float64({base.text})"), 100) if number else base
        if op.scalar:
            text = fill((id in self.plain and op.plain) or op.scalar, pieces, op.binding)
        elif isinstance(op.numpy, str) and ", out={out}" in op.numpy:
            plain = {n: p.text for n, p in pieces.items()} | {k: code(v) for k, v in node.attributes}
            text = fill_plain(op.numpy.replace(", out={out}", ""), plain)
        else:
            raise GraphgradError(f"{op.name} of Python's numbers has no spelling: {self.graph.where(id)}")
        # A choice of Python's own numbers: NumPy's divide by zero as arrays do.
        if op.name == "where" and id not in self.plain:
            text = f"np.{np_dtype(node.dtype)}({text})"
        text = self._bare(text)
        periodic = self.periodic.get(id, id) != id
        name = self._name(id) if periodic and node.dtype in FLOATS else self._local(id)
        if periodic:
            self.formulas[id] = text if len(text) < SHORT else self._from_table(id, text)
            if node.dtype in FLOATS:
                return
        self._emit(f"{name} = {text}", id)
        self.scalars[id] = Piece(name, 100)

    def _number(self, id: int, plain: bool, user: int) -> Piece:
        """A number for an expression of Python's own arithmetic, or of NumPy's."""
        if id in self.formulas and user in self.periodic:  # a choice, or a root as a power, has to be in parentheses
            piece = Piece(f"({self.formulas[id]})" if " " in self.formulas[id] else self.formulas[id], 100)
        else:
            piece = self._as_scalar(id)
        if id not in self.plain or plain:
            return piece
        if self.program.roles[id] == "held":
            return Piece(f"{self.out.names[id]}[()]", 100)
        return Piece(f"np.{np_dtype(self.graph.nodes[id].dtype)}({piece.text})", 100)

    def _as_scalar(self, id: int) -> Piece:
        if id in self.formulas and id not in self.scalars:
            self.scalars[id] = Piece(self._from_table(id, self.formulas[id]), 100)
        if id not in self.scalars:
            self._scalar(id)
        return self.scalars[id]
