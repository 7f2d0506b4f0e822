"""The other pictures: neurons, memory, rewrites, a whole training step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.codegen.program import Program
from graphgrad.errors import GraphgradError
from graphgrad.render.memory_chart import bytes_text, live_bytes
from graphgrad.render.picture import Picture
from graphgrad.render.scene import Circle, Curve, Glyphs, Group, Rect
from tests.render.gallery import digits, picture, small, small_values


def texts(group: Group) -> list[str]:
    return [i.text for i in group.items if isinstance(i, Glyphs)]


def latex(shown: Picture, lane: str) -> list[str]:
    assert shown.diagram is not None
    return [line.run.tex for b in shown.diagram.boxes if b.lane == lane for line in b.lines if line.run.tex]


# -- neurons ----------------------------------------------------------------------------------------------------------


def test_a_network_neuron_by_neuron() -> None:
    groups = gg.draw(small(), level="neuron").scene.groups()
    assert [id for id, g in groups.items() if g.kind.startswith("neuron")] == [
        "x0-1", "x0-2", "x1-1", "x1-2", "x1-3", "x2-1",
    ]  # fmt: skip
    assert sum(g.kind == "edge data" for g in groups.values()) == 2 * 3 + 3
    assert groups["loss"].title == "loss = mean_squared_error(z2, y)"


def test_values_are_those_of_the_first_sample_and_its_weights() -> None:
    values = small_values()
    shown = gg.draw(small(), level="neuron", values=values).scene.groups()
    z = values["W1"] @ values["x"][0] + values["b1"]
    hidden = np.tanh(z)
    for j in range(3):
        value, gradient = texts(shown[f"x1-{j + 1}"])[1:]
        assert float(value.replace("−", "-")) == pytest.approx(hidden[j], rel=6e-3)
        assert gradient != value
    edge = shown["w1-2-1"]
    assert float(edge.title) == values["W1"][1, 0]


def test_the_width_of_an_edge_grows_with_its_weight() -> None:
    values = small_values()
    shown = gg.draw(small(), level="neuron", values=values).scene.groups()
    found = {}
    for j in range(3):
        for i in range(2):
            line = shown[f"w1-{j + 1}-{i + 1}"].items[0]
            assert isinstance(line, Curve)
            found[abs(float(values["W1"][j, i]))] = line.paint.width
    assert [found[k] for k in sorted(found)] == sorted(found.values())


def test_of_many_neurons_the_first_three_and_the_last_are_drawn() -> None:
    scene = gg.draw(gg.feedforward([13, 12, 1], "tanh"), level="neuron").scene
    ids = [id for id, g in scene.groups().items() if g.kind.startswith("neuron")]
    assert [i for i in ids if i.startswith("x0")] == ["x0-1", "x0-2", "x0-3", "x0-13"]
    assert len([i for i in ids if i.startswith("x1")]) == 12
    assert sum(isinstance(i, Circle) and i.r < 3 for i in scene.items) == 3


def test_the_legend_of_neurons_speaks_both_languages() -> None:
    def told(**options: object) -> str:
        return " ".join(
            i.text for i in gg.draw(small(), level="neuron", **options).scene.items if isinstance(i, Glyphs)
        )

    assert told() == "A circle is a neuron, an edge a weight."
    assert told(lang="es") == "Un círculo es una neurona, una arista un peso."
    assert told(legend=False) == ""
    assert "Of the first sample: first a value, then in orange the derivative of the loss by it." in told(
        values=small_values()
    )


# -- memory -----------------------------------------------------------------------------------------------------------


def program() -> Program:
    loss = digits().loss
    return gg.compile([loss, *gg.derive(loss).values()]).program


def test_a_row_for_each_storage_and_the_peak_marked() -> None:
    made = program()
    scene = gg.draw(made, sizes={"N": 64}).scene
    groups = scene.groups()
    rows = [g for g in groups.values() if g.kind == "storage"]
    assert len(rows) == len(made.storages)
    peak = max(live_bytes(made, {"N": 64}))
    assert groups["peak"].title == f"peak {bytes_text(peak)}"
    assert scene.title.endswith(f" statements, {len(rows)} storages")


def test_bars_of_storages_that_are_alive_at_once_stand_in_rows_of_their_own() -> None:
    bars = [
        next(i for i in g.items if isinstance(i, Rect))
        for g in gg.draw(program()).scene.groups().values()
        if g.kind == "storage"
    ]
    assert len({b.y for b in bars}) == len(bars)
    assert [b.y for b in bars] == sorted(b.y for b in bars)
    assert all(b.w > 0 for b in bars)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"M": 3}, "sizes: 'M' is no size of this program; there are: N"),
        ({"N": "a"}, "sizes: N is an integer from 0, but 'a' was given"),
    ],
)
def test_sizes_that_do_not_fit_are_told(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphgradError) as caught:
        gg.draw(gg.compile([small().loss]), sizes=sizes)
    assert str(caught.value) == message


def test_what_is_hidden_may_be_one_name_and_values_are_by_name() -> None:
    shown = gg.draw(gg.derive(small().loss), hide="y", engine="layered")
    assert shown.diagram is not None
    assert "y" not in {b.name for b in shown.diagram.boxes}
    with pytest.raises(GraphgradError) as caught:
        gg.draw(gg.derive(small().loss), values=[1.0])  # type: ignore[arg-type]
    assert str(caught.value) == "values are the leaves' arrays by name, but list was given"


def test_only_one_parameter_shows_no_other_gradient() -> None:
    shown = gg.draw(gg.derive(small().loss), only="W1", engine="layered")
    assert shown.diagram is not None
    gradients = [b.name for b in shown.diagram.boxes if b.kind == "gradient"]
    assert gradients == ["W\u03041"]
    assert "W2" in {b.name for b in shown.diagram.boxes}, "a step reads it, transposed"


def test_a_value_that_is_used_again_comes_from_its_own_box() -> None:
    """Not from the box of an earlier derivation in which its transpose stands."""
    g = gg.Graph()
    x, y, W = g.input("x", ("N", 2)), g.input("y", ("N", 1)), g.parameter("W", (1, 2))
    first = gg.derive(gg.mean(((x @ W.T).named("p") - y) ** 2).named("L"))
    shown = gg.draw(gg.derive(gg.sum(first[W] ** 2).named("P"), W), engine="layered")
    assert shown.diagram is not None
    names = {b.id: b.name for b in shown.diagram.boxes}
    read = [names[e.source] for e in shown.diagram.edges if e.kind == "saved" and names[e.target] == "W\u0304"]
    assert read == ["x"]


def test_numbers_of_neurons_stand_apart_on_their_own_edges() -> None:
    scene = gg.draw(small(), level="neuron", values=small_values()).scene
    papers = [i for i in scene.items if isinstance(i, Rect) and i.paint.fill == "paper"]
    assert len(papers) == 9, "each of the edges has its numbers"
    for k, a in enumerate(papers):
        for b in papers[:k]:
            assert a.x + a.w <= b.x or b.x + b.w <= a.x or a.y + a.h <= b.y or b.y + b.h <= a.y


def test_a_function_is_drawn_as_its_program_and_sizes_change_it() -> None:
    loss = digits().loss
    function = gg.compile([loss])
    assert gg.draw(function).svg() == gg.draw(function.program).svg()
    assert gg.draw(function, sizes={"N": 7}).svg() != gg.draw(function).svg()
    assert "instrucciones" in gg.draw(function, lang="es").scene.title


@pytest.mark.parametrize(("n", "text"), [(8, "8 B"), (1536, "1.5 KiB"), (5 << 20, "5 MiB"), (1023, "1023 B")])
def test_bytes_in_words(n: int, text: str) -> None:
    assert bytes_text(n) == text


# -- rewrites ---------------------------------------------------------------------------------------------------------


def test_a_rewrite_shows_what_was_kept_added_and_removed() -> None:
    g = gg.Graph()
    x = g.input("x")
    before, after = gg.log(gg.exp(x) + 1.0).named("y"), gg.softplus(x)
    shown = gg.draw(before, after, engine="layered")
    assert shown.diagram is not None
    assert [(b.kind, b.title.split(": ")[2].split()[0]) for b in shown.diagram.boxes] == [
        ("kept", "input"), ("removed", "exp"), ("removed", "add"), ("removed", "log"), ("added", "softplus"),
    ]  # fmt: skip
    legend = shown.scene.groups()["legend"]
    assert texts(legend) == ["kept", "added", "removed"]


def test_two_graphs_are_compared_by_what_nothing_reads() -> None:
    one, other = gg.Graph(), gg.Graph()
    for g in (one, other):
        gg.tanh(g.input("x")).named("y")
    shown = gg.draw(one, other, engine="layered")
    assert shown.diagram is not None
    assert {b.kind for b in shown.diagram.boxes} == {"kept"}


# -- a training step --------------------------------------------------------------------------------------------------


def test_the_whole_step_of_adam_in_its_own_formulas() -> None:
    assert latex(picture("adam"), "update") == [
        r"g = \left(\bar{W}_{1}, \bar{b}_{1}, \bar{W}_{2}, \bar{b}_{2}\right)",
        r"m_{k+1} = 0.9 \, m_{k} + 0.1 \, g",
        r"v_{k+1} = 0.999 \, v_{k} + 0.001 \, g^2",
        r"\theta_{k+1} = \theta_{k} - \frac{0.001 \, \frac{m_{k+1}}{1 - 0.9^{k + 1}}}"
        r"{\sqrt{\frac{v_{k+1}}{1 - 0.999^{k + 1}}} + 10^{-8}}",
    ]


def test_unfolded_every_value_reads_names_that_have_a_box() -> None:
    found = latex(picture("adam unfolded"), "update")
    called = {f.partition(" = ")[0] for f in found}
    assert {r"\theta_{k}", r"\theta_{k+1}", "m_{k}", "m_{k+1}", "v_{k}", "v_{k+1}", "k", "g"} <= called
    for f in found:
        for name in ("m_{k}", "v_{k}", "m_{k+1}", "v_{k+1}", *[n for n in called if n.startswith("v_{")]):
            if name in f:
                assert name in called
    assert any(f.startswith(r"v_{") and r"\frac{m_{k+1}}{" in f for f in found)


def test_every_gradient_leads_into_the_update() -> None:
    for name in ("adam", "adam unfolded"):
        shown = picture(name)
        assert shown.diagram is not None
        lane = {b.id: b.lane for b in shown.diagram.boxes}
        gradients = {b.id for b in shown.diagram.boxes if b.kind == "gradient" and b.lane == "backward"}
        into = {e.source for e in shown.diagram.edges if lane[e.target] == "update" and lane[e.source] == "backward"}
        assert into == gradients
        assert len(gradients) == 4


def test_gradient_descent_is_one_line() -> None:
    assert latex(gg.draw(small(), optimizer=gg.SGD(), engine="layered"), "update")[-1].startswith(
        r"\theta_{k+1} = \theta_{k} - "
    )


def test_the_parts_of_theta_are_drawn_as_the_parameters_that_they_are() -> None:
    shown = picture("adam")
    assert shown.diagram is not None
    assert [b.lines[0].run.text for b in shown.diagram.boxes if b.kind == "parameter"] == ["W1", "b1", "W2", "b2"]


def test_an_optimizer_is_of_a_network() -> None:
    with pytest.raises(GraphgradError, match="are of a Network"):
        gg.draw(small().loss, optimizer=gg.Adam())
