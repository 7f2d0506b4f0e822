"""The text of generated code: readable, legal whatever the names, in pieces where it is long, a line for each node."""

from __future__ import annotations

import ast
import linecache
import textwrap
import traceback
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphgrad as gg
from graphgrad import operator
from graphgrad.codegen.literals import code, literal
from graphgrad.codegen.names import Names, identifier
from graphgrad.codegen.pieces import MOST
from graphgrad.errors import CallError, GraphgradError
from graphgrad.operators.rows import elementwise

HOSTILE = [
    "lambda", "match", "None", "None_", "np", "step", "step_1", "arguments", "print", "workspace", "self", "arrays",
    "slice", "IndexError", "float", "return", "__builtins__", "t5", "t2", "one", "half", "two", "c_3", "c_0_25", "N",
    "add_reduce", "add", "tanh", "multiply", "dot", "copyto", "erf", "x_", "x", "__import__('os')", "x\nimport os",
    "x\rimport os", "x\u2028import os", '"', "'''", '"""', "\\", "#", "a b", "ä", "θ", "x̄", "数", "\0", "\ud800",
    "\u202e", "5", "_", "W.T", "{x}", "{out}", "%s", "()",
]  # fmt: skip


def leaves_and_sum(names: list[str], depth: int = 3) -> tuple[gg.Graph, gg.Tensor, dict[str, Any]]:
    """One leaf for each name, all of them in one formula that also makes constants and unnamed nodes."""
    g = gg.Graph()
    total: Any = 0.0
    for k, name in enumerate(names):
        leaf = [g.input, g.parameter][k % 2](name, ("N", 3) if k % 3 else ("N", 1))
        total = total + gg.tanh(leaf * float(k % 4 + 2) / 4.0)
    for _ in range(depth):
        total = gg.tanh(total * 0.25 + 3.0) - 0.5
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=(4, 3) if k % 3 else (4, 1)) for k, name in enumerate(names)}
    picked = gg.derive(gg.sum(gg.take(total, g.constant(np.array([2, 0, 2])), axis=0)), [total])[total]
    return g, gg.sum(total + picked, 0).named("total") * gg.size(total), values


@pytest.mark.parametrize("depth", [3, 1200], ids=["whole", "in pieces"])
def test_any_name_is_safe(depth: int) -> None:
    g, y, values = leaves_and_sum(HOSTILE, depth)
    updates = {g[name]: g[name] * 0.5 + 0.25 for name in HOSTILE[1::2]}
    f, h = gg.compile([y]), gg.compile([y], updates=updates)
    wanted = gg.evaluate(y, **values)
    for found in (f(**values)[0], h(**values)[0]):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    later = {**values, **{name: values[name] * 0.5 + 0.25 for name in HOSTILE[1::2]}}
    np.testing.assert_allclose(h(**{n: values[n] for n in HOSTILE[::2]})[0], gg.evaluate(y, **later), rtol=1e-12)
    source = f.source
    assert source.isascii() or all(c.isprintable() or c == "\n" for c in source)
    source.encode("utf-8")
    statements = {type(n) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.stmt)}
    assert statements <= {ast.FunctionDef, ast.Assign, ast.Expr, ast.Return, ast.Global, ast.If, ast.Raise}
    known = {n.id for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name)}
    assert not known & {"os", "__import__", "exec", "eval", "open"}


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6, unique=True))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_names_of_any_characters(names: list[str]) -> None:
    _, y, values = leaves_and_sum(names)
    f = gg.compile([y])
    np.testing.assert_allclose(f(**values)[0], gg.evaluate(y, **values), rtol=1e-12)
    assert compile(f.source, "generated", "exec")


@given(st.text())
def test_identifiers_are_legal(text: str) -> None:
    name = identifier(text)
    assert name.isidentifier()
    assert name.isascii()
    assert compile(f"{name} = 1", "", "exec")


def test_identifiers_stay_close_to_the_wish() -> None:
    wanted = {
        "W1": "W1",
        "x̄": "x_bar",
        "θ": "theta",
        "layer1/W": "layer1_W",
        "lambda": "lambda_",
        "5": "t5",
        "": "t",
        "ä": "a",
        "a b": "a_b",
    }
    assert {text: identifier(text) for text in wanted} == wanted


def test_names_are_given_once() -> None:
    names = Names()
    assert [names.take(w) for w in ("x", "x", "x", "x_2", "np", "step", "step_1")] == [
        "x",
        "x_2",
        "x_3",
        "x_2_2",
        "np_2",
        "step_",
        "step_1_",
    ]


def test_the_source_reads_like_the_derivation() -> None:
    g = gg.Graph()
    x, y = g.input("x", ("N", 2)), g.input("y", ("N", 3))
    W, b = g.parameter("W", (3, 2)), g.parameter("b", (3,))
    p = gg.tanh(x @ W.T + b).named("p")
    L = gg.mean((p - y) ** 2).named("L")
    d = gg.derive(L)
    f = gg.compile([L], updates={W: W - 0.1 * d[W], b: b - 0.1 * d[b]})
    step = f.source[f.source.index("def step") :]
    lines = [line.strip() for line in step.splitlines()]
    assert lines[0] == "def step(x, y):"
    assert "# p = tanh(v5)" in lines or any(line.startswith("# p = tanh(") for line in lines)
    assert any(line.startswith("tanh(") and line.endswith(", p)") for line in lines)
    comments = [line for line in lines if line.startswith("#")]
    statements = [line for line in lines[1:-1] if not line.startswith("#")]
    assert all(" = " in line for line in comments)
    assert len(comments) <= len(statements)
    assert any("W̄" in line for line in comments)
    assert max(map(len, lines)) < 120
    calls = [s.replace("[()]", "") for s in statements]  # a number of rank 0 is read and written so
    assert not any("[" in s or "np." in s for s in calls)  # straight calls over bare names
    assert lines[-1] == "return (L,)"


def test_neurons_are_lines_that_one_would_write() -> None:
    g = gg.Graph()
    x, w, b = g.input("x"), g.parameter("w"), g.parameter("b")
    z = (w * x + b).named("z")
    h = gg.tanh(z).named("h")
    loss = (h * h).named("loss")
    d = gg.derive(loss)
    f = gg.compile([loss, d[w], d[b]])
    step = f.source[f.source.index("def step") :].splitlines()
    assert step == [
        "def step(x, w, b):",
        "    # v3 = w * x",
        "    v3 = w[()] * x[()]",
        "    # z = v3 + b",
        "    z = v3 + b[()]",
        "    # h = tanh(z)",
        "    h = tanh(z)",
        "    # loss = h * h",
        "    loss[()] = h * h",
        "    # h̄ = 1 * h + 1 * h",
        "    h_bar = 2 * h",
        "    # v12 = 1 - loss",
        "    v12 = 1 - loss[()]",
        "    # z̄ = h̄ * v12",
        "    z_bar[()] = h_bar * v12",
        "    # w̄ = z̄ * x",
        "    w_bar[()] = z_bar[()] * x[()]",
        "    return (loss, w_bar, z_bar)",
    ]
    assert sorted(f.memory) == ["loss", "w_bar", "z_bar"]
    assert f.flops == 8
    t = np.tanh(0.5 * 3.0 - 1.0)
    assert [float(v) for v in f(x=3.0, w=0.5, b=-1.0)] == [t * t, 2 * t * (1 - t * t) * 3.0, 2 * t * (1 - t * t)]
    assert len(f.profile(x=3.0, w=0.5, b=-1.0).rows) == 8


def test_operators_may_share_a_template_and_name_their_operands_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator, "OPERATORS", dict(operator.OPERATORS))
    shared = "np.subtract({x}, {y}, out={out})"
    one = elementwise("one", operands="x y", formula="x - y", reference=lambda x, y: x - y, numpy=shared)
    other = elementwise("other", operands="y x", formula="x - y", reference=lambda y, x: x - y, numpy=shared)
    g = gg.Graph()
    a, b = g.input("a", ("N",)), g.input("b", ("N",))
    assert [v.item() for v in gg.compile([one(a, b), other(a, b)])(a=[5.0], b=[3.0])] == [2.0, -2.0]


def test_numbers_divide_as_arrays_do() -> None:
    g = gg.Graph()
    a, b = g.input("a", (), "float32"), g.input("b", (), "float32")
    q = a / b
    outputs = [q * 2.0, gg.exp(q) - 1.0, gg.sqrt(q) + 1.0, 1.0 / q, q % 2.0, gg.sin(q) ** -3.0]
    f = gg.compile(outputs)
    for values in ((1.0, 0.0), (-1.0, 0.0), (0.0, 0.0), (0.3, 0.7), (-0.0, 2.0)):
        given = dict(zip("ab", map(np.float32, values), strict=True))
        with np.errstate(all="ignore"):
            results, wanted = f(**given), [gg.evaluate(o, **given) for o in outputs]
        assert {(r.dtype.name, r.shape) for r in results} == {("float32", ())}
        np.testing.assert_allclose(results, wanted, rtol=1e-6)


def test_lines_of_a_node() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N",)), g.parameter("w", ("N",))
    h = gg.tanh(x * w)
    y = gg.sum(gg.exp(h))
    f = gg.compile([y])
    source = f.source.splitlines()
    (line,) = f.lines[h]
    assert source[line - 1].strip().startswith("tanh(")
    assert source[line - 2].strip().startswith("#")
    (line,) = f.lines[y]
    assert "dot(v4, ones, " in source[line - 1]
    assert f.lines[x] == ()
    assert f.lines[gg.cos(x)] == ()


def test_lines_are_right_in_pieces() -> None:
    g = gg.Graph()
    y = g.input("x", (2,))
    marked = []
    for k in range(2000):
        y = gg.tanh(y) if k % 2 else gg.exp(-y)
        if k % 500 == 1:
            marked.append(y)
    f = gg.compile([y])
    source = f.source.splitlines()
    assert len([line for line in source if line.startswith("def step")]) > 3
    for t in marked:
        (line,) = f.lines[t]
        assert source[line - 1].strip().startswith("tanh(")


def test_a_traceback_shows_the_generated_line_and_the_users_own() -> None:
    g = gg.Graph()
    x, i = g.input("x", ("N",)), g.input("i", (2,), "int64")
    y = gg.take(gg.tanh(x), i)
    f = gg.compile([y])
    with pytest.raises(CallError) as told:
        f(x=[1.0, 2.0], i=[0, 5])
    first = test_a_traceback_shows_the_generated_line_and_the_users_own.__code__.co_firstlineno
    label = f.program.graph.label(told_node(f, "checked_index"))
    assert str(told.value).splitlines() == [
        f"{label} = checked_index: indices from 0 to 5 into an axis that is 2 long",
        f"  at test_numpy_target.py:{first + 3}: y = gg.take(gg.tanh(x), i)",
    ]
    shown = "".join(traceback.format_exception(told.value))
    generated = [line.strip() for line in f.source.splitlines() if "raise IndexError" in line]
    assert generated
    assert generated[0] in shown
    assert f(x=[1.0, 2.0], i=[0, -1])[0].tolist() == np.tanh([1.0, 2.0]).tolist()  # and it can be called again


def told_node(f: Any, operator: str) -> int:
    return next(n.id for n in f.program.graph.nodes if n.operator.name == operator)


def test_the_source_is_in_linecache_while_the_function_lives() -> None:
    g = gg.Graph()
    f = gg.compile([gg.tanh(g.input("x", (2,)))])
    name = f._code[0].co_filename
    assert "".join(linecache.getlines(name)) == f.source
    linecache.checkcache(name)
    number = f.source.splitlines().index("    tanh(x, v1)") + 1
    assert linecache.getline(name, number) == "    tanh(x, v1)\n"
    assert linecache.getline(name, 1000) == ""
    del f
    assert name not in linecache.cache


def long_graph(nodes: int) -> tuple[gg.Graph, list[gg.Tensor], dict[gg.Tensor, gg.Tensor], dict[str, Any]]:
    """Per-call views, numbers, held values and statements, each needed far from where it is made."""
    g = gg.Graph()
    x, k = g.input("x", ("N", 3)), g.input("k", (), weak=True)
    w, m = g.parameter("w", (3,)), g.state("m", (), weak=True)
    early = [x.T, gg.tanh(k), x[:, ::-1], 1 / (gg.size(x) + k), w * 2.0, m + 1]
    y = x
    while len(g.nodes) < nodes:
        y = gg.tanh(y * early[1] + early[2] * early[3])
        y = y + (w if len(g.nodes) % 3 else early[4]) * early[5]
    outputs = [gg.sum(y), gg.tanh(early[0] @ y), early[0], early[1], early[5]]
    return (
        g,
        outputs,
        {w: w + gg.sum(y, 0) / 100, m: early[5]},
        {"x": np.linspace(-1, 1, 12).reshape(4, 3), "k": np.array(0.5)},
    )


def test_a_long_program_is_printed_in_pieces() -> None:
    _, outputs, updates, values = long_graph(5000)
    f = gg.compile(outputs, updates=updates)
    functions = [n for n in ast.parse(f.source).body if isinstance(n, ast.FunctionDef)]
    assert len(functions) > 20
    assert max(len(n.body) for n in functions if n.name.startswith("step_")) <= MOST + 10
    held = {"w": np.array([0.1, 0.2, 0.3]), "m": np.array(0.0)}
    given: dict[str, Any] = {**values, "w": held["w"]}
    for n in (4, 2, 4):
        now = {**values, "x": values["x"][:n], **held}
        wanted = gg.evaluate([*outputs, *updates.values()], **now)
        found = f(**{**given, "x": values["x"][:n]})
        given = dict(values)
        for a, b in zip(found, wanted, strict=False):
            np.testing.assert_allclose(a, b, rtol=1e-9)
        held = {t.name: np.asarray(v) for t, v in zip(updates, wanted[len(outputs) :], strict=True)}
        np.testing.assert_allclose(f.state["w"], held["w"], rtol=1e-9)


def test_equal_graphs_give_equal_source() -> None:
    first, second = (gg.compile(long_graph(300)[1]) for _ in range(2))
    assert first.source == second.source


@pytest.mark.parametrize(
    "value", [0.1, -0.0, 1e-300, 1.5, 1, -3, True, False, float("inf"), -float("inf"), 1 / 3, 2**62]
)
def test_literals_are_exact(value: Any) -> None:
    back = eval(literal(value), {"np": np})  # text of our own
    assert (back, type(back), str(back)) == (value, type(value), str(value))
    g = gg.Graph()
    x = g.input("x", (1,), "float64" if isinstance(value, float) else "int64")
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(gg.compile([x * value])(x=[2])[0], gg.evaluate(x * value, x=[2]))


def test_nan_is_written() -> None:
    g = gg.Graph()
    assert np.isnan(eval(literal(float("nan")), {"np": np}))
    assert np.isnan(gg.compile([g.input("x", (1,)) * float("nan")])(x=[1.0])[0][0])


def test_attributes_are_written_with_the_names_of_sizes() -> None:
    g = gg.Graph()
    N = g.input("x", ("N",)).shape[0]
    assert code((N, 3)) == "(N, 3)"
    assert code((N * 2 + 1,)) == "(2*N + 1,)"
    assert code(()) == "()"
    assert code((1.5, "text", None, True)) == "(1.5, 'text', None, True)"


@pytest.mark.parametrize("size", ["np", "step", "lambda", "ñ"])
def test_a_size_that_code_cannot_name(size: str) -> None:
    g = gg.Graph()
    x = g.input("x", (size,))
    with pytest.raises(GraphgradError) as told:
        gg.compile([gg.tanh(x)])
    assert (
        str(told.value) == f"{size!r} cannot name a size: it is not an identifier, or a word that generated code uses"
    )


def test_a_size_and_an_input_of_one_name() -> None:
    g = gg.Graph()
    N, tanh = g.input("N", ("N", "tanh")), g.input("tanh", ("tanh",))
    y = gg.tanh(N) * gg.size(N) + gg.size(N, 1) * tanh
    values = {"N": np.ones((2, 3)), "tanh": np.arange(3.0)}
    np.testing.assert_allclose(gg.compile([y])(**values)[0], gg.evaluate(y, **values))


def test_numbers_are_computed_as_arrays_are() -> None:
    """Division by zero, bools as floats and overflow in Python's numbers follow NumPy, not Python."""
    g = gg.Graph()
    k, x = g.input("k", (), weak=True), g.input("x", (2,))
    b = k > 1.0
    zero = gg.where(b, 0.0, 2.0)
    outputs = [
        1 / zero,
        gg.exp(b),
        b + b,
        gg.exp(k * 1000.0),
        gg.log(zero),
        gg.where(b, x, k),
        gg.where(b, 1, 0) / gg.where(b, 0, 1),
        ~b,
        -k,
    ]
    f = gg.compile(outputs)
    for value in (0.5, 2.0):
        with np.errstate(all="ignore"):
            found, wanted = f(k=value, x=[3.0, 4.0]), gg.evaluate(outputs, k=value, x=[3.0, 4.0])
        for t, a, c in zip(outputs, found, wanted, strict=True):
            np.testing.assert_array_equal(a, c, err_msg=str(t))
            assert a.dtype == c.dtype


def test_bools_enter_functions_as_float64() -> None:
    """NumPy alone would compute exp(True) in float16."""
    g = gg.Graph()
    x = g.input("x", (2,), "bool")
    outputs = [gg.exp(x), gg.tanh(x), x / x, gg.sqrt(x), gg.arctan2(x, x)]
    with np.errstate(all="ignore"):
        found = gg.compile(outputs)(x=[True, False])
    np.testing.assert_array_equal(found[0], np.exp([1.0, 0.0]))
    np.testing.assert_array_equal(found[1], np.tanh([1.0, 0.0]))
    np.testing.assert_array_equal(found[2], [1.0, np.nan])
    np.testing.assert_array_equal(found[3], [1.0, 0.0])
    np.testing.assert_array_equal(found[4], np.arctan2([1.0, 0.0], [1.0, 0.0]))


def test_indices_and_conditions_that_are_numbers_keep_their_dtype() -> None:
    g = gg.Graph()
    k, i, x = g.input("k", (), weak=True), g.input("i", (), "int64", weak=True), g.input("x", ("N",), "float32")
    outputs = [gg.where(k > 1.0, x, 0.5), gg.take(x, i), gg.where(i > 0, k, x)]
    f = gg.compile(outputs)
    for values in ({"k": 0.0, "i": 0}, {"k": 2.0, "i": 1}):
        given = {**values, "x": np.array([1.5, 2.5], np.float32)}
        for a, b in zip(f(**given), gg.evaluate(outputs, **given), strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


def test_views_of_views_stand_in_lines_that_python_can_parse() -> None:
    g = gg.Graph()
    y = x = g.parameter("x", (2, 3))
    for _ in range(2001):
        y = y.T[::-1]
    d = gg.derive(gg.sum(y * g.constant(np.arange(6.0).reshape(3, 2))))
    f = gg.compile([y * 2.0, d[x]])
    assert max(map(len, f.source.splitlines())) < 120
    value = np.arange(6.0).reshape(2, 3) ** 2
    turned = value.T[::-1]  # a quarter of a circle, and four of these are none
    assert len(f.source.splitlines()) < 2001
    for found, expected in zip(f(x=value), (turned * 2.0, np.arange(6.0).reshape(3, 2)[::-1].T), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_source_of_a_small_function() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N", 2)), g.parameter("w", (2,))
    h = gg.tanh(x * w).named("h")
    f = gg.compile([gg.sum(h, 0).named("s")])
    wanted = """\
        # The functions that the step calls, by their bare names.
        multiply = np.multiply
        tanh = np.tanh
        dot = np.dot

        # Once for each workspace: constants, and views of buffers.
        ones = np.ones((N,), np.float64)


        def step(x, w):
            # v2 = x * w
            multiply(x, w, v2)
            # h = tanh(v2)
            tanh(v2, h)
            # s = sum(h, 0)
            dot(ones, h, s)
            return (s,)
        """
    assert f.source == textwrap.dedent(wanted)


def test_a_derivative_beside_bools() -> None:
    """The rule of arctan2 squares both of its operands, and one of them may be a bool."""
    g = gg.Graph()
    x, b = g.parameter("x", (2,)), g.input("b", (2,), "bool")
    gradient = gg.derive(gg.sum(gg.arctan2(x, b)))[x]
    values = {"x": np.array([0.5, -0.7]), "b": np.array([True, False])}
    np.testing.assert_allclose(gg.compile([gradient])(**values)[0], [1 / 1.25, 0.0], rtol=1e-15)
    np.testing.assert_allclose(gg.evaluate(gradient, **values), [1 / 1.25, 0.0], rtol=1e-15)


@pytest.mark.parametrize("shape", [("N", 1), (1, "N"), (1, "N", 1)])
def test_the_sum_of_a_column_or_a_row_is_a_product_with_ones(shape: tuple[Any, ...]) -> None:
    """Also of what the caller gives in some other order. Of a matrix it is not, since the ones would be as many."""
    g = gg.Graph()
    x = g.input("x", shape)
    f = gg.compile([gg.sum(x), gg.sum(gg.tanh(x))])
    assert f.source.count(".reshape(-1), ones") == 2
    for n in (1, 5, 0, 5):
        values = np.random.default_rng(n).normal(size=tuple(n if d == "N" else d for d in shape) + (2,))[..., 0]
        total, of_tanh = f(x=values)
        assert total == pytest.approx(values.sum(), abs=1e-12)
        assert of_tanh == pytest.approx(np.tanh(values).sum(), abs=1e-12)
    y = g.input("y", ("N", "M"))
    assert "ones" not in gg.compile([gg.sum(y)]).source


def test_labels_that_the_graph_computes_are_looked_at_where_they_are_there() -> None:
    g = gg.Graph()
    x, k = g.input("x", ("N", 4)), g.input("k", ("N",), "int64")
    scores = np.random.default_rng(0).normal(size=(3, 4))
    f = gg.compile([gg.cross_entropy(x, k + 1)])
    want = gg.evaluate(gg.cross_entropy(x, k + 1), x=scores, k=np.array([0, 1, 2]))
    np.testing.assert_allclose(f(x=scores, k=np.array([0, 1, 2]))[0], want)
    with pytest.raises(CallError, match="indices from 2 to 4 into an axis that is 4 long"):
        f(x=scores, k=np.array([1, 2, 3]))
    best = gg.compile([gg.cross_entropy(x, gg.argmax(x, axis=1))])
    np.testing.assert_allclose(best(x=scores)[0], -np.log(np.exp(scores).max(1) / np.exp(scores).sum(1)).mean())


def test_labels_that_are_kept_are_looked_at_in_each_step() -> None:
    g = gg.Graph()
    x, s = g.input("x", ("N", 4)), g.state("s", ("N",), "int64")
    f = gg.compile([gg.cross_entropy(x, s)], {s: s + 1})
    f.state["s"] = np.array([0, 1, 2])
    scores = np.zeros((3, 4))
    assert [f(x=scores)[0] for _ in range(2)] == pytest.approx([np.log(4)] * 2)
    with pytest.raises(CallError, match="indices from 2 to 4 into an axis that is 4 long"):
        f(x=scores)
