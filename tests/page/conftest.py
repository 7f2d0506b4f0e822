"""One browser for all tests of a process; each page that a test opens must make no request and report no error."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from playwright.sync_api import Page as Browsed

from graphgrad.page import Page, explain
from tests.page.browser import NUMBERS, Open, batch, missing, net, neuron, run

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        missing(f"{CHROMIUM} is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    contexts: list[BrowserContext] = []
    wrong: list[str] = []
    count = itertools.count()

    def opened(what: Page | str, state: str = "", **context: Any) -> Browsed:
        file = tmp_path / f"page{next(count)}.html"
        file.write_text(what if isinstance(what, str) else what.html(), encoding="utf-8")
        contexts.append(browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **context}))
        browsed = contexts[-1].new_page()
        browsed.set_default_timeout(5000)
        own = file.as_uri()
        browsed.on("request", lambda r: None if r.url.split("#")[0] == own else wrong.append(f"request of {r.url}"))
        browsed.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
        browsed.on("pageerror", lambda e: wrong.append(str(e)))
        browsed.goto(own + (f"#{state}" if state else ""))
        return browsed

    yield opened
    for c in contexts:
        c.close()
    assert wrong == []


@pytest.fixture(scope="session")
def neuron_page() -> Page:
    return explain(neuron(), values=NUMBERS, engine="layered")


@pytest.fixture(scope="session")
def net_page() -> Page:
    return explain(net(), values=batch(), run=run(), engine="layered")
