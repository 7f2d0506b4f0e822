"""A graph to and from JSON: what was stored comes back, equal graphs are equal bytes, and nothing else is read."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

import graphgrad as gg
from graphgrad.errors import GraphgradError
from graphgrad.files import write_atomically

X, beta = sp.symbols("X beta")


def network() -> gg.Graph:
    """Every kind of thing that a graph holds."""
    g = gg.Graph()
    x, y = g.input("x", ("N", 2)), g.input("labels", ("N",), dtype="int64")
    W, b, k = g.parameter("W", (3, 2)), g.parameter("b", (3,), "float32"), g.input("k", weak=True)
    g.state("m", ("2*N + 1",))
    swish = gg.elementwise("swish", X / (1 + sp.exp(-beta * X)), parameters={"beta": 1.0})
    z = (x @ W.T + b).named("z").named("pre-activation")
    h = swish(z, k) * np.array([[0.1, -0.0, np.nan]]) + np.float32(np.inf)
    with g.scope("loss"):
        loss = gg.mean(gg.where(gg.reshape(y, ("N", 1)) > 0, h, 2.5 * h)).named("L")
    gg.derive(loss)
    gg.reshape(x, (-1,))
    return g


def test_a_graph_comes_back() -> None:
    g = network()
    back = gg.from_json(gg.to_json(g))
    assert len(back.nodes) == len(g.nodes)
    for old, new in zip(g.nodes, back.nodes, strict=True):
        assert (old.operator, old.inputs, old.attributes) == (new.operator, new.inputs, new.attributes)
        assert (old.shape, old.dtype, old.weak) == (new.shape, new.dtype, new.weak)
    assert back.names == g.names
    assert back["pre-activation"] is back["z"]
    assert back.scopes == {}
    rng = np.random.default_rng(0)
    values = {
        "x": rng.normal(size=(4, 2)), "W": rng.normal(size=(3, 2)), "labels": np.array([0, 1, 1, 0]),
        "b": rng.normal(size=3).astype("f4"), "k": 1.5, "m": np.zeros(9),
    }  # fmt: skip
    np.testing.assert_array_equal(gg.evaluate(back["L"], **values), gg.evaluate(g["L"], **values))
    np.testing.assert_array_equal(gg.evaluate(back["z"], **values), gg.evaluate(g["z"], **values))


def test_equal_graphs_give_equal_bytes_wherever_they_were_built() -> None:
    text = gg.to_json(network())
    assert text == gg.to_json(network()) == gg.to_json(gg.from_json(text))
    assert "test_storage" not in text
    assert "loss" not in json.loads(text)["names"]


def test_a_loaded_graph_grows_as_the_first_did() -> None:
    g, back = network(), gg.from_json(gg.to_json(network()))
    for graph in (g, back):
        gg.derive(graph["L"], [graph["W"]])
        assert graph.input("x", ("N", 2)).id == 0
    assert gg.to_json(g) == gg.to_json(back)


def test_numbers_are_exact() -> None:
    g = gg.Graph()
    values = [
        np.array([0.1, -0.0, np.nan, np.inf, -np.inf, 5e-324, 1.7976931348623157e308]),
        np.array([[1e-45, -0.0, 3.4e38]], np.float32),
        np.array([-(2**63), 2**63 - 1]),
        np.array([True, False]),
        np.zeros((0, 3)),
        np.float64(-0.0),
        np.float32(0.1),
    ]
    for v in values:
        g.constant(v)
    for number in (0.1, -0.0, float("nan"), float("-inf"), 7, True, 2**62):
        g.constant(number)
    back = gg.from_json(gg.to_json(g))
    assert [n["value"].key for n in back.nodes] == [n["value"].key for n in g.nodes]
    assert [n.weak for n in back.nodes] == [False] * 7 + [True] * 7


def test_the_file_is_as_documented() -> None:
    g = gg.Graph()
    gg.reshape(g.input("x", ("N", 2)), (-1,)).named("flat")
    assert gg.to_json(g) == (
        '{"format": "graphgrad graph", "version": 1,\n'
        ' "operators": {},\n'
        ' "nodes": [\n'
        '  {"operator": "input", "inputs": [], "attributes": {"name": "x", "shape": [{"dim": "N"}, 2], "dtype": '
        '"float64", "weak": false}},\n'
        '  {"operator": "reshape", "inputs": [0], "attributes": {"shape": [{"dim": "2*N"}]}}\n'
        " ],\n"
        ' "names": {\n'
        '  "x": 0,\n'
        '  "flat": 1\n'
        " }}\n"
    )


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    gg.save_graph(network(), path)
    assert path.read_text(encoding="utf-8") == gg.to_json(gg.load_graph(str(path)))
    assert [p.name for p in tmp_path.iterdir()] == ["graph.json"]


# -- what is no stored graph ------------------------------------------------------------------------------------------


def stored() -> dict[str, Any]:
    """A small graph with an own operator: x (N, 2) → reshape → double → + [1, 2]."""
    g = gg.Graph()
    double = gg.elementwise("double", 2 * X)
    (double(gg.transpose(g.input("x", ("N", 2)), (1, 0))) + np.array([[1.0], [2.0]])).named("y")
    loaded: dict[str, Any] = json.loads(gg.to_json(g))
    assert [n["operator"] for n in loaded["nodes"]] == ["input", "transpose", "double", "constant", "add"]
    return loaded


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def changed(graph: dict[str, Any]) -> None:
        *way, last = path.split(".")
        here: Any = graph
        for key in way:
            here = here[int(key) if isinstance(here, list) else key]
        if value is KeyError:
            del here[last]
        else:
            here[int(last) if isinstance(here, list) else last] = value

    return changed


BAD = [
    ("format", "other", 'not a stored graph: "format" is not "graphgrad graph"'),
    ("version", 2, "a stored graph of version 2; version 1 can be read"),
    ("version", True, "a stored graph of version true; version 1 can be read"),
    ("version", "1", 'a stored graph of version "1"; version 1 can be read'),
    ("nodes", KeyError, 'a stored graph: "nodes" is missing'),
    ("nodes", {}, 'a stored graph: "nodes" is {}, but a list is wanted'),
    ("lines", [], 'a stored graph: "lines" is not known'),
    ("nodes.0", 5, "node 0: an object is wanted, but 5 was found"),
    ("nodes.1.operator", "eval", 'node 1: there is no operator named "eval"'),
    ("nodes.1.operator", 5, 'node 1: "operator" is 5, but text is wanted'),
    ("nodes.1.operator", "tanh", "node 1 (tanh): tanh: axes is a number, but tuple was given"),
    ("nodes.1.inputs", [1], "node 1 (transpose): its input 1 is no node before it"),
    ("nodes.1.inputs", [4], "node 1 (transpose): its input 4 is no node before it"),
    ("nodes.1.inputs", [-1], "node 1 (transpose): its input -1 is no node before it"),
    ("nodes.1.inputs", ["0"], 'node 1 (transpose): its input "0" is no node before it'),
    ("nodes.1.inputs", [False], "node 1 (transpose): its input false is no node before it"),
    ("nodes.1.inputs", [], "node 1 (transpose): transpose(x, axes=None) has 1 inputs, but 0 were found"),
    ("nodes.1.attributes.axes", [0, 0], "node 1 (transpose): transpose of (N, 2) by axes (0, 0): each of its 2 "
                                        "axes is wanted once"),
    ("nodes.1.attributes.axes", [-1, 0], 'node 1 (transpose): its attributes are {"axes": [1, 0]}, not {"axes": '
                                         '[-1, 0]}'),
    ("nodes.1.attributes.axes", "ab", "node 1 (transpose): transpose: axis 'a' of shape (N, 2); axes run from -2 to 1"),
    ("nodes.1.attributes.axes", 1.5, 'node 1 (transpose): its attributes {"axes": 1.5} are not those of transpose'),
    ("nodes.1.attributes.axes", {"dim": "N +"}, "a dimension is an int or a name such as 'N' or '2*N + 1', but "
                                                "'N +' was given"),
    ("nodes.1.attributes.axes", {"x": 1}, 'node 1 (transpose), attribute "axes": {"x": 1} is no dimension, '
                                          'number or array'),
    ("nodes.1.attributes.axes", {"float": "one"}, 'node 1 (transpose), attribute "axes": {"float": "one"} is no '
                                                  'dimension, number or array'),
    ("nodes.0.attributes.shape", [{"dim": "1 + N"}, 2], 'node 0 (input), attribute "shape": {"dim": "1 + N"} is '
                                                        'no dimension, number or array'),
    ("nodes.0.attributes.shape", [-2], "node 0 (input): a dimension is not negative, but -2 was given"),
    ("nodes.0.attributes.shape", 2, 'node 0 (input): input has "name" and "dtype", texts, "shape", a list, and '
                                    '"weak", a bool'),
    ("nodes.0.attributes.weak", 0, 'node 0 (input): input has "name" and "dtype", texts, "shape", a list, and '
                                   '"weak", a bool'),
    ("nodes.0.attributes.weak", True, "node 0 (input): x is weak, so its shape is (), but (N, 2) was given"),
    ("nodes.0.attributes.dtype", "float16", "node 0 (input): dtype 'float16' is not one of bool, int64, "
                                            "float32, float64"),
    ("nodes.0.attributes.name", "", "node 0 (input): the name of an input is text, but '' was given"),
    ("nodes.3.attributes.value.data", "AAAA", 'node 3 (constant), attribute "value": 3 bytes of data, where '
                                              'float64 of shape (2, 1) has 16'),
    ("nodes.3.attributes.value.data", "?", 'node 3 (constant), attribute "value": its data are no base64'),
    ("nodes.3.attributes.value.data", 5, 'node 3 (constant), attribute "value": 0 bytes of data, where float64 '
                                         'of shape (2, 1) has 16'),
    ("nodes.3.attributes.value.dtype", "object", 'node 3 (constant), attribute "value": dtype "object" is not '
                                                 'one of bool, int64, float32, float64'),
    ("nodes.3.attributes.value.dtype", [], 'node 3 (constant), attribute "value": dtype [] is not one of bool, '
                                           'int64, float32, float64'),
    ("nodes.3.attributes.value.shape", [2, -1], 'node 3 (constant), attribute "value": [2, -1] is no shape of '
                                                'an array'),
    ("nodes.3.attributes.value", 1.0, 'node 3 (constant): a constant has "value", an array, and "weak", a bool'),
    ("nodes.3.attributes.weak", True, "node 3 (constant): a weak constant is a Python number: of rank 0, and "
                                      "no float32"),
    ("names.y", 5, 'the name "y" is of node 5; there are 5 nodes'),
    ("names.y", "4", 'the name "y" is of node "4"; there are 5 nodes'),
    ("names.x", 1, 'the name "x" is of node 1, but node 0 carries it'),
    ("names.x", KeyError, 'the name "x" of a leaf is missing'),
    ("names.z", 1, 'the name "z" is empty or stands out of order'),
    ("operators.double.steps", KeyError, 'operator double: "steps" is missing'),
    ("operators.double.steps.2", ["exec", 0], "operator double: step 2 of its definition, ('exec', 0), is no "
                                              "elementwise operator of its operands"),
    ("operators.double.steps.2", ["exp", 2], "operator double: step 2 of its definition, ('exp', 2), takes a "
                                             "step that is not before it"),
    ("operators.double.steps.2", [], "operator double: a step is a list of a name and what it takes"),
    ("operators.double.operands", ["X", "X"], "operator double: its operands are X, X; each is wanted once"),
    ("operators.double.text", "{X.infer}", "operator double: '{X.infer}' is no template of X"),
    ("operators.double.latex", "{", "operator double: '{' is no template"),
    ("operators.double.binding", "10", 'operator double: "binding" is "10", but a whole number is wanted'),
    ("operators", {}, 'node 2: there is no operator named "double"'),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "message"), BAD, ids=[f"{p}={v}" for p, v, _ in BAD])
def test_a_malformed_graph_is_one_clear_error(path: str, value: Any, message: str) -> None:
    graph = stored()
    change(path, value)(graph)
    with pytest.raises(GraphgradError) as error:
        gg.from_json(json.dumps(graph))
    assert str(error.value).split("\n")[0].startswith(message)
    assert "\n" not in str(error.value)


def test_the_unchanged_graph_is_read() -> None:
    assert len(gg.from_json(json.dumps(stored())).nodes) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a stored graph: no JSON, Expecting value at line 1, column 1"),
        ("[1, 2]", 'not a stored graph: "format" is not "graphgrad graph"'),
        ('{"a": NaN}', "not a stored graph: NaN is no JSON number"),
        ('{"a": 1, "a": 2}', 'not a stored graph: "a" stands twice in one object'),
        ("[" * 100_000, "not a stored graph: no JSON that can be read: "),
        ('{"version": ' + "9" * 5000 + "}", "not a stored graph: no JSON that can be read: "),
    ],
)
def test_what_is_no_json(text: str, message: str) -> None:
    with pytest.raises(GraphgradError) as error:
        gg.from_json(text)
    assert str(error.value).startswith(message)


def test_every_truncation_is_an_error() -> None:
    text = json.dumps(stored())
    for end in range(0, len(text), 7):
        with pytest.raises(GraphgradError):
            gg.from_json(text[:end])


def test_a_node_twice_and_a_node_that_folds() -> None:
    graph = stored()
    graph["nodes"].append(graph["nodes"][1])
    with pytest.raises(GraphgradError, match=r"^node 5 \(transpose\) is the same as node 1$"):
        gg.from_json(json.dumps(graph))
    graph["nodes"][5] = {"operator": "negative", "inputs": [3], "attributes": {}}
    with pytest.raises(GraphgradError, match=r"^node 5 \(negative\) needs no node: its inputs are constants$"):
        gg.from_json(json.dumps(graph))


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    with pytest.raises(GraphgradError, match=r"graph\.json: No such file or directory$"):
        gg.load_graph(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(GraphgradError, match=r"graph\.json: not a stored graph: no UTF-8 text$"):
        gg.load_graph(path)
    path.write_text("{}")
    with pytest.raises(GraphgradError, match=r'graph\.json: not a stored graph: "format" is not "graphgrad graph"$'):
        gg.load_graph(path)


def test_two_operators_of_one_name_cannot_be_stored() -> None:
    g = gg.Graph()
    x = g.input("x")
    gg.elementwise("f", 2 * X)(x)
    gg.elementwise("f", 3 * X)(x)
    with pytest.raises(
        GraphgradError, match=r"^two different operators are named f: a stored graph knows them by name$"
    ):
        gg.to_json(g)


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()

    def broken(source: str, target: str) -> None:
        raise OSError("full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="full"):
        write_atomically(path, b"other")
    assert path.read_bytes() == "ä\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_told_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path, kind in ((tmp_path / "nowhere" / "a.txt", FileNotFoundError), (tmp_path / "folder", IsADirectoryError)):
        with pytest.raises(kind) as error:
            write_atomically(path, "a")
        assert error.value.filename == str(path)
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_file_keeps_its_mode_and_a_link_stays_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "a.txt", tmp_path / "link"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
