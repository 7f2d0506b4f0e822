"""How an operator's row is written: `elementwise(...)` for functions of numbers, `@operator(...)` for all others.

A row holds everything that is known of an operator. Templates name its operands and attributes:

- `text` and `latex` are notation. `{x}` puts x in parentheses where it binds weaker than this operator, `{x:>}` also
  where it binds as strongly (the right side of a minus), `{x:0}` never (inside brackets of the template's own).
- `numpy` is a statement, or a tuple of statements, that writes `{out}`; or a function from the statement to such text.
- `scalar` is a Python expression in NumPy scalars; by default the `numpy` call without `out=`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from graphgrad.errors import DTypeError, GraphgradError, ShapeError
from graphgrad.node import Node
from graphgrad.operator import OPERATORS, REQUIRED, Inferred, Operator, Rule, register
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS, as_float, broadcast, promote, show

RuleOrRules = Rule | tuple[Rule, ...]


def named(node: Node) -> str:
    """A node in an error message: its name if it has one, else its operator."""
    attributes = dict(node.attributes)
    return (
        str(attributes.get("name") or f"the result of {node.operator.name}")
        if node.operator.kind == "leaf"
        else (f"the result of {node.operator.name}")
    )


def broadcast_nodes(name: str, *nodes: Node) -> tuple[Any, ...]:
    """The common shape of operands. Raises ShapeError, which says which dimensions clash."""
    shape = broadcast(*[n.shape for n in nodes])
    if shape is None:
        shapes = " and ".join(show(n.shape) for n in nodes)
        rank = max(len(n.shape) for n in nodes)
        padded = [(1,) * (rank - len(n.shape)) + n.shape for n in nodes]
        columns = enumerate(zip(*padded, strict=True))
        axis, column = next((i, c) for i, c in columns if broadcast(*[(d,) for d in c]) is None)
        clash = " and ".join(str(d) for d in dict.fromkeys(d for d in column if d != 1))
        raise ShapeError(
            f"{name} of shapes {shapes}: axis {axis - rank} is {clash}; "
            "dimensions fit where they are equal or one of them is 1"
        )
    return shape


def elementwise(
    name: str,
    *,
    formula: str,
    reference: Callable[..., Any],
    operands: str = "x",
    pullback: RuleOrRules = None,
    dtype: str = "float",
    text: str = "",
    latex: str = "",
    binding: int = 100,
    numpy: Any = None,
    scalar: str = "",
    plain: str = "",
    attributes: Mapping[str, Any] | None = None,
    positive: Collection[str] = (),
    definition: Callable[..., Any] | None = None,
    analytic: bool = False,
    domain: Mapping[str, tuple[float, float]] | None = None,
    kinks: tuple[float, ...] = (),
    refuses: bool = False,
    doc: str = "",
) -> Operator:
    """A function of numbers, applied to each element with NumPy's broadcasting.

    `dtype` says what the result is: "float" (integers and bools enter as float64), "same" (NumPy's promotion),
    "number" (as "same", but not of bools), "bool". `positive` names the attributes that have to be.
    """
    names = tuple(operands.split())
    condition = int(names[0] == "condition")

    def infer(*nodes: Node, **given: Any) -> Inferred:
        if condition and nodes[0].dtype != "bool":
            raise DTypeError(f"{name}: the condition is bool, but {nodes[0].dtype} was given; x != 0 makes a bool")
        first = nodes[-1]  # of where(condition, x, y), the condition's dtype does not count
        shape, common, weak = first.shape, first.dtype, first.weak
        for n in nodes[:-1]:
            if not shape:  # a number fits all
                shape = n.shape
            elif n.shape and n.shape != shape:
                shape = broadcast_nodes(name, *nodes)
                break
        for n in nodes[condition:-1]:
            if n.dtype != common or n.weak != weak:
                common = promote([(n.dtype, n.weak) for n in nodes[condition:]])[0]
                break
        if dtype == "float":
            common = as_float(common)
        elif dtype == "bool":
            common = "bool"
        elif dtype == "number" and common == "bool":
            raise DTypeError(f"{name} of bools: a number is wanted; gg.cast(x, 'int64') makes one")
        return Inferred(shape, common, {k: number(name, k, v, k in positive) for k, v in given.items()})

    return register(
        Operator(
            name=name,
            operands=names,
            infer=infer,
            reference=_in_floats(reference) if dtype == "float" else reference,
            defaults=attributes or {},
            pullback=pullback if isinstance(pullback, tuple) or pullback is None else (pullback,),
            definition=_from_floats(definition) if definition is not None and dtype == "float" else definition,
            formula=formula,
            text=text or f"{name}({', '.join(f'{{{n}:0}}' for n in names)})",
            latex=latex or rf"\operatorname{{{{{name.replace('_', ' ')}}}}}({', '.join(f'{{{n}:0}}' for n in names)})",
            binding=binding,
            numpy=numpy,
            scalar=scalar,
            plain=plain,
            kind="elementwise",
            analytic=analytic,
            domain=domain or {},
            kinks=kinks,
            refuses=refuses,
            doc=doc or f"{name}({', '.join(names)}) for each element: {formula}.",
        )
    )


def number(name: str, attribute: str, value: Any, positive: bool = False) -> float:
    """An attribute of a function of numbers: a Python float, whatever kind of number was given."""
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        raise GraphgradError(f"{name}: {attribute} is a number, but {type(value).__name__} was given")
    try:
        found = float(value)
    except OverflowError:
        raise GraphgradError(f"{name}: {attribute} is an integer that is too large for a float64") from None
    if positive and not found > 0:
        raise GraphgradError(f"{name}: {attribute} is positive, but {value} was given")
    return found


def _in_floats(reference: Callable[..., Any]) -> Callable[..., Any]:
    """A reference that computes in float64 where no operand is a float: NumPy alone computes exp(True) in float16."""

    def computed(*operands: Any, **attributes: Any) -> Any:
        if all(np.asarray(v).dtype.kind in "biu" for v in operands):
            operands = tuple(np.asarray(v, np.float64)[()] for v in operands)
        return reference(*operands, **attributes)

    return computed


def _from_floats(definition: Callable[..., Any]) -> Callable[..., Any]:
    """A definition that sees float64 where no operand is a float, as the reference does."""

    def defined(*operands: Any, **attributes: Any) -> Any:
        if all(isinstance(t, Tensor) and t.dtype not in FLOATS for t in operands):
            operands = tuple(t * 1.0 if t.node.weak else OPERATORS["cast"](t, dtype="float64") for t in operands)
        return definition(*operands, **attributes)

    return defined


def operator(
    *,
    reference: Callable[..., Any],
    pullback: Any = None,
    numpy: Any = None,
    latex: str = "",
    text: str = "",
    formula: str = "",
    definition: Callable[..., Any] | None = None,
    kind: str = "",
    binding: int = 100,
    analytic: bool = False,
    domain: Mapping[str, tuple[float, float]] | None = None,
    name: str = "",
    scalar: str = "",
    requires: Callable[..., Any] | None = None,
    over: bool = False,
    refuses: bool = False,
) -> Callable[[Callable[..., Inferred]], Operator]:
    """The row of an operator whose shape rule is the decorated function.

    Parameters annotated `Node` are operands (`*tensors: Node` takes a sequence), all others attributes with their
    defaults. The docstring is the user's.
    """

    def decorate(shape_rule: Callable[..., Inferred]) -> Operator:
        names, defaults = [], {}
        for p in inspect.signature(shape_rule).parameters.values():
            if p.annotation == "Node":
                names.append(f"*{p.name}" if p.kind is p.VAR_POSITIONAL else p.name)
            else:
                defaults[p.name] = REQUIRED if p.default is p.empty else p.default
        own = name or shape_rule.__name__.rstrip("_")
        arguments = ", ".join([f"{{{n}:0}}" for n in names if not n.startswith("*")] + [f"{{{n}}}" for n in defaults])
        variadic = bool(names) and names[0].startswith("*")
        rules = pullback if pullback is None or isinstance(pullback, tuple) or variadic else (pullback,)
        return register(
            Operator(
                name=own,
                operands=tuple(names),
                infer=shape_rule,
                reference=reference,
                defaults=defaults,
                pullback=rules,
                definition=definition,
                formula=formula,
                text=text or f"{own}({arguments})",
                latex=latex or rf"\operatorname{{{{{own.replace('_', ' ')}}}}}({arguments})",
                binding=binding,
                numpy=numpy,
                scalar=scalar,
                kind=kind,
                analytic=analytic,
                domain=domain or {},
                requires=requires,
                over=over,
                refuses=refuses,
                doc=inspect.cleandoc(shape_rule.__doc__ or ""),
            )
        )

    return decorate


def axes_of(name: str, node: Node, axis: Any) -> tuple[int, ...]:
    """`axis` as NumPy takes it (None, an int, a tuple), as sorted axes that are not negative."""
    rank = len(node.shape)
    if axis is None:
        return tuple(range(rank))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = []
    for a in given:
        if not isinstance(a, int) or isinstance(a, bool) or not -rank <= a < rank:
            raise ShapeError(f"{name}: axis {a!r} of shape {show(node.shape)}; axes run from {-rank} to {rank - 1}")
        axes.append(a % rank)
    if len(set(axes)) < len(axes):
        raise ShapeError(f"{name}: axis {axis!r} names an axis of shape {show(node.shape)} twice")
    return tuple(sorted(axes))


def axis_of(name: str, node: Node, axis: Any, room: int = 0) -> int:
    """One axis, not negative; `room` counts axes that the operator adds."""
    rank = len(node.shape) + room
    if not isinstance(axis, int) or isinstance(axis, bool) or not -rank <= axis < rank:
        raise ShapeError(f"{name}: axis {axis!r} of shape {show(node.shape)}; axes run from {-rank} to {rank - 1}")
    return axis % rank


__all__ = ["Inferred", "Node", "Tensor", "axes_of", "axis_of", "broadcast_nodes", "elementwise", "named", "operator"]
