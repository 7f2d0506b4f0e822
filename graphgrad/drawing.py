"""`graphgrad draw`: from a network and the options of the command to the content of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphgrad.codegen.compiler import compile
from graphgrad.derive import derive
from graphgrad.errors import GraphgradError
from graphgrad.networks import Network
from graphgrad.page import explain
from graphgrad.render.draw import draw
from graphgrad.render.picture import Picture
from graphgrad.tensor import Tensor


def drawn(
    thing: Network | Tensor, suffix: str, options: Mapping[str, Any], optimizer: Any
) -> tuple[str | bytes | list[str | bytes], str]:
    """The file's content, or one for each frame, and what was drawn in words."""
    scalar = thing.loss if isinstance(thing, Network) else thing
    values = _arrays(options["arrays"]) if options["arrays"] is not None else None
    what = options["what"]
    view = {
        "detail": options["detail"],
        "depth": options["depth"],
        "fold": False if options["no_fold"] else None,
        "only": options["only"],
        "hide": options["hide"],
        "notation": options["notation"],
        "lang": options["lang"],
        "engine": options["engine"],
    }
    if what in ("layers", "neurons", "step") and not isinstance(thing, Network):
        raise GraphgradError(f"--picture {what} is of a network, but {scalar.name} is a tensor")
    if suffix == ".html" and what == "derivation" and not options["frames"]:
        return explain(
            derive(scalar), values=values, **view
        ).html(), f"the derivation of {scalar.name}, to step through"
    looks = {"theme": options["theme"], "legend": not options["no_legend"]}
    picture: Picture
    if what == "memory":
        derivation = derive(scalar)
        picture = draw(compile([scalar, *derivation.gradients.values()]), lang=options["lang"], **looks)
        told = f"the memory of the gradient of {scalar.name}"
    elif what == "neurons":
        picture, told = draw(thing, level="neuron", values=values, lang=options["lang"], **looks), "the neurons"
    elif what == "step":
        step = {name: view[name] for name in ("notation", "lang", "engine")}
        picture = draw(thing, optimizer=optimizer, unfold=options["unfold"], **step, **looks)
        told = f"a training step with {type(optimizer).__name__}"
    elif what == "layers":
        picture, told = draw(thing, values=values, **view, **looks), f"the layers of {scalar.name}"
    else:
        picture = draw(derive(scalar), values=values, **view, **looks)
        told = f"the derivation of {scalar.name}"
    if options["frames"]:
        return _frames(picture, suffix, options), f"{told}, in {len(picture.looks)} frames"
    return picture.bytes(suffix, **({"scale": options["scale"]} if suffix == ".png" else {})), told


def _frames(picture: Picture, suffix: str, options: Mapping[str, Any]) -> str | bytes | list[str | bytes]:
    if suffix in (".dot", ".html"):
        raise GraphgradError(f"--frames are written as .pdf, .tex, .svg or .png, but {suffix} was given")
    frames = picture.frames()
    if suffix == ".pdf":
        return frames.pdf()
    if suffix == ".tex":
        return frames.tikz(standalone=True)
    return [p.bytes(suffix, **({"scale": options["scale"]} if suffix == ".png" else {})) for p in frames]


def _arrays(path: str) -> dict[str, Any]:
    """Arrays by name from an .npz file; nothing in it is run."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise GraphgradError(f"--values {path}: the file does not exist") from None
    except Exception as error:
        raise GraphgradError(f"--values {path}: no .npz file of arrays ({error})") from None
