"""A user's own elementwise operator: one node, defined by a short list of steps in the operators that there are.

The list is plain data, so it can be stored, compared and read back without evaluating any text:

    (("operand", "X"), ("number", 2.0), ("multiply", 1, 0), ("sigmoid", 2), ("multiply", 0, 3))
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from string import Formatter
from typing import Any, TypeAlias

import numpy as np

from graphgrad.errors import GraphgradError
from graphgrad.graph import Graph
from graphgrad.node import Node, make_node
from graphgrad.operator import OPERATORS, Inferred, Operator
from graphgrad.operators.rows import broadcast_nodes
from graphgrad.tensor import Tensor
from graphgrad.types import as_float, promote

#: ("operand", name), ("number", value) or (operator's name, *positions of earlier steps).
Step: TypeAlias = "tuple[str | int | float, ...]"
Steps: TypeAlias = "tuple[Step, ...]"


class CustomOperator(Operator):
    """An operator that stands in no table. Two are equal where all that they say is: a graph read back is the same."""

    steps: Steps

    def identity(self) -> tuple[Any, ...]:
        # repr, since 1, 1.0 and True are equal numbers but different constants
        return (
            self.name,
            self.operands,
            repr(sorted(self.operand_defaults.items())),
            repr(self.steps),
            self.notation(),
        )

    def notation(self) -> tuple[str, str, str, int]:
        return (self.formula, self.text, self.latex, self.binding)

    def check_notation(self) -> None:
        """That the templates name operands and nothing else, and lead to no attribute of them."""
        for template in (self.text, self.latex):
            try:
                fields = [
                    (name, spec or "", change)
                    for _, name, spec, change in Formatter().parse(template)
                    if name is not None
                ]
            except ValueError:
                raise GraphgradError(f"{template!r} is no template") from None
            if any(n not in self.operands or c or (s not in ("", ">") and not s.isdigit()) for n, s, c in fields):
                raise GraphgradError(f"{template!r} is no template of {', '.join(self.operands)}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CustomOperator) and (self is other or self.identity() == other.identity())

    def __hash__(self) -> int:
        return hash((self.name, self.operands))

    def __reduce__(self) -> Any:
        notation: dict[str, Any] = dict(zip(("formula", "text", "latex", "binding"), self.notation(), strict=True))
        return partial(custom, **notation), (self.name, self.operands, self.steps, self.operand_defaults)

    def symbolic(self, operands: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
        """The definition on sympy expressions: a formula's text, which a file may have brought, is never evaluated."""
        import sympy

        return self.definition(*map(sympy.sympify, operands))  # type: ignore[misc]


def custom(
    name: str,
    operands: tuple[str, ...],
    steps: Steps,
    operand_defaults: Mapping[str, float],
    *,
    formula: str = "",
    text: str = "",
    latex: str = "",
    binding: int = 100,
) -> CustomOperator:
    """The operator of that name and definition. Raises GraphgradError for a name or a step that cannot be."""
    _check_names(name, operands, operand_defaults)
    _check_steps(name, operands, steps)
    arguments = ", ".join(f"{{{o}:0}}" for o in operands)
    made = CustomOperator(
        name=name,
        operands=operands,
        infer=lambda *nodes: _infer(name, operands, steps, nodes),
        reference=lambda *arrays: _reference(operands, steps, arrays),
        definition=lambda *tensors: _define(operands, steps, tensors),
        formula=formula,
        text=text or f"{name}({arguments})",
        latex=latex or rf"\operatorname{{{{{name.replace('_', ' ')}}}}}({arguments})",
        binding=binding,
        kind="elementwise",
        analytic=all(OPERATORS[str(s[0])].analytic for s in steps if s[0] not in ("operand", "number")),
        doc=f"{name}({', '.join(operands)}) for each element: {formula}.",
        operand_defaults=dict(operand_defaults),
    )
    object.__setattr__(made, "steps", steps)
    return made


#: A number as a value of the operands' own dtype.
Typed: TypeAlias = Callable[[float], Any]


def run(
    steps: Steps, operands: Mapping[str, Any], apply: Callable[[Operator, list[Any]], Any], typed: Typed | None = None
) -> list[Any]:
    """The result of every step. A choice between two numbers has the operands' dtype, by `typed`: alone, where(x > 0,
    1.0, 0.0) would be float64 for every x, and make what it meets float64 too."""
    results: list[Any] = []
    for head, *rest in steps:
        if head == "operand":
            results.append(operands[str(rest[0])])
        elif head == "number":
            results.append(rest[0])
        else:
            values = [results[int(i)] for i in rest]
            if typed is not None and head == "where" and all(steps[int(i)][0] == "number" for i in rest[1:]):
                values[1] = typed(values[1])
            results.append(apply(OPERATORS[str(head)], values))
    return results


def choice_of(nodes: Sequence[Node], typed: Callable[[float, str], Any]) -> Typed | None:
    """`typed` in the dtype that nodes have together; None where all are weak, and numbers stay numbers."""
    dtype, weak = promote([(n.dtype, n.weak) for n in nodes])
    return None if weak else lambda value: typed(value, as_float(dtype))


def as_tensor_of(graph: Graph) -> Callable[[float, str], Tensor]:
    return lambda value, dtype: OPERATORS["cast"](graph.constant(value), dtype=dtype)


def _define(operands: tuple[str, ...], steps: Steps, tensors: Sequence[Any]) -> Any:
    """The definition, of Tensors or of sympy's expressions."""
    known = [t for t in tensors if isinstance(t, Tensor)]
    typed = choice_of([t.node for t in known], as_tensor_of(known[0].graph)) if known else None
    return run(steps, dict(zip(operands, tensors, strict=True)), _apply, typed)[-1]


def _apply(operator: Operator, values: list[Any]) -> Any:
    return operator(*values)


def _reference(operands: tuple[str, ...], steps: Steps, arrays: Sequence[Any]) -> Any:
    typed = None
    if any(isinstance(a, (np.ndarray, np.generic)) for a in arrays):  # weak operands are Python's numbers
        dtype = np.result_type(*arrays)
        typed = dtype.type if dtype.kind in "fc" else np.float64
    with np.errstate(all="ignore"):  # a branch that is not taken may overflow
        known = dict(zip(operands, arrays, strict=True))
        return run(steps, known, lambda op, values: op.reference(*values), typed)[-1]


def _infer(name: str, operands: tuple[str, ...], steps: Steps, nodes: Sequence[Node]) -> Inferred:
    """Shape and dtype as the definition has them, without building it."""
    broadcast_nodes(name, *nodes)

    def node(operator: Operator, inputs: list[Any]) -> Node:
        known = [n if isinstance(n, Node) else _number(n) for n in inputs]
        shape, dtype, _, weak = operator.infer(*known)
        weak = not shape and all(n.weak for n in known) if weak is None else weak
        return make_node(-1, operator, (), (), shape, dtype, weak)

    def typed(value: float, dtype: str) -> Node:
        return make_node(-1, OPERATORS["constant"], (), (), (), dtype, False)

    result = run(steps, dict(zip(operands, nodes, strict=True)), node, choice_of(nodes, typed))[-1]
    return Inferred(result.shape, result.dtype, {}, result.weak)


def _number(value: float) -> Node:
    return make_node(-1, OPERATORS["constant"], (), (), (), np.asarray(value).dtype.name, True)


def _check_names(name: str, operands: tuple[str, ...], operand_defaults: Mapping[str, float]) -> None:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise GraphgradError(f"the name of an operator is a Python name, as swish is, but {name!r} was given")
    if name in OPERATORS:
        raise GraphgradError(
            f"an operator named {name} exists already: {OPERATORS[name].signature}; choose another name"
        )
    if not operands:
        raise GraphgradError(f"{name} has no variable: an elementwise operator is a function of at least one")
    for operand in operands:
        if not isinstance(operand, str) or not operand.isidentifier() or keyword.iskeyword(operand):
            raise GraphgradError(f"{name}: an operand is called as a Python name is, but {operand!r} was given")
    if len(set(operands)) < len(operands):
        raise GraphgradError(f"{name}: its operands are {', '.join(operands)}; each is wanted once")
    for operand, value in operand_defaults.items():
        if operand not in operands:
            raise GraphgradError(f"{name}: {operand} has a default but is none of its operands {', '.join(operands)}")
        if type(value) not in (int, float):
            raise GraphgradError(f"{name}: the default of {operand} is a number, but {value!r} was given")
    optional = [operand in operand_defaults for operand in operands]
    if optional != sorted(optional):
        raise GraphgradError(f"{name}: operands with defaults come last, but their order is {', '.join(operands)}")


def _check_steps(name: str, operands: tuple[str, ...], steps: Steps) -> None:
    used, dependent = set(), []
    for position, step in enumerate(steps):
        head, *rest = step
        if head == "operand" and len(rest) == 1 and rest[0] in operands:
            used.add(rest[0])
            dependent.append(True)
        elif head == "number" and len(rest) == 1 and type(rest[0]) in (int, float, bool):
            dependent.append(False)
        else:
            operator = OPERATORS.get(head) if isinstance(head, str) else None
            if (
                operator is None
                or operator.kind != "elementwise"
                or operator.defaults
                or len(rest) != len(operator.operands)
            ):
                raise GraphgradError(
                    f"{name}: step {position} of its definition, {step!r}, is no elementwise operator of its operands"
                )
            if any(type(i) is not int or not 0 <= i < position for i in rest):
                raise GraphgradError(
                    f"{name}: step {position} of its definition, {step!r}, takes a step that is not before it"
                )
            if not any(dependent[int(i)] for i in rest):
                raise GraphgradError(f"{name}: step {position} of its definition, {step!r}, takes numbers only")
            dependent.append(True)
    if not dependent or not dependent[-1]:
        raise GraphgradError(f"{name} is the same for all operands: it has no definition in them")
    if missing := [o for o in operands if o not in used]:
        raise GraphgradError(f"{name}: its definition does not use {', '.join(missing)}")
