"""The graph: building, sharing, names, lines, scopes, folding, promotion, networkx, and errors read whole."""

from __future__ import annotations

import copy
import gc
import inspect
from io import BytesIO
from itertools import product
from typing import Any

import networkx as nx
import numpy as np
import pytest

import graphgrad as gg
from graphgrad.collector import paused_gc
from graphgrad.errors import DTypeError, GraphgradError, NameClashError, ShapeError


def here() -> int:
    """The line that calls."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def neuron() -> tuple[gg.Graph, gg.Tensor]:
    g = gg.Graph()
    x, y = g.input("x", ("N", 2)), g.input("y", ("N", 1))
    W, b = g.parameter("W", (1, 2)), g.parameter("b", (1,))
    p = gg.sigmoid((x @ W.T + b).named("z")).named("p")
    return g, gg.mean((p - y) ** 2).named("L")


# -- building and sharing ---------------------------------------------------------------------------------------------


def test_ids_are_a_topological_order_and_nodes_say_what_they_are() -> None:
    g, loss = neuron()
    assert [n.id for n in g.nodes] == list(range(len(g.nodes)))
    assert all(i < n.id for n in g.nodes for i in n.inputs)
    assert [n.operator.name for n in g.nodes] == [
        "input", "input", "parameter", "parameter", "transpose", "matmul",
        "add", "sigmoid", "subtract", "square", "mean",
    ]  # fmt: skip
    assert [str(n.shape) for n in g.nodes[:2]] == ["(N, 2)", "(N, 1)"]
    assert (loss.shape, loss.dtype, loss.ndim, loss.name) == ((), "float64", 0, "L")


def test_equal_nodes_are_one_node() -> None:
    g = gg.Graph()
    x, y = g.input("x"), g.input("y")
    assert x + y is x + y
    assert x + y is not y + x
    assert gg.sum(x, axis=()) is gg.sum(x, axis=())
    assert g.input("x") is x
    assert x * 2 is x * 2
    assert x * 2 is not x * 2.0
    assert x * np.float64(2) is not x * 2.0
    assert g.constant(0.0) is not g.constant(-0.0)
    assert g.constant(float("nan")) is g.constant(float("nan"))
    assert g.constant(np.ones(2)) is g.constant(np.ones(2))


def test_attributes_are_canonical_before_nodes_are_compared() -> None:
    g = gg.Graph()
    x = g.input("x", (2, 3))
    assert gg.sum(x, axis=-1) is gg.sum(x, axis=1) is gg.sum(x, (1,))
    assert gg.reshape(x, -1) is gg.reshape(x, (6,))
    assert gg.transpose(x) is x.T is gg.transpose(x, (1, 0))


def test_a_number_of_numpys_beside_weak_ones_is_a_number_and_beside_an_array_an_array() -> None:
    g = gg.Graph()
    x, n, w = g.input("x", ("N",), "float32"), g.input("n", (), "int64", weak=True), g.parameter("w", (), "float32")
    for weak in (n * np.float64(0.5), np.float32(0.5) * n, gg.maximum(np.float64(0.5), n), gg.size(x, 0) / np.int64(2)):
        assert weak.node.weak
        assert (x * weak).dtype == "float32"
    for strong in (x * np.float64(0.5), w + np.float64(0.5), n * np.array(0.5)):
        assert not strong.node.weak
        assert strong.dtype == "float64"
    assert gg.where(n < 2, x, np.float64(0.5)).dtype == "float64"


@pytest.mark.parametrize(
    "array", [np.array([1.0, 2.0]), np.float64(3.0), np.float32(3.0), np.array([1, 2]), 2, 2.5, True]
)
def test_numpy_arrays_and_numbers_stand_on_either_side(array: Any) -> None:
    g = gg.Graph()
    x = g.input("x", (2,))
    v = np.array([0.5, 4.0])
    for left, right in (
        (array + x, array + v), (x + array, v + array), (array - x, array - v), (x - array, v - array),
        (array * x, array * v),
        (array / x, array / v), (x / array, v / array), (array**x, array**v), (x**array, v**array),
        (array < x, array < v), (array >= x, array >= v), (array == x, array == v), (x != array, v != array),
    ):  # fmt: skip
        assert isinstance(left, gg.Tensor)
        result = gg.evaluate(left, x=v)
        np.testing.assert_array_equal(result, right)
        assert result.dtype == left.dtype == right.dtype


def test_matmul_with_an_array_on_either_side() -> None:
    g = gg.Graph()
    x = g.input("x", (2, 2))
    a, v = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0.0, 1.0], [1.0, 1.0]])
    np.testing.assert_array_equal(gg.evaluate(a @ x, x=v), a @ v)
    np.testing.assert_array_equal(gg.evaluate(x @ a, x=v), v @ a)


def test_indexing_as_numpy() -> None:
    g = gg.Graph()
    x, i = g.input("x", (4, 3, 2)), g.input("i", (2,), "int64")
    v, at = np.arange(24.0).reshape(4, 3, 2), np.array([2, 0])
    for index in (
        1,
        -1,
        slice(1, 3),
        (slice(None), 1),
        (..., 0),
        (None, 2),
        (slice(None, None, -1), slice(0, 2)),
        (0, 1, 1),
        (..., None),
    ):
        np.testing.assert_array_equal(gg.evaluate(x[index], x=v), v[index])
    np.testing.assert_array_equal(gg.evaluate(x[i], x=v, i=at), v[at])
    assert [t.shape for t in x] == [(3, 2)] * 4


def test_a_tensor_is_no_number() -> None:
    x = gg.Graph().input("x", ("N",))
    with pytest.raises(GraphgradError) as error:
        bool(x)
    assert str(error.value).split("\n")[0] == (
        "x is a node of a graph and holds no number, so it is neither true nor false; gg.where chooses inside the graph"
    )
    for convert in (float, int, len):
        with pytest.raises(TypeError, match="Tensor"):
            convert(x)  # type: ignore[arg-type]
    for numpys in (np.asarray, np.mean, lambda x: np.concatenate([x, x]), lambda x: x + [x, 1]):
        with pytest.raises(
            GraphgradError, match=r"^x is a node of a graph and holds no numbers: .*\n  at test_graph.py:"
        ):
            numpys(x)
    with pytest.raises(ShapeError, match=r"^x of shape \(N,\) cannot be iterated over"):
        iter(x)
    with pytest.raises(TypeError):
        x + "1"  # type: ignore[operator]


# -- names ------------------------------------------------------------------------------------------------------------


def test_a_node_may_have_several_names() -> None:
    g = gg.Graph()
    x = g.input("x")
    z = (x * 2).named("z").named("logit")
    assert z.name == "z"
    assert g["z"] is g["logit"] is z
    assert z.named("z") is z
    assert g.names[z.id] == ("z", "logit")
    assert "logit" in g
    assert "w" not in g


def test_names_that_clash() -> None:
    g = gg.Graph()
    x = g.input("x", ("N",))
    line = here() - 1
    with pytest.raises(NameClashError) as error:
        g.input("x", ("N", 2))
    assert str(error.value) == (
        "input x (N, 2) float64 was asked for, but x names a node already: input (N,) float64 "
        f'(made at test_graph.py:{line}: x = g.input("x", ("N",)))\n  at test_graph.py:{line + 3}: g.input("x", '
        f'("N", 2))'
    )
    for clash in (
        lambda: g.parameter("x", ("N",)),
        lambda: g.input("x", ("N",), "float32"),
        lambda: (x * 2).named("x"),
    ):
        with pytest.raises(NameClashError):
            clash()
    with pytest.raises(NameClashError, match=r"^no node is named 'w'; there are: x$"):
        g["w"]
    with pytest.raises(NameClashError, match=r"^no node is named 'w'; there are: none$"):
        gg.Graph()["w"]
    with pytest.raises(NameClashError, match=r"^the name of an input is text, but 5 was given\n"):
        g.input(5)  # type: ignore[arg-type]
    for name in ("", None, 5):
        with pytest.raises(NameClashError, match=rf"^the name of a node is text, but {name!r} was given\n"):
            (x * 2).named(name)  # type: ignore[arg-type]


# -- lines and scopes -------------------------------------------------------------------------------------------------


def test_every_line_that_asked_is_on_record() -> None:
    g = gg.Graph()
    x = g.input("x")
    one = x * 2
    first = here() - 1
    two = x * 2
    assert one is two
    assert g.lines[one.id] == ((__file__, first), (__file__, first + 2))
    assert g.where(one.id) == f"v2 = multiply (made at test_graph.py:{first}: one = x * 2)"


def test_a_derived_node_has_the_line_of_its_forward_node() -> None:
    g = gg.Graph()
    w = g.parameter("w")
    y = gg.tanh(w)
    line = here() - 1
    d = gg.derive(y)
    assert g.lines[d[w].id] == ((__file__, line),)


def test_scopes_nest_and_belong_to_the_first_builder() -> None:
    g = gg.Graph()
    x = g.input("x")
    with g.scope("encoder"):
        a = x * 2
        with g.scope("layer1"):
            b = a + 1
            again = x * 2
    c = b * 3
    assert again is a
    assert {t: g.scopes.get(t.id) for t in (x, a, b, c)} == {x: None, a: "encoder", b: "encoder/layer1", c: None}
    with pytest.raises(ZeroDivisionError), g.scope("broken"):
        raise ZeroDivisionError
    assert (c + 1).id not in g.scopes


# -- folding ----------------------------------------------------------------------------------------------------------


def test_constants_fold() -> None:
    g = gg.Graph()
    two, three = g.constant(2), g.constant(3.0)
    assert (two * three).value == 6.0
    assert (two * three).node.weak
    assert (two + 1).value == 3
    assert gg.exp(g.constant(0.0)) is g.constant(1.0)
    ones = g.constant(np.ones((2, 3)))
    assert gg.sum(ones).node["value"].array == 6.0
    assert not gg.sum(ones).node.weak
    assert (ones * 2).node.operator.name == "constant"


def test_folding_does_not_make_constants_larger() -> None:
    g = gg.Graph()
    spread = gg.broadcast_to(g.constant(np.float64(0.0)), (1000, 1000))
    assert spread.node.operator.name == "broadcast_to"
    assert gg.broadcast_to(g.constant(np.float64(0.0)), ("N",)).node.operator.name == "broadcast_to"


def test_folding_never_warns_and_keeps_the_dtype() -> None:
    g = gg.Graph()
    assert (g.constant(1.0) / 0.0).value == float("inf")
    assert np.isnan(gg.log(g.constant(-1.0)).value)
    assert (g.constant(np.float32(0.1)) * 3).node["value"].array.dtype == "float32"


# -- promotion --------------------------------------------------------------------------------------------------------

STRONG = ["bool", "int64", "float32", "float64"]
WEAK = [True, 2, 2.5]


@pytest.mark.parametrize("operation", ["add", "multiply", "divide", "power", "maximum", "less"])
def test_dtypes_of_arrays_and_python_numbers_are_numpys(operation: str) -> None:
    for a, b in product(STRONG, STRONG + WEAK):
        if operation == "power" and "bool" in (a, b, str(type(b).__name__)):
            continue
        g = gg.Graph()
        x = g.input("x", (2,), a)
        weak = not isinstance(b, str)
        y = b if weak else g.input("y", (2,), b)
        u, v = np.ones(2, a), b if weak else np.ones(2, b)
        wanted = getattr(np, operation)(u, v).dtype.name
        wanted = {"float16": "float64", "int8": "int64"}.get(wanted, wanted)
        for tensor in (getattr(gg, operation)(x, y), getattr(gg, operation)(y, x) if operation != "power" else x**y):
            assert tensor.dtype == wanted, (operation, a, b)
            arrays = {"x": u} | ({} if weak else {"y": v})
            assert gg.evaluate(tensor, **arrays).dtype == wanted


def test_weak_values_never_widen_a_float_array() -> None:
    g = gg.Graph()
    x, k = g.input("x", ("N",), "float32"), g.input("k", weak=True)
    rate = 1 / gg.sqrt(k + 1.0) * gg.size(x)
    assert rate.node.weak
    assert (x * rate).dtype == "float32"
    assert not (x * rate).node.weak
    assert not gg.sum(x).node.weak
    assert gg.evaluate(x * rate, x=np.ones(2, "f4"), k=3).dtype == "float32"
    assert (g.input("i", (), "int64") * 2.0).dtype == "float64"


def test_a_weak_leaf_has_rank_0() -> None:
    with pytest.raises(ShapeError, match=r"^k is weak, so its shape is \(\), but \(2,\) was given\n"):
        gg.Graph().input("k", (2,), weak=True)


# -- networkx ---------------------------------------------------------------------------------------------------------


def test_the_graph_is_a_networkx_graph() -> None:
    g, loss = neuron()
    assert isinstance(g.nx, nx.MultiDiGraph)
    assert len(g.nx) == len(g.nodes)
    assert all(g.nx.nodes[n.id]["node"] is n for n in g.nodes)
    assert nx.is_directed_acyclic_graph(g.nx)
    p = g["p"]
    square = (p - g["y"]).id
    assert [(s, k) for s, _, k in g.nx.in_edges(square, keys=True)] == [(p.id, 0), (g["y"].id, 1)]
    count = len(g.nx)
    (loss * 2).named("late")
    assert len(g.nx) == count + 2


def test_an_edge_for_each_operand() -> None:
    g = gg.Graph()
    x = g.input("x")
    y = x * x
    assert list(g.nx.edges(keys=True)) == [(x.id, y.id, 0), (x.id, y.id, 1)]


def test_networkx_finds_the_longest_path_dominators_and_generations() -> None:
    g, loss = neuron()
    names = [g.label(i) for i in nx.dag_longest_path(g.nx)]
    assert names == ["W", "v4", "v5", "z", "p", "v8", "v9", "L"]
    # every way from a parameter to the loss leads through z and p
    start = max(g.nx) + 1
    reach = nx.MultiDiGraph(g.nx)
    reach.add_edges_from((start, t.id) for t in g.leaves("parameter"))
    dominators = nx.immediate_dominators(reach, start)
    way, at = [], loss.id
    while at != start:
        way.append(g.label(at))
        at = dominators[at]
    assert way == ["L", "v9", "v8", "p", "z"]
    generations = [sorted(g.label(i) for i in generation) for generation in nx.topological_generations(g.nx)]
    assert generations[0] == ["W", "b", "x", "y"]
    assert generations[-1] == ["L"]
    assert sorted(nx.ancestors(g.nx, g["z"].id) | {g["z"].id}) == g.ancestors([g["z"].id])


def test_a_graph_exports_to_graphml_and_back() -> None:
    g, _ = neuron()
    buffer = BytesIO()
    nx.write_graphml(g.to_networkx(), buffer)
    buffer.seek(0)
    back = nx.read_graphml(buffer, node_type=int, force_multigraph=True)
    assert nx.utils.graphs_equal(nx.MultiDiGraph(back.edges()), nx.MultiDiGraph(g.nx.edges()))
    assert back.nodes[g["z"].id] == {
        "operator": "add",
        "name": "z",
        "shape": "(N, 1)",
        "dtype": "float64",
        "attributes": "",
    }
    assert back.nodes[g["x"].id]["attributes"].startswith("name='x', shape=(N, 2)")


def test_isomorphic_graphs_are_found_so_by_networkx() -> None:
    a, b = neuron()[0].to_networkx(), neuron()[0].to_networkx()
    assert nx.is_isomorphic(a, b, node_match=lambda m, n: m == n)


# -- errors -----------------------------------------------------------------------------------------------------------


def test_a_shape_error_stands_at_the_users_line() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N", 2)), g.input("w", (3,))
    with pytest.raises(ShapeError) as error:
        x @ w
    assert str(error.value) == (
        "matmul of shapes (N, 2) and (3,): the inner dimensions are 2 and 3; a right side of shape (2,) would fit\n"
        f"  at test_graph.py:{here() - 3}: x @ w"
    )
    assert error.value.line == (__file__, here() - 5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda g: g["x"] + g["w"], "add of shapes (N, 2) and (3,): axis -1 is 2 and 3; dimensions fit where "
                                    "they are equal or one of them is 1"),
        (lambda g: g["x"] + g.input("m", ("M", 2)), "add of shapes (N, 2) and (M, 2): axis -2 is N and M; "
                                                    "dimensions fit where they are equal or one of them is 1"),
        (lambda g: g["x"] + np.ones((32, 2)), "add of shapes (N, 2) and (32, 2): axis -2 is N and 32; "
                                              "dimensions fit where they are equal or one of them is 1"),
        (lambda g: gg.sum(g["x"], axis=2), "sum: axis 2 of shape (N, 2); axes run from -2 to 1"),
        (lambda g: gg.sum(g["x"], axis=(0, -2)), "sum: axis (0, -2) names an axis of shape (N, 2) twice"),
        (lambda g: gg.reshape(g["x"], (3, -1)), "reshape of (N, 2) to (3, -1): 2*N elements cannot be divided "
                                                "by 3 without a rest"),
        (lambda g: gg.reshape(g["x"], ("M", 2)), "reshape of (N, 2) to (M, 2): 2*N elements are not 2*M"),
        (lambda g: g["x"] + gg.Graph().input("x"), "add was given tensors of two graphs; a node has all of its "
                                                   "inputs in one"),
        (lambda g: g.constant(2**70), f"the constant {2**70} does not fit int64"),
        (lambda g: g["x"] + 2**63, f"the constant {2**63} does not fit int64"),
        (lambda g: g.input("q", "N"), "the shape of q is a tuple such as ('N',), but 'N' was given"),
        (lambda g: g.input("q", None), "the shape of q is a tuple such as (), (3,) or ('N', 2), but None was given"),
        (lambda g: g.input("q", (-1,)), "a dimension is not negative, but -1 was given"),
        (lambda g: g["b"] - g["b"], "subtract of bools: a number is wanted; gg.cast(x, 'int64') makes one"),
        (lambda g: g.input("q", (), "float16"), "dtype 'float16' is not one of bool, int64, float32, float64"),
        (lambda g: g["x"] * np.array(["a"]), "a constant of dtype 'str32' was given; its dtype may be bool, "
                                             "int64, float32, float64"),
        (lambda g: gg.cast(g["x"], "complex"), "dtype 'complex128' is not one of bool, int64, float32, float64"),
        (lambda g: gg.cast(g["x"], g["x"]), "dtype '<x: input (N, 2) float64>' is not one of bool, int64, "
                                            "float32, float64"),
    ],
)  # fmt: skip
def test_what_does_not_fit(build: Any, message: str) -> None:
    g = gg.Graph()
    g.input("x", ("N", 2))
    g.input("w", (3,))
    g.input("b", (2,), "bool")
    with pytest.raises(GraphgradError) as error:
        build(g)
    told, _, line = str(error.value).partition("\n  at ")
    assert told == message
    assert line.startswith("test_graph.py:")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: gg.tanh(), "tanh(x) lacks x"),
        (lambda x: gg.add(x), "add(x, y) lacks y"),
        (lambda x: gg.tanh(x, 2), "tanh(x) was given 1 arguments too many"),
        (lambda x: gg.sum(x, axes=1), "sum(x, axis=None, keepdims=False) takes no axes"),
        (lambda x: gg.reshape(x), "reshape(x, shape) lacks shape"),
        (lambda x: gg.tanh(1.0), "tanh builds a node of a graph, so at least one operand is a Tensor; float was given"),
        (lambda x: gg.concatenate(x), "concatenate takes a list of tensors, as in concatenate([a, b])"),
    ],
)
def test_wrong_calls(call: Any, message: str) -> None:
    x = gg.Graph().input("x", (2,))
    with pytest.raises(GraphgradError) as error:
        call(x)
    assert str(error.value).split("\n")[0] == message


def test_a_failed_insertion_leaves_the_graph_as_it_was() -> None:
    g = gg.Graph()
    x, w = g.input("x", (2,)), g.input("w", (3,))
    with pytest.raises(ShapeError):
        x + w
    assert len(g.nodes) == 2
    with pytest.raises(DTypeError):
        g.input("y", (), "int8")
    assert "y" not in g


# -- the rest ---------------------------------------------------------------------------------------------------------


def test_how_graphs_and_tensors_read() -> None:
    g = gg.Graph()
    x = g.input("x", ("N", 2), "float32")
    assert repr(g) == "<graph of 1 nodes: x>"
    assert repr(x) == "<x: input (N, 2) float32>"
    assert repr(x * 2) == "<v2: multiply (N, 2) float32>"
    assert repr(g.constant(2)) == "<2: constant () int64>"
    assert repr(gg.Graph()) == "<graph of 0 nodes: nothing named>"


def test_leaves_by_kind_in_order() -> None:
    g = gg.Graph()
    b, a, m, x = g.parameter("b"), g.parameter("a"), g.state("m"), g.input("x")
    assert [t.id for t in g.leaves("parameter")] == [b.id, a.id]
    assert [t.id for t in g.leaves("state")] == [m.id]
    assert [t.id for t in g.leaves("input")] == [x.id]


def test_the_collector_is_paused_and_restored() -> None:
    assert gc.isenabled()
    with paused_gc():
        assert not gc.isenabled()
        with paused_gc():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), paused_gc():
        raise ZeroDivisionError
    assert gc.isenabled()


def test_a_name_that_another_node_carries_is_no_leaf() -> None:
    g = gg.Graph()
    g.input("w").named("x")
    with pytest.raises(GraphgradError, match="x names a node already"):
        g.input("x")


def test_constants_that_numpy_refuses_are_told_at_the_users_line() -> None:
    g = gg.Graph()
    with pytest.raises(GraphgradError, match=r"power of constants: Integers to negative.*\n  at test_graph.py"):
        g.constant(2) ** -1


def test_every_line_that_asks_for_a_number_is_on_record() -> None:
    g = gg.Graph()
    two = g.constant(2)
    assert g.constant(2) is two
    assert len(g.lines[two.id]) == 2


def test_a_node_never_changes() -> None:
    node = gg.Graph().input("x", ("N",)).node
    with pytest.raises(AttributeError, match=r"a node never changes, but its shape was to be \(\)"):
        node.shape = ()
    assert str(node.shape) == "(N,)"
    assert repr(node).startswith("Node(id=0, ")
    assert repr(copy.deepcopy(node)) == repr(node)
