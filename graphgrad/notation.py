"""Formulas as text and LaTeX, from the operators' own templates and the graph's names."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphgrad.graph import Graph, Node
from graphgrad.types import Dim, show

LONG = 60  # nodes; a longer formula is cut to names


@dataclass(frozen=True, slots=True)
class Piece:
    """A formula and how strongly it binds; formats itself into a template with parentheses where they are needed."""

    text: str
    binding: int
    around: int = 0
    latex: bool = False

    def __format__(self, spec: str) -> str:
        loose = self.binding < self.around or (spec == ">" and self.binding == self.around)
        if spec == "0" or not loose:
            return self.text
        return rf"\left({self.text}\right)" if self.latex else f"({self.text})"


class _Pieces(string.Formatter):
    def get_value(self, key: int | str, args: Any, kwargs: Mapping[str, Any]) -> Any:
        return kwargs[str(key)]


FORMATTER = _Pieces()


def formula(graph: Graph, id: int, names: Mapping[int, str], *, latex: bool = False, own: bool = True) -> str:
    """A node's formula in terms of the nodes that `names` gives a name; with `own`, at least its own operator is shown."""
    done: dict[int, Piece] = {}
    stack, seen = [id], 0
    while stack:
        node = graph.nodes[stack[-1]]
        if node.id in done:
            stack.pop()
            continue
        root = own and node.id == id
        if (node.id in names and not root) or node.operator.kind in ("leaf", "size"):
            done[stack.pop()] = Piece(names.get(node.id) or leaf_text(graph, node, latex=latex), _leaf_binding(node))
            continue
        open_inputs = [i for i in node.inputs if i not in done]
        if open_inputs and seen < LONG:
            seen += len(open_inputs)
            stack += open_inputs
            continue
        operands = [done.get(i) or Piece(graph.label(i), 100) for i in node.inputs]
        done[stack.pop()] = Piece(written(node, operands, latex=latex), node.operator.binding)
    return done[id].text


def leaf_text(graph: Graph, node: Node, *, latex: bool) -> str:
    """A leaf, a constant or a size as notation writes it."""
    if node.operator.kind == "size":
        return str(node["dim"]).replace("*", r"\cdot " if latex else "*")
    if node.operator.name == "constant":
        array = node["value"].array
        if array.ndim == 0:
            value = array.item()
            return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else repr(value)
        return f"[{show(array.shape)}]"
    return latex_name(graph.label(node.id)) if latex else graph.label(node.id)


def _leaf_binding(node: Node) -> int:
    """-2 and N + 1 want parentheses; names do not."""
    if node.operator.name == "constant" and not node.shape and node["value"].array.item() < 0:
        return 15
    return 10 if node.operator.kind == "size" and isinstance(node["dim"], Dim) and len(node["dim"].terms) > 1 else 100


def written(node: Node, operands: list[Piece], *, latex: bool) -> str:
    """An operator's template with its operands and attributes in it."""
    op = node.operator
    pieces = [Piece(p.text, p.binding, op.binding, latex) for p in operands]
    if op.variadic:
        inner = ", ".join(p.text for p in pieces)
        return rf"\operatorname{{{op.name}}}({inner})" if latex else f"{op.name}({inner})"
    values: dict[str, Any] = dict(zip(op.operands, pieces, strict=True))
    values |= {k: Piece(_attribute(v), 100) for k, v in node.attributes}
    return FORMATTER.format(op.latex if latex else op.text, **values)


def _attribute(value: Any) -> str:
    if isinstance(value, tuple):
        return show(value) if len(value) != 1 else str(value[0])
    return f"{value:g}" if isinstance(value, float) else str(value)


GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
).split()


def latex_name(name: str) -> str:
    r"""A name as LaTeX writes it: W1 as W_{1}, beta1 as \beta_{1}, W_2_3 as W_{2,3}, accuracy upright."""
    head = name.rstrip("0123456789")
    digits = name[len(head) :]
    base, *rest = head.rstrip("_").split("_")
    while rest and not rest[-1]:
        rest.pop()
    indices = [*rest, *([digits] if digits else [])]
    if base in GREEK:
        base = "\\" + base
    elif len(base) != 1 or not base.isalpha():
        escaped = "".join({"\\": r"\backslash ", "^": r"\hat{}", "~": r"\sim "}.get(c, "\\" + c if c in "#$%&_{}" else c) for c in base)
        base = rf"\mathrm{{{escaped}}}"
    subscript = ",".join(i if i.isalnum() else rf"\mathrm{{{i}}}" for i in indices)
    return f"{base}_{{{subscript}}}" if subscript else base


def bar(name: str, *, latex: bool = False) -> str:
    """The adjoint of a name: x̄. In text, the combining macron stands on the first letter."""
    if not latex:
        return f"{name[:1]}\u0304{name[1:]}"
    head, mark, rest = name.partition("_")
    return rf"\bar{{{head}}}{mark}{rest}"
