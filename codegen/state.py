"""What a compiled function keeps between calls, as its users see it: a mapping from names to arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgrad.errors import CallError
from graphgrad.evaluate import convert
from graphgrad.types import Array, has_sizes, solve_sizes

from .pages import aligned_copy

if TYPE_CHECKING:
    from .loader import Function


class State(Mapping[str, Array]):
    """What a function keeps between calls, by name. Reading copies; assigning checks shape and dtype, and copies."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def __getitem__(self, name: str) -> Array:
        if name not in self._function._held:
            raise CallError(f"the function holds no {name}; it holds {', '.join(self._function._held) or 'nothing'}")
        function, node = self._function, self._function._held[name]
        with function.lock:
            if name not in function._values:
                if node.operator.name != "state" or has_sizes(node.shape):
                    raise CallError(f"{name} has no value yet")
                function._hold(name, node, {})  # a state starts at zero
            kept = function._values[name]
            return kept * np.asarray(scale, kept.dtype) if (scale := function._scale(name)) != 1.0 else kept.copy()

    def get(self, name: str, default: Any = None) -> Any:
        """A value, or the default for what the function does not hold."""
        if name not in self:
            return default
        return self[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._put(name, value, 1.0)

    def kept(self, name: str) -> tuple[Array, float]:
        """A value in the units in which the function keeps it, and what it is multiplied by to be the state."""
        self[name]  # which is there from now on
        with self._function.lock:
            return self._function._values[name].copy(), self._function._scale(name)

    def keep(self, name: str, value: Array, scale: float) -> None:
        """Take what `kept` gave: bit for bit, if this function keeps it in the same units."""
        self._put(name, value, scale)

    def live(self, name: str) -> Array:
        """The very array that calls update in place, to be read from."""
        with self._function.lock:
            view = self._function._values[name].view()
        view.flags.writeable = False
        return view

    def snapshot(self) -> dict[str, Array]:
        """Copies of all values, in the function's own units."""
        with self._function.lock:
            return {name: value.copy() for name, value in self._function._values.items()}

    def restore(self, snapshot: Mapping[str, Array]) -> None:
        """Back to a snapshot, bit for bit."""
        with self._function.lock:
            for name, value in self._function._values.items():
                value[...] = snapshot[name]

    def finite(self) -> bool:
        """Whether all numbers are."""
        with self._function.lock:
            return all(bool(np.isfinite(v).all()) for v in self._function._values.values())

    def _put(self, name: str, value: Any, scale: float) -> None:
        """Set a value that is given in units of `scale`."""
        function = self._function
        if name not in function._held:
            raise CallError(f"the function holds no {name}; it holds {', '.join(function._held) or 'nothing'}")
        node = function._held[name]
        array = convert(name, value, node.dtype)
        solve_sizes([(name, node.shape, array.shape)])
        with function.lock:
            if (own := function._scale(name)) != scale:
                array = array / np.asarray(own / scale, array.dtype)
            others = {n: function._scale(n) for n in function._counted_by(name)}
            held = function._values.get(name)
            if held is not None and held.shape == array.shape:
                held[...] = array
            else:
                function._values[name] = aligned_copy(array)
                function._forget()
            function._given.add(name)
            for n, before in others.items():  # what it counts are their units, too
                function._values[n] *= np.asarray(before / function._scale(n), function._values[n].dtype)
            if name in function._counters and array < 0:
                function._set_back()

    def __contains__(self, name: object) -> bool:
        return name in self._function._held

    def __iter__(self) -> Iterator[str]:
        return iter(self._function._held)

    def __len__(self) -> int:
        return len(self._function._held)
