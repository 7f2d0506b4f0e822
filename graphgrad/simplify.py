"""Simplification, graph to graph: the rules of a table are applied to each node until none applies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.operator import Operator
from graphgrad.rewrite import copy_node, rebuild, types
from graphgrad.rules import RULES, Rewrite
from graphgrad.tensor import Tensor


class Simpler:
    """Applies the rules to nodes as soon as they stand in a graph: what `rebuild` is to make of all that is new.

    A pass that makes nodes and one of these go through the graph once. `counts` is told how often each rule applied,
    `exact` leaves out what moves rounding. With `spelled`, composites for which it says no are written out by their
    definitions, and no rule makes one again. `again` says that the old graph is such a one's work: then no rule applies
    to what is as it was, with all that it is computed from.
    """

    def __init__(
        self,
        *,
        exact: bool = False,
        again: bool = False,
        spelled: Callable[[Node], bool] | None = None,
        counts: Counter[str] | None = None,
        rules: Sequence[Rewrite] | None = None,
    ) -> None:
        self._spelled = spelled
        self._counts = counts
        self._table: dict[str, list[Rewrite]] = {}
        for rule in RULES if rules is None else rules:
            if rule.exact or not exact:
                self._table.setdefault(rule.operator, []).append(rule)
        self._rules: dict[tuple[Operator, ...], list[Rewrite]] = {}  # of an operator, and its operands'
        self._settled: dict[int, int] = {}  # nodes of the graph, and what they are at last
        self._again = again
        self._as_before: set[int] = set()  # old nodes that are as they were, with all that they are computed from

    def __call__(self, tensor: Tensor, of: Node | None = None) -> Tensor:
        """What a node of the graph, maybe a copy of an old one, is at last, with all that it is computed from."""
        if self._again and of is not None and self._as_before.issuperset(of.inputs) and not self._written_out(of):
            self._as_before.add(of.id)
            self._settled[tensor.id] = tensor.id
            return tensor
        id = self._settle(tensor.graph, tensor.id)
        return tensor if id == tensor.id else tensor.graph.tensor(id)

    def settled(self, graph: Graph, end: int) -> int:
        """How many of the first nodes stay as they are, of so many at most, in a graph that is such a one's work."""
        if not self._again:
            return 0
        return next((node.id for node in graph.nodes[:end] if self._written_out(node)), end)

    def _settle(self, graph: Graph, id: int) -> int:
        settled, stack = self._settled, [id]
        became: dict[int, int] = {}  # of nodes further down in the stack
        while stack:
            here = stack[-1]
            if here in became:
                settled[here] = settled[became[here]]
            if here in settled:
                stack.pop()
                continue
            node = graph.nodes[here]
            inputs = tuple([settled.get(i, -1) for i in node.inputs])
            if inputs == node.inputs:
                found = self._once(node, graph)
            elif -1 in inputs:
                stack += [i for i in reversed(node.inputs) if i not in settled]
                continue
            else:  # a definition may be less weak than what it defines
                found = copy_node(node, graph.tensors(inputs), graph)
            if found is None or found.id in became:  # which would be a cycle in the table, a mistake: it ends here
                settled[here] = here
                stack.pop()
            else:
                became[here] = found.id
                stack.append(found.id)
        return settled[id]

    def _once(self, node: Node, graph: Graph) -> Tensor | None:
        """What its definition, or the first rule that applies, makes of a node."""
        operator, nodes = node.operator, graph.nodes
        key = (operator, *[nodes[i].operator for i in node.inputs])
        rules = self._rules.get(key)
        if rules is None:
            rules = self._rules[key] = self._applicable(key)
        written_out = self._spelled is not None and self._written_out(node)
        if not rules and not written_out:
            return None
        operands = graph.tensors(node.inputs)
        if written_out:
            return operator.definition(*operands, **dict(node.attributes))  # type: ignore[misc, no-any-return]
        for rule in rules:
            found = rule.rewrite(node, operands)
            if found is None or found.id == node.id:
                continue
            if self._spelled is not None and found.node.operator.definition is not None:
                continue
            if types(found.node) != types(node):
                raise AssertionError(f"{rule.name} changed the shape or dtype of {operator.name}")
            if self._counts is not None:
                self._counts[rule.name] += 1
            return found
        return None

    def _applicable(self, key: tuple[Operator, ...]) -> list[Rewrite]:
        """The rules that may apply to an operator on such operands."""
        operator, *operands = key
        there = {o.name for o in operands}
        rules = [*self._table.get(operator.name, ()), *self._table.get(operator.kind, ())]
        return [rule for rule in rules if not rule.reads or not there.isdisjoint(rule.reads)]

    def _written_out(self, node: Node) -> bool:
        return self._spelled is not None and node.operator.definition is not None and not self._spelled(node)


def simplify(
    outputs: Sequence[Tensor], *, keep: Sequence[Tensor] = (), then: Simpler | None = None
) -> tuple[Graph, dict[int, Tensor]]:
    """A simpler graph of the same values, and where each old node went. `then` has the rules; by default, all.

    `keep` are leaves that come along although nothing may need them.
    """
    then = then or Simpler()
    graph = (outputs or keep)[0].graph if outputs or keep else Graph()
    return rebuild(outputs, None, keep, then, start=then.settled(graph, len(graph.nodes)))
