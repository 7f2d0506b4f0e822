"""The script of the page holds to its types, and stays small."""

from __future__ import annotations

import subprocess
from pathlib import Path

import graphgrad.page
from tests.page.browser import npm

SCRIPT = Path(graphgrad.page.__file__).parent / "assets" / "page.js"


def test_the_script_has_no_type_error() -> None:
    tsc = npm("typescript", "7.0.2") / ".bin" / "tsc"
    options = [
        "--noEmit",
        "--allowJs",
        "--checkJs",
        "--strict",
        "--target",
        "es2022",
        "--lib",
        "es2022,dom,dom.iterable",
    ]
    done = subprocess.run([tsc, *options, SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_script_is_plain_and_short() -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    assert text.startswith("// @ts-check\n")
    assert len(text.splitlines()) < 400
    for word in ("import ", "fetch", "XMLHttpRequest", "eval(", "innerHTML", "http:", "https:"):
        assert word not in text.replace("http://www.w3.org/2000/svg", ""), word
