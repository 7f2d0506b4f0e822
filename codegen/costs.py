"""What statements over matrices cost more than they must, by how the matrices lie: as they are written, or transposed.

A product of small matrices is up to twice as slow where the second operand alone is the transpose of what lies there:
it is then computed by inner products, each summed up at its end. Where both are, that costs little for multiples of
sixteen rows, and three quarters as much for others. A small result of long inner products, such as a last layer's, is
no slower that way.
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
#: Nanoseconds; their ratios matter, not the machine.
READ = 0.3  # for an element of such a product's second operand that is transposed
SUMMED = 0.15  # for an element of its result
ENDED = 0.3  # for an element of a small result of long inner products
ROW = 10.0  # for a row to which another row, or a number, is added
ASTRAY = 1.0  # for an element that is read against the order in which it lies
COPY = 0.07  # for an element that is copied
SHORT, SHORT_ROW = 8, 2.0  # numbers of a short row; for adding a bias to one, more than for copying a row of inputs
UNIT_ROW, UNIT = 2.8, 0.24  # for a row of a unit matrix that is picked and subtracted, and for an element of it
INDEX, INDEXED = 180.0, 5.0  # for taking off its ones by an index in place of that, and for a row
STATEMENT = 400.0  # for one more statement
SPREAD = 700.0  # for one that adds a row to all rows


class Rates(NamedTuple):
    """What products of one dtype cost."""

    lanes: int  # numbers of a register
    short: float  # for a multiplication that the columns of a small one lack to the next multiple of the lanes
    copied: float  # for an element of a large one's second operand that is transposed
    gathered: float  # for an element of its first operand that is transposed
    second: float  # for an element of its second operand, however it lies
    first: float  # for an element of its first operand
    uneven: float  # for an element of its first operand, where its columns are no multiple of the lanes


RATES = {
    "float32": Rates(16, 0.003, copied=0.26, gathered=0.03, second=0.033, first=-0.033, uneven=0.135),
    "float64": Rates(8, 0.011, copied=0.15, gathered=0.47, second=0.1, first=0.3, uneven=0.36),
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
    if not first and m * n <= INNER and k >= LONG:
        return ENDED * m * n
    return (READ * k * n + SUMMED * m * n) * (1.0 if not first else 0.1 if m % 16 == 0 else 0.75)


def joins_bias(samples: int, inputs: int, outputs: int, *, copied: bool, by_rows: bool = False) -> bool:
    """Whether ones beside h may put a bias into h @ W. A large product hides its sums, and may be slower with one more
    row. Of what is copied beside them, which a hidden h is not, the copy may cost more than is won; more is won where
    the bias would be added to short rows one by one."""
    if not copied:
        return samples * inputs * outputs <= JOINED
    won = SPREAD + (SHORT_ROW * samples if by_rows and 1 < outputs <= SHORT else 0.0)
    return samples * inputs * outputs <= SMALL and COPY * samples * inputs <= won


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
    cost = product(n, i, o, h, not w, z) + (product(i, n, o, not h, z) if w else product(o, n, i, not z, h))
    if not layer.is_first:
        cost += product(n, o, i, z, w, h)
    if not layer.has_bias:
        return cost
    if not joins_bias(n, i, o, copied=layer.is_first):
        return cost + ROW * (o if z else n)
    return cost if w and (h or layer.is_first) else cost + SPREAD + STATEMENT + ROW * (o if z else n)
