"""The main job: what it writes and prints, and that training reaches what it should."""

import csv
import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file

import graphgrad as gg
from graphgrad import cli
from graphgrad import demo as main_job

WRITTEN = ["adam.safetensors", "curves.csv", "derivation.dot", "derivation.html", "derivation.svg"]
WRITTEN += ["gradient_descent.safetensors", "momentum.safetensors", "sgd.safetensors", "step.py"]


def test_the_split_is_fixed_and_stratified() -> None:
    data = main_job.digits_data()
    again = main_job.digits_data()
    for one, two in zip(data, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (data.X.shape, data.X_test.shape) == ((1438, 64), (359, 64))
    counts = np.bincount(data.Y_test) / np.bincount(np.concatenate([data.Y, data.Y_test]))
    assert np.all(np.abs(counts - 0.2) < 0.005)
    assert abs(float(data.X.mean())) < 1e-5
    assert abs(float(data.X.std()) - 1) < 1e-5


Capture = pytest.CaptureFixture[str]
ROW = r"^(gradient descent|SGD|momentum|Adam) +(\S+) +(\d+) +([\d.]+) +([\d.]+)% +([\d.]+) ms$"


def test_the_demo_goes_the_whole_way(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    short = tuple(main_job.Method(m.name, m.title, 3, m.batch_size, m.optimizer) for m in main_job.METHODS)
    monkeypatch.setattr(main_job, "METHODS", short)
    monkeypatch.setenv("PATH", "")  # without Graphviz
    out = tmp_path / "results" / "first"
    assert cli.main(["demo", "--out", str(out), "--epochs", "4"]) == 0
    told = capsys.readouterr().out
    assert "64-128-64-10, relu, cross-entropy: 17,226 parameters" in told
    assert f"drawn     {out / 'derivation.svg'}; {out / 'derivation.html'} steps through it" in told
    assert (out / "derivation.svg").read_text(encoding="utf-8").startswith("<svg xmlns=")
    assert (out / "derivation.dot").read_text(encoding="utf-8").startswith("digraph picture {")
    assert (out / "derivation.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    rows = re.findall(ROW, told, re.MULTILINE)
    assert [(title, batch, steps) for title, batch, steps, *_ in rows] == [
        ("gradient descent", "all", "3"),
        ("SGD", "32", "180"),
        ("momentum", "32", "180"),
        ("Adam", "32", "180"),
    ]
    assert sorted(p.name for p in out.iterdir() if p.name != "curves.svg") == WRITTEN
    for title, _, _, loss, accuracy, _ in rows[1:]:
        assert float(loss) < 0.6, title
        assert float(accuracy) > 80, title
    curves = list(csv.DictReader((out / "curves.csv").read_text().splitlines()))
    assert [r["method"] for r in curves] == ["gradient_descent"] * 3 + ["sgd"] * 4 + ["momentum"] * 4 + ["adam"] * 4
    assert f"{float(curves[-1]['loss']):.4f}" == rows[-1][3]
    assert {"epoch", "loss", "validation_loss", "validation_accuracy"} <= curves[0].keys()


def test_the_saved_parameters_and_step_are_the_trained_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = main_job.METHODS[3]
    monkeypatch.setattr(main_job, "METHODS", (method,))
    (result,) = main_job.run_demo(tmp_path, seed=0, epochs=2, say=lambda text: None)
    saved = load_file(tmp_path / "adam.safetensors")
    spec = importlib.util.spec_from_file_location("step", tmp_path / "step.py")
    assert spec is not None
    assert spec.loader is not None
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)
    data = main_job.digits_data()
    found = np.argmax(alone.predict(data.X_test, saved), axis=1)
    assert np.mean(found == data.Y_test) == pytest.approx(result.accuracy, abs=0.01)
    state = alone.initial_state(alone.initial_parameters(0))
    trainer = gg.Trainer(main_job.digits_network(), gg.Adam(), seed=0)
    for k in range(5):
        batch = slice(32 * k, 32 * k + 32)
        mine = alone.step(data.X[batch], data.Y[batch], state)
        trainers = trainer.step(data.X[batch], data.Y[batch])
        assert mine == pytest.approx(trainers, rel=1e-6)  # the trainer keeps m and v in units of their own


def test_an_interrupt_ends_the_demo(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main_job, "train_by", lambda *_, **__: SimpleNamespace(interrupted=True))
    assert cli.main(["demo", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err.strip() == "graphgrad: interrupted"


def test_without_matplotlib_there_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main_job.curves_svg([]) is None


@pytest.mark.slow
@pytest.mark.parametrize("method", main_job.METHODS[1:], ids=lambda m: m.name)
def test_the_mean_accuracy_over_five_seeds(method: main_job.Method) -> None:
    """SGD, momentum and Adam find 97 % of the test images' digits, as the mean over five seeds."""
    data, net = main_job.digits_data(), main_job.digits_network()
    found = [main_job.accuracy(main_job.train_by(method, net, data, seed), data) for seed in range(5)]
    assert np.mean(found) >= 0.97, found
