"""Values computed late: the same bits in less memory, and nothing that is gone or changed is read."""

from __future__ import annotations

import doctest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

import graphgrad as gg
from graphgrad.codegen import blocks, compiler, pieces
from graphgrad.codegen import late as late_values
from graphgrad.codegen.blocks import find_blocks
from graphgrad.codegen.late import CHEAP, EARLY, compute_late, gaps, is_smaller, samples
from graphgrad.codegen.loader import Function
from graphgrad.codegen.memory import ALIGNMENT, assign, plan
from graphgrad.codegen.program import Program, Storage, build, scheduled
from graphgrad.operator import OPERATORS
from graphgrad.operators.slices import pack
from graphgrad.tensor import Tensor
from graphgrad.types import size_of
from tests.codegen.simulate import positions, program_of, simulate
from tests.random_graphs import Case, cases, gradients

few = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)
N: Any = gg.Graph().input("x", ("N",)).shape[0]
#: What N is taken for, beside the sizes that the pass itself looks at.
SIZES = (5, 6, 17, 64, 100, 1000, 4096, 30000)


@contextmanager
def nothing_late() -> Iterator[None]:
    def same(program: Program, *, again: bool) -> tuple[Program, dict[int, Tensor]]:
        return program, {id: program.graph.tensor(id) for id in program.roles}

    with mock.patch.object(compiler, "compute_late", same):
        yield


def both(make: Callable[[], Any]) -> tuple[Any, Any]:
    """Made with the pass, and without."""
    made = make()
    with nothing_late():
        return made, make()


def twice(program: Program) -> list[str]:
    """The operators of what is computed twice."""
    return [program.node(i).operator.name for i in program.again]


def statements(program: Program) -> list[str]:
    return sorted(program.node(i).operator.name for i in program.step if program.roles[i] == "call")


# -- networks ---------------------------------------------------------------------------------------------------------


def trainer(widths: list[int], activation: str, loss: str, memory: str) -> gg.Trainer:
    return gg.Trainer(gg.feedforward(widths, activation=activation, loss=loss), memory=memory, seed=3)


@pytest.mark.parametrize(
    ("widths", "activation", "loss", "memory", "n", "bytes_with", "bytes_without"),
    [
        # x1 and x2 of the forward pass are computed again: two of twelve buffers of 1024 x 128 numbers.
        ([64, 128, 128, 128, 10], "mish", "cross_entropy", "low", 1024, 5292096, 6352896),
        ([64] * 51, "mish", "mse", "low", 64, 2474304, 3260736),
        # Masks of relu are computed when x1 dies, not right after it.
        ([13, 64, 64, 1], "relu", "mse", "fast", 4096, 2625664, 2887808),
        ([64, 128, 64, 10], "relu", "cross_entropy", "low", 1024, 950336, 1026624),
        # Derivatives by the result: nothing waits.
        ([64, 128, 128, 10], "tanh", "mse", "low", 1024, 1638464, 1638464),
    ],
)
def test_workspaces_of_networks(
    widths: list[int], activation: str, loss: str, memory: str, n: int, bytes_with: int, bytes_without: int
) -> None:
    def function() -> gg.Function:
        made = trainer(widths, activation, loss, memory)
        y = np.zeros(n, np.int64) if loss == "cross_entropy" else np.zeros((n, widths[-1]))
        made.step(np.zeros((n, widths[0])), y)  # by which it is settled how values lie
        return made.function

    late, early = both(function)
    assert (late.workspace_bytes(N=n), early.workspace_bytes(N=n)) == (bytes_with, bytes_without)


def test_what_is_known_of_nodes_moves_along() -> None:
    late, early = both(lambda: trainer([13, 64, 64, 1], "relu", "mse", "fast").function)
    known = [{f.program.graph.label(id) for id in f.program.with_biases} for f in (late, early)]
    assert known[0] == known[1] == {"W1ᵀ_b1", "W3ᵀ_b3"}
    assert late.source.startswith(early.source[: early.source.index("# The functions")])
    assert len(late.program.turned) == len(early.program.turned) > 0


@pytest.mark.parametrize("memory", ["fast", "low"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", "silu", "mish", "softplus", "elu", "sigmoid"])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "huber"])
def test_training_leaves_the_same_bits(activation: str, loss: str, memory: str) -> None:
    late, early = both(lambda: trainer([5, 32, 32, 32, 3], activation, loss, memory))
    generator = np.random.default_rng(0)
    for n in (7, 64, 7):
        x = generator.normal(size=(n, 5))
        y = generator.integers(0, 3, n) if loss == "cross_entropy" else generator.normal(size=(n, 3))
        assert late.step(x, y) == early.step(x, y)
        for name, value in late.parameters.items():
            np.testing.assert_array_equal(value, early.parameters[name])
        for name, state in late.state.items():
            np.testing.assert_array_equal(state, early.state[name])
    if memory == "fast":
        assert not late.function.program.again
        assert statements(late.function.program) == statements(early.function.program)
    elif activation == "mish":
        assert twice(late.function.program) == ["multiply", "multiply"]


def test_a_layer_norm_and_a_highway_are_kept_in_fewer_pieces() -> None:
    g = gg.Graph()
    x = g.input("x", ("N", 64))
    z = x @ g.parameter("W", (64, 64))
    centred = z - gg.mean(z, axis=1, keepdims=True)
    norm = centred * (1 / gg.sqrt(gg.mean(centred * centred, axis=1, keepdims=True) + 1e-5))
    h = gg.tanh(norm * g.parameter("gamma", (64,)) + g.parameter("beta", (64,)))
    gate = gg.sigmoid(h @ g.parameter("G", (64, 64)))
    loss = gg.mean((gate * gg.tanh(h @ g.parameter("V", (64, 64))) + (1 - gate) * h) ** 2)
    d = gg.derive(loss)
    late, early = both(lambda: gg.compile([loss, *d.values()], memory="low"))
    assert sorted(twice(late.program)) == ["multiply", "subtract"]
    assert (late.workspace_bytes(N=1000), early.workspace_bytes(N=1000)) == (4144832, 5168832)
    agree(late, early)


def agree(late: Function, early: Function) -> None:
    arrays = random_arrays(late, N=5)
    for one, other in zip(late(**arrays), early(**arrays), strict=True):
        np.testing.assert_array_equal(one, other)


def random_arrays(f: Function, **sizes: int) -> dict[str, Any]:
    generator = np.random.default_rng(1)
    shapes = {n["name"]: [sizes.get(str(d), d) for d in n.shape] for n in f._inputs}
    return {name: generator.normal(size=tuple(map(int, shape))) for name, shape in shapes.items()}


# -- random graphs ----------------------------------------------------------------------------------------------------


def programs(case: Case) -> Iterator[Program]:
    yield program_of(case.outputs, case.updates, exact=False)
    derived = gradients(case)
    if derived is not None and case.scalar is not None:
        steps = {t: t - 0.1 * g for t, g in zip(case.wrt, derived, strict=True) if t.node.operator.name == "parameter"}
        yield program_of([case.scalar, *derived], steps, exact=False)


def alive(program: Program, n: int) -> int:
    """The most bytes that are alive at once, each storage rounded up as in the arena."""
    spans = [(-(-size_of(s.size, {"N": n}) // ALIGNMENT) * ALIGNMENT, s) for s in program.storages.values()]
    positions = range(len(program.step) + 1)
    return max(sum(size for size, s in spans if s.born <= position <= s.dies) for position in positions)


@given(cases())
@few
def test_random_workspaces_are_never_larger(case: Case) -> None:
    for before in programs(case):
        for again in (False, True):
            after, moved = compute_late(before, again=again)
            for sizes in samples(before):
                assert plan(after, sizes).size <= plan(before, sizes).size
            for n in SIZES:  # of which the packing alone may differ
                assert alive(after, n) <= alive(before, n)
            assert len(after.copies) <= len(before.copies)
            assert again or statements(after) == statements(before)
            # A view may be gone, where all that read it reads the second node's.
            assert all(i in moved or (again and before.roles[i] == "view") for i in before.step)
            assert all(moved[i].node.operator is before.node(i).operator for i in before.step if i in moved)


@given(cases())
@few
def test_random_programs_read_only_what_is_still_there(case: Case) -> None:
    for before in programs(case):
        for again in (False, True):
            after, _ = compute_late(before, again=again)
            for probe in case.probes:
                simulate(after, **probe.sizes)
            assert compute_late(before, again=again)[0].step == after.step


@given(cases())
@few
def test_random_graphs_have_the_same_results(case: Case) -> None:
    early = both(lambda: gg.compile(case.outputs, case.updates, block=0))[1]
    for block in (0, 16):
        with mock.patch.object(blocks, "LEAST", 0):  # short chains run in blocks too
            same_results(case, gg.compile(case.outputs, case.updates, memory="low", block=block), early)


def same_results(case: Case, late: Function, early: Function) -> None:
    states = {t.name: np.zeros(t.shape, t.dtype) for t in [*case.graph.leaves("state"), *case.updates]}  # type: ignore[arg-type]
    for f in (late, early):
        for t in case.updates:
            f.state[t.name] = (states | case.feeds[0])[t.name]
    with np.errstate(all="ignore"):
        for feed in case.feeds:
            arrays = {name: (states | feed)[name] for name in late._names}
            for one, other in zip(late(**arrays), early(**arrays), strict=True):
                np.testing.assert_array_equal(one, other)
            for t in case.updates:
                np.testing.assert_array_equal(late.state[t.name], early.state[t.name])


# -- what could go wrong ----------------------------------------------------------------------------------------------


def test_parameters_are_read_again_only_before_they_are_updated() -> None:
    """Each layer's weights are masked: w = W * M is read in both passes, and W is replaced in the same step."""
    g = gg.Graph()
    h = g.input("x", ("N", 48))
    for l in range(5):
        mask = g.constant((np.random.default_rng(l).random((48, 48)) < 0.5) * 1.0)
        h = gg.tanh(h @ (g.parameter(f"W{l}", (48, 48)) * mask).named(f"w{l}"))
    loss = gg.mean(h * h)
    updates = {W: W - 0.1 * dW for W, dW in gg.derive(loss).items()}
    late, early = both(lambda: gg.compile([loss], updates, memory="low"))
    program = late.program
    assert [late._printed.names[i] for i in program.again] == ["w3_again", "w2_again", "w1_again"]
    simulate(program, N=2)
    order, new = positions(program), dict(program.updates)
    for twin in program.again:
        (leaf,) = (i for i in program.reads[twin] if program.roles[i] == "held")
        assert order[twin] < order[new[leaf]]
        assert program.storage_of[new[leaf]] == leaf
    assert (late.workspace_bytes(N=64), early.workspace_bytes(N=64)) == (165952, 221248)
    for f in (late, early):
        for W in updates:
            f.state[W.name] = np.linspace(-1, 1, 48 * 48).reshape(48, 48)
    for x in np.random.default_rng(0).normal(size=(3, 2, 48)):
        assert late(x=x) == early(x=x)
        for W in updates:
            np.testing.assert_array_equal(late.state[W.name], early.state[W.name])


@pytest.mark.parametrize(
    ("order", "updated", "end_of_v", "end_of_w"),
    [
        ("a v w e k new u f last", True, "new", "new"),  # s is replaced before a dies
        ("a v w e k u new f last", True, "u", "new"),  # a dies, and u is written in its place
        ("a v w e k u f last", False, "u", "last"),
        ("a v w u new e k f last", True, "", "new"),  # v's operand is gone before e reads v
    ],
)
def test_a_gap_ends_where_an_operand_does(order: str, updated: bool, end_of_v: str, end_of_w: str) -> None:
    g = gg.Graph()
    x, s = g.input("x", (4, 4)), g.state("s", (4, 4))
    t = {"a": gg.tanh(x)}
    t["v"] = s * t["a"]  # read by e and last
    t["w"] = s * x  # read by last alone
    t |= {"e": t["v"] @ x, "k": gg.exp(x), "u": gg.exp(t["a"])}
    t["f"] = (t["e"] @ t["u"]).named("f")
    t["last"] = gg.where(t["f"] > t["k"], t["v"], t["w"])
    t["new"] = s + x
    updates = {s: t["new"]} if updated else {}
    program = build(g, [t["last"]], updates)
    steps = [i for name in order.split() for i in ([t["last"].node.inputs[0]] * (name == "last") + [t[name].id])]
    program = assign(scheduled(program, steps))
    at = {t[name].id: position for position, name in enumerate(order.split()) if name != "last"}
    found = {(gap.id, gap.again): gap.end for gap in gaps(program, again=True)}
    for name, again, end in (("v", True, end_of_v), ("w", False, end_of_w)):
        wanted = {"": None, "last": len(steps) - 1}.get(end, at.get(t[end].id) if end else None)
        assert found.get((t[name].id, again)) == wanted
    assert not {gap.id for gap in gaps(program, again=False) if gap.again}


def gaps_of(outputs: list[Tensor], order: list[Tensor], updates: dict[Tensor, Tensor] | None = None) -> set[int]:
    """What has a gap in an order by hand, with short chains in blocks."""
    program = scheduled(build(outputs[0].graph, outputs, updates or {}), [t.id for t in order])
    with mock.patch.object(blocks, "LEAST", 0):
        return {gap.id for gap in gaps(assign(find_blocks(program, 64)), again=True)}


def test_what_has_no_gap() -> None:
    g = gg.Graph()
    x, s = g.input("x", (4, 4)), g.state("s", (4, 4))
    a = x @ x
    v = a * 2.0
    b, c = v @ x, a @ x
    d = b @ c
    e = v @ d
    last = a @ e
    order = [a, v, b, c, d, e, last]
    assert gaps_of([last], order) == {v.id, b.id}
    assert gaps_of([last, v], order) == {b.id}  # v is kept for the caller
    assert gaps_of([last], order, {s: v}) == {b.id}  # v is kept to be copied into s
    vector = pack([v, b])
    assert gaps_of([last, vector], [a, v, b, c, d, vector, e, last]) == set()  # both lie in the vector
    decayed = s * 0.9
    new = decayed + a
    assert gaps_of([d], [a, decayed, v, b, c, d, new], {s: new}) == set()  # `decayed` lies in s


def test_nothing_is_computed_inside_of_a_loop_over_blocks() -> None:
    g = gg.Graph()
    x = g.input("x", (4, 4))
    a = x @ x
    v = a * 2.0
    b = v @ x
    e = gg.exp(b)
    chain = [e, e * b, e * b + v, (e * b + v) * a]  # equal nodes are one
    last, k = chain[-1] @ x, b @ x
    m, n = chain[1] @ x, chain[0] @ b  # chain[1] could be computed again, but stays in its loop
    program = scheduled(build(g, [last, k, m, n], {}), [t.id for t in (a, v, b, k, *chain, last, m, n)])
    with mock.patch.object(blocks, "LEAST", 0):
        program = assign(find_blocks(program, 64))
    assert program.chains == (tuple(t.id for t in chain),)
    found = [(gap.id, gap.end) for gap in gaps(program, again=True) if gap.again]
    assert found == [(v.id, positions(program)[chain[0].id])]


def two_products() -> tuple[Tensor, Tensor]:
    g = gg.Graph()
    x, y = g.input("x", ("N", 64)), g.input("y", ("N", 64))
    return x, (y * x).named("p")


def deep(h: Tensor, name: str) -> Tensor:
    for l in range(2):
        h = gg.sin(h @ h.graph.parameter(f"{name}{l}", (64, 64)))
    return h


def test_of_two_values_of_which_one_reads_the_other_one_is_computed_again() -> None:
    x, p = two_products()
    q = (p + x).named("q")
    h = deep(p, "P") + gg.sin(q @ p.graph.parameter("Q", (64, 64)))
    agree_and_take(gg.mean(h * h), ["p_again"], 229440, 262208)


def test_a_value_is_computed_a_third_time_in_a_later_round() -> None:
    _, p = two_products()
    h = deep(deep(p, "U") + p, "V") + p
    h = h @ p.graph.parameter("P", (64, 64)) + p @ p.graph.parameter("Q", (64, 64))
    agree_and_take(gg.mean(h * h), ["p_again", "p_again_2"], 360512, 393280)


def agree_and_take(loss: Tensor, names: list[str], bytes_with: int, bytes_without: int) -> None:
    d = gg.derive(loss)
    late, early = both(lambda: gg.compile([loss, *d.values()], memory="low"))
    assert [late._printed.names[i] for i in late.program.again] == names
    assert (late.workspace_bytes(N=64), early.workspace_bytes(N=64)) == (bytes_with, bytes_without)
    simulate(late.program, N=3)
    agree(late, early)


@pytest.mark.parametrize(
    ("before", "after", "smaller"),
    [
        ([N * 64, 6400], [N * 64, 3200], True),
        ([N * 64, 6400], [N * 64, 6400], False),
        ([N * 64, 6400], [N * 128, 64], False),  # larger where N is large
        ([N * 64, 6400], [N * 32, 6464], False),  # larger where N is 1
        ([N * 64, 6400], [N * 32, 6400], True),
    ],
)
def test_for_some_sizes_smaller_and_for_none_larger(before: list[Any], after: list[Any], smaller: bool) -> None:
    def program(sizes: list[Any]) -> Program:
        storages = {k: Storage(size, 0, 9) for k, size in enumerate(sizes)}
        return Program(gg.Graph(), {}, (), (), (), (), {}, {}, storages)

    assert is_smaller(program(after), program(before)) is smaller
    assert not is_smaller(replace(program(after), copies=((0, 1),)), program(before))


def test_a_view_of_what_is_computed_again_is_made_again() -> None:
    g = gg.Graph()
    x = g.input("x", ("N", 8))
    h = gg.mish(x @ g.parameter("W", (8, 64)))
    heads = gg.reshape(h, ("N", 8, 8)) @ g.parameter("P", (8, 8))
    loss = gg.mean(gg.exp(gg.sin(gg.exp(gg.sin(heads)))))
    d = gg.derive(loss)
    late, early = both(lambda: gg.compile([loss, *d.values()], memory="low"))
    (twin,) = late.program.again
    assert [i for i, base in late.program.bases.items() if base == twin]
    assert late.workspace_bytes(N=64) < early.workspace_bytes(N=64)
    simulate(late.program, N=3)
    agree(late, early)


def test_sizes_that_cannot_be_are_not_looked_at() -> None:
    def make(missing: int) -> Function:
        g = gg.Graph()
        h = gg.mish(g.input("x", ("N", 32)) @ g.parameter("W", (32, 32)))[missing:]
        loss = gg.mean(gg.mish(gg.mish(h @ g.parameter("V", (32, 32))) @ g.parameter("U", (32, 32))))
        return gg.compile([loss, *gg.derive(loss).values()], memory="low")

    assert len(make(3).program.again) == len(make(100).program.again) > 0
    assert not make(5000).program.again


def test_what_may_raise_stays_where_it_is() -> None:
    """Indices are checked before anything is updated, however late what they pick is read."""
    raising = {name for name, row in OPERATORS.items() if "raise" in str(row.numpy) and row.kind != "view"}
    assert raising <= EARLY
    assert {name for name, row in OPERATORS.items() if row.kind == "pack"} <= EARLY
    for name in CHEAP:
        assert OPERATORS[name].kind == "elementwise"
        assert OPERATORS[name].numpy is not None


def test_steps_of_several_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in (("LONG", 7), ("LEAST", 3), ("MOST", 7)):
        monkeypatch.setattr(pieces, name, number)
    late, early = both(lambda: trainer([5, 32, 32, 32, 3], "mish", "mse", "low"))
    assert "def step_9" in late.source
    x, y = np.random.default_rng(0).normal(size=(2, 20, 5))
    for _ in range(3):
        assert late.step(x, y[:, :3]) == early.step(x, y[:, :3])


def test_little_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sixth of the workspace here, a quarter there."""
    monkeypatch.setattr(late_values, "LEAST", 0.2)
    assert not trainer([64, 128, 128, 128, 10], "mish", "cross_entropy", "low").function.program.again
    assert trainer([64] * 51, "mish", "mse", "low").function.program.again


def test_the_example_of_the_docstring() -> None:
    assert doctest.testmod(late_values) == (0, 5)


# -- what it says -----------------------------------------------------------------------------------------------------


def test_the_source_says_what_is_computed_again_and_why() -> None:
    f = trainer([5, 32, 32, 32, 3], "mish", "mse", "low").function
    lines = [line.strip() for line in f.source.splitlines()]
    at = lines.index("# x1_T_again = z1_T * v71, computed again: x1_T is not kept until here, to save memory")
    assert lines[at + 1 : at + 4 : 2] == ["multiply(z1_T, v71, x1_T_again)", "dot(z2_T_bar, x1_T_again_T, W2_bar)"]
    assert "multiply(z1_T, v71, x1_T)" in lines[:at]
    assert "dot(z2_T_bar, x1, W2_bar)" not in lines


def test_a_function_that_computes_again_can_be_looked_at() -> None:
    net = gg.feedforward([5, 32, 32, 32, 3], activation="mish", loss="mse")
    f = gg.compile([net.loss, *gg.derive(net.loss).values()], memory="low")
    (line,) = f.lines[net.graph["x1"]]
    assert f.source.splitlines()[line - 1].strip().endswith(", x1)")
    profile = f.profile(**random_arrays(f, N=4))
    assert {"x1", "x1_again"} <= {row.name for row in profile.rows}
    assert all(row.node >= 0 for row in profile.rows)
    assert "x1_again" in gg.draw(f).svg()


def test_memory_is_fast_or_low() -> None:
    x = gg.Graph().input("x", (3,))
    with pytest.raises(gg.GraphgradError, match=r"^memory 'small' does not exist; there are: fast, low$"):
        gg.compile(x, memory="small")
