"""What those who teach with other tools ask for, a test each, named after what is asked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import graphgrad as gg
from graphgrad.render.scene import Glyphs
from graphgrad.render.typeset import FORMULA
from tests.render.gallery import deep, digits, neuron, picture, small, small_values

ROOT = Path(__file__).resolve().parent.parent.parent


def texts(shown: gg.Picture) -> str:
    return "\n".join(i.text for i in shown.scene.walk() if isinstance(i, Glyphs))


def test_no_hunt_for_dot() -> None:
    """graphviz#166, keras#10935, ibis#4837: a machine without the program, in a process of its own."""
    program = "import graphgrad as gg; print(gg.draw(gg.feedforward([2, 3, 1], 'tanh')).svg()[:4])"
    environment = {"PATH": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", program], env=environment,
                          capture_output=True, text=True)  # fmt: skip
    assert (done.stdout, done.stderr) == ("<svg\n", "")


def test_names_instead_of_ids_and_class_names() -> None:
    """pytorchviz#59, tensorboardX#573"""
    told = texts(picture("neuron"))
    assert not re.search(r"\bv\d|0x[0-9a-f]{6}|Backward0|MulBackward|Tensor", told)
    for name in ("x", "w", "z = u + b", "a = σ(z)", "L = e²"):
        assert name in told.splitlines()


def test_folding_and_unfolding() -> None:
    """torchview#118, tensorboard#1253, tensorflow#13297: one layer opened, the others as they were."""
    names = [f"layer{k}" for k in range(1, 13)]
    folded = gg.draw(gg.derive(deep().loss), fold=names, engine="layered")
    opened = gg.draw(gg.derive(deep().loss), fold=names[:5] + names[6:], engine="layered")
    assert "layer6  (" in texts(folded)
    assert "layer6  (" not in texts(opened)
    assert "z6 = x5 @ W6ᵀ + b6" in texts(opened)
    assert texts(opened).count(" parameters") == 11


def test_vector_output_dot_and_tikz_not_cropped_not_tiny() -> None:
    """torchview#64 #76, tensorboard#570: formulas are as large in every picture."""
    for name in ("neuron", "deep", "digits"):
        shown = picture(name)
        assert "<image" not in shown.svg()
        assert b"/Image" not in shown.pdf()
        assert r"\includegraphics" not in shown.tikz()
        assert shown.dot().startswith("digraph")
        assert FORMULA in {i.size for i in shown.scene.walk() if isinstance(i, Glyphs)}
        root = re.match(
            r'<svg [^>]*width="([\d.]+)pt" height="([\d.]+)pt" viewBox="0 0 ([\d.]+) ([\d.]+)"', shown.svg()
        )
        assert root is not None
        assert root.groups()[:2] == root.groups()[2:]


def test_the_backward_graph_beside_the_forward_one() -> None:
    """pytorch#34953, torchview#88, pytorchviz#32"""
    shown = picture("small")
    assert shown.diagram is not None
    lanes = [b.lane for b in shown.diagram.boxes]
    assert (lanes.count("forward"), lanes.count("backward")) == (12, 10)


def test_shapes_values_and_gradients() -> None:
    """tensorflow#536, torchlens#28"""
    shown = gg.draw(gg.derive(small().loss), values=small_values(), engine="layered")
    assert shown.diagram is not None
    for box in shown.diagram.boxes:
        has_number = any(line.kind == "number" for line in box.lines)
        assert has_number or box.strip is not None, box.id
    forward = [b for b in shown.diagram.boxes if b.lane == "forward"]
    assert all(b.lines[1].run.text.endswith(")") for b in forward), "its shape"


def test_steps() -> None:
    """micrograd PR#105"""
    assert len(picture("neuron").frames()) == 1 + len(neuron().steps)


def test_the_mathematics() -> None:
    """playground#88 #126: the rule in general, and with the names of this network."""
    frame = picture("neuron").frames()[4]
    assert frame.look is not None
    assert "In general" in frame.look.caption
    assert "here" in frame.look.caption


def test_the_general_rule_and_the_formula_here_say_the_same() -> None:
    """Where W enters transposed, both sides of the general rule are transposed."""
    captions = [f.look.caption for f in picture("small names").frames() if f.look is not None]
    (told,) = [c for c in captions if "W\u03042 = " in c]
    assert told.endswith("In general y\u0304ᵀ = z\u0304ᵀ @ x; here W\u03042 = z\u03042ᵀ @ x1.")


def test_edges_say_what_they_lead_to_by_name() -> None:
    groups = picture("neuron").scene.groups()
    titles = {g.title for name, g in groups.items() if name.startswith("e-")}
    assert {"u → z", "L\u0304 → e\u0304", "x → w\u0304"} <= titles
    folded = {g.title for name, g in picture("deep").scene.groups().items() if name.startswith("e-")}
    assert "layer1 … layer11  × 11 → layer12" in folded


def test_landscape() -> None:
    for name in ("neuron", "small", "digits", "deep"):
        assert picture(name).scene.width > picture(name).scene.height


def test_a_legend_and_dark_mode() -> None:
    shown = picture("neuron")
    assert "legend" in shown.scene.groups()
    assert 'fill="#16191D"' in shown.with_(theme="dark").svg()
    assert "prefers-color-scheme:dark" in shown.html()


def test_a_picture_without_colours_still_tells_kinds_apart() -> None:
    """Colour blindness: what is left of a box in one colour differs from kind to kind."""
    grey = re.sub(r"#[0-9A-F]{6}", "#", picture("neuron").svg())
    kinds = {}
    for kind, rect in re.findall(r'class="box (\w+)">\n<title>[^<]*</title>\n(<rect [^>]*/>)', grey):
        kinds[kind] = re.sub(r'(?<= )(x|y|width|height)="[^"]*"', "", rect)
    assert len(kinds) == 6
    assert len(set(kinds.values())) == 6


def test_a_link_to_a_state() -> None:
    """The page keeps its step in the address."""
    page = gg.explain(neuron(), engine="layered").html()
    assert "replaceState" in page
    assert re.search(r"#s=|location\.hash", page)


def test_x_times_x_has_two_edges() -> None:
    """micrograd#77, in every format that has edges"""
    x = gg.Graph().input("x")
    shown = gg.draw((x * x).named("y"), engine="layered")
    assert shown.dot().count("n0 -> n1") == 2
    assert shown.svg().count('data-ends="n0 n1"') == 2


def test_a_value_not_computed_is_no_zero() -> None:
    """Without values there is no number at all, and a gradient that is zero says 0."""
    assert "0\n" not in texts(picture("neuron"))
    shown = gg.draw(neuron(), values={"x": 0.0, "y": 0.5, "w": 1.0, "b": 0.0}, engine="layered")
    assert shown.diagram is not None
    last = shown.diagram.boxes[-1]
    assert [line.run.text for line in last.lines if line.kind == "number"] == ["0"]


def test_a_large_network_is_drawn_at_all() -> None:
    told = texts(gg.draw(digits(), engine="layered"))
    assert "8,320 parameters" in told
    assert "8,256 parameters" in told
    assert "650 parameters" in told
