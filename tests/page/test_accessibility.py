"""For those who hear the page: axe-core finds nothing serious, and what changes is announced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page as Browsed

import graphgrad as gg
from graphgrad.page import Page
from tests.page.browser import NUMBERS, Open, box_by_title, neuron, npm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def axe() -> Path:
    return npm("axe-core", "4.14.1") / "axe-core" / "axe.min.js"


def violations(browsed: Browsed, axe: Path) -> list[str]:
    browsed.add_script_tag(content=axe.read_text(encoding="utf-8"))
    found: dict[str, Any] = browsed.evaluate("axe.run()")
    return [
        f"{v['impact']} {v['id']}: {[node['html'][:120] for node in v['nodes'][:3]]}"
        for v in found["violations"]
        if v["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", ["middle", "predicting"])
def test_axe_finds_nothing_serious(scheme: str, state: str, axe: Path, net_page: Page, open_page: Open) -> None:
    browsed = open_page(
        net_page, f"s=4&t=9&p={box_by_title(net_page)['2. ']}", color_scheme=scheme, reduced_motion="reduce"
    )
    if state == "predicting":
        browsed.check("#predict")
    assert violations(browsed, axe) == []


def test_axe_on_a_phone_and_in_spanish(axe: Path, open_page: Open) -> None:
    page = gg.explain(neuron(), values=NUMBERS, lang="es", engine="layered")
    assert violations(open_page(page, "s=3", viewport={"width": 390, "height": 844}), axe) == []


def test_what_a_screen_reader_is_told(neuron_page: Page, open_page: Open) -> None:
    browsed = open_page(neuron_page, "s=3")
    for id in ("sentence", "readout"):
        assert browsed.locator(f"#{id}").get_attribute("aria-live") == "polite"
    for name in ("Graph", "Formulas", "Generated code", "Values"):
        assert browsed.get_by_role("region", name=name, exact=True).count() == 1
    box = browsed.locator("#graph").get_by_role("button", name="3. p̄ = v̄7: subtract, −1.245")
    assert box.count() == 1
    assert (
        browsed.locator("#formulas").get_by_role("button", name="z̄ = p̄ * p * (1 - p): sigmoid", exact=True).count() == 1
    )
    slider = browsed.get_by_role("slider", name="Derivation")
    assert slider.get_attribute("aria-valuetext") == "formula 3 of 7"
    for name in ("Previous step", "Next step", "Light or dark"):
        assert browsed.get_by_role("button", name=name, exact=True).count() == 1
    assert browsed.get_by_role("checkbox", name="predict, then reveal").count() == 1
