"""Writes the pictures of gallery.md, each by the code above it there: python docs/make_picture.py.

It needs graphgrad[viz].
"""

import ast
import re
from pathlib import Path
from typing import Any

import graphgrad as gg

DOCS = Path(__file__).parent
PART = re.compile(r"^```python\n(?P<code>.*?)^```\n(\n!\[[^\]]*\]\((?P<image>.*?)\)$)?", re.MULTILINE | re.DOTALL)


def pictures() -> dict[str, gg.Picture]:
    """The pictures of the page by file name: what the last line of the code above each gives."""
    names: dict[str, Any] = {}
    found = {}
    for part in PART.finditer((DOCS / "gallery.md").read_text(encoding="utf-8")):
        *before, last = ast.parse(part["code"]).body
        if part["image"] is None:
            if not isinstance(last, ast.Expr):  # what follows needs it; what writes a file is the reader's
                exec(part["code"], names)
            continue
        assert isinstance(last, ast.Expr), part["code"]
        exec(compile(ast.Module(before, []), "gallery.md", "exec"), names)
        found[part["image"]] = eval(compile(ast.Expression(last.value), "gallery.md", "eval"), names)
    return found


if __name__ == "__main__":
    for name, picture in pictures().items():
        (DOCS / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(DOCS / name)
