"""The explicit computation graph: Graph owns it, Node is a frozen record in it, Tensor is a handle that builds more.

A graph only grows and a node never changes. Ids are given in insertion order, so ids are a topological order.
Equal nodes are one node: insertion looks (operator, inputs, attributes) up. Names, lines, scopes and the records of
derivations stand beside the node and are no part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from graphgrad.errors import GraphgradError, Line, NameClashError, ShapeError, show_line, user_line
from graphgrad.node import Attributes, Node, Record, make_node
from graphgrad.operator import OPERATORS, Operator
from graphgrad.tensor import Operand, Tensor
from graphgrad.types import Dimension, Shape, Value, dimension, dtype_name, has_sizes, show

if TYPE_CHECKING:
    import networkx

T = TypeVar("T")


class Graph:
    """An explicit computation graph.

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> x, w = g.input("x", ("N", 3)), g.parameter("w", (3,))
    >>> (x @ w).shape
    (N,)
    >>> len(g.nodes), g.nx.number_of_edges()
    (3, 2)
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []  # by id
        self.names: dict[int, tuple[str, ...]] = {}  # the first is shown, all are found
        self.lines: dict[int, tuple[Line, ...]] = {}  # the user's lines that asked for a node
        self.scopes: dict[int, str] = {}
        self.records: dict[int, Record] = {}  # the first derivation step that made a node
        self._ids: dict[Any, int] = {}
        self._named: dict[str, int] = {}
        self._numbers: dict[tuple[type, Any], int] = {}  # Python's numbers that are constants already
        self._tensors: list[Tensor] = []
        self._nx: networkx.MultiDiGraph[int] | None = None
        self._scope = ""
        self._asking: tuple[Line, ...] | None = None  # set while a pass builds in a user's stead

    # -- leaves -------------------------------------------------------------------------------------------------------

    def input(
        self, name: str, shape: Sequence[int | str | Dimension] = (), dtype: str = "float64", *, weak: bool = False
    ) -> Tensor:
        """A value that each call gives. `shape` holds ints and names such as "N"; a weak one is a Python number."""
        return self._leaf("input", name, shape, dtype, weak)

    def parameter(self, name: str, shape: Sequence[int | str | Dimension] = (), dtype: str = "float64") -> Tensor:
        """A value that training finds: `derive` differentiates by all of them unless told otherwise."""
        return self._leaf("parameter", name, shape, dtype, False)

    def state(
        self, name: str, shape: Sequence[int | str | Dimension] = (), dtype: str = "float64", *, weak: bool = False
    ) -> Tensor:
        """Like a parameter, but no gradient is asked for. It starts at zero."""
        return self._leaf("state", name, shape, dtype, weak)

    def constant(self, value: Any) -> Tensor:
        """A constant. Python's numbers are weak: they never widen a float array."""
        weak = type(value) in (bool, int, float)
        # By repr, 0.0 and -0.0 are two; that of an array would take long.
        number = (type(value), value if weak and value else repr(value) if weak else "")
        if weak and number in self._numbers:
            return self._asked(self._numbers[number])
        try:
            held = Value.of(value)
        except OverflowError:
            raise GraphgradError(f"the constant {value} does not fit int64").at(self._line()) from None
        except GraphgradError as error:
            raise error.at(self._line()) from None
        made = self.insert(OPERATORS["constant"], (), {"value": held, "weak": weak})
        if weak:
            self._numbers[number] = made.id
        return made

    def _leaf(self, kind: str, name: str, shape: Sequence[Any], dtype: str, weak: bool) -> Tensor:
        try:
            if not isinstance(name, str) or not name:
                raise NameClashError(f"the name of an {kind} is text, but {name!r} was given")
            if isinstance(shape, (int, str)):
                raise ShapeError(f"the shape of {name} is a tuple such as ({shape!r},), but {shape!r} was given")
            if not isinstance(shape, Iterable):
                raise ShapeError(
                    f"the shape of {name} is a tuple such as (), (3,) or ('N', 2), but {shape!r} was given"
                )
            dims = tuple(dimension(d) for d in shape)
            dtype = dtype_name(dtype)
            if weak and dims:
                raise ShapeError(f"{name} is weak, so its shape is (), but {show(dims)} was given")
            if name in self._named:
                found = self.nodes[self._named[name]]
                asked = (kind, dims, dtype, weak)
                is_it = found.operator.kind == "leaf" and found["name"] == name
                if not is_it or (found.operator.name, found.shape, found.dtype, found.weak) != asked:
                    raise NameClashError(
                        f"{kind} {name} {show(dims)} {dtype} was asked for, but {name} names a node already: "
                        f"{found.operator.name} {show(found.shape)} {found.dtype}{self.made(found.id)}"
                    )
            attributes = {"name": name, "shape": dims, "dtype": dtype, "weak": weak}
            leaf = self.insert(OPERATORS[kind], (), attributes)
        except GraphgradError as error:
            raise error.at(self._line()) from None
        if name not in self._named:
            self.set_name(leaf.id, name)
        return leaf

    # -- insertion ----------------------------------------------------------------------------------------------------

    def apply(self, operator: Operator, operands: Sequence[Operand], attributes: Mapping[str, Any]) -> Tensor:
        """A node from operands of any kind: numbers and arrays become constants. What operators and `+` call.

        NumPy's numbers are arrays of rank 0, but beside weak values alone they are Python's: the result has rank 0 and
        depends on no data, so it is weak too.
        """
        ids = []
        for operand in operands:
            if isinstance(operand, Tensor):
                if operand.graph is not self:
                    raise GraphgradError(
                        f"{operator.name} was given tensors of two graphs; a node has all of its inputs in one"
                    ).at(self._line())
                ids.append(operand.id)
            else:
                value: Any = operand
                if isinstance(operand, NUMBERS) and _no_array(operands):
                    value = operand.item()
                ids.append(self.constant(value).id)
        return self.insert(operator, tuple(ids), attributes)

    def insert(self, operator: Operator, inputs: tuple[int, ...], attributes: Mapping[str, Any]) -> Tensor:
        """The node (operator, inputs, attributes), found or made. Infers shape and dtype, folds constants."""
        nodes = self.nodes
        key = (operator, inputs, tuple(attributes.items()) if attributes else ())
        if not attributes and (found := self._ids.get(key)) is not None:
            return self._asked(found)
        try:
            shape, dtype, attributes, weak = operator.infer(*[nodes[i] for i in inputs], **attributes)
            found = None
            if attributes or key[2]:  # now in their canonical form
                key = (operator, inputs, tuple(attributes.items()))
                found = self._ids.get(key)
            if found is None:
                if weak is None:
                    weak = not shape and all([nodes[i].weak for i in inputs])
                node = make_node(len(nodes), operator, inputs, key[2], shape, dtype, weak)
                folded = self._fold(node)
                if folded is None:
                    found = self._append(key, node)
                else:
                    self._ids[key] = found = folded.id  # asked for again, the expression is the constant at once
        except GraphgradError as error:
            raise error.at(self._line()) from None
        return self._asked(found)

    def _asked(self, id: int) -> Tensor:
        """The tensor of a node, with the line that asked for it on record."""
        if self._asking is not None:
            if id not in self.lines:
                self.lines[id] = self._asking
        elif (line := user_line()) is not None:
            asked = self.lines.get(id, ())
            if line not in asked:
                self.lines[id] = (*asked, line)
        return self._tensors[id]

    def adopt(self, node: Node, inputs: tuple[int, ...]) -> Tensor:
        """A node of another graph on inputs of this one. Where they are alike, nothing is inferred a second time."""
        key = (node.operator, inputs, node.attributes)
        found = self._ids.get(key)
        if found is None:
            nodes = self.nodes
            if inputs and nodes[inputs[0]].operator.name == "constant":
                if all([nodes[i].operator.name == "constant" for i in inputs]):
                    return self.insert(node.operator, inputs, dict(node.attributes))  # it may fold
            if node.id != len(nodes) or node.inputs != inputs:  # else it is the very node
                node = make_node(len(nodes), *key, node.shape, node.dtype, node.weak)
            found = self._append(key, node)
        if self._asking is None:
            return self._asked(found)
        if found not in self.lines:
            self.lines[found] = self._asking
        return self._tensors[found]

    def place(
        self, operator: Operator, inputs: tuple[int, ...], attributes: Attributes, shape: Shape, dtype: str
    ) -> Tensor:
        """A node whose type is known, and not weak: found or made, with nothing inferred. For passes and rules."""
        return self.adopt(make_node(len(self.nodes), operator, inputs, attributes, shape, dtype, False), inputs)

    def again(self, node: Node, inputs: tuple[int, ...]) -> Tensor:
        """A node of another graph on inputs of this one, also where an equal one is here: no look-up finds it.

        For passes alone that compute a value a second time in order not to keep it.
        """
        key = (node.operator, inputs, node.attributes)
        made = make_node(len(self.nodes), *key, node.shape, node.dtype, node.weak)
        return self._asked(self._append((*key, made.id), made))

    def head(self, end: int) -> Graph:
        """A graph of the nodes before `end`, with all that is known of them."""
        new = Graph()
        if not end:
            return new
        new.nodes = self.nodes[:end]
        new._tensors = [Tensor(new, id) for id in range(end)]
        new._ids = dict(self._ids)  # a copy hashes no key again
        # What was folded leads to a node of the head, though its operands may lie behind it.
        for key in [key for key, id in self._ids.items() if id >= end or max(key[1], default=0) >= end]:
            del new._ids[key]
        new._named = {name: id for name, id in self._named.items() if id < end}
        new._numbers = {number: id for number, id in self._numbers.items() if id < end}
        new.names, new.lines = _before(end, self.names), _before(end, self.lines)
        new.scopes, new.records = _before(end, self.scopes), _before(end, self.records)
        return new

    def _append(self, key: Any, node: Node) -> int:
        self.nodes.append(node)
        self._ids[key] = node.id
        self._tensors.append(Tensor(self, node.id))
        if self._scope:
            self.scopes[node.id] = self._scope
        return node.id

    @property
    def nx(self) -> networkx.MultiDiGraph[int]:
        """The graph for networkx: node attribute "node" is the Node, edge key = operand position (x * x has two edges).

        It is one graph that grows when it is asked for: most graphs that passes make are never looked at this way, and
        networkx is imported for those that are.
        """
        import networkx

        if self._nx is None:
            self._nx = networkx.MultiDiGraph()
        for node in self.nodes[len(self._nx) :]:
            self._nx.add_node(node.id, node=node)
            for position, operand in enumerate(node.inputs):
                self._nx.add_edge(operand, node.id, key=position)
        return self._nx

    def _fold(self, node: Node) -> Tensor | None:
        """A constant where all operands are, unless that would hold more numbers than the operands do."""
        for i in node.inputs:
            if self.nodes[i].operator.name != "constant":
                return None
        if not node.inputs or has_sizes(tuple(value for _, value in node.attributes)):  # a size is known at the call
            return None
        values = [self.nodes[i]["value"].array for i in node.inputs]
        sizes = [d for d in node.shape if isinstance(d, int)]
        if len(sizes) < len(node.shape) or int(np.prod(sizes)) > max(v.size for v in values):
            return None
        # Weak operands enter as Python's numbers: NumPy then lets them widen nothing, as the shape rules say.
        arrays = [v.item() if self.nodes[i].weak else v for v, i in zip(values, node.inputs, strict=True)]
        try:
            with np.errstate(all="ignore"):
                result = np.asarray(node.operator.reference(*arrays, **dict(node.attributes))).astype(node.dtype)
        except ValueError as error:
            raise GraphgradError(f"{node.operator.name} of constants: {error}") from None
        return self.insert(OPERATORS["constant"], (), {"value": Value.of(result), "weak": node.weak})

    def tensor(self, id: int) -> Tensor:
        """The handle of a node: always the same object, so that tensors serve as keys."""
        return self._tensors[id]

    def tensors(self, ids: Iterable[int]) -> tuple[Tensor, ...]:
        """The handles of several nodes."""
        known = self._tensors
        return tuple([known[id] for id in ids])

    # -- names, lines, scopes -----------------------------------------------------------------------------------------

    def set_name(self, id: int, name: str) -> None:
        """Give a node a (further) name. A name leads to one node."""
        if not isinstance(name, str) or not name:
            raise NameClashError(f"the name of a node is text, but {name!r} was given").at(self._line())
        taken = self._named.setdefault(name, id)
        if taken != id:
            raise NameClashError(f"{name} names another node already{self.made(taken)}").at(self._line())
        if name not in self.names.get(id, ()):
            self.names[id] = (*self.names.get(id, ()), name)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._named:
            raise NameClashError(f"no node is named {name!r}; there are: {', '.join(sorted(self._named)) or 'none'}")
        return self._tensors[self._named[name]]

    def __contains__(self, name: object) -> bool:
        return name in self._named

    def label(self, id: int) -> str:
        """A node's first name, or v and its id."""
        names = self.names.get(id)
        if names:
            return names[0]
        node = self.nodes[id]
        return repr(node["value"]) if node.operator.name == "constant" else f"v{id}"

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Nodes made inside belong to the scope, for folding in pictures. Scopes nest: "encoder/layer1"."""
        outer = self._scope
        self._scope = f"{outer}/{name}" if outer else name
        try:
            yield
        finally:
            self._scope = outer

    @contextmanager
    def asked_by(self, lines: tuple[Line, ...]) -> Iterator[None]:
        """Nodes made inside were asked for by these lines: a pass builds in the user's stead."""
        outer, self._asking = self._asking, lines
        try:
            yield
        finally:
            self._asking = outer

    def asks(self, lines: tuple[Line, ...]) -> None:
        """Inside of `asked_by`: from now on by these lines."""
        self._asking = lines

    def _line(self) -> Line | None:
        return self._asking[0] if self._asking else user_line()

    def made(self, id: int) -> str:
        """The user's line that first asked for a node, as an error tells of it; "" where it is not known."""
        lines = self.lines.get(id)
        return f" (made at {show_line(lines[0])})" if lines else ""

    def where(self, id: int) -> str:
        """A node as an error tells of it: its name, operator and the user's line."""
        return f"{self.label(id)} = {self.nodes[id].operator.name}{self.made(id)}"

    # -- what is in it ------------------------------------------------------------------------------------------------

    def leaves(self, kind: str) -> list[Tensor]:
        """All leaves of one kind ("input", "parameter", "state", "constant"), in insertion order."""
        return [self._tensors[n.id] for n in self.nodes if n.operator.name == kind]

    def ancestors(self, ids: Sequence[int]) -> list[int]:
        """The ids that the given ones are computed from, themselves included, in topological order."""
        nodes = self.nodes
        needed = bytearray(max(ids, default=-1) + 1)
        for i in ids:
            needed[i] = 1
        for id in range(len(needed) - 1, -1, -1):  # what a node is computed from has lower ids
            if needed[id]:
                for i in nodes[id].inputs:
                    needed[i] = 1
        return [id for id, wanted in enumerate(needed) if wanted]

    def to_networkx(self) -> networkx.MultiDiGraph[int]:
        """A copy whose attributes are plain strings, for GraphML, GEXF and the like."""
        import networkx

        plain: networkx.MultiDiGraph[int] = networkx.MultiDiGraph()
        for node in self.nodes:
            plain.add_node(
                node.id,
                operator=node.operator.name,
                name=self.label(node.id),
                shape=show(node.shape),
                dtype=node.dtype,
                attributes=", ".join(f"{k}={v!r}" for k, v in node.attributes),
            )
        for source, target, key in self.nx.edges(keys=True):
            plain.add_edge(source, target, key=key, operand=str(key))
        return plain

    def __repr__(self) -> str:
        return f"<graph of {len(self.nodes)} nodes: {', '.join(self._named) or 'nothing named'}>"


#: NumPy's numbers.
NUMBERS = (np.bool_, np.integer, np.floating)


def _before(end: int, known: Mapping[int, T]) -> dict[int, T]:
    """What is known of the nodes before that one."""
    return {id: value for id, value in known.items() if id < end}


def _no_array(operands: Sequence[Operand]) -> bool:
    """Whether all operands are weak Tensors and numbers."""
    return all(o.node.weak if isinstance(o, Tensor) else isinstance(o, (*NUMBERS, bool, int, float)) for o in operands)
