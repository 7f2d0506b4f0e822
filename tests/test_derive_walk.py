"""The backward walk by operators made for it: what rules may return, what passes, and definitions of every form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.derive import UnusedParameterWarning
from graphgrad.errors import DerivativeError
from graphgrad.operator import Inferred, Operator
from graphgrad.types import Shape


def own(
    reference: Callable[..., Any], *operands: str, shape: Shape | None = None, dtype: str = "float64", **given: Any
) -> Operator:
    """An operator of no table; of its first operand's shape where none is given."""

    def infer(*nodes: gg.Node) -> Inferred:
        return Inferred(nodes[0].shape if shape is None else shape, dtype, weak=False)

    return Operator("own", operands or ("x",), infer, reference, **given)


# -- what a rule returns ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [3, -0.5])
def test_a_rule_may_return_a_number(number: float) -> None:
    g = gg.Graph()
    u, v, w = g.parameter("u"), g.parameter("v", (2,), "float32"), g.parameter("w", ("N", 3))
    for t, value in ((u, np.ones(())), (v, np.ones(2, "f4")), (w, np.ones((4, 3)))):
        y = own(np.sum, shape=(), pullback=(lambda g, x, out: number,))(t)
        d = gg.derive(y, [t])
        assert (d[t].shape, d[t].dtype, d[t].node.weak) == (t.shape, t.dtype, False)
        np.testing.assert_array_equal(gg.evaluate(d[t], **{t.name: value}), np.full(value.shape, number))


def fitted(values: Any, shape: tuple[int, ...]) -> Any:
    """Values summed over the axes that a shape lacks or has 1 in, and repeated along those that they lack."""
    values = values.sum(tuple(range(max(0, values.ndim - len(shape)))))
    ones = tuple(k for k, n in enumerate(shape) if values.ndim == len(shape) and n == 1)
    return np.broadcast_to(values.sum(ones, keepdims=True), shape)


@pytest.mark.parametrize(
    ("result", "operand"),
    [
        ((), (2, 3)),
        ((1,), (2, 3)),
        ((3,), (2, 3)),
        ((1, 3), (2, 3)),
        ((2, 1), (2, 3)),
        ((1, 1), (2, 1)),
        ((3,), (1, 3)),
        ((2, 3), (2, 1)),
        ((2, 3), (3,)),
        ((4, 2, 3), (2, 3)),
        ((4, 2, 3), (2, 1)),
        ((4, 1), (1,)),
        ((2, 3), ()),
        ((2, 3), (2, 3)),
    ],
)
def test_what_a_rule_returns_takes_the_shape_of_its_operand(result: tuple[int, ...], operand: tuple[int, ...]) -> None:
    values = np.arange(1.0, 1 + np.prod(result)).reshape(result)
    g = gg.Graph()
    w = g.parameter("w", operand)
    y = own(np.sum, shape=(), pullback=(lambda g, x, out: g * values,))(w)
    found = gg.evaluate(gg.derive(y)[w], w=np.zeros(operand))
    np.testing.assert_array_equal(found, fitted(values, operand))


def test_a_gradient_is_not_weak_though_its_value_is_a_number() -> None:
    """What is computed with it must be as wide as its tensor says."""
    g = gg.Graph()
    w, x = g.parameter("w"), g.input("x", (3,), "float32")
    gradient = gg.derive(w * 2)[w]
    assert not gradient.node.weak
    assert (gradient * x).dtype == "float64"


# -- what passes ------------------------------------------------------------------------------------------------------


def test_an_operator_may_be_constant_in_a_float() -> None:
    held = own(lambda x, y: x * y, "x", "y", pullback=(lambda g, x, y, out: g * y, None))
    g = gg.Graph()
    w, v = g.parameter("w"), g.parameter("v")
    y = held(w, gg.exp(v))
    with pytest.warns(UnusedParameterWarning, match="does not depend on v"):
        d = gg.derive(y)
    assert [s.operand for s in d.steps] == [None, 0]
    assert gg.evaluate(d[v]) == 0.0
    assert gg.evaluate(d[w], w=2.0, v=0.0) == 1.0
    assert gg.evaluate(gg.derive(y + v)[v], w=2.0, v=0.0) == 1.0


def test_integers_made_by_an_operator_without_derivative_are_no_constants() -> None:
    """However many integers stand between it and the scalar."""
    whole = own(lambda x: np.int64(np.sum(x)), shape=(), dtype="int64")
    g = gg.Graph()
    w, n = g.parameter("w", (2,)), g.input("n", (), "int64")
    made = whole(w)
    for number in (made, -made, abs(-made), made + n):
        with pytest.raises(
            DerivativeError, match=r"^own has no derivative, but the derived scalar depends on w"
        ) as error:
            gg.derive(gg.sum(w * gg.cast(number, "float64")), [w])
        assert str(error.value).split("\n  at ")[1].startswith("test_derive_walk.py:")


def test_integers_cut_from_floats_are_constants() -> None:
    g = gg.Graph()
    w, n = g.parameter("w", (2,)), g.input("n", (), "int64")
    number = gg.cast(w, "int64") + n
    d = gg.derive(gg.sum(w * gg.cast(number, "float64")))
    np.testing.assert_array_equal(gg.evaluate(d[w], w=[1.5, 2.5], n=3), [4.0, 5.0])
    assert {s.rule for s in d.steps} == {"seed", "sum", "multiply"}


def test_zeros_have_the_shape_of_their_tensors_and_that_of_a_scalar_is_a_constant() -> None:
    g = gg.Graph()
    w, v, u = g.parameter("w"), g.parameter("v", (), "float32"), g.parameter("u", (2, 3), "float32")
    with pytest.warns(UnusedParameterWarning):
        d = gg.derive(w * w)
    assert (d[u].shape, d[u].dtype) == ((2, 3), "float32")
    assert d[v].node.operator.name == "constant"
    assert d[v].dtype == "float32"
    assert gg.evaluate(d[v]) == 0.0


# -- lines ------------------------------------------------------------------------------------------------------------


def test_what_a_step_builds_has_the_line_of_the_forward_node() -> None:
    g = gg.Graph()
    w = g.parameter("w", (3,))
    z = gg.tanh(w)
    y = gg.mish(z)
    loss = gg.sum(y * z)
    d = gg.derive(loss)
    lines = {s.rule: g.lines[s.forward.id] for s in d.steps if s.rule != "sum"}
    assert len(set(lines.values())) == 3
    for step in d.steps[1:]:
        assert {g.lines[i] for i in step.new} <= {g.lines[step.forward.id]}
    assert sum(len(s.new) for s in d.steps[1:]) > 8


# -- composites -------------------------------------------------------------------------------------------------------


def smooth(x: gg.Tensor) -> gg.Tensor:
    return gg.sin(gg.cos(x)) * gg.tanh(gg.exp(gg.sin(x))) + gg.cos(x)


def gate(x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
    return gg.tanh(x * y) * x - gg.exp(y)


two = ("x", "y")
DEFINITIONS: dict[str, tuple[Callable[..., gg.Tensor], tuple[str, ...], Callable[..., list[Any]]]] = {
    "branches of several nodes": (smooth, ("x",), lambda a, b: [gg.sin(a)]),
    "twice the same operand": (gate, two, lambda a, b: [a, a]),
    "an operand computed from the other": (gate, two, lambda a, b: [a, gg.exp(a)]),
    "an operand that the definition computes itself": (lambda x, y: gg.exp(x) * y, two, lambda a, b: [a, gg.exp(a)]),
    "two tensors": (gate, two, lambda a, b: [b * a, b]),
    "an operand broadcast": (gate, two, lambda a, b: [a, b[0]]),
    "a constant": (gate, two, lambda a, b: [a, a.graph.constant([0.2, 0.4, 0.6])]),
    "an operand left out": (lambda x, y: gg.exp(x), two, lambda a, b: [a, b]),
    "an operand in a condition": (lambda x, y: gg.where(y > 0.5, gg.exp(x), x), two, lambda a, b: [a, b]),
    "an operand itself": (lambda x, y: x, two, lambda a, b: [a * b, b]),
    "a composite in it": (lambda x: gg.mish(gg.mish(x) * x), ("x",), lambda a, b: [a * b]),
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_derivative_of_a_composite_is_that_of_its_definition(name: str) -> None:
    definition, operands, pick = DEFINITIONS[name]
    g = gg.Graph()
    a, b = g.parameter("a", (3,)), g.parameter("b", (3,))
    given = pick(a, b)
    composite = own(np.multiply, *operands, definition=definition)
    at = {"a": np.array([0.3, 0.8, -0.4]), "b": np.array([0.9, -0.7, 0.2])}
    others = gg.sum(a * b)
    weights = np.array([1.0, -2.0, 0.5])  # the adjoint, so that the composite's own value enters nowhere
    found = gg.derive(gg.sum(composite(*given) * weights) + others, [a, b])
    wanted = gg.derive(gg.sum(definition(*given) * weights) + others, [a, b])
    for t in (a, b):
        np.testing.assert_allclose(gg.evaluate(found[t], **at), gg.evaluate(wanted[t], **at), rtol=1e-13)
