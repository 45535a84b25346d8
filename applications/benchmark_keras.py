"""kzoo's networks of `keras.layers` as they come, without kzoo: a yardstick of `benchmark.py`."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from benchmark_networks import STEM, sizes
from keras import layers


def twin(name: str, mean: Any, std: Any, classes: int) -> keras.Model:
    """Builds the network of that name."""
    blocks, stages, preactivated = sizes(name)
    block = preactivated_block if preactivated else classic_block
    images = keras.Input((32, 32, 3), dtype="uint8")
    x = (keras.ops.cast(images, "float32") / 255 - np.array(mean, "float32")) / np.array(std, "float32")
    x = conv(x, STEM) if preactivated else norm_relu(conv(x, STEM))
    for stage, filters in enumerate(stages):
        for i in range(blocks):
            x = block(x, filters, stride=2 if stage and not i else 1)
    x = norm_relu(x) if preactivated else x
    return keras.Model(images, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))


def classic_block(x: Any, filters: int, stride: int) -> Any:
    """Applies two convolutions beside a shortcut without parameters."""
    y = norm(conv(norm_relu(conv(x, filters, stride)), filters))
    if stride > 1:
        x = keras.ops.pad(x[:, ::2, ::2], [[0, 0], [0, 0], [0, 0], [filters // 4, filters // 4]])
    return layers.ReLU()(layers.Add()([x, y]))


def preactivated_block(x: Any, filters: int, stride: int) -> Any:
    """Applies two convolutions after their normalizations, beside a projection where sizes differ."""
    y = norm_relu(x)
    if x.shape[-1] != filters or stride > 1:
        x = layers.Conv2D(filters, 1, stride, use_bias=False)(y)
    y = conv(norm_relu(conv(y, filters, stride)), filters)
    return layers.Add()([x, y])


def conv(x: Any, filters: int, stride: int = 1) -> Any:
    """Applies a 3x3 convolution, padded on all sides."""
    padded = layers.ZeroPadding2D(1)(x) if stride > 1 else x
    return layers.Conv2D(filters, 3, stride, "valid" if stride > 1 else "same", use_bias=False)(padded)


def norm(x: Any) -> Any:
    """Applies batch normalization."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def norm_relu(x: Any) -> Any:
    """Applies batch normalization and a rectifier."""
    return layers.ReLU()(norm(x))


def programs(
    name: str, weights: str, images: Any, labels: Any, batch: int, sgd: dict[str, Any]
) -> tuple[dict[str, Callable[[int], object]], dict[str, Any]]:
    """Returns what to time by its mode, and the loss of the first batch."""
    arrays = np.load(weights)
    model = twin(name, arrays["mean"], arrays["std"], labels.shape[1])
    for kind, cls in (("conv", layers.Conv2D), ("norm", layers.BatchNormalization), ("dense", layers.Dense)):
        found = sorted((x for x in model.layers if isinstance(x, cls)), key=lambda layer: construction(layer.name))
        for i, layer in enumerate(found):
            layer.set_weights([arrays[f"{kind}{i}_{j}"] for j in range(len(layer.weights))])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(nesterov=True, **sgd), loss, metrics=["accuracy"])
    first_loss = model.evaluate(images[:batch], labels[:batch], batch, verbose=0)[0]

    def train(steps: int) -> object:
        chosen = slice(steps * batch)
        return model.fit(images[chosen], labels[chosen], batch_size=batch, shuffle=False, verbose=0)

    def predict(steps: int) -> object:
        return model.predict(images[: steps * batch], batch_size=batch, verbose=0)

    return {"train": train, "inference": predict}, {"loss": first_loss}


def construction(name: str) -> int:
    """Returns the number that Keras gave a layer: `conv2d_12` was the thirteenth."""
    digits = name.rsplit("_", 1)[-1]
    return int(digits) if digits.isdigit() else 0
