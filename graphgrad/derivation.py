"""The record of a derivation: its steps, its adjoints, and both as text and LaTeX."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from graphgrad.errors import DerivativeError
from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.notation import Piece, bar, formula, latex_name, repeated
from graphgrad.tensor import Tensor


@dataclass(slots=True, eq=False)
class Step:
    """One step of a derivation: what one operand's adjoint receives, by which rule, from which forward node."""

    number: int  # from 1, in the order of the derivation
    rule: str  # the forward operator's name; "seed" for the first step, "sum" where contributions meet
    forward: Node  # the forward node whose rule it is (for a sum and the seed: the node whose adjoint it is)
    operand: int | None  # the position of the operand that receives; None for a sum and the seed
    target: int  # the id of the node whose adjoint receives
    contribution: Tensor
    new: range  # the ids that were new
    derivation: Derivation

    @property
    def symbol(self) -> str:
        """What the step computes: x̄, or x̄ and the consumer where several consumers contribute."""
        return self._symbol(latex=False)

    @property
    def formula(self) -> str:
        """The right side, in the names of the forward nodes and adjoints."""
        return self._formula(latex=False)

    @property
    def latex(self) -> str:
        return f"{self._symbol(latex=True)} = {self._formula(latex=True)}"

    @property
    def graph(self) -> Graph:
        return self.contribution.graph

    @property
    def parts(self) -> tuple[int, ...]:
        """Of a sum: the ids that are added."""
        return tuple(
            s.contribution.id for s in self.derivation.contributions.get(self.target, ()) if self.operand is None
        )

    def __str__(self) -> str:
        return f"{self.symbol} = {self.formula}"

    def told(self, names: Mapping[int, str]) -> str:
        """The step as a line in which only the nodes in `names` have names; all others are written out."""
        known = {i: self.derivation.adjoint_symbol(i) or n for i, n in names.items() if i != self.contribution.id}
        shown = repeated(self.graph, self.contribution.id, known)
        return f"{self.symbol} = {formula(self.graph, shown, known, own=shown not in known)}"

    def in_words(
        self, name: Callable[[int], str], adjoint: str | Piece, *, turned: bool = False, latex: bool = False
    ) -> str:
        """The rule with other names: `name` of each operand and of the result, `adjoint` for the result's adjoint; with
        `turned` the transpose of what the operand receives.

        The rule is built once more, on leaves: so numbers that folded into one another stand apart again (0.5 · L̄, not
        0.5). "" where that cannot be built.
        """
        assert self.operand is not None
        g, source, node = Graph(), self.graph, self.forward
        leaves = []
        for position, i in enumerate(node.inputs):
            n = source.nodes[i]
            if n.operator.name == "constant" and not n.shape:
                leaves.append(g.insert(n.operator, (), dict(n.attributes)))
            else:
                leaves.append(g.input(f"x{position}", n.shape, n.dtype, weak=n.weak))
        output = g.insert(node.operator, tuple(t.id for t in leaves), dict(node.attributes))
        if output.node.operator is not node.operator:
            return ""
        bar = g.input("adjoint", output.shape, output.dtype)
        made = self.derivation.contribute(output.node, self.operand, bar)
        names: dict[int, str | Piece] = {
            t.id: name(i) for t, i in zip(leaves, node.inputs, strict=True) if t.node.operator.name == "input"
        }
        names |= {output.id: name(node.id), bar.id: adjoint}
        made = made.T if turned else made
        shown = repeated(g, made.id, names)
        return formula(g, shown, names, latex=latex, own=shown not in names)

    def _symbol(self, *, latex: bool) -> str:
        symbol = named_adjoint(self.graph, self.target, latex=latex)
        if self.operand is None or len(self.derivation.contributions[self.target]) < 2:
            return symbol
        consumer = self.graph.label(self.forward.id)
        consumer = latex_name(consumer) if latex else consumer
        if self.forward.inputs.count(self.target) > 1:  # x * x contributes twice
            consumer += f", {self.operand + 1}"
        return rf"{symbol}^{{[{consumer}]}}" if latex else f"{symbol}[{consumer}]"

    def _formula(self, *, latex: bool) -> str:
        if self.rule == "seed":
            return "1"
        if self.operand is None:
            return " + ".join(s._symbol(latex=latex) for s in self.derivation.contributions[self.target])
        graph = self.graph
        names = {
            i: graph.label(i) for i in (*self.forward.inputs, self.forward.id) if graph.nodes[i].operator.kind != "leaf"
        }
        if latex:
            names = {i: latex_name(n) for i, n in names.items()}
        adjoint = self.derivation.adjoints[self.forward.id]
        symbol = named_adjoint(graph, self.forward.id, latex=latex)
        shown = repeated(graph, self.contribution.id, (*names, adjoint.id))
        if shown == adjoint.id:
            return symbol
        if graph.nodes[shown].operator.name == "constant":
            written = self.in_words(
                lambda i: latex_name(graph.label(i)) if latex else graph.label(i), symbol, latex=latex
            )
            return written or self.contribution.name
        if adjoint.id not in self.forward.inputs:  # the seed is a constant, which may be an operand too
            names[adjoint.id] = symbol
        own = shown not in names or (shown == self.contribution.id and bool(self.new))
        return formula(graph, shown, names, latex=latex, own=own)


class Derivation(Mapping[Tensor, Tensor]):
    """What `derive` returns: gradients by tensor (`d[W]`), the adjoint of every node on the way, and the steps."""

    def __init__(self, scalar: Tensor, contribute: Callable[[Node, int, Tensor], Tensor]) -> None:
        self.scalar = scalar
        self.contribute = contribute  # the application of one rule, by which steps can be written in other names
        self.graph: Graph = scalar.graph
        self.steps: list[Step] = []
        self.adjoints: dict[int, Tensor] = {}  # by the id of the forward node
        self.contributions: dict[int, list[Step]] = {}  # what met in each adjoint
        self.gradients: dict[Tensor, Tensor] = {}
        self._symbols: dict[int, str] = {}  # by the id of the adjoint
        self._written = len(self.graph.nodes)  # those before are no work of this derivation

    def record(
        self, rule: str, forward: Node, operand: int | None, target: int, contribution: Tensor, start: int
    ) -> None:
        """Note a step; `start` is the number of nodes before it."""
        new = range(start, len(self.graph.nodes))
        step = Step(len(self.steps) + 1, rule, forward, operand, target, contribution, new, self)
        self.steps.append(step)
        if operand is not None:
            self.contributions.setdefault(target, []).append(step)
        if contribution.id >= self._written:  # a share may be a node that was there: of x in x * y, it is y
            self.graph.records.setdefault(contribution.id, step)

    def __getitem__(self, tensor: Tensor) -> Tensor:
        if tensor not in self.gradients:
            names = ", ".join(t.name for t in self.gradients)
            raise DerivativeError(f"no gradient by {getattr(tensor, 'name', tensor)!s} was derived; there are: {names}")
        return self.gradients[tensor]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.gradients)

    def __len__(self) -> int:
        return len(self.gradients)

    def adjoint(self, tensor: Tensor) -> Tensor | None:
        """The derivative of the scalar by a node on the way; None where the node is not on one."""
        return self.adjoints.get(tensor.id)

    def adjoint_symbol(self, id: int) -> str | None:
        """The symbol of the adjoint that a node is, by the first forward node, of those with a name if any has; else
        None."""
        if not self._symbols:
            of = [(forward, a.id) for forward, a in self.adjoints.items() if a.value is None]
            for forward, adjoint in sorted(of, key=lambda pair: pair[0] not in self.graph.names):
                self._symbols.setdefault(adjoint, named_adjoint(self.graph, forward))
        return self._symbols.get(id)

    def __str__(self) -> str:
        """A step a line: number, formula, rule and the forward node that it came from."""
        left = [f"{s.number:>{len(str(len(self.steps)))}}  {s}" for s in self.steps]
        width = min(max((columns(line) for line in left), default=0), 76)
        padded = [line + " " * (width - columns(line)) for line in left]
        return "\n".join(f"{line}   {_origin(self.graph, s)}" for line, s in zip(padded, self.steps, strict=True))

    def __repr__(self) -> str:
        by = ", ".join(t.name for t in self.gradients)
        return f"<derivation of {self.scalar.name} by {by}: {len(self.steps)} steps>"

    def latex(self) -> str:
        """The derivation as an `align*` environment, a step a line under its number."""
        lines = []
        for s in self.steps:
            left, right = s.latex.split(" = ", 1)
            rule = s.rule.replace("_", r"\_")
            lines.append(rf"  {left} &= {right} && \text{{{rule}}} \tag{{{s.number}}} \\")
        return "\n".join([r"\begin{align*}", *lines, r"\end{align*}"])


def named_adjoint(graph: Graph, id: int, *, latex: bool = False) -> str:
    """x̄ for the node x."""
    name = graph.label(id)
    return bar(latex_name(name) if latex else name, latex=latex)


def columns(text: str) -> int:
    """How wide a text stands in a terminal: a combining macron takes no column of its own."""
    return sum(not unicodedata.combining(c) for c in text)


def _origin(graph: Graph, step: Step) -> str:
    if step.operand is None:
        return "seed" if step.rule == "seed" else "sum over consumers"
    names = {i: graph.label(i) for i in step.forward.inputs if graph.nodes[i].operator.kind != "leaf"}
    return f"{step.rule}: {graph.label(step.forward.id)} = {formula(graph, step.forward.id, names)}"
