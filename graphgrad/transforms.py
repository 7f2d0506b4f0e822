"""What is built on derivation: forward mode, second order, Jacobians. Each gives tensors of the same graph.

Arguments are one Tensor or a list of them, and the result has the same form.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import overload

import numpy as np

from graphgrad.collector import paused_gc
from graphgrad.derive import UnusedParameterWarning, depends, derive, passes, zeros
from graphgrad.errors import DerivativeError
from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.operator import OPERATORS
from graphgrad.operators.reduce import sum
from graphgrad.operators.shape import broadcast_to, reshape
from graphgrad.operators.slices import stack
from graphgrad.rewrite import Aside
from graphgrad.tensor import Operand, Tensor
from graphgrad.types import FLOATS, Shape, broadcast, count, show

# ---------------------------------------------------------------------------------------------------------------------
# Forward mode
# ---------------------------------------------------------------------------------------------------------------------


@overload
def jvp(outputs: Tensor, tangents: Mapping[Tensor, Operand]) -> Tensor: ...
@overload
def jvp(outputs: Sequence[Tensor], tangents: Mapping[Tensor, Operand]) -> list[Tensor]: ...
def jvp(outputs: Tensor | Sequence[Tensor], tangents: Mapping[Tensor, Operand]) -> Tensor | list[Tensor]:
    """How outputs change when tensors change along `tangents`: the Jacobian times a vector, in forward mode.

    `tangents` maps each tensor that changes to a tensor (or array, or number) of its shape. The graph that is added
    is linear in the graph below the outputs. Raises DerivativeError for a tangent of another shape or of an integer,
    and for an operator without derivative.

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> x = g.input("x", ("N",))
    >>> gg.evaluate(gg.jvp(x**3, {x: gg.tanh(x) * 0 + 1}), x=[1.0, 2.0])
    array([ 3., 12.])
    """
    wanted = _several(outputs)
    graph = _one_graph("jvp", [*wanted, *tangents])
    given = {t.id: _tangent(graph, t, v) for t, v in tangents.items()}
    with paused_gc():
        found = _forward(graph, graph.ancestors([t.id for t in wanted]), given)
        result = [found[t.id] if t.id in found else zeros(graph, t.shape, _float(t)) for t in wanted]
    return _alike(outputs, result)


def _tangent(graph: Graph, tensor: Tensor, value: Operand) -> Tensor:
    line = graph._line()
    if tensor.dtype not in FLOATS:
        raise DerivativeError(f"{tensor.name} is {tensor.dtype}: it has no tangent").at(line)
    tangent = value if isinstance(value, Tensor) else graph.constant(value)
    if tangent.graph is not graph:
        raise DerivativeError(f"the tangent of {tensor.name} is of another graph").at(line)
    if broadcast(tangent.shape, tensor.shape) != tensor.shape:
        raise DerivativeError(
            f"the tangent of {tensor.name} has shape {show(tangent.shape)}, but {show(tensor.shape)} is wanted"
        ).at(line)
    return _fitted(tangent, tensor.shape, tensor.dtype)


def _fitted(tangent: Tensor, shape: Shape, dtype: str) -> Tensor:
    """A tangent in its node's dtype and shape."""
    if tangent.dtype != dtype or tangent.node.weak:
        tangent = OPERATORS["cast"](tangent, dtype=dtype)
    return tangent if tangent.shape == shape else broadcast_to(tangent, shape)


def _forward(graph: Graph, ids: Sequence[int], given: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """The tangents of the nodes `ids` (in topological order), those that are zero left out."""
    found = dict(given)
    changing = depends(graph, ids, set(given))
    for id in ids:
        node = graph.nodes[id]
        if id in found or id not in changing:
            continue
        active = [k for k, i in enumerate(node.inputs) if i in found and passes(node, k)]
        if active:
            with graph.asked_by(graph.lines.get(id, ())):
                found[id] = _push(graph, node, active, [found.get(i) for i in node.inputs])
    return found


def _push(graph: Graph, node: Node, active: list[int], tangents: list[Tensor | None]) -> Tensor:
    """One node's tangent, from those of its operands."""
    operator, attributes = node.operator, dict(node.attributes)
    inputs = [graph.tensor(i) for i in node.inputs]
    if operator.kind in ("linear", "view"):
        moved = [
            _part(graph, t, inputs[k]) if k in active or passes(node, k) else inputs[k] for k, t in enumerate(tangents)
        ]
        parts = [graph.insert(operator, tuple(t.id for t in moved), attributes)]
    elif operator.kind == "multilinear":
        replaced = [[tangents[k] if k == j else t for k, t in enumerate(inputs)] for j in active]
        parts = [graph.insert(operator, tuple(t.id for t in row if t is not None), attributes) for row in replaced]
    elif operator.kind == "elementwise" and operator.pullback is not None:
        # The Jacobian of a function of single elements is diagonal: it is its own transpose.
        rules = [(k, operator.rule(k)) for k in active]
        parts = [
            _as_tensor(graph, rule(tangents[k], *inputs, graph.tensor(node.id), **attributes))
            for k, rule in rules
            if rule
        ]
    elif operator.pullback is not None:
        parts = [_transposed(graph, node, active, tangents)]
    elif operator.definition is not None:
        defined = operator.definition(*inputs, **attributes)
        inner = _forward(
            graph, graph.ancestors([defined.id]), {node.inputs[k]: t for k in active if (t := tangents[k]) is not None}
        )
        parts = [inner[defined.id]] if defined.id in inner else [zeros(graph, node.shape, node.dtype)]
    else:
        raise DerivativeError(f"{operator.name} has no derivative, but {graph.where(node.id)} depends on what changes")
    total = _fitted(parts[0], node.shape, node.dtype)
    for part in parts[1:]:
        total = total + _fitted(part, node.shape, node.dtype)
    return total


def _as_tensor(graph: Graph, value: Tensor | float) -> Tensor:
    return value if isinstance(value, Tensor) else graph.constant(value)


def _part(graph: Graph, tangent: Tensor | None, operand: Tensor) -> Tensor:
    """An operand's place in a linear operator: its tangent, zeros, or itself where it is no float (an index)."""
    if tangent is not None:
        return tangent
    return zeros(graph, operand.shape, operand.dtype) if operand.dtype in FLOATS else operand


def _transposed(graph: Graph, node: Node, active: list[int], tangents: list[Tensor | None]) -> Tensor:
    """The transpose of a pullback: ū ↦ Σ⟨rule(u), t⟩ is linear in u, and its derivative by u is the tangent.

    It is built in a graph of its own, whose leaves are the operands, the output, their tangents and u, and then moved.
    """
    aside = Aside()
    inputs = [aside.stand_in(graph.tensor(i)) for i in node.inputs]
    output, u = aside.stand_in(graph.tensor(node.id)), aside.graph.input("u", node.shape, node.dtype)
    total: Tensor | None = None
    for k in active:
        rule, tangent = node.operator.rule(k), tangents[k]
        if rule is None or tangent is None:
            continue
        part = sum(_as_tensor(aside.graph, rule(u, *inputs, output, **dict(node.attributes))) * aside.stand_in(tangent))
        total = part if total is None else total + part
    if total is None or u.id not in aside.graph.ancestors([total.id]):
        return zeros(graph, node.shape, node.dtype)
    return aside.back(derive(total, [u])[u], graph)


# ---------------------------------------------------------------------------------------------------------------------
# Second order and Jacobians
# ---------------------------------------------------------------------------------------------------------------------


@overload
def hvp(scalar: Tensor, wrt: Tensor, vectors: Operand) -> Tensor: ...
@overload
def hvp(scalar: Tensor, wrt: Sequence[Tensor], vectors: Sequence[Operand]) -> list[Tensor]: ...
def hvp(scalar: Tensor, wrt: Tensor | Sequence[Tensor], vectors: Operand | Sequence[Operand]) -> Tensor | list[Tensor]:
    """The Hessian of a scalar times a vector, without the Hessian: forward mode over the gradient.

    `vectors` has a tensor (or array) of its shape for each of `wrt`. Costs a few gradients, whatever the size.

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> w = g.parameter("w", (2,))
    >>> gg.evaluate(gg.hvp(gg.sum(w**4), w, [1.0, 0.0]), w=[1.0, 2.0])
    array([12.,  0.])
    """
    targets = _several(wrt)
    if isinstance(wrt, Tensor):
        directions: list[Operand] = [np.asarray(vectors) if isinstance(vectors, (list, tuple)) else vectors]  # type: ignore[list-item]
    else:
        directions = list(vectors)  # type: ignore[arg-type]
    if len(directions) != len(targets):
        raise DerivativeError(
            f"hvp by {len(targets)} tensors was given {len(directions)} vectors; one for each is wanted"
        ).at(scalar.graph._line())
    gradients = derive(scalar, targets)
    return _alike(wrt, jvp([gradients[t] for t in targets], dict(zip(targets, directions, strict=True))))


@overload
def jacobian(y: Tensor, x: Tensor) -> Tensor: ...
@overload
def jacobian(y: Tensor, x: Sequence[Tensor]) -> list[Tensor]: ...
def jacobian(y: Tensor, x: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
    """All partial derivatives of y by x, of shape y.shape + x.shape: for small tensors, since each entry is derived.

    It goes by the entries of y or of x, whichever are fewer; their number must be known when the graph is built.

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> x = g.input("x", (2,))
    >>> gg.evaluate(gg.jacobian(x * x, x), x=[1.0, 3.0])
    array([[2., 0.],
           [0., 6.]])
    """
    targets = _several(x)
    _one_graph("jacobian", [y, *targets])
    for t in (y, *targets):
        if t.dtype not in FLOATS:
            raise DerivativeError(f"jacobian: {t.name} is {t.dtype}; a derivative is of floats by floats").at(
                y.graph._line()
            )
    with paused_gc():
        return _alike(x, [_jacobian(y, t) for t in targets])


def _jacobian(y: Tensor, x: Tensor) -> Tensor:
    graph, rows, columns = y.graph, _entries(y.shape), _entries(x.shape)
    if x.id not in (found := depends(graph, graph.ancestors([y.id]), {x.id})) or y.id not in found:
        warnings.warn(
            f"{y.name} does not depend on {x.name}: its Jacobian is zero", UnusedParameterWarning, stacklevel=4
        )
        return zeros(graph, (*y.shape, *x.shape), x.dtype)
    if rows is None and columns is None:
        raise DerivativeError(
            f"jacobian of {y.name} {show(y.shape)} by {x.name} {show(x.shape)}: each entry is derived on its own, "
            f"so one of the two must have a shape of numbers only; build the graph with numbers in place of the "
            f"named sizes"
        ).at(graph._line())
    if columns is None or (rows is not None and rows <= columns):
        units = np.eye(math.prod(_static(y.shape))).reshape(-1, *_static(y.shape))
        lines = [derive(sum(y * _unit(graph, e, y.dtype)), [x])[x] for e in units]
        return _side_by_side(lines, (*y.shape, *x.shape), rows_first=True)
    units = np.eye(columns).reshape(-1, *_static(x.shape))
    lines = [jvp(y, {x: _unit(graph, e, x.dtype)}) for e in units]
    return _side_by_side(lines, (*y.shape, *x.shape), rows_first=False)


def _unit(graph: Graph, array: np.ndarray[tuple[int, ...], np.dtype[np.float64]], dtype: str) -> Tensor:
    return graph.constant(array.astype(dtype))


def _side_by_side(lines: list[Tensor], shape: Shape, *, rows_first: bool) -> Tensor:
    if not lines:
        raise DerivativeError(f"a Jacobian of shape {show(shape)} has no entries")
    stacked = stack(lines, axis=0 if rows_first else len(lines[0].shape))
    return stacked if stacked.shape == shape else reshape(stacked, shape)


@overload
def hessian(scalar: Tensor, x: Tensor) -> Tensor: ...
@overload
def hessian(scalar: Tensor, x: Sequence[Tensor]) -> list[list[Tensor]]: ...
def hessian(scalar: Tensor, x: Tensor | Sequence[Tensor]) -> Tensor | list[list[Tensor]]:
    """All second derivatives of a scalar by x, of shape x.shape + x.shape; for a list, a list of rows of blocks.

    For small tensors: each entry of a gradient is derived on its own. `gg.hvp` needs no such thing.

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> w = g.parameter("w", (2,))
    >>> gg.evaluate(gg.hessian(w[0] * w[1] ** 2, w), w=[1.0, 3.0])
    array([[0., 6.],
           [6., 2.]])
    """
    targets = _several(x)
    gradients = derive(scalar, targets)
    with warnings.catch_warnings():  # a block of zeros is no mistake
        warnings.simplefilter("ignore", UnusedParameterWarning)
        blocks = [[jacobian(gradients[a], b) for b in targets] for a in targets]
    return blocks[0][0] if isinstance(x, Tensor) else blocks


@overload
def per_sample_gradients(losses: Tensor, wrt: Tensor) -> Tensor: ...
@overload
def per_sample_gradients(losses: Tensor, wrt: Sequence[Tensor]) -> list[Tensor]: ...
def per_sample_gradients(losses: Tensor, wrt: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
    """The gradient of each sample's loss: for a vector of n losses, tensors of shape (n, *w.shape).

    Each sample is derived on its own, so n must be a number when the graph is built. With a named batch size, build
    the graph for one sample (n = 1) and call it for each, or build it with a batch of numbers.
    """
    if not isinstance(losses, Tensor) or len(losses.shape) != 1:
        found = (
            f"{losses.name} has shape {show(losses.shape)}"
            if isinstance(losses, Tensor)
            else f"{type(losses).__name__} was given"
        )
        raise DerivativeError(
            f"per_sample_gradients wants a vector of losses, one for each sample, but {found}; reduction='none' "
            f"gives one"
        )
    if not isinstance(losses.shape[0], int):
        raise DerivativeError(
            f"per_sample_gradients of {losses.name} {show(losses.shape)}: each sample is derived on its own, so "
            f"their number "
            f"must be known, but it is {losses.shape[0]}; build the graph with a batch of numbers, or for one "
            f"sample and "
            f"call it for each"
        ).at(losses.graph._line())
    targets = _several(wrt)
    _one_graph("per_sample_gradients", [losses, *targets])
    n, graph = losses.shape[0], losses.graph
    with paused_gc():
        derived = [derive(sum(losses * _unit(graph, e, losses.dtype)), targets) for e in np.eye(n)]
        return _alike(wrt, [_side_by_side([d[t] for d in derived], (n, *t.shape), rows_first=True) for t in targets])


# ---------------------------------------------------------------------------------------------------------------------


def _several(tensors: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _alike(asked: Tensor | Sequence[Tensor], result: list[Tensor]) -> Tensor | list[Tensor]:
    return result[0] if isinstance(asked, Tensor) else result


def _one_graph(what: str, tensors: Sequence[Tensor]) -> Graph:
    if not tensors or not all(isinstance(t, Tensor) for t in tensors):
        wrong = next((type(t).__name__ for t in tensors if not isinstance(t, Tensor)), "nothing")
        raise DerivativeError(f"{what} takes Tensors, but {wrong} was given")
    graph = tensors[0].graph
    if any(t.graph is not graph for t in tensors):
        raise DerivativeError(f"{what} was given tensors of two graphs").at(graph._line())
    return graph


def _float(tensor: Tensor) -> str:
    return tensor.dtype if tensor.dtype in FLOATS else "float64"


def _entries(shape: Shape) -> int | None:
    """The number of entries, where it is known."""
    number = count(shape)
    return number if isinstance(number, int) else None


def _static(shape: Shape) -> tuple[int, ...]:
    return tuple(d for d in shape if isinstance(d, int))
