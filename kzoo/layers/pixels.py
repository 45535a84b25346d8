"""Input normalization that travels with the weights."""

from collections.abc import Sequence
from typing import Any

import keras

from kzoo import ops
from kzoo.acceleration.quick import QuickLayer
from kzoo.arguments import number
from kzoo.layers.conv import are_images, channels_of

# Of the 50,000 training images of CIFAR-10, for networks that have not seen their own data yet.
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


@keras.saving.register_keras_serializable(package="kzoo")
class PixelNormalization(QuickLayer):
    """Maps pixels in [0, 255] to `(pixel / 255 - mean) / std`, channel by channel.

    It computes in float32 whatever the precision of the network behind it: that is what PyTorch's data pipelines do,
    and what every published checkpoint was trained on.

    Mean and deviation are weights that do not train, so a weights file carries the normalization that it was trained
    with. (`keras.layers.Normalization` bakes them into the compiled function, and goes on with the old ones after
    `load_weights`.)

    Args:
        mean: Sequence of floats, a channel each, of pixels in [0, 1]. Defaults to `(0.4914, 0.4822, 0.4465)`, those of
            CIFAR-10.
        std: Sequence of floats above 0, a channel each. Defaults to `(0.2470, 0.2435, 0.2616)`, CIFAR-10's.

    Call arguments:
        inputs: Tensor of shape `(batch, height, width, channels)`, integer or float, in [0, 255].

    Returns:
        Tensor shaped as `inputs`, in the layer's compute dtype.

    Raises:
        ValueError: If the lengths disagree with each other or with the input's channels, or a deviation is not above 0.

    Example:
        >>> layer = kzoo.PixelNormalization(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> keras.ops.convert_to_numpy(layer(255 * np.ones((1, 1, 1, 3), "uint8"))).tolist()
        [[[[1.0, 1.0, 1.0]]]]
    """

    def __init__(self, mean: Sequence[float] = CIFAR10_MEAN, std: Sequence[float] = CIFAR10_STD, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True
        _check_statistics(mean, std)
        self.mean = tuple(map(float, mean))
        self.std = tuple(map(float, std))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (channels_of(input_shape),)
        if len(self.mean) != shape[0]:
            raise ValueError(
                f"`mean` and `std` must have one value a channel, {shape[0]}. "
                f"Received: mean={self.mean}, std={self.std}."
            )
        self.pixel_mean = self._statistic("mean", self.mean)
        self.pixel_std = self._statistic("std", self.std)

    def _statistic(self, name: str, values: tuple[float, ...]) -> Any:
        def initial(shape: tuple[int, ...], dtype: Any = None) -> Any:
            return keras.ops.convert_to_tensor(values, dtype=dtype)

        return self.add_weight(
            name=name, shape=(len(values),), initializer=initial, dtype="float32", trainable=False, autocast=False
        )

    def set_statistics(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Replaces mean and deviation, given for pixels in [0, 1], of a built layer.

        Args:
            mean: Sequence of floats, a channel each, of pixels in [0, 1].
            std: Sequence of floats above 0, a channel each.

        Raises:
            ValueError: If there is not one mean and one deviation above 0 a channel.
        """
        _check_statistics(mean, std)
        self.pixel_mean.assign(list(mean))
        self.pixel_std.assign(list(std))

    def fits(self, inputs: Any) -> bool:
        return are_images(inputs, len(self.mean))

    def call(self, inputs: Any) -> Any:
        largest = 255 * keras.ops.sign(self.pixel_std)  # not a constant, see `kzoo.ops.generic.divide`
        x = ops.normalize(keras.ops.cast(inputs, "float32"), largest, self.pixel_mean, self.pixel_std)
        return keras.ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("autocast", None)
        return {**config, "mean": self.mean, "std": self.std}


def _check_statistics(mean: Sequence[float], std: Sequence[float]) -> None:
    try:
        means, deviations = ([number(value, "mean") for value in values] for values in (mean, std))
    except (TypeError, ValueError):
        means, deviations = [], []
    if not means or len(means) != len(deviations) or min(deviations) <= 0:
        raise ValueError(
            "`mean` and `std` must be numbers, one a channel, equally many, and every deviation above 0. "
            f"Received: mean={mean!r}, std={std!r}."
        )
