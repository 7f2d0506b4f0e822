"""The command line. Every mistake ends in one line on stderr, exit status 2, and nothing half-written."""

from __future__ import annotations

import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from graphgrad.commands import (
    CommandError,
    above_zero,
    below_one,
    directory,
    in_options,
    load,
    loss_of,
    not_negative,
    optimizer_named,
    option_loss,
    option_seed,
    options_reading,
    output_file,
    say_error,
    write,
)
from graphgrad.errors import GraphgradError

NETWORK_HELP = """
NETWORK is FILE.py:NAME, where NAME is a Network or a scalar Tensor in a Python file of yours, or shorthand: the widths
of a feedforward network and its activation, such as 64-128-10:relu.
"""


def show_version(context: click.Context, wanted: bool) -> None:
    """The installed version. A checkout that is not installed has none."""
    if wanted:
        try:
            number = metadata.version("graphgrad")
        except metadata.PackageNotFoundError:
            number = "not installed"
        click.echo(f"graphgrad {number}")
        context.exit()


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
      graphgrad train auto-16-auto:relu iris.csv --target species
      graphgrad predict graphgrad-run new.csv -o predictions.csv
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


TABLE_NETWORK_HELP = """
NETWORK is shorthand, whose first and last width may be left to the table, such as auto-32-16-auto:relu, or
FILE.py:NAME, a Network in a Python file of yours.
"""


@graphgrad.command(short_help="Train on a table, and save.", epilog=TABLE_NETWORK_HELP)
@click.argument("network")
@click.argument("data", metavar="DATA")
@click.option("--target", "targets", multiple=True, required=True, metavar="COLUMN", help="What is learned.")
@click.option(
    "--ignore", multiple=True, metavar="COLUMN", help="A column that is left aside, such as a number of rows."
)
@click.option("--classes", is_flag=True, help="Whole numbers in the target are classes. Text always is.")
@click.option(
    "--missing",
    type=click.Choice(["error", "drop", "impute"]),
    default="error",
    show_default=True,
    help="What a missing cell is: an error, a row left out, or the median or most frequent value of its column.",
)
@click.option("--standardize/--no-standardize", default=True, show_default=True, help="Numbers to mean 0, deviation 1.")
@option_loss
@click.option("--optimizer", default="adam", show_default=True, help="sgd, momentum or adam.")
@click.option("--alpha", type=float, callback=above_zero, default=None, help="The step size.")
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=None,
    show_default="50, or as many as make 1,000 updates",
    help="Passes over the data.",
)
@click.option("--batch-size", type=click.IntRange(min=0), default=32, show_default=True, help="0: all rows at once.")
@click.option("--validation", type=float, callback=below_one, default=0.2, show_default=True, help="Part kept aside.")
@click.option(
    "--early-stopping",
    type=click.IntRange(min=0),
    default=0,
    metavar="EPOCHS",
    help="Without a better validation loss.",
)
@click.option("--balanced", is_flag=True, help="Each class counts alike, however many rows it has.")
@click.option("--l2", type=float, callback=not_negative, default=0.0, help="Adds l2/2 times the squared parameters.")
@click.option("--clip-norm", type=float, callback=above_zero, default=None, help="The gradient's largest length.")
@click.option("--out", default="graphgrad-run", show_default=True, metavar="DIR", help="Where the results go.")
@click.option("--resume", is_flag=True, help="Go on with the run of --out, to the same result as if never stopped.")
@options_reading
@option_seed
def train(network: str, data: str, targets: tuple[str, ...], out: str, **options: Any) -> None:
    """Train a network on a table, and save all that is needed to predict with it.

    DATA is a CSV file, whose first line names the columns, or a .parquet file. Columns of numbers are standardized,
    columns of text are categories, and a target of text is classes. Writes into the directory of --out: the model,
    which graphgrad predict reads, the history, learning curves and a report. Ctrl-C ends training early and saves what
    was learned until then; a run that was killed goes on with --resume.

    \b
    Examples:
      graphgrad train auto-16-auto:relu iris.csv --target species
      graphgrad train auto-32-16-auto:tanh houses.csv --target price --missing impute --epochs 200
      graphgrad train 4-16-3:relu iris.csv --target species --loss cross_entropy --early-stopping 20
      graphgrad train net.py:net data.csv --target y --optimizer sgd --alpha 0.05
      mpiexec -n 4 graphgrad train auto-512-auto:relu large.csv --target label --classes
    """
    from graphgrad.fitting import Settings, fit
    from graphgrad.loading import load_for_table
    from graphgrad.parallel import world

    loss, optimizer, alpha = (options.pop(name) for name in ("loss", "optimizer", "alpha"))
    reading = {name: value for name in ("separator", "encoding", "decimal") if (value := options.pop(name)) is not None}
    chosen = optimizer_named(optimizer, alpha)
    if options["early_stopping"] and not options["validation"]:
        raise CommandError("--early-stopping watches the loss of rows kept aside, but --validation 0 keeps none")
    place = directory(out)
    if options["resume"] and not place.is_dir():
        raise CommandError(f"--resume: there is no run in {out}")
    given = [word for word in click.get_current_context().obj if word != "--resume"]  # which repeats nothing
    command = shlex.join(["graphgrad", *given])
    settings = Settings(data, targets, chosen, place, reading=reading, command=command, **options)
    result = fit(load_for_table(network, loss), settings, say=click.echo, comm=world())
    if result.interrupted:
        raise click.Abort
    if result.stopped not in ("", "early stopping"):
        raise click.exceptions.Exit(1)


@graphgrad.command(short_help="Predict with a model that train saved.")
@click.argument("model")
@click.argument("data", metavar="DATA")
@click.option("-o", "--output", required=True, metavar="FILE.csv", help="The file to write.")
@click.option(
    "--unknown",
    type=click.Choice(["error", "zero"]),
    default="error",
    show_default=True,
    help="A category that training did not see is an error, or none of those that it did.",
)
@options_reading
def predict(model: str, data: str, output: str, unknown: str, **reading: str | None) -> None:
    """Predict a column for each row of a table, with a model that graphgrad train saved.

    DATA has the columns that the model was trained on, in any order; others are left aside. FILE.csv gets a row for
    each row: predicted_COLUMN, and for classes the probability of each. If DATA has the target too, tells how good the
    predictions are.

    \b
    Examples:
      graphgrad predict graphgrad-run/model.safetensors new.csv -o predictions.csv
      graphgrad predict graphgrad-run new.csv -o predictions.csv --unknown zero
    """
    from graphgrad.fitting import MODEL
    from graphgrad.fitting import predict as predicted

    output_file(output, (".csv",))
    if Path(output).exists() and Path(data).exists() and os.path.samefile(output, data):
        raise CommandError(f"-o {output}: that is the table to predict from; another name is wanted")
    file = Path(model) / MODEL if Path(model).is_dir() else Path(model)
    given = {name: value for name, value in reading.items() if value is not None}
    write(output, predicted(str(file), data, unknown, given, say=click.echo))
    click.echo(f"saved {output}")


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. The exit status: 0 done, 1 a check failed, 2 a mistake, 130 interrupted."""
    shown = warnings.showwarning
    warnings.showwarning = lambda message, *_, **__: say_error(f"warning: {one_line(message)}")
    try:
        given = sys.argv[1:] if arguments is None else list(arguments)
        return graphgrad.main(given, prog_name="graphgrad", standalone_mode=False, obj=given) or 0
    except click.ClickException as error:
        return failed(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        say_error("interrupted")
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
    say_error(in_options(one_line(message)))
    return 2


def one_line(message: object) -> str:
    return " ".join(str(message).split())


if __name__ == "__main__":
    sys.exit(main())
