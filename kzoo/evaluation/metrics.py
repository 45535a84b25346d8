"""How good a classifier is: loss, top-1, top-5, per class, confusion."""

import dataclasses
from collections.abc import Sequence
from typing import Any, get_args

import keras
import numpy as np
import numpy.typing as npt

from kzoo.arguments import boolean, class_labels, image_array, integer
from kzoo.arguments import names as checked_names
from kzoo.choices import TestTimeAugmentation, check_choice
from kzoo.evaluation.predicting import predict_in_whole_batches

_SAMPLES = 4
_CLEARLY_OFF = 0.1  # no rounding takes the sum of probabilities so far from 1


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Result of `evaluate`.

    Attributes:
        images: Number of images.
        loss: Mean cross-entropy in nats, without label smoothing.
        accuracy: Top-1, in [0, 1].
        top5_accuracy: Fraction of images whose class is among the five likeliest (of all classes if there are fewer).
        per_class: Class name to top-1 of its images; NaN for a class without images.
        confusion: Integer array `(classes, classes)`: images of the row's class taken for the column's. Those for which
            the model predicts NaN are nowhere.
        tta: The test-time augmentation that all of these are with, or `None` if without.

    Example:
        >>> model = kzoo.load_preset("digits/resnet20")
        >>> kzoo.evaluate(model, kzoo.load_dataset("digits").test.take(range(20))).confusion.sum()
        np.int64(20)
    """

    images: int
    loss: float
    accuracy: float
    top5_accuracy: float
    per_class: dict[str, float]
    confusion: npt.NDArray[np.int64]
    tta: str | None = None


def sample_answers(model: keras.Model, image_shape: Sequence[int | None] | None = None) -> npt.NDArray[Any]:
    """Returns what a classifier answers to four images of noise, from dark to bright, the same ones each time.

    Nothing of the model or the process changes by it: no random number is drawn, no statistic moves.

    Args:
        model: A classifier of images in [0, 255].
        image_shape: Shape of the images, where the model does not tell; a size of `None` is taken to be 32. Defaults to
            the shape of the model's input.

    Returns:
        Array of shape `(4, classes)`.

    Raises:
        ValueError: If the model answers something of another shape.
    """
    shape = [size or 32 for size in (model.input_shape[1:] if image_shape is None else image_shape)]
    levels = np.linspace(0, 255, _SAMPLES).reshape(-1, *(1 for _ in shape))
    noise = np.random.RandomState(0).randint(0, 256, (_SAMPLES, *shape))
    images = np.floor((noise + levels) / 2).astype(np.float32)
    structure = getattr(model, "input", None)  # one tensor, or a list of it
    answers = model(keras.tree.map_structure(lambda _: images, structure), training=False)
    if isinstance(answers, list | tuple | dict) or len(answers.shape) != 2:
        received = getattr(answers, "shape", type(answers).__name__)
        raise ValueError(f"`model` must answer with one tensor of shape (batch, classes). Received: {received}.")
    return np.asarray(keras.ops.convert_to_numpy(answers))


def gives_logits(
    model: keras.Model, image_shape: Sequence[int | None] | None = None, from_logits: bool | None = None
) -> bool:
    """Tells whether a classifier gives logits rather than probabilities, by what it answers to a few images.

    Args:
        model: A classifier of images in [0, 255].
        image_shape: As for `sample_answers`.
        from_logits: What the caller says, or `None` if nothing. Defaults to `None`.

    Raises:
        ValueError: If the caller says what the answers contradict.
    """
    return are_logits(sample_answers(model, image_shape), from_logits)


def are_logits(outputs: Any, from_logits: bool | None = None) -> bool:
    """Tells whether what a classifier answered are logits rather than probabilities.

    They are probabilities if no number is negative and each row adds up to 1, within the rounding of the numbers; rows
    that are not finite do not count. Everything else is logits: logarithms of probabilities, which are as good as any,
    and what several sigmoids give.

    Args:
        outputs: Array of shape `(images, classes)`.
        from_logits: What the caller says, or `None` if nothing. Defaults to `None`.

    Raises:
        ValueError: If the caller says what the numbers contradict.
    """
    if from_logits is not None:
        from_logits = boolean(from_logits, "from_logits")
    rows = np.asarray(outputs).astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not rows.size:
        return from_logits is not False
    # Numbers of half precision have no more than ten bits after the first, whatever holds them now.
    is_coarse = not (rows.astype(np.float32).view(np.uint32) & 0x1FFF).any()
    far = np.abs(rows.sum(axis=1) - 1).max() if rows.min() >= 0 else np.inf
    are_probabilities = bool(far <= (1e-2 if is_coarse else 1e-4))
    if from_logits is None:
        return not are_probabilities
    one_class = rows.shape[1] == 1  # a lone logit may be 1
    if (from_logits and are_probabilities and not one_class) or (not from_logits and far > _CLEARLY_OFF):
        seen = "add up to 1" if are_probabilities else "are negative or do not add up to 1"
        raise ValueError(
            f"`from_logits` must be what the model gives. Received: from_logits={from_logits}, rows {seen}."
        )
    return bool(from_logits)


def as_logits(outputs: Any, from_logits: bool, ops: Any = np) -> Any:
    """Returns what a classifier answered as logits: of probabilities the logarithms.

    A probability of 0 counts as the least normal float32, some 1e-38, so that its logarithm is finite.

    Args:
        outputs: What it answered, an array or a tensor.
        from_logits: Boolean, whether they are logits already.
        ops: Module with `log` and `maximum` for that kind: `numpy`, or `keras.ops` for tensors. Defaults to `numpy`.

    Returns:
        Shaped as `outputs`, of the same dtype.
    """
    return outputs if from_logits else ops.log(ops.maximum(outputs, float(np.finfo(np.float32).tiny)))


def log_softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Returns the logarithms of the probabilities that logits `(images, classes)` stand for, in float64.

    A row in which a number is NaN or plus infinity becomes NaN.
    """
    logits = np.asarray(logits).astype(np.float64)
    with np.errstate(invalid="ignore"):
        logits = logits - logits.max(axis=1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def places(scores: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Returns the place that each image's own class takes among its scores, counted from 0.

    Of equal scores the class of the lower number comes first. A row with a NaN gives no place: infinity.
    """
    own = scores[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    before = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    return np.where(np.isnan(scores).any(axis=1), np.inf, before)


def log_probabilities(
    model: keras.Model, images: npt.NDArray[Any], batch_size: int = 256, from_logits: bool | None = None
) -> npt.NDArray[np.float64]:
    """Predicts the logarithm of each class's probability.

    Args:
        model: A classifier that gives logits or probabilities.
        images: Array of shape `(images, height, width, channels)`, in [0, 255].
        batch_size: Integer. Defaults to `256`.
        from_logits: As for `evaluate`.

    Returns:
        Array of shape `(images, classes)`, in float64. The row of an image for which the model does not predict numbers
        is NaN.
    """
    from_logits = gives_logits(model, images.shape[1:], from_logits)
    return log_softmax(as_logits(predict_in_whole_batches(model, images, batch_size).astype(np.float64), from_logits))


def evaluate(
    model: keras.Model,
    images: Any,
    labels: Any = None,
    class_names: Sequence[str] | None = None,
    batch_size: int = 256,
    *,
    from_logits: bool | None = None,
    tta: str | None = None,
) -> Evaluation:
    """Evaluates a classifier on labelled images.

    An image for which the model predicts NaN counts as wrong, and makes the loss NaN. Of equally likely classes the one
    of the lower number counts as likelier.

    Args:
        model: A classifier that gives logits or probabilities.
        images: A `kzoo.Split`, which is read some images at a time, or an array of shape `(images, height, width,
            channels)`, in [0, 255].
        labels: Integers, an array or a list, of shape `(images,)` or `(images, 1)`; a `kzoo.Split` has its own.
        class_names: One name a class. Defaults to the numbers.
        batch_size: Integer. Defaults to `256`.
        from_logits: Boolean, whether the model gives logits. Defaults to `None`, to see it by what the model answers to
            a few images: probabilities are never negative and add up to 1, everything else is logits.
        tta: Test-time augmentation: `"mirror"` takes the mean of the logits of each image and of its mirror image (of
            probabilities their logarithms). Only for images whose class a mirror does not change, which nothing here
            can see (`kzoo.evaluate_saved` can). Defaults to `None`, images as they are.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If images or labels are not as above, there are none, they or the names are not those of the model's
            classes, or `from_logits` is what the model's answers contradict.

    Example:
        >>> model = kzoo.load_preset("digits/resnet20")
        >>> kzoo.evaluate(model, kzoo.load_dataset("digits").test.take(range(20))).accuracy > 0.9
        True
    """
    if not callable(model):
        raise ValueError(f"`model` must be a classifier that is called with images. Received: model={model!r}.")
    shape = getattr(model, "input_shape", None)
    labels = class_labels(images.labels if labels is None and hasattr(images, "labels") else labels)
    if not hasattr(images, "chunks"):
        images = image_array(images, shape[1:] if isinstance(shape, tuple) else None)
    image_shape = images.shape[1:] if hasattr(images, "shape") else images.image_shape
    batch_size = integer(batch_size, "batch_size", least=1)
    if tta is not None:
        check_choice("tta", tta, get_args(TestTimeAugmentation))
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(
            "`images` and `labels` must be equally many, at least one. "
            f"Received: {len(images)} images and {len(labels)} labels."
        )
    samples = sample_answers(model, image_shape)
    classes = samples.shape[1]
    labelled = [str(index) for index in range(classes)] if class_names is None else class_names
    names = checked_names(labelled, "class_names", classes)
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"`labels` must be 0 to {classes - 1}, the classes of the model. "
            f"Received: labels from {labels.min()} to {labels.max()}."
        )
    from_logits = are_logits(samples, from_logits)
    views = [
        as_logits(predict_in_whole_batches(model, images, batch_size, mirror).astype(np.float64), from_logits)
        for mirror in ((False, True) if tta == "mirror" else (False,))
    ]
    return dataclasses.replace(evaluation_of(log_softmax(np.mean(views, axis=0)), labels, names), tta=tta)


def evaluation_of(
    log_p: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], class_names: Sequence[str]
) -> Evaluation:
    """Returns how good predictions are.

    Args:
        log_p: Array of shape `(images, classes)`, the logarithm of each class's probability.
        labels: Integers of shape `(images,)`.
        class_names: One name a class.
    """
    classes = log_p.shape[1]
    place = places(log_p, labels)
    answered = np.isfinite(place)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels[answered], log_p[answered].argmax(axis=1)), 1)
    counts = np.bincount(labels, minlength=classes)
    return Evaluation(
        images=len(labels),
        loss=float(-log_p[np.arange(len(labels)), labels].mean()),
        accuracy=float((place < 1).mean()),
        top5_accuracy=float((place < 5).mean()),
        per_class={
            name: float(right / count) if count else float("nan")
            for name, right, count in zip(class_names, confusion.diagonal(), counts, strict=True)
        },
        confusion=confusion,
    )
