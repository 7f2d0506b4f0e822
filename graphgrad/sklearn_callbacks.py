"""Callbacks of the estimators: those of scikit-learn from 1.9 on, and functions of (trainer, record) before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from graphgrad.loop import Callback
from graphgrad.model_file import Model
from graphgrad.run import Run, as_json
from graphgrad.trainer import Trainer

__all__ = ["CallbackSupportMixin", "Epochs", "with_callbacks"]

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    def with_callbacks(method: Any) -> Any:
        return method

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Callbacks are functions of (trainer, record), as `gg.train` takes them."""

        def set_callbacks(self, *callbacks: Callback) -> Self:
            self._skl_callbacks = callbacks
            return self

        def __sklearn_clone__(self) -> Any:
            same = super().__sklearn_clone__()  # type: ignore[misc]
            return same.set_callbacks(*getattr(self, "_skl_callbacks", ()))


class Epochs:
    """The tasks of scikit-learn's callbacks within a fit, one for each epoch. Called by `train` after each."""

    def __init__(self, estimator: Any, whole: Any, data: dict[str, Any]) -> None:
        self.estimator, self.whole, self.data = estimator, whole, data
        self.history: dict[str, list[float | None]] = {}
        self._begin()

    def _begin(self) -> None:
        self.task = self.whole.subcontext(task_name="epoch")
        self.task.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def __call__(self, trainer: Trainer, record: Mapping[str, float]) -> bool:
        """Whether a callback asks to stop."""
        for name, value in record.items():
            self.history.setdefault(name, []).append(as_json(value))

        def fitted() -> dict[str, Any]:
            model = Model(trainer.net, trainer.parameters, progress={"history": self.history})
            return {"run_": Run(model, trainer), "_before": []}

        task, self.task = self.task, None
        stop = task.call_on_fit_task_end(estimator=self.estimator, reconstruction_attributes=fitted, **self.data)
        if not stop and record["epoch"] < self.estimator.max_iter:
            self._begin()
        return bool(stop)

    def end(self) -> None:
        """Where training stopped early, a task has begun that no epoch belongs to."""
        if self.task is not None:
            self.task.call_on_fit_task_end(estimator=self.estimator, **self.data)
