"""Holds one backend's networks for `benchmark.py`, and measures one at a time: a request a line in, an answer out.

Three networks that compute the same: kzoo's, one of plain `keras.layers`, and on PyTorch one of plain `torch.nn`.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import kzoo

CLASSES = 10
RATE, MOMENTUM, DECAY = 0.05, 0.9, 1e-4
Program = Callable[[int], object]


def keras_twin(depth: int) -> keras.Model:
    """Builds kzoo's ResNet of `keras.layers` as they come."""
    layers = keras.layers

    def conv_norm(x: Any, filters: int, stride: int = 1) -> Any:
        padded = layers.ZeroPadding2D(1)(x) if stride > 1 else x
        x = layers.Conv2D(filters, 3, stride, "valid" if stride > 1 else "same", use_bias=False)(padded)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

    images = keras.Input((32, 32, 3), dtype="uint8")
    mean, std = kzoo.PixelNormalization().mean, kzoo.PixelNormalization().std
    x = (keras.ops.cast(images, "float32") / 255 - np.array(mean, "float32")) / np.array(std, "float32")
    x = layers.ReLU()(conv_norm(x, 16))
    for filters in (16, 32, 64):
        for block in range((depth - 2) // 6):
            stride = 2 if filters > 16 and block == 0 else 1
            y = layers.ReLU()(conv_norm(x, filters, stride))
            if stride > 1:
                x = keras.ops.pad(x[:, ::2, ::2], [[0, 0], [0, 0], [0, 0], [filters // 4, filters // 4]])
            x = layers.ReLU()(layers.Add()([x, conv_norm(y, filters)]))
    return keras.Model(images, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


def compiled(model: keras.Model, optimizer: Any) -> keras.Model:
    """Compiles as a user would."""
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def keras_programs(depth: int, images: Any, labels: Any, batch: int) -> tuple[dict[str, Program], dict[str, Any]]:
    """Returns what to time, the loss of the first batch, which all networks must agree on, and what an image costs."""
    model = compiled(kzoo.resnet(depth), kzoo.SGD(RATE, MOMENTUM, nesterov=True, weight_decay=DECAY))
    twin = compiled(keras_twin(depth), keras.optimizers.SGD(RATE, MOMENTUM, nesterov=True, weight_decay=DECAY))
    copy_weights(model, twin)
    losses = [m.evaluate(images[:batch], labels[:batch], batch, verbose=0)[0] for m in (model, twin)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    folded = kzoo.fold_batch_norm(model)

    def train(network: keras.Model, **pipeline: Any) -> Program:
        def run(steps: int) -> None:
            split = kzoo.Split(images[: steps * batch], labels[: steps * batch].argmax(axis=1))
            network.fit(kzoo.Batches(split, CLASSES, batch_size=batch, **pipeline), shuffle=False, verbose=0)

        return run

    def predict(network: keras.Model) -> Program:
        return lambda steps: network.predict(images[: steps * batch], batch_size=batch, verbose=0)

    augmented = train(model, shuffle=True, augmentation=kzoo.Augmentation(crop_padding=4, flip=True))
    programs = {"kzoo train": train(model), "kzoo train augmented": augmented, "keras train": train(twin)}
    programs |= {"kzoo inference": predict(model)}
    programs |= {"keras inference": predict(twin), "kzoo folded": predict(folded)}
    if keras.backend.backend() == "torch":
        from benchmark_twin import torch_programs

        plain, loss = torch_programs(model, images, labels, batch, (RATE, MOMENTUM, DECAY))
        np.testing.assert_allclose(loss, losses[0], rtol=1e-4)
        programs |= plain
    return programs, {"loss": losses[0], "multiply_adds": kzoo.describe(model).multiply_adds}


def copy_weights(model: keras.Model, twin: keras.Model) -> None:
    """Copies kzoo's weights into the Keras twin, whose layers come in the order of construction."""
    order = sorted((layer for layer in twin.layers if layer.weights), key=lambda layer: construction(layer.name))
    own = sorted(
        (layer for layer in model.layers if layer.weights and layer.name != "normalization"),
        key=lambda x: place(x.name),
    )
    for name in ("Conv2D", "Batch", "Dense"):
        mine = [layer for layer in own if type(layer).__name__.startswith(name)]
        theirs = [layer for layer in order if type(layer).__name__.startswith(name)]
        for a, b in zip(mine, theirs, strict=True):
            b.set_weights(a.get_weights())


def construction(name: str) -> int:
    """Returns the number that Keras gave a layer: `conv2d_12` was the thirteenth."""
    digits = name.rsplit("_", 1)[-1]
    return int(digits) if digits.isdigit() else 0


def place(name: str) -> tuple[int, ...]:
    """Returns the numbers in a layer's name: `stage2_block1_conv2` is (2, 1, 2), and the stem comes first."""
    return tuple(int(part[-1]) for part in name.split("_") if part[-1].isdigit())


def main() -> None:
    """Answers requests until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    depth, batch, steps = (int(argument) for argument in sys.argv[1:4])
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (steps * batch, 32, 32, 3)).astype("uint8")
    labels = np.eye(CLASSES, dtype="float32")[random.randint(0, CLASSES, steps * batch)]
    programs, network = keras_programs(depth, images, labels, batch)
    first = {}
    for name, program in programs.items():
        started = time.perf_counter()
        program(1)
        first[name] = time.perf_counter() - started
        program(min(2, steps))
    print(json.dumps({**network, "first_seconds": first}), file=answers, flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        programs[line.strip()](steps)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer = {"images_per_second": steps * batch / seconds, "peak_bytes": peak * 1024}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
