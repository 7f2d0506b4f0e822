"""How good predictions are: reports of classes and of numbers as Markdown, and learning curves as SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphgrad.errors import GraphgradError
from graphgrad.metrics import METRICS
from graphgrad.types import Array

#: A confusion matrix of more classes is told by its largest errors.
MATRIX = 20

MEASURES = {
    "r2": "R²",
    "mean_absolute_error": "mean absolute error",
    "root_mean_squared_error": "root mean squared error",
}

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)

# ---------------------------------------------------------------------------------------------------------------------
# Classes
# ---------------------------------------------------------------------------------------------------------------------


def confusion_matrix(actual: Any, predicted: Any, classes: int) -> Array:
    """How many samples of each class (a row) were taken for each class (a column), of int64.

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], 2).tolist()
    [[1, 1], [0, 1]]
    """
    a, p = _pair(actual, predicted, 1)
    for name, given in (("actual", a), ("predicted", p)):
        if given.dtype.kind not in "iu" or given.min() < 0 or given.max() >= classes:
            raise GraphgradError(f"{name} is of classes, whole numbers from 0 to {classes - 1}, but others were given")
    return np.bincount(a.astype(np.int64) * classes + p, minlength=classes * classes).reshape(classes, classes)


def precision_and_recall(confusion: Array) -> tuple[Array, Array]:
    """For each class: the part of what was taken for it that is it, and the part of it that was taken for it.

    NaN where nothing was taken for a class, or nothing is of it.
    """
    right = np.diag(confusion).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return right / confusion.sum(axis=0), right / confusion.sum(axis=1)


def residual_quantiles(actual: Any, predicted: Any, at: Sequence[float] = QUANTILES) -> Array:
    """The quantiles of y - ŷ, in the units of y, interpolated."""
    a, p = _pair(actual, predicted, 1)
    return np.asarray(np.quantile(a - p, at))


# ---------------------------------------------------------------------------------------------------------------------
# Reports
# ---------------------------------------------------------------------------------------------------------------------


def classification_report(actual: Any, predicted: Any, labels: Sequence[Any]) -> str:
    """Accuracy, precision and recall of each class, and what was taken for what, as Markdown.

    `actual` and `predicted` are classes from 0, `labels` their names.
    """
    names = [str(label) for label in labels]
    confusion = confusion_matrix(actual, predicted, len(names))
    total, right = int(confusion.sum()), int(np.trace(confusion))
    often = int(np.argmax(confusion.sum(axis=1)))
    rows = [
        [name, _share(precision), _share(recall), str(count)]
        for name, precision, recall, count in zip(
            names, *precision_and_recall(confusion), confusion.sum(axis=1), strict=True
        )
    ]
    parts = [
        f"Accuracy: {right / total:.1%} ({right} of {total}). Always saying {_cell(names[often])}, the most frequent "
        f"class, would be right in {confusion[often].sum() / total:.1%}.",
        _table(["class", "precision", "recall", "samples"], rows),
    ]
    if len(names) <= MATRIX:
        matrix = [[name, *map(str, row)] for name, row in zip(names, confusion.tolist(), strict=True)]
        parts += ["Rows are the actual classes, columns the predicted ones:", _table(["", *names], matrix)]
    else:
        wrong = confusion - np.diag(np.diag(confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:MATRIX]
        pairs = [divmod(int(k), len(names)) for k in order if wrong.flat[k]]
        matrix = [[names[i], names[j], str(wrong[i, j])] for i, j in pairs]
        parts += ["The most frequent errors:", _table(["actual", "predicted", "samples"], matrix)] if pairs else []
    return "\n\n".join(parts) + "\n"


def regression_report(actual: Any, predicted: Any, names: Sequence[str]) -> str:
    """R², mean absolute and root mean squared error and the residuals' quantiles of each target, as Markdown.

    `actual` and `predicted` are (samples, targets), in the units of the targets. R² of equal numbers is left out.
    """
    a, p = _pair(actual, predicted, 2)
    if a.shape[1] != len(names):
        raise GraphgradError(f"there are {a.shape[1]} targets, but {len(names)} names")
    columns = list(zip(names, a.T, p.T, strict=True))
    measures = [
        [name, *[_number(math.nan if m == "r2" and np.ptp(y) == 0 else METRICS[m].measure(q, y)) for m in MEASURES]]
        for name, y, q in columns
    ]
    quantiles = [[name, *map(_number, residual_quantiles(y, q))] for name, y, q in columns]
    header = ["residuals", "least", *[f"{q:.0%}" for q in QUANTILES[1:-1]], "largest"]
    return (
        "\n\n".join(
            [
                f"{len(a)} samples.",
                _table(["target", *MEASURES.values()], measures),
                "Residuals are actual less predicted values:",
                _table(header, quantiles),
            ]
        )
        + "\n"
    )


def _pair(actual: Any, predicted: Any, rank: int) -> tuple[Array, Array]:
    a, p = np.asarray(actual), np.asarray(predicted)
    if a.shape != p.shape or a.ndim != rank or not a.size:
        raise GraphgradError(
            f"actual and predicted values are two arrays of one shape, of rank {rank}, "
            f"but {a.shape} and {p.shape} were given"
        )
    return a, p


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, of names to the left and numbers to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in (header, rule, *rows))


def _cell(text: str) -> str:
    """Text as it stands in a cell: of one line, and without a bar or a mark-up of its own."""
    text = " ".join(text.split())
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>#|~&$" else c for c in text)


def _share(part: float) -> str:
    return "-" if math.isnan(part) else f"{part:.1%}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


# ---------------------------------------------------------------------------------------------------------------------
# Learning curves
# ---------------------------------------------------------------------------------------------------------------------


def learning_curves(history: Mapping[str, Any]) -> str:
    """The columns of a history over its epochs, as SVG: a panel for each, with the validation's beside it.

    `history` maps names to columns of one length: "epoch" and others, such as "loss", "rate", "validation_loss". The
    same history gives the same bytes. Raises GraphgradError without matplotlib.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise GraphgradError(
            "learning curves are drawn by matplotlib, which is not installed: pip install 'graphgrad[plot]'"
        ) from None
    columns = {name: np.asarray(values, np.float64) for name, values in history.items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise GraphgradError(f"the columns of a history are of one length, but {lengths} were given")
    epochs = columns.pop("epoch", np.arange(1, max(lengths.values(), default=0) + 1))
    panels = list(dict.fromkeys(name.removeprefix("validation_") for name in columns))
    if "rate" in panels and len(panels) > 1 and len(set(columns["rate"].tolist())) == 1:
        panels.remove("rate")  # a level line tells nothing
    if not panels or not len(epochs):
        raise GraphgradError("this history is empty: there is nothing to draw")
    with matplotlib.rc_context({"svg.hashsalt": "graphgrad", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4, 2.4 * len(panels)), layout="constrained")
        for axes, panel in zip(figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0], panels, strict=True):
            drawn = [(name, columns[name]) for name in (panel, f"validation_{panel}") if name in columns]
            for name, values in drawn:
                style, label = ("C0-", "training") if name == panel else ("C1--", "validation")
                marker = "o" if len(epochs) == 1 else ""
                finite = np.where(np.isfinite(values), values, np.nan)
                axes.plot(epochs, finite, style, marker=marker, label=label, gid=name)
            every = np.concatenate([values[np.isfinite(values)] for _, values in drawn])
            if len(every) and every.min() > 0 and every.max() > 10 * every.min():
                axes.set_yscale("log")
            axes.set_ylabel(panel.replace("_", " "), parse_math=False)
            if len(drawn) > 1 or drawn[0][0] != panel:
                axes.legend()
        axes.set_xlabel("epoch")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


__all__ = [
    "classification_report",
    "confusion_matrix",
    "learning_curves",
    "precision_and_recall",
    "regression_report",
    "residual_quantiles",
]
