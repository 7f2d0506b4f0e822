"""Stepping through a derivation: keys, buttons, the slider, the sentence of each step, prediction, the address."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pytest
from playwright.sync_api import Page as Browsed

import graphgrad as gg
from graphgrad.page import Page
from graphgrad.render.backward import shares
from graphgrad.render.draw import Options, prepare
from graphgrad.render.sentences import TOLD, sentence
from tests.page.browser import LATE, NUMBERS, Open, box_by_title, data_of, net, neuron

SENTENCES = [
    "The forward pass. The derivation goes backwards from L.",
    "Step 1, seed: the derivative of L by itself is 1. L̄ = 1.",
    "Step 2, rule square, from L = v7². In general x̄ = ȳ * 2 * x; here v̄7 = L̄ * 2 * v7.",
    "Step 3, rule subtract, from v7 = p - y. In general x̄ = z̄; here p̄ = v̄7.",
    "Step 4, rule sigmoid, from p = σ(z). In general x̄ = ȳ * y * (1 - y); here z̄ = p̄ * p * (1 - p).",
    "Step 5, rule add, from z = v4 + b. In general x̄ = z̄; here v̄4 = z̄.",
    "Step 6, rule add, from z = v4 + b. In general ȳ = z̄; here b̄ = z̄.",
    "Step 7, rule multiply, from v4 = w * x. In general x̄ = z̄ * y; here w̄ = v̄4 * x.",
]
SPANISH = "Paso 4, regla sigmoid, desde p = σ(z). En general x̄ = ȳ * y * (1 - y); aquí z̄ = p̄ * p * (1 - p)."


def composed(text: str) -> str:
    """ȳ is one character or two."""
    return unicodedata.normalize("NFC", text)


SENTENCES = [composed(s) for s in SENTENCES]


def told(browsed: Browsed) -> str:
    return composed(browsed.locator("#sentence").inner_text())


def here(s: int) -> str:
    """The formula that a sentence ends with."""
    return re.split("here |is 1. ", SENTENCES[s])[-1].rstrip(".")


def test_the_sentences_of_one_neuron(neuron_page: Page, open_page: Open) -> None:
    browsed = open_page(neuron_page, "s=0")
    found = [told(browsed)]
    for _ in SENTENCES[1:]:
        browsed.keyboard.press("ArrowRight")
        found.append(told(browsed))
    assert found == SENTENCES


def test_forwards_and_back_through_the_whole_derivation(net_page: Page, open_page: Open) -> None:
    derivation = net()
    made = prepare(derivation, Options())
    start = TOLD["en"]["start"].format(name="loss")
    wanted = [start, *(sentence(made.drawn, derivation, s) for s in shares(made.drawn, derivation))]
    browsed = open_page(net_page, "s=0")
    steps, last = data_of(net_page)["steps"], len(wanted) - 1

    def check(s: int) -> None:
        assert told(browsed) == composed(wanted[s])
        assert browsed.locator("#count").inner_text() == f"formula {s} of {last}"
        now = browsed.locator(".box.now").evaluate_all("boxes => boxes.map(b => b.id.slice(2))")
        assert now == ([steps[s]["box"]] if s else [])
        assert browsed.locator(".box.later").count() == last - s

    check(0)
    for key, order in (("ArrowRight", range(1, last + 1)), ("ArrowLeft", range(last - 1, -1, -1))):
        for s in order:
            browsed.keyboard.press(key)
            check(s)
        browsed.keyboard.press(key)  # beyond the end
        check(order[-1])


def test_home_end_buttons_and_slider(neuron_page: Page, open_page: Open) -> None:
    browsed = open_page(neuron_page)
    assert told(browsed) == SENTENCES[-1]
    browsed.keyboard.press("Home")
    assert told(browsed) == SENTENCES[0]
    browsed.click("#forth")
    browsed.click("#forth")
    assert told(browsed) == SENTENCES[2]
    browsed.click("#back")
    assert told(browsed) == SENTENCES[1]
    browsed.locator("#steps").fill("5")
    assert told(browsed) == SENTENCES[5]
    browsed.locator("#steps").press("ArrowLeft")  # once, by the slider itself
    assert told(browsed) == SENTENCES[4]
    browsed.focus("#predict")
    browsed.keyboard.press("End")  # a checkbox has no use for it
    assert told(browsed) == SENTENCES[7]


def test_the_current_formula_and_code_come_into_sight(net_page: Page, open_page: Open) -> None:
    browsed = open_page(net_page, "s=0", viewport={"width": 1024, "height": 700})
    last = len(data_of(net_page)["steps"]) - 1
    for _ in range(last):
        browsed.keyboard.press("ArrowRight")
        hidden = browsed.evaluate(
            """() => [...document.querySelectorAll(".pane")].filter((pane) => {
                const marked = [...pane.querySelectorAll(".now")].filter((e) => !e.matches(".edge")).pop();
                if (!marked) return false;
                const a = marked.getBoundingClientRect(), b = pane.getBoundingClientRect();
                return a.top < b.top - 1 || a.bottom > b.bottom + 1 || a.left < b.left - 1 || a.right > b.right + 1;
            }).map((pane) => pane.id)"""
        )
        assert hidden == []
    assert browsed.evaluate("scrollY") == 0


# ---------------------------------------------------------------------------------------------------------------------
# Predict, then reveal
# ---------------------------------------------------------------------------------------------------------------------


def everything_said(browsed: Browsed) -> str:
    """All that can be read or heard: visible text, names of what is there, and titles of boxes."""
    found: str = browsed.evaluate(
        """() => {
            const named = [...document.querySelectorAll("[aria-label], [aria-valuetext], [title]")];
            const names = named.flatMap((e) => [e.ariaLabel, e.getAttribute("aria-valuetext"), e.title]);
            const titles = [...document.querySelectorAll("title")].map((e) => e.textContent);
            return [document.body.innerText, ...names, ...titles].join("\\n");
        }"""
    )
    return composed(found)


@pytest.mark.parametrize("s", range(1, 8))
def test_a_formula_that_is_to_be_predicted_stands_nowhere(s: int, neuron_page: Page, open_page: Open) -> None:
    browsed = open_page(neuron_page, f"s={s - 1}")
    browsed.check("#predict")
    browsed.evaluate("document.activeElement.blur()")
    browsed.keyboard.press("ArrowRight")
    box = data_of(neuron_page)["steps"][s]["box"]
    browsed.locator(f"#g-{box}").hover(force=True)
    hidden = everything_said(browsed)
    assert told(browsed) == "What comes next? Say it, then reveal it."
    assert "to be predicted" in hidden
    assert [k for k in range(1, 8) if here(k) in hidden] == list(range(1, s))
    assert browsed.locator(f"#g-{box} path").first.is_hidden()
    assert browsed.locator(f'.row[data-box="{box}"] svg').is_hidden()
    new = set(data_of(neuron_page)["links"][box])
    for before in data_of(neuron_page)["steps"][1:s]:
        new -= set(data_of(neuron_page)["links"][before["box"]])
    forward = {n for id, lines in data_of(neuron_page)["links"].items() if id[0] == "n" for n in lines}
    for line in new - forward:
        assert browsed.locator(f'.line[data-line="{line}"]').is_hidden()
    browsed.click("#reveal")
    assert told(browsed) == SENTENCES[s]
    assert here(s) in everything_said(browsed)
    assert browsed.locator(f"#g-{box} path").first.is_visible()
    assert browsed.locator("#reveal").is_hidden()
    assert browsed.evaluate("document.activeElement.id") == "forth"  # the keyboard goes on where it was


def test_who_goes_back_has_seen_it(neuron_page: Page, open_page: Open) -> None:
    browsed = open_page(neuron_page, "s=4")
    browsed.check("#predict")
    assert told(browsed) == "What comes next? Say it, then reveal it."
    browsed.keyboard.press("ArrowLeft")
    assert told(browsed) == SENTENCES[3]
    browsed.uncheck("#predict")
    browsed.keyboard.press("ArrowRight")
    assert told(browsed) == SENTENCES[4]
    assert browsed.locator(".secret").count() == 0


# ---------------------------------------------------------------------------------------------------------------------
# The address
# ---------------------------------------------------------------------------------------------------------------------


def test_the_address_brings_step_record_and_pin_back(net_page: Page, open_page: Open) -> None:
    browsed = open_page(net_page, "s=0")
    pinned = box_by_title(net_page)["W2:"]
    for _ in range(4):
        browsed.keyboard.press("ArrowRight")
    browsed.locator("#scrub").fill("70")
    browsed.locator(f"#g-{pinned}").click()
    state = browsed.url.split("#")[1]
    assert state == f"s=4&t=70&p={pinned}"

    def seen(b: Browsed) -> list[Any]:
        ids = b.locator(".pinned, .lit, .later, .now").evaluate_all("all => all.map(e => e.id + e.dataset.line)")
        return [ids, *(b.locator(f"#{id}").inner_text() for id in ("sentence", "when", "readout"))]

    assert seen(open_page(net_page, state)) == seen(browsed)
    browsed.evaluate("location.hash = '#s=2&t=3'")
    browsed.wait_for_function("document.getElementById('steps').value === '2'")
    assert browsed.locator("#scrub").input_value() == "3"
    assert browsed.locator(".pinned").count() == 0


@pytest.mark.parametrize("state", ["s=999", "s=-1", "s=x&t=1e9&p=nobody", "p=<b>", "%"])
def test_an_address_that_makes_no_sense(state: str, neuron_page: Page, open_page: Open) -> None:
    assert told(open_page(neuron_page, state)) == SENTENCES[-1]


# ---------------------------------------------------------------------------------------------------------------------
# Where it runs
# ---------------------------------------------------------------------------------------------------------------------


def test_in_spanish(open_page: Open) -> None:
    browsed = open_page(gg.explain(neuron(), values=NUMBERS, lang="es", engine="layered"), "s=4")
    assert told(browsed) == composed(SPANISH)
    assert browsed.locator("html").get_attribute("lang") == "es"
    assert browsed.locator("#count").inner_text() == "fórmula 4 de 7"
    assert browsed.get_by_role("button", name="Paso siguiente").count() == 1
    browsed.locator("#g-n2").click()
    assert "valor: −0.5\ngradiente: — aún desconocido" in browsed.locator("#readout").inner_text()
    text = "\n".join(
        browsed.locator("header, h2, footer, #readout").all_inner_texts()
    )  # the code's comments are English
    for english in ("Derivation", "Formulas", "Generated", "step", "formula", "keys", "reveal", "known"):
        assert english not in text


def test_in_a_sandboxed_frame_as_notebooks_show_it(net_page: Page, open_page: Open) -> None:
    whole = f"<!doctype html><title>notebook</title><link rel=icon href='data:,'>{net_page._repr_html_()}"
    browsed = open_page(whole)
    assert browsed.locator("iframe").get_attribute("sandbox") == "allow-scripts"
    frame = browsed.frame_locator("iframe")
    frame.locator("#back").click()
    frame.locator("#back").click()
    frame.locator("body").press("ArrowRight")
    last = len(data_of(net_page)["steps"]) - 1
    assert frame.locator("#count").inner_text() == f"formula {last - 1} of {last}"
    frame.locator("#scrub").fill("7")
    assert frame.locator("#when").inner_text().startswith("step 70, ")
    assert frame.locator(LATE).count() > 0
