"""The one function by which names reach generated source."""

from __future__ import annotations

import keyword
import re
import unicodedata

#: Words of Python and of the generated frame that statements use.
RESERVED = frozenset(
    (
        "np step arguments prepare workspace N_ i True False None print float int len range min tuple slice IndexError"
    ).split()
)

#: Greek letters by their names, as a program writes them, and the sign of a transpose.
_SPELLED = str.maketrans(
    dict(
        zip(
            "αβγδεζηθικλμνξπρστυφχψω",
            (
                "alpha beta gamma delta eps zeta eta theta iota kappa lambda mu nu xi "
                "pi rho sigma tau upsilon phi chi psi omega"
            ).split(),
            strict=True,
        )
    )
    | {"ᵀ": "_T"}
)


_PIECE = re.compile(r"step(_\d+)?")  # the functions that a long step is printed in
_KEYWORDS = frozenset((*keyword.kwlist, *keyword.softkwlist))


class Names:
    """Identifiers for one generated module: each wish gives a name that is legal, plain ASCII and not taken."""

    def __init__(self, reserved: frozenset[str] = RESERVED) -> None:
        self._taken = set(reserved)

    def take(self, wish: str) -> str:
        """An identifier close to the wish. Any text is safe: nothing of it but letters and digits survives."""
        name = base = identifier(wish)
        if base[:4] == "step" and _PIECE.fullmatch(base):
            name = base = f"{base}_"
        k = 2
        while name in self._taken:
            name, k = f"{base}_{k}", k + 1
        self._taken.add(name)
        return name


def identifier(text: str) -> str:
    """Text as an ASCII identifier that is no keyword: "x̄" is x_bar, "layer1/W" is layer1_W."""
    if text.isascii() and text.isidentifier() and text[0] != "_" and text not in _KEYWORDS:
        return text
    if "\u0304" in text and (bare := text.replace("\u0304", "")).isascii() and bare.isidentifier() and bare[0] != "_":
        return f"{bare}_bar"  # what most are
    text = text.translate(_SPELLED)
    if "\u0304" in text:  # the adjoint's bar
        text = text.replace("\u0304", "") + "_bar"
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).encode("ascii", "replace").decode()
    name = text if text.isidentifier() else re.sub(r"\W+", "_", text)
    name = name.strip("_") or "t"
    if name[0].isdigit():
        name = f"t{name}"
    return f"{name}_" if name in _KEYWORDS else name
