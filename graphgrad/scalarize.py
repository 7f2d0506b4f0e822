"""A small tensor graph written out in numbers: a node for each neuron and product, x_j = φ(Σ w_ij x_i + b_j)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from graphgrad.collector import paused_gc
from graphgrad.errors import GraphgradError
from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.operator import OPERATORS
from graphgrad.rewrite import carry, lower, rebuild
from graphgrad.tensor import Tensor
from graphgrad.types import Array, Dim, Dimension, Shape, Sizes, bind, show, size_names, size_of

#: Tensors of rank 0 in the shape of the tensor that they write out.
Entries: TypeAlias = npt.NDArray[np.object_]

LIMIT = 100_000  # entries of one tensor, or products of one matmul: what is longer is no picture and no lecture

#: Reductions whose NumPy spelling compares, which nodes cannot.
FOLDED = {"max": "maximum", "min": "minimum", "prod": "multiply"}


class Scalarized(Mapping[Tensor, Entries]):
    """The written-out graph, and the entries of each tensor that was asked for and of each leaf of the old one.

    `s[W][0, 1]` is the Tensor of W_1_2; of a tensor of rank 0, `s.scalar(L)` is the one Tensor.
    """

    def __init__(self, graph: Graph, entries: Mapping[Tensor, Entries]) -> None:
        self.graph = graph
        self._entries = dict(entries)

    def __getitem__(self, tensor: Tensor) -> Entries:
        return self._entries[tensor]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def scalar(self, tensor: Tensor) -> Tensor:
        """The one entry of a tensor of rank 0."""
        if self[tensor].size != 1:
            raise GraphgradError(f"{tensor.name} has {self[tensor].size} entries; scalar takes a tensor of one")
        only: Tensor = self[tensor].reshape(-1)[0]
        return only

    def __repr__(self) -> str:
        return (
            f"<scalarized: {', '.join(f'{t.name} {show(e.shape)}' for t, e in self._entries.items())}; "
            f"{len(self.graph.nodes)} nodes>"
        )


def scalarize(tensors: Tensor | Sequence[Tensor] | Graph, sizes: Sizes | None = None) -> Scalarized:
    """Write a small graph out in a new graph of numbers: a node for each neuron and each product.

    Of a Graph, everything is written out that no other node needs. `sizes` says what the named sizes are: 1 unless
    told otherwise. Leaves are named after their entries, from 1: W_1_2, b_1. An axis of a named size that is 1 (one
    sample) has no index. Raises GraphgradError where an entry is chosen by data (an index that is an input).

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> x, W, b = g.input("x", ("N", 2)), g.parameter("W", (1, 2)), g.parameter("b", (1,))
    >>> y = gg.tanh(x @ W.T + b)
    >>> s = gg.scalarize(y)
    >>> gg.to_sympy(s.scalar(y))
    tanh(W_1_1*x_1 + W_1_2*x_2 + b_1)
    """
    if isinstance(tensors, Graph):
        used = {i for node in tensors.nodes for i in node.inputs}
        wanted = [tensors.tensor(n.id) for n in tensors.nodes if n.id not in used and n.operator.name != "constant"]
    else:
        wanted = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not wanted:
        raise GraphgradError("scalarize was given nothing to write out")
    if not all(isinstance(t, Tensor) and t.graph is wanted[0].graph for t in wanted):
        raise GraphgradError("scalarize takes tensors of one graph")
    old = wanted[0].graph
    leaves = [old.tensor(i) for i in old.ancestors([t.id for t in wanted]) if old.nodes[i].operator.kind == "leaf"]
    named = sorted(
        {name for i in old.ancestors([t.id for t in wanted]) for d in old.nodes[i].shape for name in size_names(d)}
    )
    numbers = {**dict.fromkeys(named, 1), **(sizes or {})}
    bound, moved = _bound(wanted, numbers)
    plain, again = lower([bound.tensor(moved[t.id].id) for t in wanted], _written_entrywise)
    writer = _Writer(
        plain, {again[moved[t.id].id].id: _indexed(t.shape, numbers) for t in leaves if moved[t.id].id in again}
    )
    with paused_gc():
        entries = writer.write([again[moved[t.id].id].id for t in wanted])
    shown = [t for t in (*leaves, *wanted) if moved[t.id].id in again and again[moved[t.id].id].id in entries]
    return Scalarized(writer.new, {t: entries[again[moved[t.id].id].id] for t in shown})


def _indexed(shape: Shape, sizes: Sizes) -> tuple[bool, ...]:
    """Which axes of a leaf have an index in the names of its entries."""
    return tuple(isinstance(d, int) or size_of(d, sizes) != 1 for d in shape)


def _bound(wanted: Sequence[Tensor], sizes: Sizes) -> tuple[Graph, dict[int, Tensor]]:
    """The same graph with numbers in place of the named sizes."""

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        if node.operator.kind == "size":
            return new.constant(_number(node["dim"], sizes))
        attributes = {name: bind(value, sizes) for name, value in node.attributes}
        return new.insert(node.operator, tuple(t.id for t in inputs), attributes)

    return rebuild(wanted, visit)


def _number(dim: Dimension, sizes: Sizes) -> int:
    return size_of(dim, sizes) if isinstance(dim, Dim) else dim


def _written_entrywise(node: Node) -> bool:
    """What is written out as it stands: functions of single numbers, and what only moves and adds."""
    return node.operator.kind in ("elementwise", "leaf", "size", "view") or node.operator.name in (
        "sum",
        "matmul",
        *FOLDED,
    )


class _Writer:
    def __init__(self, old: Graph, indexed: Mapping[int, tuple[bool, ...]]) -> None:
        self.old = old
        self.new = Graph()
        self.indexed = indexed
        self.numbers: dict[int, Array] = {}  # integers and bools that depend on no leaf: indices

    def write(self, wanted: Sequence[int]) -> dict[int, Entries]:
        entries: dict[int, Entries] = {}
        for id in self.old.ancestors(wanted):
            node = self.old.nodes[id]
            if int(np.prod(_shape(node))) > LIMIT:
                raise GraphgradError(
                    f"{self.old.where(id)} has {int(np.prod(_shape(node)))} entries: scalarize is for small graphs"
                )
            with self.new.asked_by(self.old.lines.get(id, ())):
                entries[id] = self.node(node, [entries[i] for i in node.inputs])
            if node.operator.kind != "leaf":
                self.name(node, entries[id])
        return entries

    def node(self, node: Node, operands: list[Entries]) -> Entries:
        name, kind = node.operator.name, node.operator.kind
        if name == "constant":
            return self.constants(node, node["value"].array)
        if kind != "leaf" and not node.dtype.startswith("float") and all(i in self.numbers for i in node.inputs):
            given = [self.numbers[i] for i in node.inputs]
            return self.constants(node, node.operator.reference(*given, **dict(node.attributes)))
        if kind == "leaf":
            return self.leaf(node)
        if kind == "elementwise" or name in ("checked_index", "checked_label"):
            spread = np.broadcast_arrays(*operands) if len({o.shape for o in operands}) > 1 else operands
            attributes = dict(node.attributes)
            return _entries(
                _shape(node), lambda index: self.new.apply(node.operator, [o[index] for o in spread], attributes)
            )
        if name == "matmul":
            return self.matmul(node, *operands)
        if name in FOLDED:
            return self.folded(node, operands[0])
        if name == "gather" and node.inputs[1] not in self.numbers:
            return self.chosen(node, *operands)
        return self.moved(node, operands)

    def constants(self, node: Node, value: Any) -> Entries:
        array = np.asarray(value, node.dtype)
        if not node.dtype.startswith("float"):
            self.numbers[node.id] = array
        return _entries(array.shape, lambda index: self.new.constant(array.item() if node.weak else array[index]))

    def leaf(self, node: Node) -> Entries:
        kept = self.indexed.get(node.id, (True,) * len(node.shape))

        def made(index: tuple[int, ...]) -> Tensor:
            own = [str(i + 1) for i, keep in zip(index, kept, strict=True) if keep]
            name = "_".join([node["name"], *own])
            if node.operator.name == "parameter":
                return self.new.parameter(name, (), node.dtype)
            make = self.new.input if node.operator.name == "input" else self.new.state
            return make(name, (), node.dtype, weak=node.weak)

        return _entries(_shape(node), made)

    def name(self, node: Node, entries: Entries) -> None:
        """z of shape (1, 3) becomes z_1, z_2, z_3: an axis of one entry has no index."""
        if entries.ndim == 0:
            carry(self.old, node.id, entries.item())
            return
        for name in self.old.names.get(node.id, ()):
            for index in np.ndindex(entries.shape):
                own = [str(i + 1) for i, extent in zip(index, entries.shape, strict=True) if extent != 1]
                full = "_".join([name, *own])
                if full not in self.new:
                    entry: Tensor = entries[index]  # type: ignore[assignment]
                    self.new.set_name(entry.id, full)

    def matmul(self, node: Node, x: Entries, y: Entries) -> Entries:
        """Each entry a sum of products."""
        row, column = x.ndim == 1, y.ndim == 1
        x, y = (x[None, :] if row else x), (y[:, None] if column else y)
        batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        x, y = np.broadcast_to(x, (*batch, *x.shape[-2:])), np.broadcast_to(y, (*batch, *y.shape[-2:]))
        if int(np.prod((*batch, x.shape[-2], y.shape[-1], x.shape[-1]))) > LIMIT:
            raise GraphgradError(f"{self.old.where(node.id)} has over {LIMIT} products: scalarize is for small graphs")

        def entry(index: tuple[int, ...]) -> Tensor:
            *batches, i, j = index
            products = [x[(*batches, i, k)] * y[(*batches, k, j)] for k in range(x.shape[-1])]
            return self.total(node, products)

        result = _entries((*batch, x.shape[-2], y.shape[-1]), entry)
        result = result[..., 0, :] if row else result
        return result[..., 0] if column else result

    def total(self, node: Node, parts: Sequence[Tensor]) -> Tensor:
        if not parts:
            return self.new.constant(np.zeros((), node.dtype))
        result = parts[0]
        for part in parts[1:]:
            result = result + part
        return result

    def folded(self, node: Node, x: Entries) -> Entries:
        axes = node["axis"]
        axes = axes if isinstance(axes, tuple) else (axes,)
        rest = [a for a in range(x.ndim) if a not in axes]
        flat = x.transpose(*rest, *axes).reshape(*(x.shape[a] for a in rest), -1)

        def entry(index: tuple[int, ...]) -> Tensor:
            result, *others = flat[index]
            for other in others:
                result = OPERATORS[FOLDED[node.operator.name]](result, other)
            return result  # type: ignore[no-any-return]

        return _entries(flat.shape[:-1], entry).reshape(_shape(node))

    def chosen(self, node: Node, x: Entries, indices: Entries) -> Entries:
        """Which entry it is depends on data: where(i = 0, x_1, where(i = 1, x_2, ...))."""
        axis = node["axis"]

        def entry(index: tuple[int, ...]) -> Tensor:
            before, at, after = index[:axis], index[axis : axis + indices.ndim], index[axis + indices.ndim :]
            candidates = [x[(*before, k, *after)] for k in range(x.shape[axis])]
            result: Tensor = candidates[-1]
            for k in reversed(range(len(candidates) - 1)):
                result = OPERATORS["where"](indices[at] == k, candidates[k], result)
            return result

        return _entries(_shape(node), entry)

    def moved(self, node: Node, operands: list[Entries]) -> Entries:
        """What only moves and adds: NumPy does it, on arrays of nodes. Indices must be constants."""
        given: list[Any] = []
        for i, array in zip(node.inputs, operands, strict=True):
            source = self.old.nodes[i]
            if i in self.numbers:
                given.append(self.numbers[i])
            elif source.dtype.startswith("float") or node.operator.kind == "view":
                given.append(array)
            else:
                raise GraphgradError(
                    f"scalarize cannot write out {self.old.where(node.id)}: which entry it takes depends on "
                    f"{self.old.label(i)}, which is no constant"
                )
        try:
            with np.errstate(all="ignore"):
                result = node.operator.reference(*given, **dict(node.attributes))
        except (TypeError, GraphgradError):
            raise GraphgradError(
                f"scalarize cannot write out {self.old.where(node.id)}: it is no sum of single entries"
            ) from None
        array = np.empty(_shape(node), dtype=object)
        array[() if isinstance(result, Tensor) else ...] = result  # by (), NumPy takes one Tensor as it is
        zero = np.zeros((), node.dtype)
        return _entries(
            array.shape, lambda index: t if isinstance(t := array[index], Tensor) else self.new.constant(zero + t)
        )


def _shape(node: Node) -> tuple[int, ...]:
    return tuple(d for d in node.shape if isinstance(d, int))


def _entries(shape: tuple[int, ...], made: Callable[[tuple[int, ...]], Tensor]) -> Entries:
    """An array of tensors: filled one by one, so that NumPy never looks into a Tensor."""
    result = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        result[index] = made(index)
    return result
