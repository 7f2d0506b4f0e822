"""The derivation in a picture: a box for each step, and what it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphgrad.derivation import Derivation, Step
from graphgrad.notation import repeated
from graphgrad.render.diagram import Box, Edge, formula_line, small_line
from graphgrad.render.folding import in_scope
from graphgrad.render.forward import LINES, Drawn, fitting, with_values
from graphgrad.render.naming import Naming
from graphgrad.render.words import words
from graphgrad.types import show


@dataclass(frozen=True)
class Share:
    """A box of the backward pass: the last of its steps, those that are written out inside it, and its origin."""

    step: Step
    inner: tuple[Step, ...]  # in the order of the derivation, the last one included
    origin: int  # the forward node, with a box of its own, whose adjoint it starts from

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(s.number for s in self.inner)


def shares(drawn: Drawn, derivation: Derivation) -> list[Share]:
    """The boxes of the backward pass, in the order of the derivation. Steps towards a node that stands inside another's
    box are written out in those that go on from it."""
    inside, contributions = drawn.view.formula, derivation.contributions
    made = []
    for step in derivation.steps:
        target = step.target
        if inside.get(target) != target or (drawn.path is not None and target not in drawn.path):
            continue
        inner, origin = [step], step.forward.id
        while step.operand is not None and inside[origin] != origin:
            (before,) = contributions[origin]  # one reader, so one contribution
            inner.append(before)
            origin = before.forward.id
        made.append(Share(step, tuple(reversed(inner)), origin))
    return made


def share_formula(drawn: Drawn, derivation: Derivation, share: Share, *, latex: bool) -> tuple[str, str]:
    """Left and right side of a step."""
    naming, step = drawn.naming, share.step
    several = len(derivation.contributions.get(step.target, ())) > 1
    if step.operand is None or not several:
        left = naming.adjoint(step.target, latex=latex)
    else:
        left = _contribution(naming, step, latex=latex)
    if step.rule == "seed":
        return left, "1"
    if step.operand is None:
        parts = derivation.contributions[step.target]
        return left, " + ".join(_contribution(naming, s, latex=latex) for s in parts)
    origin = derivation.adjoints[share.origin]
    shown = repeated(drawn.graph, step.contribution.id, drawn.named | {origin.id})
    if shown == origin.id:
        return left, naming.adjoint(share.origin, latex=latex)
    if len(share.inner) == 1 and drawn.graph.nodes[shown].operator.name == "constant":
        written = step.in_words(
            lambda i: naming.node(i, latex=latex), naming.operand(share.origin, latex=latex), latex=latex
        )
        if written:
            return left, written
    adjoints = {} if origin.id in step.forward.inputs else {origin.id: share.origin}
    own = shown not in drawn.named or (shown == step.contribution.id and bool(step.new))
    return left, naming.formula(shown, drawn.named, adjoints, own=own, latex=latex)


def _contribution(naming: Naming, step: Step, *, latex: bool) -> str:
    twice = step.forward.inputs.count(step.target) > 1
    return naming.contribution(step.target, step.forward.id, step.operand if twice else None, latex=latex)


def backward_boxes(drawn: Drawn, derivation: Derivation, lane: str) -> list[Box]:
    """A box for each step that has one; the steps of folded scopes stand together."""
    final = {s.target: s.number for s in derivation.steps}
    gradients = {t.id for t in derivation.gradients}
    made: list[Box] = []
    together: dict[str, list[Share]] = {}
    for share in shares(drawn, derivation):
        scope = drawn.view.host.get(share.step.forward.id)
        if isinstance(scope, str):
            together.setdefault(scope, []).append(share)
            if len(together[scope]) == 1:
                made.append(Box(scope, "adjoint", (), ""))  # its place; filled below
            continue
        whole = final[share.step.target] == share.step.number and share.step.target in gradients
        made.append(_step_box(drawn, derivation, share, "gradient" if whole else "adjoint", lane))
    return [_scope_steps(drawn, derivation, b.id, together[b.id], lane) if b.id in together else b for b in made]


def _step_box(drawn: Drawn, derivation: Derivation, share: Share, kind: str, lane: str) -> Box:
    naming, step = drawn.naming, share.step
    rule = step_rule(share, drawn.lang)
    tex, text = (" = ".join(share_formula(drawn, derivation, share, latex=l)) for l in (True, False))
    line = fitting(tex, text)
    if line is None:
        left = [share_formula(drawn, derivation, share, latex=l)[0] for l in (True, False)]
        adjoint = [naming.adjoint(share.origin, latex=l) for l in (True, False)]
        line = formula_line(
            rf"{left[0]} = \text{{{rule}}}^{{*}}({adjoint[0]}, \ldots)", f"{left[1]} = {rule}*({adjoint[1]}, …)"
        )
    lines = [line, small_line(f"{step_numbers(share.numbers)}  {rule}")]
    if kind == "gradient":
        scalar, target = naming.node(derivation.scalar.id), naming.node(step.target)
        lines.append(small_line(f"∂{scalar}/∂{target}  {show(drawn.graph.nodes[step.target].shape)}", "gradient.text"))
    lines, strip = with_values(drawn, step.contribution.id, lines)
    title = f"{step_numbers(share.numbers)}. {line.run.text}: {rule}"
    column = drawn.key(step.target)
    return Box(
        f"s{step.number}",
        kind,
        tuple(lines),
        title,
        lane,
        column,
        strip,
        (step.contribution.id,),
        share.numbers,
        name=share_formula(drawn, derivation, share, latex=False)[0],
    )


def step_rule(share: Share, lang: str) -> str:
    """The rules of a box, those that only exchange axes left out."""
    if share.step.operand is None:
        return words(lang)["seed" if share.step.rule == "seed" else "sum"]
    rules = [s.rule for s in share.inner if s.rule != "transpose"] or ["transpose"]
    return " · ".join(dict.fromkeys(rules)).replace("_", " ")


def step_numbers(numbers: Sequence[int]) -> str:
    """1, 2 or 3, 6, 7: the numbers of the steps in a box."""
    return ", ".join(map(str, numbers))


def _scope_steps(drawn: Drawn, derivation: Derivation, scope: str, together: Sequence[Share], lane: str) -> Box:
    """The backward pass of a folded scope: the formulas of the gradients first, then what it hands on."""
    graph, repeats = drawn.graph, drawn.view.repeats.get(scope, (scope,))
    gradients = {t.id for t in derivation.gradients}
    told = [s for s in together if s.step.target in graph.names]
    if len(repeats) > 1:
        told = [s for s in told if in_scope(graph, s.step.forward.id, scope)]
    told = sorted(told, key=lambda s: s.step.target not in gradients)
    lines = [
        formula_line(*(" = ".join(share_formula(drawn, derivation, s, latex=l)) for l in (True, False)))
        for s in told[:LINES]
    ]
    if len(told) > LINES:
        lines.append(small_line(words(drawn.lang)["more"].format(n=len(told) - LINES)))
    numbers = sorted({n for s in together for n in s.numbers})
    what = repeats[0] if len(repeats) == 1 else f"{repeats[0]} … {repeats[-1]}  × {len(repeats)}"
    lines.append(small_line(f"{numbers[0]} – {numbers[-1]}  {what}"))
    has_gradient = any(s.step.target in gradients for s in together)
    key = drawn.key(next(i for i in drawn.view.ids if drawn.view.host[i] == scope))
    ids = tuple(s.step.contribution.id for s in together)
    kind = "gradient" if has_gradient else "adjoint"
    title = f"{what}, {words(drawn.lang)['backward']}"
    return Box(f"b{key}", kind, tuple(lines), title, lane, key, None, ids, tuple(numbers), name=title)


def backward_edges(drawn: Drawn, derivation: Derivation, boxes: Sequence[Box]) -> list[Edge]:
    """From each adjoint to what is made of it, and, dashed, from the forward values that are used again."""
    box_of = {number: box.id for box in boxes for number in (box.steps[-1:] if box.id[0] == "s" else box.steps)}
    whole = {s.target: s.number for s in derivation.steps}
    edges: dict[tuple[str, str, str], Edge] = {}

    def add(source: str | None, target: str | None, kind: str) -> None:
        if source is None or target is None or source == target:
            return
        edges.setdefault((source, target, kind), Edge(f"{source}-{target}-{kind}", source, target, kind))

    for share in shares(drawn, derivation):
        own = box_of.get(share.step.number)
        if share.step.rule == "seed":
            continue
        if share.step.operand is None:
            for part in derivation.contributions[share.step.target]:
                add(box_of.get(part.number), own, "adjoint")
            continue
        add(box_of.get(whole[share.origin]), own, "adjoint")
        for used in used_values(drawn, derivation, share):
            if drawn.view.host[used] not in drawn.hidden:
                add(drawn.key(used), own, "saved")
    return list(edges.values())


def used_values(drawn: Drawn, derivation: Derivation, share: Share) -> list[int]:
    """The forward nodes whose values a step reads, down to nodes with a box and to the adjoint that it starts from."""
    graph, host = drawn.graph, drawn.view.host
    stop = derivation.adjoints[share.origin].id
    found: list[int] = []
    stack, seen = [share.step.contribution.id], set[int]()
    while stack:
        i = stack.pop()
        if i in seen or (i == stop and i not in host):
            continue
        seen.add(i)
        written_out = isinstance(host.get(i), int) and host[i] != i  # in another's box, and in this formula
        if i in host and not written_out and (i != share.step.contribution.id or not share.step.new):
            found.append(i)
        elif i != stop:
            stack.extend(graph.nodes[i].inputs)
    return sorted(set(found))
