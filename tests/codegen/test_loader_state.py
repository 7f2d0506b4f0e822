"""What a compiled function keeps: state between calls, right under threads, in memory that is made once."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.codegen.loader import WORKSPACES
from graphgrad.errors import CallError


def counter() -> Any:
    """Adds its argument to a total that it keeps, and counts its calls."""
    g = gg.Graph()
    x, total, k = g.input("x", (3,)), g.state("total", (3,)), g.state("k", (), "int64", weak=True)
    return gg.compile([total + x], updates={total: total + x, k: k + 1})


# ---------------------------------------------------------------------------------------------------------------------
# State
# ---------------------------------------------------------------------------------------------------------------------


def test_state_starts_at_zero_and_is_kept() -> None:
    f = counter()
    for k in range(1, 4):
        np.testing.assert_array_equal(f(x=np.ones(3))[0], [k, k, k])
    assert f.state["k"] == 3
    assert sorted(f.state) == ["k", "total"]
    assert len(f.state) == 2
    assert {name: a.dtype.name for name, a in f.state.items()} == {"k": "int64", "total": "float64"}


def test_state_may_be_given_in_any_order_and_at_any_call() -> None:
    f = counter()
    x = np.ones(3)
    np.testing.assert_array_equal(f(total=[1, 2, 3], x=x, k=5)[0], [2, 3, 4])
    np.testing.assert_array_equal(f(x=x)[0], [3, 4, 5])
    np.testing.assert_array_equal(f(k=0, x=x, total=np.zeros(3, np.float32))[0], x)
    assert f.state["k"] == 1
    f.state["total"] = [7, 7, 7]
    np.testing.assert_array_equal(f(x=x)[0], [8, 8, 8])


def test_a_view_of_a_number_that_is_kept_shows_its_latest_value() -> None:
    g = gg.Graph()
    k = g.state("k", weak=True)
    spread = gg.broadcast_to(k, (2,))
    for y in (spread, spread + spread, gg.broadcast_to(2 * k, (2,)), gg.reshape(k, (1,))):
        f = gg.compile([y], updates={k: k + 1})
        assert [f()[0].tolist() for _ in range(3)] == [gg.evaluate(y, k=float(i)).tolist() for i in range(3)]


def test_mistakes_with_state() -> None:
    g = gg.Graph()
    w, m, x = g.parameter("w", (3,)), g.state("m", ("N",)), g.input("x", ("N", 3))
    f = gg.compile([x @ w + m], updates={w: w * 2, m: m + 1})
    told: dict[str, Callable[[], Any]] = {
        "no value was given yet for w: pass w=... once, or set state['w']": lambda: f(x=np.ones((2, 3))),
        "w has no value yet": lambda: f.state["w"],
        "the function holds no q; it holds w, m": lambda: f.state["q"],
        "w has shape (2,), but (3,) was declared: axis 0 is 2 where 3 is wanted": lambda: f(
            x=np.ones((2, 3)), w=[1.0, 2.0]
        ),
        "w is complex128, but float64 was declared": lambda: f.state.__setitem__("w", np.ones(3, complex)),
        "the function holds no x; it holds w, m": lambda: f.state.__setitem__("x", 1.0),
        "q is not an argument of the function; it takes x, w, m": lambda: f(x=np.ones((2, 3)), w=np.ones(3), q=1),
    }
    for message, call in told.items():
        with pytest.raises(CallError) as error:
            call()
        assert str(error.value) == message
    assert f.state.get("q", 7) == 7
    with pytest.raises(CallError, match="has no value yet"):
        f.state["w"]  # nothing of the call with q was taken
    np.testing.assert_array_equal(f(x=np.ones((2, 3)), w=np.ones(3))[0], [3, 3])
    with pytest.raises(CallError) as error:
        f(x=np.ones((4, 3)))
    assert str(error.value) == "m has shape (2,), but (N,) was declared: axis 0 is 2 where N with N = 4 is wanted"
    np.testing.assert_array_equal(f(x=np.ones((2, 3)))[0], [7, 7])  # the call that failed changed nothing
    np.testing.assert_array_equal(f(x=np.ones((4, 3)), m=np.zeros(4))[0], [12, 12, 12, 12])
    np.testing.assert_array_equal(f.state["m"], [1, 1, 1, 1])


def test_a_size_that_only_state_has() -> None:
    g = gg.Graph()
    m = g.state("m", ("N",))
    f = gg.compile([gg.sum(m)], updates={m: m + 1})
    with pytest.raises(
        CallError, match=r"^the size N is not known: no argument has it; set state\['m'\] to an array once$"
    ):
        f()
    f.state["m"] = np.zeros(4)
    assert [float(f()[0]) for _ in range(3)] == [0, 4, 8]


def test_an_error_in_the_step_leaves_the_function_usable() -> None:
    g = gg.Graph()
    x, i, total = g.input("x", (3,)), g.input("i", (1,), "int64"), g.state("total", (1,))
    f = gg.compile([total], updates={total: total + gg.take(x, i)})
    f(x=[1, 2, 3], i=[1])
    with pytest.raises(CallError, match=r"indices from 3 to 3 into an axis that is 3 long"):
        f(x=[1, 2, 3], i=[3])
    np.testing.assert_array_equal(f(x=[1, 2, 3], i=[-1])[0], [2])
    np.testing.assert_array_equal(f.state["total"], [5])


@pytest.mark.parametrize("memory", ["fast", "low"])
@pytest.mark.parametrize("exact", [False, True])
def test_a_call_that_raises_changes_nothing(exact: bool, memory: str) -> None:
    """Whatever raises, in whatever order it is written: indices, also such as come from a new value, powers, labels."""
    g = gg.Graph()
    x, i, a, b = g.input("x", ("N",)), g.input("i", ("M",), "int64"), g.state("a", (4,)), g.state("b", (4,))
    n, c, z = g.state("n", (4,), "int64"), g.state("c", (4,)), g.input("z", ("M", 9))
    updates = {a: a + 1, b: 0.5 * b + gg.sum(x), n: n + 1, c: c + gg.cast(n ** i[0], "float64")}
    place = gg.cast(updates[b][:1] * 0, "int64")
    outputs = [gg.sum(gg.take(a * 2, i)), gg.take(updates[b], place + i[:1]), gg.cross_entropy(z, i)]
    f = gg.compile(outputs, updates, exact=exact, memory=memory)
    z_of = {"z": np.zeros((1, 9))}
    f(x=[1.0, 2.0], i=[2], **z_of)
    before = {name: f.state[name] for name in f.state}
    np.testing.assert_array_equal(before["b"], [3, 3, 3, 3])
    for wrong in (7, -9, -1, 9):
        with pytest.raises(CallError):
            f(x=[1.0, 2.0], i=[wrong], **z_of)
        for name, value in before.items():
            np.testing.assert_array_equal(f.state[name], value)
    f(x=[1.0, 2.0], i=[1], **z_of)
    np.testing.assert_array_equal(f.state["b"], [4.5] * 4)
    np.testing.assert_array_equal(f.state["c"], before["c"] + 1)


def test_what_may_raise_comes_first_where_that_saves_copies() -> None:
    g = gg.Graph()
    x, i, a, b = g.input("x", ("N",)), g.input("i", ("M",), "int64"), g.state("a", (4,)), g.state("b", (4,))
    updates = {a: a + 1, b: 0.5 * b + gg.sum(x)}
    f = gg.compile([gg.sum(gg.take(a * 2, i))], updates)
    assert f.program.copies == ()


def test_one_value_for_two_and_updates_by_every_kind_of_node() -> None:
    g = gg.Graph()
    a, b, c, d = (g.parameter(n, (2,)) for n in "abcd")
    h, k, x, i = g.state("h"), g.state("k", (), weak=True), g.input("x", (2,)), g.input("i", (2,), "int64")
    new = gg.tanh(x)
    updates = {a: new, b: new, c: x, d: g.constant(np.array([3.0, 4.0])), h: k, k: k + gg.size(x)}
    f = gg.compile([new * a], updates=updates)
    f(x=[0.5, 1.0], a=[1, 1], b=[1, 1], c=[1, 1], d=[1, 1])
    f(x=[0.5, 2.0])
    wanted = {"a": np.tanh([0.5, 2.0]), "b": np.tanh([0.5, 2.0]), "c": [0.5, 2.0], "d": [3.0, 4.0], "h": 2.0, "k": 4.0}
    for name, value in wanted.items():
        np.testing.assert_array_equal(f.state[name], value)
    f = gg.compile([], updates={a: x[::-1], b: i, c: gg.broadcast_to(k, (2,)), d: gg.broadcast_to(h, (2,))})
    f(x=[1.0, 2.0], i=[5, 6], k=0.25, h=0.75, a=[0, 0], b=[0, 0], c=[0, 0], d=[0, 0])
    for name, value in {"a": [2.0, 1.0], "b": [5.0, 6.0], "c": [0.25, 0.25], "d": [0.75, 0.75]}.items():
        np.testing.assert_array_equal(f.state[name], value)


# ---------------------------------------------------------------------------------------------------------------------
# Threads and memory
# ---------------------------------------------------------------------------------------------------------------------


def in_threads(work: Callable[[int], None], number: int = 8) -> None:
    """Run work(0), work(1), ... at the same time, and raise what one of them raised."""
    failures: list[BaseException] = []
    start = threading.Barrier(number)

    def run(k: int) -> None:
        try:
            start.wait()
            work(k)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(number)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("copy", [True])
def test_eight_threads_get_right_results(copy: bool) -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N", 30)), g.parameter("w", (30, 30))
    h = x
    for _ in range(4):
        h = gg.tanh(h @ w)
    f = gg.compile([h, gg.sum(h, 0)], copy=copy)
    rng = np.random.default_rng(0)
    w0 = rng.normal(size=(30, 30)) / 5
    given = [rng.normal(size=(20 + k % 3, 30)) for k in range(8)]
    wanted = [gg.evaluate([h, gg.sum(h, 0)], x=a, w=w0) for a in given]

    def work(k: int) -> None:
        for j in range(150):
            n = (k + j) % 8
            for a, b in zip(f(x=given[n], w=w0), wanted[n], strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12)

    in_threads(work)
    assert sum(map(len, f._idle.values())) <= 8 * 3


def test_eight_threads_and_more_sizes_than_are_kept() -> None:
    g = gg.Graph()
    x = g.input("x", ("N",))
    f = gg.compile([gg.tanh(x) * 2, gg.size(x)])

    def work(k: int) -> None:
        for j in range(200):
            n = (k * 7 + j * 3) % (3 * WORKSPACES) + 1
            found = f(x=np.full(n, 0.5))
            assert found[0].shape == (n,)
            assert int(found[1]) == n
            assert np.all(found[0] == 2 * np.tanh(0.5))

    in_threads(work)
    f(x=np.zeros(1000))
    assert len(f._idle) <= WORKSPACES


def test_no_update_is_lost() -> None:
    f = counter()
    in_threads(lambda k: [f(x=np.full(3, 1.0)) for _ in range(400)] and None)
    np.testing.assert_array_equal(f.state["total"], [3200.0] * 3)
    assert f.state["k"] == 3200


def test_state_read_while_others_write_is_whole() -> None:
    g = gg.Graph()
    total, x = g.state("total", (2000,)), g.input("x")
    f = gg.compile([], updates={total: total + x})

    def work(k: int) -> None:
        for _ in range(200):
            if k % 2:
                f(x=1.0)
            elif "total" in f.state and f._values:
                assert len(set(f.state["total"].tolist())) == 1

    in_threads(work)
    assert set(f.state["total"].tolist()) == {800.0}


def test_a_first_read_beside_a_first_call_loses_no_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both make the state's zeros; if each makes its own, the call's update is in an array that nobody sees."""
    g = gg.Graph()
    total, x = g.state("total", (3,)), g.input("x")
    f = gg.compile([], updates={total: total + x})
    hold, reading, called = f._hold, threading.Event(), threading.Event()

    def slow(name: str, node: Any, sizes: Any) -> Any:
        if threading.current_thread() is reader:
            reading.set()
            called.wait(0.2)  # the call goes on meanwhile, if nothing stops it
            f._values.pop(name, None)
        return hold(name, node, sizes)

    monkeypatch.setattr(f, "_hold", slow)
    reader = threading.Thread(target=lambda: f.state["total"])
    reader.start()
    reading.wait()
    f(x=1.0)
    called.set()
    reader.join()
    assert f.state["total"].tolist() == [1.0] * 3


def test_a_name_is_in_the_state_or_not() -> None:
    g = gg.Graph()
    W = g.parameter("W")
    f = gg.compile([], updates={W: W + 1.0})
    assert "W" in f.state
    assert "V" not in f.state


def test_a_step_allocates_no_array_after_the_first_call() -> None:
    """Every activation is over 1 MiB; what NumPy buffers for itself is smaller than 256 KiB."""
    g = gg.Graph()
    n, width = 2048, 96
    x, y = g.input("x", ("N", width)), g.input("y", ("N",), "int64")
    k = g.state("k", (), "int64", weak=True)
    parameters = [g.parameter(f"W{i}", (width, width)) for i in range(2)] + [
        g.parameter(f"b{i}", (width,)) for i in range(2)
    ]
    h = x
    for W, b in zip(parameters[:2], parameters[2:], strict=True):
        h = gg.tanh(h @ W.T + b)
    h = gg.concatenate([h[:, ::-1], gg.reshape(x.T, ("N", width))], axis=1)
    loss = gg.mean(gg.square(gg.where(h > 0.1, h, 0.5 * h))) + gg.mean(
        gg.take(gg.sum(h, 1), y % 7 if hasattr(gg.Tensor, "__mod__") else y)
    )
    d = gg.derive(loss, parameters)
    rate = 0.1 / (1 - 0.9 ** (k + 1))
    f = gg.compile([loss, gg.sum(h, 0)], updates={**{p: p - rate * d[p] for p in parameters}, k: k + 1}, copy=False)
    rng = np.random.default_rng(0)
    given = {"x": rng.normal(size=(n, width)), "y": rng.integers(0, n, n)}
    first = {p.name: rng.normal(size=p.shape) / 10 for p in parameters}
    assert n * width * 8 > 2**20
    f(**given, **first)
    f(**given)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(3):
            f(**given)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 256 * 1024, f"{peak / 1024:.0f} KiB"


def test_a_function_that_nobody_holds_gives_its_memory_back() -> None:
    f = counter()
    f(x=np.ones(3))
    gone = weakref.ref(f)
    gc.disable()
    try:
        del f
        assert gone() is None
    finally:
        gc.enable()


def test_a_workspace_is_as_large_as_planned() -> None:
    g = gg.Graph()
    x = g.input("x", ("N", 1000))
    f = gg.compile([gg.sum(gg.tanh(x) @ gg.transpose(gg.exp(x)))])
    assert f.workspace_bytes(N=64) == max(2 * 64 * 8000, 64 * 8000 + 64 * 64 * 8) + 64 * 64 * 8
    f(x=np.zeros((64, 1000)))
    assert f._idle[((64, 1000),)][0].plan.size == f.workspace_bytes(N=64)


def test_threads_get_their_own_results() -> None:
    """A result is copied before another thread's call can overwrite it."""
    g = gg.Graph()
    x, k = g.input("x", ("N",)), g.state("k", (), "int64", weak=True)
    f = gg.compile([x * 2.0], {k: k + 1})
    f(x=np.zeros(500_000))
    wrong: list[float] = []

    def work(value: float) -> None:
        for _ in range(60):
            (result,) = f(x=np.full(500_000, value))
            if (result != 2 * value).any():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in (1.0, 2.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert f.state["k"] == 121


def test_who_is_called_in_the_middle_of_a_call_may_look_at_the_state() -> None:
    """A signal's handler runs in the thread that holds the lock."""
    trainer = gg.Trainer(gg.feedforward([2, 3, 1]))
    with trainer.function.lock:
        assert set(trainer.parameters) == {"W1", "b1", "W2", "b2"}
        trainer.step(np.ones((4, 2)), np.ones((4, 1)))
    assert trainer.k == 1


def test_a_wrong_input_leaves_the_values_that_come_with_it() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N",)), g.parameter("w")
    f = gg.compile([gg.sum(w * x)], {w: w * 0.5})
    f(x=[1.0], w=2.0)
    with pytest.raises(CallError, match="x"):
        f(x="abc", w=66.0)
    assert f.state["w"] == 1.0


def test_a_workspace_that_is_put_out_gives_its_memory_back() -> None:
    """At once: a cycle in generated code would keep it until Python's collector comes by."""
    g = gg.Graph()
    x = g.input("x", ("N",))
    f = gg.compile([gg.sum(gg.tanh(x) * gg.exp(x))])
    gone: list[int] = []
    gc.collect()
    gc.disable()
    try:
        for n in range(1, WORKSPACES + 4):
            f(x=np.ones(n))
            (workspace,) = f._idle[((n,),)]
            arena = next(a for a in workspace.names.values() if isinstance(a, np.ndarray) and a.base is not None)
            weakref.finalize(arena, gone.append, n)
            del workspace, arena
        assert gone == [1, 2, 3]
        del f
        assert len(gone) == WORKSPACES + 3
    finally:
        gc.enable()


def test_a_value_whose_bytes_lie_in_another_order_is_kept_in_the_machine_s() -> None:
    g = gg.Graph()
    w = g.parameter("w", ("N",), "int64")
    f = gg.compile([gg.one_hot(w, 4)], {w: w})
    f.state["w"] = np.array([3, 1], ">i8")
    assert f.state["w"].dtype == np.dtype("int64")
    np.testing.assert_array_equal(f()[0], np.eye(4)[[3, 1]])
    f.state["w"] = np.array([3, 256], ">i8")
    with pytest.raises(CallError, match="256"):
        f()
    assert gg.evaluate(w * 1, w=np.array([3, 256], ">i8")).dtype == np.dtype("int64")
