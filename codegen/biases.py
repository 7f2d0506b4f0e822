"""Biases as one more row of their matrices: h @ W + b = [h 1] @ [W; b], a product in place of a product and a sum.

Where b follows W in one vector, [W; b] lies there already. Where h lies transposed, its memory with a row of ones below
is [h 1] transposed; the row is written in each step, since that memory serves other values too. An input is copied
beside a column of ones, which is written once for each workspace. A product with either is also two gradients at once:
[h 1]ᵀ @ z̄ = [W̄; b̄], in a vector where b̄ follows W̄.

`graphgrad.codegen.layout` says for which h.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.operators.linear import swap
from graphgrad.operators.slices import slice_
from graphgrad.rewrite import name_of, op
from graphgrad.tensor import Tensor


class Affine(NamedTuple):
    """A sum h @ W + b."""

    h: int
    matrix: int
    bias: int
    vector: int  # in which W lies, and then b
    start: int  # of W


class Gradients(NamedTuple):
    """hᵀ @ z̄ and the sum of the rows of z̄, one after the other in a vector."""

    h: int
    z_bar: int
    of_matrix: int
    of_bias: int


class Biases(NamedTuple):
    affine: Mapping[int, Affine]  # by the sum
    gradients: Mapping[int, Gradients]  # by the sum of rows


def find_biases(graph: Graph, ids: Sequence[int], keep: Collection[int]) -> Biases:
    """All sums of either kind that nothing but the product, or the vector, stands beside."""
    users: dict[int, int] = dict.fromkeys(keep, 2)
    for id in ids:
        for i in graph.nodes[id].inputs:
            users[i] = users.get(i, 0) + 1
    affine: dict[int, Affine] = {}
    gradients: dict[int, Gradients] = {}
    for node in [graph.nodes[id] for id in ids]:
        if node.operator.name == "add" and (found := _affine(graph, node)) is not None:
            if all(users[i] == 1 for i in node.inputs if graph.nodes[i].operator.name == "matmul"):
                affine[node.id] = found
        elif node.operator.kind == "pack":
            for pair in pairwise(node.inputs):
                both = _gradients(graph, *pair) if users[pair[0]] == users[pair[1]] == 1 else None
                if both is not None:
                    gradients[both.of_bias] = both
    return Biases(affine, gradients)


def _affine(graph: Graph, node: Node) -> Affine | None:
    for id, bias in (node.inputs, node.inputs[::-1]):
        product = graph.nodes[id]
        if product.operator.name != "matmul" or product.shape != node.shape or len(node.shape) != 2:
            continue
        h, matrix = product.inputs
        first, then = _run(graph, matrix), _run(graph, bias)
        ranks = [len(graph.nodes[i].shape) for i in (h, matrix, bias)]
        follows = first and then and (first.vector, first.stop) == (then.vector, then.start)
        if first and follows and ranks == [2, 2, 1] and graph.nodes[bias].shape == node.shape[1:]:
            return Affine(h, matrix, bias, first.vector, first.start)
    return None


def _gradients(graph: Graph, first: int, then: int) -> Gradients | None:
    product, total = graph.nodes[first], graph.nodes[then]
    if product.operator.name != "matmul" or len(product.shape) != 2 or total.operator.name != "sum":
        return None
    turned, z_bar = [graph.nodes[i] for i in product.inputs]
    if turned.operator.name != "transpose" or total.inputs != (z_bar.id,) or len(z_bar.shape) != 2:
        return None
    if turned["axes"] != (1, 0) or total["axis"] != (0,) or total["keepdims"]:
        return None
    return Gradients(turned.inputs[0], z_bar.id, first, then)


class Run(NamedTuple):
    """Elements of a vector that follow each other."""

    vector: int
    start: int
    stop: int


def _run(graph: Graph, id: int) -> Run | None:
    node = graph.nodes[id]
    if node.operator.name == "reshape":
        node = graph.nodes[node.inputs[0]]
    if node.operator.name != "slice" or len(node.shape) != 1 or node["step"] != (1,):
        return None
    (start,), (stop,) = node["start"], node["stop"]
    return Run(node.inputs[0], start, stop) if isinstance(start, int) and isinstance(stop, int) else None


class Joining:
    """What a pass needs to put products in the place of the sums that belong to these h. The sums' rounding moves.

    The pass fills in `at`, where each old node went.
    """

    def __init__(
        self, tensors: Sequence[Tensor], keep: Sequence[Tensor], hs: Collection[int], at: Mapping[int, Tensor]
    ) -> None:
        self._old = old = tensors[0].graph
        biases = find_biases(old, old.ancestors([t.id for t in tensors]), {t.id for t in (*tensors, *keep)})
        self._affine = {id: one for id, one in biases.affine.items() if one.h in hs}
        self._gradients = {both.of_matrix: both for both in biases.gradients.values() if both.h in hs}
        self._at = at
        self._ones: dict[str, Tensor] = {}  # the number 1, by dtype
        self._with_ones: dict[int, Tensor] = {}
        self._whole: dict[int, Tensor] = {}  # the matrices with their biases, by the sums that enter products
        self._products: dict[int, Tensor] = {}  # of two gradients, by that of the bias
        self.copied: list[Tensor] = []  # inputs, beside ones

    @property
    def matrices(self) -> list[Tensor]:
        """Those that end with a bias."""
        return list(dict.fromkeys(self._whole.values()))

    def factors(self, node: Node) -> tuple[Tensor, Tensor] | None:
        """Of a sum that becomes a product: of what."""
        affine = self._affine.get(node.id)
        if affine is None:
            return None
        rows, columns = self._old.nodes[affine.matrix].shape[0] + 1, node.shape[1]
        both = slice_(self._at[affine.vector], (affine.start,), (affine.start + rows * columns,), (1,))
        matrix = self._named(op("reshape", both, shape=(rows, columns)), "{}_{}", affine.matrix, affine.bias)
        self._whole[node.id] = matrix
        return self._beside_ones(affine.h), matrix

    def visit(self, node: Node, inputs: Sequence[Tensor]) -> Tensor | None:
        """Of other nodes: a gradient with the bias's behind it, and the vector of all, which has the latter no more."""
        if (found := self._gradients.get(node.id)) is not None:
            product = op("matmul", swap(self._beside_ones(found.h)), self._at[found.z_bar])
            self._products[found.of_bias] = self._named(product, "{}_{}", found.of_matrix, found.of_bias)
            return product
        if node.operator.kind == "pack":
            parts = [part for id, part in zip(node.inputs, inputs, strict=True) if id not in self._products]
            return op("pack", parts) if len(parts) < len(inputs) else None
        return None

    def where(self, results: Sequence[int]) -> dict[int, Tensor]:
        """Where each old node went, once the new graph is there: two gradients went into their product."""
        new = self._at[results[0]].graph
        for product in self._products.values():
            new.records.pop(product.id, None)  # which tells of the matrix alone
        needed = {*new.ancestors([self._at[id].id for id in results])}
        went = {**self._at, **self._products}
        for id, matrix in self._whole.items():
            parts = (self._affine[id].matrix, self._affine[id].bias)
            went |= {part: matrix for part in parts if self._at[part].id not in needed}
        return went

    def _beside_ones(self, id: int) -> Tensor:
        if id not in self._with_ones:
            h = self._at[id]
            rows, columns = h.shape
            if h.dtype not in self._ones:
                self._ones[h.dtype] = h.graph.constant(np.ones((), h.dtype))
            one = self._ones[h.dtype]
            if h.node.operator.name == "input":
                whole = op("concatenate", [h, op("broadcast_to", one, shape=(rows, 1))], axis=1)
                self._with_ones[id] = self._named(whole, "{}_ones", id)
                self.copied.append(whole)
            else:  # it lies transposed: then it is computed in its place
                vector = op("pack", [swap(h), op("broadcast_to", one, shape=(rows,))])
                below = op("reshape", self._named(vector, "{}_and_ones", id), shape=(columns + 1, rows))
                self._with_ones[id] = swap(self._named(below, "{}_onesᵀ", id))
        return self._with_ones[id]

    def _named(self, tensor: Tensor, form: str, *of: int) -> Tensor:
        """A name made of the names of others, where they have any and the name is free, also for what is to come."""
        names = [name_of(self._old, id) for id in of]
        name = form.format(*names)
        return tensor if None in names or name in self._old or name in tensor.graph else tensor.named(name)
