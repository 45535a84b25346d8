"""An optimizer that may step all weights at once, and finds its own variables."""

from collections.abc import Sequence
from typing import Any

import keras

from kzoo.acceleration.registry import SWITCHED_ON


class AcceleratedOptimizer(keras.optimizers.Optimizer):
    """Optimizer that steps all weights at once where it can.

    Keras asks for a step for all weights (`_backend_update_step`), and without one for a step for each
    (`update_step`). A Keras that does not ask for the first takes the second.
    """

    def step_for_all(self, gradients: Sequence[Any], weights: Sequence[Any], rate: Any) -> bool:
        """Steps all weights, if that is faster than weight by weight.

        Args:
            gradients: Sequence of tensors shaped as `weights`.
            weights: Sequence of variables, Keras's or the backend's.
            rate: Scalar tensor, the learning rate.

        Returns:
            Whether it did. If not, nothing has changed.
        """
        return False

    def of_weight(self, variables: Sequence[Any], weight: Any) -> Any:
        """Returns the one of the optimizer's variables, one a weight, that belongs to a weight."""
        return variables[self._get_variable_index(weight)]

    def can_exclude(self) -> bool:
        """Returns whether this Keras tells what `exclude_from_weight_decay` named."""
        return hasattr(self, "_use_weight_decay")

    def is_excluded(self, variable: Any) -> bool:
        """Returns whether `exclude_from_weight_decay` named a Keras variable."""
        return self.can_exclude() and not self._use_weight_decay(variable)

    def _backend_update_step(self, grads: Any, trainable_variables: list[Any], learning_rate: Any) -> None:
        if not (SWITCHED_ON and self.step_for_all(grads, trainable_variables, learning_rate)):
            super()._backend_update_step(grads, trainable_variables, learning_rate)
