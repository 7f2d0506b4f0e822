"""What the tests of every operator family share: random shapes and values, and the checks that a row must pass.

    @given(st.data())
    def test_maximum(data):
        a, b = data.draw(shapes_that_broadcast(2))
        x, y = data.draw(values(a, lane=(0, 2))), data.draw(values(b, lane=(1, 2)))  # no ties
        check_gradient(lambda x, y: gg.maximum(x, y), x, y)

`check_gradient` makes a graph whose parameters are the float arrays (other arrays become inputs, which have no
derivative), takes a weighted sum of what `build` returns as the scalar, and holds its first and second derivative
against differences of `evaluate`. A complex step is taken as well where every operator on the way is analytic.

    check_gradient(gg.softmax, x)                                    # a Tensor, or a tuple of Tensors
    check_gradient(lambda x, i: gg.take(x, i), x, np.array([0, 2]))  # integers and bools are inputs
    check_gradient(gg.mean, x, shapes=[("N", 3)])                    # declared with named sizes
    check_gradient(gg.floor, x, second=False)
    check_result(gg.mean, x)                                         # shape and dtype are the inferred ones
    check_target(gg.mean, x)                                         # the NumPy target agrees with `evaluate`
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np

import graphgrad as gg
from graphgrad.derive import UnusedParameterWarning
from graphgrad.evaluate import evaluate_nodes
from graphgrad.types import FLOATS, bind, size_of, solve_sizes

Build = Callable[..., Any]
STEP = 5e-4  # of the fourth-order central difference: its error is about STEP^4, its rounding eps / STEP

# ---------------------------------------------------------------------------------------------------------------------
# Strategies
# ---------------------------------------------------------------------------------------------------------------------


def shapes(
    min_rank: int = 0, max_rank: int = 3, min_side: int = 1, max_side: int = 3
) -> st.SearchStrategy[tuple[int, ...]]:
    """A small shape."""
    return (
        hnp.array_shapes(min_dims=min_rank, max_dims=max_rank, min_side=min_side, max_side=max_side)
        if min_rank
        else (st.lists(st.integers(min_side, max_side), max_size=max_rank).map(tuple))
    )


def shapes_that_broadcast(
    number: int, max_rank: int = 3, max_side: int = 3
) -> st.SearchStrategy[tuple[tuple[int, ...], ...]]:
    """As many shapes as asked for that fit together by NumPy's broadcasting."""
    return hnp.mutually_broadcastable_shapes(num_shapes=number, max_dims=max_rank, max_side=max_side).map(
        lambda found: found.input_shapes
    )


def axes(rank: int) -> st.SearchStrategy[Any]:
    """`axis` of a reduction over an array of this rank: None, an int, or a tuple of ints, negative ones among them."""
    if rank == 0:
        return st.sampled_from([None, ()])
    one = st.integers(-rank, rank - 1)
    several = st.lists(st.integers(0, rank - 1), unique=True, max_size=rank).flatmap(
        lambda chosen: st.tuples(*[st.sampled_from([a, a - rank]) for a in chosen])
    )
    return st.none() | one | several


@st.composite
def values(
    draw: st.DrawFn,
    shape: tuple[int, ...],
    low: float = -2.0,
    high: float = 2.0,
    avoid: Sequence[float] = (),
    distinct: bool = False,
    lane: tuple[int, int] = (0, 1),
    dtype: str = "float64",
) -> np.ndarray[Any, Any]:
    """Uniform values between bounds, 0.02 away from the points in `avoid`; with `distinct`, from each other too.

    Arrays of different lanes, (0, 2) and (1, 2), have no values nearer than 0.02: no ties between two operands.
    """
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    number = int(np.prod(shape, dtype=int))
    if distinct:
        steps = (np.arange(number) + generator.uniform(0.1, 0.9, number)) / max(number, 1)
        found = low + (high - low) * generator.permutation(steps)
    else:
        found = generator.uniform(low, high, number)
    if lane[1] > 1:
        found = (np.floor(found * 10) + (lane[0] + 0.2 + 0.6 * generator.random(number)) / lane[1]) / 10
    for point in avoid:
        near = np.abs(found - point) < 0.02
        inward = np.where(found >= point, 1.0, -1.0) if low < point < high else (1.0 if point <= low else -1.0)
        found = np.where(near, point + 0.03 * inward, found)
    return found.reshape(shape).astype(dtype)


# ---------------------------------------------------------------------------------------------------------------------
# Building
# ---------------------------------------------------------------------------------------------------------------------


def leaves(graph: gg.Graph, arrays: Sequence[Any], shapes: Sequence[Sequence[Any]] | None = None) -> list[gg.Tensor]:
    """A parameter for each float array, an input for each other one: x0, x1, ..."""
    declared = shapes or [np.shape(a) for a in arrays]
    return [
        (graph.parameter if np.asarray(a).dtype.name in FLOATS else graph.input)(
            f"x{i}", tuple(s), np.asarray(a).dtype.name
        )
        for i, (a, s) in enumerate(zip(arrays, declared, strict=True))
    ]


def feed(arrays: Sequence[Any]) -> dict[str, Any]:
    """The arrays by the names that `leaves` gives."""
    return {f"x{i}": np.asarray(a) for i, a in enumerate(arrays)}


def outputs_of(build: Build, tensors: Sequence[gg.Tensor]) -> list[gg.Tensor]:
    """What `build` returns, as a list."""
    built = build(*tensors)
    return list(built) if isinstance(built, (tuple, list)) else [built]


def weighted_sum(graph: gg.Graph, tensors: Iterable[gg.Tensor], arrays: dict[str, Any], seed: int) -> gg.Tensor:
    """A scalar in which every element of the tensors has its own fixed weight, so that no error hides by symmetry.

    The weights are inputs, added to `arrays`: a tensor with named sizes could not be multiplied by a constant array.
    """
    generator = np.random.default_rng(seed)
    total: Any = 0.0
    for tensor in tensors:
        name = f"weights{len(graph.nodes)}"
        arrays[name] = generator.uniform(0.5, 1.5, extents(tensor, arrays)) * generator.choice([-1.0, 1.0])
        total = total + gg.sum(graph.input(name, tensor.shape) * tensor)
    return total


def extents(tensor: gg.Tensor, arrays: dict[str, Any]) -> tuple[int, ...]:
    """The shape of a tensor as numbers."""
    graph = tensor.graph
    sizes = solve_sizes((name, graph[name].shape, array.shape) for name, array in arrays.items())
    return tuple(size_of(d, sizes) for d in tensor.shape)


# ---------------------------------------------------------------------------------------------------------------------
# Checks
# ---------------------------------------------------------------------------------------------------------------------


def check_gradient(
    build: Build,
    *arrays: Any,
    shapes: Sequence[Sequence[Any]] | None = None,
    second: bool = True,
    tolerance: float = 1e-6,
    second_tolerance: float = 1e-4,
) -> None:
    """Hold the derived gradient against numeric ones: to 1e-6 of its largest entry, 1e-4 in second order."""
    graph = gg.Graph()
    tensors = leaves(graph, arrays, shapes)
    by_name = feed(arrays)
    outputs = [t for t in outputs_of(build, tensors) if t.dtype in FLOATS]
    scalar = weighted_sum(graph, outputs, by_name, seed=1)
    wrt = [t for t in tensors if t.node.operator.name == "parameter"]
    gradients = _derive(scalar, wrt)
    first = Function(scalar, wrt, by_name)
    found = [first.at(g) for g in gradients]
    scale = first.magnitude(outputs)
    compare("first derivative", found, first.differences(scalar), wrt, tolerance, scale)
    if all(
        graph.nodes[i].operator.analytic or graph.nodes[i].operator.kind in ("leaf", "size")
        for i in graph.ancestors([scalar.id])
    ):
        compare("first derivative by the complex step", found, first.complex_step(), wrt, 1e-10, scale * 1e-4)
    if second:
        slope = weighted_sum(graph, gradients, by_name, seed=2)
        again = _derive(slope, wrt)
        twice = Function(slope, wrt, by_name)
        compare(
            "second derivative",
            [twice.at(g) for g in again],
            twice.differences(slope),
            wrt,
            second_tolerance,
            twice.magnitude(gradients),
        )


def _derive(scalar: gg.Tensor, wrt: list[gg.Tensor]) -> list[gg.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedParameterWarning)
        derivation = gg.derive(scalar, wrt)
    for tensor in wrt:
        gradient = derivation[tensor]
        assert (gradient.shape, gradient.dtype) == (tensor.shape, tensor.dtype), f"gradient of {tensor}: {gradient}"
    return [derivation[t] for t in wrt]


class Function:
    """A scalar of a graph as a function of its parameters' arrays."""

    def __init__(self, scalar: gg.Tensor, wrt: list[gg.Tensor], arrays: dict[str, Any]) -> None:
        self.scalar, self.wrt = scalar, wrt
        needed = set(scalar.graph.ancestors([scalar.id]))
        self.arrays = arrays
        self.active = [t.id in needed for t in wrt]

    def at(self, tensor: gg.Tensor, **changed: Any) -> Any:
        return gg.evaluate(tensor, **{**self.arrays, **changed})

    def magnitude(self, tensors: Sequence[gg.Tensor]) -> float:
        """How much the rounding of a difference can be, from the sizes of what is summed."""
        total = sum(float(np.sum(np.abs(self.at(t)))) for t in tensors)
        return 20 * np.finfo(np.float64).eps * max(1.0, total) / STEP

    def differences(self, scalar: gg.Tensor) -> list[Any]:
        """The gradient by central differences of fourth order."""

        def along(name: str, index: tuple[int, ...]) -> float:
            def f(step: float) -> float:
                moved = self.arrays[name].copy()
                moved[index] += step
                return float(self.at(scalar, **{name: moved}))

            return (8 * (f(STEP) - f(-STEP)) - (f(2 * STEP) - f(-2 * STEP))) / (12 * STEP)

        return self._each(along)

    def complex_step(self) -> list[Any]:
        """The gradient by the imaginary part: no difference is taken, so nothing cancels."""

        def along(name: str, index: tuple[int, ...]) -> float:
            moved = self.arrays[name].astype(np.complex128)
            moved[index] += 1e-30j
            return float(np.imag(self.at(self.scalar, **{name: moved}))) / 1e-30

        return self._each(along)

    def _each(self, along: Callable[[str, tuple[int, ...]], float]) -> list[Any]:
        results = []
        for t, active in zip(self.wrt, self.active, strict=True):
            result = np.zeros(self.arrays[t.name].shape)
            if active:
                for index in np.ndindex(result.shape):
                    result[index] = along(t.name, index)
            results.append(result)
        return results


def compare(
    what: str, found: Sequence[Any], wanted: Sequence[Any], wrt: Sequence[gg.Tensor], tolerance: float, floor: float
) -> None:
    """Gradients within `tolerance` of each one's largest entry, and `floor` for the rounding of a difference."""
    for a, b, tensor in zip(found, wanted, wrt, strict=True):
        largest = float(np.max(np.abs(b), initial=0.0))
        worst = float(np.max(np.abs(a - b), initial=0.0))
        assert worst <= tolerance * largest + floor, (
            f"{what} by {tensor.name}: {worst:.3g} apart\nderived {a!r}\nnumeric {b!r}"
        )


def check_result(build: Build, *arrays: Any, shapes: Sequence[Sequence[Any]] | None = None) -> list[Any]:
    """Every node's reference gives the inferred shape and dtype of its own accord. Returns the outputs' values."""
    graph = gg.Graph()
    tensors = leaves(graph, arrays, shapes)
    outputs = outputs_of(build, tensors)
    by_name = feed(arrays)
    results = evaluate_nodes(graph, [t.id for t in outputs], by_name)
    sizes = solve_sizes((n, graph[n].shape, a.shape) for n, a in by_name.items())
    for id in results:
        node = graph.nodes[id]
        if node.operator.kind not in ("leaf", "size"):
            operands = [np.asarray(results[i]).item() if graph.nodes[i].weak else results[i] for i in node.inputs]
            raw = node.operator.reference(*operands, **{k: bind(v, sizes) for k, v in node.attributes})
            got = (np.shape(raw), np.asarray(raw).dtype.name)
            wanted = (tuple(size_of(d, sizes) for d in node.shape), node.dtype)
            operand_types = [f"{'weak ' * graph.nodes[i].weak}{graph.nodes[i].dtype}" for i in node.inputs]
            assert got == wanted or node.weak, (
                f"{node.operator.name} of {operand_types}: reference gives {got}, inferred {wanted}"
            )
    return [results[t.id] for t in outputs]


def ulps(found: Any, wanted: Any) -> float:
    """The largest distance in units in the last place of `wanted`; equal infinities and NaNs are equal."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype), f"{found!r} is no {wanted!r}"
    same = (found == wanted) | (np.isnan(found) & np.isnan(wanted)) if wanted.dtype.kind == "f" else found == wanted
    if np.all(same):
        return 0.0
    if wanted.dtype.kind != "f":
        return np.inf
    with np.errstate(all="ignore"):
        apart = np.abs(found.astype(np.float64) - wanted.astype(np.float64)) / np.spacing(np.abs(wanted)).astype(
            np.float64
        )
    return float(np.max(np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))))


def check_target(build: Build, *arrays: Any, shapes: Sequence[Sequence[Any]] | None = None, bound: float = 4.0) -> None:
    """The NumPy target agrees with `evaluate`: within `bound` ulps of each element, or `bound=f(wanted)` absolutely."""
    graph = gg.Graph()
    outputs = outputs_of(build, leaves(graph, arrays, shapes))
    by_name = feed(arrays)
    compiled = gg.compile(outputs)
    with np.errstate(all="ignore"):
        found, wanted = compiled(**by_name), gg.evaluate(outputs, **by_name)
    for a, b in zip(found, wanted, strict=True):
        if callable(bound):
            assert a.shape == b.shape
            assert a.dtype == b.dtype
            assert np.all(np.abs(a - b) <= bound(b)), f"{a!r} against {b!r}\n{compiled.source}"
        else:
            assert (apart := ulps(a, b)) <= bound, f"{apart} ulps: {a!r} against {b!r}\n{compiled.source}"


def ramp(*shape: int, dtype: str = "float64") -> Any:
    """1, 2, 3, ... in a shape."""
    return np.arange(1, 1 + int(np.prod(shape)), dtype=dtype).reshape(shape)


def agrees(build: Any, wanted: Any, *arrays: Any, shapes: Any = None, gradient: bool = True) -> None:
    """Reference, inferred shape and dtype, target and derivatives, against what NumPy says, to the last bit."""
    (found,) = check_result(build, *arrays, shapes=shapes)
    assert found.dtype == np.asarray(wanted).dtype
    np.testing.assert_array_equal(found, wanted)
    check_target(build, *arrays, shapes=shapes, bound=0.0)
    if gradient:  # of the square, so that the second derivative is not zero everywhere
        check_gradient(lambda *tensors: gg.square(build(*tensors)), *arrays, shapes=shapes)
