"""Labels as indices: p - onehot(y) by taking 1 off at one place of each row, however p lies and whatever reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import graphgrad as gg
from graphgrad.codegen import labels
from graphgrad.errors import CallError
from graphgrad.operators import index
from graphgrad.operators.index import take_off, unit_rows

GENERATOR = np.random.default_rng(0)


@contextmanager
def by_index(always: bool) -> Iterator[None]:
    """All such differences by an index, or none."""
    with ExitStack() as stack:
        for name in ("INDEX", "INDEXED"):
            stack.enter_context(mock.patch.object(labels, name, 0.0 if always else 1e9))
        yield


def batch(samples: int, inputs: int, classes: int) -> tuple[Any, Any]:
    return GENERATOR.normal(size=(samples, inputs)), GENERATOR.integers(0, classes, samples)


def parameters_after(
    steps: int, batch: tuple[Any, ...], sizes: list[int], **options: Any
) -> tuple[dict[str, Any], str]:
    t = gg.Trainer(gg.feedforward(sizes, "tanh", "cross_entropy"), gg.Adam(0.01), dtype="float64", **options)
    for _ in range(steps):
        t.step(*batch)
    return t.parameters, t.source


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_steps_are_those_of_the_formula(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=3)) + [data.draw(st.integers(2, 40))]
    options = data.draw(st.sampled_from([{}, {"l2": 0.1}, {"memory": "low"}, {"weighted": True}, {"clip_norm": 1.0}]))
    samples = batch(data.draw(st.integers(1, 40)), sizes[0], sizes[-1])
    if options == {"weighted": True}:
        samples += (GENERATOR.integers(1, 4, len(samples[0])).astype(float),)
    with by_index(always=data.draw(st.booleans())):
        found, _ = parameters_after(3, samples, sizes, **options)
    wanted, source = parameters_after(3, samples, sizes, exact=True, **options)
    assert "-=" not in source
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("samples", "classes", "indexed"), [(64, 10, True), (1000, 300, True), (1, 10, False), (500, 2, False)]
)
def test_an_index_where_unit_rows_would_cost_more(samples: int, classes: int, indexed: bool) -> None:
    _, source = parameters_after(1, batch(samples, 20, classes), [20, classes])
    assert ("_flat[" in source and "] -= " in source) == indexed
    assert ("unit.take(" in source) == (not indexed)


def test_the_factor_enters_by_the_sums_of_the_exponentials() -> None:
    """So nothing goes over all elements but the quotient, and the index takes the factor off."""
    with by_index(always=True):
        _, source = parameters_after(1, batch(64, 20, 30), [20, 30])
    lines = [line.strip() for line in source[source.index("def step") :].splitlines()]
    (place,) = [k for k, line in enumerate(lines) if "] -= " in line]
    quotient, sums = [line for line in lines[:place] if line.startswith("divide(")][:-3:-1]
    factor = lines[place].split(" -= ")[1]
    assert factor != "one"
    assert sums.split(", ")[1] == factor
    assert sums.split(", ")[2].removesuffix(")") in quotient


def softmax_classifier(g: gg.Graph) -> tuple[gg.Tensor, gg.Tensor, gg.Tensor]:
    x, y = g.input("x", ("N", 4)), g.input("y", ("N",), "int64")
    W = g.parameter("W", (6, 4))
    z = x @ W.T
    return W, z, gg.mean(gg.cross_entropy(z, y))


@pytest.mark.parametrize("wanted", ["probabilities", "difference", "both"])
@pytest.mark.parametrize("always", [False, True])
def test_what_is_given_away_is_whole(wanted: str, always: bool) -> None:
    """Probabilities are not written over where somebody wants them, nor the difference multiplied."""
    g = gg.Graph()
    W, z, loss = softmax_classifier(g)
    x, y = GENERATOR.normal(size=(9, 4)), GENERATOR.integers(0, 6, 9)
    p = gg.softmax(z, axis=1)
    difference = p - gg.one_hot(g["y"], 6)
    outputs = {"probabilities": [p], "difference": [difference], "both": [difference, p]}[wanted]
    updates = {W: W - 0.1 * gg.derive(loss)[W]}
    with by_index(always):
        quick = gg.compile(outputs, updates)
        exact = gg.compile(outputs, updates, exact=True)
        start = GENERATOR.normal(size=(6, 4))
        for f in (quick, exact):
            f.state["W"] = start
        for _ in range(3):
            for a, b in zip(quick(x=x, y=y), exact(x=x, y=y), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(quick.state["W"], exact.state["W"], rtol=1e-12)


@pytest.mark.parametrize("of", ["number", "column", "row", "input", "state", "integers", "float32", "view"])
def test_unit_rows_are_taken_off_whatever_lies_there(of: str) -> None:
    """What is no matrix of floats that may be written over is left as it is written, or copied first."""
    g = gg.Graph()
    x, y, w = g.input("x", (5, 5)), g.input("y", (5,), "int64"), g.state("w", (5, 5))
    dtype = {"integers": "int64", "float32": "float32"}.get(of, "float64")
    p = {
        "number": lambda: gg.sum(x),
        "column": lambda: gg.exp(x[:, :1]),
        "row": lambda: gg.exp(x[0]),
        "input": lambda: x,
        "state": lambda: w,
        "integers": lambda: gg.cast(x * 10, "int64"),
        "float32": lambda: gg.cast(gg.exp(x), "float32"),
        "view": lambda: gg.exp(x).T,
    }[of]()
    difference = p - gg.one_hot(y, 5, dtype)
    value = gg.cast(difference * 3, "float64")
    updates = {w: difference} if of == "state" else {w: value}
    labels_, array = GENERATOR.integers(0, 5, 5), GENERATOR.normal(size=(5, 5))
    with by_index(always=True):
        quick, exact = (gg.compile([gg.sum(value)], updates, exact=e) for e in (False, True))
        for f in (quick, exact):
            f.state["w"] = array
        kept = array.copy()
        for _ in range(3):
            np.testing.assert_allclose(quick(x=array, y=labels_), exact(x=array, y=labels_), rtol=1e-6)
            np.testing.assert_allclose(quick.state["w"], exact.state["w"], rtol=1e-6)
        np.testing.assert_array_equal(array, kept)


def test_what_only_sizes_enter_is_computed_once() -> None:
    """Before the step, where nothing is written over anything."""
    g = gg.Graph()
    x, z, w = g.input("x", (4, 3)), g.input("z", ("N",)), g.state("w", (4, 3))
    p = gg.exp(gg.tanh(g.constant(np.ones((4, 3))) * gg.cast(gg.size(z, 0), "float64")))
    outputs = [gg.sum(x * (p - gg.one_hot(g.constant(np.array([0, 2, 1, 1])), 3))) + gg.sum(z)]
    array = GENERATOR.normal(size=(4, 3))
    with by_index(always=True):
        quick, exact = (gg.compile(outputs, {w: w + x}, exact=e) for e in (False, True))
        assert "] -= " in quick.source[: quick.source.index("def step")]
        for n in (2, 2, 3):
            np.testing.assert_allclose(quick(x=array, z=np.ones(n)), exact(x=array, z=np.ones(n)), rtol=1e-12)


@pytest.mark.parametrize("dies", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_taking_off_in_place_and_beside(dies: bool, dtype: str) -> None:
    g = gg.Graph()
    x, i, c = g.input("x", ("N", 3), dtype), g.input("i", ("N",), "int64"), g.input("c", weak=True)
    e = gg.exp(x)
    y = take_off(e, i, c * 2)
    f = gg.compile([y] if dies else [y, e])
    assert ("[...] = v" in f.source) != dies
    value, places = GENERATOR.normal(size=(4, 3)).astype(dtype), np.array([2, 3, 8, 11])
    wanted = np.exp(value)
    wanted.reshape(-1)[places] -= np.asarray(0.5, dtype)
    result, *rest = f(x=value, i=places, c=0.25)
    np.testing.assert_array_equal(result, wanted)
    np.testing.assert_array_equal(gg.evaluate(y, x=value, i=places, c=0.25), wanted)
    assert result.dtype == dtype
    for kept in rest:
        np.testing.assert_array_equal(kept, np.exp(value))


@pytest.mark.parametrize("few", [0, 512])
@pytest.mark.parametrize(("shape", "axis"), [((), -1), ((3,), -1), ((3,), 0), ((2, 3), -1), ((0,), -1), ((0,), 0)])
def test_unit_rows(monkeypatch: pytest.MonkeyPatch, few: int, shape: tuple[int, ...], axis: int) -> None:
    monkeypatch.setattr(index, "FEW", few)
    labels_ = GENERATOR.integers(0, 5, shape)
    i = gg.Graph().input("i", tuple("NM"[: len(shape)]), "int64")
    y = i.graph.insert(unit_rows, (i.id,), {"classes": 5, "dtype": "float32", "axis": axis % (len(shape) + 1)})
    wanted = np.moveaxis(np.eye(5, dtype="float32")[labels_], -1, axis)
    f = gg.compile([y])
    for _ in range(2):  # what the first call wrote is gone
        (result,) = f(i=labels_)
        np.testing.assert_array_equal(result, wanted)
        assert result.dtype == wanted.dtype
    np.testing.assert_array_equal(gg.evaluate(y, i=labels_), wanted)
    written_out = unit_rows.definition(i, classes=5, dtype="float32", axis=axis % (len(shape) + 1))
    np.testing.assert_array_equal(gg.evaluate(written_out, i=labels_), wanted)


@pytest.mark.parametrize("classes", [7, 600])
def test_a_label_outside_changes_nothing(classes: int) -> None:
    t = gg.Trainer(gg.feedforward([3, classes], loss="cross_entropy"), gg.Adam(0.01))
    x, y = batch(50, 3, classes)
    t.step(x, y)
    before = t.parameters
    for wrong in (-1, classes):
        with pytest.raises(CallError, match=f"into an axis that is {classes} long"):
            t.step(x, np.where(np.arange(50) == 7, wrong, y))
        for name, value in before.items():
            np.testing.assert_array_equal(t.parameters[name], value)
