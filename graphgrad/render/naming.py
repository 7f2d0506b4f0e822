"""What pictures call things: nodes by the user's names, adjoints in one of three notations, formulas in both."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from graphgrad.derivation import Derivation, Step
from graphgrad.errors import GraphgradError
from graphgrad.graph import Graph
from graphgrad.notation import Piece, bar, formula, latex_name
from graphgrad.operator import OPERATORS

NOTATIONS = ("bar", "partial", "delta")


@dataclass(frozen=True)
class Naming:
    """The names of a graph's nodes and, given a derivation, of their adjoints."""

    graph: Graph
    derivation: Derivation | None = None
    notation: str = "bar"

    def __post_init__(self) -> None:
        if self.notation not in NOTATIONS:
            raise GraphgradError(f"notation {self.notation!r} does not exist; there are: {', '.join(NOTATIONS)}")

    def node(self, id: int, *, latex: bool = False) -> str:
        """A node's first name; for an adjoint of an earlier derivation its symbol, or L_x; else v and its id."""
        graph = self.graph
        record = graph.records.get(id)
        if id in graph.names or record is None or (self.derivation is not None and self._own(id)):
            return latex_name(graph.label(id)) if latex else graph.label(id)
        earlier = self.earlier(id)
        if earlier is not None:
            return _subscripted(earlier, latex=latex)
        if not latex:
            return record.symbol
        plain = unicodedata.normalize("NFC", record.symbol).replace("\u0304", "")
        stripped = "".join(c for c in unicodedata.normalize("NFD", plain) if not unicodedata.combining(c))
        name, mark, consumer = stripped.partition("[")
        symbol = bar(latex_name(name), latex=True)
        return rf"{symbol}^{{[{latex_name(consumer.rstrip(']'))}]}}" if mark else symbol

    def earlier(self, id: int) -> Step | None:
        """The step that made a node without a name, where a bar would not tell of which derivation it is."""
        record = self.graph.records.get(id)
        if id in self.graph.names or not self._several or self._own(id):
            return None
        return record if isinstance(record, Step) else None

    @cached_property
    def _several(self) -> bool:
        found = {id(r.derivation) for r in self.graph.records.values() if isinstance(r, Step)}
        return len(found | ({id(self.derivation)} if self.derivation is not None else set())) > 1

    def _own(self, id: int) -> bool:
        """Whether the node is of the derivation that is drawn, whose steps have boxes of their own."""
        record = self.graph.records.get(id)
        return getattr(record, "derivation", None) is self.derivation

    def adjoint(self, id: int, *, latex: bool = False) -> str:
        """The adjoint of a node: z̄, ∂L/∂z or δz."""
        name = self.node(id, latex=latex)
        if self.notation == "bar":
            return bar(name, latex=latex)
        if self.notation == "delta":
            return rf"\delta_{{{name}}}" if latex else f"δ{name}"
        assert self.derivation is not None
        scalar = self.node(self.derivation.scalar.id, latex=latex)
        return rf"\frac{{\partial {scalar}}}{{\partial {name}}}" if latex else f"∂{scalar}/∂{name}"

    def operand(self, id: int, *, latex: bool = False) -> str | Piece:
        """An adjoint as part of a formula: ∂L/∂z is a fraction, so what is done to all of it needs parentheses."""
        text = self.adjoint(id, latex=latex)
        if self.notation != "partial":
            return text
        return Piece(text, raised=True) if latex else Piece(text, OPERATORS["divide"].binding, "divide")

    def contribution(self, target: int, consumer: int, operand: int | None, *, latex: bool = False) -> str:
        """What one consumer adds to an adjoint, where there are several."""
        symbol = self.adjoint(target, latex=latex)
        whose = self.node(consumer, latex=latex) + ("" if operand is None else f", {operand + 1}")
        return rf"{symbol}^{{[{whose}]}}" if latex else f"{symbol}[{whose}]"

    def formula(
        self,
        id: int,
        shown: Container[int],
        adjoints: Mapping[int, int] | None = None,
        *,
        own: bool = True,
        latex: bool = False,
    ) -> str:
        """A node's formula in the names of the `shown` nodes and in the adjoints {adjoint's id: node}."""
        return formula(self.graph, id, _Names(self, shown, adjoints or {}, latex), latex=latex, own=own)


def _subscripted(step: Step, *, latex: bool) -> str:
    """The derivative of L by x as L_x, and what z adds to it as L_x[z]."""
    scalar, target = step.derivation.scalar.name, step.graph.label(step.target)
    _, mark, consumer = step.symbol.partition("[")
    if not latex:
        return f"{scalar}_{target}{mark}{consumer}"
    base, _, index = latex_name(scalar).partition("_")
    part = f"[{latex_name(consumer.rstrip(']'))}]" if mark else ""
    return f"{base}_{{{f'{index[1:-1]},' if index else ''}{latex_name(target)}{part}}}"


@dataclass(frozen=True)
class _Names(Mapping[int, "str | Piece"]):
    """Names as `formula` asks for them: none is made that no formula holds."""

    naming: Naming
    shown: Container[int]
    adjoints: Mapping[int, int]
    latex: bool

    def __contains__(self, id: object) -> bool:
        return id in self.adjoints or id in self.shown

    def __getitem__(self, id: int) -> str | Piece:
        if id in self.adjoints:
            return self.naming.operand(self.adjoints[id], latex=self.latex)
        if id in self.shown:
            return self.naming.node(id, latex=self.latex)
        raise KeyError(id)

    def __iter__(self) -> Iterator[int]:
        return iter(self.adjoints)

    def __len__(self) -> int:
        return len(self.adjoints)
