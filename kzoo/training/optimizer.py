"""Stochastic gradient descent as the papers and PyTorch mean it."""

from collections.abc import Sequence
from typing import Any

import keras

from kzoo import ops
from kzoo.acceleration.optimizer import AcceleratedOptimizer
from kzoo.arguments import boolean, number
from kzoo.training.recipes import DecayOn

_BIASES = ("bias", "beta", "shift")  # names of what layers of Keras and kzoo add to each channel


@keras.saving.register_keras_serializable(package="kzoo")
class SGD(AcceleratedOptimizer):
    """Gradient descent with momentum and coupled weight decay, step for step that of `torch.optim.SGD`.

    ```
    gradient = gradient + weight_decay * weight
    velocity = momentum * velocity + gradient
    weight   = weight - rate * (gradient + momentum * velocity if nesterov else velocity)
    ```

    `keras.optimizers.SGD` keeps the rate inside the velocity, and decays weights outside of it: another recipe whenever
    the rate changes.

    Without momentum the optimizer keeps no velocities, and takes gradients of a few rows of a weight, such as those of
    `keras.layers.Embedding` on TensorFlow. What `exclude_from_weight_decay` names before the first step does not decay.

    Args:
        learning_rate: Float or `keras.optimizers.schedules.LearningRateSchedule`. Defaults to `0.1`.
        momentum: Float in [0, 1). Defaults to `0.0`.
        nesterov: Boolean. Defaults to `False`.
        weight_decay: Float, at least 0. Defaults to `0.0`.
        decay_on: `"kernels"` (weights of two axes or more) or `"all"`. Defaults to `"all"`, as PyTorch.
        bias_rate: Float above 0, factor on the rate of biases and of batch normalization's shift. Defaults to `1.0`.
        name: String, or `None` for a name that Keras makes. Defaults to `None`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> model = kzoo.resnet(8)
        >>> model.compile(kzoo.SGD(0.1, momentum=0.9, weight_decay=1e-4), "mse")

    Reference:
        - [Sutskever et al., 2013](https://proceedings.mlr.press/v28/sutskever13.html), section 2 (Nesterov)
        - [Jordan, 2024](https://arxiv.org/abs/2404.00498), section 3.4 (a higher rate of biases)
    """

    def __init__(
        self,
        learning_rate: Any = 0.1,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = 0.0,
        decay_on: DecayOn = "all",
        bias_rate: float = 1.0,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        momentum, decay = number(momentum, "momentum"), number(weight_decay or 0.0, "weight_decay")
        nesterov, bias_rate = boolean(nesterov, "nesterov"), number(bias_rate, "bias_rate")
        is_schedule = isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule | dict)
        if not is_schedule and not callable(learning_rate):
            learning_rate = number(learning_rate, "learning_rate")
            if learning_rate < 0:
                raise ValueError(f"`learning_rate` must be at least 0. Received: learning_rate={learning_rate}.")
        if decay < 0:
            raise ValueError(f"`weight_decay` must be at least 0. Received: weight_decay={weight_decay}.")
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must be at least 0 and below 1. Received: momentum={momentum}.")
        if decay_on not in ("kernels", "all"):
            raise ValueError(f"`decay_on` must be 'kernels' or 'all'. Received: decay_on={decay_on!r}.")
        if bias_rate <= 0:
            raise ValueError(f"`bias_rate` must be above 0. Received: bias_rate={bias_rate}.")
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.nesterov = nesterov
        self.coupled_decay = decay  # Keras has a decoupled one for what `weight_decay` says
        self.decay_on = decay_on
        self.bias_rate = bias_rate

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity") if self.momentum else []
        self.factors = [self.bias_rate if _is_bias(variable) else 1.0 for variable in variables]
        self._decays = tuple(self.decays(variable) for variable in variables)

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Excludes weights from weight decay, before the optimizer is built.

        Args:
            var_list: List of Keras variables. Defaults to `None`, none of them.
            var_names: List of strings; what has one of them in its name is excluded. Defaults to `None`, none.

        Raises:
            ValueError: If the optimizer is built, or `var_names` is one string.
            NotImplementedError: If this version of Keras does not tell what was excluded.
        """
        if not self.can_exclude():
            raise NotImplementedError(
                "`exclude_from_weight_decay` needs a Keras that tells what was excluded, such as 3.15. "
                f"Received: Keras {keras.__version__}."
            )
        if self.built:
            raise ValueError(
                "`exclude_from_weight_decay` must come before the optimizer is built, which the first step does. "
                f"Received: var_list={var_list!r}, var_names={var_names!r}."
            )
        if isinstance(var_names, str):
            raise ValueError(f"`var_names` must be a list of strings. Received: var_names={var_names!r}.")
        super().exclude_from_weight_decay(var_list, var_names)

    def decays(self, variable: Any) -> bool:
        """Tells whether weight decay acts on a Keras `variable`; asked once for each, as the optimizer is built."""
        return (self.decay_on == "all" or len(variable.shape) > 1) and not self.is_excluded(variable)

    def step_for_all(self, gradients: Sequence[Any], weights: Sequence[Any], rate: Any) -> bool:
        return ops.sgd_step(
            weights,
            [self.of_weight(self.velocities, weight) for weight in weights] if self.momentum else None,
            gradients,
            rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            decay=[self.coupled_decay if self.of_weight(self._decays, weight) else 0.0 for weight in weights],
            factors=[self.of_weight(self.factors, weight) for weight in weights],
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate = keras.ops.cast(learning_rate, variable.dtype)
        if (factor := self.of_weight(self.factors, variable)) != 1:
            rate = rate * factor
        gradient = keras.ops.cast(gradient, variable.dtype)
        if self.coupled_decay and self.of_weight(self._decays, variable):
            gradient = keras.ops.add(gradient, self.coupled_decay * variable)
        step = self._moved(gradient, variable) if self.momentum else gradient
        self.assign_sub(variable, keras.ops.multiply(step, rate))  # operators do not take gradients of a few rows

    def _moved(self, gradient: Any, variable: Any) -> Any:
        """Returns what the gradient and the velocity of a variable come to, and keeps the new velocity."""
        velocity = self.of_weight(self.velocities, variable)
        new_velocity = keras.ops.add(self.momentum * velocity, gradient)
        self.assign(velocity, new_velocity)
        return keras.ops.add(self.momentum * new_velocity, gradient) if self.nesterov else new_velocity

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "weight_decay": self.coupled_decay,
            "decay_on": self.decay_on,
            "bias_rate": self.bias_rate,
        }


def _is_bias(variable: Any) -> bool:
    return len(variable.shape) == 1 and variable.name in _BIASES
