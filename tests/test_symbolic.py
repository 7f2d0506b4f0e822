"""Graphs to sympy and back, and a user's own elementwise operators."""

import warnings

import numpy as np
import pytest
import sympy as sp

import graphgrad as gg
from graphgrad.errors import GraphgradError
from graphgrad.lowering import FUNCTIONS, lower
from graphgrad.notation import formula
from graphgrad.operator import OPERATORS, Operator

X, Y, Z, alpha, beta = sp.symbols("X Y Z alpha beta", real=True)


def heads(expr: sp.Basic) -> list[str]:
    return [str(step[0]) for step in lower(expr) if step[0] not in ("operand", "number")]


# -- lowering ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (1 / (1 + sp.exp(-X)), ["sigmoid"]),
        (sp.exp(X) / (1 + sp.exp(X)), ["sigmoid"]),
        (X / (1 + sp.exp(-beta * X)), ["multiply", "sigmoid", "multiply"]),
        (1 - 1 / (1 + sp.exp(-X)), ["negative", "sigmoid"]),
        (sp.exp(-X) / (1 + sp.exp(-X)) ** 2, ["negative", "sigmoid", "sigmoid", "multiply"]),
        (1 / (2 + 3 * sp.exp(X)), ["subtract", "sigmoid", "multiply"]),
        (sp.log(1 + sp.exp(X)), ["softplus"]),
        (sp.log(sp.exp(X) + sp.exp(Y)), ["subtract", "softplus", "add"]),
        (sp.log(1 / (1 + sp.exp(-X))), ["logsigmoid"]),
        (X * sp.tanh(sp.log(1 + sp.exp(X))), ["softplus", "tanh", "multiply"]),
        (sp.exp(X) - 1, ["expm1"]),
        (3 * sp.exp(X) - 3, ["expm1", "multiply"]),
        (1 - sp.exp(X), ["expm1", "negative"]),
        (sp.log(1 + X), ["log1p"]),
        (sp.log(1 - X), ["negative", "log1p"]),
        (sp.log(2 + X), ["add", "log"]),
        (1 - 2 / (1 + sp.exp(2 * X)), ["tanh"]),
        (2 / (1 + sp.exp(-2 * X)) - 1, ["tanh"]),
        ((sp.exp(X) - sp.exp(-X)) / (sp.exp(X) + sp.exp(-X)), ["tanh"]),
        ((1 - sp.exp(-X)) / (1 + sp.exp(-X)), ["multiply", "tanh"]),
        (sp.sinh(X) / sp.cosh(X), ["tanh"]),
        (sp.Max(X, 0), ["relu"]),
        (sp.Max(X, Y, Z), ["maximum", "maximum"]),
        (X - Y, ["subtract"]),
        (-X - Y, ["negative", "subtract"]),
        (X**2 + sp.sqrt(Y), ["square", "sqrt", "add"]),
        (X / Y, ["divide"]),
        (sp.sqrt(2) / 2 * X, ["multiply"]),
        ((X + Y) ** 2 * (X + Y), ["add", "power"]),
    ],
)
def test_an_expression_is_written_in_stable_operators(expr: sp.Basic, expected: list[str]) -> None:
    assert sorted(heads(expr)) == sorted(expected)


EXPRESSIONS = [
    1 / (1 + sp.exp(-X)) ** 3,
    sp.exp(-X) / (1 + sp.exp(-X)) ** 2,
    sp.exp(X * sp.Rational(3, 2)) / (1 + sp.exp(X)) ** 2,
    sp.exp(Y) / (1 + sp.exp(X)),
    sp.exp(X) / ((1 + sp.exp(X)) * (1 + sp.exp(2 * X))),
    1 / (2 + 3 * sp.exp(X)),
    1 / sp.sqrt(1 + sp.exp(X)),
    1 / sp.cosh(X),
    1 / sp.cosh(X) ** 2,
    sp.sech(X) + sp.csch(Y) + sp.coth(Y) + sp.sec(X) + sp.csc(Y) + sp.cot(Y),
    sp.log(sp.cosh(X)),
    sp.log(2 * sp.exp(X) + 5 * sp.exp(Y)),
    sp.log(3 + 2 * sp.exp(X)) * 2,
    3 - 6 / (1 + sp.exp(X)),
    (3 * sp.exp(X) - 3 * sp.exp(Y)) / (5 * sp.exp(X) + 5 * sp.exp(Y)),
    (sp.exp(Y) - sp.exp(X)) / (sp.exp(X) + sp.exp(Y)) * Y,
    (sp.exp(X) - 2 * sp.exp(-X)) / (sp.exp(X) + sp.exp(-X)),
    5 - 5 * sp.exp(X) + Y,
    sp.Rational(2, 3) * X - Y / 7 + sp.pi,
    X * Y / (1 + X**2) - 2 * X,
    (1 + X**2) ** sp.Rational(-3, 2) * Y**-2,
    2**X + (1 + X**2) ** Y,
    sp.atan2(Y, X) + sp.asin(X / 9) * sp.acos(X / 9) * sp.atan(X),
    sp.sin(X) * sp.cos(Y) + sp.tan(X / 9) + sp.sinh(X) + sp.erf(X) - sp.erfc(Y),
    sp.Abs(X) * sp.sign(Y) + sp.floor(X) - sp.ceiling(Y),
    sp.Heaviside(X) * X + sp.Min(X, Y, 1) + sp.Max(X, Y),
    sp.Piecewise((X, X > 0), (sp.Rational(1, 2) * (sp.exp(X) - 1), True)),
    sp.Piecewise((sp.log(X), X > 1), (sp.sqrt(-X), X < 0), (Y, True)),
    sp.Piecewise((1, sp.And(X > 0, Y > 0)), (2, sp.Or(X < -1, sp.Ne(Y, 1))), (3, True)),
    sp.Piecewise((1 / X, X < 0), (X, X >= 0)),
    sp.exp(-(X**2) / 2) / sp.sqrt(2 * sp.pi),
]


@pytest.mark.parametrize("expr", EXPRESSIONS, ids=str)
def test_values_and_gradients_are_those_of_the_expression(expr: sp.Basic) -> None:
    g = gg.Graph()
    points = {"X": np.array([-2.3, -0.7, 0.4, 1.9]), "Y": np.array([0.6, -1.4, 2.2, 0.3])}
    names = sorted(s.name for s in expr.free_symbols)
    tensors = {n: g.parameter(n, (4,)) for n in names}
    y = gg.from_sympy(expr, **tensors)
    values = {n: points[n] for n in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        d = gg.derive(gg.sum(y))
    got = gg.evaluate([y, *[d[tensors[n]] for n in names]], **values)
    at = [{sp.Symbol(n, real=True): points[n][k] for n in names} for k in range(4)]
    rows = [
        expr,
        *(
            sp.diff(expr.rewrite(sp.Piecewise) if expr.has(sp.Max, sp.Min) else expr, sp.Symbol(n, real=True))
            for n in names
        ),
    ]
    for value, row in zip(got, rows, strict=True):
        row = row.replace(sp.Derivative, lambda *_: sp.S.Zero)  # of floor and ceiling, which sympy leaves open
        wanted = [float(row.subs(p).doit()) if row.free_symbols else float(row) for p in at]
        np.testing.assert_allclose(value, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("expr", "low", "high"),
    [
        (X / (1 + sp.exp(-X)), 0, 1),
        (sp.log(1 + sp.exp(X)), 0, 1),
        (sp.Piecewise((X, X > 0), (sp.exp(X) - 1, True)), 0, 1),
        (sp.log(sp.cosh(X)), -1, 1),
        (1 / sp.cosh(X), 0, 0),
        (sp.exp(sp.Rational(3, 2) * X) / (1 + sp.exp(X)) ** 2, 0, 0),
        (X * sp.tanh(sp.log(1 + sp.exp(X))), 0, 1),
        (sp.exp(-X) / (1 + sp.exp(-X)) ** 2, 0, 0),
    ],
)
def test_far_out_values_and_gradients_are_finite(expr: sp.Basic, low: float, high: float, dtype: str) -> None:
    g = gg.Graph()
    x = g.parameter("X", (2,), dtype=dtype)
    y = gg.from_sympy(expr, X=x)
    value, gradient = gg.evaluate([y, gg.derive(gg.sum(y))[x]], X=np.array([-1000, 1000], dtype))
    assert value.dtype == gradient.dtype == dtype
    assert np.isfinite(value).all()
    np.testing.assert_allclose(gradient, [low, high], atol=1e-30)


def test_a_branch_is_safe_where_it_is_not_taken_and_nan_stays_nan() -> None:
    g = gg.Graph()
    x = g.parameter("X", (4,))
    y = gg.from_sympy(sp.Piecewise((X * sp.log(X), X > 0), (X, True)), X=x)
    value, gradient = gg.evaluate([y, gg.derive(gg.sum(y))[x]], X=[1.0, 0.0, -5.0, np.nan])
    np.testing.assert_array_equal(value, [0.0, 0.0, -5.0, np.nan])
    np.testing.assert_array_equal(gradient[:3], [1.0, 1.0, 1.0])


def test_relu_of_sympy_has_the_derivative_0_at_0() -> None:
    g = gg.Graph()
    x = g.parameter("X")
    assert gg.evaluate(gg.derive(gg.from_sympy(sp.Max(X, 0), X=x))[x], X=0.0) == 0.0


def test_every_operator_that_lowering_names_exists() -> None:
    assert set(FUNCTIONS.values()) <= OPERATORS.keys()


def test_a_deep_expression_is_lowered_without_recursion() -> None:
    expr: sp.Basic = X
    for _ in range(2000):
        expr = X * expr + 1
    assert len(heads(expr)) == 4000


def test_what_has_no_operator_is_told_with_what_there_is() -> None:
    with pytest.raises(GraphgradError, match=r"^gamma has no operator; there are: Abs, acos, .*Piecewise.*$"):
        lower(sp.gamma(X))
    with pytest.raises(GraphgradError, match=r"^f has no operator; there are: "):
        lower(sp.Function("f")(X))
    with pytest.raises(GraphgradError, match=r"^I is no real number$"):
        lower(sp.I * X)
    with pytest.raises(GraphgradError, match=r"^a sympy expression is wanted, but str was given$"):
        lower("__import__('os')")
    with pytest.raises(GraphgradError, match=r"^a sympy expression of numbers is wanted, but Tuple was given$"):
        lower(sp.Tuple(X, X))


def test_from_sympy_wants_a_tensor_for_every_symbol() -> None:
    g = gg.Graph()
    x = g.input("x")
    with pytest.raises(GraphgradError, match=r"^the expression has the symbols X, Y; no tensor was given for Y$"):
        gg.from_sympy(X + Y, X=x)
    with pytest.raises(GraphgradError, match=r"^the expression has no Z; its symbols are X$"):
        gg.from_sympy(X + 1, X=x, Z=x)
    with pytest.raises(
        GraphgradError, match=r"^from_sympy builds nodes of a graph, so at least one symbol is given a Tensor$"
    ):
        gg.from_sympy(X + 1, X=2.0)
    assert gg.from_sympy(X + Y, X=x, Y=2.5) is x + 2.5


# -- to sympy ---------------------------------------------------------------------------------------------------------


def test_a_scalar_graph_as_an_expression_and_back() -> None:
    g = gg.Graph()
    w, x, y = g.parameter("w"), g.input("x"), g.input("y")
    loss = gg.square(gg.sigmoid(w * x + 0.5) - y)
    w_, x_, y_ = (gg.to_sympy(t) for t in (w, x, y))
    expr = gg.to_sympy(loss)
    assert sp.simplify(expr - (1 / (1 + sp.exp(-(w_ * x_ + sp.Rational(1, 2)))) - y_) ** 2) == 0
    back = gg.from_sympy(expr, w=w, x=x, y=y)
    point = {"w": 0.3, "x": -1.2, "y": 0.7}
    np.testing.assert_allclose(gg.evaluate(back, **point), gg.evaluate(loss, **point), rtol=1e-15)


def test_the_derivation_of_a_scalar_graph_is_sympys_derivative() -> None:
    g = gg.Graph()
    w, x = g.parameter("w"), g.input("x")
    for y in (
        gg.tanh(w * x),
        gg.exp(w) / (x * x + w),
        w**3 * gg.log(x),
        gg.sigmoid(w) * gg.softplus(w * x),
        gg.silu(w),
    ):
        expr = gg.to_sympy(y)
        assert sp.simplify((gg.to_sympy(gg.derive(y)[w]) - sp.diff(expr, gg.to_sympy(w))).rewrite(sp.exp)) == 0


def test_linear_operators_on_numbers_casts_and_sizes() -> None:
    g = gg.Graph()
    x, v = g.input("x"), g.input("v", ("N", 3))
    y = gg.sum(gg.reshape(gg.broadcast_to(x, ()), ())) / gg.size(v)
    n, x_ = sp.Symbol("N", integer=True, positive=True), gg.to_sympy(x)
    assert gg.to_sympy(y) == x_ / (3 * n)
    assert gg.to_sympy(gg.cast(x > 0, "float64")) == sp.Piecewise((1, x_ > 0), (0, True))
    assert gg.to_sympy(gg.cast(x, "int64")).subs(x_, -2.5) == -2
    assert gg.to_sympy(gg.cast(x, "float32")) == x_


def test_numbers_become_exact_where_they_are_short() -> None:
    g = gg.Graph()
    x = g.input("x")
    x_ = gg.to_sympy(x)
    assert gg.to_sympy(x * 0.25) == x_ / 4
    assert gg.to_sympy(x + 2.0) == x_ + 2
    assert gg.to_sympy(x * 0.1).subs(x_, 1) == sp.Float(0.1, 17)
    assert gg.to_sympy(g.constant(float("inf"))) == sp.oo
    assert gg.to_sympy(g.constant(float("nan"))) is sp.nan


def test_a_graph_with_shapes_is_refused() -> None:
    g = gg.Graph()
    x = g.input("x", (3,))
    message = (
        r"^to_sympy takes a graph of numbers, but v1 depends on x of shape \(3,\); gg\.scalarize writes a "
        r"graph out in numbers\n  at .*$"
    )
    with pytest.raises(GraphgradError, match=message):
        gg.to_sympy(gg.sum(x))
    with pytest.raises(GraphgradError, match=r"^to_sympy takes a Tensor, but float was given$"):
        gg.to_sympy(1.0)  # type: ignore[arg-type]


def test_a_graph_of_ten_thousand_nodes_works_or_is_refused_in_words() -> None:
    g = gg.Graph()
    y = x = g.input("x")
    for _ in range(5_000):
        y = y * 1.5 + 1.0
    slope = gg.to_sympy(y).as_coeff_Add()[1].as_coeff_Mul()[0]
    assert float(sp.log(slope)) == pytest.approx(5_000 * np.log(1.5))
    y = x
    for _ in range(10_000):
        y = gg.tanh(y)
    with pytest.raises(
        GraphgradError,
        match=r"^v\d+ is computed by 10001 nodes, which nest too deeply for sympy: its own functions recurse",
    ):
        gg.to_sympy(y)


# -- own operators ----------------------------------------------------------------------------------------------------


@pytest.fixture
def swish() -> Operator:
    return gg.elementwise("swish", X / (1 + sp.exp(-beta * X)), parameters={"beta": 1.0})


def test_an_own_operator_is_one_node_with_all_ways_to_call_it(swish: Operator) -> None:
    g = gg.Graph()
    x, b = g.input("x", ("N",)), g.parameter("b")
    one, two, three = swish(x), swish(x, 2.0), swish(x, beta=b)
    assert [t.node.operator for t in (one, two, three)] == [swish] * 3
    assert one.node.inputs == (x.id, g.constant(1.0).id)
    assert three.node.inputs == (x.id, b.id)
    assert swish(X=x, beta=2.0) is two
    assert swish.signature == "swish(X, beta=1.0)"
    v = np.array([-2.0, 0.5])
    np.testing.assert_allclose(gg.evaluate(two, x=v), v / (1 + np.exp(-2 * v)), rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_swish_far_out(swish: Operator, dtype: str) -> None:
    g = gg.Graph()
    x, b = g.parameter("x", (4,), dtype), g.parameter("b", (), dtype)
    d = gg.derive(gg.sum(swish(x, b)))
    value, dx, db = gg.evaluate(
        [swish(x, b), d[x], d[b]], x=np.array([-1000, -1, 1, 1000], dtype), b=np.ones((), dtype)
    )
    assert value.dtype == dx.dtype == db.dtype == dtype
    s = 1 / (1 + np.exp(-1.0))
    np.testing.assert_allclose(value, [0, s - 1, s, 1000], rtol=1e-6)
    np.testing.assert_allclose(dx, [0, 1 - s - s * (1 - s), s + s * (1 - s), 1], rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(db, 2 * s * (1 - s), rtol=1e-6)


def test_the_order_of_operands() -> None:
    longer, a = sp.symbols("width a")
    assert gg.elementwise("first", X * beta * a + longer).operands == ("X", "a", "beta", "width")
    assert gg.elementwise("first", X * beta, variables=[beta, X]).operands == ("beta", "X")
    assert gg.elementwise("first", X * beta, variables="beta, X").operands == ("beta", "X")
    assert gg.elementwise("first", X * beta * a, "X beta", {"a": 2}).signature == "first(X, beta, a=2)"


def test_broadcasting_dtypes_and_weakness() -> None:
    g = gg.Graph()
    f = gg.elementwise("f", X * Y + 1)
    x, y = g.input("x", ("N", 1), "float32"), g.input("y", (3,), "float32")
    assert (f(x, y).shape, f(x, y).dtype) == ((x * y).shape, "float32")
    assert f(x, 2.0).dtype == "float32"
    assert f(g.input("i", (), "int64"), 2).dtype == "int64"
    assert gg.elementwise("positive", X > 0)(x).dtype == "bool"
    a, b = g.input("a", (2,)), g.input("b", (3,))
    message = (
        r"^f of shapes \(2,\) and \(3,\): axis -1 is 2 and 3; dimensions fit where they are equal or one "
        r"of them is 1\n  at .*$"
    )
    with pytest.raises(GraphgradError, match=message):
        f(a, b)


def test_second_derivatives_of_an_own_operator(swish: Operator) -> None:
    g = gg.Graph()
    x = g.parameter("x")
    first = gg.derive(swish(x, 1.5))[x]
    second = gg.derive(first)[x]
    x_ = sp.Symbol("x", real=True)
    expr = x_ / (1 + sp.exp(-sp.Rational(3, 2) * x_))
    for order, tensor in ((1, first), (2, second)):
        assert float(gg.evaluate(tensor, x=0.8)) == pytest.approx(
            float(sp.diff(expr, x_, order).subs(x_, 0.8)), rel=1e-13
        )


def test_notation_is_printed_from_the_expression(swish: Operator) -> None:
    g = gg.Graph()
    a, b = g.input("a"), g.input("b")
    y = swish(a + b, 2.0)
    assert formula(g, y.id, {}) == "(a + b)/(1 + exp(-(a + b)*2))"
    assert formula(g, (y * a).id, {}) == "((a + b)/(1 + exp(-(a + b)*2))) * a"
    assert formula(g, y.id, {}, latex=True) == (r"\frac{\left(a + b\right)}{1 + e^{- \left(a + b\right) 2}}")
    assert swish.formula == "X/(1 + exp(-X*beta))"


def test_an_own_operator_as_a_formula(swish: Operator) -> None:
    assert sp.simplify(swish(X, beta) - X / (1 + sp.exp(-beta * X))) == 0
    g = gg.Graph()
    assert gg.to_sympy(swish(g.input("x"), 2.0)).subs(sp.Symbol("x", real=True), 0) == 0


def test_equal_own_operators_make_equal_nodes() -> None:
    g = gg.Graph()
    x = g.input("x")
    one, two = (gg.elementwise("cube", X**3) for _ in range(2))
    assert one is not two
    assert one(x) is two(x)
    assert gg.elementwise("cube", X**3 + 0.5)(x) is not one(x)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: gg.elementwise("tanh", X + 1), "an operator named tanh exists already: tanh(x); choose another name"),
        (
            lambda: gg.elementwise("my op", X + 1),
            "the name of an operator is a Python name, as swish is, but 'my op' was given",
        ),
        (
            lambda: gg.elementwise("lambda", X + 1),
            "the name of an operator is a Python name, as swish is, but 'lambda' was given",
        ),
        (lambda: gg.elementwise("f", X, "X Y"), "f: Y does not occur in the expression; its symbols are X"),
        (lambda: gg.elementwise("f", X * Y, "X"), "f: the expression has Y, but its variables are X"),
        (
            lambda: gg.elementwise("f", X * Y, "X", {"Z": 1.0}),
            "f: Z does not occur in the expression; its symbols are X, Y",
        ),
        (
            lambda: gg.elementwise("f", sp.Integer(2)),
            "f has no variable: an elementwise operator is a function of at least one",
        ),
        (
            lambda: gg.elementwise("f", X * sp.Symbol("lambda")),
            "f: an operand is called as a Python name is, but 'lambda' was given",
        ),
        (
            lambda: gg.elementwise("f", X * sp.Symbol("X")),
            "f: two different symbols of the expression have one name; its names are X",
        ),
        (
            lambda: gg.elementwise("f", X * Y, "X Y", {"X": 1.0}),
            "f: operands with defaults come last, but their order is X, Y",
        ),
    ],
)
def test_what_cannot_be_an_operator(build: object, message: str) -> None:
    with pytest.raises(GraphgradError) as error:
        build()  # type: ignore[operator]
    assert str(error.value) == message


def test_a_derivative_with_truth_values_becomes_an_expression() -> None:
    """The rules of relu, maximum and hard_tanh multiply by comparisons, which sympy keeps apart from numbers."""
    g = gg.Graph()
    a, b = g.parameter("a"), g.parameter("b")
    both = gg.logical_and(a, b > 0)
    y = gg.relu(a) * gg.maximum(a, b) + gg.hard_tanh(b) + gg.where(gg.maximum(both, a > b), a * both, (b > a) * 2.0)
    d = gg.derive(y)
    for t in (y, d[a], d[b]):
        expression = gg.to_sympy(t)
        back = gg.from_sympy(expression, **{str(s): g[str(s)] for s in expression.free_symbols})
        for values in ({"a": 0.5, "b": 0.75}, {"a": -1.5, "b": 2.0}, {"a": 3.0, "b": -0.25}):
            wanted = gg.evaluate(t, **{n: v for n, v in values.items() if g[n].id in g.ancestors([t.id])})
            assert float(expression.subs({s: values[str(s)] for s in expression.free_symbols})) == wanted
            given = {n: v for n, v in values.items() if g[n].id in g.ancestors([back.id])}
            np.testing.assert_allclose(gg.evaluate(back, **given), wanted, rtol=1e-15)


@pytest.mark.parametrize(
    "expression",
    [
        "X * Heaviside(X)",
        "X * Piecewise((1, X > 2), (0, True))",
        "X + Piecewise((2, X > 1), (Piecewise((1, X > 0), (0, True)), True))",
    ],
)
def test_a_choice_between_numbers_keeps_float32(expression: str) -> None:
    written = sp.sympify(expression)
    op = gg.elementwise("chosen", written)
    g = gg.Graph()
    x, y = g.parameter("x", (4,), dtype="float32"), g.parameter("y", (4,))
    given = np.array([-1.0, 0.5, 1.5, 3.0], np.float32)
    wanted = [float(written.subs("X", float(v))) for v in given]
    for t in (op(x), gg.from_sympy(written, X=x)):
        f = gg.compile([t, gg.derive(gg.sum(t), [x])[x]])
        assert t.dtype == "float32"
        assert {f.program.graph.nodes[i].dtype for i in f.program.step} <= {"float32", "bool"}
        assert f(x=given)[0].dtype == gg.evaluate(t, x=given).dtype == np.float32
        assert f(x=given)[0].tolist() == gg.evaluate(t, x=given).tolist() == wanted
    assert op(x * y).dtype == "float64"
    assert op(g.input("k", weak=True)).node.weak


def test_a_logarithm_of_several_exponentials_does_not_overflow() -> None:
    X, Y, Z = sp.symbols("X Y Z")
    g = gg.Graph()
    tensors = {n: g.parameter(n) for n in "XYZ"}
    several = sp.log(3 + sp.exp(X) + 2 * sp.exp(Y) + sp.exp(Z))
    y = gg.from_sympy(several + sp.Pow(sp.exp(X), Y, evaluate=False), **tensors)
    d = gg.derive(y)
    outputs = [y, *(d[t] for t in tensors.values())]
    for at in ((1.0, 0.5, -0.25), (900.0, -0.5, 899.0), (-900.0, 0.5, 750.0)):
        values = dict(zip("XYZ", at, strict=True))
        logits = np.array([np.log(3), at[0], np.log(2) + at[1], at[2]])
        shares = np.exp(logits - np.logaddexp.reduce(logits))
        power = np.exp(at[0] * at[1])
        wanted = [np.logaddexp.reduce(logits) + power, shares[1] + at[1] * power, shares[2] + at[0] * power, shares[3]]
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            for found in (gg.evaluate(outputs, **values), gg.compile(outputs)(**values)):
                np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


def test_remainders_are_derived_between_their_jumps() -> None:
    X = sp.Symbol("X")
    g = gg.Graph()
    x = g.parameter("x", (4,))
    y = gg.from_sympy(sp.Mod(X, 3) * X + sp.frac(X), X=x)
    at = np.array([-4.25, -0.5, 2.75, 7.5])
    np.testing.assert_allclose(gg.evaluate(y, x=at), at % 3 * at + at % 1)
    np.testing.assert_allclose(gg.evaluate(gg.derive(gg.sum(y))[x], x=at), at % 3 + at + 1)
