"""A long step in pieces, each a function of its own; pieces alike but for their names are compiled by CPython once.

CPython takes 10 to 20 µs for each statement of straight-line code, as much as half of all passes before it. A long
program mostly says the same over and over: a layer like the one before it, a neuron like its neighbours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from keyword import iskeyword
from types import CodeType
from typing import NamedTuple

LONG = 1000  # statements; of more there are several functions, since CPython's compiler is slow and hungry on long ones
LEAST, MOST = 50, 200  # statements in one function of those
PART = 500  # lines of other text that are compiled at once

_WORD = re.compile(r"(\w+)", re.ASCII)
_ASSIGNED = re.compile(r"\w+ = ")

Line = tuple[str, "int | None"]


def in_pieces(lines: Sequence[Line], kind: Callable[[int], str]) -> list[list[Line]]:
    """The lines of a step; of a long one cut behind the statements of the rarest kind that is in reach.

    So cuts fall where a pattern comes round again, behind the tanh of each neuron, whatever the pattern's length, and
    pieces are alike.
    """
    starts = [(k, id) for k, (text, id) in enumerate(lines) if text == "#" and id is not None]
    kinds = [kind(id) for _, id in starts]
    cuts, begin = [0], 0
    while len(starts) > LONG and len(starts) - begin > MOST:
        reach = kinds[begin + LEAST : begin + MOST]
        often = Counter(reach)
        begin += LEAST + reach.index(min(often, key=often.__getitem__)) + 1
        cuts.append(starts[begin][0])
    return [list(lines[a:b]) for a, b in zip(cuts, [*cuts[1:], len(lines)], strict=True)]


def compiled(lines: Sequence[str], file: str) -> list[CodeType]:
    """The text as code to be executed in this order. Lines keep their numbers."""
    starts = [0]  # of what is compiled at once: each piece of the step, and other lines where many have come
    for number, line in enumerate(lines):
        if line[:8] == "def step" or (number - starts[-1] >= PART and _ASSIGNED.match(line)):
            starts.append(number)
    parts: list[CodeType] = []
    known: dict[tuple[str, tuple[int, ...]], _Compiled] = {}
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        text = "\n".join(lines[start:stop])
        piece = text.startswith("def step_")
        parts.append(_moved(_by_pattern(text, file, known) if piece else compile(text, file, "exec"), start))
    return parts


def _moved(code: CodeType, lines: int) -> CodeType:
    """Code that begins so many lines further down. It tells its lines from its first one on."""
    constants = tuple([_moved(c, lines) if isinstance(c, CodeType) else c for c in code.co_consts])
    return code.replace(co_firstlineno=code.co_firstlineno + lines, co_consts=constants) if lines else code


# ---------------------------------------------------------------------------------------------------------------------
# Pieces that are alike
# ---------------------------------------------------------------------------------------------------------------------


class _Compiled(NamedTuple):
    """A piece that was compiled from its own text."""

    code: CodeType
    words: tuple[str, ...]  # of the text, each once, as they come
    names: frozenset[str]  # those among them that stand in the code as names alone


def _by_pattern(text: str, file: str, known: dict[tuple[str, tuple[int, ...]], _Compiled]) -> CodeType:
    """A piece as code: that of a known one with other names, if their texts are alike but for these.

    Columns, which a traceback marks parts of a line by, stay those of the known one.
    """
    split = _WORD.split(text)
    words = tuple(dict.fromkeys(split[1::2]))
    places = dict(zip(words, range(len(words)), strict=True))
    key = "\0".join(split[::2]), tuple(map(places.__getitem__, split[1::2]))
    like = known.get(key)
    if like is not None:
        new = {old: word for old, word in zip(like.words, words, strict=True) if old != word}
        if (
            new.keys() <= like.names
            and all(map(str.isidentifier, new.values()))
            and not any(map(iskeyword, new.values()))
        ):
            return _renamed(like.code, new)
    code = compile(text, file, "exec")
    names = _names(code)
    if names is not None:
        known[key] = _Compiled(code, words, names)
    return code


def _names(code: CodeType) -> frozenset[str] | None:
    """The words of a piece that code of like pieces may have others for: names that are in no constant, which is what
    texts and the names of arguments are. None if the piece has a function inside."""
    (body,) = [c for c in code.co_consts if isinstance(c, CodeType)]
    if any(isinstance(c, CodeType) for c in body.co_consts):
        return None
    fixed = {word for c in body.co_consts for word in _WORD.findall(repr(c))}
    return frozenset({*code.co_names, *body.co_names, *body.co_varnames} - fixed)


def _renamed(code: CodeType, new: dict[str, str]) -> CodeType:
    constants = tuple([_renamed(c, new) if isinstance(c, CodeType) else c for c in code.co_consts])
    return code.replace(
        co_name=new.get(code.co_name, code.co_name),
        co_qualname=new.get(code.co_qualname, code.co_qualname),
        co_names=tuple([new.get(name, name) for name in code.co_names]),
        co_varnames=tuple([new.get(name, name) for name in code.co_varnames]),
        co_consts=constants,
    )
