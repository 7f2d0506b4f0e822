"""Colours by role, light and dark, and the contrast between them.

Fills and strokes are those of Okabe and Ito's palette for colour-blind readers, and no two kinds of boxes differ by
colour alone: corners, dashes and line widths tell them apart as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from graphgrad.errors import GraphgradError

#: What a box of each kind looks like beside its colour: corner radius, line width, dashes, a second line inside.
SHAPES: dict[str, tuple[float, float, tuple[float, ...], bool]] = {
    "input": (6.0, 1.2, (), False),
    "parameter": (6.0, 2.0, (), False),
    "operation": (1.5, 1.2, (), False),
    "loss": (1.5, 2.0, (), False),
    "adjoint": (6.0, 1.2, (6.0, 2.0), False),
    "gradient": (6.0, 2.0, (6.0, 2.0), False),
    "state": (1.5, 1.0, (), True),
    "update": (1.5, 1.2, (2.0, 2.0), False),
    "kept": (1.5, 1.0, (), False),
    "added": (1.5, 2.0, (), False),
    "removed": (1.5, 1.2, (3.0, 2.0), False),
}

LIGHT: dict[str, str] = {
    "paper": "#FFFFFF",
    "ink": "#1A1A1A",
    "grey": "#5C5C5C",
    "faint": "#767676",
    "line": "#444444",
    "saved": "#7A7A7A",
    "frame": "#8C8C8C",
    "orange": "#A84300",
    "gradient.text": "#9E3D00",  # "orange" has 4.34:1 on a gradient's fill
    "backward": "#D55E00",
    "ring": "#000000",
    "mark": "#FFE680",
    "input.fill": "#E8F1FA",
    "input.stroke": "#0072B2",
    "parameter.fill": "#FDF1DC",
    "parameter.stroke": "#B57500",
    "operation.fill": "#F5F5F5",
    "operation.stroke": "#444444",
    "loss.fill": "#F3E6F0",
    "loss.stroke": "#A0437A",
    "adjoint.fill": "#FCEBE2",
    "adjoint.stroke": "#D55E00",
    "gradient.fill": "#F8D3BF",
    "gradient.stroke": "#D55E00",
    "state.fill": "#EEEEEE",
    "state.stroke": "#666666",
    "update.fill": "#EAF3EF",
    "update.stroke": "#00785A",
    "kept.fill": "#F5F5F5",
    "kept.stroke": "#8C8C8C",
    "added.fill": "#E8F1FA",
    "added.stroke": "#0072B2",
    "removed.fill": "#FCEBE2",
    "removed.stroke": "#D55E00",
    "positive": "#0072B2",
    "negative": "#D55E00",
    "zero": "#F4F4F4",
    "cell": "#767676",
    "cost.low": "#F7F3E8",
    "cost.high": "#C77CA6",
}

DARK: dict[str, str] = {
    "paper": "#16191D",
    "ink": "#F2F2F2",
    "grey": "#B8BCC2",
    "faint": "#8B9199",
    "line": "#B5B5B5",
    "saved": "#9AA0A6",
    "frame": "#70767D",
    "orange": "#FFA066",
    "gradient.text": "#FFA066",
    "backward": "#FF8A3D",
    "ring": "#FFFFFF",
    "mark": "#6B6100",
    "input.fill": "#12293B",
    "input.stroke": "#56B4E9",
    "parameter.fill": "#33270F",
    "parameter.stroke": "#E69F00",
    "operation.fill": "#25292E",
    "operation.stroke": "#B5B5B5",
    "loss.fill": "#38202F",
    "loss.stroke": "#CC79A7",
    "adjoint.fill": "#3A2117",
    "adjoint.stroke": "#FF8A3D",
    "gradient.fill": "#562C17",
    "gradient.stroke": "#FF8A3D",
    "state.fill": "#2B2E33",
    "state.stroke": "#A3A3A3",
    "update.fill": "#132D26",
    "update.stroke": "#2FBF96",
    "kept.fill": "#25292E",
    "kept.stroke": "#7E848B",
    "added.fill": "#12293B",
    "added.stroke": "#56B4E9",
    "removed.fill": "#3A2117",
    "removed.stroke": "#FF8A3D",
    "positive": "#56B4E9",
    "negative": "#FF8A3D",
    "zero": "#2A2E33",
    "cell": "#7E848B",
    "cost.low": "#24272B",
    "cost.high": "#8A4A70",
}


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours by role."""

    name: str
    colours: Mapping[str, str]

    def __call__(self, role: str) -> str:
        """The colour of a role. "heat:0.40" is four tenths of the way from zero to positive, "cost:0.40" of a scale."""
        name, _, amount = role.partition(":")
        if not amount:
            return self.colours[role]
        t = float(amount)
        if name == "cost":
            return mixed(self.colours["cost.low"], self.colours["cost.high"], t)
        return mixed(self.colours["zero"], self.colours["positive" if t >= 0 else "negative"], abs(t))


THEMES = {"light": Theme("light", LIGHT), "dark": Theme("dark", DARK)}


def theme(name: str) -> Theme:
    if name not in THEMES:
        raise GraphgradError(f"theme {name!r} does not exist; there are: {', '.join(THEMES)}")
    return THEMES[name]


def mixed(low: str, high: str, t: float) -> str:
    """A colour between two."""
    a, b = (tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in (low, high))
    return "#" + "".join(f"{round(x + (y - x) * min(max(t, 0.0), 1.0)):02X}" for x, y in zip(a, b, strict=True))


def contrast(a: str, b: str) -> float:
    """The contrast ratio of two colours, from 1 to 21 (WCAG 2, relative luminance)."""
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    if not re.fullmatch(r"#[0-9A-Fa-f]{6}", colour):
        raise GraphgradError(f"{colour!r} is no colour such as #0072B2")
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
