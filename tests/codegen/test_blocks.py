"""Chains in blocks: the same values as in one pass, whatever is overwritten on the way, and less memory."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import graphgrad as gg
from graphgrad.codegen import blocks
from graphgrad.codegen.loader import Function

SHAPES = ((7,), (3, 5))
OPERATIONS = ("add", "subtract", "multiply", "tanh", "square", "sqrt", "negative")


@pytest.fixture(autouse=True)
def short_chains_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LEAST", 0)


def loops(f: Function) -> Iterator[str]:
    return (line for line in f.source.splitlines() if line.lstrip().startswith("for "))


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[gg.Tensor], dict[gg.Tensor, gg.Tensor]]:
    """Elementwise formulas over kept arrays and a product, with values used again, several results, several updates."""
    g = gg.Graph()
    shape = draw(st.sampled_from(SHAPES))
    x, k = g.input("x", shape), g.state("k", weak=True)
    held = [g.state(f"s{i}", shape) for i in range(draw(st.integers(1, 3)))]
    pool = [*held, gg.tanh(x), gg.exp(-gg.square(x))]
    for _ in range(draw(st.integers(2, 14))):
        name = draw(st.sampled_from(OPERATIONS))
        a, b = (draw(st.sampled_from(pool[-6:] + held)) for _ in range(2))
        if name in ("add", "subtract", "multiply"):
            made = getattr(gg, name)(a, b if draw(st.integers(0, 3)) else 0.5 + k)
        else:
            made = gg.sqrt(gg.square(a) + 1.0) if name == "sqrt" else getattr(gg, name)(a)
        pool.append(gg.tanh(made) if name in ("square", "multiply") else made * 0.7)
    new = [draw(st.sampled_from(pool[3:])) for _ in held]
    outputs = draw(st.lists(st.sampled_from(pool), max_size=3))
    return outputs, {**dict(zip(held, new, strict=True)), k: k + 0.25}


@given(chains(), st.sampled_from([8, 16, 24, 1 << 18]), st.booleans())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_blocks_change_no_value(
    asked: tuple[list[gg.Tensor], dict[gg.Tensor, gg.Tensor]], block: int, exact: bool
) -> None:
    outputs, updates = asked
    whole, parted = (gg.compile(outputs, updates=updates, exact=exact, block=b) for b in (0, block))
    x = np.random.default_rng(0).normal(size=next(iter(updates)).shape)  # type: ignore[arg-type]
    given_now = dict.fromkeys(whole._names, x)
    for _ in range(3):
        for a, b in zip(whole(**given_now), parted(**given_now), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)
        for leaf in updates:
            np.testing.assert_allclose(whole.state[leaf.name], parted.state[leaf.name], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("memory", ["fast", "low"])
@pytest.mark.parametrize(
    "optimizer", [gg.SGD(0.1), gg.Momentum(0.1, form="nesterov"), gg.Adam(0.01, weight_decay=0.1)], ids=repr
)
def test_a_trainer_in_blocks_is_the_trainer(optimizer: Any, memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = gg.feedforward([5, 7, 3], "tanh", "cross_entropy")
    generator = np.random.default_rng(0)
    X, Y = generator.normal(size=(8, 5)), generator.integers(0, 3, 8)
    monkeypatch.setattr("graphgrad.codegen.compiler.block_bytes", lambda: 0)
    whole = gg.Trainer(net, optimizer, dtype="float64")
    monkeypatch.setattr("graphgrad.codegen.compiler.block_bytes", lambda: 64)
    parted = gg.Trainer(net, optimizer, dtype="float64", memory=memory)
    assert not list(loops(whole.function))
    assert list(loops(parted.function))
    for _ in range(5):
        assert parted.step(X, Y) == pytest.approx(whole.step(X, Y), rel=1e-12)
    for name, array in whole.parameters.items():
        np.testing.assert_allclose(parted.parameters[name], array, rtol=1e-12, atol=1e-14)
    told = parted.source.splitlines()
    assert any(line.startswith("        # ") for line in told)
    assert all(line.strip() != "#" for line in told)  # each statement has its formula


def test_what_only_the_chain_reads_takes_a_block() -> None:
    g = gg.Graph()
    x, s = g.input("x", (1000,)), g.state("s", (1000,))
    h = gg.tanh(x)
    f = gg.compile([], updates={s: s + gg.sqrt(gg.square(h) + 1.0) * gg.exp(h)}, block=800)
    assert sorted(f.memory.values()) == [800, 8000]  # h is made outside: what a caller gives may lie in any order
    assert [line.strip().split(" in ")[1] for line in loops(f)] == ["blocks:"]


def test_a_vector_that_a_chain_is_done_with_serves_what_stays_inside() -> None:
    g = gg.Graph()
    x, m, s = g.input("x", (1000,)), g.state("m", (1000,)), g.state("s", (1000,))
    h = gg.tanh(x)
    m_new = m + h
    f = gg.compile([], updates={m: m_new, s: s - m_new / (gg.sqrt(gg.square(h)) + 1.0)}, block=800)
    assert list(f.memory.values()) == [8000]  # h², its root and the quotient lie where h did
    values = np.random.default_rng(0).normal(size=1000)
    f(x=values)
    np.testing.assert_allclose(f.state["s"], -np.tanh(values) / (np.abs(np.tanh(values)) + 1.0), rtol=1e-12)


def test_a_vector_that_is_read_again_serves_nothing_else() -> None:
    g = gg.Graph()
    x, m, s = g.input("x", (1000,)), g.state("m", (1000,)), g.state("s", (1000,))
    h = gg.tanh(x)
    f = gg.compile([gg.sum(h)], updates={m: m + h, s: s * gg.sqrt(gg.square(h) + 1.0)}, block=800)
    assert sorted(f.memory.values())[-1] == 8000
    values = np.random.default_rng(0).normal(size=1000)
    (total,) = f(x=values)
    assert total == pytest.approx(np.tanh(values).sum(), rel=1e-12)


def test_an_element_of_an_array_is_no_number_to_a_chain_that_writes_the_array() -> None:
    g = gg.Graph()
    s = g.parameter("s", (5,))
    a = 2.0 * gg.tanh(s)
    first, last = gg.reshape(a[:1], ()), gg.reshape(a[4:], ())
    outputs = [first + gg.tanh(s), gg.square(a) * 3.0, last + gg.exp(s)]
    values = np.array([0.3, -0.4, 0.5, 0.6, -0.7])
    f = gg.compile(outputs, updates={s: s - 0.1 * last * s}, block=16)
    for found, wanted in zip(f(s=values), gg.evaluate(outputs, s=values), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    np.testing.assert_allclose(f.state["s"], gg.evaluate(s - 0.1 * last * s, s=values), rtol=1e-12)


def test_short_chains_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    g = gg.Graph()
    s = g.state("s", (1000,))
    assert not list(loops(gg.compile([], updates={s: gg.tanh(s * 2.0 + 1.0)})))
    t = g.state("t", (100_000,))
    assert list(loops(gg.compile([], updates={t: gg.tanh(t * 2.0 + 1.0)})))
    assert not list(loops(gg.compile([], updates={t: gg.tanh(t * 2.0 + 1.0)}, block=0)))


def test_the_size_of_a_block_is_an_eighth_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    for cache, block in (("2048K\n", 1 << 18), ("4M", 1 << 19), ("512K", 1 << 17), ("256K", 1 << 16)):
        monkeypatch.setattr(Path, "read_text", lambda self, cache=cache: cache)
        assert blocks.block_bytes() == block
    monkeypatch.setattr(Path, "read_text", lambda self: "no number")
    assert blocks.block_bytes() == blocks.DEFAULT_L2 // 8


@pytest.mark.parametrize("block", [-1, 1, 7, True, 3.5, "x"])
def test_a_block_that_holds_no_number_is_refused(block: Any) -> None:
    g = gg.Graph()
    w = g.parameter("w", (100,))
    with pytest.raises(gg.GraphgradError, match="block"):
        gg.compile([], {w: gg.tanh(w) * 0.5 + 1}, block=block)


@pytest.mark.parametrize("block", [8, 64, 0])
def test_values_may_have_any_name(block: int) -> None:
    """Also those of Python's own functions, and of what generated code uses itself."""
    words = [*dir(builtins), "i", "k", "n", "np", "step", "workspace", "arguments", "blocks", "timed", "theta_part"]
    wanted = np.tanh(np.full(40, 0.5)) * 0.5 + 1
    for word in words:
        g = gg.Graph()
        w = g.parameter(word, (40,))
        labels = g.input("labels", ("N",), "int64")
        f = gg.compile([gg.one_hot(labels, 3)], {w: gg.tanh(w) * 0.5 + 1}, block=block)
        f.state[word] = np.full(40, 0.5)
        np.testing.assert_array_equal(f(labels=[0, 2])[0], np.eye(3)[[0, 2]])
        np.testing.assert_allclose(f.state[word], wanted, rtol=1e-14, err_msg=word)
