"""Parameters from elsewhere and to elsewhere.

Every source becomes one dictionary by the network's own names, and every destination is made from such a one. A layer's
matrix is (outputs, inputs) here and in PyTorch, (inputs, outputs) in scikit-learn.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from graphgrad.arrays import ParameterError, finite, read_arrays, suffix_of, write_arrays
from graphgrad.networks import Network
from graphgrad.table import listed
from graphgrad.types import Array, show

Shapes: TypeAlias = "dict[str, tuple[int, ...]]"

NAMED = "a mapping from names to arrays, a .safetensors or .npz file, a torch module or its state_dict"
FORMS = f"{NAMED}, a fitted MLP of scikit-learn, or its pair (coefs_, intercepts_)"

TRANSPOSE = " (its transpose would fit)"

#: What PyTorch's layers keep in a state_dict beside their parameters, by the last part of its name.
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


# ---------------------------------------------------------------------------------------------------------------------
# From elsewhere
# ---------------------------------------------------------------------------------------------------------------------


def parameters_from(net: Network, source: Any) -> dict[str, Array]:
    """A network's parameters by its own names, in its own dtype, as copies, from wherever they are.

    `source` is a mapping from names to arrays or torch tensors, the path of a .safetensors or .npz file, a torch module
    or its state_dict, a fitted MLPClassifier or MLPRegressor, or its pair (coefs_, intercepts_). Names that are not the
    network's are matched in order, each shape with the next. Integers become floats. Raises ParameterError where a name
    or shape does not fit, a number is not finite, or a file is damaged; pickled objects are never loaded.

    >>> import graphgrad as gg
    >>> net = gg.feedforward([2, 3, 1])
    >>> state = {"0.weight": np.ones((3, 2)), "0.bias": [0, 0, 0], "2.weight": [[1, 2, 3]], "2.bias": [4]}
    >>> gg.parameters_from(net, state)["W2"]
    array([[1., 2., 3.]])
    """
    if not isinstance(net, Network):
        raise ParameterError(f"parameters are of a Network, but {type(net).__name__} was given as net")
    if (pair := _pair(source)) is not None:
        found, wanted = _matrices(*pair), _layers(net)
        which = _matched(wanted, _shapes(found), _advice(net, found))
    else:
        found = _entries(source, net.shapes, f"parameters come from {FORMS}")
        which = _matched(net.shapes, _shapes(found))
    return {p.name: finite(which[p.name], found[which[p.name]], p.dtype) for p in net.parameters}


def _entries(source: Any, wanted: Shapes, forms: str) -> dict[str, Any]:
    """What a file, a module or a mapping holds, by its own names and in its own order."""
    path = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
    if path is not None:
        source = read_arrays(path)
    elif callable(getattr(source, "state_dict", None)) and not isinstance(source, type):
        source = source.state_dict()
    if not isinstance(source, Mapping):
        raise ParameterError(f"{forms}, but {type(source).__name__} was given{_hint(source)}")
    for name, value in source.items():
        if not isinstance(name, str):
            raise ParameterError(f"parameters are given by name, but {name!r} is a key of the mapping")
        if isinstance(value, Mapping):
            raise ParameterError(f"{name} is no array but a mapping; if it holds the parameters, it alone would fit")
    if buffers := [name for name in source if name not in wanted and name.rpartition(".")[2] in BUFFERS]:
        raise ParameterError(
            f"{listed(buffers)}: what a layer has counted or averaged is no parameter, and the network has no place "
            f"for it; it has {_told(wanted)}"
        )
    if path is not None and suffix_of(path) == ".safetensors" and not wanted.keys() & source.keys():
        return _numbered(path, source, wanted)
    return dict(source)


def _hint(source: Any) -> str:
    if isinstance(getattr(source, "parameters", None), Mapping):
        return "; its .parameters would fit"
    if hasattr(source, "hidden_layer_sizes"):
        return ", which is not fitted and has no coefs_ yet"
    return ""


def _numbered(path: str, found: Mapping[str, Any], wanted: Shapes) -> dict[str, Any]:
    """The entries of a file that keeps no order, in that of the numbers in their names, each weight before its bias."""
    parts = {name: name.rpartition(".")[::2] for name in found}
    kinds = {re.sub(r"\d+", "#", module) for module, _ in parts.values()}
    if len(kinds) > 1 or not {last for _, last in parts.values()} <= {"weight", "bias"}:
        raise ParameterError(
            f"{path} has {listed(list(found))} where the network has {listed(list(wanted))}, and a safetensors file "
            "keeps no order that would tell which is which; a mapping by the network's names, or the state_dict of "
            "the module that has loaded the file, would fit"
        )
    order = {n: ([int(d) for d in re.findall(r"\d+", module)], last == "bias") for n, (module, last) in parts.items()}
    return {name: found[name] for name in sorted(found, key=order.__getitem__)}


# ---------------------------------------------------------------------------------------------------------------------
# What belongs to what
# ---------------------------------------------------------------------------------------------------------------------


def _matched(wanted: Shapes, found: Shapes, advice: str = "") -> dict[str, str]:
    """The name that each parameter has among what was found: its own, or if none is known there, that in its place."""
    by_name = bool(wanted.keys() & found.keys())
    if by_name and wanted.keys() != found.keys():
        missing, unknown = [n for n in wanted if n not in found], [n for n in found if n not in wanted]
        told = [f"{listed(names)} {what}" for names, what in ((missing, "missing"), (unknown, "unknown")) if names]
        raise ParameterError(f"the network has {_told(wanted)}, but {' and '.join(told)}")
    if len(wanted) != len(found):
        raise ParameterError(
            f"the network has {len(wanted)} parameters, {_told(wanted)}, "
            f"but {len(found)} were found: {_told(found)}{advice}"
        )
    which = {name: name for name in wanted} if by_name else dict(zip(wanted, found, strict=True))
    wrong = [_misfit(which[n], found[which[n]], n, shape) for n, shape in wanted.items() if found[which[n]] != shape]
    if wrong:
        if not by_name and Counter(wanted.values()) == Counter(found.values()):
            advice = "; in another order they would fit, which a mapping by the network's names tells"
        elif any(TRANSPOSE in told for told in wrong) and any(len(s) == 2 and s[0] == s[1] for s in wanted.values()):
            advice += "; of a square matrix no shape tells which way it lies"
        raise ParameterError(listed(wrong, 4) + advice)
    return which


def _told(shapes: Shapes) -> str:
    return listed([f"{name} {show(shape)}" for name, shape in shapes.items()]) or "nothing"


def _misfit(name: str, shape: tuple[int, ...], parameter: str, wanted: tuple[int, ...]) -> str:
    told = f"{show(wanted)} is wanted" if name == parameter else f"{parameter} is {show(wanted)}"
    fit = ""
    if len(shape) == 2 and shape[::-1] == wanted:
        fit = TRANSPOSE
    elif [d for d in shape if d != 1] == [d for d in wanted if d != 1]:
        fit = f" (reshaped to {show(wanted)} it would fit)"
    return f"{name} is {show(shape)} where {told}{fit}"


def _shapes(found: Mapping[str, Any]) -> Shapes:
    shapes = {}
    for name, value in found.items():
        try:
            shapes[name] = tuple(np.shape(value))
        except ValueError:
            raise ParameterError(f"{name} is no array: its rows have different lengths") from None
    return shapes


# ---------------------------------------------------------------------------------------------------------------------
# To elsewhere
# ---------------------------------------------------------------------------------------------------------------------


def save_parameters(parameters: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write parameters by name to a .safetensors or a .npz file, whole or not at all. `parameters_from` reads both.

    Raises ParameterError for what is no array of finite numbers, OSError where the file cannot be written.
    """
    suffix_of(path)
    if not isinstance(parameters, Mapping):
        raise ParameterError(
            f"a mapping from names to arrays is saved, but {type(parameters).__name__} was given{_hint(parameters)}"
        )
    arrays = {}
    for name, value in parameters.items():
        if not isinstance(name, str):
            raise ParameterError(f"arrays are saved by name, but {name!r} is a key of the mapping")
        arrays[name] = finite(name, value)
        if arrays[name].dtype.itemsize > 8:
            raise ParameterError(f"{name} is {arrays[name].dtype.name}; float64 would fit")
    write_arrays(arrays, path)


def to_state_dict(net: Network, parameters: Any, like: Any) -> dict[str, Any]:
    """A network's parameters with the names, the order and the float dtypes of a torch module or a state_dict.

    `parameters` is anything that `parameters_from` takes. Where `like` holds tensors, so does the result, on the CPU,
    for `module.load_state_dict(...)`; where it holds arrays, arrays.

    >>> import graphgrad as gg
    >>> net = gg.feedforward([2, 1])
    >>> gg.to_state_dict(net, {"W1": [[1, 2]], "b1": [3]}, like={"fc.weight": np.zeros((1, 2)), "fc.bias": np.zeros(1)})
    {'fc.weight': array([[1., 2.]]), 'fc.bias': array([3.])}
    """
    own = parameters_from(net, parameters)
    entries = _entries(like, net.shapes, f"like is {NAMED}")
    ours = {name: n for n, name in _matched(net.shapes, _shapes(entries)).items()}
    return {name: _alike(name, own[ours[name]], other) for name, other in entries.items()}


def _alike(name: str, array: Array, other: Any) -> Any:
    """An array of the other's dtype, as a tensor where the other is one: whoever has tensors has imported torch."""
    dtype = str(getattr(other, "dtype", "")).removeprefix("torch.")
    array = finite(name, array, dtype if dtype in ("float16", "float32", "float64") else None)
    torch: Any = sys.modules.get("torch")
    return torch.from_numpy(array) if isinstance(other, getattr(torch, "Tensor", ())) else array


def to_sklearn(net: Network, parameters: Any, estimator: Any = None) -> tuple[list[Array], list[Array]]:
    """A network's parameters as the pair (coefs_, intercepts_) of scikit-learn's MLPs.

    `parameters` is anything that `parameters_from` takes. A fitted MLPClassifier or MLPRegressor of the same widths
    gets them in place of its own, in its dtype; how it computes (activation, classes_) stays as it is.
    """
    own, layers = parameters_from(net, parameters), _layers(net)
    numbers = [own[name] for name in layers]
    if estimator is not None:
        pair = _pair(estimator)
        if pair is None or isinstance(estimator, (tuple, list)):
            told = _hint(estimator) or ", which has no coefs_ and intercepts_"
            raise ParameterError(
                f"a fitted MLP of scikit-learn is wanted, but {type(estimator).__name__} was given{told}"
            )
        theirs = _matrices(*pair)
        which = _matched(layers, _shapes(theirs), _advice(net, theirs))
        numbers = [finite(name, own[name], theirs[which[name]].dtype.name) for name in layers]
    coefs, intercepts = [np.ascontiguousarray(W.T) for W in numbers[::2]], numbers[1::2]
    if estimator is not None:
        estimator.coefs_, estimator.intercepts_ = coefs, intercepts
    return coefs, intercepts


# ---------------------------------------------------------------------------------------------------------------------
# scikit-learn's layers
# ---------------------------------------------------------------------------------------------------------------------


def _pair(source: Any) -> tuple[Sequence[Any], Sequence[Any]] | None:
    """(coefs_, intercepts_), where a source is or has them."""
    if hasattr(source, "coefs_") and hasattr(source, "intercepts_"):
        return source.coefs_, source.intercepts_
    if isinstance(source, (tuple, list)) and [isinstance(part, (tuple, list)) for part in source] == [True, True]:
        return source[0], source[1]
    return None


def _matrices(coefs: Sequence[Any], intercepts: Sequence[Any]) -> dict[str, Array]:
    """The entries W = coefs_.T and b = intercepts_ of each layer in turn."""
    if len(coefs) != len(intercepts):
        raise ParameterError(
            f"a layer has a matrix and a bias, but {len(coefs)} coefs_ and {len(intercepts)} intercepts_ were given"
        )
    matrices = {}
    for l, (W, b) in enumerate(zip(coefs, intercepts, strict=True)):
        matrices[f"coefs_[{l}].T"] = finite(f"coefs_[{l}]", W).T
        matrices[f"intercepts_[{l}]"] = finite(f"intercepts_[{l}]", b)
    return matrices


def _layers(net: Network) -> Shapes:
    """The shapes of a network that has a matrix and a bias a layer, W before b in each. Raises for any other."""
    shapes = net.shapes
    weights, biases = [[n for n, s in shapes.items() if len(s) == rank] for rank in (2, 1)]
    layers = {n: shapes[n] for pair in zip(weights, biases, strict=False) for n in pair}
    chained = all(shapes[V][1] == shapes[W][0] for W, V in pairwise(weights))
    fit = all(shapes[W][0] == shapes[b][0] for W, b in zip(weights, biases, strict=False))
    if len(layers) != len(shapes) or not (chained and fit):
        raise ParameterError(
            "an MLP of scikit-learn has a matrix and a bias a layer, W (outputs, inputs) and b (outputs), "
            f"but the network has {_told(shapes)}"
        )
    return layers


def _advice(net: Network, matrices: Mapping[str, Array]) -> str:
    """The network that an MLP would fit, where it has another's widths."""
    shapes = [W.shape for W in list(matrices.values())[::2] if W.ndim == 2]
    widths = [shape[1] for shape in shapes[:1]] + [shape[0] for shape in shapes]
    if any(V[1] != W[0] for W, V in pairwise(shapes)) or widths == list(net.widths):
        return ""
    binary = widths[-1:] == [1] and net.widths[-1:] == (2,)
    loss = ", with binary_cross_entropy: an MLPClassifier of two classes has one output" if binary else ""
    return f"; gg.feedforward({widths}, ...) would fit{loss}"


__all__ = ["ParameterError", "parameters_from", "save_parameters", "to_sklearn", "to_state_dict"]
