"""A node of a graph, a frozen record, and the operators of those that are leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from graphgrad.operator import OPERATORS, Inferred, Operator
from graphgrad.types import Shape, Value

#: Of a node, in the order and form that the operator's shape rule gives them.
Attributes: TypeAlias = tuple[tuple[str, Any], ...]


@dataclass(slots=True, eq=False)
class _Open:
    """A node while its fields can be set."""

    id: int
    operator: Operator
    inputs: tuple[int, ...]
    attributes: Attributes
    shape: Shape
    dtype: str
    weak: bool  # rank 0, and in effect a Python number: it never widens a float array


class Node(_Open):
    """One value of the computation: what it is made by and of, and what is known of it before there are numbers.

    It never changes. `make_node` makes one.
    """

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a node never changes, but its {name} was to be {value!r}")

    def __reduce__(self) -> Any:
        return make_node, tuple(getattr(self, name) for name in _Open.__slots__)

    def __getitem__(self, name: str) -> Any:
        """An attribute."""
        for known, value in self.attributes:
            if known == name:
                return value
        raise KeyError(name)


def make_node(
    id: int,
    operator: Operator,
    inputs: tuple[int, ...],
    attributes: Attributes,
    shape: Shape,
    dtype: str,
    weak: bool,
) -> Node:
    """A node, filled in before it closes. A frozen dataclass would be shorter, but takes three times as long to make,
    and thousands are made to compile a network."""
    node: Any = _Open(id, operator, inputs, attributes, shape, dtype, weak)
    node.__class__ = Node
    return node  # type: ignore[no-any-return]


class Record(Protocol):
    """What a derivation tells of a node that it made: shown in generated code and pictures."""

    @property
    def rule(self) -> str: ...
    @property
    def formula(self) -> str: ...
    @property
    def symbol(self) -> str: ...
    def told(self, names: Mapping[int, str]) -> str:
        """The step as a line in which only the nodes in `names` have names; all others are written out."""
        ...


def _leaf_row(kind: str) -> Operator:
    def infer(name: str, shape: Shape, dtype: str, weak: bool) -> Inferred:
        return Inferred(shape, dtype, {"name": name, "shape": shape, "dtype": dtype, "weak": weak}, weak)

    defaults = {"name": "", "shape": (), "dtype": "float64", "weak": False}
    return Operator(kind, (), infer, reference=lambda: None, defaults=defaults, kind="leaf")


def _constant(value: Value, weak: bool) -> Inferred:
    return Inferred(value.array.shape, value.array.dtype.name, {"value": value, "weak": weak}, weak)


#: A graph's leaves are operators without operands.
LEAVES = tuple(_leaf_row(kind) for kind in ("input", "parameter", "state")) + (
    Operator("constant", (), _constant, reference=lambda: None, defaults={"value": None, "weak": False}, kind="leaf"),
)
OPERATORS.update({leaf.name: leaf for leaf in LEAVES})
