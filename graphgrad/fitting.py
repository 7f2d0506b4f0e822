"""Training on a table from a file: what `graphgrad train` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graphgrad.data import split
from graphgrad.errors import GraphgradError
from graphgrad.files import write_atomically
from graphgrad.networks import Network
from graphgrad.optimizers import Optimizer
from graphgrad.preprocessing import complete_rows, feature_names
from graphgrad.samples import check_target
from graphgrad.table import Table, TableError, listed, read_table
from graphgrad.tensor import Tensor
from graphgrad.training import Run, train
from graphgrad.types import Array, show


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for."""

    data: str
    targets: tuple[str, ...]
    optimizer: Optimizer
    out: Path
    epochs: int
    batch_size: int  # 0: all rows at once
    validation: float  # the fraction of rows kept aside
    standardize: bool
    seed: int


def fit(net: Network | Tensor, settings: Settings, say: Callable[[str], object]) -> Run:
    """Train, save and report. Nothing is written before training is over."""
    if not isinstance(net, Network):
        raise GraphgradError(f"{net.name} is a loss alone; train wants a Network, which says its input and target")
    table = read_table(settings.data)
    X, Y, features = columns(net, table, settings.targets)
    scaling: dict[str, Array] = {}
    aside = round(settings.validation * len(X))
    if settings.validation and not 0 < aside < len(X):
        raise TableError(
            f"{table.path} has {len(X)} row{'s' * (len(X) != 1)}: --validation {settings.validation:g} would keep "
            f"{aside} aside and leave {len(X) - aside}; --validation 0 trains on all"
        )
    parts = split(X, Y, settings.validation, settings.seed) if settings.validation else None
    if settings.standardize:
        seen = X if parts is None else parts.X
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = seen.mean(axis=0), seen.std(axis=0)
        for name, fits in zip(features, np.isfinite(mean) & np.isfinite(deviation), strict=True):
            if not fits:
                raise TableError(f"{table.path}, column {name!r}: its numbers are too large to be standardized")
        scaling = {"x.mean": mean, "x.scale": np.where(deviation == 0, 1.0, deviation)}

    def scaled(x: Array) -> Array:
        return (x - scaling["x.mean"]) / scaling["x.scale"] if scaling else x

    trained_on = (scaled(X), Y) if parts is None else (scaled(parts.X), parts.Y)
    say(f"{table.path}: {len(X)} rows, {listed(features)} -> {', '.join(settings.targets)}")
    run = train(
        net,
        *trained_on,
        optimizer=settings.optimizer,
        batch_size=settings.batch_size or None,
        epochs=settings.epochs,
        seed=settings.seed,
        validation=None if parts is None else (scaled(parts.X_test), parts.Y_test),
    )
    settings.out.mkdir(parents=True, exist_ok=True)
    save(run, scaling, settings.out)
    report(run, settings.out, say)
    return run


def columns(net: Network, table: Table, targets: tuple[str, ...]) -> tuple[Array, Array, tuple[str, ...]]:
    """The table's columns as the network takes them. Raises TableError where their numbers do not fit."""
    if len(net.inputs) != 1 or net.target is None:
        raise GraphgradError("training on a table wants a network with one input and a target")
    features = feature_names(table, targets)
    for name in (*features, *targets):
        if table.is_text(name):
            raise TableError(f"{table.path}, column {name!r}: this is text, where numbers are wanted")
    complete_rows(table, targets)
    X, Y = (np.stack([table[name] for name in names], axis=1) for names in (features, targets))
    wanted = net.inputs[0].shape
    if len(wanted) != 2 or wanted[1] != len(features):
        raise TableError(
            f"{table.path} has {len(features)} feature column{'s' * (len(features) != 1)} ({listed(features)}), "
            f"but the network's input {net.inputs[0].name} has shape {show(wanted)}"
        )
    rank, outputs = len(net.target.shape), net.target.shape[-1] if len(net.target.shape) > 1 else 1
    if len(targets) != outputs:
        raise TableError(
            f"{len(targets)} target column{'s' * (len(targets) != 1)} ({listed(targets)}), "
            f"but the network's target {net.target.name} takes {outputs}"
        )
    check_target(net, Y, f"{table.path}, column {listed(targets)}")
    if net.target.dtype == "int64" and net.classes is not None:
        return X, classes(table, targets[0], net.classes), features
    return X, Y[:, 0] if rank == 1 else Y, features


def classes(table: Table, target: str, count: int) -> Array:
    """A column of class labels as int64: whole numbers from 0 to count - 1."""
    for row, value in enumerate(table[target]):
        if value != int(value) or not 0 <= value < count:
            raise TableError(
                f"{table.where(row, target)}: {value:g} is no class; "
                f"the network has {count} outputs, so classes are the whole numbers 0 to {count - 1}"
            )
    return table[target].astype(np.int64)


def save(run: Run, scaling: dict[str, Array], out: Path) -> None:
    """The parameters (with the scaling, if there is one) and the history."""
    from safetensors.numpy import save as to_bytes

    arrays = {name: np.ascontiguousarray(a) for name, a in {**run.parameters, **scaling}.items()}
    write_atomically(out / "parameters.safetensors", to_bytes(arrays))
    names = list(run.history) or ["epoch", "loss"]
    rows = zip(*(run.history.get(name, []) for name in names), strict=True)
    lines = [",".join(names), *(",".join(f"{value:.8g}" for value in row) for row in rows)]
    write_atomically(out / "history.csv", "\n".join(lines) + "\n")


def report(run: Run, out: Path, say: Callable[[str], object]) -> None:
    last = {name: values[-1] for name, values in run.history.items() if values}
    if last:
        told = ", ".join(f"{name.replace('_', ' ')} {last[name]:.4g}" for name in last if name not in ("epoch", "rate"))
        say(f"epoch {last['epoch']:g}: {told}")
    if run.interrupted:
        say(f"interrupted after {run.trainer.k} steps; what was learned until then is saved")
    say(f"saved {out / 'parameters.safetensors'} and {out / 'history.csv'}")


__all__ = ["Settings", "fit"]
