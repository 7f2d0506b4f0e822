"""Every elementwise row: gradients by differences, dtypes, extremes, and the NumPy target against the evaluator."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphgrad as gg
from graphgrad.codegen.numpy_support import erf
from graphgrad.operator import Operator
from tests.operators.harness import check_gradient, check_result, check_target, shapes_that_broadcast, ulps, values
from tests.operators.rows import ACTIVATIONS, ROWS, bounds, cases, edges

WITH_DERIVATIVE = [row for row in ROWS if row.differentiable and row.pullback != (None,) * len(row.operands)]


def arguments(draw: Any, row: Operator, attributes: dict[str, float], dtype: str = "float64") -> list[Any]:
    """An array for each operand, within the row's domain and away from kinks and ties; shapes broadcast."""
    shapes = draw(shapes_that_broadcast(len(row.operands)))
    arrays = []
    for k, (operand, shape) in enumerate(zip(row.operands, shapes, strict=True)):
        if operand == "condition":
            arrays.append(draw(values(shape, -1, 1)) > 0)
        else:
            low, high = bounds(row, operand)
            lane = (k, len(row.operands)) if row.name in ("maximum", "minimum") else (0, 1)
            arrays.append(draw(values(shape, low, high, avoid=edges(row, attributes), lane=lane, dtype=dtype)))
    return arrays


@pytest.mark.parametrize(("row", "attributes"), cases(WITH_DERIVATIVE))
@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_gradient(row: Operator, attributes: dict[str, float], data: st.DataObject) -> None:
    check_gradient(lambda *operands: row(*operands, **attributes), *arguments(data.draw, row, attributes))


# ---------------------------------------------------------------------------------------------------------------------
# Dtypes
# ---------------------------------------------------------------------------------------------------------------------

ARRAYS = {
    "bool": np.array([True, True]),
    "int64": np.array([1, 2]),
    "float32": np.array([0.25, 0.5], np.float32),
    "float64": np.array([0.25, 0.5]),
}
NUMBERS: dict[str, Any] = {"weak bool": True, "weak int64": 1, "weak float64": 0.5}
TAKES_NO_BOOLS = ("subtract", "negative", "power", "remainder", "square", "sign")


def combinations(row: Operator, kinds: list[str]) -> Iterator[tuple[str, ...]]:
    """A kind for each operand; conditions are bools."""
    return itertools.product(*[[k for k in kinds if o != "condition" or "bool" in k] for o in row.operands])


@pytest.mark.parametrize(("row", "attributes"), cases(ROWS))
def test_a_reference_gives_the_inferred_dtype_of_every_combination(row: Operator, attributes: dict[str, float]) -> None:
    for kinds in combinations(row, [*ARRAYS, *NUMBERS]):
        if all(k in NUMBERS for k in kinds):
            continue

        def build(*tensors: gg.Tensor, kinds: tuple[str, ...] = kinds) -> gg.Tensor:
            remaining = iter(tensors)
            return row(*[NUMBERS[k] if k in NUMBERS else next(remaining) for k in kinds], **attributes)

        arrays = [ARRAYS[k] for k in kinds if k in ARRAYS]
        if row.name in TAKES_NO_BOOLS and all("bool" in k for k in kinds):
            with pytest.raises(gg.GraphgradError, match=f"{row.name} of bools: a number is wanted"):
                check_result(build, *arrays)
            continue
        with np.errstate(invalid="ignore"):  # arcsin(2)
            (result,) = check_result(build, *arrays)
        floats = {k for k in (kinds[1:] if row.name == "where" else kinds) if k in ("float32", "float64")}
        if result.dtype.kind == "f" and floats:  # only int64 arrays, and not Python's numbers, widen float32
            wide = "float64" in floats or "int64" in (kinds[1:] if row.name == "where" else kinds)
            assert result.dtype == ("float64" if wide else "float32"), kinds


@pytest.mark.parametrize(("row", "attributes"), cases([r for r in WITH_DERIVATIVE if r.name != "where"]))
def test_the_derivative_of_float32_is_computed_in_float32(row: Operator, attributes: dict[str, float]) -> None:
    g = gg.Graph()
    x = [g.parameter(o, (3,), "float32") for o in row.operands]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of linear ones, the second derivative is zero
        first = gg.derive(gg.sum(row(*x, **attributes)), x)
        again = gg.derive(sum((gg.sum(d * d) for d in first.values()), start=gg.sum(0.0 * x[0])), x)
    wide = [n for n in g.nodes if n.dtype == "float64" and not n.weak]
    assert not wide, [g.where(n.id) for n in wide]
    assert all(t.dtype == "float32" for t in [*first.values(), *again.values()])


def test_bools_are_computed_in_float64() -> None:
    g = gg.Graph()
    x = g.input("x", (1,), "bool")
    found = gg.evaluate([gg.exp(x), gg.log1p(x), gg.tanh(x)], x=[True])
    assert [f.tolist() for f in found] == [[math.exp(1)], [math.log1p(1)], [math.tanh(1)]]


# ---------------------------------------------------------------------------------------------------------------------
# Extremes
# ---------------------------------------------------------------------------------------------------------------------

FLOATS = ["float64", "float32"]


def far(dtype: str) -> np.ndarray[Any, Any]:
    """Numbers up to a large power of the largest, with the ones at which exp over- and underflows."""
    huge = float(np.finfo(dtype).max) ** 0.9
    some = [20.0, 50.0, 87.0, 88.8, 89.5, 104.0, 708.0, 710.0, 745.0, 1000.0, 1e4, 1e10, 1e20, huge]
    return np.array([-v for v in reversed(some)] + [-1e-30, 0.0, 1e-30] + some, dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("row", "attributes"), cases([*ACTIVATIONS, *[r for r in ROWS if r.name in ("tanh", "erf", "erfc", "clip")]])
)
def test_nothing_overflows_in_value_or_derivative(row: Operator, attributes: dict[str, float], dtype: str) -> None:
    g = gg.Graph()
    x = far(dtype)
    t = g.parameter("t", x.shape, dtype)
    ways = [row(t, **attributes)] + ([row.definition(t, **attributes)] if row.definition is not None else [])
    for y in ways:
        d = gg.derive(gg.sum(y))[t]
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            value, slope = gg.evaluate([y, d], t=x)
        assert np.all(np.isfinite(value))
        assert np.all(np.isfinite(slope))
        # Every activation is Lipschitz: selu's slope at 0 is 1.76, those of leaky_relu and elu here are at most 2.
        assert np.all(np.abs(slope) <= 2.0)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        compiled = gg.compile([ways[0]])(t=x)
    assert ulps(compiled[0], gg.evaluate(ways[0], t=x)) <= 4


@pytest.mark.parametrize("row", [pytest.param(r, id=r.name) for r in ACTIVATIONS])
def test_second_derivatives_are_finite_far_out(row: Operator) -> None:
    g = gg.Graph()
    x = np.array([-1e4, -1000.0, -100.0, -40.0, 40.0, 100.0, 1000.0, 1e4])
    t, w = g.parameter("t", x.shape), g.input("w", x.shape)
    slope = gg.derive(gg.sum(row(t)))[t]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = gg.evaluate(gg.derive(gg.sum(w * (slope + 0.0 * t)))[t], t=x, w=np.ones_like(x))
    assert np.all(np.abs(found) < 1e-3)


@pytest.mark.parametrize(
    ("name", "at", "value", "slope"),
    [
        ("softplus", 1000.0, 1000.0, 1.0),
        ("softplus", -1000.0, 0.0, 0.0),
        ("softplus", -math.inf, 0.0, 0.0),
        ("logsigmoid", math.inf, 0.0, 0.0),
        ("sigmoid", -1000.0, 0.0, 0.0),
        ("sigmoid", 1000.0, 1.0, 0.0),
        ("sigmoid", -700.0, math.exp(-700), math.exp(-700)),
        ("logsigmoid", -1e4, -1e4, 1.0),
        ("logsigmoid", 50.0, -math.exp(-50), math.exp(-50)),
        ("elu", 1000.0, 1000.0, 1.0),
        ("elu", -50.0, -1.0, math.exp(-50)),
        ("mish", 1000.0, 1000.0, 1.0),
        ("mish", -1000.0, 0.0, 0.0),
        ("gelu", 1000.0, 1000.0, 1.0),
        ("gelu", -1000.0, 0.0, 0.0),
        ("gelu", -10.0, float(-10 * mpmath.ncdf(-10)), float(mpmath.ncdf(-10) - 10 * mpmath.npdf(-10))),
        ("silu", 1000.0, 1000.0, 1.0),
        ("silu", -1000.0, 0.0, 0.0),
        ("silu", -50.0, -50 * math.exp(-50), -49 * math.exp(-50)),
        ("relu", 1e300, 1e300, 1.0),
        ("softsign", 1e300, 1.0, 0.0),
    ],
)
def test_values_far_out(name: str, at: float, value: float, slope: float) -> None:
    g = gg.Graph()
    x = g.parameter("x")
    y = getattr(gg, name)(x)
    found = gg.evaluate([y, gg.derive(y)[x]], x=at)
    np.testing.assert_allclose([float(f) for f in found], [value, slope], rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("row", "attributes"), cases([r for r in ROWS if r.infer is not None]))
def test_nan_propagates(row: Operator, attributes: dict[str, float], dtype: str) -> None:
    if row.name == "where" or gg.Graph().apply(row, [1.5] * len(row.operands), attributes).dtype == "bool":
        return
    for position in range(len(row.operands)):
        arrays = [np.array([0.5], dtype) for _ in row.operands]
        arrays[position] = np.array([np.nan], dtype)
        g = gg.Graph()
        tensors = [g.input(f"x{i}", (1,), dtype) for i in range(len(arrays))]
        y = row(*tensors, **attributes)
        given = {f"x{i}": a for i, a in enumerate(arrays)}
        with np.errstate(invalid="ignore"):
            for found in (gg.evaluate(y, **given), gg.compile([y])(**given)[0]):
                assert np.isnan(found[0])
                assert found.dtype == dtype


# ---------------------------------------------------------------------------------------------------------------------
# The NumPy target
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("row", "attributes"), cases(ROWS))
@given(data=st.data())
@settings(max_examples=5, deadline=None)
def test_the_target_agrees_with_the_evaluator(
    row: Operator, attributes: dict[str, float], dtype: str, data: st.DataObject
) -> None:
    check_target(lambda *operands: row(*operands, **attributes), *arguments(data.draw, row, attributes, dtype))


@pytest.mark.parametrize(("row", "attributes"), cases(ROWS))
def test_the_target_agrees_on_every_dtype(row: Operator, attributes: dict[str, float]) -> None:
    for kinds in combinations(row, list(ARRAYS)):
        if not (row.name in TAKES_NO_BOOLS and set(kinds) == {"bool"}):
            check_target(lambda *operands: row(*operands, **attributes), *[ARRAYS[k] for k in kinds])


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_cast(data: st.DataObject) -> None:
    dtypes = list(ARRAYS)
    source, target = data.draw(st.sampled_from(dtypes)), data.draw(st.sampled_from(dtypes))
    x = data.draw(values((2, 3), -3, 3)).astype(source)
    (found,) = check_result(lambda x: gg.cast(x, target), x)
    np.testing.assert_array_equal(found, x.astype(target), strict=True)
    check_target(lambda x: gg.cast(x, target), x)


def test_cast_passes_derivatives_between_floats_and_none_through_integers() -> None:
    g = gg.Graph()
    x = g.parameter("x", (2,), "float32")
    d = gg.derive(gg.sum(gg.cast(x, "float64") * np.array([0.1, 0.2])))
    assert d[x].dtype == "float32"
    np.testing.assert_array_equal(gg.evaluate(d[x], x=np.zeros(2, np.float32)), np.array([0.1, 0.2], np.float32))


# ---------------------------------------------------------------------------------------------------------------------
# The error function of generated code
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("complement", "exact"), [(False, math.erf), (True, math.erfc)])
def test_erf_is_within_four_units_in_the_last_place(complement: bool, exact: Any) -> None:
    generator = np.random.default_rng(0)
    edges = np.array([0.25, 0.84375, 1.25, 1 / 0.35, 6.0, 26.5, 28.0])
    near = (edges[:, None] + np.spacing(edges)[:, None] * np.arange(-3, 4)).ravel()
    tiny = 10.0 ** generator.uniform(-320, -1, 500)
    x = np.concatenate(
        [generator.uniform(-6, 6, 20000), generator.uniform(-30, 30, 2000), near, tiny, [0.0, np.inf, 1e300]]
    )
    x = np.concatenate([x, -x])
    found, wanted = erf(x, complement=complement), np.array([exact(v) for v in x])
    normal = np.abs(wanted) > np.finfo(np.float64).tiny
    assert ulps(found[normal], wanted[normal]) <= 4
    assert np.all(np.abs(found[~normal] - wanted[~normal]) <= 2**-1060)
    assert np.isnan(erf(np.array([np.nan]), complement=complement))


@pytest.mark.parametrize(("complement", "exact"), [(False, math.erf), (True, math.erfc)])
def test_erf_of_float32_is_within_one_unit_in_the_last_place(complement: bool, exact: Any) -> None:
    """Down to the smallest numbers that float32 has: 1 - erf keeps all its digits in the tail."""
    x = np.concatenate([np.linspace(-11, 11, 40001), [0.0, 1e-30, np.inf], 10.0 ** np.linspace(-45, 38, 500)])
    x = np.concatenate([x, -x]).astype(np.float32)
    found, wanted = np.empty_like(x), np.array([exact(float(v)) for v in x])
    erf(x, found, complement)
    unit = np.spacing(np.abs(wanted).astype(np.float32)).astype(np.float64)
    assert np.max(np.abs(found - wanted) / unit) <= 1
    assert np.isnan(erf(np.full(3, np.nan, np.float32), np.empty(3, np.float32), complement)).all()


def test_erf_takes_views_zero_sizes_and_its_own_memory() -> None:
    x = np.linspace(-3, 3, 6000).reshape(60, 100)
    wanted = np.vectorize(math.erf)(x)
    np.testing.assert_allclose(erf(x.T), wanted.T, rtol=1e-15)
    np.testing.assert_allclose(
        erf(np.broadcast_to(x[:, :1], (60, 4)), np.empty((60, 4))), np.repeat(wanted[:, :1], 4, 1), rtol=1e-15
    )
    assert erf(np.empty((0, 3)), np.empty((0, 3))).shape == (0, 3)
    assert erf(0.5) == math.erf(0.5)
    for own in (x.copy(), x.astype(np.float32)):
        result = erf(own, own)
        assert result is own
        np.testing.assert_allclose(own, wanted, rtol=1e-15 if own.dtype == np.float64 else 1e-6)


def test_the_normal_distribution_in_float32_keeps_its_digits_in_the_tail() -> None:
    """Within what float32 knows of x²/2, whose rounding exp makes a relative error."""
    x = np.concatenate([-np.geomspace(1e-30, 12.9, 3000), [-0.0, 0.0], np.geomspace(1e-30, 1e30, 3000)])
    x = x.astype(np.float32)
    g = gg.Graph()
    t = g.parameter("t", x.shape, "float32")
    f = gg.compile([gg.ndtr(t), gg.gelu(t), gg.derive(gg.sum(gg.gelu(t)))[t]])
    cdf = np.array([0.5 * math.erfc(-float(v) / math.sqrt(2)) for v in x])
    slope = cdf + x * np.exp(-(np.minimum(np.abs(x), 40.0).astype(np.float64) ** 2) / 2) / math.sqrt(2 * math.pi)
    known = 4e-7 * (1 + np.minimum(x, 0).astype(np.float64) ** 2 / 4)
    for found, wanted in zip(f(t=x), (cdf, x * cdf, slope), strict=True):
        assert found.dtype == np.float32
        worst = np.abs(found - wanted) / (np.abs(wanted) + (np.abs(x * cdf) if wanted is slope else 0) + 1e-37)
        assert np.all(worst <= known), (x[np.argmax(worst / known)], np.max(worst / known))


def test_the_normal_distribution_has_all_derivatives_at_zero() -> None:
    """Bounds that keep it from overflowing must not show: |x| has no derivative there."""
    for start, wanted in ((gg.ndtr, [0.5, 1, 0, -1, 0, 3]), (gg.gelu, [0, 0.5, 2, 0, -4, 0])):
        x = gg.Graph().input("x", ())
        y, values = start(x), []
        for _ in wanted:
            values.append(float(gg.evaluate(y, x=0.0)))
            y = gg.derive(y, wrt=[x])[x]
        density = 1 / math.sqrt(2 * math.pi)
        exact = [w if w == 0.5 else w * density for w in wanted]
        np.testing.assert_allclose(values, exact, atol=1e-15)


@pytest.mark.parametrize("dtype", FLOATS)
def test_gelu_at_infinity_is_its_limit(dtype: str) -> None:
    (found,) = check_result(gg.gelu, np.array([-np.inf, np.inf], dtype))
    np.testing.assert_array_equal(found, [0, np.inf])
    check_target(gg.gelu, np.array([-np.inf, np.inf, np.nan], dtype))
    x = gg.Graph().input("x", (2,), dtype)
    slope = gg.derive(gg.sum(gg.gelu(x)), wrt=[x])[x]
    for found in (gg.evaluate(slope, x=[-np.inf, np.inf]), *gg.compile(slope)(x=np.array([-np.inf, np.inf], dtype))):
        np.testing.assert_array_equal(found, [0, 1])


def test_a_whole_number_widens_nothing_in_an_activation() -> None:
    g = gg.Graph()
    n, x = g.input("n", (), "int64", weak=True), g.input("x", (3,), "float32")
    y = gg.gelu(n) * x
    assert (y.dtype, gg.compile(y)(n=2, x=np.ones(3, np.float32))[0].dtype) == ("float32", np.float32)


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "silu", "gelu", "leaky_relu", "elu", "hard_tanh", "clip"])
def test_a_function_of_a_number_in_float32_gives_its_dtype(name: str) -> None:
    s = gg.Graph().input("s", (), "float32", weak=True)
    y = gg.clip(s, 0, 1) if name == "clip" else getattr(gg, name)(s)
    found, wanted = gg.compile(y)(s=0.3)[0], np.asarray(gg.evaluate(y, s=0.3))
    assert (y.dtype, found.dtype, wanted.dtype) == ("float32", np.float32, np.float32)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# Arguments
# ---------------------------------------------------------------------------------------------------------------------


def test_clip_takes_the_bounds_that_numpy_takes() -> None:
    g = gg.Graph()
    x, i, low = g.input("x", (4,)), g.input("i", (4,), "int64"), g.input("low", (4,))
    a, n, b = np.array([-2.0, -0.5, 0.5, 2.0]), np.array([-2, 0, 3, 9]), np.array([-1.0, 0.0, 1.0, 3.0])
    wanted = [
        np.clip(a, -1, 1),
        np.clip(a, None, 1),
        np.clip(a, -1, None),
        a,
        np.clip(a, b, 1.5),
        np.clip(n, 0, 5),
        np.clip(n, 0.5, None),
    ]
    built = [
        gg.clip(x, -1, 1),
        gg.clip(x, max=1),
        gg.clip(x, min=-1),
        gg.clip(x),
        gg.clip(x, low, 1.5),
        gg.clip(i, 0, 5),
        gg.clip(i, 0.5),
    ]
    for found, value in zip(gg.evaluate(built, x=a, i=n, low=b), wanted, strict=True):
        np.testing.assert_array_equal(found, value, strict=True)


def test_variants_by_argument() -> None:
    x = np.linspace(-4, 4, 41)
    g = gg.Graph()
    t = g.parameter("t", x.shape)
    built = [
        gg.softplus(t, beta=3),
        gg.gelu(t, approximate="tanh"),
        gg.leaky_relu(t, 0.2),
        gg.elu(t, 0.5),
        gg.hard_tanh(t, -2, 3),
    ]
    wanted = [
        np.log1p(np.exp(3 * x)) / 3,
        0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        np.where(x > 0, x, 0.2 * x),
        np.where(x > 0, x, 0.5 * np.expm1(x)),
        np.clip(x, -2, 3),
    ]
    for found, value in zip(gg.evaluate(built, t=x), wanted, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: gg.gelu(x, approximate="sigmoid"), "gelu: approximate is 'none' or 'tanh', but 'sigmoid' was given"),
        (lambda x: gg.leaky_relu(x, x), "leaky_relu: negative_slope is a number, but Tensor was given"),
        (lambda x: gg.elu(x, alpha="1"), "elu: alpha is a number, but str was given"),
        (lambda x: gg.elu(x, 10**400), "elu: alpha is an integer that is too large for a float64"),
        (lambda x: gg.clip(x, 10**400), "clip: min is an integer that is too large for a float64"),
        (lambda x: gg.celu(x, 0), "celu: alpha is positive, but 0 was given"),
        (lambda x: gg.celu(x, -1.0), "celu: alpha is positive, but -1.0 was given"),
        (lambda x: gg.softplus(x, 0), "softplus: beta is positive, but 0 was given"),
        (lambda x: gg.where(x, x, 0), "where: the condition is bool, but float64 was given; x != 0 makes a bool"),
        (lambda x: gg.relu(x, 1), "relu(x) was given 1 arguments too many"),
    ],
)
def test_a_wrong_argument_is_told(build: Any, message: str) -> None:
    x = gg.Graph().input("x", (2,))
    with pytest.raises(gg.GraphgradError) as told:
        build(x)
    assert str(told.value).split("\n")[0] == message


def test_numpy_numbers_as_attributes_are_plain_numbers() -> None:
    g = gg.Graph()
    x = g.input("x", (2,))
    assert gg.elu(x, np.float32(0.5)) is gg.elu(x, 0.5)
    assert gg.elu(x, 2) is gg.elu(x, 2.0)


@pytest.mark.parametrize(("row", "attributes"), cases(ROWS))
def test_python_numbers_are_computed_before_the_arrays(row: Operator, attributes: dict[str, float]) -> None:
    g = gg.Graph()
    x = g.input("x", (2,), "float32")
    numbers = {f"k{i}": 0.4 + 0.2 * i for i in range(len(row.operands))}
    k: list[Any] = [g.input(name, weak=True) for name in numbers]
    y = row(*([k[0] > 0.0, *k[1:]] if row.name == "where" else k), **attributes)
    assert y.node.weak
    given = {**numbers, "x": np.array([1.0, 3.0], np.float32)}
    found, wanted = gg.compile([x * y])(**given)[0], gg.evaluate(x * y, **given)
    assert found.dtype == "float32"
    assert ulps(found, wanted) <= 4
