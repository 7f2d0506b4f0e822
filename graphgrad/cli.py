"""The command line. Every mistake ends in one line on stderr, exit status 2, and nothing half-written."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from graphgrad.errors import GraphgradError

NETWORK_HELP = """
NETWORK is FILE.py:NAME, where NAME is a Network or a scalar Tensor in a Python file of yours, or shorthand: the widths
of a feedforward network and its activation, such as 64-128-10:relu.
"""


class CommandError(GraphgradError):
    """A command that cannot do what it was asked."""


class Positive(click.ParamType):
    """A finite number above zero."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is no number", param, ctx)
        if not (math.isfinite(number) and number > 0):
            self.fail(f"{value} is not a number above 0", param, ctx)
        return number


class Fraction(Positive):
    """A number from 0 to below 1."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = 0.0 if value in ("0", 0) else super().convert(value, param, ctx)
        if number >= 1:
            self.fail(f"{value} is not below 1", param, ctx)
        return number


def option_seed(command: Any) -> Any:
    return click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all random numbers."
    )(command)


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each command tells more: graphgrad draw --help.",
)
@click.version_option(package_name="graphgrad")
@click.pass_context
def graphgrad(context: click.Context) -> None:
    """Derivation graphs: draw them, compile them, train with them.

    graphgrad builds a network as an explicit graph, derives its backward pass as more graph, and prints that as fast
    NumPy.

    \b
    Begin with one of these:
      graphgrad demo                                 the whole way, on real data
      graphgrad draw 2-3-1:tanh -o net.svg           the derivation of a small network
      graphgrad compile 64-128-10:relu -o grad.py    its gradient as one readable file
      graphgrad train 4-16-3:relu iris.csv --target species --loss cross_entropy
      graphgrad check net.py:loss                    the gradient of a loss of your own
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@graphgrad.command()
@click.option("--out", default="graphgrad-demo", show_default=True, metavar="DIR", help="Where the results go.")
@option_seed
@click.option("--epochs", type=click.IntRange(min=1), default=None, help="Of SGD, momentum and Adam.")
def demo(out: str, seed: int, epochs: int | None) -> None:
    """The whole way, on real data: 1,797 images of handwritten digits.

    Builds a network 64-128-64-10, derives its loss, draws the derivation, writes the training step as a file that needs
    only NumPy, and trains by gradient descent, SGD, momentum and Adam. Needs scikit-learn for the images.

    \b
    Examples:
      graphgrad demo
      graphgrad demo --out results --seed 1
    """
    from graphgrad.demo import run_demo

    run_demo(Path(directory(out)), seed=seed, epochs=epochs, say=click.echo)


@graphgrad.command(epilog=NETWORK_HELP)
@click.argument("network")
@click.option("-o", "--output", required=True, metavar="FILE", help="FILE.dot, or FILE.svg if Graphviz is there.")
@click.option("--loss", default=None, help="Of a network in shorthand, such as cross_entropy.")
def draw(network: str, output: str, loss: str | None) -> None:
    """Draw a derivation: the forward pass, and under each node the steps that make its adjoint.

    \b
    Examples:
      graphgrad draw 2-3-1:tanh -o net.svg
      graphgrad draw lecture.py:loss -o lecture.dot
    """
    from graphgrad.derive import derive
    from graphgrad.render.dot import derivation_dot, svg

    suffix = output_file(output, (".dot", ".svg"))
    scalar = loss_of(load(network, loss))
    picture = derivation_dot(derive(scalar))
    text = picture.source if suffix == ".dot" else svg(picture)
    if text is None:
        other = Path(output).with_suffix(".dot")
        raise CommandError(f"{output}: SVG needs Graphviz, whose program dot was not found; -o {other} needs nothing")
    write(output, text)
    click.echo(f"{output}: the derivation of {scalar.name}")


@graphgrad.command(name="compile", epilog=NETWORK_HELP)
@click.argument("network")
@click.option("-o", "--output", required=True, metavar="FILE.py", help="The file to write.")
@click.option("--optimizer", default=None, help="sgd, momentum or adam: writes a training step too.")
@click.option("--alpha", type=Positive(), default=None, help="The optimizer's step size.")
@click.option("--loss", default=None, help="Of a network in shorthand, such as cross_entropy.")
@option_seed
def compile_command(
    network: str, output: str, optimizer: str | None, alpha: float | None, loss: str | None, seed: int
) -> None:
    """Write a gradient as one Python file that imports numpy and nothing else.

    The file has loss_and_gradient, predict and initial_parameters, and with --optimizer a step that trains. It is meant
    to be read: a statement a line, each under its formula.

    \b
    Examples:
      graphgrad compile 64-128-10:relu -o digits.py
      graphgrad compile 64-128-10:relu --optimizer adam --alpha 0.001 -o digits.py
      graphgrad compile net.py:loss -o gradient.py
    """
    from graphgrad.export import module_text

    output_file(output, (".py",))
    chosen = optimizer_named(optimizer, alpha)
    write(output, module_text(load(network, loss), optimizer=chosen, seed=seed))
    click.echo(f"{output}: import it, or read it")


@graphgrad.command(epilog=NETWORK_HELP)
@click.argument("network")
@click.option("--loss", default=None, help="Of a network in shorthand, such as cross_entropy.")
@option_seed
def check(network: str, loss: str | None, seed: int) -> None:
    """Hold the derived gradient against central differences, at random numbers.

    Prints a row for each parameter. Exit status 1 where the two differ.

    \b
    Examples:
      graphgrad check 4-8-3:tanh
      graphgrad check net.py:loss
    """
    from graphgrad.check import check as check_gradient

    report = check_gradient(loss_of(load(network, loss)), seed=seed)
    click.echo(str(report))
    if not report.ok:
        raise click.exceptions.Exit(1)


# ---------------------------------------------------------------------------------------------------------------------
# What the commands share
# ---------------------------------------------------------------------------------------------------------------------


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


def directory(path: str) -> str:
    """A directory that exists and can be written to."""
    try:
        os.makedirs(path, exist_ok=True)
    except FileExistsError:
        raise CommandError(f"--out {path}: that is a file; a directory is wanted") from None
    except OSError as error:
        raise CommandError(f"--out {path}: the directory cannot be made: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise CommandError(f"--out {path}: the directory cannot be written to")
    return path


def write(path: str, content: str | bytes) -> None:
    from graphgrad.files import write_atomically

    try:
        write_atomically(path, content)
    except OSError as error:
        raise CommandError(f"-o {path}: {error.strerror}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. The exit status: 0 done, 1 a check failed, 2 a mistake, 130 interrupted."""
    shown = warnings.showwarning
    warnings.showwarning = lambda message, *_, **__: click.echo(f"graphgrad: warning: {one_line(message)}", err=True)
    try:
        return graphgrad.main(args=None if arguments is None else list(arguments), standalone_mode=False) or 0
    except click.ClickException as error:
        return failed(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        click.echo("graphgrad: interrupted", err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads; Python would tell so at its end
        return 1
    except GraphgradError as error:
        return failed(error)
    except OSError as error:
        return failed(f"{error.filename}: {error.strerror}" if error.filename else error)
    except MemoryError:
        return failed("there is not enough memory for a network of this size")
    finally:
        warnings.showwarning = shown


def failed(message: object) -> int:
    click.echo(f"graphgrad: {one_line(message)}", err=True)
    return 2


def one_line(message: object) -> str:
    return " ".join(str(message).split())


if __name__ == "__main__":
    sys.exit(main())
