"""What the tests of the page share: nets to explain, what stands in a page, and packages of npm."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from playwright.sync_api import Page as Browsed

import graphgrad as gg
from graphgrad.derivation import Derivation
from graphgrad.page import Page
from graphgrad.types import Array

#: Opens a page, or what stands in a text, at a state such as "s=4"; other arguments are those of a browser context.
Open = Callable[..., Browsed]

RECORDS = 120
LATE = ".box.later, .row.later, .line.later"


def missing(what: str) -> NoReturn:
    """Skips a test for want of something; fails it where CI_REQUIRES_BROWSER says that all must be there."""
    if os.environ.get("CI_REQUIRES_BROWSER") == "1":
        pytest.fail(what)
    pytest.skip(what)


def npm(package: str, version: str) -> Path:
    """The folder of a package, installed once into the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graphgrad-tests"
    kept = cache / f"{package}-{version}"
    if not kept.exists():
        if shutil.which("npm") is None:
            missing(f"npm is not installed; it would fetch {package}")
        cache.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=cache))
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(made), f"{package}@{version}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(made)
            missing(f"npm could not install {package}: {done.stderr[-300:]}")
        try:
            made.rename(kept)
        except OSError:  # another process was first
            shutil.rmtree(made)
    return kept / "node_modules"


def data_of(page: Page) -> dict[str, Any]:
    """What the script of a page is given."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.html(), re.DOTALL)
    assert found is not None
    read: dict[str, Any] = json.loads(found[1])
    return read


# ---------------------------------------------------------------------------------------------------------------------
# One neuron of numbers, and a net of widths 2, 3, 1
# ---------------------------------------------------------------------------------------------------------------------

NUMBERS = {"x": 1.5, "y": 1.0, "w": -0.5, "b": 0.25}


def neuron() -> Derivation:
    """L = (σ(w x + b) - y)²."""
    g = gg.Graph()
    x, y = g.input("x"), g.input("y")
    w, b = g.parameter("w"), g.parameter("b")
    z = (w * x + b).named("z")
    p = gg.sigmoid(z).named("p")
    return gg.derive(((p - y) ** 2).named("L"))


def net() -> Derivation:
    return gg.derive(gg.feedforward([2, 3, 1], "tanh").loss)


def batch() -> dict[str, Array]:
    rng = np.random.default_rng(1)
    shapes = {"x": (4, 2), "y": (4, 1), "W1": (3, 2), "b1": (3,), "W2": (1, 3), "b2": (1,)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def run(records: int = RECORDS) -> dict[str, Any]:
    """A made-up run, in which weights grow and the loss that was recorded has a shape of its own."""
    rng = np.random.default_rng(2)
    first = {name: a for name, a in batch().items() if name not in ("x", "y")}
    parameters = {n: np.stack([a * (0.5 + t / 50) for t in range(records)]) for n, a in first.items()}
    return {"parameters": parameters, "loss": rng.random(records) + 1, "k": 10 * np.arange(records)}


def by_hand(at: dict[str, Array]) -> dict[str, Array]:
    """What the boxes of the net show, by the start of their titles: values and what each step gives."""
    x, y, W1, b1, W2, b2 = (at[name] for name in ("x", "y", "W1", "b1", "W2", "b2"))
    v5 = x @ W1.T
    x1 = np.tanh(v5 + b1)
    v11 = x1 @ W2.T
    z2 = v11 + b2
    z2_bar = 2 * (z2 - y) / len(x)
    x1_bar = z2_bar @ W2
    z1_bar = x1_bar * (1 - x1**2)
    return {
        **{f"{name}:": a for name, a in at.items()},
        "v5:": v5,
        "z1:": v5 + b1,
        "x1:": x1,
        "v11:": v11,
        "z2:": z2,
        "loss:": np.sum((z2 - y) ** 2) / len(x),
        "1. ": np.array(1.0),
        "2. ": z2_bar,
        "3. ": z2_bar,
        "4. ": z2_bar.sum(0),
        "5. ": x1_bar,
        "6, 7. ": z2_bar.T @ x1,
        "8. ": z1_bar,
        "9. ": z1_bar,
        "10. ": z1_bar.sum(0),
        "11, 12. ": z1_bar.T @ x,
    }


def box_by_title(page: Page) -> dict[str, str]:
    """The ids of the net's boxes, by the start of their titles."""
    titles = {id: box["title"] for id, box in data_of(page)["boxes"].items()}
    return {start: next(i for i, t in titles.items() if t.startswith(start)) for start in by_hand(batch())}


def shown(v: float) -> str:
    """A number as the page writes it: four digits, 0 only for 0."""
    text = f"{v:.4g}"
    if "e" in text:
        mantissa, _, power = text.partition("e")
        text = f"{mantissa}e{int(power):+d}"
    return text.replace("-", "−")


def look(browsed: Browsed, css: str, style: str) -> str:
    """A computed style of the first element that a selector finds."""
    found: str = browsed.eval_on_selector(css, f"e => getComputedStyle(e).{style}")
    return found


def lit(browsed: Browsed) -> tuple[list[str], list[str], list[int]]:
    """The boxes, the rows' boxes and the lines that are lit."""
    found = browsed.evaluate(
        "[[...document.querySelectorAll('.box.lit')].map(e => e.id.slice(2)),"
        " [...document.querySelectorAll('.row.lit')].map(e => e.dataset.box),"
        " [...document.querySelectorAll('.line.lit')].map(e => Number(e.dataset.line))]"
    )
    return found[0], found[1], found[2]
