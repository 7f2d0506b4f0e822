"""The command line. Every mistake ends in one line on stderr, exit status 2, and nothing half-written."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import metadata
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


def above_zero(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """A finite number above 0."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.BadParameter(f"{value:g} is not a number above 0.", context, parameter)
    return value


def below_one(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """A fraction from 0 to below 1."""
    if not 0 <= value < 1:
        raise click.BadParameter(f"{value:g} is not a number from 0 to below 1.", context, parameter)
    return value


def show_version(context: click.Context, wanted: bool) -> None:
    """The installed version. A checkout that is not installed has none."""
    if wanted:
        try:
            number = metadata.version("graphgrad")
        except metadata.PackageNotFoundError:
            number = "not installed"
        click.echo(f"graphgrad {number}")
        context.exit()


def option_seed(command: Any) -> Any:
    return click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all random numbers."
    )(command)


def option_loss(command: Any) -> Any:
    losses = "Of a network in shorthand: mse, which is the default, mae, huber, cross_entropy, bce or hinge."
    return click.option("--loss", default=None, help=losses)(command)


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each command tells more: graphgrad draw --help.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, wanted: show_version(context, wanted),
    help="Show the version and exit.",
)
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


@graphgrad.command(short_help="The whole way, on real data.")
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

    run_demo(directory(out), seed=seed, epochs=epochs, say=click.echo)


@graphgrad.command(short_help="Draw a derivation graph.", epilog=NETWORK_HELP)
@click.argument("network")
@click.option("-o", "--output", required=True, metavar="FILE", help="FILE.svg, .png, .pdf, .tex, .dot or .html.")
@click.option(
    "--picture",
    "what",
    type=click.Choice(["derivation", "layers", "neurons", "step", "memory"]),
    default="derivation",
    show_default=True,
    help="What is drawn: forward and backward together, the layers, each neuron, the whole training step, or the "
    "memory that the gradient's code uses.",
)
@click.option("--frames", is_flag=True, help="A rule a frame: pages of a PDF, slides of a .tex, or numbered files.")
@click.option("--values", "arrays", metavar="FILE.npz", default=None, help="Arrays by name, shown on the boxes.")
@click.option("--optimizer", default="adam", show_default=True, help="Of --picture step: sgd, momentum or adam.")
@click.option("--unfold", is_flag=True, help="Of --picture step: the optimizer's formula value by value.")
@click.option(
    "--detail", type=click.Choice(["auto", "operations", "names", "layers"]), default="auto", help="How much is shown."
)
@click.option("--depth", type=click.IntRange(min=0), default=None, help="Levels of scopes that stay open.")
@click.option("--no-fold", is_flag=True, help="Fold nothing, however large the picture gets.")
@click.option("--only", metavar="NAME", default=None, help="Only the path of gradient to this parameter.")
@click.option("--hide", metavar="NAME", multiple=True, help="Leave this node out; may be given again.")
@click.option("--notation", type=click.Choice(["bar", "partial", "delta"]), default="bar", help="Of adjoints.")
@click.option("--lang", type=click.Choice(["en", "es"]), default="en", help="The language of what is said.")
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", help="A page follows its reader's.")
@click.option("--no-legend", is_flag=True, help="Leave the legend out.")
@click.option("--scale", type=float, callback=above_zero, default=2.0, show_default=True, help="Of a PNG.")
@click.option("--engine", default=None, help="Layout: pygraphviz, dot, graphviz-pure or layered, which is our own.")
@option_loss
def draw(network: str, output: str, loss: str | None, **options: Any) -> None:
    """Draw a derivation: the forward pass, and under each node the steps that make its adjoint.

    A .html file is a page to step through, with the formulas and the generated code beside the graph. The extra
    graphgrad[viz] sets formulas in mathematical type and lays the picture out with Graphviz.

    \b
    Examples:
      graphgrad draw 2-3-1:tanh -o net.svg
      graphgrad draw lecture.py:loss -o lecture.html --lang es
      graphgrad draw 2-3-1:tanh --frames -o slides.pdf
      graphgrad draw 64-128-10:relu --picture step --optimizer adam -o step.png
    """
    suffix = output_file(output, (".svg", ".png", ".pdf", ".tex", ".dot", ".html"))
    from graphgrad.drawing import drawn

    content, told = drawn(load(network, loss), suffix, options, optimizer_named(options["optimizer"], None))
    if isinstance(content, list):  # numbered files
        for k, part in enumerate(content, 1):
            place = Path(output)
            write(str(place.with_name(f"{place.stem}-{k:0{len(str(len(content)))}}{suffix}")), part)
    else:
        write(output, content)
    click.echo(f"{output}: {told}")


@graphgrad.command(name="compile", short_help="Write a gradient as one file that stands alone.", epilog=NETWORK_HELP)
@click.argument("network")
@click.option("-o", "--output", required=True, metavar="FILE.py", help="The file to write.")
@click.option("--optimizer", default=None, help="sgd, momentum or adam: writes a training step too.")
@click.option("--alpha", type=float, callback=above_zero, default=None, help="The optimizer's step size.")
@option_loss
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
    if Path(output).name == "numpy.py":
        raise CommandError(f"-o {output}: the file imports numpy, so it cannot have that name itself")
    if (source := network.rpartition(":")[0]) and os.path.exists(source) and os.path.exists(output):
        if os.path.samefile(source, output):
            raise CommandError(f"-o {output}: that is the file of {network} itself; another name is wanted")
    chosen = optimizer_named(optimizer, alpha)
    write(output, module_text(load(network, loss), optimizer=chosen, seed=seed))
    click.echo(f"{output}: import it, or read it")


@graphgrad.command(short_help="Train on a table of numbers, and save.", epilog=NETWORK_HELP)
@click.argument("network")
@click.argument("data", metavar="DATA.csv")
@click.option("--target", "targets", multiple=True, required=True, metavar="COLUMN", help="What is learned.")
@option_loss
@click.option("--optimizer", default="adam", show_default=True, help="sgd, momentum or adam.")
@click.option("--alpha", type=float, callback=above_zero, default=None, help="The step size.")
@click.option("--epochs", type=click.IntRange(min=1), default=50, show_default=True, help="Passes over the data.")
@click.option("--batch-size", type=click.IntRange(min=0), default=32, show_default=True, help="0: all rows at once.")
@click.option("--validation", type=float, callback=below_one, default=0.2, show_default=True, help="Part kept aside.")
@click.option("--standardize", is_flag=True, help="Scale every feature to mean 0 and deviation 1.")
@click.option("--out", default="graphgrad-run", show_default=True, metavar="DIR", help="Where the results go.")
@option_seed
def train(network: str, data: str, targets: tuple[str, ...], out: str, **options: Any) -> None:
    """Train a network on a table of numbers, and save what it learned.

    The first line of DATA.csv names the columns. The target columns are learned from all the others; with the loss
    cross_entropy the target holds classes 0, 1, 2, ... Writes parameters.safetensors and history.csv into the directory
    of --out. Ctrl-C ends training early and saves what was learned until then.

    \b
    Examples:
      graphgrad train 4-16-3:relu iris.csv --target species --loss cross_entropy
      graphgrad train 8-32-1:tanh houses.csv --target price --standardize --epochs 200
      graphgrad train net.py:net data.csv --target y --optimizer sgd --alpha 0.05
    """
    from graphgrad.fitting import Settings, fit

    loss, optimizer, alpha = (options.pop(name) for name in ("loss", "optimizer", "alpha"))
    chosen = optimizer_named(optimizer, alpha)
    settings = Settings(data, targets, chosen, directory(out), **options)
    result = fit(load(network, loss), settings, say=click.echo)
    if result.interrupted:
        raise click.Abort


@graphgrad.command(short_help="Hold a gradient against central differences.", epilog=NETWORK_HELP)
@click.argument("network")
@option_loss
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
        given = None if arguments is None else list(arguments)
        return graphgrad.main(given, prog_name="graphgrad", standalone_mode=False) or 0
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
