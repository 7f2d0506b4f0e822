"""All parameters in one vector theta, of which every W and b is a view, in the order in which the network names them.

Some matrices may lie there transposed, which leaves `graphgrad.codegen.layout` free to give products their operands as
the BLAS takes them fastest, and makes one matrix of a small W and the bias behind it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from graphgrad.codegen.costs import ASTRAY, Cost, Layer, cheapest, layer_cost
from graphgrad.codegen.program import usual_sizes
from graphgrad.graph import Graph
from graphgrad.networks import Network
from graphgrad.node import Node
from graphgrad.operators.shape import reshape, transpose
from graphgrad.operators.slices import slice_
from graphgrad.rewrite import in_dtype, rebuild
from graphgrad.tensor import Tensor
from graphgrad.types import Sizes, count, size_of

#: It is worthwhile to make a step anew where that saves so many nanoseconds a layer, by the same figures, and so much
#: of what its products take, by MULTIPLIED for a multiplication.
NANOSECONDS, PART, MULTIPLIED = 500.0, 0.01, 0.02


class Use(NamedTuple):
    """A matrix W in h @ W.T."""

    matrix: int
    layer: Layer
    samples: int
    h: int | None  # the values that lie as h does, if it may lie either way
    z: int | None

    @property
    def groups(self) -> set[int]:
        return {g for g in (self.h, self.z) if g is not None}

    def cost(self, turned: Container[int | None], w: bool) -> float:
        return layer_cost(self.layer, self.samples, self.h in turned, self.z in turned, w)

    def least_cost(self, turned: Container[int | None]) -> float:
        return min(self.cost(turned, w) for w in (False, True))


def transposed_matrices(net: Network, dtype: str, sizes: Sizes, now: frozenset[str] | None = None) -> frozenset[str]:
    """The parameters W that had better lie in theta as their transposes, for batches of these sizes.

    They are only used as h @ W.T. How h and z = h @ W.T lie is settled with the program; here each W is taken to fit
    them, and they to lie so that all is cheapest. What lies in theta `now` stays where moving it would win too little.
    """
    graph = net.graph
    ids = graph.ancestors([net.loss.id])
    group = _alike(graph, ids)
    known = usual_sizes(graph.nodes[i].shape for i in ids) | dict(sizes)
    uses = _uses(net, ids, group, dtype, known)
    astray = list(_read_astray(graph, ids, group, known))
    turned = cheapest([*[(use.least_cost, use.groups) for use in uses], *astray])
    more: dict[int, float] = {}  # what each W costs more as its transpose
    for use in uses:
        more[use.matrix] = more.get(use.matrix, 0.0) + use.cost(turned, True) - use.cost(turned, False)
    wanted = frozenset(p.name for p in net.parameters if more.get(p.id, 0.0) < 0)
    if now is None or wanted == now:
        return wanted

    def least(transposed: Container[str]) -> float:
        """The cost of all, W lying so and all else as it then had better lie."""
        names = {p.id: p.name for p in net.parameters}
        costs = [(partial(use.cost, w=names[use.matrix] in transposed), use.groups) for use in uses] + astray
        lying = cheapest(costs)
        return sum(cost(lying) for cost, _ in costs)

    products = sum(MULTIPLIED * 3 * use.samples * use.layer.inputs * use.layer.outputs for use in uses)
    return wanted if least(now) - least(wanted) > max(NANOSECONDS * len(uses), PART * products) else now


def _uses(net: Network, ids: Sequence[int], group: Mapping[int, int], dtype: str, sizes: Sizes) -> list[Use]:
    graph = net.graph
    matrices = {p.id for p in net.parameters if len(p.shape) == 2}
    behind = {w.id: b.id for w, b in pairwise(net.parameters)}
    transposes: dict[int, int] = {}
    depending = {p.id for p in net.parameters}
    uses: dict[int, Use] = {}  # by z
    with_bias: set[int] = set()
    for id in ids:
        node = graph.nodes[id]
        if depending.intersection(node.inputs):
            depending.add(id)
        for place, i in enumerate(node.inputs):
            if i in matrices and node.operator.name == "transpose":
                transposes[id] = i
            elif i in matrices or (i in transposes and (node.operator.name != "matmul" or place == 0)):
                matrices.discard(transposes.get(i, i))  # used otherwise
            elif i in transposes:
                h, (outputs, inputs) = node.inputs[0], numbers(graph.tensor(transposes[i]))
                samples = size_of(count(graph.nodes[h].shape[:-1]), sizes)
                layer = Layer(inputs, outputs, h not in depending, False, dtype)
                uses[id] = Use(transposes[i], layer, samples, group.get(h), group.get(id))
            elif i in uses and node.operator.name == "add" and behind.get(uses[i].matrix) in node.inputs:
                with_bias.add(i)
    return [
        use._replace(layer=use.layer._replace(has_bias=id in with_bias))
        for id, use in uses.items()
        if use.matrix in matrices
    ]


def _alike(graph: Graph, ids: Sequence[int]) -> dict[int, int]:
    """Matrices that are computed from each other element by element, which will lie alike; each with one of them."""
    group: dict[int, int] = {}
    for id in ids:
        node = graph.nodes[id]
        if len(node.shape) != 2 or node.operator.kind == "leaf":
            continue
        same = {group[i] for i in node.inputs if i in group and graph.nodes[i].shape == node.shape}
        group[id] = id
        if same and node.operator.kind == "elementwise":
            group[id] = min(same)
            if len(same) > 1:
                group |= {i: min(same) for i, g in group.items() if g in same}
    return group


def _read_astray(
    graph: Graph, ids: Sequence[int], group: Mapping[int, int], sizes: Sizes
) -> Iterator[tuple[Cost, Collection[int]]]:
    """What it costs that a matrix lies transposed which is read beside one that is given, such as a target."""
    for node in (graph.nodes[id] for id in ids):
        given = {graph.nodes[i].shape for i in node.inputs if graph.nodes[i].operator.name == "input"}
        for i in node.inputs:
            if i in group and graph.nodes[i].shape in given and node.operator.name != "matmul":
                yield _if_turned(group[i], ASTRAY * size_of(count(graph.nodes[i].shape), sizes)), {group[i]}


def _if_turned(g: int, cost: float) -> Cost:
    return lambda turned: cost if g in turned else 0.0


def on_one_vector(
    outputs: Sequence[Tensor], parameters: Sequence[Tensor], transposed: Container[str], dtype: str
) -> tuple[Graph, Tensor, dict[str, int], dict[int, Tensor], dict[str, Tensor]]:
    """The graph in a float dtype, each parameter replaced by a view of one vector, which carries the parameter's name.

    Also the first element of each in the vector, where each old node went, and the transposes that lie there.
    """
    starts: dict[str, int] = {}
    size = 0
    for p in parameters:
        starts[p.name] = size
        size += math.prod(numbers(p))
    vector, other = free_name(parameters[0].graph, "theta"), in_dtype(dtype)
    found: list[Tensor] = []
    kept: dict[str, Tensor] = {}
    turned = {p.id: p.name for p in parameters if p.name in transposed}

    def visit(node: Node, inputs: tuple[Tensor, ...], new: Graph) -> Tensor | None:
        if node.inputs and node.inputs[0] in turned:
            return kept[turned[node.inputs[0]]]
        if node.operator.name != "parameter":
            return other(node, inputs, new)
        if not found:
            found.append(new.parameter(vector, (size,), dtype))
        name = node["name"]
        start = starts[name]
        shape = tuple(d for d in node.shape if isinstance(d, int))
        part = slice_(found[0], (start,), (start + math.prod(shape),), (1,))
        if name not in transposed:
            return reshape(part, shape)
        kept[name] = reshape(part, shape[::-1]).named(free_name(new, f"{name}ᵀ"))
        return transpose(kept[name])

    graph, moved = rebuild(outputs, visit)
    return graph, found[0], starts, moved, kept


def numbers(tensor: Tensor) -> tuple[int, ...]:
    return tuple(d for d in tensor.shape if isinstance(d, int))


def free_name(graph: Graph, wish: str) -> str:
    """The name, or the name with a number, that nothing in the graph carries."""
    name, number = wish, 2
    while name in graph:
        name, number = f"{wish}_{number}", number + 1
    return name
