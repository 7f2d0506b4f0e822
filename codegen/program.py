"""A Program: the statements of a compiled function, over named buffers. The only thing that code printers see.

A node of the graph becomes one of these:

    input       an array that each call gives
    held        a parameter or state that the function keeps between calls (it has an update)
    constant    an array that is known now
    scalar      a weak value: a Python number, computed once a step, or once a workspace if only sizes enter;
                or one of NumPy's, which only other numbers are computed from
    view        memory of another buffer under another shape
    call        a statement that writes its own buffer

What depends on no argument and nothing held is computed once for each workspace, in the prologue; all else each step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from graphgrad.errors import GraphgradError
from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.operator import Operator
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS, Dimension, Shape, count, promote, size_names, size_of

USUAL = 64  # what a named size is taken for until a call tells it
ALIGNMENT = 64  # bytes: a cache line, and what vector loads like
ITEM_SIZE = {"bool": 1, "int64": 8, "float32": 4, "float64": 8}


class Storage(NamedTuple):
    """Memory that one or several buffers share. `born` and `dies` are positions in the step's statements."""

    size: Dimension  # bytes
    born: int
    dies: int


class Unit(NamedTuple):
    """In what a held value is kept: its state is the value times `factor` · `base`^(count mod `period`)."""

    factor: float
    base: float = 1.0
    period: int = 1
    counter: str = ""  # the name of the state that counts

    def on(self, other: Unit | None) -> Unit:
        """Of what is kept in other units already."""
        return self._replace(factor=self.factor * other.factor) if other is not None and other is not self else self

    def at(self, count: int) -> float:
        return self.factor * self.base ** (count % self.period)


class InUnits(NamedTuple):
    """What a pass did that keeps states in other units."""

    moved: Mapping[int, Tensor]  # where each old node went: of a state, to what it is multiplied by its unit
    own: Mapping[int, Tensor]  # by old id, the states as they are kept
    kept: Mapping[int, Tensor]  # and their new values
    units: Mapping[int, Unit]


@dataclass(frozen=True, slots=True)
class Program:
    """A scheduled list of statements with the buffers that they read and write.

    `prologue` and `step` hold node ids in the order in which they are computed. `passes` fill in the rest: `schedule`
    orders the step, `assign` gives buffers their memory.
    """

    graph: Graph
    roles: Mapping[int, str]  # of each node, see above
    prologue: tuple[int, ...]
    step: tuple[int, ...]
    outputs: tuple[int, ...]
    updates: tuple[tuple[int, int], ...]  # (held leaf, its new value)
    bases: Mapping[int, int]  # a view's id -> the id of the buffer whose memory it shows
    stages: Mapping[int, int]  # 0: computed in the prologue, 1: each step
    storages: Mapping[int, Storage] = field(default_factory=dict)  # of the arena
    storage_of: Mapping[int, int] = field(default_factory=dict)  # a call's id -> its storage (or the held leaf's id)
    placed: Mapping[int, tuple[int, Dimension]] = field(default_factory=dict)  # id -> (its pack, first element in it)
    chains: tuple[tuple[int, ...], ...] = ()  # statements that run block by block
    block: int = 0  # bytes of a vector that a block takes; 0: no blocks
    copies: tuple[tuple[int, int], ...] = ()  # updates that are copied at the end: (held leaf, value)
    origins: Mapping[int, int] = field(default_factory=dict)  # node -> the node of the written graph that it stands for
    turned: frozenset[int] = frozenset()  # nodes that hold the transpose of what they stand for
    with_biases: tuple[int, ...] = ()  # matrices whose last row is a bias
    lasting: frozenset[int] = frozenset()  # concatenations that keep their memory, and constants in it, between steps
    units: Mapping[int, Unit] = field(default_factory=dict)  # of held leaves that are kept in others than their own
    single: frozenset[str] = frozenset()  # named sizes that are 1 in the calls that it is made for
    trained: tuple[int, ...] = ()  # products of two values that a step trains, if it has no use for subnormal numbers
    again: Mapping[int, int] = field(
        default_factory=dict
    )  # a node that computes a value once more -> the first that does
    #: The buffers (no views, no scalars) whose memory each statement reads, each once.
    reads: Mapping[int, tuple[int, ...]] = field(default_factory=dict, repr=False)

    def node(self, id: int) -> Node:
        return self.graph.nodes[id]

    def base(self, id: int) -> int:
        """The buffer in whose memory a node's value lies."""
        return self.bases.get(id, id)

    def is_one(self, extent: Dimension) -> bool:
        """Whether an extent is known to be 1."""
        names = size_names(extent)
        return names <= self.single and size_of(extent, dict.fromkeys(names, 1)) == 1

    def is_single(self, id: int) -> bool:
        """Whether a node's array is known to have one element."""
        return all(map(self.is_one, self.graph.nodes[id].shape))

    @property
    def inputs(self) -> list[Node]:
        return [n for n in self.graph.nodes if self.roles.get(n.id) == "input"]

    @property
    def held(self) -> list[Node]:
        return [n for n in self.graph.nodes if self.roles.get(n.id) == "held"]


def nbytes(node: Node) -> Dimension:
    return _nbytes(node.shape, node.dtype)


@lru_cache(maxsize=1024)
def _nbytes(shape: Shape, dtype: str) -> Dimension:
    return count(shape) * ITEM_SIZE[dtype]


@lru_cache(maxsize=1024)
def usual(size: Dimension) -> int:
    """What a size is taken for before a call tells it."""
    return size_of(size, dict.fromkeys(size_names(size), USUAL))


def usual_sizes(shapes: Iterable[Shape]) -> dict[str, int]:
    """The named sizes of these shapes, as what they are taken for before a call tells them."""
    return dict.fromkeys((name for shape in set(shapes) for d in shape for name in size_names(d)), USUAL)


def operand_dtype(graph: Graph, node: Node) -> str:
    """The dtype in which a weak operand enters a statement: the one that all operands are promoted to."""
    inputs = node.inputs[1:] if node.operator.operands[:1] == ("condition",) else node.inputs
    return promote([(graph.nodes[i].dtype, graph.nodes[i].weak) for i in inputs])[0]


def build(
    graph: Graph, outputs: Sequence[Tensor], updates: Mapping[Tensor, Tensor], arguments: Sequence[Tensor] = ()
) -> Program:
    """The program of a lowered graph, in the order of ids, without memory. Raises for an operator without a spelling.

    `arguments` are leaves that a call gives although nothing may need them.
    """
    replaced = {t.id for t in updates}
    needed = graph.ancestors([t.id for t in (*outputs, *updates.values(), *updates, *arguments)])
    roles: dict[int, str] = {}
    stages: dict[int, int] = {}
    bases: dict[int, int] = {}
    parted: set[int] = set()  # values that are not one run of memory in row-major order
    nodes = graph.nodes
    for id in needed:
        node = nodes[id]
        stages[id] = 1 if any([stages[i] for i in node.inputs]) else 0
        if node.operator.kind == "leaf":
            if node.operator.name == "constant":
                roles[id] = "scalar" if node.weak else "constant"
            else:
                roles[id] = "held" if id in replaced else "input"
                stages[id] = 1
        elif node.weak:
            roles[id] = "scalar"
        elif node.operator.numpy is None:
            raise GraphgradError(f"the numpy target has no spelling of {graph.where(id)}")
        elif node.operator.kind == "view" and _is_view(graph, node, parted):
            roles[id] = "view"
            source = node.inputs[0]
            bases[id] = bases.get(source, source)
            if node.operator.name != "reshape" and (source in parted or not _is_run(graph, node)):
                parted.add(id)
        else:
            roles[id] = "call"
    ends = [t.id for t in (*outputs, *updates.values())]
    for id in inner_numbers(graph, [i for i in needed if roles[i] == "call"], needed, ends):
        roles[id] = "scalar"
    statements = [i for i in needed if roles[i] in ("scalar", "view", "call")]
    prologue = tuple([i for i in statements if not stages[i]])
    step = tuple([i for i in statements if stages[i]])
    reads: dict[int, tuple[int, ...]] = {}
    for id in statements:
        read = [bases.get(i, i) for i in nodes[id].inputs]
        buffers = [b for b in read if roles[b] != "scalar"]
        reads[id] = tuple(buffers if len(buffers) < 2 else dict.fromkeys(buffers))
    pairs = tuple((leaf.id, value.id) for leaf, value in updates.items() if leaf.id != value.id)
    return Program(graph, roles, prologue, step, tuple(t.id for t in outputs), pairs, bases, stages, reads=reads)


def is_of_numbers(graph: Graph, node: Node) -> bool:
    """Whether a statement computes one number from numbers that only the data tells, by the arithmetic of scalars."""
    if node.shape or node.dtype not in FLOATS or not number_template(node.operator):
        return False
    for i in node.inputs:
        n = graph.nodes[i]
        if n.shape or not (n.weak or n.dtype in FLOATS):
            return False
    return True


@lru_cache(maxsize=1024)
def number_template(op: Operator) -> str:
    """The spelling of an operator between scalars; "" where it has none, as what is no function of NumPy's."""
    if op.kind != "elementwise" or op.scalar:
        return op.scalar if op.kind == "elementwise" else ""
    spelled = op.numpy if isinstance(op.numpy, str) and op.numpy.startswith("np.") and not op.defaults else ""
    on_arrays = ", out={out}" not in spelled or "{zeros}" in spelled or ":wide}" in spelled
    return "" if on_arrays else spelled.replace(", out={out}", "")


def inner_numbers(graph: Graph, calls: Sequence[int], needed: Sequence[int], ends: Sequence[int]) -> set[int]:
    """The numbers of rank 0 that nothing but such statements read, so that they need no memory.

    What a choice gives, and what is made of Python's numbers alone, may be one of Python's, which divide otherwise.
    """
    nodes = graph.nodes
    of_numbers = {i for i in calls if not nodes[i].shape and is_of_numbers(graph, nodes[i])}
    read = {*ends}  # by other statements
    for id in needed if of_numbers else ():
        if id not in of_numbers:
            read.update(nodes[id].inputs)
    inner = [nodes[i] for i in of_numbers - read if nodes[i].operator.operands[0] != "condition"]
    return {n.id for n in inner if not all([nodes[i].weak for i in n.inputs])}


def _is_view(graph: Graph, node: Node, parted: set[int]) -> bool:
    """False where the memory at hand cannot show the value: a reshape of what is not in row-major order."""
    source = node.inputs[0]
    if graph.nodes[source].weak:  # a number has no memory of its own, also where it is given or held
        return False
    return node.operator.name != "reshape" or source not in parted


def _is_run(graph: Graph, node: Node) -> bool:
    """Whether a view takes whole rows that follow each other: all of them, or a slice of the first axis alone."""
    if node.operator.name == "checked_label":
        return True
    if node.operator.name != "slice" or not node.shape:
        return False
    return node["step"][0] == 1 and node.shape[1:] == graph.nodes[node.inputs[0]].shape[1:]


def refusing(program: Program) -> set[int]:
    """The statements that may raise for what they are given, or beside which a view does: a label that is no class.

    Until the last of them nothing is written over what the function keeps, so that a call that raises changes nothing.
    """
    nodes = program.graph.nodes
    return {program.base(id) for id in program.step if nodes[id].operator.refuses and nodes[id].dtype not in FLOATS}


def per_call_views(program: Program) -> set[int]:
    """Views of what the caller gives: made anew each call. All others are made once, with the workspace."""
    return {i for i in program.step if program.roles[i] == "view" and program.roles[program.base(i)] == "input"}


def passing_views(program: Program) -> set[int]:
    """Views without a name that only another view is made of: their text stands inside of its own."""
    roles = program.roles
    statements = (*program.prologue, *program.step)
    used: dict[int, list[int]] = {id: [] for id in statements if roles[id] == "view"}
    for id in statements if used else ():
        for i in program.graph.nodes[id].inputs:
            if i in used:
                used[i].append(id)
    kept = {*program.outputs, *program.graph.names, *(value for _, value in program.updates)}
    return {id for id, users in used.items() if len(users) == 1 and roles[users[0]] == "view" and id not in kept}


def whole_base(program: Program, id: int) -> int | None:
    """The buffer that an operand shows whole and in order (itself, or under reshapes), else None."""
    while program.roles[id] == "view":
        if program.node(id).operator.name != "reshape":
            return None
        id = program.node(id).inputs[0]
    return id


def flops(program: Program) -> Dimension:
    """Floating-point operations of one step, its numbers aside."""
    total: Dimension = 0
    for id in program.step:
        total = total + statement_flops(program, id)
    return total


def statement_flops(program: Program, id: int) -> Dimension:
    """2·m·n·k for a product, else one for each element written, reduced or picked; nothing for what is not computed
    over arrays."""
    node = program.node(id)
    if program.roles[id] == "view" or node.weak or node.operator.kind == "pack":
        return 0
    shapes: list[Shape] = [program.node(i).shape for i in node.inputs]
    if node.operator.name == "matmul":
        return count(node.shape) * shapes[0][-1] * 2
    if node.operator.over:
        return count(shapes[1])
    reduces = node.operator.kind != "elementwise" and shapes
    return count(shapes[0]) if reduces else count(node.shape)


def scheduled(program: Program, order: Sequence[int]) -> Program:
    return replace(program, step=tuple(order))
