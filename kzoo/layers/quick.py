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
    in_place: str | None = None  # what a call comes to where it may write over a tensor: see `kzoo.ops.torch_walk`
    _quick = False
    _takes_training = False
    _own_call: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._quick = cls.__module__.startswith("kzoo.layers.")
        cls._takes_training = "training" in inspect.signature(cls.call).parameters
        cls._own_call = cls.call

    def is_as_defined(self) -> bool:
        """Returns whether a call is the class's `call` and nothing else."""
        return (
            self._quick
            and self.built
            and self.activity_regularizer is None
            and self._remat_mode is None
            and self.quantization_mode is None
            and "call" not in vars(self)
            and type(self).call is type(self)._own_call
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        training = kwargs.get("training")
        if (
            len(args) == 1
            and len(kwargs) == ("training" in kwargs)
            and (training is not None or not self._takes_training)
            and self.is_as_defined()
            and ops.is_prepared(self, args[0])
        ):
            # An error comes again below, with Keras's account of the arguments.
            with contextlib.suppress(TypeError, ValueError, RuntimeError):
                return self.call(args[0], training=training) if self._takes_training else self.call(args[0])
        return super().__call__(*args, **kwargs)


@keras.saving.register_keras_serializable(package="kzoo")
class Add(QuickLayer, keras.layers.Add):
    """`keras.layers.Add`, called quickly: the sum of a list of tensors of one shape."""

    makes_spare = True
    in_place = "add"


@keras.saving.register_keras_serializable(package="kzoo")
class ReLU(QuickLayer, keras.layers.ReLU):
    """`keras.layers.ReLU`, called quickly: `max(x, 0)`, with the same arguments."""

    @property
    def in_place(self) -> str | None:  # type: ignore[override]
        return "relu" if self.max_value is None and self.negative_slope == self.threshold == 0 else None
