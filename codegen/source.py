"""The whole text of a generated module: what a printer gave, framed, with the formula of each statement above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphgrad.notation import formula

from .plain_numbers import LONGEST
from .printed import Printed


def comment(printed: Printed, id: int) -> str:
    """The formula of a statement: its step of the derivation, or its node in the names that the code uses."""
    graph = printed.program.graph
    record = graph.records.get(id)
    if record is not None:
        text = record.told(
            {w: _as_written(printed, i) for i, w in printed.program.origins.items() if i in printed.names}
        )
    else:
        names = {i: printed.names.get(i) or graph.label(i) for i in graph.nodes[id].inputs if i in printed.names}
        text = f"{printed.names[id]} = {formula(graph, id, names)}"
    if id in printed.program.again:
        text += f", computed again: {printed.names[printed.program.again[id]]} is not kept until here, to save memory"
    # A name may hold any character: none that is not seen gets into the source.
    return "# " + "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def _as_written(printed: Printed, id: int) -> str:
    """What a step of the derivation calls a value: of x_T, which holds xᵀ, it says x."""
    name = printed.names[id]
    if id not in printed.program.turned:
        return name
    return name.removesuffix("_T") if name.endswith("_T") else f"{name}ᵀ"


def frame(printed: Printed, name: str = "step") -> tuple[list[str], dict[int, int], dict[int, int]]:
    """The generated text, the node of each statement's line (numbered from 1), and of each line left to `comment`."""
    lines: list[str] = []
    nodes: dict[int, int] = {}
    comments: dict[int, int] = {}

    def put(block: Sequence[tuple[str, int | None]], indent: str = "") -> None:
        number = len(lines)
        for text, id in block:
            for part in text.split("\n") if "\n" in text else (text,):
                number += 1
                lines.append(indent + part)
                if id is not None:
                    (comments if text[-1] == "#" and text.strip() == "#" else nodes)[number] = id

    for id, unit in printed.program.units.items():
        state = printed.names[id]
        scale = " · ".join([f"{unit.factor:g}"] * (unit.factor != 1) + [f"{unit.base:.7g}^e"] * (unit.base != 1))
        scale = f"({scale})" if "·" in scale else scale
        told = f"# {state} is kept as {state} / {scale}, which saves a pass over it; `state` gives {state} itself."
        put([(told, None)])
    if grown := [unit for unit in printed.program.units.values() if unit.base != 1]:
        counter = next(printed.names[n.id] for n in printed.program.held if n["name"] == grown[0].counter)
        told = f"# There e is {counter} % {grown[0].period}; the gradient is computed in units that fit."
        told += " A list x_of has x for each e." if grown[0].period <= LONGEST else ""
        put([(told, None)])
    if printed.program.with_biases:
        told = ", ".join(printed.names[id] for id in printed.program.with_biases)
        told = f"# Of {told} the last row is the bias: x @ W + b is one product, x_ones @ W_b, with x beside ones."
        put([(told, None)])
    if any(printed.program.node(id).operator.name == "take_off" for id in printed.program.step):
        told = "# c·(p - onehot(y)) is c·p, less c at each row's label; c·(e / s) is e / (s / c), with s for each row."
        put([(told, None)])
    put([("# The functions that the step calls, by their bare names.", None)] if printed.functions else [])
    put([(f"{bare} = {path}", None) for bare, path in printed.functions.items()])
    for source in printed.support.values():
        put([("", None), (source.rstrip(), None)])
    if printed.prologue:
        put([("", None), ("# Once for each workspace: constants, and views of buffers.", None)])
        put(printed.prologue)
    whole = len(printed.pieces) == 1
    shared = {known: k for k, known in enumerate([*printed.inputs, *printed.locals])}
    for k, piece in enumerate(printed.pieces, 1):
        if whole:
            break
        put([("", None), ("", None), (f"def {name}_{k}():", None)])
        if used := _assigned(piece, shared):
            put([(f"global {', '.join(used)}", None)], "    ")
        put(piece or [("pass", None)], "    ")
    put([("", None), ("", None)])
    if whole:
        put([(f"def {name}({', '.join(printed.inputs)}):", None)])
        put(printed.pieces[0], "    ")
    else:
        put([(f"def {name}(*arguments):", None)])
        if printed.inputs:
            put([(f"global {', '.join(printed.inputs)}", None)], "    ")
            put([(f"{', '.join(printed.inputs)}, = arguments", None)], "    ")
        put([(f"{name}_{k}()", None) for k in range(1, len(printed.pieces) + 1)], "    ")
    put([(f"return {printed.result}", None)], "    ")
    return lines, nodes, comments


def _assigned(piece: Sequence[tuple[str, int | None]], shared: Mapping[str, int]) -> list[str]:
    assigned = {text.split(" = ", 1)[0] for text, _ in piece if " = " in text and not text.startswith("#")}
    return sorted(shared.keys() & assigned, key=shared.__getitem__)
