"""Calls of compiled functions: mistakes, what they take, what they return, sizes."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.codegen.loader import WORKSPACES
from graphgrad.codegen.pieces import PART, compiled
from graphgrad.errors import CallError, GraphgradError


def linear(**kwargs: Any) -> Any:
    """x @ w + b over a batch of N, with an input of integers beside it."""
    g = gg.Graph()
    x, i = g.input("x", ("N", 3)), g.input("i", ("N",), "int64")
    w, b = g.parameter("w", (3,)), g.parameter("b")
    return gg.compile([x @ w + b, i + 1], **kwargs)


def good(n: int = 2) -> dict[str, Any]:
    return {
        "x": np.arange(3.0 * n).reshape(n, 3),
        "i": np.arange(n),
        "w": np.array([1.0, 2.0, 3.0]),
        "b": np.array(0.5),
    }


# ---------------------------------------------------------------------------------------------------------------------
# The caller's mistakes
# ---------------------------------------------------------------------------------------------------------------------

MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"x": None}, "x is object, but float64 was declared"),
    ({"w": ...}, "no value was given for w; the function takes x, i, w, b"),
    (
        {"w": ..., "b": ..., "W": 1.0},
        "no value was given for w, b; the function takes x, i, w, b; W is not one of its arguments",
    ),
    ({"v": 1.0, "a": 2.0}, "a is not an argument of the function; it takes x, i, w, b"),
    ({"x": np.ones((2, 4))}, "x has shape (2, 4), but (N, 3) was declared: axis 1 is 4 where 3 is wanted"),
    ({"x": np.ones(3)}, "x has shape (3,), but 2 dimensions were declared: (N, 3)"),
    ({"b": np.ones(1)}, "b has shape (1,), but 0 dimensions were declared: ()"),
    ({"i": np.arange(5)}, "i has shape (5,), but (N,) was declared: axis 0 is 5 where N with N = 2 is wanted"),
    ({"x": np.ones((2, 3), complex)}, "x is complex128, but float64 was declared"),
    ({"i": np.ones(2)}, "i is float64, but int64 was declared; i.astype('int64') would fit"),
    ({"i": [0.5, 1.5]}, "i is float64, but int64 was declared"),
    ({"i": np.array([1, 2], np.uint64)}, "i is uint64, but int64 was declared; i.astype('int64') would fit"),
    ({"x": np.ones((2, 3), np.longdouble)}, "x is longdouble, but float64 was declared; x.astype('float64') would fit"),
    ({"x": [[1.0, 2.0], [3.0]]}, "x is no array: its rows have different lengths"),
    ({"x": "text"}, "x is str128, but float64 was declared"),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES, ids=[m[:40] for _, m in MISTAKES])
@pytest.mark.parametrize("called_before", [False, True])
def test_a_mistake_is_told(change: dict[str, Any], message: str, called_before: bool) -> None:
    f = linear()
    if called_before:
        f(**good())
    given = {name: value for name, value in {**good(), **change}.items() if value is not ...}
    with pytest.raises(CallError) as told:
        f(**given)
    if "longdouble" in message:
        message = message.replace("longdouble", np.dtype(np.longdouble).name)
    assert str(told.value) == message
    assert told.value.__cause__ is None
    assert told.value.__suppress_context__ or told.value.__context__ is None
    np.testing.assert_allclose(f(**good())[0], [8.5, 26.5])  # and nothing is broken


def test_a_tensor_is_no_array() -> None:
    f = linear()
    with pytest.raises(CallError) as told:
        f(**{**good(), "x": f.program.graph["x"]})
    assert str(told.value) == "x was given a Tensor; a call takes arrays of numbers"


def test_what_a_function_has_no_use_for_is_let_be() -> None:
    """A call may give all leaves of the graph, as `evaluate` takes them, whatever is left of them."""
    g = gg.Graph()
    x, b, c = g.input("x", ("N", 3)), g.parameter("b", (3,)), g.parameter("c", (3,))
    d = gg.derive(gg.sum(x * 2 + b) + gg.sum(c))
    outputs = [d[b], gg.size(x), x - x]
    f = gg.compile(outputs)
    given = {"x": np.ones((5, 3)), "b": np.ones(3), "c": np.ones(3)}
    for found, wanted in zip(f(**given), gg.evaluate(outputs, **given), strict=True):
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(f(x=np.ones((4, 3)))[0], [4.0, 4, 4])
    with pytest.raises(CallError, match=r"^z is not an argument of the function; it takes x$"):
        f(**given, z=1.0)


def test_a_size_that_only_an_unused_leaf_tells() -> None:
    g = gg.Graph()
    x = g.input("x", ("N", 2))
    f = gg.compile([1.0 / gg.size(x, 0), gg.broadcast_to(g.constant(1.0), ("N", 2))])
    for n in (3, 5):
        found = f(x=np.zeros((n, 2)))
        assert (float(found[0]), found[1].shape) == (1 / n, (n, 2))
    with pytest.raises(CallError, match=r"^no value was given for x; the function takes x$"):
        f()


def test_what_slices_take_for_granted_is_held_against_each_size() -> None:
    g = gg.Graph()
    x = g.input("x", ("N",))
    f = gg.compile([x[2:]])
    assert f(x=np.arange(4.0))[0].tolist() == [2, 3]
    with pytest.raises(CallError, match=r"needs N >= 2, but N = 1"):
        f(x=np.arange(1.0))


@pytest.mark.parametrize(
    ("outputs", "updates", "message"),
    [
        (lambda g: [], lambda g: {}, "compile was given nothing to compute: no outputs and no updates"),
        (lambda g: [1.0], lambda g: {}, "compile takes tensors, but float was given"),
        (lambda g: [g["x"]], lambda g: {g["w"]: 0.0}, "compile takes tensors, but float was given"),
        (
            lambda g: [g["x"], gg.Graph().input("x")],
            lambda g: {},
            "compile was given tensors of two graphs; outputs and updates are of one",
        ),
        (lambda g: [], lambda g: {g["x"]: g["x"]}, "updates replace parameters and states, but x is input"),
        (lambda g: [], lambda g: {g["w"]: g["x"]}, "the update of w of shape (3,) has shape (N, 3)"),
        (
            lambda g: [],
            lambda g: {g["n"]: g["n"] * 0.5},
            "the update of n of dtype int64 has dtype float64; gg.cast(..., 'int64') says that a loss is meant",
        ),
    ],
)
def test_mistakes_of_compile(outputs: Callable[..., Any], updates: Callable[..., Any], message: str) -> None:
    g = gg.Graph()
    g.input("x", ("N", 3)), g.parameter("w", (3,)), g.state("n", (3,), "int64")
    with pytest.raises(GraphgradError) as told:
        gg.compile(outputs(g), updates(g))
    assert str(told.value).splitlines()[0] == message


def test_an_unknown_target() -> None:
    g = gg.Graph()
    with pytest.raises(GraphgradError, match=r"^target 'cobol' does not exist; there is: numpy$"):
        gg.compile([g.constant(1.0)], target="cobol")


# ---------------------------------------------------------------------------------------------------------------------
# What a call takes
# ---------------------------------------------------------------------------------------------------------------------


def arrays_of(dtype: str) -> dict[str, Any]:
    base = np.array([[1, 2, 3], [4, 5, 6]])
    return {
        "list": base.tolist(),
        "int32": base.astype(np.int32),
        "int8": base.astype(np.int8),
        "uint8": base.astype(np.uint8),
        "Fortran": np.asfortranarray(base.astype(dtype)),
        "strided": np.repeat(np.repeat(base.astype(dtype), 2, 0), 3, 1)[::2, ::3],
        "reversed": base.astype(dtype)[::-1, ::-1][::-1, ::-1],
        "stride 0": np.broadcast_to(base.astype(dtype)[:1], (2, 3)),
        "other byte order": base.astype(np.dtype(dtype).newbyteorder()),
        "another dtype object": base.astype(np.dtype(dtype, metadata={"a": 1})),
        "matrix": base.astype(dtype).view(np.matrix),
        "masked": np.ma.masked_array(base.astype(dtype)),
        "float16": base.astype(np.float16),
        "bool": base > 2,
        "unaligned": np.frombuffer(b"\0" + base.astype(dtype).tobytes(), np.uint8)[1:].view(dtype).reshape(2, 3),
    }


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", sorted(arrays_of("float64")))
def test_any_array_that_loses_nothing(dtype: str, kind: str) -> None:
    g = gg.Graph()
    x = g.input("x", ("N", 3), dtype)
    outputs = [x * 2, x.T @ x, gg.reshape(x, (-1,)), x[:, 1], x, gg.reshape(x.T, (-1,))]
    f = gg.compile(outputs)
    given = arrays_of(dtype)[kind]
    if kind == "int32" and dtype == "float32":  # float32 cannot hold all of them
        with pytest.raises(CallError, match=r"^x is int32, but float32 was declared; x.astype\('float32'\) would fit$"):
            f(x=given)
        return
    before = np.array(given)
    for _ in range(2):
        for found, wanted in zip(f(x=given), gg.evaluate(outputs, x=np.asarray(given, dtype)), strict=True):
            np.testing.assert_array_equal(found, wanted)
            assert found.dtype == dtype
            assert type(found) is np.ndarray
    np.testing.assert_array_equal(np.array(given), before)


def test_numbers_for_rank_0_and_weak_inputs() -> None:
    g = gg.Graph()
    s, k, n, b = (
        g.input("s"),
        g.input("k", (), weak=True),
        g.input("n", (), "int64", weak=True),
        g.input("b", (), "bool", weak=True),
    )
    x = g.input("x", (2,), "float32")
    outputs = [s * 2, x * k, k + n, n // 2 if hasattr(gg.Tensor, "__floordiv__") else n * 2, gg.where(b, x, -x), k]
    f = gg.compile(outputs)
    for number in (1.5, np.float32(1.5), np.float64(1.5), np.array(1.5), 2, np.int32(2)):
        given = {"s": number, "k": number, "n": 3, "b": True, "x": np.ones(2, np.float32)}
        for found, wanted in zip(f(**given), gg.evaluate(outputs, **given), strict=True):
            np.testing.assert_array_equal(found, wanted)
            assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert f(**given)[1].dtype == np.float32


def test_read_only_arrays_are_fine_and_no_argument_is_written() -> None:
    f, given = linear(), good()
    before = {n: np.array(a) for n, a in given.items()}
    for array in given.values():
        array.flags.writeable = False
    np.testing.assert_allclose(f(**given)[0], [8.5, 26.5])
    for name, array in before.items():
        np.testing.assert_array_equal(given[name], array)


@pytest.mark.parametrize("copy", [True, False])
def test_arguments_that_become_state_are_copied(copy: bool) -> None:
    g = gg.Graph()
    w = g.parameter("w", (2,))
    f = gg.compile([w * 1.5], updates={w: w + 1}, copy=copy)
    start = np.array([1.0, 2.0])
    f(w=start)
    f()
    assert start.tolist() == [1, 2]
    start[:] = 100
    np.testing.assert_array_equal(f.state["w"], [3, 4])
    read = f.state["w"]
    read[:] = 7
    np.testing.assert_array_equal(f.state["w"], [3, 4])


def test_an_input_may_be_the_returned_array_of_the_call_before() -> None:
    g = gg.Graph()
    x = g.input("x", (3,))
    f = gg.compile([gg.tanh(x) + x, x * 2])
    x0 = np.array([0.1, 0.2, 0.3])
    first = f(x=x0)[0].copy()
    found = f(x=f(x=x0)[0])[0]
    np.testing.assert_allclose(found, np.tanh(first) + first, rtol=1e-15)


# ---------------------------------------------------------------------------------------------------------------------
# What a call returns
# ---------------------------------------------------------------------------------------------------------------------


def test_returned_arrays_belong_to_the_caller() -> None:
    """Every kind of output: computed, views, arguments, constants, computed once, held, twice the same."""
    g = gg.Graph()
    x, w = g.input("x", ("N", 2)), g.parameter("w", (2, 2))
    h = gg.tanh(x @ w)
    fixed = gg.constant_like(x) if hasattr(gg, "constant_like") else gg.exp(g.constant(np.zeros(3)) * gg.size(x))
    outputs = [
        h,
        h.T,
        h[0],
        x,
        x.T,
        g.constant(np.arange(3.0)),
        fixed,
        gg.broadcast_to(fixed, (2, 3)),
        w,
        w.T,
        w * 2,
        h,
        gg.size(x),
    ]
    f = gg.compile(outputs, updates={w: w * 2})
    given = np.array([[0.1, 0.2], [0.3, 0.4]])
    start = np.array([[1.0, 2], [3, 4]])
    f.state["w"] = start
    for k in range(3):
        found = f(x=given)
        wanted = gg.evaluate(outputs, x=np.array([[0.1, 0.2], [0.3, 0.4]]), w=start * 2**k)
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a, b)
        for a in found:
            assert a.flags.writeable
            assert a.flags.owndata
            a[...] = 1e9
    assert given.tolist() == [[0.1, 0.2], [0.3, 0.4]]


def test_later_calls_change_nothing_that_was_returned() -> None:
    f = linear()
    first = f(**good())
    kept = [a.copy() for a in first]
    for n in (2, 3, 2):
        f(**{**good(n), "x": np.full((n, 3), 9.0)})
    for a, b in zip(first, kept, strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_copies_the_memory_is_the_functions() -> None:
    f = linear(copy=False)
    first, second = f(**good())[0], f(**{**good(), "b": np.array(1.5)})[0]
    assert np.shares_memory(first, second)
    np.testing.assert_allclose(second, [9.5, 27.5])


def test_an_output_of_what_is_replaced_is_its_old_value() -> None:
    g = gg.Graph()
    w, k, x = g.parameter("w", (2, 2)), g.state("k", (), "int64", weak=True), g.input("x", (2, 2))
    outputs = [w, w.T, w[0], gg.reshape(w, (4,)), k, x, w + k]
    for copy in (True, False):
        f = gg.compile(outputs, updates={w: w @ w, k: k + 1}, copy=copy)
        now, times = np.array([[1.0, 1], [0, 1]]), 0
        f.state["w"] = now
        for _ in range(3):
            found = f(x=np.zeros((2, 2)))
            for a, b in zip(found, gg.evaluate(outputs, w=now, k=times, x=np.zeros((2, 2))), strict=True):
                np.testing.assert_array_equal(a, b)
            now, times = now @ now, times + 1


# ---------------------------------------------------------------------------------------------------------------------
# Sizes
# ---------------------------------------------------------------------------------------------------------------------


def test_any_batch_size_in_any_order() -> None:
    f = linear()
    for n in (2, 1, 100, 0, 2, 1000, 3, 0, 50_000, 2):
        given = good(n)
        found = f(**given)
        np.testing.assert_allclose(found[0], given["x"] @ given["w"] + 0.5)
        np.testing.assert_array_equal(found[1], given["i"] + 1)


def test_nothing_in_a_batch() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N", 3)), g.parameter("w", (3, 2))
    h = gg.tanh(x @ w)
    loss = gg.sum(h * h)
    d = gg.derive(loss)
    f = gg.compile([h, loss, d[w], gg.sum(h, 1), x.T, h[:, ::-1]], updates={w: w - d[w]})
    found = f(x=np.zeros((0, 3)), w=np.ones((3, 2)))
    assert [a.shape for a in found] == [(0, 2), (), (3, 2), (0,), (3, 0), (0, 2)]
    assert float(found[1]) == 0
    assert not found[2].any()
    np.testing.assert_array_equal(f.state["w"], np.ones((3, 2)))


def test_one_over_the_size_of_an_empty_batch_is_no_warning() -> None:
    """1/N is made ahead and multiplies nothing; a mean of nothing still says that it is NaN."""
    x = gg.Graph().input("x", ("N", 3))
    assert gg.compile(x / gg.size(x))(x=np.zeros((0, 3)))[0].shape == (0, 3)
    with pytest.warns(RuntimeWarning, match="invalid value"):
        assert np.isnan(gg.compile(gg.mean(x))(x=np.zeros((0, 3)))[0])


def test_what_is_spread_over_an_empty_batch_warns_of_nothing() -> None:
    """log(0) is computed before it is spread over no rows; where a result shows it, there is a warning still."""
    x = gg.Graph().input("x", ("N", 3))
    total = gg.sum(x, axis=0)
    spread = gg.compile(gg.log(gg.broadcast_to(total, ("N", 3))))
    assert spread(x=np.zeros((0, 3)))[0].shape == (0, 3)
    assert spread.profile(x=np.zeros((0, 3))).rows
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert np.isneginf(gg.compile(gg.log(total))(x=np.zeros((0, 3)))[0]).all()
    with np.errstate(divide="ignore"):
        assert np.isneginf(gg.compile(gg.log(total))(x=np.zeros((0, 3)))[0]).all()


def test_a_new_value_that_an_empty_batch_spoils_is_told() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N",)), g.parameter("w")
    f = gg.compile([gg.sum(x)], updates={w: w * gg.mean(gg.tanh(x))})
    with pytest.warns(RuntimeWarning, match="invalid value"):
        f(x=np.zeros(0), w=1.0)


def test_the_least_recently_used_workspace_goes() -> None:
    g = gg.Graph()
    x = g.input("x", ("N",))
    f = gg.compile([gg.tanh(x)])
    sizes = list(range(1, WORKSPACES + 1))
    for n in sizes:
        f(x=np.zeros(n))
    f(x=np.zeros(1))  # used again
    f(x=np.zeros(100))
    kept = [shapes[0][0] for shapes in f._idle]
    assert kept == [*sizes[2:], 1, 100]
    for n in range(200, 250):
        f(x=np.zeros(n))
    assert len(f._idle) == WORKSPACES
    assert all(len(w) == 1 for w in f._idle.values())


def test_polynomials_of_sizes() -> None:
    g = gg.Graph()
    x, y = g.input("x", ("N", "k")), g.input("y", ("2*N + 1",))
    z = gg.concatenate([gg.reshape(x, (-1,)), y])
    f = gg.compile([gg.sum(z), z])
    for n, k in ((1, 2), (3, 4), (2, 0)):
        given = {"x": np.ones((n, k)), "y": np.full(2 * n + 1, 2.0)}
        assert float(f(**given)[0]) == n * k + 4 * n + 2
        assert f(**given)[1].shape == (n * k + 2 * n + 1,)
    with pytest.raises(CallError) as told:
        f(x=np.ones((2, 2)), y=np.ones(4))
    assert (
        str(told.value)
        == "y has shape (4,), but (2*N + 1,) was declared: axis 0 is 4 where 2*N + 1 with N = 2 is wanted"
    )


# ---------------------------------------------------------------------------------------------------------------------
# What it says of itself
# ---------------------------------------------------------------------------------------------------------------------


def test_what_a_function_says_of_itself() -> None:
    assert repr(linear()) == "<compiled function of x, i, w, b: 3 statements>"
    g = gg.Graph()
    assert repr(gg.compile([g.constant(1.0)])) == "<compiled function of nothing: 0 statements>"


def test_call_takes_the_inputs_in_order() -> None:
    f, given = linear(), good()
    np.testing.assert_allclose(f.call([given[n] for n in ("x", "i", "w", "b")])[0], f(**given)[0])
    with pytest.raises(ValueError, match="argument"):
        f.call([given["x"]])


@pytest.mark.parametrize("outputs", [None, 3, "x"])
def test_outputs_are_tensors(outputs: Any) -> None:
    with pytest.raises(gg.GraphgradError, match="compile takes a Tensor or a list of them, but"):
        gg.compile(outputs)


def test_updates_are_a_mapping() -> None:
    W = gg.Graph().parameter("W")
    with pytest.raises(gg.GraphgradError, match="updates is a mapping such as"):
        gg.compile([W], updates=[W])  # type: ignore[arg-type]


def test_a_fixed_index_outside_is_told_at_the_users_line() -> None:
    g = gg.Graph()
    f = gg.compile([g.input("x", ("N",))[np.array([0, 9])]])
    with pytest.raises(gg.GraphgradError, match=r"test_loader\.py"):
        f(x=np.zeros(5))


def test_a_mask_is_not_lost_in_silence() -> None:
    g = gg.Graph()
    total = gg.sum(g.input("x", ("N",)))
    masked = np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False])
    for call in (gg.compile([total]), lambda x: gg.evaluate(total, x=x)):
        with pytest.raises(gg.GraphgradError, match="x is a masked array, whose mask would be lost"):
            call(x=masked)


def test_no_indices_into_nothing_are_no_mistake() -> None:
    g = gg.Graph()
    x, i = g.input("x", ("N", 2)), g.input("i", ("M",), "int64")
    f = gg.compile([gg.take(x, i, axis=0)])
    assert f(x=np.zeros((0, 2)), i=np.zeros(0, np.int64))[0].shape == (0, 2)
    with pytest.raises(CallError, match="indices from 0 to 0 into an axis that is 0 long"):
        f(x=np.zeros((0, 2)), i=np.zeros(1, np.int64))


def test_long_code_is_compiled_in_parts_whose_lines_keep_their_numbers() -> None:
    lines = [f"x{i} = {i}" for i in range(2 * PART + 10)] + ["def step():", "    y = x3", "    return y / 0"]
    parts = compiled(lines, "<long>")
    assert len(parts) == 4
    space: dict[str, Any] = {}
    for part in parts:
        exec(part, space)
    assert space[f"x{2 * PART + 9}"] == 2 * PART + 9
    with pytest.raises(ZeroDivisionError) as caught:
        space["step"]()
    assert caught.tb is not None
    frames = traceback.extract_tb(caught.tb)
    assert (frames[-1].filename, frames[-1].lineno) == ("<long>", len(lines))


def test_an_error_deep_in_a_long_function_names_its_node() -> None:
    g = gg.Graph()
    x, i = g.input("x", ("N",)), g.input("i", (), "int64")
    y = x
    for _ in range(2 * PART):
        y = gg.tanh(y)
    f = gg.compile([gg.sum(y), gg.take(y, i).named("taken")])
    assert len(f._code) > 1
    assert len(f(x=np.ones(3), i=1)) == 2
    with pytest.raises(CallError, match=r"taken|index"):
        f(x=np.ones(3), i=7)


def test_a_result_that_no_call_computes_again_is_not_to_be_written() -> None:
    g = gg.Graph()
    x = g.input("x", ("N", 2))
    d = gg.derive(gg.sum(gg.cumsum(x, axis=0)), wrt=[x])
    f = gg.compile([d[x]], copy=False)
    (result,) = f(x=np.ones((4, 2)))
    with pytest.raises(ValueError, match="read-only"):
        result[...] = 7
    np.testing.assert_array_equal(f(x=np.ones((4, 2)))[0], [[4, 4], [3, 3], [2, 2], [1, 1]])


@pytest.mark.parametrize("sizes", [{}, {"N": 3, "M": 4}, {"M": 3}, {"N": "3"}, {"N": -3}], ids=str)
def test_a_workspace_s_size_is_told_for_sizes_alone(sizes: dict[str, Any]) -> None:
    g = gg.Graph()
    f = gg.compile([gg.exp(gg.tanh(g.input("x", ("N",))))])
    assert f.workspace_bytes(N=3) > 0
    with pytest.raises(gg.GraphgradError, match="N"):
        f.workspace_bytes(**sizes)
