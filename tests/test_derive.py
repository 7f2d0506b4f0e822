"""Reverse mode: gradients, the record of steps, its text, second order, and errors read whole."""

from __future__ import annotations

import unicodedata
import warnings
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.derivation import columns
from graphgrad.derive import UnusedParameterWarning
from graphgrad.errors import DerivativeError
from graphgrad.notation import bar, formula
from graphgrad.operators.rows import elementwise


def neuron() -> tuple[gg.Graph, gg.Tensor]:
    """The lecture's one neuron with the quadratic loss."""
    g = gg.Graph()
    x, y, w, b = g.input("x"), g.input("y"), g.parameter("w"), g.parameter("b")
    a = gg.sigmoid((w * x + b).named("z")).named("a")
    return g, ((a - y) ** 2).named("L")


def plain(text: str) -> str:
    """x̄ as x': what a test file shows in one column."""
    return unicodedata.normalize("NFD", text).replace("\u0304", "'")


# -- the text ---------------------------------------------------------------------------------------------------------


def test_the_derivation_of_one_neuron_reads_as_in_the_lecture() -> None:
    _, loss = neuron()
    text = str(gg.derive(loss))
    assert plain(text) == (
        "1  L' = 1                 seed\n"
        "2  v7' = L' * 2 * v7       square: L = v7²\n"
        "3  a' = v7'                subtract: v7 = a - y\n"
        "4  z' = a' * a * (1 - a)   sigmoid: a = σ(z)\n"
        "5  v4' = z'                add: z = v4 + b\n"
        "6  b' = z'                 add: z = v4 + b\n"
        "7  w' = v4' * x            multiply: v4 = w * x"
    ).replace("v7'", "v'7").replace("v4'", "v'4")


def test_columns_are_aligned_though_macrons_take_none() -> None:
    _, loss = neuron()
    lines = str(gg.derive(loss)).split("\n")
    starts = {
        columns(line[: line.index(word)])
        for line, word in zip(lines, ["seed", "square", "subtract", "sigmoid", "add", "add", "multiply"], strict=True)
    }
    assert len(starts) == 1
    assert columns("x̄ȳ1") == 3


def test_the_latex_of_one_neuron() -> None:
    _, loss = neuron()
    assert gg.derive(loss).latex() == "\n".join(
        [
            r"\begin{align*}",
            r"  \bar{L} &= 1 && \text{seed} \tag{1} \\",
            r"  \bar{v}_{7} &= \bar{L} \cdot 2 \cdot v_{7} && \text{square} \tag{2} \\",
            r"  \bar{a} &= \bar{v}_{7} && \text{subtract} \tag{3} \\",
            r"  \bar{z} &= \bar{a} \cdot a \cdot \left(1 - a\right) && \text{sigmoid} \tag{4} \\",
            r"  \bar{v}_{4} &= \bar{z} && \text{add} \tag{5} \\",
            r"  \bar{b} &= \bar{z} && \text{add} \tag{6} \\",
            r"  \bar{w} &= \bar{v}_{4} \cdot x && \text{multiply} \tag{7} \\",
            r"\end{align*}",
        ]
    )


def test_a_layer_reads_with_its_sums_and_transposes() -> None:
    g = gg.Graph()
    x, y = g.input("x", ("N", 2)), g.input("y", ("N", 1))
    W, b = g.parameter("W", (1, 2)), g.parameter("b", (1,))
    loss = gg.mean((gg.tanh((x @ W.T + b).named("z")).named("a") - y) ** 2).named("L")
    right = [plain(str(s)).split(" = ", 1)[1] for s in gg.derive(loss).steps]
    assert right == [
        "1", "L' / N", "v'9 * 2 * v8", "v'8", "a' * (1 - a * a)", "z'", "sum(z', 0)", "xᵀ @ v'5", "v'4ᵀ",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("build", "text", "latex"),
    [
        (lambda a, b, c: a - (b - c), "a - (b - c)", r"a - \left(b - c\right)"),
        (lambda a, b, c: a - b - c, "a - b - c", "a - b - c"),
        (lambda a, b, c: a + (b - c), "a + b - c", "a + b - c"),
        (lambda a, b, c: a * (b + c), "a * (b + c)", r"a \odot \left(b + c\right)"),
        (lambda a, b, c: a * (b * c), "a * b * c", r"a \odot b \odot c"),
        (lambda a, b, c: a / (b * c), "a / (b * c)", r"\frac{a}{b \odot c}"),
        (lambda a, b, c: a / b * c, "a / b * c", r"\frac{a}{b} \odot c"),
        (lambda a, b, c: (a / b) ** 2, "(a / b)²", r"\left(\frac{a}{b}\right)^2"),
        (lambda a, b, c: a * (b @ c), "a * (b @ c)", r"a \odot \left(b c\right)"),
        (lambda a, b, c: (a * b) @ c, "(a * b) @ c", r"\left(a \odot b\right) c"),
        (lambda a, b, c: a @ (b @ c), "a @ (b @ c)", r"a \left(b c\right)"),
        (lambda a, b, c: a @ b @ c, "a @ b @ c", "a b c"),
        (lambda a, b, c: a @ (b + c).T, "a @ (b + c)ᵀ", r"a \left(b + c\right)^\top"),
        (lambda a, b, c: gg.square(a.T), "aᵀ²", r"\left(a^\top\right)^2"),
        (lambda a, b, c: -(a + b), "-(a + b)", r"-\left(a + b\right)"),
        (lambda a, b, c: -a * b, "(-a) * b", r"\left(-a\right) \odot b"),
        (lambda a, b, c: a - (-b), "a - -b", "a - -b"),
        (lambda a, b, c: (a**b) ** c, "(a ** b) ** c", r"\left(a^{b}\right)^{c}"),
        (lambda a, b, c: gg.square(gg.exp(a)), "exp(a)²", r"\left(e^{a}\right)^2"),
        (lambda a, b, c: gg.sum(a, axis=0) * b, "sum(a, 0) * b", r"\left(\textstyle\sum_{0} a\right) \odot b"),
        (lambda a, b, c: a * -2.0, "a * (-2)", r"-2 \, a"),
        (lambda a, b, c: gg.sum(a) * b, "sum(a, (0, 1)) * b", r"\left(\textstyle\sum_{(0, 1)} a\right) \, b"),
        (lambda a, b, c: (a @ b).T, "bᵀ @ aᵀ", r"b^\top a^\top"),
        (lambda a, b, c: (a.T @ (b + c)).T, "(b + c)ᵀ @ a", r"\left(b + c\right)^\top a"),
        (lambda a, b, c: ((a @ b).T @ c).T, "cᵀ @ (a @ b)", r"c^\top \left(a b\right)"),
        (lambda a, b, c: a * 0.1 + np.ones((2, 2)), "a * 0.1 + 1", r"0.1 \, a + 1"),
        (lambda a, b, c: a + np.array([1.0, 2.5]), "a + [1, 2.5]", "a + [1, 2.5]"),
        (lambda a, b, c: a + np.array([[1.0, 2.5], [3, 4]]), "a + [(2, 2)]", "a + [(2, 2)]"),
        (lambda a, b, c: gg.tanh(a) * gg.log(b + c), "tanh(a) * log(b + c)", r"\tanh a \odot \log \left(b + c\right)"),
    ],
)
def test_parentheses(build: Any, text: str, latex: str) -> None:
    g = gg.Graph()
    t = build(*(g.input(name, (2, 2)) for name in "abc"))
    assert formula(g, t.id, {}) == text
    assert formula(g, t.id, {}, latex=True) == latex


def test_what_is_named_a_transpose_is_turned_back_by_its_name() -> None:
    g = gg.Graph()
    x, Wt = g.input("x", ("N", 3)), g.parameter("W2ᵀ", (3, 2))
    W = Wt.T.named("W")
    names, typeset = {x.id: "x", Wt.id: "W2ᵀ"}, {x.id: "x", Wt.id: r"{W_{2}^\top}"}
    assert formula(g, W.id, names) == "(W2ᵀ)ᵀ"  # as the formula of W itself
    assert formula(g, W.id, typeset, latex=True) == r"\left({W_{2}^\top}\right)^\top"
    assert formula(g, (x @ W.T).id, names) == "x @ W2ᵀ"
    assert formula(g, (gg.sum(x, axis=0, keepdims=True) @ W.T.T.T).id, names) == "sum(x, 0) @ W2ᵀ"
    assert formula(g, gg.tanh(W).id, names) == "tanh(W2)"
    product = (x @ Wt).T
    assert formula(g, product.id, names) == "W2 @ xᵀ"
    assert formula(g, product.id, typeset, latex=True) == r"W_{2} x^\top"
    assert formula(g, Wt.T.id, {Wt.id: "ᵀ"}) == "ᵀᵀ"  # no name is left


def test_sizes_in_formulas_have_their_parentheses() -> None:
    g = gg.Graph()
    a, x, y = g.input("a"), g.input("x", ("N", 2)), g.input("y", ("N",))
    assert formula(g, (a / gg.size(x)).id, {}) == "a / (2*N)"
    assert formula(g, (a * gg.size(gg.concatenate([y, np.ones(1)]))).id, {}) == "a * (N + 1)"
    assert formula(g, (a / gg.size(y)).id, {}) == "a / N"


def test_every_step_is_what_it_says() -> None:
    """The right side of each step, evaluated as text with the values of names and adjoints, is the contribution."""
    g = gg.Graph()
    x, w, b = g.input("x"), g.parameter("w"), g.parameter("b")
    z = (w * x + b * b).named("z")
    t = gg.tanh(z).named("t")
    loss = (t * z / (b - t) + gg.exp(-t) * t**3).named("L")
    d = gg.derive(loss)
    at = {"x": 0.7, "w": -0.4, "b": 1.3}
    ids = {i for s in d.steps for i in (s.target, s.forward.id, *s.forward.inputs)} | {
        a.id for a in d.adjoints.values()
    }
    tensors = [g.tensor(i) for i in sorted(ids)]
    values = dict(zip([i.id for i in tensors], gg.evaluate(tensors, **at), strict=True))
    names = {g.label(i): v for i, v in values.items() if g.nodes[i].operator.name != "constant"}
    names |= {f"bar_{g.label(i)}": values[a.id] for i, a in d.adjoints.items()}
    names |= {"exp": np.exp, "tanh": np.tanh}
    checked = 0
    for step in d.steps:
        text = plain(step.formula).replace("²", "**2")
        for i in d.adjoints:
            text = text.replace(plain(bar(g.label(i))), f"bar_{g.label(i)}")
        if step.parts:
            continue
        got = eval(text, {}, names)
        np.testing.assert_allclose(got, gg.evaluate(step.contribution, **at), rtol=1e-12, err_msg=str(step))
        checked += 1
    assert checked > 12


# -- the record -------------------------------------------------------------------------------------------------------


def test_steps_are_on_record_in_order() -> None:
    g, loss = neuron()
    before = len(g.nodes)
    d = gg.derive(loss)
    assert [s.number for s in d.steps] == list(range(1, 8))
    assert [(s.rule, g.label(s.forward.id), s.operand, g.label(s.target)) for s in d.steps] == [
        ("seed", "L", None, "L"),
        ("square", "L", 0, "v7"),
        ("subtract", "v7", 0, "a"),
        ("sigmoid", "a", 0, "z"),
        ("add", "z", 0, "v4"),
        ("add", "z", 1, "b"),
        ("multiply", "v4", 0, "w"),
    ]
    new = [i for s in d.steps for i in s.new]
    assert new == sorted(set(new))
    assert all(i >= before for i in new)
    assert all(s.contribution.id == d.adjoints[s.target].id for s in d.steps)
    assert d[g["w"]] is d.adjoint(g["w"])
    assert d.adjoint(g["x"]) is None
    assert all(g.records[s.contribution.id] is s for s in d.steps if s.new)
    assert repr(d) == "<derivation of L by w, b: 7 steps>"


def test_contributions_of_several_consumers_meet_in_a_step() -> None:
    g = gg.Graph()
    w = g.parameter("w")
    a, b = gg.exp(w).named("a"), gg.sin(w).named("b")
    d = gg.derive((a * b).named("L"))
    total = d.steps[-1]
    assert (total.rule, total.operand, total.parts) == ("sum", None, tuple(s.contribution.id for s in d.steps[-3:-1]))
    assert [plain(str(s)) for s in d.steps[-3:]] == ["w'[b] = b' * cos(w)", "w'[a] = a' * a", "w' = w'[b] + w'[a]"]
    assert d.steps[-1].latex == r"\bar{w} = \bar{w}^{[b]} + \bar{w}^{[a]}"
    assert str(d).split("\n")[-1].endswith("sum over consumers")


def test_one_consumer_may_contribute_twice() -> None:
    g = gg.Graph()
    w = g.parameter("w")
    d = gg.derive((w**w).named("L"))
    assert [plain(s.symbol) for s in d.steps] == ["L'", "w'[L, 1]", "w'[L, 2]", "w'"]
    assert plain(d.steps[-1].formula) == "w'[L, 1] + w'[L, 2]"
    np.testing.assert_allclose(gg.evaluate(d[w], w=1.7), 1.7**1.7 * (np.log(1.7) + 1), rtol=1e-14)


def test_the_operator_sum_is_no_sum_over_consumers() -> None:
    g = gg.Graph()
    w = g.parameter("w", (3,))
    text = str(gg.derive(gg.sum(w * 2).named("L")))
    assert "sum: L = sum(v2, 0)" in text
    assert "consumers" not in text


def test_a_derivation_is_a_mapping_by_tensor() -> None:
    g, loss = neuron()
    d = gg.derive(loss)
    assert list(d) == [g["w"], g["b"]]
    assert len(d) == 2
    with pytest.raises(DerivativeError, match=r"^no gradient by x was derived; there are: w, b$"):
        d[g["x"]]


# -- gradients --------------------------------------------------------------------------------------------------------


def test_gradients_have_the_shape_and_dtype_of_their_tensors() -> None:
    g = gg.Graph()
    a, b, c = g.parameter("a", (3, 1), "float32"), g.parameter("b", ("N",)), g.parameter("c", (), "float32")
    d = gg.derive(gg.sum(a * b + c))
    for t in (a, b, c):
        assert (d[t].shape, d[t].dtype) == (t.shape, t.dtype)
    got = gg.evaluate([d[a], d[b], d[c]], a=np.ones((3, 1), "f4"), b=np.arange(4.0), c=np.float32(1))
    np.testing.assert_array_equal(got[0], np.full((3, 1), 6))
    np.testing.assert_array_equal(got[1], np.full(4, 3))
    assert got[2] == 12


def test_the_derivative_by_a_node_on_the_way() -> None:
    g = gg.Graph()
    w = g.parameter("w")
    h = gg.exp(w).named("h")
    loss = h * h * w
    d = gg.derive(loss, [h, w])
    np.testing.assert_allclose(gg.evaluate(d[h], w=0.5), 2 * np.exp(0.5) * 0.5, rtol=1e-14)
    np.testing.assert_allclose(gg.evaluate(d[w], w=0.5), np.exp(1.0) * 2, rtol=1e-14)
    only = gg.derive(loss, [h])
    assert {g.label(s.target) for s in only.steps} == {g.label(loss.id), "h", g.label((h * h).id)}


def test_one_tensor_to_derive_by_is_that_tensor_and_not_its_rows() -> None:
    g = gg.Graph()
    W = g.parameter("W", (2, 3))
    d = gg.derive(gg.sum(W * W), W)
    assert d[W].shape == (2, 3)
    assert list(d) == [W]


def test_the_derivative_by_itself_is_one() -> None:
    g = gg.Graph()
    w = g.parameter("w", (), "float32")
    d = gg.derive(w)
    assert gg.evaluate(d[w]) == 1
    assert d[w].dtype == "float32"


def test_second_derivatives() -> None:
    g = gg.Graph()
    w = g.parameter("w")
    y = gg.sin(w) * w
    first = gg.derive(y)[w]
    second = gg.derive(first)[w]
    third = gg.derive(second)[w]
    v = 0.8
    np.testing.assert_allclose(gg.evaluate(second, w=v), 2 * np.cos(v) - v * np.sin(v), rtol=1e-14)
    np.testing.assert_allclose(gg.evaluate(third, w=v), -3 * np.sin(v) - v * np.cos(v), rtol=1e-14)


def test_a_composite_without_a_rule_is_derived_through_its_definition() -> None:
    g = gg.Graph()
    w = g.parameter("w", (3,))
    y = gg.mish(w)
    assert y.node.operator.pullback is None
    d = gg.derive(gg.sum(y))
    assert [s.rule for s in d.steps] == ["seed", "sum", "mish"]
    report = gg.check(gg.sum(y))
    assert report.ok


def test_no_derivative_passes_through_a_condition_or_an_index() -> None:
    g = gg.Graph()
    w, i = g.parameter("w", (3,)), g.input("i", (2,), "int64")
    d = gg.derive(gg.sum(gg.where(w > 0, 2.0, w)) + gg.sum(w[i]))
    np.testing.assert_array_equal(gg.evaluate(d[w], w=[1.0, -1.0, 2.0], i=[1, 1]), [0, 3, 0])


# -- size -------------------------------------------------------------------------------------------------------------


def test_a_chain_of_fifty_thousand_nodes_and_no_recursion() -> None:
    g = gg.Graph()
    w = g.parameter("w")
    y = w
    for _ in range(50_000):
        y = gg.sin(y)
    d = gg.derive(y)
    assert len(d.steps) == 50_001
    expected, at = 1.0, 1.0
    for _ in range(50_000):
        expected *= np.cos(at)
        at = np.sin(at)
    np.testing.assert_allclose(gg.evaluate(d[w], w=1.0), expected, rtol=1e-9)
    assert plain(str(d.steps[-1])) == "w' = v'1 * cos(w)"


def test_derivation_is_linear_where_many_ways_lead_to_the_loss() -> None:
    sizes = []
    for n in (100, 200):
        g = gg.Graph()
        w = g.parameter("w")
        y: gg.Tensor = w
        for _ in range(n):
            y = gg.sin(y) * gg.cos(y)  # 2ⁿ paths
        gg.derive(y)
        sizes.append(len(g.nodes))
    assert sizes[1] < 2.1 * sizes[0]


# -- warnings and errors ----------------------------------------------------------------------------------------------


def test_a_tensor_that_does_not_matter_has_gradient_zero_and_a_warning() -> None:
    g = gg.Graph()
    w, v = g.parameter("w"), g.parameter("v", (2, 3), "float32")
    with pytest.warns(UnusedParameterWarning) as caught:
        d = gg.derive((w * w).named("L"))
    assert [str(w.message) for w in caught] == ["L does not depend on v: its gradient is zero"]
    assert caught[0].filename == __file__
    assert d[v].dtype == "float32"
    np.testing.assert_array_equal(gg.evaluate(d[v]), np.zeros((2, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gg.derive(w * w, [w])


def test_a_way_through_a_condition_only_is_no_dependence() -> None:
    g = gg.Graph()
    w, v = g.parameter("w"), g.parameter("v")
    with pytest.warns(UnusedParameterWarning, match="does not depend on v"):
        d = gg.derive(gg.where(v > 0, w, 1.0))
    assert gg.evaluate(d[v]) == 0.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda g: gg.derive(g["w"] * 2),
            "derive wants a scalar, but v3 has shape (2,); gg.sum or gg.mean makes it one",
        ),
        (lambda g: gg.derive(gg.sum(g["i"])), "derive wants a float, but v2 is int64"),
        (lambda g: gg.derive(gg.sum(g["w"]), [g["i"]]), "a derivative by i does not exist: its dtype is int64"),
    ],
)
def test_what_cannot_be_derived(build: Any, message: str) -> None:
    g = gg.Graph()
    g.parameter("w", (2,))
    g.input("i", (2,), "int64")
    with pytest.raises(DerivativeError) as error:
        build(g)
    told, _, line = str(error.value).partition("\n  at ")
    assert told == message
    assert line.startswith("test_derive.py:")


def test_tensors_of_other_graphs_and_other_things() -> None:
    g = gg.Graph()
    w = g.parameter("w")
    with pytest.raises(
        DerivativeError, match=r"^wrt holds tensors of the graph of L; <w: parameter \(\) float64> is none\n"
    ):
        gg.derive((w * 2).named("L"), [gg.Graph().parameter("w")])
    with pytest.raises(DerivativeError, match=r"^derive wants a Tensor, but float was given$"):
        gg.derive(2.0)  # type: ignore[arg-type]


def test_an_operator_without_derivative_is_named_with_its_line() -> None:
    from graphgrad.operator import OPERATORS

    opaque = elementwise("opaque", formula="x", reference=np.abs)
    try:
        g = gg.Graph()
        w = g.parameter("w")
        y = opaque(w * 2).named("y")
        with pytest.raises(DerivativeError) as error:
            gg.derive(y + 1)
        assert (
            str(error.value)
            .split("\n")[0]
            .startswith(
                "opaque has no derivative, but the derived scalar depends on v2 through y = opaque (made at "
                "test_derive.py:"
            )
        )
    finally:
        del OPERATORS["opaque"]


def test_a_tensor_that_stands_twice_in_a_composite_gets_each_share_once() -> None:
    import sympy

    u, v = sympy.symbols("u v")
    product = gg.elementwise("product", u * v)
    g = gg.Graph()
    x = g.parameter("x", (3, 3))
    given = np.arange(9.0).reshape(3, 3)
    for scalar, expected in (
        (gg.sum(product(x, x)), 2 * given),
        (gg.einsum("ij,ij->", x, x), 2 * given),
        (gg.einsum("ii,ii->", x, x), np.diag(2 * np.diag(given))),
        (gg.sum(gg.einsum("ij,jk->ik", x, x)), given.sum(1) + given.sum(0)[:, None]),
    ):
        np.testing.assert_allclose(gg.evaluate(gg.derive(scalar)[x], x=given), expected, rtol=1e-14)


def test_an_operand_that_a_definition_computes_too_stays_an_operand() -> None:
    import sympy

    u, v = sympy.symbols("u v")
    scaled = gg.elementwise("scaled", sympy.exp(u) * v)
    g = gg.Graph()
    x = g.parameter("x")
    e = gg.exp(x)
    loss = scaled(x, e)
    d = gg.derive(loss, [x, e])
    np.testing.assert_allclose(gg.evaluate([d[x], d[e]], x=1.0), [2 * np.exp(2.0), np.exp(1.0)], rtol=1e-14)


def test_slices_and_transposes_of_many_axes_are_told_as_they_are() -> None:
    g = gg.Graph()
    p, q, i = g.parameter("p", ("N", 3)), g.parameter("q", (2, 3, 4)), g.input("i", ("M",), "int64")
    shown = [
        (p[1:, ::2], "p[1:, ::2]", r"\left(p\right)_{[1:, ::2]}"),
        (p[:-1], "p[:N - 1]", r"\left(p\right)_{[:N - 1]}"),
        ((p + 1)[:2], "(p + 1)[:2]", r"\left(p + 1\right)_{[:2]}"),
        (p[i], "p[i]", r"\left(p\right)_{i}"),
        (p.T, "pᵀ", r"p^\top"),
        (gg.transpose(q, (1, 0, 2)), "transpose(q, (1, 0, 2))", r"\operatorname{transpose}(q, (1, 0, 2))"),
    ]
    for t, text, latex in shown:
        assert formula(g, t.id, {}) == text
        assert formula(g, t.id, {}, latex=True) == latex


def test_a_name_needs_no_parentheses_whatever_it_stands_for() -> None:
    g = gg.Graph()
    a, b = g.parameter("a"), g.parameter("b")
    d = gg.derive(a - a * b)  # the adjoint of a * b is the number -1
    products = [unicodedata.normalize("NFD", str(s)) for s in d.steps if s.rule == "multiply"]
    assert products == ["a\u0304[v2] = v\u03042 * b", "b\u0304 = v\u03042 * a"]
