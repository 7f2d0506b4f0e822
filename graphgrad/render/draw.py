"""`gg.draw`: a network, a graph, a derivation, a program or a pair of graphs as a picture."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphgrad.codegen.loader import Function
from graphgrad.codegen.profile import Cost, Profile
from graphgrad.codegen.program import Program
from graphgrad.derivation import Derivation
from graphgrad.errors import GraphgradError
from graphgrad.evaluate import evaluate_nodes
from graphgrad.graph import Graph
from graphgrad.networks import Network
from graphgrad.notation import is_matrix_transpose
from graphgrad.render.backward import shares
from graphgrad.render.compose import Look
from graphgrad.render.costs import coloured
from graphgrad.render.derivations import derivation_diagram, graph_diagram
from graphgrad.render.diagram import Diagram
from graphgrad.render.folding import View, scopes_at, view
from graphgrad.render.forward import Drawn
from graphgrad.render.layout import place
from graphgrad.render.memory_chart import memory_scene
from graphgrad.render.naming import Naming
from graphgrad.render.neurons import neuron_scene
from graphgrad.render.picture import Picture, picture, sheet
from graphgrad.render.rewrites import rewrite_diagram
from graphgrad.render.sentences import TOLD, sentence
from graphgrad.render.training_step import training_diagram
from graphgrad.render.typeset import DrawingWarning
from graphgrad.render.values import Values
from graphgrad.render.words import words
from graphgrad.tensor import Tensor

DETAILS = ("auto", "operations", "names", "layers")
MOST_BOXES = 60  # what a slide holds
MOST_RANKS = 8


def draw(
    thing: Any,
    after: Any = None,
    *,
    level: str | None = None,
    detail: str = "auto",
    depth: int | None = None,
    fold: bool | str | Sequence[str] | None = None,
    unfold: bool = False,
    only: Any = None,
    hide: Sequence[Any] = (),
    values: Mapping[str, Any] | None = None,
    optimizer: Any = None,
    sizes: Mapping[str, int] | None = None,
    color: Any = None,
    profile: Profile | None = None,
    notation: str = "bar",
    lang: str = "en",
    theme: str = "light",
    legend: bool = True,
    engine: str | None = None,
) -> Picture:
    """Draw what graphgrad works with. The Picture is written as SVG, PNG, PDF, TikZ, DOT or HTML.

    | `thing` | the picture |
    |---|---|
    | a Network | its layers; with `optimizer` the whole training step; with `level="neuron"` its neurons |
    | a Graph, a Tensor or several | variables and operators |
    | a Derivation | forward and backward pass together; `.frames()` has a frame for each rule |
    | a compiled Function or its Program | schedule and memory, for `sizes` such as {"N": 64} |
    | two graphs, tensors or lists | the second after a rewrite of the first: kept, added, removed |

    `values` are the leaves' arrays by name: boxes then show numbers, and adjoints gradients. `detail` is "operations",
    "names" (nodes without a name stand inside those that read them), "layers", or "auto": the first that a slide holds.
    `depth` keeps that many levels of scopes open; `fold` folds scopes by name (False: none); `unfold=True` shows the
    optimizer's formula value by value. `only` keeps the path to one tensor, `hide` leaves boxes out. `notation` of
    adjoints is "bar", "partial" or "delta"; `lang` "en" or "es"; `color` gives nodes a number
    each: "time" or "memory" of a `profile`, or a mapping from tensors to numbers. `engine` is "pygraphviz", "dot",
    "graphviz-pure" or "layered", our own.

    Raises GraphgradError for what cannot be drawn, and says what can.

    >>> import graphgrad as gg
    >>> net = gg.feedforward([2, 3, 1], "tanh")
    >>> gg.draw(gg.derive(net.loss), engine="layered").save("derivation.svg")  # doctest: +SKIP
    """
    options = Options(detail, depth, fold, only, hide, notation, lang)
    if values is not None and not isinstance(values, Mapping):
        raise GraphgradError(f"values are the leaves' arrays by name, but {type(values).__name__} was given")
    if level not in (None, "neuron"):
        raise GraphgradError(f'level {level!r} does not exist; level="neuron" draws a network neuron by neuron')
    if after is not None:
        diagram = rewrite_diagram(_tensors(thing), _tensors(after), lang)
        return picture(diagram, place(diagram, engine), theme=theme, legend=legend)
    if isinstance(thing, Network):
        if level == "neuron":
            return sheet(lambda shown: neuron_scene(thing, values, lang, shown), theme=theme, legend=legend)
        if optimizer is not None:
            diagram = training_diagram(thing, optimizer, unfold=unfold, notation=notation, lang=lang)
            return picture(diagram, place(diagram, engine), theme=theme, legend=legend)
        heads = [thing.loss, *([thing.prediction] if thing.prediction is not None else [])]
        if detail == "auto" and depth is None and fold is None:
            options = replace(options, detail="layers")
        thing = heads
    if level is not None or optimizer is not None:
        raise GraphgradError("level= and optimizer= are of a Network, such as gg.feedforward makes")
    if isinstance(color, Profile):
        color, profile = "time", color
    if color in ("time", "memory") or (color is None and profile is not None):
        color = _cost(color or "time", profile, program=isinstance(thing, Function))
    if isinstance(thing, Function) and color is not None:  # the program's own graph, a box a statement
        ends = [*thing.program.outputs, *(value for _, value in thing.program.updates)]
        thing = [thing.program.graph.tensor(i) for i in dict.fromkeys(ends)]
    if isinstance(thing, Function):
        thing = thing.program
    if isinstance(thing, Program):
        program = thing
        return sheet(lambda shown: memory_scene(program, sizes, lang, shown), theme=theme, legend=legend)
    if isinstance(thing, (Graph, Derivation)) or _tensors_or_none(thing):
        made = prepare(thing, options, values=values)
        derivation = thing if isinstance(thing, Derivation) else None
        diagram = made.diagram if color is None else coloured(made.diagram, made.drawn.graph, derivation, color)
        return picture(diagram, place(diagram, engine), theme=theme, legend=legend, looks=made.looks)
    raise GraphgradError(
        f"draw takes a Network, Graph, Derivation, compiled Function, Program, or tensors of one graph, "
        f"but {type(thing).__name__} was given"
    )


def _cost(what: str, profile: Profile | None, *, program: bool) -> Cost:
    if not isinstance(profile, Profile):
        raise GraphgradError(f"color={what!r} wants profile=f.profile(...), whose numbers it shows")
    return profile.cost(what, program=program)


def _tensors_or_none(thing: Any) -> bool:
    return isinstance(thing, Tensor) or (
        isinstance(thing, (list, tuple)) and bool(thing) and all(isinstance(t, Tensor) for t in thing)
    )


def _tensors(thing: Any) -> list[Tensor]:
    """What two graphs are compared by: given tensors, or all that nothing reads."""
    if isinstance(thing, Graph):
        _, heads, _ = _extent(thing)
        return [thing.tensor(i) for i in heads]
    if not _tensors_or_none(thing):
        raise GraphgradError(f"draw(before, after) compares graphs or tensors, but {type(thing).__name__} was given")
    return [thing] if isinstance(thing, Tensor) else list(thing)


@dataclass(frozen=True)
class Options:
    """What all pictures of boxes are drawn with."""

    detail: str = "auto"
    depth: int | None = None
    fold: bool | str | Sequence[str] | None = None
    only: Any = None
    hide: Sequence[Any] = ()
    notation: str = "bar"
    lang: str = "en"

    def __post_init__(self) -> None:
        if self.detail not in DETAILS:
            raise GraphgradError(f"detail {self.detail!r} does not exist; there are: {', '.join(DETAILS)}")
        if self.depth is not None and not (type(self.depth) is int and self.depth >= 0):
            raise GraphgradError(f"depth is the number of scope levels that stay open, but {self.depth!r} was given")
        words(self.lang)


@dataclass(frozen=True)
class Prepared:
    """A picture before its layout: the view with its names and values, and the diagram made of it."""

    drawn: Drawn
    diagram: Diagram
    looks: tuple[Look, ...]


def prepare(
    thing: Graph | Derivation | Tensor | Sequence[Tensor],
    options: Options,
    *,
    values: Mapping[str, Any] | None = None,
) -> Prepared:
    """The diagram of a graph, or of a derivation with its forward pass."""
    derivation = thing if isinstance(thing, Derivation) else None
    graph, heads, ids = _extent(thing)
    if not ids:
        raise GraphgradError("draw was given a graph without nodes; there is nothing to see in it")
    naming = Naming(graph, derivation, options.notation)
    hide = [options.hide] if isinstance(options.hide, (str, Tensor)) else options.hide
    hidden = frozenset(_id(graph, h, "hide") for h in hide)
    path = None
    if options.only is not None:
        ids, path = _only(graph, ids, options.only)
    chosen = _view(graph, derivation, ids, heads, options)
    looked = _values(graph, derivation, ids, values) if values is not None else None
    drawn = Drawn(chosen, naming, looked, options.lang, hidden, path)
    diagram = _diagram(drawn, derivation, heads)
    return Prepared(drawn, diagram, tuple(_looks(drawn, derivation, diagram)) if derivation is not None else ())


def _diagram(drawn: Drawn, derivation: Derivation | None, heads: Sequence[int]) -> Diagram:
    names = [drawn.naming.node(h) for h in heads[:3]]
    if derivation is None:
        return graph_diagram(drawn, heads, ", ".join(names))
    return derivation_diagram(drawn, derivation, words(drawn.lang)["derivation"].format(name=names[0]))


def _extent(thing: Any) -> tuple[Graph, list[int], list[int]]:
    """The graph, the ids of what it is drawn for, and all ids that take part."""
    if isinstance(thing, Derivation):
        return thing.graph, [thing.scalar.id], thing.graph.ancestors([thing.scalar.id])
    if isinstance(thing, Graph):
        read = {i for n in thing.nodes for i in n.inputs}
        heads = [n.id for n in thing.nodes if n.id not in read and n.operator.kind not in ("leaf", "size")]
        return thing, heads, list(range(len(thing.nodes)))
    tensors = [thing] if isinstance(thing, Tensor) else list(thing)
    if any(t.graph is not tensors[0].graph for t in tensors):
        raise GraphgradError("draw takes tensors of one graph, but those that were given are of several")
    return tensors[0].graph, [t.id for t in tensors], tensors[0].graph.ancestors([t.id for t in tensors])


def _id(graph: Graph, what: Any, option: str) -> int:
    """A node by its tensor or its name."""
    if isinstance(what, Tensor) and what.graph is graph:
        return what.id
    if isinstance(what, str) and what in graph:
        return graph[what].id
    known = ", ".join(list(dict.fromkeys(name for names in graph.names.values() for name in names))[:12])
    raise GraphgradError(f"{option}={what!r} is neither a tensor nor a name of the graph; there are: {known}")


def _only(graph: Graph, ids: Sequence[int], what: Any) -> tuple[list[int], frozenset[int]]:
    """The path of one tensor's influence, with what its steps read beside it, and without."""
    start = _id(graph, what, "only")
    on_path = {start}
    for i in ids:
        if any(s in on_path for s in graph.nodes[i].inputs):
            on_path.add(i)
    if len(on_path) < 2:
        raise GraphgradError(f"only={graph.label(start)}: what is drawn does not depend on it")
    beside = {s for i in on_path for s in graph.nodes[i].inputs}
    beside |= {s for i in beside if is_matrix_transpose(graph.nodes[i]) for s in graph.nodes[i].inputs}
    return [i for i in ids if i in on_path or i in beside], frozenset(on_path)


def _view(
    graph: Graph, derivation: Derivation | None, ids: Sequence[int], heads: Sequence[int], options: Options
) -> View:
    """The finest view that a slide holds, or the one that was asked for."""
    keep = list(heads)
    if derivation is not None:
        keep += [t.id for t in derivation.gradients]
    every = scopes_at(graph, ids, 0)
    if isinstance(options.fold, bool) or options.fold is None:
        folded: Sequence[str] | None = None
    else:
        folded = [options.fold] if isinstance(options.fold, str) else list(options.fold)
        known = {"/".join(s.split("/")[:k]) for s in graph.scopes.values() for k in range(1, s.count("/") + 2)}
        for name in folded:
            if name not in known:
                raise GraphgradError(f"fold={name!r} names no scope; there are: {', '.join(sorted(known)) or 'none'}")
    level = options.detail if options.detail in ("operations", "names") else "names"
    if folded is not None:
        return view(graph, ids, keep, level, scopes=folded)
    if options.depth is not None:
        return view(graph, ids, keep, level, scopes=scopes_at(graph, ids, options.depth))
    if options.detail in ("operations", "names"):
        return view(graph, ids, keep, options.detail)
    if options.detail == "layers":
        return view(graph, ids, keep, "layers", scopes=every, repeat=options.fold is not False)
    tries = [view(graph, ids, keep, "operations"), view(graph, ids, keep, "names")]
    if every and options.fold is not False:
        tries.append(view(graph, ids, keep, "layers", scopes=every))
        tries.append(view(graph, ids, keep, "layers", scopes=every, repeat=True))
    for v in tries:
        if _fits(v, derivation):
            return v
    if options.fold is not False and len(tries[-1].shown) + len(tries[-1].groups) > MOST_BOXES:
        boxes = len(tries[-1].shown) + len(tries[-1].groups)
        warnings.warn(
            f"the picture has {boxes} boxes, more than a slide holds: depth=, fold=, only= and hide= make it smaller, "
            "and scopes (with g.scope(name):) let it fold",
            DrawingWarning,
            stacklevel=4,
        )
    return tries[-1] if options.fold is not False else tries[0]


def _fits(v: View, derivation: Derivation | None) -> bool:
    graph, rank = v.graph, dict[Any, int]()
    for i in v.ids:
        key = v.host[i]
        before = [rank[v.host[s]] + 1 for s in graph.nodes[i].inputs if s in v.host and v.host[s] != key]
        rank[key] = max([rank.get(key, 0), *before])
    steps = sum(1 for s in derivation.steps if v.formula.get(s.target) == s.target) if derivation is not None else 0
    boxes = len(rank) + (steps if not v.groups else len(v.groups) + 4)
    return boxes <= MOST_BOXES and max(rank.values(), default=0) < MOST_RANKS


def _values(graph: Graph, derivation: Derivation | None, ids: Sequence[int], given: Mapping[str, Any]) -> Values:
    """The values of all nodes, and of all adjoints, for leaves by name."""
    wanted = [i for i in ids if graph.nodes[i].operator.kind != "size"]
    adjoints = [s.contribution.id for s in derivation.steps] if derivation is not None else []
    with np.errstate(all="ignore"):  # what is not finite is shown as such
        found = evaluate_nodes(graph, [*wanted, *adjoints], given)
    own = set(ids)
    return Values.collect(found, ids, [i for i in adjoints if i not in own])


def _looks(drawn: Drawn, derivation: Derivation, diagram: Diagram) -> list[Look]:
    """A frame for the forward pass, then one for each box of the backward pass."""
    back = [b for b in diagram.boxes if b.lane == "backward"]
    known = {s.step.number: s for s in shares(drawn, derivation)}
    everything = frozenset(b.id for b in back)
    start = TOLD[drawn.lang]["start"].format(name=drawn.naming.node(derivation.scalar.id))
    looks = [Look(faint=everything, caption=start)]
    done: set[str] = set()
    for box in back:
        done.add(box.id)
        told = [sentence(drawn, derivation, known[n]) for n in box.steps if n in known]
        caption = told[-1] if box.id.startswith("s") and told else f"{box.title}."
        share = known.get(box.steps[-1]) if box.steps else None
        origin = frozenset({drawn.key(share.origin)}) if share is not None else frozenset()
        looks.append(Look(frozenset({box.id}), origin, everything - done, caption))
    return looks
