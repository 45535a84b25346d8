"""Where early stopping stops when the losses are known beforehand."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kzoo.parity.recording import Array
from kzoo.training.loop import early_stopping
from kzoo.training.recipes import Recipe

# With a patience of 3 and a least change of 0.01.
SCRIPTS = {
    "overfits": (1.0, 0.8, 0.6, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9),
    "improves too little": (1.0, 0.995, 0.992, 0.991, 0.5, 0.4),
    "recovers in time": (1.0, 0.5, 0.6, 0.7, 0.4, 0.5, 0.6, 0.7, 0.8),
    "improves to the end": (1.0, 0.9, 0.8, 0.7, 0.6, 0.5),
}


class _Script(keras.callbacks.Callback):
    """Replaces the validation loss of each epoch, and writes the epoch into the model's one weight."""

    def __init__(self, losses: Sequence[float]) -> None:
        super().__init__()
        self.losses = losses

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        logs["val_loss"] = self.losses[epoch]
        self.model.set_weights([np.full((1, 1), epoch)])


def scripted_stopping() -> dict[str, Array]:
    """Trains a model of one weight under each script, stopped by the callback that `kzoo.fit` uses.

    Returns:
        Name of the script to the epochs in which it stopped (0: not at all), that was best, and whose weights the
        model has in the end; counted from 0.
    """
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer="sgd", loss="mse")
    found = {}
    for name, losses in SCRIPTS.items():
        (stopping,) = early_stopping(Recipe(patience=3, min_delta=0.01))
        nothing = np.zeros((1, 1))
        callbacks = [_Script(losses), stopping]
        model.fit(nothing, nothing, epochs=len(losses), shuffle=False, verbose=0, callbacks=callbacks)
        (weight,) = model.get_weights()
        found[name] = np.array([stopping.stopped_epoch, stopping.best_epoch, int(weight[0, 0])])
    return found
