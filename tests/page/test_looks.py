"""Dark and light, sizes of screens, paper, reduced motion."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page as Browsed

import graphgrad as gg
from graphgrad.demo import digits_data, digits_network, one_batch
from graphgrad.page import Page
from graphgrad.render.theme import DARK, LIGHT
from tests.page.browser import LATE, Open, batch, box_by_title, look, net, run

pytestmark = pytest.mark.slow


def rgb(code: str) -> str:
    return f"rgb({', '.join(str(int(code[i : i + 2], 16)) for i in (1, 3, 5))})"


def colours(browsed: Browsed, box: str) -> list[str]:
    return [look(browsed, "html", "backgroundColor"), look(browsed, f"#g-{box} > rect", "fill")]


def test_dark_and_light(net_page: Page, open_page: Open) -> None:
    box = box_by_title(net_page)["x:"]
    light = [rgb(LIGHT["paper"]), rgb(LIGHT["input.fill"])]
    dark = [rgb(DARK["paper"]), rgb(DARK["input.fill"])]
    browsed = open_page(net_page)
    assert colours(browsed, box) == light
    browsed.emulate_media(color_scheme="dark")
    assert colours(browsed, box) == dark
    browsed.click("#theme")
    assert colours(browsed, box) == light
    browsed.emulate_media(color_scheme="light")
    browsed.click("#theme")
    assert colours(browsed, box) == dark
    assert look(browsed, "html", "colorScheme") == "dark"


def test_reduced_motion(net_page: Page, open_page: Open) -> None:
    moving, still = open_page(net_page), open_page(net_page, reduced_motion="reduce")
    for css in (".box", ".row", ".line"):
        assert look(moving, css, "transitionDuration") == "0.15s"
        assert look(still, css, "transitionDuration") == "0s"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_shows_the_whole_picture(scheme: str, net_page: Page, open_page: Open) -> None:
    browsed = open_page(net_page, "s=2", color_scheme=scheme, viewport={"width": 794, "height": 1123})
    browsed.check("#predict")
    browsed.keyboard.press("ArrowLeft")
    browsed.keyboard.press("ArrowRight")
    assert browsed.locator(".secret").count() > 10
    browsed.emulate_media(media="print", color_scheme=scheme)  # type: ignore[arg-type]
    assert look(browsed, "html", "color") == rgb(LIGHT["ink"])
    unseen = browsed.evaluate(
        """() => [...document.querySelectorAll(".box, .edge, .row, .line, .box *, .edge *, .row *")].filter((e) =>
            !e.checkVisibility({opacityProperty: true, visibilityProperty: true}) && !e.matches("title, .dash")
            || Number(getComputedStyle(e).opacity) < 1).map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert unseen == []
    cut = browsed.evaluate(
        "[...document.querySelectorAll('.pane')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.id)"
    )
    assert cut == []
    assert browsed.evaluate("document.documentElement.scrollWidth") <= 794
    assert browsed.locator("footer, header button, #values").evaluate_all("all => all.every(e => !e.checkVisibility())")
    widths = browsed.eval_on_selector_all(".box > rect", "all => all.map(e => getComputedStyle(e).strokeWidth)")
    assert set(widths) == {"1.2px", "2px"}  # none is marked as the current one
    assert browsed.locator(LATE).count() > 0


def outside(browsed: Browsed, css: str) -> list[str]:
    """What a screen does not show without scrolling."""
    found: list[str] = browsed.eval_on_selector_all(
        css,
        """all => all.filter(e => {
            const a = e.getBoundingClientRect();
            const inside = a.left >= 0 && a.top >= 0 && a.right <= innerWidth && a.bottom <= innerHeight;
            return !inside || a.width < 20 || a.height < 8;
        }).map(e => e.id)""",
    )
    return found


SEEN = ".pane, #readout, #steps, #back, #forth, #sentence, #scrub, #when, #curve, #count, #theme"


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (1024, 768)])
@pytest.mark.parametrize("lang", ["en", "es"])
def test_all_is_in_sight_and_nothing_overlaps(width: int, height: int, lang: str, open_page: Open) -> None:
    page = gg.explain(net(), values=batch(), run=run(2), lang=lang, engine="layered")
    browsed = open_page(page, "s=2", viewport={"width": width, "height": height})
    assert outside(browsed, SEEN) == []
    assert browsed.evaluate("document.documentElement.scrollHeight <= innerHeight")
    boxes = [b for b in (e.bounding_box() for e in browsed.locator(".pane, footer, header").all()) if b is not None]
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            apart = a["x"] + a["width"] <= b["x"] + 0.5 or b["x"] + b["width"] <= a["x"] + 0.5
            assert apart or a["y"] + a["height"] <= b["y"] + 0.5 or b["y"] + b["height"] <= a["y"] + 0.5


def test_on_a_phone(net_page: Page, open_page: Open) -> None:
    """Controls and sentence stay in sight, and the current box comes into it; nothing is wider than the screen."""
    browsed = open_page(net_page, "s=1", viewport={"width": 390, "height": 844}, has_touch=True)
    for _ in range(4):
        browsed.tap("#forth")
        assert outside(browsed, "#forth, #back, #steps, #sentence") == []
        now, pane = browsed.locator(".box.now > rect").bounding_box(), browsed.locator("#graph").bounding_box()
        assert now is not None
        assert pane is not None
        assert pane["x"] <= now["x"] + 1
        assert now["x"] + now["width"] <= pane["x"] + pane["width"] + 1
    assert browsed.evaluate("document.documentElement.scrollWidth") == 390
    small = browsed.eval_on_selector("#graph svg", "e => e.getBoundingClientRect().width / e.viewBox.baseVal.width")
    assert small * 9 >= 8  # pixels of the smallest text


def test_the_digits_fit_a_screen(open_page: Open) -> None:
    digits = digits_network()
    browsed = open_page(gg.explain(gg.derive(digits.loss), values=one_batch(digits, digits_data()), engine="layered"))
    assert outside(browsed, SEEN.replace("#scrub, #when, #curve, ", "")) == []
    assert outside(browsed, ".box") == []
    assert browsed.inner_text("#count") == "formula 12 of 12"


def test_the_graph_can_be_made_larger_and_the_address_keeps_it(net_page: Page, open_page: Open) -> None:
    """At every size the box of the current step is in sight."""
    browsed = open_page(net_page, "s=1")

    def sizes() -> tuple[float, bool]:
        width = browsed.locator("#graph svg").evaluate("e => e.getBoundingClientRect().width")
        seen = browsed.locator("#graph .box.now").evaluate(
            "e => { const a = e.getBoundingClientRect(), b = e.closest('.pane').getBoundingClientRect();"
            " return a.left >= b.left && a.right <= b.right && a.top >= b.top && a.bottom <= b.bottom; }"
        )
        return width, seen

    fits, _ = sizes()
    assert browsed.locator("#smaller").is_disabled()
    browsed.locator("#larger").click()
    assert sizes() == (pytest.approx(1.25 * fits, rel=0.01), True)
    for _ in range(3):
        browsed.keyboard.press("+")
    assert sizes() == (pytest.approx(1.25**4 * fits, rel=0.01), True)
    for _ in range(4):
        browsed.keyboard.press("ArrowRight")
        assert sizes()[1]
    browsed.keyboard.press("-")
    assert browsed.url.endswith("z=3")
    browsed.reload()
    assert sizes()[0] == pytest.approx(1.25**3 * fits, rel=0.01)
