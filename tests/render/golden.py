"""The pictures that are held as files: their display lists as JSON and their DOT.

    python -m tests.render.golden --write

writes them anew; the change then shows in the diff.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.render.gallery import picture

HELD = ("neuron", "small names", "network", "deep", "adam", "not finite")
FOLDER = Path(__file__).resolve().parent.parent / "data" / "pictures"


def files() -> dict[Path, str]:
    """What each file is to hold. JSON has a line an item, so that a diff shows what moved."""
    held = {}
    for name in HELD:
        shown, stem = picture(name), name.replace(" ", "-")
        scene = json.loads(str(shown.bytes(".json")))
        items = ",\n".join(json.dumps(item, ensure_ascii=False, sort_keys=True) for item in scene.pop("items"))
        head = json.dumps(scene, ensure_ascii=False, sort_keys=True)
        held[FOLDER / f"{stem}.json"] = f'{head[:-1]}, "items": [\n{items}\n]}}\n'
        held[FOLDER / f"{stem}.dot"] = shown.dot()
    return held


def main() -> None:
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
