"""The file that holds a run: safetensors, with JSON for what is no array. Nothing in it is ever run as code.

The arrays are the parameters under their own names, "state/..." what the optimizer remembers, in the units in which the
step keeps it, and "current/..." the parameters that training goes on from, where others were better. Under the one key
"graphgrad" of the metadata stands JSON: the network as a graph, settings, history, and how far the run came.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphgrad.arrays import NO_PARAMETERS, metadata
from graphgrad.errors import GraphgradError
from graphgrad.files import as_path, write_atomically
from graphgrad.initial import is_rule
from graphgrad.networks import Network
from graphgrad.optimizers import SGD, Adam, Groups, Momentum, Optimizer
from graphgrad.rewrite import rebuild
from graphgrad.schedules import CONSTRUCTORS, Schedule
from graphgrad.storage import from_json, to_json
from graphgrad.types import Array, show

FORMAT, VERSION = "graphgrad run", 1
OPTIMIZERS: dict[str, type[Any]] = {"SGD": SGD, "Momentum": Momentum, "Adam": Adam}


class ModelError(GraphgradError):
    """A file that holds no run, or cannot be read or written."""


@dataclass(frozen=True, eq=False)
class Model:
    """What a file holds."""

    network: Network
    parameters: dict[str, Array]
    current: dict[str, Array] | None = None
    state: dict[str, Array] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    preprocessing: dict[str, Any] | None = None


def write_model(path: str | os.PathLike[str], model: Model) -> None:
    """Write a model, whole or not at all. Equal models give equal bytes."""
    from safetensors.numpy import save

    clash = [name for name in model.parameters if name.startswith(NO_PARAMETERS)]
    if clash:
        raise ModelError(f"{os.fspath(path)}: a parameter named {clash[0]} cannot be stored")
    told = {
        "format": FORMAT,
        "version": VERSION,
        "network": network_to_dict(model.network),
        "settings": model.settings,
        "progress": model.progress,
        "scales": model.scales,
        "preprocessing": model.preprocessing,
    }
    arrays = {
        **model.parameters,
        **{f"state/{name}": a for name, a in model.state.items()},
        **{f"current/{name}": a for name, a in (model.current or {}).items()},
    }
    try:
        text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
        content = save({name: np.asarray(a, order="C") for name, a in arrays.items()}, {"graphgrad": text})
        write_atomically(path, content)
    except OSError as error:
        raise ModelError(f"{os.fspath(path)} cannot be written: {error.strerror}") from None


def read_model(path: str | os.PathLike[str]) -> Model:
    """Read what `write_model` wrote. Raises ModelError, which names the file, for anything else."""
    return model_from(path, content_of(path))


def content_of(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file. Raises ModelError."""
    file = as_path("path", path)
    name = os.fspath(path)
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{name} does not exist") from None
    except IsADirectoryError:
        raise ModelError(f"{name} is a directory; a file that run.save wrote is wanted") from None
    except OSError as error:
        raise ModelError(f"{name} cannot be read: {error.strerror}") from None


def model_from(path: str | os.PathLike[str], content: bytes) -> Model:
    """The model in the bytes of a file, whose name errors tell."""
    try:
        return _model(*_parsed(content))
    except ModelError as error:
        raise ModelError(f"{os.fspath(path)}: {error}") from None
    except GraphgradError as error:
        raise ModelError(f"{os.fspath(path)}: its network is broken: {error}") from None


def _parsed(content: bytes) -> tuple[dict[str, Array], dict[str, Any]]:
    """Arrays and metadata of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(content)
        told = metadata(content).get("graphgrad")
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"no file that run.save wrote, or not all of it ({' '.join(str(error).split())[:120]})"
        ) from None
    if told is None:
        raise ModelError(
            "a safetensors file, but not one that run.save wrote: it has no network; "
            "gg.parameters_from(net, path) takes the arrays of such a file"
        )
    try:
        meta = json.loads(told)
    except (ValueError, RecursionError):
        raise ModelError("what it tells of its network is no JSON") from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ModelError("what it tells of its network is not of this program")
    if meta.get("version") != VERSION:
        raise ModelError(f"it is of version {meta.get('version')!r}, but version {VERSION} can be read")
    return arrays, meta


def _model(arrays: dict[str, Array], meta: dict[str, Any]) -> Model:
    for key, kind in (("network", dict), ("settings", dict), ("progress", dict), ("scales", dict)):
        if not isinstance(meta.get(key), kind):
            raise ModelError(f"it tells nothing of its {key}")
    net = network_from_dict(meta["network"])
    plain = {name: a for name, a in arrays.items() if not name.startswith(NO_PARAMETERS)}
    current = {n.removeprefix("current/"): a for n, a in arrays.items() if n.startswith("current/")}
    for found in (plain, current) if current else (plain,):
        if found.keys() != net.shapes.keys():
            raise ModelError(
                f"it has arrays for {', '.join(found)}, but the network's parameters are {', '.join(net.shapes)}"
            )
        for name, shape in net.shapes.items():
            a = found[name]
            if a.shape != shape or a.dtype.name not in ("float32", "float64"):
                raise ModelError(f"{name} is {a.dtype.name} of shape {show(a.shape)}, but it has shape {show(shape)}")
    if not isinstance(meta.get("preprocessing"), (dict, type(None))):
        raise ModelError("what it tells of its preprocessing is broken")
    if any(not isinstance(c, float) or not np.isfinite(c) or c == 0 for c in meta["scales"].values()):
        raise ModelError("the units of its state are no numbers")
    return Model(
        net,
        {name: plain[name] for name in net.shapes},
        {name: current[name] for name in net.shapes} if current else None,
        {n.removeprefix("state/"): a for n, a in arrays.items() if n.startswith("state/")},
        {name: float(c) for name, c in meta["scales"].items()},
        meta["settings"],
        meta["progress"],
        meta.get("preprocessing"),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Networks and optimizers as JSON
# ---------------------------------------------------------------------------------------------------------------------


def network_to_dict(net: Network) -> dict[str, Any]:
    """A network as plain JSON types: its graph, without what others built beside it, and which nodes are what."""
    heads = [net.loss, *([net.prediction] if net.prediction is not None else [])]
    leaves = [*net.inputs, *([net.target] if net.target is not None else [])]
    graph, where = rebuild([*heads, *leaves, *net.parameters])
    return {
        "graph": json.loads(to_json(graph)),
        "loss": where[net.loss.id].id,
        "inputs": [where[t.id].id for t in net.inputs],
        "target": None if net.target is None else where[net.target.id].id,
        "prediction": None if net.prediction is None else where[net.prediction.id].id,
        "initial": {name: rule if isinstance(rule, str) else "auto" for name, rule in net.rules().items()},
        "widths": list(net.widths),
        "threshold": net.threshold,
    }


def network_from_dict(told: Mapping[str, Any]) -> Network:
    """The network. Raises GraphgradError for anything that `network_to_dict` does not write."""
    graph = from_json(json.dumps(told.get("graph")))

    def tensor(what: str, id: Any) -> Any:
        if type(id) is not int or not 0 <= id < len(graph.nodes):
            raise ModelError(f"the {what} of its network is no node")
        return graph.tensor(id)

    inputs, initial, widths = told.get("inputs"), told.get("initial"), told.get("widths")
    threshold = told.get("threshold")
    if (
        not isinstance(inputs, list)
        or not isinstance(initial, dict)
        or not isinstance(widths, list)
        or any(type(w) is not int or w < 1 for w in widths)
        or any(not isinstance(rule, str) or not is_rule(rule) for rule in initial.values())
        or not (threshold is None or type(threshold) in (int, float))
    ):
        raise ModelError("what it tells of its network is broken")
    return Network(
        loss=tensor("loss", told.get("loss")),
        inputs=[tensor("input", i) for i in inputs],
        target=None if told.get("target") is None else tensor("target", told["target"]),
        prediction=None if told.get("prediction") is None else tensor("prediction", told["prediction"]),
        initial=initial,
        widths=tuple(widths),
        threshold=threshold,
    )


def optimizer_to_dict(optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer as plain JSON types. Of one that is a user's own code there is only the name."""
    if isinstance(optimizer, Groups):
        rules = {p: None if o is None else optimizer_to_dict(o) for p, o in optimizer.rules.items()}
        return {"optimizer": "Groups", "rules": rules}
    if OPTIMIZERS.get(type(optimizer).__name__) is type(optimizer):
        return {
            "optimizer": type(optimizer).__name__,
            **{name: _value_to_json(getattr(optimizer, name)) for name in optimizer.__dataclass_fields__},  # type: ignore[attr-defined]
        }
    return {"own optimizer": type(optimizer).__qualname__}


def _value_to_json(value: Any) -> Any:
    if isinstance(value, Schedule) and value.made[0]:
        name, arguments = value.made
        return {"schedule": name, **{k: _value_to_json(v) for k, v in arguments.items()}}
    if callable(value):
        return {"own schedule": getattr(value, "__qualname__", type(value).__qualname__)}
    if isinstance(value, (list, tuple)):
        return [_value_to_json(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def optimizer_from_dict(told: Any) -> Optimizer | None:
    """The optimizer; None where it, or a schedule of it, is a user's own code. Raises GraphgradError for nonsense."""
    if not isinstance(told, dict):
        raise ModelError("what it tells of its optimizer is broken")
    text = json.dumps(told)
    if '"own optimizer"' in text or '"own schedule"' in text:
        return None
    name = told.get("optimizer")
    rest = {k: _value_from_json(v) for k, v in told.items() if k not in ("optimizer", "rules")}
    try:
        if name == "Groups":
            return Groups({p: None if o is None else optimizer_from_dict(o) for p, o in told["rules"].items()})
        return OPTIMIZERS[name](**rest)  # type: ignore[no-any-return, index]
    except (KeyError, TypeError, AttributeError):
        raise ModelError("what it tells of its optimizer is broken") from None


def _value_from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_value_from_json(v) for v in value]
    if isinstance(value, dict):
        name = value.get("schedule")
        if name not in CONSTRUCTORS:
            raise ModelError(f"its optimizer has a schedule {name!r}, which does not exist")
        return CONSTRUCTORS[name](**{k: _value_from_json(v) for k, v in value.items() if k != "schedule"})
    return value
