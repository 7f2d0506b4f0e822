"""Pictures held as files, and the same bytes on every run."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.render.gallery import ENGINES, picture
from tests.render.golden import FOLDER, HELD, files

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("suffix", ["json", "dot"])
@pytest.mark.parametrize("name", HELD)
def test_a_picture_is_what_its_file_holds(name: str, suffix: str) -> None:
    path = FOLDER / f"{name.replace(' ', '-')}.{suffix}"
    assert path.read_text(encoding="utf-8") == files()[path], "if it is to be: python -m tests.render.golden --write"


def test_no_file_is_left_over() -> None:
    assert sorted(p.name for p in FOLDER.iterdir()) == sorted(p.name for p in files())


def test_numbers_of_a_display_list_have_two_decimals() -> None:
    def numbers(value: object) -> list[float]:
        if isinstance(value, dict):
            return [n for v in value.values() for n in numbers(v)]
        if isinstance(value, list):
            return [n for v in value for n in numbers(v)]
        return [value] if isinstance(value, float) else []

    found = numbers(json.loads(picture("neuron").scene.to_json()))
    assert len(found) > 300
    assert all(n == round(n, 2) for n in found)
    assert "-0.0" not in picture("neuron").scene.to_json()


PROGRAM = """
import hashlib
import graphgrad as gg
from tests.render.gallery import neuron, picture, small, small_values
for name in ("small values", "adam unfolded"):
    for engine in ("layered", "pygraphviz"):
        p = picture(name, engine)
        for content in (p.svg(), p.pdf(), p.dot(), p.tikz(), p.html(), p.bytes(".json")):
            print(hashlib.sha256(content if isinstance(content, bytes) else content.encode()).hexdigest())
for page in (gg.explain(gg.derive(small().loss), values=small_values()), gg.explain(neuron(), lang="es")):
    print(hashlib.sha256(page.html().encode()).hexdigest())
frames = picture("neuron").frames()
print(hashlib.sha256(frames.pdf() + frames.tikz().encode()).hexdigest())
print(hashlib.sha256(gg.draw(gg.compile([small().loss])).svg().encode()).hexdigest())
"""


def test_two_processes_write_the_same_bytes() -> None:
    """Sets of strings have another order in each process; nothing of a picture may hang on it."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "4711")
    ]
    first, second = (process.communicate()[0].split() for process in started)
    assert [process.returncode for process in started] == [0, 0]
    assert len(first) == 28
    assert first == second


@pytest.mark.parametrize("engine", ENGINES)
def test_drawing_again_gives_the_same_bytes(engine: str) -> None:
    first = picture("small values", engine)
    picture.cache_clear()
    second = picture("small values", engine)
    assert first is not second
    digests = [hashlib.sha256(p.svg().encode() + p.pdf()).hexdigest() for p in (first, second)]
    assert digests[0] == digests[1]
