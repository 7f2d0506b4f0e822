"""Simplification: a table of rewrites, graph to graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from graphgrad.graph import Graph, Node, Tensor
from graphgrad.rewrite import copy_node, rebuild

#: From a node and its inputs in the new graph to what stands there instead; None where the rewrite does not apply.
Rewriting: TypeAlias = "Callable[[Node, tuple[Tensor, ...]], Tensor | None]"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One line of the table."""

    name: str
    operator: str  # the operator of the node that it looks at
    rewrite: Rewriting
    exact: bool = True  # False: it moves rounding, and exact=True leaves it out
    nan: str = ""  # where it changes which inputs give NaN or inf: which, and why that is wanted


RULES: list[Rewrite] = [
    Rewrite("x * 1", "multiply", lambda n, i: i[0] if i[1].value == 1 and i[0].dtype == n.dtype and i[0].shape == n.shape else None),
    Rewrite("1 * x", "multiply", lambda n, i: i[1] if i[0].value == 1 and i[1].dtype == n.dtype and i[1].shape == n.shape else None),
]


def simplify(
    outputs: Sequence[Tensor],
    *,
    keep: Sequence[Tensor] = (),
    exact: bool = False,
    counts: Counter[str] | None = None,
    rules: Sequence[Rewrite] | None = None,
) -> tuple[Graph, dict[int, Tensor]]:
    """A simpler graph of the same values, and where each old node went. `counts` is told how often each rewrite applied."""
    table: dict[str, list[Rewrite]] = {}
    for rule in RULES if rules is None else rules:
        if rule.exact or not exact:
            table.setdefault(rule.operator, []).append(rule)

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        if node.operator.name not in table:
            return None
        result = copy_node(node, inputs, new)
        while True:
            here = result.node
            operands = tuple(new.tensor(i) for i in here.inputs)
            for rule in table.get(here.operator.name, ()):
                found = rule.rewrite(here, operands)
                if found is not None and found is not result:
                    if counts is not None:
                        counts[rule.name] += 1
                    result = found
                    break
            else:
                return result

    graph, moved = rebuild(outputs, visit, keep)
    return graph, moved
