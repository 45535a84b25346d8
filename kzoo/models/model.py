"""The class of kzoo's models."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from kzoo import shards
from kzoo.acceleration.model import AcceleratedModel
from kzoo.arguments import names as checked_names
from kzoo.ops import precision
from kzoo.presets.construction import Construction
from kzoo.recursion import deep_recursion


def _in_own_precision(name: str) -> Callable[..., Any]:
    """Returns the method of that name of `keras.Model`, called in the precision that the model was built in."""

    @functools.wraps(getattr(keras.Model, name))
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._kzoo_precision():
            return getattr(super(Model, self), name)(*args, **kwargs)

    return method


@dataclasses.dataclass(frozen=True)
class _Known:
    """What a model knows of itself beside its layers, in one object that Keras does not look into."""

    construction: Construction | None = None
    class_names: tuple[str, ...] | None = None


@keras.saving.register_keras_serializable(package="kzoo")
class Model(AcceleratedModel):
    """Functional model that runs as fast as the backend can, and otherwise is a `keras.Model`.

    What Keras calls on a model to run, train and serve it goes ways that are faster on the backend in use, see
    `kzoo.acceleration_report`. Models of other classes are left as they are. Layers in a row may be a thousand, as in
    ResNet-1202. A model whose weights are float64 runs in float64 whatever the precision of the process is; meanwhile
    the process has that precision, for other threads too. Compile it, and touch its layers and variables one by one,
    within `kzoo.precision("float64")`: losses take the precision that they find.

    A model remembers how a constructor of kzoo built it (`construction`, by which `kzoo.save_preset` saves it), and the
    names of its classes (`class_names`, if it comes from a preset or a run); both are `None` where they are not known.

    Args:
        inputs: Symbolic tensors, as for `keras.Model`.
        outputs: Symbolic tensors, as for `keras.Model`.
        name: String, the model's name. Defaults to `None`, a name that Keras gives it.

    Example:
        >>> images = keras.Input((32, 32, 3))
        >>> model = kzoo.Model(images, kzoo.ReLU()(kzoo.Conv2D(16)(images)))
    """

    _kzoo_is_float64 = False
    _kzoo_known = _Known()
    _kzoo_taught_loss: Any = None
    _kzoo_team: Any = None

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any) -> None:
        with deep_recursion():
            super().__init__(inputs, outputs, name=name, **kwargs)
        self._kzoo_is_float64 = any(weight.dtype == "float64" for weight in self.weights)

    @property
    def construction(self) -> Construction | None:
        """How a constructor of kzoo built this model, or `None`."""
        return self._kzoo_known.construction

    @construction.setter
    def construction(self, value: Construction | None) -> None:
        self._kzoo_known = dataclasses.replace(self._kzoo_known, construction=value)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """One name a class, or `None` if they are not known."""
        return self._kzoo_known.class_names

    @class_names.setter
    def class_names(self, value: Sequence[str] | None) -> None:
        names = None if value is None else checked_names(value, "class_names", int(self.output_shape[-1]))
        self._kzoo_known = dataclasses.replace(self._kzoo_known, class_names=names)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        dtypes = [
            str(layer["config"].get("dtype")) for layer in config.get("layers", ()) if layer["config"].get("trainable")
        ]
        with precision("float64") if any("float64" in dtype for dtype in dtypes) else contextlib.nullcontext():
            return super().from_config(config, custom_objects=custom_objects)

    def _kzoo_precision(self) -> contextlib.AbstractContextManager[None]:
        """Returns a context in which the process has the precision of the model: products follow it."""
        if self._kzoo_is_float64 and keras.config.floatx() != "float64":
            return precision("float64")
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def learns_from(self, taught_loss: Callable[..., Any]) -> Iterator[None]:
        """Lets a function make the training's loss within the context, where the model is to be compiled.

        Args:
            taught_loss: Takes the loss, a list of what the model itself adds to it, images, answers and sample weights,
                and returns a scalar tensor.

        Yields:
            Nothing.
        """
        self._kzoo_taught_loss = taught_loss
        try:
            yield
        finally:
            self._kzoo_taught_loss = None
            self.train_function = None  # which has it

    @functools.wraps(keras.Model.compute_loss)
    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        loss = super().compute_loss(x, y, y_pred, sample_weight, training=training)
        if self._kzoo_taught_loss is not None and training:
            loss = self._kzoo_taught_loss(loss, self.losses, x, y_pred, sample_weight)
        part = shards.current()
        return loss if part is None else _share_of(loss, self.losses, part)

    @property
    def is_in_team(self) -> bool:
        """Whether several workers compute each batch now."""
        return self._kzoo_team is not None

    @contextlib.contextmanager
    def works_in(self, team: Any) -> Iterator[None]:
        """Lets several workers compute each batch within the context.

        Args:
            team: The `Team` of the backend, or `None` for this process and one device alone.

        Yields:
            Nothing.
        """
        if team is None:
            yield
            return
        self._kzoo_team = team
        self.train_function = self.test_function = self.predict_function = None
        try:
            yield
        finally:
            self._kzoo_team = None
            self.train_function = self.test_function = self.predict_function = None

    __call__ = _in_own_precision("__call__")
    fit = _in_own_precision("fit")
    evaluate = _in_own_precision("evaluate")
    predict = _in_own_precision("predict")
    train_on_batch = _in_own_precision("train_on_batch")
    test_on_batch = _in_own_precision("test_on_batch")
    predict_on_batch = _in_own_precision("predict_on_batch")
    set_weights = _in_own_precision("set_weights")
    load_weights = _in_own_precision("load_weights")


def _share_of(loss: Any, penalties: Sequence[Any], part: shards.Part) -> Any:
    """Returns what a part adds to the loss of a batch, which is a mean over images, with penalties that count once."""
    if part.loss_is_divided_by != 1:
        loss = loss / keras.ops.cast(1.0 / part.loss_is_divided_by, loss.dtype)  # of float32, by which Keras multiplies
    share = keras.ops.cast(part.rows, loss.dtype) / keras.ops.cast(part.total, loss.dtype)
    if not penalties:
        return loss * share
    penalty = sum(map(keras.ops.sum, penalties))
    return (loss - penalty) * share + penalty / part.workers
