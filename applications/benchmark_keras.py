"""kzoo's ResNet of `keras.layers` as they come, without kzoo: a yardstick of `benchmark.py`."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers


def twin(depth: int, mean: Any, std: Any, classes: int) -> keras.Model:
    """Builds the CIFAR ResNet of depth 6n + 2 with parameter-free shortcuts."""

    def conv_norm(x: Any, filters: int, stride: int = 1) -> Any:
        padded = layers.ZeroPadding2D(1)(x) if stride > 1 else x
        x = layers.Conv2D(filters, 3, stride, "valid" if stride > 1 else "same", use_bias=False)(padded)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

    images = keras.Input((32, 32, 3), dtype="uint8")
    x = (keras.ops.cast(images, "float32") / 255 - np.array(mean, "float32")) / np.array(std, "float32")
    x = layers.ReLU()(conv_norm(x, 16))
    for filters in (16, 32, 64):
        for block in range((depth - 2) // 6):
            stride = 2 if filters > 16 and block == 0 else 1
            y = layers.ReLU()(conv_norm(x, filters, stride))
            if stride > 1:
                x = keras.ops.pad(x[:, ::2, ::2], [[0, 0], [0, 0], [0, 0], [filters // 4, filters // 4]])
            x = layers.ReLU()(layers.Add()([x, conv_norm(y, filters)]))
    return keras.Model(images, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))


def programs(
    depth: int, weights: str, images: Any, labels: Any, batch: int, sgd: dict[str, Any]
) -> tuple[dict[str, Callable[[int], object]], dict[str, Any]]:
    """Returns what to time by its mode, and the loss of the first batch."""
    arrays = np.load(weights)
    model = twin(depth, arrays["mean"], arrays["std"], labels.shape[1])
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
