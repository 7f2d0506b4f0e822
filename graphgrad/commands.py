"""What the commands share: options, checks of what was given, and the writing of files."""

from __future__ import annotations

import math
import os
import re
from ast import literal_eval
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from graphgrad.errors import GraphgradError


class CommandError(GraphgradError):
    """A command that cannot do what it was asked."""


def above_zero(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """A finite number above 0."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.BadParameter(f"{value:g} is not a number above 0.", context, parameter)
    return value


def not_negative(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """A finite number from 0 on."""
    if not (math.isfinite(value) and value >= 0):
        raise click.BadParameter(f"{value:g} is not a number from 0 on.", context, parameter)
    return value


def below_one(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """A fraction from 0 to below 1."""
    if not 0 <= value < 1:
        raise click.BadParameter(f"{value:g} is not a number from 0 to below 1.", context, parameter)
    return value


def option_seed(command: Any) -> Any:
    return click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all random numbers."
    )(command)


def option_loss(command: Any) -> Any:
    losses = "Of a network in shorthand: mse, which is the default, mae, huber, cross_entropy, bce or hinge."
    return click.option("--loss", default=None, help=losses)(command)


def options_reading(command: Any) -> Any:
    for name, told in (
        ("decimal", "The mark in numbers, '.' or ','; recognized if not given."),
        ("encoding", "Of the file, such as latin-1; recognized if not given."),
        ("separator", "Between cells; recognized if not given."),
    ):
        command = click.option(f"--{name}", default=None, help=told)(command)
    return command


def load(network: str, loss: str | None) -> Any:
    from graphgrad.loading import load_network

    return load_network(network, loss)


def loss_of(network: Any) -> Any:
    """The scalar of a Network, or the Tensor itself."""
    return getattr(network, "loss", network)


def optimizer_named(name: str | None, alpha: float | None) -> Any:
    from graphgrad import optimizers

    rows = {"sgd": optimizers.SGD, "momentum": optimizers.Momentum, "adam": optimizers.Adam}
    if name is None:
        if alpha is not None:
            raise CommandError("--alpha is the step size of an optimizer; --optimizer says which")
        return None
    if name not in rows:
        raise CommandError(f"--optimizer {name!r} does not exist; there are: {', '.join(rows)}")
    return rows[name]() if alpha is None else rows[name](alpha=alpha)


def output_file(path: str, suffixes: Sequence[str]) -> str:
    """The suffix of a file that can be written. Told before any work is done, not after."""
    file = Path(path)
    if file.suffix not in suffixes:
        raise CommandError(f"-o {path}: the file's name ends with {' or '.join(suffixes)}")
    if file.is_dir():
        raise CommandError(f"-o {path}: that is a directory; a file is wanted")
    if not file.parent.exists():
        raise CommandError(f"-o {path}: the directory {file.parent} does not exist")
    if not file.parent.is_dir():
        raise CommandError(f"-o {path}: {file.parent} is no directory")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise CommandError(f"-o {path}: the directory {file.parent} cannot be written to")
    return file.suffix


def directory(path: str) -> Path:
    """A directory that can be written to, or can be made. Told before any work is done; `made` makes it after."""
    place = Path(path)
    if place.exists() and not place.is_dir():
        raise CommandError(f"--out {path}: that is a file; a directory is wanted")
    existing = next(p for p in (place, *place.absolute().parents) if p.exists())
    if not existing.is_dir():
        raise CommandError(f"--out {path}: {existing} is a file, so no directory can be made in it")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise CommandError(f"--out {path}: the directory {existing} cannot be written to")
    return place


#: Where a launcher says which of several processes this one is: MPICH and its kin, Open MPI, MVAPICH, Slurm's srun.
RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")


def say_error(text: str) -> None:
    """A line on stderr. Of several processes, which all come to the same end, the first one tells it."""
    if next((os.environ[name] for name in RANKS if os.environ.get(name)), "0") == "0":
        click.echo(f"graphgrad: {text}", err=True)


#: What errors tell of as it is written in Python: arguments, and settings of a run that do not go on.
ARGUMENT = re.compile(r"\b(missing|decimal)='([^']*)'")
FLAG = re.compile(r"\b(classes)=True")
SETTING = re.compile(r"\bwith (\w+)=(.+), but (.+) is asked for")


def in_options(message: str) -> str:
    """An error of the library in the words of the command line."""
    told = FLAG.sub(r"--\1", ARGUMENT.sub(r"--\1 \2", message))
    return SETTING.sub(_setting_in_options, told)


def _setting_in_options(found: re.Match[str]) -> str:
    name = "balanced" if found[1] == "weighted" else found[1].replace("_", "-")
    try:
        began, asked = (_option(name, literal_eval(value)) for value in found.group(2, 3))
    except (ValueError, SyntaxError, TypeError, LookupError, AttributeError):  # what no option gives
        return found[0]
    began = f"with {began}" if began else f"without --{name}"
    return f"{began}, but {asked or f'no --{name}'} is asked for"


def _option(name: str, value: Any) -> str:
    """An option and its value as it is given; "" where it is not given."""
    if name == "batch-size":
        value = value or 0
    if value is None or value is False:
        return ""
    if name == "optimizer":
        return f"--optimizer {value['optimizer'].lower()} --alpha {value['alpha']:g}"
    if name == "early-stopping":
        value = value["patience"]
    return f"--{name}" if value is True else f"--{name} {value:g}"


def write(path: str, content: str | bytes) -> None:
    from graphgrad.files import write_atomically

    try:
        write_atomically(path, content)
    except OSError as error:
        raise CommandError(f"-o {path}: {error.strerror}") from None
