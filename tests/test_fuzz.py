"""Random graphs: the NumPy target agrees with the evaluator, and the derived gradient with differences.

GRAPHGRAD_FUZZ_EXAMPLES sets the number of graphs, and then new ones are drawn each time.
"""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import HealthCheck, Phase, event, given, settings

import graphgrad as gg
from graphgrad.codegen.biases import find_biases
from graphgrad.codegen.layout import Layout, groups
from graphgrad.codegen.masks import masked
from graphgrad.codegen.prepare import Lowered, Prepared, finished
from graphgrad.codegen.program import usual_sizes
from graphgrad.evaluate import evaluate_nodes
from tests.random_graphs import Case, Probe, cases, close, gradients

EXAMPLES = int(os.environ.get("GRAPHGRAD_FUZZ_EXAMPLES", "200"))
fuzz = settings(
    max_examples=EXAMPLES,
    derandomize="GRAPHGRAD_FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
CALLS = 4


def all_otherwise(low: Lowered, layout: Any = None) -> Prepared:
    """A program in which all that can lies transposed, and beside ones for biases, whether that is faster or not."""
    kept = {t.id for t in (*low.results, *low.leaves)}
    ids = low.graph.ancestors([t.id for t in [*low.outputs, *low.values.values()]])
    turned = frozenset(groups(low.graph, ids, kept, ids))
    found = find_biases(low.graph, ids, kept)
    hs = {one.h for kind in (found.affine, found.gradients) for one in kind.values()}
    with_ones = frozenset(h for h in hs if h in turned or low.graph.nodes[h].operator.name == "input")
    event("something lies transposed" if turned else "nothing can lie transposed")
    event("a bias enters a product" if with_ones else "no bias can enter a product")
    with_masks = frozenset(masked(low.graph, ids, usual_sizes(low.graph.nodes[i].shape for i in ids)))
    event("a mask becomes numbers" if with_masks else "no product has a mask")
    return finished(low, Layout(turned, with_ones, masked=with_masks))


def comparable(graph: gg.Graph, ids: list[int], feed: dict[str, Any]) -> Probe | None:
    """The values of a call, or None where they leave the range in which two orders of rounding can be compared."""
    probe = Probe(graph, feed)
    return probe if probe.fits_all(graph.ancestors(ids)) else None


def agree(case: Case, probe: Probe, tensors: list[gg.Tensor], found: list[Any], wanted: list[Any], f: Any) -> None:
    largest = probe.largest()
    for t, a, b in zip(tensors, found, wanted, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), (
            f"v{t.id}: {a.dtype}{a.shape} is not {b.dtype}{b.shape}\n{case!r}\n{f.source}"
        )
        tolerance = (1e-3 if t.id in probe.rough else 1e-9) * largest
        assert close(a, b, tolerance), f"v{t.id}: {a!r}\n is not {b!r}\n{case!r}\n{f.source}"


def zeros(leaf: gg.Tensor) -> Any:
    """What a state starts at."""
    return np.zeros(leaf.shape, leaf.dtype)  # type: ignore[arg-type]


def run(case: Case, *, copy: bool, exact: bool, block: int | None = None) -> None:
    """Several calls in sequence, the feeds in turn, against the evaluator and new values put in place by hand."""
    tensors = [*case.outputs, *case.updates.values()]
    ids = [t.id for t in tensors] + [t.id for t in case.updates]
    function = gg.compile(case.outputs, updates=case.updates, copy=copy, exact=exact, block=block)
    held = {t.name: np.array(case.feeds[0].get(t.name, zeros(t))) for t in case.updates}
    needed = set(case.graph.ancestors(ids))
    states = {t.name: t for t in case.graph.leaves("state") if t.id in needed}
    probes: list[Probe | None] = [None, None]
    for k in range(CALLS):
        feed = {**case.feeds[k % 2], **held}
        if case.updates or k < 2:
            probes[k % 2] = comparable(case.graph, ids, feed)
        if (probe := probes[k % 2]) is None:
            event(f"stopped at call {k}")
            return
        values = probe.values
        given_now = {n: a for n, a in case.feeds[k % 2].items() if n not in held}
        given_now |= {n: zeros(t) for n, t in states.items() if n not in held}
        before = {n: a.copy() for n, a in given_now.items()}
        given_now |= {n: a for n, a in held.items() if k == 0 and n not in states}
        results = function(**given_now)
        agree(case, probe, case.outputs, results, [np.asarray(values[t.id]) for t in case.outputs], function)
        for name, array in before.items():
            assert np.array_equal(given_now[name], array), (
                f"the caller's {name} was written\n{case!r}\n{function.source}"
            )
        for leaf, value in case.updates.items():
            held[leaf.name] = np.array(values[value.id]).astype(leaf.dtype)
        if case.updates:
            fresh = [np.asarray(function.state[t.name]) for t in case.updates]
            wanted = [held[t.name] for t in case.updates]
            probe.rough |= {t.id for t, v in case.updates.items() if v.id in probe.rough}
            agree(case, probe, list(case.updates), fresh, wanted, function)
            held = dict(zip(held, [np.array(a) for a in fresh], strict=True))  # so that rounding does not add up


@given(cases())
@fuzz
def test_target_agrees_with_evaluator(case: Case) -> None:
    event(f"{len(case.graph.nodes) // 20 * 20}+ nodes, {'updates' if case.updates else 'no updates'}")
    run(case, copy=True, exact=False)
    with patch("graphgrad.codegen.blocks.LEAST", 0):  # short chains run in blocks too
        run(case, copy=False, exact=True, block=16)
    with (
        patch("graphgrad.codegen.prepare.finished", all_otherwise),
        patch("graphgrad.codegen.compiler.finished", all_otherwise),
    ):
        run(case, copy=True, exact=False)


@given(cases(max_nodes=40, updates=False))
@fuzz
def test_gradients_agree_with_evaluator_and_differences(case: Case) -> None:
    derived = gradients(case)
    if derived is None or case.scalar is None:
        event("nothing to derive")
        return
    asked = Case(case.graph, [case.scalar, *derived, *case.outputs], {}, case.feeds, case.probes)
    run(asked, copy=True, exact=False)
    with patch("graphgrad.codegen.prepare.finished", all_otherwise):
        run(asked, copy=True, exact=False)
    if comparable(case.graph, [t.id for t in asked.outputs], case.feeds[0]) is not None:
        check_directions(asked, case.wrt)


def check_directions(case: Case, wrt: list[gg.Tensor]) -> None:
    """The gradient along random directions against central differences of the evaluator."""
    scalar, feed = case.outputs[0], case.feeds[0]
    values = evaluate_nodes(case.graph, [t.id for t in case.outputs], feed)
    generator = np.random.default_rng(0)
    for _ in range(2):
        moves = {t.name: generator.uniform(-1, 1, feed[t.name].shape) for t in wrt}

        def at(step: float, moves: dict[str, Any] = moves) -> float:
            moved = {name: feed[name] + step * move for name, move in moves.items()}
            return float(gg.evaluate(scalar, **{**feed, **moved}))

        def slope(h: float) -> float:
            return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)

        with np.errstate(all="ignore"):
            wide, narrow = slope(2e-4), slope(1e-4)
            sides = abs((at(1e-4) + at(-1e-4) - 2 * at(0.0)) / 1e-4)
        parts = [float(np.sum(values[g.id] * moves[t.name])) for t, g in zip(wrt, case.outputs[1:], strict=False)]
        scale = max(1.0, sum(map(abs, parts)))
        if not abs(wide - narrow) <= 1e-6 * scale or not sides <= 1.0 * scale:
            event("a kink is near")
            continue
        event("gradient held against differences")
        assert abs(sum(parts) - narrow) <= 1e-5 * scale, f"derived {sum(parts)}, differences {narrow}\n{case!r}"
