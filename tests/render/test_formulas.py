"""What boxes say: formulas in three notations, rules and shapes, values; and the legend of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import notation
from graphgrad.notation import Piece, bar, latex_name
from graphgrad.render.diagram import Box, Strip
from graphgrad.render.picture import Picture
from graphgrad.render.scene import Curve, Glyphs, Group
from graphgrad.render.typeset import DrawingWarning, formula, label
from graphgrad.render.values import CELLS, number_text, strip
from graphgrad.render.words import WORDS
from tests.render.gallery import neuron, picture, small, small_values


def boxes(shown: Picture, lane: str = "backward") -> list[Box]:
    assert shown.diagram is not None
    return [b for b in shown.diagram.boxes if b.lane == lane]


def latex(shown: Picture, lane: str = "backward") -> list[str]:
    return [b.lines[0].run.tex for b in boxes(shown, lane)]


def draw(thing: Any, **options: Any) -> Picture:
    return gg.draw(thing, engine="layered", **options)


# -- notation ---------------------------------------------------------------------------------------------------------


def test_the_forward_pass_of_a_network_in_matrix_notation() -> None:
    assert latex(picture("small names"), "forward") == [
        "x", "y", "W_{1}", "b_{1}",
        r"z_{1} = x W_{1}^\top + b_{1}",
        r"x_{1} = \tanh z_{1}",
        "W_{2}", "b_{2}",
        r"z_{2} = x_{1} W_{2}^\top + b_{2}",
        r"\mathrm{loss} = \operatorname{mse}(z_{2}, y)",
    ]  # fmt: skip


def test_the_backward_pass_in_matrix_notation() -> None:
    """⊙ for elementwise, a transposed factor for a product, a sum where the bias was broadcast."""
    assert latex(picture("small names")) == [
        r"\overline{\mathrm{loss}} = 1",
        r"\bar{z}_{2} = 2 \cdot \frac{\overline{\mathrm{loss}}}{N} \, \left(z_{2} - y\right)",
        r"\bar{b}_{2} = \textstyle\sum_{0} \bar{z}_{2}",
        r"\bar{x}_{1} = \bar{z}_{2} W_{2}",
        r"\bar{W}_{2} = \bar{z}_{2}^\top x_{1}",
        r"\bar{z}_{1} = \bar{x}_{1} \odot \left(1 - x_{1} \odot x_{1}\right)",
        r"\bar{b}_{1} = \textstyle\sum_{0} \bar{z}_{1}",
        r"\bar{W}_{1} = \bar{z}_{1}^\top x",
    ]


def test_adjoints_as_partial_derivatives() -> None:
    """The transpose is of the whole fraction, not of its denominator."""
    shown = draw(gg.derive(small().loss), detail="names", notation="partial")
    assert latex(shown)[-1] == (
        r"\frac{\partial \mathrm{loss}}{\partial W_{1}} = "
        r"\left(\frac{\partial \mathrm{loss}}{\partial z_{1}}\right)^\top x"
    )
    assert boxes(shown)[-1].lines[0].run.text == "∂loss/∂W1 = (∂loss/∂z1)ᵀ @ x"
    assert boxes(shown)[-3].lines[0].run.text == "∂loss/∂z1 = ∂loss/∂x1 * (1 - x1 * x1)"


def test_adjoints_as_deltas() -> None:
    shown = draw(gg.derive(small().loss), detail="names", notation="delta")
    assert latex(shown)[-1] == r"\delta_{W_{1}} = \delta_{z_{1}}^\top x"
    assert boxes(shown)[-1].lines[0].run.text == "δW1 = δz1ᵀ @ x"


def test_a_gradient_says_what_it_is_the_derivative_of() -> None:
    last = boxes(picture("small names"))[-1]
    assert [(line.run.text, line.role) for line in last.lines] == [
        ("W̄1 = z̄1ᵀ @ x", "ink"),
        ("9, 11, 12  add · matmul", "grey"),
        ("∂loss/∂W1  (3, 2)", "gradient.text"),
    ]
    assert last.title == "9, 11, 12. W̄1 = z̄1ᵀ @ x: add · matmul"


def test_contributions_meet_in_a_sum_that_names_their_consumers() -> None:
    g = gg.Graph()
    w = g.parameter("w")
    shown = draw(gg.derive((gg.exp(w).named("p") + w * w).named("L")))
    assert latex(shown)[-1] == r"\bar{w} = \bar{w}^{[v_{2}, 1]} + \bar{w}^{[v_{2}, 2]} + \bar{w}^{[p]}"
    assert boxes(shown)[-1].kind == "gradient"
    assert [b.kind for b in boxes(shown)[:-1]] == ["adjoint"] * 6


def test_every_box_names_its_rule_and_its_forward_origin() -> None:
    shown = picture("neuron")
    rules = [b.lines[1].run.text for b in boxes(shown)]
    assert rules == ["1  seed", "2  square", "3  subtract", "4  sigmoid", "5  add", "6  add", "7  multiply"]
    assert shown.diagram is not None
    saved = [(e.source, e.target) for e in shown.diagram.edges if e.kind == "saved"]
    assert saved == [("n7", "s2"), ("n6", "s4"), ("n0", "s7")]


def test_a_users_own_function_is_drawn_with_its_formula() -> None:
    assert r"a = \frac{z}{\sqrt{2 z^{2} + 1} + 1}" in latex(picture("softstep"), "forward")
    assert any(b.lines[1].run.text == "5  softstep" for b in boxes(picture("softstep")))


def test_a_transposed_parameter_is_set_as_one() -> None:
    """Such as lie in a trainer's vector; its adjoint has the bar on the letter, and is no column of boxes."""
    d = gg.Trainer(gg.feedforward([2, 3, 1], "tanh")).graph.derivation
    shown = d.latex()
    assert r"{\bar{W}_{1}^\top} &= x^\top" in shown
    assert "ᵀ" not in shown


def test_a_second_derivative_shows_the_first_in_its_forward_pass() -> None:
    shown = picture("second")
    kinds = {b.kind for b in boxes(shown, "forward")}
    assert "adjoint" in kinds
    assert boxes(shown)[-1].lines[0].run.tex.startswith(r"\bar{W} = ")


def test_both_languages_have_the_same_words_with_the_same_gaps() -> None:
    english, spanish = WORDS["en"], WORDS["es"]
    assert english.keys() == spanish.keys()
    for key in english:
        assert ("{n}" in english[key], "{name}" in english[key]) == ("{n}" in spanish[key], "{name}" in spanish[key])
    shown = draw(neuron(), lang="es")
    assert shown.scene.lang == "es"
    assert shown.scene.title == "derivación de L"
    assert shown.scene.groups()["lane-backward"].title == "hacia atrás"


@pytest.mark.parametrize(
    ("name", "tex"),
    [
        ("W1", "W_{1}"), ("W_2_3", "W_{2,3}"), ("beta1", r"\beta_{1}"), ("σ", r"\sigma"), ("Λ2", r"\Lambda_{2}"),
        ("accuracy", r"\mathrm{accuracy}"), ("a^b", r"\mathrm{a\wedge b}"), ("50%", r"\mathrm{50\%}"),
        ("_x", r"\mathrm{\_x}"), ("12", r"\mathrm{12}"), ("a__b", "a_{b}"), ("W_a%", r"W_{\mathrm{a\%}}"),
        ("W1ᵀ", r"{W_{1}^\top}"),
    ],
)  # fmt: skip
def test_names_in_latex(name: str, tex: str) -> None:
    assert latex_name(name) == tex
    assert bar(tex, latex=True).count(r"\bar") + bar(tex, latex=True).count(r"\overline") == 1
    assert formula(tex, name).height < 40, "it is set as a line, not as a column"


def test_a_name_may_say_how_strongly_it_binds() -> None:
    from graphgrad.notation import formula as written

    g = gg.Graph()
    a, b = g.input("a", (2, 2)), g.input("b", (2, 2))
    y = a.T @ b
    assert written(g, y.id, {a.id: Piece("p + q", 10, "add")}) == "(p + q)ᵀ @ b"


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.0, "0"), (1.0, "1"), (-2.5, "−2.5"), (1 / 3, "0.3333"), (1e-9, "1e−09"), (123456.0, "1.235e+05"),
     (float("nan"), "nan"), (float("inf"), "∞"), (-float("inf"), "−∞")],
)  # fmt: skip
def test_a_number_has_four_digits_and_only_a_true_zero_reads_zero(value: float, text: str) -> None:
    assert number_text(value) == text


def numbers(shown: Picture) -> dict[str, str]:
    assert shown.diagram is not None
    return {b.id: line.run.text for b in shown.diagram.boxes for line in b.lines if line.kind == "number"}


def test_scalars_are_numbers_values_forward_and_gradients_backward() -> None:
    shown = draw(neuron(), values={"x": 2.0, "y": 1.0, "w": 0.0, "b": 0.0})
    assert numbers(shown) == {
        "n0": "2", "n1": "1", "n2": "0", "n3": "0", "n4": "0", "n5": "0", "n6": "0.5", "n7": "−0.5", "n8": "0.25",
        "s1": "1", "s2": "−1", "s3": "−1", "s4": "−0.25", "s5": "−0.25", "s6": "−0.25", "s7": "−0.5",
    }  # fmt: skip


def test_what_is_not_computed_is_a_dash_and_never_zero() -> None:
    from graphgrad.render.values import Values

    line, cells = Values.collect({}, [1], []).look(1, "en")
    assert cells is None
    assert line is not None
    assert (line.run.text, line.kind) == ("—", "number")


def test_what_is_not_finite_is_hatched_and_a_true_zero_reads_zero() -> None:
    shown = picture("not finite")
    assert numbers(shown) == {"n2": "0", "n6": "nan", "n7": "nan", "s1": "1", "s2": "0", "s3": "nan"}
    groups = shown.scene.groups()
    y = groups["n4-strip"]
    assert y.title == "(2, 3) from 0 to 2.079, 2 not finite"
    assert len([i for i in y.items if isinstance(i, Curve)]) == 2 * 3, "three lines in each cell that is hatched"
    assert not [i for i in groups["n0-strip"].items if isinstance(i, Curve)]


def test_labels_which_are_integers_set_no_scale() -> None:
    """Else classes from 0 to 9 would leave weights of a tenth without a colour."""
    g = gg.Graph()
    x, y, w = g.input("x", ("N", 2)), g.input("y", ("N",), "int64"), g.parameter("w", (3, 2))
    loss = gg.cross_entropy(x @ w.T, y).named("L")
    values = {"x": np.full((2, 2), 0.5), "y": np.array([2, 2]), "w": np.full((3, 2), 0.25)}
    shown = gg.draw(gg.derive(loss), values=values, engine="layered")
    assert shown.diagram is not None
    assert shown.diagram.scale.startswith("values −0.5 … 0.5;")
    strips = {b.title.partition(":")[0]: b.strip for b in shown.diagram.boxes}
    assert strips["w"] is not None
    assert strips["w"].rows == ((0.5, 0.5),) * 3


def test_repeating_is_understood() -> None:
    """The adjoint of a mean is L̄/N; a value that a user repeats is told as such."""
    shown = picture("softstep")
    assert shown.diagram is not None
    assert any(b.lines[0].run.text.endswith(" = L\u0304 / N") for b in shown.diagram.boxes)
    g = gg.Graph()
    wide = gg.broadcast_to(g.input("x", (3,)), (2, 3)).named("wide")
    assert notation.formula(g, wide.id, {}) == "broadcast_to(x, (2, 3))"
    assert notation.formula(g, (wide * g.input("y", (2, 3))).id, {}) == "x * y"
    assert notation.formula(g, (wide * 2.0).id, {}) == "broadcast_to(x, (2, 3)) * 2", "nothing else gives the shape"
    assert notation.formula(g, gg.sum(wide).id, {}) == "sum(broadcast_to(x, (2, 3)), (0, 1))"


def test_a_digit_stands_after_a_sign() -> None:
    g = gg.Graph()
    s, x = g.input("s"), g.input("x", (3,))
    assert notation.formula(g, (s * (2.0 * x)).id, {}, latex=True) == r"s \cdot 2 \, x"
    assert notation.formula(g, (2.0 * x).id, {}, latex=True) == r"2 \, x"


def test_adjoints_of_two_derivations_are_told_apart() -> None:
    shown = picture("second")
    assert shown.diagram is not None
    names = [b.name for b in shown.diagram.boxes]
    assert len(names) == len(set(names))
    assert {"L_v6", "L\u0304_v6", "v\u03046"} <= set(names)
    assert shown.diagram.note == "L_v6: ∂L/∂v6, of an earlier derivation"
    tex = {b.name: b.lines[0].run.tex for b in shown.diagram.boxes}
    assert tex["L\u0304_v6"].startswith(r"\bar{L}_{v_{6}} = ")


def test_a_strip_shows_blocks_by_their_means() -> None:
    array = np.zeros((20, 3))
    array[:3] = 2.0
    found = strip(array, 2.0, "en")
    assert len(found.rows) == CELLS
    assert found.rows[0] == (1.0, 1.0, 1.0)
    assert found.rows[1:] == ((0.0, 0.0, 0.0),) * 7
    assert strip(np.array([-1.0, 0.5]), 1.0, "en").rows == ((-1.0, 0.5),)
    assert strip(np.array([[1.0, np.nan]]), 1.0, "en").rows == ((1.0, None),)
    assert strip(np.ones((2, 2, 2)), 1.0, "en").rows == ((1.0, 1.0),) * 4
    assert strip(np.zeros((0, 3)), 1.0, "en") == Strip((), "")
    assert strip(np.zeros(3), 0.0, "en").rows == ((0.0, 0.0, 0.0),)


def test_values_and_gradients_have_scales_of_their_own_told_in_the_legend() -> None:
    shown = picture("small values")
    assert shown.diagram is not None
    values, gradients = shown.diagram.scale.split("; ")
    assert values.startswith("values −")
    assert gradients.startswith("gradients −")
    assert values.split()[-1] != gradients.split()[-1]
    strips = [v for b in shown.diagram.boxes if b.strip for row in b.strip.rows for v in row if v is not None]
    assert max(abs(v) for v in strips) == 1.0


# -- the legend -------------------------------------------------------------------------------------------------------


def legend(shown: Picture) -> list[str]:
    group = shown.scene.groups().get("legend")
    return [i.text for i in group.items if isinstance(i, Glyphs)] if group is not None else []


def test_the_legend_has_just_the_kinds_that_occur() -> None:
    assert legend(picture("network")) == ["input", "operation", "loss, output", "2 scopes folded"]
    assert legend(picture("neuron")) == [
        "input", "parameter", "operation", "loss, output", "adjoint", "gradient of a parameter", "value used again",
    ]  # fmt: skip
    assert legend(picture("adam"))[-3:] == ["gradient of a parameter", "update", "value used again"]
    assert "not finite" in legend(picture("not finite"))
    assert "not finite" not in legend(picture("small values"))
    assert legend(draw(neuron(), legend=False)) == []
    assert legend(draw(neuron(), lang="es"))[0] == "entrada"


def test_a_legend_breaks_its_lines_on_a_narrow_sheet() -> None:
    shown = draw(gg.derive(gg.tanh(gg.Graph().parameter("w"))))
    group = shown.scene.groups()["legend"]
    ends = [i.x + i.width for i in group.items if isinstance(i, Glyphs)]
    assert max(ends) <= shown.scene.width
    assert len({i.y for i in group.items if isinstance(i, Glyphs)}) > 1


# -- type -------------------------------------------------------------------------------------------------------------


def test_a_formula_is_measured_and_outlined_and_the_same_each_time() -> None:
    run = formula(r"\frac{a}{b}", "a / b")
    assert run.outline.startswith("M")
    assert run.ascent > 10
    assert run.descent > 5
    assert formula(r"\frac{a}{b}", "a / b") is run
    assert formula("a", "a", 30.0).width == pytest.approx(2 * formula("a", "a", 15.0).width, rel=0.02)


def test_latex_that_cannot_be_set_falls_back_to_its_text() -> None:
    run = formula(r"\nosuchcommand{", "plain")
    assert run.text == "plain"
    assert run.width == label("plain", 15.0).width


def test_type_leaves_the_settings_of_its_library_as_they_were() -> None:
    import ziafont
    import ziamath

    before = ziamath.config.svg2, ziafont.config.svg2
    formula(r"\beta + 17", "beta + 17")
    assert (ziamath.config.svg2, ziafont.config.svg2) == before
    assert issubclass(DrawingWarning, UserWarning)


def test_glyph_groups_are_by_kind() -> None:
    groups = draw(neuron(), values={"x": 2.0, "y": 1.0, "w": 0.0, "b": 0.0}).scene.groups()
    assert isinstance(groups["n0-number"], Group)
    assert "n0-strip" in draw(gg.derive(small().loss), values=small_values()).scene.groups()


def test_spanish_pictures_say_nothing_in_english() -> None:
    shown = [
        draw(gg.derive(small().loss), values=small_values() | {"x": np.full((5, 2), np.inf)}, lang="es"),
        draw(gg.derive(gg.feedforward([4] * 13).loss), lang="es"),
        draw(small().loss, after=small().prediction, lang="es"),
    ]
    text = "\n".join(g.title for p in shown for g in p.scene.groups().values())
    for word in ("parameters", "backward", " from ", "not finite", "kept"):
        assert word not in text
    for word in ("parámetros", "hacia atrás", " de ", "no finito", "se conserva"):
        assert word in text
