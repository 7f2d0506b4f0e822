"""Networks in shorthand: what is written is built, and a table fills in what is left open."""

import doctest
import re
import sys

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.preprocessing import Preprocessing
from graphgrad.shorthand import fit_network, learns_classes, parse_network, parse_shorthand
from graphgrad.table import Table


def test_shorthand() -> None:
    net = parse_network("6-5-4-3:tanh:cross_entropy")
    assert (net.widths, net.classes) == ((6, 5, 4, 3), 3)
    assert {net.graph[f"x{l}"].node.operator.name for l in (1, 2)} == {"tanh"}
    assert parse_network("6-3").graph["loss"].node.operator.name == "mean_squared_error"
    assert parse_network("6-4-3").graph["x1"].node.operator.name == "relu"


FORM = "a network is written WIDTHS[:ACTIVATION[:LOSS]], as in 64-128-10:relu:cross_entropy"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("64-x-10", f"'64-x-10': the width 'x' is no whole number from 1 on; {FORM}"),
        ("64--10", f"'64--10': the width '' is no whole number from 1 on; {FORM}"),
        ("64-0", f"'64-0': the width '0' is no whole number from 1 on; {FORM}"),
        ("٣-2", f"'٣-2': the width '٣' is no whole number from 1 on; {FORM}"),
        ("", f"'': the width '' is no whole number from 1 on; {FORM}"),
        (
            "2-1:relu:mse:adam",
            f"'2-1:relu:mse:adam' has 4 parts where {FORM}",
        ),
        ("2-00", f"'2-00': the width '00' is no whole number from 1 on; {FORM}"),
        ("2-1" + "0" * 5000, "a width of 5001 digits is too large"),
        ("2-auto-1", "'2-auto-1': the first and the last width may be auto, others are numbers"),
        ("auto-4-1", "'auto-4-1' leaves widths open, which only a table can fill in; numbers are wanted here"),
        ("64", "a network has at least two widths, of its input and its output, but [64] was given"),
    ],
)
def test_what_is_no_shorthand_is_told(text: str, message: str) -> None:
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message)}$"):
        parse_network(text)


def test_an_unknown_name_in_shorthand_is_told() -> None:
    with pytest.raises(gg.GraphgradError, match=r"^no activation is called ''; there are: "):
        parse_network("2-1:")


# ---------------------------------------------------------------------------------------------------------------------
# For a table
# ---------------------------------------------------------------------------------------------------------------------

KINDS = np.array(["u", "v", "w", "u"], object)
TABLE = Table(
    "t.csv",
    {
        "a": np.array([1.0, 2, 3, 4]),
        "kind": KINDS,
        "two": np.array(["no", "yes", "no", "no"], object),
        "whole": np.array([0.0, 2, 0, 2]),
        "even": np.array([0.0, 2, 4, 2]),
        "part": np.array([0.0, 0.5, 1, 0.25]),
        "hole": np.array([0.0, 1, np.nan, 1]),
    },
    np.arange(2, 6),
)


def built(text: str, *targets: str, classes: bool = False) -> tuple[gg.Network, Preprocessing]:
    ignore = [name for name in TABLE.names if name not in ("a", "kind", *targets)]
    known = Preprocessing.fit(TABLE, targets, classes=classes, ignore=ignore)
    return fit_network(parse_shorthand(text), known, "t.csv")


@pytest.mark.parametrize(
    ("text", "targets", "classes", "widths", "loss"),
    [
        ("auto-8-auto:tanh", ["kind"], False, (1, 8, 3), "cross_entropy"),
        ("auto-8-3", ["kind"], False, (1, 8, 3), "cross_entropy"),
        ("1-8-auto", ["kind"], False, (1, 8, 3), "cross_entropy"),
        ("auto-auto", ["two"], False, (4, 2), "cross_entropy"),
        ("auto-5-2", ["two"], False, (4, 5, 2), "cross_entropy"),
        ("auto-5-1", ["two"], False, (4, 5, 1), "binary_cross_entropy"),
        ("auto-5-auto:relu:bce", ["two"], False, (4, 5, 1), "binary_cross_entropy"),
        ("4-5-auto:relu:hinge", ["two"], False, (4, 5, 1), "hinge"),
        ("auto-auto:relu:binary_cross_entropy", ["whole"], True, (4, 1), "binary_cross_entropy"),
        ("auto-auto", ["whole"], True, (4, 2), "cross_entropy"),
        ("auto-3", ["whole"], True, (4, 3), "cross_entropy"),
        ("auto-auto", ["whole"], False, (4, 1), "mean_squared_error"),
        ("auto-6-auto:relu:mae", ["whole", "part"], False, (4, 6, 2), "mean_absolute_error"),
        ("auto-6-auto:relu:bce", ["whole", "part"], False, (4, 6, 2), "binary_cross_entropy"),
    ],
)
def test_a_table_fills_in_what_is_open(
    text: str, targets: list[str], classes: bool, widths: tuple[int, ...], loss: str
) -> None:
    net, known = built(text, *targets, classes=classes)
    assert (net.widths, net.loss.node.operator.name) == (widths, loss)
    assert known.labels is None or loss != "cross_entropy" or len(known.labels) == widths[-1]
    assert len(widths) == 2 or net.graph["x1"].node.operator.name == (parse_shorthand(text).activation)


def test_a_class_without_rows_is_known_to_the_network() -> None:
    assert built("auto-3", "whole", classes=True)[1].labels == (0, 1, 2)
    assert built("auto-auto", "whole", classes=True)[1].labels == (0, 2)


@pytest.mark.parametrize(
    ("text", "targets", "classes", "message"),
    [
        (
            "3-1",
            ["whole"],
            False,
            "'3-1': the first width is 3, but t.csv gives 4 inputs (a, kind=u, kind=v, kind=w); 4 or auto would fit",
        ),
        (
            "2-3",
            ["kind"],
            False,
            "'2-3': the first width is 2, but t.csv gives 1 input (a); 1 or auto would fit",
        ),
        (
            "auto-8-4",
            ["kind"],
            False,
            "'auto-8-4': the last width is 4, but column 'kind' has 3 classes ('u', 'v', 'w'); 3 or auto would fit",
        ),
        (
            "auto-2",
            ["whole"],
            False,
            "'auto-2': the last width is 2, but t.csv has 1 target column (whole); 1 or auto would fit",
        ),
        (
            "auto-2:relu:bce",
            ["two"],
            False,
            "'auto-2:relu:bce': the last width is 2, but binary_cross_entropy tells two classes apart by one output; "
            "1 or auto would fit",
        ),
        (
            "auto-1:relu:cross_entropy",
            ["two"],
            False,
            "'auto-1:relu:cross_entropy': the last width is 1, but column 'two' has 2 classes ('no', 'yes'); "
            "2 or auto would fit",
        ),
        (
            "auto-2",
            ["even"],
            True,
            "'auto-2': the last width is 2, but column 'even' has 3 classes (0, 2, 4); 3 or auto would fit",
        ),
        (
            "auto-auto:relu:hinge",
            ["kind"],
            False,
            "hinge tells two classes apart, but column 'kind' has 3 classes ('u', 'v', 'w'); cross_entropy would fit",
        ),
        (
            "auto-auto:relu:mse",
            ["kind"],
            False,
            "mean_squared_error is of numbers, but column 'kind' is of classes; cross_entropy would fit",
        ),
        (
            "auto-auto:relu:cross_entropy",
            ["whole"],
            False,
            "cross_entropy tells classes apart, but whole is learned as numbers",
        ),
        ("auto", ["kind"], False, "'auto': a network has at least two widths, of its input and its output"),
    ],
)
def test_what_does_not_fit_a_table(text: str, targets: list[str], classes: bool, message: str) -> None:
    with pytest.raises(gg.GraphgradError, match=f"^{re.escape(message)}$"):
        built(text, *targets, classes=classes)


def test_names_that_do_not_exist_are_told() -> None:
    with pytest.raises(gg.GraphgradError, match=r"^no loss is called 'mze'; there are: "):
        built("auto-auto:relu:mze", "kind")
    with pytest.raises(gg.GraphgradError, match=r"^no activation is called 'rulu'; there are: "):
        built("auto-4-auto:rulu", "kind")


@pytest.mark.parametrize(
    ("loss", "targets", "classes"),
    [
        (None, ("kind",), False),
        ("mean_squared_error", ("whole",), False),
        ("cross_entropy", ("whole",), True),
        ("binary_cross_entropy", ("two",), True),
        ("binary_cross_entropy", ("whole",), True),
        ("binary_cross_entropy", ("hole",), True),
        ("binary_cross_entropy", ("part",), False),
        ("binary_cross_entropy", ("whole", "part"), False),
        ("hinge", ("whole",), True),
    ],
)
def test_what_a_loss_learns(loss: str | None, targets: tuple[str, ...], classes: bool) -> None:
    assert learns_classes(loss, TABLE, targets) == classes


def test_the_examples_run() -> None:
    assert doctest.testmod(sys.modules[parse_network.__module__]) == (0, 2)
