"""Formulas as text and LaTeX, from the operators' own templates and the graph's names."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Container, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.operator import OPERATORS, Operator
from graphgrad.types import Dim, Dimension, Shape, show

LONG = 60  # nodes; a longer formula is cut to names
SHORT = 4  # numbers; a longer constant is cut to its shape


class Piece(NamedTuple):
    """A formula, and how strongly it binds."""

    text: str
    binding: int = 100
    operator: str = ""
    raised: bool = False  # LaTeX that ends in a superscript, which cannot take another


#: Neighbours that need no parentheses among themselves, save where a template asks for them (right of a minus).
JOINED = ({"add", "subtract"}, {"multiply", "divide"})


@lru_cache(maxsize=4096)
def template_parts(template: str) -> tuple[tuple[str, str | None, str], ...]:
    """A template as (literal text, field or None, how the field is parenthesised)."""
    return tuple((literal, name, spec or "") for literal, name, spec, _ in string.Formatter().parse(template))


def fill(template: str, pieces: Mapping[str, Piece], around: int, operator: str = "", *, latex: bool = False) -> str:
    """A template of `operator` with formulas in it: `{x}` in parentheses where x binds weaker than `around`, or as
    strongly but by an operator that does not join; `{x:>}` always where it binds as strongly; `{x:0}` never;
    `{x:100}` unless it is an atom."""
    result = []
    parts = template_parts(template)
    for (literal, name, spec), (following, _, _) in zip(parts, (*parts[1:], ("", None, "")), strict=True):
        result.append(literal)
        if name is not None:
            text, binding, inner, raised = pieces[name]
            level = int(spec) if spec.isdigit() else around
            joined = around >= 100 or inner == operator or any({inner, operator} <= pair for pair in JOINED)
            equal = binding == level and not spec.isdigit() and (spec == ">" or not joined)
            if binding < level or equal or (raised and following.startswith("^")):
                text = rf"\left({text}\right)" if latex else f"({text})"
            result.append(text)
    return "".join(result)


@lru_cache(maxsize=4096)
def _called(template: str) -> bool:
    """sum({x:0}, {axis}): what is written as a call is an atom to its neighbours."""
    return re.fullmatch(r"\w+\([^()]*\)", template) is not None


def piece(op: Operator, text: str, *, latex: bool) -> Piece:
    """An operator's filled template, as an operand of others."""
    if not latex:
        return Piece(text, 100 if _called(op.text) else op.binding, op.name)
    return Piece(text, op.binding, op.name, re.search(r"\^(\\\w+|\w|\{\{.*\}\})$", op.latex) is not None)


def fill_plain(template: str, values: Mapping[str, str]) -> str:
    """A template with text in it as it stands."""
    return "".join(
        [literal if name is None else literal + values[name] for literal, name, _ in template_parts(template)]
    )


def formula(graph: Graph, id: int, names: Mapping[int, str | Piece], *, latex: bool = False, own: bool = True) -> str:
    """A node's formula in terms of the nodes that `names` gives a name; `own` shows at least its own operator.

    A transposed product without a name is written as the product that it is: (xᵀ u)ᵀ reads uᵀ x. That an operand is
    repeated to the shape of another is not written: broadcasting is understood.
    """
    done: dict[tuple[int, bool], Piece] = {}  # by id, and whether it is wanted transposed
    stack, seen = [(id, False)], 0
    while stack:
        key = stack[-1]
        if key in done:
            stack.pop()
            continue
        node, turned = graph.nodes[key[0]], key[1]
        root = own and node.id == id and not turned
        if (node.id in names and not root) or node.operator.kind in ("leaf", "size"):
            name = names.get(node.id)
            made = _named(name) if name else Piece(leaf_text(graph, node, latex=latex), _leaf_binding(node))
            done[stack.pop()] = _transposed(made, latex=latex) if turned else made
            continue
        flips = is_matrix_transpose(node)
        product = turned and node.operator.name == "matmul" and all(len(graph.nodes[i].shape) == 2 for i in node.inputs)
        inner = flips or product
        read = _operands(graph, node, names)
        wanted = [(i, turned != flips if inner else False) for i in read]
        if product:
            wanted.reverse()
        missing = [w for w in wanted if w not in done]
        if missing and seen < LONG:
            seen += len(missing)
            stack += missing
            continue
        operands = [done.get(w) or _cut(graph, *w, latex=latex) for w in wanted]
        if flips:
            of = _named(names.get(read[0], "")) if root else Piece("")
            if _names_transpose(of, latex=latex):  # W = (Wᵀ)ᵀ, where W = W would say nothing
                operands[0] = _transposed(of._replace(binding=0, operator="transpose"), latex=latex)
            done[stack.pop()] = operands[0]
            continue
        made = piece(node.operator, written(graph, node, read, operands, latex=latex), latex=latex)
        done[stack.pop()] = _transposed(made, latex=latex) if turned and not product else made
    return done[id, False].text


def repeated(graph: Graph, id: int, names: Container[int] = ()) -> int:
    """What a value without a name repeats by broadcasting, down to a number without its unit axes; else itself."""
    while id not in names and graph.nodes[id].operator.name == "broadcast_to":
        id = graph.nodes[id].inputs[0]
        node = graph.nodes[id]
        if id not in names and node.operator.name == "reshape" and not graph.nodes[node.inputs[0]].shape:
            id = node.inputs[0]
    return id


def _operands(graph: Graph, node: Node, names: Container[int]) -> tuple[int, ...]:
    """What an operator's formula is written with: what is repeated stands as it is, where another gives the shape."""
    if node.operator.kind != "elementwise":
        return node.inputs
    read = tuple([repeated(graph, i, names) for i in node.inputs])
    shaped = any(a == b and graph.nodes[a].shape == node.shape for a, b in zip(read, node.inputs, strict=True))
    return read if shaped else node.inputs


def _named(name: str | Piece) -> Piece:
    return name if isinstance(name, Piece) else Piece(name)


def is_matrix_transpose(node: Node) -> bool:
    return node.operator.name == "transpose" and node["axes"] == (1, 0)


def _cut(graph: Graph, id: int, turned: bool, *, latex: bool) -> Piece:
    """A node by its name alone, where a formula grew too long."""
    made = Piece(latex_name(graph.label(id)) if latex else graph.label(id))
    return _transposed(made, latex=latex) if turned else made


def _names_transpose(x: Piece, *, latex: bool) -> bool:
    if x.operator or len(x.text) < 2:
        return False
    return x.text.startswith("{") and x.text.endswith(TRANSPOSED + "}") if latex else x.text.endswith("ᵀ")


def _transposed(x: Piece, *, latex: bool) -> Piece:
    """xᵀ; and x of what is named xᵀ."""
    if _names_transpose(x, latex=latex):
        return Piece(x.text[1 : -len(TRANSPOSED) - 1] if latex else x.text[:-1])
    op = OPERATORS["transpose"]
    return piece(op, fill(op.latex if latex else op.text, {"x": x}, op.binding, op.name, latex=latex), latex=latex)


def leaf_text(graph: Graph, node: Node, *, latex: bool) -> str:
    """A leaf, a constant or a size as notation writes it."""
    if node.operator.kind == "size":
        return str(node["dim"]).replace("*", r"\cdot " if latex else "*")
    if node.operator.name == "constant":
        array = node["value"].array
        if array.size and (array == array.flat[0]).all():  # ones of a shape read as 1
            return _number(array.flat[0].item(), latex=latex)
        return (
            f"[{', '.join(_number(v, latex=latex) for v in array.tolist())}]"
            if array.ndim == 1 and array.size <= SHORT
            else f"[{show(array.shape)}]"
        )
    return latex_name(graph.label(node.id)) if latex else graph.label(node.id)


def _number(value: float, *, latex: bool = False) -> str:
    text = f"{value:g}" if isinstance(value, float) else repr(value)  # 1 - 0.9 reads 0.1
    digits, exponential, power = text.partition("e")
    if not latex or not exponential:
        return text
    return rf"10^{{{int(power)}}}" if digits == "1" else rf"{digits} \cdot 10^{{{int(power)}}}"


def _leaf_binding(node: Node) -> int:
    """-2, N + 1 and 2*N want parentheses; names do not."""
    if node.operator.name == "constant":
        array = node["value"].array
        return 15 if array.size and (array == array.flat[0]).all() and str(array.flat[0]).startswith("-") else 100
    if node.operator.kind != "size" or not isinstance(node["dim"], Dim):
        return 100
    if len(node["dim"].terms) > 1:
        return 10
    ((monomial, factor),) = node["dim"].terms
    return 15 if factor < 0 else 20 if factor > 1 or len(monomial) > 1 else 30 if monomial[0][1] > 1 else 100


def written(graph: Graph, node: Node, read: Sequence[int], operands: list[Piece], *, latex: bool) -> str:
    """An operator's template with its operands, which are the nodes `read`, and its attributes in it."""
    op = node.operator
    if op.variadic:
        inner = ", ".join(p.text for p in operands)
        return rf"\operatorname{{{op.name}}}({inner})" if latex else f"{op.name}({inner})"
    pieces = dict(zip(op.operands, operands, strict=True)) | {k: Piece(_attribute(v)) for k, v in node.attributes}
    template = op.latex if latex else op.text
    if latex and op.name == "multiply":
        template = _product([graph.nodes[i] for i in read], operands) or template
    if "{lost}" in template:
        pieces["lost"] = Piece(_attribute(lost_axes(graph.nodes[node.inputs[0]].shape, node.shape)))
    if "{slices}" in template:
        whole = graph.nodes[node.inputs[0]].shape
        pieces["slices"] = Piece(slices_text(node["start"], node["stop"], node["step"], whole))
    if op.name == "transpose" and len(node.shape) > 2:  # of more axes than two, the sign ᵀ would not say which
        template = r"\operatorname{{transpose}}({x:0}, {axes})" if latex else "transpose({x:0}, {axes})"
    return fill(template, pieces, op.binding, op.name, latex=latex)


def _product(nodes: Sequence[Node], pieces: Sequence[Piece]) -> str | None:
    """How a product is written in which ⊙, the sign for arrays, has no place: a number stands first, without a sign
    unless a digit follows."""
    x, y = nodes
    if x.shape and y.shape:
        return None
    if not x.shape and not y.shape:
        return r"{x} \cdot {y}"
    swapped = y.operator.name == "constant" and not y.shape
    sign = r"\cdot" if pieces[not swapped].text[:1].isdigit() else r"\,"
    return f"{{y:0}} {sign} {{x}}" if swapped else f"{{x}} {sign} {{y}}"


def lost_axes(before: Shape, after: Shape) -> tuple[int, ...]:
    """The axes that a sum to a shape sums over."""
    extra = len(before) - len(after)
    return (*range(extra), *(i + extra for i, d in enumerate(after) if d == 1 and before[i + extra] != 1))


def slices_text(start: Sequence[Dimension], stop: Sequence[Dimension], step: Sequence[int], shape: Shape) -> str:
    """Slices as Python writes them, without trailing full ones: 0:5, :, ::2."""
    texts = []
    for a, b, s, d in zip(start, stop, step, shape, strict=True):
        beyond = b + d * -1
        last = isinstance(beyond, int) and beyond >= 0  # a step may lead past the end
        texts.append(f"{'' if a == 0 else a}:{'' if last else b}{'' if s == 1 else f':{s}'}")
    while len(texts) > 1 and texts[-1] == ":":
        texts.pop()
    return ", ".join(texts) or "..."


def _attribute(value: Any) -> str:
    if isinstance(value, tuple):
        return show(value) if len(value) != 1 else str(value[0])
    return f"{value:g}" if isinstance(value, float) else str(value)


def _greek_name(c: str) -> str:
    """Sigma for Σ, sigma for σ."""
    capital, _, name = unicodedata.name(c, "").removeprefix("GREEK ").partition(" LETTER ")
    return {"CAPITAL": name.capitalize(), "SMALL": name.lower()}.get(capital, "").replace("amda", "ambda")


GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi "
    "pi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
).split()

#: σ is sigma; letters that look like Latin ones have no command.
GREEK_LETTERS = {c: name for c in map(chr, range(0x391, 0x3CA)) if (name := _greek_name(c)) in GREEK}


TRANSPOSED = r"^\top"


def latex_name(name: str) -> str:
    r"""A name as LaTeX writes it: W1 as W_{1}, beta1 as \beta_{1}, W_2_3 as W_{2,3}, W1ᵀ as a power, loss upright."""
    if name.endswith("ᵀ") and len(name) > 1:
        return f"{{{latex_name(name[:-1])}{TRANSPOSED}}}"
    head = name.rstrip("0123456789")
    digits = name[len(head) :]
    base, *rest = head.rstrip("_").split("_")
    if not base:  # _x and 12 have nothing that an index could stand at
        return _upright(name)
    indices = [*filter(None, rest), *([digits] if digits else [])]
    base = GREEK_LETTERS.get(base, base)
    if base in GREEK:
        base = "\\" + base
    elif len(base) != 1 or not base.isalpha():
        base = _upright(base)
    subscript = ",".join(i if i.isalnum() else _upright(i) for i in indices)
    return f"{base}_{{{subscript}}}" if subscript else base


def _upright(text: str) -> str:
    signs = {"\\": r"\backslash ", "^": r"\wedge ", "~": r"\sim "}
    escaped = "".join(signs.get(c, "\\" + c if c in "#$%&_{}" else c) for c in text)
    return rf"\mathrm{{{escaped}}}"


def bar(name: str, *, latex: bool = False) -> str:
    """The adjoint of a name: x̄. In text, the combining macron stands on the first letter."""
    if not latex:
        return f"{name[:1]}\u0304{name[1:]}"
    if name.startswith("{") and name.endswith(f"{TRANSPOSED}}}"):
        return f"{{{bar(name[1 : -len(TRANSPOSED) - 1], latex=True)}{TRANSPOSED}}}"
    head, mark, rest = name.partition("_")
    sign = r"\overline" if len(head) > 1 and not re.fullmatch(r"\\(mathcal\{.\}|[A-Za-z]+)", head) else r"\bar"
    return rf"{sign}{{{head}}}{mark}{rest}"
