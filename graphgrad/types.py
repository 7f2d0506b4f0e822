"""Dimensions, shapes, dtypes, constant values and counts: what is known of a value before there are numbers."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from graphgrad.errors import CallError, DTypeError, GraphgradError, ShapeError

Array: TypeAlias = npt.NDArray[Any]

# ---------------------------------------------------------------------------------------------------------------------
# Dimensions: integers, or integer polynomials in named sizes
# ---------------------------------------------------------------------------------------------------------------------

Monomial: TypeAlias = tuple[tuple[str, int], ...]  # (("N", 1), ("k", 2)) is N·k²; () is 1


class Dim:
    """An integer polynomial in named sizes, such as N, 2·N or N + 1. A polynomial without names is an int, never a Dim.

    >>> N = dimension("N")
    >>> N * 2 + 1, N - N, (N * 6) // 3
    (2*N + 1, 0, 2*N)
    """

    __slots__ = ("terms",)
    terms: tuple[tuple[Monomial, int], ...]  # sorted, without zeros: equal polynomials are equal tuples
    _known: ClassVar[dict[tuple[tuple[Monomial, int], ...], Dim]] = {}

    def __new__(cls, terms: tuple[tuple[Monomial, int], ...]) -> Dim:
        """The one of these terms. So shapes, by which so much is looked up, compare and hash by identity."""
        found = cls._known.get(terms)
        if found is None:
            made = object.__new__(cls)
            object.__setattr__(made, "terms", terms)
            found = cls._known.setdefault(terms, made)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a dimension never changes, but its {name} was to be {value!r}")

    def __reduce__(self) -> Any:
        return Dim, (self.terms,)

    def __add__(self, other: Dimension) -> Dimension:
        total = dict(self.terms)
        for monomial, factor in _terms(other):
            total[monomial] = total.get(monomial, 0) + factor
        return _polynomial(total)

    def __mul__(self, other: Dimension) -> Dimension:
        total: dict[Monomial, int] = {}
        for m, a in self.terms:
            for n, b in _terms(other):
                product = _times(m, n)
                total[product] = total.get(product, 0) + a * b
        return _polynomial(total)

    def __floordiv__(self, other: Dimension) -> Dimension:
        quotient = divide_exactly(self, other)
        if quotient is None:
            raise ShapeError(f"{self} cannot be divided by {other} without a rest")
        return quotient

    def __neg__(self) -> Dimension:
        return self * -1

    def __sub__(self, other: Dimension) -> Dimension:
        return self + (-other)

    def __rsub__(self, other: int) -> Dimension:
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__

    @lru_cache(maxsize=1024)  # a graph has few, each in many shapes  # noqa: B019
    def __str__(self) -> str:
        text = ""
        for monomial, factor in sorted(self.terms, key=lambda t: (-sum(p for _, p in t[0]), t[0])):
            sign = ("-" if factor < 0 else "") if not text else (" - " if factor < 0 else " + ")
            powers = [name if power == 1 else f"{name}**{power}" for name, power in monomial]
            number = [str(abs(factor))] if abs(factor) != 1 or not powers else []
            text += sign + "*".join(number + powers)
        return text

    __repr__ = __str__


Dimension: TypeAlias = "int | Dim"
Shape: TypeAlias = "tuple[Dimension, ...]"
Sizes: TypeAlias = Mapping[str, int]  # what the names stand for in one call: {"N": 64}


def _terms(value: Dimension) -> tuple[tuple[Monomial, int], ...]:
    return value.terms if isinstance(value, Dim) else (((), int(value)),)


def _polynomial(terms: Mapping[Monomial, int]) -> Dimension:
    kept = tuple(sorted((m, f) for m, f in terms.items() if f))
    if not kept:
        return 0
    return kept[0][1] if len(kept) == 1 and kept[0][0] == () else Dim(kept)


def _times(m: Monomial, n: Monomial, sign: int = 1) -> Monomial:
    powers = dict(m)
    for name, power in n:
        powers[name] = powers.get(name, 0) + sign * power
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def dimension(value: Any) -> Dimension:
    """A dimension from an int or from text such as "N", "2*N" or "N + 1". Raises ShapeError for anything else."""
    if isinstance(value, Dim):
        return value
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        if value < 0:
            raise ShapeError(f"a dimension is not negative, but {value} was given")
        return int(value)
    if isinstance(value, str) and (parsed := _parse(value)) is not None:
        return parsed
    raise ShapeError(f"a dimension is an int or a name such as 'N' or '2*N + 1', but {value!r} was given")


def _parse(text: str) -> Dimension | None:
    """Sums of products of integers, names and powers of names: the form that str(Dim) gives back."""
    total: Dimension = 0
    for sign, product in re.findall(r"([+-]?)([^+-]+)", text.strip()):
        term: Dimension = -1 if sign == "-" else 1
        for factor in re.sub(r"\s*\*\*\s*", "^", product).split("*"):
            match = re.fullmatch(r"(?:(\d+)|([^\W\d]\w*)(?:\^(\d+))?)", factor.strip())
            if not match:
                return None
            number, name, power = match.groups()
            term = term * (int(number) if number else Dim(((((name, int(power or 1)),), 1),)))
        total = term + total
    rebuilt = re.sub(r"[+-]?[^+-]+", "", text.strip())
    return None if rebuilt or not text.strip() else total


def divide_exactly(a: Dimension, b: Dimension) -> Dimension | None:
    """The polynomial q with q·b = a, or None where there is none (long division by leading terms)."""
    if b == 0:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return None if a % b else a // b
    divisor = _terms(b)
    names = sorted(size_names(a) | size_names(b))

    def order(term: tuple[Monomial, int]) -> tuple[int, list[int]]:
        """By degree, then by the powers of each name in turn: an order that products keep, as long division needs."""
        powers = dict(term[0])
        return sum(powers.values()), [powers.get(name, 0) for name in names]

    lead, lead_factor = max(divisor, key=order)
    quotient: Dimension = 0
    while a != 0:
        top, top_factor = max(_terms(a), key=order)
        monomial = _times(top, lead, -1)
        if top_factor % lead_factor or any(power < 0 for _, power in monomial):
            return None
        step = _polynomial({monomial: top_factor // lead_factor})
        quotient, a = quotient + step, a - step * b
    return quotient


def size_names(value: Dimension) -> set[str]:
    """The names that a dimension depends on."""
    return {name for monomial, _ in _terms(value) for name, _ in monomial} if isinstance(value, Dim) else set()


def size_of(value: Dimension, sizes: Sizes) -> int:
    """The number that a dimension stands for in a call."""
    if isinstance(value, int):
        return value
    total = 0
    for monomial, factor in value.terms:
        for name, power in monomial:
            factor *= sizes[name] ** power
        total += factor
    return total


def is_masked(value: Any) -> bool:
    """Whether it is an array with a mask. NumPy loads the module of these when it is first named, which takes longer
    than to compile a small network: as long as nobody has, there are none."""
    return "numpy.ma" in sys.modules and bool(np.ma.is_masked(value))


def has_sizes(attribute: Any) -> bool:
    """Whether an attribute depends on named sizes."""
    return any(map(has_sizes, attribute)) if isinstance(attribute, tuple) else isinstance(attribute, Dim)


def bind(value: Any, sizes: Sizes) -> Any:
    """An attribute with every dimension in it replaced by its number."""
    if isinstance(value, Dim):
        return size_of(value, sizes)
    return tuple(bind(v, sizes) for v in value) if isinstance(value, tuple) else value


@lru_cache(maxsize=1024)  # a graph has few shapes
def count(shape: Shape) -> Dimension:
    """The number of elements of a shape."""
    product: Dimension = 1
    for extent in shape:
        product = extent * product
    return product


def show(shape: Shape) -> str:
    """A shape as Python writes it, names bare: (N, 2)."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def broadcast(*shapes: Shape) -> Shape | None:
    """NumPy's broadcasting of shapes; None where they do not fit."""
    arrays = [shape for shape in shapes if shape]  # a number fits all
    if not arrays or arrays.count(arrays[0]) == len(arrays):
        return arrays[0] if arrays else ()
    rank = max(map(len, arrays))
    result = []
    for column in zip(*[(1,) * (rank - len(s)) + s for s in arrays], strict=True):
        wide = [d for d in column if d != 1]
        if any(d != wide[0] for d in wide[1:]):
            return None
        result.append(wide[0] if wide else 1)
    return tuple(result)


def solve_sizes(leaves: Iterable[tuple[str, Shape, tuple[int, ...]]]) -> dict[str, int]:
    """The named sizes, from (name, declared shape, the array's shape) of each leaf. Raises CallError at a clash."""
    sizes: dict[str, int] = {}
    open_equations: list[tuple[str, Shape, tuple[int, ...], int]] = []
    for name, shape, actual in leaves:
        if len(shape) != len(actual):
            raise CallError(
                f"{name} has shape {show(actual)}, but {len(shape)} dimension{'s' * (len(shape) != 1)} were declared: "
                f"{show(shape)}"
            )
        open_equations += [(name, shape, actual, axis) for axis in range(len(shape))]
    while open_equations:
        later = []
        for name, shape, actual, axis in open_equations:
            unknown = size_names(shape[axis]) - sizes.keys()
            if not unknown:
                if size_of(shape[axis], sizes) != actual[axis]:
                    known = {n: sizes[n] for n in sorted(size_names(shape[axis]))}
                    because = f" with {', '.join(f'{n} = {v}' for n, v in known.items())}" if known else ""
                    raise CallError(
                        f"{name} has shape {show(actual)}, but {show(shape)} was declared: "
                        f"axis {axis} is {actual[axis]} where {shape[axis]}{because} is wanted"
                    )
            elif (solution := _solve(shape[axis], unknown, actual[axis], sizes)) is not None:
                sizes.update(solution)
            else:
                later.append((name, shape, actual, axis))
        if len(later) == len(open_equations):
            name, shape, actual, axis = later[0]
            raise CallError(
                f"{name}: axis {axis} is {actual[axis]}, from which {shape[axis]} cannot be solved for a size"
            )
        open_equations = later
    return sizes


def _solve(value: Dimension, unknown: set[str], actual: int, sizes: Sizes) -> dict[str, int] | None:
    """One unknown that enters to the first power: factor·name + rest = actual."""
    if len(unknown) != 1:
        return None
    (name,) = unknown
    rest, slope = (size_of(value, {**sizes, name: v}) for v in (0, 1))
    slope -= rest
    if slope == 0 or (actual - rest) % slope or size_of(value, {**sizes, name: 2}) != rest + 2 * slope:
        return None
    found = (actual - rest) // slope
    return {name: found} if found >= 0 else None


# ---------------------------------------------------------------------------------------------------------------------
# Dtypes
# ---------------------------------------------------------------------------------------------------------------------

DTYPES = ("bool", "int64", "float32", "float64")
FLOATS = ("float32", "float64")


def dtype_name(value: Any) -> str:
    """The name of one of the four dtypes. Raises DTypeError for all others."""
    if type(value) is str and value in DTYPES:  # mostly
        return value
    try:
        name = str(np.dtype(value).name)
    except (TypeError, ValueError):  # the latter of what has a dtype, but is none
        name = str(value)
    if name not in DTYPES:
        raise DTypeError(f"dtype {name!r} is not one of {', '.join(DTYPES)}")
    return name


def promote(kinds: Iterable[tuple[str, bool]]) -> tuple[str, bool]:
    """NumPy 2's promotion of (dtype, weak) pairs. Weak values are Python's numbers: they never widen a float array."""
    return _promoted(tuple(kinds))


@lru_cache(maxsize=1024)
def _promoted(kinds: tuple[tuple[str, bool], ...]) -> tuple[str, bool]:
    if len(set(kinds)) == 1:
        return kinds[0]
    strong = weak = -1
    for dtype, is_weak in kinds:
        rank = DTYPES.index(dtype)
        if is_weak:
            weak = max(weak, rank)
        else:
            # int64 with float32 is float64: float32 cannot hold 64-bit integers.
            strong = 3 if {strong, rank} == {1, 2} else max(strong, rank)
    if strong < 0:
        return DTYPES[weak], True
    if weak >= 2 and strong < 2:
        return "float64", False
    return DTYPES[max(strong, 1) if weak == 1 else strong], False


def np_dtype(dtype: str) -> str:
    """What NumPy calls it: np.float64, np.bool_."""
    return "bool_" if dtype == "bool" else dtype


def as_float(dtype: str) -> str:
    """The dtype in which a function of real numbers is computed: integers and bools enter as float64."""
    return dtype if dtype in FLOATS else "float64"


@dataclass(frozen=True, slots=True)
class Value:
    """A constant's numbers as an attribute: read-only, equal by dtype, shape and bytes (so -0.0 is not 0.0)."""

    key: tuple[str, tuple[int, ...], bytes]
    array: Array = field(compare=False)

    @staticmethod
    def of(value: Any) -> Value:
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise DTypeError(f"the constant {value} does not fit int64")
        array = np.asarray(value)
        kind = array.dtype.kind
        wanted = "int64" if kind in "iu" else _NAMES.get(array.dtype)
        if wanted is None:
            raise DTypeError(
                f"a constant of dtype {array.dtype.name!r} was given; its dtype may be {', '.join(DTYPES)}"
            )
        if kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise DTypeError("a constant of dtype uint64 was given with values that int64 cannot hold")
        array = np.array(array, dtype=wanted, order="C")
        array.flags.writeable = False
        return Value((wanted, array.shape, array.tobytes()), array)

    def __repr__(self) -> str:
        return str(self.array.item()) if self.array.ndim == 0 else f"{self.key[0]}{show(self.array.shape)}"


_NAMES = {np.dtype(name): name for name in DTYPES}


# ---------------------------------------------------------------------------------------------------------------------
# Settings
# ---------------------------------------------------------------------------------------------------------------------


def whole(name: str, value: Any, least: int) -> int:
    """A whole number from `least` on."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise GraphgradError(f"{name} is a whole number from {least} on, but {value!r} was given")
    return int(value)
