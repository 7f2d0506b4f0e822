"""The file that stands alone: it runs where only numpy is, and computes what graphgrad computes."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import graphgrad as gg
from graphgrad.codegen.literals import array_text
from graphgrad.errors import GraphgradError
from graphgrad.export import module_text

Array = npt.NDArray[Any]


def run_alone(path: Path, code: str, **arrays: Array) -> Any:
    """What `code` leaves in `result`, run by an isolated Python that sees the module, numpy and no graphgrad."""
    data = path.with_suffix(".npz")
    np.savez(data, **arrays)
    program = f"""
        import importlib.util, json, sys
        sys.path[:] = [p for p in sys.path if p.endswith(("site-packages", "dist-packages")) or "python3" in p]
        import numpy as np
        class Blocked:
            def find_spec(self, name, *rest):
                if name.split(".")[0] == "graphgrad":
                    raise ImportError(name)
        sys.meta_path.insert(0, Blocked())
        spec = importlib.util.spec_from_file_location("alone", {str(path)!r})
        alone = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(alone)
        data = dict(np.load({str(data)!r}))
        %s
        foreign = [m for m in ("graphgrad", "sympy", "networkx") if m in sys.modules]
        print(json.dumps([foreign, result]))
    """
    whole = textwrap.dedent(program) % textwrap.dedent(code).strip()
    done = subprocess.run([sys.executable, "-I", "-c", whole], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    foreign, result = json.loads(done.stdout)
    assert foreign == []
    return result


def loaded(net: Any, **options: Any) -> dict[str, Any]:
    """The module's namespace, in this process."""
    namespace: dict[str, Any] = {"__name__": "alone"}
    exec(compile(module_text(net, **options), "alone.py", "exec"), namespace)
    return namespace


@pytest.mark.parametrize(
    "array",
    [
        np.array([0.0, -0.0]),
        np.full((2, 2), -0.0, np.float32),
        np.full(3, np.nan),
        np.array([[1.5, np.inf], [-np.inf, 1e-300]]),
        np.zeros((0, 3), np.float32),
        np.array([True, False]),
        np.full((2, 1), True),
        np.int64(3) * np.ones((), np.int64),
        np.arange(3000).reshape(3, 1000) / 7,
        np.eye(60, dtype=np.float32),
        np.eye(2, 5, dtype=bool),
        np.eye(2) * -1,
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_an_array_is_written_to_the_bit(array: Array) -> None:
    again = eval(array_text(array), {"np": np})
    assert (again.dtype, again.shape, again.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_a_module_of_many_classes_is_no_longer_than_one_of_few() -> None:
    few, many = (len(module_text(gg.feedforward([4, n], loss="cross_entropy"))) for n in (10, 300))
    assert many < few + 100


def digits_net() -> gg.Network:
    return gg.feedforward([6, 5, 4], activation="tanh", loss="cross_entropy")


def batch(n: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 6)), rng.integers(0, 4, n)


def reference(net: gg.Network, x: Array, y: Array, values: dict[str, Array]) -> list[Array]:
    d = gg.derive(net.loss, wrt=net.parameters)
    return gg.evaluate([net.loss, *(d[p] for p in net.parameters)], x=x, y=y, **values)


def test_loss_and_gradient_alone_are_those_of_the_derivation(tmp_path: Path) -> None:
    net = digits_net()
    gg.write_module(net, tmp_path / "net.py")
    values = net.initialize(3)
    for n in (1, 7):
        x, y = batch(n)
        code = """
            p = {n: data[n] for n in alone.PARAMETERS}
            loss, g = alone.loss_and_gradient(data["x"], data["y"], p)
            result = [loss, [g[n].tolist() for n in alone.PARAMETERS], alone.predict(data["x"], p).tolist()]
        """
        answers = run_alone(tmp_path / "net.py", code.replace("\n            ", "\n"), x=x, y=y, **values)
        loss, gradients, prediction = answers
        expected = reference(net, x, y, values)
        np.testing.assert_allclose(loss, expected[0], rtol=1e-12)
        for mine, theirs in zip(gradients, expected[1:], strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-14)
        assert net.prediction is not None
        np.testing.assert_allclose(prediction, gg.evaluate(net.prediction, x=x, **values), rtol=1e-12)


def test_a_single_output() -> None:
    """A bias of one element, which the step in memory takes as a number, is taken as it is in a file."""
    net = gg.feedforward([2, 3, 1], "tanh")
    module = loaded(net, optimizer=gg.SGD(0.1))
    x, y = np.ones((4, 2)), np.zeros((4, 1))
    state = module["initial_state"](module["initial_parameters"](0))
    assert module["step"](x, y, state) == pytest.approx(float(gg.evaluate(net.loss, x=x, y=y, **net.initialize(0))))


def test_constants_of_a_concatenation_are_there_in_each_step() -> None:
    """They are written once for each set of sizes, also where these take turns."""
    g = gg.Graph()
    x, W = g.input("x", ("N", 2)), g.parameter("W", (3, 4))
    beside = gg.concatenate([x, gg.broadcast_to(g.constant(np.array([1.0, 2.0])), (x.shape[0], 2))], axis=1)
    h = gg.concatenate([gg.tanh(beside @ W.T), g.constant(np.full((2, 3), 0.5))])
    net = gg.Network(loss=gg.mean(gg.tanh(h) ** 2), inputs=[x])
    module, trainer = loaded(net, optimizer=gg.SGD(0.1)), gg.Trainer(net, gg.SGD(0.1), dtype="float64", seed=5)
    state = module["initial_state"](module["initial_parameters"](5))
    for n in (4, 4, 7, 4, 7):
        x_batch = np.random.default_rng(n).normal(size=(n, 2))
        assert module["step"](x_batch, state) == pytest.approx(trainer.step(x_batch), rel=1e-12)


OPTIMIZERS = [gg.SGD(alpha=0.1), gg.Momentum(alpha=0.1), gg.Momentum(form="lecture"), gg.Adam(weight_decay=0.01)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_step_is_the_trainers(optimizer: Any) -> None:
    net = digits_net()
    module = loaded(net, optimizer=optimizer)
    trainer = gg.Trainer(net, optimizer, dtype="float64", seed=5)
    state = module["initial_state"](module["initial_parameters"](5))
    for k in range(20):
        x, y = batch(6 + k % 3, seed=k)
        assert module["step"](x, y, state) == pytest.approx(
            trainer.step(x, y), rel=1e-12
        )  # which keeps m in other units
    assert int(state["k"]) == 20
    for name, value in trainer.parameters.items():
        np.testing.assert_allclose(module["parameters_of"](state)[name], value, rtol=1e-11, atol=1e-14)


class PerTensor:
    """An optimizer that looks at whole tensors."""

    elementwise = False

    def update(self, theta: gg.Tensor, g: gg.Tensor, k: gg.Tensor, state: Any) -> dict[gg.Tensor, gg.Tensor]:
        m = state("m")
        new_m = 0.9 * m + g
        return {theta: theta - 0.1 * new_m / (1 + gg.sum(g * g)), m: new_m}


def test_a_step_of_an_optimizer_that_looks_at_whole_tensors() -> None:
    net = digits_net()
    module = loaded(net, optimizer=PerTensor())
    trainer = gg.Trainer(net, PerTensor(), dtype="float64", seed=1)
    state = module["initial_state"](module["initial_parameters"](1))
    x, y = batch(8)
    for _ in range(5):
        assert module["step"](x, y, state) == pytest.approx(
            trainer.step(x, y), rel=1e-12
        )  # whose values may lie turned
    assert {"W1", "b1", "m_W1", "m_b1"} <= state.keys()


RULES = [
    "auto",
    "zeros",
    "orthogonal",
    "he_uniform",
    "lecun",
    {"W1": "normal(0.5)", "b2": "uniform(0.1)"},
    lambda rng, shape: rng.random(shape),
]


@pytest.mark.parametrize("initial", RULES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initial_parameters_are_the_networks_to_the_last_bit(initial: Any, dtype: str) -> None:
    net = gg.feedforward([3, 5, 2], "tanh", initial=initial, dtype=dtype)
    module = loaded(net, seed=11)
    for seed in (11,) if callable(initial) else (0, 11):
        expected = net.initialize(seed)
        values = module["initial_parameters"](seed)
        assert list(values) == list(expected)
        for name, value in expected.items():
            assert values[name].dtype == value.dtype
            np.testing.assert_array_equal(values[name], value)
    for name, value in net.initialize(11).items():  # the default seed is the one that was asked for
        np.testing.assert_array_equal(module["initial_parameters"]()[name], value)


def test_a_scalar_tensor_alone() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N", 3)), g.parameter("w", (3,))
    loss = gg.sum(gg.exp(x @ w)).named("L")
    module = loaded(loss)
    value, gradient = module["loss_and_gradient"]([[1.0, 2.0, 3.0]], {"w": np.zeros(3)})
    assert value == 1.0
    np.testing.assert_array_equal(gradient["w"], [1.0, 2.0, 3.0])
    assert "predict" not in module


def test_sizes_that_are_no_plain_names() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("2*N + 1", "M")), g.parameter("w", ())
    y = g.input("y", ("N",))
    module = loaded(gg.sum(x) * w + gg.sum(y) * w)
    x_value = np.ones((7, 2))
    assert module["loss_and_gradient"](x_value, np.ones(3), {"w": np.array(2.0)})[0] == 34.0
    with pytest.raises(ValueError, match=r"^x has shape \(6, 2\), but \(5, 2\) is wanted$"):
        module["loss_and_gradient"](np.ones((6, 2)), np.ones(3), {"w": np.array(2.0)})


def test_a_size_that_no_shape_tells_is_refused() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N*M",)), g.parameter("w", ())
    with pytest.raises(GraphgradError, match=r"^x: its shape \(M\*N,\) does not tell its sizes$"):
        module_text(gg.sum(x) * w)


def test_results_belong_to_the_caller_and_sizes_come_and_go() -> None:
    net = digits_net()
    module = loaded(net)
    values = net.initialize(0)
    first = module["loss_and_gradient"](*batch(3), values)[1]
    kept = {name: value.copy() for name, value in first.items()}
    for n in range(1, 15):
        module["loss_and_gradient"](*batch(n, seed=n), values)
    for name, value in kept.items():
        np.testing.assert_array_equal(first[name], value)
    assert len(module["_workspaces"]) <= 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y, p: (x[:, :5], y, p), "x has shape (4, 5), but (any, 6) is wanted"),
        (lambda x, y, p: (x, y[:3], p), "y has shape (3,), but (4,) is wanted"),
        (lambda x, y, p: (x[0], y, p), "x has shape (6,), but (any, 6) is wanted"),
        (lambda x, y, p: (x[:0], y[:0], p), "x has shape (0, 6): there is nothing to compute with"),
        (lambda x, y, p: (x, y.astype(float), p), "y is float64, but int64 is wanted; y.astype('int64') would fit"),
        (lambda x, y, p: (x + 1j, y, p), "x is complex128, but float64 is wanted; x.astype('float64') would fit"),
        (lambda x, y, p: (x, y, {}), "the parameters lack W1, b1, W2, b2; they are W1, b1, W2, b2"),
        (lambda x, y, p: (x, y, p | {"q": x}), "the parameters hold q, which is none of them; they are W1, b1, W2, b2"),
        (lambda x, y, p: (x, y, {**p, "b2": x}), "b2 has shape (4, 6), but (4,) is wanted"),
        (lambda x, y, p: (x, y + 2, p), None),
    ],
)
def test_a_callers_mistake_is_told_in_clear_words(change: Any, message: str | None) -> None:
    net = digits_net()
    arguments = change(np.zeros((4, 6)), np.arange(4), net.initialize(0))
    with pytest.raises((ValueError, TypeError, IndexError)) as told:
        loaded(net)["loss_and_gradient"](*arguments)
    assert str(told.value) == message if message else "from 2 to 5" in str(told.value)


def test_a_state_that_is_no_state_is_told() -> None:
    net = digits_net()
    module = loaded(net, optimizer=gg.SGD())
    state = module["initial_state"]()
    state["theta"] = state["theta"].astype(np.float32)
    told = r"^state\['theta'\] is not the float64 array of shape \(59,\) of initial_state$"
    with pytest.raises(ValueError, match=told):
        module["step"](*batch(4), state)


def test_the_text_is_readable(tmp_path: Path) -> None:
    """One statement a line, each under its formula; lines of at most 130 characters; linted; the same bytes again."""
    net = digits_net()
    text = module_text(net, optimizer=gg.Adam(), seed=2)
    assert text == module_text(digits_net(), optimizer=gg.Adam(), seed=2)
    assert [line for line in text.splitlines() if line.startswith(("import", "from"))] == ["import numpy as np"]
    assert max(map(len, text.splitlines())) <= 130
    lines = [line.strip() for line in text.splitlines()]
    for statement, formula in [
        ("np.add(v8, b1, out=z1)", "# z1 = v8 + b1"),
        ("np.tanh(z1, out=x1)", "# x1 = tanh(z1)"),
        ("np.dot(z1_bar_T, x, out=W1_bar)", "# W\u03041 = z\u03041\u1d40 @ x"),
    ]:
        assert lines[lines.index(statement) - 1] == formula
    assert any(line.startswith("# theta \u2190 theta - ") for line in lines)
    (tmp_path / "net.py").write_text(text)
    options = ["--isolated", "--select", "E,F,W", "--line-length", "130"]
    command = [sys.executable, "-m", "ruff", "check", *options, "net.py"]
    linted = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout


def test_a_long_program_is_written_in_pieces() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N",)), g.parameter("w", ())
    v = x * w
    for _ in range(1500):
        v = gg.sin(v) + x
    loss = gg.sum(v)
    text = module_text(loss)
    assert "def _run_2():" in text
    namespace: dict[str, Any] = {"__name__": "alone"}
    exec(compile(text, "alone.py", "exec"), namespace)
    d = gg.derive(loss)
    values = {"x": np.array([0.1, 0.2]), "w": np.array(0.3)}
    expected, slope = gg.evaluate([loss, d[w]], **values)
    found, gradient = namespace["loss_and_gradient"](values["x"], {"w": values["w"]})
    np.testing.assert_allclose([found, gradient["w"]], [expected, slope], rtol=1e-9)


def test_a_long_formula_is_wrapped() -> None:
    g = gg.Graph()
    x, y = (g.input(f"a_name_that_goes_on_and_on_{k}_{'o' * 30}", ("N",)) for k in range(2))
    w = g.parameter("a_parameter_with_a_name_that_is_no_shorter")
    text = module_text(gg.sum(gg.arctan2(x * w, y + w)).named("the_sum_of_all_these_values_of_the_arctangent"))
    assert "    #     " in text
    for line in text.splitlines():
        assert len(line) <= 120 or line.endswith("# noqa: E501")
    compile(text, "alone.py", "exec")


def test_constants_are_written_out() -> None:
    g = gg.Graph()
    x, w = g.input("x", ("N", 4)), g.parameter("w", (4,))
    table = np.linspace(0.1, 0.9, 4)
    large = np.arange(3000.0).reshape(4, 750) / 7
    loss = gg.sum((x * w * table) @ large) + gg.sum(w * np.full(4, 2.0)) + gg.sum(w * np.array([np.inf, 1, 1, 1]) * 0)
    module = loaded(gg.where(x[0, 0] > -1e9, loss, 0.0))
    values = np.ones((2, 4))
    with np.errstate(invalid="ignore"):
        assert np.isnan(module["loss_and_gradient"](values, {"w": np.ones(4)})[0])
    finite = gg.sum((x * w * table) @ large) + gg.sum(w * np.full(4, 2.0))
    found = loaded(finite)["loss_and_gradient"](values, {"w": np.ones(4)})[0]
    np.testing.assert_allclose(found, gg.evaluate(finite, x=values, w=np.ones(4)), rtol=1e-13)


@pytest.mark.parametrize("name", ["parameters", "state"])
def test_a_name_that_the_module_uses_is_refused(name: str) -> None:
    g = gg.Graph()
    w = g.parameter("w")
    with pytest.raises(GraphgradError, match=rf"^no leaf of a module may be named '{name}', a name of its own$"):
        module_text(gg.sum(g.input(name, ("N",)) * w))


def test_names_that_are_no_identifiers_or_hold_quotes() -> None:
    g = gg.Graph()
    w, v = g.parameter('a"b\\', (2,)), g.parameter("lambda", (2,))
    module = loaded(gg.sum(w * v * g.input("x", (2,))))
    loss, gradient = module["loss_and_gradient"]([1.0, 2.0], {'a"b\\': np.ones(2), "lambda": np.ones(2)})
    assert loss == 3.0
    assert list(gradient) == ['a"b\\', "lambda"]


def test_nothing_but_a_network_or_a_scalar_is_written(tmp_path: Path) -> None:
    with pytest.raises(GraphgradError, match=r"^a Network or a scalar Tensor is wanted, but int was given$"):
        gg.write_module(3, tmp_path / "no.py")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
