"""The picture of a program's schedule and memory: a row a storage, a column a statement, a bar for each lifetime."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphgrad.codegen.numpy_target import print_numpy
from graphgrad.codegen.program import USUAL, Program
from graphgrad.errors import GraphgradError
from graphgrad.render.compose import BORDER, moved, wrapped
from graphgrad.render.scene import Curve, Group, Item, Paint, Rect, Scene, polyline
from graphgrad.render.typeset import SMALL, label
from graphgrad.render.words import words
from graphgrad.types import size_names, size_of

ROW = 17.0
BAR = 12.0
PLOT = 620.0  # points across all statements, if there are not many more


def memory_scene(program: Program, sizes: Mapping[str, int] | None, lang: str, legend: bool) -> Scene:
    """Lifetimes of storages over the statements of a step; the peak is marked."""
    statements = [i for i in program.step if program.roles[i] != "view"]
    place = {id: k for k, id in enumerate(program.step)}
    column_of = {place[id]: k for k, id in enumerate(statements)}
    columns = len(statements)
    names = {name for s in program.storages.values() for name in size_names(s.size)}
    for name, size in (sizes or {}).items():
        if name not in names:
            raise GraphgradError(f"sizes: {name!r} is no size of this program; there are: {', '.join(sorted(names))}")
        if not isinstance(size, (int, np.integer)) or size < 0:
            raise GraphgradError(f"sizes: {name} is an integer from 0, but {size!r} was given")
    known = {name: int((sizes or {}).get(name, USUAL)) for name in sorted(names)}
    rows = sorted(program.storages.items(), key=lambda item: (item[1].born, item[0]))
    called = print_numpy(program).names  # as the generated code calls them
    calls: dict[int, list[int]] = {}
    for id, owner in program.storage_of.items():
        calls.setdefault(owner, []).append(id)
    texts = []
    for owner, storage in rows:
        written = sorted(calls.get(owner, [owner]), key=lambda i: place.get(i, 0))
        told = list(dict.fromkeys(called[i] for i in written))
        shown = " → ".join(told[:4]) + (f" … ({len(told)})" if len(told) > 4 else "")
        texts.append((label(f"{shown}  {bytes_text(size_of(storage.size, known))}"), written))
    left = max((t.width for t, _ in texts), default=0.0) + 12.0
    step = max(PLOT / max(columns, 1), 5.0)
    top = 40.0

    def x_of(position: int) -> float:
        """The left edge of the column of a statement; positions of views belong to the next one."""
        while position not in column_of and position < len(program.step):
            position += 1
        return left + column_of.get(position, columns) * step

    items: list[Item] = []
    every = max(1, round(28.0 / step))
    for k in range(0, columns, every):
        run = label(str(k + 1))
        items.append(run.at(left + (k + 0.5) * step - run.width / 2, top - 6.0, "grey"))
    for k, ((owner, storage), (text, written)) in enumerate(zip(rows, texts, strict=True)):
        y = top + k * ROW
        inside: list[Item] = [text.at(0.0, y + 9.5, "ink")]
        a, b = x_of(storage.born), min(x_of(storage.dies) + step, left + columns * step)
        kind = "gradient" if program.node(owner).operator.kind == "pack" else "operation"
        inside.append(Rect(a, y, max(b - a, 2.0), BAR, Paint(f"{kind}.fill", f"{kind}.stroke", 1.0), 2.0))
        for id in written[1:]:  # a result in place of what died there
            if id in place:
                x = x_of(place[id])
                inside.append(Curve(polyline(((x, y), (x, y + BAR))), Paint(stroke="backward", width=1.6)))
        items.append(Group(f"m{owner}", "storage", tuple(inside), text.text))
    live = live_bytes(program, known)
    bottom = top + len(rows) * ROW
    if live:
        peak = max(range(len(live)), key=lambda k: (live[k], -k))
        x = x_of(peak) + step / 2
        mark = label(f"{bytes_text(live[peak])}", SMALL)
        line = Curve(polyline(((x, top - 2), (x, bottom + 2))), Paint(stroke="loss.stroke", width=1.4, dash=(3.0, 2.0)))
        at = min(x - mark.width / 2, left + columns * step - mark.width)
        size_told = words(lang)["peak"].format(size=mark.text)
        items.append(Group("peak", "peak", (line, mark.at(at, bottom + 13.0, "loss.stroke")), size_told))
    said = _words(lang)
    title = said["title"].format(n=columns, rows=len(rows))
    heading = label(title, 11.0)
    items.append(heading.at(0.0, 12.0, "ink"))
    width = max(left + columns * step, heading.width)
    bottom += 20.0
    if legend:
        where = ", ".join(f"{name}={value}" for name, value in known.items())
        for line_text in wrapped(said["legend"] + (f" {where}." if where else ""), width, SMALL):
            items.append(label(line_text).at(0.0, bottom + 12.0, "grey"))
            bottom += 13.0
    return Scene(
        round(width + 2 * BORDER, 2),
        round(bottom + 2 * BORDER, 2),
        tuple(moved(i, BORDER, BORDER) for i in items),
        title,
        lang,
    )


def live_bytes(program: Program, sizes: Mapping[str, int]) -> list[int]:
    """The bytes of all storages that are alive at each position of the step."""
    change = [0] * (len(program.step) + 2)
    for s in program.storages.values():
        n = size_of(s.size, sizes)
        change[s.born] += n
        change[s.dies + 1 if s.dies + 1 < len(change) else -1] -= n
    live, now = [], 0
    for c in change[: len(program.step)]:
        now += c
        live.append(now)
    return live


def bytes_text(n: int) -> str:
    """1.5 KiB"""
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n} B"


def _words(lang: str) -> Mapping[str, str]:
    return {
        "en": {
            "title": "{n} statements, {rows} storages",
            "legend": "A row is a storage with the values that lie in it in turn and its size; a bar is its lifetime; "
            "an orange mark is a result written over what died there; the dashed line is the peak.",
        },
        "es": {
            "title": "{n} instrucciones, {rows} espacios de memoria",
            "legend": "Una fila es un espacio con los valores que guarda uno tras otro y su tamaño; una barra es su "
            "vida; una marca naranja es un resultado escrito sobre lo que ya no se usa; la línea cortada es el máximo.",
        },
    }[lang]
