"""What pickle and copy.deepcopy make of networks, schedules, operators and runs: scikit-learn's users rely on both."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy as sp

import graphgrad as gg
from graphgrad import schedules
from graphgrad.errors import GraphgradError
from graphgrad.model_file import network_to_dict
from graphgrad.operators.activations import silu
from graphgrad.operators.losses import huber


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


COPIES = pytest.mark.parametrize("copied", [pickled, copy.deepcopy])


def slowly_rising(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.linspace(0, 1, int(np.prod(shape))).reshape(shape)


@COPIES
@pytest.mark.parametrize("value", [gg.tanh, silu, huber], ids=str)
def test_what_has_a_name_stays_what_it_is(value: Any, copied: Callable[[Any], Any]) -> None:
    assert copied(value) is value


@COPIES
def test_an_operator_of_ones_own_is_equal_afterwards(copied: Callable[[Any], Any]) -> None:
    X, beta = sp.symbols("X beta")
    swish = gg.elementwise("swish", X / (1 + sp.exp(-beta * X)), parameters={beta: 1.0})
    same = copied(swish)
    assert same is not swish
    assert same == swish
    g = gg.Graph()
    x = g.input("x", ("N",))
    assert swish(x) is same(x)


def test_an_operator_that_stands_in_no_table_cannot_be_pickled() -> None:
    with pytest.raises(GraphgradError, match=r"^the operator other stands in no table, so it cannot be pickled$"):
        pickle.dumps(replace(gg.tanh, name="other"))


@COPIES
@pytest.mark.parametrize(
    "schedule",
    [
        schedules.cosine(0.1, 30, final=0.01),
        schedules.warm_up(schedules.exponential(0.1, 0.9), 5),
        schedules.piecewise([0.1, schedules.inverse(0.01)], [7]),
    ],
    ids=repr,
)
def test_a_schedule_is_made_anew(schedule: schedules.Schedule, copied: Callable[[Any], Any]) -> None:
    same = copied(gg.Adam(schedule)).alpha
    assert same == schedule
    assert [same(k) for k in range(40)] == [schedule(k) for k in range(40)]
    assert copied(same) == schedule


@COPIES
def test_a_network_comes_back_with_its_rules_and_handles(copied: Callable[[Any], Any]) -> None:
    net = gg.feedforward([3, 4, 1], "tanh", "bce", initial=[slowly_rising, "orthogonal"])
    same = copied(net)
    assert same.graph is not net.graph
    assert network_to_dict(same) == network_to_dict(net)
    assert (same.widths, same.threshold, same.batch) == ((3, 4, 1), 0.5, "N")
    assert same.loss is same.graph["loss"]
    assert same.inputs[0] is same.graph["x"]
    for name, values in net.initialize(3).items():
        np.testing.assert_array_equal(same.initialize(3)[name], values)
    assert set(gg.derive(same.loss)) == set(same.parameters)


def test_a_network_is_copied_before_anything_else_was_asked_for() -> None:
    code = """
import copy, pickle, graphgrad as gg
net = gg.feedforward([2, 3, 1])
print(copy.deepcopy(net).widths, pickle.loads(pickle.dumps(net)).widths, copy.deepcopy(net.graph)["loss"].name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "(2, 3, 1) (2, 3, 1) loss\n", done.stderr


@COPIES
def test_what_is_compiled_says_that_it_is_not_copied(copied: Callable[[Any], Any]) -> None:
    trainer = gg.Trainer(gg.feedforward([2, 3, 1]))
    for value in (trainer, trainer.function):
        with pytest.raises(GraphgradError, match="a compiled function cannot be pickled or copied"):
            copied(value)


def test_a_run_leaves_behind_what_is_compiled_and_goes_on() -> None:
    X = np.random.default_rng(0).normal(size=(40, 2))
    optimizer = gg.Adam(schedules.exponential(0.01, 0.99))
    run = gg.train(
        gg.feedforward([2, 5, 1], "tanh"), X, X[:, :1], optimizer=optimizer, epochs=3, validation=(X, X[:, :1])
    )
    assert run.predict(X).shape == (40, 1)
    content = pickle.dumps(run)
    same = pickle.loads(content)
    assert run.sample[0].tobytes()[:40] not in content
    np.testing.assert_array_equal(same.predict(X), run.predict(X))
    for name, column in run.history.items():
        np.testing.assert_array_equal(same.history[name], column)
    assert same.trainer.k == run.trainer.k == 3
    x, y = X.astype("f4"), X[:, :1].astype("f4")
    assert [same.trainer.step(x, y) for _ in range(3)] == [run.trainer.step(x, y) for _ in range(3)]


def test_a_run_predicts_by_the_function_that_validated_it(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(0).normal(size=(40, 2))
    run = gg.train(gg.feedforward([2, 5, 1]), X, X[:, :1], epochs=1, validation=(X, X[:, :1]))
    made: list[Any] = []
    monkeypatch.setattr("graphgrad.run.Evaluation", lambda *arguments: made.append(arguments))
    run.predict(X)
    assert made == []
