"""`gg.explain`: one HTML file with three linked panes, a derivation to step through, and a run to scrub."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from graphgrad.check import check
from graphgrad.codegen.compiler import compile
from graphgrad.codegen.loader import Function
from graphgrad.derivation import Derivation
from graphgrad.errors import GraphgradError
from graphgrad.files import write_atomically
from graphgrad.page.numbers import numbers_of, recorded_run, shown_nodes
from graphgrad.page.texts import TEXTS
from graphgrad.render.backward import Share, share_formula, shares, step_rule
from graphgrad.render.compose import compose
from graphgrad.render.diagram import Box, Line, formula_line
from graphgrad.render.draw import Options, Prepared, prepare
from graphgrad.render.forward import Drawn, node_formula
from graphgrad.render.layout import place
from graphgrad.render.svg import svg
from graphgrad.render.theme import DARK, LIGHT

TALL = 1.8  # width over height from which on a picture lies above the other panes


@dataclass(frozen=True)
class Page:
    """A page in one file: no request, no library. In a notebook it shows itself in a sandboxed frame."""

    text: str

    def html(self) -> str:
        return self.text

    def save(self, path: str | PathLike[str]) -> None:
        """Write the page, whole or not at all, to a file whose name ends with .html or .htm."""
        if Path(path).suffix not in (".html", ".htm"):
            raise GraphgradError(f"a page is saved as .html, but {Path(path).name!r} was given")
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
    run: Any = None,
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
    training run to scrub, from `gg.train(..., record=True)`, or as arrays:
    {"parameters": {"W": array of shape (steps, *W.shape), ...}, "loss": array, "k": array}, where "loss" and "k" have a
    number a step and may be left out. Its parameters take the place of those in `values`, which then give a batch to
    look at. The other arguments are those of `gg.draw`. Raises GraphgradError for arrays that do not fit.

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
    recorded = recorded_run(derivation, run) if run is not None else None
    first = dict(values or {})
    if recorded is not None:
        first |= {name: array[0] for name, array in recorded.parameters.items()}
    given = first if values is not None or recorded is not None else None
    options = Options(detail, depth, fold, only, hide, notation, lang)
    with np.errstate(all="ignore"):  # a run that diverged is shown as it was
        made = prepare(derivation, options, values=given)
        numbers, scale = numbers_of(made, derivation, first, recorded) if given is not None else (None, "")
    placed = place(made.diagram, engine)
    scene = compose(replace(made.diagram, scale=scale), placed, legend=True)
    picture = svg(scene, lambda role: _variable(role), prefix="g-", background=False)
    # The style sheet holds the picture against its natural size; a group, since its boxes are buttons.
    size = f'style="--wide:{scene.width:.0f}pt;--high:{scene.height:.0f}pt"'
    picture = picture.replace("<svg ", f"<svg {size} ", 1).replace('role="img"', 'role="group"', 1)
    function = compile([derivation.scalar, *derivation.gradients.values()])
    told = TEXTS[lang]
    data: dict[str, Any] = {
        "title": title or made.diagram.title,
        "steps": _steps(made, derivation),
        "links": _links(made, derivation, function),
        "boxes": _boxes(made, derivation, given),
        "run": numbers,
        "words": told,
    }
    parts = {
        "lang": lang,
        "title": html.escape(data["title"]),
        "style": _asset("page.css").replace("/*colours*/", _colours()),
        "layout": "tall" if scene.width < TALL * scene.height else "wide",
        "graph": picture,
        "formulas": _formulas(made, derivation),
        "code": _code(function),
        "checks": _checks(derivation, given, told),
        "data": json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
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
        f'@media screen and (prefers-color-scheme:dark){{:root:not([data-theme="light"]){{{dark}color-scheme:dark}}}}'
        f'@media screen{{:root[data-theme="dark"]{{{dark}color-scheme:dark}}}}'
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
        name = text + (f": {html.escape(rule)}" if rule else "")
        picture = _inline(line) if line.run.outline else f"<span>{text}</span>"
        lines.append(
            f'<li><div class="row" role="button" data-box="{html.escape(box)}" data-text="{name}">{picture}'
            f'<span class="rule">{html.escape(rule)}</span></div></li>'
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
    """The lines of code of each box, each with the comment above it: of its nodes, and of what is computed only on the
    way to them from other boxes."""
    steps = {s.number: s for s in derivation.steps}
    graph = function.program.graph
    lines_of: dict[int, list[int]] = {}
    for line, node in function._line_nodes.items():
        lines_of.setdefault(node, []).append(line)

    def compiled(ids: Iterable[int]) -> set[int]:
        return {moved.id for i in ids if (moved := function._where.get(i)) is not None}

    ends = compiled(i for box in made.diagram.boxes for i in box.nodes)
    found: dict[str, list[int]] = {}
    for box in made.diagram.boxes:
        here = [steps[n] for n in box.steps]
        own = compiled([*box.nodes, *(s.contribution.id for s in here), *(i for s in here for i in s.new)])
        # A step that only hands an adjoint on shows the line that computed it, not what that was made of.
        stack = list(own) if not here or any(s.new for s in here) else []
        while stack:
            inputs = [i for i in graph.nodes[stack.pop()].inputs if i not in own and i not in ends]
            own.update(inputs)
            stack += inputs
        lines = {line for i in own for line in lines_of.get(i, ())}
        found[box.id] = sorted(lines | {n - 1 for n in lines if n - 1 in function._comments})
    return found


def _boxes(made: Prepared, derivation: Derivation, given: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """What the read-out says of each box beside its numbers."""
    found = {}
    for box in made.diagram.boxes:
        value, gradient = shown_nodes(derivation, box)
        found[box.id] = {
            "title": box.title,
            "value": value is not None and given is not None,
            "gradient": gradient is not None and given is not None,
        }
    return found


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
        what = html.escape(f"{word} {row.difference:.1e}")
        badges.append(
            f'<li class="badge {"good" if good else "bad"}" title="{what}"><b aria-hidden="true">{mark}</b> '
            f'{html.escape(row.name)} <small aria-hidden="true">{row.difference:.0e}</small>'
            f'<span class="unseen">{what}</span></li>'
        )
    return "".join(badges)
