"""Dropout whose masks are the same on every backend."""

from typing import Any

import keras

from kzoo import ops
from kzoo.acceleration.quick import QuickLayer
from kzoo.arguments import integer, number
from kzoo.streams import key_words


@keras.saving.register_keras_serializable(package="kzoo")
class Dropout(QuickLayer):
    """Sets random elements to zero in training and scales up the others.

    The mask is a function of (seed, layer name, number of masks drawn before) alone: the same on every backend, and the
    count is a weight, so that a model saved and loaded goes on where it was. A dropped element carries exactly zero
    activation and zero gradient; what is kept is multiplied by `1 / (1 - rate)`, so inference needs no change.

    Args:
        rate: Float in [0, 1), the fraction to drop.
        seed: Integer, 0 or larger. Defaults to `0`.

    Call arguments:
        inputs: Tensor of any shape.
        training: Boolean, whether to drop.

    Returns:
        Tensor shaped as `inputs`.

    Raises:
        ValueError: If `rate` or `seed` is out of range.

    Example:
        >>> dropped = kzoo.Dropout(0.5, seed=1)(keras.ops.ones((1, 100)), training=True)
        >>> sorted({float(value) for value in keras.ops.convert_to_numpy(dropped)[0]})
        [0.0, 2.0]

    Reference:
        - [Srivastava et al., 2014](https://jmlr.org/papers/v15/srivastava14a.html), section 10 (the scaling)
    """

    casts_weights = True  # there are none to cast

    def __init__(self, rate: float, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        rate = number(rate, "rate")
        if not 0 <= rate < 1:
            raise ValueError(f"`rate` must be at least 0 and below 1. Received: rate={rate}.")
        self.rate = rate
        self.seed = integer(seed, "seed", least=0)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._key_words = key_words(self.seed, "dropout", self.name)
        self.step = self.add_weight(
            name="step", shape=(), initializer="zeros", dtype="int32", trainable=False, autocast=False
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        key = ops.dropout_key(self._key_words, self.step)
        self.step.assign(self.step + 1)
        kept = ops.dropout_mask(key, keras.ops.shape(inputs), self.rate)
        scaled = keras.ops.divide(inputs, 1 - self.rate)
        return keras.ops.where(kept, scaled, keras.ops.zeros_like(scaled))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
