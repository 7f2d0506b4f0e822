"""Training: the loop over batches and epochs around a trainer's step."""

from __future__ import annotations

import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from graphgrad.errors import GraphgradError
from graphgrad.files import write_atomically
from graphgrad.networks import Network, whole
from graphgrad.optimizers import Optimizer
from graphgrad.samples import Data, as_data, gathered
from graphgrad.schedules import number_at
from graphgrad.trainer import Trainer
from graphgrad.types import Array

if TYPE_CHECKING:
    from graphgrad.codegen.profile import Profile

History: TypeAlias = "dict[str, list[float]]"


@dataclass(frozen=True, eq=False)
class Run:
    """What training left: the parameters, and the history with a number for each epoch under each of its names.

    "epoch", "loss" (the mean over the epoch's batches, each before its update), "rate" (α_k at the epoch's last step),
    and with validation data "validation_loss" and "validation_accuracy".
    """

    network: Network
    parameters: dict[str, Array]
    history: History
    trainer: Trainer = field(repr=False)
    interrupted: bool = False
    sample: list[Array] = field(default_factory=list, repr=False)  # a batch, as the step takes it

    def predict(self, X: Data) -> Array:
        """The network's prediction for samples X."""
        return self.trainer.predict(X)

    def profile(self) -> Profile:
        """Time each statement of a training step, on a batch of the samples that it was trained on."""
        return self.trainer.profile(*self.sample)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the parameters to a file in the safetensors format."""
        from safetensors.numpy import save

        write_atomically(path, save({name: np.ascontiguousarray(a) for name, a in self.parameters.items()}))


def train(
    net: Network,
    X: Data,
    Y: Data = None,
    *,
    optimizer: Optimizer | None = None,
    batch_size: int | None = 64,
    epochs: int = 20,
    seed: int = 0,
    validation: tuple[Data, Data] | None = None,
    progress: bool | None = None,
    dtype: str = "float32",
    exact: bool = False,
    memory: str = "fast",
    threads: int | None = None,
    callback: Callable[[Trainer, Mapping[str, float]], object] | None = None,
) -> Run:
    """Train a network on samples X with targets Y, by Adam unless told otherwise. The same seed gives the same bytes.

    Each epoch goes through a random partition of the samples into batches, the last one smaller; `batch_size=None` is
    one batch of all. `callback(trainer, record)` is called after each epoch and ends training by returning True.
    Ctrl-C ends it after the step at hand: what was learned is returned, with `interrupted` set. `progress` shows a bar
    (by default on a terminal). `threads` limits the BLAS: on small networks one thread is the fastest, whatever the
    machine. `exact` and `memory` are those of `Trainer`. Raises GraphgradError for data that does not fit, and where
    the loss is not finite.
    """
    if batch_size is not None:
        whole("batch_size", batch_size, 1)
    whole("epochs", epochs, 0)
    whole("seed", seed, 0)
    if callback is not None and not callable(callback):
        raise GraphgradError(
            f"callback is a function of the trainer and the epoch's record, but {callback!r} was given"
        )
    trainer = Trainer(net, optimizer, dtype=dtype, seed=seed, exact=exact, memory=memory)
    if net.batch is None and batch_size is not None:
        raise GraphgradError(
            "the inputs and the target share no named size as first dimension, so batches cannot be cut: "
            "batch_size=None would fit"
        )
    arrays = as_data(trainer.graph, net, X, Y, ("X", "Y"))
    dtypes = [leaf.dtype for leaf in trainer.graph.inputs]
    checks = _validation(trainer, validation)
    history: History = {}
    samples = len(arrays[0]) if net.batch else 1
    steps = 1 if batch_size is None else -(-samples // batch_size)
    stop = False
    quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")  # a loss that is not finite is told below
    sample = [a[: batch_size or samples] if net.batch else a for a in arrays]
    with limited(threads), _bar(progress, epochs * steps) as bar, _held_back_interrupt() as interrupted, quiet:
        try:
            for epoch in range(1, epochs + 1):
                total = 0.0
                # A generator for each epoch: what an epoch draws depends on the seed and its number alone.
                for batch in gathered(arrays, dtypes, batch_size, np.random.default_rng((seed, 1, epoch))):
                    loss = trainer.step(*batch)
                    if not math.isfinite(loss):
                        raise GraphgradError(_diverged(trainer, loss, epoch))
                    total += loss * (len(batch[0]) if net.batch else 1)
                    bar.update(1)
                    if interrupted:
                        raise KeyboardInterrupt
                record = {"epoch": epoch, "loss": total / samples, **_rate(trainer), **_validated(trainer, checks)}
                for name, value in record.items():
                    history.setdefault(name, []).append(value)
                bar.set_postfix(
                    {name: f"{value:.4g}" for name, value in record.items() if name not in ("epoch", "rate")}
                )
                if callback is not None and callback(trainer, record) is True:
                    break
                if interrupted:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            stop = True
    return Run(net, trainer.parameters, history, trainer, interrupted=stop, sample=sample)


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


def _rate(trainer: Trainer) -> dict[str, float]:
    alpha = getattr(trainer.optimizer, "alpha", None)
    return {} if alpha is None else {"rate": number_at(alpha, trainer.k - 1)}


def _validation(trainer: Trainer, validation: tuple[Data, Data] | None) -> list[Array] | None:
    if validation is None:
        return None
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise GraphgradError("validation is a pair (Xv, Yv) of samples and targets")
    return as_data(trainer.graph, trainer.net, *validation, ("Xv", "Yv"))


def _validated(trainer: Trainer, arrays: list[Array] | None) -> dict[str, float]:
    return {} if arrays is None else {f"validation_{name}": value for name, value in trainer.measured(arrays).items()}


def _diverged(trainer: Trainer, loss: float, epoch: int) -> str:
    rate = "; a smaller step size may help" if hasattr(trainer.optimizer, "alpha") else ""
    return f"the loss is {loss} in epoch {epoch}, after {trainer.k} updates in all: training stopped{rate}"


@contextmanager
def _held_back_interrupt() -> Iterator[list[int]]:
    """Ctrl-C is noted in the list instead of raised, so that no update is cut in half; a second one is raised."""
    noted: list[int] = []
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield noted
        return

    def note(number: int, frame: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _bar(progress: bool | None, total: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, unit="step", disable=not (sys.stderr.isatty() if progress is None else progress))
