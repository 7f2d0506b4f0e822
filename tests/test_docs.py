"""What the documentation says is so: its code runs, its links lead somewhere, its generated page is current."""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import graphgrad as gg

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


BLOCKS = re.compile(r"^```(python|console)\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", re.MULTILINE | re.DOTALL)


def program_of(page: Path) -> str:
    """All blocks of a page in order, as one program. In a block of a console, "$" begins a line that a shell runs."""
    written = ""
    for kind, block, _ in BLOCKS.findall(page.read_text(encoding="utf-8")):
        if kind == "python":
            written += f"{block}\n\n"
            continue
        for line in re.findall(r"^\$ (.*)", block, re.MULTILINE):
            written += f"import subprocess\nsubprocess.run({line!r}, shell=True, stderr=subprocess.STDOUT)\n\n"
    return written


def shown_by(page: Path) -> list[tuple[str, str]]:
    """What a page shows as output: the text right below a block of Python, and what stands below a shell's line."""
    shown = []
    for kind, block, text in BLOCKS.findall(page.read_text(encoding="utf-8")):
        parts = re.split(r"^\$ .*\n", block, flags=re.MULTILINE)[1:] if kind == "console" else [text]
        shown += [(kind, part) for part in parts if part]
    return shown


FRACTION = re.compile(r"-?\b\d+\.\d+(?:e[+-]?\d+)?")


def occurs(output: str, printed: str, kind: str) -> bool:
    """Whether a page's output was printed, but for lines of the page, and where a command trained, the last digits."""
    output, printed = (re.sub(r"page\.py:\d+", "page.py:#", text) for text in (output, printed))
    if kind != "console":
        return output in printed
    pattern = "(-?[0-9.]+(?:e[+-]?[0-9]+)?)".join(map(re.escape, FRACTION.split(output)))
    wanted = [float(number) for number in FRACTION.findall(output)]
    found = [[float(number) for number in match.groups()] for match in re.finditer(pattern, printed)]
    return any(numbers == pytest.approx(wanted, rel=0.01) for numbers in found)


def test_another_number_is_another_output() -> None:
    assert occurs("loss 0.25, r2 0.9\n", "epoch 3: loss 0.2501, r2 0.9\nsaved", "console")
    assert not occurs("loss 0.25, r2 0.9\n", "epoch 3: loss 0.25, r2 0.7\nsaved", "console")
    assert not occurs("loss 0.25\n", "loss 0.2501\n", "python")


WITH_CODE = [page for page in PAGES if program_of(page)]


def test_there_is_code_to_run() -> None:
    assert {"README.md", "tutorial.md", "gallery.md", "pictures.md"} <= {page.name for page in WITH_CODE}
    assert "optimizers.md" in {page.name for page in WITH_CODE if shown_by(page)}


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """All blocks of a page in order, as one program, in a directory of their own."""
    (tmp_path / "page.py").write_text(program_of(page), encoding="utf-8")
    command = [sys.executable, "-W", "error", "page.py"]
    environment = with_command(tmp_path_factory.mktemp("bin"))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    for kind, output in shown_by(page):
        assert occurs(output, done.stdout, kind), f"{output}\nwas not printed:\n{done.stdout}"


def with_command(folder: Path) -> dict[str, str]:
    """The environment, with graphgrad as a package and as a command."""
    program = folder / "graphgrad"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m graphgrad.cli "$@"\n')
    program.chmod(0o755)
    paths = {"PYTHONPATH": str(ROOT), "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    return {**os.environ, **paths, "PYTHONIOENCODING": "utf-8"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if not link.startswith("https://"):
            assert (page.parent / unquote(link)).exists(), link


@pytest.mark.parametrize(("function", "heading"), [(gg.train, "All arguments"), (gg.Trainer, "The trainer")])
def test_the_arguments_of_training_are_told_with_their_defaults(function: Callable[..., Any], heading: str) -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?:^## |\Z)", page, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `(\w+)` \| `?([^|`]+?)`? \|", section, re.MULTILINE)
    named = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert rows == [(p.name, repr(p.default).replace("'", '"')) for p in named]


@pytest.mark.parametrize("script", ["make_operators", "make_picture"])
def test_a_script_of_the_documentation_runs(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    __import__(script)


def test_the_page_of_operators_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import make_operators  # type: ignore[import-not-found]

    written = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    assert written == make_operators.page(), "run: python docs/make_operators.py"
    for name in ("### tanh", "### matmul", "### cross_entropy", "- `x\u0304 = y\u0304 * (1 - y * y)`"):
        assert f"\n{name}\n" in written


def titles(svg: str) -> list[str]:
    return re.findall(r"<title>([^<]*)</title>", svg)


def test_the_pictures_are_what_their_code_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their text is outlines, but what is drawn has a title that is read out. Coordinates are Graphviz's."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import make_picture  # type: ignore[import-not-found]

    docs = ROOT / "docs"
    pictures = make_picture.pictures()
    assert len(pictures) > 15
    for name, picture in pictures.items():
        written = (docs / name).read_text(encoding="utf-8")
        assert titles(written) == titles(picture.svg()), f"{name}: run python docs/make_picture.py"
        assert len(written) < 200_000
    files = {path.relative_to(docs).as_posix() for path in (docs / "images").rglob("*.svg")}
    assert files == set(pictures), "images that no page shows, or that are missing"
