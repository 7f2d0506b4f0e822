"""What has a box: folding, levels, what is kept and what is left out, and errors read whole."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import graphgrad as gg
from graphgrad.errors import GraphgradError
from graphgrad.render.draw import MOST_BOXES
from graphgrad.render.folding import MOST_INSIDE, folded_scope, in_scope, scopes_at, view
from graphgrad.render.picture import Picture
from graphgrad.render.typeset import DrawingWarning
from tests.render.gallery import deep, digits, neuron, picture, small


def texts(shown: Picture, lane: str = "forward") -> list[list[str]]:
    assert shown.diagram is not None
    return [[line.run.text for line in b.lines] for b in shown.diagram.boxes if b.lane in (lane, "")]


def draw(thing: Any, **options: Any) -> Picture:
    return gg.draw(thing, engine="layered", **options)


def heads(shown: Picture) -> list[str]:
    """The left side of each forward box's first line."""
    return [lines[0].partition(" = ")[0] for lines in texts(shown)]


# -- levels -----------------------------------------------------------------------------------------------------------


def test_operations_have_a_box_each_but_numbers_sizes_and_bare_transposes() -> None:
    g = gg.Graph()
    x, W = g.input("x", ("N", 2)), g.parameter("W", (1, 2))
    shown = draw((gg.mean(2.0 * (x @ W.T))).named("L"), detail="operations")
    assert texts(shown) == [
        ["x", "(N, 2)"],
        ["W", "(1, 2)"],
        ["v3 = x @ Wᵀ", "matmul  (N, 1)"],
        ["v5 = 2 * v3", "multiply  (N, 1)"],
        ["L = mean(v5, (0, 1))", "mean  ()"],
    ]


def test_at_names_what_has_no_name_stands_inside_its_reader() -> None:
    g = gg.Graph()
    x, W = g.input("x", ("N", 2)), g.parameter("W", (1, 2))
    shown = draw((gg.mean(2.0 * (x @ W.T))).named("L"), detail="names")
    assert texts(shown) == [
        ["x", "(N, 2)"],
        ["W", "(1, 2)"],
        ["L = mean(2 * (x @ Wᵀ), (0, 1))", "mean · multiply · matmul  ()"],
    ]


def test_what_two_read_has_a_box_though_it_has_no_name() -> None:
    g = gg.Graph()
    x = g.input("x")
    a = gg.exp(x)
    shown = draw((a * gg.tanh(a)).named("y"), detail="names")
    assert heads(shown) == ["x", "v1", "y"]


def test_a_box_holds_no_longer_formula_than_can_be_read() -> None:
    g = gg.Graph()
    t = g.input("x")
    for _ in range(3 * MOST_INSIDE):
        t = gg.tanh(t)
    shown = draw(t.named("y"), detail="names")
    assert [line[1].count("tanh") for line in texts(shown)[1:]] == [1, 1, 1]
    assert [line[0].count("tanh") for line in texts(shown)[1:]] == [MOST_INSIDE] * 3


def test_layers_are_a_box_for_each_scope_with_its_totals() -> None:
    assert texts(picture("network")) == [
        ["x", "(N, 2)"],
        ["y", "(N, 1)"],
        ["z1 = x @ W1ᵀ + b1", "x1 = tanh(z1)", "layer1  (N, 2) → (N, 3)", "9 parameters"],
        ["z2 = x1 @ W2ᵀ + b2", "layer2  (N, 3) → (N, 1)", "4 parameters"],
        ["loss = mean_squared_error(z2, y)", "mean squared error  ()"],
    ]


def test_auto_is_the_finest_level_that_a_slide_holds() -> None:
    shown = picture("small")
    assert shown.svg() == picture("small operations").svg()
    assert picture("digits").svg() == draw(gg.derive(digits().loss), detail="names").svg()
    assert picture("deep").svg() == draw(gg.derive(deep().loss), detail="layers").svg()
    assert picture("network").svg() == draw(small(), detail="layers").svg()


# -- folding ----------------------------------------------------------------------------------------------------------


def test_repeated_blocks_become_one_with_their_number_and_totals() -> None:
    (x, y, repeated, last, _) = texts(picture("deep"))
    assert (x[0], y[0]) == ("x", "y")
    assert repeated[-2:] == ["layer1 … layer11  × 11  (N, 16) → (N, 16)", f"{11 * (16 * 16 + 16):,} parameters"]
    assert last[-2:] == ["layer12  (N, 16) → (N, 16)", "272 parameters"]
    back = texts(picture("deep"), "backward")
    assert back[-1][-1] == "8 – 72  layer1 … layer11  × 11"


def test_the_legend_says_how_many_scopes_are_folded() -> None:
    for name, told in (("deep", "12 scopes folded"), ("network", "2 scopes folded"), ("neuron", "")):
        shown = picture(name)
        assert shown.diagram is not None
        assert shown.diagram.note == told
    spanish = draw(small(), lang="es")
    assert spanish.diagram is not None
    assert spanish.diagram.note == "2 bloques plegados"


def test_blocks_of_different_shapes_are_not_repetitions() -> None:
    shown = draw(gg.feedforward([4, 8, 8, 8, 2], "relu"), detail="layers")
    assert [lines[-2].split("  ")[0] for lines in texts(shown)[2:-1]] == ["layer1", "layer2 … layer3", "layer4"]


def test_fold_false_folds_nothing_however_large() -> None:
    shown = draw(gg.derive(deep().loss), fold=False)
    assert shown.diagram is not None
    assert shown.diagram.note == ""
    assert len(shown.diagram.boxes) > MOST_BOXES


def test_fold_by_name_folds_that_scope() -> None:
    shown = draw(gg.derive(small().loss), fold="layer1")
    assert heads(shown) == ["x", "y", "z1", "W2", "b2", "z2", "loss"]
    assert draw(gg.derive(small().loss), fold=["layer1", "layer2"]).svg() == picture("small layers").svg()


def nested() -> gg.Tensor:
    g = gg.Graph()
    t = g.input("x", (2,))
    with g.scope("encoder"):
        for name in ("first", "second"):
            with g.scope(name):
                t = gg.tanh(t * g.parameter(f"w_{name}", (2,))).named(f"h_{name}")
    return gg.sum(t).named("L")


def test_depth_keeps_levels_open() -> None:
    loss = nested()
    assert [lines[-2] for lines in texts(draw(loss, depth=0)) if len(lines) > 2] == ["encoder  (2,) → (2,)"]
    assert [lines[-2].split("  ")[0] for lines in texts(draw(loss, depth=1)) if len(lines) > 2] == [
        "encoder/first",
        "encoder/second",
    ]
    assert heads(draw(loss, depth=2)) == ["x", "w_first", "h_first", "w_second", "h_second", "L"]


def test_only_keeps_the_path_of_one_parameter_and_what_it_reads() -> None:
    shown = draw(gg.derive(small().loss), only="W2", detail="names")
    assert heads(shown) == ["y", "x1", "W2", "b2", "z2", "loss"]
    by_tensor = draw(gg.derive(small().loss), only=small().graph["W2"], detail="names")
    assert by_tensor.svg() == shown.svg()


def test_hide_leaves_boxes_and_their_edges_out() -> None:
    shown = draw(neuron(), hide=["y", neuron().graph["b"]])
    assert heads(shown) == ["x", "w", "u", "z", "a", "e", "L"]
    assert shown.diagram is not None
    ids = {b.id for b in shown.diagram.boxes}
    assert {i for e in shown.diagram.edges for i in (e.source, e.target)} <= ids


def long_chain() -> gg.Tensor:
    g = gg.Graph()
    t = g.input("x")
    for k in range(MOST_BOXES + 5):
        t = gg.tanh(t).named(f"h{k}")
    return t


def test_a_picture_that_is_too_large_names_the_knobs() -> None:
    with pytest.warns(DrawingWarning) as caught:
        draw(long_chain())
    assert str(caught[0].message) == (
        f"the picture has {MOST_BOXES + 6} boxes, more than a slide holds: depth=, fold=, only= and hide= make it "
        "smaller, and scopes (with g.scope(name):) let it fold"
    )
    assert caught[0].filename == __file__, "the warning is of the line that draws"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(long_chain(), fold=False)


# -- mistakes ---------------------------------------------------------------------------------------------------------

MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"detail": "all"}, "detail 'all' does not exist; there are: auto, operations, names, layers"),
    ({"depth": -1}, "depth is the number of scope levels that stay open, but -1 was given"),
    ({"depth": True}, "depth is the number of scope levels that stay open, but True was given"),
    ({"depth": 1.0}, "depth is the number of scope levels that stay open, but 1.0 was given"),
    ({"fold": "layer9"}, "fold='layer9' names no scope; there are: layer1, layer2"),
    ({"only": "W9"}, "only='W9' is neither a tensor nor a name of the graph; there are: x, y, W1, b1, z1, x1, W2, b2, "
                     "z2, x2, prediction, loss"),
    ({"hide": ["q"]}, "hide='q' is neither a tensor nor a name of the graph; there are: x, y, W1, b1, z1, x1, W2, b2, "
                      "z2, x2, prediction, loss"),
    ({"only": "loss"}, "only=loss: what is drawn does not depend on it"),
    ({"notation": "prime"}, "notation 'prime' does not exist; there are: bar, partial, delta"),
    ({"lang": "de"}, "lang 'de' does not exist; there are: en, es"),
    ({"theme": "sepia"}, "theme 'sepia' does not exist; there are: light, dark"),
    ({"engine": "neato"}, "layout engine 'neato' does not exist; there are: pygraphviz, dot, graphviz-pure, layered"),
    ({"level": "layer"}, "level 'layer' does not exist; level=\"neuron\" draws a network neuron by neuron"),
    ({"level": "neuron"}, "level= and optimizer= are of a Network, such as gg.feedforward makes"),
    ({"optimizer": gg.SGD()}, "level= and optimizer= are of a Network, such as gg.feedforward makes"),
    ({"color": 3}, 'color is "time" or "memory" with a profile, or a mapping from tensors to numbers'),
]  # fmt: skip


@pytest.mark.parametrize(("options", "told"), MISTAKES, ids=[str(o) for o, _ in MISTAKES])
def test_a_mistake_is_told_in_words(options: dict[str, Any], told: str) -> None:
    net = gg.feedforward([2, 3, 1], "tanh")
    with pytest.raises(GraphgradError) as caught:
        gg.draw(gg.derive(net.loss), **{"engine": "layered", **options})
    assert str(caught.value).startswith(told)


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(GraphgradError) as caught:
        gg.draw(3)
    assert str(caught.value) == (
        "draw takes a Network, Graph, Derivation, compiled Function, Program, or tensors of one graph, "
        "but int was given"
    )
    with pytest.raises(GraphgradError) as caught:
        gg.draw(gg.Graph())
    assert str(caught.value) == "draw was given a graph without nodes; there is nothing to see in it"
    with pytest.raises(GraphgradError) as caught:
        gg.draw(small().loss, 3)
    assert str(caught.value) == "draw(before, after) compares graphs or tensors, but int was given"
    one, other = gg.Graph().input("x"), gg.Graph().input("x")
    with pytest.raises(GraphgradError) as caught:
        gg.draw([one, other])
    assert str(caught.value) == "draw takes tensors of one graph, but those that were given are of several"
    with pytest.raises(GraphgradError) as caught:
        gg.draw(gg.Network(loss=neuron().scalar, inputs=[neuron().graph["x"], neuron().graph["y"]]), level="neuron")
    assert str(caught.value) == (
        'level="neuron" is for networks that gg.feedforward makes; draw(gg.scalarize(graph)) shows any graph so'
    )


def test_what_is_missing_among_values_is_told() -> None:
    with pytest.raises(GraphgradError, match="w"):
        gg.draw(neuron(), values={"x": 1.0}, engine="layered")


# -- the parts --------------------------------------------------------------------------------------------------------


def test_scopes_by_their_depth() -> None:
    graph = nested().graph
    ids = range(len(graph.nodes))
    assert scopes_at(graph, ids, 0) == ["encoder"]
    assert scopes_at(graph, ids, 1) == ["encoder/first", "encoder/second"]
    h = graph["h_second"].id
    assert folded_scope(graph, h, ["encoder/second", "encoder"]) == "encoder"
    assert folded_scope(graph, h, ["encoder/first"]) is None
    assert in_scope(graph, h, "encoder")
    assert not in_scope(graph, h, "enc")


def test_a_view_tells_where_each_node_stands() -> None:
    loss = nested()
    graph = loss.graph
    made = view(graph, range(len(graph.nodes)), [loss.id], "names", scopes=["encoder/first"])
    assert made.groups == {"encoder/first": 1}
    assert made.host[graph["h_first"].id] == "encoder/first"
    assert made.host[loss.id] == loss.id
    assert made.shown == {i for i in made.ids if made.host[i] == i}
    assert sorted(i for ids in made.members.values() for i in ids) == sorted(made.ids)
