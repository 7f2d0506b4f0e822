"""Long elementwise chains in blocks that stay in the cache: a loop over slices in place of passes over whole vectors.

An update over a million parameters reads and writes each of its vectors once for every statement; in blocks of an
eighth of the L2 cache, each comes from memory once in all. Values that only the chain itself reads need no more memory
than a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from graphgrad.node import Node
from graphgrad.types import count

from .program import ITEM_SIZE, Program, refusing

LEAST = 1 << 20  # bytes of all vectors of a chain together, under which they stay in the cache as they are
DEFAULT_L2 = 1 << 20


def find_blocks(program: Program, block: int) -> Program:
    """The program with its long chains marked: consecutive statements by elements over arrays of one shape.

    `block` is the size of a block in bytes of each vector; 0 leaves all as it is. Numbers that stand between such
    statements and depend on none of them are computed before.
    """
    if not block:
        return program
    step: list[int] = []
    chains: list[tuple[int, ...]] = []
    chain: list[int] = []
    between: list[int] = []  # numbers that go before the chain

    def close() -> None:
        if _is_long(program, chain):
            chains.append(tuple(chain))
        step.extend([*between, *chain])
        chain.clear()
        between.clear()

    uncertain = refusing(program)  # a block would be written before the next one raises
    nodes = program.graph.nodes
    for id in program.step:
        node = nodes[id]
        if program.roles[id] == "scalar" and not any(i in chain for i in program.reads[id]):
            (between if chain else step).append(id)
            continue
        by_elements = id not in uncertain and _by_elements(program, node)
        if chain and (not by_elements or nodes[chain[0]].shape != node.shape):
            close()
        (chain if by_elements else step).append(id)
    close()
    return replace(program, step=tuple(step), chains=tuple(chains), block=block) if chains else program


def _by_elements(program: Program, node: Node) -> bool:
    """A statement that computes each element of an array from the same element of others, and from numbers."""
    if program.roles[node.id] != "call" or node.operator.kind != "elementwise" or not node.shape:
        return False
    if not isinstance(count(node.shape), int) or not isinstance(node.operator.numpy, str):
        return False
    operands = [program.node(i) for i in node.inputs]
    # What a caller gives may lie in memory in any order, and of a view only its base is known to be a run.
    whole = all(n.shape == node.shape and program.roles[n.id] in ("call", "held") for n in operands if n.shape)
    # A number that is a view of an array's element: a block may write the array before the next block reads it.
    alone = all(not program.node(program.base(n.id)).shape for n in operands if not n.shape)
    return whole and alone and not any(mark in node.operator.numpy for mark in ("{zeros}", ":wide}"))


def _is_long(program: Program, chain: Sequence[int]) -> bool:
    if len(chain) < 2:
        return False
    arrays = {i for id in chain for i in (id, *program.reads[id]) if program.node(i).shape}
    length = count(program.node(chain[0]).shape)
    size = sum(ITEM_SIZE[program.node(i).dtype] for i in arrays)
    return isinstance(length, int) and size * length >= LEAST


def inner_values(program: Program) -> set[int]:
    """What only its own chain reads."""
    if not program.chains:
        return set()
    chain_of = {id: k for k, chain in enumerate(program.chains) for id in chain}
    ends = {program.base(i) for i in program.outputs} | {value for _, value in program.updates}
    inner = set(chain_of) - ends
    for id in program.step:
        for source in program.reads[id]:
            if source in inner and chain_of.get(id) != chain_of[source]:
                inner.discard(source)
    return inner


def block_bytes() -> int:
    """An eighth of this machine's L2 cache, which one core has for itself.

    An update's five vectors fit then. Of a small cache it is a quarter: shorter blocks cost more calls than they save.
    """
    try:
        text = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text().strip()
        size = int(text[:-1]) * {"K": 1 << 10, "M": 1 << 20}[text[-1]] if text[-1] in "KM" else int(text)
    except (OSError, ValueError, KeyError, IndexError):
        size = DEFAULT_L2
    size = max(size, 1 << 16)
    return max(size // 8, min(size // 4, 1 << 17))
