"""`gg.explain`: one HTML file with three linked panes, a derivation to step through, and a run to scrub."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from os import PathLike
from typing import Any

import numpy as np

from graphgrad.check import check
from graphgrad.codegen.loader import Function, compile
from graphgrad.derivation import Derivation
from graphgrad.errors import GraphgradError
from graphgrad.evaluate import evaluate_nodes
from graphgrad.files import write_atomically
from graphgrad.page.texts import TEXTS
from graphgrad.render.compose import compose
from graphgrad.render.derivations import Drawn, Share, node_formula, share_formula, shares, step_rule
from graphgrad.render.diagram import Box, Line, formula_line
from graphgrad.render.draw import Options, Prepared, prepare
from graphgrad.render.layout import place
from graphgrad.render.svg import svg
from graphgrad.render.theme import DARK, LIGHT
from graphgrad.types import Array

MOST_RECORDS = 400  # of a run; a longer one is thinned
BUDGET = 500_000  # bytes of recorded numbers


@dataclass(frozen=True)
class Page:
    """A page in one file: no request, no library. In a notebook it shows itself in a sandboxed frame."""

    text: str

    def html(self) -> str:
        return self.text

    def save(self, path: str | PathLike[str]) -> None:
        """Write the page, whole or not at all."""
        write_atomically(path, self.text)

    def _repr_html_(self) -> str:
        inner = html.escape(self.text, quote=True)
        style = "width:100%;height:820px;border:1px solid #bbb"
        return f'<iframe title="graphgrad" sandbox="allow-scripts" style="{style}" srcdoc="{inner}"></iframe>'

    def __repr__(self) -> str:
        return f"<page of {len(self.text) / 1e6:.2f} MB>"


def explain(
    derivation: Derivation,
    values: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
    *,
    lang: str = "en",
    detail: str = "auto",
    notation: str = "bar",
    only: Any = None,
    hide: Sequence[Any] = (),
    fold: bool | str | Sequence[str] | None = None,
    depth: int | None = None,
    title: str | None = None,
    engine: str | None = None,
) -> Page:
    """A page on a derivation: its graph, its formulas and its generated code, linked; stepped rule by rule.

    `values` are arrays by name for all leaves: boxes then show numbers and each parameter a gradient check. `run` is a
    training run to scrub: {"parameters": {"W": array of shape (steps, *W.shape), ...}, "loss": array, "k": array};
    "loss" and "k" hold a number a step and may be left out. Its parameters take the place of those in `values`, which
    then give a batch to look at. The other arguments are those of `gg.draw`. Raises GraphgradError for arrays that do
    not fit.

    >>> import graphgrad as gg
    >>> net = gg.feedforward([2, 3, 1], "tanh")
    >>> page = gg.explain(gg.derive(net.loss), engine="layered")
    >>> page.html().startswith("<!doctype html>")
    True
    """
    if not isinstance(derivation, Derivation):
        raise GraphgradError(
            f"explain takes a Derivation, as gg.derive(loss) gives, but {type(derivation).__name__} was given"
        )
    recorded = _recorded(derivation, run) if run is not None else None
    first = dict(values or {})
    if recorded is not None:
        first |= {name: array[0] for name, array in recorded.parameters.items()}
    given = first if values is not None or recorded is not None else None
    options = Options(detail, depth, fold, only, hide, notation, lang)
    made = prepare(derivation, options, values=given)
    placed = place(made.diagram, engine)
    scene = compose(made.diagram, placed, legend=True)
    picture = svg(scene, lambda role: _variable(role), prefix="g-", background=False)
    # At four fifths of its size the smallest text can still be read; below that the pane scrolls.
    picture = picture.replace("<svg ", f'<svg style="min-width:{0.8 * scene.width:.0f}pt" ', 1)
    function = compile([derivation.scalar, *derivation.gradients.values()])
    told = TEXTS[lang]
    data: dict[str, Any] = {
        "title": title or made.diagram.title,
        "steps": _steps(made, derivation),
        "links": _links(made, derivation, function),
        "boxes": _boxes(made, derivation, given),
        "run": _run(made, derivation, first, recorded) if given is not None else None,
        "words": told,
    }
    parts = {
        "lang": lang,
        "title": html.escape(data["title"]),
        "style": _asset("page.css").replace("/*colours*/", _colours()),
        "graph": picture,
        "formulas": _formulas(made, derivation),
        "code": _code(function),
        "checks": _checks(derivation, given, told),
        "data": json.dumps(data, ensure_ascii=False, separators=(",", ":"), sort_keys=True).replace("<", "\\u003c"),
        "script": _asset("page.js"),
        **{f"t_{name}": html.escape(text) for name, text in told.items()},
    }
    text = _asset("page.html")
    pieces = text.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled.append(parts[name.strip()] + rest)
    return Page("".join(filled))


@cache
def _asset(name: str) -> str:
    return resources.files("graphgrad.page").joinpath("assets", name).read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# Colours: roles become CSS variables, so that the page turns dark by itself
# ---------------------------------------------------------------------------------------------------------------------


def _variable(role: str) -> str:
    name, _, amount = role.partition(":")
    if not amount:
        return f"var(--{name.replace('.', '-')})"
    t = float(amount)
    if name == "cost":
        return f"color-mix(in srgb, var(--cost-low), var(--cost-high) {t:.0%})"
    return f"color-mix(in srgb, var(--zero), var(--{'positive' if t >= 0 else 'negative'}) {abs(t):.0%})"


def _colours() -> str:
    def block(colours: Mapping[str, str]) -> str:
        return "".join(f"--{name.replace('.', '-')}:{colour};" for name, colour in colours.items())

    dark = block(DARK)
    return (
        f":root{{{block(LIGHT)}color-scheme:light}}"
        f'@media(prefers-color-scheme:dark){{:root:not([data-theme="light"]){{{dark}color-scheme:dark}}}}'
        f':root[data-theme="dark"]{{{dark}color-scheme:dark}}'
    )


# ---------------------------------------------------------------------------------------------------------------------
# What stands in the panes
# ---------------------------------------------------------------------------------------------------------------------


def _back_boxes(made: Prepared) -> list[Box]:
    return [b for b in made.diagram.boxes if b.lane == "backward"]


def _steps(made: Prepared, derivation: Derivation) -> list[dict[str, Any]]:
    """Each step of the stepper: the box, its origin and the sentence. The first shows the forward pass alone."""
    boxes = [None, *_back_boxes(made)]
    targets = {s.number: s.target for s in derivation.steps}
    found: list[dict[str, Any]] = []
    for box, look in zip(boxes, made.looks, strict=True):
        steps = box.steps if box is not None else ()
        target = targets[steps[-1]] if steps else None
        found.append({
            "box": box.id if box is not None else None,
            "target": made.drawn.key(target) if target in made.drawn.view.host else None,
            "origin": sorted(look.origin),
            "text": look.caption,
            "numbers": list(steps),
        })  # fmt: skip
    return found


def _rows(made: Prepared, derivation: Derivation) -> list[tuple[str, Line, str]]:
    """The formulas: (box, formula, rule), forward first, then in the order of the derivation."""
    drawn, graph = made.drawn, derivation.graph
    rows = []
    for box in made.diagram.boxes:
        if box.lane == "forward" and box.id[0] == "n":
            node = graph.nodes[int(box.id[1:])]
            if node.operator.kind != "leaf":
                rows.append((box.id, node_formula(drawn, node), node.operator.name.replace("_", " ")))
        elif box.lane == "forward":
            rows += [(box.id, line, "") for line in box.lines if line.run.tex]
    known = {s.step.number: s for s in shares(drawn, derivation)}
    for box in _back_boxes(made):
        for number in box.steps if box.id[0] != "s" else box.steps[-1:]:
            if number in known:
                share = known[number]
                rows.append((box.id, _share_line(drawn, derivation, share), step_rule(share, drawn.lang)))
    return rows


def _share_line(drawn: Drawn, derivation: Derivation, share: Share) -> Line:
    return formula_line(*(" = ".join(share_formula(drawn, derivation, share, latex=latex)) for latex in (True, False)))


def _formulas(made: Prepared, derivation: Derivation) -> str:
    lines = []
    for box, line, rule in _rows(made, derivation):
        text = html.escape(line.run.text)
        picture = _inline(line) if line.run.outline else f"<span>{text}</span>"
        lines.append(
            f'<li class="row" data-box="{html.escape(box)}" tabindex="0" aria-label="{text}">{picture}'
            f'<span class="rule">{html.escape(rule)}</span></li>'
        )
    return "\n".join(lines)


def _inline(line: Line) -> str:
    """A formula as a small SVG of its own."""
    run = line.run
    w, h = run.width + 2, run.height + 2
    view = f"-1 {-run.ascent - 1:.1f} {w:.1f} {h:.1f}"
    return (
        f'<svg aria-hidden="true" viewBox="{view}" width="{w:.1f}pt" height="{h:.1f}pt">'
        f'<path d="{run.outline}" fill="currentColor"/></svg>'
    )


def _code(function: Function) -> str:
    lines = []
    for number, text in enumerate(function.source.rstrip("\n").split("\n"), 1):
        quiet = " comment" if text.lstrip().startswith("#") else ""
        lines.append(f'<span class="line{quiet}" data-line="{number}">{html.escape(text) or " "}</span>')
    return "".join(lines)


def _links(made: Prepared, derivation: Derivation, function: Function) -> dict[str, list[int]]:
    """The lines of code of each box."""
    numbers = {s.number: s for s in derivation.steps}
    found: dict[str, list[int]] = {}
    for box in made.diagram.boxes:
        ids = set(box.nodes)
        for n in box.steps:
            ids |= {numbers[n].contribution.id, *numbers[n].new}
        lines = {line for i in ids for line in function.lines[i]}
        commented = {line - 1 for line in lines if function.source.split("\n")[line - 2].lstrip().startswith("#")}
        found[box.id] = sorted(lines | commented)
    return found


def _boxes(made: Prepared, derivation: Derivation, given: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """What the read-out says of each box beside its numbers."""
    found = {}
    for box in made.diagram.boxes:
        value, gradient = _shown(made, derivation, box)
        found[box.id] = {
            "title": box.title,
            "value": value is not None and given is not None,
            "gradient": gradient is not None and given is not None,
        }
    return found


def _shown(made: Prepared, derivation: Derivation, box: Box) -> tuple[int | None, int | None]:
    """The node whose value a box shows, and its adjoint; of a step what it gave."""
    if box.lane == "backward":
        return (box.nodes[0] if box.id[0] == "s" and box.nodes else None), None
    if box.id[0] != "n":
        return None, None
    id = int(box.id[1:])
    adjoint = derivation.adjoints.get(id)
    return id, (adjoint.id if adjoint is not None else None)


# ---------------------------------------------------------------------------------------------------------------------
# Numbers
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    """A run as arrays: the parameters of each record, and its number."""

    parameters: dict[str, Array]
    loss: Array | None
    k: Array


def _recorded(derivation: Derivation, run: Any) -> Recorded:
    if not isinstance(run, Mapping) or not isinstance(run.get("parameters"), Mapping) or not run["parameters"]:
        raise GraphgradError(
            'run is a mapping {"parameters": {name: array of shape (steps, *shape)}, "loss": ..., "k": ...}'
        )
    graph = derivation.graph
    arrays = {str(name): np.asarray(a) for name, a in run["parameters"].items()}
    length = {len(a) if a.ndim else 0 for a in arrays.values()}
    if len(length) != 1 or 0 in length:
        raise GraphgradError("run: the arrays of all parameters hold the same number of steps, at least one")
    (steps,) = length
    for name, a in arrays.items():
        if name not in graph or graph[name].node.operator.kind != "leaf":
            raise GraphgradError(f"run: {name} is no leaf of the graph of {derivation.scalar.name}")
        if a.shape[1:] != tuple(graph[name].shape):
            wanted = ("steps", *map(str, graph[name].shape))
            raise GraphgradError(f"run: {name} has shape {a.shape}, but ({', '.join(wanted)}) is wanted")
    extra = {}
    for name in ("loss", "k"):
        if run.get(name) is not None:
            extra[name] = np.asarray(run[name])
            if extra[name].shape != (steps,):
                raise GraphgradError(f"run: {name} has shape {extra[name].shape}, but ({steps},) is wanted")
    chosen = np.unique(np.linspace(0, steps - 1, min(steps, MOST_RECORDS)).round().astype(int))
    k = extra.get("k", np.arange(steps))
    loss = extra.get("loss")
    return Recorded({n: a[chosen] for n, a in arrays.items()}, None if loss is None else loss[chosen], k[chosen])


def _run(made: Prepared, derivation: Derivation, first: Mapping[str, Any], recorded: Recorded | None) -> dict[str, Any]:
    """Values and adjoints of every box at every record, as float32 in base64; cells are those of the strips."""
    shown = {box.id: _shown(made, derivation, box) for box in made.diagram.boxes}
    ids = sorted({i for pair in shown.values() for i in pair if i is not None} | {derivation.scalar.id})
    steps = len(recorded.k) if recorded is not None else 1
    frames = []
    for t in range(steps):
        feed = dict(first)
        if recorded is not None:
            feed |= {name: a[t] for name, a in recorded.parameters.items()}
        frames.append(evaluate_nodes(made.drawn.graph, ids, feed))
    cells = {i: [_cells(np.asarray(f[i])) for f in frames] for i in ids}
    size = sum(c[0].size for c in cells.values()) * steps * 4
    if size > BUDGET:
        thin = np.unique(np.linspace(0, steps - 1, max(2, int(steps * BUDGET / size))).round().astype(int))
    else:
        thin = np.arange(steps)
    values = made.drawn.values
    series: dict[str, dict[str, Any]] = {}
    for box, pair in shown.items():
        for name, i in zip(("value", "gradient"), pair, strict=True):
            if i is None:
                continue
            stacked = np.stack([cells[i][t] for t in thin]).astype("<f4")
            series.setdefault(box, {})[name] = {
                "shape": list(np.shape(frames[0][i])),
                "cells": list(stacked.shape[1:]),
                "scale": float(values.scale(i)) if values is not None else 1.0,
                "data": base64.b64encode(stacked.tobytes()).decode(),
            }
    losses = [float(np.asarray(f[derivation.scalar.id])) for f in frames]
    told = recorded.loss if recorded is not None and recorded.loss is not None else np.asarray(losses)
    k = recorded.k if recorded is not None else np.arange(1)
    return {"k": [int(v) for v in k[thin]], "loss": [float(f"{told[t]:.6g}") for t in thin], "series": series}


def _cells(array: Array) -> Array:
    """The numbers of a strip's cells: elements, or means of blocks."""
    table = (
        array.astype(np.float64).reshape(-1, array.shape[-1]) if array.ndim else array.astype(np.float64).reshape(1, 1)
    )
    if not table.size:
        return np.zeros((0, 0))
    rows = np.array_split(table, min(8, len(table)))
    columns = min(8, table.shape[1])
    return np.array([[float(np.mean(p)) for p in np.array_split(r, columns, axis=1)] for r in rows])


def _checks(derivation: Derivation, given: Mapping[str, Any] | None, told: Mapping[str, str]) -> str:
    """A badge for each parameter: its gradient against central differences, at the values shown."""
    if given is None:
        return ""
    leaves = [t for t in derivation.gradients if t.node.operator.kind == "leaf"]
    if not leaves:
        return ""
    report = check(derivation.scalar, leaves, dict(given))
    badges = []
    for row in report.rows:
        good = row.verdict in ("ok", "not used")
        mark, word = ("✓", told["agrees"]) if good else ("✗", told["differs"])
        what = f"{word}: {row.difference:.1e}"
        badges.append(
            f'<li class="badge {"good" if good else "bad"}" title="{html.escape(what)}">'
            f"<b>{mark}</b> {html.escape(row.name)} <small>{row.difference:.0e}</small></li>"
        )
    return "".join(badges)
