"""Muon for networks of convolutions."""

import math
from typing import Any

import keras

from kzoo.acceleration.optimizer import AcceleratedOptimizer


@keras.saving.register_keras_serializable(package="kzoo")
class Muon(AcceleratedOptimizer, keras.optimizers.Muon):
    """`keras.optimizers.Muon`, which steps the kernels of convolutions too, each as a matrix of one column a filter.

    Keras's leaves all that is no matrix to AdamW: in a ResNet every weight but the classifier's, for which Muon is not
    meant.

    Reference:
        - [Jordan et al., 2024](https://kellerjordan.github.io/posts/muon/), "Empirical considerations"
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if len(variable.shape) != 4:
            super().update_step(gradient, variable, learning_rate)
            return
        rate = keras.ops.cast(learning_rate, variable.dtype)
        gradient = keras.ops.cast(gradient, variable.dtype)
        velocity = self.of_weight(self.momentums, variable)
        moved = self.momentum * velocity + gradient
        self.assign(velocity, moved)
        ahead = gradient + self.momentum * moved if self.nesterov else moved
        matrix = keras.ops.reshape(ahead, (math.prod(variable.shape[:-1]), variable.shape[-1]))
        step = self.lr_adjust(rate * self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        self.assign_sub(variable, keras.ops.reshape(step, variable.shape))
