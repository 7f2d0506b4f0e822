"""`gg.explain` without a browser: mistakes, names with markup in them, sizes, the same bytes on every run."""

from __future__ import annotations

import hashlib
import html
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.demo import digits_data, digits_network, one_batch
from graphgrad.errors import GraphgradError
from graphgrad.page import Page
from tests.page.browser import NUMBERS, Open, batch, data_of, net, neuron, run

W = np.zeros(3)
SHAPE = 'run is a mapping {"parameters": {name: array of shape (steps, *shape)}, "loss": ..., "k": ...}'
LENGTH = "run: the arrays of all parameters hold the same number of steps, at least one"

RUNS: list[tuple[Any, str]] = [
    ([W], SHAPE + ", but list was given"),
    ({}, SHAPE + ", but one without parameters was given"),
    ({"parameters": {}}, SHAPE + ", but one without parameters was given"),
    ({"parameters": [W]}, SHAPE + ", but one without parameters was given"),
    ({"parameters": {"w": W, "b": W[:2]}}, LENGTH),
    ({"parameters": {"w": W[:0]}}, LENGTH),
    ({"parameters": {"w": 1.0}}, LENGTH),
    ({"parameters": {"q": W}}, "run: q is no leaf of the graph of L"),
    ({"parameters": {"z": W}}, "run: z is no leaf of the graph of L"),
    ({"parameters": {"w": np.zeros((3, 2))}}, "run: w has shape (3, 2), but (steps,) is wanted"),
    ({"parameters": {"w": W}, "loss": W[:2]}, "run: loss has shape (2,), but (3,) is wanted"),
    ({"parameters": {"w": W}, "k": np.zeros((3, 1))}, "run: k has shape (3, 1), but (3,) is wanted"),
    ({"parameters": {"w": W}, "losses": W}, "run: losses is unknown; there are: parameters, loss, k"),
    ({"parameters": {"w": W}, "loss": ["a", "b", "c"]}, "run: loss is str32, but numbers are wanted"),
    ({"parameters": {"w": W}}, "no value was given for b"),
]


@pytest.mark.parametrize(("given", "message"), RUNS, ids=[str(k) for k in range(len(RUNS))])
def test_a_run_that_does_not_fit(given: Any, message: str) -> None:
    with pytest.raises(GraphgradError) as told:
        gg.explain(neuron(), values={"x": 1.0, "y": 1.0}, run=given, engine="layered")
    assert str(told.value).split("\n")[0] == message


def test_a_parameter_without_its_steps() -> None:
    with pytest.raises(GraphgradError) as told:
        gg.explain(net(), values=batch(), run={"parameters": {"W1": np.zeros((3, 2))}}, engine="layered")
    assert str(told.value).split("\n")[0] == "run: W1 has shape (3, 2), but (steps, 3, 2) is wanted"


VALUES: list[tuple[dict[str, Any], str]] = [
    ({"x": 1.0, "w": 1.0}, "no value was given for y, b"),
    ({**NUMBERS, "q": 1.0}, "no leaf is named q; there are: b, w, x, y"),
    ({**NUMBERS, "w": [1.0, 2.0]}, "w has shape (2,), but 0 dimensions were declared: ()"),
    ({**NUMBERS, "w": "one"}, "w is str96, but float64 was declared"),
]


@pytest.mark.parametrize(("values", "message"), VALUES, ids=[str(k) for k in range(len(VALUES))])
def test_values_that_do_not_fit(values: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphgradError) as told:
        gg.explain(neuron(), values=values, engine="layered")
    assert str(told.value).split("\n")[0] == message


def test_other_mistakes() -> None:
    with pytest.raises(GraphgradError) as told:
        gg.explain(neuron().scalar)  # type: ignore[arg-type]
    assert str(told.value) == "explain takes a Derivation, as gg.derive(loss) gives, but Tensor was given"
    with pytest.raises(GraphgradError, match=r"^lang 'fr' does not exist; there are: en, es$"):
        gg.explain(neuron(), lang="fr")


class Elements(HTMLParser):
    """The tags of a page, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def named(x: str, w: str, z: str, loss: str) -> Page:
    g = gg.Graph()
    value = (g.input(x, (2,)) * g.parameter(w, (2,))).named(z)
    page = gg.explain(gg.derive(gg.sum(value).named(loss)), title=f"{x} {w}", engine="layered")
    assert isinstance(page, Page)
    return page


def test_names_are_text_and_never_markup(open_page: Open) -> None:
    odd = ("a & b < c", 'w" onclick="x', "</script><b>z", "<!-- l > {{data}} '")
    page = named(*odd)
    assert Elements(page.html()).tags == Elements(named("x", "w", "z", "loss").html()).tags
    assert data_of(page)["title"] == f"{odd[0]} {odd[1]}"
    browsed = open_page(page, "s=1")
    assert browsed.title() == f"{odd[0]} {odd[1]}"
    labels = [box.get_attribute("aria-label") or "" for box in browsed.locator(".box").all()]
    for name in odd:
        assert any(name in label for label in labels)
    assert html.escape(page.html(), quote=True) in page._repr_html_()


def digits() -> tuple[gg.Derivation, dict[str, Any]]:
    network = digits_network()
    return gg.derive(network.loss), one_batch(network, digits_data())


def test_the_size_of_the_digits_page() -> None:
    derivation, values = digits()
    assert len(gg.explain(derivation, values=values, engine="layered").html().encode()) < 1_500_000


def test_a_long_run_is_thinned_and_stays_within_the_budget() -> None:
    derivation, values = digits()
    steps = 1000
    parameters = {t.name: np.repeat(values[t.name][None], steps, axis=0) for t in derivation.graph.leaves("parameter")}
    page = gg.explain(
        derivation,
        values=values,
        run={"parameters": parameters, "k": 7 * np.arange(steps), "loss": np.arange(steps)},
        engine="layered",
    )
    assert len(page.html().encode()) < 1_500_000
    run = data_of(page)["run"]
    numbers = sum(len(one["data"]) * 3 / 4 for pair in run["series"].values() for one in pair.values())
    assert 250_000 < numbers <= 505_000
    assert 40 < len(run["k"]) < steps
    assert (run["k"][0], run["k"][-1]) == (0, 7 * (steps - 1))  # the first and the last are kept
    assert [7 * v for v in run["loss"]] == run["k"]
    gaps = np.diff(run["k"])
    assert gaps.max() - gaps.min() <= 7  # evenly


def test_a_run_of_small_arrays_keeps_four_hundred_records() -> None:
    found = data_of(gg.explain(net(), values=batch(), run=run(3000), engine="layered"))["run"]
    assert len(found["k"]) == len(found["loss"]) == 400
    assert (found["k"][0], found["k"][-1]) == (0, 29990)


PROGRAM = """
import hashlib, graphgrad as gg
from tests.page.browser import batch, net, run
page = gg.explain(net(), values=batch(), run=run(3), engine="layered")
print(hashlib.sha256(page.html().encode()).hexdigest())
"""


def test_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    here = gg.explain(net(), values=batch(), run=run(3), engine="layered")
    here.save(tmp_path / "page.html")
    written = (tmp_path / "page.html").read_bytes()
    assert found == {hashlib.sha256(written).hexdigest()}


def test_a_page_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(GraphgradError, match=r"saved as \.html, but 'page\.svg' was given"):
        gg.explain(net(), engine="layered").save(tmp_path / "page.svg")
    assert not list(tmp_path.iterdir())
