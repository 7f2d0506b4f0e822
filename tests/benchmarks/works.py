"""The works that are timed: a network, its loss, a batch and an optimizer, with the same numbers for everyone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

ALPHA, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8
BATCHES = 8  # that a contestant goes through in turn


@dataclass(frozen=True)
class Work:
    """One training step that is asked of everyone."""

    name: str
    widths: tuple[int, ...]
    activation: str
    loss: str  # mse, cross_entropy, huber (delta 1) or bce (of logits)
    batch: int
    optimizer: str = "adam"  # adam, momentum (m ← β m + (1-β) g), sgd
    dtype: str = "float32"

    @property
    def title(self) -> str:
        """Such as 64-128-10 relu cross-entropy, batch 64; many equal widths are counted."""
        layers = len(self.widths) - 1
        equal = len(set(self.widths)) == 1 and layers > 3
        net = f"{layers} layers of {self.widths[0]}" if equal else "-".join(map(str, self.widths))
        words = [net, self.activation, self.loss.replace("_", "-") + f", batch {self.batch}"]
        words += [self.optimizer] * (self.optimizer != "adam") + [self.dtype] * (self.dtype != "float32")
        return " ".join(words[:3]) + "".join(f", {w}" for w in words[3:])

    @property
    def layers(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each layer."""
        return list(pairwise(self.widths))

    @property
    def labels(self) -> bool:
        return self.loss == "cross_entropy"


def listed() -> list[Work]:
    """The six networks of the table."""
    return [
        Work("row 1", (2, 16, 16, 1), "tanh", "mse", 32),
        Work("row 2", (13, 64, 64, 1), "relu", "mse", 64),
        Work("row 3", (64, 128, 64, 10), "relu", "cross_entropy", 64),
        Work("row 4", (784, 512, 256, 10), "relu", "cross_entropy", 128),
        Work("row 5", (1024, 2048, 2048, 1024), "relu", "mse", 256),
        Work("row 6", (64,) * 51, "tanh", "mse", 64),
    ]


def others() -> list[Work]:
    """What no table lists: other widths, odd batches, activations, losses, dtypes and optimizers."""
    return [
        Work("sigmoid", (10, 50, 30, 1), "sigmoid", "bce", 37),
        Work("softplus", (20, 100, 60, 3), "softplus", "huber", 101),
        Work("gelu", (32, 96, 96, 8), "gelu", "mse", 48),
        Work("silu", (48, 160, 80, 12), "silu", "cross_entropy", 75),
        Work("elu", (16, 40, 40, 40, 2), "elu", "huber", 55, "momentum"),
        Work("float64", (30, 90, 45, 5), "tanh", "mse", 33, dtype="float64"),
        Work("digits64", (64, 128, 64, 10), "relu", "cross_entropy", 64, dtype="float64"),
        Work("wide", (256, 4096, 16), "relu", "cross_entropy", 63),
        Work("12 layers", (100,) * 12 + (10,), "relu", "cross_entropy", 99),
        Work("many classes", (300, 200, 1000), "relu", "cross_entropy", 127),
        Work("one sample", (8, 24, 24, 1), "tanh", "mse", 1),
        Work("seven numbers", (1, 2, 1), "relu", "mse", 1),
        Work("large batch", (12, 32, 32, 1), "relu", "bce", 1999),
        Work("sgd", (64, 128, 64, 10), "relu", "cross_entropy", 64, "sgd"),
        Work("sgd odd", (50, 70, 70, 1), "tanh", "mse", 29, "sgd"),
        Work("momentum", (784, 300, 100, 10), "relu", "cross_entropy", 111, "momentum"),
        Work("sure of fifty classes", (8, 16, 50), "relu", "cross_entropy", 10),
        Work("eight samples by heart", (300, 752, 1152, 2), "relu", "cross_entropy", 1),
        Work("units that shrink to nothing", (1, 64, 1), "tanh", "mse", 50),
        Work("one output alone", (3, 1), "relu", "mse", 300),
        Work("two outputs alone", (20, 2), "relu", "mse", 1000),
        Work("three outputs, large batch", (2, 16, 3), "tanh", "mse", 1000),
        Work("many classes alone", (2, 100), "relu", "cross_entropy", 256),
        Work("a thousand classes alone", (20, 1000), "relu", "cross_entropy", 256),
        Work("many classes, large batch", (20, 300), "tanh", "cross_entropy", 1000),
        Work("narrow layers", (1376, 23, 3, 2), "relu", "mse", 100),
        Work("no hidden layer", (1000, 10), "relu", "cross_entropy", 256),
        Work("no hidden layer, float64", (784, 10), "relu", "cross_entropy", 600, dtype="float64"),
        Work("large batch of float64", (784, 100, 10), "relu", "cross_entropy", 1000, dtype="float64"),
    ]


def tiny() -> Work:
    """What tests run."""
    return Work("tiny", (3, 5, 4), "relu", "cross_entropy", 6)


def varied(works: Sequence[Work], **changed: Any) -> list[Work]:
    return [replace(w, **changed) for w in works]


def parameters(work: Work) -> list[tuple[np.ndarray, np.ndarray]]:
    """(W, b) of each layer, W of shape (outputs, inputs)."""
    generator = np.random.default_rng(0)
    return [
        (generator.normal(0, inputs**-0.5, (outputs, inputs)).astype(work.dtype), np.zeros(outputs, work.dtype))
        for inputs, outputs in work.layers
    ]


@lru_cache(maxsize=1)
def batches(work: Work) -> tuple[np.ndarray, np.ndarray]:
    """x of shape (BATCHES, batch, inputs), and y: labels, zeros and ones, or numbers.

    All contestants of a process get the same arrays: where they happen to lie in memory may cost a step a tenth.
    """
    generator = np.random.default_rng(1)
    x = generator.normal(size=(BATCHES, work.batch, work.widths[0])).astype(work.dtype)
    shape = (BATCHES, work.batch, work.widths[-1])
    if work.labels:
        return x, generator.integers(0, work.widths[-1], shape[:2])
    if work.loss == "bce":
        return x, generator.integers(0, 2, shape).astype(work.dtype)
    return x, generator.normal(size=shape).astype(work.dtype)
