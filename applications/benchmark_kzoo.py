"""kzoo's networks as their users run it, for `benchmark.py`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kzoo
from kzoo.environment import look_at_backend


def use_bfloat16() -> None:
    """Computes in bfloat16 from now on, with weights in float32."""
    kzoo.set_precision("mixed_bfloat16")


def programs(
    name: str, weights: str, images: Any, labels: Any, batch: int, sgd: dict[str, Any]
) -> tuple[dict[str, Callable[[int], object]], dict[str, Any]]:
    """Returns what to time by its mode, and the first batch's loss, an image's cost, the device; leaves the weights."""
    model = kzoo.create_model(name)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(kzoo.SGD(nesterov=True, **sgd), loss, metrics=["accuracy"])
    if not Path(weights).exists():
        np.savez(weights, **initial_weights(model))
    first_loss = model.evaluate(images[:batch], labels[:batch], batch, verbose=0)[0]
    folded = kzoo.fold_batch_norm(model)

    def train(**pipeline: Any) -> Callable[[int], object]:
        def run(steps: int) -> None:
            split = kzoo.Split(images[: steps * batch], labels[: steps * batch].argmax(axis=1))
            model.fit(kzoo.Batches(split, labels.shape[1], batch_size=batch, **pipeline), shuffle=False, verbose=0)

        return run

    def predict(network: keras.Model) -> Callable[[int], object]:
        return lambda steps: network.predict(images[: steps * batch], batch_size=batch, verbose=0)

    return {
        "train": train(),
        "train augmented": train(shuffle=True, augmentation=kzoo.Augmentation(crop_padding=4, flip=True)),
        "inference": predict(model),
        "folded": predict(folded),
    }, {"loss": first_loss, "multiply_adds": kzoo.describe(model).multiply_adds, "device": device()}


def device() -> list[str]:
    """Returns the kind and the name of what the backend computes on: a GPU where it sees one."""
    devices = look_at_backend(keras.config.backend()).devices
    kind, name = max(devices, key=lambda found: found.kind == "gpu")
    return [kind, name]


def initial_weights(model: keras.Model) -> dict[str, Any]:
    """Returns the weights by kind and number, in the order of the network: `conv0_0`, `norm0_0` to `norm0_3`, ..."""
    arrays = dict(zip(("mean", "std"), model.get_layer("normalization").get_weights(), strict=True))
    for kind, cls in (("conv", kzoo.Conv2D), ("norm", kzoo.BatchNorm), ("dense", keras.layers.Dense)):
        layers = sorted(
            (layer for layer in model.layers if isinstance(layer, cls)), key=lambda layer: place(layer.name)
        )
        for i, layer in enumerate(layers):
            arrays |= {f"{kind}{i}_{j}": values for j, values in enumerate(layer.get_weights())}
    return arrays


def place(name: str) -> tuple[float, ...]:
    """Returns where a layer stands by its name: `stage2_block1_conv2` at (2, 1, 2), the stem first, the head last."""
    if name.startswith("head"):
        return (float("inf"),)
    return tuple(int(part[-1]) for part in name.split("_") if part[-1].isdigit())
