"""The lines of a function's source: as tracebacks and debuggers see them, and which of them compute a tensor."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphgrad.errors import GraphgradError
from graphgrad.tensor import Tensor

if TYPE_CHECKING:
    from .loader import Function


class SourceLines(Sequence[str]):
    """The lines that tracebacks and debuggers ask linecache for; only then are they written out with their comments.

    linecache has laziness of its own, but not for a name in angle brackets, which debuggers need to leave a name alone.
    """

    def __init__(self, function: Function) -> None:
        self._function = weakref.ref(function)

    def __getitem__(self, key: Any) -> Any:
        function = self._function()
        return (function.source if function is not None else "").splitlines(keepends=True)[key]

    def __len__(self) -> int:
        function = self._function()
        return len(function._text) if function is not None else 0


class Lines:
    """Which lines of the source compute a tensor."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def __getitem__(self, tensor: Tensor | int) -> tuple[int, ...]:
        if isinstance(tensor, Tensor) and tensor.graph is not self._function.written():
            raise GraphgradError(
                f"lines of {tensor.name} were asked for, which is of another graph than the compiled one; "
                "f.lines takes tensors of the graph that was compiled"
            )
        moved, program = (
            self._function._where.get(tensor if isinstance(tensor, int) else tensor.id),
            self._function.program,
        )
        if moved is None:
            return ()
        base = program.base(moved.id)  # of a view, what computes it, if that is nothing that was written
        shown = {moved.id} if base in program.origins else {moved.id, base}
        return tuple(line for line, node in self._function._line_nodes.items() if node in shown)
