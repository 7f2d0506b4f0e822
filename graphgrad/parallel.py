"""Training by several processes, which share each batch and sum their gradients (MPI, through mpi4py).

Every process holds all parameters. Of each batch, process r of R takes the r-th of R parts, and computes the gradient
of its own part's mean loss, times its share of the batch. The sum of these over all processes, one all-reduce over one
flat vector a step, is the gradient of the whole batch's mean loss; then each process makes the same update. So the
results are those of one process, but for the order of sums.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from graphgrad.codegen.loader import compile
from graphgrad.errors import GraphgradError
from graphgrad.step import numbers
from graphgrad.types import Array

if TYPE_CHECKING:
    from graphgrad.trainer import Trainer

T = TypeVar("T")


class Processes:
    """The processes of a communicator such as mpi4py's MPI.COMM_WORLD; None is this process alone."""

    def __init__(self, comm: Any) -> None:
        if comm is not None and not all(hasattr(comm, n) for n in ("rank", "size", "Allreduce", "bcast", "Abort")):
            raise GraphgradError(
                f"comm is a communicator of mpi4py, such as MPI.COMM_WORLD, but {type(comm).__name__} was given"
            )
        self.comm = comm
        self.rank: int = comm.rank if comm is not None else 0
        self.size: int = comm.size if comm is not None else 1

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

    def of_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, in all of them."""
        if self.size == 1:
            return make()
        made: T = self.comm.bcast(make() if self.first else None, root=0)
        return made

    def abort(self, error: BaseException) -> None:
        """End all processes, for the others would wait for this one for ever. Tells why, on stderr."""
        told = str(error) or type(error).__name__
        print(f"graphgrad: process {self.rank} of {self.size}: {' '.join(told.split())}", file=sys.stderr, flush=True)
        self.comm.Abort(1)
        os._exit(1)  # if Abort came back


class SummedStep:
    """A trainer's step in two functions, with the sum over all processes between them."""

    def __init__(self, trainer: Trainer, processes: Processes) -> None:
        graph = trainer.graph
        self._state, self._update, self._processes = trainer.function.state, trainer.function, processes
        self._gradient = compile([graph.loss, *graph.sent], copy=False)
        self._names = [node["name"] for node in self._gradient.program.inputs]
        self._leaves = [t.name for t in graph.inputs]
        self._held = [name for name in self._names if name not in self._leaves]
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
            values = dict(zip(self._leaves, batch, strict=True))
            values |= {name: self._state[name] for name in self._held}
            loss, *gradients = self._gradient.call([values[name] for name in self._names])
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
