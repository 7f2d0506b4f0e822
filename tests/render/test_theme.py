"""Colours: what is read has contrast, what is told apart has a second cue."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.errors import GraphgradError
from graphgrad.render.scene import Circle, Curve, Glyphs, Group, Polygon, Rect
from graphgrad.render.theme import SHAPES, THEMES, Theme, contrast, mixed, theme
from tests.render.gallery import PICTURES, digits, neuron, picture, small, small_values

both = pytest.mark.parametrize("look", THEMES.values(), ids=list(THEMES))

#: The kinds as they are agreed on, with the colours of Okabe and Ito.
AGREED = {
    "input": ("#E8F1FA", "#0072B2", "#56B4E9"),
    "parameter": ("#FDF1DC", "#B57500", "#E69F00"),
    "operation": ("#F5F5F5", "#444444", "#B5B5B5"),
    "loss": ("#F3E6F0", "#A0437A", "#CC79A7"),
    "adjoint": ("#FCEBE2", "#D55E00", "#FF8A3D"),
    "gradient": ("#F8D3BF", "#D55E00", "#FF8A3D"),
    "state": ("#EEEEEE", "#666666", "#A3A3A3"),
}

#: A pair that is agreed on though it has less: the dashes and the line of 2.0 carry the gradient's border.
LESS = {("light", "gradient.stroke", "gradient.fill"): 2.7}


@cache
def texts_on_fills() -> set[tuple[str, str]]:
    """(role of a text, role of what it stands on), as the pictures have them."""
    found = set()
    shown = [picture(name) for name in PICTURES]
    shown.append(gg.draw(small(), level="neuron", values=small_values()))
    shown.append(gg.draw(small(), level="neuron"))
    shown.append(gg.draw(gg.compile([small().loss])))
    shown.append(gg.draw(neuron(), color={neuron().scalar: 2.0, neuron().scalar.graph["z"]: 1.0}))
    for p in (*shown, neuron_frame()):
        stack = [(item, "paper") for item in p.scene.items]
        while stack:
            item, under = stack.pop()
            if isinstance(item, Group):
                fills = [i.paint.fill for i in item.items if isinstance(i, (Rect, Circle)) and i.paint.fill]
                stack += [
                    (i, fills[0] if fills and item.kind not in ("strip", "legend") else under) for i in item.items
                ]
            elif isinstance(item, Glyphs):
                found.add((item.paint.fill, under))
    return found


def neuron_frame() -> gg.Picture:
    return picture("neuron").frames()[3]


@both
def test_every_text_can_be_read_on_what_it_stands_on(look: Theme) -> None:
    assert {
        ("ink", "operation.fill"),
        ("grey", "paper"),
        ("gradient.text", "gradient.fill"),
        ("ink", "cost:1.00"),
    } <= texts_on_fills()
    for role, fill in sorted(texts_on_fills()):
        assert contrast(look(role), look(fill)) >= 4.5, (role, fill)


@both
@pytest.mark.parametrize("kind", SHAPES)
def test_the_border_of_a_box_is_seen(kind: str, look: Theme) -> None:
    stroke = look(f"{kind}.stroke")
    assert contrast(stroke, look("paper")) >= 3
    assert contrast(stroke, look(f"{kind}.fill")) >= LESS.get((look.name, f"{kind}.stroke", f"{kind}.fill"), 3)


@both
def test_lines_frames_and_cells_are_seen_on_the_paper(look: Theme) -> None:
    for role in ("line", "saved", "backward", "frame", "ring", "cell", "positive", "negative", "loss.stroke"):
        assert contrast(look(role), look("paper")) >= 3, role
    for role in ("positive", "negative", "cell"):
        assert contrast(look(role), look("zero")) >= 3, role
    for kind in SHAPES:
        assert contrast(look("cell"), look(f"{kind}.fill")) >= 3, kind


@pytest.mark.parametrize("kind", AGREED)
def test_the_kinds_have_the_colours_agreed_on(kind: str) -> None:
    fill, stroke, dark = AGREED[kind]
    light = THEMES["light"]
    assert (light(f"{kind}.fill"), light(f"{kind}.stroke"), THEMES["dark"](f"{kind}.stroke")) == (fill, stroke, dark)


def test_small_text_in_orange_is_darker_than_its_lines() -> None:
    """#D55E00 has only 3.87:1 on white."""
    light = THEMES["light"]
    assert light("orange") == "#A84300"
    assert contrast(light("orange"), light("paper")) > 4.5 > contrast(light("backward"), light("paper"))


def test_every_kind_differs_from_every_other_by_more_than_its_colour() -> None:
    """But for what never meets: a picture of a rewrite has the kinds kept, added and removed, and no others."""
    rewrite = {"kept", "added", "removed"}
    for kinds in (rewrite, set(SHAPES) - rewrite):
        for a, b in combinations(sorted(kinds), 2):
            assert SHAPES[a] != SHAPES[b], (a, b)


def test_every_kind_of_edge_that_meets_others_has_dashes_or_a_direction_of_its_own() -> None:
    """Data runs to the right in the upper lane, adjoints to the left in the lower one, updates into the third."""
    from graphgrad.render.compose import EDGES

    assert [kind for kind, (_, _, dash) in EDGES.items() if dash] == ["saved"]
    shown = picture("neuron")
    assert shown.diagram is not None
    lane = {b.id: b.lane for b in shown.diagram.boxes}
    ways = {e.kind: (lane[e.source], lane[e.target]) for e in shown.diagram.edges}
    assert ways == {"data": ("forward", "forward"), "adjoint": ("backward",) * 2, "saved": ("forward", "backward")}


@both
def test_nothing_is_red_against_green(look: Theme) -> None:
    """Blue against orange instead; the one green, of updates, has no red beside it."""

    def is_green(colour: str) -> bool:
        r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return g > 1.2 * max(r, b)

    def is_red(colour: str) -> bool:
        r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return r > 3 * max(g, b)

    assert not [role for role, colour in look.colours.items() if is_red(colour)]
    assert {role for role, colour in look.colours.items() if is_green(colour)} <= {"update.stroke", "update.fill"}


def test_positive_and_negative_differ_by_lightness_of_blue_and_orange_and_by_dashes() -> None:
    edges = [
        i.paint
        for g in gg.draw(small(), level="neuron", values=small_values()).scene.groups().values()
        if g.kind == "edge data"
        for i in g.items
        if isinstance(i, Curve)
    ]
    assert {(p.stroke, bool(p.dash)) for p in edges} == {("positive", False), ("negative", True)}


@both
def test_a_role_of_a_scale_is_between_its_ends(look: Theme) -> None:
    assert look("heat:0") == look("zero")
    assert look("heat:1.00") == look("positive")
    assert look("heat:-1.00") == look("negative")
    assert look("cost:0.50") == mixed(look("cost.low"), look("cost.high"), 0.5)


def test_both_themes_have_the_same_roles_and_pictures_ask_for_no_others() -> None:
    light, dark = (t.colours for t in THEMES.values())
    assert light.keys() == dark.keys()
    for name in PICTURES:
        for item in picture(name).scene.walk():
            if isinstance(item, (Rect, Circle, Curve, Polygon, Glyphs)):
                for role in filter(None, (item.paint.fill, item.paint.stroke)):
                    assert role.partition(":")[0] in {*light, "heat", "cost"}, role


def test_contrast_is_that_of_the_web_guidelines() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#FFFFFF", "#777777") == pytest.approx(4.48, abs=0.005)
    assert contrast("#D55E00", "#FFFFFF") == pytest.approx(3.87, abs=0.005)


def test_what_is_no_theme_and_no_colour() -> None:
    with pytest.raises(GraphgradError) as caught:
        theme("sepia")
    assert str(caught.value) == "theme 'sepia' does not exist; there are: light, dark"
    with pytest.raises(GraphgradError) as caught:
        contrast("red", "#FFFFFF")
    assert str(caught.value) == "'red' is no colour such as #0072B2"


def test_a_tinted_picture_tells_its_scale() -> None:
    loss = digits().loss
    graph = loss.graph
    shown = gg.draw(gg.derive(loss), color={graph["z1"]: 4.0, graph["z2"]: 2.0}, engine="layered")
    assert shown.diagram is not None
    assert shown.diagram.scale == "color: 0 … 4"
    tints = {b.lines[0].run.text[:2]: b.tint for b in shown.diagram.boxes if b.tint is not None}
    assert tints == {"z1": 1.0, "z2": 0.5}
    assert {"cost:1.00", "cost:0.50"} <= {i.paint.fill for i in shown.scene.walk() if isinstance(i, Rect)}
    told = {b.lines[0].run.text[:2]: b.lines[-1].run.text for b in shown.diagram.boxes if b.tint is not None}
    assert told == {"z1": "4", "z2": "2"}
    bar = [i.paint.fill for i in shown.scene.groups()["legend"].items if isinstance(i, Rect) and "cost" in i.paint.fill]
    assert bar == [f"cost:{k / 8:.2f}" for k in range(9)]


def test_a_profile_colours_boxes_by_time_and_by_memory() -> None:
    net = gg.feedforward([4, 5, 3], "tanh", "cross_entropy")
    d = gg.derive(net.loss)
    f = gg.compile([net.loss, *d.values()])
    profile = f.profile(x=np.ones((8, 4)), y=np.zeros(8, np.int64), **net.initialize(0))
    times, memory = (gg.draw(d, color=c, profile=profile, engine="layered").diagram for c in ("time", "memory"))
    assert times is not None
    assert memory is not None
    assert times.scale.startswith("time: 0 … ")
    assert times.scale.endswith(" µs")
    assert memory.scale == "memory: 0 … 0.9375 KiB"
    assert max(b.tint for b in memory.boxes if b.tint is not None) == 1.0
    own = gg.draw(f, color="memory", profile=profile, engine="layered").diagram
    assert own is not None
    dots = [b for b in own.boxes if "matmul" in b.title]
    assert len(dots) == 2  # the other three stand inside boxes of a name
    assert all(b.tint for b in dots)  # views cost nothing, statements do
    with pytest.raises(GraphgradError, match=r"color='time' wants profile=f\.profile\(\.\.\.\), whose numbers"):
        gg.draw(d, color="time")
    with pytest.raises(GraphgradError, match='color is "time" or "memory" with a profile, or a mapping'):
        gg.draw(d, color="hot")


def test_numbers_of_another_graph_are_refused() -> None:
    net = gg.feedforward([4, 5, 3], "tanh", "cross_entropy")
    d, other = gg.derive(net.loss), gg.feedforward([4, 5, 3], "tanh", "cross_entropy").loss
    given = {"x": np.ones((8, 4)), "y": np.zeros(8, np.int64), **net.initialize(0)}
    f, g = gg.compile([net.loss, *d.values()]), gg.compile([net.loss])
    profile = f.profile(**given)
    with pytest.raises(GraphgradError, match="the profile is of another graph than the one that is drawn"):
        gg.draw(gg.derive(other), color=profile)
    with pytest.raises(GraphgradError, match="the profile is of another graph"):
        gg.draw(g, color=profile)  # of the same graph, but another program
    with pytest.raises(GraphgradError, match="color has a number for loss, which is of another graph than what is dr"):
        gg.draw(d, color={other: 1.0})
    with pytest.raises(GraphgradError, match="lines of loss were asked for, which is of another graph"):
        f.lines[other]
    trainer = gg.Trainer(net, gg.SGD())
    own = trainer.profile(given["x"], given["y"])
    with pytest.raises(GraphgradError, match=r"run\.profile\(\) with run\.trainer\.graph\.derivation"):
        gg.draw(d, color=own)
    assert gg.draw(trainer.graph.derivation, color=own, engine="layered").diagram is not None


def test_a_profile_alone_means_its_times() -> None:
    net = gg.feedforward([4, 5, 3], "tanh", "cross_entropy")
    f = gg.compile([net.loss])
    profile = f.profile(x=np.ones((8, 4)), y=np.zeros(8, np.int64), **net.initialize(0))
    short, long = (gg.draw(f, **how, engine="layered").diagram for how in ({"color": profile}, {"profile": profile}))
    assert short is not None
    assert long is not None
    assert [b.tint for b in short.boxes] == [b.tint for b in long.boxes]
    assert any(b.tint for b in short.boxes)


def test_what_stands_inside_a_box_counts_for_it() -> None:
    g = gg.Graph()
    x, w, b = g.input("x", ("N", 2)), g.parameter("w", (2,)), g.parameter("b")
    product = x @ w
    L = gg.sum((product + b).named("z")).named("L")
    shown = gg.draw(gg.derive(L), detail="names", color={product: 3.0, g["z"]: 1.0, L: 2.0}, engine="layered").diagram
    assert shown is not None
    assert {b.lines[0].run.text[0]: b.tint for b in shown.boxes if b.tint} == {"z": 1.0, "L": 0.5}
