"""What training leaves: parameters, history, and all that is needed to go on."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgrad.errors import GraphgradError
from graphgrad.evaluation import Evaluation
from graphgrad.files import write_atomically
from graphgrad.model_file import Model, ModelError, optimizer_from_dict, read_model, write_model
from graphgrad.networks import Network
from graphgrad.optimizers import Optimizer
from graphgrad.samples import Data
from graphgrad.trainer import Trainer
from graphgrad.types import Array

if TYPE_CHECKING:
    from graphgrad.codegen.profile import Profile


class Run:
    """What training left: the parameters, and the history, with a number for each epoch under each of its names.

    `history` has "epoch", "loss" (the mean over the epoch's batches, each before its update), "rate" (α_k at the
    epoch's last step), and with validation data "validation_loss" and a column for each metric. `stopped` says why
    training ended before all epochs were over: "early stopping", "callback", "interrupted", what was not finite, or "".
    `validation_rows` are the indices of the samples that `validation=0.2` set aside, of int64; None where it set none
    aside, and for a run from a file.
    """

    def __init__(
        self,
        model: Model,
        trainer: Trainer | None = None,
        sample: Sequence[Array] = (),
        records: Mapping[str, Any] | None = None,
        optimizer: Optimizer | None = None,
        validation_rows: Array | None = None,
    ) -> None:
        self._model, self._trainer, self.sample = model, trainer, list(sample)
        self._optimizer = trainer.optimizer if trainer is not None else optimizer  # code of a user's own, perhaps
        self.network: Network = model.network
        self.parameters: dict[str, Array] = model.parameters
        self.settings: dict[str, Any] = model.settings
        self.preprocessing: dict[str, Any] | None = model.preprocessing
        self.records = records
        self.validation_rows = validation_rows
        self.history: dict[str, Array] = columns(model.progress.get("history", {}))
        self.stopped = str(model.progress.get("stopped", ""))

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return self.stopped == "interrupted"

    @property
    def best_epoch(self) -> int | None:
        """The epoch, from 1 on, that the parameters are of, where early stopping watched. Otherwise None: the last."""
        found = self._model.progress.get("best_epoch")
        return found if type(found) is int and found > 0 else None

    @property
    def trainer(self) -> Trainer:
        """The trainer, with the run's parameters and the optimizer's state: `step` goes on from there.

        Raises GraphgradError for a run from a file whose optimizer is code of the user's own.
        """
        if self._trainer is None:
            told = self._model.settings
            optimizer = self._optimizer or optimizer_from_dict(told.get("optimizer"))
            if optimizer is None:
                raise GraphgradError(
                    "the optimizer of this run is code of your own, which a file does not hold: "
                    "gg.Trainer(run.network, optimizer, parameters=run.parameters) begins anew with it"
                )
            options = {name: told[name] for name in TRAINER_SETTINGS if name in told}
            try:
                self._trainer = Trainer(self.network, optimizer, parameters=self.parameters, **options)
            except TypeError:
                raise ModelError("what the file tells of its settings is broken") from None
            if self._model.state:
                self._trainer.keep(self._model.state, self._model.scales)
        return self._trainer

    @cached_property
    def _evaluation(self) -> Evaluation:
        if self._trainer is not None:
            return self._trainer.evaluation
        return Evaluation(self.network, next(iter(self.parameters.values())).dtype.name)

    def __getstate__(self) -> dict[str, Any]:
        """What pickle takes: all but what is compiled, and samples. What is compiled is made anew when it is used."""
        left: dict[str, Any] = {"_trainer": None, "sample": []}
        return {name: left.get(name, value) for name, value in vars(self).items() if name != "_evaluation"}

    def predict(self, X: Data) -> Array:
        """The network's prediction for samples X."""
        return self._evaluation.predict(self.parameters, X)

    def evaluate(self, X: Data, Y: Data = None) -> dict[str, float]:
        """The mean loss over samples, and the accuracy where the network classifies."""
        return self._evaluation.evaluate(self.parameters, X, Y)

    def profile(self) -> Profile:
        """Time each statement of a training step, on a batch of the samples that it was trained on."""
        if not self.sample:
            raise GraphgradError("a run from a file has no samples: run.trainer.profile(xb, yb) takes a batch of yours")
        return self.trainer.profile(*self.sample)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run to one file (safetensors), whole or not at all. `gg.load` reads it; `gg.train` goes on from it.

        >>> import graphgrad as gg, tempfile
        >>> X = np.linspace(-1, 1, 20)[:, None]
        >>> run = gg.train(gg.feedforward([1, 4, 1]), X, X**2, epochs=3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run.save(f"{folder}/square.model")
        ...     bool(np.all(gg.load(f"{folder}/square.model").predict(X) == run.predict(X)))
        True
        """
        write_model(path, replace(self._model, parameters=self.parameters, preprocessing=self.preprocessing))

    def save_history(self, path: str | os.PathLike[str]) -> None:
        """Write the history as CSV: a line of names, then a line for each epoch. Raises GraphgradError."""
        rows = zip(*(column.tolist() for column in self.history.values()), strict=True)
        lines = [",".join(self.history), *(",".join(f"{value:.8g}" for value in row) for row in rows)]
        try:
            write_atomically(path, "\n".join(lines) + "\n")
        except OSError as error:
            raise GraphgradError(f"{os.fspath(path)} cannot be written: {error.strerror}") from None

    def __repr__(self) -> str:
        epochs = len(self.history.get("epoch", ()))
        ended = f", stopped: {self.stopped}" if self.stopped else ""
        return f"<run of {self.network!r}: {epochs} epochs{ended}>"


TRAINER_SETTINGS = ("dtype", "exact", "memory", "l2", "clip_value", "clip_norm", "weighted")


def load(path: str | os.PathLike[str]) -> Run:
    """The run that `run.save` or a checkpoint wrote. Raises GraphgradError, which names the file, for anything else."""
    model = read_model(path)
    try:
        return Run(model)
    except ModelError as error:
        raise ModelError(f"{os.fspath(path)}: {error}") from None


def columns(history: Any) -> dict[str, Array]:
    """Columns of a history as arrays; what was not finite, and so no JSON, as NaN."""
    if not isinstance(history, Mapping) or not all(
        isinstance(values, list) and all(v is None or isinstance(v, (int, float)) for v in values)
        for values in history.values()
    ):
        raise ModelError("its history is broken")
    if len({len(values) for values in history.values()}) > 1:
        raise ModelError("the columns of its history are not of one length")
    found = {
        name: np.array([math.nan if v is None else v for v in values], np.float64) for name, values in history.items()
    }
    if "epoch" in found:
        found["epoch"] = found["epoch"].astype(np.int64)
    return found


def as_json(value: float) -> float | None:
    """A number for JSON, which knows none that are not finite."""
    return value if math.isfinite(value) else None


def line(record: Mapping[str, float]) -> str:
    """A record of the history as a line of JSON."""
    return json.dumps({name: as_json(value) for name, value in record.items()}, ensure_ascii=False) + "\n"
