"""Joining and cutting: what NumPy writes with concatenate and slices. A slice's adjoint writes into zeros (`embed`)."""

from __future__ import annotations

import operator as python
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from graphgrad.errors import DTypeError, ShapeError
from graphgrad.notation import slices_text
from graphgrad.operators.elementwise import cast
from graphgrad.operators.rows import Inferred, Node, Tensor, axes_of, axis_of, operator
from graphgrad.operators.shape import Telling, broadcast_to, expand_dims, reshape
from graphgrad.types import FLOATS, Dim, Dimension, Shape, count, dimension, divide_exactly, promote, show, size_names

# ---------------------------------------------------------------------------------------------------------------------
# Joining
# ---------------------------------------------------------------------------------------------------------------------


def _part(g: Any, operands: Sequence[Any], output: Any, position: int, axis: int) -> Any:
    """The adjoint of one part: the elements of g where that part lies."""
    before = total(t.shape[axis] for t in operands[:position])
    return cut(g, axis, before, before + operands[position].shape[axis])


@operator(
    reference=lambda *tensors, axis: np.concatenate(tensors, axis=axis),
    pullback=_part,
    kind="linear",
    numpy="np.concatenate({tensors}, axis={axis}, out={out})",
    analytic=True,
)
def concatenate(*tensors: Node, axis: int = 0) -> Inferred:
    """Tensors one after the other along an axis, as numpy.concatenate: `concatenate([a, b], axis=1)`."""
    first = tensors[0]
    if not first.shape:
        raise ShapeError(
            "concatenate of numbers: tensors with at least one axis are wanted; gg.stack([a, b]) joins numbers"
        )
    at = axis_of("concatenate", first, axis)
    for t in tensors[1:]:
        if len(t.shape) != len(first.shape) or without(t.shape, at) != without(first.shape, at):
            wanted = show((*first.shape[:at], dimension("any"), *first.shape[at + 1 :]))
            raise ShapeError(
                f"concatenate of shapes {' and '.join(show(t.shape) for t in tensors)} along axis {at}: "
                f"all other dimensions are to be equal, so {wanted} would fit beside {show(first.shape)}"
            )
    length = total(t.shape[at] for t in tensors)
    dtype = promote([(t.dtype, t.weak) for t in tensors])[0]
    return Inferred((*first.shape[:at], length, *first.shape[at + 1 :]), dtype, {"axis": at})


def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new axis, as numpy.stack: `stack([a, b])`."""
    parts = in_one_graph("stack", tensors)
    shapes = list(dict.fromkeys(t.shape for t in parts))
    if len(shapes) > 1:
        raise ShapeError(f"stack of shapes {' and '.join(map(show, shapes))}: they are to be equal").at(
            parts[0].graph._line()
        )
    dtype = promote([(t.dtype, t.node.weak) for t in parts])[0]
    strong = [cast(t, dtype) if t.node.weak else t for t in parts]
    return concatenate([expand_dims(t, axis) for t in strong], axis=axis if axis >= 0 else axis + len(shapes[0]) + 1)


def _elements(g: Any, operands: Sequence[Any], output: Any, position: int) -> Any:
    before = total(count(t.shape) for t in operands[:position])
    shape = operands[position].shape
    return reshape(cut(g, 0, before, before + count(shape)), shape)


@operator(
    reference=lambda *tensors: np.concatenate([np.ravel(np.asarray(t, np.result_type(*tensors))) for t in tensors]),
    pullback=_elements,
    kind="pack",
    numpy="",  # the target gives the operands their place in it, and copies those that cannot be computed there
    analytic=True,
)
def pack(*tensors: Node) -> Inferred:
    """All elements of the tensors in one vector, one tensor after the other, in row-major order: `pack([W, b])`."""
    return Inferred(
        (total(count(t.shape) for t in tensors),), promote([(t.dtype, t.weak) for t in tensors])[0], weak=False
    )


# ---------------------------------------------------------------------------------------------------------------------
# Slices
# ---------------------------------------------------------------------------------------------------------------------


def cut(x: Any, axis: int, start: Dimension, stop: Dimension) -> Any:
    """x[start:stop] along one axis, within its bounds."""
    if start == 0 and stop == x.shape[axis]:
        return x
    rank = len(x.shape)
    starts = (*(0,) * axis, start, *(0,) * (rank - axis - 1))
    return slice_(x, starts, (*x.shape[:axis], stop, *x.shape[axis + 1 :]), (1,) * rank)


def _slice_rule(g: Any, x: Any, y: Any, start: Any, stop: Any, step: Any) -> Any:
    return embed(g, x.shape, start, step)


def stops_of(shape: Shape, start: Sequence[Dimension], step: Sequence[int]) -> tuple[Dimension, ...]:
    return tuple(a + d * s for a, d, s in zip(start, shape, step, strict=True))


def within(
    what: str, whole: Shape, shape: Shape, start: Sequence[Dimension], step: Sequence[int]
) -> list[tuple[Dim, int, str]]:
    """What the sizes must satisfy for slices of `shape` to lie in `whole`: (dimension, its least value, why)."""
    wanted = []
    for d, n, a, s in zip(whole, shape, start, step, strict=True):
        for rest in (a, n, d - a - (n - 1) * s - 1):
            if isinstance(rest, Dim) and any(factor < 0 for _, factor in rest.terms):
                least = -dict(rest.terms).get((), 0)
                if isinstance(named := rest + least, Dim):
                    wanted.append((named, least, what))
    return wanted


@operator(
    reference=lambda x, start, stop, step: x[tuple(map(slice, start, stop, step))],
    pullback=_slice_rule,
    kind="view",
    numpy=lambda s: "{x}[" + slices_text(**s.attributes, shape=s.shapes[0]) + "]",
    text="{x:100}[{slices}]",
    latex="{x:>}_{{[{slices}]}}",
    requires=lambda node, x: within(
        f"x[{slices_text(node['start'], node['stop'], node['step'], x.shape)}] of shape {show(x.shape)}",
        x.shape, node.shape, node["start"], node["step"],
    ),
    analytic=True,
)  # fmt: skip
def slice_(x: Node, start: Any, stop: Any, step: Any) -> Inferred:
    """Every step-th element from start to stop along each axis: what x[a:b:c] becomes. Steps are positive."""
    found = [divide_exactly(b - a, s) for a, b, s in zip(start, stop, step, strict=True)]
    shape = tuple(d for d in found if d is not None)
    if not len(shape) == len(found) == len(x.shape):
        raise ShapeError(f"slice of {show(x.shape)} from {start} to {stop} by {step}: each axis has whole steps")
    return Inferred(shape, x.dtype, {"start": tuple(start), "stop": tuple(stop), "step": tuple(step)})


def _embed(x: Any, shape: tuple[int, ...], start: tuple[int, ...], step: tuple[int, ...]) -> Any:
    out = np.zeros(shape, np.asarray(x).dtype)
    out[tuple(map(slice, start, stops_of(np.shape(x), start, step), step))] = x
    return out


def _embedded(s: Any) -> tuple[str, str]:
    start, step = s.attributes["start"], s.attributes["step"]
    where = slices_text(start, stops_of(s.shapes[0], start, step), step, s.shape)
    return "{out}.fill(0)", f"{{out}}[{where}] = {{x}}"


@operator(
    reference=_embed,
    pullback=lambda g, x, y, shape, start, step: slice_(g, start, stops_of(x.shape, start, step), step),
    kind="linear",
    numpy=_embedded,
    requires=lambda node, x: within(
        f"{show(x.shape)} inside of {show(node.shape)}", node.shape, x.shape, node["start"], node["step"]
    ),
    analytic=True,
)
def embed(x: Node, shape: Shape, start: Any, step: Any) -> Inferred:
    """Zeros of a shape with x written into a slice of them: the adjoint of a slice."""
    return Inferred(tuple(shape), x.dtype, {"shape": tuple(shape), "start": tuple(start), "step": tuple(step)})


def _flip_rule(g: Any, x: Any, y: Any, axis: Any) -> Any:
    return flip(g, axis)


@operator(
    reference=lambda x, axis: np.flip(x, axis),
    pullback=_flip_rule,
    kind="view",
    numpy=lambda s: (
        "{x}[" + ", ".join([*["::-1" if a in s.attributes["axis"] else ":" for a in range(len(s.shape))], "..."]) + "]"
    ),
    analytic=True,
)
def flip(x: Node, axis: Any = None) -> Inferred:
    """The elements in reverse order along `axis` (None: along every one), as numpy.flip."""
    return Inferred(x.shape, x.dtype, {"axis": axes_of("flip", x, axis)})


def canonical(key: slice, axis: int, shape: Shape) -> tuple[Dimension, Dimension, int, bool]:
    """A slice of an axis as (start, number of elements, step, reversed): nothing left out, the step positive.

    Bounds of an axis that is a named size are taken to lie within it, which is checked at the call.
    """
    extent = shape[axis]
    first, last, step = (v if v is None or isinstance(v, Dim) else _whole(v) for v in (key.start, key.stop, key.step))
    asked = ":".join("" if v is None else str(v) for v in ((first, last) if step is None else (first, last, step)))
    step = 1 if step is None else step
    if not isinstance(step, int) or step == 0:
        raise ShapeError(f"the slice {asked} goes by steps of {step}; a step is a number that is not zero")
    if isinstance(extent, int) and not isinstance(first, Dim) and not isinstance(last, Dim):
        found = range(extent)[first:last:step]
        return (min(found[0], found[-1]), len(found), *_steps(len(found), step)) if found else (0, 0, 1, False)
    first, last = (v + extent if isinstance(v, int) and v < 0 else v for v in (first, last))
    if step < 0:  # backwards from its first bound, which it takes, to its second, which it does not
        first, last = (0 if last is None else last + 1), (extent if first is None else first + 1)
    low, high = (0 if first is None else first), (extent if last is None else last)
    length, stride = high - low, abs(step)
    if isinstance(length, int):
        number: Dimension | None = max(0, -(-length // stride))
    else:
        number = divide_exactly(length, stride)
    if number is None:
        raise ShapeError(
            f"the slice {asked} of axis {axis} of shape {show(shape)}: {length} elements by steps of {stride} "
            f"is no dimension; an axis of {stride}*{next(iter(sorted(size_names(length))))} would fit"
        )
    if number == 0:
        return 0, 0, 1, False
    return (high - 1 - (number - 1) * stride if step < 0 else low), number, *_steps(number, step)


def _steps(number: Dimension, step: int) -> tuple[int, bool]:
    """One element has no order and no distance: equal slices are one node."""
    return (1, False) if number == 1 else (abs(step), step < 0)


def _whole(value: Any) -> int:
    try:
        return python.index(value)
    except TypeError:
        raise ShapeError(f"a slice goes by integers, but {value!r} was given") from None


def split(x: Tensor, sections_or_indices: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Parts of x along an axis, as numpy.split: equal sections by their number, or cuts before the given indices."""
    with Telling(x):
        at = axis_of("split", x.node, axis)
        extent = x.shape[at]
        if isinstance(sections_or_indices, (int, np.integer)):
            sections = int(sections_or_indices)
            each = divide_exactly(extent, sections) if sections > 0 else None
            if each is None:
                raise ShapeError(
                    f"split of shape {show(x.shape)} along axis {at}: {extent} is no {sections} equal sections"
                )
            return [cut(x, at, each * k, each * (k + 1)) for k in range(sections)]
        edges = [None, *sections_or_indices, None]
        ranges = [canonical(slice(a, b), at, x.shape) for a, b in pairwise(edges)]
        return [cut(x, at, start, start + n) for start, n, _, _ in ranges]


def pad(x: Tensor, pad_width: Any, value: float = 0.0) -> Tensor:
    """x with a border of one value, as numpy.pad: `pad_width` is n, (before, after), or such a pair for each axis."""
    rank = len(x.shape)
    with Telling(x):
        try:
            pairs = np.broadcast_to(np.asarray(pad_width), (rank, 2))
        except ValueError:
            pairs = np.array([[-1]])
        if pairs.dtype.kind not in "iu" or (pairs < 0).any():
            raise ShapeError(
                f"pad of shape {show(x.shape)} by {pad_width!r}: n, (before, after) or such a pair for each axis "
                "is wanted, whole and not negative"
            )
        if x.dtype not in FLOATS and value != int(value):
            raise DTypeError(f"pad of {x.dtype} with {value}: a whole number is wanted")
    widths = [(int(a), int(b)) for a, b in pairs]
    if value == 0:
        shape = tuple(a + d + b for d, (a, b) in zip(x.shape, widths, strict=True))
        return x if shape == x.shape else embed(x, shape, tuple(a for a, _ in widths), (1,) * rank)
    fill = x.graph.constant(np.asarray(value, x.dtype))
    for axis, (a, b) in enumerate(widths):
        borders = [broadcast_to(fill, (*x.shape[:axis], n, *x.shape[axis + 1 :])) for n in (a, b)]
        parts = [*borders[: a > 0], x, *borders[1 : 1 + (b > 0)]]
        x = concatenate(parts, axis=axis) if len(parts) > 1 else x
    return x


# ---------------------------------------------------------------------------------------------------------------------
# Helpers
# ---------------------------------------------------------------------------------------------------------------------


def total(dims: Any) -> Dimension:
    result: Dimension = 0
    for d in dims:
        result = d + result
    return result


def without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])


def in_one_graph(name: str, tensors: Sequence[Any]) -> list[Tensor]:
    """Operands of any kind as tensors of the graph that one of them is of."""
    given = tensors if isinstance(tensors, (list, tuple)) else ()
    graph = next((t.graph for t in given if isinstance(t, Tensor)), None)
    if graph is None:
        raise ShapeError(f"{name} takes a list of tensors, as in {name}([a, b])")
    return [t if isinstance(t, Tensor) else graph.constant(t) for t in tensors]


__all__ = ["concatenate", "embed", "flip", "pack", "pad", "split", "stack"]
