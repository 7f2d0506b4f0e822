"""Networks in shorthand, such as 64-128-10:relu, and such as leave widths and loss open for a table to fill in."""

from __future__ import annotations

from dataclasses import dataclass

from graphgrad.errors import GraphgradError, TableError
from graphgrad.networks import Network, feedforward
from graphgrad.operators.losses import LOSSES
from graphgrad.preprocessing import Preprocessing
from graphgrad.table import Table, listed

FORM = "a network is written WIDTHS[:ACTIVATION[:LOSS]], as in 64-128-10:relu:cross_entropy"

#: Losses that tell two classes apart by one output.
TWO_CLASSES = ("binary_cross_entropy", "hinge")


@dataclass(frozen=True, slots=True)
class Shorthand:
    """A feedforward network as it was written. A width and a loss that are None are open."""

    text: str
    widths: tuple[int | None, ...]
    activation: str = "relu"
    loss: str | None = None

    @property
    def kind(self) -> str | None:
        """The loss by its full name, where it is given and known."""
        return LOSSES[self.loss].name if self.loss in LOSSES else self.loss


def parse_shorthand(text: str) -> Shorthand:
    """Shorthand: widths, of which the first and the last may be "auto", then activation and loss.

    >>> parse_shorthand("auto-32-3:tanh").widths
    (None, 32, 3)
    """
    widths, *rest = text.split(":")
    if len(rest) > 2:
        raise GraphgradError(f"{text!r} has {len(rest) + 1} parts where {FORM}")
    words = widths.split("-")
    numbers: list[int | None] = []
    for k, word in enumerate(words):
        if word == "auto":
            if 0 < k < len(words) - 1:
                raise GraphgradError(f"{text!r}: the first and the last width may be auto, others are numbers")
            numbers.append(None)
        elif not (word.isascii() and word.isdigit() and word.strip("0")):
            raise GraphgradError(f"{text!r}: the width {word!r} is no whole number from 1 on; {FORM}")
        elif len(word) > 9:
            raise GraphgradError(f"a width of {len(word)} digits is too large")
        else:
            numbers.append(int(word))
    return Shorthand(text, tuple(numbers), *rest)


def parse_network(text: str) -> Network:
    """A network from shorthand; where they are not given, the activation is relu and the loss mean squared error.

    >>> parse_network("64-128-10:tanh:cross_entropy")
    <network 64-128-10: 9610 parameters>
    """
    short = parse_shorthand(text)
    widths = [width for width in short.widths if width is not None]
    if len(widths) < len(short.widths):
        raise GraphgradError(f"{text!r} leaves widths open, which only a table can fill in; numbers are wanted here")
    return feedforward(widths, short.activation, "mean_squared_error" if short.loss is None else short.loss)


def learns_classes(loss: str | None, table: Table, targets: tuple[str, ...]) -> bool:
    """Whether a loss, by its full name, takes the target columns for classes.

    Cross-entropy does. Binary cross-entropy and hinge do where there is one target and it is of text or whole numbers;
    else what they learn is a number for each target.
    """
    if loss in TWO_CLASSES and len(targets) == 1:
        cells = table[targets[0]]
        return table.is_text(targets[0]) or bool((cells[~table.missing(targets[0])] % 1 == 0).all())
    return loss == "cross_entropy"


def fit_network(short: Shorthand, known: Preprocessing, source: str = "the table") -> tuple[Network, Preprocessing]:
    """The network of a shorthand for a table, and the preprocessing with as many classes as the network has.

    Open widths are the numbers of inputs and outputs. An open loss is the mean squared error of numbers, and of classes
    cross-entropy, with an output for each, or where two classes have a last width of 1, binary cross-entropy. Raises
    TableError for widths and losses that do not fit.
    """
    if len(short.widths) < 2:
        raise GraphgradError(f"{short.text!r}: a network has at least two widths, of its input and its output")
    first, last = short.widths[0], short.widths[-1]
    inputs, labels, column = known.inputs, known.labels, listed(known.targets)
    if first not in (None, len(inputs)):
        raise TableError(
            f"{short.text!r}: the first width is {first}, but {source} gives {_count(len(inputs), 'input')} "
            f"({listed(inputs)}); {len(inputs)} or auto would fit"
        )
    loss = short.kind
    if labels is None:
        loss = loss or "mean_squared_error"
        if loss == "cross_entropy":
            raise TableError(f"cross_entropy tells classes apart, but {column} is learned as numbers")
        outputs, told = known.outputs, f"{source} has {_count(known.outputs, 'target column')} ({column})"
    else:
        if loss is None:
            loss = "binary_cross_entropy" if len(labels) == 2 and last == 1 else "cross_entropy"
        if loss != "cross_entropy" and loss not in TWO_CLASSES and loss in LOSSES:
            raise TableError(f"{loss} is of numbers, but column {column!r} is of classes; cross_entropy would fit")
        told = f"column {column!r} has {len(labels)} classes ({listed([repr(label) for label in labels])})"
        if loss in TWO_CLASSES:
            if len(labels) != 2:
                raise TableError(f"{loss} tells two classes apart, but {told}; cross_entropy would fit")
            outputs, told = 1, f"{loss} tells two classes apart by one output"
        elif last is not None and all(isinstance(label, int) and 0 <= label < last for label in labels):
            known = known.with_classes(last)
            outputs = last
        else:
            outputs = len(labels)
    if last not in (None, outputs):
        raise TableError(f"{short.text!r}: the last width is {last}, but {told}; {outputs} or auto would fit")
    hidden = [width for width in short.widths[1:-1] if width is not None]
    return feedforward([len(inputs), *hidden, outputs], short.activation, loss), known


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


__all__ = ["Shorthand", "fit_network", "learns_classes", "parse_network", "parse_shorthand"]
