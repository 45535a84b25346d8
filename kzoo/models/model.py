"""The class of kzoo's models."""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import keras

from kzoo.acceleration.model import AcceleratedModel
from kzoo.ops import precision

_DEEPEST = 100_000  # calls within each other: Keras takes some ten for each layer in a row


def _in_own_precision(name: str) -> Callable[..., Any]:
    """Returns the method of that name of `keras.Model`, called in the precision that the model was built in."""

    @functools.wraps(getattr(keras.Model, name))
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.own_precision():
            return getattr(super(Model, self), name)(*args, **kwargs)

    return method


@keras.saving.register_keras_serializable(package="kzoo")
class Model(AcceleratedModel):
    """Functional model that runs as fast as the backend can, and otherwise is a `keras.Model`.

    What Keras calls on a model to run, train and serve it goes ways that are faster on the backend in use, see
    `kzoo.acceleration_report`. Models of other classes are left as they are. A model built in float64 computes in it
    whatever the precision of the process is now. Layers in a row may be a thousand, as in ResNet-1202.

    Args:
        inputs: Symbolic tensors, as for `keras.Model`.
        outputs: Symbolic tensors, as for `keras.Model`.
        name: String, the model's name. Defaults to `None`, a name that Keras gives it.

    Example:
        >>> images = keras.Input((32, 32, 3))
        >>> model = kzoo.Model(images, kzoo.ReLU()(kzoo.Conv2D(16)(images)))
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any) -> None:
        with _deep_recursion():
            super().__init__(inputs, outputs, name=name, **kwargs)

    def own_precision(self) -> contextlib.AbstractContextManager[None]:
        """Returns a context in which the process has the precision of the model: losses and products follow it."""
        if self.dtype_policy.compute_dtype == "float64" and keras.config.floatx() != "float64":
            return precision("float64")
        return contextlib.nullcontext()

    __call__ = _in_own_precision("__call__")
    fit = _in_own_precision("fit")
    evaluate = _in_own_precision("evaluate")
    predict = _in_own_precision("predict")
    train_on_batch = _in_own_precision("train_on_batch")
    test_on_batch = _in_own_precision("test_on_batch")
    predict_on_batch = _in_own_precision("predict_on_batch")
    set_weights = _in_own_precision("set_weights")
    load_weights = _in_own_precision("load_weights")


@contextlib.contextmanager
def _deep_recursion() -> Iterator[None]:
    """Allows many calls within each other: Keras finds the order of a model's layers by recursion when it is built."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _DEEPEST))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
