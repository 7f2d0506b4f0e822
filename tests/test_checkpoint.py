"""Nothing lost: a run that was stopped, anywhere and anyhow, goes on to the same bytes."""

import os
import random
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import schedules
from graphgrad.errors import GraphgradError
from graphgrad.evaluation import Evaluation
from graphgrad.model_file import read_model, write_model
from graphgrad.preprocessing import Preprocessing
from graphgrad.table import Table

ROOT = Path(__file__).resolve().parent.parent

rng = np.random.default_rng(7)
X, Y = rng.normal(size=(61, 3)), rng.integers(0, 3, 61)


def net() -> gg.Network:
    return gg.feedforward([3, 8, 3], "tanh", "cross_entropy")


class Own:
    """An optimizer of a user's own, with a number among its states."""

    def update(self, theta: Any, g: Any, k: Any, state: Any) -> Any:
        m, c = state("m"), state("c", weak=True)
        new_m, new_c = 0.9 * m + 0.1 * g, 0.5 * c + 0.5
        return {theta: theta - 0.05 * new_m / new_c, m: new_m, c: new_c}


SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": gg.Adam(0.01)},
    "schedules": {"optimizer": gg.Adam(schedules.cosine(0.02, 60), beta1=schedules.piecewise([0.5, 0.9], [7]))},
    "momentum": {"optimizer": gg.Momentum(0.05), "dtype": "float64", "batch_size": None},
    "lecture": {"optimizer": gg.Momentum(0.05, form="lecture"), "sampling": "lecture"},
    "own": {"optimizer": Own()},
    "groups": {"optimizer": gg.Groups({"W1": None, "b*": gg.SGD(0.1), "*": gg.Adam(0.01)})},
    "low": {"memory": "low", "clip_norm": 0.1, "exact": True},
    "weights": {"sample_weight": rng.uniform(0, 1, 61), "class_weight": {1: 2.0}, "l2": {"W*": 1e-3}},
    "stopping": {
        "validation": 0.2,
        "stratify": True,
        "metrics": ("f1",),
        "early_stopping": gg.EarlyStopping("validation_loss", patience=3),
        "optimizer": gg.Adam(0.1),
    },
}


def trained(folder: Path, name: str, **more: Any) -> gg.Run:
    return gg.train(net(), X, Y, **{"batch_size": 8, "epochs": 9, "seed": 5, **SETTINGS[name], **more})


def bytes_of(run: gg.Run, folder: Path) -> bytes:
    run.save(folder / "whole.model")
    return (folder / "whole.model").read_bytes()


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("stop", [1, 4, 7, 9])
def test_a_run_in_two_parts_is_the_run_in_one(name: str, stop: int, tmp_path: Path) -> None:
    whole = bytes_of(trained(tmp_path, name), tmp_path)
    trained(tmp_path, name, epochs=stop, checkpoint=tmp_path / "c")
    again = trained(tmp_path, name, resume=tmp_path / "c")
    stored, plain = gg.load(tmp_path / "whole.model"), again.parameters
    assert all(np.array_equal(a, plain[n]) for n, a in stored.parameters.items())
    # The fingerprint of the data is taken only where a file asks for it; all else is the same to the byte.
    whole = bytes_of(trained(tmp_path, name, checkpoint=tmp_path / "d"), tmp_path)
    assert bytes_of(again, tmp_path) == whole


@pytest.mark.parametrize("name", SETTINGS)
def test_an_interrupt_within_an_epoch_loses_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bytes_of(trained(tmp_path, name, checkpoint=tmp_path / "d"), tmp_path)
    step, done = gg.Trainer.step, [0]

    def pressed(trainer: gg.Trainer, *batch: Any) -> float:
        done[0] += 1
        if done[0] == 3:
            signal.raise_signal(signal.SIGINT)
        return step(trainer, *batch)

    with monkeypatch.context() as patched:
        patched.setattr(gg.Trainer, "step", pressed)
        first = trained(tmp_path, name, checkpoint=tmp_path / "c")
    assert (first.stopped, first.trainer.k) == ("interrupted", 3)
    assert bytes_of(trained(tmp_path, name, checkpoint=tmp_path / "c", resume=tmp_path / "c"), tmp_path) == whole


@pytest.mark.parametrize(
    ("widths", "batch_size", "samples"),
    [([64, 128, 10], 128, 1437), ([64, 64, 64, 10], 64, 100), ([30, 40, 40, 10], 64, 65)],
)
def test_a_run_that_goes_on_with_a_small_rest_takes_the_same_steps(
    widths: list[int], batch_size: int, samples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How values lie in a step is settled by the size of the run's batches, not by that of the first after a stop."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(samples, widths[0])), generator.integers(0, widths[-1], samples)
    network = gg.feedforward(widths, activation="tanh", loss="cross_entropy")
    options: dict[str, Any] = {"optimizer": gg.Adam(0.01), "batch_size": batch_size, "epochs": 3, "progress": False}
    whole = gg.train(network, x, y, **options)
    step, done, steps = gg.Trainer.step, [0], -(-samples // batch_size)

    def pressed(trainer: gg.Trainer, *batch: Any) -> float:
        done[0] += 1
        if done[0] == 2 * steps - 1:
            signal.raise_signal(signal.SIGINT)
        return step(trainer, *batch)

    with monkeypatch.context() as patched:
        patched.setattr(gg.Trainer, "step", pressed)
        assert gg.train(network, x, y, checkpoint=tmp_path / "c", **options).stopped == "interrupted"
    again = gg.train(network, x, y, resume=tmp_path / "c", **options)
    for name, value in whole.parameters.items():
        assert again.parameters[name].tobytes() == value.tobytes()


@pytest.mark.parametrize("every", [1, 3, 5])
def test_a_checkpoint_every_so_many_updates(every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies after its 13th update leaves the file of the last multiple."""
    whole = bytes_of(trained(tmp_path, "schedules", checkpoint=tmp_path / "d"), tmp_path)
    step = gg.Trainer.step

    class Died(BaseException):
        pass

    def mortal(trainer: gg.Trainer, *batch: Any) -> float:
        if trainer.k == 13:
            raise Died
        return step(trainer, *batch)

    with monkeypatch.context() as patched:
        patched.setattr(gg.Trainer, "step", mortal)
        with pytest.raises(Died):
            trained(tmp_path, "schedules", checkpoint=tmp_path / "c", checkpoint_every=every)
    assert gg.load(tmp_path / "c").trainer.k == 13 // every * every
    assert bytes_of(trained(tmp_path, "schedules", resume=tmp_path / "c"), tmp_path) == whole


def test_a_step_over_all_samples_is_done_once_where_the_run_ended_before_its_epoch_did(tmp_path: Path) -> None:
    def dies(prediction: np.ndarray, target: np.ndarray) -> float:
        raise KeyError("validation")

    dies.__name__ = "accuracy"
    told = {"validation": 0.2, "checkpoint": tmp_path / "c", "checkpoint_every": 1, "optimizer": gg.Momentum(0.05)}
    with pytest.raises(KeyError):
        gg.train(net(), X, Y, batch_size=None, epochs=3, metrics=dies, **told)  # type: ignore[arg-type]
    again = gg.train(net(), X, Y, batch_size=None, epochs=3, metrics="accuracy", resume=tmp_path / "c", **told)  # type: ignore[arg-type]
    assert again.trainer.k == 3
    assert bytes_of(again, tmp_path) == bytes_of(
        gg.train(net(), X, Y, batch_size=None, epochs=3, metrics="accuracy", **{**told, "checkpoint": tmp_path / "d"}),  # type: ignore[arg-type]
        tmp_path,
    )


def shrink(trainer: gg.Trainer, record: Any) -> bool:
    """A callback that changes what is learned, and ends the run in the fifth epoch."""
    trainer.parameters = {name: 0.9 * a for name, a in trainer.parameters.items()}
    return record["epoch"] == 5


@pytest.mark.parametrize("presses", [1, 2, 3])
@pytest.mark.parametrize("place", ["step", "after a step", "validation", "callback", "after a callback", "write"])
@pytest.mark.parametrize("call", [3, 8])  # of such a place
@pytest.mark.parametrize("name", ["adam", "momentum", "low"])
def test_any_number_of_interrupts_at_any_moment_loses_nothing(
    name: str, call: int, place: str, presses: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was broken off is gone back before, so that the run and its file are those of a moment of the run."""
    settings: dict[str, Any] = {"epochs": 6, "validation": 0.2, "early_stopping": "validation_loss"}
    log, calls = tmp_path / "log", [0]

    def press() -> None:
        calls[0] += 1
        if calls[0] == (call if "step" in place else call // 2):
            for _ in range(presses):
                signal.raise_signal(signal.SIGINT)

    def pressed(function: Any, late: bool) -> Any:
        def inner(*given: Any, **options: Any) -> Any:
            if not late:
                press()
            result = function(*given, **options)
            if late:
                press()
            return result

        return inner

    run = trained(tmp_path, name, **settings, callbacks=shrink, checkpoint=tmp_path / "d", log=log)
    assert run.stopped == "callback"
    whole, lines = bytes_of(run, tmp_path), log.read_text()
    callback = pressed(shrink, place.startswith("after")) if "callback" in place else shrink
    with monkeypatch.context() as patched:
        if "step" in place:
            patched.setattr(gg.Trainer, "step", pressed(gg.Trainer.step, place.startswith("after")))
        if place == "validation":
            patched.setattr(Evaluation, "sums", pressed(Evaluation.sums, False))
        if place == "write":
            patched.setattr(os, "replace", pressed(os.replace, False))
        first = trained(tmp_path, name, **settings, callbacks=callback, checkpoint=tmp_path / "c", log=log)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert len(log.read_text().splitlines()) == len(first.history.get("epoch", ()))
    first.save(tmp_path / "kept")
    for file in ("kept", "c"):
        again = trained(
            tmp_path, name, **settings, callbacks=shrink, checkpoint=tmp_path / "e", resume=tmp_path / file, log=log
        )
        assert (bytes_of(again, tmp_path), log.read_text()) == (whole, lines)


@pytest.mark.parametrize("place", ["validation", "callback"])
def test_a_second_interrupt_ends_a_validation_or_a_callback_soon(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after: list[str] = []

    def long(*given: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        after.append(place)

    if place == "validation":
        monkeypatch.setattr(Evaluation, "sums", long)
    run = trained(tmp_path, "adam", validation=0.2, callbacks=long if place == "callback" else (), record=True)
    assert (run.interrupted, after, len(run.history.get("epoch", ()))) == (True, [], 0)
    assert run.trainer.k == 7  # the whole epoch
    assert run.records is not None
    assert run.records["k"].tolist() == list(range(7))


def test_an_interrupt_while_the_last_file_is_written_keeps_the_run_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = os.replace

    def pressed(source: str, target: str) -> None:
        signal.raise_signal(signal.SIGINT)
        written(source, target)

    monkeypatch.setattr(os, "replace", pressed)
    run = trained(tmp_path, "adam", checkpoint=tmp_path / "c", checkpoint_every=1000)
    assert (run.interrupted, len(run.history["loss"])) == (True, 9)
    assert gg.load(tmp_path / "c").trainer.k == run.trainer.k == 9 * 8


@pytest.mark.filterwarnings("ignore::graphgrad.loop.TrainingWarning")
def test_a_search_for_what_is_not_finite_is_broken_off_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.ones((40, 1)), np.ones((40, 1))

    def train(**more: Any) -> gg.Run:
        return gg.train(gg.feedforward([1, 1]), x, y, optimizer=gg.SGD(40.0), batch_size=1, **more)

    whole = bytes_of(train(checkpoint=tmp_path / "d"), tmp_path)
    step, calls = gg.Trainer.step, [0]

    def pressed(trainer: gg.Trainer, *batch: Any) -> float:
        calls[0] += 1
        if calls[0] > trainer.k + 1:  # it goes through the epoch once more
            signal.raise_signal(signal.SIGINT)
        return step(trainer, *batch)

    with monkeypatch.context() as patched:
        patched.setattr(gg.Trainer, "step", pressed)
        run = train(checkpoint=tmp_path / "c")
    assert (run.interrupted, run.trainer.k) == (True, 0)
    assert bytes_of(train(checkpoint=tmp_path / "c", resume=tmp_path / "c"), tmp_path) == whole


@pytest.mark.parametrize("end", ["early stopping", "callback"])
def test_an_interrupt_in_the_epoch_that_ends_a_run_is_no_reason_to_go_on(end: str, tmp_path: Path) -> None:
    """The rule that ended it would see the same epoch as before; a resumed run must not outlast it."""
    last = len(trained(tmp_path, "stopping", epochs=200).history["loss"]) if end == "early stopping" else 3

    def press(trainer: gg.Trainer, record: Any) -> bool:
        if record["epoch"] == last:
            signal.raise_signal(signal.SIGINT)
        return end == "callback" and record["epoch"] == last

    run = trained(tmp_path, "stopping", epochs=200, checkpoint=tmp_path / "c", callbacks=press)
    assert (run.stopped, len(run.history["loss"])) == (end, last)


CHILD = """
import sys
import numpy as np, graphgrad as gg
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(32, 40)), rng.integers(0, 3, 32)
net = gg.feedforward([40, 64, 3], "tanh", "cross_entropy")

def main(path, out=None):
    tick = lambda trainer, record: print(trainer.k, flush=True) if out is None else None
    run = gg.train(net, X, Y, optimizer=gg.Adam(0.01), batch_size=16, epochs=60, validation=0.25, callbacks=tick,
                   early_stopping=gg.EarlyStopping("validation_loss", 50), checkpoint=path, checkpoint_every=1,
                   resume=path)
    if out is not None:
        run.save(out)

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


@pytest.mark.slow
def test_a_process_that_is_killed_at_any_moment_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    """Twenty times: at a random update, then a random while on, most of which is spent in writing the checkpoint."""
    script, moments = tmp_path / "child.py", random.Random(11)
    script.write_text(CHILD)
    space: dict[str, Any] = {"__name__": "child"}
    exec(CHILD, space)
    place = tmp_path / "runs"
    place.mkdir()
    space["main"](place / "never.ckpt", tmp_path / "never.model")
    whole, killed = (tmp_path / "never.model").read_bytes(), 0
    (place / "never.ckpt").unlink()
    for trial in range(20):
        path = place / "run.ckpt"
        child = subprocess.Popen(
            [sys.executable, str(script), str(path)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "."},
        )
        assert child.stdout is not None
        for _ in range(moments.randrange(1, 50)):
            child.stdout.readline()
        for _ in range(moments.randrange(200_000)):
            pass
        child.kill()
        killed += child.wait() == -signal.SIGKILL
        child.stdout.close()
        assert gg.load(path).network.size == 40 * 64 + 64 + 64 * 3 + 3  # no moment leaves a file that cannot be read
        space["main"](path, tmp_path / "again.model")
        assert (tmp_path / "again.model").read_bytes() == whole, trial
        assert [f.name for f in place.iterdir()] == ["run.ckpt"], trial  # nor one that was half written
        path.unlink()
    assert killed >= 15  # the others were over before


def test_leftovers_of_a_killed_writer_are_removed_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "run[1].ckpt"
    trained(tmp_path, "adam", epochs=1, checkpoint=path)
    (tmp_path / ".run[1].ckpt.abcd1234.part").write_bytes(b"half")
    (tmp_path / ".run1.ckpt.abcd1234.part").write_bytes(b"another's")
    trained(tmp_path, "adam", epochs=2, checkpoint=path, resume=path)
    assert sorted(f.name for f in tmp_path.iterdir()) == [".run1.ckpt.abcd1234.part", "run[1].ckpt"]


def test_preprocessing_is_stored_and_outlives_a_run_that_goes_on_without_it(tmp_path: Path) -> None:
    table = Table("t.csv", {"x": np.array([1.0, 3.0]), "y": np.array([2.0, 5.0])}, lines=np.array([2, 3]))
    known = Preprocessing.fit(table, ["y"])
    for name, given in (("a", known), ("b", {"mean": (0.5, 1), "names": {1: "x"}})):
        first = trained(tmp_path, "adam", epochs=1, checkpoint=tmp_path / name, preprocessing=given)
        again = trained(tmp_path, "adam", epochs=2, checkpoint=tmp_path / name, resume=tmp_path / name)
        assert first.preprocessing == again.preprocessing == gg.load(tmp_path / name).preprocessing
    assert again.preprocessing == {"mean": [0.5, 1], "names": {"1": "x"}}
    assert Preprocessing.from_json(gg.load(tmp_path / "a").preprocessing) == known


# ---------------------------------------------------------------------------------------------------------------------
# What does not fit
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 16}, r"the run began with batch_size=8, but 16 is asked for"),
        ({"seed": 6}, r"the run began with seed=5, but 6 is asked for"),
        ({"dtype": "float64"}, r"the run began with dtype='float32', but 'float64' is asked for"),
        (
            {"optimizer": gg.Adam(0.02)},
            r"the run began with optimizer=\{.*'alpha': 0.01.*\}, but \{.*'alpha': 0.02.*\}",
        ),
        ({"clip_norm": 1.0}, r"the run began with clip_norm=None, but 1.0 is asked for"),
        ({"X": X + 1}, r"the run began with other data than now"),
        ({"Y": Y[::-1].copy()}, r"the run began with other data than now"),
        ({"sample_weight": np.ones(61)}, r"the run began with weighted=False, but True is asked for"),
        (
            {"net": gg.feedforward([3, 9, 3], "tanh", "cross_entropy")},
            r"it is a run of <network 3-8-3: .*>, but <network 3-9-3",
        ),
        (
            {"net": gg.feedforward([3, 8, 3], "relu", "cross_entropy")},
            r"it is a run of <network 3-8-3: .*>, but <network 3-8-3",
        ),
    ],
)
def test_a_run_goes_on_only_with_what_it_began_with(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    trained(tmp_path, "adam", epochs=1, checkpoint=tmp_path / "c")
    before = (tmp_path / "c").read_bytes()
    arguments = {"net": net(), "X": X, "Y": Y, "batch_size": 8, "seed": 5, "optimizer": gg.Adam(0.01), **changed}
    with pytest.raises(GraphgradError, match=f"^{tmp_path}/c: {message}"):
        gg.train(**arguments, resume=tmp_path / "c", checkpoint=tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == before


@pytest.mark.parametrize("change", [{"best": "x"}, {"batch": 10**30}, {"batch": 99}, {"epoch": -1}, {"stopped": 3}])
def test_progress_that_makes_no_sense_is_told(change: dict[str, Any], tmp_path: Path) -> None:
    trained(tmp_path, "stopping", epochs=1, checkpoint=tmp_path / "c")
    model = read_model(tmp_path / "c")
    write_model(tmp_path / "c", replace(model, progress={**model.progress, **change}))
    with pytest.raises(GraphgradError, match=f"^{tmp_path}/c: what it tells of its progress is broken$"):
        trained(tmp_path, "stopping", resume=tmp_path / "c")


def test_what_a_run_may_change(tmp_path: Path) -> None:
    """More epochs, another place, other callbacks: none of them changes a number."""
    trained(tmp_path, "adam", epochs=2, checkpoint=tmp_path / "c")
    seen: list[float] = []
    run = trained(
        tmp_path,
        "adam",
        epochs=4,
        resume=tmp_path / "c",
        checkpoint=tmp_path / "d",
        callbacks=lambda t, r: seen.append(r["epoch"]),
    )
    assert seen == [3, 4]
    assert len(run.history["loss"]) == 4


def test_a_run_that_is_over_stays_as_it_is(tmp_path: Path) -> None:
    first = trained(tmp_path, "stopping", epochs=200, checkpoint=tmp_path / "c")
    assert first.stopped == "early stopping"
    again = trained(tmp_path, "stopping", epochs=400, resume=tmp_path / "c")
    assert bytes_of(again, tmp_path) == bytes_of(first, tmp_path)
    assert first.history["validation_loss"].argmin() == len(first.history["loss"]) - 1 - 3  # patience
    best = float(first.history["validation_loss"].min())
    assert first.parameters.keys() == again.parameters.keys()
    assert again.trainer.parameters["W1"].tobytes() == first.parameters["W1"].tobytes()
    assert first.history["validation_loss"][-1] > best


def test_the_checkpoint_itself_may_be_missing_and_no_other_file(tmp_path: Path) -> None:
    fresh = trained(tmp_path, "adam", epochs=1, checkpoint=tmp_path / "c", resume=tmp_path / "c")
    assert len(fresh.history["loss"]) == 1
    with pytest.raises(GraphgradError, match=rf"^{tmp_path}/x does not exist$"):
        trained(tmp_path, "adam", checkpoint=tmp_path / "c", resume=tmp_path / "x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"checkpoint": "{folder}"}, r"checkpoint: {folder} is a directory; the name of a file is wanted"),
        ({"checkpoint": "{folder}/no/c"}, r"checkpoint: the directory {folder}/no does not exist"),
        ({"checkpoint_every": 5}, r"checkpoint_every says how often, but not where: checkpoint=path does"),
        (
            {"checkpoint": "{folder}/c", "checkpoint_every": 0},
            r"checkpoint_every is a whole number from 1 on, but 0 was given",
        ),
        ({"log": "{folder}/no/log"}, r"log: {folder}/no/log cannot be written: No such file or directory"),
        (
            {"preprocessing": {"mean": np.zeros(2)}, "checkpoint": "{folder}/c"},
            r"preprocessing is a Preprocessing, or a mapping of what JSON can hold, but dict was given "
            r"\(Object of type ndarray is not JSON serializable\)",
        ),
        ({"preprocessing": 3}, r"preprocessing is .*, but int was given \('int' object is not iterable\)"),
        ({"resume": "{folder}"}, r"{folder} is a directory; a file that run.save wrote is wanted"),
    ],
)
def test_places_that_cannot_be_written_are_told_first(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    given = {k: v.format(folder=tmp_path) if isinstance(v, str) else v for k, v in arguments.items()}
    with pytest.raises(GraphgradError, match=f"^{message.format(folder=tmp_path)}$"):
        trained(tmp_path, "adam", epochs=1, **given)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    """A limit on the size of files stands for it."""
    path = tmp_path / "c"
    trained(tmp_path, "adam", epochs=1, checkpoint=path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(GraphgradError, match=rf"^{path} cannot be written: File too large$"):
            trained(tmp_path, "adam", epochs=2, checkpoint=path, resume=path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["c"]
