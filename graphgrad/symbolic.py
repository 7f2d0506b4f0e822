"""Graphs and sympy: a scalar graph as an expression, an expression as a graph, a user's own elementwise operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgrad.custom import as_tensor_of, choice_of, custom, run
from graphgrad.errors import GraphgradError
from graphgrad.forms import number
from graphgrad.graph import Graph
from graphgrad.lowering import lower
from graphgrad.node import Node
from graphgrad.operator import Operator
from graphgrad.rewrite import lower as written_out
from graphgrad.tensor import Operand, Tensor
from graphgrad.types import Dim, show

if TYPE_CHECKING:
    import sympy


def to_sympy(tensor: Tensor) -> sympy.Expr:
    """A graph of numbers (every node on the way has rank 0) as one sympy expression.

    A leaf is a real Symbol of its name: `gg.to_sympy(w)` is the one to differentiate by. A composite enters by its
    formula. Raises GraphgradError for a node with a shape (`gg.scalarize` writes such a graph out in numbers first)
    and for a graph too deep for sympy.

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> w, x = g.parameter("w"), g.input("x")
    >>> gg.to_sympy(gg.tanh(w * x) ** 2)
    tanh(w*x)**2
    """
    if not isinstance(tensor, Tensor):
        raise GraphgradError(f"to_sympy takes a Tensor, but {type(tensor).__name__} was given")
    _check_ranks(tensor)

    def has_formula(node: Node) -> bool:
        return node.operator.kind in ("elementwise", "linear", "view")

    graph, moved = written_out([tensor], has_formula)
    result = moved[tensor.id]
    _check_ranks(result)
    found: dict[int, Any] = {}
    try:
        for id in graph.ancestors([result.id]):
            node = graph.nodes[id]
            found[id] = _expression(graph, node, [found[i] for i in node.inputs])
        return found[result.id]
    except RecursionError:
        raise GraphgradError(
            f"{tensor.name} is computed by {len(graph.nodes)} nodes, which nest too deeply for sympy: its own "
            f"functions recurse"
        ).at(tensor.graph._line()) from None


def _check_ranks(tensor: Tensor) -> None:
    for id in tensor.graph.ancestors([tensor.id]):
        node = tensor.graph.nodes[id]
        if node.shape:
            raise GraphgradError(
                f"to_sympy takes a graph of numbers, but {tensor.name} depends on {tensor.graph.label(id)} of shape "
                f"{show(node.shape)}; gg.scalarize writes a graph out in numbers"
            ).at(tensor.graph._line())


def _expression(graph: Graph, node: Node, operands: list[Any]) -> Any:
    import sympy as sp

    name = node.operator.name
    if name == "constant":
        return _exact(node["value"].array.item())
    if node.operator.kind == "leaf":
        return sp.Symbol(node["name"], real=True)
    if node.operator.kind == "size":
        return _size(node["dim"])
    if name == "cast":
        return _cast(graph, node, operands[0])
    operands = _as_wanted(graph, node, operands)
    if node.operator.kind in ("linear", "view"):
        # A sum over no axis, a reshape of () to (): NumPy itself does it, on an array of one expression.
        arrays = [np.empty((), dtype=object) for _ in operands]
        for array, operand in zip(arrays, operands, strict=True):
            array[()] = operand
        return np.asarray(node.operator.reference(*arrays, **dict(node.attributes)), dtype=object).item()
    attributes = {k: _exact(v) if isinstance(v, float) else v for k, v in node.attributes}
    result = node.operator.symbolic(operands, attributes)
    return _as_truth(result) if node.dtype == "bool" and not isinstance(result, sp.logic.boolalg.Boolean) else result


def _as_wanted(graph: Graph, node: Node, operands: list[Any]) -> list[Any]:
    """To sympy, truth values and numbers are two kinds: logic takes numbers as true where they are not 0, all else
    takes truth values as 0 and 1."""
    name, wanted = node.operator.name, []
    moves = node.operator.kind in ("linear", "view") and node.dtype == "bool"
    for position, (i, operand) in enumerate(zip(node.inputs, operands, strict=True)):
        is_bool = graph.nodes[i].dtype == "bool"
        if name.startswith("logical_") or (name == "where" and position == 0):
            wanted.append(operand if is_bool else _as_truth(operand))
        else:
            wanted.append(_as_number(operand) if is_bool and not moves else operand)
    return wanted


def _as_number(truth: Any) -> Any:
    import sympy as sp

    return sp.Piecewise((1, truth), (0, True))


def _as_truth(value: Any) -> Any:
    import sympy as sp

    return sp.Ne(value, 0)


def _exact(value: float) -> Any:
    """A number as sympy's: exact where its binary fraction is short, a Float else."""
    import sympy as sp

    if isinstance(value, bool):
        return sp.true if value else sp.false
    if isinstance(value, int) or value.is_integer():
        return sp.Integer(int(value))
    if not np.isfinite(value):
        return sp.nan if value != value else sp.oo if value > 0 else -sp.oo
    above, below = value.as_integer_ratio()
    return sp.Rational(above, below) if below <= 1024 else sp.Float(value, 17)


def _size(dim: Dim) -> Any:
    import sympy as sp

    names = {name: sp.Symbol(name, integer=True, positive=True) for monomial, _ in dim.terms for name, _ in monomial}
    return sp.Add(*[factor * sp.Mul(*[names[n] ** p for n, p in monomial]) for monomial, factor in dim.terms])


def _cast(graph: Graph, node: Node, operand: Any) -> Any:
    import sympy as sp

    before, after = graph.nodes[node.inputs[0]].dtype, node.dtype
    if before == after or (after.startswith("float") and before != "bool"):
        return operand
    if before == "bool":
        return _as_number(operand)
    if after == "bool":
        return _as_truth(operand)
    return sp.sign(operand) * sp.floor(sp.Abs(operand))


def from_sympy(expr: sympy.Basic, /, **tensors: Operand) -> Tensor:
    """A sympy expression as nodes, with a tensor (or number, or array) for each of its symbols, by name.

    What overflows as written is built from operators that do not: 1/(1 + exp(-u)) is sigmoid(u), log(1 + exp(u)) is
    softplus(u). Raises GraphgradError for a function that no operator computes (it lists those that there are), and
    for a symbol without a tensor.

    >>> import graphgrad as gg, sympy as sp
    >>> g = gg.Graph()
    >>> u = sp.Symbol("u")
    >>> gg.from_sympy(u / (1 + sp.exp(-u)), u=g.input("x", ("N",)))
    <v2: multiply (N,) float64>
    """
    steps = lower(expr)
    names = [str(step[1]) for step in steps if step[0] == "operand"]
    if missing := sorted(set(names) - tensors.keys()):
        raise GraphgradError(
            f"the expression has the symbols {', '.join(sorted(names))}; no tensor was given for {', '.join(missing)}"
        )
    if unknown := sorted(tensors.keys() - set(names)):
        raise GraphgradError(
            f"the expression has no {', '.join(unknown)}; its symbols are {', '.join(sorted(names)) or 'none'}"
        )
    graphs = [t.graph for t in tensors.values() if isinstance(t, Tensor)]
    if not graphs:
        raise GraphgradError("from_sympy builds nodes of a graph, so at least one symbol is given a Tensor")

    graph = graphs[0]

    def apply(operator: Operator, values: list[Any]) -> Tensor:
        return graph.apply(operator, values, {})

    given = {n: t if isinstance(t, Tensor) else graph.constant(t) for n, t in tensors.items()}
    result = run(steps, given, apply, choice_of([t.node for t in given.values()], as_tensor_of(graph)))[-1]
    return result if isinstance(result, Tensor) else graph.constant(result)


def elementwise(
    name: str,
    expr: sympy.Basic,
    variables: Sequence[sympy.Symbol | str] | str | None = None,
    parameters: Mapping[str, float] | None = None,
) -> Operator:
    """An operator of your own from a sympy expression: one node, with value, derivative, code and notation from it.

    All symbols of `expr` are operands, in the order of `variables` (without it: names of one letter by the alphabet,
    then longer ones), then those of `parameters`, which gives defaults. The expression is written in operators that
    do not overflow (see `from_sympy`), and derived by their rules. It belongs to no table: it is what is returned.

    >>> import graphgrad as gg, sympy as sp
    >>> X, beta = sp.symbols("X beta")
    >>> swish = gg.elementwise("swish", X / (1 + sp.exp(-beta * X)), parameters={"beta": 1.0})
    >>> swish
    <operator swish(X, beta=1.0)>
    >>> x = gg.Graph().input("x", ("N",), dtype="float32")
    >>> swish(x), swish(x, 2.0)
    (<v2: swish (N,) float32>, <v4: swish (N,) float32>)
    """
    import sympy as sp

    steps = lower(expr)
    defaults = {str(k): v for k, v in (parameters or {}).items()}
    found = {s.name: s for s in getattr(expr, "free_symbols", ())}
    if len(found) < len(getattr(expr, "free_symbols", ())):
        raise GraphgradError(
            f"{name}: two different symbols of the expression have one name; its names are {', '.join(sorted(found))}"
        )
    if isinstance(variables, str):
        variables = variables.replace(",", " ").split()
    if variables is None:
        order = sorted(found.keys() - defaults.keys(), key=lambda n: (len(n) > 1, n))
    else:
        order = [str(v) for v in variables]
    order += [n for n in defaults if n not in order]
    for operand in order:
        if operand not in found:
            raise GraphgradError(
                f"{name}: {operand} does not occur in the expression; "
                f"its symbols are {', '.join(sorted(found)) or 'none'}"
            )
    if missing := sorted(found.keys() - set(order)):
        raise GraphgradError(
            f"{name}: the expression has {', '.join(missing)}, but its variables are {', '.join(order)}"
        )
    binding, kinds = 100, ((sp.Add, 10), (sp.Mul, 20), (sp.Pow, 30))
    for kind, strength in kinds:
        if isinstance(expr, kind) and not isinstance(expr, sp.exp):
            binding = strength
    return custom(
        name,
        tuple(order),
        steps,
        {n: v if isinstance(v, (int, float)) else number(sp.sympify(v, strict=True)) for n, v in defaults.items()},
        formula=str(expr),
        text=_template(str(expr.xreplace(_tokens(found))), found),
        latex=_template(sp.latex(expr, symbol_names={s: _token(n) for n, s in found.items()}), found),
        binding=binding,
    )


def _token(name: str) -> str:
    """A stand-in of letters only, which sympy's printers leave alone and no expression holds."""
    return "qq" + "".join(chr(ord("a") + int(d, 16)) for byte in name.encode() for d in f"{byte:02x}") + "qq"


def _tokens(symbols: Mapping[str, Any]) -> dict[Any, Any]:
    import sympy as sp

    return {s: sp.Symbol(_token(n), **s.assumptions0) for n, s in symbols.items()}


def _template(text: str, symbols: Mapping[str, Any]) -> str:
    """A printed expression as a template: braces doubled, each symbol its operand, in parentheses unless an atom."""
    text = text.replace("{", "{{").replace("}", "}}")
    for name in symbols:
        text = text.replace(_token(name), f"{{{name}:100}}")
    return text
