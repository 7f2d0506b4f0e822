"""Which engine lays a picture out, and what is drawn where an extra is not installed."""

from __future__ import annotations

import importlib.util
import stat
import sys
import warnings
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

import graphgrad as gg
from graphgrad.errors import GraphgradError
from graphgrad.render import graphviz_layout, layered, layout, typeset
from graphgrad.render.diagram import Box, Diagram, Edge, Lane, overlaps, small_line
from graphgrad.render.typeset import DrawingWarning
from tests.render.gallery import neuron, picture, small


def engine_of(shown: gg.Picture) -> str:
    assert shown.placed is not None
    return shown.placed.engine


def refused(**options: Any) -> str:
    with pytest.raises(GraphgradError) as caught:
        gg.draw(neuron(), **options)
    return str(caught.value)


CACHES = (typeset.available, typeset.formula, typeset.label, layout._told_once)


def clear() -> None:
    for cached in CACHES:
        cached.cache_clear()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without graphgrad[viz], and without programs."""
    real = importlib.util.find_spec

    def missing(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in ("ziamath", "ziafont", "pygraphviz", "resvg_py") else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", missing)
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv(layout.VARIABLE, raising=False)
    clear()
    yield
    clear()


# -- the choice -------------------------------------------------------------------------------------------------------


def test_the_variable_names_the_engine_and_the_argument_overrules_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(layout.VARIABLE, "layered")
    assert engine_of(gg.draw(neuron())) == "layered"
    assert engine_of(gg.draw(neuron(), engine="pygraphviz")) == "pygraphviz"
    monkeypatch.setenv(layout.VARIABLE, "")
    assert engine_of(gg.draw(neuron())) == "pygraphviz"
    monkeypatch.setenv(layout.VARIABLE, "neato")
    told = "layout engine 'neato' does not exist; there are: pygraphviz, dot, graphviz-pure, layered"
    assert refused() == told


def test_an_engine_asked_for_and_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert refused(engine="dot") == "layout engine 'dot' is not installed; at hand: pygraphviz, layered"


@pytest.mark.usefixtures("bare")
@pytest.mark.filterwarnings("ignore::graphgrad.render.typeset.DrawingWarning")
def test_pygraphviz_asked_for_and_missing_says_how_to_get_it() -> None:
    assert refused(engine="pygraphviz") == (
        "layout engine 'pygraphviz' is not installed; at hand: layered; "
        'pip install "graphgrad[viz]" brings pygraphviz'
    )


def test_no_dot_is_hunted_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty PATH gives the same bytes."""
    before = gg.draw(neuron()).svg()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gg.draw(neuron()).svg() == before


# -- a program of the PATH --------------------------------------------------------------------------------------------


def program(folder: Path, text: str) -> None:
    path = folder / "dot"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_program_dot_lays_out_what_it_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Here a program that asks pygraphviz: so what it gives is what pygraphviz gives."""
    monkeypatch.setenv("PATH", str(tmp_path))
    program(
        tmp_path,
        "import sys, pygraphviz\nassert sys.argv[1:] == ['-Tjson']\n"
        "made = pygraphviz.AGraph(string=sys.stdin.read()).draw(format='json', prog='dot')\n"
        "sys.stdout.write(made.decode())\n",
    )
    shown = gg.draw(neuron(), engine="dot")
    assert engine_of(shown) == "dot"
    assert shown.svg() == picture("neuron", "pygraphviz").svg()


def test_a_program_that_fails_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path, "import sys\nsys.exit('no memory\\nand more')")
    assert refused(engine="dot") == "dot could not lay the picture out: no memory"
    program(tmp_path, "import sys\nsys.exit(3)")
    assert refused(engine="dot") == "dot could not lay the picture out: exit status 3"


# -- without the extra ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("bare")
def test_without_the_extra_it_draws_and_warns_once_of_each_kind() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        shown = gg.draw(neuron())
        gg.draw(gg.derive(small().loss))
        text = shown.svg()
    assert sorted(str(w.message) for w in caught) == [
        'Graphviz is not installed, so graphgrad lays pictures out itself: pip install "graphgrad[viz]" brings it',
        'formulas are drawn as plain text: pip install "graphgrad[viz]" brings what sets them',
    ]
    assert {w.category for w in caught} == {DrawingWarning}
    assert engine_of(shown) == "layered"
    assert ">L = e²</text>" in text
    assert ">z' = a' * a * (1 - a)</text>" in text.replace("\u0304", "'")


@pytest.mark.usefixtures("bare")
@pytest.mark.filterwarnings("ignore::graphgrad.render.typeset.DrawingWarning")
def test_without_the_extra_boxes_still_hold_their_texts() -> None:
    shown = gg.draw(gg.derive(small().loss), detail="names")
    assert shown.placed is not None
    assert shown.diagram is not None
    assert overlaps(shown.placed, shown.diagram.boxes) == []
    assert all(line.run.width < b.width for b in shown.diagram.boxes for line in b.lines)


@pytest.mark.usefixtures("bare")
@pytest.mark.filterwarnings("ignore::graphgrad.render.typeset.DrawingWarning")
def test_without_the_extra_a_png_and_a_pdf_say_what_they_need() -> None:
    shown = gg.draw(neuron())
    with pytest.raises(GraphgradError) as caught:
        shown.png()
    assert str(caught.value) == 'png needs resvg-py: pip install "graphgrad[viz]" brings it'
    with pytest.raises(GraphgradError) as caught:
        shown.pdf()
    assert str(caught.value) == (
        'a PDF needs outlines of its text: pip install "graphgrad[viz]" brings what makes them'
    )
    assert r"\bar{z} = \bar{a}" in shown.tikz(), "LaTeX sets formulas itself"
    assert shown.dot().startswith("digraph")


# -- the engines themselves -------------------------------------------------------------------------------------------


def diagram(edges: list[tuple[str, str]], lanes: tuple[Lane, ...] = ()) -> Diagram:
    names = sorted({n for e in edges for n in e})
    boxes = tuple(Box(n, "operation", (small_line(n),), n, lanes[0].name if lanes else "", n) for n in names)
    return Diagram(boxes, tuple(Edge(f"{a}-{b}", a, b) for a, b in edges), lanes)


def test_each_edge_leads_to_a_later_column() -> None:
    placed = layered.place(diagram([("a", "b"), ("b", "c"), ("a", "c"), ("d", "c")]))
    x = {id: centre[0] for id, centre in placed.centres.items()}
    assert x["a"] < x["b"] < x["c"]
    assert x["d"] == x["b"], "a leaf stands beside its first reader"


def test_a_circle_of_edges_is_laid_out_too() -> None:
    placed = layered.place(diagram([("a", "b"), ("b", "a")]))
    assert placed.centres["a"][0] < placed.centres["b"][0]


def test_two_lanes_that_could_cross_do_not() -> None:
    """a1 to b1 and a2 to b2, given in the order that crosses."""
    placed = layered.place(diagram([("a1", "b2"), ("a2", "b1"), ("b1", "c"), ("b2", "c")]))
    y = {id: centre[1] for id, centre in placed.centres.items()}
    assert (y["a1"] < y["a2"]) == (y["b2"] < y["b1"])


def test_nothing_at_all_has_a_layout() -> None:
    placed = layered.place(Diagram((), ()))
    assert (placed.centres, placed.curves) == ({}, {})


def test_dot_gets_boxes_of_their_measured_sizes() -> None:
    shown = diagram([("a", "b")], (Lane("forward", "the way"),))
    text = graphviz_layout.digraph(shown).source
    assert f"width={shown.boxes[0].width / 72:.4f}" in text.replace('"', "")
    assert "the way" not in text
    assert "the way" in graphviz_layout.digraph(shown, labels=True).source


def test_a_layout_upside_down_is_turned_over() -> None:
    placed = layout.Placed(10, 100, {"a": (1, 20)}, {"e": ((1, 20), (2, 30))}, {"first": (0, 50, 9, 10)}, "")
    over = graphviz_layout._turned_over(placed)
    assert over.centres == {"a": (1, 80)}
    assert over.curves == {"e": ((1, 80), (2, 70))}
    assert over.lanes == {"first": (0, 40, 9, 10)}


@pytest.mark.parametrize("engine", ["pygraphviz", "layered"])
@pytest.mark.parametrize("widths", [[2, 1], [2, 3, 1]])
@pytest.mark.parametrize("unfold", [False, True])
def test_the_update_stands_below_the_backward_pass(widths: list[int], unfold: bool, engine: str) -> None:
    """Graphviz knows no order among three lanes: where it gets them wrong, our own layout takes its place."""
    shown = gg.draw(gg.feedforward(widths), optimizer=gg.Momentum(), unfold=unfold, engine=engine)
    assert shown.placed is not None
    tops = [shown.placed.lanes[name][1] for name in ("forward", "backward", "update")]
    assert tops == sorted(tops)
