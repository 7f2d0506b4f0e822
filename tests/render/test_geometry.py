"""Where things are: nothing covers anything, texts lie in their boxes, edges lead from border to border."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.render.compose import BORDER
from graphgrad.render.diagram import overlaps, rectangle
from graphgrad.render.layered import _crossings, _Item
from graphgrad.render.picture import Picture
from graphgrad.render.scene import Circle, Curve, Glyphs, Group, Item, Polygon, Rect, polyline, spots
from graphgrad.render.typeset import FORMULA, SMALL
from tests.render.gallery import ENGINES, PICTURES, neuron, picture, small, small_values

Box = tuple[float, float, float, float]  # left, top, right, bottom
NEAR = 1.5  # points: half a line's width and what is rounded

every = pytest.mark.parametrize("name", PICTURES)
each_engine = pytest.mark.parametrize("engine", ENGINES)


def box_groups(shown: Picture) -> dict[str, Group]:
    return {g.id: g for g in shown.scene.groups().values() if g.kind.startswith("box ")}


def frame(group: Group) -> Box:
    """The border of a box or lane."""
    rect = next(i for i in group.items if isinstance(i, Rect))
    return rect.x, rect.y, rect.x + rect.w, rect.y + rect.h


def inside(inner: Box, outer: Box, slack: float = 0.01) -> bool:
    left, top, right, bottom = (a - b for a, b in zip(inner, outer, strict=True))
    return left >= -slack and top >= -slack and right <= slack and bottom <= slack


def glyphs(group: Group) -> Iterator[Glyphs]:
    for item in group.items:
        if isinstance(item, Group):
            yield from glyphs(item)
        elif isinstance(item, Glyphs):
            yield item


def ink(text: Glyphs) -> Box:
    """The bounds of the outline itself: of its points, which hold its curves between them."""
    numbers = [float(v) for v in re.findall(r"-?\d*\.?\d+", text.outline)]
    xs, ys = numbers[::2], numbers[1::2]
    return text.x + min(xs), text.y + min(ys), text.x + max(xs), text.y + max(ys)


def bounds(item: Item) -> Box:
    if isinstance(item, Rect):
        return item.x, item.y, item.x + item.w, item.y + item.h
    if isinstance(item, Circle):
        return item.x - item.r, item.y - item.r, item.x + item.r, item.y + item.r
    if isinstance(item, (Curve, Polygon)):
        points = list(spots(item.points)) if isinstance(item, Curve) else item.points
        xs, ys = [x for x, _ in points], [y for _, y in points]
        return min(xs), min(ys), max(xs), max(ys)
    assert isinstance(item, Glyphs)
    return ink(item)


def distance(x: float, y: float, box: Box) -> float:
    """How far a point is from the border of a box."""
    left, top, right, bottom = box
    if left <= x <= right and top <= y <= bottom:
        return min(x - left, right - x, y - top, bottom - y)
    dx, dy = max(left - x, 0.0, x - right), max(top - y, 0.0, y - bottom)
    return float((dx * dx + dy * dy) ** 0.5)


# -- boxes ------------------------------------------------------------------------------------------------------------


@each_engine
@every
def test_no_two_boxes_meet(name: str, engine: str) -> None:
    found = {id: frame(g) for id, g in box_groups(picture(name, engine)).items()}
    for (a, p), (b, q) in combinations(found.items(), 2):
        apart = p[2] <= q[0] or q[2] <= p[0] or p[3] <= q[1] or q[3] <= p[1]
        assert apart, (a, b)


@each_engine
@every
def test_every_box_and_edge_of_the_diagram_is_drawn_once(name: str, engine: str) -> None:
    shown = picture(name, engine)
    assert shown.diagram is not None
    groups = [i for i in shown.scene.walk() if isinstance(i, Group)]
    assert sorted(g.id for g in groups if g.kind.startswith("box ")) == sorted(b.id for b in shown.diagram.boxes)
    edges = [g for g in groups if g.kind.startswith("edge ")]
    assert sorted(g.id for g in edges) == sorted(f"e-{e.id}" for e in shown.diagram.edges)
    assert {g.ends for g in edges} == {(e.source, e.target) for e in shown.diagram.edges}


@each_engine
@every
def test_every_text_lies_in_its_box(name: str, engine: str) -> None:
    for id, group in box_groups(picture(name, engine)).items():
        for text in glyphs(group):
            assert inside(ink(text), frame(group)), (id, text.text)


@each_engine
@every
def test_no_text_is_smaller_than_nine_points(name: str, engine: str) -> None:
    sizes = {text.size for text in picture(name, engine).scene.walk() if isinstance(text, Glyphs)}
    assert min(sizes) == SMALL == 9.0
    assert FORMULA in sizes


@each_engine
@every
def test_the_lines_of_a_box_do_not_cover_each_other(name: str, engine: str) -> None:
    for id, group in box_groups(picture(name, engine)).items():
        lines = [ink(text) for text in glyphs(group)]
        for upper, lower in pairwise(lines):
            assert upper[3] <= lower[1], id


# -- edges ------------------------------------------------------------------------------------------------------------


@each_engine
@every
def test_every_edge_leads_from_border_to_border(name: str, engine: str) -> None:
    shown = picture(name, engine)
    boxes = {id: frame(g) for id, g in box_groups(shown).items()}
    for group in shown.scene.groups().values():
        if group.ends:
            line, head = group.items
            assert isinstance(line, Curve)
            assert isinstance(head, Polygon)
            source, target = group.ends
            assert distance(*line.points[0], boxes[source]) < NEAR, group.id
            assert distance(*head.points[0], boxes[target]) < NEAR, group.id


@each_engine
@every
def test_an_arrow_head_stands_outside_its_box(name: str, engine: str) -> None:
    """Boxes are drawn over edges: a head whose base is in the box would not be seen."""
    shown = picture(name, engine)
    boxes = {id: frame(g) for id, g in box_groups(shown).items()}
    for group in shown.scene.groups().values():
        if group.ends:
            head = group.items[1]
            assert isinstance(head, Polygon)
            left, top, right, bottom = boxes[group.ends[1]]
            (ax, ay), (bx, by) = head.points[1:]
            x, y = (ax + bx) / 2, (ay + by) / 2
            assert not (left < x < right and top < y < bottom), group.id


@every
def test_our_own_edges_pass_through_no_box(name: str) -> None:
    shown = picture(name)
    assert shown.placed is not None
    assert shown.diagram is not None
    for edge in shown.diagram.edges:
        traced = list(spots(shown.placed.curves[edge.id]))
        for box in shown.diagram.boxes:
            if box.id not in (edge.source, edge.target):
                left, top, right, bottom = rectangle(shown.placed, box)
                assert not [p for p in traced if left < p[0] < right and top < p[1] < bottom], (edge.id, box.id)


@pytest.mark.parametrize("engine", ENGINES)
def test_equal_operands_have_an_edge_each(engine: str) -> None:
    """x * x has two edges, and they do not lie on each other."""
    x = gg.Graph().input("x")
    shown = gg.draw((x * x).named("y"), engine=engine)
    edges = [g for g in shown.scene.groups().values() if g.ends]
    assert [g.ends for g in edges] == [("n0", "n1"), ("n0", "n1")]
    (first, _), (second, _) = (g.items for g in edges)
    assert isinstance(first, Curve)
    assert isinstance(second, Curve)
    middles = [c.points[len(c.points) // 2][1] for c in (first, second)]
    assert abs(middles[0] - middles[1]) > 3.0


# -- lanes and sheet --------------------------------------------------------------------------------------------------


@each_engine
@every
def test_a_lane_holds_its_boxes_and_no_others(name: str, engine: str) -> None:
    shown = picture(name, engine)
    assert shown.diagram is not None
    groups = shown.scene.groups()
    for lane in shown.diagram.lanes:
        around = frame(groups[f"lane-{lane.name}"])
        for box in shown.diagram.boxes:
            left, top, right, bottom = frame(groups[box.id])
            if box.lane == lane.name:
                assert inside((left, top, right, bottom), around), box.id
            else:
                assert bottom < around[1] or top > around[3], box.id


@each_engine
@every
def test_the_forward_pass_stands_above_the_backward_pass(name: str, engine: str) -> None:
    shown = picture(name, engine)
    assert shown.diagram is not None
    groups = shown.scene.groups()
    tops = [frame(groups[f"lane-{lane.name}"])[1] for lane in shown.diagram.lanes]
    assert tops == sorted(tops)


@each_engine
@every
def test_the_title_of_a_lane_is_not_covered_and_covers_no_box(name: str, engine: str) -> None:
    groups = picture(name, engine).scene.groups()
    boxes = [frame(g) for g in groups.values() if g.kind.startswith("box ")]
    for title in (g for g in groups.values() if g.kind == "title"):
        left, top, right, bottom = frame(title)
        assert inside((left, top, right, bottom), frame(groups[title.id.replace("title", "lane")]))
        assert not [b for b in boxes if b[0] < right and left < b[2] and b[1] < bottom and top < b[3]]


@each_engine
@every
def test_edges_stay_within_the_frames_and_clear_of_their_titles(name: str, engine: str) -> None:
    groups = picture(name, engine).scene.groups()
    lanes = [frame(g) for g in groups.values() if g.kind == "lane"]
    titles = [frame(g) for g in groups.values() if g.kind == "title"]
    for edge in groups.values():
        for line in (i for i in edge.items if edge.ends and isinstance(i, Curve)):
            for x, y in spots(line.points):
                assert not lanes or lanes[0][0] < x < lanes[0][2], edge.id
                assert not [t for t in titles if t[0] < x < t[2] and t[1] < y < t[3]], edge.id


@each_engine
@pytest.mark.parametrize("name", [n for n in PICTURES if n != "network"])
def test_each_adjoint_stands_in_the_column_of_its_variable(name: str, engine: str) -> None:
    """The centre of an adjoint's box is within the column of the forward box, if only one is made of it."""
    shown = picture(name, engine)
    assert shown.diagram is not None
    assert shown.placed is not None
    columns = {b.id: shown.placed.centres[b.id][0] for b in shown.diagram.boxes}
    for box in shown.diagram.boxes:
        if box.lane == "backward" and box.column in columns:
            assert columns[box.id] == pytest.approx(columns[box.column], abs=0.01), box.id


@each_engine
@every
def test_everything_lies_on_the_sheet(name: str, engine: str) -> None:
    scene = picture(name, engine).scene
    sheet = (0.0, 0.0, scene.width, scene.height)
    for item in scene.walk():
        if not isinstance(item, Group):
            assert inside(bounds(item), sheet), item


def test_the_sheet_is_no_larger_than_what_is_drawn_and_its_border() -> None:
    """Not cropped, not tiny: the picture fills its sheet."""
    scene = picture("neuron").scene
    drawn = [bounds(i) for i in scene.walk() if not isinstance(i, Group)]
    assert min(b[0] for b in drawn) == pytest.approx(BORDER)
    assert max(b[2] for b in drawn) == pytest.approx(scene.width - BORDER)


@pytest.mark.parametrize("values", [None, small_values()], ids=["plain", "with values"])
def test_neurons_do_not_meet_and_hold_their_texts(values: dict[str, object] | None) -> None:
    shown = gg.draw(small(), level="neuron", values=values)
    circles = []
    for group in shown.scene.groups().values():
        if group.kind.startswith("neuron "):
            circle = next(i for i in group.items if isinstance(i, Circle))
            circles.append(circle)
            for text in glyphs(group):
                left, top, right, bottom = ink(text)
                for x, y in ((left, top), (right, top), (left, bottom), (right, bottom)):
                    assert (x - circle.x) ** 2 + (y - circle.y) ** 2 < circle.r**2, text.text
    assert len(circles) == 6
    for a, b in combinations(circles, 2):
        assert (a.x - b.x) ** 2 + (a.y - b.y) ** 2 > (a.r + b.r) ** 2


# -- the parts --------------------------------------------------------------------------------------------------------


def test_overlaps_are_found() -> None:
    shown = picture("neuron")
    assert shown.placed is not None
    assert shown.diagram is not None
    assert overlaps(shown.placed, shown.diagram.boxes) == []
    first, second = shown.diagram.boxes[:2]
    moved = {**shown.placed.centres, second.id: shown.placed.centres[first.id]}
    shown.placed.centres.update(moved)
    try:
        assert {frozenset(p) for p in overlaps(shown.placed, [first, second])} == {frozenset((first.id, second.id))}
    finally:
        picture.cache_clear()


def test_crossings_are_counted() -> None:
    a, b, c, d = (_Item(key, k // 2, 1.0) for k, key in enumerate("abcd"))
    a.right, b.right = [d], [c]
    assert _crossings([[a, b], [c, d]]) == 1
    assert _crossings([[b, a], [c, d]]) == 0


def test_a_straight_line_is_sampled_from_end_to_end() -> None:
    traced = list(spots(polyline(((0.0, 0.0), (60.0, 0.0)))))
    assert traced[0] == (0.0, 0.0)
    assert traced[-1] == (60.0, 0.0)
    assert max(b[0] - a[0] for a, b in pairwise(traced)) <= 6.01


def test_the_layout_has_the_names_of_what_it_was_made_with() -> None:
    for engine in ENGINES:
        shown = gg.draw(neuron(), engine=engine)
        assert shown.placed is not None
        assert shown.placed.engine == engine


def test_the_numbers_of_a_neuron_lie_in_its_circle() -> None:
    """The longest of all numbers, too: six digits after the point."""
    net = gg.feedforward([2, 2, 1], "tanh")
    values = {name: np.full(a.shape, -0.000123456) for name, a in net.initialize(seed=0).items()}
    values |= {"x": np.full((1, 2), -0.000123456), "y": np.full((1, 1), -1e6)}
    neurons = [g for g in gg.draw(net, level="neuron", values=values).scene.groups().values() if "neuron " in g.kind]
    assert len(neurons) == 5
    for group in neurons:
        circle = next(i for i in group.items if isinstance(i, Circle))
        for text in glyphs(group):
            left, top, right, bottom = ink(text)
            far = max(abs(left - circle.x), abs(right - circle.x)), max(abs(top - circle.y), abs(bottom - circle.y))
            assert (far[0] ** 2 + far[1] ** 2) ** 0.5 < circle.r - 1.0, (group.id, text.text)
