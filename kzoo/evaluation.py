"""How good a classifier is: loss, top-1, top-5, per class, confusion."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Result of `evaluate`.

    Attributes:
        images: Number of images.
        loss: Mean cross-entropy in nats, without label smoothing.
        accuracy: Top-1, in [0, 1].
        top5_accuracy: Fraction of images whose class is among the five likeliest (of all classes if there are fewer).
        per_class: Class name to top-1 of its images; NaN for a class without images.
        confusion: Integer array `(classes, classes)`: images of the row's class taken for the column's.
    """

    images: int
    loss: float
    accuracy: float
    top5_accuracy: float
    per_class: dict[str, float]
    confusion: npt.NDArray[np.int64]


def gives_logits(model: keras.Model) -> bool:
    """Tells whether a model ends in logits rather than in a softmax."""
    activation = getattr(model.layers[-1], "activation", None)
    return getattr(activation, "__name__", None) != "softmax" and not isinstance(model.layers[-1], keras.layers.Softmax)


def as_logits(model: keras.Model, outputs: Any, ops: Any = np) -> Any:
    """Returns what a model predicted as logits: of a softmax's probabilities the logarithms.

    A probability of 0 counts as the least normal float32, some 1e-38, so that its logarithm is finite.

    Args:
        model: A classifier, ending in logits or in a softmax.
        outputs: What it predicted, an array or a tensor.
        ops: Module with `log` and `maximum` for that kind: `numpy`, or `keras.ops` for tensors. Defaults to `numpy`.

    Returns:
        Shaped as `outputs`, of the same dtype.
    """
    return outputs if gives_logits(model) else ops.log(ops.maximum(outputs, float(np.finfo(np.float32).tiny)))


def even_batch_size(images: int, largest: int = 256) -> int:
    """Returns the largest batch size that leaves no smaller batch behind, or `largest` where only tiny ones do not.

    A last batch of another size would make JAX compile a model anew. This is for batches that carry labels, whose
    losses count; where images alone go in, `predict_in_whole_batches` repeats some.

    Args:
        images: Integer, how many images there are.
        largest: Integer, upper limit of the batch size. Defaults to `256`.
    """
    even = next(size for size in range(min(images, largest), 0, -1) if images % size == 0)
    return even if even >= min(images, 16) else largest


def predict_in_whole_batches(model: keras.Model, images: npt.NDArray[Any], batch_size: int) -> npt.NDArray[Any]:
    """Predicts images in batches of one size: some images fill up the last one, and their answers are left out.

    Args:
        model: A `keras.Model` of images.
        images: Array of shape `(images, height, width, channels)`.
        batch_size: Integer, or the number of images if that is less.

    Returns:
        What the model answers to each image.
    """
    batch_size = min(batch_size, len(images))
    filled = np.concatenate([images, images[: -len(images) % batch_size]])
    return np.asarray(model.predict(filled, batch_size=batch_size, verbose=0))[: len(images)]


def log_probabilities(model: keras.Model, images: npt.NDArray[Any], batch_size: int = 256) -> npt.NDArray[np.float64]:
    """Predicts the logarithm of each class's probability.

    Args:
        model: A classifier, ending in logits or in a softmax.
        images: Array of shape `(images, height, width, channels)`, in [0, 255].
        batch_size: Integer. Defaults to `256`.

    Returns:
        Array of shape `(images, classes)`, in float64.
    """
    logits = as_logits(model, predict_in_whole_batches(model, images, batch_size).astype(np.float64))
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def evaluate(
    model: keras.Model,
    images: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    class_names: Sequence[str] | None = None,
    batch_size: int = 256,
) -> Evaluation:
    """Evaluates a classifier on labelled images.

    Args:
        model: A classifier, ending in logits or in a softmax.
        images: Array of shape `(images, height, width, channels)`, in [0, 255].
        labels: Integer array of shape `(images,)`.
        class_names: One name a class. Defaults to the numbers.
        batch_size: Integer. Defaults to `256`.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If there are no images, or the labels or names are not those of the model's classes.
    """
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(
            "`images` and `labels` must be equally many, at least one. "
            f"Received: {len(images)} images and {len(labels)} labels."
        )
    classes = model.output_shape[-1]
    names = tuple(map(str, range(classes))) if class_names is None else tuple(class_names)
    if len(names) != classes:
        raise ValueError(f"The model has {classes} classes. Received: {len(names)} class names.")
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"The model has {classes} classes. Received: labels from {labels.min()} to {labels.max()}.")
    log_p = log_probabilities(model, images, batch_size)
    true = log_p[np.arange(len(labels)), labels]
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, log_p.argmax(axis=1)), 1)
    counts = confusion.sum(axis=1)
    correct = confusion.diagonal()
    return Evaluation(
        images=len(images),
        loss=float(-true.mean()),
        accuracy=float(correct.sum() / len(images)),
        top5_accuracy=float(((log_p > true[:, None]).sum(axis=1) < 5).mean()),
        per_class={
            name: float(right / count) if count else float("nan")
            for name, right, count in zip(names, correct, counts, strict=True)
        },
        confusion=confusion,
    )
