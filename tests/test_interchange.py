"""Parameters from elsewhere and to elsewhere: each form there and back, scikit-learn's own predictions, wrong inputs.

The environment of the tests has no PyTorch (it is large, and only its exact release is compared with), so what stands
for its tensors and modules here has the few methods of theirs that are called.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

import graphgrad as gg
from graphgrad.arrays import ParameterError

ROOT = Path(__file__).resolve().parent.parent
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))


class FakeTensor:
    """What is called of a torch.Tensor: its numbers are had by detach, cpu and numpy in turn, and not otherwise."""

    def __init__(self, array: Any, done: tuple[str, ...] = ()) -> None:
        self._array, self._done = np.asarray(array), done
        self.shape, self.dtype = self._array.shape, f"torch.{self._array.dtype.name}"

    def detach(self) -> FakeTensor:
        return FakeTensor(self._array, (*self._done, "detach"))

    def cpu(self) -> FakeTensor:
        return FakeTensor(self._array, (*self._done, "cpu"))

    def numpy(self) -> np.ndarray:
        assert self._done == ("detach", "cpu")
        return self._array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


class NoNumbers(FakeTensor):
    def __init__(self, array: Any, dtype: str, told: str) -> None:
        super().__init__(array)
        self.dtype, self._told = dtype, told

    def detach(self) -> FakeTensor:
        raise TypeError(self._told)


class FakeModule:
    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state

    def state_dict(self) -> dict[str, Any]:
        return self._state

    def parameters(self) -> Iterator[Any]:
        return iter(self._state.values())


def network() -> gg.Network:
    return gg.feedforward([2, 3, 1])


def numbers() -> dict[str, np.ndarray]:
    """Parameters of `network`, each number another."""
    return {
        "W1": np.arange(6.0).reshape(3, 2) - 0.5,
        "b1": np.array([10.25, 11, 12]),
        "W2": np.array([[20, 21, 22.5]]),
        "b2": np.array([-30.0]),
    }


def torch_names(tensors: bool = False) -> dict[str, Any]:
    values = [FakeTensor(a) if tensors else a for a in numbers().values()]
    return dict(zip(("0.weight", "0.bias", "2.weight", "2.bias"), values, strict=True))


def line() -> gg.Network:
    """p = x · w + b, in float32: a vector and a number for parameters."""
    g = gg.Graph()
    x, y = g.input("x", ("N", 2), "float32"), g.input("y", ("N",), "float32")
    p = x @ g.parameter("w", (2,), "float32") + g.parameter("b", (), "float32")
    return gg.Network(loss=gg.mean((p - y) ** 2), inputs=[x], target=y, prediction=p)


def same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert list(found) == list(wanted)
    for name, array in found.items():
        np.testing.assert_array_equal(array, wanted[name], strict=True)


# ---------------------------------------------------------------------------------------------------------------------
# Each form
# ---------------------------------------------------------------------------------------------------------------------


def test_a_dict_by_the_networks_names_in_any_order_is_copied() -> None:
    given = dict(reversed(numbers().items()))
    found = gg.parameters_from(network(), given)
    same(found, numbers())
    found["W1"][0, 0] = 99
    assert given["W1"][0, 0] == -0.5
    assert all(type(a) is np.ndarray and a.base is None and a.flags.writeable for a in found.values())


def test_lists_integers_and_other_floats_become_the_networks_dtype() -> None:
    given = {"w": [1, 2], "b": np.int64(3)}
    same(gg.parameters_from(line(), given), {"w": np.array([1, 2], "f4"), "b": np.array(3, "f4")})
    given = {"w": np.array([0.1, 2], ">f8"), "b": np.float16(0.1)}
    same(gg.parameters_from(line(), given), {"w": np.array([0.1, 2], "f4"), "b": np.array(np.float16(0.1), "f4")})
    transposed = numbers() | {"W1": np.asfortranarray(numbers()["W1"])}
    assert gg.parameters_from(network(), transposed)["W1"].flags.c_contiguous


def test_what_is_returned_trains_and_evaluates() -> None:
    net, p = network(), gg.parameters_from(network(), torch_names())
    x = RNG.normal(size=(5, 2))
    hidden = np.maximum(x @ numbers()["W1"].T + numbers()["b1"], 0)
    wanted = hidden @ numbers()["W2"].T - 30
    np.testing.assert_allclose(gg.evaluate(net.prediction, x=x, **p), wanted, rtol=1e-13)
    trainer = gg.Trainer(net, parameters=p, dtype="float64")
    np.testing.assert_allclose(trainer.predict(x), wanted, rtol=1e-13)
    same(gg.parameters_from(net, trainer.parameters), numbers())


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".NPZ"])
@pytest.mark.parametrize("name", ["two layers", "a number"])
def test_a_file_holds_what_was_saved(suffix: str, name: str, tmp_path: Path) -> None:
    net, given = (network(), numbers()) if name == "two layers" else (line(), line().initialize(3))
    path = tmp_path / f"p{suffix}"
    gg.save_parameters(given, path)
    same(gg.parameters_from(net, path), given)
    same(gg.parameters_from(net, str(path)), given)
    assert os.listdir(tmp_path) == [path.name]
    written = path.read_bytes()
    gg.save_parameters(given, path)
    assert path.read_bytes() == written


def test_saved_files_are_those_that_others_read_and_the_other_way(tmp_path: Path) -> None:
    gg.save_parameters(torch_names(tensors=True), tmp_path / "p.safetensors")
    found = load_file(tmp_path / "p.safetensors")
    same({name: found[name] for name in torch_names()}, torch_names())
    odd = {"file": np.arange(3, dtype=">i2"), "allow_pickle": np.array(2.5, "f4"), "a/0.W": np.ones((2, 2)).T}
    gg.save_parameters(odd, tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as found:
        same({name: found[name] for name in found}, odd | {"file": np.arange(3, dtype="i2")})
    np.savez_compressed(tmp_path / "q.npz", **numbers())
    same(gg.parameters_from(network(), tmp_path / "q.npz"), numbers())
    save_file(numbers(), tmp_path / "q.safetensors")
    same(gg.parameters_from(network(), tmp_path / "q.safetensors"), numbers())


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_what_cannot_be_written_leaves_the_old_file(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"p{suffix}"
    gg.save_parameters(numbers(), path)

    def full(source: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left on device"):
        gg.save_parameters({"W1": [1]}, path)
    with pytest.raises(ParameterError):
        gg.save_parameters(numbers() | {"b2": [np.inf]}, path)
    same(gg.parameters_from(network(), path), numbers())
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("tensors", [True, False])
def test_a_state_dict_is_matched_in_order(tensors: bool) -> None:
    same(gg.parameters_from(network(), torch_names(tensors)), numbers())
    same(gg.parameters_from(network(), FakeModule(torch_names(tensors))), numbers())


def test_a_state_dict_with_the_networks_names_is_matched_by_name() -> None:
    state = {name: FakeTensor(a) for name, a in reversed(numbers().items())}
    same(gg.parameters_from(network(), FakeModule(state)), numbers())


def test_a_networks_own_parameter_may_be_called_as_a_buffer_of_torch() -> None:
    g = gg.Graph()
    net = gg.Network(loss=gg.sum(g.parameter("running_mean", (2,)) * g.input("x", (2,))), inputs=[g["x"]])
    same(gg.parameters_from(net, {"running_mean": [1, 2]}), {"running_mean": np.array([1.0, 2])})


def test_an_npz_keeps_the_order_of_a_state_dict(tmp_path: Path) -> None:
    named = dict(zip(("in.W", "in.b", "a.W", "a.b"), numbers().values(), strict=True))
    np.savez(tmp_path / "p.npz", **named)
    same(gg.parameters_from(network(), tmp_path / "p.npz"), numbers())
    np.savez(tmp_path / "p.npz", *numbers().values())
    same(gg.parameters_from(network(), tmp_path / "p.npz"), numbers())


def test_in_safetensors_the_numbers_of_layers_give_the_order(tmp_path: Path) -> None:
    """By text, 10.weight would come before 2.weight, and all shapes would fit: the layers are equally wide."""
    net = gg.feedforward([3, 3, 3, 3])
    given = net.initialize(5)
    names = [f"net.{l}.{kind}" for l in (2, 7, 10) for kind in ("weight", "bias")]
    save_file(dict(zip(names, given.values(), strict=True)), tmp_path / "p.safetensors")
    same(gg.parameters_from(net, tmp_path / "p.safetensors"), given)
    one = gg.feedforward([3, 2])
    save_file({"bias": one.initialize(1)["b1"], "weight": one.initialize(1)["W1"]}, tmp_path / "p.safetensors")
    same(gg.parameters_from(one, tmp_path / "p.safetensors"), one.initialize(1))


def test_a_state_dict_is_made_like_another() -> None:
    like = {name: np.zeros_like(a, "f4") for name, a in torch_names().items()}
    made = gg.to_state_dict(network(), numbers(), like=like)
    same(made, {name: a.astype("f4") for name, a in torch_names().items()})
    same(gg.parameters_from(network(), made), numbers())
    assert all(not a.any() for a in like.values())
    by_name = {name: np.zeros(a.shape, int) for name, a in reversed(numbers().items())}
    same(gg.to_state_dict(network(), torch_names(), like=FakeModule(by_name)), dict(reversed(numbers().items())))


def test_tensors_are_made_by_the_torch_that_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    torch: Any = ModuleType("torch")
    torch.Tensor, torch.from_numpy = FakeTensor, FakeTensor
    monkeypatch.setitem(sys.modules, "torch", torch)
    kinds = ["f4", "f8", "f2"]
    like = {name: FakeTensor(a.astype(k)) for (name, a), k in zip(torch_names().items(), [*kinds, "f4"], strict=True)}
    like["2.bias"].dtype = "torch.bfloat16"  # which NumPy does not have: load_state_dict rounds
    made = gg.to_state_dict(network(), numbers(), like=FakeModule(like))
    assert list(made) == list(like)
    assert all(type(t) is FakeTensor for t in made.values())
    assert [t.dtype for t in made.values()] == ["torch.float32", "torch.float64", "torch.float16", "torch.float64"]
    same(gg.parameters_from(network(), made), numbers())


def test_torch_and_scikit_learn_are_never_imported() -> None:
    code = (
        "import sys, numpy as np, graphgrad as gg\n"
        "net = gg.feedforward([2, 1])\n"
        "assert 'graphgrad.interchange' not in sys.modules\n"
        "p = gg.parameters_from(net, {'weight': [[1, 2]], 'bias': [3]})\n"
        "gg.to_sklearn(net, gg.to_state_dict(net, p, like=p))\n"
        "print([name for name in ('torch', 'sklearn') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# ---------------------------------------------------------------------------------------------------------------------
# scikit-learn
# ---------------------------------------------------------------------------------------------------------------------

ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "logistic": "sigmoid", "identity": "identity"}


def fitted(kind: type, targets: Any, activation: str = "relu", **settings: Any) -> Any:
    """An MLP after a few epochs: it need not be good, but its biases must be away from 0."""
    mlp = kind(
        hidden_layer_sizes=(7, 5),
        activation=activation,
        max_iter=15,
        learning_rate_init=0.05,
        random_state=0,
        **settings,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mlp.fit(X, targets)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("classes", [2, 3])
def test_a_classifiers_predictions_are_the_networks(activation: str, classes: int) -> None:
    mlp = fitted(MLPClassifier, RNG.permutation(60) % classes, activation)
    outputs, loss = (1, "binary_cross_entropy") if classes == 2 else (3, "cross_entropy")
    net = gg.feedforward([4, 7, 5, outputs], ACTIVATIONS[activation], loss)
    p = gg.parameters_from(net, mlp)
    found = gg.evaluate(net.prediction, x=X, **p)
    wanted = mlp.predict_proba(X)
    np.testing.assert_allclose(found, wanted if classes == 3 else wanted[:, 1:], rtol=0, atol=1e-12)
    same(gg.parameters_from(net, (mlp.coefs_, mlp.intercepts_)), p)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_regressors_predictions_are_the_networks(activation: str, outputs: int) -> None:
    mlp = fitted(MLPRegressor, RNG.normal(size=(60, outputs)).squeeze(), activation)
    net = gg.feedforward([4, 7, 5, outputs], ACTIVATIONS[activation])
    found = gg.evaluate(net.prediction, x=X, **gg.parameters_from(net, mlp))
    np.testing.assert_allclose(found, mlp.predict(X).reshape(60, outputs), rtol=0, atol=1e-12)


def test_a_pair_goes_there_and_back() -> None:
    coefs, intercepts = gg.to_sklearn(network(), numbers())
    assert [a.shape for a in (*coefs, *intercepts)] == [(2, 3), (3, 1), (3,), (1,)]
    np.testing.assert_array_equal(coefs[0], numbers()["W1"].T)
    assert all(a.flags.c_contiguous for a in coefs)
    same(gg.parameters_from(network(), (coefs, intercepts)), numbers())
    same(gg.parameters_from(network(), [tuple(coefs), intercepts]), numbers())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fitted_estimator_takes_a_networks_parameters(dtype: str) -> None:
    labels = np.array(["no", "yes"])[RNG.permutation(60) % 2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mlp = MLPClassifier((8,), activation="tanh", max_iter=1, random_state=0).fit(X.astype(dtype), labels)
    net = gg.feedforward([4, 8, 1], "tanh", "binary_cross_entropy")
    p, old = net.initialize(9) | {"b2": np.array([0.5])}, mlp.coefs_[0].copy()
    coefs, intercepts = gg.to_sklearn(net, p, mlp)
    assert mlp.coefs_ is coefs
    assert mlp.intercepts_ is intercepts
    assert {a.dtype.name for a in (*coefs, *intercepts)} == {dtype}
    wanted = gg.evaluate(net.prediction, x=X, **p)[:, 0]
    np.testing.assert_allclose(
        mlp.predict_proba(X.astype(dtype))[:, 1], wanted, atol=1e-12 if dtype == "float64" else 1e-6
    )
    assert list(mlp.predict(X.astype(dtype)) == "yes") == list(wanted > 0.5)
    mlp.partial_fit(X.astype(dtype), labels)  # it goes on from what it was given
    moved = np.abs(mlp.coefs_[0] - p["W1"].T).max()
    assert 0 < moved < 0.01 < np.abs(old - p["W1"].T).max()
    assert p["W1"].tobytes() == net.initialize(9)["W1"].tobytes()


def test_an_estimator_of_other_widths_is_left_as_it_was() -> None:
    mlp = fitted(MLPRegressor, RNG.normal(size=60))
    coefs, before = mlp.coefs_, [a.copy() for a in mlp.coefs_]
    net = gg.feedforward([4, 5, 7, 1])
    with pytest.raises(ParameterError, match=r"gg\.feedforward\(\[4, 7, 5, 1\], \.\.\.\) would fit$"):
        gg.to_sklearn(net, net.initialize(), mlp)
    assert mlp.coefs_ is coefs
    for a, b in zip(before, coefs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_network_of_ones_own_may_make_all_matrices_first() -> None:
    g = gg.Graph()
    x, y = g.input("x", ("N", 2)), g.input("y", ("N", 1))
    V, W = g.parameter("V", (3, 2)), g.parameter("W", (1, 3))
    b, c = g.parameter("b", (3,)), g.parameter("c", (1,))
    net = gg.Network(loss=gg.mean((gg.tanh(x @ V.T + b) @ W.T + c - y) ** 2), inputs=[x], target=y)
    named = dict(zip("VbWc", numbers().values(), strict=True))
    pair = gg.to_sklearn(net, named)
    same(gg.parameters_from(network(), pair), numbers())
    same(gg.parameters_from(net, pair), {name: named[name] for name in "VWbc"})


# ---------------------------------------------------------------------------------------------------------------------
# Translations between others
# ---------------------------------------------------------------------------------------------------------------------


def test_every_source_leads_to_every_destination(tmp_path: Path) -> None:
    net = gg.feedforward([4, 7, 5, 3], "tanh", "cross_entropy")
    mlp = fitted(MLPClassifier, np.arange(60) % 3, "tanh")
    like = {f"layers.{l}.{kind}": np.zeros(0) for l in range(3) for kind in ("weight", "bias")}
    like = dict(zip(like, map(np.zeros_like, net.initialize().values()), strict=True))
    state = gg.to_state_dict(net, mlp, like=like)
    np.testing.assert_array_equal(state["layers.1.weight"], mlp.coefs_[1].T)
    gg.save_parameters(state, tmp_path / "p.safetensors")
    coefs, intercepts = gg.to_sklearn(net, tmp_path / "p.safetensors")
    for a, b in zip([*coefs, *intercepts], [*mlp.coefs_, *mlp.intercepts_], strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


# ---------------------------------------------------------------------------------------------------------------------
# What does not fit
# ---------------------------------------------------------------------------------------------------------------------

HAS = "the network has W1 (3, 2), b1 (3,), W2 (1, 3), b2 (1,)"
HAS_4 = "the network has 4 parameters, W1 (3, 2), b1 (3,), W2 (1, 3), b2 (1,)"
NAMED = "a mapping from names to arrays, a .safetensors or .npz file, a torch module or its state_dict"
FORMS = f"{NAMED}, a fitted MLP of scikit-learn, or its pair (coefs_, intercepts_)"
UNFITTED = MLPClassifier()


def without(name: str) -> dict[str, Any]:
    return {n: a for n, a in numbers().items() if n != name}


def masked() -> Any:
    return np.ma.MaskedArray(numbers()["W1"], mask=np.eye(3, 2))


def pair() -> tuple[list[Any], list[Any]]:
    return gg.to_sklearn(network(), numbers())


WRONG: dict[str, tuple[Any, str]] = {
    # what it is
    "nothing": (None, f"parameters come from {FORMS}, but NoneType was given"),
    "an array": (np.zeros(13), f"parameters come from {FORMS}, but ndarray was given"),
    "arrays without names": (list(numbers().values()), f"parameters come from {FORMS}, but list was given"),
    "parameters() of a module": (iter([]), f"parameters come from {FORMS}, but list_iterator was given"),
    "a class": (FakeModule, f"parameters come from {FORMS}, but type was given"),
    "a trainer": (
        gg.Trainer(network()),
        f"parameters come from {FORMS}, but Trainer was given; its .parameters would fit",
    ),
    "an MLP that is not fitted": (
        UNFITTED,
        f"parameters come from {FORMS}, but MLPClassifier was given, which is not fitted and has no coefs_ yet",
    ),
    "a checkpoint around it": (
        {"epoch": 3, "model": torch_names()},
        "model is no array but a mapping; if it holds the parameters, it alone would fit",
    ),
    "numbers for names": (
        dict(enumerate(numbers().values())),
        "parameters are given by name, but 0 is a key of the mapping",
    ),
    # names
    "an empty dict": ({}, f"{HAS_4}, but 0 were found: nothing"),
    "one missing": (without("b2"), f"{HAS}, but b2 missing"),
    "one too many": (numbers() | {"b3": [1]}, f"{HAS}, but b3 unknown"),
    "another's name": (without("b2") | {"B2": [-30]}, f"{HAS}, but b2 missing and B2 unknown"),
    "a bias less": (
        {n: a for n, a in torch_names().items() if n != "0.bias"},
        f"{HAS_4}, but 3 were found: 0.weight (3, 2), 2.weight (1, 3), 2.bias (1,)",
    ),
    "batch normalisation": (
        {**torch_names(), "1.running_mean": np.zeros(3), "1.num_batches_tracked": np.array(7)},
        "1.running_mean, 1.num_batches_tracked: what a layer has counted or averaged is no parameter, and the network "
        "has no place for it; it has W1 (3, 2), b1 (3,), W2 (1, 3), b2 (1,)",
    ),
    # shapes
    "a transposed matrix": (
        numbers() | {"W1": numbers()["W1"].T},
        "W1 is (2, 3) where (3, 2) is wanted (its transpose would fit)",
    ),
    "transposed matrices of a module": (
        {name: a.T for name, a in torch_names().items()},
        "0.weight is (2, 3) where W1 is (3, 2) (its transpose would fit), "
        "2.weight is (3, 1) where W2 is (1, 3) (its transpose would fit)",
    ),
    "another width": (
        torch_names() | {"0.weight": np.zeros((4, 2)), "0.bias": np.zeros(4)},
        "0.weight is (4, 2) where W1 is (3, 2), 0.bias is (4,) where b1 is (3,)",
    ),
    "a column for a bias": (
        numbers() | {"b1": np.zeros((3, 1))},
        "b1 is (3, 1) where (3,) is wanted (reshaped to (3,) it would fit)",
    ),
    "each other's names": (
        numbers() | {"W1": numbers()["W2"], "W2": numbers()["W1"]},
        "W1 is (1, 3) where (3, 2) is wanted, W2 is (3, 2) where (1, 3) is wanted",
    ),
    "another order": (
        dict(reversed(torch_names().items())),
        "2.bias is (1,) where W1 is (3, 2), 2.weight is (1, 3) where b1 is (3,) (reshaped to (3,) it would fit), "
        "0.bias is (3,) where W2 is (1, 3) (reshaped to (1, 3) it would fit), 0.weight is (3, 2) where b2 is (1,); "
        "in another order they would fit, which a mapping by the network's names tells",
    ),
    # numbers
    "ragged rows": (numbers() | {"W1": [[1, 2], [3]]}, "W1 is no array: its rows have different lengths"),
    "not a number": (
        torch_names() | {"2.weight": [[1, np.nan, np.inf]]},
        "2.weight is nan at (0, 1) in float64; every number must be finite",
    ),
    "complex numbers": (
        numbers() | {"b1": np.ones(3) + 0j},
        "b1 is complex128; floats or integers are wanted",
    ),
    "truth values": (numbers() | {"b1": [True] * 3}, "b1 is bool; floats or integers are wanted"),
    "text": (numbers() | {"b2": np.array(["1"])}, "b2 is str32; floats or integers are wanted"),
    "objects": (numbers() | {"b2": np.array([None])}, "b2 is object; floats or integers are wanted"),
    "a mask": (
        numbers() | {"W1": masked()},
        "W1 is a masked array, whose mask would be lost; W1.filled(0.0) would fit",
    ),
    "a tensor of a graph": (
        dict(zip(numbers(), network().parameters, strict=True)),
        "W1 is a Tensor of a graph, which holds no numbers; an array would fit",
    ),
    "bfloat16": (
        torch_names() | {"0.bias": NoNumbers(np.zeros(3), "torch.bfloat16", "Got unsupported ScalarType BFloat16")},
        "0.bias cannot become an array: Got unsupported ScalarType BFloat16; as float32 it would fit",
    ),
    "no data": (
        torch_names() | {"0.bias": NoNumbers(np.zeros(3), "torch.float32", "Cannot copy out of meta tensor\nsecond")},
        "0.bias cannot become an array: Cannot copy out of meta tensor",
    ),
    # scikit-learn
    "another MLP": (
        (([np.zeros((2, 5)), np.zeros((5, 1))]), [np.zeros(5), np.zeros(1)]),
        "coefs_[0].T is (5, 2) where W1 is (3, 2), intercepts_[0] is (5,) where b1 is (3,), "
        "coefs_[1].T is (1, 5) where W2 is (1, 3); gg.feedforward([2, 5, 1], ...) would fit",
    ),
    "an MLP of other depth": (
        ([np.zeros((2, 1))], [np.zeros(1)]),
        f"{HAS_4}, but 2 were found: coefs_[0].T (1, 2), intercepts_[0] (1,); gg.feedforward([2, 1], ...) would fit",
    ),
    "an intercept too long": (
        (pair()[0], [np.zeros(4), np.zeros(1)]),
        "intercepts_[0] is (4,) where b1 is (3,)",
    ),
    "coefs_ as the network's": (
        ([W.T for W in pair()[0]], pair()[1]),
        "coefs_[0].T is (2, 3) where W1 is (3, 2) (its transpose would fit), "
        "coefs_[1].T is (3, 1) where W2 is (1, 3) (its transpose would fit)",
    ),
    "an intercept less": (
        (pair()[0], pair()[1][:1]),
        "a layer has a matrix and a bias, but 2 coefs_ and 1 intercepts_ were given",
    ),
    "an MLP that diverged": (
        (pair()[0], [pair()[1][0], np.array([np.nan])]),
        "intercepts_[1] is nan at (0,) in float64; every number must be finite",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_told(case: str) -> None:
    source, message = WRONG[case]
    with pytest.raises(ParameterError) as error:
        gg.parameters_from(network(), source)
    assert str(error.value) == message


def told(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(ParameterError) as error:
        call(*arguments, **named)
    return str(error.value)


def test_what_else_does_not_fit() -> None:
    assert told(gg.parameters_from, [2, 3], {}) == "parameters are of a Network, but list was given as net"
    large = {"w": [1e39, 0], "b": 0}
    assert told(gg.parameters_from, line(), large) == "w is inf at (0,) in float32; every number must be finite"
    assert told(gg.parameters_from, line(), {"w": [1, 2], "b": np.nan}) == (
        "b is nan in float32; every number must be finite"
    )
    square = gg.feedforward([2, 2, 3])
    turned = {name: a.T for name, a in square.initialize().items()}
    assert told(gg.parameters_from, square, turned) == (
        "W2 is (2, 3) where (3, 2) is wanted (its transpose would fit); "
        "of a square matrix no shape tells which way it lies"
    )


def test_two_classes_are_one_output_in_scikit_learn() -> None:
    mlp = fitted(MLPClassifier, np.arange(60) % 2)
    assert told(gg.parameters_from, gg.feedforward([4, 7, 5, 2], loss="cross_entropy"), mlp) == (
        "coefs_[2].T is (1, 5) where W3 is (2, 5), intercepts_[2] is (1,) where b3 is (2,); "
        "gg.feedforward([4, 7, 5, 1], ...) would fit, "
        "with binary_cross_entropy: an MLPClassifier of two classes has one output"
    )


def test_networks_and_estimators_that_are_no_mlps() -> None:
    assert told(gg.to_sklearn, line(), {"w": [1, 2], "b": 3}) == (
        "an MLP of scikit-learn has a matrix and a bias a layer, W (outputs, inputs) and b (outputs), "
        "but the network has w (2,), b ()"
    )
    g = gg.Graph()
    x, y = g.input("x", ("N", 2)), g.input("y", ("N", 3))
    other_way = gg.mean((x @ g.parameter("W", (2, 3)) + g.parameter("b", (3,)) - y) ** 2)
    net = gg.Network(loss=other_way, inputs=[x], target=y)
    assert told(gg.parameters_from, net, ([np.ones((2, 3))], [np.ones(3)])).endswith("the network has W (2, 3), b (3,)")
    g = gg.Graph()
    x, y = g.input("x", ("N", 2)), g.input("y", ("N", 3))
    one, other = [x @ g.parameter(f"W{i}", (3, 2)).T + g.parameter(f"b{i}", (3,)) for i in (1, 2)]
    net = gg.Network(loss=gg.mean((one * other - y) ** 2), inputs=[x], target=y)
    assert told(gg.to_sklearn, net, net.initialize()).endswith("the network has W1 (3, 2), b1 (3,), W2 (3, 2), b2 (3,)")
    assert told(gg.to_sklearn, network(), numbers(), UNFITTED) == (
        "a fitted MLP of scikit-learn is wanted, but MLPClassifier was given, which is not fitted and has no coefs_ yet"
    )
    assert told(gg.to_sklearn, network(), numbers(), pair()) == (
        "a fitted MLP of scikit-learn is wanted, but tuple was given, which has no coefs_ and intercepts_"
    )


def test_what_a_state_dict_cannot_be_like() -> None:
    to = gg.to_state_dict
    assert told(to, network(), numbers(), like=UNFITTED).startswith(f"like is {NAMED}, but MLPClassifier was given")
    few = {"weight": np.zeros((3, 2)), "bias": np.zeros(3)}
    assert told(to, network(), numbers(), like=few) == f"{HAS_4}, but 2 were found: weight (3, 2), bias (3,)"
    half = {name: np.zeros(a.shape, "f2") for name, a in torch_names().items()}
    large = numbers() | {"b2": [1e5]}
    assert told(to, network(), large, like=half) == "2.bias is inf at (0,) in float16; every number must be finite"


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    save, path = gg.save_parameters, tmp_path / "p.npz"
    assert told(save, gg.Trainer(network()), path) == (
        "a mapping from names to arrays is saved, but Trainer was given; its .parameters would fit"
    )
    assert told(save, {1: [2.0]}, path) == "arrays are saved by name, but 1 is a key of the mapping"
    assert told(save, {"W": np.array([{}])}, path) == "W is object; floats or integers are wanted"
    assert told(save, {"W": [1.0, np.nan]}, path) == "W is nan at (1,) in float64; every number must be finite"
    if np.dtype(np.longdouble).itemsize > 8:
        assert told(save, {"W": np.ones(2, np.longdouble)}, path) == f"W is {np.dtype('g').name}; float64 would fit"
    for name in ("__metadata__", "W\0"):
        assert told(save, {name: [1.0]}, path) == f"{path}: {name!r} cannot be a name in a file of arrays"
    assert told(save, numbers(), "p.json") == "p.json: parameters stand in a .safetensors or a .npz file"
    with pytest.raises(OSError, match="No such file or directory"):
        save(numbers(), tmp_path / "nowhere" / "p.npz")
    assert os.listdir(tmp_path) == []


def test_a_safetensors_file_of_layers_with_names_of_their_own(tmp_path: Path) -> None:
    """Shapes may all fit in alphabetical order and still be another layer's."""
    file = tmp_path / "p.safetensors"
    net = gg.feedforward([3, 3, 3])
    names = ("hidden.weight", "hidden.bias", "ahead.weight", "ahead.bias")
    save_file(dict(zip(names, net.initialize().values(), strict=True)), file)
    assert told(gg.parameters_from, net, file) == (
        f"{file} has ahead.bias, ahead.weight, hidden.bias, hidden.weight where the network has W1, b1, W2, b2, and a "
        "safetensors file keeps no order that would tell which is which; a mapping by the network's names, or the "
        "state_dict of the module that has loaded the file, would fit"
    )
    save_file({"1.running_var": np.ones(3), "0.weight": np.ones((3, 3))}, file)
    assert told(gg.parameters_from, net, file).startswith("1.running_var: what a layer has counted or averaged")
    save_file({f"{l}.{kind}": np.ones(3) for l in (0, 1) for kind in ("scale", "bias")}, file)
    assert "keeps no order" in told(gg.parameters_from, net, file)


def test_the_file_of_a_run_gives_its_parameters(tmp_path: Path) -> None:
    """What the optimizer remembers stands beside them, and the parameters may have a rank of 0."""
    g = gg.Graph()
    x, w, b = g.input("x", ("N", 2)), g.parameter("w", (2,)), g.parameter("b")
    net = gg.Network(loss=gg.mean((x @ w + b) ** 2), inputs=[x])
    run = gg.train(net, np.ones((8, 2)), epochs=1, dtype="float64")
    run.save(tmp_path / "run.safetensors")
    found = gg.parameters_from(net, tmp_path / "run.safetensors")
    assert found.keys() == run.parameters.keys()
    assert all(np.array_equal(a, run.parameters[n]) and a.shape == run.parameters[n].shape for n, a in found.items())
