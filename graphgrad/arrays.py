"""Arrays of finite numbers by name, and the files that hold them: .safetensors and .npz. No pickle."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from graphgrad.errors import GraphgradError
from graphgrad.files import write_atomically
from graphgrad.tensor import Tensor
from graphgrad.types import Array, is_masked

#: How the names of arrays in a run's file begin that are no parameters.
NO_PARAMETERS = ("state/", "current/")


class ParameterError(GraphgradError):
    """Parameters that cannot be read, or that do not fit."""


def finite(name: str, value: Any, dtype: str | None = None) -> Array:
    """Numbers as an array of one's own, all finite, in that dtype or their own; torch's from any device."""
    if is_masked(value):
        raise ParameterError(f"{name} is a masked array, whose mask would be lost; {name}.filled(0.0) would fit")
    if isinstance(value, Tensor):
        raise ParameterError(f"{name} is a Tensor of a graph, which holds no numbers; an array would fit")
    try:
        array = np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
    except Exception as error:  # NumPy's for ragged rows, torch's own for bfloat16, sparse and meta tensors
        fit = "; as float32 it would fit" if str(getattr(value, "dtype", "")) == "torch.bfloat16" else ""
        raise ParameterError(f"{name} cannot become an array: {_first_line(error)}{fit}") from None
    if array.dtype.kind not in "iuf":
        raise ParameterError(f"{name} is {array.dtype.name}; floats or integers are wanted")
    wanted = array.dtype.newbyteorder("=") if dtype is None else np.dtype(dtype)
    with np.errstate(over="ignore"):
        array = np.array(array, wanted, order="C")
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        place = f" at {where}" if where else ""
        raise ParameterError(f"{name} is {array[where]}{place} in {wanted.name}; every number must be finite")
    return array


def suffix_of(path: str | os.PathLike[str]) -> str:
    """ ".safetensors" or ".npz". Raises ParameterError for any other."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in (".safetensors", ".npz"):
        torch = suffix in (".pt", ".pth", ".bin", ".ckpt")
        fit = "; the state_dict that torch.load(..., weights_only=True) gives would fit" if torch else ""
        raise ParameterError(f"{os.fspath(path)}: parameters stand in a .safetensors or a .npz file{fit}")
    return suffix


def read_arrays(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file holds, by name. Raises ParameterError, which names the file, where it is not what its name says."""
    suffix, file = suffix_of(path), os.fspath(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ParameterError(f"{file} cannot be read: {error.strerror or error}") from None
    return _from_safetensors(file, data) if suffix == ".safetensors" else _from_npz(file, data)


def _from_safetensors(file: str, data: bytes) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = dict(sorted(load(data).items()))  # the file keeps no order, and what reads it gives any
    except SafetensorError as error:
        raise ParameterError(f"{file} is no safetensors file, or was cut short ({_first_line(error)})") from None
    except KeyError as error:
        raise ParameterError(f"{file} holds numbers of type {error.args[0]}, which NumPy does not have") from None
    if "graphgrad" in metadata(data):  # a run: what the optimizer remembers is no parameter
        return {name: a for name, a in arrays.items() if not name.startswith(NO_PARAMETERS)}
    return arrays


def metadata(data: bytes) -> dict[str, Any]:
    """What a safetensors file tells beside its arrays."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return dict(header.get("__metadata__", {}))


def _from_npz(file: str, data: bytes) -> dict[str, Any]:
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise ParameterError(f"{file} is no .npz file, or was cut short")
    arrays: dict[str, Any] = {}
    member = "its list of arrays"
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            for name in archive.files:
                member = repr(name)
                arrays[name] = archive[name]
                if not isinstance(arrays[name], np.ndarray):
                    raise ValueError("not an array")
    except Exception as error:  # zipfile, zlib and NumPy each have their own for bytes that are damaged
        if str(error).startswith("Object arrays"):
            raise ParameterError(
                f"{file}: {member} holds pickled objects, which are never loaded; an array of numbers would fit"
            ) from None
        raise ParameterError(f"{file} is no .npz file, or damaged in {member} ({_first_line(error)})") from None
    return arrays


def write_arrays(arrays: Mapping[str, Array], path: str | os.PathLike[str]) -> None:
    """Write arrays by name to a file, whole or not at all."""
    for name in arrays:
        if name == "__metadata__" or "\0" in name:  # the first is safetensors' own, the second ends a name in a zip
            raise ParameterError(f"{os.fspath(path)}: {name!r} cannot be a name in a file of arrays")
    if suffix_of(path) == ".safetensors":
        from safetensors.numpy import save

        write_atomically(path, save(dict(arrays)))
        return
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:  # np.savez takes no array that is named as one of its arguments
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    write_atomically(path, content.getvalue())


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__


__all__ = ["ParameterError", "finite", "read_arrays", "suffix_of", "write_arrays"]
