"""A program run without numbers: every byte of memory carries the id of the node whose value was last written there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import graphgrad as gg
from graphgrad.codegen.memory import Plan, assign, plan
from graphgrad.codegen.prepare import prepare
from graphgrad.codegen.program import ITEM_SIZE, Program
from graphgrad.codegen.schedule import schedule
from graphgrad.types import count, size_of

Region = tuple[Any, int, int]  # memory, first byte, byte after the last


def program_of(
    outputs: list[gg.Tensor], updates: dict[gg.Tensor, gg.Tensor] | None = None, *, exact: bool = True
) -> Program:
    """What `compile` prints: the program, scheduled and with memory."""
    program, _ = prepare(outputs, updates or {}, exact=exact)
    return assign(schedule(program))


@dataclass
class Simulation:
    """The memory while the step runs. `run` raises AssertionError where a value that is gone is read."""

    program: Program
    sizes: dict[str, int]
    plan: Plan = field(init=False)
    memory: dict[Any, Any] = field(default_factory=dict)  # "arena" or a held leaf -> the id in each byte
    #: Of each value: where it lies, and the id that stands there.
    parts: dict[int, list[tuple[Region, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plan = plan(self.program, self.sizes)
        self.memory["arena"] = np.full(self.plan.size, -1)
        for leaf in self.program.held:
            self.memory[leaf.id] = np.full(self.bytes(leaf.id), leaf.id)
            self.parts[leaf.id] = [((leaf.id, 0, self.bytes(leaf.id)), leaf.id)]

    def bytes(self, id: int) -> int:
        node = self.program.node(id)
        return size_of(count(node.shape), self.sizes) * ITEM_SIZE[node.dtype]

    def region(self, id: int) -> Region:
        """Where a statement writes."""
        owner, start = self.program.storage_of.get(id, id), 0
        if owner in self.memory:
            return owner, 0, self.bytes(id)
        if id in self.program.placed:
            pack, position = self.program.placed[id]
            assert owner == self.program.storage_of[pack]
            start = size_of(position, self.sizes) * ITEM_SIZE[self.program.node(id).dtype]
        start += self.plan.offsets[owner]
        room = size_of(self.program.storages[owner].size, self.sizes)
        assert start + self.bytes(id) <= self.plan.offsets[owner] + room, f"v{id} writes over the end of its storage"
        return "arena", start, start + self.bytes(id)

    def write(self, region: Region, id: int) -> None:
        memory, start, stop = region
        self.memory[memory][start:stop] = id

    def check(self, id: int, reader: str) -> None:
        """The value of a node is still where it was written."""
        base = self.program.base(id)
        if self.program.roles[base] not in ("call", "held") or self.program.stages[base] == 0:
            return
        assert base in self.parts, f"{reader} reads v{base} before it is computed"
        for (memory, start, stop), tag in self.parts[base]:
            found = set(self.memory[memory][start:stop].tolist())
            assert found <= {tag}, f"{reader} reads v{base}, but its memory holds {sorted(found - {tag})}"

    def run(self) -> None:
        program = self.program
        for id in program.step:
            node = program.node(id)
            for i in node.inputs if program.roles[id] != "view" else ():  # a view reads nothing yet
                self.check(i, f"v{id} = {node.operator.name}")
            if program.roles[id] == "call":
                self.pack(id) if node.operator.kind == "pack" else self.call(id)
        numbers = [i for i in program.outputs if program.node(i).weak]
        for output in numbers:  # made into arrays before anything is copied
            self.check(output, "the caller")
        for leaf, value in program.copies:
            self.check(value, f"the update of v{leaf}")
            self.write((leaf, 0, self.bytes(leaf)), value)
        for output in program.outputs:
            if output not in numbers:
                self.check(output, "the caller")
        copied = dict(program.copies)
        for leaf, value in program.updates:
            if leaf not in copied:
                assert program.storage_of[value] == leaf
                self.check(value, f"the next call, of v{leaf},")

    def call(self, id: int) -> None:
        program, node, region = self.program, self.program.node(id), self.region(id)
        for i in node.inputs:
            base = program.base(i)
            if program.stages[base] and base in self.parts:
                other = self.region(base)
                if overlap(region, other):
                    source = program.node(base)
                    same = (region, base, node.shape, node.dtype) == (other, i, source.shape, source.dtype)
                    one = node.operator.kind == "elementwise" and isinstance(node.operator.numpy, str)
                    fine = same and one
                    assert fine, f"v{id} = {node.operator.name} writes over its operand v{i}"
        self.write(region, id)
        self.parts[id] = [(region, id)]

    def pack(self, id: int) -> None:
        memory, start, _ = self.region(id)
        self.parts[id] = []
        size = ITEM_SIZE[self.program.node(id).dtype]
        position: Any = 0
        for i in self.program.node(id).inputs:
            base, at = self.program.base(i), start + size_of(position, self.sizes) * size
            elements = count(self.program.node(i).shape)
            part: Region = (memory, at, at + size_of(elements, self.sizes) * size)
            if self.program.placed.get(base) == (id, position):
                assert self.region(base) == part, f"v{base} is not where the pack v{id} has it"
                self.parts[id].append((part, base))
            else:
                self.write(part, id)
                self.parts[id].append((part, id))
            position = position + elements
        assert sum(stop - begin for (_, begin, stop), _ in self.parts[id]) == self.bytes(id)  # the operands tile it


def overlap(a: Region, b: Region) -> bool:
    return a[0] == b[0] and max(a[1], b[1]) < min(a[2], b[2])


def simulate(program: Program, **sizes: int) -> Simulation:
    """Run a program without numbers; raises AssertionError where memory is overwritten too early."""
    simulation = Simulation(program, sizes)
    simulation.run()
    return simulation


def positions(program: Program) -> dict[int, int]:
    return {id: k for k, id in enumerate(program.step)}
