"""The loop over epochs and batches, and all that must outlive it."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from graphgrad.dataset import Dataset, Gatherer, epoch_batches
from graphgrad.finite import SMALLER, first_not_finite
from graphgrad.interrupts import Interrupts, held_back
from graphgrad.metrics import EarlyStopping, Metric, measured_columns
from graphgrad.model_file import Model, ModelError, write_model
from graphgrad.optimizers import Groups
from graphgrad.parallel import Processes, check_mean
from graphgrad.progress import Log, Moment, Progress, read_progress
from graphgrad.run import Run, as_json
from graphgrad.schedules import number_at, rate_at
from graphgrad.sources import taken
from graphgrad.trainer import Trainer
from graphgrad.types import Array

#: Called after each epoch with the trainer and the epoch's record; True ends training.
Callback: TypeAlias = "Callable[[Trainer, Mapping[str, float]], object]"


class TrainingWarning(UserWarning):
    """Training ended otherwise than was asked for."""


@dataclass
class Loop:
    """A run while it runs."""

    trainer: Trainer
    data: Dataset
    processes: Processes
    settings: dict[str, Any]
    epochs: int
    batch_size: int | None
    sampling: str
    seed: int
    metrics: tuple[Metric, ...] = ()
    stopping: EarlyStopping | None = None
    callbacks: tuple[Callback, ...] = ()
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_every: int | None = None
    log: Log | None = None
    record: int | None = None
    preprocessing: dict[str, Any] | None = None
    progress: Progress = field(default_factory=Progress)
    best: dict[str, Array] | None = None  # parameters of the best epoch
    bar: Any = None
    _interrupts: Interrupts = field(default_factory=Interrupts)
    _moment: Moment | None = None  # the last one that the run can go back to
    _earlier: Mapping[str, Array] | None = None  # what was before the last update of the epoch before
    _records: list[tuple[int, float, dict[str, Array]]] = field(default_factory=list)
    _kept: dict[str, Array] | None = None
    _saved: tuple[int, int, str] | None = None  # where the run was when the file was last written

    def __post_init__(self) -> None:
        graph = self.trainer.graph
        self._dtypes = [leaf.dtype for leaf in graph.inputs]
        parted = self.batch_size is not None and self.batch_size < self.data.samples
        self._gather = Gatherer(self.data.arrays, self._dtypes, self.batch_size or 1) if parted else None

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return 1 if self._gather is None else -(-self.data.samples // (self.batch_size or 1))

    def run(self) -> Run:
        """Train until all epochs are over, or something ends it."""
        if self.progress.stopped == "interrupted":
            self.progress.stopped = ""
        quiet = np.errstate(all="ignore")  # what is not finite is told below
        if not self.progress.epoch:
            self.progress.history = {name: [] for name in self._columns()}
        if self.trainer.summed is None:
            rows = [min(self.batch_size or self.data.samples, self.data.samples)] if self.trainer.net.batch else []
            self.trainer.settle(*[(*rows, *a.shape[len(rows) :]) for a in self.data.arrays])
        several = self.processes.size > 1  # then one that is broken off ends all, for the others wait for it
        self._interrupts.always = self._interrupts.raising = several
        with held_back(self._interrupts), quiet:
            try:
                while self.progress.epoch < self.epochs and not self.progress.stopped:
                    self._epoch()
            except KeyboardInterrupt:
                if several:
                    raise
                self._broken_off()
            self._save()
            if self._interrupts.noted and not several:
                self.progress.stopped = self.progress.stopped or "interrupted"
            return self._finished()

    def check_parts(self) -> None:
        """Raises GraphgradError where processes cannot share batches. Tried with a few samples."""
        batch = self._samples(self._first(32))
        check_mean(self.trainer, batch, batch[-1] if self.data.weights is not None else np.ones(len(batch[0])))

    # -- an epoch -----------------------------------------------------------------------------------------------------

    def _epoch(self) -> None:
        progress, held = self.progress, self.trainer.function.state
        start = self._moment = Moment(held.snapshot(), replace(progress), self.best)
        earlier, self._earlier, first, last = self._earlier, None, progress.batch, self.steps - 1
        for indices in self._batches():
            self._keep_record()
            if progress.batch == last:
                self._earlier = start.values if progress.batch == first else held.snapshot()
            if progress.batch == first:  # the only step before which the run can go back
                with self._interrupts:
                    loss = self._step(indices)
            else:
                loss = self._step(indices)
            if not math.isfinite(loss):
                return self._lost(start, earlier)
            earlier = None
            if self._kept is not None:
                self._records.append((self.trainer.k - 1, loss, self._kept))
            self._count(loss, indices)
            if self.checkpoint_every and self.trainer.k % self.checkpoint_every == 0:
                self._save()
            if self._interrupted() and progress.batch < self.steps:
                progress.stopped = "interrupted"
                return None
        if not held.finite():
            return self._lost(start, earlier)
        if self.callbacks or self.metrics or self.data.checks is not None:  # what may be broken off
            self._moment = Moment(held.snapshot() if self.callbacks else None, replace(progress), self.best)
        record = {"epoch": progress.epoch + 1, "loss": progress.total / progress.weight, **self._rate()}
        with self._interrupts:
            record |= self._validated()
        progress.epoch, progress.batch, progress.total, progress.weight = progress.epoch + 1, 0, 0.0, 0.0
        for name, value in record.items():
            progress.history.setdefault(name, []).append(as_json(value))
        self._tell(record)
        self._watch(record)
        with self._interrupts:
            answers = [callback(self.trainer, record) for callback in self.callbacks]
        ended = any([isinstance(answer, (bool, np.bool_)) and bool(answer) for answer in answers])
        self.processes.follow_first(held)
        if any(self.processes.of_all(ended)):
            progress.stopped = progress.stopped or "callback"
        if any(self.processes.of_all(self._interrupts.noted > 0)):
            progress.stopped = progress.stopped or "interrupted"
        if self.checkpoint_every is None:
            self._save()
        return None

    def _batches(self) -> Iterator[Array | None]:
        """The indices of the batches of this epoch that are not done; None is one batch of all."""
        if self._gather is None:
            if not self.progress.batch:
                yield None
            return
        order = epoch_batches(self.data, self.batch_size or 1, self.sampling, self.seed, self.progress.epoch + 1)
        for number, indices in enumerate(order):
            if number >= self.progress.batch:
                yield indices

    def _batch(self, indices: Array | None) -> Sequence[Array]:
        """This process's samples of a batch."""
        if self._gather is None or indices is None:
            return self._whole
        return self._gather(self.processes.share(indices))

    @cached_property
    def _whole(self) -> list[Array]:
        """This process's part of all samples, as the one batch of each epoch."""
        rows = self.processes.share_of_all(self.data.rows, len(self.data.arrays[0]) if self.trainer.net.batch else 1)
        return self._samples(rows)

    def _samples(self, rows: Array | None) -> list[Array]:
        """The samples with these indices, or all, as the step takes them."""
        return [taken(a, rows, d) for a, d in zip(self.data.arrays, self._dtypes, strict=True)]

    def _step(self, indices: Array | None) -> float:
        batch = self._batch(indices)
        if self.trainer.summed is None:
            return self.trainer.step(*batch)
        own = float(np.sum(batch[-1])) if self.data.weights is not None else float(len(batch[0]))
        return self.trainer.summed(batch, own / self._weight(indices), self._interrupts.noted > 0)

    def _weight(self, indices: Array | None) -> float:
        return self.data.weight(self.data.rows if indices is None else indices) if self.trainer.net.batch else 1.0

    def _count(self, loss: float, indices: Array | None) -> None:
        progress, weight = self.progress, self._weight(indices)
        progress.batch, progress.total, progress.weight = (
            progress.batch + 1,
            progress.total + loss * weight,
            progress.weight + weight,
        )
        if self.bar is not None:
            self.bar.update(1)

    def _keep_record(self) -> None:
        """The parameters before a step, where they are asked for."""
        wanted = self.record is not None and self.trainer.k % self.record == 0
        self._kept = self.trainer.parameters if wanted else None

    def _interrupted(self) -> bool:
        return self.trainer.summed.interrupted if self.trainer.summed is not None else self._interrupts.noted > 0

    def _columns(self) -> list[str]:
        """What the history will have, in the order of an epoch's record."""
        measured = measured_columns(self.trainer.net, [m.name for m in self.metrics], self.data.checks is not None)
        return ["epoch", "loss", *self._rate(), *measured]

    @cached_property
    def _alpha(self) -> Any:
        """The step size, if there is one that all parameters which are trained share."""
        optimizer = self.trainer.optimizer
        rules = optimizer.rules.values() if isinstance(optimizer, Groups) else [optimizer]
        alpha, *others = [getattr(rule, "alpha", None) for rule in rules if rule is not None]
        if any(rate_at(a, 0) is None for a in (alpha, *others)):  # an own optimizer's alpha may be anything
            return None
        return None if any(other is not alpha and other != alpha for other in others) else alpha

    def _rate(self) -> dict[str, float]:
        return {} if self._alpha is None else {"rate": number_at(self._alpha, max(self.trainer.k - 1, 0))}

    def _validated(self) -> dict[str, float]:
        """What is told of the validation data, or of those that are trained on if metrics are asked for."""
        evaluation, data, apart = self.trainer.evaluation, self.data, self.data.checks is not None
        if not apart and not self.metrics:
            return {}
        arrays, rows = (data.checks, data.check_rows) if data.checks is not None else (data.arrays, data.rows)
        rows = self.processes.share_of_all(rows, len(arrays[0]) if self.trainer.net.batch else 1)
        leaves = arrays[: len(evaluation.leaves)]
        parts = self.processes.at_first(evaluation.sums(self.trainer.parameters, leaves, rows, keep=bool(self.metrics)))
        found = self.processes.of_first(lambda: evaluation.measures(parts, self.metrics))
        if apart:
            return {f"validation_{name}": value for name, value in found.items()}
        return {m.name: found[m.name] for m in self.metrics}

    def _watch(self, record: Mapping[str, float]) -> None:
        """Keep the best parameters, and stop where nothing got better for long."""
        if self.stopping is None:
            return
        progress = self.progress
        if self.stopping.better(record[self.stopping.column], progress.best):
            progress.best, progress.best_epoch = record[self.stopping.column], progress.epoch
            self.best = self.trainer.parameters
        elif progress.epoch - progress.best_epoch >= self.stopping.patience:
            progress.stopped = "early stopping"

    # -- back to a moment before ---------------------------------------------------------------------------------------

    def _back(self, to: Moment) -> None:
        if to.values is not None:
            self.trainer.function.state.restore(to.values)
        history = {name: column[: to.progress.epoch] for name, column in to.progress.history.items()}
        self.progress, self.best = replace(to.progress, history=history), to.best

    def _broken_off(self) -> None:
        """End a run in which something was broken off: it goes back to the moment before, and takes that up later."""
        told = self.progress.epoch
        if self._moment is not None:
            self._back(self._moment)
        self.progress.stopped = "interrupted"
        if self.progress.epoch < told:
            self.begin_log()

    # -- what is not finite -------------------------------------------------------------------------------------------

    def _lost(self, start: Moment, earlier: Mapping[str, Array] | None) -> None:
        """Go through the epoch once more, up to the step that left the finite numbers, and stop before it.

        Where its loss is not finite, the parameters before it are no good ones: then before the step before that, which
        at the beginning of an epoch was the last one of another, or is not known.
        """
        held = self.trainer.function.state
        self._back(start)
        self.bar, told, loss, pressed = None, "a number was not finite", 0.0, max(1, self._interrupts.noted)
        good, k = None if earlier is None else Moment(earlier, start.progress, self.best), self.trainer.k
        for indices in self._batches():
            if self._interrupts.noted > pressed:
                raise KeyboardInterrupt
            before = Moment(held.snapshot(), replace(self.progress), self.best)
            loss, k = self._step(indices), k + 1
            if not (math.isfinite(loss) and held.finite()):
                self._back(before)
                with self._interrupts:
                    told = self._diagnosed(indices) or (
                        f"loss and gradient are finite, but the update makes numbers that are not{SMALLER}"
                        if math.isfinite(loss)
                        else "the loss is not finite"
                    )
                break
            good = before
            self._count(loss, indices)
        where, kept = f"epoch {self.progress.epoch + 1}, update {k}", "it"
        if not math.isfinite(loss) and good is not None:
            self._back(good)
            kept = f"update {self.trainer.k + 1}, the last ones whose loss was finite,"
            watched = self.stopping is not None and self.stopping.column == "validation_loss"
            if self.best is not None and good.values is earlier and start.progress.best_epoch == start.progress.epoch:
                self.best = self.best if watched else self.trainer.parameters  # it was those whose loss is not finite
        self.progress.stopped = f"{where}: {told}"
        if self.processes.first:
            warnings.warn(
                f"training stopped in {self.progress.stopped}. The parameters before {kept} are kept.",
                TrainingWarning,
                stacklevel=5,
            )

    def _diagnosed(self, indices: Array | None) -> str:
        """What is the first number that is not finite in this step. Each process looks at the whole batch."""
        graph, held = self.trainer.graph, self.trainer.function.state
        batch = self._samples(self.data.rows if indices is None else indices)
        values = {t.name: a for t, a in zip(graph.inputs, batch, strict=True)}
        return first_not_finite(graph, values | {name: held[name] for name in held})

    # -- what stays ---------------------------------------------------------------------------------------------------

    def model(self) -> Model:
        """The run as it stands, as a file holds it."""
        kept = self.trainer.kept()
        current = self.trainer.parameters
        better = self.best is not None and any(not np.array_equal(a, self.best[n]) for n, a in current.items())
        return Model(
            network=self.trainer.net,
            parameters=self.best if self.best is not None and better else current,
            current=current if better else None,
            state={name: array for name, (array, _) in kept.items()},
            scales={name: scale for name, (_, scale) in kept.items() if scale != 1.0},
            settings=self.settings,
            progress=asdict(self.progress),
            preprocessing=self.preprocessing,
        )

    def go_on(self, model: Model) -> None:
        """Take up a run where a file left it."""
        self.progress = read_progress(model.progress)
        if self.progress.batch > self.steps or (self.progress.batch and not self.progress.weight > 0):
            raise ModelError("what it tells of its progress is broken")
        self.trainer.parameters = model.current if model.current is not None else model.parameters
        self.trainer.keep(model.state, model.scales)
        self.best = model.parameters if self.stopping is not None and self.progress.best is not None else None
        self.preprocessing = model.preprocessing if self.preprocessing is None else self.preprocessing

    def _save(self) -> None:
        here = (self.progress.epoch, self.progress.batch, self.progress.stopped)
        if self.checkpoint is not None and self.processes.first and here != self._saved:
            write_model(self.checkpoint, self.model())
            self._saved = here

    def begin_log(self) -> None:
        """A log of the epochs that are over."""
        if self.log is not None and self.processes.first:
            self.log.begin(self.progress.history)

    def _tell(self, record: Mapping[str, float]) -> None:
        if self.bar is not None:
            shown = {name: f"{value:.4g}" for name, value in record.items() if name != "epoch"}
            self.bar.set_postfix(shown)
        if self.log is not None and self.processes.first:
            self.log.add(record)

    def _finished(self) -> Run:
        if self.bar is not None:
            self.bar.close()
        model = self.model()
        if model.current is not None:
            self.trainer.parameters = model.parameters
        sample = self._whole if self._gather is None else self._samples(self._first(self.batch_size))
        trainer = self.trainer if self.trainer.summed is None else None  # one of several takes no step alone
        return Run(model, trainer, sample, self._recorded(), self.trainer.optimizer, self.data.check_rows)

    def _first(self, count: int | None) -> Array:
        """The indices of the first samples."""
        rows = self.data.rows
        return np.arange(len(self.data.arrays[0]))[:count] if rows is None else rows[:count]

    def _recorded(self) -> dict[str, Any] | None:
        done = self.trainer.k
        records = [record for record in self._records if record[0] < done]  # none of steps that were taken back
        if not records:
            return None
        k, losses, kept = zip(*records, strict=True)
        return {
            "k": np.array(k),
            "loss": np.array(losses),
            "parameters": {name: np.stack([p[name] for p in kept]) for name in kept[0]},
        }
