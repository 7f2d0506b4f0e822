"""Tensor: the light handle (graph, id) by which a user builds expressions with Python's operators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np

from graphgrad.errors import GraphgradError, ShapeError
from graphgrad.operator import OPERATORS, SYNTAX
from graphgrad.types import Array, Shape, show

if TYPE_CHECKING:
    from graphgrad.graph import Graph
    from graphgrad.node import Node

Operand: TypeAlias = "Tensor | Array | float | int | bool"


class Tensor:
    """A handle (graph, id) with Python's operators. Building expressions is all it does; it holds no numbers."""

    __slots__ = ("graph", "id")
    __array_ufunc__ = None  # NumPy arrays on the left defer to the reflected operators below

    def __init__(self, graph: Graph, id: int) -> None:
        self.graph = graph
        self.id = id

    @property
    def node(self) -> Node:
        return self.graph.nodes[self.id]

    @property
    def shape(self) -> Shape:
        return self.graph.nodes[self.id].shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> str:
        return self.graph.nodes[self.id].dtype

    @property
    def name(self) -> str:
        return self.graph.label(self.id)

    @property
    def value(self) -> float | int | bool | None:
        """The number that a constant of rank 0 stands for, else None."""
        node = self.node
        if node.operator.name != "constant" or node.shape:
            return None
        return node["value"].array.item()  # type: ignore[no-any-return]

    def __reduce__(self) -> Any:
        """Pickled, and deeply copied, with its graph: what comes back is the one handle of that graph's node."""
        return handle, (self.graph, self.id)

    def named(self, name: str) -> Tensor:
        """The same tensor, which from now on carries this name too: z = (x @ W.T + b).named("z")."""
        self.graph.set_name(self.id, name)
        return self

    # Indexing and .T are made of several operators, which stand a floor above and enter by SYNTAX.

    @property
    def T(self) -> Tensor:
        return SYNTAX["T"](self)  # type: ignore[no-any-return]

    def __getitem__(self, key: Any) -> Tensor:
        return SYNTAX["getitem"](self, key)  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape or not isinstance(self.shape[0], int):
            raise ShapeError(f"{self.name} of shape {show(self.shape)} cannot be iterated over")
        return iter([self[i] for i in range(self.shape[0])])

    def __bool__(self) -> NoReturn:
        raise GraphgradError(
            f"{self.name} is a node of a graph and holds no number, so it is neither true nor false; "
            "gg.where chooses inside the graph"
        ).at(self.graph._line())

    if not TYPE_CHECKING:  # for a type checker a Tensor is no array

        def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
            raise GraphgradError(
                f"{self.name} is a node of a graph and holds no numbers: gg.evaluate computes them, and graphgrad's "
                "functions (gg.mean, gg.concatenate, ...) stand in for NumPy's"
            ).at(self.graph._line())

    def _apply(self, name: str, *operands: Operand) -> Tensor:
        for operand in operands:
            if not isinstance(operand, _OPERANDS):
                return NotImplemented
        return self.graph.apply(OPERATORS[name], operands, {})

    def __add__(self, other: Operand) -> Tensor:
        return self._apply("add", self, other)

    def __radd__(self, other: Operand) -> Tensor:
        return self._apply("add", other, self)

    def __sub__(self, other: Operand) -> Tensor:
        return self._apply("subtract", self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return self._apply("subtract", other, self)

    def __mul__(self, other: Operand) -> Tensor:
        return self._apply("multiply", self, other)

    def __rmul__(self, other: Operand) -> Tensor:
        return self._apply("multiply", other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        return self._apply("divide", self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return self._apply("divide", other, self)

    def __mod__(self, other: Operand) -> Tensor:
        return self._apply("remainder", self, other)

    def __rmod__(self, other: Operand) -> Tensor:
        return self._apply("remainder", other, self)

    def __pow__(self, other: Operand) -> Tensor:
        # x**2 is the lecture's square: its derivative reads 2x, and NumPy's square beats its power.
        return self._apply("square", self) if type(other) is int and other == 2 else self._apply("power", self, other)

    def __rpow__(self, other: Operand) -> Tensor:
        return self._apply("power", other, self)

    def __matmul__(self, other: Operand) -> Tensor:
        return self._apply("matmul", self, other)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return self._apply("matmul", other, self)

    def __neg__(self) -> Tensor:
        return self._apply("negative", self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return self._apply("abs", self)

    def __lt__(self, other: Operand) -> Tensor:  # type: ignore[misc]
        return self._apply("less", self, other)

    def __le__(self, other: Operand) -> Tensor:  # type: ignore[misc]
        return self._apply("less_equal", self, other)

    def __gt__(self, other: Operand) -> Tensor:  # type: ignore[misc]
        return self._apply("greater", self, other)

    def __ge__(self, other: Operand) -> Tensor:  # type: ignore[misc]
        return self._apply("greater_equal", self, other)

    def __eq__(self, other: Operand) -> Tensor:  # type: ignore[override]
        return self._apply("equal", self, other)

    def __ne__(self, other: Operand) -> Tensor:  # type: ignore[override]
        return self._apply("not_equal", self, other)

    def __and__(self, other: Operand) -> Tensor:
        return self._apply("logical_and", self, other)

    def __or__(self, other: Operand) -> Tensor:
        return self._apply("logical_or", self, other)

    def __invert__(self) -> Tensor:
        return self._apply("logical_not", self)

    __hash__ = object.__hash__  # by identity: a node has one handle

    def __repr__(self) -> str:
        return f"<{self.name}: {self.node.operator.name} {show(self.shape)} {self.dtype}>"


_OPERANDS = (Tensor, np.ndarray, np.generic, float, int, list)  # what may stand beside an operator's sign


def handle(graph: Graph, id: int) -> Tensor:
    """The handle of a node."""
    return graph.tensor(id)
