"""A derivation as Graphviz's DOT: the forward nodes in a row, under each of them the steps that make its adjoint."""

from __future__ import annotations

import graphviz

from graphgrad.derivation import Derivation, Step
from graphgrad.errors import GraphgradError
from graphgrad.graph import Node
from graphgrad.notation import formula
from graphgrad.types import show

#: How a box looks. Every colour has a second cue: its outline.
STYLES = {
    "input": {"style": "rounded,filled", "fillcolor": "#E8F1FA", "color": "#0072B2"},
    "parameter": {"style": "rounded,filled", "fillcolor": "#FDF1DC", "color": "#B57500", "penwidth": "2"},
    "state": {"style": "filled", "fillcolor": "#EEEEEE", "color": "#666666", "peripheries": "2"},
    "operation": {"style": "filled", "fillcolor": "#F5F5F5", "color": "#444444"},
    "loss": {"style": "filled", "fillcolor": "#F3E6F0", "color": "#A0437A", "penwidth": "2"},
    "adjoint": {"style": "rounded,dashed,filled", "fillcolor": "#FCEBE2", "color": "#D55E00"},
    "gradient": {"style": "rounded,dashed,filled", "fillcolor": "#F8D3BF", "color": "#D55E00", "penwidth": "2"},
}


def derivation_dot(derivation: Derivation) -> graphviz.Digraph:
    """The picture of a derivation: `.source` is its DOT text."""
    graph, scalar = derivation.graph, derivation.scalar.id
    forward = [n for i in graph.ancestors([scalar]) if _drawn(n := graph.nodes[i])]
    drawn = {n.id for n in forward}
    dot = graphviz.Digraph(
        "derivation",
        graph_attr={"rankdir": "LR", "ranksep": "0.35", "nodesep": "0.25", "fontname": "Helvetica"},
        node_attr={"shape": "box", "fontname": "Helvetica", "fontsize": "11", "margin": "0.12,0.07"},
        edge_attr={"color": "#444444", "arrowsize": "0.7"},
    )
    for node in forward:
        kind = "loss" if node.id == scalar else node.operator.name if node.operator.kind == "leaf" else "operation"
        dot.node(f"n{node.id}", _escaped(_node_text(derivation, node)), **STYLES[kind])
        for source in node.inputs:
            if source in drawn:
                dot.edge(f"n{source}", f"n{node.id}")
    gradients = {t.id for t in derivation.gradients}
    last = {step.target: step for step in derivation.steps}  # whose contribution is the whole adjoint
    for step in derivation.steps:
        whole = last[step.target] is step and step.target in gradients
        dot.node(f"s{step.number}", _escaped(_step_text(step)), **STYLES["gradient" if whole else "adjoint"])
    for step in derivation.steps:
        if step.rule == "sum":
            parts = [s for s in derivation.steps if s.target == step.target and s.operand is not None]
            for part in parts:
                dot.edge(f"s{part.number}", f"s{step.number}", color="#D55E00")
        elif step.operand is not None:
            # Written the other way round, so that each adjoint stays in its variable's column.
            before = last[step.forward.id]
            dot.edge(f"s{step.number}", f"s{before.number}", dir="back", color="#D55E00")
        for used in sorted({i for new in step.new for i in graph.nodes[new].inputs if i in drawn}):
            dot.edge(f"n{used}", f"s{step.number}", style="dashed", color="#999999", constraint="false")
    for node in forward:
        steps = [s for s in derivation.steps if s.target == node.id]
        if steps:
            with dot.subgraph(graph_attr={"rank": "same"}) as column:
                column.node(f"n{node.id}")
                for step in steps:
                    column.node(f"s{step.number}")
    return dot


def svg(dot: graphviz.Digraph) -> str | None:
    """The picture as SVG; None where Graphviz's program `dot` is not installed."""
    try:
        return dot.pipe(format="svg", encoding="utf-8", quiet=True)  # type: ignore[no-any-return]
    except graphviz.ExecutableNotFound:
        return None
    except graphviz.CalledProcessError as error:
        raise GraphgradError(f"Graphviz's dot failed: {error}") from None


def _drawn(node: Node) -> bool:
    """Constants and sizes stand in the formulas."""
    return node.operator.name != "constant" and node.operator.kind != "size"


def _node_text(derivation: Derivation, node: Node) -> str:
    graph = derivation.graph
    if node.operator.kind == "leaf":
        return f"{graph.label(node.id)}\n{node.operator.name} {show(node.shape)}"
    names = {i: graph.label(i) for i in node.inputs if graph.nodes[i].operator.kind != "leaf"}
    return f"{graph.label(node.id)} = {formula(graph, node.id, names)}\n{node.operator.name} {show(node.shape)}"


def _step_text(step: Step) -> str:
    if step.rule == "seed":
        return f"{step.number}. {step}\nseed"
    if step.rule == "sum":
        return f"{step.number}. {step}\nsum over consumers"
    graph = step.contribution.graph
    return f"{step.number}. {step}\nrule of {step.rule}, from {graph.label(step.forward.id)}"


def _escaped(text: str) -> str:
    r"""Text as a label: a backslash is a backslash, and lines are as they are."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")
