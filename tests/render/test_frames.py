"""The derivation, a rule a frame: nothing moves, and each sentence says its step."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

import graphgrad as gg
from graphgrad.errors import GraphgradError
from graphgrad.render.compose import FAINT
from graphgrad.render.picture import Frames, Picture
from graphgrad.render.scene import Group, Item, Rect
from tests.render.gallery import neuron, picture, small

#: Macrons as ': what a test file shows in one column.
ENGLISH = [
    "The forward pass. The derivation goes backwards from L.",
    "Step 1, seed: the derivative of L by itself is 1. L' = 1.",
    "Step 2, rule square, from L = e². In general x' = y' * 2 * x; here e' = L' * 2 * e.",
    "Step 3, rule subtract, from e = a - y. In general x' = z'; here a' = e'.",
    "Step 4, rule sigmoid, from a = σ(z). In general x' = y' * y * (1 - y); here z' = a' * a * (1 - a).",
    "Step 5, rule add, from z = u + b. In general x' = z'; here u' = z'.",
    "Step 6, rule add, from z = u + b. In general y' = z'; here b' = z'.",
    "Step 7, rule multiply, from u = w * x. In general x' = z' * y; here w' = u' * x.",
]
SPANISH = [
    "El paso hacia adelante. La derivación va hacia atrás desde L.",
    "Paso 1, semilla: la derivada de L respecto de sí misma es 1. L' = 1.",
    "Paso 2, regla square, desde L = e². En general x' = y' * 2 * x; aquí e' = L' * 2 * e.",
    "Paso 3, regla subtract, desde e = a - y. En general x' = z'; aquí a' = e'.",
    "Paso 4, regla sigmoid, desde a = σ(z). En general x' = y' * y * (1 - y); aquí z' = a' * a * (1 - a).",
    "Paso 5, regla add, desde z = u + b. En general x' = z'; aquí u' = z'.",
    "Paso 6, regla add, desde z = u + b. En general y' = z'; aquí b' = z'.",
    "Paso 7, regla multiply, desde u = w * x. En general x' = z' * y; aquí w' = u' * x.",
]


def frames(name: str = "neuron") -> Frames:
    return picture(name).frames()


def plain(text: str) -> str:
    spelled = unicodedata.normalize("NFD", text).replace("\u0304", "'")
    return unicodedata.normalize("NFC", spelled)


def caption(frame: Picture) -> str:
    return frame.scene.groups()["caption"].title


@pytest.mark.parametrize(("lang", "sentences"), [("en", ENGLISH), ("es", SPANISH)])
def test_each_frame_says_its_step(lang: str, sentences: list[str]) -> None:
    shown = gg.draw(neuron(), lang=lang, engine="layered").frames()
    assert [plain(caption(f)) for f in shown] == sentences


def test_where_several_meet_the_sum_is_a_step_of_its_own() -> None:
    g = gg.Graph()
    w = g.parameter("w")
    shown = gg.draw(gg.derive((gg.exp(w).named("p") + w * w).named("L")), engine="layered").frames()
    told = [plain(caption(f)) for f in shown]
    assert told[-1] == (
        "Step 7, sum over consumers: w is read 3 times, and its adjoint sums what comes back. "
        "w' = w'[v2, 1] + w'[v2, 2] + w'[p]."
    )


def test_a_box_of_several_steps_says_all_their_numbers() -> None:
    shown = picture("small names").frames()
    assert plain(caption(shown[4])) == (
        "Step 3, 5, rule add · matmul, from z2 = x1 @ W2ᵀ + b2. In general x' = z' @ yᵀ; here x'1 = z'2 @ W2."
    )


@pytest.mark.parametrize("name", ["neuron", "small names", "small layers", "second"])
def test_frames_are_of_one_size_and_nothing_moves(name: str) -> None:
    shown = frames(name)
    assert len({(f.scene.width, f.scene.height) for f in shown}) == 1

    def places(item: Item) -> list[tuple[float, ...]]:
        if isinstance(item, Group):
            return [p for inner in item.items for p in places(inner)]
        ring = isinstance(item, Rect) and item.paint.stroke == "ring"
        return [(item.x, item.y, item.w, item.h)] if isinstance(item, Rect) and not ring else []

    def without_caption(frame: Picture) -> list[tuple[str, list[tuple[float, ...]]]]:
        return [(g.id, places(g)) for g in frame.scene.groups().values() if g.id != "caption"]

    first = without_caption(shown[0])
    assert all(without_caption(f) == first for f in shown)


def test_a_frame_is_the_picture_with_room_for_a_sentence() -> None:
    whole, frame = picture("neuron").scene, frames()[0].scene
    assert frame.width == whole.width
    assert frame.height > whole.height
    assert "caption" not in whole.groups()


def test_the_current_box_is_thick_its_origin_ringed_and_what_is_to_come_faint() -> None:
    """Frame 4 is step 4: z̄, from a = σ(z)."""
    shown = frames()[4].scene.groups()
    plain_boxes = picture("neuron").scene.groups()

    def border(groups: dict[str, Group], id: str) -> Rect:
        rects = [i for i in groups[id].items if isinstance(i, Rect) and i.paint.fill]
        assert len(rects) == 1
        return rects[0]

    thick = {id for id, g in shown.items() if g.kind.startswith("box ")
             and border(shown, id).paint.width > border(plain_boxes, id).paint.width}  # fmt: skip
    ringed = {id for id, g in shown.items() if any(isinstance(i, Rect) and i.paint.stroke == "ring" for i in g.items)}
    faint = {id for id, g in shown.items() if g.kind.startswith("box ") and g.opacity == FAINT}
    assert thick == {"s4"}
    assert ringed == {"n6"}
    assert faint == {"s5", "s6", "s7"}
    assert {id for id, g in shown.items() if g.kind.startswith("edge ") and g.opacity == FAINT} == {
        id for id, g in shown.items() if set(g.ends) & {"s5", "s6", "s7"}
    }


def test_the_ring_stands_around_its_box() -> None:
    group = frames()[4].scene.groups()["n6"]
    ring, box = (i for i in group.items if isinstance(i, Rect))
    assert (box.x - ring.x, box.y - ring.y, ring.w - box.w, ring.h - box.h) == pytest.approx((4, 4, 8, 8))


def test_the_first_frame_is_the_forward_pass_and_the_last_the_whole() -> None:
    first, last = frames()[0].scene.groups(), frames()[-1].scene.groups()
    assert {id for id, g in first.items() if g.opacity == FAINT and g.kind.startswith("box ")} == {
        f"s{k}" for k in range(1, 8)
    }
    assert not [id for id, g in last.items() if g.opacity == FAINT]


def test_a_caption_fits_its_sheet_and_the_room_kept_for_it() -> None:
    for name in ("neuron", "second"):
        for f in frames(name):
            scene = f.scene
            for text in scene.groups()["caption"].items:
                assert not isinstance(text, Group)
                assert text.x + getattr(text, "width") <= scene.width  # noqa: B009
                assert text.y < scene.height - 3


def test_frames_are_a_sequence_of_pictures(tmp_path: Path) -> None:
    shown = frames()
    assert len(shown) == 8
    assert isinstance(shown[0], Picture)
    assert isinstance(shown[1:3], Frames)
    assert repr(shown) == "<8 frames>"
    dark = shown.with_(theme="dark", legend=False)
    assert {f.theme for f in dark} == {"dark"}
    assert "legend" not in dark[0].scene.groups()
    assert dark[0].with_(theme="light", legend=True).svg() == shown[0].svg()


def test_frames_are_saved_as_one_file_or_as_numbered_ones(tmp_path: Path) -> None:
    shown = frames()[:3]
    shown.save(tmp_path / "slides.pdf")
    shown.save(tmp_path / "slides.tex")
    shown.save(tmp_path / "slides.svg")
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["slides-1.svg", "slides-2.svg", "slides-3.svg", "slides.pdf", "slides.tex"]
    assert (tmp_path / "slides-2.svg").read_text(encoding="utf-8") == shown[1].svg()
    assert (tmp_path / "slides.tex").read_text(encoding="utf-8").count(r"\onslide<") == 3


def test_what_has_no_frames() -> None:
    for shown in (picture("network"), gg.draw(small(), level="neuron"), frames()[0]):
        with pytest.raises(GraphgradError) as caught:
            shown.frames()
        assert str(caught.value) == "frames are of a derivation: draw(gg.derive(loss)).frames()"
    assert replace(picture("neuron"), looks=()).looks == ()
