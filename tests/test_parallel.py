"""Training by several processes: by threads that stand for them, and by mpiexec with 2 and 4 processes.

A process that fails must not leave the others waiting, so everything that mpiexec runs has a timeout. Where mpiexec is
missing, the tests fail.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import parallel
from graphgrad.loop import TrainingWarning
from graphgrad.parallel import Processes
from tests import parallel_cases as cases

ROOT = Path(__file__).resolve().parent.parent
MPIEXEC = Path(sys.executable).parent / "mpiexec"  # of the wheel, whatever else is installed
TIMEOUT = 120


# ---------------------------------------------------------------------------------------------------------------------
# Threads that stand for processes
# ---------------------------------------------------------------------------------------------------------------------


class AbortedError(Exception):
    """A process ended all of them."""


class Comm:
    """What graphgrad uses of a communicator, for one of several threads."""

    is_inter = False

    def __init__(self, rank: int, size: int, barrier: threading.Barrier, slots: list[Any]) -> None:
        self.rank, self.size, self._barrier, self._slots = rank, size, barrier, slots

    def allgather(self, value: Any) -> list[Any]:
        self._slots[self.rank] = value
        self._barrier.wait()
        found = list(self._slots)
        self._barrier.wait()
        return found

    def gather(self, value: Any, root: int) -> list[Any] | None:
        found = self.allgather(value)
        return found if self.rank == root else None

    def bcast(self, value: Any, root: int) -> Any:
        return self.allgather(value)[root]

    def Allreduce(self, own: np.ndarray, out: np.ndarray) -> None:  # noqa: N802, as in mpi4py
        out[...] = np.sum(self.allgather(own.copy()), axis=0)

    def Abort(self, code: int) -> None:  # noqa: N802
        self._barrier.abort()
        raise AbortedError


def by_threads(size: int, act: Callable[[Any], Any]) -> list[Any]:
    """What each of `size` processes makes, or the error that it ends with."""
    barrier, slots, found = threading.Barrier(size, timeout=TIMEOUT), [None] * size, [None] * size

    def work(rank: int) -> None:
        try:
            found[rank] = act(Comm(rank, size, barrier, slots))
        except Exception as error:
            found[rank] = error

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def comm(rank: int = 0, size: int = 2) -> Comm:
    """One that has nobody to talk to."""
    return Comm(rank, size, threading.Barrier(1), [None] * size)


# ---------------------------------------------------------------------------------------------------------------------
# mpiexec
# ---------------------------------------------------------------------------------------------------------------------


def start(ranks: int, name: str, place: Path) -> subprocess.Popen[str]:
    """Functions of parallel_cases in that many processes."""
    assert MPIEXEC.exists(), f"{MPIEXEC} is missing: pip install 'graphgrad[mpi]' brings it"
    command = [str(MPIEXEC), "-n", str(ranks), sys.executable, "-m", "tests.parallel_cases", name, str(place)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr. Whoever hangs is ended, and the test fails."""
    try:
        out, err = process.communicate(timeout=TIMEOUT)
    finally:
        process.terminate()  # mpiexec then ends what it started
    return process.returncode, out, err


def mpiexec(ranks: int, name: str, place: Path) -> tuple[int, str, str]:
    return ended(start(ranks, name, place))


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    X, Y = load_digits(return_X_y=True)
    return X[:1600] / 16, Y[:1600]


@pytest.fixture(scope="module")
def wanted(digits: tuple[np.ndarray, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """What one process comes to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        return {name: cases.results(case(None)) for name, case in cases.cases(digits).items()}


def hold(name: str, found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    """To rounding: in float64 to 1e-9 of the largest parameter."""
    assert found.keys() == wanted.keys()
    double = all(a.dtype == "float64" for key, a in wanted.items() if key.startswith("parameters/"))
    largest = max(np.abs(a).max() for key, a in wanted.items() if key.startswith("parameters/"))
    for key, a in wanted.items():
        if a.dtype.kind in "US":
            assert str(found[key]) == str(a), f"{name}: {key}"
        else:
            scale = largest if key.startswith("parameters/") else np.abs(a).max(initial=1e-3)
            np.testing.assert_allclose(found[key], a, atol=scale * (1e-9 if double else 1e-5), rtol=0, err_msg=name)


# ---------------------------------------------------------------------------------------------------------------------
# Results
# ---------------------------------------------------------------------------------------------------------------------


def test_shares_are_a_partition_in_order() -> None:
    for size in range(1, 9):
        for n in range(20):
            batch = np.arange(n) * 3
            shares = [Processes(comm(rank, size)).share(batch) for rank in range(size)]
            assert np.array_equal(np.concatenate(shares), batch)
            counts = [len(share) for share in shares]
            assert counts == sorted(counts, reverse=True)
            assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("size", [2, 3, pytest.param(7, marks=pytest.mark.slow)])
def test_however_many_processes_there_are(size: int) -> None:
    """All cases but the digits, where it is not time for mpiexec."""
    few = cases.cases((np.zeros((1, 64)), np.zeros(1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        for name, case in few.items():
            if not name.startswith("digits"):
                one = cases.results(case(None))
                for run in by_threads(size, case):
                    assert isinstance(run, gg.Run), run
                    hold(name, cases.results(run), one)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
def test_mpi_processes_agree_with_one(ranks: int, tmp_path: Path) -> None:
    """Among others on the digits, 64-32-10 tanh, SGD and Adam, after 200 steps."""
    from sklearn.datasets import load_digits

    X, Y = load_digits(return_X_y=True)
    np.savez(tmp_path / "digits.npz", X=X[:1600] / 16, Y=Y[:1600])
    code, _, err = mpiexec(ranks, "agree,alone", tmp_path)
    assert code == 0, err
    with np.load(tmp_path / f"agree-{ranks}.npz") as file:
        found = dict(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        for name, case in cases.cases(cases.load(tmp_path)).items():
            one = cases.results(case(None))
            of_case = {key.removeprefix(f"{name}: "): a for key, a in found.items() if key.startswith(f"{name}: ")}
            hold(name, of_case, one)
            if name.startswith("digits"):
                assert one["state/k"] == 200
                assert one["history/loss"][-1] < 0.6 * one["history/loss"][0]


def test_a_run_of_several_processes_is_as_one_of_one() -> None:
    """Its trainer takes steps, also by an optimizer of one's own; its profile is of a whole batch."""
    case = cases.cases((np.zeros((1, 64)), np.zeros(1)))["no vector"]
    X, _ = cases.small()
    one = case(None)
    for run in by_threads(2, case):
        assert [len(a) for a in run.sample] == [16, 16]
        assert run.profile().total > 0
        batch = X[:10], np.sin(X[:10, :2])
        assert run.trainer.step(*batch) == pytest.approx(one.trainer.step(*batch), rel=1e-9)
        one = case(None)


def test_a_trainer_of_several_processes_takes_no_step_alone(capsys: pytest.CaptureFixture[str]) -> None:
    X, Y = cases.small()

    def act(comm: Comm) -> Any:
        return gg.train(
            gg.feedforward([6, 3], "tanh", "cross_entropy"), X, Y, epochs=1, comm=comm,
            callbacks=lambda trainer, record: trainer.step(X, Y),
        )  # fmt: skip

    by_threads(2, act)
    word = "this trainer is one of several processes, whose steps gg.train takes; a run's own trainer is of one"
    assert f" of 2: {word}\n" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------------------
# Files, interrupts, callbacks
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_files_are_written_once_and_go_on_with_any_number_of_processes(tmp_path: Path) -> None:
    """The rest is asserted in the processes."""
    code, _, err = mpiexec(4, "files", tmp_path)
    assert code == 0, err
    names = {"whole", "two", "begun", "four", "pressed"}
    logs = {"whole", "begun", "four"}
    assert {p.name for p in tmp_path.iterdir()} == {f"{n}.model" for n in names} | {f"{n}.jsonl" for n in logs}
    assert err.count(" 0/78 ") == 1
    X, Y = cases.small()
    one = gg.train(
        gg.feedforward([6, 9, 3], "tanh", "cross_entropy"), X, Y, epochs=6, batch_size=8, dtype="float64",
        validation=(X, Y), sampling="lecture",
    )  # fmt: skip
    for name in names:
        hold(name, cases.results(gg.load(tmp_path / f"{name}.model")), cases.results(one))
    assert (tmp_path / "begun.model").read_bytes() == (tmp_path / "two.model").read_bytes()
    for name in logs:
        lines = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        assert [record["epoch"] for record in lines] == [1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose([record["loss"] for record in lines], one.history["loss"], rtol=1e-9)


@pytest.mark.slow
def test_ctrl_c_ends_all_with_what_was_learned(tmp_path: Path) -> None:
    process = start(3, "interrupted", tmp_path)
    assert process.stdout is not None
    watch = threading.Timer(TIMEOUT, process.terminate)
    watch.start()
    assert process.stdout.readline() == "ready\n"
    watch.cancel()
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert code == 0, err
    told = sorted(line.split(" ", 1) for line in out.splitlines() if line[:1].isdigit())
    assert [rank for rank, _ in told] == ["0", "1", "2"]
    (rest,) = {rest for _, rest in told}
    word, epochs, k = rest.split()
    assert word == "interrupted"
    assert int(epochs) >= 2
    assert 13 * int(epochs) <= int(k) <= 13 * (int(epochs) + 1)
    model = gg.load(tmp_path / "long.model")
    assert (model.interrupted, model.trainer.k, len(model.history["epoch"])) == (True, int(k), int(epochs))


def test_the_command_line_trains_by_several_processes(tmp_path: Path) -> None:
    """One model, one report, one voice, for mistakes too."""
    X, Y = cases.small()
    lines = ["a,b,c,d,e,f,kind", *(",".join(map(str, [*x, "pqr"[y]])) for x, y in zip(X.tolist(), Y, strict=True))]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    code = "import sys; from graphgrad.cli import main; sys.exit(main())"
    models = []
    for ranks in (1, 2):
        command = [str(MPIEXEC), "-n", str(ranks), sys.executable, "-c", code]
        options = ["--target", "kind", "--epochs", "3", "--out", f"out{ranks}"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        for table, status in (("table.csv", 0), ("none.csv", 2)):
            done = subprocess.run(
                [*command, "train", "auto-5-auto:tanh", table, *options],
                cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=TIMEOUT,
            )  # fmt: skip
            assert done.returncode == status, done.stderr
            assert done.stdout.count("saved in") == (not status)
            assert done.stderr == ("graphgrad: none.csv does not exist\n" if status else "")
        models.append(gg.load(tmp_path / f"out{ranks}" / "model.safetensors"))
    for name, a in models[0].parameters.items():
        np.testing.assert_allclose(models[1].parameters[name], a, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Mistakes, and processes that end
# ---------------------------------------------------------------------------------------------------------------------


def test_mistakes_are_told_in_all_processes_and_leave_none_waiting(tmp_path: Path) -> None:
    code, out, err = mpiexec(2, "mistakes", tmp_path)
    assert code == 1
    told = json.loads(out.splitlines()[0])
    here = str(tmp_path)
    shape = "X has shape (101, 5), but x is (N, 6)"
    same = (
        "rank 1 of 2 was given other {} than rank 0; all processes are given the same, and share each batch themselves"
    )
    of_first = {
        "no array in rank 0": ("CallError", "X is str32, but x is float32"),
        "a directory that is missing": ("GraphgradError", f"checkpoint: the directory {here}/nowhere does not exist"),
        "a log that cannot be written": (
            "GraphgradError",
            f"log: {here}/nowhere/a.jsonl cannot be written: No such file or directory",
        ),
        "a file that is missing": ("ModelError", f"{here}/nothing.model does not exist"),
    }
    of_all = {
        "wrong shape": f"CallError: {shape}",
        "seed": f"GraphgradError: {same.format('seed, parameters')}",
        "data": f"GraphgradError: {same.format('data')}",
        "parameters and epochs": f"GraphgradError: {same.format('epochs, parameters')}",
        "a file of other settings": f"ModelError: {here}/begun.model: the run began with dtype='float64', "
        "but 'float32' is asked for; it goes on with what it began with",
        "no batch": "GraphgradError: the inputs and the target share no named size as first dimension, "
        "so batches cannot be cut: one process trains alone",
        "COMM_NULL": "GraphgradError: comm is a communicator of mpi4py that this process is in, "
        "such as MPI.COMM_WORLD, but Comm was given",
    }
    wanted = {name: [text] * 2 for name, text in of_all.items()}
    wanted |= {name: [f"{kind}: {t}", f"GraphgradError: rank 0 of 2: {t}"] for name, (kind, t) in of_first.items()}
    wanted["wrong shape in rank 1"] = [f"GraphgradError: rank 1 of 2: {shape}", f"CallError: {shape}"]
    wanted["an error that is not ours"] = [
        "GraphgradError: rank 1 of 2: RuntimeError: not today",
        "RuntimeError: not today",
    ]
    sums = told.pop("a sum")
    assert told == wanted
    assert all("= sum (made at parallel_cases.py:" in text for text in sums)
    assert all(text.endswith("several processes can share a batch if its loss is a mean over samples") for text in sums)
    assert err.count(f"CallError: {shape}") == 2  # by Python, in each, whose lines may mix
    assert "Abort" not in err


@pytest.mark.parametrize(
    ("name", "word"),
    [("failing", "KeyError: 'what is not there'"), ("refusing", "enough of it")],
)
def test_a_process_that_fails_ends_all_with_a_word(name: str, word: str, tmp_path: Path) -> None:
    code, out, err = mpiexec(2, name, tmp_path)
    assert code == 1
    assert err.count(f"graphgrad: rank 1 of 2: {word}\n") == 1
    assert ("Traceback" in err) == (name == "failing")  # of an error that nobody wrote to be read
    assert "interrupted" not in out


def test_a_process_that_is_killed_leaves_none_waiting(tmp_path: Path) -> None:
    code, _, err = mpiexec(2, "killed", tmp_path)
    assert code == 9, err
    assert gg.load(tmp_path / "long.model").history["epoch"].tolist() == [1]  # it died before the second was kept


def test_a_process_that_fails_in_a_step_ends_all(capsys: pytest.CaptureFixture[str]) -> None:
    X, Y = cases.small()

    def act(comm: Comm) -> Any:
        def fail(prediction: Any, target: Any) -> float:  # asked of the first process alone
            return 1 / 0

        net = gg.feedforward([6, 3], "tanh", "cross_entropy")
        return gg.train(net, X, Y, epochs=3, comm=comm, metrics=[fail, "accuracy"])

    found = by_threads(3, act)
    assert isinstance(found[0], AbortedError)
    assert all(isinstance(error, (AbortedError, threading.BrokenBarrierError)) for error in found)
    assert "graphgrad: rank 0 of 3: ZeroDivisionError: division by zero\n" in capsys.readouterr().err


class Two(Comm):
    is_inter = True  # between two groups


@pytest.mark.parametrize(
    "given", [3, "world", object(), SimpleNamespace(rank=0, size=1), Comm, Two(0, 2, threading.Barrier(1), [])]
)
def test_what_is_no_communicator_is_told(given: Any) -> None:
    message = (
        r"^comm is a communicator of mpi4py that this process is in, such as MPI\.COMM_WORLD, "
        rf"but {type(given).__name__} was given$"
    )
    with pytest.raises(gg.GraphgradError, match=message):
        gg.train(gg.feedforward([6, 3]), np.zeros((4, 6)), np.zeros((4, 3)), comm=given)


def test_a_loss_whose_parts_are_no_mean_is_told() -> None:
    X, _ = cases.small()
    g = gg.Graph()
    x, w = g.input("x", ("N", 6)), g.parameter("w", (6,))
    z = x @ w
    for loss in (gg.sum(z**2), gg.mean((z - gg.mean(z)) ** 2), gg.mean(z) ** 2 + gg.mean(z**2)):
        net = gg.Network(loss=loss, inputs=[x])
        for error in by_threads(2, lambda comm, net=net: gg.train(net, X, batch_size=8, epochs=1, comm=comm)):
            assert isinstance(error, gg.GraphgradError)
            assert str(error).endswith("several processes can share a batch if its loss is a mean over samples")
    net = gg.Network(loss=gg.mean(z**2) + gg.sum(w**2), inputs=[x])
    for run in by_threads(2, lambda comm: gg.train(net, X, batch_size=8, epochs=1, comm=comm)):
        assert isinstance(run, gg.Run), run


# ---------------------------------------------------------------------------------------------------------------------
# Whether there are several
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in parallel.LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def mpi4py_of(size: int) -> dict[str, Any]:
    """Modules that stand for an mpi4py which knows of so many processes."""
    package, module = ModuleType("mpi4py"), ModuleType("mpi4py.MPI")
    module.COMM_WORLD = package.MPI = SimpleNamespace(size=size)  # type: ignore[attr-defined]
    package.MPI = module  # type: ignore[attr-defined]
    return {"mpi4py": package, "mpi4py.MPI": module}


def test_without_a_launcher_there_is_no_world_and_no_mpi(no_launcher: pytest.MonkeyPatch) -> None:
    code = "import graphgrad.parallel as p, sys; print(p.world(), 'mpi4py' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("None False\n", "")
    no_launcher.setitem(sys.modules, "mpi4py", None)
    for value in ("1", "", "x"):
        no_launcher.setenv("PMI_SIZE", value)
        assert parallel.world() is None


@pytest.mark.parametrize("name", parallel.LAUNCHERS)
def test_the_world_of_a_launcher(name: str, no_launcher: pytest.MonkeyPatch) -> None:
    no_launcher.setenv(name, "3")
    for key, module in mpi4py_of(3).items():
        no_launcher.setitem(sys.modules, key, module)
    assert parallel.world() is sys.modules["mpi4py"].MPI.COMM_WORLD
    for key, module in mpi4py_of(1).items():
        no_launcher.setitem(sys.modules, key, module)
    with pytest.raises(gg.GraphgradError, match=r"^3 processes were started, but mpi4py knows of 1: it belongs to an"):
        parallel.world()
    no_launcher.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(
        gg.GraphgradError, match=r'^3 processes were started, .*: pip install "graphgrad\[mpi\]" brings'
    ):
        parallel.world()
