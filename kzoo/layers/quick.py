"""Calls of layers without the preparations that they do not need."""

import contextlib
import inspect
from typing import Any

import keras

from kzoo import ops


class QuickLayer(keras.layers.Layer):
    """Layer that goes to `call` at once where Keras would change nothing before it.

    Before each call Keras looks for what to convert, cast, build, mask and infer. PyTorch runs layer by layer from
    Python, where that takes longer than a small convolution. Calls that somebody watches or changes (hooks,
    rematerialization, quantization) and calls that fail go Keras's way. Subclasses from elsewhere may do in `call` what
    needs the preparations, and get them.
    """

    makes_spare = False  # whether each call gives a new tensor, which neither the layer nor its gradient needs again
    overwrites = False  # whether a quick call may write over a tensor that is spare
    _quick = False
    _takes_training = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._quick = cls.__module__.startswith("kzoo.layers.")
        cls.makes_spare = cls._quick and cls.makes_spare
        cls.overwrites = cls._quick and cls.overwrites
        cls._takes_training = "training" in inspect.signature(cls.call).parameters

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        training = kwargs.get("training")
        if (
            self._quick
            and self.built
            and len(args) == 1
            and len(kwargs) == ("training" in kwargs)
            and (training is not None or not self._takes_training)
            and self.activity_regularizer is None
            and self._remat_mode is None
            and self.quantization_mode is None
            and ops.is_prepared(self, args[0])
        ):
            # An error comes again below, with Keras's account of the arguments.
            with contextlib.suppress(Exception):
                return self.quick_call(args[0], **({"training": training} if self._takes_training else {}))
        return super().__call__(*args, **kwargs)

    def quick_call(self, inputs: Any, **options: Any) -> Any:
        """Does what `call` does, for inputs that are prepared."""
        return self.call(inputs, **options)


@keras.saving.register_keras_serializable(package="kzoo")
class Add(QuickLayer, keras.layers.Add):
    """`keras.layers.Add`, called quickly: the sum of a list of tensors of one shape."""

    makes_spare = overwrites = True

    def quick_call(self, inputs: Any, **options: Any) -> Any:
        return ops.add(*inputs) if len(inputs) == 2 else self.call(inputs)


@keras.saving.register_keras_serializable(package="kzoo")
class ReLU(QuickLayer, keras.layers.ReLU):
    """`keras.layers.ReLU`, called quickly: `max(x, 0)`, with the same arguments."""

    overwrites = True

    def quick_call(self, inputs: Any, **options: Any) -> Any:
        is_plain = self.max_value is None and self.negative_slope == self.threshold == 0
        return ops.relu(inputs) if is_plain else self.call(inputs)
