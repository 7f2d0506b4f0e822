"""Long steps in pieces: where they are cut, and code that like pieces share: what CPython makes of their text."""

from __future__ import annotations

import builtins
import re
from itertools import chain
from types import CodeType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphgrad as gg
from graphgrad.codegen import pieces
from graphgrad.codegen.pieces import Line, compiled, in_pieces
from graphgrad.errors import CallError


def parts_of(code: CodeType) -> Any:
    """All that is in a code object but columns, with the code inside."""
    inner = tuple(parts_of(c) if isinstance(c, CodeType) else (type(c), c) for c in code.co_consts)
    names = (code.co_name, code.co_qualname, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    rest = (code.co_argcount, code.co_nlocals, code.co_stacksize, code.co_flags, code.co_exceptiontable)
    return code.co_code, inner, names, rest, code.co_filename, list(code.co_lines())


def check(text: str) -> int:
    """Each part is what CPython makes of it where it stands. How many times CPython was asked."""
    asked = []

    def counting(source: str, *rest: Any) -> Any:
        asked.append(source)
        return builtins.compile(source, *rest)

    pieces.compile = counting  # type: ignore[attr-defined]
    try:
        parts = compiled(text.split("\n"), "<text>")
    finally:
        del pieces.compile  # type: ignore[attr-defined]
    lines = text.split("\n")
    starts = [code.co_firstlineno - 1 for code in parts]
    for code, a, b in zip(parts, starts, [*starts[1:], len(lines)], strict=True):
        wanted = builtins.compile("\n" * a + "\n".join(lines[a:b]), "<text>", "exec").replace(co_firstlineno=a + 1)
        assert [parts_of(c) for c in code.co_consts if isinstance(c, CodeType)] == [
            parts_of(c) for c in wanted.co_consts if isinstance(c, CodeType)
        ]
        assert code.co_names == wanted.co_names
    return len(asked)


def source_of(*bodies: str) -> str:
    defs = [f"def step_{k}():\n" + "\n".join(f"    {line}" for line in b.split("; ")) for k, b in enumerate(bodies, 1)]
    return "\n\n\n".join(["a = 1", *defs, "def step(*arguments):\n    step_1()\n    return (a,)"])


LIKE = [
    ("add(a, b, c)", "add(d, e, f)"),
    ("global a; a = b[()] * c", "global x; x = y[()] * z"),
    ("a = b + c; dot(a, a, d)", "p = q + r; dot(p, p, s)"),  # local names
    ("T.fill(0); copyto(a, T)", "u.fill(0); copyto(b, u)"),
    ("a[0:5] = b.T", "c[0:5] = d.T"),
    ("for a, b in c:; \x20   add(a, b, b)", "for d, e in f:; \x20   add(d, e, e)"),
    ("if a[()] != 1: multiply(b, a, b)", "if c[()] != 1: multiply(d, c, d)"),
    ("add(a, b, c)", "mul(a, b, c)"),  # of functions only the name is in the code
]
UNLIKE = [
    ("add(a, b, c)", "add(a, b, b)"),
    ("add(a, b, b)", "add(a, b, c)"),
    ("a[0:5] = b", "a[0:6] = b"),
    ("a = b * 2.5", "a = b * 3.5"),
    ("a = b * 2.5", "a = b * c.d"),
    ("f(a, axis=0)", "f(a, axes=0)"),
    ("einsum('ij', a)", "einsum('ji', a)"),
    ("f(a, 'b', b)", "f(a, 'c', c)"),
    ("f(a, b=b)", "f(a, c=c)"),
    ("a = None", "a = b"),
    ("a = b", "a = None"),
    ("a = not b", "a = -b"),
    ("global a; a = b", "a; a = b"),
    ("a = lambda: b", "a = lambda: c"),
]


@pytest.mark.parametrize(("one", "other"), LIKE)
def test_pieces_alike_but_for_names_are_compiled_once(one: str, other: str) -> None:
    assert check(source_of(one, other, one)) == check(source_of(one))


@pytest.mark.parametrize(("one", "other"), UNLIKE)
def test_what_differs_in_more_than_names_is_compiled_by_itself(one: str, other: str) -> None:
    assert check(source_of(one, other)) > check(source_of(one))


def test_a_list_of_what_a_loop_gives_is_right_wherever_python_keeps_its_names() -> None:
    """Since 3.12 they are the function's own, and pieces may share it; before, they are an inner function's."""
    check(source_of("a = [i for i in b]", "a = [j for j in c]", "b = [b for b in b]", "a = [b for b in b]"))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_shared_code_is_what_cpython_makes_of_the_text(data: st.DataObject) -> None:
    names = st.sampled_from(["a", "b", "c", "T", "axis", "e5", "x1", "_2"])
    operand = st.one_of(names, names.map(lambda n: f"{n}.T"), names.map(lambda n: f"{n}[()]"), st.just("1e5"))
    number = st.sampled_from("012")
    forms: dict[str, list[Any]] = {
        "add({}, {}, {})": [names, operand, names],
        "{} = {}": [names, operand],
        "f({}, axis={})": [operand, operand],
        "f('{}', {})": [names, operand],
        "if {}: add({}, {})": [operand, names, names],
        "{}[{}:3].fill(0)": [names, number],
        "{}({}, {}={})": [names, names, names, operand],
    }
    body = data.draw(st.lists(st.sampled_from(sorted(forms)), min_size=1, max_size=3))

    def filled() -> str:
        return "; ".join(form.format(*[data.draw(part) for part in forms[form]]) for form in body)

    check(source_of(*[filled() for _ in range(3)]))


def net(width: int) -> gg.Function:
    g = gg.Graph()
    signal = [g.parameter(f"x{i}") for i in range(width)]
    for layer in range(3):
        signal = [
            gg.tanh(sum((g.parameter(f"w{layer}_{j}_{i}") * h for i, h in enumerate(signal)), 0.0))
            for j in range(width)
        ]
    loss = sum((h * h for h in signal), 0.0)
    assert isinstance(loss, gg.Tensor)
    d = gg.derive(loss)
    return gg.compile([loss, *[d[t] for t in g.leaves("parameter")]])


def test_a_net_of_neurons_is_mostly_compiled_once() -> None:
    f = net(16)
    text = "\n".join(f._text)
    number = len(re.findall(r"def step_\d", text))
    assert number > 20
    assert check(text) < number / 2


def test_a_cut_comes_where_the_pattern_comes_round() -> None:
    kinds = (["multiply", "add"] * 40 + ["tanh"]) * 30
    lines: list[Line] = [line for k in range(len(kinds)) for line in (("#", k), (f"f{k}()", k))]
    found = in_pieces(lines, lambda k: kinds[k])
    assert list(chain(*found)) == lines
    assert {len(piece) for piece in found[:-1]} == {2 * 81}
    assert {kinds[piece[-1][1] or 0] for piece in found} == {"tanh"}


def test_what_is_not_long_is_left_whole() -> None:
    lines: list[Line] = [("#", k) for k in range(pieces.LONG)]
    assert in_pieces(lines, lambda _: "add") == [lines]
    assert len(in_pieces([*lines, ("#", 0)], lambda _: "add")) > 1


def test_lines_without_a_comment_and_loops_stay_with_their_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in (("LONG", 1), ("LEAST", 1), ("MOST", 2)):
        monkeypatch.setattr(pieces, name, number)
    unit: list[Line] = [("for a in b:", None), ("    #", 0), ("    f(a)", 0), ("#", 1), ("x", 1), ("y", 1)]
    found = in_pieces(unit * 6, lambda _: "f")
    assert list(chain(*found)) == unit * 6
    assert all(not piece[0][0].startswith(" ") for piece in found)
    assert len(found) > 1


def test_an_error_in_shared_code_names_its_own_node() -> None:
    g = gg.Graph()
    x, i = g.input("x", ("N",)), g.input("i", ("M",), "int64")
    y = gg.sum(x)
    for _ in range(800):  # seven nodes each, the first is v5
        y = gg.tanh(y + gg.sum(gg.take(x, i)))
        i = i + 1
    f = gg.compile([y])
    with pytest.raises(CallError, match="v3505 = checked_index"):
        f(x=np.zeros(500), i=np.zeros(1, np.int64))
