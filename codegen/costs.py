"""What statements over matrices cost more than they must, by how the matrices lie: as they are written, or transposed.

A product of small matrices is up to twice as slow where the second operand alone is the transpose of what lies there:
it is then computed by inner products, each summed up at its end. Where both are, that costs little for multiples of
sixteen rows, and some more for others. A small result of long inner products, such as a last layer's, is no slower that
way if it has few columns; but a larger one with few columns is several times as slow.
Of a large one the BLAS copies both operands into the order of its kernel, in which the second lies best as it is, and
the first nearly as well transposed; with float32 it is quicker about a tall first one than about a wide second one, and
with float64 the other way round. As many columns as a register has numbers, or a multiple, fill those of the kernel.

The figures were fitted to random products of OpenBLAS on a CPU with AVX-512. On one without, all are smaller, and the
order is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

#: Multiplications of a product up to which OpenBLAS works on the operands where they lie (on CPUs with AVX-512).
SMALL = 100**3
#: Multiplications up to which the product of a hidden layer had better have its bias in it.
JOINED = 10**7
#: Numbers of a result that OpenBLAS computes by inner products where they lie, at most, and of each of those, at least.
INNER, LONG = 1200, 32
#: Columns, below which such a small result costs nothing more, and a larger one much.
FEW = 16
#: Nanoseconds; their ratios matter, not the machine.
ENDED = 0.6  # for an element of a small result of long inner products, if it has many columns
ROW = 10.0  # for a row to which another row, or a number, is added
ASTRAY = 1.0  # for an element that is read against the order in which it lies
BIAS_ROW, BIAS = 4.0, 0.06  # for a row to which a bias is added, and for an element of it
BIAS_COLUMN, BIAS_TURNED = 3.0, 0.13  # for a number of a bias that is added to a row of its own, and for an element
SUM = 0.05  # for an element of what is summed up over the batch
COPY_ROW, COPY = 4.0, 0.08  # for a row of inputs that is copied beside ones, and for an element of it
COPY_NUMBER = 0.5  # for a row of one number, which is no loop of its own
COPY_LARGE = 0.2  # for an element of those of a large product, which is slower with one more row
UNIT_ROW, UNIT = 2.8, 0.24  # for a row of a unit matrix that is picked and subtracted, and for an element of it
INDEX, INDEXED = 180.0, 5.0  # for taking off its ones by an index in place of that, and for a row
STATEMENT = 400.0  # for one more statement
QUICK = 150.0  # for one that adds a number to a vector
ASSIGNED = 25.0  # for one that copies, which is no call
SPREAD = 850.0  # for one that adds a row to all rows


class Rates(NamedTuple):
    """What products of one dtype cost: nanoseconds for each of what is told."""

    lanes: int  # numbers of a register
    # of small ones:
    short: float  # multiplications that the columns lack to the next multiple of the lanes
    read: float  # elements of a second operand that alone is transposed,
    both: float  # or with the first one, whose rows are no multiple of sixteen
    summed: float  # elements of the result of a second operand that is transposed,
    each: float  # and multiplications of that, where the first operand is not
    narrow: float  # multiplications of each row, where such a result has many rows of few columns
    # of large ones:
    copied: float  # elements of a second operand that is transposed
    gathered: float  # elements of a first operand that is transposed
    second: float  # elements of a second operand, however it lies
    first: float  # elements of a first operand
    uneven: float  # elements of a first operand, where its columns are no multiple of the lanes


RATES = {
    "float32": Rates(
        lanes=16,
        short=0.003,
        read=0.3,
        both=0.25,
        summed=0.06,
        each=0.0035,
        narrow=0.17,
        copied=0.26,
        gathered=0.03,
        second=0.033,
        first=-0.033,
        uneven=0.135,
    ),
    "float64": Rates(
        lanes=8,
        short=0.011,
        read=0.1,
        both=0.12,
        summed=0.12,
        each=0.0115,
        narrow=0.3,
        copied=0.15,
        gathered=0.47,
        second=0.1,
        first=0.3,
        uneven=0.36,
    ),
}

Cost = Callable[[Collection[int]], float]  # of the groups of values that lie transposed


def cheapest(costs: Sequence[tuple[Cost, Collection[int]]]) -> set[int]:
    """The groups that had better lie transposed, from costs with the groups that each depends on.

    From none, and from every second one, groups are turned one by one as long as that makes the whole cheaper; the best
    of these.
    """
    of: dict[int, list[int]] = {}  # the places of the costs that depend on a group
    for k, (_, groups) in enumerate(costs):
        for g in groups:
            of.setdefault(g, []).append(k)
    order = list(of)
    found = [_turned_one_by_one(costs, of, set(start)) for start in ((), order[::2], order[1::2])]
    return min(found, key=lambda best: best[0])[1]


def _turned_one_by_one(
    costs: Sequence[tuple[Cost, Collection[int]]], of: Mapping[int, Sequence[int]], turned: set[int]
) -> tuple[float, set[int]]:
    """The cost of the whole at last, and what then lies transposed."""
    now = [cost(turned) for cost, _ in costs]
    waiting = dict.fromkeys(of)
    while waiting:  # each turn makes the whole cheaper, so this ends
        g = next(iter(waiting))
        del waiting[g]
        turned ^= {g}
        then = [costs[k][0](turned) for k in of[g]]
        if sum(then) < sum([now[k] for k in of[g]]) - 1.0:
            for k, cost in zip(of[g], then, strict=True):
                now[k] = cost
            waiting |= dict.fromkeys(other for k in of[g] for other in costs[k][1] if other != g)
        else:
            turned ^= {g}
    return sum(now), turned


@lru_cache(maxsize=1024)
def product_cost(
    m: int, k: int, n: int, first: bool, second: bool, turned: bool = False, dtype: str = "float32"
) -> float:
    """Of an m x k by k x n product: operands may be transposes of what lies there, and it may lie transposed itself."""
    if turned:  # then it is the product of the transposes, the other way round
        m, n, first, second = n, m, not second, not first
    if m == 1 or n == 1:
        return 0.0
    rates = RATES.get(dtype, RATES["float64"])
    if m * k * n > SMALL:
        uneven = rates.uneven if n % rates.lanes else 0.0
        return k * n * (rates.second + rates.copied * second) + m * k * (rates.first + rates.gathered * first + uneven)
    if not second:
        return rates.short * m * k * (-n % rates.lanes)
    if first:
        return rates.summed * m * n + rates.both * k * n if m % 16 else 0.5 * rates.summed * m * n
    if k >= LONG and m * n <= INNER:
        return ENDED * m * n if n > FEW else 0.0
    if k >= LONG and n < FEW:
        return rates.narrow * m * k
    return rates.read * k * n + (rates.summed + rates.each * k) * m * n


def joins_bias(samples: int, inputs: int, outputs: int, *, copied: bool, turned: bool = False) -> bool:
    """Whether ones beside h may put a bias into h @ W. A large product hides its sums. Inputs are copied beside them,
    which a hidden h is not, and that may cost more than the bias, which depends on how h @ W lies."""
    if inputs == 1 and (samples == 1) != (outputs == 1):  # multiples by one number, which is BLAS's simplest routine
        return False
    if not copied:
        return samples * inputs * outputs <= JOINED
    return ones_cost(samples, inputs, outputs) < adding_cost(samples, outputs, turned) + summing_cost(samples, outputs)


def adding_cost(samples: int, outputs: int, turned: bool) -> float:
    """Of a bias, to each row of z, which may lie transposed."""
    if outputs == 1 or samples == 1:
        return QUICK
    if turned:
        return SPREAD + outputs * (BIAS_COLUMN + BIAS_TURNED * samples)
    return SPREAD + samples * (BIAS_ROW + BIAS * outputs)


def summing_cost(samples: int, outputs: int) -> float:
    """Of the gradient of a bias."""
    return STATEMENT + (SUM * samples * outputs if outputs > 1 else 0.0)


def ones_cost(samples: int, inputs: int, outputs: int) -> float:
    """Of copying inputs beside ones for a layer."""
    size = samples * inputs * outputs
    if size > JOINED or size <= SMALL < size + samples * outputs:
        return float("inf")
    row = COPY_ROW if inputs > 1 else COPY_NUMBER
    return ASSIGNED + samples * (row + (COPY if size <= SMALL else COPY_LARGE) * inputs)


class Layer(NamedTuple):
    """h @ W.T + b with the products of its derivative."""

    inputs: int
    outputs: int
    is_first: bool  # h depends on no parameter
    has_bias: bool  # b lies behind W
    dtype: str


@lru_cache(maxsize=1024)  # a network's layers are of few kinds
def layer_cost(layer: Layer, samples: int, h: bool, z: bool, w: bool) -> float:
    """With h, z and W lying transposed or not. The gradient of each lies as it does."""
    n, i, o = samples, layer.inputs, layer.outputs
    product = partial(product_cost, dtype=layer.dtype)
    joined = layer.has_bias and w and (layer.is_first or h) and joins_bias(n, i, o, copied=layer.is_first, turned=z)
    cost = ones_cost(n, i, o) if joined and layer.is_first else 0.0
    if layer.has_bias and not joined:
        cost += adding_cost(n, o, z) + summing_cost(n, o)
    rows = i + joined
    cost += product(n, rows, o, h, not w, z) + (product(rows, n, o, not h, z) if w else product(o, n, i, not z, h))
    return cost if layer.is_first else cost + product(n, o, i, z, w, h)
