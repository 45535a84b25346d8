"""Learning from a teacher: a trained model whose answers a new one learns beside the labels."""

import hashlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kzoo.arguments import path
from kzoo.data import Dataset
from kzoo.evaluation import as_logits, evaluate, gives_logits
from kzoo.folding import fold_batch_norm
from kzoo.training.checks import takes_images
from kzoo.training.recipes import Recipe
from kzoo.training.run import Run
from kzoo.training.sizes import any_size
from kzoo.training.sources import run_or_preset

_IMAGES = 256  # of the validation split, on which a teacher is looked at
_FEW_IMAGES = 12  # with fewer, good teachers may be no better than chance


class SoftTargets(keras.losses.Loss):
    """Divergence of the answers of a model from those of its teacher, both softened: `T^2 * KL(teacher || model)`.

    The probabilities are those of the logits over `temperature`; the factor keeps the gradient as large as that of the
    labels, whatever the temperature.

    Args:
        temperature: Float, above 0.

    Call arguments:
        y_true: Logits of the teacher, of shape `(batch, classes)`.
        y_pred: Logits of the model, of shape `(batch, classes)`.
        sample_weight: Weights of shape `(batch,)`, or `None`.

    Reference:
        - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531), section 2
    """

    def __init__(self, temperature: float) -> None:
        super().__init__(name="soft_targets")
        self.temperature = temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        expected, log_p = (keras.ops.log_softmax(logits / self.temperature, axis=-1) for logits in (y_true, y_pred))
        divergence = keras.ops.sum(keras.ops.exp(expected) * (expected - log_p), axis=-1)
        return self.temperature**2 * divergence


class Distillation:
    """The loss of a training with a teacher: `(1 - w) * loss + w * T^2 * KL(teacher || model)`.

    The teacher sees the same images as the model, augmented and mixed, and only predicts. What the model adds to its
    loss (regularization) counts in full.

    Args:
        teacher: A `keras.Model`, of which a folded copy answers.
        weight: Float in (0, 1], `w`.
        temperature: Float above 0, `T`.
        image_shape: Shape of the images.
        from_logits: Boolean, whether the model gives logits.
    """

    def __init__(
        self,
        teacher: keras.Model,
        *,
        weight: float,
        temperature: float,
        image_shape: Sequence[int | None],
        from_logits: bool,
    ) -> None:
        self.teacher = fold_batch_norm(teacher)
        self.teacher.trainable = False
        self.weight = weight
        self._soft_targets = SoftTargets(temperature)
        self._from_logits = from_logits
        self._teacher_gives_logits = gives_logits(self.teacher, image_shape)

    @classmethod
    def by(cls, recipe: Recipe, teacher: keras.Model, dataset: Dataset, *, from_logits: bool) -> "Distillation":
        """Returns the distillation of a recipe.

        Raises:
            ValueError: If the teacher does no better than chance on some images of the dataset's validation split.
        """
        taught = cls(
            teacher,
            weight=recipe.distillation_weight,
            temperature=recipe.temperature,
            image_shape=dataset.image_shape,
            from_logits=from_logits,
        )
        _check_answers(taught.teacher, dataset)
        return taught

    def __call__(self, loss: Any, penalties: Any, images: Any, answers: Any, sample_weight: Any = None) -> Any:
        """Returns the loss of a batch.

        Args:
            loss: Scalar tensor, the loss by the labels, with what the model adds to it.
            penalties: List of tensors, what the model adds.
            images: Tensor of shape `(batch, height, width, channels)`.
            answers: Tensor of shape `(batch, classes)`, what the model answers to them.
            sample_weight: Tensor of shape `(batch,)`, or `None`. Defaults to `None`.
        """
        ops = keras.ops
        with any_size(self.teacher):  # images may grow from epoch to epoch
            expected = as_logits(self.teacher(images, training=False), self._teacher_gives_logits, ops)
        soft = self._soft_targets(
            ops.stop_gradient(expected), as_logits(answers, self._from_logits, ops), sample_weight=sample_weight
        )
        return (1 - self.weight) * loss + self.weight * (soft + sum(map(ops.sum, penalties)))


def opened_teacher(teacher: Any, dataset: Dataset, model: keras.Model, recipe: Recipe) -> keras.Model | None:
    """Returns the model that a training learns from, or `None` if it learns from the labels alone.

    Args:
        teacher: A `keras.Model`, a `Run`, the path of one, what `kzoo.Preset` takes, or `None`.
        dataset: The `Dataset` of the training.
        model: The model that learns.
        recipe: The `Recipe`, whose `distillation_weight` says whether there must be a teacher.

    Raises:
        FileNotFoundError: If there is no such run or preset.
        ValueError: If teacher and recipe, or the two models, do not go together.
    """
    if (teacher is None) != (recipe.distillation_weight == 0):
        given = "none" if teacher is None else "one"
        raise ValueError(
            "A `teacher` (--teacher) needs a `distillation_weight` above 0 in the recipe, and the other way round. "
            f"Received: {given}, and distillation_weight={recipe.distillation_weight}."
        )
    if teacher is None:
        return None
    if not hasattr(model, "learns_from"):
        raise ValueError(
            "A model that learns from a teacher must be a kzoo.Model: `kzoo.Model(model.inputs, model.outputs)` makes "
            f"one of a functional model. Received: {type(model).__name__}."
        )
    if not isinstance(teacher, keras.Model):
        teacher = _loaded(teacher, dataset)
    shapes = getattr(teacher, "input_shape", None), getattr(teacher, "output_shape", None)
    if teacher is model or shapes[1] != (None, dataset.classes) or not takes_images(shapes[0], dataset.image_shape):
        received = "the model itself" if teacher is model else f"{teacher.name!r}, from {shapes[0]} to {shapes[1]}"
        raise ValueError(
            f"`teacher` must be another model, from images of shape {dataset.image_shape} to {dataset.classes} "
            f"classes. Received: {received}."
        )
    return teacher


def _loaded(teacher: Any, dataset: Dataset) -> keras.Model:
    """Returns the model of a run or preset, once it is known to have the classes of the dataset."""
    where = teacher.directory if isinstance(teacher, Run) else path(teacher, "teacher")
    found = run_or_preset(where)
    if found.class_names is not None:
        dataset.check_class_names(found.class_names, where)
    return found.load_model()


def _check_answers(teacher: keras.Model, dataset: Dataset) -> None:
    """Raises `ValueError` if a teacher does no better than chance on some images of the validation split.

    It may have been made for other pixels, or for the classes in another order.
    """
    images, chance = dataset.validation, 1 / dataset.classes
    chosen = np.unique(np.linspace(0, len(images) - 1, _IMAGES).astype(int))
    accuracy = evaluate(teacher, images.read(chosen), images.labels[chosen]).accuracy
    if accuracy <= chance and len(chosen) >= _FEW_IMAGES:
        raise ValueError(
            "`teacher` must know the classes, in the dataset's order, by pixels in [0, 255]. Received: a model that "
            f"is right on {accuracy:.1%} of {len(chosen)} images of the validation split, where chance is {chance:.1%}."
        )


def about_teacher(teacher: keras.Model) -> dict[str, str]:
    """Returns what a run records of its teacher: its name, and a hash of its weights of 16 hexadecimal digits."""
    found = hashlib.sha256()
    for weight in teacher.weights:
        values = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        found.update(f"{values.dtype} {values.shape} ".encode() + values.tobytes())
    return {"name": str(teacher.name), "fingerprint": found.hexdigest()[:16]}
