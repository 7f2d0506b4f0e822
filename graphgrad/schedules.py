"""Schedules: step sizes α_k and momentum factors β_k as formulas of k.

k counts the updates that were made, so the first step has k = 0. A schedule that is called with a Tensor builds its
formula as a number of the graph, computed once a step in Python; called with a number, it gives a number:

>>> from graphgrad import schedules
>>> halving = schedules.exponential(0.1, 0.5, every=10)
>>> [halving(k) for k in (0, 10, 20)]
[0.1, 0.05, 0.025]

Wherever an optimizer takes a number it also takes a schedule, or any function of k that is written with operators.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, TypeAlias, TypeVar

import numpy as np

from graphgrad.errors import GraphgradError
from graphgrad.evaluate import evaluate
from graphgrad.graph import Graph
from graphgrad.operators import choice as on_tensors
from graphgrad.operators import functions
from graphgrad.tensor import Tensor

#: A hyperparameter: a number, or a function of k.
Scheduled: TypeAlias = "float | Callable[[Any], Any]"


@dataclass(frozen=True)
class Schedule:
    """A formula of k. Two that were made in the same way are equal."""

    text: str
    formula: Callable[[Any], Any] = field(compare=False)
    made: tuple[str, Mapping[str, Any]] = field(hash=False, default=("", {}))  # the constructor and its arguments

    def __call__(self, k: Any) -> Any:
        """The value at step k: a Tensor from a Tensor, a float from a number."""
        value = self.formula(k)
        if isinstance(k, Tensor):
            return value if isinstance(value, Tensor) else k.graph.constant(value)
        return float(value)

    def __reduce__(self) -> Any:
        """Pickled, and deeply copied, by what it was made with."""
        name, arguments = self.made
        return (constructed, (name, dict(arguments))) if name else super().__reduce__()

    def __repr__(self) -> str:
        return self.text


Constructor = TypeVar("Constructor", bound=Callable[..., Schedule])

#: The constructors below by name: what a file may name.
CONSTRUCTORS: dict[str, Callable[..., Schedule]] = {}


def constructed(name: str, arguments: Mapping[str, Any]) -> Schedule:
    """The schedule that a constructor makes of arguments."""
    return CONSTRUCTORS[name](**arguments)


def _constructor(make: Constructor) -> Constructor:
    """A schedule remembers how it was made, so that a file can hold it."""
    signature = inspect.signature(make)

    @wraps(make)
    def made(*args: Any, **kwargs: Any) -> Schedule:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = {name: _plain(value) for name, value in bound.arguments.items()}
        return replace(make(**arguments), made=(make.__name__, arguments))

    CONSTRUCTORS[make.__name__] = made
    return made  # type: ignore[return-value]


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's, so that formulas compute with them and equal ones read the same."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    return tuple(map(_plain, value)) if isinstance(value, Sequence) and not isinstance(value, str) else value


@_constructor
def constant(alpha: float) -> Schedule:
    """α_k = α."""
    checked("constant", scheduled=False, alpha=alpha)
    return Schedule(f"constant({alpha})", lambda k: float(alpha))


@_constructor
def inverse(alpha: float, decay: float = 1.0, power: float = 1.0) -> Schedule:
    """α_k = α / (1 + decay·k)^power: for 1/2 < power ≤ 1, Σ α_k = ∞ and Σ α_k² < ∞, as Robbins and Monro ask (1951)."""
    checked("inverse", scheduled=False, alpha=alpha, decay=decay, power=power)
    text = f"inverse({alpha}, decay={decay}, power={power})"
    if power == 1:
        return Schedule(text, lambda k: float(alpha) / (1 + float(decay) * k))
    return Schedule(text, lambda k: float(alpha) / _power(1 + float(decay) * k, float(power)))


@_constructor
def exponential(alpha: float, factor: float, every: int = 1, stairs: bool = False) -> Schedule:
    """α_k = α · factor^(k / every); with `stairs` the exponent is rounded down: α_k falls every `every` steps."""
    checked("exponential", scheduled=False, alpha=alpha, factor=factor)
    _steps("exponential", "every", every)
    text = f"exponential({alpha}, {factor}, every={every}, stairs={stairs})"
    if stairs:
        return Schedule(text, lambda k: float(alpha) * _power(float(factor), _floor(k / every)))
    return Schedule(text, lambda k: float(alpha) * _power(float(factor), k if every == 1 else k / every))


@_constructor
def cosine(alpha: float, steps: int, final: float = 0.0) -> Schedule:
    """α_k = final + (α - final) · (1 + cos(π·k / steps)) / 2, then `final` (Loshchilov and Hutter, 2017)."""
    checked("cosine", scheduled=False, alpha=alpha, final=final)
    _steps("cosine", "steps", steps)
    return Schedule(
        f"cosine({alpha}, {steps}, final={final})",
        lambda k: float(final) + (float(alpha) - float(final)) / 2 * (1 + _cos(math.pi * (_minimum(k, steps) / steps))),
    )


@_constructor
def warm_up(then: Scheduled, steps: int, start: float = 0.0) -> Schedule:
    """A straight line from `start` to then(0) within `steps` steps; from there `then`, counted from its own k = 0."""
    checked("warm_up", then=then)
    checked("warm_up", scheduled=False, start=start)
    _steps("warm_up", "steps", steps)
    after = _as_function(then)

    def formula(k: Any) -> Any:
        rest = after(_maximum(k - steps, 0))  # is after(0) on the way up
        return _where(k < steps, float(start) + (rest - float(start)) * (k / steps), rest)

    return Schedule(f"warm_up({_shown(then)}, {steps}, start={start})", formula)


@_constructor
def piecewise(values: Sequence[Scheduled], boundaries: Sequence[int]) -> Schedule:
    """values[0] for k < boundaries[0], values[1] for k < boundaries[1], ..., the last one from the last boundary on.

    A value that is a schedule itself is counted from its own k = 0, and not asked for steps beyond its own.
    """
    for name, given in (("values", values), ("boundaries", boundaries)):
        if not isinstance(given, tuple):
            raise GraphgradError(f"piecewise: {name} is a list, but {given!r} was given")
    if len(values) != len(boundaries) + 1:
        raise GraphgradError(
            f"piecewise: {len(boundaries)} boundaries part {len(boundaries) + 1} values, but {len(values)} were given"
        )
    for value in values:
        checked("piecewise", values=value)
    for boundary in boundaries:
        _steps("piecewise", "boundaries", boundary)
    if list(boundaries) != sorted(set(boundaries)):
        raise GraphgradError(f"piecewise: boundaries rise, but {boundaries} were given")
    pieces = [_as_function(value) for value in values]

    def formula(k: Any) -> Any:
        result = None
        for piece, start, end in zip(pieces, (0, *boundaries), (*boundaries, None), strict=True):
            own = _maximum(k - start, 0) if start else k  # stays within the piece: beyond, it may overflow
            value = piece(own if end is None else _minimum(own, end - start - 1))
            result = _where(k < start, result, value) if start else value
        return result

    return Schedule(f"piecewise([{', '.join(map(_shown, values))}], {list(boundaries)})", formula)


# ---------------------------------------------------------------------------------------------------------------------
# What optimizers make of a hyperparameter
# ---------------------------------------------------------------------------------------------------------------------


def at(value: Scheduled, k: Tensor) -> Tensor:
    """A hyperparameter at step k, as a number of k's graph: the constant, or what the schedule builds."""
    made = value(k) if callable(value) else value
    if not isinstance(made, Tensor):
        if not is_number(made):
            raise GraphgradError(f"a schedule gives a number or a Tensor, but {value!r} gave {type(made).__name__}")
        return k.graph.constant(float(made))
    if made.shape or not made.node.weak:
        raise GraphgradError(f"a schedule is a formula of k and numbers, but {value!r} gave {made!r}")
    return made


def number_at(value: Scheduled, k: int) -> float:
    """The same as a number, for histories and plots."""
    if isinstance(value, Schedule) or not callable(value):
        return float(value(k) if isinstance(value, Schedule) else value)
    step = Graph().input("k", (), "int64", weak=True)
    return float(evaluate(at(value, step) + 0 * step, k=k))  # a function need not look at k


def rate_at(alpha: Any, k: int) -> float | None:
    """The number at step k of what an optimizer calls alpha; None where that is no number and no schedule."""
    if not callable(alpha):
        return float(alpha) if is_number(alpha) else None
    try:
        return number_at(alpha, k)
    except (GraphgradError, TypeError, ValueError, AttributeError):  # a function of something else
        return None


def checked(owner: str, /, *, below: float = math.inf, scheduled: bool = True, **values: Scheduled) -> None:
    """Raise unless each value is a finite number from 0 on and below a bound, or where that is taken, a schedule."""
    for name, value in values.items():
        if scheduled and callable(value):
            continue
        if not is_number(value) or not 0 <= value < below:  # type: ignore[operator]
            wanted = "a number that is not negative" if below == math.inf else f"a number from 0 to below {below:g}"
            raise GraphgradError(f"{owner}: {name} is {wanted}{' or a schedule' * scheduled}, but {value!r} was given")


def is_number(value: Any) -> bool:
    """A finite real number that is no bool."""
    return (
        isinstance(value, (int, float, np.integer, np.floating))
        and not isinstance(value, bool)
        and bool(np.isfinite(value))
    )


def _steps(owner: str, name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise GraphgradError(f"{owner}: {name} counts steps, from 1 on, but {value!r} was given")


def _shown(value: Scheduled) -> str:
    """A part of a schedule as text that is the same in every process: of a plain function, its name."""
    plain = callable(value) and not isinstance(value, Schedule)
    return str(getattr(value, "__qualname__", type(value).__qualname__)) if plain else repr(value)


def _as_function(value: Scheduled) -> Callable[[Any], Any]:
    """A part of a schedule as a function of k. What is written with operators knows Tensors alone."""
    if isinstance(value, Schedule):
        return value
    if callable(value):
        return lambda k: value(k) if isinstance(k, Tensor) else number_at(value, k)
    return lambda k: float(value)


# ---------------------------------------------------------------------------------------------------------------------
# Functions of Tensors and of numbers alike
# ---------------------------------------------------------------------------------------------------------------------


def _cos(x: Any) -> Any:
    return functions.cos(x) if isinstance(x, Tensor) else math.cos(x)


def _power(x: Any, y: Any) -> Any:
    """x ** y, which is inf where it overflows, as in generated code."""
    if isinstance(x, Tensor) or isinstance(y, Tensor):
        return x**y
    with np.errstate(all="ignore"):
        return float(np.float64(x) ** y)


def _floor(x: Any) -> Any:
    return on_tensors.floor(x) if isinstance(x, Tensor) else math.floor(x)


def _minimum(x: Any, y: float) -> Any:
    return on_tensors.minimum(x, y) if isinstance(x, Tensor) else min(x, y)


def _maximum(x: Any, y: float) -> Any:
    return on_tensors.maximum(x, y) if isinstance(x, Tensor) else max(x, y)


def _where(condition: Any, x: Any, y: Any) -> Any:
    return on_tensors.where(condition, x, y) if isinstance(condition, Tensor) else x if condition else y
