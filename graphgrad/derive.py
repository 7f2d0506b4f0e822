"""Reverse-mode differentiation: the derivative of a graph, as more graph.

    x̄ = Σ over the consumers y of x:  (pullback of y's operator for that operand)(ȳ)

The walk (`sweep`) knows no operator by name, and no operator knows how the walk goes. `contribute` applies one rule;
what was done is told in derivation.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TypeAlias

from graphgrad.collector import paused_gc
from graphgrad.derivation import Derivation
from graphgrad.errors import DerivativeError
from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.operator import OPERATORS
from graphgrad.rewrite import Aside
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS, Shape, show


class UnusedParameterWarning(UserWarning):
    """The derived scalar does not depend on a tensor that it is derived by."""


def derive(scalar: Tensor, wrt: Tensor | Sequence[Tensor] | None = None) -> Derivation:
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
    targets = tuple(graph.leaves("parameter") if wrt is None else (wrt,) if isinstance(wrt, Tensor) else wrt)
    _check(scalar, targets)
    derivation = Derivation(scalar, contribute)
    with paused_gc():
        _derive(derivation, scalar, {t.id for t in targets})
        for t in targets:
            found = derivation.adjoints.get(t.id)
            if found is None:
                unused = f"{scalar.name} does not depend on {t.name}: its gradient is zero"
                warnings.warn(unused, UnusedParameterWarning, stacklevel=2)
                found = zeros(graph, t.shape, t.dtype)
            derivation.gradients[t] = found
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


#: From a node and what its consumers contributed to its adjoint, which is their sum.
Total: TypeAlias = Callable[[Node, list[Tensor]], Tensor]
#: From a node, the position of an operand and the node's adjoint to what the operand's adjoint receives.
Share: TypeAlias = Callable[[Node, int, Tensor], Tensor]


def _derive(derivation: Derivation, scalar: Tensor, sources: set[int]) -> None:
    """Seed the scalar's adjoint with 1, walk to the sources, and put every step on record."""
    graph = scalar.graph
    ids = graph.ancestors([scalar.id])
    active = depends(graph, ids, sources)
    if scalar.id not in active:
        return
    start = len(graph.nodes)  # what a step builds begins at this id
    seed = OPERATORS["cast"](graph.constant(1.0), dtype=scalar.dtype)  # folds to a constant of the scalar's own dtype
    derivation.record("seed", scalar.node, None, scalar.id, seed, start)

    def total(node: Node, parts: list[Tensor]) -> Tensor:
        start = len(graph.nodes)
        adjoint = derivation.adjoints[node.id] = add_up(parts)
        if len(parts) > 1:
            derivation.record("sum", node, None, node.id, adjoint, start)
        return adjoint

    def share(node: Node, position: int, adjoint: Tensor) -> Tensor:
        start = len(graph.nodes)
        contribution = contribute(node, position, adjoint)
        derivation.record(node.operator.name, node, position, node.inputs[position], contribution, start)
        return contribution

    sweep(graph, ids, active, {scalar.id: [seed]}, total, share)


def sweep(
    graph: Graph, ids: Sequence[int], active: set[int], received: dict[int, list[Tensor]], total: Total, share: Share
) -> None:
    """The backward walk: from the last of `ids` to the first, each adjoint is complete when its node is reached,
    since a node's consumers have higher ids. `received` holds the contributions, and is filled."""
    with graph.asked_by(()):
        for id in reversed(ids):
            if id not in received:
                continue
            node = graph.nodes[id]
            graph.asks(graph.lines.get(id, ()))
            adjoint = total(node, received[id])
            for position, operand in enumerate(node.inputs):
                if operand in active and passes(node, position):
                    received.setdefault(operand, []).append(share(node, position, adjoint))


def add_up(parts: Sequence[Tensor]) -> Tensor:
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result


def depends(graph: Graph, ids: Sequence[int], sources: set[int]) -> set[int]:
    """Those of `ids` (in topological order) whose value changes with a source's, along operands that have a rule.

    Integers and bools are constant between their jumps, so nothing passes a cast to them. An operator that has no
    derivative at all, such as argmax, does count, with what is computed from it: the walk meets it and says so.
    """
    active = set(sources)
    for id in ids:
        node = graph.nodes[id]
        if id not in active and any([i in active and passes(node, k) for k, i in enumerate(node.inputs)]):
            jumps = node.dtype not in FLOATS and node.operator.differentiable
            if not jumps or any(i in active and graph.nodes[i].dtype not in FLOATS for i in node.inputs):
                active.add(id)
    return active


def passes(node: Node, position: int) -> bool:
    """False where the operator says that it is constant in this operand: an index, a condition, a comparison."""
    rules = node.operator.pullback
    return not (isinstance(rules, tuple) and rules[position] is None)


def contribute(node: Node, position: int, adjoint: Tensor) -> Tensor:
    """What one operand's adjoint receives: the operator's rule, then the operand's own shape and dtype.

    The sum over broadcast axes and the cast stand here and not in the rules: no rule needs to know what an operand
    was broadcast to.
    """
    graph = adjoint.graph
    operand = graph.nodes[node.inputs[position]]
    rule = node.operator.rule(position)
    if rule is not None:
        inputs = graph.tensors(node.inputs)
        result = rule(adjoint, *inputs, graph.tensor(node.id), **dict(node.attributes))
    elif node.operator.definition is not None:
        result = through_definition(node, position, adjoint)
    else:
        raise DerivativeError(
            f"{node.operator.name} has no derivative, but the derived scalar depends on {graph.label(operand.id)} "
            f"through {graph.where(node.id)}"
        ).at(graph._line())
    if not isinstance(result, Tensor):
        result = graph.constant(result)
    made = result.node
    if made.dtype != operand.dtype or (made.weak and not operand.weak):
        result = OPERATORS["cast"](result, dtype=operand.dtype)
    if made.shape != operand.shape:
        rank = len(operand.shape)
        ends = zip(reversed(made.shape), reversed(operand.shape), strict=False)
        # A rule's result is wider where the operand was broadcast, and narrower where it is a number such as 0.0.
        wider = len(made.shape) > rank or any(a != b and b == 1 for a, b in ends)
        result = OPERATORS["sum_to" if wider else "broadcast_to"](result, shape=operand.shape)
    return result


def through_definition(node: Node, position: int, adjoint: Tensor) -> Tensor:
    """The rule of a composite that states none of its own: the chain rule through its definition.

    The definition is built aside, on a leaf for each operand: f(x, x) has two places, and each gets its own share.
    """
    assert node.operator.definition is not None
    graph, aside = adjoint.graph, Aside()
    leaves = [aside.stand_in(graph.tensor(i)) for i in node.inputs]
    defined = node.operator.definition(*leaves, **dict(node.attributes))
    source = leaves[position]
    ids = aside.graph.ancestors([defined.id])
    received = {defined.id: [aside.stand_in(adjoint)]}
    sweep(
        aside.graph, ids, depends(aside.graph, ids, {source.id}), received, lambda _, parts: add_up(parts), contribute
    )
    if source.id not in received:
        return graph.constant(0.0)
    return aside.back(add_up(received[source.id]), graph)


def zeros(graph: Graph, shape: Shape, dtype: str) -> Tensor:
    """Zeros of a shape that may hold named sizes."""
    zero = OPERATORS["cast"](graph.constant(0.0), dtype=dtype)
    return OPERATORS["broadcast_to"](zero, shape=shape) if shape else zero
