"""Reverse-mode differentiation: the derivative of a graph, as more graph, with every step on record.

    x̄ = Σ over the consumers y of x:  (pullback of y's operator for that operand)(ȳ)

The walk knows no operator by name, and no operator knows how the walk goes.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphgrad.errors import DerivativeError, GraphgradError
from graphgrad.graph import Graph, Node, Tensor, paused_gc
from graphgrad.notation import bar, formula, latex_name
from graphgrad.operator import OPERATORS
from graphgrad.types import FLOATS, Shape, show


class UnusedParameterWarning(UserWarning):
    """The derived scalar does not depend on a tensor that it is derived by."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One step of a derivation: what one operand's adjoint receives, by which rule, from which forward node."""

    number: int  # from 1, in the order of the derivation
    rule: str  # the forward operator's name; "seed" for the first step, "sum" where contributions meet
    forward: Node  # the forward node whose rule it is (for a sum and the seed: the node whose adjoint it is)
    operand: int | None  # the position of the operand that receives; None for a sum and the seed
    target: int  # the id of the node whose adjoint receives
    contribution: Tensor
    new: range  # the ids that were new
    parts: tuple[int, ...] = ()  # of a sum: the ids that are added
    derivation: Derivation | None = None

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

    def __str__(self) -> str:
        return f"{self.symbol} = {self.formula}"

    def _symbol(self, *, latex: bool) -> str:
        graph = self.contribution.graph
        name = graph.label(self.target)
        symbol = bar(latex_name(name) if latex else name, latex=latex)
        if self.operand is None or self.derivation is None or self.derivation.consumers[self.target] < 2:
            return symbol
        consumer = graph.label(self.forward.id)
        consumer = latex_name(consumer) if latex else consumer
        if self.forward.inputs.count(self.target) > 1:  # x * x contributes twice
            consumer += f", {self.operand + 1}"
        return rf"{symbol}^{{[{consumer}]}}" if latex else f"{symbol}[{consumer}]"

    def _formula(self, *, latex: bool) -> str:
        graph = self.contribution.graph
        if self.rule == "seed":
            return "1"
        if self.parts and self.derivation is not None:
            parts = [s for s in self.derivation.steps if s.target == self.target and s.operand is not None]
            return " + ".join(s._symbol(latex=latex) for s in parts)
        names = {i: graph.label(i) for i in (*self.forward.inputs, self.forward.id) if graph.nodes[i].operator.kind != "leaf"}
        if latex:
            names = {i: latex_name(n) for i, n in names.items()}
        forward = graph.label(self.forward.id)
        adjoint = self.derivation.adjoints.get(self.forward.id) if self.derivation else None
        own = bool(self.new)
        if adjoint is not None:
            name = bar(latex_name(forward) if latex else forward, latex=latex)
            if adjoint.id not in self.forward.inputs:  # the seed is a constant, which may be an operand too
                names = {**names, adjoint.id: name}
            if adjoint.id == self.contribution.id:
                return name
        return formula(graph, self.contribution.id, names, latex=latex, own=own or self.contribution.id not in names)


class Derivation(Mapping[Tensor, Tensor]):
    """What `derive` returns: gradients by tensor (`d[W]`), the adjoint of every node on the way, and the steps."""

    def __init__(self, scalar: Tensor, wrt: tuple[Tensor, ...]) -> None:
        self.scalar = scalar
        self.wrt = wrt
        self.graph: Graph = scalar.graph
        self.steps: list[Step] = []
        self.adjoints: dict[int, Tensor] = {}  # by the id of the forward node
        self.consumers: dict[int, int] = {}  # how many contributions met in an adjoint
        self.gradients: dict[Tensor, Tensor] = {}

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

    def __str__(self) -> str:
        """A step a line: number, formula, rule and the forward node that it came from."""
        left = [f"{s.number:>{len(str(len(self.steps)))}}  {s}" for s in self.steps]
        width = min(max((columns(line) for line in left), default=0), 76)
        told = [f"{line}{' ' * (width - columns(line))}   {_origin(self.graph, s)}" for line, s in zip(left, self.steps, strict=True)]
        return "\n".join(told)

    def __repr__(self) -> str:
        return f"<derivation of {self.scalar.name} by {', '.join(t.name for t in self.gradients)}: {len(self.steps)} steps>"

    def latex(self) -> str:
        """The derivation as an `align*` environment, a step a line."""
        lines = []
        for s in self.steps:
            left, right = s.latex.split(" = ", 1)
            rule = s.rule.replace("_", r"\_")
            lines.append(rf"  {left} &= {right} && \text{{{rule}}} \\")
        return "\n".join([r"\begin{align*}", *lines, r"\end{align*}"])


def columns(text: str) -> int:
    """How wide a text stands in a terminal: a combining macron takes no column of its own."""
    return sum(not unicodedata.combining(c) for c in text)


def _origin(graph: Graph, step: Step) -> str:
    if step.rule == "seed":
        return "seed"
    if step.operand is None:
        return "sum over consumers"
    names = {i: graph.label(i) for i in step.forward.inputs if graph.nodes[i].operator.kind != "leaf"}
    return f"{step.rule}: {graph.label(step.forward.id)} = {formula(graph, step.forward.id, names)}"


def derive(scalar: Tensor, wrt: Sequence[Tensor] | None = None) -> Derivation:
    """Differentiate a scalar, in its own graph, by every parameter or by the tensors in `wrt`.

    The result maps each tensor to its gradient, a Tensor of the same graph and of that tensor's shape, which can be
    derived again. Raises DerivativeError if `scalar` has a shape, is no float, or if an operator on the way has no
    derivative; warns of a tensor that it does not depend on (its gradient is zero).

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> w = g.parameter("w")
    >>> d = gg.derive(gg.tanh(w))
    >>> print(d)
    1  v̄1 = 1                   seed
    2  w̄ = v̄1 * (1 - v1 * v1)   tanh: v1 = tanh(w)
    """
    if not isinstance(scalar, Tensor):
        raise DerivativeError(f"derive wants a Tensor, but {type(scalar).__name__} was given")
    graph = scalar.graph
    targets = tuple(graph.leaves("parameter") if wrt is None else wrt)
    _check(scalar, targets)
    with paused_gc():
        derivation = Derivation(scalar, targets)
        seed = graph.insert(OPERATORS["cast"], (graph.constant(1.0).id,), {"dtype": scalar.dtype})
        received = _sweep(derivation, scalar, seed, {t.id for t in targets})
        for t in targets:
            if t.id not in received:
                warnings.warn(f"{scalar.name} does not depend on {t.name}: its gradient is zero", UnusedParameterWarning, stacklevel=2)
                received[t.id] = zeros(graph, t.shape, t.dtype)
            derivation.gradients[t] = received[t.id]
    return derivation


def _check(scalar: Tensor, targets: tuple[Tensor, ...]) -> None:
    line = scalar.graph._line()
    if scalar.shape:
        raise DerivativeError(
            f"derive wants a scalar, but {scalar.name} has shape {show(scalar.shape)}; gg.sum or gg.mean makes it one"
        ).at(line)
    if scalar.dtype not in FLOATS:
        raise DerivativeError(f"derive wants a float, but {scalar.name} is {scalar.dtype}").at(line)
    for t in targets:
        if not isinstance(t, Tensor) or t.graph is not scalar.graph:
            raise DerivativeError(f"wrt holds tensors of the graph of {scalar.name}; {t!r} is none").at(line)
        if t.dtype not in FLOATS:
            raise DerivativeError(f"a derivative by {t.name} does not exist: its dtype is {t.dtype}").at(line)


def depends(graph: Graph, ids: Sequence[int], sources: set[int]) -> set[int]:
    """Those of `ids` (in topological order) whose value changes with a source's, along operands that have a rule.

    Integers and bools are constant between their jumps, so nothing passes them; only an operator that has no derivative
    at all counts, so that the walk meets it and says so.
    """
    active = set(sources)
    for id in ids:
        node = graph.nodes[id]
        if id in active or (node.dtype not in FLOATS and node.operator.differentiable and not inherits(graph, node, active)):
            continue
        if any([i in active and passes(node, k) for k, i in enumerate(node.inputs)]):
            active.add(id)
    return active


def inherits(graph: Graph, node: Node, active: set[int]) -> bool:
    """Whether an integer is computed from one that an operator without derivative made."""
    return any(i in active and graph.nodes[i].dtype not in FLOATS for i in node.inputs)


def passes(node: Node, position: int) -> bool:
    """False where the operator says that it is constant in this operand: an index, a condition, a comparison."""
    rules = node.operator.pullback
    return not (isinstance(rules, tuple) and rules[position] is None)


def _sweep(derivation: Derivation, output: Tensor, seed: Tensor, sources: set[int]) -> dict[int, Tensor]:
    """Walk from the output to the sources and give the adjoint of each source that is reached."""
    graph = output.graph
    ids = graph.ancestors([output.id])
    active = depends(graph, ids, sources)
    if output.id not in active:
        return {}
    received: dict[int, list[Tensor]] = {output.id: [seed]}
    record(derivation, "seed", graph.nodes[output.id], None, output.id, seed, range(seed.id, seed.id))
    for id in reversed(ids):
        if id not in received:
            continue
        node = graph.nodes[id]
        with graph.asked_by(graph.lines.get(id, ())):
            adjoint = total(derivation, node, received[id])
            derivation.adjoints[id] = adjoint
            if not node.inputs or (id in sources and not any(i in active for i in node.inputs)):
                continue
            for position, target in enumerate(node.inputs):
                if target not in active or not passes(node, position):
                    continue
                start = len(graph.nodes)
                contribution = contribute(node, position, adjoint)
                received.setdefault(target, []).append(contribution)
                derivation.consumers[target] = len(received[target])
                new = range(start, len(graph.nodes))
                record(derivation, node.operator.name, node, position, target, contribution, new)
    return {id: derivation.adjoints[id] for id in sources if id in derivation.adjoints}


def total(derivation: Derivation, node: Node, parts: list[Tensor]) -> Tensor:
    """The sum of what the consumers contributed: a step of its own where there are several."""
    if len(parts) == 1:
        return parts[0]
    result, start = parts[0], len(parts[0].graph.nodes)
    for part in parts[1:]:
        result = result + part
    new = range(start, len(result.graph.nodes))
    record(derivation, "sum", node, None, node.id, result, new, tuple(p.id for p in parts))
    return result


def record(
    derivation: Derivation,
    rule: str,
    forward: Node,
    operand: int | None,
    target: int,
    contribution: Tensor,
    new: range,
    parts: tuple[int, ...] = (),
) -> None:
    step = Step(len(derivation.steps) + 1, rule, forward, operand, target, contribution, new, parts, derivation)
    derivation.steps.append(step)
    contribution.graph.records.setdefault(contribution.id, step)


def contribute(node: Node, position: int, adjoint: Tensor) -> Tensor:
    """What one operand's adjoint receives: the operator's rule, then the operand's own shape and dtype.

    The sum over broadcast axes and the cast stand here and not in the rules: no rule needs to know what an operand
    was broadcast to.
    """
    graph = adjoint.graph
    operand = graph.tensor(node.inputs[position])
    rule = node.operator.rule(position)
    attributes = dict(node.attributes)
    inputs = [graph.tensor(i) for i in node.inputs]
    if rule is not None:
        result = rule(adjoint, *inputs, graph.tensor(node.id), **attributes)
    elif node.operator.definition is not None:
        result = through_definition(node, position, adjoint)
    else:
        result = None
    if result is None:
        raise DerivativeError(
            f"{node.operator.name} has no derivative, but the derived scalar depends on {operand.name} through "
            f"{graph.where(node.id)}"
        )
    if not isinstance(result, Tensor):
        result = graph.constant(result)
    if result.dtype != operand.dtype or (result.node.weak and not operand.node.weak):
        result = OPERATORS["cast"](result, dtype=operand.dtype)
    if result.shape != operand.shape:
        rank = len(operand.shape)
        wider = len(result.shape) > rank or any(a != b and b == 1 for a, b in zip(result.shape[::-1], operand.shape[::-1], strict=False))
        result = OPERATORS["sum_to" if wider else "broadcast_to"](result, shape=operand.shape)
    return result


def through_definition(node: Node, position: int, adjoint: Tensor) -> Tensor:
    """The rule of a composite that states none of its own: the chain rule through its definition."""
    graph = adjoint.graph
    inputs = [graph.tensor(i) for i in node.inputs]
    if node.operator.definition is None:
        raise GraphgradError(f"{node.operator.name} has no definition")
    defined = node.operator.definition(*inputs, **dict(node.attributes))
    inner = Derivation(defined, ())
    stop = set(node.inputs)
    ids = [i for i in _between(graph, defined.id, stop) if i not in stop]
    source = node.inputs[position]
    active = depends(graph, ids, {source})
    received: dict[int, list[Tensor]] = {defined.id: [adjoint]}
    for id in reversed(ids):
        if id in received:
            consumer = graph.nodes[id]
            total_adjoint = total(inner, consumer, received[id])
            for k, target in enumerate(consumer.inputs):
                if target in active and passes(consumer, k):
                    received.setdefault(target, []).append(contribute(consumer, k, total_adjoint))
    if source not in received:
        return zeros(graph, graph.nodes[source].shape, graph.nodes[source].dtype)
    return total(inner, graph.nodes[source], received[source])


def _between(graph: Graph, id: int, stop: set[int]) -> list[int]:
    """The ids that a definition computes, back to the composite's operands."""
    needed, stack = {id}, [id]
    while stack:
        top = stack.pop()
        if top not in stop:
            new = [i for i in graph.nodes[top].inputs if i not in needed]
            needed.update(new)
            stack += new
    return sorted(needed)


def zeros(graph: Graph, shape: Shape, dtype: str) -> Tensor:
    """Zeros of a shape that may hold named sizes."""
    zero = OPERATORS["cast"](graph.constant(0.0), dtype=dtype)
    return OPERATORS["broadcast_to"](zero, shape=shape) if shape else zero
