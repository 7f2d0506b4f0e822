"""The picture of a derivation: which boxes and edges there are."""

import re
import sys
from pathlib import Path

import pytest

import graphgrad as gg
from graphgrad.errors import GraphgradError
from graphgrad.render.dot import derivation_dot, svg


def two_consumers() -> gg.Derivation:
    """x meets itself: its adjoint is a sum."""
    g = gg.Graph()
    x = g.parameter("x")
    return gg.derive((gg.sin(x) * gg.exp(x)).named("L"))


def edges(source: str) -> set[tuple[str, str]]:
    return set(re.findall(r"^\t(\w+) -> (\w+)", source, re.MULTILINE))


def test_contributions_lead_to_their_sum() -> None:
    derivation = two_consumers()
    source = derivation_dot(derivation).source
    total = next(s for s in derivation.steps if s.rule == "sum")
    parts = [s for s in derivation.steps if s.target == total.target and s.operand is not None]
    assert len(parts) == 2
    for part in parts:
        assert (f"s{part.number}", f"s{total.number}") in edges(source)
    assert f'label="{total.number}. {total}\\nsum over consumers"' in source
    (gradient,) = [line for line in source.splitlines() if "#F8D3BF" in line]
    assert gradient.strip().startswith(f"s{total.number} ")


def test_an_adjoint_comes_from_its_consumers_and_reads_saved_values() -> None:
    derivation = two_consumers()
    source = derivation_dot(derivation).source
    last = {s.target: s for s in derivation.steps}
    for step in derivation.steps:
        if step.operand is not None:
            assert (f"s{step.number}", f"s{last[step.forward.id].number}") in edges(source)
    saved = re.findall(r"^\t(n\d+) -> (s\d+) \[.*style=dashed", source, re.MULTILINE)
    graph = derivation.graph
    (product,) = [n for n in graph.nodes if n.id == derivation.scalar.id]
    sine = next(n for n in graph.nodes if n.operator.name == "sin")
    of_product = [s for s in derivation.steps if s.forward.id == product.id and s.operand is not None]
    other = next(s for s in of_product if s.target != sine.id)
    assert (f"n{sine.id}", f"s{other.number}") in saved


def test_constants_are_no_boxes_and_equal_graphs_give_equal_bytes() -> None:
    g = gg.Graph()
    w = g.parameter("w", (2,))
    derivation = gg.derive(gg.sum(2.0 * w + 1.0))
    source = derivation_dot(derivation).source
    assert "constant" not in source
    assert "w * 2" in source or "2 * w" in source
    assert derivation_dot(two_consumers()).source == derivation_dot(two_consumers()).source


def test_a_name_with_a_backslash_or_quotes_is_shown_as_it_is() -> None:
    g = gg.Graph()
    w = g.parameter('a"\\n<b>')
    source = derivation_dot(gg.derive(w * w)).source
    assert 'label="a\\"\\\\n<b>\\nparameter ()"' in source


def test_a_dot_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dot"
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no')\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GraphgradError, match=r"^Graphviz's dot failed: "):
        svg(derivation_dot(two_consumers()))
