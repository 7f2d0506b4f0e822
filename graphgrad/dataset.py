"""The data of a run: which samples are trained on, with which weights, in which batches, and which are set aside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphgrad.data import batches, split_rows
from graphgrad.errors import CallError, GraphgradError
from graphgrad.networks import Network
from graphgrad.samples import Data, as_data, fingerprint
from graphgrad.schedules import is_number
from graphgrad.sources import Samples, Source, in_memory, opened, unwrapped
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS, Array, show

SAMPLINGS = ("shuffle", "lecture")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Arrays as the step takes them, the rows of them that are trained on, and what the run is validated with."""

    arrays: list[Samples]
    rows: Array | None  # None: all
    weights: Array | None  # of all samples; then also the last of `arrays`
    checks: list[Samples] | None  # the samples to validate with
    check_rows: Array | None  # None: all of these

    @property
    def samples(self) -> int:
        """The number of samples that are trained on."""
        return len(self.arrays[0]) if self.rows is None else len(self.rows)

    def weight(self, indices: Array | None) -> float:
        """What a batch counts: its number of samples, or the sum of their weights."""
        if self.weights is None:
            return self.samples if indices is None else len(indices)
        return float(np.sum(self.weights if indices is None else self.weights[indices]))

    def fingerprint(self) -> int:
        """A number that other data hardly have."""
        rows = [r for r in (self.rows, self.check_rows) if r is not None]
        return fingerprint([*self.arrays, *(self.checks or ()), *rows])


def dataset(
    leaves: Sequence[Tensor],
    net: Network,
    X: Data,
    Y: Data,
    *,
    validation: Any = None,
    stratify: bool = False,
    sample_weight: Any = None,
    class_weight: Any = None,
    seed: int = 0,
) -> Dataset:
    """The data of a run, checked. `leaves` are the network's inputs and target in the dtypes of the step."""
    arrays = as_data(leaves, net, X, Y, ("X", "Y"))
    checks: list[Samples] | None = None
    rows = check_rows = None
    if isinstance(validation, (float, np.floating)):
        validation = float(validation)
        rows, check_rows = _parted(net, arrays, validation, stratify, seed)
        checks = arrays[: len(leaves)]
    elif validation is not None:
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            given = repr(validation) if isinstance(validation, (int, str)) else type(validation).__name__
            raise GraphgradError(
                "validation is a pair (Xv, Yv) of samples and targets, or the fraction of samples to set aside, "
                f"but {given} was given"
            )
        checks = as_data(leaves, net, validation[0], validation[1], ("Xv", "Yv"))
    if stratify and not isinstance(validation, float):
        raise GraphgradError("stratify=True parts the samples of each class alike: validation=0.2 says how")
    weights = _weights(net, arrays, sample_weight, class_weight, rows)
    if weights is not None:
        if net.batch is None:
            raise GraphgradError("weights are one for each sample, but no named size counts the network's samples")
        kept = np.arange(len(weights)) if rows is None else rows
        if not weights[kept].any():
            raise CallError("sample_weight is 0 for all samples")
        largest = weights[kept].max()
        if not 2.0**-32 < largest < 2.0**32:  # float32 would under- or overflow; the scale is nothing to a mean
            weights = np.ldexp(weights, -np.frexp(largest)[1])  # by a power of 2, which is exact
        dtype = leaves[0].dtype if leaves[0].dtype in FLOATS else "float64"
        weights = np.where(weights < np.finfo(dtype).tiny, 0.0, weights)
        if not weights[kept].all():  # what weighs nothing teaches nothing, and a batch of such alone has no mean
            rows = kept[weights[kept] > 0]
        with np.errstate(over="ignore"):  # of samples that are not trained on
            arrays = [*arrays, weights.astype(dtype)]
    return Dataset(arrays, rows, weights, checks, check_rows)


def _parted(net: Network, arrays: Sequence[Samples], part: float, stratify: bool, seed: int) -> tuple[Array, Array]:
    """The rows to train on and those to validate with."""
    if net.batch is None:
        raise GraphgradError("validation as a fraction sets samples aside, but no named size counts the samples")
    n = len(arrays[0])
    if not 0 < part < 1:
        raise GraphgradError(f"validation as a fraction is between 0 and 1, but {part} was given")
    labels = None
    if stratify:
        if net.target is None or arrays[-1].size != n:
            raise GraphgradError("stratify=True wants a target with one label for each sample")
        labels = in_memory(arrays[-1]).reshape(n)
    rows, checks = split_rows(n, part, np.random.default_rng((seed, 4)), labels)
    if not len(rows) or not len(checks):
        raise GraphgradError(f"{n} samples cannot be parted with validation={part}: one side would be empty")
    return rows, checks


def _weights(
    net: Network, arrays: Sequence[Samples], of_samples: Any, of_classes: Any, rows: Array | None
) -> Array | None:
    """A weight for each sample, or None where all count alike. "balanced" counts the samples that are trained on."""
    weights = None
    if of_samples is not None:
        weights = in_memory(opened("sample_weight", of_samples))
        n = len(arrays[0]) if arrays[0].ndim else 0
        if weights.dtype.kind not in "biuf" or weights.shape != (n,):
            raise CallError(
                f"sample_weight is a number for each sample, of shape {show((n,))}, "
                f"but {weights.dtype.name} of shape {show(weights.shape)} was given"
            )
        weights = weights.astype(np.float64)
        if not (np.isfinite(weights) & (weights >= 0)).all():
            at = int(np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))[0])
            raise CallError(f"sample_weight[{at}] is {weights[at]}; weights are finite numbers from 0 on")
    if of_classes is None:
        return weights
    if net.target is None or (net.classes is None and net.threshold is None) or arrays[-1].size != len(arrays[-1]):
        raise GraphgradError("class_weight wants a target with a class for each sample")
    labels = in_memory(arrays[-1]).reshape(-1)
    there = np.unique(labels).tolist()
    if isinstance(of_classes, str):
        if of_classes != "balanced":
            raise GraphgradError(f'class_weight is a mapping from labels, or "balanced", but {of_classes!r} was given')
        base = np.ones(len(labels)) if weights is None else weights
        trained = slice(None) if rows is None else rows
        counts = {c: float(np.sum(base[trained][labels[trained] == c])) for c in there}
        classes = sum(count > 0 for count in counts.values())
        table = {c: sum(counts.values()) / (classes * count) if count else 1.0 for c, count in counts.items()}
    elif isinstance(of_classes, Mapping):
        table = {c: of_classes.get(c, 1.0) for c in there}
        known = range(net.classes) if net.classes is not None else there
        if strange := [c for c in of_classes if c not in known]:
            raise GraphgradError(f"class_weight names {strange[0]!r}, which is no label; there are: {list(known)}")
        if bad := [c for c, w in table.items() if not is_number(w) or w < 0]:
            raise GraphgradError(f"class_weight of {bad[0]} is {table[bad[0]]!r}; weights are finite numbers from 0 on")
    else:
        raise GraphgradError(f'class_weight is a mapping from labels, or "balanced", but {of_classes!r} was given')
    factors = np.array([float(table[c]) for c in there])[np.searchsorted(there, labels)]
    if weights is None:
        return factors
    with np.errstate(over="ignore"):
        product: Array = weights * factors
    if np.isinf(product).any():
        at = int(np.flatnonzero(np.isinf(product))[0])
        raise CallError(
            f"sample_weight[{at}] is {weights[at]} and class_weight of {labels[at]} is {factors[at]}: "
            "their product is too large"
        )
    return product


def epoch_batches(data: Dataset, size: int, sampling: str, seed: int, epoch: int) -> Iterator[Array]:
    """The indices of each batch of an epoch. They depend on the seed and the epoch's number alone.

    "shuffle": a random partition of the samples, a new one each epoch. "lecture": one partition for the whole run, and
    in each iteration a batch of it at random; an epoch has as many iterations as the partition has batches.
    """
    n = data.samples
    if sampling == "lecture":
        parts = list(batches(n, size, np.random.default_rng((seed, 2))))
        order: Iterator[Array] = (
            parts[k] for k in np.random.default_rng((seed, 3, epoch)).integers(len(parts), size=len(parts))
        )
    else:
        order = batches(n, size, np.random.default_rng((seed, 1, epoch)))
    for indices in order:
        yield indices if data.rows is None else data.rows[indices]


class Gatherer:
    """Puts the samples of a batch into buffers that all batches share.

    Rows go straight from where they lie, a file that is mapped into memory included, into the step's input. Those of a
    Source are read first.
    """

    def __init__(self, arrays: Sequence[Samples], dtypes: Sequence[str], size: int) -> None:
        self._arrays = list(arrays)
        self._buffers = [np.empty((size, *a.shape[1:]), d) for a, d in zip(arrays, dtypes, strict=True)]

    def __call__(self, indices: Array) -> list[Array]:
        """The samples with these indices."""
        batch = [b[: len(indices)] for b in self._buffers]
        for a, b in zip(self._arrays, batch, strict=True):
            if isinstance(a, Source):
                a.read(indices, b)
            elif a.dtype == b.dtype:
                a.take(indices, 0, b, "clip")  # the mode "raise" would go through a buffer of NumPy's own
            else:
                np.copyto(b, unwrapped("a sample", a[indices], b.dtype), casting="same_kind")
        return batch
