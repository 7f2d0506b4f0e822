"""What a target prints, and what a row's spelling may look at while it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from graphgrad.node import Node
from graphgrad.types import Shape

from .program import Program


class Call(NamedTuple):
    """What a row's spelling may look at when it is a function: the statement's shapes, dtypes and attributes.

    `plain` says which operands lie in memory as one run, in row-major order. `once(wish, expression)` gives the name of
    an array that is made once for each workspace.
    """

    node: Node
    inputs: Sequence[Node]
    is_plain: Callable[[int], bool]
    once: Callable[[str, str], str]
    out: str  # the name of the statement's buffer
    over: bool  # which is that of its first operand

    @property
    def shape(self) -> Shape:
        return self.node.shape

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return tuple([n.shape for n in self.inputs])

    @property
    def ranks(self) -> tuple[int, ...]:
        return tuple([len(n.shape) for n in self.inputs])

    @property
    def dtype(self) -> str:
        return self.node.dtype

    @property
    def dtypes(self) -> tuple[str, ...]:
        return tuple([n.dtype for n in self.inputs])

    @property
    def attributes(self) -> dict[str, Any]:
        return dict(self.node.attributes)

    @property
    def plain(self) -> tuple[bool, ...]:
        return tuple([self.is_plain(n.id) for n in self.inputs])


@dataclass(slots=True)
class Printed:
    """Generated text, with what a loader or a module writer needs to frame it."""

    program: Program
    names: dict[int, str] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)  # bare name -> NumPy's: "add_reduce": "np.add.reduce"
    support: dict[str, str] = field(default_factory=dict)  # functions of our own: name -> source
    constants: list[tuple[str, Any]] = field(default_factory=list)  # name, array
    buffers: list[tuple[str, int]] = field(default_factory=list)  # name, node id: arrays in the arena
    kept: list[tuple[str, int]] = field(default_factory=list)  # arrays written in the prologue: not in the arena
    sizes: list[str] = field(default_factory=list)
    prologue: list[tuple[str, int | None]] = field(default_factory=list)  # line, node
    pieces: list[list[tuple[str, int | None]]] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    locals: list[str] = field(default_factory=list)  # what the step assigns
    result: str = "()"
