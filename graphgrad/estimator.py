"""What the two estimators of `graphgrad.sklearn` share: parameters, training, callbacks, what is left of a fit."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, is_dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from graphgrad.data import set_aside
from graphgrad.dataset import dataset
from graphgrad.errors import GraphgradError
from graphgrad.loop import Loop, TrainingWarning
from graphgrad.metrics import EarlyStopping
from graphgrad.model_file import OPTIMIZERS
from graphgrad.networks import Network, feedforward
from graphgrad.optimizers import Optimizer
from graphgrad.parallel import Processes
from graphgrad.progress import Progress
from graphgrad.run import Run
from graphgrad.schedules import is_number
from graphgrad.sklearn_callbacks import CallbackSupportMixin, Epochs, with_callbacks
from graphgrad.trainer import Trainer
from graphgrad.training import train
from graphgrad.types import FLOATS, Array, show, whole


class Fitted:
    """What a fit leaves, told as MLPClassifier tells it."""

    run_: Run
    _before: list[float]  # the losses of the fits that this one went on from

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "run_")

    @property
    def loss_curve_(self) -> list[float]:
        """The mean loss of each epoch; with `warm_start`, of the fits before this one too."""
        return [*self._before, *np.asarray(self.run_.history.get("loss", ())).tolist()]

    @property
    def loss_(self) -> float:
        """The mean loss of the last epoch; NaN where the first one was not finished."""
        return [np.nan, *self.loss_curve_][-1]

    @property
    def n_iter_(self) -> int:
        """The epochs of the last fit, and of each `partial_fit` since."""
        return len(self.run_.history.get("epoch", ()))

    @property
    def validation_scores_(self) -> list[float] | None:
        """The score after each epoch on the samples that were set aside; None where there are none."""
        scores = self.run_.history.get("validation_score")
        return None if scores is None else scores.tolist()

    @property
    def coefs_(self) -> list[Array]:
        """The matrices of a feedforward network, of shape (inputs, outputs) as MLPClassifier has them."""
        return [self.run_.parameters[f"W{l}"].T for l in self._layers()]

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of a feedforward network."""
        return [self.run_.parameters[f"b{l}"] for l in self._layers()]

    def _layers(self) -> range:
        if not self.run_.network.widths:
            raise AttributeError("only a feedforward network has coefs_ and intercepts_; run_.parameters has all")
        return range(1, len(self.run_.network.widths))


@dataclass(eq=False, repr=False)
class GraphEstimator(Fitted, CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]
    """What both estimators share. What MLPClassifier has by the same name means the same here.

    **Network.** `hidden_layer_sizes` are any widths, `activation` is one for all hidden layers or one for each, and
    `loss` and `initial` any, as `gg.feedforward` takes them; "auto" is cross-entropy, or the mean squared error, and
    parameters, biases too, that begin as those of MLPClassifier do, by Glorot's rule. `network` stands for all of
    these: a `gg.Network`, or a function of (n_features, n_outputs) that builds one.

    **Training.** `optimizer` is a name ("adam", "sgd", "momentum") or an optimizer of graphgrad, `learning_rate` its
    step size, a number or a schedule; None leaves it as it is. `batch_size` is a number of samples, None for all, or
    "auto" for 200. `l2`, `clip_value` and `clip_norm` are those of `gg.train`. With `dtype` "auto", float32 is trained
    on in float32, all else in float64. `random_state` draws the parameters, the order of samples, and which are set
    aside. `verbose` shows a progress bar.

    **The end.** Training ends after `max_iter` epochs, or when in `n_iter_no_change` epochs (None: never) the loss has
    not fallen by more than `tol`; with `early_stopping`, the score on a `validation_fraction` of the samples has not
    risen by more. The parameters are then those of the best epoch. With `warm_start`, `fit` begins with those that the
    last one found, and with a new optimizer; `partial_fit` goes on with both for one epoch.

    **What fit leaves.** `run_` is the run, with its `history`, `parameters` and `network`; `loss_`, `loss_curve_`,
    `n_iter_`, `validation_scores_`, `coefs_` and `intercepts_` tell of it as MLPClassifier does.
    """

    hidden_layer_sizes: Any = (100,)
    activation: Any = "relu"
    _: KW_ONLY
    loss: Any = "auto"
    initial: Any = "auto"
    network: Any = None
    optimizer: Any = "adam"
    learning_rate: Any = None
    batch_size: Any = "auto"
    max_iter: int = 200
    l2: Any = 0.0
    clip_value: float | None = None
    clip_norm: float | None = None
    dtype: str = "auto"
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int | None = 10
    tol: float = 1e-4
    random_state: Any = None
    warm_start: bool = False
    verbose: bool = False

    # -- training -----------------------------------------------------------------------------------------------------

    @with_callbacks  # type: ignore[untyped-decorator, unused-ignore]
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on samples X of shape (n_samples, n_features), each as often as its weight says."""
        again = self.warm_start and hasattr(self, "run_")
        X, y, t, weights = self._samples(X, y, sample_weight, again)
        before, parameters = (self.loss_curve_, self.run_.parameters) if again else ([], None)
        with self._hooks(X, y, weights) as callbacks:
            self.run_ = self._trained(X, t, weights, self.max_iter, self._stopping(), parameters, callbacks)
            self._before = before
        if self.run_.interrupted:
            warnings.warn("training was interrupted; what was learned until then is kept", TrainingWarning, 3)
        return self

    def _one_epoch(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Self:
        """What `partial_fit` does."""
        known = hasattr(self, "run_")
        X, _, t, weights = self._samples(X, y, sample_weight, known, classes)
        if known:
            self.run_ = self._gone_on(X, t, weights)
        else:
            self.run_, self._before = self._trained(X, t, weights, 1), []
        return self

    def _trained(
        self,
        X: Array,
        t: Array,
        weights: Array | None,
        epochs: int,
        stopping: EarlyStopping | None = None,
        parameters: Mapping[str, Array] | None = None,
        callbacks: Any = (),
    ) -> Run:
        """A run of the network that the parameters of this estimator describe."""
        net, seed = self._network(X.shape[1]), int(check_random_state(self.random_state).randint(2**31 - 1))
        options: dict[str, Any] = {}
        if stopping is not None and stopping.column == "validation_score":
            rows, aside = self._parted(X, t, weights, seed)
            tv, wv = t[aside], None if weights is None else weights[aside]

            def score(prediction: Array, target: Array) -> float:
                return self._score(net, prediction, tv, wv)

            options = {"validation": (X[aside], self._target(net, tv)), "metrics": score}
            X, t, weights = X[rows], t[rows], None if weights is None else weights[rows]
        return train(
            net,
            X,
            self._target(net, t),
            optimizer=self._optimizer(),
            batch_size=self._batch_size(),
            epochs=epochs,
            seed=seed,
            parameters=parameters,
            early_stopping=stopping,
            sample_weight=weights,
            callbacks=callbacks,
            progress=bool(self.verbose),
            dtype=X.dtype.name,
            **self._adjusted(),
            **options,
        )

    def _gone_on(self, X: Array, t: Array, weights: Array | None) -> Run:
        """The run after one epoch more."""
        run, settings = self.run_, self.run_.settings
        trainer, history = run.trainer, run.history
        if weights is not None and not settings["weighted"]:
            trainer, settings = self._weighted(trainer), {**settings, "weighted": True}
        if weights is None and settings["weighted"]:
            weights = np.ones(len(X))
        done = self.n_iter_
        columns = {name: column.tolist() for name, column in history.items() if name in ("epoch", "loss", "rate")}
        return Loop(
            trainer=trainer,
            data=dataset(trainer.graph.inputs[:2], trainer.net, X, self._target(trainer.net, t), sample_weight=weights),
            processes=Processes(None),
            settings=settings,
            epochs=done + 1,
            batch_size=self._batch_size(),
            sampling="shuffle",
            seed=settings["seed"],
            progress=Progress(epoch=done, history=columns),
        ).run()

    def _weighted(self, old: Trainer) -> Trainer:
        """A trainer that goes on from another's parameters and state, with batches that have weights."""
        adjusted = self._adjusted()
        new = Trainer(old.net, old.optimizer, dtype=old.dtype, parameters=old.parameters, weighted=True, **adjusted)
        kept = old.kept()
        new.keep({name: array for name, (array, _) in kept.items()}, {name: scale for name, (_, scale) in kept.items()})
        return new

    # -- what the parameters mean -------------------------------------------------------------------------------------

    def _network(self, inputs: int) -> Network:
        net = self.network
        if net is None:
            hidden = self.hidden_layer_sizes
            hidden = [hidden] if isinstance(hidden, (int, np.integer)) else list(hidden)
            loss, outputs = self._loss()
            auto = isinstance(self.initial, str) and self.initial == "auto"
            initial = "glorot_uniform" if auto else self.initial
            made = feedforward([inputs, *hidden, outputs], self.activation, loss, initial=initial)
            return replace(made, initial=first_values(made.widths, self.activation)) if auto else made
        if callable(net):
            net = net(inputs, self._outputs())
        if not isinstance(net, Network) or len(net.inputs) != 1 or net.target is None or net.prediction is None:
            raise GraphgradError(
                "network is a gg.Network with one input, a target and a prediction, or a function of "
                f"(n_features, n_outputs) that builds one, but {net!r} was given"
            )
        return net

    def _optimizer(self) -> Optimizer:
        made = self.optimizer
        if isinstance(made, str):
            known = {name.lower(): kind for name, kind in OPTIMIZERS.items()}
            if made not in known:
                raise GraphgradError(f"no optimizer is called {made!r}; there are: {', '.join(known)}")
            made = known[made]()
        if self.learning_rate is None:
            return made  # type: ignore[no-any-return]
        if not is_dataclass(made) or isinstance(made, type) or not hasattr(made, "alpha"):
            raise GraphgradError(f"learning_rate stands for the alpha of an optimizer, but {made!r} has none")
        return replace(made, alpha=self.learning_rate)  # type: ignore[return-value]

    def _stopping(self) -> EarlyStopping | None:
        patience = self.n_iter_no_change
        if self.early_stopping:
            patience = self.max_iter if patience is None else patience
            return EarlyStopping("validation_score", patience, self.tol, higher=True)
        return None if patience is None else EarlyStopping("loss", patience, self.tol)

    def _batch_size(self) -> Any:
        return 200 if isinstance(self.batch_size, str) and self.batch_size == "auto" else self.batch_size

    def _adjusted(self) -> dict[str, Any]:
        return {"l2": self.l2, "clip_value": self.clip_value, "clip_norm": self.clip_norm}

    def _dtypes(self) -> Any:
        if self.dtype not in ("auto", *FLOATS):
            raise GraphgradError(f"dtype is auto, {' or '.join(FLOATS)}, but {self.dtype!r} was given")
        return [np.float64, np.float32] if self.dtype == "auto" else np.dtype(self.dtype)

    # -- data ---------------------------------------------------------------------------------------------------------

    def _samples(
        self, X: Any, y: Any, sample_weight: Any, known: bool, classes: Any = None
    ) -> tuple[Array, Array, Array, Array | None]:
        """Samples, targets as they are and as numbers, and weights; without the samples that weigh nothing."""
        whole("max_iter", self.max_iter, 1)
        X, y = validate_data(self, X, y, dtype=self._dtypes(), reset=not known, **self._accepted)
        weights = None
        if sample_weight is not None:
            weights = check_array(sample_weight, dtype=np.float64, ensure_2d=False, input_name="sample_weight")
            if weights.shape != (len(X),) or weights.min() < 0:
                raise GraphgradError(
                    f"sample_weight is a number from 0 on for each of the {len(X)} samples, "
                    f"but shape {show(weights.shape)} with numbers from {weights.min():g} on was given"
                )
            if not weights.any():
                raise GraphgradError("sample_weight is zero for all samples")
            kept = np.flatnonzero(weights)
            if len(kept) < len(X):
                X, y, weights = X[kept], y[kept], weights[kept]
        if not known:
            self._meet(y if classes is None else classes)
        return (X, y, *self._encoded(y, weights))

    def _parted(self, X: Array, t: Array, weights: Array | None, seed: int) -> tuple[Array, Array]:
        """The samples to train on, and those to validate with: as large a part of each class."""
        part = self.validation_fraction
        if not is_number(part) or not 0 < part < 1:
            raise GraphgradError(f"validation_fraction is a number between 0 and 1, but {part!r} was given")
        aside = set_aside(X, part, seed, t if t.ndim == 1 else None, weights, least=2)
        if aside.all() or not aside.any():
            raise GraphgradError(f"validation_fraction={part} of n_samples={len(X)} leaves one side empty")
        return np.flatnonzero(~aside), np.flatnonzero(aside)

    def _predicted(self, X: Any) -> Array:
        check_is_fitted(self)
        return self.run_.predict(validate_data(self, X, dtype=self._dtypes(), reset=False))

    # -- callbacks ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _hooks(self, X: Array, y: Array, weights: Array | None) -> Iterator[Any]:
        """What `train` calls after each epoch. scikit-learn's callbacks are told of the beginning and the end too."""
        if not hasattr(self, "_init_callback_context"):
            yield getattr(self, "_skl_callbacks", ())
            return
        data = {"X": X, "y": y, "metadata": None if weights is None else {"sample_weight": weights}}
        task = self._init_callback_context(max_subtasks=self.max_iter)
        task.call_on_fit_task_begin(estimator=self, **data)
        epochs = Epochs(self, task, data) if hasattr(self, "_skl_callbacks") else None
        yield epochs or ()
        if epochs is not None:
            epochs.end()
        task.call_on_fit_task_end(estimator=self, reconstruction_attributes={}, **data)

    # -- what each estimator knows of its targets ---------------------------------------------------------------------

    _accepted: ClassVar[dict[str, Any]] = {}  # what `validate_data` is told of y

    def _outputs(self) -> int:
        """What a function that builds a network is told."""
        raise NotImplementedError

    def _loss(self) -> tuple[Any, int]:
        """The loss of a feedforward network, and its last width."""
        raise NotImplementedError

    def _meet(self, y: Array) -> None:
        """Learn which targets there are."""
        raise NotImplementedError

    def _encoded(self, y: Array, weights: Array | None) -> tuple[Array, Array | None]:
        """Targets as numbers: labels of shape (n,), or numbers of shape (n, outputs). Weights, by class too."""
        raise NotImplementedError

    def _target(self, net: Network, t: Array) -> Array:
        """The same as the network takes them."""
        raise NotImplementedError

    def _score(self, net: Network, prediction: Array, t: Array, weights: Array | None) -> float:
        raise NotImplementedError


def first_values(widths: Sequence[int], activation: Any) -> dict[str, str]:
    """The rules by which MLPClassifier draws its parameters: W and b of a layer evenly, up to the same bound.

    The bound is Glorot's, for sigmoid layers, and an output that follows one, a third of its square.
    """
    hidden = [activation] * (len(widths) - 2) if isinstance(activation, str) or callable(activation) else [*activation]
    rules: dict[str, str] = {}
    for l, (inputs, outputs) in enumerate(pairwise(widths), 1):
        of = hidden[min(l, len(hidden)) - 1] if hidden else ""
        bound = math.sqrt((2 if of == "sigmoid" else 6) / (inputs + outputs))
        rules |= {f"W{l}": f"uniform({bound!r})", f"b{l}": f"uniform({bound!r})"}
    return rules
