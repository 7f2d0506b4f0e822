"""Training a network: `train`, its arguments checked, around the loop."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from graphgrad.dataset import SAMPLINGS, Dataset, dataset
from graphgrad.errors import GraphgradError
from graphgrad.files import as_path, remove_leftovers
from graphgrad.loop import Callback, Loop
from graphgrad.metrics import EarlyStopping, Measure, Metric, measured_columns, named
from graphgrad.model_file import ModelError, content_of, model_from, network_to_dict, optimizer_to_dict
from graphgrad.networks import Network
from graphgrad.optimizers import Optimizer
from graphgrad.parallel import Processes
from graphgrad.preprocessing import Preprocessing
from graphgrad.progress import Log
from graphgrad.run import Run
from graphgrad.samples import Data, fingerprint
from graphgrad.table import Table
from graphgrad.trainer import Trainer
from graphgrad.types import whole


def train(
    net: Network,
    X: Data,
    Y: Data = None,
    *,
    optimizer: Optimizer | None = None,
    batch_size: int | None = 64,
    epochs: int = 20,
    seed: int = 0,
    parameters: Mapping[str, Any] | None = None,
    validation: tuple[Data, Data] | float | None = None,
    stratify: bool = False,
    metrics: str | Measure | Iterable[str | Measure] = (),
    early_stopping: EarlyStopping | str | None = None,
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | str | None = None,
    sampling: str = "shuffle",
    l2: float | Mapping[str, float] = 0.0,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    callbacks: Callback | Iterable[Callback] = (),
    progress: bool | None = None,
    log: str | os.PathLike[str] | None = None,
    record: bool | int = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    dtype: str = "float32",
    exact: bool = False,
    memory: str = "fast",
    threads: int | None = None,
    preprocessing: Preprocessing | Mapping[str, Any] | None = None,
    comm: Any = None,
) -> Run:
    """Train a network on samples X with targets Y, by Adam unless told otherwise. The same seed gives the same bytes.

    **Batches.** Each epoch goes through a random partition of the samples, the last batch smaller;
    `sampling="lecture"` parts them once, and takes a batch of the partition at random in each iteration.
    `batch_size=None` is one batch of all. X and Y may be larger than memory: files mapped into it (`numpy.memmap`), or
    what has a `shape` and is read by slices of rows (`h5py.Dataset`, `zarr.Array`, a class of your own).

    **Validation.** A pair (Xv, Yv), or the fraction of samples to set aside, of each class alike with `stratify`.
    `metrics` are names (accuracy, balanced_accuracy, f1, mse, rmse, mae, max_error, r2) or functions of predictions and
    targets; without validation data they are of the samples that are trained on. Weights do not enter validation and
    metrics: each sample counts alike, of a fraction set aside too. `early_stopping` is a column of the history, or an
    `EarlyStopping`; the run then has the parameters of the best epoch.

    **Loss and gradients.** `sample_weight` has a number for each sample, `class_weight` one for each label, or is
    "balanced", which counts the samples that are trained on. `l2`, `clip_value` and `clip_norm` are those of
    `graphgrad.objective.Gradients`.

    **While it runs.** `progress` shows a bar (by default on a terminal). `callbacks` are called with (trainer, record)
    after each epoch; one that returns True ends training. `log` is a file of JSON lines, one for each epoch.
    `record=True` keeps the parameters before each step, or a number n before each n-th, for `gg.explain`. Ctrl-C ends
    training after the step at hand: what was learned is returned. Where a number is no longer finite, training stops
    with the last parameters whose loss was finite, and a warning that says which value was the first and where it
    comes from.

    **Nothing lost.** `checkpoint` is a file that is written after each epoch, or every `checkpoint_every` updates, and
    on Ctrl-C. `resume` goes on from such a file, or from one that `run.save` wrote, to the same bytes as a run that was
    never stopped; if it is the checkpoint itself, it may be missing at first. `preprocessing`, that of a table or a
    mapping of plain JSON types, is stored with them: it tells how samples are made.

    **Machine.** `threads` limits the BLAS: on small networks one thread is the fastest. `comm` is mpi4py's
    MPI.COMM_WORLD: several processes, all given the same, share each batch; the first one writes. `dtype`, `exact` and
    `memory` are those of `Trainer`.

    Raises GraphgradError for data and settings that do not fit.

    >>> import graphgrad as gg, numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> run = gg.train(gg.feedforward([2, 16, 1]), X, X[:, :1] * X[:, 1:], epochs=100, validation=0.2, metrics="r2")
    >>> list(run.history)
    ['epoch', 'loss', 'rate', 'validation_loss', 'validation_r2']
    """
    processes = Processes(comm)
    with processes.checking():
        if batch_size is not None:
            whole("batch_size", batch_size, 1)
        whole("epochs", epochs, 0)
        whole("seed", seed, 0)
        if sampling not in SAMPLINGS:
            raise GraphgradError(f"sampling {sampling!r} does not exist; there are: {', '.join(SAMPLINGS)}")
        if checkpoint_every is not None:
            whole("checkpoint_every", checkpoint_every, 1)
            if checkpoint is None:
                raise GraphgradError("checkpoint_every says how often, but not where: checkpoint=path does")
        _check_files(checkpoint=checkpoint, resume=resume, log=log)
        every = None if record is False else 1 if record is True else whole("record", record, 1)
        called = _callbacks(callbacks)
        for name, value in (("X", X), ("Y", Y)):
            if isinstance(value, Table):
                raise GraphgradError(
                    f"{name} is a table, but a network takes arrays: known = Preprocessing.fit(table, targets) of "
                    "graphgrad.preprocessing makes them, as known.encode(table) and known.encode_target(table)"
                )
        trainer = Trainer(
            net,
            optimizer,
            dtype=dtype,
            seed=seed,
            parameters=parameters,
            exact=exact,
            memory=memory,
            l2=l2,
            clip_value=clip_value,
            clip_norm=clip_norm,
            weighted=sample_weight is not None or class_weight is not None,
            processes=processes if processes.size > 1 else None,
        )
        if net.batch is None and (batch_size is not None or processes.size > 1):
            raise GraphgradError(
                "the inputs and the target share no named size as first dimension, so batches cannot be cut: "
                + ("batch_size=None would fit" if processes.size == 1 else "one process trains alone")
            )
        chosen = named(net, metrics)
        n = len(net.inputs) + (net.target is not None)
        data = dataset(
            trainer.graph.inputs[:n],
            net,
            X,
            Y,
            validation=validation,
            stratify=stratify,
            sample_weight=sample_weight,
            class_weight=class_weight,
            seed=seed,
        )
        kept = checkpoint is not None or resume is not None
        stopping = _stopping(early_stopping, trainer, data, chosen)
        settings = {
            "optimizer": optimizer_to_dict(trainer.optimizer),
            "dtype": dtype,
            "exact": exact,
            "memory": memory,
            "l2": dict(l2) if isinstance(l2, Mapping) else l2,
            "clip_value": clip_value,
            "clip_norm": clip_norm,
            "weighted": data.weights is not None,
            "batch_size": batch_size,
            "sampling": sampling,
            "seed": seed,
            "metrics": [m.name for m in chosen],
            "early_stopping": None if stopping is None else asdict(stopping),
            "data": data.fingerprint() if kept or processes.size > 1 else None,
        }
        settings = {name: _json(value) for name, value in settings.items()}
        loop = Loop(
            trainer=trainer,
            data=data,
            processes=processes,
            settings=settings,
            epochs=epochs,
            batch_size=batch_size,
            sampling=sampling,
            seed=seed,
            metrics=chosen,
            stopping=stopping,
            callbacks=called,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            log=None if log is None else Log(log),
            record=every,
            preprocessing=_plain(preprocessing),
        )
        if processes.size > 1:
            loop.check_parts()
        begun = _begun(resume, checkpoint) if processes.first else None
    processes.same(
        {
            **settings,
            "epochs": epochs,
            "network": json.dumps(network_to_dict(net)),
            "parameters": fingerprint(trainer.parameters.values()),
        }
    )
    begun = processes.of_first(lambda: begun)
    with processes.checking():
        if begun is not None:
            _resume(loop, *begun)
        loop.begin_log()
        limits = limited(threads)
    done = loop.progress.epoch * loop.steps + loop.progress.batch
    with limits, _bar(progress, epochs * loop.steps, done, processes) as loop.bar, processes.working():
        return loop.run()


def _json(value: Any) -> Any:
    """NumPy's numbers as Python's, which JSON takes."""
    if isinstance(value, Mapping):
        return {name: _json(v) for name, v in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def _callbacks(given: Callback | Iterable[Callback]) -> tuple[Callback, ...]:
    several = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    for callback in several:
        if not callable(callback):
            raise GraphgradError(
                f"callbacks are functions of the trainer and the epoch's record, but {callback!r} was given"
            )
    return several


def _plain(preprocessing: Preprocessing | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Preprocessing as a file gives it back. Told before any work is done if it cannot be stored."""
    if preprocessing is None:
        return None
    told = preprocessing.to_json() if isinstance(preprocessing, Preprocessing) else preprocessing
    try:
        return dict(json.loads(json.dumps(dict(told))))
    except (TypeError, ValueError) as error:
        raise GraphgradError(
            f"preprocessing is a Preprocessing, or a mapping of what JSON can hold, but {type(told).__name__} was "
            f"given ({error})"
        ) from None


def _stopping(
    given: EarlyStopping | str | None, trainer: Trainer, data: Dataset, chosen: Sequence[Metric]
) -> EarlyStopping | None:
    """The rule to stop by. Raises GraphgradError where the history will have no such column."""
    if given is None:
        return None
    rule = EarlyStopping(given) if isinstance(given, str) else given
    if not isinstance(rule, EarlyStopping):
        raise GraphgradError(f"early_stopping is a column of the history or an EarlyStopping, but {given!r} was given")
    there = ["loss", *measured_columns(trainer.net, [m.name for m in chosen], data.checks is not None)]
    if rule.column not in there:
        hint = "; validation=0.2 gives it" if data.checks is None and rule.column.startswith("validation_") else ""
        raise GraphgradError(
            f"early_stopping watches {rule.column!r}, but the history will have {', '.join(there)}{hint}"
        )
    lower = [m.name for m in chosen if not m.higher]  # a function of the user's own may have the name of another metric
    if rule.higher is None and rule.better_is_higher and rule.column.removeprefix("validation_") in lower:
        return replace(rule, higher=False)
    return rule


def _check_files(**paths: str | os.PathLike[str] | None) -> None:
    """Raises GraphgradError for what is no path, and where the log would be written over a run."""
    files = {name: os.path.realpath(as_path(name, path)) for name, path in paths.items() if path is not None}
    for name in ("checkpoint", "resume"):
        if "log" in files and files["log"] == files.get(name):
            raise GraphgradError(f"log and {name} are both {paths['log']}; each is a file of its own")


def _writable(checkpoint: str | os.PathLike[str]) -> None:
    """Told before any work is done, not after the first epoch."""
    path = Path(checkpoint)
    if path.is_dir():
        raise GraphgradError(f"checkpoint: {os.fspath(checkpoint)} is a directory; the name of a file is wanted")
    if not path.parent.is_dir():
        raise GraphgradError(f"checkpoint: the directory {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise GraphgradError(f"checkpoint: the directory {path.parent} cannot be written to")


def _begun(
    resume: str | os.PathLike[str] | None, checkpoint: str | os.PathLike[str] | None
) -> tuple[str, bytes] | None:
    """Name and content of the file to go on from; None if the run begins now."""
    if checkpoint is not None:
        _writable(checkpoint)
    if resume is None:
        return None
    if checkpoint is not None and Path(checkpoint) == Path(resume):
        remove_leftovers(resume)  # of a file that is only read, another run may be writing the next one
        if not Path(resume).exists():
            return None
    return os.fspath(resume), content_of(resume)


def _resume(loop: Loop, name: str, content: bytes) -> None:
    """Take up the run of a file, if it began with these settings and data."""
    model = model_from(name, content)
    if network_to_dict(model.network) != network_to_dict(loop.trainer.net):
        raise ModelError(f"{name}: it is a run of {model.network!r}, but {loop.trainer.net!r} is to be trained")
    for key, wanted in loop.settings.items():
        before = model.settings.get(key)
        if before == wanted or (key == "data" and before is None):
            continue
        what = "other data than now" if key == "data" else f"{key}={before!r}, but {wanted!r} is asked for"
        raise ModelError(f"{name}: the run began with {what}; it goes on with what it began with")
    try:
        loop.go_on(model)
    except GraphgradError as error:
        raise ModelError(f"{name}: {error}") from None


def limited(threads: int | None) -> AbstractContextManager[object]:
    """The BLAS with that many threads inside, if a number is given. Needs threadpoolctl."""
    if threads is None:
        return nullcontext()
    whole("threads", threads, 1)
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise GraphgradError(
            'threads= needs threadpoolctl: pip install "graphgrad[threads]" brings it; OMP_NUM_THREADS, set before '
            "Python starts, does the same"
        ) from None
    return threadpool_limits(limits=threads, user_api="blas")  # type: ignore[no-any-return]


def _bar(progress: bool | None, total: int, done: int, processes: Processes) -> Any:
    from tqdm import tqdm

    shown = (sys.stderr.isatty() if progress is None else progress) and processes.first
    return tqdm(total=total, initial=done, unit="step", disable=not shown)
