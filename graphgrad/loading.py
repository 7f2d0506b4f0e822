"""What NETWORK means on the command line: FILE.py:NAME in a user's file, or shorthand such as 64-128-10:relu."""

from __future__ import annotations

import linecache
import os
import runpy
import sys
from difflib import get_close_matches
from typing import Any

from graphgrad.errors import GraphgradError
from graphgrad.networks import Network
from graphgrad.shorthand import Shorthand, parse_network, parse_shorthand
from graphgrad.tensor import Tensor
from graphgrad.types import FLOATS, show


class LoadError(GraphgradError):
    """A NETWORK that is none."""


def load_network(text: str, loss: str | None = None) -> Network | Tensor:
    """The Network, or the scalar Tensor, that a NETWORK argument names. `loss` belongs to shorthand."""
    short = _shorthand(text, loss)
    return _from_file(text) if short is None else parse_network(short)


def load_for_table(text: str, loss: str | None = None) -> Network | Tensor | Shorthand:
    """The same for training on a table, which may settle what shorthand leaves open."""
    short = _shorthand(text, loss)
    return _from_file(text) if short is None else parse_shorthand(short)


def _shorthand(text: str, loss: str | None) -> str | None:
    """Shorthand with its loss, or None for a name in a file."""
    path, _ = _parts(text)
    if path is None:
        if "/" in text or os.sep in text or ".py" in text:
            raise LoadError(f"{text!r} is no network: FILE.py:NAME is wanted, or shorthand such as 64-128-10:relu")
        return text if loss is None else with_loss(text, loss)
    if loss is not None:
        raise LoadError(f"--loss belongs to shorthand such as 64-128-10:relu; {text} has its own loss")
    return None


def _parts(text: str) -> tuple[str | None, str]:
    """The path of a Python file, if there is one, and the name behind it."""
    path, colon, name = text.rpartition(":")
    if text.endswith(".py"):
        return text, ""
    return (path if colon and path.endswith(".py") else None), name


def _from_file(text: str) -> Network | Tensor:
    path, name = _parts(text)
    assert path is not None
    namespace = run_file(path)
    if not name:
        raise LoadError(f"{path}: a name is wanted too, as in {path}:{(_usable(namespace) or ['net'])[0]}")
    if name not in namespace:
        near = get_close_matches(name, _usable(namespace), 1)
        there = f"it has {', '.join(_usable(namespace))}" if _usable(namespace) else "nor any other network"
        raise LoadError(f"{path} has no {name!r}; " + (f"did you mean {near[0]!r}?" if near else there))
    found = namespace[name]
    if isinstance(found, Tensor) and (found.shape or found.dtype not in FLOATS):
        what = f"a tensor of shape {show(found.shape)} and dtype {found.dtype}"
        raise LoadError(f"{path}: {name} is {what}; a scalar loss is wanted")
    if not isinstance(found, (Network, Tensor)):
        raise LoadError(f"{path}: {name} is a {type(found).__name__}; a Network or a scalar Tensor is wanted")
    return found


def with_loss(text: str, loss: str) -> str:
    """Shorthand with a loss: 64-128-10:relu:cross_entropy."""
    widths, *rest = text.split(":")
    if len(rest) > 1:
        raise LoadError(f"{text} has a loss already, and --loss {loss} is another")
    return ":".join([widths, *(rest or ["relu"]), loss])


def _usable(namespace: dict[str, Any]) -> list[str]:
    """The names in a user's file that could be meant: networks first."""
    names = [n for n in namespace if not n.startswith("_")]
    networks = [n for n in names if isinstance(namespace[n], Network)]
    return networks + [n for n in names if isinstance(namespace[n], Tensor) and not namespace[n].shape]


def run_file(path: str) -> dict[str, Any]:
    """The names that a user's Python file defines. What goes wrong inside it is told with its file and line."""
    if not os.path.exists(path):
        raise LoadError(f"{path} does not exist")
    if os.path.isdir(path):
        raise LoadError(f"{path} is a directory; a Python file is wanted")
    folder = os.path.dirname(os.path.abspath(path))
    sys.path.insert(0, folder)  # as for a script, so that it can import its neighbours
    try:
        return runpy.run_path(path, run_name="network")
    except KeyboardInterrupt:
        raise
    except SyntaxError as error:
        line = "" if error.lineno is None else f":{error.lineno}"
        raise LoadError(f"{error.filename or path}{line}: {error.msg}") from None
    except OSError as error:
        if error.filename == path:
            raise LoadError(f"{path} cannot be read: {error.strerror}") from None
        raise LoadError(_told(path, error)) from None
    except BaseException as error:  # sys.exit in a user's file too
        raise LoadError(_told(path, error)) from None
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def _told(path: str, error: BaseException) -> str:
    """path:line: kind: message (the line's text), of the innermost line that is the file's own."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if os.path.abspath(trace.tb_frame.f_code.co_filename) == os.path.abspath(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    message = (str(error).splitlines() or [""])[0]
    if not (isinstance(error, GraphgradError) and message):
        message = f"{type(error).__name__}: {message}".removesuffix(": ")
    text = linecache.getline(path, line).strip() if line is not None else ""
    return f"{path}{f':{line}' if line is not None else ''}: {message}" + (f" (in: {text})" if text else "")


__all__ = ["LoadError", "load_network", "run_file"]
