"""Training on a table from a file, and predicting with what was learned: what the command line does."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from graphgrad.columns import numbers_of
from graphgrad.data import split_rows
from graphgrad.errors import GraphgradError, TableError
from graphgrad.files import write_atomically
from graphgrad.metrics import EarlyStopping
from graphgrad.networks import Network
from graphgrad.operators.losses import LOSSES
from graphgrad.optimizers import Optimizer
from graphgrad.parallel import Processes
from graphgrad.preprocessing import Preprocessing, check_text_target, complete_rows
from graphgrad.reports import classification_report, learning_curves, regression_report
from graphgrad.run import Run, load
from graphgrad.shorthand import TWO_CLASSES, Shorthand, fit_network, learns_classes
from graphgrad.table import Table, listed, read_table
from graphgrad.tensor import Tensor
from graphgrad.training import train
from graphgrad.types import Array, show

MODEL, HISTORY, REPORT, CURVES = "model.safetensors", "history.csv", "report.md", "curves.svg"

DTYPE = "float32"  # of `train`


@dataclass(frozen=True)
class Settings:
    """What was asked for."""

    data: str
    targets: tuple[str, ...]
    optimizer: Optimizer
    out: Path
    epochs: int | None  # None: `enough_epochs`
    batch_size: int  # 0: all rows at once
    validation: float  # the fraction of rows kept aside
    standardize: bool
    seed: int
    classes: bool = False
    missing: str = "error"
    ignore: tuple[str, ...] = ()
    early_stopping: int = 0  # epochs without a better validation loss; 0: never
    balanced: bool = False
    l2: float = 0.0
    clip_norm: float | None = None
    resume: bool = False
    reading: Mapping[str, str] = field(default_factory=dict)  # separator, encoding, decimal
    command: str = ""  # that repeats it


@dataclass(frozen=True, eq=False)
class Prepared:
    """A table as a network takes it."""

    net: Network
    known: Preprocessing
    table: Table
    rows: Array
    aside: Array
    notes: tuple[str, ...] = ()  # what was done with rows and cells

    def arrays(self, rows: Array) -> tuple[Array, Array]:
        """Inputs and targets of some rows. A category that only rows set aside have is none of those learned."""
        return self.known.encode(self.table, rows, unknown="zero", dtype=DTYPE), target_of(
            self.net, self.known, self.table, rows
        )


def fit(net: Network | Tensor | Shorthand, settings: Settings, say: Callable[[str], object], comm: Any = None) -> Run:
    """Train, save and report. Nothing is written before the data are known to fit."""
    processes = Processes(comm)
    first = processes.first
    tell = say if first else lambda text: None
    with processes.checking():
        prepared = prepare(net, settings, tell)
    made = first and not settings.out.exists()
    if first:
        settings.out.mkdir(parents=True, exist_ok=True)
    model = settings.out / MODEL
    try:
        run = train(
            prepared.net,
            *prepared.arrays(prepared.rows),
            optimizer=settings.optimizer,
            batch_size=settings.batch_size or None,
            dtype=DTYPE,
            epochs=settings.epochs or enough_epochs(len(prepared.rows), settings.batch_size),
            seed=settings.seed,
            validation=prepared.arrays(prepared.aside) if len(prepared.aside) else None,
            metrics="r2" if prepared.known.labels is None and prepared.net.threshold is None else (),
            early_stopping=EarlyStopping("validation_loss", settings.early_stopping)
            if settings.early_stopping
            else None,
            class_weight="balanced" if settings.balanced else None,
            l2=settings.l2,
            clip_norm=settings.clip_norm,
            checkpoint=model,
            resume=model if settings.resume else None,
            preprocessing=prepared.known,
            comm=comm,
        )
    except GraphgradError:
        if made and not any(settings.out.iterdir()):
            settings.out.rmdir()
        raise
    if first:
        finish(run, prepared, settings, say)
    return run


def enough_epochs(rows: int, batch_size: int) -> int:
    """Fifty epochs, or as many as make a thousand updates: a small table has few updates in an epoch."""
    batches = -(-rows // batch_size) if batch_size else 1
    return max(50, -(-1000 // batches))


# ---------------------------------------------------------------------------------------------------------------------
# From a table to a network's arrays
# ---------------------------------------------------------------------------------------------------------------------


def prepare(net: Network | Tensor | Shorthand, settings: Settings, say: Callable[[str], object]) -> Prepared:
    """Read the table, part it, learn the preprocessing from the rows to train on, and settle the network."""
    if isinstance(net, Tensor):
        raise GraphgradError(f"{net.name} is a loss alone; train wants a Network, which says its input and target")
    table = read_table(settings.data, ignore=settings.ignore, **settings.reading)
    targets = settings.targets
    loss = net.kind if isinstance(net, Shorthand) else loss_name(net)
    classes = settings.classes or learns_classes(loss, table, targets)
    if isinstance(net, Network) and net.classes is not None:
        classes = True
    kept, notes = complete_rows(table, targets, missing=settings.missing, ignore=settings.ignore)
    if not classes:
        check_text_target(table, targets[0])
    rows, aside = parted(table, kept, classes or table.is_text(targets[0]), settings)
    known = Preprocessing.fit(
        table,
        targets,
        rows,
        classes=classes,
        missing=settings.missing,
        ignore=settings.ignore,
        scale_features=settings.standardize,
        scale_targets=settings.standardize and loss not in TWO_CLASSES,
    )
    if isinstance(net, Shorthand):
        net, known = fit_network(net, known, table.path)
    else:
        known = fit_own(net, known, table)
    if settings.balanced and net.classes is None and (net.threshold is None or len(targets) > 1):
        are = "is" if len(targets) == 1 else "are"
        raise TableError(f"--balanced lets each class count alike, but {listed(targets)} {are} learned as numbers")
    told = [*table.notes, *notes, *known.notes(table, kept)]
    say(f"{table.path}: {counted(len(table), 'row')}, {listed(known.inputs)} -> {listed(targets)}")
    for note in told:
        say(f"  {note}")
    return Prepared(net, known, table, rows, aside, tuple(told))


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def loss_name(net: Network) -> str | None:
    """The loss of a network by its full name, if it is one of the library's."""
    name = net.loss.node.operator.name
    return name if name in LOSSES else None


def parted(table: Table, kept: Array, classes: bool, settings: Settings) -> tuple[Array, Array]:
    """The rows to train on, and those to validate with, of each class alike."""
    if not settings.validation:
        return kept, kept[:0]
    labels = table[settings.targets[0]][kept].astype(str) if classes else None
    if labels is not None and len(set(labels.tolist())) == len(kept) > 1:
        raise TableError(
            f"{table.path}, column {settings.targets[0]!r}: each of {len(kept)} rows has a class of its own, "
            "so none can be set aside; is it the target?"
        )
    train_on, check = split_rows(len(kept), settings.validation, np.random.default_rng(settings.seed), labels)
    if not len(train_on) or not len(check):
        raise TableError(
            f"{table.path} has {counted(len(kept), 'row')}: --validation {settings.validation:g} would "
            f"keep {len(check)} aside and leave {len(train_on)}; --validation 0 trains on all"
        )
    return kept[train_on], kept[check]


def fit_own(net: Network, known: Preprocessing, table: Table) -> Preprocessing:
    """The preprocessing for a network of the user's own. Raises GraphgradError where the table does not fit it."""
    if len(net.inputs) != 1 or net.target is None:
        raise GraphgradError("training on a table wants a network with one input and a target")
    wanted, inputs = net.inputs[0].shape, known.inputs
    if len(wanted) != 2 or wanted[1] != len(inputs):
        raise TableError(
            f"{table.path} gives {counted(len(inputs), 'input')} ({listed(inputs)}), "
            f"but the network's input {net.inputs[0].name} has shape {show(wanted)}"
        )
    if net.classes is not None:
        return known.with_classes(net.classes)
    if known.labels is not None:
        if net.threshold is None:
            raise TableError(
                f"{table.path}: column {listed(known.targets)} is of classes, "
                f"but the network's target {net.target.name} is numbers; a cross_entropy or bce network would fit"
            )
        return known.with_classes(2)
    outputs = net.target.shape[-1] if len(net.target.shape) > 1 else 1
    if known.outputs != outputs:
        raise TableError(
            f"{counted(known.outputs, 'target column')} ({listed(known.targets)}), "
            f"but the network's target {net.target.name} takes {outputs}"
        )
    return known


def target_of(net: Network, known: Preprocessing, table: Table, rows: Array) -> Array:
    """The targets of some rows in the form that the network takes."""
    found = known.encode_target(table, rows, dtype=DTYPE)
    if net.target is None or (known.labels is not None and net.classes is not None):
        return found
    if known.labels is not None:  # two classes by one output: 0 and 1, or -1 and 1
        found = (found if net.threshold else 2 * found - 1).astype(np.float64)
    column = found if found.ndim == 2 else found[:, None]
    return column[:, 0] if len(net.target.shape) == 1 else column


# ---------------------------------------------------------------------------------------------------------------------
# What is written
# ---------------------------------------------------------------------------------------------------------------------


def finish(run: Run, prepared: Prepared, settings: Settings, say: Callable[[str], object]) -> None:
    """Save the model, the history, the curves and the report, and tell of them."""
    out, written = settings.out, [MODEL, HISTORY, REPORT]
    run.save(out / MODEL)
    run.save_history(out / HISTORY)
    rows, which = (prepared.aside, "set aside") if len(prepared.aside) else (prepared.rows, "trained on")
    measured = report(run, prepared.known, prepared.table, rows)
    write_atomically(out / REPORT, "\n".join(report_lines(run, prepared, settings, which, measured)))
    if len(run.history.get("epoch", ())):
        try:
            write_atomically(out / CURVES, learning_curves(run.history))
            written.append(CURVES)
        except GraphgradError as error:
            say(str(error))
    last = {name: column[-1] for name, column in run.history.items() if len(column)}
    if last:
        told = ", ".join(f"{name.replace('_', ' ')} {last[name]:.4g}" for name in last if name not in ("epoch", "rate"))
        say(f"epoch {last['epoch']:g}: {told}")
    if run.interrupted:
        say("interrupted; what was learned until then is saved, and --resume goes on from it")
    elif run.best_epoch is not None:
        ended = "stopped early; " if run.stopped == "early stopping" else ""
        say(f"{ended}the model is that of epoch {run.best_epoch}, which has the best validation loss")
    say(f"saved in {out}: {', '.join(written)}")


def report(run: Run, known: Preprocessing, table: Table, rows: Array) -> str:
    """How good the predictions of some rows are, as Markdown."""
    with np.errstate(all="ignore"):  # of parameters that had grown too large, which was told
        prediction = run.predict(known.encode(table, rows, unknown="zero"))
    if known.labels is None:
        told = known.decode(prediction, run.network.threshold)
        actual = np.stack([numbers_of(table, name)[rows] for name in known.targets], axis=1)
        return regression_report(
            actual, np.stack([told[f"predicted_{n}"] for n in known.targets], axis=1), known.targets
        )
    actual = known.encode_target(table, rows)
    place = {label: k for k, label in enumerate(known.labels)}
    decided = known.decode(prediction, run.network.threshold)[f"predicted_{known.targets[0]}"]
    return classification_report(actual, np.array([place[label] for label in decided]), known.labels)


def report_lines(run: Run, prepared: Prepared, settings: Settings, which: str, measured: str) -> list[str]:
    ended = f"{len(run.history.get('epoch', ()))} epochs" + (f"; stopped: {run.stopped}" if run.stopped else "")
    if run.best_epoch is not None:
        ended += f"; the model is that of epoch {run.best_epoch}"
    rows = f"{len(prepared.rows)} rows trained on, {len(prepared.aside)} set aside"
    return [
        f"# {listed(settings.targets)} from {Path(settings.data).name}",
        "",
        f"{run.network!r} by {settings.optimizer!r}: {ended}. {rows}.",
        *([""] if prepared.notes else []),
        *(f"- {note}" for note in prepared.notes),
        "",
        f"## Rows {which}",
        "",
        measured,
        "## The same again",
        "",
        "```",
        settings.command,
        "```",
        "",
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Predicting
# ---------------------------------------------------------------------------------------------------------------------


def predict(model: str, data: str, unknown: str, reading: Mapping[str, str], say: Callable[[str], object]) -> str:
    """The predictions for a table as CSV, a row for each of its rows. Tells how good they are if the truth is there."""
    run = load(model)
    if run.preprocessing is None:
        raise GraphgradError(
            f"{model} does not tell how a table becomes its input: graphgrad train makes models that do; "
            "in Python, gg.load(path).predict(X) takes arrays"
        )
    try:
        known = Preprocessing.from_json(run.preprocessing)
    except GraphgradError as error:
        raise GraphgradError(f"{model}: {error}") from None
    unfit = None  # why the predictions are not compared with the target: they are as good as ever
    try:
        table = known.read_table(data, **reading)
    except TableError as error:
        table, unfit = known.read_table(data, ignore=known.targets, **reading), error
    X = known.encode(table, unknown=unknown, dtype=next(iter(run.parameters.values())).dtype.name)
    if run.network.inputs[0].shape[1:] != (X.shape[1],):
        raise GraphgradError(f"{model} is broken: its network takes other inputs than its preprocessing gives")
    found = known.decode(run.predict(X), run.network.threshold)
    for note in (*table.notes, *known.notes(table)):
        say(f"  {note}")
    if all(name in table.columns and not table.missing(name).any() for name in known.targets):
        try:  # the first paragraph of classes is how many are right, the second of numbers is a table of the errors
            told = report(run, known, table, np.arange(len(table))).split("\n\n")
            say(told[0 if known.labels is not None else 1])
        except TableError as error:
            unfit = error
    if unfit is not None:
        say(f"  The predictions are not compared with {listed(known.targets)}: {unfit}")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(found)
    writer.writerows(zip(*([_shown(v) for v in column] for column in found.values()), strict=True))
    return text.getvalue()


def _shown(value: Any) -> Any:
    return f"{value:.7g}" if isinstance(value, float) else value
