"""Training by several processes, which share each batch and sum their gradients (MPI, through mpi4py).

Every process holds all parameters. Of each batch, the process of rank r of R takes the r-th of R parts, and computes
the gradient of its own part's mean loss, times its share of the batch. The sum of these over all processes, one
all-reduce over one flat vector a step, is the gradient of the whole batch's mean loss; then each process makes the same
update. So the results are those of one process, but for the order of sums.

No process can go on without the others. So an error in what they check before they begin is an error in all, and one
that comes later ends them all.
"""

from __future__ import annotations

import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from graphgrad.codegen.compiler import compile
from graphgrad.errors import GraphgradError
from graphgrad.evaluate import evaluate
from graphgrad.samples import fingerprint
from graphgrad.theta import numbers
from graphgrad.types import Array

if TYPE_CHECKING:
    from graphgrad.codegen.state import State
    from graphgrad.trainer import Trainer

T = TypeVar("T")

#: Where a launcher says how many processes it has started: MPICH and its kin, Open MPI, MVAPICH, Slurm's srun.
LAUNCHERS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


def world() -> Any:
    """MPI.COMM_WORLD if a launcher such as mpiexec has started this process as one of several, otherwise None.

    mpi4py is not loaded without a launcher. Raises GraphgradError where it is missing, or belongs to another MPI than
    the launcher: each process would then train on its own, and all would write the same files.
    """
    told = next((int(os.environ[name]) for name in LAUNCHERS if os.environ.get(name, "").isdigit()), 1)
    if told == 1:
        return None
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the latter: mpi4py is there, but no MPI
        raise GraphgradError(
            f'{told} processes were started, which need mpi4py to work together: pip install "graphgrad[mpi]" brings '
            f"it ({error})"
        ) from None
    if MPI.COMM_WORLD.size != told:
        raise GraphgradError(
            f"{told} processes were started, but mpi4py knows of {MPI.COMM_WORLD.size}: it belongs to another MPI than "
            f"the launcher; the mpiexec beside {sys.executable} is that of graphgrad[mpi]"
        )
    return MPI.COMM_WORLD


#: Seconds between a last word and the end. The launcher passes on what was written, and an abort would overtake it.
HEARD = 0.5


class Processes:
    """The processes of a communicator such as mpi4py's MPI.COMM_WORLD; None is this process alone."""

    def __init__(self, comm: Any) -> None:
        used = ("Allreduce", "allgather", "gather", "bcast", "Abort")
        try:
            self.rank, self.size = (0, 1) if comm is None else (int(comm.rank), int(comm.size))
            fits = comm is None or (all(callable(getattr(comm, n)) for n in used) and not comm.is_inter)
        except Exception:  # what MPI.COMM_NULL raises is mpi4py's own, which need not be installed here
            fits = False
        if not fits:
            raise GraphgradError(
                "comm is a communicator of mpi4py that this process is in, such as MPI.COMM_WORLD, "
                f"but {type(comm).__name__} was given"
            )
        self.comm = comm

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and tells."""
        return self.rank == 0

    def share(self, indices: Array) -> Array:
        """This process's part of a batch; the first ones are larger by one where it must be."""
        if self.size == 1:
            return indices
        each, more = divmod(len(indices), self.size)
        start = self.rank * each + min(self.rank, more)
        return indices[start : start + each + (self.rank < more)]

    def share_of_all(self, rows: Array | None, samples: int) -> Array | None:
        """This process's part of some rows; None is all, of so many samples, for one process as for several."""
        return rows if self.size == 1 else self.share(np.arange(samples) if rows is None else rows)

    # -- what they tell each other ------------------------------------------------------------------------------------

    def of_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, in all of them."""
        if self.size == 1:
            return make()
        made: T = self.comm.bcast(make() if self.first else None, root=0)
        return made

    def at_first(self, value: T) -> list[T]:
        """The values of all processes, by rank, in the first one."""
        return [value] if self.size == 1 else self.comm.gather(value, root=0) or []

    def of_all(self, value: T) -> list[T]:
        """The values of all processes, by rank, in all of them."""
        return [value] if self.size == 1 else self.comm.allgather(value)

    def same(self, given: Mapping[str, Any]) -> None:
        """Raises GraphgradError, in all processes, unless all were given the same."""
        first, *others = self.of_all(dict(given))
        for rank, other in enumerate(others, 1):
            if differing := [name for name in first if other[name] != first[name]]:
                raise GraphgradError(
                    f"rank {rank} of {self.size} was given other {', '.join(differing)} than rank 0; "
                    "all processes are given the same, and share each batch themselves"
                )

    def follow_first(self, held: State) -> None:
        """All go on with what the first process holds, if they differ.

        They differ where a callback changed parameters in some processes only, and where processors of several makes
        round a norm apart.
        """
        if self.size > 1 and len(set(self.of_all(fingerprint(held.snapshot().values())))) > 1:
            held.restore(self.of_first(held.snapshot))

    # -- errors -------------------------------------------------------------------------------------------------------

    @contextmanager
    def checking(self) -> Iterator[None]:
        """Around what each process does by itself: an error in one is an error in all, once all have come so far."""
        error: BaseException | None = None
        try:
            yield
        except BaseException as caught:
            error = caught
        told = self.of_all("" if error is None else in_a_line(error))
        if error is not None:
            raise error
        for rank, text in enumerate(told):
            if text:
                raise GraphgradError(f"rank {rank} of {self.size}: {text}")

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around what processes do with each other: an error in one ends them all, for they would wait for ever.

        It tells why on stderr.
        """
        try:
            yield
        except BaseException as error:
            if self.size == 1:
                raise
            plain = isinstance(error, (GraphgradError, KeyboardInterrupt))
            where = "" if plain else "".join(traceback.format_exception(error))
            sys.stdout.flush()
            sys.stderr.write(f"{where}graphgrad: rank {self.rank} of {self.size}: {in_a_line(error)}\n")
            sys.stderr.flush()
            time.sleep(HEARD)
            self.comm.Abort(1)
            os._exit(1)  # if Abort came back


def in_a_line(error: BaseException) -> str:
    """What an error says; its kind too, if it is none that was written to be read."""
    kind, text = type(error).__name__, " ".join(str(error).split())
    return text if isinstance(error, GraphgradError) else f"{kind}: {text}" if text else kind


def check_mean(trainer: Trainer, batch: Sequence[Array], weights: Array) -> None:
    """Raises GraphgradError unless the loss of samples is the mean of their parts' losses, which processes compute.

    A sum over samples is none, nor is a loss of each sample that depends on the others. Tried with the parameters as
    they are and with others, for they may be zeros.
    """
    graph, held, generator = trainer.graph, trainer.function.state, np.random.default_rng(0)
    inputs, n = [t.name for t in graph.inputs], len(weights)
    parameters = [graph.theta] if graph.theta is not None else list(graph.parameters.values())
    parts = [rows for rows in np.split(np.arange(n), [n // 4]) if len(rows)]

    def loss(rows: Array, values: Mapping[str, Array]) -> float:
        samples = zip(inputs, [a[rows] for a in batch], strict=True)
        return float(evaluate(graph.loss, **dict(samples), **values))

    for spread in (0.0, 0.1):
        values = {p.name: held[p.name] for p in parameters}
        for a in values.values():
            a += (spread * generator.normal(size=a.shape)).astype(a.dtype)
        with np.errstate(all="ignore"):
            whole = loss(np.arange(n), values)
            mean = np.average([loss(rows, values) for rows in parts], weights=[weights[rows].sum() for rows in parts])
        if abs(whole - mean) > np.finfo(trainer.dtype).eps ** 0.5 * max(abs(whole), abs(mean)):
            raise GraphgradError(
                f"{graph.graph.where(graph.loss.id)} is {whole:g} for {n} samples, but the mean for two parts of "
                f"them is {mean:g}; several processes can share a batch if its loss is a mean over samples"
            )


class SummedStep:
    """A trainer's step in two functions, with the sum over all processes between them."""

    def __init__(self, trainer: Trainer, processes: Processes) -> None:
        graph, held = trainer.graph, trainer.function.state
        self._update, self._processes = trainer.function, processes
        self._gradient = compile([graph.loss, *graph.sent], copy=False)
        leaves = {t.name: position for position, t in enumerate(graph.inputs)}
        names = [node["name"] for node in self._gradient.program.inputs]
        self._values: list[Any] = [None if name in leaves else held.live(name) for name in names]
        self._of_batch = [(to, leaves[name]) for to, name in enumerate(names) if name in leaves]
        shapes = [numbers(t) for t in graph.sent]
        ends = np.cumsum([math.prod(shape) for shape in shapes]).tolist()
        self._own = np.zeros(ends[-1] + 2, trainer.dtype)  # gradients, the loss, and whether an interrupt came
        self._all = np.zeros_like(self._own)
        self._parts = [self._own[end - math.prod(s) : end].reshape(s) for end, s in zip(ends, shapes, strict=True)]
        sums = [self._all[end - math.prod(s) : end].reshape(s) for end, s in zip(ends, shapes, strict=True)]
        received = {t.name: part for t, part in zip(graph.received, sums, strict=True)}
        self._arguments = [received[node["name"]] for node in trainer.function.program.inputs]
        self.interrupted = False  # in any process, at the last step

    def __call__(self, batch: Sequence[Array], share: float, interrupted: bool = False) -> float:
        """One update from this process's part of a batch, which is that share of it. The batch's loss before it."""
        if share:
            for to, which in self._of_batch:
                self._values[to] = batch[which]
            loss, *gradients = self._gradient.call(self._values)
            for part, g in zip(self._parts, gradients, strict=True):
                np.multiply(g, np.asarray(share, g.dtype), out=part)
            self._own[-2] = loss * share
        else:
            self._own[...] = 0
        self._own[-1] = interrupted
        self._processes.comm.Allreduce(self._own, self._all)
        self._update.call(self._arguments)
        self.interrupted = bool(self._all[-1])
        return float(self._all[-2])
