"""What statements over matrices cost more than they must, by how the matrices lie: as they are written, or transposed.

A product of small matrices is up to twice as slow where the second operand alone is the transpose of what lies there:
it is then computed by inner products, each summed up at its end. Where both are, that costs little for multiples of
sixteen rows, and three quarters as much for others.
Of a large one the BLAS copies both operands into the order of its kernel, in which the second lies best as it is, and
the first nearly as well transposed; it is quicker about a tall first one than about a wide second one. Multiples of
sixteen columns fill the registers of the kernel.

The figures were fitted to random products of OpenBLAS on a CPU with AVX-512. On one without, all are smaller, and the
order is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

#: Multiplications of a product up to which OpenBLAS works on the operands where they lie (on CPUs with AVX-512).
SMALL = 100**3
SIXTEEN = 16  # float32 of a register
#: Nanoseconds; their ratios matter, not the machine.
READ = 0.3  # for an element of such a product's second operand that is transposed
SUMMED = 0.15  # for an element of its result
COPIED = 0.33  # for an element of a large product's second operand that is transposed
GATHERED = 0.1  # for an element of its first operand that is transposed
PACKED = 0.03  # for an element that its second operand has more than the first
SHORT = 0.006  # for a multiplication that its columns lack to the next SIXTEEN
ROW = 10.0  # for a row to which another row, or a number, is added
ASTRAY = 1.0  # for an element that is read against the order in which it lies
COPY = 0.05  # for an element that is copied
STATEMENT = 400.0  # for one more statement
SPREAD = 700.0  # for one that adds a row to all rows

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
def product_cost(m: int, k: int, n: int, first: bool, second: bool, turned: bool = False) -> float:
    """Of an m x k by k x n product: operands may be transposes of what lies there, and it may lie transposed itself."""
    if turned:  # then it is the product of the transposes, the other way round
        m, n, first, second = n, m, not second, not first
    if m == 1 or n == 1:
        return 0.0
    if m * k * n > SMALL:
        short = SHORT * m * k * (-n % SIXTEEN)
        return COPIED * k * n * second + GATHERED * m * k * first + PACKED * k * (n - m) + short
    if not second:
        return 0.0
    return (READ * k * n + SUMMED * m * n) * (1.0 if not first else 0.1 if m % SIXTEEN == 0 else 0.75)


def joins_bias(samples: int, inputs: int, outputs: int) -> bool:
    """Whether a row of ones beside h may put a bias into h @ W. A large product hides its sums, and may be slower with
    one more row; of a large h the copy costs more than is won."""
    return samples * inputs * outputs <= SMALL and COPY * samples * inputs <= SPREAD


class Layer(NamedTuple):
    """h @ W.T + b with the products of its derivative."""

    inputs: int
    outputs: int
    is_first: bool  # h depends on no parameter
    has_bias: bool  # b lies behind W


@lru_cache(maxsize=1024)  # a network's layers are of few kinds
def layer_cost(layer: Layer, samples: int, h: bool, z: bool, w: bool) -> float:
    """With h, z and W lying transposed or not. The gradient of each lies as it does."""
    n, i, o = samples, layer.inputs, layer.outputs
    cost = product_cost(n, i, o, h, not w, z)
    cost += product_cost(i, n, o, not h, z) if w else product_cost(o, n, i, not z, h)
    if not layer.is_first:
        cost += product_cost(n, o, i, z, w, h)
    if not layer.has_bias:
        return cost
    if not joins_bias(n, i, o):
        return cost + ROW * (o if z else n)
    return cost if w and (h or layer.is_first) else cost + SPREAD + STATEMENT + ROW * (o if z else n)
