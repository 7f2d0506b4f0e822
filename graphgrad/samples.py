"""Samples as a network takes them: checked, of its dtypes, and batches of them in buffers that all batches share."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from graphgrad.errors import CallError
from graphgrad.networks import Network
from graphgrad.sources import Samples, Source, in_memory, opened, parts, unwrapped
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS, Array, show, solve_sizes

#: An array or what is read by slices (`sources`), or for several inputs a sequence of them or a mapping by name.
Data: TypeAlias = Any


#: What the target of a loss may hold, and how an error tells it.
TARGETS: dict[str, tuple[Callable[[Array], Array], str]] = {
    "binary_cross_entropy": (lambda t: (t >= 0) & (t <= 1), "targets from 0 to 1"),
    "hinge": (lambda t: np.abs(t) == 1, "the targets -1 and 1"),
}


def as_data(leaves: Sequence[Tensor], net: Network, X: Data, Y: Data, names: tuple[str, str]) -> list[Samples]:
    """X and Y as contiguous arrays of the dtypes of a network's inputs and target, in that order, checked.

    Files that are mapped into memory and sources stay where they are, of their own dtypes.
    """
    n = len(net.inputs)
    pairs = several(names[0], X, leaves[:n])
    if net.target is None:
        if Y is not None:
            raise CallError(f"{names[1]} was given, but the network has no target")
    elif Y is None:
        raise CallError(f"the network has a target, {net.target.name}, but {names[1]} was not given")
    else:
        pairs.append((names[1], Y))
    arrays = as_samples(net, pairs, leaves)
    given = [name for name, _ in pairs]
    if net.batch:
        first = len(arrays[0])
        for name, a in zip(given, arrays, strict=True):
            if len(a) != first:
                raise CallError(f"{given[0]} has {first} samples, but {name} has {len(a)}")
        if not first:
            raise CallError(f"{given[0]} has no samples")
    check_batch_sizes(leaves, arrays, given)
    if net.classes is not None and net.target is not None:
        ends = [end for part in parts(arrays[-1]) for end in (part.min(), part.max())]
        if min(ends) < 0 or max(ends) >= net.classes:
            raise CallError(
                f"{names[1]} holds labels from {min(ends)} to {max(ends)}, "
                f"but the network's {net.classes} classes are 0 to {net.classes - 1}"
            )
    if net.target is not None:
        check_target(net, arrays[-1], names[1])
    return arrays


def as_samples(net: Network, given: Sequence[tuple[str, Any]], leaves: Sequence[Tensor]) -> list[Samples]:
    """Data of which batches can be taken, by name, for each leaf. Without batches all of it is needed at once."""
    take = as_rows if net.batch else as_array
    return [take(name, value, t) for (name, value), t in zip(given, leaves, strict=True)]


def check_target(net: Network, target: Samples, name: str) -> None:
    """Raises CallError for numbers that the network's loss has no meaning for, though it would compute with them."""
    node = net.loss.node
    if net.target is None or node.operator.name not in TARGETS or node.inputs[1] != net.target.id:
        return
    meant, told = TARGETS[node.operator.name]
    for part in parts(target):
        if not (fits := meant(part)).all():
            raise CallError(f"{name} holds {part[~fits].flat[0]:g}, but {node.operator.name} takes {told}")


def several(name: str, data: Data, leaves: Sequence[Tensor]) -> list[tuple[str, Any]]:
    """One array for each input, with the name by which an error tells of it."""
    if len(leaves) == 1 and not isinstance(data, Mapping):
        return [(name, data)]
    wanted = [t.name for t in leaves]
    if isinstance(data, Mapping):
        if data.keys() != set(wanted):
            raise CallError(
                f"{name} maps {', '.join(wanted)} to arrays, but {', '.join(map(str, data)) or 'nothing'} was given"
            )
        return [(f"{name}[{n!r}]", data[n]) for n in wanted]
    if not isinstance(data, (tuple, list)) or len(data) != len(wanted):
        raise CallError(f"{name} is one array for each input, ({', '.join(wanted)}), or a mapping by name")
    return [(f"{name}[{i}]", a) for i, a in enumerate(data)]


def as_array(name: str, value: Any, leaf: Tensor) -> Array:
    """Data as a contiguous array of a leaf's dtype and rank, every number finite."""
    found = as_rows(name, value, leaf)
    if isinstance(found, Source) or isinstance(value, np.memmap):
        return converted(name, in_memory(found), leaf)
    return found


def as_rows(name: str, value: Any, leaf: Tensor) -> Samples:
    """The same, but of what may be larger than memory batches are read and converted as they come."""
    array = opened(name, value)
    check_kind(name, array, leaf)
    if isinstance(value, np.memmap):
        return array
    if isinstance(array, Source):
        if array.size != len(array):
            return array
        array = in_memory(array)  # a number for each sample: the order of the samples takes as much memory
    return converted(name, array, leaf)


def check_kind(name: str, array: Samples, leaf: Tensor) -> None:
    """Raises CallError for numbers of another kind than a leaf's, or another shape."""
    kind, floats = array.dtype.kind, leaf.dtype in FLOATS
    if kind not in "biuf" or (kind == "f" and not floats) or (leaf.dtype == "bool" and kind != "b"):
        hint = ""
        if leaf.dtype == "int64" and kind == "f":
            hint = f"; integer labels are wanted, {name}.astype(int) makes them"
        elif leaf.dtype == "int64" and kind in "OUST":
            hint = f"; integer labels are wanted, np.unique({name}, return_inverse=True)[1] makes them of text"
        raise CallError(f"{name} is {array.dtype.name}, but {leaf.name} is {leaf.dtype}{hint}")
    if len(array.shape) != len(leaf.shape) or any(
        isinstance(d, int) and d != n for d, n in zip(leaf.shape, array.shape, strict=True)
    ):
        missing = leaf.shape[len(array.shape) :]
        hint = f"; {name}[:, None] would fit" if array.ndim == 1 and missing == (1,) else ""
        raise CallError(f"{name} has shape {show(array.shape)}, but {leaf.name} is {show(leaf.shape)}{hint}")


def converted(name: str, array: Array, leaf: Tensor) -> Array:
    """An array in a leaf's dtype, contiguous. Raises CallError for numbers that are not finite there, or that wrap."""
    with np.errstate(over="ignore", under="ignore"):
        array = np.ascontiguousarray(unwrapped(name, array, leaf.dtype), leaf.dtype)
    if leaf.dtype in FLOATS and not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise CallError(f"{name} is {array[where]} at {where} in {leaf.dtype}; every number must be finite")
    return array


def check_batch_sizes(leaves: Sequence[Tensor], arrays: Sequence[Samples], names: Sequence[str] = ()) -> None:
    solve_sizes(
        (name, t.shape, a.shape) for name, t, a in zip(names or [t.name for t in leaves], leaves, arrays, strict=True)
    )


def fingerprint(arrays: Iterable[Samples]) -> int:
    """A number that other arrays hardly have. Of what may be larger than memory, by its first and last rows."""
    found = 0
    for a in arrays:
        found = zlib.crc32(repr((a.shape, a.dtype.str)).encode(), found)
        outside = isinstance(a, (Source, np.memmap)) or isinstance(a.base, np.memmap)  # `as_data` gives views of maps
        for part in (a[:1000], a[-1000:]) if outside else (in_memory(a),):
            found = zlib.crc32(np.ascontiguousarray(part).data.cast("B") if part.size else b"", found)
    return found
