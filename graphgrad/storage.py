"""A graph to and from JSON: its nodes and its names, nothing else. Equal graphs give equal bytes.

    {"format": "graphgrad graph", "version": 1,
     "operators": {"swish": {"operands": ["X"], "steps": [["operand", "X"], ["sigmoid", 0], ["multiply", 0, 1]], ...}},
     "nodes": [
      {"operator": "input", "inputs": [], "attributes": {"name": "x", "shape": [{"dim": "N"}, 2], ...}},
      ...],
     "names": {"x": 0}}

A node's id is its place in the list. Arrays are base64 of little-endian bytes, dimensions are text, floats that are not
finite are {"float": "nan"}. Shapes and dtypes are inferred anew; nothing of a file is ever evaluated as code.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import os
from typing import Any, NoReturn

import numpy as np

from graphgrad.collector import paused_gc
from graphgrad.custom import CustomOperator, Steps, custom
from graphgrad.errors import GraphgradError
from graphgrad.files import as_path, write_atomically
from graphgrad.graph import Graph
from graphgrad.node import Node
from graphgrad.operator import OPERATORS, Operator
from graphgrad.tensor import Tensor
from graphgrad.types import DTYPES, Dim, Value, dimension

FORMAT, VERSION = "graphgrad graph", 1
NOTATION = ("formula", "text", "latex", "binding")


def save_graph(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write a graph to a JSON file, whole or not at all.

    >>> import graphgrad as gg, tempfile
    >>> g = gg.Graph()
    >>> y = gg.tanh(g.input("x", ("N", 2))).named("y")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gg.save_graph(g, f"{folder}/graph.json")
    ...     gg.load_graph(f"{folder}/graph.json")["y"]
    <y: tanh (N, 2) float64>
    """
    write_atomically(path, to_json(graph))


def load_graph(path: str | os.PathLike[str]) -> Graph:
    """Read a graph that `save_graph` wrote. Raises GraphgradError, which names the file, for anything else."""
    file = as_path("path", path)
    try:
        return from_json(file.read_bytes().decode("utf-8"))
    except OSError as error:
        raise GraphgradError(f"{os.fspath(path)}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise GraphgradError(f"{os.fspath(path)}: not a stored graph: no UTF-8 text") from None
    except GraphgradError as error:
        raise GraphgradError(f"{os.fspath(path)}: {error}") from None


# ---------------------------------------------------------------------------------------------------------------------
# Writing
# ---------------------------------------------------------------------------------------------------------------------


def to_json(graph: Graph) -> str:
    """A graph as JSON text, a node a line."""
    operators: dict[str, CustomOperator] = {}
    for node in graph.nodes:
        if isinstance(node.operator, CustomOperator):
            if operators.setdefault(node.operator.name, node.operator) != node.operator:
                raise GraphgradError(
                    f"two different operators are named {node.operator.name}: a stored graph knows them by name"
                )
        elif OPERATORS.get(node.operator.name) is not node.operator:
            raise GraphgradError(f"{graph.where(node.id)} has an operator that stands in no table: it cannot be stored")
    named = [(name, id) for id in sorted(graph.names) for name in graph.names[id]]
    parts = [
        f'{{"format": {_dump(FORMAT)}, "version": {VERSION},',
        f' "operators": {_object((name, _operator(op)) for name, op in sorted(operators.items()))},',
        ' "nodes": [' + ",".join(f"\n  {_dump(_node(node))}" for node in graph.nodes) + "\n ],",
        f' "names": {_object(named)}}}',
    ]
    return "\n".join(parts) + "\n"


def _object(items: Any) -> str:
    lines = [f"\n  {_dump(name)}: {_dump(value)}" for name, value in items]
    return "{" + ",".join(lines) + "\n }" if lines else "{}"


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _node(node: Node) -> dict[str, Any]:
    attributes = {name: _attribute(value) for name, value in node.attributes}
    return {"operator": node.operator.name, "inputs": list(node.inputs), "attributes": attributes}


def _attribute(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_attribute(v) for v in value]
    if isinstance(value, Dim):
        return {"dim": str(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, slice):
        return {"slice": [_attribute(v) for v in (value.start, value.stop, value.step)]}
    if isinstance(value, Value):
        array = value.array
        data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        return {"dtype": array.dtype.name, "shape": list(array.shape), "data": base64.b64encode(data).decode("ascii")}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise GraphgradError(f"an attribute {value!r} of type {type(value).__name__} cannot be stored")


def _operator(operator: CustomOperator) -> dict[str, Any]:
    return {
        "operands": list(operator.operands),
        "defaults": {k: _attribute(v) for k, v in sorted(operator.operand_defaults.items())},
        "steps": [[_attribute(part) for part in step] for step in operator.steps],
        **dict(zip(NOTATION, operator.notation(), strict=True)),
    }


# ---------------------------------------------------------------------------------------------------------------------
# Reading: every step may meet anything, so every step looks first
# ---------------------------------------------------------------------------------------------------------------------


def from_json(text: str) -> Graph:
    """The graph that `to_json` wrote. Raises GraphgradError for anything else."""
    if not isinstance(text, str):
        raise GraphgradError(f"from_json takes text, but {type(text).__name__} was given")
    try:
        stored = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except GraphgradError:
        raise
    except json.JSONDecodeError as error:
        raise GraphgradError(
            f"not a stored graph: no JSON, {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise GraphgradError(f"not a stored graph: no JSON that can be read: {error}") from None
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise GraphgradError(f'not a stored graph: "format" is not {_dump(FORMAT)}')
    if type(stored.get("version")) is not int or stored["version"] != VERSION:
        raise GraphgradError(f"a stored graph of version {_show(stored.get('version'))}; version {VERSION} can be read")
    _keys(
        "a stored graph", stored, {"format": object, "version": object, "operators": dict, "nodes": list, "names": dict}
    )
    operators = {name: _read_operator(name, entry) for name, entry in stored["operators"].items()}
    graph = Graph()
    with paused_gc(), graph.asked_by(()):
        for id, entry in enumerate(stored["nodes"]):
            _read_node(graph, id, entry, operators)
        _read_names(graph, stored["names"])
    return graph


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        twice = next(k for k in result if sum(k == other for other, _ in pairs) > 1)
        raise GraphgradError(f"not a stored graph: {_dump(twice)} stands twice in one object")
    return result


def _no_constant(text: str) -> NoReturn:
    raise GraphgradError(f"not a stored graph: {text} is no JSON number")


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _keys(where: str, value: Any, wanted: dict[str, type]) -> None:
    """That a value is an object with exactly these keys, of these types."""
    if not isinstance(value, dict):
        raise GraphgradError(f"{where}: an object is wanted, but {_show(value)} was found")
    if missing := wanted.keys() - value.keys():
        raise GraphgradError(f"{where}: {', '.join(map(_dump, sorted(missing)))} is missing")
    if unknown := value.keys() - wanted.keys():
        raise GraphgradError(f"{where}: {', '.join(map(_dump, sorted(unknown)))} is not known")
    words = {dict: "an object", list: "a list", str: "text", int: "a whole number"}
    for key, kind in wanted.items():
        if not isinstance(value[key], kind) or (kind is int and isinstance(value[key], bool)):
            raise GraphgradError(f"{where}: {_dump(key)} is {_show(value[key])}, but {words[kind]} is wanted")


def _read_node(graph: Graph, id: int, entry: Any, operators: dict[str, CustomOperator]) -> None:
    where = f"node {id}"
    _keys(where, entry, {"operator": str, "inputs": list, "attributes": dict})
    name = entry["operator"]
    operator: Operator | None = operators.get(name) or OPERATORS.get(name)
    if operator is None:
        raise GraphgradError(f"{where}: there is no operator named {_dump(name)}")
    where = f"node {id} ({name})"
    for i in entry["inputs"]:
        if type(i) is not int or not 0 <= i < id:
            raise GraphgradError(f"{where}: its input {_show(i)} is no node before it")
    if not operator.variadic and len(entry["inputs"]) != len(operator.operands):
        raise GraphgradError(
            f"{where}: {operator.signature} has {len(operator.operands)} inputs, but {len(entry['inputs'])} were found"
        )
    attributes = {
        key: _read_attribute(f"{where}, attribute {_dump(key)}", value) for key, value in entry["attributes"].items()
    }
    try:
        made = (
            _leaf(graph, name, attributes)
            if operator.kind == "leaf"
            else graph.insert(operator, tuple(entry["inputs"]), attributes)
        )
    except GraphgradError as error:
        message = str(error).partition("\n  at ")[0]  # the line that asked for reading tells nothing
        raise GraphgradError(f"{where}: {message}") from None
    except Exception as error:  # shape rules trust their caller; what stands in a file may be anything
        raise GraphgradError(
            f"{where}: its attributes {_show(entry['attributes'])} are not those of {name}: {error}"
        ) from None
    if made.node.operator is not operator:
        raise GraphgradError(f"{where} needs no node: its inputs are constants")
    if made.id != id:
        raise GraphgradError(f"{where} is the same as node {made.id}")
    if repr(made.node.attributes) != repr(tuple(attributes.items())):
        raise GraphgradError(
            f"{where}: its attributes are {_show(_node(made.node)['attributes'])}, not {_show(entry['attributes'])}"
        )


def _leaf(graph: Graph, kind: str, attributes: dict[str, Any]) -> Tensor:
    if kind == "constant":
        value, weak = attributes.get("value"), attributes.get("weak")
        if attributes.keys() != {"value", "weak"} or not isinstance(value, Value) or type(weak) is not bool:
            raise GraphgradError('a constant has "value", an array, and "weak", a bool')
        if weak and (value.array.ndim or value.array.dtype.name == "float32"):
            raise GraphgradError("a weak constant is a Python number: of rank 0, and no float32")
        return graph.insert(OPERATORS["constant"], (), attributes)
    wanted = {"name": str, "shape": tuple, "dtype": str, "weak": bool}
    if attributes.keys() != wanted.keys() or any(type(attributes[k]) is not t for k, t in wanted.items()):
        raise GraphgradError(f'{kind} has "name" and "dtype", texts, "shape", a list, and "weak", a bool')
    name, shape, dtype, weak = (attributes[key] for key in wanted)
    if kind == "parameter":
        if weak:
            raise GraphgradError("a parameter is never weak")
        return graph.parameter(name, shape, dtype)
    return (graph.input if kind == "input" else graph.state)(name, shape, dtype, weak=weak)


def _read_attribute(where: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_read_attribute(where, v) for v in value)
    if not isinstance(value, dict):
        return value
    if value.keys() == {"dim"} and isinstance(value["dim"], str):
        dim = dimension(value["dim"])
        if isinstance(dim, Dim) and str(dim) == value["dim"]:
            return dim
    if value.keys() == {"float"} and value["float"] in ("nan", "inf", "-inf"):
        return float(value["float"])
    if value.keys() == {"slice"} and isinstance(value["slice"], list) and len(value["slice"]) == 3:
        return slice(*(_read_attribute(where, v) for v in value["slice"]))
    if value.keys() == {"dtype", "shape", "data"}:
        return _read_array(where, value)
    raise GraphgradError(f"{where}: {_show(value)} is no dimension, number or array")


def _read_array(where: str, value: dict[str, Any]) -> Value:
    dtype, shape, data = value["dtype"], value["shape"], value["data"]
    if dtype not in DTYPES:
        raise GraphgradError(f"{where}: dtype {_show(dtype)} is not one of {', '.join(DTYPES)}")
    if not isinstance(shape, list) or any(type(d) is not int or d < 0 for d in shape):
        raise GraphgradError(f"{where}: {_show(shape)} is no shape of an array")
    try:
        content = base64.b64decode(data, validate=True) if isinstance(data, str) else b""
    except (binascii.Error, ValueError):
        raise GraphgradError(f"{where}: its data are no base64") from None
    wanted = math.prod(shape) * np.dtype(dtype).itemsize
    if not isinstance(data, str) or len(content) != wanted:
        raise GraphgradError(
            f"{where}: {len(content)} bytes of data, where {dtype} of shape {tuple(shape)} has {wanted}"
        )
    if dtype == "bool" and content.strip(b"\x00\x01"):
        raise GraphgradError(f"{where}: bytes of bools are 0 and 1")
    return Value.of(np.frombuffer(content, np.dtype(dtype).newbyteorder("<")).reshape(shape).astype(dtype))


def _read_operator(name: str, entry: Any) -> CustomOperator:
    where = f"operator {name}"
    kinds: dict[str, type] = {
        "operands": list,
        "defaults": dict,
        "steps": list,
        "formula": str,
        "text": str,
        "latex": str,
        "binding": int,
    }
    _keys(where, entry, kinds)
    defaults = {k: _read_attribute(where, v) for k, v in entry["defaults"].items()}
    steps: Steps = tuple(
        tuple(_read_attribute(where, part) for part in step) if isinstance(step, list) else ()
        for step in entry["steps"]
    )
    if any(not step or any(type(part) not in (str, int, float, bool) for part in step) for step in steps):
        raise GraphgradError(f"{where}: a step is a list of a name and what it takes")
    try:
        made = custom(name, tuple(entry["operands"]), steps, defaults, **{key: entry[key] for key in NOTATION})
        made.check_notation()
    except GraphgradError as error:
        raise GraphgradError(f"operator {error}" if str(error).startswith(name) else f"{where}: {error}") from None
    return made


def _read_names(graph: Graph, names: dict[str, Any]) -> None:
    before = -1
    for name, id in names.items():
        if type(id) is not int or not 0 <= id < len(graph.nodes):
            raise GraphgradError(f"the name {_dump(name)} is of node {_show(id)}; there are {len(graph.nodes)} nodes")
        if not name or id < before:
            raise GraphgradError(f"the name {_dump(name)} is empty or stands out of order")
        before = id
        taken = graph[name].id if name in graph else id
        if taken != id:
            raise GraphgradError(f"the name {_dump(name)} is of node {id}, but node {taken} carries it")
        graph.set_name(id, name)
    if missing := [n for id in graph.names for n in graph.names[id] if n not in names]:
        raise GraphgradError(f"the name {_dump(missing[0])} of a leaf is missing")
