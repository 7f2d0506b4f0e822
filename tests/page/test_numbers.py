"""Numbers on the page: what a run recorded, what is not known yet, what is not finite, and gradient checks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page as Browsed

import graphgrad as gg
from graphgrad.derive import derive
from graphgrad.operator import OPERATORS
from graphgrad.operators.rows import elementwise
from graphgrad.page import Page
from graphgrad.render.theme import LIGHT, mixed
from graphgrad.types import Array
from tests.page.browser import NUMBERS, RECORDS, Open, batch, box_by_title, by_hand, data_of, neuron, run, shown

pytestmark = pytest.mark.slow


def at_record(t: int) -> dict[str, Array]:
    return by_hand({**batch(), **{name: a[t] for name, a in run()["parameters"].items()}})


def table(array: Array) -> list[list[str]]:
    return [[shown(v) for v in row] for row in np.atleast_2d(array)]


def told(browsed: Browsed, box: str) -> str:
    browsed.locator(f"#g-{box}").hover()
    return browsed.locator("#readout").inner_text()


def parts(text: str) -> dict[str, list[list[str]]]:
    """The numbers below "value:" and below "gradient:"."""
    found: dict[str, list[list[str]]] = {}
    for line in text.split("\n")[1:]:
        name, colon, rest = line.partition(":")
        if colon:
            now = found[name] = []
        if numbers := (rest if colon else line).split():
            now.append(numbers)
    return found


def colours(browsed: Browsed, box: str) -> list[tuple[float, ...]]:
    fills = browsed.eval_on_selector_all(f"#g-{box} .strip rect", "all => all.map(e => getComputedStyle(e).fill)")
    return [tuple(float(v) for v in re.findall(r"[\d.]+", fill.replace("srgb", ""))[:3]) for fill in fills]


def mixture(share: float) -> tuple[float, ...]:
    code = mixed(LIGHT["zero"], LIGHT["positive" if share >= 0 else "negative"], abs(share))
    return tuple(int(code[i : i + 2], 16) / 255 for i in (1, 3, 5))


@pytest.mark.parametrize("t", [0, 1, 57, RECORDS - 1])
def test_a_record_shows_what_numpy_computes(t: int, net_page: Page, open_page: Open) -> None:
    wanted = at_record(t)
    gradients = {"W1:": "11, 12. ", "b1:": "10. ", "W2:": "6, 7. ", "b2:": "4. ", "x1:": "5. ", "z2:": "2. "}
    browsed = open_page(net_page)
    browsed.locator("#scrub").fill(str(t))
    for title, box in box_by_title(net_page).items():
        found = parts(told(browsed, box))
        assert found["value"] == table(wanted[title]), title
        if title in gradients:
            assert found["gradient"] == table(wanted[gradients[title]]), title
    loss = browsed.locator(f"#g-{box_by_title(net_page)['loss:']} .number text:not(.dash)")
    assert loss.text_content() == shown(float(wanted["loss:"]))


@pytest.mark.parametrize("t", [0, RECORDS - 1])
def test_colours_mean_the_same_in_every_record(t: int, net_page: Page, open_page: Open) -> None:
    records = [at_record(k) for k in range(RECORDS)]
    forward, backward = (
        max(float(np.abs(r[name]).max()) for r in records for name in r if name[0].isdigit() == steps and r[name].ndim)
        for steps in (False, True)
    )
    browsed = open_page(net_page)
    browsed.locator("#scrub").fill(str(t))
    for title, box in box_by_title(net_page).items():
        array = records[t][title]
        if array.ndim:
            scale = backward if title[0].isdigit() else forward
            wanted = [mixture(v / scale) for v in array.ravel()]
            np.testing.assert_allclose(colours(browsed, box), wanted, atol=0.008, err_msg=title)


def test_the_loss_that_was_recorded(net_page: Page, open_page: Open) -> None:
    losses = run()["loss"]
    browsed = open_page(net_page)
    for t in (0, 44, RECORDS - 1):
        browsed.locator("#scrub").fill(str(t))
        assert browsed.locator("#when").inner_text() == f"step {10 * t}, loss {shown(losses[t])}"
    curve = browsed.locator("#curve path").get_attribute("d")
    assert curve is not None
    points = np.array([[float(v) for v in p.split()] for p in curve[1:].split("L")])
    np.testing.assert_allclose(points[:, 0], np.linspace(4, 156, RECORDS), atol=0.06)
    spread = losses.max() - losses.min()
    np.testing.assert_allclose(points[:, 1], 32 - 28 * (losses - losses.min()) / spread, atol=0.06)
    dot = browsed.locator("#curve circle")
    assert [float(dot.get_attribute(a) or "nan") for a in ("cx", "cy")] == pytest.approx(points[-1], abs=0.06)


def test_page_up_and_down_scrub(net_page: Page, open_page: Open) -> None:
    browsed = open_page(net_page, "t=5")
    browsed.keyboard.press("PageDown")
    browsed.keyboard.press("PageDown")
    browsed.keyboard.press("PageUp")
    assert browsed.locator("#when").inner_text().startswith("step 60, ")


def test_what_is_not_derived_yet_is_a_dash_and_never_0(neuron_page: Page, open_page: Open) -> None:
    """Of one neuron every value is a number. The last step gives the gradient of w, the one before that of b."""
    browsed = open_page(neuron_page, "s=0")
    steps, last = data_of(neuron_page)["steps"], len(data_of(neuron_page)["steps"]) - 1
    gradients = {"n2": last, "n3": last - 1, "n5": 4, "n8": 1}
    for s in range(last + 1):
        for k, step in enumerate(steps[1:], 1):
            visible = browsed.locator(f"#g-{step['box']} .number text").evaluate_all(
                "all => all.filter(e => getComputedStyle(e).visibility === 'visible').map(e => e.textContent)"
            )
            assert (visible == ["—"]) == (k > s), (s, k, visible)
            assert len(visible) == 1
        for box, since in gradients.items():
            assert ("gradient: — not known yet" in told(browsed, box)) == (s < since), (s, box)
        later = steps[min(s + 1, last)]["box"]
        assert ("value: — not known yet" in told(browsed, later)) == (s < last)
        browsed.keyboard.press("ArrowRight")


def test_the_strip_of_what_is_not_derived_yet_is_blank(net_page: Page, open_page: Open) -> None:
    browsed = open_page(net_page, "s=0")
    assert set(colours(browsed, box_by_title(net_page)["6, 7. "])) == {(255.0, 255.0, 255.0)}
    browsed.keyboard.press("End")
    assert (255.0, 255.0, 255.0) not in colours(browsed, box_by_title(net_page)["6, 7. "])


def test_a_run_that_diverged(open_page: Open) -> None:
    """Numbers too large and too small for 32 bits, then infinity and NaN, read as they are."""
    derivation = neuron()
    w = np.array([0.5, 1e200, np.inf, np.nan])
    run = {"parameters": {"w": w, "b": np.array([0.0, 1e-300, 0.0, 0.0])}, "loss": np.array([2, 1e99, np.inf, np.nan])}
    browsed = open_page(gg.explain(derivation, values={"x": 1.0, "y": 1.0}, run=run, engine="layered"))
    found = []
    for t in range(4):
        browsed.locator("#scrub").fill(str(t))
        found.append([*(told(browsed, b).split("\n")[1] for b in ("n2", "n3")), browsed.inner_text("#when")])
    assert found == [
        ["value: 0.5", "value: 0", "step 0, loss 2"],
        ["value: 1e+200", "value: 1e−300", "step 1, loss 1e+99"],
        ["value: ∞", "value: 0", "step 2, loss ∞"],
        ["value: nan", "value: 0", "step 3, loss nan"],
    ]


def test_a_run_without_its_loss_gets_the_one_of_the_values(open_page: Open) -> None:
    run = {"parameters": {"w": np.array([0.0, 1.0])}}
    page = gg.explain(neuron(), values=NUMBERS, run=run, engine="layered")
    loss = [(1 / (1 + np.exp(-(w * 1.5 + 0.25))) - 1) ** 2 for w in (0, 1)]
    assert data_of(page)["run"]["loss"] == pytest.approx(loss, rel=1e-5)
    assert data_of(page)["run"]["k"] == [0, 1]
    browsed = open_page(page, "t=1")
    assert browsed.inner_text("#when") == f"step 1, loss {shown(loss[1])}"


def test_a_large_array_is_told_as_means_of_blocks(open_page: Open) -> None:
    g = gg.Graph()
    x, w = g.input("x", (20,)), g.parameter("w", (20,))
    values = {"x": np.arange(20.0), "w": np.ones(20)}
    page = gg.explain(derive(gg.sum(x * w)), values=values, engine="layered")
    means = [shown(float(part.mean())) for part in np.array_split(values["x"], 8)]
    assert told(open_page(page), "n0").split() == [
        *"x: input (20,) float64 value: (20), means of blocks".split(),
        *means,
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Gradient checks
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def wrong() -> Iterator[Any]:
    """An operator whose rule is off by a tenth."""
    yield elementwise(
        "wrong",
        formula="x**2",
        reference=np.square,
        numpy="np.square({x}, out={out})",
        pullback=lambda g, x, y: g * (2.2 * x),
    )
    del OPERATORS["wrong"]


def test_badges_of_right_gradients(net_page: Page, open_page: Open) -> None:
    browsed = open_page(net_page)
    badges = browsed.get_by_role("list", name="Gradient check").get_by_role("listitem")
    assert [b.inner_text().split()[:2] for b in badges.all()] == [["✓", name] for name in ("W1", "b1", "W2", "b2")]
    for badge in badges.all():
        assert "agrees with central differences, largest difference " in (badge.text_content() or "")


def test_a_badge_of_a_wrong_gradient(wrong: Any, open_page: Open) -> None:
    g = gg.Graph()
    a, b = g.parameter("a"), g.parameter("b")
    page = gg.explain(derive(wrong(a) + b**2), values={"a": 1.0, "b": 2.0}, engine="layered")
    browsed = open_page(page)
    bad, good = browsed.locator(".badge.bad"), browsed.locator(".badge.good")
    assert bad.inner_text().split()[:2] == ["✗", "a"]
    assert "differs from central differences by 2.0e-01" in (bad.text_content() or "")
    assert good.inner_text().split()[:2] == ["✓", "b"]
    assert bad.evaluate("e => getComputedStyle(e).borderStyle") == "dashed"  # not by its colour alone


def test_without_values_there_is_nothing_to_check_and_no_number(open_page: Open) -> None:
    browsed = open_page(gg.explain(neuron(), engine="layered"), "s=3")
    assert browsed.locator(".badge, .number, .strip").count() == 0
    assert told(browsed, "n2") == "w: parameter () float64"
    assert browsed.locator("#training").is_hidden()
