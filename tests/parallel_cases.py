"""What several processes do in the tests: mpiexec runs this file, the data and the results go through files.

usage: mpiexec -n RANKS python -m tests.parallel_cases NAME DIRECTORY
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import graphgrad as gg
from graphgrad import parallel, schedules
from graphgrad.loop import TrainingWarning
from graphgrad.samples import fingerprint

Case = Callable[[Any], gg.Run]

# ---------------------------------------------------------------------------------------------------------------------
# Runs that several processes and one are to agree on
# ---------------------------------------------------------------------------------------------------------------------


class Apart(gg.SGD):
    """Not elementwise: each parameter is updated on its own."""

    elementwise = False


def digits_net() -> gg.Network:
    return gg.feedforward([64, 32, 10], "tanh", "cross_entropy")


def two_inputs() -> gg.Network:
    g = gg.Graph()
    a, b, w = g.input("a", ("N", 3)), g.input("b", ("N",)), g.parameter("w", (3,))
    return gg.Network(loss=gg.mean((a @ w - b) ** 2) + 0.1 * gg.sum(w * w), inputs=[a, b], prediction=a @ w + 0 * b)


def small() -> tuple[np.ndarray, np.ndarray]:
    """Samples whose number is no multiple of anything: 101."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(101, 6))
    return X, (X[:, 0] * X[:, 1] > 0).astype(np.int64) + (X[:, 2] > 1)


def cases(digits: tuple[np.ndarray, np.ndarray]) -> dict[str, Case]:
    """Each is a run by the processes of a communicator; 200 steps where it is on the digits."""
    X, Y = small()
    targets = np.sin(X[:, :2])
    weights = np.linspace(0, 2, len(X))
    far = X.copy()
    far[71] *= 1e25  # its square is not finite in float32

    def classify(**options: Any) -> Case:
        options = {"epochs": 3, "batch_size": 16, "optimizer": gg.Adam(0.01), "dtype": "float64", **options}
        return lambda comm: gg.train(gg.feedforward([6, 9, 3], "tanh", "cross_entropy"), X, Y, comm=comm, **options)

    def regress(**options: Any) -> Case:
        options = {"epochs": 3, "batch_size": 16, "optimizer": gg.SGD(0.05), "dtype": "float64", **options}
        return lambda comm: gg.train(gg.feedforward([6, 8, 2], "relu"), X, targets, comm=comm, **options)

    def on_digits(optimizer: Any) -> Case:
        options: dict[str, Any] = {"epochs": 8, "batch_size": 64, "dtype": "float64"}
        return lambda comm: gg.train(digits_net(), *digits, optimizer=optimizer, comm=comm, **options)

    stopping = {"validation": 0.3, "stratify": True, "metrics": ("f1", confidence), "epochs": 40}
    groups = gg.Groups({"W1": gg.Adam(0.01), "b*": None, "*": gg.SGD(0.1)})
    return {
        "digits, SGD": on_digits(gg.SGD(0.1)),
        "digits, Adam": on_digits(gg.Adam(0.001)),
        "batches of 5, the last of 1": classify(batch_size=5),
        "batches of 1": classify(batch_size=1, epochs=1),
        "one batch of all": classify(batch_size=None, epochs=20),
        "one batch of what is not set aside": classify(batch_size=None, epochs=20, validation=0.25),
        "the lecture's sampling": classify(sampling="lecture", batch_size=7),
        "weights of samples": classify(sample_weight=weights, batch_size=5),
        "weights of classes": classify(class_weight="balanced"),
        "both weights, all at once": classify(sample_weight=weights, class_weight={0: 2.0, 1: 0.5}, batch_size=None),
        "clip_norm": regress(clip_norm=0.1),
        "clip_value": regress(clip_value=0.01),
        "l2": regress(l2=0.3),
        "l2 by name": regress(l2={"W*": 0.3}, clip_norm=0.2),
        "groups": classify(optimizer=groups),
        "low memory": classify(memory="low"),
        "no vector": regress(optimizer=Apart(0.05)),
        "a schedule": regress(optimizer=gg.Momentum(schedules.cosine(0.1, 20), 0.8, weight_decay=0.01)),
        "exact": classify(exact=True),
        "early stopping": classify(early_stopping=gg.EarlyStopping("validation_loss", 2), **stopping),
        "early stopping by a metric": classify(early_stopping=gg.EarlyStopping("validation_f1", 3), **stopping),
        "metrics of what is trained on": regress(metrics=("r2", "max_error")),
        "two samples to validate with": regress(validation=(X[:2], targets[:2]), metrics="mae"),
        "two inputs, no target": lambda comm: gg.train(
            two_inputs(), {"b": X[:, 3], "a": X[:, :3]}, batch_size=9, epochs=5, dtype="float64", comm=comm
        ),
        "a callback ends it": classify(callbacks=lambda trainer, record: record["epoch"] == 2),
        "float32": classify(dtype="float32"),
        "records": classify(record=3),
        "a value that is not finite": regress(optimizer=gg.SGD(2.0), epochs=9),
        "one sample that is not": lambda comm: gg.train(
            gg.feedforward([6, 8, 2], "relu"), far, targets, optimizer=gg.SGD(1e-3), batch_size=50, epochs=2, comm=comm
        ),
    }


def confidence(prediction: np.ndarray, target: np.ndarray) -> float:
    """A metric of one's own, which depends on the order of the samples."""
    return float(np.mean(prediction.max(1) * np.linspace(0, 1, len(target))))


def results(run: gg.Run) -> dict[str, np.ndarray]:
    """All that a run tells, as arrays by name."""
    found = {f"parameters/{name}": a for name, a in run.parameters.items()}
    found |= {f"history/{name}": a for name, a in run.history.items()}
    found |= {f"state/{name}": a for name, a in run.trainer.state.items()}
    if run.records is not None:
        found |= {f"records/{name}": a for name, a in run.records["parameters"].items()}
        found |= {f"records/{name}": run.records[name] for name in ("k", "loss")}
    return found | {"stopped": np.array(run.stopped)}


# ---------------------------------------------------------------------------------------------------------------------
# What mpiexec starts
# ---------------------------------------------------------------------------------------------------------------------


def alike(comm: Any, run: gg.Run) -> gg.Run:
    """The run, which must be the same in all processes, byte for byte."""
    found = results(run)
    told = comm.allgather((list(found), fingerprint(found.values())))
    assert len({repr(one) for one in told}) == 1, told
    return run


def agree(comm: Any, place: Path) -> None:
    """All cases, of which the first process keeps the results."""
    kept = {}
    for name, case in cases(load(place)).items():
        found = results(alike(comm, case(comm)))
        kept |= {f"{name}: {key}": a for key, a in found.items()}
    if comm.rank == 0:
        np.savez(place / f"agree-{comm.size}.npz", **kept)


def alone(comm: Any, place: Path) -> None:
    """A communicator of one process is as none, to the byte; where it is not, that is told."""
    from mpi4py import MPI

    if comm.rank == 0:
        for name in ("weights of samples", "early stopping"):
            case = cases(load(place))[name]
            one, none = results(case(MPI.COMM_SELF)), results(case(None))
            assert {k: a.tobytes() for k, a in one.items()} == {k: a.tobytes() for k, a in none.items()}


def load(place: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(place / "digits.npz") as file:
        return file["X"], file["Y"]


def trained(comm: Any, **options: Any) -> gg.Run:
    X, Y = small()
    options = {"epochs": 6, "batch_size": 8, "dtype": "float64", "validation": (X, Y), "sampling": "lecture", **options}
    return alike(comm, gg.train(gg.feedforward([6, 9, 3], "tanh", "cross_entropy"), X, Y, comm=comm, **options))


def files(comm: Any, place: Path) -> None:
    """Checkpoints, logs and bars, by four processes and by two of them."""
    from graphgrad import loop

    written: list[str] = []
    write_model = loop.write_model
    loop.write_model = lambda path, model: (written.append(str(path)), write_model(path, model))  # type: ignore[assignment]

    met: list[int] = []
    trained(
        comm,
        checkpoint=place / "whole.model",
        log=place / "whole.jsonl",
        progress=True,
        callbacks=lambda trainer, record: met.append(record["epoch"]),
    )
    told = comm.allgather((len(written), met))
    assert told == [(6 if rank == 0 else 0, [1, 2, 3, 4, 5, 6]) for rank in range(comm.size)], told

    # The checkpoint of two processes, which four go on with; only the first one need know of it.
    pair = comm.Split(comm.rank < 2)
    if comm.rank < 2:
        trained(pair, checkpoint=place / "two.model")
        trained(pair, checkpoint=place / "begun.model", epochs=3, log=place / "begun.jsonl")
    comm.Barrier()
    kept = {"checkpoint": place / "four.model", "resume": place / "begun.model", "log": place / "four.jsonl"}
    trained(comm, **(kept if comm.rank == 0 else {}))
    if comm.rank < 2:  # and two, to the same bytes as if they had never stopped
        trained(pair, checkpoint=place / "begun.model", resume=place / "begun.model", log=place / "begun.jsonl")
        again = trained(pair, resume=place / "begun.model")  # which is over
        assert again.history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]

    # An interrupt that one process alone has noticed: after an epoch, and within one.
    def press(trainer: gg.Trainer, record: Any) -> None:
        if record["epoch"] == 2 and comm.rank == 3:
            signal.raise_signal(signal.SIGINT)

    run = trained(comm, callbacks=press)
    assert (run.stopped, run.history["epoch"].tolist(), run.trainer.k) == ("interrupted", [1, 2], 26)
    step = parallel.SummedStep.__call__

    def pressed(summed: parallel.SummedStep, *arguments: Any) -> float:
        if comm.rank == 1 and int(arguments[0][0].shape[0]) and next(count) == 20:
            signal.raise_signal(signal.SIGINT)
        return step(summed, *arguments)

    count = iter(range(10**6))
    parallel.SummedStep.__call__ = pressed  # type: ignore[method-assign]
    run = trained(comm, checkpoint=place / "pressed.model")
    parallel.SummedStep.__call__ = step  # type: ignore[method-assign]
    assert run.stopped == "interrupted"
    assert run.trainer.k == 22, run.trainer.k  # the step in which it came, and the one that told all
    comm.Barrier()
    trained(comm, checkpoint=place / "pressed.model", resume=place / "pressed.model")

    # A callback that ends training in one process alone.
    run = trained(comm, callbacks=lambda trainer, record: comm.rank == 2 and record["epoch"] == 3)
    assert (run.stopped, run.history["epoch"].tolist()) == ("callback", [1, 2, 3])

    # What a callback does in one process alone is what the first one did.
    def change(trainer: gg.Trainer, record: Any) -> None:
        if record["epoch"] == 6 and comm.rank != 1:
            trainer.parameters = {name: np.full(a.shape, comm.rank) for name, a in trainer.parameters.items()}

    run = trained(comm, callbacks=change)
    assert all((a == 0).all() for a in run.parameters.values())


def mistakes(comm: Any, place: Path) -> None:
    """What is told of mistakes, in each process; each time all go on together. The last one is told by Python."""
    from mpi4py import MPI

    X, Y = small()
    net = gg.feedforward([6, 9, 3], "tanh", "cross_entropy")
    g = gg.Graph()
    x, w = g.input("x", ("N", 6)), g.parameter("w", (6,))
    total = gg.Network(loss=gg.sum((x @ w) ** 2), inputs=[x])
    g = gg.Graph()
    x, w = g.input("x", (6,)), g.parameter("w", (6,))
    whole = gg.Network(loss=gg.sum((x - w) ** 2), inputs=[x])
    mine = comm.rank
    if mine == 0:
        trained(MPI.COMM_SELF, epochs=1, checkpoint=place / "begun.model")

    def train(*data: Any, net: gg.Network = net, **options: Any) -> Any:
        return lambda: gg.train(net, *(data or (X, Y)), **{"comm": comm, "epochs": 1, "batch_size": 8, **options})

    tried = {
        "wrong shape": train(X[:, :5], Y),
        "wrong shape in rank 1": train(X[:, : 6 - (mine == 1)], Y),
        "no array in rank 0": train("X" if mine == 0 else X, Y),
        "seed": train(seed=mine),
        "data": train(X + (mine == 1), Y),
        "parameters and epochs": train(parameters=net.initialize(int(mine == 1)), epochs=1 + (mine == 1)),
        "a directory that is missing": train(checkpoint=place / "nowhere" / "a.model"),
        "a log that cannot be written": train(log=place / "nowhere" / "a.jsonl"),
        "a file that is missing": train(resume=place / "nothing.model"),
        "a file of other settings": train(resume=place / "begun.model"),
        "a sum": train(X, net=total),
        "no batch": train(X[0], net=whole, batch_size=None),
        "COMM_NULL": train(comm=MPI.COMM_NULL),
        "an error that is not ours": train(validation=(X, Y) if mine != 1 else (X, Unwilling())),
    }
    told: dict[str, list[str]] = {}
    for name, act in tried.items():
        try:
            act()
            found = ""
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        told[name] = comm.allgather(found)
    if mine == 0:
        print(json.dumps(told), flush=True)
    comm.Barrier()
    train(X[:, :5], Y)()


class Unwilling:
    def __array__(self, *arguments: Any, **options: Any) -> np.ndarray:
        raise RuntimeError("not today")


def long_run(comm: Any, place: Path, act: Callable[[int], object]) -> None:
    """Epochs without end; when the second is over something happens."""

    def callback(trainer: gg.Trainer, record: Any) -> None:
        if record["epoch"] == 2:
            act(comm.rank)

    run = trained(comm, epochs=10**6, checkpoint=place / "long.model", callbacks=callback)
    os.write(1, f"{comm.rank} {run.stopped} {len(run.history['epoch'])} {run.trainer.k}\n".encode())


def interrupted(comm: Any, place: Path) -> None:
    long_run(comm, place, lambda rank: print("ready", flush=True) if rank == 0 else None)


def failing(comm: Any, place: Path) -> None:
    print("what was printed before", end="")
    long_run(comm, place, lambda rank: {}["what is not there"] if rank == 1 else None)


def refusing(comm: Any, place: Path) -> None:
    def refuse(rank: int) -> None:
        if rank == 1:
            raise gg.GraphgradError("enough\nof it")

    long_run(comm, place, refuse)


def killed(comm: Any, place: Path) -> None:
    long_run(comm, place, lambda rank: os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else None)


def main() -> None:
    name, place = sys.argv[1:]
    comm = parallel.world()
    warnings.simplefilter("ignore", TrainingWarning)
    for one in name.split(","):
        globals()[one](comm, Path(place))


if __name__ == "__main__":
    main()
