"""Each elementwise pullback is the derivative of its formula and its definition; kinks are as the table has them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy

import graphgrad as gg
from graphgrad.operator import OPERATORS, Operator
from tests.operators.rows import ROWS, bounds, cases, edges

DIFFERENTIABLE = [row for row in ROWS if row.differentiable and row.pullback != (None,) * len(row.operands)]
SMOOTH = [
    row
    for row in DIFFERENTIABLE
    if not row.kinks and row.name not in ("where", "maximum", "minimum", "arctan2", "power", "remainder")
]
DIGITS = 50
inf = float("inf")


def pieces(row: Operator, operand: str, attributes: dict[str, float]) -> list[tuple[float, float]]:
    """The open intervals between kinks, within the domain."""
    low, high = bounds(row, operand)
    points = [low, *[p for p in edges(row, attributes) if low < p < high], high]
    return list(pairwise(points))


def points(row: Operator, attributes: dict[str, float], number: int = 4) -> Iterator[dict[Any, Any]]:
    """Random rational points, some in each piece of each operand; for conditions, both truth values."""
    generator = np.random.default_rng(len(row.name))
    widest = max(len(pieces(row, o, attributes)) for o in row.operands)
    for k in range(widest * number):
        point = {}
        for operand in row.operands:
            if operand == "condition" or row.name.startswith("logical"):
                point[operand] = sympy.true if generator.random() < 0.5 else sympy.false
            else:
                some = pieces(row, operand, attributes)
                low, high = some[k % len(some)]
                point[operand] = sympy.Rational(str(round(low + (high - low) * generator.uniform(0.05, 0.95), 6)))
        yield point


@pytest.mark.parametrize("row", [pytest.param(r, id=r.name) for r in SMOOTH])
def test_a_smooth_pullback_is_the_derivative_of_its_formula_symbolically(row: Operator) -> None:
    symbols = sympy.symbols(row.operands, real=True)
    formula = row(*symbols)
    for position, rule in enumerate(row.pullback or ()):
        if rule is None:
            continue
        difference = rule(1, *symbols, formula, **row.defaults) - sympy.diff(formula, symbols[position])
        if not difference.has(sympy.Float):  # constants such as 1.128... are held by the numeric proof below
            assert sympy.simplify(difference.rewrite(sympy.exp)) == 0


@pytest.mark.parametrize(("row", "attributes"), cases([r for r in DIFFERENTIABLE if r.pullback is not None]))
def test_a_pullback_is_the_derivative_of_its_formula_on_every_open_piece(
    row: Operator, attributes: dict[str, float]
) -> None:
    symbols = dict(zip(row.operands, sympy.symbols(row.operands, real=True), strict=True))
    for point in points(row, attributes):
        values = [point[o] for o in row.operands]
        value = row(*values, **attributes) if "condition" not in point else row.symbolic(values, attributes)
        for position, operand in enumerate(row.operands):
            rule = row.rule(position)
            if rule is None:
                continue
            formula = row.symbolic([symbols[o] if o == operand else point[o] for o in row.operands], attributes)
            wanted = derivative(formula, symbols[operand], point[operand])
            found = sympy.sympify(rule(sympy.Integer(1), *values, value, **attributes)).evalf(DIGITS)
            assert abs(found - wanted) <= 1e-14 * (1 + abs(wanted)), (
                f"by {operand} at {point}: {found}, derivative {wanted}"
            )


def derivative(formula: Any, symbol: Any, at: Any) -> Any:
    """sympy's derivative at a point; where it leaves one open (of floor, say), mpmath's numeric one in many digits."""
    exact = sympy.diff(formula, symbol).subs(symbol, at)
    if not exact.has(sympy.Derivative, sympy.Subs, sympy.Heaviside):
        return exact.evalf(DIGITS)
    with mpmath.workdps(DIGITS):
        return mpmath.diff(sympy.lambdify(symbol, formula, "mpmath"), mpmath.mpf(at.p) / at.q)


@pytest.mark.parametrize(("row", "attributes"), cases([r for r in DIFFERENTIABLE if r.definition and r.pullback]))
def test_a_composite_pullback_is_the_derivative_of_its_definition(row: Operator, attributes: dict[str, float]) -> None:
    x = np.concatenate([np.linspace(-40.0, 40.0, 400), np.random.default_rng(0).uniform(-4, 4, 400)])
    x = x[~np.isin(x, edges(row, attributes))]
    weights = np.random.default_rng(1).uniform(0.5, 1.5, x.shape)
    g = gg.Graph()
    t = g.parameter("t", x.shape)
    own, defined = row(t, **attributes), row.definition(t, **attributes)  # type: ignore[misc]
    by_rule, by_definition = (gg.derive(gg.sum(weights * y))[t] for y in (own, defined))
    values, again, a, b = gg.evaluate([own, defined, by_rule, by_definition], t=x)
    np.testing.assert_allclose(again, values, rtol=1e-15, atol=1e-300)
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("row", "attributes"), cases(ROWS))
def test_a_reference_is_its_formula(row: Operator, attributes: dict[str, float]) -> None:
    for point in points(row, attributes):
        values = [point[o] for o in row.operands]
        wanted = row.symbolic(values, attributes)
        with np.errstate(all="ignore"):
            found = row.reference(*[np.array([float(bool(v) if v.is_Boolean else v)]) for v in values], **attributes)[0]
        if wanted in (sympy.true, sympy.false):
            assert bool(found) == bool(wanted), point
        else:
            assert abs(float(found) - wanted.evalf(DIGITS)) <= 3e-15 * (abs(wanted.evalf(DIGITS)) + 1e-2), point


# ---------------------------------------------------------------------------------------------------------------------
# Kinks and ties
# ---------------------------------------------------------------------------------------------------------------------

SELU_0 = 1.6732632423543772 * 1.0507009873554805

#: (operator, attributes, where, the derivative by each operand there)
KINKS: list[tuple[str, dict[str, float], tuple[float, ...], tuple[float, ...]]] = [
    ("relu", {}, (0.0,), (0.0,)),
    ("relu", {}, (-0.0,), (0.0,)),
    ("abs", {}, (0.0,), (0.0,)),
    *[("sign", {}, (v,), (0.0,)) for v in (-1.5, 0.0, 2.0)],
    *[("floor", {}, (v,), (0.0,)) for v in (-2.0, -0.3, 0.0, 1.0)],
    *[("ceil", {}, (v,), (0.0,)) for v in (-2.0, -0.3, 0.0, 1.0)],
    *[("round", {}, (v,), (0.0,)) for v in (-1.5, 0.0, 0.5, 1.5, 2.5)],
    ("arctan2", {}, (0.0, 0.0), (0.0, 0.0)),
    *[("maximum", {}, (v, v), (0.5, 0.5)) for v in (-1.0, 0.0, 3.0)],
    *[("minimum", {}, (v, v), (0.5, 0.5)) for v in (-1.0, 0.0, 3.0)],
    ("maximum", {}, (1.0, 2.0), (0.0, 1.0)),
    ("minimum", {}, (1.0, 2.0), (1.0, 0.0)),
    *[("clip", {"min": -1.0, "max": 2.0}, (v,), (1.0,)) for v in (-1.0, 2.0)],
    *[("clip", {"min": -1.0, "max": 2.0}, (v,), (0.0,)) for v in (-1.5, 2.5)],
    *[("hard_tanh", {}, (v,), (0.0,)) for v in (-1.0, 1.0)],
    *[("hard_tanh", {"min_val": 0.0, "max_val": 2.0}, (v,), (0.0,)) for v in (0.0, 2.0)],
    *[("hard_sigmoid", {}, (v,), (0.0,)) for v in (-3.0, 3.0)],
    ("leaky_relu", {}, (0.0,), (0.01,)),
    ("leaky_relu", {"negative_slope": 0.3}, (0.0,), (0.3,)),
    ("leaky_relu", {"negative_slope": 2.0}, (0.0,), (2.0,)),
    ("elu", {}, (0.0,), (1.0,)),
    ("elu", {"alpha": 0.5}, (0.0,), (0.5,)),
    ("selu", {}, (0.0,), (SELU_0,)),
    ("celu", {}, (0.0,), (1.0,)),
    ("celu", {"alpha": 0.5}, (0.0,), (1.0,)),
    ("softsign", {}, (0.0,), (1.0,)),
    ("sqrt", {}, (0.0,), (inf,)),
    ("where", {}, (1.0, 5.0, 7.0), (0.0, 1.0, 0.0)),
    ("where", {}, (0.0, 5.0, 7.0), (0.0, 0.0, 1.0)),
    ("power", {}, (0.0, 0.0), (0.0, 0.0)),
    ("power", {}, (0.0, 1.0), (1.0, 0.0)),
    ("power", {}, (0.0, 2.0), (0.0, 0.0)),
]


def gradient_at(name: str, attributes: dict[str, float], at: tuple[float, ...], dtype: str) -> tuple[float, ...]:
    g = gg.Graph()
    tensors = [g.parameter(f"x{i}", (1,), dtype) for i in range(len(at))]
    arguments: list[gg.Tensor] = [tensors[0] != 0.0, *tensors[1:]] if name == "where" else tensors
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of where's condition: no derivative passes through it
        d = gg.derive(gg.sum(OPERATORS[name](*arguments, **attributes)))
    with np.errstate(all="ignore"):
        found = gg.evaluate([d[t] for t in tensors], **{f"x{i}": np.array([v], dtype) for i, v in enumerate(at)})
    assert all(f.dtype == dtype for f in found)
    return tuple(float(f[0]) for f in found)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "attributes", "at", "wanted"), KINKS)
def test_the_derivative_at_a_kink_is_decided(
    name: str, attributes: dict[str, float], at: tuple[float, ...], wanted: tuple[float, ...], dtype: str
) -> None:
    assert gradient_at(name, attributes, at, dtype) == tuple(float(np.dtype(dtype).type(w)) for w in wanted)


def test_every_row_with_kinks_stands_in_the_table() -> None:
    assert {row.name for row in ROWS if row.kinks} <= {name for name, *_ in KINKS}


@pytest.mark.parametrize("exponent", [0, 0.0])
def test_a_constant_exponent_of_zero_has_no_derivative_even_at_zero(exponent: float) -> None:
    g = gg.Graph()
    x = g.parameter("x", (3,))
    found = gg.evaluate(gg.derive(gg.sum(x**exponent))[x], x=[0.0, 2.0, -1.0])
    assert found.tolist() == [0.0, 0.0, 0.0]


def test_a_step_stops_an_infinite_adjoint() -> None:
    g = gg.Graph()
    x = g.parameter("x", (2,))
    for step in (gg.floor, gg.round, gg.ceil, gg.sign):
        with np.errstate(divide="ignore"):
            found = gg.evaluate(gg.derive(gg.sum(gg.sqrt(step(x))))[x], x=[0.0, 0.25])
        assert found.tolist() == [0.0, 0.0], step


def test_the_branch_not_taken_receives_zero_whatever_comes_from_above() -> None:
    g = gg.Graph()
    x, y = g.parameter("x", (2,)), g.parameter("y", (2,))
    d = gg.derive(gg.sum(gg.sqrt(gg.where(np.array([True, False]), x, y))))
    with np.errstate(divide="ignore"):
        a, b = gg.evaluate([d[x], d[y]], x=[0.0, 0.0], y=[0.0, 0.0])
    assert a.tolist() == [inf, 0.0]
    assert b.tolist() == [0.0, inf]
