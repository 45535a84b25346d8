"""Calls callbacks without waiting for the device at every step."""

import time
from typing import Any

import keras

from kzoo.training.progress import Progress

_BARS = (keras.callbacks.ProgbarLogger, Progress)
_SECONDS_BETWEEN = 0.1


class CallbackList(keras.callbacks.CallbackList):
    """Keras's list of callbacks for `fit`, which at a step's end does nothing where nobody would see it.

    For each step Keras turns the metrics into Python numbers, even if no callback reads them; on PyTorch, where it
    does so in the loop itself, that waits for the device. Here the end of a step is reported always to callbacks that
    have a method for it, and to the progress bar ten times a second.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = [one for one in self.callbacks if not isinstance(one, _BARS)]
        self._has_bar = len(others) < len(self.callbacks)
        # `on_batch_end` is Keras's other name for `on_train_batch_end`.
        self._train_heard = any(_has(one, "on_train_batch_end") or _has(one, "on_batch_end") for one in others)
        self._test_heard = any(_has(one, "on_test_batch_end") for one in others)
        self._last = 0.0

    @property
    def hears_steps(self) -> bool:
        """Whether a callback hears of the end of each step."""
        return self._train_heard

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        now = time.monotonic()
        bar_moves = self._has_bar and (batch == 0 or now - self._last >= _SECONDS_BETWEEN)
        if bar_moves:
            self._last = now
        if self._train_heard or bar_moves:
            super().on_train_batch_end(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._test_heard:  # within `fit`, validation moves no bar
            super().on_test_batch_end(batch, logs)


def _has(callback: keras.callbacks.Callback, method: str) -> bool:
    """Tells whether a callback has a method of its own, by its class or set on the instance."""
    return getattr(getattr(callback, method), "__func__", None) is not getattr(keras.callbacks.Callback, method)
