"""einsum: sums of products by the names of axes, written out as diagonals, sums, transposes and one matrix product."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from graphgrad.errors import DTypeError, GraphgradError, ShapeError
from graphgrad.operators.elementwise import cast
from graphgrad.operators.linear import as_tensors, diagonal, matmul
from graphgrad.operators.reduce import sum
from graphgrad.operators.rows import Inferred, Node, operator
from graphgrad.operators.shape import Telling, reshape, transpose
from graphgrad.tensor import Operand, Tensor
from graphgrad.types import Dimension, Shape, broadcast, count, promote, show

#: Names of axes: letters, and ".1", ".2", ... from the right for those that an ellipsis stands for.
Labels: TypeAlias = "tuple[str, ...]"


class Parsed(NamedTuple):
    """Subscripts together with the shapes that they are applied to."""

    terms: tuple[Labels, ...]
    output: Labels
    extents: dict[str, Dimension]
    text: str  # without spaces, the result written out


def parse(subscripts: str, shapes: tuple[Shape, ...]) -> Parsed:
    """What numpy.einsum reads in subscripts. Raises GraphgradError, and ShapeError for what does not fit."""
    if not isinstance(subscripts, str):
        raise GraphgradError(f"einsum: subscripts are text such as 'ij,jk->ik', but {subscripts!r} was given")
    text = subscripts.replace(" ", "")
    told = f"einsum {subscripts!r}"
    if not re.fullmatch(r"([A-Za-z,]|\.\.\.)*(->([A-Za-z]|\.\.\.)*)?", text):
        raise GraphgradError(f"{told}: subscripts are letters, commas, '...' and one '->', as in '...ij,jk->...ik'")
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if len(parts) != len(shapes):
        raise GraphgradError(
            f"{told} names {len(parts)} operand{'s' * (len(parts) != 1)}, but {len(shapes)} were given"
        )
    terms = tuple(_labels(told, part, shape) for part, shape in zip(parts, shapes, strict=True))
    extents = _extents(told, terms, shapes)
    dots = tuple(sorted((name for name in extents if name[0] == "."), key=lambda name: -int(name[1:])))
    if not arrow:
        letters = left.replace(".", "").replace(",", "")
        right = "..." * ("..." in left) + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    output = _result(told, right, dots, extents)
    return Parsed(terms, output, extents, f"{left}->{right}")


def _labels(told: str, part: str, shape: Shape) -> Labels:
    """One operand's axes by name."""
    before, dots, after = part.partition("...")
    if "." in after:
        raise GraphgradError(f"{told}: one '...' an operand, but {part!r} has several")
    rest = len(shape) - len(before) - len(after)
    if rest < 0 or (rest and not dots):
        given = len(before) + len(after)
        raise ShapeError(
            f"{told}: {part!r} names {given} axes of an operand of shape {show(shape)}, which has {len(shape)}"
        )
    return (*before, *(f".{k}" for k in range(rest, 0, -1)), *after)


def _extents(told: str, terms: tuple[Labels, ...], shapes: tuple[Shape, ...]) -> dict[str, Dimension]:
    """Each name's dimension. Axes of one name are equal; those of two operands may also broadcast, one of them 1."""
    extents: dict[str, Dimension] = {}
    for term, shape in zip(terms, shapes, strict=True):
        own: dict[str, Dimension] = {}
        for name, extent in zip(term, shape, strict=True):
            if own.setdefault(name, extent) != extent:
                raise ShapeError(
                    f"{told}: {name!r} is {own[name]} and {extent} in shape {show(shape)}; a diagonal has them equal"
                )
        for name, extent in own.items():
            found = broadcast((extents.get(name, 1),), (extent,))
            if found is None:
                shown = repr(name) if name[0] != "." else "an axis of '...'"
                raise ShapeError(
                    f"{told} of shapes {' and '.join(map(show, shapes))}: {shown} is {extents[name]} and {extent}; "
                    "dimensions fit where they are equal or one of them is 1"
                )
            extents[name] = found[0]
    return extents


def _result(told: str, right: str, dots: Labels, extents: dict[str, Dimension]) -> Labels:
    before, ellipsis, after = right.partition("...")
    if "." in after:
        raise GraphgradError(f"{told}: one '...' in the result, but {right!r} has several")
    if dots and not ellipsis:
        raise GraphgradError(
            f"{told}: '...' stands for {len(dots)} axes, which the result {right!r} lacks; '...{right}' would fit"
        )
    for name in (*before, *after):
        if name not in extents:
            raise GraphgradError(f"{told}: {name!r} of the result names an axis of no operand")
        if right.count(name) > 1:
            raise GraphgradError(f"{told}: {name!r} stands in the result twice")
    return (*before, *dots, *after)


# ---------------------------------------------------------------------------------------------------------------------
# Written out
# ---------------------------------------------------------------------------------------------------------------------


class Named(NamedTuple):
    """A tensor and the names of its axes."""

    x: Any
    names: Labels

    def diagonals(self) -> Named:
        """A name for each axis of its own: axes of one name become their diagonal."""
        x, names = self
        for name in dict.fromkeys(names):
            while names.count(name) > 1:
                a = names.index(name)
                b = names.index(name, a + 1)
                x = diagonal(x, 0, a, b)
                names = (*(n for k, n in enumerate(names) if k not in (a, b)), name)
        return Named(x, names)

    def sum_over(self, gone: Labels) -> Named:
        """The sum over some names; an axis of 1 only loses its name."""
        axes = tuple(k for k, n in enumerate(self.names) if n in gone)
        if not axes:
            return self
        rest = tuple(d for k, d in enumerate(self.x.shape) if k not in axes)
        ones = all(self.x.shape[k] == 1 for k in axes)
        names = tuple(n for n in self.names if n not in gone)
        return Named(reshape(self.x, rest) if ones else sum(self.x, axes), names)

    def in_order(self, names: Labels) -> Any:
        """The tensor with its axes in the order of `names`."""
        order = tuple(self.names.index(n) for n in names)
        return self.x if order == tuple(range(len(order))) else transpose(self.x, order)

    def extent(self, name: str) -> Dimension:
        dim: Dimension = self.x.shape[self.names.index(name)]
        return dim

    def extents(self, names: Labels) -> Shape:
        return tuple(self.extent(n) for n in names)


def shaped(x: Any, shape: Shape) -> Any:
    return x if x.shape == shape else reshape(x, shape)


def of_one(x: Any, subscripts: str) -> Any:
    """einsum of one operand."""
    parsed = parse(subscripts, (x.shape,))
    found = Named(x, parsed.terms[0]).diagonals()
    return found.sum_over(tuple(n for n in found.names if n not in parsed.output)).in_order(parsed.output)


def of_two(x: Any, y: Any, subscripts: str) -> Any:
    """einsum of two operands: names of one alone that the result lacks are summed first, then it is one product."""
    parsed = parse(subscripts, (x.shape, y.shape))
    dtype = promote([(x.dtype, x.node.weak), (y.dtype, y.node.weak)])[0]  # also that of sums before the product
    x, y = (t if t.dtype == dtype or t.node.weak else cast(t, dtype) for t in (x, y))
    a, b = (Named(t, names).diagonals() for t, names in zip((x, y), parsed.terms, strict=True))
    a, b = (p.sum_over(tuple(n for n in p.names if n not in q.names + parsed.output)) for p, q in ((a, b), (b, a)))
    contracted = tuple(n for n in a.names if n in b.names and n not in parsed.output)
    # Where one of two dimensions is 1, the sum is over the other alone.
    uneven = tuple(n for n in contracted if a.extent(n) != b.extent(n))
    a, b = a.sum_over(uneven), b.sum_over(uneven)
    contracted = tuple(n for n in contracted if n not in uneven)
    return _contracted(a, b, contracted, parsed.output) if contracted else _multiplied(a, b, parsed.output)


def _multiplied(a: Named, b: Named, output: Labels) -> Any:
    """Nothing is summed: each axis stands in its place in the result, and broadcasting does the rest."""

    def placed(p: Named) -> Any:
        ordered = Named(p.in_order(tuple(n for n in output if n in p.names)), tuple(n for n in output if n in p.names))
        first = next((k for k, n in enumerate(output) if n in p.names), len(output))
        return shaped(ordered.x, tuple(ordered.extent(n) if n in p.names else 1 for n in output[first:]))

    return placed(a) * placed(b)


def _contracted(a: Named, b: Named, contracted: Labels, output: Labels) -> Any:
    """One matrix product: (batch, left, contracted) @ (batch, contracted, right)."""
    batch = tuple(n for n in a.names if n in b.names and n in output)
    left = tuple(n for n in output if n in a.names and n not in b.names)
    right = tuple(n for n in output if n in b.names and n not in a.names)
    inner = (count(a.extents(contracted)),)
    # Without a batch, a missing side is a vector, which NumPy multiplies as it is.
    rows = (count(a.extents(left)),) if left or batch else ()
    columns = (count(b.extents(right)),) if right or batch else ()
    x = shaped(a.in_order(batch + left + contracted), a.extents(batch) + rows + inner)
    y = shaped(b.in_order(batch + contracted + right), b.extents(batch) + inner + columns)
    product = matmul(x, y)
    found = shaped(product, product.shape[: len(batch)] + a.extents(left) + b.extents(right))
    return Named(found, batch + left + right).in_order(output)


@operator(
    name="einsum",
    reference=lambda x, y, subscripts: np.einsum(subscripts, *(np.asarray(v, np.result_type(x, y)) for v in (x, y))),
    definition=of_two,
    kind="multilinear",
    text="einsum('{subscripts}', {x:0}, {y:0})",
    latex=r"\operatorname{{einsum}}_{{\text{{{subscripts}}}}}({x:0}, {y:0})",
    analytic=True,
)
def einsum_row(x: Node, y: Node, subscripts: str) -> Inferred:
    """einsum of two operands, as one node."""
    parsed = parse(subscripts, (x.shape, y.shape))
    dtype = promote([(x.dtype, x.weak), (y.dtype, y.weak)])[0]
    _numbers(dtype)
    return Inferred(tuple(parsed.extents[n] for n in parsed.output), dtype, {"subscripts": parsed.text})


def _numbers(dtype: str) -> None:
    if dtype == "bool":
        raise DTypeError("einsum of bools: numbers are wanted; gg.cast(x, 'float64') makes them")


def einsum(subscripts: str, *operands: Operand) -> Tensor:
    """Sums of products of one or two tensors by the names of their axes, as numpy.einsum.

    A name that stands twice in an operand is its diagonal; names that the result lacks are summed over; '...' stands
    for axes without names, which broadcast. Without '->', the result has the names that stand once, in alphabetical
    order.

    >>> import graphgrad as gg
    >>> g = gg.Graph()
    >>> x, y = g.input("x", ("N", 3)), g.input("y", (3, 4))
    >>> gg.einsum("ij,jk->ik", x, y)
    <v2: einsum (N, 4) float64>
    """
    if len(operands) not in (1, 2):
        raise GraphgradError(
            f"einsum takes one or two operands, but {len(operands)} were given; more are multiplied two at a time"
        )
    tensors = as_tensors("einsum", *operands)
    if len(tensors) == 2:
        return einsum_row(*tensors, subscripts=subscripts)
    with Telling(tensors[0]):
        _numbers(tensors[0].dtype)
        result: Tensor = of_one(tensors[0], subscripts)
        return result


__all__ = ["einsum"]
