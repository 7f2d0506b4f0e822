"""Samples of an object that is read by slices: what is read, how, and that it trains as an array does."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.loop import TrainingWarning
from graphgrad.sources import MOST, Source, in_memory, opened
from tests.test_parallel import by_threads

BATCH = 100


class Sliced:
    """Takes slices alone, and no more rows at once than a few batches."""

    most = 1200  # fewer than any of the data has

    def __init__(self, data: Any) -> None:
        self.data = np.asarray(data)
        self.shape, self.dtype = self.data.shape, self.data.dtype
        self.asked: list[int] = []  # rows of each reading

    def __getitem__(self, key: Any) -> Any:
        self.check(key)
        part = self.data[key]
        self.asked.append(len(part))
        assert len(part) <= self.most, f"{len(part)} rows were asked for at once"
        return part

    def check(self, key: Any) -> None:
        if not isinstance(key, slice):
            raise TypeError(f"slices are taken, not {type(key).__name__}")


class Indexed(Sliced):
    """Takes arrays of integers too, in any order."""

    def check(self, key: Any) -> None:
        assert isinstance(key, (slice, np.ndarray))


class Increasing(Sliced):
    """As h5py.Dataset: arrays of integers that increase, and an `__array__` that reads all."""

    def check(self, key: Any) -> None:
        if not isinstance(key, slice) and not np.all(np.diff(key) > 0):
            raise TypeError("Indexing elements must be in increasing order")

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise AssertionError("all rows were asked for at once")


class Starting(Sliced):
    """Fails at an array of integers as code does that knows slices alone."""

    def check(self, key: Any) -> None:
        assert key.start >= 0


KINDS = [Sliced, Indexed, Increasing, Starting]


def clouds(samples: int = 2500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, samples)
    points = np.array([[0, 2], [2, -1], [-2, -1]])[labels] + 0.5 * rng.normal(size=(samples, 2))
    return points.astype(np.float32), labels


def classifier() -> gg.Network:
    return gg.feedforward([2, 8, 3], "tanh", "cross_entropy")


def bytes_of(run: gg.Run) -> list[bytes]:
    return [a.tobytes() for a in (*run.parameters.values(), *run.history.values())]


# ---------------------------------------------------------------------------------------------------------------------
# As arrays
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sampling": "lecture"},
        {"batch_size": 7, "epochs": 1},
        {"batch_size": None},
        {"dtype": "float64"},
        {"validation": 0.2, "metrics": ["accuracy", "f1"], "early_stopping": "validation_f1"},
        {"validation": 0.2, "stratify": True, "class_weight": "balanced"},
        {"validation": 0.2, "batch_size": None},
        {"metrics": "balanced_accuracy"},
        {"class_weight": {0: 2.0, 1: 0.0}},
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_source_trains_as_an_array_does_and_is_read_in_parts(kind: type[Sliced], settings: dict[str, Any]) -> None:
    X, Y = clouds()
    chosen = {"epochs": 2, "batch_size": BATCH, "progress": False, **settings}
    source = kind(X)
    wanted = gg.train(classifier(), X, Y, **chosen)
    assert bytes_of(gg.train(classifier(), source, kind(Y), **chosen)) == bytes_of(wanted)
    assert sum(source.asked) > len(X)


@pytest.mark.parametrize("kind", KINDS)
def test_what_validates_is_predicted_and_weighs_may_be_sources(kind: type[Sliced]) -> None:
    X, Y = clouds()
    Xv, Yv = X[::-1].copy(), Y[::-1].copy()
    weights = np.linspace(0, 2, len(X))

    def found(wrap: Callable[[Any], Any]) -> list[Any]:
        run = gg.train(
            classifier(),
            wrap(X),
            wrap(Y),
            validation=(wrap(Xv), wrap(Yv)),
            sample_weight=wrap(weights),
            batch_size=BATCH,
            epochs=2,
            progress=False,
        )
        told = [run.evaluate(wrap(Xv), wrap(Yv)), run.trainer.evaluate(wrap(X), wrap(Y)), run.trainer.loss(wrap(X), Y)]
        step = run.trainer.step(wrap(X), wrap(Y), wrap(weights))
        return [bytes_of(run), run.predict(wrap(Xv)).tobytes(), run.trainer.predict(wrap(X)).tobytes(), told, step]

    assert found(kind) == found(np.array)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", ["float64", "uint8", ">f4", "bool"])
def test_other_dtypes_are_converted_as_they_come(kind: type[Sliced], given: str) -> None:
    X = (100 * np.abs(clouds()[0])).astype(given)
    Y = np.sin(X.astype("float64"))
    runs = [
        gg.train(gg.feedforward([2, 4, 2]), wrap(X), wrap(Y), epochs=2, batch_size=BATCH, validation=0.1)
        for wrap in (kind, np.array)
    ]
    assert bytes_of(runs[0]) == bytes_of(runs[1])


def test_several_inputs_may_be_sources_or_arrays() -> None:
    g = gg.Graph()
    a, b, w = g.input("a", ("N", 2)), g.input("b", ("N", 3)), g.parameter("w", (3,))
    net = gg.Network(loss=gg.mean((b @ w - gg.sum(a, 1)) ** 2), inputs=[a, b], prediction=b @ w)
    A = clouds()[0]
    B = np.random.default_rng(1).normal(size=(len(A), 3))
    runs = [
        gg.train(net, X, batch_size=BATCH, epochs=2)
        for X in ((A, B), (Sliced(A), Indexed(B)), {"b": Increasing(B), "a": A})
    ]
    assert bytes_of(runs[0]) == bytes_of(runs[1]) == bytes_of(runs[2])


def test_without_a_size_that_counts_samples_a_source_is_read_at_once() -> None:
    g = gg.Graph()
    x, w = g.input("x", (3, 2)), g.parameter("w", (2,))
    net = gg.Network(loss=gg.sum((x @ w - 1) ** 2), inputs=[x], prediction=x @ w)
    X = np.arange(6.0).reshape(3, 2)
    runs = [gg.train(net, wrap(X), batch_size=None, epochs=3) for wrap in (np.array, Sliced)]
    assert bytes_of(runs[0]) == bytes_of(runs[1])
    assert runs[0].predict(X).tobytes() == runs[1].predict(Sliced(X)).tobytes()
    X[1, 1] = np.nan
    assert (
        told(Sliced(X), None, net) == told(X, None, net) == "X is nan at (1, 1) in float32; every number must be finite"
    )


def test_several_processes_read_their_shares() -> None:
    X, Y = clouds()

    def trained(comm: Any, wrap: Callable[[Any], Any]) -> list[bytes]:
        return bytes_of(gg.train(classifier(), wrap(X), wrap(Y), comm=comm, epochs=2, batch_size=BATCH, validation=0.2))

    assert by_threads(2, lambda comm: trained(comm, Sliced)) == by_threads(2, lambda comm: trained(comm, np.array))


def test_a_run_goes_on_with_the_same_source_and_no_other(tmp_path: Path) -> None:
    X, Y = clouds(5000)
    stopped = tmp_path / "run.model"
    chosen = {"batch_size": BATCH, "progress": False}
    wanted = gg.train(classifier(), Sliced(X), Y, epochs=3, **chosen)
    gg.train(classifier(), Sliced(X), Y, epochs=2, checkpoint=stopped, **chosen)
    source = Indexed(X)
    assert bytes_of(gg.train(classifier(), source, Y, epochs=3, resume=stopped, **chosen)) == bytes_of(wanted)
    for row, seen in ((0, True), (999, True), (2500, False), (4000, True), (4999, True)):
        other = X.copy()
        other[row] += 1
        if seen:
            with pytest.raises(gg.GraphgradError, match="the run began with other data than now"):
                gg.train(classifier(), Sliced(other), Y, epochs=3, resume=stopped, **chosen)
        else:
            gg.train(classifier(), Sliced(other), Y, epochs=3, resume=stopped, **chosen)


# ---------------------------------------------------------------------------------------------------------------------
# What is read
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [1, 50, 5000])  # rows of which many, few or none are read with what is between them
def test_rows_come_in_the_order_in_which_they_are_asked_for(kind: type[Sliced], width: int) -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(3000, width)).astype(np.float32)
    source = opened("X", kind(data))
    assert isinstance(source, Source)
    assert len(source) == 3000
    for rows in (
        rng.permutation(3000)[:200],
        rng.integers(0, 3000, 2500),  # some of them more than once
        np.arange(2999, -1, -1),
        np.array([5, 6, 7]),
        np.array([2999, 0]),
        np.array([9, 7]),
        np.array([3, 4, 6]),
        np.array([4, 4]),
        np.arange(0),
    ):
        assert source[rows].tobytes() == data[rows].tobytes()
    assert source[10:20].tobytes() == data[10:20].tobytes()
    assert source[-1000:].tobytes() == data[-1000:].tobytes()
    assert in_memory(source).tobytes() == data.tobytes()
    wide = np.empty((2, width))
    source.read(np.array([7, 3]), wide)
    assert np.array_equal(wide, data[[7, 3]])


def test_a_batch_is_one_reading_where_arrays_of_integers_are_taken() -> None:
    X, Y = clouds()
    source = Increasing(X)
    gg.train(classifier(), source, Y, epochs=2, batch_size=BATCH, progress=False)
    assert source.asked == [1, *[BATCH] * 50, BATCH]  # the first row, the batches, the sample that a run keeps


def test_slices_are_of_rows_that_adjoin_or_lie_close() -> None:
    small, large = Sliced(np.zeros((4000, 2))), Sliced(np.zeros((4000, 10000)))
    rows = np.array([0, 1, 2, 500, 502, 503, 1030, 3999])
    opened("X", small)[rows]  # type: ignore[index]
    opened("X", large)[rows]  # type: ignore[index]
    assert small.asked == [1, 504, 1, 1]
    assert large.asked == [1, 3, 1, 2, 1, 1]
    small.asked.clear()
    opened("X", small)[np.arange(0, 4000, 2)]  # type: ignore[index]
    assert max(small.asked) <= MOST
    assert len(small.asked) == 5


def test_an_array_of_integers_that_is_refused_is_not_tried_again() -> None:
    tried = []

    class Counting(Sliced):
        def check(self, key: Any) -> None:
            tried.append(not isinstance(key, slice))
            super().check(key)

    source = opened("X", Counting(np.zeros((4000, 2))))
    for _ in range(3):
        source[np.array([0, 3000])]  # type: ignore[index]
    assert sum(tried) == 1


def test_an_answer_of_another_shape_to_an_array_of_integers_is_a_refusal() -> None:
    class Points(Sliced):  # which takes an array of integers for the index of one number, or of the first row only
        def __getitem__(self, key: Any) -> Any:
            return self.data[key] if isinstance(key, slice) else self.data[tuple(key[:1])]

    data = np.arange(8000.0).reshape(4000, 2)
    assert np.array_equal(opened("X", Points(data))[np.array([3000, 0])], data[[3000, 0]])  # type: ignore[index]


def test_a_number_for_each_sample_is_read_once() -> None:
    X, Y = clouds()
    labels = Sliced(Y)
    gg.train(classifier(), X, labels, epochs=3, batch_size=BATCH, progress=False)
    assert sum(labels.asked) == 1 + len(Y)


def test_the_dtype_is_what_an_object_tells_or_that_of_its_first_row() -> None:
    class Lists(Sliced):  # whose first row is of whole numbers
        def __getitem__(self, key: Any) -> Any:
            return [[int(x) if x == int(x) else float(x) for x in row] for row in super().__getitem__(key)]

    data = np.arange(4000.0).reshape(2000, 2) / 8
    data[0] = 0, 1
    assert np.array_equal(in_memory(opened("X", Lists(data))), data)
    for told in (None, "of its own", object()):
        source = Sliced(np.zeros((5, 2), np.float32))
        source.dtype = told  # type: ignore[assignment]
        assert opened("X", source).dtype == np.float32
    assert opened("X", Sliced(np.zeros((0, 2)))).shape == (0, 2)


def test_what_is_computed_with_is_in_memory_and_read_whole() -> None:
    data = np.arange(6.0).reshape(3, 2)

    class Tensor(Sliced):
        def __add__(self, other: Any) -> Any: ...

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return self.data

    class Columns(Sliced):  # its slices are no rows, but it gives an array
        def __getitem__(self, key: Any) -> Any:
            raise KeyError(key)

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return self.data

    pandas = pytest.importorskip("pandas")
    for value in (data, data.tolist(), memoryview(data), pandas.DataFrame(data), Tensor(data), Columns(data)):
        found = opened("X", value)
        assert isinstance(found, np.ndarray), type(value)
        assert np.array_equal(found, data), type(value)


# ---------------------------------------------------------------------------------------------------------------------
# Errors
# ---------------------------------------------------------------------------------------------------------------------


def told(X: Any, Y: Any, net: gg.Network | None = None) -> str:
    net = net or classifier()
    with pytest.raises(gg.GraphgradError) as error:
        gg.train(net, X, Y, epochs=1, batch_size=BATCH if net.batch else None, progress=False)
    return str(error.value)


def test_sources_that_do_not_fit_are_told_as_arrays_are() -> None:
    X, Y = clouds()
    wide = np.ones((len(X), 2))
    wide[2000, 1] = 1.5
    for x, y, net in (
        (X[:, :1], Y, None),
        (X[:0], Y[:0], None),
        (X[:100], Y, None),
        (X, Y + 1, None),
        (X, X, None),
        (X.astype(str), Y, None),
        (X, wide, gg.feedforward([2, 2], loss="bce")),
        (X, np.where(X[:, 0] > 2, np.nan, X[:, 0])[:, None], gg.feedforward([2, 1])),
    ):
        assert told(Sliced(x), Sliced(y), net) == told(x, y, net)


def test_labels_of_several_for_each_sample_are_looked_through() -> None:
    g = gg.Graph()
    x, t, w = g.input("x", ("N", 2)), g.input("t", ("N", 3), "int64"), g.parameter("w", (2, 3, 4))
    scores = gg.einsum("ni,itc->ntc", x, w)
    net = gg.Network(loss=gg.mean(gg.cross_entropy(scores, t)), inputs=[x], target=t, prediction=scores)
    X = clouds()[0]
    Y = np.random.default_rng(0).integers(0, 4, (len(X), 3))
    runs = [gg.train(net, wrap(X), wrap(Y), epochs=2, batch_size=BATCH) for wrap in (Sliced, np.array)]
    assert bytes_of(runs[0]) == bytes_of(runs[1])
    Y[2000, 1] = 4
    fault = "Y holds labels from 0 to 4, but the network's 4 classes are 0 to 3"
    assert told(X, Sliced(Y), net) == told(X, Y, net) == fault


def test_sources_that_cannot_be_read_are_told() -> None:
    X, Y = clouds()

    class Rows(Sliced):
        def __getitem__(self, key: Any) -> Any:
            return self.data[int(key)]

    class Short(Sliced):
        def __getitem__(self, key: Any) -> Any:
            return self.data[key][:900]

    class Sparse(Sliced):
        def __getitem__(self, key: Any) -> Any:
            return SimpleNamespace()

    class Masked(Sliced):
        def __getitem__(self, key: Any) -> Any:
            return np.ma.masked_less(self.data[key], -2)

    class Mixed(Sliced):
        def __getitem__(self, key: Any) -> Any:
            return self.data[key].astype(int if key.start == 0 else float)

    hint = "; what has a shape and is no array is read by slices of rows"
    assert told(Rows(X), Y).startswith("X[0:1] raises TypeError: int() argument must be")
    assert told(Rows(X), Y).endswith(hint)
    sparse = "X has shape (2500, 2), so X[0:1] has (1, 2), but it gave what has type SimpleNamespace"
    assert told(Sparse(X), Y) == sparse + hint
    run = gg.train(classifier(), X, Y, epochs=0)
    with pytest.raises(gg.GraphgradError, match=re.escape("so X[0:1024] has (1024, 2), but it gave what has shape (9")):
        run.predict(Short(X))
    X[0] = 0
    with pytest.raises(gg.GraphgradError, match=r"^X\[0:1024\] is a masked array, whose mask would be lost$"):
        run.predict(Masked(X))
    mixed = Mixed(X)
    mixed.dtype = np.dtype("int64")
    with pytest.raises(gg.GraphgradError, match=r"^X\[1024:2048\] is float64, but X is int64$"):
        run.predict(mixed)


def indices(labels: bool) -> gg.Network:
    """One whose input, or whose target, is of integers that are not looked through before they are met."""
    g = gg.Graph()
    i, w = g.input("i", ("N", 2), "int64"), g.parameter("w", (3, 2))
    if not labels:
        p = gg.take(w, i, axis=0)
        return gg.Network(loss=gg.mean(p**2), inputs=[i], prediction=p)
    x = g.input("x", ("N", 3))
    return gg.Network(loss=gg.mean((x @ w - i) ** 2), inputs=[x], target=i, prediction=x @ w)


def wrapping(tmp_path: Path) -> dict[str, Any]:
    """A number in its last row that int64 has as -1."""
    data = np.zeros((300, 2), np.uint64)
    data[-1, 1] = 2**64 - 1
    signed = Sliced(data)
    signed.dtype = np.dtype("int64")
    data.tofile(tmp_path / "data")
    mapped = np.memmap(tmp_path / "data", np.uint64, shape=data.shape)
    return {
        "array": data,
        "swapped": data.astype(">u8"),
        "sliced": Sliced(data),
        "signed": signed,
        "mapped": mapped,
    }


@pytest.mark.parametrize("kind", ["array", "swapped", "sliced", "signed", "mapped"])
@pytest.mark.parametrize("batch_size", [BATCH, None])
def test_integers_that_would_wrap_are_told(kind: str, batch_size: int | None, tmp_path: Path) -> None:
    given = wrapping(tmp_path)[kind]
    fault = "holds 18446744073709551615, which is too large for int64$"
    name = "a sample" if kind == "mapped" else "X"
    net, options = indices(labels=False), {"epochs": 1, "batch_size": batch_size, "progress": False}
    with pytest.raises(gg.GraphgradError, match=f"^{name} {fault}"):
        gg.train(net, given, **options)
    with pytest.raises(gg.GraphgradError, match=f"^{name} {fault}"):
        gg.Trainer(net).predict(given)
    with pytest.raises(gg.GraphgradError, match=f"^i {fault}"):
        gg.Trainer(net).step(given)
    with pytest.raises(gg.GraphgradError, match=f"^{name.replace('X', 'Y')} {fault}"):
        gg.train(indices(labels=True), np.ones((300, 3)), given, **options)


def test_labels_that_would_wrap_are_told_as_they_are() -> None:
    Y = np.array([0, 1, 2**63 + 1], np.uint64)
    fault = "Y holds 9223372036854775809, which is too large for int64"
    assert told(np.ones((3, 2)), Y) == told(np.ones((3, 2)), Sliced(Y)) == fault


def test_unsigned_integers_that_fit_are_taken() -> None:
    for kind in ("uint64", ">u8", "uint8"):
        run = gg.train(indices(labels=False), np.ones((9, 2), kind), epochs=0)
        assert np.array_equal(run.predict(np.ones((9, 2), kind)), run.predict(np.ones((9, 2), "int64")))
    assert in_memory(opened("X", Sliced(np.full(3, 2**64 - 1, np.uint64)))).tolist() == [2**64 - 1] * 3


def test_a_fault_of_reading_is_not_hidden() -> None:
    class Broken(Indexed):
        def __getitem__(self, key: Any) -> Any:
            if isinstance(key, np.ndarray):
                raise OSError("the disk is gone")
            return super().__getitem__(key)

    X, Y = clouds()
    with pytest.raises(OSError, match="the disk is gone"):
        gg.train(classifier(), Broken(X), Y, epochs=1, batch_size=BATCH, progress=False)


def test_numbers_that_are_not_finite_stop_training_when_they_are_met() -> None:
    X, Y = clouds()
    X[1234] = np.nan
    with pytest.warns(TrainingWarning, match=r"epoch 1, update \d+: NaN in x, which was given\."):
        run = gg.train(classifier(), Sliced(X), Y, epochs=2, batch_size=BATCH, progress=False)
    assert all(np.isfinite(a).all() for a in run.parameters.values())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(run.predict(Sliced(X))[1234]).all()
