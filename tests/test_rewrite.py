"""A pass whose first nodes are known to stay makes what it would make without that knowledge, and nothing is stale."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphgrad as gg
from graphgrad.rewrite import op, rebuild
from graphgrad.simplify import Simpler
from tests.random_graphs import Case, cases

few = settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def signatures(graph: gg.Graph, ids: list[int]) -> dict[int, Any]:
    """What each node is, and what is known of it, whatever ids it has and its operands have."""
    numbers: dict[Any, int] = {}
    found: dict[int, int] = {}
    for id in graph.ancestors(ids):
        n = graph.nodes[id]
        known = graph.names.get(id), graph.lines.get(id), graph.scopes.get(id), id in graph.records
        what = n.operator, n.attributes, tuple(found[i] for i in n.inputs), n.shape, n.dtype, n.weak, known
        found[id] = numbers.setdefault(what, len(numbers))
    told = {number: what for what, number in numbers.items()}
    return {id: told[found[id]] for id in ids}


def fields(node: gg.Node) -> tuple[Any, ...]:
    return node.operator, node.inputs, node.attributes, node.shape, node.dtype, node.weak


@given(case=cases(), share=st.floats(0, 1))
@few
def test_the_nodes_before_the_start_are_those_that_a_pass_leaves(case: Case, share: float) -> None:
    graph = case.graph
    start = round(share * len(graph.nodes))

    def visit(node: gg.Node, inputs: tuple[gg.Tensor, ...], new: gg.Graph) -> gg.Tensor | None:
        if node.id < start or node.operator.name != "add":
            return None
        return op("add", inputs[1], inputs[0])

    whole, went = rebuild(case.outputs, visit)
    quick, went_quickly = rebuild(case.outputs, visit, start=start)
    ids = [t.id for t in case.outputs]
    assert [(t.id, t.graph is quick) for t in quick.tensors(range(start))] == [(id, True) for id in range(start)]
    assert quick.nodes[:start] == graph.nodes[:start]
    assert went.keys() <= went_quickly.keys()
    ours, theirs = (
        signatures(quick, [went_quickly[id].id for id in ids]),
        signatures(whole, [went[id].id for id in ids]),
    )
    assert list(ours.values()) == list(theirs.values())


@given(case=cases(), share=st.floats(0, 1))
@few
def test_a_head_knows_its_nodes_and_no_other(case: Case, share: float) -> None:
    graph = case.graph
    end = round(share * len(graph.nodes))
    head = graph.head(end)
    assert all(graph[name].id >= end for name in graph._named if name not in head)
    assert all(head[name].id == graph[name].id for name in graph._named if name in head)
    for known, of_all in ((head.names, graph.names), (head.lines, graph.lines), (head.scopes, graph.scopes)):
        assert known == {id: what for id, what in of_all.items() if id < end}
    assert all(id < end and max(key[1], default=-1) < end for key, id in head._ids.items())
    for node in graph.nodes[:end]:
        assert head.adopt(node, node.inputs).id == node.id
    for node in graph.nodes[end:]:
        assert head.adopt(node, node.inputs).id == node.id == len(head.nodes) - 1
    assert list(map(fields, head.nodes)) == list(map(fields, graph.nodes))


def test_a_number_of_the_head_is_found_and_one_behind_it_is_made() -> None:
    g = gg.Graph()
    x = g.input("x", (3,))
    two, end = 2 * x, len(g.nodes)
    three = 3 * x
    head = g.head(end)
    assert (2 * head["x"]).id == two.id
    assert (3 * head["x"]).id == three.id
    assert len(head.nodes) == len(g.nodes)


def test_a_record_stays_with_what_it_tells_of() -> None:
    """x·2 that becomes x is no step of the derivation: x was there before."""
    g = gg.Graph()
    x = g.input("x", (3,))
    d = gg.derive(gg.sum(x * x), wrt=[x])
    step = next(id for id in g.records if g.nodes[id].operator.name == "add")

    def visit(node: gg.Node, inputs: tuple[gg.Tensor, ...], graph: gg.Graph) -> gg.Tensor | None:
        return graph["x"] if node.id == step else None

    for start in (0, x.id + 1, step):
        new, moved = rebuild([d[x]], visit, start=start)
        assert moved[step] is new["x"]
        assert new["x"].id not in new.records


def test_a_composite_is_written_out_wherever_it_stands() -> None:
    g = gg.Graph()
    x = g.input("x", (3,))
    first, last = gg.gelu(x), gg.exp(x)
    then = Simpler(again=True, spelled=lambda node: node.operator.name != "gelu")
    assert then.settled(g, last.id) == first.id
    assert then.settled(g, first.id) == first.id
    assert Simpler().settled(g, last.id) == 0
    total = first + last
    new, moved = rebuild([total], None, (), then, start=then.settled(g, last.id))
    assert all(new.nodes[id].operator.name != "gelu" for id in new.ancestors([moved[total.id].id]))


def test_what_was_folded_behind_the_head_is_forgotten() -> None:
    """Else another product, of operands that came to have the same ids, would be taken for that number."""
    g = gg.Graph()
    g.constant(1.0)
    g.constant(2.0) * g.constant(0.5)  # folds to the first
    head = g.head(1)
    a, b = head.input("a"), head.input("b")
    assert (a * b).value is None
