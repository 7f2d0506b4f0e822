"""From a table's columns to the numbers that a network takes, and from its predictions back to labels and units.

What is learned from a table (means, categories, labels) is a `Preprocessing`. It is saved with the network, so that
files that come later are encoded as the one that was trained on.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphgrad import columns
from graphgrad.columns import Categories, Classes, Numbers
from graphgrad.errors import GraphgradError, TableError
from graphgrad.table import MISSING, Table, listed, number_text, read_columns, shown
from graphgrad.types import Array

#: What is done about missing cells.
MODES = ("error", "drop", "impute")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a table's columns become a network's inputs and targets, and predictions become labels or numbers.

    >>> y = np.array(["no", "yes"], object)
    >>> table = Table("t.csv", {"x": np.array([1.0, 3.0]), "y": y}, lines=np.array([2, 3]))
    >>> known = Preprocessing.fit(table, ["y"])
    >>> known.encode(table).tolist(), known.encode_target(table).tolist()
    ([[-1.0], [1.0]], [0, 1])
    >>> known.decode([[0.25, 0.75]])
    {'predicted_y': ['yes'], 'probability_no': [0.25], 'probability_yes': [0.75]}
    """

    features: tuple[Numbers | Categories, ...]
    target: Classes | tuple[Numbers, ...]
    missing_cells: tuple[str, ...] = MISSING

    @classmethod
    def fit(
        cls,
        table: Table,
        targets: Sequence[str],
        rows: Array | None = None,
        *,
        classes: bool = False,
        missing: str = "error",
        ignore: Sequence[str] = (),
        scale_features: bool = True,
        scale_targets: bool = True,
    ) -> Preprocessing:
        """Learn from some rows of a table, those that are trained on, or from all.

        All columns but `targets` and those in `ignore` are features. Numbers, features and targets, are standardized
        where `scale_features` and `scale_targets` say so; text is one-hot. A target of text is of classes, and so is
        one of whole numbers with `classes`; text that looks like numbers, as "1,000", is so only with `classes`. With
        missing="impute" a feature's missing cell is taken for the median of its column, or for its most frequent text;
        else a missing cell is an error, here and in files that come later (`complete_rows` finds the rows without).
        Raises TableError, which names the column, for what cannot be learned.
        """
        names = feature_names(table, targets, ignore)
        rows = _rows(table, rows)
        if not len(rows):
            raise TableError(f"{table.path}: no row is left to train on")
        impute = _mode(missing) == "impute"
        _check_complete(table, [*targets, *(() if impute else names)], rows)
        features = tuple(
            (Categories if table.is_text(name) else Numbers).fit(table, name, rows, scale=scale_features, impute=impute)
            for name in names
        )
        target: Classes | tuple[Numbers, ...]
        if classes or any(table.is_text(name) for name in targets):
            if len(targets) > 1:
                name = next((name for name in targets if table.is_text(name)), targets[0])
                raise TableError(
                    f"{table.path}: {len(targets)} targets are learned as numbers, but column {name!r} is of classes"
                )
            if not classes:
                check_text_target(table, targets[0])
            target = Classes.fit(table, targets[0], rows)
        else:
            target = tuple(Numbers.fit(table, name, rows, scale=scale_targets, impute=False) for name in targets)
        return cls(features, target, table.missing_cells)

    def with_classes(self, count: int) -> Preprocessing:
        """The same for a network that tells `count` classes apart.

        Labels that are whole numbers below `count` may be fewer, as where a class has no row: then they are made to be
        0 to count - 1. Raises TableError where they do not fit.
        """
        labels, name = self.labels, listed(self.targets)
        if labels is None:
            raise TableError(f"the network tells {count} classes apart, but {name} is learned as numbers")
        if len(labels) < count and all(isinstance(label, int) and 0 <= label < count for label in labels):
            return dataclasses.replace(self, target=Classes(name, tuple(range(count))))
        if len(labels) != count:
            told = listed([repr(label) for label in labels])
            raise TableError(f"the network tells {count} classes apart, but column {name!r} has {len(labels)}: {told}")
        return self

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the target columns."""
        return (self.target.column,) if isinstance(self.target, Classes) else tuple(t.column for t in self.target)

    @property
    def labels(self) -> columns.Labels | None:
        """The labels of the classes, in order; None where the targets are numbers."""
        return self.target.labels if isinstance(self.target, Classes) else None

    @property
    def inputs(self) -> tuple[str, ...]:
        """What each of the network's inputs is: "age", "town=Bern", "town=Uster"."""
        return tuple(name for f in self.features for name in f.names)

    @property
    def outputs(self) -> int:
        """The number of classes, or of target columns."""
        return len(self.target.labels if isinstance(self.target, Classes) else self.target)

    # -----------------------------------------------------------------------------------------------------------------
    # Tables to numbers, and back
    # -----------------------------------------------------------------------------------------------------------------

    def read_table(self, path: str | os.PathLike[str], **options: Any) -> Table:
        """A table from another file, its columns read as text where they were text in training; others are ignored.

        `options` are those of `graphgrad.data.read_table`: separator, encoding and decimal.
        """
        text = [f.column for f in self.features if isinstance(f, Categories)]
        if self.labels and isinstance(self.labels[0], str):
            text += self.targets
        used = {*(f.column for f in self.features), *self.targets}
        return read_columns(path, missing=self.missing_cells, text=frozenset(text), only=used, **options)

    def encode(
        self, table: Table, rows: Array | None = None, *, unknown: str = "error", dtype: str = "float64"
    ) -> Array:
        """The network's input, (rows, inputs). Columns are found by name; others are left aside.

        Raises TableError, which names line and column, for a missing cell where none is imputed, and for a category
        that training did not see; with unknown="zero" such a category's numbers are all 0. The numbers are float64;
        with dtype="float32" one too large for that is an error too.
        """
        if unknown not in ("error", "zero"):
            raise GraphgradError(f"unknown is 'error' or 'zero', but {unknown!r} was given")
        rows = _rows(table, rows)
        encoded = np.concatenate([f.encode(table, rows, unknown) for f in self.features], axis=1)
        _check_size(table, [f.column for f in self.features for _ in f.names], rows, encoded, dtype)
        return encoded

    def encode_target(self, table: Table, rows: Array | None = None, *, dtype: str = "float64") -> Array:
        """Classes as (rows,) of int64, or numbers as (rows, targets). Raises TableError as `encode` does."""
        rows = _rows(table, rows)
        _check_complete(table, self.targets, rows)
        if isinstance(self.target, Classes):
            return self.target.encode(table, rows)
        encoded = np.concatenate([t.encode(table, rows) for t in self.target], axis=1)
        _check_size(table, self.targets, rows, encoded, dtype)
        return encoded

    def decode(self, prediction: Any, threshold: float | None = None) -> dict[str, list[Any]]:
        """Predictions as columns: "predicted_y" for each target, and for each label of a class "probability_LABEL".

        `prediction` is (rows, outputs), of classes their probabilities. It may be (rows,) or (rows, 1) for two classes:
        the second of them where it is above `threshold`, whose probability it is where the threshold is 1/2.
        """
        p = np.asarray(prediction, np.float64)
        p = p[:, None] if p.ndim == 1 else p
        single = self.labels is not None and len(self.labels) == 2 and p.shape[1:] == (1,)
        if p.ndim != 2 or not (single or p.shape[1] == self.outputs):
            raise GraphgradError(f"predictions are (rows, {self.outputs}), but {np.shape(prediction)} was given")
        if not isinstance(self.target, Classes):
            return {f"predicted_{t.column}": t.decode(p[:, k]).tolist() for k, t in enumerate(self.target)}
        level = 0.5 if threshold is None else threshold
        chosen = (p[:, 0] > level).astype(int) if single else np.argmax(p, axis=1)
        found: dict[str, list[Any]] = {f"predicted_{self.target.column}": [self.target.labels[k] for k in chosen]}
        if single and level == 0.5:
            p = np.concatenate([1 - p, p], axis=1)
        if p.shape[1] == self.outputs and (p >= 0).all() and (np.abs(p.sum(axis=1) - 1) < 1e-3).all():
            found |= {f"probability_{label}": p[:, k].tolist() for k, label in enumerate(self.target.labels)}
        return found

    # -----------------------------------------------------------------------------------------------------------------
    # What is to be told
    # -----------------------------------------------------------------------------------------------------------------

    def notes(self, table: Table, rows: Array | None = None) -> tuple[str, ...]:
        """A sentence for each column of which cells are imputed, or have a category that training did not see."""
        rows, told = _rows(table, rows), []
        for f in self.features:
            count = int(table.missing(f.column)[rows].sum())
            if count and f.fill is not None:
                fill = f"median, {number_text(f.fill)}" if isinstance(f, Numbers) else f"most frequent, {shown(f.fill)}"
                told.append(f"column {f.column!r}: {count} missing cell{'s' * (count != 1)} taken for the {fill}")
            if isinstance(f, Categories):
                known = {None, *f.categories}
                if others := [c for c in columns.texts_of(table, f.column, rows) if c not in known]:
                    names = listed([shown(str(c)) for c in dict.fromkeys(others)], 3)
                    cells = f"{len(others)} cell{'s' * (len(others) != 1)}"
                    told.append(f"column {f.column!r}: {cells} of a category not seen in training: {names}")
        return tuple(told)

    # -----------------------------------------------------------------------------------------------------------------
    # As JSON
    # -----------------------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Plain mappings, lists, texts and numbers; JSON keeps each float exactly."""
        targets = (self.target,) if isinstance(self.target, Classes) else self.target
        return {
            "version": 1,
            "features": [columns.to_json(f) for f in self.features],
            "targets": [columns.to_json(t) for t in targets],
            "missing_cells": list(self.missing_cells),
        }

    @classmethod
    def from_json(cls, data: Any) -> Preprocessing:
        """Read back what `to_json` gives. Raises GraphgradError for anything else."""
        fields = ("version", "features", "targets", "missing_cells")
        if not isinstance(data, dict) or data.keys() != set(fields):
            raise GraphgradError(f"no preprocessing: a mapping of {', '.join(fields)} is wanted")
        if data["version"] != 1:
            raise GraphgradError(f"the preprocessing has version {data['version']!r}; version 1 can be read")
        for name in ("features", "targets"):
            if not isinstance(data[name], list) or not data[name]:
                raise GraphgradError(f"the preprocessing's {name} are no list of columns")
        features: tuple[Any, ...] = tuple(
            columns.from_json(f, ("numbers", "categories"), f"features[{k}]") for k, f in enumerate(data["features"])
        )
        kinds = ("numbers", "classes") if len(data["targets"]) == 1 else ("numbers",)
        targets: tuple[Any, ...] = tuple(
            columns.from_json(t, kinds, f"targets[{k}]") for k, t in enumerate(data["targets"])
        )
        names = [c.column for c in (*features, *targets)]
        if len(set(names)) < len(names):
            raise GraphgradError("the preprocessing has two columns of one name")
        target = targets[0] if isinstance(targets[0], Classes) else targets
        return cls(features, target, columns.texts(data["missing_cells"], "missing_cells"))


# ---------------------------------------------------------------------------------------------------------------------
# Columns and rows
# ---------------------------------------------------------------------------------------------------------------------


def feature_names(table: Table, targets: Sequence[str], ignore: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns that are neither targets nor ignored. Raises TableError for names that the table does not have."""
    if not targets:
        raise TableError(f"{table.path}: no target was given; it has {listed(table.names)}")
    if len(set(targets)) != len(targets):
        raise TableError(f"the target {next(t for t in targets if list(targets).count(t) > 1)!r} was given twice")
    if both := [name for name in targets if name in ignore]:
        raise TableError(f"column {both[0]!r} is a target, so it cannot be ignored")
    for name in (*targets, *(name for name in ignore if name not in table.ignored)):
        table[name]
    names = tuple(name for name in table.names if name not in targets and name not in ignore)
    if not names:
        raise TableError(
            f"{table.path} has no columns besides {listed([*targets, *ignore])}: nothing is left to predict from"
        )
    return names


def check_text_target(table: Table, target: str) -> None:
    """Raises TableError for a target of text that was meant as numbers, as far as can be seen."""
    if target in table.like_numbers:
        raise TableError(f"{table.path}: {table.like_numbers[target]}; classes=True learns such texts as classes")


def complete_rows(
    table: Table, targets: Sequence[str], *, missing: str = "error", ignore: Sequence[str] = ()
) -> tuple[Array, tuple[str, ...]]:
    """The rows that can be trained on, and a sentence on those that cannot.

    With missing="error" that is all rows, and TableError where a cell is missing in a feature or target. With "drop" it
    is the rows without missing cells, with "impute" those without missing targets.
    """
    names, everything = feature_names(table, targets, ignore), np.arange(len(table))
    if _mode(missing) == "error":
        _check_complete(table, [*names, *targets], everything)
        return everything, ()
    asked = [*targets, *(names if missing == "drop" else ())]
    gone = np.any([table.missing(name) for name in asked], axis=0)
    if gone.all():
        raise TableError(f"{table.path}: every row has a missing cell in {listed(asked)}, so none is left")
    if not gone.any():
        return everything, ()
    each = [f"{name!r} ({count})" for name in asked if (count := int(table.missing(name).sum()))]
    rows = f"{gone.sum()} of {len(table)} rows left out, as cells are missing in {listed(each)}"
    return everything[~gone], (rows,)


def _mode(missing: str) -> str:
    if missing not in MODES:
        raise GraphgradError(f"missing is 'error', 'drop' or 'impute', but {missing!r} was given")
    return missing


def _check_complete(table: Table, names: Sequence[str], rows: Array) -> None:
    """Raises TableError for the first missing cell."""
    gone = np.array([table.missing(name)[rows] for name in names])
    if gone.any():
        count = int(gone.any(axis=0).sum())
        row, column = (int(i) for i in np.argwhere(gone.T)[0])
        raise TableError(
            f"{table.where(rows[row], names[column])}: the cell is missing, as in {count} of {len(rows)} rows; "
            "missing='drop' leaves such rows out, missing='impute' takes a feature's missing cell for the median, "
            "or the most frequent text"
        )


def _check_size(table: Table, names: Sequence[str], rows: Array, encoded: Array, dtype: str) -> None:
    """Raises TableError for the first number that is infinite in a dtype. `names` are those of `encoded`'s columns."""
    with np.errstate(over="ignore"):
        fits = np.isfinite(encoded.astype(dtype))
    if not fits.all():
        row, k = (int(i) for i in np.argwhere(~fits)[0])
        value = float(columns.numbers_of(table, names[k])[rows[row]])
        told = f"{value:g} is too large for {dtype}, in which the network computes"
        raise TableError(f"{table.where(rows[row], names[k])}: {told}")


def _rows(table: Table, rows: Array | None) -> Array:
    return np.arange(len(table)) if rows is None else np.asarray(rows)


__all__ = ["MODES", "Preprocessing", "check_text_target", "complete_rows", "feature_names"]
