"""Networks that are compiled once and started anew for each cell of a study."""

import dataclasses
import math
import statistics
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kzoo.arguments import integer
from kzoo.data import Batches, Dataset, Split
from kzoo.evaluation import log_softmax
from kzoo.layers import BatchNorm, Dropout, PixelNormalization
from kzoo.models import Model
from kzoo.models.residual import classifier, feature_map, neutral_pixels
from kzoo.recursion import deep_recursion
from kzoo.training import SGD, Recipe, set_pixel_statistics

Array = npt.NDArray[Any]

BATCH_SIZE = 32
MOMENTUM = 0.9
_EVALUATED = 128  # images at once: one size, since JAX compiles for each
_MASKS = 1 << 20  # that a seed of a dropout layer may draw


def build(image_shape: Sequence[int], classes: int, *, depth: int, filters: int, seed: int = 0, **form: Any) -> Any:
    """Builds a CIFAR ResNet of any width: stages of `filters`, twice and four times as many.

    Args:
        image_shape: `(height, width, channels)`.
        classes: Integer, number of outputs.
        depth: Integer, 6n + 2.
        filters: Integer, filters of the first stage; the papers have 16.
        seed: Integer from which initial weights are drawn. Defaults to `0`.
        **form: Further arguments of `kzoo.residual_block`: `order`, `shortcut`, `normalization`, `dropout`.

    Returns:
        A `kzoo.Model` from images to logits.
    """
    blocks, rest = divmod(integer(depth, "depth", least=8) - 2, 6)
    if rest:
        raise ValueError(f"`depth` must be 6n + 2. Received: depth={depth}.")
    filters = integer(filters, "filters", least=1)
    form = {"order": "classic", "normalization": "batch"} | form
    images = keras.Input(tuple(image_shape), name="image")
    x = PixelNormalization(**neutral_pixels(image_shape[-1]), name="normalization")(images)
    x = feature_map(x, filters, [filters, 2 * filters, 4 * filters], blocks, seed=seed, **form)
    x = classifier(x, classes, seed)
    return Model(images, x, name=f"resnet{depth}_{filters}")


@dataclasses.dataclass(frozen=True)
class Score:
    """Loss in nats and accuracy on some images. The loss is NaN where the network does not answer with numbers."""

    loss: float
    accuracy: float


class Network:
    """A network that is compiled once, and started anew with other weights as often as it is needed.

    Args:
        dataset: The `Dataset`.
        **form: As for `build`.
    """

    def __init__(self, dataset: Dataset, **form: Any) -> None:
        self.dataset, self.form = dataset, form
        with deep_recursion():
            self.model = self._built(0)
        optimizer = SGD(0.1, MOMENTUM, nesterov=True)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        self.model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
        optimizer.build(self.model.trainable_variables)
        self._forward: Any = None

    def _built(self, seed: int) -> Any:
        model = build(self.dataset.image_shape, self.dataset.classes, seed=seed, **self.form)
        set_pixel_statistics(model, self.dataset, Recipe())
        return model

    def start(self, seed: int) -> "Network":
        """Gives the network the initial weights of a seed, and the optimizer none of what it remembers."""
        with deep_recursion():
            self.model.set_weights(self._built(seed).get_weights())
        for layer in self.layers(Dropout):
            layer.step.assign(seed % 1024 * _MASKS)  # so that each seed has masks of its own
        self.rest()
        return self

    def rest(self) -> None:
        """Brings the optimizer to rest."""
        for velocity in self.model.optimizer.velocities:
            velocity.assign(np.zeros(velocity.shape, velocity.dtype))

    def layers(self, kind: type) -> list[Any]:
        """Returns the layers of a class."""
        return [layer for layer in self.model.layers if isinstance(layer, kind)]

    def train(
        self,
        split: Split,
        *,
        seed: int,
        epochs: int,
        rate: float,
        batch_size: int = BATCH_SIZE,
        after_epoch: Callable[[int], bool | None] | None = None,
        after_step: Callable[[int], None] | None = None,
    ) -> list[float]:
        """Trains by Nesterov's momentum at a constant rate, and returns the mean loss of each epoch's batches.

        It ends early where a loss is not finite, or `after_epoch`, which gets the number of epochs, returns true.
        `after_step` gets the number of steps.
        """
        self.model.optimizer.learning_rate = rate
        size = min(batch_size, len(split))
        batches = Batches(split, self.dataset.classes, batch_size=size, seed=seed, shuffle=True, drop_remainder=True)
        losses, steps = list[float](), 0
        for epoch in range(epochs):
            of_batches = list[float]()
            for index in range(batches.batches_per_epoch):
                images, labels = batches.batch(epoch, index)[:2]
                of_batches.append(float(self.model.train_on_batch(images, labels)[0]))
                steps += 1
                if after_step is not None:
                    after_step(steps)
                if not math.isfinite(of_batches[-1]):
                    break
            losses.append(statistics.fmean(of_batches))
            if not math.isfinite(losses[-1]) or (after_epoch is not None and after_epoch(epoch + 1)):
                break
        return losses

    def logits(self, images: Array, training: bool = False) -> Array:
        """Returns what the network answers to images, by moving averages or by the statistics of all of them.

        With the statistics of the batch the images are one batch; the moving averages stay as they were.
        """
        if training:
            return self._by_batch_statistics(images)
        missing = -len(images) % _EVALUATED
        filled = np.concatenate([images, images[np.arange(missing) % len(images)]]) if missing else images
        parts = [
            np.asarray(self.model.predict_on_batch(filled[start : start + _EVALUATED]))
            for start in range(0, len(filled), _EVALUATED)
        ]
        return np.concatenate(parts)[: len(images)]

    def _by_batch_statistics(self, images: Array) -> Array:
        if self._forward is None:
            self._forward = _TrainingForward(self.model)
        kept = [(weight, array_of(weight)) for weight in self.model.non_trainable_weights]
        answers = np.asarray(self._forward.predict_on_batch(images))
        for weight, value in kept:
            weight.assign(value)
        return answers

    def evaluate(self, split: Split, training: bool = False) -> Score:
        """Returns loss and accuracy on a split, which is read into memory."""
        return score(self.logits(split.images, training), split.labels)

    def gradients(self, split: Split) -> dict[str, Array]:
        """Returns the gradient of each weight for a batch, and leaves the network as it was.

        After one step from rest the velocity of momentum is the gradient: so it is that of training, and nothing has
        to be compiled for it.
        """
        batches = Batches(split, self.dataset.classes, batch_size=len(split))
        images, labels = batches.batch(0, 0)[:2]
        kept, rate = self.model.get_weights(), float(self.model.optimizer.learning_rate)
        self.rest()
        self.model.optimizer.learning_rate = 0.0
        self.model.train_on_batch(images, labels)
        pairs = zip(self.model.trainable_variables, self.model.optimizer.velocities, strict=True)
        found = {weight.path: array_of(velocity) for weight, velocity in pairs}
        self.model.set_weights(kept)
        self.model.optimizer.learning_rate = rate
        self.rest()
        return found

    def gradient_norms(self, split: Split) -> dict[str, float]:
        """Returns the Euclidean norm of the gradient of each convolution's kernel, from the stem to the last."""
        found = self.gradients(split)
        kernels = {path: value for path, value in found.items() if path.endswith("/kernel") and value.ndim == 4}
        return {
            path.split("/")[-2]: float(np.sqrt((value.astype(np.float64) ** 2).sum()))
            for path, value in kernels.items()
        }

    def snapshot(self) -> list[Array]:
        """Returns copies of all weights, for `restore`."""
        return [np.array(one) for one in self.model.get_weights()]

    def restore(self, weights: list[Array]) -> None:
        """Gives the network weights that `snapshot` returned."""
        self.model.set_weights(weights)

    def batch_norms(self) -> list[Any]:
        """Returns the layers that normalize."""
        return self.layers(BatchNorm)


class _TrainingForward(keras.Model):
    """A network as it is in training, compiled as predictions are."""

    def __init__(self, network: Any) -> None:
        super().__init__(name="training_forward")
        self.network = network

    def call(self, inputs: Any) -> Any:
        return self.network(inputs, training=True)


def score(logits: Array, labels: Array) -> Score:
    """Returns how good logits are. Answers that are no numbers are wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        log_p = log_softmax(logits)
        own = log_p[np.arange(len(labels)), labels]
        right = np.isfinite(own) & (np.nan_to_num(log_p, nan=-math.inf).argmax(axis=1) == labels)
        return Score(float(-own.mean()), float(right.mean()))


def array_of(tensor: Any) -> Array:
    """Returns a copy of a tensor or a variable as an array."""
    return np.array(keras.ops.convert_to_numpy(tensor))  # a copy: torch and TensorFlow may share memory with a weight
