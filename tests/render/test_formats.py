"""Files: PNG, PDF, what save refuses, themes, notebooks."""

from __future__ import annotations

import os
import re
import struct
import zlib
from pathlib import Path

import pytest

import graphgrad as gg
from graphgrad.errors import GraphgradError
from graphgrad.render.picture import FORMATS, LARGEST_PNG
from tests.render.gallery import neuron, picture, small

PNG = b"\x89PNG\r\n\x1a\n"


def refused(call: object, *arguments: object, **options: object) -> str:
    with pytest.raises(GraphgradError) as caught:
        call(*arguments, **options)  # type: ignore[operator]
    return str(caught.value)


# -- PNG --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.5, 1, 2.0])
def test_a_png_is_as_large_as_its_scale_says(scale: float) -> None:
    shown = picture("network")
    content = shown.png(scale)
    width, height = struct.unpack(">II", content[16:24])
    assert content.startswith(PNG)
    assert abs(width - shown.scene.width * 96 / 72 * scale) <= 1
    assert abs(height - shown.scene.height * 96 / 72 * scale) <= 1


def test_a_png_has_the_colours_of_its_theme() -> None:
    """The first pixel is paper."""
    for theme, paper in (("light", b"\xff\xff\xff\xff"), ("dark", b"\x16\x19\x1d\xff")):
        content = picture("network").with_(theme=theme).png(0.5)
        data, at = b"", 8
        while at < len(content):
            length, kind = struct.unpack(">I4s", content[at : at + 8])
            data += content[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
            at += 12 + length
        assert zlib.decompress(data)[1:5] == paper


def test_a_png_that_viewers_refuse_is_not_written() -> None:
    shown = picture("network")
    least = LARGEST_PNG / (shown.scene.width * 96 / 72)
    told = refused(shown.png, 100.0)
    assert told == (
        f"png: the picture would be {shown.scene.width * 96 / 72 * 100:.0f} pixels wide or high, over 32,767; "
        f"take PDF or SVG, or a scale below {least:.2g}"
    )


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), "2", None])
def test_the_scale_of_a_png_is_a_number_above_zero(scale: object) -> None:
    assert refused(picture("network").png, scale) == f"png: scale is a number above 0, but {scale!r} was given"


def test_an_endless_scale_is_refused() -> None:
    assert "take PDF or SVG" in refused(picture("network").png, float("inf"))


# -- PDF --------------------------------------------------------------------------------------------------------------


def check_pdf(content: bytes, pages: int) -> None:
    """A tiny reader: each offset of the cross-reference table leads to its object, each stream has its length."""
    assert content.startswith(b"%PDF-1.5\n")
    start = int(re.findall(rb"startxref\n(\d+)\n%%EOF\n$", content)[0])
    lines = content[start:].split(b"\n")
    count = int(lines[1].split()[1])
    assert lines[0] == b"xref"
    assert lines[2] == b"0000000000 65535 f "
    for k in range(1, count):
        entry = lines[2 + k]
        assert len(entry) == 19, "an entry is of 20 bytes, its end of line included"
        offset = int(entry[:10])
        assert content[offset:].startswith(b"%d 0 obj\n" % k)
    assert f"/Size {count} /Root 1 0 R".encode() in content[start:]
    assert len(re.findall(rb"/Type /Page ", content)) == pages
    assert f"/Count {pages} ".encode() in content
    for length, stream in re.findall(
        rb"/Length (\d+) /Filter /FlateDecode >>\nstream\n(.*?)\nendstream", content, re.S
    ):
        assert len(stream) == int(length)
        operators = zlib.decompress(stream).decode("ascii")
        assert operators.count("\nq\n") == operators.count("\nQ\n")
        assert not re.search(r"nan|inf|e-\d|None", operators)


@pytest.mark.parametrize("name", ["neuron", "not finite", "adam unfolded", "deep"])
def test_a_pdf_is_whole(name: str) -> None:
    check_pdf(picture(name).pdf(), 1)


def test_frames_are_pages() -> None:
    frames = picture("neuron").frames()
    content = frames.pdf()
    check_pdf(content, len(frames))
    assert b"/ca 0.16" in content, "what is to come is faint"


def test_a_pdf_page_has_the_size_of_its_picture() -> None:
    scene = picture("network").scene
    ((width, height),) = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", picture("network").pdf())
    assert (float(width), float(height)) == (
        pytest.approx(scene.width, abs=0.01),
        pytest.approx(scene.height, abs=0.01),
    )


# -- save -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_is_saved_whole(suffix: str, tmp_path: Path) -> None:
    picture("network").save(tmp_path / f"a{suffix}")
    expected = picture("network").bytes(suffix)
    assert (tmp_path / f"a{suffix}").read_bytes() == (expected if isinstance(expected, bytes) else expected.encode())
    assert [p.name for p in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize(("name", "told"), [("a.gif", "'.gif'"), ("a", "'no suffix'"), ("a.SVG", "'.SVG'")])
def test_another_format_is_refused_and_nothing_written(name: str, told: str, tmp_path: Path) -> None:
    assert refused(picture("network").save, tmp_path / name) == (
        f"a picture is saved as .svg, .png, .pdf, .tex, .dot, .html, .json, but {told} was given"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "a.svg").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        picture("network").save(tmp_path / "a.svg")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.svg", "old")]


def test_options_of_a_format_go_through_save(tmp_path: Path) -> None:
    picture("network").save(tmp_path / "a.png", scale=0.5)
    assert (tmp_path / "a.png").read_bytes() == picture("network").png(0.5)
    picture("network").save(tmp_path / "a.tex", standalone=False)
    assert (tmp_path / "a.tex").read_text().startswith(r"\definecolor")


# -- the same layout in other looks -----------------------------------------------------------------------------------


def test_another_theme_changes_colours_only() -> None:
    light, dark = picture("small values"), picture("small values").with_(theme="dark")
    plain = [re.sub(r"#[0-9A-F]{6}", "#", p.svg()) for p in (light, dark)]
    assert plain[0] == plain[1]
    assert light.svg() != dark.svg()
    assert dark.with_().svg() == dark.svg()
    assert gg.draw(neuron(), theme="dark", engine="layered").svg() == picture("neuron").with_(theme="dark").svg()


def test_without_its_legend_nothing_moves() -> None:
    shown, bare = picture("neuron"), picture("neuron").with_(legend=False)
    with_legend, without = (
        {id: g for id, g in p.scene.groups().items() if not id.startswith("legend")} for p in (shown, bare)
    )
    assert with_legend == without
    assert "legend" in shown.scene.groups()
    assert "legend" not in bare.scene.groups()
    assert shown.scene.height > bare.scene.height
    assert gg.draw(neuron(), legend=False, engine="layered").svg() == bare.svg()


def test_a_theme_that_does_not_exist() -> None:
    told = "theme 'sepia' does not exist; there are: light, dark"
    assert refused(picture("neuron").with_, theme="sepia") == told
    assert refused(gg.draw, neuron(), theme="sepia") == told
    assert refused(gg.draw, small(), level="neuron", theme="sepia") == told


def test_a_notebook_shows_the_picture() -> None:
    bundle = picture("neuron")._repr_mimebundle_(include=None, exclude=None)
    assert bundle.keys() == {"image/svg+xml", "text/plain"}
    assert bundle["image/svg+xml"] == picture("neuron").svg()
    scene = picture("neuron").scene
    assert bundle["text/plain"] == f"<picture of 16 boxes, {scene.width:.0f} x {scene.height:.0f} pt>"
    neurons = gg.draw(small(), level="neuron")
    assert re.fullmatch(r"<picture of 2-3-1, \d+ x \d+ pt>", repr(neurons))


def test_a_chart_has_no_dot() -> None:
    told = "this picture has no boxes and edges, so it has no DOT; svg, png, pdf and tikz are there"
    assert refused(gg.draw(small(), level="neuron").dot) == told


def test_dot_goes_on_where_graphviz_is() -> None:
    text = picture("neuron").dot()
    assert 'label="L = e²\\nsquare  ()"' in text
    assert text.count("style=dashed") == 3
    assert text.count("dir=back") == 6
    assert "subgraph cluster_forward" in text


def test_tikz_is_a_picture_or_a_document() -> None:
    part, whole = picture("neuron").tikz(), picture("neuron").tikz(standalone=True)
    assert part.startswith(r"\definecolor{ggaa}{HTML}")
    assert part in whole
    assert whole.startswith(r"\documentclass[border=2pt]{standalone}")
    assert r"$\displaystyle \bar{z} = \bar{a} \cdot a \cdot \left(1 - a\right)$" in part
