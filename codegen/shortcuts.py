"""Which statements a step can do without, or nearly always: what the printer writes in another way."""

from __future__ import annotations

from .literals import code
from .program import Program


def seldom_products(program: Program) -> dict[int, int]:
    """Products of something held, in its place, by a number that a condition makes other than 1; with that number."""
    nodes = program.graph.nodes
    users: dict[int, list[int]] = {
        id: [] for id in program.step if nodes[id].weak and nodes[id].operator.name == "where"
    }
    for id in program.step if users else ():
        for i in nodes[id].inputs:
            if i in users:
                users[i].append(id)
    wanted = {*program.outputs, *(value for _, value in program.updates)}
    found: dict[int, int] = {}
    for id, products in users.items():
        node = nodes[id]
        if id in wanted or not products:
            continue
        usual = program.node(node.inputs[2])
        is_one = usual.operator.name == "constant" and usual["value"].array.item() == 1
        in_place = [p for p in products if program.storage_of.get(p) in program.node(p).inputs]
        if is_one and in_place == [p for p in products if program.node(p).operator.name == "multiply"] == products:
            found |= dict.fromkeys(products, id)
    return found


def spread_numbers(program: Program) -> dict[int, str]:
    """Constants that are one number in all places, and that nothing reads but what they are a part of: the number."""
    found: dict[int, str] = {}
    for id in program.prologue:
        node = program.node(id)
        if node.operator.name == "broadcast_to" and program.roles[id] == "view":
            source = program.node(node.inputs[0])
            if source.operator.name == "constant" and source["value"].array.ndim == 0:
                found[id] = code(source["value"].array.item())
    for id in (*program.prologue, *program.step) if found else ():
        joins = program.node(id).operator.kind == "pack" or id in program.lasting
        for i in () if joins else program.node(id).inputs:
            found.pop(i, None)
    for id in program.outputs:
        found.pop(program.base(id), None)
        found.pop(id, None)
    return found
