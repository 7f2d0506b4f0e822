"""SVG and what else carries text: valid, without references, with every name escaped."""

from __future__ import annotations

import re
import shutil
import subprocess
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import graphviz
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import graphgrad as gg
from graphgrad.render.picture import Picture
from graphgrad.render.scene import Glyphs, Group, Paint, Rect, Scene, arrow_head, number, polyline
from graphgrad.render.svg import curve_data, svg
from graphgrad.render.tikz import _text
from tests.render.gallery import PICTURES, digits, picture, small, small_values

NAMESPACE = "{http://www.w3.org/2000/svg}"
DRAWN = {"svg", "g", "title", "rect", "path", "polygon", "circle"}


MORE: dict[str, Callable[[], Picture]] = {
    "neurons": lambda: gg.draw(small(), level="neuron", values=small_values()),
    "memory": lambda: gg.draw(gg.compile([digits().loss])),
    "rewrite": lambda: gg.draw(small().loss, small().loss * 2.0, engine="layered"),
    "frame": lambda: picture("neuron").frames()[4],
}
NAMES = [*PICTURES, *MORE]
every = pytest.mark.parametrize("name", NAMES)


@cache
def shown_by(name: str) -> Picture:
    return MORE[name]() if name in MORE else picture(name)


def elements(text: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(text).iter())


@every
def test_an_svg_is_valid_and_holds_only_what_every_viewer_draws(name: str) -> None:
    found = elements(shown_by(name).svg())
    assert {e.tag.removeprefix(NAMESPACE) for e in found} <= DRAWN
    assert all(e.tag.startswith(NAMESPACE) for e in found)


@every
def test_an_svg_refers_to_nothing(name: str) -> None:
    text = shown_by(name).svg()
    assert text.count("http") == 1
    assert not re.search(r"url\(|href|src=|@import|<style|style=|<script|\bon\w+=|<!", text)


@every
def test_ids_are_there_once_and_ends_are_ids(name: str) -> None:
    found = elements(shown_by(name).svg())
    ids = [e.attrib["id"] for e in found if "id" in e.attrib]
    assert len(ids) == len(set(ids)) > 1
    for e in found:
        assert set(e.get("data-ends", "").split()) <= set(ids)


@every
def test_the_size_is_in_points_and_the_sheet_is_paper(name: str) -> None:
    scene, root = shown_by(name).scene, ElementTree.fromstring(shown_by(name).svg())
    assert root.get("viewBox") == f"0 0 {number(scene.width)} {number(scene.height)}"
    assert (root.get("width"), root.get("height")) == (f"{number(scene.width)}pt", f"{number(scene.height)}pt")
    paper = next(e for e in root if e.tag == f"{NAMESPACE}rect")
    assert (paper.get("width"), paper.get("fill")) == (number(scene.width), "#FFFFFF")


@pytest.mark.parametrize("name", [n for n in NAMES if n != "memory"])
def test_what_is_drawn_has_a_title_for_those_who_do_not_see_it(name: str) -> None:
    for e in elements(shown_by(name).svg()):
        if e.get("class", "").startswith(("box ", "edge ", "neuron ")) and not e.get("id", "").startswith("w"):
            title = e.find(f"{NAMESPACE}title")
            assert title is not None, e.attrib
            assert title.text


def test_a_page_of_a_picture_has_it_light_and_dark_without_clashing_ids() -> None:
    text = picture("neuron").html()
    ids = re.findall(r'id="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert {i.split("-")[0] for i in ids} == {"light", "dark"}
    assert re.findall(r'<html lang="(\w+)">', text) == ["en"]
    assert "#16191D" in text
    assert "<script" not in text
    assert text.count("http") == text.count('xmlns="http://www.w3.org/2000/svg"') == 2


# -- names ------------------------------------------------------------------------------------------------------------

NASTY = "& < > \" ' { } | \\ $ # % _ ^ ~ ]]> <!-- --> \x00\x01\x1b\x7f\u2028 é 漢 \U0001f600 %s {x} \\n"


def named(name: str) -> Picture:
    g = gg.Graph()
    w = g.parameter("w")
    y = (w * w).named(name)
    return gg.draw(gg.derive((y + w).named("L")), engine="layered")


def xml_text(text: str) -> str:
    """What XML keeps of a name: no control characters."""
    return "".join(c if c.isprintable() else " " for c in text)


@example(NASTY)
@given(st.text(min_size=1, max_size=12) | st.sampled_from(NASTY.split()))
@settings(max_examples=10)
def test_any_name_is_escaped(name: str) -> None:
    try:
        shown = named(name)
    except gg.GraphgradError:  # a name that the graph does not take
        return
    root = ElementTree.fromstring(shown.svg())
    titles = [e.text or "" for e in root.iter(f"{NAMESPACE}title")]
    assert any(t.startswith(f"{xml_text(name)}: multiply") for t in titles)
    assert shown.pdf().startswith(b"%PDF")
    page = shown.html()
    assert page.count("<html") == page.count("</html>") == 1
    tikz = shown.tikz()
    assert tikz.count("{") - tikz.count(r"\{") == tikz.count("}") - tikz.count(r"\}")


@pytest.mark.parametrize("name", ["&", "\\", "]]><!--"])
def test_a_page_to_step_through_shows_names_and_runs_none(name: str) -> None:
    g = gg.Graph()
    w = g.parameter("w")
    try:
        loss = (w * w).named(f"</script><script>alert(1)</script>{name}")
    except gg.GraphgradError:
        pytest.skip(f"{name!r} is no name")
    text = gg.explain(gg.derive(loss), engine="layered").html()
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert text.count("<script") == text.count("</script>")


@pytest.mark.parametrize("name", ["a|b", "{a}", "<a>", 'a"b', "a\\b", "a\\nb", "a&b", "a\\", "\\N"])
def test_dot_shows_a_name_as_it_is(name: str) -> None:
    """Graphviz itself reads the label back."""
    pygraphviz = pytest.importorskip("pygraphviz")
    drawn = pygraphviz.AGraph(named(name).dot()).draw(format="svg", prog="dot")
    texts = [e.text for e in elements(drawn.decode()) if e.tag == f"{NAMESPACE}text"]
    assert f"{name} = w * w" in texts


def test_tikz_escapes_what_latex_takes_as_a_command() -> None:
    assert _text("50% of #1 & $2_x {a} \\b ^ ~") == (
        r"50\% of \#1 \& \$2\_x \{a\} \textbackslash{}b \textasciicircum{} \textasciitilde{}"
    )
    assert _text("x\u0304 → (N, 3) × ∂L") == r"$\bar{\mathrm{x}}$ $\to$ (N, 3) $\times$ $\partial$L"


# -- TikZ as LaTeX reads it -------------------------------------------------------------------------------------------


def compiled(text: str, folder: Path) -> int:
    """The pages of the PDF that pdflatex makes."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed, so TikZ is not compiled")
    (folder / "picture.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "picture.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True)
    told = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, "\n".join(line for line in told.splitlines() if line.startswith(("!", "l.")))
    found = re.search(r"Output written on picture.pdf \((\d+) page", told)
    assert found is not None
    return int(found[1])


@pytest.mark.slow
@every
def test_latex_sets_a_picture(name: str, tmp_path: Path) -> None:
    assert compiled(shown_by(name).tikz(standalone=True), tmp_path) == 1


@pytest.mark.slow
def test_beamer_shows_frames_slide_by_slide(tmp_path: Path) -> None:
    frames = picture("neuron").frames()
    assert compiled(frames.tikz(standalone=True), tmp_path) == len(frames) == 8


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["en", "es"])
def test_latex_sets_frames_in_both_languages(lang: str, tmp_path: Path) -> None:
    frames = gg.draw(gg.derive(small().loss), values=small_values(), lang=lang, engine="layered").frames()
    assert compiled(frames[:3].tikz(standalone=True), tmp_path) == 3


@pytest.mark.slow
@pytest.mark.parametrize("notation", ["partial", "delta"])
def test_latex_sets_every_notation_in_the_dark(notation: str, tmp_path: Path) -> None:
    shown = gg.draw(gg.derive(small().loss), notation=notation, theme="dark", engine="layered")
    assert compiled(shown.tikz(standalone=True), tmp_path) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["a|b", "{a}", "<a>", "a%b", "a#b", "a$b", "a^b", "a~b", "a\\b", "a&b", "a b", "é", "σ"]
)
def test_latex_sets_any_name(name: str, tmp_path: Path) -> None:
    assert compiled(named(name).tikz(standalone=True), tmp_path) == 1


# -- the parts --------------------------------------------------------------------------------------------------------


def test_numbers_are_short_and_never_minus_zero() -> None:
    assert [number(v) for v in (1.0, 0.5, 1 / 3, -0.001, 100.0, -2.5)] == ["1", "0.5", "0.33", "0", "100", "-2.5"]


def test_a_curve_is_written_in_triples() -> None:
    assert curve_data(polyline(((0, 0), (3, 6)))) == "M0 0C1 2 2 4 3 6"


def test_an_arrow_head_points_away_from_where_it_comes_from() -> None:
    tip, left, right = arrow_head((10.0, 0.0), (0.0, 0.0), 5.0, Paint("line")).points
    assert tip == (10.0, 0.0)
    assert (left[0], right[0]) == (5.0, 5.0)
    assert left[1] == -right[1] != 0


def test_opacity_and_dashes_are_written() -> None:
    items = (Group("a", "box", (Rect(0, 0, 1, 1, Paint("ink", "line", 2.0, (6.0, 2.0), 0.5)),), "t", 0.25),)
    text = svg(Scene(10, 10, items), lambda role: f"#{role}", background=False)
    assert '<g id="a" class="box" opacity="0.25">' in text
    assert 'stroke-width="2" stroke-dasharray="6 2" opacity="0.5"' in text


def test_text_without_outline_is_stretched_to_the_width_that_it_was_given() -> None:
    scene = Scene(10, 10, (Glyphs(1, 2, 30.0, 9.0, "", "a < b", "", Paint("ink")),))
    text = svg(scene, lambda role: "#000000")
    assert '<text x="1" y="2" font-size="9" textLength="30" lengthAdjust="spacingAndGlyphs" font-family="sans-' in text
    assert ">a &lt; b</text>" in text


def test_graphviz_objects_and_streams_agree() -> None:
    """The DOT text is that of the object, and a page's stream is compressed text."""
    shown = picture("neuron")
    assert isinstance(shown.graphviz(), graphviz.Digraph)
    assert shown.graphviz().source == shown.dot()
    stream = re.search(rb"stream\n(.*?)\nendstream", shown.pdf(), re.DOTALL)
    assert stream is not None
    assert zlib.decompress(stream[1]).startswith(b"1 0 0 -1 0 ")
