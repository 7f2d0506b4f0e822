"""What training does to a loss and its gradients: weights of samples, L2, clipping. All of it is graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from graphgrad.errors import GraphgradError
from graphgrad.networks import Network
from graphgrad.operators.choice import clip, maximum
from graphgrad.operators.elementwise import sqrt, square
from graphgrad.operators.losses import LOSSES
from graphgrad.operators.reduce import mean, sum
from graphgrad.schedules import checked, is_number
from graphgrad.tensor import Tensor
from graphgrad.types import Dimension


@dataclass(frozen=True)
class Gradients:
    """What becomes of gradients before the optimizer sees them, in this order.

    `l2` adds λθ, the gradient of λ‖θ‖²/2: one λ for all parameters, or by patterns of names such as {"W*": 1e-4}.
    `clip_value` c brings each number into [-c, c]. `clip_norm` c shortens all gradients, as one vector g, to length c:
    g ← g · c / max(‖g‖, c) (Pascanu, Mikolov and Bengio, 2013).
    """

    l2: float | Mapping[str, float] = 0.0
    clip_value: float | None = None
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        many = self.l2 if isinstance(self.l2, Mapping) else {"l2": self.l2}
        for name, value in many.items():
            if not isinstance(name, str):
                raise GraphgradError(f"l2 maps patterns of names to numbers, but {name!r}: {value!r} was given")
            checked("l2" if name == "l2" else f"l2 of {name}", scheduled=False, l2=value)
        for name in ("clip_value", "clip_norm"):
            value = getattr(self, name)
            if value is not None and (not is_number(value) or value <= 0):
                raise GraphgradError(f"{name} is a number above 0, but {value!r} was given")

    def adjusted(self, gradients: Sequence[Tensor], values: Sequence[Tensor], names: Sequence[str]) -> list[Tensor]:
        """The gradients by `values`, adjusted; `names` are those of the values, or of what one vector packs."""
        g = [
            dx if weight == 0 else dx + weight * x
            for dx, x, weight in zip(gradients, values, self._weights(names), strict=True)
        ]
        if self.clip_value is not None:
            g = [clip(dx, -float(self.clip_value), float(self.clip_value)) for dx in g]
        if self.clip_norm is not None:
            bound = float(self.clip_norm)
            squares = [sum(square(dx)) for dx in g]
            total = squares[0]
            for more in squares[1:]:
                total = total + more
            g = [dx * (bound / maximum(sqrt(total), bound)) for dx in g]
        return g

    def _weights(self, names: Sequence[str]) -> list[float]:
        if not isinstance(self.l2, Mapping):
            return [float(self.l2)] * len(names)
        if unused := [p for p in self.l2 if not any(fnmatchcase(name, p) for name in names)]:
            raise GraphgradError(f"l2: no parameter fits {', '.join(unused)}; there are: {', '.join(names)}")
        return [next((float(v) for p, v in self.l2.items() if fnmatchcase(name, p)), 0.0) for name in names]


def weight_shape(net: Network) -> tuple[Dimension, ...]:
    """The shape of a weight for each sample. Raises GraphgradError where samples are not counted by a named size."""
    first = {t.shape[:1] for t in (*net.inputs, *([net.target] if net.target is not None else []))}
    if net.batch is None or len(first) != 1:
        raise GraphgradError(
            "weights are one for each sample, but the inputs and the target share no named size as first dimension"
        )
    return next(iter(first))


def weighted_loss(loss: Tensor, weights: Tensor) -> Tensor:
    """A mean over samples as a weighted one: Σ w ℓ / Σ w. Raises GraphgradError for a loss that is no such mean."""
    node, graph = loss.node, loss.graph
    operands = [graph.tensor(i) for i in node.inputs]
    row = LOSSES.get(node.operator.name)
    if row is not None and len(operands) == 2 and node["reduction"] == "mean":
        attributes = {name: value for name, value in node.attributes if name != "reduction"}
        return row(operands[0], operands[1], weights, **attributes)
    if node.operator.name == "mean" and operands[0].shape[:1] == weights.shape:
        values = operands[0]
        each = mean(values, axis=tuple(range(1, len(values.shape)))) if len(values.shape) > 1 else values
        return sum(weights * each) / sum(weights)
    raise GraphgradError(
        "weights want a loss that is a mean over samples, such as gg.mean_squared_error(p, y) or gg.mean(...), "
        f"but {graph.where(loss.id)} is none"
    )
