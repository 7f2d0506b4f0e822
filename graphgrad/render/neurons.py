"""The picture of a feedforward network neuron by neuron: circles in columns, a weight on each edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from graphgrad.derive import derive
from graphgrad.errors import GraphgradError
from graphgrad.evaluate import evaluate_nodes
from graphgrad.networks import Network
from graphgrad.render.compose import BORDER, moved, wrapped
from graphgrad.render.naming import Naming
from graphgrad.render.scene import Circle, Curve, Group, Item, Paint, Rect, Scene, polyline
from graphgrad.render.typeset import SMALL, Run, formula, label
from graphgrad.render.values import number_text
from graphgrad.types import Array

RADIUS = 33.0  # the longest number, "−0.000123", fits on the third line
COLUMN = 230.0  # points between columns
ROW = 84.0
MOST = 12  # neurons of a column that are all drawn; of more, the first three and the last
LEADING = 2.0  # between the lines in a circle
LABELLED = 30  # edges that all carry their numbers


Edge: TypeAlias = tuple[tuple[float, float], tuple[float, float]]  # where it begins and ends


@dataclass(frozen=True)
class _Known:
    """Numbers of the first sample: of each layer's neurons, of weights, and the derivatives of the loss by them."""

    neurons: list[Array | None]
    neuron_gradients: list[Array | None]
    weights: list[Array | None]
    gradients: list[Array | None]


def neuron_scene(net: Network, values: Mapping[str, Any] | None, lang: str, legend: bool) -> Scene:
    """Neurons of a network that `feedforward` made. With values, of its parameters at least, edges show them."""
    if not net.widths:
        raise GraphgradError(
            'level="neuron" is for networks that gg.feedforward makes; draw(gg.scalarize(graph)) shows any graph so'
        )
    known = _numbers(net, values)
    rows = [_rows(n) for n in net.widths]
    tallest = max(len(r) for r in rows)
    spots: list[dict[int, tuple[float, float]]] = []
    for l, column in enumerate(rows):
        first = (tallest - len(column)) * ROW / 2
        spots.append({
            j: (RADIUS + l * COLUMN, RADIUS + first + k * ROW) for k, j in enumerate(column) if j is not None
        })  # fmt: skip
    lines, texts = _edges(spots, known)
    items: list[Item] = [*lines, *texts]
    for l, column in enumerate(rows):
        first = (tallest - len(column)) * ROW / 2
        for k, j in enumerate(column):
            x, y = RADIUS + l * COLUMN, RADIUS + first + k * ROW
            items += _dots(x, y) if j is None else [_neuron(known, l, j, x, y)]
    loss = _loss(net)
    x = RADIUS + (len(rows) - 1) * COLUMN + RADIUS + 16.0
    middle = RADIUS + (tallest - 1) * ROW / 2
    items.append(Group("loss", "box loss", (loss.at(x, middle + 5.0, "ink"),), loss.text))
    width = x + loss.width
    bottom = 2 * RADIUS + (tallest - 1) * ROW
    if legend:
        for text in wrapped(_legend(known, lang), max(width, 300.0), SMALL):
            items.append(label(text).at(0.0, bottom + 22.0, "grey"))
            bottom += 14.0
        bottom += 12.0
    title = "-".join(map(str, net.widths))
    return Scene(
        round(max(width, 300.0) + 2 * BORDER, 2),
        round(bottom + 2 * BORDER, 2),
        tuple(moved(i, BORDER, BORDER) for i in items),
        title,
        lang,
    )


def _rows(width: int) -> list[int | None]:
    """The neurons of a column that are drawn; None is the place of the dots."""
    return list(range(width)) if width <= MOST else [0, 1, 2, None, width - 1]


def _numbers(net: Network, values: Mapping[str, Any] | None) -> _Known:
    layers = len(net.widths) - 1
    if values is None:
        nothing: list[Array | None] = [None] * (layers + 1)
        return _Known(nothing, nothing, nothing[1:], nothing[1:])
    graph, derivation = net.graph, derive(net.loss)
    names = ["x", *(f"x{l}" for l in range(1, layers + 1))]
    wanted = [graph[n].id for n in names]
    adjoints = {i: derivation.adjoints[i].id for i in wanted if i in derivation.adjoints}
    weights = [graph[f"W{l}"] for l in range(1, layers + 1)]
    ids = [*wanted, *adjoints.values(), *(derivation[w].id for w in weights)]
    with np.errstate(all="ignore"):  # what is not finite is shown as such
        found = evaluate_nodes(graph, ids, values)

    def sample(id: int | None) -> Array | None:
        if id is None:
            return None
        array = np.asarray(found[id])
        return array[0] if array.ndim == 2 and len(array) else None

    return _Known(
        [sample(i) for i in wanted],
        [sample(adjoints.get(i)) for i in wanted],
        [np.asarray(found[w.id]) for w in weights],
        [np.asarray(found[derivation[w].id]) for w in weights],
    )


def _edges(spots: Sequence[Mapping[int, tuple[float, float]]], known: _Known) -> tuple[list[Item], list[Item]]:
    """Lines from neuron to neuron, and the numbers on them where there are few enough."""
    lines: list[Item] = []
    texts: list[Item] = []
    count = sum(len(a) * len(b) for a, b in pairwise(spots))
    taken: list[tuple[float, float, float, float]] = []
    for l, (before, after) in enumerate(pairwise(spots)):
        w, g = known.weights[l], known.gradients[l]
        largest = float(np.max(np.abs(w), initial=0.0)) if w is not None else 0.0
        for i, (ax, ay) in before.items():
            for j, (bx, by) in after.items():
                value = float(w[j, i]) if w is not None else None
                lines.append(_line(f"w{l + 1}-{j + 1}-{i + 1}", (ax, ay), (bx, by), value, largest))
                if value is not None and g is not None and count <= LABELLED:
                    runs = [label(f"w {_signed(value)}"), label(f"∂w {_signed(float(g[j, i]))}")]
                    here: Edge = ((ax, ay), (bx, by))
                    others = [e for p in before.values() for q in after.values() if (e := (p, q)) != here]
                    texts += _on_line(runs, *here, others, taken)
    return lines, texts


def _line(id: str, a: tuple[float, float], b: tuple[float, float], value: float | None, largest: float) -> Group:
    ends = ((a[0] + RADIUS, a[1]), (b[0] - RADIUS, b[1]))
    if value is None or not largest:
        return Group(id, "edge data", (Curve(polyline(ends), Paint(stroke="line", width=0.8)),))
    role = "positive" if value >= 0 else "negative"
    width = 0.6 + 4.0 * abs(value) / largest
    dash = () if value >= 0 else (max(5.0, 1.6 * width), max(3.0, width))
    return Group(id, "edge data", (Curve(polyline(ends), Paint("", role, round(width, 2), dash, 0.75)),), f"{value:g}")


def _on_line(
    runs: Sequence[Run],
    a: tuple[float, float],
    b: tuple[float, float],
    others: Sequence[Edge],
    taken: list[tuple[float, float, float, float]],
) -> list[Item]:
    """Numbers on an edge, where other lines are far, and where they cover no other numbers."""
    w, h = max(r.width for r in runs) + 4.0, 11.0 * len(runs)
    ax, bx = a[0] + RADIUS, b[0] - RADIUS

    def height(edge: Edge, t: float) -> float:
        return edge[0][1] + (edge[1][1] - edge[0][1]) * t

    def clear(t: float) -> float:
        """How far the next line is there, up to where it no longer matters."""
        return min([h, *(abs(height(other, t) - height((a, b), t)) for other in others)])

    for t in sorted((0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74, 0.2, 0.8), key=lambda t: -round(clear(t))):
        x, y = ax + (bx - ax) * t, height((a, b), t)
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        if not any(box[0] < o[2] and o[0] < box[2] and box[1] < o[3] and o[1] < box[3] for o in taken):
            taken.append(box)
            items: list[Item] = [Rect(box[0], box[1], w, h, Paint(fill="paper", opacity=0.9), 2.0)]
            for k, run in enumerate(runs):
                items.append(run.at(x - run.width / 2, box[1] + 8.5 + 11.0 * k, "ink" if k == 0 else "orange"))
            return items
    return []


def _neuron(known: _Known, l: int, j: int, x: float, y: float) -> Group:
    kind = "input" if l == 0 else "operation"
    letter = rf"x_{{{j + 1}}}" if l == 0 else rf"x^{{({l})}}_{{{j + 1}}}"
    name = formula(letter, f"x{'' if l == 0 else l},{j + 1}", 13.0)
    runs: list[tuple[Run, str]] = [(name, "ink")]
    for role, arrays in (("ink", known.neurons), ("orange", known.neuron_gradients)):
        array = arrays[l]
        if array is not None:
            runs.append((label(_signed(float(array[j]))), role))
    total = sum(r.height for r, _ in runs) + LEADING * (len(runs) - 1)
    top = y - total / 2
    items: list[Item] = [Circle(x, y, RADIUS, Paint(f"{kind}.fill", f"{kind}.stroke", 1.6))]
    for run, role in runs:
        items.append(run.at(x - run.width / 2, top + run.ascent, role))
        top += run.height + LEADING
    return Group(f"x{l}-{j + 1}", f"neuron {kind}", tuple(items), name.text)


def _dots(x: float, y: float) -> list[Item]:
    return [Circle(x, y + d, 1.8, Paint(fill="grey")) for d in (-8.0, 0.0, 8.0)]


def _loss(net: Network) -> Run:
    naming, graph = Naming(net.graph), net.graph
    shown = {i for i in graph.names if i != net.loss.id}
    parts = [
        f"{naming.node(net.loss.id, latex=l)} = {naming.formula(net.loss.id, shown, latex=l)}" for l in (True, False)
    ]
    return formula(parts[0], parts[1])


def _signed(value: float) -> str:
    return f"+{number_text(_short(value))}" if value > 0 else number_text(_short(value))


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def _legend(known: _Known, lang: str) -> str:
    if known.weights[0] is None:
        return {
            "en": "A circle is a neuron, an edge a weight.",
            "es": "Un círculo es una neurona, una arista un peso.",
        }[lang]
    return {
        "en": "Of the first sample: first a value, then in orange the derivative of the loss by it. "
        "Edges: solid blue a positive weight, dashed orange a negative one, the wider the larger.",
        "es": "De la primera muestra: primero un valor, luego en naranja la derivada de la pérdida respecto de él. "
        "Aristas: azul continuo un peso positivo, naranja cortado uno negativo, más ancho cuanto mayor.",
    }[lang]
