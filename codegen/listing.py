"""The listing that a printer fills: lines, names, functions bound to bare names, what is made once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from graphgrad.graph import Graph

from . import numpy_support
from .names import Names
from .pieces import Line
from .printed import Printed
from .program import Program


class Listing:
    """Generated text as it grows."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.graph: Graph = program.graph
        self.out = Printed(program)
        self.taken = Names()
        for name in vars(numpy_support):
            self.taken.take(name)
        self.made: dict[str, str] = {}  # expression -> the array that it made, once for each workspace
        self.lines: list[Line] = self.out.prologue
        self.in_step = False

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

    def _local(self, id: int) -> str:
        """A name that a statement assigns."""
        name = self._name(id)
        if self.in_step:
            self.out.locals.append(name)
        return name

    # -- lines --------------------------------------------------------------------------------------------------------

    def _emit(self, line: str, id: int | None) -> None:
        self.lines.append((line, id))

    def _comment(self, id: int) -> None:
        """A line for the formula of the next statement. `comment` writes it when the source is read."""
        self._emit("#", id)

    def _once(self, wish: str, expression: str) -> str:
        """The name of an array that the prologue makes of an expression; equal ones are one."""
        if expression not in self.made:
            name = self.made[expression] = self.taken.take(wish)
            self.out.prologue.append((f"{name} = {expression}", None))
        return self.made[expression]

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
