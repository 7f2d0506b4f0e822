"""What a run tells and keeps: metrics, early stopping, the history, files, records, samplings."""

import json
import pickle
import re
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import graphgrad as gg
from graphgrad import schedules
from graphgrad.errors import GraphgradError
from graphgrad.metrics import METRICS

rng = np.random.default_rng(2)
X = rng.normal(size=(90, 2))
LABELS = (X[:, 0] + 0.3 * rng.normal(size=90) > 0).astype(int) + (X[:, 1] > 1)
NUMBERS = X @ [[1.0, -1.0], [0.5, 2.0]] + 0.1 * rng.normal(size=(90, 2))


def classifier() -> gg.Network:
    return gg.feedforward([2, 8, 3], "tanh", "cross_entropy")


def regressor() -> gg.Network:
    return gg.feedforward([2, 8, 2], "tanh")


# ---------------------------------------------------------------------------------------------------------------------
# Metrics
# ---------------------------------------------------------------------------------------------------------------------


def test_metrics_of_classes_are_scikit_learn_s() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle; extra dev has it")
    names = ("accuracy", "balanced_accuracy", "f1")
    run = gg.train(classifier(), X, LABELS, epochs=4, validation=0.4, metrics=names, optimizer=gg.Adam(0.02))
    aside = np.setdiff1d(np.arange(90), kept_rows(run))
    decided = run.predict(X[aside]).argmax(1)
    last = {name: run.history[f"validation_{name}"][-1] for name in names}
    assert last["accuracy"] == pytest.approx(metrics.accuracy_score(LABELS[aside], decided))
    assert last["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(LABELS[aside], decided))
    assert last["f1"] == pytest.approx(metrics.f1_score(LABELS[aside], decided, average="macro"))


def kept_rows(run: gg.Run) -> np.ndarray:
    """The rows of X that a run was trained on, found in its batch of all."""
    again = gg.train(run.network, X, LABELS, epochs=0, validation=0.4, batch_size=None)
    return np.array([np.flatnonzero((X.astype("float32") == row).all(1))[0] for row in again.sample[0]])


def test_metrics_of_numbers_are_scikit_learn_s() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle; extra dev has it")
    names = ("mse", "rmse", "mae", "max_error", "r2")
    run = gg.train(regressor(), X, NUMBERS, epochs=4, validation=(X, NUMBERS), metrics=names)
    p, told = run.predict(X), {n: c[-1] for n, c in run.history.items()}
    assert told["validation_mean_squared_error"] == pytest.approx(metrics.mean_squared_error(NUMBERS, p), rel=1e-5)
    assert told["validation_root_mean_squared_error"] == pytest.approx(
        metrics.mean_squared_error(NUMBERS, p) ** 0.5, rel=1e-5
    )
    assert told["validation_mean_absolute_error"] == pytest.approx(metrics.mean_absolute_error(NUMBERS, p), rel=1e-5)
    assert told["validation_max_error"] == pytest.approx(np.abs(p - NUMBERS).max(), rel=1e-5)
    assert told["validation_r2"] == pytest.approx(metrics.r2_score(NUMBERS, p), rel=1e-4)


def test_a_metric_of_one_s_own_sees_all_samples_at_once() -> None:
    shapes: list[tuple[Any, ...]] = []

    def spread(prediction: np.ndarray, target: np.ndarray) -> float:
        shapes.append((prediction.shape, target.shape))
        return float(np.ptp(prediction))

    big = np.tile(X, (30, 1))  # evaluated in parts
    run = gg.train(regressor(), big, np.tile(NUMBERS, (30, 1)), epochs=2, metrics=(spread, "r2"))
    assert shapes == [((2700, 2), (2700, 2))] * 2
    assert list(run.history) == ["epoch", "loss", "rate", "spread", "r2"]
    assert run.history["spread"][-1] == pytest.approx(np.ptp(run.predict(big)), rel=1e-6)


def test_r2_of_large_float32_targets_is_that_of_float64() -> None:
    rng, r2 = np.random.default_rng(0), METRICS["r2"].measure
    t = (2000 + rng.normal(size=(100_000, 2))).astype(np.float32)
    p = (t + 0.5 * rng.normal(size=t.shape)).astype(np.float32)
    assert r2(p, t) == pytest.approx(r2(p.astype(np.float64), t.astype(np.float64)), rel=1e-9)
    assert 0.7 < r2(p, t) < 0.8
    assert r2(np.zeros((9, 1), np.float32), np.linspace(-1e20, 1e20, 9, dtype=np.float32)[:, None]) == 0.0


def flat_target(columns: int, threshold: float | None) -> gg.Network:
    """A prediction with a column, beside a target without."""
    g = gg.Graph()
    x, y, W = g.input("x", ("N", 2)), g.input("y", ("N",)), g.parameter("W", (columns, 2))
    p = gg.sigmoid(x @ W.T)
    return gg.Network(loss=gg.mean((p[:, 0] - y) ** 2), inputs=[x], target=y, prediction=p, threshold=threshold)


@pytest.mark.parametrize("threshold", [0.5, None])
def test_a_column_is_compared_with_a_vector_element_by_element(threshold: float | None) -> None:
    X = np.random.default_rng(0).normal(size=(200, 2))
    Y = (X.sum(axis=1) > 0).astype(float)
    metric = "accuracy" if threshold else "mse"
    net = flat_target(1, threshold)
    run = gg.train(net, X, Y, optimizer=gg.Adam(0.1), epochs=40, validation=(X, Y), metrics=metric)
    p = run.predict(X)[:, 0]
    wanted = np.mean((p > 0.5) == Y) if threshold else np.mean((p - Y) ** 2)
    full = metric if threshold else "mean_squared_error"
    assert run.history[f"validation_{full}"][-1] == pytest.approx(wanted, rel=1e-6)
    if threshold:
        assert run.evaluate(X, Y)["accuracy"] == pytest.approx(wanted)


def test_shapes_that_no_metric_compares_are_told() -> None:
    X, Y = np.ones((8, 2)), np.ones(8)
    with pytest.raises(GraphgradError, match=r"predictions of shape \(8, 2\) with targets of shape \(8,\)"):
        gg.train(flat_target(2, None), X, Y, validation=(X, Y), metrics="mae")


def test_a_constant_target_has_an_r2_of_one_or_zero() -> None:
    r2 = METRICS["r2"].measure
    t = np.ones((4, 1))
    assert (r2(t, t), r2(t + 1, t)) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("acuracy", "no metric is called 'acuracy'; did you mean 'accuracy'?"),
        ("zzz", "no metric is called 'zzz'; there are: accuracy, "),
        ("r2", "r2 compares numbers, but the target is classes; accuracy would fit"),
        (3, "a metric is a name or a function of predictions and targets, but 3 was given"),
        (("f1", "f1"), "two columns of the history would be called f1; rename the function"),
        (lambda p, t: "much", "the metric <lambda> is a number, but it gave 'much'"),
        (lambda p, t: p - p, "the metric <lambda> is a number, but it gave an array of shape (90, 3)"),
    ],
)
def test_metrics_that_are_none_are_told(metrics: Any, message: str) -> None:
    with pytest.raises(GraphgradError, match=f"^{re.escape(message)}"):
        gg.train(classifier(), X, LABELS, epochs=1, metrics=metrics)


def test_classes_are_no_metric_of_numbers() -> None:
    with pytest.raises(GraphgradError, match=r"^f1 compares classes, but the network's target is numbers; r2 or mae"):
        gg.train(regressor(), X, NUMBERS, metrics="f1")


# ---------------------------------------------------------------------------------------------------------------------
# Early stopping, validation, callbacks
# ---------------------------------------------------------------------------------------------------------------------


def test_the_best_epoch_is_told_by_a_file_too_and_there_is_none_without_early_stopping(tmp_path: Path) -> None:
    rule = gg.EarlyStopping("loss", patience=2, min_delta=0.5)  # nothing beats the first epoch by so much
    run = gg.train(classifier(), X, LABELS, epochs=9, early_stopping=rule)
    run.save(tmp_path / "m")
    assert (run.best_epoch, gg.load(tmp_path / "m").best_epoch) == (1, 1)
    assert run.history["loss"].argmin() == 2
    assert gg.train(classifier(), X, LABELS, epochs=2).best_epoch is None
    assert gg.train(classifier(), X, LABELS, epochs=0, early_stopping=rule).best_epoch is None


@pytest.mark.parametrize("column", ["validation_loss", "validation_accuracy"])
def test_the_best_parameters_are_kept(column: str) -> None:
    seen: list[dict[str, np.ndarray]] = []
    rule = gg.EarlyStopping(column, patience=4, min_delta=0.001)
    run = gg.train(
        classifier(), X, LABELS, optimizer=gg.Adam(0.1), epochs=300, validation=0.3, early_stopping=rule,
        callbacks=lambda trainer, record: seen.append(trainer.parameters),
    )  # fmt: skip
    values, best, at = run.history[column], None, 0
    for epoch, value in enumerate(values):  # the rule, read aloud
        gain = 0.0 if best is None else (value - best if "accuracy" in column else best - value)
        if best is None or gain > 0.001:
            best, at = value, epoch
    assert run.stopped == "early stopping"
    assert len(values) == at + 1 + 4
    assert run.best_epoch == at + 1
    for name, array in run.parameters.items():
        assert np.array_equal(array, seen[at][name])
        assert np.array_equal(array, run.trainer.parameters[name])
    np.testing.assert_array_equal(run.predict(X), run.trainer.predict(X))


def test_without_an_end_the_best_parameters_are_kept_too() -> None:
    run = gg.train(
        classifier(),
        X,
        LABELS,
        optimizer=gg.Adam(0.3),
        epochs=12,
        validation=0.3,
        early_stopping=gg.EarlyStopping(patience=99),
    )
    assert not run.stopped
    best = run.history["validation_loss"].argmin()
    assert run.best_epoch == best + 1
    assert best < 11
    shorter = gg.train(classifier(), X, LABELS, optimizer=gg.Adam(0.3), epochs=int(best) + 1, validation=0.3)
    assert run.parameters["W1"].tobytes() == shorter.parameters["W1"].tobytes()


THERE = "the history will have loss"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("validation_loss", f"early_stopping watches 'validation_loss', but {THERE}; validation=0.2 gives it"),
        ("f1", f"early_stopping watches 'f1', but {THERE}"),
        (3, "early_stopping is a column of the history or an EarlyStopping, but 3 was given"),
    ],
)
def test_a_column_that_will_not_be_there_is_told_first(given: Any, message: str) -> None:
    with pytest.raises(GraphgradError, match=f"^{re.escape(message)}$"):
        gg.train(classifier(), X, LABELS, early_stopping=given, callbacks=lambda *_: pytest.fail("trained"))
    with pytest.raises(GraphgradError, match=r"^EarlyStopping: patience is a whole number from 1 on, but 0 was given$"):
        gg.EarlyStopping(patience=0)
    with pytest.raises(GraphgradError, match=r"^EarlyStopping: min_delta is a number from 0 on, but -1 was given$"):
        gg.EarlyStopping(min_delta=-1)


def test_a_run_tells_which_samples_were_set_aside(tmp_path: Path) -> None:
    run = gg.train(classifier(), X, LABELS, epochs=2, validation=0.4)
    rows = run.validation_rows
    assert rows is not None
    assert (rows.dtype, len(set(rows.tolist()))) == ("int64", 36)
    assert sorted([*rows, *kept_rows(run)]) == list(range(90))
    assert run.evaluate(X[rows], LABELS[rows])["loss"] == pytest.approx(run.history["validation_loss"][-1], rel=1e-6)
    assert np.array_equal(pickle.loads(pickle.dumps(run)).validation_rows, rows)
    run.save(tmp_path / "m")
    without = (gg.load(tmp_path / "m"), gg.train(classifier(), X, LABELS, epochs=1, validation=(X, LABELS)))
    assert [other.validation_rows for other in without] == [None, None]


@pytest.mark.parametrize("validation", [None, 0.3])
@pytest.mark.parametrize(("higher", "epochs"), [(None, 4), (False, 4), (True, 9)])
def test_lower_is_better_for_a_metric_of_one_s_own_whatever_its_name(
    higher: bool | None, epochs: int, validation: float | None
) -> None:
    calls: list[int] = []

    def f1(prediction: np.ndarray, target: np.ndarray) -> float:
        calls.append(0)
        return float(len(calls))  # it rises: the first epoch is the best, or the last

    rule = gg.EarlyStopping("f1" if validation is None else "validation_f1", patience=3, higher=higher)
    run = gg.train(classifier(), X, LABELS, epochs=9, validation=validation, metrics=f1, early_stopping=rule)
    assert len(run.history["epoch"]) == epochs


def test_a_fraction_is_set_aside_of_each_class_alike() -> None:
    Y = np.repeat([0, 1, 2], [60, 20, 10])
    data = np.arange(90.0)[:, None] * [1.0, 1.0]
    run = gg.train(classifier(), data / 90, Y, epochs=0, batch_size=None, validation=0.2, stratify=True)
    assert Counter(run.sample[1].tolist()) == {0: 48, 1: 16, 2: 8}
    plain = gg.train(classifier(), data / 90, Y, epochs=0, batch_size=None, validation=0.2, seed=1)
    assert len(plain.sample[1]) == 72
    assert Counter(plain.sample[1].tolist()) != {0: 48, 1: 16, 2: 8}
    with pytest.raises(
        GraphgradError, match=r"^stratify=True parts the samples of each class alike: validation=0.2 says"
    ):
        gg.train(classifier(), data, Y, stratify=True)
    with pytest.raises(
        GraphgradError, match=r"^90 samples cannot be parted with validation=0.001: one side would be empty$"
    ):
        gg.train(classifier(), data, Y, validation=0.001)


def test_several_callbacks_and_the_one_that_ends() -> None:
    seen: list[tuple[str, int]] = []
    first = lambda trainer, record: seen.append(("first", trainer.k))  # noqa: E731
    second = lambda trainer, record: seen.append(("second", record["epoch"])) or record["epoch"] == 2  # noqa: E731
    run = gg.train(classifier(), X, LABELS, batch_size=45, epochs=9, callbacks=[first, second])
    assert seen == [("first", 2), ("second", 1), ("first", 4), ("second", 2)]
    assert run.stopped == "callback"


# ---------------------------------------------------------------------------------------------------------------------
# Sampling, history, records
# ---------------------------------------------------------------------------------------------------------------------


def test_the_lecture_s_batches_are_cells_of_one_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[frozenset[float]] = []
    step = gg.Trainer.step

    def spy(trainer: gg.Trainer, *batch: Any) -> float:
        seen.append(frozenset(batch[0][:, 0].tolist()))
        return step(trainer, *batch)

    monkeypatch.setattr(gg.Trainer, "step", spy)
    data = np.arange(23.0).reshape(23, 1)
    gg.train(gg.feedforward([1, 1]), data, data, optimizer=gg.SGD(1e-6), batch_size=5, epochs=40, sampling="lecture")
    cells = set(seen)
    assert len(seen) == 5 * 40
    assert sorted(map(len, cells)) == [3, 5, 5, 5, 5]
    assert sorted(x for cell in cells for x in cell) == list(range(23))  # a partition
    assert any(
        Counter(seen[k : k + 5]).most_common(1)[0][1] > 1 for k in range(0, 200, 5)
    )  # at random, so with repeats


def test_the_history_as_lines_while_it_runs_and_as_csv(tmp_path: Path) -> None:
    log, lines = tmp_path / "run.jsonl", list[int]()
    run = gg.train(
        classifier(), X, LABELS, epochs=3, validation=0.2, log=log,
        callbacks=lambda trainer, record: lines.append(len(log.read_text().splitlines())),
    )  # fmt: skip
    assert lines == [1, 2, 3]
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [list(r) for r in records] == [list(run.history)] * 3
    for name, column in run.history.items():
        assert [r[name] for r in records] == column.tolist()
    run.save_history(tmp_path / "run.csv")
    head, *rows = (tmp_path / "run.csv").read_text().splitlines()
    assert head.split(",") == list(run.history)
    np.testing.assert_allclose(
        [[float(c) for c in row.split(",")] for row in rows], np.stack(list(run.history.values())).T, rtol=1e-7
    )


RATE = schedules.cosine(0.1, 10)


@pytest.mark.parametrize(
    ("rules", "there"),
    [
        ({"W1": None, "*": gg.Adam(RATE)}, True),
        ({"W*": gg.Adam(RATE), "b*": gg.SGD(RATE)}, True),
        ({"W*": gg.Adam(RATE), "b*": gg.SGD(0.1)}, False),
        ({"W*": gg.Adam(0.2), "b*": gg.SGD(0.1)}, False),
    ],
)
def test_groups_have_a_rate_where_they_share_one(rules: Any, there: bool) -> None:
    run = gg.train(classifier(), X, LABELS, optimizer=gg.Groups(rules), batch_size=30, epochs=2)
    alone = gg.train(classifier(), X, LABELS, optimizer=gg.Adam(RATE), batch_size=30, epochs=2)
    assert run.history.get("rate", np.zeros(0)).tolist() == (alone.history["rate"].tolist() if there else [])


@pytest.mark.parametrize("optimizer", [gg.Adam(), gg.Groups({"W1": gg.SGD(), "*": gg.Adam()})])
@pytest.mark.parametrize("validation", [None, 0.2])
@pytest.mark.parametrize("metrics", [(), ("f1", "accuracy")])
def test_a_history_has_its_columns_before_its_first_epoch(
    optimizer: Any, validation: Any, metrics: Any, tmp_path: Path
) -> None:
    none, one = (
        gg.train(classifier(), X, LABELS, optimizer=optimizer, epochs=n, validation=validation, metrics=metrics)
        for n in (0, 1)
    )
    assert list(none.history) == list(one.history)
    assert [(len(none.history[name]), len(one.history[name])) for name in none.history] == [(0, 1)] * len(one.history)
    assert [none.history[name].dtype for name in none.history] == [one.history[name].dtype for name in one.history]
    none.save_history(tmp_path / "h.csv")
    assert (tmp_path / "h.csv").read_text() == ",".join(one.history) + "\n"
    none.save(tmp_path / "m")
    assert list(gg.load(tmp_path / "m").history) == list(one.history)


def test_a_history_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    run = gg.train(classifier(), X, LABELS, epochs=1)
    with pytest.raises(GraphgradError, match=rf"^{tmp_path}/no/h\.csv cannot be written: No such file or directory$"):
        run.save_history(tmp_path / "no" / "h.csv")


def test_a_log_is_whole_after_a_run_went_on(tmp_path: Path) -> None:
    for epochs in (2, 5):
        gg.train(
            classifier(), X, LABELS, epochs=epochs, log=tmp_path / "l", checkpoint=tmp_path / "c", resume=tmp_path / "c"
        )
    assert [json.loads(line)["epoch"] for line in (tmp_path / "l").read_text().splitlines()] == [1, 2, 3, 4, 5]


def test_records_are_the_parameters_before_each_step() -> None:
    net = regressor()
    run = gg.train(net, X, NUMBERS, batch_size=30, epochs=2, record=2, dtype="float64")
    assert run.records is not None
    assert run.records["k"].tolist() == [0, 2, 4]
    assert run.records["parameters"]["W1"].shape == (3, 8, 2)
    assert np.array_equal(run.records["parameters"]["W1"][0], net.initialize(0)["W1"])
    page = gg.explain(gg.derive(net.loss), {"x": X[:4], "y": NUMBERS[:4]}, run, engine="layered")
    assert '"k":[0,2,4]' in page.html().replace(" ", "")
    with pytest.raises(
        GraphgradError, match=r"^this run kept no records; gg\.train\(\.\.\., record=True\) keeps those"
    ):
        gg.explain(gg.derive(net.loss), {"x": X, "y": NUMBERS}, gg.train(net, X, NUMBERS, epochs=1))


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------


def own_net() -> gg.Network:
    g = gg.Graph()
    a, b, y = g.input("a", ("N", 2)), g.input("b", ("N",)), g.input("y", ("N",))
    w, c = g.parameter("w", (2,)), g.parameter("c")
    p = (a @ w * gg.tanh(b) + c).named("p")
    return gg.Network(
        loss=gg.mean((p - y) ** 2), inputs=[a, b], target=y, prediction=p, initial={"w": lambda r, s: r.normal(size=s)}
    )


@pytest.mark.parametrize(
    ("net", "data", "Y"),
    [
        (classifier(), X, LABELS),
        (regressor(), X, NUMBERS),
        (gg.feedforward([2, 3, 1], loss="bce"), X, (LABELS > 0)[:, None].astype(float)),
        (own_net(), {"a": X, "b": X[:, 0]}, NUMBERS[:, 0]),
    ],
    ids=["classifier", "regressor", "bce", "own"],
)
def test_a_run_goes_through_a_file(net: gg.Network, data: Any, Y: np.ndarray, tmp_path: Path) -> None:
    gg.derive(net.loss)  # what else stands in its graph is no part of it
    run = gg.train(net, data, Y, epochs=2, optimizer=gg.Adam(schedules.warm_up(schedules.cosine(0.1, 9), 3)))
    run.preprocessing = {"columns": ["á", "b"]}
    run.save(tmp_path / "run.model")
    again = gg.load(tmp_path / "run.model")
    assert again.predict(data).tobytes() == run.predict(data).tobytes()
    assert again.evaluate(data, Y) == run.evaluate(data, Y)
    assert again.preprocessing == run.preprocessing
    assert again.trainer.optimizer == run.trainer.optimizer
    assert {n: c.tolist() for n, c in again.history.items()} == {n: c.tolist() for n, c in run.history.items()}
    assert again.trainer.k == run.trainer.k
    batch = [np.asarray(a) for a in (*(data.values() if isinstance(data, dict) else [data]), Y)]
    for _ in range(3):
        assert again.trainer.step(*batch) == run.trainer.step(*batch)
    again.save(tmp_path / "again.model")
    assert (tmp_path / "again.model").read_bytes() == (tmp_path / "run.model").read_bytes()


def test_a_file_of_an_optimizer_of_one_s_own_predicts_and_says_what_it_lacks(tmp_path: Path) -> None:
    class Mine(gg.SGD):
        pass

    for optimizer in (Mine(0.1), gg.SGD(lambda k: 0.1 / (1 + k))):
        gg.train(regressor(), X, NUMBERS, epochs=1, optimizer=optimizer).save(tmp_path / "m")
        run = gg.load(tmp_path / "m")
        assert run.predict(X).shape == (90, 2)
        with pytest.raises(
            GraphgradError, match=r"^the optimizer of this run is code of your own, which a file does not"
        ):
            run.trainer  # noqa: B018


def broken(path: Path, change: Any) -> None:
    """The file with its JSON changed."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    told = json.loads(header["__metadata__"]["graphgrad"])
    change(told)
    header["__metadata__"]["graphgrad"] = json.dumps(told)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(version=2), "it is of version 2, but version 1 can be read"),
        (lambda t: t.update(format="x"), "what it tells of its network is not of this program"),
        (lambda t: t.pop("network"), "it tells nothing of its network"),
        (lambda t: t["network"].update(loss=10**6), "the loss of its network is no node"),
        (lambda t: t["network"].update(loss=0), "its network is broken: the loss of a network is a scalar"),
        (lambda t: t["network"].update(inputs=3), "what it tells of its network is broken"),
        (lambda t: t["network"].update(widths=["2"]), "what it tells of its network is broken"),
        (lambda t: t["network"].update(initial={"W1": "os.system"}), "what it tells of its network is broken"),
        (lambda t: t["network"]["graph"]["nodes"].pop(), "its network is broken: "),
        (lambda t: t["progress"].update(history={"loss": "x"}), "its history is broken"),
        (lambda t: t.update(progress=[]), "it tells nothing of its progress"),
        (
            lambda t: t["progress"]["history"].update(loss=[1.0, 2.0]),
            "the columns of its history are not of one length",
        ),
        (lambda t: t.update(scales={"m.W1": 10**30}), "the units of its state are no numbers"),
        (lambda t: t.update(scales={"m.W1": 0}), "the units of its state are no numbers"),
        (lambda t: t.update(preprocessing=3), "what it tells of its preprocessing is broken"),
    ],
)
def test_a_file_that_tells_nonsense_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m"
    gg.train(regressor(), X, NUMBERS, epochs=1).save(path)
    broken(path, change)
    with pytest.raises(GraphgradError, match=f"^{path}: {re.escape(message)}"):
        gg.load(path)


@pytest.mark.parametrize("kind", ["Adam2", None, 3])
def test_an_optimizer_that_does_not_exist_is_refused(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "m"
    gg.train(regressor(), X, NUMBERS, epochs=1).save(path)
    broken(path, lambda t: t["settings"]["optimizer"].update(optimizer=kind))
    with pytest.raises(GraphgradError, match=r"^what it tells of its optimizer is broken$"):
        gg.load(path).trainer  # noqa: B018


def test_every_part_of_a_file_is_refused(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole", tmp_path / "m"
    gg.train(regressor(), X, NUMBERS, epochs=1).save(whole)
    content = whole.read_bytes()
    for length in [0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(GraphgradError, match=rf"^{path}: no file that run\.save wrote, or not all of it \("):
            gg.load(path)


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    save_file({"W1": np.zeros((2, 2), "float32")}, path)
    with pytest.raises(
        GraphgradError, match=rf"^{path}: a safetensors file, but not one that run\.save wrote: it has no"
    ):
        gg.load(path)
    save_file({"W1": np.zeros((2, 2), "float32")}, path, {"graphgrad": "{"})
    with pytest.raises(GraphgradError, match=rf"^{path}: what it tells of its network is no JSON$"):
        gg.load(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(GraphgradError, match=rf"^{path}: no file that run\.save wrote"):
        gg.load(path)
    with pytest.raises(GraphgradError, match=rf"^{tmp_path} is a directory; a file that run\.save wrote is wanted$"):
        gg.load(tmp_path)
    with pytest.raises(GraphgradError, match=rf"^{tmp_path}/no does not exist$"):
        gg.load(tmp_path / "no")


def test_arrays_that_are_not_the_network_s_are_refused(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import load_file

    path = tmp_path / "m"
    gg.train(regressor(), X, NUMBERS, epochs=1).save(path)
    with safe_open(path, "numpy") as file:
        meta = file.metadata()
    arrays = load_file(path)
    for change, message in (
        ({"W1": arrays["W1"].T.copy()}, r"W1 is float32 of shape \(2, 8\), but it has shape \(8, 2\)"),
        ({"b1": arrays["b1"].astype("int32")}, r"b1 is int32 of shape \(8,\), but it has shape \(8,\)"),
        ({"extra": arrays["b1"]}, r"it has arrays for .*extra.*, but the network's parameters are W1, b1, W2, b2"),
    ):
        save_file({**arrays, **change}, path, meta)
        with pytest.raises(GraphgradError, match=f"^{path}: {message}$"):
            gg.load(path)


def test_a_metric_that_changes_its_arguments_changes_nothing_else() -> None:
    def spoiler(prediction: np.ndarray, target: np.ndarray) -> float:
        prediction[...], target[...] = 0.0, 0.0
        return 1.0

    spoiled, plain = (gg.train(regressor(), X, NUMBERS, epochs=3, metrics=m) for m in ((spoiler, "r2"), ("r2",)))
    assert spoiled.history["r2"].tolist() == plain.history["r2"].tolist()
    assert spoiled.history["loss"].tolist() == plain.history["loss"].tolist()


def test_numpy_s_numbers_are_settings_too(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        "batch_size": np.int32(8),
        "seed": np.int64(3),
        "epochs": np.int64(2),
        "l2": {"W*": np.float32(0.5)},
        "clip_norm": np.float64(1),
        "early_stopping": gg.EarlyStopping("loss", np.int64(5), np.float64(0.0)),
        "checkpoint_every": np.int64(2),
    }
    run = gg.train(regressor(), X, NUMBERS, checkpoint=tmp_path / "c", **arguments)
    again = gg.train(regressor(), X, NUMBERS, checkpoint=tmp_path / "c", resume=tmp_path / "c", **arguments)
    assert again.parameters["W1"].tobytes() == run.parameters["W1"].tobytes()


def test_a_mask_is_not_lost_in_silence() -> None:
    message = r"^X is a masked array, whose mask would be lost; X\.filled\(0\.0\) would fit$"
    with pytest.raises(GraphgradError, match=message):
        gg.train(regressor(), np.ma.masked_less(X, 0), NUMBERS)
