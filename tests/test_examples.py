"""Every program in examples/ runs and says what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(name: str, tmp_path: Path, *arguments: str) -> str:
    """What an example prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / name), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    return done.stdout


def number(pattern: str, text: str) -> float:
    found = re.search(pattern + r"\s*([-+\d.e]+)", text)
    assert found, f"{pattern} is not in:\n{text}"
    return float(found.group(1))


def test_no_example_is_forgotten() -> None:
    names = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert names == set(re.findall(r'run\("(\w+\.py)"', Path(__file__).read_text(encoding="utf-8")))


def test_regression(tmp_path: Path) -> None:
    text = run("01_regression.py", tmp_path)
    assert "x\u03041" in text
    full, stochastic = number(r"a pass:  *", text), number(r"16 steps a pass:", text)
    assert stochastic < full < 0.1
    assert stochastic < 0.01


def test_digits(tmp_path: Path) -> None:
    text = run("02_digits.py", tmp_path)
    for optimizer in ("SGD", "Momentum", "Adam"):
        assert number(rf"{optimizer} +test accuracy", text) > 0.93
    assert "# z1 = " in text


def test_your_own(tmp_path: Path) -> None:
    text = run("03_your_own.py", tmp_path)
    assert text.count(" ok\n") == 4
    assert number("accuracy:", text) > 0.95


def test_second_order(tmp_path: Path) -> None:
    text = run("04_second_order.py", tmp_path)
    slopes = [number(rf"step {k}: loss [\d.]+, \|gradient\|", text) for k in range(6)]
    assert slopes[5] < 1e-4 < slopes[3]
    assert number("step 5: loss", text) < number("after 500 steps: loss", text)
    fast, slow = (re.findall(r"-?\d\.\d+", part) for part in text.splitlines()[-1].split(", with H:"))
    assert fast == slow
    assert len(fast) == 3


def test_networkx(tmp_path: Path) -> None:
    text = run("05_networkx.py", tmp_path)
    assert "acyclic: True" in text
    assert re.search(r"longest path has \d+ nodes: W ", text)
    assert "not among them" in text
    assert number("GraphML:", text) > 1000


def test_gallery(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("gallery")
    told = run("06_gallery.py", tmp_path, "--out", str(out))
    made = {path.name for path in out.iterdir()}
    assert made == set(re.findall(r"^(\S+)", told, re.MULTILINE))
    assert len(made) > 25
    page = (out / "network-page.html").read_text(encoding="utf-8")
    (steps,) = re.findall(r'"k":\[([\d,]+)\]', page)
    assert steps.count(",") + 1 >= 100, "recorded steps"
    assert (out / "neuron-frames.pdf").read_bytes().startswith(b"%PDF")
    for name in ("neuron-es.svg", "network-page-es.html"):
        assert "adelante" in (out / name).read_text(encoding="utf-8")
