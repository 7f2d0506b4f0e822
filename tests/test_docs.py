"""What the documentation says is so: its code runs, its links lead somewhere, its generated page is current."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def code_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def shown_by(page: Path) -> list[str]:
    """What stands as text right below a block of code: its output."""
    return re.findall(r"^```\n\n```text\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


WITH_CODE = [page for page in PAGES if code_of(page)]


def test_there_is_code_to_run() -> None:
    assert {"README.md", "tutorial.md", "gallery.md", "pictures.md"} <= {page.name for page in WITH_CODE}
    assert "optimizers.md" in {page.name for page in WITH_CODE if shown_by(page)}


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    """All blocks of a page in order, as one program, in a directory of their own."""
    (tmp_path / "page.py").write_text("\n\n".join(code_of(page)), encoding="utf-8")
    command = [sys.executable, "-W", "error", "page.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment())
    assert (done.returncode, done.stderr) == (0, "")
    for output in shown_by(page):
        assert output in done.stdout


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if not link.startswith("https://"):
            assert (page.parent / unquote(link)).exists(), link


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
