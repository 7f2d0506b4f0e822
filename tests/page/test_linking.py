"""Graph, formulas and code light up together, by pointer and by keyboard."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import graphgrad as gg
from graphgrad.demo import digits_network
from graphgrad.derivation import Derivation
from graphgrad.page import Page
from tests.page.browser import Open, box_by_title, data_of, lit, net, neuron


def compiled(derivation: Derivation) -> gg.Function:
    return gg.compile([derivation.scalar, *derivation.gradients.values()])


def wanted_lines(derivation: Derivation, id: str) -> tuple[set[int], set[int]]:
    """Of a box with one node or step: lines that must be lit, and lines of others that must not."""
    f = compiled(derivation)
    forward = derivation.graph.ancestors([derivation.scalar.id])
    results = {*forward, *(s.contribution.id for s in derivation.steps)}
    if id[0] == "n":
        own = {int(id[1:])}
    else:
        step = derivation.steps[int(id[1:]) - 1]
        own = {step.contribution.id, *step.new}
    must = {line for i in own for line in f.lines[i]}
    return must, {line for i in results - own for line in f.lines[i]} - must


@pytest.mark.parametrize("make", [neuron, net])
def test_the_lines_of_a_box_are_those_that_compute_it(make: Callable[[], Derivation]) -> None:
    derivation = make()
    links = data_of(gg.explain(derivation, detail="operations", engine="layered"))["links"]
    source = compiled(derivation).source.split("\n")
    for id, lines in links.items():
        must, others = wanted_lines(derivation, id)
        assert must <= set(lines), id
        notation = {n for n in others if source[n - 1].endswith(".T") or ".transpose(" in source[n - 1]}  # inside a box
        assert not (others - notation) & set(lines), (id, [source[n - 1] for n in others & set(lines)])


@pytest.mark.parametrize("make", [neuron, net, lambda: gg.derive(digits_network().loss)])
def test_every_statement_of_the_step_belongs_to_a_box(make: Callable[[], Derivation]) -> None:
    """An operator without a statement of its own, such as a mean squared error, is lowered to several: all are its."""
    derivation = make()
    f = compiled(derivation)
    links = data_of(gg.explain(derivation, engine="layered"))["links"]
    source = f.source.split("\n")
    first = next(k for k, line in enumerate(source, 1) if line.startswith("def "))
    last = next(k for k, line in enumerate(source, 1) if line.startswith("    return "))
    assert set(range(first + 1, last)) <= {line for lines in links.values() for line in lines}
    loss = set(links[f"n{derivation.scalar.id}"])
    assert set(f.lines[derivation.scalar]) < loss


@pytest.mark.parametrize("pane", ["box", "row", "line"])
def test_hover_lights_the_three_panes(pane: str, net_page: Page, open_page: Open) -> None:
    browsed = open_page(net_page)
    box = box_by_title(net_page)["8. "]
    lines = data_of(net_page)["links"][box]
    place = {
        "box": f"#g-{box}",
        "row": f'.row[data-box="{box}"]',
        "line": f'.line[data-box="{box}"] >> nth=-1',
    }[pane]
    browsed.locator(place).hover()
    assert lit(browsed) == ([box], [box], lines)
    assert browsed.locator("#readout").inner_text().startswith("8. z̄1 = x̄1 * (1 - x1 * x1): tanh")
    browsed.mouse.move(5, 5)
    assert lit(browsed) == ([], [], [])


def test_every_box_lights_its_own(neuron_page: Page, open_page: Open) -> None:
    browsed = open_page(neuron_page)
    has_row = {b.get_attribute("data-box") for b in browsed.locator(".row").all()}
    for box, lines in data_of(neuron_page)["links"].items():
        browsed.locator(f"#g-{box}").hover()
        assert lit(browsed) == ([box], [box] if box in has_row else [], lines)
    assert has_row == {b for b in data_of(neuron_page)["links"] if b not in ("n0", "n1", "n2", "n3")}


def test_a_line_belongs_to_the_formula_that_made_it(net_page: Page, open_page: Open) -> None:
    """z̄2 is computed by step 2 and handed on by step 3: the line is that of step 2."""
    derivation = net()
    (line,) = compiled(derivation).lines[derivation.steps[2].contribution]
    browsed = open_page(net_page)
    browsed.locator(f'.line[data-line="{line}"]').hover()
    assert lit(browsed)[0] == [box_by_title(net_page)["2. "]]


def test_a_click_pins_and_another_lets_go(net_page: Page, open_page: Open) -> None:
    browsed = open_page(net_page, "s=3")
    box, other = box_by_title(net_page)["10. "], box_by_title(net_page)["x1:"]
    pinned = browsed.locator(f"#g-{box}")
    pinned.click()
    browsed.locator(f"#g-{other}").hover()
    assert lit(browsed)[0] == [box]
    assert pinned.get_attribute("aria-pressed") == "true"
    line = browsed.locator(".line.lit").last
    pane, seen = browsed.locator("#code").bounding_box(), line.bounding_box()
    assert pane is not None
    assert seen is not None
    assert pane["y"] <= seen["y"] <= pane["y"] + pane["height"] - seen["height"]  # brought into sight
    pinned.click()
    assert pinned.get_attribute("aria-pressed") == "false"
    browsed.locator(f'.row[data-box="{box}"]').click()
    browsed.keyboard.press("Escape")
    assert browsed.locator(".pinned").count() == 0
    assert "p=" not in browsed.url


def test_with_the_keyboard_alone(net_page: Page, open_page: Open) -> None:
    browsed = open_page(net_page)
    reached: list[str] = []
    for _ in range(60):
        browsed.keyboard.press("Tab")
        id = browsed.evaluate("document.activeElement.id || document.activeElement.className.toString()")
        if id in reached or not id:
            break
        reached.append(id)
    boxes = [f"g-{b}" for b in data_of(net_page)["boxes"]]
    assert [id for id in reached if id.startswith("g-")] == boxes
    for id in ("larger", "theme", "graph", "formulas", "code", "values", "back", "steps", "forth", "predict", "scrub"):
        assert id in reached
    assert len(reached) == len(boxes) + 13  # rows and lines are one stop each

    box = box_by_title(net_page)["z1:"]
    browsed.focus(f"#g-{box}")
    browsed.keyboard.press("Enter")
    assert browsed.locator(".box.pinned").evaluate_all("all => all.map(e => e.id)") == [f"g-{box}"]
    assert lit(browsed) == ([box], [box], data_of(net_page)["links"][box])
    browsed.keyboard.press("Space")
    assert browsed.locator(".box.pinned").count() == 0

    rows = [r.get_attribute("data-box") for r in browsed.locator(".row").all()]
    browsed.locator(".row").first.focus()
    browsed.keyboard.press("ArrowDown")
    assert lit(browsed)[0] == [rows[1]]
    browsed.keyboard.press("ArrowUp")
    assert lit(browsed)[0] == [rows[0]]
    browsed.locator(".line[data-box]").first.focus()
    browsed.keyboard.press("Enter")
    assert browsed.locator(".box.pinned").count() == 1
