"""Initial weights drawn with NumPy, so that they are the same bytes on every backend."""

import math
from typing import Any

import keras

from kzoo.arguments import integer, text
from kzoo.streams import stream


@keras.saving.register_keras_serializable(package="kzoo")
class HeNormal(keras.initializers.Initializer):
    """Draws a kernel from a normal distribution of variance `2 / fan_in`.

    Not truncated, as in the paper and in PyTorch's `kaiming_normal_`; `keras.initializers.HeNormal` truncates.

    Args:
        seed: Integer, the model's seed; 0 or larger.
        path: String that names the weight within the model, such as `"stage1_block1_conv1/kernel"`.

    Raises:
        ValueError: If `seed` is no integer, or negative.

    Example:
        >>> tuple(kzoo.HeNormal(seed=0, path="stem_conv/kernel")((3, 3, 3, 16)).shape)
        (3, 3, 3, 16)

    Reference:
        - [He et al., 2015](https://arxiv.org/abs/1502.01852), section 2.2
    """

    def __init__(self, seed: int, path: str) -> None:
        self.seed = integer(seed, "seed", least=0)
        self.path = text(path, "path")

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        fan_in = math.prod(shape[:-1])
        values = stream(self.seed, "weights", self.path).standard_normal(shape) * math.sqrt(2 / fan_in)
        return keras.ops.convert_to_tensor(values, dtype=dtype or keras.config.floatx())

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, "path": self.path}
