"""Files of arrays: what is no such file, in whole or in part, and that nothing in one is ever unpickled."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphgrad.arrays import ParameterError, read_arrays, write_arrays

ARRAYS = {"W1": np.arange(6.0).reshape(3, 2) - 0.5, "b1": np.array([10, 11, 12], "f4")}


def told(call: Any, *arguments: Any) -> str:
    with pytest.raises(ParameterError) as error:
        call(*arguments)
    return str(error.value)


class Trap:
    """Unpickling it would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def written(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return told(read_arrays, path).replace(f"{path.parent}{os.sep}", "")


def npz(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert told(read_arrays, tmp_path / "p.npz") == (f"{tmp_path / 'p.npz'} cannot be read: No such file or directory")
    (tmp_path / "d.npz").mkdir()
    assert told(read_arrays, tmp_path / "d.npz") == f"{tmp_path / 'd.npz'} cannot be read: Is a directory"
    assert told(read_arrays, "net.pth") == (
        "net.pth: parameters stand in a .safetensors or a .npz file; "
        "the state_dict that torch.load(..., weights_only=True) gives would fit"
    )


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    mark, file = tmp_path / "mark", tmp_path / "p.npz"
    np.savez(file, W1=np.ones(2), b2=np.array([Trap(mark)]))
    assert told(read_arrays, file) == (
        f"{file}: 'b2' holds pickled objects, which are never loaded; an array of numbers would fit"
    )
    assert written(file, pickle.dumps(Trap(mark))) == "p.npz is no .npz file, or was cut short"
    assert written(file, npz(b2=pickle.dumps(Trap(mark)))) == (
        "p.npz is no .npz file, or damaged in 'b2' (not an array)"
    )
    assert not mark.exists()
    pickle.loads(pickle.dumps(Trap(mark)))
    assert mark.exists()


def test_npz_files_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "p.npz"
    write_arrays(ARRAYS, file)
    whole = file.read_bytes()
    for content in (b"", b"W1,b1\n", whole[:-30], whole[: len(whole) // 2], npy(np.ones(3))):
        assert written(file, content) == "p.npz is no .npz file, or was cut short"
    start = whole.index(ARRAYS["W1"].tobytes())
    broken = whole[: start + 3] + b"!" + whole[start + 4 :]
    assert written(file, broken) == "p.npz is no .npz file, or damaged in 'W1' (Bad CRC-32 for file 'W1.npy')"
    assert written(file, npz(**{"W1.npy": npy(np.ones(3))[:20]})).startswith(
        "p.npz is no .npz file, or damaged in 'W1' ("
    )


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def test_safetensors_files_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "p.safetensors"
    write_arrays(ARRAYS, file)
    whole = file.read_bytes()
    for content in (b"", b"W1,b1\n", whole[:-1], whole[:40], whole + b"!", b"\xff" * 64, npz(W1=b"")):
        assert written(file, content).startswith("p.safetensors is no safetensors file, or was cut short (Error")
    header = json.dumps({"W1": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    assert written(file, struct.pack("<Q", len(header)) + header + b"\0\0") == (
        "p.safetensors holds numbers of type BF16, which NumPy does not have"
    )
