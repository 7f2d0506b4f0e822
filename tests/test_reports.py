"""Reports: measures against scikit-learn's and by hand, their text, and learning curves."""

import doctest
import math
import re
import sys
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn import metrics

import graphgrad as gg
from graphgrad import reports


def test_measures_of_classes_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    actual, predicted = rng.integers(0, 5, 200), rng.integers(0, 4, 200)  # nothing is taken for class 4
    confusion = reports.confusion_matrix(actual, predicted, 5)
    assert np.array_equal(confusion, metrics.confusion_matrix(actual, predicted, labels=range(5)))
    small = np.array([200, 7], np.uint8)
    assert reports.confusion_matrix(small, small, 201)[200, 200] == 1
    precision, recall = reports.precision_and_recall(confusion)
    expected = metrics.precision_recall_fscore_support(actual, predicted, zero_division=np.nan)
    np.testing.assert_allclose(precision, expected[0])
    np.testing.assert_allclose(recall, expected[1])
    assert np.isnan(precision).tolist() == [False] * 4 + [True]


def test_the_quantiles_of_residuals() -> None:
    assert reports.residual_quantiles([1.0, 2, 3], [0.0, 0, 0], [0, 0.25, 1]).tolist() == [1, 1.5, 3]


def test_the_report_of_classes() -> None:
    assert reports.classification_report([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 0], ["a|b", "*c*", "d\ne"]) == (
        "Accuracy: 50.0% (3 of 6). Always saying a\\|b, the most frequent class, would be right in 50.0%.\n"
        "\n"
        "| class | precision | recall | samples |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| a\\|b | 50.0% | 66.7% | 3 |\n"
        "| \\*c\\* | 50.0% | 50.0% | 2 |\n"
        "| d e | - | 0.0% | 1 |\n"
        "\n"
        "Rows are the actual classes, columns the predicted ones:\n"
        "\n"
        "|  | a\\|b | \\*c\\* | d e |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| a\\|b | 2 | 1 | 0 |\n"
        "| \\*c\\* | 1 | 1 | 0 |\n"
        "| d e | 1 | 0 | 0 |\n"
    )


def test_of_many_classes_the_most_frequent_errors_are_told() -> None:
    actual = [*range(21), 3, 3, 7]
    text = reports.classification_report(actual, [*range(21), 5, 5, 2], list(range(21)))
    assert text.endswith(
        "The most frequent errors:\n\n| actual | predicted | samples |\n| --- | ---: | ---: |\n| 3 | 5 | 2 |\n"
        "| 7 | 2 | 1 |\n"
    )
    assert reports.classification_report(actual, actual, list(range(21))).endswith("| 20 | 100.0% | 100.0% | 1 |\n")


def test_the_report_of_numbers() -> None:
    actual = np.array([[1.0, 0.1], [2, 0.1], [3, 0.1]])
    predicted = np.array([[1.5, 0.1], [2, 0.1], [2, 0.1]])
    assert reports.regression_report(actual, predicted, ["a_1", "b"]) == (
        "3 samples.\n"
        "\n"
        "| target | R² | mean absolute error | root mean squared error |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| a\\_1 | 0.375 | 0.5 | 0.6455 |\n"
        "| b | - | 0 | 0 |\n"
        "\n"
        "Residuals are actual less predicted values:\n"
        "\n"
        "| residuals | least | 5% | 25% | 50% | 75% | 95% | largest |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| a\\_1 | -0.5 | -0.45 | -0.25 | 0 | 0.5 | 0.9 | 1 |\n"
        "| b | 0 | 0 | 0 | 0 | 0 | 0 | 0 |\n"
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: reports.confusion_matrix([1, 2], [1], 3),
            "actual and predicted values are two arrays of one shape, of rank 1, but (2,) and (1,) were given",
        ),
        (
            lambda: reports.residual_quantiles([], []),
            "actual and predicted values are two arrays of one shape, of rank 1, but (0,) and (0,) were given",
        ),
        (
            lambda: reports.confusion_matrix([0, 2], [0, 1], 2),
            "actual is of classes, whole numbers from 0 to 1, but others were given",
        ),
        (
            lambda: reports.confusion_matrix([0, 1], [0.0, 1.0], 2),
            "predicted is of classes, whole numbers from 0 to 1, but others were given",
        ),
        (lambda: reports.regression_report([[1.0]], [[1.0]], ["a", "b"]), "there are 1 targets, but 2 names"),
        (lambda: reports.learning_curves({}), "this history is empty: there is nothing to draw"),
        (lambda: reports.learning_curves({"epoch": [1, 2]}), "this history is empty: there is nothing to draw"),
        (lambda: reports.learning_curves({"epoch": [], "loss": []}), "this history is empty: there is nothing to draw"),
        (
            lambda: reports.learning_curves({"epoch": [1, 2], "loss": [1]}),
            "the columns of a history are of one length, but {'epoch': 2, 'loss': 1} were given",
        ),
    ],
)
def test_what_cannot_be_reported(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message)}$"):
        call()


# ---------------------------------------------------------------------------------------------------------------------
# Learning curves
# ---------------------------------------------------------------------------------------------------------------------

HISTORY: dict[str, Any] = {
    "epoch": [1, 2, 3],
    "loss": np.array([9.0, 3.0, 0.1]),
    "rate": [0.1, 0.1, 0.2],
    "validation_loss": [9.0, math.nan, math.inf],
    "validation_accuracy": [0.2, 0.5, 0.9],
}
SVG = "{http://www.w3.org/2000/svg}"


def words(svg: str) -> list[str]:
    return ["".join(text.itertext()).strip() for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_learning_curves_have_a_panel_for_each_measure() -> None:
    svg = reports.learning_curves(HISTORY)
    assert svg == reports.learning_curves(HISTORY)
    told = words(svg)
    assert {"loss", "rate", "accuracy", "epoch"} <= set(told)
    assert (told.count("training"), told.count("validation")) == (1, 2)

    def heights(name: str) -> list[float]:
        """How far down the page the points of a curve are."""
        path = ElementTree.fromstring(svg).find(f".//{SVG}g[@id='{name}']/{SVG}path")
        assert path is not None
        return [float(y) for y in re.findall(r"[ML] \S+ (\S+)", path.get("d") or "")]

    high, middle, low = heights("loss")
    assert (low - middle) / (middle - high) == pytest.approx(math.log(30) / math.log(3), rel=1e-3)
    assert heights("validation_loss") == [high]
    first, second, third = heights("rate")
    assert first == second > third
    low, middle, high = heights("validation_accuracy")
    assert (low - middle) / (middle - high) == pytest.approx(0.75, rel=1e-3)


def test_a_rate_that_stays_has_no_panel() -> None:
    assert "rate" not in words(reports.learning_curves({**HISTORY, "rate": [0.1, 0.1, 0.1]}))


def test_a_history_of_one_epoch_without_numbers_is_drawn() -> None:
    assert "loss" in words(reports.learning_curves({"epoch": [1], "loss": [math.nan]}))
    assert "epoch" in words(reports.learning_curves({"my_measure": [1.0, -1.0]}))


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = "learning curves are drawn by matplotlib, which is not installed: pip install 'graphgrad[plot]'"
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message)}$"):
        reports.learning_curves(HISTORY)


def test_the_example_runs() -> None:
    assert doctest.testmod(reports) == (0, 1)
