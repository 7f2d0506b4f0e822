"""The reference evaluator: a graph, node by node, by the operators' `reference`. The oracle for every target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import numpy as np

from graphgrad.errors import CallError, GraphgradError
from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS, Array, Sizes, bind, is_masked, show, size_names, size_of, solve_sizes


@overload
def evaluate(outputs: Tensor, /, **values: Any) -> Array: ...
@overload
def evaluate(outputs: Sequence[Tensor], /, **values: Any) -> list[Array]: ...
def evaluate(outputs: Tensor | Sequence[Tensor], /, **values: Any) -> Array | list[Array]:
    """The values of tensors for given inputs and parameters, by name; states that are not given are zero.

    Float leaves also take complex128, for the complex step. Raises CallError for a missing or unknown name, a wrong
    shape or dtype.

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> x = g.input("x", ("N",))
    >>> gg.evaluate(gg.sum(x * x), x=[1.0, 2.0])
    array(5.)
    """
    single = isinstance(outputs, Tensor)
    wanted = [outputs] if isinstance(outputs, Tensor) else list(outputs) if isinstance(outputs, Iterable) else [outputs]
    for t in wanted:
        if not isinstance(t, Tensor):
            raise CallError(f"evaluate takes a Tensor or a list of them, but {type(t).__name__} was given")
    if not wanted:
        return []
    graph = wanted[0].graph
    found = evaluate_nodes(graph, [t.id for t in wanted], values)
    results = [np.array(found[t.id]) for t in wanted]
    return results[0] if single else results


def evaluate_nodes(graph: Graph, ids: Sequence[int], values: Mapping[str, Any]) -> dict[int, Any]:
    """The value of every node that `ids` need, by id."""
    order = graph.ancestors(ids)
    needed = [graph.nodes[i] for i in order]
    arrays = _leaves(graph, needed, values)
    sizes = solve_sizes(
        (n["name"], n.shape, arrays[n.id].shape)
        for n in graph.nodes
        if n.id in arrays and n.operator.name != "constant"
    )
    _check_known(graph, needed, sizes)
    check_sizes(graph, order, sizes)
    results: dict[int, Any] = {}
    for node in needed:
        if node.operator.kind == "leaf":
            results[node.id] = (
                node["value"].array if node.operator.name == "constant" else _default(node, arrays, sizes)
            )
        else:
            results[node.id] = apply_reference(node, [results[i] for i in node.inputs], graph, sizes)
    return results


def _check_known(graph: Graph, needed: Sequence[Node], sizes: Sizes) -> None:
    """Raises CallError for a size that no array has."""
    for name in sorted({name for n in needed for d in n.shape for name in size_names(d)} - sizes.keys()):
        leaves = (n for n in graph.nodes if n.operator.kind == "leaf" and any(name in size_names(d) for d in n.shape))
        whose = next((f": {n['name']} of shape {show(n.shape)} would tell" for n in leaves), "")
        raise CallError(f"the size {name} is not known{whose}")


def check_sizes(graph: Graph, ids: Sequence[int], sizes: Sizes) -> None:
    """Hold the named sizes of a call against what slices took for granted. Raises CallError at the slice's line."""
    for id in ids:
        node = graph.nodes[id]
        if node.operator.requires is not None:
            for dim, least, whose in node.operator.requires(node, *[graph.nodes[i] for i in node.inputs]):
                if size_of(dim, sizes) < least:
                    known = ", ".join(f"{name} = {sizes[name]}" for name in sorted(size_names(dim)))
                    raise CallError(f"{whose} needs {dim} >= {least}, but {known}").at(
                        next(iter(graph.lines.get(id, ())), None)
                    )


def apply_reference(node: Node, operands: Sequence[Any], graph: Graph, sizes: Sizes) -> Array:
    """One operator on arrays, in the dtype that the graph inferred."""
    # A weak operand enters as a Python number: NumPy then lets it widen nothing.
    given = [np.asarray(v).item() if graph.nodes[i].weak else v for v, i in zip(operands, node.inputs, strict=True)]
    attributes = {k: bind(v, sizes) for k, v in node.attributes}
    try:
        result = np.asarray(node.operator.reference(*given, **attributes))
    except (GraphgradError, ValueError) as error:  # NumPy's own: integers to negative powers
        told = error if isinstance(error, GraphgradError) else CallError(f"{graph.where(node.id)}: {error}")
        lines = graph.lines.get(node.id, ())
        raise told.at(lines[0] if lines else None) from None
    if result.dtype.kind == "c":
        return result
    expected = tuple(size_of(d, sizes) for d in node.shape)
    if result.shape != expected:
        raise CallError(f"{graph.where(node.id)} gave shape {show(result.shape)} where {show(expected)} was inferred")
    return result if result.dtype.name == node.dtype else result.astype(node.dtype)


def _leaves(graph: Graph, needed: Sequence[Node], values: Mapping[str, Any]) -> dict[int, Array]:
    leaves = {n["name"]: n for n in graph.nodes if n.operator.kind == "leaf" and n.operator.name != "constant"}
    if unknown := values.keys() - leaves.keys():
        raise CallError(
            f"no leaf is named {', '.join(sorted(unknown))}; there are: {', '.join(sorted(leaves)) or 'none'}"
        )
    arrays = {
        leaves[name].id: convert(name, value, leaves[name].dtype, complex_too=True) for name, value in values.items()
    }
    missing = [n["name"] for n in needed if n.operator.name in ("input", "parameter") and n.id not in arrays]
    if missing:
        raise CallError(f"no value was given for {', '.join(missing)}")
    return arrays


def _default(node: Node, arrays: Mapping[int, Array], sizes: Sizes) -> Array:
    if node.id in arrays:
        return arrays[node.id]
    return np.zeros(tuple(size_of(d, sizes) for d in node.shape), node.dtype)


def plain_array(name: str, value: Any) -> Array:
    """An argument as an array. Raises CallError where it is none, or has a mask."""
    if is_masked(value):
        raise CallError(f"{name} is a masked array, whose mask would be lost; {name}.filled(0.0) would fit")
    if isinstance(value, Tensor):
        raise CallError(f"{name} was given a Tensor; a call takes arrays of numbers")
    try:
        return np.asarray(value)
    except ValueError:
        raise CallError(f"{name} is no array: its rows have different lengths") from None


def within(name: str, array: Array, dtype: str) -> Array:
    """The numbers in another dtype. Raises CallError for one that is too large for it."""
    with np.errstate(over="ignore"):
        found = array.astype(dtype)
    if array.dtype != dtype and dtype in FLOATS and (over := np.isinf(found) & ~np.isinf(array)).any():
        raise CallError(f"{name} holds {array[over].flat[0]!s}, which is too large for {dtype}")
    return found


def convert(name: str, value: Any, dtype: str, *, complex_too: bool = False) -> Array:
    """An argument as an array of a leaf's dtype, where that loses nothing. Raises CallError where it would."""
    array = plain_array(name, value)
    if array.dtype.name == dtype or (complex_too and array.dtype.kind == "c" and dtype == "float64"):
        return array.astype(array.dtype.newbyteorder("="), copy=False)  # bytes in another order have the same name
    kind, order = array.dtype.kind, "bif"  # of Python's numbers: a float is no int, an int is a float of any width
    own = has_array(value)
    if not own and kind in order and (not array.size or order.index(kind) <= order.index(np.dtype(dtype).kind)):
        return within(name, array, dtype)
    if np.can_cast(array.dtype, dtype, "safe"):
        return array.astype(dtype)
    fit = ""
    if own and kind in "biuf":
        call = f"{name}.astype({dtype!r})" if hasattr(value, "astype") else f"np.asarray({name}, {dtype!r})"
        fit = f"; {call} would fit"
    raise CallError(f"{name} is {array.dtype.name}, but {dtype} was declared{fit}")


def has_array(value: Any) -> bool:
    """Whether an array is behind it, which has a dtype of its own; lists, tuples and numbers hold Python's numbers."""
    if any(hasattr(value, name) for name in ("__array__", "__array_interface__", "__array_struct__")):
        return True
    try:
        memoryview(value)
    except TypeError:
        return False
    return True
