"""The command line: every command does what it says, and every mistake ends in one clear line."""

import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save as safetensors_bytes

import graphgrad as gg
from graphgrad import cli, fitting, loading

NET = """\
import graphgrad as gg

g = gg.Graph()
x, y = g.input("x", ("N", 2)), g.input("y", ("N", 1))
W, b = g.parameter("W", (1, 2)), g.parameter("b", (1,))
p = gg.sigmoid(x @ W.T + b).named("p")
loss = gg.mean((p - y) ** 2).named("L")
net = gg.Network(loss=loss, inputs=[x], target=y, prediction=p)
number = 3
labels = g.input("labels", (), "int64")
"""

GOOD = "a,b,y\n" + "".join(f"{i % 7},{i % 5},{(i % 7 > i % 5) * 1}\n" for i in range(40))

WORDS = "a,y\n" + "".join(f"{'one two three'.split()[i % 3]},{i % 3}.5\n" for i in range(20))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a network and a table in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "good.csv").write_text(GOOD)
    return tmp_path


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(here: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line and gives its exit status, output and errors."""

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = cli.main(arguments)
        told = capsys.readouterr()
        return status, told.out, told.err

    return command


# ---------------------------------------------------------------------------------------------------------------------
# What the commands do
# ---------------------------------------------------------------------------------------------------------------------


def test_python_m_graphgrad_is_the_command(here: Path) -> None:
    def ended(*command: str) -> tuple[int, str, str]:
        environment = {**os.environ, "PYTHONPATH": str(Path(gg.__file__).parent.parent)}
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=here, env=environment)
        return done.returncode, done.stdout, done.stderr

    code = "import sys; from graphgrad.cli import main; sys.exit(main())"
    for arguments in (("--help",), ("train", "none.py:net", "good.csv", "--target", "y")):
        told = ended("-m", "graphgrad", *arguments)
        assert told == ended("-c", code, *arguments)
        assert told[0] == (0 if arguments == ("--help",) else 2)
        assert "Usage: graphgrad" in told[1] or "none.py" in told[2]


def test_help_teaches_at_every_level(run: Run) -> None:
    status, text, _ = run("--help")
    assert status == 0
    assert run() == (0, text, "")
    for command in ("demo", "draw", "compile", "train", "check"):
        assert f"graphgrad {command} " in text
        status, detail, errors = run(command, "--help")
        assert (status, errors) == (0, "")
        assert f"graphgrad {command} " in detail.partition("Examples:")[2]
    status, version, _ = run("--version")
    assert status == 0
    assert version.startswith("graphgrad ")


def loss_of_net() -> gg.Tensor:
    namespace: dict[str, gg.Tensor] = {}
    exec(NET, namespace)
    return namespace["loss"]


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf", ".tex", ".dot"])
def test_draw_writes_what_a_picture_saves(run: Run, here: Path, suffix: str) -> None:
    told = (0, f"net{suffix}: the derivation of L\n", "")
    assert run("draw", "net.py:loss", "-o", f"net{suffix}") == told
    gg.draw(gg.derive(loss_of_net())).save(here / f"expected{suffix}")
    expected = (here / f"expected{suffix}").read_bytes()
    assert (here / f"net{suffix}").read_bytes() == expected
    run("draw", "net.py:net", "-o", f"net{suffix}")
    assert (here / f"net{suffix}").read_bytes() == expected


def test_draw_as_html_writes_a_page_to_step_through(run: Run, here: Path) -> None:
    assert run("draw", "net.py:loss", "-o", "a.html") == (0, "a.html: the derivation of L, to step through\n", "")
    assert (here / "a.html").read_text(encoding="utf-8") == gg.explain(gg.derive(loss_of_net())).html()
    run("draw", "net.py:loss", "-o", "a.html", "--lang", "es")
    assert '<html lang="es"' in (here / "a.html").read_text(encoding="utf-8")


#: Options of draw for 2-3-1:tanh, and the same in Python.
DRAWN: list[tuple[str, Callable[[gg.Network], gg.Picture], str]] = [
    ("--picture layers", lambda net: gg.draw(net), "the layers of loss"),
    ("--picture neurons", lambda net: gg.draw(net, level="neuron"), "the neurons"),
    ("--picture step", lambda net: gg.draw(net, optimizer=gg.Adam()), "a training step with Adam"),
    (
        "--picture step --optimizer momentum --unfold",
        lambda net: gg.draw(net, optimizer=gg.Momentum(), unfold=True),
        "a training step with Momentum",
    ),
    (
        "--picture memory",
        lambda net: gg.draw(gg.compile([net.loss, *gg.derive(net.loss).values()])),
        "the memory of the gradient of loss",
    ),
    ("--detail names", lambda net: gg.draw(gg.derive(net.loss), detail="names"), "the derivation of loss"),
    ("--depth 0", lambda net: gg.draw(gg.derive(net.loss), depth=0), "the derivation of loss"),
    ("--no-fold", lambda net: gg.draw(gg.derive(net.loss), fold=False), "the derivation of loss"),
    ("--only W1", lambda net: gg.draw(gg.derive(net.loss), only="W1"), "the derivation of loss"),
    ("--hide y --hide b1", lambda net: gg.draw(gg.derive(net.loss), hide=["y", "b1"]), "the derivation of loss"),
    ("--notation delta", lambda net: gg.draw(gg.derive(net.loss), notation="delta"), "the derivation of loss"),
    ("--lang es", lambda net: gg.draw(gg.derive(net.loss), lang="es"), "the derivation of loss"),
    (
        "--theme dark --no-legend",
        lambda net: gg.draw(gg.derive(net.loss), theme="dark", legend=False),
        "the derivation",
    ),
    ("--engine layered", lambda net: gg.draw(gg.derive(net.loss), engine="layered"), "the derivation of loss"),
]


@pytest.mark.parametrize(("options", "picture", "told"), DRAWN, ids=[o for o, _, _ in DRAWN])
def test_the_options_of_draw(
    run: Run, here: Path, options: str, picture: Callable[[gg.Network], gg.Picture], told: str
) -> None:
    status, out, errors = run("draw", "2-3-1:tanh", "-o", "a.svg", *options.split())
    assert (status, errors) == (0, "")
    assert out.startswith(f"a.svg: {told}")
    text = (here / "a.svg").read_text(encoding="utf-8")
    assert text == picture(gg.feedforward([2, 3, 1], "tanh")).svg()
    run("draw", "2-3-1:tanh", "-o", "plain.svg")
    is_plain = options in ("--no-fold",)  # nothing is folded here anyway
    assert (text == (here / "plain.svg").read_text(encoding="utf-8")) == is_plain


def test_draw_takes_values_from_a_file(run: Run, here: Path) -> None:
    values = {"x": np.ones((2, 2)), "y": np.zeros((2, 1)), "W": np.array([[1.0, -1.0]]), "b": np.zeros(1)}
    np.savez(here / "at.npz", **values)
    assert run("draw", "net.py:loss", "-o", "a.svg", "--values", "at.npz")[0] == 0
    assert (here / "a.svg").read_text(encoding="utf-8") == gg.draw(gg.derive(loss_of_net()), values=values).svg()


def test_draw_scales_a_png(run: Run, here: Path) -> None:
    run("draw", "net.py:loss", "-o", "a.png", "--scale", "0.5")
    assert (here / "a.png").read_bytes() == gg.draw(gg.derive(loss_of_net())).png(0.5)


def test_draw_writes_frames_as_pages_slides_or_numbered_files(run: Run, here: Path) -> None:
    frames = gg.draw(gg.derive(loss_of_net())).frames()
    n = len(frames)
    assert run("draw", "net.py:loss", "-o", "s.pdf", "--frames")[:2] == (
        0,
        f"s.pdf: the derivation of L, in {n} frames\n",
    )
    assert (here / "s.pdf").read_bytes() == frames.pdf()
    assert run("draw", "net.py:loss", "-o", "s.tex", "--frames")[0] == 0
    assert (here / "s.tex").read_text(encoding="utf-8") == frames.tikz(standalone=True)
    assert run("draw", "net.py:loss", "-o", "s.svg", "--frames")[0] == 0
    written = sorted(p.name for p in here.glob("s*.svg"))
    assert written == [f"s-{k:0{len(str(n))}}.svg" for k in range(1, n + 1)]
    assert (here / written[2]).read_text(encoding="utf-8") == frames[2].svg()


def test_draw_needs_no_program(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("draw", "2-3-1:tanh", "-o", "with.svg")
    monkeypatch.setenv("PATH", "")
    assert run("draw", "2-3-1:tanh", "-o", "without.svg") == (0, "without.svg: the derivation of loss\n", "")
    assert (here / "with.svg").read_bytes() == (here / "without.svg").read_bytes()


def test_compile_writes_what_write_module_writes(run: Run, here: Path) -> None:
    options = ["--optimizer", "adam", "--alpha", "0.01", "--seed", "4"]
    assert run("compile", "3-4-2:tanh:cross_entropy", "-o", "a.py", *options)[0] == 0
    net = gg.feedforward([3, 4, 2], "tanh", "cross_entropy")
    gg.write_module(net, here / "b.py", optimizer=gg.Adam(alpha=0.01), seed=4)
    assert (here / "a.py").read_text() == (here / "b.py").read_text()
    assert run("compile", "3-4-2:tanh", "--loss", "cross_entropy", "-o", "c.py")[0] == 0
    gg.write_module(net, here / "d.py")
    assert (here / "c.py").read_text() == (here / "d.py").read_text()


def test_check_tells_by_its_exit_status(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    status, text, _ = run("check", "net.py:loss")
    assert status == 0
    assert [line.split()[0] for line in text.splitlines()] == ["parameter", "W", "b"]
    square = gg.graph.OPERATORS["square"]
    monkeypatch.setitem(square.__dict__, "pullback", (lambda g, x, y: 3 * g * x,))
    status, text, _ = run("check", "net.py:loss")
    assert status == 1
    assert "differs" in text


@pytest.mark.parametrize(("batch_size", "epochs"), [("8", 250), ("0", 1000), ("1", 50)])
def test_a_small_table_is_gone_through_more_often(run: Run, here: Path, batch_size: str, epochs: int) -> None:
    """32 rows to train on: in batches of 8, four updates an epoch."""
    status, text, _ = run("train", "net.py:net", "good.csv", "--target", "y", "--batch-size", batch_size)
    assert status == 0
    assert f"\nepoch {epochs}: loss " in text


def test_train_saves_all_that_is_needed(run: Run, here: Path) -> None:
    options = ("--target", "y", "--epochs", "30", "--batch-size", "8", "--seed", "3", "--alpha", "0.1")
    status, text, errors = run("train", "net.py:net", "good.csv", *options, "--out", "runs/first")
    assert (status, errors) == (0, "")
    assert text.splitlines()[0] == "good.csv: 40 rows, a, b -> y"
    assert text.splitlines()[1].startswith("epoch 30: loss 0.")
    assert text.splitlines()[2] == "saved in runs/first: model.safetensors, history.csv, report.md, curves.svg"
    out = here / "runs" / "first"
    assert sorted(p.name for p in out.iterdir()) == ["curves.svg", "history.csv", "model.safetensors", "report.md"]
    model = gg.load(out / "model.safetensors")
    assert model.parameters.keys() == {"W", "b"}
    head, *rows = (out / "history.csv").read_text().splitlines()
    assert head == "epoch,loss,rate,validation_loss,validation_r2"
    assert len(rows) == 30
    report = (out / "report.md").read_text()
    command = f"graphgrad train net.py:net good.csv {' '.join(options)} --out runs/first"
    assert f"```\n{command}\n```" in report
    assert "32 rows trained on, 8 set aside" in report
    assert "| y |" in report
    first = (out / "model.safetensors").read_bytes()
    assert run("train", "net.py:net", "good.csv", *options, "--out", "runs/first")[0] == 0
    assert (out / "model.safetensors").read_bytes() == first


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_train_classifies_and_reads_other_separators(run: Run, here: Path, delimiter: str) -> None:
    rows = [f"{i % 3}{delimiter}{(i * 7) % 5}{delimiter}{'ab'[i % 3 > 1]}" for i in range(60)]
    (here / "data.csv").write_text("\n".join([delimiter.join("xyz"), *rows]) + "\n")
    status, told, errors = run(
        "train", "auto-8-auto:tanh", "data.csv", "--target", "z", "--batch-size", "0", "--alpha", "0.1"
    )
    assert (status, errors) == (0, "")
    assert gg.load(here / "graphgrad-run" / "model.safetensors").network.widths == (2, 8, 2)
    assert "validation accuracy 1" in told
    status, told, errors = run("predict", "graphgrad-run", "data.csv", "-o", "p.csv")
    assert (status, errors) == (0, "")
    assert "Accuracy: 100.0% (60 of 60)." in told
    with open(here / "p.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["predicted_z"] for row in found] == ["ab"[i % 3 > 1] for i in range(60)]
    assert all(float(r["probability_a"]) + float(r["probability_b"]) == pytest.approx(1, abs=1e-6) for r in found)


def test_predictions_are_in_the_units_of_the_table(run: Run, here: Path) -> None:
    """Columns are found by name, in any order; others are left aside."""
    rng = np.random.default_rng(0)
    x, town = rng.normal(100, 20, 200), rng.choice(["Bern", "Köniz", "Thun"], 200)
    y = 1e6 + 5e4 * (x - 100) / 20 + 1e4 * (town == "Thun")
    rows = [f"{a:.3f};{t};{b:.1f}" for a, t, b in zip(x, town, y, strict=True)]
    (here / "train.csv").write_text("size;town;price\n" + "\n".join(rows), encoding="latin-1")
    status, told, _ = run(
        "train", "auto-16-auto:tanh", "train.csv", "--target", "price", "--alpha", "0.02", "--epochs", "200"
    )
    assert status == 0
    assert "text read as Latin-1" in told or "Latin-1" in told
    (here / "new.csv").write_text("id,town,size\n1,Thun,100\n2,Bern,120\n")
    assert run("predict", "graphgrad-run/model.safetensors", "new.csv", "-o", "out.csv")[0] == 0
    head, first, second = (here / "out.csv").read_text().splitlines()
    assert head == "predicted_price"
    assert float(first) == pytest.approx(1.01e6, rel=2e-3)
    assert float(second) == pytest.approx(1.05e6, rel=2e-3)


def test_predictions_are_compared_with_the_truth_where_the_table_has_it(run: Run, here: Path) -> None:
    """A target that is not what was learned takes nothing from the predictions: it is told, and that is all."""
    rows = [f"{i},{'ab'[i % 2]},{3 * i}" for i in range(40)]
    (here / "train.csv").write_text("x,c,y\n" + "\n".join(rows) + "\n")
    (here / "other.csv").write_text("x,c,y\n1,b,low\n2,z,low\n")
    for target, out in (("y", "numbers"), ("c", "classes")):
        options = ["--target", target, "--ignore", "cy".replace(target, ""), "--epochs", "300", "--alpha", "0.02"]
        assert run("train", "auto-8-auto:tanh", "train.csv", *options, "--out", out)[0] == 0
    _, told, _ = run("predict", "numbers", "train.csv", "-o", "p.csv")
    (line,) = [line for line in told.splitlines() if line.startswith("| y |")]
    r2, absolute, squared = map(float, line.strip("| ").split("|")[1:])
    found = np.loadtxt(here / "p.csv", skiprows=1)
    assert r2 > 0.9
    assert absolute == pytest.approx(np.abs(found - 3 * np.arange(40)).mean(), rel=1e-3)
    assert squared == pytest.approx(np.sqrt(np.square(found - 3 * np.arange(40)).mean()), rel=1e-3)
    for model, why in (
        ("numbers", "y: other.csv, line 2, column 'y': 'low' is no number, but in training the cells are"),
        ("classes", "c: other.csv, line 3, column 'c': 'z' is no class seen in training: 'a', 'b'"),
    ):
        status, told, errors = run("predict", model, "other.csv", "-o", "p.csv")
        assert (status, errors) == (0, "")
        assert told.splitlines()[-2].endswith(f"The predictions are not compared with {why}")
        assert len((here / "p.csv").read_text().splitlines()) == 3
    (here / "other.csv").write_text("x,c,y\n1,b,3\n2,a,6\n3,b,soon\n")
    status, told, errors = run("predict", "numbers", "other.csv", "-o", "p.csv")
    assert (status, errors) == (0, "")
    assert told.startswith("  The predictions are not compared with y: other.csv, line 4, column 'y': 'soon' is no num")
    assert len((here / "p.csv").read_text().splitlines()) == 4
    (here / "other.csv").write_text("x,c,y\n1,b,3\n2,a,6\nmany,b,soon\n")
    status, told, errors = run("predict", "numbers", "other.csv", "-o", "p.csv")
    assert (status, told) == (2, "")
    assert errors.startswith("graphgrad: other.csv, line 4, column 'x': 'many' is no number, though 2 of the column's")


def test_a_run_of_the_command_line_goes_on(run: Run, here: Path) -> None:
    options = ["net.py:net", "good.csv", "--target", "y", "--batch-size", "8"]
    assert run("train", *options, "--epochs", "9", "--out", "parts")[0] == 0
    (here / "parts").rename(here / "whole")
    assert run("train", *options, "--epochs", "4", "--out", "parts")[0] == 0
    assert run("train", *options, "--resume", "--epochs", "9", "--out", "parts")[0] == 0
    for name in ("model.safetensors", "history.csv", "curves.svg", "report.md"):
        assert (here / "parts" / name).read_bytes() == (here / "whole" / name).read_bytes()
    status, _, errors = run("train", *options, "--epochs", "9", "--out", "parts", "--resume", "--seed", "1")
    assert (status, errors.count("\n")) == (2, 1)
    assert "parts/model.safetensors: the run began with " in errors


@pytest.mark.parametrize(("validation", "aside"), [("0.2", 8), ("0.6", 19), ("0.9", 19)])
def test_rows_are_set_aside_where_classes_have_few_and_no_class_loses_its_last(
    run: Run, here: Path, validation: str, aside: int
) -> None:
    rows = [f"{i},{i % 3},class {i // 2}\n" for i in range(38)] + ["1,1,rare\n"]
    (here / "few.csv").write_text("a,b,y\n" + "".join(rows))
    line = f"train auto-4-auto few.csv --target y --epochs 2 --early-stopping 2 --validation {validation}"
    status, told, errors = run(*line.split())
    assert (status, errors) == (0, "")
    assert "validation loss" in told
    report = (here / "graphgrad-run" / "report.md").read_text()
    assert f"{39 - aside} rows trained on, {aside} set aside" in report


@pytest.mark.filterwarnings("default::graphgrad.loop.TrainingWarning")
def test_what_left_the_finite_numbers_is_told_and_the_last_good_model_kept(run: Run, here: Path) -> None:
    line = "train 2-3-1:relu good.csv --target y --optimizer sgd --alpha 1e30 --epochs 5"
    status, told, errors = run(*line.split())
    assert status == 1
    assert errors.startswith("graphgrad: warning: training stopped in epoch ")
    assert errors.count("\n") == 1
    assert "made at" not in errors  # a network in shorthand has no line
    assert "saved in graphgrad-run" in told
    assert all(np.isfinite(a).all() for a in gg.load(here / "graphgrad-run" / "model.safetensors").parameters.values())


def test_the_epoch_that_a_model_is_of_is_that_of_the_run(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the one of the lowest loss, which may be better by less than it takes."""
    monkeypatch.setattr(fitting, "EarlyStopping", lambda column, patience: gg.EarlyStopping(column, patience, 1e3))
    code, out, _ = run(*"train net.py:net good.csv --target y --epochs 9 --early-stopping 2 --out o".split())
    assert code == 0
    assert "stopped early; the model is that of epoch 1, which has the best validation loss" in out
    assert "; stopped: early stopping; the model is that of epoch 1." in (here / "o" / "report.md").read_text()


def test_missing_cells_are_dropped_or_imputed_on_request(run: Run, here: Path) -> None:
    rows = [f"{'' if i % 10 == 0 else i},{'ab'[i % 2]},{i * 2}" for i in range(50)]
    (here / "holes.csv").write_text("n,c,y\n" + "\n".join(rows))
    base = ["train", "auto-4-auto", "holes.csv", "--target", "y", "--epochs", "2"]
    status, told, errors = run(*base, "--missing", "drop")
    assert (status, errors) == (0, "")
    assert "5 of 50 rows left out, as cells are missing in 'n' (5)" in told
    notes = [f"- {line[2:]}" for line in told.splitlines() if line.startswith("  ")]
    report = (here / "graphgrad-run" / "report.md").read_text()
    assert notes == [line for line in report.splitlines() if line.startswith("- ")]
    status, told, errors = run(*base, "--missing", "impute")
    assert (status, errors) == (0, "")
    assert "column 'n': 5 missing cells taken for the median, " in told
    (here / "new.csv").write_text("n,c\n,a\n3,b\n")
    assert run("predict", "graphgrad-run", "new.csv", "-o", "p.csv")[0] == 0
    assert len((here / "p.csv").read_text().splitlines()) == 3


def test_columns_that_are_not_used_may_hold_anything(run: Run, here: Path) -> None:
    """As pandas writes them: a column of row numbers without a name. And notes that are mostly numbers."""
    rows = [f"{i},{i % 7},{i % 5},{i if i % 3 else 'note'},{i % 2}\n" for i in range(40)]
    (here / "own.csv").write_text(",a,b,note,y\n" + "".join(rows))
    base = ["train", "auto-4-auto", "own.csv", "--target", "y", "--epochs", "2", "--ignore", "note"]
    status, told, errors = run(*base)
    assert (status, errors) == (0, "")
    assert told.startswith("own.csv: 40 rows, column 1, a, b -> y\n  a column without a name is called 'column 1'\n")
    status, told, errors = run(*base, "--ignore", "column 1")
    assert (status, errors) == (0, "")
    assert told.startswith("own.csv: 40 rows, a, b -> y\nepoch 2")
    assert run("predict", "graphgrad-run", "own.csv", "-o", "p.csv")[::2] == (0, "")
    assert len((here / "p.csv").read_text().splitlines()) == 41


def test_train_on_several_targets(run: Run, here: Path) -> None:
    (here / "two.csv").write_text("a,b,c\n" + "".join(f"{i},{2 * i},{-i}\n" for i in range(10)))
    status, text, _ = run("train", "1-4-2:tanh", "two.csv", "--target", "b", "--target", "c", "--epochs", "2")
    assert status == 0
    assert "a -> b, c" in text
    assert run("predict", "graphgrad-run", "two.csv", "-o", "p.csv")[0] == 0
    assert (here / "p.csv").read_text().splitlines()[0] == "predicted_b,predicted_c"


def test_ctrl_c_ends_training_and_saves(here: Path) -> None:
    (here / "net.py").write_text(NET)
    arguments = ["train", "net.py:net", "good.csv", "--target", "y", "--epochs", "100000000"]
    program = f"import sys; from graphgrad.cli import main; print('go', flush=True); sys.exit(main({arguments}))"
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parent.parent)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, **options) as process:  # type: ignore[call-overload]
        while not process.stdout.readline().startswith("good.csv"):
            pass
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        try:
            out, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert errors == "graphgrad: interrupted\n"
    assert "what was learned until then is saved" in out
    assert gg.load(here / "graphgrad-run" / "model.safetensors").stopped == "interrupted"


def test_an_interrupt_elsewhere_ends_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "parse_network", interrupted)
    status, out, errors = run("check", "2-3-1:tanh")
    assert (status, out, errors.strip()) == (130, "", "graphgrad: interrupted")


@pytest.mark.filterwarnings("default:L does not depend on q")
def test_a_warning_is_one_line(run: Run, here: Path) -> None:
    (here / "net.py").write_text(NET + "q = g.parameter('q')\n")
    status, _, errors = run("draw", "net.py:loss", "-o", "a.dot")
    assert (status, errors) == (0, "graphgrad: warning: L does not depend on q: its gradient is zero\n")


# ---------------------------------------------------------------------------------------------------------------------
# Mistakes
# ---------------------------------------------------------------------------------------------------------------------

TRAIN = "train net.py:net"

#: A command line, and what its one line says after "graphgrad: ". Files are those of `mistakes` below.
MISTAKES = [
    ("fly", "No such command 'fly'."),
    ("draw", "Missing argument 'NETWORK'."),
    ("draw 2-3-1:tanh", "Missing option '-o' / '--output'."),
    ("draw 2-3-1:tanh -o a.dot --colour red", "No such option '--colour'."),
    # NETWORK
    ("draw missing.py:net -o a.dot", "missing.py does not exist"),
    ("draw folder.py:net -o a.dot", "folder.py is a directory; a Python file is wanted"),
    ("draw net.py -o a.dot", "net.py: a name is wanted too, as in net.py:net"),
    ("draw net.py:nett -o a.dot", "net.py has no 'nett'; did you mean 'net'?"),
    ("draw net.py:zzz -o a.dot", "net.py has no 'zzz'; it has net, loss, labels"),
    ("draw net.py:number -o a.dot", "net.py: number is a int; a Network or a scalar Tensor is wanted"),
    ("draw net.py:p -o a.dot", "net.py: p is a tensor of shape (N, 1) and dtype float64; a scalar loss is wanted"),
    ("check net.py:labels", "net.py: labels is a tensor of shape () and dtype int64; a scalar loss is wanted"),
    ("check syntax.py:net", "syntax.py:2: '(' was never closed"),
    ("check broken.py:net", "broken.py:3: ZeroDivisionError: division by zero (in: 1 / 0)"),
    ("check shape.py:net", "shape.py:3: "),
    ("check exits.py:net", "exits.py:1: SystemExit: 3 (in: raise SystemExit(3))"),
    ("check imports.py:net", "imports.py:1: ModuleNotFoundError: No module named 'nowhere' (in: import nowhere)"),
    ("check net.txt:net", "'net.txt:net': the width 'net.txt' is no whole number"),
    ("check 2-x-1:tanh", "'2-x-1:tanh': the width 'x' is no whole number"),
    ("check 2-0-1:tanh", "'2-0-1:tanh': the width '0' is no whole number"),
    ("check 5:tanh", "a network has at least two widths"),
    ("check 2-3-1:thanh", "no activation is called 'thanh'"),
    ("check 2-3-1:tanh --loss mze", "no loss is called 'mze'"),
    ("check 2-3-1:tanh:mse --loss mse", "2-3-1:tanh:mse has a loss already, and --loss mse is another"),
    ("check net.py:net --loss mse", "--loss belongs to shorthand such as 64-128-10:relu; net.py:net has its own loss"),
    ("check some/where:net", "'some/where:net' is no network: FILE.py:NAME is wanted, or shorthand such as 64-"),
    ("check 2-3-1:tanh --seed -1", "Invalid value for '--seed': -1 is not in the range x>=0."),
    # Output
    (
        "draw 2-3-1:tanh -o a.gif",
        "-o a.gif: the file's name ends with .svg or .png or .pdf or .tex or .dot or .html",
    ),
    ("draw 2-3-1:tanh -o a", "-o a: the file's name ends with .svg or .png or"),
    ("draw 2-3-1:tanh -o a.svg --picture cube", "Invalid value for '--picture': 'cube' is not one of 'derivation',"),
    ("draw 2-3-1:tanh -o a.svg --detail all", "Invalid value for '--detail': 'all' is not one of 'auto',"),
    ("draw 2-3-1:tanh -o a.svg --depth -1", "Invalid value for '--depth': -1 is not in the range x>=0."),
    ("draw 2-3-1:tanh -o a.svg --only W9", "only='W9' is neither a tensor nor a name of the graph; there are: x, y,"),
    ("draw 2-3-1:tanh -o a.svg --hide q", "hide='q' is neither a tensor nor a name of the graph; there are: x, y,"),
    ("draw 2-3-1:tanh -o a.svg --notation dot", "Invalid value for '--notation': 'dot' is not one of 'bar',"),
    ("draw 2-3-1:tanh -o a.svg --lang de", "Invalid value for '--lang': 'de' is not one of 'en', 'es'."),
    ("draw 2-3-1:tanh -o a.svg --theme sepia", "Invalid value for '--theme': 'sepia' is not one of 'light',"),
    ("draw 2-3-1:tanh -o a.png --scale 0", "Invalid value for '--scale': 0 is not a number above 0."),
    ("draw 2-3-1:tanh -o a.png --scale nan", "Invalid value for '--scale': nan is not a number above 0."),
    ("draw 2-3-1:tanh -o a.png --scale 999", "png: the picture would be "),
    ("draw 2-3-1:tanh -o a.svg --engine neato", "layout engine 'neato' does not exist; there are: pygraphviz, dot,"),
    ("draw 2-3-1:tanh -o a.svg --picture step --optimizer rprop", "--optimizer 'rprop' does not exist; there are: "),
    ("draw net.py:loss -o a.svg --picture neurons", "--picture neurons is of a network, but L is a tensor"),
    ("draw net.py:net -o a.svg --picture neurons", 'level="neuron" is for networks that gg.feedforward makes;'),
    ("draw 2-3-1:tanh -o a.dot --picture neurons", "this picture has no boxes and edges, so it has no DOT;"),
    (
        "draw 2-3-1:tanh -o a.svg --picture layers --frames",
        "frames are of a derivation: draw(gg.derive(loss)).frames()",
    ),
    ("draw 2-3-1:tanh -o a.dot --frames", "--frames are written as .pdf, .tex, .svg or .png, but .dot was given"),
    ("draw 2-3-1:tanh -o a.html --frames", "--frames are written as .pdf, .tex, .svg or .png, but .html was given"),
    ("draw 2-3-1:tanh -o a.svg --values no.npz", "--values no.npz: the file does not exist"),
    ("draw 2-3-1:tanh -o a.svg --values good.csv", "--values good.csv: no .npz file of arrays ("),
    ("draw 2-3-1:tanh -o nowhere/a.dot", "-o nowhere/a.dot: the directory nowhere does not exist"),
    ("draw 2-3-1:tanh -o good.csv/a.dot", "-o good.csv/a.dot: good.csv is no directory"),
    ("compile 2-3-1:tanh -o folder.py", "-o folder.py: that is a directory; a file is wanted"),
    ("compile 2-3-1:tanh -o a.c", "-o a.c: the file's name ends with .py"),
    ("compile 2-3-1:tanh -o a.py --optimizer sdg", "--optimizer 'sdg' does not exist; there are: sgd, momentum, adam"),
    ("compile 2-3-1:tanh -o a.py --alpha 0.1", "--alpha is the step size of an optimizer; --optimizer says which"),
    ("compile 2-3-1:tanh -o a.py --optimizer sgd --alpha 0", "Invalid value for '--alpha': 0 is not a number above 0."),
    ("demo --out good.csv", "--out good.csv: that is a file; a directory is wanted"),
    ("demo --epochs 0", "Invalid value for '--epochs': 0 is not in the range x>=1."),
    ("compile net.py:net -o net.py", "-o net.py: that is the file of net.py:net itself; another name is wanted"),
    ("compile net.py:net -o ../{here}/net.py", "-o ../{here}/net.py: that is the file of net.py:net itself"),
    ("compile 2-3-1:tanh -o numpy.py", "-o numpy.py: the file imports numpy, so it cannot have that name itself"),
    ("check null.py:net", "null.py"),
    # Tables
    (f"{TRAIN} missing.csv --target y", "missing.csv does not exist"),
    (f"{TRAIN} folder.py --target y", "folder.py is a directory; a CSV file is wanted"),
    (f"{TRAIN} empty.csv --target y", "empty.csv is empty"),
    (f"{TRAIN} header.csv --target y", "header.csv has a line of column names, but no rows"),
    (f"{TRAIN} bytes.csv --target y", "bytes.csv, line 1: this is not UTF-16"),
    (f"{TRAIN} nameless.csv --target y", "nameless.csv, line 1: the first line names the columns, but here"),
    (f"{TRAIN} twice.csv --target y", "twice.csv, line 1: two columns are named 'a'"),
    (f"{TRAIN} blank.csv --target y", "blank.csv, line 1: column 2 has no name, and another is called 'column 2'"),
    (f"{TRAIN} good.csv --target q --ignore a", "good.csv has no column 'q'; it has b, y, a"),
    (f"{TRAIN} ragged.csv --target y", "ragged.csv, line 4: 2 cells, but line 1 names 3 columns"),
    (
        f"{TRAIN} text.csv --target y",
        "text.csv, line 3, column 'b': 'many' is no number, though 1 of the column's 2 cells are",
    ),
    (f"{TRAIN} nan.csv --target y", "nan.csv, line 3, column 'b': the cell is missing, as in 1 of 2 rows"),
    (f"{TRAIN} inf.csv --target y", "inf.csv, line 3, column 'b': -inf is not a finite number"),
    (f"{TRAIN} hole.csv --target y", "hole.csv, line 3, column 'b': the cell is missing, as in 1 of 2 rows"),
    (f"{TRAIN} quote.csv --target y", "quote.csv, line 3: "),
    (f"{TRAIN} good.csv", "Missing option '--target'."),
    (f"{TRAIN} good.csv --target z", "good.csv has no column 'z'; it has a, b, y"),
    (f"{TRAIN} long.csv --target specie", "long.csv has no column 'specie'; did you mean 'species'?"),
    (f"{TRAIN} good.csv --target y --target y", "the target 'y' was given twice"),
    (f"{TRAIN} one.csv --target y", "one.csv has no columns besides y: nothing is left to predict from"),
    (
        "train 4-3-1:tanh good.csv --target y",
        "'4-3-1:tanh': the first width is 4, but good.csv gives 2 inputs (a, b); 2 or auto",
    ),
    (
        "train 2-3-2:tanh good.csv --target y",
        "'2-3-2:tanh': the last width is 2, but good.csv has 1 target column (y); 1 or auto",
    ),
    (
        "train 2-3-3:tanh:cross_entropy classes.csv --target y --validation 0",
        "'2-3-3:tanh:cross_entropy': the last width is 3, but column 'y' has 2 classes (0, 3); 2 or auto would fit",
    ),
    (
        "train 2-3-3:tanh:cross_entropy halves.csv --target y --validation 0",
        "halves.csv, line 2, column 'y': 0.5 is no class; classes are text or whole numbers",
    ),
    (
        "train 2-3-1:tanh:bce three.csv --target y",
        "binary_cross_entropy tells two classes apart, but column 'y' has 3 classes (0, 1, 2); cross_entropy",
    ),
    ("train auto-3-auto one_class.csv --target y", "one_class.csv, column 'y': its 5 rows to train on have one class"),
    ("train auto-3-auto good.csv --target y --loss crossentropy", "no loss is called 'crossentropy'"),
    ("train auto-auto-1 good.csv --target y", "'auto-auto-1': the first and the last width may be auto, others are"),
    (f"{TRAIN} good.csv --target y --ignore z", "good.csv has no column 'z'; it has a, b, y"),
    (f"{TRAIN} good.csv --target y --ignore y", "column 'y' is a target, so it cannot be ignored"),
    (
        f"{TRAIN} good.csv --target y --ignore a",
        "good.csv gives 1 input (b), but the network's input x has shape (N, 2)",
    ),
    (f"{TRAIN} good.csv --target y --missing maybe", "Invalid value for '--missing': 'maybe' is not one of 'error',"),
    (f"{TRAIN} good.csv --target y --separator ab", "good.csv: "),
    (f"{TRAIN} good.csv --target y --encoding klingon", "good.csv: "),
    (f"{TRAIN} good.csv --target y --l2 -1", "Invalid value for '--l2': -1 is not a number from 0 on."),
    (
        f"{TRAIN} good.csv --target y --early-stopping 3 --validation 0",
        "--early-stopping watches the loss of rows kept",
    ),
    (f"{TRAIN} good.csv --target y --resume", "--resume: there is no run in graphgrad-run"),
    (
        f"{TRAIN} good.csv --target y --balanced",
        "--balanced lets each class count alike, but y is learned as numbers\n",
    ),
    (f"{TRAIN} words.csv --target y", "words.csv gives 3 inputs (a=one, a=three, a=two), but the network's input x"),
    (f"{TRAIN} utf16.csv --target y", "utf16.csv has no column 'y'; it has a, b"),
    (f"{TRAIN} zip.csv --target y", "zip.csv"),
    (f"{TRAIN} halves.csv --target y", "halves.csv has 1 row: --validation 0.2 would keep 0 aside and leave 1; "),
    (
        "train auto-2-auto singles.csv --target y",
        "singles.csv, column 'y': each of 5 rows has a class of its own, so none can be set aside; is it the target?",
    ),
    (
        "train auto-2-auto thousands.csv --target y",
        "thousands.csv: column 'y' is of text, though 40 of its 40 cells look like numbers, as '1,000' does in line 2; "
        "1000 would be read as one; --classes learns such texts as classes\n",
    ),
    (f"{TRAIN} good.csv --target y --validation 0.99", "good.csv has 40 rows: --validation 0.99 would keep 40 aside"),
    ("train net.py:loss good.csv --target y", "L is a loss alone; train wants a Network"),
    (f"{TRAIN} good.csv --target y --out good.csv", "--out good.csv: that is a file; a directory is wanted"),
    (f"{TRAIN} good.csv --target y --out good.csv/run", "--out good.csv/run: "),
    (f"{TRAIN} good.csv --target y --epochs 0", "Invalid value for '--epochs': 0 is not in the range x>=1."),
    (f"{TRAIN} good.csv --target y --epochs many", "Invalid value for '--epochs': 'many' is not a valid integer"),
    (f"{TRAIN} good.csv --target y --alpha nan", "Invalid value for '--alpha': nan is not a number above 0."),
    (f"{TRAIN} good.csv --target y --alpha -1", "Invalid value for '--alpha': -1 is not a number above 0."),
    (f"{TRAIN} good.csv --target y --validation 1", "Invalid value for '--validation': 1 is not a number from"),
    (f"{TRAIN} good.csv --target y --batch-size -3", "Invalid value for '--batch-size': -3 is not in the range x>=0."),
    # Models
    ("predict graphgrad-run good.csv -o p.csv", "graphgrad-run does not exist"),
    ("predict model new.csv -o p.csv", "new.csv does not exist"),
    ("predict model good.csv", "Missing option '-o' / '--output'."),
    ("predict model good.csv -o p.txt", "-o p.txt: the file's name ends with .csv"),
    ("predict model good.csv -o good.csv", "-o good.csv: that is the table to predict from; another name is wanted"),
    ("predict model good.csv -o no/p.csv", "-o no/p.csv: the directory no does not exist"),
    ("predict good.csv good.csv -o p.csv", "good.csv: no file that run.save wrote, or not all of it ("),
    ("predict folder.py good.csv -o p.csv", "folder.py/model.safetensors does not exist"),
    ("predict cut.safetensors good.csv -o p.csv", "cut.safetensors: no file that run.save wrote, or not all of it ("),
    ("predict foreign.safetensors good.csv -o p.csv", "foreign.safetensors: a safetensors file, but not one that run."),
    ("predict bare.safetensors good.csv -o p.csv", "bare.safetensors does not tell how a table becomes its input: "),
    ("predict nonsense.safetensors good.csv -o p.csv", "nonsense.safetensors: "),
    ("predict model header.csv -o p.csv", "header.csv has a line of column names, but no rows"),
    ("predict model empty.csv -o p.csv", "empty.csv is empty"),
    ("predict model twice.csv -o p.csv", "twice.csv, line 1: two columns are named 'a'"),
    ("predict model one.csv -o p.csv", "one.csv has no column 'a'; it has y"),
    ("predict model hole.csv -o p.csv", "hole.csv, line 3, column 'b': the cell is missing"),
    ("predict model text.csv -o p.csv", "text.csv, line 3, column 'b': 'many' is no number"),
    ("predict model all_text.csv -o p.csv", "all_text.csv, line 2, column 'b': "),
    ("predict model ragged.csv -o p.csv", "ragged.csv, line 4: 2 cells, but line 1 names 3 columns"),
    ("predict model huge.csv -o p.csv", "huge.csv, line 3, column 'b': 1e+100 is too large for float32, in which the"),
    (
        "train auto-2-auto huge.csv --target a --no-standardize --validation 0",
        "huge.csv, line 3, column 'b': 1e+100 is too large for float32, in which the network computes\n",
    ),
    (
        "train auto-2-auto huge.csv --target b --no-standardize --validation 0",
        "huge.csv, line 3, column 'b': 1e+100 is too large for float32, in which the network computes\n",
    ),
    ("predict words words_more.csv -o p.csv", "words_more.csv, line 3, column 'a': "),
    ("predict model good.csv -o p.csv --unknown maybe", "Invalid value for '--unknown': 'maybe' is not one of"),
]


@pytest.fixture
def mistakes(here: Path) -> Path:
    """Files that are wrong in one way each."""
    files = {
        "syntax.py": "import graphgrad as gg\nnet = (1,\n",
        "broken.py": "a = 1\n\n1 / 0\n",
        "shape.py": "import graphgrad as gg\ng = gg.Graph()\nnet = g.input('x', (2,)) + g.input('y', (3,))\n",
        "exits.py": "raise SystemExit(3)\n",
        "imports.py": "import nowhere\n",
        "null.py": "net = 1\0\n",
        "net.txt": NET,
        "empty.csv": "\n \n",
        "header.csv": "a,b,y\n",
        "nameless.csv": "1,2,3\n4,5,6\n",
        "twice.csv": "a,a,y\n1,2,3\n",
        "blank.csv": "column 2,,y\n1,2,3\n",
        "ragged.csv": "a,b,y\n1,2,3\n\n4,5\n",
        "text.csv": "a,b,y\n1,2,3\n4,many,6\n",
        "nan.csv": "a,b,y\n1,2,3\n4,nan,6\n",
        "inf.csv": "a,b,y\n1,2,3\n4,-inf,6\n",
        "hole.csv": "a,b,y\n1,2,3\n4,,6\n",
        "quote.csv": 'a,b,y\n1,2,3\n4,"5"6,7\n',
        "long.csv": "a,b,species\n1,2,3\n",
        "one.csv": "y\n1\n",
        "classes.csv": "a,b,y\n1,2,0\n1,2,3\n",
        "halves.csv": "a,b,y\n1,2,0.5\n",
        "two.csv": "a,b,y\n" + "1,2,0\n3,4,2\n" * 5,
        "one_class.csv": "a,b,y\n" + "1,2,yes\n" * 6,
        "singles.csv": "a,y\n1,p\n2,q\n3,r\n4,s\n5,t\n",
        "thousands.csv": "a,y\n" + "".join(f'{i},"1,{i:03}"\n' for i in range(40)),
        "words.csv": WORDS,
        "three.csv": "a,b,y\n" + "1,2,0\n3,4,2\n5,6,1\n" * 5,
        "huge.csv": "a,b\n1,2\n3,1e100\n",
        "words_more.csv": "a\none\nfour\n",
        "all_text.csv": "a,b\n1,many\n2,few\n",
    }
    for name, text in files.items():
        (here / name).write_text(text)
    (here / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    (here / "utf16.csv").write_text("a,b\n1,2\n", encoding="utf-16")
    (here / "zip.csv").write_bytes(b"PK\x03\x04" + bytes(range(256)) * 4)
    (here / "folder.py").mkdir()
    for name, content in models().items():
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_bytes(content)
    return here


@cache
def models() -> dict[str, bytes]:
    """Models of good.csv and words.csv, and files that are none."""
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "good.csv").write_text(GOOD)
        (place / "words.csv").write_text(WORDS)
        for name in ("good", "words"):
            line = [
                "train",
                "auto-2-auto",
                f"{folder}/{name}.csv",
                "--target",
                "y",
                "--epochs",
                "1",
                "--out",
                f"{folder}/{name}",
            ]
            assert cli.main(line) == 0
        made = {
            f"{n}/model.safetensors": (place / d / "model.safetensors").read_bytes()
            for n, d in (("model", "good"), ("words", "words"))
        }
        run = gg.load(place / "good" / "model.safetensors")
        for name, told in (("bare", None), ("nonsense", {"version": 1})):
            run.preprocessing = told
            run.save(place / name)
            made[f"{name}.safetensors"] = (place / name).read_bytes()
    made["cut.safetensors"] = made["model/model.safetensors"][:-7]
    made["foreign.safetensors"] = safetensors_bytes({"W": np.zeros(3)})
    return made


@pytest.mark.parametrize(("line", "told"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_ends_in_one_line_and_nothing_written(line: str, told: str, run: Run, mistakes: Path) -> None:
    before = sorted(mistakes.rglob("*"))
    line, told = (text.replace("{here}", mistakes.name) for text in (line, told))
    status, out, errors = run(*line.split())
    assert status == 2
    assert errors.startswith(f"graphgrad: {told}"), errors
    assert (mistakes / "net.py").read_text() == NET
    assert errors.count("\n") == 1
    assert "Traceback" not in out + errors
    assert [p for p in sorted(mistakes.rglob("*")) if "__pycache__" not in p.parts] == before


def test_what_would_fit_is_told_as_the_command_line_writes_it(run: Run, mistakes: Path) -> None:
    (mistakes / "either.csv").write_text("a;y\n1,234;2\n2,345;3\n")
    _, _, errors = run(*TRAIN.split(), "hole.csv", "--target", "y")
    assert "; --missing drop leaves such rows out, --missing impute takes a feature's" in errors
    _, _, errors = run("train", "auto-2-auto", "either.csv", "--target", "y")
    assert "'1,234' may be 1.234 or 1234; --decimal , makes it the former" in errors


@pytest.mark.parametrize(
    ("began", "now", "told"),
    [
        ("", "--early-stopping 3", "without --early-stopping, but --early-stopping 3 is asked for"),
        ("--early-stopping 4", "", "with --early-stopping 4, but no --early-stopping is asked for"),
        ("--early-stopping 4", "--early-stopping 3", "with --early-stopping 4, but --early-stopping 3 is asked for"),
        ("", "--seed 1", "with --seed 0, but --seed 1 is asked for"),
        ("--l2 0.5", "", "with --l2 0.5, but --l2 0 is asked for"),
        ("", "--clip-norm 2", "without --clip-norm, but --clip-norm 2 is asked for"),
        ("--batch-size 0", "", "with --batch-size 0, but --batch-size 32 is asked for"),
        ("--classes", "--classes --balanced", "without --balanced, but --balanced is asked for"),
        (
            "",
            "--optimizer sgd",
            "with --optimizer adam --alpha 0.001, but --optimizer sgd --alpha 0.01 is asked for",
        ),
    ],
)
def test_a_run_that_does_not_go_on_is_told_in_options(run: Run, here: Path, began: str, now: str, told: str) -> None:
    line = "train auto-2-auto good.csv --target y --epochs"
    assert run(*f"{line} 1 {began}".split())[0] == 0
    status, _, errors = run(*f"{line} 2 --resume {now}".split())
    assert (status, errors) == (
        2,
        f"graphgrad: graphgrad-run/model.safetensors: the run began {told}; it goes on with what it began with\n",
    )


def test_a_run_of_python_that_does_not_go_on_is_told(run: Run, here: Path) -> None:
    data = np.loadtxt("good.csv", delimiter=",", skiprows=1)
    (here / "graphgrad-run").mkdir()
    net = gg.feedforward([2, 2, 1], loss="mean_squared_error")
    model = here / "graphgrad-run" / "model.safetensors"
    gg.train(net, data[:, :2], data[:, 2:], epochs=1, dtype="float64", checkpoint=model)
    status, _, errors = run(*"train auto-2-auto good.csv --target y --resume".split())
    assert (status, errors.count("\n")) == (2, 1)
    assert "the run began with dtype='float64', but 'float32' is asked for; it goes on" in errors


def test_the_line_of_a_users_shape_error(run: Run, mistakes: Path) -> None:
    status, _, errors = run("check", "shape.py:net")
    assert status == 2
    assert "add of shapes (2,) and (3,)" in errors
    assert errors.rstrip().endswith("(in: net = g.input('x', (2,)) + g.input('y', (3,)))")


def test_a_directory_that_cannot_be_written_to(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # what a user who is not root is told
    for line, told in [
        ("draw 2-3-1:tanh -o a.dot", "-o a.dot: the directory . cannot be written to"),
        (f"{TRAIN} good.csv --target y --out run", "--out run: the directory "),
    ]:
        status, _, errors = run(*line.split())
        assert (status, errors.count("\n")) == (2, 1)
        assert errors.startswith(f"graphgrad: {told}")


def test_a_write_that_fails_leaves_the_old_file(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (here / "a.dot").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    assert run("draw", "2-3-1:tanh", "-o", "a.dot") == (2, "", "graphgrad: -o a.dot: No space left on device\n")
    assert (here / "a.dot").read_text() == "old"
    assert sorted(p.name for p in here.iterdir()) == ["a.dot", "good.csv", "net.py"]
    told = (2, "graphgrad: run/model.safetensors cannot be written: No space left on device\n")
    assert run(*f"{TRAIN} good.csv --target y --epochs 1 --out run".split())[::2] == told
    assert not (here / "run").exists()


def test_a_users_file_may_import_its_neighbours(run: Run, here: Path) -> None:
    (here / "sub").mkdir()
    (here / "sub" / "shared_by_two.py").write_text("width = 3\n")
    (here / "sub" / "main.py").write_text(
        "import graphgrad as gg\nfrom shared_by_two import width\nnet = gg.feedforward([2, width, 1], 'tanh')\n"
    )
    path = list(sys.path)
    assert run("check", "sub/main.py:net")[0] == 0
    assert sys.path == path


def test_a_file_that_cannot_be_read_is_told(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: object, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(loading.runpy, "run_path", denied)
        assert run("check", "net.py:net") == (2, "", "graphgrad: net.py cannot be read: Permission denied\n")
    monkeypatch.setattr(Path, "read_bytes", denied)
    assert run(*f"{TRAIN} good.csv --target y".split()) == (
        2,
        "",
        "graphgrad: good.csv cannot be read: Permission denied\n",
    )


def test_a_file_that_the_users_code_misses_is_told(run: Run, here: Path) -> None:
    (here / "net.py").write_text("import sys\nopen('weights.txt')\n")
    status, _, errors = run("check", "net.py:net")
    assert status == 2
    assert errors == (
        "graphgrad: net.py:2: FileNotFoundError: [Errno 2] No such file or directory: 'weights.txt' "
        "(in: open('weights.txt'))\n"
    )


def test_a_table_wants_a_network_with_one_input(run: Run, here: Path) -> None:
    (here / "net.py").write_text(NET + "two = gg.Network(loss=loss, inputs=[x, y])\n")
    status, _, errors = run(*"train net.py:two good.csv --target y".split())
    assert (status, errors) == (2, "graphgrad: training on a table wants a network with one input and a target\n")


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (MemoryError(), 2, "graphgrad: there is not enough memory for a network of this size\n"),
        (OSError(28, "No space left on device", "somewhere"), 2, "graphgrad: somewhere: No space left on device\n"),
    ],
)
def test_what_the_machine_lacks_is_told(
    error: Exception, status: int, told: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(loading, "parse_network", failing)
    assert run("check", "2-3-1:tanh") == (status, "", told)


def test_a_reader_that_has_gone_is_no_error(here: Path) -> None:
    """graphgrad check ... | head -c 0"""
    program = "import sys; from graphgrad.cli import main; sys.exit(main(['check', '2-3-1:tanh']))"
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parent.parent)}
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", program], env=environment, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
